"""Our own network as an operator: credit and validity are given inside the caller's transaction, and cannot be in doubt."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from refill import cards, ledger
from refill.cards import Extension, Subscriber
from refill.db import Tx
from refill.errors import CannotHappen
from refill.money import Money

NAME = "home"
SERVED = frozenset({"stock", "active", "grace", "suspended"})  # an expired or recycled number takes no credit


class HomeCredit(msgspec.Struct, frozen=True):
    """Validity that comes with credit for one of our subscribers."""

    subscriber: Subscriber
    days: int
    policy: str


def sold(
    entry_id: str, source: str, price_minor: int, allowance: str, subscriber: Subscriber, face: Money
) -> ledger.Entry:
    """The entry of a sale: `face` into the balance, its price out of `source`, the rest out of `allowance:…` (DOMAIN, Ledger).

    A price above the face value leaves the difference in sales.
    """
    balance, rest = cards.balance_account(subscriber), face.minor - price_minor
    if rest == 0:
        return ledger.Entry(entry_id, (ledger.Transfer(source, balance, price_minor),))
    if rest > 0:
        given = ledger.Transfer(f"{allowance}/{face.currency}", balance, rest)
        return ledger.Entry(entry_id, (ledger.Transfer(source, balance, price_minor), given))
    kept = ledger.Transfer(source, f"sales:topup/{face.currency}", -rest)
    return ledger.Entry(entry_id, (ledger.Transfer(source, balance, face.minor), kept))


async def extend(tx: Tx, credits: Sequence[HomeCredit], now: datetime) -> list[datetime]:
    """Extends validity and returns its new end for each credit, as if they came one by one."""
    rows = [
        Extension(
            credit.subscriber.id, credit.subscriber.cell, credit.subscriber.number or "", credit.days, credit.policy
        )
        for credit in credits
    ]
    ends = await cards.extend(tx, rows, now)
    if None in ends:
        # The subscriber changed hands between our look and our lock; the caller's transaction runs again and sees it.
        raise CannotHappen("A subscriber left the network while it was topped up; nothing was taken.")
    return [end for end in ends if end is not None]
