"""The doors of a seeded day, without their frames: they translate what arrives and ask the spine.

Names in paths: `/place`, `/invite`, `/pay` and `/redeem` are a customer's, `/till` a clerk's, `/refund` and what follows it
the staff's.
"""

import json
from typing import Any

from refill import vouchers
from refill.errors import CannotHappen, RefillError
from refill.money import Money, amount
from refill.numbers import Msisdn, number_id
from refill.payments import Capture, RawNotice
from refill.simulate.gateways import told
from refill.topup import Ask, Order, Trade, flow, store
from refill.topup.redeem import Redemption
from refill.world import Request, Response

PUBLIC = "http://refill.example"


async def serve(trade: Trade, request: Request) -> Response:
    """One request of a client, a payment firm or an operator."""
    path = request.url.removeprefix(PUBLIC)
    try:
        if path.startswith("/callbacks/suppliers/"):
            name = path.rpartition("/")[2]
            status, said = await flow.receive_supplier_notice(trade, name, request.body, request.headers)
            return Response(status, {}, said)
        if path.startswith("/callbacks/"):
            raw = RawNotice(request.body, request.headers, trade.world.now())
            status, said = await flow.receive_notice(trade, path.rpartition("/")[2], raw)
            return Response(status, {}, said)
        answer = await _answer(trade, path, json.loads(request.body))
        return Response(200, {}, json.dumps(answer).encode())
    except RefillError as error:
        return Response(error.status, {}, json.dumps([error.code, str(error)]).encode())


async def _answer(trade: Trade, path: str, said: Any) -> Any:
    match path:
        case "/place":
            orders = await flow.place(trade, [_ask(trade, **row) for row in said])
            return [one.id if isinstance(one, Order) else [one.code, str(one)] for one in orders]
        case "/invite":
            order, method, scene = said["order"], said["method"], said["scene"]
            browser = {"return_url": f"{PUBLIC}/orders/{order}", "payer_ip": "203.0.113.7"}
            return told(await flow.invite(trade, order, method, scene=scene, **browser))
        case "/pay":
            paid = await flow.pay_inside(trade, **said)
            return [paid.payment, paid.price.minor]
        case "/redeem":
            return await _redeem(trade, **said)
        case "/fill":
            filling = await flow.fill_wallet(
                trade, said["payer"], amount(said["face"], "CNY"), channel="portal", key=said["key"]
            )
            return filling.id
        case "/claim":
            dossier = await store.dossier(trade, said["order"])
            return [flow.claim_code(trade, refund).plain for refund in dossier.refunds if refund.claim_until]
        case "/till":
            return await _counted(trade, said["order"])
        case "/look":
            return (await flow.poll(trade, said["order"])).status
        case "/reverse":
            return (await flow.reverse(trade, said["order"], who="finance", reason="sent by mistake")).status
        case "/cancel":
            return (await flow.cancel(trade, said["order"])).status
        case "/refund":
            return await _refund(trade, **said)
        case "/confirm":
            return (await flow.confirm_refund(trade, said["order"], said["n"], said["by"])).status
        case "/decline":
            return (await flow.decline_refund(trade, said["order"], said["n"], said["by"], "not so")).state
    raise AssertionError(path)


async def _redeem(trade: Trade, *, payer: str, msisdn: str | None, pin: str) -> Any:
    """A scratch card for a number, or for the payer's wallet."""
    number = number_id(trade.vault, Msisdn(msisdn)) if msisdn else flow.wallet_number(trade, payer)
    id_, by = flow.new_order_id(trade, number), (payer, "address:203.0.113.7")
    called = Msisdn(msisdn) if msisdn else None
    (order,) = await flow.redeem(trade, [Redemption(id_, vouchers.pin(pin), called, number, payer, "portal", by=by)])
    return order.id if isinstance(order, Order) else [order.code, str(order)]


async def _counted(trade: Trade, order_id: str) -> int | None:
    """A clerk counted the price into the till: what was taken; None when the order cannot be paid any more."""
    if (paid := await _in_the_till(trade, order_id)) is not None:
        return paid
    try:
        await flow.invite(trade, order_id, "cash", scene="till")
    except CannotHappen:
        return await _in_the_till(trade, order_id)  # perhaps the very same request was quicker
    for payment in (await store.dossier(trade, order_id)).payments:
        if payment.method == "cash":
            name = payment.reference
            await flow.pay(trade, [Capture("cash", "till 1", name, name, payment.amount, trade.world.db_now())])
    return await _in_the_till(trade, order_id)


async def _in_the_till(trade: Trade, order_id: str) -> int | None:
    payments = (await store.dossier(trade, order_id)).payments
    return next((one.amount.minor for one in payments if (one.method, one.state) == ("cash", "captured")), None)


async def _refund(trade: Trade, *, order: str, minor: int | None, why: str, by: str) -> int:
    """Staff ask to give back a part, or all that is left."""
    standing = (await store.dossier(trade, order)).order
    left = standing.captured_minor - standing.refunded_minor
    wish = Money(left if minor is None else minor, standing.price.currency)
    return (await flow.refund(trade, order, wish, why, by)).n


def _ask(trade: Trade, *, payer: str, msisdn: str, face: str, key: str, reference: str | None) -> Ask:
    number = number_id(trade.vault, Msisdn(msisdn))
    return Ask(
        flow.new_order_id(trade, number),
        payer,
        "partner_api" if payer.startswith("partner:") else "portal",
        Msisdn(msisdn),
        number,
        amount(face, "CNY"),
        key,
        reference,
        commission_bp=30 if payer.startswith("partner:") else None,
    )
