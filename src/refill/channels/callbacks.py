"""Where payment firms and operators tell us that something happened: the raw notice is kept first, then read."""

from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from refill.channels.machines.body import body_of
from refill.errors import NotFound
from refill.operators import Quarantined, Supplier
from refill.payments import RawNotice
from refill.topup import flow
from refill.topup.trade import Trade

NOTICE_LIMIT_BYTES = 256 * 1024


def routes(trade: Trade) -> Sequence[BaseRoute]:
    """POST /callbacks/{method} for payment firms, POST /callbacks/suppliers/{supplier} for operators' suppliers."""
    return [
        Route("/callbacks/suppliers/{supplier}", partial(supplier_notice, trade), methods=["POST"]),
        Route("/callbacks/{method}", partial(payment_notice, trade), methods=["POST"]),
    ]


async def payment_notice(trade: Trade, request: Request) -> Response:
    """The answer is the gateway's own word for "we have it", or the one that makes it come back later."""
    method = request.path_params["method"]
    if method not in trade.methods:
        raise NotFound("There is no payment method of that name.")
    body = await body_of(request.receive, NOTICE_LIMIT_BYTES)
    raw = RawNotice(body, _headers(request), trade.world.now())
    status, answer = await flow.receive_notice(trade, method, raw)
    return Response(answer, status, media_type="text/plain")


async def supplier_notice(trade: Trade, request: Request) -> Response:
    """A supplier's notice only makes us ask; it is never believed by itself."""
    supplier = request.path_params["supplier"]
    if supplier not in trade.suppliers:
        raise NotFound("There is no supplier of that name.")
    if not _admitted(trade.suppliers[supplier], request):
        return Response("not from there", 403, media_type="text/plain")
    body = await body_of(request.receive, NOTICE_LIMIT_BYTES)
    status, answer = await flow.receive_supplier_notice(trade, supplier, body, _headers(request))
    return Response(answer, status, media_type="text/plain")


def _admitted(supplier: Supplier, request: Request) -> bool:
    """Behind a proxy the server must be told which proxy to trust, or every notice seems to come from there."""
    address = request.client.host if request.client else ""
    return not isinstance(supplier, Quarantined) or supplier.admits(address)


def _headers(request: Request) -> dict[str, str]:
    """As they came, names in lower case; bytes beyond ASCII stay readable one by one."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers.raw}
