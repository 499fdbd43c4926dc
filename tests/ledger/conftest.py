"""An empty book in a real database."""

from collections.abc import AsyncIterator

import pytest

from refill.db import Pool


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=16).open()
    yield pool
    await pool.close()
