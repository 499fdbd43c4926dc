"""Scratch cards on the staff's pages: sold and withdrawn by two, found by their serial; and never a PIN."""

from collections.abc import Callable, Iterator
from html import unescape

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.doors.browser import A_DESK, A_PHONE, needs_chromium, started, visiting
from tests.doors.cards import printed
from tests.doors.conftest import House, Visitor
from tests.doors.test_backoffice import PASSWORD, sign_in
from tests.doors.test_purse import order_id, redeem, type_card

from refill.channels.people.staff import add_staff


@pytest.fixture(scope="module")
def people(house: House) -> Callable[[str], Visitor]:
    known: dict[str, Visitor] = {}

    def employ(name: str) -> Visitor:
        if name not in known:
            add_staff(house.dsn, name, PASSWORD)
            known[name] = house.visitor("zh-CN")
            assert sign_in(known[name], name, PASSWORD).status_code == 302
        return known[name]

    return employ


def says(visitor: Visitor, path: str) -> str:
    page = visitor.get(path)
    assert page.status_code == 200, page.status_code
    return unescape(page.text)


def do(visitor: Visitor, code: str, step: str, **fields: str) -> str:
    page = visitor.get(f"/staff/vouchers/{code}")
    answer = visitor.post(f"/staff/vouchers/{code}/{step}", fields, page)
    assert answer.status_code == 302, answer.text
    return unescape(visitor.follow(answer).text)


RANGE = {"first": "1", "last": "2"}
SALE = RANGE | {"purse": "cash:office", "typed": "", "why": "the shop at the corner"}


def test_cards_are_sold_by_two_and_are_worth_something_then(house: House, people: Callable[[str], Visitor]) -> None:
    wang, li, customer = people("wang"), people("li"), house.visitor()
    code, pins = printed(house, 3, active=False)
    assert code in says(wang, "/staff/vouchers/")
    assert "由另一人复核" in do(wang, code, "sell", **SALE)
    assert "never switched on" in type_card(customer, pins[0], to="balance").text
    assert "the shop at the corner" in says(li, "/staff/vouchers/")
    assert 'value="confirm"' not in says(wang, f"/staff/vouchers/{code}")
    assert "须由另一人复核" in do(wang, code, "decide", n="1", answer="confirm")
    assert "已复核并执行" in do(li, code, "decide", n="1", answer="confirm")
    assert "Add ¥50.00" in type_card(customer, pins[0], to="balance").text
    page = says(li, f"/staff/vouchers/{code}")
    assert "wang, li" in page
    assert "¥100.00" in page
    assert "未做任何更改" in do(li, code, "decide", n="1", answer="confirm"), "decided before"
    for pin in pins:
        assert pin not in page
        assert pin.replace("-", "") not in page


def test_cards_in_stock_are_withdrawn_at_once_and_sold_ones_by_two(
    house: House, people: Callable[[str], Visitor]
) -> None:
    wang, li = people("wang"), people("li")
    code, pins = printed(house, 4, active=False)
    assert "已作废。" in do(wang, code, "withdraw", **RANGE, purse="", typed="", why="stolen from the van")
    do(wang, code, "sell", **SALE | {"first": "3", "last": "4"})
    do(li, code, "decide", n="1", answer="confirm")
    refused = do(wang, code, "withdraw", first="3", last="4", purse="", typed="", why="the shop closes")
    assert "未做任何更改" in refused
    assert "由另一人复核" in do(
        wang, code, "withdraw", first="3", last="4", purse="bank:icbc", typed="90", why="closes"
    )
    assert "已拒绝" in do(li, code, "decide", n="2", answer="decline")
    do(wang, code, "withdraw", first="3", last="4", purse="bank:icbc", typed="90.00", why="closes")
    assert "已复核并执行" in do(li, code, "decide", n="3", answer="confirm")
    assert "¥90.00" in says(li, f"/staff/vouchers/{code}")
    assert "was withdrawn" in type_card(house.visitor(), pins[3], to="balance").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": "0"},
        {"first": "x"},
        {"last": "99"},
        {"last": "１"},
        {"first": "2", "last": "1"},
        {"purse": ""},
        {"purse": "cash:"},
        {"purse": "wallet:anna"},
        {"purse": "cash:a/USD"},
        {"typed": "100.01"},
        {"typed": "1e2"},
        {"typed": "-5"},
        {"why": ""},
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    house: House, people: Callable[[str], Visitor], wrong: dict[str, str]
) -> None:
    code, _ = printed(house, 2, active=False)
    assert "请检查卡号范围" in do(people("wang"), code, "sell", **SALE | wrong)
    assert "待另一人复核" not in says(people("wang"), f"/staff/vouchers/{code}")


def test_a_serial_leads_to_its_order_and_a_pin_to_nothing(house: House, people: Callable[[str], Visitor]) -> None:
    wang, customer = people("wang"), house.visitor()
    code, (pin, _) = printed(house, 2)
    order = order_id(redeem(customer, type_card(customer, pin, to="balance")))

    def find(typed: str) -> str:
        return unescape(wang.follow(wang.post("/staff/vouchers/find", {"serial": typed}, wang.get("/staff/"))).text)

    assert f"/staff/order/{order}" in find(f" {code.upper()}-0000001 ")
    assert "已售未用" in find(f"{code}-0000002")
    for typed in (pin, pin.replace("-", ""), f"{code}-0000003", "", "%", "\0", "x" * 300):
        told = find(typed)
        assert "没有这个序列号" in told
        assert pin not in told
    assert wang.get("/staff/vouchers/find").status_code == 405


@pytest.mark.parametrize("path", ["v000000", "v000000/sell", "nothing"])
def test_a_batch_that_is_not_there_is_not_found(people: Callable[[str], Visitor], path: str) -> None:
    wang = people("wang")
    if "/" in path:
        assert wang.post(f"/staff/vouchers/{path}", SALE, wang.get("/staff/vouchers/")).status_code == 404
    else:
        assert wang.get(f"/staff/vouchers/{path}").status_code == 404


def test_a_stranger_sees_nothing(house: House) -> None:
    assert house.visitor().get("/staff/vouchers/").status_code == 302


# In a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize("light", ["light", "dark"])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_the_pages_are_accessible_in_both_lights_and_languages(
    chromium: Browser, house: House, people: Callable[[str], Visitor], light: str, language: str
) -> None:
    code, _ = printed(house, 5, active=False)
    do(people("li"), code, "sell", **SALE)
    people("wang")
    with visiting(
        chromium, house, **(A_DESK if light == "dark" else A_PHONE), locale=language, color_scheme=light
    ) as page:
        page.goto("/staff/login/?next=/staff/vouchers/")
        page.locator("[name=username]").fill("wang")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url("**/staff/vouchers/")
        for path in ("", code):
            page.goto(f"/staff/vouchers/{path}")
            found = Axe().run(page, context=".staff")
            assert found.violations_count == 0, found.generate_report()
        page.goto("/staff/vouchers/")
        page.locator("#serial").fill(f"{code}-0000001")
        page.locator("#serial").press("Enter")
        page.get_by_role("heading", name=f"{code}-0000001").wait_for()
        found = Axe().run(page, context=".staff")
        assert found.violations_count == 0, found.generate_report()
