"""The pages of lists, limits and exchange rates: what staff decide counts at once, and no whole number is shown again."""

import os
import re
from collections.abc import Callable, Iterator
from html import unescape

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.doors.browser import A_DESK, A_PHONE, needs_chromium, started, visiting
from tests.doors.conftest import House, Visitor
from tests.doors.test_backoffice import PASSWORD, sign_in

from refill.channels.people.staff import add_staff

NUMBER = "139 0013 7777"
LINE = {"number": NUMBER, "kind": "block", "scope": "", "until": "", "why": "fraud, case 17"}
LIMIT = {
    "per": "number", "period": "day", "zone": "Asia/Shanghai", "count": "10", "amount": "80.00", "currency": "EUR",
    "supplier": "nobody", "why": "the rule of a distributor",
}  # fmt: skip
RATE = {"base": "usd", "rate": "7.1834", "quote": "CNY", "hours": "24", "source": "our bank"}


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


def says(visitor: Visitor, page: str) -> str:
    answer = visitor.get(f"/staff/{page}/")
    assert answer.status_code == 200
    return unescape(answer.text)


def do(visitor: Visitor, step: str, **fields: str) -> str:
    page = visitor.get(f"/staff/{step.partition('/')[0]}/")
    answer = visitor.post(f"/staff/{step}", fields, page)
    assert answer.status_code == 302, answer.text
    return unescape(visitor.follow(answer).text)


def test_a_number_is_refused_until_it_is_taken_off_the_list(house: House, people: Callable[[str], Visitor]) -> None:
    mei = people("mei")
    told = do(mei, "guards/put", **LINE)
    assert "几秒内所有渠道都会生效" in told
    assert "139****7777" in told and "139 0013 7777" not in told and "13900137777" not in told
    assert house.trade.guard.listed, "this process knows it at once"
    index = re.findall(r'name="line" value="([0-9a-z]{16})"', told)
    assert "已移出名单" in do(mei, "guards/lift", line=index[0], scope="all", why="a mistake")
    assert "139****7777" not in says(mei, "guards")
    assert "没有改动" in do(mei, "guards/lift", line=index[0], scope="all", why="again")
    assert "没有改动" in do(mei, "guards/lift", line="0" * 16, scope="all", why="never was")


@pytest.mark.parametrize(
    ("wrong", "says_"),
    [
        ({"number": "139"}, "数字要写全"),
        ({"number": "+861390013"}, "数字要写全|号码可以携号转网"),
        ({"number": "010 8888 8888"}, "号码可以携号转网"),
        ({"kind": "lift"}, "数字要写全"),
        ({"scope": "prefix:139"}, "数字要写全"),
        ({"until": "2001-01-01"}, "数字要写全"),
        ({"until": "tomorrow"}, "数字要写全"),
        ({"why": "  "}, "数字要写全"),
    ],
    ids=["prefix", "short", "landline", "kind", "scope", "past", "no day", "no reason"],
)
def test_what_is_no_line_changes_nothing(people: Callable[[str], Visitor], wrong: dict[str, str], says_: str) -> None:
    told = do(people("mei"), "guards/put", **{**LINE, **wrong})
    assert re.search(says_, told)
    assert "没有被拒绝的号码" in told


def test_a_limit_is_set_told_and_ended(house: House, people: Callable[[str], Visitor]) -> None:
    mei = people("mei")
    told = do(mei, "guards/limit", **LIMIT)
    assert "限额已生效" in told
    for word in ("10 · ", "80.00", "一天 · Asia/Shanghai", "供应商 nobody", "the rule of a distributor"):
        assert word in told, word
    (limit_id,) = [limit.id for limit in house.trade.guard.limits]
    assert "限额已结束" in do(mei, "guards/end", limit=limit_id)
    assert "它已经结束了" in do(mei, "guards/end", limit=limit_id)
    assert house.trade.guard.limits == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": "", "amount": ""},
        {"count": "１０"},
        {"amount": "80,00"},
        {"zone": "Mars"},
        {"per": "device"},
        {"why": ""},
    ],
    ids=["nothing", "other digits", "comma", "zone", "per", "no reason"],
)
def test_what_is_no_limit_changes_nothing(
    house: House, people: Callable[[str], Visitor], wrong: dict[str, str]
) -> None:
    assert "有内容缺失或无法识别" in do(people("mei"), "guards/limit", **{**LIMIT, **wrong})
    assert house.trade.guard.limits == ()


def test_a_rate_is_told_and_a_slip_of_the_finger_is_asked_about(people: Callable[[str], Visitor]) -> None:
    mei = people("mei")
    told = do(mei, "rates/tell", **RATE)
    assert "汇率已生效" in told and "USD/CNY" in told and "7.1834" in told and "生效中" in told
    for wrong in ({"rate": "0"}, {"rate": "7,2"}, {"base": "XXX"}, {"hours": "0"}, {"hours": "soon"}, {"source": " "}):
        assert "有内容缺失或无法识别" in do(mei, "rates/tell", **{**RATE, **wrong})
    assert "没有改动" in do(mei, "rates/tell", **{**RATE, "rate": "71.834"})
    told = do(mei, "rates/tell", **{**RATE, "rate": "7.9"}, anyway="yes")
    assert "没有改动" in do(mei, "rates/tell", **{**RATE, "rate": "71.834"})


def test_a_customer_reads_what_to_do_and_not_why(house: House, people: Callable[[str], Visitor]) -> None:
    mei, customer = people("mei"), house.visitor()
    do(mei, "guards/put", **{**LINE, "scope": "product:cmcc-20"})
    answer = customer.confirm(customer.wish(NUMBER, "cmcc-20|20.00"))
    assert "We cannot top up this number here. Nothing was charged" in unescape(answer.text)
    assert "fraud" not in answer.text
    do(mei, "guards/limit", **{**LIMIT, "count": "0", "amount": "", "supplier": "", "product": "cmcc-30"})
    answer = customer.confirm(customer.wish(NUMBER, "cmcc-30|30.00"))
    assert "As much as is allowed was topped up for now" in unescape(answer.text)
    for limit in house.trade.guard.limits:
        do(mei, "guards/end", limit=limit.id)


def test_the_pages_are_for_staff_only(house: House) -> None:
    for page in ("guards", "rates"):
        assert house.visitor().get(f"/staff/{page}/").status_code == 302


# In a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize("light", ["light", "dark"])
def test_the_pages_are_accessible_in_both_lights(
    chromium: Browser, house: House, people: Callable[[str], Visitor], light: str
) -> None:
    mei = people("mei")
    do(mei, "guards/put", **{**LINE, "scope": "operator:nobody"})
    do(mei, "guards/limit", **LIMIT)
    device, language = (A_DESK, "zh-CN") if light == "light" else (A_PHONE, "en")
    with visiting(chromium, house, **device, locale=language, color_scheme=light) as page:
        page.goto("/staff/login/?next=/staff/guards/")
        page.locator("[name=username]").fill("mei")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url("**/staff/guards/")
        for name in ("guards", "rates"):
            page.goto(f"/staff/{name}/")
            found = Axe().run(page, context=".staff")
            assert found.violations_count == 0, found.generate_report()
            if shots := os.environ.get("SCREENSHOTS"):
                page.screenshot(path=f"{shots}/{name}-{light}.png", full_page=True)
    for limit in house.trade.guard.limits:
        do(mei, "guards/end", limit=limit.id)
