"""The load: many keep-alive connections from one process, each with one request under way, each answer timed.

Run as a process of its own (`python -m refill.bench.load`), because client and server each get a core. It reads a pickled
`Load` from standard input and writes a pickled `Outcome` to standard output. Requests are bytes made beforehand: a client
that builds them while it measures would measure itself.
"""

import asyncio
import gc
import os
import pickle
import random
import sys
import time
from array import array
from collections import deque
from typing import cast

import uvloop

from refill.bench.leg import Load, Outcome

BULKS_AGO = 10  # so long ago that nothing of it is still under way


def prepare(load: Load) -> tuple[list[bytes], list[int]]:
    """The requests in the order in which they will be sent, and for each the number of its first occurrence."""
    dice = random.Random(load.seed)
    count = int(load.expected_per_s * (load.seconds + load.warm_up_s)) + load.connections
    head = (
        f"POST /v1/topups{'/bulk' if load.kind == 'bulk' else ''} HTTP/1.1\r\nhost: refill.test\r\n"
        f"authorization: Bearer {load.bearer}\r\ncontent-type: application/json\r\n"
    )
    requests: list[bytes] = []
    first: list[int] = []
    sent: deque[list[str]] = deque()
    for n in range(count):
        if requests and load.kind == "single" and dice.random() < load.replayed:
            if load.old and dice.random() < 0.5:
                key, body = dice.choice(load.old)
                requests.append(f"{head}idempotency-key: {key}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
                first.append(-1)
            else:
                earlier = dice.randrange(max(0, n - 20_000), n)
                requests.append(requests[earlier])
                first.append(first[earlier])
            continue
        if load.kind == "bulk":
            # Rows that a bulk of a while ago held, asked for again under their references.
            rows = [_body(dice, load.numbers) for _ in range(load.rows)]
            if len(sent) == BULKS_AGO:
                again = round(load.rows * load.replayed)
                rows[:again] = sent.popleft()[-again:]
            sent.append(rows)
            body = '{"topups":[' + ",".join(rows) + "]}"
        else:
            body = _body(dice, load.numbers)
        key = f"{dice.getrandbits(96):024x}"
        requests.append(f"{head}idempotency-key: {key}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        first.append(n)
    return requests, first


def _body(dice: random.Random, numbers: list[str]) -> str:
    return f'{{"msisdn":"{dice.choice(numbers)}","amount":"50.00","currency":"CNY","reference":"r{dice.getrandbits(64):016x}"}}'


class Caller(asyncio.Protocol):
    """One connection: sends a request, waits for the whole answer, sends the next."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0
        self._request = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._next()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._buffer = data
            return
        at = data.find(b"\ncontent-length: ", 0, head_end)
        length = int(data[at + 17 : data.find(b"\r", at)])
        if len(data) < head_end + 4 + length:
            self._buffer = data
            return
        self._buffer = b""
        self._run.answered(time.perf_counter() - self._sent_at, self._request, data, head_end)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._run.over:
            self._run.lost += 1
        self._run.open -= 1
        if self._run.open == 0:
            self._run.closed.set()

    def _next(self) -> None:
        request = self._run.next_request()
        if request < 0:
            self._transport.close()
            return
        self._request = request
        self._sent_at = time.perf_counter()
        self._transport.write(self._run.requests[request])


class Run:
    """All connections together."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.requests, self.first = prepare(load)
        self.closed = asyncio.Event()
        self.open = load.connections
        self.over = False
        self.lost = 0
        self._taken = 0
        self._done: list[int] = []
        self._measure_from = self._until = float("inf")
        self._latencies = array("d")
        self._replayed = self._refused = 0
        self._example = ""

    def next_request(self) -> int:
        """The number of the request to send now; -1 when time or requests are used up."""
        if time.perf_counter() >= self._until or self._taken == len(self.requests):
            self.over = True
            return -1
        self._taken += 1
        return self._taken - 1

    def answered(self, latency_s: float, request: int, answer: bytes, head_end: int) -> None:
        """One whole answer came."""
        self._done.append(request)
        accepted = answer.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200", b"HTTP/1.1 202"))
        if accepted and self.load.kind == "bulk":
            accepted = answer.find(b'"refused":0,', head_end, head_end + 64) > 0
        if not accepted:
            self._refused += 1
            self._example = self._example or answer[:600].decode("latin-1")
        now = time.perf_counter()
        if self._measure_from <= now <= self._until:
            self._latencies.append(latency_s)
            if answer.find(b"idempotent-replayed", 0, head_end) > 0:
                self._replayed += 1

    async def go(self) -> Outcome:
        """Connects all, sends until time is up, waits for the last answers."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        self._measure_from = began + self.load.warm_up_s
        self._until = self._measure_from + self.load.seconds
        for _ in range(self.load.connections):
            await loop.create_connection(lambda: Caller(self), "127.0.0.1", self.load.port)
        await self.closed.wait()
        if self.lost:
            raise RuntimeError(f"{self.lost} connections were lost")
        ended = min(time.perf_counter(), self._until)
        if self._taken == len(self.requests):
            sys.stderr.write("the prepared requests ran out before the time; raise expected_per_s\n")
        ordered = sorted(self._latencies)
        count = len(ordered)
        return Outcome(
            seconds=ended - self._measure_from,
            answered=count,
            rows=count * self.load.rows,
            p50_ms=1000 * ordered[count // 2] if count else 0.0,
            p99_ms=1000 * ordered[count * 99 // 100] if count else 0.0,
            worst_ms=1000 * ordered[-1] if count else 0.0,
            replayed=self._replayed,
            refused=self._refused,
            example=self._example,
            total_answered=len(self._done),
            total_distinct=len({self.first[n] for n in self._done} - {-1}),
        )


def main() -> None:
    """Reads a Load, runs it, writes an Outcome."""
    load: Load = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from the process that started us
    if load.core is not None:
        os.sched_setaffinity(0, {load.core})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def go() -> Outcome:
            run = Run(load)
            gc.freeze()
            gc.disable()
            return await run.go()

        outcome = runner.run(go())
    sys.stdout.buffer.write(pickle.dumps(outcome))


if __name__ == "__main__":
    main()
