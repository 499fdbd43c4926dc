"""Lists, limits and rates from the command line: told in a line, refused in a sentence, and never a whole number shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STORY = """
import sys
import refill.app
from refill.cli import cli

async def durable(tx):
    return []  # the tests' own database promises nothing over a power cut, and that is no part of this claim

refill.app.unsafe_settings = durable
from refill.errors import RefillError
for line in sys.stdin.read().splitlines():
    try:
        cli(line.split("|"))
    except RefillError as error:
        print("refused:", error)
    except SystemExit:
        pass
"""


def run(dsn: str, *commands: str) -> list[str]:
    """What the commands print, in one process for the sake of time; words are divided by bars."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REFILL_")}
    told = subprocess.run(
        [sys.executable, "-c", STORY],
        input="\n".join(commands),
        env=environment | {"REFILL_DATABASE_URL": dsn, "USER": "anna", "LOGNAME": "anna"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    assert "13800138000" not in told.stdout + told.stderr
    return told.stdout.splitlines()


def test_numbers_limits_and_rates_are_set_and_told(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    file = tmp_path / "rates.csv"
    file.write_text(
        "base,quote,rate,valid_from,valid_until,source\nUSD,CNY,7.2,2031-01-01T00:00:00Z,2031-01-02T00:00:00Z,bank\n"
    )
    told = run(
        dsn,
        "numbers|block|138 0013 8000|--why|case 17|--until|2031-01-01T00:00:00+08:00",
        "numbers|list",
        "numbers|lift|138 0013 8000|--why|a mistake",
        "numbers|lift|138 0013 8000|--why|a mistake",
        "numbers|allow|138001|--why|x",
        "numbers|block|138 0013 8000|--why|x|--until|tomorrow",
        "limits|add|--count|10|--amount|80.00|--currency|EUR|--why|their rule",
        "limits|list",
        "limits|add|--why|nothing",
        "limits|end|li_unknown",
        "rates|tell|USD|CNY|7.1834|--source|our bank",
        f"rates|import|{file}",
        "rates|import|/nowhere.csv",
        "rates|list",
    )
    assert told[0].startswith("138****8000 is refused (all) until 2031-01-01")
    assert told[1].startswith("block  138****8000     all") and told[1].endswith("anna: case 17")
    assert told[2].startswith("138****8000 is off the list")
    assert told[3] == "refused: This number is not listed there."
    assert told[4].startswith("refused: Name a whole number")
    assert told[5].startswith("refused: 'tomorrow' is not a time")
    limit_id = told[6].split()[0]
    assert told[7] == (
        f"{limit_id}  10 top-ups and 80.00 EUR a day (Asia/Shanghai) per number; fullest now: 0 top-ups, 0.00 EUR."
        " their rule"
    )
    assert told[8:10] == [
        "refused: A limit says how many, or how much.",
        "refused: There is no limit of that name in force.",
    ]
    assert told[10].startswith("1 USD is 7.1834 CNY from")
    assert told[11:13] == ["1 of 1 rates are new.", "refused: /nowhere.csv cannot be read: No such file or directory."]
    assert [line.split()[:2] for line in told[13:]] == [["USD/CNY", "7.2"], ["USD/CNY", "7.1834"]]
