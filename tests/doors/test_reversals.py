"""Reversals as a partner asks for them: at once on our own network, by the operator's rules, and nobody else's."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.doors.api import Api, api_on

from refill.operators import terms_by_name
from refill.topup import flow

WHY = {"reason": "the wrong number was typed"}


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


async def delivered(api: Api, **fields: Any) -> str:
    answer = await api.topup(**fields)
    assert answer.status_code in (201, 202), answer.text
    return str(answer.json()["id"])


async def test_a_top_up_of_our_own_network_is_taken_back_at_once(api: Api) -> None:
    id_ = await delivered(api)
    before = await api.get(f"/v1/topups/{id_}/reversal")
    assert (before.status_code, before.json()["code"]) == (404, "not_found")
    answer = await api.post(f"/v1/topups/{id_}/reversal", WHY)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["topup"], told["state"], told["reason"]) == (id_, "reversed", WHY["reason"])
    assert (await api.get(f"/v1/topups/{id_}")).json()["status"] == "reversed"
    assert await api.float_() == "1000.00"
    again = await api.post(f"/v1/topups/{id_}/reversal", WHY)
    assert (again.status_code, again.json()) == (200, told), "the same wish is the same reversal"
    assert (await api.get(f"/v1/topups/{id_}/reversal")).json() == told


async def test_a_suppliers_is_asked_and_looked_at_again(api: Api) -> None:
    shop = api.shop
    supplier = shop.trade.suppliers["northtel"]
    flags = replace(supplier.flags, can_reverse=True)
    object.__setattr__(supplier, "flags", flags)  # as if the setting said yes
    id_ = await delivered(api, msisdn="+8613912345678")
    await shop.tick()
    answer = await api.post(f"/v1/topups/{id_}/reversal", WHY)
    assert (answer.status_code, answer.json()["state"]) == (202, "processing")
    await flow.chase_reversals(shop.trade)
    await shop.world.advance(0)
    assert (await api.get(f"/v1/topups/{id_}/reversal")).json()["state"] == "reversed"
    assert (await api.get(f"/v1/topups/{id_}")).json()["status"] == "reversed"


async def test_spent_credit_is_refused_with_its_reason(api: Api) -> None:
    shop = api.shop
    supplier = shop.trade.suppliers["northtel"]
    object.__setattr__(supplier, "flags", replace(supplier.flags, can_reverse=True))
    shop.northtel.troubles.plan("spent")
    id_ = await delivered(api, msisdn="+8613912345678")
    await shop.tick()
    await api.post(f"/v1/topups/{id_}/reversal", WHY)
    await flow.chase_reversals(shop.trade)
    await shop.world.advance(0)
    told = (await api.get(f"/v1/topups/{id_}/reversal")).json()
    assert (told["state"], told["refused_because"]) == ("refused", "spent")


async def test_the_operators_rules_and_what_it_can_are_told(api: Api) -> None:
    shop = api.shop
    id_ = await delivered(api, msisdn="+8613912345678")
    await shop.tick()
    answer = await api.post(f"/v1/topups/{id_}/reversal", WHY)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_reversible")
    assert "ask its people" in answer.json()["detail"]
    late = await delivered(api, reference="R-late")
    terms = terms_by_name({"terms_home_reversal_within_h": "1"}, ["home"])
    object.__setattr__(shop.trade, "terms", terms)
    await shop.world.advance(3601)
    answer = await api.post(f"/v1/topups/{late}/reversal", WHY)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_reversible")
    assert "time for taking it back is over" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"reason": ""}, 422),
        ({"reason": "x" * 201}, 422),
        ({"reason": "two\nlines"}, 422),
        ({"reason": "call 138 0013 8000"}, 422),
        ({"reason": "ok", "amount": "1"}, 400),
    ],
)
async def test_a_reason_that_cannot_be_kept_is_refused(api: Api, body: dict[str, str], status: int) -> None:
    id_ = await delivered(api)
    answer = await api.post(f"/v1/topups/{id_}/reversal", body)
    assert answer.status_code == status, answer.text
    assert (await api.get(f"/v1/topups/{id_}")).json()["status"] == "succeeded"


async def test_another_partners_top_up_is_not_there(api: Api) -> None:
    id_ = await delivered(api)
    _, key = await api.new_partner("Other shop", "100.00 CNY")
    for path in (f"/v1/topups/{id_}/reversal", "/v1/topups/tu_nobody/reversal"):
        answer = await api.post(path, WHY, authorization=f"Bearer {key}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
