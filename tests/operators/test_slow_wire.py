"""A real socket to an operator that takes its time: one byte a second, silence after the request, a line cut in mid-answer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.operators.wires import a_recharge

from refill.app import RealWorld
from refill.operators import Supplier, suppliers_by_name
from refill.outcome import NOT_SENT, Refused, Unknown

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
TIMEOUT_S = 1


async def byte_by_byte(line: asyncio.StreamWriter) -> None:
    for byte in HEAD + b"{" + b" " * 499:
        line.write(bytes([byte]))
        await line.drain()
        await asyncio.sleep(0.05)


async def head_then_drops(line: asyncio.StreamWriter) -> None:
    line.write(HEAD)
    for _ in range(100):
        line.write(b" ")
        await line.drain()
        await asyncio.sleep(0.05)


async def silence(line: asyncio.StreamWriter) -> None:
    await asyncio.sleep(10)


async def cut_off(line: asyncio.StreamWriter) -> None:
    line.write(HEAD + b'{"status": "deliv')
    await line.drain()
    line.transport.abort()


async def endless(line: asyncio.StreamWriter) -> None:
    line.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        line.write(b" " * 65_536)
        await line.drain()


@contextlib.asynccontextmanager
async def operator(answer: Answer) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A far end on a port of its own; what it was sent."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        with contextlib.suppress(ConnectionError):
            await answer(writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()


def northtel(port: int) -> Supplier:
    said = {"url": f"http://127.0.0.1:{port}", "secret": "both know it", "dedups": "no", "not_found_final_s": "never"}
    settings = {f"http_json_northtel_{name}": value for name, value in said.items()}
    more = {"http_json_suppliers": "northtel", "http_json_northtel_timeout_s": str(TIMEOUT_S)}
    return suppliers_by_name(settings | more)["northtel"]


@pytest.mark.parametrize(
    "answer", [byte_by_byte, head_then_drops, silence, cut_off, endless], ids=lambda answer: answer.__name__
)
async def test_whoever_dawdles_after_the_request_is_waited_for_no_longer_and_nobody_knows(answer: Answer) -> None:
    world = RealWorld()
    try:
        async with operator(answer) as (port, heard):
            ask = a_recharge(send_before=datetime.now(UTC) + timedelta(seconds=30))
            since = time.monotonic()
            assert isinstance(await northtel(port).recharge(world, ask), Unknown)
            assert time.monotonic() - since < TIMEOUT_S + 1.5
            assert len(heard) == 1, "one request is one request"
    finally:
        await world.close()


async def test_where_nobody_listens_nothing_was_sent() -> None:
    async with operator(silence) as (port, _):
        pass  # the port was free a moment ago, and is again
    world = RealWorld()
    try:
        ask = a_recharge(send_before=datetime.now(UTC) + timedelta(seconds=30))
        assert await northtel(port).recharge(world, ask) == Refused(NOT_SENT, final=False)
    finally:
        await world.close()
