"""The payment method `cash`: money counted into a till, captured in the moment in which the clerk confirms it."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from refill.errors import NotVerified
from refill.money import EXPONENT
from refill.outcome import Done, Outcome, Refused
from refill.payments.method import (
    ABSENT,
    BadStatement,
    Can,
    Capture,
    Charge,
    Example,
    Invitation,
    Method,
    Notice,
    RawNotice,
    RefundAsk,
    StatementLine,
)
from refill.settings import PortSetting
from refill.world import World

NAME = "cash"


class Cash:
    """Cash at a till or a kiosk. There is no stranger: what our own book does not know was not paid."""

    name = NAME
    can = Can(refund=False, partial_refund=False, query=False, scenes=("till",))
    currencies = frozenset(EXPONENT)

    async def begin(self, world: World, charge: Charge) -> Outcome[Invitation]:
        return Done(Invitation("paid"))

    async def query(self, world: World, reference: str) -> Outcome[Capture]:
        return Refused(ABSENT)  # the till's capture stands in our book, or there is none

    async def close(self, world: World, reference: str) -> Outcome[str]:
        return Done(reference)  # no till takes money for an order that our book has closed

    async def refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        # The payer has left the till; a claim code brings the money back at any of our tills (DOMAIN rule 10).
        return Refused("cash goes back by claim code", "CLAIM_CODE")

    async def query_refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        return Refused(ABSENT)

    def read_notice(self, raw: RawNotice) -> Notice:
        raise NotVerified("Cash sends no notices.")

    def acknowledge(self, accepted: bool) -> tuple[int, bytes]:
        return (204, b"") if accepted else (404, b"")

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        raise BadStatement("Cash has no statement; a till is counted at the end of its shift.")


SETTINGS: dict[str, PortSetting] = {}


def from_settings(settings: Mapping[str, str]) -> Method | None:
    """Cash needs no settings."""
    return Cash()


def EXAMPLES() -> tuple[Method, list[Example]]:
    """Nobody calls us about cash."""
    return Cash(), []
