"""Scratch cards from the printer to the shop: PINs seen once, money booked when they are sold, nothing given twice."""

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from tests.topup.shop import Lossy
from tests.vouchers.conftest import Printer

from refill import vouchers
from refill.db import Pool
from refill.errors import BadInput, CannotHappen, NotAnAmount, NotFound
from refill.money import money
from refill.vouchers import Range, stock


async def test_pins_are_printed_once_for_the_owner_alone_and_kept_nowhere(printer: Printer) -> None:
    batch = await printer.print(3)
    path = printer.folder / "pins.csv"
    assert path.stat().st_mode & 0o777 == 0o600
    header, *lines = path.read_text().splitlines()
    assert header == "serial,pin,value,currency,expires"
    expires = f"{batch.expires_at:%Y-%m-%d}"
    for n, line in enumerate(lines, 1):
        assert re.fullmatch(rf"{batch.code}-000000{n},(\d{{4}}-){{3}}\d{{4}},50\.00,CNY,{expires}", line)
    assert (batch.count, batch.states, batch.printed_at is not None) == (3, {"stock": 3}, True)
    with pytest.raises(BadInput, match="cannot be made: File exists"):
        await printer.print(1)


async def test_no_column_of_the_database_holds_a_pin(printer: Printer, dsn: str) -> None:
    await printer.print(20)
    with psycopg.connect(dsn) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'vouchers%'").fetchall()
        kept = " ".join(
            str(connection.execute(f"SELECT t::text FROM {name} t".encode()).fetchall()) for (name,) in tables
        )
    assert len(tables) == 5
    for typed in printer.cards.values():
        assert typed not in kept
        assert typed.replace("-", "") not in kept.replace("-", "")


async def test_a_large_batch_is_made_in_packs_and_tells_how_far_it_is(
    printer: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "PACK", 4)
    heard: list[int] = []
    batch = await vouchers.generate(
        printer.db,
        printer.world,
        printer.vault,
        printer.folder / "many.csv",
        count=10,
        value=money("20 CNY"),
        expires_at=printer.world.db_now() + timedelta(days=1),
        who="wang",
        progress=heard.append,
    )
    assert heard == [4, 8, 10]
    assert batch.states == {"stock": 10}
    lines = (printer.folder / "many.csv").read_text().splitlines()[1:]
    assert [line.partition(",")[0] for line in lines] == [batch.serial(n) for n in range(1, 11)]
    assert len({line.split(",")[1] for line in lines}) == 10


async def test_a_pin_that_is_taken_is_drawn_again(printer: Printer) -> None:
    await printer.print(2)
    old = [int(typed.replace("-", "")) for typed in printer.cards.values()]
    draws = iter([10**16, old[1], 7, 7, 7, 8, 9])  # one too large; one that is taken; one twice in a batch
    chance = printer.world.chance
    printer.world.chance = lambda bits: next(draws) if bits == 54 else chance(bits)  # type: ignore[method-assign]
    batch = await printer.print(3, name="again.csv")
    drawn = sorted(printer.cards[batch.serial(n)] for n in (1, 2, 3))
    assert drawn == ["0000-0000-0000-0007", "0000-0000-0000-0008", "0000-0000-0000-0009"]
    assert next(draws, None) is None
    assert await printer.states(batch) == {"stock": 3}


@pytest.mark.parametrize("count", [0, 1_000_001])
async def test_a_batch_has_a_sensible_size(printer: Printer, count: int) -> None:
    with pytest.raises(BadInput, match="1 to 1,000,000"):
        await printer.print(count)


async def test_vouchers_that_expire_in_the_past_are_not_printed(printer: Printer) -> None:
    with pytest.raises(BadInput, match="in the future"):
        await printer.print(days=0)
    assert not (printer.folder / "pins.csv").exists()


async def test_a_batch_whose_printing_broke_off_leaves_no_file_and_cannot_be_sold(printer: Printer) -> None:
    def broken(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await vouchers.generate(
            printer.db,
            printer.world,
            printer.vault,
            printer.folder / "pins.csv",
            count=2,
            value=money("50 CNY"),
            expires_at=printer.world.db_now() + timedelta(days=1),
            who="wang",
            progress=broken,
        )
    assert not (printer.folder / "pins.csv").exists()
    (batch,) = await printer.db.transaction(vouchers.batches)
    with pytest.raises(CannotHappen, match="never finished"):
        await printer.sell(batch)
    assert await printer.withdraw(batch) == 2


async def test_two_batches_of_one_name_are_refused(printer: Printer, monkeypatch: pytest.MonkeyPatch) -> None:
    await printer.print(1)

    def base32(value: int, length: int) -> str:
        return first.code[1:]

    (first,) = await printer.db.transaction(vouchers.batches)
    monkeypatch.setattr(stock, "base32", base32)
    with pytest.raises(CannotHappen, match="same name"):
        await printer.print(1, name="other.csv")


def test_a_day_is_meant_to_its_last_second() -> None:
    assert vouchers.end_of_day("2027-12-31") == datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC)
    with pytest.raises(BadInput, match="'31.12.2027' is not a day"):
        vouchers.end_of_day("31.12.2027")


# ------------------------------------------------------------------ selling


async def test_what_is_sold_is_owed_to_the_holders(printer: Printer) -> None:
    batch = await printer.print(10)
    assert await printer.sell(batch, 1, 4) == 4
    assert await printer.states(batch) == {"active": 4, "stock": 6}
    assert await printer.balance("voucher:liability") == "200.00"
    assert await printer.balance("cash:office") == "-200.00"


async def test_a_shop_pays_less_and_the_rest_is_our_discount(printer: Printer) -> None:
    batch = await printer.print(10)
    await printer.sell(batch, paid="480.00 CNY", purse="bank:icbc")
    assert await printer.balance("voucher:liability") == "500.00"
    assert await printer.balance("bank:icbc") == "-480.00"
    assert await printer.balance("discount:vouchers") == "-20.00"


async def test_the_same_sale_again_is_the_same_sale(printer: Printer) -> None:
    batch = await printer.print(3)
    assert await printer.sell(batch) == await printer.sell(batch) == 3
    assert await printer.balance("voucher:liability") == "150.00"


async def test_a_range_that_was_sold_in_part_is_not_sold(printer: Printer) -> None:
    batch = await printer.print(5)
    await printer.sell(batch, 2, 3)
    with pytest.raises(CannotHappen, match="Only 3 of these"):
        await printer.sell(batch)
    assert await printer.states(batch) == {"active": 2, "stock": 3}
    assert await printer.balance("voucher:liability") == "100.00"


SALES = [
    pytest.param(0, 3, {}, BadInput, "numbers 1 to 3", id="from nothing"),
    pytest.param(1, 4, {}, BadInput, "numbers 1 to 3", id="too many"),
    pytest.param(3, 2, {}, BadInput, "numbers 1 to 3", id="backwards"),
    pytest.param(1, 3, {"purse": "sales:topup"}, BadInput, "cash:office", id="not a purse"),
    pytest.param(1, 3, {"purse": "cash"}, BadInput, "cash:office", id="nobody's purse"),
    pytest.param(1, 3, {"paid": "150.01 CNY"}, BadInput, "nobody pays more", id="too dear"),
    pytest.param(1, 3, {"paid": "1.00 USD"}, NotAnAmount, "USD", id="another currency"),
]


@pytest.mark.parametrize(("first", "last", "more", "error", "says"), SALES)
async def test_a_sale_that_cannot_be_is_refused_and_changes_nothing(
    printer: Printer, first: int, last: int, more: dict[str, str], error: type[Exception], says: str
) -> None:
    batch = await printer.print(3)
    with pytest.raises(error, match=says):
        await printer.sell(batch, first, last, **more)
    assert await printer.states(batch) == {"stock": 3}
    assert await printer.balance("voucher:liability") == "0.00"


async def test_what_has_expired_is_not_sold_and_what_never_was_neither(printer: Printer) -> None:
    batch = await printer.print(1, days=1)
    printer.world.clock += timedelta(days=1)
    with pytest.raises(CannotHappen, match="have expired"):
        await printer.sell(batch)
    with pytest.raises(NotFound, match="no batch"):
        await printer.db.transaction(
            lambda tx: vouchers.activate(tx, printer.world, Range("v0", 1, 1), purse="cash:office", who="wang")
        )


# ------------------------------------------------------------------ withdrawing and expiry


async def test_stolen_cards_are_withdrawn_from_stock_without_a_booking(printer: Printer) -> None:
    batch = await printer.print(3)
    assert await printer.withdraw(batch, 2, 3) == 2
    assert await printer.states(batch) == {"stock": 1, "void": 2}
    assert await printer.withdraw(batch, 2, 3) == 2, "the same again is the same"
    assert await printer.withdraw(batch, 2, 2) == 0, "nothing is left of it"


async def test_cards_that_a_shop_brings_back_are_paid_back_as_they_were_paid(printer: Printer) -> None:
    batch = await printer.print(4)
    await printer.sell(batch, 1, 3, paid="147.00 CNY")
    await printer.spend(printer.pin(batch, 1))
    with pytest.raises(CannotHappen, match="2 of these vouchers were sold"):
        await printer.withdraw(batch)
    assert await printer.withdraw(batch, purse="cash:office", paid_back="98.00 CNY", why="shop closes") == 3
    assert await printer.states(batch) == {"redeemed": 1, "void": 3}
    assert await printer.balance("voucher:liability") == "50.00"
    assert await printer.balance("cash:office") == "-49.00"
    assert await printer.balance("discount:vouchers") == "-1.00"


async def test_nobody_withdraws_without_a_reason(printer: Printer) -> None:
    batch = await printer.print(1)
    with pytest.raises(BadInput, match="a reason"):
        await printer.withdraw(batch, why=" ")


async def test_what_expires_is_ours_when_it_was_sold(printer: Printer) -> None:
    batch = await printer.print(4, days=1)
    await printer.sell(batch, 1, 3)
    await printer.spend(printer.pin(batch, 3))

    async def sweep(most: int = 1_000) -> int:
        return await printer.db.transaction(lambda tx: vouchers.expire(tx, printer.world, most))

    assert await sweep() == 0
    printer.world.clock += timedelta(days=1)
    assert [await sweep(2), await sweep(2), await sweep(2)] == [2, 1, 0]
    assert await printer.states(batch) == {"expired": 3, "redeemed": 1}
    assert await printer.balance("breakage:vouchers") == "100.00"
    assert await printer.balance("voucher:liability") == "50.00", "of the one that was spent beside its order"


@pytest.mark.parametrize("change", ["state = 'active', spent_on = NULL", "minor = 1", "spent_on = 'tu_2'"])
async def test_the_database_itself_gives_a_voucher_once(printer: Printer, change: str) -> None:
    batch = await printer.print(1)
    await printer.sell(batch)
    await printer.spend(printer.pin(batch, 1))
    with pytest.raises(psycopg.errors.RestrictViolation, match="for ever"):
        await printer.sql(f"UPDATE vouchers_voucher SET {change}")
    for statement in ("DELETE FROM vouchers_voucher", "DELETE FROM vouchers_step"):
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            await printer.sql(statement)


async def test_the_book_owes_no_holder_more_than_was_sold(printer: Printer) -> None:
    """Should the book ever say no, nothing of the step stands."""
    batch = await printer.print(1, days=1)
    await printer.sell(batch)
    await printer.sql("UPDATE ledger_account SET floor = 1 WHERE name LIKE 'voucher:%'")
    printer.world.clock += timedelta(days=1)
    with pytest.raises(CannotHappen, match="The book refuses"):
        await printer.db.transaction(lambda tx: vouchers.expire(tx, printer.world))
    assert await printer.states(batch) == {"active": 1}


async def test_every_step_may_run_twice_because_the_answer_to_its_commit_was_lost(printer: Printer, pool: Pool) -> None:
    lossy = printer.db = Lossy(pool)
    lossy.lose = 3  # the batch, its vouchers, and that they are printed
    batch = await printer.print(5)
    assert lossy.lose == 0
    assert batch.states == {"stock": 5}
    assert [card for card in await printer.look(*(printer.pin(batch, n) for n in range(1, 6))) if card is None] == []
    lossy.lose = 1
    assert await printer.sell(batch, 1, 3) == 3
    lossy.lose = 1
    assert await printer.withdraw(batch, 3, 5, purse="cash:office") == 3
    printer.world.clock += timedelta(days=366)
    lossy.lose = 1
    await printer.db.transaction(lambda tx: vouchers.expire(tx, printer.world))
    assert await printer.states(batch) == {"expired": 2, "void": 3}
    assert await printer.balance("voucher:liability") == "0.00"
    assert await printer.balance("breakage:vouchers") == "100.00"
    assert await printer.db.transaction(vouchers.check) == []
