"""Whose number it is: sources are weighed in one order, and a definite "not ours" takes a source's word back."""

from datetime import UTC, datetime, timedelta

import pytest

from refill.numbers.belief import LEARNED_LASTS, NOTHING, Answer, Belief, Known, Word, believe

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def said(operator: str, days_ago: float = 1) -> Word:
    return Word(operator, NOW - days_ago * DAY)


def told(operator: str | None, *, days_ago: float = 1, fresh: bool = True, ported: bool | None = None) -> Answer:
    return Answer(operator, ported, NOW - days_ago * DAY, NOW + HOUR if fresh else NOW)


LONG_AGO = LEARNED_LASTS / DAY + 1

STORIES = [
    ("nobody knows anything", NOTHING, None, None, ""),
    ("the prefix speaks when nobody else does", NOTHING, "cmcc", "cmcc", "prefix"),
    ("a look-up counts more than the prefix", Known(answer=told("ctcc")), "cmcc", "ctcc", "look_up"),
    ("a look-up that is no longer fresh does not", Known(answer=told("ctcc", fresh=False)), "cmcc", "cmcc", "prefix"),
    (
        "an outcome counts more than a look-up",
        Known(learned=said("cunicom", 90), answer=told("ctcc")),
        "cmcc",
        "cunicom",
        "outcome",
    ),
    (
        "an outcome of long ago counts less",
        Known(learned=said("cunicom", LONG_AGO), answer=told("ctcc")),
        "cmcc",
        "ctcc",
        "look_up",
    ),
    ("but more than the prefix", Known(learned=said("cunicom", LONG_AGO)), "cmcc", "cunicom", "outcome"),
    (
        "and more than a network that we do not know",
        Known(learned=said("cunicom", LONG_AGO), answer=told(None)),
        "cmcc",
        "cunicom",
        "outcome",
    ),
    (
        "a person counts more than all of them",
        Known(override=said("cbn", 400), learned=said("cunicom"), answer=told("ctcc")),
        "cmcc",
        "cbn",
        "person",
    ),
    (
        "until the day that the person named",
        Known(override=said("cbn"), override_until=NOW, learned=said("cunicom")),
        "cmcc",
        "cunicom",
        "outcome",
    ),
    (
        "who said 'not ours' after an outcome is not believed on it",
        Known(learned=said("cunicom", 3), disowned=said("cunicom", 2), answer=told("ctcc")),
        "cmcc",
        "ctcc",
        "look_up",
    ),
    (
        "nor on a look-up of before",
        Known(disowned=said("ctcc", 1), answer=told("ctcc", days_ago=2)),
        "cmcc",
        "cmcc",
        "prefix",
    ),
    (
        "but on a look-up of after",
        Known(disowned=said("ctcc", 2), answer=told("ctcc", days_ago=1)),
        "cmcc",
        "ctcc",
        "look_up",
    ),
    (
        "a person's word stands whatever was said",
        Known(override=said("ctcc", 9), disowned=said("ctcc", 1)),
        "cmcc",
        "ctcc",
        "person",
    ),
]


@pytest.mark.parametrize(
    ("known", "hint", "operator", "source"), [story[1:] for story in STORIES], ids=[s[0] for s in STORIES]
)
def test_sources_are_weighed_in_one_order(known: Known, hint: str | None, operator: str | None, source: str) -> None:
    belief = believe(known, hint, NOW)
    assert (belief.operator, belief.source) == (operator, source)


def test_a_prefix_whose_operator_said_not_ours_is_doubted_and_still_offered() -> None:
    belief = believe(Known(disowned=said("cmcc")), "cmcc", NOW)
    assert belief == Belief("cmcc", "prefix", doubted=True), "a doubt asks the person; it refuses nobody"
    assert not believe(Known(disowned=said("ctcc")), "cmcc", NOW).doubted


def test_a_number_ported_to_a_network_that_we_do_not_sell_is_doubted() -> None:
    assert believe(Known(answer=told(None, ported=True)), "cmcc", NOW).doubted
    assert not believe(Known(answer=told(None, ported=False)), "cmcc", NOW).doubted
    assert believe(Known(answer=told(None, ported=True)), None, NOW) == Belief(None, ported=True)


@pytest.mark.parametrize(
    ("known", "hint", "ported"),
    [
        (NOTHING, "cmcc", None),
        (Known(learned=said("ctcc")), "cmcc", True),
        (Known(learned=said("cmcc")), "cmcc", False),
        (Known(learned=said("vodafone_uk")), None, None),
        (Known(override=said("ctcc")), "cmcc", True),
        (Known(answer=told("ctcc")), "cmcc", True),
        (Known(answer=told("cmcc", ported=True)), "cmcc", True),
        (Known(answer=told("o2_uk", ported=False)), None, False),
    ],
    ids=["nobody told", "moved", "stayed", "no prefix", "decided", "looked up", "came back", "abroad"],
)
def test_ported_is_told_or_seen_from_the_prefix(known: Known, hint: str | None, ported: bool | None) -> None:
    assert believe(known, hint, NOW).ported is ported
