"""The pages for partners' developers, made from the table: `/openapi.json`, `/developers` and a page for every refusal."""

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from refill import __version__
from refill.channels.machines.openapi import document
from refill.channels.machines.operation import JSON, Operation
from refill.channels.partner_api.problems import catalogue
from refill.channels.partner_api.words import FIELDS
from refill.errors import RefillError

SAYS = """\
Top-ups of mobile phones, paid from a prepaid float. Amounts are decimal strings with a currency, times are UTC, phone
numbers carry their country code. Refusals are problem documents (RFC 9457): decide by `code`.
"""


def openapi(operations: Sequence[Operation], server: str) -> bytes:
    """The OpenAPI document as it is served."""
    told = document(operations, FIELDS, title="Refill partner API", version=__version__, says=SAYS, server=server)
    return msgspec.json.encode(told)


def developers_routes(operations: Sequence[Operation], public_url: str, *others: type[RefillError]) -> list[BaseRoute]:
    """Nobody needs a key for these."""
    described = openapi(operations, public_url)
    catalogue(operations, *others)

    async def openapi_json(_: Request) -> Response:
        return Response(described, media_type=JSON)

    return [Route("/openapi.json", openapi_json, methods=["GET"])]
