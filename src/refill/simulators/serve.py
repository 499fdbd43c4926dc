"""Far ends on real ports: an ASGI application around `handle`, a server for it, real time; all of the shelf, or one alone."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random, SystemRandom
from typing import Any
from urllib.parse import urlsplit

import httpx2
import uvicorn

from refill.errors import NotFound
from refill.simulators import shelf
from refill.simulators.trouble import PROFILES, FarEnd, Keep, Surroundings, Work, behave
from refill.world import NoAnswer, NotSent, Request, Response

MAX_BODY = 1 << 20
log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


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


@dataclass(frozen=True, slots=True)
class FarEnds:
    """Far ends that are played: the settings that lead Refill to them, and where each is, by its name."""

    settings: dict[str, object]
    urls: dict[str, str]

    @property
    def allowed(self) -> frozenset[str]:
        """Where webhooks may go although it is not public: to partners that are played."""
        return frozenset(urlsplit(url).netloc for name, url in self.urls.items() if name in ("receiver", "platform"))


def led(keep: Keep, port: int) -> FarEnds:
    """Where `refill up` on this port plays its far ends; they need not run now."""
    return _led(keep, {name: f"http://127.0.0.1:{port + file.PORT}" for name, file in shelf().items()})


def _led(keep: Keep, urls: dict[str, str]) -> FarEnds:
    settings: dict[str, object] = {}
    for name, url in urls.items():
        settings |= shelf()[name].leads(keep, url)
    return FarEnds(settings, urls)


@asynccontextmanager
async def beside(keep: Keep, port: int, product_url: str) -> AsyncIterator[FarEnds]:
    """Plays every far end of the shelf on the ports behind Refill's own; on free ones where those are taken."""
    async with surroundings() as around, AsyncExitStack() as stack:
        urls = {}
        for name, file in shelf().items():
            listening = _near(port, file.PORT)
            far_end = file.plays(keep, address(listening), product_url, around)
            urls[name] = await stack.enter_async_context(serving(far_end, listening))
        yield _led(keep, urls)


def _near(port: int, offset: int) -> socket.socket:
    """A port beside Refill's, so that an address stays the same from start to start; a free one when it is taken."""
    with contextlib.suppress(OSError):
        return listen("127.0.0.1", port + offset if port else 0)
    return listen("127.0.0.1", 0)


async def alone(
    name: str,
    folder: Path,
    keep: Keep,
    port: int,
    product_url: str,
    stop: asyncio.Event,
    say: Callable[[str], None],
    profile: str = "calm",
) -> None:
    """Plays one far end until told to stop; says the settings that lead a Refill to it. Raises NotFound.

    Keys that the other side needs as files lie in `folder`, where `keep` keeps. `profile` is one of `PROFILES`.
    """
    if name not in shelf():
        raise NotFound(f"There is no simulator {name!r}; there are {', '.join(shelf())}.")
    if profile not in PROFILES:
        raise NotFound(f"There is no profile {profile!r}; there are {', '.join(PROFILES)}.")
    async with surroundings() as around:
        listening = listen("127.0.0.1", port)
        url = address(listening)
        far_end = shelf()[name].plays(keep, url, product_url, around)
        behave(far_end, profile)
        async with serving(far_end, listening):
            say(f"{name} is played at {url}, {profile}: {PROFILES[profile].says}")
            say("These settings lead Refill to it:")
            for setting, value in shelf()[name].leads(keep, url).items():
                if "\n" in (text := str(value)):  # a key in PEM
                    keep(f"{setting}.pem", lambda text=text: text)  # type: ignore[misc]
                    text = str((folder / f"{setting}.pem").resolve())
                say(f"REFILL_{setting.upper()}={text}")
            await stop.wait()


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
