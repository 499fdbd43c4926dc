"""A fixed clock, seeded dice and a real database for stories about vouchers."""

import csv
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.worlds import FixedWorld

from refill import ledger, vouchers
from refill.db import Database, Pool, Statement
from refill.money import Money, money
from refill.vault import Vault
from refill.vouchers import Batch, Pin, Range, Voucher, pin


class Printer:
    """A place where batches are made, sold and looked at; `cards` are the PINs of a print file by serial."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db = db
        self.world = FixedWorld()
        self.vault = Vault(bytes(range(32)))
        self.folder = folder
        self.cards: dict[str, str] = {}

    async def print(
        self, count: int = 3, value: str = "50.00 CNY", *, days: int = 365, name: str = "pins.csv"
    ) -> Batch:
        path = self.folder / name
        batch = await vouchers.generate(
            self.db,
            self.world,
            self.vault,
            path,
            count=count,
            value=money(value),
            expires_at=self.world.db_now() + timedelta(days=days),
            who="wang",
        )
        with path.open(encoding="ascii") as file:
            self.cards |= {row["serial"]: row["pin"] for row in csv.DictReader(file)}
        return batch

    async def sell(self, batch: Batch, first: int = 1, last: int | None = None, **more: str) -> int:
        sold = Range(batch.code, first, last or batch.count)
        paid = money(more["paid"]) if "paid" in more else None
        purse = more.get("purse", "cash:office")
        return await self.db.transaction(
            lambda tx: vouchers.activate(tx, self.world, sold, purse=purse, who="wang", paid=paid)
        )

    async def withdraw(self, batch: Batch, first: int = 1, last: int | None = None, **more: str) -> int:
        gone = Range(batch.code, first, last or batch.count)
        back = money(more["paid_back"]) if "paid_back" in more else None
        why, purse = more.get("why", "stolen from the van"), more.get("purse", "")
        return await self.db.transaction(
            lambda tx: vouchers.void(tx, self.world, gone, who="li", why=why, purse=purse, paid_back=back)
        )

    def pin(self, batch: Batch, n: int) -> Pin:
        return pin(self.cards[batch.serial(n)])

    async def look(self, *pins: Pin) -> list[Voucher | None]:
        found = await self.db.transaction(lambda tx: vouchers.hold(tx, self.vault, pins))
        return [found.get(one) for one in pins]

    async def spend(self, one: Pin, order_id: str = "tu_1") -> None:
        (voucher,) = await self.look(one)
        assert voucher is not None
        await self.db.transaction(lambda tx: vouchers.spend(tx, [(voucher, order_id)], self.world.db_now()))

    async def states(self, batch: Batch) -> dict[str, int]:
        ((found),) = await self.db.transaction(lambda tx: vouchers.batches(tx, batch.code))
        return dict(found.states)

    async def balance(self, account: str) -> str:
        held = await self.db.transaction(lambda tx: ledger.balances(tx, [f"{account}/CNY"]))
        return Money(held.get(f"{account}/CNY", 0), "CNY").text()

    async def sql(self, text: str) -> int:
        """Something that only a broken program or a person with psql would do."""
        statement = Statement(text)
        Statement.every.remove(statement)
        return await self.db.transaction(lambda tx: tx.run(statement))


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=6).open()
    yield pool
    await pool.close()


@pytest.fixture
def printer(pool: Pool, tmp_path: Path) -> Printer:
    return Printer(pool, tmp_path)
