"""A day of a million payments: the firm's bill against our captures, beside the plain COPY of the same rows.

`python -m refill.bench.reconcile` runs on the servers' core and prints one JSON object; what it compares is made first.
"""

import asyncio
import json
import os
import resource
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from io import TextIOWrapper
from pathlib import Path

import uvloop

from refill import reconcile
from refill.app import House, opened
from refill.bench.seed import settings
from refill.db import Row, Statement, Tx
from refill.db.bulk import Bulk, BulkTx
from refill.ids import CELLS, make_id
from refill.payments import shelf
from refill.reconcile.gaps import limits
from refill.simulators.alipay import BillRow, bill_lines

DAY = date(2026, 11, 21)
SELLER = "2088000000000000"

CAPTURES = Statement("""
    -- What our book knows of the day
    COPY topup_capture (cell, method, merchant, transaction, order_id, reference, minor, currency, paid_at, noticed_at,
                        fate) FROM STDIN
""")
PLAIN = Statement("CREATE UNLOGGED TABLE plain (LIKE reconcile_line)")
PLAIN_ROWS = Statement("COPY plain FROM STDIN")
SETTLE = Statement("ANALYZE topup_capture")


def payments(count: int) -> Iterator[BillRow]:
    """The day's payments, one after the other from midnight to midnight."""
    start, step = limits(DAY)[0], timedelta(days=1) / count
    for n in range(count):
        at = (start + n * step).replace(microsecond=0)
        order = make_id("tu", n * 2_654_435_761 % CELLS, int(at.timestamp() * 1000), n)
        yield BillRow(f"20261121{n:020d}", f"{order}p1", "", "手机充值", 4980 + n % 7, -30, at, at)


def captures(count: int) -> Iterator[Row]:
    for n, paid in enumerate(payments(count)):
        order = paid.reference[:-2]
        yield (
            n % CELLS,
            "alipay",
            SELLER,
            paid.trade_no,
            order,
            paid.reference,
            paid.amount_minor,
            "CNY",
            paid.at,
            paid.at,
            "order",
        )


def lines(count: int) -> Iterator[Row]:
    """The rows of the bill as the table has them."""
    for n, paid in enumerate(payments(count), 1):
        cell = n * 2_654_435_761 % CELLS
        yield (
            "alipay", DAY, n, "payment", cell, paid.reference, "", paid.trade_no, paid.amount_minor, 30, "CNY", paid.at,
        )  # fmt: skip


def write_bill(path: Path, count: int) -> None:
    """The zip as the firm sends it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("20881_20261121_业务明细.csv", "w", force_zip64=True) as raw:
            with TextIOWrapper(raw, encoding="gbk", newline="") as text:
                text.writelines(bill_lines(SELLER, DAY, payments(count), limits(DAY)[1]))


async def measure(house: House, count: int) -> dict[str, float]:
    """Takes the bill and, in the same run, only copies its rows."""
    bulk, bill = Bulk(house.dsn), Path(os.environ["BENCH_HOME"]) / "bill.zip"

    async def fill(tx: Tx) -> None:
        assert isinstance(tx, BulkTx)
        await tx.copy(CAPTURES, captures(count))
        await tx.run(SETTLE)
        await tx.run(PLAIN)

    async def only_copy(tx: Tx) -> None:
        assert isinstance(tx, BulkTx)
        await tx.copy(PLAIN_ROWS, lines(count))

    await bulk.transaction(fill)
    write_bill(bill, count)
    began = time.perf_counter()
    await bulk.transaction(only_copy)
    plain_s = time.perf_counter() - began
    trade = replace(house.trade, methods={"alipay": shelf()["alipay"].EXAMPLES()[0]})
    before = _peak_mb()
    began = time.perf_counter()
    with bill.open("rb") as file:
        result = await reconcile.take(trade, bulk, "alipay", file)
    seconds = time.perf_counter() - began
    assert result.matched == count, result
    return {"seconds": seconds, "plain_s": plain_s, "memory_mb": _peak_mb(), "memory_before_mb": before}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def run(count: int) -> dict[str, float]:
    async with opened(settings(), os.environ["BENCH_DSN"]) as house:
        return await measure(house, count)


def main() -> None:
    """Argument: how many rows the bill has."""
    if "BENCH_CORE" in os.environ:
        os.sched_setaffinity(0, {int(os.environ["BENCH_CORE"])})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(int(sys.argv[1])))))


if __name__ == "__main__":
    main()
