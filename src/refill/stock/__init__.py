"""Operators' PINs that we bought to sell: imported by two people, given once each, watched so that they do not run out."""

from refill.stock.check import check
from refill.stock.giving import Given, Taken, Wanted, account, expire, of_order, read, readings, spoil, take
from refill.stock.importing import (
    Arrival,
    BadStockFile,
    Batch,
    Goods,
    Refusal,
    batches,
    confirm,
    decline,
    receive,
)
from refill.stock.levels import Shelf, alarms, set_level, shelves
from refill.stock.pins import NotATopUpPin, TopUpPin
from refill.stock.wishes import Kind, Wish, ask, decide, held, shown, waiting
from refill.stock.wishes import of_order as wishes_of

SUPPLIER = "pins"  # its name on the shelf of operators and in the catalogue

__all__ = [
    "SUPPLIER",
    "Arrival",
    "BadStockFile",
    "Batch",
    "Given",
    "Goods",
    "Kind",
    "NotATopUpPin",
    "Refusal",
    "Shelf",
    "Taken",
    "TopUpPin",
    "Wanted",
    "Wish",
    "account",
    "alarms",
    "ask",
    "batches",
    "check",
    "confirm",
    "decide",
    "decline",
    "expire",
    "held",
    "of_order",
    "read",
    "readings",
    "receive",
    "set_level",
    "shelves",
    "shown",
    "spoil",
    "take",
    "waiting",
    "wishes_of",
]
