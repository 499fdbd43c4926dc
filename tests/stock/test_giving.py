"""A PIN is given once: to one request, for ever, also when many ask at the same moment."""

import asyncio
from datetime import timedelta
from random import Random

import psycopg
import pytest
from tests.stock.conftest import GOODS, Storeroom, csv_of

from refill import stock
from refill.db import Pool, Tx
from refill.money import money
from refill.stock import Goods
from refill.vault import NotOpened, Vault


async def test_each_request_gets_a_pin_of_its_own_and_keeps_it(room: Storeroom) -> None:
    await room.bought(3)
    one, other = room.wanted(), room.wanted()
    first, second = await room.take(one, other)
    assert first is not None and second is not None and first.serial != second.serial
    assert first.cost == money("49.20 CNY")
    assert await room.take(other, one) == [second, first], "the same request gets the same PIN, in any company"
    assert await room.take(one, one) == [first, first]
    assert (await room.count(), await room.count("given")) == (1, 2)


async def test_another_attempt_of_an_order_is_another_request(room: Storeroom) -> None:
    await room.bought(2)
    order = room.order()
    assert await room.serials(room.wanted(order, 1), room.wanted(order, 2)) == ["S00000001", "S00000002"]


async def test_what_expires_first_goes_first_and_what_is_over_to_nobody(room: Storeroom) -> None:
    await room.bought(1, 10, expiry="2027-06-30")
    await room.bought(1, 20, expiry="2026-12-31")
    await room.bought(1, 30, expiry="2026-11-24")
    room.world.clock += timedelta(days=2)
    assert await room.serials(*(room.wanted() for _ in range(3))) == ["S00000020", "S00000010", None]


async def test_out_of_stock_is_none_and_a_request_that_has_one_keeps_it(room: Storeroom) -> None:
    await room.bought(1)
    first, second = room.wanted(), room.wanted()
    assert await room.serials(first) == ["S00000001"]
    assert await room.serials(second, first) == [None, "S00000001"]
    assert await room.serials(second) == [None]
    await room.bought(1, 2)
    assert await room.serials(second) == ["S00000002"], "when there is stock again"
    assert await room.take() == []


async def test_another_product_or_face_value_is_never_given_instead(room: Storeroom) -> None:
    await room.bought(2)
    hundred = Goods("cmcc", "cmcc-pin-50", money("100 CNY"), money("98 CNY"))
    other = Goods("cmcc", "cmcc-pin-5", money("50 CNY"), money("49 CNY"))
    assert await room.serials(room.wanted(goods=hundred), room.wanted(goods=other), room.wanted()) == [
        None,
        None,
        "S00000001",
    ]


async def test_a_batch_that_nobody_confirmed_is_not_given(room: Storeroom) -> None:
    await room.receive(csv_of(2))
    assert await room.serials(room.wanted()) == [None]


async def test_sixteen_at_once_share_what_is_there_and_nobody_gets_what_another_got(room: Storeroom) -> None:
    await room.bought(20)
    wanted = [room.wanted() for _ in range(30)]
    dice = Random(7)

    async def customer(n: int) -> None:
        for _ in range(6):
            some = dice.sample(wanted, 5)
            await asyncio.gather(*(room.take(*some) for _ in range(2)))

    await asyncio.gather(*(customer(n) for n in range(16)))
    last = await room.serials(*wanted)
    given = [serial for serial in last if serial is not None]
    assert len(given) == len(set(given)) == 20
    assert (await room.count(), await room.count("given")) == (0, 20)
    assert len([each for each in await room.findings() if "was given" in each]) == 0


async def test_the_same_request_in_two_transactions_is_given_one_pin(room: Storeroom, pool: Pool) -> None:
    await room.bought(2)
    wanted = room.wanted()
    holding, go = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> object:
        taken = await stock.take(tx, [wanted], room.world.db_now())
        holding.set()
        await go.wait()
        return taken

    first = asyncio.ensure_future(pool.transaction(slow))
    await holding.wait()
    second = asyncio.ensure_future(room.take(wanted))
    await asyncio.sleep(0.1)
    assert not second.done(), "it waits for the one that was first"
    go.set()
    assert await first == await second
    assert (await room.count(), await room.count("given")) == (1, 1)


async def test_whoever_crashes_has_taken_nothing(room: Storeroom) -> None:
    await room.bought(1)
    wanted = room.wanted()

    async def dies(tx: Tx) -> None:
        assert (await stock.take(tx, [wanted], room.world.db_now()))[0] is not None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await room.db.transaction(dies)
    assert await room.serials(room.wanted()) == ["S00000001"], "another order gets it"
    assert await room.serials(wanted) == [None]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE stock_pin SET state = 'stock', given_to = NULL",
        "UPDATE stock_pin SET given_to = 'another'",
        "UPDATE stock_given SET request_id = 'another'",
        "DELETE FROM stock_given",
        "DELETE FROM stock_pin",
    ],
)
async def test_what_was_given_stays_given_also_for_who_has_psql(room: Storeroom, sql: str) -> None:
    await room.bought(1)
    await room.take(room.wanted())
    with pytest.raises(psycopg.Error):
        await room.sql(sql)


async def test_the_pin_is_sealed_and_shown_with_a_note_of_who_saw_it(room: Storeroom) -> None:
    await room.bought(1, 42)
    order = room.order()
    await room.take(room.wanted(order))
    now = room.world.db_now()
    ((given, pin),) = await room.db.transaction(lambda tx: stock.read(tx, room.vault, order, "payer", now))
    assert pin.plain == f"{42:018d}" and pin.grouped() == "0000 0000 0000 0000 42"
    assert (given.serial, given.face, given.cost, given.state) == ("S00000042", GOODS.face, GOODS.cost, "given")
    assert pin.plain not in f"{given!r} {pin!r} {pin}"
    room.world.clock += timedelta(hours=1)
    await room.db.transaction(lambda tx: stock.read(tx, room.vault, order, "payer", room.world.db_now()))
    assert await room.db.transaction(lambda tx: stock.readings(tx, order)) == [(f"{order}a1", "payer", now)]
    with pytest.raises(NotOpened):
        given.open(Vault(bytes(32)))


async def test_no_pin_lies_in_plain_anywhere(room: Storeroom) -> None:
    await room.bought(5, 1234567)
    order = room.order()
    await room.take(room.wanted(order))
    await room.db.transaction(lambda tx: stock.read(tx, room.vault, order, "payer", room.world.db_now()))
    for table in ("batch", "pin", "given", "reading", "wish", "level"):
        for column in ("text", "bytea"):
            plain = "%00000001234%" if column == "text" else "%3030303132333435%"
            like = f"{'row_to_json(t)::text' if column == 'text' else 't::text'} LIKE '{plain}'"
            assert await room.sql(f"SELECT 1 FROM stock_{table} t WHERE {like}") == 0, table


async def test_a_pin_that_does_not_work_is_marked_once(room: Storeroom) -> None:
    await room.bought(2)
    order = room.order()
    await room.take(room.wanted(order))
    now = room.world.db_now()
    assert await room.db.transaction(lambda tx: stock.spoil(tx, order, f"{order}a1", now))
    assert not await room.db.transaction(lambda tx: stock.spoil(tx, order, f"{order}a1", now))
    assert not await room.db.transaction(lambda tx: stock.spoil(tx, order, f"{order}a2", now))
    assert [given.state for given in await room.db.transaction(lambda tx: stock.of_order(tx, order))] == ["faulty"]
    assert await room.db.transaction(lambda tx: stock.read(tx, room.vault, order, "payer", now)) == []


async def test_what_expires_is_booked_as_lost(room: Storeroom) -> None:
    await room.bought(2, 1, expiry="2026-11-24")
    await room.bought(1, 9)
    assert await room.db.transaction(lambda tx: stock.expire(tx, room.world)) == 0
    room.world.clock += timedelta(days=2)
    assert await room.db.transaction(lambda tx: stock.expire(tx, room.world)) == 2
    assert (await room.count(), await room.count("expired")) == (1, 2)
    assert (await room.balance("loss:expired"), await room.balance("stock:cmcc")) == ("-98.40", "-49.20")
    assert await room.findings() == []
