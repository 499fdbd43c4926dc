"""VTpass's billing API, answered by us, for what it sells that we sell too: airtime by operator.

Source: the public package `django-vtpass` 1.0.0 (its client, its table of codes) and vtpass.com's documentation. The code "000"
says that a request was understood; whether credit arrived stands in `content.transactions.status` alone.
"""

import base64
import binascii
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from refill import numbers
from refill.accounts import PartnerKey
from refill.catalogue import Offer
from refill.channels.dialects.desk import Desk, Wish, encoded, number_of
from refill.channels.machines.body import body_of
from refill.channels.machines.keys import NoKey
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
from refill.operators.supplier import exactly, json_value
from refill.topup import Order

NAME = "vtpass"
PATIENCE_S = 20.0  # their clients wait for 30 to 60 s
AIRTIME = "airtime"
MOMENT = "%Y-%m-%dT%H:%M:%S.000000Z"
_REQUEST_ID = re.compile(r"[0-9]{12}[A-Za-z0-9_-]{0,60}")  # the time in Lagos to the minute, and a suffix

log = logging.getLogger("refill.dialects")

# What VTpass calls our refusals. "099" leaves a purchase open: their client asks again.
CODES: tuple[tuple[type[RefillError], str, str], ...] = (
    (NoKey, "087", "INVALID CREDENTIALS"),
    (OtherContent, "014", "REQUEST ID ALREADY EXIST"),
    (NotEnough, "018", "LOW WALLET BALANCE"),
    (NotForSale, "012", "PRODUCT DOES NOT EXIST"),
    (NotANumber, "011", "INVALID ARGUMENTS"),
    (NotAnAmount, "011", "INVALID ARGUMENTS"),
    (Busy, "099", "TRANSACTION IS PROCESSING"),
    (NotFound, "012", "PRODUCT DOES NOT EXIST"),
    (BadInput, "011", "INVALID ARGUMENTS"),
)
STATES = {
    "succeeded": "delivered",
    "partial": "delivered",
    "failed": "failed",
    "reversed": "reversed",
    "cancelled": "failed",
}

Handler = Callable[[Desk, PartnerKey, Request], Awaitable[Any]]


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """The addresses under /api/ that concern airtime."""
    asked: list[tuple[str, str, Handler]] = [
        ("GET", "/balance", balance),
        ("GET", "/service-categories", categories),
        ("GET", "/services", services),
        ("GET", "/service-variations", variations),
        ("POST", "/pay", pay),
        ("POST", "/requery", requery),
    ]
    return [
        *(Route(f"/api{path}", partial(answer, desk, handler), methods=[method]) for method, path, handler in asked),
        Route("/{rest:path}", partial(answer, desk, nothing), methods=["GET", "POST"]),
    ]


async def answer(desk: Desk, handler: Handler, request: Request) -> Response:
    """Their clients read the code in the body; the HTTP status is 200 but for credentials."""
    status = 200
    try:
        told = await handler(desk, await _caller(desk, request), request)
    except RefillError as refused:
        code, says = next(((c, s) for kind, c, s in CODES if isinstance(refused, kind)), ("011", "INVALID ARGUMENTS"))
        status = 401 if code == "087" else 200
        told = {"code": code, "response_description": says, "content": {"errors": without_numbers(str(refused))}}
    except Exception as broken:
        log.error("a request in another dialect broke: %s", where(broken))
        told = {"code": "083", "response_description": "SYSTEM ERROR", "content": {"errors": "Ask again with requery."}}
    return Response(encoded(told), status, media_type="application/json")


async def _caller(desk: Desk, request: Request) -> PartnerKey:
    """The header `api-key`, or the password of HTTP Basic: our API key."""
    scheme, _, said = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            _, _, secret = base64.b64decode(said, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise NoKey("Send your API key as the password.") from None
        return await desk.partner(secret)
    return await desk.partner(request.headers.get("api-key"))


async def nothing(_: Desk, __: PartnerKey, ___: Request) -> Any:
    """What we do not sell."""
    raise NotFound("Only airtime is sold at this address.")


# ------------------------------------------------------------------ what is on sale


async def balance(desk: Desk, key: PartnerKey, _: Request) -> dict[str, Any]:
    """The float."""
    return {"code": 1, "contents": {"balance": number_of(await desk.balance(key))}}


async def categories(_: Desk, __: PartnerKey, ___: Request) -> dict[str, Any]:
    """The one category that we have."""
    return {"response_description": "000", "content": [{"identifier": AIRTIME, "name": "Airtime Recharge"}]}


async def services(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """Operators whose credit this float can buy."""
    sold = [one for one in desk.trade.shelf.catalogue.operators() if one.currency == key.currency]
    if request.query_params.get("identifier") != AIRTIME:
        sold = []
    content = []
    for one in sold:
        offers = desk.trade.shelf.catalogue.offers(one.id)
        fixed = any(offer.kind == "fixed" for offer in offers)
        content.append(
            {
                "serviceID": one.id,
                "name": f"{one.name_en} Airtime",
                "minimium_amount": number_of(min(offer.face for offer in offers)) if offers else None,
                "maximum_amount": number_of(max(offer.most for offer in offers)) if offers else None,
                "convinience_fee": "0 %",
                "product_type": "fix" if fixed else "flexible",
                "image": "",
            }
        )
    return {"response_description": "000", "content": content}


async def variations(desk: Desk, _: PartnerKey, request: Request) -> dict[str, Any]:
    """The denominations of an operator."""
    operator = desk.trade.shelf.catalogue.operator(request.query_params.get("serviceID", ""))
    fixed = [offer for offer in desk.trade.shelf.catalogue.offers(operator.id) if offer.kind == "fixed"]
    return {
        "response_description": "000",
        "content": {
            "ServiceName": f"{operator.name_en} Airtime",
            "serviceID": operator.id,
            "convinience_fee": "0 %",
            "variations": [
                {
                    "variation_code": offer.product,
                    "name": f"{operator.name_en} {offer.face}",
                    "variation_amount": offer.face.text(),
                    "fixedPrice": "Yes",
                }
                for offer in fixed
            ],
        },
    }


# ------------------------------------------------------------------ purchases


async def pay(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """A purchase; the same request_id again is the same purchase, and answers how it stands."""
    said = await _document(request)
    request_id = said.get("request_id")
    if not isinstance(request_id, str) or _REQUEST_ID.fullmatch(request_id) is None:
        raise BadInput("A request_id begins with YYYYMMDDHHMM and goes on with letters and digits.")
    operator = desk.trade.shelf.catalogue.operator(str(said.get("serviceID", "")))
    offer = _offer(desk, operator.id, said.get("variation_code"))
    if said.get("quantity") not in (None, "1"):
        raise BadInput("One top-up at a time: the quantity is 1.")
    face = offer.face if offer and said.get("amount") is None else exactly(said.get("amount"), operator.currency)
    number = said.get("phone") or said.get("billersCode")
    wish = Wish(
        NAME,
        numbers.msisdn(number, operator.country),
        face,
        reference=request_id,
        operator=operator.id,
        product=offer.product if offer else None,
    )
    return _told(desk, await desk.ended(await desk.place(key, wish), PATIENCE_S), str(number))


async def requery(desk: Desk, key: PartnerKey, request: Request) -> dict[str, Any]:
    """How a purchase stands. "015" is said of nothing but what never came: their client refunds on it."""
    request_id = (await _document(request)).get("request_id")
    try:
        order = await desk.by_reference(key, request_id if isinstance(request_id, str) else "")
    except NotFound:
        return {
            "code": "015",
            "response_description": "INVALID REQUEST ID",
            "content": {"errors": "No such request_id."},
        }
    phone = (await desk.numbers([order])).get(order.number)
    return _told(desk, order, phone.digits if phone else "")


def _offer(desk: Desk, operator: str, variation: object) -> Offer | None:
    if not variation:
        return None
    for offer in desk.trade.shelf.catalogue.offers(operator):
        if offer.product == variation and offer.kind == "fixed":
            return offer
    raise NotForSale("There is no such variation_code.")


def _told(desk: Desk, order: Order, phone: str) -> dict[str, Any]:
    operator = desk.trade.shelf.catalogue.operator(order.operator)
    state = STATES.get(order.status, "pending") if order.certainty == "final" else "pending"
    code = {"failed": "016", "reversed": "040", "pending": "099"}.get(state, "000")
    paid = Money(order.price.minor - order.refunded_minor, order.price.currency)
    commission = Money(max(0, order.face.minor - order.price.minor), order.price.currency)
    delivered = Money(order.delivered_minor, order.face.currency) if order.delivery == "partial" else order.face
    return {
        "code": code,
        "content": {
            "transactions": {
                "status": state,
                "product_name": f"{operator.name_en} Airtime",
                "unique_element": phone,
                "unit_price": number_of(order.face),
                "quantity": 1,
                "channel": "api",
                "commission": number_of(commission),
                "total_amount": number_of(paid),
                "type": "Airtime Recharge",
                "phone": phone,
                "convinience_fee": 0,
                "amount": number_of(delivered),
                "method": "api",
                "transactionId": order.id,
                "commission_details": {"amount": number_of(commission), "rate": "", "rate_type": "percent"},
            }
        },
        "response_description": {
            "000": "TRANSACTION SUCCESSFUL",
            "016": "TRANSACTION FAILED",
            "040": "TRANSACTION REVERSAL",
            "099": "TRANSACTION IS PROCESSING",
        }[code],
        "requestId": order.reference,
        "amount": number_of(delivered),
        "transaction_date": order.created_at.strftime(MOMENT),
        "purchased_code": "",
    }


async def _document(request: Request) -> dict[str, Any]:
    try:
        said = json_value(await body_of(request.receive))
    except (ValueError, RecursionError):
        raise BadInput("The body is not a JSON document.") from None
    if not isinstance(said, dict):
        raise BadInput("The body is not a JSON object.")
    return said
