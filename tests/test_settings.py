"""Nothing set runs; something set wrongly is named in one sentence; a key that others may read is refused."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from refill.app import port_settings
from refill.errors import BadInput
from refill.payments import methods_by_name
from refill.settings import Settings, SettingsError, default_data_dir, read_secret, read_settings


def settings(tmp_path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    return read_settings({"REFILL_DATA_DIR": str(tmp_path), **(environ or {})}, port_settings())


def test_with_nothing_set_it_runs_on_this_machine_with_simulators() -> None:
    found = read_settings({"PATH": "/bin", "HOME": "/home/me"})
    assert (found.embedded, found.simulators, found.workers, found.doors) == (True, True, True, "all")
    assert (found.host, found.port, found.public_url, found.secure) == (
        "127.0.0.1",
        8000,
        "http://127.0.0.1:8000",
        False,
    )
    assert found.payment_expiry_s == 900
    assert found.data_dir == default_data_dir({})


def test_the_command_line_wins_over_the_environment_and_none_is_not_given(tmp_path: Path) -> None:
    found = read_settings({"REFILL_PORT": "9000", "REFILL_HOST": "0.0.0.0"}, port=9100, host=None, data_dir=tmp_path)
    assert (found.port, found.host, found.public_url) == (9100, "0.0.0.0", "http://127.0.0.1:9100")
    assert found.data_dir == tmp_path
    assert found.master_key_file == tmp_path / "secrets" / "master.key"


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path) -> None:
    assert settings(tmp_path, {"REFILL_ALIPAY_GATEWAY": "", "REFILL_PORT": ""}).port == 8000


def test_the_embedded_database_gets_the_demo_unless_it_is_switched_off(tmp_path: Path) -> None:
    assert settings(tmp_path).demo
    assert not settings(tmp_path, {"REFILL_DATABASE_URL": "postgresql://me@db/refill"}).demo
    assert not settings(tmp_path, {"REFILL_DEMO": "off"}).demo


def test_a_supplier_brings_settings_of_its_own(tmp_path: Path) -> None:
    given = {"REFILL_HTTP_JSON_SUPPLIERS": "northtel", "REFILL_HTTP_JSON_NORTHTEL_URL": "https://n.example/"}
    assert settings(tmp_path, given).ports == {
        "http_json_suppliers": "northtel",
        "http_json_northtel_url": "https://n.example/",
    }


def test_settings_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings(tmp_path).port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REFILL_PORT", "eighty"),
        ("REFILL_PORT", "0"),
        ("REFILL_PORT", "65536"),
        ("REFILL_PORT", "８０００"),
        ("REFILL_PORT", "9" * 5000),
        ("REFILL_PAYMENT_EXPIRY_S", "-1"),
        ("REFILL_DOORS", "windows"),
        ("REFILL_WORKERS", "maybe"),
        ("REFILL_PUBLIC_URL", "refill.example"),
        ("REFILL_PUBLIC_URL", "https://[::1"),
        ("REFILL_PUBLIC_URL", "https://refill.example/?a=b"),
        ("REFILL_PUBLIC_URL", "javascript:alert(1)"),
        ("REFILL_ALIPAY_GATEWAY", "ftp://gateway.example"),
        ("REFILL_LOG_LEVEL", "loud"),
        ("REFILL_EGRESS_ALLOW", "10.0.0.5"),
        ("REFILL_EGRESS_ALLOW", "10.0.0.5:8443 fd00::5:443"),
        ("REFILL_EGRESS_ALLOW", "10.0.0.5:99999"),
        ("REFILL_EGRESS_ALLOW", ":443"),
        ("REFILL_HOST", "local\nhost"),
        ("REFILL_DATABASE_URL", "mysql://root:hunter2@db/refill"),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        settings(tmp_path, {name: value})
    sentence = str(wrong.value)
    assert sentence.startswith(name)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 250
    assert "hunter2" not in sentence


def test_places_of_our_own_network_are_allowed_by_name(tmp_path: Path) -> None:
    assert settings(tmp_path).allowed_places == frozenset()
    found = settings(tmp_path, {"REFILL_EGRESS_ALLOW": " 10.0.0.5:8443  [FD00::5]:443 "})
    assert found.allowed_places == {"10.0.0.5:8443", "[fd00::5]:443"}


def test_a_misspelt_setting_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no setting REFILL_PROT; did you mean REFILL_PORT\?"):
        settings(tmp_path, {"REFILL_PROT": "1"})
    with pytest.raises(SettingsError, match="no setting REFILL_XYZZY"):
        settings(tmp_path, {"REFILL_XYZZY": "1"})


def test_a_real_gateway_needs_all_of_its_identity(tmp_path: Path) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_text("a key")
    public.write_text("another")
    private.chmod(0o600)
    whole = {
        "REFILL_ALIPAY_GATEWAY": "https://gateway.example/gateway.do",
        "REFILL_ALIPAY_APP_ID": "2021000000000000",
        "REFILL_ALIPAY_SELLER_ID": "2088000000000000",
        "REFILL_ALIPAY_PRIVATE_KEY_FILE": str(private),
        "REFILL_ALIPAY_PUBLIC_KEY_FILE": str(public),
    }
    assert not settings(tmp_path, whole).simulators
    for name in list(whole)[1:]:
        with pytest.raises(BadInput, match=f"{name.removeprefix('REFILL_').lower()} is missing"):
            methods_by_name(settings(tmp_path, {**whole, name: ""}).ports)
    private.chmod(0o644)
    with pytest.raises(SettingsError, match="REFILL_ALIPAY_PRIVATE_KEY_FILE.*read by everybody"):
        settings(tmp_path, whole)
    private.chmod(0o600)
    with pytest.raises(SettingsError, match="REFILL_ALIPAY_PUBLIC_KEY_FILE: there is no file"):
        settings(tmp_path, {**whole, "REFILL_ALIPAY_PUBLIC_KEY_FILE": str(tmp_path / "none.pem")})


def test_the_master_key_is_made_once_and_is_for_us_alone(tmp_path: Path) -> None:
    ours = settings(tmp_path / "new")
    key = ours.master_key()
    assert len(key) == 32
    assert ours.master_key() == key == settings(tmp_path / "new").master_key()
    assert oct(ours.master_key_file.stat().st_mode & 0o777) == "0o600"
    assert oct(ours.secrets_dir.stat().st_mode & 0o777) == "0o700"
    assert os.listdir(ours.secrets_dir) == ["master.key"]


def test_a_master_key_that_others_can_read_or_that_is_no_key_is_refused(tmp_path: Path) -> None:
    ours = settings(tmp_path)
    ours.master_key()
    ours.master_key_file.chmod(0o644)
    with pytest.raises(SettingsError, match="REFILL_MASTER_KEY_FILE.*read by everybody"):
        ours.master_key()
    ours.master_key_file.chmod(0o600)
    ours.master_key_file.write_text("cut off")
    with pytest.raises(SettingsError, match="64 hexadecimal digits"):
        ours.master_key()
    with pytest.raises(SettingsError, match="cannot be read"):
        read_secret(tmp_path / "none", "master_key_file")


def test_secrets_are_not_shown_when_settings_are_printed(tmp_path: Path) -> None:
    found = settings(tmp_path, {"REFILL_DATABASE_URL": "postgresql://me:hunter2@db/refill"})
    assert "hunter2" not in repr(found)
