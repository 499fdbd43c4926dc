"""The TM Forum upstream: against its own simulator for each trouble, and with answers bent by hand."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.operators.wires import DELIVERED, PERHAPS, REFUSED, a_recharge, credited, ending, kind
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.errors import BadInput, NotVerified
from refill.money import Money, money
from refill.operators import Flags, SupplierNotice, suppliers_by_name
from refill.operators.tmf654 import FRESH, MEANINGS, Tmf654
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_THEIRS, Done, Refused, Unknown
from refill.simulators.tmf654 import BASE, FLOAT_BUCKET, Tmf654Simulator, leads
from refill.world import Request, Response

FLAGS = Flags(dedups_our_reference=True, not_found_is_final_after=timedelta(minutes=10), can_reverse=False)
SOUTHTEL = Tmf654(
    name="southtel",
    base_url=f"https://southtel.example{BASE}",
    token="only for these tests",
    account="refill",
    flags=FLAGS,
    float_bucket=FLOAT_BUCKET,
    notice_token="only for these tests, too",
    codes={
        "4001": MEANINGS["number"],
        "4002": MEANINGS["not_theirs"],
        "4010": MEANINGS["busy"],
        "4020": MEANINGS["empty_float"],
        "4090": MEANINGS["duplicate"],
    },
)
US = "https://us.example/callbacks/suppliers/southtel"


def a_world(**settings: Any) -> tuple[FixedWorld, Tmf654Simulator, Inbox]:
    world, inbox = FixedWorld(), Inbox()
    operator = Tmf654Simulator(
        **world.surroundings(),
        token=SOUTHTEL.token,
        notice_token=SOUTHTEL.notice_token,
        base_url="https://southtel.example",
        notify_url=US,
        **settings,
    )
    world.route("https://southtel.example", operator.handle)
    world.route(US, inbox.handle)
    return world, operator, inbox


async def test_credit_arrives_and_leaves_the_float() -> None:
    world, operator, _ = a_world(float_minor=100_000)
    delivered = await SOUTHTEL.recharge(world, a_recharge())
    assert isinstance(delivered, Done)
    assert delivered.reference.face == money("50 CNY")
    assert credited(operator) == [5000]
    assert await SOUTHTEL.balance(world, "CNY") == Done(Money(100_000 - 4925, "CNY"))
    assert await SOUTHTEL.inquire(world, a_recharge()) == delivered


# What each trouble comes to: (our answer at once, an inquiry at once, an inquiry two minutes later, credit at the end)
COMES_TO = {
    "slow": (DELIVERED, DELIVERED, DELIVERED, [5000]),
    "lost": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "refused": (REFUSED, REFUSED, REFUSED, []),
    "hidden": (PERHAPS, PERHAPS, DELIVERED, [5000]),
    "duplicate": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "odd_code": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "partial": (PERHAPS, PERHAPS, PERHAPS, [2500]),
    "html": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "truncated": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "wrong_amount": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "wrong_number": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "not_ours": (REFUSED, REFUSED, REFUSED, []),
    "empty_float": (REFUSED, REFUSED, REFUSED, []),
    "later": (PERHAPS, PERHAPS, DELIVERED, [5000]),
    "fails_later": (PERHAPS, PERHAPS, REFUSED, []),
    "contradicts": (DELIVERED, DELIVERED, DELIVERED, [5000]),
    "huge": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "busy": (REFUSED, REFUSED, REFUSED, []),
    "reversed": (DELIVERED, DELIVERED, PERHAPS, [5000]),
    "silent": (PERHAPS, PERHAPS, PERHAPS, []),
    "error_500": (PERHAPS, DELIVERED, DELIVERED, [5000]),
}


@pytest.mark.parametrize("trouble", sorted(Tmf654Simulator.WHAT_HAPPENS))
async def test_what_a_trouble_comes_to(trouble: str) -> None:
    world, operator, inbox = a_world()
    ask = a_recharge(ending(trouble))
    at_once, asked = await SOUTHTEL.recharge(world, ask), await SOUTHTEL.inquire(world, ask)
    await world.advance(120)
    later = await SOUTHTEL.inquire(world, ask)
    assert (kind(at_once), kind(asked), kind(later), credited(operator)) == COMES_TO[trouble]
    assert operator.refused == (["rq_1"] if kind(later) == REFUSED else [])
    if trouble != "silent":
        assert {SOUTHTEL.read_notice(notice.body, notice.headers).request_id for notice in inbox.notices} == {"rq_1"}


@pytest.mark.parametrize("trouble", sorted(Tmf654Simulator.WHAT_HAPPENS))
async def test_whatever_happens_asking_again_under_the_same_id_credits_once(trouble: str) -> None:
    world, operator, _ = a_world()
    for _ in range(3):
        await SOUTHTEL.recharge(world, a_recharge(ending(trouble)))
        await world.advance(60)
    assert credited(operator) == COMES_TO[trouble][3]


async def test_an_operator_that_does_not_heed_the_key_credits_twice_and_is_asked_no_more() -> None:
    world, operator, _ = a_world(dedups=False)
    for _ in range(2):
        await SOUTHTEL.recharge(world, a_recharge())
    assert credited(operator) == [5000, 5000]


@pytest.mark.parametrize(
    ("trouble", "refused"),
    [
        ("not_ours", Refused(NOT_THEIRS, "4002")),
        ("empty_float", Refused(EMPTY_FLOAT, "4020", final=False)),
        ("busy", Refused("the operator is busy and has taken nothing", "4010", final=False)),
        ("refused", Refused("the operator takes no credit for this number", "4001")),
    ],
)
async def test_the_refusals_that_the_flow_reacts_to(trouble: str, refused: Refused) -> None:
    world, _, _ = a_world()
    ask = a_recharge(ending(trouble))
    assert await SOUTHTEL.recharge(world, ask) == refused
    assert await SOUTHTEL.inquire(world, ask) == refused


async def test_a_key_that_they_have_already_is_asked_about_never_refused() -> None:
    world, _, _ = a_world()
    ask = a_recharge(ending("duplicate"))
    await SOUTHTEL.recharge(world, ask)
    assert await SOUTHTEL.recharge(world, ask) == MEANINGS["duplicate"]


async def test_never_heard_of_it_is_not_a_refusal() -> None:
    world, _, _ = a_world()
    assert await SOUTHTEL.inquire(world, a_recharge()) == Unknown(NOT_FOUND)


async def test_other_peoples_top_ups_in_the_list_are_not_ours() -> None:
    world, _, _ = a_world()
    await SOUTHTEL.recharge(world, a_recharge(request_id="rq_2"))
    whole = [GOOD | {"description": "rq_2"}]
    assert await SOUTHTEL.inquire(world_that_says(json.dumps(whole).encode()), a_recharge()) == Unknown(NOT_FOUND)


async def test_with_another_token_nothing_is_done_and_nothing_believed() -> None:
    world, operator, _ = a_world()
    stranger = replace(SOUTHTEL, token="another token")
    assert isinstance(await stranger.recharge(world, a_recharge()), Unknown)
    assert credited(operator) == []


# The wire

CREATE = ("amount", "usageType", "bucket", "partyAccount")  # TopupBalance_Create, required


async def test_the_order_has_what_the_standard_wants_and_no_number_stands_in_an_address() -> None:
    world, _, _ = a_world()
    await SOUTHTEL.recharge(world, a_recharge())
    await SOUTHTEL.inquire(world, a_recharge())
    order, question = world.sent[0], world.sent[-1]
    assert (order.method, order.url) == ("POST", f"https://southtel.example{BASE}/topupBalance")
    said = json.loads(order.body)
    assert set(CREATE) <= set(said)
    assert said["amount"] == {"amount": 50, "units": "CNY"}
    assert said["bucket"] == {"id": "8613800138000"}
    assert order.headers["idempotency-key"] == said["description"] == "rq_1"
    assert order.timeout_s == FLAGS.timeout_s
    assert (question.method, question.url) == (
        "GET",
        f"https://southtel.example{BASE}/topupBalance?description=rq_1&limit=10",
    )


@pytest.mark.parametrize(
    ("face", "digits"),
    [("50 CNY", "50"), ("50.50 CNY", "50.50"), ("0.01 CNY", "0.01"), ("500 JPY", "500"), ("1.250 KWD", "1.250")],
)
async def test_an_amount_travels_as_exact_digits(face: str, digits: str) -> None:
    world, _, _ = a_world()
    await SOUTHTEL.recharge(world, a_recharge(face=money(face)))
    assert f'"amount":{{"amount":{digits},'.encode() in world.sent[0].body


SWAGGER = Path(__file__).parents[3] / "shared/data/TMF654_Prepay_Balance_Management_API_v4.0.0_swagger.json"


@pytest.mark.skipif(not SWAGGER.exists(), reason="the standard's own file is not beside the repository")
async def test_what_we_say_and_what_the_simulator_answers_fits_the_standard() -> None:
    defined = json.loads(SWAGGER.read_text("utf-8"))["definitions"]
    world, operator, inbox = a_world()
    for trouble in ("later", "refused", "slow"):
        await SOUTHTEL.recharge(world, a_recharge(ending(trouble), f"rq_{trouble}"))
    await world.advance(60)
    for request in world.sent:
        if request.method == "POST" and request.url.endswith("/topupBalance"):
            misfits("TopupBalance_Create", json.loads(request.body), defined)
    token = {"authorization": f"Bearer {SOUTHTEL.token}"}
    listed = await operator.handle(Request("GET", f"{SOUTHTEL.base_url}/topupBalance", token))
    bucket = await operator.handle(Request("GET", f"{SOUTHTEL.base_url}/bucket/{FLOAT_BUCKET}", token))
    for answer in json.loads(listed.body):
        misfits("TopupBalance", answer, defined)
    misfits("Bucket", json.loads(bucket.body), defined)
    for notice in inbox.notices:
        event = json.loads(notice.body)
        misfits(event["eventType"], event, defined)


def misfits(name: str, said: Any, defined: dict[str, Any]) -> None:
    """Fails where `said` is not the definition `name`: a required member missing, an unknown one, another type."""
    types = {"string": str, "number": (int, float), "integer": int, "boolean": bool, "array": list, "object": dict}

    def check(rule: dict[str, Any], value: Any, where: str) -> None:
        rule = defined[rule["$ref"].rpartition("/")[2]] if "$ref" in rule else rule
        assert isinstance(value, types[rule.get("type", "object")]), where
        assert value in rule.get("enum", [value]), where
        if isinstance(value, dict):
            assert set(rule.get("required", [])) <= set(value), where
            assert set(value) <= set(rule["properties"]), where
            for member, inner in value.items():
                check(rule["properties"][member], inner, f"{where}.{member}")
        for inner in value if isinstance(value, list) else []:
            check(rule["items"], inner, f"{where}[]")

    check(defined[name], said, name)


# Answers bent by hand

GOOD = {
    "id": "T-77",
    "description": "rq_1",
    "status": "completed",
    "amount": {"amount": 50, "units": "CNY"},
    "bucket": {"id": "8613800138000"},
    "logicalResource": [{"id": "8613800138000"}],
}


def world_that_says(body: bytes, status: int = 200) -> FixedWorld:
    async def handle(request: Request) -> Response:
        return Response(status, {}, body)

    world = FixedWorld()
    world.route("", handle)
    return world


@pytest.mark.parametrize(
    "other",
    [
        {"amount": {"amount": 50.0, "units": "CNY"}},
        {"amount": {"amount": "50.00", "units": "CNY"}},
        {"logicalResource": [{"id": "+8613800138000"}]},
        {"logicalResource": [], "bucket": {"id": "8613800138000"}},
        {"logicalResource": [{"id": 8613800138000}]},
        {"bucket": {"id": "internal-4711"}},
        {"id": 77},
        {"padding": ["unknown members are none of our business"]},
    ],
    ids=str,
)
async def test_what_operators_do_differently_is_still_ours(other: dict[str, Any]) -> None:
    answer = await SOUTHTEL.recharge(world_that_says(json.dumps({**GOOD, **other}).encode()), a_recharge())
    assert isinstance(answer, Done)


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"description": "RQ_1"}, "OTHER_REQUEST"),
        ({"description": None}, "OTHER_REQUEST"),
        ({"logicalResource": [{"id": "8613800138001"}]}, "WRONG_NUMBER"),
        ({"logicalResource": [{"id": "8613800138000"}, {"id": "8613800138001"}]}, "WRONG_NUMBER"),
        ({"logicalResource": "8613800138000"}, "WRONG_NUMBER"),
        ({"logicalResource": [], "bucket": None}, "WRONG_NUMBER"),
        ({"amount": None}, "WRONG_AMOUNT"),
        ({"amount": {"amount": 50.01, "units": "CNY"}}, "WRONG_AMOUNT"),
        ({"amount": {"amount": 25, "units": "CNY"}}, "WRONG_AMOUNT"),
        ({"amount": {"amount": 50, "units": "USD"}}, "WRONG_AMOUNT"),
        ({"amount": {"amount": 50}}, "WRONG_AMOUNT"),
        ({"amount": {"amount": True, "units": "CNY"}}, "WRONG_AMOUNT"),
        ({"amount": {"amount": "5E+1", "units": "CNY"}}, "WRONG_AMOUNT"),
        ({"amount": {"amount": -50, "units": "CNY"}}, "WRONG_AMOUNT"),
        ({"amount": {"amount": 2**63, "units": "CNY"}}, "WRONG_AMOUNT"),
        ({"id": ""}, "NO_REFERENCE"),
        ({"id": None}, "NO_REFERENCE"),
        ({"id": "x" * 129}, "NO_REFERENCE"),
        ({"status": "COMPLETED"}, "COMPLETED"),
        ({"status": None}, "None"),
        ({"status": "cancelled"}, "CANCELLED"),
        ({"status": "created"}, ""),
    ],
    ids=str,
)
async def test_what_is_not_exactly_our_request_is_unknown_and_alarms(other: dict[str, Any], code: str) -> None:
    answer = await SOUTHTEL.recharge(world_that_says(json.dumps({**GOOD, **other}).encode()), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.code == code


@pytest.mark.parametrize("status", [200, 201, 202, 400, 404, 409, 500, 503])
async def test_the_http_status_decides_nothing(status: int) -> None:
    def says(said: dict[str, Any]) -> FixedWorld:
        return world_that_says(json.dumps(said).encode(), status)

    assert isinstance(await SOUTHTEL.recharge(says(GOOD), a_recharge()), Done)
    assert isinstance(await SOUTHTEL.recharge(says({"code": "4010", "reason": ""}), a_recharge()), Refused)
    assert await SOUTHTEL.recharge(says({"code": "9", "reason": "no"}), a_recharge()) == Unknown(
        "The operator says something that is not documented.", "9"
    )


@pytest.mark.parametrize("status", [206, 400, 404, 500])
async def test_a_part_of_the_list_or_an_error_is_not_never_heard_of_it(status: int) -> None:
    answer = await SOUTHTEL.inquire(world_that_says(b"[]", status), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.why != NOT_FOUND


async def test_a_code_in_the_answer_to_an_inquiry_speaks_of_the_inquiry() -> None:
    answer = await SOUTHTEL.inquire(world_that_says(b'{"code": "4010", "reason": "busy"}', 503), a_recharge())
    assert isinstance(answer, Unknown)


async def test_two_top_ups_under_one_reference_alarm() -> None:
    answer = await SOUTHTEL.inquire(world_that_says(json.dumps([GOOD, GOOD | {"id": "T-78"}]).encode()), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.code == "TWICE"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>",
        json.dumps(GOOD)[:-1].encode(),
        json.dumps(GOOD).encode()[:-1] + b', "status": "failed"}',
        json.dumps(GOOD).replace("50", "NaN").encode(),
        json.dumps(GOOD).encode("utf-16"),
        b'{"a":' * 100_000,
        json.dumps({**GOOD, "more": "x" * (1 << 20)}).encode(),
    ],
    ids=len,
)
async def test_rubbish_is_rubbish(body: bytes) -> None:
    assert isinstance(await SOUTHTEL.recharge(world_that_says(body), a_recharge()), Unknown)


@pytest.mark.parametrize(
    ("left", "balance"),
    [(0, 0), (12.5, 1250), ("-12.50", -1250), (1000000, 100_000_000), ("0.005", 0), ("0.015", 2)],
)
async def test_a_float_may_stand_at_zero_or_below(left: object, balance: int) -> None:
    bucket = {"id": FLOAT_BUCKET, "remainingValue": {"amount": left, "units": "CNY"}}
    assert await SOUTHTEL.balance(world_that_says(json.dumps(bucket).encode()), "CNY") == Done(Money(balance, "CNY"))


@pytest.mark.parametrize(
    "said",
    [
        {"id": "another", "remainingValue": {"amount": 5, "units": "CNY"}},
        {"id": FLOAT_BUCKET, "remainingValue": {"amount": 5, "units": "USD"}},
        {"id": FLOAT_BUCKET, "remainingValue": {"amount": None, "units": "CNY"}},
        {"id": FLOAT_BUCKET, "remainingValue": 5},
        {"id": FLOAT_BUCKET},
        [],
    ],
    ids=str,
)
async def test_a_balance_that_cannot_be_read_is_unknown(said: object) -> None:
    assert isinstance(await SOUTHTEL.balance(world_that_says(json.dumps(said).encode()), "CNY"), Unknown)


async def test_without_a_bucket_nobody_is_asked_for_the_float() -> None:
    world, _, _ = a_world()
    assert isinstance(await replace(SOUTHTEL, float_bucket="").balance(world, "CNY"), Unknown)
    assert world.sent == []


# Notices

HEADERS = {"authorization": f"Bearer {SOUTHTEL.notice_token}"}


def a_notice(**other: Any) -> bytes:
    event = {
        "eventId": "ev_1",
        "eventType": "TopupBalanceCreateEvent",
        "timeOcurred": MORNING.isoformat(),
        "event": {"topupBalance": GOOD},
    }
    return json.dumps({**event, **other}).encode()


def test_a_notice_with_the_token_names_the_request_and_nothing_else_of_it_is_believed() -> None:
    assert SOUTHTEL.read_notice(a_notice(), HEADERS, MORNING) == SupplierNotice("ev_1", "rq_1", True)


@pytest.mark.parametrize(
    ("other", "at", "fresh"),
    [
        ({}, MORNING + FRESH, True),
        ({}, MORNING + FRESH * 2, False),
        ({"eventTime": "yesterday"}, MORNING, False),
        ({"eventTime": "2026-11-22T10:00:00"}, MORNING, False),
        ({"eventTime": "2026-11-22T10:00:00+08:00"}, MORNING, True),
    ],
    ids=str,
)
def test_an_old_notice_is_worth_an_inquiry_all_the_same(other: dict[str, Any], at: Any, fresh: bool) -> None:
    assert SOUTHTEL.read_notice(a_notice(**other), HEADERS, at) == SupplierNotice("ev_1", "rq_1", fresh)


@pytest.mark.parametrize(
    ("read", "headers", "body"),
    [
        (SOUTHTEL, {}, a_notice()),
        (SOUTHTEL, {"authorization": "Bearer another"}, a_notice()),
        (SOUTHTEL, {"authorization": "签名"}, a_notice()),
        (replace(SOUTHTEL, notice_token=""), {"authorization": "Bearer "}, a_notice()),
        (SOUTHTEL, HEADERS, a_notice(eventType="AdjustBalanceCreateEvent")),
        (SOUTHTEL, HEADERS, a_notice(event={"adjustBalance": GOOD})),
        (SOUTHTEL, HEADERS, a_notice(event={"topupBalance": {"status": "completed"}})),
        (SOUTHTEL, HEADERS, a_notice(eventId=None)),
        (SOUTHTEL, HEADERS, a_notice(eventId="x" * 129)),
        (SOUTHTEL, HEADERS, a_notice(padding="x" * (1 << 16))),
        (SOUTHTEL, HEADERS, b"[]"),
        (SOUTHTEL, HEADERS, b"[" * 60_000),
    ],
)
def test_what_nobody_vouches_for_is_no_notice(read: Tmf654, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(NotVerified):
        read.read_notice(body, headers)


# Settings


def test_the_simulators_settings_lead_to_it() -> None:
    made = suppliers_by_name(leads(lambda name, make: make(), "http://127.0.0.1:8009"))["southtel"]
    assert isinstance(made, Tmf654)
    assert (made.base_url, made.codes) == (f"http://127.0.0.1:8009{BASE}", SOUTHTEL.codes)
    assert made.token not in repr(made)
    assert made.notice_token not in repr(made)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"tmf654_southtel_url": ""}, "tmf654_southtel_url is missing"),
        ({"tmf654_southtel_token": ""}, "tmf654_southtel_token is missing"),
        ({"tmf654_southtel_account": ""}, "tmf654_southtel_account is missing"),
        ({"tmf654_southtel_dedups": ""}, "tmf654_southtel_dedups is missing"),
        ({"tmf654_southtel_dedups": "perhaps"}, "write yes or no"),
        ({"tmf654_southtel_not_found_final_s": "soon"}, "write whole seconds"),
        ({"tmf654_southtel_url": "http://southtel.example"}, "tmf654_southtel_plain_http=yes accepts it"),
        ({"tmf654_southtel_codes": "4001=maybe"}, "write code=meaning with one of"),
        ({"tmf654_southtel_codes": "number"}, "write code=meaning with one of"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(other: dict[str, str], says: str) -> None:
    settings = leads(lambda name, make: make(), "http://127.0.0.1:8009")
    with pytest.raises(BadInput, match=says):
        suppliers_by_name({**settings, **other})


@pytest.mark.parametrize("seed", range(50))
async def test_whatever_goes_wrong_done_means_credited_and_refused_means_never(seed: int) -> None:
    world, operator, _ = a_world(delay_s=(0, 20))
    world.dice.seed(seed)
    troubles = (*Tmf654Simulator.WHAT_HAPPENS, "inquiry_lost", "inquiry_html")
    operator.troubles.chances = dict.fromkeys(world.dice.sample(troubles, 4), 0.2)
    for number in range(10):
        ask = a_recharge(request_id=f"rq_{number}")
        outcomes = [await SOUTHTEL.recharge(world, ask)]
        for wait in (0, 5, 30, 90):
            await world.advance(wait)
            outcomes.append(await SOUTHTEL.inquire(world, ask))
        got = [credit.face_minor for credit in operator.credits if credit.request_id == ask.request_id]
        if any(isinstance(outcome, Done) for outcome in outcomes):
            assert got == [5000]
        if any(isinstance(outcome, Refused) for outcome in outcomes):
            assert got == []
