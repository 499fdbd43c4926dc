"""A number is kept once, encrypted, and can be forgotten."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import pytest

from refill.db import Pool
from refill.numbers import erase, msisdn, number_id, remember, reveal
from refill.vault import NotOpened, Vault

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
vault = Vault(bytes(range(32)))
BEIJING, SHANGHAI = msisdn("13800138000"), msisdn("13900139000")


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=2).open()
    yield pool
    await pool.close()


async def test_a_number_met_twice_is_kept_once(db: Pool, dsn: str) -> None:
    await db.transaction(lambda tx: remember(tx, vault, [BEIJING, SHANGHAI, BEIJING], NOON))
    met = await db.transaction(lambda tx: remember(tx, vault, [BEIJING], NOON))
    assert met == {number_id(vault, BEIJING): BEIJING}
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM numbers_number").fetchone() == (2,)


async def test_nobody_reads_a_number_out_of_the_table(db: Pool, dsn: str) -> None:
    await db.transaction(lambda tx: remember(tx, vault, [BEIJING], NOON))
    with psycopg.connect(dsn) as connection:
        stored = str(connection.execute("SELECT numbers_number::text FROM numbers_number").fetchall())
    assert "13800138000" not in stored
    assert b"13800138000".hex() not in stored


async def test_who_holds_the_key_reads_it_back(db: Pool) -> None:
    met = await db.transaction(lambda tx: remember(tx, vault, [BEIJING, SHANGHAI], NOON))
    assert await db.transaction(lambda tx: reveal(tx, vault, [*met, "0" * 16])) == met
    other = Vault(bytes(32))
    with pytest.raises(NotOpened):
        await db.transaction(lambda tx: reveal(tx, other, list(met)))


async def test_an_erased_person_is_gone_and_may_come_back_as_new(db: Pool) -> None:
    (number,) = await db.transaction(lambda tx: remember(tx, vault, [BEIJING], NOON))
    assert await db.transaction(lambda tx: erase(tx, number))
    assert not await db.transaction(lambda tx: erase(tx, number))
    assert await db.transaction(lambda tx: reveal(tx, vault, [number])) == {}
    await db.transaction(lambda tx: remember(tx, vault, [BEIJING], NOON))
    assert await db.transaction(lambda tx: reveal(tx, vault, [number])) == {number: BEIJING}


async def test_nobody_asks_for_nothing(db: Pool) -> None:
    assert await db.transaction(lambda tx: remember(tx, vault, [], NOON)) == {}
    assert await db.transaction(lambda tx: reveal(tx, vault, [])) == {}
