"""The page of whose a number is: what every source says, and a decision that counts at once and names its person."""

import re
from collections.abc import Iterator
from html import unescape

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.doors.browser import A_DESK, A_PHONE, needs_chromium, started, visiting
from tests.doors.conftest import House, Visitor
from tests.doors.test_backoffice import PASSWORD, sign_in

from refill.channels.people.staff import add_staff
from refill.numbers import msisdn
from refill.topup.whose import seller_for

NUMBER = "138 6666 0051"  # ported to China Telecom, says the look-up


@pytest.fixture(scope="module")
def li(house: House) -> Visitor:
    add_staff(house.dsn, "li", PASSWORD)
    visitor = house.visitor("zh-CN")
    assert sign_in(visitor, "li", PASSWORD).status_code == 302
    return visitor


def look(visitor: Visitor, number: str) -> httpx2.Response:
    return visitor.post("/staff/whose", {"number": number}, visitor.get("/staff/whose"))


def token(page: httpx2.Response) -> dict[str, str]:
    return {"token": re.findall(r'name="token" value="([^"]+)"', page.text)[0]}


def seller(house: House, number: str) -> str | None:
    return house.ask(seller_for(house.trade, msisdn(number)))


def test_every_source_is_told_and_no_whole_number_is_shown(li: Visitor) -> None:
    page = unescape(look(li, NUMBER).text)
    assert "138****0051" in page
    assert "138 6666 0051" not in page and "13866660051" not in page
    assert "查询结果" in page and "hlr_json" in page
    assert "<code>ctcc</code>" in page and "<code>cmcc</code>" in page


def test_a_decision_counts_at_once_and_ends(house: House, li: Visitor) -> None:
    page = look(li, NUMBER)
    said = {"operator": "cbn", "why": "she showed her contract, 13866660051", "until": "2099-12-31"}
    decided = li.post("/staff/whose/decide", token(page) | said, page)
    assert decided.status_code == 200
    assert "已指定" in decided.text and "li: she showed her contract" in decided.text
    assert "13866660051" not in decided.text, "nor in what somebody wrote"
    assert seller(house, NUMBER) == "cbn"
    ended = li.post("/staff/whose/end", token(decided), decided)
    assert "已结束指定" in ended.text
    assert seller(house, NUMBER) == "ctcc"
    again = li.post("/staff/whose/end", token(ended), ended)
    assert again.status_code == 404 and "没有人指定过" in again.text
    acts = li.get("/staff/people/staffact/").text
    assert "decide operator" in acts and "end decided operator" in acts
    assert "138****0051" in acts


@pytest.mark.parametrize(
    ("field", "value"),
    [("why", " "), ("until", "2020-01-01"), ("until", "soon"), ("operator", "nobody"), ("operator", "")],
)
def test_a_decision_that_cannot_be_is_refused_and_changes_nothing(
    house: House, li: Visitor, field: str, value: str
) -> None:
    page = look(li, NUMBER)
    said = {"operator": "cbn", "why": "seen", "until": "", field: value}
    answer = li.post("/staff/whose/decide", token(page) | said, page)
    assert answer.status_code == 422
    assert "截止日期须在今天之后" in answer.text
    assert seller(house, NUMBER) == "ctcc"


@pytest.mark.parametrize("number", ["", "010 6552 9988", "12345", "'; DROP TABLE numbers_number; --", "\ud800"])
def test_what_is_no_number_is_answered_with_a_sentence(li: Visitor, number: str) -> None:
    assert look(li, number).status_code in (400, 422)


@pytest.mark.parametrize("forged", ["", "x", "gAAAAA" * 20])
def test_a_form_that_we_did_not_make_decides_nothing(li: Visitor, forged: str) -> None:
    page = look(li, NUMBER)
    answer = li.post("/staff/whose/decide", {"token": forged, "operator": "cbn", "why": "x"}, page)
    assert answer.status_code == 422


def test_who_does_not_work_here_sees_nothing(house: House) -> None:
    answer = house.visitor().get("/staff/whose")
    assert answer.is_redirect and "login" in answer.headers["location"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize("device", [A_PHONE, A_DESK], ids=["phone", "desk"])
def test_the_page_is_accessible(house: House, li: Visitor, browser: Browser, device: dict[str, object]) -> None:
    with visiting(browser, house, **device) as page:
        page.goto("/staff/whose")  # leads to the sign-in and back
        page.locator("[name=username]").fill("li")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("button[type=submit]").first.click()
        page.locator("#whose-number").fill(NUMBER)
        page.locator("#whose-number").press("Enter")
        page.wait_for_selector("#whose-operator")
        found = Axe().run(page, context=".staff")
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
