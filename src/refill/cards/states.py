"""The life of a subscriber and of its validity, as pure rules: what state it is in, what a top-up does to its end."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

STOCK, ACTIVE, GRACE, SUSPENDED, EXPIRED, RECYCLED = "stock", "active", "grace", "suspended", "expired", "recycled"

# After validity ends: incoming calls only, then no service, then the credit is gone, then the number serves someone else.
GRACE_LASTS = timedelta(days=90)
SUSPENSION_LASTS = timedelta(days=90)
QUARANTINE_LASTS = timedelta(days=90)

FROM_TODAY, FROM_EXPIRY, LONGER, NEVER = "from_today", "from_expiry", "longer", "never"
LONGEST_DAYS = 3650  # validity never reaches further than ten years from today, however often it is extended


def life(state: str, active_until: datetime | None, now: datetime) -> str:
    """The state that a subscriber has by now, which may be later in life than the one last written down.

    stock → active → grace → suspended → expired → recycled; who is expired or recycled never comes back by itself.
    """
    if active_until is None or state in (STOCK, RECYCLED):
        return state
    late = now - active_until
    if state == EXPIRED or late >= GRACE_LASTS + SUSPENSION_LASTS:
        return RECYCLED if late >= GRACE_LASTS + SUSPENSION_LASTS + QUARANTINE_LASTS else EXPIRED
    if late >= GRACE_LASTS:
        return SUSPENDED
    return GRACE if late >= timedelta(0) else ACTIVE


@dataclass(frozen=True, slots=True)
class Reach:
    """What a top-up does to validity: the later of (its end + `plus_days`) and (today + `at_least_days`).

    None: that side does not count. Neither is longer than `LONGEST_DAYS`.
    """

    plus_days: int | None
    at_least_days: int | None

    def from_(self, active_until: datetime | None, now: datetime) -> datetime | None:
        """The end of validity after this step; None: there was none, and this step gives none."""
        if self.at_least_days is None:
            return active_until
        end = now + timedelta(days=self.at_least_days)
        if self.plus_days is not None and active_until is not None:
            end = max(end, active_until + timedelta(days=self.plus_days))
        return min(end, now + timedelta(days=LONGEST_DAYS))


NOTHING = Reach(0, None)


@lru_cache(1024)
def reach(policy: str, days: int) -> Reach:
    """What a product's validity does.

    from_today: ends `days` from now, even if it would have lasted longer; from_expiry: `days` more; longer: `days` from
    now unless it lasts longer already; never: left as it is.
    """
    days = min(days, LONGEST_DAYS)
    if policy == NEVER:
        return NOTHING
    if policy == FROM_TODAY:
        return Reach(None, days)
    if policy == FROM_EXPIRY:
        return Reach(days, days)
    if policy == LONGER:
        return Reach(0, days)
    raise ValueError(f"there is no validity policy {policy!r}")


@dataclass(frozen=True, slots=True)
class Grant:
    """Validity that one top-up gave at a moment."""

    at: datetime
    days: int
    policy: str


def validity(first_until: datetime | None, grants: Iterable[Grant]) -> datetime | None:
    """The end of validity that activation and some top-ups give, counted again from the start."""
    end = first_until
    for grant in sorted(grants, key=lambda grant: grant.at):
        end = reach(grant.policy, grant.days).from_(end, grant.at)
    return end
