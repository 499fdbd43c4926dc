"""The smaller dialects, each driven by the client that its users have, and what all dialects owe their callers."""

from collections.abc import AsyncIterator

import pytest
from tests.doors.api import Api, api_on
from tests.doors.official import run_client

from refill.channels import dialects

OURS = "+8613800138000"


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


async def test_africas_talkings_client_sells_through_us(api: Api) -> None:
    base = f"http://127.0.0.1:{api.port}/dialects/africastalking"
    told = await run_client("africastalking_sells", base, api.key, OURS)
    assert told["user"] == {"UserData": {"balance": "CNY 1000.0000"}}
    (sent,) = told["sent"]["responses"]
    assert (sent["status"], sent["amount"], sent["discount"]) == ("Sent", "CNY 50.0000", "CNY 0.2000")
    assert (told["sent"]["numSent"], told["sent"]["totalAmount"]) == (1, "CNY 50.0000")
    assert told["again"]["responses"][0]["requestId"] == sent["requestId"]
    assert told["leaked"]["numSent"] == 0 and "Idempotency-Key" in told["leaked"]["errorMessage"]
    assert [one["status"] for one in told["some"]["responses"]] == ["Sent", "Failed", "Failed"]
    assert told["unnamed again"]["errorMessage"] == "A duplicate request was received within the last 5 minutes"
    assert await api.credit() == "70.00"
    found = await api.client.get(
        f"/dialects/africastalking/query/transaction/find?transactionId={sent['requestId']}",
        headers={"apiKey": api.key},
    )
    assert found.json()["data"]["status"] == "Success"


async def test_vtpass_client_sells_through_us(api: Api) -> None:
    told = await run_client("vtpass_sells", f"http://127.0.0.1:{api.port}/dialects/vtpass", api.key, OURS)
    assert told["balance"] == "1000.0" or told["balance"] == "1000.00"
    assert "demo" in [one["serviceID"] for one in told["services"]]
    paid = told["paid"]
    assert (paid["status"], paid["code"], paid["paid"]) == ("successful", "000", "49.8")
    assert told["again"]["id"] == told["asked"]["id"] == paid["id"]
    # Their client keeps a purchase open after 014: it does not refund what the first one delivered.
    assert (told["other content"]["code"], told["other content"]["status"]) == ("014", "pending")
    assert told["never"]["code"] == "015"
    assert told["by plan"]["status"] == "successful"
    assert [told[name]["code"] for name in ("no such", "bad name", "too much", "no number")] == [
        "012",
        "011",
        "012",
        "011",
    ]


@pytest.mark.parametrize("name", sorted(dialects.shelf()))
async def test_every_dialect_refuses_whoever_has_no_key(api: Api, name: str) -> None:
    for path in (
        "/accounts/balance",
        "/api/balance",
        "/version1/user",
        "/topups",
        "/api/pay",
        "/version1/airtime/send",
    ):
        for method in ("GET", "POST"):
            answer = await api.client.request(
                method, f"/dialects/{name}{path}", headers={"authorization": "Bearer x" * 9}
            )
            assert answer.status_code in (401, 404, 405), (name, path)
    assert await api.traces() == 0
