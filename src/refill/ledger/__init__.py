"""The book: double entry in whole minor units, floors that hold under concurrency, entries that are only ever added."""

from refill.ledger.accounts import Account, cell_of_account
from refill.ledger.book import (
    POSTED,
    Draft,
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
from refill.ledger.moves import KINDS, Move, Span, moves, moves_of, spans
from refill.ledger.stripes import Stripes, StripesLow, base_of, gather, owner_of, set_floor, split, standing, standings

__all__ = [
    "KINDS",
    "POSTED",
    "Account",
    "Draft",
    "Entry",
    "Move",
    "Posted",
    "Refusal",
    "Span",
    "Stripes",
    "StripesLow",
    "Transfer",
    "balances",
    "base_of",
    "cell_of_account",
    "entries_of",
    "gather",
    "moves",
    "moves_of",
    "open_accounts",
    "owner_of",
    "post",
    "set_floor",
    "spans",
    "split",
    "standing",
    "standings",
    "wallet_moves",
]
