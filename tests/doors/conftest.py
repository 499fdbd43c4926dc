"""A whole Refill behind real HTTP: engine, worker, doors, and the simulated ends of the wires, on free ports."""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx2
import psycopg
import pytest
import uvicorn
from psycopg import sql

from refill import app, demo, simulators
from refill.settings import read_settings
from refill.simulators.alipay import AlipaySimulator
from refill.simulators.operator import OperatorSimulator
from refill.simulators.serve import FarEnds, address, listen, serving, surroundings
from refill.topup import Order, Trade, store

T = TypeVar("T")
NOT_A_SECRET = "a key for tests only, long enough for Django's taste"


class House:
    """One running Refill on a loop and thread of its own. `url` is where people find it; `alipay` can be told to misbehave."""

    def __init__(self, dsn: str, home: Path, **settings: object) -> None:
        self.dsn, self._home, self._settings = dsn, home, settings
        self.loop = asyncio.new_event_loop()
        self.url = ""
        self.house: app.House
        self.trade: Trade
        self.alipay: AlipaySimulator
        self.northtel: OperatorSimulator
        self.far: dict[str, Any] = {}  # every far end by its name
        self.urls: dict[str, str] = {}  # and where it is played
        self.facts: demo.DemoFacts
        self._stop = asyncio.Event()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, name="house", daemon=True)

    def __enter__(self) -> "House":
        self._thread.start()
        self._started.result(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Runs a question to the engine on its loop."""
        return asyncio.run_coroutine_threadsafe(question, self.loop).result(20)

    def orders(self) -> list[str]:
        """The ids of all orders, oldest first."""
        with psycopg.connect(self.dsn) as connection:
            return [id_ for (id_,) in connection.execute("SELECT id FROM topup_order ORDER BY created_at, id")]

    def order(self, id_: str) -> Order:
        (found,) = self.ask(store.find(self.trade, [id_]))
        assert found is not None
        return found

    def visitor(self, language: str = "en") -> "Visitor":
        return Visitor(self, language)

    def _live(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._run())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            ours = socket.create_server(("127.0.0.1", 0))
            self.url = address(ours)
            far = await self._far_ends(stack)
            settings = read_settings(
                {}, data_dir=str(self._home), database_url=self.dsn, public_url=self.url, **self._settings
            )
            house = await stack.enter_async_context(_opened_without_care(settings, self.dsn, far))
            self.house, self.trade = house, house.trade
            self.facts = await demo.fill(house.pool, house.world, house.trade.vault)
            server = _Server(
                uvicorn.Config(
                    app.doors(house, NOT_A_SECRET, self._stop), lifespan="off", log_level="warning", access_log=False
                )
            )
            serve = asyncio.create_task(server.serve(sockets=[ours]))
            work = asyncio.create_task(app.work(house, self._stop))
            tell = asyncio.create_task(app.deliver(house, self._stop))
            while not server.started:
                await asyncio.sleep(0.01)
            self._started.set_result(None)
            await self._stop.wait()
            server.should_exit = True
            await asyncio.gather(serve, work, tell, return_exceptions=True)

    async def _far_ends(self, stack: AsyncExitStack) -> FarEnds:
        """Every far end of the shelf on a port of its own; `far` has them by name."""
        around = await stack.enter_async_context(surroundings())
        kept: dict[str, str] = {}

        def keep(name: str, make: Callable[[], str]) -> str:
            if name not in kept:
                kept[name] = make()
            return kept[name]

        settings: dict[str, object] = {}
        urls = self.urls
        for name, file in simulators.shelf().items():
            listening = listen()
            self.far[name] = file.plays(keep, address(listening), self.url, around)
            urls[name] = await stack.enter_async_context(serving(self.far[name], listening))
            settings |= file.leads(keep, urls[name])
        self.alipay, self.northtel = self.far["alipay"], self.far["operator"]
        return FarEnds(settings, urls)


@contextlib.asynccontextmanager
async def _opened_without_care(settings: Any, dsn: str, far: FarEnds) -> Any:
    """The engine on the run's throw-away server, which is fast because it promises nothing over a power cut."""
    careful = app.unsafe_settings

    async def nothing_unsafe(tx: Any) -> list[str]:
        return []

    app.unsafe_settings = nothing_unsafe
    try:
        async with app.opened(settings, dsn, far) as house:
            yield house
    finally:
        app.unsafe_settings = careful


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Visitor:
    """A person with a browser that runs no scripts: cookies, forms and links only."""

    def __init__(self, house: House, language: str) -> None:
        self.house = house
        self.client = httpx2.Client(
            base_url=house.url, trust_env=False, headers={"accept-language": language}, timeout=20
        )

    def get(self, path: str, **more: Any) -> httpx2.Response:
        return self.client.get(path, **more)

    def post(self, path: str, fields: dict[str, str], page: httpx2.Response | None = None) -> httpx2.Response:
        """Sends a form with the token of `page` (or of a fresh one)."""
        page = page or self.get("/")
        body = urlencode({**hidden(page.text), **fields}, errors="surrogatepass")
        return self.client.post(path, content=body, headers={"content-type": "application/x-www-form-urlencoded"})

    def wish(self, number: str, offer: str = "demo-50|50.00", **more: str) -> httpx2.Response:
        """Number and amount, up to the confirm page (or wherever the form leads)."""
        answer = self.post("/", {"number": number, "offer": offer, **more})
        return self.follow(answer)

    def follow(self, answer: httpx2.Response) -> httpx2.Response:
        while answer.is_redirect:
            answer = self.get(answer.headers["location"])
        return answer

    def confirm(self, page: httpx2.Response, **more: str) -> httpx2.Response:
        return self.post(page.url.path, {"way": "alipay.page", **more}, page)


def hidden(html: str) -> dict[str, str]:
    """The hidden fields of a page's forms."""
    found = re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', html)
    return {name: value for name, value in found if name not in ("next", "again")}


def house_on(postgres: Any, template: str, name: str, home: Path, **settings: object) -> House:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return House(postgres.dsn(name), home, **settings)


@pytest.fixture(scope="session")
def house(postgres: Any, template: str, worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for all tests of a worker that only come through its doors; each test uses a number of its own."""
    with house_on(postgres, template, f"house_{worker_id}", tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="session")
def numbers(house: House) -> Callable[[], str]:
    """Numbers of our own network, each given out once."""
    unused = iter(house.facts.active)
    return lambda: next(unused).grouped()
