"""Sending, settling and asking: one open attempt, one delivery, and no doubt that is mistaken for a no."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from tests.topup.shop import NORTHTEL, Lossy, Shop, table

from refill import numbers
from refill.money import money
from refill.numbers import msisdn
from refill.operators import Delivery
from refill.outcome import Done, Refused, Unknown
from refill.topup import flow, store
from refill.topup.order import Attempt
from refill.topup.whose import seller_for

HOUR, DAY = 3600, 86_400


@pytest.fixture
async def deduping(db: Lossy) -> AsyncIterator[Shop]:
    """A shop whose supplier knows each of our references once."""
    shop = await Shop(db, dedups="yes").open()
    yield shop
    shop.world.die()
    assert shop.world.errors == []


@pytest.fixture
async def never_sure(db: Lossy) -> AsyncIterator[Shop]:
    """A shop whose supplier's "not found" never means anything."""
    shop = await Shop(db, not_found_final_s="never").open()
    yield shop
    shop.world.die()
    assert shop.world.errors == []


async def test_a_partners_order_is_held_sent_and_delivered(shop: Shop) -> None:
    order = await shop.sent("139 1234 5678")
    assert (order.status, order.certainty) == ("succeeded", "final")
    assert await shop.story(order.id) == "held sent#1 delivered"
    assert await shop.book(order.id) == table("""
        held.0      | float:kiosk → held:kiosk          | 49.80
        delivered.0 | held:kiosk → sales:topup          | 49.80
        delivered.1 | cost:topup → float:northtel       | 49.60
    """)


async def test_a_guest_pays_at_alipay_and_is_delivered(shop: Shop) -> None:
    order = await shop.guest_pays()
    await shop.tick()
    order = await shop.order(order.id)
    assert (order.status, order.delivered_minor) == ("succeeded", 5000)
    assert await shop.story(order.id) == "placed paid sent#1 delivered"
    assert [credit.request_id for credit in shop.northtel.credits] == [f"{order.id}a1"]


async def test_an_attempt_is_committed_before_any_byte_is_sent(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    assert await shop.worker.tick() == 1
    assert shop.world.sent == []
    attempt = await shop.attempt(order.id)
    assert (attempt.state, attempt.request_id) == ("prepared", f"{order.id}a1")
    assert (await shop.order(order.id)).delivery == "dispatching"


async def test_a_worker_that_froze_sends_nothing_after_its_window(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    await shop.worker.tick()
    shop.world.clock += timedelta(seconds=11)  # the process stood still
    await shop.world.advance(0)
    assert shop.northtel.jobs == {}
    assert (await shop.order(order.id)).certainty == "unknown"
    await shop.wait(HOUR)
    # It never arrived there, which is sure five minutes after the hard end; then it is sent under a new name.
    assert (await shop.order(order.id)).status == "succeeded"
    assert [credit.request_id for credit in shop.northtel.credits] == [f"{order.id}a2"]


async def test_a_worker_that_is_killed_before_sending_leaves_an_attempt_that_counts_as_sent(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    await shop.worker.tick()
    shop.world.die()
    shop.worker = type(shop.worker)(shop.trade)
    await shop.wait(60)
    assert [request.method for request in shop.world.sent] == ["GET"] * len(shop.world.sent)
    assert (await shop.order(order.id)).status == "processing"
    await shop.wait(HOUR)
    assert (await shop.order(order.id)).status == "succeeded"
    assert len(shop.northtel.credits) == 1


async def test_when_the_answer_is_lost_we_ask_and_do_not_send_again(shop: Shop) -> None:
    order = await shop.sent("139 1234 0002")
    assert (order.status, order.certainty) == ("processing", "unknown")
    await shop.wait(10)
    assert (await shop.order(order.id)).status == "succeeded"
    assert [request.method for request in shop.world.sent] == ["POST", "GET"]
    assert await shop.story(order.id) == "held sent#1 unsure#1 delivered"


NO_PROOF = "0002 0005 0006 0008 0009 0010 0011 0014 0017 0018 0022".split()


@pytest.mark.parametrize("end", NO_PROOF)
async def test_an_answer_that_proves_nothing_is_asked_about_until_it_is_known(shop: Shop, end: str) -> None:
    order = await shop.sent(f"139 1234 {end}")
    assert order.certainty == "unknown"
    await shop.wait(HOUR)
    order = await shop.order(order.id)
    assert order.status == "succeeded"
    assert len(shop.northtel.credits) == 1
    assert await shop.attempts(order.id) == "done"


async def test_a_code_in_no_table_is_an_unknown_and_an_alarm(shop: Shop) -> None:
    await shop.sent("139 1234 0006")
    assert await shop.cases("northtel:E-4711") == ["unknown_code"]


async def test_inquiries_follow_the_schedule(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")  # processing for ever
    sent_at = shop.world.now()
    await shop.wait(2 * HOUR)
    asked = [int(request.headers["x-timestamp"]) - sent_at.timestamp() for request in shop.world.sent[1:]]
    waits = [round(later - earlier) for earlier, later in zip([0.0, *asked], asked, strict=False)]
    assert waits[:8] == [5, 15, 30, 60, 120, 300, 600, 1800] or sorted(waits) == waits
    assert len(asked) >= 8
    assert (await shop.order(order.id)).certainty == "unknown"


# ------------------------------------------------------------------ a definite no


@pytest.mark.parametrize(("end", "reason"), [("0003", "takes no credit"), ("0012", "not_their_number")])
async def test_a_definite_no_gives_a_partner_the_money_back_at_once(shop: Shop, end: str, reason: str) -> None:
    order = await shop.sent(f"139 1234 {end}")
    assert (order.status, order.certainty, order.payment) == ("failed", "final", "refunded")
    assert reason in order.reason
    assert await shop.balance(shop.float) == "1000.00"
    assert await shop.book(order.id) == table("""
        held.0   | float:kiosk → held:kiosk | 49.80
        failed.0 | held:kiosk → float:kiosk | 49.80
    """)


async def test_a_no_that_came_later_is_a_no(shop: Shop) -> None:
    order = await shop.sent("139 1234 0015")
    assert order.certainty == "unknown"
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "failed"
    assert await shop.balance(shop.float) == "1000.00"


async def test_a_number_of_another_operator_is_forgotten_as_learnt(shop: Shop) -> None:
    number = shop.number("138 1234 0012")
    await shop.placed(shop.ask("138 1234 0012"))
    await shop.taught("138 1234 0012", "cmcc")
    await shop.sent("138 1234 0012")
    told = (await shop.db.transaction(lambda tx: numbers.known(tx, [number])))[number]
    assert told.learned is None
    assert told.disowned is not None and told.disowned.operator == "cmcc"


async def test_a_delivery_teaches_whose_a_number_is(shop: Shop) -> None:
    order = await shop.sent("133 1234 5678", operator="cmcc")
    assert order.delivery == "delivered"
    assert str(await seller_for(shop.trade, msisdn("133 1234 5678"))) == "cmcc"


async def test_a_no_that_may_pass_is_tried_again_under_a_new_name_and_at_last_given_up(shop: Shop) -> None:
    order = await shop.sent("139 1234 0019")  # busy
    assert (order.status, order.delivery) == ("processing", "ready")
    await shop.wait(3 * HOUR)
    order = await shop.order(order.id)
    assert (order.status, order.attempts) == ("failed", 12)
    assert shop.northtel.refused == [f"{order.id}a{n}" for n in range(1, 13)]
    assert await shop.balance(shop.float) == "1000.00"


async def test_a_connection_that_was_refused_is_a_definite_no_that_may_pass(shop: Shop) -> None:
    shop.world.unplugged.add(NORTHTEL)
    order = await shop.sent("139 1234 5678")
    assert order.delivery == "ready"
    shop.world.unplugged.clear()
    await shop.wait(30)
    order = await shop.order(order.id)
    assert order.status == "succeeded"
    assert sorted((await shop.story(order.id)).split()) == ["delivered", "held", "retry#1", "sent#1", "sent#2"]


async def test_not_sent_says_nothing_about_a_request_that_another_may_have_sent(deduping: Shop) -> None:
    shop = deduping
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    await shop.worker.tick()
    shop.world.die()  # whether the first one was sent, nobody knows
    shop.worker = type(shop.worker)(shop.trade)
    shop.world.unplugged.add(NORTHTEL)
    await shop.wait(120)
    assert (await shop.order(order.id)).certainty == "unknown"
    assert await shop.attempts(order.id) == "unknown"
    attempt = await shop.attempt(order.id)
    not_sent = flow.Answered(attempt, Refused("not_sent", final=False), by_inquiry=True)
    await flow.settle(shop.trade, [not_sent])
    assert await shop.attempts(order.id) == "unknown"


async def test_an_empty_float_parks_the_order_and_it_resumes_alone(shop: Shop) -> None:
    full, shop.northtel.float_minor = shop.northtel.float_minor, 0
    order = await shop.sent("139 1234 5678")
    assert (order.status, order.delivery, order.parks) == ("processing", "parked", 1)
    assert await shop.cases("northtel") == ["empty_float"]
    await shop.wait(5 * 60)
    shop.northtel.float_minor = full
    await shop.wait(HOUR)
    order = await shop.order(order.id)
    assert order.status == "succeeded"
    story = await shop.story(order.id)
    assert story.startswith("held sent#1 parked#1 resumed#1 sent#2 parked#2 resumed#2 ") and story.endswith("delivered")
    assert len(shop.northtel.credits) == 1


async def test_a_float_that_stays_empty_is_given_up_at_the_deadline(shop: Shop) -> None:
    shop.northtel.float_minor = 0
    order = await shop.sent("139 1234 5678")
    await shop.wait(DAY)
    order = await shop.order(order.id)
    assert (order.status, order.reason) == ("failed", "not delivered by the deadline")
    assert await shop.balance(shop.float) == "1000.00"


# ------------------------------------------------------------------ "never heard of it"


async def test_not_found_is_no_answer_while_the_request_may_still_land(shop: Shop) -> None:
    order = await shop.sent("139 1234 0004")  # taken, hidden for a minute
    await shop.wait(50)
    assert (await shop.order(order.id)).certainty == "unknown"
    await shop.wait(300)
    order = await shop.order(order.id)
    assert (order.status, order.attempts) == ("succeeded", 1)
    assert len(shop.northtel.credits) == 1


async def test_not_found_means_never_only_as_late_as_the_supplier_declares(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    await shop.worker.tick()
    shop.world.die()
    shop.worker = type(shop.worker)(shop.trade)
    hard_end = (await shop.attempt(order.id)).hard_end
    await shop.wait_until(hard_end + timedelta(seconds=299))
    assert (await shop.order(order.id)).attempts == 1
    await shop.wait(HOUR)
    assert await shop.attempts(order.id) == "refused done"
    assert "retry#1 sent#2" in await shop.story(order.id)


async def test_a_supplier_that_never_says_never_is_asked_until_the_deadline(never_sure: Shop) -> None:
    shop = never_sure
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    await shop.worker.tick()
    shop.world.die()
    shop.worker = type(shop.worker)(shop.trade)
    await shop.wait(DAY - 60)
    assert (await shop.order(order.id)).certainty == "unknown"
    await shop.wait(120)
    assert (await shop.order(order.id)).certainty == "provisional"


async def test_where_they_know_our_reference_once_a_lost_request_is_sent_again_under_the_same_name(
    deduping: Shop,
) -> None:
    shop = deduping
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    await shop.worker.tick()
    shop.world.die()
    shop.worker = type(shop.worker)(shop.trade)
    await shop.wait(2 * 60)
    order = await shop.order(order.id)
    assert (order.status, order.attempts) == ("succeeded", 1)
    assert [credit.request_id for credit in shop.northtel.credits] == [f"{order.id}a1"]


# ------------------------------------------------------------------ a part of it


async def test_a_partner_gets_back_exactly_what_was_not_delivered(shop: Shop) -> None:
    order = await shop.sent("139 1234 0007")
    assert (order.status, order.certainty, order.delivered_minor, order.refunded_minor) == (
        "partial",
        "final",
        2500,
        2490,
    )
    assert await shop.book(order.id) == table("""
        held.0           | float:kiosk → held:kiosk    | 49.80
        partial.0        | held:kiosk → sales:topup    | 24.90
        partial.1        | cost:topup → float:northtel | 24.80
        partial_refund.0 | held:kiosk → float:kiosk    | 24.90
    """)


async def test_a_guest_gets_back_exactly_what_was_not_delivered(shop: Shop) -> None:
    order = await shop.guest_pays("139 1234 0007")
    await shop.wait(60)
    order = await shop.order(order.id)
    assert (order.status, order.payment, order.certainty) == ("partial", "captured", "final")
    assert (order.captured_minor, order.refunded_minor, order.delivered_minor) == (4990, 2495, 2500)
    assert [refund.amount_minor for refund in shop.alipay.refunds] == [2495]
    assert await shop.story(order.id) == "placed paid sent#1 partial refunded#1"


ROUNDED = """
    delivered of 50.00 | kept of 49.80 | back
    0.01               | 0.01          | 49.79
    0.50               | 0.50          | 49.30
    33.33              | 33.20         | 16.60
    49.99              | 49.79         | 0.01
    50.00              | 49.80         | 0.00
    60.00              | 49.80         | 0.00
"""


@pytest.mark.parametrize("line", [line.strip() for line in ROUNDED.strip().splitlines()[1:]])
async def test_what_is_kept_and_what_goes_back_are_together_the_price(shop: Shop, line: str) -> None:
    delivered, kept, back = (cell.strip() for cell in line.split("|"))
    attempt = await prepared(shop)
    await flow.settle(shop.trade, [delivery(attempt, f"{delivered} CNY")])
    assert await shop.balance("sales:topup/CNY") == kept
    order = await shop.order(attempt.order_id)
    assert f"{order.refunded_minor / 100:.2f}" == back
    assert await shop.balance(shop.float) == f"{950.20 + float(back):.2f}"


@pytest.mark.parametrize("payer", ["partner", "guest"])
async def test_a_part_that_is_worth_less_than_a_cent_of_the_price_brings_nothing_back(shop: Shop, payer: str) -> None:
    """A campaign sells 50.00 for a cent; they deliver all but a cent."""
    attempt = await prepared(shop, payer)
    await shop.sql("UPDATE topup_order SET price_minor = 1, captured_minor = 1")
    await flow.settle(shop.trade, [delivery(attempt, "49.99 CNY")])
    await shop.wait(60)
    order = await shop.order(attempt.order_id)
    assert (order.status, order.certainty, order.refunded_minor) == ("partial", "final", 0)


async def prepared(shop: Shop, payer: str = "partner") -> Attempt:
    """An attempt that was committed and whose sender was killed."""
    if payer == "partner":
        order = await shop.placed(shop.partners_ask("139 1234 5678"))
    else:
        order = await shop.guest_pays()
    await shop.worker.tick()
    shop.world.die()
    shop.worker = type(shop.worker)(shop.trade)
    return await shop.attempt(order.id)


def delivery(attempt: Attempt, face: str = "50.00 CNY", **more: Any) -> flow.Answered:
    return flow.Answered(attempt, Done(Delivery("N1", "8613912345678", money(face), **more)))


# ------------------------------------------------------------------ the same answer twice, and answers to nothing


async def test_an_answer_counts_once_however_often_it_comes(shop: Shop) -> None:
    attempt = await prepared(shop)
    yes = delivery(attempt)
    await flow.settle(shop.trade, [yes, yes])
    await flow.settle(shop.trade, [yes])
    await flow.settle(shop.trade, [flow.Answered(attempt, Refused("barred", "NUMBER_BARRED"))])
    await flow.settle(shop.trade, [flow.Answered(attempt, Unknown("time-out"))])
    assert sorted((await shop.story(attempt.order_id)).split()) == ["delivered", "held", "sent#1"]
    assert await shop.balance("sales:topup/CNY") == "49.80"


async def test_an_answer_about_nothing_of_ours_moves_nothing(shop: Shop) -> None:
    attempt = await prepared(shop)
    stranger = Attempt(**{f: getattr(attempt, f) for f in attempt.__slots__} | {"order_id": "tu_nobody"})
    other = Attempt(**{f: getattr(attempt, f) for f in attempt.__slots__} | {"n": 9})
    await flow.settle(shop.trade, [delivery(stranger), delivery(other)])
    await flow.settle(shop.trade, [])
    assert await shop.story(attempt.order_id) == "held sent#1"


async def test_a_settlement_whose_commit_was_in_doubt_is_booked_once(shop: Shop, db: Lossy) -> None:
    attempt = await prepared(shop)
    db.lose = 1
    await flow.settle(shop.trade, [delivery(attempt)])
    assert await shop.balance("sales:topup/CNY") == "49.80"


async def test_what_they_took_is_what_they_say_and_else_what_was_agreed(shop: Shop) -> None:
    attempt = await prepared(shop)
    await flow.settle(shop.trade, [delivery(attempt, cost=money("48.00 CNY"))])
    assert await shop.balance("cost:topup/CNY") == "-48.00"
    attempt = await prepared(shop)
    await flow.settle(shop.trade, [delivery(attempt)])
    assert await shop.balance("cost:topup/CNY") == "-97.60"
    attempt = await prepared(shop)
    await flow.settle(shop.trade, [delivery(attempt, cost=money("6.67 USD"))])
    assert await shop.balance("cost:topup/CNY") == "-147.20", "dollars are never booked as yuan"


# ------------------------------------------------------------------ the deadline, and what comes after it


async def test_at_the_deadline_a_partner_is_refunded_from_suspense_and_we_go_on_asking(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    await shop.wait(DAY + 60)
    order = await shop.order(order.id)
    assert (order.status, order.certainty, order.payment) == ("failed", "provisional", "refunded")
    assert await shop.cases(order.id) == ["unknown"]
    assert await shop.book(order.id) == table("""
        held.0           | float:kiosk → held:kiosk                       | 49.80
        overdue.0        | held:kiosk → suspense:unknown-northtel         | 49.80
        overdue_refund.0 | suspense:unknown-northtel → float:kiosk        | 49.80
    """)
    asked = len(shop.world.sent)
    await shop.wait(HOUR * 3)
    assert len(shop.world.sent) >= asked + 2


async def test_nobody_asks_for_ever(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    await shop.wait(DAY * 9)
    asked = len(shop.world.sent)
    await shop.wait(DAY)
    assert len(shop.world.sent) == asked
    assert await shop.cases(order.id) == ["unknown"]


async def test_a_success_after_a_partner_was_refunded_is_a_case_for_a_person(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    await shop.wait(DAY + 60)
    shop.northtel._finish(shop.northtel.jobs[f"{order.id}a1"])
    await shop.wait(2 * HOUR)
    order = await shop.order(order.id)
    assert (order.status, order.payment, order.certainty) == ("succeeded", "refunded", "final")
    assert sorted(await shop.cases(order.id)) == ["late_success", "unknown"]
    assert await shop.balance("cost:topup/CNY") == "-49.60"
    assert await shop.balance("sales:topup/CNY") == "0.00"


async def test_a_no_after_a_partner_was_refunded_proves_the_failure(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    await shop.wait(DAY + 60)
    job = shop.northtel.jobs[f"{order.id}a1"]
    job.status, job.code = "refused", "NUMBER_BARRED"
    await shop.wait(2 * HOUR)
    order = await shop.order(order.id)
    assert (order.status, order.certainty) == ("failed", "final")
    assert "proven_failed" in await shop.story(order.id)


async def test_a_guest_is_refunded_from_suspense_and_a_success_before_it_leaves_cancels_the_refund(shop: Shop) -> None:
    order = await shop.guest_pays("139 1234 0021")
    shop.alipay.troubles.plan("lose_notice", 99)
    await shop.wait(DAY - 1)
    job = shop.northtel.jobs[f"{order.id}a1"]
    shop.northtel._finish(job)
    order = await shop.order(order.id)
    assert order.deadline is not None
    shop.world.clock = order.deadline + timedelta(seconds=1)
    await shop.worker.tick()  # the refund is due, and has not left
    attempt = await shop.attempt(order.id)
    assert (await shop.order(order.id)).payment == "refund_pending"
    shop.world.die()
    await flow.settle(shop.trade, [delivery(attempt)])
    order = await shop.order(order.id)
    assert (order.status, order.payment, order.refunded_minor) == ("succeeded", "captured", 0)
    shop.worker = type(shop.worker)(shop.trade)
    await shop.wait(HOUR)
    assert shop.alipay.refunds == []
    assert (await shop.refund(order.id)).state == "cancelled"
    assert await shop.balance("suspense:unknown-northtel/CNY") == "0.00"
    assert await shop.balance("sales:topup/CNY") == "49.90"


async def overdue_guest(shop: Shop, end: str = "0021") -> str:
    """A guest's order whose refund from suspense is due, and has not left."""
    order = await shop.guest_pays(f"139 1234 {end}")
    await shop.wait(DAY - 1)
    order = await shop.order(order.id)
    assert order.deadline is not None
    shop.world.clock = order.deadline + timedelta(seconds=1)
    await shop.worker.tick()
    shop.world.die()
    shop.worker = type(shop.worker)(shop.trade)
    assert (await shop.order(order.id)).payment == "refund_pending"
    return order.id


async def test_a_success_after_the_refund_left_is_a_case(shop: Shop) -> None:
    order_id = await overdue_guest(shop)
    await shop.wait(60)
    order = await shop.order(order_id)
    assert (order.payment, order.delivery, order.certainty) == ("refunded", "unknown", "provisional")
    await flow.settle(shop.trade, [delivery(await shop.attempt(order_id))])
    order = await shop.order(order_id)
    assert (order.status, order.payment) == ("succeeded", "refunded")
    assert sorted(await shop.cases(order_id)) == ["late_success", "unknown"]
    assert await shop.book(order_id) == table("""
        paid.0     | clearing:alipay → owed:customers                | 49.90
        overdue.0  | owed:customers → suspense:unknown-northtel      | 49.90
        refund.1.0 | suspense:unknown-northtel → clearing:alipay     | 49.90
        late.1     | cost:topup → float:northtel                     | 49.60
    """).replace("late.1", "late.0")


async def test_a_success_while_the_refund_is_on_its_way_is_a_case_and_the_refund_goes_on(shop: Shop) -> None:
    order_id = await overdue_guest(shop)
    shop.alipay.troubles.chances["lost"] = 1.0
    await shop.wait(10)
    assert (await shop.refund(order_id)).state == "sent"
    await flow.settle(shop.trade, [delivery(await shop.attempt(order_id))])
    order = await shop.order(order_id)
    assert (order.status, order.payment, order.certainty) == ("succeeded", "refund_pending", "pending")
    shop.alipay.troubles.heal()
    await shop.wait(HOUR)
    order = await shop.order(order_id)
    assert (order.payment, order.certainty) == ("refunded", "final")
    assert len(shop.alipay.refunds) == 1


async def test_half_of_it_after_the_deadline_leaves_the_refund_whole(shop: Shop) -> None:
    order_id = await overdue_guest(shop)
    await flow.settle(shop.trade, [delivery(await shop.attempt(order_id), "25.00 CNY")])
    await shop.wait(60)
    order = await shop.order(order_id)
    assert (order.status, order.payment, order.refunded_minor, order.delivered_minor) == (
        "partial",
        "refunded",
        4990,
        2500,
    )
    assert "late_success" in await shop.cases(order_id)


async def test_a_failure_that_is_proven_before_the_refund_left_lets_it_go_on(shop: Shop) -> None:
    order_id = await overdue_guest(shop)
    barred = Refused("barred", "NUMBER_BARRED")
    await flow.settle(shop.trade, [flow.Answered(await shop.attempt(order_id), barred, by_inquiry=True)])
    assert (await shop.order(order_id)).delivery == "failed"
    await shop.wait(60)
    order = await shop.order(order_id)
    assert (order.status, order.certainty, order.payment) == ("failed", "final", "refunded")
    assert await shop.balance("suspense:unknown-northtel/CNY") == "0.00"


async def test_a_success_after_a_proven_failure_takes_the_price_from_where_it_lies(shop: Shop) -> None:
    """Overdue, so it lies in suspense; refused; and then they say that they did deliver it."""
    order_id = await overdue_guest(shop)
    attempt = await shop.attempt(order_id)
    await flow.settle(shop.trade, [flow.Answered(attempt, Refused("barred", "NUMBER_BARRED"))])
    await flow.settle(shop.trade, [delivery(attempt)])
    order = await shop.order(order_id)
    assert (order.status, order.payment) == ("succeeded", "captured")
    assert await shop.balance("suspense:unknown-northtel/CNY") == "0.00"
    assert await shop.balance("owed:customers/CNY") == "0.00"


# ------------------------------------------------------------------ they contradict themselves


async def test_a_delivery_after_a_definite_no_is_paid_for_and_shown_to_a_person(shop: Shop) -> None:
    attempt = await prepared(shop)
    await flow.settle(shop.trade, [flow.Answered(attempt, Refused("busy", "BUSY", final=False))])
    await flow.settle(shop.trade, [delivery(attempt)])
    order = await shop.order(attempt.order_id)
    assert order.delivery == "ready", "the order goes on"
    assert await shop.cases(order.id) == ["late_success"]
    assert await shop.balance("cost:topup/CNY") == "-49.60"
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "succeeded"


async def test_a_delivery_after_a_definite_no_that_was_refunded_is_a_late_success(shop: Shop) -> None:
    attempt = await prepared(shop)
    await flow.settle(shop.trade, [flow.Answered(attempt, Refused("barred", "NUMBER_BARRED"))])
    assert (await shop.order(attempt.order_id)).status == "failed"
    await flow.settle(shop.trade, [delivery(attempt)])
    order = await shop.order(attempt.order_id)
    assert (order.status, order.payment) == ("succeeded", "refunded")
    assert await shop.cases(order.id) == ["late_success"]


async def test_two_orders_under_one_name_of_theirs_are_delivered_and_a_person_asks(shop: Shop) -> None:
    attempts = [await prepared(shop) for _ in range(3)]
    await flow.settle(shop.trade, [delivery(attempt) for attempt in attempts[:2]])
    assert await shop.cases("northtel:N1") == ["same_reference"]
    for attempt in attempts[:2]:
        assert (await shop.order(attempt.order_id)).status == "succeeded", "by their word"
    named = flow.Answered(attempts[2], Done(Delivery("N2", "8613912345678", money("50.00 CNY"))))
    await flow.settle(shop.trade, [named])
    assert await shop.cases("northtel:N2") == []


async def test_a_late_delivery_by_an_earlier_attempt_does_not_hide_the_one_that_is_open(shop: Shop) -> None:
    """The first was refused, the second is unknown and overdue; now they say that the first was delivered after all."""
    order = await shop.guest_pays("139 1234 5678")
    shop.northtel.troubles.plan("busy")
    shop.northtel.troubles.plan("silent")
    await shop.wait(60)
    order = await shop.order(order.id)
    assert (order.delivery, order.attempts) == ("unknown", 2)
    await shop.wait(DAY - 61)
    order = await shop.order(order.id)
    assert order.deadline is not None
    shop.world.clock = order.deadline + timedelta(seconds=1)
    await shop.worker.tick()
    shop.world.die()
    shop.worker = type(shop.worker)(shop.trade)
    first, second = (await shop.timeline(order.id)).attempts
    assert (first.state, second.state) == ("refused", "unknown")
    await flow.settle(shop.trade, [delivery(first)])
    await shop.wait(HOUR)
    await flow.settle(shop.trade, [delivery(second)])
    await shop.wait(DAY)
    order = await shop.order(order.id)
    assert (order.delivery, order.payment) == ("delivered", "refunded")
    assert await shop.attempts(order.id) == "done done"
    assert "late_success" in await shop.cases(order.id)
    assert await shop.balance("cost:topup/CNY") == "-99.20", "both were delivered, and both cost us"


# ------------------------------------------------------------------ a person who was erased


async def test_a_person_who_was_erased_before_sending_gets_the_money_back(shop: Shop) -> None:
    order = await shop.guest_pays("139 1234 5678")
    number = shop.number("139 1234 5678")
    await shop.db.transaction(lambda tx: numbers.erase(tx, number))
    await shop.wait(60)
    order = await shop.order(order.id)
    assert (order.status, order.payment) == ("failed", "refunded")
    assert shop.northtel.credits == []


async def test_a_person_who_was_erased_while_we_did_not_know_is_refunded_at_the_deadline(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    number = shop.number("139 1234 0021")
    await shop.db.transaction(lambda tx: numbers.erase(tx, number))
    asked = len(shop.world.sent)
    await shop.wait(DAY + 60)
    assert len(shop.world.sent) == asked
    assert (await shop.order(order.id)).certainty == "provisional"


async def test_nobody_looks_at_an_erased_persons_unknown_order_for_ever(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    number = shop.number("139 1234 0021")
    await shop.db.transaction(lambda tx: numbers.erase(tx, number))
    await shop.wait(DAY + shop.trade.rules.chase_after_deadline.total_seconds() + 2 * 3600)
    dossier = await store.dossier(shop.trade, order.id)
    assert [attempt.inquire_at for attempt in dossier.attempts] == [None]
