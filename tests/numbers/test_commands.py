"""`refill numbers operator`: what is known of a number, and a person's decision, as staff type it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Refill = Callable[..., tuple[int, str]]
MEMORY = Path("/dev/shm")


@pytest.fixture
def refill() -> Iterator[Refill]:
    """Runs the command on a database of its own, in a folder that the server's own user may enter."""
    home = Path(tempfile.mkdtemp(prefix="refill-numbers-", dir=MEMORY if MEMORY.is_dir() else None))
    home.chmod(0o755)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REFILL_")}

    def run(*words: str) -> tuple[int, str]:
        ran = subprocess.run(
            [sys.executable, "-m", "refill", "numbers", "operator", *words],
            capture_output=True,
            text=True,
            env=ours | {"REFILL_DATA_DIR": str(home / "data"), "REFILL_SIMULATORS": "no"},
            timeout=60,
        )
        return ran.returncode, ran.stdout + ran.stderr

    yield run
    shutil.rmtree(home, ignore_errors=True)


def test_a_number_is_looked_at_decided_and_left_to_the_other_sources_again(refill: Refill) -> None:
    number = "139 1234 5678"
    code, said = refill(number, "ctcc", "--why", "case 9", "--until", "2099-01-31T00:00:00+08:00")
    assert code == 0
    assert re.match(r"139\*{4}5678  ctcc  \(person since .* UTC\)\n", said), said
    assert "until 2099-01-30 16:00 UTC" in said and ": case 9" in said
    assert "139 1234 5678" not in said
    assert refill(number, "nobody", "--why", "x")[0] == 1
    code, said = refill(number, "--end")
    assert code == 0 and said.startswith("139****5678  cmcc  (prefix)\n"), said
    assert refill(number, "cbn", "--end")[1].startswith("refill: Name an operator, or say --end")
