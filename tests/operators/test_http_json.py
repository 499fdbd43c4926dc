"""The generic upstream: against its own simulator for each trouble, and with answers bent by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.operators.wires import DELIVERED, PERHAPS, REFUSED, a_recharge, credited, ending, kind
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.errors import BadInput, NotVerified
from refill.money import Money, money
from refill.operators import Flags, SupplierNotice, suppliers_by_name
from refill.operators.http_json import FRESH, HttpJson, signature
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_THEIRS, Done, Refused, Unknown
from refill.simulators.operator import WHAT_HAPPENS, OperatorSimulator
from refill.world import Request, Response

SECRET = b"only for these tests"
FLAGS = Flags(dedups_our_reference=True, not_found_is_final_after=timedelta(minutes=10), can_reverse=False)
NORTHTEL = HttpJson("northtel", "https://northtel.example/api", SECRET, FLAGS)
US = "https://us.example/callbacks/northtel"


def a_world(**settings: Any) -> tuple[FixedWorld, OperatorSimulator, Inbox]:
    world, inbox = FixedWorld(), Inbox()
    operator = OperatorSimulator(
        **world.surroundings(),
        secret=SECRET,
        base_url=NORTHTEL.base_url,
        notify_url=US,
        **settings,
    )
    world.route(NORTHTEL.base_url, operator.handle)
    world.route(US, inbox.handle)
    return world, operator, inbox


async def test_credit_arrives_and_leaves_the_float() -> None:
    world, operator, _ = a_world(float_minor=100_000)
    delivered = await NORTHTEL.recharge(world, a_recharge())
    assert isinstance(delivered, Done)
    assert delivered.reference.face == money("50 CNY")
    assert delivered.reference.cost == money("49.25 CNY")
    assert credited(operator) == [5000]
    assert await NORTHTEL.balance(world, "CNY") == Done(Money(100_000 - 4925, "CNY"))
    assert await NORTHTEL.inquire(world, a_recharge()) == delivered


# What each trouble comes to: (our answer at once, an inquiry at once, an inquiry two minutes later, credit at the end)
COMES_TO = {
    "slow": (DELIVERED, DELIVERED, DELIVERED, [5000]),
    "lost": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "refused": (REFUSED, REFUSED, REFUSED, []),
    "hidden": (PERHAPS, PERHAPS, DELIVERED, [5000]),
    "duplicate": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "odd_code": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "partial": (DELIVERED, DELIVERED, DELIVERED, [2500]),
    "html": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "truncated": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "wrong_amount": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "wrong_number": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "not_ours": (REFUSED, REFUSED, REFUSED, []),
    "empty_float": (REFUSED, REFUSED, REFUSED, []),
    "later": (PERHAPS, PERHAPS, DELIVERED, [5000]),
    "fails_later": (PERHAPS, PERHAPS, REFUSED, []),
    "contradicts": (DELIVERED, DELIVERED, DELIVERED, [5000]),
    "unsigned": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "huge": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "busy": (REFUSED, REFUSED, REFUSED, []),
    "reversed": (DELIVERED, DELIVERED, PERHAPS, [5000]),
    "silent": (PERHAPS, PERHAPS, PERHAPS, []),
    "error_500": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "spent": (DELIVERED, DELIVERED, DELIVERED, [5000]),
}


@pytest.mark.parametrize("trouble", sorted(WHAT_HAPPENS))
async def test_what_a_trouble_comes_to(trouble: str) -> None:
    world, operator, inbox = a_world()
    ask = a_recharge(ending(trouble))
    at_once, asked = await NORTHTEL.recharge(world, ask), await NORTHTEL.inquire(world, ask)
    await world.advance(120)
    later = await NORTHTEL.inquire(world, ask)
    assert (kind(at_once), kind(asked), kind(later), credited(operator)) == COMES_TO[trouble]
    assert operator.refused == (["rq_1"] if kind(later) == REFUSED else [])
    if trouble != "silent":
        assert {NORTHTEL.read_notice(notice.body, notice.headers).request_id for notice in inbox.notices} == {"rq_1"}


@pytest.mark.parametrize("trouble", sorted(WHAT_HAPPENS))
async def test_whatever_happens_asking_again_under_the_same_id_credits_once(trouble: str) -> None:
    world, operator, _ = a_world()
    for _ in range(3):
        await NORTHTEL.recharge(world, a_recharge(ending(trouble)))
        await world.advance(60)
    assert credited(operator) == COMES_TO[trouble][3]


async def test_a_supplier_that_does_not_know_our_ids_again_credits_twice() -> None:
    world, operator, _ = a_world(dedups=False)
    for _ in range(2):
        await NORTHTEL.recharge(world, a_recharge())
    assert credited(operator) == [5000, 5000]


async def test_a_reference_that_they_have_already_is_asked_about_never_refused() -> None:
    world, _, _ = a_world()
    ask = a_recharge(ending("duplicate"))
    await NORTHTEL.recharge(world, ask)
    again = await NORTHTEL.recharge(world, ask)
    assert again == Unknown("the operator has this request already: ask what became of it")
    assert isinstance(await NORTHTEL.inquire(world, ask), Done)


@pytest.mark.parametrize(
    ("trouble", "refused"),
    [
        ("not_ours", Refused(NOT_THEIRS, "NOT_OUR_SUBSCRIBER")),
        ("empty_float", Refused(EMPTY_FLOAT, "INSUFFICIENT_FLOAT", final=False)),
        ("busy", Refused("the operator is busy and has taken nothing", "BUSY", final=False)),
        ("refused", Refused("the operator takes no credit for this number", "NUMBER_BARRED")),
    ],
)
async def test_the_refusals_that_the_flow_reacts_to(trouble: str, refused: Refused) -> None:
    world, _, _ = a_world()
    assert await NORTHTEL.recharge(world, a_recharge(ending(trouble))) == refused


async def test_a_drained_float_parks_and_a_filled_one_delivers() -> None:
    world, operator, _ = a_world(float_minor=4924)
    assert (await NORTHTEL.recharge(world, a_recharge())) == Refused(EMPTY_FLOAT, "INSUFFICIENT_FLOAT", final=False)
    operator.float_minor += 1
    assert isinstance(await NORTHTEL.recharge(world, a_recharge(request_id="rq_2")), Done)
    assert await NORTHTEL.balance(world, "CNY") == Done(Money(0, "CNY"))


async def test_never_heard_of_it_is_not_a_refusal() -> None:
    world, _, _ = a_world()
    assert await NORTHTEL.inquire(world, a_recharge()) == Unknown(NOT_FOUND)


@pytest.mark.parametrize("ours_is_ahead", [timedelta(hours=8), timedelta(hours=-8)])
async def test_with_a_clock_eight_hours_off_nothing_is_done(ours_is_ahead: timedelta) -> None:
    world, operator, _ = a_world()
    world.clock += ours_is_ahead
    operator._now = lambda: MORNING
    answer = await NORTHTEL.recharge(world, a_recharge(send_before=MORNING + timedelta(days=1)))
    assert isinstance(answer, Unknown)
    assert credited(operator) == []


async def test_with_another_secret_nothing_is_done_and_nothing_believed() -> None:
    world, operator, _ = a_world()
    stranger = replace(NORTHTEL, secret=b"another secret")
    assert isinstance(await stranger.recharge(world, a_recharge()), Unknown)
    assert credited(operator) == []


async def test_the_wire_carries_the_order_in_its_body_and_no_number_in_its_address() -> None:
    world, _, _ = a_world()
    await NORTHTEL.recharge(world, a_recharge())
    await NORTHTEL.inquire(world, a_recharge())
    order, question = world.sent[0], world.sent[-1]
    assert (order.method, order.url) == ("POST", "https://northtel.example/api/recharges")
    assert json.loads(order.body) == {
        "request_id": "rq_1",
        "msisdn": "8613800138000",
        "face": "50.00",
        "currency": "CNY",
        "operator": "northtel",
        "product": "airtime",
    }
    assert order.timeout_s == FLAGS.timeout_s
    assert (question.method, question.url) == ("GET", "https://northtel.example/api/recharges/rq_1")


@pytest.mark.parametrize("seed", range(100))
async def test_whatever_goes_wrong_done_means_credited_and_refused_means_never(seed: int) -> None:
    world, operator, _ = a_world(delay_s=(0, 20))
    world.dice.seed(seed)
    troubles = (*WHAT_HAPPENS, "inquiry_lost", "inquiry_html")
    operator.troubles.chances = dict.fromkeys(world.dice.sample(troubles, 4), 0.2)
    for number in range(10):
        ask = a_recharge(request_id=f"rq_{number}")
        outcomes = [await NORTHTEL.recharge(world, ask)]
        for wait in (0, 5, 30, 90):
            await world.advance(wait)
            outcomes.append(await NORTHTEL.inquire(world, ask))
        truth = [credit.face_minor for credit in operator.credits if credit.request_id == ask.request_id]
        said = {type(outcome) for outcome in outcomes} - {Unknown}
        assert len(said) <= 1, "they never contradict themselves"
        assert all(truth == [outcome.reference.face.minor] for outcome in outcomes if isinstance(outcome, Done))
        assert truth == [] or Refused not in said


# Answers bent by hand, each correctly signed


GOOD = {
    "request_id": "rq_1",
    "status": "delivered",
    "supplier_reference": "N-77",
    "msisdn": "8613800138000",
    "face": "50.00",
    "currency": "CNY",
    "cost": "49.25",
}


def world_that_says(body: bytes, status: int = 200) -> FixedWorld:
    async def handle(request: Request) -> Response:
        signed = signature(SECRET, str(status), request.headers["x-signature"], "1795312800", body=body)
        return Response(status, {"x-timestamp": "1795312800", "x-signature": signed}, body)

    world = FixedWorld()
    world.route("", handle)
    return world


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"request_id": "RQ_1"}, "OTHER_REQUEST"),
        ({"request_id": "rq_2"}, "OTHER_REQUEST"),
        ({"request_id": None}, "OTHER_REQUEST"),
        ({"msisdn": "8613800138001"}, "WRONG_NUMBER"),
        ({"msisdn": 8613800138000}, "WRONG_NUMBER"),
        ({"face": "50.01"}, "WRONG_AMOUNT"),
        ({"face": "49.99"}, "WRONG_AMOUNT"),
        ({"face": 50.0}, "WRONG_AMOUNT"),
        ({"face": "5E+1"}, "WRONG_AMOUNT"),
        ({"face": "NaN"}, "WRONG_AMOUNT"),
        ({"face": "９９"}, "WRONG_AMOUNT"),
        ({"face": None}, "WRONG_AMOUNT"),
        ({"currency": "USD"}, "WRONG_AMOUNT"),
        ({"currency": "cny"}, "WRONG_AMOUNT"),
        ({"cost": "-1.00"}, "WRONG_AMOUNT"),
        ({"status": "partial"}, "WRONG_AMOUNT"),
        ({"status": "partial", "face": "0.00"}, "WRONG_AMOUNT"),
        ({"supplier_reference": ""}, "NO_REFERENCE"),
        ({"supplier_reference": "x" * 129}, "NO_REFERENCE"),
        ({"status": "refused", "code": "E-4711"}, "E-4711"),
        ({"status": "refused", "code": None}, "refused"),
        ({"status": "refused", "code": "not_our_subscriber"}, "not_our_subscriber"),
        ({"status": "SUCCESS"}, "SUCCESS"),
        ({"status": None}, "None"),
        ({"status": "reversed"}, "REVERSED"),
        ({"status": "refused", "code": "SYSTEM_ERROR"}, ""),
        ({"status": "processing"}, ""),
    ],
    ids=str,
)
async def test_what_is_not_exactly_our_request_is_unknown_and_alarms(other: dict[str, Any], code: str) -> None:
    answer = await NORTHTEL.recharge(world_that_says(json.dumps({**GOOD, **other}).encode()), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.code == code


@pytest.mark.parametrize("status", [200, 201, 202, 400, 404, 409, 500, 503])
async def test_the_http_status_decides_nothing(status: int) -> None:
    delivered = await NORTHTEL.recharge(world_that_says(json.dumps(GOOD).encode(), status), a_recharge())
    assert isinstance(delivered, Done)
    busy = json.dumps({**GOOD, "status": "refused", "code": "BUSY"}).encode()
    refused = await NORTHTEL.recharge(world_that_says(busy, status), a_recharge())
    assert isinstance(refused, Refused)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"delivered"',
        b"<html>",
        json.dumps(GOOD)[:-1].encode(),
        json.dumps(GOOD).encode()[:-1] + b', "face": "30.00"}',
        json.dumps(GOOD).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
        b'{"a":' * 100_000,
        json.dumps({**GOOD, "more": "x" * (1 << 20)}).encode(),
    ],
    ids=len,
)
async def test_signed_rubbish_is_rubbish(body: bytes) -> None:
    assert isinstance(await NORTHTEL.recharge(world_that_says(body), a_recharge()), Unknown)


@pytest.mark.parametrize(
    ("text", "balance"),
    [("0.00", 0), ("-0.00", 0), ("-12.50", -1250), ("1000000.00", 100_000_000), ("0", 0)],
)
async def test_a_float_may_stand_at_zero_or_below(text: str, balance: int) -> None:
    world = world_that_says(json.dumps({"balance": text, "currency": "CNY"}).encode())
    assert await NORTHTEL.balance(world, "CNY") == Done(Money(balance, "CNY"))


@pytest.mark.parametrize("said", [{"balance": 5, "currency": "CNY"}, {"balance": "5.00", "currency": "USD"}, {}])
async def test_a_balance_that_cannot_be_read_is_unknown(said: dict[str, Any]) -> None:
    assert isinstance(await NORTHTEL.balance(world_that_says(json.dumps(said).encode()), "CNY"), Unknown)


# Notices


def a_notice(body: bytes, at: datetime = MORNING, secret: bytes = SECRET) -> tuple[bytes, dict[str, str]]:
    stamp = str(int(at.timestamp()))
    return body, {"x-timestamp": stamp, "x-signature": signature(secret, "notice", stamp, body=body)}


NOTICE = b'{"id":"nt_1","request_id":"rq_1","status":"delivered"}'


def test_a_notice_that_holds_names_a_request_and_no_more() -> None:
    assert NORTHTEL.read_notice(*a_notice(NOTICE), received_at=MORNING) == SupplierNotice("nt_1", "rq_1")


@pytest.mark.parametrize(
    ("age", "fresh"), [(timedelta(0), True), (FRESH, True), (timedelta(days=1), False), (-timedelta(hours=8), False)]
)
def test_an_old_notice_still_makes_us_ask(age: timedelta, fresh: bool) -> None:
    assert NORTHTEL.read_notice(*a_notice(NOTICE), received_at=MORNING + age).fresh is fresh


def bent(change: Callable[[bytes, dict[str, str]], tuple[bytes, dict[str, str]]]) -> tuple[bytes, dict[str, str]]:
    return change(*a_notice(NOTICE))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        bent(lambda body, headers: (body + b" ", headers)),
        bent(lambda body, headers: (body, {**headers, "x-signature": ""})),
        bent(lambda body, headers: (body, {**headers, "x-signature": "签名"})),
        bent(lambda body, headers: (body, {**headers, "x-signature": "\udcff"})),
        bent(lambda body, headers: (body, {**headers, "x-timestamp": "1795312801"})),
        bent(lambda body, headers: (body, {**headers, "x-timestamp": "１７９５３１２８００"})),
        bent(lambda body, headers: (body, {**headers, "x-timestamp": "1795312800\n"})),
        bent(lambda body, headers: (body, {**headers, "x-timestamp": "9" * 5000})),
        bent(lambda body, headers: (body, {"x-signature": headers["x-signature"]})),
        bent(lambda body, headers: (body, {})),
        a_notice(NOTICE, secret=b"another secret"),
        a_notice(b"[]"),
        a_notice(b"{}"),
        a_notice(b'{"id":"nt_1"}'),
        a_notice(b'{"id":1,"request_id":"rq_1"}'),
        a_notice(b'{"id":"nt_1","request_id":"rq_1","request_id":"rq_2"}'),
        a_notice(b'{"id":"' + b"x" * 200 + b'","request_id":"rq_1"}'),
        a_notice(b"\xff"),
        a_notice(b"[" * 60_000),
        a_notice(b"x" * 70_000),
    ],
    ids=str,
)
def test_a_notice_that_does_not_hold_is_refused(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(NotVerified):
        NORTHTEL.read_notice(body, headers, MORNING)


# Settings


SETTINGS = {
    "http_json_suppliers": "northtel",
    "http_json_northtel_url": "https://northtel.example",
    "http_json_northtel_secret": "s",
    "http_json_northtel_dedups": "yes",
    "http_json_northtel_not_found_final_s": "600",
}


def test_each_supplier_in_the_settings_is_made() -> None:
    made = suppliers_by_name(SETTINGS)["northtel"]
    assert made.flags == Flags(True, timedelta(minutes=10), False, 30)
    assert "'s'" not in repr(made)
    forgetful = {**SETTINGS, "http_json_northtel_dedups": "no", "http_json_northtel_not_found_final_s": "never"}
    assert suppliers_by_name(forgetful)["northtel"].flags == Flags(False, None, False, 30)
    assert set(suppliers_by_name({})) == {"pins"}  # our own stock needs no setting


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", ""),
        ("secret", ""),
        ("dedups", ""),
        ("dedups", "perhaps"),
        ("not_found_final_s", ""),
        ("timeout_s", "1.5"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"http_json_northtel_{name}"):
        suppliers_by_name({**SETTINGS, f"http_json_northtel_{name}": value})


def test_the_clock_of_these_tests_is_the_one_in_the_signatures() -> None:
    assert datetime.fromtimestamp(1795312800, UTC) == MORNING
