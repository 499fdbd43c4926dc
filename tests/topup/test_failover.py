"""Several suppliers: a definite no goes on to the next, a doubt never does, and nobody waits without a timer."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.topup.shop import NORTHTEL, SECRET, Lossy, Shop, table

from refill import ledger
from refill.catalogue.offers import Supply
from refill.catalogue.routing import Limits, Maintenance, Routing, Rule
from refill.db import Tx
from refill.errors import BadInput, NotFound
from refill.ledger import Account
from refill.money import money
from refill.operators import Delivery, suppliers_by_name
from refill.outcome import Done, Refused
from refill.simulators.operator import OperatorSimulator
from refill.topup import Rules, Worker, flow, pulse, standing
from refill.topup.standing import Row, Watch

SOUTHTEL = "https://southtel.example"
BUSY, LOST, BARRED, EMPTY, SLOW = "139 1234 0019", "139 1234 0002", "139 1234 0003", "139 1234 0013", "139 1234 0001"
GOOD = "139 1234 5678"


class TwoShops(Shop):
    """A shop with a second supplier: southtel, dearer by a little, to which nothing ever happens unless a story says so."""

    async def open(self, **more: Any) -> "TwoShops":
        await super().open(**more)
        self.southtel = OperatorSimulator(
            **self.world.surroundings(),
            secret=SECRET.encode(),
            name="southtel",
            base_url=SOUTHTEL,
            by_suffix={},
            cost_per_mille=994,
        )
        self.world.route(SOUTHTEL, self.southtel.handle)
        settings = {"url": SOUTHTEL, "secret": SECRET, "dedups": "yes", "not_found_final_s": "300"}
        second = suppliers_by_name(
            {"http_json_suppliers": "southtel", **{f"http_json_southtel_{k}": v for k, v in settings.items()}}
        )
        self.trade.suppliers["southtel"] = second["southtel"]  # type: ignore[index]
        now = self.world.db_now()
        await self.db.transaction(lambda tx: ledger.open_accounts(tx, [Account("float:southtel/CNY", None)], now))
        supplies = (Supply("cmcc", None, "northtel", None, 9_920), Supply("cmcc", None, "southtel", None, 9_940))
        self.trade.shelf.catalogue = replace(self.trade.shelf.catalogue, _supplies={"cmcc": supplies})
        return self

    def decide(self, *rules: Rule, **more: Any) -> None:
        """What people decide of routing."""
        self.trade.shelf.catalogue = replace(self.trade.shelf.catalogue, routing=Routing(rules, **more))

    def switch_off(self, when_off: str) -> None:
        catalogue = self.trade.shelf.catalogue
        off = replace(catalogue._operators["cmcc"], enabled=False, when_off=when_off)
        self.trade.shelf.catalogue = replace(catalogue, _operators={**catalogue._operators, "cmcc": off})

    def switch_on(self) -> None:
        catalogue = self.trade.shelf.catalogue
        on = replace(catalogue._operators["cmcc"], enabled=True)
        self.trade.shelf.catalogue = replace(catalogue, _operators={**catalogue._operators, "cmcc": on})

    async def went(self, order_id: str) -> list[str]:
        """Where each attempt went, and why."""
        return [f"{a.supplier} {a.state} {a.why}" for a in (await self.timeline(order_id)).attempts]

    async def rows(self) -> dict[str, Row]:
        return await self.db.transaction(standing.rows)


@pytest.fixture
async def two(db: Lossy) -> AsyncIterator[TwoShops]:
    shop = await TwoShops(db).open()
    yield shop
    shop.world.die()
    assert shop.world.errors == []


# ------------------------------------------------------------------ a definite no


async def test_the_cheaper_one_is_asked_and_the_attempt_says_why(two: TwoShops) -> None:
    order = await two.sent(GOOD)
    assert await two.went(order.id) == ["northtel done cheapest"]


async def test_a_no_about_the_supplier_goes_on_to_the_next_at_once_and_is_booked_there(two: TwoShops) -> None:
    order = await two.sent(BUSY)
    await two.tick()
    order = await two.order(order.id)
    assert (order.status, order.supplier, order.cost_minor) == ("succeeded", "southtel", 4970)
    assert await two.went(order.id) == ["northtel refused cheapest", "southtel done only|northtel=rests"]
    assert await two.story(order.id) == "held sent#1 retry#1 sent#2 delivered"
    assert await two.book(order.id) == table("""
        held.0      | float:kiosk → held:kiosk      | 49.80
        delivered.0 | held:kiosk → sales:topup      | 49.80
        delivered.1 | cost:topup → float:southtel   | 49.70
    """)


async def test_a_no_about_the_number_is_a_no_everywhere(two: TwoShops) -> None:
    order = await two.sent(BARRED)
    assert (order.status, order.attempts, order.payment) == ("failed", 1, "refunded")
    assert two.southtel.jobs == {}


async def test_an_unknown_never_goes_on_to_another(two: TwoShops) -> None:
    order = await two.sent(LOST)
    assert order.certainty == "unknown"
    await two.wait(3600)
    assert (await two.order(order.id)).status == "succeeded"
    assert (len(two.northtel.credits), two.southtel.jobs) == (1, {})


async def test_what_never_arrived_there_goes_on_when_that_is_sure(two: TwoShops) -> None:
    two.decide(limits={"northtel": Limits(most_tries=1)})
    order = await two.placed(two.partners_ask(GOOD))
    await two.worker.tick()
    two.world.die()  # whether it was sent, nobody knows
    two.worker = Worker(two.trade)
    await two.wait(300)
    assert two.southtel.jobs == {}
    await two.wait(3600)
    assert (await two.order(order.id)).supplier == "southtel"
    assert (len(two.northtel.credits), len(two.southtel.credits)) == (0, 1)


async def test_nobody_is_asked_more_often_than_people_say(two: TwoShops) -> None:
    two.decide(limits={"northtel": Limits(most_tries=1), "southtel": Limits(most_tries=2)})
    two.world.unplugged |= {SOUTHTEL}
    order = await two.sent(BUSY)
    await two.wait(600)
    order = await two.order(order.id)
    assert (order.status, order.reason, order.payment) == ("failed", "not_sent", "refunded")
    assert [line.split()[0] for line in await two.went(order.id)] == ["northtel", "southtel", "southtel"]


async def test_what_the_first_delivers_after_its_no_is_paid_from_its_own_float(two: TwoShops) -> None:
    order = await two.sent(BUSY)
    first = await two.attempt(order.id)
    two.world.unplugged.add(SOUTHTEL)
    two.decide(limits={"northtel": Limits(most_tries=1), "southtel": Limits(most_tries=1)})
    await two.wait(30)
    assert (await two.order(order.id)).status == "failed"
    late = Done(Delivery("N1", "8613912340019", money("50.00 CNY"), money("49.60 CNY")))
    await flow.settle(two.trade, [flow.Answered(first, late, by_inquiry=True)])
    assert await two.balance("float:northtel/CNY") == "49.60"
    assert await two.balance("float:southtel/CNY") == "0.00"


async def test_a_supplier_that_is_not_sold_any_more_is_still_paid_for_what_it_delivers_late(two: TwoShops) -> None:
    order = await two.sent(BUSY)
    first = await two.attempt(order.id)
    await two.tick()
    south = (Supply("cmcc", None, "southtel", None, 9_940),)
    two.trade.shelf.catalogue = replace(two.trade.shelf.catalogue, _supplies={"cmcc": south})
    late = Done(Delivery("N1", "8613912340019", money("50.00 CNY"), money("49.60 CNY")))
    await flow.settle(two.trade, [flow.Answered(first, late, by_inquiry=True)])
    assert await two.cases(order.id) == ["late_success"]
    assert await two.balance("float:northtel/CNY") == "49.60"


# ------------------------------------------------------------------ floats


async def test_an_empty_float_goes_on_to_another_and_later_orders_do_not_ask_there(two: TwoShops) -> None:
    first = await two.sent(EMPTY)
    await two.tick()
    assert (await two.order(first.id)).supplier == "southtel"
    second = await two.sent(GOOD)
    assert await two.went(second.id) == ["southtel done only|northtel=empty"]
    await two.wait(61)
    third = await two.sent(GOOD)
    assert await two.went(third.id) == ["northtel done cheapest"]


async def test_where_all_floats_are_empty_the_order_parks_and_resumes_alone(two: TwoShops) -> None:
    two.southtel.float_minor = 0
    order = await two.sent(EMPTY)
    await two.tick()
    await two.tick()
    assert (await two.order(order.id)).delivery == "parked"
    second = await two.sent(GOOD)
    assert await two.story(second.id) == "held parked#1"
    assert (await two.cases("northtel"), await two.cases("southtel")) == (["empty_float"], ["empty_float"])
    two.southtel.float_minor = 10**6
    await two.wait(300)
    assert [(await two.order(one.id)).status for one in (order, second)] == ["succeeded", "succeeded"]


async def test_money_that_they_tell_us_of_ends_the_wait(two: TwoShops) -> None:
    await two.sent(EMPTY)
    await two.tick()
    await two.world.advance(5)
    await two.db.transaction(lambda tx: pulse.see(tx, [("northtel", money("1000 CNY"))], two.world.db_now()))
    order = await two.sent(GOOD)
    assert (await two.order(order.id)).supplier == "northtel"


async def test_a_float_that_holds_too_little_beside_what_is_on_its_way_is_left_alone(two: TwoShops) -> None:
    now = two.world.db_now()
    await two.db.transaction(lambda tx: pulse.see(tx, [("northtel", money("100 CNY"))], now))
    await two.sent(LOST)  # 49.60 may be gone
    two.worker = Worker(two.trade)
    orders = [await two.placed(two.partners_ask(f"139 1234 51{n:02}")) for n in range(2)]
    await two.tick()
    went = sorted([(await two.went(one.id))[0] for one in orders])
    assert went == ["northtel done cheapest", "southtel done only|northtel=low"]
    two.worker = Worker(two.trade)
    await two.world.advance(700)  # what they said that long ago says nothing
    assert (await two.sent("139 1234 5300")).supplier == "northtel"


async def test_of_a_float_in_two_currencies_nobody_knows_what_was_taken(two: TwoShops) -> None:
    supplies = (Supply("cmcc", None, "northtel", None, 9_920), Supply("cmcc", None, "northtel", None, 9_920, "USD"))
    two.trade.shelf.catalogue = replace(two.trade.shelf.catalogue, _supplies={"cmcc": supplies})
    now = two.world.db_now()
    await two.db.transaction(lambda tx: pulse.see(tx, [("northtel", money("100 CNY"))], now))
    await two.db.transaction(lambda tx: pulse.add(tx, _one("northtel"), now))
    left = await two.db.transaction(lambda tx: standing.floats_left(tx, two.trade, now))
    assert left == {("northtel", "CNY"): money("100 CNY")}


async def test_one_connected_supplier_is_enough_to_sell(two: TwoShops) -> None:
    supplies = tuple(Supply("cmcc", None, name, None, bp) for name, bp in (("nobody", 9_800), ("southtel", 9_950)))
    two.trade.shelf.catalogue = replace(two.trade.shelf.catalogue, _supplies={"cmcc": supplies})
    assert (await two.sent(GOOD)).supplier == "southtel"


async def test_a_supplier_that_was_held_and_sent_nothing_stands_as_before(two: TwoShops) -> None:
    now = two.world.db_now()

    async def spend(tx: Tx) -> bool:
        await standing._lock(tx, {"northtel"}, {}, now)
        before = await standing.rows(tx)
        await standing.spend(tx, two.trade, {"northtel": before["northtel"]}, {}, now)
        return await standing.rows(tx) == before

    assert await two.db.transaction(spend)


def _one(supplier: str) -> pulse.Tally:
    tally = pulse.Tally()
    tally.add(supplier, "cmcc", pulse.DONE, timedelta(seconds=1), 5000)
    return tally


# ------------------------------------------------------------------ rules, pauses, switches


async def test_a_held_order_waits_for_the_end_of_the_hour(two: TwoShops) -> None:
    ends = two.world.db_now() + timedelta(minutes=20)
    two.decide(Rule("closing", "hold", operator="cmcc", ends_at=ends))
    order = await two.sent(GOOD)
    assert (order.delivery, order.wake_at, order.status) == ("parked", ends, "processing")
    parked = (await two.timeline(order.id)).events[-1]
    assert (parked.transition, parked.detail) == ("parked", "rule|closing")
    await two.wait(1201)
    assert (await two.order(order.id)).status == "succeeded"


async def test_where_nobody_may_deliver_the_payer_has_the_money_back_at_the_deadline(db: Lossy) -> None:
    two = await TwoShops(db).open(rules=Rules(delivery_deadline=timedelta(hours=1)))
    two.decide(Rule("never", "only", ("westtel",)))
    order = await two.sent(GOOD)
    assert order.delivery == "parked"
    await two.wait(3700)
    order = await two.order(order.id)
    assert (order.status, order.payment) == ("failed", "refunded")


async def test_a_rule_for_a_province_looks_at_the_number(two: TwoShops) -> None:
    two.decide(Rule("province", "prefer", ("southtel",), region="Beijing"))
    beijing, elsewhere = await two.sent("138 0100 1234"), await two.sent(GOOD)
    assert (beijing.supplier, elsewhere.supplier) == ("southtel", "northtel")


async def test_maintenance_sends_elsewhere(two: TwoShops) -> None:
    now = two.world.db_now()
    two.decide(maintenance=(Maintenance("northtel", None, now, now + timedelta(hours=1)),))
    assert (await two.sent(GOOD)).supplier == "southtel"


async def test_orders_of_an_operator_that_is_switched_off_wait(two: TwoShops) -> None:
    order = await two.placed(two.partners_ask(GOOD))
    two.switch_off("wait")
    await two.tick()
    assert (await two.order(order.id)).delivery == "parked"
    two.switch_on()
    await two.wait(61)
    assert (await two.order(order.id)).status == "succeeded"


async def test_or_are_refunded_where_people_say_so(two: TwoShops) -> None:
    order = await two.placed(two.partners_ask(GOOD))
    guests = await two.guest_pays(GOOD)
    two.switch_off("refund")
    await two.tick()
    assert (await two.order(order.id)).reason == "not sold any more"
    assert [(await two.order(one.id)).payment for one in (order, guests)] == ["refunded", "refund_pending"]


async def test_an_operator_that_is_gone_from_the_catalogue_waits_too(two: TwoShops) -> None:
    order = await two.placed(two.partners_ask(GOOD))
    await two.sql("UPDATE topup_order SET operator = 'gone'")
    await two.tick()
    assert (await two.order(order.id)).delivery == "parked"


async def test_a_supplier_without_a_wire_is_waited_for(two: TwoShops) -> None:
    wires = dict(two.trade.suppliers)
    two.trade.suppliers.clear()  # type: ignore[attr-defined]
    order_id = (await two.db.transaction(lambda tx: _placed_anyway(two))).id
    await two.tick()
    assert (await two.order(order_id)).delivery == "parked"
    two.trade.suppliers.update(wires)  # type: ignore[attr-defined]
    await two.wait(61)
    assert (await two.order(order_id)).status == "succeeded"


async def _placed_anyway(two: TwoShops) -> Any:
    wires = {"northtel": object()}
    two.trade.suppliers.update(wires)  # type: ignore[attr-defined]
    try:
        return await two.placed(two.partners_ask(GOOD))
    finally:
        two.trade.suppliers.clear()  # type: ignore[attr-defined]


# ------------------------------------------------------------------ breakers


FEW = Limits(least_answers=4, rest_s=30)


async def refused(two: TwoShops, times: int, end: str = "0019") -> None:
    await two.place(*(two.partners_ask(f"139 12{n:02} {end}", "10.00 CNY") for n in range(times)))
    await two.tick()


async def test_who_fails_too_often_is_left_alone_until_one_order_has_tried_it(two: TwoShops) -> None:
    two.decide(limits={"northtel": FEW})
    await refused(two, 3)
    assert (await two.rows())["northtel"].breaker == "closed"
    await refused(two, 1)
    row = (await two.rows())["northtel"]
    assert (row.breaker, row.why) == ("open", "4 of 4 answers")
    assert await two.cases("northtel") == ["breaker"]
    order = await two.sent(GOOD)
    assert (await two.went(order.id)) == ["southtel done only|northtel=open"]
    await two.world.advance(31)
    orders = [await two.placed(two.partners_ask(f"139 1234 52{n:02}")) for n in range(3)]
    await two.tick()
    went = sorted([(await two.went(one.id))[-1] for one in orders])
    assert went == ["northtel done probe", *["southtel done only|northtel=open"] * 2]
    assert (await two.rows())["northtel"].breaker == "closed"


async def test_who_fails_the_trial_rests_twice_as_long(two: TwoShops) -> None:
    two.decide(limits={"northtel": FEW})
    await refused(two, 4)
    for rests, seconds in enumerate((30, 60, 120, 240, 480, 600, 600)):
        row = (await two.rows())["northtel"]
        assert row.retry_at is not None and row.rests == rests
        assert round((row.retry_at - two.world.db_now()).total_seconds()) == seconds
        await two.world.advance(seconds + 1)
        await refused(two, 1)


async def test_an_old_answer_closes_no_breaker(two: TwoShops) -> None:
    two.decide(limits={"northtel": FEW})
    slow = await two.placed(two.partners_ask(SLOW))
    await two.worker.tick()
    attempt = await two.attempt(slow.id)
    frozen, two.world.started = two.world.started, []
    two.world._due.clear()
    await refused(two, 4)
    for work in frozen:
        work.close()
    done = Done(Delivery("N1", "8613912340001", money("50.00 CNY")))
    await flow.settle(two.trade, [flow.Answered(attempt, done)])
    assert (await two.rows())["northtel"].breaker == "open"


async def test_what_opened_a_breaker_does_not_open_it_again_in_the_same_minute(two: TwoShops) -> None:
    two.decide(limits={"northtel": replace(FEW, rest_s=1)})
    await refused(two, 4)
    await two.world.advance(2)
    await two.sent(GOOD)
    assert (await two.rows())["northtel"].breaker == "closed"
    await refused(two, 3)
    assert (await two.rows())["northtel"].breaker == "closed"
    await two.world.advance(70)
    await refused(two, 4)
    assert (await two.rows())["northtel"].breaker == "open"


async def test_where_nobody_else_delivers_orders_wait_for_the_breaker(two: TwoShops) -> None:
    two.decide(Rule("r", "only", ("northtel",)), limits={"northtel": FEW})
    two.world.unplugged.add(NORTHTEL)
    await refused(two, 4, "5678")
    two.world.unplugged.clear()
    order = await two.sent(GOOD)
    assert order.delivery == "parked"
    await two.wait(200)
    assert (await two.order(order.id)).status == "succeeded"


async def test_a_person_opens_and_closes(two: TwoShops) -> None:
    await standing.open_by_hand(two.trade, "northtel", who="mei", why="their night shift is asleep")
    assert (await two.sent(GOOD)).supplier == "southtel"
    first = await two.attempt((await two.sent("139 1234 5300")).id)
    await flow.settle(two.trade, [flow.Answered(replace(first, supplier="northtel"), Refused("busy", final=False))])
    await two.wait(700)
    assert (await two.rows())["northtel"].by == "mei"
    assert (await two.sent("139 1234 5301")).supplier == "southtel"
    await standing.close_by_hand(two.trade, "northtel", who="mei", why="awake")
    assert (await two.sent("139 1234 5302")).supplier == "northtel"
    with pytest.raises(NotFound):
        await standing.open_by_hand(two.trade, "westtel", who="mei", why="?")
    with pytest.raises(BadInput):
        await standing.open_by_hand(two.trade, "northtel", who="mei", why=" ")


async def test_a_breaker_opened_by_hand_hears_no_answers(two: TwoShops) -> None:
    await standing.open_by_hand(two.trade, "northtel", who="mei", why="see")
    before = (await two.rows())["northtel"]
    await two.db.transaction(lambda tx: standing.learn(tx, two.trade, _one("northtel"), two.world.db_now()))
    tally = pulse.Tally()
    tally.emptied.add("northtel")
    tally.add("northtel", "cmcc", pulse.DECLINED, timedelta(0))
    await two.db.transaction(lambda tx: standing.learn(tx, two.trade, tally, two.world.db_now()))
    after = (await two.rows())["northtel"]
    assert (after.breaker, after.retry_at, before.empty_until) == ("open", None, None)
    assert after.empty_until is not None


# ------------------------------------------------------------------ places and pace


async def test_a_slow_supplier_takes_no_more_than_its_places_and_the_others_stay_due(two: TwoShops) -> None:
    two.decide(Rule("r", "only", ("northtel",)), limits={"northtel": Limits(most_in_flight=2)})
    orders = [await two.placed(two.partners_ask(f"139 1234 51{n:02}", "10.00 CNY")) for n in range(5)]
    taken = [await two.worker.tick() for _ in range(2)]
    assert taken == [5, 0] or taken == [2, 0]
    states = [(await two.order(one.id)).delivery for one in orders]
    assert (states.count("dispatching"), states.count("ready")) == (2, 3)
    await two.world.advance(0)
    await two.wait(10)
    assert {(await two.order(one.id)).status for one in orders} == {"succeeded"}


async def test_who_finds_a_supplier_full_goes_to_the_next(two: TwoShops) -> None:
    two.decide(limits={"northtel": Limits(most_in_flight=1)})
    orders = [await two.placed(two.partners_ask(f"139 1234 51{n:02}", "10.00 CNY")) for n in range(3)]
    await two.tick()
    assert sorted([(await two.order(one.id)).supplier for one in orders]) == ["northtel", "southtel", "southtel"]


async def test_all_workers_together_keep_the_pace(two: TwoShops) -> None:
    two.decide(Rule("r", "only", ("northtel",)), limits={"northtel": Limits(most_per_second=2)})
    orders = [await two.placed(two.partners_ask(f"139 1234 51{n:02}", "10.00 CNY")) for n in range(7)]
    workers = [Worker(two.trade) for _ in range(2)]
    began = two.world.db_now()
    for _ in range(6):
        for worker in workers:
            await worker.tick()
        await two.world.advance(0.5)
    attempts = [(await two.timeline(one.id)).attempts for one in orders]
    sent = sorted((found[0].prepared_at - began).total_seconds() for found in attempts if found)
    assert len(sent) >= 5
    assert all(later - earlier >= 0.9 for earlier, later in zip(sent, sent[4:], strict=False))
    await two.wait(10)
    assert {(await two.order(one.id)).status for one in orders} == {"succeeded"}


async def test_questions_have_places_of_their_own(two: TwoShops) -> None:
    two.decide(limits={"northtel": Limits(most_in_flight=1)})
    orders = []
    for n in range(2):
        orders.append(await two.sent(f"139 12{n:02} 0002", "10.00 CNY"))
    await two.world.advance(60)
    await two.worker.tick()
    assert two.worker.flying == 1
    await two.world.advance(0)
    await two.wait(120)
    assert {(await two.order(one.id)).status for one in orders} == {"succeeded"}


async def test_every_operator_has_a_line_of_its_own(two: TwoShops) -> None:
    catalogue = two.trade.shelf.catalogue
    both = {"cmcc": catalogue._supplies["cmcc"], "cunicom": (Supply("cunicom", None, "southtel", None, 9_940),)}
    two.trade.shelf.catalogue = replace(catalogue, _supplies=both)
    two.decide(Rule("r", "only", ("northtel",), operator="cmcc"))
    first = [await two.placed(two.partners_ask(f"139 1234 51{n:02}", "10.00 CNY")) for n in range(4)]
    last = await two.placed(two.partners_ask("186 1234 5678", "10.00 CNY"))
    worker = Worker(two.trade, batch=4)
    await worker.tick()
    went = [bool((await two.timeline(one.id)).attempts) for one in (*first, last)]
    assert went == [True, True, False, False, True]


async def test_who_failed_often_in_this_hour_comes_behind(two: TwoShops) -> None:
    tally = pulse.Tally()
    for outcome, times in ((pulse.DONE, 18), (pulse.UNKNOWN, 2)):
        for _ in range(times):
            tally.add("northtel", "cmcc", outcome, timedelta(seconds=1))
    await two.db.transaction(lambda tx: pulse.add(tx, tally, two.world.db_now()))
    order = await two.sent(GOOD)
    assert await two.went(order.id) == ["southtel done reliable"]


async def test_who_is_not_asked_spends_nothing_of_its_pace(two: TwoShops) -> None:
    two.decide(limits={"southtel": Limits(most_per_second=1)})
    assert (await two.sent(GOOD)).supplier == "northtel"
    assert (await two.rows())["southtel"].spent_until is None


# ------------------------------------------------------------------ for people


async def test_suppliers_as_the_back_office_sees_them(two: TwoShops) -> None:
    now = two.world.db_now()
    await two.db.transaction(lambda tx: pulse.see(tx, [("northtel", money("148.80 CNY"))], now))
    await two.sent(GOOD)
    await two.sent(LOST)
    await refused(two, 1)
    north, south = await standing.views(two.trade)
    assert (north.supplier, north.hour.done, north.hour.bad, north.on_the_way) == ("northtel", 1, 2, 1)
    assert north.left == (money("49.60 CNY"),)
    assert north.runs_dry is not None and round((north.runs_dry - two.world.db_now()).total_seconds()) == 3600
    assert (south.floats, south.left, south.runs_dry) == ((), (), None)


def test_a_worker_remembers_nothing_at_first() -> None:
    assert Watch().flying == {}
    assert NORTHTEL != SOUTHTEL
