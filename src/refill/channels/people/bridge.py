"""How a page, which lives in a thread, asks the engine, which lives on the event loop."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from refill.db.bulk import Bulk
from refill.errors import Busy
from refill.topup.trade import Trade

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Bound:
    trade: Trade
    loop: asyncio.AbstractEventLoop
    bulk: Bulk


_bound: _Bound | None = None


def bind(trade: Trade, loop: asyncio.AbstractEventLoop, bulk: Bulk) -> None:
    """`app` hands over the engine before the first page is served."""
    global _bound
    _bound = _Bound(trade, loop, bulk)


def trade() -> Trade:
    """The engine that the pages of this process ask."""
    return _here().trade


def bulk() -> Bulk:
    """The way to the database for large work, such as a price list."""
    return _here().bulk


def ask(question: Coroutine[Any, Any, T], timeout_s: float = 15.0) -> T:
    """Waits for the engine's answer. Raises what it raises, and Busy when it does not answer in time.

    What was asked is cancelled then; every question of a page carries its own id, so asking again is safe.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        question.close()
        raise AssertionError("a page asked from the event loop's own thread and would wait for itself for ever")
    answer = asyncio.run_coroutine_threadsafe(question, _here().loop)
    try:
        return answer.result(timeout_s)
    except TimeoutError:
        answer.cancel()
        raise Busy("We are very busy just now; nothing was lost. Try again in a few seconds.") from None


def _here() -> _Bound:
    if _bound is None:
        raise AssertionError("no engine is bound: `app` calls bridge.bind(trade, loop, bulk) before it serves pages")
    return _bound
