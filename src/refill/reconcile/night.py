"""Each morning the statements of the day before are fetched from the firms and suppliers that send them, and taken."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from io import BytesIO

from refill import cases
from refill.cases import Case
from refill.db import Database, Tx
from refill.db.bulk import Bulk
from refill.errors import CannotHappen
from refill.outcome import Done
from refill.payments import BadStatement
from refill.reconcile import sql
from refill.reconcile.gaps import BUSINESS_ZONE, limits
from refill.reconcile.taking import Counterparty, Result, counterparties, pursue, statements_of, take
from refill.topup import Trade

READY = time(9, 30)  # the firms have made yesterday's statements by then
LOOKBACK = 3  # days; a statement that is not there then is fetched by a person


def due_days(now: datetime) -> list[date]:
    """The business days whose statements should be there, the oldest first."""
    here = now.astimezone(BUSINESS_ZONE)
    latest = here.date() - timedelta(days=1 if here.time() >= READY else 2)
    return [latest - timedelta(days=back) for back in reversed(range(LOOKBACK))]


async def missing(trade: Trade, db: Database) -> list[tuple[str, date]]:
    """The statements that should be there and are not, by method and day."""
    days = due_days(trade.world.db_now())
    names = [one.name for one in counterparties(trade) if one.sends]

    async def look(tx: Tx) -> list[tuple[str, date]]:
        found = []
        for name in names:
            there = {day for (day,) in await tx.rows(sql.WITH_STATEMENT, method=name, since=days[0].isoformat())}
            found += [(name, day) for day in days if day not in there]
        return found

    return await db.transaction(look)


async def nightly(trade: Trade, bulk: Bulk) -> Sequence[Result | BadStatement | CannotHappen]:
    """Fetches and takes every statement that is missing, and goes on asking about what was left unasked.

    What a firm has not made yet is fetched another time. A statement that cannot be taken is returned as its refusal,
    and is a case; so is one that is still missing on its last day, if money arrived on its day.
    """
    answers: list[Result | BadStatement | CannotHappen] = []
    troubles: list[Case] = []
    for name, day in await missing(trade, bulk):
        counterparty = statements_of(trade, name)
        fetched = await counterparty.fetch(trade, day)
        if isinstance(fetched, Done):
            try:
                answers.append(await take(trade, bulk, name, BytesIO(fetched.reference), day=day))
            except (BadStatement, CannotHappen) as refusal:
                answers.append(refusal)
                troubles.append(_trouble(name, day, f"was refused: {refusal}"))
        elif day == due_days(trade.world.db_now())[0] and await _traded(bulk, counterparty, day):
            troubles.append(_trouble(name, day, "cannot be fetched; take it by hand."))
    await bulk.transaction(lambda tx: cases.raise_cases(tx, troubles, trade.world.db_now()))
    for one in counterparties(trade):
        await pursue(trade, bulk, one.name)
    return answers


def _trouble(name: str, day: date, says: str) -> Case:
    return Case("difference", f"{name}:statement:{day}", f"The statement of {name} for {day} {says}")


async def _traded(db: Database, counterparty: Counterparty, day: date) -> bool:
    since, until = limits(day)
    return await db.transaction(lambda tx: counterparty.traded(tx, since, until))
