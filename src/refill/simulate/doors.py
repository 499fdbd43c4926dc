"""The doors of a seeded day, without their frames: they translate what arrives and ask the spine."""

import json
from typing import Any

from refill.errors import RefillError
from refill.money import amount
from refill.numbers import Msisdn, number_id
from refill.payments import RawNotice
from refill.simulate.gateways import told
from refill.topup import Ask, Order, Trade, flow
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
        case "/look":
            return (await flow.poll(trade, said["order"])).status
        case "/reverse":
            return (await flow.reverse(trade, said["order"], who="finance", reason="sent by mistake")).status
        case "/cancel":
            return (await flow.cancel(trade, said["order"])).status
    raise AssertionError(path)


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
