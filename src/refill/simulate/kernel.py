"""Virtual time: tasks that wait, processes that die, freeze and boot, and one seed that decides everything."""

import hashlib
import heapq
import types
from collections.abc import Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

EPOCH = datetime(2026, 11, 22, tzinfo=UTC)

Register = Callable[["Task"], None]
Ended = Callable[[Any, BaseException | None], None]


@types.coroutine
def suspend(register: Register) -> Generator[Register, Any, Any]:
    """The only thing that is ever awaited here: `register` is told which task waits, and steps it later."""
    return (yield register)


class Kernel:
    """One run: its clock (seconds since `began`), its dice, what is still to happen, and what happened."""

    def __init__(self, seed: int, began: datetime = EPOCH) -> None:
        self.dice = Random(seed)
        self.began = began
        self.now = 0.0
        self.grave: list[Coroutine[Any, Any, Any]] = []  # killed tasks, kept so that no `finally` of theirs runs
        self.trace: list[str] = []
        self.errors: list[str] = []  # what escaped from a task: nothing may
        self._todo: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._digest = hashlib.sha256()

    def at(self, delay_s: float, what: Callable[..., None], *given: Any) -> None:
        """Calls `what` after some seconds; what is due at the same moment happens in the order in which it was asked."""
        self._count += 1
        heapq.heappush(self._todo, (self.now + delay_s, self._count, what, given))

    def run(self, until: float) -> None:
        """Lets time pass."""
        while self._todo and self._todo[0][0] <= until:
            self.now, _, what, given = heapq.heappop(self._todo)
            what(*given)
        self.now = until

    @property
    def idle(self) -> bool:
        """Is nothing left to happen?"""
        return not self._todo

    @property
    def next_at(self) -> float:
        """When the next thing happens."""
        return self._todo[0][0]

    def time(self) -> datetime:
        """The true time."""
        return self.began + timedelta(seconds=self.now)

    def note(self, *what: object) -> None:
        """Something that happened. Notes make the digest, so keys and signatures never stand in one."""
        line = f"{self.now:.6f} {' '.join(map(str, what))}"
        self._digest.update(line.encode() + b"\n")
        self.trace.append(line)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def bury(self) -> None:
        """After the run: ends what was killed or still waits. Whatever their `finally` does reaches nobody now."""
        for dead in self.grave:
            try:
                dead.close()
            except RuntimeError:  # it waits again in its `finally`
                continue
        self.grave.clear()
        self._todo.clear()


class Process:
    """One process of the system under test: its own clock, its own death."""

    def __init__(self, kernel: Kernel, name: str, *, mortal: bool = True) -> None:
        self.kernel, self.name, self.mortal = kernel, name, mortal
        self.life = 0  # counts boots
        self.up = True
        self.skew_s = 0.0
        self.frozen_until = 0.0
        self.dies_at_await = 0.0  # the chance at each step
        self.freezes_at_commit = 0.0  # the chance after each commit, three times at most
        self.freezes_left = 3
        self.freezes_until = 0.0  # later it does not freeze any more
        self.on_boot: Callable[[], None] = lambda: None

    def start(self, work: Coroutine[Any, Any, Any], ended: Ended | None = None) -> None:
        """Runs `work` in this process, from now on, until it first waits."""
        Task(self, work, ended).step(0)

    def kill(self) -> None:
        """kill -9: memory is gone, no `finally` runs; it boots again after a while."""
        if not self.up or not self.mortal:
            return
        self.kernel.note("killed", self.name)
        self.up = False
        self.life += 1
        self.frozen_until = 0.0
        self.kernel.at(self.kernel.dice.uniform(0.1, 20), self.boot)

    def boot(self) -> None:
        """Starts again with an empty memory."""
        if not self.up:
            self.up = True
            self.kernel.note("booted", self.name)
            self.on_boot()

    def freeze(self, seconds: float) -> None:
        """The machine sleeps, or the garbage of a neighbour is collected: everything in it goes on later."""
        self.kernel.note("frozen", self.name)
        self.frozen_until = self.kernel.now + seconds

    def may_die(self) -> None:
        """Perhaps it dies in this very moment."""
        if self.dies_at_await and self.kernel.dice.random() < self.dies_at_await:
            self.kill()

    def may_freeze(self, times: float = 1.0) -> None:
        """Perhaps it freezes now, between what it wrote down and what it does about it; `times` as likely as usual."""
        if not self.freezes_left or self.kernel.now > self.freezes_until:
            return
        if self.kernel.dice.random() < times * self.freezes_at_commit:
            self.freezes_left -= 1
            self.freeze(self.kernel.dice.uniform(600, 1000))


class Task:
    """A coroutine in a process. Whoever steps it names the wait that they answer, so a late answer finds nobody."""

    __slots__ = ("ended", "life", "process", "wait", "work")

    def __init__(self, process: Process, work: Coroutine[Any, Any, Any], ended: Ended | None) -> None:
        self.process, self.work, self.ended = process, work, ended
        self.life, self.wait = process.life, 0

    @property
    def alive(self) -> bool:
        return self.life == self.process.life

    def step(self, wait: int, value: Any = None, error: BaseException | None = None) -> None:
        """Goes on with a value or an error, until it waits again."""
        process, kernel = self.process, self.process.kernel
        if wait != self.wait:
            return
        if wait and self.alive and kernel.now >= process.frozen_until:
            process.may_die()
        if not self.alive:
            self.wait += 1
            kernel.grave.append(self.work)
            return
        if kernel.now < process.frozen_until:
            kernel.at(process.frozen_until - kernel.now, self.step, wait, value, error)
            return
        self.wait += 1
        try:
            register = self.work.throw(error) if error is not None else self.work.send(value)
        except StopIteration as end:
            if self.ended:
                self.ended(end.value, None)
        except Exception as escaped:
            if self.ended:
                self.ended(None, escaped)
            else:
                kernel.errors.append(f"{process.name}: {type(escaped).__name__}: {escaped}")
        else:
            register(self)
