"""What every supplier on the shelf must do; a new file is found and tested without being named here."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.worlds import FixedWorld

from refill.errors import NotVerified
from refill.operators import Delivery, Example, Supplier, shelf
from refill.outcome import NOT_SENT, Done, Refused, Unknown
from refill.world import NoAnswer, Request, Response, in_transaction

MADE: dict[str, tuple[Supplier, list[Example]]] = {name: file.EXAMPLES() for name, file in shelf().items()}
# Those behind a wire; our own stock of PINs answers inside our transaction, and nobody is asked for it.
SUPPLIERS = [pytest.param(supplier, examples[0], id=name) for name, (supplier, examples) in MADE.items() if examples]
STORIES = [
    pytest.param(supplier, story, id=f"{name}: {story.says}")
    for name, (supplier, stories) in MADE.items()
    for story in stories
]
each_supplier = pytest.mark.parametrize(("supplier", "story"), SUPPLIERS)


def world_where(answers: Callable[[Request], Response]) -> FixedWorld:
    async def handle(request: Request) -> Response:
        return answers(request)

    world = FixedWorld()
    world.route("", handle)
    return world


def silence(request: Request) -> Response:
    raise NoAnswer("reset")


NO_PROOF = [
    pytest.param(lambda _: Response(200, {"content-type": "text/html"}, b"<html>Welcome</html>"), id="200 with a page"),
    pytest.param(lambda _: Response(200, {}, b""), id="an empty answer"),
    pytest.param(lambda _: Response(200, {}, b'{"status": "delivered"}'), id="an unsigned success"),
    pytest.param(lambda _: Response(400, {}, b'{"status": "refused"}'), id="an unsigned refusal"),
    pytest.param(lambda _: Response(404, {}, b"not found"), id="404"),
    pytest.param(lambda _: Response(500, {}, b"oops"), id="500"),
    pytest.param(lambda _: Response(200, {}, b"[" * 200_000), id="a very deep answer"),
    pytest.param(lambda _: Response(200, {}, b'{"a":' * 100_000), id="ten megabytes, nearly"),
    pytest.param(lambda _: Response(200, {}, b"x" * (10 << 20)), id="ten megabytes"),
    pytest.param(lambda _: Response(200, {"x-signature": "签名"}, b"{}"), id="a signature beyond ASCII"),
    pytest.param(silence, id="no answer"),
]


def test_everybody_but_our_own_stock_shows_what_its_wire_says() -> None:
    assert [name for name, (_, examples) in MADE.items() if not examples] == ["pins"]


@each_supplier
def test_its_name_fits_into_an_account_and_its_flags_are_declared(supplier: Supplier, story: Example) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,30}", supplier.name)
    final_after = supplier.flags.not_found_is_final_after
    assert final_after is None or final_after > timedelta(0)
    assert supplier.flags.timeout_s > 0


@pytest.mark.parametrize(("supplier", "story"), STORIES)
async def test_an_answer_is_read_as_its_example_says(supplier: Supplier, story: Example) -> None:
    first = (story.at_once, "") if story.at_once else (story.expect, story.reason)
    for outcome, (expect, expected_reason) in (
        (await supplier.recharge(world_where(story.answers), story.ask), first),
        (await supplier.inquire(world_where(story.answers), story.ask), (story.expect, story.reason)),
    ):
        assert type(outcome) is {"done": Done, "refused": Refused, "unknown": Unknown}[expect]
        match outcome:
            case Done(Delivery() as delivery):
                assert delivery.msisdn == story.ask.msisdn
                assert delivery.face <= story.ask.face
            case Refused(reason) | Unknown(reason) if expected_reason:
                assert reason == expected_reason


@each_supplier
@pytest.mark.parametrize("answers", NO_PROOF)
async def test_without_proof_nothing_is_done_and_nothing_refused(
    supplier: Supplier, story: Example, answers: Callable[[Request], Response]
) -> None:
    world = world_where(answers)
    assert isinstance(await supplier.recharge(world, story.ask), Unknown)
    assert isinstance(await supplier.inquire(world, story.ask), Unknown)
    assert isinstance(await supplier.balance(world, "CNY"), Unknown)
    assert len(world.sent) <= 3, (
        "each is asked once, if the wire knows the question; nobody repeats a request by himself"
    )


@each_supplier
async def test_a_broken_off_answer_proves_nothing(supplier: Supplier, story: Example) -> None:
    def half(request: Request) -> Response:
        whole = story.answers(request)
        return Response(whole.status, whole.headers, whole.body[: len(whole.body) // 2])

    assert isinstance(await supplier.recharge(world_where(half), story.ask), Unknown)
    assert isinstance(await supplier.inquire(world_where(half), story.ask), Unknown)


@pytest.mark.parametrize(("supplier", "story"), STORIES)
async def test_our_reference_in_another_case_is_not_ours(supplier: Supplier, story: Example) -> None:
    told = 0

    def shouted(request: Request) -> Response:
        nonlocal told
        whole = story.answers(request)
        body = whole.body.replace(story.ask.request_id.encode(), story.ask.request_id.upper().encode())
        told += body != whole.body
        return Response(whole.status, whole.headers, body)

    for ask in (supplier.recharge, supplier.inquire):
        told = 0
        outcome = await ask(world_where(shouted), story.ask)
        if told:  # a wire that writes our reference in its own digits has no case
            assert not isinstance(outcome, Done)


@pytest.mark.parametrize(("supplier", "story"), STORIES)
@pytest.mark.parametrize("hours", [-8, 8])
async def test_with_a_clock_eight_hours_off_nobody_is_told_another_outcome(
    supplier: Supplier, story: Example, hours: int
) -> None:
    first = story.at_once or story.expect
    for ask, expect in ((supplier.recharge, first), (supplier.inquire, story.expect)):
        world = world_where(story.answers)
        world.clock += timedelta(hours=hours)  # ours; the database's clock is right
        world.db_ahead -= timedelta(hours=hours)
        outcome = await ask(world, story.ask)
        assert type(outcome) in ({"done": Done, "refused": Refused, "unknown": Unknown}[expect], Unknown)


@each_supplier
async def test_an_answer_belongs_to_its_request(supplier: Supplier, story: Example) -> None:
    other = Request("POST", "https://elsewhere.example/recharges", {"x-signature": "0" * 64})
    assert isinstance(await supplier.recharge(world_where(lambda _: story.answers(other)), story.ask), Unknown)


@each_supplier
async def test_a_refused_connection_is_surely_not_done(supplier: Supplier, story: Example) -> None:
    assert await supplier.recharge(FixedWorld(), story.ask) == Refused(NOT_SENT, final=False)
    assert isinstance(await supplier.inquire(FixedWorld(), story.ask), Unknown)


@each_supplier
async def test_who_wakes_too_late_sends_nothing(supplier: Supplier, story: Example) -> None:
    world = world_where(story.answers)
    world.db_ahead = story.ask.send_before - world.clock  # our own clock is slow; the database's rules
    assert isinstance(await supplier.recharge(world, story.ask), Unknown)
    assert world.sent == []


@each_supplier
async def test_it_is_never_asked_inside_a_transaction(supplier: Supplier, story: Example) -> None:
    token = in_transaction.set(True)
    try:
        with pytest.raises(AssertionError, match="inside a transaction"):
            await supplier.recharge(world_where(story.answers), story.ask)
    finally:
        in_transaction.reset(token)


@each_supplier
@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 200_000, b"\xff\xfe", b"x" * 2_000_000], ids=len)
def test_rubbish_is_not_a_notice(supplier: Supplier, story: Example, body: bytes) -> None:
    with pytest.raises(NotVerified):
        supplier.read_notice(body, {})
