"""Telling partners: everything that happened, nothing that did not, each object's events in order, a dead place for itself."""

import asyncio
import json
from datetime import timedelta

import pytest
from tests.notify.conftest import PLACE, Receiver, Town

from refill import notify
from refill.channels.partner_api.webhooks import render
from refill.errors import NotEnough
from refill.topup import flow
from refill.world import Response

THREE_DAYS = 3 * 86_400


async def test_a_sale_is_told_with_what_the_api_answers(town: Town) -> None:
    await town.listen()
    order = await town.shop.placed(town.shop.partners_ask(reference="R-1"))
    await town.tell_all()
    (event,) = town.receiver.heard
    assert (event["type"], event["sequence"], event["id"]) == ("topup.succeeded", 1, f"{order.id}e1")
    told = event["data"]
    assert {
        name: told[name] for name in ("id", "status", "certainty", "msisdn", "face_value", "price", "reference")
    } == {
        "id": order.id,
        "status": "succeeded",
        "certainty": "final",
        "msisdn": "+8613800138000",
        "face_value": "50.00",
        "price": "49.80",
        "reference": "R-1",
    }


async def test_who_has_no_endpoint_is_told_nothing_and_nothing_is_kept(town: Town) -> None:
    await town.shop.placed(town.shop.partners_ask())
    await town.shop.sent("139 1234 0003")
    await town.listen()  # too late for what was
    await town.tell_all()
    assert town.receiver.requests == []
    assert await town.shop.sql("SELECT FROM notify_event") == 0


async def test_an_order_that_was_refused_is_not_told(town: Town) -> None:
    await town.listen()
    (refused,) = await town.shop.place(
        town.shop.partners_ask(face="500.00 CNY"),
    )
    while not isinstance(refused, NotEnough):
        (refused,) = await town.shop.place(town.shop.partners_ask(face="500.00 CNY"))
    await town.tell_all()
    assert len(town.receiver.heard) == 2  # of a float of 1,000


async def test_a_guests_order_is_nobodys_news(town: Town) -> None:
    await town.listen()
    await town.shop.guest_pays()
    await town.shop.wait(60)
    await town.tell_all()
    assert town.receiver.requests == []


@pytest.mark.parametrize(
    ("end", "kinds"),
    [
        ("5678", ["succeeded"]),
        ("0003", ["failed"]),
        ("0007", ["partial"]),
        ("0002", ["processing", "succeeded"]),
    ],
)
async def test_each_outcome_has_its_event(town: Town, end: str, kinds: list[str]) -> None:
    await town.listen()
    await town.shop.sent(f"139 1234 {end}")
    await town.shop.wait(600)
    await town.tell_all()
    assert town.receiver.kinds == kinds
    assert [event["sequence"] for event in town.receiver.heard] == list(range(1, len(kinds) + 1))
    assert town.receiver.heard[0]["data"]["certainty"] == ("unknown" if len(kinds) == 2 else "final")


async def test_events_tell_what_was_true_then_also_when_they_come_late(town: Town) -> None:
    await town.listen()
    town.receiver.always = 500
    await town.shop.sent("139 1234 0002")
    await town.tell_all()
    await town.shop.wait(600)
    town.receiver.always = 204
    await town.wait(3600)
    assert [(event["type"], event["data"]["status"]) for event in town.receiver.heard] == [
        ("topup.processing", "processing"),
        ("topup.succeeded", "succeeded"),
    ]


async def test_goodwill_and_a_reversal_are_told(town: Town) -> None:
    await town.listen()
    order = await town.shop.placed(town.shop.partners_ask())
    await flow.reverse(town.shop.trade, order.id, who="finance", reason="sent by mistake")
    other = await town.shop.sent("139 1234 5678")
    asked = await flow.refund(town.shop.trade, other.id, other.price, "it came late", "wang")
    await flow.confirm_refund(town.shop.trade, other.id, asked.n, "li")
    await town.tell_all()
    assert sorted(town.receiver.kinds) == ["refunded", "reversed", "succeeded", "succeeded"]


async def test_a_later_event_waits_until_the_one_before_is_accepted(town: Town) -> None:
    await town.listen()
    town.receiver.answers = [500, 500, 500]
    await town.shop.sent("139 1234 0002")
    await town.tell_all()
    await town.shop.wait(30)  # delivered, as an inquiry tells; the first event has failed
    await town.wait(3600)
    assert town.receiver.kinds == ["processing", "succeeded"]
    sent = [json.loads(request.body)["type"].partition(".")[2] for request in town.receiver.requests]
    assert sent == ["processing"] * 4 + ["succeeded"]


async def test_a_commit_whose_answer_is_lost_is_told_once(town: Town) -> None:
    await town.listen()
    town.shop.db.lose = 1  # type: ignore[attr-defined]
    await town.shop.placed(town.shop.partners_ask(key="k1"))
    await town.tell_all()
    assert town.receiver.kinds == ["succeeded"]


async def test_failures_are_tried_again_on_the_timetable_for_three_days(town: Town) -> None:
    endpoint, _ = await town.listen()
    await town.listen("https://well.example/")  # another, so that the first is not disabled for its failures alone
    town.receiver.always = 500
    await town.shop.placed(town.shop.partners_ask())
    began = town.world.clock
    await town.wait(THREE_DAYS * 1.2)
    at = [request.headers["webhook-timestamp"] for request in town.receiver.requests]
    ages = [int(moment) - int(began.timestamp()) for moment in at]
    assert len(ages) == 15
    for age, planned in zip(ages, (0, 5, 30, 120, 600, 1800, 3600), strict=False):
        assert planned <= age <= planned * 1.1 + 5
    assert THREE_DAYS <= ages[-1] <= THREE_DAYS * 1.1 + 60
    assert await town.log(endpoint) == ["succeeded given_up 15"]


async def test_an_endpoint_that_fails_for_three_days_is_disabled_and_a_case_says_so(town: Town) -> None:
    endpoint, _ = await town.listen()
    town.receiver.always = None
    await town.shop.placed(town.shop.partners_ask())
    await town.wait(THREE_DAYS * 1.2)
    found = await town.endpoint(endpoint)
    assert (found.state, found.why) == ("disabled", "failing")
    assert await town.shop.cases(endpoint.id) == ["webhook_failing"]
    heard = len(town.receiver.requests)
    await town.shop.placed(town.shop.partners_ask())
    await town.wait(60)
    assert len(town.receiver.requests) == heard
    town.receiver.always = 204
    await town.db.transaction(lambda tx: notify.change(tx, town.world, town.shop.partner, endpoint.id, enabled=True))
    await town.wait(60)
    assert town.receiver.kinds == ["succeeded"]  # what happened meanwhile; what was given up is given up
    assert (await town.endpoint(endpoint)).failing_since is None


async def test_410_disables_at_once_without_a_case(town: Town) -> None:
    endpoint, _ = await town.listen()
    town.receiver.answers = [410]
    await town.shop.placed(town.shop.partners_ask())
    await town.wait(86_400)
    assert ((await town.endpoint(endpoint)).state, (await town.endpoint(endpoint)).why) == ("disabled", "gone")
    assert (len(town.receiver.requests), await town.shop.cases(endpoint.id)) == (1, [])


async def test_a_retry_after_is_heeded_and_a_redirect_is_a_failure(town: Town) -> None:
    await town.listen()
    town.receiver.answers = [
        Response(429, {"retry-after": "600"}, b""),
        Response(302, {"location": "http://10.0.0.1/"}, b""),
    ]
    await town.shop.placed(town.shop.partners_ask())
    await town.wait(599)
    assert len(town.receiver.requests) == 1
    await town.wait(700)
    assert (len(town.receiver.requests), town.receiver.kinds) == (3, ["succeeded"])


async def test_a_dead_endpoint_is_asked_one_at_a_time_and_delays_nobody(town: Town) -> None:
    await town.listen("https://dead.example/hook", description="dead")
    dead = Receiver()
    dead.always = None
    town.world.route("https://dead.example", dead.handle)
    await town.listen()
    await town.shop.place(*(town.shop.partners_ask(face="10.00 CNY") for _ in range(90)))
    for _ in range(3):
        await town.tell()
    assert len(town.receiver.heard) == 90
    assert len(dead.requests) == 34  # 32 at once, and then one at a time
    await town.tell()
    assert len(dead.requests) == 35


async def test_an_endpoint_hears_only_what_it_wants(town: Town) -> None:
    await town.listen(events=["topup.failed"])
    await town.shop.placed(town.shop.partners_ask())
    await town.shop.sent("139 1234 0003")
    await town.tell_all()
    assert town.receiver.kinds == ["failed"]


async def test_a_courier_that_slept_sends_nothing_and_another_tells(town: Town) -> None:
    await town.listen()
    await town.shop.placed(town.shop.partners_ask())
    assert await town.courier.tick() == 1
    town.world.clock += timedelta(seconds=11)  # the process stood still between its lease and the first byte
    await town.world.advance(0)
    assert town.receiver.requests == []
    town.courier = town.new_courier()
    await town.wait(60)
    assert town.receiver.kinds == ["succeeded"]


async def test_an_answer_that_comes_after_another_took_over_changes_nothing(town: Town) -> None:
    endpoint, _ = await town.listen()
    await town.shop.placed(town.shop.partners_ask())
    slow, quick = town.new_courier(), town.new_courier()
    assert await slow.tick() == 1
    await town.shop.sql("UPDATE notify_delivery SET due = :now", now=town.world.db_now())  # its lease ran out
    assert await quick.tick() == 1
    town.receiver.answers = [500, 204]
    await town.world.advance(0)
    assert await town.log(endpoint) == ["succeeded accepted 2"]


async def test_couriers_beside_each_other_take_each_event_once(town: Town) -> None:
    await town.listen()
    await town.shop.place(*(town.shop.partners_ask(face="10.00 CNY") for _ in range(40)))
    couriers = [town.new_courier() for _ in range(3)]
    taken = await asyncio.gather(*(courier.tick() for courier in couriers))
    assert sum(taken) == 40
    await town.world.advance(0)
    assert len({event["id"] for event in town.receiver.heard}) == len(town.receiver.heard) == 40


async def test_an_erased_number_is_told_as_none(town: Town) -> None:
    from refill import numbers

    await town.listen()
    order = await town.shop.sent("139 1234 5678")
    await town.db.transaction(lambda tx: numbers.erase(tx, order.number))
    await town.tell_all()
    assert town.receiver.heard[0]["data"]["msisdn"] is None


async def test_what_they_answer_is_kept_without_whole_numbers(town: Town) -> None:
    endpoint, _ = await town.listen()
    town.receiver.answers = [Response(500, {}, b"no such\x00 number 13800138000 " + b"x" * 2000)]
    order = await town.shop.placed(town.shop.partners_ask())
    await town.tell_all()
    (tried,) = await town.db.transaction(lambda tx: notify.tries(tx, endpoint.id, f"{order.id}e1"))
    assert (tried.n, tried.status) == (1, 500)
    assert tried.says.startswith("no such  number 138****00 xxx")
    assert len(tried.says) < 500
    assert PLACE.startswith("https")


async def test_what_is_old_is_forgotten_with_all_that_was_noted_about_it(town: Town) -> None:
    endpoint, _ = await town.listen()
    await town.shop.placed(town.shop.partners_ask())
    await town.tell_all()
    await town.world.advance(29 * 86_400)
    await town.shop.placed(town.shop.partners_ask())
    await town.tell_all()

    async def forget() -> int:
        return await town.db.transaction(lambda tx: notify.forget(tx, town.world.db_now()))

    assert await forget() == 0
    await town.world.advance(2 * 86_400)
    assert [await forget(), await forget()] == [1, 0]
    assert await town.log(endpoint) == ["succeeded accepted 1"]
    counts = [
        await town.shop.sql(f"SELECT FROM {table}") for table in ("notify_event", "notify_delivery", "notify_try")
    ]
    assert counts == [1, 1, 1]


async def test_nothing_is_sent_to_a_deleted_endpoint(town: Town) -> None:
    endpoint, _ = await town.listen()
    await town.shop.placed(town.shop.partners_ask())
    await town.db.transaction(lambda tx: notify.delete(tx, town.shop.partner, endpoint.id, town.world.db_now()))
    await town.shop.placed(town.shop.partners_ask())
    await town.tell_all()
    assert town.receiver.requests == []
    assert await town.shop.sql("SELECT FROM notify_event") == 1


async def test_a_full_courier_takes_nothing(town: Town) -> None:
    await town.listen()
    await town.shop.place(*(town.shop.partners_ask(face="10.00 CNY") for _ in range(5)))
    town.courier = notify.Courier(town.world, town.db, town.shop.vault, render(town.shop.trade), in_flight=3)
    assert [await town.courier.tick(), await town.courier.tick()] == [3, 0]
    await town.world.advance(0)
    await town.tell_all()
    assert len(town.receiver.heard) == 5


async def test_an_endpoint_that_accepts_is_asked_more_at_a_time(town: Town) -> None:
    endpoint, _ = await town.listen()
    await town.shop.place(*(town.shop.partners_ask(face="10.00 CNY") for _ in range(90)))
    assert [await town.tell(), await town.tell()] == [32, 58]
    assert town.courier._allowed == {endpoint.id: 32 + 90}


async def test_a_retry_after_that_is_no_number_asks_for_nothing(town: Town) -> None:
    await town.listen()
    town.receiver.answers = [
        Response(503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b""),
        Response(503, {}, b""),
    ]
    await town.shop.placed(town.shop.partners_ask())
    await town.wait(40)
    assert town.receiver.kinds == ["succeeded"]


async def test_nobody_there_is_a_failure_that_says_so(town: Town) -> None:
    endpoint, _ = await town.listen("https://nobody.example/")
    order = await town.shop.placed(town.shop.partners_ask())
    await town.tell_all()
    (tried,) = await town.db.transaction(lambda tx: notify.tries(tx, endpoint.id, f"{order.id}e1"))
    assert (tried.status, tried.says) == (None, "not sent: nobody listens there")
