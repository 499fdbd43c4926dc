"""One throw-away PostgreSQL for a whole run, one database for each worker, and no row left over from the former test.

`dsn` is the worker's own migrated database, emptied before each test. `fresh_dsn` is a new one for a single test that
needs its own (another process, a restart, a lock storm). Both are real PostgreSQL with the product's schema.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from refill.db.embedded import THROWAWAY, Server

MEMORY = Path("/dev/shm")
PREFIX = "refill-tests-"
HOME = "TESTS_OF_REFILL_HOME"  # how the workers of one run find its server
TEMPLATE = "refill_template"
KEPT = {"django_migrations", "django_content_type", "auth_permission"}
SEEDED_ROWS_LIMIT = 1_000  # a migration's rows are put back after each test; larger tables are maps that no test writes

_server = pytest.StashKey[Server]()


def pytest_configure(config: pytest.Config) -> None:
    """The process that outlives all workers owns the run's folder, and the server that they share."""
    for name in [name for name in os.environ if name.startswith("REFILL_")]:
        del os.environ[name]  # a developer's own settings are no part of a claim
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    home = _new_home()
    os.environ[HOME] = str(home)
    config.stash[_server] = Server(home, THROWAWAY)
    if getattr(config.option, "numprocesses", None):
        config.stash[_server].start()


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(_server, None):
        server.stop()
        shutil.rmtree(server.home, ignore_errors=True)
        os.environ.pop(HOME, None)


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Server:
    """The run's server. It promises nothing over a power cut, and is fast."""
    return pytestconfig.stash.get(_server, Server(Path(os.environ[HOME]), THROWAWAY)).start()


@pytest.fixture(scope="session")
def template(postgres: Server) -> str:
    """The database that all others are copied from: migrated once in a run, by whoever comes first."""
    done = postgres.home / "template.done"
    with (postgres.home / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _migrate(postgres.ensure_database(TEMPLATE))
            done.touch()
    return TEMPLATE


@pytest.fixture(scope="session")
def worker_database(postgres: Server, template: str, worker_id: str) -> Iterator["WorkerDatabase"]:
    """This worker's database; tests use `dsn`, which empties it first."""
    name = f"refill_{worker_id}"
    _copy(postgres, template, name)
    database = WorkerDatabase(postgres.dsn(name))
    yield database
    database.connection.close()


@pytest.fixture
def dsn(worker_database: "WorkerDatabase") -> str:
    """A migrated database without any row but the migrations' own."""
    worker_database.empty()
    return worker_database.dsn


@pytest.fixture
def fresh_dsn(postgres: Server, template: str) -> Iterator[str]:
    """A migrated database of this test's own, dropped afterwards."""
    name = f"fresh_{uuid.uuid4().hex}"
    _copy(postgres, template, name)
    yield postgres.dsn(name)
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class WorkerDatabase:
    """A database and the one statement that brings it back to what the migrations left."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        # As a replica no trigger and no foreign key speaks: append-only tables can be emptied, in any order.
        options = "-c session_replication_role=replica -c lock_timeout=20s"
        self.connection = psycopg.connect(make_conninfo(dsn, options=options), autocommit=True)
        self._statement = self._emptying()

    def empty(self) -> None:
        """About a millisecond; transactions that the former test left open are ended first."""
        self.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
        )
        self.connection.execute(self._statement)

    def _emptying(self) -> bytes:
        tables = self.connection.execute("""
            SELECT c.oid, n.nspname, c.relname
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
               AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
             ORDER BY 2, 3
        """).fetchall()
        steps: list[sql.Composable] = []
        for oid, schema, name in tables:
            if name in KEPT:
                continue
            table = sql.Identifier(schema, name)
            seeds = self.connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
            rows = seeds[0] if seeds else 0
            if rows > SEEDED_ROWS_LIMIT:
                continue
            steps.append(sql.SQL("DELETE FROM {}").format(table))
            if rows:
                columns = self.connection.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped"
                    " AND attgenerated = ''",
                    [oid],
                ).fetchall()
                names = sql.SQL(", ").join(sql.Identifier(column) for (column,) in columns)
                seed = sql.Identifier(f"seed_{oid}")
                self.connection.execute(
                    sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {}").format(seed, names, table)
                )
                steps.append(
                    sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                        table, names, names, seed
                    )
                )
        return sql.SQL("; ").join(steps).as_bytes(self.connection) or b"SELECT 1"


def _new_home() -> Path:
    """A folder in memory that the server's own user may enter; folders of runs that were killed are removed."""
    base = MEMORY if os.access(MEMORY, os.W_OK) else Path("/tmp")
    with (base / f"{PREFIX}lock").open("a") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        for old in base.glob(PREFIX + "*/alive"):
            with contextlib.suppress(OSError), old.open("a") as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old.parent, ignore_errors=True)
        home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        home.chmod(0o755)
        held = (home / "alive").open("w")
        fcntl.flock(held, fcntl.LOCK_EX)
        _held.append(held)
    return home


_held: list[object] = []  # as long as this process lives, so does its folder


def _migrate(dsn: str) -> None:
    """In a process of its own: Django is set up once in a process, and the tests set it up for another database."""
    story = "import sys; from refill.channels.people.migrate import migrate; migrate(sys.argv[1])"
    ran = subprocess.run([sys.executable, "-c", story, dsn], capture_output=True, text=True)
    if ran.returncode != 0:
        raise RuntimeError(f"the migrations fail:\n{ran.stdout[-2000:]}{ran.stderr[-4000:]}")


def _copy(postgres: Server, template: str, name: str) -> None:
    """15 ms in memory."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        for patience in range(50):
            try:
                connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
                return
            except psycopg.errors.ObjectInUse:  # somebody's connection to the template is still closing
                if patience == 49:
                    raise
                time.sleep(0.1)
