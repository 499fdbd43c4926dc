"""The supplier Reloadly: airtime and data of some 700 operators, bought from a prepaid wallet that may be in another currency.

The wire (docs.reloadly.com/airtime; the OpenAPI of github.com/Reloadly/reloadly-api-documentation; the official Python
client `reloadly-airtime`, which our simulator satisfies):

- `POST {auth}/oauth/token` with client id, secret and audience gives a bearer token for all the rest.
- `POST /topups` waits for the operator, `POST /topups-async` answers a transaction number at once. Our name for a top-up
  is its `customIdentifier`. `useLocalAmount` says that `amount` is in the telephone's currency, not in our wallet's.
- `GET /topups/reports/transactions?customIdentifier=…` is how we ask: the number of a transaction, which
  `/topups/{id}/status` wants, is lost with a lost answer.
- status `PROCESSING | SUCCESSFUL | REFUNDED | FAILED`; an error is a JSON object with `errorCode`, whatever its HTTP status.
- webhooks: `X-Reloadly-Signature` = hex(HMAC-SHA256(secret, body + ":" + `X-Reloadly-Request-Timestamp`)).

Why its flags are what they are:

- A repeated `customIdentifier` is refused with CUSTOM_IDENTIFIER_ALREADY_USED, but nothing says that this is looked at
  before the wallet and the number are: a repeat may be told "too little money" or "recharged a moment ago" while the
  first was carried out. So a refusal speaks of one sending only, and we never send twice: dedups_our_reference is False.
- Nothing says how late a top-up may appear in the report, and people have seen it empty (reloadly-sdk-nodejs issue 31):
  "not found" is never final unless `reloadly_not_found_final_s` says what Reloadly promised to this account.
- There is no request that takes credit back: can_reverse is False.
"""

import hmac
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, BinaryIO
from urllib.parse import urlencode

from refill.errors import BadInput, BadStatement, NotAnAmount, NotVerified
from refill.money import EXPONENT, Money, share
from refill.numbers import Msisdn
from refill.operators.supplier import (
    Delivery,
    Example,
    Flags,
    PriceLine,
    PriceList,
    Recharge,
    Supplier,
    SupplierLine,
    SupplierNotice,
    exactly,
    json_value,
    nearly,
    on_tls,
)
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, Done, Outcome, Refused, Unknown
from refill.settings import PortSetting
from refill.world import NoAnswer, NotSent, Request, Response, World, call

NAME = "reloadly"
LIVE, AUTH = "https://topups.reloadly.com", "https://auth.reloadly.com"
ACCEPT = "application/com.reloadly.topups-v1+json"
FRESH = timedelta(minutes=5)
MAX_ANSWER = 1 << 20
MAX_NOTICE = 1 << 16
MAX_STATEMENT = 1 << 28
STATEMENT_PAGE = 200
PAGE, MOST_PAGES = 50, 200  # of the price list: an operator is some kilobytes, and an answer at most one MiB
BY_NUMBER = "auto"  # instead of an operator's id: Reloadly finds it by the number

_BUSY = Refused("the operator cannot be reached at the moment, and nothing was taken", final=False)
_NO_NUMBER = Refused("the operator does not know such a number")
_BARRED = Refused("the operator takes no credit for this number")
_NO_AMOUNT = Refused("the operator does not sell this amount")
_NO_PRODUCT = Refused("the operator is not on sale there now", final=False)
_LIMIT = Refused("a limit of this number or of our account there is reached", final=False)
_SHUT_OUT = Refused("Reloadly does not let us in: see the client id, its secret and the account", final=False)

# Codes of a request that was turned away before it became a transaction, or that the operator itself declined.
REFUSES = {
    "INVALID_RECIPIENT_PHONE": _NO_NUMBER,
    "INVALID_PHONE_NUMBER": _NO_NUMBER,
    "RECIPIENT_PHONE_INACTIVE": _BARRED,
    "PHONE_BANNED_BY_OPERATOR": _BARRED,
    "TRANSACTION_REJECTED_BY_OPERATOR": Refused("the operator declined", final=False),
    "TRANSACTION_REFUSED_BY_OPERATOR": Refused("the operator declined", final=False),
    "INVALID_AMOUNT": _NO_AMOUNT,
    "INVALID_AMOUNT_FOR_OPERATOR": _NO_AMOUNT,
    "INVALID_AMOUNT_FOR_RECIPIENT_PHONE": _NO_AMOUNT,
    "COUNTRY_NOT_SUPPORTED": _NO_PRODUCT,
    "OPERATOR_NOT_FOUND": _NO_PRODUCT,
    "OPERATOR_NOT_IN_SERVICE": _NO_PRODUCT,
    "OPERATOR_UNAVAILABLE_OR_CURRENTLY_INACTIVE": _NO_PRODUCT,
    "COULD_NOT_AUTO_DETECT_OPERATOR": _NO_PRODUCT,
    "FX_RATE_NOT_AVAILABLE": _NO_PRODUCT,
    "INVALID_SENDER_PHONE": _NO_PRODUCT,
    "CONNECTION_TO_OPERATOR_TEMPORARILY_DOWN": _BUSY,
    "PHONE_RECENTLY_RECHARGED": Refused("Reloadly takes the same number only every two minutes", final=False),
    "RECIPIENT_HAS_PENDING_TRANSACTION": Refused("another top-up of this number is under way there", final=False),
    "RECIPIENT_REACHED_MAX_TOPUP_NUMBER": _LIMIT,
    "MAX_DAILY_TRANSACTION_COUNT_REACHED": _LIMIT,
    "MAX_DAILY_TRANSACTION_AMOUNT_REACHED": _LIMIT,
    "INSUFFICIENT_BALANCE": Refused(EMPTY_FLOAT, final=False),
    "INVALID_CREDENTIALS": _SHUT_OUT,
    "INVALID_AUDIENCE": _SHUT_OUT,
    "INACTIVE_ACCOUNT": _SHUT_OUT,
    "ACCOUNT_NOT_FOUND": _SHUT_OUT,
    "TOKEN_EXPIRED": _SHUT_OUT,
    "INVALID_TOKEN": _SHUT_OUT,
}
# Codes that the operator's side may have caused after it took the request. Every other code means it too, and alarms.
# In a public census of 2,393 "failures" with CUSTOM_IDENTIFIER_ALREADY_USED, 1,483 had in fact been paid.
PERHAPS = {
    "CUSTOM_IDENTIFIER_ALREADY_USED": "Reloadly has this request already: ask what became of it",
    "CONNECTION_TO_OPERATOR_FAILED": "the connection to the operator broke",
    "PROVIDER_INTERNAL_ERROR": "the operator's own network failed",
    "REQUEST_FAILED_ON_PROVIDER": "the operator's own network failed",
    "TOPUP_TRANSACTION_FAILED": "Reloadly failed while it worked on it",
    "TRANSACTION_CANNOT_BE_PROCESSED_AT_THE_MOMENT": "Reloadly failed while it worked on it",
    "TRANSACTION_FAILED_ON_OPERATOR": "the operator's own network failed",
    "UNMAPPED_PROVIDER_ERROR_CODE": "the operator said something that Reloadly does not know",
}
# What a transaction's status says for ever. REFUNDED: not delivered, or taken back; our wallet has the money again.
ENDED = {
    "REFUNDED": Refused("the operator did not deliver, and our money came back", final=False),
    "FAILED": Refused("the operator did not deliver, and nothing was taken from us", final=False),
}
_STALE_TOKEN = {"TOKEN_EXPIRED", "INVALID_TOKEN"}
_WORKING = Unknown("Reloadly is working on it.")


@dataclass
class Token:
    """A bearer token, kept in this process only. `until` is by our own clock."""

    text: str = field(repr=False)
    until: datetime


class _NotLetIn(Exception):
    """We have no token, so the request itself was never sent."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


class _TooLate(Exception):
    """The time to send has passed."""


@dataclass
class Reloadly:
    """Our account at Reloadly. `operators`: "northtel" or "northtel/our-product" to their operator id, or "auto"."""

    client_id: str
    client_secret: str = field(repr=False)
    currency: str  # of our wallet there
    operators: Mapping[str, str]
    flags: Flags
    url: str = LIVE
    auth_url: str = AUTH
    webhook_secret: bytes = field(default=b"", repr=False)
    wait: bool = True  # for the operator's answer; otherwise for a webhook or our first inquiry
    name: str = NAME
    token: Token | None = field(default=None, repr=False)

    # Ordering

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        try:
            operator_id = await self._operator_id(world, ask)
            if isinstance(operator_id, Refused):
                return operator_id
            local = ask.face.currency != self.currency
            order = {
                "operatorId": operator_id,
                "amount": ask.face.text(),
                "useLocalAmount": local,
                "customIdentifier": ask.request_id,
                "recipientPhone": _phone(ask),
            }
            path = "/topups" if self.wait else "/topups-async"
            return _recharged(await self._asked(world, "POST", path, order, before=ask.send_before), ask)
        except _NotLetIn as no:
            return no.refused
        except _TooLate:
            return Unknown("It was too late to send this request.")
        except NotSent:
            return Refused(NOT_SENT, final=False)
        except NoAnswer:
            return Unknown("Reloadly did not answer.")

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        query = urlencode({"customIdentifier": ask.request_id, "page": 1, "size": 10})
        try:
            said = _object(await self._asked(world, "GET", f"/topups/reports/transactions?{query}"))
        except (_NotLetIn, NotSent, NoAnswer):
            return Unknown("Reloadly did not answer.")
        except (ValueError, RecursionError) as error:
            return _unbelievable(error)
        found = said.get("content")
        if "errorCode" in said or not isinstance(found, list):
            return Unknown("Reloadly could not be asked what became of it.", str(said.get("errorCode") or "")[:64])
        if not found and said.get("totalElements", "0") == "0":
            return Unknown(NOT_FOUND)
        ours = [one for one in found if isinstance(one, dict) and one.get("customIdentifier") == ask.request_id]
        if len(ours) != 1:  # a filter that was not obeyed proves nothing; nor do two of one name
            return Unknown("Reloadly's report is not about this request alone.", "OTHER_REQUEST")
        return _judged(ours[0], ask)

    async def _operator_id(self, world: World, ask: Recharge) -> str | Refused:
        """Their number of the operator. Asks for it where we are told to; nothing was ordered when that fails."""
        known = next(
            (
                self.operators[key]
                for key in (f"{ask.operator}/{ask.product}", ask.operator, "*")
                if key in self.operators
            ),
            None,
        )
        if known is None:
            return Refused("we buy no credit of this operator from Reloadly", final=False)
        if known != BY_NUMBER:
            return known
        # The look-up that takes the number in its body: an address is logged by everybody on the way.
        recipient = _phone(ask)
        lookup = {"phone": recipient["number"], "countryCode": recipient["countryCode"]}
        try:
            said = _object(await self._asked(world, "POST", "/mnp-lookup/operators", lookup))
        except (NotSent, NoAnswer, ValueError, RecursionError):
            return Refused(NOT_SENT, final=False)
        found = said.get("operatorId", said.get("id"))
        if not isinstance(found, str) or not re.fullmatch(r"[0-9]{1,9}", found):
            return Refused("Reloadly does not know whose number this is", str(said.get("errorCode") or "")[:64], False)
        return found

    # Their books

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        try:
            said = _object(await self._asked(world, "GET", "/accounts/balance"))
            if said.get("currencyCode") != currency:
                return Unknown("Reloadly's answer is about another currency.", "WRONG_CURRENCY")
            return Done(nearly(said.get("balance"), currency))
        except (_NotLetIn, NotSent, NoAnswer):
            return Unknown("Reloadly did not answer.")
        except (ValueError, RecursionError, NotAnAmount) as error:
            return _unbelievable(error)

    async def price_list(self, world: World) -> Outcome[PriceList]:
        """`GET /operators`, page by page: a RANGE operator is one line, a FIXED one a line for each amount."""
        lines: list[PriceLine] = []
        unread: list[str] = []
        for page in range(1, MOST_PAGES + 1):
            query = urlencode({"page": page, "size": PAGE, "includeBundles": "true", "includeData": "true"})
            try:
                said = _object(await self._asked(world, "GET", f"/operators?{query}"))
            except (_NotLetIn, NotSent, NoAnswer):
                return Unknown("Reloadly did not answer.")
            except (ValueError, RecursionError) as error:
                return _unbelievable(error)
            content = said.get("content")
            if not isinstance(content, list):
                return Unknown("Reloadly's price list cannot be read.", str(said.get("errorCode") or "")[:64])
            for operator in content:
                try:
                    lines += _price_lines(operator)
                except (NotAnAmount, KeyError, TypeError, ValueError):
                    unread.append(str(operator.get("operatorId") if isinstance(operator, dict) else "")[:64])
            if said.get("last") is True or not content:
                return Done(PriceList(tuple(lines), tuple(unread)))
        return Unknown("Reloadly's price list does not end.")

    async def fetch_statement(self, world: World, since: datetime, until: datetime) -> Outcome[bytes]:
        """The report's transactions of a span of time, page by page, as one document. Their times are UTC."""
        listed: list[object] = []
        for page in range(1, MOST_PAGES + 1):
            span = {"startDate": _stamp(since), "endDate": _stamp(until), "page": page, "size": STATEMENT_PAGE}
            try:
                said = _object(await self._asked(world, "GET", f"/topups/reports/transactions?{urlencode(span)}"))
            except (_NotLetIn, NotSent, NoAnswer):
                return Unknown("Reloadly did not answer.")
            except (ValueError, RecursionError) as error:
                return _unbelievable(error)
            content = said.get("content")
            if not isinstance(content, list):
                return Unknown("Reloadly's report cannot be read.", str(said.get("errorCode") or "")[:64])
            listed += content
            if said.get("last") is True or not content:
                return Done(json.dumps({"content": listed}, separators=(",", ":")).encode())
        return Unknown("Reloadly's report does not end.")

    def read_statement(self, file: BinaryIO) -> Iterator[SupplierLine]:
        """A document with the report's `content`; what failed or was refunded took nothing. Raises BadStatement."""
        try:
            rows = json_value(file.read(MAX_STATEMENT))["content"]
            yield from [_statement_line(row) for row in rows if row["status"] == "SUCCESSFUL"]
        except (ValueError, RecursionError, KeyError, TypeError, NotAnAmount) as error:
            raise BadStatement("This is no report of Reloadly's, or a transaction in it cannot be read.") from error

    # Webhooks

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        stamp = headers.get("x-reloadly-request-timestamp", "")
        if len(body) > MAX_NOTICE or not re.fullmatch(r"[0-9]{10}([0-9]{3})?", stamp) or not self.webhook_secret:
            raise NotVerified("The notice is too long or has no time, or no webhook secret is set.")
        expected = webhook_signature(self.webhook_secret, body, stamp)
        given = headers.get("x-reloadly-signature", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, expected.encode()):
            raise NotVerified("The signature of the notice does not hold.")
        try:
            said = json_value(body)
            about = said["data"].get("transaction", said["data"])
            kind, number, request_id = said["type"], about["transactionId"], about["customIdentifier"]
            status = about["status"]
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise NotVerified("The notice cannot be read.") from error
        words = (kind, number, request_id, status)
        if kind != "airtime_transaction.status" or not all(isinstance(w, str) and 0 < len(w) <= 64 for w in words):
            raise NotVerified("The notice names no top-up of ours.")
        sent_at = datetime.fromtimestamp(int(stamp[:10]), UTC)
        fresh = received_at is None or abs(received_at - sent_at) <= FRESH
        return SupplierNotice(f"{number}.{status}", request_id, fresh)

    # Being let in

    async def _asked(
        self, world: World, method: str, target: str, said: object = None, before: datetime | None = None
    ) -> Response:
        """One request under a token; once more under a new one when the old one was turned away at the door.

        That is no repeated order: who is turned away there has handed nothing in. Each sending is `before` the time.
        Raises _NotLetIn, _TooLate, NotSent, NoAnswer.
        """
        token = await self._bearer(world)
        response = await self._sent(world, method, target, said, token, before)
        if _error_code(response) in _STALE_TOKEN:
            token = await self._bearer(world, turned_away=token)
            try:
                response = await self._sent(world, method, target, said, token, before)
            except _TooLate:
                raise NotSent("turned away, and then too late to come back") from None
        return response

    async def _sent(
        self, world: World, method: str, target: str, said: object, token: str, before: datetime | None
    ) -> Response:
        headers = {"accept": ACCEPT, "authorization": f"Bearer {token}"}
        body = b""
        if said is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(said, separators=(",", ":")).encode()
        request = Request(method, self.url.rstrip("/") + target, headers, body, self.flags.timeout_s)
        # A worker that froze wakes here; nothing may stand between this line and the call.
        if before is not None and world.db_now() >= before:
            raise _TooLate
        return await call(world, request)

    async def _bearer(self, world: World, turned_away: str = "") -> str:
        """The token that we have, or a new one when it is old or was `turned_away`. Raises _NotLetIn."""
        if self.token and self.token.text != turned_away and world.now() < self.token.until:
            return self.token.text
        asked = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "grant_type": "client_credentials",
            "audience": self.url.rstrip("/"),
        }
        headers = {"accept": "application/json", "content-type": "application/json"}
        url = self.auth_url.rstrip("/") + "/oauth/token"
        try:
            said = _object(await call(world, Request("POST", url, headers, json.dumps(asked).encode(), 10)))
        except (NotSent, NoAnswer, ValueError, RecursionError):
            raise _NotLetIn(Refused(NOT_SENT, final=False)) from None
        text, seconds = said.get("access_token"), said.get("expires_in", "3600")
        if not isinstance(text, str) or not re.fullmatch(r"[\x21-\x7e]{1,8192}", text):
            code = str(said.get("errorCode") or "")[:64]
            raise _NotLetIn(
                Refused(_SHUT_OUT.reason, code, False) if code in REFUSES else Refused(NOT_SENT, final=False)
            )
        lives_s = int(seconds) if isinstance(seconds, str) and re.fullmatch(r"[0-9]{1,8}", seconds) else 3600
        self.token = Token(text, world.now() + timedelta(seconds=max(lives_s - 60, 0)))
        return text


def webhook_signature(secret: bytes, body: bytes, stamp: str) -> str:
    """HMAC-SHA256 over the raw body, a colon and the time, in hexadecimal (from public integrations of the webhook)."""
    return hmac.new(secret, body + b":" + stamp.encode(), sha256).hexdigest()


SETTINGS = {
    "reloadly_client_id": PortSetting("text", "our client id at Reloadly, the supplier of operators abroad"),
    "reloadly_client_secret": PortSetting("secret", "the secret beside it"),
    "reloadly_currency": PortSetting("text", "the currency of our wallet there, such as `USD`"),
    "reloadly_operators": PortSetting(
        "text",
        "our operators by Reloadly's numbers: `northtel=173 northtel/data-5gb=812`; "
        "`*=auto` lets Reloadly find all others by the telephone's number",
    ),
    "reloadly_webhook_secret": PortSetting("secret", "signs their webhooks; without it none is believed"),
    "reloadly_url": PortSetting("url", f"not set: `{LIVE}`; their sandbox is `https://topups-sandbox.reloadly.com`"),
    "reloadly_auth_url": PortSetting("url", f"where tokens come from; not set: `{AUTH}`"),
    "reloadly_wait": PortSetting("flag", "wait for the operator's answer (not set: on), or be told later"),
    "reloadly_timeout_s": PortSetting("text", "how long we wait for an answer, in seconds; not set: 60"),
    "reloadly_not_found_final_s": PortSetting(
        "text", "after how many seconds a top-up that is not in their report never was; not set: it never is certain"
    ),
}


def from_settings(settings: Mapping[str, str]) -> list[Supplier]:
    """The one account of these settings, or none. Raises BadInput, which names the setting."""
    if not settings.get("reloadly_client_id"):
        return []

    def said(what: str) -> str:
        if not settings.get(f"reloadly_{what}"):
            raise BadInput(f"The setting reloadly_{what} is missing; the supplier reloadly needs it.")
        return settings[f"reloadly_{what}"]

    def seconds(what: str) -> int | None:
        value = settings.get(f"reloadly_{what}")
        if value and not re.fullmatch(r"[1-9][0-9]{0,7}", value):
            raise BadInput(f"The setting reloadly_{what} is {value!r}; write whole seconds.")
        return int(value) if value else None

    if said("currency") not in EXPONENT:
        raise BadInput(f"The setting reloadly_currency is {said('currency')[:8]!r}; write a currency such as USD.")
    for what in ("url", "auth_url"):  # answers are not signed: without TLS anybody on the way may say "delivered"
        if not on_tls(settings.get(f"reloadly_{what}", LIVE)):
            raise BadInput(f"The setting reloadly_{what} must be an https address.")
    final_s = seconds("not_found_final_s")
    flags = Flags(
        dedups_our_reference=False,
        not_found_is_final_after=None if final_s is None else timedelta(seconds=final_s),
        can_reverse=False,
        timeout_s=seconds("timeout_s") or 60,
    )
    return [
        Reloadly(
            said("client_id"),
            said("client_secret"),
            said("currency"),
            dict(_operators(said("operators"))),
            flags,
            settings.get("reloadly_url", LIVE),
            settings.get("reloadly_auth_url", AUTH),
            settings.get("reloadly_webhook_secret", "").encode(),
            settings.get("reloadly_wait", "yes") == "yes",
        )
    ]


def _operators(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.replace(",", " ").split():
        ours, _, theirs = pair.partition("=")
        if not ours or not re.fullmatch(rf"[0-9]{{1,9}}|{BY_NUMBER}", theirs):
            raise BadInput(f"The setting reloadly_operators has {pair[:40]!r}; write northtel=173 or northtel=auto.")
        yield ours, theirs


def EXAMPLES() -> tuple[Supplier, list[Example]]:
    """An account in dollars that holds a token, and what it is answered about a top-up in yuan."""
    late = datetime(2100, 1, 1, tzinfo=UTC)
    flags = Flags(dedups_our_reference=False, not_found_is_final_after=None, can_reverse=False, timeout_s=60)
    supplier = Reloadly(
        "client", "a secret for examples only", "USD", {"northtel": "173"}, flags, token=Token("t" * 20, late)
    )
    ask = Recharge("rq_1", "8613800138000", Money(5000, "CNY"), "northtel", "airtime", late)
    good: dict[str, Any] = {
        "transactionId": 28805,
        "status": "SUCCESSFUL",
        "recipientPhone": "8613800138000",
        "requestedAmount": 7.0125,
        "requestedAmountCurrencyCode": "USD",
        "discount": 0.35,
        "discountCurrencyCode": "USD",
        "deliveredAmount": 50.0,
        "deliveredAmountCurrencyCode": "CNY",
    }

    def example(says: str, expect: str, *, error: str = "", http: int = 200, **other: object) -> Example:
        """`error` is how the order is answered; the report then tells how it ended."""

        def answers(request: Request) -> Response:
            order = json.loads(request.body) if request.body else {}
            one = {"customIdentifier": order.get("customIdentifier", "rq_1" if request.method == "GET" else None)}
            one |= {**good, **other}
            said: object = {"content": [one], "totalElements": 1, "last": True} if request.method == "GET" else one
            if error and request.method == "POST":
                said = {"message": "No.", "errorCode": error, "details": []}
            return Response(http, {"content-type": "application/json"}, json.dumps(said).encode())

        return Example(says, ask, answers, expect)

    return supplier, [
        example("delivered", "done"),
        example("delivered, with the plus of E.164", "done", recipientPhone="+8613800138000"),
        example("half of it delivered", "done", deliveredAmount=25),
        example("delivered, but to another number", "unknown", recipientPhone="8613800138001"),
        example("delivered, but another amount", "unknown", deliveredAmount=50.01),
        example("delivered, but another currency", "unknown", deliveredAmountCurrencyCode="USD"),
        example("the answer to another request", "unknown", customIdentifier="RQ_1"),
        example("the operator is working on it", "unknown", status="PROCESSING"),
        example("not delivered, our money came back", "refused", status="REFUNDED"),
        example("our float is used up", "refused", error="INSUFFICIENT_BALANCE", http=400, status="FAILED"),
        example("they have our reference already", "unknown", error="CUSTOM_IDENTIFIER_ALREADY_USED", status="?"),
        example("a code that nobody documented", "unknown", error="E-4711", status="E-4711"),
    ]


# ------------------------------------------------------------------ reading


def _recharged(response: Response, ask: Recharge) -> Outcome[Delivery]:
    """What the answer to an order means. Only the code table says no: the HTTP status decides nothing."""
    try:
        said = _object(response)
    except (ValueError, RecursionError) as error:
        return _unbelievable(error)
    if "errorCode" in said:
        code = str(said["errorCode"] or "")[:64]
        if code in REFUSES:
            return Refused(REFUSES[code].reason, code, REFUSES[code].final)
        return Unknown(PERHAPS[code]) if code in PERHAPS else Unknown("Reloadly says something new.", code or "none")
    if "status" not in said and said.get("transactionId"):
        return _WORKING
    return _judged(said, ask)


def _judged(transaction: Mapping[str, Any], ask: Recharge) -> Outcome[Delivery]:
    """What a transaction of theirs says about `ask`."""
    if transaction.get("customIdentifier") != ask.request_id:
        return Unknown("Reloadly's answer is about another request.", "OTHER_REQUEST")
    status = str(transaction.get("status"))[:64]
    if status == "SUCCESSFUL":
        return _delivered(transaction, ask)
    if status == "PROCESSING":
        return _WORKING
    if status in ENDED:
        return Refused(ENDED[status].reason, status, ENDED[status].final)
    return Unknown("Reloadly says something that is not documented.", status)


def _delivered(transaction: Mapping[str, Any], ask: Recharge) -> Outcome[Delivery]:
    reference = transaction.get("transactionId")
    if str(transaction.get("recipientPhone")).removeprefix("+") != ask.msisdn:
        return Unknown("Reloadly names another number.", "WRONG_NUMBER")
    try:
        face = _face(transaction, ask)
        cost = _cost(transaction)
        fits = face <= ask.face
    except NotAnAmount:
        return Unknown("Reloadly names an amount that cannot be.", "WRONG_AMOUNT")
    if not fits:
        return Unknown("Reloadly names another amount.", "WRONG_AMOUNT")
    if not isinstance(reference, str) or not 0 < len(reference) <= 64:
        return Unknown("Reloadly names no transaction.", "NO_REFERENCE")
    return Done(Delivery(reference, ask.msisdn, face, cost))


def _face(transaction: Mapping[str, Any], ask: Recharge) -> Money:
    """What the telephone got; ordered in our wallet's currency abroad, what was taken for it. Raises NotAnAmount."""
    if transaction.get("deliveredAmountCurrencyCode") == ask.face.currency:
        return exactly(transaction.get("deliveredAmount"), ask.face.currency)
    ordered = exactly(transaction.get("requestedAmount"), transaction.get("requestedAmountCurrencyCode"))
    exactly(transaction.get("deliveredAmount"), transaction.get("deliveredAmountCurrencyCode"))
    if ordered != ask.face:
        raise NotAnAmount("Another amount was ordered.")
    return ordered


def _cost(transaction: Mapping[str, Any]) -> Money | None:
    """What left our wallet: `cost`, told since March 2022, or the amount less the discount. Raises NotAnAmount."""
    currency = transaction.get("requestedAmountCurrencyCode")
    if transaction.get("cost") is not None:
        cost = nearly(transaction["cost"], currency)
    elif transaction.get("requestedAmount") is None:
        return None
    else:
        taken, less = nearly(transaction["requestedAmount"], currency), Money(0, str(currency))
        if transaction.get("discount") is not None:
            less = nearly(transaction["discount"], transaction.get("discountCurrencyCode", currency))
        cost = taken - less
    if cost.minor < 0:
        raise NotAnAmount("A cost is not below zero.")
    return cost


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _statement_line(row: Mapping[str, Any]) -> SupplierLine:
    """Raises ValueError, KeyError, TypeError, NotAnAmount."""
    cost, number, name = _cost(row), row["transactionId"], row.get("customIdentifier") or ""
    if cost is None or not cost.minor or not isinstance(number, str) or not isinstance(name, str):
        raise ValueError("it names no cost")
    at = datetime.strptime(row["transactionDate"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return SupplierLine("recharge", name, number, cost.minor, cost.currency, at)


def _price_lines(operator: Mapping[str, Any]) -> Iterator[PriceLine]:
    """One operator of theirs. In the telephone's currency where it may be ordered so, else in our wallet's."""
    theirs, currency = operator["operatorId"], operator["senderCurrencyCode"]
    local = operator.get("supportsLocalAmounts") is True
    unit = operator["destinationCurrencyCode"] if local else currency
    abroad = operator["destinationCurrencyCode"] != currency
    discount = operator.get("internationalDiscount" if abroad else "localDiscount")

    def line(face: object, price: object, most: object = None, most_price: object = None) -> PriceLine:
        return PriceLine(
            operator=theirs,
            product=theirs,
            kind="fixed" if most is None else "range",
            face=exactly(face, unit),
            cost=_less(exactly(price, currency), discount),
            most=None if most is None else exactly(most, unit),
            most_cost=None if most_price is None else _less(exactly(most_price, currency), discount),
            country=str((operator.get("country") or {}).get("isoName") or "")[:2],
            name=str(operator.get("name") or "")[:120],
        )

    if operator["denominationType"] == "RANGE":
        faces = ("localMinAmount", "localMaxAmount") if local else ("minAmount", "maxAmount")
        yield line(operator[faces[0]], operator["minAmount"], operator[faces[1]], operator["maxAmount"])
    else:
        prices = operator["fixedAmounts"]
        for face, price in zip(operator["localFixedAmounts"] if local else prices, prices, strict=True):
            yield line(face, price)


def _less(amount: Money, percent: object) -> Money:
    """An amount less a discount in per cent, such as 5.53."""
    if percent is None:
        return amount
    if not isinstance(percent, str) or not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", percent):
        raise NotAnAmount("A discount is a number below 100.")
    off = int(Decimal(percent).scaleb(6))
    return Money(share(amount.minor, 10**8 - off, 10**8), amount.currency)


def _phone(ask: Recharge) -> dict[str, str]:
    return {"countryCode": Msisdn(ask.msisdn).country, "number": ask.msisdn}


def _object(response: Response) -> dict[str, Any]:
    """The JSON object in an answer. Raises ValueError, or RecursionError for a very deep one."""
    if len(response.body) > MAX_ANSWER:
        raise ValueError("it is too long")
    said = json_value(response.body)
    if not isinstance(said, dict):
        raise ValueError("it is not a JSON object")
    return said


def _error_code(response: Response) -> str:
    try:
        return str(_object(response).get("errorCode"))
    except (ValueError, RecursionError):
        return ""


def _unbelievable(error: Exception) -> Unknown:
    # Not the error's own words: they may quote what the answer says of a person.
    says = str(error) if str(error).startswith("it ") else "it is not what was documented"
    return Unknown(f"Reloadly's answer cannot be believed: {says}.")
