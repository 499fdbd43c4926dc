"""When credit may be expected: measured from what arrived lately, and silent where that is too little to say."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from refill.db import Database, Statement, Tx
from refill.topup.pulse import BOUNDS_S

LEAST = 20  # arrivals; from fewer nothing can be said about 95 of 100
SPANS = (timedelta(hours=1), timedelta(hours=24), timedelta(days=7))  # the latest that holds enough of them counts
FRESH = timedelta(seconds=60)  # how long the figures are told without looking again

ARRIVED = Statement("""
    -- How long payers waited for each operator's credit since a moment, by bucket
    SELECT operator, bucket, sum(count)::bigint FROM topup_pulse
     WHERE minute >= :since AND outcome = 'arrived' GROUP BY operator, bucket ORDER BY operator, bucket
""")


@dataclass(frozen=True, slots=True)
class Arriving:
    """Within how many seconds after payment half, and 95 of 100, of an operator's top-ups arrived; drawn from `count`."""

    usual_s: int
    nearly_all_s: int
    count: int


class Figures:
    """The figures of all operators, read anew once a minute."""

    def __init__(self) -> None:
        self._found: Mapping[str, Arriving] = {}
        self._read_at: datetime | None = None

    async def of(self, db: Database, now: datetime) -> Mapping[str, Arriving]:
        """By operator; one of whom too little arrived is absent."""
        if self._read_at is None or now - self._read_at >= FRESH:
            self._found, self._read_at = await db.transaction(lambda tx: measure(tx, now)), now
        return self._found


async def measure(tx: Tx, now: datetime) -> dict[str, Arriving]:
    """What arrived in the last hour; where that is too little, in a day, or in a week."""
    found: dict[str, Arriving] = {}
    for span in SPANS:
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        for operator, bucket, count in await tx.rows(ARRIVED, since=now - span):
            counts[operator][bucket] += count
        for operator, of_it in counts.items():
            if operator not in found and of_it.total() >= LEAST:
                found[operator] = Arriving(within(of_it, 50), within(of_it, 95), of_it.total())
    return found


def within(counts: Mapping[int, int], per_cent: int) -> int:
    """The upper end of the bucket in which this share is reached, so that who says it keeps the promise.

    Of the last bucket, which has no end, the lower one.
    """
    buckets, wanted = sorted(counts), per_cent * sum(counts.values())
    upto = accumulate(counts[bucket] for bucket in buckets)
    bucket = next(bucket for bucket, count in zip(buckets, upto, strict=True) if 100 * count >= wanted)
    return BOUNDS_S[min(bucket, len(BOUNDS_S) - 1)]
