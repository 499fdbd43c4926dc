"""Taking a statement: read in one stream, matched with our book, and what differs asked about or handed to a person."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import chain
from typing import BinaryIO, Protocol

from refill import cases
from refill.cases import Case
from refill.db import Database, Row, Statement, Tx
from refill.db.bulk import Bulk, BulkTx
from refill.errors import CannotHappen, NotFound
from refill.ids import cell_of
from refill.outcome import Outcome
from refill.payments import BadStatement, StatementLine
from refill.reconcile import sql
from refill.reconcile.firms import Firm, order_cell
from refill.reconcile.gaps import (
    Gap,
    Side,
    business_day,
    counts,
    difference,
    first_state,
    limits,
    overdue,
    sentence,
)
from refill.reconcile.recharges import Wholesaler, strangers, supplier_of
from refill.topup import Trade

MOST_GAPS = 10_000  # more than that is not a day with troubles but somebody else's file
BLOCK = 1 << 20  # bytes
ROWS_A_STEP = 1_000  # of progress
ANSWER = ("lines", "matched", "ours", "theirs", "differs", "duplicate", "carried")
WHO = "refill"  # who resolves a case when a later statement explains it

EXPLAINS = {
    "ours_only": "a statement has it now",
    "theirs_only": "our book has it now",
    "differs": "both say the same now",
}

Progress = Callable[[int], None]  # hears how many rows were read


class Counterparty(Protocol):
    """Whose statement is taken: a payment firm, or a supplier under the name of our float there (`float:northtel`)."""

    name: str
    standing: Statement

    @property
    def sends(self) -> bool:
        """Are its statements fetched over the wire?"""

    def read(self, file: BinaryIO) -> Iterator[StatementLine]:
        """The rows of a statement. Raises BadStatement."""

    async def gaps(self, tx: Tx, day: date, most: int) -> list[Gap]:
        """What the day's statement or our book has alone, or otherwise."""

    async def traded(self, tx: Tx, since: datetime, until: datetime) -> bool:
        """Did anything happen between us in that time?"""

    async def fetch(self, trade: Trade, day: date) -> Outcome[bytes]:
        """The statement of a day, as `read` takes it; Refused(ABSENT) when there is none (yet); Unknown."""

    async def ask(self, trade: Trade, kind: str, reference: str, request_id: str) -> None:
        """Asks them about one thing that only their statement has, and lets the engine act on the answer."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement was answered: how many of its rows matched, and how many gaps were found, by bucket.

    carried: those of ours_only that belong into a later statement. again: the same file was taken before.
    """

    method: str
    day: date
    lines: int
    matched: int
    ours_only: int
    theirs_only: int
    differs: int
    duplicate: int
    carried: int
    again: bool = False


async def take(
    trade: Trade,
    bulk: Bulk,
    method: str,
    file: BinaryIO,
    *,
    day: date | None = None,
    progress: Progress = lambda rows: None,
) -> Result:
    """Takes the statement of one business day, whole or not at all, and asks the firm about what only it knows.

    day: needed for a statement without rows; otherwise it is that of the rows, which must then be of one day.
    The same file again is given its first answer; another one for a day that is still open takes the former's place.
    Raises BadStatement, NotFound (no such method), CannotHappen (the day is closed).
    """
    counterparty = statements_of(trade, method)
    digest = _digest(file)

    async def work(tx: Tx) -> Result:
        assert isinstance(tx, BulkTx)
        file.seek(0)
        return await _take(tx, trade.world.db_now(), counterparty, file, digest, day, progress)

    result = await bulk.transaction(work)
    if not result.again:
        await pursue(trade, bulk, counterparty.name)
    return result


def statements_of(trade: Trade, name: str) -> Counterparty:
    """Who writes statements under this name: a method's, a supplier's own, or that of our float there.

    Raises NotFound, and BadStatement for one that writes none that we can read.
    """
    if name in trade.methods:
        if not trade.methods[name].can.statement:
            raise BadStatement(f"There are no statements for {name}.")
        return Firm(trade.methods[name])
    supplier = supplier_of(trade, name)
    if supplier is None:
        raise NotFound("There is no such payment method or supplier, or its settings are missing.")
    return Wholesaler(trade, supplier)


def counterparties(trade: Trade) -> list[Counterparty]:
    """Everybody whose statements we take, in one order for all."""
    firms = [Firm(method) for name, method in sorted(trade.methods.items()) if method.can.statement]
    return [*firms, *(Wholesaler(trade, supplier) for supplier in strangers(trade).values())]


def _digest(file: BinaryIO) -> str:
    whole = hashlib.sha256()
    file.seek(0)
    while block := file.read(BLOCK):
        whole.update(block)
    return whole.hexdigest()


async def _take(
    tx: BulkTx,
    now: datetime,
    counterparty: Counterparty,
    file: BinaryIO,
    digest: str,
    given: date | None,
    progress: Progress,
) -> Result:
    await one_at_a_time(tx, counterparty.name)
    lines = counterparty.read(file)
    first = next(lines, None)
    if first is None:
        if given is None:
            raise BadStatement("The statement holds no rows; name the day that it is for.")
        digest += f" {given}"  # the statements of two quiet days may be the same bytes
    if known := await tx.row(sql.TAKEN, method=counterparty.name, digest=digest):
        return replace(Result(counterparty.name, *known), again=True)
    day = given or business_day(first.at)  # type: ignore[union-attr]
    where = {"method": counterparty.name, "day": day.isoformat()}
    await tx.run(sql.OPEN_DAY, **where)
    row = await tx.row(sql.DAY, **where)
    assert row is not None
    state, standing = row
    if state == "closed":
        raise CannotHappen(f"{day} is closed for {counterparty.name}; what was found later belongs to a later day.")
    if standing is not None:
        await _forget(tx, where)
    sums = Sums(day, given is not None)
    count = await tx.copy(sql.LINES, sums.rows(counterparty.name, chain([first] if first else [], lines), progress))
    await tx.run(sql.LOOK_AT_LINES)
    await sums.save(tx, where)
    await tx.run(sql.STANDS, digest=digest, **where)
    found = await _gaps(tx, counterparty, day)
    await recheck(tx, counterparty, day, now)
    carried = await _keep(tx, counterparty.name, day, found, now)
    ours, theirs, differs, duplicate = counts(found)
    matched = count - (theirs + differs + duplicate)
    answer = (count, matched, ours, theirs, differs, duplicate, carried)
    await tx.run(sql.TAKE, digest=digest, at=now, **dict(zip(ANSWER, answer, strict=True)), **where)
    return Result(counterparty.name, day, *answer)


async def one_at_a_time(tx: Tx, method: str) -> None:
    """Statements of one method are taken, and its days closed, one after the other."""
    await tx.run(sql.ONE_AT_A_TIME, key=0x7265_636F_0000 + cell_of(method))


async def _forget(tx: Tx, where: dict[str, str]) -> None:
    """A corrected statement takes the place of the one that stands for an open day."""
    await tx.run(sql.FORGET_LINES, **where)
    await tx.run(sql.FORGET_SUMS, **where)
    await tx.run(sql.UNSETTLE, **where)


class Sums:
    """What the rows of a statement add up to, in each currency, counted while they pass."""

    def __init__(self, day: date, any_day: bool) -> None:
        self._day = day
        self._start, self._end = limits(day)
        self._any_day = any_day  # the day was named: which rows belong to it, the firm says
        self._totals: dict[str, list[int]] = {}

    def rows(self, method: str, lines: Iterator[StatementLine], progress: Progress) -> Iterator[Row]:
        """The lines as rows of reconcile_line. Raises BadStatement for a row of another day."""
        n = 0
        for n, line in enumerate(lines, 1):
            kind, reference, request_id, transaction, minor, fee_minor, currency, at = line
            if not self._any_day and not self._start <= at < self._end:
                raise BadStatement("The statement has rows of more than one day; name the day that it is for.")
            total = self._totals.setdefault(currency, [0, 0, 0])
            total[kind in ("refund", "reversal")] += minor
            total[2] += fee_minor
            cell = order_cell(reference)
            yield method, self._day, n, kind, cell, reference, request_id, transaction, minor, fee_minor, currency, at
            if n % ROWS_A_STEP == 0:
                progress(n)
        progress(n)

    async def save(self, tx: Tx, where: dict[str, str]) -> None:
        totals = list(self._totals.values())
        await tx.run(
            sql.SUMS,
            currencies=list(self._totals),
            payments=[payments for payments, _, _ in totals],
            refunds=[refunds for _, refunds, _ in totals],
            fees=[fees for _, _, fees in totals],
            **where,
        )


# ------------------------------------------------------------------ what does not match


async def _gaps(tx: Tx, counterparty: Counterparty, day: date) -> list[Gap]:
    """Everything about a day that does not match. Raises BadStatement when that is too much to be this book's day."""
    where = {"method": counterparty.name, "day": day.isoformat(), "most": MOST_GAPS + 1}
    copies = [_copy(row) for row in await tx.rows(sql.COPIES, **where)]
    twice = {gap.n for gap in copies}
    gaps = copies + [gap for gap in await counterparty.gaps(tx, day, MOST_GAPS + 1) if not gap.n or gap.n not in twice]
    if len(gaps) > MOST_GAPS:
        raise BadStatement(f"More than {MOST_GAPS} rows do not match: this statement belongs to other books.")
    return gaps


def _copy(row: Row) -> Gap:
    n, kind, cell, reference, request_id, transaction, minor, currency, at = row
    return Gap("duplicate", kind, cell, reference, request_id, transaction, n, None, minor, currency, at)


# ------------------------------------------------------------------ what becomes of it


async def _keep(tx: Tx, method: str, day: date, gaps: Sequence[Gap], now: datetime) -> int:
    """Adds what is new, opens cases where nothing else is honest; returns how many gaps wait for a later statement."""
    _, end = limits(day)
    states = [first_state(gap, end) for gap in gaps]
    ids = [gap.id(method, day) for gap in gaps]
    added = await tx.rows(
        sql.ADD,
        method=method,
        day=day.isoformat(),
        ids=ids,
        buckets=[gap.bucket for gap in gaps],
        whys=[gap.why for gap in gaps],
        kinds=[gap.kind for gap in gaps],
        cells=[gap.cell for gap in gaps],
        references=[gap.reference for gap in gaps],
        requests=[gap.request_id for gap in gaps],
        transactions=[gap.transaction for gap in gaps],
        ours=[gap.ours_minor for gap in gaps],
        theirs=[gap.theirs_minor for gap in gaps],
        currencies=[gap.currency for gap in gaps],
        ats=[gap.at for gap in gaps],
        states=states,
    )
    new = {id_ for (id_,) in added}
    opened = [
        Case("difference", id_, sentence(gap, method), gap.money)
        for id_, gap, state in zip(ids, gaps, states, strict=True)
        if id_ in new and state == "case"
    ]
    await cases.raise_cases(tx, opened, now)
    return states.count("carried")


async def recheck(tx: Tx, counterparty: Counterparty, day: date | None, now: datetime) -> None:
    """Looks again at everything that was not explained: explained now, still waiting, or a case.

    day: whose statement has just been taken; None when the firm has just been asked.
    """
    method = counterparty.name
    rows = await tx.rows(counterparty.standing, method=method)
    moved: list[tuple[str, str, date, date | None, str]] = []
    opened: list[Case] = []
    for id_, bucket, *rest in rows:
        kind, cell, reference, request_id, transaction, ours, theirs, currency, at, why, state, on, copies, *words = (
            rest
        )
        gap = Gap(bucket, kind, cell, reference, request_id, transaction, 0, ours, theirs, currency, at, why)
        how = _explained(gap, copies, words)
        if how:
            moved.append((id_, "settled", on, day or on, how))
            if state == "case":
                await cases.resolve(tx, f"difference:{id_}", WHO, "explained", how, now)
        elif (state == "carried" and day and overdue(kind, at, limits(day)[1])) or (state == "asking" and not day):
            moved.append((id_, "case", day or on, None, ""))
            opened.append(Case("difference", id_, sentence(gap, method), gap.money))
        elif state == "carried" and day:
            moved.append((id_, "carried", max(day, on), None, ""))
    await tx.run(
        sql.MOVE,
        ids=[id_ for id_, *_ in moved],
        states=[state for _, state, *_ in moved],
        days=[on.isoformat() for _, _, on, *_ in moved],
        settled=[settled and settled.isoformat() for *_, settled, _ in moved],
        hows=[how for *_, how in moved],
    )
    await cases.raise_cases(tx, opened, now)


def _explained(gap: Gap, copies: int, words: Sequence[object]) -> str:
    """How a gap is explained by what both sides say now; empty while it is not."""
    if gap.bucket == "duplicate":
        return "" if copies > 1 else "a corrected statement has it once"
    theirs, ours = (Side(*side) if side[0] is not None else None for side in (words[:4], words[4:]))  # type: ignore[arg-type]
    if theirs is None or ours is None:
        return "no statement has it any more" if theirs is ours else ""
    if difference(theirs, ours, times=gap.kind in ("payment", "recharge")):
        return ""
    return EXPLAINS[gap.bucket]


async def pursue(trade: Trade, db: Database, method: str) -> int:
    """Asks the other side about what only its statement knows, and lets the engine act on the answer; returns how many.

    A payment whose notice was lost pays its order, or goes back, as if the notice had come; a recharge that we did not
    know of delivers its order. What the other side does not confirm becomes a case.
    """
    counterparty = statements_of(trade, method)
    asked = await db.transaction(lambda tx: tx.rows(sql.ASKING, method=counterparty.name))
    for kind, reference, request_id in asked:
        await counterparty.ask(trade, kind, reference, request_id)
    if asked:

        async def look(tx: Tx) -> None:
            await one_at_a_time(tx, counterparty.name)
            await recheck(tx, counterparty, None, trade.world.db_now())

        await db.transaction(look)
    return len(asked)
