"""The payment method `jd_pay` (京东支付 V2.0): page, phone, QR and payment-code payments, queries, refunds and notices.

What the wire looks like, and who says so:

- The firm's interface document V1.2 of September 2016 ("V1.2" below): forms and XML, fields, codes, notices.
- The firm's PHP and Java demos (jdPay2Demo, jdpayDemo with pay-gate-signature 1.0.10): how the texts are padded,
  encrypted and signed to the byte. Two notices that the firm itself signed come with them; this file reads both.
- Open SDKs (IJPay 2 `com.ijpay.jdpay`, the gem `jd_pay`, Essensoft.Paylink) for what came after V1.2: `uniorder` for
  QR codes, `fkmPay` for payment codes, `revoke`.

A signature is the lower-case hexadecimal SHA-256 of a text, "encrypted" with the private key: PKCS #1 v1.5 block type 1
over the 64 characters, without the name of a hash (RFC 8017 §9.2, of which the DigestInfo is left out). A form signs its
fields sorted by name, `k=v` joined by `&`; a message signs its XML without the `sign` element, its lines trimmed and
joined. Both are encrypted with 3DES-ECB under the merchant's key: a form field by field, a message whole.

JD Pay has no number of its own for a payment on this wire: `tradeNum`, ours, is the payment's name for both sides, and so
it is the capture's `transaction`.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode
from xml.parsers import expat
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from refill.errors import BadInput, NotAnAmount, NotVerified
from refill.money import MAX_MINOR, Money
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
from refill.world import NoAnswer, NotSent, Request, Response, World, call

NAME = "jd_pay"
PC_PAGE = "https://wepay.jd.com/jdpay/saveOrder"
H5_PAGE = "https://h5pay.jd.com/jdpay/saveOrder"
SERVICE = "https://paygate.jd.com/service"
STATEMENTS = "https://bapi.jdpay.com/api/download.do"
CHINA = timezone(timedelta(hours=8))  # every time on the wire, whatever the zone of the machine
FRESH = timedelta(minutes=5)
MAX_TEXT = 16_384  # bytes inside one encrypted text; the firm's own code refuses more
MAX_STATEMENT = 4 << 30  # bytes when unpacked
MAX_STATEMENT_ZIP = 256 << 20
MAX_MESSAGE = 1 << 17  # such a text as hexadecimal, as base64, with something around it

# Their codes that are a definite no, by call. A code that is not in the table is not a no. They do not sign a refusal:
# it comes without `encrypt`, so whatever it could cost is asked for once more before it is believed.
_PAID = "000000"
_STATE = "state"  # perhaps our own first asking stands in the way: only a query tells
_REFUSES_BEGIN = {
    "JMPT200071": Refused(ALREADY_PAID),
    "JPGT100005": Refused("JD Pay refuses these particulars"),
    "JPGT100006": Refused("JD Pay refuses these particulars"),
}
_REFUSES_CODE = {
    **_REFUSES_BEGIN,
    "JMPT200011": Refused("the card behind this code holds too little"),
    "JMPT200012": Refused("the amount is above the card's limit"),
    "JMPT200013": Refused("the card's limit of this day is used up"),
}
_REFUSES_QUERY = {"RFND000003": Refused(ABSENT)}
_REFUSES_QUERY_REFUND = {"RFND000003": Refused(ABSENT, final=False), "RFND000004": Refused(ABSENT, final=False)}
_REFUSES_REVOKE = {"RFND000001": Refused(_STATE), "RFND000003": Refused(ABSENT)}
_REFUSES_REFUND = {
    "RFND000001": Refused(_STATE),  # the same number a second time
    "RFND000002": Refused(_STATE),  # more than is left
    "RFND000003": Refused(ABSENT),
    "RFND009000": Refused("JD Pay refuses these particulars"),
    "JPGT100005": Refused("JD Pay refuses these particulars"),
    "JPGT100006": Refused("JD Pay refuses these particulars"),
}
# Documented codes that mean "perhaps"; any other code means it too, and alarms. RFND000008 is an inner error in V1.2 and
# an unknown trade in the firm's list of questions, so it is nothing that one can act on.
_PERHAPS = {"JPGT200000", "JPGT999999", "JMPT200062", "JMPT200070", "RFND000008"}

_WAITING, _SUCCEEDED, _CLOSED = {"0", "1", "3"}, "2", "4"  # a payment's `status`; 3: one try failed, another may follow
_RETURNED = "1"  # a refund's, and a revocation's

_PAGES = {"page": PC_PAGE, "wap": H5_PAGE}
_REFERENCE = re.compile(r"[0-9A-TV-Za-z_]{1,32}")
_FEN = re.compile(r"[1-9][0-9]{0,14}")
_YUAN = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,2}))?")
_NUMBER = re.compile(r"[0-9A-Za-z]{1,32}")
_SIGN = re.compile(r"<sign>([^<>]*)</sign>")
_LINE_ENDS = re.compile(r"[\t\r\n]")
# Their demos escape what HTML could take for a mark; full-width forms read the same, and never end a field either.
_SUBJECT = str.maketrans({"<": "＜", ">": "＞", "&": "＆", "=": "＝", '"': "＂", "'": "＇"})

Said = Mapping[str, Sequence[str]]  # what a message says: the texts at each path, such as "payList/pay/amount"


@dataclass(frozen=True)
class JdPay:
    """JD Pay in mainland China, in yuan, for one merchant."""

    merchant: str
    private_key: rsa.RSAPrivateKey = field(repr=False)  # ours
    jd_public_key: rsa.RSAPublicKey = field(repr=False)  # theirs, from their documents
    des_key: bytes = field(repr=False)  # 24 bytes that both sides know
    gateway_url: str = ""  # one address for all of JD Pay; empty: the firm's own addresses
    notify_url: str = ""
    statement_key: str = field(default="", repr=False)
    timeout_s: float = 10.0

    name = NAME
    can = Can(close_gives_back=True, scenes=("page", "wap", "qr", "barcode"), barcode=True, statement=True)
    currencies = frozenset({"CNY"})

    @classmethod
    def read(cls, *, merchant: str, private_key: str, jd_public_key: str, des_key: str, **more: Any) -> "JdPay":
        """Each RSA key is PEM or the path of a file holding it; the 3DES key is base64, as their console shows it."""
        return cls(merchant, _private_key(private_key), _public_key(jd_public_key), _des_key(des_key), **more)

    async def begin(self, world: World, charge: Charge) -> Outcome[Invitation]:
        left = charge.expires_at - world.now()
        if charge.amount.currency != "CNY":
            return Refused("JD Pay takes yuan only")
        if left < timedelta(seconds=1):
            return Refused(CLOSED)
        if not _REFERENCE.fullmatch(charge.reference):
            return Refused("JD Pay cannot carry this reference")
        order = {
            "tradeNum": _theirs(charge.reference),
            "tradeName": charge.subject.translate(_SUBJECT).encode("utf-8", "replace").decode()[:128],
            "tradeTime": _china(world.now()),
            "amount": str(charge.amount.minor),
            "orderType": "1",  # nothing is shipped
            "currency": "CNY",
            "notifyUrl": charge.notify_url or self.notify_url,
            "ip": charge.payer_ip,
        }
        # Seconds from `tradeTime`; cut to whole ones, so that the firm never closes later than we do.
        lapses = {"expireTime": str(int(left.total_seconds()))}
        match charge.scene:
            case "page" | "wap":
                fields = self._form({**order, **lapses, "callbackUrl": charge.return_url})
                page = f"{self.gateway_url}/jdpay/saveOrder" if self.gateway_url else _PAGES[charge.scene]
                return Done(Invitation("form", page, fields=fields))
            case "qr":
                return await self._show_code(world, {**order, **lapses, "tradeType": "QR"})
            case "barcode" if charge.auth_code:
                return await self._take_code(world, {**order, "token": charge.auth_code})
            case "barcode":
                return Refused("JD Pay needs auth_code for the scene 'barcode'", final=False)
            case _:
                return Refused(f"JD Pay has no scene {charge.scene!r}")

    async def query(self, world: World, reference: str) -> Outcome[Capture]:
        match await self._look(world, reference):
            case Done(said):
                return self._what_became(said, reference)
            case no:
                return no

    async def close(self, world: World, reference: str) -> Outcome[str]:
        """Asks first: `revoke` gives the money of a paid trade back, and it wants to be told the amount."""
        match await self._look(world, reference):
            case Done(said):
                found = self._what_became(said, reference)
            case no:
                return no
        match found:
            case Done():
                return Refused(ALREADY_PAID)
            case Refused(reason) if reason == CLOSED:
                return Done(reference)
            case Refused() if _FEN.fullmatch(_one(said, "amount")):
                return await self._revoke(world, reference, _one(said, "amount"))
            case Refused():
                return Unknown("JD Pay does not say how much it waits for.", "NO_AMOUNT")
            case unknown:
                return unknown

    async def refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        fields = {
            "tradeNum": _theirs(ask.request_id),
            "oTradeNum": _theirs(ask.reference),
            "amount": str(ask.amount.minor),
            "currency": "CNY",
            "tradeTime": _china(world.now()),
            "notifyUrl": self.notify_url,
            "note": ask.reason.translate(_SUBJECT).encode("utf-8", "replace").decode()[:256],
        }
        match await self._ask(world, "refund", fields, _REFUSES_REFUND):
            case Done(said):
                return _refunded(said, ask, _theirs(ask.request_id))
            case Refused(reason, code, final):
                match await self.query_refund(world, ask):
                    case Refused():
                        why = "JD Pay cannot refund this payment in its state" if reason == _STATE else reason
                        return Refused(why, code, final)
                    case answer:
                        return answer
            case unknown:
                return unknown

    async def query_refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        """ABSENT means "not yet, as far as they know": asking again under the same request_id is safe at any time.

        What was paid in the moment in which we revoked it went back under the revocation's number; that counts too.
        """
        found: Outcome[str] = Refused(ABSENT, final=False)
        for number in (_theirs(ask.request_id), _revocation(ask.reference)):
            fields = {"tradeNum": number, "oTradeNum": _theirs(ask.reference), "tradeType": "1"}
            match await self._ask(world, "query", fields, _REFUSES_QUERY_REFUND):
                case Done(said):
                    return _refunded(said, ask, number)
                case Refused() as found:
                    continue
                case unknown:
                    return unknown
        return found

    def read_notice(self, raw: RawNotice) -> Notice:
        try:
            outer = _read(_text_of(raw.body))
            inner, signed = self._opened(outer)
        except ValueError as error:
            raise NotVerified(f"The notice cannot be believed: {error}") from error
        if _one(outer, "merchant") != self.merchant or _one(inner, "merchant") != self.merchant:
            raise NotVerified("The notice is meant for another merchant.")
        kind, number = _one(inner, "tradeType"), _one(inner, "oTradeNum") or _one(inner, "tradeNum")
        if kind not in ("0", "1") or not _NUMBER.fullmatch(number):
            raise NotVerified("The notice does not say what it is about.")
        capture = None
        if kind == "0" and (_one(inner, "status"), _one(inner, "result/code")) == (_SUCCEEDED, _PAID):
            capture = self._captured(inner, number)
            if capture is None:
                raise NotVerified("The notice names no amount in yuan or no time of payment.")
        return Notice(
            # They number no notice; one and the same text is one and the same notice.
            id=hashlib.sha256(signed.encode()).hexdigest()[:40],
            reference=_ours(number),
            capture=capture,
            fresh=self._is_fresh(capture.paid_at if capture else _time(_one(inner, "tradeTime")), raw.received_at),
        )

    def acknowledge(self, accepted: bool) -> tuple[int, bytes]:
        """V1.2: only status 200 with "ok" stops them; they come five times, within two hours."""
        return (200, b"ok") if accepted else (500, b"fail")

    async def fetch_statement(self, world: World, day: date) -> Outcome[bytes]:
        """The zip of a day in China. Source: clients of `download.do`; a file bears the date of the day after its own."""
        if not self.statement_key:
            return Refused("the setting jd_pay_statement_key is missing")
        name = f"{day + timedelta(days=1):%Y%m%d}ordercreate_{self.merchant}.zip"
        asked = json.dumps({"name": name, "path": "0001/0001"}, separators=(",", ":"))
        data = base64.b64encode(asked.encode()).decode()
        md5 = hashlib.md5(f"{data}{self.statement_key}".encode(), usedforsecurity=False).hexdigest()
        url = f"{self.gateway_url}/api/download.do" if self.gateway_url else STATEMENTS
        form = urlencode({"owner": self.merchant[:9], "data": data, "md5": md5}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        try:
            response = await call(world, Request("POST", url, headers, form, 120, MAX_STATEMENT_ZIP))
        except (NotSent, NoAnswer):
            return Unknown("JD Pay did not answer.")
        match response.headers.get("return-code", "0000"):
            case "0000" if response.body.startswith(b"PK"):
                return Done(response.body)
            case "00124":
                return Refused(ABSENT, "00124", final=False)
            case code:
                return Unknown("JD Pay did not send a statement.", code[:64])

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        """The rows of a day's file (ordercreate): the zip as it is downloaded. `file` can be sought in.

        Source: two public readers of it (a bill importer that stores 17 or more columns by position, and a checker of
        recharges). In GBK, after one line of headings: 0 the merchant's number, 2 the amount in yuan, below zero where
        money went back, 5 成功 for what truly happened, 8 when, 10 the refund's number, 11 the fee. Cells look like
        `="123"` with tabs. The file has no line of totals: that no row is missing or changed, the zip's own checksum shows
        at its end, and so nothing but the zip is taken.
        """
        try:
            with zipfile.ZipFile(file) as archive:
                bills = [one for one in archive.infolist() if one.filename.endswith(".csv")]
                if len(bills) != 1 or bills[0].file_size > MAX_STATEMENT:
                    raise BadStatement("The zip does not hold one statement (….csv) of a possible size.")
                with archive.open(bills[0]) as raw, TextIOWrapper(raw, encoding="gbk", newline="\n") as lines:
                    yield from _bill_rows(iter(lambda: lines.readline(_BILL_LINE), ""))
        except UnicodeDecodeError as error:
            raise BadStatement("The statement is not written in GBK; take the file as JD Pay sends it.") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise BadStatement("This is no zip, or it is damaged; download the statement again.") from error

    async def _show_code(self, world: World, order: Mapping[str, str]) -> Outcome[Invitation]:
        match await self._ask(world, "uniorder", order, _REFUSES_BEGIN):
            case Done(said) if _one(said, "tradeNum") == order["tradeNum"] and _one(said, "qrCode"):
                return Done(Invitation("qr", _one(said, "qrCode")))
            case Done():
                return Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE")
            case Unknown(why) if why == NOT_SENT:
                return Refused(NOT_SENT, final=False)
            case no:
                return no

    async def _take_code(self, world: World, order: Mapping[str, str]) -> Outcome[Invitation]:
        """Whether the money came, tells the notice or a query; here we learn only that they took the code."""
        match await self._ask(world, "fkmPay", order, _REFUSES_CODE):
            case Done(said) if _one(said, "tradeNum") != order["tradeNum"]:
                return Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE")
            case Done(said):
                return Done(Invitation("paid" if _one(said, "status") == _SUCCEEDED else "wait"))
            case Unknown(why) if why == NOT_SENT:
                return Refused(NOT_SENT, final=False)
            case no:
                return no

    async def _look(self, world: World, reference: str) -> Outcome[Said]:
        return await self._ask(world, "query", {"tradeNum": _theirs(reference), "tradeType": "0"}, _REFUSES_QUERY)

    async def _revoke(self, world: World, reference: str, fen: str) -> Outcome[str]:
        """The firm on `revoke`: an unpaid trade cannot be paid any more, a paid one is refunded. Only the first is meant."""
        number = _revocation(reference)
        fields = {
            "tradeNum": number,
            "oTradeNum": _theirs(reference),
            "amount": fen,
            "currency": "CNY",
            "tradeTime": _china(world.now()),
        }
        match await self._ask(world, "revoke", fields, _REFUSES_REVOKE):
            case Done(said) if (_one(said, "oTradeNum"), _one(said, "tradeNum")) != (_theirs(reference), number):
                return Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE")
            case Done(said) if _one(said, "status") == _RETURNED:
                return Done(reference)
            case Unknown() as unknown:
                return unknown
            case Refused(reason) as absent if reason == ABSENT:
                return absent
            case _:
                return Unknown("JD Pay has not revoked the payment yet.")

    def _what_became(self, said: Said, reference: str) -> Outcome[Capture]:
        if _one(said, "tradeNum") != _theirs(reference):
            return Unknown("JD Pay's answer is about another payment.", "OTHER_TRADE")
        status = _one(said, "status")
        if status in _WAITING:
            return Refused(WAITING, final=False)
        if status == _CLOSED:
            return Refused(CLOSED)
        if status != _SUCCEEDED:
            return Unknown("JD Pay names a state that we do not know.", f"STATUS_{status}"[:64])
        capture = self._captured(said, _theirs(reference))
        return Done(capture) if capture else Unknown("JD Pay names no amount in yuan or no time.", "NO_AMOUNT")

    def _captured(self, said: Said, number: str) -> Capture | None:
        """The payment that is told of; None when it is not in yuan, in whole fen, at a time.

        A person may pay from several purses at once (V1.2, payList): `amount` is the sum, the last of them the time.
        """
        currencies, times = said.get("payList/pay/currency", ()), said.get("payList/pay/tradeTime", ())
        paid_at = [at for at in map(_time, times) if at]
        if set(currencies) != {"CNY"} or not paid_at or len(paid_at) != len(times) or len(times) != len(currencies):
            return None
        try:
            return Capture(NAME, self.merchant, number, _ours(number), _fen(_one(said, "amount")), max(paid_at))
        except NotAnAmount:
            return None

    @staticmethod
    def _is_fresh(happened_at: datetime | None, received_at: datetime) -> bool:
        """A notice bears no time but that of the payment or refund; they repeat it for two hours."""
        return happened_at is not None and abs(received_at - happened_at) <= FRESH

    def _form(self, order: Mapping[str, str]) -> dict[str, str]:
        """The fields of a page's form: signed in clear, then encrypted one by one, all but three (V1.2, 4.2)."""
        clear = {"version": "V2.0", "merchant": self.merchant, **{name: text for name, text in order.items() if text}}
        signed = "&".join(f"{name}={text}" for name, text in sorted(clear.items()))
        fields = {name: _encrypted(self.des_key, text) for name, text in order.items() if text}
        return {"version": "V2.0", "merchant": self.merchant, **fields, "sign": _sign(self.private_key, signed)}

    async def _ask(
        self, world: World, service: str, fields: Mapping[str, str], no: Mapping[str, Refused]
    ) -> Outcome[Said]:
        """Done(what they said) only for a signed "000000"; Refused only by the call's table; else Unknown."""
        body = seal(self.private_key, self.des_key, {"version": "V2.0", "merchant": self.merchant, **fields})
        url = f"{self.gateway_url}/service/{service}" if self.gateway_url else f"{SERVICE}/{service}"
        headers = {"content-type": "application/xml;charset=utf-8"}
        try:
            response = await call(world, Request("POST", url, headers, body, self.timeout_s))
        except NotSent:
            return Unknown(NOT_SENT)
        except NoAnswer:
            return Unknown("JD Pay did not answer.")
        try:
            code, said = self._heard(response)
        except ValueError as error:
            return Unknown(f"JD Pay's answer cannot be believed: {error}"[:200])
        if code == _PAID:
            return Done(said)
        if code in no:
            return Refused(no[code].reason, code, no[code].final)
        return Unknown("JD Pay does not say what became of it.", "" if code in _PERHAPS else code[:64])

    def _heard(self, response: Response) -> tuple[str, Said]:
        """Their code and what they say. Raises ValueError where a "000000" is not signed or not for us."""
        outer = _read(_text_of(response.body))
        if _one(outer, "merchant") != self.merchant:
            raise ValueError("it is not for our merchant")
        if "encrypt" not in outer:
            code = _one(outer, "result/code").replace(" ", "")  # V1.2 prints some of its codes with a space
            if code in ("", _PAID):
                raise ValueError("it is not signed")
            return code, {}
        inner, _ = self._opened(outer)
        if _one(inner, "merchant") not in ("", self.merchant):
            raise ValueError("it is not for our merchant")
        # Their own client takes the code from outside; where it stands under the signature too, that one rules.
        return _one(inner, "result/code") or _one(outer, "result/code"), inner

    def _opened(self, outer: Said) -> tuple[Said, str]:
        """What is inside `encrypt`, and the text that they signed, from which alone it was read. Raises ValueError."""
        try:
            hidden = base64.b64decode("".join(_one(outer, "encrypt").split()), validate=True).decode("ascii")
        except ValueError as error:
            raise ValueError("it is not encrypted") from error
        text = "".join(line.strip(" ") for line in _LINE_ENDS.split(_decrypted(self.des_key, hidden)))
        signs = _SIGN.findall(text)
        if len(signs) != 1 or text.count("<sign") != 1:
            raise ValueError("it is not signed")
        signed = _SIGN.sub("", text)
        if not _holds(self.jd_public_key, signed, signs[0]):
            raise ValueError("its signature does not hold")
        return _read(signed), signed


SETTINGS = {
    "jd_pay_merchant": PortSetting("text", "our merchant number at JD Pay; a notice for another is not believed"),
    "jd_pay_private_key_file": PortSetting("secret_file", "our RSA key as PEM, readable by us alone"),
    "jd_pay_public_key_file": PortSetting("file", "JD Pay's RSA key as PEM"),
    "jd_pay_des_key": PortSetting("secret", "the 3DES key from JD Pay's console, in base64"),
    "jd_pay_gateway": PortSetting("url", "one address for all of JD Pay; not set: the real ones"),
    "jd_pay_notify_url": PortSetting("url", "where notices go, when not to our public address"),
    "jd_pay_statement_key": PortSetting("secret", "the MD5 key for downloading statements; not set: none are fetched"),
}


def from_settings(settings: Mapping[str, str]) -> Method | None:
    """JD Pay, if `jd_pay_merchant` is set; raises BadInput when one of what it needs beside that is missing."""
    if not settings.get("jd_pay_merchant"):
        return None
    for name in ("jd_pay_private_key_file", "jd_pay_public_key_file", "jd_pay_des_key"):
        if not settings.get(name):
            raise BadInput(f"The setting {name} is missing; JD Pay needs it beside jd_pay_merchant.")
    return JdPay.read(
        merchant=settings["jd_pay_merchant"],
        private_key=settings["jd_pay_private_key_file"],
        jd_public_key=settings["jd_pay_public_key_file"],
        des_key=settings["jd_pay_des_key"],
        gateway_url=(settings.get("jd_pay_gateway") or "").rstrip("/"),
        notify_url=settings.get("jd_pay_notify_url") or "",
        statement_key=settings.get("jd_pay_statement_key") or "",
    )


def seal(key: rsa.RSAPrivateKey, des_key: bytes, fields: Mapping[str, Any], code: str = "") -> bytes:
    """A message as either side sends it: `fields` signed and encrypted, under "version" and "merchant" in clear.

    With `code` it is an answer or a notice, which bears that code inside and outside; also for examples and tests. A
    field may be a mapping or a list of mappings; one that is empty is left out.
    """
    result = {"result": {"code": code, "desc": "success"}} if code else {}
    said = {"version": fields["version"], "merchant": fields["merchant"], **result, **fields}
    signed = _xml(said)
    hidden = _encrypted(des_key, signed.replace("</jdpay>", f"<sign>{_sign(key, signed)}</sign></jdpay>"))
    encrypt = base64.b64encode(hidden.encode()).decode()
    return _xml({"version": said["version"], "merchant": said["merchant"], **result, "encrypt": encrypt}).encode()


def EXAMPLES() -> tuple[Method, list[Example]]:
    """A method with throw-away keys, and what arrives for it."""
    ours, theirs = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
    des_key = bytes(range(24))
    method = JdPay("110000000001", ours, theirs.public_key(), des_key)
    now = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    pay = {"payType": "0", "amount": "4980", "currency": "CNY", "tradeTime": "20261122095958"}
    paid: dict[str, Any] = {
        "version": "V2.0",
        "merchant": method.merchant,
        "tradeNum": "payU1",
        "tradeType": "0",
        "amount": "4980",
        "status": "2",
        "payList": {"pay": pay},
    }

    def example(says: str, expect: str, body: bytes, received_at: datetime = now) -> Example:
        return Example(says, RawNotice(body, {}, received_at), expect)

    def signed(**other: Any) -> bytes:
        return seal(theirs, des_key, {**paid, **other}, _PAID)

    two = [{**pay, "amount": "4000"}, {**pay, "payType": "3", "amount": "980"}]
    refund = {"tradeNum": "rfU1", "oTradeNum": "payU1", "tradeType": "1", "tradeTime": "20261122095958", "status": "1"}
    return method, [
        example("money arrived", "capture", signed()),
        example("money arrived, from two purses", "capture", signed(payList={"pay": two})),
        example("signed by somebody else", "not_verified", seal(ours, des_key, paid, _PAID)),
        example("under another 3DES key", "not_verified", seal(theirs, bytes(24), paid, _PAID)),
        example("for another merchant", "not_verified", signed(merchant="110000000002")),
        example("in another currency", "not_verified", signed(payList={"pay": {**pay, "currency": "USD"}})),
        example("money went back", "other", signed(**refund)),
        example("the payment failed", "other", signed(status="3", tradeTime="20261122095958")),
        example("the same notice, repeated a day later", "stale", signed(), now + timedelta(days=1)),
    ]


def _theirs(name: str) -> str:
    """Our name of a thing as JD Pay takes it: letters and digits only. No id of ours has a capital U (see `ids`)."""
    return name.replace("_", "U")


def _ours(number: str) -> str:
    return number.replace("U", "_")


def _revocation(reference: str) -> str:
    """The number under which we revoke a payment: always the same one, and never a refund's."""
    return f"v{hashlib.sha256(reference.encode()).hexdigest()[:31]}"


def _refunded(said: Said, ask: RefundAsk, number: str) -> Outcome[str]:
    """What a signed word about refund `number` means. V1.2: 0 at work, 1 done, 2 failed, 3 to be asked again as it is."""
    if (_one(said, "tradeNum"), _one(said, "oTradeNum")) != (number, _theirs(ask.reference)):
        return Unknown("JD Pay's answer is about another refund.", "OTHER_REFUND")
    if _one(said, "amount") != str(ask.amount.minor):
        return Unknown("JD Pay refunded another amount under this number.", "OTHER_AMOUNT")
    match _one(said, "status"):
        case status if status == _RETURNED:
            return Done(number)
        case "0":
            return Unknown("JD Pay is still working on the refund.")
        case "2":
            return Refused("JD Pay could not refund this payment", "STATUS_2")
        case "3":
            return Refused("JD Pay could not refund this payment now", "STATUS_3", final=False)
        case status:
            return Unknown("JD Pay names a state that we do not know.", f"STATUS_{status}"[:64])


def _sign(key: rsa.RSAPrivateKey, text: str) -> str:
    return base64.b64encode(key.sign(_digest(text), PKCS1v15(), NoDigestInfo())).decode()


def _holds(key: rsa.RSAPublicKey, text: str, signature: str) -> bool:
    try:
        signed = key.recover_data_from_signature(base64.b64decode(signature, validate=True), PKCS1v15(), None)
    except (InvalidSignature, ValueError):
        return False
    return hmac.compare_digest(signed, _digest(text))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest().encode()


def _cipher(des_key: bytes) -> Cipher[ECB]:
    return Cipher(TripleDES(des_key), ECB())  # noqa: S305 — theirs to choose; nothing is believed but signatures


def _encrypted(des_key: bytes, text: str) -> str:
    """Four bytes of length, the text, zeros up to a multiple of eight, all encrypted, in lower-case hexadecimal."""
    raw = text.encode()
    framed = len(raw).to_bytes(4, "big") + raw
    encryptor = _cipher(des_key).encryptor()
    return encryptor.update(framed + bytes(-len(framed) % 8)).hex()


def _decrypted(des_key: bytes, hidden: str) -> str:
    """The text again. Raises ValueError for what `_encrypted` would not have written under this key."""
    raw = binascii.unhexlify(hidden)
    if not raw or len(raw) % 8:
        raise ValueError("it is not encrypted")
    clear = _cipher(des_key).decryptor().update(raw)
    length, rest = int.from_bytes(clear[:4], "big"), clear[4:]
    if length > MAX_TEXT or not 0 <= len(rest) - length < 8 or any(rest[length:]):
        raise ValueError("it is not encrypted with our key")
    return rest[:length].decode("utf-8")


def _xml(fields: Mapping[str, Any]) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><jdpay>{_elements(fields)}</jdpay>'


def _elements(fields: Mapping[str, Any]) -> str:
    parts = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            inside = _elements(one) if isinstance(one, Mapping) else escape(_xml_text(one))
            parts.append(f"<{name}>{inside}</{name}>" if inside else "")
    return "".join(parts)


def _xml_text(text: str) -> str:
    """What XML can carry of a text (XML 1.0 §2.2), on one line."""
    return "".join(" " if letter < " " else letter for letter in text if letter not in "\ufffe\uffff")


def _read(text: str) -> dict[str, list[str]]:
    """What an XML message says, by path below its root. Raises ValueError.

    No declarations, comments or entities of its own (so none that grow), no attributes, eight levels: as little XML as
    the firm sends, read by expat.
    """
    if "<!" in text:
        raise ValueError("it declares something")
    said: dict[str, list[str]] = {}
    path: list[str] = []
    texts: list[str] = []

    def opened(name: str, attributes: Mapping[str, str]) -> None:
        if attributes or len(path) > 8 or (not path and name != "jdpay"):
            raise ValueError("it is not a message of JD Pay's")
        path.append(name)
        texts.clear()

    def ended(name: str) -> None:
        if len(path) > 1 and (inside := "".join(texts).strip(" \t\r\n")):
            said.setdefault("/".join(path[1:]), []).append(inside)
        path.pop()
        texts.clear()

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = opened, ended
    parser.CharacterDataHandler = texts.append
    try:
        parser.Parse(text.encode(), True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise ValueError("it is not XML") from error
    return said


def _text_of(body: bytes) -> str:
    if len(body) > MAX_MESSAGE:
        raise ValueError("it is too long")
    return body.decode("utf-8")


def _one(said: Said, path: str) -> str:
    """The text at `path`; empty when there is none, or more than one."""
    texts = said.get(path, ())
    return texts[0] if len(texts) == 1 else ""


def _fen(text: str) -> Money:
    """A whole number of fen above zero. Raises NotAnAmount."""
    if not _FEN.fullmatch(text) or int(text) > MAX_MINOR:
        raise NotAnAmount("JD Pay names amounts in whole fen.")
    return Money(int(text), "CNY")


def _china(at: datetime) -> str:
    return at.astimezone(CHINA).strftime("%Y%m%d%H%M%S")


def _time(text: str) -> datetime | None:
    if not re.fullmatch(r"[0-9]{14}", text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=CHINA).astimezone(UTC)
    except ValueError:
        return None


_BILL_LINE = 8192  # characters; a longer line is none of theirs
_BILL_WIDTH = 17  # columns at least
_BILL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


def _bill_rows(lines: Iterator[str]) -> Iterator[StatementLine]:
    """Reads a statement to its end. Raises BadStatement, naming the line, never what stands in it."""
    width = 0
    for n, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            raise BadStatement(f"Line {n} of the statement is too long or cut off.")
        cells = line.split(",")
        if not width:
            width = len(cells)
            if width < _BILL_WIDTH:
                raise BadStatement("The statement's headings are not JD Pay's.")
        elif len(cells) != width:
            raise BadStatement(f"Line {n} of the statement has {len(cells)} cells, not {width}.")
        elif _cell(cells[5]) == "成功":
            yield _bill_row(n, cells)
    if not width:
        raise BadStatement("The statement is empty; even a day without payments has its headings.")


def _bill_row(n: int, cells: Sequence[str]) -> StatementLine:
    number, refund, at = _cell(cells[0]), _cell(cells[10]), _cell(cells[8])
    try:
        minor, fee = _bill_fen(_cell(cells[2])), _bill_fen(_cell(cells[11]) or "0")
        when = datetime.fromisoformat(f"{at}+08:00") if _BILL_TIME.fullmatch(at) else None
    except ValueError as error:
        raise BadStatement(f"Line {n} of the statement cannot be read: its time or an amount.") from error
    kind = "payment" if minor > 0 else "refund"
    named = _NUMBER.fullmatch(number) and (kind == "payment" or _NUMBER.fullmatch(refund))
    if when is None or not named or not minor:
        raise BadStatement(f"Line {n} of the statement cannot be read: its time, its amount or one of its numbers.")
    reference, request_id = _ours(number), _ours(refund) if kind == "refund" else ""
    return StatementLine(kind, reference, request_id, number, abs(minor), fee, "CNY", when.astimezone(UTC))


def _cell(cell: str) -> str:
    """A cell such as `="123"`, which keeps a spreadsheet from counting with it."""
    return cell.strip('=" \t\r\n')


def _bill_fen(yuan: str) -> int:
    """A cell such as "-0.1" in fen. Raises ValueError."""
    found = _YUAN.fullmatch(yuan)
    if found is None:
        raise ValueError("not an amount in yuan")
    fen = int(found[2]) * 100 + int((found[3] or "").ljust(2, "0"))
    return -fen if found[1] else fen


def _private_key(given: str) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(_pem(given, secret=True), password=None)
    except (ValueError, TypeError) as error:
        raise BadInput("The private key for JD Pay is not PEM.") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadInput("The private key for JD Pay is not an RSA key.")
    return key


def _public_key(given: str) -> rsa.RSAPublicKey:
    """Of any length: the firm's own has 1024 bits."""
    try:
        key = load_pem_public_key(_pem(given, secret=False))
    except ValueError as error:
        raise BadInput("JD Pay's public key is not PEM.") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadInput("JD Pay's public key is not an RSA key.")
    return key


def _des_key(given: str) -> bytes:
    try:
        key = base64.b64decode(given.strip(), validate=True)
    except ValueError as error:
        raise BadInput("The 3DES key for JD Pay is not base64.") from error
    if len(key) != 24:
        raise BadInput("The 3DES key for JD Pay does not have 24 bytes.")
    return key


def _pem(given: str, *, secret: bool) -> bytes:
    """The key itself, or what stands in the file that is named."""
    if "-----BEGIN" in given:
        return given.strip().encode()
    path = Path(given.strip()).expanduser()
    try:
        if secret and path.stat().st_mode & 0o007:
            raise BadInput(f"Everybody on this machine can read {path}; chmod 600 it.")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"The key file {path} cannot be read.") from error
