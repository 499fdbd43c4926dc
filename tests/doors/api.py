"""A partner's side of the API: a real server on a free port over a shop, and a client that sends exact bytes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import uvicorn
from tests.topup.shop import OWN_NUMBER, Lossy, Shop

from refill import accounts, ledger, numbers
from refill.accounts import KeyRing
from refill.channels import callbacks, dialects
from refill.channels.machines.limits import PatientHttp
from refill.channels.partner_api import create_app
from refill.db import Pool, Tx
from refill.money import money
from refill.numbers import msisdn


class Server(uvicorn.Server):
    """A server whose signals are not its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Api:
    """The doors of a shop, and the partner Acme with 1,000 CNY who knocks at them."""

    def __init__(self, shop: Shop, pool: Pool) -> None:
        self.shop = shop
        self.pool = pool
        self.keyring = KeyRing(shop.vault, pool, shop.world)
        self.partner = self.key = ""

    async def furnish(self, **server: Any) -> "Api":
        self.partner, self.key = await self.new_partner("Acme", "1000.00 CNY")
        trade = self.shop.trade
        speaking = dialects.routes(trade, self.keyring, lambda asks: self.app.topups.singles.submit(asks))
        self.app = create_app(trade, self.keyring, also=[*callbacks.routes(trade), *speaking], **server)
        return self

    async def new_partner(
        self, name: str, float_: str, scopes: str = "topup balance webhooks subscriber"
    ) -> tuple[str, str]:
        shop, prepaid = self.shop, money(float_)

        async def create(tx: Tx) -> tuple[str, str]:
            partner, _ = await accounts.create_partner(tx, shop.world, shop.vault, name, commission_bp=40)
            key = await accounts.create_key(tx, shop.world, shop.vault, partner.id, scopes=scopes)
            account = accounts.float_account(partner.id, "CNY")
            now = shop.world.db_now()
            await ledger.open_accounts(tx, [ledger.Account(account, 0)], now)
            deposit = shop.world.new_id("de", ledger.cell_of_account(account))
            await ledger.post(
                tx, [ledger.Entry.of(f"{deposit}.deposit", ("bank:demo/CNY", account, prepaid.minor))], now
            )
            return partner.id, key

        partner = await self.pool.transaction(create)
        await self.keyring.refresh()
        return partner

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Api"]:
        config = uvicorn.Config(
            self.app, port=0, http=PatientHttp, ws="none", lifespan="off", access_log=False, log_level="warning"
        )
        server = Server(config)
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.002)
        self.port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=30
        ) as self.client:
            yield self
        server.should_exit = True
        await serving

    async def post(self, path: str, body: Any, key: str | None = None, **headers: str) -> httpx2.Response:
        """Sends `body` as it is when it is bytes, else as JSON, signed with Acme's key."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        if key is not None:
            sent["idempotency-key"] = key
        return await self.client.post(
            path, content=content, headers=sent | {n.replace("_", "-"): v for n, v in headers.items()}
        )

    async def topup(self, key: str | None = None, **fields: Any) -> httpx2.Response:
        return await self.post("/v1/topups", wish(**fields), key)

    async def get(self, path: str, bearer: str | None = None, **more: Any) -> httpx2.Response:
        return await self.client.get(path, headers={"authorization": f"Bearer {bearer or self.key}"}, **more)

    async def float_(self) -> str:
        return str((await self.get("/v1/balance")).json()["balance"])

    async def credit(self, number: str = OWN_NUMBER) -> str:
        """What is on a subscriber's balance."""
        return str((await self.get(f"/v1/subscribers/{msisdn(number).digits}")).json()["balance"])

    async def traces(self) -> int:
        """Rows that a top-up would have left behind."""
        counts = " + ".join(f"(SELECT count(*) FROM {table})" for table in ("topup_order", "topup_key", "topup_event"))
        async with self.pool._pool.connection() as connection:
            row = await (await connection.execute(f"SELECT {counts}".encode())).fetchone()
        return int(row[0])


def wish(**fields: Any) -> dict[str, Any]:
    """A good top-up, with some fields changed; None leaves one out."""
    whole = {"msisdn": "+8613800138000", "amount": "50.00", "currency": "CNY", "reference": "R-1", **fields}
    return {name: value for name, value in whole.items() if value is not None}


@contextlib.asynccontextmanager
async def api_on(dsn: str, **server: Any) -> AsyncIterator[Api]:
    """An open API on an empty database."""
    pool = await Pool(dsn, size=4).open()
    try:
        shop = await Shop(Lossy(pool)).open()
        async with (await Api(shop, pool).furnish(**server)).open() as api:
            yield api
    finally:
        await pool.close()


def number_id(api: Api, typed: str) -> str:
    return numbers.number_id(api.shop.vault, msisdn(typed))
