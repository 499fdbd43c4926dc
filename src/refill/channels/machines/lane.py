"""A short way in for the hot routes: straight from the wire to their handler; everything else takes the framework."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from refill.channels.machines.body import body_of
from refill.channels.machines.problem import CONTENT_TYPE, headers_of, problem_of, where
from refill.errors import RefillError

log = logging.getLogger("refill.doors")


class Broken(RefillError):
    """Something broke on our side; what became of the request is told to whoever asks again with the same key."""

    code = "internal"
    status = 500
    retryable = True


class Reply(NamedTuple):
    """What goes back: status, headers without the length, and the body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


Headers = Sequence[tuple[bytes, bytes]]  # names in lower case
Hot = Callable[[Headers, bytes], Awaitable[Reply]]


class Lane:
    """An ASGI application: POSTs to `hot` paths go to their handler, all else to `rest`; no error leaves it.

    Under `quick.QuickHttp` the hot requests do not even become ASGI messages.
    """

    def __init__(self, hot: Mapping[str, Hot], rest: ASGIApp) -> None:
        self.hot = hot
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hot = self.hot.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if hot is None:
            try:
                await self._rest(scope, receive, send)
            except Exception as broken:  # the framework has answered 500 by now
                log.error("a request broke: %s", where(broken))
            return
        try:
            body = await body_of(receive)
        except RefillError as refused:
            reply = refusal(refused)
        else:
            reply = await answer(hot, scope["headers"], body)
        status, headers, content = reply
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, (b"content-length", b"%d" % len(content))],
            }
        )
        await send({"type": "http.response.body", "body": content})


async def answer(hot: Hot, headers: Headers, body: bytes) -> Reply:
    """What a hot handler replies; a refusal or a fault of ours becomes a problem."""
    try:
        return await hot(headers, body)
    except RefillError as refused:
        return refusal(refused)
    except Exception as broken:
        log.error("a top-up request broke: %s", where(broken))
        return refusal(Broken("Something broke on our side. Ask again with the same key."))


def refusal(error: RefillError) -> Reply:
    """The reply that tells a refusal."""
    headers = [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
    body = msgspec.json.encode(problem_of(error))
    return Reply(error.status, [(b"content-type", CONTENT_TYPE), *headers], body)
