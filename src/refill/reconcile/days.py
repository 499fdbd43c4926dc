"""Business days of payment methods: how they stand, what waits in them, and closing them, after which they do not change."""

from dataclasses import dataclass, replace
from datetime import date, datetime
from hashlib import blake2b

from refill import ledger
from refill.db import Row, Tx
from refill.errors import CannotHappen, NotFound
from refill.ids import cell_of, make_id
from refill.ledger import Posted
from refill.money import Money
from refill.reconcile import sql
from refill.reconcile.gaps import Gap, limits
from refill.reconcile.taking import one_at_a_time

MOST_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Day:
    """A business day of one method. The buckets count what is not explained yet and was not settled by a person.

    carried: of ours_only, what belongs into a later statement. waiting: what must be assigned before the day can close.
    oldest: the business day on which the oldest of them was found.
    """

    method: str
    day: date
    state: str  # open | closed
    statement: str | None  # the digest of the file that stands
    closed_by: str | None
    closed_at: datetime | None
    lines: int | None
    matched: int | None
    taken_at: datetime | None
    ours_only: int
    theirs_only: int
    differs: int
    duplicate: int
    carried: int
    waiting: int
    oldest: date | None

    @property
    def may_close(self) -> bool:
        return self.state == "open" and self.statement is not None and not self.waiting


@dataclass(frozen=True, slots=True)
class Sum:
    """What the statement of a day adds up to in one currency, and what the bank got for it."""

    payments: Money
    refunds: Money
    fees: Money
    bank: str | None
    settled: Money | None
    entered_by: str | None
    entered_at: datetime | None
    confirmed_by: str | None
    confirmed_at: datetime | None

    @property
    def expected(self) -> Money:
        """What the firm owes us for the day."""
        return self.payments - self.refunds - self.fees


@dataclass(frozen=True, slots=True)
class Item:
    """Something that did not match, as it stands; the fields of its case are None where it has none."""

    id: str
    gap: Gap
    state: str  # asking | carried | case | settled
    since: date
    how: str
    case_state: str | None
    assigned_to: str | None
    due_at: datetime | None
    resolution: str | None

    @property
    def case_id(self) -> str:
        return f"difference:{self.id}"


async def latest(tx: Tx, *, method: str | None = None, most: int = 60) -> list[Day]:
    """The latest business days, the newest first."""
    return [Day(*row) for row in await tx.rows(sql.DAYS, method=method, day=None, most=most)]


async def find(tx: Tx, method: str, day: date) -> Day:
    """One business day. Raises NotFound."""
    row = await tx.row(sql.DAYS, method=method, day=day.isoformat(), most=1)
    if row is None:
        raise NotFound("Nothing is known of that day.")
    return Day(*row)


async def sums(tx: Tx, method: str, day: date) -> list[Sum]:
    """What a day adds up to, a currency each."""
    return [_sum(row) for row in await tx.rows(sql.SUMS_OF, method=method, day=day.isoformat())]


def _sum(row: Row) -> Sum:
    currency, payments, refunds, fees, bank, minor, *signed = row
    settled = None if minor is None else Money(minor, currency)
    amounts = (Money(payments, currency), Money(refunds, currency), Money(fees, currency))
    return Sum(*amounts, bank, settled, *signed)


async def items(tx: Tx, method: str, day: date, *, most: int = MOST_SHOWN) -> list[Item]:
    """What did not match on a day, what waits for a person first."""
    return [_item(row) for row in await tx.rows(sql.ITEMS, method=method, day=day.isoformat(), most=most)]


def _item(row: Row) -> Item:
    id_, bucket, kind, cell, reference, request_id, transaction, ours, theirs, currency, at, why, state, *rest = row
    gap = Gap(bucket, kind, cell, reference, request_id, transaction, 0, ours, theirs, currency, at, why)
    return Item(id_, gap, state, *rest)


async def close(tx: Tx, method: str, day: date, who: str, now: datetime) -> Day:
    """Closes a day that nothing waits in, and posts what the firm kept: debit fees, credit clearing.

    A day that is closed stays as it was closed. Raises NotFound, CannotHappen (no statement, or something waits).
    """
    await one_at_a_time(tx, method)
    found = await find(tx, method, day)
    if found.state == "closed":
        return found
    if found.statement is None:
        raise CannotHappen(f"{day} has no statement of {method} yet.")
    if found.waiting:
        raise CannotHappen(f"{found.waiting} differences of {day} wait for somebody; assign or settle them first.")
    legs = [_fees(method, each.fees) for each in await sums(tx, method, day)]
    entry = ledger.Entry.of(f"{day_id(method, day)}.fees", *legs)
    if entry.transfers:
        (posted,) = await ledger.post(tx, [entry], now)
        assert isinstance(posted, Posted), posted
    await tx.run(sql.CLOSE, method=method, day=day.isoformat(), who=who, at=now)
    return replace(found, state="closed", closed_by=who, closed_at=now)


def _fees(method: str, fees: Money) -> tuple[str, str, int]:
    """What the firm kept; on a day with many refunds it may have given back more than it kept."""
    kept, clearing = f"fees:{method}/{fees.currency}", f"clearing:{method}/{fees.currency}"
    return (kept, clearing, fees.minor) if fees.minor > 0 else (clearing, kept, -fees.minor)


def day_id(method: str, day: date) -> str:
    """The id under which a day's entries stand in the book: the same whoever closes it, and however often."""
    name = f"{method} {day}"
    chance = int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
    return make_id("rd", cell_of(name), int(limits(day)[0].timestamp() * 1000), chance)
