"""A fixed clock, seeded dice and a real database for stories about partners."""

import random
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from refill.db import Pool
from refill.ids import make_id
from refill.vault import Vault
from refill.world import Request, Response

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Bench:
    """The world of a test: time stands still until somebody moves it, and nobody answers the telephone."""

    def __init__(self) -> None:
        self.time = NOON
        self.dice = random.Random(20260301)
        self.started: list[Coroutine[Any, Any, None]] = []

    def now(self) -> datetime:
        return self.time

    db_now = now

    def new_id(self, prefix: str, cell: int) -> str:
        return make_id(prefix, cell, int(self.time.timestamp() * 1000), self.dice.getrandbits(60))

    def chance(self, bits: int) -> int:
        return self.dice.getrandbits(bits)

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    async def send(self, request: Request) -> Response:
        raise AssertionError("nobody is asked")

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.started.append(work)


@pytest.fixture
def world() -> Bench:
    return Bench()


@pytest.fixture(scope="session")
def vault() -> Vault:
    return Vault(bytes(range(32)))


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=4).open()
    yield pool
    await pool.close()
