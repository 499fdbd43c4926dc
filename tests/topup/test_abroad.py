"""Orders through Reloadly and DT One: the whole life of an order with tokens, two steps, and accounts in other currencies."""

from dataclasses import replace
from typing import Any

import pytest
from tests.topup.shop import US, Shop

from refill.operators import suppliers_by_name
from refill.simulators.dtone import DtOneSimulator
from refill.simulators.reloadly import ReloadlySimulator

RELOADLY, DTONE = "https://topups.example", "https://dvs.example"
NOTICES = f"{US}/callbacks/northtel"  # the shop hears its one supplier there


@pytest.fixture
def reloadly(shop: Shop) -> ReloadlySimulator:
    """Reloadly, from which the shop buys what it used to buy from Northtel itself."""
    far = ReloadlySimulator(
        **shop.world.surroundings(),
        client_secret="only for these tests",
        webhook_secret=b"whsec",
        base_url=RELOADLY,
        notify_url=NOTICES,
    )
    settings = {
        "reloadly_client_id": "refill",
        "reloadly_client_secret": "only for these tests",
        "reloadly_webhook_secret": "whsec",
        "reloadly_currency": "USD",
        "reloadly_operators": "*=auto",
        "reloadly_url": RELOADLY,
        "reloadly_auth_url": RELOADLY,
    }
    buys_from(shop, settings, "reloadly", RELOADLY, far)
    return far


@pytest.fixture
def dtone(shop: Shop) -> DtOneSimulator:
    """DT One, likewise; it calls nobody back."""
    far = DtOneSimulator(**shop.world.surroundings(), secret="only for these tests", base_url=DTONE)
    settings = {
        "dtone_key": "refill",
        "dtone_secret": "only for these tests",
        "dtone_products": " ".join(f"{each.id}=3000" for each in shop.trade.shelf.catalogue.operators()),
        "dtone_url": DTONE,
    }
    buys_from(shop, settings, "dtone", DTONE, far)
    return far


def buys_from(shop: Shop, settings: dict[str, str], name: str, url: str, far: Any) -> None:
    """Under the name by which the catalogue knows who delivers."""
    assert isinstance(shop.trade.suppliers, dict)
    made: Any = suppliers_by_name(settings)[name]
    shop.trade.suppliers["northtel"] = replace(made, name="northtel")
    shop.world.route(url, far.handle)


async def test_credit_paid_in_dollars_is_booked_as_agreed_in_yuan(shop: Shop, reloadly: ReloadlySimulator) -> None:
    order = await shop.sent()
    assert (await shop.order(order.id)).status == "succeeded"
    assert await shop.balance("cost:topup/CNY") == "-49.60"
    assert [credit.face_minor for credit in reloadly.credits] == [5000]


async def test_a_lost_answer_is_found_in_the_report_and_never_sent_again(
    shop: Shop, reloadly: ReloadlySimulator
) -> None:
    reloadly.notify_url = ""
    order = await shop.sent("139 1234 0002")
    assert (await shop.order(order.id)).certainty == "unknown"
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "succeeded"
    assert sum(request.url == f"{RELOADLY}/topups" for request in shop.world.sent) == 1


async def test_a_webhook_makes_us_ask_at_once(shop: Shop, reloadly: ReloadlySimulator) -> None:
    order = await shop.sent("139 1234 0014")
    await shop.world.advance(8)  # no worker runs
    assert (await shop.order(order.id)).status == "succeeded"


async def test_an_empty_wallet_parks_and_resumes_alone(shop: Shop, reloadly: ReloadlySimulator) -> None:
    reloadly.wallet_minor = 0
    order = await shop.sent()
    assert (await shop.order(order.id)).delivery == "parked"
    reloadly.wallet_minor = 100_000
    await shop.wait(3600)
    assert (await shop.order(order.id)).status == "succeeded"


async def test_what_ended_as_refunded_there_is_refunded_here(shop: Shop, reloadly: ReloadlySimulator) -> None:
    order = await shop.sent("139 1234 0015")
    await shop.wait(7200)  # it was tried again, under other names
    assert (await shop.order(order.id)).status == "failed"
    assert await shop.balance(shop.float) == "1000.00"
    assert reloadly.credits == []


@pytest.mark.parametrize("end", ["8000", "0002", "0004", "0008", "0014", "0022", "0023", "0024"])
async def test_at_dt_one_every_order_is_delivered_once_whatever_is_lost(
    shop: Shop, dtone: DtOneSimulator, end: str
) -> None:
    order = await shop.sent(f"139 1234 {end}")
    await shop.wait(600)
    assert (await shop.order(order.id)).status == "succeeded"
    assert [credit.face_minor for credit in dtone.credits] == [5000]
    assert await shop.attempts(order.id) == "done", "under one name"


async def test_a_number_that_is_barred_gives_the_money_back(shop: Shop, dtone: DtOneSimulator) -> None:
    order = await shop.sent("139 1234 0003")
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "failed"
    assert (dtone.credits, dtone.holding_minor) == ([], 0)
    assert await shop.balance(shop.float) == "1000.00"


async def test_half_a_delivery_is_paid_by_half(shop: Shop, dtone: DtOneSimulator) -> None:
    order = await shop.sent("139 1234 0007")
    await shop.wait(60)
    assert (await shop.order(order.id)).delivered_minor == 2500
    assert await shop.balance(shop.float) == "975.10"
