"""Talking to PostgreSQL through libpq's pipeline: statements stand in line, travel together, and are answered in order."""

import asyncio
import contextlib
from collections.abc import Generator
from datetime import datetime
from typing import Any, Protocol

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer

from refill.db.statement import Statement
from refill.errors import CannotHappen

Row = tuple[Any, ...]


class Asked(Protocol):
    """A statement that stands in line. Awaiting it sends the line and gives its rows; then `count` says how many it touched."""

    @property
    def count(self) -> int: ...

    def must_touch(self, rows: int, says: str) -> None:
        """Unless it touches so many rows, CannotHappen is raised, at the latest before the commit."""

    def __await__(self) -> Generator[Any, None, list[Row]]: ...


class Connection(psycopg.AsyncConnection[Any]):
    """A connection that remembers what it prepared."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.prepared: set[Statement] = set()
        self.reading = Transformer(self)


class Waiting:
    """A statement in the line of one `Talk`."""

    __slots__ = ("_talk", "must", "result")

    def __init__(self, talk: "Talk") -> None:
        self._talk = talk
        self.result: pq.abc.PGresult | None = None
        self.must: tuple[int, str] | None = None

    def must_touch(self, rows: int, says: str) -> None:
        self.must = rows, says
        self._talk.wary = True

    @property
    def count(self) -> int:
        return (self.result.command_tuples or 0) if self.result else 0

    def __await__(self) -> Generator[Any, None, list[Row]]:
        if self.result is None:
            yield from self._talk.send().__await__()
        assert self.result is not None
        return self._talk.rows_of(self.result)


class Talk:
    """One transaction's talk on a connection that nobody else uses meanwhile.

    `cut` is True as long as something was sent and not answered: who stops there can only close the connection.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._pg = connection, connection.pgconn
        self._pg.enter_pipeline_mode()
        self._line: list[Waiting | Statement] = []  # a Statement stands for its own preparation
        self._preparing: set[Statement] = set()  # by what stands in line
        self._began = False
        self.wary = False  # something in line must touch some rows
        self.cut = False

    def ask(self, statement: Statement, values: list[Any]) -> Waiting:
        """Puts a statement in line; the first one begins the transaction."""
        if not self._began:
            self._began = True
            self._say(b"BEGIN")
        if statement not in self._connection.prepared and statement not in self._preparing:
            self._pg.send_prepare(statement.name, statement.wire)
            self._line.append(statement)
            self._preparing.add(statement)
        self._pg.send_query_prepared(statement.name, [_wire(value) for value in values])
        waiting = Waiting(self)
        self._line.append(waiting)
        return waiting

    async def commit(self) -> None:
        """Commits, with everything that still stands in line before it."""
        if self.wary:
            await self.send()  # what must touch some rows is looked at while nothing is committed
        if self._began:
            self._say(b"COMMIT")
            await self.send()
        self._pg.exit_pipeline_mode()

    async def abandon(self) -> None:
        """Undoes everything and makes the connection fit for the next; closes it when it was cut off in mid-sentence."""
        if self._line and not self.cut:
            with contextlib.suppress(psycopg.Error):
                await self.send()
        if self.cut:
            await self._connection.close()
            return
        if self._began:
            self._say(b"ROLLBACK")
            await self.send()
        self._pg.exit_pipeline_mode()

    def _say(self, word: bytes) -> None:
        self._pg.send_query_params(word, None)
        self._line.append(Waiting(self))

    async def send(self) -> None:
        """Sends the line and takes all of its answers. Raises the first error; what stood behind that was not run."""
        line, self._line = self._line, []
        self._preparing.clear()
        self.wary = False
        self.cut = True
        self._pg.pipeline_sync()
        failed: psycopg.Error | None = None
        for one in line:
            result = await self._answer()
            while await self._answer_or_end() is not None:
                pass  # one statement has one answer; this is the end of it
            if result.status in _DONE:
                if isinstance(one, Statement):
                    self._connection.prepared.add(one)
                else:
                    one.result = result
            elif result.status == pq.ExecStatus.FATAL_ERROR and failed is None:
                failed = psycopg.errors.error_from_result(result)
        await self._answer()  # the end of the line
        self.cut = False
        if failed is not None:
            raise failed
        for one in line:
            if isinstance(one, Waiting) and one.must and one.count != one.must[0]:
                raise CannotHappen(one.must[1])

    async def _answer(self) -> pq.abc.PGresult:
        result = await self._answer_or_end()
        if result is None or self._pg.status != pq.ConnStatus.OK:
            raise psycopg.OperationalError("the connection to the database was lost")
        return result

    async def _answer_or_end(self) -> pq.abc.PGresult | None:
        while self._pg.is_busy():
            await self._hear()
        return self._pg.get_result()

    async def _hear(self) -> None:
        """Waits until the server says more, or takes more of what we say."""
        loop, socket = asyncio.get_running_loop(), self._pg.socket
        woken = loop.create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        unsent = self._pg.flush()
        loop.add_reader(socket, wake)
        if unsent:
            loop.add_writer(socket, wake)
        try:
            await woken
        finally:
            loop.remove_reader(socket)
            if unsent:
                loop.remove_writer(socket)
        self._pg.consume_input()

    def rows_of(self, result: pq.abc.PGresult) -> list[Row]:
        """The rows of an answer, as Python's values."""
        if not result.ntuples:
            return []
        reading = self._connection.reading
        reading.set_pgresult(result)
        return reading.load_rows(0, result.ntuples, tuple)


_DONE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


def _wire(value: Any) -> bytes | None:
    """A parameter as text; the statement's own casts tell PostgreSQL what it is."""
    match value:
        case None:
            return None
        case str():
            return value.encode()
        case bool():
            return b"t" if value else b"f"
        case int() | float():
            return str(value).encode()
        case datetime():
            return value.isoformat().encode()
        case bytes():
            return b"\\x" + value.hex().encode()
    raise TypeError(f"{type(value).__name__} cannot be a parameter")
