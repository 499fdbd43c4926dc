"""Scratch cards that a shop has sold, with their PINs scratched free."""

import csv
from datetime import timedelta
from pathlib import Path

from tests.topup.shop import Shop

from refill import vouchers
from refill.money import money
from refill.vouchers import Pin, Range, pin


async def sold(shop: Shop, folder: Path, count: int = 1, value: str = "50.00 CNY", *, active: bool = True) -> list[Pin]:
    path = folder / f"{shop.world.new_id('pf', 0)}.csv"
    batch = await vouchers.generate(
        shop.db,
        shop.world,
        shop.vault,
        path,
        count=count,
        value=money(value),
        expires_at=shop.world.db_now() + timedelta(days=365),
        who="wang",
    )
    if active:
        every = Range(batch.code, 1, count)
        await shop.db.transaction(lambda tx: vouchers.activate(tx, shop.world, every, purse="cash:office", who="wang"))
    with path.open(encoding="ascii") as file:
        return [pin(row["pin"]) for row in csv.DictReader(file)]


async def state(shop: Shop, one: Pin) -> str:
    (voucher,) = (await shop.db.transaction(lambda tx: vouchers.hold(tx, shop.vault, [one]))).values()
    return voucher.state
