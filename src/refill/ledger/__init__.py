"""The book: double entry in whole minor units, floors that hold under concurrency, entries that are only ever added."""

from refill.ledger.accounts import Account, cell_of_account
from refill.ledger.book import (
    POSTED,
    Entry,
    Posted,
    Refusal,
    Transfer,
    balances,
    entries_of,
    open_accounts,
    post,
    wallet_moves,
)
from refill.ledger.stripes import Stripes, StripesLow, base_of, gather, owner_of, set_floor, split, standing

__all__ = [
    "POSTED",
    "Account",
    "Entry",
    "Posted",
    "Refusal",
    "Stripes",
    "StripesLow",
    "Transfer",
    "balances",
    "base_of",
    "cell_of_account",
    "entries_of",
    "gather",
    "open_accounts",
    "owner_of",
    "post",
    "set_floor",
    "split",
    "standing",
    "wallet_moves",
]
