"""The test of the simulator itself: every bug that we plant into the engine is found."""

import pytest

from refill.simulate.crew import Runner
from refill.simulate.mutants import MUTANTS, PAIRS, SINGLES, planted

MOST = 60  # seeds; the slowest is found after about sixteen


@pytest.mark.parametrize("name", SINGLES)
def test_a_planted_bug_is_found(dsn: str, days: Runner, name: str) -> None:
    with planted([name]):
        assert any(days.live(seed).findings for seed in range(MOST)), MUTANTS[name].says


def test_a_masked_bug_is_hunted_together_with_the_one_that_takes_its_guard_away() -> None:
    masked = {name for name, mutant in MUTANTS.items() if mutant.masked}
    assert masked <= {name for pair in PAIRS for name in pair}


def test_nothing_stays_planted(dsn: str, days: Runner) -> None:
    with planted([*MUTANTS]):
        pass
    assert days.live(0).findings == []
