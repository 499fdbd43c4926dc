"""The servers of a bench, each a process of its own on the servers' core: ours, the echo, the naive one.

`python -m refill.bench.serve KIND` listens on a free port, prints it, and serves until its standard input ends.
"""

import asyncio
import os
import sys
import threading
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop

from refill.app import doors, opened
from refill.bench.seed import settings
from refill.channels.machines.limits import PatientHttp

ECHO = b'{"echo":"' + b"." * 300 + b'"}'  # as many bytes as a top-up's answer
THREADS = int(os.environ.get("NAIVE_THREADS", "16"))


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


class Quiet(uvicorn.Server):
    """A server whose signals and end belong to us."""

    @contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Nothing: we end when our standard input does."""
        yield


async def serve(app: Any) -> None:
    """Serves until standard input ends; prints the port first."""
    config = uvicorn.Config(
        app, port=0, http=PatientHttp, ws="none", lifespan="off", access_log=False, log_level="error"
    )
    server = Quiet(config)

    def wait_for_the_end() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


async def serve_refill() -> None:
    """The product's doors for machines, as `refill serve --doors machines` opens them."""
    async with opened(settings(), os.environ["BENCH_DSN"]) as house:
        await serve(doors(house, ""))


def main() -> None:
    """KIND is refill, echo or naive."""
    kind = sys.argv[1]
    if "BENCH_CORE" in os.environ:
        os.sched_setaffinity(0, {int(os.environ["BENCH_CORE"])})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        match kind:
            case "refill":
                runner.run(serve_refill())
            case "echo":
                runner.run(serve(echo))
            case "naive":
                from a2wsgi import WSGIMiddleware
                from naive.serve import application  # type: ignore[import-not-found]

                runner.run(serve(WSGIMiddleware(application, workers=THREADS)))


if __name__ == "__main__":
    main()
