"""Where a bench happens: a durable PostgreSQL in a new folder, one server at a time on its core, the load on the other."""

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg import sql

from refill.bench.leg import Load, Outcome
from refill.db.embedded import Server

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def cores() -> tuple[int | None, int | None]:
    """The servers' core and the client's; none are pinned where there is only one."""
    free = sorted(os.sched_getaffinity(0))
    return (free[0], free[1]) if len(free) > 1 else (None, None)


class Stage:
    """PostgreSQL with the product's own settings; gone with everything in it when the bench ends."""

    def __init__(self) -> None:
        self.server_core, self.client_core = cores()

    def __enter__(self) -> "Stage":
        self.home = Path(tempfile.mkdtemp(prefix="refill-bench-"))
        self.home.chmod(0o755)  # the database's own user must pass through
        self.postgres = Server(self.home).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.postgres.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    @contextlib.contextmanager
    def serving(self, kind: str, **environment: str) -> Iterator["Serving"]:
        """One of the servers of `bench.serve`, from its first to its last second."""
        started = {**os.environ, **environment, "PYTHONPATH": str(BENCHMARKS), "PYTHONHASHSEED": "0"}
        if self.server_core is not None:
            started["BENCH_CORE"] = str(self.server_core)
        process = subprocess.Popen(
            [sys.executable, "-m", "refill.bench.serve", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=started,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.strip().isdigit():
                raise RuntimeError(f"the {kind} server did not start")
            yield Serving(self, process.pid, int(line))
        finally:
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def make_ours(self) -> None:
        """An empty, migrated database for the product; where it is, `BENCH_DSN` and `BENCH_HOME` tell our processes."""
        dsn = self.postgres.ensure_database("refill")
        folder = self.home / "refill"
        folder.mkdir()
        os.environ["BENCH_DSN"], os.environ["BENCH_HOME"] = dsn, str(folder)
        migration = "import sys; from refill.channels.people.migrate import migrate; migrate(sys.argv[1])"
        subprocess.run([sys.executable, "-c", migration, dsn], check=True)

    def where(self, database: str, bearer: str) -> dict[str, str]:
        """How the naive version finds its database, and the key of its one partner."""
        parts = psycopg.conninfo.conninfo_to_dict(self.postgres.dsn(database))
        return {
            "NAIVE_HOST": str(parts["host"]),
            "NAIVE_USER": str(parts["user"]),
            "NAIVE_NAME": database,
            "NAIVE_BEARER": bearer,
        }

    def settle(self, *grown: str) -> None:
        """A checkpoint, so that no leg pays for what was loaded before it; statistics of the tables that were filled.

        Not of empty ones: a plan made for a table that is known to be empty would be kept while it grows.
        """
        with psycopg.connect(self.postgres.dsn("refill"), autocommit=True) as connection:
            for table in grown:
                connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
            connection.execute("CHECKPOINT")

    def ask_python(self, module: str, *arguments: str) -> str:
        """Runs a module on the servers' core and returns what it printed."""
        environment = dict(os.environ)
        if self.server_core is not None:
            environment["BENCH_CORE"] = str(self.server_core)
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout

    def run_python(self, module: str, environment: Mapping[str, str], text: str) -> None:
        """A step in a process of its own, because Django is set up once in a process."""
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=text,
            env={**os.environ, **environment, "PYTHONPATH": str(BENCHMARKS)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")


class Serving:
    """A running server."""

    def __init__(self, stage: Stage, pid: int, port: int) -> None:
        self.stage = stage
        self.pid = pid
        self.port = port

    def under(self, load: Load) -> Outcome:
        """Puts a load on it and returns what the client saw. Raises RuntimeError when anything was refused."""
        load = replace(load, port=self.port, core=self.stage.client_core)
        done = subprocess.run(
            [sys.executable, "-m", "refill.bench.load"], input=pickle.dumps(load), stdout=subprocess.PIPE, check=True
        )
        outcome: Outcome = pickle.loads(done.stdout)  # noqa: S301 - from the process that we started
        if outcome.refused:
            raise RuntimeError(
                f"{outcome.refused} of {outcome.answered} requests were refused, such as:\n{outcome.example}"
            )
        return outcome

    def memory_mb(self) -> float:
        """Resident memory of the server's process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0
