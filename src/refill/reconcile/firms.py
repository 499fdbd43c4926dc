"""Payment firms as reconciliation sees them: what of a day does not match with our captures and refunds, and asking the firm."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import BinaryIO

from refill.db import Row, Statement, Tx
from refill.errors import NotFound
from refill.ids import cell_of_id
from refill.outcome import Done, Outcome, Refused
from refill.payments import ABSENT, Method, SendsStatements, StatementLine
from refill.reconcile import sql
from refill.reconcile.gaps import CLOCKS, REFUND_PATIENCE, Gap, Side, difference, limits
from refill.topup import Trade, flow, store
from refill.topup.order import order_of


class Firm:
    """The firm behind one payment method."""

    standing: Statement = sql.STANDING

    def __init__(self, method: Method) -> None:
        self.name, self._method = method.name, method

    def read(self, file: BinaryIO) -> Iterator[StatementLine]:
        """The rows of a statement. Raises BadStatement."""
        return self._method.read_statement(file)

    async def gaps(self, tx: Tx, day: date, most: int) -> list[Gap]:
        """What the day's statement or our book has alone, or otherwise; copies are not looked for."""
        _, end = limits(day)
        where = {"method": self.name, "day": day.isoformat(), "most": most}
        payments = await tx.rows(sql.PAYMENTS, clocks=f"{CLOCKS.total_seconds():.0f} seconds", **where)
        refunds = await tx.rows(sql.REFUNDS, **where)
        since_payments, since_refunds = await self._since(tx, day)
        span = {"method": self.name, "until": end, "most": most}
        ours = await tx.rows(sql.OUR_PAYMENTS, since=since_payments, **span)
        our_refunds = await tx.rows(sql.OUR_REFUNDS, since=since_refunds, **span)
        return [
            *map(_payment, payments),
            *map(_refund, refunds),
            *map(_our_payment, ours),
            *map(_our_refund, our_refunds),
        ]

    async def traded(self, tx: Tx, since: datetime, until: datetime) -> bool:
        """Did money arrive by it in that time?"""
        return bool(await tx.value(sql.TRADED, method=self.name, since=since, until=until))

    @property
    def sends(self) -> bool:
        """Are its statements fetched over the wire?"""
        return isinstance(self._method, SendsStatements)

    async def fetch(self, trade: Trade, day: date) -> Outcome[bytes]:
        """The statement of a day; Refused(ABSENT) when there is none (yet)."""
        if not isinstance(self._method, SendsStatements):
            return Refused(ABSENT)
        return await self._method.fetch_statement(trade.world, day)

    async def _since(self, tx: Tx, day: date) -> tuple[datetime, datetime]:
        """From when on our payments and our refunds should stand in a statement: never before there were any.

        A payment is looked for a day longer, because we may hear of it after its day's statement was taken.
        """
        earliest = day - REFUND_PATIENCE - timedelta(days=1)
        rows = await tx.rows(sql.WITH_STATEMENT, method=self.name, since=earliest.isoformat())
        days = {taken for (taken,) in rows}
        before = day - timedelta(days=1)
        return limits(before if before in days else day)[0], limits(min(days | {day}))[0]

    async def ask(self, trade: Trade, kind: str, reference: str, request_id: str) -> None:
        """Asks about a payment or refund, and lets the engine act on the answer, as if a notice had come."""
        dossier = await store.dossier(trade, order_of(reference))
        if kind == "payment":
            await flow.poll_payment(trade, next(p for p in dossier.payments if p.reference == reference))
        else:
            refund = next(r for r in dossier.refunds if r.request_id == request_id)
            answer = await flow.ask_refund(trade, refund)
            if isinstance(answer, Done):
                await flow.refunded(trade, refund, answer)


def order_cell(reference: str) -> int | None:
    """The cell of our order, or None for a reference that is none of ours."""
    if not reference.startswith("tu_"):
        return None
    try:
        return cell_of_id(order_of(reference))
    except NotFound:
        return None


def _payment(row: Row) -> Gap:
    n, cell, reference, transaction, minor, currency, at, *ours, askable = row
    if ours[0] is None:
        return Gap(
            "theirs_only", "payment", cell, reference, "", transaction, n, None, minor, currency, at, "", askable
        )
    why = difference(Side(minor, currency, reference, at), Side(*ours))
    return Gap("differs", "payment", cell, reference, "", transaction, n, ours[0], minor, currency, at, why)


def _refund(row: Row) -> Gap:
    n, cell, reference, request_id, transaction, minor, currency, at, *ours, state = row
    if state != "done":
        # Asked for and not answered: asking again under the same id is the same refund.
        askable = state in ("sent", "stuck") and ours[0] == minor
        return Gap(
            "theirs_only", "refund", cell, reference, request_id, transaction, n, None, minor, currency, at, "", askable
        )
    why = difference(Side(minor, currency, reference, at), Side(*ours), times=False)
    return Gap("differs", "refund", cell, reference, request_id, transaction, n, ours[0], minor, currency, at, why)


def _our_payment(row: Row) -> Gap:
    reference, transaction, minor, currency, at = row
    return Gap("ours_only", "payment", order_cell(reference), reference, "", transaction, 0, minor, None, currency, at)


def _our_refund(row: Row) -> Gap:
    cell, reference, request_id, transaction, minor, currency, at = row
    return Gap("ours_only", "refund", cell, reference, request_id, transaction, 0, minor, None, currency, at)
