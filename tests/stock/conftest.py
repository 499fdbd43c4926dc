"""A fixed clock, seeded dice and a real database for stories about PINs."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.worlds import FixedWorld

from refill import cases, ledger, stock
from refill.db import Database, Pool, Statement
from refill.ids import cell_of
from refill.money import Money, money
from refill.stock import Arrival, Batch, Goods, Taken, Wanted
from refill.vault import Vault

GOODS = Goods("cmcc", "cmcc-pin-50", money("50 CNY"), money("49.20 CNY"))


def csv_of(count: int, first: int = 1, expiry: str = "2027-12-31") -> bytes:
    rows = [f"S{n:08d},{n:018d},{expiry}" for n in range(first, first + count)]
    return "\n".join(["serial,pin,expiry", *rows, ""]).encode()


class Storeroom:
    """Where PINs are bought and given."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.world = FixedWorld()
        self.vault = Vault(bytes(range(32)), nonce=self.world.dice.randbytes)

    async def receive(self, file: bytes, goods: Goods = GOODS, **more: Any) -> Arrival:
        said = {"purse": "bank:main", "who": "wang", "why": "China Mobile, invoice 17", **more}
        return await stock.receive(self.db, self.world, self.vault, file, goods, **said)

    async def bought(
        self, count: int = 3, first: int = 1, *, expiry: str = "2027-12-31", goods: Goods = GOODS
    ) -> Batch:
        """In stock."""
        arrival = await self.receive(csv_of(count, first, expiry), goods)
        assert arrival.batch is not None, arrival.refused
        return await self.confirm(arrival.batch.code)

    async def confirm(self, code: str, who: str = "li") -> Batch:
        return await self.db.transaction(lambda tx: stock.confirm(tx, self.world, code, who))

    def order(self) -> str:
        return self.world.new_id("tu", cell_of(str(self.world.chance(30))))

    def wanted(self, order: str = "", n: int = 1, *, goods: Goods = GOODS) -> Wanted:
        order = order or self.order()
        return Wanted(order, f"{order}a{n}", goods.product, goods.face)

    async def take(self, *wanted: Wanted) -> list[Taken | None]:
        return await self.db.transaction(lambda tx: stock.take(tx, wanted, self.world.db_now()))

    async def serials(self, *wanted: Wanted) -> list[str | None]:
        return [taken and taken.serial for taken in await self.take(*wanted)]

    async def count(self, state: str = "stock") -> int:
        return sum(getattr(shelf, state) for shelf in await self.db.transaction(stock.shelves))

    async def balance(self, account: str) -> str:
        held = await self.db.transaction(lambda tx: ledger.balances(tx, [f"{account}/CNY"]))
        return Money(held.get(f"{account}/CNY", 0), "CNY").text()

    async def findings(self) -> list[str]:
        return await self.db.transaction(stock.check)

    async def case(self, about: str) -> list[str]:
        return [case.state for case in await self.db.transaction(lambda tx: cases.about(tx, about))]

    async def sql(self, text: str) -> int:
        """Something that only a broken program or a person with psql would do."""
        statement = Statement(text)
        Statement.every.remove(statement)
        return await self.db.transaction(lambda tx: tx.run(statement))


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=8).open()
    yield pool
    await pool.close()


@pytest.fixture
def room(pool: Pool) -> Storeroom:
    return Storeroom(pool)
