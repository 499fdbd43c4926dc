"""One connection of its own for large work: plans may read whole tables, and rows are streamed into one."""

import asyncio
from collections.abc import Generator, Iterable
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from refill.db.pool import SESSION, T, Tx, Work, rerun
from refill.db.statement import Statement
from refill.db.talk import Row
from refill.errors import CannotHappen
from refill.world import in_transaction

BREATH = 256  # rows that are streamed before others on the same loop have their turn


class BulkTx(Tx):
    """A transaction that can also stream rows into a table."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._cursor = psycopg.AsyncRawCursor(connection)
        self._line: list[Standing] = []

    def ask(self, statement: Statement, **parameters: Any) -> "Standing":
        standing = Standing(self, statement, statement.values(parameters))
        self._line.append(standing)
        return standing

    async def copy(self, statement: Statement, rows: Iterable[Row]) -> int:
        """Streams `rows` into the table that a COPY … FROM STDIN names, never holding them; returns how many they were."""
        await self.send()
        count = 0
        async with self._cursor.copy(statement.wire) as copy:
            for row in rows:
                await copy.write_row(row)
                count += 1
                if count % BREATH == 0:
                    await asyncio.sleep(0)
        return count

    async def send(self) -> None:
        """Runs everything that stands in line."""
        line, self._line = self._line, []
        for one in line:
            await self._cursor.execute(one.statement.wire, one.values, prepare=True)
            one.count = self._cursor.rowcount
            one.rows = await self._cursor.fetchall() if self._cursor.description else []
            if one.must is not None and one.must[0] != one.count:
                raise CannotHappen(one.must[1])


class Standing:
    """A statement in line."""

    def __init__(self, tx: BulkTx, statement: Statement, values: list[Any]) -> None:
        self._tx, self.statement, self.values = tx, statement, values
        self.rows: list[Row] | None = None
        self.count = 0
        self.must: tuple[int, str] | None = None

    def must_touch(self, rows: int, says: str) -> None:
        self.must = rows, says

    def __await__(self) -> Generator[Any, None, list[Row]]:
        if self.rows is None:
            yield from self._tx.send().__await__()
        assert self.rows is not None
        return self.rows


class Bulk:
    """A `Database` whose every transaction is a `BulkTx` on a new connection; for a few large pieces of work a day."""

    def __init__(self, dsn: str) -> None:
        self._conninfo = make_conninfo(dsn, options=f"{SESSION} -c work_mem=64MB", application_name="refill bulk")

    async def transaction(self, work: Work[T]) -> T:
        return await rerun(self._once, work, asyncio.sleep)

    async def _once(self, work: Work[T]) -> T:
        async with await psycopg.AsyncConnection.connect(self._conninfo) as connection:
            tx = BulkTx(connection)
            token = in_transaction.set(True)
            try:
                result = await work(tx)
                await tx.send()
                await connection.commit()
                return result
            finally:
                in_transaction.reset(token)
