"""Stripe's end of the wire: its API with idempotency keys, the hosted page on which a person pays by card, signed events.

Served by `refill simulator card`; the seeded simulator calls `handle` directly in virtual time. What truly happened
stands in plain attributes: `captures`, `refunds`, `returned` (refunds that came back), `disputed`, `closed`; from
another process, in the JSON of `GET /truth`. Nobody types a card number here: the page has one button for each kind of
card. The report of a day is had as from Stripe (`/v1/reporting/report_runs`) or by a person at `/balance.csv`.

Trouble, by `troubles.plan(name, times)` or `troubles.chances[name]`: for answers `slow`, `lost`, `html`, `truncated`,
`busy` (429), `error_before` and `error_after` (500 with or without doing it; the latter is remembered under the key, as
Stripe does), `broke` (a refund waits until our balance covers it), `refund_pending`, `refund_fails` (it comes back a
minute later); for events `lose_notice`, `double_notice`, `late_notice`, `old_notice` (signed long ago), `forge_notice`;
`short_paid` (a cent less is captured than was asked). From another process: `POST /troubles` with
`name=lose_notice&times=1`. A dispute, from there: `POST /disputes` with `reference=…&state=opened` (or won, or lost).
"""

import base64
import copy
import csv
import hmac
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from html import escape
from importlib.resources import files
from random import Random
from string import Template, ascii_letters
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from refill.money import EXPONENT, decimal_text
from refill.simulators.trouble import Keep, Post, Schedule, Sleep, Surroundings, Troubles, truth
from refill.world import NoAnswer, NotSent, Request, Response

# How an event is repeated until it is answered 2xx: "for up to three days, with an exponential back-off".
REPEATS_S = (60, 300, 1800, 7200, 18000, 36000, 43200, 43200, 43200, 43200)
KEYS_LIVE = timedelta(hours=24)  # idempotency keys are forgotten "after at least 24 hours"
LEAST_LIFE, MOST_LIFE = timedelta(minutes=30), timedelta(hours=24)  # of a session
DISPUTED_AFTER_S = 60.0  # by who paid with the card whose payment is disputed later
REFUND_TAKES_S = 60.0
BALANCE_COMES_S = 3600.0
REPORT_TAKES_S = 5.0
EVIDENCE_WITHIN = timedelta(days=7)
DISPUTE_FEE = 1500
_HUNDREDFOLD = ("ISK", "UGX")
_NOT_CHARGED = ("GHS", "IQD", "LYD")


class Captured(NamedTuple):
    """Money that a person truly paid, in minor units of its currency."""

    reference: str  # the shop's
    transaction: str  # the payment intent
    amount_minor: int
    currency: str
    at: datetime


class Refunded(NamedTuple):
    """Money that truly went back."""

    reference: str
    request_id: str  # the shop's
    amount_minor: int
    currency: str
    at: datetime


class Disputed(NamedTuple):
    """Money that a payer's bank took back (opened), gave again (won) or kept (lost)."""

    reference: str
    transaction: str
    state: str
    amount_minor: int
    currency: str
    at: datetime


class Row(NamedTuple):
    """A balance transaction: what moved our balance there. Amounts are Stripe's units."""

    id: str
    at: datetime
    category: str
    currency: str
    gross: int
    fee: int
    source: str
    intent: dict[str, Any]
    request_id: str = ""


Thing = dict[str, Any]  # an object as Stripe shows it

NAME = "card"
PORT = 5


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this Stripe."""
    return {
        "card_secret_key": _kept(keep)["secret_key"],
        "card_webhook_secret": _kept(keep)["webhook_secret"],
        "card_api_base": url,
    }


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "CardSimulator":
    """A Stripe with the one account that `leads` speaks of; its events go to Refill's own callback."""
    secrets = _kept(keep)
    return CardSimulator(
        secret_key=secrets["secret_key"],
        webhook_secret=secrets["webhook_secret"],
        base_url=url,
        webhook_url=f"{product_url}/callbacks/card" if product_url else "",
        **around,
    )


def _kept(keep: Keep) -> dict[str, str]:
    """Made once, so that yesterday's orders are still known by their key."""
    return dict(json.loads(keep("card-simulator.json", lambda: json.dumps(make_secrets()))))


def make_secrets() -> dict[str, str]:
    """A secret key of a test account, and a secret that its events are signed with."""
    return {"secret_key": f"sk_test_{os.urandom(24).hex()}", "webhook_secret": f"whsec_{os.urandom(24).hex()}"}


class CardSimulator:
    """One account in test mode, with one endpoint for events. `account` is set where a platform charges for it."""

    def __init__(
        self,
        *,
        secret_key: str,
        webhook_secret: str,
        base_url: str,
        webhook_url: str,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
        account: str = "",
        chances: Mapping[str, float] | None = None,
    ) -> None:
        self._secret_key, self.account = secret_key, account
        self.webhook_secrets: tuple[str, ...] = (webhook_secret,)
        self.base_url, self.webhook_url = base_url.rstrip("/"), webhook_url
        self._now, self._dice, self._schedule, self._post, self._sleep = now, dice, schedule, post, sleep
        self.troubles = Troubles(dice, chances)
        self.captures: list[Captured] = []
        self.refunds: list[Refunded] = []
        self.returned: list[Refunded] = []
        self.disputed: list[Disputed] = []
        self.closed: dict[str, datetime] = {}  # by the shop; expired sessions are not listed
        self._things: dict[str, dict[str, Thing]] = {kind: {} for kind in _PATHS.values()}
        self._sold: dict[str, tuple[str, Thing]] = {}  # of a session: what its page names, what its payment carries
        self._ended: set[str] = set()  # sessions of whose end the shop has been told
        self._rows: list[Row] = []
        self._keys: dict[str, tuple[datetime, object, Response]] = {}
        self._running: set[str] = set()

    # What people and banks do

    def pay(self, reference: str, amount_override: int | None = None) -> bool:
        """A person pays with a card that works. False when nobody can pay this session (any more).

        `amount_override` is in minor units of the currency.
        """
        session = next((one for one in self._sessions_of(reference) if one["status"] == "open"), None)
        if session is None:
            return False
        asked = session["amount_total"]
        self._capture(session, asked if amount_override is None else _units(amount_override, session["currency"]))
        return True

    def dispute(self, reference: str, reason: str = "fraudulent") -> bool:
        """The payer's bank takes back what is left of a payment. False when there is nothing to take, or it did before."""
        intent = self._intent_of(reference)
        charge = self._things["charge"][intent["latest_charge"]] if intent else None
        if intent is None or charge is None or charge["disputed"] or charge["amount_refunded"] >= charge["amount"]:
            return False
        now, amount = self._now(), charge["amount"] - charge["amount_refunded"]
        charge["disputed"] = True
        dispute = self._new(
            "dispute",
            "du",
            amount=amount,
            charge=charge["id"],
            currency=charge["currency"],
            evidence_details={"due_by": _stamp(now + EVIDENCE_WITHIN), "has_evidence": False, "submission_count": 0},
            is_charge_refundable=False,
            metadata={},
            payment_intent=intent["id"],
            reason=reason,
            status="needs_response",
        )
        self._move("dispute", -amount, DISPUTE_FEE, dispute["id"], intent)
        self._tell_dispute(dispute, "opened")
        return True

    def close_dispute(self, reference: str, won: bool) -> bool:
        """The bank has decided. False when it has nothing to decide."""
        intent = self._intent_of(reference) or {"id": ""}
        dispute = self._open_dispute(intent["id"])
        if dispute is None:
            return False
        dispute["status"] = "won" if won else "lost"
        if won:
            self._move("dispute_reversal", dispute["amount"], 0, dispute["id"], intent)
            self._things["charge"][dispute["charge"]]["disputed"] = False
        self._tell_dispute(dispute, dispute["status"])
        return True

    def roll_secret(self, new: str) -> None:
        """The shop asks for a new secret: for a day, events are signed with both."""
        self.webhook_secrets = (new, self.webhook_secrets[0])

    # The wire

    async def handle(self, request: Request) -> Response:
        """Answers one request, of the shop or of a person's browser. Raises NoAnswer when the answer is lost."""
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(urlsplit(self.base_url).path)
        if path.startswith("/v1/"):
            return await self._api(request, path, parts.query)
        match request.method, path:
            case "POST", "/troubles":
                return self.troubles.ordered(request.body)
            case "POST", "/disputes":
                return self._ordered_dispute(request.body)
            case "GET", "/truth":
                return self._truth()
            case "GET", "/balance.csv":
                return _file(self._report(self._rows, _COLUMNS))
            case "GET", "" | "/":
                return self._index()
        if found := re.fullmatch(r"/c/pay/(cs_test_[A-Za-z]+)(?:/(pay|decline|dispute|leave))?", path):
            return self._person(request.method, found[1], found[2] or "")
        return _page(404, "没有这个页面 · No such page", "")

    async def _api(self, request: Request, path: str, query: str) -> Response:
        trouble = self.troubles.one_of(("busy", "error_before", "error_after", "slow", "lost", "html", "truncated"))
        key = request.headers.get("idempotency-key", "") if request.method == "POST" else ""
        if key in self._running:
            return self._no(_No("A request with this key is still running.", "idempotency_key_in_use", status=409))
        if key:
            self._running.add(key)
        try:
            response = self._once(request, path, query, key, trouble)
            if trouble == "slow":
                await self._sleep(self._dice.uniform(3, 20))
        finally:
            self._running.discard(key)
        match trouble:
            case "lost":
                raise NoAnswer("the answer was lost")
            case "html":
                return Response(200, {"content-type": "text/html"}, b"<html><body>502 Bad Gateway</body></html>")
            case "truncated":
                return Response(response.status, response.headers, response.body[: len(response.body) // 2])
        return response

    def _once(self, request: Request, path: str, query: str, key: str, trouble: str) -> Response:
        """Carries out what is asked; what was asked before under this key is answered as then.

        Only what began to be carried out is remembered: what failed its checks first may be asked again.
        """
        try:
            self._admit(request)
            if trouble == "busy":
                raise _No("Too many requests hit the API too quickly.", "rate_limit", status=429)
            if trouble == "error_before":
                raise _No("Something went wrong on our end.", kind="api_error", status=500)
            asked = parse_qsl(request.body.decode("ascii"), keep_blank_values=True)
            asked += parse_qsl(query, keep_blank_values=True)
            sheet: object = (path, sorted(asked))
            before = self._keys.get(key)
            if before and before[0] + KEYS_LIVE > self._now():
                if before[1] != sheet:
                    raise _No(
                        "Keys for idempotent requests can only be used with the same parameters they were first used"
                        " with.",
                        kind="idempotency_error",
                    )
                headers = {**before[2].headers, "idempotent-replayed": "true"}
                return Response(before[2].status, headers, before[2].body)
            response = self._answered(request.method, path, _tree(asked))
        except _No as no:
            response = self._no(no)
            if no.unbegun:
                return response
        except (UnicodeDecodeError, ValueError):
            return self._no(_No("Invalid form.", "parameter_unknown"))
        if trouble == "error_after":
            response = self._no(_No("Something went wrong on our end.", kind="api_error", status=500))
        if key:
            self._keys[key] = (self._now(), sheet, response)
        return response

    def _admit(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            given = base64.b64decode(given + "==").decode("latin-1").partition(":")[0]
        if not hmac.compare_digest(given.encode(), self._secret_key.encode()):
            raise _No("Invalid API Key provided.", status=401)
        if request.headers.get("stripe-account", "") != self.account:
            raise _No("The provided key does not have access to that account.", "account_invalid", status=403)
        if not re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?", request.headers.get("stripe-version", "")):
            raise _No("Invalid Stripe API version.")

    def _answered(self, method: str, path: str, asked: Thing) -> Response:
        expand = [str(name) for name in _dict(asked.pop("expand", {})).values()]
        if file := re.fullmatch(r"/v1/files/([A-Za-z_]+)/contents", path):
            return self._file(file[1])
        deed = _DEEDS.get((method, path))
        if deed is not None:
            return self._said(deed(self, asked), expand)
        if found := re.fullmatch(r"(/v1/[a-z_/]+)/([0-9A-Za-z_-]+)(?:/(expire|close))?", path):
            kind = _PATHS.get(found[1], "")
            deeds = {("GET", ""): self._one, ("POST", "expire"): self._expire, ("POST", "close"): self._accept}
            act = deeds.get((method, found[3] or ""))
            if kind and act:
                return self._said(act(kind, found[2]), expand)
        raise _No(f"Unrecognized request URL ({method}: {path}).", status=404)

    def _said(self, thing: Thing, expand: list[str]) -> Response:
        return self._json(200, self._expanded(thing, expand))

    def _expanded(self, thing: Thing, names: list[str]) -> Thing:
        """A copy in which these fields are whole objects instead of their ids: `payment_intent.latest_charge`."""
        shown = copy.deepcopy(thing)
        for name in names:
            place = shown
            for step in name.split("."):
                if isinstance(place.get(step), str):
                    place[step] = copy.deepcopy(self._things[_EXPANDS.get(step, "charge")][place[step]])
                if not isinstance(place.get(step), dict):
                    break  # nothing there yet
                place = place[step]
        return shown

    def _json(self, status: int, said: Thing) -> Response:
        headers = {"content-type": "application/json", "request-id": self._name("req"), "cache-control": "no-store"}
        return Response(status, headers, json.dumps(said, indent=2, ensure_ascii=False).encode())

    def _no(self, no: "_No") -> Response:
        return self._json(no.status, {"error": no.said()})

    # What the shop asks for

    def _new_session(self, asked: Thing) -> Thing:
        _known(asked, _SESSION)
        if asked.get("mode") != "payment":
            raise _No("Only payments are played here.", param="mode")
        if not _web(asked.get("success_url")):
            raise _No("Missing required param: success_url.", "parameter_missing", "success_url")
        items = list(_dict(asked.get("line_items")).values())
        if not items:
            raise _No("Missing required param: line_items.", "parameter_missing", "line_items")
        currency, total, name = _sum(items)
        now = self._now()
        expires_at = _whole(asked.get("expires_at", str(_stamp(now + MOST_LIFE))), "expires_at")
        if not _stamp(now + LEAST_LIFE) <= expires_at <= _stamp(now + MOST_LIFE):
            raise _No("The `expires_at` timestamp must be 30 minutes to 24 hours from now.", param="expires_at")
        session = self._new(
            "checkout.session",
            "cs_test",
            amount_subtotal=total,
            amount_total=total,
            cancel_url=_web(asked.get("cancel_url")) or None,
            client_reference_id=asked.get("client_reference_id"),
            currency=currency,
            expires_at=expires_at,
            metadata=_dict(asked.get("metadata")),
            mode="payment",
            payment_intent=None,
            payment_method_types=["card"],
            payment_status="unpaid",
            status="open",
            success_url=asked["success_url"],
        )
        self._sold[session["id"]] = (name, _dict(_dict(asked.get("payment_intent_data")).get("metadata")))
        session["url"] = f"{self.base_url}/c/pay/{session['id']}"
        self._schedule(expires_at - now.timestamp(), partial(self._time_is_up, session))
        return session

    def _new_product(self, asked: Thing) -> Thing:
        _known(asked, {"id", "name", "active", "metadata", "description"})
        if not asked.get("name"):
            raise _No("Missing required param: name.", "parameter_missing", "name")
        if asked.get("id") in self._things["product"]:
            raise _No("Product already exists.", "resource_already_exists", "id")
        return self._new(
            "product",
            "prod",
            asked.get("id"),
            active=asked.get("active") != "false",
            metadata=_dict(asked.get("metadata")),
            name=asked["name"],
        )

    def _new_refund(self, asked: Thing) -> Thing:
        _known(asked, {"payment_intent", "charge", "amount", "metadata", "reason"})
        intent = next(
            (
                intent
                for intent in self._things["payment_intent"].values()
                if asked.get("payment_intent") == intent["id"] or asked.get("charge") == intent["latest_charge"]
            ),
            None,
        )
        if intent is None:
            raise _No("No such payment_intent.", "resource_missing", "payment_intent")
        charge = self._things["charge"][intent["latest_charge"]]
        if charge["disputed"]:
            raise _No("The charge has been charged back; cannot issue a refund.", "charge_disputed")
        left = charge["amount"] - charge["amount_refunded"]
        if not left:
            raise _No("The charge has already been refunded.", "charge_already_refunded")
        amount = _whole(asked.get("amount", str(left)), "amount")
        _expressible(amount, charge["currency"])
        if amount > left:
            raise _No("Refund amount is greater than unrefunded amount on charge.", param="amount")
        return self._refund(intent, charge, amount, _dict(asked.get("metadata")))

    def _refund(self, intent: Thing, charge: Thing, amount: int, metadata: Thing) -> Thing:
        trouble = self.troubles.one_of(("broke", "refund_pending", "refund_fails"))
        refund = self._new(
            "refund",
            "re",
            amount=amount,
            charge=charge["id"],
            currency=charge["currency"],
            metadata=metadata,
            payment_intent=intent["id"],
            status="pending" if trouble in ("broke", "refund_pending") else "succeeded",
        )
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        if trouble == "broke":
            refund["pending_reason"] = "insufficient_funds"
            self._schedule(BALANCE_COMES_S, partial(self._refund_moves, refund))
            return refund
        if trouble == "refund_pending":
            refund["pending_reason"] = "processing"
            self._schedule(REFUND_TAKES_S, partial(self._refund_moves, refund))
        if trouble == "refund_fails":
            self._schedule(REFUND_TAKES_S, partial(self._refund_returns, refund))
        self._refund_leaves(refund)
        self._announce("charge.refunded", charge)
        return refund

    def _new_run(self, asked: Thing) -> Thing:
        _known(asked, {"report_type", "parameters"})
        if not re.fullmatch(r"balance_change_from_activity\.itemized\.[1-9]", str(asked.get("report_type"))):
            raise _No("There is no such report here.", param="report_type")
        parameters = _dict(asked.get("parameters"))
        span = [_whole(parameters.get(f"interval_{end}"), f"parameters[interval_{end}]") for end in ("start", "end")]
        if span[0] >= span[1] or span[1] > _stamp(self._now()):
            raise _No("The interval ends after the data that are available.", param="parameters[interval_end]")
        columns = list(_dict(parameters.get("columns")).values()) or list(_COLUMNS[:8])
        if not set(columns) <= set(_COLUMNS):
            raise _No("There is no such column.", param="parameters[columns]")
        return self._new(
            "reporting.report_run",
            "frr",
            report_type=asked["report_type"],
            parameters={"interval_start": span[0], "interval_end": span[1], "columns": columns},
            result=None,
            status="pending",
        )

    def _list(self, kind: str, narrows: tuple[str, ...], asked: Thing) -> Thing:
        """The latest first, a page at a time."""
        _known(asked, {"limit", "starting_after", *narrows})
        limit, after = _whole(asked.get("limit", "10"), "limit"), asked.get("starting_after")
        found = [
            self._fresh(thing)
            for thing in reversed(self._things[kind].values())
            if all(name not in asked or self._fresh(thing).get(name) == asked[name] for name in narrows)
        ]
        start = next((place + 1 for place, thing in enumerate(found) if thing["id"] == after), 0)
        if not 1 <= limit <= 100 or (after and not start):
            raise _No("There is no such page.", param="starting_after" if after else "limit")
        url = next(path for path, name in _PATHS.items() if name == kind)
        more = len(found) > start + limit
        return {"object": "list", "url": url, "has_more": more, "data": found[start : start + limit]}

    def _one(self, kind: str, id_: str) -> Thing:
        if id_ not in self._things[kind]:
            raise _No(f"No such {kind}: '{id_}'", "resource_missing", "id", status=404)
        return self._fresh(self._things[kind][id_])

    def _expire(self, kind: str, id_: str) -> Thing:
        session = self._one(kind, id_)
        if kind != "checkout.session" or session["status"] != "open":
            raise _No(
                'Only Checkout Sessions with a status in ["open"] can be expired.'
                f" This Checkout Session has a status of `{session.get('status')}`."
            )
        self.closed[str(session["client_reference_id"])] = self._now()
        self._end(session)
        return session

    def _accept(self, kind: str, id_: str) -> Thing:
        """The shop gives in to a dispute."""
        dispute = self._one(kind, id_)
        if kind != "dispute" or dispute["status"] != "needs_response":
            raise _No("This dispute is already closed.")
        dispute["status"] = "lost"
        self._tell_dispute(dispute, "lost")
        return dispute

    # How things come about

    def _new(self, object_: str, prefix: str, id_: str | None = None, **fields: Any) -> Thing:
        thing = {
            "id": id_ or self._name(prefix),
            "object": object_,
            "created": _stamp(self._now()),
            "livemode": False,
            **fields,
        }
        self._things[object_][thing["id"]] = thing
        return thing

    def _name(self, prefix: str) -> str:
        """Of letters alone, so that no id can ever look like a card number."""
        return f"{prefix}_{''.join(self._dice.choices(ascii_letters, k=24))}"

    def _fresh(self, thing: Thing) -> Thing:
        """A thing as time has made it."""
        now = _stamp(self._now())
        if thing["object"] == "checkout.session" and thing["status"] == "open" and thing["expires_at"] <= now:
            thing |= {"status": "expired", "url": None}
        written = thing["created"] + REPORT_TAKES_S <= now
        if thing["object"] == "reporting.report_run" and thing["status"] == "pending" and written:
            file = self._name("file")
            url = f"{self.base_url}/v1/files/{file}/contents"
            thing |= {"status": "succeeded", "result": {"id": file, "object": "file", "type": "csv", "url": url}}
        return thing

    def _capture(self, session: Thing, paid: int) -> None:
        now, currency = self._now(), session["currency"]
        if paid == session["amount_total"] and self.troubles.strikes("short_paid"):
            paid -= _units(1, currency)
        metadata = self._sold[session["id"]][1]
        common = {"amount": paid, "currency": currency, "metadata": metadata, "status": "succeeded"}
        intent = self._new("payment_intent", "pi", amount_received=paid, **common)
        charge = self._new(
            "charge",
            "ch",
            amount_captured=paid,
            amount_refunded=0,
            disputed=False,
            paid=True,
            payment_intent=intent["id"],
            payment_method_details={"type": "card", "card": {"brand": "visa", "funding": "credit"}},
            refunded=False,
            **common,
        )
        intent["latest_charge"] = charge["id"]
        session |= {
            "amount_total": paid,
            "payment_intent": intent["id"],
            "payment_status": "paid",
            "status": "complete",
            "url": None,
        }
        reference, minor = str(session["client_reference_id"]), _minor(paid, currency)
        self.captures.append(Captured(reference, intent["id"], minor, currency.upper(), now))
        self._move("charge", paid, _units(max(minor * 29 // 1000, 1), currency), charge["id"], intent)
        self._announce("checkout.session.completed", session)

    def _end(self, session: Thing) -> None:
        session |= {"status": "expired", "url": None}
        self._ended.add(session["id"])
        self._announce("checkout.session.expired", session)

    async def _time_is_up(self, session: Thing) -> None:
        if session["payment_status"] == "unpaid" and session["id"] not in self._ended:
            self._end(session)

    def _refund_leaves(self, refund: Thing) -> None:
        self.refunds.append(self._truly(refund))
        intent, request_id = self._things["payment_intent"][refund["payment_intent"]], self.refunds[-1].request_id
        self._move("refund", -refund["amount"], 0, refund["id"], intent, request_id)

    async def _refund_moves(self, refund: Thing) -> None:
        if refund.pop("pending_reason") == "insufficient_funds":
            self._refund_leaves(refund)
        refund["status"] = "succeeded"
        self._announce("refund.updated", refund)

    async def _refund_returns(self, refund: Thing) -> None:
        refund |= {"status": "failed", "failure_reason": "lost_or_stolen_card"}
        left = next(one for one in self.refunds if one[:3] == self._truly(refund)[:3])
        self.refunds.remove(left)
        self.returned.append(left)
        self._move("refund_failure", refund["amount"], 0, refund["id"], self._intent(refund))
        self._announce("refund.failed", refund)

    def _truly(self, refund: Thing) -> Refunded:
        reference, request_id = (str(refund["metadata"].get(name, "")) for name in ("reference", "request_id"))
        minor, currency = _minor(refund["amount"], refund["currency"]), refund["currency"].upper()
        return Refunded(reference, request_id, minor, currency, self._now())

    def _tell_dispute(self, dispute: Thing, state: str) -> None:
        minor, currency = _minor(dispute["amount"], dispute["currency"]), dispute["currency"].upper()
        reference = str(self._intent(dispute)["metadata"].get("reference", ""))
        self.disputed.append(Disputed(reference, dispute["payment_intent"], state, minor, currency, self._now()))
        self._announce(f"charge.dispute.{'created' if state == 'opened' else 'closed'}", dispute)

    def _move(self, category: str, gross: int, fee: int, source: str, intent: Thing, request_id: str = "") -> None:
        row = Row(self._name("txn"), self._now(), category, intent["currency"], gross, fee, source, intent, request_id)
        self._rows.append(row)

    def _intent(self, about: Thing) -> Thing:
        return self._things["payment_intent"][about["payment_intent"]]

    def _sessions_of(self, reference: str) -> Iterator[Thing]:
        for session in reversed(self._things["checkout.session"].values()):
            if session["client_reference_id"] == reference:
                yield self._fresh(session)

    def _intent_of(self, reference: str) -> Thing | None:
        return next((self._intent(one) for one in self._sessions_of(reference) if one["payment_intent"]), None)

    def _open_dispute(self, intent: str) -> Thing | None:
        disputes = self._things["dispute"].values()
        return next(
            (one for one in disputes if one["payment_intent"] == intent and one["status"] == "needs_response"), None
        )

    # Events

    def event(self, kind: str, about: Thing) -> bytes:
        """The body of an event about `about` as it stands now."""
        event = self._new(
            "event",
            "evt",
            api_version="2026-10-28.endive",
            data={"object": copy.deepcopy(about)},
            pending_webhooks=1,
            request={"id": None, "idempotency_key": None},
            type=kind,
            **({"account": self.account} if self.account else {}),
        )
        return json.dumps(event, indent=2, ensure_ascii=False).encode()

    def signature(self, body: bytes, at: datetime, *secrets: str) -> str:
        """The `Stripe-Signature` of a body that is sent at this moment, with every secret that holds."""
        stamp = str(_stamp(at))
        made = [
            hmac.new(secret.encode(), f"{stamp}.".encode() + body, sha256).hexdigest()
            for secret in secrets or self.webhook_secrets
        ]
        return ",".join([f"t={stamp}", *(f"v1={one}" for one in made), f"v0={sha256(body).hexdigest()}"])

    def _announce(self, kind: str, about: Thing) -> None:
        if not self.webhook_url:
            return
        body = self.event(kind, about)
        first_s = self._dice.uniform(0, 600) if self.troubles.strikes("late_notice") else 0.0
        self._schedule(first_s, lambda: self._deliver(body, 0))
        if self.troubles.strikes("forge_notice"):
            self._schedule(0.0, lambda: self._deliver(body, len(REPEATS_S), "whsec_forged"))

    async def _deliver(self, body: bytes, repeat: int, *secrets: str) -> None:
        """Sends one event; the same body comes again, signed anew, until it is answered 2xx."""
        at = self._now() - (timedelta(hours=1) if self.troubles.strikes("old_notice") else timedelta())
        headers = {
            "content-type": "application/json; charset=utf-8",
            "stripe-signature": self.signature(body, at, *secrets),
            "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        accepted = False
        if not self.troubles.strikes("lose_notice"):
            for _ in range(2 if self.troubles.strikes("double_notice") else 1):
                try:
                    answer = await self._post(Request("POST", self.webhook_url, headers, body))
                    accepted = accepted or 200 <= answer.status < 300
                except (NotSent, NoAnswer):
                    pass
        if not accepted and repeat < len(REPEATS_S):
            self._schedule(REPEATS_S[repeat], lambda: self._deliver(body, repeat + 1))

    # The report

    def _file(self, id_: str) -> Response:
        for run in self._things["reporting.report_run"].values():
            if (run["result"] or {}).get("id") == id_:
                span = run["parameters"]
                rows = [row for row in self._rows if span["interval_start"] <= _stamp(row.at) < span["interval_end"]]
                return _file(self._report(rows, span["columns"]))
        raise _No("No such file.", "resource_missing", "id", status=404)

    def _report(self, rows: list[Row], columns: tuple[str, ...] | list[str]) -> bytes:
        text = io.StringIO()
        sheet = csv.writer(text, lineterminator="\n")
        sheet.writerow(columns)
        for row in rows:
            cells = _cells(row)
            sheet.writerow([cells[column] for column in columns])
        return text.getvalue().encode()

    # Pages

    def _person(self, method: str, id_: str, deed: str) -> Response:
        session = self._things["checkout.session"].get(id_)
        if session is None:
            return _page(404, "没有这笔付款 · There is no such payment", "")
        declined = ""
        if method == "POST" and self._fresh(session)["status"] == "open":
            match deed:
                case "pay" | "dispute":
                    self._capture(session, session["amount_total"])
                    if deed == "dispute":
                        self._schedule(DISPUTED_AFTER_S, partial(self._disputes, session))
                    return Response(303, {"location": _back(session)}, b"")
                case "leave" if session["cancel_url"]:
                    return Response(303, {"location": session["cancel_url"]}, b"")
                case "leave":
                    again = f'<a class="quiet" href="{session["url"]}">继续付款 · Pay after all</a>'
                    return _page(200, "您已离开 · You walked away", f"<p>没有扣款。Nothing was taken.</p>{again}")
                case "decline":
                    declined = (
                        '<p role="alert">发卡行拒绝了这张卡，没有扣款。The card was declined; nothing was taken.</p>'
                    )
        return self._shown(session, declined)

    def _shown(self, session: Thing, declined: str) -> Response:
        currency = session["currency"].upper()
        amount = f"{currency} {decimal_text(_minor(session['amount_total'], currency), currency)}"
        receipt = _template("card_receipt.html").substitute(
            amount=amount,
            subject=escape(self._sold[session["id"]][0]),
            reference=escape(str(session["client_reference_id"])),
        )
        shop = f'<a class="quiet" href="{escape(_back(session))}">返回商家 · Back to the shop</a>'
        match self._fresh(session)["status"]:
            case "complete":
                return _page(200, "已付款 · Paid", receipt + shop, mark="done")
            case "expired":
                return _page(200, "付款已关闭 · Closed", "<p>没有扣款。Nothing was taken.</p>" + shop)
        buttons = _template("card_buttons.html").substitute(at=escape(session["url"]), amount=amount)
        return _page(200, "银行卡付款 · Pay by card", receipt + declined + buttons)

    async def _disputes(self, session: Thing) -> None:
        self.dispute(str(session["client_reference_id"]))

    def _ordered_dispute(self, body: bytes) -> Response:
        fields = dict(parse_qsl(body.decode("ascii", "replace")))
        reference, state = fields.get("reference", ""), fields.get("state", "")
        if state == "opened":
            done = self.dispute(reference)
        else:
            done = state in ("won", "lost") and self.close_dispute(reference, state == "won")
        if not done:
            return Response(422, {"content-type": "text/plain"}, b"Send reference=...&state=opened, won or lost.")
        return Response(303, {"location": f"{self.base_url}/"}, b"")

    def _truth(self) -> Response:
        lists: dict[str, list[Any]] = {
            "captures": self.captures,
            "refunds": self.refunds,
            "returned": self.returned,
            "disputed": self.disputed,
        }
        return truth(**{name: [one._asdict() for one in those] for name, those in lists.items()}, closed=self.closed)

    def _index(self) -> Response:
        words = {"open": "待付款 · Waiting", "complete": "已付款 · Paid", "expired": "已关闭 · Closed"}
        latest = list(self._things["checkout.session"].values())[-20:]
        rows = ""
        for session in reversed(latest):
            currency, reference = session["currency"].upper(), str(session["client_reference_id"])
            state = words[self._fresh(session)["status"]]
            if self._open_dispute(str(session["payment_intent"])):
                state = "有争议 · Disputed" + _template("card_dispute.html").substitute(
                    at=f"{self.base_url}/disputes", reference=escape(reference)
                )
            money = f"{currency} {decimal_text(_minor(session['amount_total'], currency), currency)}"
            rows += f"<tr><td><code>{escape(reference)}</code><td>{money}<td>{state}"
        table = (
            f'<table><thead><tr><th scope="col">付款 · Payment<th scope="col">金额 · Amount<th scope="col">状态 · State'
            f'<tbody>{rows}</table><p><a href="{self.base_url}/balance.csv">余额报表 · Balance report (CSV)</a></p>'
        )
        return _page(200, "最近的付款 · Latest payments", table if rows else "<p>还没有付款。No payments yet.</p>")


_PATHS = {
    "/v1/checkout/sessions": "checkout.session",
    "/v1/products": "product",
    "/v1/payment_intents": "payment_intent",
    "/v1/charges": "charge",
    "/v1/refunds": "refund",
    "/v1/disputes": "dispute",
    "/v1/events": "event",
    "/v1/reporting/report_runs": "reporting.report_run",
}
_EXPANDS = {"payment_intent": "payment_intent", "latest_charge": "charge", "charge": "charge"}
_DEEDS: dict[tuple[str, str], Callable[[CardSimulator, Thing], Thing]] = {
    ("POST", "/v1/checkout/sessions"): CardSimulator._new_session,
    ("POST", "/v1/products"): CardSimulator._new_product,
    ("POST", "/v1/refunds"): CardSimulator._new_refund,
    ("POST", "/v1/reporting/report_runs"): CardSimulator._new_run,
    ("GET", "/v1/checkout/sessions"): lambda far, asked: far._list(
        "checkout.session", ("payment_intent", "status"), asked
    ),
    ("GET", "/v1/refunds"): lambda far, asked: far._list("refund", ("payment_intent", "charge"), asked),
    ("GET", "/v1/disputes"): lambda far, asked: far._list("dispute", ("payment_intent", "charge"), asked),
    ("GET", "/v1/events"): lambda far, asked: far._list("event", ("type",), asked),
}
_SESSION = {
    "adaptive_pricing",
    "cancel_url",
    "client_reference_id",
    "expires_at",
    "line_items",
    "locale",
    "metadata",
    "mode",
    "payment_intent_data",
    "payment_method_types",
    "success_url",
}
_COLUMNS = (
    "balance_transaction_id",
    "created_utc",
    "created",
    "currency",
    "gross",
    "fee",
    "net",
    "reporting_category",
    "source_id",
    "customer_facing_amount",
    "customer_facing_currency",
    "charge_id",
    "payment_intent_id",
    "payment_method_type",
    "payment_metadata[reference]",
    "refund_metadata[reference]",
    "refund_metadata[request_id]",
)


class _No(Exception):
    """A refusal in Stripe's words."""

    def __init__(
        self, why: str, code: str = "", param: str = "", *, kind: str = "invalid_request_error", status: int = 400
    ) -> None:
        super().__init__(why)
        self.why, self.code, self.param, self.kind, self.status = why, code, param, kind, status

    @property
    def unbegun(self) -> bool:
        """Was it refused before anything began?"""
        begun = ("resource_missing", "charge_disputed", "charge_already_refunded", "resource_already_exists")
        return self.code not in begun and self.param != "amount"

    def said(self) -> Thing:
        fields = {"code": self.code, "message": self.why, "param": self.param, "type": self.kind}
        return {name: value for name, value in fields.items() if value}


def _tree(pairs: list[tuple[str, str]]) -> Thing:
    """Nested brackets as nested objects: `line_items[0][quantity]=1`; lists are objects with numbers as names."""
    tree: Thing = {}
    for name, value in pairs:
        *steps, last = name.replace("]", "").split("[")
        node = tree
        for step in steps:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                raise _No(f"Invalid {name}.", "parameter_unknown", name)
        last = last or str(len(node))
        if last in node:
            raise _No(f"Received {name} twice.", "parameter_unknown", name)
        node[last] = value
    return tree


def _known(asked: Thing, names: set[str]) -> None:
    for name in asked:
        if name not in names:
            raise _No(f"Received unknown parameter: {name}", "parameter_unknown", name)


def _sum(items: list[Any]) -> tuple[str, int, str]:
    """The currency and total of line items, and how the page names them."""
    total, currencies, names = 0, set(), []
    for item in items:
        price = _dict(_dict(item).get("price_data"))
        unit = _whole(price.get("unit_amount"), "line_items[0][price_data][unit_amount]")
        total += unit * _whole(_dict(item).get("quantity", "1"), "line_items[0][quantity]")
        currencies.add(str(price.get("currency")).lower())
        name = str(_dict(price.get("product_data")).get("name") or "")
        if not name:
            raise _No("Missing required param: name.", "parameter_missing", "line_items[0][price_data][product_data]")
        names.append(name)
    currency = currencies.pop()
    if currencies or currency.upper() not in EXPONENT or currency.upper() in _NOT_CHARGED:
        raise _No(f"Invalid currency: {currency}.", param="line_items[0][price_data][currency]")
    _expressible(total, currency)
    if total < 50:
        raise _No("The total amount due is too small.", "amount_too_small")
    if total > 99_999_999:
        raise _No("The total amount due is too large.", "amount_too_large")
    return currency, total, ", ".join(names)


def _expressible(units: int, currency: str) -> None:
    if EXPONENT[currency.upper()] == 3 and units % 10:
        raise _No("The last digit of a three-decimal amount must be 0.", "invalid_charge_amount")
    if currency.upper() in _HUNDREDFOLD and units % 100:
        raise _No("Charged amounts must be evenly divisible by 100.", "invalid_charge_amount")


def _units(minor: int, currency: str) -> int:
    return minor * 100 if currency.upper() in _HUNDREDFOLD else minor


def _minor(units: int, currency: str) -> int:
    return units // 100 if currency.upper() in _HUNDREDFOLD else units


def _cells(row: Row) -> dict[str, str]:
    """A line of the report. Amounts are in major units; nothing is paid in another currency than it is settled in."""
    currency, at = row.currency.upper(), f"{row.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    gross, fee, net = (
        decimal_text(_minor(units, currency), currency) for units in (row.gross, row.fee, row.gross - row.fee)
    )
    of_payer = row.category in ("charge", "refund")
    refund = {"reference": row.intent["metadata"].get("reference", ""), "request_id": row.request_id}
    return {
        "balance_transaction_id": row.id,
        "created_utc": at,
        "created": at,
        "currency": row.currency,
        "gross": gross,
        "fee": fee,
        "net": net,
        "reporting_category": row.category,
        "source_id": row.source,
        "customer_facing_amount": gross if of_payer else "",
        "customer_facing_currency": row.currency if of_payer else "",
        "charge_id": str(row.intent["latest_charge"]) if of_payer else "",
        "payment_intent_id": str(row.intent["id"]),
        "payment_method_type": "card",
        "payment_metadata[reference]": str(row.intent["metadata"].get("reference", "")),
        "refund_metadata[reference]": str(refund["reference"]) if row.category == "refund" else "",
        "refund_metadata[request_id]": str(refund["request_id"]) if row.category == "refund" else "",
    }


def _dict(value: object) -> Thing:
    return value if isinstance(value, dict) else {}


def _whole(value: object, name: str) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,12}", value) or not int(value):
        raise _No(f"Invalid integer: {name}.", "parameter_invalid_integer", name)
    return int(value)


def _stamp(at: datetime) -> int:
    return int(at.timestamp())


def _web(url: object) -> str:
    """An address that a browser may go to; anything but HTTP is dropped."""
    return url if isinstance(url, str) and urlsplit(url).scheme in ("http", "https") else ""


def _back(session: Thing) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _file(content: bytes) -> Response:
    headers = {"content-type": "text/csv; charset=utf-8", "cache-control": "no-store"}
    return Response(200, headers, content)


def _template(name: str) -> Template:
    return Template(files("refill.simulators").joinpath("pages", name).read_text("utf-8"))


def _page(status: int, title: str, content: str, mark: str = "") -> Response:
    page = _template("card.html").substitute(title=title, content=content, mark=mark)
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'",
        "cache-control": "no-store",
    }
    return Response(status, headers, page.encode())
