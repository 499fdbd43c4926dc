"""Telephone numbers and card identities: read, grouped, masked, and kept once, encrypted."""

from refill.numbers.belief import Belief, Known, believe
from refill.numbers.iccid import iccid
from refill.numbers.imsi import imsi
from refill.numbers.known import (
    Lesson,
    Looked,
    Override,
    answers,
    believed,
    decide,
    forget_stale,
    keep_answer,
    known,
    learn,
    overrides,
    undecide,
)
from refill.numbers.msisdn import Msisdn, NotMobile, fast_msisdn, msisdn, typed_msisdn
from refill.numbers.pan import names_a_card, without_cards
from refill.numbers.plan import NETWORKS, hint
from refill.numbers.regions import region
from refill.numbers.subjects import erase, number_id, remember, reveal

__all__ = [
    "NETWORKS",
    "Belief",
    "Known",
    "Lesson",
    "Looked",
    "Msisdn",
    "NotMobile",
    "Override",
    "answers",
    "believe",
    "believed",
    "decide",
    "erase",
    "fast_msisdn",
    "forget_stale",
    "hint",
    "iccid",
    "imsi",
    "keep_answer",
    "known",
    "learn",
    "msisdn",
    "names_a_card",
    "number_id",
    "overrides",
    "region",
    "remember",
    "reveal",
    "typed_msisdn",
    "undecide",
    "without_cards",
]
