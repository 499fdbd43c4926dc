"""How the body of a request is read, and how much of it."""

from typing import ClassVar

from starlette.types import Receive

from refill.channels.machines.json import BODY_LIMIT_BYTES
from refill.errors import BadInput, RefillError

# A client that is still sending does not hear an answer: so we listen a while longer than we read.
HEARING = 16


class TooLarge(RefillError):
    """The request is larger than this address accepts."""

    code = "too_large"
    status = 413
    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class WrongForm(BadInput):
    """The body arrives in a form that this address does not read."""

    code = "unsupported_media_type"
    status = 415


class Gone(RefillError):
    """The caller hung up before the request was whole."""

    code = "incomplete"
    status = 400


async def body_of(receive: Receive, limit_bytes: int = BODY_LIMIT_BYTES) -> bytes:
    """The whole body of an ASGI request. Raises TooLarge as soon as it is, and Gone when its sender is."""
    message = await receive()
    body: bytes = message.get("body", b"")
    size = len(body)
    while message.get("more_body") and size <= HEARING * limit_bytes:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= limit_bytes:
            body += part
    if message["type"] == "http.disconnect":
        raise Gone("The connection ended before the request was whole.")
    if size > limit_bytes:
        raise too_large(limit_bytes)
    return body


def too_large(limit_bytes: int) -> TooLarge:
    """The refusal of a body larger than that."""
    return TooLarge(f"The body is larger than {limit_bytes:,} bytes; send fewer rows at a time.")
