"""WeChat Pay's bill as it is fetched: by its signed hash, or not at all."""

from datetime import timedelta

import pytest
from tests.simulators.test_wechat_pay import a_charge, a_world, opened
from tests.worlds import MORNING, FixedWorld

from refill.outcome import Refused, Unknown
from refill.payments import ABSENT, Method, SendsStatements
from refill.world import NoAnswer, Request, Response


async def a_day_later() -> tuple[FixedWorld, Method]:
    world, simulator, method, _ = a_world()
    await opened(world, method, a_charge(scene="wap", payer_ip="203.0.113.7"))
    assert simulator.pay(a_charge().reference)
    await world.advance(86400)
    return world, method


async def test_there_is_no_bill_of_a_day_without_payments() -> None:
    world, method = await a_day_later()
    assert isinstance(method, SendsStatements)
    quiet = await method.fetch_statement(world, MORNING.date() - timedelta(days=5))
    assert quiet == Refused(ABSENT, "NO_STATEMENT_EXIST", final=False)


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        ("/v3/billdownload/", Response(404, {}, b"{}")),
        ("/v3/billdownload/", Response(200, {}, b"not packed")),
        ("/v3/billdownload/", Response(200, {}, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x03\x00" + b"\0" * 8)),
        ("/v3/billdownload/", None),
        ("/v3/bill/", None),
    ],
    ids=["gone", "no zip", "another content", "lost", "no answer"],
)
async def test_a_bill_that_is_not_the_one_they_signed_is_no_bill(part: str, answer: Response | None) -> None:
    world, method = await a_day_later()
    assert isinstance(method, SendsStatements)
    base = method.gateway_url  # type: ignore[attr-defined]

    async def handle(request: Request) -> Response:
        if answer is None:
            raise NoAnswer("reset")
        return answer

    world.route(base + part, handle)
    assert isinstance(await method.fetch_statement(world, MORNING.date()), Unknown)
