"""Decisions of people on routing: written once, read with the catalogue, refused where they mean nothing."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from refill.catalogue import load, steering
from refill.catalogue.routing import Limits, Maintenance, Rule
from refill.db import Pool
from refill.errors import BadInput, NotFound

NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
RULE = Rule("ru_1", "prefer", ("northtel", "southtel"), "cmcc", region="广东", from_minute=10, to_minute=20)


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=1).open()
    yield pool
    await pool.close()


async def test_a_rule_is_in_force_until_somebody_ends_it(db: Pool) -> None:
    await db.transaction(lambda tx: steering.add_rule(tx, RULE, who="mei", says=" cheaper in Guangdong ", position=5))
    (written,) = await db.transaction(steering.rules)
    assert written == steering.Written(RULE, 5, "cheaper in Guangdong", "mei")
    assert (await db.transaction(load)).routing.rules == (RULE,)
    await db.transaction(lambda tx: steering.end_rule(tx, "ru_1"))
    assert (await db.transaction(load)).routing.rules == ()
    with pytest.raises(NotFound):
        await db.transaction(lambda tx: steering.end_rule(tx, "ru_1"))


WRONG = {
    "no such action": {"action": "steal"},
    "of nobody": {"suppliers": ()},
    "a strange name": {"suppliers": ("north tel",)},
    "no time zone": {"zone": "Mars/Base"},
    "upside down": {"least_minor": 2, "most_minor": 1},
    "ends before it begins": {"starts_at": NOON, "ends_at": NOON},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
async def test_a_rule_that_means_nothing_is_refused_in_a_sentence(db: Pool, wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        await db.transaction(lambda tx: steering.add_rule(tx, replace(RULE, **wrong), who="mei", says="why"))
    assert await db.transaction(steering.rules) == []


async def test_a_rule_says_why(db: Pool) -> None:
    with pytest.raises(BadInput):
        await db.transaction(lambda tx: steering.add_rule(tx, RULE, who="mei", says=" "))


def test_hours_are_read_as_people_write_them() -> None:
    assert steering.hours("23:50-00:20") == (1430, 20)
    assert steering.hours(" ") == (None, None)
    for text in ("23:50", "24:00-01:00", "9:00-10:00", "10:00-10:00", "10:00-11:00-12:00", "１０:00-11:00"):
        with pytest.raises(BadInput):
            steering.hours(text)


async def test_a_pause_stands_in_the_calendar_until_it_is_over_or_called_off(db: Pool) -> None:
    pause = Maintenance("northtel", "cmcc", NOON, NOON + timedelta(hours=1))
    await db.transaction(lambda tx: steering.add_pause(tx, "pm_1", pause, who="mei", says="new machines"))
    assert await db.transaction(lambda tx: steering.pauses(tx, NOON)) == [
        steering.Pause("pm_1", pause, "new machines", "mei")
    ]
    assert await db.transaction(lambda tx: steering.pauses(tx, pause.ends_at)) == []
    assert (await db.transaction(load)).routing.maintenance == (pause,)
    await db.transaction(lambda tx: steering.end_pause(tx, "pm_1"))
    with pytest.raises(NotFound):
        await db.transaction(lambda tx: steering.end_pause(tx, "pm_1"))
    with pytest.raises(BadInput):
        await db.transaction(lambda tx: steering.add_pause(tx, "pm_2", replace(pause, ends_at=NOON), who="mei"))


async def test_limits_are_set_again_and_again(db: Pool) -> None:
    for limits in (Limits(most_per_second=5), Limits(enabled=False, most_tries=2)):
        await db.transaction(lambda tx, limits=limits: steering.limit(tx, "northtel", limits))
        assert (await db.transaction(load)).routing.of("northtel") == limits
    for wrong in (Limits(most_in_flight=0), Limits(most_per_second=0), Limits(rest_s=601), Limits(opens_at_bp=10_001)):
        with pytest.raises(BadInput):
            await db.transaction(lambda tx, wrong=wrong: steering.limit(tx, "northtel", wrong))


async def test_an_operator_is_switched_off_and_on(db: Pool) -> None:
    await db.transaction(lambda tx: steering.switch(tx, "cmcc", on=False, when_off="refund"))
    assert (await db.transaction(load)).off("cmcc") == "refund"
    await db.transaction(lambda tx: steering.switch(tx, "cmcc", on=True))
    catalogue = await db.transaction(load)
    assert (catalogue.off("cmcc"), catalogue.off("gone")) == (None, "wait")
    with pytest.raises(NotFound):
        await db.transaction(lambda tx: steering.switch(tx, "gone", on=True))
    with pytest.raises(BadInput):
        await db.transaction(lambda tx: steering.switch(tx, "cmcc", on=False, when_off="steal"))
