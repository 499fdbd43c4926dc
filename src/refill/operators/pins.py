"""The supplier `pins`: our own stock of operators' PINs, given inside the caller's transaction, so that it cannot be in doubt."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from refill import stock
from refill.db import Tx
from refill.errors import NotVerified
from refill.money import Money
from refill.operators.supplier import Delivery, Example, Flags, Recharge, Supplier, SupplierNotice
from refill.outcome import EMPTY_FLOAT, Done, Outcome, Refused, Unknown
from refill.settings import PortSetting
from refill.stock import Wanted
from refill.world import World

NAME = stock.SUPPLIER
GIVEN_INSIDE = "PINs are given inside our own transaction; nobody is asked for them"


class FromStock:
    """What a supplier tells of itself. There is no stranger: which PIN a request has, only our own tables know."""

    name = NAME
    flags = Flags(dedups_our_reference=True, not_found_is_final_after=timedelta(seconds=1), can_reverse=False)

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        return Unknown(GIVEN_INSIDE)  # `take` gives it

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        return Unknown(GIVEN_INSIDE)  # a PIN is taken and its order delivered in one transaction, or neither

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        return Unknown(GIVEN_INSIDE)  # `stock.shelves` counts it

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        raise NotVerified("Our own stock sends no notices.")


async def take(tx: Tx, asks: Sequence[tuple[str, Recharge]], now: datetime) -> list[Done[Delivery] | Refused]:
    """A PIN for each request (order id, what is asked), or the definite no that there is none left.

    The caller books its cost out of `stock.account` in the same transaction.
    """
    taken = await stock.take(tx, [Wanted(id_, ask.request_id, ask.product, ask.face) for id_, ask in asks], now)
    return [
        Refused(EMPTY_FLOAT, final=False) if pin is None else Done(Delivery(pin.serial, ask.msisdn, ask.face, pin.cost))
        for (_, ask), pin in zip(asks, taken, strict=True)
    ]


SETTINGS: dict[str, PortSetting] = {}


def from_settings(settings: Mapping[str, str]) -> list[Supplier]:
    """Our own stock needs no settings."""
    return [FromStock()]


def EXAMPLES() -> tuple[Supplier, list[Example]]:
    """There is no wire to show examples of."""
    return FromStock(), []
