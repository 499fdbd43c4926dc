"""What every look-up on the shelf must do; a new file is found and tested without being named here."""

import re
from collections.abc import Callable

import pytest
from tests.worlds import FixedWorld

from refill.lookups import Alive, Example, Lookup, Whose, shelf
from refill.outcome import Done, Refused, Unknown
from refill.world import NoAnswer, Request, Response, in_transaction

MADE: dict[str, tuple[Lookup, list[Example]]] = {name: file.EXAMPLES() for name, file in shelf().items()}
LOOKUPS = [pytest.param(lookup, examples[0], id=name) for name, (lookup, examples) in MADE.items()]
STORIES = [
    pytest.param(lookup, story, id=f"{name}: {story.says}")
    for name, (lookup, stories) in MADE.items()
    for story in stories
]
each_lookup = pytest.mark.parametrize(("lookup", "story"), LOOKUPS)


def world_where(answers: Callable[[Request], Response]) -> FixedWorld:
    async def handle(request: Request) -> Response:
        return answers(request)

    world = FixedWorld()
    world.route("", handle)
    return world


def silence(request: Request) -> Response:
    raise NoAnswer("reset")


NO_PROOF = [
    pytest.param(lambda _: Response(200, {"content-type": "text/html"}, b"<html>Welcome</html>"), id="a page"),
    pytest.param(lambda _: Response(200, {}, b""), id="nothing"),
    pytest.param(lambda _: Response(200, {}, b"null"), id="null"),
    pytest.param(lambda _: Response(200, {}, b"{}"), id="an empty object"),
    pytest.param(lambda _: Response(200, {}, b"\xff\xfe{}"), id="no UTF-8"),
    pytest.param(lambda _: Response(404, {}, b"not found"), id="404"),
    pytest.param(lambda _: Response(500, {}, b"oops"), id="500"),
    pytest.param(lambda _: Response(200, {}, b"[" * 60_000), id="a very deep answer"),
    pytest.param(lambda _: Response(200, {}, b"x" * (1 << 20)), id="a megabyte"),
    pytest.param(silence, id="no answer"),
]


async def ask(lookup: Lookup, world: FixedWorld, story: Example, question: str = "") -> object:
    asked = lookup.whose if (question or story.question) == "whose" else lookup.alive
    return await asked(world, story.msisdn, 1.0)


@each_lookup
def test_its_name_is_a_word_and_it_knows_its_example(lookup: Lookup, story: Example) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,30}", lookup.name)
    assert lookup.knows(story.msisdn)


@pytest.mark.parametrize(("lookup", "story"), STORIES)
async def test_an_answer_is_read_as_its_example_says(lookup: Lookup, story: Example) -> None:
    world = world_where(story.answers)
    outcome = await ask(lookup, world, story)
    assert type(outcome) is {"done": Done, "refused": Refused, "unknown": Unknown}[story.expect]
    match outcome:
        case Done(Whose(network, ported, at)):
            assert (network, ported, at) == (story.means, story.ported, world.db_now())
        case Done(Alive(state)):
            assert state == story.means
    (sent,) = world.sent
    assert story.msisdn.digits[2:] not in sent.url, "no number in an address"
    assert sent.timeout_s <= 1.0


@each_lookup
@pytest.mark.parametrize("question", ["whose", "alive"])
@pytest.mark.parametrize("answers", NO_PROOF)
async def test_without_proof_nobody_is_dead_and_nothing_is_ported(
    lookup: Lookup, story: Example, question: str, answers: Callable[[Request], Response]
) -> None:
    world = world_where(answers)
    assert isinstance(await ask(lookup, world, story, question), Unknown)
    assert len(world.sent) == 1, "nobody repeats a question by himself"


@pytest.mark.parametrize(("lookup", "story"), STORIES)
async def test_a_broken_off_answer_proves_nothing(lookup: Lookup, story: Example) -> None:
    def half(request: Request) -> Response:
        whole = story.answers(request)
        return Response(whole.status, whole.headers, whole.body[: len(whole.body) // 2])

    assert isinstance(await ask(lookup, world_where(half), story), Unknown)


@each_lookup
async def test_it_is_never_asked_inside_a_transaction(lookup: Lookup, story: Example) -> None:
    token = in_transaction.set(True)
    try:
        with pytest.raises(AssertionError, match="inside a transaction"):
            await ask(lookup, world_where(story.answers), story)
    finally:
        in_transaction.reset(token)
