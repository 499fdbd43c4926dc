"""Large work on a connection of its own: streams, lines of statements, and nothing kept of what fails."""

import psycopg
import pytest

from refill.db import Statement, Tx
from refill.db.bulk import Bulk, BulkTx
from refill.errors import CannotHappen

COPY = Statement("COPY cases_case (id, kind, about, says, opened_at, due_at) FROM STDIN")
COUNT = Statement("SELECT count(*) FROM cases_case")
DELETE = Statement("DELETE FROM cases_case WHERE id = :id")
for mine in (COPY, COUNT, DELETE):
    Statement.every.remove(mine)

ROWS = [(f"case:{n}", "difference", str(n), "a\tb\\c\n新", "2026-11-22", "2026-11-23") for n in range(1000)]


async def test_rows_are_streamed_in_and_statements_answered_in_order(dsn: str) -> None:
    async def work(tx: Tx) -> tuple[int, int, int]:
        assert isinstance(tx, BulkTx)
        tx.ask(DELETE, id="case:none").must_touch(0, "nothing is there yet")
        copied = await tx.copy(COPY, ROWS)
        gone = tx.ask(DELETE, id="case:1")
        left = await tx.value(COUNT)
        assert await gone == []
        return copied, gone.count, left

    assert await Bulk(dsn).transaction(work) == (1000, 1, 999)
    assert await Bulk(dsn).transaction(lambda tx: tx.value(COUNT)) == 999


async def test_what_fails_leaves_nothing(dsn: str) -> None:
    async def too_few(tx: Tx) -> None:
        assert isinstance(tx, BulkTx)
        await tx.copy(COPY, ROWS)
        tx.ask(DELETE, id="case:none").must_touch(1, "one must be there")

    async def twice(tx: Tx) -> None:
        assert isinstance(tx, BulkTx)
        await tx.copy(COPY, ROWS + ROWS)

    with pytest.raises(CannotHappen, match="one must be there"):
        await Bulk(dsn).transaction(too_few)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await Bulk(dsn).transaction(twice)
    assert await Bulk(dsn).transaction(lambda tx: tx.value(COUNT)) == 0
