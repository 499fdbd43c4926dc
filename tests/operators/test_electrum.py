"""The Electrum Airtime Service Interface: against its own simulator for each trouble, and with answers bent by hand."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.operators.wires import DELIVERED, PERHAPS, REFUSED, a_recharge, credited, ending, kind
from tests.worlds import FixedWorld

from refill.errors import BadInput, NotVerified
from refill.money import EXPONENT, Money, money
from refill.operators import Delivery, Flags, Recharge, suppliers_by_name
from refill.operators.electrum import NUMERIC, REFUSES, REFUSES_AT_ONCE, Electrum, message_id
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, Done, Refused, Unknown
from refill.simulators.electrum import BASE, CLIENT, RECEIVER, ElectrumSimulator, leads
from refill.world import NoAnswer, Request, Response

PASSWORD = "only for these tests"
EASTTEL = Electrum(
    name="easttel",
    base_url=f"https://easttel.example{BASE}",
    institution=CLIENT,
    password=PASSWORD,
    flags=Flags(
        dedups_our_reference=False, not_found_is_final_after=timedelta(minutes=10), can_reverse=False, timeout_s=60
    ),
    originator={
        "institution": {"id": CLIENT, "name": "Refill"},
        "terminalId": "refill01",
        "merchant": {"merchantType": "4814", "merchantId": "REFILL000000001", "merchantName": {"name": "Refill"}},
    },
    receiver=RECEIVER,
)
WHO_REVERSES = replace(EASTTEL, reverses=True)
OURS = message_id("rq_1", "purchase")


def a_world(**settings: Any) -> tuple[FixedWorld, ElectrumSimulator]:
    world = FixedWorld()
    provider = ElectrumSimulator(
        **world.surroundings(), password=PASSWORD, base_url="https://easttel.example", **settings
    )
    world.route("https://easttel.example", provider.handle)
    return world, provider


def asked(world: FixedWorld) -> list[str]:
    return [request.url.removeprefix(EASTTEL.base_url).partition("?")[0] for request in world.sent]


async def test_credit_is_purchased_and_confirmed() -> None:
    world, provider = a_world()
    delivered = await EASTTEL.recharge(world, a_recharge())
    reference = provider.jobs[OURS].reference
    assert delivered == Done(Delivery(reference, "8613800138000", money("50 CNY")))
    assert credited(provider) == [5000]
    assert provider.confirmed == {OURS}
    assert asked(world) == ["/purchases", "/purchases/confirmations"]
    assert await EASTTEL.inquire(world, a_recharge()) == delivered


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
    "empty_float": (REFUSED, REFUSED, REFUSED, []),
    "later": (PERHAPS, PERHAPS, DELIVERED, [5000]),
    "fails_later": (PERHAPS, PERHAPS, REFUSED, []),
    "huge": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    # 503 is definite in answer to a purchase; asked for the status, it might speak of the question
    "busy": (REFUSED, PERHAPS, PERHAPS, []),
    "silent": (PERHAPS, PERHAPS, PERHAPS, []),
    "error_500": (PERHAPS, DELIVERED, DELIVERED, [5000]),
}


@pytest.mark.parametrize("trouble", sorted(ElectrumSimulator.WHAT_HAPPENS))
async def test_what_a_trouble_comes_to_where_nothing_can_be_reversed(trouble: str) -> None:
    world, provider = a_world()
    ask = a_recharge(ending(trouble))
    at_once, question = await EASTTEL.recharge(world, ask), await EASTTEL.inquire(world, ask)
    await world.advance(120)
    later = await EASTTEL.inquire(world, ask)
    assert (kind(at_once), kind(question), kind(later), credited(provider)) == COMES_TO[trouble]
    assert provider.confirmed == ({OURS} if kind(later) == DELIVERED else set())


@pytest.mark.parametrize("trouble", ["later", "fails_later", "silent"])
async def test_where_purchases_can_be_reversed_a_doubt_ends_with_a_definite_no(trouble: str) -> None:
    world, provider = a_world()
    ask = a_recharge(ending(trouble))
    assert isinstance(await WHO_REVERSES.recharge(world, ask), Unknown)
    assert await WHO_REVERSES.inquire(world, ask) == Refused(
        "the provider took the purchase back", "REVERSED", final=False
    )
    await world.advance(120)
    assert credited(provider) == []


@pytest.mark.parametrize("trouble", ["lost", "html", "error_500", "duplicate"])
async def test_what_the_status_knows_is_confirmed_and_not_reversed(trouble: str) -> None:
    world, provider = a_world()
    ask = a_recharge(ending(trouble))
    await WHO_REVERSES.recharge(world, ask)
    assert isinstance(await WHO_REVERSES.inquire(world, ask), Done)
    assert (credited(provider), provider.reversals, provider.confirmed) == ([5000], [], {OURS})


async def test_a_delivered_purchase_whose_status_cannot_be_had_is_taken_back_once_for_all() -> None:
    world, provider = a_world()
    ask = a_recharge(ending("lost"))
    await WHO_REVERSES.recharge(world, ask)
    provider.troubles.plan("inquiry_html")
    provider.troubles.plan("reversal_lost")
    assert isinstance(await WHO_REVERSES.inquire(world, ask), Unknown)
    assert [one.face_minor for one in provider.reversals] == [5000]
    provider.troubles.plan("inquiry_html")
    assert isinstance(await WHO_REVERSES.inquire(world, ask), Refused)
    assert [one.face_minor for one in provider.reversals] == [5000]


async def test_what_is_confirmed_is_never_reversed() -> None:
    world, provider = a_world()
    await WHO_REVERSES.recharge(world, a_recharge())
    provider.troubles.plan("inquiry_html")
    assert isinstance(await WHO_REVERSES.inquire(world, a_recharge()), Unknown)
    assert provider.reversals == []


async def test_not_found_to_a_reversal_is_not_a_no_because_the_purchase_may_still_arrive() -> None:
    world, provider = a_world()
    ask = a_recharge(ending("hidden"))
    await WHO_REVERSES.recharge(world, ask)
    assert await WHO_REVERSES.inquire(world, ask) == Unknown(NOT_FOUND)
    await world.advance(120)
    assert isinstance(await WHO_REVERSES.inquire(world, ask), Done)
    assert credited(provider) == [5000]


async def test_a_confirmation_that_nobody_acknowledged_is_repeated_by_the_inquiry() -> None:
    world, provider = a_world()
    provider.troubles.plan("confirmation_lost")
    assert isinstance(await EASTTEL.recharge(world, a_recharge()), Unknown)
    assert isinstance(await EASTTEL.inquire(world, a_recharge()), Done)
    assert asked(world) == [
        "/purchases",
        "/purchases/confirmations",
        "/purchases/status",
        "/purchases/confirmations",
    ]
    first, again = (json.loads(world.sent[at].body) for at in (1, 3))
    assert first | {"time": 0} == again | {"time": 0}


async def test_credit_that_the_status_proves_is_delivered_whatever_becomes_of_the_confirmation() -> None:
    world, provider = a_world()
    provider.troubles.plan("confirmation_lost", 2)
    await EASTTEL.recharge(world, a_recharge())
    assert isinstance(await EASTTEL.inquire(world, a_recharge()), Done)


async def test_sent_twice_it_is_a_duplicate_which_is_asked_about_never_refused() -> None:
    world, provider = a_world()
    await EASTTEL.recharge(world, a_recharge())
    assert await EASTTEL.recharge(world, a_recharge()) == Unknown(
        "the provider has this request already: ask what became of it"
    )
    assert credited(provider) == [5000]


async def test_a_drained_float_parks() -> None:
    world, provider = a_world(float_minor=4924)
    assert await EASTTEL.recharge(world, a_recharge()) == Refused(EMPTY_FLOAT, "INSUFFICIENT_FUNDS", final=False)
    provider.float_minor += 1
    assert isinstance(await EASTTEL.recharge(world, a_recharge(request_id="rq_2")), Done)


async def test_never_heard_of_it_is_not_a_refusal() -> None:
    world, _ = a_world()
    assert await EASTTEL.inquire(world, a_recharge()) == Unknown(NOT_FOUND)


async def test_with_another_password_nothing_is_done_and_nothing_believed() -> None:
    world, provider = a_world()
    stranger = replace(EASTTEL, password="another password")
    assert isinstance(await stranger.recharge(world, a_recharge()), Unknown)
    assert credited(provider) == []


async def test_it_has_no_balance_and_no_notices() -> None:
    world, _ = a_world()
    assert isinstance(await EASTTEL.balance(world, "CNY"), Unknown)
    assert world.sent == []
    with pytest.raises(NotVerified):
        EASTTEL.read_notice(b"{}", {})


# The wire: required members of io.electrum.airtime.api.model and io.electrum.vas.model (Transaction, BasicAdvice)

TRANSACTION = {"id", "time", "originator", "client", "thirdPartyIdentifiers"}
PURCHASE_REQUEST = TRANSACTION | {"product"}
PURCHASE_RESPONSE = PURCHASE_REQUEST
BASIC_ADVICE = {"id", "requestId", "time", "thirdPartyIdentifiers"}
ERROR_DETAIL = {"id", "errorType", "errorMessage", "requestType"}
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


async def test_our_messages_have_what_the_interface_requires_and_no_number_stands_in_an_address() -> None:
    world, _ = a_world()
    await WHO_REVERSES.recharge(world, a_recharge(ending("silent")))
    await WHO_REVERSES.inquire(world, a_recharge(ending("silent")))
    await WHO_REVERSES.recharge(world, a_recharge(request_id="rq_2"))
    purchase, status, reversal, other, confirmation = world.sent
    said = json.loads(purchase.body)
    assert set(said) >= PURCHASE_REQUEST
    assert said["amounts"] == {"requestAmount": {"amount": 5000, "currency": "156"}}
    assert said["recipientMsisdn"] == {"msisdn": ending("silent")}
    assert said["thirdPartyIdentifiers"] == [{"institutionId": CLIENT, "transactionIdentifier": "rq_1"}]
    for message in (purchase, reversal, confirmation):
        body = json.loads(message.body)
        assert UUID4.fullmatch(body["id"])
        assert RFC3339.fullmatch(body["time"])
    assert set(json.loads(confirmation.body)) >= BASIC_ADVICE
    assert json.loads(confirmation.body)["requestId"] == json.loads(other.body)["id"]
    assert len(json.loads(confirmation.body)["thirdPartyIdentifiers"]) == 2, "unaltered, as they answered"
    assert set(json.loads(reversal.body)) >= BASIC_ADVICE | {"reversalReason"}
    assert status.url == f"{EASTTEL.base_url}/purchases/status?originalMsgId={said['id']}"
    assert b64decode(purchase.headers["authorization"].removeprefix("Basic ")).decode() == f"{CLIENT}:{PASSWORD}"
    assert {message.timeout_s for message in world.sent} == {60}


async def test_the_simulators_answers_have_what_the_interface_requires() -> None:
    world, provider = a_world()
    answers: dict[str, Response] = {}

    async def listening(request: Request) -> Response:
        answer = await provider.handle(request)
        answers[f"{request.url.removeprefix(EASTTEL.base_url).partition('?')[0]} {answer.status}"] = answer
        return answer

    world.route(EASTTEL.base_url, listening)
    for trouble in ("slow", "refused", "silent"):
        ask = a_recharge(ending(trouble), f"rq_{trouble}")
        await WHO_REVERSES.recharge(world, ask)
        await WHO_REVERSES.inquire(world, ask)
    wants = {
        "/purchases 201": PURCHASE_RESPONSE,
        "/purchases 400": ERROR_DETAIL,
        "/purchases 504": ERROR_DETAIL,
        "/purchases/confirmations 202": BASIC_ADVICE,
        "/purchases/status 200": PURCHASE_RESPONSE,
        "/purchases/status 400": ERROR_DETAIL,
        "/purchases/status 504": ERROR_DETAIL,
        "/purchases/reversals 202": BASIC_ADVICE,
    }
    assert set(answers) == set(wants)
    assert all(wants[what] <= set(json.loads(answer.body)) for what, answer in answers.items())


def test_every_currency_has_its_number() -> None:
    assert set(NUMERIC) == set(EXPONENT)
    assert all(re.fullmatch("[0-9]{3}", number) for number in NUMERIC.values())
    assert len(set(NUMERIC.values())) == len(NUMERIC)


@pytest.mark.parametrize(
    ("product", "theirs"), [("airtime", "89"), ("data-5gb", "12"), ("data-1gb", "data-1gb")], ids=str
)
async def test_their_products_go_by_their_own_names(product: str, theirs: str) -> None:
    world, _ = a_world()
    sells = replace(EASTTEL, products={"airtime": "89", "northtel/data-5gb": "12", "westtel/data-1gb": "13"})
    assert isinstance(await sells.recharge(world, a_recharge(product=product)), Done)
    assert json.loads(world.sent[0].body)["product"] == {"productId": theirs}


# Answers bent by hand

GOOD: dict[str, Any] = {
    "id": "749dfae4-ea5e-43fc-bef8-ec087fb9f82b",
    "thirdPartyIdentifiers": [
        {"institutionId": CLIENT, "transactionIdentifier": "rq_1"},
        {"institutionId": RECEIVER, "transactionIdentifier": "E-77"},
    ],
    "amounts": {"approvedAmount": {"amount": 5000, "currency": "156"}},
    "product": {"productId": "airtime"},
    "msisdn": {"msisdn": "8613800138000"},
}


def world_that_says(body: bytes, status: int = 201) -> FixedWorld:
    async def handle(request: Request) -> Response:
        return Response(status, {}, body)

    world = FixedWorld()
    world.route("", handle)
    return world


async def purchased(said: Any, status: int = 201, ask: Recharge | None = None) -> Any:
    return await EASTTEL.recharge(world_that_says(json.dumps(said).encode(), status), ask or a_recharge())


def approved(amount: Any, currency: Any = "156") -> dict[str, Any]:
    return {"amounts": {"approvedAmount": {"amount": amount, "currency": currency}}}


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"thirdPartyIdentifiers": []}, "OTHER_REQUEST"),
        ({"thirdPartyIdentifiers": None}, "OTHER_REQUEST"),
        ({"thirdPartyIdentifiers": [None, {"institutionId": CLIENT}]}, "OTHER_REQUEST"),
        ({"thirdPartyIdentifiers": [{"institutionId": CLIENT, "transactionIdentifier": "RQ_1"}]}, "OTHER_REQUEST"),
        ({"thirdPartyIdentifiers": [{"institutionId": RECEIVER, "transactionIdentifier": "rq_1"}]}, "OTHER_REQUEST"),
        ({"msisdn": {"msisdn": "8613800138001"}}, "WRONG_NUMBER"),
        ({"msisdn": None}, "WRONG_NUMBER"),
        ({"product": {"productId": "data"}}, "WRONG_PRODUCT"),
        ({"product": "airtime"}, "WRONG_PRODUCT"),
        ({"voucher": {"pin": "70"}}, "VOUCHER"),
        ({"amounts": None}, "WRONG_AMOUNT"),
        ({"amounts": {}}, "WRONG_AMOUNT"),
        (approved(5001), "WRONG_AMOUNT"),
        (approved(0), "WRONG_AMOUNT"),
        (approved(-5000), "WRONG_AMOUNT"),
        (approved(50.0), "WRONG_AMOUNT"),
        (approved("5000"), "WRONG_AMOUNT"),
        (approved(True), "WRONG_AMOUNT"),
        (approved(2**63), "WRONG_AMOUNT"),
        (approved(5000, "840"), "WRONG_AMOUNT"),
        (approved(5000, "CNY"), "WRONG_AMOUNT"),
    ],
    ids=str,
)
async def test_what_is_not_exactly_our_request_is_unknown_and_alarms(other: dict[str, Any], code: str) -> None:
    answer = await purchased({**GOOD, **other})
    assert isinstance(answer, Unknown)
    assert answer.code == code


async def test_without_a_reference_of_theirs_it_is_not_believed() -> None:
    mine = {"thirdPartyIdentifiers": GOOD["thirdPartyIdentifiers"][:1]}
    assert isinstance(await purchased({**GOOD, **mine}), Done), "their id of the message will do"
    answer = await purchased({**GOOD, **mine, "id": ""})
    assert isinstance(answer, Unknown)
    assert answer.code == "NO_REFERENCE"


async def test_less_approved_than_asked_is_a_partial_delivery() -> None:
    answer = await purchased({**GOOD, **approved(2500)})
    assert isinstance(answer, Done)
    assert answer.reference.face == Money(2500, "CNY")


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_success_needs_both_its_status_and_its_body(status: int) -> None:
    assert isinstance(await purchased(GOOD, status), Done)
    assert isinstance(await purchased({}, status), Unknown)


@pytest.mark.parametrize("status", [204, 302, 400, 404, 500, 503, 504])
async def test_no_other_status_makes_a_success(status: int) -> None:
    assert isinstance(await purchased(GOOD, status), Unknown)


@pytest.mark.parametrize("type_", sorted(REFUSES | REFUSES_AT_ONCE))
async def test_a_refusal_needs_both_its_status_and_its_type(type_: str) -> None:
    said = {"id": "e-1", "errorType": type_}
    assert isinstance(await purchased(said, 400), Refused)
    assert isinstance(await purchased(said, 503), Refused)
    for unknown in (500, 504, 200):
        assert isinstance(await purchased(said, unknown), Unknown)
    asked_later = await EASTTEL.inquire(world_that_says(json.dumps(said).encode(), 400), a_recharge())
    assert isinstance(asked_later, Refused if type_ in REFUSES else Unknown)


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"errorType": "OUTCOME_UNKNOWN"}, 504, ""),
        ({"errorType": "OUTCOME_UNKNOWN"}, 400, ""),
        ({"errorType": "GENERAL_ERROR"}, 400, ""),
        ({"errorType": "SYSTEM_MALFUNCTION"}, 400, ""),
        ({"errorType": "DUPLICATE_RECORD"}, 409, ""),
        ({"errorType": "declined_by_mno"}, 400, "declined_by_mno"),
        ({"errorType": "E_4711"}, 400, "E_4711"),
        ({"errorType": None}, 400, "HTTP_400"),
        ({}, 404, "HTTP_404"),
    ],
    ids=str,
)
async def test_what_is_no_definite_no_is_unknown_and_what_nobody_documented_alarms(
    said: dict[str, Any], status: int, code: str
) -> None:
    answer = await purchased(said, status)
    assert isinstance(answer, Unknown)
    assert answer.code == code


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"requestId": "another"}', b"<html>", b"[]"], ids=str)
async def test_a_reversal_that_is_not_acknowledged_by_name_proves_nothing(answer: bytes) -> None:
    async def handle(request: Request) -> Response:
        if request.method == "GET":
            raise NoAnswer("reset")
        return Response(202, {}, answer)

    world = FixedWorld()
    world.route("", handle)
    assert isinstance(await WHO_REVERSES.inquire(world, a_recharge()), Unknown)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        json.dumps(GOOD)[:-1].encode(),
        json.dumps(GOOD).encode()[:-1] + b', "id": "x"}',
        json.dumps(GOOD).encode("utf-16"),
        b'{"a":' * 100_000,
        json.dumps({**GOOD, "more": "x" * (1 << 20)}).encode(),
    ],
    ids=len,
)
async def test_rubbish_is_rubbish(body: bytes) -> None:
    assert isinstance(await EASTTEL.recharge(world_that_says(body), a_recharge()), Unknown)


# Settings


def test_the_simulators_settings_lead_to_it() -> None:
    made = suppliers_by_name(leads(lambda name, make: make(), "http://127.0.0.1:8010"))["easttel"]
    assert isinstance(made, Electrum)
    assert (made.base_url, made.reverses, made.flags.timeout_s) == (f"http://127.0.0.1:8010{BASE}", True, 60)
    assert made.password not in repr(made)


@pytest.mark.parametrize(
    ("what", "value", "says"),
    [
        *[(what, "", "is missing") for what in ("url", "institution", "password", "merchant_id", "merchant_name")],
        *[(what, "", "is missing") for what in ("merchant_city", "merchant_country", "not_found_final_s", "reverses")],
        ("institution", "refill", "1 to 11 digits"),
        ("url", "http://easttel.example", "electrum_easttel_plain_http=yes accepts it"),
        ("reverses", "perhaps", "write yes or no"),
        ("products", "airtime", "is a list such as"),
        ("products", "=89", "is a list such as"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(what: str, value: str, says: str) -> None:
    settings = leads(lambda name, make: make(), "http://127.0.0.1:8010")
    with pytest.raises(BadInput, match=says):
        suppliers_by_name({**settings, f"electrum_easttel_{what}": value})


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("supplier", [EASTTEL, WHO_REVERSES], ids=["status", "reversal"])
async def test_whatever_goes_wrong_the_last_word_is_what_truly_happened(supplier: Electrum, seed: int) -> None:
    world, provider = a_world(delay_s=(0, 20))
    world.dice.seed(seed)
    troubles = (*ElectrumSimulator.WHAT_HAPPENS, "inquiry_lost", "inquiry_html", "confirmation_lost", "reversal_lost")
    provider.troubles.chances = dict.fromkeys(world.dice.sample(troubles, 4), 0.2)
    for number in range(10):
        ask = a_recharge(request_id=f"rq_{number}")
        outcome = await supplier.recharge(world, ask)
        for wait in (0, 5, 30, 90):
            if isinstance(outcome, Unknown):
                await world.advance(wait)
                outcome = await supplier.inquire(world, ask)
        await world.advance(120)
        ours = message_id(ask.request_id, "purchase")
        got = sum(one.face_minor for one in provider.credits if one.request_id == ours)
        got -= sum(one.face_minor for one in provider.reversals if one.request_id == ours)
        if isinstance(outcome, Done):
            assert got == outcome.reference.face.minor
        if isinstance(outcome, Refused):
            assert got == 0
