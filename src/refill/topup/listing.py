"""A partner's top-ups, the latest first, a page at a time."""

from datetime import datetime, timedelta

from refill.db import Statement, Tx, backwards, look_back
from refill.topup import store
from refill.topup.order import Order

_MOMENT = timedelta(microseconds=1)

# As `Order.status` says it.
_STATUS = """
    CASE WHEN o.delivery = 'delivered' THEN 'succeeded'
         WHEN o.delivery IN ('partial', 'reversed', 'failed') THEN o.delivery
         WHEN o.delivery = 'unknown' AND o.payment IN ('refund_pending', 'refunded') THEN 'failed'
         WHEN o.payment = 'expired' THEN 'cancelled'
         ELSE 'processing' END
"""

LISTED = Statement(f"""
    -- A payer's orders within a span of time, the latest first, behind the last one shown
    SELECT o.id
      FROM topup_order o
     WHERE o.created_at >= :since AND o.created_at < :until AND o.payer = :payer
       AND (o.created_at, o.id) < (:at::timestamptz, :id::text)
       AND (:operator::text IS NULL OR o.operator = :operator)
       AND (:status::text IS NULL OR {_STATUS} = :status)
     ORDER BY o.created_at DESC, o.id DESC LIMIT :most::int
""")


async def listed(
    tx: Tx,
    payer: str,
    *,
    since: datetime | None,
    until: datetime,
    behind: tuple[datetime, str] | None,
    operator: str | None,
    status: str | None,
    most: int,
) -> list[Order]:
    """The latest `most` orders of a payer made before `until`, behind the last one shown, not before `since`."""
    found: list[str] = []
    last = behind or (until, "")
    await look_back(tx)
    for start, end in backwards(min(until, last[0] + _MOMENT) if behind else until, since):
        rows = await tx.rows(
            LISTED,
            payer=payer,
            since=start,
            until=end,
            at=last[0],
            id=last[1],
            operator=operator,
            status=status,
            most=most - len(found),
        )
        found += [id_ for (id_,) in rows]
        if len(found) == most:
            break
    return [order for order in await store.find_in(tx, found) if order]
