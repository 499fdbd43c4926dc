"""DT One: against its own simulator for each trouble, in both steps, and with answers bent by hand."""

import json
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.errors import BadInput, NotVerified
from refill.money import Money, money
from refill.operators import Delivery, PriceLine, Recharge, SupplierNotice, suppliers_by_name
from refill.operators.dtone import DOUBTFUL, PERHAPS, REASONS, REFUSES, DtOne
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, Done, Outcome, Refused, Unknown
from refill.simulators.dtone import SUFFIXES, WHAT_HAPPENS, DtOneSimulator
from refill.world import NoAnswer, Request, Response

URL, US = "https://dvs.example", "https://us.example/callbacks/suppliers/dtone"
CALLBACK = "https://dtone:only-for-these-tests@us.example/callbacks/suppliers/dtone"
SETTINGS = {
    "dtone_key": "refill",
    "dtone_secret": "a secret of these tests",
    "dtone_products": "northtel=3000",
    "dtone_callback_url": CALLBACK,
    "dtone_url": URL,
}


def an_account(**other: str) -> DtOne:
    made = suppliers_by_name({**SETTINGS, **{f"dtone_{name}": value for name, value in other.items()}})["dtone"]
    assert isinstance(made, DtOne)
    return made


DTONE = an_account()


def a_recharge(msisdn: str = "8613800138000", request_id: str = "rq_1", **other: Any) -> Recharge:
    ask = Recharge(request_id, msisdn, money("50 CNY"), "northtel", "airtime", MORNING + timedelta(hours=1))
    return replace(ask, **other)


def ending(trouble: str) -> str:
    return "861380013" + next(end for end, what in SUFFIXES.items() if what == trouble)


def a_world(**settings: Any) -> tuple[FixedWorld, DtOneSimulator, Inbox]:
    world, inbox = FixedWorld(), Inbox()
    far = DtOneSimulator(**world.surroundings(), secret=SETTINGS["dtone_secret"], base_url=URL, **settings)
    world.route(URL, far.handle)
    world.route(US, inbox.handle)
    return world, far, inbox


def credited(far: DtOneSimulator) -> list[int]:
    return [credit.face_minor for credit in far.credits]


def paths(world: FixedWorld) -> list[str]:
    return [f"{one.method} {one.url.removeprefix(URL)}" for one in world.sent if one.url.startswith(URL)]


def kind(outcome: Outcome[Delivery]) -> str:
    return type(outcome).__name__.lower()


async def sent_again(world: FixedWorld, supplier: DtOne, ask: Recharge) -> Outcome[Delivery]:
    """As the flow does where `dedups_our_reference`: asks, and what never arrived is sent again."""
    outcome = await supplier.inquire(world, ask)
    return await supplier.recharge(world, ask) if outcome == Unknown(NOT_FOUND) else outcome


async def test_credit_arrives_abroad_and_leaves_an_account_in_euros() -> None:
    world, far, _ = a_world(available_minor=10_000)
    delivered = await DTONE.recharge(world, a_recharge())
    assert isinstance(delivered, Done)
    assert delivered.reference == Delivery("2237000000", "8613800138000", money("50 CNY"), money("6.33 EUR"))
    assert credited(far) == [5000]
    assert await DTONE.balance(world, "EUR") == Done(Money(10_000 - 633, "EUR"))
    assert await DTONE.balance(world, "CNY") == Unknown("DT One's answer is about another currency.", "WRONG_CURRENCY")
    assert await DTONE.inquire(world, a_recharge()) == delivered


# What each trouble comes to: (at once, an inquiry at once, an inquiry two minutes later, credit at the end)
DELIVERED, PERHAPS_, REFUSED = "done", "unknown", "refused"
COMES_TO = {
    "slow": (DELIVERED, DELIVERED, DELIVERED, [5000]),
    "lost": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "refused": (REFUSED, REFUSED, REFUSED, []),
    "hidden": (PERHAPS_, PERHAPS_, PERHAPS_, []),
    "duplicate": (PERHAPS_, PERHAPS_, PERHAPS_, [5000]),
    "odd_code": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "partial": (DELIVERED, DELIVERED, DELIVERED, [2500]),
    "html": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "truncated": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "wrong_amount": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "wrong_number": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "not_ours": (REFUSED, REFUSED, REFUSED, []),
    "empty_float": (REFUSED, PERHAPS_, PERHAPS_, []),
    "later": (PERHAPS_, PERHAPS_, DELIVERED, [5000]),
    "fails_later": (PERHAPS_, PERHAPS_, REFUSED, []),
    "contradicts": (DELIVERED, DELIVERED, DELIVERED, [5000]),
    "huge": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "busy": (REFUSED, REFUSED, REFUSED, []),
    "reversed": (DELIVERED, DELIVERED, PERHAPS_, [5000]),
    "silent": (PERHAPS_, PERHAPS_, PERHAPS_, []),
    "error_500": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "order_lost": (PERHAPS_, PERHAPS_, PERHAPS_, []),
    "confirmed_late": (PERHAPS_, PERHAPS_, DELIVERED, [5000]),
}
NEVER_CONFIRMED = {"hidden", "order_lost", "empty_float"}


@pytest.mark.parametrize("trouble", sorted(WHAT_HAPPENS))
async def test_what_a_trouble_comes_to(trouble: str) -> None:
    world, far, inbox = a_world()
    ask = a_recharge(ending(trouble))
    at_once, asked = await DTONE.recharge(world, ask), await DTONE.inquire(world, ask)
    await world.advance(120)
    later = await DTONE.inquire(world, ask)
    assert (kind(at_once), kind(asked), kind(later), credited(far)) == COMES_TO[trouble]
    notices = {DTONE.read_notice(notice.body, notice.headers).request_id for notice in inbox.notices}
    assert notices == (set() if trouble in NEVER_CONFIRMED | {"silent"} else {"rq_1"})


@pytest.mark.parametrize("trouble", sorted(WHAT_HAPPENS))
async def test_told_later_it_is_the_inquiry_that_knows(trouble: str) -> None:
    world, far, _ = a_world()
    dtone, ask = an_account(wait="no"), a_recharge(ending(trouble))
    await dtone.recharge(world, ask)
    assert not any("/sync/" in path for path in paths(world))
    await world.advance(120)
    assert kind(await dtone.inquire(world, ask)) == COMES_TO[trouble][2]
    assert credited(far) == COMES_TO[trouble][3]


@pytest.mark.parametrize("trouble", sorted(WHAT_HAPPENS))
async def test_what_never_arrived_is_sent_again_and_credited_once(trouble: str) -> None:
    world, far, _ = a_world()
    ask = a_recharge(ending(trouble))
    await DTONE.recharge(world, ask)
    for _ in range(3):
        await world.advance(30)
        await sent_again(world, DTONE, ask)
    assert credited(far) == ([5000] if trouble in ("hidden", "order_lost") else COMES_TO[trouble][3])


async def test_an_order_whose_answer_was_lost_is_found_and_confirmed_under_the_same_name() -> None:
    world, far, _ = a_world()
    ask = a_recharge(ending("order_lost"))
    assert isinstance(await DTONE.recharge(world, ask), Unknown)
    assert await DTONE.inquire(world, ask) == Unknown(NOT_FOUND), "it stands there, unconfirmed"
    assert isinstance(await DTONE.recharge(world, ask), Done)
    assert paths(world)[-3:] == [
        "POST /v1/async/transactions",
        "GET /v1/transactions?external_id=rq_1",
        "POST /v1/sync/transactions/2237000000/confirm",
    ]
    assert credited(far) == [5000]


async def test_what_nobody_confirmed_within_their_hour_can_never_be() -> None:
    world, far, _ = a_world()
    ask = a_recharge(ending("order_lost"), send_before=MORNING + timedelta(days=1))
    await DTONE.recharge(world, ask)
    await world.advance(3600)
    assert await DTONE.recharge(world, ask) == Unknown(PERHAPS["1007004"])
    assert isinstance(await DTONE.inquire(world, ask), Refused)
    assert (credited(far), far.holding_minor) == ([], 0)
    assert DTONE.flags.not_found_is_final_after
    assert DTONE.flags.not_found_is_final_after > timedelta(hours=1)


async def test_who_is_too_late_for_the_second_step_has_ordered_nothing() -> None:
    world, far, _ = a_world()

    async def slow(request: Request) -> Response:
        await world.advance(30)
        return await far.handle(request)

    world.route(f"{URL}/v1/async", slow)
    ask = a_recharge(send_before=MORNING + timedelta(seconds=10))
    assert await DTONE.recharge(world, ask) == Unknown(NOT_FOUND)
    assert paths(world) == ["POST /v1/async/transactions"]
    assert credited(far) == []


@pytest.mark.parametrize(
    ("agreed", "outcome"), [("6.33 EUR", Done), ("6.32 EUR", Refused), ("6.32 USD", Done), (None, Done)]
)
async def test_what_costs_more_than_was_agreed_is_not_confirmed(agreed: str | None, outcome: type) -> None:
    world, far, _ = a_world()
    answer = await DTONE.recharge(world, a_recharge(most_cost=money(agreed) if agreed else None))
    assert type(answer) is outcome
    assert credited(far) == ([5000] if outcome is Done else [])


async def test_a_price_that_cannot_be_read_stops_no_order() -> None:
    told = {**GOOD, **in_status(1, "CREATED"), "prices": [1]}

    async def answers(request: Request) -> Response:
        return Response(200, {}, json.dumps(GOOD if request.url.endswith("/confirm") else told).encode())

    world = FixedWorld()
    world.route("", answers)
    assert isinstance(await DTONE.recharge(world, a_recharge(most_cost=money("1 EUR"))), Done)


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_goes_wrong_done_means_credited_and_refused_means_never(seed: int) -> None:
    world, far, _ = a_world()
    world.dice.seed(seed)
    far.troubles.chances = dict.fromkeys(world.dice.sample((*WHAT_HAPPENS, "inquiry_lost", "inquiry_html"), 5), 0.2)
    for number in range(10):
        ask = a_recharge(request_id=f"rq_{number}")
        outcomes = [await DTONE.recharge(world, ask)]
        for wait in (0, 5, 30, 90):
            await world.advance(wait)
            outcomes.append(await sent_again(world, DTONE, ask))
        truth = [credit.face_minor for credit in far.credits if credit.request_id == ask.request_id]
        assert len(truth) <= 1
        assert all(truth == [outcome.reference.face.minor] for outcome in outcomes if isinstance(outcome, Done))
        if any(isinstance(outcome, Refused) and outcome.code != "1006001" for outcome in outcomes):
            assert truth == []
        if isinstance(outcomes[-1], Refused):
            assert truth == []


# The wire


async def test_the_wire_carries_the_number_in_its_body_and_the_amount_in_all_its_digits() -> None:
    world, _, _ = a_world()
    await DTONE.recharge(world, a_recharge())
    await DTONE.inquire(world, a_recharge())
    assert not any("13800138000" in request.url for request in world.sent)
    order = world.sent[0]
    assert b'"amount":50.00' in order.body
    assert json.loads(order.body) == {
        "external_id": "rq_1",
        "product_id": 3000,
        "auto_confirm": False,
        "calculation_mode": "DESTINATION_AMOUNT",
        "destination": {"unit_type": "CURRENCY", "unit": "CNY", "amount": 50.0},
        "credit_party_identifier": {"mobile_number": "+8613800138000"},
        "callback_url": CALLBACK,
    }
    assert order.headers["authorization"] == "Basic " + b64encode(b"refill:a secret of these tests").decode()


@pytest.mark.parametrize(
    ("products", "other", "chosen"),
    [
        ("northtel=3000 northtel/50.00=3021", {}, (3021, False)),
        ("northtel=3000 northtel/50.00=3021", {"face": money("30 CNY")}, (3000, True)),
        ("northtel=3000,northtel/data=77", {"product": "data"}, (77, False)),
    ],
)
async def test_a_fixed_product_carries_no_amount(
    products: str, other: dict[str, Any], chosen: tuple[int, bool]
) -> None:
    world, _, _ = a_world()
    await an_account(products=products).recharge(world, a_recharge(**other))
    order = json.loads(world.sent[0].body)
    assert (order["product_id"], "destination" in order) == chosen


async def test_a_product_of_fixed_value_is_delivered() -> None:
    world, far, _ = a_world()
    assert isinstance(await an_account(products="northtel/50.00=3021").recharge(world, a_recharge()), Done)
    assert credited(far) == [5000]


async def test_what_we_do_not_buy_there_is_refused_unasked() -> None:
    world, _, _ = a_world()
    refused = await an_account(products="northtel/50.00=3021").recharge(world, a_recharge(face=money("30 CNY")))
    assert isinstance(refused, Refused)
    assert (refused.final, world.sent) == (False, [])


async def test_a_drained_account_parks_and_a_filled_one_delivers() -> None:
    world, far, _ = a_world(available_minor=632)
    assert await DTONE.recharge(world, a_recharge()) == Refused(EMPTY_FLOAT, "1006001", final=False)
    far.available_minor += 1
    assert isinstance(await DTONE.recharge(world, a_recharge()), Done), "the name was not used up"
    assert await DTONE.balance(world, "EUR") == Done(Money(0, "EUR"))


async def test_with_another_secret_nothing_is_done_and_nothing_told() -> None:
    world, far, _ = a_world()
    stranger = an_account(secret="another")
    refused = await stranger.recharge(world, a_recharge())
    assert isinstance(refused, Refused)
    assert (refused.code, refused.final) == ("1000401", False)
    assert isinstance(await stranger.inquire(world, a_recharge()), Unknown)
    assert isinstance(await stranger.balance(world, "EUR"), Unknown)
    assert credited(far) == []


def test_no_secret_is_shown() -> None:
    assert not any(secret in repr(DTONE) for secret in ("a secret of these tests", "only-for-these-tests"))


# Answers bent by hand


GOOD: dict[str, Any] = {
    "id": 2237512891,
    "external_id": "rq_1",
    "status": {"id": 70000, "message": "COMPLETED", "class": {"id": 7, "message": "COMPLETED"}},
    "product": {"id": 3000},
    "prices": {"wholesale": {"amount": 6.3, "fee": 0.05, "unit": "EUR", "unit_type": "CURRENCY"}},
    "benefits": [{"type": "CREDITS", "unit_type": "CURRENCY", "unit": "CNY", "amount": {"base": 50}}],
    "credit_party_identifier": {"mobile_number": "+8613800138000"},
}


def world_that_says(said: object, status: int = 200) -> FixedWorld:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()

    async def handle(request: Request) -> Response:
        return Response(status, {}, body)

    world = FixedWorld()
    world.route("", handle)
    return world


def in_status(stage: object, message: str = "") -> dict[str, Any]:
    return {"status": {"id": 1, "message": message, "class": {"id": stage, "message": message.partition("-")[0]}}}


def credits(base: object, unit: str = "CNY") -> list[dict[str, Any]]:
    return [{"type": "CREDITS", "unit": unit, "amount": {"base": base}}]


async def test_a_cost_is_read_with_its_fee_in_its_own_currency() -> None:
    delivered = await DTONE.inquire(world_that_says([GOOD]), a_recharge())
    assert delivered == Done(Delivery("2237512891", "8613800138000", money("50 CNY"), money("6.35 EUR")))
    untold = await DTONE.inquire(world_that_says([{**GOOD, "prices": None}]), a_recharge())
    assert untold == Done(Delivery("2237512891", "8613800138000", money("50 CNY"), None))


async def test_a_bundle_without_credit_is_delivered_as_the_product_that_was_ordered() -> None:
    data = {**GOOD, "benefits": [{"type": "DATA", "unit": "MB", "amount": {"base": 100}}], "product": {"id": 77}}
    bundles = an_account(products="northtel/data=77 northtel=3000")
    bundle = a_recharge(product="data")
    assert isinstance(await bundles.inquire(world_that_says([data]), bundle), Done)
    other = {**data, "product": {"id": 78}}
    assert isinstance(await bundles.inquire(world_that_says([other]), bundle), Unknown)
    assert isinstance(await bundles.inquire(world_that_says([data]), a_recharge()), Unknown), "airtime was ordered"


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"external_id": "RQ_1"}, "OTHER_REQUEST"),
        ({"external_id": None}, "OTHER_REQUEST"),
        ({"credit_party_identifier": {"mobile_number": "+8613800138001"}}, "WRONG_NUMBER"),
        ({"credit_party_identifier": {}}, "WRONG_NUMBER"),
        ({"credit_party_identifier": None}, "WRONG_NUMBER"),
        ({"benefits": credits(50.01)}, "WRONG_AMOUNT"),
        ({"benefits": credits(0)}, "WRONG_AMOUNT"),
        ({"benefits": credits("５０")}, "WRONG_AMOUNT"),
        ({"benefits": credits(True)}, "WRONG_AMOUNT"),
        ({"benefits": credits(50, "USD")}, "WRONG_AMOUNT"),
        ({"benefits": credits(50) * 2}, "WRONG_AMOUNT"),
        ({"benefits": [{"type": "CREDITS"}]}, "WRONG_AMOUNT"),
        ({"benefits": "50"}, "WRONG_AMOUNT"),
        ({"benefits": None}, "WRONG_AMOUNT"),
        ({"prices": {"wholesale": {"amount": -1, "unit": "EUR"}}}, "WRONG_AMOUNT"),
        ({"prices": [1]}, "WRONG_AMOUNT"),
        ({"id": None}, "NO_REFERENCE"),
        ({"status": None}, "none"),
        ({"status": {"class": 7}}, "None"),
        (in_status(6, "PAUSED"), "PAUSED"),
        (in_status("COMPLETED", "COMPLETED"), "COMPLETED"),
        (in_status(8, "REVERSED"), "REVERSED"),
        (in_status(2), ""),
        (in_status(5), ""),
        ({"errors": [{"code": 1004711}]}, "1004711"),
        ({"errors": []}, "none"),
        ({"errors": None}, "none"),
    ],
    ids=str,
)
async def test_what_is_not_exactly_our_request_is_unknown_and_alarms(other: dict[str, Any], code: str) -> None:
    answer = await DTONE.recharge(world_that_says({**GOOD, **other}), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.code == code


@pytest.mark.parametrize("status", [200, 201, 202, 400, 404, 409, 429, 500, 503])
async def test_the_http_status_decides_nothing(status: int) -> None:
    assert isinstance(await DTONE.recharge(world_that_says(GOOD, status), a_recharge()), Done)
    busy = {"errors": [{"code": 1000429, "message": "Too many requests"}]}
    assert isinstance(await DTONE.recharge(world_that_says(busy, status), a_recharge()), Refused)
    assert isinstance(await DTONE.recharge(world_that_says({"message": "No."}, status), a_recharge()), Unknown)


@pytest.mark.parametrize("code", sorted(REFUSES))
async def test_a_refusal_of_the_table_is_one_of_the_order_alone(code: str) -> None:
    said = {"errors": [{"code": int(code), "message": "No."}]}
    assert await DTONE.recharge(world_that_says(said), a_recharge()) == replace(REFUSES[code], code=code)
    assert isinstance(await DTONE.inquire(world_that_says(said), a_recharge()), Unknown)

    async def only_the_confirmation(request: Request) -> Response:
        told = said if request.url.endswith("/confirm") else {**GOOD, **in_status(1, "CREATED")}
        return Response(400, {}, json.dumps(told).encode())

    world = FixedWorld()
    world.route("", only_the_confirmation)
    assert isinstance(await DTONE.recharge(world, a_recharge()), Unknown), "it may be confirmed already"


@pytest.mark.parametrize("code", sorted(PERHAPS))
async def test_a_perhaps_of_the_table_alarms_nobody(code: str) -> None:
    said = {"errors": [{"code": int(code), "message": "Perhaps."}]}
    assert await DTONE.recharge(world_that_says(said), a_recharge()) == Unknown(PERHAPS[code])


@pytest.mark.parametrize("end", sorted(REASONS))
async def test_the_status_says_why_and_the_class_that(end: str) -> None:
    for stage, word in ((3, "REJECTED"), (9, "DECLINED")):
        answer = await DTONE.inquire(world_that_says([{**GOOD, **in_status(stage, word + end)}]), a_recharge())
        assert answer == replace(REASONS[end], code=word + end)


@pytest.mark.parametrize(
    ("stage", "message"), [(3, "REJECTED"), (4, "CANCELLED"), (9, "DECLINED"), (9, "DECLINED-NEW")]
)
async def test_a_class_without_a_reason_is_still_a_no(stage: int, message: str) -> None:
    answer = await DTONE.inquire(world_that_says([{**GOOD, **in_status(stage, message)}]), a_recharge())
    assert isinstance(answer, Refused)
    assert (answer.code, answer.final) == (message, False)


@pytest.mark.parametrize("message", sorted(DOUBTFUL))
async def test_a_duplicate_at_the_operator_is_asked_about_never_refused(message: str) -> None:
    answer = await DTONE.inquire(world_that_says([{**GOOD, **in_status(9, message)}]), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.code == message


@pytest.mark.parametrize("said", [[], {"errors": [{"code": 1008004}]}, [{**GOOD, **in_status(1, "CREATED")}]], ids=str)
async def test_not_found_and_unconfirmed_are_the_same_to_the_flow(said: object) -> None:
    assert await DTONE.inquire(world_that_says(said), a_recharge()) == Unknown(NOT_FOUND)


@pytest.mark.parametrize(
    "said", [[{**GOOD, "external_id": "RQ_1"}], [GOOD, GOOD], ["rq_1"], {}, {"errors": []}], ids=str
)
async def test_a_list_that_is_not_about_us_alone_proves_nothing(said: object) -> None:
    answer = await DTONE.inquire(world_that_says(said), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.why != NOT_FOUND


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b'"COMPLETED"',
        json.dumps(GOOD)[:-1].encode(),
        json.dumps(GOOD).encode()[:-1] + b', "id": 5}',
        json.dumps(GOOD).encode().replace(b'"base": 50', b'"base": NaN'),
        json.dumps(GOOD).encode().replace(b'"base": 50', b'"base": 5e1'),
        json.dumps(GOOD).encode("utf-16"),
        json.dumps({**GOOD, "more": "x" * (1 << 20)}).encode(),
    ],
    ids=len,
)
async def test_rubbish_is_rubbish_and_is_not_repeated_to_anybody(body: bytes) -> None:
    answer = await DTONE.recharge(world_that_says(body), a_recharge())
    assert isinstance(answer, Unknown)
    assert "13800138000" not in answer.why


@pytest.mark.parametrize("number", [None, "1/../2", "x", 10**30])
async def test_only_a_number_of_theirs_is_confirmed(number: object) -> None:
    world = world_that_says({**GOOD, **in_status(1, "CREATED"), "id": number})
    assert isinstance(await DTONE.recharge(world, a_recharge()), Unknown)
    assert len(world.sent) == 1


async def test_an_order_that_they_took_for_another_number_is_not_confirmed() -> None:
    world = world_that_says({**GOOD, **in_status(1), "credit_party_identifier": {"mobile_number": "+8613800138001"}})
    answer = await DTONE.recharge(world, a_recharge())
    assert isinstance(answer, Unknown)
    assert (answer.code, len(world.sent)) == ("WRONG_NUMBER", 1)


@pytest.mark.parametrize(
    "said", [[{"unit_type": "CURRENCY", "unit": "EUR"}], [], [5], {}, {"errors": [{"code": 1006009}]}], ids=str
)
async def test_a_balance_that_cannot_be_read_is_unknown(said: object) -> None:
    assert isinstance(await DTONE.balance(world_that_says(said), "EUR"), Unknown)


# The price list


async def test_the_price_list_of_the_simulator_is_read_to_its_last_page() -> None:
    world, _, _ = a_world()
    answer = await DTONE.price_list(world)
    assert isinstance(answer, Done)
    here = {"operator": "1596", "country": "CHN"}
    ends = {
        "face": money("10 CNY"),
        "cost": money("1.27 EUR"),
        "most": money("500 CNY"),
        "most_cost": money("63.30 EUR"),
    }
    assert answer.reference.lines == (
        PriceLine(**here, product="3000", name="Northtel range", kind="range", **ends),
        PriceLine(
            **here, product="3021", name="Northtel fixed", kind="fixed", face=money("50 CNY"), cost=money("6.33 EUR")
        ),
    )
    assert answer.reference.unread == ()


async def test_what_is_not_a_recharge_for_money_is_named() -> None:
    price = {"wholesale": {"amount": 1, "fee": 0, "unit": "EUR", "unit_type": "CURRENCY"}}
    unit = {"amount": 5, "unit": "CNY", "unit_type": "CURRENCY"}
    good = {
        "id": 1,
        "type": "FIXED_VALUE_RECHARGE",
        "operator": {"id": 9},
        "destination": unit,
        "prices": price,
    }
    bad: list[object] = [
        {**good, "id": 2, "type": "FIXED_VALUE_PIN_PURCHASE"},
        {**good, "id": 3, "destination": {**unit, "unit_type": "DATA"}},
        {**good, "id": 4, "destination": {**unit, "amount": {"min": 1}}},
        {**good, "id": 5, "prices": None},
        {**good, "id": 6, "destination": {**unit, "unit": "XXX"}},
        "7",
    ]
    answer = await DTONE.price_list(world_that_says([good, *bad]))
    assert isinstance(answer, Done)
    assert [line.product for line in answer.reference.lines] == ["1"]
    assert answer.reference.unread == ("2", "3", "4", "5", "6", "")


async def test_a_list_that_breaks_off_or_never_ends_is_unknown() -> None:
    async def endless(request: Request) -> Response:
        return Response(200, {"x-next-page": "2"}, b"[]")

    world = FixedWorld()
    world.route("", endless)
    assert isinstance(await DTONE.price_list(world), Unknown)
    assert isinstance(await DTONE.price_list(world_that_says({"errors": [{"code": 1009001}]})), Unknown)
    assert isinstance(await DTONE.price_list(world_that_says(b"<html>")), Unknown)
    assert isinstance(await DTONE.price_list(FixedWorld()), Unknown)


# Callbacks


def a_notice(said: object = GOOD, password: str = "only-for-these-tests") -> tuple[bytes, dict[str, str]]:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return body, {"authorization": "Basic " + b64encode(f"dtone:{password}".encode()).decode()}


def test_a_callback_that_holds_names_a_request_and_no_more() -> None:
    assert DTONE.read_notice(*a_notice()) == SupplierNotice("2237512891.70000", "rq_1")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        a_notice(password="another"),
        (a_notice()[0], {}),
        (a_notice()[0], {"authorization": "Básic 签名"}),
        a_notice([]),
        a_notice({}),
        a_notice({**GOOD, "external_id": None}),
        a_notice({**GOOD, "external_id": "x" * 65}),
        a_notice({**GOOD, "status": 7}),
        a_notice(b'{"id":1,"id":2}'),
        a_notice(b"[" * 60_000),
        a_notice(b"x" * 70_000),
    ],
    ids=str,
)
def test_a_callback_that_does_not_hold_is_refused(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(NotVerified):
        DTONE.read_notice(body, headers, MORNING)


def test_without_an_address_of_ours_no_callback_is_believed() -> None:
    with pytest.raises(NotVerified):
        an_account(callback_url="").read_notice(*a_notice(password=""))


async def test_a_callback_comes_again_until_it_is_accepted() -> None:
    world, _, inbox = a_world()
    inbox.answer = Response(503, {}, b"")
    await DTONE.recharge(world, a_recharge())
    await world.advance(10)
    assert len(inbox.notices) == 2
    inbox.answer = Response(200, {}, b"")
    await world.advance(3600)
    assert len(inbox.notices) == 3
    assert "only-for-these-tests" not in inbox.notices[0].url


# Settings


def test_the_flags_are_those_that_the_firm_allows() -> None:
    assert (DTONE.flags.dedups_our_reference, DTONE.flags.can_reverse, DTONE.flags.timeout_s) == (True, False, 60)
    assert an_account(timeout_s="30").flags.timeout_s == 30
    assert set(suppliers_by_name({})) == {"pins"}  # our own stock needs no setting


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret", ""),
        ("products", ""),
        ("products", "northtel"),
        ("products", "northtel=auto"),
        ("products", "=5"),
        ("timeout_s", "1.5"),
        ("url", "http://dvs.example"),
        ("callback_url", "https://us.example/callbacks/suppliers/dtone"),
        ("callback_url", "https://dtone:short@us.example/"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"dtone_{name}"):
        an_account(**{name: value})


async def test_nobody_answers() -> None:
    async def silence(request: Request) -> Response:
        raise NoAnswer("reset")

    world = FixedWorld()
    world.route("", silence)
    for answer in (
        await DTONE.recharge(world, a_recharge()),
        await DTONE.inquire(world, a_recharge()),
        await DTONE.balance(world, "EUR"),
        await DTONE.price_list(world),
    ):
        assert answer == Unknown("DT One did not answer.")
