"""Many seeded days, planted bugs in pairs, and the lock storm: minutes of what the quick tests sample."""

import os
import subprocess
import sys

SEEDS = int(os.environ.get("SEEDS", "1500"))
START = 1000  # the quick tests live the first days


def simulate(*options: str) -> list[str]:
    """What `refill simulate` says, line by line; it must end well."""
    ran = subprocess.run([sys.executable, "-m", "refill", "simulate", *options], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-4000:]
    return ran.stdout.splitlines()


def test_no_cent_is_lost_on_many_days() -> None:
    last = simulate("--seeds", str(SEEDS), "--start", str(START))[-1]
    assert last.startswith(f"{SEEDS} seeds, ") and last.endswith(" 0 failures")


def test_bugs_that_could_hide_each_other_are_found() -> None:
    found, _, all_of_them, *_ = simulate("--pairs")[-1].split()
    assert found == all_of_them


def test_sixteen_connections_at_once_leave_the_book_clean() -> None:
    assert simulate("--storm", "--seconds", "60")[-1].endswith(" 0 findings")
