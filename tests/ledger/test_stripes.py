"""A float in stripes refuses what it would refuse in one piece, and nothing else; alone, in sequence and in a storm."""

import asyncio
from collections.abc import Sequence
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.tables import NOON, opened

from refill import ledger
from refill.db import Database, Pool, Statement, Tx
from refill.errors import CannotHappen, NotFound
from refill.ids import make_id
from refill.ledger import Entry, Posted, Refusal, Stripes, StripesLow, Transfer
from refill.ledger.check import check
from refill.ledger.stripes import MOST, base_of, owner_of, stripe, stripes_of

ACME, OWNER = "float:acme/CNY", "acme/CNY"
numbers = count(1)
SAVE, UNDO = Statement("SAVEPOINT before"), Statement("ROLLBACK TO SAVEPOINT before")
for _statement in (SAVE, UNDO):
    Statement.every.remove(_statement)


def new_id(prefix: str = "st") -> str:
    return make_id(prefix, 7, 0, next(numbers))


async def furnish(db: Database, balance: str, floor: str = "0.00", *, stripes: int = 4) -> None:
    async def work(tx: Tx) -> None:
        await opened(tx, [f"float:acme {balance} {floor}"])
        await ledger.split(tx, ACME, stripes, id_=f"{new_id()}.split", at=NOON)

    await db.transaction(work)


async def split(db: Database, stripes: int, name: str = ACME) -> None:
    await db.transaction(lambda tx: ledger.split(tx, name, stripes, id_=f"{new_id()}.split", at=NOON))


async def known(db: Database) -> Stripes:
    stripes = Stripes()
    await db.transaction(stripes.refresh)
    return stripes


async def parts(db: Database, most: int = 4) -> list[tuple[int, int]]:
    """(balance, floor) of each stripe."""

    async def work(tx: Tx) -> list[tuple[int, int]]:
        standings = await ledger.book.lock(tx, stripes_of(ACME, most))
        return [(standings[name].balance, standings[name].floor or 0) for name in stripes_of(ACME, most)]

    return await db.transaction(work)


async def standing(db: Database) -> int:
    return await db.transaction(lambda tx: ledger.standing(tx, ACME))


async def findings(db: Database) -> list[str]:
    return await db.transaction(lambda tx: check(tx, lambda done, total: None))


async def debit(db: Database, stripes: Stripes, minors: Sequence[int], by: str = "") -> list[Posted | Refusal]:
    """A batch of debits from one stripe; where that holds too little, gathered first, as placing does."""
    ids = [f"{new_id('tu')}.held" for _ in minors]
    gathering = f"{new_id()}.gather"
    low: frozenset[str] = frozenset()

    async def work(tx: Tx) -> list[Posted | Refusal]:
        await stripes.hold(tx, low)
        name = f"float:acme{stripes.mark(OWNER, by or ids[0])}/CNY"
        entries = [Entry.of(id_, (name, "held:acme/CNY", minor)) for id_, minor in zip(ids, minors, strict=True)]
        await ledger.gather(tx, stripes, entries, low, gathering, NOON)
        answers = await ledger.post(tx, entries, NOON)
        refused = {owner_of(answer.account) for answer in answers if isinstance(answer, Refusal)}
        if more := await stripes.striped(tx, refused - low):
            raise StripesLow(more)
        return answers

    while True:
        try:
            return await db.transaction(work)
        except StripesLow as too_low:
            low |= too_low.owners


def yes_no(answers: Sequence[Posted | Refusal]) -> str:
    return " ".join("yes" if answer == Posted() else "no" for answer in answers)


# ------------------------------------------------------------------ names


def test_stripe_nought_is_the_account_itself() -> None:
    assert stripes_of(ACME, 3) == ["float:acme/CNY", "float:acme#1/CNY", "float:acme#2/CNY"]
    assert [base_of(name) for name in stripes_of(ACME, 3)] == [ACME] * 3
    assert (owner_of("float:acme#2/CNY"), owner_of(ACME)) == (OWNER, OWNER)
    assert base_of("sales:topup/CNY") == "sales:topup/CNY"


async def test_the_same_batch_takes_the_same_stripe_and_all_are_taken(db: Pool) -> None:
    await furnish(db, "1.00")
    stripes = await known(db)
    ids = [new_id("tu") for _ in range(200)]
    marks = [stripes.mark(OWNER, id_) for id_ in ids]
    assert marks == [stripes.mark(OWNER, id_) for id_ in ids]
    assert set(marks) == {"", "#1", "#2", "#3"}
    assert Stripes().mark(OWNER, ids[0]) == ""


# ------------------------------------------------------------------ splitting


@pytest.mark.parametrize(
    ("balance", "floor", "stripes", "expected"),
    [
        ("100.00", "0.00", 4, [(2500, 0), (2500, 0), (2500, 0), (2500, 0)]),
        ("100.03", "0.00", 4, [(2503, 0), (2500, 0), (2500, 0), (2500, 0)]),
        ("0.00", "−100.01", 4, [(0, -2501), (0, -2500), (0, -2500), (0, -2500)]),
        ("−50.00", "−100.00", 2, [(-2500, -5000), (-2500, -5000), (0, 0), (0, 0)]),
        ("−100.00", "−100.00", 4, [(-2500, -2500)] * 4),
        ("10.00", "4.00", 2, [(500, 200), (500, 200), (0, 0), (0, 0)]),
        ("0.03", "0.00", 4, [(3, 0), (0, 0), (0, 0), (0, 0)]),
        ("100.00", "−1.00", 1, [(10000, -100), (0, 0), (0, 0), (0, 0)]),
    ],
)
async def test_money_and_limit_are_parted(
    db: Pool, balance: str, floor: str, stripes: int, expected: list[tuple[int, int]]
) -> None:
    await furnish(db, balance, floor)
    before = await standing(db)
    await split(db, stripes)
    assert await parts(db) == expected
    assert await standing(db) == before
    assert (await known(db)).count(OWNER) == stripes
    assert await findings(db) == []


async def test_in_one_piece_again_after_use(db: Pool) -> None:
    await furnish(db, "100.00", "−20.00")
    stripes = await known(db)
    assert yes_no(await debit(db, stripes, [1100, 700], by="a")) == "yes yes"
    await split(db, 1)
    assert await parts(db) == [(8200, -2000), (0, 0), (0, 0), (0, 0)]
    # Whoever has not heard of it still takes a stripe that is empty now, and is led to the whole.
    assert stripes.count(OWNER) == 4
    by = next(str(n) for n in range(9) if stripes.mark(OWNER, str(n)))
    assert yes_no(await debit(db, stripes, [10_200], by=by)) == "yes"
    assert stripes.count(OWNER) == 1
    assert await parts(db) == [(-2000, -2000), (0, 0), (0, 0), (0, 0)]
    assert yes_no(await debit(db, stripes, [1])) == "no"
    assert await findings(db) == []


async def test_a_process_that_has_not_heard_of_stripes_refuses_nothing_that_they_hold(db: Pool) -> None:
    await furnish(db, "100.00")
    ignorant = Stripes()
    assert yes_no(await debit(db, ignorant, [9_000, 1_000, 1])) == "yes yes no"
    assert ignorant.count(OWNER) == 4


async def test_a_float_that_needs_no_floor_or_is_below_it_stays_whole(db: Pool) -> None:
    await db.transaction(lambda tx: opened(tx, ["float:northtel 0.00 -", "float:deep 0.00 5.00"]))
    for name in ("float:northtel/CNY", "float:deep/CNY"):
        with pytest.raises(CannotHappen, match="floor"):
            await split(db, 2, name)
    with pytest.raises(NotFound):
        await split(db, 2, "float:nobody/CNY")
    for stripes, name in ((0, ACME), (MOST + 1, ACME), (2, stripe(ACME, 1))):
        with pytest.raises(CannotHappen, match="16 stripes"):
            await split(db, stripes, name)
    assert (await known(db)).count("northtel/CNY") == 1


async def test_two_who_split_at_once_wait_for_each_other(db: Pool) -> None:
    await db.transaction(lambda tx: opened(tx, ["float:acme 100.00 −10.00"]))
    await asyncio.gather(*(split(db, n) for n in (2, 8, 4, 16, 1, 3)))
    n = (await known(db)).count(OWNER)
    held = await parts(db, MOST)
    assert [part for part in held[n:] if part != (0, 0)] == []
    assert (sum(balance for balance, _ in held), sum(floor for _, floor in held)) == (10_000, -1_000)
    assert await findings(db) == []


async def test_money_that_will_not_move_splits_nothing(db: Pool) -> None:
    await furnish(db, "100.00", stripes=1)
    id_ = f"{new_id()}.split"
    await db.transaction(lambda tx: ledger.post(tx, [Entry.of(id_, ("bank:a/CNY", "bank:b/CNY", 1))], NOON))
    with pytest.raises(CannotHappen, match="moved"):
        await db.transaction(lambda tx: ledger.split(tx, ACME, 4, id_=id_, at=NOON))
    assert (await known(db)).count(OWNER) == 1


# ------------------------------------------------------------------ gathering


async def test_a_low_stripe_takes_what_it_needs_and_the_rest_is_shared_out(db: Pool) -> None:
    await furnish(db, "100.00")
    stripes = await known(db)
    by = next(str(n) for n in range(99) if stripes.mark(OWNER, str(n)) == "#2")
    assert yes_no(await debit(db, stripes, [6000, 1000], by=by)) == "yes yes"
    assert await parts(db) == [(750, 0), (750, 0), (750, 0), (750, 0)]
    # A deposit comes in at stripe 0; the others find it there.
    deposit = Entry.of(f"{new_id('de')}.deposit", ("bank:demo/CNY", ACME, 10_000))
    await db.transaction(lambda tx: ledger.post(tx, [deposit], NOON))
    assert yes_no(await debit(db, stripes, [5000], by=by)) == "yes"
    assert await parts(db) == [(2000, 0)] * 4
    assert yes_no(await debit(db, stripes, [7000, 1001, 1000, 1], by=by)) == "yes no yes no"
    assert await parts(db) == [(0, 0)] * 4
    assert await findings(db) == []


async def test_credit_is_gathered_like_money(db: Pool) -> None:
    await furnish(db, "10.00", "−90.00")
    stripes = await known(db)
    assert yes_no(await debit(db, stripes, [9_999, 2, 1])) == "yes no yes"
    assert await standing(db) == -9_000
    assert await findings(db) == []


async def test_other_floats_are_left_alone(db: Pool) -> None:
    await furnish(db, "100.00")
    await db.transaction(lambda tx: ledger.open_accounts(tx, [ledger.Account("float:bell/CNY", -500)], NOON))
    stripes = await known(db)

    async def work(tx: Tx) -> list[Posted | Refusal]:
        await stripes.hold(tx, {OWNER})
        low = f"float:acme{stripes.mark(OWNER, 'x')}/CNY"
        entries = [
            Entry(
                f"{new_id('tu')}.x", (Transfer(low, "held:acme/CNY", 9_000), Transfer("bank:a/CNY", "bank:b/CNY", 1))
            ),
            Entry.of(f"{new_id('tu')}.x", ("float:bell/CNY", "held:bell/CNY", 501)),
        ]
        await ledger.gather(tx, stripes, entries, {OWNER}, f"{new_id()}.gather", NOON)
        return await ledger.post(tx, entries, NOON)

    assert yes_no(await db.transaction(work)) == "yes no"
    assert await findings(db) == []


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_stripes_refuse_exactly_what_one_piece_would(db: Pool, n: int, data: st.DataObject) -> None:
    """Batches of debits, deposits and new limits in any order, in `n` stripes and in none: the same answers, all along."""
    limit = data.draw(st.integers(0, 50), "credit limit")
    money = data.draw(st.integers(-limit, 100), "money")
    batches = st.tuples(st.lists(st.integers(1, 60), min_size=1, max_size=3), st.integers(0, 20))
    steps = data.draw(st.lists(batches | st.integers(-80, 80), max_size=12), "debits, deposits (+) and limits (-)")
    whole, said = {"balance": money, "floor": -limit}, []
    expected: list[object] = []
    for step in steps:
        if isinstance(step, tuple):
            for minor in step[0]:
                fits = whole["balance"] - minor >= whole["floor"]
                whole["balance"] -= minor * fits
                expected.append("yes" if fits else "no")
        elif step > 0:
            whole["balance"] += step
        else:
            expected.append(fits := whole["balance"] >= step)
            whole["floor"] = step if fits else whole["floor"]

    stripes, held = Stripes(), f"{new_id()}"

    class Inside:
        """All steps in one transaction, undone at the end; what a step begins and gives up is undone at once."""

        def __init__(self, tx: Tx) -> None:
            self._tx = tx

        async def transaction(self, work):  # type: ignore[no-untyped-def]
            await self._tx.run(SAVE)
            try:
                return await work(self._tx)
            except StripesLow:
                await self._tx.run(UNDO)
                raise

    async def work(tx: Tx) -> None:
        inside = Inside(tx)
        await ledger.open_accounts(tx, [ledger.Account(ACME, -limit)], NOON)
        leg = ("bank:demo/CNY", ACME, money) if money > 0 else (ACME, "bank:demo/CNY", -money)
        await ledger.post(tx, [Entry.of(f"{held}.fill", leg)] if money else [], NOON)
        await split(inside, n)
        await stripes.refresh(tx)
        for step in steps:
            if isinstance(step, tuple):
                said.extend(yes_no(await debit(inside, stripes, step[0], by=str(step[1]))).split())
            elif step > 0:
                deposit = Entry.of(f"{new_id('de')}.deposit", ("bank:demo/CNY", ACME, step))
                await ledger.post(tx, [deposit], NOON)
            else:
                said.append(await ledger.set_floor(tx, ACME, step))
        assert await ledger.standing(tx, ACME) == whole["balance"]
        standings = await ledger.book.lock(tx, stripes_of(ACME, n))
        assert sum(one.floor or 0 for one in standings.values()) == whole["floor"]
        assert all(one.balance >= (one.floor or 0) for one in standings.values())
        raise Never

    with pytest.raises(Never):
        await db.transaction(work)
    assert said == expected


class Never(Exception):
    """What was written in it never happened."""


# ------------------------------------------------------------------ limits


async def test_a_limit_is_raised_in_all_stripes_and_lowered_against_free_headroom(db: Pool) -> None:
    await furnish(db, "100.00")
    stripes = await known(db)

    async def limit(minor: int) -> bool:
        return await db.transaction(lambda tx: ledger.set_floor(tx, ACME, -minor))

    assert await limit(4_003)
    assert await parts(db) == [(2500, -1003), (2500, -1000), (2500, -1000), (2500, -1000)]
    assert yes_no(await debit(db, stripes, [12_000])) == "yes"
    assert not await limit(1_999)
    assert await limit(2_000)
    assert sum(floor for _, floor in await parts(db)) == -2_000
    assert yes_no(await debit(db, stripes, [1])) == "no"
    assert await limit(2_001)
    assert yes_no(await debit(db, stripes, [1])) == "yes"
    assert await findings(db) == []


# ------------------------------------------------------------------ all at once


async def test_a_storm_on_four_stripes_ends_at_the_floor_and_not_below(db: Pool) -> None:
    """Eight connections debit, deposit, change the limit and split while a reader looks on; every cent is accounted for."""
    await furnish(db, "300.00", "−50.00")
    taken = [0] * 8
    given_ = [0] * 8
    seen: list[int] = []
    going = True

    async def pays(n: int) -> None:
        stripes, dice = await known(db), Random(n)
        for step in range(30):
            minors = [dice.randint(1, 400) for _ in range(dice.randint(1, 4))]
            for minor, answer in zip(minors, await debit(db, stripes, minors), strict=True):
                taken[n] += minor * (answer == Posted())
            if n == 0 and step % 10 == 5:
                deposit = Entry.of(f"{new_id('de')}.deposit", ("bank:demo/CNY", ACME, 1_000))
                await db.transaction(lambda tx, entry=deposit: ledger.post(tx, [entry], NOON))  # type: ignore[misc]
                given_[n] += 1_000
            if n == 1 and step % 12 == 6:
                await split(db, dice.randint(2, 6))
            if n == 2 and step % 9 == 4:
                await db.transaction(lambda tx: ledger.set_floor(tx, ACME, -5_000 - dice.randint(0, 9)))
                assert await db.transaction(lambda tx: ledger.set_floor(tx, ACME, -5_009))

    async def looks() -> None:
        while going:
            seen.append(await standing(db))

    looking = asyncio.ensure_future(looks())
    await asyncio.gather(*map(pays, range(8)))
    going = False
    await looking
    rest = await standing(db)
    assert rest == 30_000 + sum(given_) - sum(taken)
    assert min(seen) >= -5_009 and max(seen) <= 33_000
    # Whatever is left is refused to nobody.
    assert yes_no(await debit(db, await known(db), [rest + 5_009, 1])) == "yes no"
    assert await standing(db) == -5_009
    assert await findings(db) == []
