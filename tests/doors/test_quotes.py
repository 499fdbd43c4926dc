"""Quotes, lists and limits as a partner meets them: a price that holds, and refusals that say what to do next."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.doors.api import Api, api_on
from tests.topup.test_guard import put
from tests.topup.test_limits import limit
from tests.topup.test_quotes import dearer

STRANGER = "+8613912345678"


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


def asked(**fields: Any) -> dict[str, Any]:
    whole = {"msisdn": STRANGER, "amount": "50.00", "currency": "CNY", **fields}
    return {name: value for name, value in whole.items() if value is not None}


async def test_a_quoted_price_holds_and_the_top_up_names_it(api: Api) -> None:
    answer = await api.post("/v1/quotes", asked())
    assert answer.status_code == 201
    quote = answer.json()
    ends = api.shop.world.now() + timedelta(minutes=10)
    assert quote == {
        "quote": quote["quote"], "operator": "cmcc", "product": "cmcc-50", "face_value": "50.00", "price": "49.80",
        "currency": "CNY", "expires_at": quote["expires_at"], "msisdn": STRANGER,
    }  # fmt: skip
    assert datetime.fromisoformat(quote["expires_at"]) == ends
    dearer(api.shop)
    topup = await api.topup(None, msisdn=STRANGER, quote=quote["quote"])
    assert (topup.status_code, topup.json()["price"]) == (202, "49.80")
    again = await api.topup(None, msisdn=STRANGER, quote=quote["quote"])
    assert (again.status_code, again.json()["id"]) == (200, topup.json()["id"])
    other = await api.topup(None, msisdn=STRANGER, quote=quote["quote"], reference="R-2")
    assert (other.status_code, other.json()["code"]) == (409, "quote_over")


async def test_a_quote_for_an_operator_fits_each_of_its_numbers(api: Api) -> None:
    answer = await api.post("/v1/quotes", asked(msisdn=None, operator="demo", lasts_s="60"))
    assert answer.status_code == 201
    assert "msisdn" not in answer.json() and answer.json()["validity_days"] == 60
    topup = await api.topup(quote=answer.json()["quote"])
    assert (topup.status_code, topup.json()["status"]) == (201, "succeeded")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"msisdn": None}, 400, "bad_request"),
        ({"msisdn": "12345"}, 422, "not_a_number"),
        ({"amount": "0"}, 422, "not_an_amount"),
        ({"amount": "51.00"}, 422, "not_for_sale"),
        ({"currency": "USD"}, 422, "not_for_sale"),
        ({"operator": "nobody"}, 422, "not_for_sale"),
        ({"operator": "x y"}, 422, "bad_input"),
        ({"product": "demo-50"}, 422, "not_for_sale"),
        ({"lasts_s": "0"}, 422, "bad_input"),
        ({"lasts_s": "86401"}, 422, "bad_input"),
        ({"lasts_s": "-5"}, 422, "bad_input"),
        ({"lasts_s": "٥"}, 422, "bad_input"),
        ({"lasts_s": 600}, 400, "bad_request"),
        ({"price": "1.00"}, 400, "bad_request"),
    ],
    ids=lambda value: None if isinstance(value, int) else value if isinstance(value, str) else str(next(iter(value))),
)
async def test_what_cannot_be_quoted_is_refused_by_name(
    api: Api, fields: dict[str, Any], status: int, code: str
) -> None:
    answer = await api.post("/v1/quotes", asked(**fields))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_quote_is_its_partners_alone_and_needs_the_right_to_top_up(api: Api) -> None:
    _, other = await api.new_partner("Other", "1000.00 CNY")
    _, reader = await api.new_partner("Reader", "1.00 CNY", scopes="balance")
    quote = (await api.post("/v1/quotes", asked())).json()["quote"]
    mine, api.key = api.key, other
    stolen = await api.topup(msisdn=STRANGER, quote=quote)
    assert (stolen.status_code, stolen.json()["code"]) == (404, "not_found")
    api.key = reader
    assert (await api.post("/v1/quotes", asked())).status_code == 403
    api.key = mine
    assert (await api.topup(msisdn=STRANGER, quote=quote)).status_code == 202


@pytest.mark.parametrize(
    ("quote", "status", "code"),
    [("", 404, "not_found"), ("qu_x", 404, "not_found"), ("qu_" + "0" * 24, 404, "not_found"), (5, 400, "bad_request")],
)
async def test_what_is_no_quote_is_refused_without_a_trace(api: Api, quote: Any, status: int, code: str) -> None:
    answer = await api.topup(quote=quote)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await api.traces() == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"amount": "20.00"}, "quote_misfit"), ({"msisdn": "+8613912340001"}, "quote_misfit"), ({}, "quote_over")],
    ids=["other amount", "other number", "expired"],
)
async def test_a_quote_that_does_not_fit_or_is_over_takes_nothing(api: Api, fields: dict[str, Any], code: str) -> None:
    quote = (await api.post("/v1/quotes", asked())).json()["quote"]
    if code == "quote_over":
        await api.shop.world.advance(600)
    answer = await api.topup(**{"msisdn": STRANGER, "quote": quote, **fields})
    assert answer.json()["code"] == code
    assert (await api.float_(), await api.traces()) == ("1000.00", 0)
    await api.shop.world.advance(0)  # the keys are read anew beside us


async def test_rows_of_a_bulk_may_name_quotes_each_its_own(api: Api) -> None:
    quote = (await api.post("/v1/quotes", asked())).json()["quote"]
    rows = [asked(reference=f"R-{n}", quote=quote) for n in range(2)]
    answer = (await api.post("/v1/topups/bulk", {"topups": [*rows, asked(reference="R-3")]})).json()
    assert [row["status"] for row in answer["results"]] == [202, 409, 202]


async def test_a_refused_number_is_told_in_a_sentence_that_names_no_list(api: Api) -> None:
    await put(api.shop, "139 1234 5678", where=f"partner:{api.partner}")
    answer = await api.topup(msisdn=STRANGER)
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (403, "number_not_served", False)
    assert answer.json()["detail"] == "We cannot top this number up here. Ask our support about it."
    assert await api.traces() == 0
    assert (await api.topup()).status_code == 201


async def test_who_reached_a_limit_learns_when_it_is_possible_again(api: Api) -> None:
    await limit(api.shop, most_count=1)
    answers = [await api.topup(reference=f"R-{n}") for n in range(2)]
    assert [answer.status_code for answer in answers] == [201, 422]
    refused = answers[1].json()
    assert (refused["code"], refused["retryable"], refused["certainty"]) == ("limit_reached", True, "final")
    assert "2026-11-23 00:00 (Asia/Shanghai)" in refused["detail"]
