"""A shop whose customers pay by Alipay, and the evening on which its statements are read."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from io import BytesIO
from typing import Any

import pytest
from tests.topup.shop import SELLER, Lossy, Shop
from tests.worlds import MORNING

from refill import cases, reconcile
from refill.cases import CaseRow
from refill.db import Pool
from refill.db.bulk import Bulk
from refill.reconcile import Day, Item, Result
from refill.simulators.alipay import BillRow, bill_lines
from refill.topup import Order, Rules, flow
from refill.topup.check import check_in

TODAY = MORNING.date()
TOMORROW = TODAY + timedelta(days=1)


class Evening:
    """The shop's books beside Alipay's: what was taken, what is left, and the day's end."""

    def __init__(self, shop: Shop, bulk: Bulk) -> None:
        self.shop, self.bulk = shop, bulk

    def rows(self, day: date = TODAY) -> list[BillRow]:
        return self.shop.alipay.bill_rows(day)

    def file(self, rows: list[BillRow], day: date = TODAY) -> BytesIO:
        return BytesIO("".join(bill_lines(SELLER, day, rows, MORNING)).encode("gbk"))

    async def take(self, rows: list[BillRow] | None = None, day: date | None = None, **more: Any) -> Result:
        """Takes the bill that the simulator truly has, or one of these rows; `day` names its day to us."""
        file = self.file(self.rows(day or TODAY) if rows is None else rows, day or TODAY)
        return await reconcile.take(self.shop.trade, self.bulk, "alipay", file, day=day, **more)

    async def items(self, day: date = TODAY) -> list[Item]:
        return await self.shop.db.transaction(lambda tx: reconcile.items(tx, "alipay", day))

    async def left(self, day: date = TODAY) -> list[str]:
        """ "theirs_only payment case": what did not match on a day, and what became of it."""
        return sorted(f"{item.gap.bucket} {item.gap.kind} {item.state}" for item in await self.items(day))

    async def day(self, day: date = TODAY) -> Day:
        return await self.shop.db.transaction(lambda tx: reconcile.find(tx, "alipay", day))

    async def close(self, day: date = TODAY, who: str = "wang") -> Day:
        now = self.shop.world.db_now()
        return await self.shop.db.transaction(lambda tx: reconcile.close(tx, "alipay", day, who, now))

    async def cases(self) -> list[CaseRow]:
        return await self.shop.db.transaction(cases.open_cases)

    async def assign_all(self, who: str = "wang") -> None:
        now = self.shop.world.db_now()
        for case in await self.cases():
            await self.shop.db.transaction(lambda tx, id_=case.id: cases.assign(tx, id_, who, now))

    async def balance(self, account: str) -> str:
        return await self.shop.balance(f"{account}/CNY")

    async def paid(self, *, noticed: bool = True, face: str = "50.00 CNY") -> Order:
        """A customer's order that is paid at Alipay; its notice may be lost."""
        if noticed:
            return await self.shop.guest_pays(face=face)
        order = await self.shop.guests_order(face=face)
        self.shop.alipay.troubles.plan("lose_notice", 20)
        assert self.shop.alipay.pay(f"{order.id}p1")
        await self.shop.world.advance(0)
        return order

    async def refunded(self) -> Order:
        """A customer's order that is paid, cancelled and refunded."""
        order = await self.paid()
        await flow.cancel(self.shop.trade, order.id)
        await self.shop.tick()
        return await self.shop.order(order.id)

    async def clean(self) -> list[str]:
        """What `refill check` finds."""
        return await self.shop.db.transaction(lambda tx: check_in(tx, lambda done, total: None, steps=1))


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=4).open()
    yield pool
    await pool.close()


@pytest.fixture
async def shop(pool: Pool) -> AsyncIterator[Shop]:
    shop = await Shop(Lossy(pool)).open(rules=Rules(cooling=timedelta(hours=30)))
    yield shop
    shop.world.die()
    assert shop.world.errors == []


@pytest.fixture
def evening(shop: Shop, dsn: str) -> Evening:
    return Evening(shop, Bulk(dsn))
