"""Many seeds in a row, in one process or several, each with a database that is emptied between them."""

import contextlib
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from structlog.testing import capture_logs

from refill.db.embedded import THROWAWAY, Server
from refill.simulate.day import Day
from refill.simulate.mutants import planted
from refill.simulate.truth import judge
from refill.simulate.world import Books

T = TypeVar("T")
VACUUM_EVERY = 10  # seeds; emptied tables keep their dead rows until then


@dataclass(frozen=True)
class Lived:
    """One seed, lived through."""

    seed: int
    orders: int
    findings: list[str]
    digest: str
    trace: list[str]


class Runner:
    """Lives seeds one after the other in a database of its own."""

    def __init__(self, dsn: str) -> None:
        self.books = Books(dsn)
        self._emptying = psycopg.connect(dsn, autocommit=True)
        # As a replica no trigger speaks: append-only tables can be emptied.
        self._emptying.execute("SET session_replication_role = replica")
        self._lived = 0
        rows = self._emptying.execute("""
            SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
               AND (relname LIKE 'topup\\_%' OR relname LIKE 'ledger\\_%' OR relname LIKE 'cards\\_%'
                    OR relname LIKE 'vouchers\\_%' OR relname LIKE 'stock\\_%'
                    OR relname IN ('inbox_notice', 'cases_case', 'numbers_number'))
        """).fetchall()
        self._tables = [name for (name,) in rows]
        empty = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for name in self._tables]
        self._empty = sql.SQL("; ").join(empty).as_bytes(self._emptying)

    def empty(self) -> None:
        """Everything of the last day is forgotten."""
        self._emptying.execute(self._empty)

    def live(self, seed: int, orders: int = 20) -> Lived:
        """One day from its seed, judged."""
        self.empty()
        self._lived += 1
        gc.disable()  # a seed lives for a third of a second; its rings are swept together
        if self._lived % VACUUM_EVERY == 0:
            self._emptying.execute("VACUUM")
        day = Day(seed, self.books, orders)
        with capture_logs() as logs:
            day.run()
        day.kernel.errors += [f"{line}" for line in logs if line["log_level"] in ("error", "critical")]
        findings = judge(day)
        day.kernel.bury()
        gc.enable()
        placed = len({order for told in day.people.heard.orders.values() for order in told})
        return Lived(seed, placed, findings, day.kernel.digest, day.kernel.trace)

    def close(self) -> None:
        self.books.connection.close()
        self._emptying.close()


@contextlib.contextmanager
def database(names: Sequence[str]) -> Iterator[list[str]]:
    """A throw-away PostgreSQL in memory with migrated databases of these names; their addresses."""
    memory = Path("/dev/shm")  # noqa: S108
    base = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    home = Path(tempfile.mkdtemp(prefix="refill-simulate-", dir=base))
    home.chmod(0o755)
    server = Server(home, THROWAWAY)
    try:
        server.start()
        template = server.ensure_database("template_of_days")
        # In a process of its own: Django is set up once in a process, for one database.
        story = "import sys; from refill.channels.people.migrate import migrate; migrate(sys.argv[1])"
        subprocess.run([sys.executable, "-c", story, template], check=True)
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            for name in names:
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE template_of_days STRATEGY FILE_COPY")
                connection.execute(statement.format(sql.Identifier(name)))
        yield [server.dsn(name) for name in names]
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


# ------------------------------------------------------------------ in several processes

_runner: Runner | None = None  # of this process


def _open(dsn: str) -> None:
    global _runner
    _runner = Runner(dsn)


def live(seed: int, orders: int = 20) -> Lived:
    """One seed in this process's database."""
    assert _runner is not None
    lived = _runner.live(seed, orders)
    # A trace is long, and of interest only where something does not hold.
    return lived if lived.findings else Lived(seed, lived.orders, [], lived.digest, [])


@dataclass(frozen=True)
class Hunt:
    """What became of a planted bug: the number of seeds until it was found (None: it was not), and what was found."""

    names: tuple[str, ...]
    seeds: int | None
    findings: list[str]


def hunt(names: tuple[str, ...], start: int, most: int) -> Hunt:
    """Lives seeds with these bugs planted until one finds them."""
    assert _runner is not None
    with planted(names):
        for seed in range(start, start + most):
            lived = _runner.live(seed)
            if lived.findings:
                return Hunt(names, seed - start + 1, lived.findings)
    return Hunt(names, None, [])


class Crew:
    """Processes that live seeds side by side, each with its own database on one throw-away server."""

    def __init__(self, dsns: Sequence[str]) -> None:
        context = get_context("spawn")
        self._crew = [ProcessPoolExecutor(1, mp_context=context, initializer=_open, initargs=(dsn,)) for dsn in dsns]

    def each(self, what: Callable[..., T], tasks: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """`what(*task)` for every task, as they are done; whoever is idle takes the next."""
        waiting = iter(tasks)
        busy: dict[Future[T], ProcessPoolExecutor] = {}
        for one in self._crew:
            for task in _next(waiting):
                busy[one.submit(what, *task)] = one
        while busy:
            done, _ = wait(busy, return_when=FIRST_COMPLETED)
            for future in done:
                one = busy.pop(future)
                for task in _next(waiting):
                    busy[one.submit(what, *task)] = one
                yield future.result()

    def close(self) -> None:
        for one in self._crew:
            one.shutdown(cancel_futures=True)


def _next(waiting: Iterator[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [task for task in (next(waiting, None),) if task is not None]


@contextlib.contextmanager
def crew(jobs: int) -> Iterator[Crew]:
    """A crew of `jobs` processes, and their databases for as long."""
    with database([f"days_{n}" for n in range(jobs)]) as dsns:
        members = Crew(dsns)
        try:
            yield members
        finally:
            members.close()
