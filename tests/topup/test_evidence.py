"""Evidence for a payer's bank: everything that proves a delivery, and nothing that is not the bank's business."""

import msgspec
from tests.topup.shop import Shop

from refill import numbers
from refill.money import money
from refill.payments import Dispute
from refill.topup import flow
from refill.topup.evidence import Evidence, evidence


async def of(shop: Shop, order_id: str) -> Evidence:
    return evidence(await shop.timeline(order_id))


async def test_it_tells_what_was_ordered_paid_sent_and_delivered_and_when(shop: Shop) -> None:
    order = await shop.guest_pays()
    await shop.wait(60)
    trade = shop.alipay.trades[f"{order.id}p1"]
    said = Dispute(trade.trade_no, "opened", money("49.90 CNY"), "fraudulent", shop.world.now())
    await flow.dispute(shop.trade, "alipay", said)
    told = await of(shop, order.id)
    assert (told.order, told.number, told.face_value, told.price) == (order.id, "139****5678", "50.00 CNY", "49.90 CNY")
    assert told.delivered == "50.00 CNY" and told.delivered_at is not None and told.delivered_at > told.ordered_at
    assert [(paid.method, paid.transaction, paid.amount) for paid in told.payments] == [
        ("alipay", trade.trade_no, "49.90 CNY")
    ]
    attempt = await shop.attempt(order.id)
    assert [(tried.request_id, tried.their_reference, tried.state) for tried in told.attempts] == [
        (f"{order.id}a1", attempt.their_id, "done")
    ]
    assert [what for _, what in told.history] == ["placed", "paid", "sent", "delivered", "disputed"]
    assert [(heard.source, heard.what) for heard in told.notices] == [("payments:alipay", "paid")]
    assert [(fought.reason, fought.state) for fought in told.disputes] == [("fraudulent", "opened")]


async def test_it_tells_what_went_back_and_that_nothing_was_delivered(shop: Shop) -> None:
    order = await shop.guest_pays("139 1234 0003")
    await shop.wait(60)
    told = await of(shop, order.id)
    assert (told.delivered, told.delivered_at) == ("0.00 CNY", None)
    assert [(back.request_id, back.amount, back.state) for back in told.refunds] == [
        (f"{order.id}r1", "49.90 CNY", "done")
    ]


async def test_it_names_nobody_and_repeats_nothing_that_staff_wrote(shop: Shop) -> None:
    """I10."""
    order = await shop.guest_pays()
    await shop.wait(60)
    asked = await flow.refund(shop.trade, order.id, money("1.00 CNY"), "a friend of the boss", "wang")
    await flow.confirm_refund(shop.trade, order.id, asked.n, "li")
    text = msgspec.json.encode(await of(shop, order.id)).decode()
    for secret in ("13912345678", "friend", "wang", "guest:anna", "127.0.0.1"):
        assert secret not in text


async def test_it_is_there_also_when_the_number_was_erased(shop: Shop) -> None:
    order = await shop.guest_pays()
    await shop.db.transaction(lambda tx: numbers.erase(tx, order.number))
    assert (await of(shop, order.id)).number == ""
