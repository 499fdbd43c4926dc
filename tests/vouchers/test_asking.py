"""Cards are sold and withdrawn by two people: one asks, another confirms; one alone moves nothing."""

from typing import Any

import psycopg
import pytest
from tests.vouchers.conftest import Printer

from refill import vouchers
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound
from refill.money import money
from refill.vouchers import Asked, Batch, Range


async def ask(printer: Printer, batch: Batch, first: int = 1, last: int = 3, **more: Any) -> Asked:
    said = {"step": "activated", "purse": "cash:office", "paid": None, "why": "the shop at the corner", "who": "wang"}
    said |= more
    step, taken = said.pop("step"), Range(batch.code, first, last)
    return await printer.db.transaction(lambda tx: vouchers.ask(tx, printer.world, step, taken, **said))


async def confirm(printer: Printer, wish: Asked, who: str = "li") -> int:
    return await printer.db.transaction(lambda tx: vouchers.confirm(tx, printer.world, wish.taken.batch, wish.n, who))


async def decline(printer: Printer, wish: Asked, who: str = "li") -> None:
    await printer.db.transaction(lambda tx: vouchers.decline(tx, printer.world, wish.taken.batch, wish.n, who))


async def waiting(printer: Printer) -> list[int]:
    return [each.n for each in await printer.db.transaction(vouchers.asked)]


async def test_a_range_is_sold_when_another_person_confirms_it(printer: Printer) -> None:
    batch = await printer.print()
    wish = await ask(printer, batch, 1, 2, paid=money("98 CNY"))
    assert (wish.n, wish.paid, wish.state) == (1, money("98 CNY"), "open")
    assert await ask(printer, batch, 1, 2, paid=money("98 CNY")) == wish, "the same wish again"
    assert await printer.states(batch) == {"stock": 3}
    assert await printer.balance("cash:office") == "0.00"
    for alone in ("wang", " wang ", ""):
        with pytest.raises(NotAllowed):
            await confirm(printer, wish, alone)
    assert await confirm(printer, wish) == 2
    assert await printer.states(batch) == {"stock": 1, "active": 2}
    assert await printer.balance("cash:office") == "-98.00"
    (step,) = await printer.db.transaction(lambda tx: vouchers.steps(tx, batch))
    assert (step.step, step.vouchers, step.paid, step.who) == ("activated", 2, money("98 CNY"), "wang, li")
    assert await waiting(printer) == []
    with pytest.raises(CannotHappen, match="decided before"):
        await confirm(printer, wish, "zhao")


async def test_sold_cards_are_withdrawn_by_two_and_what_was_paid_goes_back(printer: Printer) -> None:
    batch = await printer.print()
    await printer.sell(batch, 1, 2)
    await printer.spend(printer.pin(batch, 1))
    wish = await ask(printer, batch, step="void")
    assert await confirm(printer, wish) == 2, "one was used, one was sold, one was in stock"
    assert await printer.states(batch) == {"redeemed": 1, "void": 2}
    assert await printer.balance("cash:office") == "-50.00"


async def test_what_was_declined_moves_nothing_and_can_be_asked_again(printer: Printer) -> None:
    batch = await printer.print()
    wish = await ask(printer, batch)
    with pytest.raises(BadInput):
        await decline(printer, wish, " ")
    await decline(printer, wish, "wang")
    with pytest.raises(CannotHappen):
        await confirm(printer, wish)
    again = await ask(printer, batch)
    assert again.n == 2
    assert await waiting(printer) == [2]


async def test_two_wishes_for_the_same_cards_do_not_wait_together(printer: Printer) -> None:
    batch = await printer.print()
    await ask(printer, batch, 1, 2)
    with pytest.raises(CannotHappen, match="waits"):
        await ask(printer, batch, 2, 3)
    with pytest.raises(CannotHappen, match="waits"):
        await ask(printer, batch, 1, 2, step="void")
    assert (await ask(printer, batch, 3, 3)).n == 2


async def test_what_cannot_be_sold_any_more_stays_undecided(printer: Printer) -> None:
    batch = await printer.print()
    wish = await ask(printer, batch)
    await printer.sell(batch, 2, 2)
    with pytest.raises(CannotHappen, match="in stock"):
        await confirm(printer, wish)
    assert await waiting(printer) == [wish.n]
    assert await printer.states(batch) == {"stock": 2, "active": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 0},
        {"last": 4},
        {"first": 3, "last": 2},
        {"purse": ""},
        {"purse": "wallet:anna"},
        {"purse": "bank:"},
        {"paid": money("150.01 CNY")},
        {"paid": money("1 USD")},
        {"why": "  "},
        {"who": ""},
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(printer: Printer, wrong: dict[str, Any]) -> None:
    batch = await printer.print()
    with pytest.raises(BadInput):
        await ask(printer, batch, **wrong)
    assert await waiting(printer) == []


async def test_what_does_not_exist_cannot_be_asked_or_decided(printer: Printer) -> None:
    batch = await printer.print()
    wish = await ask(printer, batch)
    with pytest.raises(NotFound):
        await printer.db.transaction(lambda tx: vouchers.confirm(tx, printer.world, batch.code, wish.n + 1, "li"))
    with pytest.raises(NotFound):
        await printer.db.transaction(
            lambda tx: vouchers.ask(
                tx, printer.world, "void", Range("v000000", 1, 1), purse="cash:office", paid=None, why="x", who="y"
            )
        )


async def test_a_decision_is_for_ever_and_never_by_one_alone(printer: Printer) -> None:
    batch = await printer.print()
    await confirm(printer, await ask(printer, batch))
    with pytest.raises(psycopg.errors.RestrictViolation):
        await printer.sql("UPDATE vouchers_asked SET why = 'another'")
    with pytest.raises(psycopg.errors.RestrictViolation):
        await printer.sql("DELETE FROM vouchers_asked")


async def test_a_card_is_found_by_its_serial_and_never_shows_its_pin(printer: Printer) -> None:
    batch = await printer.print()
    await printer.sell(batch)
    await printer.spend(printer.pin(batch, 2), "tu_7")
    look = await printer.db.transaction(lambda tx: vouchers.by_serial(tx, batch.serial(2)))
    assert look is not None
    assert (look.state, look.value, look.spent_on) == ("redeemed", money("50 CNY"), "tu_7")
    assert printer.cards[look.serial].replace("-", "") not in repr(look)
    assert await printer.db.transaction(lambda tx: vouchers.by_serial(tx, "v000000-0000001")) is None
