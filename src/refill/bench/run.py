"""The benches, such as `single`, `bulk` and `bulk-csv`: each a ratio against a reference of the same run."""

import asyncio
import itertools
import json as json_
import os
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from refill.app import House, opened
from refill.bench import files, preload, seed
from refill.bench.leg import Load, Outcome
from refill.bench.stage import BENCHMARKS, Serving, Stage
from refill.db import Pool
from refill.errors import RefillError

T = TypeVar("T")
LEG_S = 10.0
ROWS = 1_000  # of a bulk
BULK_CONNECTIONS = 4
FILE_ROWS = 100_000
YOUNG = 10_000
GROWN = 1_000_000
PRICE_ROWS = 100_000


class BenchError(RefillError):
    """The bench cannot run here."""

    code = "bench"


@dataclass
class Figure:
    """What a bench says: a value, what it is compared with, and their ratio; `more` are the figures beside them."""

    name: str
    value: float
    unit: str
    reference: float
    ratio: float
    more: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> str:
        """The one line that programs read."""
        figures = {
            "value": self.value,
            "unit": self.unit,
            "reference": self.reference,
            "ratio": self.ratio,
            **self.more,
        }
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}
        return json_.dumps({"name": self.name, **rounded})


def run(name: str, json: bool = False, orders: int | None = None) -> int:
    """Runs one bench, or `all`; prints a table, and with `json` one object per bench, the last line of the output."""
    if name != "all" and name not in BENCHES:
        raise BenchError(f"There is no bench {name!r}; there are {', '.join(BENCHES)} and all.")
    console = Console(stderr=True)
    figures = []
    for each in BENCHES if name == "all" else [name]:
        with Bench(console, orders or GROWN) as bench:
            figures.append(BENCHES[each](bench))
    if json:
        for figure in figures:
            print(figure.as_json(), flush=True)
    else:
        _print_table(figures)
    return 0


# ------------------------------------------------------------------ the benches


def single(bench: "Bench") -> Figure:
    """One top-up a request: against the naive version, and against an echo on the same cores."""
    naive = bench.naive()
    echo = bench.echo()
    with bench.serving() as server:
        at_64 = bench.leg("refill, 64 connections", server, bench.load(64))
        at_256 = bench.leg("refill, 256 connections", server, bench.load(256))
        memory = server.memory_mb()
    return Figure(
        "single",
        at_256.per_s,
        "top-ups/s",
        naive.per_s,
        at_256.per_s / naive.per_s,
        {
            "echo_per_s": echo.per_s,
            "echo_ratio": at_256.per_s / echo.per_s,
            "p50_ms_at_64": at_64.p50_ms,
            "p99_ms_at_64": at_64.p99_ms,
            "p50_ms_at_256": at_256.p50_ms,
            "p99_ms_at_256": at_256.p99_ms,
            "per_s_at_64": at_64.per_s,
            "naive_p99_ms": naive.p99_ms,
            "memory_mb": memory,
        },
    )


def bulk(bench: "Bench") -> Figure:
    """A thousand top-ups a request: against the naive version, and against the same batches straight into storage."""
    naive = bench.naive()
    with bench.serving() as server:
        sent = bench.leg("refill, bulks of 1,000", server, bench.bulk_load())
        memory = server.memory_mb()
    storage = bench.storage()
    return Figure(
        "bulk",
        sent.per_s,
        "top-ups/s",
        naive.per_s,
        sent.per_s / naive.per_s,
        {
            "storage_per_s": storage,
            "storage_ratio": sent.per_s / storage,
            "p50_ms": sent.p50_ms,
            "p99_ms": sent.p99_ms,
            "memory_mb": memory,
        },
    )


def bulk_csv(bench: "Bench") -> Figure:
    """A file of 10^5 top-ups (or --orders) until the last is delivered: against bulks of a thousand on the same server.

    Then the same once more, the server killed half-way and started again: every row is sold once.
    """
    rows = min(bench.orders, FILE_ROWS)
    with bench.serving("working") as server:
        sent = bench.leg("refill, bulks of 1,000", server, bench.bulk_load())
        whole = bench.file(server, rows)
    killed = bench.killed_file(rows)
    per_s = rows / whole.seconds
    more = {"seconds": whole.seconds, "upload_s": whole.upload_s, "seconds_with_a_kill": killed.seconds, "rows": rows}
    return Figure("bulk-csv", per_s, "top-ups/s", sent.per_s, per_s / sent.per_s, more)


def growth(bench: "Bench") -> Figure:
    """Single top-ups after 10^6 orders over 400 days (or --orders), against the same after 10^4."""
    young = _at_age(bench, YOUNG, "refill, 10^4 orders")
    grown = _at_age(bench, bench.orders, f"refill, {bench.orders:,} orders")
    return Figure(
        "growth",
        grown[0].per_s,
        "top-ups/s",
        young[0].per_s,
        grown[0].per_s / young[0].per_s,
        {
            "orders": bench.orders,
            "p99_ms": grown[0].p99_ms,
            "p99_ms_before": young[0].p99_ms,
            "old_replayed": grown[0].replayed,
            "memory_mb": grown[1],
        },
    )


def _at_age(bench: "Bench", orders: int, title: str) -> tuple[Outcome, float]:
    old = bench.grow(orders)
    with bench.serving() as server:
        return bench.leg(title, server, bench.load(256, old)), server.memory_mb()


def reconcile(bench: "Bench") -> Figure:
    """A firm's bill of 10^6 payments (or --orders) taken and matched: against the plain COPY of the same rows."""
    told = bench.reconcile()
    rows = bench.orders
    per_s, plain_per_s = rows / told["seconds"], rows / told["plain_s"]
    more = {"rows": rows, "seconds": told["seconds"], "memory_mb": told["memory_mb"]}
    return Figure("reconcile", per_s, "rows/s", plain_per_s, per_s / plain_per_s, more)


def prices(bench: "Bench") -> Figure:
    """A supplier's list of 10^5 rows shown and applied: against the plain COPY of the same rows."""
    told = bench.prices()
    seconds = told["preview_s"] + told["apply_s"]
    per_s, plain_per_s = PRICE_ROWS / seconds, PRICE_ROWS / told["plain_s"]
    return Figure(
        "prices", per_s, "rows/s", plain_per_s, per_s / plain_per_s, {"rows": PRICE_ROWS, "seconds": seconds, **told}
    )


def vouchers(bench: "Bench") -> Figure:
    """Scratch cards redeemed in batches: against the same rows one by one."""
    together, alone = bench.redeemed()
    return Figure("vouchers", together, "redemptions/s", alone, together / alone)


def suppliers(bench: "Bench") -> Figure:
    """Top-ups settled at suppliers that take ten seconds: against the same ones when they answer at once."""
    told = bench.at_suppliers()
    per_s, at_once = told.pop("per_s"), told.pop("at_once_per_s")
    return Figure("suppliers", per_s, "settled/s", at_once, per_s / at_once, told)


def routing(bench: "Bench") -> Figure:
    """Suppliers chosen for a batch of orders: against the same orders one by one."""
    in_batch, alone = bench.routed()
    return Figure("routing", in_batch, "us/order", alone, in_batch / alone)


BENCHES: dict[str, Callable[["Bench"], Figure]] = {
    "single": single,
    "bulk": bulk,
    "bulk-csv": bulk_csv,
    "growth": growth,
    "reconcile": reconcile,
    "prices": prices,
    "vouchers": vouchers,
    "suppliers": suppliers,
    "routing": routing,
}
NAMES = tuple(BENCHES)


# ------------------------------------------------------------------ the workbench


class Bench:
    """A stage with a market on it, opened at the first need; each leg gets a seed of its own, so that all keys are new."""

    def __init__(self, console: Console, orders: int) -> None:
        self.orders = orders
        self._console = console
        self._stage = Stage()
        self._seeds = itertools.count(secrets.randbits(32))
        self._market: tuple[str, str] | None = None  # the partner's id and key
        self._old = 0

    def __enter__(self) -> "Bench":
        self._stage.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.__exit__()

    def load(self, connections: int, old: list[tuple[str, str]] | None = None) -> Load:
        """Single top-ups."""
        _, bearer = self._open_market()
        return Load("single", 0, connections, LEG_S, bearer, seed.NUMBERS, next(self._seeds), 20_000, old=old or [])

    def bulk_load(self) -> Load:
        """A thousand in a request, four requests under way."""
        _, bearer = self._open_market()
        return Load("bulk", 0, BULK_CONNECTIONS, LEG_S, bearer, seed.NUMBERS, next(self._seeds), 60, rows=ROWS)

    def serving(self, kind: str = "refill") -> Any:
        """Our own server on the market."""
        self._open_market()
        return self._stage.serving(kind)

    def file(self, server: Serving, rows: int) -> files.Sent:
        """A file of so many rows, from its first byte to its last top-up."""
        _, bearer = self._open_market()
        told = files.send(server.port, bearer, files.written(rows, next(self._seeds)))
        told = files.wait(server.port, bearer, told)
        self._told(f"a file of {rows:,}", told, rows)
        return told

    def killed_file(self, rows: int) -> files.Sent:
        """The same with a server that is killed half-way and started again. Raises BenchError for a row sold twice."""
        partner_id, bearer = self._open_market()
        before = self._in_house(lambda house: files.sold(house, partner_id))
        with self.serving("working") as server:
            told = files.send(server.port, bearer, files.written(rows, next(self._seeds)))
            told = files.wait(server.port, bearer, told, until=rows // 2)
            os.kill(server.pid, signal.SIGKILL)
        with self.serving("working") as server:
            told = files.wait(server.port, bearer, told)
        self._told(f"a file of {rows:,}, killed half-way", told, rows)
        after = self._in_house(lambda house: files.sold(house, partner_id))
        if told.accepted != rows or after - before != rows * files.FACE.minor:
            raise BenchError(f"{told.accepted:,} of {rows:,} rows were accepted, and {after - before:,} were taken.")
        return told

    def _told(self, title: str, told: files.Sent, rows: int) -> None:
        self._console.print(f"{title:32} {rows / told.seconds:10,.0f}/s   {told.seconds:.1f} s", highlight=False)

    def leg(self, title: str, server: Serving, load: Load) -> Outcome:
        """One measured leg, told on the console as it ends."""
        outcome = server.under(load)
        self._console.print(
            f"{title:32} {outcome.per_s:10,.0f}/s   p50 {outcome.p50_ms:7.1f} ms   p99 {outcome.p99_ms:7.1f} ms",
            highlight=False,
        )
        return outcome

    def naive(self) -> Outcome:
        """The naive version at 256 connections, on a database of its own in the same PostgreSQL."""
        if not BENCHMARKS.is_dir():
            raise BenchError(
                "The naive reference lies in the folder benchmarks/ of the source; run this in a checkout."
            )
        bearer = "naive_" + secrets.token_hex(16)
        self._stage.postgres.ensure_database("naive")
        where = self._stage.where("naive", bearer)
        self._stage.run_python("naive.serve", where, "\n".join(seed.DIGITS))
        load = Load("single", 0, 256, LEG_S, bearer, seed.NUMBERS, next(self._seeds), 2_000, warm_up_s=3)
        with self._stage.serving("naive", **where) as server:
            return self.leg("naive, 256 connections", server, load)

    def echo(self) -> Outcome:
        """The raw ASGI echo at 256 connections."""
        load = Load("single", 0, 256, LEG_S / 2, "none", seed.NUMBERS, next(self._seeds), 60_000)
        with self._stage.serving("echo") as server:
            return self.leg("echo, 256 connections", server, load)

    def storage(self) -> float:
        """Top-ups per second when nothing is in front of `flow.place`."""
        partner_id, _ = self._open_market()
        per_s = float(self._stage.ask_python("refill.bench.storage", partner_id, str(ROWS), str(LEG_S)))
        self._console.print(f"{'straight into storage':32} {per_s:10,.0f}/s", highlight=False)
        return per_s

    def reconcile(self) -> dict[str, float]:
        """Seconds of taking a bill with as many rows, and of only copying them; the most memory it took."""
        self._stage.make_ours()
        told: dict[str, float] = json_.loads(self._stage.ask_python("refill.bench.reconcile", str(self.orders)))
        self._console.print(
            f"{'a bill of ' + format(self.orders, ','):32} {told['seconds']:10,.1f} s   plain COPY {told['plain_s']:7.1f} s"
            f"   {told['memory_mb']:,.0f} MB, of which {told['memory_before_mb']:,.0f} before",
            highlight=False,
        )
        return told

    def prices(self) -> dict[str, float]:
        """Seconds of showing and applying a supplier's list, again with changes, and as a spreadsheet."""
        self._stage.make_ours()
        told: dict[str, float] = json_.loads(self._stage.ask_python("refill.bench.prices", str(PRICE_ROWS)))
        self._console.print(
            f"{'a list of ' + format(PRICE_ROWS, ','):32} {told['preview_s']:10,.1f} s shown, {told['apply_s']:.1f} s applied"
            f"   plain COPY {told['plain_s']:7.1f} s",
            highlight=False,
        )
        return told

    def redeemed(self) -> tuple[float, float]:
        """Scratch cards redeemed per second, in batches and one by one, when nothing is in front of `flow.redeem`."""
        self._open_market()
        together, alone = map(float, self._stage.ask_python("refill.bench.vouchers", str(ROWS), str(LEG_S)).split())
        for title, per_s in (("vouchers, 1,000 in a call", together), ("vouchers, one by one", alone)):
            self._console.print(f"{title:32} {per_s:10,.0f}/s", highlight=False)
        return together, alone

    def at_suppliers(self) -> dict[str, float]:
        """What a worker holds and settles at slow suppliers, and at quick ones."""
        self._stage.make_ours()
        told: dict[str, float] = json_.loads(
            self._stage.ask_python("refill.bench.suppliers", str(3 * LEG_S)).splitlines()[-1]
        )
        self._console.print(
            f"{'suppliers that take 10 s':32} {told['per_s']:10,.0f}/s   {told['in_flight']:,.0f} calls in flight"
            f"   {told['memory_mb']:,.0f} MB   at once {told['at_once_per_s']:,.0f}/s",
            highlight=False,
        )
        return told

    def routed(self) -> tuple[float, float]:
        """Microseconds for each order whose supplier is chosen, in a batch and one by one."""
        in_batch, alone = map(float, self._stage.ask_python("refill.bench.routing", str(LEG_S / 2)).split())
        self._console.print(f"{'routing':32} {in_batch:10,.1f} us   one by one {alone:7.1f} us", highlight=False)
        return in_batch, alone

    def grow(self, orders: int) -> list[tuple[str, str]]:
        """Brings the market to a life of that many orders; returns some of them, to be asked for again."""
        partner_id, _ = self._open_market()

        async def fill(house: House) -> list[tuple[str, str]]:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            pool = await Pool(house.dsn, size=1, scans=True).open()
            try:
                with Progress(*columns, console=self._console, transient=True) as progress:
                    task = progress.add_task("writing orders", total=orders - self._old)
                    await preload.fill(
                        house, pool, partner_id, self._old, orders, lambda done: progress.update(task, completed=done)
                    )
                return await preload.name_some(house, pool, partner_id, orders)
            finally:
                await pool.close()

        old = self._in_house(fill)
        self._old = orders
        self._stage.settle(*seed.TABLES, *preload.TABLES)
        return old

    def _open_market(self) -> tuple[str, str]:
        if self._market is None:
            self._stage.make_ours()
            self._market = self._in_house(seed.open_market)
            self._stage.settle(*seed.TABLES)
        return self._market

    def _in_house(self, work: Callable[[House], Coroutine[Any, Any, T]]) -> T:
        async def inside() -> T:
            async with opened(seed.settings(), os.environ["BENCH_DSN"]) as house:
                return await work(house)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(inside())


def _print_table(figures: list[Figure]) -> None:
    table = Table("bench", "value", "unit", "reference", "ratio", "beside it")
    for figure in figures:
        beside = "  ".join(
            f"{name} {value:,.2f}" if isinstance(value, float) else f"{name} {value:,}"
            for name, value in figure.more.items()
        )
        table.add_row(
            figure.name, f"{figure.value:,.0f}", figure.unit, f"{figure.reference:,.0f}", f"{figure.ratio:.2f}", beside
        )
    Console(file=sys.stdout).print(table)
