"""The customer's pages in a real browser at the width of a small phone, through to the credited phone."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.doors.browser import A_PHONE, accessible, choose, credited, needs_chromium, pay_at_gateway, started, visiting
from tests.doors.conftest import House

pytestmark = needs_chromium
BUDGET = 100 * 1024


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, house: House) -> Iterator[Page]:
    """A small phone."""
    with visiting(chromium, house, **A_PHONE) as page:
        yield page


def test_from_a_number_to_a_credited_phone(page: Page, house: House, numbers: Callable[[], str]) -> None:
    number = numbers()
    page.goto("/")
    accessible(page)
    choose(page, number)
    expect(page.get_by_text(number)).to_be_visible()
    expect(page.get_by_text("瑞充移动")).to_be_visible()
    accessible(page)
    page.get_by_role("button", name="支付 ¥49.80").click()
    pay_at_gateway(page, house)
    credited(page)
    accessible(page)
    page.get_by_role("link", name="充值凭证").click()
    expect(page.get_by_text("****")).to_be_visible()
    accessible(page)
    assert house.order(page.url.split("/")[-2]).status == "succeeded"


def test_a_stranger_network_is_watched_until_it_credits(page: Page, house: House) -> None:
    choose(page, "138 0013 8000", "100元")
    expect(page.get_by_text("中国移动")).to_be_visible()
    page.get_by_role("button", name="支付 ¥99.60").click()
    pay_at_gateway(page, house)
    credited(page)
    expect(page.get_by_text("已提交运营商")).to_be_visible()


def test_with_the_notice_lost_the_way_back_finds_the_money(
    page: Page, house: House, numbers: Callable[[], str]
) -> None:
    house.alipay.troubles.plan("lose_notice")
    choose(page, numbers())
    page.get_by_role("button", name="支付 ¥").click()
    pay_at_gateway(page, house)
    credited(page)


def test_with_the_notice_doubled_the_phone_is_credited_once(
    page: Page, house: House, numbers: Callable[[], str]
) -> None:
    house.alipay.troubles.plan("double_notice")
    choose(page, numbers())
    page.get_by_role("button", name="支付 ¥").click()
    pay_at_gateway(page, house)
    credited(page)
    order = house.order(re.search("tu_[0-9a-z]{24}", page.url)[0])  # type: ignore[index]
    assert order.delivered_minor == order.face.minor
    assert len([capture for capture in house.alipay.captures if capture.reference.startswith(order.id)]) == 1


def test_a_double_click_and_the_back_button_are_one_order(page: Page, house: House, numbers: Callable[[], str]) -> None:
    choose(page, numbers())
    before = len(house.orders())
    page.get_by_role("button", name="支付 ¥").dblclick()
    page.wait_for_url("**/cashier/**")
    page.goto("/")
    page.go_back()
    page.wait_for_timeout(300)
    assert len(house.orders()) == before + 1


def test_a_pasted_number_is_tidied(page: Page, house: House) -> None:
    page.goto("/")
    field = page.get_by_label("手机号码")
    field.fill("\u202d+86 １３８-0013-8000\u202c")
    expect(field).to_have_value("138 0013 8000")
    expect(page.locator("#operator")).to_have_value("cmcc")


def test_enter_shows_the_amounts_and_never_changes_the_language(
    page: Page, house: House, numbers: Callable[[], str]
) -> None:
    page.goto("/")
    page.get_by_label("手机号码").fill("1380")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("位数不够，请逐位核对")
    accessible(page)


def test_the_operator_can_be_changed_and_the_choice_holds(page: Page, house: House) -> None:
    page.goto("/")
    page.get_by_label("手机号码").press_sequentially("13800138001", delay=15)
    page.locator("#operator").select_option("ctcc")
    expect(page.locator(".tile input").first).to_have_value(re.compile("ctcc"))  # the tiles are that operator's now
    page.locator(".tile", has_text="500元").click()
    page.get_by_role("button", name="下一步").click()
    expect(page.get_by_text("中国电信")).to_be_visible()


def test_recent_numbers_come_back_masked_and_can_be_forgotten(
    page: Page, house: House, numbers: Callable[[], str]
) -> None:
    number = numbers()
    choose(page, number)
    page.get_by_role("button", name="支付 ¥").click()
    page.wait_for_url("**/cashier/**")
    page.goto("/")
    masked = page.get_by_role("button", name="****")
    expect(masked).to_be_visible()
    accessible(page)
    masked.click()
    expect(page.get_by_label("手机号码")).to_have_value(number)
    page.goto("/")
    page.get_by_role("button", name="清除").click()
    expect(page.get_by_role("button", name="****")).to_have_count(0)


def test_without_scripts_it_works_too(chromium: Browser, house: House, numbers: Callable[[], str]) -> None:
    context = chromium.new_context(java_script_enabled=False, locale="en-GB", base_url=house.url)
    page = context.new_page()
    page.goto("/")
    page.get_by_label("Mobile number").fill(numbers())
    page.get_by_role("button", name="Show amounts").click()
    page.locator(".tile", has_text="¥50").first.click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Pay ¥49.80").click()
    page.get_by_role("link", name="Open Alipay on this device").click()
    pay_at_gateway(page, house)
    expect(page.get_by_role("heading", level=1)).to_have_text("Credited")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_is_accessible_in_both_lights(
    chromium: Browser, house: House, numbers: Callable[[], str], scheme: str, width: int
) -> None:
    context = chromium.new_context(
        locale="zh-CN",
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        base_url=house.url,  # type: ignore[arg-type]
    )
    page = context.new_page()
    number = numbers()
    page.goto("/")
    accessible(page)
    choose(page, number)
    accessible(page)
    page.go_back()
    accessible(page)
    page.go_forward()
    page.get_by_role("button", name="支付 ¥").click()
    page.wait_for_url("**/o/**")
    accessible(page)
    choose(page, number)
    page.get_by_role("button", name="支付 ¥").click()
    expect(page.get_by_role("alert")).to_contain_text("确定要再充一次吗")
    accessible(page)
    page.goto("/o/unknown")
    accessible(page)
    context.close()


def test_the_first_page_weighs_less_than_a_photograph(chromium: Browser, house: House) -> None:
    context = chromium.new_context(base_url=house.url)
    page = context.new_page()
    sizes: list[int] = []
    page.on("response", lambda response: sizes.append(len(response.body())))
    page.goto("/", wait_until="networkidle")
    assert 20_000 < sum(sizes) <= BUDGET, f"{sum(sizes)} bytes, not compressed"
    context.close()
