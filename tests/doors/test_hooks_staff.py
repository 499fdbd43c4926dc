"""Partners' webhooks on the staff's pages: what was told and answered, telling again, a test, on and off; in a browser too."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape

import httpx2
import psycopg
import pytest
from playwright.sync_api import Browser
from tests.doors.browser import A_DESK, A_PHONE, needs_chromium, started, visiting
from tests.doors.conftest import House, Visitor
from tests.doors.test_backoffice import PASSWORD, sign_in
from tests.doors.test_webhooks import receiver_of

from refill import app
from refill.channels.people.staff import add_staff
from refill.money import money


@dataclass(frozen=True)
class Partner:
    """A partner that listens, with one top-up that was told to it, and one that its receiver refused."""

    name: str
    endpoint: str
    event: str


@pytest.fixture(scope="module")
def staff(house: House) -> Visitor:
    add_staff(house.dsn, "hua", PASSWORD)
    visitor = house.visitor("zh-CN")
    assert sign_in(visitor, "hua", PASSWORD).status_code == 302
    return visitor


@pytest.fixture(scope="module")
def partner(house: House, numbers: Callable[[], str]) -> Partner:
    name = "Listeners <& Co>"
    _, key = house.ask(app.new_partner(house.house, name, money("500.00 CNY")))
    house.ask(house.house.keyring.refresh())
    bearer = {"authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=house.url, trust_env=False, headers=bearer) as client:
        made = client.post(
            "/v1/webhooks", json={"url": f"{receiver_of(house)}/hook/staff", "float_below": "10.00"}
        ).json()
        httpx2.post(f"{receiver_of(house)}/secret", data={"secret": made["secret"]}, trust_env=False)
        wish = {"msisdn": numbers(), "amount": "50.00", "currency": "CNY", "reference": "R1"}
        placed = client.post("/v1/topups", json=wish).json()
        until = time.monotonic() + 15
        while time.monotonic() < until:
            told = client.get(f"/v1/webhooks/{made['id']}/deliveries?state=accepted").json()["deliveries"]
            if told:
                return Partner(name, made["id"], told[0]["event"])
            time.sleep(0.02)
    raise AssertionError(f"{placed['id']} was never told")


def says(visitor: Visitor, path: str) -> str:
    page = visitor.get(path)
    assert page.status_code == 200, page.status_code
    return unescape(page.text)


def do(visitor: Visitor, partner: Partner, step: str, **fields: str) -> str:
    path = f"/staff/webhooks/{partner.endpoint}"
    answer = visitor.post(f"{path}/{step}", fields, visitor.get(path))
    assert answer.status_code == 302, answer.text
    return unescape(visitor.follow(answer).text)


def test_staff_see_who_listens_and_what_was_told(staff: Visitor, partner: Partner) -> None:
    assert partner.name in says(staff, "/staff/webhooks/")
    page = says(staff, f"/staff/webhooks/{partner.endpoint}")
    assert "topup.succeeded" in page and partner.event[:27] in page and "¥10.00" in page
    log = says(staff, f"/staff/webhooks/{partner.endpoint}/{partner.event}")
    assert "200" in log and "thank you" in log
    assert "whsec_" not in page + log


def test_staff_tell_again_test_and_switch(house: House, staff: Visitor, partner: Partner) -> None:
    receiver = house.far["receiver"]
    before = [one.id for one in receiver.heard].count(partner.event)
    assert "正在重新推送" in do(staff, partner, "again", event=partner.event)
    until = time.monotonic() + 15
    while [one.id for one in receiver.heard].count(partner.event) == before and time.monotonic() < until:
        time.sleep(0.02)
    assert [one.id for one in receiver.heard].count(partner.event) == before + 1
    assert "测试成功：200 thank you" in do(staff, partner, "test")
    receiver.troubles.plan("error_500")
    assert "测试未成功：500" in do(staff, partner, "test")
    assert "已停用" in do(staff, partner, "switch", to="off")
    assert "被人停用" in says(staff, f"/staff/webhooks/{partner.endpoint}")
    assert "已启用" in do(staff, partner, "switch", to="on")
    with psycopg.connect(house.dsn) as connection:
        did = connection.execute("SELECT what FROM people_staffact WHERE who = 'hua' ORDER BY id").fetchall()
    assert [what for (what,) in did] == [
        *("replay webhook", "test webhook", "test webhook", "switch webhook off", "switch webhook on")
    ]


def test_what_is_not_there_is_404_and_strangers_sign_in_first(house: House, staff: Visitor, partner: Partner) -> None:
    nobody = "we_" + "0" * 24
    for path in (nobody, f"{nobody}/tu_{'0' * 24}e1", f"{partner.endpoint}/tu_{'0' * 24}e1", "x"):
        assert staff.get(f"/staff/webhooks/{path}").status_code == 404
    page = staff.get("/staff/webhooks/")
    for step, fields in (("again", {"event": "x\0"}), ("again", {"event": f"tu_{'0' * 24}e1"})):
        assert staff.post(f"/staff/webhooks/{partner.endpoint}/{step}", fields, page).status_code == 404
    for step in ("switch", "test"):
        assert staff.post(f"/staff/webhooks/{nobody}/{step}", {"to": "on"}, page).status_code == 404
    assert staff.get(f"/staff/webhooks/{partner.endpoint}/test").status_code == 405
    assert house.visitor().get("/staff/webhooks/").status_code == 302


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize(("size", "scheme"), [(A_PHONE, "dark"), (A_DESK, "light")], ids=["phone-dark", "desk-light"])
def test_the_pages_are_accessible(
    chromium: Browser, house: House, staff: Visitor, partner: Partner, size: dict[str, object], scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with visiting(chromium, house, **size, color_scheme=scheme) as page:
        page.goto("/staff/login/?next=/staff/webhooks/")
        page.fill("[name=username]", "hua")
        page.fill("[name=password]", PASSWORD)
        page.click("[type=submit]")
        page.wait_for_url("**/staff/webhooks/")
        for path in ("", partner.endpoint, f"{partner.endpoint}/{partner.event}"):
            page.goto(f"/staff/webhooks/{path}")
            if folder := os.environ.get("SHOTS"):
                page.screenshot(path=f"{folder}/{scheme}-{len(path)}.png", full_page=True)
            found = Axe().run(page, context=".staff")
            assert found.violations_count == 0, found.generate_report()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} scrolls sideways"
