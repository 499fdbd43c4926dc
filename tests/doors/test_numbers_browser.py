"""The country picker and a number of another country, as a person uses them: by search, by keyboard, on a phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.doors.browser import A_PHONE, accessible, needs_chromium, started, visiting
from tests.doors.conftest import House

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, house: House) -> Iterator[Page]:
    with visiting(browser, house, **A_PHONE) as page:
        yield page


def test_a_country_is_found_by_either_name_and_its_numbers_are_asked_about(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="国家或地区").click()
    expect(page.locator("#country-list li").first).to_contain_text("中国")
    accessible(page)
    page.get_by_label("按名称或区号搜索").fill("kingdom")
    expect(page.locator("#country-list li:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="英国")).to_be_visible()
    number = page.get_by_label("手机号码")
    expect(number).to_be_focused()
    number.press_sequentially("07400 123456", delay=15)
    expect(page.get_by_role("alert")).to_contain_text("暂不支持")
    expect(number).to_have_value("07400 123456")
    accessible(page)


def test_nobody_is_found_kindly_and_the_picker_closes(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="国家或地区").click()
    page.get_by_label("按名称或区号搜索").fill("atlantis")
    expect(page.get_by_role("status")).to_contain_text("没有找到")
    page.get_by_role("button", name="关闭").click()
    expect(page.locator("#country-picker")).to_be_hidden()
    expect(page.locator("#country")).to_have_value("CN")


def test_another_number_forgets_the_operator_that_was_chosen_for_the_one_before(page: Page) -> None:
    page.goto("/")
    number = page.get_by_label("手机号码")
    number.press_sequentially("13877777001", delay=15)
    expect(page.locator("#operator")).to_have_value("cmcc")
    page.locator("#operator").select_option("ctcc")
    expect(page.locator(".tile input").first).to_have_value("ctcc-10|10.00")
    number.fill("")
    number.press_sequentially("13077777002", delay=15)
    expect(page.locator("#operator")).to_have_value("cunicom")
