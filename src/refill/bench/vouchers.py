"""Scratch cards turned into credit on our own network: in batches, and the same rows one by one.

`python -m refill.bench.vouchers` runs on the servers' core, with two calls under way as a busy door has them, and prints
how many cards a second were redeemed either way.
"""

import asyncio
import csv
import os
import random
import sys
import time
from datetime import timedelta
from pathlib import Path

import uvloop

from refill import vouchers
from refill.app import House, opened, settle_memory
from refill.bench.seed import DIGITS, settings
from refill.money import Money
from refill.numbers import Msisdn, number_id
from refill.topup import Order, Redemption, flow
from refill.vouchers import Pin, Range, pin

LANES = 2
FACE = Money(5_000, "CNY")
FASTEST = 12_000  # a second: no more cards than that are made for a leg


async def scratched(house: House, count: int) -> list[Pin]:
    """So many cards, made, printed and sold as ever; their PINs are read off the print file."""
    world, path = house.world, Path(os.environ["BENCH_HOME"]) / f"{house.world.new_id('pf', 0)}.csv"
    batch = await vouchers.generate(
        house.pool,
        world,
        house.trade.vault,
        path,
        count=count,
        value=FACE,
        expires_at=world.db_now() + timedelta(days=365),
        who="bench",
    )
    every = Range(batch.code, 1, count)
    await house.pool.transaction(lambda tx: vouchers.activate(tx, world, every, purse="cash:bench", who="bench"))
    with path.open(encoding="ascii") as file:
        pins = [pin(row["pin"]) for row in csv.DictReader(file)]
    path.unlink()
    return pins


def typed(house: House, pins: list[Pin], dice: random.Random) -> list[Redemption]:
    """Each card by a person of their own, for somebody's number."""
    asked = []
    for one in pins:
        msisdn = Msisdn(dice.choice(DIGITS))
        index = number_id(house.trade.vault, msisdn)
        person = f"guest:{dice.getrandbits(64):016x}"
        id_ = flow.new_order_id(house.trade, index)
        asked.append(Redemption(id_, one, msisdn, index, person, "portal", by=(person,)))
    return asked


async def redeemed_per_s(house: House, rows: int, seconds: float, fastest: int) -> float:
    """Cards a second, `rows` of them in a call. Raises what refuses one."""
    dice = random.Random(os.getpid())
    asked = typed(house, await scratched(house, int(fastest * (seconds + 1))), dice)
    calls = [asked[start : start + rows] for start in range(0, len(asked), rows)]
    settle_memory()
    done = 0
    began = time.perf_counter()
    measure_from, until = began + 1, began + 1 + seconds

    async def lane() -> None:
        nonlocal done
        while calls and time.perf_counter() < until:
            answers = await flow.redeem(house.trade, calls.pop())
            if refused := [answer for answer in answers if not isinstance(answer, Order)]:
                raise refused[0]
            if measure_from <= time.perf_counter() <= until:
                done += len(answers)

    await asyncio.gather(*(lane() for _ in range(LANES)))
    return done / (min(time.perf_counter(), until) - measure_from)


async def measure(rows: int, seconds: float) -> tuple[float, float]:
    """In batches, and one by one."""
    async with opened(settings(), os.environ["BENCH_DSN"]) as house:
        return (
            await redeemed_per_s(house, rows, seconds, FASTEST),
            await redeemed_per_s(house, 1, seconds, FASTEST // 6),
        )


def main() -> None:
    """Arguments: rows of a batch, seconds of each leg."""
    if "BENCH_CORE" in os.environ:
        os.sched_setaffinity(0, {int(os.environ["BENCH_CORE"])})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(*runner.run(measure(int(sys.argv[1]), float(sys.argv[2]))))


if __name__ == "__main__":
    main()
