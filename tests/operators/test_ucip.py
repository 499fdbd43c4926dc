"""Ericsson AIR over UCIP: against its own simulator, which reads and writes XML-RPC by the standard library, and by hand."""

import xmlrpc.client
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest
from tests.operators.wires import DELIVERED, PERHAPS, REFUSED, a_recharge, credited, ending, kind
from tests.worlds import MORNING, FixedWorld

from refill.errors import BadInput, NotVerified
from refill.money import Money, money
from refill.operators import Delivery, Flags, suppliers_by_name
from refill.operators.ucip import AGENT, CREDITED, REFUSES, Ucip, answered, transaction_id
from refill.operators.ucip import PERHAPS as MAYBE
from refill.outcome import NOT_FOUND, NOT_THEIRS, Done, Refused, Unknown
from refill.simulators.ucip import FLOAT_NUMBER, PATH, USER, UcipSimulator, leads
from refill.world import Request, Response

PASSWORD = "only for these tests"
WESTTEL = Ucip(
    name="westtel",
    url=f"https://westtel.example{PATH}",
    user=USER,
    password=PASSWORD,
    flags=Flags(dedups_our_reference=True, not_found_is_final_after=None, can_reverse=False),
    float_number=FLOAT_NUMBER,
)
OURS = transaction_id("rq_1")


def a_world(**settings: Any) -> tuple[FixedWorld, UcipSimulator]:
    world = FixedWorld()
    air = UcipSimulator(**world.surroundings(), password=PASSWORD, base_url="https://westtel.example", **settings)
    world.route("https://westtel.example", air.handle)
    return world, air


async def test_credit_arrives_and_leaves_the_float() -> None:
    world, air = a_world(float_minor=100_000)
    delivered = await WESTTEL.recharge(world, a_recharge())
    assert delivered == Done(Delivery(OURS, "8613800138000", money("50 CNY")))
    assert credited(air) == [5000]
    assert await WESTTEL.balance(world, "CNY") == Done(Money(100_000 - 4925, "CNY"))


# What each trouble comes to: (our answer at once, sent again at once, sent again two minutes later, credit at the end)
COMES_TO = {
    "slow": (DELIVERED, DELIVERED, DELIVERED, [5000]),
    "lost": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "refused": (REFUSED, REFUSED, REFUSED, []),
    "hidden": (PERHAPS, PERHAPS, DELIVERED, [5000]),
    "odd_code": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "html": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "truncated": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "wrong_amount": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "wrong_number": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "not_ours": (REFUSED, REFUSED, REFUSED, []),
    "huge": (PERHAPS, DELIVERED, DELIVERED, [5000]),
    "busy": (REFUSED, REFUSED, REFUSED, []),
    "error_500": (PERHAPS, DELIVERED, DELIVERED, [5000]),
}


@pytest.mark.parametrize("trouble", sorted(UcipSimulator.WHAT_HAPPENS))
async def test_what_a_trouble_comes_to_when_it_is_sent_again_under_the_same_id(trouble: str) -> None:
    world, air = a_world()
    ask = a_recharge(ending(trouble))
    at_once, again = await WESTTEL.recharge(world, ask), await WESTTEL.recharge(world, ask)
    await world.advance(120)
    later = await WESTTEL.recharge(world, ask)
    assert (kind(at_once), kind(again), kind(later), credited(air)) == COMES_TO[trouble]


async def test_an_air_that_does_not_know_our_ids_again_credits_twice() -> None:
    world, air = a_world(dedups=False)
    for _ in range(2):
        await WESTTEL.recharge(world, a_recharge())
    assert credited(air) == [5000, 5000]


async def test_nobody_can_be_asked_what_became_of_a_refill_and_that_is_never_a_no() -> None:
    world, _ = a_world()
    await WESTTEL.recharge(world, a_recharge())
    sent = len(world.sent)
    assert await WESTTEL.inquire(world, a_recharge()) == Unknown(NOT_FOUND)
    assert len(world.sent) == sent, "an inquiry that refilled would be a present after a refund"
    assert WESTTEL.flags.not_found_is_final_after is None


@pytest.mark.parametrize(
    ("trouble", "refused"),
    [
        ("not_ours", Refused(NOT_THEIRS, "102")),
        ("refused", Refused("the operator has barred this number from refills", "103")),
        ("busy", Refused("the operator has blocked this number for a while", "104", final=False)),
    ],
)
async def test_the_refusals_that_the_flow_reacts_to(trouble: str, refused: Refused) -> None:
    world, _ = a_world()
    assert await WESTTEL.recharge(world, a_recharge(ending(trouble))) == refused


async def test_a_drained_float_is_some_other_error_and_stays_unknown() -> None:
    world, air = a_world(float_minor=1)
    assert isinstance(await WESTTEL.recharge(world, a_recharge()), Unknown)
    assert credited(air) == []


async def test_with_another_password_nothing_is_done_and_nothing_believed() -> None:
    world, air = a_world()
    stranger = replace(WESTTEL, password="another password")
    assert isinstance(await stranger.recharge(world, a_recharge()), Unknown)
    assert isinstance(await stranger.balance(world, "CNY"), Unknown)
    assert credited(air) == []


def test_it_sends_no_notices() -> None:
    with pytest.raises(NotVerified):
        WESTTEL.read_notice(b"<methodCall/>", {})


# The wire

MANDATORY = {  # RefillRequest: its type in XML-RPC
    "originNodeType": str,
    "originHostName": str,
    "originTransactionID": str,
    "originTimeStamp": xmlrpc.client.DateTime,
    "subscriberNumber": str,
    "subscriberNumberNAI": int,
    "transactionAmount": str,
    "transactionCurrency": str,
}


async def test_the_standard_library_reads_our_refill_and_it_has_what_air_requires() -> None:
    world, _ = a_world()
    await replace(WESTTEL, profile="A1", host_name='r<&>"').recharge(world, a_recharge())
    [order] = world.sent
    called: Any = xmlrpc.client.loads(order.body)
    [said], method = called
    assert method == "Refill"
    assert {name: type(said[name]) for name in MANDATORY} == MANDATORY
    assert (said["transactionAmount"], said["transactionCurrency"]) == ("5000", "CNY")
    assert (said["subscriberNumber"], said["originHostName"], said["refillProfileID"]) == (
        "8613800138000",
        'r<&>"',
        "A1",
    )
    assert str(said["originTimeStamp"]) == MORNING.strftime("%Y%m%dT%H:%M:%S+0000")
    assert order.url == WESTTEL.url
    assert order.headers["user-agent"] == AGENT
    assert b64decode(order.headers["authorization"].removeprefix("Basic ")).decode() == f"{USER}:{PASSWORD}"


def test_the_same_request_keeps_its_twenty_digits() -> None:
    ids = [transaction_id(f"tu_{n}a1") for n in range(10_000)]
    assert ids == [transaction_id(f"tu_{n}a1") for n in range(10_000)]
    assert len(set(ids)) == 10_000
    assert {len(id_) for id_ in ids} == {20}
    assert all(id_.isdigit() for id_ in ids)


# Answers bent by hand

GOOD: dict[str, Any] = {
    "originTransactionID": OURS,
    "responseCode": 0,
    "masterAccountNumber": "8613800138000",
    "transactionAmount": "5000",
    "transactionCurrency": "CNY",
}


def answer(**other: Any) -> bytes:
    said = {name: value for name, value in {**GOOD, **other}.items() if value is not None}
    return xmlrpc.client.dumps((said,), methodresponse=True).encode()


async def refilled(body: bytes, status: int = 200) -> Any:
    async def handle(request: Request) -> Response:
        return Response(status, {}, body)

    world = FixedWorld()
    world.route("", handle)
    return await WESTTEL.recharge(world, a_recharge())


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"responseCode": 1},
        {"responseCode": 2},
        {"responseCode": "0"},
        {"masterAccountNumber": None},
        {"masterAccountNumber": "+8613800138000"},
        {"masterAccountNumber": "013800138000"},
        {"transactionCurrency": None},
        {"transactionAmount": 5000},
        {"accountAfterRefill": {"accountValue1": "5000", "dedicatedAccountInformation": [{"id": 1}, {"id": 2}]}},
        {"negotiatedCapabilities": []},
    ],
    ids=str,
)
async def test_what_operators_do_differently_is_still_ours(other: dict[str, Any]) -> None:
    assert isinstance(await refilled(answer(**other)), Done)


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"originTransactionID": "1"}, "OTHER_REQUEST"),
        ({"originTransactionID": None}, "OTHER_REQUEST"),
        ({"originTransactionID": "1", "responseCode": 102}, "OTHER_REQUEST"),
        ({"masterAccountNumber": "8613800138001"}, "WRONG_NUMBER"),
        ({"masterAccountNumber": "38000"}, "WRONG_NUMBER"),
        ({"masterAccountNumber": ""}, "WRONG_NUMBER"),
        ({"masterAccountNumber": ["8613800138000"]}, "WRONG_NUMBER"),
        ({"transactionAmount": None}, "WRONG_AMOUNT"),
        ({"transactionAmount": "5001"}, "WRONG_AMOUNT"),
        ({"transactionAmount": "50.00"}, "WRONG_AMOUNT"),
        ({"transactionAmount": "-5000"}, "WRONG_AMOUNT"),
        ({"transactionAmount": 5000.0}, "WRONG_AMOUNT"),
        ({"transactionAmount": "5" * 5000}, "WRONG_AMOUNT"),
        ({"transactionAmount": "５０００"}, "WRONG_AMOUNT"),
        ({"transactionCurrency": "USD"}, "WRONG_AMOUNT"),
        ({"responseCode": None}, "NO_CODE"),
        ({"responseCode": 4711}, "4711"),
        ({"responseCode": "OK"}, "OK"),
        ({"responseCode": "102 "}, "102 "),
        ({"responseCode": 100}, ""),
        ({"responseCode": 999}, ""),
    ],
    ids=str,
)
async def test_what_is_not_exactly_our_request_is_unknown_and_alarms(other: dict[str, Any], code: str) -> None:
    outcome = await refilled(answer(**other))
    assert isinstance(outcome, Unknown)
    assert outcome.code == code


@pytest.mark.parametrize("status", [200, 201, 400, 404, 500, 503])
async def test_the_http_status_decides_nothing(status: int) -> None:
    assert isinstance(await refilled(answer(), status), Done)
    assert isinstance(await refilled(answer(responseCode=103), status), Refused)


def test_a_code_means_one_thing() -> None:
    assert not (CREDITED & set(REFUSES)) and not (CREDITED & set(MAYBE)) and not (set(REFUSES) & set(MAYBE))


async def test_a_fault_is_not_a_no_and_alarms() -> None:
    outcome = await refilled(xmlrpc.client.dumps(xmlrpc.client.Fault(1003, "no such operation")).encode())
    assert isinstance(outcome, Unknown)
    assert outcome.code == "FAULT_1003"


WHOLE = answer().decode()
BOMB = "<!DOCTYPE a [<!ENTITY a0 'x'>" + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12)) + "]>"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html><body>Welcome</body></html>",
        "<methodResponse/>",
        "<methodResponse><params/></methodResponse>",
        "<methodResponse><params><param><value>0</value></param></params></methodResponse>",
        WHOLE[:-10],
        WHOLE + WHOLE,
        WHOLE.replace("methodResponse", "methodCall"),
        WHOLE.replace("<member>", "<member><name>responseCode</name><value><int>0</int></value></member><member>", 1),
        WHOLE.replace("<struct>", "<struct><member><value>1</value></member>"),
        WHOLE.replace("<int>0</int>", "<int>0</int><int>1</int>"),
        WHOLE.replace(
            "<methodResponse>", '<!DOCTYPE methodResponse SYSTEM "http://elsewhere.example/x.dtd"><methodResponse>'
        ),
        WHOLE.replace("<methodResponse>", BOMB + "<methodResponse>").replace(">CNY<", ">&a11;<"),
        WHOLE.replace("<methodResponse>", '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><methodResponse>'),
        WHOLE.replace(">CNY<", ">&unknown;<"),
        "<a>" * 80_000,
        "<methodResponse>" + "<value>" * 50_000,
        WHOLE.replace(">CNY<", ">" + "x" * (1 << 18) + "<"),
        "\ud800",
    ],
    ids=len,
)
async def test_rubbish_and_what_declares_a_document_type_is_not_read(body: str) -> None:
    outcome = await refilled(body.encode("utf-8", "surrogatepass"))
    assert isinstance(outcome, Unknown)
    with pytest.raises(ValueError):
        answered(Response(200, {}, body.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize("seen", ["0", "-1250", "100000000"])
async def test_a_float_may_stand_at_zero_or_below(seen: str) -> None:
    world, _ = a_world(float_minor=int(seen))
    assert await WESTTEL.balance(world, "CNY") == Done(Money(int(seen), "CNY"))


@pytest.mark.parametrize(
    ("currency", "other"),
    [
        ("USD", {}),
        ("CNY", {"accountValue1": None}),
        ("CNY", {"accountValue1": "1E5"}),
        ("CNY", {"accountValue1": "9" * 16}),
        ("CNY", {"responseCode": 104}),
        ("CNY", {"originTransactionID": "1"}),
    ],
    ids=str,
)
async def test_a_balance_that_cannot_be_read_is_unknown(currency: str, other: dict[str, Any]) -> None:
    world, air = a_world()

    async def bent(request: Request) -> Response:
        [said], _ = tuple[Any, Any](xmlrpc.client.loads((await air.handle(request)).body))
        said = {name: value for name, value in {**said, **other}.items() if value is not None}
        return Response(200, {}, xmlrpc.client.dumps((said,), methodresponse=True).encode())

    world.route(WESTTEL.url, bent)
    assert isinstance(await WESTTEL.balance(world, currency), Unknown)


async def test_without_an_account_nobody_is_asked_for_the_float() -> None:
    world, _ = a_world()
    assert isinstance(await replace(WESTTEL, float_number="").balance(world, "CNY"), Unknown)
    assert world.sent == []


# Settings


def test_the_simulators_settings_lead_to_it() -> None:
    made = suppliers_by_name(leads(lambda name, make: make(), "http://127.0.0.1:8011"))["westtel"]
    assert isinstance(made, Ucip)
    assert (made.url, made.float_number) == (f"http://127.0.0.1:8011{PATH}", FLOAT_NUMBER)
    assert (made.flags.dedups_our_reference, made.flags.not_found_is_final_after) == (True, None)
    assert made.password not in repr(made)
    assert FLOAT_NUMBER not in repr(made)


@pytest.mark.parametrize(
    ("what", "value", "says"),
    [
        *[(what, "", "is missing") for what in ("url", "user", "password", "dedups")],
        ("url", "http://westtel.example/Air", "ucip_westtel_plain_http=yes accepts it"),
        ("dedups", "perhaps", "write yes or no"),
        ("timeout_s", "soon", "write whole seconds"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(what: str, value: str, says: str) -> None:
    settings = leads(lambda name, make: make(), "http://127.0.0.1:8011")
    with pytest.raises(BadInput, match=says):
        suppliers_by_name({**settings, f"ucip_westtel_{what}": value})


@pytest.mark.parametrize("seed", range(50))
async def test_whatever_goes_wrong_done_means_credited_once_and_refused_means_never(seed: int) -> None:
    world, air = a_world()
    world.dice.seed(seed)
    air.troubles.chances = dict.fromkeys(world.dice.sample(tuple(UcipSimulator.WHAT_HAPPENS), 4), 0.2)
    for number in range(10):
        ask = a_recharge(request_id=f"rq_{number}")
        outcomes = []
        for wait in (0, 5, 30, 90):
            await world.advance(wait)
            outcomes.append(await WESTTEL.recharge(world, ask))
        got = [one.face_minor for one in air.credits if one.request_id == transaction_id(ask.request_id)]
        if any(isinstance(outcome, Done) for outcome in outcomes):
            assert got == [5000]
        if any(isinstance(outcome, Refused) for outcome in outcomes):
            assert got == []
