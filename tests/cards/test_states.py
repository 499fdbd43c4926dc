"""A subscriber's life and validity as pure rules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refill.cards.states import LONGEST_DAYS, Grant, life, reach, validity

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("late", "state"),
    [
        (-SECOND, "active"),
        (0 * DAY, "grace"),
        (90 * DAY - SECOND, "grace"),
        (90 * DAY, "suspended"),
        (180 * DAY - SECOND, "suspended"),
        (180 * DAY, "expired"),
        (270 * DAY - SECOND, "expired"),
        (270 * DAY, "recycled"),
    ],
)
def test_service_ends_step_by_step(late: timedelta, state: str) -> None:
    for written_down in ("active", "grace", "suspended"):
        assert life(written_down, NOON - late, NOON) == state


def test_a_card_in_stock_does_not_age_and_the_dead_do_not_rise() -> None:
    assert life("stock", None, NOON) == "stock"
    assert life("expired", NOON + DAY, NOON) == "expired"
    assert life("recycled", NOON + DAY, NOON) == "recycled"


@pytest.mark.parametrize(
    ("policy", "left", "after"),
    [
        ("from_today", 10, 30),
        ("from_today", 100, 30),
        ("from_today", -10, 30),
        ("from_expiry", 10, 40),
        ("from_expiry", -10, 30),
        ("longer", 10, 30),
        ("longer", 100, 100),
        ("never", 10, 10),
        ("never", -10, -10),
    ],
)
def test_thirty_days_mean_what_the_product_says(policy: str, left: int, after: int) -> None:
    assert reach(policy, 30).from_(NOON + left * DAY, NOON) == NOON + after * DAY


def test_a_card_in_stock_gets_its_first_days_by_a_topup_that_gives_some() -> None:
    assert reach("from_expiry", 30).from_(None, NOON) == NOON + 30 * DAY
    assert reach("from_today", 30).from_(None, NOON) == NOON + 30 * DAY
    assert reach("never", 30).from_(None, NOON) is None


def test_an_unknown_policy_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="sometimes"):
        reach("sometimes", 30)


steps = st.builds(reach, st.sampled_from(["from_today", "from_expiry", "longer", "never"]), st.integers(0, 4000))
left = st.none() | st.integers(-400, LONGEST_DAYS).map(lambda days: NOON + days * DAY)


@given(left, st.lists(steps, max_size=12))
def test_however_many_steps_end_within_ten_years(until: datetime | None, walked: list) -> None:
    end = until
    for step in walked:
        end = step.from_(end, NOON)
    assert end is None or end <= NOON + LONGEST_DAYS * DAY


def test_taking_one_topup_back_leaves_what_the_others_gave() -> None:
    first = NOON + 30 * DAY
    one = Grant(NOON, 30, "from_expiry")
    two = Grant(NOON + DAY, 60, "from_expiry")
    assert validity(first, [two, one]) == first + 90 * DAY
    assert validity(first, [two]) == first + 60 * DAY
    assert validity(first, []) == first
    assert validity(None, []) is None
