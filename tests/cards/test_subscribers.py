"""Top-ups extend validity exactly, alone or in a batch, and only of the subscriber that was meant."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refill import ledger
from refill.cards import Extension, Grant, Shortening, Subscriber, age, balance_account, by_id, by_numbers, create
from refill.cards import extend as extend_batch
from refill.cards import shorten as shorten_batch
from refill.db import Pool, Statement, Tx
from refill.errors import CannotHappen
from refill.ids import CELLS, cell_of, make_id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
# Days that each state has left at noon, so that state and validity fit each other.
LEFT = {"stock": None, "active": 10, "grace": -10, "suspended": -100, "expired": -200, "recycled": -300}


def somebody(place: int, state: str = "active", days: int | None = 10) -> Subscriber:
    number = f"{place:016}"
    until = None if days is None else NOON + days * DAY
    cell = cell_of(number)
    kept = None if state == "recycled" else number
    return Subscriber(make_id("su", cell, 1, place), cell, kept, state, until, "CNY", "demo", f"89{place:017}")


def days_for(subscriber: Subscriber, days: int, policy: str = "from_expiry", number: str | None = None) -> Extension:
    return Extension(subscriber.id, subscriber.cell, number or subscriber.number or "", days, policy)


async def there_are(db: Pool, *subscribers: Subscriber) -> None:
    await db.transaction(lambda tx: create(tx, subscribers, NOON - 400 * DAY))


async def extend(db: Pool, *rows: Extension, now: datetime = NOON) -> list[datetime | None]:
    return await db.transaction(lambda tx: extend_batch(tx, rows, now))


async def as_written(db: Pool, subscriber: Subscriber) -> Subscriber:
    found = await db.transaction(lambda tx: by_id(tx, subscriber.cell, subscriber.id))
    assert found is not None
    return found


async def test_a_subscriber_is_found_by_number_and_has_an_empty_balance(db: Pool) -> None:
    anna, ben = somebody(1), somebody(2, "grace", -5)
    await there_are(db, anna, ben)
    found = await db.transaction(lambda tx: by_numbers(tx, ["0" * 15 + "1", "0" * 15 + "2", "0" * 15 + "3"]))
    assert found == {anna.number: anna, ben.number: ben}
    assert await db.transaction(lambda tx: by_numbers(tx, [])) == {}
    account = balance_account(anna)
    assert account == f"balance:{anna.id}/CNY"
    assert ledger.cell_of_account(account) == anna.cell
    assert await db.transaction(lambda tx: ledger.balances(tx, [account])) == {account: 0}


async def test_a_number_serves_one_subscriber(db: Pool) -> None:
    anna = somebody(1)
    await there_are(db, anna)
    thief = Subscriber(make_id("su", anna.cell, 1, 99), anna.cell, anna.number, "stock", None, "CNY", "demo", "89")
    assert await db.transaction(lambda tx: create(tx, [thief], NOON)) == set()
    assert await db.transaction(lambda tx: create(tx, [], NOON)) == set()


async def test_a_topup_extends_validity(db: Pool) -> None:
    anna = somebody(1)
    await there_are(db, anna)
    assert await extend(db, days_for(anna, 30)) == [NOON + 40 * DAY]
    assert (await as_written(db, anna)).active_until == NOON + 40 * DAY


async def test_the_same_number_twice_in_a_batch_extends_twice_and_each_row_has_its_own_answer(db: Pool) -> None:
    anna, ben = somebody(1), somebody(2)
    await there_are(db, anna, ben)
    answers = await extend(db, days_for(anna, 30), days_for(ben, 7), days_for(anna, 5, "longer"), days_for(anna, 30))
    assert answers == [NOON + 40 * DAY, NOON + 17 * DAY, NOON + 40 * DAY, NOON + 70 * DAY]
    assert (await as_written(db, anna)).active_until == NOON + 70 * DAY


@pytest.mark.parametrize("state", ["stock", "grace", "suspended"])
async def test_a_topup_brings_service_back(db: Pool, state: str) -> None:
    anna = somebody(1, state, LEFT[state])
    await there_are(db, anna)
    assert await extend(db, days_for(anna, 30)) == [NOON + 30 * DAY]
    assert (await as_written(db, anna)).state == "active"


@pytest.mark.parametrize("state", ["grace", "suspended"])
async def test_credit_without_validity_brings_no_service_back(db: Pool, state: str) -> None:
    anna = somebody(1, state, LEFT[state])
    await there_are(db, anna)
    assert await extend(db, days_for(anna, 0, "never")) == [anna.active_until]
    assert await as_written(db, anna) == anna


async def test_a_card_in_stock_waits_for_a_topup_that_gives_it_days(db: Pool) -> None:
    anna = somebody(1, "stock", None)
    await there_are(db, anna)
    assert await extend(db, days_for(anna, 0, "never")) == [None]
    assert await as_written(db, anna) == anna
    answers = await extend(
        db, days_for(anna, 0, "never"), days_for(anna, 30), days_for(anna, 0, "never"), days_for(anna, 1)
    )
    assert answers == [None, NOON + 30 * DAY, NOON + 30 * DAY, NOON + 31 * DAY]


@pytest.mark.parametrize("state", ["expired", "recycled"])
async def test_who_is_expired_or_recycled_is_refused_and_does_not_disturb_the_others(db: Pool, state: str) -> None:
    anna, ben = somebody(1, state, LEFT[state]), somebody(2)
    await there_are(db, anna, ben)
    assert await extend(db, days_for(anna, 30, number=f"{1:016}"), days_for(ben, 30)) == [None, NOON + 40 * DAY]
    assert await as_written(db, anna) == anna


async def test_a_subscriber_that_no_longer_has_the_quoted_number_is_refused(db: Pool) -> None:
    anna, ben = somebody(1), somebody(2)
    await there_are(db, anna, ben)
    answers = await extend(
        db, days_for(anna, 30, number=ben.number), days_for(anna, 30), days_for(anna, 30, number="x")
    )
    assert answers == [None, NOON + 40 * DAY, None]
    assert (await as_written(db, anna)).active_until == NOON + 40 * DAY


async def test_a_subscriber_that_never_was_is_refused(db: Pool) -> None:
    assert await extend(db, days_for(somebody(1), 30)) == [None]
    assert await extend(db) == []


async def test_validity_never_reaches_further_than_ten_years(db: Pool) -> None:
    anna = somebody(1)
    await there_are(db, anna)
    answers = await extend(db, *[days_for(anna, 3650) for _ in range(1_000)])
    assert set(answers) == {NOON + 3650 * DAY}
    assert (await as_written(db, anna)).active_until == NOON + 3650 * DAY


people = st.lists(st.sampled_from(list(LEFT)), min_size=1, max_size=4)
topups = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(1, 4000),
        st.sampled_from(["from_today", "from_expiry", "longer", "never"]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people, topups)
async def test_a_batch_equals_its_rows_one_by_one(db: Pool, states: list[str], topups: list) -> None:
    await empty(db)
    once = [somebody(place, state, LEFT[state]) for place, state in enumerate(states)]
    again = [somebody(100 + place, state, LEFT[state]) for place, state in enumerate(states)]
    await there_are(db, *once, *again)

    def asked(of: Sequence[Subscriber]) -> list[Extension]:
        return [
            days_for(of[place % len(of)], days, policy, None if same else "recycled")
            for place, days, policy, same in topups
        ]

    together = await extend(db, *asked(once))
    one_by_one = [answer for row in asked(again) for answer in await extend(db, row)]
    assert together == one_by_one
    for first, second in zip(once, again, strict=True):
        left, right = await as_written(db, first), await as_written(db, second)
        assert (left.state, left.active_until) == (right.state, right.active_until)


EMPTY = Statement("DELETE FROM cards_subscriber")


async def empty(db: Pool) -> None:
    await db.transaction(lambda tx: tx.run(EMPTY))


async def test_batches_that_meet_the_same_people_in_other_orders_neither_hang_nor_lose_a_day(db: Pool) -> None:
    crowd = [somebody(place) for place in range(40)]
    await there_are(db, *crowd)
    batches = [[days_for(one, 1) for one in (crowd if turn % 2 else reversed(crowd))] for turn in range(24)]
    await asyncio.gather(*(extend(db, *batch) for batch in batches))
    for one in crowd:
        assert (await as_written(db, one)).active_until == NOON + (10 + 24) * DAY


TELL_NOW = Statement("SELECT pg_stat_force_next_flush()")


async def test_an_extension_touches_no_index(db: Pool, dsn: str) -> None:
    crowd = [somebody(place) for place in range(60)]
    await there_are(db, *crowd)

    async def extend_and_tell(tx: Tx, some: Sequence[Subscriber]) -> None:
        await extend_batch(tx, [days_for(one, 1) for one in some], NOON)
        await tx.run(TELL_NOW)

    with psycopg.connect(dsn, autocommit=True) as connection:
        before = updates(connection)
        for first in range(0, 60, 4):  # as in life: a few subscribers of a page at a time
            await db.transaction(lambda tx, first=first: extend_and_tell(tx, crowd[first : first + 4]))
        updated, in_place = (later - earlier for earlier, later in zip(before, updates(connection), strict=True))
    assert updated == 60
    assert in_place >= 50


def updates(connection: psycopg.Connection) -> tuple[int, int]:
    row = connection.execute(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'cards_subscriber'"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


async def shorten(db: Pool, *rows: Shortening, now: datetime = NOON) -> list[Subscriber | None]:
    return await db.transaction(lambda tx: shorten_batch(tx, rows, now))


async def test_a_reversal_counts_validity_again_from_the_topups_that_stand(db: Pool) -> None:
    anna = somebody(1)
    await there_are(db, anna)
    await extend(db, days_for(anna, 30))
    await extend(db, days_for(anna, 60), now=NOON + DAY)
    kept = (Grant(NOON + DAY, 60, "from_expiry"),)
    (now,) = await shorten(db, Shortening(anna.id, anna.cell, anna.number or "", kept), now=NOON + 2 * DAY)
    assert now is not None
    assert (now.state, now.active_until) == ("active", NOON + 70 * DAY)
    assert await as_written(db, anna) == now


async def test_what_only_the_reversed_topup_had_revived_falls_back(db: Pool) -> None:
    late, fresh = somebody(1, "grace", -10), somebody(2, "stock", None)
    dead = somebody(3, "suspended", -179)
    await there_are(db, late, fresh, dead)
    await extend(db, days_for(late, 30), days_for(fresh, 30), days_for(dead, 30))
    rows = [Shortening(one.id, one.cell, one.number or "", ()) for one in (late, fresh, dead)]
    answers = await shorten(db, *rows, now=NOON + 5 * DAY)
    assert [one.state for one in answers if one] == ["grace", "stock", "suspended"]
    assert await as_written(db, fresh) == fresh


async def test_a_reversal_of_a_stranger_is_refused(db: Pool) -> None:
    anna, gone = somebody(1), somebody(2, "expired", -200)
    await there_are(db, anna, gone)
    answers = await shorten(
        db, Shortening(anna.id, anna.cell, "other", ()), Shortening(gone.id, gone.cell, gone.number or "", ())
    )
    assert answers == [None, None]
    twice = Shortening(anna.id, anna.cell, anna.number or "", ())
    with pytest.raises(CannotHappen):
        await shorten(db, twice, twice)


async def test_time_moves_everybody_on_one_stage_after_the_other(db: Pool) -> None:
    ben = somebody(2, "active", 500)
    anna = somebody(1, "active", 10)
    stock = somebody(3, "stock", None)
    await there_are(db, anna, ben, stock)
    seen = []
    for days in (9, 10, 99, 100, 190, 280, 281):
        for change in await db.transaction(lambda tx, days=days: age(tx, NOON + days * DAY)):
            assert change.became.id == anna.id
            seen.append((days, change.was.state, change.became.state))
    assert seen == [
        (10, "active", "grace"),
        (100, "grace", "suspended"),
        (190, "suspended", "expired"),
        (280, "expired", "recycled"),
    ]
    assert (await as_written(db, anna)).number is None


async def test_a_recycled_number_serves_somebody_else_and_the_former_owner_gets_nothing(db: Pool) -> None:
    anna = somebody(1, "expired", -300)
    await there_are(db, anna)
    await db.transaction(lambda tx: age(tx, NOON))
    newcomer = Subscriber(make_id("su", anna.cell, 1, 77), anna.cell, anna.number, "stock", None, "CNY", "demo", "89")
    await there_are(db, newcomer)
    assert await extend(db, days_for(anna, 30), days_for(newcomer, 30)) == [None, NOON + 30 * DAY]


async def test_after_a_long_sleep_nobody_skips_the_stage_in_which_credit_expires(db: Pool) -> None:
    anna = somebody(1, "active", -1000)
    await there_are(db, anna)
    stages = [change.became.state for _ in range(3) for change in await db.transaction(lambda tx: age(tx, NOON))]
    assert stages == ["expired", "recycled"]


async def test_ageing_walks_the_cells_and_takes_no_more_than_it_was_told(db: Pool) -> None:
    crowd = [somebody(place, "active", -1) for place in range(30)]
    await there_are(db, *crowd)
    assert len(await db.transaction(lambda tx: age(tx, NOON, 7))) == 7
    middle = CELLS // 2
    low = await db.transaction(lambda tx: age(tx, NOON, last_cell=middle - 1))
    high = await db.transaction(lambda tx: age(tx, NOON, first_cell=middle))
    assert len(low) + len(high) == 23
    assert all(change.became.cell < middle for change in low)
    assert all(change.became.cell >= middle for change in high)


async def test_a_subscriber_that_is_being_topped_up_is_left_to_the_next_sweep(db: Pool, dsn: str) -> None:
    anna = somebody(1, "active", -1)
    await there_are(db, anna)
    with psycopg.connect(dsn) as somebody_else:
        somebody_else.execute("SELECT * FROM cards_subscriber FOR UPDATE")
        assert await db.transaction(lambda tx: age(tx, NOON)) == []
    assert len(await db.transaction(lambda tx: age(tx, NOON))) == 1
