"""A super-app sells top-ups through the partner API and webhooks alone, as a partner would write it."""

import re
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import httpx2
import pytest
from playwright.sync_api import Browser, expect
from tests.doors.browser import A_DESK, A_PHONE, accessible, needs_chromium, started, visiting
from tests.doors.conftest import House

from refill import app
from refill.money import money
from refill.simulators.platform import Platform


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture
def platform(house: House) -> Platform:
    """The super-app with a key of its own, and nothing sold yet."""
    name = f"A super-app at {time.monotonic_ns()}"
    _, key = house.ask(app.new_partner(house.house, name, money("500.00 CNY")))
    house.ask(house.house.keyring.refresh())
    platform: Platform = house.far["platform"]
    platform._key = lambda: key
    platform._secret, platform.pocket, platform.heard = "", Decimal("2000.00"), 0
    platform.sales.clear()
    return platform


@needs_chromium
@pytest.mark.parametrize("device", [A_PHONE, A_DESK], ids=["phone", "desk"])
def test_a_person_recharges_in_the_super_app(
    house: House, platform: Platform, browser: Browser, numbers: Callable[[], str], device: dict[str, object]
) -> None:
    with visiting(browser, house, **device) as page:
        page.goto(house.urls["platform"])
        accessible(page)
        page.get_by_role("link", name="手机充值").click()
        page.get_by_label("手机号码").fill(numbers())
        accessible(page)
        page.get_by_role("button", name="下一步").click()
        accessible(page)
        page.get_by_role("button", name=re.compile("^50")).first.click()
        accessible(page)
        page.get_by_role("button", name=re.compile("付款")).click()
        expect(page.get_by_role("heading", name="充值成功")).to_be_visible()
        accessible(page)
    (sale,) = platform.sales.values()
    assert (sale.state, platform.pocket) == ("succeeded", Decimal("1950.00"))
    assert house.order(sale.refill).reference == sale.id


def test_what_takes_its_time_is_told_by_webhook(house: House, platform: Platform) -> None:
    with httpx2.Client(base_url=house.urls["platform"], trust_env=False, follow_redirects=True, timeout=30) as person:
        page = person.get("/recharge?number=13912345678&lang=en").text
        product = re.findall(r'name="product" value="(cmcc-50)"', page)[0]
        answer = person.post("/orders", data={"number": "+8613912345678", "product": product, "lang": "en"})
        paid = person.post(f"{answer.url.path}/pay", data={"lang": "en"})
        assert "On its way" in paid.text or "Recharged" in paid.text
        (sale,) = platform.sales.values()
        until = time.monotonic() + 20
        while (sale.state == "waiting" or not platform.heard) and time.monotonic() < until:
            time.sleep(0.05)
        assert (sale.state, platform.heard > 0) == ("succeeded", True)
        assert "The credit has arrived" in person.get(paid.url.path + "?lang=en").text


def test_bad_wishes_are_refused_and_cost_nothing(house: House, platform: Platform) -> None:
    with httpx2.Client(base_url=house.urls["platform"], trust_env=False, timeout=30) as person:
        assert person.get("/recharge?number=12345").status_code == 422
        assert person.post("/orders", data={"number": "+8613912345678", "product": "nothing"}).status_code == 404
        assert person.get("/orders/sa0").status_code == 404
        assert person.post("/hook", content=b"{}").status_code == 401
        platform._key = lambda: "rk_live_nobody"
        assert person.get("/recharge?number=13912345678").status_code == 422
    assert platform.pocket == Decimal("2000.00")
