"""The payment method `wallet`: the payer's balance with us, debited in the transaction that pays the order."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from refill.errors import NotVerified
from refill.money import EXPONENT
from refill.outcome import Done, Outcome, Refused, Unknown
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

NAME = "wallet"


class Wallet:
    """The payer's balance with us. There is no stranger: what our own book does not know was not paid."""

    name = NAME
    can = Can(query=False, inside=True, scenes=("inside",))
    currencies = frozenset(EXPONENT)

    async def begin(self, world: World, charge: Charge) -> Outcome[Invitation]:
        return Done(Invitation("paid"))  # there is nowhere to go: `flow.pay_inside` captures it on our own page

    async def query(self, world: World, reference: str) -> Outcome[Capture]:
        return Refused(ABSENT)  # a wallet is debited and the order paid in one transaction, or neither

    async def close(self, world: World, reference: str) -> Outcome[str]:
        return Done(reference)

    async def refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        return Done(ask.request_id)  # the entry that books this answer is what fills the wallet again, once

    async def query_refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        return Unknown("our own book tells")

    def read_notice(self, raw: RawNotice) -> Notice:
        raise NotVerified("A wallet sends no notices.")

    def acknowledge(self, accepted: bool) -> tuple[int, bytes]:
        return (204, b"") if accepted else (404, b"")

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        raise BadStatement("A wallet has no statement; our own book is its account.")


SETTINGS: dict[str, PortSetting] = {}


def from_settings(settings: Mapping[str, str]) -> Method | None:
    """Wallets need no settings."""
    return Wallet()


def EXAMPLES() -> tuple[Method, list[Example]]:
    """Nobody calls us about wallets."""
    return Wallet(), []
