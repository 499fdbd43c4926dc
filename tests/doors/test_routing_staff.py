"""The page of routing: suppliers, who would deliver, rules, pauses, limits and switches; in a real browser too."""

import os
import re
from collections.abc import Iterator
from html import unescape

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.doors.browser import A_DESK, A_PHONE, needs_chromium, started, visiting
from tests.doors.conftest import House, Visitor
from tests.doors.test_backoffice import PASSWORD, sign_in

from refill.channels.people.staff import add_staff

RULE = {"action": "never", "suppliers": "northtel", "operator": "cmcc", "hours": "", "why": "they doze"}
PAUSE = {"supplier": "northtel", "starts": "2026-11-22T10:00", "ends": "2099-11-22T11:00", "why": "new machines"}


@pytest.fixture(scope="module")
def mei(house: House) -> Visitor:
    add_staff(house.dsn, "mei", PASSWORD)
    visitor = house.visitor("zh-CN")
    assert sign_in(visitor, "mei", PASSWORD).status_code == 302
    return visitor


def says(visitor: Visitor, query: str = "") -> str:
    answer = visitor.get(f"/staff/routing/{query}")
    assert answer.status_code == 200
    return unescape(answer.text)


def do(visitor: Visitor, step: str, **fields: str) -> str:
    answer = visitor.post(f"/staff/routing/{step}", fields, visitor.get("/staff/routing/"))
    assert answer.status_code == 302, answer.text
    return unescape(visitor.follow(answer).text)


ASKED = "?operator=cmcc&face=50.00"


def test_a_rule_decides_at_once_and_is_ended(mei: Visitor) -> None:
    assert "没有别家可用" in says(mei, ASKED)
    told = do(mei, "add_rule", **RULE)
    assert "规则已生效" in told and "they doze · mei" in told
    assert "规则排除了它" in says(mei, ASKED)
    (id_,) = re.findall(r'name="id" value="(ru_[0-9a-z]{24})"', told)
    assert "规则已失效" in do(mei, "end_rule", id=id_)
    assert "没有别家可用" in says(mei, ASKED)
    gone = mei.post("/staff/routing/end_rule", {"id": id_}, mei.get("/staff/routing/"))
    assert gone.status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "steal"},
        {"suppliers": ""},
        {"operator": "nobody"},
        {"hours": "25:00-26:00"},
        {"ends": "tomorrow"},
        {"least": "５"},
        {"why": " "},
    ],
    ids=["action", "nobody", "operator", "hours", "time", "digits", "no reason"],
)
def test_a_rule_that_means_nothing_changes_nothing(mei: Visitor, wrong: dict[str, str]) -> None:
    assert "没有任何改动" in do(mei, "add_rule", **{**RULE, **wrong})
    assert "they doze" not in says(mei)


def test_a_breaker_is_opened_and_closed_by_hand(mei: Visitor) -> None:
    assert "已记录" in do(mei, "turn", supplier="northtel", to="open", why="their night shift is asleep")
    assert "失败过多，已熔断" in says(mei, ASKED)
    assert "没有任何改动" in do(mei, "turn", supplier="northtel", to="closed", why=" ")
    do(mei, "turn", supplier="northtel", to="closed", why="awake")
    assert "没有别家可用" in says(mei, ASKED)
    strange = mei.post(
        "/staff/routing/turn", {"supplier": "nobody", "to": "open", "why": "x"}, mei.get("/staff/routing/")
    )
    assert strange.status_code == 404


def test_a_pause_stands_in_the_calendar(mei: Visitor) -> None:
    told = do(mei, "add_pause", **PAUSE)
    assert "维护时段已登记" in told
    assert "处于维护时段" in says(mei, ASKED)
    (id_,) = re.findall(r'name="id" value="(pm_[0-9a-z]{24})"', told)
    assert "维护时段已取消" in do(mei, "end_pause", id=id_)
    assert "没有任何改动" in do(mei, "add_pause", **{**PAUSE, "ends": ""})


def test_limits_and_the_switch(mei: Visitor) -> None:
    limits = {"supplier": "northtel", "enabled": "no", "most_in_flight": "7", "most_per_second": "", "most_tries": ""}
    assert "限制已生效" in do(mei, "set_limits", **limits)
    assert "已停用或未接通" in says(mei, ASKED)
    assert "没有任何改动" in do(mei, "set_limits", **{**limits, "most_in_flight": "0"})
    assert "没有任何改动" in do(mei, "set_limits", **{**limits, "most_in_flight": "many"})
    do(mei, "set_limits", **{**limits, "enabled": "yes", "most_in_flight": "2000"})
    assert "开关已更改" in do(mei, "switch", operator="cmcc", to="refund")
    assert "目前未在售" in says(mei, ASKED)
    assert "没有任何改动" in do(mei, "switch", operator="cmcc", to="away")
    do(mei, "switch", operator="cmcc", to="on")
    assert "没有别家可用" in says(mei, ASKED)


def test_only_staff_may_look(house: House) -> None:
    assert house.visitor("zh-CN").get("/staff/routing/").status_code == 302


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@needs_chromium
@pytest.mark.parametrize("light", ["light", "dark"])
def test_the_page_is_for_everybody(house: House, mei: Visitor, chromium: Browser, light: str) -> None:
    told = do(mei, "add_rule", **RULE)
    device, language = (A_DESK, "zh-CN") if light == "light" else (A_PHONE, "en")
    with visiting(chromium, house, **device, locale=language, color_scheme=light) as page:
        page.goto("/staff/login/?next=/staff/routing/")
        page.locator("[name=username]").fill("mei")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url("**/staff/routing/")
        page.goto(f"/staff/routing/{ASKED}")
        found = Axe().run(page, context=".staff")
        assert found.violations_count == 0, found.generate_report()
        if shots := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{shots}/routing-{light}.png", full_page=True)
    (id_,) = re.findall(r'name="id" value="(ru_[0-9a-z]{24})"', told)
    do(mei, "end_rule", id=id_)
