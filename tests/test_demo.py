"""The demonstration network has somebody in every stage of life, and filling it twice changes nothing."""

import random
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import psycopg

from refill import cards, demo
from refill.db import Pool
from refill.ids import make_id
from refill.numbers import msisdn, number_id
from refill.vault import Vault
from refill.world import Request, Response

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
vault = Vault(bytes(range(32)))


class StandingStill:
    """A world in which it is always noon."""

    def __init__(self) -> None:
        self.dice = random.Random(1)

    def now(self) -> datetime:
        return NOON

    db_now = now

    def new_id(self, prefix: str, cell: int) -> str:
        return make_id(prefix, cell, 1, self.dice.getrandbits(60))

    def chance(self, bits: int) -> int:
        return self.dice.getrandbits(bits)

    async def sleep(self, seconds: float) -> None: ...

    async def send(self, request: Request) -> Response:
        raise AssertionError("nobody is asked")

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        raise AssertionError("nothing is started")


async def test_a_visitor_finds_somebody_in_every_stage_of_life(dsn: str) -> None:
    world = StandingStill()
    db = await Pool(dsn, size=2).open()
    facts = await demo.fill(db, world, vault)
    assert await demo.fill(db, world, vault) == facts
    with psycopg.connect(dsn) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM cards_subscriber GROUP BY state").fetchall())
        in_use = connection.execute("SELECT count(*) FROM cards_card WHERE status = 'in_use'").fetchone()
        accounts = connection.execute("SELECT count(*) FROM ledger_account WHERE name LIKE 'balance:%'").fetchone()
    assert states == {"active": 194, "grace": 5, "suspended": 3, "stock": 2}
    assert in_use == (202,)
    assert accounts == (204,)
    index = [number_id(vault, number) for number in facts.suspended]
    found = await db.transaction(lambda tx: cards.by_numbers(tx, index))
    assert {one.state for one in found.values()} == {"suspended"}
    anna = await db.transaction(
        lambda tx: cards.activate(tx, world, vault, facts.spare_cards[0], msisdn("19977777777"))
    )
    assert anna.state == "active"
    await db.close()
