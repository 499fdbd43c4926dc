"""Many seeds in a row, in one process or several: what `refill simulate` does."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from refill.db.embedded import THROWAWAY, Server
from refill.simulate.day import Day
from refill.simulate.truth import judge
from refill.simulate.world import Books

TRACE = 40  # lines of a failing seed that are shown
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
                    OR relname IN ('inbox_notice', 'cases_case', 'numbers_number'))
        """).fetchall()
        self._tables = [name for (name,) in rows]
        empty = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for name in self._tables]
        self._empty = sql.SQL("; ").join(empty).as_bytes(self._emptying)

    def live(self, seed: int, orders: int = 20) -> Lived:
        """One day from its seed, judged."""
        self._emptying.execute(self._empty)
        self._lived += 1
        if self._lived % VACUUM_EVERY == 0:
            self._emptying.execute("VACUUM")
        day = Day(seed, self.books, orders)
        day.run()
        findings = judge(day)
        day.kernel.bury()
        placed = len({order for told in day.heard.orders.values() for order in told})
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
