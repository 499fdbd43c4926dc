"""Reloadly: against its own simulator for each trouble, and with answers bent by hand."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.errors import BadInput, NotVerified
from refill.money import Money, money
from refill.operators import Delivery, PriceLine, Recharge, SupplierNotice, suppliers_by_name
from refill.operators.reloadly import ENDED, FRESH, PERHAPS, REFUSES, Reloadly, Token, webhook_signature
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, Done, Outcome, Refused, Unknown
from refill.simulators.reloadly import SUFFIXES, WHAT_HAPPENS, ReloadlySimulator
from refill.world import NoAnswer, Request, Response

URL, AUTH = "https://topups.example", "https://auth.example"
US = "https://us.example/callbacks/suppliers/reloadly"
SETTINGS = {
    "reloadly_client_id": "refill",
    "reloadly_client_secret": "only for these tests",
    "reloadly_webhook_secret": "whsec",
    "reloadly_currency": "USD",
    "reloadly_operators": "northtel=173",
    "reloadly_url": URL,
    "reloadly_auth_url": AUTH,
}


def an_account(**other: str) -> Reloadly:
    made = suppliers_by_name({**SETTINGS, **{f"reloadly_{name}": value for name, value in other.items()}})["reloadly"]
    assert isinstance(made, Reloadly)
    return made


def a_recharge(msisdn: str = "8613800138000", request_id: str = "rq_1", **other: Any) -> Recharge:
    ask = Recharge(request_id, msisdn, money("50 CNY"), "northtel", "airtime", MORNING + timedelta(hours=1))
    return replace(ask, **other)


def ending(trouble: str) -> str:
    return "861380013" + next(end for end, what in SUFFIXES.items() if what == trouble)


def a_world(**settings: Any) -> tuple[FixedWorld, ReloadlySimulator, Inbox]:
    world, inbox = FixedWorld(), Inbox()
    far = ReloadlySimulator(
        **world.surroundings(),
        client_secret=SETTINGS["reloadly_client_secret"],
        webhook_secret=b"whsec",
        base_url=URL,
        notify_url=US,
        **settings,
    )
    world.route(URL, far.handle)
    world.route(AUTH, far.handle)
    world.route(US, inbox.handle)
    return world, far, inbox


def credited(far: ReloadlySimulator) -> list[int]:
    return [credit.face_minor for credit in far.credits]


def paths(world: FixedWorld) -> list[str]:
    return [request.url.removeprefix(URL).removeprefix(AUTH).partition("?")[0] for request in world.sent]


def kind(outcome: Outcome[Delivery]) -> str:
    return type(outcome).__name__.lower()


async def test_credit_arrives_abroad_and_leaves_a_wallet_in_dollars() -> None:
    world, far, _ = a_world(wallet_minor=10_000)
    reloadly = an_account()
    delivered = await reloadly.recharge(world, a_recharge())
    assert isinstance(delivered, Done)
    assert delivered.reference == Delivery("28000", "8613800138000", money("50 CNY"), money("6.67 USD"))
    assert credited(far) == [5000]
    assert await reloadly.balance(world, "USD") == Done(Money(10_000 - 667, "USD"))
    assert await reloadly.balance(world, "CNY") == Unknown(
        "Reloadly's answer is about another currency.", "WRONG_CURRENCY"
    )
    assert await reloadly.inquire(world, a_recharge()) == delivered
    assert paths(world).count("/oauth/token") == 1, "one token serves them all"


# What each trouble comes to: (our answer at once, an inquiry at once, an inquiry two minutes later, credit at the end)
DELIVERED, PERHAPS_, REFUSED = "done", "unknown", "refused"
NEVER_KEPT = (REFUSED, PERHAPS_, PERHAPS_, [])  # turned away: their report does not have it
COMES_TO = {
    "slow": (DELIVERED, DELIVERED, DELIVERED, [5000]),
    "lost": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "refused": NEVER_KEPT,
    "hidden": (PERHAPS_, PERHAPS_, DELIVERED, [5000]),
    "duplicate": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "odd_code": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "partial": (DELIVERED, DELIVERED, DELIVERED, [2500]),
    "html": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "truncated": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "wrong_amount": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "wrong_number": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "not_ours": NEVER_KEPT,
    "empty_float": NEVER_KEPT,
    "later": (PERHAPS_, PERHAPS_, DELIVERED, [5000]),
    "fails_later": (PERHAPS_, PERHAPS_, REFUSED, []),
    "contradicts": (DELIVERED, DELIVERED, DELIVERED, [5000]),
    "huge": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "busy": NEVER_KEPT,
    "reversed": (DELIVERED, DELIVERED, REFUSED, [5000]),
    "silent": (PERHAPS_, PERHAPS_, PERHAPS_, []),
    "error_500": (PERHAPS_, DELIVERED, DELIVERED, [5000]),
    "fails": (PERHAPS_, REFUSED, REFUSED, []),
    "token_expires": (DELIVERED, DELIVERED, DELIVERED, [5000]),
}


@pytest.mark.parametrize("trouble", sorted(WHAT_HAPPENS))
async def test_what_a_trouble_comes_to(trouble: str) -> None:
    world, far, inbox = a_world()
    reloadly, ask = an_account(), a_recharge(ending(trouble))
    at_once, asked = await reloadly.recharge(world, ask), await reloadly.inquire(world, ask)
    await world.advance(120)
    later = await reloadly.inquire(world, ask)
    assert (kind(at_once), kind(asked), kind(later), credited(far)) == COMES_TO[trouble]
    notices = {reloadly.read_notice(notice.body, notice.headers).request_id for notice in inbox.notices}
    assert notices == (set() if COMES_TO[trouble] == NEVER_KEPT or trouble == "silent" else {"rq_1"})


@pytest.mark.parametrize("trouble", sorted(WHAT_HAPPENS))
async def test_told_later_it_is_the_inquiry_that_knows(trouble: str) -> None:
    world, far, _ = a_world()
    reloadly, ask = an_account(wait="no"), a_recharge(ending(trouble))
    at_once = await reloadly.recharge(world, ask)
    assert kind(at_once) == (REFUSED if COMES_TO[trouble] == NEVER_KEPT else PERHAPS_)
    assert "/topups-async" in paths(world)
    await world.advance(120)
    assert kind(await reloadly.inquire(world, ask)) == COMES_TO[trouble][2]
    assert credited(far) == COMES_TO[trouble][3]


@pytest.mark.parametrize("trouble", sorted(WHAT_HAPPENS))
async def test_a_name_that_they_have_is_never_credited_twice(trouble: str) -> None:
    world, far, _ = a_world()
    reloadly, ask = an_account(), a_recharge(ending(trouble))
    first = await reloadly.recharge(world, ask)
    again = await reloadly.recharge(world, ask)
    await world.advance(120)
    assert credited(far) == COMES_TO[trouble][3]
    if not isinstance(first, Refused):
        assert again == Unknown(PERHAPS["CUSTOM_IDENTIFIER_ALREADY_USED"])


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_goes_wrong_done_means_credited_and_refused_means_never(seed: int) -> None:
    world, far, _ = a_world()
    world.dice.seed(seed)
    reloadly = an_account()
    troubles = (*WHAT_HAPPENS, "inquiry_lost", "inquiry_html", "token_lost")
    far.troubles.chances = dict.fromkeys(world.dice.sample(troubles, 5), 0.2)
    for number in range(10):
        ask = a_recharge(request_id=f"rq_{number}")
        outcomes = [await reloadly.recharge(world, ask)]
        for wait in (0, 5, 30, 90):
            await world.advance(wait)
            outcomes.append(await reloadly.inquire(world, ask))
        got = [credit.face_minor for credit in far.credits if credit.request_id == ask.request_id]
        back = [credit.face_minor for credit in far.reversals if credit.request_id == ask.request_id]
        assert all(got == [outcome.reference.face.minor] for outcome in outcomes if isinstance(outcome, Done))
        assert got == back or not any(isinstance(outcome, Refused) for outcome in outcomes)
        if number % 3 == 0:
            far.tokens.clear()  # they forgot us


# Tokens


async def test_an_expired_token_is_renewed_and_the_order_handed_in_once() -> None:
    world, far, _ = a_world()
    reloadly = an_account()
    await reloadly.recharge(world, a_recharge())
    far.tokens.clear()
    delivered = await reloadly.recharge(world, a_recharge(request_id="rq_2"))
    assert isinstance(delivered, Done)
    assert paths(world) == ["/oauth/token", "/topups", "/topups", "/oauth/token", "/topups"]
    assert credited(far) == [5000, 5000]


async def test_a_token_is_renewed_before_it_expires() -> None:
    world, _, _ = a_world()
    reloadly = an_account()
    await reloadly.balance(world, "USD")
    await world.advance(86_400)
    await reloadly.balance(world, "USD")
    assert paths(world) == ["/oauth/token", "/accounts/balance"] * 2


async def test_who_is_turned_away_twice_has_handed_nothing_in() -> None:
    world, far, _ = a_world()
    reloadly = an_account()
    far._now = lambda: MORNING + timedelta(days=300)  # to them every token is old, as with a clock that is off
    far.tokens = _Forgetful()
    refused = await reloadly.recharge(world, a_recharge())
    assert isinstance(refused, Refused)
    assert not refused.final
    assert paths(world) == ["/oauth/token", "/topups"] * 2
    assert credited(far) == []


class _Forgetful(dict[str, Any]):
    def get(self, *_: object) -> None:
        return None


async def test_without_a_token_nothing_was_sent() -> None:
    world, far, _ = a_world()
    reloadly = an_account()
    far.troubles.plan("token_lost")
    assert await reloadly.recharge(world, a_recharge()) == Refused(NOT_SENT, final=False)
    assert paths(world) == ["/oauth/token"]
    far.troubles.plan("token_lost", 2)
    assert isinstance(await reloadly.inquire(world, a_recharge()), Unknown)
    assert isinstance(await reloadly.balance(world, "USD"), Unknown)


async def test_a_wrong_secret_is_named_and_refuses() -> None:
    world, far, _ = a_world()
    refused = await an_account(client_secret="another").recharge(world, a_recharge())
    assert isinstance(refused, Refused)
    assert (refused.code, refused.final) == ("INVALID_CREDENTIALS", False)
    assert credited(far) == []


async def test_a_token_that_came_too_late_sends_nothing() -> None:
    world, _, _ = a_world()
    late = a_recharge(send_before=MORNING)
    assert isinstance(await an_account().recharge(world, late), Unknown)
    assert paths(world) == ["/oauth/token"]


async def test_turned_away_and_then_too_late_is_surely_not_done() -> None:
    world, far, _ = a_world()
    reloadly = an_account()
    await reloadly.balance(world, "USD")
    far.tokens.clear()

    async def slow_door(request: Request) -> Response:
        answer = await far.handle(request)
        await world.advance(30)
        return answer

    world.route(f"{AUTH}/oauth", slow_door)
    ask = a_recharge(send_before=MORNING + timedelta(seconds=20))
    assert await reloadly.recharge(world, ask) == Refused(NOT_SENT, final=False)
    assert credited(far) == []


@pytest.mark.parametrize("token", ["", "with a space", "line\nbreak", "x" * 9000, None, "ключ"])
async def test_a_token_that_cannot_stand_in_a_header_is_none(token: object) -> None:
    world = world_that_says({"access_token": token, "expires_in": 5})
    assert await an_account().recharge(world, a_recharge()) == Refused(NOT_SENT, final=False)


async def test_no_secret_is_shown() -> None:
    world, _, _ = a_world()
    reloadly = an_account()
    await reloadly.balance(world, "USD")
    assert reloadly.token
    for secret in ("only for these tests", "whsec", reloadly.token.text):
        assert secret not in repr(reloadly)


@pytest.mark.parametrize("ours_is_ahead", [timedelta(hours=8), timedelta(hours=-8)])
async def test_with_a_clock_eight_hours_off_credit_still_arrives_once(ours_is_ahead: timedelta) -> None:
    world, far, _ = a_world()
    reloadly = an_account()
    far._now = lambda: MORNING
    world.clock += ours_is_ahead
    world.db_ahead = -ours_is_ahead
    assert isinstance(await reloadly.recharge(world, a_recharge()), Done)
    assert isinstance(await reloadly.recharge(world, a_recharge(request_id="rq_2")), Done)
    assert paths(world) == ["/oauth/token", "/topups", "/topups"]
    assert credited(far) == [5000, 5000]


# The wire


async def test_the_wire_carries_the_number_in_its_body_only() -> None:
    world, _, _ = a_world()
    reloadly = an_account(operators="*=auto")
    assert isinstance(await reloadly.recharge(world, a_recharge()), Done)
    await reloadly.inquire(world, a_recharge())
    assert paths(world) == ["/oauth/token", "/mnp-lookup/operators", "/topups", "/topups/reports/transactions"]
    assert not any("13800138000" in request.url for request in world.sent)
    order = world.sent[2]
    assert json.loads(order.body) == {
        "operatorId": "173",
        "amount": "50.00",
        "useLocalAmount": True,
        "customIdentifier": "rq_1",
        "recipientPhone": {"countryCode": "CN", "number": "8613800138000"},
    }
    assert order.headers["accept"] == "application/com.reloadly.topups-v1+json"
    assert json.loads(world.sent[0].body)["audience"] == URL


async def test_in_our_own_currency_they_are_told_so() -> None:
    world, far, _ = a_world(local_currency="USD", rate_per_mille=1000)
    delivered = await an_account().recharge(world, a_recharge(face=money("5 USD")))
    assert isinstance(delivered, Done)
    assert delivered.reference.face == money("5 USD")
    assert json.loads(world.sent[-1].body)["useLocalAmount"] is False
    assert credited(far) == [500]


async def test_dollars_for_a_telephone_abroad_are_what_was_ordered() -> None:
    world, far, _ = a_world()
    delivered = await an_account().recharge(world, a_recharge(face=money("5 USD")))
    assert isinstance(delivered, Done)
    assert (delivered.reference.face, delivered.reference.cost) == (money("5 USD"), money("4.75 USD"))
    assert credited(far) == [3565]


@pytest.mark.parametrize(
    ("other", "outcome"),
    [
        ({"requestedAmount": 5, "deliveredAmount": 35.65}, Done),
        ({"requestedAmount": 5.01, "deliveredAmount": 35.65}, Unknown),
        ({"requestedAmount": 5, "deliveredAmount": 0}, Unknown),
        ({"requestedAmount": 5, "requestedAmountCurrencyCode": "EUR"}, Unknown),
    ],
    ids=str,
)
async def test_dollars_for_abroad_are_compared_with_what_was_taken(other: dict[str, Any], outcome: type) -> None:
    answer = await READY.recharge(world_that_says({**GOOD, **other}), a_recharge(face=money("5 USD")))
    assert type(answer) is outcome


async def test_a_lookup_that_nobody_answers_has_ordered_nothing() -> None:
    async def silence(request: Request) -> Response:
        raise NoAnswer("reset")

    world = FixedWorld()
    world.route("", silence)
    finds = holding_a_token(an_account(operators="*=auto"))
    assert await finds.recharge(world, a_recharge()) == Refused(NOT_SENT, final=False)
    assert await READY.recharge(world, a_recharge()) == Unknown("Reloadly did not answer.")


@pytest.mark.parametrize(
    ("operators", "product", "chosen"),
    [
        ("northtel=173", "airtime", "173"),
        ("northtel=173 northtel/data=812", "data", "812"),
        ("northtel/data=812,*=9", "airtime", "9"),
    ],
)
async def test_a_product_leads_to_its_operator_there(operators: str, product: str, chosen: str) -> None:
    world, _, _ = a_world()
    await an_account(operators=operators).recharge(world, a_recharge(product=product))
    assert json.loads(world.sent[-1].body)["operatorId"] == chosen


async def test_an_operator_that_we_do_not_buy_there_is_refused_unasked() -> None:
    world, _, _ = a_world()
    refused = await an_account(operators="southnet=5").recharge(world, a_recharge())
    assert isinstance(refused, Refused)
    assert (refused.final, world.sent) == (False, [])


@pytest.mark.parametrize("said", [{"errorCode": "COULD_NOT_AUTO_DETECT_OPERATOR"}, {"status": 404}, {"id": "a/b"}])
async def test_a_number_that_nobody_can_place_is_refused_before_it_is_ordered(said: dict[str, Any]) -> None:
    world = world_that_says(said)
    refused = await holding_a_token(an_account(operators="*=auto")).recharge(world, a_recharge())
    assert isinstance(refused, Refused)
    assert paths(world) == ["/mnp-lookup/operators"]


async def test_never_heard_of_it_is_not_a_refusal() -> None:
    world, _, _ = a_world()
    assert await an_account().inquire(world, a_recharge()) == Unknown(NOT_FOUND)


async def test_a_drained_wallet_parks_and_a_filled_one_delivers() -> None:
    world, far, _ = a_world(wallet_minor=666)
    reloadly = an_account()
    assert await reloadly.recharge(world, a_recharge()) == Refused(EMPTY_FLOAT, "INSUFFICIENT_BALANCE", final=False)
    far.wallet_minor += 1
    assert isinstance(await reloadly.recharge(world, a_recharge(request_id="rq_2")), Done)
    assert await reloadly.balance(world, "USD") == Done(Money(0, "USD"))


# Answers bent by hand


GOOD = {
    "transactionId": 28805,
    "status": "SUCCESSFUL",
    "customIdentifier": "rq_1",
    "recipientPhone": "8613800138000",
    "requestedAmount": 7.0125,
    "requestedAmountCurrencyCode": "USD",
    "deliveredAmount": 50.0,
    "deliveredAmountCurrencyCode": "CNY",
}


def world_that_says(said: object, status: int = 200) -> FixedWorld:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()

    async def handle(request: Request) -> Response:
        return Response(status, {}, body)

    world = FixedWorld()
    world.route("", handle)
    return world


def holding_a_token(reloadly: Reloadly) -> Reloadly:
    return replace(reloadly, token=Token("t" * 20, MORNING + timedelta(days=1)))


READY = holding_a_token(an_account())


@pytest.mark.parametrize(
    ("other", "cost"),
    [
        ({}, "7.01 USD"),
        ({"discount": 0.35}, "6.66 USD"),
        ({"discount": 0.35, "discountCurrencyCode": "USD"}, "6.66 USD"),
        ({"cost": 6.6619}, "6.66 USD"),
        ({"cost": 0}, "0 USD"),
        ({"requestedAmount": None}, ""),
    ],
    ids=str,
)
async def test_a_cost_is_read_in_its_own_currency(other: dict[str, Any], cost: str) -> None:
    delivered = await READY.recharge(world_that_says({**GOOD, **other}), a_recharge())
    assert isinstance(delivered, Done)
    told = delivered.reference.cost
    assert (told and (told.minor, told.currency)) == ((round(float(cost.split()[0]) * 100), "USD") if cost else None)


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"customIdentifier": "RQ_1"}, "OTHER_REQUEST"),
        ({"customIdentifier": None}, "OTHER_REQUEST"),
        ({"recipientPhone": "8613800138001"}, "WRONG_NUMBER"),
        ({"recipientPhone": "13800138000"}, "WRONG_NUMBER"),
        ({"recipientPhone": None}, "WRONG_NUMBER"),
        ({"deliveredAmount": 50.01}, "WRONG_AMOUNT"),
        ({"deliveredAmount": 49.9985}, "WRONG_AMOUNT"),
        ({"deliveredAmount": 0}, "WRONG_AMOUNT"),
        ({"deliveredAmount": -50}, "WRONG_AMOUNT"),
        ({"deliveredAmount": "５０"}, "WRONG_AMOUNT"),
        ({"deliveredAmount": None}, "WRONG_AMOUNT"),
        ({"deliveredAmount": True}, "WRONG_AMOUNT"),
        ({"deliveredAmountCurrencyCode": "USD"}, "WRONG_AMOUNT"),
        ({"deliveredAmountCurrencyCode": "cny"}, "WRONG_AMOUNT"),
        ({"cost": -1}, "WRONG_AMOUNT"),
        ({"cost": "much"}, "WRONG_AMOUNT"),
        ({"discount": 8}, "WRONG_AMOUNT"),
        ({"discount": 1, "discountCurrencyCode": "EUR"}, "WRONG_AMOUNT"),
        ({"transactionId": None}, "NO_REFERENCE"),
        ({"status": "DELIVERED"}, "DELIVERED"),
        ({"status": "successful"}, "successful"),
        ({"status": None}, "None"),
        ({"status": "PROCESSING"}, ""),
        ({"errorCode": None}, "none"),
        ({"errorCode": "E-4711"}, "E-4711"),
        ({"errorCode": "insufficient_balance"}, "insufficient_balance"),
        ({"errorCode": ["TOKEN"]}, "['TOKEN']"),
    ],
    ids=str,
)
async def test_what_is_not_exactly_our_request_is_unknown_and_alarms(other: dict[str, Any], code: str) -> None:
    answer = await READY.recharge(world_that_says({**GOOD, **other}), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.code == code


@pytest.mark.parametrize("status", [200, 201, 202, 400, 404, 409, 429, 500, 503])
async def test_the_http_status_decides_nothing(status: int) -> None:
    assert isinstance(await READY.recharge(world_that_says(GOOD, status), a_recharge()), Done)
    busy = {"message": "No.", "errorCode": "CONNECTION_TO_OPERATOR_TEMPORARILY_DOWN"}
    assert isinstance(await READY.recharge(world_that_says(busy, status), a_recharge()), Refused)
    assert isinstance(await READY.recharge(world_that_says({"message": "No."}, status), a_recharge()), Unknown)


@pytest.mark.parametrize("code", sorted(REFUSES))
async def test_a_refusal_of_the_table_is_a_refusal_of_an_order_and_of_no_inquiry(code: str) -> None:
    said = {"message": "No.", "errorCode": code}
    refused = await READY.recharge(world_that_says(said), a_recharge())
    assert isinstance(refused, Refused)
    assert refused.reason in (REFUSES[code].reason, NOT_SENT)  # who is not let in and gets no token has sent nothing
    assert isinstance(await READY.inquire(world_that_says(said), a_recharge()), Unknown)


@pytest.mark.parametrize("code", sorted(PERHAPS))
async def test_a_perhaps_of_the_table_alarms_nobody(code: str) -> None:
    assert await READY.recharge(world_that_says({"errorCode": code}), a_recharge()) == Unknown(PERHAPS[code])


@pytest.mark.parametrize("status", sorted(ENDED))
async def test_how_a_top_up_ended_is_said_in_the_report(status: str) -> None:
    world = world_that_says({"content": [{**GOOD, "status": status}], "totalElements": 1})
    assert await READY.inquire(world, a_recharge()) == Refused(ENDED[status].reason, status, final=False)


@pytest.mark.parametrize(
    "said",
    [
        {"content": [], "totalElements": 3},
        {"content": [{**GOOD, "customIdentifier": "RQ_1"}]},
        {"content": [GOOD, GOOD]},
        {"content": ["rq_1"]},
        {"content": {}},
        {"errorCode": "PROVIDER_INTERNAL_ERROR", "content": []},
        GOOD,
        [],
    ],
    ids=str,
)
async def test_a_report_that_is_not_about_us_alone_proves_nothing(said: object) -> None:
    answer = await READY.inquire(world_that_says(said), a_recharge())
    assert isinstance(answer, Unknown)
    assert answer.why != NOT_FOUND


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b'"SUCCESSFUL"',
        json.dumps(GOOD)[:-1].encode(),
        json.dumps(GOOD).encode()[:-1] + b', "deliveredAmount": 30}',
        json.dumps(GOOD).encode().replace(b"50.0", b"NaN"),
        json.dumps(GOOD).encode().replace(b"50.0", b"5e1"),
        json.dumps(GOOD).encode("utf-16"),
        json.dumps({**GOOD, "more": "x" * (1 << 20)}).encode(),
    ],
    ids=len,
)
async def test_rubbish_is_rubbish_and_is_not_repeated_to_anybody(body: bytes) -> None:
    answer = await READY.recharge(world_that_says(body), a_recharge())
    assert isinstance(answer, Unknown)
    assert "13800138000" not in answer.why


@pytest.mark.parametrize(("number", "minor"), [(0, 0), (-12.5, -1250), (5109.53732, 510_954)])
async def test_a_wallet_may_stand_at_zero_or_below(number: float, minor: int) -> None:
    world = world_that_says({"balance": number, "currencyCode": "USD"})
    assert await READY.balance(world, "USD") == Done(Money(minor, "USD"))


@pytest.mark.parametrize("said", [{"balance": None, "currencyCode": "USD"}, {"balance": "5"}, {}, []])
async def test_a_balance_that_cannot_be_read_is_unknown(said: object) -> None:
    assert isinstance(await READY.balance(world_that_says(said), "USD"), Unknown)


# The price list


async def test_the_price_list_of_the_simulator_is_read() -> None:
    world, _, _ = a_world()
    answer = await an_account().price_list(world)
    assert isinstance(answer, Done)
    assert answer.reference.unread == ()
    assert answer.reference.lines == (
        PriceLine(
            operator="173",
            product="173",
            kind="range",
            face=money("10 CNY"),
            cost=money("1.34 USD"),
            most=money("500 CNY"),
            most_cost=money("66.62 USD"),
            country="CN",
            name="Northtel",
        ),
    )


OPERATOR = {
    "operatorId": 5,
    "name": "Southnet",
    "supportsLocalAmounts": False,
    "denominationType": "FIXED",
    "senderCurrencyCode": "USD",
    "destinationCurrencyCode": "NGN",
    "internationalDiscount": 5.53,
    "fixedAmounts": [1, 2.5],
    "localFixedAmounts": [],
    "country": {"isoName": "NG"},
}


async def listed(*operators: object) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    answer = await READY.price_list(world_that_says({"content": list(operators), "last": True}))
    assert isinstance(answer, Done)
    return [(str(line.face), str(line.cost)) for line in answer.reference.lines], answer.reference.unread


async def test_a_fixed_operator_has_a_line_for_each_amount() -> None:
    assert await listed(OPERATOR) == ([("1.00 USD", "0.94 USD"), ("2.50 USD", "2.36 USD")], ())
    assert await listed({**OPERATOR, "internationalDiscount": None}) == (
        [("1.00 USD", "1.00 USD"), ("2.50 USD", "2.50 USD")],
        (),
    )
    local = {**OPERATOR, "supportsLocalAmounts": True, "localFixedAmounts": [500, 1250]}
    assert await listed(local) == ([("500.00 NGN", "0.94 USD"), ("1250.00 NGN", "2.36 USD")], ())


@pytest.mark.parametrize(
    "other",
    [
        {"senderCurrencyCode": "XXX"},
        {"fixedAmounts": [1, "much"]},
        {"fixedAmounts": None},
        {"internationalDiscount": 100},
        {"internationalDiscount": -1},
        {"supportsLocalAmounts": True, "localFixedAmounts": [500]},
        {"denominationType": "RANGE"},
    ],
    ids=str,
)
async def test_what_cannot_be_read_is_named_and_the_rest_is_read(other: dict[str, Any]) -> None:
    lines, unread = await listed({**OPERATOR, **other}, {**OPERATOR, "operatorId": 6, "fixedAmounts": [3]}, None)
    assert ("3.00 USD", "2.83 USD") in lines
    assert unread == ("5", "")


async def test_a_list_that_breaks_off_or_never_ends_is_unknown() -> None:
    assert isinstance(await READY.price_list(world_that_says({"content": [OPERATOR], "last": False})), Unknown)
    assert isinstance(await READY.price_list(world_that_says({"errorCode": "PROVIDER_INTERNAL_ERROR"})), Unknown)
    assert isinstance(await READY.price_list(world_that_says(b"<html>")), Unknown)
    assert isinstance(await READY.price_list(FixedWorld()), Unknown)


# Webhooks


NOTICE: dict[str, Any] = {
    "type": "airtime_transaction.status",
    "data": {"transactionId": 28805, "customIdentifier": "rq_1", "status": "SUCCESSFUL"},
}
STAMP = str(int(MORNING.timestamp() * 1000))


def a_notice(said: object = NOTICE, stamp: str = STAMP, secret: bytes = b"whsec") -> tuple[bytes, dict[str, str]]:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    signed = webhook_signature(secret, body, stamp)
    return body, {"x-reloadly-request-timestamp": stamp, "x-reloadly-signature": signed}


def test_the_signature_is_that_of_public_integrations() -> None:
    body = b'{"type":"airtime_transaction.status"}'
    expected = "1fe4556e806aacfcb313a94b5989c50a5c183957ac7a17dd84bdb9a983ef7085"
    assert webhook_signature(b"whsec", body, "1700000000000") == expected


def test_a_notice_that_holds_names_a_request_and_no_more() -> None:
    nested = {**NOTICE, "data": {"transaction": NOTICE["data"]}}
    for said in (NOTICE, nested):
        assert READY.read_notice(*a_notice(said), received_at=MORNING) == SupplierNotice("28805.SUCCESSFUL", "rq_1")


@pytest.mark.parametrize(("age", "fresh"), [(timedelta(0), True), (FRESH, True), (timedelta(days=1), False)])
def test_an_old_notice_still_makes_us_ask(age: timedelta, fresh: bool) -> None:
    assert READY.read_notice(*a_notice(), received_at=MORNING + age).fresh is fresh


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (a_notice()[0] + b" ", a_notice()[1]),
        (a_notice()[0], {**a_notice()[1], "x-reloadly-signature": ""}),
        (a_notice()[0], {**a_notice()[1], "x-reloadly-signature": "签名"}),
        (a_notice()[0], {**a_notice()[1], "x-reloadly-request-timestamp": "1"}),
        (a_notice()[0], {"x-reloadly-signature": a_notice()[1]["x-reloadly-signature"]}),
        a_notice(secret=b"another"),
        a_notice(secret=b""),
        a_notice(stamp="１７９５３１２８００"),
        a_notice(stamp=STAMP + "\n"),
        a_notice([]),
        a_notice({}),
        a_notice({**NOTICE, "type": "giftcard_transaction.status"}),
        a_notice({**NOTICE, "data": {**NOTICE["data"], "customIdentifier": None}}),
        a_notice({**NOTICE, "data": {**NOTICE["data"], "customIdentifier": "x" * 65}}),
        a_notice({**NOTICE, "data": [1]}),
        a_notice(b'{"type":"airtime_transaction.status","type":"x","data":{}}'),
        a_notice(b"[" * 60_000),
        a_notice(b"x" * 70_000),
    ],
    ids=str,
)
def test_a_notice_that_does_not_hold_is_refused(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(NotVerified):
        READY.read_notice(body, headers, MORNING)


def test_without_a_webhook_secret_no_notice_is_believed() -> None:
    with pytest.raises(NotVerified):
        an_account(webhook_secret="").read_notice(*a_notice(secret=b""))


# Settings


def test_the_flags_are_those_that_the_firm_allows() -> None:
    flags = an_account().flags
    assert (flags.dedups_our_reference, flags.not_found_is_final_after, flags.can_reverse) == (False, None, False)
    told = an_account(not_found_final_s="3600", timeout_s="30").flags
    assert (told.not_found_is_final_after, told.timeout_s) == (timedelta(hours=1), 30)
    assert set(suppliers_by_name({})) == {"pins"}  # our own stock needs no setting


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_secret", ""),
        ("currency", ""),
        ("currency", "usd"),
        ("operators", ""),
        ("operators", "northtel"),
        ("operators", "northtel=abc"),
        ("operators", "=5"),
        ("timeout_s", "1.5"),
        ("url", "http://topups.example"),
        ("auth_url", "http://auth.example"),
        ("not_found_final_s", "never"),
        ("not_found_final_s", "0"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"reloadly_{name}"):
        an_account(**{name: value})
