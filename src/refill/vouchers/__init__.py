"""Vouchers: scratch cards from batch to redemption, claim codes, and who may not try PINs any more."""

from refill.vouchers.check import check
from refill.vouchers.guessing import (
    ADDRESS,
    LOCKED,
    MOST_WRONG,
    MOST_WRONG_AT_AN_ADDRESS,
    WIDESPREAD,
    WINDOW,
    TooManyTries,
    Tries,
    enter,
    forget,
)
from refill.vouchers.pins import DIGITS, NotAPin, Pin, pin
from refill.vouchers.spending import (
    Voucher,
    VoucherNotValid,
    VoucherUsed,
    WrongPin,
    hold,
    issue,
    liability,
    refusal,
    spend,
)
from refill.vouchers.stock import Batch, Range, activate, batches, end_of_day, expire, generate, void

__all__ = [
    "ADDRESS",
    "DIGITS",
    "LOCKED",
    "MOST_WRONG",
    "MOST_WRONG_AT_AN_ADDRESS",
    "WIDESPREAD",
    "WINDOW",
    "Batch",
    "NotAPin",
    "Pin",
    "Range",
    "TooManyTries",
    "Tries",
    "Voucher",
    "VoucherNotValid",
    "VoucherUsed",
    "WrongPin",
    "activate",
    "batches",
    "check",
    "end_of_day",
    "enter",
    "expire",
    "forget",
    "generate",
    "hold",
    "issue",
    "liability",
    "pin",
    "refusal",
    "spend",
    "void",
]
