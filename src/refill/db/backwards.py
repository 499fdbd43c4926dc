"""Lists by time without an index that a hot table would have to pay for: looking back through windows that widen.

A BRIN index on the time of a row costs next to nothing to write and finds a span of time by the blocks that may hold it.
Whoever wants the latest rows looks at the last seconds first, then at eight times as much, and so on until the page is
full: a busy owner's page takes one look, an empty list about ten.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from refill.db.pool import Tx
from refill.db.statement import Statement

FIRST_WINDOW = timedelta(seconds=4)
WIDER = 8
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)  # nothing of ours is older

MAY_LOOK = Statement("""
    -- Connections of the engine may not scan (decision 17); a list by time reads a few blocks, until its transaction ends
    SELECT set_config('enable_bitmapscan', 'on', true)
""")


async def look_back(tx: Tx) -> None:
    """Allows the statements of this transaction to find rows by their time."""
    await tx.rows(MAY_LOOK)


def backwards(until: datetime, since: datetime | None = None) -> Iterator[tuple[datetime, datetime]]:
    """Windows [since, until) from `until` back to `since`, each wider than the one before."""
    since, width = since or BEGINNING, FIRST_WINDOW
    while until > since:
        start = until - min(width, until - since)
        yield start, until
        until, width = start, width * WIDER
