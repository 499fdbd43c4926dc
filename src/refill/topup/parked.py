"""Orders that wait for our float at a supplier: woken at once when there is money again, as far as it goes."""

from datetime import datetime

from refill.db import Statement, Tx
from refill.money import Money

MOST = 5_000  # orders woken at a time; the next reading wakes the others

WAKE = Statement("""
    -- Orders that wait for a float, the oldest first, as far as the money goes: their timers ring now
    WITH waiting AS (
      SELECT cell, id, sum(coalesce(cost_minor, price_minor)) OVER (ORDER BY created_at, id) AS upto
        FROM topup_order
       WHERE supplier = :supplier AND delivery = 'parked' AND payment = 'captured'
         AND coalesce(cost_currency, currency) = :currency
       ORDER BY created_at, id LIMIT :most),
    locked AS (
      SELECT o.cell, o.id FROM waiting w JOIN topup_order o ON o.cell = w.cell AND o.id = w.id
       WHERE w.upto <= :minor AND o.wake_at > :now AND o.delivery = 'parked'
       ORDER BY o.cell, o.id FOR UPDATE OF o SKIP LOCKED)
    UPDATE topup_order o SET wake_at = :now, due = :now FROM locked WHERE o.cell = locked.cell AND o.id = locked.id
""")

WAITING = Statement("""
    -- How many orders wait for floats, and since when
    SELECT supplier, coalesce(cost_currency, currency) AS bill, count(*), min(created_at),
           sum(coalesce(cost_minor, price_minor))::bigint
      FROM topup_order WHERE delivery = 'parked' AND supplier = ANY (:suppliers::text[]) GROUP BY supplier, bill
""")


async def wake(tx: Tx, supplier: str, left: Money, now: datetime) -> int:
    """Wakes the orders that `left`, the money in our float there, can pay for; returns how many."""
    return await tx.run(WAKE, supplier=supplier, currency=left.currency, minor=left.minor, now=now, most=MOST)


async def waiting(tx: Tx, suppliers: list[str]) -> dict[tuple[str, str], tuple[int, datetime, int]]:
    """By supplier and currency of its bill: how many orders wait for the float, since when, and what they would cost."""
    rows = await tx.rows(WAITING, suppliers=suppliers)
    return {(supplier, bill): (count, since, minor) for supplier, bill, count, since, minor in rows}
