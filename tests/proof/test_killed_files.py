"""kill -9 of the server, four times while it works off a file: every row is sold once, and the book is clean."""

import csv
import io
import time
from decimal import Decimal

import httpx2
from tests.proof.test_kills import OURS, House, house

__all__ = ["house"]  # the fixture
ROWS = 24_000
KILLS = 4
FILE = "msisdn,amount,currency,reference\n" + "".join(
    f"{OURS[n % len(OURS)]},10.00,CNY,{f'row-{n}' if n % 2 else ''}\n" for n in range(ROWS)
)


def get(house: House, path: str) -> httpx2.Response:
    headers = {"authorization": f"Bearer {house.key}"}
    return httpx2.get(house.url + path, headers=headers, timeout=60, trust_env=False)


def done(house: House, path: str) -> int:
    told = get(house, path).json()
    return int(told["accepted"] + told["refused"])


def test_a_file_outlives_its_server(house: House) -> None:
    before = get(house, "/v1/balance").json()["balance"]
    headers = {"authorization": f"Bearer {house.key}", "content-type": "text/csv"}
    answer = httpx2.post(f"{house.url}/v1/topups/csv", content=FILE, headers=headers, timeout=60, trust_env=False)
    path = answer.headers["location"]
    for n in range(KILLS):
        until = time.monotonic() + 120
        while done(house, path) < ROWS * (n + 1) // (KILLS + 2) and time.monotonic() < until:
            time.sleep(0.02)
        house.kill()
        house.start()
    again = httpx2.post(f"{house.url}/v1/topups/csv", content=FILE, headers=headers, timeout=60, trust_env=False)
    assert (again.status_code, again.headers["location"]) == (200, path)
    until = time.monotonic() + 180
    while get(house, path).json()["status"] != "done" and time.monotonic() < until:
        time.sleep(0.2)
    rows = list(csv.DictReader(io.StringIO(get(house, f"{path}/result").text)))
    assert [int(row["line"]) for row in rows] == list(range(2, ROWS + 2))
    assert {row["status"] for row in rows} == {"succeeded"}
    assert {row["replayed"] for row in rows} == {"false"}
    assert len({row["topup"] for row in rows}) == ROWS
    paid = Decimal(before) - Decimal(get(house, "/v1/balance").json()["balance"])
    assert paid == sum(Decimal(row["price"]) for row in rows)
    house.stop()
    checked = house.check()
    assert checked.returncode == 0, checked.stdout + checked.stderr
