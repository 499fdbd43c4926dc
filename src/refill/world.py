"""Time, chance and the network as arguments, so that the same engine runs in a server and in a seeded simulator."""

from collections.abc import Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

in_transaction: ContextVar[bool] = ContextVar("in_transaction", default=False)  # set by `db`, asserted by `ask`


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to a stranger. `timeout_s` is the hard end: after it nobody is listening for the answer.

    Of a longer answer than `most_bytes` the rest is not read; only a file that we fetch needs more than 1 MiB.
    guarded: a partner chose the address, so that only a public one is called (see `egress`).
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout_s: float = 10.0
    most_bytes: int = 1 << 20
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: status, lower-case headers and the raw body; one byte more than was asked for tells of the rest."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NotSent(Exception):
    """The connection was refused before a byte left: surely not done."""


class NoAnswer(Exception):
    """Time-out, reset or a broken answer after bytes left: perhaps done."""


class World(Protocol):
    """The ports through which the spine sees the outside; `app` makes the real one, `simulate` a seeded one."""

    def now(self) -> datetime:
        """This process's own clock, UTC: for signatures and what people read."""

    def db_now(self) -> datetime:
        """The database's clock, UTC: for leases, due times and business days, so that a skewed process steals nothing."""

    def new_id(self, prefix: str, cell: int) -> str:
        """A fresh time-ordered id in `cell`."""

    def chance(self, bits: int) -> int:
        """Random `bits`, fit for secrets."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    async def send(self, request: Request) -> Response:
        """One request, sent once. Raises NotSent or NoAnswer. Use `call`, which checks that no transaction waits for it."""

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` beside the caller; an error in it is logged, never lost."""


async def call(world: World, request: Request) -> Response:
    """Asks a stranger, once: never inside a transaction, never repeated. Raises NotSent or NoAnswer."""
    if in_transaction.get():
        raise AssertionError("a stranger was asked inside a transaction; save that we will ask, then ask")
    return await world.send(request)
