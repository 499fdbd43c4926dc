"""The database that Refill brings along starts anywhere, survives every kill, and says in a sentence why it cannot."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from refill.db.embedded import ALWAYS, PRODUCT, EmbeddedDatabaseError, Server, _is_running, _postmaster_of

SMALL = {**PRODUCT, "shared_buffers": "16MB", "huge_pages": "off"}  # durable as the product, light as a test


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that the server's own user can enter; pytest's tmp_path is closed to it."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="refill-embedded-", dir=base))
    folder.chmod(0o755)
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    running = Server(home, SMALL).start()
    yield running
    running.stop()


def rows(server: Server) -> int:
    with psycopg.connect(server.dsn(), connect_timeout=5) as connection:
        counted = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert counted is not None
        return int(counted[0])


def keep_a_row(server: Server) -> None:
    with psycopg.connect(server.ensure_database(), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
        connection.execute("INSERT INTO kept VALUES (1)")


def soon(claim: Callable[[], bool], within_s: float = 20) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        with contextlib.suppress(psycopg.OperationalError):
            if claim():
                return True
        time.sleep(0.02)
    return False


def another_process(home: Path) -> "subprocess.Popen[str]":
    """Another of our processes over the same home: it prints `up`, then sleeps."""
    story = (
        "import sys, time; from pathlib import Path; from refill.db.embedded import Server\n"
        f"server = Server(Path(sys.argv[1]), {SMALL!r}).start(); server.watch()\n"
        "print('ours' if server.is_ours else 'shared', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", story, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.said = process.stdout.readline().strip()  # type: ignore[attr-defined]
    return process


def test_it_starts_in_an_empty_folder_and_keeps_what_was_written_over_a_stop(home: Path) -> None:
    server = Server(home, SMALL).start()
    keep_a_row(server)
    server.stop()
    assert not _is_running(server.data)
    server.start()
    try:
        assert rows(server) == 1
    finally:
        server.stop()


def test_it_listens_on_no_port_and_keeps_rows_out_of_its_log(server: Server) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        shown = connection.execute("SELECT current_setting('listen_addresses'), current_setting('fsync')").fetchone()
        assert shown == ("", "on")
        connection.execute("CREATE TABLE people (msisdn text PRIMARY KEY)")
        connection.execute("INSERT INTO people VALUES ('8613800138000')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO people VALUES ('8613800138000')")
    assert "13800138000" not in (server.home / "postgres.log").read_text()


def test_databases_are_made_once_even_by_two_at_the_same_time(server: Server) -> None:
    makers = [threading.Thread(target=server.ensure_database, args=["shop"]) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    with psycopg.connect(server.ensure_database("shop")) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("shop",)


def test_a_killed_postmaster_is_started_again_and_nothing_is_lost(server: Server) -> None:
    keep_a_row(server)
    told = threading.Event()
    server.watch(told.set)
    for _ in range(3):
        killed = _postmaster_of(server.data)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        assert soon(lambda killed=killed: _postmaster_of(server.data) not in (None, killed) and rows(server) == 1)
    assert told.is_set()


def test_restart_after_a_fall_without_a_watcher(server: Server) -> None:
    keep_a_row(server)
    killed = _postmaster_of(server.data)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert soon(lambda: not server.is_up())
    server.restart()
    assert rows(server) == 1


def test_when_we_are_killed_the_server_closes_cleanly_and_the_next_start_finds_all(home: Path) -> None:
    other = another_process(home)
    assert other.said == "ours"  # type: ignore[attr-defined]
    server = Server(home, SMALL).start()
    assert not server.is_ours
    keep_a_row(server)
    other.kill()
    other.wait()
    server.start()  # while the orphan is still shutting down
    try:
        assert server.is_ours or soon(lambda: server.start().is_ours)
        assert rows(server) == 1
    finally:
        server.stop()


def test_the_server_outlives_the_thread_that_started_it(home: Path) -> None:
    server = Server(home, SMALL)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        time.sleep(0.3)
        keep_a_row(server)
        assert rows(server) == 1
    finally:
        server.stop()


def test_two_processes_share_one_server_and_the_second_takes_over(home: Path) -> None:
    first = another_process(home)
    second = another_process(home)
    looking = Server(home, SMALL).start()
    try:
        assert (first.said, second.said, looking.is_ours) == ("ours", "shared", False)  # type: ignore[attr-defined]
        keep_a_row(looking)
        before = _postmaster_of(looking.data)
        first.kill()
        first.wait()
        assert soon(lambda: _postmaster_of(looking.data) not in (None, before) and rows(looking) == 1)
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
        assert soon(lambda: not _is_running(looking.data))


def test_a_number_left_behind_by_a_killed_server_and_borne_by_a_stranger_does_not_stop_us(home: Path) -> None:
    server = Server(home, SMALL).start()
    keep_a_row(server)
    left_behind = (server.data / "postmaster.pid").read_text().splitlines()
    server.stop()
    (server.data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *left_behind[1:]]) + "\n")
    server.start()
    try:
        assert rows(server) == 1
    finally:
        server.stop()


def test_a_path_too_long_for_a_socket_works_too(home: Path) -> None:
    server = Server(home / ("long" * 30), SMALL).start()
    try:
        keep_a_row(server)
        assert rows(server) == 1
        assert "/tmp/refill-" in server.dsn()
    finally:
        server.stop()


def test_a_half_made_cluster_is_made_again(home: Path) -> None:
    (home / "data.new" / "base").mkdir(parents=True)
    for folder in (home, home.parent):
        folder.chmod(0o755)
    server = Server(home, SMALL).start()
    server.stop()


def test_what_cannot_be_is_said_in_a_sentence_that_names_the_folder(home: Path) -> None:
    home.parent.joinpath("file").write_text("")
    with pytest.raises(EmbeddedDatabaseError, match="file"):
        Server(home.parent / "file", SMALL).start()

    (home / "data").mkdir(parents=True)
    (home / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(EmbeddedDatabaseError, match=r"made by PostgreSQL 15") as old:
        Server(home, SMALL).start()
    assert str(home) in str(old.value)

    shutil.rmtree(home)
    with pytest.raises(EmbeddedDatabaseError, match="no_such_setting") as wrong:
        Server(home, {"no_such_setting": "1"}).start()
    assert str(home) in str(wrong.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_root_is_told_when_the_servers_user_cannot_enter_the_folder(home: Path) -> None:
    home.parent.chmod(0o700)
    with pytest.raises(EmbeddedDatabaseError, match="cannot enter"):
        Server(home, SMALL).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_who_is_not_root_runs_it_as_themselves(home: Path) -> None:
    nobody = 65534
    home.mkdir()
    os.chown(home, nobody, nobody)
    story = (
        "import sys; from pathlib import Path; from refill.db.embedded import Server\n"
        f"server = Server(Path(sys.argv[1]), {SMALL!r}).start(); server.ensure_database(); server.stop(); print('done')"
    )
    command = [sys.executable, "-c", story, str(home)]
    if subprocess.run(["test", "-x", sys.executable], user=nobody, group=nobody).returncode != 0:
        pytest.skip("this Python lies in a private folder")
    ran = subprocess.run(command, user=nobody, group=nobody, extra_groups=[], capture_output=True, text=True, cwd="/")
    assert ran.stdout.strip() == "done", ran.stderr


def test_the_product_never_trades_durability_for_speed() -> None:
    kept = {**PRODUCT, **ALWAYS}
    assert (kept["fsync"], kept["synchronous_commit"], kept["full_page_writes"]) == ("on", "on", "on")
