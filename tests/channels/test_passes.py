"""A pass opens one thing, for one purpose, for a while; everything else about it is a closed door."""

from datetime import UTC, datetime, timedelta

import pytest

from refill.channels.machines.passes import read_pass, write_pass
from refill.errors import NotFound
from refill.vault import Vault

VAULT = Vault(b"k" * 32)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def test_a_pass_names_what_it_was_written_for_until_its_hour() -> None:
    text = write_pass(VAULT, "watch", "tu_0abc", LATER)
    assert read_pass(VAULT, "watch", text, NOON) == "tu_0abc"
    assert read_pass(VAULT, "watch", text, LATER - timedelta(seconds=1)) == "tu_0abc"
    with pytest.raises(NotFound, match="run out"):
        read_pass(VAULT, "watch", text, LATER)


@pytest.mark.parametrize(
    "changed",
    [
        lambda text: text.replace("0abc", "0abd"),
        lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),
        lambda text: text.replace(f"{int(LATER.timestamp()):x}", f"{int(LATER.timestamp()) + 9:x}"),
        lambda text: text + "\n",
        lambda text: text.upper(),
        lambda text: "",
        lambda text: "tu_0abc",
    ],
)
def test_a_changed_pass_opens_nothing(changed) -> None:
    with pytest.raises(NotFound):
        read_pass(VAULT, "watch", changed(write_pass(VAULT, "watch", "tu_0abc", LATER)), NOON)


def test_a_pass_is_good_for_one_purpose_and_one_house() -> None:
    text = write_pass(VAULT, "watch", "tu_0abc", LATER)
    with pytest.raises(NotFound):
        read_pass(VAULT, "receipt", text, NOON)
    with pytest.raises(NotFound):
        read_pass(Vault(b"o" * 32), "watch", text, NOON)
