"""Whoever keeps prices: a list is shown, decided on and answered row by row, on pages that everybody can use."""

import time
from collections.abc import Iterator
from html import unescape

import httpx2
import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect
from tests.doors.browser import A_DESK, A_PHONE, needs_chromium, started, visiting
from tests.doors.conftest import House, Visitor, hidden
from tests.doors.test_backoffice import PASSWORD, sign_in

from refill.channels.people.staff import add_staff

LIST = (
    "operator,product,price,valid_from\ncbn,cbn-300,298.88,2031-01-01\ncbn,cbn-300,x,\ncbn,cbn-500,498.00,2031-01-01\n"
)


@pytest.fixture(scope="module")
def li(house: House) -> Visitor:
    add_staff(house.dsn, "li-prices", PASSWORD)
    visitor = house.visitor("zh-CN")
    assert sign_in(visitor, "li-prices", PASSWORD).status_code == 302
    return visitor


def send(visitor: Visitor, text: str | bytes, **fields: str) -> str:
    """Shows a file and waits until it is read; returns the list's address."""
    page = visitor.get("/staff/prices/")
    answer = visitor.client.post(
        "/staff/prices/show", data={**hidden(page.text), **fields}, files={"file": ("december.csv", text)}
    )
    assert answer.status_code == 302, answer.text
    return read(visitor, answer)


def read(visitor: Visitor, answer: httpx2.Response) -> str:
    where = answer.headers["location"]
    for _ in range(200):
        if "refresh" not in visitor.get(where).headers:
            return where
        time.sleep(0.05)
    raise AssertionError("the list is being read for ever")


def says(visitor: Visitor, path: str) -> str:
    page = visitor.get(path)
    assert page.status_code == 200, page.status_code
    return unescape(page.text)


def do(visitor: Visitor, path: str, **fields: str) -> str:
    answer = visitor.post(path, fields, visitor.get("/staff/prices/"))
    assert answer.status_code == 302, answer.text
    return unescape(visitor.follow(answer).text)


def test_a_list_is_shown_applied_and_answered_row_by_row(li: Visitor) -> None:
    where = send(li, LIST)
    page = says(li, where)
    for word in ("待您决定", "298.88 CNY", "应用 2 项变动", "不是该币种的金额", "december.csv"):
        assert word in page, word
    assert "298.88" not in says(li, f"{where}?rows=refused")
    answer = li.get(f"{where}.csv")
    assert answer.headers["content-disposition"].startswith("attachment")
    rows = answer.text.splitlines()
    assert (len(rows), rows[2].split(",")[:2]) == (4, ["3", "refused"])
    assert "已应用：2 个价格变动" in do(li, f"{where}/apply")
    assert "已应用" in says(li, "/staff/prices/")
    assert "只有待定的预览可以放弃" in do(li, f"{where}/discard")
    assert "此表不会更改任何价格" in says(li, send(li, LIST))


def test_a_list_is_let_go_and_an_unreadable_file_says_why(li: Visitor) -> None:
    where = send(li, LIST.replace("cbn", "ctcc"))
    assert "已放弃，价格未变" in do(li, f"{where}/discard")
    assert "不能应用" in do(li, f"{where}/apply")
    assert "one too many" in says(li, send(li, "operator,colour\n"))
    assert "请选择" in do(li, "/staff/prices/show")


def test_one_price_is_typed_for_later(li: Visitor, house: House) -> None:
    page = li.get("/staff/prices/")
    wish = {"product": "cmcc-300", "price": "299.10", "valid_from": "2032-01-01 00:00", "valid_until": ""}
    where = read(li, li.post("/staff/prices/one", wish, page))
    assert "299.10 CNY" in says(li, where)
    do(li, f"{where}/apply")
    with psycopg.connect(house.dsn) as connection:
        found = connection.execute("SELECT minor, valid_from::text FROM catalogue_price WHERE product = 'cmcc-300'")
        assert found.fetchall() == [(29910, "2031-12-31 16:00:00+00")]
    assert li.post("/staff/prices/one", {**wish, "product": "nothing"}, page).status_code == 404


def test_margins_are_shown_and_the_least_is_set(li: Visitor, house: House) -> None:
    assert "cmcc-50" in says(li, "/staff/margins/")
    page = li.get("/staff/margins/")
    for wrong in ({"bp": "x"}, {"bp": "20000"}, {"bp": "1", "operator": "nobody"}, {"bp": "1", "rule": "guess"}):
        answer = li.post("/staff/margins/least", {"operator": "cbn", "rule": "alarm", **wrong}, page)
        assert "0 到 10000" in unescape(li.follow(answer).text)
    answer = li.post("/staff/margins/least", {"operator": "cbn", "bp": "5", "rule": "alarm"}, page)
    assert "规则已设置" in unescape(li.follow(answer).text)
    with psycopg.connect(house.dsn) as connection:
        assert connection.execute("SELECT least_bp, who FROM catalogue_margin").fetchall() == [(5, "li-prices")]


def test_who_has_no_right_to_prices_looks_only(house: House) -> None:
    add_staff(house.dsn, "looks-only", PASSWORD)
    with psycopg.connect(house.dsn) as connection:
        connection.execute("UPDATE people_person SET is_superuser = false WHERE username = 'looks-only'")
    visitor = house.visitor("zh-CN")
    sign_in(visitor, "looks-only", PASSWORD)
    page = visitor.get("/staff/prices/")
    assert "预览价格表" not in page.text
    for step in ("show", "fetch", "one"):
        assert visitor.post(f"/staff/prices/{step}", {"supplier": "northtel"}, page).status_code == 403
    assert visitor.post("/staff/margins/least", {"bp": "1"}, page).status_code == 403
    assert house.visitor().get("/staff/prices/").status_code == 302


@pytest.mark.parametrize("path", ["pl_" + "0" * 24, "pl_" + "0" * 24 + ".csv", "x"])
def test_a_list_that_is_not_there_is_not_found(li: Visitor, path: str) -> None:
    assert li.get(f"/staff/prices/{path}").status_code == 404


# In a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize(("light", "language"), [("light", "zh-CN"), ("dark", "en")])
def test_the_pages_are_accessible(chromium: Browser, house: House, li: Visitor, light: str, language: str) -> None:
    device = A_DESK if light == "dark" else A_PHONE
    with visiting(chromium, house, **device, locale=language, color_scheme=light) as page:
        page.goto("/staff/login/?next=/staff/prices/")
        page.locator("[name=username]").fill("li-prices")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url("**/staff/prices/")
        found = Axe().run(page, context=".staff")
        assert found.violations_count == 0, found.generate_report()
        page.locator("#list-file").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": LIST.encode()})
        page.locator("#list-file").locator("xpath=ancestor::form").locator("button").click()
        page.wait_for_url("**/pl_*")
        expect(page.locator("dl.staff-facts")).to_be_visible()
        for path in (page.url, "/staff/margins/"):
            page.goto(path)
            found = Axe().run(page, context=".staff")
            assert found.violations_count == 0, found.generate_report()
