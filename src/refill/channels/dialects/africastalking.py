"""Africa's Talking's airtime API, answered by us: many recipients in one form, each with an answer of its own.

Source: the public package `africastalking` 2.0.3 and developers.africastalking.com. The package keeps an Idempotency-Key in
the headers that its later sends share, so a key comes again with another recipient: then it names nothing new.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from refill import numbers
from refill.accounts import PartnerKey
from refill.channels.dialects.desk import Desk, Repeated, Wish, encoded
from refill.channels.machines.body import body_of
from refill.channels.machines.keys import NoKey
from refill.channels.machines.problem import where, without_numbers
from refill.errors import BadInput, NotAnAmount, NotFound, OtherContent, RefillError
from refill.money import Money
from refill.operators.supplier import exactly, json_value
from refill.topup import Order

NAME = "africastalking"
RECIPIENTS = 1_000
PATIENCE_S = 5.0  # its client gives up after nine seconds

log = logging.getLogger("refill.dialects")


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """Airtime, the balance, and one transaction."""
    return [
        Route("/version1/airtime/send", partial(answer, desk, send), methods=["POST"]),
        Route("/version1/user", partial(answer, desk, user), methods=["GET"]),
        Route("/query/wallet/balance", partial(answer, desk, wallet), methods=["GET"]),
        Route("/query/transaction/find", partial(answer, desk, find), methods=["GET"]),
    ]


async def answer(desk: Desk, handler: Any, request: Request) -> Response:
    """Exactly `application/json`: with a charset behind it the client hands its user a string."""
    status = 200
    try:
        key = await desk.partner(request.headers.get("apikey"))
        status, told = await handler(desk, key, request)
    except NoKey as refused:
        status, told = 401, {"errorMessage": str(refused)}
    except RefillError as refused:
        status, told = refused.status, {"errorMessage": without_numbers(str(refused))}
    except Exception as broken:
        log.error("a request in another dialect broke: %s", where(broken))
        status, told = 500, {"errorMessage": "Something broke on our side."}
    return Response(encoded(told), status, {"content-type": "application/json"})


async def send(desk: Desk, key: PartnerKey, request: Request) -> tuple[int, dict[str, Any]]:
    """POST /version1/airtime/send: one answer for each recipient; what is refused disturbs no other."""
    form = await _form(request)
    if not form.get("username"):
        raise BadInput("The field username is missing.")
    try:
        recipients = json_value(form.get("recipients", "").encode())
    except (ValueError, RecursionError):
        raise BadInput("The field recipients is a JSON array.") from None
    if not isinstance(recipients, list) or not 0 < len(recipients) <= RECIPIENTS:
        raise BadInput(f"The field recipients is a JSON array of 1 to {RECIPIENTS} recipients.")
    name = request.headers.get("idempotency-key")
    if name is not None and not (0 < len(name) <= 255 and name.isascii() and name.isprintable()):
        raise BadInput("An Idempotency-Key has 1 to 255 visible ASCII characters.")
    answers = await asyncio.gather(*(_send(desk, key, n, one, name) for n, one in enumerate(recipients)))
    sent = [order for _, order in answers if order is not None]
    total = Money(sum(order.face.minor for order in sent), key.currency)
    discount = Money(sum(order.face.minor - order.price.minor for order in sent), key.currency)
    told = {
        "errorMessage": "None" if sent else next(told["errorMessage"] for told, _ in answers),
        "numSent": len(sent),
        "totalAmount": _amount(total),
        "totalDiscount": _amount(discount),
        "responses": [told for told, _ in answers],
    }
    return 201, told


async def _send(
    desk: Desk, key: PartnerKey, n: int, recipient: object, name: str | None
) -> tuple[dict[str, Any], Order | None]:
    said = recipient if isinstance(recipient, dict) else {}
    told = {"phoneNumber": str(said.get("phoneNumber", ""))[:24], "amount": str(said.get("amount", ""))[:24]}
    try:
        currency, _, digits = str(said.get("amount", "")).partition(" ")
        if currency != key.currency:
            raise NotAnAmount(f"This float is kept in {key.currency}.")
        wish = Wish(
            NAME, numbers.msisdn(said.get("phoneNumber")), exactly(digits, currency), key=name and f"{name} {n}"
        )
        order = await desk.ended(await desk.place(key, wish), PATIENCE_S)
    except Repeated:
        refused = "A duplicate request was received within the last 5 minutes"
    except OtherContent:
        refused = "This Idempotency-Key was used before for another recipient; nothing was sent now"
    except RefillError as no:
        refused = without_numbers(str(no))
    else:
        failed = order.certainty == "final" and order.status in ("failed", "reversed")
        told |= {"amount": _amount(order.face), "discount": _amount(order.face - order.price), "requestId": order.id}
        told |= {"status": "Failed", "errorMessage": order.reason or "Failed"} if failed else SENT
        return told, None if failed else order
    return told | {"status": "Failed", "requestId": "None", "discount": "0", "errorMessage": refused}, None


SENT = {"status": "Sent", "errorMessage": "None"}


async def user(desk: Desk, key: PartnerKey, _: Request) -> tuple[int, dict[str, Any]]:
    """GET /version1/user: the float, as their application data has it."""
    return 200, {"UserData": {"balance": _amount(await desk.balance(key))}}


async def wallet(desk: Desk, key: PartnerKey, _: Request) -> tuple[int, dict[str, Any]]:
    """GET /query/wallet/balance: the same."""
    return 200, {"status": "Success", "balance": _amount(await desk.balance(key))}


async def find(desk: Desk, key: PartnerKey, request: Request) -> tuple[int, dict[str, Any]]:
    """GET /query/transaction/find?transactionId=…: how one recipient's top-up stands."""
    id_ = request.query_params.get("transactionId", "")
    try:
        order = await desk.by_id(key, id_)
    except NotFound:
        return 200, {"status": "Failure", "errorMessage": "No transaction with that id."}
    state = "Pending"
    if order.certainty == "final":
        state = "Success" if order.status in ("succeeded", "partial") else "Failed"
    data = {
        "requestId": order.id,
        "status": state,
        "value": _amount(order.face),
        "discount": _amount(order.face - order.price),
        "creationTime": order.created_at.isoformat(),
    }
    return 200, {"status": "Success", "data": data}


async def _form(request: Request) -> dict[str, str]:
    try:
        return dict(parse_qsl((await body_of(request.receive)).decode(), max_num_fields=50))
    except ValueError:
        raise BadInput("The body is not a form.") from None


def _amount(money: Money) -> str:
    """As they write it, with four decimals: "KES 10.0000"."""
    whole, _, part = money.text().partition(".")
    return f"{money.currency} {whole}.{part.ljust(4, '0')}"
