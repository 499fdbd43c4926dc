"""Orders through a wholesale platform, which takes first and tells later: chased, parked, and never sent twice."""

import pytest
from tests.topup.shop import US, Shop

from refill.money import Money
from refill.operators import suppliers_by_name
from refill.outcome import Done
from refill.simulators.yrapi import YrapiSimulator
from refill.world import NoAnswer, Request, Response

URL = "https://wholesale.example/yrapi.php"
SETTINGS = {
    "yrapi_suppliers": "northtel",  # under the name by which the catalogue knows who delivers
    "yrapi_northtel_url": URL,
    "yrapi_northtel_userid": "10001",
    "yrapi_northtel_apikey": "only for these tests",
    "yrapi_northtel_products": "cmcc-50/50=1050",
}


@pytest.fixture
def platform(shop: Shop) -> YrapiSimulator:
    """The platform that the shop buys from, which sends its notices."""
    assert isinstance(shop.trade.suppliers, dict)
    shop.trade.suppliers.update(suppliers_by_name(SETTINGS))
    us = f"{US}/callbacks/northtel"
    platform = YrapiSimulator(
        **shop.world.surroundings(), apikey="only for these tests", base_url=URL, notify_url=us, delay_s=(2, 2)
    )
    shop.world.route(URL, platform.handle)
    return platform


def asked(shop: Shop) -> list[str]:
    return [request.url.rpartition("/")[2] for request in shop.world.sent if request.url.startswith(URL)]


async def test_a_notice_makes_us_ask_and_the_answer_delivers(shop: Shop, platform: YrapiSimulator) -> None:
    order = await shop.sent()
    assert (order.certainty, await shop.attempts(order.id)) == ("unknown", "unknown")
    await shop.world.advance(2)  # no worker runs
    assert (await shop.order(order.id)).status == "succeeded"
    assert asked(shop) == ["recharge", "check"]
    assert await shop.balance(shop.float) == "950.20"
    assert await shop.cases("northtel") == []


async def test_without_notices_we_ask_by_ourselves(shop: Shop, platform: YrapiSimulator) -> None:
    platform.notify_url = ""
    order = await shop.sent()
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "succeeded"
    assert len(platform.credits) == 1


async def test_an_order_without_float_waits_and_resumes_alone(shop: Shop, platform: YrapiSimulator) -> None:
    platform.float_minor = 4000
    order = await shop.sent()
    await shop.world.advance(2)
    assert (await shop.order(order.id)).delivery == "parked"
    assert await shop.cases("northtel") == ["empty_float"]
    platform.float_minor = 100_000
    await shop.wait(3600)
    assert (await shop.order(order.id)).status == "succeeded"
    assert await shop.attempts(order.id) == "refused done"


async def test_a_failure_gives_the_money_back(shop: Shop, platform: YrapiSimulator) -> None:
    order = await shop.sent("139 1234 0012")
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "failed"
    assert await shop.balance(shop.float) == "1000.00"
    assert platform.credits == []


async def test_half_a_delivery_is_paid_by_half(shop: Shop, platform: YrapiSimulator) -> None:
    order = await shop.sent("139 1234 0007")
    await shop.wait(60)
    assert (await shop.order(order.id)).delivered_minor == 2500
    assert await shop.balance(shop.float) == "975.10"


async def test_what_never_arrived_is_tried_again_after_half_an_hour_and_not_before(
    shop: Shop, platform: YrapiSimulator
) -> None:
    lost: list[Request] = []

    async def loses_the_first(request: Request) -> Response:
        if lost:
            return await platform.handle(request)
        lost.append(request)
        raise NoAnswer("lost on the way there")

    shop.world.route(f"{URL}/index/recharge", loses_the_first)
    order = await shop.sent()
    await shop.wait(29 * 60)
    assert await shop.attempts(order.id) == "unknown"
    assert asked(shop).count("recharge") == 1, "what may be twice there is never sent again under its name"
    await shop.wait(3600)
    assert await shop.attempts(order.id) == "refused done"
    assert (await shop.order(order.id)).status == "succeeded"
    assert len(platform.credits) == 1


async def test_words_that_nobody_documented_call_a_person_and_are_chased(shop: Shop, platform: YrapiSimulator) -> None:
    order = await shop.sent("139 1234 0006")
    assert await shop.cases("northtel:系统繁忙，请稍后再试") == ["unknown_code"]
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "succeeded"
    assert len(platform.credits) == 1


async def test_what_we_pay_is_never_more_than_was_agreed(shop: Shop, platform: YrapiSimulator) -> None:
    platform.cost_per_mille = 993  # our catalogue says 99.2 %
    order = await shop.sent()
    assert platform.credits == []
    assert await shop.attempts(order.id) == "refused"
    platform.cost_per_mille = 992
    await shop.wait(600)
    assert (await shop.order(order.id)).status == "succeeded"
    balance = await shop.trade.suppliers["northtel"].balance(shop.world, "CNY")
    assert balance == Done(Money(10**9 - 4960, "CNY"))
    assert await shop.balance("float:northtel/CNY") == "49.60"
