"""WeChat Pay's end of the wire: API v3 with real signatures both ways and the page on which a person presses Pay.

Served by `refill simulator wechat_pay`; the seeded simulator calls `handle` directly in virtual time. What truly happened
stands in plain attributes: `captures`, `refunds`, `closed`; from another process, in the JSON of `GET /truth`.

A payment code at a till has 18 digits and begins with 10 to 15; its last digit decides: 1 the person types a password on
`/cashier/…`, 2 holds too little money, 3 has expired, anything else pays at once.

Inside WeChat it tells who a person is (`/connect/oauth2/authorize`, silently; another browser must first say that it is
WeChat) and plays the app around the page: `POST /bridge` with what a page hands to `getBrandWCPayRequest` pays, with
`?deed=leave` walks away, and answers as the app does.

Trouble, by `troubles.plan(name, times)` or `troubles.chances[name]`: for answers `slow`, `lost`, `html`, `truncated`,
`garbled`, `unsigned`, `error_before` and `error_after` (SYSTEM_ERROR with or without doing it), `broke` (our balance there
is too low for a refund), `slow_refund` (PROCESSING for ten minutes, not for three seconds); for notices `lose_notice`,
`double_notice`, `late_notice`, `forge_notice`; `short_paid` (a fen less is captured than was asked). From another process:
`POST /troubles` with `name=lose_notice&times=1`.
"""

import base64
import gzip
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from html import escape
from importlib.resources import files
from random import Random
from string import Template
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from refill.money import decimal_text
from refill.simulators.trouble import Keep, Post, Schedule, Sleep, Surroundings, Troubles, truth
from refill.world import NoAnswer, NotSent, Request, Response

SCHEME = "WECHATPAY2-SHA256-RSA2048"
CHINA = timezone(timedelta(hours=8))
# How the firm repeats a notice until it is answered 200 or 204, from its page on notices: 24 h 4 min in all.
REPEATS_S = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
DEFAULT_LIFE = timedelta(hours=2)
PASSWORD_LIFE = timedelta(seconds=60)  # how long a till waits for a password
REFUND_TAKES, SLOW_REFUND_TAKES = timedelta(seconds=3), timedelta(minutes=10)
FRESH = timedelta(minutes=5)
ADDRESS_LIVES = timedelta(minutes=5)  # of a bill
CODE_LIVES = timedelta(minutes=5)  # that tells who a person is
PERSON = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"  # whom our one application knows under this openid
FEE_PER_1000 = 6  # given back in proportion with a refund
BILL_COLUMNS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,"
    "费率,订单金额,申请退款金额,费率备注"
)
BILL_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
_SAYS = {
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "NOTPAY": "订单未支付",
    "CLOSED": "订单已关闭",
    "USERPAYING": "用户支付中",
    "PAYERROR": "支付失败",
}
_SHOWN = {
    "SUCCESS": "已付款 · Paid",
    "REFUND": "有退款 · Refunded",
    "NOTPAY": "待付款 · Waiting",
    "CLOSED": "已关闭 · Closed",
    "USERPAYING": "待密码 · Password",
    "PAYERROR": "未付成 · Failed",
}
_TRADE_TYPES = {"native": "NATIVE", "h5": "MWEB", "jsapi": "JSAPI", "codepay": "MICROPAY"}


class Captured(NamedTuple):
    """Money that a person truly paid."""

    reference: str  # the merchant's out_trade_no
    trade_no: str  # transaction_id
    amount_minor: int
    at: datetime


class Refunded(NamedTuple):
    """Money that truly went back, from the moment in which that can no longer be stopped."""

    reference: str
    request_id: str  # the merchant's out_refund_no
    amount_minor: int
    at: datetime


class BillRow(NamedTuple):
    """One row of a bill; the amount is below zero for a refund, the fee where it is given back."""

    transaction_id: str
    reference: str
    trade_type: str
    refund_id: str  # of a refund, else empty
    request_id: str  # of a refund, else empty
    description: str
    amount_minor: int
    fee_minor: int
    at: datetime


class Keys(NamedTuple):
    """What a merchant and the firm share and know of each other; keys and the certificate are PEM."""

    merchant_private: str
    merchant_public: str
    merchant_serial: str
    api_v3_key: str
    public_key_id: str
    wechat_private: str
    wechat_public: str
    certificate_private: str
    certificate: str


NAME = "wechat_pay"
PORT = 3
_MCHID, _APPID = "1900000001", "wx8888888888888888"  # of the merchant that `refill up` plays with


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this gateway."""
    keys = _kept_keys(keep)
    return {
        "wechat_pay_mchid": _MCHID,
        "wechat_pay_appid": _APPID,
        "wechat_pay_serial_no": keys.merchant_serial,
        "wechat_pay_private_key_file": keys.merchant_private,
        "wechat_pay_api_v3_key": keys.api_v3_key,
        "wechat_pay_public_key_id": keys.public_key_id,
        "wechat_pay_public_key_file": keys.wechat_public,
        "wechat_pay_app_secret": _kept_secret(keep),
        "wechat_pay_gateway": url,
        "wechat_pay_authorize_url": f"{url}/connect/oauth2/authorize",
        "wechat_pay_web_api": url,
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "WechatPaySimulator":
    """The gateway with the one merchant that `leads` speaks of; notices go where each charge says."""
    secret = _kept_secret(keep)
    return WechatPaySimulator(
        mchid=_MCHID, appid=_APPID, app_secret=secret, keys=_kept_keys(keep), base_url=url, **around
    )


def _kept_secret(keep: Keep) -> str:
    return keep("wechat-app-secret.txt", lambda: secrets.token_hex(16))


def _kept_keys(keep: Keep) -> Keys:
    """Made once, so that yesterday's orders still verify."""
    return Keys(**json.loads(keep("wechat-pay-simulator.json", lambda: json.dumps(make_keys()._asdict()))))


@dataclass
class Trade:
    """One trade as the gateway keeps it, from the moment in which it was asked for."""

    reference: str
    transaction_id: str
    token: str  # in the addresses of its pages, and its prepay_id
    trade_type: str
    amount_minor: int
    description: str
    expires_at: datetime
    notify_url: str
    made_at: datetime
    by_public_key: bool  # how its notices are signed: as the answers to whoever asked for it
    return_url: str = ""
    openid: str = ""  # who alone may pay it, when it was asked for inside WeChat
    paid_minor: int = 0
    paid_at: datetime | None = None
    closed_at: datetime | None = None
    failed: bool = False
    refunded_minor: int = 0

    def state(self, now: datetime) -> str:
        """An expired trade stays NOTPAY: it can no longer be paid, but only the merchant closes it."""
        if self.paid_at:
            return "REFUND" if self.refunded_minor else "SUCCESS"
        if self.closed_at:
            return "CLOSED"
        if self.trade_type != "MICROPAY":
            return "NOTPAY"
        return "PAYERROR" if self.failed or now >= self.expires_at else "USERPAYING"

    def payable(self, now: datetime) -> bool:
        """Can a person still pay it?"""
        return self.state(now) in ("NOTPAY", "USERPAYING") and now < self.expires_at


@dataclass(frozen=True)
class Refund:
    """One refund as the gateway keeps it."""

    trade: Trade
    request_id: str
    refund_id: str
    amount_minor: int
    made_at: datetime
    done_at: datetime

    def state(self, now: datetime) -> str:
        return "SUCCESS" if now >= self.done_at else "PROCESSING"


class WechatPaySimulator:
    """One gateway with one merchant. Who names the public key is answered under it, others under the certificate."""

    def __init__(
        self,
        *,
        mchid: str,
        appid: str,
        keys: Keys,
        app_secret: str = "",
        base_url: str,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
        chances: Mapping[str, float] | None = None,
    ) -> None:
        self.mchid, self.appid, self.base_url, self._keys = mchid, appid, base_url.rstrip("/"), keys
        self._app_secret = app_secret
        self._now, self._dice, self._schedule, self._post, self._sleep = now, dice, schedule, post, sleep
        self.troubles = Troubles(dice, chances)
        self.trades: dict[str, Trade] = {}
        self.captures: list[Captured] = []
        self.refunds: list[Refunded] = []
        self.closed: dict[str, datetime] = {}  # by the merchant
        self._refunds: dict[str, Refund] = {}  # by the merchant's number
        self._codes: dict[str, datetime] = {}  # that tell who a person is, and until when
        self._used_codes: set[str] = set()
        self._bills: dict[str, tuple[date, bool, datetime]] = {}  # by token: the day, packed or not, and until when

    # What a person does

    def pay(self, reference: str, amount_override: int | None = None) -> bool:
        """A person presses Pay. False when nobody can pay this trade (any more). `amount_override` is in fen."""
        trade, now = self.trades.get(reference), self._now()
        if trade is None or not trade.payable(now):
            return False
        paid = trade.amount_minor if amount_override is None else amount_override
        if amount_override is None and self.troubles.strikes("short_paid"):
            paid -= 1
        trade.paid_at, trade.paid_minor = now, paid
        self.captures.append(Captured(reference, trade.transaction_id, paid, now))
        self._announce(trade, trade.notify_url, "TRANSACTION.SUCCESS", "transaction", self._transaction(trade), 0.0)
        return True

    # The wire

    async def handle(self, request: Request) -> Response:
        """Answers one request, of the merchant or of a person's browser. Raises NoAnswer when the answer is lost."""
        parts = urlsplit(request.url)
        path, query = parts.path.removeprefix(urlsplit(self.base_url).path), dict(parse_qsl(parts.query))
        if path.startswith("/v3/"):
            return await self._api(request, path, parts.query)
        if (request.method, path) == ("POST", "/troubles"):
            return self.troubles.ordered(request.body)
        if (request.method, path) == ("GET", "/truth"):
            captures, refunds = [one._asdict() for one in self.captures], [one._asdict() for one in self.refunds]
            return truth(captures=captures, refunds=refunds, closed=self.closed)
        if path == "/connect/oauth2/authorize":
            return self._authorize(query, request.headers.get("user-agent", ""))
        if path == "/sns/oauth2/access_token":
            return self._access_token(query)
        if (request.method, path) == ("POST", "/bridge"):
            return self._bridge(request.body, query.get("deed", "pay"))
        if path == "/cgi-bin/mmpayweb-bin/checkmweb":
            return self._enter(query.get("prepay_id", ""), query.get("redirect_url", ""))
        match re.fullmatch(r"/(qr|cashier)/([0-9a-f]{32})(?:/(pay|refuse|leave))?", path):
            case re.Match() as found:
                return self._person(request.method, found[1], found[2], found[3] or "")
        match re.fullmatch(r"/bill/([0-9]{4}-[0-9]{2}-[0-9]{2})", path):
            case re.Match() as found if day := _day(found[1]):
                return Response(200, {"content-type": "text/csv; charset=utf-8"}, self.bill(day))
        return self._index() if path in ("", "/") else _page(404, "没有这个页面 · No such page", "")

    async def _api(self, request: Request, path: str, query: str) -> Response:
        by_public_key = request.headers.get("wechatpay-serial") == self._keys.public_key_id
        try:
            self._check(request, f"{path}?{query}" if query else path)
            content = _content(request.body)
        except _No as no:
            return Response(no.status, {"content-type": "application/json"}, json.dumps(no.said()).encode())  # unsigned
        said = dict(parse_qsl(query))
        match (request.method, *path.removeprefix("/v3/").split("/")):
            case "GET", "certificates":
                return self._signed(200, self._certificates(), by_public_key)
            case "GET", "bill", "tradebill":
                return self._told(lambda: (200, self._bill_address(said)), by_public_key)
            case "GET", "billdownload", "file":
                return self._download(said.get("token", ""))
            case "POST", "pay", "transactions", ("native" | "h5" | "jsapi" | "codepay") as product:
                return await self._troubled(lambda: (200, self._begin(product, content, by_public_key)), by_public_key)
            case "GET", "pay", "transactions", ("out-trade-no" | "id") as kind, number:
                return await self._troubled(lambda: (200, self._query(kind, number, said)), by_public_key)
            case "POST", "pay", "transactions", "out-trade-no", number, "close":
                return await self._troubled(lambda: (204, self._close(number, content)), by_public_key)
            case "POST", "refund", "domestic", "refunds":
                return await self._troubled(lambda: (200, self._refund(content)), by_public_key)
            case "GET", "refund", "domestic", "refunds", number:
                return await self._troubled(lambda: (200, self._query_refund(number)), by_public_key)
        return self._signed(404, _No(404, "RESOURCE_NOT_EXISTS", "无此接口").said(), by_public_key)

    def _check(self, request: Request, path: str) -> None:
        """Is the request signed by our merchant, just now? Raises _No."""
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        proof = dict(re.findall(r'([a-z_]+)="([^"]*)"', rest))
        stamp, nonce = proof.get("timestamp", ""), proof.get("nonce_str", "")
        if scheme != SCHEME or (proof.get("mchid"), proof.get("serial_no")) != (self.mchid, self._keys.merchant_serial):
            raise _No(401, "SIGN_ERROR", "商户号或商户证书序列号有误")
        if not re.fullmatch(r"[0-9]{1,10}", stamp) or abs(int(stamp) - self._now().timestamp()) > FRESH.total_seconds():
            raise _No(401, "SIGN_ERROR", "时间戳已过期")
        message = f"{request.method}\n{path}\n{stamp}\n{nonce}\n".encode() + request.body + b"\n"
        try:
            signature = base64.b64decode(proof.get("signature", ""))
            _public_key(self._keys.merchant_public).verify(signature, message, PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError) as error:
            raise _No(401, "SIGN_ERROR", "签名验证失败") from error

    def _told(self, work: Callable[[], tuple[int, dict[str, Any] | None]], by_public_key: bool) -> Response:
        try:
            status, said = work()
        except _No as no:
            status, said = no.status, no.said()
        return self._signed(status, said, by_public_key)

    async def _troubled(self, work: Callable[[], tuple[int, dict[str, Any] | None]], by_public_key: bool) -> Response:
        """The answer as it arrives, after everything that was asked for has been done: or nothing of it."""
        trouble = self.troubles.one_of(
            ("error_before", "error_after", "slow", "lost", "html", "truncated", "unsigned", "garbled")
        )
        answer = self._told(_system_error if trouble == "error_before" else work, by_public_key)
        match trouble:
            case "slow":
                await self._sleep(self._dice.uniform(3, 20))
            case "lost":
                raise NoAnswer("the answer was lost")
            case "html":
                return Response(200, {"content-type": "text/html"}, b"<html><body>502 Bad Gateway</body></html>")
            case "truncated":
                return replace(answer, body=answer.body[: len(answer.body) // 2])
            case "garbled":
                return replace(answer, body=answer.body + b" ")
            case "unsigned":
                return replace(answer, headers={"content-type": "application/json"})
            case "error_after":
                return self._told(_system_error, by_public_key)
        return answer

    # What the merchant asks for

    def _begin(self, product: str, content: dict[str, Any], by_public_key: bool) -> dict[str, Any]:
        trade = self._new_trade(product, content, by_public_key)
        address = f"{self.base_url}/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx{trade.token}&package=1"
        match product:
            case "native":
                return {
                    "code_url": f"{self.base_url}/qr/{trade.token}"
                }  # theirs is weixin://, for their own camera only
            case "h5":
                return {"h5_url": address}
            case "jsapi":
                return {"prepay_id": f"wx{trade.token}"}
        if not content["payer"]["auth_code"].endswith("1"):
            self.pay(trade.reference)
        return self._transaction(trade)

    def _new_trade(self, product: str, content: dict[str, Any], by_public_key: bool) -> Trade:
        now, kind = self._now(), _TRADE_TYPES[product]
        reference, description = str(content.get("out_trade_no") or ""), str(content.get("description") or "")
        if (content.get("mchid"), content.get("appid")) != (self.mchid, self.appid):
            raise _No(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")
        if not re.fullmatch(r"[0-9A-Za-z_|*-]{6,32}", reference) or not 0 < len(description) <= 127:
            raise _No(400, "PARAM_ERROR", "参数错误")
        asked, notify_url = _fen(content, "total"), _web(content.get("notify_url"))
        if product != "codepay" and not notify_url:
            raise _No(400, "PARAM_ERROR", "notify_url 必填")
        _check_payer(product, content)
        found = self.trades.get(reference)
        if found is not None:
            same = (found.amount_minor, found.description, found.trade_type) == (asked, description, kind)
            if found.closed_at:
                raise _No(400, "ORDER_CLOSED", "订单已关闭")
            if found.paid_at or product == "codepay" or not same:
                raise _No(403, "OUT_TRADE_NO_USED", "商户订单号重复")
            return found
        expires_at = now + PASSWORD_LIFE if product == "codepay" else _expiry(content, now)
        self.trades[reference] = Trade(
            reference,
            f"42000{now.astimezone(CHINA):%Y%m%d}{self._dice.randrange(10**15):015d}",
            f"{self._dice.getrandbits(128):032x}",
            kind,
            asked,
            description,
            expires_at,
            notify_url,
            now,
            by_public_key,
            openid=str(_object(content, "payer").get("openid") or ""),
        )
        return self.trades[reference]

    def _query(self, kind: str, number: str, said: dict[str, str]) -> dict[str, Any]:
        if said.get("mchid") != self.mchid:
            raise _No(400, "PARAM_ERROR", "mchid 有误")
        if kind == "id":
            paid = (trade for trade in self.trades.values() if trade.transaction_id == number and trade.paid_at)
            number = next((trade.reference for trade in paid), "")
        return self._transaction(self._found(number))

    def _close(self, number: str, content: dict[str, Any]) -> dict[str, Any] | None:
        trade, now = self._found(number), self._now()
        if content.get("mchid") != self.mchid:
            raise _No(400, "PARAM_ERROR", "mchid 有误")
        if trade.closed_at:
            raise _No(400, "ORDER_CLOSED", "订单已关闭")
        if trade.state(now) != "NOTPAY":
            raise _No(400, "INVALID_REQUEST", "订单已支付或不可关闭")
        trade.closed_at = self.closed[trade.reference] = now
        return None

    def _refund(self, content: dict[str, Any]) -> dict[str, Any]:
        now, request_id, asked = self._now(), str(content.get("out_refund_no") or ""), _fen(content, "refund")
        trade = self.trades.get(str(content.get("out_trade_no")))
        if number := content.get("transaction_id"):
            trade = next((one for one in self.trades.values() if one.transaction_id == number), None)
        if trade is None or not trade.paid_at:
            raise _No(404, "RESOURCE_NOT_EXISTS", "订单不存在")
        if not re.fullmatch(r"[0-9A-Za-z_|*@-]{1,64}", request_id):
            raise _No(400, "PARAM_ERROR", "out_refund_no 有误")
        before = self._refunds.get(request_id)
        if before is None:
            if _fen(content, "total") != trade.paid_minor or trade.refunded_minor + asked > trade.paid_minor:
                raise _No(400, "INVALID_REQUEST", "订单金额或退款金额有误")
            if self.troubles.strikes("broke"):
                raise _No(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起")
            takes = SLOW_REFUND_TAKES if self.troubles.strikes("slow_refund") else REFUND_TAKES
            refund_id = f"50300{now.astimezone(CHINA):%Y%m%d}{self._dice.randrange(10**15):015d}"
            before = self._refunds[request_id] = Refund(trade, request_id, refund_id, asked, now, now + takes)
            trade.refunded_minor += asked
            self.refunds.append(Refunded(trade.reference, request_id, asked, now))
            self._announce_refund(before, _web(content.get("notify_url")) or trade.notify_url)
        elif (before.trade, before.amount_minor) != (trade, asked):
            raise _No(400, "INVALID_REQUEST", "同一商户退款单号，请求参数不一致")
        return self._refund_told(before)

    def _query_refund(self, number: str) -> dict[str, Any]:
        if number not in self._refunds:
            raise _No(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
        return self._refund_told(self._refunds[number])

    def _found(self, reference: str) -> Trade:
        if reference not in self.trades:
            raise _No(404, "ORDER_NOT_EXIST", "订单不存在")
        return self.trades[reference]

    def _transaction(self, trade: Trade) -> dict[str, Any]:
        """What a query and a notice tell of a trade."""
        state = trade.state(self._now())
        total = trade.paid_minor or trade.amount_minor
        said: dict[str, Any] = {
            "appid": self.appid,
            "mchid": self.mchid,
            "out_trade_no": trade.reference,
            "trade_state": state,
            "trade_state_desc": _SAYS[state],
            "amount": {"total": total, "currency": "CNY"},
        }
        if trade.paid_at is None:
            return said
        said["amount"] |= {"payer_total": total, "payer_currency": "CNY"}
        return {
            **said,
            "transaction_id": trade.transaction_id,
            "trade_type": trade.trade_type,
            "bank_type": "OTHERS",
            "attach": "",
            "success_time": _rfc3339(trade.paid_at),
            "payer": {"openid": trade.openid or PERSON},
        }

    def _refund_told(self, refund: Refund) -> dict[str, Any]:
        state = refund.state(self._now())
        done = {"success_time": _rfc3339(refund.done_at)} if state == "SUCCESS" else {}
        return {
            "refund_id": refund.refund_id,
            "out_refund_no": refund.request_id,
            "transaction_id": refund.trade.transaction_id,
            "out_trade_no": refund.trade.reference,
            "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱",
            "create_time": _rfc3339(refund.made_at),
            "status": state,
            "funds_account": "AVAILABLE",
            "amount": {**_refund_amount(refund), "currency": "CNY"},
            **done,
        }

    def _certificates(self) -> dict[str, Any]:
        certificate = x509.load_pem_x509_certificate(self._keys.certificate.encode())
        sealed = self._sealed("certificate", self._keys.certificate.encode())
        return {
            "data": [
                {
                    "serial_no": f"{certificate.serial_number:X}",
                    "effective_time": _rfc3339(certificate.not_valid_before_utc),
                    "expire_time": _rfc3339(certificate.not_valid_after_utc),
                    "encrypt_certificate": sealed,
                }
            ]
        }

    # Bills

    def _bill_address(self, said: dict[str, str]) -> dict[str, Any]:
        day = _day(said.get("bill_date", ""))
        if day is None or said.get("bill_type", "ALL") != "ALL":
            raise _No(400, "PARAM_ERROR", "bill_date 或 bill_type 有误")
        if day >= self._now().astimezone(CHINA).date() or not self.bill_rows(day):
            raise _No(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        token = f"{self._dice.getrandbits(128):032x}"
        self._bills[token] = day, said.get("tar_type") == "GZIP", self._now() + ADDRESS_LIVES
        return {
            "hash_type": "SHA1",
            "hash_value": hashlib.sha1(self.bill(day), usedforsecurity=False).hexdigest(),
            "download_url": f"{self.base_url}/v3/billdownload/file?token={token}",
        }

    def _download(self, token: str) -> Response:
        """The file itself, which alone of all answers is not signed: its hash was."""
        day, packed, until = self._bills.get(token, (date.min, False, self._now()))
        if self._now() >= until:
            no = _No(404, "RESOURCE_NOT_EXISTS", "下载地址已失效")
            return Response(no.status, {"content-type": "application/json"}, json.dumps(no.said()).encode())
        content = self.bill(day)
        return Response(
            200, {"content-type": "application/octet-stream"}, gzip.compress(content, mtime=0) if packed else content
        )

    def bill(self, day: date) -> bytes:
        """A day's bill, also for the person who downloads it from the firm's pages."""
        return "".join(bill_lines(self.mchid, self.appid, self.bill_rows(day))).encode()

    def bill_rows(self, day: date) -> list[BillRow]:
        """What was paid and went back on a day in China, in the order in which it happened."""
        paid = [(self.trades[one.reference], None, one.amount_minor, one.at) for one in self.captures]
        back = [(one.trade, one, -one.amount_minor, one.made_at) for one in self._refunds.values()]
        rows = []
        for trade, refund, minor, at in sorted([*paid, *back], key=lambda row: row[3]):
            fee = (abs(minor) * FEE_PER_1000 + 500) // 1000 * (1 if minor > 0 else -1)
            numbers = (refund.refund_id, refund.request_id) if refund else ("", "")
            rows.append(
                BillRow(
                    trade.transaction_id, trade.reference, trade.trade_type, *numbers, trade.description, minor, fee, at
                )
            )
        return [row for row in rows if row.at.astimezone(CHINA).date() == day]

    # Notices

    def _announce_refund(self, refund: Refund, notify_url: str) -> None:
        """Tells, when the refund has happened, that it did."""
        said = {
            "mchid": self.mchid,
            "transaction_id": refund.trade.transaction_id,
            "out_trade_no": refund.trade.reference,
            "refund_id": refund.refund_id,
            "out_refund_no": refund.request_id,
            "refund_status": "SUCCESS",
            "success_time": _rfc3339(refund.done_at),
            "user_received_account": "支付用户零钱",
            "amount": _refund_amount(refund),
        }
        wait_s = (refund.done_at - refund.made_at).total_seconds()
        self._announce(refund.trade, notify_url, "REFUND.SUCCESS", "refund", said, wait_s)

    def _announce(
        self, trade: Trade, url: str, event: str, original_type: str, said: dict[str, Any], wait_s: float
    ) -> None:
        if not url:
            return
        late_s = self._dice.uniform(0, 600) if self.troubles.strikes("late_notice") else 0.0
        forged = self.troubles.strikes("forge_notice")

        async def first() -> None:
            body = self._notice(event, original_type, said)
            if forged:  # with a signature that holds, but over another notice
                headers = self._signature(body, trade.by_public_key)
                await self._sent(url, headers, body.replace(b"EV-", b"EX-", 1))
            self._schedule(late_s, lambda: self._deliver(trade, url, body, 0))

        self._schedule(wait_s, first)

    def _notice(self, event: str, original_type: str, said: dict[str, Any]) -> bytes:
        resource = {"original_type": original_type, **self._sealed(original_type, json.dumps(said).encode())}
        notice = {
            "id": f"EV-{self._dice.getrandbits(124):031x}",
            "create_time": _rfc3339(self._now()),
            "resource_type": "encrypt-resource",
            "event_type": event,
            "summary": "支付成功" if event == "TRANSACTION.SUCCESS" else "退款成功",
            "resource": resource,
        }
        return json.dumps(notice, ensure_ascii=False, separators=(",", ":")).encode()

    def _sealed(self, more: str, content: bytes) -> dict[str, str]:
        nonce = f"{self._dice.getrandbits(48):012x}"
        sealed = AESGCM(self._keys.api_v3_key.encode()).encrypt(nonce.encode(), content, more.encode())
        return {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": nonce,
            "associated_data": more,
            "ciphertext": base64.b64encode(sealed).decode(),
        }

    async def _deliver(self, trade: Trade, url: str, body: bytes, repeat: int) -> None:
        """Sends one notice; the same words, signed anew, come again until the merchant answers 200 or 204."""
        accepted = False
        if not self.troubles.strikes("lose_notice"):
            headers = self._signature(body, trade.by_public_key)
            for _ in range(2 if self.troubles.strikes("double_notice") else 1):
                accepted = await self._sent(url, headers, body) or accepted
        if not accepted and repeat < len(REPEATS_S):
            self._schedule(REPEATS_S[repeat], lambda: self._deliver(trade, url, body, repeat + 1))

    async def _sent(self, url: str, headers: dict[str, str], body: bytes) -> bool:
        try:
            return (await self._post(Request("POST", url, headers, body))).status in (200, 204)
        except (NotSent, NoAnswer):
            return False

    # Inside WeChat

    def _authorize(self, asked: dict[str, str], user_agent: str) -> Response:
        """Tells the shop by a code who the person is: without a word inside WeChat, where alone that can be known."""
        return_url, names = (
            _web(asked.get("redirect_uri")),
            ("appid", "redirect_uri", "response_type", "scope", "state"),
        )
        wanted = (self.appid, "code", "snsapi_base")
        state = asked.get("state", "")
        well_asked = tuple(asked) == names and (asked["appid"], asked["response_type"], asked["scope"]) == wanted
        if not well_asked or not return_url or not re.fullmatch(r"[0-9A-Za-z]{0,128}", state):
            return _page(200, "链接无效 · This link is not right", "<p>redirect_uri 或参数错误</p>")
        code = f"{self._dice.getrandbits(128):032x}"
        self._codes[code] = self._now() + CODE_LIVES
        mark = "&" if urlsplit(return_url).query else "?"
        back = f"{return_url}{mark}{urlencode({'code': code, 'state': state})}"
        if "MicroMessenger" in user_agent:
            return Response(302, {"location": back}, b"")
        enter = f'<a class="quiet" href="{escape(back)}">现在就在微信里 · You are in WeChat now</a>'
        return _page(200, "请在微信客户端打开链接 · Open this link in WeChat", enter)

    def _access_token(self, asked: dict[str, str]) -> Response:
        code = asked.get("code", "")
        said: dict[str, Any]
        if asked.get("appid") != self.appid:
            said = {"errcode": 40013, "errmsg": "invalid appid"}
        elif not self._app_secret or asked.get("secret") != self._app_secret:
            said = {"errcode": 40125, "errmsg": "invalid appsecret"}
        elif code in self._used_codes:
            said = {"errcode": 40163, "errmsg": "code been used"}
        elif code not in self._codes or asked.get("grant_type") != "authorization_code":
            said = {"errcode": 40029, "errmsg": "invalid code"}
        elif self._now() >= self._codes[code]:
            said = {"errcode": 42003, "errmsg": "code expired"}
        else:
            self._used_codes.add(code)
            said = {"access_token": "ACCESS", "expires_in": 7200, "openid": PERSON, "scope": "snsapi_base"}
        return Response(200, {"content-type": "text/plain"}, json.dumps(said).encode())

    def _bridge(self, body: bytes, deed: str) -> Response:
        """What the app does with the words that a page hands to it, once the merchant's signature over them holds."""
        said = "fail"
        try:
            words = _content(body)
            trade = next((one for one in self.trades.values() if f"prepay_id=wx{one.token}" == words["package"]), None)
            message = "".join(f"{words[name]}\n" for name in ("appId", "timeStamp", "nonceStr", "package"))
            signature = base64.b64decode(words["paySign"])
            _public_key(self._keys.merchant_public).verify(signature, message.encode(), PKCS1v15(), SHA256())
            if trade and (words["appId"], words["signType"], trade.openid) == (self.appid, "RSA", PERSON):
                said = "cancel" if deed == "leave" else "ok" if self.pay(trade.reference) else "fail"
        except (_No, KeyError, TypeError, ValueError, InvalidSignature):
            pass  # the app does not say to a page what it holds against it
        answer = {"err_msg": f"get_brand_wcpay_request:{said}"}
        return Response(200, {"content-type": "application/json"}, json.dumps(answer).encode())

    # Pages

    def _enter(self, prepay_id: str, return_url: str) -> Response:
        """A telephone's browser comes by the address of an H5 payment, to which the merchant adds where it goes back."""
        trade = next((trade for trade in self.trades.values() if f"wx{trade.token}" == prepay_id), None)
        if trade is None:
            return _page(404, "没有这笔付款 · There is no such payment", "")
        trade.return_url = _web(return_url)
        return Response(302, {"location": f"{self.base_url}/cashier/{trade.token}"}, b"")

    def _person(self, method: str, where: str, token: str, deed: str) -> Response:
        trade = next((trade for trade in self.trades.values() if trade.token == token), None)
        if trade is None:
            return _page(404, "没有这笔付款 · There is no such payment", "")
        if where == "qr":
            return Response(302, {"location": f"{self.base_url}/cashier/{token}"}, b"")
        if method == "POST" and deed == "pay":
            self.pay(trade.reference)
            if trade.paid_at and trade.return_url:
                return Response(303, {"location": trade.return_url}, b"")
        if method == "POST" and deed == "refuse" and trade.trade_type == "MICROPAY":
            trade.failed = True  # a till's payment has one try; any other may be tried again
        shop = f'<a class="quiet" href="{escape(trade.return_url)}">返回商家 · Back to the shop</a>'
        way_back = shop if trade.return_url else ""
        receipt = _template("wechat_pay_receipt.html").substitute(
            amount=decimal_text(trade.paid_minor or trade.amount_minor, "CNY"),
            subject=escape(trade.description),
            reference=escape(trade.reference),
        )
        if trade.paid_at:
            return _page(200, "已付款 · Paid", receipt + way_back, mark="done")
        if not trade.payable(self._now()):
            return _page(200, "付款已关闭 · Closed", "<p>没有扣款。Nothing was taken.</p>" + way_back)
        if method == "POST" and deed in ("refuse", "leave"):
            title = "银行拒绝了 · The bank refused" if deed == "refuse" else "您已离开 · You walked away"
            again = f'<a class="quiet" href="{self.base_url}/cashier/{token}">继续付款 · Pay after all</a>'
            return _page(200, title, "<p>没有扣款。Nothing was taken.</p>" + again + way_back)
        buttons = _template("wechat_pay_buttons.html").substitute(
            at=f"{self.base_url}/cashier/{token}",
            amount=decimal_text(trade.amount_minor, "CNY"),
            until=f"{trade.expires_at.astimezone(CHINA):%H:%M}",
        )
        return _page(200, "确认付款 · Confirm payment", receipt + buttons)

    def _index(self) -> Response:
        rows = "".join(
            f'<tr><td><a href="{self.base_url}/cashier/{trade.token}"><code>{escape(trade.reference)}</code></a>'
            f"<td>{decimal_text(trade.amount_minor, 'CNY')}<td>{_SHOWN[trade.state(self._now())]}"
            for trade in reversed(list(self.trades.values())[-20:])
        )
        today = self._now().astimezone(CHINA).date()
        table = (
            f"<table><thead><tr><th>交易 · Trade<th>¥<th>状态 · State<tbody>{rows}</table>"
            f'<p><a href="{self.base_url}/bill/{today}">今天的账单 · The bill of today</a></p>'
        )
        nothing = "<p>还没有交易。No trades yet.</p>"
        return _page(200, "最近的交易 · Latest trades", table if rows else nothing)

    # Signatures

    def _signed(self, status: int, said: dict[str, Any] | None, by_public_key: bool) -> Response:
        body = b"" if said is None else json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
        return Response(status, self._signature(body, by_public_key), body)

    def _signature(self, body: bytes, by_public_key: bool) -> dict[str, str]:
        stamp, nonce = str(int(self._now().timestamp())), f"{self._dice.getrandbits(128):032x}"
        key = _private_key(self._keys.wechat_private if by_public_key else self._keys.certificate_private)
        signature = key.sign(f"{stamp}\n{nonce}\n".encode() + body + b"\n", PKCS1v15(), SHA256())
        return {
            "content-type": "application/json; charset=utf-8",
            "wechatpay-timestamp": stamp,
            "wechatpay-nonce": nonce,
            "wechatpay-serial": self._keys.public_key_id if by_public_key else _serial_of(self._keys.certificate),
            "wechatpay-signature": base64.b64encode(signature).decode(),
            "wechatpay-signature-type": SCHEME,
        }


def bill_lines(mchid: str, appid: str, rows: Iterable[BillRow]) -> Iterator[str]:
    """A bill (交易账单, bill_type ALL) line by line as the firm writes it; it ends with its own totals."""
    yield f"\ufeff{BILL_COLUMNS}\r\n"
    count = paid = refunded = fees = 0
    for row in rows:
        back = -row.amount_minor if row.amount_minor < 0 else 0
        price = 0 if back else row.amount_minor
        count, paid, refunded, fees = count + 1, paid + price, refunded + back, fees + row.fee_minor
        refund = (row.refund_id, row.request_id, _yuan(back), "0.00", "ORIGINAL", "SUCCESS")
        cells = (
            f"{row.at.astimezone(CHINA):%Y-%m-%d %H:%M:%S}",
            *(appid, mchid, "0", "", row.transaction_id, row.reference, PERSON, row.trade_type),
            *("REFUND" if back else "SUCCESS", "OTHERS", "CNY", _yuan(price), "0.00"),
            *(refund if back else ("0", "0", "0.00", "0.00", "", "")),
            *(
                row.description.replace("`", "'"),
                "",
                f"{_yuan(row.fee_minor)}000",
                "0.60%",
                _yuan(price),
                _yuan(back),
                "",
            ),
        )
        yield "".join(f",`{cell}" for cell in cells)[1:] + "\r\n"
    sums = (_yuan(paid), _yuan(refunded), "0.00", f"{_yuan(fees)}000", _yuan(paid), _yuan(refunded))
    yield f"{BILL_TOTALS}\r\n`{count}" + "".join(f",`{total}" for total in sums) + "\r\n"


def make_keys() -> Keys:
    """Fresh keys of 2048 bits, as the firm asks for, and a platform certificate that outlives every game."""
    merchant, wechat, certified = (rsa.generate_private_key(65537, 2048) for _ in range(3))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "WeChat Pay simulator")])
    begins, ends = datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
    certificate = x509.CertificateBuilder(name, name, certified.public_key(), x509.random_serial_number(), begins, ends)
    return Keys(
        _private_pem(merchant),
        _public_pem(merchant),
        f"{x509.random_serial_number():040X}",
        secrets.token_hex(16),
        f"PUB_KEY_ID_0{_MCHID}{x509.random_serial_number() % 10**22:022d}",
        _private_pem(wechat),
        _public_pem(wechat),
        _private_pem(certified),
        certificate.sign(certified, SHA256()).public_bytes(Encoding.PEM).decode(),
    )


def _private_pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public_pem(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@lru_cache(maxsize=16)  # checking a key takes 30 ms, and a seeded run makes a gateway for each of its days
def _private_key(pem: str) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@lru_cache(maxsize=16)
def _public_key(pem: str) -> rsa.RSAPublicKey:
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    return key


@lru_cache(maxsize=16)
def _serial_of(certificate: str) -> str:
    return f"{x509.load_pem_x509_certificate(certificate.encode()).serial_number:X}"


class _No(Exception):
    """A refusal in WeChat Pay's words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message

    def said(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message}


def _system_error() -> tuple[int, dict[str, Any] | None]:
    raise _No(500, "SYSTEM_ERROR", "系统异常，请稍后重试")


def _content(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body) if body else {}
    except ValueError as error:
        raise _No(400, "PARAM_ERROR", "请求体不是合法的JSON") from error
    if not isinstance(content, dict):
        raise _No(400, "PARAM_ERROR", "请求体不是合法的JSON")
    return content


def _object(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def _check_payer(product: str, content: dict[str, Any]) -> None:
    """What each product wants to know of the person."""
    payer, scene = _object(content, "payer"), _object(content, "scene_info")
    if product == "jsapi" and not payer.get("openid"):
        raise _No(400, "PARAM_ERROR", "openid 必填")
    if product == "h5" and not (scene.get("payer_client_ip") and scene.get("h5_info")):
        raise _No(400, "PARAM_ERROR", "scene_info 必填")
    code = str(payer.get("auth_code"))
    if product != "codepay":
        return
    if not re.fullmatch(r"1[0-5][0-9]{16}", code):
        raise _No(400, "AUTH_CODE_INVALID", "付款码无效，请扫描微信支付被扫条码/二维码")
    if code.endswith("2"):
        raise _No(403, "NOT_ENOUGH", "用户账号余额不足")
    if code.endswith("3"):
        raise _No(400, "AUTH_CODE_EXPIRED", "付款码已过期，请用户刷新后重试")


def _fen(content: Mapping[str, Any], name: str) -> int:
    amount = _object(content, "amount")
    fen = amount.get(name)
    if type(fen) is not int or not 0 < fen <= 10**11 or amount.get("currency", "CNY") != "CNY":
        raise _No(400, "PARAM_ERROR", "金额有误")
    return fen


def _refund_amount(refund: Refund) -> dict[str, int]:
    paid, back = refund.trade.paid_minor, refund.amount_minor
    return {"total": paid, "refund": back, "payer_total": paid, "payer_refund": back}


def _expiry(content: Mapping[str, Any], now: datetime) -> datetime:
    if not content.get("time_expire"):
        return now + DEFAULT_LIFE
    try:
        expires_at = datetime.fromisoformat(str(content["time_expire"]))
    except ValueError as error:
        raise _No(400, "PARAM_ERROR", "time_expire 格式错误") from error
    if expires_at.tzinfo is None or expires_at <= now:
        raise _No(400, "PARAM_ERROR", "time_expire 已过")
    return expires_at


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _rfc3339(at: datetime) -> str:
    return at.astimezone(CHINA).isoformat(timespec="seconds")


def _yuan(minor: int) -> str:
    return decimal_text(minor, "CNY")


def _web(url: object) -> str:
    """An address that a browser or we may go to; anything but HTTP is dropped."""
    return url if isinstance(url, str) and urlsplit(url).scheme in ("http", "https") else ""


def _template(name: str) -> Template:
    return Template(files("refill.simulators").joinpath("pages", name).read_text("utf-8"))


def _page(status: int, title: str, content: str, mark: str = "") -> Response:
    page = _template("wechat_pay.html").substitute(title=title, content=content, mark=mark)
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'",
        "cache-control": "no-store",
    }
    return Response(status, headers, page.encode())
