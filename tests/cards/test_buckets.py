"""Credit that expires lies in buckets of its own, and the one that ends first is spent first."""

from datetime import timedelta
from typing import Any

from refill import ledger
from refill.cards import Bucket, Subscriber, balance_account, buckets, create, credit, open_buckets
from refill.db import Pool, Tx
from refill.ids import cell_of
from refill.money import money

DAY = timedelta(days=1)
World = Any
NUMBER = "0" * 16


async def anna_exists(db: Pool, world: World) -> Subscriber:
    cell = cell_of(NUMBER)
    anna = Subscriber(world.new_id("su", cell), cell, NUMBER, "active", world.time + 30 * DAY, "CNY", "demo", "8986001")
    await db.transaction(lambda tx: create(tx, [anna], world.time))
    return anna


def bucket(world: World, anna: Subscriber, days: int) -> Bucket:
    return Bucket(world.new_id("bk", anna.cell), anna.cell, anna.id, "bonus", "CNY", world.time + days * DAY)


async def test_the_grant_that_ends_first_is_in_front_and_one_that_has_ended_is_gone(db: Pool, world: World) -> None:
    anna = await anna_exists(db, world)
    late, soon, over = bucket(world, anna, 30), bucket(world, anna, 5), bucket(world, anna, 0)
    await db.transaction(lambda tx: open_buckets(tx, [late, soon, over], world.time))
    assert await db.transaction(lambda tx: buckets(tx, anna, world.time)) == [soon, late]


async def test_opening_a_bucket_again_is_the_same_bucket(db: Pool, world: World) -> None:
    anna = await anna_exists(db, world)
    one = bucket(world, anna, 5)
    for _ in range(2):
        await db.transaction(lambda tx: open_buckets(tx, [one], world.time))
    assert await db.transaction(lambda tx: buckets(tx, anna, world.time)) == [one]
    await db.transaction(lambda tx: open_buckets(tx, [], world.time))


async def test_a_bucket_lives_in_its_subscribers_cell(db: Pool, world: World) -> None:
    anna = await anna_exists(db, world)
    one = bucket(world, anna, 5)
    assert one.account == f"grant:{one.id}/CNY"
    assert ledger.cell_of_account(one.account) == anna.cell == ledger.cell_of_account(balance_account(anna))


async def test_what_a_subscriber_has_is_the_balance_and_what_is_left_of_each_grant(db: Pool, world: World) -> None:
    anna = await anna_exists(db, world)
    one = bucket(world, anna, 5)

    async def give(tx: Tx) -> None:
        await open_buckets(tx, [one], world.time)
        entry = ledger.Entry.of(
            f"{world.new_id('gi', anna.cell)}.given",
            ("bank:demo/CNY", balance_account(anna), 5000),
            ("bank:demo/CNY", one.account, 200),
        )
        assert await ledger.post(tx, [entry], world.time) == [ledger.Posted()]

    await db.transaction(give)
    has = await db.transaction(lambda tx: credit(tx, NUMBER, world.time))
    assert has is not None
    assert (has.subscriber, has.balance) == (anna, money("50 CNY"))
    assert has.grants == ((one, money("2 CNY")),)
    assert await db.transaction(lambda tx: credit(tx, "1" * 16, world.time)) is None
