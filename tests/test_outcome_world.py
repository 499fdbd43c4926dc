"""Three answers and no more; and nobody waits for a stranger inside a transaction."""

import pytest
from tests.worlds import FixedWorld

from refill.db import Pool, Tx
from refill.outcome import Done, Refused, Unknown
from refill.world import NotSent, Request, Response, call, in_transaction

ASK = Request("GET", "https://northtel.example/balance")


def a_world() -> FixedWorld:
    async def answer(request: Request) -> Response:
        assert not in_transaction.get()
        return Response(200, {}, b"ok")

    world = FixedWorld()
    world.route("https://northtel.example", answer)
    return world


async def test_a_stranger_is_asked_once() -> None:
    world = a_world()
    assert (await call(world, ASK)).body == b"ok"
    assert world.sent == [ASK]


async def test_a_connection_that_is_refused_is_not_tried_again() -> None:
    world = FixedWorld()
    with pytest.raises(NotSent):
        await call(world, ASK)
    assert world.sent == [ASK]


async def test_nobody_waits_for_a_stranger_inside_a_transaction(dsn: str) -> None:
    world, pool = a_world(), await Pool(dsn, size=2).open()

    async def work(tx: Tx) -> None:
        await call(world, ASK)

    with pytest.raises(AssertionError, match="save that we will ask"):
        await pool.transaction(work)
    assert world.sent == []
    # Afterwards the same caller may ask again.
    assert (await call(world, ASK)).status == 200
    await pool.close()


def test_only_an_explicit_no_is_a_no() -> None:
    answers = {Done("NT1"): "done", Refused("barred"): "refused", Unknown("no answer"): "unknown"}
    for answer, expected in answers.items():
        match answer:
            case Done(reference):
                assert (reference, expected) == ("NT1", "done")
            case Refused(reason, code, final):
                assert (reason, code, final, expected) == ("barred", "", True, "refused")
            case Unknown(why):
                assert (why, expected) == ("no answer", "unknown")
