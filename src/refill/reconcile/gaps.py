"""What may be wrong between our book and another's statement, and what becomes of it. Pure rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Literal, NamedTuple

from refill.money import Money, decimal_text

Bucket = Literal["ours_only", "theirs_only", "differs", "duplicate"]
State = Literal["asking", "carried", "case", "settled"]
BUCKETS: tuple[Bucket, ...] = ("ours_only", "theirs_only", "differs", "duplicate")

BUSINESS_ZONE = timezone(timedelta(hours=8))  # days of business are China's, as on the firms' statements
CUT_OFF = timedelta(minutes=30)  # of ours before midnight: it may stand in tomorrow's statement
REFUND_PATIENCE = timedelta(days=3)  # firms book a refund days after they promised it
CLOCKS = timedelta(days=1)  # by which the two times of one payment may differ


class Side(NamedTuple):
    """One side's word about a payment or refund."""

    minor: int
    currency: str
    reference: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that does not match. `n` is the line of the file, 0 for what no line speaks of."""

    bucket: Bucket
    kind: str  # payment | refund; of a supplier recharge | reversal
    cell: int | None
    reference: str
    request_id: str
    transaction: str
    n: int
    ours_minor: int | None
    theirs_minor: int | None
    currency: str
    at: datetime
    why: str = ""
    askable: bool = False  # the firm itself can be asked about it, under a reference that we made

    def id(self, method: str, day: date) -> str:
        """The same trouble has the same id on every day; a duplicate is one line of one file."""
        own = self.request_id or self.transaction
        return f"{method}:{self.kind}:{own}" + (f":{day}:{self.n}" if self.bucket == "duplicate" else "")

    @property
    def money(self) -> Money:
        """What is at stake: the whole of what one side lacks, or by how much the sides differ."""
        if self.bucket == "duplicate" or self.ours_minor is None or self.theirs_minor is None:
            return Money(self.theirs_minor or self.ours_minor or 0, self.currency)
        return Money(abs(self.ours_minor - self.theirs_minor), self.currency)


def limits(day: date) -> tuple[datetime, datetime]:
    """The first moment of a business day, and that of the next."""
    start = datetime.combine(day, time(), BUSINESS_ZONE)
    return start, start + timedelta(days=1)


def business_day(at: datetime) -> date:
    """The day of business on which something happened."""
    return at.astimezone(BUSINESS_ZONE).date()


def difference(theirs: Side, ours: Side, *, times: bool = True) -> str:
    """What differs between two words about one thing: amount, reference, time; empty when they agree.

    A refund's times are not compared: the firm books it when it likes.
    """
    if (theirs.minor, theirs.currency) != (ours.minor, ours.currency):
        return "amount"
    if theirs.reference != ours.reference:
        return "reference"
    return "time" if times and abs(theirs.at - ours.at) > CLOCKS else ""


def first_state(gap: Gap, until: datetime) -> State:
    """What becomes of a gap on the day that ends at `until`: ask the firm, wait for a later statement, or a person."""
    if gap.bucket == "theirs_only" and gap.askable:
        return "asking"
    if gap.bucket == "ours_only" and not overdue(gap.kind, gap.at, until):
        return "carried"
    return "case"


def overdue(kind: str, at: datetime, until: datetime) -> bool:
    """Should something of ours stand in the statement of the day that ends at `until`?"""
    return at < until - (CUT_OFF if kind in ("payment", "recharge") else REFUND_PATIENCE)


def sentence(gap: Gap, firm: str) -> str:
    """A gap in a sentence for the person who must settle it; no numbers of people in it."""
    what, firm = gap.kind, firm.removeprefix("float:")
    ours, theirs = _text(gap.ours_minor, gap.currency), _text(gap.theirs_minor, gap.currency)
    match gap.bucket:
        case "ours_only":
            return f"Our {what} of {ours} is in no statement of {firm}'s."
        case "theirs_only":
            return f"The statement of {firm} has a {what} of {theirs} that our book does not have."
        case "duplicate":
            return f"The statements of {firm} have a {what} of {theirs} twice."
        case "differs" if gap.why == "amount":
            return f"A {what} is {ours} in our book and {theirs} in the statement of {firm}."
        case _:
            return f"A {what} of {theirs} has another {gap.why} in the statement of {firm} than in our book."


def _text(minor: int | None, currency: str) -> str:
    return "—" if minor is None else f"{decimal_text(minor, currency)} {currency}"


def counts(gaps: Sequence[Gap]) -> list[int]:
    """How many gaps each bucket holds, in the order of `BUCKETS`."""
    return [sum(gap.bucket == bucket for gap in gaps) for bucket in BUCKETS]
