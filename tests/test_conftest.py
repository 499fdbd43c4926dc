"""What every other test stands on: a real database that is empty but for what the migrations put there."""

import psycopg
import pytest

from refill.db.embedded import Server


def counts(dsn: str) -> dict[str, int]:
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname <> 'information_schema'"
        ).fetchall()
        found = {}
        for (table,) in tables:
            row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            found[table] = row[0] if row else 0
        return found


def test_the_shared_database_begins_as_the_migrations_left_it(dsn: str, fresh_dsn: str) -> None:
    assert counts(dsn) == counts(fresh_dsn)
    assert counts(dsn)["public.django_migrations"] > 0


@pytest.mark.parametrize("attempt", ["first", "second"])
def test_what_one_test_writes_the_next_does_not_see(dsn: str, attempt: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO django_session (session_key, session_data, expire_date) VALUES ('k', %s, '2030-01-01')",
            [attempt],
        )
    assert counts(dsn)["public.django_session"] == 1


def test_a_transaction_that_a_test_left_open_holds_nobody_up(worker_database, dsn: str) -> None:
    forgotten = psycopg.connect(dsn)
    forgotten.execute("LOCK TABLE django_session")
    worker_database.empty()
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("SELECT 1")


def test_a_test_can_have_a_database_of_its_own(dsn: str, fresh_dsn: str, postgres: Server) -> None:
    assert fresh_dsn != dsn
    assert postgres.is_up()


async def test_async_tests_share_one_loop_and_the_same_database(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        assert await (await connection.execute("SELECT current_setting('fsync')")).fetchone() == ("off",)
