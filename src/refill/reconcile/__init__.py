"""Our book against others': statements taken, gaps explained or handed to people, days closed, money settled, floats watched."""

from refill.reconcile.days import Day, Item, Sum, close, find, items, latest, sums
from refill.reconcile.funding import Funding, confirm_funding, fund, fundings, withdraw_funding
from refill.reconcile.gaps import BUCKETS, Gap, business_day
from refill.reconcile.night import missing, nightly
from refill.reconcile.settlement import BANK, OPERATOR, confirm, enter
from refill.reconcile.taking import Result, pursue, take
from refill.reconcile.watch import Float, Reading, floats, in_words, look, watched

__all__ = [
    "BANK",
    "BUCKETS",
    "OPERATOR",
    "Day",
    "Float",
    "Funding",
    "Gap",
    "Item",
    "Reading",
    "Result",
    "Sum",
    "business_day",
    "close",
    "confirm",
    "confirm_funding",
    "enter",
    "find",
    "floats",
    "fund",
    "fundings",
    "in_words",
    "items",
    "latest",
    "look",
    "missing",
    "nightly",
    "pursue",
    "sums",
    "take",
    "watched",
    "withdraw_funding",
]
