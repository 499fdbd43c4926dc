"""The stream that tells a page that its order moved: at once, to everybody who watches, and to nobody else."""

import asyncio
import contextlib
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx2
import pytest
from tests.doors.conftest import House, Visitor
from tests.doors.test_portal import paid_order

from refill.channels import watch


class Watcher:
    """A page that listens, in a thread of its own; `heard` are the marks it was told."""

    def __init__(self, url: str) -> None:
        self.heard: queue.Queue[int] = queue.Queue()
        self.status = 0
        self._client = httpx2.Client(trust_env=False, timeout=30)
        self._entered = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=[url], daemon=True)
        self._thread.start()
        assert self._entered.wait(10)

    def _listen(self, url: str) -> None:
        try:
            with self._client.stream("GET", url) as answer:
                self.status, self.headers = answer.status_code, answer.headers
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                self._entered.set()
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        self.heard.put(int(line[6:]))
        except httpx2.HTTPError:
            self._entered.set()  # hung up

    def hang_up(self) -> None:
        """As a closed tab does; returns when the thread has noticed."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)


@pytest.fixture
def watching(house: House) -> Iterator[Callable[[str], Watcher]]:
    watchers: list[Watcher] = []

    def begin(url: str) -> Watcher:
        watchers.append(Watcher(house.url + url))
        return watchers[-1]

    yield begin
    for each in watchers:
        each.hang_up()


def address_of(visitor: Visitor, order_id: str) -> str:
    found = re.search(r'data-watch="([^"]+)"', visitor.get(f"/o/{order_id}?way=alipay.qr").text)
    assert found
    return found[1]


def test_who_watches_hears_how_far_it_is_and_every_step_at_once(house: House, numbers, watching) -> None:
    visitor = house.visitor()
    order_id = paid_order(visitor, numbers())
    url = address_of(visitor, order_id)
    one, other = watching(url), watching(url)
    assert one.status == 200
    assert one.headers["content-type"].startswith("text/event-stream")
    assert (one.heard.get(timeout=5), other.heard.get(timeout=5)) == (1, 1)
    (reference,) = [name for name in house.alipay.trades if name.startswith(order_id)]
    house.loop.call_soon_threadsafe(house.alipay.pay, reference)
    assert one.heard.get(timeout=5) > 1
    assert other.heard.get(timeout=5) > 1
    assert house.order(order_id).status == "succeeded"


def test_with_the_notice_lost_a_watched_order_is_asked_about_by_itself(house: House, numbers, watching) -> None:
    visitor = house.visitor()
    order_id = paid_order(visitor, numbers())
    watcher = watching(address_of(visitor, order_id))
    house.alipay.troubles.plan("lose_notice")
    (reference,) = [name for name in house.alipay.trades if name.startswith(order_id)]
    house.loop.call_soon_threadsafe(house.alipay.pay, reference)
    assert watcher.heard.get(timeout=5) == 1
    assert watcher.heard.get(timeout=14) > 1, "sooner than the engine's own first question at 15 s"


def test_a_pass_that_is_not_ours_hears_nothing(house: House, numbers, watching) -> None:
    visitor = house.visitor()
    url = address_of(visitor, paid_order(visitor, numbers()))
    assert visitor.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 404
    assert visitor.get("/watch/").status_code == 404
    assert visitor.client.post(url).status_code == 405


def test_an_address_that_holds_too_many_streams_is_sent_to_ask_for_itself(
    house: House, numbers, watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST_FROM_ONE_ADDRESS", 2)
    visitor = house.visitor()
    url = address_of(visitor, paid_order(visitor, numbers()))
    assert [watching(url).status for _ in range(3)] == [200, 200, 503]


def test_nobody_is_asked_while_nobody_watches(house: House, numbers) -> None:
    """Looks are counted at the database's door; a watch of its own, so that no other test's pages count."""
    order_id = paid_order(house.visitor(), numbers())
    seen = house.ask(_looks(house, order_id))
    assert seen == (2, 0)


async def _looks(house: House, order_id: str) -> tuple[int, int]:
    """How often a watch looks while two streams are open, for two looks' time, and after both are closed."""
    looks = 0

    class Counted:
        async def transaction(self, work):  # type: ignore[no-untyped-def]
            nonlocal looks
            looks += 1
            return await house.trade.db.transaction(work)

    own = watch.Watch(replace(house.trade, db=Counted()), asyncio.Event())
    streams = [own._tell(order_id, "192.0.2.1") for _ in range(2)]
    for stream in streams:
        assert (await anext(stream)).startswith(b"retry: ")
        assert (await anext(stream)) == b"data: 1\n\n"
    await asyncio.sleep(watch.LOOK_EVERY_S * 1.2)
    while_open = looks
    for stream in streams:
        await stream.aclose()
    await asyncio.sleep(watch.LOOK_EVERY_S * 1.2)
    looks = 0
    await asyncio.sleep(watch.LOOK_EVERY_S * 2.2)
    return while_open, looks


def test_every_stream_ends_when_the_server_stops(house: House, numbers) -> None:
    order_id = paid_order(house.visitor(), numbers())

    async def lived_s() -> float:
        stop = asyncio.Event()
        own = watch.Watch(house.trade, stop)
        began = time.monotonic()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        assert [part async for part in own._tell(order_id, "192.0.2.1")][1:] == [b"data: 1\n\n"]
        return time.monotonic() - began

    assert house.ask(lived_s()) < 2 * watch.LOOK_EVERY_S
