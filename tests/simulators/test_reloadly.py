"""The simulated Reloadly serves the requests that the official Python client makes, over real HTTP, and plays on the shelf."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from tests.worlds import MORNING, FixedWorld, Inbox

from refill.money import money
from refill.operators import Recharge, suppliers_by_name
from refill.outcome import Done
from refill.simulators import shelf
from refill.simulators.reloadly import SUFFIXES, WHAT_HAPPENS, ReloadlySimulator, leads, plays
from refill.simulators.serve import listen, serving, surroundings
from refill.world import Request, Response

ACCEPT = "application/com.reloadly.topups-v1+json"
ORDER = {"operatorId": 173, "amount": 5, "recipientPhone": {"countryCode": "CN", "number": "13800138000"}}


def test_every_trouble_is_in_the_table_and_every_line_of_the_table_is_a_trouble() -> None:
    assert set(SUFFIXES.values()) == set(WHAT_HAPPENS)


async def test_the_page_names_every_trouble() -> None:
    far = ReloadlySimulator(**FixedWorld().surroundings(), client_secret="s", webhook_secret=b"w")
    page = (await far.handle(Request("GET", "http://localhost/"))).body.decode()
    assert all(f"…{end}" in page and WHAT_HAPPENS[what] in page for end, what in SUFFIXES.items())


Ask = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="session")
async def ask() -> AsyncIterator[Ask]:
    """The client's own requests, as `reloadly-airtime` 1.1.2 makes them: `ask("GET", "/accounts/balance")`."""
    async with surroundings() as real, httpx2.AsyncClient(trust_env=False) as client:
        far = ReloadlySimulator(**real, client_secret="only for these tests", webhook_secret=b"whsec")
        async with serving(far, listen()) as url:
            asked = {
                "client_id": "refill",
                "client_secret": "only for these tests",
                "grant_type": "client_credentials",
                "audience": "https://topups-sandbox.reloadly.com",
            }
            token = (await client.post(f"{url}/oauth/token", content=json.dumps(asked))).json()["access_token"]
            headers = {"accept": ACCEPT, "authorization": f"Bearer {token}", "content-type": "application/json"}

            async def go(method: str, path: str, said: object = None, **other: str) -> Any:
                body = None if said is None else json.dumps(said)
                answer = await client.request(method, url + path, headers={**headers, **other}, content=body)
                return answer.json()

            yield go


async def test_the_official_client_finds_what_it_looks_for(ask: Ask) -> None:
    assert await ask("GET", "/accounts/balance") | {"updatedAt": ""} == {
        "balance": 1_000_000.0,
        "currencyCode": "USD",
        "updatedAt": "",
    }
    assert isinstance(await ask("GET", "/countries"), list)
    operator = (await ask("GET", "/operators"))["content"][0]
    assert operator == await ask("GET", "/operators/173")
    assert await ask("GET", "/operators/countries/CN") == [operator]
    assert await ask("GET", "/operators/auto-detect/phone/+8613800138000/countries/CN") == operator
    assert await ask("GET", "/operators/auto-detect/phone/%2B8613800138000/countries/CN") == operator


async def test_the_official_client_tops_up_and_asks(ask: Ask) -> None:
    sent = await ask("POST", "/topups", {**ORDER, "customIdentifier": "x1"})
    assert (sent["status"], sent["deliveredAmount"], sent["deliveredAmountCurrencyCode"]) == (
        "SUCCESSFUL",
        35.65,
        "CNY",
    )
    assert sent["recipientPhone"] == "8613800138000"
    told = await ask("GET", f"/topups/{sent['transactionId']}/status")
    assert told["transaction"] == sent
    for report in ("transaction", "transactions"):
        assert (await ask("GET", f"/topups/reports/{report}"))["content"] == [sent]
        assert await ask("GET", f"/topups/reports/{report}/{sent['transactionId']}") == sent
    assert (await ask("GET", "/topups/reports/transactions?customIdentifier=x2&page=1&size=5"))["content"] == []
    later = {**ORDER, "customIdentifier": "x2", "amount": "50", "useLocalAmount": "true"}
    assert list(await ask("POST", "/topups-async", later)) == ["transactionId"]


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"recipientPhone": {"countryCode": "CN", "number": "13800130003"}}, "PHONE_BANNED_BY_OPERATOR"),
        ({"recipientPhone": {"countryCode": "CN"}}, "INVALID_INPUT_PROVIDED"),
        ({"amount": 0}, "INVALID_AMOUNT"),
        ({"amount": 1e9}, "INSUFFICIENT_BALANCE"),
        ({"operatorId": 5}, "OPERATOR_NOT_FOUND"),
    ],
    ids=str,
)
async def test_an_error_has_the_key_by_which_the_official_client_knows_one(
    ask: Ask, other: dict[str, Any], code: str
) -> None:
    said = await ask("POST", "/topups", {**ORDER, **other})
    assert said["errorCode"] == code
    assert said["message"]


async def test_who_has_no_token_learns_nothing(ask: Ask) -> None:
    assert (await ask("GET", "/accounts/balance", authorization="Bearer 0"))["errorCode"] == "INVALID_TOKEN"
    assert (await ask("POST", "/oauth/token", {"client_id": "refill"}))["errorCode"] == "INVALID_CREDENTIALS"
    assert (await ask("GET", "/nowhere"))["errorCode"] == "NOT_FOUND"


async def test_a_webhook_comes_again_until_it_is_accepted() -> None:
    world, inbox = FixedWorld(), Inbox(Response(503, {}, b""))
    kept: dict[str, str] = {}

    def keep(name: str, make: Callable[[], str]) -> str:
        return kept.setdefault(name, make())

    far = plays(keep, "https://far.example", "https://us.example", world.surroundings())  # type: ignore[arg-type]
    world.route("https://far.example", far.handle)
    world.route("https://us.example/callbacks/suppliers/reloadly", inbox.handle)
    settings = leads(keep, "https://far.example")
    supplier = suppliers_by_name(settings)["reloadly"]
    ask = Recharge("rq_1", "8613800138000", money("50 CNY"), "northtel", "airtime", MORNING + timedelta(hours=1))
    assert isinstance(await supplier.recharge(world, ask), Done)
    await world.advance(10)
    assert len(inbox.notices) == 2
    inbox.answer = Response(200, {}, b"")
    await world.advance(3600)
    assert len(inbox.notices) == 3
    assert {supplier.read_notice(one.body, one.headers).request_id for one in inbox.notices} == {"rq_1"}


def test_it_stands_on_the_shelf_with_a_port_of_its_own() -> None:
    ports = [file.PORT for file in shelf().values()]
    assert shelf()["reloadly"].PORT == 7
    assert len(set(ports)) == len(ports)
