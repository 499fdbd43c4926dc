"""A file of top-ups as a partner sends it, and waiting until its last row is delivered."""

import random
import time
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from refill import ledger
from refill.accounts import float_account
from refill.app import House
from refill.bench.seed import FLOAT, NUMBERS
from refill.money import Money

FACE = Money(5_000, FLOAT.currency)
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Sent:
    """A file that was sent: where its progress is told, and how long it took so far."""

    path: str
    began: float
    upload_s: float
    seconds: float = 0.0
    accepted: int = 0


def written(rows: int, seed: int) -> bytes:
    """The file: half of its rows have a reference, as partners' files do."""
    dice = random.Random(seed)
    lines = ["msisdn,amount,currency,reference"]
    for n in range(rows):
        reference = f"f{dice.getrandbits(64):016x}" if n % 2 else ""
        lines.append(f"{dice.choice(NUMBERS)},{FACE.text()},{FACE.currency},{reference}")
    return "\n".join(lines).encode()


def send(port: int, bearer: str, file: bytes) -> Sent:
    """Sends it; the clock runs from its first byte."""
    began = time.perf_counter()
    headers = {"authorization": f"Bearer {bearer}", "content-type": "text/csv"}
    answer = httpx2.post(_at(port, "/v1/topups/csv"), content=file, headers=headers, timeout=60, trust_env=False)
    if answer.status_code != 202:
        raise RuntimeError(f"the file was refused: {answer.text}")
    return Sent(answer.headers["location"], began, time.perf_counter() - began)


def wait(port: int, bearer: str, sent: Sent, *, until: int | None = None) -> Sent:
    """Asks how far it is until all of it (or `until` rows of it) is done."""
    headers = {"authorization": f"Bearer {bearer}"}
    end = time.perf_counter() + PATIENCE_S
    told: dict[str, Any] = {}
    with httpx2.Client(headers=headers, timeout=60, trust_env=False) as client:
        while time.perf_counter() < end:
            told = client.get(_at(port, sent.path)).json()
            done = told["accepted"] + told["refused"]
            if told["status"] == "done" or (until is not None and done >= until):
                return replace(sent, seconds=time.perf_counter() - sent.began, accepted=told["accepted"])
            time.sleep(0.2)
    raise RuntimeError(f"after {PATIENCE_S:g} s the file is not done: {told}")


async def sold(house: House, partner_id: str) -> int:
    """What a partner has paid for top-ups so far, in minor units."""
    account = float_account(partner_id, FLOAT.currency)
    return FLOAT.minor - await house.pool.transaction(lambda tx: ledger.standing(tx, account))


def _at(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}{path}"
