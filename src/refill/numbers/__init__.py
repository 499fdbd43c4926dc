"""Telephone numbers and card identities: read, grouped, masked, and kept once, encrypted."""

from refill.numbers.iccid import iccid
from refill.numbers.imsi import imsi
from refill.numbers.msisdn import Msisdn, fast_msisdn, msisdn, typed_msisdn
from refill.numbers.pan import names_a_card, without_cards
from refill.numbers.plan import hint
from refill.numbers.regions import region
from refill.numbers.subjects import erase, learn_operator, learned, number_id, remember, reveal

__all__ = [
    "Msisdn",
    "erase",
    "fast_msisdn",
    "hint",
    "iccid",
    "imsi",
    "learn_operator",
    "learned",
    "msisdn",
    "names_a_card",
    "number_id",
    "region",
    "remember",
    "reveal",
    "typed_msisdn",
    "without_cards",
]
