"""A voucher is worth its value once, for whoever has its PIN, while it is good."""

import asyncio
from datetime import timedelta

import pytest
from tests.vouchers.conftest import Printer

from refill import vouchers
from refill.db import Tx
from refill.errors import CannotHappen, OtherContent, RefillError
from refill.money import money
from refill.vouchers import NotAPin, Pin, VoucherNotValid, VoucherUsed, WrongPin, pin

TYPED = [
    "0123-4567-8901-2345",
    "0123 4567 8901 2345",
    " 0123456789012345\n",
    "０１２３４５６７８９０１２３４５",
    "0123\u00a04567.8901·2345",
]


@pytest.mark.parametrize("typed", TYPED)
def test_a_pin_is_read_as_people_type_it(typed: str) -> None:
    assert pin(typed) == Pin("0123456789012345")
    assert pin(typed).grouped() == "0123-4567-8901-2345"


def test_a_claim_code_is_read_in_either_case() -> None:
    assert pin("AB12-cd34-EF56-gh78") == pin("ab12cd34ef56gh78")


NOT_PINS = ["", "1234", "0123-4567-8901-234", "0" * 27, "0123-4567-8901-234é", "٠١٢٣" * 4, "0" * 5000]


@pytest.mark.parametrize("typed", NOT_PINS, ids=range(len(NOT_PINS)))
def test_what_is_no_pin_is_refused_without_repeating_it(typed: str) -> None:
    with pytest.raises(NotAPin) as refused:
        pin(typed)
    assert not typed or typed not in str(refused.value)


def test_a_pin_does_not_show_itself() -> None:
    one = pin(TYPED[0])
    assert repr(one) == str(one) == "Pin(…)"


async def test_a_voucher_says_why_it_pays_nothing(printer: Printer) -> None:
    batch = await printer.print(6, days=30)
    now = printer.world.db_now()

    async def told(one: Pin) -> RefillError | None:
        (found,) = await printer.look(one)
        return vouchers.refusal(found, now)

    one = {n: printer.pin(batch, n) for n in range(1, 7)}
    assert isinstance(await told(pin("0" * 16)), WrongPin)
    assert "not switched on" in str(await told(one[1]))
    await printer.sell(batch, 1, 4)
    assert await told(one[1]) is None
    await printer.withdraw(batch, 5, 5)
    assert "withdrawn" in str(await told(one[5]))
    await printer.spend(one[2])
    assert isinstance(await told(one[2]), VoucherUsed)
    now += timedelta(days=30)
    assert isinstance(await told(one[3]), VoucherNotValid), "its time is over, whether or not anybody swept yet"
    assert isinstance(await told(one[2]), VoucherUsed)
    printer.world.clock = now
    await printer.db.transaction(lambda tx: vouchers.expire(tx, printer.world))
    assert "good until 2026-12-22" in str(await told(one[3]))
    assert "good until 2026-12-22" in str(await told(one[6]))


async def test_many_are_held_at_once_and_strangers_are_left_out(printer: Printer) -> None:
    batch = await printer.print(3)
    first, nobody, third = await printer.look(printer.pin(batch, 1), pin("0" * 16), printer.pin(batch, 3))
    assert first is not None and third is not None and nobody is None
    assert (first.serial, first.value, first.kind) == (batch.serial(1), money("50 CNY"), "scratch")
    assert third.serial == batch.serial(3)
    assert first.digest not in repr(first)
    assert await printer.look() == []


async def test_of_two_at_the_same_moment_one_spends_it(printer: Printer) -> None:
    batch = await printer.print(1)
    await printer.sell(batch)
    one = printer.pin(batch, 1)

    async def use(order_id: str) -> str:
        async def work(tx: Tx) -> str:
            (voucher,) = (await vouchers.hold(tx, printer.vault, [one])).values()
            if vouchers.refusal(voucher, printer.world.db_now()):
                return ""
            await vouchers.spend(tx, [(voucher, order_id)], printer.world.db_now())
            return order_id

        return await printer.db.transaction(work)

    used = [order_id for order_id in await asyncio.gather(*(use(f"tu_{n}") for n in range(6))) if order_id]
    (voucher,) = await printer.look(one)
    assert voucher is not None
    assert used == [voucher.spent_on]


async def test_what_is_not_active_is_not_spent_whoever_asks(printer: Printer) -> None:
    batch = await printer.print(1)
    with pytest.raises(CannotHappen, match="not active"):
        await printer.spend(printer.pin(batch, 1))


# ------------------------------------------------------------------ codes for one person

CODE = "k7m2-9qxv-3fzt-8hpw"


async def issued(printer: Printer, source: str = "tu_1r1", code: str = CODE, value: str = "49.90 CNY") -> None:
    until = printer.world.db_now() + timedelta(days=365)
    await printer.db.transaction(
        lambda tx: vouchers.issue(
            tx,
            printer.world,
            printer.vault,
            value=money(value),
            kind="claim",
            source=source,
            expires_at=until,
            code=code,
        )
    )


async def test_a_claim_code_is_a_voucher_that_can_be_used_at_once(printer: Printer) -> None:
    await issued(printer)
    (voucher,) = await printer.look(pin(CODE.upper()))
    assert voucher is not None
    assert (voucher.serial, voucher.kind, voucher.state) == ("tu_1r1", "claim", "active")
    assert voucher.value == money("49.90 CNY")


async def test_asking_again_for_the_same_source_is_the_same_code(printer: Printer) -> None:
    await issued(printer)
    await issued(printer)
    await printer.spend(pin(CODE))
    await issued(printer)
    assert await printer.sql("SELECT FROM vouchers_voucher") == 1


OTHERS = [
    pytest.param({"code": "another-code-0123456"}, "issued for this", id="another code"),
    pytest.param({"value": "49.91 CNY"}, "issued for this", id="another value"),
    pytest.param({"value": "49.90 USD"}, "issued for this", id="another currency"),
    pytest.param({"source": "tu_2r1"}, "has this code", id="another source"),
]


@pytest.mark.parametrize(("other", "says"), OTHERS)
async def test_a_source_has_one_code_and_a_code_one_source(printer: Printer, other: dict[str, str], says: str) -> None:
    await issued(printer)
    with pytest.raises(OtherContent, match=says):
        await issued(printer, **other)
