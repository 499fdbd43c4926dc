"""The partner API as one ASGI application: two hot routes in a lane of their own, the rest in Starlette."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from refill.accounts import KeyRing
from refill.channels.machines.lane import Broken, Lane, refusal
from refill.channels.machines.limits import TokenBuckets
from refill.channels.partner_api.health import health_routes
from refill.channels.partner_api.look import look_routes
from refill.channels.partner_api.topups import Place, TopUps
from refill.errors import RefillError
from refill.topup import flow
from refill.topup.trade import Trade


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

        rest = Starlette(
            routes=[*look_routes(trade, keyring), *health_routes(trade, keyring, topups), *also],
            exception_handlers={RefillError: _refused, HTTPException: _http, Exception: _broken},
            lifespan=lifespan,
        )
        rest.router.redirect_slashes = False
        super().__init__({"/v1/topups": topups.one, "/v1/topups/bulk": topups.many}, rest)
        self.topups = topups

    async def close(self) -> None:
        """Accepts no more top-ups and returns when those accepted have been answered."""
        await self.topups.close()


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
