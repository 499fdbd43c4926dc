"""The operator simulator tells on its page what it does, serves real HTTP, and repeats its notices."""

from dataclasses import replace
from datetime import timedelta

import httpx2
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.money import money
from refill.operators import Recharge, suppliers_by_name
from refill.outcome import Done
from refill.simulators.operator import WHAT_HAPPENS, OperatorSimulator
from refill.simulators.serve import listen, serving, surroundings
from refill.simulators.trouble import BY_SUFFIX
from refill.world import NoAnswer, Request, Response

SECRET = b"only for these tests"
US = "https://us.example/callbacks/northtel"


def test_every_trouble_is_in_the_table_and_every_line_of_the_table_is_a_trouble() -> None:
    assert set(BY_SUFFIX.values()) == set(WHAT_HAPPENS)


async def test_the_page_names_every_trouble() -> None:
    world = FixedWorld()
    operator = OperatorSimulator(**world.surroundings(), secret=SECRET)
    page = (await operator.handle(Request("GET", "http://localhost/"))).body.decode()
    assert all(f"…{end}" in page and WHAT_HAPPENS[what] in page for end, what in BY_SUFFIX.items())


async def test_a_notice_comes_again_until_it_is_accepted() -> None:
    world, inbox = FixedWorld(), Inbox(Response(503, {}, b""))
    operator = OperatorSimulator(**world.surroundings(), secret=SECRET, base_url="https://n.example", notify_url=US)
    world.route("https://n.example", operator.handle)
    world.route(US, inbox.handle)
    await supplier("https://n.example").recharge(world, a_recharge())
    await world.advance(10)
    assert len(inbox.notices) == 2
    inbox.answer = Response(200, {}, b"")
    await world.advance(3600)
    assert len(inbox.notices) == 3
    assert len({notice.body for notice in inbox.notices}) == 1


async def test_over_real_http_a_recharge_is_credited() -> None:
    async with surroundings() as real, httpx2.AsyncClient(trust_env=False) as client:
        operator = OperatorSimulator(**real, secret=SECRET)
        async with serving(operator, listen()) as url:

            async def handle(request: Request) -> Response:
                try:
                    answer = await client.request(
                        request.method, request.url, headers=dict(request.headers), content=request.body
                    )
                except httpx2.HTTPError as error:
                    raise NoAnswer(str(error)) from error
                return Response(answer.status_code, dict(answer.headers), answer.content)

            world = FixedWorld(at=real["now"]())
            world.route(url, handle)
            northtel = supplier(url)
            ask = a_recharge("8613800130002", world.clock + timedelta(minutes=1))
            assert not isinstance(await northtel.recharge(world, ask), Done), "its answer is lost"
            assert isinstance(await northtel.inquire(world, ask), Done)
            assert isinstance(await northtel.balance(world, "CNY"), Done)
            truth = (await client.get(f"{url}/truth")).json()
            assert (await client.post(f"{url}/troubles", content="name=busy")).status_code == 204
            assert not isinstance(
                await northtel.recharge(world, replace(ask, request_id="rq_2", msisdn="8613800138000")), Done
            )
    assert [credit.face_minor for credit in operator.credits] == [5000]
    assert [(credit["request_id"], credit["msisdn"]) for credit in truth["credits"]] == [("rq_1", "8613800130002")]


def supplier(url: str):
    settings = {"url": url, "secret": SECRET.decode(), "dedups": "yes", "not_found_final_s": "600"}
    named = {f"http_json_northtel_{name}": value for name, value in settings.items()}
    return suppliers_by_name({"http_json_suppliers": "northtel", **named})["northtel"]


def a_recharge(msisdn: str = "8613800138000", send_before=MORNING + timedelta(hours=1)) -> Recharge:
    return Recharge("rq_1", msisdn, money("50 CNY"), "northtel", "airtime", send_before)
