"""A partner's top-ups by time: whole pages, in order, of that partner alone."""

from datetime import timedelta

from tests.topup.shop import NORTHTELS, OWN_NUMBER, Shop

from refill.db import Pool
from refill.topup import Order
from refill.topup.listing import LISTED, listed


async def page(shop: Shop, most: int, behind: Order | None = None, **wanted: object) -> list[str]:
    asked = {"since": None, "operator": None, "status": None, "until": shop.world.db_now(), **wanted}
    last = (behind.created_at, behind.id) if behind else None
    found = await shop.db.transaction(
        lambda tx: listed(tx, f"partner:{shop.partner}", behind=last, most=most, **asked)  # type: ignore[arg-type]
    )
    return [order.id for order in found]


async def bought(shop: Shop, count: int, apart: timedelta = timedelta(hours=5)) -> list[Order]:
    orders = []
    for _ in range(count):
        orders.append(await shop.placed(shop.ask(OWN_NUMBER, payer=f"partner:{shop.partner}", commission_bp=0)))
        shop.world.clock += apart
    return orders


async def test_pages_follow_each_other_from_the_latest_to_the_first(shop: Shop) -> None:
    orders = await bought(shop, 5)
    latest_first = [order.id for order in orders][::-1]
    assert await page(shop, 3) == latest_first[:3]
    assert await page(shop, 3, orders[2]) == latest_first[3:]
    assert await page(shop, 3, orders[0]) == []
    assert await page(shop, 9, since=orders[3].created_at) == latest_first[:2]
    assert await page(shop, 9, until=orders[1].created_at) == latest_first[4:]


async def test_others_orders_are_not_listed(shop: Shop) -> None:
    await shop.guests_order()
    assert await page(shop, 9) == []


async def test_every_state_is_found_by_the_word_that_it_is_shown_with(shop: Shop) -> None:
    """Each row of the table of states, as the order says it and as the statement finds it."""
    (order,) = await bought(shop, 1)
    sent = await shop.placed(shop.ask(NORTHTELS, payer=f"partner:{shop.partner}", commission_bp=0))
    shop.world.clock += timedelta(seconds=1)
    words = {"processing", "succeeded", "partial", "failed", "cancelled", "reversed"}
    payments = ("unpaid", "captured", "refund_pending", "refunded", "expired", "disputed")
    deliveries = ("quoted", "ready", "dispatching", "delivered", "partial", "parked", "unknown", "failed", "reversed")
    for payment in payments:
        for delivery in deliveries:
            await shop.sql(
                "UPDATE topup_order SET payment = :payment, delivery = :delivery WHERE id = :id",
                payment=payment,
                delivery=delivery,
                id=order.id,
            )
            said = (await shop.order(order.id)).status
            assert said in words
            assert order.id in await page(shop, 9, status=said), (payment, delivery)
            for other in words - {said}:
                assert order.id not in await page(shop, 9, status=other), (payment, delivery, other)
    assert await page(shop, 9, operator=sent.operator) == [sent.id]


async def test_a_page_of_a_grown_table_reads_the_blocks_of_its_time(shop: Shop, pool: Pool) -> None:
    """Connections of the engine may not scan; the plan that they keep goes through the index on time."""
    async with pool._pool.connection() as connection:
        await connection.execute(b"""
            INSERT INTO topup_order (cell, id, payer, channel, number, operator, product, supplier, face_minor,
                face_currency, price_minor, currency, days, policy, payment, delivery, captured_minor, created_at)
            SELECT n % 4096, 'tu_' || lpad(n::text, 24, '0'), 'partner:x', 'partner_api', 'n', 'demo', 'demo-50', 'home',
                   5000, 'CNY', 5000, 'CNY', 0, 'never', 'captured', 'delivered', 5000,
                   timestamptz '2026-11-01 00:00+00' + n * interval '1 minute'
              FROM generate_series(1, 20000) AS n
        """)
        await connection.execute(b"ANALYZE topup_order")
        await connection.execute(b"SELECT brin_summarize_new_values('topup_order_created')")
        rows = await (await connection.execute(b"EXPLAIN (GENERIC_PLAN) " + LISTED.wire)).fetchall()
    plan = "\n".join(row[0] for row in rows)
    assert "Bitmap Index Scan on topup_order_created" in plan, plan
