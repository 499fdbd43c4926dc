"""Sending, settling and asking: one open attempt, one delivery, and no doubt that is mistaken for a no."""

from tests.topup.shop import Shop, table


async def test_a_partners_order_is_held_sent_and_delivered(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    assert (order.status, order.payment, order.delivery) == ("processing", "captured", "ready")
    await shop.tick()
    order = await shop.order(order.id)
    assert (order.status, order.certainty) == ("succeeded", "final")
    assert await shop.story(order.id) == "held sent#1 delivered"
    assert await shop.book(order.id) == table("""
        held.0      | float:kiosk → held:kiosk          | 49.80
        delivered.0 | held:kiosk → sales:topup          | 49.80
        delivered.1 | cost:topup → float:northtel       | 49.60
    """)


async def test_a_guest_pays_at_alipay_and_is_delivered(shop: Shop) -> None:
    order = await shop.guest_pays()
    assert (order.payment, order.delivery) == ("captured", "ready")
    await shop.tick()
    order = await shop.order(order.id)
    assert order.status == "succeeded"
    assert await shop.story(order.id) == "placed paid sent#1 delivered"
