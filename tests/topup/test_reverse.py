"""Reversals on our own network: all of the credit comes back, or nothing happens; and no top-up beside one loses a day."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from tests.topup.shop import OWN_NUMBER, Lossy, Shop, captured, table
from tests.worlds import MORNING

from refill import cards, cases, ledger
from refill.cards import Subscriber
from refill.db import Asked, Pool, Row, Statement, Tx
from refill.errors import BadInput, CannotHappen, NotFound
from refill.ledger import Entry
from refill.ledger.book import WRITE
from refill.money import money
from refill.topup import Order, flow, sql
from refill.topup.check import check

T = TypeVar("T")
FIFTY_LASTS = timedelta(days=60)
VALID_FOR = timedelta(days=10)  # before any top-up


async def reverse(shop: Shop, order: Order, reason: str = "the wrong number was typed") -> Order:
    return await flow.reverse(shop.trade, order.id, who="mei", reason=reason)


async def anna(shop: Shop) -> Subscriber:
    assert shop.subscriber
    found = await shop.db.transaction(lambda tx: cards.by_id(tx, shop.subscriber.cell, shop.subscriber.id))  # type: ignore[union-attr]
    assert found
    return found


def balance_of(shop: Shop) -> str:
    assert shop.subscriber
    return cards.balance_account(shop.subscriber)


async def spends(shop: Shop, amount: str) -> None:
    entry = Entry.of(f"{shop.world.new_id('us', 7)}.used", (balance_of(shop), "sales:calls/CNY", money(amount).minor))
    assert await shop.db.transaction(lambda tx: ledger.post(tx, [entry], shop.world.db_now())) == [ledger.Posted()]


async def findings(shop: Shop) -> list[str]:
    return await check(shop.db, lambda done, total: None)


async def test_a_partners_top_up_goes_back_to_the_float_and_its_days_with_it(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    assert (await anna(shop)).active_until == MORNING + VALID_FOR + FIFTY_LASTS
    reversed_ = await reverse(shop, order)
    assert (reversed_.status, reversed_.payment, reversed_.certainty) == ("reversed", "refunded", "final")
    assert (reversed_.delivered_minor, reversed_.refunded_minor) == (0, order.price.minor)
    assert (reversed_.valid_until, reversed_.reason) == (MORNING + VALID_FOR, "the wrong number was typed")
    assert reversed_ == await shop.order(order.id)
    assert await shop.book(order.id) == table("""
        sold.0     | float:kiosk → balance:anna      | 49.80
        sold.1     | commission:kiosk → balance:anna | 0.20
        reversed.0 | balance:anna → float:kiosk      | 49.80
        reversed.1 | balance:anna → commission:kiosk | 0.20
    """)
    assert (await shop.balance(shop.float), await shop.balance(balance_of(shop))) == ("1000.00", "0.00")
    assert (await anna(shop)).active_until == MORNING + VALID_FOR
    assert "mei: the wrong number was typed" in [event.detail for event in (await shop.timeline(order.id)).events]
    assert await findings(shop) == []


async def goodwill(shop: Shop, order: Order, amount: str) -> None:
    asked = await flow.refund(shop.trade, order.id, money(amount), "it came late", "wang")
    await flow.confirm_refund(shop.trade, order.id, asked.n, "li")


async def test_what_a_partner_was_given_before_is_not_given_again(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    await goodwill(shop, order, "5.00 CNY")
    reversed_ = await reverse(shop, order)
    assert (reversed_.payment, reversed_.refunded_minor) == ("refunded", order.price.minor)
    assert (await shop.balance(shop.float), await shop.balance("cost:goodwill/CNY")) == ("1000.00", "0.00")
    assert await findings(shop) == []


async def test_what_a_guest_was_given_before_is_not_given_again(shop: Shop) -> None:
    order = await shop.guest_pays(OWN_NUMBER, "50.00 CNY")
    await goodwill(shop, order, "5.00 CNY")
    await shop.wait(60)
    await reverse(shop, order)
    await shop.wait(60)
    assert [refund.amount_minor for refund in shop.alipay.refunds] == [500, order.price.minor - 500]
    assert (await shop.order(order.id)).certainty == "final"
    assert await shop.balance("cost:goodwill/CNY") == await shop.balance("owed:customers/CNY") == "0.00"
    assert await findings(shop) == []


async def test_a_guest_gets_the_price_back_through_the_gateway(shop: Shop) -> None:
    order = await shop.guest_pays(OWN_NUMBER, "50.00 CNY")
    assert order.status == "succeeded"
    reversed_ = await reverse(shop, order)
    assert (reversed_.status, reversed_.payment, reversed_.certainty) == ("reversed", "refund_pending", "pending")
    assert (await shop.refund(order.id)).why == "reversed"
    assert await findings(shop) == []
    await shop.tick()
    order = await shop.order(order.id)
    assert (order.status, order.payment, order.certainty) == ("reversed", "refunded", "final")
    assert await shop.book(order.id) == table("""
        paid.0     | clearing:alipay → owed:customers | 49.80
        sold.0     | owed:customers → balance:anna    | 49.80
        sold.1     | discount:retail → balance:anna   | 0.20
        reversed.0 | balance:anna → owed:customers    | 49.80
        reversed.1 | balance:anna → discount:retail   | 0.20
        refund.1.0 | owed:customers → clearing:alipay | 49.80
    """)
    assert (await anna(shop)).active_until == MORNING + VALID_FOR
    assert await findings(shop) == []


async def test_cash_from_a_till_goes_back_as_a_claim_code(shop: Shop) -> None:
    order = await shop.placed(shop.ask(OWN_NUMBER, channel="counter"))
    await flow.invite(shop.trade, order.id, "cash", scene="till")
    await flow.pay(shop.trade, [captured(f"{order.id}p1", "49.80 CNY")])
    await reverse(shop, order)
    await shop.tick()
    assert (await shop.order(order.id)).payment == "refunded"
    assert flow.claim_code(shop.trade, await shop.refund(order.id)).plain.isdecimal()
    assert await shop.balance("voucher:liability/CNY") == "49.80"
    assert await shop.cases(order.id) == []
    assert await findings(shop) == []


async def test_credit_that_was_partly_spent_stays_where_it_is(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    await spends(shop, "0.01 CNY")
    with pytest.raises(CannotHappen, match="spent"):
        await reverse(shop, order)
    assert await shop.order(order.id) == order
    assert (await shop.balance(shop.float), await shop.balance(balance_of(shop))) == ("950.20", "49.99")
    assert (await anna(shop)).active_until == MORNING + VALID_FOR + FIFTY_LASTS
    assert await findings(shop) == []


async def test_credit_of_another_top_up_may_pay_for_it(shop: Shop) -> None:
    """A balance is one account: what counts is that all of the face can be taken back."""
    first, second = await shop.place(*(shop.partners_ask(OWN_NUMBER, "50.00 CNY") for _ in range(2)))
    assert isinstance(first, Order) and isinstance(second, Order)
    await spends(shop, "50.00 CNY")
    await reverse(shop, first)
    with pytest.raises(CannotHappen):
        await reverse(shop, second)
    assert await shop.balance(balance_of(shop)) == "0.00"
    assert await findings(shop) == []


async def test_twice_is_once(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask())
    first = await reverse(shop, order)
    await shop.world.advance(60)
    assert await reverse(shop, order, "again") == first
    assert await shop.balance(shop.float) == "1000.00"


async def test_a_lost_answer_to_commit_is_no_second_reversal(shop: Shop, db: Lossy) -> None:
    order = await shop.guest_pays(OWN_NUMBER, "50.00 CNY")
    db.lose = 1
    reversed_ = await reverse(shop, order)
    assert reversed_.payment == "refund_pending"
    assert len((await shop.timeline(order.id)).refunds) == 1
    assert await findings(shop) == []


async def test_validity_is_counted_from_the_top_ups_that_still_stand(shop: Shop) -> None:
    first = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    await shop.world.advance(86_400)
    second = await shop.guest_pays(OWN_NUMBER, "50.00 CNY")
    await shop.world.advance(86_400)
    third = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    unpaid = await shop.placed(shop.ask(OWN_NUMBER, "50.00 CNY"))
    assert third.valid_until == MORNING + VALID_FOR + 3 * FIFTY_LASTS
    assert (await reverse(shop, second)).valid_until == MORNING + VALID_FOR + 2 * FIFTY_LASTS
    assert (await reverse(shop, first)).valid_until == MORNING + VALID_FOR + FIFTY_LASTS
    assert (await reverse(shop, third)).valid_until == MORNING + VALID_FOR
    assert (await shop.order(unpaid.id)).delivery == "quoted"
    assert await findings(shop) == []


async def test_days_that_were_over_without_the_top_up_are_over_now(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    await shop.world.advance(20 * 86_400)
    await reverse(shop, order)
    assert (await anna(shop)).state == "grace"


async def test_top_ups_of_the_number_before_its_subscriber_are_somebody_elses(shop: Shop) -> None:
    old = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    await shop.world.advance(400 * 86_400)
    former = shop.subscriber
    assert former
    await shop.sql("UPDATE cards_subscriber SET number = NULL, state = 'recycled' WHERE id = :id", id=former.id)
    until = shop.world.db_now() + VALID_FOR
    shop.subscriber = Subscriber(
        shop.world.new_id("su", former.cell), former.cell, former.number, "active", until, "CNY", "demo", "2" * 20
    )
    await shop.db.transaction(lambda tx: cards.create(tx, [shop.subscriber], shop.world.db_now()))  # type: ignore[list-item]
    new = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    assert new.valid_until == until + FIFTY_LASTS
    assert (await reverse(shop, new)).valid_until == until
    # What the former subscriber still has can be taken back; there is nobody left whose days could be.
    assert (await reverse(shop, old)).valid_until is None
    assert (await anna(shop)).active_until == until
    assert await findings(shop) == []


async def test_only_what_our_own_network_delivered_and_somebody_paid(shop: Shop) -> None:
    unpaid = await shop.placed(shop.ask(OWN_NUMBER))
    sent = await shop.sent()
    assert sent.status == "succeeded"
    for order in (unpaid, sent):
        with pytest.raises(CannotHappen, match="our own network"):
            await reverse(shop, order)
        assert await shop.order(order.id) == order
    with pytest.raises(NotFound):
        await flow.reverse(shop.trade, flow.new_order_id(shop.trade, "nobody"), who="mei", reason="no such thing")


@pytest.mark.parametrize(("who", "reason"), [("", "because"), ("mei", " ")])
async def test_somebody_says_why(shop: Shop, who: str, reason: str) -> None:
    order = await shop.placed(shop.partners_ask())
    with pytest.raises(BadInput):
        await flow.reverse(shop.trade, order.id, who=who, reason=reason)
    assert await shop.order(order.id) == order


async def test_a_price_above_the_face_comes_back_whole(shop: Shop) -> None:
    await shop.sql("UPDATE catalogue_product SET retail_bp = 10200 WHERE operator_id = 'demo'")
    from refill import catalogue

    shop.trade.shelf.catalogue = await shop.db.transaction(catalogue.load)
    order = await shop.guest_pays(OWN_NUMBER, "50.00 CNY")
    assert order.price == money("51.00 CNY")
    await reverse(shop, order)
    await shop.tick()
    assert await shop.balance("sales:topup/CNY") == "0.00"
    assert await shop.balance("clearing:alipay/CNY") == "0.00"
    assert await findings(shop) == []


async def test_top_ups_while_one_is_reversed_lose_no_day_and_no_cent(shop: Shop, pool: Pool) -> None:
    """Reversals, partners' top-ups and guests' payments of one subscriber at once: all wait for the same balance."""
    reversing = [await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY")) for _ in range(6)]
    paying = [await shop.guests_order(OWN_NUMBER, "50.00 CNY") for _ in range(6)]
    captures = [
        captured(f"{order.id}p1", "49.80 CNY", method="alipay", number=str(n)) for n, order in enumerate(paying)
    ]
    await asyncio.gather(
        *(reverse(shop, order) for order in reversing),
        *(shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY")) for _ in range(6)),
        *(flow.pay(shop.trade, [capture]) for capture in captures),
    )
    assert await shop.balance(balance_of(shop)) == "600.00"
    assert await shop.balance(shop.float) == "701.20"
    assert (await anna(shop)).active_until == MORNING + VALID_FOR + 12 * FIFTY_LASTS
    assert await findings(shop) == []


class Pausing:
    """A database whose one transaction waits before a statement is sent."""

    def __init__(self, db: Pool, before: Statement) -> None:
        self._db = db
        self._before = before
        self._due = False
        self.waiting, self.go_on = asyncio.Event(), asyncio.Event()

    async def transaction(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        async def paused(tx: Tx) -> T:
            done = await work(PausingTx(tx, self))
            await self.pause()
            return done

        return await self._db.transaction(paused)

    def hear(self, statement: Statement) -> None:
        self._due = self._due or statement is self._before

    async def pause(self) -> None:
        """Whoever is about to send the statement waits here."""
        if self._due:
            self.waiting.set()
            await self.go_on.wait()


class PausingTx(Tx):
    def __init__(self, tx: Tx, database: Pausing) -> None:
        self._tx = tx
        self._database = database

    def ask(self, statement: Statement, **parameters: Any) -> Asked:
        self._database.hear(statement)
        return PausingAsked(self._tx.ask(statement, **parameters), self._database)


class PausingAsked:
    def __init__(self, asked: Asked, database: Pausing) -> None:
        self._asked, self._database = asked, database

    @property
    def count(self) -> int:
        return self._asked.count

    def must_touch(self, rows: int, says: str) -> None:
        self._asked.must_touch(rows, says)

    def __await__(self) -> Generator[Any, None, list[Row]]:
        yield from self._database.pause().__await__()
        return (yield from self._asked.__await__())


async def test_a_reversal_waits_for_a_top_up_that_has_not_been_committed(shop: Shop, pool: Pool) -> None:
    """The other top-up holds the balance; its days are counted although the reversal began before they were there."""
    order = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    slow = Pausing(pool, before=sql.BEAR)
    trade = replace(shop.trade, db=slow)
    placing = asyncio.ensure_future(flow.place(trade, [shop.partners_ask(OWN_NUMBER, "50.00 CNY")]))
    await slow.waiting.wait()
    reversing = asyncio.ensure_future(reverse(shop, order))
    await asyncio.sleep(0.2)
    assert not reversing.done()
    slow.go_on.set()
    await placing
    assert (await reversing).valid_until == MORNING + VALID_FOR + FIFTY_LASTS
    assert await findings(shop) == []


async def test_a_guests_payment_holds_the_subscriber_before_the_balance(shop: Shop, pool: Pool) -> None:
    """As a reversal does; else they would wait for each other in a ring."""
    order = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    other = await shop.guests_order(OWN_NUMBER, "50.00 CNY")
    slow = Pausing(pool, before=WRITE)
    paying = asyncio.ensure_future(
        flow.pay(replace(shop.trade, db=slow), [captured(f"{other.id}p1", "49.80 CNY", method="alipay")])
    )
    await slow.waiting.wait()
    reversing = asyncio.ensure_future(reverse(shop, order))
    await asyncio.sleep(0.2)
    assert not reversing.done()
    slow.go_on.set()
    await paying
    assert (await asyncio.wait_for(reversing, timeout=0.9)).valid_until == MORNING + VALID_FOR + FIFTY_LASTS
    assert (await anna(shop)).active_until == MORNING + VALID_FOR + FIFTY_LASTS
    assert await findings(shop) == []


async def test_no_case_is_left_behind(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask())
    await reverse(shop, order)
    assert await shop.db.transaction(lambda tx: cases.about(tx, order.id)) == []
