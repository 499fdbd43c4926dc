"""Alipay: which notices and answers we believe, and what we make of them."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_from_bytes, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.worlds import MORNING, FixedWorld

from refill.errors import BadInput, NotVerified
from refill.money import money
from refill.outcome import NOT_SENT, Done, Refused, Unknown
from refill.payments import ABSENT, ALREADY_PAID, CLOSED, WAITING, Capture, Charge, Invitation, RawNotice, RefundAsk
from refill.payments.alipay import Alipay, from_settings, sign_notice
from refill.world import NoAnswer, Request, Response

OURS, THEIRS = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
ALIPAY = Alipay("2021000000000000", "2088000000000000", OURS, THEIRS.public_key(), notify_url="https://us.example/n")
PAID = {
    "app_id": "2021000000000000",
    "seller_id": "2088000000000000",
    "notify_id": "2026112200222100000000001",
    "notify_time": "2026-11-22 10:00:00",
    "notify_type": "trade_status_sync",
    "charset": "utf-8",
    "version": "1.0",
    "out_trade_no": "pay_1",
    "trade_no": "2026112222001400000000000001",
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "49.80",
    "subject": "手机充值 50 元",
    "gmt_payment": "2026-11-22 09:59:58",
}
CAPTURE = Capture(
    "alipay",
    "2088000000000000",
    "2026112222001400000000000001",
    "pay_1",
    money("49.80 CNY"),
    datetime(2026, 11, 22, 1, 59, 58, tzinfo=UTC),
)
REFUND = RefundAsk("rf_1", "pay_1", CAPTURE.transaction, money("9.80 CNY"), money("49.80 CNY"), "not delivered")


def arrived(body: bytes, at: datetime = MORNING) -> RawNotice:
    return RawNotice(body, {}, at)


def notice(**other: str) -> bytes:
    return sign_notice(THEIRS, {**PAID, **other})


def signed_over(message: bytes, body: bytes) -> bytes:
    signature = base64.b64encode(THEIRS.sign(message, PKCS1v15(), SHA256())).decode()
    return body + f"&sign={quote(signature, safe='')}&sign_type=RSA2".encode()


# Notices


def test_a_notice_that_holds_is_a_capture_in_the_gateways_own_words() -> None:
    read = ALIPAY.read_notice(arrived(notice()))
    assert (read.id, read.reference, read.fresh, read.capture) == (PAID["notify_id"], "pay_1", True, CAPTURE)


@pytest.mark.parametrize(
    ("says", "body"),
    [
        ("amount off by one fen", notice().replace(b"49.80", b"49.81")),
        ("a header field changed", notice().replace(b"version=1.0", b"version=1.1")),
        ("a blank field added", notice() + b"&refund_fee="),
        ("a field taken away", notice().replace(b"&version=1.0", b"")),
        ("no signature", notice().split(b"&sign=")[0] + b"&sign_type=RSA2"),
        ("a blank signature", notice().split(b"&sign=")[0] + b"&sign=&sign_type=RSA2"),
        ("a signature that is not base64", notice().split(b"&sign=")[0] + "&sign=签名&sign_type=RSA2".encode()),
        ("signed by us", sign_notice(OURS, PAID)),
        ("the weaker algorithm named", notice().replace(b"sign_type=RSA2", b"sign_type=RSA")),
        ("no algorithm named", notice().replace(b"&sign_type=RSA2", b"")),
        ("the algorithm twice", notice() + b"&sign_type=RSA"),
        ("the amount twice", notice() + b"&total_amount=0.01"),
        ("another application", notice(app_id="2021000000000001")),
        ("another seller", notice(seller_id="2088000000000001")),
        ("no seller", notice(seller_id="")),
        ("no id", notice(notify_id="")),
        ("no order", notice(out_trade_no="")),
        ("no time", notice(notify_time="")),
        ("a day that is not in the calendar", notice(notify_time="2026-02-30 10:00:00")),
        ("a time in other digits", notice(notify_time="２０２６-11-22 10:00:00")),
        ("another currency", notice(trans_currency="USD")),
        ("an amount without decimals", notice(total_amount="49")),
        ("an amount with one decimal", notice(total_amount="49.8")),
        ("an amount in other digits", notice(total_amount="４９.80")),
        ("a negative amount", notice(total_amount="-49.80")),
        ("an amount with an exponent", notice(total_amount="1E+5")),
        ("nothing paid", notice(total_amount="0.00")),
        ("a line end after the amount", notice(total_amount="49.80\n")),
        ("a character set we do not read", notice(charset="utf-16")),
        ("bytes that are not in the character set named", sign_notice(THEIRS, {**PAID, "charset": "utf-8"}, "gbk")),
        ("not a form", b'{"out_trade_no": "pay_1"}'),
        ("XML with a DOCTYPE", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_hold_is_refused(says: str, body: bytes) -> None:
    with pytest.raises(NotVerified):
        ALIPAY.read_notice(arrived(body))


def test_a_sha1_signature_is_refused_even_under_the_name_rsa2() -> None:
    message = "&".join(f"{name}={value}" for name, value in sorted(PAID.items())).encode()
    signature = base64.b64encode(THEIRS.sign(message, PKCS1v15(), SHA1())).decode()
    with pytest.raises(NotVerified):
        ALIPAY.read_notice(arrived(urlencode({**PAID, "sign": signature, "sign_type": "RSA2"}).encode()))


def test_one_field_cannot_hide_inside_another() -> None:
    # Signed: a=1&b=2. Sent: a="1&b=2". The signed text is the same, the meaning is not.
    refunded = {**PAID, "gmt_refund": "2026-11-22 10:00:00", "refund_fee": "49.80"}
    message = "&".join(f"{name}={value}" for name, value in sorted(refunded.items())).encode()
    hidden = {name: value for name, value in refunded.items() if name not in ("refund_fee", "gmt_refund")}
    hidden["out_trade_no"] += "&refund_fee=49.80"
    hidden["gmt_payment"] += "&gmt_refund=2026-11-22 10:00:00"
    with pytest.raises(NotVerified, match="two ways"):
        ALIPAY.read_notice(arrived(signed_over(message, urlencode(hidden).encode())))


def test_blank_fields_are_part_of_what_was_signed() -> None:
    assert ALIPAY.read_notice(arrived(notice(body="", passback_params=""))).capture == CAPTURE


def test_a_notice_in_gbk_is_verified_on_its_own_bytes() -> None:
    assert ALIPAY.read_notice(arrived(sign_notice(THEIRS, {**PAID, "charset": "GBK"}, "gbk"))).capture == CAPTURE


def test_raw_bytes_that_were_never_percent_encoded_are_read_as_they_are() -> None:
    message = "&".join(f"{name}={value}" for name, value in sorted(PAID.items())).encode()
    body = "&".join(f"{name}={value.replace(' ', '+')}" for name, value in PAID.items()).encode()
    assert ALIPAY.read_notice(arrived(signed_over(message, body))).capture == CAPTURE


def test_bytes_that_are_no_text_are_refused_without_a_crash() -> None:
    broken = {name.encode(): value.encode() for name, value in PAID.items()} | {b"subject": b"\xed\xa0\x80"}
    message = b"&".join(name + b"=" + value for name, value in sorted(broken.items()))
    body = b"&".join(name + b"=" + quote_from_bytes(value).encode() for name, value in broken.items())
    with pytest.raises(NotVerified, match="character set"):
        ALIPAY.read_notice(arrived(signed_over(message, body)))


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
    read = ALIPAY.read_notice(arrived(notice(), MORNING + age))
    assert read.fresh is fresh
    assert read.capture == CAPTURE


@pytest.mark.parametrize(
    "other",
    [
        {"trade_status": "WAIT_BUYER_PAY"},
        {"trade_status": "TRADE_CLOSED"},
        {"trade_status": "TRADE_PENDING"},
        {"trade_status": ""},
        {"refund_fee": "9.80"},
        {"gmt_refund": "2026-11-22 10:00:00.123"},
        {"trade_status": "TRADE_CLOSED", "refund_fee": "49.80", "gmt_refund": "2026-11-22 10:00:00"},
        {"gmt_payment": ""},
        {"trade_no": ""},
    ],
    ids=str,
)
def test_a_notice_about_anything_else_than_money_arriving_makes_us_ask(other: dict[str, str]) -> None:
    read = ALIPAY.read_notice(arrived(notice(**other)))
    assert read.reference == "pay_1"
    assert read.capture is None


def test_the_gateway_reads_success_or_failure() -> None:
    assert ALIPAY.acknowledge(True) == (200, b"success")
    assert ALIPAY.acknowledge(False) == (200, b"failure")


# Where the person is sent


def a_charge(**other: Any) -> Charge:
    fields = {
        "reference": "pay_1",
        "amount": money("49.80 CNY"),
        "subject": "手机充值 50 元",
        "expires_at": MORNING + timedelta(minutes=15, microseconds=999_999),
        "return_url": "https://us.example/orders/1?lang=zh",
    }
    return Charge(**{**fields, **other})


@pytest.mark.parametrize(
    ("scene", "method", "product"),
    [
        ("page", "alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
        ("wap", "alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    ],
)
async def test_the_page_is_a_signed_address(scene: str, method: str, product: str) -> None:
    world = FixedWorld()
    begun = await ALIPAY.begin(world, a_charge(scene=scene))
    assert isinstance(begun, Done)
    assert begun.reference.kind == "redirect"
    assert world.sent == []
    address = urlsplit(begun.reference.url)
    fields = dict(parse_qsl(address.query, strict_parsing=True))
    signature = base64.b64decode(fields.pop("sign"))
    message = "&".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()
    OURS.public_key().verify(signature, message, PKCS1v15(), SHA256())
    assert fields["method"] == method
    assert fields["sign_type"] == "RSA2"
    assert fields["timestamp"] == "2026-11-22 10:00:00"
    assert fields["notify_url"] == "https://us.example/n"
    assert fields["return_url"] == "https://us.example/orders/1?lang=zh"
    assert json.loads(fields["biz_content"]) == {
        "out_trade_no": "pay_1",
        "total_amount": "49.80",
        "subject": "手机充值 50 元",
        "time_expire": "2026-11-22 10:15:00",  # cut down, never later than ours
        "product_code": product,
    }


async def test_our_own_app_gets_a_signed_text_for_the_firms_app() -> None:
    world = FixedWorld()
    begun = await ALIPAY.begin(world, a_charge(scene="app"))
    assert isinstance(begun, Done)
    assert begun.reference.kind == "app"
    assert world.sent == []
    fields = dict(parse_qsl(begun.reference.url, strict_parsing=True))
    signature = base64.b64decode(fields.pop("sign"))
    message = "&".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()
    OURS.public_key().verify(signature, message, PKCS1v15(), SHA256())
    assert fields["method"] == "alipay.trade.app.pay"
    assert fields["notify_url"] == "https://us.example/n"
    content = json.loads(fields["biz_content"])
    assert (content["out_trade_no"], content["product_code"]) == ("pay_1", "QUICK_MSECURITY_PAY")


async def test_a_subject_cannot_break_the_signed_text() -> None:
    begun = await ALIPAY.begin(FixedWorld(), a_charge(subject="A&total_amount=0.01/\ud800" + "长" * 300))
    assert isinstance(begun, Done)
    content = json.loads(dict(parse_qsl(urlsplit(begun.reference.url).query))["biz_content"])
    assert content["subject"].startswith("A＆total_amount＝0.01／?长")
    assert len(content["subject"]) == 128


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"amount": money("49.80 USD")}, Refused("Alipay takes yuan only")),
        ({"expires_at": MORNING}, Refused(CLOSED)),
        ({"scene": "jsapi"}, Refused("Alipay has no scene 'jsapi'")),
        ({"scene": "barcode"}, Refused("Alipay needs auth_code for the scene 'barcode'", final=False)),
    ],
)
async def test_what_cannot_be_begun(other: dict[str, Any], expected: Refused) -> None:
    assert await ALIPAY.begin(FixedWorld(), a_charge(**other)) == expected


# What the gateway answers


def gateway(*answers: Mapping[str, Any] | bytes | Exception) -> FixedWorld:
    """A world in which Alipay gives these answers in turn, each signed when it is a mapping."""
    world, left = FixedWorld(), list(answers)

    async def handle(request: Request) -> Response:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return Response(200, {}, answer)
        fields = dict(parse_qsl(urlsplit(request.url).query))
        return Response(200, {}, signed_answer(fields["method"].replace(".", "_") + "_response", answer))

    world.route(ALIPAY.gateway_url, handle)
    return world


def signed_answer(name: str, said: Mapping[str, Any], layout: str = '{"NAME":SAID,"sign":"SIGN"}') -> bytes:
    content = json.dumps(said, ensure_ascii=False).replace("/", "\\/")  # as theirs does
    signature = base64.b64encode(THEIRS.sign(content.encode(), PKCS1v15(), SHA256())).decode()
    return layout.replace("NAME", name).replace("SAID", content).replace("SIGN", signature).encode()


def no(sub_code: str, code: str = "40004") -> dict[str, str]:
    return {"code": code, "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "……"}


TRADE = {
    "code": "10000",
    "msg": "Success",
    "out_trade_no": "pay_1",
    "trade_no": CAPTURE.transaction,
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "49.80",
    "send_pay_date": "2026-11-22 09:59:58",
}
WAITS = {**TRADE, "trade_status": "WAIT_BUYER_PAY", "send_pay_date": ""}
SHUT = {**WAITS, "trade_status": "TRADE_CLOSED"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (TRADE, Done(CAPTURE)),
        ({**TRADE, "trade_status": "TRADE_FINISHED"}, Done(CAPTURE)),
        ({**TRADE, "trade_status": "TRADE_CLOSED"}, Done(CAPTURE)),  # paid, then refunded in full
        (WAITS, Refused(WAITING, final=False)),
        (SHUT, Refused(CLOSED)),
        (no("ACQ.TRADE_NOT_EXIST"), Refused(ABSENT, "ACQ.TRADE_NOT_EXIST")),
        (no("ACQ.SYSTEM_ERROR"), Unknown("Alipay does not say what became of it.")),
        (no("isp.unknow-error", "20000"), Unknown("Alipay does not say what became of it.")),
        (no("ACQ.SOMETHING_NEW"), Unknown("Alipay does not say what became of it.", "ACQ.SOMETHING_NEW")),
        (
            no("isv.invalid-signature", "40002"),
            Unknown("Alipay does not say what became of it.", "isv.invalid-signature"),
        ),
        ({**TRADE, "out_trade_no": "pay_2"}, Unknown("Alipay's answer is about another payment.", "OTHER_TRADE")),
        ({**TRADE, "trade_status": "TRADE_SHINY"}, Unknown("Alipay names a state that we do not know.", "TRADE_SHINY")),
        ({**TRADE, "total_amount": 49.8}, Unknown("Alipay names no amount in yuan.", "NO_AMOUNT")),
        ({**TRADE, "trans_currency": "USD"}, Unknown("Alipay names no amount in yuan.", "NO_AMOUNT")),
        ({**TRADE, "trade_no": ""}, Unknown("Alipay names no transaction.", "NO_TRADE_NO")),
        (NoAnswer("reset"), Unknown("Alipay did not answer.")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_a_query_tells(answer: Any, expected: object) -> None:
    assert await ALIPAY.query(gateway(answer), "pay_1") == expected


async def test_money_without_a_time_of_payment_is_still_money() -> None:
    found = await ALIPAY.query(gateway({**TRADE, "send_pay_date": ""}), "pay_1")
    assert isinstance(found, Done)
    assert found.reference.paid_at == MORNING


ANSWER = signed_answer("alipay_trade_query_response", TRADE)


@pytest.mark.parametrize(
    "body",
    [
        ANSWER.replace(b"49.80", b"49.81"),
        ANSWER.replace(b"TRADE_SUCCESS", b"TRADE_CLOSED"),
        ANSWER.replace(b'", "', b'","', 1),  # the same meaning, but other bytes than were signed
        ANSWER[:-1],
        ANSWER[: len(ANSWER) // 2],
        ANSWER + b"{}",
        ANSWER.replace(b'"sign":', b'"sign":"","sign":'),
        ANSWER.replace(b'{"alipay_trade', b'{"alipay_trade_query_response":{},"alipay_trade', 1),
        signed_answer("alipay_trade_close_response", TRADE),
        b"<html>502</html>",
        b"null",
        b"{}",
        "{“全角”}".encode("gbk"),
    ],
    ids=lambda body: body[:24].decode("latin-1") + f"… {len(body)}",
)
async def test_an_answer_that_does_not_hold_tells_nothing(body: bytes) -> None:
    answer = await ALIPAY.query(gateway(body), "pay_1")
    assert isinstance(answer, Unknown)
    assert answer.why.startswith("Alipay's answer cannot be believed")


async def test_an_answer_that_names_a_member_twice_tells_nothing_though_it_is_signed() -> None:
    content = json.dumps(TRADE)[:-1] + ', "total_amount": "0.01"}'
    signature = base64.b64encode(THEIRS.sign(content.encode(), PKCS1v15(), SHA256())).decode()
    body = f'{{"alipay_trade_query_response":{content},"sign":"{signature}"}}'.encode()
    assert isinstance(await ALIPAY.query(gateway(body), "pay_1"), Unknown)


@pytest.mark.parametrize(
    "layout",
    [
        '{"sign":"SIGN","NAME":SAID}',
        ' {\n "NAME" : SAID ,\t"alipay_cert_sn": "ab}{", "sign" : "SIGN" }\n',
        '{"NAME":SAID,"sign":"SIGN","more":{"NAME":{"code":"40004"}}}',
    ],
)
async def test_an_answer_may_be_laid_out_in_any_way(layout: str) -> None:
    braces = {**TRADE, "buyer_logon_id": '}{"\\ 138****0000', "store": "北京/朝阳"}
    body = signed_answer("alipay_trade_query_response", braces, layout)
    assert await ALIPAY.query(gateway(body), "pay_1") == Done(CAPTURE)


async def test_a_question_carries_no_content_in_its_address() -> None:
    world = gateway(TRADE)
    await ALIPAY.query(world, "pay_1")
    asked = world.sent[0]
    assert asked.method == "POST"
    assert "pay_1" not in asked.url
    assert dict(parse_qsl(asked.body.decode())) == {"biz_content": '{"out_trade_no":"pay_1"}'}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([{**TRADE, "code": "10000"}], Done(CAPTURE.transaction)),
        ([no("ACQ.TRADE_NOT_EXIST")], Refused(ABSENT, "ACQ.TRADE_NOT_EXIST")),
        ([no("ACQ.TRADE_STATUS_ERROR"), TRADE], Refused(ALREADY_PAID, "ACQ.TRADE_STATUS_ERROR")),
        ([no("ACQ.TRADE_STATUS_ERROR"), SHUT], Done("pay_1")),
        ([no("ACQ.TRADE_HAS_CLOSE"), SHUT], Done("pay_1")),
        (
            [no("ACQ.TRADE_STATUS_ERROR"), NoAnswer()],
            Unknown("Alipay can neither close this payment nor tell its state."),
        ),
        ([{**TRADE, "out_trade_no": "pay_2"}], Unknown("Alipay's answer is about another payment.", "OTHER_TRADE")),
        ([no("ACQ.SYSTEM_ERROR")], Unknown("Alipay does not say what became of it.")),
        ([NoAnswer()], Unknown("Alipay did not answer.")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_closing_comes_to(answers: list[Any], expected: object) -> None:
    assert await ALIPAY.close(gateway(*answers), "pay_1") == expected


MOVED = {**TRADE, "fund_change": "Y", "refund_fee": "9.80"}
BEFORE = {**MOVED, "fund_change": "N"}
REFUNDED = {
    **TRADE,
    "out_request_no": "rf_1",
    "refund_amount": "9.80",
    "refund_status": "REFUND_SUCCESS",
}
NOTHING = {"code": "10000", "msg": "Success"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([MOVED], Done(CAPTURE.transaction)),
        ([BEFORE, REFUNDED], Done(CAPTURE.transaction)),  # the first asking did it
        ([BEFORE, NOTHING], Unknown("Alipay has not confirmed the refund.")),
        ([no("ACQ.TRADE_STATUS_ERROR"), REFUNDED], Done(CAPTURE.transaction)),
        (
            [no("ACQ.TRADE_STATUS_ERROR"), NOTHING],
            Refused("Alipay cannot refund this payment in its state", "ACQ.TRADE_STATUS_ERROR"),
        ),
        ([no("ACQ.TRADE_STATUS_ERROR"), NoAnswer()], Unknown("Alipay did not answer.")),
        ([no("ACQ.TRADE_NOT_EXIST")], Refused(ABSENT, "ACQ.TRADE_NOT_EXIST")),
        (
            [no("ACQ.SELLER_BALANCE_NOT_ENOUGH")],
            Refused("our account at Alipay holds too little", "ACQ.SELLER_BALANCE_NOT_ENOUGH", final=False),
        ),
        (
            [no("ACQ.DISCORDANT_REPEAT_REQUEST")],
            Unknown("Alipay does not say what became of it.", "ACQ.DISCORDANT_REPEAT_REQUEST"),
        ),
        ([no("ACQ.SYSTEM_ERROR")], Unknown("Alipay does not say what became of it.")),
        ([NoAnswer()], Unknown("Alipay did not answer.")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_a_refund_comes_to(answers: list[Any], expected: object) -> None:
    world = gateway(*answers)
    assert await ALIPAY.refund(world, REFUND) == expected
    assert json.loads(dict(parse_qsl(world.sent[0].body.decode()))["biz_content"])["out_request_no"] == "rf_1"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (REFUNDED, Done(CAPTURE.transaction)),
        (NOTHING, Refused(ABSENT, final=False)),
        (no("ACQ.TRADE_NOT_EXIST"), Refused(ABSENT, "ACQ.TRADE_NOT_EXIST")),
        ({**REFUNDED, "refund_amount": "9.81"}, Unknown("Alipay refunded another amount under this number.", "OTHER_AMOUNT")),
        ({**REFUNDED, "out_request_no": "rf_2"}, Unknown("Alipay's answer is about another refund.", "OTHER_REFUND")),
        ({**REFUNDED, "refund_status": "SLOWLY"}, Unknown("Alipay is still working on the refund.", "SLOWLY")),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
async def test_what_became_of_a_refund(answer: Any, expected: object) -> None:
    assert await ALIPAY.query_refund(gateway(answer), REFUND) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({**TRADE, "qr_code": "https://qr.alipay.com/x"}, Done(Invitation("qr", "https://qr.alipay.com/x"))),
        ({**TRADE, "out_trade_no": "pay_2", "qr_code": "x"}, Unknown("Alipay's answer is about another payment.", "OTHER_TRADE")),
        (no("ACQ.TRADE_HAS_SUCCESS"), Refused(ALREADY_PAID, "ACQ.TRADE_HAS_SUCCESS")),
        (no("ACQ.TRADE_HAS_CLOSE"), Refused(CLOSED, "ACQ.TRADE_HAS_CLOSE")),
        (no("ACQ.SYSTEM_ERROR"), Unknown("Alipay does not say what became of it.")),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
async def test_what_a_code_to_scan_comes_to(answer: Any, expected: object) -> None:
    assert await ALIPAY.begin(gateway(answer), a_charge(scene="qr")) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (TRADE, Done(Invitation("paid"))),
        ({**TRADE, "code": "10003", "msg": "order success pay inprocess"}, Done(Invitation("wait"))),
        ({**TRADE, "out_trade_no": "pay_2"}, Unknown("Alipay's answer is about another payment.", "OTHER_TRADE")),
        (no("ACQ.TRADE_HAS_SUCCESS"), Refused(ALREADY_PAID, "ACQ.TRADE_HAS_SUCCESS")),
        (no("ACQ.TRADE_HAS_CLOSE"), Refused(CLOSED, "ACQ.TRADE_HAS_CLOSE")),
        (
            no("ACQ.PAYMENT_AUTH_CODE_INVALID"),
            Refused("the payment code is used or has expired; ask for a fresh one", "ACQ.PAYMENT_AUTH_CODE_INVALID"),
        ),
        (
            no("ACQ.BUYER_BALANCE_NOT_ENOUGH"),
            Refused("the person's account holds too little", "ACQ.BUYER_BALANCE_NOT_ENOUGH"),
        ),
        # An earlier scan of ours may stand there, and may be paid.
        (
            no("ACQ.CONTEXT_INCONSISTENT"),
            Unknown("Alipay does not say what became of it.", "ACQ.CONTEXT_INCONSISTENT"),
        ),
        (no("ACQ.SYSTEM_ERROR"), Unknown("Alipay does not say what became of it.")),
        (no("isp.unknow-error", "20000"), Unknown("Alipay does not say what became of it.")),
        (NoAnswer("reset"), Unknown("Alipay did not answer.")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_a_code_read_at_the_till_comes_to(answer: Any, expected: object) -> None:
    world = gateway(answer)
    assert await ALIPAY.begin(world, a_charge(scene="barcode", auth_code="280061098828009406")) == expected
    asked = dict(parse_qsl(urlsplit(world.sent[0].url).query))
    assert (asked["method"], asked["notify_url"]) == ("alipay.trade.pay", "https://us.example/n")
    assert "return_url" not in asked
    assert "280061098828009406" not in world.sent[0].url
    assert json.loads(dict(parse_qsl(world.sent[0].body.decode()))["biz_content"]) == {
        "out_trade_no": "pay_1",
        "total_amount": "49.80",
        "subject": "手机充值 50 元",
        "time_expire": "2026-11-22 10:15:00",
        "scene": "bar_code",
        "auth_code": "280061098828009406",
        "product_code": "FACE_TO_FACE_PAYMENT",
    }


@pytest.mark.parametrize("scene", ["qr", "barcode"])
async def test_without_a_connection_nothing_was_begun(scene: str) -> None:
    begun = await ALIPAY.begin(FixedWorld(), a_charge(scene=scene, auth_code="280061098828009406"))
    assert begun == Refused(NOT_SENT, final=False)


# Keys


def private(form: PrivateFormat, encoding: Encoding = Encoding.PEM) -> bytes:
    return OURS.private_bytes(encoding, form, NoEncryption())


def public(form: PublicFormat, encoding: Encoding = Encoding.PEM) -> bytes:
    return THEIRS.public_key().public_bytes(encoding, form)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("public_form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
@pytest.mark.parametrize("text", [bytes.decode, None], ids=["PEM", "bare base64"])
def test_keys_are_read_in_every_form_that_consoles_give(
    form: PrivateFormat, public_form: PublicFormat, text: Callable[[bytes], str] | None, tmp_path: Path
) -> None:
    if text:
        ours, theirs = text(private(form)), text(public(public_form))
    else:
        ours = base64.b64encode(private(form, Encoding.DER)).decode()
        theirs = base64.encodebytes(public(public_form, Encoding.DER)).decode()
    (tmp_path / "ours").write_text(ours)
    (tmp_path / "ours").chmod(0o600)
    for key in (ours, str(tmp_path / "ours")):
        made = Alipay.read(app_id="a", seller_id="s", private_key=key, alipay_public_key=theirs)
        assert made.private_key.private_numbers() == OURS.private_numbers()
        assert made.alipay_public_key.public_numbers() == THEIRS.public_key().public_numbers()


def test_a_key_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    open_to_all = tmp_path / "ours.pem"
    open_to_all.write_bytes(private(PrivateFormat.PKCS8))
    open_to_all.chmod(0o644)
    weak = rsa.generate_private_key(65537, 1024)
    curve = ec.generate_private_key(ec.SECP256R1())

    def pem(key: Any) -> str:
        return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "ascii")

    for key, says in [
        (str(open_to_all), "chmod 600"),
        (str(tmp_path / "nothing.pem"), "cannot be read"),
        ("-----BEGIN RUBBISH-----", "neither PEM nor base64"),
        ("A" * 400, "neither PEM nor base64"),
        (pem(weak), "2048 bits"),
        (pem(curve), "not an RSA key"),
    ]:
        with pytest.raises(BadInput, match=says):
            Alipay.read(
                app_id="a", seller_id="s", private_key=key, alipay_public_key=public(PublicFormat.PKCS1).decode()
            )
    curve_point = curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for key in ("B" * 400, curve_point):
        with pytest.raises(BadInput, match="public key"):
            Alipay.read(app_id="a", seller_id="s", private_key=pem(OURS), alipay_public_key=key)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(BadInput, match="alipay_seller_id"):
        from_settings({"alipay_app_id": "2021000000000000"})
    keys = {
        "alipay_private_key_file": private(PrivateFormat.PKCS8).decode(),
        "alipay_public_key_file": public(PublicFormat.PKCS1).decode(),
    }
    made = from_settings({"alipay_app_id": "a", "alipay_seller_id": "s", "alipay_gateway": "http://g", **keys})
    assert isinstance(made, Alipay)
    assert made.gateway_url == "http://g"
