"""A worker's calls to suppliers that take ten seconds each: how many it holds, how much memory, and how many it settles.

`python -m refill.bench.suppliers SECONDS` runs the worker on the servers' core against three suppliers on the wire
`http_json`, served by a process of their own, and prints what it measured as JSON; the reference are the same suppliers
when they answer at once. `… serve SLOW` is that process.
"""

import asyncio
import json
import os
import random
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import uvloop

from refill.app import House, new_partner, opened, port_settings, settle_memory
from refill.bench.seed import FLOAT
from refill.catalogue.offers import Supply
from refill.catalogue.routing import Limits, Routing
from refill.db import Statement
from refill.money import Money
from refill.numbers import Msisdn, number_id
from refill.settings import read_settings
from refill.simulators.operator import OperatorSimulator
from refill.simulators.serve import listen, serving, surroundings
from refill.topup import Ask, Order, Worker, flow

NAMES = ("northtel", "southtel", "easttel")
OPERATORS = {"cmcc": "138", "cunicom": "186", "ctcc": "189"}
SECRET = "a secret of the bench"  # noqa: S105
FACE = Money(5_000, "CNY")
IN_FLIGHT = 6_000
PLACES = 2_500  # of each supplier
FASTEST = 700  # a second: no more orders than that are placed for a leg
TAKES_S = 10  # the trouble `slow` of the simulator
ROWS = 1_000

SETTLED = Statement("""
    -- What a leg has settled so far
    SELECT coalesce(sum(count), 0)::bigint FROM topup_pulse WHERE minute >= :since AND outcome = 'done'
""")


# ------------------------------------------------------------------ the suppliers


async def serve(slow: bool) -> None:
    """Serves the suppliers until standard input ends; prints their ports."""
    async with surroundings(random.Random(1)) as around, AsyncExitStack() as stack:
        ports = []
        for name in NAMES:
            far = OperatorSimulator(
                **around, secret=SECRET.encode(), name=name, float_minor=10**14, cost_per_mille=980, by_suffix={},
                chances={"slow": 1.0} if slow else {},
            )  # fmt: skip
            listening = listen()
            listening.listen(8_192)
            ports.append(listening.getsockname()[1])
            await stack.enter_async_context(serving(far, listening))
        print(json.dumps(ports), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def far_ends(slow: bool) -> AsyncIterator[list[int]]:
    """The process that serves them."""
    command = [sys.executable, "-m", "refill.bench.suppliers", "serve", str(int(slow))]
    environment = {name: value for name, value in os.environ.items() if name != "BENCH_CORE"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=environment)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


# ------------------------------------------------------------------ the worker


@asynccontextmanager
async def house_with(ports: list[int]) -> AsyncIterator[House]:
    """The product's own engine with these suppliers; each delivers every network."""
    told = {"REFILL_HTTP_JSON_SUPPLIERS": " ".join(NAMES)}
    for name, port in zip(NAMES, ports, strict=True):
        stem = f"REFILL_HTTP_JSON_{name.upper()}"
        told |= {f"{stem}_URL": f"http://127.0.0.1:{port}", f"{stem}_SECRET": SECRET}
        told |= {f"{stem}_DEDUPS": "yes", f"{stem}_NOT_FOUND_FINAL_S": "300"}
    settings = read_settings(
        told, port_settings(), data_dir=os.environ["BENCH_HOME"], database_url=os.environ["BENCH_DSN"],
        simulators=False, demo=False, workers=False,
    )  # fmt: skip
    async with opened(settings, os.environ["BENCH_DSN"]) as house:
        shelf = house.trade.shelf
        every = {name: tuple(Supply(name, None, one, None, 9_800) for one in NAMES) for name in OPERATORS}
        limits = {name: Limits(most_in_flight=PLACES) for name in NAMES}
        shelf.catalogue = replace(shelf.catalogue, _supplies=every, routing=Routing(limits=limits))
        yield house


async def place(house: House, partner: str, count: int) -> None:
    """So many paid orders that are due."""
    dice = random.Random(count)
    for start in range(0, count, ROWS):
        asks = []
        for _ in range(min(ROWS, count - start)):
            operator = dice.choice(list(OPERATORS))
            msisdn = Msisdn(f"86{OPERATORS[operator]}{dice.randrange(10**8):08}")
            index = number_id(house.trade.vault, msisdn)
            id_ = flow.new_order_id(house.trade, index)
            asks.append(Ask(id_, f"partner:{partner}", "partner_api", msisdn, index, FACE, operator=operator))
        refused = [answer for answer in await flow.place(house.trade, asks) if not isinstance(answer, Order)]
        if refused:
            raise refused[0]


async def leg(slow: bool, seconds: float) -> dict[str, float]:
    """Works orders off for some seconds, after as long as a call takes; what was held and settled meanwhile."""
    async with far_ends(slow) as ports, house_with(ports) as house:
        partner, _ = await new_partner(house, f"Bench {'slow' if slow else 'quick'}", FLOAT)
        warm_up = 2.0 * TAKES_S if slow else 2.0
        await place(house, partner, int(FASTEST * (seconds + warm_up)))
        settle_memory()
        worker, stop = Worker(house.trade, in_flight=IN_FLIGHT), asyncio.Event()
        since = house.world.db_now().replace(second=0, microsecond=0)

        async def settled() -> int:
            return int(await house.pool.transaction(lambda tx: tx.value(SETTLED, since=since)))

        async def work() -> None:
            while not stop.is_set():
                await asyncio.sleep(0.01 if await worker.tick() else 0.05)

        working = asyncio.create_task(work())
        await asyncio.sleep(warm_up)
        before, began, held = await settled(), time.perf_counter(), []
        while time.perf_counter() - began < seconds:
            held.append(worker.flying)
            await asyncio.sleep(0.25)
        done, took = await settled() - before, time.perf_counter() - began
        stop.set()
        await working
        held.sort()
        return {
            "per_s": done / took,
            "in_flight": held[len(held) // 2],
            "most_in_flight": held[-1],
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


async def measure(seconds: float) -> dict[str, float]:
    """Both legs. The quick one comes first: what it leaves is only due, what the slow one leaves must be asked about."""
    quick = await leg(False, seconds / 2)
    slow = await leg(True, seconds)
    return {**slow, "at_once_per_s": quick["per_s"]}


def main() -> None:
    """Arguments: seconds; or `serve` and whether slowly."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if sys.argv[1] == "serve":
            runner.run(serve(sys.argv[2] == "1"))
            return
        if "BENCH_CORE" in os.environ:
            os.sched_setaffinity(0, {int(os.environ["BENCH_CORE"])})
        print(json.dumps(runner.run(measure(float(sys.argv[1])))))


if __name__ == "__main__":
    main()
