"""Orders over the three standard wires: what each adapter says, carried to its end by the engine."""

from dataclasses import replace

import pytest
from tests.topup.shop import Shop

from refill.operators import suppliers_by_name
from refill.simulators import shelf as far_ends
from refill.simulators.network import Network
from refill.world import NoAnswer, Request, Response

FAR = "https://far.example"
DAY = 86_400


def plugged(shop: Shop, wire: str, **settings: str) -> Network:
    """From now on the shop's only supplier, northtel, speaks this wire."""
    kept: dict[str, str] = {}

    def keep(name: str, make) -> str:  # type: ignore[no-untyped-def]
        return kept.setdefault(name, make())

    far = far_ends()[wire].plays(keep, FAR, "", shop.world.surroundings())
    led = far_ends()[wire].leads(keep, FAR)
    name = led[f"{wire}_suppliers"]
    led |= {f"{wire}_{name}_{what}": value for what, value in settings.items()}
    made = suppliers_by_name(led)[str(name)]
    shop.trade.suppliers["northtel"] = replace(made, name="northtel")  # type: ignore[index,type-var]
    shop.world.route(FAR, far.handle)
    return far


WIRES = pytest.mark.parametrize("wire", ["tmf654", "electrum", "ucip"])


@WIRES
async def test_an_order_is_delivered(shop: Shop, wire: str) -> None:
    far = plugged(shop, wire)
    order = await shop.sent("139 1234 5678")
    assert (order.status, order.certainty) == ("succeeded", "final")
    assert [credit.face_minor for credit in far.credits] == [5000]


@WIRES
async def test_when_the_answer_is_lost_the_order_is_credited_once_and_ends_delivered(shop: Shop, wire: str) -> None:
    far = plugged(shop, wire)
    order = await shop.sent("139 1234 0002")
    assert (order.status, order.certainty) == ("processing", "unknown")
    await shop.wait(300)
    assert (await shop.order(order.id)).status == "succeeded"
    assert [credit.face_minor for credit in far.credits] == [5000]
    assert far.reversals == []


@WIRES
async def test_a_definite_no_gives_a_partner_the_money_back_at_once(shop: Shop, wire: str) -> None:
    far = plugged(shop, wire)
    order = await shop.sent("139 1234 0003")
    assert (order.status, order.payment, order.certainty) == ("failed", "refunded", "final")
    assert far.credits == []


@pytest.mark.parametrize(("reverses", "certainty"), [("yes", "final"), ("no", "unknown")])
async def test_a_purchase_in_doubt_is_taken_back_where_the_provider_can(
    shop: Shop, reverses: str, certainty: str
) -> None:
    far = plugged(shop, "electrum", reverses=reverses)
    order = await shop.sent("139 1234 0021")
    assert order.certainty == "unknown"
    await shop.wait(3600)
    assert (await shop.order(order.id)).certainty == certainty
    assert far.credits == []


async def test_after_a_refund_nothing_is_refilled_although_nobody_can_be_asked(shop: Shop) -> None:
    far = plugged(shop, "ucip")
    lost = True

    async def deaf(request: Request) -> Response:
        if lost:
            raise NoAnswer("the request was lost")
        return await far.handle(request)  # type: ignore[attr-defined]

    shop.world.route(f"{FAR}/Air", deaf)
    order = await shop.sent("139 1234 5678")
    await shop.wait(DAY + 60)
    order = await shop.order(order.id)
    assert (order.status, order.certainty, order.payment) == ("failed", "provisional", "refunded")
    lost = False
    await shop.wait(DAY)
    assert far.jobs == {}, "credit that we ordered now would be a present"
