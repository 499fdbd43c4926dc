"""Whoever starts first makes the tables, once; an old program leaves a newer database alone; a page never waits for itself."""

import asyncio
import threading
from typing import Any

import psycopg
import pytest

from refill.channels.people import bridge
from refill.channels.people.migrate import SchemaTooNew, migrate, on_disk


def applied(dsn: str) -> set[tuple[str, str]]:
    with psycopg.connect(dsn) as connection:
        return set(connection.execute("SELECT app, name FROM django_migrations").fetchall())


def test_all_that_is_on_disk_is_applied_and_nothing_else(fresh_dsn: str) -> None:
    assert applied(fresh_dsn) == on_disk()
    assert {"ledger", "topup", "people", "sessions"} <= {app for app, _ in on_disk()}


def test_a_database_that_is_up_to_date_is_left_alone(fresh_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(fresh_dsn, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('somebody else'))")
        migrate(fresh_dsn)
    assert applied(fresh_dsn) == on_disk()


def test_two_that_start_at_once_both_find_a_migrated_database(postgres: Any) -> None:
    dsn = postgres.ensure_database("migrated_by_two")
    story = threading.Barrier(2)
    failures: list[BaseException] = []

    def start() -> None:
        story.wait()
        try:
            migrate(dsn)
        except BaseException as error:
            failures.append(error)

    starts = [threading.Thread(target=start) for _ in range(2)]
    for each in starts:
        each.start()
    for each in starts:
        each.join()
    assert failures == []
    assert applied(dsn) == on_disk()


def test_an_old_program_refuses_a_newer_database_with_a_sentence(fresh_dsn: str) -> None:
    with psycopg.connect(fresh_dsn) as connection:
        connection.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('topup', '0999_tomorrow', '2030-01-01')"
        )
    with pytest.raises(SchemaTooNew, match=r"topup\.0999_tomorrow"):
        migrate(fresh_dsn)


async def test_a_page_on_the_engines_own_thread_is_refused_and_does_not_hang() -> None:
    with pytest.raises(AssertionError, match="wait for itself"):
        bridge.ask(asyncio.sleep(0))
