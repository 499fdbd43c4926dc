"""Suppliers as reconciliation sees them: what of a day does not match with the costs that our book has, and asking them.

A supplier's days stand under the name of our float there, `float:northtel`. Our side is the book itself: what was posted
out of the float for an order, and back into it; the attempt that it was posted for tells our number and theirs.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import BinaryIO

from refill import numbers, stock
from refill.db import Row, Statement, Tx
from refill.money import EXPONENT
from refill.operators import ReadsStatements, SendsStatements, Supplier
from refill.outcome import Outcome, Refused
from refill.payments import ABSENT, BadStatement, StatementLine
from refill.reconcile import sql
from refill.reconcile.gaps import CLOCKS, REFUND_PATIENCE, Gap, Side, difference, limits
from refill.topup import Trade, flow, store
from refill.topup.order import order_of
from refill.topup.send import recharge_of

PREFIX = "float:"


def supplier_of(trade: Trade, name: str) -> Supplier | None:
    """The supplier of this name, or of this float."""
    return strangers(trade).get(name.removeprefix(PREFIX))


def strangers(trade: Trade) -> dict[str, Supplier]:
    """The suppliers that hold money of ours, by name; our own stock of PINs does not."""
    return {name: supplier for name, supplier in sorted(trade.suppliers.items()) if name != stock.SUPPLIER}


class Wholesaler:
    """A supplier with a statement: its own, or a table of text that its terms lay out."""

    standing: Statement = sql.STANDING_RECHARGES

    def __init__(self, trade: Trade, supplier: Supplier) -> None:
        self.supplier, self.name = supplier, f"{PREFIX}{supplier.name}"
        terms = trade.terms.get(supplier.name)
        self._reads: ReadsStatements | None = terms.reads if terms else None
        if self._reads is None and isinstance(supplier, ReadsStatements):
            self._reads = supplier

    def read(self, file: BinaryIO) -> Iterator[StatementLine]:
        """The rows of a statement. Raises BadStatement."""
        if self._reads is None:
            name = self.supplier.name
            raise BadStatement(
                f"Nothing tells how a statement of {name} is laid out; set terms_{name}_statement_columns."
            )
        for kind, request_id, reference, minor, currency, at in self._reads.read_statement(file):
            # Without a number of theirs ours stands in its place, so that two such rows are not one.
            yield StatementLine(kind, request_id, request_id, reference or request_id, minor, 0, currency, at)

    async def gaps(self, tx: Tx, day: date, most: int) -> list[Gap]:
        """What the day's statement or our book has alone, or otherwise."""
        _, end = limits(day)
        where = {"method": self.name, "day": day.isoformat(), "most": most}
        lines = await tx.rows(
            sql.RECHARGES, supplier=self.supplier.name, clocks=f"{CLOCKS.total_seconds():.0f} seconds", **where
        )
        recharged, returned = await self._since(tx, day)
        span = {
            "method": self.name,
            "supplier": self.supplier.name,
            "accounts": self._accounts,
            "until": end,
            "most": most,
        }
        ours = await tx.rows(sql.OUR_RECHARGES, since=recharged, **span)
        back = await tx.rows(sql.OUR_REVERSALS, since=returned, **span)
        return [
            *map(_line, lines),
            *(_ours("recharge", row) for row in ours),
            *(_ours("reversal", row) for row in back),
        ]

    @property
    def _accounts(self) -> list[str]:
        return [f"{self.name}/{currency}" for currency in EXPONENT]

    async def traded(self, tx: Tx, since: datetime, until: datetime) -> bool:
        """Did anything leave our float there in that time?"""
        return bool(await tx.value(sql.RECHARGED, accounts=self._accounts, since=since, until=until))

    async def fetch(self, trade: Trade, day: date) -> Outcome[bytes]:
        """The statement of a day over the wire of a supplier that lists what it did; Refused(ABSENT) of the others."""
        if not isinstance(self.supplier, SendsStatements):
            return Refused(ABSENT)
        return await self.supplier.fetch_statement(trade.world, *limits(day))

    @property
    def sends(self) -> bool:
        """Are its statements fetched over the wire?"""
        return isinstance(self.supplier, SendsStatements) and self._reads is self.supplier

    async def _since(self, tx: Tx, day: date) -> tuple[datetime, datetime]:
        """From when on our recharges and reversals should stand in a statement: never before there were any."""
        earliest = day - REFUND_PATIENCE - timedelta(days=1)
        rows = await tx.rows(sql.WITH_STATEMENT, method=self.name, since=earliest.isoformat())
        days = {taken for (taken,) in rows}
        before = day - timedelta(days=1)
        return limits(before if before in days else day)[0], limits(min(days | {day}))[0]

    async def ask(self, trade: Trade, kind: str, reference: str, request_id: str) -> None:
        """Asks what became of a recharge, without sending it again; a reversal is asked about by its own timer."""
        dossier = await store.dossier(trade, order_of(reference))
        attempt = next((a for a in dossier.attempts if a.request_id == reference), None)
        index = dossier.order.number
        msisdns: Mapping[str, numbers.Msisdn] = await trade.db.transaction(
            lambda tx: numbers.reveal(tx, trade.vault, [index])
        )
        if kind == "recharge" and attempt is not None and index in msisdns:
            ask = recharge_of(dossier.order, attempt, msisdns[index].digits, attempt.send_before)
            await flow.settle(trade, [await flow.inquire(trade, attempt, ask, resend=False)])


def _line(row: Row) -> Gap:
    """A row of theirs that our book does not have, or has otherwise. Without a cost in our book nothing was delivered."""
    n, kind, cell, reference, request_id, transaction, theirs_id, minor, currency, at, *ours, state = row
    if ours[0] is None:
        askable = kind == "recharge" and state is not None
        return Gap(
            "theirs_only", kind, cell, reference, request_id, transaction, n, None, minor, currency, at, "", askable
        )
    why = difference(Side(minor, currency, theirs_id, at), Side(*ours), times=kind == "recharge")
    return Gap("differs", kind, cell, reference, request_id, transaction, n, ours[0], minor, currency, at, why)


def _ours(kind: str, row: Row) -> Gap:
    cell, request_id, transaction, minor, currency, at = row
    return Gap("ours_only", kind, cell, request_id, request_id, transaction, 0, minor, None, currency, at)
