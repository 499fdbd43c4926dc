"""Paying in a real browser: every method through to the credited phone, changes of mind, and time that runs out."""

import asyncio
import csv
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.doors.browser import (
    A_DESK,
    A_PHONE,
    PHONE,
    accessible,
    choose,
    credited,
    needs_chromium,
    order_of,
    pay_at_gateway,
    started,
    visiting,
)
from tests.doors.conftest import House

from refill import vouchers
from refill.money import money
from refill.simulators.wechat_pay import PERSON

pytestmark = needs_chromium
BUDGET = 100 * 1024
IN_WECHAT = f"{PHONE} MicroMessenger/8.0.61"
HANDS_OVER = re.compile(r"/o/tu_[0-9a-z]{24}\?way=wechat_pay\.jsapi")
IN_ALIPAY = f"{PHONE} AlipayClient/10.7.60"
NAMES = {"alipay": "支付宝", "wechat_pay": "微信支付", "jd_pay": "京东支付", "card": "银行卡", "voucher": "充值卡"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture
def desk(chromium: Browser, house: House) -> Iterator[Page]:
    with visiting(chromium, house, **A_DESK) as page:
        yield page


@pytest.fixture
def phone(chromium: Browser, house: House) -> Iterator[Page]:
    with visiting(chromium, house, **A_PHONE) as page:
        yield page


def order(page: Page, method: str = "alipay") -> None:
    """Picks a method on the confirm page and presses the button that carries the amount."""
    row = page.locator(".way", has_text=NAMES[method])
    if not row.is_visible():
        page.locator("summary", has_text="其他付款方式").click()
    row.click()
    page.get_by_role("button", name="支付 ¥").click()


def change_to(page: Page, method: str) -> None:
    """Chooses another method on the waiting page."""
    page.locator("summary", has_text="其他付款方式").click()
    page.get_by_role("link", name=NAMES[method]).click()


def scan(house: House, page: Page, method: str, amount_minor: int | None = None) -> None:
    """Another phone scans the code and pays; not before the firm knows of it."""
    expect(page.locator(".code")).to_be_visible()
    order_id, far = order_of(page).replace("_", "U"), house.far[method]
    reference = [name for name in far.trades if name.replace("_", "U").startswith(order_id)][-1]
    house.loop.call_soon_threadsafe(far.pay, reference, amount_minor)


# ------------------------------------------------------------------ every method


@pytest.mark.parametrize("method", ["alipay", "wechat_pay", "jd_pay", "card"])
def test_on_a_phone_each_firms_page_leads_to_the_credit(
    phone: Page, house: House, numbers: Callable[[], str], method: str
) -> None:
    choose(phone, numbers())
    accessible(phone)
    order(phone, method)
    pay_at_gateway(phone, house)
    credited(phone)
    accessible(phone)


@pytest.mark.parametrize("method", ["alipay", "wechat_pay", "jd_pay"])
def test_at_a_desk_the_code_is_scanned_and_the_page_turns_by_itself(
    desk: Page, house: House, numbers: Callable[[], str], method: str
) -> None:
    asked: list[str] = []
    desk.on("request", lambda request: asked.append(request.url))
    choose(desk, numbers())
    order(desk, method)
    expect(desk.get_by_text(f"请用{NAMES[method]}扫一扫")).to_be_visible()
    accessible(desk)
    desk.evaluate("window.stayed = true")
    with desk.expect_response("**/state?*"):  # nothing is asked for until there is something to tell
        scan(house, desk, method)
    credited(desk)
    assert desk.evaluate("window.stayed"), "the page was not loaded again"
    expect(desk.locator("#told")).to_have_text("已到账")
    expect(desk).to_have_title(re.compile("已到账"))
    assert len([url for url in asked if "/watch/" in url]) == 1
    assert len([url for url in asked if "/state" in url]) == 1


@pytest.mark.parametrize("method", ["alipay", "jd_pay"])
def test_at_a_desk_the_firms_page_is_the_second_way(
    desk: Page, house: House, numbers: Callable[[], str], method: str
) -> None:
    choose(desk, numbers())
    order(desk, method)
    desk.get_by_role("link", name=f"在本设备打开{NAMES[method]}").click()
    pay_at_gateway(desk, house)
    credited(desk)


def test_at_a_desk_a_card_is_taken_on_the_firms_page(desk: Page, house: House, numbers: Callable[[], str]) -> None:
    choose(desk, numbers())
    order(desk, "card")
    pay_at_gateway(desk, house)
    credited(desk)


# ------------------------------------------------------------------ vouchers and wallet


def voucher(house: House, tmp_path: Path, value: str) -> str:
    """The PIN of a voucher that was sold."""

    async def sell() -> str:
        trade = house.trade
        now = trade.world.db_now()
        batch = await vouchers.generate(
            trade.db,
            trade.world,
            trade.vault,
            tmp_path / "print.csv",
            count=1,
            value=money(value),
            expires_at=now + timedelta(days=30),
            who="tests",
        )
        sold = vouchers.Range(batch.code, 1, 1)
        await trade.db.transaction(
            lambda tx: vouchers.activate(tx, trade.world, sold, purse="cash:office", who="tests")
        )
        with (tmp_path / "print.csv").open(encoding="utf-8-sig") as file:
            return next(csv.DictReader(file))["pin"]

    return house.ask(sell())


def type_pin(page: Page, pin: str) -> None:
    page.get_by_label("充值卡密码").fill(pin)
    page.get_by_role("button", name="充值卡支付 ¥").click()


def test_a_voucher_pays_by_its_pin_and_a_wrong_one_says_what_to_do(
    phone: Page, house: House, numbers: Callable[[], str], tmp_path: Path
) -> None:
    pin = voucher(house, tmp_path, "49.80 CNY")
    choose(phone, numbers())
    order(phone, "voucher")
    accessible(phone)
    type_pin(phone, "0000 0000 0000 0000")
    expect(phone.get_by_role("alert")).to_contain_text("没有这个密码的充值卡")
    expect(phone.get_by_label("充值卡密码")).to_have_value("")
    accessible(phone)
    type_pin(phone, pin)
    credited(phone)
    assert pin.replace("-", "") not in phone.url.replace("-", "")


def test_what_a_voucher_is_worth_more_pays_the_next_top_up_out_of_the_wallet(
    phone: Page, house: House, numbers: Callable[[], str], tmp_path: Path
) -> None:
    pin = voucher(house, tmp_path, "100 CNY")
    choose(phone, numbers())
    expect(phone.locator(".way", has_text="余额")).to_have_count(0)
    order(phone, "voucher")
    type_pin(phone, pin)
    expect(phone.get_by_role("alert")).to_contain_text("勾选")
    phone.get_by_label("余款存入我的余额").check()
    type_pin(phone, pin)
    credited(phone)
    choose(phone, numbers())
    phone.locator("summary", has_text="其他付款方式").click()
    row = phone.locator(".way", has_text="余额")
    expect(row).to_contain_text("¥50.20")
    row.click()
    phone.get_by_role("button", name="支付 ¥49.80").click()
    accessible(phone)
    phone.get_by_role("button", name="余额支付 ¥49.80").click()
    credited(phone)


# ------------------------------------------------------------------ another way, two ways, another time


def test_another_method_half_way_keeps_the_order_and_closes_the_first_one(
    desk: Page, house: House, numbers: Callable[[], str]
) -> None:
    choose(desk, numbers())
    order(desk, "alipay")
    first = order_of(desk)
    (left,) = [name for name in house.alipay.trades if name.startswith(first)]
    house.alipay.trades[left].opened = True  # scanned, and left at the question for the password
    change_to(desk, "wechat_pay")
    expect(desk.get_by_text("请用微信支付扫一扫")).to_be_visible()
    expect(desk.get_by_text("请只付一次")).to_be_visible()
    accessible(desk)
    assert order_of(desk) == first
    scan(house, desk, "wechat_pay")
    credited(desk)
    assert not house.ask(_paid_in_the_end(house, left)), "nobody can pay the first code any more"


async def _paid_in_the_end(house: House, reference: str) -> bool:
    """Whether this payment at Alipay can still be paid when our order to close it has arrived there."""
    async with asyncio.timeout(15):
        while house.alipay.trades[reference].closed_at is None:
            await asyncio.sleep(0.05)
    return house.alipay.pay(reference)


def test_paid_twice_is_said_and_the_second_goes_back(desk: Page, house: House, numbers: Callable[[], str]) -> None:
    choose(desk, numbers())
    order(desk, "alipay")
    change_to(desk, "wechat_pay")
    expect(desk.get_by_text("请用微信支付扫一扫")).to_be_visible()

    def both() -> None:
        for far in (house.far["wechat_pay"], house.alipay):
            far.pay(next(name for name in far.trades if name.startswith(order_id)))

    order_id = order_of(desk)
    house.alipay.troubles.plan("lose_notice")  # so that this money is found second
    house.loop.call_soon_threadsafe(both)
    credited(desk)
    desk.reload()
    expect(desk.get_by_text("收到第二笔付款")).to_be_visible()
    expect(desk.get_by_text("已经退回。")).to_be_visible(timeout=60_000)
    accessible(desk)


def test_another_amount_is_told_and_goes_back_and_the_order_can_still_be_paid(
    desk: Page, house: House, numbers: Callable[[], str]
) -> None:
    choose(desk, numbers())
    order(desk, "alipay")
    scan(house, desk, "alipay", 100)
    expect(desk.get_by_text("与订单金额不符的付款")).to_be_visible(timeout=15_000)
    expect(desk.locator(".code")).to_be_visible()
    accessible(desk)
    scan(house, desk, "alipay")
    credited(desk)


def test_who_walks_away_at_the_firm_comes_back_to_the_order_and_pays_after_all(
    phone: Page, house: House, numbers: Callable[[], str]
) -> None:
    choose(phone, numbers())
    order(phone, "alipay")
    phone.wait_for_url("**/cashier/**")
    phone.locator("form button.quiet").last.click()
    phone.get_by_role("link", name="返回商家").click()
    expect(phone.get_by_role("heading", level=1)).to_contain_text("等待付款")
    accessible(phone)
    phone.goto("/")
    phone.go_back()
    phone.get_by_role("link", name="支付宝支付 ¥49.80").click()
    pay_at_gateway(phone, house)
    credited(phone)


def test_a_refused_card_leaves_the_order_waiting_for_another_way(
    phone: Page, house: House, numbers: Callable[[], str]
) -> None:
    choose(phone, numbers())
    order(phone, "card")
    phone.wait_for_url(lambda url: not url.startswith(house.url))
    phone.get_by_role("button", name="被拒绝的卡").click()
    expect(phone.get_by_text("declined").first).to_be_visible()
    house_order = house.orders()[-1]
    phone.goto(f"/o/{house_order}")
    expect(phone.get_by_role("heading", level=1)).to_contain_text("等待付款")
    change_to(phone, "alipay")
    pay_at_gateway(phone, house)
    credited(phone)


# ------------------------------------------------------------------ time, and pages that hear nothing


def lapses_in(house: House, order_id: str, seconds: int) -> None:
    with psycopg.connect(house.dsn) as connection:
        statement = "UPDATE {} SET expires_at = clock_timestamp() + make_interval(secs => %s) WHERE {} = %s"
        for table, name in (("topup_order", "id"), ("topup_payment", "order_id")):
            connection.execute(statement.format(table, name), [seconds, order_id])


def test_the_time_runs_out_in_front_of_the_person_who_starts_again_in_one_tap(
    desk: Page, house: House, numbers: Callable[[], str]
) -> None:
    number = numbers()
    choose(desk, number)
    order(desk, "wechat_pay")
    before = desk.locator("[data-left]").text_content()
    assert before and re.fullmatch(r"1[45]:[0-5][0-9]", before)
    expect(desk.locator("[data-left]")).not_to_have_text(before)  # it counts
    lapses_in(house, order_of(desk), 4)
    desk.reload()
    expect(desk.locator("[data-left]")).to_have_text(re.compile("0:0[0-4]"))
    expect(desk.get_by_role("heading", level=1)).to_have_text(re.compile("正在关闭|已关闭"), timeout=10_000)
    expect(desk.locator(".code")).to_have_count(0)
    accessible(desk)
    desk.get_by_role("button", name="重新充值 ¥50.00，号码不变").click()
    desk.wait_for_url("**/confirm")
    expect(desk.get_by_text(number)).to_be_visible()
    order(desk, "alipay")
    scan(house, desk, "alipay")
    credited(desk)


def test_a_page_that_no_stream_reaches_asks_for_itself(desk: Page, house: House, numbers: Callable[[], str]) -> None:
    desk.route("**/watch/**", lambda route: route.fulfill(status=204))  # "do not come again", says the standard
    choose(desk, numbers())
    order(desk, "alipay")
    scan(house, desk, "alipay")
    credited(desk)


def test_with_the_notice_lost_an_open_page_finds_the_money(
    desk: Page, house: House, numbers: Callable[[], str]
) -> None:
    house.alipay.troubles.plan("lose_notice")
    choose(desk, numbers())
    order(desk, "alipay")
    scan(house, desk, "alipay")
    credited(desk)


def test_without_scripts_the_code_the_hour_and_the_turn_are_there_too(
    chromium: Browser, house: House, numbers: Callable[[], str]
) -> None:
    with visiting(chromium, house, java_script_enabled=False, locale="en-GB", **A_DESK) as page:
        page.goto("/")
        page.get_by_label("Mobile number").fill(numbers())
        page.get_by_role("button", name="Show amounts").click()
        page.locator(".tile", has_text="¥50").first.click()
        page.get_by_role("button", name="Continue").click()
        page.locator(".way", has_text="JD Pay").click()
        page.get_by_role("button", name="Pay ¥49.80").click()
        expect(page.get_by_text(re.compile("Closes at [0-9]{2}:[0-9]{2}, in"))).to_be_visible()
        scan(house, page, "jd_pay")
        expect(page.get_by_role("heading", level=1)).to_have_text("Credited", timeout=15_000)  # <meta> turned it


def test_without_scripts_a_form_leads_to_the_firm_by_one_press(
    chromium: Browser, house: House, numbers: Callable[[], str]
) -> None:
    with visiting(chromium, house, java_script_enabled=False, **{**A_PHONE, "locale": "en-GB"}) as page:
        page.goto("/")
        page.get_by_label("Mobile number").fill(numbers())
        page.get_by_role("button", name="Show amounts").click()
        page.locator(".tile", has_text="¥50").first.click()
        page.get_by_role("button", name="Continue").click()
        page.locator(".way", has_text="JD Pay").click()
        page.get_by_role("button", name="Pay ¥49.80").click()
        page.get_by_role("button", name="Pay ¥49.80 with JD Pay").click()
        pay_at_gateway(page, house)
        expect(page.get_by_role("heading", level=1)).to_have_text("Credited", timeout=15_000)


# ------------------------------------------------------------------ what the device is


@pytest.mark.parametrize(("user_agent", "first"), [(IN_WECHAT, "wechat_pay"), (IN_ALIPAY, "alipay"), (PHONE, "alipay")])
def test_the_method_at_home_stands_first(
    chromium: Browser, house: House, numbers: Callable[[], str], user_agent: str, first: str
) -> None:
    with visiting(chromium, house, **{**A_PHONE, "user_agent": user_agent}) as page:
        choose(page, numbers())
        expect(page.locator(".way").first).to_contain_text(NAMES[first])
        expect(page.locator(".way input").first).to_be_checked()
        page.locator("summary").click()
        for name in NAMES.values():
            expect(page.locator(".way", has_text=name)).to_be_visible()
        accessible(page)


# ------------------------------------------------------------------ inside WeChat


def in_wechat(page: Page, house: House) -> list[str]:
    """Puts WeChat's app around the page; the person there does the deeds that stand in the list, and then pays."""
    deeds: list[str] = []

    def hand(words: dict[str, str]) -> Any:
        deed = deeds.pop(0) if deeds else "pay"
        if deed == "nothing works":
            words = {**words, "paySign": ""}
        url = f"{house.far['wechat_pay'].base_url}/bridge?deed={deed.split()[0]}"
        return httpx2.post(url, json=words, trust_env=False).json()

    page.expose_function("handToWeChat", hand)
    page.add_init_script("""
        window.WeixinJSBridge = {
          invoke: async (name, words, answer) => {
            if (name !== "getBrandWCPayRequest") throw new Error(name);
            answer(await window.handToWeChat(words));
          },
        };
    """)
    return deeds


def test_inside_wechat_the_page_hands_the_payment_to_the_app_around_it(
    chromium: Browser, house: House, numbers: Callable[[], str]
) -> None:
    with visiting(chromium, house, **{**A_PHONE, "user_agent": IN_WECHAT}) as page:
        deeds = in_wechat(page, house)
        choose(page, numbers())
        order(page, "wechat_pay")
        page.wait_for_url(HANDS_OVER)
        pay = page.get_by_role("button", name="微信支付支付 ¥49.80")
        expect(pay).to_be_visible()
        accessible(page)
        deeds += ["leave", "nothing works"]
        pay.click()
        expect(page.get_by_role("alert")).to_have_count(0)
        pay.click()
        expect(page.get_by_role("alert")).to_contain_text("微信没能打开付款")
        accessible(page)
        pay.click()
        credited(page)
        trade = next(one for name, one in house.far["wechat_pay"].trades.items() if name.startswith(order_of(page)))
        assert (trade.trade_type, trade.openid) == ("JSAPI", PERSON)

        # Who the person is, is known now: the next order asks nobody.
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        choose(page, numbers())
        order(page, "wechat_pay")
        page.get_by_role("button", name="微信支付支付 ¥49.80").click()
        credited(page)
        assert [url for url in asked if "/connect/oauth2/authorize" in url] == []
        assert PERSON not in page.content() + "".join(asked)


def test_who_a_person_is_counts_only_in_the_session_that_asked(
    chromium: Browser, house: House, numbers: Callable[[], str]
) -> None:
    agent = {**A_PHONE, "user_agent": IN_WECHAT}
    with visiting(chromium, house, **agent) as anna, visiting(chromium, house, **agent) as eve:
        told: list[str] = []
        anna.on("request", lambda request: told.append(request.url) if "/who/wechat_pay?" in request.url else None)
        choose(anna, numbers())
        order(anna, "wechat_pay")
        anna.wait_for_url(HANDS_OVER)
        (hers,) = told
        choose(eve, numbers())
        order(eve, "alipay")
        expect(eve.locator(".code")).to_be_visible()
        assert eve.request.get(hers).status == 404, "it is not her order"
        for bent in (hers.replace(order_of(anna), order_of(eve)), f"/o/{order_of(eve)}/who/wechat_pay?code=1&state=签"):
            assert eve.request.get(bent).status == 200
            assert "data-bridge=" not in eve.request.get(f"/o/{order_of(eve)}?way=wechat_pay.jsapi").text()
        again = anna.request.get(hers)
        assert "请换一种" in again.text(), "a code tells once"
        assert "data-bridge=" in anna.request.get(f"/o/{order_of(anna)}?way=wechat_pay.jsapi").text(), (
            "and it stays told"
        )


def test_inside_wechat_a_code_is_explained(chromium: Browser, house: House, numbers: Callable[[], str]) -> None:
    with visiting(chromium, house, **{**A_PHONE, "user_agent": IN_WECHAT}) as page:
        choose(page, numbers())
        order(page, "wechat_pay")
        page.get_by_role("link", name="二维码").click()
        expect(page.get_by_text("请用另一部手机扫码")).to_be_visible()
        accessible(page)
        scan(house, page, "wechat_pay")
        credited(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [A_PHONE, A_DESK], ids=["phone", "desk"])
def test_every_page_of_paying_is_accessible_in_both_lights(
    chromium: Browser, house: House, numbers: Callable[[], str], device: dict[str, Any], scheme: str
) -> None:
    with visiting(chromium, house, color_scheme=scheme, **device) as page:
        choose(page, numbers())
        page.locator("summary").click()
        accessible(page)
        order(page, "voucher")
        accessible(page)
        page.locator("summary", has_text="其他付款方式").click()
        accessible(page)
        page.goto(f"/o/{order_of(page)}?way=wechat_pay.qr")
        accessible(page)
        page.get_by_role("button", name="取消订单").click()
        expect(page.get_by_role("button", name="重新充值")).to_be_visible()
        accessible(page)


def test_the_page_with_a_code_weighs_less_than_a_photograph(
    chromium: Browser, house: House, numbers: Callable[[], str]
) -> None:
    with visiting(chromium, house, **A_DESK) as page:
        choose(page, numbers())
        order(page, "alipay")
        expect(page.locator(".code")).to_be_visible()
        address = page.url
        files = page.locator("link[rel=stylesheet], link[rel=icon], script[src]").evaluate_all(
            "all => all.map(each => each.href || each.src)"
        )
        sizes = [len(page.request.get(each).body()) for each in (address, *files)]
        assert 30_000 < sum(sizes) <= BUDGET, f"{sizes} bytes, not compressed"
