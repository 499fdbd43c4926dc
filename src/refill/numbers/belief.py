"""Whose number it is, as far as we know: every source weighed in one order, without asking anybody."""

from dataclasses import dataclass
from datetime import datetime, timedelta

# An outcome proves whose the number was on that day. People change operators about once in years; after this long, an
# answer of today counts more. In China a number that was ported may be ported again after 120 days.
LEARNED_LASTS = timedelta(days=120)

OWN, PERSON, OUTCOME, LOOK_UP, PREFIX = "own", "person", "outcome", "look_up", "prefix"


@dataclass(frozen=True, slots=True)
class Word:
    """What one source says: an operator, and when it said so."""

    operator: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What a look-up said: the operator that serves the number, if it is one of ours, and until when that is fresh."""

    operator: str | None
    ported: bool | None
    at: datetime
    fresh_until: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """All that we have been told of one number. `disowned`: who said last that it is not theirs."""

    override: Word | None = None  # by a person, not yet ended
    override_until: datetime | None = None  # None: until somebody ends it
    learned: Word | None = None
    disowned: Word | None = None
    answer: Answer | None = None


NOTHING = Known()


@dataclass(frozen=True, slots=True)
class Belief:
    """Whose it is to us. `source`: own, person, outcome, look_up, prefix, or "" when nobody knows.

    `ported` None: nobody told. `doubted`: the only word left is of an operator that said "not our subscriber", or
    of a prefix where a look-up names a network that we do not sell; a person should be asked. Never a reason to refuse.
    """

    operator: str | None
    source: str = ""
    at: datetime | None = None
    ported: bool | None = None
    doubted: bool = False


def believe(known: Known, hint: str | None, now: datetime) -> Belief:
    """Weighs what is known of a number that is not on our own network; `hint` is its prefix's operator.

    A person's override, then an outcome that is not too old, then a fresh look-up, then an old outcome, then the
    prefix. An operator that said "not our subscriber" after a source spoke is not believed on that source's word.
    """
    override, learned, answer = known.override, known.learned, known.answer
    if override is not None and (known.override_until is None or now < known.override_until):
        return Belief(override.operator, PERSON, override.at, _ported(override.operator, hint))
    fresh = answer if answer is not None and now < answer.fresh_until else None
    counts = learned is not None and _stands(known, learned.operator, learned.at)
    if learned is not None and counts and (now - learned.at <= LEARNED_LASTS or fresh is None or not fresh.operator):
        return Belief(learned.operator, OUTCOME, learned.at, _ported(learned.operator, hint))
    if fresh is not None and fresh.operator is not None and _stands(known, fresh.operator, fresh.at):
        ported = fresh.ported if fresh.ported is not None else _ported(fresh.operator, hint)
        return Belief(fresh.operator, LOOK_UP, fresh.at, ported)
    if hint is None:
        return Belief(None, ported=fresh.ported if fresh else None)
    elsewhere = fresh is not None and fresh.operator is None and fresh.ported is True
    disowned = known.disowned is not None and known.disowned.operator == hint
    return Belief(hint, PREFIX, None, fresh.ported if fresh else None, doubted=elsewhere or disowned)


def _stands(known: Known, operator: str, said_at: datetime) -> bool:
    """Has this operator not disowned the number since?"""
    no = known.disowned
    return no is None or no.operator != operator or no.at < said_at


def _ported(operator: str, hint: str | None) -> bool | None:
    """A number that is served by another than its prefix's operator was ported; without a hint nobody can tell."""
    return None if hint is None else operator != hint
