"""JD Pay's end of the wire: a gateway with real RSA and 3DES both ways and the page on which a person presses Pay.

Served by `refill simulator jd_pay`; the seeded simulator calls `handle` directly in virtual time. What truly happened
stands in plain attributes: `captures`, `refunds`, `closed`; from another process, in the JSON of `GET /truth`.

Trouble, by `troubles.plan(name, times)` or `troubles.chances[name]`: for answers `slow`, `lost`, `html`, `truncated`,
`unsigned`, `garbled`, `error_before` and `error_after` (JPGT999999 with or without doing it), `broke` (a refund is to be
asked again); for notices `lose_notice`, `double_notice`, `late_notice`, `forge_notice`; `short_paid` (a cent less is
captured than was asked). From another process: `POST /troubles` with `name=lose_notice&times=1`.

The wire is that of `payments/jd_pay.py`, whose docstring names the sources; nothing of it is imported here. Where those
are silent this end does as follows: an order lapses `expireTime` seconds after its `tradeTime`; a question about a trade
that nobody opened is answered RFND000003; a trade that was revoked is closed, though it had been paid. A payment code
that ends in 0001 is refused by the bank; for one that ends in 0002 its owner must press Pay.
"""

import base64
import hashlib
import hmac
import io
import json
import re
import secrets
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from html import escape, unescape
from importlib.resources import files
from random import Random
from string import Template
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from refill.money import decimal_text, share
from refill.simulators.trouble import Keep, Post, Schedule, Sleep, Surroundings, Troubles, truth
from refill.world import NoAnswer, NotSent, Request, Response

NAME = "jd_pay"
PORT = 4
CHINA = timezone(timedelta(hours=8))
# How the firm repeats a notice until it reads "ok": at once, then 1, 3, 10 and 120 minutes after the payment.
REPEATS_S = (60, 120, 420, 6600)
DEFAULT_LIFE_S = 7 * 86_400
FEE_PER_MILLE = 6
_MERCHANT = "110000000001"  # of the merchant that `refill up` plays with
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


class Captured(NamedTuple):
    """Money that a person truly paid."""

    reference: str  # the merchant's tradeNum
    trade_no: str  # seen in statements only
    amount_minor: int
    at: datetime


class Refunded(NamedTuple):
    """Money that truly went back."""

    reference: str
    request_id: str  # the merchant's tradeNum of the refund or revocation
    amount_minor: int
    at: datetime


class Keys(NamedTuple):
    """The two RSA key pairs of a merchant and JD Pay, as PEM, and the secrets that both know."""

    merchant_private: str
    merchant_public: str
    jd_private: str
    jd_public: str
    des: str  # 24 bytes in base64
    statement: str


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this gateway."""
    keys = _kept_keys(keep)
    return {
        "jd_pay_merchant": _MERCHANT,
        "jd_pay_private_key_file": keys.merchant_private,
        "jd_pay_public_key_file": keys.jd_public,
        "jd_pay_des_key": keys.des,
        "jd_pay_gateway": url,
        "jd_pay_statement_key": keys.statement,
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "JdPaySimulator":
    """The gateway with the one merchant that `leads` speaks of; notices go where each charge says."""
    return JdPaySimulator(merchant=_MERCHANT, keys=_kept_keys(keep), base_url=url, **around)


def _kept_keys(keep: Keep) -> Keys:
    """Made once, so that yesterday's orders still verify."""
    return Keys(**json.loads(keep("jd-pay-simulator.json", lambda: json.dumps(make_keys()._asdict()))))


@dataclass
class Trade:
    """One trade as the gateway keeps it."""

    reference: str
    trade_no: str
    token: str  # in the addresses of its pages
    amount_minor: int
    subject: str
    expires_at: datetime
    notify_url: str
    return_url: str
    note: str
    paid_minor: int = 0
    paid_at: datetime | None = None
    failed: bool = False  # the last try; there may be another
    closed_at: datetime | None = None
    refunds: dict[str, int] = field(default_factory=dict)

    @property
    def refunded_minor(self) -> int:
        return sum(self.refunds.values())

    def status(self, now: datetime) -> str:
        """As on the wire: 0 waiting, 2 paid, 3 the last try failed, 4 closed."""
        if self.closed_at:
            return "4"
        if self.paid_at:
            return "2"
        return "4" if now >= self.expires_at else "3" if self.failed else "0"

    def may_be_paid(self, now: datetime) -> bool:
        return self.status(now) in ("0", "3")


class JdPaySimulator:
    """One gateway with one merchant: it holds the public half of the merchant's key and the private half of its own."""

    def __init__(
        self,
        *,
        merchant: str,
        keys: Keys,
        base_url: str,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
        chances: Mapping[str, float] | None = None,
    ) -> None:
        self._ours, self._theirs = _private_key(keys.jd_private), _public_key(keys.merchant_public)
        self._des, self._statement_key = base64.b64decode(keys.des), keys.statement
        self.merchant, self.base_url = merchant, base_url.rstrip("/")
        self._now, self._dice, self._schedule, self._post, self._sleep = now, dice, schedule, post, sleep
        self.troubles = Troubles(dice, chances)
        self.trades: dict[str, Trade] = {}
        self.captures: list[Captured] = []
        self.refunds: list[Refunded] = []
        self.closed: dict[str, datetime] = {}  # by the merchant; expired trades are not listed

    # What a person does

    def pay(self, reference: str, amount_override: int | None = None) -> bool:
        """A person presses Pay. False when nobody can pay this trade (any more). `amount_override` is in fen."""
        trade, now = self.trades.get(reference), self._now()
        if trade is None or not trade.may_be_paid(now):
            return False
        paid = trade.amount_minor if amount_override is None else amount_override
        if amount_override is None and self.troubles.strikes("short_paid"):
            paid -= 1
        trade.paid_at, trade.paid_minor = now, paid
        self.captures.append(Captured(reference, trade.trade_no, paid, now))
        self._announce(trade.notify_url, {**self._told(trade), "tradeType": "0"})
        return True

    # The wire

    async def handle(self, request: Request) -> Response:
        """Answers one request, of the merchant or of a person's browser. Raises NoAnswer when the answer is lost."""
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(urlsplit(self.base_url).path)
        match request.method, path:
            case "POST", "/jdpay/saveOrder":
                return self._save_order(request.body)
            case "POST", "/api/download.do":
                return self._download(request.body)
            case "POST", "/troubles":
                return self.troubles.ordered(request.body)
            case "GET", "/truth":
                captures, refunds = [one._asdict() for one in self.captures], [one._asdict() for one in self.refunds]
                return truth(captures=captures, refunds=refunds, closed=self.closed)
        match re.fullmatch(r"/service/([A-Za-z]{1,16})", path):
            case re.Match() as found if request.method == "POST":
                return await self._service(found[1], request.body)
        match re.fullmatch(r"/(qr|cashier)/([0-9a-f]{32})(?:/(pay|refuse|leave))?", path):
            case re.Match() as found:
                return self._person(request.method, found[1], found[2], found[3] or "")
        return self._index() if path in ("", "/") else _page(404, "没有这个页面 · No such page", "")

    async def _service(self, name: str, body: bytes) -> Response:
        services = {
            "uniorder": self._uniorder,
            "fkmPay": self._take_code,
            "query": self._query,
            "revoke": self._revoke,
            "refund": self._refund,
        }
        trouble = self.troubles.one_of(
            ("error_before", "error_after", "slow", "lost", "html", "truncated", "unsigned", "garbled")
        )
        try:
            if name not in services:
                raise _No("JPGT100001", "传入参数整体错误")
            fields = self._opened(body)
            if trouble == "error_before":
                raise _No("JPGT999999", "失败")
            said = services[name](fields)
            if trouble == "error_after":
                raise _No("JPGT999999", "失败")
            response = _xml_response(self._sealed(said))
        except _No as no:
            response = _xml_response(self._outside(no.code, no.why))
        return await self._troubled(response, trouble)

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
                return Response(200, response.headers, _bent(response.body))
            case "unsigned":
                return Response(200, response.headers, re.sub(rb"<encrypt>.*</encrypt>", b"", response.body))
        return response

    def _opened(self, body: bytes) -> dict[str, str]:
        """What the merchant asks, once its frame, encryption and signature hold."""
        outer = _fields(body.decode("utf-8", "replace"))
        if outer.get("merchant") != self.merchant or outer.get("version") != "V2.0":
            raise _No("JPGT201000", "商户信息不存在")
        try:
            text = self._decrypted(base64.b64decode(outer.get("encrypt", "")).decode("ascii"))
        except ValueError as error:
            raise _No("JPGT100001", "传入参数整体错误") from error
        asked = _fields(text)
        signed = text.replace(f"<sign>{asked.get('sign', '')}</sign>", "")
        if not self._holds(signed, asked.get("sign", "")) or asked.get("merchant") != self.merchant:
            raise _No("JPGT100000", "传入的参数验签失败")
        return asked

    def _sealed(self, said: Mapping[str, Any]) -> str:
        """An answer or notice: signed, encrypted whole, with its code inside and outside."""
        result = {"result": {"code": "000000", "desc": "success"}}
        signed = f"{_HEAD}<jdpay>{_elements({'version': 'V2.0', 'merchant': self.merchant, **result, **said})}</jdpay>"
        hidden = self._encrypted(signed.replace("</jdpay>", f"<sign>{self._sign(signed)}</sign></jdpay>"))
        return self._outside("000000", "success", base64.b64encode(hidden.encode()).decode())

    def _outside(self, code: str, why: str, encrypt: str = "") -> str:
        """What stands in clear around an answer; a refusal is nothing but this."""
        more = {"encrypt": encrypt} if encrypt else {}
        said = {"version": "V2.0", "merchant": self.merchant, "result": {"code": code, "desc": why}, **more}
        return f"{_HEAD}<jdpay>{_elements(said)}</jdpay>"

    # What the merchant asks for

    def _new_trade(self, asked: Mapping[str, str]) -> Trade:
        reference, now, fen = asked.get("tradeNum", ""), self._now(), asked.get("amount", "")
        ordered_at = _time(asked.get("tradeTime", ""))
        if not all(asked.get(name) for name in ("tradeName", "notifyUrl")) or asked.get("currency") != "CNY":
            raise _No("JPGT100005", "传入必须的参数为空")
        if not re.fullmatch(r"[0-9A-Za-z]{1,32}", reference) or not re.fullmatch(r"[1-9][0-9]{0,11}", fen):
            raise _No("JPGT100006", "传入必须的参数错误")
        life_s = asked.get("expireTime") or str(DEFAULT_LIFE_S)
        if ordered_at is None or not re.fullmatch(r"[1-9][0-9]{0,6}", life_s):
            raise _No("JPGT100006", "传入必须的参数错误")
        found = self.trades.get(reference)
        if found is not None:
            if found.paid_at:
                raise _No("JMPT200071", "订单已支付，不能重复支付")
            if found.amount_minor != int(fen):
                raise _No("CASH000005", "支付金额异常，请稍后重试")
            return self._payable(found)
        trade = Trade(
            reference,
            f"{now.astimezone(CHINA):%Y%m%d%H%M%S}{self._dice.randrange(10**12):012d}",
            f"{self._dice.getrandbits(128):032x}",
            int(fen),
            asked["tradeName"],
            ordered_at + timedelta(seconds=int(life_s)),
            _web(asked["notifyUrl"]),
            _web(asked.get("callbackUrl")),
            asked.get("note", ""),
        )
        self.trades[self._payable(trade).reference] = trade
        return trade

    def _payable(self, trade: Trade) -> Trade:
        if not trade.may_be_paid(self._now()):
            raise _No("CASH0019", "该订单交易已过期,请重新下单")
        return trade

    def _save_order(self, body: bytes) -> Response:
        """The form that brings a person here (V1.2): every field but three is encrypted by itself."""
        try:
            trade = self._new_trade(self._form(body))
        except _No as no:
            why = f"<p>{escape(no.why)} ({no.code})</p>"
            return _page(200, "这笔付款不能继续 · This payment cannot go on", why)
        return Response(303, {"location": f"{self.base_url}/cashier/{trade.token}"}, b"")

    def _form(self, body: bytes) -> dict[str, str]:
        fields = dict(parse_qsl(body.decode("ascii", "replace")))
        if fields.get("merchant") != self.merchant or fields.get("version") != "V2.0":
            raise _No("CASH000018", "该商户信息不存在，请核对后重试")
        signature = fields.pop("sign", "")
        try:
            clear = {
                name: text if name in ("merchant", "version") else self._decrypted(text)
                for name, text in fields.items()
            }
        except ValueError as error:
            raise _No("CASH000006", "商户解密异常，请稍后重试") from error
        if not self._holds("&".join(f"{name}={text}" for name, text in sorted(clear.items()) if text), signature):
            raise _No("CASH000007", "校验商户签名异常，请稍后重试")
        return clear

    def _uniorder(self, asked: Mapping[str, str]) -> dict[str, Any]:
        if asked.get("tradeType") != "QR":
            raise _No("JPGT100006", "传入必须的参数错误")
        trade = self._new_trade(asked)
        return {
            "orderId": trade.trade_no,
            "merchantName": "Refill",
            "amount": str(trade.amount_minor),
            "tradeNum": trade.reference,
            "qrCode": f"{self.base_url}/qr/{trade.token}",
        }

    def _take_code(self, asked: Mapping[str, str]) -> dict[str, Any]:
        code = asked.get("token", "")
        if not re.fullmatch(r"[0-9]{10,32}", code):
            raise _No("JPGT100006", "传入必须的参数错误")
        if code.endswith("0001"):
            raise _No("JMPT200011", "银行卡余额不足，请使用其他银行卡支付")
        trade = self._new_trade(asked)
        if not code.endswith("0002"):
            self.pay(trade.reference)
        return {
            "tradeNum": trade.reference,
            "amount": str(trade.amount_minor),
            "currency": "CNY",
            "tradeTime": _china(self._now()),
            "status": trade.status(self._now()),
        }

    def _query(self, asked: Mapping[str, str]) -> dict[str, Any]:
        if asked.get("tradeType") == "0":
            return {**self._told(self._found(asked.get("tradeNum", ""))), "tradeType": "0"}
        trade, number = self._found(asked.get("oTradeNum", "")), asked.get("tradeNum", "")
        if number not in trade.refunds:
            raise _No("RFND000004", "无退款记录")
        return self._refund_told(trade, number, trade.refunds[number])

    def _revoke(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """An unpaid trade can never be paid again; the money of a paid one goes back."""
        trade, number, now = self._found(asked.get("oTradeNum", "")), asked.get("tradeNum", ""), self._now()
        if number in (trade.reference, *trade.refunds) or not re.fullmatch(r"[0-9A-Za-z]{1,32}", number):
            raise _No("RFND000001", "重复提交")
        if asked.get("amount") != str(trade.amount_minor):
            raise _No("RFND009000", "参数异常")
        if trade.paid_at and trade.refunded_minor < trade.paid_minor:
            self._give_back(trade, number, trade.paid_minor - trade.refunded_minor)
        trade.closed_at = self.closed[trade.reference] = now
        return self._refund_told(trade, number, trade.amount_minor)

    def _refund(self, asked: Mapping[str, str]) -> dict[str, Any]:
        trade, number, fen = self._found(asked.get("oTradeNum", "")), asked.get("tradeNum", ""), asked.get("amount", "")
        if not re.fullmatch(r"[0-9A-Za-z]{1,32}", number) or not re.fullmatch(r"[1-9][0-9]{0,11}", fen):
            raise _No("RFND009000", "参数异常")
        if trade.paid_at is None:
            raise _No("RFND000003", "未查到内部交易号")
        if number in trade.refunds:
            raise _No("RFND000001", "重复提交")
        if trade.refunded_minor + int(fen) > trade.paid_minor:
            raise _No("RFND000002", "金额不足")
        if self.troubles.strikes("broke"):
            return {**self._refund_told(trade, number, int(fen)), "status": "3"}
        self._give_back(trade, number, int(fen))
        told = self._refund_told(trade, number, int(fen))
        self._announce(_web(asked.get("notifyUrl")), told)
        return told

    def _give_back(self, trade: Trade, number: str, minor: int) -> None:
        trade.refunds[number] = minor
        self.refunds.append(Refunded(trade.reference, number, minor, self._now()))

    def _found(self, reference: str) -> Trade:
        if reference not in self.trades:
            raise _No("RFND000003", "未查到内部交易号")
        return self.trades[reference]

    def _told(self, trade: Trade) -> dict[str, Any]:
        said: dict[str, Any] = {
            "tradeNum": trade.reference,
            "note": trade.note,
            "amount": str(trade.paid_minor or trade.amount_minor),
            "status": trade.status(self._now()),
        }
        if trade.paid_at:
            pay = {
                "payType": "0",
                "amount": str(trade.paid_minor),
                "currency": "CNY",
                "tradeTime": _china(trade.paid_at),
            }
            said["payList"] = {"pay": {**pay, "detail": {"bankCode": "CMB", "cardType": "1"}}}
        return said

    def _refund_told(self, trade: Trade, number: str, minor: int) -> dict[str, Any]:
        return {
            "tradeNum": number,
            "tradeType": "1",
            "oTradeNum": trade.reference,
            "amount": str(minor),
            "currency": "CNY",
            "tradeTime": _china(self._now()),
            "status": "1",
        }

    # Statements

    def _download(self, body: bytes) -> Response:
        """`download.do`: the file's name in base64 and an MD5 over that and a secret; what is wrong stands in a header."""
        fields = dict(parse_qsl(body.decode("ascii", "replace")))
        data = fields.get("data", "")
        md5 = hashlib.md5(f"{data}{self._statement_key}".encode(), usedforsecurity=False).hexdigest()
        if fields.get("owner") != self.merchant[:9] or not hmac.compare_digest(
            md5.encode(), fields.get("md5", "").encode()
        ):
            return Response(200, {"return-code": "00111"}, b"")
        try:
            name = str(json.loads(base64.b64decode(data))["name"])
            found = re.fullmatch(rf"([0-9]{{8}})ordercreate_{self.merchant}\.zip", name)
            day = datetime.strptime(found[1] if found else "", "%Y%m%d").replace(tzinfo=CHINA) - timedelta(days=1)
        except (ValueError, KeyError, TypeError):
            return Response(200, {"return-code": "00124"}, b"")
        if day.date() >= self._now().astimezone(CHINA).date():
            return Response(200, {"return-code": "00124"}, b"")  # the day is not over yet
        headers = {"return-code": "0000", "content-type": "application/zip"}
        return Response(200, headers, self.statement(day.date()))

    def statement(self, day: date) -> bytes:
        """The zip of one day in China: a row for each payment and each refund, and no totals."""
        heads = (
            "订单号,交易号,交易金额,支付方式,业务类型,状态,退款金额,币种,"
            "交易时间,完成时间,退款单号,手续费,账户,备注,备注,银行,渠道流水号"
        )
        rows = [heads]
        for paid in (one for one in self.captures if one.at.astimezone(CHINA).date() == day):
            fee = share(paid.amount_minor, FEE_PER_MILLE, 1000)
            rows.append(self._row(paid.reference, paid.trade_no, paid.amount_minor, "消费", paid.at, "", fee))
        for back in (one for one in self.refunds if one.at.astimezone(CHINA).date() == day):
            trade_no = self.trades[back.reference].trade_no
            rows.append(self._row(back.reference, trade_no, -back.amount_minor, "退款", back.at, back.request_id, 0))
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{day:%Y%m%d}ordercreate_{self.merchant}.csv", ("\r\n".join(rows) + "\r\n").encode("gbk"))
        return file.getvalue()

    def _row(self, number: str, trade_no: str, minor: int, kind: str, at: datetime, refund: str, fee: int) -> str:
        when = f"{at.astimezone(CHINA):%Y-%m-%d %H:%M:%S}"
        cells = [
            f'="{number}"',
            f'="{trade_no}"',
            decimal_text(minor, "CNY"),
            "快捷",
            kind,
            "成功",
            "0.00",
            "CNY",
            when,
        ]
        return ",".join([*cells, when, f'="{refund}"', decimal_text(fee, "CNY"), "Refill", "", "", "CMB", '="-1"'])

    # Notices

    def _announce(self, url: str, said: Mapping[str, Any]) -> None:
        if not url:
            return
        body = self._sealed(said).encode()
        first_s = self._dice.uniform(0, 600) if self.troubles.strikes("late_notice") else 0.0
        self._schedule(first_s, lambda: self._deliver(url, body, 0))
        if self.troubles.strikes("forge_notice"):
            forged = _bent(body)
            self._schedule(0.0, lambda: self._deliver(url, forged, len(REPEATS_S)))

    async def _deliver(self, url: str, body: bytes, repeat: int) -> None:
        """Sends one notice; the very same bytes come again until the merchant says 200 and "ok"."""
        headers = {"content-type": "application/xml; charset=utf-8"}
        accepted = False
        if not self.troubles.strikes("lose_notice"):
            for _ in range(2 if self.troubles.strikes("double_notice") else 1):
                try:
                    answer = await self._post(Request("POST", url, headers, body))
                    accepted = accepted or (answer.status, answer.body.strip()) == (200, b"ok")
                except (NotSent, NoAnswer):
                    pass
        if not accepted and repeat < len(REPEATS_S):
            self._schedule(REPEATS_S[repeat], lambda: self._deliver(url, body, repeat + 1))

    # Pages

    def _person(self, method: str, where: str, token: str, deed: str) -> Response:
        trade, now = next((trade for trade in self.trades.values() if trade.token == token), None), self._now()
        if trade is None:
            return _page(404, "没有这笔付款 · There is no such payment", "")
        cashier = f"{self.base_url}/cashier/{token}"
        if where == "qr":
            return Response(302, {"location": cashier}, b"")
        if method == "POST" and deed == "pay":
            self.pay(trade.reference)
        if method == "POST" and deed == "refuse" and trade.may_be_paid(now):
            trade.failed = True
        receipt = _template("jd_pay_receipt.html").substitute(
            amount=decimal_text(trade.paid_minor or trade.amount_minor, "CNY"),
            subject=escape(trade.subject),
            reference=escape(trade.reference),
        )
        if trade.paid_at:
            return _page(200, "已付款 · Paid", receipt + self._way_back(trade), mark="done")
        shop = f'<a class="quiet" href="{escape(trade.return_url)}">返回商家 · Back to the shop</a>'
        way_back, nothing = shop if trade.return_url else "", "<p>没有扣款。Nothing was taken.</p>"
        if not trade.may_be_paid(now):
            return _page(200, "付款已关闭 · Closed", nothing + way_back)
        if method == "POST" and deed in ("refuse", "leave"):
            again = f'<a class="quiet" href="{cashier}">继续付款 · Pay after all</a>'
            title = "您已离开 · You walked away" if deed == "leave" else "付款失败 · The payment failed"
            return _page(200, title, nothing + again + way_back)
        buttons = _template("jd_pay_buttons.html").substitute(
            at=cashier,
            amount=decimal_text(trade.amount_minor, "CNY"),
            until=f"{trade.expires_at.astimezone(CHINA):%H:%M}",
        )
        return _page(200, "确认付款 · Confirm payment", receipt + buttons)

    def _way_back(self, trade: Trade) -> str:
        """The firm returns a person by POST, with its signed word; a courtesy, never a proof of payment."""
        if not trade.return_url or trade.paid_at is None:
            return ""
        said = {
            "tradeNum": trade.reference,
            "amount": str(trade.paid_minor),
            "currency": "CNY",
            "tradeTime": _china(trade.paid_at),
            "note": trade.note,
            "status": "0",
        }
        signed = "&".join(f"{name}={text}" for name, text in sorted(said.items()) if text)
        fields = {name: self._encrypted(text) for name, text in said.items() if text} | {"sign": self._sign(signed)}
        inputs = "".join(f'<input type="hidden" name="{name}" value="{text}">' for name, text in fields.items())
        button = '<button class="quiet">返回商家 · Back to the shop</button>'
        return f'<form method="post" action="{escape(trade.return_url)}">{inputs}{button}</form>'

    def _index(self) -> Response:
        words = {"0": "待付款 · Waiting", "2": "已付款 · Paid", "3": "付款失败 · Failed", "4": "已关闭 · Closed"}
        rows = "".join(
            f"<tr><td><code>{escape(trade.reference)}</code><td>{decimal_text(trade.amount_minor, 'CNY')}"
            f"<td>{words[trade.status(self._now())]}"
            for trade in reversed(list(self.trades.values())[-20:])
        )
        table = f"<table><thead><tr><th>交易 · Trade<th>¥<th>状态 · State<tbody>{rows}</table>"
        nothing = "<p>还没有交易。No trades yet.</p>"
        return _page(200, "最近的交易 · Latest trades", table if rows else nothing)

    # Keys at work

    def _sign(self, text: str) -> str:
        """The hexadecimal SHA-256 of the text, in a PKCS #1 v1.5 block, under our private key."""
        digest = hashlib.sha256(text.encode()).hexdigest().encode()
        return base64.b64encode(self._ours.sign(digest, PKCS1v15(), NoDigestInfo())).decode()

    def _holds(self, text: str, signature: str) -> bool:
        try:
            signed = self._theirs.recover_data_from_signature(base64.b64decode(signature), PKCS1v15(), None)
        except (InvalidSignature, ValueError):
            return False
        return signed == hashlib.sha256(text.encode()).hexdigest().encode()

    def _encrypted(self, text: str) -> str:
        raw = text.encode()
        block = len(raw).to_bytes(4, "big") + raw
        block += bytes(-len(block) % 8)
        return Cipher(TripleDES(self._des), ECB()).encryptor().update(block).hex()  # noqa: S305

    def _decrypted(self, hidden: str) -> str:
        """Raises ValueError for what is not encrypted with our key."""
        block = bytes.fromhex(hidden)
        if not block or len(block) % 8:
            raise ValueError("not a whole number of blocks")
        clear = Cipher(TripleDES(self._des), ECB()).decryptor().update(block)  # noqa: S305
        length = int.from_bytes(clear[:4], "big")
        if not 0 <= len(clear) - 4 - length < 8:
            raise ValueError("not the length that it says")
        return clear[4 : 4 + length].decode()


def make_keys() -> Keys:
    """Fresh keys; of 2048 bits, though the firm's own has 1024."""
    merchant, jd = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    des = base64.b64encode(secrets.token_bytes(24)).decode()
    pairs = _private_pem(merchant), _public_pem(merchant), _private_pem(jd), _public_pem(jd)
    return Keys(*pairs, des, secrets.token_hex(16))


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
    """A refusal in JD Pay's words."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(code)
        self.code, self.why = code, why


def _fields(text: str) -> dict[str, str]:
    """The elements of a flat message, as merchants send them."""
    if "<!" in text:
        raise _No("JPGT100001", "传入参数整体错误")
    found = re.findall(r"<([A-Za-z]{1,32})>([^<>]*)</\1>", text)
    if len(dict(found)) != len(found):
        raise _No("JPGT100001", "传入参数整体错误")
    return {name: unescape(inside) for name, inside in found}


def _elements(said: Mapping[str, Any]) -> str:
    """Elements as this firm writes them; an empty one is left out."""
    parts = (
        (name, _elements(one) if isinstance(one, Mapping) else escape(one, quote=False)) for name, one in said.items()
    )
    return "".join(f"<{name}>{inside}</{name}>" for name, inside in parts if inside)


def _bent(body: bytes) -> bytes:
    """The same message with another first letter under the encryption."""
    return re.sub(rb"<encrypt>(.)", lambda found: b"<encrypt>" + (b"N" if found[1] == b"M" else b"M"), body)


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=CHINA).astimezone(UTC)
    except ValueError:
        return None


def _china(at: datetime) -> str:
    return at.astimezone(CHINA).strftime("%Y%m%d%H%M%S")


def _web(url: str | None) -> str:
    """An address that a browser or we may go to; anything but HTTP is dropped."""
    return url if url and urlsplit(url).scheme in ("http", "https") else ""


def _xml_response(text: str) -> Response:
    return Response(200, {"content-type": "application/xml; charset=utf-8"}, text.encode())


def _template(name: str) -> Template:
    return Template(files("refill.simulators").joinpath("pages", name).read_text("utf-8"))


def _page(status: int, title: str, content: str, mark: str = "") -> Response:
    page = _template("jd_pay.html").substitute(title=title, content=content, mark=mark)
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'",
        "cache-control": "no-store",
    }
    return Response(status, headers, page.encode())
