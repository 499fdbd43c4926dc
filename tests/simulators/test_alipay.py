"""The Alipay simulator is honest: a client that we did not write is content with it, and so is our own method."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import alipay as sdk
import httpx2
import pytest
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.money import Money, money
from refill.outcome import Done, Refused, Unknown
from refill.payments import (
    ABSENT,
    ALREADY_PAID,
    CLOSED,
    WAITING,
    Charge,
    Invitation,
    Method,
    RawNotice,
    RefundAsk,
    methods_by_name,
)
from refill.simulators.alipay import REPEATS_S, AlipaySimulator, make_keys
from refill.simulators.serve import address, listen, serving, surroundings
from refill.world import NoAnswer, Request, Response

APP, SELLER = "2021000000000000", "2088000000000000"
KEYS = make_keys()
US = "https://us.example/callbacks/alipay"


def our_method(gateway: str) -> Method:
    return methods_by_name(
        {
            "alipay_app_id": APP,
            "alipay_seller_id": SELLER,
            "alipay_gateway": gateway,
            "alipay_notify_url": US,
            "alipay_private_key_file": KEYS.merchant_private,
            "alipay_public_key_file": KEYS.alipay_public,
        }
    )["alipay"]


def a_world(answer: Response | None = None, **settings: Any) -> tuple[FixedWorld, AlipaySimulator, Method, Inbox]:
    world, inbox = FixedWorld(), Inbox(answer)
    simulator = AlipaySimulator(
        **world.surroundings(),
        app_id=APP,
        seller_id=SELLER,
        public_key=KEYS.merchant_public,
        private_key=KEYS.alipay_private,
        base_url="https://alipay.example",
        **settings,
    )
    world.route(simulator.base_url, simulator.handle)
    world.route(US, inbox.handle)
    return world, simulator, our_method(simulator.gateway_url), inbox


def a_charge(reference: str = "pay_1", **other: Any) -> Charge:
    fields = {"reference": reference, "amount": money("49.80 CNY"), "subject": "手机充值 50 元 & <b>"}
    expires_at = MORNING + timedelta(minutes=15)
    return Charge(**{**fields, "expires_at": expires_at, "return_url": "https://us.example/o?lang=zh", **other})


def a_refund(request_id: str = "rf_1", fen: int = 4980) -> RefundAsk:
    price = money("49.80 CNY")
    return RefundAsk(request_id, "pay_1", "", Money(fen, "CNY"), price, "not delivered")


async def get(world: FixedWorld, url: str) -> Response:
    return await world.send(Request("GET", url))


async def opened(world: FixedWorld, method: Method, charge: Charge) -> str:
    """The person follows our link; gives the address of the page on which to pay."""
    begun = await method.begin(world, charge)
    assert isinstance(begun, Done)
    answer = await get(world, begun.reference.url)
    assert answer.status == 302
    return answer.headers["location"]


# Our method and the simulator, in still time


async def test_a_person_pays_and_everybody_agrees() -> None:
    world, simulator, method, inbox = a_world()
    cashier = await opened(world, method, a_charge())
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    page = (await get(world, cashier)).body.decode()
    assert "¥ 49.80" in page
    assert "手机充值 50 元 ＆ &lt;b&gt;" in page
    paid = await world.send(Request("POST", f"{cashier}/pay"))
    assert paid.status == 303
    assert paid.headers["location"].startswith("https://us.example/o?lang=zh&app_id=")
    await world.advance()

    found = await method.query(world, "pay_1")
    notice = method.read_notice(RawNotice(inbox.notices[0].body, {}, world.clock))
    assert isinstance(found, Done)
    assert notice.fresh
    assert notice.capture == found.reference
    assert found.reference.amount == money("49.80 CNY")
    assert found.reference.paid_at == MORNING
    truth = simulator.captures
    assert [(one.reference, one.trade_no, one.amount_minor, one.at) for one in truth] == [
        ("pay_1", found.reference.transaction, 4980, MORNING)
    ]
    assert len(inbox.notices) == 1, "we said success"


async def test_a_code_does_not_exist_until_somebody_scans_it() -> None:
    world, simulator, method, _ = a_world()
    begun = await method.begin(world, a_charge(scene="qr"))
    assert isinstance(begun, Done)
    assert isinstance(begun.reference, Invitation)
    assert await method.begin(world, a_charge(scene="qr")) == begun
    assert await method.query(world, "pay_1") == Refused(ABSENT, "ACQ.TRADE_NOT_EXIST")
    assert await method.close(world, "pay_1") == Refused(ABSENT, "ACQ.TRADE_NOT_EXIST")
    assert (await get(world, begun.reference.url)).status == 302
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    assert simulator.pay("pay_1")
    assert isinstance(await method.query(world, "pay_1"), Done)


async def test_at_a_till_the_code_on_a_telephone_decides() -> None:
    world, simulator, method, inbox = a_world()
    page = (await get(world, f"{simulator.base_url}/code?last=1")).body.decode()
    shown = re.search(r'alt="([0-9]{18})"', page)
    assert shown and shown[1].endswith("1")
    assert "data:image/svg+xml" in page

    async def charged(reference: str, code: str) -> object:
        return await method.begin(world, a_charge(reference, scene="barcode", auth_code=code))

    code = simulator.payment_code()
    assert await charged("till_1", code) == Done(Invitation("paid"))
    assert isinstance(await method.query(world, "till_1"), Done)
    assert isinstance(await charged("till_2", code), Refused), "a code pays once"
    assert await charged("till_1", simulator.payment_code()) == Refused(ALREADY_PAID, "ACQ.TRADE_HAS_SUCCESS")
    assert await charged("till_3", shown[1]) == Done(Invitation("wait"))
    assert await method.query(world, "till_3") == Refused(WAITING, final=False)
    assert simulator.pay("till_3")
    assert await charged("till_4", simulator.payment_code("1")) == Done(Invitation("wait"))
    assert isinstance(await method.close(world, "till_4"), Done), "nobody confirms it any more"
    assert not simulator.pay("till_4")
    for last in "23":
        assert isinstance(await charged("till_5", simulator.payment_code(last)), Refused)
    assert isinstance(await charged("till_5", "130061098828009400"), Refused), "a code of another firm's"
    assert await method.query(world, "till_5") == Refused(ABSENT, "ACQ.TRADE_NOT_EXIST")
    await world.advance()
    assert [one.reference for one in simulator.captures] == ["till_1", "till_3"]
    assert len(inbox.notices) == 2


@pytest.mark.parametrize("trouble", ["lost", "error_after", "html", "truncated", "unsigned", "garbled"])
async def test_a_till_that_hears_nothing_asks_and_finds_the_money(trouble: str) -> None:
    world, simulator, method, _ = a_world()
    simulator.troubles.plan(trouble, 1)
    charge = a_charge(scene="barcode", auth_code=simulator.payment_code())
    assert isinstance(await method.begin(world, charge), Unknown)
    assert isinstance(await method.query(world, "pay_1"), Done)
    assert await method.close(world, "pay_1") == Refused(ALREADY_PAID, "ACQ.TRADE_STATUS_ERROR")
    assert simulator.refunds == [], "to ask and to close gives no money back"


async def test_a_shops_app_hands_its_text_to_the_firms_app() -> None:
    world, simulator, method, _ = a_world()
    begun = await method.begin(world, a_charge(scene="app"))
    assert isinstance(begun, Done)
    assert await method.query(world, "pay_1") == Refused(ABSENT, "ACQ.TRADE_NOT_EXIST")
    opened = await get(world, f"{simulator.base_url}/app?{begun.reference.url}")
    assert (await world.send(Request("POST", f"{opened.headers['location']}/pay"))).status == 303
    assert isinstance(await method.query(world, "pay_1"), Done)
    bent = await get(world, f"{simulator.base_url}/app?{begun.reference.url.replace('49.80', '0.01')}")
    assert b"isv.invalid-signature" in bent.body
    no_browser = await get(world, f"{simulator.gateway_url}?{begun.reference.url}")
    assert b"isv.invalid-method" in no_browser.body, "only the app knows this method"


async def test_nobody_pays_after_it_expired() -> None:
    world, simulator, method, inbox = a_world()
    cashier = await opened(world, method, a_charge())
    await world.advance(15 * 60)
    assert not simulator.pay("pay_1")
    assert "Closed" in (await world.send(Request("POST", f"{cashier}/pay"))).body.decode()
    assert await method.query(world, "pay_1") == Refused(CLOSED)
    assert await method.close(world, "pay_1") == Done("pay_1")
    assert await method.begin(world, a_charge()) == Refused(CLOSED)
    assert (simulator.captures, inbox.notices) == ([], [])


async def test_a_late_click_on_an_old_link_opens_nothing() -> None:
    world, simulator, method, _ = a_world()
    begun = await method.begin(world, a_charge())
    assert isinstance(begun, Done)
    await world.advance(15 * 60)
    assert "cannot go on" in (await get(world, begun.reference.url)).body.decode()
    assert not simulator.pay("pay_1")


async def test_nobody_pays_after_we_closed_it_and_nobody_closes_what_is_paid() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    assert isinstance(await method.close(world, "pay_1"), Done)
    assert not simulator.pay("pay_1")
    assert await method.query(world, "pay_1") == Refused(CLOSED)
    assert await method.close(world, "pay_1") == Done("pay_1")
    assert list(simulator.closed) == ["pay_1"]

    await opened(world, method, a_charge("pay_2"))
    assert simulator.pay("pay_2")
    assert not simulator.pay("pay_2"), "nobody pays twice"
    assert await method.close(world, "pay_2") == Refused(ALREADY_PAID, "ACQ.TRADE_STATUS_ERROR")
    assert len(simulator.captures) == 1


async def test_who_walks_away_pays_nothing_and_may_come_back() -> None:
    world, simulator, method, _ = a_world()
    cashier = await opened(world, method, a_charge())
    left = (await world.send(Request("POST", f"{cashier}/leave"))).body.decode()
    assert "walked away" in left
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    await world.send(Request("POST", f"{cashier}/pay"))
    again = await world.send(Request("POST", f"{cashier}/pay"))
    assert again.status == 303, "a double click ends on the same page"
    assert len(simulator.captures) == 1


async def test_money_goes_back_once_for_each_request_and_never_more_than_came() -> None:
    world, simulator, method, inbox = a_world()
    await opened(world, method, a_charge())
    assert await method.refund(world, a_refund()) == Refused(
        "Alipay cannot refund this payment in its state", "ACQ.TRADE_STATUS_ERROR"
    )
    simulator.pay("pay_1")
    assert await method.query_refund(world, a_refund()) == Refused(ABSENT, final=False)
    for _ in range(3):
        assert isinstance(await method.refund(world, a_refund("rf_1", 1000)), Done)
    assert isinstance(await method.refund(world, a_refund("rf_1", 1001)), Unknown), "another amount under one id"
    assert isinstance(await method.refund(world, a_refund("rf_2", 3981)), Refused)
    assert isinstance(await method.refund(world, a_refund("rf_3", 3980)), Done)
    assert isinstance(await method.refund(world, a_refund("rf_3", 3980)), Done), "though the trade is closed now"
    assert isinstance(await method.query_refund(world, a_refund("rf_3", 3980)), Done)
    assert [(one.request_id, one.amount_minor) for one in simulator.refunds] == [("rf_1", 1000), ("rf_3", 3980)]
    found = await method.query(world, "pay_1")
    assert isinstance(found, Done), "it was paid, though all of it went back"
    await world.advance()
    read = [method.read_notice(RawNotice(notice.body, {}, world.clock)) for notice in inbox.notices]
    assert [notice.capture is None for notice in read] == [False, True, True]


@pytest.mark.parametrize("trouble", ["lost", "html", "truncated", "garbled", "unsigned", "error_after"])
async def test_a_refund_whose_answer_went_wrong_is_found_and_not_made_twice(trouble: str) -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.pay("pay_1")
    simulator.troubles.plan(trouble)
    assert isinstance(await method.refund(world, a_refund()), Unknown)
    assert isinstance(await method.query_refund(world, a_refund()), Done)
    assert isinstance(await method.refund(world, a_refund()), Done)
    assert len(simulator.refunds) == 1


async def test_an_error_before_anything_was_done_and_an_empty_account() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.pay("pay_1")
    simulator.troubles.plan("error_before")
    assert isinstance(await method.refund(world, a_refund()), Unknown)
    simulator.troubles.plan("broke")
    answer = await method.refund(world, a_refund())
    assert isinstance(answer, Refused)
    assert not answer.final
    assert simulator.refunds == []
    assert isinstance(await method.refund(world, a_refund()), Done)


async def test_a_notice_comes_again_until_we_say_success() -> None:
    world, simulator, method, inbox = a_world(Response(500, {}, b"busy"))
    await opened(world, method, a_charge())
    simulator.pay("pay_1")
    simulator.troubles.plan("lose_notice")
    arrived = []
    for wait in (0, *REPEATS_S):
        before = len(inbox.notices)
        await world.advance(wait)
        arrived.append(len(inbox.notices) - before)
    assert arrived == [0, 1, 1, 1, 1, 1, 1, 1]
    assert len({notice.body for notice in inbox.notices}) == 1, "the very same notice"
    assert not method.read_notice(RawNotice(inbox.notices[-1].body, {}, world.clock)).fresh
    await world.advance(10**6)
    assert len(inbox.notices) == 7


async def test_notices_are_doubled_delayed_and_forged_on_demand() -> None:
    world, simulator, method, inbox = a_world()
    for number, trouble in enumerate(("double_notice", "forge_notice", "late_notice")):
        inbox.notices.clear()
        await opened(world, method, a_charge(f"pay_{number}"))
        simulator.troubles.plan(trouble)
        simulator.pay(f"pay_{number}")
        await world.advance()
        assert len(inbox.notices) == {"double_notice": 2, "forge_notice": 2, "late_notice": 0}[trouble]
    await world.advance(600)
    assert len(inbox.notices) == 1


async def test_a_wrong_amount_can_be_paid() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    assert simulator.pay("pay_1", amount_override=4979)
    found = await method.query(world, "pay_1")
    assert isinstance(found, Done)
    assert found.reference.amount == money("49.79 CNY")


@pytest.mark.parametrize(
    "change",
    [
        {"app_id": "2021000000000001"},
        {"sign": "AAAA"},
        {"sign_type": "RSA"},
        {"biz_content": '{"out_trade_no":"pay_1","total_amount":"0.01","subject":"x"}'},
        {"notify_url": "https://thief.example"},
    ],
    ids=str,
)
async def test_a_link_that_was_bent_opens_nothing(change: dict[str, str]) -> None:
    world, simulator, method, _ = a_world()
    begun = await method.begin(world, a_charge())
    assert isinstance(begun, Done)
    fields = dict(parse_qsl(urlsplit(begun.reference.url).query))
    answer = await get(world, f"{simulator.gateway_url}?{urlencode({**fields, **change})}")
    assert answer.status == 200
    assert b"error_response" in answer.body
    assert simulator.trades == {}


def a_signed_link(simulator: AlipaySimulator, content: object, **other: str) -> str:
    """A link whose signature holds, whatever it asks for."""
    client = sdk.AliPay(APP, None, KEYS.merchant_private, KEYS.alipay_public, sign_type="RSA2")
    text = content if isinstance(content, str) else json.dumps(content)
    fields = {**client.build_body("alipay.trade.page.pay", text), **other}
    return f"{simulator.gateway_url}?{client.sign_data(fields)}"


ORDER = {"out_trade_no": "pay_1", "total_amount": "49.80", "subject": "x"}


@pytest.mark.parametrize(
    ("content", "other", "word"),
    [
        ("{", {}, "isv.invalid-parameter"),
        ("[]", {}, "isv.invalid-parameter"),
        (ORDER, {"timestamp": "yesterday"}, "isv.invalid-timestamp"),
        (ORDER, {"charset": "gbk"}, "isv.invalid-timestamp"),
        (ORDER, {"method": "alipay.trade.shiny"}, "isv.invalid-method"),
        ({**ORDER, "out_trade_no": "pay 1"}, {}, "ACQ.INVALID_PARAMETER"),
        ({**ORDER, "subject": ""}, {}, "ACQ.INVALID_PARAMETER"),
        ({**ORDER, "total_amount": "49.805"}, {}, "ACQ.INVALID_PARAMETER"),
        ({**ORDER, "total_amount": "0.00"}, {}, "ACQ.INVALID_PARAMETER"),
        ({**ORDER, "time_expire": "soon"}, {}, "ACQ.INVALID_PARAMETER"),
        ({**ORDER, "time_expire": "2026-11-22 10:00:00"}, {}, "ACQ.INVALID_PARAMETER"),
    ],
    ids=str,
)
async def test_what_the_firm_refuses_the_simulator_refuses(content: object, other: dict[str, str], word: str) -> None:
    world, simulator, _, _ = a_world()
    answer = await get(world, a_signed_link(simulator, content, **other))
    assert word in answer.body.decode()
    assert simulator.trades == {}


async def test_a_shop_cannot_send_people_anywhere_but_to_the_web() -> None:
    world, simulator, _, _ = a_world()
    url = a_signed_link(simulator, ORDER, return_url="javascript:alert(1)", notify_url="file:///etc/passwd")
    cashier = (await get(world, url)).headers["location"]
    paid = await world.send(Request("POST", f"{cashier}/pay"))
    assert paid.status == 200
    assert "Paid" in paid.body.decode()
    assert "javascript" not in paid.body.decode()
    assert simulator.trades["pay_1"].expires_at > MORNING + timedelta(days=14)


async def test_who_opens_a_paid_link_again_sees_that_it_is_paid() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.pay("pay_1")
    assert "Paid" in (await get(world, await opened(world, method, a_charge()))).body.decode()
    assert len(simulator.captures) == 1


async def test_trouble_ends_when_it_is_healed() -> None:
    world, simulator, method, _ = a_world(chances={"slow": 1.0})
    await opened(world, method, a_charge())
    await method.query(world, "pay_1")
    assert world.clock > MORNING
    simulator.troubles.plan("lost", 5)
    simulator.troubles.heal()
    noon = world.clock
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    assert world.clock == noon


async def test_the_same_reference_for_something_else_is_refused() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    begun = await method.begin(world, a_charge(amount=money("0.01 CNY")))
    assert isinstance(begun, Done)
    assert "CONTEXT_INCONSISTENT" in (await get(world, begun.reference.url)).body.decode()
    assert simulator.trades["pay_1"].amount_minor == 4980


async def test_one_seed_is_one_story() -> None:
    async def story(seed: int) -> list[object]:
        world, simulator, method, inbox = a_world(chances={"lost": 0.3, "lose_notice": 0.5, "short_paid": 0.5})
        world.dice.seed(seed)
        for number in range(10):
            await opened(world, method, a_charge(f"pay_{number}"))
            simulator.pay(f"pay_{number}")
            await method.query(world, f"pay_{number}")
        await world.advance(3600)
        return [simulator.captures, [notice.body for notice in inbox.notices]]

    assert await story(7) == await story(7)
    assert await story(7) != await story(8)


# Over real HTTP, with a client that we did not write


@dataclass
class Served:
    """The simulator on a loopback port, and our own address with what arrived there."""

    alipay: AlipaySimulator
    shop_url: str
    shop: Inbox


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    shop, theirs = Inbox(), listen()
    async with surroundings(Random(1)) as real:
        simulator = AlipaySimulator(
            **real,
            app_id=APP,
            seller_id=SELLER,
            public_key=KEYS.merchant_public,
            private_key=KEYS.alipay_private,
            base_url=address(theirs),
        )
        async with serving(simulator, theirs), serving(shop, listen()) as shop_url:
            yield Served(simulator, shop_url, shop)


def their_client(served: Served) -> Any:
    client = sdk.AliPay(
        appid=APP,
        app_notify_url=f"{served.shop_url}/notices",
        app_private_key_string=KEYS.merchant_private,
        alipay_public_key_string=KEYS.alipay_public,
        sign_type="RSA2",
    )
    client._gateway = served.alipay.gateway_url
    return client


async def test_a_foreign_client_is_content_with_everything(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    simulator, notices = served.alipay, served.shop.notices
    client = their_client(served)

    async def ask(name: str, *given: Any, **named: Any) -> Any:
        return await asyncio.to_thread(partial(getattr(client, name), *given, **named))

    async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as browser:
        query = client.api_alipay_trade_page_pay(
            "手机充值 50 元",
            "sdk_1",
            "49.80",
            return_url=f"{served.shop_url}/back",
        )
        page = await browser.get(f"{simulator.gateway_url}?{query}")
        assert "手机充值 50 元" in page.text
        assert (await ask("api_alipay_trade_query", "sdk_1"))["trade_status"] == "WAIT_BUYER_PAY"
        action = re.search(r'action="([^"]+/pay)"', page.text)
        assert action
        back = await browser.post(action[1])
        returned = dict(parse_qsl(back.url.query.decode()))
        assert client.verify(returned, returned.pop("sign"))

        found = await ask("api_alipay_trade_query", "sdk_1")
        assert (found["trade_status"], found["total_amount"]) == ("TRADE_SUCCESS", "49.80")
        for _ in range(200):
            if any(notice.method == "POST" for notice in notices):
                break
            await asyncio.sleep(0.01)
        notice = dict(parse_qsl(next(one.body for one in notices if one.method == "POST").decode()))
        assert client.verify(notice, notice.pop("sign"))
        assert notice["trade_no"] == found["trade_no"]

        refunded = await ask("api_alipay_trade_refund", "49.80", "sdk_1", out_request_no="rf_1")
        assert (refunded["code"], refunded["fund_change"]) == ("10000", "Y")
        again = await ask("api_alipay_trade_refund", "49.80", "sdk_1", out_request_no="rf_1")
        assert (again["code"], again["fund_change"]) == ("10000", "N")
        asked = await ask("api_alipay_trade_fastpay_refund_query", "rf_1", out_trade_no="sdk_1")
        assert asked["refund_amount"] == "49.80"

        code = await ask("api_alipay_trade_precreate", "手机充值", "sdk_2", 30, timeout_express="15m")
        scanned = await browser.get(code["qr_code"])
        assert "¥ 30.00" in scanned.text
        assert (await ask("api_alipay_trade_close", "sdk_2"))["out_trade_no"] == "sdk_2"
        assert (await ask("api_alipay_trade_query", "sdk_2"))["trade_status"] == "TRADE_CLOSED"
        unknown = await ask("api_alipay_trade_query", "sdk_3")
        assert unknown["sub_code"] == "ACQ.TRADE_NOT_EXIST"

        text = client.api_alipay_trade_app_pay("手机充值", "sdk_4", "30.00")
        assert "¥ 30.00" in (await browser.get(f"{simulator.base_url}/app?{text}")).text

        async def scan(reference: str, last: str) -> Any:
            code = simulator.payment_code(last)
            return await ask("api_alipay_trade_pay", reference, "bar_code", code, "手机充值", total_amount="30.00")

        assert (await scan("sdk_5", "0"))["code"] == "10000"
        assert (await scan("sdk_6", "1"))["code"] == "10003"
        assert (await ask("api_alipay_trade_query", "sdk_6"))["trade_status"] == "WAIT_BUYER_PAY"
        assert (await scan("sdk_7", "2"))["sub_code"] == "ACQ.BUYER_BALANCE_NOT_ENOUGH"
    assert [one.reference for one in simulator.captures] == ["sdk_1", "sdk_5"]


async def test_the_shown_pages_are_kept_from_scripts_and_caches(
    served: Served,
) -> None:
    simulator = served.alipay
    async with httpx2.AsyncClient(trust_env=False) as browser:
        index = await browser.get(simulator.base_url)
        missing = await browser.get(f"{simulator.base_url}/cashier/{'0' * 32}")
    assert index.status_code == 200
    assert missing.status_code == 404
    assert "default-src 'none'" in index.headers["content-security-policy"]
    assert index.headers["cache-control"] == "no-store"


async def test_another_process_can_plan_trouble_and_read_the_truth() -> None:
    world, simulator, method, inbox = a_world()
    await opened(world, method, a_charge())

    async def plan(form: bytes) -> int:
        return (await world.send(Request("POST", f"{simulator.base_url}/troubles", {}, form))).status

    assert await plan(b"name=lose_notice&times=1") == 204
    assert await plan(b"times=1") == 422
    assert await plan(b"name=lose_notice&times=-1") == 422
    simulator.pay("pay_1")
    await method.refund(world, a_refund())
    await world.advance()
    assert len(inbox.notices) == 1, "of the payment's and the refund's notice one was lost"
    truth = json.loads((await get(world, f"{simulator.base_url}/truth")).body)
    assert [capture["amount_minor"] for capture in truth["captures"]] == [4980]
    assert [refund["request_id"] for refund in truth["refunds"]] == ["rf_1"]


async def test_a_lost_answer_is_a_broken_connection() -> None:
    class Silent:
        async def handle(self, request: Request) -> Response:
            raise NoAnswer("lost")

    async with serving(Silent(), listen()) as url, httpx2.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(url)
