"""Far ends on real ports: an ASGI application around `handle`, a server for it, and real time for the far end itself."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random, SystemRandom
from typing import Any, Protocol, TypedDict

import httpx2
import uvicorn

from refill.simulators.trouble import Post, Schedule, Sleep, Work
from refill.world import NoAnswer, NotSent, Request, Response

MAX_BODY = 1 << 20
log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class FarEnd(Protocol):
    """Anything that answers requests: a simulated gateway or operator."""

    async def handle(self, request: Request) -> Response:
        """One answer. Raises NoAnswer when the answer is to be lost."""


class Surroundings(TypedDict):
    """What a far end takes beside its own settings: `AlipaySimulator(**surroundings, app_id=…)`."""

    now: Callable[[], datetime]
    dice: Random
    schedule: Schedule
    post: Post
    sleep: Sleep


def application(far_end: FarEnd) -> Application:
    """`far_end` as an ASGI application."""

    async def app(
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            raise RuntimeError("a far end answers HTTP only")
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] != "http.request" or not message.get("more_body"):
                break
            if len(body) > MAX_BODY:
                await _write(send, Response(413, {"content-type": "text/plain"}, b"too long"))
                return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        url = f"{scope['scheme']}://{headers.get('host', '')}{scope['raw_path'].decode('latin-1')}{query}"
        try:
            await _write(send, await far_end.handle(Request(scope["method"], url, headers, body)))
        except NoAnswer:
            # Promise a body and send none: the server must drop the connection, and the other side never learns more.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})

    return app


@asynccontextmanager
async def surroundings(dice: Random | None = None) -> AsyncIterator[Surroundings]:
    """Real time, chance and network for far ends in this process; notices still due are given up at the end."""
    work: set[asyncio.Task[None]] = set()
    # Never through a proxy and never to where a redirect points: a notice goes to the address that was given.
    async with httpx2.AsyncClient(timeout=10, trust_env=False, follow_redirects=False) as client:

        async def later(delay_s: float, what: Work) -> None:
            await asyncio.sleep(delay_s)
            try:
                await what()
            except Exception:
                log.exception("a far end failed at what it had put off")

        def schedule(delay_s: float, what: Work) -> None:
            task = asyncio.get_running_loop().create_task(later(delay_s, what))
            work.add(task)
            task.add_done_callback(work.discard)

        async def post(request: Request) -> Response:
            try:
                answer = await client.request(
                    request.method, request.url, headers=dict(request.headers), content=request.body
                )
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol) as error:
                raise NotSent(str(error)) from error
            except httpx2.HTTPError as error:
                raise NoAnswer(str(error)) from error
            return Response(answer.status_code, dict(answer.headers), answer.content[:MAX_BODY])

        try:
            yield Surroundings(
                now=lambda: datetime.now(UTC),
                dice=dice or SystemRandom(),
                schedule=schedule,
                post=post,
                sleep=_sleep,
            )
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A bound socket, so that a far end knows its own address before it serves; port 0 takes a free one."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def address(listening: socket.socket) -> str:
    """The base URL of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@asynccontextmanager
async def serving(far_end: FarEnd, listening: socket.socket) -> AsyncIterator[str]:
    """Serves `far_end` beside the caller, in the same event loop, until the block ends. Gives its base URL."""
    config = uvicorn.Config(
        application(far_end), lifespan="off", log_level="critical", access_log=False, timeout_graceful_shutdown=1
    )
    server = _Server(config)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            if task.done():
                await task
                raise RuntimeError("the far end did not start")
            await asyncio.sleep(0.005)
        yield address(listening)
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """Signals belong to the program, not to one of its servers."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def _sleep(seconds: float) -> Coroutine[Any, Any, None]:
    return asyncio.sleep(seconds)


async def _write(send: Callable[[Message], Awaitable[None]], response: Response) -> None:
    headers = {**response.headers, "content-length": str(len(response.body))}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": response.body})
