"""Reloadly's end of its wire: tokens, a wallet in dollars, top-ups abroad, reports, webhooks, and trouble by number.

Served by `refill simulator reloadly`; tests call `handle` directly in virtual time. What truly happened stands in plain
attributes: `credits`, `reversals`, `refused`, `wallet_minor`; from another process, in `GET /truth`.

The last four digits of a number decide what happens (`WHAT_HAPPENS`, also shown on the page at `/`); `chances` gives
the same troubles a probability each, `troubles.plan(name)` makes one happen next. Beside them, by plan or chance:
`token_lost`, `inquiry_lost`, `inquiry_html`, `lose_notice`, `double_notice`, `late_notice`.
From another process: `POST /troubles` with `name=lost&times=1`.
"""

import hmac
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from importlib.resources import files
from random import Random
from string import Template
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from refill.errors import NotAnAmount
from refill.money import Money, amount, decimal_text
from refill.simulators.trouble import BY_SUFFIX, Keep, Post, Schedule, Sleep, Surroundings, Troubles, truth
from refill.world import NoAnswer, NotSent, Request, Response

NAME = "reloadly"
PORT = 7
OPERATOR_ID = 173  # the one operator that it sells, of the country CN

WHAT_HAPPENS = {
    "slow": "delivered, answered after 10 s",
    "lost": "delivered, but the answer is lost",
    "refused": "refused: PHONE_BANNED_BY_OPERATOR",
    "hidden": "the answer is lost, the report is empty, and a minute later it is delivered",
    "duplicate": "delivered, the answer is lost, and asking again is answered CUSTOM_IDENTIFIER_ALREADY_USED",
    "odd_code": "delivered, but answered with a code that nobody documented",
    "partial": "half of the amount is delivered",
    "html": "delivered, but answered 200 with an HTML page",
    "truncated": "delivered, but the answer breaks off",
    "wrong_amount": "delivered, but the answer names another amount",
    "wrong_number": "delivered, but the answer names another number",
    "not_ours": "refused: INVALID_RECIPIENT_PHONE",
    "empty_float": "refused: INSUFFICIENT_BALANCE",
    "later": "PROCESSING, delivered after 8 s",
    "fails_later": "PROCESSING, REFUNDED after 8 s",
    "contradicts": "delivered, then a signed webhook says REFUNDED",
    "huge": "delivered, but the answer is 2 MiB long",
    "busy": "refused for now, nothing done: CONNECTION_TO_OPERATOR_TEMPORARILY_DOWN",
    "reversed": "delivered, and REFUNDED after 20 s",
    "silent": "PROCESSING for ever, never delivered",
    "error_500": "delivered, but answered with status 500 and no body",
    "fails": "PROVIDER_INTERNAL_ERROR, and the report says FAILED",
    "token_expires": "the token is turned away once, nothing done: TOKEN_EXPIRED",
}
SUFFIXES = {end: what for end, what in BY_SUFFIX.items() if what in WHAT_HAPPENS} | {
    "0023": "fails",
    "0024": "token_expires",
}
_REFUSES = {
    "refused": "PHONE_BANNED_BY_OPERATOR",
    "not_ours": "INVALID_RECIPIENT_PHONE",
    "empty_float": "INSUFFICIENT_BALANCE",
    "busy": "CONNECTION_TO_OPERATOR_TEMPORARILY_DOWN",
}
_REPEATS_S = (5, 30, 300)
_TOKEN_LIVES_S = 86_400
_CALLING_CODE = "86"


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this Reloadly."""
    return {
        "reloadly_client_id": "refill",
        "reloadly_client_secret": _secret(keep, "client"),
        "reloadly_webhook_secret": _secret(keep, "webhook"),
        "reloadly_currency": "USD",
        "reloadly_operators": f"*={OPERATOR_ID}",
        "reloadly_url": url,
        "reloadly_auth_url": url,
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "ReloadlySimulator":
    """Reloadly with the one client that `leads` speaks of; webhooks go to Refill's own callback."""
    return ReloadlySimulator(
        client_secret=_secret(keep, "client"),
        webhook_secret=_secret(keep, "webhook").encode(),
        base_url=url,
        notify_url=f"{product_url}/callbacks/suppliers/reloadly" if product_url else "",
        **around,
    )


def _secret(keep: Keep, what: str) -> str:
    return keep(f"reloadly-{what}.secret", lambda: os.urandom(32).hex())


class Credit(NamedTuple):
    """Credit that a telephone truly got, or that was truly taken back from it."""

    request_id: str
    msisdn: str
    face_minor: int
    at: datetime


@dataclass
class TopUp:
    """One transaction as Reloadly keeps it; `face` is in the telephone's currency."""

    number: int
    request_id: str
    msisdn: str
    face: Money
    trouble: str
    at: datetime
    status: str = "PROCESSING"
    credited_minor: int = 0
    seen_from: datetime | None = None  # until then no report has it


class ReloadlySimulator:
    """One account that sells one operator. A name of the client's is taken once; then it is an error, as at Reloadly."""

    def __init__(
        self,
        *,
        client_secret: str,
        webhook_secret: bytes,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
        client_id: str = "refill",
        base_url: str = "",
        notify_url: str = "",
        wallet_minor: int = 10**8,
        currency: str = "USD",
        local_currency: str = "CNY",
        rate_per_mille: int = 7130,  # so many of the telephone's minor units for a thousand of the wallet's
        discount_per_mille: int = 50,
        latest_s: float = 60.0,
        by_suffix: Mapping[str, str] = SUFFIXES,
        chances: Mapping[str, float] | None = None,
    ) -> None:
        self._client, self._webhook_secret = (client_id, client_secret), webhook_secret
        self.base_path, self.notify_url = urlsplit(base_url).path.rstrip("/"), notify_url
        self._now, self._dice, self._schedule, self._post, self._sleep = now, dice, schedule, post, sleep
        self.wallet_minor, self.currency, self.local_currency = wallet_minor, currency, local_currency
        self.rate_per_mille, self.discount_per_mille = rate_per_mille, discount_per_mille
        self.latest_s, self.by_suffix = latest_s, by_suffix
        self.troubles = Troubles(dice, chances)
        self.tokens: dict[str, datetime] = {}  # until when each is good
        self.topups: dict[int, TopUp] = {}
        self.by_name: dict[str, TopUp] = {}
        self.credits: list[Credit] = []
        self.reversals: list[Credit] = []
        self.refused: list[str] = []  # our names of them
        self._turned_away: set[str] = set()

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises NoAnswer when the answer is lost."""
        parts = urlsplit(request.url)
        path, query = unquote(parts.path).removeprefix(self.base_path), parse_qs(parts.query)
        match request.method, path:
            case "GET", "" | "/":
                return self._page()
            case "POST", "/troubles":
                return self.troubles.ordered(request.body)
            case "GET", "/truth":
                credits, reversals = [one._asdict() for one in self.credits], [one._asdict() for one in self.reversals]
                return truth(credits=credits, reversals=reversals, refused=self.refused, wallet_minor=self.wallet_minor)
            case "POST", "/oauth/token":
                return self._token(request)
        until = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if until is None or self._now() >= until:
            return _error(401, "TOKEN_EXPIRED" if until else "INVALID_TOKEN", path)
        match request.method, path:
            case "GET", "/accounts/balance":
                left = decimal_text(self.wallet_minor, self.currency)
                return _json({"balance": Decimal(left), "currencyCode": self.currency, "updatedAt": self._stamp()})
            case "GET", "/countries":
                return _json([_COUNTRY | {"currencyCode": self.local_currency, "callingCodes": ["+86"]}])
            case "GET", "/operators":
                return _paged([self._operator()], query)
            case "POST", "/mnp-lookup/operators":
                return _json(self._operator())
            case "POST", "/topups" | "/topups-async":
                return await self._topup(request, path, wait=path == "/topups")
            case "GET", "/topups/reports/transactions" | "/topups/reports/transaction":
                return self._report(query)
        return self._by_address(request.method, path)

    def _by_address(self, method: str, path: str) -> Response:
        """What has a number or a country in its address."""
        if method == "GET" and re.fullmatch(r"/operators/countries/[A-Z]{2}", path):
            return _json([self._operator()])
        if method == "GET" and re.fullmatch(r"/operators/auto-detect/phone/\+?[0-9]{6,15}/countries/[A-Z]{2}", path):
            return _json(self._operator())
        if method == "GET" and path == f"/operators/{OPERATOR_ID}":
            return _json(self._operator())
        found = re.fullmatch(r"/topups/(?:reports/transactions?/)?([0-9]{1,12})(/status)?", path)
        topup = self.topups.get(int(found[1])) if method == "GET" and found else None
        if topup is None or self._unseen(topup):
            return _error(404, "TRANSACTION_NOT_FOUND" if found else "NOT_FOUND", path)
        told = self._told(topup)
        return _json({**told, "code": None, "message": None, "transaction": told} if found and found[2] else told)

    def _token(self, request: Request) -> Response:
        if self.troubles.strikes("token_lost"):
            raise NoAnswer("the answer was lost")
        try:
            asked = json.loads(request.body)
            known = (asked["client_id"], asked["client_secret"]) == self._client
            known = known and asked["grant_type"] == "client_credentials" and bool(asked["audience"])
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            return _error(401, "INVALID_CREDENTIALS", "/oauth/token")
        token = f"{self._dice.getrandbits(256):064x}"
        self.tokens[token] = self._now() + timedelta(seconds=_TOKEN_LIVES_S)
        said = {"access_token": token, "scope": "send-topups", "expires_in": _TOKEN_LIVES_S, "token_type": "Bearer"}
        return _json(said)

    # Topping up

    async def _topup(self, request: Request, path: str, wait: bool) -> Response:
        try:
            order = json.loads(request.body)
            name = order.get("customIdentifier") or f"none-{self._dice.getrandbits(64):x}"
            msisdn = _digits(order["recipientPhone"]["number"])
            face = self._face(order["amount"], str(order.get("useLocalAmount", False)).lower() == "true")
            operator_id = int(order["operatorId"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "INVALID_INPUT_PROVIDED", path)
        except NotAnAmount:
            return _error(400, "INVALID_AMOUNT", path)
        if operator_id != OPERATOR_ID:
            return _error(404, "OPERATOR_NOT_FOUND", path)
        trouble = self.by_suffix.get(msisdn[-4:], "")
        if trouble == "token_expires" and name not in self._turned_away:
            self._turned_away.add(name)
            return _error(401, "TOKEN_EXPIRED", path)
        if name in self.by_name or name in self.refused:
            return _error(400, "CUSTOM_IDENTIFIER_ALREADY_USED", path)
        trouble = trouble or self.troubles.one_of(tuple(WHAT_HAPPENS))
        code = _REFUSES.get(trouble, "")
        if not code and self._cost(face.minor) > self.wallet_minor:
            code = "INSUFFICIENT_BALANCE"
        if code:
            self.refused.append(name)
            return _error(400, code, path)
        return await self._troubled(self._take(name, msisdn, face, trouble), path, wait)

    def _take(self, name: str, msisdn: str, face: Money, trouble: str) -> TopUp:
        """Keeps a new top-up, and carries it out now or later."""
        topup = TopUp(28_000 + len(self.topups), name, msisdn, face, trouble, self._now())
        self.topups[topup.number] = self.by_name[name] = topup
        delay_s = 0.0
        match trouble:
            case "silent":
                return topup
            case "hidden":
                chosen = self.by_suffix.get(msisdn[-4:])
                delay_s = self.latest_s if chosen else self._dice.uniform(1, self.latest_s)
                topup.seen_from = self._now() + timedelta(seconds=delay_s)
            case "later" | "fails_later":
                delay_s = 8
        if delay_s:
            self._schedule(delay_s, lambda: self._finish_later(topup))
        else:
            self._finish(topup)
        return topup

    async def _finish_later(self, topup: TopUp) -> None:
        self._finish(topup)

    def _finish(self, topup: TopUp) -> None:
        face_minor = max(topup.face.minor // 2, 1) if topup.trouble == "partial" else topup.face.minor
        cost_minor = self._cost(face_minor)
        if topup.trouble in ("fails", "fails_later") or cost_minor > self.wallet_minor:
            topup.status = "FAILED" if topup.trouble == "fails" else "REFUNDED"
            self.refused.append(topup.request_id)
        else:
            self.wallet_minor -= cost_minor
            topup.status, topup.credited_minor = "SUCCESSFUL", face_minor
            self.credits.append(Credit(topup.request_id, topup.msisdn, face_minor, self._now()))
        self._announce(topup, topup.status)
        if topup.trouble == "contradicts":
            self._announce(topup, "REFUNDED", after_s=2)
        if topup.trouble == "reversed":
            self._schedule(20, lambda: self._reverse(topup))

    async def _reverse(self, topup: TopUp) -> None:
        self.wallet_minor += self._cost(topup.credited_minor)
        self.reversals.append(Credit(topup.request_id, topup.msisdn, topup.credited_minor, self._now()))
        topup.status = "REFUNDED"
        self._announce(topup, topup.status)

    async def _troubled(self, topup: TopUp, path: str, wait: bool) -> Response:
        """The answer as it arrives; whatever it says, what was done is done."""
        said: dict[str, Any] = self._told(topup) if wait else {"transactionId": topup.number}
        match topup.trouble:
            case "slow":
                await self._sleep(10)
            case "lost" | "duplicate" | "hidden":
                raise NoAnswer("the answer was lost")
            case "odd_code":
                return _error(400, "E-4711", path)
            case "fails":
                return _error(500, "PROVIDER_INTERNAL_ERROR", path)
            case "html":
                return Response(200, {"content-type": "text/html"}, b"<html><body>Welcome to the portal</body></html>")
            case "wrong_amount" if wait:
                said["deliveredAmount"] = Decimal(decimal_text(topup.face.minor + 100, self.local_currency))
            case "wrong_number" if wait:
                said["recipientPhone"] = topup.msisdn[:-1] + str((int(topup.msisdn[-1]) + 1) % 10)
            case "huge":
                said["padding"] = "x" * (2 << 20)
            case "error_500":
                return Response(500, {"content-type": "text/plain"}, b"")
            case "truncated":
                whole = _json(said)
                return Response(200, whole.headers, whole.body[: len(whole.body) // 2])
        return _json(said)

    # Money: the face is the telephone's, everything else the wallet's

    def _face(self, number: object, local: bool) -> Money:
        """What the telephone is to get. Raises NotAnAmount."""
        text = number if isinstance(number, str) else json.dumps(number)
        asked = amount(text, self.local_currency if local else self.currency)
        return asked if local else Money(asked.minor * self.rate_per_mille // 1000, self.local_currency)

    def _taken(self, face_minor: int) -> int:
        return -(-face_minor * 1000 // self.rate_per_mille)

    def _cost(self, face_minor: int) -> int:
        taken = self._taken(face_minor)
        return taken - taken * self.discount_per_mille // 1000

    # What is told

    def _report(self, query: Mapping[str, list[str]]) -> Response:
        if self.troubles.strikes("inquiry_lost"):
            raise NoAnswer("the answer was lost")
        if self.troubles.strikes("inquiry_html"):
            return Response(200, {"content-type": "text/html"}, b"<html><body>maintenance</body></html>")
        name = query.get("customIdentifier", [""])[0]
        since, until = (query.get(end, [""])[0] for end in ("startDate", "endDate"))
        seen = [
            topup
            for topup in self.topups.values()
            if not self._unseen(topup) and since <= _when(topup.at) and (not until or _when(topup.at) < until)
        ]
        return _paged([self._told(topup) for topup in seen if name in ("", topup.request_id)], query)

    def _unseen(self, topup: TopUp) -> bool:
        return topup.seen_from is not None and self._now() < topup.seen_from

    def _told(self, topup: TopUp) -> dict[str, Any]:
        minor = topup.credited_minor or topup.face.minor
        taken, cost = self._taken(minor), self._cost(minor)
        return {
            "transactionId": topup.number,
            "status": topup.status,
            "operatorTransactionId": None,
            "customIdentifier": topup.request_id,
            "recipientPhone": topup.msisdn,
            "senderPhone": None,
            "countryCode": _COUNTRY["isoName"],
            "operatorId": OPERATOR_ID,
            "operatorName": "Northtel",
            "discount": Decimal(decimal_text(taken - cost, self.currency)),
            "discountCurrencyCode": self.currency,
            "requestedAmount": Decimal(decimal_text(taken, self.currency)),
            "requestedAmountCurrencyCode": self.currency,
            "deliveredAmount": Decimal(decimal_text(minor, self.local_currency)),
            "deliveredAmountCurrencyCode": self.local_currency,
            "cost": Decimal(decimal_text(cost, self.currency)),
            "transactionDate": _when(topup.at),
            "pinDetail": None,
        }

    def _operator(self) -> dict[str, Any]:
        least, most = 1000, 50_000  # of the telephone's minor units
        return {
            "id": OPERATOR_ID,
            "operatorId": OPERATOR_ID,
            "name": "Northtel",
            "bundle": False,
            "data": False,
            "pin": False,
            "supportsLocalAmounts": True,
            "denominationType": "RANGE",
            "senderCurrencyCode": self.currency,
            "destinationCurrencyCode": self.local_currency,
            "internationalDiscount": Decimal(f"{self.discount_per_mille // 10}.{self.discount_per_mille % 10}"),
            "localDiscount": 0,
            "minAmount": Decimal(decimal_text(self._taken(least), self.currency)),
            "maxAmount": Decimal(decimal_text(self._taken(most), self.currency)),
            "localMinAmount": Decimal(decimal_text(least, self.local_currency)),
            "localMaxAmount": Decimal(decimal_text(most, self.local_currency)),
            "country": {"isoName": _COUNTRY["isoName"], "name": _COUNTRY["name"]},
            "fixedAmounts": [],
            "localFixedAmounts": [],
            "status": "ACTIVE",
        }

    # Webhooks

    def _announce(self, topup: TopUp, status: str, after_s: float = 0.0) -> None:
        if not self.notify_url:
            return
        said = {"type": "airtime_transaction.status", "data": {**self._told(topup), "status": status}}
        if self.troubles.strikes("late_notice"):
            after_s += self._dice.uniform(0, 300)
        self._schedule(after_s, lambda: self._deliver(_dumps(said), 0))

    async def _deliver(self, body: bytes, repeat: int) -> None:
        """Sends one webhook, and again until somebody answers 2xx or we give up."""
        stamp = str(int(self._now().timestamp() * 1000))
        headers = {
            "content-type": "application/json",
            "x-reloadly-request-timestamp": stamp,
            "x-reloadly-signature": hmac.new(self._webhook_secret, body + f":{stamp}".encode(), sha256).hexdigest(),
        }
        accepted = False
        if not self.troubles.strikes("lose_notice"):
            for _ in range(2 if self.troubles.strikes("double_notice") else 1):
                try:
                    answer = await self._post(Request("POST", self.notify_url, headers, body))
                    accepted = accepted or 200 <= answer.status < 300
                except (NotSent, NoAnswer):
                    pass
        if not accepted and repeat < len(_REPEATS_S):
            self._schedule(_REPEATS_S[repeat], lambda: self._deliver(body, repeat + 1))

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%d %H:%M:%S")

    def _page(self) -> Response:
        rows = "".join(f"<tr><td>…{end}</td><td>{WHAT_HAPPENS[what]}</td></tr>" for end, what in self.by_suffix.items())
        page = Template(files("refill.simulators").joinpath("pages", "operator.html").read_text("utf-8")).substitute(
            name="Reloadly",
            currency=self.currency,
            left=decimal_text(self.wallet_minor, self.currency),
            credits=len(self.credits),
            rows=rows,
        )
        return Response(200, {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}, page.encode())


_COUNTRY = {"isoName": "CN", "name": "China"}
_dumps = msgspec.json.Encoder(decimal_format="number").encode  # amounts are bare numbers with all their digits


def _json(said: object, status: int = 200) -> Response:
    return Response(status, {"content-type": "application/json"}, _dumps(said))


def _error(status: int, code: str, path: str) -> Response:
    """As Reloadly says no: the key `errorCode` marks it, whatever the status."""
    said = {"timeStamp": "", "message": code.replace("_", " ").capitalize(), "path": path, "errorCode": code}
    return _json(said | {"infoLink": None, "details": []}, status)


def _paged(rows: list[dict[str, Any]], query: Mapping[str, list[str]]) -> Response:
    """A page as Spring makes them; the first is number 1 in the query and 0 in the answer."""
    page, size = (
        int(value) if (value := query.get(name, [default])[0]).isascii() and value.isdigit() and value != "0" else 1
        for name, default in (("page", "1"), ("size", "200"))
    )
    here = rows[(page - 1) * size : page * size]
    return _json(
        {
            "content": here,
            "totalElements": len(rows),
            "totalPages": -(-len(rows) // size),
            "first": page == 1,
            "last": page * size >= len(rows),
            "number": page - 1,
            "numberOfElements": len(here),
            "size": size,
            "empty": not here,
        }
    )


def _when(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _digits(number: object) -> str:
    """A telephone's number with its country code, however it was written. Raises ValueError."""
    digits = re.sub(r"[^0-9]", "", str(number))
    if not 7 <= len(digits) <= 15:
        raise ValueError("no telephone number")
    return digits if digits.startswith(_CALLING_CODE) else _CALLING_CODE + digits
