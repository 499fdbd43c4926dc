"""A scratch card and the balance in a real browser, through to the credited phone; what each page weighs."""

import re
from collections.abc import Callable, Iterator

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.doors.browser import (
    A_DESK,
    A_PHONE,
    accessible,
    choose,
    credited,
    needs_chromium,
    order_of,
    pay_at_gateway,
    started,
    visiting,
)
from tests.doors.cards import card
from tests.doors.conftest import House

pytestmark = needs_chromium
BUDGET = 100 * 1024


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture(autouse=True)
def _nobody_guessed(house: House) -> Iterator[None]:
    yield
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM vouchers_guesser")


@pytest.fixture(params=["phone light", "desk dark"])
def page(chromium: Browser, house: House, request: pytest.FixtureRequest) -> Iterator[Page]:
    size, scheme = request.param.split()
    with visiting(chromium, house, **(A_PHONE if size == "phone" else A_DESK), color_scheme=scheme) as page:
        yield page


def go_on(page: Page) -> None:
    page.get_by_role("button", name="下一步").click()


def to_balance(page: Page, house: House, value: str) -> None:
    page.goto("/card?to=balance")
    page.get_by_label("刮开涂层后的密码").fill(card(house, value))
    go_on(page)
    page.get_by_role("button", name="存入 ¥").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("已存入余额")


def test_a_card_tops_a_phone_up(page: Page, house: House, numbers: Callable[[], str]) -> None:
    pin, number = card(house), numbers()
    page.goto("/")
    page.get_by_role("link", name="充值卡").click()
    accessible(page)
    field = page.get_by_label("刮开涂层后的密码")
    expect(field).to_be_focused()
    field.press_sequentially("0000000000000000")
    expect(field).to_have_value("0000 0000 0000 0000")
    page.get_by_role("textbox", name="手机号码").press_sequentially(number.replace(" ", ""), delay=15)
    expect(page.get_by_label("运营商")).to_have_value("demo")  # the hint came by itself
    go_on(page)
    expect(page.get_by_role("alert")).to_contain_text("没有这个密码的充值卡")
    expect(field).to_have_value("0000 0000 0000 0000")
    accessible(page)
    field.fill(pin)
    go_on(page)
    expect(page.locator("dl")).to_contain_text("¥50.00")
    expect(page.get_by_text(number)).to_be_visible()
    accessible(page)
    page.get_by_role("button", name="English").click()
    page.get_by_role("button", name="中文").click()
    page.get_by_role("button", name="修改").click()
    expect(page.get_by_role("textbox", name="手机号码")).to_have_value(number)
    go_on(page)
    page.get_by_role("button", name="充值 ¥50.00").click()
    credited(page)
    accessible(page)
    assert pin.replace("-", "") not in page.content().replace("-", "").replace(" ", "")
    page.get_by_role("link", name="充值凭证").click()
    expect(page.get_by_role("article")).to_contain_text("¥50.00")


def test_the_balance_is_filled_at_a_firm_and_by_a_card_and_pays(
    page: Page, house: House, numbers: Callable[[], str]
) -> None:
    page.goto("/balance")
    accessible(page)
    page.locator(".tile", has_text="100元").click()
    page.get_by_role("button", name="选择付款方式").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("等待付款")
    accessible(page)
    page.goto(f"/o/{order_of(page)}/pay?way=alipay.page")
    pay_at_gateway(page, house)
    expect(page.get_by_role("heading", level=1)).to_have_text("已存入余额", timeout=20_000)
    accessible(page)
    to_balance(page, house, "30 CNY")
    accessible(page)
    choose(page, numbers())
    if not page.locator(".way", has_text="余额").is_visible():
        page.locator("summary", has_text="其他付款方式").click()
    page.locator(".way", has_text="余额").click()
    page.get_by_role("button", name="支付 ¥49.80").click()
    page.get_by_role("button", name="余额支付 ¥49.80").click()
    credited(page)
    page.goto("/balance")
    expect(page.get_by_text("¥80.20")).to_be_visible()
    expect(page.locator(".moves li")).to_have_count(3)
    expect(page.locator(".moves")).to_contain_text(re.compile(r"−¥49.80.*\+¥30.00.*\+¥100.00", re.S))
    accessible(page)
    page.locator(".moves a").first.click()
    credited(page)


def test_a_code_with_letters_can_be_typed_on_a_phone(chromium: Browser, house: House) -> None:
    with visiting(chromium, house, **A_PHONE) as page:
        page.goto("/card")
        field = page.get_by_label("刮开涂层后的密码")
        expect(field).to_have_attribute("inputmode", "numeric")
        page.get_by_role("link", name="我的码含有字母").click()
        expect(field).to_have_attribute("inputmode", "text")
        field.press_sequentially("ab12cd34")
        expect(field).to_have_value("ab12 cd34")
        field.press("Home")
        field.press("Delete")
        expect(field).to_have_value("b12c d34")
        field.press_sequentially("x")
        expect(field).to_have_value("xb12 cd34")


@pytest.mark.parametrize("path", ["/card", "/balance", "/"])
def test_a_page_is_light_and_works_without_a_script(chromium: Browser, house: House, path: str) -> None:
    with visiting(chromium, house, **A_PHONE, java_script_enabled=False) as page:
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    with visiting(chromium, house, **A_PHONE) as page:
        context = page.context.new_cdp_session(page)
        context.send("Network.enable")
        sizes: list[float] = []
        context.on("Network.loadingFinished", lambda told: sizes.append(told["encodedDataLength"]))
        page.goto(path, wait_until="networkidle")
        assert 0 < sum(sizes) <= BUDGET, f"{path} weighs {sum(sizes) / 1024:.0f} KiB"
