"""Choosing suppliers for a batch of orders, and for the same orders one by one: processor time of each decision.

`python -m refill.bench.routing` prints microseconds an order, in a batch of 256 as the worker takes them, and one by one.
"""

import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from refill.catalogue.routing import Limits, Line, Maintenance, Route, Routing, Rule, Standing, Tried, Want, decide
from refill.money import Money

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
SUPPLIERS = [f"supplier{n}" for n in range(8)]
OPERATORS = ["cmcc", "cunicom", "ctcc", "cbn"]
FACES = [10, 20, 30, 50, 100, 200, 300, 500]
REGIONS = ["广东省深圳市", "北京市", "上海市", "四川省成都市", "江苏省南京市"]
PARTNERS = [f"pa_{n}" for n in range(50)]
BATCH = 256


def house_rules() -> Routing:
    """Forty rules, pauses and limits, as a busy reseller has them."""
    dice = random.Random(1)
    rules = [
        Rule(
            f"r{n}",
            dice.choice(("prefer", "only", "never", "never")),
            tuple(dice.sample(SUPPLIERS, dice.choice((1, 2, 5)))),
            operator=dice.choice((None, *OPERATORS)),
            region=dice.choice((None, None, "广东", "北京")),
            partner=dice.choice((None, None, None, dice.choice(PARTNERS))),
            least_minor=dice.choice((None, 10_000)),
            from_minute=dice.choice((None, 0)),
            to_minute=600,
        )
        for n in range(40)
    ]
    pauses = [Maintenance(name, None, NOW, NOW + timedelta(hours=1)) for name in SUPPLIERS[:2]]
    return Routing(tuple(rules), tuple(pauses), {name: Limits(most_tries=3) for name in SUPPLIERS[:4]})


def orders(count: int) -> list[Line]:
    """Orders of a day: four networks, eight faces, five regions, fifty partners; every tenth was refused once."""
    dice = random.Random(2)
    lines = []
    by_face = {
        face * 100: tuple(Route(name, Money(face * (970 + n) // 10, "CNY")) for n, name in enumerate(SUPPLIERS))
        for face in FACES
    }
    for _ in range(count):
        face = dice.choice(FACES) * 100
        routes = by_face[face]
        want = Want(
            dice.choice(OPERATORS), f"p{face}", face, "CNY", "partner_api", dice.choice(PARTNERS), dice.choice(REGIONS)
        )
        lines.append(Line(want, routes, {SUPPLIERS[3]: Tried(1, NOW)} if dice.random() < 0.1 else {}))
    return lines


def standings() -> dict[str, Standing]:
    """How the suppliers stand."""
    good = dict.fromkeys(OPERATORS, 9900)
    return {
        name: Standing(room=10**6, left_minor={"CNY": 10**12}, good_bp=good, typical_s=dict.fromkeys(OPERATORS, n))
        for n, name in enumerate(SUPPLIERS)
    }


def us_each(lines: list[Line], seconds: float, step: int) -> float:
    """Microseconds of processor time for each order, so many of them in a call."""
    routing, known = house_rules(), standings()
    return _timed(
        lambda: sum(len(decide(routing, lines[at : at + step], known, NOW)) for at in range(0, BATCH, step)), seconds
    )


def _timed(work: Callable[[], int], seconds: float) -> float:
    work()
    began, done = time.process_time(), 0
    while (took := time.process_time() - began) < seconds:
        done += work()
    return took / done * 1e6


def measure(seconds: float) -> tuple[float, float]:
    """In a batch, and one by one."""
    lines = orders(BATCH)
    return us_each(lines, seconds, BATCH), us_each(lines, seconds, 1)


if __name__ == "__main__":
    print(*measure(float(sys.argv[1])))
