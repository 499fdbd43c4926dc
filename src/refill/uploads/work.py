"""The worker on files: takes parts, places their top-ups a thousand at a time, keeps what became of each row.

A worker may die anywhere. The part that it held comes back when its lease ends, and every row names its top-up by the
file and the line: what was placed is found, not placed again.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from refill.db import Tx
from refill.errors import Busy, RefillError
from refill.topup import Ask, Order, Trade, flow
from refill.uploads.book import Claimed, Done, RefusedRow, Result, claim, finish, later

LEASE = timedelta(seconds=30)
SOON = timedelta(seconds=2)
LANES = 2  # workers in one process: one commits while the other decides
PARTS_A_TICK = 8  # before it is asked whether to stop

log = structlog.get_logger()

Place = Callable[[Sequence[Ask]], Awaitable[Sequence[Order | RefillError]]]


class Broken(RefillError):
    """This row broke something on our side; ask for it again with the same reference, alone."""

    code = "internal"
    status = 500
    retryable = True


class Worker:
    """Works files off; any number of workers may run beside each other, LANES of them in one process."""

    def __init__(self, trade: Trade, *, lease: timedelta = LEASE) -> None:
        self._trade = trade
        self._lease = lease

    async def tick(self, most: int = PARTS_A_TICK) -> int:
        """Works on parts that are due, one after the other; returns how many there were."""
        found, taken = await self._next(None, None), 0
        while found is not None:
            result = await self._work_on(found)
            taken += 1
            found = await self._next(found, result, last=taken == most)
        return taken

    async def _next(self, worked: Claimed | None, result: Result | None, *, last: bool = False) -> Claimed | None:
        """Keeps what became of one part and takes the next, in one transaction."""
        world, vault = self._trade.world, self._trade.vault

        async def work(tx: Tx) -> Claimed | None:
            now = world.db_now()
            if worked is not None and result is not None:
                await finish(tx, worked, result, now)
            elif worked is not None:
                await later(tx, worked, now + SOON)
            return None if last else await claim(tx, vault, now, now + self._lease)

        return await self._trade.db.transaction(work)

    async def _work_on(self, claimed: Claimed) -> Result | None:
        """What became of its rows; None when the database is too busy to say."""
        trade, part = self._trade, claimed.part
        try:
            answers = await place_apart(lambda asks: flow.place(trade, asks), part.asks) if part.asks else []
        except Busy:
            return None
        result = Result([], [])
        for line, ask, answer in zip(part.lines, part.asks, answers, strict=True):
            if isinstance(answer, Order):
                # The order that this very row made before a kill is no repeat of anything.
                result.done.append(Done(line, answer.id, answer.replayed and answer.id != ask.id))
            else:
                result.refused.append(refused_row(line, answer, ask.reference or ""))
        return result


async def place_apart(place: Place, asks: Sequence[Ask]) -> list[Order | RefillError]:
    """All rows at once; when that breaks unexpectedly each half by itself, until the row that breaks stands alone."""
    try:
        return list(await place(asks))
    except Busy:
        raise
    except Exception as broken:
        if len(asks) > 1:
            middle = len(asks) // 2
            return await place_apart(place, asks[:middle]) + await place_apart(place, asks[middle:])
        log.error("a row of a file broke", error=type(broken).__name__)
        return [Broken("Something broke on our side with this row. Ask for it again alone, with the same reference.")]


def refused_row(line: int, error: RefillError, reference: str) -> RefusedRow:
    """A row's refusal as it is kept."""
    return RefusedRow(line, error.status, error.code, str(error), reference)
