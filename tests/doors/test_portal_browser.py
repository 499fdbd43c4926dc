"""The customer's pages in a real browser at the width of a small phone, through to the credited phone."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from tests.doors.conftest import House

CHROMIUM = "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed")
BUDGET = 100 * 1024
PHONE = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"


@pytest.fixture(scope="module")  # while Playwright runs, no other event loop can run in this thread
def chromium() -> Iterator[Browser]:
    # As root, in a container: no sandbox of its own, and no small /dev/shm.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, house: House) -> Iterator[Page]:
    """A small phone that speaks Chinese; every complaint of the browser is a failure."""
    context = chromium.new_context(
        locale="zh-CN",
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
        user_agent=PHONE,
        base_url=house.url,
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if _complains(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def _complains(message: ConsoleMessage) -> bool:
    # That a form comes back with a sentence (422) or a question (409) is meant, and Chromium mentions it.
    return message.type in ("error", "warning") and not re.search(r"status of (409|422)", message.text)


def accessible(page: Page) -> None:
    """No finding of axe, nothing to scroll sideways, and every target as large as a fingertip."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} scrolls sideways"
    small = page.evaluate("""() => [...document.querySelectorAll("button, a, input:not([type=hidden]), select")]
        .filter(each => each.checkVisibility() && each.offsetHeight > 1 && !each.closest(".sr-only, p, dd"))
        .map(each => [each.closest("label") ?? each, each])
        .filter(([target, each]) => target.getBoundingClientRect().height < 44 && each.type !== "radio")
        .map(([target]) => target.outerHTML.slice(0, 90))""")
    assert small == [], "smaller than 44 px"


def choose(page: Page, number: str, amount: str = "50元") -> None:
    """Types a number as a person does and picks an amount."""
    page.goto("/")
    page.get_by_label("手机号码").press_sequentially(number.replace(" ", ""), delay=15)
    expect(page.get_by_label("手机号码")).to_have_value(number)
    page.locator(".tile", has_text=re.compile(rf"^\s*{amount}")).click()
    page.get_by_role("button", name="下一步").click()


def pay_at_alipay(page: Page) -> None:
    """Presses Pay on the gateway's own page, which leads back to us."""
    page.wait_for_url("**/cashier/**")
    page.locator("form button").first.click()
    page.wait_for_url(re.compile(r"/o/tu_[0-9a-z]{24}$"))


def credited(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("已到账", timeout=20_000)


def test_from_a_number_to_a_credited_phone(page: Page, house: House, numbers: Callable[[], str]) -> None:
    number = numbers()
    page.goto("/")
    accessible(page)
    choose(page, number)
    expect(page.get_by_text(number)).to_be_visible()
    expect(page.get_by_text("瑞充移动")).to_be_visible()
    accessible(page)
    page.get_by_role("button", name="支付 ¥49.80").click()
    pay_at_alipay(page)
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
    pay_at_alipay(page)
    credited(page)
    expect(page.get_by_text("已提交运营商")).to_be_visible()


def test_with_the_notice_lost_the_way_back_finds_the_money(
    page: Page, house: House, numbers: Callable[[], str]
) -> None:
    house.alipay.troubles.plan("lose_notice")
    choose(page, numbers())
    page.get_by_role("button", name="支付 ¥").click()
    pay_at_alipay(page)
    credited(page)


def test_with_the_notice_doubled_the_phone_is_credited_once(
    page: Page, house: House, numbers: Callable[[], str]
) -> None:
    house.alipay.troubles.plan("double_notice")
    choose(page, numbers())
    page.get_by_role("button", name="支付 ¥").click()
    pay_at_alipay(page)
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
    expect(page.get_by_role("alert")).to_contain_text("这还不是手机号码")
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
    pay_at_alipay(page)
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
