"""Reversals that are asked for: two people or a partner, the operator's rules, three answers, and the money's way back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.topup.shop import NORTHTEL, NORTHTELS, OWN_NUMBER, Shop, table

from refill import cards, ledger, numbers
from refill.db import Pool
from refill.errors import BadInput, CannotHappen, NotFound
from refill.money import Money, money
from refill.operators import Reversal, TakenBack, home, terms_by_name
from refill.operators.terms import ReversalRules
from refill.outcome import Done, Outcome, Refused, Unknown
from refill.topup import Order, flow, store
from refill.topup.check import check
from refill.topup.reversal import NotReversible, ReversalRow, _asked, look_for_reversal, reversals_of
from refill.world import World

WHY = "the wrong number was typed"


@pytest.fixture
async def shop(db, pool: Pool):  # type: ignore[no-untyped-def]
    shop = await Shop(db, can_reverse="yes").open()
    yield shop
    shop.world.die()
    assert shop.world.errors == []


async def asks(shop: Shop, order: Order, by: str = "mei", why: str = WHY) -> ReversalRow:
    return await flow.ask_reversal(shop.trade, order.id, why, by)


async def agreed(shop: Shop, order: Order) -> ReversalRow:
    """Two people want it, and the supplier has been asked once."""
    row = await asks(shop, order)
    row = await flow.confirm_reversal(shop.trade, order.id, row.n, "tao")
    await chased(shop)
    return row


async def chased(shop: Shop, seconds: float = 0) -> int:
    await shop.world.advance(seconds)
    found = await flow.chase_reversals(shop.trade)
    await shop.world.advance(0)
    return found


async def standing(shop: Shop, order: Order) -> ReversalRow:
    return (await shop.db.transaction(lambda tx: reversals_of(tx, order.id)))[-1]


async def clean(shop: Shop) -> bool:
    return await check(shop.db, lambda done, total: None) == []


async def test_two_people_a_signed_word_and_the_operators_record_take_credit_back(shop: Shop) -> None:
    order = await shop.guest_pays()
    await shop.tick()
    row = await asks(shop, order)
    assert (row.state, await shop.cases(order.id)) == ("proposed", ["reversal_asked"])
    assert await chased(shop) == 0, "nobody is asked before another person agrees"
    row = await flow.confirm_reversal(shop.trade, order.id, row.n, "tao")
    assert row.state == "due"
    assert await chased(shop) == 1
    done = await standing(shop, order)
    assert (done.state, done.returned_minor, done.asks) == ("done", 4960, 1)
    found = await shop.order(order.id)
    assert (found.status, found.payment, found.certainty) == ("reversed", "refund_pending", "pending")
    await shop.wait(60)
    found = await shop.order(order.id)
    assert (found.status, found.payment, found.certainty) == ("reversed", "refunded", "final")
    assert await shop.book(order.id) == table("""
        paid.0      | clearing:alipay → owed:customers | 49.90
        delivered.0 | owed:customers → sales:topup     | 49.90
        delivered.1 | cost:topup → float:northtel      | 49.60
        reversed.0  | sales:topup → owed:customers     | 49.90
        reversed.1  | float:northtel → cost:topup      | 49.60
        refund.1.0  | owed:customers → clearing:alipay | 49.90
    """)
    assert [one.msisdn for one in shop.northtel.reversals] == ["8613912345678"]
    assert await clean(shop)


async def test_a_partner_asks_for_its_own_and_has_the_price_back_in_the_float(shop: Shop) -> None:
    order = await shop.sent()
    row = await asks(shop, order, f"partner:{shop.partner}")
    assert (row.state, row.decided_by) == ("due", f"partner:{shop.partner}")
    await chased(shop)
    found = await shop.order(order.id)
    assert (found.status, found.payment, found.certainty) == ("reversed", "refunded", "final")
    assert await shop.balance(shop.float) == "1000.00"
    assert await shop.balance("float:northtel/CNY") == "0.00"
    assert await clean(shop)


@pytest.mark.parametrize("trouble", ["reversal_lost", "reversal_later", "reversal_busy"])
async def test_what_is_not_known_is_asked_again_under_the_same_name(shop: Shop, trouble: str) -> None:
    order = await shop.sent()
    shop.northtel.troubles.plan(trouble)
    await agreed(shop, order)
    doubtful = await standing(shop, order)
    assert (doubtful.state, (await shop.order(order.id)).status) == ("sent", "succeeded")
    assert await chased(shop, 4) == 0
    await chased(shop, 30)
    done = await standing(shop, order)
    assert (done.state, done.asks) == ("done", 2)
    assert len(shop.northtel.reversals) == 1
    assert (await shop.order(order.id)).status == "reversed"


async def test_their_record_alone_tells_what_came_back_when_their_word_does_not(shop: Shop) -> None:
    order = await shop.sent()
    boaster = Boaster(shop, Done(TakenBack("R-1")), seen=True)
    shop.trade = replace(shop.trade, suppliers={"northtel": boaster})  # type: ignore[dict-item]
    await agreed(shop, order)
    assert (await standing(shop, order)).returned_minor == 4960


async def test_a_supplier_that_was_disconnected_meanwhile_is_waited_for(shop: Shop) -> None:
    order = await shop.sent()
    row = await asks(shop, order)
    await flow.confirm_reversal(shop.trade, order.id, row.n, "tao")
    suppliers, shop.trade = shop.trade.suppliers, replace(shop.trade, suppliers={})
    await chased(shop)
    assert (await standing(shop, order)).state == "sent"
    shop.trade = replace(shop.trade, suppliers=suppliers)
    await chased(shop, 5)
    assert (await standing(shop, order)).state == "done"


async def test_nobody_listening_is_tried_again(shop: Shop) -> None:
    order = await shop.sent()
    shop.world.unplugged.add(NORTHTEL)
    await agreed(shop, order)
    assert (await standing(shop, order)).answer == "not_sent"
    shop.world.unplugged.clear()
    await chased(shop, 5)
    assert (await standing(shop, order)).state == "done"


async def test_spent_credit_stays_and_is_not_asked_for_again(shop: Shop) -> None:
    shop.northtel.troubles.plan("spent")
    order = await shop.sent()
    await agreed(shop, order)
    refused = await standing(shop, order)
    assert (refused.state, refused.answer, refused.code) == ("refused", "spent", "CREDIT_SPENT")
    assert (await shop.order(order.id)).status == "succeeded"
    assert "reversal_refused" in await shop.story(order.id)
    with pytest.raises(NotReversible) as no:
        await asks(shop, order, why="once more")
    assert no.value.reason == "refused"


async def test_their_word_without_their_record_is_not_believed(shop: Shop) -> None:
    order = await shop.sent()
    shop.trade = replace(shop.trade, suppliers={"northtel": Boaster(shop)})  # type: ignore[dict-item]
    await agreed(shop, order)
    doubtful = await standing(shop, order)
    assert (doubtful.state, (await shop.order(order.id)).status) == ("sent", "succeeded")
    assert "their own record does not yet" in doubtful.answer


class Boaster:
    """A supplier whose word and record are what a story wants."""

    name = "northtel"

    def __init__(self, shop: Shop, said: Outcome[TakenBack] | None = None, *, seen: bool = False) -> None:
        self.flags = shop.trade.suppliers["northtel"].flags
        self.said: Outcome[TakenBack] = said or Done(TakenBack("R-1"))
        self.seen = seen

    async def reverse(self, world: World, ask: Reversal) -> Outcome[TakenBack]:
        return self.said

    async def inquire_reversal(self, world: World, ask: Reversal) -> Outcome[TakenBack]:
        return self.said if self.seen else Refused("stands", final=False)


@pytest.mark.parametrize(
    ("returned", "books"),
    [
        (Money(4500, "CNY"), "reversed.2 | cost:reversal → float:northtel | 4.60"),
        (Money(4960, "CNY"), ""),
        (Money(700, "USD"), ""),
    ],
    ids=["a fee", "all", "another currency"],
)
async def test_what_the_operator_keeps_is_a_cost_of_ours(shop: Shop, returned: Money, books: str) -> None:
    order = await shop.sent()
    boaster = Boaster(shop, Done(TakenBack("R-1", returned)), seen=True)
    shop.trade = replace(shop.trade, suppliers={"northtel": boaster})  # type: ignore[dict-item]
    await agreed(shop, order)
    assert books in await shop.book(order.id)
    assert "cost:reversal" in books or "cost:reversal" not in await shop.book(order.id)
    assert (await standing(shop, order)).returned_minor == (4500 if books else 4960)
    assert await clean(shop)


async def test_after_a_week_of_doubt_a_person_asks_the_operator(shop: Shop) -> None:
    order = await shop.sent()
    boaster = Boaster(shop, Unknown("their own network is down", "E-77"))
    shop.trade = replace(shop.trade, suppliers={"northtel": boaster})  # type: ignore[dict-item]
    await agreed(shop, order)
    assert await shop.cases("northtel:E-77") == ["unknown_code"]
    await chased(shop, 7 * 86400)
    stuck = await standing(shop, order)
    assert (stuck.state, stuck.ask_at, await shop.cases(order.id)) == (
        "stuck",
        None,
        ["reversal_asked", "reversal_stuck"],
    )
    assert await chased(shop, 86400) == 0


async def test_an_erased_number_is_nobody_to_ask_about(shop: Shop) -> None:
    order = await shop.sent()
    row = await asks(shop, order)
    await flow.confirm_reversal(shop.trade, order.id, row.n, "tao")
    await shop.db.transaction(lambda tx: numbers.erase(tx, order.number))
    await chased(shop)
    assert "erased" in (await standing(shop, order)).answer
    assert (await look_for_it(shop, order)) is False


async def look_for_it(shop: Shop, order: Order) -> bool:
    dossier = await store.dossier(shop.trade, order.id)
    return await look_for_reversal(shop.trade, dossier, dossier.attempts[-1])


# ------------------------------------------------------------------ the operator's rules, as data


@pytest.mark.parametrize(
    ("rules", "delivered", "asked", "reason"),
    [
        (ReversalRules(), "2026-11-22T10:00", "2026-11-23T10:00", ""),
        (ReversalRules(), "2026-11-22T10:00", "2026-11-23T10:01", "too_late"),
        (ReversalRules(), "2026-11-30T15:59", "2026-11-30T16:00", "other_month"),  # midnight in China
        (ReversalRules(zone="Africa/Lagos"), "2026-11-30T15:59", "2026-11-30T16:00", ""),
        (ReversalRules(same_month=False), "2026-11-30T15:59", "2026-11-30T16:00", ""),
        (ReversalRules(within=None), "2026-11-01T10:00", "2026-11-30T10:00", ""),
        (ReversalRules(within=None), "2025-11-22T10:00", "2026-11-22T10:00", "other_month"),
    ],
)
def test_a_rule_says_until_when_credit_may_be_taken_back(
    rules: ReversalRules, delivered: str, asked: str, reason: str
) -> None:
    then, now = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (delivered, asked))
    assert rules.refusal(then, now) == reason


async def test_the_terms_of_an_operator_are_kept_to(shop: Shop) -> None:
    order = await shop.sent()
    settings = {"terms_northtel_reversal_within_h": "2"}
    shop.trade = replace(shop.trade, terms=terms_by_name(settings, ["northtel"]))
    await shop.world.advance(2 * 3600 + 60)
    with pytest.raises(NotReversible) as no:
        await asks(shop, order)
    assert no.value.reason == "too_late"


async def test_what_cannot_be_taken_back_is_refused_with_a_word(shop: Shop) -> None:
    with pytest.raises(NotReversible) as no:
        await asks(shop, await shop.placed(shop.partners_ask(NORTHTELS)))
    assert no.value.reason == "not_delivered"
    order = await shop.guest_pays()
    await shop.wait(5)
    asked = await flow.refund(shop.trade, order.id, money("5.00 CNY"), "it came late", "wang")
    await flow.confirm_refund(shop.trade, order.id, asked.n, "li")
    with pytest.raises(NotReversible) as no:
        await asks(shop, order)
    assert no.value.reason == "money_moves"
    with pytest.raises(NotFound):
        await flow.ask_reversal(shop.trade, "tu_nobody", WHY, "mei")
    with pytest.raises(BadInput):
        await asks(shop, order, why=" ")


async def test_a_supplier_that_takes_nothing_back_is_not_asked(shop: Shop) -> None:
    order = await shop.sent()
    boaster = Boaster(shop)
    boaster.flags = replace(boaster.flags, can_reverse=False)
    for suppliers in ({"northtel": boaster}, {}):
        shop.trade = replace(shop.trade, suppliers=suppliers)  # type: ignore[arg-type]
        with pytest.raises(NotReversible) as no:
            await asks(shop, order)
        assert no.value.reason == "not_supported"


# ------------------------------------------------------------------ two people


async def test_one_reversal_at_a_time_and_the_same_wish_is_the_same(shop: Shop) -> None:
    order = await shop.sent()
    first = await asks(shop, order)
    assert await asks(shop, order) == first
    with pytest.raises(NotReversible) as no:
        await asks(shop, order, "tao")
    assert no.value.reason == "waiting"
    for who in ("mei", " "):
        with pytest.raises(NotReversible) as no:
            await flow.confirm_reversal(shop.trade, order.id, 1, who)
        assert no.value.reason == "same_person"
    await flow.confirm_reversal(shop.trade, order.id, 1, "tao")
    assert (await flow.confirm_reversal(shop.trade, order.id, 1, "li")).decided_by == "tao"
    await chased(shop)
    assert await asks(shop, order) == await standing(shop, order), "it was done"
    with pytest.raises(NotReversible) as no:
        await asks(shop, order, why="again")
    assert no.value.reason == "not_delivered"


async def test_a_declined_wish_changes_nothing_and_may_be_made_again(shop: Shop) -> None:
    order = await shop.sent()
    await asks(shop, order)
    for _ in range(2):
        no = await flow.decline_reversal(shop.trade, order.id, 1, "tao", "it was right")
        assert (no.state, no.answer) == ("declined", "it was right")
    with pytest.raises(NotReversible):
        await flow.confirm_reversal(shop.trade, order.id, 1, "tao")
    with pytest.raises(BadInput):
        await flow.decline_reversal(shop.trade, order.id, 1, "tao", "")
    again = await asks(shop, order)
    assert (again.n, again.state) == (2, "proposed")
    await flow.confirm_reversal(shop.trade, order.id, 2, "tao")
    with pytest.raises(NotReversible):
        await flow.decline_reversal(shop.trade, order.id, 2, "tao", "too late")
    with pytest.raises(NotFound):
        await flow.decline_reversal(shop.trade, order.id, 9, "tao", "none")


async def test_on_our_own_network_it_is_done_at_once_or_refused(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    await asks(shop, order)
    done = await flow.confirm_reversal(shop.trade, order.id, 1, "tao")
    assert (done.state, done.supplier, (await shop.order(order.id)).status) == ("done", home.NAME, "reversed")
    assert await shop.balance(shop.float) == "1000.00"
    other = await shop.placed(shop.partners_ask(OWN_NUMBER, "50.00 CNY"))
    assert (await asks(shop, other, f"partner:{shop.partner}")).state == "done"
    spent = await shop.placed(shop.partners_ask(OWN_NUMBER, "30.00 CNY"))
    assert shop.subscriber
    used = ledger.Entry.of(
        f"{shop.world.new_id('us', 7)}.used", (cards.balance_account(shop.subscriber), "sales:calls/CNY", 2000)
    )
    await shop.db.transaction(lambda tx: ledger.post(tx, [used], shop.world.db_now()))
    with pytest.raises(CannotHappen, match="was spent"):
        await asks(shop, spent, f"partner:{shop.partner}")
    assert await shop.db.transaction(lambda tx: reversals_of(tx, spent.id)) == []


# ------------------------------------------------------------------ money that moves meanwhile


async def test_what_was_given_before_is_not_given_again(shop: Shop) -> None:
    order = await shop.sent()
    asked = await flow.refund(shop.trade, order.id, money("5.00 CNY"), "it came late", "wang")
    await flow.confirm_refund(shop.trade, order.id, asked.n, "li")
    await agreed(shop, order)
    found = await shop.order(order.id)
    assert (found.payment, found.refunded_minor) == ("refunded", found.price.minor)
    assert (await shop.balance(shop.float), await shop.balance("cost:goodwill/CNY")) == ("1000.00", "0.00")
    assert await clean(shop)


async def test_all_that_was_given_meanwhile_leaves_nothing_to_give(shop: Shop) -> None:
    order = await shop.sent()
    row = await asks(shop, order)
    await flow.confirm_reversal(shop.trade, order.id, row.n, "tao")
    whole = await flow.refund(shop.trade, order.id, order.price, "it came late", "wang")
    await flow.confirm_refund(shop.trade, order.id, whole.n, "li")
    assert (await shop.order(order.id)).payment == "refunded"
    await chased(shop)
    assert ((await shop.order(order.id)).status, await shop.balance(shop.float)) == ("reversed", "1000.00")
    assert await clean(shop)


async def test_while_money_is_on_its_way_back_the_booking_waits(shop: Shop) -> None:
    order = await shop.guest_pays()
    await shop.wait(5)
    row = await asks(shop, order)
    await flow.confirm_reversal(shop.trade, order.id, row.n, "tao")
    asked = await flow.refund(shop.trade, order.id, money("5.00 CNY"), "it came late", "wang")
    await flow.confirm_refund(shop.trade, order.id, asked.n, "li")
    await chased(shop)
    assert ((await standing(shop, order)).state, (await shop.order(order.id)).delivery) == ("sent", "delivered")
    await shop.wait(60)
    await chased(shop, 3600)
    await shop.wait(60)
    found = await shop.order(order.id)
    assert (found.status, found.payment) == ("reversed", "refunded")
    assert [refund.amount_minor for refund in shop.alipay.refunds] == [500, order.price.minor - 500]
    assert await clean(shop)


async def test_an_answer_that_comes_twice_is_saved_once(shop: Shop) -> None:
    order = await shop.sent()
    await agreed(shop, order)
    row = await standing(shop, order)
    await flow.settle_reversal(shop.trade, row, Refused("spent"))
    assert (await standing(shop, order)).state == "done"
    with pytest.raises(NotFound):
        await shop.db.transaction(lambda tx: _asked(tx, order.id, 7))


# ------------------------------------------------------------------ taken back unasked


async def test_credit_that_the_operator_takes_back_unasked_gives_the_price_back_and_tells_a_person(shop: Shop) -> None:
    shop.plug_in_notices()
    shop.northtel.troubles.plan("reversed")
    order = await shop.guest_pays()
    await shop.wait(10)
    assert (await shop.order(order.id)).status == "succeeded"
    await shop.wait(60)
    found = await shop.order(order.id)
    assert (found.status, found.payment) == ("reversed", "refunded")
    row = await standing(shop, order)
    assert (row.state, row.asked_by) == ("done", "operator:northtel")
    assert await shop.cases(order.id) == ["reversal_stuck"]
    assert await clean(shop)


async def test_what_somebody_wished_for_may_come_by_itself(shop: Shop) -> None:
    shop.plug_in_notices()
    order = await shop.sent()
    await asks(shop, order)
    await shop.northtel.reverse(shop.northtel.jobs[f"{order.id}a1"])
    await shop.world.advance(1)
    row = await standing(shop, order)
    assert (row.n, row.state, row.decided_by) == (1, "done", "operator:northtel")
    assert (await shop.order(order.id)).status == "reversed"


async def test_a_notice_beside_an_answer_that_is_awaited_books_nothing_twice(shop: Shop) -> None:
    shop.plug_in_notices()
    order = await shop.sent()
    shop.northtel.troubles.plan("reversal_lost")
    await agreed(shop, order)
    await shop.world.advance(1)
    assert ((await standing(shop, order)).state, (await shop.order(order.id)).delivery) == ("sent", "delivered")
    await chased(shop, 30)
    assert (await standing(shop, order)).state == "done"
    assert await look_for_it(shop, order) is False
    assert await clean(shop)


async def test_a_notice_about_credit_that_stands_changes_nothing(shop: Shop) -> None:
    shop.plug_in_notices()
    shop.northtel.troubles.plan("contradicts")
    order = await shop.sent()
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "succeeded"
    assert await shop.db.transaction(lambda tx: reversals_of(tx, order.id)) == []


async def test_taken_back_while_money_moves_is_for_a_person(shop: Shop) -> None:
    order = await shop.guest_pays()
    await shop.wait(5)
    asked = await flow.refund(shop.trade, order.id, money("5.00 CNY"), "it came late", "wang")
    await flow.confirm_refund(shop.trade, order.id, asked.n, "li")
    shop.northtel.take_back(shop.northtel.jobs[f"{order.id}a1"])
    assert await look_for_it(shop, order) is False
    assert "reversal_stuck" in await shop.cases(order.id)
    assert (await shop.order(order.id)).delivery == "delivered"


async def test_a_supplier_that_tells_nothing_of_reversals_is_not_asked(shop: Shop) -> None:
    order = await shop.sent()

    class Silent:
        name, flags = "northtel", shop.trade.suppliers["northtel"].flags

    shop.trade = replace(shop.trade, suppliers={"northtel": Silent()})  # type: ignore[dict-item]
    assert await look_for_it(shop, order) is False


async def test_credit_that_came_late_and_as_a_present_is_taken_back_without_a_price(shop: Shop) -> None:
    shop.northtel.troubles.plan("silent")
    order = await shop.sent()
    await shop.wait(25 * 3600)
    assert (await shop.order(order.id)).payment == "refunded"
    job = shop.northtel.jobs[f"{order.id}a1"]
    shop.northtel.credit(job, job.face_minor)
    job.status = "delivered"
    await shop.wait(2 * 3600)
    assert (await shop.order(order.id)).status == "succeeded"
    await shop.northtel.reverse(job)
    assert await look_for_it(shop, order) is True
    found = await shop.order(order.id)
    assert (found.status, found.refunded_minor) == ("reversed", found.price.minor)
    assert await shop.balance(shop.float) == "1000.00"
    assert timedelta(0) < found.final_at - found.created_at  # type: ignore[operator]
    assert await clean(shop)
