"""The payment firms of a seeded day: on the virtual wire with their own chances of trouble, and as a person meets them."""

import base64
import hmac
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta, timezone
from functools import cache
from hashlib import sha256
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from refill import payments, simulators
from refill.money import Money
from refill.payments import Invitation, Method
from refill.simulate.world import Knobs
from refill.simulators.trouble import Surroundings
from refill.world import Request, Response

CHINA = timezone(timedelta(hours=8))
ANSWERS = "error_before error_after slow lost html truncated".split()  # what every firm's answers may meet
_REFERENCE = re.compile(rb"tu[_U][0-9a-z]{24}p[0-9]{1,2}")  # ours, as a person reads it on a firm's page
_MOST_HOPS = 3


class Taken(NamedTuple):
    """Money that a person truly paid: by our reference, under the firm's own number."""

    reference: str
    transaction: str
    minor: int
    at: datetime


class Given(NamedTuple):
    """Money that truly went back."""

    reference: str
    request_id: str
    minor: int
    at: datetime


class Fought(NamedTuple):
    """What a payer's bank did with a payment: opened, won or lost."""

    reference: str
    transaction: str
    state: str
    minor: int
    at: datetime


class Gateway(ABC):
    """One firm of the day. References are ours on this side, however the firm writes them."""

    name: ClassVar[str]
    scenes: ClassVar[tuple[str, ...]]
    wrongs: ClassVar[tuple[str, ...]]  # its own troubles, beside those of every firm

    def __init__(self, knobs: Knobs, public_url: str, around: Surroundings) -> None:
        self.far: Any = simulators.shelf()[self.name].plays(_keep, self.url(), public_url, around)
        self.far.troubles.chances |= {
            "lose_notice": knobs.lose_notice,
            "double_notice": knobs.double_notice,
            "late_notice": knobs.late_notice,
            "forge_notice": knobs.forge_notice,
            "short_paid": knobs.short_paid,
            **dict.fromkeys((*ANSWERS, *self.wrongs), knobs.gateway),
        }

    @classmethod
    def url(cls) -> str:
        """Where on the virtual wire the firm is found."""
        return f"http://{cls.name.replace('_', '-')}.example"

    @classmethod
    @abstractmethod
    def method(cls) -> Method:
        """Our adapter, led to this firm. Made by hand: as settings, keys as short as ours are refused."""

    @classmethod
    def leads(cls) -> dict[str, str]:
        """The settings that lead us to this firm."""
        return {name: str(value) for name, value in simulators.shelf()[cls.name].leads(_keep, cls.url()).items()}

    def heal(self, *, lose_notices: bool) -> None:
        """Its troubles end; notices may stay lost, for nobody promised them."""
        self.far.troubles.heal()
        if lose_notices:
            self.far.troubles.chances["lose_notice"] = 1.0

    # What a person does

    async def open(
        self, send: Callable[[Request], Coroutine[Any, Any, Response]], invitation: Mapping[str, Any]
    ) -> str | None:
        """A browser goes where we sent it; the reference that the person reads there. Raises NotSent, NoAnswer.

        `invitation` as a door told it: kind, url, fields. None: there is nothing to pay.
        """
        ask = Request("GET", invitation["url"], timeout_s=20)
        if invitation["kind"] == "form":
            headers = {"content-type": "application/x-www-form-urlencoded"}
            ask = Request("POST", invitation["url"], headers, urlencode(invitation["fields"]).encode(), 20)
        for _ in range(_MOST_HOPS):
            page = await send(ask)
            if page.status not in (302, 303):
                break
            ask = Request("GET", page.headers["location"], timeout_s=20)
        found = _REFERENCE.search(page.body)
        return self._ours(found[0].decode()) if found else None

    def pay(self, reference: str) -> bool:
        """A person presses Pay. False when nobody can pay this (any more)."""
        paid: bool = self.far.pay(self._theirs(reference))
        return paid

    @abstractmethod
    def forged(self, reference: str, paid: Money, now: datetime, mark: int) -> Request:
        """The notice of somebody who knows everything but the firm's own key; `mark` makes it differ from others."""

    # What truly happened

    def taken(self) -> list[Taken]:
        """All that people paid."""
        return [Taken(one.reference, one.trade_no, one.amount_minor, one.at) for one in self.far.captures]

    def given(self) -> list[Given]:
        """All that went back."""
        return [Given(self._ours(one[0]), self._ours(one[1]), one.amount_minor, one.at) for one in self.far.refunds]

    def revoked(self) -> set[str]:
        """What was paid in the moment in which we closed it, and went back by itself."""
        return set()

    def fought(self) -> list[Fought]:
        """All that payers' banks did."""
        return []

    def _ours(self, name: str) -> str:
        return name

    def _theirs(self, name: str) -> str:
        return name


class Alipay(Gateway):
    """Alipay: a page and a QR code."""

    name, scenes, wrongs = "alipay", ("page", "qr"), ("unsigned", "garbled", "broke")

    @classmethod
    def method(cls) -> Method:
        leads, theirs = cls.leads(), _key(cls.name).public_key()
        named = leads["alipay_app_id"], leads["alipay_seller_id"]
        method: Method = payments.shelf()[cls.name].Alipay(*named, _key("ours"), theirs, leads["alipay_gateway"])
        return method

    def forged(self, reference: str, paid: Money, now: datetime, mark: int) -> Request:
        at = now.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")
        fields = {
            "app_id": self.far.app_id,
            "seller_id": self.far.seller_id,
            "notify_id": f"forged {mark}",
            "notify_time": at,
            "charset": "utf-8",
            "out_trade_no": reference,
            "trade_no": f"forged {mark}",
            "trade_status": "TRADE_SUCCESS",
            "total_amount": paid.text(),
            "gmt_payment": at,
        }
        return Request("POST", "", {}, payments.shelf()[self.name].sign_notice(_key("forger"), fields))


class WechatPay(Gateway):
    """WeChat Pay: a QR code, and H5 on a telephone."""

    name, scenes, wrongs = "wechat_pay", ("qr", "wap"), ("unsigned", "garbled", "broke", "slow_refund")

    @classmethod
    def method(cls) -> Method:
        shelf, leads = payments.shelf()[cls.name], cls.leads()
        method: Method = shelf.WechatPay(
            mchid=leads["wechat_pay_mchid"],
            appid=leads["wechat_pay_appid"],
            serial_no=leads["wechat_pay_serial_no"],
            private_key=_key("ours"),
            api_v3_key=leads["wechat_pay_api_v3_key"].encode(),
            signers={leads["wechat_pay_public_key_id"]: shelf.Signer(_key(cls.name).public_key())},
            public_key_id=leads["wechat_pay_public_key_id"],
            gateway_url=cls.url(),
        )
        return method

    def forged(self, reference: str, paid: Money, now: datetime, mark: int) -> Request:
        """The APIv3 key has leaked, so its content opens; the signature is the forger's."""
        known = _secrets()["wechat-pay-simulator.json"]
        resource = {
            "mchid": self.far.mchid,
            "appid": self.far.appid,
            "out_trade_no": reference,
            "transaction_id": f"forged{mark}",
            "trade_state": "SUCCESS",
            "success_time": now.astimezone(CHINA).isoformat(timespec="seconds"),
            "amount": {"total": paid.minor, "currency": paid.currency},
        }
        said = {
            "id": f"EV-forged-{mark}",
            "create_time": now.astimezone(CHINA).isoformat(timespec="seconds"),
            "event_type": "TRANSACTION.SUCCESS",
        }
        raw = payments.shelf()[self.name].sign_notice(
            _key("forger"), known["public_key_id"], known["api_v3_key"].encode(), said, resource, now
        )
        return Request("POST", "", raw.headers, raw.body)


class JdPay(Gateway):
    """JD Pay: a form that opens its page, and a QR code; it writes our names with U where we write _."""

    name, scenes, wrongs = "jd_pay", ("page", "wap", "qr"), ("unsigned", "garbled", "broke")

    @classmethod
    def method(cls) -> Method:
        leads, theirs = cls.leads(), _key(cls.name).public_key()
        des_key = base64.b64decode(leads["jd_pay_des_key"])
        shelf = payments.shelf()[cls.name]
        method: Method = shelf.JdPay(leads["jd_pay_merchant"], _key("ours"), theirs, des_key, cls.url())
        return method

    def forged(self, reference: str, paid: Money, now: datetime, mark: int) -> Request:
        """The 3DES key has leaked, so its content opens; the signature is the forger's."""
        known = _secrets()["jd-pay-simulator.json"]
        at = (now.astimezone(CHINA) - timedelta(seconds=mark % 60)).strftime("%Y%m%d%H%M%S")
        fields = {
            "version": "V2.0",
            "merchant": self.far.merchant,
            "tradeNum": self._theirs(reference),
            "tradeType": "0",
            "amount": str(paid.minor),
            "status": "2",
            "payList": {"pay": {"payType": "0", "amount": str(paid.minor), "currency": paid.currency, "tradeTime": at}},
        }
        seal = payments.shelf()[self.name].seal
        return Request("POST", "", {}, seal(_key("forger"), base64.b64decode(known["des"]), fields, "000000"))

    def taken(self) -> list[Taken]:
        # On the wire they name a payment by our own reference only; their number stands in statements.
        captures = self.far.captures
        return [Taken(self._ours(one.reference), one.reference, one.amount_minor, one.at) for one in captures]

    def revoked(self) -> set[str]:
        # A revocation has a number of its own; refunds have the names that we give them.
        return {given.reference for given in self.given() if not given.request_id.startswith("tu_")}

    def _ours(self, name: str) -> str:
        return name.replace("U", "_")

    def _theirs(self, name: str) -> str:
        return name.replace("_", "U")


class Card(Gateway):
    """Cards at Stripe, whose payers may let their bank dispute what they paid."""

    name, scenes, wrongs = "card", ("page", "wap"), ("busy", "broke", "refund_pending", "old_notice")

    @classmethod
    def method(cls) -> Method:
        method: Method = payments.shelf()[cls.name].from_settings(cls.leads())
        return method

    def forged(self, reference: str, paid: Money, now: datetime, mark: int) -> Request:
        event = {
            "id": f"evt_forged{mark}",
            "object": "event",
            "created": int(now.timestamp()),
            "livemode": False,
            "type": "checkout.session.completed",
            "data": {
                "object": {
                    "id": f"cs_forged{mark}",
                    "object": "checkout.session",
                    "client_reference_id": reference,
                    "livemode": False,
                    "status": "complete",
                    "payment_status": "paid",
                    "payment_intent": f"pi_forged{mark}",
                    "amount_total": paid.minor,
                    "currency": paid.currency.lower(),
                }
            },
        }
        body, stamp = json.dumps(event).encode(), int(now.timestamp())
        signature = hmac.new(b"whsec_of_a_forger", f"{stamp}.".encode() + body, sha256).hexdigest()
        return Request("POST", "", {"stripe-signature": f"t={stamp},v1={signature}"}, body)

    def dispute(self, reference: str) -> bool:
        """The payer's bank takes the money back. False when there is nothing to take."""
        done: bool = self.far.dispute(reference)
        return done

    def decide(self, reference: str, won: bool) -> bool:
        """The bank has decided. False when it has nothing to decide."""
        done: bool = self.far.close_dispute(reference, won)
        return done

    def taken(self) -> list[Taken]:
        return [Taken(one.reference, one.transaction, one.amount_minor, one.at) for one in self.far.captures]

    def fought(self) -> list[Fought]:
        return [
            Fought(one.reference, one.transaction, one.state, one.amount_minor, one.at) for one in self.far.disputed
        ]


GATEWAYS: dict[str, type[Gateway]] = {one.name: one for one in (Alipay, WechatPay, JdPay, Card)}
INSIDE = ("voucher", "wallet", "cash")  # methods behind which no firm stands


# ------------------------------------------------------------------ made once in a process


@cache
def methods() -> dict[str, Method]:
    """Our adapters of all firms, and the methods behind which no firm stands."""
    ours = {name: payments.shelf()[name].from_settings({}) for name in INSIDE}
    return ours | {name: firm.method() for name, firm in GATEWAYS.items()}


def _keep(file_name: str, make: Callable[[], str]) -> str:
    """What a firm and we share, in place of what it would make for a real merchant."""
    known = _secrets().get(file_name)
    return json.dumps(known) if known else sha256(file_name.encode()).hexdigest()[:32]


@cache
def _secrets() -> dict[str, dict[str, str]]:
    """Keys of 1024 bits: the same code runs, five times faster. All else is the same in every process."""
    ours = _pems("merchant", "ours")
    wechat, certificate = _pems("wechat", "wechat_pay"), {"certificate_private": "", "certificate": ""}
    shared = {"merchant_serial": "5157F09EFDC096DE", "api_v3_key": "0123456789abcdef" * 2}
    return {
        "alipay-simulator.json": {**ours, **_pems("alipay", "alipay")},
        # They sign with their public key's other half, never with a platform certificate.
        "wechat-pay-simulator.json": {**ours, **wechat, **certificate, **shared, "public_key_id": "PUB_KEY_ID_01"},
        "jd-pay-simulator.json": {
            **ours,
            **_pems("jd", "jd_pay"),
            "des": base64.b64encode(bytes(range(24))).decode(),
            "statement": "statement",
        },
        "card-simulator.json": {"secret_key": f"sk_test_{'0' * 24}", "webhook_secret": "whsec_of_stripe"},
    }


def _pems(side: str, owner: str) -> dict[str, str]:
    key = _key(owner)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {f"{side}_private": private, f"{side}_public": public}


@cache
def _key(owner: str) -> rsa.RSAPrivateKey:
    """Of us, a firm or the forger."""
    return rsa.generate_private_key(65537, 1024)  # noqa: S505


def told(invitation: Invitation) -> dict[str, Any]:
    """An invitation as a door tells it to a browser."""
    return {"kind": invitation.kind, "url": invitation.url, "fields": dict(invitation.fields)}
