"""The ports of the spine in virtual time: a world, a database and a network that fail as a seed decides."""

import re
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from random import Random
from typing import Any, TypeVar

import psycopg

from refill.db import Asked, Database, Row, Statement, Tx
from refill.db.pool import COLLISION, POINTED, SESSION, rerun
from refill.errors import CannotHappen
from refill.ids import cell_of_id, make_id
from refill.simulate.kernel import Kernel, Process, Task, suspend
from refill.world import NoAnswer, NotSent, Request, Response, in_transaction

T = TypeVar("T")
Handle = Callable[[Request], Coroutine[Any, Any, Response]]
FIRMS = ("alipay", "wechat_pay", "jd_pay", "card")


@dataclass(frozen=True)
class Knobs:
    """How much trouble a seed makes; each seed switches on a random part of it (swarm testing)."""

    lost: float = 0.0  # of requests, and of answers
    doubled: float = 0.0
    late: float = 0.0  # by up to 200 s
    refused: float = 0.0  # connections
    db_down: float = 0.0
    commit_unknown: float = 0.0  # commits whose answer is lost
    db_slow: float = 1
    killed_every_s: float = 0.0  # 0: never
    dies_at_await: float = 0.0
    freezes_at_commit: float = 0.0  # workers, for ten minutes and more
    skew_s: float = 0.0
    lose_notice: float = 0.0
    double_notice: float = 0.0
    late_notice: float = 0.0
    forge_notice: float = 0.0
    short_paid: float = 0.0
    gateway: float = 0.0  # the chance of each trouble at a payment firm
    operator: float = 0.0  # and of each of a few troubles at operators
    drained: bool = False  # our float at an operator runs out, and is filled again when faults heal
    notices_stay_lost: bool = False
    burst_s: float = 0.0  # within which most orders come
    firms: tuple[str, ...] = ()  # the payment firms that are open on this day
    scratch_cards: bool = False  # are vouchers sold?
    wallets: bool = False
    till: bool = False
    staff: bool = False  # give money back, two of them
    disputes: bool = False  # of payments by card

    @classmethod
    def draw(cls, seed: int) -> "Knobs":
        """The knobs of a seed."""
        dice = Random(f"knobs {seed}")

        def on(*values: float) -> float:
            return dice.choice((0.0, *values))

        return cls(
            lost=on(0.02, 0.12),
            doubled=on(0.05, 0.25),
            late=on(0.03, 0.15),
            refused=on(0.02, 0.08),
            db_down=on(0.02, 0.08),
            commit_unknown=on(0.02, 0.1),
            db_slow=dice.choice((1, 1, 30)),
            killed_every_s=on(30, 150),
            dies_at_await=on(0.002, 0.01),
            freezes_at_commit=on(0.05, 0.2),
            skew_s=on(30, 400),
            lose_notice=on(0.1, 0.6, 1.0),
            double_notice=on(0.2, 0.5),
            late_notice=on(0.2),
            forge_notice=on(0.3),
            short_paid=on(0.1),
            gateway=on(0.03),
            operator=on(0.04, 0.08),
            drained=dice.random() < 0.2,
            notices_stay_lost=dice.random() < 0.5,
            burst_s=dice.choice((5, 120, 600)),
            firms=tuple(dice.sample(FIRMS, dice.randint(1, len(FIRMS)))),
            scratch_cards=dice.random() < 0.6,
            wallets=dice.random() < 0.5,
            till=dice.random() < 0.3,
            staff=dice.random() < 0.5,
            disputes=dice.random() < 0.7,
        )

    def healed(self) -> "Knobs":
        """Nothing fails any more, except that notices may stay lost: nobody promised them."""
        lost = self.notices_stay_lost
        return Knobs(lose_notice=1.0 if lost else 0.0, notices_stay_lost=lost, burst_s=self.burst_s)


class Wire:
    """The network between processes and far ends."""

    def __init__(self, kernel: Kernel, knobs: Knobs) -> None:
        self.kernel, self.knobs = kernel, knobs
        self.places: dict[str, tuple[Process, Handle]] = {}  # by the beginning of an address
        self.once_only: tuple[str, ...] = ()  # addresses whose POSTs arrive once at most: they do not de-duplicate

    def strikes(self, trouble: str) -> bool:
        """Does this trouble happen now?"""
        chance = getattr(self.knobs, trouble)
        return bool(chance) and self.kernel.dice.random() < chance

    def latency(self) -> float:
        """Of one way."""
        dice = self.kernel.dice
        return dice.uniform(5, 200) if self.strikes("late") else dice.uniform(0.01, 0.2)

    async def send(self, request: Request) -> Response:
        """One request, as the caller's process sees it."""
        answer: Response = await suspend(partial(self._go, request))
        return answer

    def _go(self, request: Request, task: Task) -> None:
        kernel, wait = self.kernel, task.wait
        path = request.url.partition("?")[0]
        kernel.note(task.process.name, "asks", request.method, path.partition("//")[2])
        place = next((found for prefix, found in self.places.items() if request.url.startswith(prefix)), None)
        if place is None or self.strikes("refused"):
            kernel.at(0.05, task.step, wait, None, NotSent("refused"))
            return
        kernel.at(request.timeout_s, task.step, wait, None, NoAnswer("time-out"))
        if not self.strikes("lost"):
            kernel.at(self.latency(), self._arrive, request, place, task, wait)
        if self.strikes("doubled") and not (request.method == "POST" and request.url.startswith(self.once_only)):
            kernel.at(self.latency(), self._arrive, request, place, task, wait)

    def _arrive(self, request: Request, place: tuple[Process, Handle], task: Task, wait: int) -> None:
        process, handle = place
        if not process.up:
            self.kernel.at(0.02, task.step, wait, None, NotSent("nobody listens"))
            return

        def answered(response: Response | None, error: BaseException | None) -> None:
            if isinstance(error, NoAnswer):
                return  # it stays silent
            if error is not None:
                self.kernel.errors.append(f"{process.name}: {type(error).__name__}: {error}")
            elif not self.strikes("lost"):
                self.kernel.at(self.latency(), task.step, wait, response)

        process.start(handle(request), answered)


class VirtualWorld:
    """One process's world."""

    def __init__(self, process: Process, wire: Wire) -> None:
        self.process, self.wire, self.kernel = process, wire, process.kernel

    def now(self) -> datetime:
        return self.kernel.time() + timedelta(seconds=self.process.skew_s)

    def db_now(self) -> datetime:
        return self.kernel.time()

    def new_id(self, prefix: str, cell: int) -> str:
        return make_id(prefix, cell, int(self.now().timestamp() * 1000), self.chance(60))

    def chance(self, bits: int) -> int:
        return self.kernel.dice.getrandbits(bits)

    async def sleep(self, seconds: float) -> None:
        await suspend(lambda task: self.kernel.at(seconds, task.step, task.wait))

    async def send(self, request: Request) -> Response:
        return await self.wire.send(request)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.process.start(work)


DUES = Statement("""
    -- When the timers of some orders ring
    SELECT o.id, o.due FROM unnest(:cells::smallint[], :ids::text[]) AS asked (cell, id)
      JOIN topup_order o ON o.cell = asked.cell AND o.id = asked.id
""")


@dataclass(slots=True)
class Answered:
    """A statement that was run at once."""

    rows: list[Row]
    count: int

    def must_touch(self, rows: int, says: str) -> None:
        if self.count != rows:
            raise CannotHappen(says)

    def __await__(self) -> Generator[Any, None, list[Row]]:
        yield from ()
        return self.rows


class SyncTx(Tx):
    """A transaction on the run's one connection. It never waits, so a transaction is one step of virtual time."""

    def __init__(self, cursor: "psycopg.RawCursor[Row]") -> None:
        self._cursor = cursor
        self.written: dict[str, None] = {}  # orders whose rows it changed
        self.attempted = False  # it wrote down that something will be sent, or what became of it

    def _execute(self, statement: Statement, parameters: Mapping[str, Any]) -> None:
        self._cursor.execute(statement.wire, statement.values(parameters), prepare=True)
        if "ids" in parameters and _writes(statement, "topup_order"):
            self.written.update(dict.fromkeys(parameters["ids"]))
        self.attempted = self.attempted or _writes(statement, "topup_attempt")

    def dues(self) -> list[tuple[str, datetime | None]]:
        """The timers that it set."""
        if not self.written:
            return []
        ids = list(self.written)
        self._execute(DUES, {"cells": [cell_of_id(id_) for id_ in ids], "ids": ids})
        return self._cursor.fetchall()

    def ask(self, statement: Statement, **parameters: Any) -> Asked:
        self._execute(statement, parameters)
        return Answered(self._cursor.fetchall() if self._cursor.description else [], self._cursor.rowcount)


@cache
def _writes(statement: Statement, table: str) -> bool:
    return re.search(rf"(INSERT INTO|UPDATE) {table}\b", statement.text) is not None


class Books:
    """The one real PostgreSQL behind all processes of a run, and a bell that rings when an order is due."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(psycopg.conninfo.make_conninfo(dsn, options=SESSION + POINTED))
        self.connection.prepared_max = None
        self.attempted = False  # by the latest transaction
        self._kernel: Kernel | None = None

    def begin(self, kernel: Kernel) -> None:
        """A new run."""
        self._kernel = kernel
        self._dues: dict[str, datetime | None] = {}
        self._waiting: list[tuple[Task, int]] = []
        self._rang = False

    def run(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Runs one transaction to its end. Raises what `work` raises, after a rollback."""
        tx = SyncTx(psycopg.RawCursor(self.connection))
        token = in_transaction.set(True)
        running = work(tx).__await__()
        try:
            next(running)
        except StopIteration as end:
            dues = tx.dues()
            self.connection.commit()
            self.attempted = tx.attempted
            self._set_timers(dues)
            return end.value
        except BaseException:
            self.connection.rollback()
            raise
        finally:
            in_transaction.reset(token)
        raise AssertionError("a transaction waited for something")

    # Idle workers do not ask the database twice a second whether something is due: they are woken when it is.

    async def due(self) -> None:
        """Waits until some order's timer rings."""
        await suspend(self._wait)

    def _wait(self, task: Task) -> None:
        if self._rang:
            self._rang = False
            task.process.kernel.at(0.0, task.step, task.wait)
        else:
            self._waiting.append((task, task.wait))

    def _set_timers(self, dues: list[tuple[str, datetime | None]]) -> None:
        kernel = self._kernel
        assert kernel is not None
        for order_id, due in dues:
            if due is not None and self._dues.get(order_id) != due:
                wait = max((due - kernel.time()).total_seconds(), 0.0) + kernel.dice.uniform(0.001, 1.0)
                kernel.at(wait, self._ring, order_id, due)
            self._dues[order_id] = due

    def _ring(self, order_id: str, due: datetime) -> None:
        kernel = self._kernel
        assert kernel is not None
        if self._dues.get(order_id) != due:
            return
        kernel.grave += [task.work for task, _ in self._waiting if not task.alive]
        self._waiting = [(task, wait) for task, wait in self._waiting if task.alive]
        awake = [(task, wait) for task, wait in self._waiting if task.process.frozen_until <= kernel.now]
        if not awake:
            self._rang = True
            return
        chosen = kernel.dice.choice(awake)
        self._waiting.remove(chosen)
        chosen[0].step(chosen[1])


class VirtualDatabase(Database):
    """One process's way to the books: it may be down, slow, or lose the answer to a commit."""

    def __init__(self, world: VirtualWorld, books: Books) -> None:
        self._world, self._books = world, books

    async def transaction(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        return await rerun(self._once, work, self._world.sleep)

    async def _once(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        done: T = await suspend(partial(self._go, work))
        return done

    def _go(self, work: Callable[[Tx], Awaitable[T]], task: Task) -> None:
        kernel, wire = self._world.kernel, self._world.wire
        wait_s = kernel.dice.uniform(0.0005, 0.01) * wire.knobs.db_slow
        kernel.at(wait_s, self._run, work, task, task.wait)

    def _run(self, work: Callable[[Tx], Awaitable[T]], task: Task, wait: int) -> None:
        kernel, wire = self._world.kernel, self._world.wire
        if not task.alive:
            kernel.grave.append(task.work)  # killed before COMMIT: nothing happened
            return
        if kernel.now < task.process.frozen_until:
            kernel.at(task.process.frozen_until - kernel.now, self._run, work, task, wait)
            return
        if wire.strikes("db_down"):
            task.step(wait, None, psycopg.OperationalError("the database is down"))
            return
        try:
            done = self._books.run(work)
        except COLLISION as collision:
            task.step(wait, None, collision)
        except Exception as error:
            task.step(wait, None, error)
        else:
            # A worker that sleeps over an attempt is the one that others overtake.
            task.process.may_freeze(4 if self._books.attempted else 0.5)
            if wire.strikes("commit_unknown"):
                task.step(wait, None, psycopg.OperationalError("the answer to COMMIT was lost"))
            else:
                task.step(wait, done)


__all__ = ["Books", "Knobs", "VirtualDatabase", "VirtualWorld", "Wire"]
