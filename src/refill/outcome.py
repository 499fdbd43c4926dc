"""The three answers a stranger can give us: done, refused, or we do not know. Only an explicit no is a no."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """It happened; `reference` is what the other side calls it."""

    reference: T


@dataclass(frozen=True, slots=True)
class Refused:
    """It definitely did not happen and never will under this request id.

    `code` is the other side's word, `reason` ours; `final` False says another try, under a new id, may succeed.
    """

    reason: str
    code: str = ""
    final: bool = True


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have happened, or may yet. Never retry under a new id: ask. `code` names an undocumented answer, if one came."""

    why: str
    code: str = ""


# Reasons that the flow of a top-up reacts to; an adapter's code table maps the supplier's codes to them.
EMPTY_FLOAT = "empty_float"  # our prepaid money there is used up: the order parks
NOT_SENT = "not_sent"  # the connection was refused before a byte left
NOT_THEIRS = "not_their_number"  # a definite "not our subscriber": the number belongs to another operator
NOT_FOUND = "not_found"  # the answer to an inquiry: they never heard of our request (or not yet)

Outcome = Done[T] | Refused | Unknown
