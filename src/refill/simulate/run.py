"""What `refill simulate` does: days, planted bugs, the storm; and how it tells."""

import argparse
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from refill.simulate.crew import Hunt, Lived, crew, hunt, live
from refill.simulate.mutants import MUTANTS, PAIRS, SINGLES

T = TypeVar("T")
SHOWN = 30  # lines of a failing seed's trace


def run(tokens: Sequence[str]) -> int:
    """What `refill simulate` does with its arguments; 0 when everything held, or every planted bug was found."""
    asked = _parser().parse_args(tokens)
    if asked.storm:
        from refill.simulate.storm import run as storm

        return storm(asked.seconds)
    if asked.mutants or asked.pairs:
        hunted = [(name,) for name in SINGLES] if asked.mutants else []
        return _hunt(hunted + (list(PAIRS) if asked.pairs else []), asked.start, asked.most, asked.jobs)
    if asked.mutant:
        return _hunt([tuple(asked.mutant.split("+"))], asked.start, asked.most, asked.jobs)
    if asked.seed is not None:
        return _live([asked.seed], asked.orders, 1, whole=asked.trace)
    return _live(range(asked.start, asked.start + asked.seeds), asked.orders, asked.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("refill simulate", description=run.__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many days")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="one day alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: everything that happened in it")
    parser.add_argument("--orders", type=int, default=20, help="clients a day")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes side by side")
    parser.add_argument("--mutant", metavar="NAME", type=_known, help="plant a bug, or several as a+b, and look for it")
    parser.add_argument("--mutants", action="store_true", help="every planted bug, one at a time")
    parser.add_argument("--pairs", action="store_true", help="pairs of planted bugs that could hide each other")
    parser.add_argument("--most", type=int, default=100, help="seeds in which a planted bug must be found")
    parser.add_argument("--storm", action="store_true", help="16 real connections at once instead of a simulated day")
    parser.add_argument("--seconds", type=float, default=20, help="how long the storm blows")
    return parser


def _known(names: str) -> str:
    for name in names.split("+"):
        if name not in MUTANTS:
            raise argparse.ArgumentTypeError(f"there is no mutant {name!r}; there are: {', '.join(MUTANTS)}")
    return names


def _live(seeds: Sequence[int], orders: int, jobs: int, *, whole: bool = False) -> int:
    lived: list[Lived] = []
    with crew(min(jobs, len(seeds))) as members:
        for one in _progress(members.each(live, ((seed, orders) for seed in seeds)), len(seeds), "days"):
            lived.append(one)
            if one.findings or whole:
                _show(one, whole)
    lived.sort(key=lambda one: one.seed)
    failures = sum(1 for one in lived if one.findings)
    together = hashlib.sha256("".join(one.digest for one in lived).encode()).hexdigest()
    print(f"digest {together[:32]}")
    print(f"{len(lived)} seeds, {sum(one.orders for one in lived)} orders, {failures} failures")
    return 1 if failures else 0


def _show(one: Lived, whole: bool) -> None:
    """A failing seed: its number, what does not hold, and what happened to the order that is named first."""
    print(f"seed {one.seed}:")
    for finding in one.findings[:8]:
        print(f"  {finding}")
    named = next((word for finding in one.findings for word in finding.split() if word.startswith("tu_")), "")
    lines = [line for line in one.trace if whole or (named and named[:27] in line)]
    for line in lines if whole else lines[:SHOWN]:
        print(f"    {line}")


def _hunt(hunted: Sequence[tuple[str, ...]], start: int, most: int, jobs: int) -> int:
    found = 0
    with crew(min(jobs, len(hunted))) as members:
        tasks = ((names, start, most) for names in hunted)
        for one in _progress(members.each(hunt, tasks), len(hunted), "mutants"):
            found += one.seeds is not None
            _tell(one)
    print(f"{found} of {len(hunted)} mutants found")
    return 0 if found == len(hunted) else 1


def _tell(one: Hunt) -> None:
    name = "+".join(one.names)
    if one.seeds is None:
        print(f"{name}: NOT found")
    else:
        print(f"{name}: found after {one.seeds} seeds ({one.findings[0][:100]})")


def _progress(things: Iterable[T], total: int, what: str) -> Iterator[T]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    yield from track(things, what, total, console=console, disable=not console.is_terminal)
