"""Undoing what has not left, and scratch cards, through the partner API."""

import csv
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from tests.doors.api import Api, api_on

from refill import vouchers
from refill.money import money
from refill.vouchers import Range


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


async def test_what_has_not_left_is_undone_once_and_the_price_is_back(api: Api) -> None:
    sent = (await api.topup("k1", msisdn="+8613912345678", operator="cmcc")).json()
    assert await api.float_() == "950.20"
    first, again = [await api.post(f"/v1/topups/{sent['id']}/cancel", b"") for _ in range(2)]
    assert (first.status_code, first.json()["status"], first.json()["refunded"]) == (200, "failed", "49.80")
    assert again.json() == first.json()
    assert await api.float_() == "1000.00"


async def test_what_is_delivered_or_another_partners_is_not_undone(api: Api) -> None:
    sold = (await api.topup("k1")).json()
    late = await api.post(f"/v1/topups/{sold['id']}/cancel", b"")
    assert (late.status_code, late.json()["code"]) == (409, "too_late")
    sent = (await api.topup("k2", msisdn="+8613912345678", operator="cmcc", reference=None)).json()
    _, bearer = await api.new_partner("Bell", "100.00 CNY")
    theirs = await api.post(f"/v1/topups/{sent['id']}/cancel", b"", authorization=f"Bearer {bearer}")
    assert theirs.status_code == 404
    assert (await api.get(f"/v1/topups/{sent['id']}")).json()["status"] == "processing"
    assert (await api.post("/v1/topups/nonsense/cancel", b"")).status_code == 404


async def card(api: Api, tmp_path: Path) -> str:
    """The PIN of a card that was sold."""
    shop, path = api.shop, tmp_path / "pins.csv"
    batch = await vouchers.generate(
        api.pool,
        shop.world,
        shop.vault,
        path,
        count=1,
        value=money("50.00 CNY"),
        expires_at=shop.world.db_now() + timedelta(days=90),
        who="anna",
    )
    every = Range(batch.code, 1, 1)
    await api.pool.transaction(lambda tx: vouchers.activate(tx, shop.world, every, purse="cash:office", who="anna"))
    with path.open(encoding="ascii") as file:
        return next(csv.DictReader(file))["pin"]


async def redeem(api: Api, pin: str, msisdn: str = "+8613800138000", person: str = "p1") -> httpx2.Response:
    return await api.post("/v1/vouchers/redeem", {"pin": pin, "msisdn": msisdn, "person": person})


async def test_a_card_pays_and_the_same_card_again_is_the_same_top_up(api: Api, tmp_path: Path) -> None:
    pin = await card(api, tmp_path)
    first = await redeem(api, pin)
    assert (first.status_code, first.json()["status"], first.json()["face_value"]) == (201, "succeeded", "50.00")
    assert pin not in first.text and pin.replace("-", "") not in first.text
    again = await redeem(api, pin, person="p2")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert await api.credit() == "50.00"
    assert await api.float_() == "1000.00"  # the card paid, not the float


async def test_who_guesses_waits_and_others_do_not(api: Api, tmp_path: Path) -> None:
    for _ in range(vouchers.MOST_WRONG):
        assert (await redeem(api, "0000 0000 0000 0000")).json()["code"] == "wrong_pin"
    locked = await redeem(api, await card(api, tmp_path))
    assert (locked.status_code, locked.json()["code"]) == (429, "too_many_tries")
    assert int(locked.headers["retry-after"]) > 3_000
    assert (await redeem(api, "0000 0000 0000 0000", person="p2")).json()["code"] == "wrong_pin"


async def test_bad_cards_and_numbers_are_told(api: Api, tmp_path: Path) -> None:
    pin = await card(api, tmp_path)
    assert (await redeem(api, "12")).json()["code"] == "not_a_pin"
    assert (await redeem(api, pin, msisdn="12345")).json()["code"] == "not_a_number"
    assert (await redeem(api, pin, msisdn="+8613912345678")).json()["code"] == "not_for_sale"
    assert (await redeem(api, pin, person="")).status_code == 400
    assert (await redeem(api, pin)).status_code == 201
