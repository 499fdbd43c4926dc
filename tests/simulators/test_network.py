"""What operators' far ends share, on each wire: a page that tells what a number does, truth and trouble from outside."""

import json

import pytest
from tests.worlds import FixedWorld

from refill.simulators import shelf
from refill.simulators.network import Network
from refill.world import Request


def played() -> dict[str, Network]:
    world = FixedWorld()
    ends = {
        name: file.plays(lambda name, make: make(), "http://far.example", "", world.surroundings())
        for name, file in shelf().items()
    }
    return {name: end for name, end in ends.items() if isinstance(end, Network)}


OPERATORS = [pytest.param(end, id=name) for name, end in played().items()]


def test_several_wires_share_it() -> None:
    assert {"operator", "tmf654", "electrum", "ucip"} <= set(played())


@pytest.mark.parametrize("far", OPERATORS)
async def test_the_page_names_every_trouble_of_its_own_and_no_other(far: Network) -> None:
    page = (await far.handle(Request("GET", "http://far.example/"))).body.decode()  # type: ignore[attr-defined]
    assert set(far.by_suffix.values()) == set(far.WHAT_HAPPENS)
    assert all(f"…{end}" in page and far.WHAT_HAPPENS[what] in page for end, what in far.by_suffix.items())
    assert page.count("<tr><td>…") == len(far.WHAT_HAPPENS)


@pytest.mark.parametrize("far", OPERATORS)
async def test_a_stranger_gets_neither_credit_nor_the_float(far: Network) -> None:
    handle = far.handle  # type: ignore[attr-defined]
    for path in ("/recharges", "/tmf-api/prepayBalanceManagement/v4/topupBalance", "/airtime/v5/purchases", "/Air"):
        answer = await handle(Request("POST", f"http://far.example{path}", {"authorization": "签名"}, b"{}"))
        assert answer.status in (401, 404)
    assert far.jobs == {}


@pytest.mark.parametrize("far", OPERATORS)
async def test_truth_and_trouble_are_had_from_another_process(far: Network) -> None:
    handle = far.handle  # type: ignore[attr-defined]
    assert (await handle(Request("POST", "http://far.example/troubles", {}, b"name=lost&times=2"))).status == 204
    assert [far.troubles.strikes("lost") for _ in range(3)] == [True, True, False]
    far.delay_s = (0.0, 0.0)
    far.take("rq_1", "8613800138000", 5000)
    told = json.loads((await handle(Request("GET", "http://far.example/truth"))).body)
    assert [one["face_minor"] for one in told["credits"]] == [5000]
    assert told["float_minor"] == 10**9 - 4925
