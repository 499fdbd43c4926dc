"""The book: double entry in whole minor units, floors that hold under concurrency, entries that are only ever added."""

from refill.ledger.accounts import Account, account, cell_of_account
from refill.ledger.book import Entry, Posted, Refusal, Transfer, balances, entries_of, open_accounts, post, set_floor

__all__ = [
    "Account",
    "Entry",
    "Posted",
    "Refusal",
    "Transfer",
    "account",
    "balances",
    "cell_of_account",
    "entries_of",
    "open_accounts",
    "post",
    "set_floor",
]
