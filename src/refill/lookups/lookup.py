"""The port of a look-up: a stranger who knows which network serves a number, and whether anybody answers there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from refill.numbers import Msisdn
from refill.outcome import Outcome, Unknown
from refill.world import Request, Response, World

State = Literal["active", "absent", "dead"]

SILENT = Unknown("The look-up did not answer in time.")  # whoever says so often is left in peace for a while


@dataclass(frozen=True, slots=True)
class Whose:
    """The network that serves a number: mobile country and network code (ITU-T E.212), such as "46003".

    `ported` None: they do not tell.
    """

    network: str
    ported: bool | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Alive:
    """Does the number reach a subscriber? absent: switched off or out of reach just now; dead: nobody has it."""

    state: State
    at: datetime


class Lookup(Protocol):
    """One look-up behind a wire; one file on this shelf. Every question goes through `world.call`, once.

    Answers are advice: they change what a person is shown, never whether a top-up is taken.
    """

    @property
    def name(self) -> str:
        """Kept beside each answer."""

    def knows(self, msisdn: Msisdn) -> bool:
        """Whether numbers of this country can be asked about."""

    async def whose(self, world: World, msisdn: Msisdn, within_s: float) -> Outcome[Whose]:
        """Which network serves it. Refused: they will not look this number up. Anything unsure is Unknown."""

    async def alive(self, world: World, msisdn: Msisdn, within_s: float) -> Outcome[Alive]:
        """Whether it reaches a subscriber. Refused and Unknown as above."""


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation for the shelf's generic tests: they answer our request so, what do we make of it?"""

    says: str
    question: Literal["whose", "alive"]
    msisdn: Msisdn
    answers: Callable[[Request], Response]
    expect: str  # "done" | "refused" | "unknown"
    means: str = ""  # the network, or the state
    ported: bool | None = None
