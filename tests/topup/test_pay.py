"""Paying: exact money for a waiting order pays it, once; all other money is kept apart and goes back."""

from datetime import timedelta

import pytest
from tests.topup.shop import ALIPAY, Lossy, Shop, captured, table

from refill import cards, ledger
from refill.db import Tx
from refill.errors import Busy, CannotHappen, NotFound
from refill.topup import flow
from refill.world import Request

HOUR, DAY = 3600, 86_400


async def test_a_guest_on_our_own_network_pays_and_is_credited_in_one_step(shop: Shop) -> None:
    order = await shop.guests_order("138 0013 8000")
    shop.alipay.pay(f"{order.id}p1")
    await shop.world.advance(0)
    order = await shop.order(order.id)
    assert (order.status, order.certainty, order.captured_minor) == ("succeeded", "final", 4980)
    assert await shop.book(order.id) == table("""
        paid.0 | clearing:alipay → owed:customers  | 49.80
        sold.0 | owed:customers → balance:anna     | 49.80
        sold.1 | discount:retail → balance:anna    | 0.20
    """)
    assert shop.subscriber is not None and shop.subscriber.active_until is not None
    assert order.valid_until == shop.subscriber.active_until + timedelta(days=60)
    assert await shop.tick() == 0, "nothing is left to do"


async def test_a_guest_elsewhere_pays_and_the_order_is_ready_to_be_sent(shop: Shop) -> None:
    order = await shop.guest_pays("139 1234 5678")
    assert (order.payment, order.delivery, order.status) == ("captured", "ready", "processing")
    assert await shop.book(order.id) == table("paid.0 | clearing:alipay → owed:customers | 49.90")
    assert order.deadline is not None and order.deadline - order.created_at >= timedelta(hours=24)


# ------------------------------------------------------------------ inviting


async def test_the_same_invitation_twice_is_one_payment(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    assert await shop.invite(order.id) == await shop.invite(order.id) == f"{order.id}p1"
    assert await shop.invite(order.id, scene="qr") == f"{order.id}p2"


async def test_nobody_is_invited_to_pay_what_is_paid_or_has_lapsed_or_never_was(shop: Shop) -> None:
    order = await shop.guest_pays()
    with pytest.raises(CannotHappen, match="paid or has lapsed"):
        await flow.invite(shop.trade, order.id, "alipay")
    lapsing = await shop.placed(shop.ask())
    shop.world.clock += timedelta(minutes=15)
    with pytest.raises(CannotHappen, match="paid or has lapsed"):
        await flow.invite(shop.trade, lapsing.id, "alipay")
    with pytest.raises(NotFound, match="no order"):
        await flow.invite(shop.trade, flow.new_order_id(shop.trade, "nobody"), "alipay")
    with pytest.raises(NotFound, match="no such way"):
        await flow.invite(shop.trade, lapsing.id, "barter")


async def test_a_gateway_that_does_not_answer_is_a_reason_to_come_again(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    shop.alipay.troubles.plan("lost")
    with pytest.raises(Busy, match="Nothing was charged"):
        await flow.invite(shop.trade, order.id, "alipay", scene="qr")
    shop.world.unplugged.add(ALIPAY)
    with pytest.raises(Busy, match="Nothing was charged"):
        await flow.invite(shop.trade, order.id, "alipay", scene="qr")
    shop.world.unplugged.clear()
    assert (await flow.invite(shop.trade, order.id, "alipay", scene="qr")).kind == "qr"


async def test_a_scene_that_the_gateway_does_not_have_is_refused(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    with pytest.raises(CannotHappen, match="Choose another way"):
        await flow.invite(shop.trade, order.id, "alipay", scene="jsapi")


# ------------------------------------------------------------------ money that does not fit


async def test_a_cent_less_is_not_the_price_and_goes_back(shop: Shop) -> None:
    order = await shop.guests_order()
    shop.alipay.pay(f"{order.id}p1", amount_override=4989)
    await shop.world.advance(0)
    order = await shop.order(order.id)
    assert (order.payment, order.captured_minor) == ("unpaid", 0)
    assert await shop.cases(order.id) == ["wrong_amount"]
    await shop.tick()
    assert [(refund.amount_minor, refund.request_id) for refund in shop.alipay.refunds] == [(4989, f"{order.id}r1")]
    assert await shop.book(order.id) == table("""
        stray.1.0  | clearing:alipay → suspense:wrong-amount | 49.89
        refund.1.0 | suspense:wrong-amount → clearing:alipay | 49.89
    """)
    await shop.wait(HOUR)
    assert (await shop.order(order.id)).status == "cancelled"
    assert shop.northtel.credits == []


async def test_the_same_order_can_still_be_paid_exactly_after_a_wrong_amount(shop: Shop) -> None:
    order = await shop.guests_order()
    shop.alipay.pay(f"{order.id}p1", amount_override=1)
    await shop.world.advance(0)
    second = await shop.invite(order.id)
    shop.alipay.pay(second)
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "succeeded"
    assert [refund.amount_minor for refund in shop.alipay.refunds] == [1]


async def test_money_in_another_currency_or_by_another_way_is_not_the_price(shop: Shop) -> None:
    order = await shop.guests_order()
    await flow.pay(shop.trade, [captured(f"{order.id}p1", "49.90 USD", number="1")])
    await flow.pay(shop.trade, [captured(f"{order.id}p1", "49.90 CNY", number="2")])  # cash, for a charge at Alipay
    await flow.pay(shop.trade, [captured(f"{order.id}p9", "49.90 CNY", number="3")])  # a charge that we never made
    order = await shop.order(order.id)
    assert order.payment == "unpaid"
    assert await shop.balance("suspense:wrong-amount/CNY") == "99.80"
    assert await shop.balance("suspense:wrong-amount/USD") == "49.90"
    assert await shop.cases(order.id) == ["wrong_amount"]


async def test_a_payment_that_comes_late_goes_back_and_delivers_nothing(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    reference = await shop.invite(order.id)
    await shop.wait(HOUR)
    assert (await shop.order(order.id)).status == "cancelled"
    # The gateway's clock is an hour behind, or it broke its word: it takes the money all the same.
    trade = shop.alipay.trades[reference]
    trade.closed_at, trade.expires_at = None, shop.world.now() + timedelta(hours=1)
    assert shop.alipay.pay(reference)
    await shop.world.advance(0)
    assert await shop.cases(order.id) == ["late_payment"]
    await shop.wait(60)
    order = await shop.order(order.id)
    assert (order.status, order.captured_minor, order.refunded_minor) == ("cancelled", 0, 0)
    assert await shop.book(order.id) == table("""
        stray.1.0  | clearing:alipay → suspense:late | 49.90
        refund.1.0 | suspense:late → clearing:alipay | 49.90
    """)
    assert shop.northtel.credits == []


async def test_a_second_payment_for_one_order_goes_back_and_the_first_one_counts(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    page, code = await shop.invite(order.id), await shop.invite(order.id, scene="qr")
    shop.alipay.pay(page)
    shop.alipay.pay(code)
    await shop.wait(60)
    order = await shop.order(order.id)
    assert (order.status, order.captured_minor, order.refunded_minor) == ("succeeded", 4990, 0)
    assert await shop.cases(order.id) == ["paid_twice"]
    assert [refund.reference for refund in shop.alipay.refunds] == [code]
    assert len(shop.northtel.credits) == 1
    assert await shop.book(order.id) == table("""
        paid.0      | clearing:alipay → owed:customers     | 49.90
        stray.1.0   | clearing:alipay → suspense:paid-twice | 49.90
        refund.1.0  | suspense:paid-twice → clearing:alipay | 49.90
        delivered.0 | owed:customers → sales:topup         | 49.90
        delivered.1 | cost:topup → float:northtel          | 49.60
    """)


async def test_two_payments_that_are_noticed_at_one_moment_are_one_price_and_one_surplus(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    for scene in ("page", "qr"):
        await shop.invite(order.id, scene=scene)
    first = captured(f"{order.id}p1", "49.90 CNY", method="alipay", number="a")
    second = captured(f"{order.id}p2", "49.90 CNY", method="alipay", number="b")
    await flow.pay(shop.trade, [second, first, first])
    assert (await shop.order(order.id)).payment == "captured"
    assert await shop.balance("suspense:paid-twice/CNY") == "49.90"
    assert await shop.balance("owed:customers/CNY") == "49.90"


async def test_each_of_the_gateways_transactions_counts_once_for_ever(shop: Shop) -> None:
    order = await shop.guest_pays()
    for capture in (await shop.timeline(order.id)).captures * 2:
        await flow.pay(shop.trade, [capture])
    other = await shop.guests_order()
    (capture,) = (await shop.timeline(order.id)).captures
    await flow.pay(
        shop.trade,
        [type(capture)(**{f: getattr(capture, f) for f in capture.__slots__} | {"reference": f"{other.id}p1"})],
    )
    assert (await shop.order(other.id)).payment == "unpaid"
    assert await shop.balance("owed:customers/CNY") == "49.90"
    assert await shop.balance("clearing:alipay/CNY") == "-49.90"


async def test_money_for_an_order_that_we_do_not_have_is_not_booked(shop: Shop) -> None:
    await flow.pay(shop.trade, [])
    await flow.pay(shop.trade, [captured(f"{flow.new_order_id(shop.trade, 'x')}p1", "49.90 CNY")])
    assert await shop.balance("clearing:cash/CNY") == "0.00"


async def test_a_payment_whose_commit_was_in_doubt_is_booked_once(shop: Shop, db: Lossy) -> None:
    order = await shop.guests_order("138 0013 8000")
    db.lose = 1
    await flow.pay(shop.trade, [captured(f"{order.id}p1", "49.80 CNY", method="alipay")])
    assert (await shop.order(order.id)).status == "succeeded"
    assert await shop.balance("clearing:alipay/CNY") == "-49.80"
    assert shop.subscriber is not None
    assert await shop.balance(cards.balance_account(shop.subscriber)) == "50.00"


async def test_cash_at_the_till_is_captured_in_the_moment_in_which_the_clerk_confirms_it(shop: Shop) -> None:
    order = await shop.placed(shop.ask("138 0013 8000", channel="counter"))
    reference = await shop.invite(order.id, "cash", scene="till")
    await flow.pay(shop.trade, [captured(reference, "49.80 CNY")])
    assert (await shop.order(order.id)).status == "succeeded"
    assert await shop.balance("clearing:cash/CNY") == "-49.80"


async def test_a_number_that_left_our_network_before_its_credit_came_is_refunded(shop: Shop) -> None:
    order = await shop.guests_order("138 0013 8000")
    await shop.sql("UPDATE cards_subscriber SET state = 'expired'")
    shop.alipay.pay(f"{order.id}p1")
    await shop.wait(60)
    order = await shop.order(order.id)
    assert (order.status, order.payment, order.refunded_minor) == ("failed", "refunded", 4980)
    assert "left our network" in order.reason
    assert await shop.book(order.id) == table("""
        paid.0     | clearing:alipay → owed:customers | 49.80
        refund.1.0 | owed:customers → clearing:alipay | 49.80
    """)


# ------------------------------------------------------------------ nobody pays any more


async def test_when_one_code_is_paid_the_other_is_closed_at_its_gateway(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    page, code = await shop.invite(order.id), await shop.invite(order.id, scene="qr")
    await shop.alipay.handle(Request("GET", f"{ALIPAY}/qr/{shop.alipay.trades[code].token}"))  # scanned, not paid
    shop.alipay.pay(page)
    await shop.wait(60)
    assert not shop.alipay.pay(code)
    assert [payment.state for payment in (await shop.timeline(order.id)).payments] == ["captured", "closed"]


async def test_an_order_that_nobody_pays_is_closed_at_the_gateway_and_lapses(shop: Shop) -> None:
    order = await shop.guests_order()
    await shop.wait(20 * 60)
    order = await shop.order(order.id)
    assert (order.status, order.certainty) == ("cancelled", "final")
    assert not shop.alipay.pay(f"{order.id}p1")
    assert await shop.story(order.id) == "placed expired"


async def test_an_order_without_any_invitation_lapses_by_itself(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    await shop.wait(15 * 60)
    assert (await shop.order(order.id)).status == "cancelled"
    assert shop.world.sent == []


async def test_a_charge_that_the_gateway_does_not_know_lapses_only_after_its_last_moment(shop: Shop) -> None:
    """The page may still be open in somebody's browser: the charge can yet come into being there."""
    order = await shop.placed(shop.ask())
    await flow.invite(shop.trade, order.id, "alipay")  # nobody opened the page
    assert order.expires_at is not None
    await shop.wait_until(order.expires_at + timedelta(seconds=59))
    assert (await shop.order(order.id)).payment == "unpaid"
    await shop.wait(600)
    assert (await shop.order(order.id)).status == "cancelled"


async def test_money_that_overtook_the_closing_counts(shop: Shop) -> None:
    order = await shop.guests_order()
    shop.alipay.troubles.plan("lose_notice", 99)
    await shop.wait(14 * 60 + 59)
    shop.alipay.pay(f"{order.id}p1")
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "succeeded"


async def test_a_gateway_that_does_not_say_whether_it_closed_is_asked_again(shop: Shop) -> None:
    order = await shop.guests_order()
    assert order.expires_at is not None
    await shop.wait_until(order.expires_at - timedelta(seconds=1))
    shop.alipay.trades[f"{order.id}p1"].expires_at += timedelta(hours=1)  # it stays open by itself
    shop.alipay.troubles.chances["lost"] = 1.0
    await shop.wait(600)
    assert (await shop.order(order.id)).payment == "unpaid"
    shop.alipay.troubles.heal()
    await shop.wait(600)
    assert (await shop.order(order.id)).status == "cancelled"
    assert f"{order.id}p1" in shop.alipay.closed


async def test_a_person_who_gives_up_is_asked_for_nothing_more(shop: Shop) -> None:
    order = await shop.guests_order()
    await shop.wait(20)
    await flow.cancel(shop.trade, order.id)
    await shop.wait(1)
    assert (await shop.order(order.id)).status == "cancelled"
    assert f"{order.id}p1" in shop.alipay.closed
    again = await flow.cancel(shop.trade, order.id)
    assert again.status == "cancelled"


async def test_what_is_paid_but_has_not_left_can_be_undone(shop: Shop) -> None:
    order = await shop.guest_pays()
    undone = await flow.cancel(shop.trade, order.id)
    assert (undone.payment, undone.delivery) == ("refund_pending", "failed")
    await shop.wait(60)
    assert (await shop.order(order.id)).payment == "refunded"
    assert not shop.northtel.credits and [refund.amount_minor for refund in shop.alipay.refunds] == [order.price.minor]


async def test_what_has_left_cannot_be_undone(shop: Shop) -> None:
    order = await shop.guest_pays()
    await shop.wait(5)
    assert (await flow.cancel(shop.trade, order.id)).status == "succeeded"
    with pytest.raises(NotFound):
        await flow.cancel(shop.trade, flow.new_order_id(shop.trade, "nobody"))


async def test_giving_up_while_the_money_is_on_its_way_keeps_the_money_that_came(shop: Shop) -> None:
    order = await shop.guests_order()
    shop.alipay.troubles.plan("lose_notice", 99)
    shop.alipay.pay(f"{order.id}p1")
    await flow.cancel(shop.trade, order.id)
    await shop.wait(5)
    assert (await shop.order(order.id)).status == "succeeded"


# ------------------------------------------------------------------ asking the gateway


async def test_a_payment_whose_every_notice_is_lost_is_found_by_asking(shop: Shop) -> None:
    order = await shop.guests_order()
    shop.alipay.troubles.chances["lose_notice"] = 1.0
    await shop.wait(200)
    shop.alipay.pay(f"{order.id}p1")
    paid_at = shop.world.now()
    while (await shop.order(order.id)).payment == "unpaid":
        await shop.wait(5)
    assert shop.world.now() - paid_at <= timedelta(minutes=5)


async def test_the_page_that_a_person_comes_back_to_asks_at_once(shop: Shop) -> None:
    order = await shop.guests_order()
    assert (await flow.poll(shop.trade, order.id)).payment == "unpaid"
    shop.alipay.troubles.plan("lose_notice", 99)
    shop.alipay.pay(f"{order.id}p1")
    assert (await flow.poll(shop.trade, order.id)).payment == "captured"
    asked = len(shop.world.sent)
    assert (await flow.poll(shop.trade, order.id)).payment == "captured"
    assert len(shop.world.sent) == asked, "what is paid is not asked about again"
    with pytest.raises(NotFound):
        await flow.poll(shop.trade, flow.new_order_id(shop.trade, "nobody"))


async def test_closing_what_was_closed_meanwhile_changes_nothing(shop: Shop) -> None:
    order = await shop.guests_order()
    payment = await shop.payment(order.id)
    await flow.close(shop.trade, payment)
    await flow.close(shop.trade, payment)
    assert (await shop.payment(order.id)).state == "closed"


async def test_a_transaction_that_two_orders_claim_at_once_is_given_to_one(shop: Shop) -> None:
    """Two workers ask two gateways at one moment, and both name the same transaction."""
    one, two = await shop.guests_order(), await shop.guests_order()
    tricked = False

    class Tricky:
        def __init__(self, tx: Tx) -> None:
            self._tx = tx

        def __getattr__(self, name: str) -> object:
            return getattr(self._tx, name)

        async def rows(self, statement: object, **parameters: object) -> object:
            found = await self._tx.rows(statement, **parameters)  # type: ignore[arg-type]
            nonlocal tricked
            if "topup_capture" in statement.text and not tricked:  # type: ignore[attr-defined]
                tricked = True
                await flow.pay(shop.trade, [captured(f"{two.id}p1", "49.90 CNY", method="alipay", number="x")])
            return found

    class TrickyDatabase:
        async def transaction(self, work: object) -> object:
            return await shop.db.transaction(lambda tx: work(Tricky(tx)))  # type: ignore[operator]

    trade = type(shop.trade)(**{f: getattr(shop.trade, f) for f in shop.trade.__slots__} | {"db": TrickyDatabase()})
    with pytest.raises(CannotHappen, match="two orders at once"):
        await flow.pay(trade, [captured(f"{one.id}p1", "49.90 CNY", method="alipay", number="x")])
    assert (await shop.order(one.id)).payment == "unpaid"
    assert (await shop.order(two.id)).payment == "captured"
    assert (await shop.db.transaction(lambda tx: ledger.balances(tx, ["clearing:alipay/CNY"]))) is not None
