"""The partner API from outside: one request is one top-up, and bad input is a 4xx that says why and changes nothing."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from tests.doors.api import Api, api_on, wish

from refill.topup import Order

NUMBER = "13800138000"


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


# ------------------------------------------------------------------ one top-up


async def test_a_top_up_on_our_own_network_is_final_at_once(api: Api) -> None:
    answer = await api.topup("k1")
    assert answer.status_code == 201
    told = answer.json()
    assert {name: told[name] for name in told if name not in ("id", "created_at", "valid_until")} == {
        "status": "succeeded",
        "certainty": "final",
        "msisdn": "+8613800138000",
        "face_value": "50.00",
        "price": "49.80",
        "currency": "CNY",
        "operator": "demo",
        "reference": "R-1",
        "product": "demo-50",
    }
    assert told["id"].startswith("tu_")
    assert datetime.fromisoformat(told["valid_until"]) > datetime.fromisoformat(told["created_at"])
    assert (await api.float_(), await api.credit()) == ("950.20", "50.00")


async def test_the_same_request_again_is_the_same_top_up(api: Api) -> None:
    first, again = await api.topup("k1"), await api.topup("k1")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert await api.float_() == "950.20"


async def test_two_identical_requests_in_one_millisecond_are_one_top_up(api: Api) -> None:
    answers = await asyncio.gather(*(api.topup("k1") for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await api.float_() == "950.20"


async def test_a_reference_is_enough_and_an_idempotency_key_is_enough(api: Api) -> None:
    assert (await api.topup(reference="only this")).status_code == 201
    assert (await api.topup("only-this", reference=None)).status_code == 201
    neither = await api.topup(reference=None)
    assert (neither.status_code, neither.json()["code"]) == (400, "no_key_or_reference")


async def test_the_same_key_for_something_else_is_a_conflict(api: Api) -> None:
    await api.topup("k1")
    other = await api.topup("k1", amount="100.00")
    assert (other.status_code, other.json()["code"], other.json()["certainty"]) == (409, "key_reused", "final")


async def test_another_partners_key_is_another_key(api: Api) -> None:
    first = await api.topup("k1")
    _, bearer = await api.new_partner("Bell", "100.00 CNY")
    theirs = await api.post("/v1/topups", wish(), "k1", authorization=f"Bearer {bearer}")
    assert theirs.status_code == 201
    assert theirs.json()["id"] != first.json()["id"]


async def test_another_operators_number_is_processing_until_it_is_delivered(api: Api) -> None:
    answer = await api.topup("k1", msisdn="+8613912345678", operator="cmcc")
    assert (answer.status_code, answer.json()["status"], answer.json()["certainty"]) == (202, "processing", "pending")
    looked = await api.get(f"/v1/topups/{answer.json()['id']}")
    assert looked.json() == answer.json()


async def test_an_empty_float_refuses_and_leaves_no_trace(api: Api) -> None:
    _, poor = await api.new_partner("Poor", "10.00 CNY")
    answer = await api.post("/v1/topups", wish(), "k1", authorization=f"Bearer {poor}")
    assert (answer.status_code, answer.json()["code"]) == (402, "insufficient_funds")
    assert answer.json()["retryable"] is True
    assert await api.traces() == 0


async def test_a_price_above_the_highest_that_is_accepted_is_refused(api: Api) -> None:
    answer = await api.topup("k1", max_price="49.79")
    assert (answer.status_code, answer.json()["code"]) == (409, "price_too_high")
    assert (await api.topup("k1", max_price="49.80")).status_code == 201


# ------------------------------------------------------------------ a thousand


async def test_a_bulk_has_a_result_for_each_row_and_a_bad_row_disturbs_no_other(api: Api) -> None:
    rows = [
        wish(reference="A"),
        wish(reference="B", msisdn="12345"),
        wish(reference="C", amount="0"),
        wish(reference="A"),
        wish(reference="D", amount="900.00"),
        wish(reference="E", amount="100.00"),
    ]
    answer = await api.post("/v1/topups/bulk", {"topups": rows})
    assert answer.status_code == 200
    told = answer.json()
    assert [row["status"] for row in told["results"]] == [201, 422, 422, 200, 422, 201]
    assert (told["accepted"], told["refused"]) == (3, 3)
    assert told["results"][1]["problem"]["code"] == "not_a_number"
    assert told["results"][3]["replayed"] is True
    assert told["results"][3]["topup"]["id"] == told["results"][0]["topup"]["id"]


async def test_a_bulk_sent_again_under_its_key_is_the_same_bulk(api: Api) -> None:
    rows = {"topups": [wish(reference=None, amount=amount) for amount in ("10.00", "20.00")]}
    first, again = [await api.post("/v1/topups/bulk", rows, "bulk-1") for _ in range(2)]
    assert [row["status"] for row in again.json()["results"]] == [200, 200]
    assert [row["topup"]["id"] for row in again.json()["results"]] == [
        row["topup"]["id"] for row in first.json()["results"]
    ]


async def test_a_bulk_holds_at_most_a_thousand_rows(api: Api) -> None:
    rows = [wish(reference=f"R-{n}") for n in range(1001)]
    answer = await api.post("/v1/topups/bulk", {"topups": rows})
    assert answer.status_code == 400
    assert "1000 rows" in answer.json()["detail"]
    assert await api.traces() == 0
    assert (await api.post("/v1/topups/bulk", {"topups": []})).json() == {"accepted": 0, "refused": 0, "results": []}


# ------------------------------------------------------------------ looking


async def test_a_top_up_is_found_by_id_and_by_reference(api: Api) -> None:
    placed = (await api.topup("k1", reference="my ref+1")).json()
    assert (await api.get(f"/v1/topups/{placed['id']}")).json() == placed
    assert (await api.get("/v1/topups", params={"reference": "my ref+1"})).json() == placed
    for path in ("/v1/topups?reference=none", "/v1/topups/tu_nothing", f"/v1/topups/{placed['id'][:-1]}z"):
        assert (await api.get(path)).status_code == 404


async def test_another_partners_top_up_is_not_there(api: Api) -> None:
    placed = (await api.topup("k1")).json()
    _, bearer = await api.new_partner("Bell", "100.00 CNY")
    theirs = await api.get(f"/v1/topups/{placed['id']}", bearer)
    nobodys = await api.get(f"/v1/topups/{placed['id'][:-2]}zz", bearer)
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json() == nobodys.json()
    assert (await api.get("/v1/topups?reference=R-1", bearer)).status_code == 404


async def test_what_is_on_sale_at_this_partners_prices(api: Api) -> None:
    operators = {operator["id"]: operator for operator in (await api.get("/v1/operators")).json()["operators"]}
    assert set(operators) >= {"cmcc", "cunicom", "ctcc", "cbn", "demo"}
    fifty = next(product for product in operators["demo"]["products"] if product["product"] == "demo-50")
    assert (fifty["face_value"], fifty["price"], fifty["validity_days"]) == ("50.00", "49.80", 60)


async def test_what_a_number_tells(api: Api) -> None:
    for typed in ("13912345678", "8613912345678", "%2B8613912345678", "+8613912345678"):
        told = (await api.get(f"/v1/numbers/{typed}")).json()
        assert (told["msisdn"], told["grouped"], told["operator"]) == ("+8613912345678", "139 1234 5678", "cmcc")
    assert (await api.get("/v1/numbers/%EF%BC%91%EF%BC%93%EF%BC%99")).status_code == 422  # １３９
    assert (await api.get("/v1/numbers/ 8613912345678")).json()["code"] == "not_a_number"


async def test_a_subscriber_is_shown_to_keys_with_that_right_only(api: Api) -> None:
    await api.topup("k1")
    told = (await api.get(f"/v1/subscribers/{NUMBER}")).json()
    assert (told["balance"], told["state"], told["currency"]) == ("50.00", "active", "CNY")
    assert (await api.get("/v1/subscribers/13912345678")).status_code == 404
    _, bearer = await api.new_partner("Bell", "1.00 CNY", scopes="topup balance")
    assert (await api.get(f"/v1/subscribers/{NUMBER}", bearer)).status_code == 403


async def test_health(api: Api) -> None:
    assert (await api.client.get("/healthz")).status_code == 200
    assert (await api.client.get("/readyz")).status_code == 200
    await api.topup("k1")
    assert 'refill_topups_applied_total{route="single"} 1.0' in (await api.client.get("/metrics")).text
    behind_a_proxy = await api.client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})
    assert behind_a_proxy.status_code == 401


# ------------------------------------------------------------------ bad input: the catalogue of RELIABILITY

J = json.dumps
GOOD = J(wish())
BODIES: dict[str, tuple[bytes | str, int, str]] = {
    # what, (body, status, a word of the sentence)
    "full-width digits": (J(wish(msisdn="１３８００１３８０００")), 422, "plain digits"),
    "Arabic-Indic digits": (J(wish(msisdn="+٨٦١٣٨٠٠١٣٨٠٠٠")), 422, "plain digits"),
    "a newline after the number": (J(wish(msisdn=f"{NUMBER}\n")), 422, "plain digits"),
    "an extension": (J(wish(msisdn=f"+86{NUMBER};ext=5")), 422, "plain digits"),
    "a number that does not exist": (J(wish(msisdn="+8612800138000")), 422, "number"),
    "a number too long": (J(wish(msisdn="+86" + "1" * 5000)), 422, "plain digits"),
    "a number as JSON number": (f'{{"msisdn":{NUMBER},"amount":"50.00","currency":"CNY"}}', 400, "msisdn"),
    "an amount as float": (J(wish(amount=19.99)), 400, "must be a JSON string"),
    "an amount as integer": (J(wish(amount=50)), 400, "must be a JSON string"),
    "an amount as true": (J(wish(amount=True)), 400, "must be a JSON string"),
    "null": (GOOD.replace('"50.00"', "null"), 400, "must be a JSON string"),
    "NaN": (GOOD.replace('"50.00"', "NaN"), 400, "not a JSON document"),
    "the word NaN": (J(wish(amount="NaN")), 422, "not an amount"),
    "1e400": (GOOD.replace('"50.00"', "1e400"), 400, "out of range"),
    "an exponent that takes half a minute": (J(wish(amount="1E+1000000")), 422, "not an amount"),
    "5,000 digits": (J(wish(amount="9" * 5000)), 422, "not an amount"),
    "minus one": (J(wish(amount="-1")), 422, "not an amount"),
    "nothing": (J(wish(amount="0")), 422, "out of range"),
    "spaces": (J(wish(amount=" 50 ")), 422, "not an amount"),
    "2**63": (J(wish(amount=str(2**63))), 422, "amount"),
    "a third decimal": (J(wish(amount="50.001")), 422, "2 decimals"),
    "an amount in Arabic-Indic digits": (J(wish(amount="٥٠")), 422, "not an amount"),
    "cny": (J(wish(currency="cny")), 422, "currency"),
    "XXX": (J(wish(currency="XXX")), 422, "currency"),
    "yen with decimals": (J(wish(currency="JPY", amount="50.00")), 422, "0 decimals"),
    "another currency than the float's": (J(wish(currency="USD")), 422, ""),
    "an amount that is not on sale": (J(wish(msisdn="+8613912345678", amount="50.01")), 422, ""),
    "an operator that is none": (J(wish(msisdn="+8613912345678", operator="acme-tel")), 422, ""),
    "an operator that is no name": (J(wish(operator="'; DROP TABLE")), 422, "name of ours"),
    "a product that is none": (J(wish(product="demo-51")), 422, ""),
    "a field twice": (GOOD[:-1] + ',"amount":"1.00"}', 400, '"amount" is given twice'),
    "a field twice, once escaped": (GOOD[:-1] + ',"am\\u006funt":"1.00"}', 400, '"amount" is given twice'),
    "an unknown field": (J({**wish(), "discount": "50.00"}), 400, '"discount" is not known'),
    "a number as the name of a field": (J({**wish(), NUMBER: "1"}), 400, "not known"),
    "a missing field": (J(wish(amount=None)), 400, '"amount" is missing'),
    "200,000 arrays": ("[" * 200_000, 400, "nested"),
    "100,000 objects in a field": ('{"msisdn":' + '{"a":' * 100_000, 400, "nested"),
    "half a surrogate pair": (GOOD.replace("R-1", "\\ud800"), 400, ""),
    "NUL": (GOOD.replace("R-1", "\\u0000"), 400, "U+0000"),
    "a reference of 129 characters": (J(wish(reference="r" * 129)), 422, "128"),
    "an empty reference": (J(wish(reference="")), 422, "reference"),
    "a reference with an emoji": (J(wish(reference="😀")), 422, "ASCII"),
    "not UTF-8": (GOOD.encode().replace(b"R-1", b"\xff"), 400, "UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD.encode(), 400, "JSON"),
    "nothing at all": (b"", 400, "JSON"),
    "half a document": (GOOD[:-5], 400, "JSON"),
    "two documents": (GOOD + GOOD, 400, "JSON"),
    "an array": (f"[{GOOD}]", 400, "must be a JSON object"),
    "a megabyte": (J(wish(reference="r" * 1_000_001)), 413, "1,000,000 bytes"),
}


@pytest.mark.parametrize(("body", "status", "says"), BODIES.values(), ids=BODIES)
async def test_bad_input_is_told_and_changes_nothing(
    api: Api, caplog: pytest.LogCaptureFixture, body: bytes | str, status: int, says: str
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await api.post("/v1/topups", body.encode() if isinstance(body, str) else body, "k1")
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), problem
    assert says in problem["detail"]
    assert problem["detail"].endswith((".", "?"))
    assert problem["status"] == status
    assert problem["certainty"] == "final"
    assert await api.traces() == 0
    assert await api.float_() == "1000.00"
    ours = "".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    )
    assert NUMBER not in ours + answer.text


HEADERS = {
    "a key of 256 characters": ({"idempotency_key": "k" * 256}, 400, "255"),
    "a key with a space": ({"idempotency_key": "two words"}, 400, "visible"),
    "a key in Chinese": ({"idempotency_key": "键".encode()}, 400, "visible"),
    "an empty key": ({"idempotency_key": ""}, 400, "255"),
    "gzip": ({"content_encoding": "gzip"}, 415, "Compressed"),
    "a form": ({"content_type": "application/x-www-form-urlencoded"}, 415, "JSON"),
    "another alphabet": ({"content_type": "application/json; charset=gbk"}, 415, "JSON"),
    "no key": ({"authorization": ""}, 401, "Bearer"),
    "another scheme": ({"authorization": "Basic YTpi"}, 401, "Bearer"),
    "an unknown key": ({"authorization": "Bearer rk_live_00000000000000000000000000000000"}, 401, "not known"),
    "a key of other letters": ({"authorization": "Bearer 钥匙钥匙钥匙".encode()}, 401, "Bearer"),
}


@pytest.mark.parametrize(("headers", "status", "says"), HEADERS.values(), ids=HEADERS)
async def test_bad_headers_are_told_and_change_nothing(
    api: Api, headers: dict[str, str], status: int, says: str
) -> None:
    answer = await api.post("/v1/topups", wish(), **{"idempotency_key": "k1", **headers})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert says in answer.json()["detail"]
    assert await api.traces() == 0


async def test_a_key_of_255_characters_is_a_key(api: Api) -> None:
    assert (await api.topup("!" * 255)).status_code == 201


async def test_a_key_without_the_right_to_sell_is_forbidden(api: Api) -> None:
    _, bearer = await api.new_partner("Reader", "100.00 CNY", scopes="balance")
    answer = await api.post("/v1/topups", wish(), "k1", authorization=f"Bearer {bearer}")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert await api.traces() == 0


async def test_an_address_that_is_none_and_a_method_that_does_not_fit(api: Api) -> None:
    for path, status in (("/v2/topups", 404), ("/v1/topups/", 404), ("/v1/balance", 405)):
        answer = await api.post(path, wish())
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


# ------------------------------------------------------------------ when something breaks on our side


async def test_a_row_that_breaks_is_a_500_that_says_ask_again_and_nothing_of_the_data(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(asks: list[object]) -> list[Order]:
        raise ZeroDivisionError(f"cannot place {NUMBER}")

    async with api_on(dsn, place=broken) as api:
        answer = await api.topup("k1")
    assert (answer.status_code, answer.json()["certainty"], answer.json()["retryable"]) == (500, "unknown", True)
    ours = "".join(record.getMessage() for record in caplog.records)
    assert "ZeroDivisionError" in ours
    assert NUMBER not in ours + answer.text


async def test_a_key_that_asks_too_often_hears_when_to_come_back(dsn: str) -> None:
    async with api_on(dsn, rate_per_s=2) as api:
        answers = [await api.topup(f"k{n}", reference=None, amount="10.00") for n in range(5)]
        assert [answer.status_code for answer in answers] == [201] * 4 + [429]
        assert answers[0].headers["ratelimit-remaining"] == "3"
        assert answers[-1].headers["retry-after"] == "1"
        assert answers[-1].json()["code"] == "rate_limited"


async def test_half_a_request_does_not_hold_a_connection_for_ever(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refill.channels.machines.limits.HEADERS_DEADLINE_S", 0.2)
    monkeypatch.setattr("refill.channels.machines.limits.BODY_DEADLINE_S", 0.2)
    post = b"POST /v1/topups HTTP/1.1\r\nAuthorization: Bearer " + api.key.encode()
    for half in (b"", post[:40], post, post + b"\r\nContent-Length: 9\r\n\r\n{"):
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(half)
        assert b"201" not in await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_headers_without_end_are_not_read(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    with pytest.raises(OSError):
        for n in range(1000):
            writer.write(b"X-%d: %s\r\n" % (n, b"y" * 1000))
            await writer.drain()
        await reader.read()
        raise ConnectionResetError
    writer.close()


async def test_a_slow_but_living_connection_is_served_again_and_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refill.channels.machines.limits.HEADERS_DEADLINE_S", 0.2)
    for _ in range(4):
        assert (await api.client.get("/healthz")).status_code == 200
        await asyncio.sleep(0.15)


async def test_requests_sent_before_the_first_is_answered_are_answered_in_order(api: Api) -> None:
    def request(n: int) -> bytes:
        body = J(wish(reference=f"R-{n}")).encode()
        head = f"POST /v1/topups HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(request(1) + request(2) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + request(3))
    answers = []
    for _ in range(4):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        answers.append((await reader.readexactly(length)).decode())
    writer.close()
    assert [("R-1" in a, "R-2" in a, a == "ok\n", "R-3" in a) for a in answers] == [
        tuple(n == m for m in range(4)) for n in range(4)
    ]


async def test_a_connection_that_is_not_kept_is_closed_after_the_answer(api: Api) -> None:
    body = J(wish()).encode()
    lines = (
        "POST /v1/topups HTTP/1.1",
        "Connection: close",
        f"Authorization: Bearer {api.key}",
        f"Content-Length: {len(body)}",
    )
    head = "\r\n".join(lines) + "\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head.encode() + body)
    whole = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert whole.startswith(b"HTTP/1.1 201")
    assert b"connection: close" in whole
