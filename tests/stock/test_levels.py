"""When fewer PINs are left than there should be, somebody is told; when there are enough again, nobody need do a thing."""

import pytest
from tests.stock.conftest import GOODS, Storeroom

from refill import cases, stock
from refill.errors import BadInput
from refill.money import money

PRODUCT = GOODS.product


async def set_level(room: Storeroom, least: int, who: str = "wang") -> None:
    now = room.world.db_now()
    await room.db.transaction(lambda tx: stock.set_level(tx, PRODUCT, least, who, now))


async def test_the_alarm_rings_below_the_level_and_stops_when_stock_arrives(room: Storeroom) -> None:
    await room.bought(3)
    await set_level(room, 3)
    assert await room.case(PRODUCT) == []
    await room.take(room.wanted())
    now = room.world.db_now()
    (alarm,) = await room.db.transaction(lambda tx: stock.alarms(tx, [PRODUCT, PRODUCT, "another"], now))
    assert (alarm.kind, alarm.about) == ("low_stock", PRODUCT)
    assert "2 PINs of cmcc-pin-50 are left, and 3 should be" in alarm.says
    assert await room.db.transaction(lambda tx: stock.alarms(tx, None, now)) == [alarm]
    await room.db.transaction(lambda tx: cases.raise_cases(tx, [alarm], now))
    await room.bought(1, 10)
    assert await room.case(PRODUCT) == ["resolved"]


async def test_a_level_above_the_stock_rings_at_once(room: Storeroom) -> None:
    await room.bought(2)
    await set_level(room, 5)
    assert await room.case(PRODUCT) == ["open"]
    await room.bought(1, 10)
    assert await room.case(PRODUCT) == ["open"], "still too few"
    (shelf,) = await room.db.transaction(stock.shelves)
    assert (shelf.stock, shelf.least, shelf.short, shelf.worth) == (3, 5, True, money("147.60 CNY"))
    await set_level(room, 0)
    assert await room.case(PRODUCT) == ["resolved"], "nobody wants to be told any more"
    (shelf,) = await room.db.transaction(stock.shelves)
    assert (shelf.least, shelf.short) == (None, False)


@pytest.mark.parametrize(("least", "who"), [(-1, "wang"), (10**7, "wang"), (5, " ")])
async def test_a_level_is_a_number_set_by_somebody(room: Storeroom, least: int, who: str) -> None:
    with pytest.raises(BadInput):
        await set_level(room, least, who)
