"""What every payment method on the shelf must do; a new file is found and tested without being named here."""

import dataclasses
import re
from datetime import timedelta

import pytest
from tests.worlds import MORNING, FixedWorld

from refill.errors import NotVerified
from refill.money import Money
from refill.outcome import NOT_SENT, Done, Refused, Unknown
from refill.payments import (
    ABSENT,
    ALREADY_PAID,
    CLOSED,
    WAITING,
    Charge,
    Example,
    Method,
    RawNotice,
    RefundAsk,
    methods_by_name,
    shelf,
)
from refill.world import NoAnswer, Request, Response, in_transaction

MADE: dict[str, tuple[Method, list[Example]]] = {name: file.EXAMPLES() for name, file in shelf().items()}
METHODS = [pytest.param(method, id=name) for name, (method, _) in MADE.items()]
TALKERS = [pytest.param(method, id=name) for name, (method, _) in MADE.items() if method.can.query]
STORIES = [
    pytest.param(method, story, id=f"{name}: {story.says}")
    for name, (method, stories) in MADE.items()
    for story in stories
]


def a_charge(method: Method, scene: str) -> Charge:
    currency = "CNY" if "CNY" in method.currencies else min(method.currencies)
    return Charge("pay_1", Money(4980, currency), "手机充值 50", MORNING + timedelta(minutes=15), scene)


def a_refund(method: Method) -> RefundAsk:
    price = a_charge(method, "page").amount
    return RefundAsk("rf_1", "pay_1", "20261122220014", price, price, "not delivered")


def says(status: int, body: bytes) -> FixedWorld:
    async def handle(request: Request) -> Response:
        return Response(status, {"content-type": "text/html"}, body)

    world = FixedWorld()
    world.route("", handle)
    return world


def says_nothing() -> FixedWorld:
    async def handle(request: Request) -> Response:
        raise NoAnswer("reset")

    world = FixedWorld()
    world.route("", handle)
    return world


NO_PROOF = [
    pytest.param(says(200, b"<html>Welcome</html>"), id="a page instead of an answer"),
    pytest.param(says(200, b""), id="an empty answer"),
    pytest.param(says(200, b'{"code": "10000", "status": "SUCCESS"}'), id="an unsigned success"),
    pytest.param(says(200, b"[" * 200_000), id="a very deep answer"),
    pytest.param(says(200, b'{"a":' + b"9" * 5000 + b"}"), id="a very long number"),
    pytest.param(says(200, b"x" * (2 << 20)), id="two megabytes"),
    pytest.param(says(200, b"\xff\xfe\xed\xa0\x80"), id="no text at all"),
    pytest.param(says(404, b'{"error": "not found"}'), id="404"),
    pytest.param(says(500, b"oops"), id="500"),
    pytest.param(says_nothing(), id="no answer"),
]


@pytest.mark.parametrize("method", METHODS)
def test_its_name_fits_into_an_account(method: Method) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,30}", method.name)
    assert method.name == shelf()[method.name].NAME


@pytest.mark.parametrize("method", METHODS)
def test_it_says_what_it_can_do(method: Method) -> None:
    assert method.currencies
    assert method.can.scenes
    assert method.can.refund or not method.can.partial_refund


@pytest.mark.parametrize("method", METHODS)
async def test_it_cannot_be_changed_by_accident_and_shows_no_key(method: Method) -> None:
    shown = repr(method)
    assert "PRIVATE" not in shown
    assert "RSAPrivateKey" not in shown
    if dataclasses.is_dataclass(method):
        with pytest.raises(dataclasses.FrozenInstanceError):
            method.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("method", "story"), STORIES)
def test_a_notice_is_read_as_its_example_says(method: Method, story: Example) -> None:
    if story.expect == "not_verified":
        with pytest.raises(NotVerified):
            method.read_notice(story.raw)
        return
    notice = method.read_notice(story.raw)
    assert notice.id
    assert notice.reference or notice.dispute  # a bank knows the gateway's number, not ours
    assert notice.fresh is (story.expect != "stale")
    assert (notice.capture is None) is (story.expect == "other")
    assert method.read_notice(story.raw) == notice, "a repeat is the same notice"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"&&&",
        b"=",
        b"a=%ED%A0%80",
        b"\xff" * 100,
        b"{}",
        b"sign=x&sign_type=RSA2",
        b"a=b&" * 5000,
        b"x" * 2_000_000,
    ],
    ids=["empty", "ands", "equals", "surrogate", "bytes", "json", "nothing signed", "many fields", "long"],
)
def test_rubbish_is_not_a_notice(method: Method, body: bytes) -> None:
    with pytest.raises(NotVerified):
        method.read_notice(RawNotice(body, {}, MORNING))


@pytest.mark.parametrize("method", METHODS)
def test_it_tells_the_gateway_whether_to_come_again(method: Method) -> None:
    assert method.acknowledge(True) != method.acknowledge(False)


@pytest.mark.parametrize("method", TALKERS)
@pytest.mark.parametrize("world", NO_PROOF)
async def test_without_proof_nothing_is_done_and_nothing_refused(method: Method, world: FixedWorld) -> None:
    answers = [
        await method.query(world, "pay_1"),
        await method.close(world, "pay_1"),
        await method.refund(world, a_refund(method)),
        await method.query_refund(world, a_refund(method)),
    ]
    assert [type(answer) for answer in answers] == [Unknown] * 4


@pytest.mark.parametrize("method", TALKERS)
async def test_when_the_connection_is_refused_we_know_no_more_than_before(method: Method) -> None:
    world = FixedWorld()
    for answer in (
        await method.query(world, "pay_1"),
        await method.close(world, "pay_1"),
        await method.refund(world, a_refund(method)),
        await method.query_refund(world, a_refund(method)),
    ):
        assert not isinstance(answer, Done)
        assert not isinstance(answer, Refused) or not answer.final
    assert len(world.sent) == 4, "each is asked once; nobody repeats a request by himself"


@pytest.mark.parametrize("method", METHODS)
async def test_beginning_twice_captures_nothing(method: Method) -> None:
    for scene in method.can.scenes:
        for _ in range(2):
            answer = await method.begin(FixedWorld(), a_charge(method, scene))
            assert isinstance(answer, Done) or (isinstance(answer, Refused) and not answer.final)


@pytest.mark.parametrize("method", METHODS)
async def test_at_a_till_a_code_is_charged_or_asked_for_and_never_shown(method: Method) -> None:
    assert method.can.barcode is ("barcode" in method.can.scenes)
    if not method.can.barcode:
        return
    world, charge = FixedWorld(), a_charge(method, "barcode")
    without = await method.begin(world, charge)
    assert isinstance(without, Refused) and not without.final and world.sent == []
    scanned = dataclasses.replace(charge, auth_code="288888888888888888")
    assert "288888888888888888" not in repr(scanned)
    for silent in NO_PROOF:
        told = await method.begin(silent.values[0], scanned)
        assert isinstance(told, Unknown), "perhaps the person has paid"
        assert "288888888888888888" not in str(told)
    assert await method.begin(world, scanned) == Refused(NOT_SENT, final=False)
    assert not any("288888888888888888" in asked.url for asked in world.sent)


@pytest.mark.parametrize("method", TALKERS)
async def test_a_stranger_is_never_asked_inside_a_transaction(method: Method) -> None:
    token = in_transaction.set(True)
    try:
        with pytest.raises(AssertionError, match="inside a transaction"):
            await method.query(FixedWorld(), "pay_1")
    finally:
        in_transaction.reset(token)


@pytest.mark.parametrize("method", [param for param in METHODS if not param.values[0].can.query])
async def test_who_asks_nobody_says_no_in_the_words_of_the_port(method: Method) -> None:
    asked = await method.query(FixedWorld(), "pay_1")
    assert isinstance(asked, Refused)
    assert asked.reason in (WAITING, CLOSED, ABSENT, ALREADY_PAID)
    assert isinstance(await method.refund(FixedWorld(), a_refund(method)), Refused) is not method.can.refund
    assert not isinstance(await method.query_refund(FixedWorld(), a_refund(method)), Done)
    assert await method.close(FixedWorld(), "pay_1") == Done("pay_1"), "what only our book knows, only our book closes"


def test_a_method_without_its_settings_is_not_there() -> None:
    assert "alipay" not in methods_by_name({})
    assert "alipay" not in methods_by_name({"alipay_app_id": "", "alipay_gateway": None})
    assert methods_by_name({})["cash"].name == "cash"
