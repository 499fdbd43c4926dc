"""The same batches straight into storage: what the doors could reach if they cost nothing.

`python -m refill.bench.storage` runs on the servers' core with two batches under way, as the bulk door does, and prints
how many top-ups a second were placed.
"""

import asyncio
import os
import random
import sys
import time

import uvloop

from refill.app import opened, settle_memory
from refill.bench.load import BULKS_AGO
from refill.bench.seed import DIGITS, FLOAT, settings
from refill.money import Money
from refill.numbers import Msisdn, number_id
from refill.topup import Ask, BulkKey, Order, Trade, flow

LANES = 2
FACE = Money(5_000, FLOAT.currency)


Row = tuple[str, str]  # digits, reference


def bulks(dice: random.Random, rows: int, count: int) -> list[list[Row]]:
    """The contents of bulks as the door has them once they are read; 2 % are rows of an earlier one, asked for again."""
    made: list[list[Row]] = []
    again = round(rows * 0.02)
    for _ in range(count):
        bulk = [(dice.choice(DIGITS), f"r{dice.getrandbits(64):016x}") for _ in range(rows)]
        if len(made) >= BULKS_AGO:
            bulk[:again] = made[-BULKS_AGO][-again:]
        made.append(bulk)
    return made


def batch(trade: Trade, payer: str, rows: list[Row]) -> list[Ask]:
    """Asks as whoever calls the flow must make them: an ask is named in the storage's own terms, its cell and index."""
    asks = []
    key = BulkKey(trade.world.new_id("bk", 0), trade.vault.digest("content", repr(rows).encode()))
    for digits, reference in rows:
        number = Msisdn(digits)
        index = number_id(trade.vault, number)
        id_ = flow.new_order_id(trade, index)
        asks.append(Ask(id_, payer, "partner_api", number, index, FACE, reference=reference, commission_bp=0, bulk=key))
    return asks


async def measure(partner_id: str, rows: int, seconds: float) -> float:
    """Top-ups placed per second; what the rows hold is made up before the clock runs."""
    async with opened(settings(), os.environ["BENCH_DSN"]) as house:
        dice = random.Random(os.getpid())
        prepared = bulks(dice, rows, int(60_000 * (seconds + 1) / rows))
        prepared.reverse()
        settle_memory()
        placed = 0
        began = time.perf_counter()
        measure_from, until = began + 1, began + 1 + seconds

        async def lane() -> None:
            nonlocal placed
            while prepared and time.perf_counter() < until:
                asks = batch(house.trade, f"partner:{partner_id}", prepared.pop())
                answers = await flow.place(house.trade, asks)
                if refused := [answer for answer in answers if not isinstance(answer, Order)]:
                    raise refused[0]
                if measure_from <= time.perf_counter() <= until:
                    placed += len(answers)

        await asyncio.gather(*(lane() for _ in range(LANES)))
        return placed / (min(time.perf_counter(), until) - measure_from)


def main() -> None:
    """Arguments: partner's id, rows of a batch, seconds."""
    if "BENCH_CORE" in os.environ:
        os.sched_setaffinity(0, {int(os.environ["BENCH_CORE"])})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))


if __name__ == "__main__":
    main()
