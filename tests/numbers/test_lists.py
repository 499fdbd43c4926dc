"""Lists of numbers: whole numbers by keyed index, each line with a reason, a person and perhaps an end."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from refill.db import Pool
from refill.errors import BadInput, CannotHappen
from refill.numbers import lists, msisdn, number_id
from refill.vault import Vault

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
VAULT = Vault(bytes(range(32)))
ANNA = msisdn("138 0013 8000")


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=2).open()
    yield pool
    await pool.close()


async def put(db: Pool, kind: str = "block", at: datetime = NOW, where: str = "all", **more: object) -> str:
    terms = {"reason": "reported", "who": "ben", **more}
    return await db.transaction(lambda tx: lists.put(tx, VAULT, ANNA, kind, where=where, now=at, **terms))  # type: ignore[arg-type]


async def test_a_number_is_kept_by_its_index_and_never_in_clear(db: Pool, dsn: str) -> None:
    assert not await db.transaction(lists.any_listed)
    assert await put(db) == number_id(VAULT, ANNA)
    assert await db.transaction(lists.any_listed)
    (line,) = await db.transaction(lambda tx: lists.listing(tx, NOW))
    assert (line.scope, line.kind, line.reason, line.who, line.listed_at) == ("all", "block", "reported", "ben", NOW)
    with psycopg.connect(dsn) as connection:
        (text,) = connection.execute("SELECT string_agg(l::text, '') FROM numbers_listed l").fetchone() or ("",)
        assert "13800138000" not in text
        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute("DELETE FROM numbers_listed")


async def test_the_latest_line_of_a_scope_counts_and_the_earlier_ones_stay_readable(db: Pool, dsn: str) -> None:
    await put(db)
    await put(db, "allow", NOW + HOUR)
    await put(db, where="operator:cmcc", at=NOW + HOUR)
    await put(db, "lift", NOW + 2 * HOUR, reason="a mistake")
    (line,) = await db.transaction(lambda tx: lists.listing(tx, NOW + 2 * HOUR))
    assert (line.scope, line.kind) == ("operator:cmcc", "block")
    found = await db.transaction(lambda tx: lists.lines(tx, [line.number]))
    assert {one.scope: one.kind for one in found} == {"all": "lift", "operator:cmcc": "block"}
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM numbers_listed").fetchone() == (4,)
    with pytest.raises(CannotHappen, match="not listed there"):
        await put(db, "lift", NOW + 3 * HOUR)


async def test_a_line_with_an_end_is_over_then(db: Pool) -> None:
    await put(db, until=NOW + HOUR)
    assert await db.transaction(lambda tx: lists.listing(tx, NOW + HOUR)) == []
    with pytest.raises(CannotHappen):
        await put(db, "lift", NOW + HOUR)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"reason": "  "}, "Say why"),
        ({"reason": "x" * 301}, "Say why"),
        ({"who": ""}, "Say why"),
        ({"until": NOW}, "over already"),
        ({"where": "operator"}, "A scope is"),
        ({"where": "operator:CMCC"}, "A scope is"),
        ({"where": "prefix:138"}, "A scope is"),
        ({"where": "all\n"}, "A scope is"),
    ],
    ids=["no reason", "a story", "nobody", "over", "half", "upper case", "prefix", "line break"],
)
async def test_what_is_no_line_is_refused(db: Pool, more: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        await put(db, **more)  # type: ignore[arg-type]
    assert not await db.transaction(lists.any_listed)


@pytest.mark.parametrize("text", ["138", "1380013", "+86 138", "138*", ""])
def test_a_prefix_is_no_number(text: str) -> None:
    with pytest.raises(BadInput, match="ported"):
        lists.whole_number(text)


def test_a_whole_number_is_read_as_people_write_it() -> None:
    assert lists.whole_number("138 0013 8000") == ANNA
    with pytest.raises(BadInput):
        lists.whole_number("138 0013 80001")
