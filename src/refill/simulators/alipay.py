"""Alipay's end of the wire: a gateway with real RSA2 signatures and the page on which a person presses Pay.

Served by `refill simulator alipay`; the seeded simulator calls `handle` directly in virtual time. What truly happened
stands in plain attributes: `captures`, `refunds`, `closed`; from another process, in the JSON of `GET /truth`.

A person's telephone shows payment codes for a till on `/code`. A code has 16 to 24 digits, begins with 25 to 30 and pays
once; its last digit decides: 1 the person confirms on `/cashier/…`, 2 holds too little money, 3 has expired, anything
else pays at once. `/app?…` is what the firm's app does with the text that a shop's app hands to it.

Trouble, by `troubles.plan(name, times)` or `troubles.chances[name]`: for answers `slow`, `lost`, `html`, `truncated`,
`unsigned`, `error_before` and `error_after` (ACQ.SYSTEM_ERROR with or without doing it), `broke` (our balance there is
too low for a refund); for notices `lose_notice`, `double_notice`, `late_notice`, `forge_notice`; `short_paid` (a cent
less is captured than was asked). From another process: `POST /troubles` with `name=lose_notice&times=1`.
"""

import base64
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from html import escape
from importlib.resources import files
from io import BytesIO
from random import Random
from string import Template
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import segno
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from refill.errors import NotAnAmount
from refill.money import amount, decimal_text
from refill.simulators.trouble import Keep, Post, Schedule, Sleep, Surroundings, Troubles, truth
from refill.world import NoAnswer, NotSent, Request, Response

CHINA = timezone(timedelta(hours=8))
# How the firm repeats a notice until it reads "success": at once, then after 4m, 10m, 10m, 1h, 2h, 6h, 15h.
REPEATS_S = (240, 600, 600, 3600, 7200, 21600, 54000)
DEFAULT_LIFE = timedelta(days=15)
FEE_PER_10000 = 60  # what the firm keeps of a payment, and gives back with a refund
BILL_ADDRESS_LIVES = timedelta(seconds=30)
_CODE = re.compile(r"(2[5-9]|30)[0-9]{14,22}")
BILL_COLUMNS = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,"
    "商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)


class Captured(NamedTuple):
    """Money that a person truly paid."""

    reference: str  # the merchant's out_trade_no
    trade_no: str
    amount_minor: int
    at: datetime


class Refunded(NamedTuple):
    """Money that truly went back."""

    reference: str
    request_id: str  # the merchant's out_request_no
    amount_minor: int
    at: datetime


class BillRow(NamedTuple):
    """One row of a bill; the amount is below zero for a refund, the fee as it changes the merchant's balance."""

    trade_no: str
    reference: str
    request_id: str  # of a refund, else empty
    subject: str
    amount_minor: int
    fee_minor: int
    made_at: datetime
    at: datetime


class Keys(NamedTuple):
    """The two RSA key pairs of a merchant and its gateway, as PEM. Each side is given the other's public half."""

    merchant_private: str
    merchant_public: str
    alipay_private: str
    alipay_public: str


NAME = "alipay"
PORT = 1
_APP_ID, _SELLER_ID = "2021000000000000", "2088000000000000"  # of the merchant that `refill up` plays with


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this gateway."""
    keys = _kept_keys(keep)
    return {
        "alipay_app_id": _APP_ID,
        "alipay_seller_id": _SELLER_ID,
        "alipay_private_key_file": keys.merchant_private,
        "alipay_public_key_file": keys.alipay_public,
        "alipay_gateway": f"{url}/gateway.do",
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "AlipaySimulator":
    """The gateway with the one merchant that `leads` speaks of; notices go where each charge says."""
    keys = _kept_keys(keep)
    return AlipaySimulator(
        app_id=_APP_ID,
        seller_id=_SELLER_ID,
        public_key=keys.merchant_public,
        private_key=keys.alipay_private,
        base_url=url,
        **around,
    )


def _kept_keys(keep: Keep) -> Keys:
    """Made once, so that yesterday's orders still verify."""
    return Keys(**json.loads(keep("alipay-simulator.json", lambda: json.dumps(make_keys()._asdict()))))


@dataclass
class Trade:
    """One trade as the gateway keeps it. It exists for a query only once a person has opened it."""

    reference: str
    trade_no: str
    token: str  # in the addresses of its pages
    amount_minor: int
    subject: str
    expires_at: datetime
    notify_url: str
    return_url: str
    made_at: datetime
    opened: bool = False
    paid_minor: int = 0
    paid_at: datetime | None = None
    closed_at: datetime | None = None
    refunded_minor: int = 0

    def state(self, now: datetime) -> str:
        if self.paid_at:
            return "TRADE_CLOSED" if self.refunded_minor >= self.paid_minor else "TRADE_SUCCESS"
        return "TRADE_CLOSED" if self.closed_at or now >= self.expires_at else "WAIT_BUYER_PAY"


class AlipaySimulator:
    """One gateway with one merchant. `public_key` is the merchant's, `private_key` the gateway's own, both PEM."""

    def __init__(
        self,
        *,
        app_id: str,
        seller_id: str,
        public_key: str,
        private_key: str,
        base_url: str,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
        chances: Mapping[str, float] | None = None,
    ) -> None:
        self._ours, self._theirs = _private_key(private_key), _public_key(public_key)
        self.app_id, self.seller_id, self.base_url = app_id, seller_id, base_url.rstrip("/")
        self._now, self._dice, self._schedule, self._post, self._sleep = now, dice, schedule, post, sleep
        self.troubles = Troubles(dice, chances)
        self.trades: dict[str, Trade] = {}
        self.captures: list[Captured] = []
        self.refunds: list[Refunded] = []
        self.closed: dict[str, datetime] = {}  # by the merchant; expired trades are not listed
        self._refund_of: dict[tuple[str, str], int] = {}
        self._used_codes: set[str] = set()
        self._bills: dict[str, tuple[date, datetime]] = {}  # by the secret part of an address: the day, and until when

    @property
    def gateway_url(self) -> str:
        return f"{self.base_url}/gateway.do"

    # What a person does

    def pay(self, reference: str, amount_override: int | None = None) -> bool:
        """A person presses Pay. False when nobody can pay this trade (any more). `amount_override` is in fen."""
        trade, now = self.trades.get(reference), self._now()
        if trade is None or trade.state(now) != "WAIT_BUYER_PAY":
            return False
        paid = trade.amount_minor if amount_override is None else amount_override
        if amount_override is None and self.troubles.strikes("short_paid"):
            paid -= 1
        trade.opened, trade.paid_at, trade.paid_minor = True, now, paid
        self.captures.append(Captured(reference, trade.trade_no, paid, now))
        self._announce(trade)
        return True

    def payment_code(self, last: str = "0") -> str:
        """A fresh code as a person's telephone shows it to a till."""
        return f"28{self._dice.randrange(10**15):015d}{last}"

    # The wire

    async def handle(self, request: Request) -> Response:
        """Answers one request, of the merchant or of a person's browser. Raises NoAnswer when the answer is lost."""
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(urlsplit(self.base_url).path)
        if path == "/gateway.do":
            return await self._gateway(request, parts.query)
        if (request.method, path) == ("POST", "/troubles"):
            return self.troubles.ordered(request.body)
        if (request.method, path) == ("GET", "/truth"):
            captures, refunds = [one._asdict() for one in self.captures], [one._asdict() for one in self.refunds]
            return truth(captures=captures, refunds=refunds, closed=self.closed)
        if (request.method, path) == ("GET", "/app"):
            return await self._gateway(request, parts.query, in_app=True)
        if path == "/code":
            return self._telephone(dict(parse_qsl(parts.query)).get("last", "0"))
        if request.method == "GET" and path in self._bills:
            return self._download(path)
        match re.fullmatch(r"/(qr|cashier)/([0-9a-f]{32})(?:/(pay|leave))?", path):
            case re.Match() as found:
                return self._person(request.method, found[1], found[2], found[3] or "")
        return self._index() if path in ("", "/") else _page(404, "没有这个页面 · No such page", "")

    async def _gateway(self, request: Request, query: str, *, in_app: bool = False) -> Response:
        try:
            fields = _fields(query, request.body)
            method, content = self._checked(fields)
        except _No as no:
            return self._signed("error_response", no.said())
        if method in (("alipay.trade.app.pay",) if in_app else ("alipay.trade.page.pay", "alipay.trade.wap.pay")):
            return self._open_page(fields, content)
        answers = {
            "alipay.trade.pay": self._take_code,
            "alipay.trade.precreate": self._precreate,
            "alipay.trade.query": self._query,
            "alipay.trade.close": self._close,
            "alipay.trade.refund": self._refund,
            "alipay.trade.fastpay.refund.query": self._query_refund,
            "alipay.data.dataservice.bill.downloadurl.query": self._bill_address,
        }
        if method not in answers:
            return self._signed("error_response", _No("isv.invalid-method", "不存在的方法名", "40002").said())
        trouble = self.troubles.one_of(
            ("error_before", "error_after", "slow", "lost", "html", "truncated", "unsigned", "garbled")
        )
        if trouble == "error_before":
            said = _No("ACQ.SYSTEM_ERROR", "系统错误", "20000").said()
        else:
            try:
                said = {"code": "10000", "msg": "Success"} | answers[method](fields, content)
            except _No as no:
                said = no.said()
        if trouble == "error_after":
            said = _No("ACQ.SYSTEM_ERROR", "系统错误", "20000").said()
        return await self._troubled(self._signed(method.replace(".", "_") + "_response", said), trouble)

    def _checked(self, fields: dict[str, str]) -> tuple[str, dict[str, Any]]:
        """The method and its content, once signature and frame hold."""
        given = dict(fields)
        if given.get("app_id") != self.app_id:
            raise _No("isv.invalid-app-id", "无效的AppID参数", "40002")
        if given.get("sign_type") != "RSA2":
            raise _No("isv.invalid-signature-type", "无效的签名类型", "40002")
        signature = given.pop("sign", "")
        message = "&".join(f"{name}={value}" for name, value in sorted(given.items()) if value)
        try:
            self._theirs.verify(base64.b64decode(signature), message.encode(), PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError) as error:
            raise _No("isv.invalid-signature", "无效签名", "40002") from error
        if given.get("charset", "").lower() != "utf-8" or _time(given.get("timestamp")) is None:
            raise _No("isv.invalid-timestamp", "非法的时间戳或字符集参数", "40002")
        try:
            content = json.loads(given.get("biz_content") or "{}")
        except ValueError as error:
            raise _No("isv.invalid-parameter", "biz_content", "40002") from error
        if not isinstance(content, dict):
            raise _No("isv.invalid-parameter", "biz_content", "40002")
        return given.get("method", ""), content

    async def _troubled(self, response: Response, trouble: str) -> Response:
        """The answer as it arrives, after everything that was asked for has been done."""
        match trouble:
            case "slow":
                await self._sleep(self._dice.uniform(3, 20))
            case "lost":
                raise NoAnswer("the answer was lost")
            case "html":
                return Response(200, response.headers, b"<html><body>502 Bad Gateway</body></html>")
            case "truncated":
                return Response(200, response.headers, response.body[: len(response.body) // 2])
            case "garbled":
                return Response(200, response.headers, response.body.replace(b"10000", b"10001"))
            case "unsigned":
                said = re.sub(rb'"sign":"[^"]*"', b'"sign":""', response.body)
                return Response(200, response.headers, said)
        return response

    # What the merchant asks for

    def _new_trade(self, fields: dict[str, str], content: dict[str, Any]) -> Trade:
        reference, now = str(content.get("out_trade_no") or ""), self._now()
        if not re.fullmatch(r"[0-9A-Za-z_]{1,64}", reference) or not content.get("subject"):
            raise _No("ACQ.INVALID_PARAMETER", "参数无效")
        asked = _fen(content.get("total_amount"))
        found = self.trades.get(reference)
        if found is not None:
            if found.paid_at:
                raise _No("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
            if found.state(now) == "TRADE_CLOSED":
                raise _No("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
            if found.amount_minor != asked or found.subject != content["subject"]:
                raise _No("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
            return found
        expires_at = _expiry(content, now)
        if expires_at <= now:
            raise _No("ACQ.INVALID_PARAMETER", "time_expire 已过")
        trade = Trade(
            reference,
            f"{now.astimezone(CHINA):%Y%m%d%H%M%S}{self._dice.randrange(10**14):014d}",
            f"{self._dice.getrandbits(128):032x}",
            asked,
            str(content["subject"]),
            expires_at,
            _web(fields.get("notify_url")),
            _web(fields.get("return_url")),
            now,
        )
        self.trades[reference] = trade
        return trade

    def _open_page(self, fields: dict[str, str], content: dict[str, Any]) -> Response:
        try:
            trade = self._new_trade(fields, content)
        except _No as no:
            if no.word == "ACQ.TRADE_HAS_SUCCESS":
                trade = self.trades[str(content["out_trade_no"])]
            else:
                return _page(
                    200, "这笔付款不能继续 · This payment cannot go on", f"<p>{escape(no.why)} ({no.word})</p>"
                )
        trade.opened = True
        return Response(302, {"location": f"{self.base_url}/cashier/{trade.token}"}, b"")

    def _precreate(self, fields: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        trade = self._new_trade(fields, content)
        return {"out_trade_no": trade.reference, "qr_code": f"{self.base_url}/qr/{trade.token}"}

    def _take_code(self, fields: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        """A till's payment: money at once, or a person who is asked on their telephone."""
        code = str(content.get("auth_code"))
        if content.get("scene") != "bar_code":
            raise _No("ACQ.INVALID_PARAMETER", "参数无效")
        if not _CODE.fullmatch(code) or code in self._used_codes or code.endswith("3"):
            raise _No("ACQ.PAYMENT_AUTH_CODE_INVALID", "支付授权码无效")
        if code.endswith("2"):
            raise _No("ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足")
        trade = self._new_trade(fields, content)
        self._used_codes.add(code)
        trade.opened = True
        said = {"out_trade_no": trade.reference, "trade_no": trade.trade_no, "buyer_logon_id": "138****0000"}
        if code.endswith("1"):
            return said | {"code": "10003", "msg": "order success pay inprocess"}
        self.pay(trade.reference)
        paid = decimal_text(trade.paid_minor, "CNY")
        return said | {"total_amount": paid, "receipt_amount": paid, "gmt_payment": _china(self._now())}

    def _query(self, fields: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        trade = self._found(content)
        said = {
            "out_trade_no": trade.reference,
            "trade_no": trade.trade_no,
            "trade_status": trade.state(self._now()),
            "total_amount": decimal_text(trade.paid_minor or trade.amount_minor, "CNY"),
            "buyer_logon_id": "138****0000",
            "point_amount": "0.00",
        }
        return {**said, "send_pay_date": _china(trade.paid_at)} if trade.paid_at else said

    def _close(self, fields: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        trade, now = self._found(content), self._now()
        if trade.state(now) != "WAIT_BUYER_PAY":
            raise _No("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        trade.closed_at = self.closed[trade.reference] = now
        return {"out_trade_no": trade.reference, "trade_no": trade.trade_no}

    def _refund(self, fields: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        trade, now = self._found(content), self._now()
        request_id, asked = str(content.get("out_request_no") or trade.reference), _fen(content.get("refund_amount"))
        before = self._refund_of.get((trade.reference, request_id))
        if before is None:
            if trade.state(now) != "TRADE_SUCCESS":
                raise _No("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
            if trade.refunded_minor + asked > trade.paid_minor:
                raise _No("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额有误")
            if self.troubles.strikes("broke"):
                raise _No("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")
            self._refund_of[trade.reference, request_id] = asked
            trade.refunded_minor += asked
            self.refunds.append(Refunded(trade.reference, request_id, asked, now))
            self._announce(
                trade,
                refund_fee=decimal_text(trade.refunded_minor, "CNY"),
                gmt_refund=_china(now) + ".000",
                out_biz_no=request_id,
            )
        elif before != asked:
            raise _No("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求")
        return {
            "out_trade_no": trade.reference,
            "trade_no": trade.trade_no,
            "refund_fee": decimal_text(trade.refunded_minor, "CNY"),
            "fund_change": "Y" if before is None else "N",
            "buyer_logon_id": "138****0000",
        }

    def _query_refund(self, fields: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        trade, request_id = self._found(content), str(content.get("out_request_no") or "")
        refunded = self._refund_of.get((trade.reference, request_id))
        if refunded is None:
            return {}  # the question was understood; there is nothing to say
        return {
            "out_trade_no": trade.reference,
            "trade_no": trade.trade_no,
            "out_request_no": request_id,
            "refund_amount": decimal_text(refunded, "CNY"),
            "total_amount": decimal_text(trade.paid_minor, "CNY"),
            "refund_status": "REFUND_SUCCESS",
        }

    def _found(self, content: dict[str, Any]) -> Trade:
        """The trade asked about; `trade_no` rules where both are given. What no person has opened does not exist yet."""
        trade, trade_no = self.trades.get(str(content.get("out_trade_no"))), content.get("trade_no")
        if trade_no and (trade is None or trade.trade_no != trade_no):
            trade = next((other for other in self.trades.values() if other.trade_no == trade_no), None)
        if trade is None or not trade.opened:
            raise _No("ACQ.TRADE_NOT_EXIST", "交易不存在")
        return trade

    # Bills

    def _bill_address(self, fields: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        try:
            day = date.fromisoformat(str(content.get("bill_date")))
        except ValueError as error:
            raise _No("isv.invalid_arguments", "账单日期格式错误") from error
        if content.get("bill_type") != "trade" or day >= self._now().astimezone(CHINA).date():
            raise _No("isv.invalid_arguments", "账单类型或日期无效")
        if not self.bill_rows(day):
            raise _No("isp.bill_not_exist", "账单不存在")
        path = f"/bill/{self._dice.getrandbits(128):032x}"
        self._bills[path] = day, self._now() + BILL_ADDRESS_LIVES
        return {"bill_download_url": self.base_url + path}

    def _download(self, path: str) -> Response:
        day, until = self._bills[path]
        if self._now() >= until:
            return _page(404, "下载地址已失效 · This address has expired", "")
        return Response(200, {"content-type": "application/zip"}, self.bill(day))

    def bill(self, day: date) -> bytes:
        """The zip of a day's bill, for the person who downloads it from the firm's pages."""
        name = f"{self.seller_id}0156_{day:%Y%m%d}_业务明细"
        lines = bill_lines(self.seller_id, day, self.bill_rows(day), self._now())
        rows = self.bill_rows(day)
        summary = (
            f"#支付宝业务汇总查询\r\n合计,{len(rows)},{decimal_text(sum(row.amount_minor for row in rows), 'CNY')}\r\n"
        )
        return _zip({f"{name}.csv": "".join(lines), f"{name}(汇总).csv": summary})

    def bill_rows(self, day: date) -> list[BillRow]:
        """What was paid and went back on a day in China, in the order in which it happened."""
        paid = [(one.reference, "", one.amount_minor, one.at) for one in self.captures]
        back = [(one.reference, one.request_id, -one.amount_minor, one.at) for one in self.refunds]
        rows = []
        for reference, request_id, minor, at in sorted(paid + back, key=lambda row: row[3]):
            trade = self.trades[reference]
            fee = (abs(minor) * FEE_PER_10000 + 5000) // 10000 * (-1 if minor > 0 else 1)
            rows.append(BillRow(trade.trade_no, reference, request_id, trade.subject, minor, fee, trade.made_at, at))
        return [row for row in rows if row.at.astimezone(CHINA).date() == day]

    # Notices

    def notice(self, trade: Trade, **more: str) -> bytes:
        """The signed body of a notice about `trade`, sent now."""
        now = self._now()
        fields = {
            "app_id": self.app_id,
            "auth_app_id": self.app_id,
            "seller_id": self.seller_id,
            "notify_id": f"{now.astimezone(CHINA):%Y%m%d}{self._dice.getrandbits(96):024x}",
            "notify_time": _china(now),
            "notify_type": "trade_status_sync",
            "charset": "utf-8",
            "version": "1.0",
            "out_trade_no": trade.reference,
            "trade_no": trade.trade_no,
            "trade_status": trade.state(now),
            "total_amount": decimal_text(trade.paid_minor or trade.amount_minor, "CNY"),
            "subject": trade.subject,
            "buyer_id": "2088102100000000",
            "gmt_create": _china(trade.made_at),
            "gmt_payment": _china(trade.paid_at) if trade.paid_at else "",
            **more,
        }
        message = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
        return urlencode({**fields, "sign": self._sign(message), "sign_type": "RSA2"}).encode()

    def _announce(self, trade: Trade, **more: str) -> None:
        if not trade.notify_url:
            return
        body = self.notice(trade, **more)
        first_s = self._dice.uniform(0, 600) if self.troubles.strikes("late_notice") else 0.0
        self._schedule(first_s, lambda: self._deliver(trade.notify_url, body, 0))
        if self.troubles.strikes("forge_notice"):
            forged = body.replace(b"total_amount=", b"total_amount=1", 1)
            self._schedule(0.0, lambda: self._deliver(trade.notify_url, forged, len(REPEATS_S)))

    async def _deliver(self, url: str, body: bytes, repeat: int) -> None:
        """Sends one notice; the very same bytes come again until the merchant says "success"."""
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        accepted = False
        if not self.troubles.strikes("lose_notice"):
            for _ in range(2 if self.troubles.strikes("double_notice") else 1):
                try:
                    answer = await self._post(Request("POST", url, headers, body))
                    accepted = accepted or answer.body.strip() == b"success"
                except (NotSent, NoAnswer):
                    pass
        if not accepted and repeat < len(REPEATS_S):
            self._schedule(REPEATS_S[repeat], lambda: self._deliver(url, body, repeat + 1))

    # Pages

    def _person(self, method: str, where: str, token: str, deed: str) -> Response:
        trade = next((trade for trade in self.trades.values() if trade.token == token), None)
        if trade is None:
            return _page(404, "没有这笔付款 · There is no such payment", "")
        if where == "qr":
            trade.opened = True  # the code was scanned
            return Response(302, {"location": f"{self.base_url}/cashier/{token}"}, b"")
        if method == "POST" and deed == "pay":
            self.pay(trade.reference)
            if trade.paid_at and trade.return_url:
                return Response(303, {"location": self._back(trade)}, b"")
        shop = f'<a class="quiet" href="{escape(trade.return_url)}">返回商家 · Back to the shop</a>'
        way_back = shop if trade.return_url else ""
        receipt = _template("alipay_receipt.html").substitute(
            amount=decimal_text(trade.paid_minor or trade.amount_minor, "CNY"),
            subject=escape(trade.subject),
            reference=escape(trade.reference),
        )
        if trade.paid_at:
            return _page(200, "已付款 · Paid", receipt + way_back, mark="done")
        if trade.state(self._now()) == "TRADE_CLOSED":
            return _page(200, "付款已关闭 · Closed", "<p>没有扣款。Nothing was taken.</p>" + way_back)
        if method == "POST" and deed == "leave":
            again = f'<a class="quiet" href="{self.base_url}/cashier/{token}">继续付款 · Pay after all</a>'
            return _page(200, "您已离开 · You walked away", "<p>没有扣款。Nothing was taken.</p>" + again + way_back)
        buttons = _template("alipay_buttons.html").substitute(
            at=f"{self.base_url}/cashier/{token}",
            amount=decimal_text(trade.amount_minor, "CNY"),
            until=f"{trade.expires_at.astimezone(CHINA):%H:%M}",
        )
        return _page(200, "确认付款 · Confirm payment", receipt + buttons)

    def _telephone(self, last: str) -> Response:
        """The code that a person holds up to the till, and what they may let it do."""
        code = self.payment_code(last if re.fullmatch("[0-9]", last) else "0")
        content = _template("alipay_code.html").substitute(
            code=code,
            shown=" ".join(code[at : at + 4] for at in range(0, len(code), 4)),
            picture=segno.make(code, error="m").svg_data_uri(border=2, omitsize=True),
            at=f"{self.base_url}/code",
        )
        return _page(200, "付款码 · Payment code", content)

    def _back(self, trade: Trade) -> str:
        """The merchant's own page with the gateway's signed word; a courtesy, never a proof of payment."""
        fields = {
            "app_id": self.app_id,
            "charset": "utf-8",
            "method": "alipay.trade.page.pay.return",
            "out_trade_no": trade.reference,
            "seller_id": self.seller_id,
            "timestamp": _china(self._now()),
            "total_amount": decimal_text(trade.paid_minor, "CNY"),
            "trade_no": trade.trade_no,
            "version": "1.0",
        }
        message = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
        mark = "&" if urlsplit(trade.return_url).query else "?"
        return trade.return_url + mark + urlencode({**fields, "sign": self._sign(message), "sign_type": "RSA2"})

    def _index(self) -> Response:
        words = {
            "WAIT_BUYER_PAY": "待付款 · Waiting",
            "TRADE_SUCCESS": "已付款 · Paid",
            "TRADE_CLOSED": "已关闭 · Closed",
        }
        rows = "".join(
            f'<tr><td><a href="{self.base_url}/cashier/{trade.token}"><code>{escape(trade.reference)}</code></a>'
            f"<td>{decimal_text(trade.amount_minor, 'CNY')}<td>{words[trade.state(self._now())]}"
            for trade in reversed(list(self.trades.values())[-20:])
        )
        table = f"<table><thead><tr><th>交易 · Trade<th>¥<th>状态 · State<tbody>{rows}</table>"
        nothing = "<p>还没有交易。No trades yet.</p>"
        telephone = f'<p><a href="{self.base_url}/code">付款码 · Payment code for a till</a></p>'
        return _page(200, "最近的交易 · Latest trades", (table if rows else nothing) + telephone)

    def _signed(self, name: str, said: dict[str, Any]) -> Response:
        content = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        body = f'{{"{name}":{content},"sign":"{self._sign(content)}"}}'.encode()
        return Response(200, {"content-type": "text/html; charset=utf-8"}, body)

    def _sign(self, message: str) -> str:
        return base64.b64encode(self._ours.sign(message.encode(), PKCS1v15(), SHA256())).decode()


def bill_lines(seller_id: str, day: date, rows: Iterable[BillRow], made_at: datetime) -> Iterator[str]:
    """A bill (业务明细) line by line as the firm writes it, to be encoded in GBK; it ends with its own totals."""
    day_line = f"#起始日期：[{day:%Y年%m月%d日} 00:00:00]   终止日期：[{day + timedelta(days=1):%Y年%m月%d日} 00:00:00]"
    yield f"#支付宝业务明细查询\r\n#账号：[{seller_id}0156]\r\n{day_line}\r\n#{'-' * 41}业务明细列表{'-' * 40}\r\n"
    yield f"{BILL_COLUMNS}\r\n"
    count, total = {True: 0, False: 0}, {True: 0, False: 0}
    for row in rows:
        paid = row.amount_minor > 0
        count[paid] += 1
        total[paid] += row.amount_minor
        amount_ = decimal_text(row.amount_minor, "CNY")
        kind, subject = "交易" if paid else "退款", row.subject.replace(",", "，")
        yield (
            f"{row.trade_no}\t,{row.reference}\t,{kind}\t,{subject},{_china(row.made_at)},"
            f"{_china(row.at)},\t,\t,\t,\t,*先生(138****0000)\t,{amount_},{amount_},0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,"
            f"{row.request_id}\t,{decimal_text(row.fee_minor, 'CNY')},0.00,\r\n"
        )
    yield (
        f"#{'-' * 41}业务明细列表结束{'-' * 36}\r\n"
        f"#交易合计：{count[True]}笔，商家实收共{decimal_text(total[True], 'CNY')}元，商家优惠共0.00元\r\n"
        f"#退款合计：{count[False]}笔，商家实收退款共{decimal_text(total[False], 'CNY')}元，商家优惠退款共0.00元\r\n"
        f"#导出时间：[{made_at.astimezone(CHINA):%Y年%m月%d日 %H:%M:%S}]\r\n"
    )


def _zip(files: Mapping[str, str]) -> bytes:
    """A zip of GBK texts under names in GBK that do not say so, as the firm packs it."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, text in enumerate(files.values()):
            archive.writestr(_placeholder(n, list(files)[n]), text.encode("gbk", "replace"))
    whole = packed.getvalue()
    for n, name in enumerate(files):
        whole = whole.replace(_placeholder(n, name).encode(), name.encode("gbk"))
    return whole


def _placeholder(n: int, name: str) -> str:
    """A name of the same length in bytes: Python's own writer would mark the real one as UTF-8."""
    return f"<{n}>".ljust(len(name.encode("gbk")), "~")


def make_keys() -> Keys:
    """Fresh keys of 2048 bits, as the firm asks for."""
    merchant, gateway = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    return Keys(_private_pem(merchant), _public_pem(merchant), _private_pem(gateway), _public_pem(gateway))


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


class _No(Exception):
    """A refusal in Alipay's words."""

    def __init__(self, word: str, why: str, code: str = "40004") -> None:
        super().__init__(word)
        self.word, self.why, self.code = word, why, code

    def said(self) -> dict[str, Any]:
        heads = {"40004": "Business Failed", "40002": "Invalid Arguments", "20000": "Service Currently Unavailable"}
        return {"code": self.code, "msg": heads[self.code], "sub_code": self.word, "sub_msg": self.why}


def _fields(query: str, body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True) + parse_qsl(body.decode("ascii"), keep_blank_values=True)
    except ValueError as error:
        raise _No("isv.invalid-parameter", "参数无效", "40002") from error
    if len(dict(pairs)) != len(pairs):
        raise _No("isv.invalid-parameter", "参数重复", "40002")
    return dict(pairs)


def _fen(text: object) -> int:
    try:
        return amount(str(text), "CNY").minor  # clients send numbers too
    except NotAnAmount as error:
        raise _No("ACQ.INVALID_PARAMETER", "金额无效") from error


def _expiry(content: Mapping[str, Any], now: datetime) -> datetime:
    absolute = _time(content.get("time_expire"))
    relative = re.fullmatch(r"([1-9][0-9]{0,3})([mhd])", str(content.get("timeout_express") or ""))
    if absolute is None and content.get("time_expire"):
        raise _No("ACQ.INVALID_PARAMETER", "time_expire 格式错误")
    if absolute is not None:
        return absolute
    if relative:
        return (
            now
            + int(relative[1])
            * {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[relative[2]]
        )
    return now + DEFAULT_LIFE


def _time(text: object) -> datetime | None:
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA).astimezone(UTC)
    except ValueError:
        return None


def _china(at: datetime) -> str:
    return at.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def _web(url: str | None) -> str:
    """An address that a browser or we may go to; anything but HTTP is dropped."""
    return url if url and urlsplit(url).scheme in ("http", "https") else ""


def _template(name: str) -> Template:
    return Template(files("refill.simulators").joinpath("pages", name).read_text("utf-8"))


def _page(status: int, title: str, content: str, mark: str = "") -> Response:
    page = _template("alipay.html").substitute(title=title, content=content, mark=mark)
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'",
        "cache-control": "no-store",
    }
    return Response(status, headers, page.encode())
