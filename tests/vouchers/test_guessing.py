"""Who guesses is locked out, one by one and many at once; who only mistypes is not."""

import asyncio
from datetime import timedelta

from tests.vouchers.conftest import Printer

from refill import cases, vouchers
from refill.db import Tx
from refill.vouchers import LOCKED, MOST_WRONG, MOST_WRONG_AT_AN_ADDRESS, WIDESPREAD, WINDOW, TooManyTries


async def guess(printer: Printer, *by: str) -> bool:
    """One wrong PIN; False when it was not even looked at."""

    async def work(tx: Tx) -> bool:
        now = printer.world.db_now()
        tries = await vouchers.enter(tx, printer.vault, by, now)
        if tries.locked_until(by, now):
            return False
        tries.wrong(by, now)
        await tries.save(tx, now)
        return True

    return await printer.db.transaction(work)


async def may_try(printer: Printer, *by: str) -> bool:
    async def work(tx: Tx) -> bool:
        now = printer.world.db_now()
        tries = await vouchers.enter(tx, printer.vault, by, now)
        await tries.save(tx, now)
        return tries.locked_until(by, now) is None

    return await printer.db.transaction(work)


async def test_after_some_wrong_pins_nothing_is_looked_at_for_an_hour(printer: Printer) -> None:
    for _ in range(MOST_WRONG):
        assert await guess(printer, "session:anna")
    assert not await guess(printer, "session:anna")
    assert not await may_try(printer, "session:anna")
    assert await may_try(printer, "session:ben"), "others may"
    printer.world.clock += LOCKED - timedelta(seconds=1)
    assert not await may_try(printer, "session:anna")
    printer.world.clock += timedelta(seconds=1)
    assert await may_try(printer, "session:anna")
    for _ in range(MOST_WRONG):
        assert await guess(printer, "session:anna"), "and is counted anew"
    assert not await guess(printer, "session:anna")


async def test_wrong_pins_of_another_window_are_forgotten(printer: Printer) -> None:
    for _ in range(3 * MOST_WRONG):
        assert await guess(printer, "session:anna")
        printer.world.clock += WINDOW / (MOST_WRONG - 1)


async def test_new_sessions_help_for_a_while_only_at_one_address_which_many_may_share(printer: Printer) -> None:
    for n in range(MOST_WRONG_AT_AN_ADDRESS):
        assert await guess(printer, f"session:{n}", "address:192.0.2.1", "address:192.0.2.1")
    assert not await guess(printer, "session:new", "address:192.0.2.1")
    assert await may_try(printer, "session:new")


async def test_guesses_at_the_same_moment_are_counted_one_after_the_other(printer: Printer) -> None:
    looked_at = await asyncio.gather(*(guess(printer, "session:anna", f"address:{n % 3}") for n in range(24)))
    assert sum(looked_at) == MOST_WRONG


async def test_nobody_who_is_named_by_nothing_is_counted(printer: Printer) -> None:
    for _ in range(2 * MOST_WRONG):
        assert await guess(printer)


async def test_names_of_people_and_addresses_are_not_kept(printer: Printer) -> None:
    await guess(printer, "address:192.0.2.1")
    assert await printer.sql("SELECT FROM vouchers_guesser g WHERE g::text LIKE '%192%'") == 0
    assert await printer.sql("SELECT FROM vouchers_guesser") == 1


async def test_guessing_from_everywhere_calls_a_person_once(printer: Printer) -> None:
    async def called() -> list[str]:
        return [case.kind for case in await printer.db.transaction(lambda tx: cases.about(tx, "vouchers"))]

    for n in range(WIDESPREAD - 1):
        await guess(printer, f"address:{n}")
    assert await called() == []
    printer.world.clock += WINDOW
    await guess(printer, "address:late")
    assert await called() == [], "the others have stopped"
    printer.world.clock -= timedelta(seconds=1)
    for n in range(WIDESPREAD):
        await guess(printer, f"address:{n}")
    assert await called() == ["voucher_guessing"]


async def test_quiet_guessers_are_forgotten_and_locked_ones_are_not(printer: Printer) -> None:
    async def forgotten() -> int:
        return await printer.db.transaction(lambda tx: vouchers.forget(tx, printer.world.db_now()))

    await guess(printer, "session:anna")
    for _ in range(MOST_WRONG):
        await guess(printer, "session:ben")
    assert await forgotten() == 0
    printer.world.clock += WINDOW
    assert await forgotten() == 1
    assert not await may_try(printer, "session:ben")
    printer.world.clock += LOCKED
    assert await forgotten() == 1


def test_who_is_locked_out_is_told_until_when(printer: Printer) -> None:
    told = TooManyTries(printer.world.db_now())
    assert "after 02:00 UTC" in str(told)
    assert (told.status, told.retryable, told.again_at) == (429, True, printer.world.db_now())
