"""A file of top-ups from outside: every row has its result, nothing is sold twice, whatever dies in between."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import pytest
from tests.doors.api import Api, api_on

from refill import uploads
from refill.errors import Busy
from refill.topup import flow

NUMBER = "+8613800138000"
HEAD = "msisdn,amount,currency,reference\n"


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


async def send(api: Api, file: str | bytes, key: str | None = None, **headers: str) -> httpx2.Response:
    content = file.encode() if isinstance(file, str) else file
    return await api.post("/v1/topups/csv", content, key, **{"content_type": "text/csv", **headers})


async def worked_off(api: Api) -> None:
    worker = uploads.Worker(api.shop.trade)
    while await worker.tick():
        pass


async def results(api: Api, id_: str) -> list[dict[str, str]]:
    answer = await api.get(f"/v1/topups/csv/{id_}/result")
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def rows(count: int) -> str:
    return HEAD + "".join(f"{NUMBER},10.00,CNY,row-{n}\n" for n in range(count))


async def test_every_row_has_its_result_in_order(api: Api) -> None:
    file = (
        "\ufeffreference,msisdn,currency,amount,operator\r\n"
        f"A,{NUMBER},CNY,50.00,\r\n"
        "\r\n"
        f"B,1.38E+10,CNY,50.00,\r\n"
        f'"C, quoted",{NUMBER},CNY,"10.00",\r\n'
        f"D,{NUMBER},CNY\r\n"
        f"A,{NUMBER},CNY,50.00,\r\n"
        f"A,{NUMBER},CNY,60.00,\r\n"
        f"=1+1,{NUMBER},CNY,0,\r\n"
        "F,+8613912345678,CNY,50.00,cmcc"
    )
    answer = await send(api, file)
    told = answer.json()
    assert (answer.status_code, told["status"], told["rows"], told["waiting"]) == (202, "queued", 8, 8), answer.text
    assert answer.headers["location"] == f"/v1/topups/csv/{told['id']}"
    early = await api.get(f"/v1/topups/csv/{told['id']}/result")
    assert (early.status_code, early.json()["code"], early.json()["retryable"]) == (409, "not_ready", True)
    await worked_off(api)
    done = (await api.get(answer.headers["location"])).json()
    assert (done["status"], done["accepted"], done["refused"], done["waiting"]) == ("done", 4, 4, 0)
    found = await results(api, told["id"])
    assert [(row["line"], row["reference"], row["status"], row["code"]) for row in found] == [
        ("2", "A", "succeeded", ""),
        ("4", "B", "refused", "not_a_number"),
        ("5", "C, quoted", "succeeded", ""),
        ("6", "D", "refused", "bad_input"),
        ("7", "A", "succeeded", ""),
        ("8", "A", "refused", "key_reused"),
        ("9", "'=1+1", "refused", "not_an_amount"),
        ("10", "F", "processing", ""),
    ]
    assert [row["replayed"] for row in found] == ["false", "", "false", "", "true", "", "", "false"]
    assert found[0]["topup"] == found[4]["topup"]
    assert found[0]["msisdn"] == NUMBER
    assert "5 columns" in found[3]["detail"]
    assert await api.float_() == "890.44"


async def test_the_same_file_again_is_the_same_file(api: Api) -> None:
    first, again = await send(api, rows(3)), await send(api, rows(3))
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["id"] == first.json()["id"]
    await worked_off(api)
    assert await api.float_() == "970.12"
    keyed = await send(api, rows(3), "k1")
    assert (keyed.status_code, (await send(api, rows(3), "k1")).status_code) == (202, 200)
    other = await send(api, rows(2), "k1")
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    _, bearer = await api.new_partner("Bell", "100.00 CNY")
    assert (await send(api, rows(3), authorization=f"Bearer {bearer}")).json()["id"] != first.json()["id"]


async def test_a_file_sent_twice_in_one_millisecond_is_one_file(api: Api) -> None:
    answers = await asyncio.gather(*(send(api, rows(3)) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    await worked_off(api)
    assert await api.float_() == "970.12"


async def test_a_file_of_which_no_row_can_be_read_is_done_too(api: Api) -> None:
    id_ = (await send(api, HEAD + "12,10.00,CNY,a\n,10.00,CNY,b\n")).json()["id"]
    await worked_off(api)
    assert [row["code"] for row in await results(api, id_)] == ["not_a_number", "bad_input"]
    assert await api.traces() == 0


async def test_who_has_very_much_waiting_waits(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refill.uploads.book.WAITING_LIMIT", 4)
    assert (await send(api, rows(3))).status_code == 202
    refused = await send(api, rows(2))
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (429, "too_many_rows", "30")
    assert (await send(api, rows(3))).status_code == 200
    await worked_off(api)
    assert (await send(api, rows(2))).status_code == 202


async def test_another_partners_file_is_not_there(api: Api) -> None:
    id_ = (await send(api, rows(1))).json()["id"]
    await worked_off(api)
    _, bearer = await api.new_partner("Bell", "100.00 CNY")
    for path in (f"/v1/topups/csv/{id_}", f"/v1/topups/csv/{id_}/result"):
        theirs, nobodys = await api.get(path, bearer), await api.get(path.replace(id_, id_[:-2] + "zz"), bearer)
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.json() == nobodys.json()


async def test_who_dies_between_the_sale_and_its_result_sells_nothing_twice(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "msisdn,amount,currency\n" + f"{NUMBER},10.00,CNY\n" * 7
    monkeypatch.setattr("refill.channels.partner_api.sheet.PART_ROWS", 3)
    id_ = (await send(api, file)).json()["id"]

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as dying:
        dying.setattr("refill.uploads.work.finish", killed)
        with pytest.raises(asyncio.CancelledError):
            await uploads.Worker(api.shop.trade).tick()
    assert await api.float_() == "970.12"  # a part was sold, and nobody knows
    await worked_off(api)
    assert (await api.get(f"/v1/topups/csv/{id_}")).json()["accepted"] == 4  # its lease holds
    api.shop.world.clock += timedelta(minutes=1)
    await worked_off(api)
    assert await api.float_() == "930.28"
    found = await results(api, id_)
    assert [row["line"] for row in found] == [str(n) for n in range(2, 9)]
    assert {row["status"] for row in found} == {"succeeded"}
    assert {row["replayed"] for row in found} == {"false"}
    assert len({row["topup"] for row in found}) == 7


async def test_a_worker_that_was_overtaken_changes_nothing(api: Api) -> None:
    await send(api, rows(2))
    slow, quick = (uploads.Worker(api.shop.trade, lease=timedelta(0)) for _ in range(2))
    await asyncio.gather(slow.tick(), quick.tick())
    await worked_off(api)
    assert await api.float_() == "980.08"


async def test_while_the_database_is_busy_a_part_waits(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = (await send(api, rows(2))).json()["id"]

    async def busy(*_: object) -> None:
        raise Busy("later")

    with monkeypatch.context() as overloaded:
        overloaded.setattr(flow, "place", busy)
        await uploads.Worker(api.shop.trade).tick()
    await worked_off(api)
    assert (await api.get(f"/v1/topups/csv/{id_}")).json()["status"] == "queued"
    api.shop.world.clock += timedelta(seconds=3)
    await worked_off(api)
    assert (await api.get(f"/v1/topups/csv/{id_}")).json()["accepted"] == 2


async def test_a_row_that_breaks_us_stands_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    place = flow.place

    async def brittle(trade: object, asks: list[uploads.Part]) -> object:
        if any(ask.reference == "row-2" for ask in asks):  # type: ignore[attr-defined]
            raise ZeroDivisionError
        return await place(trade, asks)  # type: ignore[arg-type]

    monkeypatch.setattr(flow, "place", brittle)
    id_ = (await send(api, rows(5))).json()["id"]
    await worked_off(api)
    found = await results(api, id_)
    assert [(row["status"], row["certainty"], row["code"]) for row in found][2] == ("refused", "unknown", "internal")
    assert [row["status"] for row in found].count("succeeded") == 4


async def test_an_empty_float_refuses_its_rows_and_no_other(api: Api) -> None:
    _, poor = await api.new_partner("Poor", "25.00 CNY")
    id_ = (await send(api, rows(3), authorization=f"Bearer {poor}")).json()["id"]
    await worked_off(api)
    told = (await api.get(f"/v1/topups/csv/{id_}", poor)).json()
    assert (told["accepted"], told["refused"]) == (2, 1)


async def test_old_files_are_forgotten_and_their_top_ups_stay(api: Api) -> None:
    old, new = (await send(api, rows(1))).json()["id"], None
    await worked_off(api)
    api.shop.world.clock += timedelta(days=31)
    new = (await send(api, rows(2))).json()["id"]
    now = api.shop.world.db_now() + timedelta(days=31)
    assert await api.pool.transaction(lambda tx: uploads.forget(tx, now)) == 1  # the new one is not worked off
    assert (await api.get(f"/v1/topups/csv/{old}")).status_code == 404
    assert (await api.get(f"/v1/topups/csv/{new}")).status_code == 200
    assert (await api.get("/v1/topups?reference=row-0")).status_code == 200


FILES: dict[str, tuple[bytes | str, int, str]] = {
    "nothing": ("", 422, "empty"),
    "a header alone": (HEAD, 422, "no rows"),
    "GBK": ((HEAD + f"{NUMBER},10.00,CNY,充值\n").encode("gbk"), 422, "is it GBK"),
    "UTF-16": ((HEAD + f"{NUMBER},10.00,CNY,a\n").encode("utf-16"), 422, "not UTF-8"),
    "half a character at the end": ((HEAD + f"{NUMBER},10.00,CNY,a\n").encode() + b"\xe5", 422, "not UTF-8"),
    "NUL": (HEAD + f"{NUMBER},10.00,CNY,a\0\n", 422, "U+0000"),
    "no header": (f"{NUMBER},10.00,CNY\n", 422, "names the columns"),
    "semicolons": ("msisdn;amount;currency\n", 422, "commas"),
    "a column that is not known": ("msisdn,amount,currency,discount\n", 422, "column 4"),
    "a column twice": ("msisdn,amount,currency,amount\n", 422, "twice"),
    "no column for the amount": ("msisdn,currency\n", 422, "amount is missing"),
    "an open quote that would swallow rows": (HEAD + f'{NUMBER},10.00,CNY,"a\n{NUMBER},10.00,CNY,b\n', 422, "line 2"),
    "a line without end": (HEAD + "9" * 100_000, 422, "longer than"),
    "empty lines": (HEAD + "\n" * 300_000, 422, "empty lines"),
    "a zip": (b"PK\x03\x04" + bytes(range(256)) * 10, 422, "no text file"),
}


@pytest.mark.parametrize(("file", "status", "says"), FILES.values(), ids=FILES)
async def test_a_file_that_cannot_be_read_is_told_and_sells_nothing(
    api: Api, file: bytes | str, status: int, says: str
) -> None:
    answer = await send(api, file)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert says in answer.json()["detail"]
    assert NUMBER[1:] not in answer.text
    await worked_off(api)
    assert await api.traces() == 0


async def test_a_file_too_large_or_in_another_form_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refill.channels.partner_api.sheet.ROWS_LIMIT", 3)
    assert "more than 3 rows" in (await send(api, rows(4))).json()["detail"]
    monkeypatch.setattr("refill.channels.partner_api.sheet.BYTES_LIMIT", 30)
    assert (await send(api, rows(2))).status_code == 413
    for headers, status in (
        ({"content_type": "application/json"}, 415),
        ({"content_type": "text/csv; charset=gbk"}, 415),
        ({"content_encoding": "gzip"}, 415),
        ({"idempotency_key": "two words"}, 400),
        ({"authorization": "Bearer rk_live_none_at_all"}, 401),
    ):
        assert (await send(api, rows(1), **headers)).status_code == status
    assert await api.traces() == 0


async def test_who_sends_far_too_much_hears_it(api: Api) -> None:
    answer = await send(api, HEAD.encode() + b"x" * 40_000_000)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_file")
    row = f"{NUMBER},10.00,CNY,\n".encode()
    answer = await send(api, HEAD.encode() + (b" " * 1000 + b"\n") * 17_000 + row)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert await api.traces() == 0


async def test_more_files_at_once_than_we_read_are_sent_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refill.channels.partner_api.uploads.AT_ONCE", 0)
    answer = await send(api, rows(1))
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "busy", "1")
