"""The money that a firm's payments turn into at the bank: entered by one person, confirmed by another, posted once."""

from datetime import date, datetime

from refill import cases, ledger
from refill.cases import Case
from refill.db import Tx
from refill.errors import CannotHappen, NotAllowed, NotFound, OtherContent
from refill.ledger import Posted
from refill.money import Money
from refill.reconcile import days, sql
from refill.reconcile.days import day_id
from refill.reconcile.recharges import PREFIX
from refill.reconcile.taking import one_at_a_time

OPERATOR = "operator"  # who owns the machine, at its command line: the one who may do both
BANK = "main"


async def enter(tx: Tx, method: str, day: date, amount: Money, who: str, now: datetime, *, bank: str = BANK) -> None:
    """Writes down what somebody read on the bank's page; nothing is posted until another person confirms it.

    Until then it may be corrected. Raises NotFound (the day has no statement in that currency), OtherContent (another
    amount stands in the book already), CannotHappen (a supplier's day: see `funding`).
    """
    if method.startswith(PREFIX):
        raise CannotHappen("What we pay a supplier is entered as money paid into its float.")
    await one_at_a_time(tx, method)
    if amount.currency not in {each.payments.currency for each in await days.sums(tx, method, day)}:
        raise NotFound(f"{day} has no statement of {method} in {amount.currency}; take the statement first.")
    where = {"method": method, "day": day.isoformat(), "currency": amount.currency}
    row = await tx.row(sql.SETTLEMENT, **where)
    if row is not None and row[5] is not None:
        if row[:2] != (bank, amount.minor):
            raise OtherContent(f"Another amount was settled for {day}; a correction is an entry of its own.")
        return
    await tx.run(sql.ENTER, bank=bank, minor=amount.minor, who=who, at=now, **where)


async def confirm(tx: Tx, method: str, day: date, amount: Money, who: str, now: datetime) -> None:
    """A second person saw the same amount: debit bank, credit clearing. What is not what was expected is a case.

    amount: what this person saw. Raises NotFound, NotAllowed (who entered it), CannotHappen (it was changed meanwhile).
    """
    await one_at_a_time(tx, method)
    where = {"method": method, "day": day.isoformat(), "currency": amount.currency}
    row = await tx.row(sql.SETTLEMENT, **where)
    if row is None:
        raise NotFound(f"Nobody has entered what the bank got for {day}.")
    bank, minor, entered_by, _, confirmed_by, _ = row
    if minor != amount.minor:
        raise CannotHappen("The amount was changed meanwhile; look at it again.")
    if confirmed_by is not None:
        return
    if who == entered_by != OPERATOR:
        raise NotAllowed("Another person must confirm what you entered.")
    entry = ledger.Entry.of(
        f"{day_id(method, day)}.settled-{amount.currency}",
        (f"bank:{bank}/{amount.currency}", f"clearing:{method}/{amount.currency}", minor),
    )
    (posted,) = await ledger.post(tx, [entry], now)
    assert isinstance(posted, Posted), posted
    await tx.run(sql.CONFIRM, who=who, at=now, **where)
    await _compare(tx, method, day, amount, now)


async def _compare(tx: Tx, method: str, day: date, amount: Money, now: datetime) -> None:
    expected = next(
        each.expected for each in await days.sums(tx, method, day) if each.payments.currency == amount.currency
    )
    if expected != amount:
        says = f"The bank got {amount} for {day} where the statement of {method} promises {expected}."
        at_stake = Money(abs((expected - amount).minor), amount.currency)
        await cases.raise_cases(tx, [Case("difference", f"{method}:settlement:{day}", says, at_stake)], now)
