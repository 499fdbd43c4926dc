"""The port of an operator's supplier: how credit is ordered, how we ask what became of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from refill.money import Money
from refill.outcome import Outcome
from refill.world import Request, Response, World


@dataclass(frozen=True, slots=True)
class Recharge:
    """Credit we order for a number. `request_id` is ours and deterministic (order, attempt), at most 32 characters."""

    request_id: str
    msisdn: str  # digits, with country code
    face: Money
    operator: str
    product: str
    send_before: datetime  # checked immediately before the first byte is written


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the supplier says it delivered.

    `face` less than asked is a partial delivery; `cost` is None when they do not tell.
    """

    supplier_reference: str
    msisdn: str
    face: Money
    cost: Money | None = None


@dataclass(frozen=True, slots=True)
class SupplierNotice:
    """A verified callback. It only triggers an immediate inquiry; it is never believed by itself.

    `fresh` False: correctly signed, but old or repeated much later. It is still worth an inquiry, never a drop.
    """

    id: str
    request_id: str
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Flags:
    """What an adapter must declare, because money hangs on it (DOMAIN rule 3).

    dedups_our_reference: the same request_id sent twice is one recharge there.
    not_found_is_final_after: how long after an attempt's hard end "not found" means never; None: it never does.
    can_reverse: credit can be taken back by asking.
    timeout_s: the hard end of one request.
    """

    dedups_our_reference: bool
    not_found_is_final_after: timedelta | None
    can_reverse: bool
    timeout_s: float = 30.0


class Supplier(Protocol):
    """One supplier of credit behind a wire; one file on this shelf. All calls go through `world.call`, once each."""

    @property
    def name(self) -> str:
        """Also in accounts: float:<name>."""

    @property
    def flags(self) -> Flags:
        """What it must declare."""

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        """Orders credit. Refused only by the adapter's own code table, or NOT_SENT when the connection was refused."""

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        """What became of it.

        "Never heard of it" is Unknown(NOT_FOUND): whether that is final, the flow decides by the flags.
        """

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        """Our float there."""

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        """Verifies a callback on its raw bytes; with `received_at` also its age. Raises NotVerified."""


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation for the shelf's generic tests: they answer our request so, what do we make of it?"""

    says: str
    ask: Recharge
    answers: Callable[[Request], Response]
    expect: str  # "done" | "refused" | "unknown"
    reason: str = ""  # of a refusal or an unknown, where the flow reacts to it
