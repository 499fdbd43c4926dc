"""Refunds: always under the same name, back to where the money came from, once."""

import asyncio
from dataclasses import fields, replace
from datetime import timedelta

import psycopg
import pytest
from tests.topup.shop import Lossy, Shop, captured, table

from refill.errors import BadInput, CannotHappen, NotFound, RefillError
from refill.money import Money, money
from refill.outcome import Done, Refused, Unknown
from refill.payments.alipay import Alipay
from refill.topup import Rules, flow
from refill.topup.check import check
from refill.topup.order import Proposal

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


# ------------------------------------------------------------------ refunds that people decide

PRICE = money("49.90 CNY")


async def delivered(shop: Shop, typed: str = "139 1234 5678") -> str:
    """A guest's order that northtel has answered."""
    order = await shop.guest_pays(typed)
    await shop.wait(60)
    return order.id


async def decided(shop: Shop, order_id: str, amount: str = "49.90 CNY") -> Proposal:
    """A refund that wang asked for and li confirmed."""
    asked = await flow.refund(shop.trade, order_id, money(amount), "it came late", "wang")
    await flow.confirm_refund(shop.trade, order_id, asked.n, "li")
    return asked


async def proposal(shop: Shop, order_id: str) -> Proposal:
    return (await shop.timeline(order_id)).proposals[-1]


async def test_goodwill_for_a_delivered_order_is_a_cost_and_goes_back_to_the_gateway(shop: Shop) -> None:
    order_id = await delivered(shop)
    asked = await decided(shop, order_id)
    assert (await shop.order(order_id)).payment == "refund_pending"
    await shop.wait(1)
    order = await shop.order(order_id)
    assert (order.payment, order.delivery, order.certainty, order.refunded_minor) == (
        "refunded",
        "delivered",
        "final",
        4990,
    )
    assert await shop.story(order_id) == "placed paid sent#1 delivered goodwill#1 refunded#1"
    assert await shop.book(order_id) == table("""
        paid.0      | clearing:alipay → owed:customers | 49.90
        delivered.0 | owed:customers → sales:topup     | 49.90
        delivered.1 | cost:topup → float:northtel      | 49.60
        refund.1.0  | cost:goodwill → clearing:alipay  | 49.90
    """)
    assert [refund.request_id for refund in shop.alipay.refunds] == [f"{order_id}r1"]
    (sent,) = [
        f"{sent.url} {sent.body!r}" for sent in shop.world.sent if "refund_amount" in f"{sent.url} {sent.body!r}"
    ]
    assert "late" not in sent, "what staff think stays in the house"
    row = await proposal(shop, order_id)
    assert (row.n, row.state, row.asked_by, row.decided_by, row.why) == (1, "confirmed", "wang", "li", asked.why)
    assert await check(shop.db, lambda done, of: None) == []


async def test_parts_are_given_back_until_nothing_is_left(shop: Shop) -> None:
    order_id = await delivered(shop)
    for n, amount in enumerate(("20.00 CNY", "29.90 CNY"), 1):
        assert (await decided(shop, order_id, amount)).n == n
        await shop.wait(1)
    assert (await shop.order(order_id)).payment == "refunded"
    assert [refund.amount_minor for refund in shop.alipay.refunds] == [2000, 2990]
    assert await shop.balance("cost:goodwill/CNY") == "-49.90"
    assert await check(shop.db, lambda done, of: None) == []


async def test_a_part_leaves_the_order_paid_and_delivered(shop: Shop) -> None:
    order_id = await delivered(shop)
    await decided(shop, order_id, "0.01 CNY")
    await shop.wait(1)
    order = await shop.order(order_id)
    assert (order.payment, order.refunded_minor, order.certainty) == ("captured", 1, "final")


async def test_what_was_delivered_in_part_may_be_given_back_too(shop: Shop) -> None:
    order_id = await delivered(shop, "139 1234 0007")
    await decided(shop, order_id, "24.95 CNY")
    await shop.wait(1)
    order = await shop.order(order_id)
    assert (order.payment, order.delivery, order.refunded_minor) == ("refunded", "partial", 4990)
    assert await check(shop.db, lambda done, of: None) == []


@pytest.mark.parametrize(("amount", "payment"), [("10.00 CNY", "captured"), ("49.80 CNY", "refunded")])
async def test_goodwill_for_a_partner_is_in_the_float_at_once(shop: Shop, amount: str, payment: str) -> None:
    order = await shop.sent()
    await decided(shop, order.id, amount)
    order = await shop.order(order.id)
    assert (order.payment, order.refunded_minor, order.certainty) == (payment, money(amount).minor, "final")
    assert f"goodwill.1.0 | cost:goodwill → float:kiosk | {amount[:5]}" in await shop.book(order.id)
    assert await check(shop.db, lambda done, of: None) == []


async def test_what_was_not_sent_is_not_sent_any_more_when_it_is_given_back(db: Lossy) -> None:
    shop = await Shop(db).open(rules=Rules(cooling=timedelta(minutes=10)))
    order = await shop.guest_pays()
    await decided(shop, order.id)
    assert (await shop.order(order.id)).reason == "given back: it came late"
    await shop.wait(HOUR)
    order = await shop.order(order.id)
    assert (order.payment, order.delivery) == ("refunded", "failed")
    assert shop.northtel.credits == []
    assert await shop.balance("cost:goodwill/CNY") == "0.00"


async def test_a_parked_order_may_be_given_back(shop: Shop) -> None:
    order = await shop.sent("139 1234 0013")
    await decided(shop, order.id, "49.80 CNY")
    assert (await shop.order(order.id)).status == "failed"
    assert await shop.balance(shop.float) == "1000.00"


# who, what they do to an order in a state, and the sentence that refuses it
REFUSALS = """
    unpaid          | 49.90 CNY | Nothing was paid
    expired         | 49.90 CNY | Nothing was paid
    refund_pending  | 49.90 CNY | on its way already
    refunded        | 49.90 CNY | went back already
    in flight       | 49.90 CNY | may still arrive
    ready           | 10.00 CNY | give the whole 49.90 CNY back
    delivered       | 49.91 CNY | Only 49.90 CNY
    half given back | 29.91 CNY | Only 29.90 CNY
    half delivered  | 24.96 CNY | Only 24.95 CNY
    whole only      | 10.00 CNY | only the whole payment
    delivered       | 49.90 USD | was paid in CNY
"""


class WholeOnly(Alipay):
    """Alipay as it would be if it could not give back a part."""

    can = replace(Alipay.can, partial_refund=False)


async def in_state(shop: Shop, state: str) -> str:
    """An order in a state, the shop's rules as they are."""
    match state:
        case "unpaid":
            return (await shop.guests_order()).id
        case "expired":
            order = await shop.guests_order()
            await shop.wait(HOUR)
            return order.id
        case "refund_pending":
            return await failed_guest(shop)
        case "refunded":
            order_id = await failed_guest(shop)
            await shop.wait(1)
            return order_id
        case "in flight":
            return await delivered(shop, "139 1234 0021")
        case "ready":
            return (await shop.guest_pays()).id
        case "half given back":
            order_id = await delivered(shop)
            await decided(shop, order_id, "20.00 CNY")
            await shop.wait(1)
            return order_id
        case "half delivered":
            return await delivered(shop, "139 1234 0007")
        case "whole only":
            alipay = shop.trade.methods["alipay"]
            assert isinstance(alipay, Alipay)
            whole = WholeOnly(**{each.name: getattr(alipay, each.name) for each in fields(alipay)})
            order_id = await delivered(shop)
            shop.trade = replace(shop.trade, methods={**shop.trade.methods, "alipay": whole})
            return order_id
    return await delivered(shop)


@pytest.mark.parametrize("line", [line.strip() for line in REFUSALS.strip().splitlines()])
async def test_what_may_not_be_given_back_is_refused_by_name(shop: Shop, line: str) -> None:
    state, amount, says = (cell.strip() for cell in line.split("|"))
    order_id = await in_state(shop, state)
    with pytest.raises(RefillError, match=says):
        await flow.refund(shop.trade, order_id, money(amount), "nice", "wang")
    assert await shop.cases(order_id) in ([], ["refund_asked"])


async def test_a_method_that_gives_back_only_everything_gives_back_everything(shop: Shop) -> None:
    order_id = await in_state(shop, "whole only")
    assert (await flow.refund(shop.trade, order_id, PRICE, "nice", "wang")).state == "open"


@pytest.mark.parametrize(
    ("amount", "why", "by"), [(PRICE, " ", "wang"), (PRICE, "nice", ""), (Money(0, "CNY"), "nice", "wang")]
)
async def test_a_refund_has_an_amount_a_reason_and_a_person(shop: Shop, amount: Money, why: str, by: str) -> None:
    order_id = await delivered(shop)
    with pytest.raises(BadInput):
        await flow.refund(shop.trade, order_id, amount, why, by)


async def test_there_is_nothing_to_give_back_for_what_nobody_ordered(shop: Shop) -> None:
    nobody = flow.new_order_id(shop.trade, "x")
    with pytest.raises(NotFound):
        await flow.refund(shop.trade, nobody, PRICE, "nice", "wang")
    order_id = await delivered(shop)
    with pytest.raises(NotFound, match="Nobody asked"):
        await flow.confirm_refund(shop.trade, order_id, 1, "li")
    with pytest.raises(NotFound):
        await flow.decline_refund(shop.trade, order_id, 1, "li", "no")


async def test_the_same_wish_is_one_proposal_and_another_waits_its_turn(shop: Shop) -> None:
    order_id = await delivered(shop)
    first = await flow.refund(shop.trade, order_id, PRICE, "nice", "wang")
    assert await flow.refund(shop.trade, order_id, PRICE, " nice ", "wang") == first
    with pytest.raises(CannotHappen, match="waits to be confirmed"):
        await flow.refund(shop.trade, order_id, PRICE, "nicer", "wang")
    assert await shop.cases(order_id) == ["refund_asked"]


@pytest.mark.parametrize("by", ["wang", " wang ", "", " "])
async def test_nobody_confirms_their_own_refund(shop: Shop, by: str) -> None:
    """I12."""
    order_id = await delivered(shop)
    asked = await flow.refund(shop.trade, order_id, PRICE, "nice", "wang")
    with pytest.raises(CannotHappen, match="another person"):
        await flow.confirm_refund(shop.trade, order_id, asked.n, by)
    assert (await proposal(shop, order_id)).state == "open"


BROKEN = """
    UPDATE topup_proposal SET state = 'confirmed', decided_by = 'wang', decided_at = asked_at | check constraint
    UPDATE topup_proposal SET state = 'confirmed'                  | check constraint
    UPDATE topup_proposal SET state = 'confirmed', decided_by = 'li' | check constraint
    UPDATE topup_proposal SET decided_by = 'li'                    | check constraint
    UPDATE topup_proposal SET state = 'perhaps'                    | check constraint
    UPDATE topup_proposal SET minor = 0                            | check constraint
    UPDATE topup_proposal SET why = ''                             | check constraint
    UPDATE topup_proposal SET asked_by = ''                        | check constraint
    INSERT INTO topup_proposal SELECT * FROM topup_proposal        | duplicate key
    INSERT INTO topup_proposal (cell, order_id, n, minor, currency, why, asked_by, asked_at, state)
      SELECT cell, order_id, 2, minor, currency, why, asked_by, asked_at, state FROM topup_proposal | topup_proposal_open
"""


@pytest.mark.parametrize("line", BROKEN.replace("\n      ", " ").strip().splitlines())
async def test_what_no_program_can_do_to_a_proposal(shop: Shop, dsn: str, line: str) -> None:
    """I12: not even the database lets one person decide alone."""
    order_id = await delivered(shop)
    await flow.refund(shop.trade, order_id, PRICE, "nice", "wang")
    statement, says = (cell.strip() for cell in line.split("|"))
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.Error, match=says):
        connection.execute(statement.encode())


async def test_a_refund_is_confirmed_once_however_often_it_is_clicked(shop: Shop, db: Lossy) -> None:
    order_id = await delivered(shop)
    asked = await flow.refund(shop.trade, order_id, PRICE, "nice", "wang")
    db.lose = 1
    for who in ("li", "li", "zhao"):
        assert (await flow.confirm_refund(shop.trade, order_id, asked.n, who)).payment in ("refund_pending", "refunded")
    await shop.wait(1)
    assert len(shop.alipay.refunds) == 1
    assert (await proposal(shop, order_id)).decided_by == "li"
    with pytest.raises(CannotHappen, match="confirmed already"):
        await flow.decline_refund(shop.trade, order_id, asked.n, "li", "no")


async def test_two_people_who_confirm_at_once_give_back_once(shop: Shop) -> None:
    order_id = await delivered(shop)
    asked = await flow.refund(shop.trade, order_id, PRICE, "nice", "wang")
    await asyncio.gather(*(flow.confirm_refund(shop.trade, order_id, asked.n, who) for who in ("li", "zhao", "chen")))
    await shop.wait(1)
    assert len(shop.alipay.refunds) == 1


async def test_a_refund_that_is_declined_moves_nothing_and_may_be_asked_for_again(shop: Shop) -> None:
    order_id = await delivered(shop)
    asked = await flow.refund(shop.trade, order_id, PRICE, "nice", "wang")
    with pytest.raises(BadInput):
        await flow.decline_refund(shop.trade, order_id, asked.n, "li", " ")
    for who in ("li", "zhao"):
        no = await flow.decline_refund(shop.trade, order_id, asked.n, who, "not nice")
        assert (no.state, no.decided_by, no.answer) == ("declined", "li", "not nice")
    with pytest.raises(CannotHappen, match="was declined"):
        await flow.confirm_refund(shop.trade, order_id, asked.n, "li")
    again = await flow.refund(shop.trade, order_id, PRICE, "nice", "wang")
    assert again.n == 2
    assert (await shop.order(order_id)).payment == "captured"


async def test_what_was_legal_when_it_was_asked_is_looked_at_again(shop: Shop) -> None:
    order = await shop.guest_pays("138 0013 8000")
    asked = await flow.refund(shop.trade, order.id, money("49.80 CNY"), "nice", "wang")
    await flow.reverse(shop.trade, order.id, who="zhao", reason="wrong number")
    with pytest.raises(CannotHappen, match="on its way already"):
        await flow.confirm_refund(shop.trade, order.id, asked.n, "li")
    await shop.wait(HOUR)
    assert len(shop.alipay.refunds) == 1


async def test_goodwill_whose_answer_is_lost_is_asked_for_again_under_the_same_name(shop: Shop) -> None:
    order_id = await delivered(shop)
    shop.alipay.troubles.plan("lost")
    await decided(shop, order_id)
    await shop.wait(HOUR)
    assert (await shop.order(order_id)).payment == "refunded"
    assert [refund.request_id for refund in shop.alipay.refunds] == [f"{order_id}r1"]


# ------------------------------------------------------------------ what fits no order goes back, whoever sent it

STRAYS = [(method, kind) for method in ("alipay", "cash") for kind in ("late", "paid-twice", "wrong-amount")]


@pytest.mark.parametrize(("method", "kind"), STRAYS)
async def test_money_that_fits_no_order_goes_back_out_of_suspense_until_it_is_known(
    shop: Shop, method: str, kind: str
) -> None:
    order = await shop.placed(shop.ask())
    scene = {"alipay": "page", "cash": "till"}[method]
    reference = await shop.invite(order.id, method, scene)
    if kind == "paid-twice":
        other = await shop.invite(order.id, "alipay", "qr")
        shop.alipay.pay(other)
        await shop.world.advance(0)
    if kind == "late":
        await shop.sql("UPDATE topup_order SET payment = 'expired', due = NULL WHERE id = :id", id=order.id)
        await shop.sql(
            "INSERT INTO topup_event (cell, order_id, transition, n, at) SELECT cell, id, 'expired', 0, created_at"
            " FROM topup_order WHERE id = :id",
            id=order.id,
        )
    amount = "7.00 CNY" if kind == "wrong-amount" else "49.90 CNY"
    if method == "alipay":
        assert shop.alipay.pay(reference, amount_override=money(amount).minor)
        shop.alipay.troubles.plan("lost", 2)  # the answers to the first two askings
        await shop.world.advance(0)
    else:
        await flow.pay(shop.trade, [captured(reference, amount)])
    assert await shop.balance(f"suspense:{kind}/CNY") == amount[:-4]
    assert {"late": "late_payment", "paid-twice": "paid_twice", "wrong-amount": "wrong_amount"}[
        kind
    ] in await shop.cases(order.id)
    await shop.wait(HOUR)
    assert await shop.balance(f"suspense:{kind}/CNY") == "0.00"
    refund = next(each for each in (await shop.timeline(order.id)).refunds if each.why == kind)
    assert (refund.state, refund.method, str(refund.amount)) == ("done", method, amount)
    assert (refund.asks > 1) == (method == "alipay")
    mine = [each.amount_minor for each in shop.alipay.refunds if each.reference == reference]
    assert mine == ([money(amount).minor] if method == "alipay" else [])
    assert await check(shop.db, lambda done, of: None) == []
