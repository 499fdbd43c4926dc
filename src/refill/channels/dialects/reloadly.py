"""Reloadly's airtime API, answered by us: its official clients sell through Refill when they are pointed here.

Source: the public wheels `reloadly-airtime` 1.1.2 and `reloadly-core` 1.1.1, the Java SDK, and docs.reloadly.com. The client
looks for the member `errorCode` and for nothing else, never times out, never retries, and names a top-up only when its
user adds `customIdentifier`.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import phonenumbers
from babel import Locale
from babel.numbers import get_currency_name, get_currency_symbol
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from refill import catalogue, numbers
from refill.accounts import PartnerKey
from refill.channels.dialects.desk import Desk, Repeated, Wish, encoded, number_of, short
from refill.channels.machines.body import body_of
from refill.channels.machines.keys import NoKey
from refill.channels.machines.limits import TooMany
from refill.channels.machines.problem import where, without_numbers
from refill.errors import (
    BadInput,
    Busy,
    NotAnAmount,
    NotANumber,
    NotEnough,
    NotForSale,
    NotFound,
    OtherContent,
    RefillError,
)
from refill.money import Money
from refill.numbers import Msisdn
from refill.operators.supplier import exactly, json_value
from refill.topup import Order, listing, whose

NAME = "reloadly"
PATIENCE_S = 25.0  # the client has no time-out of its own: it hears PROCESSING then
PAGE, LONGEST_PAGE = 200, 200
LISTED = timedelta(days=90)  # how far back the list of transactions goes
MOMENT = "%Y-%m-%d %H:%M:%S"
COUNTRIES_NAMED = Locale("en").territories

log = logging.getLogger("refill.dialects")

Handler = Callable[[Desk, PartnerKey, Request], Awaitable[Any]]


class NoSuchCountry(NotFound):
    """Nothing of that country is on sale."""

    code = "no_such_country"


# What Reloadly calls our refusals: their code, and the HTTP status beside it, which their client ignores. Most special first.
CODES: tuple[tuple[type[RefillError], str, int], ...] = (
    (Repeated, "PHONE_RECENTLY_RECHARGED", 400),
    (OtherContent, "CUSTOM_IDENTIFIER_ALREADY_USED", 400),
    (NotANumber, "INVALID_RECIPIENT_PHONE", 400),
    (NotAnAmount, "INVALID_AMOUNT", 400),
    (NotForSale, "INVALID_AMOUNT_FOR_OPERATOR", 400),
    (NotEnough, "INSUFFICIENT_BALANCE", 400),
    (NoKey, "INVALID_TOKEN", 401),
    (NoSuchCountry, "COUNTRY_NOT_SUPPORTED", 404),
    (TooMany, "MAX_DAILY_TRANSACTION_COUNT_REACHED", 429),
    (NotFound, "OPERATOR_NOT_FOUND", 404),
    (Busy, "TRANSACTION_CANNOT_BE_PROCESSED_AT_THE_MOMENT", 503),
    (BadInput, "INVALID_INPUT_PROVIDED", 400),
)


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """Every address that the official clients know, those of the documentation and of the Java SDK among them."""
    asked: list[tuple[str, str, Handler]] = [
        ("GET", "/accounts/balance", balance),
        ("GET", "/countries", countries),
        ("GET", "/countries/{country}", country),
        ("GET", "/operators", operators),
        ("GET", "/operators/commissions", commissions),
        ("POST", "/operators/fx-rate", fx_rate),
        ("GET", "/operators/countries/{country}", operators_of),
        ("GET", "/operators/auto-detect/phone/{phone}/countries/{country}", detect),
        ("GET", "/operators/mnp-lookup/phone/{phone}/countries/{country}", detect),
        ("POST", "/mnp-lookup/operators", look_up),
        ("POST", "/operators/fx-rate/{operator}", fx_rate),
        ("POST", "/operators/{operator}/fx-rate", fx_rate),
        ("GET", "/operators/{operator}/commissions", commission),
        ("GET", "/operators/{operator}", operator),
        ("GET", "/promotions", no_promotions),
        ("GET", "/promotions/countries/{country}", no_promotion_of),
        ("GET", "/promotions/country-codes/{country}", no_promotion_of),
        ("GET", "/promotions/operators/{operator}", no_promotion_of),
        ("POST", "/topups", topup),
        ("POST", "/topups-async", topup_later),
        ("GET", "/topups/{id}/status", status),
        ("GET", "/topups/reports/transaction", transactions),
        ("GET", "/topups/reports/transactions", transactions),
        ("GET", "/topups/reports/transaction/{id}", transaction),
        ("GET", "/topups/reports/transactions/{id}", transaction),
    ]
    return [
        Route("/oauth/token", partial(answer, desk, token), methods=["POST"]),
        *(
            Route(path, partial(answer, desk, partial(keyed, handler)), methods=[method])
            for method, path, handler in asked
        ),
        Route("/{rest:path}", partial(answer, desk, nothing), methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
    ]


async def answer(desk: Desk, handler: Callable[[Desk, Request], Awaitable[Any]], request: Request) -> Response:
    """Always JSON, never anybody's error page: the client stumbles over HTML."""
    path = request.url.path.partition(f"/{NAME}")[2]
    try:
        return _json(await handler(desk, request))
    except RefillError as refused:
        code, status = next(
            ((c, s) for kind, c, s in CODES if isinstance(refused, kind)), ("INVALID_INPUT_PROVIDED", 400)
        )
        if isinstance(refused, NotFound) and path.startswith("/topups/"):
            code = "TRANSACTION_NOT_FOUND"
        says = without_numbers(str(refused))
    except Exception as broken:
        log.error("a request in another dialect broke: %s", where(broken))
        code, status, says = "PROVIDER_INTERNAL_ERROR", 500, "Something broke on our side. Ask for the transaction."
    told: dict[str, Any] = {
        "timeStamp": desk.trade.world.now().strftime(MOMENT),
        "message": says,
        "path": path if "/phone/" not in path else "",
        "errorCode": code,
        "infoLink": None,
        "details": [],
    }
    return _json(told, status)


async def keyed(handler: Handler, desk: Desk, request: Request) -> Any:
    """Only for whoever brings a token of ours, or the API key itself."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return await handler(desk, await desk.partner(secret if scheme.lower() == "bearer" else None), request)


async def nothing(_: Desk, __: Request) -> Any:
    """The client doubles its own addresses when an object is used twice; what it asks for then is not here."""
    raise NotFound("There is nothing at this address.")


async def token(desk: Desk, request: Request) -> dict[str, Any]:
    """OAuth 2.0 client credentials (RFC 6749 §4.4): the secret is the partner's API key. Any audience is ours."""
    said = await _document(request)
    if said.get("grant_type") not in (None, "client_credentials"):
        raise BadInput("The grant_type is client_credentials.")
    secret = said.get("client_secret")
    key = await desk.partner(secret if isinstance(secret, str) else None)
    return {
        "access_token": desk.token(key),
        "scope": "send-topups read-topups-history",
        "expires_in": 86_400,
        "token_type": "Bearer",
    }


# ------------------------------------------------------------------ what is on sale


async def balance(desk: Desk, key: PartnerKey, _: Request) -> dict[str, Any]:
    """The float."""
    held = await desk.balance(key)
    return {
        "balance": number_of(held),
        "currencyCode": held.currency,
        "currencyName": get_currency_name(held.currency, locale="en"),
        "updatedAt": desk.trade.world.now().strftime(MOMENT),
    }


async def countries(desk: Desk, _: PartnerKey, __: Request) -> list[dict[str, Any]]:
    """The countries whose operators are on sale: a bare array."""
    return [_country(code, currency) for code, currency in sorted(_countries(desk).items())]


async def country(desk: Desk, _: PartnerKey, request: Request) -> dict[str, Any]:
    """One of them."""
    code = request.path_params["country"].upper()
    found = _countries(desk)
    if code not in found:
        raise NoSuchCountry("Nothing of that country is on sale.")
    return _country(code, found[code])


async def operators(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """A page of operators."""
    return _page([_operator(desk, key, one) for one in desk.trade.shelf.catalogue.operators()], *_paging(request))


async def operators_of(desk: Desk, key: PartnerKey, request: Request) -> list[dict[str, Any]]:
    """A country's operators: a bare array."""
    code = request.path_params["country"].upper()
    if code not in _countries(desk):
        raise NoSuchCountry("Nothing of that country is on sale.")
    return [_operator(desk, key, one) for one in desk.trade.shelf.catalogue.operators() if one.country == code]


async def operator(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """One operator."""
    return _operator(desk, key, _named(desk, request.path_params["operator"]))


async def detect(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """The operator of a number, as far as anybody knows."""
    return await _detected(desk, key, request.path_params["phone"], request.path_params["country"])


async def look_up(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """The same, asked in a body."""
    said = await _document(request)
    return await _detected(desk, key, said.get("phone"), said.get("countryCode"))


async def fx_rate(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """What one unit of the float's currency becomes: a float and the credit that it buys share a currency here."""
    said = await _value(request)
    sold = request.path_params.get("operator") or (said.get("operatorId") if isinstance(said, dict) else None)
    found = _named(desk, sold)
    _same_currency(key, found)
    exactly(said.get("amount") if isinstance(said, dict) else said, found.currency)
    return {"id": short(found.id), "name": found.name_en, "fxRate": 1, "currencyCode": found.currency}


async def commissions(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """What the partner keeps of each operator's face value."""
    return _page([_commission(desk, key, one) for one in desk.trade.shelf.catalogue.operators()], *_paging(request))


async def commission(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """The same of one operator."""
    return _commission(desk, key, _named(desk, request.path_params["operator"]))


async def no_promotions(_: Desk, __: PartnerKey, request: Request) -> dict[str, Any]:
    """Operators' own promotions are not on sale here."""
    return _page([], *_paging(request))


async def no_promotion_of(_: Desk, __: PartnerKey, ___: Request) -> list[dict[str, Any]]:
    """The same as a bare array."""
    return []


# ------------------------------------------------------------------ top-ups


async def topup(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """POST /topups: the transaction when it is decided, or PROCESSING before the client would wait for ever."""
    return await _told(desk, key, await desk.ended(await _place(desk, key, request), PATIENCE_S))


async def topup_later(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """POST /topups-async: only the number to ask for."""
    order = await _place(desk, key, request)
    return {"transactionId": (await desk.nicknames([order]))[order.id]}


async def status(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """One transaction: flat as the documentation has it, and once more inside `transaction`, as the Java SDK reads it."""
    told = await _told(desk, key, await _found(desk, key, request))
    return {**told, "code": told["status"], "message": told["status"], "transaction": told}


async def transaction(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """One transaction."""
    return await _told(desk, key, await _found(desk, key, request))


async def transactions(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """A page of transactions, the latest first; `totalElements` counts as far as was looked."""
    page, size = _paging(request)
    asked = request.query_params
    if asked.get("customIdentifier"):
        try:
            orders = [await desk.by_reference(key, asked["customIdentifier"])]
        except NotFound:
            orders = []
        return _page(await _all_told(desk, key, orders), 1, size)
    now = desk.trade.world.now()
    sold = _named(desk, asked["operatorId"]).id if asked.get("operatorId") else None
    most = page * size + 1
    listed = await desk.trade.db.transaction(
        lambda tx: listing.listed(
            tx,
            f"partner:{key.partner_id}",
            since=_moment(asked.get("startDate"), now - LISTED),
            until=_moment(asked.get("endDate"), now + timedelta(seconds=1)),
            behind=None,
            operator=sold,
            status=None,
            most=min(most, 5_000),
        )
    )
    shown = listed[(page - 1) * size : page * size]
    told = await _all_told(desk, key, shown)
    return _spring(told, page, size, len(listed))


async def _place(desk: Desk, key: PartnerKey, request: Request) -> Order:
    said = await _document(request)
    found = _named(desk, said.get("operatorId"))
    _same_currency(key, found)
    who = said.get("recipientPhone")
    if not isinstance(who, dict):
        raise NotANumber("The recipientPhone has a countryCode and a number.")
    reference = said.get("customIdentifier")
    if reference is not None and not isinstance(reference, str):
        raise BadInput("A customIdentifier is a string.")
    wish = Wish(
        NAME,
        _phone(who.get("number"), who.get("countryCode")),
        exactly(said.get("amount"), found.currency),
        reference=reference or None,
        operator=found.id,
    )
    return await desk.place(key, wish)


async def _found(desk: Desk, key: PartnerKey, request: Request) -> Order:
    text = request.path_params["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise NotFound("There is no transaction with that id.")
    return await desk.by_nickname(key, int(text))


async def _told(desk: Desk, key: PartnerKey, order: Order) -> dict[str, Any]:
    (told,) = await _all_told(desk, key, [order])
    return told


async def _all_told(desk: Desk, key: PartnerKey, orders: Sequence[Order]) -> list[dict[str, Any]]:
    if not orders:
        return []
    names, phones = await desk.nicknames(orders), await desk.numbers(orders)
    held = await desk.balance(key)
    return [_transaction(desk, order, names[order.id], phones.get(order.number), held) for order in orders]


def _transaction(desk: Desk, order: Order, n: int, phone: Msisdn | None, held: Money) -> dict[str, Any]:
    sold_by = desk.trade.shelf.catalogue.operator(order.operator)
    delivered = Money(order.delivered_minor if order.delivery != "reversed" else 0, order.face.currency)
    discount = Money(max(0, order.face.minor - order.price.minor), order.price.currency)
    return {
        "transactionId": n,
        "status": _status(order),
        "operatorTransactionId": order.id,
        "customIdentifier": order.reference,
        "recipientPhone": phone.digits if phone else None,
        "recipientEmail": None,
        "senderPhone": None,
        "countryCode": sold_by.country,
        "operatorId": short(order.operator),
        "operatorName": sold_by.name_en,
        "discount": number_of(discount),
        "discountCurrencyCode": order.price.currency,
        "requestedAmount": number_of(order.face),
        "requestedAmountCurrencyCode": order.face.currency,
        "deliveredAmount": number_of(delivered),
        "deliveredAmountCurrencyCode": order.face.currency,
        "transactionDate": order.created_at.strftime(MOMENT),
        "cost": number_of(Money(order.price.minor - order.refunded_minor, order.price.currency)),
        "pinDetail": None,
        "balanceInfo": {
            "newBalance": number_of(held),
            "currencyCode": held.currency,
            "currencyName": get_currency_name(held.currency, locale="en"),
            "updatedAt": desk.trade.world.now().strftime(MOMENT),
        },
    }


def _status(order: Order) -> str:
    """PROCESSING as long as anything may still change: a refund that is provisional is no REFUNDED."""
    if order.certainty != "final":
        return "PROCESSING"
    match order.status:
        case "succeeded" | "partial":
            return "SUCCESSFUL"
        case "failed" | "reversed":
            return "REFUNDED"
    return "FAILED"


# ------------------------------------------------------------------ their words for our things


def _countries(desk: Desk) -> dict[str, str]:
    return {one.country: one.currency for one in desk.trade.shelf.catalogue.operators()}


def _country(code: str, currency: str) -> dict[str, Any]:
    return {
        "isoName": code,
        "name": COUNTRIES_NAMED.get(code, code),
        "currencyCode": currency,
        "currencyName": get_currency_name(currency, locale="en"),
        "currencySymbol": get_currency_symbol(currency, locale="en"),
        "flag": None,
        "callingCodes": [f"+{phonenumbers.country_code_for_region(code)}"],
    }


def _operator(desk: Desk, key: PartnerKey, one: catalogue.Operator) -> dict[str, Any]:
    offers = desk.trade.shelf.catalogue.offers(one.id)
    fixed = [number_of(offer.face) for offer in offers if offer.kind == "fixed"]
    spans = [offer for offer in offers if offer.kind == "range"]
    least, most = (number_of(spans[0].face), number_of(spans[-1].most)) if spans and not fixed else (None, None)
    symbol = get_currency_symbol(one.currency, locale="en")
    return {
        "id": short(one.id),
        "operatorId": short(one.id),
        "name": one.name_en,
        "bundle": False,
        "data": False,
        "pin": False,
        "comboProduct": False,
        "supportsLocalAmounts": False,
        "supportsGeographicalRechargePlans": False,
        "denominationType": "FIXED" if fixed or not spans else "RANGE",
        "senderCurrencyCode": key.currency,
        "senderCurrencySymbol": get_currency_symbol(key.currency, locale="en"),
        "destinationCurrencyCode": one.currency,
        "destinationCurrencySymbol": symbol,
        "commission": _percent(key),
        "internationalDiscount": _percent(key),
        "localDiscount": 0,
        "mostPopularAmount": None,
        "mostPopularLocalAmount": None,
        "minAmount": least,
        "maxAmount": most,
        "localMinAmount": None,
        "localMaxAmount": None,
        "country": {"isoName": one.country, "name": COUNTRIES_NAMED.get(one.country, one.country)},
        "fx": {"rate": 1, "currencyCode": one.currency},
        "logoUrls": [],
        "fixedAmounts": fixed,
        "fixedAmountsDescriptions": {},
        "localFixedAmounts": [],
        "localFixedAmountsDescriptions": {},
        "suggestedAmounts": [],
        "suggestedAmountsMap": {},
        "geographicalRechargePlans": [],
        "promotions": [],
        "status": "ACTIVE",
    }


def _commission(desk: Desk, key: PartnerKey, one: catalogue.Operator) -> dict[str, Any]:
    return {
        "operator": {
            "operatorId": short(one.id),
            "id": short(one.id),
            "name": one.name_en,
            "countryCode": one.country,
            "status": True,
            "data": False,
            "bundle": False,
        },
        "percentage": _percent(key),
        "internationalPercentage": _percent(key),
        "localPercentage": 0,
        "updatedAt": desk.trade.world.now().strftime(MOMENT),
    }


def _percent(key: PartnerKey) -> Any:
    return number_of(Money(key.commission_bp, "CNY"))  # hundredths of a percent, written with two decimals


async def _detected(desk: Desk, key: PartnerKey, phone: object, country: object) -> dict[str, Any]:
    told = await whose.whose(desk.trade, _phone(phone, country), ask=True)
    for one in desk.trade.shelf.catalogue.operators():
        if one.id == told.belief.operator:
            return _operator(desk, key, one)
    raise NotFound("The operator of this number is not known.")


def _named(desk: Desk, text: object) -> catalogue.Operator:
    """Their ids come as numbers and as strings."""
    if not isinstance(text, str) or not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise NotFound("There is no operator with that id.")
    return desk.operator(int(text))


def _same_currency(key: PartnerKey, one: catalogue.Operator) -> None:
    if key.currency != one.currency:
        raise NotForSale(f"This float is kept in {key.currency}; {one.name_en} is sold in {one.currency}.")


def _phone(number: object, country: object) -> Msisdn:
    region = country.upper() if isinstance(country, str) else "CN"
    if not isinstance(number, str):
        raise NotANumber("A number is a string of digits.")
    return numbers.msisdn(number, region)


# ------------------------------------------------------------------ forms


async def _value(request: Request) -> Any:
    try:
        return json_value(await body_of(request.receive))
    except (ValueError, RecursionError):
        raise BadInput("The body is not a JSON document.") from None


async def _document(request: Request) -> dict[str, Any]:
    said = await _value(request)
    if not isinstance(said, dict):
        raise BadInput("The body is not a JSON object.")
    return said


def _json(document: Any, status: int = 200) -> Response:
    return Response(encoded(document), status, media_type="application/json")


def _moment(text: str | None, default: datetime) -> datetime:
    if not text:
        return default
    try:
        return datetime.strptime(text, MOMENT).replace(tzinfo=default.tzinfo)
    except ValueError:
        raise BadInput("A date is written like 2026-05-17 09:30:00.") from None


def _paging(request: Request) -> tuple[int, int]:
    """Their pages are counted from 1."""

    def read(name: str, default: int, most: int) -> int:
        text = request.query_params.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > 0):
            raise BadInput(f"The {name} is a whole number above zero.")
        return min(int(text), most)

    return read("page", 1, 10_000), read("size", PAGE, LONGEST_PAGE)


def _page(every: Sequence[dict[str, Any]], page: int, size: int) -> dict[str, Any]:
    return _spring(every[(page - 1) * size : page * size], page, size, len(every))


def _spring(content: Sequence[dict[str, Any]], page: int, size: int, total: int) -> dict[str, Any]:
    """A page as Spring writes it, which is how they do."""
    pages = -(-total // size)
    unsorted = {"sorted": False, "unsorted": True, "empty": True}
    return {
        "content": content,
        "pageable": {
            "sort": unsorted,
            "pageNumber": page,
            "pageSize": size,
            "offset": (page - 1) * size,
            "unpaged": False,
            "paged": True,
        },
        "totalElements": total,
        "totalPages": pages,
        "last": page >= pages,
        "first": page == 1,
        "sort": unsorted,
        "numberOfElements": len(content),
        "size": size,
        "number": page,
        "empty": not content,
    }
