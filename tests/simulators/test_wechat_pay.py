"""The WeChat Pay simulator is honest: a client that we did not write is content with it, and so is our own method."""

import asyncio
import gzip
import hashlib
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from html import unescape
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
import wechatpayv3 as sdk
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.errors import NotVerified
from refill.money import Money, money
from refill.outcome import Done, Refused, Unknown
from refill.payments import (
    ABSENT,
    ALREADY_PAID,
    CLOSED,
    WAITING,
    AsksWho,
    Charge,
    Invitation,
    Method,
    RawNotice,
    RefundAsk,
    StatementLine,
    methods_by_name,
)
from refill.simulators.serve import address, listen, serving, surroundings
from refill.simulators.wechat_pay import CHINA, PERSON, REPEATS_S, WechatPaySimulator, leads, make_keys, plays
from refill.world import Request, Response

KEYS = make_keys()
US = "https://us.example/callbacks/wechat_pay"
HERE = "https://wechat.example"


def keep(name: str, make: Any) -> str:
    return json.dumps(KEYS._asdict())


def our_method(**other: str) -> Method:
    """Our method as `leads` leads it; with certificates instead of the public key, when they are named."""
    return methods_by_name({**leads(keep, HERE), **other})["wechat_pay"]


def by_certificate() -> Method:
    return our_method(wechat_pay_public_key_id="", wechat_pay_certificates_file=KEYS.certificate)


def a_world(answer: Response | None = None, **chances: float) -> tuple[FixedWorld, WechatPaySimulator, Method, Inbox]:
    world, inbox = FixedWorld(), Inbox(answer or Response(204, {}, b""))
    simulator = plays(keep, HERE, "", world.surroundings())  # type: ignore[arg-type]
    simulator.troubles.chances.update(chances)
    world.route(HERE, simulator.handle)
    world.route(US, inbox.handle)
    return world, simulator, our_method(), inbox


def a_charge(reference: str = "order_1p1", **other: Any) -> Charge:
    fields = {"reference": reference, "amount": money("49.80 CNY"), "subject": "手机充值, 50 元 & <b>", "scene": "qr"}
    expires_at = MORNING + timedelta(minutes=15)
    more = {"expires_at": expires_at, "return_url": "https://us.example/o?lang=zh&n=1", "notify_url": US}
    return Charge(**{**fields, **more, **other})


def a_refund(request_id: str = "rf_1", fen: int = 4980) -> RefundAsk:
    price = money("49.80 CNY")
    return RefundAsk(request_id, "order_1p1", "", Money(fen, "CNY"), price, "not delivered")


async def get(world: FixedWorld, url: str) -> Response:
    return await world.send(Request("GET", url))


async def opened(world: FixedWorld, method: Method, charge: Charge) -> str:
    """The person follows our invitation; gives the address of the page on which to pay."""
    begun = await method.begin(world, charge)
    assert isinstance(begun, Done)
    entered = await get(world, begun.reference.url)
    assert entered.status == 302
    return entered.headers["location"]


def raw(notice: Request, world: FixedWorld) -> RawNotice:
    return RawNotice(notice.body, notice.headers, world.clock)


# Our method and the simulator, in still time


@pytest.mark.parametrize("method", [our_method(), by_certificate()], ids=["public key", "certificate"])
async def test_a_person_scans_pays_and_everybody_agrees(method: Method) -> None:
    world, simulator, _, inbox = a_world()
    cashier = await opened(world, method, a_charge())
    assert await opened(world, method, a_charge()) == cashier, "asked again it is the same code"
    assert await method.query(world, "order_1p1") == Refused(WAITING, final=False)
    page = (await get(world, cashier)).body.decode()
    assert "¥ 49.80" in page
    assert "手机充值, 50 元 &amp; &lt;b&gt;" in page
    assert "Paid" in (await world.send(Request("POST", f"{cashier}/pay"))).body.decode()
    await world.advance()

    found = await method.query(world, "order_1p1")
    notice = method.read_notice(raw(inbox.notices[0], world))
    assert isinstance(found, Done)
    assert notice.fresh
    assert notice.capture == found.reference
    assert found.reference.amount == money("49.80 CNY")
    assert found.reference.paid_at == MORNING
    truth = simulator.captures
    assert [(one.reference, one.trade_no, one.amount_minor, one.at) for one in truth] == [
        ("order_1p1", found.reference.transaction, 4980, MORNING)
    ]
    await world.advance(86_400)
    assert len(inbox.notices) == 1, "we said that we have it"


async def test_on_a_telephone_the_person_comes_back_to_the_shop() -> None:
    world, simulator, method, _ = a_world()
    cashier = await opened(world, method, a_charge(scene="wap", payer_ip="192.0.2.1"))
    paid = await world.send(Request("POST", f"{cashier}/pay"))
    assert (paid.status, paid.headers["location"]) == (303, "https://us.example/o?lang=zh&n=1")
    assert simulator.trades["order_1p1"].trade_type == "MWEB"
    again = await world.send(Request("POST", f"{cashier}/pay"))
    assert again.status == 303, "a double click ends on the same page"
    assert len(simulator.captures) == 1


async def test_nobody_is_sent_anywhere_but_to_the_web() -> None:
    world, _, method, _ = a_world()
    cashier = await opened(world, method, a_charge(scene="wap", payer_ip="192.0.2.1", return_url="javascript:alert(1)"))
    paid = await world.send(Request("POST", f"{cashier}/pay"))
    assert paid.status == 200
    assert "javascript" not in paid.body.decode()
    assert (await get(world, f"{HERE}/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx0")).status == 404


async def test_inside_wechat_the_page_is_given_the_number_of_a_trade() -> None:
    world, simulator, method, _ = a_world()
    begun = await method.begin(world, a_charge(scene="jsapi", openid="o-of-nobody"))
    assert isinstance(begun, Done)
    assert begun.reference.bridge["package"] == f"prepay_id=wx{simulator.trades['order_1p1'].token}"
    assert simulator.pay("order_1p1")
    assert isinstance(await method.query(world, "order_1p1"), Done)


async def asked_who(world: FixedWorld, method: Method, **headers: str) -> Response:
    assert isinstance(method, AsksWho) and method.asks_who
    url = method.who_url("https://us.example/o?lang=zh", "aState1")
    assert url.endswith("#wechat_redirect")
    return await world.send(Request("GET", url.partition("#")[0], headers))


async def test_inside_wechat_we_learn_who_the_person_is_and_they_pay_on_our_page() -> None:
    world, _, method, inbox = a_world()
    assert isinstance(method, AsksWho)
    told = await asked_who(world, method, **{"user-agent": "MicroMessenger/8.0.61"})
    back = dict(parse_qsl(urlsplit(told.headers["location"]).query))
    assert (told.status, back["lang"], back["state"]) == (302, "zh", "aState1")
    assert await method.who(world, back["code"]) == Done(PERSON)
    assert await method.who(world, back["code"]) == Refused("this code was used", "40163", final=False)
    begun = await method.begin(world, a_charge(scene="jsapi", openid=PERSON))
    assert isinstance(begun, Done)

    async def handed(words: object, deed: str = "pay") -> str:
        body = json.dumps(words).encode()
        answer = await world.send(Request("POST", f"{HERE}/bridge?deed={deed}", {}, body))
        said: str = json.loads(answer.body)["err_msg"]
        return said.removeprefix("get_brand_wcpay_request:")

    words = dict(begun.reference.bridge)
    assert await handed({**words, "package": "prepay_id=wx0"}) == "fail"
    assert await handed({**words, "timeStamp": "1"}) == "fail"
    assert [await handed(nonsense) for nonsense in ([], {}, {**words, "paySign": 1})] == ["fail"] * 3
    assert await handed(words, "leave") == "cancel"
    assert await handed(words) == "ok"
    assert await handed(words) == "fail", "it is paid"
    await world.advance()
    assert isinstance(await method.query(world, "order_1p1"), Done)
    assert len(inbox.notices) == 1
    others = await method.begin(world, a_charge("order_2p1", scene="jsapi", openid="o-of-nobody"))
    assert isinstance(others, Done)
    assert await handed(dict(others.reference.bridge)) == "fail", "that is somebody else's to pay"


async def test_who_a_person_is_can_be_told_in_wechat_only_and_for_five_minutes() -> None:
    world, _, method, _ = a_world()
    assert isinstance(method, AsksWho)
    page = (await asked_who(world, method)).body.decode()
    assert "请在微信客户端打开" in page
    enter = re.search(r'href="(https://us[^"]+)"', page)
    assert enter
    code = dict(parse_qsl(urlsplit(unescape(enter[1])).query))["code"]
    await world.advance(300)
    assert await method.who(world, code) == Refused("this code has expired", "42003", final=False)
    assert await method.who(world, "0" * 32) == Refused("WeChat did not give this code", "40029", final=False)
    stranger = our_method(wechat_pay_app_secret="guessed")
    other = our_method(wechat_pay_appid="wx0")
    assert isinstance(stranger, AsksWho) and isinstance(other, AsksWho)
    assert await stranger.who(world, code) == Refused("the secret is not our application's", "40125")
    assert await other.who(world, code) == Refused("WeChat does not know our application", "40013")
    nameless = our_method(wechat_pay_app_secret="")
    assert isinstance(nameless, AsksWho) and not nameless.asks_who
    for bent in (
        other.who_url("https://us.example/o", "s"),
        method.who_url("ftp://us", "s"),
        method.who_url(US, "a-b"),
    ):
        assert "参数错误" in (await get(world, bent)).body.decode()


async def test_at_a_till_the_code_on_a_telephone_decides() -> None:
    world, simulator, method, inbox = a_world()

    async def charged(reference: str, code: str) -> object:
        return await method.begin(world, a_charge(reference, scene="barcode", auth_code=code))

    assert await charged("till_1", "130061098828009400") == Done(Invitation("paid"))
    assert isinstance(await method.query(world, "till_1"), Done)
    assert await charged("till_2", "130061098828009401") == Done(Invitation("wait"))
    assert await method.query(world, "till_2") == Refused(WAITING, final=False)
    assert await method.close(world, "till_2") == Unknown(
        "WeChat Pay can neither close this payment nor tell its state."
    )
    assert simulator.pay("till_2")
    assert isinstance(await method.query(world, "till_2"), Done)
    assert isinstance(await charged("till_3", "130061098828009402"), Refused)
    assert isinstance(await charged("till_4", "130061098828009403"), Refused)
    assert isinstance(await charged("till_5", "280061098828009400"), Refused), "a code of another firm's"
    assert isinstance(await charged("till_1", "130061098828009404"), Unknown), "the number is used; we ask"
    assert await method.query(world, "till_5") == Refused(ABSENT, "ORDER_NOT_EXIST")
    assert [one.reference for one in simulator.captures] == ["till_1", "till_2"]
    await world.advance(100)
    assert inbox.notices == [], "of a till's payments no notice comes"


async def test_a_till_waits_a_minute_for_a_password_and_a_refusal_is_final() -> None:
    world, simulator, method, _ = a_world()
    for reference in ("till_1", "till_2"):
        await method.begin(world, a_charge(reference, scene="barcode", auth_code="130061098828009401"))
    cashier = f"{HERE}/cashier/{simulator.trades['till_1'].token}"
    assert "Closed" in (await world.send(Request("POST", f"{cashier}/refuse"))).body.decode()
    await world.advance(61)
    for reference in ("till_1", "till_2"):
        assert not simulator.pay(reference)
        assert await method.query(world, reference) == Refused(CLOSED)
        assert await method.close(world, reference) == Done(reference)


async def test_nobody_pays_after_it_expired_and_we_close_it() -> None:
    world, simulator, method, inbox = a_world()
    cashier = await opened(world, method, a_charge())
    await world.advance(15 * 60)
    assert not simulator.pay("order_1p1")
    assert "Closed" in (await world.send(Request("POST", f"{cashier}/pay"))).body.decode()
    assert await method.query(world, "order_1p1") == Refused(WAITING, final=False), "only who asked for it closes it"
    for _ in range(2):
        assert await method.close(world, "order_1p1") == Done("order_1p1")
    assert await method.query(world, "order_1p1") == Refused(CLOSED)
    assert list(simulator.closed) == ["order_1p1"]
    again = a_charge(expires_at=world.clock + timedelta(minutes=1))
    assert await method.begin(world, again) == Refused(CLOSED, "ORDER_CLOSED")
    assert (simulator.captures, inbox.notices) == ([], [])


async def test_nobody_closes_what_is_paid_or_pays_twice() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    assert simulator.pay("order_1p1")
    assert not simulator.pay("order_1p1")
    assert await method.close(world, "order_1p1") == Refused(ALREADY_PAID, "INVALID_REQUEST")
    assert await method.begin(world, a_charge()) == Refused(ALREADY_PAID, "OUT_TRADE_NO_USED")
    assert await method.close(world, "order_2p1") == Refused(ABSENT, "ORDER_NOT_EXIST")
    assert len(simulator.captures) == 1


async def test_who_walks_away_or_is_refused_pays_nothing_and_may_try_again() -> None:
    world, simulator, method, _ = a_world()
    cashier = await opened(world, method, a_charge())
    for deed, says in (("leave", "walked away"), ("refuse", "The bank refused")):
        assert says in (await world.send(Request("POST", f"{cashier}/{deed}"))).body.decode()
        assert await method.query(world, "order_1p1") == Refused(WAITING, final=False)
    await world.send(Request("POST", f"{cashier}/pay"))
    assert len(simulator.captures) == 1


async def test_money_goes_back_once_for_each_request_and_never_more_than_came() -> None:
    world, simulator, method, inbox = a_world()
    await opened(world, method, a_charge())
    assert await method.refund(world, a_refund()) == Refused(ABSENT, "RESOURCE_NOT_EXISTS")
    simulator.pay("order_1p1")
    assert await method.query_refund(world, a_refund()) == Refused(ABSENT, "RESOURCE_NOT_EXISTS", final=False)
    busy = Unknown("WeChat Pay is still working on the refund.")
    assert await method.refund(world, a_refund("rf_1", 1000)) == busy
    assert await method.query_refund(world, a_refund("rf_1", 1000)) == busy
    await world.advance(3)
    first = await method.query_refund(world, a_refund("rf_1", 1000))
    assert isinstance(first, Done)
    assert await method.refund(world, a_refund("rf_1", 1000)) == first
    assert isinstance(await method.refund(world, a_refund("rf_1", 1001)), Unknown), "another amount under one id"
    assert isinstance(await method.refund(world, a_refund("rf_2", 3981)), Refused)
    found = await method.query(world, "order_1p1")
    assert isinstance(found, Done), "it was paid, though a part of it went back"
    by_their_number = replace(a_refund("rf_3", 3980), transaction=found.reference.transaction)
    assert await method.refund(world, by_their_number) == busy
    await world.advance(3)
    assert isinstance(await method.query_refund(world, a_refund("rf_3", 3980)), Done)
    assert [(one.request_id, one.amount_minor) for one in simulator.refunds] == [("rf_1", 1000), ("rf_3", 3980)]
    read = [method.read_notice(raw(notice, world)) for notice in inbox.notices]
    assert [notice.capture is None for notice in read] == [False, True, True]


@pytest.mark.parametrize("trouble", ["lost", "html", "truncated", "garbled", "unsigned", "error_after"])
async def test_a_refund_whose_answer_went_wrong_is_found_and_not_made_twice(trouble: str) -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.pay("order_1p1")
    simulator.troubles.plan(trouble)
    assert isinstance(await method.refund(world, a_refund()), Unknown)
    await world.advance(3)
    assert isinstance(await method.query_refund(world, a_refund()), Done)
    assert isinstance(await method.refund(world, a_refund()), Done)
    assert len(simulator.refunds) == 1


async def test_an_error_before_anything_was_done_an_empty_account_and_a_slow_refund() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.pay("order_1p1")
    simulator.troubles.plan("error_before")
    assert isinstance(await method.refund(world, a_refund()), Unknown)
    simulator.troubles.plan("broke")
    told = await method.refund(world, a_refund())
    assert isinstance(told, Refused)
    assert not told.final
    assert simulator.refunds == []
    simulator.troubles.plan("slow_refund")
    await method.refund(world, a_refund())
    await world.advance(599)
    assert isinstance(await method.query_refund(world, a_refund()), Unknown)
    await world.advance(1)
    assert isinstance(await method.query_refund(world, a_refund()), Done)


async def test_a_notice_comes_again_for_a_day_until_we_say_that_we_have_it() -> None:
    world, simulator, method, inbox = a_world(Response(500, {}, b"busy"))
    await opened(world, method, a_charge())
    simulator.pay("order_1p1")
    simulator.troubles.plan("lose_notice")
    arrived, fresh = [], []
    for wait in (0, *REPEATS_S):
        before = len(inbox.notices)
        await world.advance(wait)
        arrived.append(len(inbox.notices) - before)
        fresh += [method.read_notice(raw(notice, world)).fresh for notice in inbox.notices[before:]]
    assert arrived == [0] + [1] * 15
    assert sum(REPEATS_S) == 86_640, "24 hours and 4 minutes"
    assert fresh == [True] * 4 + [False] * 11, "signed anew each time, but what it says is old"
    assert len({notice.body for notice in inbox.notices}) == 1, "the very same words"
    await world.advance(10**6)
    assert len(inbox.notices) == 15


async def test_a_notice_that_finds_nobody_comes_again() -> None:
    world, simulator, method, _ = a_world()
    await method.begin(world, a_charge(notify_url="https://nobody.example/n"))
    simulator.pay("order_1p1")
    await world.advance(30)
    assert [one.url for one in world.sent[-3:]] == ["https://nobody.example/n"] * 3


async def test_notices_are_doubled_delayed_and_forged_on_demand() -> None:
    world, simulator, method, inbox = a_world()
    for number, trouble in enumerate(("double_notice", "forge_notice", "late_notice")):
        inbox.notices.clear()
        await opened(world, method, a_charge(f"order_{number}p1"))
        simulator.troubles.plan(trouble)
        simulator.pay(f"order_{number}p1")
        await world.advance()
        assert len(inbox.notices) == {"double_notice": 2, "forge_notice": 2, "late_notice": 0}[trouble]
        if trouble == "forge_notice":
            with pytest.raises(NotVerified, match="signature"):
                method.read_notice(raw(inbox.notices[0], world))
            assert method.read_notice(raw(inbox.notices[1], world)).capture
    await world.advance(600)
    assert len(inbox.notices) == 1


async def test_a_wrong_amount_can_be_paid() -> None:
    world, simulator, method, _ = a_world()
    for reference, how in (("order_1p1", {"amount_override": 4979}), ("order_2p1", {})):
        await opened(world, method, a_charge(reference))
        simulator.troubles.plan("short_paid", 0 if how else 1)
        assert simulator.pay(reference, **how)
        found = await method.query(world, reference)
        assert isinstance(found, Done)
        assert found.reference.amount == money("49.79 CNY")


async def test_a_request_that_was_bent_is_refused_and_the_refusal_unsigned() -> None:
    world, simulator, method, _ = a_world()
    await method.begin(world, a_charge())
    sent = world.sent[-1]
    for bent in (
        replace(sent, body=sent.body.replace(b"4980", b"1")),
        replace(sent, headers={**sent.headers, "authorization": ""}),
        replace(sent, headers={**sent.headers, "authorization": sent.headers["authorization"].replace("1900", "1901")}),
        replace(sent, url=f"{HERE}/v3/pay/transactions/h5"),
        replace(sent, method="GET"),
    ):
        answer = await world.send(bent)
        assert (answer.status, json.loads(answer.body)["code"]) == (401, "SIGN_ERROR")
        assert "wechatpay-signature" not in answer.headers
    world.clock += timedelta(minutes=6)
    assert (await world.send(sent)).status == 401, "an old request, sent again"
    assert list(simulator.trades) == ["order_1p1"]
    other = await asked(world, method, "/v3/pay/transactions/out-trade-no/order_1p1?mchid=1900000002")
    assert json.loads(other.body)["code"] == "PARAM_ERROR"
    stranger = our_method(wechat_pay_private_key_file=KEYS.wechat_private)
    assert isinstance(await stranger.query(world, "order_1p1"), Unknown)


def as_asked(method: Any, world: FixedWorld, verb: str, path: str, content: object) -> Request:
    """A request of our method's whose signature holds, whatever it asks for."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Request(verb, HERE + path, method._headers(world, verb, path, body), body)


ORDER = {
    "appid": "wx8888888888888888",
    "mchid": "1900000001",
    "out_trade_no": "order_1p1",
    "description": "x",
    "notify_url": US,
    "amount": {"total": 4980},
}


@pytest.mark.parametrize(
    ("path", "content", "word"),
    [
        ("pay/transactions/native", b"{", "PARAM_ERROR"),
        ("pay/transactions/native", [], "PARAM_ERROR"),
        ("pay/transactions/native", {**ORDER, "appid": "wx0"}, "APPID_MCHID_NOT_MATCH"),
        ("pay/transactions/native", {**ORDER, "out_trade_no": "short"}, "PARAM_ERROR"),
        ("pay/transactions/native", {**ORDER, "description": ""}, "PARAM_ERROR"),
        ("pay/transactions/native", {**ORDER, "description": "长" * 128}, "PARAM_ERROR"),
        ("pay/transactions/native", {**ORDER, "notify_url": "file:///etc/passwd"}, "PARAM_ERROR"),
        ("pay/transactions/native", {**ORDER, "amount": {"total": 49.8}}, "PARAM_ERROR"),
        ("pay/transactions/native", {**ORDER, "amount": {"total": 0}}, "PARAM_ERROR"),
        ("pay/transactions/native", {**ORDER, "amount": {"total": 1, "currency": "USD"}}, "PARAM_ERROR"),
        ("pay/transactions/native", {**ORDER, "time_expire": "soon"}, "PARAM_ERROR"),
        ("pay/transactions/native", {**ORDER, "time_expire": "2026-11-22T10:00:00+08:00"}, "PARAM_ERROR"),
        ("pay/transactions/h5", ORDER, "PARAM_ERROR"),
        ("pay/transactions/jsapi", ORDER, "PARAM_ERROR"),
        ("pay/transactions/codepay", ORDER, "AUTH_CODE_INVALID"),
        ("pay/transactions/shiny", ORDER, "RESOURCE_NOT_EXISTS"),
        ("pay/transactions/out-trade-no/paid_1/close", {"mchid": "1900000002"}, "PARAM_ERROR"),
        ("refund/domestic/refunds", {"out_trade_no": "paid_1", "amount": {"refund": 0, "total": 1}}, "PARAM_ERROR"),
        (
            "refund/domestic/refunds",
            {"out_trade_no": "paid_1", "out_refund_no": "r 1", "amount": {"refund": 1, "total": 4980}},
            "PARAM_ERROR",
        ),
        (
            "refund/domestic/refunds",
            {"out_trade_no": "paid_1", "out_refund_no": "r1", "amount": {"refund": 1, "total": 4981}},
            "INVALID_REQUEST",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_the_firm_refuses_the_simulator_refuses(path: str, content: object, word: str) -> None:
    world, simulator, method, _ = a_world()
    await method.begin(world, a_charge("paid_1"))
    simulator.pay("paid_1")
    answer = await world.send(as_asked(method, world, "POST", f"/v3/{path}", content))
    assert json.loads(answer.body)["code"] == word
    assert "wechatpay-signature" in answer.headers or content in (b"{", [])
    assert (list(simulator.trades), simulator.refunds) == (["paid_1"], [])


async def test_the_same_reference_for_something_else_is_refused() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    told = await method.begin(world, a_charge(amount=money("0.01 CNY")))
    assert told == Refused("the reference was used for another payment", "OUT_TRADE_NO_USED")
    assert simulator.trades["order_1p1"].amount_minor == 4980


async def test_trouble_ends_when_it_is_healed() -> None:
    world, simulator, method, _ = a_world(slow=1.0)
    await opened(world, method, a_charge())
    assert world.clock > MORNING
    simulator.troubles.plan("lost", 5)
    simulator.troubles.heal()
    noon = world.clock
    assert await method.query(world, "order_1p1") == Refused(WAITING, final=False)
    assert world.clock == noon


async def test_one_seed_is_one_story() -> None:
    async def story(seed: int) -> list[object]:
        world, simulator, method, inbox = a_world(lost=0.3, lose_notice=0.5, short_paid=0.5)
        world.dice.seed(seed)
        for number in range(10):
            await method.begin(world, a_charge(f"order_{number}p1"))
            simulator.pay(f"order_{number}p1")
            await method.query(world, f"order_{number}p1")
        await world.advance(3600)
        return [simulator.captures, [notice.body for notice in inbox.notices]]

    assert await story(7) == await story(7)
    assert await story(7) != await story(8)


# Bills


async def asked(world: FixedWorld, method: Any, path: str) -> Response:
    return await world.send(as_asked(method, world, "GET", path, b""))


async def test_the_bill_of_yesterday_is_what_truly_happened() -> None:
    world, simulator, method, _ = a_world()
    for n in (1, 2):
        await opened(world, method, a_charge(f"order_{n}p1"))
        assert simulator.pay(f"order_{n}p1")
    await method.refund(world, a_refund("rf_1", 1000))
    for path in ("bill_date=2026-11-22", "bill_date=2026-11-21"):
        refused = await asked(world, method, f"/v3/bill/tradebill?{path}")
        assert json.loads(refused.body)["code"] == "NO_STATEMENT_EXIST", "a day's bill is made on the next day"
    await world.advance(86_400)

    said = json.loads((await asked(world, method, "/v3/bill/tradebill?bill_date=2026-11-22&tar_type=GZIP")).body)
    download = await asked(world, method, said["download_url"].removeprefix(HERE))
    assert "wechatpay-signature" not in download.headers
    assert hashlib.sha1(gzip.decompress(download.body)).hexdigest() == said["hash_value"]
    transactions = [one.trade_no for one in simulator.captures]
    rows = list(method.read_statement(io.BytesIO(download.body)))
    assert rows == [
        StatementLine("payment", "order_1p1", "", transactions[0], 4980, 30, "CNY", MORNING),
        StatementLine("payment", "order_2p1", "", transactions[1], 4980, 30, "CNY", MORNING),
        StatementLine("refund", "order_1p1", "rf_1", transactions[0], 1000, -6, "CNY", MORNING),
    ]
    await world.advance(300)
    assert (await asked(world, method, said["download_url"].removeprefix(HERE))).status == 404
    for wrong in ("bill_date=soon", "bill_date=2026-11-22&bill_type=REFUND"):
        refused = await asked(world, method, f"/v3/bill/tradebill?{wrong}")
        assert json.loads(refused.body)["code"] == "PARAM_ERROR"


async def test_a_person_can_take_the_bill_of_today_from_the_first_page() -> None:
    world, simulator, method, _ = a_world()
    assert "No trades yet" in (await get(world, HERE)).body.decode()
    cashier = await opened(world, method, a_charge())
    simulator.pay("order_1p1")
    index = (await get(world, HERE)).body.decode()
    assert f'href="{cashier}"' in index
    assert "已付款 · Paid" in index
    assert f'href="{HERE}/bill/2026-11-22"' in index
    download = await get(world, f"{HERE}/bill/2026-11-22")
    assert download.body == simulator.bill(date(2026, 11, 22))
    assert len(list(method.read_statement(io.BytesIO(download.body)))) == 1
    for path in ("/bill/2026-02-30", "/nothing", f"/cashier/{'0' * 32}", f"/qr/{'0' * 32}"):
        assert (await get(world, HERE + path)).status == 404


async def test_another_process_can_plan_trouble_and_read_the_truth() -> None:
    world, simulator, method, inbox = a_world()
    await opened(world, method, a_charge())
    assert (await world.send(Request("POST", f"{HERE}/troubles", {}, b"name=lose_notice&times=1"))).status == 204
    simulator.pay("order_1p1")
    await method.refund(world, a_refund())
    await world.advance(3)
    assert len(inbox.notices) == 1, "of the payment's and the refund's notice one was lost"
    truth = json.loads((await get(world, f"{HERE}/truth")).body)
    assert [capture["amount_minor"] for capture in truth["captures"]] == [4980]
    assert [refund["request_id"] for refund in truth["refunds"]] == ["rf_1"]


# Over real HTTP, with a client that we did not write


@dataclass
class Served:
    """The simulator on a loopback port, and our own address with what arrived there."""

    wechat: WechatPaySimulator
    shop_url: str
    shop: Inbox


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    shop, theirs = Inbox(Response(200, {}, b"")), listen()
    async with surroundings(Random(1)) as real:
        simulator = plays(keep, address(theirs), "", real)
        async with serving(simulator, theirs), serving(shop, listen()) as shop_url:
            yield Served(simulator, shop_url, shop)


def their_client(served: Served, certificates: Path | None) -> Any:
    """With a folder of certificates those are believed, and fetched anew when one is missing; else the public key."""
    client = sdk.WeChatPay(
        wechatpay_type=sdk.WeChatPayType.NATIVE,
        mchid="1900000001",
        private_key=KEYS.merchant_private,
        cert_serial_no=KEYS.merchant_serial,
        appid="wx8888888888888888",
        apiv3_key=KEYS.api_v3_key,
        notify_url=f"{served.shop_url}/notices",
        cert_dir=str(certificates) if certificates else None,
        public_key=None if certificates else KEYS.wechat_public,
        public_key_id=None if certificates else KEYS.public_key_id,
    )
    client._core._gate_way = served.wechat.base_url
    return client


@pytest.mark.parametrize("mode", ["key", "certificate"])
async def test_a_foreign_client_is_content_with_everything(
    served: Served, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    served.shop.notices.clear()
    (tmp_path / "old.pem").write_text(KEYS.certificate)  # it wants one to begin with, or asks the real firm
    client = their_client(served, tmp_path if mode == "certificate" else None)
    client._core._certificates.clear()

    async def ask(name: str, **named: Any) -> tuple[int, Any]:
        status, text = await asyncio.to_thread(partial(getattr(client, name), **named))
        return status, json.loads(text) if isinstance(text, str) and text else text

    def order(number: str, fen: int = 4980, **more: Any) -> dict[str, Any]:
        return {"description": "手机充值 50 元", "out_trade_no": f"{mode}_{number}", "amount": {"total": fen}, **more}

    async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as browser:
        status, code = await ask("pay", **order("native"))
        assert status == 200
        page = await browser.get(code["code_url"])
        assert "手机充值 50 元" in page.text
        found = (await ask("query", out_trade_no=f"{mode}_native"))[1]
        assert found["trade_state"] == "NOTPAY"
        action = re.search(r'action="([^"]+/pay)"', page.text)
        assert action
        assert "Paid" in (await browser.post(action[1])).text
        found = (await ask("query", out_trade_no=f"{mode}_native"))[1]
        assert (found["trade_state"], found["amount"]["total"]) == ("SUCCESS", 4980)
        assert (await ask("query", transaction_id=found["transaction_id"]))[1] == found

        assert len(list(tmp_path.iterdir())) == {"key": 1, "certificate": 2}[mode], "it fetched the certificate"
        notice = await noticed(served.shop)
        told = await asyncio.to_thread(client.callback, dict(notice.headers), notice.body)
        assert (told["event_type"], told["resource"]) == ("TRANSACTION.SUCCESS", found)
        assert await asyncio.to_thread(client.callback, dict(notice.headers), notice.body + b" ") is None

        scene = {"payer_client_ip": "192.0.2.1", "h5_info": {"type": "Wap"}}
        status, link = await ask("pay", **order("h5", scene_info=scene, pay_type=sdk.WeChatPayType.H5))
        assert status == 200
        assert "¥ 49.80" in (await browser.get(link["h5_url"])).text
        assert (await ask("close", out_trade_no=f"{mode}_h5"))[0] == 204
        assert (await ask("query", out_trade_no=f"{mode}_h5"))[1]["trade_state"] == "CLOSED"
        status, said = await ask("query", out_trade_no=f"{mode}_nothing")
        assert (status, said["code"]) == (404, "ORDER_NOT_EXIST")

        payer = {"openid": "o-of-nobody"}
        status, said = await ask("pay", **order("jsapi", payer=payer, pay_type=sdk.WeChatPayType.JSAPI))
        assert (status, said["prepay_id"][:2]) == (200, "wx")
        till = order("till", payer={"auth_code": "130061098828009400"}, pay_type=sdk.WeChatPayType.CODEPAY)
        assert (await ask("pay", **till))[1]["trade_state"] == "SUCCESS"

    back = {"out_refund_no": f"{mode}_rf", "amount": {"refund": 1000, "total": 4980, "currency": "CNY"}}
    status, refund = await ask("refund", out_trade_no=f"{mode}_native", **back)
    assert (status, refund["status"]) == (200, "PROCESSING")
    status, asked = await ask("query_refund", out_refund_no=f"{mode}_rf")
    assert (status, asked["amount"]["refund"], asked["refund_id"]) == (200, 1000, refund["refund_id"])


async def noticed(shop: Inbox) -> Request:
    for _ in range(200):
        if shop.notices:
            break
        await asyncio.sleep(0.01)
    return shop.notices[0]


async def test_a_foreign_client_downloads_the_bill(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    simulator, yesterday = served.wechat, datetime.now(UTC) - timedelta(days=1)
    client = their_client(served, None)
    await asyncio.to_thread(client.pay, "x", "bill_order", {"total": 4980})
    simulator.pay("bill_order")
    simulator.captures[-1] = simulator.captures[-1]._replace(at=yesterday)
    day = yesterday.astimezone(CHINA).date()
    status, text = await asyncio.to_thread(client.trade_bill, f"{day}")
    assert status == 200
    said = json.loads(text)
    status, packed = await asyncio.to_thread(client.download_bill, said["download_url"])
    assert status == 200
    assert hashlib.sha1(gzip.decompress(packed)).hexdigest() == said["hash_value"]
    assert [row.reference for row in our_method().read_statement(io.BytesIO(packed))] == ["bill_order"]
