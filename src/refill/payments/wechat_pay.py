"""The payment method `wechat_pay`: QR, H5, in-app and till payments, queries, refunds, notices and bills of API v3.

Sources: WeChat Pay, merchant documentation v3: "Signing and verifying" (WECHATPAY2-SHA256-RSA2048 = RSASSA-PKCS1-v1_5 with
SHA-256), "Notices" (AEAD_AES_256_GCM, RFC 5116), `/v3/pay/transactions/*`, `/v3/refund/domestic/refunds`, 交易账单; WeChat
Official Accounts, "Web authorisation" (网页授权, snsapi_base).
"""

import base64
import contextlib
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from io import BytesIO, TextIOWrapper
from operator import add, itemgetter
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from urllib.parse import quote, urlencode

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificates

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

NAME = "wechat_pay"
GATEWAY = "https://api.mch.weixin.qq.com"
AUTHORIZE = "https://open.weixin.qq.com/connect/oauth2/authorize"
WEB_API = "https://api.weixin.qq.com"
SCHEME = "WECHATPAY2-SHA256-RSA2048"
CHINA = timezone(timedelta(hours=8))  # every time on WeChat Pay's wire and in its bills
FRESH = timedelta(minutes=5)
MAX_ANSWER = 1 << 20
MAX_NOTICE = 1 << 16
MAX_BILL_ZIP = 256 << 20

# Their words that are a definite no, by call. A word that is not in the table is not a no.
_STATE = "state"  # the trade or refund is not in the state that the call needs: which one, only a query tells
_USERPAYING = "the person is typing a password"
_REFUSES_BEGIN = {
    "ORDER_CLOSED": Refused(CLOSED),
    "OUT_TRADE_NO_USED": Refused(_STATE),
    "PARAM_ERROR": Refused("WeChat Pay refuses these particulars"),
    "INVALID_REQUEST": Refused("WeChat Pay refuses these particulars"),
    "APPID_MCHID_NOT_MATCH": Refused("our application is not bound to our merchant number"),
    "MCH_NOT_EXISTS": Refused("WeChat Pay does not know our merchant number"),
    "NO_AUTH": Refused("this product is not open to our account"),
    "RULE_LIMIT": Refused("WeChat Pay's rules do not allow this payment"),
}
# A till's payment is charged at once, so fewer words are certain that nothing was taken.
_REFUSES_CODE = {
    "USERPAYING": Refused(_USERPAYING, final=False),
    "AUTH_CODE_EXPIRED": Refused("the payment code has expired; ask for a fresh one"),
    "AUTH_CODE_INVALID": Refused("this is not a payment code of WeChat"),
    "AUTH_CODE_ERROR": Refused("this is not a payment code of WeChat"),
    "NOT_ENOUGH": Refused("the person's account holds too little"),
    "ACCOUNT_ERROR": Refused("the person's account cannot pay"),
    "PARAM_ERROR": Refused("WeChat Pay refuses these particulars"),
    "APPID_MCHID_NOT_MATCH": Refused("our application is not bound to our merchant number"),
    "MCH_NOT_EXISTS": Refused("WeChat Pay does not know our merchant number"),
    "NO_AUTH": Refused("this product is not open to our account"),
}
_REFUSES_QUERY = {"ORDER_NOT_EXIST": Refused(ABSENT), "ORDERNOTEXIST": Refused(ABSENT)}
_REFUSES_CLOSE = {
    **_REFUSES_QUERY,
    "ORDER_CLOSED": Refused(_STATE),
    "TRADE_ERROR": Refused(_STATE),
    "INVALID_REQUEST": Refused(_STATE),
}
_REFUSES_REFUND = {
    "RESOURCE_NOT_EXISTS": Refused(ABSENT),
    "INVALID_REQUEST": Refused(_STATE),  # paid back already, perhaps by our own first asking
    "PARAM_ERROR": Refused(_STATE),  # also said of a number that was used with another amount
    "USER_ACCOUNT_ABNORMAL": Refused("the payer's account at WeChat cannot take money"),
    "NO_AUTH": Refused("our account may not refund this payment"),
    "MCH_NOT_EXISTS": Refused("WeChat Pay does not know our merchant number"),
    "NOT_ENOUGH": Refused("our account at WeChat Pay holds too little", final=False),
}
_REFUSES_QUERY_REFUND = {"RESOURCE_NOT_EXISTS": Refused(ABSENT, final=False)}
_REFUSES_BILL = {
    "NO_STATEMENT_EXIST": Refused(ABSENT, final=False),  # no trade on that day, or the bill is not made yet
    "STATEMENT_CREATING": Refused(ABSENT, final=False),
}
_REFUSES_WHO = {
    "40029": Refused("WeChat did not give this code", final=False),
    "40163": Refused("this code was used", final=False),
    "42003": Refused("this code has expired", final=False),
    "40013": Refused("WeChat does not know our application"),
    "40125": Refused("the secret is not our application's"),
}
# Documented words that mean "perhaps"; any other word means it too, and alarms.
_PERHAPS = {"SYSTEM_ERROR", "BANK_ERROR", "FREQUENCY_LIMITED", "INVALID_REQUEST", "OUT_TRADE_NO_USED"}

_PATH = {"qr": "native", "wap": "h5", "jsapi": "jsapi", "barcode": "codepay"}
_NEEDS = {"wap": "payer_ip", "jsapi": "openid", "barcode": "auth_code"}
_WAITS = {"NOTPAY", "USERPAYING", "ACCEPT"}
_OVER = {"CLOSED", "REVOKED", "PAYERROR"}
_TIME = re.compile(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})")
_STAMP = re.compile(r"[0-9]{1,10}")
_NONCE = re.compile(r"[!-~]{1,128}")  # no line end: the signed text is made of lines
_OPENID = re.compile(r"[0-9A-Za-z_-]{1,128}")
_NO_LETTER = re.compile(r"[\x00-\x1f\x7f]")

# A bill (交易账单, bill_type ALL): what its columns and its last lines are called.
_BILL_COLUMNS = (
    "交易时间",
    "商户号",
    "微信订单号",
    "商户订单号",
    "交易状态",
    "货币种类",
    "商户退款单号",
    "退款状态",
    "应结订单金额",
    "退款金额",
    "充值券退款金额",
    "手续费",
    "订单金额",
    "申请退款金额",
)
_BILL_REFUND_STATE, _BILL_AMOUNTS = 7, 6  # where the one stands; how many of the others end it, as the totals do
_BILL_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
_BILL_KINDS = {"SUCCESS": "payment", "REFUND": "refund", "REVOKED": "refund"}
_BILL_NUMBER = re.compile(r"[0-9A-Za-z_|*@-]{1,64}")
_BILL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_BILL_YUAN = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{2})0{0,3})?")  # a fee has five decimals, and whole fen
_BILL_LINE = 8192  # characters; a longer line is none of theirs


@dataclass(frozen=True, slots=True)
class Signer:
    """A key with which WeChat Pay signs. A platform certificate ends; a public key does not."""

    key: rsa.RSAPublicKey
    until: datetime | None = None


@dataclass(frozen=True)
class WechatPay:
    """WeChat Pay in mainland China, in yuan, for one merchant and one application.

    `signers` are theirs by serial number: `PUB_KEY_ID_…` or that of a platform certificate; both, while one gives way to
    the other. With a `public_key_id` they are asked to sign with that key.
    """

    mchid: str
    appid: str
    serial_no: str  # of our API certificate
    private_key: rsa.RSAPrivateKey = field(repr=False)  # ours
    api_v3_key: bytes = field(repr=False)  # 32 bytes, shared
    signers: Mapping[str, Signer] = field(repr=False, hash=False)
    public_key_id: str = ""
    gateway_url: str = GATEWAY
    notify_url: str = ""
    app_secret: str = field(default="", repr=False)  # of our application; without it nobody is asked who they are
    authorize_url: str = AUTHORIZE
    web_api_url: str = WEB_API
    timeout_s: float = 10.0

    name = NAME
    can = Can(barcode=True, statement=True, scenes=("qr", "wap", "jsapi", "barcode"))
    currencies = frozenset({"CNY"})

    async def begin(self, world: World, charge: Charge) -> Outcome[Invitation]:
        """A barcode is charged at once: `paid`, or `wait` while the person types a password."""
        if charge.amount.currency != "CNY":
            return Refused("WeChat Pay takes yuan only")
        if charge.expires_at <= world.now():
            return Refused(CLOSED)
        if charge.scene not in _PATH:
            return Refused(f"WeChat Pay has no scene {charge.scene!r}")
        if charge.scene in _NEEDS and not getattr(charge, _NEEDS[charge.scene]):
            return Refused(f"WeChat Pay needs {_NEEDS[charge.scene]} for the scene {charge.scene!r}", final=False)
        refusals = _REFUSES_CODE if charge.scene == "barcode" else _REFUSES_BEGIN
        path = f"/v3/pay/transactions/{_PATH[charge.scene]}"
        match await self._ask(world, "POST", path, refusals, self._order(charge)):
            case Done(said):
                return self._invitation(world, charge, said)
            case Refused(reason) if reason == _USERPAYING:
                return Done(Invitation("wait"))
            case Refused(reason, code) if reason == _STATE:
                match await self.query(world, charge.reference):
                    case Done():
                        return Refused(ALREADY_PAID, code)
                    case Refused(reason) if reason == WAITING:
                        return Refused("the reference was used for another payment", code)
                    case known:
                        return known
            case Unknown(why) if why == NOT_SENT:
                return Refused(NOT_SENT, final=False)
            case no:
                return no

    async def query(self, world: World, reference: str) -> Outcome[Capture]:
        path = f"{_trade(reference)}?{urlencode({'mchid': self.mchid})}"
        match await self._ask(world, "GET", path, _REFUSES_QUERY):
            case Done(said):
                return self._what_became(said, reference, world.now())
            case no:
                return no

    async def close(self, world: World, reference: str) -> Outcome[str]:
        match await self._ask(world, "POST", f"{_trade(reference)}/close", _REFUSES_CLOSE, {"mchid": self.mchid}):
            case Done():
                return Done(reference)
            case Refused(reason, code) if reason == _STATE:
                match await self.query(world, reference):
                    case Done():
                        return Refused(ALREADY_PAID, code)
                    case Refused(reason) if reason == CLOSED:
                        return Done(reference)
                    case _:
                        return Unknown("WeChat Pay can neither close this payment nor tell its state.")
            case no:
                return no

    async def refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        """Done only when they say SUCCESS; while they say PROCESSING it is unknown, and asked about."""
        named = {"transaction_id": ask.transaction} if ask.transaction else {"out_trade_no": ask.reference}
        content = {
            **named,
            "out_refund_no": ask.request_id,
            "reason": _clean(ask.reason)[:80],
            "amount": {"refund": ask.amount.minor, "total": ask.captured.minor, "currency": ask.amount.currency},
            **({"notify_url": self.notify_url} if self.notify_url else {}),
        }
        match await self._ask(world, "POST", "/v3/refund/domestic/refunds", _REFUSES_REFUND, content):
            case Done(said):
                return _what_became_of_refund(said, ask)
            case Refused(reason, code) if reason == _STATE:
                # What stands in the way may be our own first asking, whose answer was lost.
                match await self.query_refund(world, ask):
                    case Refused(reason) if reason == ABSENT:
                        return Refused("WeChat Pay cannot refund this payment in its state", code)
                    case known:
                        return known
            case no:
                return no

    async def query_refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        """ABSENT means "not yet, as far as they know": asking again under the same request_id is safe at any time."""
        path = f"/v3/refund/domestic/refunds/{quote(ask.request_id, safe='')}"
        match await self._ask(world, "GET", path, _REFUSES_QUERY_REFUND):
            case Done(said):
                return _what_became_of_refund(said, ask)
            case no:
                return no

    def read_notice(self, raw: RawNotice) -> Notice:
        try:
            if len(raw.body) > MAX_NOTICE:
                raise ValueError("it is too long")
            signed_at = self._signed_at(raw.headers, raw.body, raw.received_at)
            said = _members(raw.body)
            resource = self._opened(said)
        except (ValueError, RecursionError) as error:
            raise NotVerified(f"The notice cannot be believed: {error}."[:200]) from error
        event = _text(said, "event_type")
        # A refund's notice names no application.
        ours = resource.get("appid") == self.appid or (event.startswith("REFUND.") and "appid" not in resource)
        if resource.get("mchid") != self.mchid or not ours:
            raise NotVerified("The notice is meant for another merchant or application.")
        id_, reference, made_at = _text(said, "id"), _text(resource, "out_trade_no"), _time(said.get("create_time"))
        if not id_ or not reference or made_at is None:
            raise NotVerified("The notice has no id, reference or time.")
        return Notice(
            id=id_,
            reference=reference,
            capture=self._captured(resource, reference) if event == "TRANSACTION.SUCCESS" else None,
            # They repeat a notice for a day, signed anew, so an old one is no forgery; but what it says may be past.
            fresh=all(abs(raw.received_at - at) <= FRESH for at in (signed_at, made_at)),
        )

    def acknowledge(self, accepted: bool) -> tuple[int, bytes]:
        return (204, b"") if accepted else (500, b'{"code":"FAIL","message":"later"}')

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        """The rows of a day's bill (交易账单, bill_type ALL): as text or packed with gzip. `file` can be sought in.

        Source: WeChat Pay, "Downloading bills" (下载交易账单). The amount is that of the order; the fee (手续费) is
        negative where a refund gives it back.
        """
        with _opened_bill(file) as lines:
            yield from _bill_rows(lines, self.mchid)

    async def fetch_statement(self, world: World, day: date) -> Outcome[bytes]:
        """The bill of a day in China, packed, from about 10:00 of the next.

        The file itself is not signed, but its hash is: what arrives must have it. Source: WeChat Pay, "Applying for a
        trade bill" (申请交易账单).
        """
        asked = urlencode({"bill_date": day.isoformat(), "bill_type": "ALL", "tar_type": "GZIP"})
        match await self._ask(world, "GET", f"/v3/bill/tradebill?{asked}", _REFUSES_BILL):
            case Done(said) if _text(said, "download_url").startswith(f"{self.gateway_url}/"):
                path = _text(said, "download_url").removeprefix(self.gateway_url)
            case Done():
                return Unknown("WeChat Pay names no address of the bill.", "NO_ADDRESS")
            case no:
                return no
        ask = Request("GET", self.gateway_url + path, self._headers(world, "GET", path, b""), b"", 120, MAX_BILL_ZIP)
        try:
            bill = await call(world, ask)
        except (NotSent, NoAnswer):
            return Unknown("WeChat Pay's bill did not arrive.")
        if bill.status != 200 or _sha1(bill.body) != said.get("hash_value") or said.get("hash_type") != "SHA1":
            return Unknown("WeChat Pay's bill did not arrive whole.", f"HTTP_{bill.status}")
        return Done(bill.body)

    # Who a person is, asked inside WeChat

    @property
    def asks_who(self) -> bool:
        return bool(self.app_secret)

    def who_url(self, return_url: str, state: str) -> str:
        """WeChat asks the person nothing (snsapi_base). It reads the fields in this order."""
        asked = {
            "appid": self.appid,
            "redirect_uri": return_url,
            "response_type": "code",
            "scope": "snsapi_base",
            "state": state,
        }
        return f"{self.authorize_url}?{urlencode(asked)}#wechat_redirect"

    async def who(self, world: World, code: str) -> Outcome[str]:
        """Not signed, but over TLS from them, and no money hangs on it. They want the secret in the address: log none."""
        asked = {"appid": self.appid, "secret": self.app_secret, "code": code, "grant_type": "authorization_code"}
        address = f"{self.web_api_url}/sns/oauth2/access_token?{urlencode(asked)}"
        try:
            response = await call(world, Request("GET", address, timeout_s=self.timeout_s))
            said = _members(response.body) if len(response.body) <= MAX_ANSWER else {}
        except NotSent:
            return Refused(NOT_SENT, final=False)
        except NoAnswer:
            return Unknown("WeChat did not answer.")
        except (ValueError, RecursionError):
            return Unknown("WeChat's answer cannot be read.")
        if _OPENID.fullmatch(openid := _text(said, "openid")):
            return Done(openid)
        word = str(said.get("errcode"))[:64]
        if word in _REFUSES_WHO:
            return Refused(_REFUSES_WHO[word].reason, word, _REFUSES_WHO[word].final)
        return Unknown("WeChat does not say who the person is.", word)

    # What we ask

    def _order(self, charge: Charge) -> dict[str, Any]:
        content: dict[str, Any] = {
            "appid": self.appid,
            "mchid": self.mchid,
            "description": _clean(charge.subject)[:127],
            "out_trade_no": charge.reference,
            "amount": {"total": charge.amount.minor, "currency": charge.amount.currency},
        }
        if charge.scene == "barcode":  # charged now: no time of expiry, no notice
            payer = {"auth_code": charge.auth_code}
            return {**content, "payer": payer, "scene_info": {"store_info": {"out_id": "refill"}}}
        content["time_expire"] = charge.expires_at.astimezone(CHINA).isoformat(timespec="seconds")  # cut, never later
        content["notify_url"] = charge.notify_url or self.notify_url
        if charge.scene == "wap":
            content["scene_info"] = {"payer_client_ip": charge.payer_ip, "h5_info": {"type": "Wap"}}
        if charge.scene == "jsapi":
            content["payer"] = {"openid": charge.openid}
        return content

    def _invitation(self, world: World, charge: Charge, said: dict[str, Any]) -> Outcome[Invitation]:
        if charge.scene == "barcode":
            match self._what_became(said, charge.reference, world.now()):
                case Done():
                    return Done(Invitation("paid"))
                case Refused(reason) if reason == WAITING:
                    return Done(Invitation("wait"))
                case no:
                    return no
        word = _text(said, {"qr": "code_url", "wap": "h5_url", "jsapi": "prepay_id"}[charge.scene])
        if not word:
            return Unknown("WeChat Pay does not say where to pay.", "NO_PLACE")
        if charge.scene == "jsapi":
            return Done(Invitation("bridge", bridge=self._bridge(world, word)))
        if charge.scene == "wap":
            back = f"&{urlencode({'redirect_url': charge.return_url})}" if charge.return_url else ""
            return Done(Invitation("redirect", word + back))
        return Done(Invitation("qr", word))

    def _bridge(self, world: World, prepay_id: str) -> dict[str, str]:
        """What the page hands to WeixinJSBridge as getBrandWCPayRequest, signed by us."""
        at, nonce, package = str(int(world.now().timestamp())), _nonce(world), f"prepay_id={prepay_id}"
        return {
            "appId": self.appid,
            "timeStamp": at,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": _sign(self.private_key, f"{self.appid}\n{at}\n{nonce}\n{package}\n".encode()),
        }

    async def _ask(
        self, world: World, verb: str, path: str, no: Mapping[str, Refused], content: Mapping[str, Any] | None = None
    ) -> Outcome[dict[str, Any]]:
        """Done(what they said) only for a signed 2xx; Refused only by the call's table, signed too; else Unknown."""
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() if content is not None else b""
        headers = self._headers(world, verb, path, body)
        try:
            response = await call(world, Request(verb, self.gateway_url + path, headers, body, self.timeout_s))
        except NotSent:
            return Unknown(NOT_SENT)
        except NoAnswer:
            return Unknown("WeChat Pay did not answer.")
        try:
            said = self._believed(response, world.now())
        except (ValueError, RecursionError) as error:
            return Unknown(f"WeChat Pay's answer cannot be believed: {error}"[:200])
        if 200 <= response.status < 300 and "code" not in said:  # 202 comes with a code
            return Done(said)
        word = str(said.get("code"))[:64]
        if word in no:
            return Refused(no[word].reason, word, no[word].final)
        return Unknown("WeChat Pay does not say what became of it.", "" if word in _PERHAPS else word)

    def _headers(self, world: World, verb: str, path: str, body: bytes) -> dict[str, str]:
        at, nonce = str(int(world.now().timestamp())), _nonce(world)
        signature = _sign(self.private_key, f"{verb}\n{path}\n{at}\n{nonce}\n".encode() + body + b"\n")
        proof = {
            "mchid": self.mchid,
            "nonce_str": nonce,
            "timestamp": at,
            "serial_no": self.serial_no,
            "signature": signature,
        }
        return {
            "accept": "application/json",
            "content-type": "application/json",
            "user-agent": "refill",  # without one they refuse the request
            "authorization": f"{SCHEME} " + ",".join(f'{name}="{value}"' for name, value in proof.items()),
            **({"wechatpay-serial": self.public_key_id} if self.public_key_id else {}),
        }

    # What we believe

    def _believed(self, response: Response, now: datetime) -> dict[str, Any]:
        """The object that they signed just now. Raises ValueError."""
        if len(response.body) > MAX_ANSWER:
            raise ValueError("it is too long")
        if abs(now - self._signed_at(response.headers, response.body, now)) > FRESH:
            raise ValueError("it was signed at another time")
        return _members(response.body) if response.body else {}

    def _signed_at(self, headers: Mapping[str, str], body: bytes, now: datetime) -> datetime:
        """When they signed these bytes. Raises ValueError when they did not."""
        at, nonce, serial, signature = (
            headers.get(f"wechatpay-{name}", "") for name in ("timestamp", "nonce", "serial", "signature")
        )
        if headers.get("wechatpay-signature-type", SCHEME) != SCHEME:
            raise ValueError("it is signed in a way that we do not accept")
        if not _STAMP.fullmatch(at) or not _NONCE.fullmatch(nonce):
            raise ValueError("it does not say when it was signed")
        signer = self.signers.get(_serial(serial))
        if signer is None or (signer.until is not None and now > signer.until):
            raise ValueError("it is signed with a key that we do not know, or no longer accept")
        try:
            message = f"{at}\n{nonce}\n".encode() + body + b"\n"
            signer.key.verify(base64.b64decode(signature, validate=True), message, PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise ValueError("its signature does not hold") from error
        return datetime.fromtimestamp(int(at), UTC)

    def _opened(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The notice's content, decrypted. Raises ValueError."""
        sealed = said.get("resource")
        if not isinstance(sealed, dict) or sealed.get("algorithm") != "AEAD_AES_256_GCM":
            raise ValueError("its content is not sealed as agreed")
        ciphertext = base64.b64decode(_text(sealed, "ciphertext"), validate=True)
        nonce, more = _text(sealed, "nonce").encode(), _text(sealed, "associated_data").encode()
        try:
            return _members(AESGCM(self.api_v3_key).decrypt(nonce, ciphertext, more))
        except InvalidTag as error:
            raise ValueError("its content is not sealed with our key") from error

    def _captured(self, said: Mapping[str, Any], reference: str) -> Capture | None:
        """The payment of which a notice speaks, or None when it speaks of something else: then a query tells."""
        paid_at, transaction = _time(said.get("success_time")), _text(said, "transaction_id")
        if said.get("trade_state") != "SUCCESS" or paid_at is None or not transaction:
            return None
        try:
            return Capture(NAME, self.mchid, transaction, reference, _yuan(said.get("amount"), "total"), paid_at)
        except NotAnAmount as error:
            raise NotVerified("The notice names no amount in yuan.") from error

    def _what_became(self, said: dict[str, Any], reference: str, now: datetime) -> Outcome[Capture]:
        if said.get("out_trade_no") != reference:
            return Unknown("WeChat Pay's answer is about another payment.", "OTHER_TRADE")
        if said.get("mchid") != self.mchid or said.get("appid") != self.appid:
            return Unknown("WeChat Pay's answer is about another merchant or application.", "OTHER_MERCHANT")
        state, paid_at = said.get("trade_state"), _time(said.get("success_time"))
        if state in _WAITS:
            return Refused(WAITING, final=False)
        if state in _OVER and paid_at is None:
            return Refused(CLOSED)  # with a time of payment it was paid first and given back later
        if state not in ("SUCCESS", "REFUND", *_OVER):
            return Unknown("WeChat Pay names a state that we do not know.", str(state)[:64])
        try:
            paid = _yuan(said.get("amount"), "total")
        except NotAnAmount:
            return Unknown("WeChat Pay names no amount in yuan.", "NO_AMOUNT")
        transaction = _text(said, "transaction_id")
        if not transaction:
            return Unknown("WeChat Pay names no transaction.", "NO_TRANSACTION")
        return Done(Capture(NAME, self.mchid, transaction, reference, paid, paid_at or now))


def _what_became_of_refund(said: Mapping[str, Any], ask: RefundAsk) -> Outcome[str]:
    if said.get("out_refund_no") != ask.request_id or said.get("out_trade_no") != ask.reference:
        return Unknown("WeChat Pay's answer is about another refund.", "OTHER_REFUND")
    try:
        same = _yuan(said.get("amount"), "refund") == ask.amount
    except NotAnAmount:
        same = False
    if not same:
        return Unknown("WeChat Pay refunded another amount under this number.", "OTHER_AMOUNT")
    match said.get("status"):
        case "SUCCESS":
            return Done(_text(said, "refund_id") or ask.request_id)
        case "PROCESSING":
            return Unknown("WeChat Pay is still working on the refund.")
        case "CLOSED":
            return Refused("WeChat Pay gave the refund up; no money went back", "CLOSED")
        case other:  # ABNORMAL: the payer's bank sent it back to them, and a person must decide in their console
            return Unknown("The refund is stuck at WeChat Pay.", str(other)[:64])


SETTINGS = {
    "wechat_pay_mchid": PortSetting("text", "our merchant number at WeChat Pay"),
    "wechat_pay_appid": PortSetting("text", "our application at WeChat; a notice for another one is not believed"),
    "wechat_pay_serial_no": PortSetting("text", "serial number of our API certificate"),
    "wechat_pay_private_key_file": PortSetting("secret_file", "the certificate's RSA key as PEM, readable by us alone"),
    "wechat_pay_api_v3_key": PortSetting("secret", "the APIv3 key of 32 characters, with which notices are sealed"),
    "wechat_pay_public_key_id": PortSetting("text", "PUB_KEY_ID_… of WeChat Pay's public key"),
    "wechat_pay_public_key_file": PortSetting("file", "WeChat Pay's public key as PEM"),
    "wechat_pay_certificates_file": PortSetting(
        "file", "platform certificates as PEM, where there is no public key yet"
    ),
    "wechat_pay_app_secret": PortSetting(
        "secret", "AppSecret of our application; with it people pay inside WeChat without a code to scan"
    ),
    "wechat_pay_gateway": PortSetting("url", "address of the gateway; not set: the real one"),
    "wechat_pay_authorize_url": PortSetting("url", "where WeChat tells who a person is; not set: the real one"),
    "wechat_pay_web_api": PortSetting("url", "address of WeChat's web interface; not set: the real one"),
    "wechat_pay_notify_url": PortSetting("url", "where notices go, when not to our public address"),
}


def from_settings(settings: Mapping[str, str]) -> Method | None:
    """WeChat Pay, if `wechat_pay_mchid` is set; raises BadInput when one of what it needs beside that is missing.

    Their signatures are checked with the public key, with the platform certificates, or with either while both are set.
    A file may also be given as the PEM text that stands in it.
    """
    if not settings.get("wechat_pay_mchid"):
        return None
    public_key_id = settings.get("wechat_pay_public_key_id") or ""
    certificates = settings.get("wechat_pay_certificates_file") or ""
    needed = ["wechat_pay_appid", "wechat_pay_serial_no", "wechat_pay_private_key_file", "wechat_pay_api_v3_key"]
    if public_key_id or not certificates:
        needed += ["wechat_pay_public_key_id", "wechat_pay_public_key_file"]
    for name in needed:
        if not settings.get(name):
            raise BadInput(f"The setting {name} is missing; WeChat Pay needs it beside wechat_pay_mchid.")
    signers = _certificates(certificates) if certificates else {}
    if public_key_id:
        signers[_serial(public_key_id)] = Signer(_public_key(settings["wechat_pay_public_key_file"]))
    return WechatPay(
        mchid=settings["wechat_pay_mchid"],
        appid=settings["wechat_pay_appid"],
        serial_no=settings["wechat_pay_serial_no"],
        private_key=_private_key(settings["wechat_pay_private_key_file"]),
        api_v3_key=_api_v3_key(settings["wechat_pay_api_v3_key"]),
        signers=signers,
        public_key_id=public_key_id,
        gateway_url=(settings.get("wechat_pay_gateway") or GATEWAY).rstrip("/"),
        notify_url=settings.get("wechat_pay_notify_url") or "",
        app_secret=settings.get("wechat_pay_app_secret") or "",
        authorize_url=settings.get("wechat_pay_authorize_url") or AUTHORIZE,
        web_api_url=(settings.get("wechat_pay_web_api") or WEB_API).rstrip("/"),
    )


def sign_notice(
    key: rsa.RSAPrivateKey, serial: str, api_v3_key: bytes, said: Mapping[str, Any], resource: object, at: datetime
) -> RawNotice:
    """A notice as the gateway would seal, sign and send it, arriving at once; for examples and tests."""
    nonce, more = "0123456789ab", "transaction"
    sealed = AESGCM(api_v3_key).encrypt(nonce.encode(), json.dumps(resource).encode(), more.encode())
    envelope = {
        "algorithm": "AEAD_AES_256_GCM",
        "original_type": more,
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": more,
        "nonce": nonce,
    }
    body = json.dumps({"resource_type": "encrypt-resource", "resource": envelope, **said}).encode()
    return RawNotice(body, signed_headers(key, serial, body, at), at)


def signed_headers(key: rsa.RSAPrivateKey, serial: str, body: bytes, at: datetime) -> dict[str, str]:
    """The headers with which the gateway signs an answer or a notice; for examples and tests."""
    stamp, nonce = str(int(at.timestamp())), "c5ac7061fccab6bf3e254dcf98995b8c"
    return {
        "wechatpay-timestamp": stamp,
        "wechatpay-nonce": nonce,
        "wechatpay-serial": serial,
        "wechatpay-signature": _sign(key, f"{stamp}\n{nonce}\n".encode() + body + b"\n"),
        "wechatpay-signature-type": SCHEME,
    }


def EXAMPLES() -> tuple[Method, list[Example]]:
    """A method with throw-away keys, and what arrives for it."""
    ours, theirs = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
    serial, shared = "PUB_KEY_ID_0000000000002026112200000000000001", b"0123456789abcdef0123456789abcdef"
    method = WechatPay(
        "1900000001", "wx0000000000000001", "5F", ours, shared, {serial: Signer(theirs.public_key())}, serial
    )
    now = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    arrived = {"id": "EV-2026112210000000001", "create_time": "2026-11-22T10:00:00+08:00"}
    paid: dict[str, Any] = {
        "mchid": method.mchid,
        "appid": method.appid,
        "out_trade_no": "pay_1",
        "transaction_id": "4200000000202611220000000001",
        "trade_type": "NATIVE",
        "trade_state": "SUCCESS",
        "success_time": "2026-11-22T09:59:58+08:00",
        "payer": {"openid": "o-of-nobody"},
        "amount": {"total": 4980, "payer_total": 4980, "currency": "CNY", "payer_currency": "CNY"},
    }
    refunded = {
        "mchid": method.mchid,
        "out_trade_no": "pay_1",
        "out_refund_no": "rf_1",
        "refund_status": "SUCCESS",
        "amount": {"total": 4980, "refund": 980, "payer_total": 4980, "payer_refund": 980},
    }

    def told(
        resource: object, event: str = "TRANSACTION.SUCCESS", key: Any = theirs, seal: bytes = shared
    ) -> RawNotice:
        return sign_notice(key, serial, seal, {**arrived, "event_type": event}, resource, now)

    whole = told(paid)
    return method, [
        Example("money arrived", whole, "capture"),
        Example("its time was changed on the way", replace(whole, body=whole.body.replace(b"10:00", b"10:01")), "not_verified"),
        Example("signed by somebody else", told(paid, key=ours), "not_verified"),
        Example("sealed with another key", told(paid, seal=shared[::-1]), "not_verified"),
        Example("for another merchant", told({**paid, "mchid": "1900000002"}), "not_verified"),
        Example("for another application", told({**paid, "appid": "wx0000000000000002"}), "not_verified"),
        Example("in another currency", told({**paid, "amount": {"total": 4980, "currency": "USD"}}), "not_verified"),
        Example("the same notice, a day later", replace(whole, received_at=now + timedelta(days=1)), "stale"),
        Example("a part was refunded", told(refunded, "REFUND.SUCCESS"), "other"),
        Example("a refund is stuck", told({**refunded, "refund_status": "ABNORMAL"}, "REFUND.ABNORMAL"), "other"),
    ]  # fmt: skip


def _sign(key: rsa.RSAPrivateKey, message: bytes) -> str:
    return base64.b64encode(key.sign(message, PKCS1v15(), SHA256())).decode()


def _nonce(world: World) -> str:
    return f"{world.chance(128):032x}"


def _trade(reference: str) -> str:
    return f"/v3/pay/transactions/out-trade-no/{quote(reference, safe='')}"


def _serial(text: str) -> str:
    """One spelling of a serial number: certificates are written with or without leading zeros, in either case."""
    return text.upper().lstrip("0")


def _clean(text: str) -> str:
    return _NO_LETTER.sub(" ", text.encode("utf-8", "replace").decode())


def _members(body: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 that can be read in one way only. Raises ValueError."""
    said = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    if not isinstance(said, dict):
        raise ValueError("it is not a JSON object")
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it names a member twice")
    return members


def _no_number(text: str) -> float:
    raise ValueError("it holds what is no number")


def _yuan(said: object, name: str) -> Money:
    """`total` or `refund` of an amount, in whole fen. Raises NotAnAmount."""
    fen = said.get(name) if isinstance(said, dict) else None
    currency = said.get("currency", "CNY") if isinstance(said, dict) else None
    if currency != "CNY" or type(fen) is not int or not 0 < fen <= MAX_MINOR:
        raise NotAnAmount("WeChat Pay names an amount in yuan as whole fen.")
    return Money(fen, "CNY")


def _time(text: object) -> datetime | None:
    """RFC 3339, with seconds and a zone; None for everything else."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


# Keys


def _private_key(given: str) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(_pem(given), password=None)
    except (ValueError, TypeError) as error:
        raise BadInput("The private key for WeChat Pay is not an RSA key in PEM.") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise BadInput("The private key for WeChat Pay is not an RSA key of 2048 bits or more.")
    return key


def _public_key(given: str) -> rsa.RSAPublicKey:
    try:
        key = load_pem_public_key(_pem(given))
    except ValueError as error:
        raise BadInput("WeChat Pay's public key is not an RSA key in PEM.") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise BadInput("WeChat Pay's public key is not an RSA key of 2048 bits or more.")
    return key


def _certificates(given: str) -> dict[str, Signer]:
    try:
        found = load_pem_x509_certificates(_pem(given))
    except ValueError as error:
        raise BadInput("WeChat Pay's platform certificates are not certificates in PEM.") from error
    if not all(isinstance(one.public_key(), rsa.RSAPublicKey) for one in found):
        raise BadInput("A platform certificate of WeChat Pay is not for an RSA key.")
    return {
        f"{one.serial_number:X}": Signer(cast(rsa.RSAPublicKey, one.public_key()), one.not_valid_after_utc)
        for one in found
    }


def _api_v3_key(given: str) -> bytes:
    if len(key := given.encode()) != 32:
        raise BadInput("The setting wechat_pay_api_v3_key has 32 characters: letters and digits.")
    return key


def _pem(given: str) -> bytes:
    """The PEM text itself, or what stands in the file that is named."""
    if "-----BEGIN" in given:
        return given.encode()
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise BadInput(f"The key file {given} cannot be read.") from error


# Bills


@contextlib.contextmanager
def _opened_bill(file: BinaryIO) -> Iterator[Iterator[str]]:
    """The lines of a bill, unpacked and decoded one at a time. Raises BadStatement."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    raw = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file
    text = TextIOWrapper(raw, encoding="utf-8-sig", newline="\n")
    try:
        yield iter(lambda: text.readline(_BILL_LINE), "")
    except UnicodeDecodeError as error:
        raise BadStatement("The bill is not written in UTF-8; take the file as WeChat Pay sends it.") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BadStatement("The packed bill is damaged; download it again.") from error
    finally:
        text.detach()  # the caller's file stays open


def _sha1(packed: bytes) -> str:
    """The hash of a packed bill's content, read in pieces; empty when it cannot be unpacked."""
    whole = hashlib.sha1(
        usedforsecurity=False
    )  # theirs; it finds what was lost on the way, and HTTPS keeps forgers out
    try:
        with gzip.GzipFile(fileobj=BytesIO(packed)) as content:
            while block := content.read(1 << 20):
                whole.update(block)
    except (gzip.BadGzipFile, zlib.error, EOFError):
        return ""
    return whole.hexdigest()


def _bill_rows(lines: Iterable[str], mchid: str) -> Iterator[StatementLine]:
    """Reads a bill to its totals. Raises BadStatement, naming the line, never what stands in it."""
    numbered = enumerate((line.rstrip("\r\n") for line in lines), 1)
    names = next(numbered, (1, ""))[1].split(",")
    if missing := [name for name in _BILL_COLUMNS if names.count(name) != 1]:
        raise BadStatement(f"The bill does not name the column {missing[0]} once; take the one of type ALL.")
    pick = itemgetter(*map(names.index, _BILL_COLUMNS))
    count, sums = 0, [0] * _BILL_AMOUNTS
    for n, line in numbered:
        if line == _BILL_TOTALS:
            told_count, *told = _bill_fields(next(numbered, (n, ""))[1])
            more = any(line for _, line in numbered)
            if more or told_count != str(count) or [_fen(text) for text in told] != sums:
                raise BadStatement("The totals of the bill are not the sums of its rows; nothing of it is taken.")
            return
        fields = _bill_fields(line)
        if len(fields) != len(names):
            raise BadStatement(f"Line {n} of the bill has {len(fields)} fields, not {len(names)}.")
        cells = pick(fields)
        amounts = [fen for text in cells[-_BILL_AMOUNTS:] if (fen := _fen(text)) is not None]
        row = _bill_row(cells, amounts, mchid) if len(amounts) == _BILL_AMOUNTS else None
        if row is None:
            raise BadStatement(f"Line {n} of the bill cannot be read: its state, its time, its money or a number.")
        count, sums = count + 1, list(map(add, sums, amounts))
        if cells[_BILL_REFUND_STATE] != "FAIL":  # a refund that failed moved no money
            yield row
    raise BadStatement("The bill ends before its totals; download it again.")


def _bill_fields(line: str) -> list[str]:
    """The cells of one line. Each begins with a backtick, so that a comma within a cell does not end it."""
    return line[1:].split(",`") if line.startswith("`") else [""]


def _bill_row(cells: tuple[str, ...], amounts: list[int], mchid: str) -> StatementLine | None:
    at, merchant, transaction, reference, state, currency, refund_no = cells[:_BILL_REFUND_STATE]
    *_, fee, ordered, refunded = amounts
    kind = _BILL_KINDS.get(state)
    if kind is None or merchant != mchid or currency != "CNY" or not _BILL_TIME.fullmatch(at):
        return None
    request_id, minor = (refund_no, refunded) if kind == "refund" else ("", ordered)
    numbers = (transaction, reference, request_id or reference)
    if minor <= 0 or not all(map(_BILL_NUMBER.fullmatch, numbers)):
        return None
    try:
        when = datetime.fromisoformat(f"{at}+08:00")
    except ValueError:
        return None
    return StatementLine(kind, reference, request_id, transaction, minor, fee, currency, when)


@lru_cache(1 << 14)
def _fen(text: str) -> int | None:
    """Yuan with two decimals, or five of which the last three are noughts, as fen; None for everything else."""
    found = _BILL_YUAN.fullmatch(text)
    if found is None:
        return None
    fen = int(found[2]) * 100 + int(found[3] or 0)
    return -fen if found[1] else fen
