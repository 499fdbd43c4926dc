"""The supplier DT One (DVS API, version 1): airtime and data of some 550 operators, bought by product from a prepaid account.

The wire (dvs-api-doc.dtone.com, its overview and the models of 1.14; the official client dtone-dvs-api-java-client 2.0.2):

- HTTP Basic with a key and its secret; `POST /v1/async/transactions` makes a transaction under our `external_id`, which
  may be used once. It is CREATED, which holds its price and delivers nothing, until `…/{id}/confirm`; that is possible
  up to `confirmation_expiration_date`, an hour later.
- `GET /v1/transactions?external_id=…` tells what became of it "when the supposed API response was not received".
- Status classes: CREATED 1, CONFIRMED 2, REJECTED 3, CANCELLED 4, SUBMITTED 5, COMPLETED 7, REVERSED 8, DECLINED 9; logic
  hangs on the class, the status itself says more. Errors: `{"errors": [{"code": 1006001, "message": …}]}`.
- Callbacks are POSTs of the transaction and are not signed.

We order in two steps, so that a lost answer to the first costs nobody anything. Why its flags are what they are:

- An `external_id` that they have already is refused (1007001); then we look it up and confirm what stands there
  unconfirmed. A transaction is confirmed once (1007002). So the same request is one recharge: dedups_our_reference.
- We confirm only what they told us they have. So what is not found, or stands unconfirmed, can no longer be delivered
  when a confirmation's hour is over: not_found_is_final_after 90 minutes. To the flow, unconfirmed is "not found".
- Only people at DT One reverse a transaction: can_reverse is False. Its status tells us when they did.

What we made and do not confirm costs nothing, so a price above the agreed one is refused between the two steps.
"""

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from refill.errors import BadInput, NotAnAmount, NotVerified
from refill.money import Money
from refill.operators.supplier import (
    STANDS,
    Delivery,
    Example,
    Flags,
    PriceLine,
    PriceList,
    Recharge,
    Reversal,
    Supplier,
    SupplierNotice,
    TakenBack,
    exactly,
    json_value,
    nearly,
    on_tls,
)
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, Done, Outcome, Refused, Unknown
from refill.settings import PortSetting
from refill.world import NoAnswer, NotSent, Request, Response, World, call

NAME = "dtone"
LIVE = "https://dvs-api.dtone.com"
CONFIRM_WITHIN = timedelta(minutes=90)  # their hour, and half an hour for clocks
MAX_ANSWER = 1 << 20
MAX_NOTICE = 1 << 16
PER_PAGE, MOST_PAGES = 100, 200  # of the price list

_NO_NUMBER = Refused("the operator does not know such a number")
_BARRED = Refused("the operator takes no credit for this number")
_INELIGIBLE = Refused("the operator does not sell this product to this number")
_NO_AMOUNT = Refused("the operator does not sell this amount")
_NO_PRODUCT = Refused("the product is not on sale there now", final=False)
_LIMIT = Refused("a limit of this number, of the operator or of our account there is reached", final=False)
_BUSY = Refused("the operator cannot be reached at the moment, and nothing was taken", final=False)
_EMPTY = Refused(EMPTY_FLOAT, final=False)
_SHUT_OUT = Refused("DT One does not let us in: see the key, its secret and the account", final=False)

# Error codes by which they make no transaction at all.
REFUSES = {
    "1000400": Refused("DT One does not understand the order", final=False),
    "1000401": _SHUT_OUT,
    "1000429": _BUSY,
    "1003001": _NO_PRODUCT,
    "1003002": _NO_AMOUNT,
    "1003003": _NO_AMOUNT,
    "1003101": _NO_PRODUCT,
    "1005003": _NO_NUMBER,
    "1005005": _NO_PRODUCT,
    "1005006": _NO_PRODUCT,
    "1006001": _EMPTY,
    "1006009": _SHUT_OUT,
    "1007500": _NO_PRODUCT,
}
ALREADY_USED, NO_TRANSACTION = "1007001", "1008004"
# Codes that are documented as "perhaps". Every other code means it too, and alarms.
PERHAPS = {
    "1007002": "it is confirmed already: ask what became of it",
    "1007004": "it can no longer be confirmed: ask what became of it",
    "1007005": "it is cancelled already: ask what became of it",
    "1009001": "DT One does not know itself",
    "1009503": "DT One is out of service for a moment",
}


class Stage(StrEnum):
    """The classes of a transaction's status, by their numbers."""

    CREATED = "1"
    CONFIRMED = "2"
    REJECTED = "3"
    CANCELLED = "4"
    SUBMITTED = "5"
    COMPLETED = "7"
    REVERSED = "8"
    DECLINED = "9"


# What the end of a status says beside its class REJECTED or DECLINED; without one of these the class alone counts.
REASONS = {
    "-INELIGIBLE-CREDIT-PARTY": _INELIGIBLE,
    "-INVALID-CREDIT-PARTY": _NO_NUMBER,
    "-BARRED-CREDIT-PARTY": _BARRED,
    "-OPERATOR-CURRENTLY-UNAVAILABLE": _BUSY,
    "-INSUFFICIENT-BALANCE": _EMPTY,
    "-AMOUNT": _LIMIT,
    "-QUANTITY": _LIMIT,
}
# Statuses of the class DECLINED that are no clear no: a duplicate may be their own second sending of ours.
DOUBTFUL = {"DECLINED-DUPLICATED-TRANSACTION", "DECLINED-EXCEPTION"}
_DECLINED = Refused("the operator declined", final=False)
_WORKING = Unknown("DT One is working on it.")
_encode = msgspec.json.Encoder(decimal_format="number").encode  # their amounts are bare JSON numbers


class _TooLate(Exception):
    """The time to send has passed."""


@dataclass(frozen=True)
class DtOne:
    """Our account at DT One.

    `products`: "northtel/50.00" to a product of that fixed value, "northtel" to one of any value in a range.
    """

    key: str
    secret: str = field(repr=False)
    products: Mapping[str, str]
    flags: Flags
    url: str = LIVE
    callback_url: str = field(default="", repr=False)  # with a user and password of its own, by which we know it again
    wait: bool = True  # for the operator's answer; otherwise for a callback or our first inquiry
    name: str = NAME

    # Ordering

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        """Two steps: the order, then its confirmation. Whatever happens before the second delivers nothing."""
        found = self._product(ask)
        if found is None:
            return Refused("we buy no such credit from DT One", final=False)
        try:
            order = _encode(self._order(ask, *found))
            said = _said(await self._sent(world, "POST", "/v1/async/transactions", order, ask.send_before))
            if _error(said) == ALREADY_USED:
                said = await self._ours(world, ask)
        except _TooLate:
            return Unknown("It was too late to send this request.")
        except NotSent:
            return Refused(NOT_SENT, final=False)
        except NoAnswer:
            return Unknown("DT One did not answer.")
        except (ValueError, RecursionError) as error:
            return _unbelievable(error)
        if isinstance(said, Unknown):
            return said
        code = _error(said)
        if code in REFUSES:
            return Refused(REFUSES[code].reason, code, REFUSES[code].final)
        if code or _class(said) != Stage.CREATED:
            return self._judged(said, ask)
        return await self._confirm(world, said, ask)

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        try:
            said = await self._ours(world, ask)
        except (NotSent, NoAnswer):
            return Unknown("DT One did not answer.")
        except (ValueError, RecursionError) as error:
            return _unbelievable(error)
        if isinstance(said, Unknown):
            return said
        if _error(said):
            return Unknown("DT One could not be asked what became of it.", _error(said))
        return self._judged(said, ask)

    async def inquire_reversal(self, world: World, ask: Reversal) -> Outcome[TakenBack]:
        """Only people at DT One take credit back; that they did, the transaction's class tells."""
        try:
            said = await self._ours(world, ask.recharge)
        except (NotSent, NoAnswer):
            return Unknown("DT One did not answer.")
        except (ValueError, RecursionError) as error:
            return _unbelievable(error)
        if isinstance(said, Unknown) or _error(said):
            return Unknown("DT One could not be asked what became of it.")
        if (doubt := _about(said, ask.recharge)) is not None:
            return doubt
        match _class(said):
            case Stage.REVERSED:
                return Done(TakenBack(str(said.get("id"))[:64]))
            case Stage.COMPLETED:
                return Refused(STANDS, final=False)
        return Unknown("DT One does not say whether the credit is still there.")

    async def _confirm(self, world: World, created: Mapping[str, Any], ask: Recharge) -> Outcome[Delivery]:
        number = created.get("id")
        doubt = _about(created, ask)
        if doubt:
            return doubt
        if not isinstance(number, str) or not re.fullmatch(r"[0-9]{1,19}", number):
            return Unknown("DT One names no transaction.", "NO_REFERENCE")
        if _dearer(created, ask):
            return Refused("DT One asks more for it than was agreed", "PRICE", final=False)  # left unconfirmed
        path = f"/v1/{'sync' if self.wait else 'async'}/transactions/{number}/confirm"
        try:
            said = _said(await self._sent(world, "POST", path, before=ask.send_before))
        except (_TooLate, NotSent):
            return Unknown(NOT_FOUND)  # it stands there unconfirmed
        except NoAnswer:
            return Unknown("DT One did not answer.")
        except (ValueError, RecursionError) as error:
            return _unbelievable(error)
        return self._judged(said, ask)

    async def _ours(self, world: World, ask: Recharge) -> Any:
        """What they have under our name; Unknown when that is nothing, or not ours alone. Raises as `_sent`, `_said`."""
        query = urlencode({"external_id": ask.request_id})
        found = _said(await self._sent(world, "GET", f"/v1/transactions?{query}"))
        if found == [] or _error(found) == NO_TRANSACTION:
            return Unknown(NOT_FOUND)
        if not isinstance(found, list):
            return found
        ours = [one for one in found if isinstance(one, dict) and one.get("external_id") == ask.request_id]
        if len(ours) != 1:  # a filter that was not obeyed proves nothing; nor do two of one name
            return Unknown("DT One's answer is not about this request alone.", "OTHER_REQUEST")
        return ours[0]

    def _order(self, ask: Recharge, product_id: str, ranged: bool) -> dict[str, Any]:
        order: dict[str, Any] = {
            "external_id": ask.request_id,
            "product_id": int(product_id),
            "auto_confirm": False,
            "credit_party_identifier": {"mobile_number": f"+{ask.msisdn}"},
        }
        if ranged:
            unit = {"unit_type": "CURRENCY", "unit": ask.face.currency, "amount": Decimal(ask.face.text())}
            order |= {"calculation_mode": "DESTINATION_AMOUNT", "destination": unit}
        if self.callback_url:
            order["callback_url"] = self.callback_url
        return order

    def _product(self, ask: Recharge) -> tuple[str, bool] | None:
        """Their product for an order, and whether its amount is ours to choose."""
        for key in (f"{ask.operator}/{ask.product}", f"{ask.operator}/{ask.face.text()}"):
            if key in self.products:
                return self.products[key], False
        ranged = self.products.get(ask.operator)
        return None if ranged is None else (ranged, True)

    # What they say

    def _judged(self, said: Any, ask: Recharge) -> Outcome[Delivery]:
        """What a transaction of theirs, or an error, says about `ask`. The class decides, never the HTTP status."""
        code = _error(said)
        if code:
            return Unknown(PERHAPS[code]) if code in PERHAPS else Unknown("DT One says something new.", code)
        doubt = _about(said, ask)
        if doubt:
            return doubt
        status = str(said["status"].get("message"))[:64] if isinstance(said.get("status"), dict) else ""
        match _class(said):
            case Stage.COMPLETED:
                return self._delivered(said, ask)
            case Stage.CREATED:
                return Unknown(NOT_FOUND)
            case Stage.CONFIRMED | Stage.SUBMITTED:
                return _WORKING
            case Stage.CANCELLED:
                return Refused("the order was cancelled before it was confirmed", status, final=False)
            case Stage.REJECTED | Stage.DECLINED if status not in DOUBTFUL:
                no = next((no for end, no in REASONS.items() if status.endswith(end)), _DECLINED)
                return Refused(no.reason, status, no.final)
            case Stage.REVERSED:
                return Unknown("DT One says that the credit was taken back.", "REVERSED")
        return Unknown("DT One says something that is not clear.", status or "none")

    def _delivered(self, said: Mapping[str, Any], ask: Recharge) -> Outcome[Delivery]:
        reference = said.get("id")
        try:
            face = self._face(said, ask)
            cost = _cost((said.get("prices") or {}).get("wholesale"))
            fits = face <= ask.face
        except (NotAnAmount, AttributeError, KeyError, TypeError):
            return Unknown("DT One names an amount that cannot be.", "WRONG_AMOUNT")
        if not fits:
            return Unknown("DT One names another amount.", "WRONG_AMOUNT")
        if not isinstance(reference, str) or not 0 < len(reference) <= 64:
            return Unknown("DT One names no transaction.", "NO_REFERENCE")
        return Done(Delivery(reference, ask.msisdn, face, cost))

    def _face(self, said: Mapping[str, Any], ask: Recharge) -> Money:
        """The credit among the benefits, without promotions; a bundle without credit is its product. Raises NotAnAmount."""
        credits = [one for one in said.get("benefits") or [] if one["type"] == "CREDITS"]
        if len(credits) == 1:
            return exactly(credits[0]["amount"]["base"], credits[0]["unit"])
        found = self._product(ask)
        if credits or found is None or found[1] or said["product"]["id"] != found[0]:
            raise NotAnAmount("The benefits are not those of the product.")
        return ask.face

    # Their books

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        """What is available; the price of what they are working on is held apart."""
        try:
            said = _said(await self._sent(world, "GET", "/v1/balances"))
            if not isinstance(said, list):
                return Unknown("DT One does not tell our balance.", _error(said))
            for one in said:
                if isinstance(one, dict) and (one.get("unit_type"), one.get("unit")) == ("CURRENCY", currency):
                    return Done(nearly(one.get("available"), currency))
            return Unknown("DT One's answer is about another currency.", "WRONG_CURRENCY")
        except (NotSent, NoAnswer):
            return Unknown("DT One did not answer.")
        except (ValueError, RecursionError, NotAnAmount) as error:
            return _unbelievable(error)

    async def price_list(self, world: World) -> Outcome[PriceList]:
        """`GET /v1/products`, page by page: recharges whose destination is money; the rest is named as unread."""
        lines: list[PriceLine] = []
        unread: list[str] = []
        for page in range(1, MOST_PAGES + 1):
            query = urlencode({"page": page, "per_page": PER_PAGE})
            try:
                response = await self._sent(world, "GET", f"/v1/products?{query}")
                said = _said(response)
            except (NotSent, NoAnswer):
                return Unknown("DT One did not answer.")
            except (ValueError, RecursionError) as error:
                return _unbelievable(error)
            if not isinstance(said, list):
                return Unknown("DT One's price list cannot be read.", _error(said))
            for product in said:
                try:
                    lines.append(_price_line(product))
                except (NotAnAmount, KeyError, TypeError, AttributeError):
                    unread.append(str(product.get("id") if isinstance(product, dict) else "")[:64])
            if not response.headers.get("x-next-page", "").strip():
                return Done(PriceList(tuple(lines), tuple(unread)))
        return Unknown("DT One's price list does not end.")

    # Callbacks

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        """They sign nothing: a callback is known again by the user and password of the address that we gave them."""
        parts = urlsplit(self.callback_url)
        if len(body) > MAX_NOTICE or not parts.password:
            raise NotVerified("The notice is too long, or our callback address has no password.")
        expected = _basic(unquote(parts.username or ""), unquote(parts.password))
        given = headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, expected.encode()):
            raise NotVerified("The notice does not have the password of our callback address.")
        try:
            said = json_value(body)
            number, request_id, status = said["id"], said["external_id"], said["status"]["id"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise NotVerified("The notice cannot be read.") from error
        if not all(isinstance(word, str) and 0 < len(word) <= 64 for word in (number, request_id, status)):
            raise NotVerified("The notice names no transaction of ours.")
        return SupplierNotice(f"{number}.{status}", request_id)

    async def _sent(
        self, world: World, method: str, target: str, body: bytes = b"", before: datetime | None = None
    ) -> Response:
        """One request, once. Raises _TooLate, NotSent, NoAnswer."""
        headers = {"accept": "application/json", "authorization": _basic(self.key, self.secret)}
        if body:
            headers["content-type"] = "application/json"
        request = Request(method, self.url.rstrip("/") + target, headers, body, self.flags.timeout_s)
        # A worker that froze wakes here; nothing may stand between this line and the call.
        if before is not None and world.db_now() >= before:
            raise _TooLate
        return await call(world, request)


SETTINGS = {
    "dtone_key": PortSetting("text", "our API key at DT One, the supplier of operators abroad"),
    "dtone_secret": PortSetting("secret", "the secret beside it"),
    "dtone_products": PortSetting(
        "text",
        "our operators by DT One's products: `northtel=3000` for one of any amount, `northtel/50.00=3021` for one of a "
        "fixed amount, `northtel/data-5gb=3100` for a product of ours",
    ),
    "dtone_callback_url": PortSetting(
        "secret",
        "where they tell us, with a password of its own: `https://dtone:PASSWORD@refill.example/callbacks/suppliers/dtone`; "
        "not set: we only ask",
    ),
    "dtone_url": PortSetting("url", f"not set: `{LIVE}`; their sandbox is `https://preprod-dvs-api.dtone.com`"),
    "dtone_wait": PortSetting("flag", "wait for the operator's answer (not set: on), or be told later"),
    "dtone_timeout_s": PortSetting("text", "how long we wait for an answer, in seconds; not set: 60"),
}


def from_settings(settings: Mapping[str, str]) -> list[Supplier]:
    """The one account of these settings, or none. Raises BadInput, which names the setting."""
    if not settings.get("dtone_key"):
        return []

    def said(what: str) -> str:
        if not settings.get(f"dtone_{what}"):
            raise BadInput(f"The setting dtone_{what} is missing; the supplier dtone needs it.")
        return settings[f"dtone_{what}"]

    timeout_s = settings.get("dtone_timeout_s") or "60"
    if not re.fullmatch(r"[1-9][0-9]{0,4}", timeout_s):
        raise BadInput(f"The setting dtone_timeout_s is {timeout_s!r}; write whole seconds.")
    if not on_tls(settings.get("dtone_url", LIVE)):  # answers are not signed: anybody on the way may say "delivered"
        raise BadInput("The setting dtone_url must be an https address.")
    callback_url = settings.get("dtone_callback_url", "")
    if callback_url and not re.fullmatch(r"https?://[^/@:\s]+:[^/@:\s]{16,}@[^@\s]+", callback_url):
        raise BadInput("The setting dtone_callback_url must hold a user and a password of 16 letters or more.")
    return [
        DtOne(
            said("key"),
            said("secret"),
            dict(_products(said("products"))),
            _flags(int(timeout_s)),
            settings.get("dtone_url", LIVE),
            callback_url,
            settings.get("dtone_wait", "yes") == "yes",
        )
    ]


def _flags(timeout_s: float) -> Flags:
    """The hard end is that of one request; an order is two, and the second begins before `send_before` too."""
    return Flags(
        dedups_our_reference=True,
        not_found_is_final_after=CONFIRM_WITHIN,
        can_reverse=False,
        timeout_s=timeout_s,
    )


def _products(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.replace(",", " ").split():
        ours, _, theirs = pair.partition("=")
        if not ours or not re.fullmatch(r"[0-9]{1,9}", theirs):
            raise BadInput(f"The setting dtone_products has {pair[:40]!r}; write northtel=3000 or northtel/50.00=3021.")
        yield ours, theirs


def EXAMPLES() -> tuple[Supplier, list[Example]]:
    """An account in euros, and what it is answered about a top-up in yuan, at the order and at its confirmation."""
    supplier = DtOne("key", "a secret for examples only", {"northtel": "3000"}, _flags(60))
    late = datetime(2100, 1, 1, tzinfo=UTC)
    ask = Recharge("rq_1", "8613800138000", Money(5000, "CNY"), "northtel", "airtime", late)
    good: dict[str, Any] = {
        "id": 2237512891,
        "external_id": "rq_1",
        "credit_party_identifier": {"mobile_number": "+8613800138000"},
        "product": {"id": 3000, "type": "RANGED_VALUE_RECHARGE"},
        "prices": {"wholesale": {"amount": 6.3, "fee": 0, "unit": "EUR", "unit_type": "CURRENCY"}},
    }

    def status(number: int, message: str) -> dict[str, Any]:
        return {
            "id": number * 10_000,
            "message": message,
            "class": {"id": number, "message": message.partition("-")[0]},
        }

    def credits(base: object, unit: str = "CNY") -> list[dict[str, Any]]:
        return [{"type": "CREDITS", "unit_type": "CURRENCY", "unit": unit, "amount": {"base": base}}]

    def example(says: str, expect: str, message: str, number: int, *, error: int = 0, **other: object) -> Example:
        ended = {"benefits": credits(50.0), **good, "status": status(number, message), **other}

        def answers(request: Request) -> Response:
            order = json.loads(request.body) if request.body else {}
            said: object = ended
            if request.url.endswith("/v1/async/transactions"):
                said = {**good, "status": status(1, "CREATED"), "external_id": order.get("external_id")}
                said = {"errors": [{"code": error, "message": "No."}]} if error else said
            elif request.method == "GET":
                said = [ended]
            elif not request.url.endswith("/confirm"):
                said = {"errors": [{"code": 1000404, "message": "Resource not found"}]}
            return Response(200, {"content-type": "application/json"}, json.dumps(said).encode())

        return Example(says, ask, answers, expect)

    other_number = {"mobile_number": "+8613800138001"}
    return supplier, [
        example("delivered", "done", "COMPLETED", 7),
        example("half of it delivered", "done", "COMPLETED", 7, benefits=credits(25)),
        example("delivered, but to another number", "unknown", "COMPLETED", 7, credit_party_identifier=other_number),
        example("delivered, but another amount", "unknown", "COMPLETED", 7, benefits=credits(50.01)),
        example("delivered, but another currency", "unknown", "COMPLETED", 7, benefits=credits(50, "EUR")),
        example("the answer to another request", "unknown", "COMPLETED", 7, external_id="RQ_1"),
        example("the operator is working on it", "unknown", "SUBMITTED", 5),
        example("another operator's number", "refused", "DECLINED-INVALID-CREDIT-PARTY", 9),
        example("our float is used up", "refused", "REJECTED-INSUFFICIENT-BALANCE", 3, error=1006001),
        example("taken back later", "unknown", "REVERSED", 8),
        example("the operator says that it had it already", "unknown", "DECLINED-DUPLICATED-TRANSACTION", 9),
        example("a class that nobody documented", "unknown", "PAUSED", 6),
        example("a code that nobody documented", "unknown", "PAUSED", 6, error=1004711),
    ]


# ------------------------------------------------------------------ reading


def _about(said: Any, ask: Recharge) -> Unknown | None:
    """Why an answer is not about `ask`, if it is not."""
    if not isinstance(said, dict) or said.get("external_id") != ask.request_id:
        return Unknown("DT One's answer is about another request.", "OTHER_REQUEST")
    party = said.get("credit_party_identifier")
    number = party.get("mobile_number") if isinstance(party, dict) else None
    if not isinstance(number, str) or number.removeprefix("+") != ask.msisdn:
        return Unknown("DT One names another number.", "WRONG_NUMBER")
    return None


def _dearer(created: Mapping[str, Any], ask: Recharge) -> bool:
    """Would it cost more than was agreed? Only where both are counted in one currency, and they tell."""
    try:
        cost = _cost((created.get("prices") or {}).get("wholesale"))
    except (NotAnAmount, AttributeError, KeyError, TypeError):
        return False
    most = ask.most_cost
    return cost is not None and most is not None and cost.currency == most.currency and most < cost


def _class(said: Any) -> str:
    """The number of a transaction's status class, or ""."""
    try:
        return str(said["status"]["class"]["id"])
    except (KeyError, TypeError):
        return ""


def _error(said: Any) -> str:
    """The first error code in an answer, or ""; an error without one is "none"."""
    if not isinstance(said, dict) or "errors" not in said:
        return ""
    errors = said["errors"]
    first = errors[0] if isinstance(errors, list) and errors else None
    return str(first.get("code") or "none")[:64] if isinstance(first, dict) else "none"


def _cost(price: Any) -> Money | None:
    """The wholesale price with its fee. Raises NotAnAmount."""
    if price is None:
        return None
    cost = nearly(price["amount"], price["unit"])
    fee = nearly(price["fee"], price["unit"]) if price.get("fee") is not None else Money(0, cost.currency)
    if cost.minor < 0 or fee.minor < 0:
        raise NotAnAmount("A cost is not below zero.")
    return cost + fee


def _price_line(product: Mapping[str, Any]) -> PriceLine:
    """One recharge. Raises NotAnAmount, KeyError, TypeError, AttributeError for what is not sold for money, or not so."""
    kinds = {"FIXED_VALUE_RECHARGE": "fixed", "RANGED_VALUE_RECHARGE": "range"}
    kind, price, gets = kinds[product["type"]], product["prices"]["wholesale"], product["destination"]
    if gets["unit_type"] != "CURRENCY" or price["unit_type"] != "CURRENCY":
        raise NotAnAmount("Not for money.")
    ranged = kind == "range"
    operator = product["operator"]

    def end(which: str) -> tuple[Money, Money]:
        face = gets["amount"][which] if ranged else gets["amount"]
        paid = _cost({**price, "amount": price["amount"][which] if ranged else price["amount"]})
        assert paid is not None
        return exactly(face, gets["unit"]), paid

    (face, cost), (most, most_cost) = end("min"), end("max") if ranged else (None, None)
    return PriceLine(
        operator=operator["id"],
        product=product["id"],
        kind="range" if ranged else "fixed",
        face=face,
        cost=cost,
        most=most,
        most_cost=most_cost,
        country=str((operator.get("country") or {}).get("iso_code") or "")[:3],
        name=str(product.get("name") or "")[:120],
    )


def _said(response: Response) -> Any:
    """The JSON in an answer. Raises ValueError, or RecursionError for a very deep one."""
    if len(response.body) > MAX_ANSWER:
        raise ValueError("it is too long")
    said = json_value(response.body)
    if not isinstance(said, (dict, list)):
        raise ValueError("it is neither an object nor a list")
    return said


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _unbelievable(error: Exception) -> Unknown:
    # Not the error's own words: they may quote what the answer says of a person.
    says = str(error) if str(error).startswith("it ") else "it is not what was documented"
    return Unknown(f"DT One's answer cannot be believed: {says}.")
