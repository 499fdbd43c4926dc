"""PINs come as a file: an answer for every row, nothing twice, and nobody buys alone."""

import asyncio

import pytest
from tests.stock.conftest import GOODS, Storeroom, csv_of

from refill import stock
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound, RefillError
from refill.money import money
from refill.stock import BadStockFile, Goods
from refill.stock.importing import MOST_BYTES, MOST_ROWS

HEAD = b"serial,pin,expiry\n"
GOOD = b"S1,123456789012345678,2027-12-31\n"


async def test_a_batch_waits_for_a_second_person_and_then_stands_in_the_book(room: Storeroom) -> None:
    arrival = await room.receive(csv_of(3))
    batch = arrival.batch
    assert batch is not None and arrival.refused == []
    assert (batch.count, batch.cost, batch.state) == (3, money("147.60 CNY"), "open")
    assert await room.balance("stock:cmcc") == "0.00"
    with pytest.raises(NotAllowed):
        await room.confirm(batch.code, "wang")
    confirmed = await room.confirm(batch.code)
    assert (confirmed.state, confirmed.decided_by) == ("confirmed", "li")
    assert await room.confirm(batch.code) == confirmed, "the button pressed twice"
    assert (await room.balance("stock:cmcc"), await room.balance("bank:main")) == ("-147.60", "147.60")
    assert await room.findings() == []
    with pytest.raises(CannotHappen, match="decided before"):
        await room.confirm(batch.code, "zhao")


async def test_who_declines_makes_room_for_a_corrected_file(room: Storeroom) -> None:
    first = (await room.receive(csv_of(2))).batch
    assert first is not None
    with pytest.raises(BadInput):
        await room.db.transaction(lambda tx: stock.decline(tx, room.world, first.code, " "))
    declined = await room.db.transaction(lambda tx: stock.decline(tx, room.world, first.code, "wang"))
    assert declined.state == "declined"
    assert await room.db.transaction(lambda tx: stock.decline(tx, room.world, first.code, "wang")) == declined
    with pytest.raises(CannotHappen):
        await room.confirm(first.code)
    again = await room.receive(csv_of(2), Goods("cmcc", "cmcc-pin-50", money("50 CNY"), money("48 CNY")))
    assert again.batch is not None and again.batch.cost == money("96 CNY")
    assert [batch.state for batch in await room.db.transaction(stock.batches)] == ["open", "declined"]


async def test_the_same_file_or_row_comes_once(room: Storeroom) -> None:
    batch = await room.bought(3)
    with pytest.raises(CannotHappen, match=batch.code):
        await room.receive(csv_of(3))
    more = await room.receive(csv_of(5, 2))
    assert more.batch is not None and more.batch.count == 3
    assert [(each.line, each.why) for each in more.refused] == [
        (2, "This serial or PIN was imported before."),
        (3, "This serial or PIN was imported before."),
    ]
    nothing = await room.receive(csv_of(2) + b"\n")
    assert nothing.batch is None and len(nothing.refused) == 2
    assert len(await room.db.transaction(stock.batches)) == 2, "an empty batch leaves no trace"


async def test_another_operator_may_have_the_same_pins(room: Storeroom) -> None:
    await room.bought(2)
    other = await room.receive(csv_of(2) + b"\n", Goods("ctcc", "ctcc-pin-50", money("50 CNY"), money("49 CNY")))
    assert other.batch is not None and other.batch.count == 2


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("S2,123456789012345678,2027-12-31", "stands in the file before"),
        ("S1,876543210987654321,2027-12-31", "stands in the file before"),
        ("S2,1.23456789012346E+17,2027-12-31", "spreadsheet has rounded"),
        ("S2,23456789012345678,2027-12-31", "leading zeros"),
        ("S2,=HYPERLINK(1),2027-12-31", "formula"),
        ("@S2,876543210987654321,2027-12-31", "formula"),
        ('S2,"876543210987654321,2027-12-31', "quotation mark"),
        ("S2,876543210987654321", "cells"),
        ("S2,876543210987654321,2027-12-31,x", "cells"),
        ("S2,876543210987654321,31.12.2027", "expiry is a day"),
        ("S2,876543210987654321,2026-11-22", "has expired"),
        ("S2,876543210987654321,2025-12-31", "has expired"),
        ("S2,８７６５４３２１０９８７６５４３２１,2027-12-31", "4 to 32 digits or letters"),
        (f"S2,{'8' * 100},2027-12-31", "4 to 32 digits or letters"),
        (",876543210987654321,2027-12-31", "serial has"),
    ],
    ids=lambda text: text[:24],
)
async def test_a_row_that_cannot_be_is_refused_and_the_others_come(room: Storeroom, row: str, why: str) -> None:
    arrival = await room.receive(HEAD + GOOD + row.encode() + b"\n\nS3,111122223333444455,2027-12-31\r\n")
    assert arrival.batch is not None and arrival.batch.count == 2
    ((line, said),) = [(each.line, each.why) for each in arrival.refused]
    assert line == 3 and why in said
    assert "8765432109" not in said, "what is refused does not say its PIN"


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (b"", "first line names"),
        (b"pin,expiry\n1,2\n", "first line names"),
        (b"serial,pin,expiry,pin\n", "first line names"),
        (HEAD + "序列,1,2\n".encode("gbk"), "UTF-8"),
        (HEAD + b"S\x001,123456,2027-12-31\n", "NUL"),
        (HEAD + b"x" * MOST_BYTES, "larger than"),
        (HEAD + b"\n" * (MOST_ROWS + 1), "at most"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
async def test_a_file_that_cannot_be_read_brings_nothing(room: Storeroom, file: bytes, why: str) -> None:
    with pytest.raises(BadStockFile, match=why):
        await room.receive(file)
    assert await room.db.transaction(stock.batches) == []


async def test_columns_stand_in_any_order_behind_a_mark(room: Storeroom) -> None:
    file = "\ufeffExpiry,PIN,Serial\r\n2027-12-31,1234 5678 9012 3456 78,S1\r\n".encode()
    batch = (await room.receive(file)).batch
    assert batch is not None
    await room.confirm(batch.code)
    assert await room.serials(room.wanted()) == ["S1"]


@pytest.mark.parametrize(
    ("goods", "more"),
    [
        (Goods("cmcc", "x", money("50 CNY"), money("5 USD")), {}),
        (GOODS, {"purse": "float:pa_1"}),
        (GOODS, {"purse": "the drawer"}),
        (GOODS, {"who": " "}),
        (GOODS, {"why": ""}),
    ],
    ids=["another currency", "a partner's float", "no account", "nobody", "no reason"],
)
async def test_terms_that_cannot_be_booked_are_refused(room: Storeroom, goods: Goods, more: dict[str, str]) -> None:
    with pytest.raises(RefillError):
        await room.receive(csv_of(1), goods, **more)


async def test_there_is_no_batch_of_another_name(room: Storeroom) -> None:
    with pytest.raises(NotFound):
        await room.confirm("s000000")


async def test_two_imports_at_once_share_nothing(room: Storeroom) -> None:
    files = [csv_of(6, 1), csv_of(6, 4), csv_of(6, 2), csv_of(6, 1) + b"\n"]
    arrivals = await asyncio.gather(*(room.receive(file) for file in files))
    taken = sum(each.batch.count for each in arrivals if each.batch)
    assert (taken, await room.count("waiting")) == (9, 9)


async def test_pins_that_vanished_meanwhile_are_not_confirmed(room: Storeroom) -> None:
    batch = (await room.receive(csv_of(2))).batch
    assert batch is not None
    await room.sql("DELETE FROM stock_pin WHERE serial = 'S00000001'")
    with pytest.raises(CannotHappen, match="1 PINs of this batch wait"):
        await room.confirm(batch.code)
