"""The port of everything that tells somebody outside what happened here."""

from dataclasses import dataclass
from typing import Protocol

from refill.outcome import Outcome
from refill.world import World


@dataclass(frozen=True, slots=True)
class Letter:
    """What is told, and to whom.

    id: the same at every try, so that whoever hears it twice knows. secrets: keys to sign with, the newest first.
    """

    id: str
    to: str
    body: bytes
    secrets: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one try.

    outcome: Done, they have it; Refused, they want to hear nothing at all any more; Unknown, try again.
    says: the beginning of their answer, or why there was none, without numbers of people. wait_s: how long they ask us
    to wait before the next try.
    """

    outcome: Outcome[str]
    status: int | None
    latency_ms: int
    says: str
    wait_s: float = 0.0


class Sender(Protocol):
    """One way to tell. It sends once and never repeats by itself; it may be called for thousands at the same time."""

    HARD_END_S: float  # after it nobody is listening for the answer

    async def send(self, world: World, letter: Letter) -> Receipt:
        """One try. Never raises for what the other side does."""
