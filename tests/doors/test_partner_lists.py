"""What partners page through: their top-ups, what moved in their float, and statements that add up."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from openpyxl import load_workbook
from tests.doors.api import Api, api_on, wish


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


async def placed(api: Api, count: int, first: int = 0, key: str | None = None) -> list[str]:
    """Ids of top-ups of 10 CNY, each a second after the other."""
    ids = []
    for n in range(first, first + count):
        api.shop.world.clock += timedelta(seconds=1)
        sent = {"authorization": f"Bearer {key or api.key}"}
        answer = await api.post("/v1/topups", wish(amount="10.00", reference=f"L-{n}"), **sent)
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
    return ids


async def paged(api: Api, path: str, name: str, between: Any = None, **params: str) -> list[dict[str, Any]]:
    """Every row of a list, page by page."""
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        told = await api.get(path, params=params | cursor)
        assert told.status_code == 200, told.text
        rows += told.json()[name]
        if told.json()["next"] is None:
            return rows
        cursor = {"cursor": told.json()["next"]}
        if between is not None:
            await between()


async def test_pages_of_top_ups_miss_and_repeat_nothing_while_others_are_placed(api: Api) -> None:
    ids = await placed(api, 7)
    later = iter(range(100, 200))

    async def meanwhile() -> None:
        await placed(api, 1, next(later))

    rows = await paged(api, "/v1/topups", "topups", meanwhile, limit="2")
    assert [row["id"] for row in rows] == ids[::-1]
    assert rows[0]["msisdn"] == "+8613800138000"


async def test_orders_of_one_moment_are_paged_too(api: Api) -> None:
    bulk = {"topups": [wish(amount="10.00", reference=f"B-{n}") for n in range(5)]}
    ids = {row["topup"]["id"] for row in (await api.post("/v1/topups/bulk", bulk)).json()["results"]}
    rows = await paged(api, "/v1/topups", "topups", limit="2")
    assert len(rows) == 5
    assert {row["id"] for row in rows} == ids


async def test_top_ups_are_found_by_state_operator_and_time(api: Api) -> None:
    ids = await placed(api, 3)
    sent = (await api.topup("k", msisdn="+8613912345678", operator="cmcc", reference=None)).json()

    async def found(**params: str) -> list[str]:
        return [row["id"] for row in await paged(api, "/v1/topups", "topups", **params)]

    assert await found(status="processing") == [sent["id"]]
    assert await found(status="succeeded") == ids[::-1]
    assert await found(status="failed") == []
    assert await found(operator="cmcc") == [sent["id"]]
    at = (await api.get(f"/v1/topups/{ids[1]}")).json()["created_at"]
    assert await found(created_from=at, status="succeeded") == [ids[2], ids[1]]
    assert await found(created_until=at) == [ids[0]]


async def test_the_float_is_the_sum_of_its_transactions(api: Api) -> None:
    ids = await placed(api, 2)
    sent = (await api.topup("k", msisdn="+8613912345678", operator="cmcc", reference=None)).json()
    rows = await paged(api, "/v1/transactions", "transactions", limit="1")
    assert [(row["kind"], row["topup"], row["amount"]) for row in rows] == [
        ("topup", sent["id"], "-49.80"),
        ("topup", ids[1], "-9.96"),
        ("topup", ids[0], "-9.96"),
        ("deposit", None, "1000.00"),
    ]
    assert sum(Decimal(row["amount"]) for row in rows) == Decimal(await api.float_())
    only = (await api.get("/v1/transactions", params={"kind": "deposit"})).json()["transactions"]
    assert [row["amount"] for row in only] == ["1000.00"]
    of_one = (await api.get("/v1/transactions", params={"topup": ids[0]})).json()
    assert ([row["topup"] for row in of_one["transactions"]], of_one["next"]) == ([ids[0]], None)
    assert (await api.get("/v1/transactions", params={"topup": "nonsense"})).json()["transactions"] == []


async def test_moves_between_stripes_are_nobodys_business(api: Api) -> None:
    from refill import ledger

    float_ = f"float:{api.partner}/CNY"
    now = api.shop.world.db_now()
    await api.pool.transaction(
        lambda tx: ledger.split(tx, float_, 4, id_=api.shop.world.new_id("st", ledger.cell_of_account(float_)), at=now)
    )
    await placed(api, 5)
    rows = await paged(api, "/v1/transactions", "transactions")
    assert [row["kind"] for row in rows] == ["topup"] * 5 + ["deposit"]
    assert sum(Decimal(row["amount"]) for row in rows) == Decimal(await api.float_())


async def set_zone(api: Api, zone: str) -> None:
    async with api.pool._pool.connection() as connection:
        await connection.execute(b"UPDATE accounts_partner SET time_zone = '" + zone.encode() + b"'")
    await api.keyring.refresh()


async def test_each_day_of_a_statement_opens_with_what_the_one_before_closed_with(api: Api) -> None:
    await placed(api, 2)
    api.shop.world.clock += timedelta(days=1)
    await placed(api, 1, first=10)
    api.shop.world.clock += timedelta(days=1)
    first = (api.shop.world.clock - timedelta(days=2)).date().isoformat()
    told = (await api.get("/v1/statements", params={"from": first})).json()
    assert [(day["opening"], day["deposits"], day["topups"], day["closing"]) for day in told["days"]] == [
        ("0.00", "1000.00", "-19.92", "980.08"),
        ("980.08", "0.00", "-9.96", "970.12"),
        ("970.12", "0.00", "0.00", "970.12"),
    ]
    assert [day["topup_count"] for day in told["days"]] == [2, 1, 0]
    assert [day["complete"] for day in told["days"]] == [True, True, False]
    assert told["days"][-1]["closing"] == await api.float_()
    # The same days by another zone's midnight: two in the morning UTC is still the evening before in New York.
    there = (await api.get("/v1/statements", params={"from": first, "time_zone": "America/New_York"})).json()
    assert [day["closing"] for day in there["days"]] == ["970.12", "970.12"]
    await set_zone(api, "America/New_York")
    assert (await api.get("/v1/statements", params={"from": first})).json() == there
    await set_zone(api, "Asia/Shanghai")
    answer = await api.get("/v1/statements", params={"from": first, "format": "csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["closing"], row["currency"], row["complete"]) for row in rows][-1] == ("970.12", "CNY", "false")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    book = await api.get("/v1/statements", params={"from": first, "format": "xlsx"})
    sheet = load_workbook(io.BytesIO(book.content))["statement"]
    assert [list(row.values()) for row in rows] == [list(row) for row in sheet.iter_rows(min_row=2, values_only=True)]


async def test_products_page_by_page_and_from_the_cache_when_nothing_changed(api: Api) -> None:
    rows = await paged(api, "/v1/products", "products", limit="3")
    operators = (await api.get("/v1/operators")).json()["operators"]
    assert sorted(row["product"] for row in rows) == sorted(o["product"] for op in operators for o in op["products"])
    assert {row["operator"] for row in await paged(api, "/v1/products", "products", operator="demo")} == {"demo"}
    assert {row["kind"] for row in await paged(api, "/v1/products", "products", kind="fixed")} == {"fixed"}
    assert await paged(api, "/v1/products", "products", country="FR") == []
    first = await api.get("/v1/products")
    again = await api.client.get(
        "/v1/products", headers={"authorization": f"Bearer {api.key}", "if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


QUERIES = {
    "an unknown filter": ("/v1/topups?sort=asc", "takes these"),
    "a filter where there is none": ("/v1/balance?x=1", "nothing in its query"),
    "a filter twice": ("/v1/topups?status=failed&status=failed", "given twice"),
    "a state that is none": ("/v1/topups?status=lost", "one of the values"),
    "a time without zone": ("/v1/topups?created_from=2026-11-22T00:00:00", "with its zone"),
    "a plus sign that became a space": ("/v1/topups?created_from=2026-11-22T00:00:00+08:00", "%2B"),
    "seconds since 1970": ("/v1/topups?created_from=1732233600", "with its zone"),
    "the word null": ("/v1/topups?status=null", "one of the values"),
    "a time before all": ("/v1/topups?created_from=0001-01-01T00:00:00%2B09:00", "no calendar"),
    "a cursor of the last day": ("/v1/topups?cursor=dG9wdXBzCjk5OTktMTItMzFUMjM6NTk6NTkuOTk5OTk5WgphYg", "no cursor"),
    "a limit of nothing": ("/v1/topups?limit=0", "whole number"),
    "a limit of full-width digits": ("/v1/topups?limit=%EF%BC%91", "whole number"),
    "a limit above all": ("/v1/topups?limit=501", "whole number"),
    "a cursor that is none": ("/v1/topups?cursor=%25%25", "no cursor"),
    "another list's cursor": ("/v1/topups?cursor=dHJhbnNhY3Rpb25zCmE", "no cursor"),
    "a cursor with half a place": ("/v1/topups?cursor=dG9wdXBzCmE", "no cursor"),
    "a cursor of a megabyte": ("/v1/topups?cursor=" + "a" * 9000, "no cursor"),
    "a reference and more": ("/v1/topups?reference=a&limit=5", "leave the other"),
    "a top-up and more": ("/v1/transactions?topup=a&kind=topup", "leave the other"),
    "NUL": ("/v1/topups?reference=a%00", "U+0000"),
    "a day that is none": ("/v1/statements?from=2026-02-30", "is a day"),
    "days in the wrong order": ("/v1/statements?from=2026-11-20&until=2026-11-01", "earlier one first"),
    "a hundred days": ("/v1/statements?from=2026-06-01&until=2026-10-30", "at most 62"),
    "tomorrow": ("/v1/statements?until=2030-01-01", "up to today"),
    "a zone that is none": ("/v1/statements?time_zone=Mars/Base", "IANA"),
    "a zone that is a folder": ("/v1/statements?time_zone=Asia", "IANA"),
    "no zone": ("/v1/statements?time_zone=", "IANA"),
    "a zone that is a path": ("/v1/statements?time_zone=../../etc/passwd", "IANA"),
}


@pytest.mark.parametrize(("path", "says"), QUERIES.values(), ids=QUERIES)
async def test_a_query_that_cannot_be_read_is_told(api: Api, path: str, says: str) -> None:
    answer = await api.get(path)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_input"), answer.text
    assert says in answer.json()["detail"]


async def test_any_zone_and_the_last_day_of_all_are_times(api: Api) -> None:
    (id_,) = await placed(api, 1)
    for until in ("9999-12-31T23:59:59Z", "2027-01-01T00:00:00-20:23"):
        rows = await paged(api, "/v1/topups", "topups", created_until=until, created_from="0192-10-09T17:21:28+02:39")
        assert [row["id"] for row in rows] == [id_]
        assert len(await paged(api, "/v1/transactions", "transactions", until=until)) == 2


async def test_a_request_has_a_name_in_its_answer(api: Api) -> None:
    assert (await api.get("/v1/balance")).headers["x-request-id"].startswith("rq_")
    named = await api.client.get("/v1/balance", headers={"x-request-id": "mine-1"})
    assert (named.status_code, named.headers["x-request-id"]) == (401, "mine-1")
    odd = await api.client.get("/v1/balance", headers={"x-request-id": "a b"})
    assert odd.headers["x-request-id"].startswith("rq_")


async def test_created_at_is_a_time_that_can_be_asked_for(api: Api) -> None:
    (id_,) = await placed(api, 1)
    at = datetime.fromisoformat((await api.get(f"/v1/topups/{id_}")).json()["created_at"])
    assert [row["id"] for row in await paged(api, "/v1/topups", "topups", created_from=at.isoformat())] == [id_]


async def test_a_fault_is_logged_by_the_name_that_its_answer_carries(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("refill.ledger.standing", broken)
    answer = await api.client.get(
        "/v1/balance", headers={"authorization": f"Bearer {api.key}", "x-request-id": "mine-7"}
    )
    assert (answer.status_code, answer.json()["code"], answer.headers["x-request-id"]) == (500, "internal", "mine-7")
    assert any("mine-7" in record.getMessage() for record in caplog.records)
