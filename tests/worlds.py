"""A world that stands still until it is told to move: its own clock, seeded dice, and far ends found by their address."""

import heapq
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from refill.ids import make_id
from refill.world import NotSent, Request, Response

MORNING = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)  # ten o'clock in China

Handle = Callable[[Request], Awaitable[Response]]
Work = Callable[[], Coroutine[Any, Any, None]]


class FixedWorld:
    """The spine's World and a far end's surroundings in one.

    `route(prefix, handle)` puts a far end at an address; what has no route refuses the connection. `advance(seconds)`
    moves the clock and runs what far ends had put off, in order.
    """

    def __init__(self, at: datetime = MORNING, seed: int = 0) -> None:
        self.clock = at
        self.db_ahead = timedelta()  # how far the database's clock is ahead of ours
        self.dice = Random(seed)
        self.sent: list[Request] = []
        self._routes: dict[str, Handle] = {}
        self._due: list[tuple[datetime, int, Work]] = []
        self._counter = 0

    # What the spine sees

    def now(self) -> datetime:
        return self.clock

    def db_now(self) -> datetime:
        return self.clock + self.db_ahead

    def new_id(self, prefix: str, cell: int) -> str:
        return make_id(prefix, cell, int(self.clock.timestamp() * 1000), self.chance(60))

    def chance(self, bits: int) -> int:
        return self.dice.getrandbits(bits)

    async def sleep(self, seconds: float) -> None:
        await self.advance(seconds)

    async def send(self, request: Request) -> Response:
        self.sent.append(request)
        for prefix, handle in self._routes.items():
            if request.url.startswith(prefix):
                return await handle(request)
        raise NotSent("nobody listens there")

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        async def go() -> None:
            await work

        self.schedule(0, go)

    # What far ends and tests see

    def route(self, prefix: str, handle: Handle) -> None:
        self._routes = {prefix: handle, **self._routes}

    def schedule(self, delay_s: float, work: Work) -> None:
        self._counter += 1
        heapq.heappush(self._due, (self.clock + timedelta(seconds=delay_s), self._counter, work))

    async def advance(self, seconds: float = 0.0) -> None:
        until = self.clock + timedelta(seconds=seconds)
        while self._due and self._due[0][0] <= until:
            at, _, work = heapq.heappop(self._due)
            self.clock = max(self.clock, at)
            await work()
        self.clock = max(self.clock, until)

    def surroundings(self) -> dict[str, Any]:
        """What every far end takes beside its own settings."""
        return {
            "now": self.now,
            "dice": self.dice,
            "schedule": self.schedule,
            "post": self.send,
            "sleep": self.sleep,
        }


class Inbox:
    """Our address for notices: keeps each one, and answers as it is told."""

    def __init__(self, answer: Response | None = None) -> None:
        self.answer = answer or Response(200, {}, b"success")
        self.notices: list[Request] = []

    async def handle(self, request: Request) -> Response:
        self.notices.append(request)
        return self.answer
