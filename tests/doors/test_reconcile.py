"""Finance's pages: days and their differences, closing, and the bank's money seen by two people; in a real browser too."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import unescape
from io import BytesIO

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.doors.browser import A_DESK, needs_chromium, started, visiting
from tests.doors.conftest import House, Visitor
from tests.doors.test_backoffice import PASSWORD, sign_in
from tests.doors.test_portal import paid_order, pay

from refill import reconcile
from refill.channels.people.staff import add_staff
from refill.db.bulk import Bulk
from refill.simulators.alipay import bill_lines

DAYS = iter(range(1, 300))


@pytest.fixture(scope="module")
def people(house: House) -> Callable[[str], Visitor]:
    def employ(name: str) -> Visitor:
        add_staff(house.dsn, name, PASSWORD)
        visitor = house.visitor("zh-CN")
        assert sign_in(visitor, name, PASSWORD).status_code == 302
        return visitor

    return employ


@pytest.fixture
def day(house: House, numbers: Callable[[], str]) -> str:
    """A day of its own with one payment that matches and one that only the firm knows."""
    customer = house.visitor()
    order_id = paid_order(customer, numbers())
    pay(house, customer, order_id)
    noticed(house, order_id)
    paid = next(one for one in house.alipay.captures if one.reference.startswith(order_id))
    rows = [row for row in house.alipay.bill_rows(reconcile.business_day(paid.at)) if row.reference == paid.reference]
    that_day = reconcile.business_day(paid.at) + timedelta(days=next(DAYS))
    foreign = rows[0]._replace(reference="shop-77", trade_no=f"2026{next(DAYS):020d}", amount_minor=1230, fee_minor=-7)
    file = BytesIO("".join(bill_lines(house.alipay.seller_id, that_day, [*rows, foreign], paid.at)).encode("gbk"))
    taken = reconcile.take(house.trade, Bulk(house.dsn), "alipay", file, day=that_day)
    result = house.ask(taken)
    assert (result.matched, result.theirs_only) == (1, 1)
    return str(that_day)


def noticed(house: House, order_id: str) -> None:
    """Waits for the notice of a payment."""
    for _ in range(100):
        if house.order(order_id).payment == "captured":
            return
        time.sleep(0.05)
    raise AssertionError("the notice of the payment never came")


def says(visitor: Visitor, path: str) -> str:
    page = visitor.get(path)
    assert page.status_code == 200, page.status_code
    return unescape(page.text)


def do(visitor: Visitor, day: str, step: str, **fields: str) -> str:
    page = visitor.get(f"/staff/reconcile/alipay/{day}")
    answer = visitor.post(f"/staff/reconcile/alipay/{day}/{step}", fields, page)
    assert answer.status_code == 302, answer.text
    return unescape(visitor.follow(answer).text)


def test_a_day_is_listed_read_assigned_closed_and_settled_by_two(
    house: House, people: Callable[[str], Visitor], day: str
) -> None:
    wang, li = people("wang"), people("li")
    listed = says(wang, "/staff/reconcile/")
    assert day in listed
    assert "支付宝" in listed
    page = says(wang, f"/staff/reconcile/alipay/{day}")
    for word in ("仅对方有", "12.30", "待认领", "1 / 2", "没有待认领的差异后即可日结"):
        assert word in page, word
    assert "情况有变" in do(wang, day, "close"), "something waits"
    assert "已由您处理" in do(wang, day, "assign")
    page = says(wang, f"/staff/reconcile/alipay/{day}")
    assert "待认领</td>" not in page
    assert "wang" in page
    assert "已日结" in do(wang, day, "close")
    assert "仅对方有" in says(wang, f"/staff/reconcile/alipay/{day}"), "who has it settles it on its own page"

    assert "请用数字填写金额" in do(wang, day, "enter", amount="61,73", currency="CNY")
    assert "须由另一人复核" in do(wang, day, "enter", amount="61.73", currency="CNY")
    assert "我也核对到" not in says(wang, f"/staff/reconcile/alipay/{day}")
    assert "须由另一人复核" in do(wang, day, "confirm", amount="61.73", currency="CNY")
    assert "我也核对到银行到账 ¥61.73" in says(li, f"/staff/reconcile/alipay/{day}")
    assert "已复核入账" in do(li, day, "confirm", amount="61.73", currency="CNY")
    assert "已按另一金额入账" in do(li, day, "enter", amount="61.74", currency="CNY")
    page = says(li, f"/staff/reconcile/alipay/{day}")
    assert "wang · li" in page
    assert "录入</button>" not in page


def test_one_difference_is_taken_alone(people: Callable[[str], Visitor], day: str) -> None:
    wang = people("wang")
    page = says(wang, f"/staff/reconcile/alipay/{day}")
    case_id = page.partition('name="case" value="')[2].partition('"')[0]
    assert "已由您处理" in do(wang, day, "assign", case=case_id)
    settle = wang.get(f"/staff/case/{case_id}")
    assert settle.status_code == 200
    wang.post(f"/staff/case/{case_id}/resolve", {"how": "explained", "note": "A colleague's own shop"}, settle)
    page = says(wang, f"/staff/reconcile/alipay/{day}")
    assert "A colleague's own shop" in page
    assert "日结时记入" in page


@pytest.mark.parametrize(
    "path", ["alipay/2026-02-30", "alipay/1999-01-01", "nobody/2026-11-22"], ids=["no date", "no day", "no method"]
)
def test_a_day_that_is_not_there_is_not_found(people: Callable[[str], Visitor], path: str) -> None:
    wang = people("wang")
    assert wang.get(f"/staff/reconcile/{path}").status_code == 404
    fields = {"amount": "1.00", "currency": "CNY"}
    for step in ("assign", "close", "enter", "confirm"):
        answer = wang.post(f"/staff/reconcile/{path}/{step}", fields, wang.get("/staff/reconcile/"))
        assert answer.status_code == 404, step


def test_a_stranger_sees_nothing_and_a_link_changes_nothing(
    house: House, people: Callable[[str], Visitor], day: str
) -> None:
    assert house.visitor().get("/staff/reconcile/").status_code == 302
    assert people("wang").get(f"/staff/reconcile/alipay/{day}/close").status_code == 405


# In a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize("light", ["light", "dark"])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_the_pages_are_accessible_in_both_lights_and_languages(
    chromium: Browser, house: House, people: Callable[[str], Visitor], day: str, light: str, language: str
) -> None:
    people("wang")
    with visiting(chromium, house, **A_DESK, locale=language, color_scheme=light) as page:
        page.goto("/staff/login/?next=/staff/reconcile/")
        page.locator("[name=username]").fill("wang")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url("**/staff/reconcile/")
        found = Axe().run(page, context=".staff")
        assert found.violations_count == 0, found.generate_report()
        page.get_by_role("link", name=day).click()
        page.wait_for_url(f"**/{day}")
        found = Axe().run(page, context=".staff")
        assert found.violations_count == 0, found.generate_report()
