"""The payment method `card`: Stripe's hosted Checkout, so that a card's number is typed on Stripe's page and never comes near us.

Sources: Stripe's API reference (Checkout Sessions, Products, Refunds, Disputes, Events, Report Runs, "Idempotent
requests", "Errors"), "Verify webhook signatures manually", "Supported currencies", "Balance report type".

Stripe finds a session by its own id; we keep only our reference. Three ways back from it do not hold: a list of
sessions has no filter for `client_reference_id`; search is "not for read-after-write" and knows no session at all; a
repeat of the creation under its idempotency key needs the same particulars again and is sure for 24 hours only. But of
a Product the account itself chooses the id, unique for ever and readable at once. So before a person is sent to a
session, a Product with our reference as its id (never on sale) keeps the session's id, and the first one kept is the
only one that anybody is ever sent to: what no Product names, nobody can pay.
"""

import csv
import hmac
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from refill.errors import BadInput, NotAnAmount, NotVerified
from refill.money import EXPONENT, MAX_MINOR, Money
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
    Dispute,
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

NAME = "card"
API = "https://api.stripe.com"
FILES = "https://files.stripe.com"
VERSION = "2026-10-28.endive"  # of the API: what their answers look like stays as it is until we change this
FRESH = timedelta(minutes=5)
MAX_ANSWER = 1 << 20
MAX_NOTICE = 1 << 18
MAX_REPORT = 256 << 20
MAX_PAGES = 20  # of a hundred refunds each, of one payment

# A session lives for at least 30 minutes and at most 24 hours, and ours would end sooner: what ends it in time is
# `close`. Counted from the end of the charge, so that a repeat names the same moment and is the same request.
_LEAST_LIFE = timedelta(minutes=31)
_MOST_LIFE = timedelta(hours=23, minutes=59)

# Their words that are a definite no, by call: the code of an error, or its type and the parameter that it is about.
# A word that is not in the table is not a no.
_STATE = "state"  # it is not in the state that the call needs: which one, only a look tells
_KEPT = "kept"  # something under this name is there already
_REFUSES_BEGIN = {
    "amount_too_small": Refused("the amount is below what Stripe charges"),
    "amount_too_large": Refused("the amount is above what Stripe charges"),
    "invalid_charge_amount": Refused("Stripe cannot charge this amount"),
    "parameter_missing": Refused("Stripe misses one of the particulars"),
    "url_invalid": Refused("Stripe does not send people back to our address"),
    "payment_method_unactivated": Refused("cards are not open to our account at Stripe"),
    "idempotency_error": Refused(_KEPT),  # begun before with other particulars, such as another way back to us
}
_REFUSES_KEEP = {"resource_already_exists": Refused(_KEPT)}
_REFUSES_LOOK = {"resource_missing": Refused(ABSENT)}
_REFUSES_CLOSE = {"invalid_request_error": Refused(_STATE)}  # "only sessions with a status in [open] can be expired"
_REFUSES_REFUND = {
    "resource_missing": Refused(ABSENT),
    "charge_already_refunded": Refused(_STATE),
    "amount_too_large": Refused(_STATE),  # more than is left; our own first asking may have taken it
    "invalid_request_error/amount": Refused(_STATE),  # the same, as they also say it
    "charge_disputed": Refused("the payer's bank has taken the money back already"),
    "refund_disputed_payment": Refused("the payer disputes this payment, and the bank decides"),
    "balance_insufficient": Refused("our balance at Stripe is too low", final=False),
}
_REFUSES_REPORT = {
    "invalid_request_error/parameters": Refused(ABSENT, final=False),  # the day is not over in their books
    "invalid_request_error/parameters[interval_end]": Refused(ABSENT, final=False),
}
_DEFINITE = (400, 404)  # 401, 403, 409 and 429 say nothing about the request itself; 402 is for calls that charge
# Documented words that mean "perhaps"; any other word means it too, and alarms.
_PERHAPS = {"api_error", "idempotency_key_in_use", "lock_timeout", "rate_limit"}

# Charged in hundredths, though they have none ("Supported currencies", special cases).
_HUNDREDFOLD = frozenset({"ISK", "UGX"})
_NOT_CHARGED = frozenset({"GHS", "IQD", "LYD"})  # not among their presentment currencies

_ENDED = {"won": "won", "warning_closed": "won", "lost": "lost"}  # an inquiry that is closed took no money
_SECRET_KEY = re.compile(r"[rs]k_(live|test)_[0-9A-Za-z_]{8,255}")
_TIME = re.compile(r"[0-9]{1,12}")
_NAME = re.compile(r"[!-~]{0,255}")
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Card:
    """Stripe in every currency that it charges and we know, for one account, live or in a test."""

    secret_key: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)  # two while one replaces the other
    account: str = ""  # a connected account that we charge for; "": the key's own
    api_url: str = API
    timeout_s: float = 10.0

    name = NAME
    can = Can(statement=True, scenes=("page", "wap"))
    currencies = frozenset(EXPONENT) - _NOT_CHARGED

    @property
    def live(self) -> bool:
        return "_live_" in self.secret_key[:8]

    @property
    def merchant(self) -> str:
        """Of which account a capture is. The numbers of payments are unique over all of Stripe."""
        return self.account or ("live" if self.live else "test")

    async def begin(self, world: World, charge: Charge) -> Outcome[Invitation]:
        units = _units(charge.amount)
        if units is None:
            return Refused("Stripe cannot charge this amount in this currency")
        if charge.scene not in self.can.scenes:
            return Refused(f"a card has no scene {charge.scene!r}")
        if charge.expires_at <= world.now():
            return Refused(CLOSED)
        match await self._opened(world, charge, units):
            case Done(session) if (session.get("amount_total"), session.get("currency")) != (
                units,
                charge.amount.currency.lower(),
            ):
                return Refused("the reference was used for another payment")
            case Done(session) if session.get("status") == "complete":
                return Refused(ALREADY_PAID)
            case Done(session) if session.get("status") == "expired" or charge.expires_at <= world.now():
                return Refused(CLOSED)
            case Done(session) if session.get("status") == "open" and _text(session, "url"):
                return Done(Invitation("redirect", session["url"]))
            case Done():
                return Unknown("Stripe names no page on which to pay.", "NO_URL")
            case Unknown(why) if why == NOT_SENT:
                return Refused(NOT_SENT, final=False)
            case no:
                return no

    async def query(self, world: World, reference: str) -> Outcome[Capture]:
        match await self._session(world, reference):
            case Done(session):
                return self._what_became(session, reference, world.now())
            case no:
                return no

    async def close(self, world: World, reference: str) -> Outcome[str]:
        match await self._closed(world, reference):
            case Refused(reason) if reason == _STATE:
                # In this very moment it was paid, or its time ran out: one more look tells which.
                match await self._closed(world, reference):
                    case Refused(reason) if reason == _STATE:
                        return Unknown("Stripe can neither close this payment nor tell its state.")
                    case sure:
                        return sure
            case answer:
                return answer

    async def refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        units = _units(ask.amount)
        if units is None:
            return Refused("Stripe cannot refund this amount in this currency")
        # Their memory of our request_id is sure for a day only, a refund in doubt may be older: so look first.
        match await self.query_refund(world, ask):
            case Refused(reason) if reason == ABSENT:
                pass
            case known:
                return known
        fields = {
            "payment_intent": ask.transaction,
            "amount": str(units),
            "metadata[request_id]": ask.request_id,
            "metadata[reference]": ask.reference,
        }
        match await self._ask(world, "POST", "/v1/refunds", fields, _REFUSES_REFUND, key=ask.request_id):
            case Done(refund):
                return _refunded(refund, ask)
            case Refused(reason, code) if reason == _STATE:
                # What stands in the way may be our own first asking, which arrived after our look.
                match await self.query_refund(world, ask):
                    case Refused(reason) if reason == ABSENT:
                        return Refused("Stripe cannot refund this payment in its state", code)
                    case known:
                        return known
            case no:
                return no

    async def query_refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        """ABSENT means "not yet, as far as they know": asking again under the same request_id is safe at any time."""
        after: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            fields = {"payment_intent": ask.transaction, "limit": "100", **after}
            match await self._ask(world, "GET", "/v1/refunds", fields, _REFUSES_LOOK):
                case Done(said) if said.get("object") == "list" and isinstance(said.get("data"), list):
                    refunds = [one for one in said["data"] if isinstance(one, dict)]
                case Done():
                    return Unknown("Stripe's answer is no list of refunds.", "NO_LIST")
                case no:
                    return no
            for refund in refunds:
                if _meta(refund, "request_id") == ask.request_id:
                    return _refunded(refund, ask)
            if said.get("has_more") is False:
                return Refused(ABSENT, final=False)
            after = {"starting_after": _text(refunds[-1], "id") if refunds else ""}
        return Unknown("This payment has more refunds than we look through.")

    def read_notice(self, raw: RawNotice) -> Notice:
        sent_at = self._signed_at(raw)
        try:
            event = _read(raw.body, MAX_NOTICE)
        except (ValueError, RecursionError) as error:
            raise NotVerified("The notice cannot be read.") from error
        data = event.get("data")
        about = data.get("object") if isinstance(data, dict) else None
        id_, kind = _text(event, "id"), _text(event, "type")
        if event.get("object") != "event" or not id_ or not isinstance(about, dict):
            raise NotVerified("The notice is no event.")
        if event.get("livemode") is not self.live or (event.get("account") or "") != self.account:
            raise NotVerified("The notice is meant for another account, or mixes tests with real money.")
        dispute = _dispute(kind, about)
        # A dispute names the payment, never what we wrote on it.
        reference = _text(about, "client_reference_id") or _meta(about, "reference")
        if not reference and dispute is None:
            raise NotVerified("The notice is not about a payment of ours.")
        return Notice(
            id=id_,
            reference=reference,
            capture=self._captured(event, kind, about, reference),
            # They sign each sending anew, also when they repeat it for days: an old signature is a copy.
            fresh=abs(raw.received_at - sent_at) <= FRESH,
            dispute=dispute,
        )

    def acknowledge(self, accepted: bool) -> tuple[int, bytes]:
        return (200, b"received") if accepted else (503, b"send it again")

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        """The rows of an itemised balance report, as CSV: `balance_change_from_activity.itemized.<any version>`.

        It is chosen before `payout_reconciliation.itemized` because every account has it and it goes by the day on
        which money moved, not by when it was paid out; of the same columns, either can be read. It must be run with the
        columns of `COLUMNS`. It has no row of totals, and its summary is a file of its own; so what is checked is that
        gross - fee = net in each row, of whatever category. Charges and refunds are given; disputes, payouts, fees
        and the like are not.
        """
        with _rows(file) as rows:
            places = _places(next(rows, []))
            width = len(places.all)
            for number, row in enumerate(rows, 2):
                if len(row) != width:
                    raise BadStatement(f"Line {number} has {len(row)} fields, the first line names {width}.")
                try:
                    line = _line({name: row[place] for name, place in places.ours.items()})
                except ValueError as error:
                    raise BadStatement(f"Line {number} cannot be read: {error}.") from error
                if line is not None:
                    yield line

    async def fetch_statement(self, world: World, day: date) -> Outcome[bytes]:
        """The balance report of a day in UTC. Stripe first has to write it: Unknown until it is there, then ask again."""
        start = datetime.combine(day, time(), UTC)
        fields = {
            "report_type": REPORT,
            "parameters[interval_start]": _stamp(start),
            "parameters[interval_end]": _stamp(start + timedelta(days=1)),
            **{f"parameters[columns][{n}]": column for n, column in enumerate(COLUMNS)},
        }
        # Under one key a repeat is told of the same run; how that stands now, only a look tells.
        run = await self._ask(
            world, "POST", "/v1/reporting/report_runs", fields, _REFUSES_REPORT, key=f"{REPORT}.{day.isoformat()}"
        )
        if isinstance(run, Done):
            name = quote(_text(run.reference, "id"), safe="")
            run = await self._ask(world, "GET", f"/v1/reporting/report_runs/{name}", {}, {})
        if not isinstance(run, Done):
            return run
        result = run.reference.get("result")
        url = _text(result, "url") if isinstance(result, dict) else ""
        if run.reference.get("status") != "succeeded" or not url:
            return Unknown("Stripe has not written the report yet.")
        if not url.startswith((f"{FILES}/", f"{self.api_url}/")):  # our key goes to nobody else
            return Unknown("Stripe names an address for the report that is not its own.", "NO_ADDRESS")
        try:
            answer = await self._send(world, "GET", url, {}, timeout_s=120, most_bytes=MAX_REPORT)
        except (NotSent, NoAnswer):
            return Unknown("Stripe's report did not arrive.")
        if answer.status != 200 or not 0 < len(answer.body) <= MAX_REPORT:
            return Unknown("Stripe's report did not arrive.", f"HTTP_{answer.status}")
        return Done(answer.body)

    # Sessions

    async def _opened(self, world: World, charge: Charge, units: int) -> Outcome[dict[str, Any]]:
        """The one session of this charge: made now, or made before and found again."""
        until = min(charge.expires_at + _LEAST_LIFE, world.now() + _MOST_LIFE)
        fields = {
            "mode": "payment",
            "client_reference_id": charge.reference,
            "metadata[reference]": charge.reference,
            "payment_intent_data[metadata][reference]": charge.reference,
            "payment_method_types[0]": "card",
            "line_items[0][quantity]": "1",
            "line_items[0][price_data][currency]": charge.amount.currency.lower(),
            "line_items[0][price_data][unit_amount]": str(units),
            "line_items[0][price_data][product_data][name]": _clean(charge.subject),
            "adaptive_pricing[enabled]": "false",  # who pays in another currency than the price pays another amount
            "expires_at": _stamp(until),
            "success_url": charge.return_url,
            "cancel_url": charge.return_url,
        }
        match await self._ask(world, "POST", "/v1/checkout/sessions", fields, _REFUSES_BEGIN, key=charge.reference):
            case Done(session) if self._is_ours(session, charge.reference):
                return await self._kept(world, charge.reference, session)
            case Done():
                return Unknown("Stripe's answer is about another payment.", "OTHER_SESSION")
            case Refused(reason) if reason == _KEPT:
                match await self._session(world, charge.reference):
                    case Refused():
                        return Unknown("Stripe knows this reference with other particulars.", "idempotency_error")
                    case found:
                        return found
            case no:
                return no

    async def _kept(self, world: World, reference: str, session: dict[str, Any]) -> Outcome[dict[str, Any]]:
        """`session`, once a Product names it; or the session that one named before."""
        fields = {
            "id": reference,
            "name": f"Checkout {reference}",
            "active": "false",
            "metadata[session]": session["id"],
        }
        match await self._ask(world, "POST", "/v1/products", fields, _REFUSES_KEEP):
            case Done(product) if product.get("id") == reference and _meta(product, "session") == session["id"]:
                return Done(session)
            case Done():
                return Unknown("Stripe's answer is about another payment.", "OTHER_PRODUCT")
            case Refused():
                return await self._session(world, reference)
            case unknown:
                return unknown

    async def _session(self, world: World, reference: str) -> Outcome[dict[str, Any]]:
        """The session to which people are sent for this reference, as it stands now, with its payment."""
        path = f"/v1/products/{quote(reference, safe='')}"
        match await self._ask(world, "GET", path, {}, _REFUSES_LOOK):
            case Done(product) if product.get("id") == reference and _meta(product, "session"):
                path = f"/v1/checkout/sessions/{quote(_meta(product, 'session'), safe='')}"
            case Done():
                return Unknown("Stripe's answer is about another payment.", "OTHER_PRODUCT")
            case no:
                return no
        match await self._ask(world, "GET", path, {"expand[0]": "payment_intent.latest_charge"}, {}):
            case Done(session) if self._is_ours(session, reference) and session["id"] == _meta(product, "session"):
                return Done(session)
            case Done():
                return Unknown("Stripe's answer is about another payment.", "OTHER_SESSION")
            case no:
                return no

    async def _closed(self, world: World, reference: str) -> Outcome[str]:
        """One look, and one try where the session is open. Refused(_STATE): it is not open any more."""
        match await self._session(world, reference):
            case Done(session):
                standing = self._what_became(session, reference, world.now())
            case no:
                return no
        match standing:
            case Done():
                return Refused(ALREADY_PAID)
            case Refused(reason) if reason == CLOSED:
                return Done(session["id"])
            case Refused() if session.get("status") != "open":
                return Unknown("The payer's bank is still working on this payment.")
            case Unknown() as unknown:
                return unknown
        path = f"/v1/checkout/sessions/{quote(session['id'], safe='')}/expire"
        match await self._ask(world, "POST", path, {}, _REFUSES_CLOSE):
            case Done(said) if said.get("id") == session["id"] and said.get("status") == "expired":
                return Done(session["id"])
            case Done():
                return Unknown("Stripe's answer is about another payment.", "OTHER_SESSION")
            case no:
                return no

    def _is_ours(self, session: Mapping[str, Any], reference: str) -> bool:
        return (
            session.get("object") == "checkout.session"
            and bool(_text(session, "id"))
            and session.get("client_reference_id") == reference
            and session.get("livemode") is self.live
        )

    def _what_became(self, session: Mapping[str, Any], reference: str, now: datetime) -> Outcome[Capture]:
        intent = session.get("payment_intent")
        match state := (session.get("status"), session.get("payment_status")):
            case "open", "unpaid":
                return Refused(WAITING, final=False)
            case "expired", "unpaid":
                return Refused(CLOSED)
            case "complete", "unpaid":  # a bank that answers later: not with cards, but an account may open others
                return _later(intent if isinstance(intent, dict) else {})
            case "complete", "paid":
                charge = intent.get("latest_charge") if isinstance(intent, dict) else None
                paid_at = _time(charge.get("created")) if isinstance(charge, dict) else None
            case _:
                return Unknown("Stripe names a state that we do not know.", "{}/{}".format(*state)[:64])
        try:
            return Done(self._capture(session, reference, paid_at or now))
        except NotAnAmount:
            return Unknown("Stripe names no amount that we can read, or no payment.", "NO_AMOUNT")

    def _captured(
        self, event: Mapping[str, Any], kind: str, about: Mapping[str, Any], reference: str
    ) -> Capture | None:
        """The payment of which an event speaks, or None when it speaks of something else: then a query tells."""
        if kind not in ("checkout.session.completed", "checkout.session.async_payment_succeeded"):
            return None
        if about.get("payment_status") != "paid":
            return None
        paid_at = _time(event.get("created"))
        if paid_at is None or not self._is_ours(about, reference):
            raise NotVerified("The notice names no time, or a session that is not ours.")
        try:
            return self._capture(about, reference, paid_at)
        except NotAnAmount as error:
            raise NotVerified("The notice names no amount that we can read, or no payment.") from error

    def _capture(self, session: Mapping[str, Any], reference: str, paid_at: datetime) -> Capture:
        """Raises NotAnAmount, also when the session names no payment."""
        paid = _money(session.get("amount_total"), session.get("currency"))
        transaction = _id(session.get("payment_intent"))
        if not transaction:
            raise NotAnAmount("The session names no payment.")
        return Capture(NAME, self.merchant, transaction, reference, paid, paid_at)

    # The wire

    def _signed_at(self, raw: RawNotice) -> datetime:
        """When they signed it. Raises NotVerified unless one of the signatures is made with one of our secrets."""
        if len(raw.body) > MAX_NOTICE:
            raise NotVerified("The notice is too long.")
        header = next((value for name, value in raw.headers.items() if name.lower() == "stripe-signature"), "")
        parts = [part.strip().partition("=")[::2] for part in header.split(",")]
        times = [value for name, value in parts if name == "t"]
        if len(times) != 1 or not _TIME.fullmatch(times[0]):
            raise NotVerified("The notice carries no time of signing.")
        # Only "v1" counts: "v0" is a sham for tests, and a scheme that we do not know proves nothing.
        given = [value.encode() for name, value in parts if name == "v1" and _HEX.fullmatch(value)]
        right = [_sign(secret, times[0], raw.body).encode() for secret in self.webhook_secrets]
        if not any(hmac.compare_digest(one, other) for one in given for other in right):
            raise NotVerified("The signature of the notice does not hold.")
        signed_at = _time(int(times[0]))
        if signed_at is None:
            raise NotVerified("The notice carries no time of signing.")
        return signed_at

    async def _send(self, world: World, verb: str, url: str, fields: Mapping[str, str], **more: Any) -> Response:
        content = urlencode({name: value for name, value in fields.items() if value})
        body = b""
        headers = {"authorization": f"Bearer {self.secret_key}", "stripe-version": VERSION}
        if self.account:
            headers["stripe-account"] = self.account
        if key := more.pop("key", ""):
            headers["idempotency-key"] = key
        if verb == "POST":
            headers["content-type"], body = "application/x-www-form-urlencoded", content.encode()
        elif content:
            url += f"?{content}"
        return await call(world, Request(verb, url, headers, body, **{"timeout_s": self.timeout_s, **more}))

    async def _ask(
        self, world: World, verb: str, path: str, fields: Mapping[str, str], no: Mapping[str, Refused], key: str = ""
    ) -> Outcome[dict[str, Any]]:
        """Done(what they said) only for 200 with one object; Refused only by the call's table; else Unknown."""
        try:
            response = await self._send(world, verb, f"{self.api_url}{path}", fields, key=key)
        except NotSent:
            return Unknown(NOT_SENT)
        except NoAnswer:
            return Unknown("Stripe did not answer.")
        try:
            said = _read(response.body, MAX_ANSWER)
        except (ValueError, RecursionError) as error:
            return Unknown(f"Stripe's answer cannot be read: {error}"[:200])
        if response.status == 200 and _text(said, "object") and "error" not in said:
            return Done(said)
        word = _word(said.get("error"))
        if response.status in _DEFINITE and word in no:
            return Refused(no[word].reason, word, no[word].final)
        return Unknown("Stripe does not say what became of it.", "" if word in _PERHAPS else word or "NO_OBJECT")


REPORT = "balance_change_from_activity.itemized.6"
COLUMNS = (
    "balance_transaction_id",
    "created_utc",
    "currency",
    "gross",
    "fee",
    "net",
    "reporting_category",
    "customer_facing_currency",
    "payment_intent_id",
    "payment_metadata[reference]",
    "refund_metadata[request_id]",
)

SETTINGS = {
    "card_secret_key": PortSetting("secret", "our secret key at Stripe (sk_live_… or rk_live_…)"),
    "card_webhook_secret": PortSetting("secret", "what Stripe signs notices to /callbacks/card with (whsec_…)"),
    "card_webhook_secret_old": PortSetting("secret", "the secret before that one, while one replaces the other"),
    "card_account": PortSetting("text", "the connected account (acct_…) that we charge for; not set: the key's own"),
    "card_api_base": PortSetting("url", "address of Stripe's API; not set: the real one"),
}


def from_settings(settings: Mapping[str, str]) -> Method | None:
    """Cards, if `card_secret_key` is set; raises BadInput when `card_webhook_secret` is missing or a key is no key."""
    if not settings.get("card_secret_key"):
        return None
    if not settings.get("card_webhook_secret"):
        raise BadInput("The setting card_webhook_secret is missing; Stripe needs it beside card_secret_key.")
    if not _SECRET_KEY.fullmatch(settings["card_secret_key"]):
        raise BadInput(
            "The setting card_secret_key is no secret key of Stripe's: sk_live_…, or rk_live_… for some rights."
        )
    secrets = tuple(settings[name] for name in ("card_webhook_secret", "card_webhook_secret_old") if settings.get(name))
    if not all(secret.startswith("whsec_") for secret in secrets):
        raise BadInput("The settings card_webhook_secret and card_webhook_secret_old begin with whsec_.")
    account = settings.get("card_account") or ""
    if account and not re.fullmatch(r"acct_[0-9A-Za-z]{1,64}", account):
        raise BadInput("The setting card_account is no account of Stripe's: acct_…")
    return Card(settings["card_secret_key"], secrets, account, settings.get("card_api_base") or API)


def signature(secret: str, body: bytes, at: datetime) -> str:
    """The `Stripe-Signature` of a notice as Stripe would send it at that moment; for examples and tests."""
    return f"t={_stamp(at)},v1={_sign(secret, _stamp(at), body)}"


def EXAMPLES() -> tuple[Method, list[Example]]:
    """A method with throw-away secrets, and what arrives for it."""
    method = Card("sk_test_examples", ("whsec_new", "whsec_old"))
    now = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    session = {
        "id": "cs_test_a1Example",
        "object": "checkout.session",
        "amount_total": 4980,
        "client_reference_id": "pay_1",
        "currency": "cny",
        "livemode": False,
        "metadata": {"reference": "pay_1"},
        "mode": "payment",
        "payment_intent": "pi_Example",
        "payment_status": "paid",
        "status": "complete",
    }
    refund = {"id": "re_Example", "object": "refund", "metadata": {"reference": "pay_1", "request_id": "rf_1"}}

    dispute = {"object": "dispute", "amount": 4980, "currency": "cny", "payment_intent": "pi_Example"}

    def event(kind: str, about: Mapping[str, Any], **other: Any) -> bytes:
        created = int(now.timestamp()) - 2
        frame = {"id": "evt_Example", "object": "event", "created": created, "livemode": False, "type": kind}
        return json.dumps({**frame, "data": {"object": about}, **other}).encode()

    def example(
        says: str,
        expect: str,
        body: bytes,
        signed_with: str = "whsec_new",
        received_at: datetime = now,
        sent: bytes = b"",
    ) -> Example:
        headers = {"stripe-signature": signature(signed_with, body, now)}
        return Example(says, RawNotice(sent or body, headers, received_at), expect)

    paid = event("checkout.session.completed", session)
    return method, [
        example("money arrived", "capture", paid),
        example("signed with the secret that is being replaced", "capture", paid, signed_with="whsec_old"),
        example(
            "a bank that took its time says yes",
            "capture",
            event("checkout.session.async_payment_succeeded", session),
        ),
        example("the amount was changed on the way", "not_verified", paid, sent=paid.replace(b"4980", b"4981")),
        example("signed by somebody else", "not_verified", paid, signed_with="whsec_other"),
        example("of a test, or of real money", "not_verified", paid.replace(b"false", b"true")),
        example(
            "for another account", "not_verified", event("checkout.session.completed", session, account="acct_Other")
        ),
        example("the same notice, a day later", "stale", paid, received_at=now + timedelta(days=1)),
        example("nobody paid", "other", event("checkout.session.expired", {**session, "payment_status": "unpaid"})),
        example("a refund did not arrive", "other", event("refund.failed", refund)),
        example("a payer's bank takes the money back", "other", event("charge.dispute.created", dispute)),
    ]


def _units(amount: Money) -> int | None:
    """What Stripe calls this amount; None when it has no word for it.

    Source: "Supported currencies". Of three decimals the last must be 0.
    """
    if amount.currency not in Card.currencies or not 0 < amount.minor <= MAX_MINOR:
        return None
    if EXPONENT[amount.currency] == 3 and amount.minor % 10:
        return None
    return amount.minor * 100 if amount.currency in _HUNDREDFOLD else amount.minor


def _money(units: object, currency: object) -> Money:
    """What Stripe means by so many units. Raises NotAnAmount."""
    code = currency.upper() if isinstance(currency, str) else ""
    if type(units) is not int or code not in Card.currencies:
        raise NotAnAmount("Stripe names no amount in a currency that we know.")
    minor, rest = divmod(units, 100) if code in _HUNDREDFOLD else (units, 0)
    if rest or not 0 < minor <= MAX_MINOR:
        raise NotAnAmount("Stripe names an amount that there is not.")
    return Money(minor, code)


def _refunded(refund: Mapping[str, Any], ask: RefundAsk) -> Outcome[str]:
    """What one of their refunds means for what we asked."""
    id_, status = _text(refund, "id"), refund.get("status")
    if not id_ or _id(refund.get("payment_intent")) != ask.transaction or _meta(refund, "request_id") != ask.request_id:
        return Unknown("Stripe's answer is about another refund.", "OTHER_REFUND")
    if (refund.get("amount"), refund.get("currency")) != (_units(ask.amount), ask.amount.currency.lower()):
        return Unknown("Stripe refunded another amount under this number.", "OTHER_AMOUNT")
    if status == "pending" and refund.get("pending_reason") == "insufficient_funds":
        return Unknown("Stripe waits until our balance there covers the refund.")
    if status in ("pending", "succeeded"):
        return Done(id_)
    if status in ("failed", "canceled"):  # the money is back in our balance there, and this refund stays what it is
        return Refused("the payer's bank did not take the refund", _text(refund, "failure_reason")[:64] or str(status))
    return Unknown("Stripe is still working on the refund.", str(status)[:64])


def _later(intent: Mapping[str, Any]) -> Outcome[Capture]:
    """A session that is over without money: does the payer's bank still think about it?"""
    if intent.get("status") == "processing":
        return Refused(WAITING, final=False)
    if intent.get("status") in ("requires_payment_method", "canceled"):
        return Refused(CLOSED)
    return Unknown("Stripe names a state that we do not know.", str(intent.get("status"))[:64])


def _dispute(kind: str, about: Mapping[str, Any]) -> Dispute | None:
    """Raises NotVerified for a dispute about no payment or no amount."""
    state = "opened" if kind == "charge.dispute.created" else _ENDED.get(_text(about, "status"), "")
    if kind not in ("charge.dispute.created", "charge.dispute.closed") or not state:
        return None
    details, transaction = about.get("evidence_details"), _id(about.get("payment_intent"))
    try:
        disputed = _money(about.get("amount"), about.get("currency"))
    except NotAnAmount as error:
        raise NotVerified("The dispute names no amount that we can read.") from error
    if not transaction:
        raise NotVerified("The dispute names no payment.")
    evidence_by = _time(details.get("due_by")) if isinstance(details, dict) else None
    return Dispute(transaction, state, disputed, _text(about, "reason")[:64], evidence_by)


def _sign(secret: str, stamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()


def _word(error: object) -> str:
    """The code of an error; where it has none its type, with the parameter that it is about."""
    if not isinstance(error, dict):
        return ""
    kind = "/".join(filter(None, (_text(error, "type"), _text(error, "param"))))
    return (_text(error, "code") or kind)[:64]


def _read(body: bytes, most: int) -> dict[str, Any]:
    """One JSON object. Raises ValueError, or RecursionError for a very deep one."""
    if len(body) > most:
        raise ValueError("it is too long")
    said = json.loads(body.decode("utf-8"), object_pairs_hook=_once)
    if not isinstance(said, dict):
        raise ValueError("it is not a JSON object")
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it names a member twice")
    return members


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _meta(said: Mapping[str, Any], name: str) -> str:
    """One of the words that we wrote on an object of theirs."""
    metadata = said.get("metadata")
    return _text(metadata, name) if isinstance(metadata, dict) else ""


def _id(named: object) -> str:
    """The id of an object that is named, or expanded."""
    return _text(named, "id") if isinstance(named, dict) else named if isinstance(named, str) else ""


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:200]


def _stamp(at: datetime) -> str:
    return str(int(at.timestamp()))


def _time(seconds: object) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if type(seconds) is int and 0 < seconds < 1 << 33 else None


# The report


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the columns of a report stand."""

    all: list[str]
    ours: dict[str, int]


@contextmanager
def _rows(file: BinaryIO) -> Iterator[Iterator[list[str]]]:
    """The fields of each line. Raises BadStatement for what is no CSV in UTF-8."""
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    try:
        yield csv.reader(text, strict=True)
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadStatement("The report is no CSV in UTF-8, or is cut off; take the file as Stripe sends it.") from error
    finally:
        text.detach()  # the file stays its owner's


def _places(header: list[str]) -> _Places:
    missing = [name for name in COLUMNS if header.count(name) != 1]
    if missing:
        raise BadStatement(f"The report does not have each of its columns once: {', '.join(missing)}.")
    return _Places(header, {name: header.index(name) for name in COLUMNS})


def _line(row: Mapping[str, str]) -> StatementLine | None:
    """A charge or a refund; None for a row of another category. Raises ValueError."""
    currency = row["currency"].upper()
    if currency not in EXPONENT:
        raise ValueError("its currency is not one that we know")
    gross, fee, net = (_minor(row[name], currency) for name in ("gross", "fee", "net"))
    if gross - fee != net:
        raise ValueError("gross less fee is not net")
    kind = {"charge": "payment", "refund": "refund"}.get(row["reporting_category"])
    if kind is None:
        return None
    if row["customer_facing_currency"].upper() not in ("", currency):
        # Gross and fee then stand in the currency of our bank account, and there is no saying what was paid.
        raise ValueError("it was paid in another currency than it is settled in; let Stripe settle each currency apart")
    minor = gross if kind == "payment" else -gross
    if minor <= 0 or not row["payment_intent_id"]:
        raise ValueError("it names no payment, or its amount has the wrong sign")
    reference, request_id = row["payment_metadata[reference]"], row["refund_metadata[request_id]"]
    transaction, at = row["payment_intent_id"], _moment(row["created_utc"])
    if not all(_NAME.fullmatch(name) for name in (reference, request_id, transaction)):
        raise ValueError("it holds a name that is none")
    return StatementLine(kind, reference, request_id if kind == "refund" else "", transaction, minor, fee, currency, at)


def _minor(text: str, currency: str) -> int:
    """Minor units of a decimal in major units, which may be below zero. Raises ValueError."""
    found = re.fullmatch(r"(-?)([0-9]{1,15})(?:\.([0-9]{1,4}))?", text)
    exponent = EXPONENT[currency]
    if found is None or (found[3] or "")[exponent:].strip("0"):
        raise ValueError("it holds no amount")
    minor = int(found[2] + (found[3] or "")[:exponent].ljust(exponent, "0"))
    return -minor if found[1] else minor


def _moment(text: str) -> datetime:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", text):
        raise ValueError("it holds no time")
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
