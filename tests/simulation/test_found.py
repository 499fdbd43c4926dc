"""What seeded days, or reading for them, found in the engine; each as a story, so that it stays found."""

from tests.topup.shop import NORTHTEL, Lossy, Shop

from refill.db import Pool
from refill.world import NoAnswer, Request, Response

DAY = 86_400


async def test_once_the_payer_has_the_money_back_nothing_is_sent_again(dsn: str) -> None:
    pool = await Pool(dsn, size=4).open()
    try:
        shop = await Shop(Lossy(pool), dedups="yes", not_found_final_s="never").open()

        broken = True

        async def wire(request: Request) -> Response:
            if broken and request.method == "POST":
                raise NoAnswer("what we order is lost on the way, what we ask is answered: not found")
            return await shop.northtel.handle(request)

        shop.world.route(f"{NORTHTEL}/", wire)
        order = await shop.placed(shop.partners_ask("139 1234 5678"))
        await shop.wait(DAY + 3600)
        assert (await shop.order(order.id)).payment == "refunded"
        broken = False  # the wire is whole again, and we go on asking
        await shop.wait(DAY)
        assert shop.northtel.credits == []
        shop.world.die()
        assert shop.world.errors == []
    finally:
        await pool.close()
