"""Tells a page that its order moved, in the moment in which it moves; one look at the database serves all who watch.

A page of ours opens `GET /watch/{pass}` as an EventSource and hears the order's mark, a number that grows with every
step: at once, whenever it grows, and as a sign of life in between. What the step was, the page asks for itself, with its
own session. So nothing about an order is told here, a waiting person holds a socket and no thread, and nothing runs
while nobody watches. Source: HTML Living Standard, "Server-sent events".
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from refill.channels.machines.passes import WATCH, read_pass
from refill.errors import NotFound, RefillError
from refill.topup import flow, store
from refill.topup.trade import Trade

PATH = "/watch/"
LOOK_EVERY_S = 1.0
BEAT_S = 15.0  # a page that hears nothing for longer than two of these asks for itself
MOST = 5_000
MOST_FROM_ONE_ADDRESS = 64  # a telephone network hides many people behind one
# While somebody waits for their payment to be seen, its gateway is asked sooner than the engine itself would.
ASK_GATEWAY_EVERY = timedelta(seconds=8)
ASK_GATEWAY_FOR = timedelta(minutes=5)
MOST_ASKED_AT_ONCE = 20
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the second: nginx shall not wait for more

log = structlog.get_logger()


@dataclass(slots=True)
class Watched:
    """An order that somebody watches: its last mark, and an alarm clock for each who does."""

    since: datetime
    ask_at: datetime
    mark: int = 0
    alarms: set[asyncio.Event] = field(default_factory=set)


class Watch:
    """The ASGI application. A stranger's pass is not found; one watcher too many is told to ask for itself.

    When `stop` is set every stream ends, so that no page holds up the end of the server; pages come back by themselves.
    """

    def __init__(self, trade: Trade, stop: asyncio.Event) -> None:
        self._trade = trade
        self._stop = stop
        self._watched: dict[str, Watched] = {}
        self._from: Counter[str] = Counter()
        self._looking = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        address = request.client.host if request.client else "unknown"
        text = request.url.path.removeprefix(PATH)
        try:
            order_id = read_pass(self._trade.vault, WATCH, text, self._trade.world.now())
        except NotFound as error:
            await PlainTextResponse(str(error), 404, HEADERS)(scope, receive, send)
            return
        if request.method != "GET":
            await PlainTextResponse("GET only.", 405, HEADERS)(scope, receive, send)
        elif self._stop.is_set() or self._from.total() >= MOST or self._from[address] >= MOST_FROM_ONE_ADDRESS:
            await PlainTextResponse("Ask for yourself.", 503, HEADERS)(scope, receive, send)
        else:
            telling = StreamingResponse(self._tell(order_id, address), 200, HEADERS, "text/event-stream")
            await telling(scope, receive, send)

    async def _tell(self, order_id: str, address: str) -> AsyncIterator[bytes]:
        watched, alarm = self._enter(order_id), asyncio.Event()
        watched.alarms.add(alarm)
        self._from[address] += 1
        if watched.mark:
            alarm.set()  # others watch it too: what they know is told at once
        try:
            # Pages that lost us together shall not all come back together.
            yield b"retry: %d\n\n" % (2000 + self._trade.world.chance(12))
            while self._looking:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        await alarm.wait()
                alarm.clear()
                if watched.mark and self._looking:
                    yield b"data: %d\n\n" % watched.mark
        finally:
            self._leave(order_id, alarm, address)

    def _enter(self, order_id: str) -> Watched:
        now = self._trade.world.db_now()
        watched = self._watched.setdefault(order_id, Watched(now, now + ASK_GATEWAY_EVERY))
        if not self._looking:
            self._looking = True
            self._trade.world.start(self._look())
        return watched

    def _leave(self, order_id: str, alarm: asyncio.Event, address: str) -> None:
        self._watched[order_id].alarms.discard(alarm)
        if not self._watched[order_id].alarms:
            del self._watched[order_id]
        self._from[address] -= 1
        if not self._from[address]:
            del self._from[address]

    def _wake(self, watched: Watched) -> None:
        for alarm in watched.alarms:
            alarm.set()

    async def _look(self) -> None:
        """Looks at all watched orders at once, again and again, until nobody watches; its end ends every stream."""
        try:
            while self._watched and not self._stop.is_set():
                try:
                    self._compare(await store.marks(self._trade, list(self._watched)))
                except RefillError as error:
                    log.warning("watching waits for the database", error=error.code)
                await self._trade.world.sleep(LOOK_EVERY_S)
        finally:
            self._looking = False
            for watched in self._watched.values():
                self._wake(watched)

    def _compare(self, marks: dict[str, store.Mark]) -> None:
        now, waiting = self._trade.world.db_now(), []
        for order_id, mark in marks.items():
            watched = self._watched.get(order_id)
            if watched is None:  # left while we looked
                continue
            if mark.number != watched.mark:
                watched.mark = mark.number
                self._wake(watched)
            if mark.unpaid and watched.ask_at <= now < watched.since + ASK_GATEWAY_FOR:
                waiting.append((watched.ask_at, order_id))
        for _, order_id in sorted(waiting)[:MOST_ASKED_AT_ONCE]:  # who has waited longest comes first
            self._watched[order_id].ask_at = now + ASK_GATEWAY_EVERY
            self._trade.world.start(self._ask_gateway(order_id))

    async def _ask_gateway(self, order_id: str) -> None:
        with contextlib.suppress(RefillError):  # the next look asks again, and so does the engine itself
            await flow.poll(self._trade, order_id)
