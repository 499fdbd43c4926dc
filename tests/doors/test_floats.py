"""The page of floats: what is left, how long it lasts, and paying in by two people; a supplier's day; in a real browser too."""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import unescape
from io import BytesIO

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.doors.browser import A_DESK, A_PHONE, needs_chromium, started, visiting
from tests.doors.conftest import House, Visitor
from tests.doors.test_backoffice import PASSWORD, sign_in

from refill import reconcile
from refill.channels.people.staff import add_staff
from refill.db import Tx
from refill.db.bulk import Bulk


@pytest.fixture(scope="module")
def people(house: House) -> Callable[[str], Visitor]:
    def employ(name: str) -> Visitor:
        add_staff(house.dsn, name, PASSWORD)
        visitor = house.visitor("zh-CN")
        assert sign_in(visitor, name, PASSWORD).status_code == 302
        return visitor

    return employ


def says(visitor: Visitor) -> str:
    page = visitor.get("/staff/floats/")
    assert page.status_code == 200
    return unescape(page.text)


def do(visitor: Visitor, step: str, **fields: str) -> str:
    answer = visitor.post(f"/staff/floats/{step}", fields, visitor.get("/staff/floats/"))
    assert answer.status_code == 302, answer.text
    return unescape(visitor.follow(answer).text)


def waiting(house: House) -> list[str]:
    async def work(tx: Tx) -> list[str]:
        return [one.id for one in await reconcile.fundings(tx) if one.confirmed is None]

    return house.ask(house.trade.db.transaction(work))


def watched(house: House) -> None:
    """northtel is asked what it holds for us."""
    house.ask(reconcile.look(house.trade, house.trade.db))
    for _ in range(100):
        (found, *_) = house.ask(house.trade.db.transaction(lambda tx: reconcile.floats(tx, house.trade)))
        if found.reading is not None:
            return
        time.sleep(0.05)
    raise AssertionError("the balance was never told")


def test_what_is_paid_in_is_entered_by_one_and_confirmed_by_another(
    house: House, people: Callable[[str], Visitor]
) -> None:
    mei, tao = people("mei"), people("tao")
    watched(house)
    assert "northtel" in says(mei)
    assert "请用数字填写金额" in do(mei, "fund", float="northtel/CNY", amount="５００")
    stranger = mei.post("/staff/floats/fund", {"float": "nobody/CNY", "amount": "1.00"}, mei.get("/staff/floats/"))
    assert stranger.status_code == 404
    assert "须由另一人复核" in do(mei, "fund", float="northtel/CNY", amount="500.00")
    (id_,) = waiting(house)
    assert "须由另一人复核" in do(mei, id_, answer="confirm")
    assert "我也核对到银行到账 ¥500.00" in says(tao)
    assert "已复核入账" in do(tao, id_, answer="confirm")
    assert waiting(house) == []
    assert "情况有变" in do(tao, id_, answer="withdraw"), "it stands in the book"
    do(mei, "fund", float="northtel/CNY", amount="-20.00")
    (wrong,) = waiting(house)
    assert "已撤回" in do(mei, wrong, answer="withdraw")
    assert waiting(house) == []
    assert house.visitor().get("/staff/floats/").status_code == 302, "for staff only"


def test_a_suppliers_day_is_a_page_like_a_firms(house: House, people: Callable[[str], Visitor]) -> None:
    yun = people("yun")
    day = reconcile.business_day(house.trade.world.db_now()) - timedelta(days=40)
    row = {"kind": "recharge", "request_id": "x1", "supplier_reference": "N1", "cost": "49.60", "currency": "CNY"}
    file = json.dumps({"transactions": [{**row, "at": f"{day}T10:00:00+08:00"}]})
    house.ask(reconcile.take(house.trade, Bulk(house.dsn), "northtel", BytesIO(file.encode())))
    path = f"/staff/reconcile/float:northtel/{day}"
    page = unescape(yun.get(path).text)
    for word in ("northtel", "¥49.60", "仅对方有", "充值", "预存款支出"):
        assert word in page, word
    answer = yun.post(f"{path}/enter", {"amount": "1.00", "currency": "CNY"}, yun.get(path))
    assert "情况有变" in unescape(yun.follow(answer).text), "money for a supplier is paid into its float"
    assert f"float:northtel/{day}" in unescape(yun.get("/staff/reconcile/").text)


# In a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize("light", ["light", "dark"])
def test_the_page_is_accessible_in_both_lights(
    chromium: Browser, house: House, people: Callable[[str], Visitor], light: str
) -> None:
    people("mei")
    watched(house)
    device, language = (A_DESK, "zh-CN") if light == "light" else (A_PHONE, "en")
    with visiting(chromium, house, **device, locale=language, color_scheme=light) as page:
        page.goto("/staff/login/?next=/staff/floats/")
        page.locator("[name=username]").fill("mei")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url("**/staff/floats/")
        found = Axe().run(page, context=".staff")
        assert found.violations_count == 0, found.generate_report()
        if shots := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{shots}/floats-{light}.png", full_page=True)
