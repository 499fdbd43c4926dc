"""DT One's end of its wire: products, an account in euros, transactions in two steps, callbacks, and trouble by number.

Served by `refill simulator dtone`; tests call `handle` directly in virtual time. What truly happened stands in plain
attributes: `credits`, `reversals`, `declined`, `available_minor`; from another process, in `GET /truth`.

The last four digits of a number decide what happens (`WHAT_HAPPENS`, also shown on the page at `/`); `chances` gives
the same troubles a probability each, `troubles.plan(name)` makes one happen next. Beside them, by plan or chance:
`inquiry_lost`, `inquiry_html`, `lose_notice`, `double_notice`, `late_notice`.
From another process: `POST /troubles` with `name=lost&times=1`.
"""

import hmac
import json
import os
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from random import Random
from string import Template
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from refill.errors import NotAnAmount
from refill.money import amount, decimal_text
from refill.simulators.trouble import BY_SUFFIX, Keep, Post, Schedule, Sleep, Surroundings, Troubles, truth
from refill.world import NoAnswer, NotSent, Request, Response

NAME = "dtone"
PORT = 8
RANGED, FIXED = 3000, 3021  # its two products: any amount from 10 to 500 yuan, and 50 yuan
FIXED_MINOR = 5000

WHAT_HAPPENS = {
    "slow": "delivered, answered after 10 s",
    "lost": "delivered, but the answer to the confirmation is lost",
    "refused": "DECLINED-BARRED-CREDIT-PARTY",
    "hidden": "the answer to the order is lost, it is not found, and a minute later it stands there, unconfirmed",
    "duplicate": "DECLINED-DUPLICATED-TRANSACTION, though it was delivered: the operator was asked twice",
    "odd_code": "delivered, but answered with a code that nobody documented",
    "partial": "half of the amount is delivered",
    "html": "delivered, but answered 200 with an HTML page",
    "truncated": "delivered, but the answer breaks off",
    "wrong_amount": "delivered, but the answer names another amount",
    "wrong_number": "delivered, but the answer names another number",
    "not_ours": "DECLINED-INVALID-CREDIT-PARTY",
    "empty_float": "no transaction is made: 1006001",
    "later": "SUBMITTED, COMPLETED after 8 s",
    "fails_later": "SUBMITTED, DECLINED after 8 s",
    "contradicts": "delivered, then a callback says DECLINED",
    "huge": "delivered, but the answer is 2 MiB long",
    "busy": "REJECTED-OPERATOR-CURRENTLY-UNAVAILABLE",
    "reversed": "delivered, and REVERSED after 20 s",
    "silent": "SUBMITTED for ever, never delivered",
    "error_500": "delivered, but answered with status 500 and no body",
    "order_lost": "the answer to the order is lost, and it stands there, unconfirmed",
    "confirmed_late": "the answer to the confirmation is lost, and it counts a minute later",
}
SUFFIXES = {end: what for end, what in BY_SUFFIX.items() if what in WHAT_HAPPENS} | {
    "0023": "order_lost",
    "0024": "confirmed_late",
}
_DECLINES = {
    "refused": "DECLINED-BARRED-CREDIT-PARTY",
    "not_ours": "DECLINED-INVALID-CREDIT-PARTY",
    "busy": "REJECTED-OPERATOR-CURRENTLY-UNAVAILABLE",
    "fails_later": "DECLINED",
}
_CLASSES = {
    "CREATED": 1,
    "CONFIRMED": 2,
    "REJECTED": 3,
    "CANCELLED": 4,
    "SUBMITTED": 5,
    "COMPLETED": 7,
    "REVERSED": 8,
    "DECLINED": 9,
}
_CONFIRM_WITHIN = timedelta(hours=1)
_REPEATS_S = (5, 30, 300)
_encode = msgspec.json.Encoder(decimal_format="number").encode  # amounts are bare numbers with all their digits


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this DT One. Refill's own address is not known here, so it is only asked."""
    return {
        "dtone_key": "refill",
        "dtone_secret": _secret(keep, "api"),
        "dtone_products": f"northtel={RANGED}",
        "dtone_url": url,
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "DtOneSimulator":
    """DT One with the one client that `leads` speaks of; it calls back where an order says."""
    return DtOneSimulator(secret=_secret(keep, "api"), base_url=url, **around)


def _secret(keep: Keep, what: str) -> str:
    return keep(f"dtone-{what}.secret", lambda: os.urandom(32).hex())


class Credit(NamedTuple):
    """Credit that a telephone truly got, or that was truly taken back from it."""

    request_id: str
    msisdn: str
    face_minor: int
    at: datetime


@dataclass
class Transaction:
    """One transaction as DT One keeps it."""

    number: int
    external_id: str
    product_id: int
    msisdn: str
    face_minor: int
    trouble: str
    at: datetime
    callback_url: str = ""
    status: str = "CREATED"
    credited_minor: int = 0
    seen_from: datetime | None = None  # until then no list has it


class DtOneSimulator:
    """One account that sells two products of one operator. An external id makes one transaction, for ever."""

    def __init__(
        self,
        *,
        secret: str,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
        key: str = "refill",
        base_url: str = "",
        available_minor: int = 10**8,
        currency: str = "EUR",
        local_currency: str = "CNY",
        rate_per_mille: int = 7900,  # so many of the telephone's minor units for a thousand of the account's
        latest_s: float = 60.0,
        by_suffix: Mapping[str, str] = SUFFIXES,
        chances: Mapping[str, float] | None = None,
    ) -> None:
        self._basic = "Basic " + b64encode(f"{key}:{secret}".encode()).decode()
        self.base_path = urlsplit(base_url).path.rstrip("/")
        self._now, self._dice, self._schedule, self._post, self._sleep = now, dice, schedule, post, sleep
        self.available_minor, self.holding_minor, self.currency = available_minor, 0, currency
        self.local_currency, self.rate_per_mille = local_currency, rate_per_mille
        self.latest_s, self.by_suffix = latest_s, by_suffix
        self.troubles = Troubles(dice, chances)
        self.transactions: dict[str, Transaction] = {}  # by external id
        self.credits: list[Credit] = []
        self.reversals: list[Credit] = []
        self.declined: list[str] = []  # external ids

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises NoAnswer when the answer is lost."""
        parts = urlsplit(request.url)
        path, query = parts.path.removeprefix(self.base_path), parse_qs(parts.query)
        match request.method, path:
            case "GET", "" | "/":
                return self._page()
            case "POST", "/troubles":
                return self.troubles.ordered(request.body)
            case "GET", "/truth":
                credits, reversals = [one._asdict() for one in self.credits], [one._asdict() for one in self.reversals]
                told = {"declined": self.declined, "available_minor": self.available_minor}
                return truth(credits=credits, reversals=reversals, **told)
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._basic.encode()):
            return _error(401, 1000401, "Unauthorized")
        match request.method, path:
            case "GET", "/v1/balances":
                return _json([self._balance()])
            case "GET", "/v1/products":
                return self._products(query)
            case "GET", "/v1/transactions":
                return self._listed(query)
            case "POST", "/v1/async/transactions" | "/v1/sync/transactions":
                return await self._create(request, path)
        return await self._by_number(request.method, path)

    async def _by_number(self, method: str, path: str) -> Response:
        """What has a transaction's number in its address."""
        asked = re.fullmatch(r"/v1/(?:a?sync/)?transactions/([0-9]{1,18})(/confirm|/cancel)?", path)
        number = int(asked[1]) if asked else 0
        found = next((one for one in self.transactions.values() if one.number == number), None)
        if asked is None or found is None or self._unseen(found):
            return _error(404, 1008004 if asked else 1000404, "Not found")
        match method, asked[2]:
            case "GET", None:
                return _json(self._told(found))
            case "POST", "/confirm":
                return await self._confirm(found, wait="/sync/" in path)
            case "POST", "/cancel":
                if found.status != "CREATED":
                    return _error(400, 1007007, "Transaction can no longer be cancelled")
                self._release(found, "CANCELLED")
                return _json(self._told(found))
        return _error(404, 1000404, "Resource not found")

    # Ordering

    async def _create(self, request: Request, path: str) -> Response:
        try:
            order = json.loads(request.body, parse_float=str, parse_int=str)
            external_id, product_id = order["external_id"], int(order["product_id"])
            msisdn = order["credit_party_identifier"]["mobile_number"].removeprefix("+")
            usable = re.fullmatch(r"\S{1,40}", external_id) and re.fullmatch(r"[0-9]{7,15}", msisdn)
            callback_url = str(order.get("callback_url") or "")
            if not usable:
                raise ValueError("unusable")
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, 1000400, "Bad request")
        if product_id not in (RANGED, FIXED):
            return _error(404, 1003001, "Product is not available in your account")
        if external_id in self.transactions:
            return _error(400, 1007001, "Transaction external ID has already been used")
        try:
            face_minor = self._face_minor(order) if product_id == RANGED else FIXED_MINOR
        except (NotAnAmount, KeyError, TypeError):
            return _error(400, 1003002, "Requested product amount is out of range")
        trouble = self.by_suffix.get(msisdn[-4:], "") or self.troubles.one_of(tuple(WHAT_HAPPENS))
        if trouble == "empty_float" or self._price(face_minor) > self.available_minor:
            return _error(400, 1006001, "Insufficient balance")
        made = Transaction(
            2_237_000_000 + len(self.transactions),
            external_id,
            product_id,
            msisdn,
            face_minor,
            trouble,
            self._now(),
            callback_url,
        )
        self.transactions[external_id] = made
        self.available_minor -= self._price(face_minor)
        self.holding_minor += self._price(face_minor)
        if trouble == "hidden":
            made.seen_from = self._now() + timedelta(seconds=self.latest_s)
        if trouble in ("hidden", "order_lost"):
            made.trouble = ""  # once found, all goes well
            raise NoAnswer("the answer was lost")
        if order.get("auto_confirm") is True:
            return await self._confirm(made, wait=path.startswith("/v1/sync/"))
        return _json(self._told(made), 201)

    async def _confirm(self, made: Transaction, wait: bool) -> Response:
        if made.status == "CREATED" and self._now() >= made.at + _CONFIRM_WITHIN:
            self._release(made, "CANCELLED")
        if made.status in ("CANCELLED", "REJECTED"):
            return _error(400, 1007004, "Transaction can no longer be confirmed")
        if made.status != "CREATED":
            return _error(400, 1007002, "Transaction has already been confirmed")
        if made.trouble == "confirmed_late":
            self._schedule(self.latest_s, lambda: self._take_up_late(made))
            raise NoAnswer("the answer was lost")
        self._take_up(made)
        return await self._troubled(made, "CONFIRMED" if not wait and made.status == "COMPLETED" else made.status)

    async def _take_up_late(self, made: Transaction) -> None:
        if made.status == "CREATED":
            self._take_up(made)

    def _take_up(self, made: Transaction) -> None:
        """Carries out a confirmed transaction, now or later."""
        made.status = "SUBMITTED"
        if made.trouble in ("later", "fails_later"):
            self._schedule(8, lambda: self._finish_later(made))
        elif made.trouble != "silent":
            self._finish(made)

    async def _finish_later(self, made: Transaction) -> None:
        self._finish(made)

    def _finish(self, made: Transaction) -> None:
        if made.trouble in _DECLINES:
            self._release(made, _DECLINES[made.trouble])
            self.declined.append(made.external_id)
            self._announce(made, made.status)
            return
        held = self._price(made.face_minor)
        made.credited_minor = max(made.face_minor // 2, 1) if made.trouble == "partial" else made.face_minor
        self.holding_minor -= held
        self.available_minor += held - self._price(made.credited_minor)
        self.credits.append(Credit(made.external_id, made.msisdn, made.credited_minor, self._now()))
        made.status = "DECLINED-DUPLICATED-TRANSACTION" if made.trouble == "duplicate" else "COMPLETED"
        self._announce(made, made.status)
        if made.trouble == "contradicts":
            self._announce(made, "DECLINED", after_s=2)
        if made.trouble == "reversed":
            self._schedule(20, lambda: self._reverse(made))

    def _release(self, made: Transaction, status: str) -> None:
        """Nothing was delivered: what was held is ours again."""
        self.holding_minor -= self._price(made.face_minor)
        self.available_minor += self._price(made.face_minor)
        made.status = status

    async def _reverse(self, made: Transaction) -> None:
        self.available_minor += self._price(made.credited_minor)
        self.reversals.append(Credit(made.external_id, made.msisdn, made.credited_minor, self._now()))
        made.status = "REVERSED"
        self._announce(made, made.status)

    async def _troubled(self, made: Transaction, status: str) -> Response:
        """The answer as it arrives; whatever it says, what was done is done."""
        said = self._told(made, status)
        match made.trouble:
            case "slow":
                await self._sleep(10)
            case "lost":
                raise NoAnswer("the answer was lost")
            case "odd_code":
                return _error(400, 1004711, "Something new")
            case "html":
                return Response(200, {"content-type": "text/html"}, b"<html><body>Welcome to the portal</body></html>")
            case "wrong_amount":
                said["benefits"][0]["amount"]["base"] = self._local(made.face_minor + 100)
            case "wrong_number":
                wrong = made.msisdn[:-1] + str((int(made.msisdn[-1]) + 1) % 10)
                said["credit_party_identifier"] = {"mobile_number": f"+{wrong}"}
            case "huge":
                said["padding"] = "x" * (2 << 20)
            case "error_500":
                return Response(500, {"content-type": "text/plain"}, b"")
            case "truncated":
                whole = _json(said)
                return Response(200, whole.headers, whole.body[: len(whole.body) // 2])
        return _json(said)

    # Money: the face is the telephone's, everything else the account's

    def _face_minor(self, order: Mapping[str, Any]) -> int:
        """What the telephone is to get of the product of any amount. Raises NotAnAmount, KeyError, TypeError."""
        if order["calculation_mode"] != "DESTINATION_AMOUNT" or order["destination"]["unit"] != self.local_currency:
            raise NotAnAmount("Only amounts of the destination are sold here.")
        face = amount(order["destination"]["amount"], self.local_currency)
        if not 1000 <= face.minor <= 50_000:
            raise NotAnAmount("Out of range.")
        return face.minor

    def _price(self, face_minor: int) -> int:
        return -(-face_minor * 1000 // self.rate_per_mille)

    def _local(self, minor: int) -> Decimal:
        return Decimal(decimal_text(minor, self.local_currency))

    def _own(self, minor: int) -> dict[str, Any]:
        amount_ = Decimal(decimal_text(minor, self.currency))
        return {"amount": amount_, "fee": 0, "unit": self.currency, "unit_type": "CURRENCY"}

    # What is told

    def _balance(self) -> dict[str, Any]:
        available, holding = (
            Decimal(decimal_text(minor, self.currency)) for minor in (self.available_minor, self.holding_minor)
        )
        told = {"id": 1, "unit_type": "CURRENCY", "unit": self.currency}
        return {**told, "available": available, "holding": holding, "credit_limit": 0}

    def _listed(self, query: Mapping[str, list[str]]) -> Response:
        if self.troubles.strikes("inquiry_lost"):
            raise NoAnswer("the answer was lost")
        if self.troubles.strikes("inquiry_html"):
            return Response(200, {"content-type": "text/html"}, b"<html><body>maintenance</body></html>")
        wanted = query.get("external_id", [""])[0]
        found = [one for one in self.transactions.values() if wanted in ("", one.external_id)]
        return _json([self._told(one) for one in found if not self._unseen(one)])

    def _unseen(self, made: Transaction) -> bool:
        return made.seen_from is not None and self._now() < made.seen_from

    def _told(self, made: Transaction, status: str = "") -> dict[str, Any]:
        status = status or made.status
        number, name = _CLASSES[status.partition("-")[0]], status.partition("-")[0]
        minor = made.credited_minor or made.face_minor
        credit = {"base": self._local(minor), "promotion_bonus": 0, "total_excluding_tax": self._local(minor)}
        return {
            "id": made.number,
            "external_id": made.external_id,
            "creation_date": made.at.strftime("%Y-%m-%dT%H:%M:%S.000000000Z"),
            "confirmation_expiration_date": (made.at + _CONFIRM_WITHIN).strftime("%Y-%m-%dT%H:%M:%S.000000000Z"),
            "status": {"id": number * 10_000, "message": status, "class": {"id": number, "message": name}},
            "operator_reference": None,
            "product": self._product(made.product_id),
            "prices": {"wholesale": self._own(self._price(minor))},
            "benefits": [
                {"type": "CREDITS", "unit_type": "CURRENCY", "unit": self.local_currency, "amount": credit},
            ],
            "promotions": None,
            "credit_party_identifier": {"mobile_number": f"+{made.msisdn}"},
        }

    def _product(self, number: int) -> dict[str, Any]:
        country = {"iso_code": "CHN", "name": "China", "regions": None}
        kind = "FIXED_VALUE_RECHARGE" if number == FIXED else "RANGED_VALUE_RECHARGE"
        operator = {"id": 1596, "name": "Northtel", "country": country}
        return {"id": number, "name": f"Northtel {kind[:5].lower()}", "type": kind, "operator": operator}

    def _products(self, query: Mapping[str, list[str]]) -> Response:
        """The price list, one product a page, so that whoever reads it must turn pages."""
        page = query.get("page", ["1"])[0]
        unit = {"unit_type": "CURRENCY", "unit": self.local_currency}
        least, most = 1000, 50_000
        ranged = {"min": self._local(least), "max": self._local(most), "increment": 1}
        prices = {"min": self._own(self._price(least))["amount"], "max": self._own(self._price(most))["amount"]}
        products = [
            {
                **self._product(RANGED),
                "destination": {**unit, "amount": ranged},
                "prices": {"wholesale": {**self._own(0), "amount": prices}},
            },
            {
                **self._product(FIXED),
                "destination": {**unit, "amount": self._local(FIXED_MINOR)},
                "prices": {"wholesale": self._own(self._price(FIXED_MINOR))},
            },
        ]
        here = int(page) if page in ("1", "2") else 3
        answer = _json(products[here - 1 : here])
        following = "2" if here == 1 else ""
        return Response(200, {**answer.headers, "x-total": "2", "x-page": page, "x-next-page": following}, answer.body)

    # Callbacks

    def _announce(self, made: Transaction, status: str, after_s: float = 0.0) -> None:
        if not made.callback_url:
            return
        body = _encode(self._told(made, status))
        if self.troubles.strikes("late_notice"):
            after_s += self._dice.uniform(0, 300)
        self._schedule(after_s, lambda: self._deliver(made.callback_url, body, 0))

    async def _deliver(self, url: str, body: bytes, repeat: int) -> None:
        """Sends one callback, unsigned, and again until somebody answers 2xx or we give up."""
        parts = urlsplit(url)
        headers = {"content-type": "application/json"}
        if parts.password:
            who = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
            headers["authorization"] = "Basic " + b64encode(who.encode()).decode()
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        accepted = False
        if not self.troubles.strikes("lose_notice"):
            for _ in range(2 if self.troubles.strikes("double_notice") else 1):
                try:
                    answer = await self._post(Request("POST", address, headers, body))
                    accepted = accepted or 200 <= answer.status < 300
                except (NotSent, NoAnswer):
                    pass
        if not accepted and repeat < len(_REPEATS_S):
            self._schedule(_REPEATS_S[repeat], lambda: self._deliver(url, body, repeat + 1))

    def _page(self) -> Response:
        rows = "".join(f"<tr><td>…{end}</td><td>{WHAT_HAPPENS[what]}</td></tr>" for end, what in self.by_suffix.items())
        page = Template(files("refill.simulators").joinpath("pages", "operator.html").read_text("utf-8")).substitute(
            name="DT One",
            currency=self.currency,
            left=decimal_text(self.available_minor, self.currency),
            credits=len(self.credits),
            rows=rows,
        )
        return Response(200, {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}, page.encode())


def _json(said: object, status: int = 200) -> Response:
    return Response(status, {"content-type": "application/json"}, _encode(said))


def _error(status: int, code: int, message: str) -> Response:
    return _json({"errors": [{"code": code, "message": message}]}, status)
