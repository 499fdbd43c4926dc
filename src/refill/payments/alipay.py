"""The payment method `alipay`: page, phone, app, QR and till payments, queries, refunds, notices, signed RSA2 both ways.

Sources: Alipay Open Platform, "Signing and verifying" (RSA2 = RSASSA-PKCS1-v1_5 with SHA-256), `alipay.trade.*`.
"""

import base64
import contextlib
import csv
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from io import TextIOWrapper
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import parse_qsl, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from refill.errors import BadInput, NotAnAmount, NotVerified
from refill.money import Money, amount
from refill.outcome import NOT_SENT, Done, Outcome, Refused, Unknown
from refill.payments.method import (
    ABSENT,
    ALREADY_PAID,
    CLOSED,
    WAITING,
    BadStatement,
    Can,
    Capture,
    Charge,
    Example,
    Invitation,
    Method,
    Notice,
    RawNotice,
    RefundAsk,
    StatementLine,
)
from refill.settings import PortSetting
from refill.world import NoAnswer, NotSent, Request, World, call

NAME = "alipay"
GATEWAY = "https://openapi.alipay.com/gateway.do"
CHINA = timezone(timedelta(hours=8))  # every time on Alipay's wire, whatever the zone of the machine
FRESH = timedelta(minutes=5)
MAX_ANSWER = 1 << 20
MAX_NOTICE = 1 << 16

# Their words that are a definite no, by call. A word that is not in the table is not a no.
_STATE = "state"  # the trade is not in the state that the call needs: which one, only a query tells
_REFUSES_BEGIN = {
    "ACQ.TRADE_HAS_SUCCESS": Refused(ALREADY_PAID),
    "ACQ.TRADE_HAS_CLOSE": Refused(CLOSED),
    "ACQ.INVALID_PARAMETER": Refused("Alipay refuses these particulars"),
    "ACQ.TOTAL_FEE_EXCEED": Refused("the amount is above Alipay's limit"),
    "ACQ.ACCESS_FORBIDDEN": Refused("this product is not open to our account"),
    "ACQ.CONTEXT_INCONSISTENT": Refused("the reference was used for another payment"),
}
# A till's payment is charged at once, so only words are certain that are said before anything is taken. Not in the
# table: ACQ.CONTEXT_INCONSISTENT and ACQ.TRADE_BUYER_NOT_MATCH (an earlier scan of ours stands there, perhaps paid).
_CONFIRMING = "the person confirms on their telephone"
_REFUSES_CODE = {
    "10003": Refused(_CONFIRMING, final=False),
    "ACQ.TRADE_HAS_SUCCESS": Refused(ALREADY_PAID),
    "ACQ.TRADE_HAS_CLOSE": Refused(CLOSED),
    "ACQ.PAYMENT_AUTH_CODE_INVALID": Refused("the payment code is used or has expired; ask for a fresh one"),
    "ACQ.BUYER_BALANCE_NOT_ENOUGH": Refused("the person's account holds too little"),
    "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH": Refused("the person's bank card holds too little"),
    "ACQ.BUYER_ENABLE_STATUS_FORBID": Refused("the person's account cannot pay"),
    "ACQ.BUYER_SELLER_EQUAL": Refused("the person would pay themselves"),
    "ACQ.MOBILE_PAYMENT_SWITCH_OFF": Refused("the person has switched payment codes off"),
    "ACQ.INVALID_PARAMETER": Refused("Alipay refuses these particulars"),
    "ACQ.TOTAL_FEE_EXCEED": Refused("the amount is above Alipay's limit"),
    "ACQ.ACCESS_FORBIDDEN": Refused("this product is not open to our account"),
}
_REFUSES_QUERY = {"ACQ.TRADE_NOT_EXIST": Refused(ABSENT)}
_REFUSES_CLOSE = {
    "ACQ.TRADE_NOT_EXIST": Refused(ABSENT),
    "ACQ.TRADE_STATUS_ERROR": Refused(_STATE),
    "ACQ.REASON_TRADE_STATUS_INVALID": Refused(_STATE),
    "ACQ.TRADE_HAS_CLOSE": Refused(_STATE),
    "ACQ.TRADE_HAS_SUCCESS": Refused(_STATE),
    "ACQ.TRADE_HAS_FINISHED": Refused(_STATE),
}
_REFUSES_REFUND = {
    "ACQ.TRADE_NOT_EXIST": Refused(ABSENT),
    "ACQ.TRADE_STATUS_ERROR": Refused(_STATE),
    "ACQ.TRADE_HAS_CLOSE": Refused(_STATE),
    "ACQ.TRADE_HAS_FINISHED": Refused(_STATE),
    "ACQ.REASON_TRADE_REFUND_FEE_ERR": Refused(_STATE),  # more than is left; our own first asking may have taken it
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL": Refused(_STATE),
    "ACQ.TRADE_NOT_ALLOW_REFUND": Refused("this payment may not be refunded at Alipay"),
    "ACQ.REASON_TRADE_BEEN_FREEZEN": Refused("the payment is frozen at Alipay", final=False),
    "ACQ.SELLER_BALANCE_NOT_ENOUGH": Refused("our account at Alipay holds too little", final=False),
    "ACQ.INVALID_PARAMETER": Refused("Alipay refuses these particulars"),
}
_REFUSES_BILL = {
    "isp.bill_not_exist": Refused(ABSENT, final=False),  # no trade on that day, or the bill is not made yet
    "BILL_NOT_EXIST": Refused(ABSENT, final=False),  # as their documents call it
}
# Documented words that mean "perhaps"; any other word means it too, and alarms.
_PERHAPS = {"ACQ.SYSTEM_ERROR", "AOP.ACQ.SYSTEM_ERROR", "isp.unknow-error", "aop.unknow-error"}

# A bill (业务明细): what its columns and its last lines are called.
_BILL_COLUMNS = (
    "支付宝交易号",
    "商户订单号",
    "业务类型",
    "完成时间",
    "订单金额（元）",
    "商家实收（元）",
    "服务费（元）",
    "分润（元）",
    "退款批次号/请求号",
)
_BILL_KINDS = {"交易": "payment", "退款": "refund"}
_BILL_ACCOUNT = re.compile(r"#账号：\[([0-9]{16})[0-9]*\]")
_BILL_TOTAL = re.compile(r"#(交易|退款)合计：([0-9]{1,12})笔，商家实收(?:退款)?共(-?[0-9]{1,15}\.[0-9]{2})元.*")
_BILL_YUAN = re.compile(r"-?[0-9]{1,12}\.[0-9]{2}")
_BILL_NUMBER = re.compile(r"[0-9A-Za-z_-]{1,64}")  # so that no cell is a formula either
_BILL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_BILL_LINE = 8192  # characters; a longer line is none of theirs
MAX_BILL = 4 << 30  # bytes when unpacked
MAX_BILL_ZIP = 256 << 20

# By scene: how the firm calls it, and the product that our account must have.
_SIGNED = {
    "page": ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
    "wap": ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    "app": ("alipay.trade.app.pay", "QUICK_MSECURITY_PAY"),
}
_TWO_DECIMALS = re.compile(r"[0-9]{1,15}\.[0-9]{2}")
_FIELD_NAME = re.compile(rb"[A-Za-z0-9_]{1,64}")
_CHARSETS = {b"utf-8", b"gbk", b"gb2312", b"gb18030"}
# Alipay refuses / = & in a subject; full-width forms read the same and can never be mistaken for a field.
_SUBJECT = str.maketrans({"/": "／", "=": "＝", "&": "＆"})


@dataclass(frozen=True)
class Alipay:
    """Alipay in mainland China, in yuan, for one application and one seller."""

    app_id: str
    seller_id: str
    private_key: rsa.RSAPrivateKey = field(repr=False)  # ours
    alipay_public_key: rsa.RSAPublicKey = field(repr=False)  # theirs, from their console
    gateway_url: str = GATEWAY
    notify_url: str = ""
    timeout_s: float = 10.0

    name = NAME
    can = Can(scenes=("page", "wap", "qr", "app", "barcode"), barcode=True, statement=True)
    currencies = frozenset({"CNY"})

    @classmethod
    def read(cls, *, app_id: str, seller_id: str, private_key: str, alipay_public_key: str, **more: Any) -> "Alipay":
        """Each key is PEM, the bare base64 of Alipay's console, or the path of a file holding either."""
        return cls(
            app_id=app_id,
            seller_id=seller_id,
            private_key=_private_key(private_key),
            alipay_public_key=_public_key(alipay_public_key),
            **more,
        )

    async def begin(self, world: World, charge: Charge) -> Outcome[Invitation]:
        """A barcode is charged at once: `paid`, or `wait` while the person confirms on their telephone."""
        if charge.amount.currency != "CNY":
            return Refused("Alipay takes yuan only")
        if charge.expires_at <= world.now():
            return Refused(CLOSED)
        content = {
            "out_trade_no": charge.reference,
            "total_amount": charge.amount.text(),
            "subject": charge.subject.translate(_SUBJECT).encode("utf-8", "replace").decode()[:128],
            # An absolute time: a relative one counts from the moment the person opens the page, later than ours.
            "time_expire": _china(charge.expires_at),
        }
        addresses = {"notify_url": charge.notify_url or self.notify_url, "return_url": charge.return_url}
        if charge.scene in _SIGNED:
            method, content["product_code"] = _SIGNED[charge.scene]
            signed = urlencode(self._signed(world, method, content, **addresses))
            if charge.scene == "app":
                return Done(Invitation("app", signed))
            return Done(Invitation("redirect", f"{self.gateway_url}?{signed}"))
        notify = {"notify_url": addresses["notify_url"]}  # who pays with a telephone in hand returns to nothing
        match charge.scene:
            case "qr":
                return await self._show_code(world, content, notify)
            case "barcode" if charge.auth_code:
                return await self._take_code(world, content, charge.auth_code, notify)
            case "barcode":
                return Refused("Alipay needs auth_code for the scene 'barcode'", final=False)
            case _:
                return Refused(f"Alipay has no scene {charge.scene!r}")

    async def _show_code(
        self, world: World, content: Mapping[str, str], notify: Mapping[str, str]
    ) -> Outcome[Invitation]:
        match await self._ask(world, "alipay.trade.precreate", content, _REFUSES_BEGIN, **notify):
            case Done(said) if said.get("out_trade_no") == content["out_trade_no"] and _text(said, "qr_code"):
                return Done(Invitation("qr", said["qr_code"]))
            case Done():
                return Unknown("Alipay's answer is about another payment.", "OTHER_TRADE")
            case Unknown(why) if why == NOT_SENT:
                return Refused(NOT_SENT, final=False)
            case no:
                return no

    async def _take_code(
        self, world: World, content: Mapping[str, str], auth_code: str, notify: Mapping[str, str]
    ) -> Outcome[Invitation]:
        """How much was paid, tells a query. After Unknown only a query or a close decides, never `alipay.trade.cancel`:
        what that finds paid it gives back, so that asking it too late would undo a payment that the person has made.
        """
        code = {"scene": "bar_code", "auth_code": auth_code, "product_code": "FACE_TO_FACE_PAYMENT"}
        match await self._ask(world, "alipay.trade.pay", {**content, **code}, _REFUSES_CODE, **notify):
            case Done(said) if said.get("out_trade_no") == content["out_trade_no"]:
                return Done(Invitation("paid"))
            case Done():
                return Unknown("Alipay's answer is about another payment.", "OTHER_TRADE")
            case Refused(reason) if reason == _CONFIRMING:
                return Done(Invitation("wait"))
            case Unknown(why) if why == NOT_SENT:
                return Refused(NOT_SENT, final=False)
            case no:
                return no

    async def query(self, world: World, reference: str) -> Outcome[Capture]:
        match await self._ask(world, "alipay.trade.query", {"out_trade_no": reference}, _REFUSES_QUERY):
            case Done(said):
                return self._what_became(said, reference, world.now())
            case no:
                return no

    async def close(self, world: World, reference: str) -> Outcome[str]:
        match await self._ask(world, "alipay.trade.close", {"out_trade_no": reference}, _REFUSES_CLOSE):
            case Done(said) if said.get("out_trade_no", reference) == reference:
                return Done(_text(said, "trade_no") or reference)
            case Done():
                return Unknown("Alipay's answer is about another payment.", "OTHER_TRADE")
            case Refused(reason, code) if reason == _STATE:
                # The same word is used for a paid and for a closed trade.
                match await self.query(world, reference):
                    case Done():
                        return Refused(ALREADY_PAID, code)
                    case Refused(reason) if reason == CLOSED:
                        return Done(reference)
                    case _:
                        return Unknown("Alipay can neither close this payment nor tell its state.")
            case no:
                return no

    async def refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        content = {
            "out_trade_no": ask.reference,
            "trade_no": ask.transaction,
            "out_request_no": ask.request_id,
            "refund_amount": ask.amount.text(),
            "refund_reason": ask.reason.encode("utf-8", "replace").decode()[:128],
        }
        match await self._ask(world, "alipay.trade.refund", content, _REFUSES_REFUND):
            case Done(said) if said.get("fund_change") == "Y" and said.get("out_trade_no") == ask.reference:
                return Done(_text(said, "trade_no") or ask.transaction)
            case Done():
                # "N": no money moved now. Usually because the first asking moved it, which a query proves.
                confirmed = await self.query_refund(world, ask)
                return confirmed if isinstance(confirmed, Done) else Unknown("Alipay has not confirmed the refund.")
            case Refused(reason, code) if reason == _STATE:
                # What stands in the way may be our own first asking, whose answer was lost.
                match await self.query_refund(world, ask):
                    case Done() as done:
                        return done
                    case Refused():
                        return Refused("Alipay cannot refund this payment in its state", code)
                    case unknown:
                        return unknown
            case no:
                return no

    async def query_refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        """ABSENT means "not yet, as far as they know": asking again under the same request_id is safe at any time."""
        content = {"out_trade_no": ask.reference, "trade_no": ask.transaction, "out_request_no": ask.request_id}
        match await self._ask(world, "alipay.trade.fastpay.refund.query", content, _REFUSES_QUERY):
            case Done(said) if not said.get("refund_status") and not said.get("refund_amount"):
                return Refused(ABSENT, final=False)  # 10000 alone says that the question was understood
            case Done(said):
                if said.get("out_request_no") != ask.request_id or said.get("out_trade_no") != ask.reference:
                    return Unknown("Alipay's answer is about another refund.", "OTHER_REFUND")
                if said.get("refund_status") not in (None, "", "REFUND_SUCCESS"):
                    return Unknown("Alipay is still working on the refund.", str(said["refund_status"])[:64])
                if said.get("refund_amount") != ask.amount.text():
                    return Unknown("Alipay refunded another amount under this number.", "OTHER_AMOUNT")
                return Done(_text(said, "trade_no") or ask.transaction)
            case no:
                return no

    def read_notice(self, raw: RawNotice) -> Notice:
        fields = _form(raw.body)
        signature, kind = fields.pop(b"sign", b""), fields.pop(b"sign_type", b"")
        if kind != b"RSA2":
            raise NotVerified("The notice is not signed with RSA2.")
        # Their rule: everything but these two, blank fields included, sorted, in the bytes in which it came.
        message = b"&".join(name + b"=" + value for name, value in sorted(fields.items()))
        if not self._holds(message, signature):
            raise NotVerified("The signature of the notice does not hold.")
        said = _decoded(fields)
        if said.get("app_id") != self.app_id or said.get("seller_id") != self.seller_id:
            raise NotVerified("The notice is meant for another application or seller.")
        id_, reference, sent_at = said.get("notify_id"), said.get("out_trade_no"), _time(said.get("notify_time"))
        if not id_ or not reference or sent_at is None:
            raise NotVerified("The notice has no id, reference or time.")
        return Notice(
            id=id_,
            reference=reference,
            capture=self._captured(said, reference),
            # They repeat a notice for 25 hours, so an old one is no forgery; but what it says may be past.
            fresh=abs(raw.received_at - sent_at) <= FRESH,
        )

    def acknowledge(self, accepted: bool) -> tuple[int, bytes]:
        return 200, b"success" if accepted else b"failure"

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        """The rows of a day's bill (业务明细): the zip as it is downloaded, or the CSV inside it. `file` can be sought in.

        Source: Alipay Open Platform, "Reconciliation" (对账), bill_type "trade". The amount is that of the order; what
        the firm keeps is whatever of it does not reach us: service fee, shared profit, reductions that we promised.
        """
        with _opened_bill(file) as lines:
            yield from _bill_rows(lines, self.seller_id)

    async def fetch_statement(self, world: World, day: date) -> Outcome[bytes]:
        """The bill of a day in China, from about 9:00 of the next. The address that they give lives for 30 seconds."""
        content = {"bill_type": "trade", "bill_date": day.isoformat()}
        match await self._ask(world, "alipay.data.dataservice.bill.downloadurl.query", content, _REFUSES_BILL):
            case Done(said) if _text(said, "bill_download_url").startswith(("https://", "http://")):
                ask = Request("GET", said["bill_download_url"], timeout_s=120, most_bytes=MAX_BILL_ZIP)
            case Done():
                return Unknown("Alipay names no address of the bill.", "NO_ADDRESS")
            case no:
                return no
        try:
            bill = await call(world, ask)
        except (NotSent, NoAnswer):
            return Unknown("Alipay's bill did not arrive.")
        if bill.status != 200 or not bill.body or len(bill.body) > MAX_BILL_ZIP:
            return Unknown("Alipay's bill did not arrive.", f"HTTP_{bill.status}")
        return Done(bill.body)

    def _captured(self, said: Mapping[str, str], reference: str) -> Capture | None:
        """The payment of which a notice speaks, or None when it speaks of something else: then a query tells."""
        if said.get("trade_status") not in ("TRADE_SUCCESS", "TRADE_FINISHED"):
            return None
        if said.get("refund_fee") or said.get("gmt_refund"):
            return None
        paid_at, transaction = _time(said.get("gmt_payment")), said.get("trade_no")
        if paid_at is None or not transaction:
            return None
        try:
            paid = _yuan(said)
        except NotAnAmount as error:
            raise NotVerified("The notice names no amount in yuan.") from error
        return Capture(NAME, self.seller_id, transaction, reference, paid, paid_at)

    def _what_became(self, said: dict[str, Any], reference: str, now: datetime) -> Outcome[Capture]:
        if said.get("out_trade_no") != reference:
            return Unknown("Alipay's answer is about another payment.", "OTHER_TRADE")
        status = said.get("trade_status")
        if status == "WAIT_BUYER_PAY":
            return Refused(WAITING, final=False)
        paid_at = _time(said.get("send_pay_date"))
        if status == "TRADE_CLOSED" and paid_at is None:
            return Refused(CLOSED)  # with a time of payment it was paid first and refunded in full later
        if status not in ("TRADE_SUCCESS", "TRADE_FINISHED", "TRADE_CLOSED"):
            return Unknown("Alipay names a state that we do not know.", str(status)[:64])
        try:
            paid = _yuan(said)
        except NotAnAmount:
            return Unknown("Alipay names no amount in yuan.", "NO_AMOUNT")
        transaction = _text(said, "trade_no")
        if not transaction:
            return Unknown("Alipay names no transaction.", "NO_TRADE_NO")
        return Done(Capture(NAME, self.seller_id, transaction, reference, paid, paid_at or now))

    def _signed(self, world: World, method: str, content: Mapping[str, str], **more: str) -> dict[str, str]:
        fields = {
            "app_id": self.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": _china(world.now()),
            "version": "1.0",
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
            **{name: value for name, value in more.items() if value},
        }
        message = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
        fields["sign"] = _sign(self.private_key, message.encode())
        return fields

    async def _ask(
        self, world: World, method: str, content: Mapping[str, str], no: Mapping[str, Refused], **more: str
    ) -> Outcome[dict[str, Any]]:
        """Done(what they said) only for a signed "10000"; Refused only by the call's table; else Unknown."""
        fields = self._signed(world, method, content, **more)
        body = urlencode({"biz_content": fields.pop("biz_content")}).encode()
        try:
            response = await call(
                world,
                Request(
                    "POST",
                    f"{self.gateway_url}?{urlencode(fields)}",
                    {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
                    body,
                    self.timeout_s,
                ),
            )
        except NotSent:
            return Unknown(NOT_SENT)
        except NoAnswer:
            return Unknown("Alipay did not answer.")
        try:
            said = self._verified(response.body, method.replace(".", "_") + "_response")
        except (ValueError, RecursionError) as error:
            return Unknown(f"Alipay's answer cannot be believed: {error}"[:200])
        code, word = said.get("code"), str(said.get("sub_code") or said.get("code"))[:64]
        if code == "10000":
            return Done(said)
        if word in no:
            return Refused(no[word].reason, word, no[word].final)
        return Unknown("Alipay does not say what became of it.", "" if code == "20000" or word in _PERHAPS else word)

    def _verified(self, body: bytes, name: str) -> dict[str, Any]:
        """The object that they signed, read from the very characters under the signature. Raises ValueError."""
        if len(body) > MAX_ANSWER:
            raise ValueError("it is too long")
        parts = _parts(body.decode("utf-8"))
        raw, said = parts.get(name) or parts.get("error_response") or ("", None)
        _, signature = parts.get("sign", ("", ""))
        if not isinstance(said, dict) or not isinstance(signature, str) or not signature:
            raise ValueError("it is not a signed answer")
        if not self._holds(raw.encode(), signature.encode("utf-8", "replace")):
            raise ValueError("its signature does not hold")
        return said

    def _holds(self, message: bytes, signature: bytes) -> bool:
        try:
            self.alipay_public_key.verify(base64.b64decode(signature, validate=True), message, PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True


SETTINGS = {
    "alipay_app_id": PortSetting("text", "our application at Alipay"),
    "alipay_seller_id": PortSetting("text", "our seller number at Alipay; a notice for another seller is not believed"),
    "alipay_private_key_file": PortSetting("secret_file", "our RSA key as PEM, readable by us alone"),
    "alipay_public_key_file": PortSetting("file", "Alipay's RSA key as PEM"),
    "alipay_gateway": PortSetting("url", "address of the gateway; not set: the real one"),
    "alipay_notify_url": PortSetting("url", "where notices go, when not to our public address"),
}


def from_settings(settings: Mapping[str, str]) -> Method | None:
    """Alipay, if `alipay_app_id` is set; raises BadInput when one of what it needs beside that is missing."""
    if not settings.get("alipay_app_id"):
        return None
    for name in ("alipay_seller_id", "alipay_private_key_file", "alipay_public_key_file"):
        if not settings.get(name):
            raise BadInput(f"The setting {name} is missing; Alipay needs it beside alipay_app_id.")
    return Alipay.read(
        app_id=settings["alipay_app_id"],
        seller_id=settings["alipay_seller_id"],
        private_key=settings["alipay_private_key_file"],
        alipay_public_key=settings["alipay_public_key_file"],
        gateway_url=settings.get("alipay_gateway") or GATEWAY,
        notify_url=settings.get("alipay_notify_url") or "",
    )


def sign_notice(key: rsa.RSAPrivateKey, fields: Mapping[str, str], charset: str = "utf-8") -> bytes:
    """The body of a notice as the gateway would sign and send it; for examples and tests."""
    message = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
    return urlencode(
        {**fields, "sign": _sign(key, message.encode(charset)), "sign_type": "RSA2"}, encoding=charset
    ).encode()


def EXAMPLES() -> tuple[Method, list[Example]]:
    """A method with throw-away keys, and what arrives for it."""
    ours, theirs = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
    method = Alipay("2021000000000000", "2088000000000000", ours, theirs.public_key())
    now = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    paid = {
        "app_id": method.app_id,
        "seller_id": method.seller_id,
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
        "body": "",
        "gmt_payment": "2026-11-22 09:59:58",
    }

    def example(says: str, expect: str, body: bytes, received_at: datetime = now) -> Example:
        return Example(says, RawNotice(body, {}, received_at), expect)

    def signed(**other: str) -> bytes:
        return sign_notice(theirs, {**paid, **other})

    return method, [
        example("money arrived", "capture", signed()),
        example(
            "money arrived, and the terms of return have run out", "capture", signed(trade_status="TRADE_FINISHED")
        ),
        example("the amount was changed on the way", "not_verified", signed().replace(b"49.80", b"49.81")),
        example("signed by somebody else", "not_verified", sign_notice(ours, paid)),
        example("for another application", "not_verified", signed(app_id="2021000000000001")),
        example("the same notice, repeated a day later", "stale", signed(), now + timedelta(days=1)),
        example("closed without payment", "other", signed(trade_status="TRADE_CLOSED")),
        example("a part was refunded", "other", signed(refund_fee="9.80", gmt_refund="2026-11-22 10:00:00.123")),
    ]


def _sign(key: rsa.RSAPrivateKey, message: bytes) -> str:
    return base64.b64encode(key.sign(message, PKCS1v15(), SHA256())).decode()


def _form(body: bytes) -> dict[bytes, bytes]:
    """The fields of a form as bytes, blank ones kept. Raises NotVerified for what could be read in two ways."""
    if len(body) > MAX_NOTICE:
        raise NotVerified("The notice is too long.")
    try:
        # Through Latin-1, one character a byte: parse_qsl on bytes breaks on anything but ASCII, GBK is no UTF-8.
        pairs = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, strict_parsing=True, encoding="latin-1", max_num_fields=200
        )
    except ValueError as error:
        raise NotVerified("The notice is not a form.") from error
    fields = {name.encode("latin-1"): value.encode("latin-1") for name, value in pairs}
    if len(fields) != len(pairs):
        raise NotVerified("The notice names a field twice.")
    if not all(_FIELD_NAME.fullmatch(name) for name in fields) or any(b"&" in value for value in fields.values()):
        # The signed text joins fields with & and =: such a name or value could hide one field inside another.
        raise NotVerified("The notice could be read in two ways.")
    return fields


def _decoded(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    charset = fields.get(b"charset", b"utf-8").lower()
    if charset not in _CHARSETS:
        raise NotVerified("The notice is written in a character set that we do not read.")
    try:
        return {name.decode("ascii"): value.decode(charset.decode()) for name, value in fields.items()}
    except UnicodeDecodeError as error:
        raise NotVerified("The notice is not written in the character set that it names.") from error


@contextlib.contextmanager
def _opened_bill(file: BinaryIO) -> Iterator[Iterator[str]]:
    """The lines of a bill, decoded one at a time. Raises BadStatement for what is no zip of a bill and no GBK."""
    try:
        packed = file.read(2) == b"PK"
        file.seek(0)
        with contextlib.ExitStack() as stack:
            raw: IO[bytes] = file
            if packed:
                archive = stack.enter_context(zipfile.ZipFile(file, metadata_encoding="gbk"))
                bills = [one for one in archive.infolist() if one.filename.endswith("业务明细.csv")]
                if len(bills) != 1 or bills[0].file_size > MAX_BILL:
                    raise BadStatement("The zip does not hold one bill of Alipay's (…业务明细.csv) of a possible size.")
                raw = stack.enter_context(archive.open(bills[0]))
            text = TextIOWrapper(raw, encoding="gbk", newline="\n")
            try:
                yield iter(lambda: text.readline(_BILL_LINE), "")
            finally:
                text.detach()  # the caller's file stays open
    except UnicodeDecodeError as error:
        raise BadStatement("The bill is not written in GBK; take the file as Alipay sends it.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadStatement("The zip is damaged; download the bill again.") from error


def _bill_rows(lines: Iterable[str], seller_id: str) -> Iterator[StatementLine]:
    """Reads a bill to its totals. Raises BadStatement, naming the line, never what stands in it."""
    pick, width, account = None, 0, ""
    counted = {"payment": (0, 0), "refund": (0, 0)}
    told: dict[str, tuple[int, int]] = {}
    for n, line in enumerate(lines, 1):
        if line.startswith("#"):
            if found := _BILL_ACCOUNT.match(line):
                account = found[1]
            elif total := _BILL_TOTAL.match(line):
                told[_BILL_KINDS[total[1]]] = int(total[2]), _fen(total[3])
        elif not line.endswith("\n"):
            raise BadStatement(f"Line {n} of the bill is too long or cut off.")
        elif pick is None:
            names = [name.strip() for name in line.split(",")]
            if missing := [name for name in _BILL_COLUMNS if names.count(name) != 1]:
                raise BadStatement(f"Line {n} of the bill does not name the column {missing[0]} once.")
            if account != seller_id:
                raise BadStatement("The bill is another seller's, or does not say whose it is.")
            pick, width = itemgetter(*map(names.index, _BILL_COLUMNS)), len(names)
        else:
            fields = _bill_fields(line)
            if len(fields) != width:
                raise BadStatement(f"Line {n} of the bill has {len(fields)} fields, not {width}.")
            row, received = _bill_row(n, pick(fields))
            count, total_minor = counted[row.kind]
            counted[row.kind] = count + 1, total_minor + received
            yield row
    if pick is None or counted != told:
        raise BadStatement("The totals of the bill are not the sums of its rows; nothing of it is taken.")


def _bill_fields(line: str) -> list[str]:
    """The cells of one line; a quote that is not closed must not swallow the next."""
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error:
        return []


def _bill_row(n: int, fields: tuple[str, ...]) -> tuple[StatementLine, int]:
    """One row, and what the seller received by it, in fen: below zero where money went back."""
    transaction, reference, kind_, at, order_, received_, service_, shared_, request_id = map(str.strip, fields)
    try:
        kind = _BILL_KINDS[kind_]
        minor, received, service, shared = _fen(order_), _fen(received_), _fen(service_), _fen(shared_)
        when = datetime.fromisoformat(f"{at}+08:00") if _BILL_TIME.fullmatch(at) else None
    except (KeyError, ValueError) as error:
        raise BadStatement(f"Line {n} of the bill cannot be read: its kind, its time or an amount.") from error
    named = _BILL_NUMBER.fullmatch(transaction) and _BILL_NUMBER.fullmatch(reference)
    if when is None or not named or (request_id and not _BILL_NUMBER.fullmatch(request_id)):
        raise BadStatement(f"Line {n} of the bill cannot be read: its time or one of its numbers.")
    sign = 1 if kind == "payment" else -1
    fee = minor - (received + service + shared)
    if minor * sign <= 0 or received * sign < 0 or fee * sign < 0:
        raise BadStatement(f"Line {n} of the bill moves money in the wrong direction.")
    return StatementLine(kind, reference, request_id, transaction, abs(minor), fee, "CNY", when), received


@lru_cache(1 << 14)
def _fen(yuan: str) -> int:
    """A cell of a bill such as "-0.01" in fen. Raises ValueError."""
    if not _BILL_YUAN.fullmatch(yuan):
        raise ValueError("not an amount in yuan with two decimals")
    return int(yuan.replace(".", ""))


def _parts(text: str) -> dict[str, tuple[str, Any]]:
    """The members of a JSON object, each with the exact characters of its value. Raises ValueError."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    parts: dict[str, tuple[str, Any]] = {}
    at = _skip(text, 0, "{")
    while True:
        name, at = decoder.raw_decode(text, _skip(text, at))
        start = _skip(text, _skip(text, at, ":"))
        value, at = decoder.raw_decode(text, start)
        if not isinstance(name, str) or name in parts:
            raise ValueError("it names a member twice")
        parts[name] = (text[start:at], value)
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            if text[at + 1 :].strip():
                raise ValueError("something follows it")
            return parts
        at = _skip(text, at, ",")


def _skip(text: str, at: int, sign: str = "") -> int:
    """The place after blanks and, if one is named, after `sign`."""
    while text[at : at + 1] in (" ", "\t", "\r", "\n"):
        at += 1
    if not text.startswith(sign, at):
        raise ValueError("it is not a JSON object")
    return at + len(sign)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it names a member twice")
    return members


def _yuan(said: Mapping[str, Any]) -> Money:
    """`total_amount`, which always has exactly two decimals. Raises NotAnAmount."""
    text, currency = said.get("total_amount"), said.get("trans_currency") or "CNY"
    if currency != "CNY" or not isinstance(text, str) or not _TWO_DECIMALS.fullmatch(text):
        raise NotAnAmount("Alipay names an amount in yuan with two decimals.")
    return amount(text, "CNY")


def _china(at: datetime) -> str:
    return at.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def _time(text: object) -> datetime | None:
    if not isinstance(text, str) or not re.fullmatch(
        r"[0-9]{4}(-[0-9]{2}){2} [0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,3})?", text
    ):
        return None
    try:
        return datetime.strptime(text[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA).astimezone(UTC)
    except ValueError:
        return None


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _private_key(given: str) -> rsa.RSAPrivateKey:
    text = _key_text(given, "private", secret=True)
    try:
        if "-----BEGIN" in text:
            key = load_pem_private_key(text.encode(), password=None)
        else:
            key = load_der_private_key(base64.b64decode("".join(text.split()), validate=True), password=None)
    except (ValueError, TypeError) as error:
        raise BadInput("The private key for Alipay is neither PEM nor base64 of an RSA key.") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise BadInput("The private key for Alipay is not an RSA key of 2048 bits or more.")
    return key


def _public_key(given: str) -> rsa.RSAPublicKey:
    text = _key_text(given, "public", secret=False)
    try:
        if "-----BEGIN" in text:
            key = load_pem_public_key(text.encode())
        else:
            key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except ValueError as error:
        raise BadInput("Alipay's public key is neither PEM nor base64 of an RSA key.") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise BadInput("Alipay's public key is not an RSA key of 2048 bits or more.")
    return key


def _key_text(given: str, which: str, *, secret: bool) -> str:
    """The key itself, or what stands in the file that is named."""
    text = given.strip()
    if "-----BEGIN" in text or len(text) > 255:
        return text
    path = Path(text).expanduser()
    try:
        if secret and path.stat().st_mode & 0o007:
            raise BadInput(f"Everybody on this machine can read {path}; chmod 600 it.")
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The {which} key file {path} cannot be read.") from error
