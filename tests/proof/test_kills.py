"""kill -9 of the server or of PostgreSQL, twenty times under load: everything acknowledged is there, and the book is clean."""

import asyncio
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest

KILLS = 20
CLIENTS = 24
STARTED_WITHIN_S = 60
OURS = [f"+86199{n:08}" for n in range(1, 150)]  # the demonstration's own subscribers
OTHERS = [f"+86138001399{n:02}" for n in range(30, 60)]  # their last digits mean no trouble at the simulated operator


class House:
    """`refill up` as a process of its own, which can be killed and started again over the same data."""

    def __init__(self, data: Path) -> None:
        self.data, self.key = data, ""
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port: int = one.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = (data / "up.log").open("w+")
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it says that it is ready."""
        before = self._log.seek(0, os.SEEK_END)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "refill", "up", "--data", str(self.data), "--port", str(self.port)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        until = time.monotonic() + STARTED_WITHIN_S
        while time.monotonic() < until:
            said = self._said(before)
            if found := re.search(r"Partner key +(\S+)", said):
                self.key = found[1]
            if "Refill is ready" in said:
                return
            assert self._process.poll() is None, said
            time.sleep(0.05)
        raise AssertionError(self._said(before))

    def _said(self, since: int) -> str:
        return Path(self._log.name).read_text()[since:]

    def kill(self) -> None:
        """kill -9 of the server; nothing of it runs any more."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill_postgres(self) -> None:
        """kill -9 of the postmaster; whoever watches it starts it again."""
        number = int((self.data / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(number, signal.SIGKILL)

    def stop(self) -> None:
        """Ctrl-C."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(60) == 0, self._said(0)[-2000:]

    def check(self) -> subprocess.CompletedProcess[str]:
        """`refill check` over the same data."""
        command = [sys.executable, "-m", "refill", "check", "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def house() -> Iterator[House]:
    data = Path(tempfile.mkdtemp(prefix="refill-kills-"))
    data.chmod(0o755)  # the database's own user must enter
    house = House(data)
    house.start()
    yield house
    house.kill()
    shutil.rmtree(data, ignore_errors=True)


class Load:
    """Clients that ask until they are answered, and remember what they were told."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.told: dict[str, str] = {}  # key: order id
        self.bodies: dict[str, dict[str, str]] = {}
        self.wrong: list[str] = []
        self.on = True
        self.dice = random.Random(7)

    async def client(self, n: int) -> None:
        headers = {"authorization": f"Bearer {self.house.key}"}
        async with httpx2.AsyncClient(base_url=self.house.url, headers=headers, timeout=5, trust_env=False) as http:
            count = 0
            while self.on:
                count += 1
                if self.told and self.dice.random() < 0.1:
                    await self._ask(http, self.dice.choice(list(self.told)))
                    continue
                key = f"client-{n}-{count}"
                number = self.dice.choice(OTHERS if self.dice.random() < 0.1 else OURS)
                body = {"msisdn": number, "amount": "10.00", "currency": "CNY", "reference": key}
                self.bodies[key] = body
                await self._ask(http, key)

    async def _ask(self, http: httpx2.AsyncClient, key: str) -> None:
        while True:
            try:
                response = await http.post("/v1/topups", json=self.bodies[key], headers={"idempotency-key": key})
            except httpx2.HTTPError:
                response = None
            if response is not None and response.status_code in (200, 201, 202):
                id_ = response.json()["id"]
                if self.told.setdefault(key, id_) != id_:
                    self.wrong.append(f"{key} was {self.told[key]} and is {id_}")
                return
            if response is not None and response.status_code not in (429, 500, 502, 503, 504):
                self.wrong.append(f"{response.status_code}: {response.text[:200]}")
                return
            if response is not None and response.status_code == 500:
                self.wrong.append(f"500: {response.text[:200]}")
            if not self.on and response is None:
                return
            await asyncio.sleep(0.1)

    async def all_there(self) -> list[str]:
        """Every acknowledged key that does not answer with its order any more."""
        headers = {"authorization": f"Bearer {self.house.key}"}
        lost = []
        async with httpx2.AsyncClient(base_url=self.house.url, headers=headers, timeout=20, trust_env=False) as http:
            for key, id_ in self.told.items():
                response = await http.get(f"/v1/topups/{id_}")
                if response.status_code != 200 or response.json()["reference"] != key:
                    lost.append(f"{key} {id_}: {response.status_code}")
        return lost


async def test_what_was_acknowledged_outlives_every_kill(house: House) -> None:
    load = Load(house)
    clients = [asyncio.create_task(load.client(n)) for n in range(CLIENTS)]
    acknowledged = []
    for kill in range(KILLS):
        await asyncio.sleep(load.dice.uniform(0.5, 2.5))
        before = len(load.told)
        if kill % 2:
            house.kill_postgres()
        else:
            house.kill()
            await asyncio.to_thread(house.start)
        until = time.monotonic() + STARTED_WITHIN_S
        while len(load.told) <= before + CLIENTS and time.monotonic() < until:  # everybody is served again
            await asyncio.sleep(0.05)
        acknowledged.append(len(load.told))
    load.on = False
    await asyncio.wait_for(asyncio.gather(*clients), 60)
    assert all(later > earlier for earlier, later in pairwise(acknowledged)), acknowledged
    assert load.wrong == []
    assert await load.all_there() == []
    house.stop()
    checked = house.check()
    assert checked.returncode == 0, checked.stdout[-2000:] + checked.stderr[-2000:]
