"""A shop whose partner listens, and a receiver of its own."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from tests.topup.shop import Lossy, Shop

from refill import notify
from refill.channels.partner_api.webhooks import render
from refill.db import Pool, Statement
from refill.notify import Courier, Endpoint
from refill.world import NoAnswer, Request, Response

PLACE = "https://shop.example/refill"


class Receiver:
    """A partner's own server: keeps what it accepted; `answers` are its next ones, and then `always`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.heard: list[dict[str, Any]] = []
        self.answers: list[Response | int | None] = []
        self.always: int | None = 204

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else self.always
        if answer is None:
            raise NoAnswer("silent")
        if isinstance(answer, int):
            answer = Response(answer, {}, b"thanks")
        if 200 <= answer.status < 300:
            self.heard.append({"id": request.headers["webhook-id"], **json.loads(request.body)})
        return answer

    @property
    def kinds(self) -> list[str]:
        return [event["type"].removeprefix("topup.") for event in self.heard]


class Town:
    """A shop, its partner's receiver, and the courier between them."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.world, self.db = shop, shop.world, shop.db
        self.receiver = Receiver()
        self.world.route("https://shop.example", self.receiver.handle)
        self.courier = self.new_courier()

    def new_courier(self) -> Courier:
        """Another process's."""
        return Courier(self.world, self.db, self.shop.vault, render(self.shop.trade))

    async def listen(self, url: str = PLACE, **more: Any) -> tuple[Endpoint, str]:
        """One more endpoint of the shop's partner."""
        return await self.db.transaction(
            lambda tx: notify.create(tx, self.world, self.shop.vault, self.shop.partner, url, **more)
        )

    async def tell(self) -> int:
        """One round of the courier, and the requests that it started."""
        taken = await self.courier.tick()
        await self.world.advance(0)
        return taken

    async def tell_all(self) -> None:
        """Until nothing is due in this moment."""
        while await self.tell():
            pass

    async def wait(self, seconds: float) -> None:
        """Time goes on, and the courier looks whenever something is due."""
        until = self.world.clock + timedelta(seconds=seconds)
        await self.tell_all()
        while (due := await self.db.transaction(lambda tx: tx.value(NEXT))) is not None and due <= until:
            await self.world.advance(max(0.0, (due - self.world.clock).total_seconds()))
            if not await self.tell():
                await self.world.advance(1)
        if self.world.clock < until:
            await self.world.advance((until - self.world.clock).total_seconds())

    async def log(self, endpoint: Endpoint) -> list[str]:
        """ "succeeded accepted 1": each delivery, the latest first."""
        found, _ = await self.db.transaction(lambda tx: notify.deliveries(tx, endpoint.id))
        return [f"{one.kind.removeprefix('topup.')} {one.state} {one.tries}" for one in found]

    async def endpoint(self, endpoint: Endpoint) -> Endpoint:
        return await self.db.transaction(lambda tx: notify.endpoint(tx, self.shop.partner, endpoint.id))


NEXT = Statement("""
    SELECT min(d.due) FROM notify_delivery d JOIN notify_endpoint e ON e.id = d.endpoint
     WHERE d.state = 'waiting' AND e.state = 'active'
""")
Statement.every.remove(NEXT)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=4).open()
    yield pool
    await pool.close()


@pytest.fixture
async def town(pool: Pool) -> AsyncIterator[Town]:
    shop = await Shop(Lossy(pool)).open()
    await shop.sql(
        "INSERT INTO accounts_partner (id, name, currency, commission_bp, credit_limit_minor, status, created_at)"
        " VALUES (:id::text, 'Kiosk & Co', 'CNY', 40, 0, 'active', :at)",
        id=shop.partner,
        at=shop.world.db_now(),
    )
    yield Town(shop)
    shop.world.die()
    assert shop.world.errors == [], "something that was started beside the story went wrong"
