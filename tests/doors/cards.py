"""Scratch cards in the hands of people who come through our doors."""

import csv
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.doors.conftest import House

from refill import vouchers
from refill.money import money


def printed(house: House, count: int = 1, value: str = "50 CNY", *, active: bool = True) -> tuple[str, list[str]]:
    """A batch fresh from the printer, and sold unless told otherwise: its name, and the PINs as they are printed."""

    async def make(path: Path) -> str:
        trade = house.trade
        batch = await vouchers.generate(
            trade.db,
            trade.world,
            trade.vault,
            path,
            count=count,
            value=money(value),
            expires_at=trade.world.db_now() + timedelta(days=30),
            who="tests",
        )
        if active:
            every = vouchers.Range(batch.code, 1, count)
            await trade.db.transaction(
                lambda tx: vouchers.activate(tx, trade.world, every, purse="cash:office", who="tests")
            )
        return batch.code

    with TemporaryDirectory() as folder:
        path = Path(folder) / "print.csv"
        code = house.ask(make(path))
        with path.open(encoding="ascii") as file:
            return code, [row["pin"] for row in csv.DictReader(file)]


def card(house: House, value: str = "50 CNY", *, active: bool = True) -> str:
    """The PIN of one card."""
    return printed(house, 1, value, active=active)[1][0]
