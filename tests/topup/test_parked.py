"""Orders that wait for our float: woken at once by money that is seen, the oldest first, as far as it goes."""

from datetime import timedelta

from tests.topup.shop import Shop

from refill.money import money
from refill.topup import parked


async def test_money_wakes_the_oldest_first_as_far_as_it_goes(shop: Shop) -> None:
    shop.northtel.float_minor = 0
    orders = []
    for n in range(3):
        orders.append(await shop.sent(f"139 1234 {6000 + n}"))
        await shop.world.advance(1)
    assert {order.delivery for order in orders} == {"parked"}
    now = shop.world.db_now()
    waiting = await shop.db.transaction(lambda tx: parked.waiting(tx, ["northtel"]))
    assert {key: (count, minor) for key, (count, _, minor) in waiting.items()} == {("northtel", "CNY"): (3, 14_880)}
    at = shop.db.transaction
    assert await at(lambda tx: parked.wake(tx, "northtel", money("99.00 USD"), now)) == 0
    assert await at(lambda tx: parked.wake(tx, "northtel", money("49.59 CNY"), now)) == 0
    assert await at(lambda tx: parked.wake(tx, "northtel", money("99.20 CNY"), now)) == 2
    assert await at(lambda tx: parked.wake(tx, "northtel", money("99.20 CNY"), now)) == 0, "they are awake"
    assert (await shop.order(orders[0].id)).wake_at == now
    assert (await shop.order(orders[2].id)).wake_at > now + timedelta(seconds=30)  # type: ignore[operator]
