"""Proof: seeded days of the shipped engine, and benches."""

from typing import Annotated

from cyclopts import Parameter


def simulate(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Seeded days of the shipped engine: `--seeds N --start S`, `--mutant NAME`, `--mutants`, `--storm`."""
    from refill.simulate.run import run

    return run(list(tokens))


def bench(name: str = "all", /, *, json: bool = False, orders: str | None = None) -> int:
    """Measures a ratio against a reference in the same run: single, bulk, growth, reconcile, prices … or all."""
    from refill.bench.run import run

    return run(name, json=json, orders=int(_number(orders)) if orders else None)


def _number(text: str) -> int:
    """1e7 and 10000000 are the same number of orders."""
    whole, _, zeros = text.lower().partition("e")
    return int(whole) * 10 ** int(zeros or 0)
