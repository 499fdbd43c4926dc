"""The bench for staff: an operator with a character, what it truly did, and an engine that comes through all of them."""

import asyncio
import json
from pathlib import Path
from random import Random

import pytest
from tests.topup.shop import NORTHTEL, Lossy, Shop

from refill.db import Pool
from refill.errors import NotFound
from refill.simulators import shelf
from refill.simulators.serve import alone
from refill.simulators.trouble import PROFILES, behave
from refill.topup.check import check
from refill.world import Request


async def asked(shop: Shop, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    answer = await shop.northtel.handle(Request(method, NORTHTEL + path, {}, body))
    return answer.status, answer.body


@pytest.mark.parametrize("profile", sorted(PROFILES))
async def test_every_top_up_ends_well_with_every_character(dsn: str, profile: str) -> None:
    """Delivered once and paid, or paid back; and our book and theirs say the same in the end."""
    pool = await Pool(dsn, size=4).open()
    try:
        shop = await Shop(Lossy(pool), dedups="yes").open(float_="5000.00 CNY")
        shop.world.dice = Random(7)
        shop.northtel.troubles.dice = shop.northtel._dice = shop.world.dice
        shop.plug_in_notices()
        behave(shop.northtel, profile)
        orders = [await shop.sent(f"139 1234 {6000 + n}") for n in range(12)]
        await shop.wait(1800)
        assert await asked(shop, "POST", "/float", b"amount=9000.00") == (303, b"")
        shop.northtel.troubles.heal()
        await shop.wait(26 * 3600)
        credits, taken_back = shop.northtel.credits, shop.northtel.reversals
        for order in orders:
            now = await shop.order(order.id)
            got = sum(one.face_minor for one in credits if one.request_id.startswith(order.id))
            back = sum(one.face_minor for one in taken_back if one.request_id.startswith(order.id))
            assert now.certainty == "final", (profile, now.payment, now.delivery)
            assert now.delivered_minor == got - back, (profile, await shop.story(order.id))
        assert await check(shop.db, lambda done, total: None) == []
        paid_in = shop.northtel.filled[0][0] + (PROFILES[profile].float_minor or 10**9)
        left = int((await shop.balance("float:northtel/CNY")).replace(".", ""))
        assert shop.northtel.float_minor == paid_in - left, "our book has what they have"
        shop.world.die()
    finally:
        await pool.close()


async def test_what_it_did_stands_on_a_page_and_as_json(dsn: str) -> None:
    pool = await Pool(dsn, size=4).open()
    try:
        shop = await Shop(Lossy(pool)).open()
        behave(shop.northtel, "drained")
        for n in range(5):
            await shop.sent(f"139 1234 {6000 + n}")
        status, body = await asked(shop, "GET", "/did.json")
        told = json.loads(body)
        assert (status, told["profile"], told["float"]) == (200, "drained", "1.60")
        assert [row["status"] for row in told["requests"]] == ["delivered"] * 4 + ["refused"]
        assert told["requests"][0]["number"] == "86139****6000"
        status, page = await asked(shop, "GET", "/did")
        assert status == 200
        for word in ("drained", "INSUFFICIENT_FLOAT", "86139****6000", "49.60"):
            assert word in page.decode(), word
        assert "13912346000" not in page.decode()
        for wrong in (b"amount=-5", b"amount=many", b""):
            assert (await asked(shop, "POST", "/float", wrong))[0] == 422
        assert shop.northtel.float_minor == 160
        shop.world.die()
    finally:
        await pool.close()


def test_every_far_end_can_be_given_a_character() -> None:
    class Deaf:
        pass

    behave(Deaf(), "chaos")  # type: ignore[arg-type]
    for name, profile in PROFILES.items():
        assert profile.says and all(0 < chance < 1 for chance in profile.chances.values()), name


async def test_a_character_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    for name, profile in (("operator", "moody"), ("nobody", "calm")):
        with pytest.raises(NotFound, match="There is no"):
            await alone(name, tmp_path, lambda name, make: make(), 0, "", asyncio.Event(), print, profile)


async def test_played_alone_it_says_how_it_behaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop = asyncio.Event()
    stop.set()
    kept: dict[str, str] = {}
    keep = lambda name, make: kept.setdefault(name, kept.get(name) or make())  # noqa: E731
    await alone("operator", tmp_path, keep, 0, "", stop, print, "drained")
    said = capsys.readouterr().out
    assert PROFILES["drained"].says in said
    assert "REFILL_HTTP_JSON_NORTHTEL_URL=" in said
    assert "operator" in shelf()
