"""The batcher: company is welcome, nobody waits for it, and one bad row spoils nothing for the others."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.topup.shop import Lossy, Shop

from refill import ledger
from refill.channels.machines.batcher import Batcher, Overloaded, Poisoned
from refill.db import Pool, Tx
from refill.errors import Busy, NotEnough, RefillError
from refill.ids import cell_of
from refill.topup import Ask, Order, flow


class Books:
    """A storage that takes as long as we let it, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.commit = asyncio.Event()
        self.commit.set()

    async def apply(self, rows: list[int]) -> Sequence[int | RefillError]:
        self.batches.append(rows)
        await self.commit.wait()
        if 13 in rows:
            raise ZeroDivisionError(f"{max(rows)} is more than this storage can bear")
        return [NotEnough("too much") if row < 0 else row * 10 for row in rows]


async def turns(n: int = 3) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def test_a_lone_request_waits_for_nobody() -> None:
    books = Books()
    batcher = Batcher(books.apply)
    assert await batcher.submit([7]) == [70]
    assert books.batches == [[7]]


async def test_what_arrives_while_a_batch_commits_forms_the_next() -> None:
    books = Books()
    books.commit.clear()
    batcher = Batcher(books.apply)
    first = batcher.submit([1])
    await turns()
    later = [batcher.submit([n]) for n in (2, 3, 4)]
    await turns()
    assert books.batches == [[1]]
    books.commit.set()
    assert await asyncio.gather(first, *later) == [[10], [20], [30], [40]]
    assert books.batches == [[1], [2, 3, 4]]


async def test_what_was_read_in_the_same_moment_goes_together() -> None:
    books = Books()
    batcher = Batcher(books.apply)
    await asyncio.gather(*(batcher.submit([n]) for n in range(5)))
    assert books.batches == [[0, 1, 2, 3, 4]]


async def test_a_batch_has_a_limit_and_a_larger_request_is_a_batch_by_itself() -> None:
    books = Books()
    batcher = Batcher(books.apply, limit=3)
    await asyncio.gather(*(batcher.submit(rows) for rows in ([1], [2, 3], [4, 5], [6, 7, 8, 9], [10])))
    assert books.batches == [[1, 2, 3], [4, 5], [6, 7, 8, 9], [10]]


async def test_a_refused_row_is_an_answer_to_its_own_request_only() -> None:
    batcher = Batcher(Books().apply)
    good, bad = await asyncio.gather(batcher.submit([1]), batcher.submit([-1, 2]))
    assert good == [10]
    assert isinstance(bad[0], NotEnough)
    assert bad[1] == 20


async def test_a_poisoned_row_is_found_and_fails_alone() -> None:
    books = Books()
    batcher = Batcher(books.apply)
    answers = await asyncio.gather(*(batcher.submit([n]) for n in (*range(10), 13, *range(20, 30))))
    poisoned = [answer for (answer,) in answers if isinstance(answer, RefillError)]
    assert [type(answer) for answer in poisoned] == [Poisoned]
    assert [answer for (answer,) in answers if not isinstance(answer, RefillError)] == [
        n * 10 for n in (*range(10), *range(20, 30))
    ]
    assert batcher.poisoned == 1


async def test_the_log_of_a_poisoned_row_names_the_place_and_not_the_data(caplog: pytest.LogCaptureFixture) -> None:
    await Batcher(Books().apply).submit([13])
    assert "ZeroDivisionError" in caplog.text
    assert "13 is more" not in caplog.text


async def test_when_the_database_does_not_answer_everybody_hears_busy_and_nobody_is_split() -> None:
    calls = 0

    async def apply(rows: list[int]) -> list[int]:
        nonlocal calls
        calls += 1
        raise Busy("The database does not answer.")

    batcher: Batcher[int, int] = Batcher(apply)
    answers = await asyncio.gather(*(batcher.submit([n]) for n in range(4)))
    assert all(isinstance(answer, Busy) for (answer,) in answers)
    assert calls == 1


async def test_overload_refuses_before_anything_is_accepted_and_keeps_what_was() -> None:
    books = Books()
    books.commit.clear()
    batcher = Batcher(books.apply, waiting_limit=4)
    under_way = batcher.submit([1])
    await turns()
    waiting = [batcher.submit([n]) for n in (2, 3, 4, 5)]
    with pytest.raises(Overloaded):
        batcher.submit([6])
    books.commit.set()
    assert await asyncio.gather(under_way, *waiting) == [[10], [20], [30], [40], [50]]
    assert batcher.refused == 1
    assert await batcher.submit([7]) == [70], "once the queue is short again, the door is open"


async def test_a_queue_that_moves_too_slowly_closes_the_door_too() -> None:
    books = Books()
    books.commit.clear()
    batcher = Batcher(books.apply, patience_s=0.0)
    under_way = batcher.submit([1])
    await turns()
    waiting = batcher.submit([2])
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        batcher.submit([3])
    books.commit.set()
    assert await asyncio.gather(under_way, waiting) == [[10], [20]]


async def test_a_client_that_hangs_up_takes_nothing_from_the_others() -> None:
    books = Books()
    books.commit.clear()
    batcher = Batcher(books.apply)
    gone, stays = batcher.submit([1]), batcher.submit([2])
    await turns()
    gone.cancel()
    books.commit.set()
    assert await stays == [20]
    assert books.batches == [[1, 2]]


async def test_closing_answers_what_was_accepted_and_accepts_no_more() -> None:
    books = Books()
    batcher = Batcher(books.apply)
    accepted = batcher.submit([1])
    await batcher.close()
    assert accepted.done()
    with pytest.raises(Overloaded):
        batcher.submit([2])


# ------------------------------------------------------------------ with the real engine on the real database


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    pool = await Pool(dsn, size=4).open()
    yield await Shop(Lossy(pool)).open(float_="300.00 CNY")
    await pool.close()


async def test_two_replays_of_one_key_in_one_batch_are_one_top_up(shop: Shop) -> None:
    batcher = _batcher(shop)
    twice = [shop.partners_ask(key="k1", reference="R-1") for _ in range(3)]
    answers = [answer for (answer,) in await asyncio.gather(*(batcher.submit([ask]) for ask in twice))]
    orders = [answer for answer in answers if isinstance(answer, Order)]
    assert len({order.id for order in orders}) == 1
    assert sorted(order.replayed for order in orders) == [False, True, True]
    assert batcher.batches == 1


# Drawn small on purpose: repeats, disputes and an empty float must be common.
asked = st.tuples(
    st.sampled_from(["138 0013 8000", "139 1234 5678", "165 0000 1234"]),
    st.sampled_from(["50.00 CNY", "100.00 CNY", "7.77 CNY"]),
    st.sampled_from([None, "k1", "k2", "k3"]),
    st.sampled_from([None, "R-1", "R-2"]),
)
_round = 0


@given(st.lists(asked, min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_batch_equals_its_rows_one_by_one(
    shop: Shop, wishes: list[tuple[str, str, str, str]], limit: int
) -> None:
    global _round
    _round += 1
    alone, together = [], []
    for way in ("alone", "together"):
        payer = await _partner_with(shop, f"{way} {_round}")
        asks = [
            shop.ask(typed, face, payer=payer, key=key, reference=ref, commission_bp=0)
            for typed, face, key, ref in wishes
        ]
        if way == "alone":
            alone = [(await flow.place(shop.trade, [ask]))[0] for ask in asks]
        else:
            batcher = _batcher(shop, limit)
            together = [answer for (answer,) in await asyncio.gather(*(batcher.submit([ask]) for ask in asks))]
    assert _said(together) == _said(alone)


def _batcher(shop: Shop, limit: int = 512) -> Batcher[Ask, Order]:
    return Batcher(lambda asks: flow.place(shop.trade, asks), limit=limit)


async def _partner_with(shop: Shop, name: str) -> str:
    id_ = shop.world.new_id("pa", cell_of(name))
    now = shop.world.db_now()

    async def fund(tx: Tx) -> None:
        account = f"float:{id_}/CNY"
        await ledger.open_accounts(tx, [ledger.Account(account, 0)], now)
        deposit = shop.world.new_id("de", ledger.cell_of_account(account))
        await ledger.post(tx, [ledger.Entry.of(f"{deposit}.deposit", ("bank:demo/CNY", account, 30_000))], now)

    await shop.db.transaction(fund)
    return f"partner:{id_}"


def _said(answers: Sequence[Order | RefillError]) -> list[object]:
    """What the clients hear, with orders named by their first appearance."""
    seen: dict[str, int] = {}
    return [
        (seen.setdefault(answer.id, len(seen)), answer.replayed, answer.status, answer.price)
        if isinstance(answer, Order)
        else type(answer)
        for answer in answers
    ]
