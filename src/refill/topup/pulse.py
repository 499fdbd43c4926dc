"""The pulse of suppliers: what became of attempts, minute by minute, and how long credit takes to arrive.

Whoever settles a batch adds its counts in the same transaction. Reading an hour is reading a few hundred rows: no
attempt is ever scanned for it.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from refill.db import Statement, Tx
from refill.money import Money

# The upper ends of the buckets in which times are counted, in seconds; what takes longer falls into one more.
BOUNDS_S = (1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600, 7200, 14_400, 86_400)
HOUR = timedelta(hours=1)
KEPT = timedelta(days=8)

# What is counted of a supplier: credit that came; a no that does not speak against it, about the number or our own
# empty float; a no about the supplier itself; an answer that told nothing. And how long payers waited for their credit.
DONE, DECLINED, REFUSED, UNKNOWN, ARRIVED = "done", "declined", "refused", "unknown", "arrived"
GOOD, BAD = frozenset({DONE, DECLINED}), frozenset({REFUSED, UNKNOWN})

ADD = Statement("""
    -- Counts of one batch; sorted by the caller, so that two batches cannot wait for each other
    INSERT INTO topup_pulse AS p (minute, supplier, operator, outcome, bucket, count, minor)
    SELECT :minute, * FROM unnest(:suppliers::text[], :operators::text[], :outcomes::text[], :buckets::smallint[],
                                  :counts::int[], :minors::bigint[])
        ON CONFLICT (minute, supplier, operator, outcome, bucket) DO UPDATE
       SET count = p.count + excluded.count, minor = p.minor + excluded.minor
""")

SINCE = Statement("""
    -- What became of attempts since a minute, by supplier and operator
    SELECT supplier, operator, outcome, bucket, sum(count)::bigint, sum(minor)::bigint FROM topup_pulse
     WHERE minute >= :since GROUP BY supplier, operator, outcome, bucket ORDER BY supplier, operator, outcome, bucket
""")

ARRIVALS = Statement("""
    -- How long payers waited for an operator's credit
    SELECT bucket, sum(count)::bigint FROM topup_pulse
     WHERE minute >= :since AND operator = :operator AND outcome = 'arrived' GROUP BY bucket ORDER BY bucket
""")

FORGET = Statement("""
    -- Counts that nobody looks at any more
    DELETE FROM topup_pulse WHERE minute < :before
""")

SEE = Statement("""
    -- What suppliers say is left of our floats
    INSERT INTO topup_float_seen AS f (supplier, currency, minor, seen_at)
    SELECT supplier, currency, minor, :at FROM unnest(:suppliers::text[], :currencies::text[], :minors::bigint[])
        AS t (supplier, currency, minor)
        ON CONFLICT (supplier, currency) DO UPDATE
       SET minor = excluded.minor, seen_at = excluded.seen_at
     WHERE f.seen_at <= excluded.seen_at
""")

SEEN = Statement("""
    SELECT supplier, currency, minor, seen_at FROM topup_float_seen ORDER BY supplier, currency
""")


# ------------------------------------------------------------------ counting


def bucket_of(took: timedelta) -> int:
    """The bucket in which a time is counted; `len(BOUNDS_S)` for what takes longer than a day."""
    return bisect_left(BOUNDS_S, took.total_seconds())


@dataclass(slots=True)
class Tally:
    """The counts of one batch, gathered while it is decided."""

    counts: Counter[tuple[str, str, str, int]] = field(default_factory=Counter)
    minors: Counter[tuple[str, str, str, int]] = field(default_factory=Counter)
    emptied: set[str] = field(default_factory=set)  # suppliers where our float is used up
    _quickest: dict[tuple[str, bool], timedelta] = field(default_factory=dict)

    def add(self, supplier: str, operator: str, outcome: str, took: timedelta, minor: int = 0) -> None:
        """One attempt, or one order that arrived."""
        key = (supplier, operator, outcome, bucket_of(took))
        self.counts[key] += 1
        self.minors[key] += minor
        if outcome != ARRIVED:
            good = outcome in GOOD
            self._quickest[supplier, good] = min(took, self._quickest.get((supplier, good), took))

    def bad(self, supplier: str) -> int:
        """How many answers speak against a supplier."""
        return sum(n for (name, _, outcome, _), n in self.counts.items() if name == supplier and outcome in BAD)

    def answers(self, supplier: str) -> int:
        """How many answers say something of a supplier."""
        return sum(n for (name, _, outcome, _), n in self.counts.items() if name == supplier and outcome != ARRIVED)

    def youngest(self, supplier: str, now: datetime, *, good: bool | None = None) -> datetime:
        """When the youngest attempt began that was answered, well (`good`) or ill; long ago, when none was."""
        kinds = (True, False) if good is None else (good,)
        took = [self._quickest[supplier, kind] for kind in kinds if (supplier, kind) in self._quickest]
        return now - min(took, default=KEPT)


async def add(tx: Tx, tally: Tally, now: datetime) -> None:
    """Adds a batch to its minute. These rows are locked last of all: after every account."""
    rows = sorted(tally.counts)
    if rows:
        await tx.run(
            ADD,
            minute=_minute(now),
            suppliers=[supplier for supplier, *_ in rows],
            operators=[operator for _, operator, *_ in rows],
            outcomes=[outcome for *_, outcome, _ in rows],
            buckets=[bucket for *_, bucket in rows],
            counts=[tally.counts[row] for row in rows],
            minors=[tally.minors[row] for row in rows],
        )


async def forget(tx: Tx, now: datetime) -> None:
    """Drops what is older than KEPT."""
    await tx.run(FORGET, before=_minute(now) - KEPT)


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


# ------------------------------------------------------------------ how suppliers do


@dataclass(slots=True)
class Beat:
    """How a supplier does with one operator's credit.

    times: attempts that were done, by bucket. minor: what the supplier took for them.
    """

    declined: int = 0
    refused: int = 0
    unknown: int = 0
    minor: int = 0
    times: Counter[int] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        return self.times.total()

    @property
    def answers(self) -> int:
        """How many attempts said something of the supplier, for it or against it."""
        return self.done + self.declined + self.refused + self.unknown

    @property
    def bad(self) -> int:
        """How many of them speak against it."""
        return self.refused + self.unknown

    def typical_s(self, share: float = 0.5) -> int | None:
        """In how many seconds this share of what was done was done; None when nothing was."""
        return _within(self.times, share)


Beats = Mapping[tuple[str, str], Beat]


async def since(tx: Tx, moment: datetime) -> Beats:
    """By supplier and operator, from the minute of `moment` on."""
    beats: dict[tuple[str, str], Beat] = defaultdict(Beat)
    for supplier, operator, outcome, bucket, count, minor in await tx.rows(SINCE, since=_minute(moment)):
        beat = beats[supplier, operator]
        match outcome:
            case "done":
                beat.times[bucket] += count
                beat.minor += minor
            case "declined":
                beat.declined += count
            case "refused":
                beat.refused += count
            case "unknown":
                beat.unknown += count
    return dict(beats)


# ------------------------------------------------------------------ how long credit takes to arrive


@dataclass(frozen=True, slots=True)
class Arrivals:
    """In how many seconds after payment half, 90 % and 99 % of an operator's top-ups arrived.

    Upper ends of buckets: whoever says "within 30 s" keeps the promise. `count` says how many they are drawn from.
    """

    count: int
    half_s: int
    most_s: int
    nearly_all_s: int


async def arrivals(tx: Tx, operator: str, now: datetime, span: timedelta = HOUR) -> Arrivals | None:
    """Of the last hour, or another span up to KEPT; None when nothing arrived in it."""
    counts: Counter[int] = Counter(dict(await tx.rows(ARRIVALS, since=_minute(now - span), operator=operator)))
    half, most, nearly_all = (_within(counts, share) for share in (0.5, 0.9, 0.99))
    if half is None or most is None or nearly_all is None:
        return None
    return Arrivals(counts.total(), half, most, nearly_all)


def _within(counts: Mapping[int, int], share: float) -> int | None:
    """The upper end of the bucket in which this share is reached; of the last one, which has none, its lower end."""
    left = share * sum(counts.values())
    for bucket in sorted(counts):
        left -= counts[bucket]
        if left <= 1e-9:
            return BOUNDS_S[min(bucket, len(BOUNDS_S) - 1)]
    return None


# ------------------------------------------------------------------ our floats at suppliers


@dataclass(frozen=True, slots=True)
class FloatSeen:
    """What a supplier last said is left of our float there."""

    supplier: str
    left: Money
    seen_at: datetime


async def see(tx: Tx, floats: Iterable[tuple[str, Money]], now: datetime) -> None:
    """Keeps what suppliers say of our floats; a younger word is never overwritten."""
    rows: Sequence[tuple[str, Money]] = sorted(floats, key=lambda row: (row[0], row[1].currency))
    if rows:
        await tx.run(
            SEE,
            at=now,
            suppliers=[supplier for supplier, _ in rows],
            currencies=[left.currency for _, left in rows],
            minors=[left.minor for _, left in rows],
        )


async def floats_seen(tx: Tx) -> list[FloatSeen]:
    """All floats that were ever seen."""
    return [FloatSeen(supplier, Money(minor, currency), at) for supplier, currency, minor, at in await tx.rows(SEEN)]
