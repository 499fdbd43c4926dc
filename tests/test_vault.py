"""What the vault keeps stays closed without its key, and opens only where it belongs."""

import os
import stat
from itertools import count
from pathlib import Path

import pytest

from refill.vault import BadKeyFile, NotOpened, Vault, create_key_file

MASTER = bytes(range(32))
vault = Vault(MASTER)


def test_equal_numbers_meet_and_kinds_do_not() -> None:
    assert vault.index("msisdn", "8613800138000") == Vault(MASTER).index("msisdn", "8613800138000")
    assert vault.index("msisdn", "8613800138000") != vault.index("voucher", "8613800138000")
    assert vault.index("msisdn", "8613800138000") != Vault(bytes(32)).index("msisdn", "8613800138000")


def test_an_index_is_sixteen_letters_that_survive_a_url() -> None:
    index = vault.index("msisdn", "8613800138000")
    assert len(index) == 16
    assert set(index) <= set("0123456789abcdefghjkmnpqrstvwxyz")


def test_an_index_made_today_is_found_in_ten_years() -> None:
    assert vault.index("msisdn", "8613800138000") == "ye090abkcwnm29sj"
    assert vault.digest("api_key", b"rk_live_x") == "22307002495d75a851f8d9b8a2505e53"


def test_a_digest_is_128_bits_of_the_content() -> None:
    assert len(vault.digest("request", b"a")) == 32
    assert vault.digest("request", b"a") != vault.digest("request", b"b")


def test_what_was_sealed_opens() -> None:
    assert vault.unseal("sim_keys", "8986", vault.seal("sim_keys", "8986", b"secret")) == b"secret"


def test_two_envelopes_of_one_secret_do_not_look_alike() -> None:
    assert vault.seal("sim_keys", "8986", b"secret") != vault.seal("sim_keys", "8986", b"secret")


def test_a_sealed_value_moved_to_another_row_does_not_open() -> None:
    sealed = vault.seal("sim_keys", "8986", b"secret")
    with pytest.raises(NotOpened):
        vault.unseal("sim_keys", "8987", sealed)
    with pytest.raises(NotOpened):
        vault.unseal("msisdn", "8986", sealed)
    with pytest.raises(NotOpened):
        Vault(bytes(32)).unseal("sim_keys", "8986", sealed)


@pytest.mark.parametrize("place", [1, 12, 13, -1])
def test_one_changed_byte_is_noticed(place: int) -> None:
    sealed = bytearray(vault.seal("sim_keys", "8986", b"secret"))
    sealed[place] ^= 1
    with pytest.raises(NotOpened):
        vault.unseal("sim_keys", "8986", bytes(sealed))


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01short", b"\x02" + bytes(40)])
def test_what_is_no_envelope_is_refused(sealed: bytes) -> None:
    with pytest.raises(NotOpened):
        vault.unseal("sim_keys", "8986", sealed)


def test_a_seeded_day_seals_the_same_bytes() -> None:
    def seeded() -> Vault:
        dice = count()
        return Vault(MASTER, nonce=lambda length: next(dice).to_bytes(length))

    assert seeded().seal("msisdn", "x", b"y") == seeded().seal("msisdn", "x", b"y")


def test_a_key_file_is_for_its_owner_only_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    create_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Vault.from_file(path).index("msisdn", "1") == Vault.from_file(path).index("msisdn", "1")
    with pytest.raises(FileExistsError):
        create_key_file(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_key_file_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    create_key_file(path)
    os.chmod(path, mode)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        Vault.from_file(path)


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "00" * 31, "00" * 33, "é" * 64])
def test_a_key_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "master.key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(BadKeyFile):
        Vault.from_file(path)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadKeyFile, match=r"nowhere\.key"):
        Vault.from_file(tmp_path / "nowhere.key")
    with pytest.raises(BadKeyFile):
        Vault(b"short")
