"""What we are told of whose a number is, is kept by index alone, and each source is written by its own rule."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from refill.db import Pool
from refill.errors import BadInput, NotFound
from refill.numbers import (
    Belief,
    Lesson,
    Looked,
    answers,
    believed,
    decide,
    erase,
    forget_stale,
    keep_answer,
    known,
    learn,
    msisdn,
    number_id,
    overrides,
    remember,
    undecide,
)
from refill.vault import Vault

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
vault = Vault(bytes(range(32)))
PEKING, SHANGHAI = msisdn("13800138000"), msisdn("13900139000")
ONE, OTHER = number_id(vault, PEKING), number_id(vault, SHANGHAI)
FOUND = Looked("whose", "hlr_json", "done", NOON, NOON + DAY, "46003", "ctcc", True)


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=2).open()
    await pool.transaction(lambda tx: remember(tx, vault, [PEKING, SHANGHAI], NOON))
    yield pool
    await pool.close()


async def taught(db: Pool, *lessons: Lesson, at: datetime = NOON) -> None:
    await db.transaction(lambda tx: learn(tx, lessons, at, at - 30 * DAY))


async def belief(db: Pool, number: str = ONE, at: datetime = NOON) -> Belief:
    return (await db.transaction(lambda tx: believed(tx, {number: "cmcc"}, at)))[number]


async def test_a_delivery_teaches_and_not_ours_takes_it_back(db: Pool) -> None:
    assert await belief(db) == Belief("cmcc", "prefix")
    await taught(db, Lesson(ONE, "ctcc", theirs=True), Lesson(OTHER, "cunicom", theirs=True))
    assert await belief(db) == Belief("ctcc", "outcome", NOON, True)
    await taught(db, Lesson(ONE, "ctcc", theirs=False), at=NOON + DAY)
    assert await belief(db) == Belief("cmcc", "prefix")
    assert (await belief(db, OTHER)).operator == "cunicom", "the others keep what they taught"


async def test_a_denial_by_one_operator_says_nothing_of_another(db: Pool) -> None:
    await taught(db, Lesson(ONE, "ctcc", theirs=True))
    await taught(db, Lesson(ONE, "cmcc", theirs=False), at=NOON + DAY)
    assert (await belief(db)).operator == "ctcc"
    told = (await db.transaction(lambda tx: known(tx, [ONE])))[ONE]
    assert told.disowned is not None and told.disowned.operator == "cmcc"
    await taught(db, Lesson(ONE, "cmcc", theirs=True), at=NOON + 2 * DAY)
    told = (await db.transaction(lambda tx: known(tx, [ONE])))[ONE]
    assert told.disowned is None, "whoever delivers owns it again"


async def test_a_doubt_stays_after_not_ours(db: Pool) -> None:
    await taught(db, Lesson(ONE, "cmcc", theirs=False))
    assert await belief(db) == Belief("cmcc", "prefix", doubted=True)


async def test_the_last_word_about_a_number_counts(db: Pool) -> None:
    await taught(db, Lesson(ONE, "ctcc", theirs=True), Lesson(ONE, "ctcc", theirs=False))
    assert (await belief(db)).operator == "cmcc"


async def test_the_same_lesson_is_written_once_a_month(db: Pool) -> None:
    await taught(db, Lesson(ONE, "ctcc", theirs=True))
    await taught(db, Lesson(ONE, "ctcc", theirs=True), at=NOON + 29 * DAY)
    assert (await belief(db, at=NOON + 29 * DAY)).at == NOON
    await taught(db, Lesson(ONE, "ctcc", theirs=True), at=NOON + 31 * DAY)
    assert (await belief(db, at=NOON + 31 * DAY)).at == NOON + 31 * DAY


async def test_a_number_that_we_never_met_teaches_nothing(db: Pool) -> None:
    await taught(db, Lesson("0" * 16, "ctcc", theirs=True))
    assert (await belief(db, "0" * 16)).source == "prefix"
    await taught(db)


async def test_a_person_decides_with_why_and_until_when(db: Pool) -> None:
    until = NOON + 30 * DAY
    await db.transaction(
        lambda tx: decide(tx, ONE, "cbn", why="She showed her contract", who="li", now=NOON, until=until)
    )
    assert await belief(db) == Belief("cbn", "person", NOON, True)
    assert (await belief(db, at=until)).operator == "cmcc", "it ends by itself"
    await db.transaction(lambda tx: decide(tx, ONE, "ctcc", why="Ported again", who="wang", now=NOON + DAY))
    kept = await db.transaction(lambda tx: overrides(tx, ONE))
    assert [(each.operator, each.who, each.ended_by) for each in kept] == [
        ("ctcc", "wang", None),
        ("cbn", "li", "wang"),
    ]
    await db.transaction(lambda tx: undecide(tx, ONE, who="li", now=NOON + 2 * DAY))
    assert (await belief(db)).operator == "cmcc"
    with pytest.raises(NotFound):
        await db.transaction(lambda tx: undecide(tx, ONE, who="li", now=NOON + 2 * DAY))


@pytest.mark.parametrize(
    ("why", "who", "until"), [(" ", "li", None), ("seen", "", None), ("seen", "li", NOON)], ids=["why", "who", "until"]
)
async def test_a_decision_names_its_person_its_reason_and_a_day_to_come(
    db: Pool, why: str, who: str, until: datetime | None
) -> None:
    with pytest.raises(BadInput):
        await db.transaction(lambda tx: decide(tx, ONE, "cbn", why=why, who=who, now=NOON, until=until))
    assert await db.transaction(lambda tx: overrides(tx, ONE)) == []


async def test_an_answer_is_kept_for_a_while_and_an_unknown_never_hides_it(db: Pool) -> None:
    silent = replace(FOUND, answered="unknown", operator=None, ported=None, network=None, fresh_until=NOON + DAY / 24)
    await db.transaction(lambda tx: keep_answer(tx, ONE, silent))
    assert (await belief(db)).source == "prefix"
    await db.transaction(lambda tx: keep_answer(tx, ONE, FOUND))
    await db.transaction(lambda tx: keep_answer(tx, ONE, silent))
    assert await belief(db) == Belief("ctcc", "look_up", NOON, True)
    assert await db.transaction(lambda tx: answers(tx, ONE, NOON)) == {"whose": FOUND}
    assert await db.transaction(lambda tx: answers(tx, ONE, NOON + DAY)) == {}
    assert (await belief(db, at=NOON + DAY)).source == "prefix"
    late = replace(silent, asked_at=NOON + DAY, fresh_until=NOON + 2 * DAY)
    await db.transaction(lambda tx: keep_answer(tx, ONE, late))
    assert (await db.transaction(lambda tx: answers(tx, ONE, NOON + DAY)))["whose"].answered == "unknown"
    assert await db.transaction(lambda tx: forget_stale(tx, NOON + 2 * DAY)) == 1


async def test_nobody_reads_a_number_out_of_what_is_kept_and_erasing_takes_all_of_it(db: Pool, dsn: str) -> None:
    await db.transaction(lambda tx: keep_answer(tx, ONE, FOUND))
    await db.transaction(lambda tx: decide(tx, ONE, "cbn", why="seen", who="li", now=NOON))
    with psycopg.connect(dsn) as connection:
        for table in ("numbers_lookup", "numbers_override"):
            assert "13800138000" not in str(connection.execute(f"SELECT t::text FROM {table} t").fetchall())
    assert await db.transaction(lambda tx: erase(tx, ONE))
    assert await belief(db) == Belief("cmcc", "prefix")
    assert await db.transaction(lambda tx: overrides(tx, ONE)) == []
    assert await db.transaction(lambda tx: known(tx, [])) == {}
