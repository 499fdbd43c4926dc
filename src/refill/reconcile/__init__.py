"""Our book against the payment firms': statements taken, gaps explained or handed to people, days closed, money settled."""

from refill.reconcile.days import Day, Item, Sum, close, find, items, latest, sums
from refill.reconcile.gaps import BUCKETS, Gap, business_day
from refill.reconcile.night import missing, nightly
from refill.reconcile.settlement import BANK, OPERATOR, confirm, enter
from refill.reconcile.taking import Result, pursue, take

__all__ = [
    "BANK",
    "BUCKETS",
    "OPERATOR",
    "Day",
    "Gap",
    "Item",
    "Result",
    "Sum",
    "business_day",
    "close",
    "confirm",
    "enter",
    "find",
    "items",
    "latest",
    "missing",
    "nightly",
    "pursue",
    "sums",
    "take",
]
