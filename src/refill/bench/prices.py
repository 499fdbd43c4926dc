"""A supplier's price list of 100,000 rows shown, applied and shown changed, beside the plain COPY of the same rows.

`python -m refill.bench.prices` runs on the servers' core and prints one JSON object; what it compares is made first.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO

import openpyxl
import uvloop

from refill.app import House, opened
from refill.bench.seed import settings
from refill.catalogue import importing
from refill.catalogue.importing import Import
from refill.catalogue.lines import COSTS, Known, cost_row
from refill.catalogue.sheets import sheet
from refill.db import Row, Statement, Tx
from refill.db.bulk import Bulk, BulkTx

OPERATORS = 40
NETWORKS = Statement("""
    -- Networks for a wholesaler's list
    INSERT INTO catalogue_operator (id, name_zh, name_en, country, currency, own_network, colour, position, enabled, logo)
    SELECT 'op' || n, '网络' || n, 'Network ' || n, 'CN', 'CNY', false, '#334155', 100 + n, true, ''
      FROM generate_series(1, :count::int) n
""")
GOODS = Statement("""
    -- Denominations of theirs: a hundred of each network
    INSERT INTO catalogue_product (id, operator_id, kind, face_minor, currency, retail_bp, validity_days, validity_policy,
                                   enabled, category, name_zh, name_en)
    SELECT 'op' || n || '-' || f, 'op' || n, 'fixed', f * 100, 'CNY', 10000, 0, 'never', true, 'airtime', '', ''
      FROM generate_series(1, :count::int) n, generate_series(1, 100) f
""")
PLAIN = Statement("CREATE UNLOGGED TABLE plain AS SELECT * FROM catalogue_import_line WITH NO DATA")
PLAIN_ROWS = Statement("""
    -- The same rows into a table that nobody reads
    COPY plain (n, key, operator, product, their_product, name, tier, channel, partner, face_minor, max_face_minor,
                face_currency, minor, max_minor, currency, bp, valid_from, valid_until, why, what) FROM STDIN
""")
SETTLE = Statement("ANALYZE catalogue_product")


def rows(count: int, changed: int = 0) -> Iterator[list[str]]:
    """The list, of which every `changed`-th row costs a little more."""
    for n in range(count):
        operator, place = n % OPERATORS + 1, n // OPERATORS + 1
        face = place * 100
        cost = face * 99 + (100 if changed and n % changed == 0 else 0)
        yield [
            f"op{operator}", f"P{operator}-{place}", "", f"Credit {place}", f"{face // 100}.00", "", "CNY",
            f"{cost // 10000}.{cost // 100 % 100:02d}", "", "", "", "",
        ]  # fmt: skip


def as_csv(count: int, changed: int = 0) -> BytesIO:
    lines = [",".join(COSTS), *map(",".join, rows(count, changed))]
    return BytesIO("\n".join(lines).encode())


def as_xlsx(count: int) -> BytesIO:
    book, file = openpyxl.Workbook(write_only=True), BytesIO()
    page = book.create_sheet()
    page.append(COSTS)
    for row in rows(count):
        page.append(row)
    book.save(file)
    file.seek(0)
    return file


async def measure(house: House, count: int) -> dict[str, float]:
    """Seconds of showing and applying the list as CSV, of showing it as XLSX, and of only copying its rows."""
    bulk, told = Bulk(house.dsn), {}

    async def fill(tx: Tx) -> None:
        await tx.run(NETWORKS, count=OPERATORS)
        await tx.run(GOODS, count=OPERATORS)
        await tx.run(SETTLE)
        await tx.run(PLAIN)

    await bulk.transaction(fill)
    first, second, workbook = as_csv(count), as_csv(count, changed=10), as_xlsx(count)
    known = Known({f"op{n}": f"op{n}" for n in range(1, OPERATORS + 1)}, {f"op{n}": "CNY" for n in range(1, 99)})
    plain: list[Row] = [cost_row(n, cells, known) for n, cells in sheet(first, COSTS, ()) if isinstance(cells, dict)]

    async def only_copy(tx: Tx) -> None:
        assert isinstance(tx, BulkTx)
        await tx.copy(PLAIN_ROWS, plain)

    async def timed(name: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        await work()  # type: ignore[misc]
        told[name] = time.perf_counter() - began

    await timed("plain_s", lambda: bulk.transaction(only_copy))
    plain.clear()
    before = _peak_mb()

    async def show(file: BytesIO, whole: bool = False) -> Import:
        id_ = await importing.begin(house.pool, house.world, "cost", "bench", "list", who="bench", whole=whole)
        return await importing.read_file(bulk, house.world, id_, file)

    shown: list[Import] = []

    async def show_and_keep(file: BytesIO, whole: bool = False) -> None:
        shown.append(await show(file, whole))

    await timed("preview_s", lambda: show_and_keep(first))
    assert shown[-1].added == count, shown
    await timed("apply_s", lambda: importing.apply(bulk, house.world, shown[0].id, "bench"))
    await timed("again_preview_s", lambda: show_and_keep(second, True))
    assert shown[-1].changed in range(1, count // 10 + 2), shown
    await timed("again_apply_s", lambda: importing.apply(bulk, house.world, shown[1].id, "bench"))
    await timed("xlsx_preview_s", lambda: show_and_keep(workbook))
    return {**told, "memory_mb": _peak_mb(), "memory_before_mb": before}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def run(count: int) -> dict[str, float]:
    async with opened(settings(), os.environ["BENCH_DSN"]) as house:
        return await measure(house, count)


def main() -> None:
    """Argument: how many rows the list has."""
    if "BENCH_CORE" in os.environ:
        os.sched_setaffinity(0, {int(os.environ["BENCH_CORE"])})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(int(sys.argv[1])))))


if __name__ == "__main__":
    main()
