"""The servers of a bench, each a process of its own on the servers' core: ours, the echo, the naive one.

`python -m refill.bench.serve KIND` listens on a free port, prints it, and serves until its standard input ends.
"""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import uvicorn
import uvloop

from refill import app, logs
from refill.bench.seed import settings
from refill.channels.machines.limits import PatientHttp

ECHO = b'{"echo":"' + b"." * 300 + b'"}'  # as many bytes as a top-up's answer
THREADS = 2  # of the naive server: measured, the best of 1, 2, 4, 8, 16 and 32


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body, answers a constant: what the server itself costs."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ECHO))],
        }
    )
    await send({"type": "http.response.body", "body": ECHO})


def when_the_bench_ends(end: Callable[[], object]) -> None:
    """Calls `end` from a thread when our standard input is closed: so no server outlives its bench."""

    def wait() -> None:
        sys.stdin.read()
        end()

    threading.Thread(target=wait, daemon=True).start()


async def serve_refill(*, working: bool = False) -> None:
    """The product, as `refill serve --doors machines` serves it; `working`: with `refill work` on files beside it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ours = replace(settings(), port=port)
    logs.configure("warning")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    when_the_bench_ends(lambda: loop.call_soon_threadsafe(stop.set))

    async def ready() -> None:
        print(port, flush=True)

    async with app.opened(ours, os.environ["BENCH_DSN"]) as house, asyncio.TaskGroup() as group:
        if working:
            group.create_task(app.work_files(house, stop))
        await app.serve(house, stop, ready())


class Quiet(uvicorn.Server):
    """A server whose signals and end belong to us."""

    @contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Nothing: we end when our standard input does."""
        yield


async def serve(reference: Any) -> None:
    """A reference under the same server with the same settings."""
    config = uvicorn.Config(
        reference,
        port=0,
        http=PatientHttp,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
    )
    server = Quiet(config)
    when_the_bench_ends(lambda: setattr(server, "should_exit", True))
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    app.settle_memory()
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


def main() -> None:
    """KIND is refill, working, echo or naive."""
    kind = sys.argv[1]
    if "BENCH_CORE" in os.environ:
        os.sched_setaffinity(0, {int(os.environ["BENCH_CORE"])})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        match kind:
            case "refill":
                runner.run(serve_refill())
            case "working":
                runner.run(serve_refill(working=True))
            case "echo":
                runner.run(serve(echo))
            case "naive":
                from a2wsgi import WSGIMiddleware
                from naive.serve import application  # type: ignore[import-not-found]

                runner.run(serve(WSGIMiddleware(application, workers=THREADS)))


if __name__ == "__main__":
    main()
