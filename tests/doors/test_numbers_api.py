"""`GET /v1/numbers/{msisdn}`: whose a number is and from where we know, and what its partner should look at twice."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.doors.api import Api, api_on

from refill.channels.machines.limits import TokenBuckets
from refill.channels.partner_api.look import LOOK_UPS_PER_S, Looks
from refill.lookups import asker
from refill.simulators.lookup import LookupSimulator

FIRM = "https://lookup.example"
SECRET = "known to both sides"


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


@pytest.fixture
def firm(api: Api) -> LookupSimulator:
    shop = api.shop
    firm = LookupSimulator(**shop.world.surroundings(), secret=SECRET, base_url=FIRM)
    shop.world.route(FIRM, firm.handle)
    said = {"hlr_json_url": FIRM, "hlr_json_key": "refill", "hlr_json_secret": SECRET, "lookup_warns": "cmcc ctcc"}
    asks = asker(said)
    shop.trade.lookups.lookups, shop.trade.lookups.warns = asks.lookups, asks.warns
    return firm


async def told(api: Api, number: str, key: str | None = None) -> dict[str, Any]:
    answer = await api.get(f"/v1/numbers/{number}", *([key] if key else []))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def warnings(api: Api, number: str) -> list[str]:
    return [warning["code"] for warning in (await told(api, number))["warnings"]]


async def test_a_partner_hears_whose_a_number_is_and_from_where(api: Api, firm: LookupSimulator) -> None:
    ported = await told(api, "13812340051")
    shown = {name: ported[name] for name in ("operator", "operator_source", "ported", "state")}
    assert shown == {"operator": "ctcc", "operator_source": "look_up", "ported": True, "state": "active"}
    own = await told(api, "13800138000")
    assert (own["operator"], own["operator_source"], own["ported"]) == ("demo", "own", None)
    nobodys = await told(api, "16512345678")
    assert (nobodys["operator"], nobodys["operator_source"]) == (None, None)
    foreign = await told(api, "+447400123456")
    assert (foreign["country"], foreign["grouped"], foreign["operator"]) == ("GB", "+44 7400 123456", None)


async def test_warnings_are_for_this_partner_alone_and_refuse_nothing(api: Api, firm: LookupSimulator) -> None:
    assert await warnings(api, "13812340053") == ["dead", "first_time"]
    assert (await api.topup("k1", msisdn="13812340053", amount="50.00", reference="r1")).status_code in (201, 202)
    assert await warnings(api, "13812340053") == ["dead"]
    assert await warnings(api, "13812340054") == ["one_digit_off"]
    detail = (await told(api, "13812340054"))["warnings"][0]["detail"]
    assert "138****0053" in detail and "13812340053" not in detail


async def test_a_number_of_nobody_is_still_a_clear_refusal(api: Api) -> None:
    for typed in ("%2B442071838750", "01065529988", "13800138000%0A", "13800138000;ext=5", "%EF%BC%91%EF%BC%93"):
        answer = await api.get(f"/v1/numbers/{typed}")
        assert (answer.status_code, answer.json()["code"]) == (422, "not_a_number"), typed
    assert "landline" in (await api.get("/v1/numbers/01065529988")).json()["detail"]


async def test_a_partner_that_asks_too_often_hears_what_is_known(api: Api, firm: LookupSimulator) -> None:
    looks = Looks(api.shop.trade)
    looks._strangers = TokenBuckets(LOOK_UPS_PER_S, clock=lambda: 0.0)
    assert sum(looks._may_ask("pa_1") for _ in range(100)) == 40, "twenty a second, and as many saved up"
    assert looks._may_ask("pa_2"), "each partner for itself"
