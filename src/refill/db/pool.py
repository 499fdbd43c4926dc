"""PostgreSQL through psycopg: transactions as functions, rerun when the commit is in doubt or two of them collided."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from refill.db.statement import Statement
from refill.db.talk import Asked, Connection, Row, Talk
from refill.errors import Busy
from refill.world import in_transaction

T = TypeVar("T")
Work = Callable[["Tx"], Awaitable[T]]

# Hot statements always want a nested loop over an index: a plan that no statistic can turn into a scan of everything.
POINTED = " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_bitmapscan=off"
SESSION = (
    "-c jit=off -c plan_cache_mode=force_generic_plan -c timezone=UTC"
    " -c lock_timeout=20s -c idle_in_transaction_session_timeout=30s"
)
ATTEMPTS = 6
# What the server says when two transactions collided or it is going down: nothing was committed, or we cannot know.
COLLISION = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure, psycopg.errors.LockNotAvailable)


class Tx(Protocol):
    """An open transaction. It only ever runs statements: a stranger is never asked while it is open."""

    def ask(self, statement: Statement, **parameters: Any) -> Asked:
        """Puts a statement in line. Whoever awaits one sends all that stand in line; what nobody awaits goes with COMMIT."""

    async def rows(self, statement: Statement, **parameters: Any) -> list[Row]:
        """All rows."""
        return await self.ask(statement, **parameters)

    async def row(self, statement: Statement, **parameters: Any) -> Row | None:
        """The first row, or None."""
        found = await self.ask(statement, **parameters)
        return found[0] if found else None

    async def value(self, statement: Statement, **parameters: Any) -> Any:
        """The first column of the first row, or None."""
        found = await self.ask(statement, **parameters)
        return found[0][0] if found else None

    async def run(self, statement: Statement, **parameters: Any) -> int:
        """Runs a statement for its effect and returns how many rows it touched."""
        asked = self.ask(statement, **parameters)
        await asked
        return asked.count


class Database(Protocol):
    """Where transactions are opened: `Pool` in production, one synchronous connection in the simulator."""

    async def transaction(self, work: Work[T]) -> T:
        """Runs `work` in one transaction and commits it.

        When the commit's answer is lost or two transactions collided, `work` runs again: it must take its ids from
        its caller, so that the second run finds what the first one wrote.
        """


class PoolTx(Tx):
    """A transaction on one pooled connection."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def ask(self, statement: Statement, **parameters: Any) -> Asked:
        return self._talk.ask(statement, statement.values(parameters))


async def rerun(once: Callable[[Work[T]], Awaitable[T]], work: Work[T], sleep: Callable[[float], Awaitable[None]]) -> T:
    """Runs a transaction again when it collided or its commit is in doubt. Raises Busy when that does not help."""
    for attempt in range(ATTEMPTS):
        try:
            return await once(work)
        except COLLISION:
            if attempt == ATTEMPTS - 1:
                raise Busy("The books are very busy; nothing was taken. Try again in a second.") from None
            await sleep(0.01 * 2**attempt)
        except psycopg.OperationalError:
            # The connection broke, perhaps after COMMIT: the same ids make the second run safe.
            if attempt == ATTEMPTS - 1:
                raise Busy("The database does not answer; nothing more was started. Try again shortly.") from None
            await sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")


class Pool:
    """A pool of connections to one PostgreSQL; survives its restart. `scans` allows plans that read whole tables."""

    def __init__(self, dsn: str, *, size: int = 8, scans: bool = False) -> None:
        options = SESSION if scans else SESSION + POINTED
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            make_conninfo(dsn, options=options, application_name="refill"),
            min_size=min(2, size),
            max_size=size,
            open=False,
            connection_class=Connection,
            kwargs={"autocommit": True},  # transactions are begun and ended by `Talk`
            timeout=10,
            reconnect_timeout=60,
        )

    async def open(self) -> "Pool":
        """Connects, and asserts the durable settings that every promise stands on."""
        await self._pool.open(wait=True, timeout=30)
        return self

    async def close(self) -> None:
        await self._pool.close()

    async def transaction(self, work: Work[T]) -> T:
        return await rerun(self._once, work, asyncio.sleep)

    async def _once(self, work: Work[T]) -> T:
        connection = await self._pool.getconn()
        try:
            return await self._transact(connection, work)
        except psycopg.OperationalError as error:
            # Where one connection broke, the idle ones broke too: they are looked at now rather than at every checkout.
            if not isinstance(error, COLLISION):
                await self._pool.check()
            raise
        finally:
            await self._pool.putconn(connection)

    async def _transact(self, connection: Connection, work: Work[T]) -> T:
        talk = Talk(connection)
        token = in_transaction.set(True)
        try:
            result = await work(PoolTx(talk))
            await talk.commit()
            return result
        except BaseException:
            await talk.abandon()
            raise
        finally:
            in_transaction.reset(token)


NOT_DURABLE = Statement("""
    -- Settings under which an acknowledged commit could be lost
    SELECT name || '=' || setting FROM pg_settings
     WHERE (name, setting) IN (('fsync', 'off'), ('synchronous_commit', 'off'), ('full_page_writes', 'off'))
""")


async def unsafe_settings(tx: Tx) -> list[str]:
    """The settings under which an acknowledged commit could be lost; empty on a database fit for money."""
    return [name for (name,) in await tx.rows(NOT_DURABLE)]
