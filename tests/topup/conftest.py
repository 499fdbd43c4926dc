"""A shop on an empty database for each story."""

from collections.abc import AsyncIterator

import pytest
from tests.topup.shop import Lossy, Shop

from refill.db import Pool


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=4).open()
    yield pool
    await pool.close()


@pytest.fixture
def db(pool: Pool) -> Lossy:
    """Loses no answer until a story says so."""
    return Lossy(pool)


@pytest.fixture
async def shop(db: Lossy) -> AsyncIterator[Shop]:
    shop = await Shop(db).open()
    yield shop
    shop.world.die()
    assert shop.world.errors == [], "something that was started beside the story went wrong"
