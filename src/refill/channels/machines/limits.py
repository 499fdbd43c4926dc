"""How much of us one caller may take: bytes of a body, seconds for a request to arrive, requests per second."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from refill.channels.machines.quick import QuickHttp
from refill.errors import RefillError

HEADERS_LIMIT_BYTES = 64 * 1024
HEADERS_DEADLINE_S = 10.0
BODY_DEADLINE_S = 30.0


class TooMany(RefillError):
    """This key sends more requests per second than it was given."""

    code = "rate_limited"
    status = 429
    retryable = True

    def __init__(self, sentence: str, headers: dict[str, str]) -> None:
        super().__init__(sentence)
        self.headers = headers


class TokenBuckets:
    """`rate_per_s` requests for each key, saved up to `burst`; a bulk of 100 rows costs 100."""

    def __init__(
        self, rate_per_s: float, burst: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate_per_s
        self._burst = burst if burst is not None else 2 * rate_per_s
        self._clock = clock
        self._level: dict[str, tuple[float, float]] = {}  # key: tokens left, and when that was

    def take(self, key: str, cost: int = 1) -> dict[str, str]:
        """Takes `cost` tokens and returns the headers that tell the rest. Raises TooMany, and then takes none.

        A request dearer than a full bucket passes when the bucket is full, and leaves a debt.
        """
        now = self._clock()
        left, since = self._level.get(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        wanted = min(float(cost), self._burst)
        if left < wanted:
            wait_s = math.ceil((wanted - left) / self._rate)
            self._level[key] = (left, now)
            raise TooMany(
                f"This key may send {self._rate:g} top-ups a second; wait {wait_s} s.",
                {**self._headers(left), "Retry-After": str(wait_s)},
            )
        left -= cost
        self._level[key] = (left, now)
        return self._headers(left)

    def _headers(self, left: float) -> dict[str, str]:
        # draft-ietf-httpapi-ratelimit-headers-07, in the three-field form that clients know.
        return {
            "RateLimit-Limit": f"{self._burst:g}",
            "RateLimit-Remaining": str(max(0, int(left))),
            "RateLimit-Reset": str(math.ceil(max(0.0, self._burst - left) / self._rate)),
        }


class PatientHttp(QuickHttp):
    """uvicorn's HTTP/1.1 with an end to patience: `uvicorn.Config(http=PatientHttp)`.

    A connection whose headers are not whole after ten seconds, or whose body is not after thirty, is dropped: else a
    few thousand half-sent requests hold every socket we have. Nothing is timed per request: each connection looks at
    itself now and then, and a request that was already there at the last look has been there for that long.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._look_s = HEADERS_DEADLINE_S / 4
        self._looked_at: object = self  # the request that was under way at the last look
        self._unfinished_s = 0.0
        self._headers_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(self._look_s, self._look)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        was_whole = before is None or not before.more_body
        super().data_received(data)
        if self.cycle is not before:
            self._headers_bytes = 0
        elif was_whole:  # so these are headers of a request to come
            self._headers_bytes += len(data)
            if self._headers_bytes > HEADERS_LIMIT_BYTES:
                self.transport.abort()

    def _look(self) -> None:
        if self.transport.is_closing() or self.parser is None:
            return
        cycle = self.cycle
        arriving_headers = cycle is None or (cycle.response_complete and self.timeout_keep_alive_task is None)
        arriving_body = cycle is not None and not cycle.response_complete and cycle.more_body
        if cycle is self._looked_at and (arriving_headers or arriving_body):
            self._unfinished_s += self._look_s
        else:
            # A new connection is measured from its beginning; a later request from the look that first saw it.
            self._unfinished_s = self._look_s if cycle is None else 0.0
        self._looked_at = cycle
        deadline_s = HEADERS_DEADLINE_S if arriving_headers else BODY_DEADLINE_S
        if (arriving_headers or arriving_body) and self._unfinished_s >= deadline_s:
            self.transport.abort()
            return
        self.loop.call_later(self._look_s, self._look)
