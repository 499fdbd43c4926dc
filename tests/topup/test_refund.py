"""Refunds: always under the same name, back to where the money came from, once."""

import pytest
from tests.topup.shop import Shop, captured, table

from refill.outcome import Done, Refused, Unknown
from refill.topup import flow

HOUR, DAY = 3600, 86_400


async def failed_guest(shop: Shop) -> str:
    """A guest's order that northtel refused for good; the refund is due and has not left."""
    order = await shop.guest_pays("139 1234 0003")
    await shop.tick()
    assert (await shop.order(order.id)).payment == "refund_pending"
    return order.id


async def test_what_was_refused_for_good_goes_back_to_the_gateway_that_it_came_from(shop: Shop) -> None:
    order_id = await failed_guest(shop)
    await shop.wait(1)
    order = await shop.order(order_id)
    assert (order.status, order.certainty, order.payment, order.refunded_minor) == ("failed", "final", "refunded", 4990)
    assert [(refund.request_id, refund.amount_minor) for refund in shop.alipay.refunds] == [(f"{order_id}r1", 4990)]
    assert await shop.story(order_id) == "placed paid sent#1 failed refunded#1"
    assert await shop.book(order_id) == table("""
        paid.0     | clearing:alipay → owed:customers | 49.90
        refund.1.0 | owed:customers → clearing:alipay | 49.90
    """)


@pytest.mark.parametrize("trouble", ["lost", "html", "error_after", "unsigned"])
async def test_a_refund_whose_answer_is_lost_is_asked_for_again_under_the_same_name(shop: Shop, trouble: str) -> None:
    order_id = await failed_guest(shop)
    shop.alipay.troubles.plan(trouble)
    await shop.wait(1)
    assert (await shop.refund(order_id)).state == "sent"
    await shop.wait(HOUR)
    order = await shop.order(order_id)
    assert order.payment == "refunded"
    assert len(shop.alipay.refunds) == 1
    assert await shop.balance("clearing:alipay/CNY") == "0.00"


async def test_a_refund_that_the_gateway_cannot_pay_now_is_asked_for_again(shop: Shop) -> None:
    order_id = await failed_guest(shop)
    shop.alipay.troubles.plan("broke")
    await shop.wait(1)
    assert (await shop.refund(order_id)).state == "sent"
    assert await shop.cases(order_id) == []
    await shop.wait(HOUR)
    assert (await shop.order(order_id)).payment == "refunded"


async def test_a_refund_that_the_gateway_refuses_is_a_case_for_a_person(shop: Shop) -> None:
    order_id = await failed_guest(shop)
    reference = f"{order_id}p1"
    shop.alipay.trades[reference].refunded_minor = 4990  # they say that it went back already, under another name
    await shop.wait(DAY)
    assert (await shop.refund(order_id)).state == "stuck"
    assert await shop.cases(order_id) == ["refund_refused"]
    order = await shop.order(order_id)
    assert (order.payment, order.certainty) == ("refund_pending", "pending")
    # The person settles it with the gateway, and tells us so.
    await flow.refunded(shop.trade, await shop.refund(order_id), Done("by hand"))
    assert (await shop.order(order_id)).certainty == "final"


async def test_a_refund_is_booked_once_however_often_the_gateway_says_so(shop: Shop) -> None:
    order_id = await failed_guest(shop)
    await shop.wait(1)
    refund = await shop.refund(order_id)
    for answer in (Done("again"), Refused("no"), Unknown("perhaps")):
        await flow.refunded(shop.trade, refund, answer)
    assert (await shop.order(order_id)).refunded_minor == 4990
    assert await shop.balance("clearing:alipay/CNY") == "0.00"


async def test_an_answer_to_a_refund_that_nobody_sent_moves_nothing(shop: Shop) -> None:
    order_id = await failed_guest(shop)
    await flow.refunded(shop.trade, await shop.refund(order_id), Done("?"))
    assert (await shop.refund(order_id)).state == "due"


async def test_a_worker_that_died_while_it_asked_for_a_refund_leaves_it_to_the_next(shop: Shop) -> None:
    order_id = await failed_guest(shop)
    await shop.worker.tick()
    shop.world.die()
    shop.worker = type(shop.worker)(shop.trade)
    assert (await shop.refund(order_id)).state == "sent"
    await shop.wait(HOUR)
    assert (await shop.order(order_id)).payment == "refunded"
    assert len(shop.alipay.refunds) == 1


async def test_cash_goes_back_by_claim_code_so_a_person_is_called(shop: Shop) -> None:
    order = await shop.placed(shop.ask("139 1234 0003", channel="counter"))
    reference = await shop.invite(order.id, "cash", scene="till")
    await flow.pay(shop.trade, [captured(reference, "49.90 CNY")])
    await shop.wait(60)
    assert (await shop.refund(order.id)).state == "stuck"
    assert await shop.cases(order.id) == ["refund_refused"]
