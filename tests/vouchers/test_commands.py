"""`refill vouchers …`: a batch from the printer to the shop, as staff types it."""

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
    """Runs a command on a database of its own, in a folder that the server's own user may enter: (exit code, what it said)."""
    home = Path(tempfile.mkdtemp(prefix="refill-vouchers-", dir=MEMORY if MEMORY.is_dir() else None))
    home.chmod(0o755)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REFILL_")}

    def run(*words: str) -> tuple[int, str]:
        ran = subprocess.run(
            [sys.executable, "-m", "refill", "vouchers", *words],
            capture_output=True,
            text=True,
            env=ours | {"REFILL_DATA_DIR": str(home / "data"), "REFILL_SIMULATORS": "no"},
            timeout=60,
        )
        return ran.returncode, ran.stdout + ran.stderr

    yield run
    shutil.rmtree(home, ignore_errors=True)


def test_a_batch_is_made_sold_and_withdrawn(refill: Refill, tmp_path: Path) -> None:
    file = tmp_path / "pins.csv"
    ten = (str(file), "--count", "10", "--value", "50.00", "--expires")
    assert refill("generate", *ten, "tomorrow") == (1, "refill: 'tomorrow' is not a day; write it as 2027-12-31.\n")
    code, said = refill("generate", *ten, "2099-12-31")
    made = re.fullmatch(rf"(v\w{{6}})-0000001 to v\w{{6}}-0000010: 10 of 50.00 CNY, in stock; PINs in {file}\n", said)
    assert code == 0 and made, said
    pins = re.findall(r"(?:\d{4}-){3}\d{4}", file.read_text())
    assert len(pins) == 10

    batch = made[1]
    sold = refill("activate", batch, "--last", "4", "--purse", "cash:office", "--paid", "196.00")
    assert sold == (0, f"4 vouchers of {batch} are active\n")
    gone = refill("void", batch, "--first", "9", "--why", "torn")
    assert gone == (0, f"2 vouchers of {batch} are withdrawn\n")
    nobodys = refill("void", "v0", "--why", "torn")
    assert nobodys == (1, "refill: There is no batch of that name.\n")
    listed = refill("list")
    assert listed == (0, f"{batch}  10 of 50.00 CNY, until 2099-12-31: 4 active  4 stock  2 void\n")
    assert not any(typed in said + listed[1] for typed in pins)
