"""WeChat Pay: which notices, answers and bills we believe, and what we make of them."""

import base64
import gzip
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.worlds import MORNING, FixedWorld

from refill.errors import BadInput, NotVerified
from refill.money import money
from refill.outcome import NOT_SENT, Done, Refused, Unknown
from refill.payments import (
    ABSENT,
    ALREADY_PAID,
    CLOSED,
    WAITING,
    BadStatement,
    Capture,
    Charge,
    Invitation,
    RawNotice,
    RefundAsk,
    StatementLine,
)
from refill.payments.wechat_pay import Signer, WechatPay, from_settings, sign_notice, signed_headers
from refill.world import NoAnswer, Request, Response

OURS, THEIRS, OTHERS = (rsa.generate_private_key(65537, 2048) for _ in range(3))
SERIAL = "PUB_KEY_ID_0119000000012026112200000000000001"
CERTIFICATE_SERIAL = 0x0D32E3F5F8A8E9D2B5B1D0F0F0A0B0C0D0E0F012
SHARED = b"0123456789abcdef0123456789abcdef"
WECHAT = WechatPay(
    "1900000001",
    "wx8888888888888888",
    "3775B6A45ACD588826D15E583A95F5DD00000001",
    OURS,
    SHARED,
    {
        SERIAL: Signer(THEIRS.public_key()),
        f"{CERTIFICATE_SERIAL:X}": Signer(OTHERS.public_key(), MORNING + timedelta(days=1)),
    },
    SERIAL,
    notify_url="https://us.example/n",
)
PAID: dict[str, Any] = {
    "mchid": "1900000001",
    "appid": "wx8888888888888888",
    "out_trade_no": "pay_1",
    "transaction_id": "4200000000202611220000000001",
    "trade_type": "NATIVE",
    "trade_state": "SUCCESS",
    "trade_state_desc": "支付成功",
    "success_time": "2026-11-22T09:59:58+08:00",
    "payer": {"openid": "o-of-nobody"},
    "amount": {"total": 4980, "payer_total": 4980, "currency": "CNY", "payer_currency": "CNY"},
}
CAPTURE = Capture(
    "wechat_pay",
    "1900000001",
    "4200000000202611220000000001",
    "pay_1",
    money("49.80 CNY"),
    datetime(2026, 11, 22, 1, 59, 58, tzinfo=UTC),
)
REFUND = RefundAsk("rf_1", "pay_1", CAPTURE.transaction, money("9.80 CNY"), money("49.80 CNY"), "not delivered")
ARRIVED = {"id": "EV-1", "create_time": "2026-11-22T10:00:00+08:00", "event_type": "TRANSACTION.SUCCESS"}


UNPAID = {name: value for name, value in PAID.items() if name not in ("transaction_id", "success_time", "payer")}


def amount(total: object, currency: object = "CNY") -> dict[str, Any]:
    return {"amount": {"total": total, "currency": currency}}


# Notices


def notice(resource: object = PAID, key: rsa.RSAPrivateKey = THEIRS, serial: str = SERIAL, **said: Any) -> RawNotice:
    return sign_notice(key, serial, SHARED, {**ARRIVED, **said}, resource, MORNING)


def paid(**other: Any) -> RawNotice:
    return notice({**PAID, **other})


def signed(body: bytes, key: rsa.RSAPrivateKey = THEIRS) -> RawNotice:
    return RawNotice(body, signed_headers(key, SERIAL, body, MORNING), MORNING)


def sealed_as(**other: Any) -> RawNotice:
    """A notice whose envelope was changed before it was signed."""
    said = json.loads(notice().body)
    said["resource"] |= other
    return signed(json.dumps(said).encode())


def headed(**other: str) -> RawNotice:
    """A notice one of whose headers was changed after it was signed."""
    raw = notice()
    return replace(raw, headers={**raw.headers, **{f"wechatpay-{name}": value for name, value in other.items()}})


def test_a_notice_that_holds_is_a_capture_in_the_gateways_own_words() -> None:
    read = WECHAT.read_notice(notice())
    assert (read.id, read.reference, read.fresh, read.capture) == ("EV-1", "pay_1", True, CAPTURE)


def test_a_notice_may_be_signed_with_a_platform_certificate_until_that_ends() -> None:
    raw = notice(key=OTHERS, serial=f"{CERTIFICATE_SERIAL:040x}")
    assert WECHAT.read_notice(raw).capture == CAPTURE
    with pytest.raises(NotVerified, match="no longer accept"):
        WECHAT.read_notice(replace(raw, received_at=MORNING + timedelta(days=2)))


@pytest.mark.parametrize(
    ("says", "raw"),
    [
        ("a letter of the content changed", replace(notice(), body=notice().body.replace(b"EV-1", b"EV-2"))),
        ("a blank added at the end", replace(notice(), body=notice().body + b" ")),
        ("a member added", replace(notice(), body=notice().body.replace(b"{", b'{"x":"",', 1))),
        ("another time", headed(timestamp="1763776801")),
        ("another nonce", headed(nonce="c5ac7061fccab6bf3e254dcf98995b8d")),
        ("a line end moved from the nonce into the content", headed(nonce="c5ac7061\n")),
        ("no time", headed(timestamp="")),
        ("a time in other digits", headed(timestamp="１７６３７７６８００")),
        ("no signature", headed(signature="")),
        ("their probe with a wrong signature", headed(signature="WECHATPAY/SIGNTEST/" + "A" * 300)),
        ("a signature that is not base64", headed(signature="签名")),
        ("no serial", headed(serial="")),
        ("a serial that we do not know", headed(serial="PUB_KEY_ID_0")),
        ("the serial of another key of theirs", headed(serial=f"{CERTIFICATE_SERIAL:X}")),
        ("a weaker algorithm named", headed(**{"signature-type": "WECHATPAY2-SHA1-RSA2048"})),
        ("signed by us", notice(key=OURS)),
        ("no headers", RawNotice(notice().body, {}, MORNING)),
        ("no JSON", signed(b"<html>")),
        ("a list", signed(b"[]")),
        ("a member twice", signed(notice().body.replace(b"{", b'{"id":"EV-9",', 1))),
        ("not UTF-8", signed(b'{"id":"\xd6\xa7"}')),
        ("no number", signed(b'{"id":NaN}')),
        ("XML with a DOCTYPE", signed(b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>')),
        ("very deep", signed(b"[" * 60_000)),
        ("too long", signed(b" " * 70_000)),
        ("nothing sealed", signed(json.dumps({**ARRIVED, **PAID}).encode())),
        ("sealed in the open", sealed_as(algorithm="none")),
        ("sealed for another purpose", sealed_as(associated_data="refund")),
        ("another nonce of the seal", sealed_as(nonce="0123456789aX")),
        ("a nonce that is too short", sealed_as(nonce="0")),
        ("a content that is not base64", sealed_as(ciphertext="支付")),
        ("an empty content", sealed_as(ciphertext="")),
        ("a sealed list", notice([PAID])),
        ("another merchant", paid(mchid="1900000002")),
        ("no merchant", paid(mchid="")),
        ("another application", paid(appid="wx0000000000000000")),
        ("no application", notice({name: value for name, value in PAID.items() if name != "appid"})),
        ("a refund for another merchant", notice({"mchid": "1", "out_trade_no": "pay_1"}, event_type="REFUND.SUCCESS")),
        ("no order", paid(out_trade_no="")),
        ("an order that is a number", paid(out_trade_no=1)),
        ("no id", notice(id="")),
        ("no time of its own", notice(create_time="")),
        ("a day that is not in the calendar", notice(create_time="2026-02-30T10:00:00+08:00")),
        ("a time without a zone", notice(create_time="2026-11-22T10:00:00")),
        ("another currency", paid(**amount(4980, "USD"))),
        ("an amount in yuan", paid(**amount(49.80))),
        ("an amount as text", paid(**amount("4980"))),
        ("an amount that is true", paid(**amount(True))),
        ("nothing paid", paid(**amount(0))),
        ("less than nothing paid", paid(**amount(-4980))),
        ("more money than there is", paid(**amount(10**15))),
        ("no amount", paid(amount=4980)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_hold_is_refused(says: str, raw: RawNotice) -> None:
    with pytest.raises(NotVerified):
        WECHAT.read_notice(raw)


def test_a_sha1_signature_is_refused_even_under_the_name_of_the_better_one() -> None:
    raw = notice()
    stamp, nonce = raw.headers["wechatpay-timestamp"], raw.headers["wechatpay-nonce"]
    weak = THEIRS.sign(f"{stamp}\n{nonce}\n".encode() + raw.body + b"\n", PKCS1v15(), SHA1())
    with pytest.raises(NotVerified, match="does not hold"):
        WECHAT.read_notice(headed(signature=base64.b64encode(weak).decode()))


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(0), True),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5, seconds=1), False),
        (timedelta(hours=25), False),
        (timedelta(minutes=-5), True),
        (timedelta(hours=-8), False),  # somebody's clock is in another zone
    ],
)
def test_an_old_notice_is_kept_and_asked_about(age: timedelta, fresh: bool) -> None:
    read = WECHAT.read_notice(replace(notice(), received_at=MORNING + age))
    assert read.fresh is fresh
    assert read.capture == CAPTURE


def test_a_repeat_that_is_signed_anew_is_still_an_old_notice() -> None:
    read = WECHAT.read_notice(notice(create_time="2026-11-22T08:00:00+08:00"))
    assert not read.fresh
    assert read.capture == CAPTURE


def test_what_a_payer_gave_in_coupons_is_money_too() -> None:
    coupons = {"amount": {"total": 4980, "payer_total": 4480, "currency": "CNY", "payer_currency": "CNY"}}
    assert WECHAT.read_notice(paid(**coupons)).capture == CAPTURE
    assert WECHAT.read_notice(paid(amount={"total": 4980})).capture == CAPTURE, "yuan go without saying"


@pytest.mark.parametrize(
    "raw",
    [
        paid(trade_state="CLOSED"),
        paid(trade_state="REFUND"),
        paid(trade_state="NOTPAY"),
        paid(success_time=""),
        paid(transaction_id=""),
        notice(event_type="TRANSACTION.SHINY"),
        notice({**PAID, "refund_status": "SUCCESS", "out_refund_no": "rf_1"}, event_type="REFUND.SUCCESS"),
        notice({"mchid": "1900000001", "out_trade_no": "pay_1"}, event_type="REFUND.CLOSED"),
    ],
    ids=lambda raw: str(len(raw.body)),
)
def test_a_notice_about_anything_else_than_money_arriving_makes_us_ask(raw: RawNotice) -> None:
    read = WECHAT.read_notice(raw)
    assert read.reference == "pay_1"
    assert read.capture is None


def test_the_gateway_reads_the_status_of_our_answer() -> None:
    assert WECHAT.acknowledge(True) == (204, b"")
    assert WECHAT.acknowledge(False)[0] == 500


# What the gateway answers


def answer(said: Mapping[str, Any] | None, status: int = 200, at: datetime = MORNING, **headers: str) -> Response:
    body = json.dumps(said, ensure_ascii=False).encode() if said is not None else b""
    return Response(status, {**signed_headers(THEIRS, SERIAL, body, at), **headers}, body)


def no(code: str, status: int = 400) -> Response:
    return answer({"code": code, "message": "……"}, status)


def gateway(*answers: Mapping[str, Any] | Response | Exception) -> FixedWorld:
    """A world in which WeChat Pay gives these answers in turn, each signed when it is a mapping."""
    world, left = FixedWorld(), list(answers)

    async def handle(request: Request) -> Response:
        match left.pop(0):
            case Exception() as error:
                raise error
            case Response() as whole:
                return whole
            case said:
                return answer(said)

    world.route(WECHAT.gateway_url, handle)
    return world


def proof(request: Request) -> dict[str, str]:
    """What stands in our signature, after it was checked as the firm does."""
    scheme, _, rest = request.headers["authorization"].partition(" ")
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    said = dict(re.findall(r'([a-z_]+)="([^"]*)"', rest))
    address = urlsplit(request.url)
    path = f"{address.path}?{address.query}" if address.query else address.path
    message = f"{request.method}\n{path}\n{said['timestamp']}\n{said['nonce_str']}\n".encode() + request.body + b"\n"
    OURS.public_key().verify(base64.b64decode(said["signature"]), message, PKCS1v15(), SHA256())
    return said


def a_charge(**other: Any) -> Charge:
    fields = {
        "reference": "pay_1",
        "amount": money("49.80 CNY"),
        "subject": "手机充值 50 元",
        "expires_at": MORNING + timedelta(minutes=15, microseconds=999_999),
        "scene": "qr",
        "return_url": "https://us.example/orders/1?lang=zh",
    }
    return Charge(**{**fields, **other})


async def test_a_code_to_scan_is_asked_for_with_our_signature() -> None:
    world = gateway({"code_url": "weixin://wxpay/bizpayurl?pr=x"})
    assert await WECHAT.begin(world, a_charge()) == Done(Invitation("qr", "weixin://wxpay/bizpayurl?pr=x"))
    asked = world.sent[0]
    assert (asked.method, asked.url) == ("POST", "https://api.mch.weixin.qq.com/v3/pay/transactions/native")
    said = proof(asked)
    assert (said["mchid"], said["serial_no"]) == (WECHAT.mchid, WECHAT.serial_no)
    assert int(said["timestamp"]) == MORNING.timestamp()
    assert asked.headers["wechatpay-serial"] == SERIAL, "so that they sign with the public key"
    assert json.loads(asked.body) == {
        "appid": "wx8888888888888888",
        "mchid": "1900000001",
        "description": "手机充值 50 元",
        "out_trade_no": "pay_1",
        "time_expire": "2026-11-22T10:15:00+08:00",  # cut down, never later than ours
        "notify_url": "https://us.example/n",
        "amount": {"total": 4980, "currency": "CNY"},
    }


async def test_who_has_only_certificates_asks_for_no_public_key() -> None:
    world = gateway({"code_url": "x"})
    await replace(WECHAT, public_key_id="").begin(world, a_charge())
    assert "wechatpay-serial" not in world.sent[0].headers


async def test_on_a_telephone_a_page_is_opened_that_leads_back() -> None:
    world = gateway({"h5_url": "https://wx.tenpay.com/x?prepay_id=wx1"}, {"h5_url": "https://wx.tenpay.com/y"})
    begun = await WECHAT.begin(world, a_charge(scene="wap", payer_ip="192.0.2.1", notify_url="https://us.example/m"))
    back = "https%3A%2F%2Fus.example%2Forders%2F1%3Flang%3Dzh"
    assert begun == Done(Invitation("redirect", f"https://wx.tenpay.com/x?prepay_id=wx1&redirect_url={back}"))
    content = json.loads(world.sent[0].body)
    assert content["scene_info"] == {"payer_client_ip": "192.0.2.1", "h5_info": {"type": "Wap"}}
    assert content["notify_url"] == "https://us.example/m"
    begun = await WECHAT.begin(world, a_charge(scene="wap", payer_ip="192.0.2.1", return_url=""))
    assert begun == Done(Invitation("redirect", "https://wx.tenpay.com/y"))


async def test_inside_wechat_the_page_gets_words_that_we_signed() -> None:
    world = gateway({"prepay_id": "wx201"})
    begun = await WECHAT.begin(world, a_charge(scene="jsapi", openid="o-of-nobody"))
    assert isinstance(begun, Done)
    words = begun.reference.bridge
    assert (begun.reference.kind, words["package"], words["signType"]) == ("bridge", "prepay_id=wx201", "RSA")
    message = f"{WECHAT.appid}\n{words['timeStamp']}\n{words['nonceStr']}\nprepay_id=wx201\n".encode()
    OURS.public_key().verify(base64.b64decode(words["paySign"]), message, PKCS1v15(), SHA256())
    assert json.loads(world.sent[0].body)["payer"] == {"openid": "o-of-nobody"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (PAID, Done(Invitation("paid"))),
        (answer({**PAID, "trade_state": "USERPAYING", "success_time": ""}, 202), Done(Invitation("wait"))),
        (no("USERPAYING", 202), Done(Invitation("wait"))),
        (no("USERPAYING"), Done(Invitation("wait"))),
        ({**PAID, "trade_state": "PAYERROR", "success_time": ""}, Refused(CLOSED)),
        (no("AUTH_CODE_EXPIRED"), Refused("the payment code has expired; ask for a fresh one", "AUTH_CODE_EXPIRED")),
        (no("NOT_ENOUGH", 403), Refused("the person's account holds too little", "NOT_ENOUGH")),
        (no("INVALID_REQUEST"), Unknown("WeChat Pay does not say what became of it.")),
        (no("OUT_TRADE_NO_USED", 403), Unknown("WeChat Pay does not say what became of it.")),
        (no("RULE_LIMIT", 403), Unknown("WeChat Pay does not say what became of it.", "RULE_LIMIT")),
        (no("BANK_ERROR", 500), Unknown("WeChat Pay does not say what became of it.")),
        (NoAnswer(), Unknown("WeChat Pay did not answer.")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_a_code_read_at_the_till_comes_to(said: Any, expected: object) -> None:
    world = gateway(said)
    assert await WECHAT.begin(world, a_charge(scene="barcode", auth_code="130061098828009406")) == expected
    content = json.loads(world.sent[0].body)
    assert world.sent[0].url.endswith("/v3/pay/transactions/codepay")
    assert content["payer"] == {"auth_code": "130061098828009406"}
    assert "time_expire" not in content
    assert "130061098828009406" not in repr(a_charge(auth_code="130061098828009406"))


def test_a_person_is_sent_to_wechat_with_the_fields_in_its_order() -> None:
    assert not WECHAT.asks_who
    assert replace(WECHAT, app_secret="s").asks_who
    assert WECHAT.who_url("https://us.example/o?a=b", "abc") == (
        f"https://open.weixin.qq.com/connect/oauth2/authorize?appid={WECHAT.appid}"
        "&redirect_uri=https%3A%2F%2Fus.example%2Fo%3Fa%3Db&response_type=code&scope=snsapi_base&state=abc#wechat_redirect"
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"openid": "o-of-nobody", "access_token": "x"}', Done("o-of-nobody")),
        (b'{"openid": "o of nobody"}', Unknown("WeChat does not say who the person is.", "None")),
        (b'{"errcode": 40029, "errmsg": "x"}', Refused("WeChat did not give this code", "40029", final=False)),
        (b'{"errcode": 40125}', Refused("the secret is not our application's", "40125")),
        (b'{"errcode": -1}', Unknown("WeChat does not say who the person is.", "-1")),
        (b'{"openid": "' + b"x" * (1 << 20) + b'"}', Unknown("WeChat does not say who the person is.", "None")),
        (b"<html>", Unknown("WeChat's answer cannot be read.")),
        (b"[" * 100_000, Unknown("WeChat's answer cannot be read.")),
        (NoAnswer(), Unknown("WeChat did not answer.")),
        (None, Refused(NOT_SENT, final=False)),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_who_the_person_is(body: bytes | Exception | None, expected: object) -> None:
    world = FixedWorld()

    async def handle(request: Request) -> Response:
        if isinstance(body, Exception):
            raise body
        assert isinstance(body, bytes)
        return Response(200, {}, body)

    if body is not None:
        world.route("https://api.weixin.qq.com/sns/oauth2/access_token?", handle)
    method = replace(WECHAT, app_secret="not to be seen")
    assert await method.who(world, "c0de") == expected
    assert "not to be seen" not in repr(method) + str(expected)
    asked = dict(parse_qsl(urlsplit(world.sent[0].url).query))
    assert asked == {
        "appid": WECHAT.appid,
        "secret": "not to be seen",
        "code": "c0de",
        "grant_type": "authorization_code",
    }


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"amount": money("49.80 USD")}, Refused("WeChat Pay takes yuan only")),
        ({"expires_at": MORNING}, Refused(CLOSED)),
        ({"scene": "page"}, Refused("WeChat Pay has no scene 'page'")),
        ({"scene": "wap"}, Refused("WeChat Pay needs payer_ip for the scene 'wap'", final=False)),
        ({"scene": "jsapi"}, Refused("WeChat Pay needs openid for the scene 'jsapi'", final=False)),
        ({"scene": "barcode"}, Refused("WeChat Pay needs auth_code for the scene 'barcode'", final=False)),
        ({}, Refused(NOT_SENT, final=False)),
    ],
    ids=str,
)
async def test_what_cannot_be_begun(other: dict[str, Any], expected: Refused) -> None:
    assert await WECHAT.begin(FixedWorld(), a_charge(**other)) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([{}], Unknown("WeChat Pay does not say where to pay.", "NO_PLACE")),
        ([{"code_url": 1}], Unknown("WeChat Pay does not say where to pay.", "NO_PLACE")),
        ([no("ORDER_CLOSED")], Refused(CLOSED, "ORDER_CLOSED")),
        ([no("OUT_TRADE_NO_USED", 403), PAID], Refused(ALREADY_PAID, "OUT_TRADE_NO_USED")),
        ([no("OUT_TRADE_NO_USED", 403), {**UNPAID, "trade_state": "CLOSED"}], Refused(CLOSED)),
        (
            [no("OUT_TRADE_NO_USED", 403), {**UNPAID, "trade_state": "NOTPAY"}],
            Refused("the reference was used for another payment", "OUT_TRADE_NO_USED"),
        ),
        ([no("OUT_TRADE_NO_USED", 403), NoAnswer()], Unknown("WeChat Pay did not answer.")),
        ([no("SYSTEM_ERROR", 500)], Unknown("WeChat Pay does not say what became of it.")),
        ([no("SOMETHING_NEW")], Unknown("WeChat Pay does not say what became of it.", "SOMETHING_NEW")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_a_code_to_scan_comes_to(answers: list[Any], expected: object) -> None:
    assert await WECHAT.begin(gateway(*answers), a_charge()) == expected


async def test_a_subject_is_cut_and_cannot_break_the_text() -> None:
    world = gateway({"code_url": "x"})
    await WECHAT.begin(world, a_charge(subject='A"\n\ud800' + "长" * 300))
    description = json.loads(world.sent[0].body)["description"]
    assert description.startswith('A" ?长')
    assert len(description) == 127


OTHER_MERCHANT = Unknown("WeChat Pay's answer is about another merchant or application.", "OTHER_MERCHANT")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (PAID, Done(CAPTURE)),
        ({**PAID, "trade_state": "REFUND"}, Done(CAPTURE)),  # paid, then refunded
        ({**PAID, "trade_state": "REVOKED"}, Done(CAPTURE)),
        ({**UNPAID, "trade_state": "REVOKED"}, Refused(CLOSED)),
        ({**UNPAID, "trade_state": "NOTPAY"}, Refused(WAITING, final=False)),
        ({**UNPAID, "trade_state": "USERPAYING"}, Refused(WAITING, final=False)),
        ({**UNPAID, "trade_state": "ACCEPT"}, Refused(WAITING, final=False)),
        ({**UNPAID, "trade_state": "CLOSED"}, Refused(CLOSED)),
        ({**UNPAID, "trade_state": "PAYERROR"}, Refused(CLOSED)),
        (no("ORDER_NOT_EXIST", 404), Refused(ABSENT, "ORDER_NOT_EXIST")),
        (no("ORDERNOTEXIST", 404), Refused(ABSENT, "ORDERNOTEXIST")),
        (no("RESOURCE_NOT_EXISTS", 404), Unknown("WeChat Pay does not say what became of it.", "RESOURCE_NOT_EXISTS")),
        (no("FREQUENCY_LIMITED", 429), Unknown("WeChat Pay does not say what became of it.")),
        (answer({}, 500), Unknown("WeChat Pay does not say what became of it.", "None")),
        ({**PAID, "out_trade_no": "pay_2"}, Unknown("WeChat Pay's answer is about another payment.", "OTHER_TRADE")),
        ({**PAID, "mchid": "1900000002"}, OTHER_MERCHANT),
        ({**PAID, "appid": "wx0"}, OTHER_MERCHANT),
        ({**PAID, "trade_state": "SHINY"}, Unknown("WeChat Pay names a state that we do not know.", "SHINY")),
        ({**PAID, **amount("4980")}, Unknown("WeChat Pay names no amount in yuan.", "NO_AMOUNT")),
        ({**PAID, **amount(4980, "USD")}, Unknown("WeChat Pay names no amount in yuan.", "NO_AMOUNT")),
        ({**PAID, "transaction_id": ""}, Unknown("WeChat Pay names no transaction.", "NO_TRANSACTION")),
        (NoAnswer("reset"), Unknown("WeChat Pay did not answer.")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_a_query_tells(said: Any, expected: object) -> None:
    world = gateway(said)
    assert await WECHAT.query(world, "pay_1") == expected
    assert world.sent[0].url.endswith("/v3/pay/transactions/out-trade-no/pay_1?mchid=1900000001")
    proof(world.sent[0])


async def test_money_without_a_time_of_payment_is_still_money() -> None:
    found = await WECHAT.query(gateway({**PAID, "success_time": ""}), "pay_1")
    assert isinstance(found, Done)
    assert found.reference.paid_at == MORNING


WHOLE = answer(PAID)


@pytest.mark.parametrize(
    "said",
    [
        replace(WHOLE, body=WHOLE.body.replace(b"4980", b"4981")),
        replace(WHOLE, body=WHOLE.body.replace(b'": "', b'":"', 1)),  # the same meaning, other bytes than were signed
        replace(WHOLE, body=WHOLE.body[: len(WHOLE.body) // 2]),
        replace(WHOLE, body=b""),
        replace(WHOLE, headers={}),
        replace(WHOLE, headers={**WHOLE.headers, "wechatpay-signature": ""}),
        replace(WHOLE, headers={**WHOLE.headers, "wechatpay-serial": "5157F09EFDC096DE15EBE81A47057A72"}),
        answer(PAID, at=MORNING - timedelta(minutes=6)),  # an answer of yesterday, sent again
        answer(PAID, at=MORNING + timedelta(minutes=6)),
        Response(404, {}, b'{"code":"ORDER_NOT_EXIST","message":"unsigned"}'),
        Response(200, signed_headers(THEIRS, SERIAL, b'{"a":1,"a":2}', MORNING), b'{"a":1,"a":2}'),
        Response(200, {}, b"<html>502</html>"),
    ],
    ids=lambda said: f"{said.status} {said.body[:24].decode('latin-1')} {len(said.body)}",
)
async def test_an_answer_that_does_not_hold_tells_nothing(said: Response) -> None:
    told = await WECHAT.query(gateway(said), "pay_1")
    assert isinstance(told, Unknown)
    assert told.why.startswith("WeChat Pay's answer cannot be believed")


CLOSED_THERE = {**UNPAID, "trade_state": "CLOSED"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([answer(None, 204)], Done("pay_1")),
        ([no("ORDER_NOT_EXIST", 404)], Refused(ABSENT, "ORDER_NOT_EXIST")),
        ([no("INVALID_REQUEST"), PAID], Refused(ALREADY_PAID, "INVALID_REQUEST")),
        ([no("TRADE_ERROR", 403), PAID], Refused(ALREADY_PAID, "TRADE_ERROR")),
        ([no("ORDER_CLOSED"), CLOSED_THERE], Done("pay_1")),
        (
            [no("INVALID_REQUEST"), {**UNPAID, "trade_state": "NOTPAY"}],
            Unknown("WeChat Pay can neither close this payment nor tell its state."),
        ),
        ([no("TRADE_ERROR"), NoAnswer()], Unknown("WeChat Pay can neither close this payment nor tell its state.")),
        ([no("SYSTEM_ERROR", 500)], Unknown("WeChat Pay does not say what became of it.")),
        ([NoAnswer()], Unknown("WeChat Pay did not answer.")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_closing_comes_to(answers: list[Any], expected: object) -> None:
    world = gateway(*answers)
    assert await WECHAT.close(world, "pay_1") == expected
    assert world.sent[0].url.endswith("/v3/pay/transactions/out-trade-no/pay_1/close")
    assert json.loads(world.sent[0].body) == {"mchid": "1900000001"}


REFUNDED: dict[str, Any] = {
    "refund_id": "50000000382026112200000001",
    "out_refund_no": "rf_1",
    "transaction_id": CAPTURE.transaction,
    "out_trade_no": "pay_1",
    "status": "SUCCESS",
    "amount": {"total": 4980, "refund": 980, "payer_refund": 980, "currency": "CNY"},
}
BUSY = {**REFUNDED, "status": "PROCESSING"}
STUCK = Refused("WeChat Pay cannot refund this payment in its state", "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([REFUNDED], Done("50000000382026112200000001")),
        ([{**REFUNDED, "refund_id": ""}], Done("rf_1")),
        ([BUSY], Unknown("WeChat Pay is still working on the refund.")),
        ([{**REFUNDED, "status": "CLOSED"}], Refused("WeChat Pay gave the refund up; no money went back", "CLOSED")),
        ([{**REFUNDED, "status": "ABNORMAL"}], Unknown("The refund is stuck at WeChat Pay.", "ABNORMAL")),
        ([no("INVALID_REQUEST"), REFUNDED], Done("50000000382026112200000001")),  # the first asking did it
        ([no("INVALID_REQUEST"), BUSY], Unknown("WeChat Pay is still working on the refund.")),
        ([no("INVALID_REQUEST"), no("RESOURCE_NOT_EXISTS", 404)], STUCK),
        ([no("INVALID_REQUEST"), NoAnswer()], Unknown("WeChat Pay did not answer.")),
        ([no("RESOURCE_NOT_EXISTS", 404)], Refused(ABSENT, "RESOURCE_NOT_EXISTS")),
        (
            [no("NOT_ENOUGH", 403)],
            Refused("our account at WeChat Pay holds too little", "NOT_ENOUGH", final=False),
        ),
        ([no("FREQUENCY_LIMITED", 429)], Unknown("WeChat Pay does not say what became of it.")),
        ([no("SYSTEM_ERROR", 500)], Unknown("WeChat Pay does not say what became of it.")),
        ([NoAnswer()], Unknown("WeChat Pay did not answer.")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_a_refund_comes_to(answers: list[Any], expected: object) -> None:
    world = gateway(*answers)
    assert await WECHAT.refund(world, REFUND) == expected
    assert json.loads(world.sent[0].body) == {
        "transaction_id": CAPTURE.transaction,
        "out_refund_no": "rf_1",
        "reason": "not delivered",
        "amount": {"refund": 980, "total": 4980, "currency": "CNY"},
        "notify_url": "https://us.example/n",
    }


async def test_without_their_number_a_refund_names_ours() -> None:
    world = gateway(REFUNDED)
    await replace(WECHAT, notify_url="").refund(world, replace(REFUND, transaction=""))
    content = json.loads(world.sent[0].body)
    assert content["out_trade_no"] == "pay_1"
    assert "transaction_id" not in content
    assert "notify_url" not in content


OTHER_AMOUNT = Unknown("WeChat Pay refunded another amount under this number.", "OTHER_AMOUNT")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (REFUNDED, Done("50000000382026112200000001")),
        (BUSY, Unknown("WeChat Pay is still working on the refund.")),
        (no("RESOURCE_NOT_EXISTS", 404), Refused(ABSENT, "RESOURCE_NOT_EXISTS", final=False)),
        ({**REFUNDED, "amount": {"refund": 981}}, OTHER_AMOUNT),
        ({**REFUNDED, "amount": {"refund": "980"}}, OTHER_AMOUNT),
        (
            {**REFUNDED, "out_refund_no": "rf_2"},
            Unknown("WeChat Pay's answer is about another refund.", "OTHER_REFUND"),
        ),
        (
            {**REFUNDED, "out_trade_no": "pay_2"},
            Unknown("WeChat Pay's answer is about another refund.", "OTHER_REFUND"),
        ),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_became_of_a_refund(said: Any, expected: object) -> None:
    world = gateway(said)
    assert await WECHAT.query_refund(world, REFUND) == expected
    assert world.sent[0].url.endswith("/v3/refund/domestic/refunds/rf_1")


# Bills

HEAD = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,"
    "费率,订单金额,申请退款金额,费率备注"
)
PAYMENT = (
    "`2026-11-22 10:00:00,`wx8888888888888888,`1900000001,`0,`,`4200000000202611220000000001,`pay_1,`o-of-nobody,"
    "`NATIVE,`SUCCESS,`OTHERS,`CNY,`49.80,`0.00,`0,`0,`0.00,`0.00,`,`,`手机充值, 50 元,`,`0.30000,`0.60%,`49.80,`0.00,`"
)
GIVEN_BACK = (
    "`2026-11-22 23:59:59,`wx8888888888888888,`1900000001,`0,`,`4200000000202611220000000001,`pay_1,`o-of-nobody,"
    "`NATIVE,`REFUND,`OTHERS,`CNY,`0.00,`0.00,`50300000002026112200000001,`rf_1,`9.80,`0.00,`ORIGINAL,`SUCCESS,`手机充值,`,"
    "`-0.06000,`0.60%,`0.00,`9.80,`"
)
TOTALS_HEAD = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
TOTALS = "`2,`49.80,`9.80,`0.00,`0.24000,`49.80,`9.80"
LINES = [
    StatementLine(
        "payment", "pay_1", "", CAPTURE.transaction, 4980, 30, "CNY", datetime.fromisoformat("2026-11-22T02:00:00Z")
    ),
    StatementLine(
        "refund", "pay_1", "rf_1", CAPTURE.transaction, 980, -6, "CNY", datetime.fromisoformat("2026-11-22T15:59:59Z")
    ),
]
BILL = (HEAD, PAYMENT, GIVEN_BACK, TOTALS_HEAD, TOTALS)


def bill(*lines: str, end: str = "\r\n", bom: str = "\ufeff") -> bytes:
    return (bom + end.join(lines) + end).encode()


def read(content: bytes) -> list[StatementLine]:
    return list(WECHAT.read_statement(io.BytesIO(content)))


@pytest.mark.parametrize(
    "content",
    [
        bill(*BILL),
        bill(*BILL, end="\n", bom=""),
        bill(*BILL).rstrip(),
        bill(*BILL, "", ""),
        gzip.compress(bill(*BILL)),
        # Columns may come in another order; a newer one may be added.
        bill(*(f"新列,{line}" if line == HEAD else f"`新,{line}" if line in BILL[1:3] else line for line in BILL)),
    ],
    ids=["as sent", "bare", "no last line end", "blank lines", "gzip", "a new column"],
)
def test_a_bill_is_read_row_by_row(content: bytes) -> None:
    assert read(content) == LINES


def test_a_refund_that_failed_moved_no_money_and_a_reversal_did() -> None:
    failed = GIVEN_BACK.replace("`SUCCESS,", "`FAIL,")
    assert read(bill(HEAD, PAYMENT, failed, TOTALS_HEAD, TOTALS)) == LINES[:1]
    reversed_ = GIVEN_BACK.replace("`REFUND,", "`REVOKED,").replace("`rf_1,", "`,")
    assert read(bill(HEAD, PAYMENT, reversed_, TOTALS_HEAD, TOTALS)) == [LINES[0], LINES[1]._replace(request_id="")]


def test_the_bill_of_a_day_without_trade_is_empty() -> None:
    assert read(bill(HEAD, TOTALS_HEAD, "`0,`0.00,`0.00,`0.00,`0.00,`0.00,`0.00")) == []


def test_a_bill_is_read_as_it_comes_and_the_file_stays_open() -> None:
    file = io.BytesIO(bill(HEAD, PAYMENT, "rubbish"))
    rows = WECHAT.read_statement(file)
    assert next(rows) == LINES[0]
    with pytest.raises(BadStatement):
        next(rows)
    assert not file.closed


def changed(old: str, new: str) -> bytes:
    assert old in PAYMENT
    return bill(HEAD, PAYMENT.replace(old, new, 1), GIVEN_BACK, TOTALS_HEAD, TOTALS)


@pytest.mark.parametrize(
    ("says", "content"),
    [
        ("does not name the column", b""),
        ("does not name the column", bill(HEAD.replace("手续费,", ""), PAYMENT)),
        ("does not name the column", bill("交易时间," + HEAD, PAYMENT)),
        ("ends before its totals", bill(HEAD)),
        ("ends before its totals", bill(HEAD, PAYMENT)),
        ("not the sums", bill(HEAD, PAYMENT, GIVEN_BACK, TOTALS_HEAD)),
        ("not the sums", bill(HEAD, PAYMENT, TOTALS_HEAD, TOTALS)),
        ("not the sums", bill(HEAD, PAYMENT, PAYMENT, TOTALS_HEAD, TOTALS)),
        ("not the sums", bill(*BILL[:-1], TOTALS.replace("`2,", "`3,"))),
        ("not the sums", bill(*BILL[:-1], TOTALS.replace("0.24", "0.25"))),
        ("not the sums", bill(*BILL[:-1], TOTALS + ",`0.00")),
        ("not the sums", bill(*BILL[:-1], TOTALS.replace("9.80", "x"))),
        ("not the sums", bill(*BILL, PAYMENT)),
        ("has 1 fields", bill(HEAD, PAYMENT, "", TOTALS_HEAD, TOTALS)),
        ("has 1 fields", bill(HEAD, PAYMENT[1:], TOTALS_HEAD, TOTALS)),
        ("has 1 fields", bill(HEAD, "x" * 10_000, TOTALS_HEAD, TOTALS)),
        ("has 28 fields", changed("手机充值,", "手机充值,`")),
        ("cannot be read", changed("SUCCESS", "SHINY")),
        ("cannot be read", changed("`1900000001", "`1900000002")),
        ("cannot be read", changed("`CNY", "`USD")),
        ("cannot be read", changed("2026-11-22", "2026-02-30")),
        ("cannot be read", changed("10:00:00", "１０:00:00")),
        ("cannot be read", changed("`pay_1", "`=1+1")),
        ("cannot be read", changed("`4200000000202611220000000001", "`4.2E+27\u00a0")),
        ("cannot be read", changed("`49.80", "`49.8")),
        ("cannot be read", changed("`0.30000", "`0.30001")),
        ("cannot be read", changed("`0.60%,`49.80", "`0.60%,`0.00")),
        ("cannot be read", changed("`0.60%,`49.80", "`0.60%,`-49.80")),
        ("UTF-8", bill(*BILL).decode("utf-8-sig").encode("gbk")),
        ("damaged", gzip.compress(bill(*BILL))[:-20]),
        ("damaged", gzip.compress(bill(*BILL))[:-8] + b"\0" * 8),
        ("damaged", b"\x1f\x8b\x08\x00" + b"\xff" * 40),
        ("damaged", b"\x1f\x8bnothing of the kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bill_that_does_not_hold_is_refused_whole(says: str, content: bytes) -> None:
    with pytest.raises(BadStatement, match=says) as refused:
        read(content)
    assert "4200000000202611220000000001" not in str(refused.value)


# Keys and settings


def private(key: Any = OURS) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "ascii")


def public(key: Any = THEIRS) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "ascii")


def certificate(key: Any = OTHERS) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tenpay.com Root CA")])
    made = x509.CertificateBuilder(
        name, name, key.public_key(), CERTIFICATE_SERIAL, MORNING, MORNING + timedelta(days=1825)
    ).sign(key, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


SETTINGS = {
    "wechat_pay_mchid": "1900000001",
    "wechat_pay_appid": "wx8888888888888888",
    "wechat_pay_serial_no": "3775B6A45ACD588826D15E583A95F5DD00000001",
    "wechat_pay_private_key_file": private(),
    "wechat_pay_api_v3_key": SHARED.decode(),
}
WITH_KEY = {**SETTINGS, "wechat_pay_public_key_id": SERIAL, "wechat_pay_public_key_file": public()}
WITH_CERTIFICATES = {**SETTINGS, "wechat_pay_certificates_file": certificate(THEIRS) + certificate()}


def test_the_public_key_the_certificates_or_both_are_believed(tmp_path: Path) -> None:
    by_key, by_certificate = notice(), notice(key=OTHERS, serial=f"{CERTIFICATE_SERIAL:X}")
    for settings, believed, not_believed in (
        (WITH_KEY, [by_key], [by_certificate]),
        (WITH_CERTIFICATES, [by_certificate], [by_key]),
        ({**WITH_KEY, **WITH_CERTIFICATES}, [by_key, by_certificate], []),
    ):
        method = from_settings(settings)
        assert isinstance(method, WechatPay)
        assert method.public_key_id == settings.get("wechat_pay_public_key_id", "")
        for raw in believed:
            assert method.read_notice(raw).capture == CAPTURE
        for raw in not_believed:
            with pytest.raises(NotVerified):
                method.read_notice(raw)

    (tmp_path / "ours.pem").write_text(private())
    other = {"wechat_pay_private_key_file": str(tmp_path / "ours.pem"), "wechat_pay_gateway": "http://127.0.0.1:8003/"}
    method = from_settings({**WITH_KEY, **other})
    assert isinstance(method, WechatPay)
    assert method.private_key.private_numbers() == OURS.private_numbers()
    assert method.gateway_url == "http://127.0.0.1:8003"


@pytest.mark.parametrize("name", [name for name in WITH_KEY if name != "wechat_pay_mchid"])
def test_a_missing_setting_is_named(name: str) -> None:
    with pytest.raises(BadInput, match=name):
        from_settings({**WITH_KEY, name: ""})


def test_without_a_merchant_there_is_no_wechat_pay() -> None:
    assert from_settings({}) is None


WEAK, CURVE = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("wechat_pay_private_key_file", "/nowhere/ours.pem", "cannot be read"),
        ("wechat_pay_private_key_file", "-----BEGIN RUBBISH-----", "not an RSA key in PEM"),
        ("wechat_pay_private_key_file", private(WEAK), "2048 bits"),
        ("wechat_pay_private_key_file", private(CURVE), "2048 bits"),
        ("wechat_pay_public_key_file", "-----BEGIN RUBBISH-----", "not an RSA key in PEM"),
        ("wechat_pay_public_key_file", public(WEAK), "2048 bits"),
        ("wechat_pay_public_key_file", public(CURVE), "2048 bits"),
        ("wechat_pay_certificates_file", "-----BEGIN RUBBISH-----", "not certificates"),
        ("wechat_pay_certificates_file", certificate(CURVE), "not for an RSA key"),
        ("wechat_pay_api_v3_key", "short", "32 characters"),
    ],
    ids=lambda value: value[:27],  # keys are new in each run, and two processes must agree on names
)
def test_a_key_that_cannot_be_used_is_named(name: str, value: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        from_settings({**WITH_KEY, name: value})
    assert "PRIVATE KEY-----" not in str(refused.value)
