"""The examples run: every command of the partner's guide, and those of the README, against a real `refill up`."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from refill.cli import cli
from refill.simulators import receiver

ROOT = Path(__file__).resolve().parents[2]
REFILL = Path(sys.executable).with_name("refill")
EXAMPLE = re.compile(r"^```bash\n(.*?)^```\n(?:\n```http\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
PATIENCE_S = 15.0


@dataclass(frozen=True)
class Running:
    """A `refill up` of this run."""

    data: Path
    url: str
    key: str
    receiver: str


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    # The database's own system user must be able to enter, so this is no private folder.
    data = Path(tempfile.mkdtemp(prefix="refill-docs-", dir="/tmp"))
    data.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [REFILL, "up", "--data", data, "--port", str(port)], stdout=subprocess.PIPE, text=True, env=_environment()
    )
    try:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Refill is ready"):
                break
        key = re.search(r"rk_live_\w+", "".join(said))
        assert key is not None, "".join(said)
        yield Running(data, f"http://127.0.0.1:{port}", key[0], f"http://127.0.0.1:{port + receiver.PORT}")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(data, ignore_errors=True)


def _environment(**more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REFILL_")}
    return ours | {"PATH": f"{REFILL.parent}:{os.environ['PATH']}"} | more


def _bash(script: str, running: Running) -> str:
    script = script.replace("http://127.0.0.1:8000", running.url).replace("rk_live_…", running.key)
    script = script.replace("http://127.0.0.1:8013", running.receiver)
    environment = _environment(REFILL=running.url, KEY=running.key)
    ran = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, env=environment, timeout=30)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(("guide", "least"), [("partner", 9), ("webhooks", 2)])
def test_a_guide_runs_as_it_stands(running: Running, guide: str, least: int) -> None:
    examples = EXAMPLE.findall((ROOT / f"docs/guides/{guide}.md").read_text("utf-8"))
    assert len(examples) >= least
    for script, expected in examples:
        assert expected, f"no answer stands below:\n{script}"
        until = time.monotonic() + PATIENCE_S
        # Only the last command is asked again: reading may be early, writing is said once.
        said = _bash(script, running)
        last = "curl" + script.rpartition("curl")[2]
        while (wrong := difference(said, expected)) and " -d " not in last and time.monotonic() < until:
            time.sleep(0.2)
            said = _bash(last, running)
        assert wrong == "", f"{script}\n{wrong}\n{said}"


def test_the_readmes_example_runs_as_it_stands(running: Running) -> None:
    scripts = [script for script, _ in EXAMPLE.findall((ROOT / "README.md").read_text("utf-8")) if "curl" in script]
    assert scripts
    for script in scripts:
        assert json.loads(_bash(script, running))["status"] == "succeeded"


CARDS = """\
iccid,imsi,kind,k,opc,msisdn
89869910000000000001,460991000000001,USIM,00112233445566778899aabbccddeeff,ffeeddccbbaa99887766554433221100,+8619900001000
8986991000000000019,460991000000002,USIM,00112233445566778899aabbccddeeff,ffeeddccbbaa99887766554433221100,+8619900001001
"""


def test_the_operators_guide_imports_cards(running: Running, tmp_path: Path) -> None:
    guide = (ROOT / "docs/guides/operator.md").read_text("utf-8")
    assert "refill cards import cards.csv" in guide
    shown = re.findall(r"^```csv\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
    assert [CARDS.startswith(part) for part in shown] == [True]
    (tmp_path / "cards.csv").write_text(CARDS)
    ran = subprocess.run(
        [sys.executable, "-m", "refill", "cards", "import", tmp_path / "cards.csv"],
        capture_output=True,
        text=True,
        env=_environment(REFILL_DATA_DIR=str(running.data)),
    )
    assert ran.returncode == 0, ran.stderr
    refused, added = ran.stdout.splitlines()
    assert refused.startswith("line 3: refused")  # its check digit is wrong
    assert added == "1 of 2 cards added"


def test_the_readme_lists_every_command() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `refill (\w+)", readme, re.MULTILINE))
    assert listed == {name for name in cli if not name.startswith("-")}


def difference(said: str, expected: str) -> str:
    """What an answer lacks of the one in the page: status, the headers named, and the body, in which … stands for anything."""
    status, headers, body = answer(said)
    wanted_status, wanted_headers, wanted_body = answer(expected)
    if status != wanted_status:
        return f"{status} instead of {wanted_status}"
    for name, value in wanted_headers.items():
        if headers.get(name) != value:
            return f"{name}: {headers.get(name)} instead of {value}"
    return unlike(json.loads(body), json.loads(wanted_body))


def answer(text: str) -> tuple[str, dict[str, str], str]:
    head, _, body = text.replace("\r", "").partition("\n\n")
    status, *lines = head.splitlines() or [""]
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return status, headers, body


def unlike(said: Any, wanted: Any, at: str = "") -> str:
    if isinstance(said, dict) and isinstance(wanted, dict):
        if set(said) != set(wanted):
            return f"{at} has {sorted(set(said) ^ set(wanted))} on one side only"
        return next((wrong for name in wanted if (wrong := unlike(said[name], wanted[name], f"{at}.{name}"))), "")
    if isinstance(said, list) and isinstance(wanted, list):
        if len(said) != len(wanted):
            return f"{at} has {len(said)} rows instead of {len(wanted)}"
        return next((wrong for n, row in enumerate(wanted) if (wrong := unlike(said[n], row, f"{at}[{n}]"))), "")
    if wanted == "…" and said is not None:
        return ""
    if isinstance(said, str) and isinstance(wanted, str) and "…" in wanted:
        same = re.fullmatch(".+".join(map(re.escape, wanted.split("…"))), said)
        return "" if same else f"{at} is {said!r} instead of {wanted!r}"
    return "" if said == wanted else f"{at} is {said!r} instead of {wanted!r}"
