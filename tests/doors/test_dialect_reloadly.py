"""Reloadly's own client, which nobody changed, sells through us; what it does wrong never tops anybody up twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.doors.api import Api, api_on
from tests.doors.official import run_client

from refill.channels.dialects import reloadly

STRANGER = "+8613912345678"


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


async def test_the_official_client_sells_through_us(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloadly, "PATIENCE_S", 1.0)
    base = f"http://127.0.0.1:{api.port}/dialects/reloadly"
    told = await run_client("reloadly_sells", base, api.key, "+8613800138000", STRANGER)
    assert (told["balance"]["balance"], told["balance"]["currencyCode"]) == (1000.0, "CNY")
    assert [one["isoName"] for one in told["countries"]] == sorted({one["isoName"] for one in told["countries"]})
    assert told["country"]["callingCodes"] == ["+86"]
    assert told["nowhere"]["refused"] == "Nothing of that country is on sale."
    assert told["operators"]["totalElements"] == len(told["operators"]["content"])
    assert told["detected"]["name"] == told["operator"]["name"]
    assert 50.0 in told["operator"]["fixedAmounts"]
    assert "no operator" in told["nobody"]["refused"]
    assert told["rate"]["fxRate"] == 1
    assert told["commission"]["percentage"] == 0.4
    assert told["promotions"] == []
    sent = told["sent"]
    assert "refused" not in sent, sent
    assert (sent["status"], sent["requestedAmount"], sent["deliveredAmount"]) == ("SUCCESSFUL", 50.0, 50.0)
    assert (sent["cost"], sent["balanceInfo"]["newBalance"]) == (49.8, 950.2)
    assert sent["customIdentifier"] == "acme-1" and "errorCode" not in sent
    # The same name again is the same transaction, not an error: of such errors two thirds had been paid.
    assert told["again"]["transactionId"] == sent["transactionId"]
    assert "different request" in told["other content"]["refused"]
    assert told["status"]["code"] == told["status"]["transaction"]["status"] == "SUCCESSFUL"
    assert told["unnamed"]["status"] == "SUCCESSFUL"
    assert "a moment ago" in told["unnamed again"]["refused"]
    assert set(told["later"]) == {"transactionId"}
    assert "on sale" in told["too much"]["refused"]
    assert "digit" in told["not a number"]["refused"]
    assert told["unsure"]["status"] == "PROCESSING"
    assert told["history"]["totalElements"] == len(told["history"]["content"]) == 4
    assert told["one of it"]["transactionId"] == sent["transactionId"]
    assert told["not ours"]["refused"] == "There is no top-up with that number."
    assert await api.credit() == "120.00"


async def test_what_a_client_repeats_without_a_name_is_one_top_up_on_both_sides_of_a_turn_of_the_clock(
    api: Api,
) -> None:
    operator = (await _get(api, "/operators/auto-detect/phone/13800138000/countries/CN"))["operatorId"]
    wish = {
        "operatorId": str(operator),
        "amount": "20.00",
        "recipientPhone": {"countryCode": "CN", "number": "13800138000"},
    }
    first, second = await asyncio.gather(_post(api, wish), _post(api, wish))
    assert sorted(answer.get("errorCode", "") for answer in (first, second)) == ["", "PHONE_RECENTLY_RECHARGED"]
    for _ in range(3):
        await api.shop.wait(39)
        assert (await _post(api, wish))["errorCode"] == "PHONE_RECENTLY_RECHARGED"
    await api.shop.wait(60)
    assert (await _post(api, wish))["status"] == "SUCCESSFUL"
    assert await api.credit() == "40.00"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "INVALID_INPUT_PROVIDED"),
        (b"[1]", "INVALID_INPUT_PROVIDED"),
        (b'{"operatorId": 7}', "OPERATOR_NOT_FOUND"),
        (b'{"operatorId": "\xd9\xa1"}', "OPERATOR_NOT_FOUND"),
        (b'{"operatorId": true}', "OPERATOR_NOT_FOUND"),
        (b'{"a": 1, "a": 2}', "INVALID_INPUT_PROVIDED"),
        (b'{"operatorId": NaN}', "INVALID_INPUT_PROVIDED"),
    ],
    ids=["nothing", "a list", "nobody", "digits of another script", "true", "twice", "NaN"],
)
async def test_bad_input_is_refused_in_their_words(api: Api, body: bytes, code: str) -> None:
    answer = await api.post("/dialects/reloadly/topups", body)
    assert answer.json()["errorCode"] == code and answer.json()["message"]
    assert await api.traces() == 0


async def test_without_a_key_of_ours_nothing_is_told(api: Api) -> None:
    for secret in ("", "Bearer wrong", "Bearer rt.9999999999." + "0" * 32 + "." + "0" * 32):
        answer = await api.client.get("/dialects/reloadly/accounts/balance", headers={"authorization": secret})
        assert (answer.status_code, answer.json()["errorCode"]) == (401, "INVALID_TOKEN")
    answer = await api.client.post("/dialects/reloadly/oauth/token", json={"client_secret": "x" * 40})
    assert answer.json()["errorCode"] == "INVALID_TOKEN"


async def test_another_partners_transaction_is_not_there(api: Api) -> None:
    operator = (await _get(api, "/operators/auto-detect/phone/13800138000/countries/CN"))["operatorId"]
    phone = {"countryCode": "CN", "number": "13800138000"}
    sent = await _post(api, {"operatorId": operator, "amount": 20, "recipientPhone": phone})
    _, other = await api.new_partner("Bell", "10.00 CNY")
    for path in (f"/topups/{sent['transactionId']}/status", f"/topups/reports/transaction/{sent['transactionId']}"):
        assert (await _get(api, path, other))["errorCode"] == "TRANSACTION_NOT_FOUND"
        assert (await _get(api, path))["transactionId"] == sent["transactionId"]


async def _get(api: Api, path: str, bearer: str | None = None) -> Any:
    return (await api.get(f"/dialects/reloadly{path}", bearer)).json()


async def _post(api: Api, body: dict[str, Any]) -> Any:
    return (await api.post("/dialects/reloadly/topups", body)).json()
