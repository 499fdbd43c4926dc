"""The check sees a PIN that was given twice, and a stock that is not worth what the book says."""

import psycopg
from tests.stock.conftest import Storeroom

BY_HAND = "SET session_replication_role = replica; {}; SET session_replication_role = DEFAULT"


async def test_a_stock_that_lost_a_pin_is_found(room: Storeroom, dsn: str) -> None:
    await room.bought(2)
    assert await room.findings() == []
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(BY_HAND.format("UPDATE stock_pin SET state = 'waiting' WHERE serial = 'S00000001'").encode())
    (finding,) = await room.findings()
    assert finding == "I13: PINs in stock of stock:cmcc/CNY cost 49.20 CNY, but the book says 98.40 CNY."


async def test_a_pin_that_says_another_owner_is_found(room: Storeroom, dsn: str) -> None:
    await room.bought(1)
    await room.take(room.wanted())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(BY_HAND.format("UPDATE stock_pin SET given_to = 'tu_another'").encode())
    assert [finding for finding in await room.findings() if "was given to tu_another" in finding]
