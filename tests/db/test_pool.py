"""Transactions run again when they collided or their commit is in doubt, and never wait for a stranger."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from refill.db import Pool, Statement, Tx, unsafe_settings
from refill.db.pool import ATTEMPTS
from refill.errors import Busy, CannotHappen
from refill.world import in_transaction


def sql(text: str) -> Statement:
    statement = Statement(text)
    Statement.every.remove(statement)
    return statement


PID = sql("SELECT pg_backend_pid()")
KILL = sql("SELECT pg_terminate_backend(:pid::int)")
COUNT = sql("SELECT count(*) FROM cases_case")
KEEP = sql(
    "INSERT INTO cases_case (id, kind, about, says, opened_at, due_at)"
    " VALUES (:id, 'difference', 'x', 'y', '2026-11-22', '2026-11-23') ON CONFLICT DO NOTHING"
)
UPDATE = sql("UPDATE cases_case SET says = says || '.' WHERE id = :id")


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=4).open()
    yield pool
    await pool.close()


async def test_what_was_done_is_committed_and_the_answer_comes_back(pool: Pool) -> None:
    async def work(tx: Tx) -> str:
        assert await tx.run(KEEP, id="a") == 1
        assert await tx.run(KEEP, id="a") == 0
        assert await tx.value(COUNT) == 1
        assert await tx.row(sql("SELECT id FROM cases_case WHERE id = 'nobody'")) is None
        assert await tx.value(sql("SELECT id FROM cases_case WHERE id = 'nobody'")) is None
        return "done"

    assert await pool.transaction(work) == "done"
    assert await pool.transaction(lambda tx: tx.rows(COUNT)) == [(1,)]


async def test_an_error_undoes_everything_and_comes_out_as_it_is(pool: Pool) -> None:
    runs = 0

    async def work(tx: Tx) -> None:
        nonlocal runs
        runs += 1
        await tx.run(KEEP, id="a")
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        await pool.transaction(work)
    assert runs == 1
    assert await pool.transaction(lambda tx: tx.value(COUNT)) == 0


async def test_everybody_knows_while_a_transaction_is_open(pool: Pool) -> None:
    async def work(tx: Tx) -> bool:
        return in_transaction.get()

    assert not in_transaction.get()
    assert await pool.transaction(work)
    assert not in_transaction.get()

    async def fails(tx: Tx) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await pool.transaction(fails)
    assert not in_transaction.get()


async def test_two_that_wait_for_each_other_both_succeed_in_the_end(pool: Pool) -> None:
    async def fill(tx: Tx) -> None:
        await tx.run(KEEP, id="a")
        await tx.run(KEEP, id="b")

    await pool.transaction(fill)
    runs = 0
    both_hold_one = asyncio.Barrier(2)

    async def crossed(first: str, second: str) -> None:
        met = False

        async def work(tx: Tx) -> None:
            nonlocal runs, met
            runs += 1
            await tx.run(UPDATE, id=first)
            if not met:
                met = True
                await both_hold_one.wait()
            await tx.run(UPDATE, id=second)

        await pool.transaction(work)

    await asyncio.gather(crossed("a", "b"), crossed("b", "a"))
    assert runs >= 3, "one of them was rerun"
    assert await pool.transaction(lambda tx: tx.rows(sql("SELECT says FROM cases_case"))) == [("y..",), ("y..",)]


async def test_what_nobody_awaits_travels_with_the_next_and_with_the_commit(pool: Pool) -> None:
    async def work(tx: Tx) -> list[int]:
        tx.ask(KEEP, id="a")
        twice = [tx.ask(KEEP, id="b"), tx.ask(KEEP, id="b")]
        counted = await tx.value(COUNT)
        tx.ask(UPDATE, id="a")
        return [counted, *(one.count for one in twice)]

    assert await pool.transaction(work) == [2, 1, 0]
    assert await pool.transaction(lambda tx: tx.rows(sql("SELECT says FROM cases_case ORDER BY id"))) == [
        ("y.",),
        ("y",),
    ]


async def test_what_nobody_awaits_can_still_refuse_the_commit(pool: Pool) -> None:
    async def work(tx: Tx) -> None:
        await tx.run(KEEP, id="a")
        tx.ask(sql("UPDATE cases_case SET says = NULL"))
        tx.ask(KEEP, id="b")

    with pytest.raises(psycopg.errors.NotNullViolation):
        await pool.transaction(work)
    assert await pool.transaction(lambda tx: tx.value(COUNT)) == 0

    async def too_few(tx: Tx) -> None:
        await tx.run(KEEP, id="a")
        tx.ask(UPDATE, id="nobody").must_touch(1, "A row is missing.")

    with pytest.raises(CannotHappen, match="A row is missing"):
        await pool.transaction(too_few)
    assert await pool.transaction(lambda tx: tx.value(COUNT)) == 0


async def test_an_error_of_ours_undoes_what_still_stood_in_line(pool: Pool) -> None:
    async def work(tx: Tx) -> None:
        tx.ask(KEEP, id="a")
        tx.ask(sql("SELECT 1 / 0"))
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        await pool.transaction(work)
    assert await pool.transaction(lambda tx: tx.value(COUNT)) == 0


async def test_whoever_is_cancelled_in_mid_sentence_leaves_nothing_behind(pool: Pool) -> None:
    async def work(tx: Tx) -> None:
        await tx.run(KEEP, id="a")
        await tx.rows(sql("SELECT pg_sleep(5)"))

    task = asyncio.ensure_future(pool.transaction(work))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await pool.transaction(lambda tx: tx.value(COUNT)) == 0


async def test_a_connection_that_breaks_is_replaced_and_the_work_runs_again(pool: Pool) -> None:
    runs = 0

    async def work(tx: Tx) -> int:
        nonlocal runs
        runs += 1
        pid = await tx.value(PID)
        if runs == 1:
            await pool.transaction(lambda other: other.value(KILL, pid=pid))
        return await tx.run(KEEP, id="a")

    assert await pool.transaction(work) == 1
    assert runs == 2


async def test_a_pool_survives_the_end_of_all_its_connections(pool: Pool, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'refill' AND pid <> pg_backend_pid()"
        )
    assert await pool.transaction(lambda tx: tx.value(COUNT)) == 0


@pytest.mark.parametrize(
    "error", [psycopg.errors.DeadlockDetected("ring"), psycopg.OperationalError("gone")], ids=["collision", "lost"]
)
async def test_what_never_succeeds_is_busy_at_last(pool: Pool, error: Exception) -> None:
    runs = 0

    async def work(tx: Tx) -> None:
        nonlocal runs
        runs += 1
        raise error

    with pytest.raises(Busy):
        await pool.transaction(work)
    assert runs == ATTEMPTS


async def test_settings_under_which_money_could_be_lost_are_found(pool: Pool) -> None:
    found = await pool.transaction(unsafe_settings)
    assert "fsync=off" in found  # the throw-away server of these tests promises nothing over a power cut
    assert all("=off" in line for line in found)
