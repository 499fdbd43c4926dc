"""The card simulator is honest: Stripe's own client is content with it, and so is our own method."""

import asyncio
import io
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
import stripe
from tests.worlds import MORNING, FixedWorld, Inbox

from refill import payments
from refill.errors import NotVerified
from refill.money import Money, money
from refill.outcome import Done, Refused, Unknown
from refill.payments import (
    ABSENT,
    ALREADY_PAID,
    CLOSED,
    WAITING,
    Charge,
    Method,
    RawNotice,
    RefundAsk,
    methods_by_name,
)
from refill.simulators import card, shelf
from refill.simulators.card import DISPUTED_AFTER_S, REPEATS_S, CardSimulator
from refill.simulators.serve import address, listen, serving, surroundings
from refill.world import Request, Response

KEY, SECRET = "sk_test_simulated", "whsec_simulated"
US = "https://us.example/callbacks/card"


def our_method(base: str, **other: str) -> Method:
    settings = {"card_secret_key": KEY, "card_webhook_secret": SECRET, "card_api_base": base}
    return methods_by_name({**settings, **other})["card"]


def a_world(answer: Response | None = None, **settings: Any) -> tuple[FixedWorld, CardSimulator, Method, Inbox]:
    world, inbox = FixedWorld(), Inbox(answer)
    simulator = CardSimulator(
        **world.surroundings(),
        secret_key=KEY,
        webhook_secret=SECRET,
        base_url="https://stripe.example",
        webhook_url=US,
        **settings,
    )
    world.route(simulator.base_url, simulator.handle)
    world.route(US, inbox.handle)
    return world, simulator, our_method(simulator.base_url), inbox


def a_charge(reference: str = "pay_1", **other: Any) -> Charge:
    fields = {"reference": reference, "amount": money("49.80 CNY"), "subject": "手机充值 50 元 & <b>"}
    expires_at = MORNING + timedelta(minutes=15)
    return Charge(**{**fields, "expires_at": expires_at, "return_url": "https://us.example/o?lang=zh", **other})


def a_refund(transaction: str, request_id: str = "rf_1", amount: str = "49.80 CNY") -> RefundAsk:
    return RefundAsk(request_id, "pay_1", transaction, money(amount), money("49.80 CNY"), "not delivered")


async def get(world: FixedWorld, url: str) -> Response:
    return await world.send(Request("GET", url))


async def post(world: FixedWorld, url: str, body: bytes = b"") -> Response:
    return await world.send(Request("POST", url, {}, body))


async def opened(world: FixedWorld, method: Method, charge: Charge) -> str:
    """The address of the page on which to pay."""
    begun = await method.begin(world, charge)
    assert isinstance(begun, Done), begun
    return begun.reference.url


async def paid(world: FixedWorld, simulator: CardSimulator, method: Method, **other: Any) -> str:
    """A payment that was made; gives its number."""
    await opened(world, method, a_charge(**other))
    assert simulator.pay("pay_1")
    return simulator.captures[-1].transaction


def arrived(notice: Request, at: Any) -> RawNotice:
    return RawNotice(notice.body, notice.headers, at)


def kinds(inbox: Inbox) -> list[str]:
    return [json.loads(notice.body)["type"] for notice in inbox.notices]


# Our method and the simulator, in still time


async def test_a_person_pays_and_everybody_agrees() -> None:
    world, simulator, method, inbox = a_world()
    page = await opened(world, method, a_charge())
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    shown = (await get(world, page)).body.decode()
    assert "CNY 49.80" in shown
    assert "手机充值 50 元 &amp; &lt;b&gt;" in shown
    answer = await post(world, f"{page}/pay")
    assert (answer.status, answer.headers["location"]) == (303, "https://us.example/o?lang=zh")
    await world.advance()

    found = await method.query(world, "pay_1")
    notice = method.read_notice(arrived(inbox.notices[0], world.clock))
    assert isinstance(found, Done)
    assert notice.fresh
    assert notice.capture == found.reference
    assert found.reference.amount == money("49.80 CNY")
    assert found.reference.paid_at == MORNING
    assert [(one.reference, one.transaction, one.amount_minor, one.at) for one in simulator.captures] == [
        ("pay_1", found.reference.transaction, 4980, MORNING)
    ]
    await world.advance(86400)
    assert len(inbox.notices) == 1, "we answered 200"


async def test_the_same_charge_is_the_same_page() -> None:
    world, simulator, method, _ = a_world()
    page = await opened(world, method, a_charge())
    await world.advance(60)
    assert await opened(world, method, a_charge()) == page
    other_way_back = a_charge(return_url="https://other.us.example/o")
    assert await opened(world, method, other_way_back) == page, "though Stripe's key was used with another way back"
    assert await method.begin(world, a_charge(amount=money("0.50 CNY"))) == Refused(
        "the reference was used for another payment"
    )
    await world.advance(13 * 60)
    assert await opened(world, method, a_charge()) == page
    assert simulator.pay("pay_1")
    assert await method.begin(world, a_charge()) == Refused(ALREADY_PAID)
    assert not simulator.pay("pay_1"), "nobody pays twice"


async def test_a_session_that_nobody_was_sent_to_is_not_there() -> None:
    world, simulator, method, _ = a_world()
    assert await method.query(world, "pay_1") == Refused(ABSENT, "resource_missing")
    assert await method.close(world, "pay_1") == Refused(ABSENT, "resource_missing")
    simulator.troubles.plan("lost")
    assert isinstance(await method.begin(world, a_charge()), Unknown), "the session is made, the answer is lost"
    assert await method.query(world, "pay_1") == Refused(ABSENT, "resource_missing")
    assert simulator.closed == {}
    await opened(world, method, a_charge())
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)


async def test_when_the_time_is_up_we_close_what_stripe_would_keep_open() -> None:
    world, simulator, method, inbox = a_world()
    page = await opened(world, method, a_charge())
    await world.advance(15 * 60)
    assert await method.begin(world, a_charge()) == Refused(CLOSED)
    assert "A card that works" in (await get(world, page)).body.decode(), "Stripe closes no earlier than 30 minutes"
    assert isinstance(await method.close(world, "pay_1"), Done)
    assert not simulator.pay("pay_1")
    assert "Closed" in (await post(world, f"{page}/pay")).body.decode()
    assert await method.query(world, "pay_1") == Refused(CLOSED)
    assert isinstance(await method.close(world, "pay_1"), Done), "again"
    assert list(simulator.closed) == ["pay_1"]
    await world.advance(86400)
    assert kinds(inbox) == ["checkout.session.expired"], "told once"
    assert method.read_notice(arrived(inbox.notices[0], world.clock)).capture is None


async def test_a_session_that_nobody_closed_ends_by_itself() -> None:
    world, simulator, method, inbox = a_world()
    page = await opened(world, method, a_charge())
    await world.advance(46 * 60)
    assert kinds(inbox) == ["checkout.session.expired"]
    assert await method.query(world, "pay_1") == Refused(CLOSED)
    assert await method.close(world, "pay_1") != Refused(ABSENT)
    assert "Closed" in (await get(world, page)).body.decode()
    assert (simulator.captures, simulator.closed) == ([], {})


async def test_nobody_closes_what_is_paid() -> None:
    world, simulator, method, _ = a_world()
    await paid(world, simulator, method)
    assert await method.close(world, "pay_1") == Refused(ALREADY_PAID)
    await world.advance(86400)
    assert isinstance(await method.query(world, "pay_1"), Done)


async def test_a_card_is_declined_and_another_one_works() -> None:
    world, simulator, method, inbox = a_world()
    page = await opened(world, method, a_charge())
    declined = (await post(world, f"{page}/decline")).body.decode()
    assert "declined" in declined
    assert "A card that works" in declined
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    assert (simulator.captures, inbox.notices) == ([], [])
    await post(world, f"{page}/pay")
    again = await post(world, f"{page}/pay")
    assert (again.status, "Paid" in again.body.decode()) == (200, True), "a double click"
    assert len(simulator.captures) == 1


async def test_who_walks_away_pays_nothing_and_may_come_back() -> None:
    world, simulator, method, _ = a_world()
    page = await opened(world, method, a_charge())
    left = await post(world, f"{page}/leave")
    assert (left.status, left.headers["location"]) == (303, "https://us.example/o?lang=zh")
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    assert simulator.pay("pay_1")


async def test_no_page_asks_for_a_card_number() -> None:
    world, _, method, _ = a_world()
    page = await opened(world, method, a_charge())
    shown = (await get(world, page)).body.decode()
    assert "<input" not in shown
    for button in ("A card that works", "A card that is declined", "A card whose payment is disputed later", "away"):
        assert button in shown


async def test_a_payment_is_disputed_and_the_bank_decides() -> None:
    world, simulator, method, inbox = a_world()
    page = await opened(world, method, a_charge())
    await post(world, f"{page}/dispute")
    await world.advance(DISPUTED_AFTER_S)
    assert kinds(inbox) == ["checkout.session.completed", "charge.dispute.created"]
    opening = method.read_notice(arrived(inbox.notices[1], world.clock)).dispute
    assert opening is not None
    assert (opening.transaction, opening.state) == (simulator.captures[0].transaction, "opened")
    assert (opening.amount, opening.reason) == (money("49.80 CNY"), "fraudulent")
    assert opening.evidence_by == world.clock + timedelta(days=7)
    assert not simulator.dispute("pay_1"), "once is enough"
    answer = await method.refund(world, a_refund(simulator.captures[0].transaction))
    assert answer == Refused("the payer's bank has taken the money back already", "charge_disputed")
    index = (await get(world, simulator.base_url)).body.decode()
    assert "Disputed" in index

    assert simulator.close_dispute("pay_1", won=True)
    assert not simulator.close_dispute("pay_1", won=True)
    assert simulator.dispute("pay_1", "product_not_received")
    assert simulator.close_dispute("pay_1", won=False)
    await world.advance()
    told = [method.read_notice(arrived(notice, world.clock)).dispute for notice in inbox.notices[1:]]
    assert [one and one.state for one in told] == ["opened", "won", "opened", "lost"]
    assert [one.state for one in simulator.disputed] == ["opened", "won", "opened", "lost"]
    assert not simulator.dispute("pay_2")
    assert not simulator.close_dispute("pay_2", won=True)


async def test_money_goes_back_once_for_each_request_and_never_more_than_came() -> None:
    world, simulator, method, inbox = a_world()
    assert await method.refund(world, a_refund("pi_nobody", "rf_0")) == Refused(ABSENT, "resource_missing")
    transaction = await paid(world, simulator, method)
    part = a_refund(transaction, amount="10.00 CNY")
    assert await method.query_refund(world, part) == Refused(ABSENT, final=False)
    answers = [await method.refund(world, part) for _ in range(2)]
    await world.advance(3 * 86400)  # their key is forgotten, the refund is not
    answers += [await method.refund(world, part), await method.query_refund(world, part)]
    assert len(set(answers)) == 1
    assert isinstance(answers[0], Done)
    assert isinstance(await method.refund(world, a_refund(transaction, amount="10.01 CNY")), Unknown)
    too_much = await method.refund(world, a_refund(transaction, "rf_2", "39.81 CNY"))
    assert too_much == Refused("Stripe cannot refund this payment in its state", "invalid_request_error/amount")
    assert isinstance(await method.refund(world, a_refund(transaction, "rf_3", "39.80 CNY")), Done)
    again = await method.refund(world, a_refund(transaction, "rf_4", "0.50 CNY"))
    assert again == Refused("Stripe cannot refund this payment in its state", "charge_already_refunded")
    assert [(one.request_id, one.amount_minor) for one in simulator.refunds] == [("rf_1", 1000), ("rf_3", 3980)]
    assert isinstance(await method.query(world, "pay_1"), Done), "it was paid, though all of it went back"
    await world.advance()
    assert kinds(inbox) == ["checkout.session.completed", "charge.refunded", "charge.refunded"]
    read = [method.read_notice(arrived(notice, world.clock)) for notice in inbox.notices]
    assert [notice.capture is None for notice in read] == [False, True, True]
    assert {notice.reference for notice in read} == {"pay_1"}


@pytest.mark.parametrize("trouble", ["lost", "html", "truncated", "error_after"])
async def test_a_refund_whose_answer_went_wrong_is_found_and_not_made_twice(trouble: str) -> None:
    world, simulator, method, _ = a_world()
    ask = a_refund(await paid(world, simulator, method))

    async def look_then_fail(request: Request) -> Response:
        if request.method == "POST":
            simulator.troubles.plan(trouble)
        return await simulator.handle(request)

    world.route(f"{simulator.base_url}/v1/refunds", look_then_fail)
    assert isinstance(await method.refund(world, ask), Unknown)
    assert isinstance(await method.query_refund(world, ask), Done)
    assert isinstance(await method.refund(world, ask), Done)
    assert len(simulator.refunds) == 1


@pytest.mark.parametrize("trouble", ["busy", "error_before", "lost", "html", "truncated"])
async def test_a_session_whose_answer_went_wrong_is_made_once(trouble: str) -> None:
    world, simulator, method, _ = a_world()
    simulator.troubles.plan(trouble)
    assert isinstance(await method.begin(world, a_charge()), Unknown)
    page = await opened(world, method, a_charge())
    assert simulator.pay("pay_1")
    assert "Paid" in (await get(world, page)).body.decode()
    assert not simulator.pay("pay_1")


async def test_a_refund_takes_its_time_waits_for_our_balance_or_comes_back() -> None:
    world, simulator, method, inbox = a_world()
    transaction = await paid(world, simulator, method)
    simulator.troubles.plan("refund_pending")
    assert isinstance(await method.refund(world, a_refund(transaction, "rf_1", "10.00 CNY")), Done), "on its way"
    simulator.troubles.plan("broke")
    waiting = a_refund(transaction, "rf_2", "10.00 CNY")
    assert isinstance(await method.refund(world, waiting), Unknown)
    assert [one.request_id for one in simulator.refunds] == ["rf_1"]
    simulator.troubles.plan("refund_fails")
    failing = a_refund(transaction, "rf_3", "10.00 CNY")
    assert isinstance(await method.refund(world, failing), Done)
    await world.advance(3600)
    assert isinstance(await method.refund(world, waiting), Done)
    assert await method.refund(world, failing) == Refused(
        "the payer's bank did not take the refund", "lost_or_stolen_card"
    )
    assert [one.request_id for one in simulator.refunds] == ["rf_1", "rf_2"]
    assert [one.request_id for one in simulator.returned] == ["rf_3"]
    assert kinds(inbox)[-3:] == ["refund.updated", "refund.failed", "refund.updated"]
    assert method.read_notice(arrived(inbox.notices[-1], world.clock)).reference == "pay_1"


async def test_an_event_comes_again_until_we_answer_200() -> None:
    world, simulator, method, inbox = a_world(Response(503, {}, b"busy"))
    await paid(world, simulator, method)
    simulator.troubles.plan("lose_notice")
    seen = []
    for wait in (0, *REPEATS_S):
        before = len(inbox.notices)
        await world.advance(wait)
        seen.append(len(inbox.notices) - before)
    assert seen == [0] + [1] * len(REPEATS_S)
    assert len({notice.body for notice in inbox.notices}) == 1, "the same event"
    assert len({notice.headers["stripe-signature"] for notice in inbox.notices}) == len(REPEATS_S), "signed anew"
    assert method.read_notice(arrived(inbox.notices[-1], world.clock)).fresh
    await world.advance(10**6)
    assert len(inbox.notices) == len(REPEATS_S)


async def test_events_are_doubled_delayed_forged_and_old_on_demand() -> None:
    world, simulator, method, inbox = a_world()
    arrive = {"double_notice": 2, "forge_notice": 2, "late_notice": 0, "old_notice": 1}
    for number, trouble in enumerate(arrive):
        inbox.notices.clear()
        await opened(world, method, a_charge(f"pay_{number}"))
        simulator.troubles.plan(trouble)
        simulator.pay(f"pay_{number}")
        await world.advance()
        assert len(inbox.notices) == arrive[trouble]
        if trouble == "forge_notice":
            with pytest.raises(NotVerified):
                method.read_notice(arrived(inbox.notices[1], world.clock))
    assert not method.read_notice(arrived(inbox.notices[0], world.clock)).fresh
    await world.advance(600)
    assert len(inbox.notices) == 2


async def test_events_are_signed_with_two_secrets_while_one_replaces_the_other() -> None:
    world, simulator, method, inbox = a_world()
    simulator.roll_secret("whsec_new")
    await paid(world, simulator, method)
    await world.advance()
    assert inbox.notices[0].headers["stripe-signature"].count("v1=") == 2
    for settings in (
        {},
        {"card_webhook_secret": "whsec_new"},
        {"card_webhook_secret": "whsec_newer", "card_webhook_secret_old": "whsec_new"},
    ):
        read = our_method(simulator.base_url, **settings).read_notice(arrived(inbox.notices[0], world.clock))
        assert read.capture is not None


async def test_a_wrong_amount_can_be_paid() -> None:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge())
    simulator.troubles.plan("short_paid")
    assert simulator.pay("pay_1")
    await opened(world, method, a_charge("pay_2", amount=money("500 ISK")))
    assert simulator.pay("pay_2", amount_override=499)
    found = [await method.query(world, reference) for reference in ("pay_1", "pay_2")]
    assert [one.reference.amount for one in found if isinstance(one, Done)] == [money("49.79 CNY"), money("499 ISK")]


@pytest.mark.parametrize("amount", ["49.80 CNY", "500 JPY", "500 ISK", "2500 UGX", "1.250 KWD", "5000 KRW"])
async def test_every_kind_of_currency_comes_and_goes_exactly(amount: str) -> None:
    world, simulator, method, inbox = a_world()
    transaction = await paid(world, simulator, method, amount=money(amount))
    await world.advance()
    found = await method.query(world, "pay_1")
    assert isinstance(found, Done)
    assert found.reference.amount == money(amount)
    assert method.read_notice(arrived(inbox.notices[0], world.clock)).capture == found.reference
    assert isinstance(await method.refund(world, a_refund(transaction, amount=amount)), Done)
    assert simulator.refunds[0].amount_minor == money(amount).minor
    report = (await get(world, f"{simulator.base_url}/balance.csv")).body
    lines = list(method.read_statement(io.BytesIO(report)))
    assert [(line.kind, Money(line.minor, line.currency)) for line in lines] == [
        ("payment", money(amount)),
        ("refund", money(amount)),
    ]


async def test_a_connected_account_is_named_both_ways() -> None:
    world, simulator, method, inbox = a_world(account="acct_shop")
    assert isinstance(await method.begin(world, a_charge()), Unknown), "403"
    shop = our_method(simulator.base_url, card_account="acct_shop")
    await paid(world, simulator, shop)
    await world.advance()
    assert shop.read_notice(arrived(inbox.notices[0], world.clock)).capture is not None
    with pytest.raises(NotVerified, match="another account"):
        method.read_notice(arrived(inbox.notices[0], world.clock))


async def test_trouble_ends_when_it_is_healed() -> None:
    world, simulator, method, _ = a_world(chances={"slow": 1.0})
    await opened(world, method, a_charge())
    assert world.clock > MORNING
    simulator.troubles.plan("lost", 5)
    simulator.troubles.heal()
    noon = world.clock
    assert await method.query(world, "pay_1") == Refused(WAITING, final=False)
    assert world.clock == noon


async def test_one_seed_is_one_story() -> None:
    async def story(seed: int) -> list[object]:
        world, simulator, method, inbox = a_world(chances={"lost": 0.3, "lose_notice": 0.5, "short_paid": 0.5})
        world.dice.seed(seed)
        for number in range(10):
            await method.begin(world, a_charge(f"pay_{number}"))
            simulator.pay(f"pay_{number}")
            await method.query(world, f"pay_{number}")
        await world.advance(600)
        return [simulator.captures, [notice.body for notice in inbox.notices]]

    assert await story(7) == await story(7)
    assert await story(7) != await story(8)


async def test_another_process_can_plan_trouble_order_a_dispute_and_read_the_truth() -> None:
    world, simulator, method, inbox = a_world()
    transaction = await paid(world, simulator, method)
    await world.advance()
    base = simulator.base_url
    assert (await post(world, f"{base}/troubles", b"name=lose_notice&times=1")).status == 204
    await method.refund(world, a_refund(transaction, amount="9.80 CNY"))
    await world.advance()
    assert len(inbox.notices) == 1
    for state, status in (("won", 422), ("shiny", 422), ("opened", 303), ("opened", 422), ("lost", 303)):
        assert (await post(world, f"{base}/disputes", f"reference=pay_1&state={state}".encode())).status == status
    truth = json.loads((await get(world, f"{base}/truth")).body)
    assert [one["amount_minor"] for one in truth["captures"]] == [4980]
    assert [one["request_id"] for one in truth["refunds"]] == ["rf_1"]
    assert [(one["state"], one["amount_minor"]) for one in truth["disputed"]] == [("opened", 4000), ("lost", 4000)]
    assert (truth["returned"], truth["closed"]) == ([], {})


# What Stripe refuses


def headers(**other: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in other.items()}
    return {"authorization": f"Bearer {KEY}", "stripe-version": "2026-10-28.endive", **named}


SESSION = {
    "mode": "payment",
    "client_reference_id": "pay_1",
    "success_url": "https://us.example/",
    "line_items[0][quantity]": "1",
    "line_items[0][price_data][currency]": "cny",
    "line_items[0][price_data][unit_amount]": "4980",
    "line_items[0][price_data][product_data][name]": "x",
}


async def asked(
    world: FixedWorld, path: str, fields: Mapping[str, str] | None = None, verb: str = "POST", **other: str
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    url, body = f"https://stripe.example{path}", urlencode(fields or {})
    request = Request(verb, url, headers(**other), body.encode())
    answer = await world.send(request)
    return answer.status, json.loads(answer.body), answer.headers


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"mode": "subscription"}, "mode"),
        ({"success_url": "javascript:alert(1)"}, "parameter_missing"),
        ({"success_url": ""}, "parameter_missing"),
        ({"line_items[0][price_data][unit_amount]": "49.80"}, "parameter_invalid_integer"),
        ({"line_items[0][price_data][unit_amount]": "-1"}, "parameter_invalid_integer"),
        ({"line_items[0][price_data][unit_amount]": "49"}, "amount_too_small"),
        ({"line_items[0][price_data][unit_amount]": "100000000"}, "amount_too_large"),
        ({"line_items[0][price_data][currency]": "xxx"}, "line_items[0][price_data][currency]"),
        ({"line_items[0][price_data][currency]": "ghs"}, "line_items[0][price_data][currency]"),
        ({"line_items[0][price_data][currency]": "isk"}, "invalid_charge_amount"),
        (
            {"line_items[0][price_data][currency]": "kwd", "line_items[0][price_data][unit_amount]": "1255"},
            "invalid_charge_amount",
        ),
        ({"line_items[0][price_data][product_data][name]": ""}, "parameter_missing"),
        ({"line_items": "1"}, "parameter_unknown"),
        ({"line_items[0]": "1"}, "parameter_unknown"),
        ({"expires_at": str(int(MORNING.timestamp()) + 1799)}, "expires_at"),
        ({"expires_at": str(int(MORNING.timestamp()) + 86401)}, "expires_at"),
        ({"shiny": "1"}, "parameter_unknown"),
    ],
    ids=str,
)
async def test_what_stripe_refuses_the_simulator_refuses(other: dict[str, str], word: str) -> None:
    world, simulator, _, _ = a_world()
    status, said, _ = await asked(world, "/v1/checkout/sessions", {**SESSION, **other})
    assert status == 400
    assert said["error"]["type"] == "invalid_request_error"
    assert word in (said["error"].get("code"), said["error"].get("param"))
    assert not simulator.pay("pay_1")


@pytest.mark.parametrize(
    ("verb", "path", "fields", "status"),
    [
        ("GET", "/v1/checkout/sessions/cs_test_x", {}, 404),
        ("POST", "/v1/checkout/sessions/cs_test_x/expire", {}, 404),
        ("GET", "/v1/shiny", {}, 404),
        ("DELETE", "/v1/products/pay_1", {}, 404),
        ("GET", "/v1/files/file_x/contents", {}, 404),
        ("POST", "/v1/checkout/sessions", {}, 400),
        ("POST", "/v1/checkout/sessions", {"mode": "payment", "success_url": "https://us.example/"}, 400),
        ("POST", "/v1/checkout/sessions", {"mode": "payment", "mode[x]": "y"}, 400),
        ("POST", "/v1/checkout/sessions", {"mode[]": "payment", "mode[0]": "payment"}, 400),
        ("POST", "/v1/checkout/sessions", {**SESSION, "line_items[0][price_data]": "x"}, 400),
        ("POST", "/v1/products", {"id": "pay_1"}, 400),
        ("POST", "/v1/refunds", {"payment_intent": "pi_x"}, 400),
        ("GET", "/v1/refunds", {"limit": "101"}, 400),
        ("GET", "/v1/refunds", {"starting_after": "re_x"}, 400),
        ("POST", "/v1/reporting/report_runs", {"report_type": "shiny"}, 400),
        ("POST", "/v1/disputes/du_x/close", {}, 404),
    ],
    ids=str,
)
async def test_what_is_not_there_is_said_so(verb: str, path: str, fields: dict[str, str], status: int) -> None:
    world, _, _, _ = a_world()
    assert (await asked(world, path, fields, verb))[0] == status


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer sk_test_other"}, 401),
        ({"stripe_version": "yesterday"}, 400),
        ({"stripe_account": "acct_other"}, 403),
    ],
    ids=str,
)
async def test_who_has_no_key_learns_nothing(other: dict[str, str], status: int) -> None:
    world, _, _, _ = a_world()
    answer = await asked(world, "/v1/checkout/sessions", SESSION, **other)
    assert (answer[0], "error" in answer[1]) == (status, True)


async def test_the_key_may_be_given_as_a_name_too() -> None:
    world, _, _, _ = a_world()
    basic = b64encode(f"{KEY}:".encode()).decode().rstrip("=")
    assert (await asked(world, "/v1/refunds", verb="GET", authorization=f"Basic {basic}"))[0] == 200


async def test_a_form_that_is_none_is_refused() -> None:
    world, _, _, _ = a_world()
    answer = await world.send(Request("POST", "https://stripe.example/v1/refunds", headers(), b"\xff"))
    assert answer.status == 400


async def test_a_report_has_known_columns_only() -> None:
    world, _, _, _ = a_world()
    until = int(MORNING.timestamp())
    fields = {"parameters[interval_start]": str(until - 1), "parameters[interval_end]": str(until)}
    fields |= {"report_type": "balance_change_from_activity.itemized.6", "parameters[columns][]": "shiny"}
    status, said, _ = await asked(world, "/v1/reporting/report_runs", fields)
    assert (status, said["error"]["param"]) == (400, "parameters[columns]")


async def test_one_key_is_one_request_for_a_day() -> None:
    world, _, _, _ = a_world()

    async def ask(key: str = "k", **other: str) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        fields = {**SESSION, **other}
        return await asked(world, "/v1/checkout/sessions", fields, idempotency_key=key)

    wrong = await ask(mode="shiny")
    assert wrong[0] == 400, "and not remembered: nothing had begun"
    first = await ask()
    again = await ask()
    assert (first[0], first[1]["id"]) == (200, again[1]["id"])
    assert [one[2].get("idempotent-replayed") for one in (first, again)] == [None, "true"]
    other = await ask(client_reference_id="pay_2")
    assert (other[0], other[1]["error"]["type"]) == (400, "idempotency_error")
    assert (await ask("k2"))[1]["id"] != first[1]["id"]
    await world.advance(86400)
    assert (await ask())[1]["id"] != first[1]["id"], "forgotten after a day"


async def test_a_failure_is_remembered_under_its_key_as_stripe_does() -> None:
    world, simulator, _, _ = a_world()
    simulator.troubles.plan("error_after")
    answers = [await asked(world, "/v1/checkout/sessions", SESSION, idempotency_key="k") for _ in range(2)]
    assert [one[0] for one in answers] == [500, 500]
    assert answers[1][2]["idempotent-replayed"] == "true"
    assert simulator.pay("pay_1"), "it was made though"


async def test_while_a_request_runs_its_key_is_in_use() -> None:
    world, simulator, _, _ = a_world()
    simulator.troubles.plan("slow")
    during: list[tuple[int, str]] = []

    async def meanwhile() -> None:
        status, said, _ = await asked(world, "/v1/checkout/sessions", SESSION, idempotency_key="k")
        during.append((status, said["error"]["code"]))

    world.schedule(1, meanwhile)
    assert (await asked(world, "/v1/checkout/sessions", SESSION, idempotency_key="k"))[0] == 200
    assert during == [(409, "idempotency_key_in_use")]
    assert (await asked(world, "/v1/checkout/sessions", SESSION, idempotency_key="k"))[2]["idempotent-replayed"]


# The report


async def test_a_day_is_reported_and_read_again_to_the_cent() -> None:
    world, simulator, method, _ = a_world()
    transaction = await paid(world, simulator, method)
    await method.refund(world, a_refund(transaction, amount="10.00 CNY"))
    simulator.dispute("pay_1")
    simulator.close_dispute("pay_1", won=True)
    today = MORNING.date()
    assert not isinstance(await method.fetch_statement(world, today), Done), "the day is not over"
    await world.advance(86400)
    assert isinstance(await method.fetch_statement(world, today), Unknown), "it is being written"
    await world.advance(60)
    report = await method.fetch_statement(world, today)
    assert isinstance(report, Done)
    lines = list(method.read_statement(io.BytesIO(report.reference)))
    assert [(line.kind, line.reference, line.request_id, line.transaction, line.minor) for line in lines] == [
        ("payment", "pay_1", "", transaction, 4980),
        ("refund", "pay_1", "rf_1", transaction, 1000),
    ]
    assert [line.at for line in lines] == [MORNING, MORNING]
    assert lines[0].fee_minor > 0
    assert b"dispute_reversal" in report.reference
    assert await method.fetch_statement(world, date(2026, 11, 21)) != report
    await world.advance(60)
    empty = await method.fetch_statement(world, date(2026, 11, 21))
    assert isinstance(empty, Done)
    assert list(method.read_statement(io.BytesIO(empty.reference))) == []


# Nothing looks like a card number


def looks_like_a_card(text: str) -> list[str]:
    """Runs of 13 to 19 digits, also in groups, whose check digit holds (ISO/IEC 7812-1, annex B)."""
    found = []
    for run in re.findall(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])", text):
        digits = [int(digit) for digit in reversed(re.sub("[^0-9]", "", run))]
        total = sum(sum(divmod(digit * (1 + place % 2), 10)) for place, digit in enumerate(digits))
        found += [run] if total % 10 == 0 else []
    return found


async def test_nothing_that_is_said_looks_like_a_card_number() -> None:
    assert looks_like_a_card("card 4242 4242 4242 4242!"), "the search itself finds one"
    world, simulator, method, inbox = a_world()
    said: list[str] = []

    async def listening(request: Request) -> Response:
        answer = await simulator.handle(request)
        said.extend([request.url, request.body.decode(), answer.body.decode(), str(answer.headers)])
        return answer

    world.route(simulator.base_url, listening)
    for number in range(20):
        page = await opened(world, method, a_charge(f"pay_{number}"))
        for deed in ("", "/decline", "/dispute"):
            await (post if deed else get)(world, page + deed)
        found = await method.query(world, f"pay_{number}")
        assert isinstance(found, Done)
        ask = RefundAsk(
            f"rf_{number}", f"pay_{number}", found.reference.transaction, money("1 CNY"), money("1 CNY"), ""
        )
        await method.refund(world, ask)
    await world.advance(3600)
    for path in ("/", "/truth", "/balance.csv"):
        await get(world, simulator.base_url + path)
    said += [notice.body.decode() for notice in inbox.notices]  # a signature is hexadecimal, and never kept
    assert len(inbox.notices) == 60
    assert looks_like_a_card("\n".join(said)) == []


# On the shelf


def test_the_settings_that_lead_to_it_make_a_method() -> None:
    kept: dict[str, str] = {}

    def keep(name: str, make: Any) -> str:
        return kept.setdefault(name, make())

    assert shelf()["card"] is card
    settings = card.leads(keep, "https://stripe.example")
    assert methods_by_name(settings)["card"].name == "card"
    around: Any = FixedWorld().surroundings()
    far = card.plays(keep, "https://stripe.example", "https://us.example", around)
    assert far.webhook_url == US
    assert far.webhook_secrets == (settings["card_webhook_secret"],)
    assert card.plays(keep, "https://stripe.example", "", around).webhook_url == ""


async def test_without_an_address_for_events_none_are_sent() -> None:
    world, simulator, method, inbox = a_world()
    simulator.webhook_url = ""
    await paid(world, simulator, method)
    await world.advance()
    assert inbox.notices == []


async def test_pages_that_are_not_there() -> None:
    world, simulator, _, _ = a_world()
    assert "No payments yet" in (await get(world, f"{simulator.base_url}/")).body.decode()
    for path in ("/shiny", "/c/pay/cs_test_x"):
        assert (await get(world, simulator.base_url + path)).status == 404


async def test_who_gave_no_way_back_is_told_that_they_left() -> None:
    world, simulator, _, _ = a_world()
    _, session, _ = await asked(world, "/v1/checkout/sessions", SESSION)
    left = (await post(world, f"{session['url']}/leave")).body.decode()
    assert "walked away" in left
    assert session["url"] in left
    assert simulator.captures == []


# Over real HTTP, with Stripe's own client


@dataclass
class Served:
    """The simulator on a loopback port, and our own address with what arrived there."""

    stripe: CardSimulator
    shop: Inbox


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    shop, theirs = Inbox(), listen()
    async with surroundings(Random(1)) as real, serving(shop, listen()) as shop_url:
        simulator = CardSimulator(
            **real, secret_key=KEY, webhook_secret=SECRET, base_url=address(theirs), webhook_url=f"{shop_url}/events"
        )
        async with serving(simulator, theirs):
            yield Served(simulator, shop)


def their_client(served: Served) -> stripe.StripeClient:
    return stripe.StripeClient(KEY, base_addresses={"api": served.stripe.base_url}, max_network_retries=0)


async def test_stripes_own_client_is_content_with_everything(served: Served) -> None:
    client, far = their_client(served), served.stripe
    wish: Any = {
        "mode": "payment",
        "client_reference_id": "sdk_1",
        "metadata": {"reference": "sdk_1"},
        "payment_intent_data": {"metadata": {"reference": "sdk_1"}},
        "payment_method_types": ["card"],
        "line_items": [
            {
                "quantity": 1,
                "price_data": {"currency": "usd", "unit_amount": 3000, "product_data": {"name": "手机充值 30"}},
            }
        ],
        "success_url": "https://us.example/back?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://us.example/left",
    }

    def begin() -> Any:
        return client.v1.checkout.sessions.create(wish, {"idempotency_key": "sdk_1"})

    session = await asyncio.to_thread(begin)
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 3000)
    assert (await asyncio.to_thread(begin)).id == session.id
    with pytest.raises(stripe.IdempotencyError):
        wish["cancel_url"] = "https://us.example/elsewhere"
        await asyncio.to_thread(begin)
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=False) as browser:
        assert "USD 30.00" in (await browser.get(session.url)).text
        done = await browser.post(f"{session.url}/pay")
        assert done.headers["location"] == f"https://us.example/back?session={session.id}"

    def look() -> Any:
        return client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge"]})

    paid_now = await asyncio.to_thread(look)
    assert (paid_now.status, paid_now.payment_status) == ("complete", "paid")
    intent = paid_now.payment_intent
    assert (intent.amount_received, intent.latest_charge.paid, intent.metadata["reference"]) == (3000, True, "sdk_1")

    def settle() -> Any:
        refund = client.v1.refunds.create(
            {"payment_intent": intent.id, "amount": 1000, "metadata": {"request_id": "rf_1"}},
            {"idempotency_key": "rf_1"},
        )
        client.v1.refunds.create({"payment_intent": intent.id, "amount": 500}, {"idempotency_key": "rf_2"})
        listed = client.v1.refunds.list({"payment_intent": intent.id, "limit": 1})
        found = [one.amount for one in listed.auto_paging_iter()]
        sessions = client.v1.checkout.sessions.list({"payment_intent": intent.id}).data
        return refund, found, client.v1.refunds.retrieve(refund.id), [one.id for one in sessions]

    refund, found, again, sessions = await asyncio.to_thread(settle)
    assert (refund.status, refund.amount, again.id) == ("succeeded", 1000, refund.id)
    assert found == [500, 1000]
    assert sessions == [session.id]

    def close() -> Any:
        other = client.v1.checkout.sessions.create({**wish, "client_reference_id": "sdk_2"})
        return client.v1.checkout.sessions.expire(other.id)

    assert (await asyncio.to_thread(close)).status == "expired"
    for wrong in (
        lambda: client.v1.checkout.sessions.expire(session.id),
        lambda: client.v1.checkout.sessions.retrieve("cs_test_x"),
        lambda: client.v1.refunds.create({"payment_intent": intent.id, "amount": 1501}),
        lambda: client.v1.products.create({"id": "sdk_1", "name": "x", "shippable": True}),
    ):
        with pytest.raises(stripe.InvalidRequestError):
            await asyncio.to_thread(wrong)

    def keep() -> Any:
        made = client.v1.products.create({"id": "sdk_1", "name": "x", "metadata": {"session": session.id}})
        with pytest.raises(stripe.InvalidRequestError) as twice:
            client.v1.products.create({"id": "sdk_1", "name": "x"})
        return made, client.v1.products.retrieve("sdk_1"), twice.value.code

    made, kept, code = await asyncio.to_thread(keep)
    assert (made.id, kept.metadata["session"], code) == ("sdk_1", session.id, "resource_already_exists")
    stranger = stripe.StripeClient("sk_test_other", base_addresses={"api": far.base_url}, max_network_retries=0)
    with pytest.raises(stripe.AuthenticationError):
        await asyncio.to_thread(lambda: stranger.v1.refunds.list())
    assert [(one.reference, one.amount_minor, one.currency) for one in far.captures] == [("sdk_1", 3000, "USD")]


async def test_stripes_own_client_believes_the_events(served: Served) -> None:
    client, far = their_client(served), served.stripe
    wish: Any = {"line_items": [{"price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "x"}}}]}
    wish |= {"mode": "payment", "client_reference_id": "sdk_3", "success_url": "https://us.example/"}
    served.shop.notices.clear()
    await asyncio.to_thread(lambda: client.v1.checkout.sessions.create(wish))
    assert far.pay("sdk_3")
    assert far.dispute("sdk_3")
    for _ in range(200):
        if len(served.shop.notices) == 2:
            break
        await asyncio.sleep(0.02)
    events = {}
    for notice in served.shop.notices:
        event = stripe.Webhook.construct_event(notice.body, notice.headers["stripe-signature"], SECRET)
        events[event.type] = event.data.object
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(notice.body, notice.headers["stripe-signature"], "whsec_other")
    assert events["checkout.session.completed"].payment_status == "paid"
    dispute = events["charge.dispute.created"]
    assert (dispute.status, dispute.amount) == ("needs_response", 500)

    def give_in() -> Any:
        stored = client.v1.disputes.list({"payment_intent": dispute.payment_intent}).data
        happened = client.v1.events.list({"type": "charge.dispute.created"}).data
        return [one.id for one in stored], len(happened), client.v1.disputes.close(dispute.id)

    ids, happened, closed = await asyncio.to_thread(give_in)
    assert (ids, happened, closed.status) == ([dispute.id], 1, "lost")
    with pytest.raises(stripe.InvalidRequestError):
        await asyncio.to_thread(lambda: client.v1.disputes.close(dispute.id))


async def test_our_own_signatures_satisfy_their_client() -> None:
    body = b'{"object": "event", "id": "evt_1", "type": "x", "data": {"object": {}}}'
    header = payments.shelf()["card"].signature(SECRET, body, datetime.now(UTC))
    assert stripe.Webhook.construct_event(body, header, SECRET).id == "evt_1"


async def test_stripes_own_client_runs_a_report(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client, far = their_client(served), served.stripe
    monkeypatch.setattr(card, "REPORT_TAKES_S", 0.0)
    until = int(far._now().timestamp())
    wish: Any = {"report_type": "balance_change_from_activity.itemized.6"}
    wish["parameters"] = {"interval_start": until - 86400, "interval_end": until, "columns": ["currency", "net"]}

    def run() -> Any:
        made = client.v1.reporting.report_runs.create(wish)
        return client.v1.reporting.report_runs.retrieve(made.id)

    done = await asyncio.to_thread(run)
    assert done.status == "succeeded"
    async with httpx2.AsyncClient(trust_env=False, headers=headers()) as browser:
        report = await browser.get(done.result.url)
    assert report.text.splitlines()[0] == "currency,net"


async def test_the_shown_pages_are_kept_from_scripts_and_caches(served: Served) -> None:
    async with httpx2.AsyncClient(trust_env=False) as browser:
        index = await browser.get(served.stripe.base_url)
    assert index.status_code == 200
    assert "default-src 'none'" in index.headers["content-security-policy"]
    assert index.headers["cache-control"] == "no-store"


async def test_an_event_that_cannot_be_delivered_comes_again() -> None:
    world, simulator, method, inbox = a_world()

    simulator.webhook_url = "https://nobody.example"
    await paid(world, simulator, method)
    await world.advance()
    simulator.webhook_url = US
    await world.advance(REPEATS_S[0])
    assert kinds(inbox) == ["checkout.session.completed"]
