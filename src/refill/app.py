"""The composition root: the real clock, dice, network and database are made here and nowhere else."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2
import structlog

from refill import (
    accounts,
    cards,
    cases,
    catalogue,
    ledger,
    logs,
    lookups,
    notify,
    numbers,
    operators,
    payments,
    reconcile,
    stock,
    uploads,
    vouchers,
)
from refill.accounts import KeyRing
from refill.db import Pool, Statement, Tx, unsafe_settings
from refill.db.bulk import Bulk
from refill.db.embedded import Server
from refill.egress import WrongUrl, callable_url, is_public, place
from refill.errors import RefillError
from refill.ids import CELLS, make_id
from refill.money import Money
from refill.operators import Supplier, suppliers_by_name, terms_by_name
from refill.outcome import Done
from refill.payments import Method, methods_by_name
from refill.settings import PortSetting, Settings, SettingsError
from refill.topup import Rules, Shelf, Trade, Worker, flow, limits, pulse, quotes
from refill.vault import Vault
from refill.world import NoAnswer, NotSent, Request, Response

if TYPE_CHECKING:
    from refill.simulators.serve import FarEnds

log = structlog.get_logger()


CALLS_OF_A_CLIENT = 16


class RealWorld:
    """Real time, chance and network."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._ahead = timedelta(0)  # of the database's clock before ours
        self._dice: Iterator[int] = iter(())
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = httpx2.create_ssl_context(trust_env=False)
        self._clients: list[httpx2.AsyncClient] = []
        self._calls: list[int] = []  # that each client holds
        self._allowed, self._guard = allowed, Guard(allowed)
        self._guarded = httpcore2.AsyncConnectionPool(
            ssl_context=self._context,
            max_connections=None,
            max_keepalive_connections=100,
            keepalive_expiry=5.0,
            network_backend=self._guard,
        )

    def now(self) -> datetime:
        return datetime.now(UTC)

    def db_now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def set_db_clock(self, db_now: datetime) -> None:
        """Told once in a while what the database's clock shows."""
        self._ahead = db_now - datetime.now(UTC)

    def new_id(self, prefix: str, cell: int) -> str:
        return make_id(prefix, cell, int((time.time() + self._ahead.total_seconds()) * 1000), self.chance(64))

    def chance(self, bits: int) -> int:
        if bits > 64:
            return int.from_bytes(os.urandom((bits + 7) // 8)) & ((1 << bits) - 1)
        drawn = next(self._dice, None)
        if drawn is None:
            self._dice = iter(struct.unpack("512Q", os.urandom(4096)))  # one system call for hundreds of ids
            drawn = next(self._dice)
        return drawn & ((1 << bits) - 1)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def send(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(request.timeout_s):
                return await (self._send_guarded(request) if request.guarded else self._send(request))
        except (*_NEVER_LEFT, WrongUrl) as error:  # a stranger reads why, whose address it is
            raise NotSent(str(error) or type(error).__name__) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol, httpx2.PoolTimeout) as error:
            raise NotSent(type(error).__name__) from None
        except (*_NOBODY_KNOWS, httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            raise NoAnswer(type(error).__name__) from None

    async def _send(self, request: Request) -> Response:
        # For each call a client looks at every connection that it holds: thousands of calls are spread over many clients.
        n = next((n for n, calls in enumerate(self._calls) if calls < CALLS_OF_A_CLIENT), len(self._clients))
        if n == len(self._clients):
            self._clients.append(self._new_client())
            self._calls.append(0)
        self._calls[n] += 1
        try:
            return await self._send_by(self._clients[n], request)
        finally:
            self._calls[n] -= 1

    def _new_client(self) -> httpx2.AsyncClient:
        # Never a retry, a redirect or a proxy: one request is one request.
        return httpx2.AsyncClient(
            trust_env=False,
            verify=self._context,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=CALLS_OF_A_CLIENT),
        )

    async def _send_by(self, client: httpx2.AsyncClient, request: Request) -> Response:
        async with client.stream(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.body,
            timeout=httpx2.Timeout(request.timeout_s, connect=min(5.0, request.timeout_s)),
        ) as answer:
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > request.most_bytes:
                    break
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status_code, headers, bytes(body[: request.most_bytes + 1]))

    async def _send_guarded(self, request: Request) -> Response:
        """To an address that a stranger chose: looked at, looked up once, and connected to where it was looked up."""
        url = callable_url(request.url, self._allowed)
        patience = dict.fromkeys(("connect", "read", "write", "pool"), request.timeout_s)
        async with self._guarded.stream(
            request.method,
            url,
            headers=list(request.headers.items()),
            content=request.body,
            extensions={"timeout": patience | {"connect": min(5.0, request.timeout_s)}},
        ) as answer:
            body = bytearray()
            async for part in answer.aiter_stream():
                body += part
                if len(body) > request.most_bytes:
                    break
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            return Response(answer.status, headers, bytes(body[: request.most_bytes + 1]))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("work failed; its timer will bring it back", error=type(error).__name__, where=_where(error))

    async def close(self) -> None:
        """Lets running work finish for a moment, then leaves it to its timers."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        for client in self._clients:
            await client.aclose()
        await self._guarded.aclose()
        self._guard.close()


_NEVER_LEFT = (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.UnsupportedProtocol, httpcore2.PoolTimeout)
_NOBODY_KNOWS = (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError)


MOST_ADDRESSES = 3  # of a name are tried


class Guard(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses only. A name is looked up once for each connection, and every address that it has is
    looked at; the connection goes to one of these very addresses, while TLS and Host know the name.

    `allowed` are places of our own network that may be reached all the same.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = allowed
        self._wire = httpcore2.AnyIOBackend()
        # Looking up blocks a thread, and whoever chose the name decides for how long: these threads wait for nobody else.
        self._lookups = ThreadPoolExecutor(32, thread_name_prefix="lookup")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        if place(host, port) in self._allowed:
            return await self._wire.connect_tcp(host, port, timeout, local_address, socket_options)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                found = await loop.run_in_executor(self._lookups, _look_up, host, port)
        except TimeoutError:
            raise httpcore2.ConnectTimeout("the name is not found in time") from None
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError("the name is not found") from None
        if not found or not all(map(is_public, found)):
            raise httpcore2.ConnectError("the name leads to a private network")
        tried = found[:MOST_ADDRESSES]
        share = None if timeout is None else timeout / len(tried)
        for address in tried[:-1]:  # without a way to IPv6, say, the next one answers
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._wire.connect_tcp(address, port, share, local_address, socket_options)
        return await self._wire.connect_tcp(tried[-1], port, share, local_address, socket_options)

    def close(self) -> None:
        """Looks no more names up."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.UnsupportedProtocol("no file is an address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, each once, in the order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _where(error: BaseException) -> str:
    """File and line of an error; never its text, which may quote what a person typed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('refill/')[2]}:{trace.tb_lineno}" if trace else "?"


# ------------------------------------------------------------------ the database


@contextlib.contextmanager
def database(settings: Settings) -> Any:
    """The DSN of a migrated database: the embedded server's, started and ended here, or the one that is set."""
    from refill.channels.people.migrate import migrate

    if settings.database_url is not None:
        migrate(settings.database_url)
        yield settings.database_url
        return
    server = Server(settings.data_dir).start()
    try:
        server.watch(lambda: log.error("PostgreSQL fell; it is started again"))
        dsn = server.ensure_database()
        migrate(dsn)
        yield dsn
    finally:
        server.stop()


OLDEST_POSTGRES = 150_000
VERSION = Statement("SELECT current_setting('server_version_num')")
CLOCK = Statement("SELECT :at::timestamptz, clock_timestamp()")


async def read_clock(pool: Pool, world: RealWorld) -> None:
    """Learns how far the database's clock is from ours."""
    row = await pool.transaction(lambda tx: tx.row(CLOCK, at=world.now()))
    assert row is not None
    world.set_db_clock(row[1])


# ------------------------------------------------------------------ the engine


@dataclass(frozen=True, slots=True)
class House:
    """Everything that runs in one process."""

    settings: Settings
    dsn: str
    trade: Trade
    world: RealWorld
    pool: Pool
    keyring: KeyRing


@contextlib.asynccontextmanager
async def opened(settings: Settings, dsn: str, far: "FarEnds | None" = None) -> AsyncIterator[House]:
    """The engine on a database: ports made, settings checked, the books opened."""
    allowed = settings.allowed_places | (far.allowed if far else frozenset())
    world = RealWorld(allowed)
    pool = await Pool(dsn, size=10).open()
    try:
        version = int(await pool.transaction(lambda tx: tx.value(VERSION)))
        if version < OLDEST_POSTGRES:
            raise SettingsError(f"REFILL_DATABASE_URL: this is PostgreSQL {version // 10000}; 15 or newer is needed.")
        if unsafe := await pool.transaction(unsafe_settings):
            raise SettingsError(f"This database may lose acknowledged money ({', '.join(unsafe)}); switch it back on.")
        await read_clock(pool, world)
        vault = Vault(settings.master_key())
        methods, suppliers, asker = _ports(settings, far)
        trade = Trade(
            world,
            pool,
            vault,
            Shelf(await pool.transaction(lambda tx: catalogue.load(tx, world.db_now()))),
            methods,
            suppliers,
            settings.public_url,
            Rules(
                payment_expiry=timedelta(seconds=settings.payment_expiry_s), cooling=timedelta(seconds=settings.undo_s)
            ),
            terms_by_name(settings.ports, [*suppliers, catalogue.HOME]),
            lookups=asker,
            allowed_places=allowed,
        )
        await pool.transaction(lambda tx: _open_books(tx, trade))
        await pool.transaction(trade.stripes.refresh)
        await pool.transaction(trade.guard.refresh)
        keyring = KeyRing(vault, pool, world)
        await keyring.refresh()
        yield House(settings, dsn, trade, world, pool, keyring)
    finally:
        await world.close()
        await pool.close()


def port_settings() -> dict[str, PortSetting]:
    """The settings that payment methods, suppliers and look-ups declare, for `read_settings`."""
    return {**payments.port_settings(), **operators.port_settings(), **lookups.port_settings()}


def _ports(settings: Settings, far: "FarEnds | None") -> tuple[dict[str, Method], dict[str, Supplier], lookups.Asker]:
    words: dict[str, object] = {**settings.ports, **(far.settings if far else {})}
    return methods_by_name(words), suppliers_by_name(words), lookups.asker(words)


async def _open_books(tx: Tx, trade: Trade) -> None:
    """Our floats at suppliers are our own money elsewhere: they have no floor, the supplier refuses when they are empty."""
    currencies = {operator.currency for operator in trade.shelf.catalogue.operators()}
    billed = trade.shelf.catalogue.billed()
    names = [
        f"float:{name}/{currency}"
        for name in trade.suppliers
        if name != stock.SUPPLIER  # our own goods lie in accounts of their own
        for currency in sorted(currencies | set(trade.terms[name].currencies) | billed.get(name, set()))
    ]
    if names:
        await ledger.open_accounts(tx, [ledger.Account(name, None) for name in names], trade.world.db_now())


# ------------------------------------------------------------------ simulators beside us


def led(settings: Settings) -> "FarEnds | None":
    """The far ends that `refill up` plays with these settings, for a process beside it."""
    from refill.simulators import serve

    return serve.led(keeping(settings.secrets_dir), settings.port) if settings.simulators else None


@contextlib.asynccontextmanager
async def far_ends(settings: Settings) -> AsyncIterator["FarEnds | None"]:
    """Plays the other ends of the wires on loopback ports, when no real ones are set."""
    if not settings.simulators:
        yield None
        return
    from refill.simulators.serve import beside

    async with beside(keeping(settings.secrets_dir), settings.port, settings.public_url) as far:
        yield far


def keeping(folder: Path) -> Callable[[str, Callable[[], str]], str]:
    """Keeps secrets of the demonstration in a folder, each made once and readable by us alone."""

    def keep(name: str, make: Callable[[], str]) -> str:
        path = folder / name
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(make())
        return path.read_text(encoding="utf-8")

    return keep


# ------------------------------------------------------------------ work in the background


async def work(house: House, stop: asyncio.Event) -> None:
    """Takes due orders until told to stop; rests longer the longer nothing is due."""
    await _work_off(Worker(house.trade).tick, stop)


async def work_files(house: House, stop: asyncio.Event) -> None:
    """Takes parts of uploaded files until told to stop."""
    await asyncio.gather(*(_work_off(uploads.Worker(house.trade).tick, stop) for _ in range(uploads.LANES)))


async def _work_off(tick: Callable[[], Awaitable[int]], stop: asyncio.Event) -> None:
    rest = 0.05
    while not stop.is_set():
        try:
            taken = await tick()
        except RefillError as error:
            log.warning("the worker waits for the database", error=error.code)
            taken, rest = 0, 1.0
        rest = 0.01 if taken else min(rest * 1.5, 1.0)
        await _wait(stop, rest)


async def deliver(house: House, stop: asyncio.Event) -> None:
    """Tells partners what happened until told to stop; rests longer the longer there is nothing to tell."""
    from refill.channels.partner_api.webhooks import render

    courier = notify.Courier(house.world, house.pool, house.trade.vault, render(house.trade))
    rest = 0.05
    while not stop.is_set():
        try:
            taken = await courier.tick()
        except RefillError as error:
            log.warning("the courier waits for the database", error=error.code)
            taken, rest = 0, 1.0
        rest = 0.01 if taken else min(rest * 1.5, 1.0)
        await _wait(stop, rest)


async def keep_listeners(house: House, stop: asyncio.Event) -> None:
    """Knows, a few seconds late, which partners listen at all; as long as it does not, the database is asked each time."""
    while not stop.is_set():
        with contextlib.suppress(RefillError):
            await house.trade.listeners.refresh(house.pool, house.world.db_now())
        await _wait(stop, notify.REFRESH.total_seconds())


async def keep_house(house: House, stop: asyncio.Event) -> None:
    """What must happen now and then: prices and stripes read anew, the clock compared, subscribers and vouchers aged."""
    cell, rates, margins = 0, catalogue.rates.Watch(), catalogue.margins.Watch()
    while not await _wait(stop, _until_next_price(house)):
        try:
            await _read_anew(house)
            on_sale, now = house.trade.shelf.catalogue, house.world.db_now()
            await rates.look(house.pool, on_sale.rates, on_sale.abroad(), now)
            await margins.look(house.pool, on_sale, now)
            cell = await _age(house, cell)
            await _tidy_vouchers(house)
            await house.pool.transaction(lambda tx: quotes.forget(tx, house.world.db_now()))
            await house.pool.transaction(lambda tx: limits.forget(tx, house.world.db_now()))
            await house.pool.transaction(lambda tx: pulse.forget(tx, house.world.db_now()))
            await house.pool.transaction(lambda tx: numbers.forget_stale(tx, house.world.db_now()))
            await house.pool.transaction(lambda tx: uploads.forget(tx, house.world.db_now()))
            await _tidy_stock(house)
            await house.pool.transaction(lambda tx: notify.watch_floats(tx, house.world))
            await house.pool.transaction(lambda tx: notify.forget(tx, house.world.db_now()))
        except RefillError as error:
            log.warning("housekeeping waits for the database", error=error.code)


def _until_next_price(house: House) -> float:
    """Seconds of rest: five, or less when a price begins or ends before that."""
    until = house.trade.shelf.catalogue.until
    return 5 if until is None else min(5, max((until - house.world.db_now()).total_seconds(), 0.2))


ROUND_OF_BOOKS_S = 600


async def keep_books(house: House, stop: asyncio.Event) -> None:
    """Has the payment firms' statements fetched and taken, beside everything else: no failure of it stops a door."""
    while not await _wait(stop, ROUND_OF_BOOKS_S):
        house.world.start(_take_statements(house))


async def _take_statements(house: House) -> None:
    for answer in await reconcile.nightly(house.trade, Bulk(house.dsn)):
        if isinstance(answer, reconcile.Result):
            log.info("a statement was taken", method=answer.method, day=str(answer.day), lines=answer.lines)
        else:
            log.error("a statement was refused", error=answer.code)


async def chase(house: House, stop: asyncio.Event) -> None:
    """Asks suppliers about credit that is to be taken back until told to stop."""
    await _work_off(lambda: flow.chase_reversals(house.trade), stop)


ROUND_OF_FLOATS_S = 5


async def keep_floats(house: House, stop: asyncio.Event) -> None:
    """Asks suppliers what our floats hold, each when its time has come; any number of processes may."""
    while not await _wait(stop, ROUND_OF_FLOATS_S):
        try:
            await reconcile.look(house.trade, house.pool)
        except RefillError as error:
            log.warning("watching floats waits for the database", error=error.code)


async def keep_fresh(house: House, stop: asyncio.Event) -> None:
    """The same for a process that only opens doors: what is decided elsewhere counts here within seconds."""
    while not await _wait(stop, 5):
        try:
            await _read_anew(house)
        except RefillError as error:
            log.warning("prices and limits wait for the database", error=error.code)


async def _read_anew(house: House) -> None:
    """What is kept in memory, as it stands now: prices and rates, the clock, stripes, limits."""
    await _read_prices(house)
    await read_clock(house.pool, house.world)
    await house.pool.transaction(house.trade.stripes.refresh)
    await house.pool.transaction(house.trade.guard.refresh)


async def _read_prices(house: House) -> None:
    shelf, before = house.trade.shelf, house.trade.shelf.catalogue
    now = house.world.db_now()
    shelf.catalogue = await house.pool.transaction(lambda tx: catalogue.refresh(tx, before, now))
    if shelf.catalogue is not before:  # a supplier may bill in a currency that is new to us
        await house.pool.transaction(lambda tx: _open_books(tx, house.trade))


CELLS_A_ROUND = 64  # all subscribers are looked at within six minutes


async def _age(house: House, first: int) -> int:
    last = first + CELLS_A_ROUND - 1
    now = house.world.db_now()

    async def aged(tx: Tx) -> None:
        changes = await cards.age(tx, now, first_cell=first, last_cell=last)
        # What is left on a number that expires is ours (breakage).
        expired = [change.was for change in changes if change.became.state == "expired"]
        names = [cards.balance_account(subscriber) for subscriber in expired]
        left = await ledger.balances(tx, names) if names else {}
        entries = [
            ledger.Entry.of(
                f"{house.world.new_id('ex', subscriber.cell)}.expired",
                (name, f"breakage:expired/{subscriber.currency}", left[name]),
            )
            for subscriber, name in zip(expired, names, strict=True)
            if left.get(name, 0) > 0
        ]
        if entries:
            await ledger.post(tx, entries, now)

    await house.pool.transaction(aged)
    return (last + 1) % CELLS


async def _tidy_vouchers(house: House) -> None:
    """Vouchers whose time is over are ours; who guessed PINs and gave it up is forgotten."""
    await house.pool.transaction(lambda tx: vouchers.expire(tx, house.world))
    await house.pool.transaction(lambda tx: vouchers.forget(tx, house.world.db_now()))


async def _tidy_stock(house: House) -> None:
    """PINs whose time is over are given to nobody; where too few are left, somebody is told."""
    await house.pool.transaction(lambda tx: stock.expire(tx, house.world))

    async def alarm(tx: Tx) -> None:
        now = house.world.db_now()
        await cases.raise_cases(tx, await stock.alarms(tx, None, now), now)

    await house.pool.transaction(alarm)


async def _wait(stop: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()


# ------------------------------------------------------------------ the doors


def doors(house: House, secret_key: str, stop: asyncio.Event) -> Callable[..., Any]:
    """One ASGI application for people and machines; each path belongs to one of them."""
    from refill.channels import callbacks, dialects, watch
    from refill.channels.partner_api import create_app

    settings = house.settings
    speaking = dialects.routes(house.trade, house.keyring, lambda asks: machines.topups.singles.submit(asks))
    machines = create_app(house.trade, house.keyring, also=[*callbacks.routes(house.trade), *speaking])
    if settings.doors == "machines":
        return machines
    from a2wsgi import WSGIMiddleware

    from refill.channels.people import bridge, django_settings
    from refill.channels.people.wsgi import application

    django_settings.configure(house.dsn, secret_key, public_url=settings.public_url)
    bridge.bind(house.trade, asyncio.get_running_loop(), Bulk(house.dsn))
    people = WSGIMiddleware(application(), workers=2)
    watching = watch.Watch(house.trade, stop)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if settings.doors == "all" and (scope["type"] == "lifespan" or path.startswith(MACHINES)):
            await machines(scope, receive, send)
        elif path.startswith(watch.PATH):
            await watching(scope, receive, send)
        elif scope["type"] == "http":
            await people(scope, receive, send)

    app.hot = machines.hot if settings.doors == "all" else {}  # type: ignore[attr-defined]  # for machines.quick
    app.close = machines.close  # type: ignore[attr-defined]
    return app


MACHINES = (
    "/v1/",
    "/callbacks/",
    "/dialects/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/developers",
    "/problems/",
)


async def serve(house: House, stop: asyncio.Event, ready: Coroutine[Any, Any, None]) -> None:
    """Serves the doors until told to stop; half-sent requests are given up, accepted ones answered."""
    import uvicorn

    from refill.channels.machines.limits import PatientHttp

    class Doorkeeper(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield  # signals are ours: after uvicorn's own handling no clean-up would run

    settings = house.settings
    secret_key = house.trade.vault.digest("django", b"secret key") * 2
    open_doors = doors(house, secret_key, stop)
    config = uvicorn.Config(
        open_doors,
        host=settings.host,
        port=settings.port,
        http=PatientHttp,
        ws="none",
        lifespan="off",
        access_log=False,  # URLs may name what is nobody's business
        log_level="warning",
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    server = Doorkeeper(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110 uvicorn has no event to wait for
        await asyncio.sleep(0.01)
    if server.started:
        settle_memory()
        await ready
        await keep_listeners(house, stop)
        server.should_exit = True
    else:
        ready.close()
    try:
        await serving
    except SystemExit:
        raise SettingsError(
            f"REFILL_PORT: port {settings.port} on {settings.host} is in use; choose another."
        ) from None
    await open_doors.close()  # type: ignore[attr-defined]  # a batch that is under way is still committed


def stop_on_signals() -> asyncio.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    return stop


def settle_memory() -> None:
    """What the start made lives as long as we do: the collector need not walk it again under load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def labours(house: House, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
    """All that is done beside the doors: by `refill up`, and by `refill work` in a process of its own."""
    return [
        work(house, stop),
        work_files(house, stop),
        deliver(house, stop),
        keep_house(house, stop),
        keep_books(house, stop),
        keep_floats(house, stop),
        chase(house, stop),
    ]


async def up(
    settings: Settings, dsn: str, ready: Callable[[House, "FarEnds | None"], Coroutine[Any, Any, None]]
) -> None:
    """Everything in one process: simulators, engine, worker, doors; ends in the opposite order."""
    logs.configure(settings.log_level)
    stop = stop_on_signals()
    async with far_ends(settings) as far, opened(settings, dsn, far) as house, asyncio.TaskGroup() as group:
        if settings.workers:
            for labour in labours(house, stop):
                group.create_task(labour)
        else:
            group.create_task(keep_fresh(house, stop))
        await serve(house, stop, ready(house, far))
        stop.set()


# ------------------------------------------------------------------ people and partners of the demonstration


async def new_partner(
    house: House,
    name: str,
    float_: Money,
    *,
    commission_bp: int = 0,
    credit_limit: Money | None = None,
    scopes: str = accounts.SCOPES,
) -> tuple[str, str]:
    """A partner with a funded float, posted from `bank:demo`; returns (partner id, API key, shown once)."""
    world, vault = house.world, house.trade.vault

    async def create(tx: Tx) -> tuple[str, str]:
        partner, key = await accounts.create_partner(
            tx,
            world,
            vault,
            name,
            currency=float_.currency,
            commission_bp=commission_bp,
            credit_limit=credit_limit,
            scopes=scopes,
        )
        account = accounts.float_account(partner.id, float_.currency)
        now = world.db_now()
        floor = -credit_limit.minor if credit_limit else 0
        await ledger.open_accounts(tx, [ledger.Account(account, floor)], now)
        deposit = world.new_id("de", ledger.cell_of_account(account))
        entry = ledger.Entry.of(f"{deposit}.deposit", (f"bank:demo/{float_.currency}", account, float_.minor))
        if entry.transfers:
            await ledger.post(tx, [entry], now)
        return partner.id, key

    return await house.pool.transaction(create)


async def fund_played_floats(house: House) -> None:
    """Books what simulated suppliers hold for us: they begin anew with every start, and so does our book of them."""
    world = house.world
    for name, currency in reconcile.watched(house.trade):
        told = await house.trade.suppliers[name].balance(world, currency)
        if not isinstance(told, Done):
            continue
        account, bank, held = f"float:{name}/{currency}", f"bank:demo/{currency}", told.reference.minor

        async def book(tx: Tx, account: str = account, bank: str = bank, held: int = held) -> None:
            more = held + (await ledger.balances(tx, [account])).get(account, 0)
            leg = (account, bank, more) if more > 0 else (bank, account, -more)
            entry = ledger.Entry.of(f"{world.new_id('fu', ledger.cell_of_account(account))}.funding", leg)
            if entry.transfers:
                await ledger.post(tx, [entry], world.db_now())

        await house.pool.transaction(book)


async def demonstrate(house: House) -> "tuple[Any, str]":
    """Fills a new database with a network to play with and a partner; returns (facts, the partner's key)."""
    from refill import demo
    from refill.accounts import NameTaken

    facts = await demo.fill(house.pool, house.world, house.trade.vault)
    path = house.settings.secrets_dir / "demo-partner.key"
    with contextlib.suppress(NameTaken):
        _, key = await new_partner(
            house, "Demo platform", Money(100_000_000, "CNY"), scopes=f"{accounts.SCOPES} {accounts.SUBSCRIBER}"
        )
        path.unlink(missing_ok=True)
        keeping(house.settings.secrets_dir)(path.name, lambda: key)
        await house.keyring.refresh()
    return facts, path.read_text(encoding="utf-8") if path.exists() else ""
