"""The same batches straight into storage: what the doors could reach if they cost nothing.

`python -m refill.bench.storage` runs on the servers' core with two batches under way, as the bulk door does, and prints
how many top-ups a second were placed.
"""

import asyncio
import gc
import os
import random
import sys
import time

import uvloop

from refill.app import House, opened
from refill.bench.seed import DIGITS, FLOAT, settings
from refill.errors import RefillError
from refill.money import Money
from refill.numbers import Msisdn, number_id
from refill.topup import Ask, Order, flow

LANES = 2
FACE = Money(5_000, FLOAT.currency)


def batch(house: House, partner_id: str, dice: random.Random, rows: int) -> list[Ask]:
    """Asks as the bulk door would make them, 2 % of them repeated."""
    asks: list[Ask] = []
    for n in range(rows):
        if asks and dice.random() < 0.02:
            asks.append(asks[-1])
            continue
        number = Msisdn(dice.choice(DIGITS))
        index = number_id(house.trade.vault, number)
        asks.append(
            Ask(
                flow.new_order_id(house.trade, index),
                f"partner:{partner_id}",
                "partner_api",
                number,
                index,
                FACE,
                key=f"{dice.getrandbits(96):024x} {n}",
                reference=f"{dice.getrandbits(64):016x}",
                commission_bp=0,
            )
        )
    return asks


async def measure(partner_id: str, rows: int, seconds: float) -> float:
    """Top-ups placed per second; batches are made before the clock runs."""
    async with opened(settings(), os.environ["BENCH_DSN"]) as house:
        dice = random.Random(os.getpid())
        prepared = [batch(house, partner_id, dice, rows) for _ in range(int(40_000 * (seconds + 1) / rows))]
        gc.freeze()
        placed = 0
        began = time.perf_counter()
        measure_from, until = began + 1, began + 1 + seconds

        async def lane() -> None:
            nonlocal placed
            while prepared and time.perf_counter() < until:
                asks = prepared.pop()
                answers: list[Order | RefillError] = await flow.place(house.trade, asks)
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
