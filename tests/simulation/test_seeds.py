"""Whatever fails, in whatever order: when it heals, no cent is lost, nothing is given twice, and everything ends."""

import os
import subprocess
import sys

import pytest

from refill.simulate.crew import Runner

SEEDS = 200
CHUNK = 10


@pytest.mark.parametrize("start", range(0, SEEDS, CHUNK))
def test_no_cent_is_lost_on_these_days(dsn: str, days: Runner, start: int) -> None:
    failed = {}
    for seed in range(start, start + CHUNK):
        if findings := days.live(seed).findings:
            failed[seed] = findings[:5]
    assert failed == {}  # refill simulate --seed N --trace shows what happened


def test_one_seed_is_one_run_in_every_process() -> None:
    def told(jobs: int, hash_seed: int) -> str:
        command = [sys.executable, "-m", "refill", "simulate", "--seeds", "6", "--start", "900", "--jobs", str(jobs)]
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    first, second = told(1, 1), told(2, 2)
    assert first.startswith("digest ") and first.endswith(" 0 failures\n")
    assert first == second
