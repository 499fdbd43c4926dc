"""The simulated DT One keeps to the documented API beyond what our adapter uses, serves HTTP, and stands on the shelf."""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from tests.worlds import FixedWorld

from refill.operators import suppliers_by_name
from refill.outcome import Done
from refill.simulators import shelf
from refill.simulators.dtone import SUFFIXES, WHAT_HAPPENS, DtOneSimulator, leads, plays
from refill.simulators.serve import listen, serving, surroundings
from refill.world import Request

BASIC = "Basic " + b64encode(b"refill:s").decode()
ORDER: dict[str, Any] = {
    "external_id": "x1",
    "product_id": 3000,
    "calculation_mode": "DESTINATION_AMOUNT",
    "destination": {"unit_type": "CURRENCY", "unit": "CNY", "amount": 30},
    "credit_party_identifier": {"mobile_number": "+8613800138000"},
}


def test_every_trouble_is_in_the_table_and_every_line_of_the_table_is_a_trouble() -> None:
    assert set(SUFFIXES.values()) == set(WHAT_HAPPENS)


async def test_the_page_names_every_trouble() -> None:
    page = (await a_far_end().handle(Request("GET", "http://localhost/"))).body.decode()
    assert all(f"…{end}" in page and WHAT_HAPPENS[what] in page for end, what in SUFFIXES.items())


def a_far_end() -> DtOneSimulator:
    return DtOneSimulator(**FixedWorld().surroundings(), secret="s")


async def ask(far: DtOneSimulator, method: str, path: str, said: object = None) -> tuple[int, Any]:
    body = b"" if said is None else json.dumps(said).encode()
    answer = await far.handle(Request(method, f"http://far.example{path}", {"authorization": BASIC}, body))
    return answer.status, json.loads(answer.body)


async def test_an_order_is_made_held_and_confirmed_once() -> None:
    far = a_far_end()
    status, made = await ask(far, "POST", "/v1/async/transactions", ORDER)
    assert (status, made["status"]["message"], far.holding_minor) == (201, "CREATED", 380)
    assert far.credits == []
    here = f"/v1/async/transactions/{made['id']}/confirm"
    assert (await ask(far, "POST", here))[1]["status"]["class"]["id"] == 2
    assert (await ask(far, "POST", here))[1]["errors"][0]["code"] == 1007002
    assert (await ask(far, "GET", f"/v1/transactions/{made['id']}"))[1]["status"]["id"] == 70_000
    assert ([credit.face_minor for credit in far.credits], far.holding_minor) == ([3000], 0)


async def test_an_order_may_confirm_itself_or_be_cancelled() -> None:
    far = a_far_end()
    at_once = {**ORDER, "auto_confirm": True}
    assert (await ask(far, "POST", "/v1/sync/transactions", at_once))[1]["status"]["message"] == "COMPLETED"
    made = (await ask(far, "POST", "/v1/async/transactions", {**ORDER, "external_id": "x2"}))[1]
    here = f"/v1/transactions/{made['id']}/cancel"
    assert (await ask(far, "POST", here))[1]["status"]["message"] == "CANCELLED"
    assert (await ask(far, "POST", here))[1]["errors"][0]["code"] == 1007007
    confirm = f"/v1/async/transactions/{made['id']}/confirm"
    assert (await ask(far, "POST", confirm))[1]["errors"][0]["code"] == 1007004
    assert far.holding_minor == 0


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"external_id": "with a space"}, 1000400),
        ({"external_id": "x" * 41}, 1000400),
        ({"credit_party_identifier": None}, 1000400),
        ({"product_id": 5}, 1003001),
        ({"destination": {"unit": "CNY", "amount": 9}}, 1003002),
        ({"destination": {"unit": "USD", "amount": 30}}, 1003002),
        ({"destination": {"unit": "CNY", "amount": "NaN"}}, 1003002),
        ({"calculation_mode": "SOURCE_AMOUNT"}, 1003002),
    ],
    ids=str,
)
async def test_a_wrong_order_is_refused_by_number(other: dict[str, Any], code: int) -> None:
    far = a_far_end()
    assert (await ask(far, "POST", "/v1/async/transactions", {**ORDER, **other}))[1]["errors"][0]["code"] == code
    assert far.transactions == {}


async def test_what_is_not_there_is_not_found() -> None:
    for path, code in (("/v1/transactions/5", 1008004), ("/v1/nowhere", 1000404)):
        assert await ask(a_far_end(), "GET", path) == (404, {"errors": [{"code": code, "message": "Not found"}]})


async def test_over_real_http_it_tells_our_balance() -> None:
    async with surroundings() as real, httpx2.AsyncClient(trust_env=False) as client:
        async with serving(DtOneSimulator(**real, secret="s"), listen()) as url:
            assert (await client.get(f"{url}/v1/balances")).status_code == 401
            told = (await client.get(f"{url}/v1/balances", headers={"authorization": BASIC})).json()
            assert (told[0]["available"], told[0]["unit"]) == (1_000_000.0, "EUR")


async def test_its_settings_lead_to_it() -> None:
    kept: dict[str, str] = {}

    def keep(name: str, make: Callable[[], str]) -> str:
        return kept.setdefault(name, make())

    world = FixedWorld()
    far = plays(keep, "https://far.example", "", world.surroundings())  # type: ignore[arg-type]
    world.route("https://far.example", far.handle)
    supplier = suppliers_by_name(leads(keep, "https://far.example"))["dtone"]
    assert isinstance(await supplier.balance(world, "EUR"), Done)
    assert shelf()["dtone"].PORT == 8
