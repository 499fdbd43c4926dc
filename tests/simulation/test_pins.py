"""Seeded days in which PINs are sold: they are given, and nothing is amiss."""

from refill.simulate.crew import Runner
from refill.simulate.pins import GIVEN

SEEDS = 12


def test_pins_are_given(dsn: str, days: Runner) -> None:
    given = 0
    for seed in range(SEEDS):
        assert days.live(seed).findings == []
        given += len(days.books.run(lambda tx: tx.rows(GIVEN)))
    assert given >= SEEDS // 2
