"""What moved in and out of a float, for its owner: the latest moves a page at a time, and days with their balances."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from refill.db import Row, Statement, Tx, backwards, look_back
from refill.ledger.accounts import cell_of_account
from refill.ledger.stripes import MOST, stripes_of

KINDS = ("topup", "refund", "reversal", "deposit", "adjustment")

# Between stripes of one float nothing moves for its owner. An order's id begins with tu, a deposit's with de.
_KIND = """
    CASE WHEN t.id LIKE 'de\\_%' AND t.credit = ANY (:names::text[]) THEN 'deposit'
         WHEN t.id NOT LIKE 'tu\\_%' THEN 'adjustment'
         WHEN t.debit = ANY (:names::text[]) THEN 'topup'
         WHEN split_part(t.id, '.', 2) = 'reversed' THEN 'reversal'
         ELSE 'refund' END
"""
_MINOR = "CASE WHEN t.credit = ANY (:names::text[]) THEN t.minor ELSE -t.minor END"
_OURS = "(t.credit = ANY (:names::text[])) <> (t.debit = ANY (:names::text[]))"

MOVES = Statement(f"""
    -- Transfers into and out of a float within a span of time, the latest first, behind the last one shown
    SELECT * FROM (
      SELECT t.id, t.at, {_KIND} AS kind, {_MINOR} AS minor
        FROM ledger_transfer t
       WHERE t.at >= :since AND t.at < :until AND {_OURS}) AS move
     WHERE (move.at, move.id) < (:at::timestamptz, :id::text) AND (:kind::text IS NULL OR move.kind = :kind)
     ORDER BY move.at DESC, move.id DESC LIMIT :most::int
""")

MOVES_OF = Statement(f"""
    -- The transfers of one order into and out of a float, the latest first
    SELECT t.id, t.at, {_KIND} AS kind, {_MINOR} AS minor
      FROM ledger_transfer t
     WHERE t.cell = :cell AND t.id >= :source || '.' AND t.id < :source || '/' AND {_OURS}
     ORDER BY t.at DESC, t.id DESC
""")

DAYS = Statement(f"""
    -- What moved in a float within each of some spans, by kind, and since; with its balance now, in one look at the book
    SELECT width_bucket(t.at, :bounds::timestamptz[]) AS span, {_KIND} AS kind, count(*), sum({_MINOR})::bigint
      FROM ledger_transfer t
     WHERE t.at >= :since AND {_OURS}
     GROUP BY 1, 2
     UNION ALL
    SELECT 0, 'balance', 0, coalesce(sum(a.balance), 0)::bigint
      FROM unnest(:cells::smallint[], :names::text[]) AS asked (cell, name)
      JOIN ledger_account a ON a.cell = asked.cell AND a.name = asked.name
""")


@dataclass(frozen=True, slots=True)
class Move:
    """One transfer into a float (above zero) or out of it; `source` is the order or deposit that it belongs to."""

    id: str
    source: str
    at: datetime
    kind: str  # of KINDS
    minor: int


@dataclass(frozen=True, slots=True)
class Span:
    """A float over a span of time: what it held, what moved by kind as (how often, minor units), what it held then."""

    since: datetime
    until: datetime
    opening: int
    moved: dict[str, tuple[int, int]]
    closing: int


async def moves(
    tx: Tx,
    account: str,
    *,
    since: datetime | None,
    until: datetime,
    behind: tuple[datetime, str] | None,
    kind: str | None,
    most: int,
) -> list[Move]:
    """The latest `most` moves of a float before `until`, behind the last one shown, not before `since`."""
    names, found = _names(account), list[Move]()
    last = behind or (until, "")
    await look_back(tx)
    for start, end in backwards(min(until, last[0] + _MOMENT) if behind else until, since):
        rows = await tx.rows(
            MOVES,
            names=names,
            since=start,
            until=end,
            at=last[0],
            id=last[1],
            kind=kind,
            most=most - len(found),
        )
        found += map(_move, rows)
        if len(found) == most:
            break
    return found


async def moves_of(tx: Tx, account: str, source: str, cell: int) -> list[Move]:
    """What one order moved in a float, the latest first."""
    return list(map(_move, await tx.rows(MOVES_OF, names=_names(account), cell=cell, source=source)))


async def spans(tx: Tx, account: str, bounds: Sequence[datetime]) -> list[Span]:
    """A float between each two bounds, which rise; its balances are counted back from the one that it has now."""
    names = _names(account)
    await look_back(tx)
    moved: dict[int, dict[str, tuple[int, int]]] = {}
    for n, kind, count, minor in await tx.rows(
        DAYS, names=names, cells=[cell_of_account(name) for name in names], bounds=list(bounds), since=bounds[0]
    ):
        moved.setdefault(n, {})[kind] = (count, minor)
    closing = moved[0]["balance"][1] - _sum(moved.get(len(bounds), {}))
    told = []
    for n in range(len(bounds) - 1, 0, -1):
        opening = closing - _sum(moved.get(n, {}))
        told.append(Span(bounds[n - 1], bounds[n], opening, moved.get(n, {}), closing))
        closing = opening
    return told[::-1]


_MOMENT = timedelta(microseconds=1)


def _names(account: str) -> list[str]:
    """A float and all stripes that it may have or have had."""
    return stripes_of(account, MOST)


def _move(row: Row) -> Move:
    id_, at, kind, minor = row
    return Move(id_, id_.partition(".")[0], at, kind, minor)


def _sum(moved: dict[str, tuple[int, int]]) -> int:
    return sum(minor for _, minor in moved.values())
