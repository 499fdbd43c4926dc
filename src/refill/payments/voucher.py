"""The payment method `voucher`: the PIN of a scratch card, captured in the transaction that uses it up."""

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

NAME = "voucher"


class ByVoucher:
    """A voucher in the payer's hand. There is no stranger: whether a PIN is good, only our own tables know."""

    name = NAME
    can = Can(refund=False, partial_refund=False, query=False, inside=True, scenes=("inside",))
    currencies = frozenset(EXPONENT)

    async def begin(self, world: World, charge: Charge) -> Outcome[Invitation]:
        return Done(Invitation("paid"))  # there is nowhere to go: `flow.pay_inside` captures it on our own page

    async def query(self, world: World, reference: str) -> Outcome[Capture]:
        return Refused(ABSENT)  # a voucher is used up and captured in one transaction, or not at all

    async def close(self, world: World, reference: str) -> Outcome[str]:
        return Done(reference)

    async def refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        # A PIN is given once; a claim code brings its money back (DOMAIN rule 10).
        return Refused("a voucher goes back by claim code", "CLAIM_CODE")

    async def query_refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        return Refused(ABSENT)

    def read_notice(self, raw: RawNotice) -> Notice:
        raise NotVerified("Vouchers send no notices.")

    def acknowledge(self, accepted: bool) -> tuple[int, bytes]:
        return (204, b"") if accepted else (404, b"")

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        raise BadStatement("Vouchers have no statement; our own book is their account.")


SETTINGS: dict[str, PortSetting] = {}


def from_settings(settings: Mapping[str, str]) -> Method | None:
    """Vouchers need no settings."""
    return ByVoucher()


def EXAMPLES() -> tuple[Method, list[Example]]:
    """Nobody calls us about vouchers."""
    return ByVoucher(), []
