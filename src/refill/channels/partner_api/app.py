"""The partner API as one ASGI application: two hot routes in a lane of their own, the rest from the table in Starlette."""

import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refill.accounts import KeyRing
from refill.channels.machines.lane import Broken, Lane, refusal
from refill.channels.machines.limits import TokenBuckets
from refill.channels.machines.operation import routes_of
from refill.channels.partner_api.developers import developers_routes
from refill.channels.partner_api.health import health_routes
from refill.channels.partner_api.table import operations
from refill.channels.partner_api.topups import Place, TopUps
from refill.errors import RefillError
from refill.topup import flow
from refill.topup.trade import Trade

log = logging.getLogger("refill.doors")


class WrongAddress(RefillError):
    """There is nothing at this address."""

    code = "no_such_address"
    status = 404


class WrongMethod(RefillError):
    """This address exists, but does not answer to that method."""

    code = "wrong_method"
    status = 405


def create_app(
    trade: Trade,
    keyring: KeyRing,
    *,
    rate_per_s: float | None = None,
    also: Sequence[BaseRoute] = (),
    place: Place | None = None,
) -> "PartnerApi":
    """Everything machines may ask of us. Serve it with `limits.PatientHttp` and without an access log: URLs name numbers.

    `rate_per_s` top-ups a second for each partner; `also` are routes of other doors (callbacks); `place` stands in for
    the flow where only the door itself is measured.
    """
    if place is None:

        async def place(asks):  # type: ignore[no-untyped-def]
            return await flow.place(trade, asks)

    topups = TopUps(trade, keyring, place, TokenBuckets(rate_per_s) if rate_per_s else None)
    return PartnerApi(trade, keyring, topups, also)


class PartnerApi(Lane):
    """The ASGI application; `close` lets what was accepted finish."""

    def __init__(self, trade: Trade, keyring: KeyRing, topups: TopUps, also: Sequence[BaseRoute]) -> None:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            yield
            await self.close()

        every = operations(trade, topups)
        rest = Starlette(
            routes=[
                *routes_of(every, keyring),
                *developers_routes(every, trade.public_url, WrongAddress, WrongMethod),
                *health_routes(trade, keyring, topups),
                *also,
            ],
            exception_handlers={RefillError: _refused, HTTPException: _http, Exception: _broken},
            lifespan=lifespan,
        )
        rest.router.redirect_slashes = False
        super().__init__({"/v1/topups": topups.one, "/v1/topups/bulk": topups.many}, Named(rest, trade))
        self.topups = topups

    async def close(self) -> None:
        """Accepts no more top-ups and returns when those accepted have been answered."""
        await self.topups.close()


class Named:
    """Gives every request a name, `X-Request-Id`, in its answer and in our log of a fault: the caller's own, or ours."""

    def __init__(self, app: ASGIApp, trade: Trade) -> None:
        self._app = app
        self._trade = trade

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        name = sent if _REQUEST_ID.fullmatch(sent) else self._trade.world.new_id("rq", 0).encode()

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", name)]}
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception:
            log.error("the request %s broke", name.decode())
            raise


_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


def _response(error: RefillError) -> Response:
    status, headers, body = refusal(error)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, RefillError):
        raise error
    return _response(error)


async def _http(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        response = _response(WrongMethod("This address does not answer to that method."))
        response.headers.update(error.headers or {})
        return response
    return _response(WrongAddress("There is nothing at this address."))


async def _broken(_: Request, __: Exception) -> Response:
    return _response(Broken("Something broke on our side. Ask again."))
