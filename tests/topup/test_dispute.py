"""Disputes: a payer's bank takes money back, the order stands still, the bank decides, and nothing is counted twice."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from random import Random

import psycopg
import pytest
from tests.topup.shop import US, Lossy, Shop, captured, table

from refill import cases
from refill.cases import CaseRow
from refill.errors import CannotHappen
from refill.money import money
from refill.operators import Delivery
from refill.outcome import Done, Refused, Unknown
from refill.payments import Dispute, RawNotice, methods_by_name
from refill.simulators.card import CardSimulator
from refill.topup import Order, Rules, Worker, flow
from refill.topup.check import check
from refill.topup.order import Chargeback, Refund

HOUR, DAY = 3600, 86_400
STRIPE = "https://stripe.example"


@pytest.fixture
async def shop(db: Lossy) -> AsyncIterator[Shop]:
    """A shop whose payers may think twice for ten minutes, and whose books are right at the end of every story."""
    shop = await Shop(db).open(rules=Rules(cooling=timedelta(minutes=10)))
    yield shop
    shop.world.die()
    assert shop.world.errors == []
    assert await check(shop.db, lambda done, of: None) == []


async def says(shop: Shop, order_id: str, state: str, amount: str = "49.90 CNY", *, payment: int = 1) -> bool:
    """Alipay tells that the payer's bank disputes a payment, or how it decided."""
    transaction = shop.alipay.trades[f"{order_id}p{payment}"].trade_no
    evidence_by = shop.world.now() + timedelta(days=7)
    return await flow.dispute(
        shop.trade, "alipay", Dispute(transaction, state, money(amount), "fraudulent", evidence_by)
    )


async def delivered(shop: Shop, typed: str = "139 1234 5678") -> Order:
    order = await shop.guest_pays(typed)
    await shop.wait(11 * 60)
    return await shop.order(order.id)


async def the_dispute(shop: Shop, order_id: str) -> Chargeback:
    (row,) = (await shop.timeline(order_id)).disputes
    return row


async def case(shop: Shop, order_id: str, kind: str = "disputed") -> CaseRow:
    about = await shop.db.transaction(lambda tx: cases.about(tx, order_id))
    return next(row for row in about if row.kind == kind)


async def standing(shop: Shop, order_id: str) -> str:
    order = await shop.order(order_id)
    return f"{order.payment}/{order.delivery} {order.refunded_minor} {order.certainty}"


def minor(text: str) -> int:
    """ "49.90" → 4990; also nothing at all."""
    return money(f"{text} CNY").minor if text != "0.00" else 0


def sent_back(shop: Shop) -> int:
    """What Alipay has refunded."""
    return sum(refund.amount_minor for refund in shop.alipay.refunds)


async def rests(shop: Shop, *accounts: str) -> list[str]:
    return [await shop.balance(f"{account}/CNY") for account in accounts]


# ------------------------------------------------------------------ delivered


async def test_a_disputed_order_is_kept_with_a_case_that_ends_with_the_evidence(shop: Shop) -> None:
    order = await delivered(shop)
    assert await says(shop, order.id, "opened")
    assert await standing(shop, order.id) == "disputed/delivered 0 pending"
    assert (await shop.order(order.id)).status == "succeeded"
    row = await the_dispute(shop, order.id)
    assert (row.n, row.state, str(row.amount), row.reason) == (1, "opened", "49.90 CNY", "fraudulent")
    waiting = await case(shop, order.id)
    assert (waiting.state, waiting.due_at) == ("open", row.evidence_by)
    assert await rests(shop, "clearing:alipay", "disputes:alipay") == ["0.00", "-49.90"]
    assert await shop.wait(30 * DAY) is None
    assert await standing(shop, order.id) == "disputed/delivered 0 pending"


async def test_a_dispute_that_is_won_leaves_everything_as_it_was(shop: Shop) -> None:
    order = await delivered(shop)
    await says(shop, order.id, "opened")
    await says(shop, order.id, "won")
    assert await standing(shop, order.id) == "captured/delivered 0 final"
    assert await shop.story(order.id) == "placed paid sent#1 delivered disputed#1 dispute_won#1"
    assert await shop.book(order.id) == table("""
        paid.0          | clearing:alipay → owed:customers | 49.90
        delivered.0     | owed:customers → sales:topup     | 49.90
        delivered.1     | cost:topup → float:northtel      | 49.60
        disputed.1.0    | disputes:alipay → clearing:alipay | 49.90
        dispute_won.1.0 | clearing:alipay → disputes:alipay | 49.90
    """)
    closed = await case(shop, order.id)
    assert (closed.state, closed.resolved_by, closed.resolution) == ("resolved", "refill", "won")


async def test_a_dispute_that_is_lost_after_delivery_is_our_loss(shop: Shop) -> None:
    order = await delivered(shop)
    await says(shop, order.id, "opened")
    await says(shop, order.id, "lost")
    assert await standing(shop, order.id) == "refunded/delivered 4990 final"
    assert await rests(shop, "clearing:alipay", "disputes:alipay", "loss:chargeback") == ["0.00", "0.00", "-49.90"]
    assert (await the_dispute(shop, order.id)).counted_minor == 4990
    assert (await case(shop, order.id)).state == "resolved"
    assert (await case(shop, order.id, "dispute_lost")).state == "open"
    assert shop.alipay.refunds == []


async def test_of_a_dispute_about_a_part_only_that_part_is_lost(shop: Shop) -> None:
    order = await delivered(shop)
    await says(shop, order.id, "opened", "20.00 CNY")
    await says(shop, order.id, "lost", "20.00 CNY")
    assert await standing(shop, order.id) == "captured/delivered 2000 final"
    assert await rests(shop, "clearing:alipay", "loss:chargeback") == ["-29.90", "-20.00"]


async def test_a_bank_that_takes_more_than_was_paid_counts_as_a_refund_only_so_far(shop: Shop) -> None:
    order = await delivered(shop)
    await says(shop, order.id, "opened", "60.00 CNY")
    await says(shop, order.id, "lost", "60.00 CNY")
    assert await standing(shop, order.id) == "refunded/delivered 4990 final"
    assert await rests(shop, "clearing:alipay", "loss:chargeback") == ["10.10", "-60.00"]
    assert (await the_dispute(shop, order.id)).counted_minor == 4990


async def test_a_credit_of_our_own_network_is_not_taken_back_while_it_is_disputed(shop: Shop) -> None:
    order = await shop.guest_pays("138 0013 8000")
    await says(shop, order.id, "opened")
    with pytest.raises(CannotHappen):
        await flow.reverse(shop.trade, order.id, who="wang", reason="disputed")
    await says(shop, order.id, "lost", "49.80 CNY")
    assert await standing(shop, order.id) == "refunded/delivered 4980 final"


# ------------------------------------------------------------------ not delivered yet


@pytest.mark.parametrize("amount", ["49.90 CNY", "20.00 CNY"])
async def test_an_order_that_was_not_sent_is_not_sent_once_it_is_disputed(shop: Shop, amount: str) -> None:
    order = await shop.guest_pays()
    await says(shop, order.id, "opened", amount)
    await shop.wait(3 * DAY)  # past its time to be sent, and past its deadline
    assert await standing(shop, order.id) == "disputed/ready 0 pending"
    assert shop.northtel.credits == [] and shop.alipay.refunds == []
    await says(shop, order.id, "lost", amount)
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert sent_back(shop) == 4990 - money(amount).minor
    assert await rests(shop, "owed:customers", "clearing:alipay", "loss:chargeback") == ["0.00", "0.00", "0.00"]
    assert shop.northtel.credits == []


async def test_an_order_goes_on_when_the_bank_decides_for_us_in_time(shop: Shop) -> None:
    order = await shop.guest_pays()
    await says(shop, order.id, "opened")
    await shop.wait(HOUR)
    await says(shop, order.id, "won")
    await shop.wait(60)
    assert await standing(shop, order.id) == "captured/delivered 0 final"


async def test_an_order_is_refunded_when_the_bank_decides_for_us_too_late(shop: Shop) -> None:
    order = await shop.guest_pays()
    await says(shop, order.id, "opened")
    await shop.wait(3 * DAY)
    await says(shop, order.id, "won")
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert len(shop.alipay.refunds) == 1


async def test_a_parked_order_stays_where_it_is(shop: Shop) -> None:
    order = await delivered(shop, "139 1234 0013")
    assert order.delivery == "parked"
    await says(shop, order.id, "opened")
    await shop.wait(3 * DAY)
    assert await standing(shop, order.id) == "disputed/parked 0 pending"
    await says(shop, order.id, "lost")
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert (await shop.order(order.id)).reason == "the payer's bank took the payment back"


async def test_nobody_can_cancel_or_refund_what_the_bank_decides_about(shop: Shop) -> None:
    order = await shop.guest_pays()
    await says(shop, order.id, "opened")
    with pytest.raises(CannotHappen):
        await flow.cancel(shop.trade, order.id)
    with pytest.raises(CannotHappen, match="bank decides"):
        await flow.refund(shop.trade, order.id, money("49.90 CNY"), "nice", "wang")


async def test_a_second_payment_of_a_disputed_order_goes_back(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    one, two = [await shop.invite(order.id, scene=scene) for scene in ("page", "qr")]
    shop.alipay.pay(one)
    await shop.world.advance(0)
    await says(shop, order.id, "opened")
    shop.alipay.pay(two)
    await shop.wait(HOUR)
    assert [refund.reference for refund in shop.alipay.refunds] == [two]


# ------------------------------------------------------------------ on its way


async def on_its_way(shop: Shop, typed: str = "139 1234 0021") -> Order:
    """An order whose attempt was taken and not answered yet."""
    order = await delivered(shop, typed)
    assert order.delivery == "unknown"
    return order


async def answered(shop: Shop, order_id: str, outcome: "Done[Delivery] | Refused | Unknown") -> None:
    await flow.settle(shop.trade, [flow.Answered(await shop.attempt(order_id), outcome, by_inquiry=True)])


WHOLE = Done(Delivery("N1", "8613912340021", money("50.00 CNY"), money("49.60 CNY")))
HALF = Done(Delivery("N1", "8613912340021", money("25.00 CNY"), money("24.80 CNY")))
NO = Refused("number barred")

# answer of the operator meanwhile, what is disputed, the bank's word: how it ends, what we refund, our loss
MEANWHILE = """
    whole | 49.90 | won  | captured/delivered 0 final    | 0.00  | 0.00
    whole | 49.90 | lost | refunded/delivered 4990 final | 0.00  | -49.90
    half  | 49.90 | won  | captured/partial 2495 final   | 24.95 | 0.00
    half  | 49.90 | lost | refunded/partial 4990 final   | 0.00  | -24.95
    half  | 10.00 | lost | captured/partial 2495 final   | 14.95 | 0.00
    half  | 30.00 | lost | captured/partial 3000 final   | 0.00  | -5.05
    no    | 49.90 | won  | refunded/failed 4990 final    | 49.90 | 0.00
    no    | 49.90 | lost | refunded/failed 4990 final    | 0.00  | 0.00
    no    | 20.00 | lost | refunded/failed 4990 final    | 29.90 | 0.00
"""


@pytest.mark.parametrize("line", [line.strip() for line in MEANWHILE.strip().splitlines()])
async def test_what_was_on_its_way_is_settled_when_the_bank_has_decided(shop: Shop, line: str) -> None:
    answer, amount, decided, end, back, lost = (cell.strip() for cell in line.split("|"))
    order = await on_its_way(shop)
    await says(shop, order.id, "opened", f"{amount} CNY")
    await answered(shop, order.id, {"whole": WHOLE, "half": HALF, "no": NO}[answer])
    await shop.wait(2 * DAY)
    meant = {"whole": "delivered", "half": "partial", "no": "failed"}[answer]
    assert await standing(shop, order.id) == f"disputed/{meant} 0 pending"
    assert shop.alipay.refunds == []
    await says(shop, order.id, decided, f"{amount} CNY")
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == end
    assert sent_back(shop) == minor(back)
    assert await rests(shop, "owed:customers", "disputes:alipay", "loss:chargeback") == ["0.00", "0.00", lost]


# what is lost before the operator answers, the answer: how it ends, what we refund, what we earned
AFTERWARDS = """
    49.90 | whole | refunded/delivered 4990 final | 0.00  | 0.00
    49.90 | no    | refunded/failed 4990 final    | 0.00  | 0.00
    20.00 | whole | captured/delivered 2000 final | 0.00  | 29.90
    20.00 | half  | captured/partial 2495 final   | 4.95  | 24.95
    40.00 | half  | captured/partial 4000 final   | 0.00  | 9.90
    20.00 | no    | refunded/failed 4990 final    | 29.90 | 0.00
"""


@pytest.mark.parametrize("line", [line.strip() for line in AFTERWARDS.strip().splitlines()])
async def test_a_dispute_that_is_lost_while_an_attempt_may_still_land(shop: Shop, line: str) -> None:
    amount, answer, end, back, earned = (cell.strip() for cell in line.split("|"))
    order = await on_its_way(shop)
    await says(shop, order.id, "opened", f"{amount} CNY")
    await says(shop, order.id, "lost", f"{amount} CNY")
    await answered(shop, order.id, {"whole": WHOLE, "half": HALF, "no": NO}[answer])
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == end
    assert sent_back(shop) == minor(back)
    assert await rests(shop, "owed:customers", "sales:topup", "loss:chargeback") == ["0.00", earned, "0.00"]
    assert ("late_success" in await shop.cases(order.id)) == (end.startswith("refunded/delivered"))


async def test_what_the_bank_left_is_refunded_from_suspense_at_the_deadline(shop: Shop) -> None:
    order = await on_its_way(shop)
    await says(shop, order.id, "opened", "20.00 CNY")
    await says(shop, order.id, "lost", "20.00 CNY")
    await shop.wait(2 * DAY)
    assert await standing(shop, order.id) == "refunded/unknown 4990 provisional"
    assert await rests(shop, "owed:customers", "suspense:unknown-northtel") == ["0.00", "0.00"]
    assert [refund.amount_minor for refund in shop.alipay.refunds] == [2990]


async def test_a_disputed_order_in_flight_is_asked_about_and_never_sent_again(db: Lossy) -> None:
    shop = await Shop(db, dedups="yes").open()
    order = await shop.guest_pays("139 1234 0004")  # the answer is lost, and an inquiry says not_found for a minute
    await shop.tick()
    await says(shop, order.id, "opened")
    asked = len(shop.world.sent)
    await shop.wait(30)
    assert {request.method for request in shop.world.sent[asked:]} == {"GET"}
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "disputed/delivered 0 pending"
    shop.world.die()


async def test_a_dispute_in_the_very_moment_of_sending(shop: Shop) -> None:
    order = await shop.guest_pays("139 1234 0021")
    shop.world.clock += timedelta(minutes=10)
    await shop.worker.tick()  # the attempt is committed, and its first byte is about to leave
    await says(shop, order.id, "opened")
    assert await standing(shop, order.id) == "disputed/dispatching 0 pending"
    await shop.world.advance(60)
    assert await standing(shop, order.id) == "disputed/unknown 0 unknown"
    await says(shop, order.id, "won")
    assert await standing(shop, order.id) == "captured/unknown 0 unknown"


async def test_a_dispute_may_be_lost_before_the_first_answer(shop: Shop) -> None:
    order = await shop.guest_pays("139 1234 0021")
    shop.world.clock += timedelta(minutes=10)
    await shop.worker.tick()
    await says(shop, order.id, "lost")
    assert await standing(shop, order.id) == "refunded/unknown 4990 provisional"
    await shop.world.advance(60)
    assert await standing(shop, order.id) == "refunded/unknown 4990 provisional"


# ------------------------------------------------------------------ after a refund, or beside one


async def failed(shop: Shop) -> Order:
    """An order that the operator refused; its refund is due."""
    order = await shop.guest_pays("139 1234 0003")
    shop.world.clock += timedelta(minutes=10)
    await shop.tick()
    assert (await shop.refund(order.id)).state == "due"
    return await shop.order(order.id)


async def test_a_dispute_that_is_lost_after_the_refund_is_our_loss(shop: Shop) -> None:
    order = await failed(shop)
    await shop.wait(HOUR)
    await says(shop, order.id, "opened")
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    await says(shop, order.id, "lost")
    assert await shop.story(order.id) == "placed paid sent#1 failed refunded#1 dispute_noted#1 dispute_ended#1"
    assert await rests(shop, "clearing:alipay", "loss:chargeback") == ["49.90", "-49.90"]
    assert (await the_dispute(shop, order.id)).counted_minor == 0
    assert "dispute_lost" in await shop.cases(order.id)


async def test_a_dispute_that_is_won_after_the_refund_changes_nothing(shop: Shop) -> None:
    order = await failed(shop)
    await shop.wait(HOUR)
    await says(shop, order.id, "opened")
    await says(shop, order.id, "won")
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert await rests(shop, "clearing:alipay", "disputes:alipay") == ["0.00", "0.00"]


@pytest.mark.parametrize(("amount", "back"), [("49.90 CNY", 0), ("20.00 CNY", 2990)])
async def test_a_refund_that_has_not_left_ends_when_the_bank_has_paid(shop: Shop, amount: str, back: int) -> None:
    order = await failed(shop)
    await says(shop, order.id, "lost", amount)
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert sent_back(shop) == back
    assert await rests(shop, "owed:customers", "clearing:alipay", "loss:chargeback") == ["0.00", "0.00", "0.00"]
    states = [refund.state for refund in (await shop.timeline(order.id)).refunds]
    assert states == (["cancelled", "done"] if back else ["cancelled"])


async def test_a_refund_that_the_firm_refused_ends_when_the_bank_has_paid(shop: Shop) -> None:
    order = await failed(shop)
    shop.alipay.trades[f"{order.id}p1"].refunded_minor = 4990
    await shop.wait(HOUR)
    assert (await shop.refund(order.id)).state == "stuck"
    await says(shop, order.id, "opened")
    assert await standing(shop, order.id) == "refund_pending/failed 0 pending"
    await says(shop, order.id, "lost")
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert (await shop.refund(order.id)).state == "cancelled"


async def test_a_refund_that_may_have_left_is_never_cancelled(shop: Shop) -> None:
    order = await failed(shop)
    shop.alipay.troubles.plan("lost")
    await shop.wait(1)
    assert (await shop.refund(order.id)).state == "sent"
    await says(shop, order.id, "lost")
    assert await standing(shop, order.id) == "refund_pending/failed 0 pending"
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert await rests(shop, "clearing:alipay", "loss:chargeback") == ["49.90", "-49.90"]


async def asked_for(shop: Shop, order_id: str) -> Refund:
    """A refund that the firm was asked for, and whose answer is on its way."""
    shop.alipay.troubles.plan("error_before")
    await shop.wait(1)
    refund = await shop.refund(order_id)
    assert refund.state == "sent"
    return refund


async def test_a_refund_that_is_refused_once_the_bank_has_paid_covers_the_loss(shop: Shop) -> None:
    order = await failed(shop)
    refund = await asked_for(shop, order.id)
    await says(shop, order.id, "lost")
    assert await rests(shop, "owed:customers", "loss:chargeback") == ["49.90", "-49.90"]
    for _ in range(2):
        await flow.refunded(shop.trade, refund, Refused("the bank has the money"))
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert await rests(shop, "owed:customers", "loss:chargeback") == ["0.00", "0.00"]
    assert (await the_dispute(shop, order.id)).counted_minor == 4990
    assert (await shop.refund(order.id)).state == "cancelled"


async def test_a_refund_of_more_than_the_bank_took_is_no_business_of_the_bank(shop: Shop) -> None:
    order = await failed(shop)
    refund = await asked_for(shop, order.id)
    await says(shop, order.id, "lost", "20.00 CNY")
    await flow.refunded(shop.trade, refund, Refused("no"))
    assert (await shop.refund(order.id)).state == "stuck"
    assert "refund_refused" in await shop.cases(order.id)


async def test_a_stray_payment_that_the_bank_took_back_first_leaves_nothing_over(shop: Shop) -> None:
    order = await shop.guest_pays()
    await flow.pay(shop.trade, [captured(f"{order.id}p9", "7.00 CNY", method="alipay", number="stray")])
    refund = await asked_for(shop, order.id)
    await flow.dispute(shop.trade, "alipay", Dispute("stray", "lost", money("7.00 CNY"), "duplicate", None))
    await flow.refunded(shop.trade, refund, Refused("the bank has the money"))
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "captured/delivered 0 final"
    assert await rests(shop, "suspense:wrong-amount", "loss:chargeback") == ["0.00", "0.00"]


async def test_a_refund_that_was_asked_for_before_the_bank_let_go_is_asked_for_anew(shop: Shop) -> None:
    order = await failed(shop)
    refund = await asked_for(shop, order.id)
    await says(shop, order.id, "won")
    await flow.refunded(shop.trade, refund, Refused("the bank has the money"))
    states = [refund.state for refund in (await shop.timeline(order.id)).refunds]
    assert states == ["cancelled", "due"]
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert [one.request_id for one in shop.alipay.refunds] == [f"{order.id}r2"]
    assert await shop.cases(order.id) == []


async def test_a_bank_pays_a_part_beside_a_refund_of_another_part(shop: Shop) -> None:
    order = await shop.guest_pays("139 1234 0007")  # half of it is delivered; the other half is refunded
    shop.alipay.trades[f"{order.id}p1"].refunded_minor = 4990  # but not by Alipay
    await shop.wait(HOUR)
    assert (await shop.refund(order.id)).state == "stuck"
    await says(shop, order.id, "lost", "30.00 CNY")
    assert await standing(shop, order.id) == "captured/partial 3000 final"
    assert await rests(shop, "owed:customers", "loss:chargeback") == ["0.00", "-5.05"]


async def test_a_stray_payment_may_be_disputed_too(shop: Shop) -> None:
    order = await shop.guest_pays()
    await flow.pay(shop.trade, [captured(f"{order.id}p9", "7.00 CNY", method="alipay", number="stray")])
    said = Dispute("stray", "lost", money("7.00 CNY"), "duplicate", None)
    assert await flow.dispute(shop.trade, "alipay", said)
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "captured/delivered 0 final"
    assert "dispute_noted#1" in await shop.story(order.id)
    assert (await the_dispute(shop, order.id)).counted_minor == 0
    assert await rests(shop, "suspense:wrong-amount", "loss:chargeback") == ["0.00", "0.00"]
    assert shop.alipay.refunds == []


async def test_a_case_stays_open_as_long_as_one_of_two_payments_is_disputed(shop: Shop) -> None:
    order = await delivered(shop)
    await flow.pay(shop.trade, [captured(f"{order.id}p9", "7.00 CNY", method="alipay", number="stray")])
    stray = Dispute("stray", "opened", money("7.00 CNY"), "duplicate", None)
    await says(shop, order.id, "opened")
    await flow.dispute(shop.trade, "alipay", stray)
    await says(shop, order.id, "won")
    assert (await case(shop, order.id)).state == "open"
    await flow.dispute(shop.trade, "alipay", replace(stray, state="won"))
    assert (await case(shop, order.id)).state == "resolved"
    await shop.wait(HOUR)


async def test_a_dispute_that_begins_while_goodwill_is_on_its_way_is_fought_afterwards(shop: Shop) -> None:
    order = await delivered(shop)
    asked = await flow.refund(shop.trade, order.id, money("5.00 CNY"), "slow", "wang")
    await flow.confirm_refund(shop.trade, order.id, asked.n, "li")
    await says(shop, order.id, "opened", "44.90 CNY")
    assert await standing(shop, order.id) == "refund_pending/delivered 0 pending"
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "disputed/delivered 500 pending"
    await says(shop, order.id, "lost", "44.90 CNY")
    assert await standing(shop, order.id) == "refunded/delivered 4990 final"
    assert await rests(shop, "cost:goodwill", "loss:chargeback") == ["-5.00", "-44.90"]


# ------------------------------------------------------------------ said twice, late, wrongly


async def test_a_dispute_that_is_told_again_and_again_moves_nothing_twice(shop: Shop) -> None:
    order = await delivered(shop)
    for state in ("opened", "opened", "lost", "lost", "opened"):
        assert await says(shop, order.id, state)
    assert await shop.story(order.id) == "placed paid sent#1 delivered disputed#1 dispute_lost#1"
    assert await rests(shop, "loss:chargeback") == ["-49.90"]


@pytest.mark.parametrize(("state", "end"), [("won", "captured"), ("lost", "refunded")])
async def test_the_end_of_a_dispute_may_be_told_before_its_beginning(shop: Shop, state: str, end: str) -> None:
    order = await delivered(shop)
    await says(shop, order.id, state)
    await says(shop, order.id, "opened")
    assert (await shop.order(order.id)).payment == end
    assert "disputed" not in await shop.cases(order.id), "nobody can send evidence any more"


async def test_a_bank_that_decides_twice_and_otherwise_is_a_case_and_moves_nothing(shop: Shop) -> None:
    order = await delivered(shop)
    await says(shop, order.id, "opened")
    await says(shop, order.id, "won")
    await says(shop, order.id, "lost")
    assert await standing(shop, order.id) == "captured/delivered 0 final"
    again = await case(shop, order.id)
    assert again.state == "open" and "first won, now lost" in again.says


async def test_a_dispute_of_a_payment_that_we_do_not_know_is_not_ours(shop: Shop) -> None:
    await shop.guest_pays()
    said = Dispute("2026112200000000", "opened", money("49.90 CNY"), "fraudulent", None)
    assert not await flow.dispute(shop.trade, "alipay", said)


async def test_a_dispute_at_another_firm_is_not_ours(shop: Shop) -> None:
    order = await shop.guest_pays()
    transaction = shop.alipay.trades[f"{order.id}p1"].trade_no
    said = Dispute(transaction, "opened", money("49.90 CNY"), "fraudulent", None)
    assert not await flow.dispute(shop.trade, "card", said)


async def test_a_dispute_in_another_currency_is_settled_by_a_person(shop: Shop) -> None:
    order = await delivered(shop)
    assert await says(shop, order.id, "opened", "49.90 USD")
    assert await standing(shop, order.id) == "captured/delivered 0 final"
    assert await shop.cases(order.id) == ["difference"]


async def test_a_dispute_whose_commit_was_lost_is_kept_once(shop: Shop, db: Lossy) -> None:
    order = await delivered(shop)
    for state in ("opened", "lost"):
        db.lose = 1
        await says(shop, order.id, state)
    assert await standing(shop, order.id) == "refunded/delivered 4990 final"
    assert await rests(shop, "disputes:alipay", "loss:chargeback") == ["0.00", "-49.90"]


BROKEN = """
    INSERT INTO topup_dispute SELECT * FROM topup_dispute        | duplicate key
    UPDATE topup_dispute SET state = 'perhaps'                   | check constraint
    UPDATE topup_dispute SET minor = 0                           | check constraint
    UPDATE topup_dispute SET counted_minor = 1                   | check constraint
    UPDATE topup_dispute SET counted_minor = -1                  | check constraint
    UPDATE topup_dispute SET state = 'lost'                      | check constraint
    UPDATE topup_dispute SET decided_at = opened_at              | check constraint
    UPDATE topup_dispute SET state = 'won', decided_at = opened_at, counted_minor = 1 | check constraint
    UPDATE topup_dispute SET state = 'lost', decided_at = opened_at, counted_minor = minor + 1 | check constraint
"""


@pytest.mark.parametrize("line", [line.strip() for line in BROKEN.strip().splitlines()])
async def test_what_no_program_can_do_to_a_dispute(shop: Shop, dsn: str, line: str) -> None:
    await says(shop, (await shop.guest_pays()).id, "opened")
    statement, refusal = (cell.strip() for cell in line.split("|"))
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.Error, match=refusal):
        connection.execute(statement.encode())


async def test_one_payment_of_an_order_is_disputed_once(shop: Shop, dsn: str) -> None:
    await says(shop, (await shop.guest_pays()).id, "opened")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TEMPORARY TABLE second AS SELECT * FROM topup_dispute")
        connection.execute("UPDATE second SET n = 2")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO topup_dispute SELECT * FROM second")


# ------------------------------------------------------------------ by notice


class CardShop:
    """A shop that takes cards too, with Stripe at the other end of the wire."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.stripe = CardSimulator(
            **shop.world.surroundings(),
            secret_key="sk_test_simulated",
            webhook_secret="whsec_simulated",
            base_url=STRIPE,
            webhook_url=f"{US}/callbacks/card",
        )
        shop.world.route(STRIPE, self.stripe.handle)
        settings = {"card_secret_key": "sk_test_simulated", "card_webhook_secret": "whsec_simulated"}
        card = methods_by_name({**settings, "card_api_base": STRIPE})["card"]
        shop.trade = replace(shop.trade, methods={**shop.trade.methods, "card": card})
        shop.worker = Worker(shop.trade)

    async def paid(self, typed: str = "139 1234 5678") -> Order:
        """A guest's order that a card paid; its notice has arrived."""
        order = await self.shop.placed(self.shop.ask(typed))
        await flow.invite(self.shop.trade, order.id, "card", return_url=US)
        assert self.stripe.pay(f"{order.id}p1")
        await self.shop.world.advance(0)
        return await self.shop.order(order.id)

    async def disputed(self, order_id: str) -> None:
        assert self.stripe.dispute(f"{order_id}p1")
        await self.shop.world.advance(0)

    async def decided(self, order_id: str, *, won: bool) -> None:
        assert self.stripe.close_dispute(f"{order_id}p1", won)
        await self.shop.world.advance(0)


@pytest.fixture
def cards(shop: Shop) -> CardShop:
    return CardShop(shop)


@pytest.mark.parametrize(
    ("won", "end", "lost"),
    [(True, "captured/delivered 0 final", "0.00"), (False, "refunded/delivered 4990 final", "-49.90")],
)
async def test_a_card_is_disputed_at_stripe_and_the_bank_decides(
    shop: Shop, cards: CardShop, won: bool, end: str, lost: str
) -> None:
    order = await cards.paid()
    await shop.wait(11 * 60)
    await cards.disputed(order.id)
    assert await standing(shop, order.id) == "disputed/delivered 0 pending"
    row = await the_dispute(shop, order.id)
    assert row.evidence_by is not None and row.evidence_by > shop.world.now()
    assert (await case(shop, order.id)).due_at == row.evidence_by
    await cards.decided(order.id, won=won)
    assert await standing(shop, order.id) == end
    assert await rests(shop, "disputes:card", "loss:chargeback") == ["0.00", lost]
    remarks = [notice.remark for notice in (await shop.timeline(order.id)).notices]
    assert remarks == ["paid", "dispute opened", "dispute won" if won else "dispute lost"]


async def test_a_card_that_is_disputed_at_once_buys_nothing(shop: Shop, cards: CardShop) -> None:
    order = await cards.paid()
    await cards.disputed(order.id)
    await shop.wait(2 * DAY)
    await cards.decided(order.id, won=False)
    await shop.wait(DAY)
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    assert shop.northtel.credits == [] and cards.stripe.refunds == []
    assert await rests(shop, "clearing:card", "owed:customers") == ["0.00", "0.00"]


@pytest.mark.parametrize("won", [True, False])
async def test_a_refund_that_stripe_refuses_because_of_a_dispute(shop: Shop, cards: CardShop, won: bool) -> None:
    order = await cards.paid("139 1234 0003")
    shop.world.clock += timedelta(minutes=10)
    await shop.tick()
    assert (await shop.refund(order.id)).state == "due"
    await cards.disputed(order.id)
    await shop.wait(HOUR)
    assert (await shop.refund(order.id)).state == "stuck"
    assert await standing(shop, order.id) == "refund_pending/failed 0 pending"
    assert (await case(shop, order.id, "refund_refused")).state == "open"
    await cards.decided(order.id, won=won)
    await shop.wait(HOUR)
    assert await standing(shop, order.id) == "refunded/failed 4990 final"
    # Under the first one's name Stripe would go on refusing for a day, whatever the bank decides.
    states = [refund.state for refund in (await shop.timeline(order.id)).refunds]
    assert states == (["cancelled", "done"] if won else ["cancelled"])
    assert (await case(shop, order.id, "refund_refused")).state == ("resolved" if won else "open")
    assert await rests(shop, "owed:customers", "clearing:card", "loss:chargeback") == ["0.00", "0.00", "0.00"]


async def test_the_same_notice_of_a_dispute_again_moves_nothing(shop: Shop, cards: CardShop) -> None:
    order = await cards.paid()
    await cards.disputed(order.id)
    body = [sent for sent in shop.world.sent if sent.url.endswith("/callbacks/card")][-1]
    for _ in range(3):
        answer = await flow.receive_notice(shop.trade, "card", RawNotice(body.body, body.headers, shop.world.now()))
        assert answer == (200, b"received")
    assert await shop.story(order.id) == "placed paid disputed#1"
    assert (await shop.timeline(order.id)).notices[-1].seen == 4


async def test_a_notice_of_a_dispute_about_nothing_of_ours_is_shown_to_a_person_and_asked_for_again(
    shop: Shop, cards: CardShop
) -> None:
    order = await cards.paid()
    await shop.sql("UPDATE topup_capture SET transaction = 'pi_other', cell = 1")
    await cards.disputed(order.id)
    notice = [sent for sent in shop.world.sent if sent.url.endswith("/callbacks/card")][-1]
    raw = RawNotice(notice.body, notice.headers, shop.world.now())
    assert (await flow.receive_notice(shop.trade, "card", raw))[0] == 503
    their_id = json.loads(notice.body)["id"]
    assert await shop.cases(f"payments:card {their_id}") == ["stranger"]
    assert await standing(shop, order.id) == "captured/ready 0 pending"


# ------------------------------------------------------------------ at the very same moment


@pytest.mark.parametrize("seed", range(6))
async def test_the_bank_the_worker_and_staff_at_the_very_same_moment(shop: Shop, seed: int) -> None:
    order = await shop.guest_pays()
    asked = await flow.refund(shop.trade, order.id, money("49.90 CNY"), "x", "wang")
    shop.world.clock += timedelta(minutes=10)
    meet = [
        says(shop, order.id, "opened"),
        says(shop, order.id, "opened"),
        shop.worker.tick(),
        flow.confirm_refund(shop.trade, order.id, asked.n, "li"),
        flow.cancel(shop.trade, order.id),
    ]
    Random(seed).shuffle(meet)
    for answer in await asyncio.gather(*meet, return_exceptions=True):
        assert not isinstance(answer, Exception) or isinstance(answer, CannotHappen), answer
    await shop.wait(HOUR)
    assert await check(shop.db, lambda done, of: None) == []
    await says(shop, order.id, "lost")
    await shop.wait(HOUR)
    given = sum(credit.face_minor for credit in shop.northtel.credits)
    row, order = await the_dispute(shop, order.id), await shop.order(order.id)
    assert given in (0, 5000) and not (given and sent_back(shop))
    assert (order.refunded_minor, order.certainty) == (4990, "final")
    assert sent_back(shop) + row.counted_minor == 4990


# ------------------------------------------------------------------ any order of things


@pytest.mark.parametrize("seed", range(24))
async def test_however_operator_payer_bank_and_staff_come_together_the_book_is_right(shop: Shop, seed: int) -> None:
    """Refunds and the bank's money are at most what was paid, nothing is left over, and every order comes to rest."""
    dice = Random(seed)
    order = await shop.guest_pays(f"139 1234 {dice.choice(['5678', '0003', '0007', '0013', '0014', '0015', '0021'])}")
    amount = dice.choice(["49.90 CNY", "20.00 CNY", "60.00 CNY"])
    for state in ("opened", dice.choice(["won", "lost"])):
        if dice.random() < 0.3:
            shop.alipay.troubles.plan(dice.choice(["lost", "broke"]))
        await shop.wait(dice.choice([0, 30, 601, 700, HOUR, 2 * DAY]))
        if dice.random() < 0.5:
            try:
                asked = await flow.refund(shop.trade, order.id, money(dice.choice(["5.00 CNY", "49.90 CNY"])), "x", "a")
                await flow.confirm_refund(shop.trade, order.id, asked.n, "b")
            except CannotHappen:
                pass
        await says(shop, order.id, state, amount)
        assert await check(shop.db, lambda done, of: None) == []
    await shop.wait(9 * DAY)
    order = await shop.order(order.id)
    assert order.payment in ("captured", "refunded")
    assert order.final_at is not None or order.delivery == "unknown"
    assert await rests(shop, "owed:customers", "disputes:alipay") == ["0.00", "0.00"]
    row = await the_dispute(shop, order.id)
    back = sent_back(shop)
    assert back == order.refunded_minor - row.counted_minor
    assert back + row.counted_minor <= 4990
    if order.delivery == "failed":
        assert back + row.counted_minor == 4990
