"""The Python client against real doors: typed answers, names that survive lost answers, and doubt that is told as doubt."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from refill_client import AsyncClient, Client, NotSigned, Refused, Unknown, Wish, verify
from tests.doors.api import Api, api_on

OURS = "+8613800138000"
FIFTY = Decimal("50.00")


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


def client(api: Api, port: int | None = None, **more: Any) -> AsyncClient:
    return AsyncClient(f"http://127.0.0.1:{port or api.port}", api.key, **more)


async def test_a_top_up_is_typed_and_its_reference_names_it(api: Api) -> None:
    async with client(api) as refill:
        topup = await refill.topup(OURS, FIFTY, "CNY", reference="order-1")
        assert (topup.status, topup.final, topup.price) == ("succeeded", True, Decimal("49.80"))
        assert (await refill.topup(OURS, "50.00", "CNY", reference="order-1")).id == topup.id
        assert await refill.get(topup.id) == await refill.by_reference("order-1") == await refill.wait(topup)
        assert [one.id async for one in refill.topups()] == [topup.id]
        assert (await refill.balance()).balance == Decimal("950.20")
        moves = [(one.kind, one.amount) async for one in refill.transactions()]
        assert moves == [("topup", Decimal("-49.80")), ("deposit", Decimal("1000.00"))]


async def test_what_is_on_sale_is_told(api: Api) -> None:
    async with client(api) as refill:
        operators = await refill.operators()
        products = [one async for one in refill.products(limit=2)]
        assert {one.product for one in products} == {offer.product for one in operators for offer in one.products}
        number = await refill.number(OURS)
        assert (number.country, number.operator) == ("CN", "demo")
        quote = await refill.quote(FIFTY, "CNY", msisdn=OURS)
        topup = await refill.topup(OURS, FIFTY, "CNY", quote=quote.quote)
        assert topup.price == quote.price


async def test_a_bulk_has_a_result_for_each_row(api: Api) -> None:
    rows = [Wish(msisdn=number, amount=FIFTY, currency="CNY", reference=f"R{number}") for number in (OURS, "+8612345")]
    async with client(api) as refill:
        bulk = await refill.bulk(rows)
    assert (bulk.accepted, bulk.refused) == (1, 1)
    good, bad = bulk.results
    assert good.topup is not None and good.topup.status == "succeeded"
    assert bad.problem is not None and bad.problem.code == "not_a_number"


async def test_the_client_that_waits_does_the_same(api: Api) -> None:
    def sell() -> tuple[str, str, list[str]]:
        with Client(f"http://127.0.0.1:{api.port}", api.key) as refill:
            topup = refill.wait(refill.topup(OURS, FIFTY, "CNY", reference="order-1"))
            return topup.id, refill.by_reference("order-1").id, [one.id for one in refill.topups(limit=1)]

    one, other, every = await asyncio.to_thread(sell)
    assert one == other == every[0]


async def test_a_no_is_a_no_at_once(api: Api) -> None:
    async with client(api) as refill:
        with pytest.raises(Refused) as no:
            await refill.topup("+8612345", FIFTY, "CNY", reference="order-1")
        assert (no.value.code, no.value.status, no.value.retryable) == ("not_a_number", 422, False)
        with pytest.raises(Refused, match="not_found"):
            await refill.get("tu_nobody")
        with pytest.raises(TypeError, match="float"):
            await refill.topup(OURS, 0.1, "CNY")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="decimal number"):
            await refill.topup(OURS, "fifty", "CNY")


class Tunnel:
    """A way to the doors that loses the answers of the first `lost` requests, after they were carried out."""

    def __init__(self, port: int, lost: int) -> None:
        self._port = port
        self.left = lost
        self.seen = 0

    async def __aenter__(self) -> "Tunnel":
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._port)
        while request := await reader.read(65536):
            self.seen += 1
            there.write(request)
            answer = await there_reader.read(65536)
            if self.left:
                self.left -= 1
                break
            writer.write(answer)
        writer.close()
        there.close()


async def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_name(api: Api) -> None:
    async with Tunnel(api.port, lost=2) as tunnel, client(api, tunnel.port) as refill:
        topup = await refill.topup(OURS, FIFTY, "CNY")
    assert (topup.status, tunnel.seen) == ("succeeded", 3)
    assert await api.credit() == "50.00"


async def test_doubt_is_no_failure(api: Api) -> None:
    async with Tunnel(api.port, lost=9) as tunnel, client(api, tunnel.port, tries=2) as refill:
        with pytest.raises(Unknown) as doubt:
            await refill.topup(OURS, FIFTY, "CNY", reference="order-1")
        assert doubt.value.name == "order-1"
        tunnel.left = 0
        assert (await refill.topup(OURS, FIFTY, "CNY", reference="order-1")).status == "succeeded"
        tunnel.left = 9
        with pytest.raises(Refused, match="no_answer"):  # what only reads can have done nothing
            await refill.balance()
    assert await api.credit() == "50.00"


async def test_nobody_there_is_doubt_too(api: Api) -> None:
    async with client(api, 1, tries=1) as refill:
        with pytest.raises(Unknown):
            await refill.topup(OURS, FIFTY, "CNY")


def signed(body: bytes, secret: bytes, at: int) -> dict[str, str]:
    mac = base64.b64encode(hmac.digest(secret, f"msg_1.{at}.".encode() + body, hashlib.sha256)).decode()
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(at), "Webhook-Signature": f"v1,AAAA v1,{mac}"}


BODY = json.dumps({"type": "topup.succeeded", "timestamp": "2026-05-17T09:30:00Z", "data": {"id": "tu_1"}}).encode()
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def test_a_signed_webhook_is_believed() -> None:
    now = int(time.time())
    event = verify(["whsec_b3RoZXI=", SECRET], signed(BODY, b"s" * 32, now), BODY)
    assert (event.id, event.type, event.data["id"]) == ("msg_1", "topup.succeeded", "tu_1")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda headers, body: (headers, body + b" "),
        lambda headers, body: ({**headers, "Webhook-Id": "msg_2"}, body),
        lambda headers, body: ({**headers, "Webhook-Timestamp": "1"}, body),
        lambda headers, body: ({}, body),
        lambda headers, body: ({**headers, "Webhook-Signature": "v1,"}, body),
    ],
    ids=["another body", "another id", "old", "no headers", "no signature"],
)
def test_any_other_webhook_is_not(spoil: Callable[..., tuple[dict[str, str], bytes]]) -> None:
    headers, body = spoil(signed(BODY, b"s" * 32, int(time.time())), BODY)
    with pytest.raises(NotSigned):
        verify(SECRET, headers, body)


async def test_the_examples_and_the_commands_run(api: Api, tmp_path: Path) -> None:
    sheet = tmp_path / "numbers.csv"
    sheet.write_text(f"msisdn,amount,currency,reference\n{OURS},50.00,CNY,row-1\n{OURS},x,CNY,row-2\n")

    async def run(*arguments: str) -> str:
        around = {**os.environ, "REFILL_API_URL": f"http://127.0.0.1:{api.port}", "REFILL_API_KEY": api.key}
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=-1, stderr=-1, env=around)
        said, complained = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, complained.decode()
        return said.decode()

    assert "succeeded" in await run("clients/python/examples/top_up.py", OURS, "50.00")
    assert "1 accepted, 1 refused" in await run("clients/python/examples/many_at_once.py", str(sheet))
    command = ("-m", "refill", "api")
    assert "900.40 CNY" in await run(*command, "balance")
    assert "succeeded (final)" in await run(*command, "topup", OURS, "20.00", "--reference", "by hand")
    assert "succeeded (final)" in await run(*command, "get", "by hand")
