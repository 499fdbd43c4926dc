"""Cards through Stripe's hosted Checkout: what we ask, what we make of every answer and notice, and what we never believe."""

import hmac
import io
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.worlds import MORNING, FixedWorld

from refill.errors import BadInput, NotVerified
from refill.money import EXPONENT, money
from refill.outcome import NOT_SENT, Done, Refused, Unknown
from refill.payments import (
    ABSENT,
    ALREADY_PAID,
    CLOSED,
    WAITING,
    BadStatement,
    Capture,
    Charge,
    Dispute,
    Invitation,
    Notice,
    RawNotice,
    RefundAsk,
    StatementLine,
    methods_by_name,
    shelf,
)
from refill.world import NoAnswer, NotSent, Request, Response

FILE = shelf()["card"]
KEY, SECRET, OLD = "sk_test_our_own_one", "whsec_ours", "whsec_before"
SETTINGS = {"card_secret_key": KEY, "card_webhook_secret": SECRET, "card_webhook_secret_old": OLD}
CARD: Any = methods_by_name(SETTINGS)["card"]
CAPTURE = Capture("card", "test", "pi_1", "pay_1", money("49.80 CNY"), MORNING - timedelta(seconds=2))
PAID_STAMP = int(CAPTURE.paid_at.timestamp())

# What stands at Stripe

OPEN = {
    "id": "cs_test_1",
    "object": "checkout.session",
    "amount_total": 4980,
    "client_reference_id": "pay_1",
    "currency": "cny",
    "livemode": False,
    "metadata": {"reference": "pay_1"},
    "payment_intent": None,
    "payment_status": "unpaid",
    "status": "open",
    "url": "https://checkout.stripe.com/c/pay/cs_test_1",
}
INTENT = {"id": "pi_1", "object": "payment_intent", "latest_charge": {"id": "ch_1", "created": PAID_STAMP}}
PAID = {**OPEN, "payment_intent": INTENT, "payment_status": "paid", "status": "complete", "url": None}
SHUT = {**OPEN, "status": "expired", "url": None}
SLOW = {**PAID, "payment_status": "unpaid", "payment_intent": {**INTENT, "status": "processing"}}
PRODUCT = {"id": "pay_1", "object": "product", "metadata": {"session": "cs_test_1"}}
REFUND = {
    "id": "re_1",
    "object": "refund",
    "amount": 4980,
    "currency": "cny",
    "metadata": {"request_id": "rf_1", "reference": "pay_1"},
    "payment_intent": "pi_1",
    "status": "succeeded",
}
NOTHING = {"object": "list", "data": [], "has_more": False}
ASK = RefundAsk("rf_1", "pay_1", "pi_1", money("49.80 CNY"), money("49.80 CNY"), "not delivered")


def listed(*refunds: Any, has_more: bool = False) -> dict[str, Any]:
    return {"object": "list", "data": list(refunds), "has_more": has_more}


def no(code: str = "", status: int = 400, **other: str) -> tuple[int, dict[str, Any]]:
    error = {"type": "invalid_request_error", "code": code, **other}
    return status, {"error": {name: value for name, value in error.items() if value}}


MISSING = no("resource_missing", 404, param="id")
EXISTS = no("resource_already_exists", param="id")
OTHER_PARTICULARS = no(type="idempotency_error")


def stripe(*answers: Any) -> FixedWorld:
    """A world in which Stripe gives these answers in turn: an object, a status with an object, bytes, or an error."""
    world, left = FixedWorld(), list(answers)

    async def handle(request: Request) -> Response:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, said = answer if isinstance(answer, tuple) else (200, answer)
        return Response(status, {}, said if isinstance(said, bytes) else json.dumps(said).encode())

    world.route(CARD.api_url, handle)
    return world


def asked(world: FixedWorld) -> list[str]:
    return [f"{one.method} {urlsplit(one.url).path}" for one in world.sent]


def fields_of(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode() or urlsplit(request.url).query, strict_parsing=True))


def a_charge(**other: Any) -> Charge:
    fields = {
        "reference": "pay_1",
        "amount": money("49.80 CNY"),
        "subject": "手机充值 50 元",
        "expires_at": MORNING + timedelta(minutes=15, microseconds=999_999),
        "return_url": "https://us.example/orders/1?lang=zh",
    }
    return Charge(**{**fields, **other})


PAGE = Done(Invitation("redirect", OPEN["url"]))


# Where the person is sent


async def test_a_person_is_sent_to_a_session_only_when_a_product_leads_back_to_it() -> None:
    world = stripe(OPEN, PRODUCT)
    assert await CARD.begin(world, a_charge()) == PAGE
    assert asked(world) == ["POST /v1/checkout/sessions", "POST /v1/products"]
    session, product = world.sent
    assert fields_of(session) == {
        "mode": "payment",
        "client_reference_id": "pay_1",
        "metadata[reference]": "pay_1",
        "payment_intent_data[metadata][reference]": "pay_1",
        "payment_method_types[0]": "card",
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "cny",
        "line_items[0][price_data][unit_amount]": "4980",
        "line_items[0][price_data][product_data][name]": "手机充值 50 元",
        "adaptive_pricing[enabled]": "false",
        # Half an hour after the charge is over, for Stripe keeps a session no shorter; counted from the charge, so that
        # a repeat is the same request.
        "expires_at": str(int((MORNING + timedelta(minutes=46)).timestamp())),
        "success_url": "https://us.example/orders/1?lang=zh",
        "cancel_url": "https://us.example/orders/1?lang=zh",
    }
    assert dict(session.headers) == {
        "authorization": f"Bearer {KEY}",
        "stripe-version": FILE.VERSION,
        "idempotency-key": "pay_1",
        "content-type": "application/x-www-form-urlencoded",
    }
    assert fields_of(product) == {
        "id": "pay_1",
        "name": "Checkout pay_1",
        "active": "false",
        "metadata[session]": "cs_test_1",
    }
    assert all("pay_1" not in request.url and KEY not in request.url for request in world.sent)


async def test_a_charge_that_is_open_for_days_is_open_for_one_at_stripe() -> None:
    world = stripe(OPEN, PRODUCT)
    assert await CARD.begin(world, a_charge(expires_at=MORNING + timedelta(days=7))) == PAGE
    until = MORNING + timedelta(hours=23, minutes=59)
    assert fields_of(world.sent[0])["expires_at"] == str(int(until.timestamp()))


async def test_a_subject_is_cut_and_made_of_letters() -> None:
    world = stripe(OPEN, PRODUCT)
    await CARD.begin(world, a_charge(subject="A&mode=setup\ud800" + "长" * 300, return_url=""))
    fields = fields_of(world.sent[0])
    assert fields["line_items[0][price_data][product_data][name]"].startswith("A&mode=setup?长")
    assert len(fields["line_items[0][price_data][product_data][name]"]) == 200
    assert "success_url" not in fields


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"amount": money("1.255 KWD")}, "Stripe cannot charge this amount in this currency"),
        ({"amount": money("10 GHS")}, "Stripe cannot charge this amount in this currency"),
        ({"amount": money("10 IQD")}, "Stripe cannot charge this amount in this currency"),
        ({"scene": "qr"}, "a card has no scene 'qr'"),
        ({"expires_at": MORNING}, CLOSED),
    ],
    ids=str,
)
async def test_what_cannot_be_begun_is_not_asked(other: dict[str, Any], reason: str) -> None:
    world = FixedWorld()
    assert await CARD.begin(world, a_charge(**other)) == Refused(reason)
    assert world.sent == []


NOT_OURS = Unknown("Stripe's answer is about another payment.", "OTHER_SESSION")
OTHER_ONE = {**PRODUCT, "metadata": {"session": "cs_test_0"}}
FIRST = {**OPEN, "id": "cs_test_0", "url": "https://checkout.stripe.com/c/pay/cs_test_0"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((OPEN, EXISTS, PRODUCT, OPEN), PAGE),
        ((OPEN, EXISTS, OTHER_ONE, FIRST), Done(Invitation("redirect", FIRST["url"]))),  # the first one is the one
        ((OTHER_PARTICULARS, PRODUCT, OPEN), PAGE),
        ((OPEN, EXISTS, PRODUCT, PAID), Refused(ALREADY_PAID)),
        ((OPEN, EXISTS, PRODUCT, SHUT), Refused(CLOSED)),
        (
            (OTHER_PARTICULARS, PRODUCT, {**OPEN, "amount_total": 4981}),
            Refused("the reference was used for another payment"),
        ),
        (
            (OTHER_PARTICULARS, PRODUCT, {**OPEN, "currency": "usd"}),
            Refused("the reference was used for another payment"),
        ),
        (
            (OTHER_PARTICULARS, MISSING),
            Unknown("Stripe knows this reference with other particulars.", "idempotency_error"),
        ),
        ((OPEN, NoAnswer("reset")), Unknown("Stripe did not answer.")),
        ((OPEN, NotSent("refused")), Refused(NOT_SENT, final=False)),
        ((NotSent("refused"),), Refused(NOT_SENT, final=False)),
        ((NoAnswer("reset"),), Unknown("Stripe did not answer.")),
        ((OPEN, EXISTS, NoAnswer("reset")), Unknown("Stripe did not answer.")),
        (({**OPEN, "client_reference_id": "pay_2"},), NOT_OURS),
        ((OPEN, {**PRODUCT, "id": "pay_2"}), Unknown("Stripe's answer is about another payment.", "OTHER_PRODUCT")),
        ((OPEN, OTHER_ONE), Unknown("Stripe's answer is about another payment.", "OTHER_PRODUCT")),
        (({**OPEN, "url": ""}, PRODUCT), Unknown("Stripe names no page on which to pay.", "NO_URL")),
        (({**OPEN, "status": "shiny"}, PRODUCT), Unknown("Stripe names no page on which to pay.", "NO_URL")),
        ((no("amount_too_small"),), Refused("the amount is below what Stripe charges", "amount_too_small")),
        (
            (no("idempotency_key_in_use", 409, type="idempotency_error"),),
            Unknown("Stripe does not say what became of it."),
        ),
        ((no("rate_limit", 429),), Unknown("Stripe does not say what became of it.")),
        ((no("amount_too_small", 500),), Unknown("Stripe does not say what became of it.", "amount_too_small")),
        ((no("shiny_new"),), Unknown("Stripe does not say what became of it.", "shiny_new")),
        ((no(status=401),), Unknown("Stripe does not say what became of it.", "invalid_request_error")),
        (((200, {**OPEN, "error": {"type": "api_error"}}),), Unknown("Stripe does not say what became of it.")),
        (((500, {"error": "oops"}),), Unknown("Stripe does not say what became of it.", "NO_OBJECT")),
    ],
    ids=lambda value: str(value)[-60:],
)
async def test_what_beginning_tells(answers: tuple[Any, ...], expected: object) -> None:
    assert await CARD.begin(stripe(*answers), a_charge()) == expected


async def test_a_page_that_comes_too_late_is_shown_to_nobody() -> None:
    world = FixedWorld()

    async def slowly(request: Request) -> Response:
        await world.advance(8 * 60)
        return Response(200, {}, json.dumps(OPEN if "sessions" in request.url else PRODUCT).encode())

    world.route(CARD.api_url, slowly)
    assert await CARD.begin(world, a_charge()) == Refused(CLOSED)


# What a look tells

STATE = "Stripe names a state that we do not know."
AMOUNT = Unknown("Stripe names no amount that we can read, or no payment.", "NO_AMOUNT")


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (PAID, Done(CAPTURE)),
        (OPEN, Refused(WAITING, final=False)),
        (SHUT, Refused(CLOSED)),
        (SLOW, Refused(WAITING, final=False)),
        ({**SLOW, "payment_intent": {**INTENT, "status": "requires_payment_method"}}, Refused(CLOSED)),
        ({**SLOW, "payment_intent": {**INTENT, "status": "canceled"}}, Refused(CLOSED)),
        ({**SLOW, "payment_intent": {**INTENT, "status": "shiny"}}, Unknown(STATE, "shiny")),
        ({**SLOW, "payment_intent": "pi_1"}, Unknown(STATE, "None")),
        ({**PAID, "payment_status": "no_payment_required"}, Unknown(STATE, "complete/no_payment_required")),
        ({**OPEN, "status": "shiny"}, Unknown(STATE, "shiny/unpaid")),
        ({**PAID, "amount_total": "4980"}, AMOUNT),
        ({**PAID, "amount_total": 49.8}, AMOUNT),
        ({**PAID, "amount_total": True}, AMOUNT),
        ({**PAID, "amount_total": 0}, AMOUNT),
        ({**PAID, "amount_total": -4980}, AMOUNT),
        ({**PAID, "amount_total": 10**15}, AMOUNT),
        ({**PAID, "currency": "xxx"}, AMOUNT),
        ({**PAID, "currency": None}, AMOUNT),
        ({**PAID, "currency": "isk"}, AMOUNT),  # 49.80 krónur, and there are no hundredths of one
        ({**PAID, "payment_intent": None}, AMOUNT),
        ({**PAID, "client_reference_id": "pay_2"}, NOT_OURS),
        ({**PAID, "livemode": True}, NOT_OURS),
        ({**PAID, "livemode": None}, NOT_OURS),
        ({**PAID, "id": "cs_test_2"}, NOT_OURS),
        ({**PAID, "object": "payment_intent"}, NOT_OURS),
        (MISSING, Unknown("Stripe does not say what became of it.", "resource_missing")),  # though a product names it
        (NoAnswer("reset"), Unknown("Stripe did not answer.")),
    ],
    ids=lambda value: str(value)[-50:],
)
async def test_what_a_query_tells(session: Any, expected: object) -> None:
    world = stripe(PRODUCT, session)
    assert await CARD.query(world, "pay_1") == expected
    assert asked(world) == ["GET /v1/products/pay_1", "GET /v1/checkout/sessions/cs_test_1"]
    assert fields_of(world.sent[1]) == {"expand[0]": "payment_intent.latest_charge"}
    assert "idempotency-key" not in world.sent[0].headers


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (MISSING, Refused(ABSENT, "resource_missing")),
        ({**PRODUCT, "id": "pay_2"}, Unknown("Stripe's answer is about another payment.", "OTHER_PRODUCT")),
        ({**PRODUCT, "metadata": {}}, Unknown("Stripe's answer is about another payment.", "OTHER_PRODUCT")),
        ({**PRODUCT, "metadata": None}, Unknown("Stripe's answer is about another payment.", "OTHER_PRODUCT")),
        (no("resource_missing", 401), Unknown("Stripe does not say what became of it.", "resource_missing")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_without_a_product_there_is_no_payment(product: Any, expected: object) -> None:
    world = stripe(product)
    assert await CARD.query(world, "pay_1") == expected
    assert len(world.sent) == 1


@pytest.mark.parametrize("charge", [None, "ch_1", {"id": "ch_1", "created": "soon"}, {"created": 1 << 40}], ids=str)
async def test_money_without_a_time_of_payment_is_still_money(charge: object) -> None:
    found = await CARD.query(stripe(PRODUCT, {**PAID, "payment_intent": {**INTENT, "latest_charge": charge}}), "pay_1")
    assert isinstance(found, Done)
    assert found.reference.paid_at == MORNING


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b"<html>",
        b'{"object": "product", "object": "product"}',
        b"\xff",
        b"[" * 200_000,
        b"x" * (2 << 20),
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
async def test_what_cannot_be_read_tells_nothing(body: bytes) -> None:
    answer = await CARD.query(stripe(body), "pay_1")
    assert isinstance(answer, Unknown)
    assert answer.why.startswith("Stripe's answer cannot be read")


async def test_a_strange_reference_stays_in_its_place() -> None:
    world = stripe(MISSING)
    await CARD.query(world, "../customers?x=1#")
    assert urlsplit(world.sent[0].url).path == "/v1/products/..%2Fcustomers%3Fx%3D1%23"


# Closing

NOT_OPEN = no(message='Only Checkout Sessions with a status in ["open"] can be expired.')


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((PRODUCT, OPEN, SHUT), Done("cs_test_1")),
        ((PRODUCT, SHUT), Done("cs_test_1")),
        ((PRODUCT, PAID), Refused(ALREADY_PAID)),
        ((PRODUCT, OPEN, NOT_OPEN, PRODUCT, PAID), Refused(ALREADY_PAID)),  # it was paid in this very moment
        ((PRODUCT, OPEN, NOT_OPEN, PRODUCT, SHUT), Done("cs_test_1")),
        (
            (PRODUCT, OPEN, NOT_OPEN, PRODUCT, OPEN, NOT_OPEN),
            Unknown("Stripe can neither close this payment nor tell its state."),
        ),
        ((PRODUCT, OPEN, NOT_OPEN, NoAnswer("reset")), Unknown("Stripe did not answer.")),
        ((PRODUCT, SLOW), Unknown("The payer's bank is still working on this payment.")),
        ((PRODUCT, {**OPEN, "status": "shiny"}), Unknown(STATE, "shiny/unpaid")),
        ((PRODUCT, OPEN, OPEN), NOT_OURS),
        ((PRODUCT, OPEN, {**SHUT, "id": "cs_test_2"}), NOT_OURS),
        ((PRODUCT, OPEN, NoAnswer("reset")), Unknown("Stripe did not answer.")),
        ((PRODUCT, OPEN, no(status=401)), Unknown("Stripe does not say what became of it.", "invalid_request_error")),
        ((MISSING,), Refused(ABSENT, "resource_missing")),
    ],
    ids=lambda value: str(value)[-60:],
)
async def test_what_closing_tells(answers: tuple[Any, ...], expected: object) -> None:
    assert await CARD.close(stripe(*answers), "pay_1") == expected


# Refunds


async def test_a_refund_is_looked_for_before_it_is_asked() -> None:
    world = stripe(NOTHING, REFUND)
    assert await CARD.refund(world, ASK) == Done("re_1")
    assert asked(world) == ["GET /v1/refunds", "POST /v1/refunds"]
    assert fields_of(world.sent[0]) == {"payment_intent": "pi_1", "limit": "100"}
    assert fields_of(world.sent[1]) == {
        "payment_intent": "pi_1",
        "amount": "4980",
        "metadata[request_id]": "rf_1",
        "metadata[reference]": "pay_1",
    }
    assert world.sent[1].headers["idempotency-key"] == "rf_1"

    again = stripe(listed({**REFUND, "id": "re_0", "metadata": {"request_id": "rf_0"}}, REFUND))
    assert await CARD.refund(again, ASK) == Done("re_1")
    assert len(again.sent) == 1, "their memory of our key may be gone; ours is in the refund itself"


FAILED = {**REFUND, "status": "failed", "failure_reason": "lost_or_stolen_card"}
POOR = {**REFUND, "status": "pending", "pending_reason": "insufficient_funds"}


@pytest.mark.parametrize(
    ("refund", "expected"),
    [
        (REFUND, Done("re_1")),
        ({**REFUND, "status": "pending"}, Done("re_1")),
        ({**REFUND, "status": "pending", "pending_reason": "processing"}, Done("re_1")),
        ({**REFUND, "payment_intent": INTENT}, Done("re_1")),
        (POOR, Unknown("Stripe waits until our balance there covers the refund.")),
        (FAILED, Refused("the payer's bank did not take the refund", "lost_or_stolen_card")),
        ({**REFUND, "status": "canceled"}, Refused("the payer's bank did not take the refund", "canceled")),
        ({**REFUND, "status": "requires_action"}, Unknown("Stripe is still working on the refund.", "requires_action")),
        ({**REFUND, "amount": 4981}, Unknown("Stripe refunded another amount under this number.", "OTHER_AMOUNT")),
        ({**REFUND, "currency": "usd"}, Unknown("Stripe refunded another amount under this number.", "OTHER_AMOUNT")),
        ({**REFUND, "payment_intent": "pi_2"}, Unknown("Stripe's answer is about another refund.", "OTHER_REFUND")),
        ({**REFUND, "metadata": {}}, Unknown("Stripe's answer is about another refund.", "OTHER_REFUND")),
        ({**REFUND, "id": None}, Unknown("Stripe's answer is about another refund.", "OTHER_REFUND")),
    ],
    ids=lambda value: str(value)[-60:],
)
async def test_what_a_refund_means(refund: dict[str, Any], expected: object) -> None:
    assert await CARD.refund(stripe(NOTHING, refund), ASK) == expected
    if refund["metadata"]:
        assert await CARD.query_refund(stripe(listed(refund)), ASK) == expected
        assert await CARD.refund(stripe(listed(refund)), ASK) == expected


TOO_MUCH = no(param="amount", message="Refund amount is greater than unrefunded amount on charge")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((NOTHING, no("charge_already_refunded"), listed(REFUND)), Done("re_1")),  # by our own first asking
        (
            (NOTHING, no("charge_already_refunded"), NOTHING),
            Refused("Stripe cannot refund this payment in its state", "charge_already_refunded"),
        ),
        (
            (NOTHING, TOO_MUCH, NOTHING),
            Refused("Stripe cannot refund this payment in its state", "invalid_request_error/amount"),
        ),
        ((NOTHING, TOO_MUCH, NoAnswer("reset")), Unknown("Stripe did not answer.")),
        (
            (NOTHING, TOO_MUCH, listed(FAILED)),
            Refused("the payer's bank did not take the refund", "lost_or_stolen_card"),
        ),
        (
            (NOTHING, no("charge_disputed")),
            Refused("the payer's bank has taken the money back already", "charge_disputed"),
        ),
        (
            (NOTHING, no("refund_disputed_payment")),
            Refused("the payer disputes this payment, and the bank decides", "refund_disputed_payment"),
        ),
        (
            (NOTHING, no("balance_insufficient")),
            Refused("our balance at Stripe is too low", "balance_insufficient", final=False),
        ),
        ((NOTHING, OTHER_PARTICULARS), Unknown("Stripe does not say what became of it.", "idempotency_error")),
        ((NOTHING, (402, no("card_declined")[1])), Unknown("Stripe does not say what became of it.", "card_declined")),
        ((NOTHING, NotSent("refused")), Unknown(NOT_SENT)),
        ((NOTHING, NoAnswer("reset")), Unknown("Stripe did not answer.")),
        ((NoAnswer("reset"),), Unknown("Stripe did not answer.")),
        ((MISSING, no("resource_missing", 404)), Refused(ABSENT, "resource_missing")),
    ],
    ids=lambda value: str(value)[-60:],
)
async def test_what_asking_for_a_refund_tells(answers: tuple[Any, ...], expected: object) -> None:
    assert await CARD.refund(stripe(*answers), ASK) == expected


async def test_a_refund_that_cannot_be_expressed_is_refused() -> None:
    world = FixedWorld()
    dinars = RefundAsk("rf_1", "pay_1", "pi_1", money("1.255 KWD"), money("1.260 KWD"), "")
    assert await CARD.refund(world, dinars) == Refused("Stripe cannot refund this amount in this currency")
    assert world.sent == []


async def test_a_refund_is_looked_for_through_all_pages() -> None:
    others = [{**REFUND, "id": f"re_{n}", "metadata": {"request_id": f"other_{n}"}} for n in (7, 8)]
    world = stripe(listed(*others, has_more=True), listed("rubbish", REFUND))
    assert await CARD.query_refund(world, ASK) == Done("re_1")
    assert fields_of(world.sent[1]) == {"payment_intent": "pi_1", "limit": "100", "starting_after": "re_8"}
    assert await CARD.query_refund(stripe(listed(*others)), ASK) == Refused(ABSENT, final=False)
    endless = stripe(*[listed(has_more=True)] * 20)
    assert await CARD.query_refund(endless, ASK) == Unknown("This payment has more refunds than we look through.")
    nonsense = stripe({"object": "list", "data": None})
    assert await CARD.query_refund(nonsense, ASK) == Unknown("Stripe's answer is no list of refunds.", "NO_LIST")


# Amounts in every currency


@pytest.mark.parametrize("currency", sorted(CARD.currencies))
async def test_every_currency_is_asked_and_read_in_stripes_own_units(currency: str) -> None:
    amount = money(f"1250 {currency}")
    factor = 10 ** (2 if currency in ("ISK", "UGX") else EXPONENT[currency])
    units = 1250 * factor
    world = stripe({**OPEN, "amount_total": units, "currency": currency.lower()}, PRODUCT)
    assert await CARD.begin(world, a_charge(amount=amount)) == PAGE
    fields = fields_of(world.sent[0])
    assert fields["line_items[0][price_data][unit_amount]"] == str(units)
    assert fields["line_items[0][price_data][currency]"] == currency.lower()
    found = await CARD.query(stripe(PRODUCT, {**PAID, "amount_total": units, "currency": currency.lower()}), "pay_1")
    assert isinstance(found, Done)
    assert found.reference.amount == amount


def test_currencies_that_stripe_does_not_charge_are_not_offered() -> None:
    assert set(EXPONENT) - CARD.currencies == {"GHS", "IQD", "LYD"}


# Notices


def event(about: Mapping[str, Any] = PAID, kind: str = "checkout.session.completed", **other: Any) -> bytes:
    frame = {"id": "evt_1", "object": "event", "created": PAID_STAMP, "livemode": False, "type": kind}
    return json.dumps({**frame, "data": {"object": about}, **other}).encode()


def signed(body: bytes, secret: str = SECRET, at: datetime = MORNING) -> str:
    return str(FILE.signature(secret, body, at))


def arrived(body: bytes, header: str | None = None, received_at: datetime = MORNING) -> RawNotice:
    return RawNotice(body, {"stripe-signature": signed(body) if header is None else header}, received_at)


def test_a_notice_that_holds_is_a_capture_in_stripes_own_words() -> None:
    assert CARD.read_notice(arrived(event())) == Notice("evt_1", "pay_1", CAPTURE, True)
    assert CARD.read_notice(RawNotice(event(), {"Stripe-Signature": signed(event())}, MORNING)).capture == CAPTURE


def test_a_signature_is_the_hmac_of_time_and_body() -> None:
    stamp = int(MORNING.timestamp())
    right = hmac.new(SECRET.encode(), f"{stamp}.".encode() + event(), sha256).hexdigest()
    assert signed(event()) == f"t={stamp},v1={right}"


RIGHT = signed(event()).split(",")
FALSE = "v1=" + "0" * 64


@pytest.mark.parametrize(
    "header",
    [
        ",".join(RIGHT),
        ", ".join(reversed(RIGHT)),
        ",".join([RIGHT[0], FALSE, RIGHT[1]]),
        ",".join([*RIGHT, "v0=" + "0" * 64, "v2=x", "shiny"]),
        ",".join([RIGHT[0], "v1=签名", RIGHT[1]]),
        signed(event(), OLD),
    ],
    ids=["as it comes", "turned round", "two signatures", "other schemes", "not in ASCII", "the secret before"],
)
def test_one_right_signature_is_enough(header: str) -> None:
    assert CARD.read_notice(arrived(event(), header)).capture == CAPTURE


@pytest.mark.parametrize(
    "header",
    [
        "",
        RIGHT[0],
        RIGHT[1],
        ",".join([RIGHT[0], FALSE]),
        ",".join([RIGHT[0], RIGHT[0], RIGHT[1]]),
        ",".join(["t=", RIGHT[1]]),
        ",".join(["t=-1", RIGHT[1]]),
        ",".join(["t=１７６３７７６８００", RIGHT[1]]),
        ",".join([RIGHT[0] + "\n", RIGHT[1] + "0"]),
        ",".join([f"t={int(MORNING.timestamp()) + 1}", RIGHT[1]]),
        ",".join([RIGHT[0], RIGHT[1].replace("v1=", "v0=")]),
        ",".join([RIGHT[0], RIGHT[1].upper().replace("V1", "v1")]),
        ",".join([RIGHT[0], RIGHT[1][:-1]]),
        signed(event(), "whsec_other"),
        signed(event(), ""),
        "\x00=\xff",
    ],
    ids=[
        "none",
        "no signature",
        "no time",
        "a false one",
        "two times",
        "an empty time",
        "a negative time",
        "a time in other digits",
        "too long",
        "another time",
        "the weaker scheme",
        "in capitals",
        "cut",
        "another secret",
        "an empty secret",
        "bytes",
    ],
)
def test_no_right_signature_is_not_enough(header: str) -> None:
    with pytest.raises(NotVerified):
        CARD.read_notice(arrived(event(), header))


def test_the_body_is_verified_byte_by_byte() -> None:
    for changed in (event().replace(b"4980", b"4981"), event() + b" ", event().replace(b": ", b":")):
        with pytest.raises(NotVerified, match="signature"):
            CARD.read_notice(arrived(changed, signed(event())))


TWICE = event().replace(b'"amount_total": 4980', b'"amount_total": 1, "amount_total": 4980')


@pytest.mark.parametrize(
    "body",
    [
        event(livemode=True),
        event(livemode=None),
        event(livemode="false"),
        event(account="acct_other"),
        event(id=""),
        event(object="v2.core.event"),
        event(data=[]),
        event(data={"object": "cs_test_1"}),
        event({**PAID, "client_reference_id": None, "metadata": None}),
        event({**PAID, "client_reference_id": "pay_2", "livemode": True}),
        event({**PAID, "client_reference_id": None}),  # only what we wrote beside it names us
        event({**PAID, "object": "shiny"}),
        event({**PAID, "amount_total": "4980"}),
        event({**PAID, "amount_total": 0}),
        event({**PAID, "amount_total": 4980.0}),
        event({**PAID, "currency": "xau"}),
        event({**PAID, "payment_intent": None}),
        event(created=None),
        event(created=True),
        event({"id": "po_1", "object": "payout"}, "payout.paid"),
        TWICE,
        b"[]",
        b"\xff",
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>',
        b'{"a":' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b" " * (1 << 19),
    ],
    ids=lambda body: f"{body[:20].decode('latin-1')}… {zlib.crc32(body) % 1000}",
)
def test_what_does_not_hold_is_refused_though_it_is_signed(body: bytes) -> None:
    with pytest.raises(NotVerified):
        CARD.read_notice(arrived(body))


def test_a_time_beyond_all_calendars_is_refused() -> None:
    stamp = "999999999999"
    right = hmac.new(SECRET.encode(), f"{stamp}.".encode() + event(), sha256).hexdigest()
    with pytest.raises(NotVerified, match="time"):
        CARD.read_notice(arrived(event(), f"t={stamp},v1={right}"))


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(0), True),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5, seconds=1), False),
        (timedelta(days=1), False),
        (timedelta(minutes=-5), True),
        (timedelta(hours=-8), False),  # somebody's clock is in another zone
    ],
)
def test_an_old_notice_is_kept_and_asked_about(age: timedelta, fresh: bool) -> None:
    read = CARD.read_notice(arrived(event(), received_at=MORNING + age))
    assert (read.fresh, read.capture) == (fresh, CAPTURE)


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("checkout.session.completed", SLOW),
        ("checkout.session.async_payment_failed", SLOW),
        ("checkout.session.expired", SHUT),
        ("charge.refunded", {"id": "ch_1", "object": "charge", "metadata": {"reference": "pay_1"}}),
        ("refund.updated", REFUND),
        ("refund.failed", FAILED),
        ("payment_intent.succeeded", {**INTENT, "metadata": {"reference": "pay_1"}}),
    ],
)
def test_a_notice_about_anything_else_than_money_arriving_makes_us_ask(kind: str, about: dict[str, Any]) -> None:
    assert CARD.read_notice(arrived(event(about, kind))) == Notice("evt_1", "pay_1", None, True)


def test_a_bank_that_took_its_time_may_say_yes() -> None:
    assert CARD.read_notice(arrived(event(kind="checkout.session.async_payment_succeeded"))).capture == CAPTURE


DISPUTE = {
    "id": "du_1",
    "object": "dispute",
    "amount": 4980,
    "currency": "cny",
    "evidence_details": {"due_by": int((MORNING + timedelta(days=7)).timestamp())},
    "metadata": {},
    "payment_intent": "pi_1",
    "reason": "fraudulent",
    "status": "needs_response",
}
OPENED = Dispute("pi_1", "opened", money("49.80 CNY"), "fraudulent", MORNING + timedelta(days=7))


@pytest.mark.parametrize(
    ("kind", "other", "expected"),
    [
        ("created", {}, OPENED),
        ("created", {"payment_intent": INTENT}, OPENED),
        ("created", {"evidence_details": None}, Dispute("pi_1", "opened", money("49.80 CNY"), "fraudulent")),
        (
            "created",
            {"evidence_details": {"due_by": None}, "reason": None},
            Dispute("pi_1", "opened", money("49.80 CNY"), ""),
        ),
        ("closed", {"status": "won", "evidence_details": {}}, Dispute("pi_1", "won", money("49.80 CNY"), "fraudulent")),
        (
            "closed",
            {"status": "warning_closed", "evidence_details": {}},
            Dispute("pi_1", "won", money("49.80 CNY"), "fraudulent"),
        ),
        (
            "closed",
            {"status": "lost", "evidence_details": {}},
            Dispute("pi_1", "lost", money("49.80 CNY"), "fraudulent"),
        ),
    ],
    ids=str,
)
def test_a_dispute_is_told_with_its_end(kind: str, other: dict[str, Any], expected: Dispute) -> None:
    read = CARD.read_notice(arrived(event({**DISPUTE, **other}, f"charge.dispute.{kind}")))
    assert (read.dispute, read.capture, read.reference) == (expected, None, "")


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("created", {"amount": "4980"}),
        ("created", {"currency": "xau"}),
        ("created", {"payment_intent": None}),
        ("closed", {"status": "shiny"}),
        ("updated", {}),
        ("funds_withdrawn", {}),
    ],
    ids=str,
)
def test_half_a_dispute_is_none(kind: str, other: dict[str, Any]) -> None:
    with pytest.raises(NotVerified):
        CARD.read_notice(arrived(event({**DISPUTE, **other}, f"charge.dispute.{kind}")))


def test_a_connected_account_believes_its_own_events_only() -> None:
    shop: Any = methods_by_name({**SETTINGS, "card_account": "acct_shop"})["card"]
    read = shop.read_notice(arrived(event(account="acct_shop")))
    assert read.capture is not None
    assert read.capture.merchant == "acct_shop"
    for body in (event(), event(account="acct_other")):
        with pytest.raises(NotVerified, match="another account"):
            shop.read_notice(arrived(body))


async def test_a_connected_account_is_named_in_each_request() -> None:
    shop: Any = methods_by_name({**SETTINGS, "card_account": "acct_shop"})["card"]
    world = stripe(PRODUCT, PAID)
    await shop.query(world, "pay_1")
    assert {request.headers["stripe-account"] for request in world.sent} == {"acct_shop"}


def test_real_money_is_not_taken_for_a_test() -> None:
    live: Any = methods_by_name({**SETTINGS, "card_secret_key": "rk_live_our_own_one"})["card"]
    with pytest.raises(NotVerified, match="tests"):
        live.read_notice(arrived(event()))
    read = live.read_notice(arrived(event({**PAID, "livemode": True}, livemode=True)))
    assert read.capture.merchant == "live"


def test_stripe_stops_at_200_and_comes_again_at_503() -> None:
    assert CARD.acknowledge(True)[0] == 200
    assert CARD.acknowledge(False)[0] == 503


# Settings


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"card_webhook_secret": ""}, "card_webhook_secret"),
        ({"card_webhook_secret": "ours"}, "card_webhook_secret"),
        ({"card_webhook_secret_old": "before"}, "card_webhook_secret_old"),
        ({"card_secret_key": "pk_live_published"}, "card_secret_key"),
        ({"card_secret_key": "sk_shiny_12345678"}, "card_secret_key"),
        ({"card_account": "acme"}, "card_account"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_right_is_named_and_not_repeated(other: dict[str, str], names: str) -> None:
    with pytest.raises(BadInput, match=names) as refused:
        methods_by_name({**SETTINGS, **other})
    assert not any(value and value in str(refused.value) for value in other.values() if value.count("_") != 1)


def test_settings_and_secrets() -> None:
    assert "card" not in methods_by_name({})
    assert (CARD.api_url, CARD.webhook_secrets) == (FILE.API, (SECRET, OLD))
    given = {**SETTINGS, "card_api_base": "https://stripe.example", "card_webhook_secret_old": ""}
    other: Any = methods_by_name(given)["card"]
    assert (other.api_url, other.webhook_secrets) == ("https://stripe.example", (SECRET,))
    assert not any(secret in repr(CARD) for secret in (KEY, SECRET, OLD))
    assert all(setting in FILE.SETTINGS for setting in SETTINGS)


# The report

HEADER = [*FILE.COLUMNS, "description"]
CHARGE = {
    "balance_transaction_id": "txn_1",
    "created_utc": "2026-11-22 02:00:00",
    "currency": "cny",
    "gross": "49.80",
    "fee": "1.95",
    "net": "47.85",
    "reporting_category": "charge",
    "customer_facing_currency": "cny",
    "payment_intent_id": "pi_1",
    "payment_metadata[reference]": "pay_1",
    "refund_metadata[request_id]": "",
    "description": "x",
}
BACK = {
    **CHARGE,
    "balance_transaction_id": "txn_2",
    "gross": "-10.00",
    "fee": "-0.30",
    "net": "-9.70",
    "reporting_category": "refund",
    "refund_metadata[request_id]": "rf_1",
}


def report(*rows: Mapping[str, str], header: list[str] = HEADER) -> bytes:
    lines = [header, *([row.get(name, "") for name in header] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines).encode()


def read(content: bytes) -> list[StatementLine]:
    return list(CARD.read_statement(io.BytesIO(content)))


def test_a_report_is_read_to_the_cent() -> None:
    fee = {**CHARGE, "reporting_category": "fee", "gross": "0", "fee": "2", "net": "-2.00", "payment_intent_id": ""}
    lines = read(report(CHARGE, fee, BACK))
    assert lines == [
        StatementLine("payment", "pay_1", "", "pi_1", 4980, 195, "CNY", MORNING),
        StatementLine("refund", "pay_1", "rf_1", "pi_1", 1000, -30, "CNY", MORNING),
    ]
    assert read(b"\xef\xbb\xbf" + report(CHARGE).replace(b"\n", b"\r\n")) == lines[:1], "as a spreadsheet saves it"
    assert read(report(CHARGE, header=HEADER[::-1])) == lines[:1], "in whatever order"
    assert read(report({**CHARGE, "payment_metadata[reference]": ""}))[0].reference == "", "a payment that is not ours"
    assert read(report({**CHARGE, "customer_facing_currency": ""})) == lines[:1]
    assert read(report()) == []


@pytest.mark.parametrize(
    ("currency", "gross", "minor"),
    [("jpy", "500", 500), ("isk", "500.00", 500), ("kwd", "1.250", 1250), ("ugx", "2500", 2500), ("cny", "5", 500)],
)
def test_amounts_are_in_major_units(currency: str, gross: str, minor: int) -> None:
    row = {
        **CHARGE,
        "currency": currency,
        "customer_facing_currency": currency,
        "gross": gross,
        "fee": "0",
        "net": gross,
    }
    assert read(report(row))[0].minor == minor


@pytest.mark.parametrize(
    "other",
    [
        {"net": "47.86"},
        {"fee": "1.96"},
        {"gross": "49.81"},
        {"gross": "-49.80", "net": "-51.75"},
        {"gross": "0.00", "net": "-1.95"},
        {"gross": "49.805", "net": "47.855"},
        {"gross": "49,80"},
        {"gross": "4.98E+1"},
        {"gross": "４９.80"},
        {"gross": ""},
        {"currency": "xau"},
        {"currency": ""},
        {"customer_facing_currency": "usd"},
        {"payment_intent_id": ""},
        {"payment_intent_id": "pi 1"},
        {"payment_metadata[reference]": "pay_1\x00"},
        {"created_utc": "2026-11-22"},
        {"created_utc": "2026-11-31 02:00:00"},
        {"created_utc": "2026-11-22T02:00:00"},
        {"reporting_category": "refund"},  # whose gross is above zero
        {"reporting_category": "dispute", "net": "0"},  # not ours to give, and yet wrong
        {"description": "a,b"},  # one field too many
    ],
    ids=str,
)
def test_one_wrong_row_spoils_the_report(other: dict[str, str]) -> None:
    with pytest.raises(BadStatement, match="Line 3"):
        read(report(CHARGE, {**CHARGE, **other}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        report(CHARGE, header=[name for name in HEADER if name != "net"]),
        report(CHARGE, header=[*HEADER, "net"]),
        report({**CHARGE, "description": '"never closed'}, CHARGE),
        report(CHARGE)[:-9],
        report(CHARGE) + b"\xff\xfe",
        report(CHARGE) + "充值".encode("gbk"),
        b"<html><body>Log in</body></html>",
        b"PK\x03\x04",
    ],
    ids=["empty", "blank", "no net", "net twice", "open quote", "cut off", "bytes", "GBK", "a page", "a zip"],
)
def test_what_is_no_report_is_refused(content: bytes) -> None:
    with pytest.raises(BadStatement):
        read(content)


def test_a_report_is_read_row_by_row_and_stays_its_owners() -> None:
    file = io.BytesIO(report(*[CHARGE] * 10_000))
    lines = CARD.read_statement(file)
    assert next(lines).minor == 4980
    assert file.tell() < 10_000 * 20, "not read to its end"
    lines.close()
    assert not file.closed


RUN = {"id": "frr_1", "object": "reporting.report_run", "status": "pending", "result": None}
WRITTEN = {**RUN, "status": "succeeded", "result": {"id": "file_1", "url": f"{FILE.API}/v1/files/file_1/contents"}}


async def test_a_report_is_run_once_a_day_and_fetched_when_it_is_written() -> None:
    world = stripe(RUN, WRITTEN, report(CHARGE))
    assert await CARD.fetch_statement(world, date(2026, 11, 21)) == Done(report(CHARGE))
    assert asked(world) == [
        "POST /v1/reporting/report_runs",
        "GET /v1/reporting/report_runs/frr_1",
        "GET /v1/files/file_1/contents",
    ]
    fields = fields_of(world.sent[0])
    assert fields["report_type"] == FILE.REPORT
    assert fields["parameters[interval_start]"] == str(int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()))
    assert fields["parameters[interval_end]"] == str(int(datetime(2026, 11, 22, tzinfo=UTC).timestamp()))
    assert [fields[f"parameters[columns][{n}]"] for n in range(len(FILE.COLUMNS))] == list(FILE.COLUMNS)
    assert world.sent[0].headers["idempotency-key"] == f"{FILE.REPORT}.2026-11-21"
    assert world.sent[2].headers["authorization"] == f"Bearer {KEY}"


async def test_our_key_goes_to_no_other_address() -> None:
    thief = {**WRITTEN, "result": {"url": "https://files.stripe.com.thief.example/v1/files/file_1/contents"}}
    world = stripe(RUN, thief)
    answer = await CARD.fetch_statement(world, date(2026, 11, 21))
    assert answer == Unknown("Stripe names an address for the report that is not its own.", "NO_ADDRESS")
    assert len(world.sent) == 2


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            (no(param="parameters[interval_end]"),),
            Refused(ABSENT, "invalid_request_error/parameters[interval_end]", False),
        ),
        ((NoAnswer("reset"),), Unknown("Stripe did not answer.")),
        ((RUN, NoAnswer("reset")), Unknown("Stripe did not answer.")),
        ((RUN, RUN), Unknown("Stripe has not written the report yet.")),
        ((RUN, {**WRITTEN, "result": {}}), Unknown("Stripe has not written the report yet.")),
        ((RUN, WRITTEN, NoAnswer("reset")), Unknown("Stripe's report did not arrive.")),
        ((RUN, WRITTEN, (404, b"{}")), Unknown("Stripe's report did not arrive.", "HTTP_404")),
        ((RUN, WRITTEN, b""), Unknown("Stripe's report did not arrive.", "HTTP_200")),
    ],
    ids=lambda value: str(value)[-60:],
)
async def test_what_fetching_a_report_tells(answers: tuple[Any, ...], expected: object) -> None:
    assert await CARD.fetch_statement(stripe(*answers), date(2026, 11, 21)) == expected
