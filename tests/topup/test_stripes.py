"""Partners whose float is kept in stripes: the same answers as in one piece, and the money comes back in one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from tests.topup.shop import NORTHTELS, OWN_NUMBER, Lossy, Shop, table

from refill import ledger
from refill.db import Asked, Pool, Statement, Tx
from refill.errors import NotEnough
from refill.ledger import Stripes
from refill.topup import Order, Trade, flow
from refill.topup.check import check


async def split(shop: Shop, stripes: int, *, tell: bool = True) -> None:
    id_ = shop.world.new_id("st", 7)
    await shop.db.transaction(
        lambda tx: ledger.split(tx, shop.float, stripes, id_=f"{id_}.split", at=shop.world.db_now())
    )
    if tell:
        await shop.db.transaction(shop.trade.stripes.refresh)


async def left(shop: Shop) -> int:
    return await shop.db.transaction(lambda tx: ledger.standing(tx, shop.float))


async def deposit(shop: Shop, minor: int) -> None:
    entry = ledger.Entry.of(f"{shop.world.new_id('de', 7)}.deposit", ("bank:demo/CNY", shop.float, minor))
    await shop.db.transaction(lambda tx: ledger.post(tx, [entry], shop.world.db_now()))


async def findings(shop: Shop) -> list[str]:
    return await check(shop.db, lambda done, total: None)


def on_stripe(shop: Shop, mark: str) -> str:
    """An order's id that leads a batch to a stripe."""
    while True:
        id_ = flow.new_order_id(shop.trade, shop.number(OWN_NUMBER))
        if shop.trade.stripes.mark(f"{shop.partner}/CNY", id_) == mark:
            return id_


def accepted(answers: Sequence[object]) -> list[bool]:
    assert all(isinstance(answer, Order | NotEnough) for answer in answers)
    return [isinstance(answer, Order) for answer in answers]


async def test_a_batch_debits_one_stripe_of_float_and_commission(shop: Shop) -> None:
    await split(shop, 4)
    first = shop.partners_ask(id=on_stripe(shop, "#3"))
    orders = await shop.place(first, shop.partners_ask())
    assert accepted(orders) == [True, True]
    assert await shop.book(first.id) == table("""
        sold.0 | float:kiosk#3 → balance:anna      | 49.80
        sold.1 | commission:kiosk#3 → balance:anna | 0.20
    """)
    assert (await left(shop), await findings(shop)) == (90_040, [])


async def test_a_low_stripe_is_filled_from_the_others_before_anything_is_refused(shop: Shop) -> None:
    await split(shop, 4)  # 250.00 each, and a top-up of 50.00 costs 49.80
    asks = [shop.partners_ask(id=on_stripe(shop, "#1")), *(shop.partners_ask() for _ in range(21))]
    assert accepted(await shop.place(*asks)) == [True] * 20 + [False] * 2
    assert await left(shop) == 400
    # What is left is worth a smaller one, whichever stripe it comes from.
    small = shop.partners_ask(OWN_NUMBER, "4.00 CNY", id=on_stripe(shop, "#2"))
    assert accepted(await shop.place(shop.partners_ask(id=on_stripe(shop, "#2")), small)) == [False, True]
    assert await findings(shop) == []


async def test_whoever_has_not_heard_of_stripes_is_told_when_refused(shop: Shop) -> None:
    await split(shop, 4, tell=False)
    assert accepted(await shop.place(*(shop.partners_ask() for _ in range(21)))) == [True] * 20 + [False]
    assert shop.trade.stripes.count(f"{shop.partner}/CNY") == 4
    await split(shop, 1, tell=False)
    assert accepted(await shop.place(shop.partners_ask(id=on_stripe(shop, "#1")))) == [False]
    assert shop.trade.stripes.count(f"{shop.partner}/CNY") == 1
    assert await findings(shop) == []


async def test_a_lost_answer_to_commit_gathers_and_pays_once(shop: Shop, db: Lossy) -> None:
    await split(shop, 4)
    asks = [shop.partners_ask(id=on_stripe(shop, "#1")), *(shop.partners_ask() for _ in range(20))]
    losing = LosesOne(db, lambda: deposit(shop, 100))  # so that there is something else to gather when it runs again
    trade = _with(shop, losing)
    await shop.db.transaction(trade.stripes.refresh)
    assert accepted(await flow.place(trade, asks)) == [True] * 20 + [False]
    assert losing.lost
    assert (await left(shop), await findings(shop)) == (500, [])


async def test_a_second_float_found_low_does_not_make_us_forget_the_first(shop: Shop, db: Lossy) -> None:
    await split(shop, 2)
    first, shop.partner = shop.partner, shop.world.new_id("pa", 9)
    await shop.db.transaction(lambda tx: ledger.open_accounts(tx, [ledger.Account(shop.float, 0)], shop.world.db_now()))
    await deposit(shop, 10_000)
    await split(shop, 2)
    second = shop.partner
    theirs = shop.partners_ask()
    shop.partner = first
    ours = [shop.partners_ask() for _ in range(11)]

    async def spend_theirs() -> None:
        shop.partner = second
        mark = shop.trade.stripes.mark(f"{second}/CNY", ours[0].id)
        await shop.placed(shop.partners_ask(id=on_stripe(shop, mark)))
        shop.partner = first

    between = BetweenRuns(db, spend_theirs)
    trade = replace(_with(shop, between), stripes=shop.trade.stripes)
    assert accepted(await flow.place(trade, [*ours, theirs])) == [True] * 12
    assert between.runs == 3
    assert await findings(shop) == []


async def test_held_money_comes_back_in_one_piece(shop: Shop) -> None:
    await split(shop, 4)
    order = await shop.placed(shop.partners_ask(NORTHTELS, id=on_stripe(shop, "#2")))
    assert (await shop.book(order.id)).startswith("held.0 | float:kiosk#2 → held:kiosk")
    reversed_ = await shop.placed(shop.partners_ask(id=on_stripe(shop, "#3")))
    await flow.reverse(shop.trade, reversed_.id, who="mei", reason="a test")
    assert await shop.balance(shop.float) == "299.80"
    assert await shop.balance(f"commission:{shop.partner}/CNY") == "0.20"
    assert await findings(shop) == []


async def test_two_partners_in_one_batch_are_gathered_together(shop: Shop) -> None:
    await split(shop, 2)
    first, shop.partner = shop.partner, shop.world.new_id("pa", 9)
    now = shop.world.db_now()

    async def furnish(tx: Tx) -> None:
        await ledger.open_accounts(tx, [ledger.Account(shop.float, -20_000)], now)

    await shop.db.transaction(furnish)
    await split(shop, 3)
    poor = [shop.partners_ask() for _ in range(5)]
    shop.partner, second = first, shop.partner
    rich = [shop.partners_ask() for _ in range(21)]
    answers = accepted(await shop.place(*poor, *rich))
    assert answers == [True] * 4 + [False] + [True] * 20 + [False]
    shop.partner = second
    assert await left(shop) == -19_920
    assert await findings(shop) == []


async def test_a_partner_in_one_piece_pays_for_no_statement_more(shop: Shop) -> None:
    asked = Listening(shop.db)
    trade = _with(shop, asked)
    assert accepted(await flow.place(trade, [shop.partners_ask()])) == [True]
    assert [text for text in asked.heard if "ledger_stripe" in text] == []
    # Only a refusal asks whether this is the whole float.
    assert (
        accepted(await flow.place(trade, [shop.partners_ask(OWN_NUMBER, "500.00 CNY") for _ in range(2)]))[1] is False
    )
    assert len([text for text in asked.heard if "ledger_stripe" in text]) == 1


async def test_many_batches_at_once_stop_at_the_same_cent(shop: Shop, pool: Pool) -> None:
    await split(shop, 4)
    batches = [[shop.partners_ask() for _ in range(3)] for _ in range(10)]
    answers, _ = await asyncio.gather(
        asyncio.gather(*(flow.place(shop.trade, batch) for batch in batches)),
        asyncio.gather(*(split(shop, n, tell=False) for n in (2, 6, 1, 3))),
    )
    assert sum(accepted([answer for batch in answers for answer in batch])) == 20
    assert (await left(shop), await findings(shop)) == (400, [])


def _with(shop: Shop, db: object) -> Trade:
    """The same trade on another database, by somebody who has not heard of stripes."""
    return replace(shop.trade, db=db, stripes=Stripes())  # type: ignore[arg-type]


class LosesOne:
    """Loses the answer to the first commit that succeeds; a transaction that was given up is not committed."""

    def __init__(self, db: Lossy, between: Callable[[], Awaitable[None]]) -> None:
        self._db = db
        self._between = between
        self.lost = False

    async def transaction(self, work):  # type: ignore[no-untyped-def]
        answer = await self._db.transaction(work)
        if self.lost:
            return answer
        self.lost = True
        await self._between()
        return await self._db.transaction(work)


class BetweenRuns:
    """Something happens after the first transaction, which finds a stripe low."""

    def __init__(self, db: Lossy, between: Callable[[], Awaitable[None]]) -> None:
        self._db = db
        self._between = between
        self.runs = 0

    async def transaction(self, work):  # type: ignore[no-untyped-def]
        self.runs += 1
        assert self.runs < 10, "the same stripes are found low again and again"
        try:
            return await self._db.transaction(work)
        finally:
            if self.runs == 1:
                await self._between()


class Listening:
    """A database that keeps the text of every statement."""

    def __init__(self, db: Lossy) -> None:
        self._db = db
        self.heard: list[str] = []

    async def transaction(self, work):  # type: ignore[no-untyped-def]
        return await self._db.transaction(lambda tx: work(ListeningTx(tx, self.heard)))


class ListeningTx(Tx):
    def __init__(self, tx: Tx, heard: list[str]) -> None:
        self._tx = tx
        self._heard = heard

    def ask(self, statement: Statement, **parameters: object) -> Asked:
        self._heard.append(statement.text)
        return self._tx.ask(statement, **parameters)
