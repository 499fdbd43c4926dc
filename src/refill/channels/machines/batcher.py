"""Group commit that clocks itself: what arrives while one batch commits forms the next, and nobody waits for company."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Generic, TypeVar

from refill.channels.machines.problem import where
from refill.errors import Busy, RefillError

log = logging.getLogger("refill.batcher")

Row = TypeVar("Row")
Answer = TypeVar("Answer")
Apply = Callable[[list[Row]], Awaitable[Sequence[Answer | RefillError]]]


class Overloaded(Busy):
    """The queue in front of the books is full; this request was not accepted and has changed nothing."""

    certainty: ClassVar[str] = "final"


class Poisoned(RefillError):
    """This row alone broke something on our side; what became of it is told to whoever asks again with the same key."""

    code = "internal"
    status = 500
    retryable = True


class Batcher(Generic[Row, Answer]):
    """Collects rows from many requests and applies them together; each request gets the answers to its own rows.

    `apply` gives one answer per row, in order; it must be safe to run again with the same rows. `limit` is the size of
    a batch; a request with more rows than that is a batch by itself. `waiting_limit` rows or an oldest request that
    has waited `patience_s` close the door: later ones are refused before anything of them is accepted. `lanes` batches
    are under way at once.
    """

    def __init__(
        self,
        apply: Apply[Row, Answer],
        *,
        limit: int = 512,
        waiting_limit: int = 8192,
        patience_s: float = 0.7,
        lanes: int = 1,
    ) -> None:
        self._apply = apply
        self._limit = limit
        self._waiting_limit = waiting_limit
        self._patience_s = patience_s
        self._idle_lanes = lanes
        self._queue: deque[tuple[Sequence[Row], asyncio.Future[list[Answer | RefillError]], float]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._closed = False
        self.waiting = 0  # rows accepted and not yet in a batch
        self.batches = self.rows = self.refused = self.poisoned = 0  # since the start, for /metrics

    def submit(self, rows: Sequence[Row]) -> "asyncio.Future[list[Answer | RefillError]]":
        """A future of one answer per row. Raises Overloaded, and then none of the rows was accepted."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._queue and (
            self.waiting + len(rows) > self._waiting_limit or now - self._queue[0][2] > self._patience_s
        ):
            self.refused += len(rows)
            raise Overloaded("More top-ups arrive than can be booked; nothing was accepted. Try again in a second.")
        if self._closed:
            raise Overloaded("This server is stopping; nothing was accepted. Try again in a second.")
        answers: asyncio.Future[list[Answer | RefillError]] = loop.create_future()
        self._queue.append((rows, answers, now))
        self.waiting += len(rows)
        if self._idle_lanes:
            self._idle_lanes -= 1
            # The task starts after everything that was read from the sockets in this turn of the loop has joined.
            lane = loop.create_task(self._drain())
            self._under_way.add(lane)
            lane.add_done_callback(self._under_way.discard)
        return answers

    async def close(self) -> None:
        """Accepts nothing more and returns when all that was accepted is answered."""
        self._closed = True
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _drain(self) -> None:
        try:
            while self._queue:
                requests, rows = self._next_batch()
                self.batches += 1
                self.rows += len(rows)
                try:
                    answers = await self._apply_apart(rows)
                except BaseException:  # the loop is being torn down: whoever still listens must not hear "no"
                    for _, answer, _ in requests:
                        if not answer.done():
                            answer.set_exception(Busy("The server stopped; ask again with the same key."))
                    raise
                taken = 0
                for request_rows, answer, _ in requests:
                    end = taken + len(request_rows)
                    if not answer.done():  # its client may have gone away; the books keep the top-up all the same
                        answer.set_result(answers[taken:end])
                    taken = end
        finally:
            self._idle_lanes += 1

    def _next_batch(
        self,
    ) -> tuple[list[tuple[Sequence[Row], "asyncio.Future[list[Answer | RefillError]]", float]], list[Row]]:
        requests = [self._queue.popleft()]
        rows = list(requests[0][0])
        while self._queue and len(rows) + len(self._queue[0][0]) <= self._limit:
            request = self._queue.popleft()
            requests.append(request)
            rows += request[0]
        self.waiting -= len(rows)
        return requests, rows

    async def _apply_apart(self, rows: list[Row]) -> list[Answer | RefillError]:
        """All rows at once; when that breaks unexpectedly, each half by itself, until the poisoned row stands alone."""
        try:
            answers = list(await self._apply(rows))
        except Busy as busy:
            return [busy] * len(rows)
        except Exception as broken:
            if len(rows) > 1:
                middle = len(rows) // 2
                return await self._apply_apart(rows[:middle]) + await self._apply_apart(rows[middle:])
            self.poisoned += 1
            log.error("a row broke its batch and fails alone: %s", where(broken))
            return [Poisoned("Something broke on our side with this top-up. Ask again with the same key.")]
        if len(answers) != len(rows):
            raise AssertionError(f"{len(rows)} rows got {len(answers)} answers")
        return answers
