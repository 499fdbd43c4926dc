"""Every command can be reached, tells what it does, and the settings are told without their secrets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refill.cli import COMMANDS, cli

REFILL = Path(sys.executable).with_name("refill")


@pytest.mark.parametrize("name", [name for commands in COMMANDS.values() for name in commands])
def test_a_command_is_where_its_name_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli([name, "--help"])
    assert not ended.value.code
    assert name in capsys.readouterr().out


def test_the_settings_are_told_without_their_secrets(tmp_path: Path) -> None:
    secrets = {
        "REFILL_CARD_SECRET_KEY": "sk_hidden",
        "REFILL_HTTP_JSON_NORTHTEL_SECRET": "hidden too",
        "REFILL_DATABASE_URL": "postgresql://refill:hidden@db/refill",
    }
    plain = {"REFILL_ALIPAY_APP_ID": "2021000000000000", "REFILL_DATA_DIR": str(tmp_path)}
    told = subprocess.run(
        [REFILL, "settings"], env={"PATH": os.environ["PATH"], **secrets, **plain}, capture_output=True, text=True
    )
    assert told.returncode == 0
    assert "2021000000000000" in told.stdout
    assert "hidden" not in told.stdout + told.stderr


def test_a_wrong_setting_is_one_sentence_and_no_trace(tmp_path: Path) -> None:
    told = subprocess.run(
        [REFILL, "settings"],
        env={"PATH": os.environ["PATH"], "REFILL_DATA_DIR": str(tmp_path), "REFILL_WECHAT_PAY_MCHIT": "1"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 1
    assert told.stderr == "refill: There is no setting REFILL_WECHAT_PAY_MCHIT; did you mean REFILL_WECHAT_PAY_MCHID?\n"
