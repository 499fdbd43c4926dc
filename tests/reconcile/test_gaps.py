"""The rules of reconciliation alone: days, differences, patience, and the sentences that people read."""

from datetime import UTC, date, datetime, timedelta

import pytest

from refill.money import money
from refill.reconcile.gaps import BUCKETS, Gap, Side, business_day, counts, difference, first_state, limits, sentence

DAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
END = limits(DAY)[1]


def gap(bucket: str, kind: str = "payment", **more: object) -> Gap:
    fields: dict[str, object] = {
        "cell": 1,
        "reference": "pay_1",
        "request_id": "",
        "transaction": "2026",
        "n": 3,
        "ours_minor": None if bucket in ("theirs_only", "duplicate") else 4980,
        "theirs_minor": None if bucket == "ours_only" else 4980,
        "currency": "CNY",
        "at": NOON,
    }
    return Gap(bucket, kind, **{**fields, **more})  # type: ignore[arg-type]


def test_a_business_day_is_chinas() -> None:
    assert limits(DAY) == (datetime(2026, 11, 21, 16, tzinfo=UTC), datetime(2026, 11, 22, 16, tzinfo=UTC))
    assert business_day(datetime(2026, 11, 21, 16, 0, tzinfo=UTC)) == DAY
    assert business_day(datetime(2026, 11, 22, 15, 59, 59, tzinfo=UTC)) == DAY


SAID = Side(4980, "CNY", "pay_1", NOON)


@pytest.mark.parametrize(
    ("ours", "what"),
    [
        (SAID, ""),
        (SAID._replace(minor=4979), "amount"),
        (SAID._replace(currency="USD"), "amount"),
        (SAID._replace(reference="pay_2"), "reference"),
        (SAID._replace(at=NOON + timedelta(days=1)), ""),
        (SAID._replace(at=NOON - timedelta(days=1, seconds=1)), "time"),
    ],
)
def test_two_words_about_one_payment_are_compared_in_amount_reference_and_time(ours: Side, what: str) -> None:
    assert difference(SAID, ours) == what
    if what == "time":
        assert difference(SAID, ours, times=False) == ""


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (gap("theirs_only", askable=True), "asking"),
        (gap("theirs_only"), "case"),
        (gap("differs"), "case"),
        (gap("duplicate"), "case"),
        (gap("ours_only"), "case"),
        (gap("ours_only", at=END - timedelta(minutes=30)), "carried"),
        (gap("ours_only", at=END - timedelta(minutes=30, seconds=1)), "case"),
        (gap("ours_only", "refund", at=END - timedelta(days=3)), "carried"),
        (gap("ours_only", "refund", at=END - timedelta(days=3, seconds=1)), "case"),
    ],
)
def test_a_gap_is_asked_about_waits_or_is_a_persons(given: Gap, state: str) -> None:
    assert first_state(given, END) == state


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (gap("ours_only"), "Our payment of 49.80 CNY is in no statement of alipay's."),
        (
            gap("theirs_only", "refund"),
            "The statement of alipay has a refund of 49.80 CNY that our book does not have.",
        ),
        (gap("duplicate"), "The statements of alipay have a payment of 49.80 CNY twice."),
        (
            gap("differs", why="amount", theirs_minor=5000),
            "A payment is 49.80 CNY in our book and 50.00 CNY in the statement of alipay.",
        ),
        (
            gap("differs", why="time"),
            "A payment of 49.80 CNY has another time in the statement of alipay than in our book.",
        ),
    ],
)
def test_a_gap_is_a_sentence(given: Gap, says: str) -> None:
    assert sentence(given, "alipay") == says


def test_what_is_at_stake_is_what_one_side_lacks() -> None:
    assert gap("ours_only").money == gap("theirs_only").money == gap("duplicate").money == money("49.80 CNY")
    assert gap("differs", theirs_minor=5000).money == money("0.20 CNY")


def test_the_same_trouble_has_the_same_name_on_every_day_but_each_duplicate_its_own() -> None:
    tomorrow = DAY + timedelta(days=1)
    assert gap("ours_only").id("alipay", DAY) == gap("theirs_only").id("alipay", tomorrow) == "alipay:payment:2026"
    assert gap("ours_only", "refund", request_id="rf_1").id("alipay", DAY) == "alipay:refund:rf_1"
    assert gap("duplicate").id("alipay", DAY) == "alipay:payment:2026:2026-11-22:3"


def test_buckets_are_counted_in_their_order() -> None:
    assert counts([gap("differs"), gap("ours_only"), gap("differs")]) == [1, 0, 2, 0]
    assert BUCKETS[2] == "differs"
