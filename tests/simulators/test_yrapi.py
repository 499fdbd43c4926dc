"""The simulated wholesale platform tells what it does, keeps its own rules, and is reached over real HTTP."""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx2
import pytest
from tests.worlds import FixedWorld, Inbox

from refill.money import money
from refill.operators import Recharge, suppliers_by_name
from refill.outcome import Done
from refill.simulators.serve import address, listen, serving, surroundings
from refill.simulators.trouble import BY_SUFFIX
from refill.simulators.yrapi import WHAT_HAPPENS, YrapiSimulator, leads, plays
from refill.world import NoAnswer, Request, Response

KEY, URL = "only for these tests", "http://127.0.0.1:8006/yrapi.php"


def test_every_trouble_is_in_the_table_and_every_line_of_the_table_is_a_trouble() -> None:
    assert set(BY_SUFFIX.values()) - {"spent"} == set(WHAT_HAPPENS), "nobody can ask here for credit back"


class Client:
    """One who signs as the platforms' page says, with nothing of ours but the key."""

    def __init__(self, platform: YrapiSimulator) -> None:
        self.platform = platform

    async def ask(self, path: str, **fields: str) -> dict[str, Any]:
        form = {"userid": "10001", **fields}
        body = urlencode({**form, "sign": self.platform._sign(form)}).encode()
        answer: dict[str, Any] = json.loads(
            (await self.platform.handle(Request("POST", f"{URL}/index/{path}", {}, body))).body
        )
        return answer


ORDER = {"out_trade_num": "A1", "product_id": "1050", "mobile": "13800138000"}


@pytest.mark.parametrize(
    ("other", "errmsg"),
    [
        ({"product_id": "68"}, "未找到相关产品(产品ID不正确或已下架)"),
        ({"mobile": "8613800138000"}, "手机号格式不正确"),
        ({"amount": "100"}, "面值检测不相同，提单不通过！"),
        ({"price": "49.24"}, "成本限制，提单不通过！"),
        ({"mobile": "13800130003"}, "该号码无法充值"),
    ],
)
async def test_what_it_does_not_take_it_does_not_list(other: dict[str, str], errmsg: str) -> None:
    client = Client(YrapiSimulator(**FixedWorld().surroundings(), apikey=KEY, base_url=URL))
    refused = await client.ask("recharge", **{**ORDER, **other})
    assert (refused["errno"], refused["errmsg"]) == (1, errmsg)
    assert (await client.ask("check", out_trade_nums="A1"))["data"] == []
    assert client.platform.credits == []


async def test_who_signs_wrongly_gets_nothing() -> None:
    platform = YrapiSimulator(**FixedWorld().surroundings(), apikey=KEY, base_url=URL)
    for sign in ("", "0" * 32, platform._sign({"userid": "10001"}).lower()):
        body = urlencode({"userid": "10001", "sign": sign}).encode()
        said = json.loads((await platform.handle(Request("POST", f"{URL}/index/user", {}, body))).body)
        assert (said["errno"], said["data"]) == (1, "")


async def test_a_notice_is_a_signed_form_and_comes_again_until_it_is_accepted() -> None:
    world, inbox = FixedWorld(), Inbox(Response(503, {}, b""))
    us = "https://us.example/callbacks/suppliers/dayuan"
    platform = YrapiSimulator(**world.surroundings(), apikey=KEY, base_url=URL, notify_url=us)
    world.route(us, inbox.handle)
    await Client(platform).ask("recharge", **ORDER)
    await world.advance(10)
    inbox.answer = Response(200, {}, b"success")
    await world.advance(3600)
    assert len(inbox.notices) == 3
    form = dict(parse_qsl(inbox.notices[0].body.decode(), keep_blank_values=True))
    assert form.pop("sign") == platform._sign(form)
    assert (form["out_trade_num"], form["state"], form["charge_amount"]) == ("A1", "1", "50.00")


async def test_over_real_http_a_recharge_is_credited() -> None:
    kept: dict[str, str] = {}

    def keep(name: str, make: Any) -> str:
        return kept.setdefault(name, make())

    async with surroundings() as real, httpx2.AsyncClient(trust_env=False) as client:
        listening = listen()
        platform = plays(keep, address(listening), "", real)
        platform.delay_s = (0.0, 0.0)
        async with serving(platform, listening) as url:

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
            dayuan = suppliers_by_name(leads(keep, url))["dayuan"]
            later = world.clock + timedelta(minutes=1)
            ask = Recharge("rq_1", "8613800130002", money("50 CNY"), "cmcc", "cmcc-50", later, money("49.60 CNY"))
            await dayuan.recharge(world, ask)
            assert isinstance(await dayuan.inquire(world, ask), Done), "its answer was lost, but it is listed"
            assert isinstance(await dayuan.balance(world, "CNY"), Done)
            truth = (await client.get(f"{url}/truth")).json()
            page = (await client.get(url)).text
    assert [(credit["request_id"], credit["msisdn"]) for credit in truth["credits"]] == [("rq_1", "13800130002")]
    assert all(f"…{end}" in page and WHAT_HAPPENS[what] in page for end, what in BY_SUFFIX.items() if what != "spent")
