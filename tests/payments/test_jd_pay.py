"""JD Pay: which notices and answers we believe, and what we make of them."""

import base64
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.worlds import MORNING, FixedWorld

from refill.errors import BadInput, NotVerified
from refill.money import money
from refill.outcome import NOT_SENT, Done, Outcome, Refused, Unknown
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
)
from refill.payments import jd_pay as wire
from refill.payments.jd_pay import JdPay, from_settings, seal
from refill.world import NoAnswer, Request, Response

OURS, THEIRS = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
MERCHANT, DES = "110000000001", bytes(range(24))
JD = JdPay(MERCHANT, OURS, THEIRS.public_key(), DES, notify_url="https://us.example/n")
PAY = {"payType": "0", "amount": "4980", "currency": "CNY", "tradeTime": "20261122095958"}
PAID: dict[str, Any] = {
    "version": "V2.0",
    "merchant": MERCHANT,
    "tradeNum": "payU1",
    "tradeType": "0",
    "note": "手机充值",
    "amount": "4980",
    "status": "2",
    "payList": {"pay": PAY},
}
CAPTURE = Capture(
    "jd_pay", MERCHANT, "payU1", "pay_1", money("49.80 CNY"), datetime(2026, 11, 22, 1, 59, 58, tzinfo=UTC)
)
REFUND = RefundAsk("rf_1", "pay_1", "payU1", money("9.80 CNY"), money("49.80 CNY"), "not delivered <b>")
RETURNED = {"tradeNum": "rfU1", "tradeType": "1", "oTradeNum": "payU1", "amount": "980", "status": "1"}
FRAME = {"version": "V2.0", "merchant": MERCHANT}


def arrived(body: bytes, at: datetime = MORNING) -> RawNotice:
    return RawNotice(body, {}, at)


def notice(code: str = "000000", **other: Any) -> bytes:
    return seal(THEIRS, DES, {**PAID, **other}, code)


def enveloped(text: str, merchant: str = MERCHANT) -> bytes:
    """Any text, encrypted as theirs are."""
    encrypt = base64.b64encode(wire._encrypted(DES, text).encode()).decode()
    return (
        f"<jdpay><version>V2.0</version><merchant>{merchant}</merchant>"
        f"<result><code>000000</code></result><encrypt>{encrypt}</encrypt></jdpay>"
    ).encode()


def signed(text: str, sign: str | None = None) -> bytes:
    """A text that ends in </jdpay>, with a signature over it put in, encrypted."""
    put_in = f"<sign>{wire._sign(THEIRS, text) if sign is None else sign}</sign></jdpay>"
    return enveloped(text.removesuffix("</jdpay>") + put_in)


def plain(**other: Any) -> str:
    return wire._xml({**FRAME, "result": {"code": "000000"}, **PAID, **other})


# The letters on the wire


def test_a_text_is_framed_and_encrypted_as_another_program_does_it() -> None:
    """Of `{"tradeNum": "2014091598514957"}`, the example in the firm's PHP demo (TDESUtil), under the key 000102…17.

    Made by OpenSSL 3: `openssl enc -des-ede3 -nopad -K 0001…17` over 00000020, the 32 letters and four zeros.
    """
    text = '{"tradeNum": "2014091598514957"}'
    hidden = "8bd2b3a877f741cc9e0944a46735eeec091008299a5baa5c19cc1f9f21a506769be273e615ad50e8"
    assert wire._encrypted(DES, text) == hidden
    assert wire._decrypted(DES, hidden) == text


def test_a_text_whose_frame_fills_its_last_block_gets_no_zeros() -> None:
    assert len(wire._encrypted(DES, "four")) == 2 * 8
    assert len(wire._encrypted(DES, "five!")) == 2 * 16
    assert wire._decrypted(DES, wire._encrypted(DES, "four")) == "four"


def test_a_signature_is_the_digest_in_a_block_and_names_no_hash() -> None:
    numbers = OURS.private_numbers().public_numbers
    block = pow(int.from_bytes(base64.b64decode(wire._sign(OURS, "abc"))), numbers.e, numbers.n).to_bytes(256)
    # SHA-256 of "abc": FIPS 180-2, appendix B.1
    digest = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert block == b"\x00\x01" + b"\xff" * (256 - 3 - 64) + b"\x00" + digest


def test_an_ordinary_signature_of_the_same_key_is_not_one_of_theirs() -> None:
    """RSASSA-PKCS1-v1_5 names its hash inside; who accepts both accepts two kinds of proof."""
    text = plain()
    usual = base64.b64encode(THEIRS.sign(text.encode(), PKCS1v15(), SHA256())).decode()
    with pytest.raises(NotVerified, match="signature does not hold"):
        JD.read_notice(arrived(signed(text, usual)))


# Notices


def test_a_notice_that_holds_is_a_capture_in_the_gateways_own_words() -> None:
    read = JD.read_notice(arrived(notice()))
    assert (read.reference, read.fresh, read.capture) == ("pay_1", True, CAPTURE)
    assert read.id == JD.read_notice(arrived(notice(), MORNING + timedelta(minutes=3))).id
    assert read.id != JD.read_notice(arrived(notice(amount="4981"))).id


def test_who_pays_from_two_purses_has_paid_at_the_later_one() -> None:
    two = [{**PAY, "amount": "4000"}, {**PAY, "amount": "980", "tradeTime": "20261122095959"}]
    read = JD.read_notice(arrived(notice(payList={"pay": two})))
    assert read.capture
    assert (read.capture.amount, read.capture.paid_at) == (CAPTURE.amount, CAPTURE.paid_at + timedelta(seconds=1))


def test_lines_are_trimmed_and_joined_before_they_are_verified_and_read() -> None:
    text = plain()
    sign = wire._sign(THEIRS, text)
    lines = text.replace("><", ">\r\n\t <").removesuffix("</jdpay>") + f"<sign>{sign}</sign>\n</jdpay>\n"
    assert JD.read_notice(arrived(enveloped(lines))).capture == CAPTURE


@pytest.mark.parametrize(
    ("says", "body"),
    [
        ("signed by us", seal(OURS, DES, PAID, "000000")),
        ("under another 3DES key", seal(THEIRS, bytes(24), PAID, "000000")),
        ("amount off by one fen", signed(plain(amount="4981"), wire._sign(THEIRS, plain()))),
        ("a field added", signed(plain(extra="1"), wire._sign(THEIRS, plain()))),
        ("a blank field added", signed(plain().replace("</jdpay>", "<x></x></jdpay>"), wire._sign(THEIRS, plain()))),
        ("a line end inside a text", signed(plain(note="a b"), wire._sign(THEIRS, plain(note="ab")))),
        ("no signature", enveloped(plain())),
        ("a blank signature", signed(plain(), "")),
        ("a signature that is not base64", signed(plain(), "签名")),
        ("two signatures", signed(plain().replace("</jdpay>", "<sign>AA==</sign></jdpay>"))),
        ("a signature with an attribute", signed(plain().replace("</jdpay>", '<sign a="1">AA==</sign></jdpay>'))),
        ("another merchant inside", notice(merchant="110000000002")),
        ("another merchant outside", notice().replace(b"110000000001", b"110000000002")),
        ("no merchant outside", notice().replace(b"<merchant>110000000001</merchant>", b"")),
        ("two merchants outside", notice().replace(b"</version>", b"</version><merchant>110000000001</merchant>", 1)),
        ("no trade", notice(tradeNum="")),
        ("a trade with other letters", notice(tradeNum="pay 1")),
        ("a trade with a line end", notice(tradeNum="payU1\u2028")),
        ("no kind", notice(tradeType="")),
        ("another kind", notice(tradeType="2")),
        ("another currency", notice(payList={"pay": {**PAY, "currency": "USD"}})),
        ("one of two in another currency", notice(payList={"pay": [PAY, {**PAY, "currency": "USD"}]})),
        ("one of two without currency", notice(payList={"pay": [PAY, {**PAY, "currency": ""}]})),
        ("no currency", notice(payList={"pay": {**PAY, "currency": ""}})),
        ("no payment in the list", notice(payList={})),
        ("no time", notice(payList={"pay": {**PAY, "tradeTime": ""}})),
        ("a day that is not in the calendar", notice(payList={"pay": {**PAY, "tradeTime": "20260230100000"}})),
        ("a time in other digits", notice(payList={"pay": {**PAY, "tradeTime": "２０２６1122095958"}})),
        ("no amount", notice(amount="")),
        ("an amount with decimals", notice(amount="49.80")),
        ("an amount in other digits", notice(amount="４９８０")),
        ("a negative amount", notice(amount="-4980")),
        ("an amount with an exponent", notice(amount="1E5")),
        ("an amount with a zero before it", notice(amount="04980")),
        ("nothing paid", notice(amount="0")),
        ("more than there is", notice(amount="9" * 16)),
        ("the amount twice", signed(plain().replace("</jdpay>", "<amount>1</amount></jdpay>"))),
        ("not XML", b"amount=4980&sign=x"),
        ("XML cut short", notice()[:-9]),
        ("another root", notice().replace(b"jdpay>", b"xml>")),
        ("an entity", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e "e">]><jdpay>&e;</jdpay>'),
        ("an entity inside", signed('<!DOCTYPE x [<!ENTITY e "e">]><jdpay>&e;</jdpay>')),
        ("an entity that nobody declared", signed(plain().replace("手机充值", "&e;"))),
        ("something after the end", notice() + b"<jdpay></jdpay>"),
        ("a hundred levels", b"<jdpay>" + b"<a>" * 100 + b"</a>" * 100 + b"</jdpay>"),
        ("an attribute", b'<jdpay a="1"></jdpay>'),
        ("in GBK", notice().decode().replace("success", "成功").encode("gbk")),
        ("nothing encrypted", notice().split(b"<encrypt>")[0] + b"</jdpay>"),
        ("encrypted, not in base64", notice().replace(b"<encrypt>", b"<encrypt>!")),
        ("base64 of no ASCII", notice().split(b"<encrypt>")[0] + b"<encrypt>/////w==</encrypt></jdpay>"),
        ("base64 of no hexadecimal", notice().split(b"<encrypt>")[0] + b"<encrypt>eHh4eA==</encrypt></jdpay>"),
        ("half a block", notice().split(b"<encrypt>")[0] + b"<encrypt>MDAwMA==</encrypt></jdpay>"),
        ("no block", notice().split(b"<encrypt>")[0] + b"<encrypt>IA==</encrypt></jdpay>"),
        ("too long inside", notice(note="x" * 20_000)),
        ("too long", notice(note="x" * 200_000)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_hold_is_refused(says: str, body: bytes) -> None:
    with pytest.raises(NotVerified):
        JD.read_notice(arrived(body))


@pytest.mark.parametrize(
    ("says", "clear"),
    [
        ("more blocks than its length needs", (4).to_bytes(4, "big") + b"four" + bytes(8)),
        ("fewer", (40).to_bytes(4, "big") + b"four"),
        ("something behind its end", (3).to_bytes(4, "big") + b"four"),
        ("no text", (4).to_bytes(4, "big") + b"\xed\xa0\x80\xff"),
    ],
)
def test_what_is_framed_in_another_way_is_not_read(says: str, clear: bytes) -> None:
    hidden = wire._cipher(DES).encryptor().update(clear).hex()
    with pytest.raises(ValueError):
        wire._decrypted(DES, hidden)


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(0), True),
        (timedelta(minutes=4, seconds=58), True),
        (timedelta(minutes=4, seconds=59), False),
        (timedelta(hours=2), False),
        (timedelta(hours=-8), False),  # somebody's clock is in another zone
    ],
)
def test_an_old_notice_is_kept_and_asked_about(age: timedelta, fresh: bool) -> None:
    read = JD.read_notice(arrived(notice(), MORNING + age))
    assert read.fresh is fresh
    assert read.capture == CAPTURE


@pytest.mark.parametrize(
    ("other", "fresh"),
    [
        ({"status": "0"}, False),
        ({"status": "1"}, False),
        ({"status": "3"}, False),
        ({"status": "4"}, False),
        ({"status": ""}, False),
        ({"tradeNum": "rfU1", "oTradeNum": "payU1", "tradeType": "1", "tradeTime": "20261122100000"}, True),
        ({"tradeNum": "rfU1", "oTradeNum": "payU1", "tradeType": "1", "tradeTime": "soon"}, False),
    ],
    ids=str,
)
def test_a_notice_about_anything_else_than_money_arriving_makes_us_ask(other: dict[str, str], fresh: bool) -> None:
    read = JD.read_notice(arrived(notice(**other)))
    assert (read.reference, read.capture, read.fresh) == ("pay_1", None, fresh)


def test_a_payment_under_another_code_is_no_payment() -> None:
    assert JD.read_notice(arrived(notice("JPGT999999"))).capture is None


def test_only_200_and_ok_stop_them() -> None:
    assert JD.acknowledge(True) == (200, b"ok")
    status, body = JD.acknowledge(False)
    assert status != 200
    assert body != b"ok"


# Where the person is sent


def a_charge(**other: Any) -> Charge:
    fields = {
        "reference": "pay_1",
        "amount": money("49.80 CNY"),
        "subject": "手机充值 50 元",
        "expires_at": MORNING + timedelta(minutes=15, microseconds=999_999),
        "return_url": "https://us.example/orders/1?lang=zh&a=b",
    }
    return Charge(**{**fields, **other})


@pytest.mark.parametrize(
    ("scene", "gateway", "page"),
    [
        ("page", "", "https://wepay.jd.com/jdpay/saveOrder"),
        ("wap", "", "https://h5pay.jd.com/jdpay/saveOrder"),
        ("wap", "https://jd.example", "https://jd.example/jdpay/saveOrder"),
    ],
)
async def test_the_page_is_a_form_that_is_signed_in_clear_and_hidden_field_by_field(
    scene: str, gateway: str, page: str
) -> None:
    world = FixedWorld()
    jd = JdPay(MERCHANT, OURS, THEIRS.public_key(), DES, gateway)
    begun = await jd.begin(world, a_charge(scene=scene, notify_url="https://us.example/n", payer_ip="192.0.2.1"))
    assert isinstance(begun, Done)
    assert (begun.reference.kind, begun.reference.url, world.sent) == ("form", page, [])
    fields = dict(begun.reference.fields)
    sign, clear = fields.pop("sign"), {name: fields.pop(name) for name in ("version", "merchant")}
    clear |= {name: wire._decrypted(DES, text) for name, text in fields.items()}
    assert clear == {
        "version": "V2.0",
        "merchant": MERCHANT,
        "tradeNum": "payU1",
        "tradeName": "手机充值 50 元",
        "tradeTime": "20261122100000",
        "amount": "4980",
        "orderType": "1",
        "currency": "CNY",
        "notifyUrl": "https://us.example/n",
        "callbackUrl": "https://us.example/orders/1?lang=zh&a=b",
        "ip": "192.0.2.1",
        "expireTime": "900",  # cut down, never later than ours
    }
    assert wire._holds(OURS.public_key(), "&".join(f"{name}={clear[name]}" for name in sorted(clear)), sign)


async def test_a_subject_cannot_break_the_signed_text() -> None:
    begun = await JD.begin(FixedWorld(), a_charge(subject="A&amount=1<b>\ud800" + "长" * 300))
    assert isinstance(begun, Done)
    subject = wire._decrypted(DES, begun.reference.fields["tradeName"])
    assert subject.startswith("A＆amount＝1＜b＞?长")
    assert len(subject) == 128


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"amount": money("49.80 USD")}, "JD Pay takes yuan only"),
        ({"expires_at": MORNING}, CLOSED),
        ({"expires_at": MORNING + timedelta(milliseconds=999)}, CLOSED),
        ({"scene": "jsapi"}, "JD Pay has no scene 'jsapi'"),
        ({"reference": "payU1"}, "JD Pay cannot carry this reference"),
        ({"reference": "p" * 33}, "JD Pay cannot carry this reference"),
        ({"reference": "支付"}, "JD Pay cannot carry this reference"),
    ],
    ids=str,
)
async def test_what_they_would_refuse_is_not_begun(other: dict[str, Any], reason: str) -> None:
    assert await JD.begin(FixedWorld(), a_charge(**other)) == Refused(reason)


async def test_a_till_that_read_no_code_may_read_again() -> None:
    begun = await JD.begin(FixedWorld(), a_charge(scene="barcode"))
    assert begun == Refused("JD Pay needs auth_code for the scene 'barcode'", final=False)


# Answers


def answers(*bodies: bytes) -> FixedWorld:
    """JD Pay answers with these, one after another; the last for ever."""
    waiting = list(bodies)

    async def handle(request: Request) -> Response:
        return Response(200, {}, waiting.pop(0) if len(waiting) > 1 else waiting[0])

    world = FixedWorld()
    world.route("https://paygate.jd.com/service/", handle)
    return world


def answer(said: dict[str, Any], code: str = "000000") -> bytes:
    return seal(THEIRS, DES, {**FRAME, **said}, code)


def no(code: str, merchant: str = MERCHANT) -> bytes:
    """A refusal as they send it: in clear."""
    result = f"<result><code>{code}</code><desc>no</desc></result>" if code else ""
    return f"<jdpay><version>V2.0</version><merchant>{merchant}</merchant>{result}</jdpay>".encode()


Ask = Callable[[FixedWorld], Any]
CALLS: dict[str, Ask] = {
    "query": lambda world: JD.query(world, "pay_1"),
    "close": lambda world: JD.close(world, "pay_1"),
    "refund": lambda world: JD.refund(world, REFUND),
    "query_refund": lambda world: JD.query_refund(world, REFUND),
    "qr": lambda world: JD.begin(world, a_charge(scene="qr")),
    "barcode": lambda world: JD.begin(world, a_charge(scene="barcode", auth_code="628888888888888888")),
}
WAITS = {**PAID, "status": "0", "payList": {}}
QR = {"tradeNum": "payU1", "qrCode": "https://h5pay.jd.com/jdpay/code?c=1"}


@pytest.mark.parametrize(
    ("call", "said", "expected"),
    [
        ("query", PAID, Done(CAPTURE)),
        ("query", {**PAID, "status": "0"}, Refused(WAITING, final=False)),
        ("query", {**PAID, "status": "1"}, Refused(WAITING, final=False)),
        ("query", {**PAID, "status": "3"}, Refused(WAITING, final=False)),
        ("query", {**PAID, "status": "4"}, Refused(CLOSED)),
        ("query", {**PAID, "status": "5"}, Unknown("JD Pay names a state that we do not know.", "STATUS_5")),
        ("query", {**PAID, "tradeNum": "payU2"}, Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE")),
        ("query", {**PAID, "amount": "49.80"}, Unknown("JD Pay names no amount in yuan or no time.", "NO_AMOUNT")),
        ("query", {**PAID, "payList": {}}, Unknown("JD Pay names no amount in yuan or no time.", "NO_AMOUNT")),
        ("close", PAID, Refused(ALREADY_PAID)),
        ("close", {**PAID, "status": "4"}, Done("pay_1")),
        ("close", {**PAID, "status": "5"}, Unknown("JD Pay names a state that we do not know.", "STATUS_5")),
        ("close", {**WAITS, "amount": ""}, Unknown("JD Pay does not say how much it waits for.", "NO_AMOUNT")),
        ("refund", RETURNED, Done("rfU1")),
        ("refund", {**RETURNED, "status": "0"}, Unknown("JD Pay is still working on the refund.")),
        ("refund", {**RETURNED, "status": "2"}, Refused("JD Pay could not refund this payment", "STATUS_2")),
        ("refund", {**RETURNED, "status": "3"}, Refused("JD Pay could not refund this payment now", "STATUS_3", False)),
        ("refund", {**RETURNED, "status": "4"}, Unknown("JD Pay names a state that we do not know.", "STATUS_4")),
        (
            "refund",
            {**RETURNED, "amount": "981"},
            Unknown("JD Pay refunded another amount under this number.", "OTHER_AMOUNT"),
        ),
        (
            "refund",
            {**RETURNED, "tradeNum": "rfU2"},
            Unknown("JD Pay's answer is about another refund.", "OTHER_REFUND"),
        ),
        (
            "refund",
            {**RETURNED, "oTradeNum": "payU2"},
            Unknown("JD Pay's answer is about another refund.", "OTHER_REFUND"),
        ),
        ("query_refund", RETURNED, Done("rfU1")),
        (
            "query_refund",
            {**RETURNED, "amount": "981"},
            Unknown("JD Pay refunded another amount under this number.", "OTHER_AMOUNT"),
        ),
        ("qr", QR, Done(Invitation("qr", QR["qrCode"]))),
        ("qr", {**QR, "tradeNum": "payU2"}, Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE")),
        ("qr", {**QR, "qrCode": ""}, Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE")),
        ("barcode", {"tradeNum": "payU1", "status": "2"}, Done(Invitation("paid"))),
        ("barcode", {"tradeNum": "payU1", "status": "1"}, Done(Invitation("wait"))),
        (
            "barcode",
            {"tradeNum": "payU2", "status": "2"},
            Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE"),
        ),
    ],
    ids=str,
)
async def test_what_they_sign_is_taken_at_its_word(call: str, said: dict[str, Any], expected: Outcome[Any]) -> None:
    assert await CALLS[call](answers(answer(said))) == expected


@pytest.mark.parametrize(
    ("call", "code", "expected"),
    [
        ("query", "RFND000003", Refused(ABSENT, "RFND000003")),
        ("close", "RFND000003", Refused(ABSENT, "RFND000003")),
        ("query_refund", "RFND000003", Refused(ABSENT, "RFND000003", final=False)),
        ("query_refund", "RFND000004", Refused(ABSENT, "RFND000004", final=False)),
        ("qr", "JMPT200071", Refused(ALREADY_PAID, "JMPT200071")),
        ("qr", "JPGT100005", Refused("JD Pay refuses these particulars", "JPGT100005")),
        ("qr", "JPGT 100006", Refused("JD Pay refuses these particulars", "JPGT100006")),
        ("barcode", "JMPT200012", Refused("the amount is above the card's limit", "JMPT200012")),
        ("query", "JPGT100005", Unknown("JD Pay does not say what became of it.", "JPGT100005")),
        ("query", "JPGT999999", Unknown("JD Pay does not say what became of it.")),
        ("query", "JPGT 200000", Unknown("JD Pay does not say what became of it.")),
        ("query", "RFND000008", Unknown("JD Pay does not say what became of it.")),
        ("query", "000001", Unknown("JD Pay does not say what became of it.", "000001")),
        ("qr", "JMPT200011", Unknown("JD Pay does not say what became of it.", "JMPT200011")),
        ("refund", "JPGT100000", Unknown("JD Pay does not say what became of it.", "JPGT100000")),
        ("query", "", Unknown("JD Pay's answer cannot be believed: it is not signed")),
        ("query", "000000", Unknown("JD Pay's answer cannot be believed: it is not signed")),
    ],
)
async def test_a_no_is_a_no_only_by_a_code_of_its_call(call: str, code: str, expected: Outcome[Any]) -> None:
    assert await CALLS[call](answers(no(code))) == expected


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "body",
    [
        no("RFND000003", "110000000002"),
        answer({**PAID, "merchant": "110000000002"}).replace(b"110000000002", MERCHANT.encode()),
        seal(OURS, DES, PAID, "000000"),
        seal(THEIRS, bytes(24), PAID, "000000"),
        b'<?xml version="1.0"?><!DOCTYPE jdpay [<!ENTITY e "x">]>' + no("RFND000003"),
    ],
    ids=["another merchant", "another merchant inside", "our own key", "another 3DES key", "a DOCTYPE"],
)
async def test_what_is_not_theirs_says_nothing(call: str, body: bytes) -> None:
    assert isinstance(await CALLS[call](answers(body)), Unknown)


async def test_the_code_under_the_signature_rules() -> None:
    told = answer(PAID, "JPGT999999").replace(b"<code>JPGT999999</code>", b"<code>000000</code>")
    assert isinstance(await JD.query(answers(told), "pay_1"), Unknown)
    assert await JD.query(answers(answer(PAID).replace(b"000000</code>", b"RFND000003</code>")), "pay_1") == Done(
        CAPTURE
    )


async def test_where_only_the_outside_bears_a_code_it_counts_with_the_signature() -> None:
    """Their own client takes code and merchant from outside: an answer may have neither inside."""
    text = f"<jdpay><tradeNum>{QR['tradeNum']}</tradeNum><qrCode>{QR['qrCode']}</qrCode></jdpay>"
    assert await CALLS["qr"](answers(signed(text))) == Done(Invitation("qr", QR["qrCode"]))


@pytest.mark.parametrize(
    ("revoked", "expected"),
    [
        ({}, Done("pay_1")),
        ({"status": "0"}, Unknown("JD Pay has not revoked the payment yet.")),
        ({"tradeNum": "rfU1"}, Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE")),
        ({"oTradeNum": "payU2"}, Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE")),
        ("RFND000001", Unknown("JD Pay has not revoked the payment yet.")),
        ("RFND000003", Refused(ABSENT, "RFND000003")),
        ("JPGT999999", Unknown("JD Pay does not say what became of it.")),
    ],
    ids=str,
)
async def test_a_waiting_payment_is_revoked_under_one_number_for_ever(revoked: Any, expected: Outcome[str]) -> None:
    number = wire._revocation("pay_1")
    said = {"tradeNum": number, "oTradeNum": "payU1", "tradeType": "1", "amount": "4980", "status": "1"}
    second = no(revoked) if isinstance(revoked, str) else answer({**said, **revoked})
    world = answers(answer(WAITS), second)
    assert await JD.close(world, "pay_1") == expected
    assert [request.url.rsplit("/", 1)[1] for request in world.sent] == ["query", "revoke"]
    assert len(number) == 32


async def test_a_refund_that_is_refused_is_looked_for_before_the_no_is_believed() -> None:
    returned = answer(RETURNED)
    assert await JD.refund(answers(no("RFND000001"), returned), REFUND) == Done("rfU1")
    assert await JD.refund(answers(no("RFND000002"), no("RFND000004")), REFUND) == Refused(
        "JD Pay cannot refund this payment in its state", "RFND000002"
    )
    assert await JD.refund(answers(no("RFND009000"), no("RFND000004")), REFUND) == Refused(
        "JD Pay refuses these particulars", "RFND009000"
    )
    assert isinstance(await JD.refund(answers(no("RFND000002"), no("JPGT999999")), REFUND), Unknown)


async def test_what_a_revocation_gave_back_is_that_refund() -> None:
    number = wire._revocation("pay_1")
    gave_back = answer({**RETURNED, "tradeNum": number})
    assert await JD.query_refund(answers(no("RFND000004"), gave_back), REFUND) == Done(number)


@pytest.mark.parametrize("call", CALLS)
async def test_a_lost_answer_is_unknown_and_an_unsent_code_may_be_tried_again(call: str) -> None:
    async def lost(request: Request) -> Response:
        raise NoAnswer("reset")

    world = FixedWorld()
    unsent = await CALLS[call](world)
    assert unsent == (Refused(NOT_SENT, final=False) if call in ("qr", "barcode") else Unknown(NOT_SENT))
    world.route("", lost)
    assert await CALLS[call](world) == Unknown("JD Pay did not answer.")


async def test_what_we_ask_is_signed_encrypted_and_cannot_be_broken_by_its_texts() -> None:
    world = answers(answer(RETURNED))
    await JD.refund(world, REFUND)
    (request,) = world.sent
    assert (request.method, request.url) == ("POST", "https://paygate.jd.com/service/refund")
    mirror = JdPay(MERCHANT, THEIRS, OURS.public_key(), DES)
    asked, _ = mirror._opened(wire._read(request.body.decode()))
    assert asked == {
        "version": ["V2.0"],
        "merchant": [MERCHANT],
        "tradeNum": ["rfU1"],
        "oTradeNum": ["payU1"],
        "amount": ["980"],
        "currency": ["CNY"],
        "tradeTime": ["20261122100000"],
        "notifyUrl": ["https://us.example/n"],
        "note": ["not delivered ＜b＞"],
    }
    text = wire._xml({"note": "a<b>&amp;\n\x00\ufffe]]>"})
    assert wire._read(text) == {"note": ["a<b>&amp;  ]]>"]}


# Statements

HEADS = ",".join(["列"] * 17)


def a_row(**other: str) -> str:
    cells = {str(n): "" for n in range(17)} | {
        "0": '="payU1"',
        "1": '="jd1"',
        "2": "49.80",
        "5": "成功",
        "8": "2026-11-22 10:00:00",
        "11": "0.30",
        **{name.removeprefix("c"): text for name, text in other.items()},
    }
    return ",".join(cells[str(n)] for n in range(17))


def a_statement(
    *rows: str, name: str = "20261122ordercreate_1.csv", head: str = HEADS, encoding: str = "gbk"
) -> BytesIO:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "".join(f"{row}\r\n" for row in (head, *rows)).encode(encoding))
    return file


def test_a_statement_is_read_row_by_row() -> None:
    rows = [
        a_row(c8='="2026-11-22 10:00:00\t"'),
        a_row(c2="-9.8", c10='="rfU1"', c11="-0.06"),
        a_row(c2="50", c11=""),
        a_row(c0="payU2", c5="失败"),
    ]
    assert [tuple(row) for row in JD.read_statement(a_statement(*rows))] == [
        ("payment", "pay_1", "", "payU1", 4980, 30, "CNY", MORNING),
        ("refund", "pay_1", "rf_1", "payU1", 980, -6, "CNY", MORNING),
        ("payment", "pay_1", "", "payU1", 5000, 0, "CNY", MORNING),
    ]
    assert list(JD.read_statement(a_statement())) == []


@pytest.mark.parametrize(
    ("says", "file"),
    [
        ("no zip", BytesIO(f"{HEADS}\r\n{a_row()}\r\n".encode("gbk"))),
        ("nothing", BytesIO()),
        ("a zip cut short", BytesIO(a_statement(a_row()).getvalue()[:-30])),
        ("a zip with a bent byte", BytesIO(a_statement(a_row()).getvalue().replace(b"49.80", b"49.81"))),
        ("no CSV in it", a_statement(a_row(), name="readme.txt")),
        ("not GBK", a_statement(a_row(c14="\u00e9"), encoding="utf-8")),
        ("no headings", a_statement(head="a,b")),
        ("a row too short", a_statement(a_row() + ",")),
        ("an amount with three decimals", a_statement(a_row(c2="49.800"))),
        ("an amount in other digits", a_statement(a_row(c2="４９.80"))),
        ("an amount as a spreadsheet writes it", a_statement(a_row(c2="1.38E+10"))),
        ("no money", a_statement(a_row(c2="0.00"))),
        ("a fee that is none", a_statement(a_row(c11="free"))),
        ("no number", a_statement(a_row(c0=""))),
        ("a formula for a number", a_statement(a_row(c0="+1+cmd|x"))),
        ("a refund without number", a_statement(a_row(c2="-1.00"))),
        ("no time", a_statement(a_row(c8=""))),
        ("a time that is none", a_statement(a_row(c8="2026-02-30 10:00:00"))),
        ("an endless line", a_statement("x" * 10_000)),
        ("cut off in a line", a_statement(head=f"{HEADS}\r\n{a_row()}"[:-5] + "\x00" * 9000)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_statement_that_cannot_be_read_is_refused(says: str, file: BytesIO) -> None:
    with pytest.raises(BadStatement):
        list(JD.read_statement(file))


def test_an_empty_file_in_the_zip_is_no_statement() -> None:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("20261122ordercreate_1.csv", b"")
    with pytest.raises(BadStatement, match="empty"):
        list(JD.read_statement(file))


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(200, {}, b"PK.."), Done(b"PK..")),
        (Response(200, {"return-code": "00124"}, b""), Refused(ABSENT, "00124", final=False)),
        (Response(200, {"return-code": "00112"}, b""), Unknown("JD Pay did not send a statement.", "00112")),
        (Response(200, {}, b"<html>"), Unknown("JD Pay did not send a statement.", "0000")),
    ],
    ids=str,
)
async def test_a_statement_is_fetched_under_its_own_key(response: Response, expected: Outcome[bytes]) -> None:
    async def handle(request: Request) -> Response:
        return response

    jd = JdPay(MERCHANT, OURS, THEIRS.public_key(), DES, statement_key="secret")
    world = FixedWorld()
    assert await jd.fetch_statement(world, MORNING.date()) == Unknown("JD Pay did not answer.")
    world.route("https://bapi.jdpay.com/api/download.do", handle)
    assert await jd.fetch_statement(world, MORNING.date()) == expected
    assert isinstance(await JD.fetch_statement(world, MORNING.date()), Refused)


# Settings and keys


def pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


SET = {
    "jd_pay_merchant": MERCHANT,
    "jd_pay_private_key_file": pem(OURS),
    "jd_pay_public_key_file": public_pem(THEIRS),
    "jd_pay_des_key": base64.b64encode(DES).decode(),
}


def test_keys_may_be_pem_or_stand_in_files(tmp_path: Path) -> None:
    private, public = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    private.write_text(pem(OURS))
    private.chmod(0o600)
    public.write_text(public_pem(THEIRS))
    in_files = {"jd_pay_private_key_file": str(private), "jd_pay_public_key_file": str(public)}
    for settings in (SET, {**SET, **in_files, "jd_pay_gateway": "https://jd.example/"}):
        method = from_settings(settings)
        assert method
        assert method.read_notice(arrived(notice())).capture == CAPTURE
    private.chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        from_settings({**SET, **in_files})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"jd_pay_private_key_file": ""}, "jd_pay_private_key_file is missing"),
        ({"jd_pay_public_key_file": ""}, "jd_pay_public_key_file is missing"),
        ({"jd_pay_des_key": ""}, "jd_pay_des_key is missing"),
        ({"jd_pay_private_key_file": "/nowhere.pem"}, "cannot be read"),
        ({"jd_pay_private_key_file": "-----BEGIN NONSENSE"}, "private key for JD Pay is not PEM"),
        ({"jd_pay_private_key_file": pem(ec.generate_private_key(ec.SECP256R1()))}, "is not an RSA key"),
        ({"jd_pay_public_key_file": "-----BEGIN NONSENSE"}, "public key is not PEM"),
        ({"jd_pay_public_key_file": public_pem(ec.generate_private_key(ec.SECP256R1()))}, "is not an RSA key"),
        ({"jd_pay_des_key": "not base64"}, "not base64"),
        ({"jd_pay_des_key": "c2hvcnQ="}, "24 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_setting_is_named(change: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        from_settings({**SET, **change})


def test_without_a_merchant_there_is_no_jd_pay() -> None:
    assert from_settings({}) is None
