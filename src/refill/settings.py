"""All settings, read once; every one has a default that runs, and a wrong one is named in a sentence.

The setting `payment_expiry_s` is the environment's `REFILL_PAYMENT_EXPIRY_S`. With none set, `refill up` runs on this
machine with an embedded database and simulated partners.
"""

import contextlib
import difflib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args
from urllib.parse import urlsplit

import psycopg

from refill.errors import RefillError

PREFIX = "REFILL_"
Doors = Literal["all", "people", "machines"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class PortSetting:
    """A setting that a file on a shelf declares: its kind (text, secret, flag, url, file or secret_file) and what it says."""

    kind: str
    says: str


class SettingsError(RefillError):
    """A setting is unknown, or its value cannot be used; the sentence names it."""

    code: ClassVar[str] = "settings"
    status: ClassVar[int] = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this Refill runs. Made by `read_settings`; nobody else reads the environment."""

    data_dir: Path  # the embedded database, secrets, backups
    database_url: str | None = field(default=None, repr=False)  # None: the embedded database in `data_dir`
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""  # how customers and payment firms reach us; from host and port when not set
    doors: Doors = "all"
    workers: bool = True  # does this process carry out due work too?
    log_level: LogLevel = "info"
    master_key_file: Path  # 32 bytes that protect all other secrets

    ports: Mapping[str, str] = field(default_factory=dict, repr=False)  # what payment methods and suppliers declare

    simulators: bool = True  # on when no payment method and no supplier is set
    demo: bool = False  # put a shop to look at into the embedded database; off for a real business
    payment_expiry_s: int = 900
    egress_allow: str = ""  # places of our own network that webhooks may reach all the same: `10.0.0.5:8443 …`
    undo_s: int = 0  # how long a paid order waits before it is sent, so that the payer may undo it

    @property
    def allowed_places(self) -> frozenset[str]:
        """Where webhooks may go although it is not public."""
        return frozenset(self.egress_allow.split())

    @property
    def embedded(self) -> bool:
        """Do we bring our own database?"""
        return self.database_url is None

    @property
    def secure(self) -> bool:
        """Are we reached over TLS? Then cookies are for TLS only."""
        return self.public_url.startswith("https://")

    @property
    def secrets_dir(self) -> Path:
        """Where keys that we make ourselves are kept."""
        return self.data_dir / "secrets"

    def master_key(self, make: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
        """32 bytes; made on the first start. Without this file nothing that is sealed can be read again: back it up."""
        path = self.master_key_file
        if not path.exists():
            _write_secret(path, make(32).hex().encode() + b"\n")
        text = read_secret(path, "master_key_file").decode(errors="replace").strip()
        with contextlib.suppress(ValueError):
            if len(key := bytes.fromhex(text)) == 32:
                return key
        raise SettingsError(f"{PREFIX}MASTER_KEY_FILE: {path} must hold 64 hexadecimal digits.")


def read_settings(
    environ: Mapping[str, str], ports: Mapping[str, PortSetting] | None = None, **overrides: Any
) -> Settings:
    """The settings of this environment; `overrides` are the command line's, and None there means not given.

    `ports` are those that payment methods and suppliers declare, by name; a name that ends in `*` stands for many.
    """
    given: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)
    }
    given |= {name: value for name, value in overrides.items() if value is not None}
    declared = {name: kind for name in given if name not in READERS and (kind := _declared(name, ports or {}))}
    for name in given:
        if name not in READERS and name not in declared:
            raise SettingsError(_unknown(name, [*READERS, *(ports or {})]))
    of_ports = {name: PORT_READERS[kind](name, given.pop(name)) for name, kind in declared.items() if given[name] != ""}
    chosen = {name: READERS[name](name, value) for name, value in given.items() if value != "" and name in READERS}

    data_dir = chosen.setdefault("data_dir", default_data_dir(environ))
    chosen.setdefault("master_key_file", data_dir / "secrets" / "master.key")
    host, port = chosen.setdefault("host", "127.0.0.1"), chosen.setdefault("port", 8000)
    shown_host = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104
    chosen.setdefault("public_url", f"http://{shown_host}:{port}")
    chosen.setdefault("simulators", not of_ports)  # who has a real partner must never believe a simulated one
    chosen.setdefault("demo", "database_url" not in chosen)
    return Settings(**chosen, ports=of_ports)


def _declared(name: str, ports: Mapping[str, PortSetting]) -> str | None:
    """The kind of a shelf's setting; a supplier may bring several of one pattern: `http_json_*`."""
    if name in ports:
        return ports[name].kind
    return next((one.kind for stem, one in ports.items() if stem.endswith("*") and name.startswith(stem[:-1])), None)


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """`/var/lib/refill` for root, `~/.local/share/refill` for everybody else."""
    if os.geteuid() == 0:
        return Path("/var/lib/refill")
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "refill"


def read_secret(path: Path, setting: str) -> bytes:
    """The bytes of a file that only we may read; refused when others may too."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o007:
                raise SettingsError(
                    f"{_variable(setting)}: {path} can be read by everybody; chmod 600 it and start again."
                )
            return file.read(64 * 1024)
    except OSError as reason:
        raise SettingsError(f"{_variable(setting)}: {path} cannot be read: {reason.strerror}.") from reason


def _write_secret(path: Path, content: bytes) -> None:
    """Whole or not at all; when two processes start at once, both then read the same key."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o700)
        half = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(half, path)
        half.unlink()
    except OSError as reason:
        raise SettingsError(f"{PREFIX}MASTER_KEY_FILE: {path} cannot be written: {reason.strerror}.") from reason


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"There is no setting {_variable(name)}" + (f"; did you mean {_variable(near[0])}?" if near else ".")


def _text(name: str, value: Any) -> str:
    if any(ord(letter) < 32 for letter in str(value)):
        raise SettingsError(f"{_variable(name)} holds a control character.")
    return str(value).strip()


def _path(name: str, value: Any) -> Path:
    path = Path(_text(name, str(value))).expanduser()
    if not path.is_absolute():
        path = Path.cwd() / path
    return path


def _flag(name: str, value: Any) -> bool:
    word = str(value).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise SettingsError(f"{_variable(name)} must be on or off, not {str(value)!r}.")


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        typed = str(value).strip()
        if typed.isascii() and typed.isdigit() and len(typed) <= 12 and least <= int(typed) <= most:
            return int(typed)
        raise SettingsError(f"{_variable(name)} must be a whole number from {least} to {most}, not {typed[:40]!r}.")

    return read


def _one_of(words: tuple[str, ...]) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        word = str(value).strip().lower()
        if word in words:
            return word
        raise SettingsError(f"{_variable(name)} must be one of {', '.join(words)}, not {str(value)[:40]!r}.")

    return read


def _url(name: str, value: Any) -> str:
    typed = _text(name, value).rstrip("/")
    try:
        parts = urlsplit(typed)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise SettingsError(f"{_variable(name)} must be an address such as https://refill.example, not {typed[:80]!r}.")
    return typed


def _dsn(name: str, value: Any) -> str:
    typed = _text(name, value)
    try:
        psycopg.conninfo.conninfo_to_dict(typed)
    except psycopg.ProgrammingError:  # its text would repeat the password
        raise SettingsError(
            f"{_variable(name)} must be a PostgreSQL address: postgresql://user@host/database."
        ) from None
    return typed


def _file(name: str, value: Any) -> str:
    path = _path(name, value)
    if not path.is_file():
        raise SettingsError(f"{_variable(name)}: there is no file {path}.")
    return str(path)


def _secret_file(name: str, value: Any) -> str:
    path = _path(name, value)
    read_secret(path, name)
    return str(path)


def _places(name: str, value: Any) -> str:
    words = _text(name, value).lower().split()
    for word in words:
        host, _, port = word.rpartition(":")
        plain = ":" not in host or (host.startswith("[") and host.endswith("]"))
        if (
            not host
            or not plain
            or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536)
        ):
            raise SettingsError(
                f"{_variable(name)} names places as host:port, such as 10.0.0.5:8443, not {word[:80]!r}."
            )
    return " ".join(words)


PORT_READERS: dict[str, Callable[[str, Any], str]] = {
    "text": _text,
    "secret": _text,
    "flag": lambda name, value: "yes" if _flag(name, value) else "no",
    "url": _url,
    "file": _file,
    "secret_file": _secret_file,
}
READERS: dict[str, Callable[[str, Any], Any]] = {
    "data_dir": _path,
    "database_url": _dsn,
    "host": _text,
    "port": _whole(1, 65535),
    "public_url": _url,
    "doors": _one_of(get_args(Doors)),
    "workers": _flag,
    "log_level": _one_of(get_args(LogLevel)),
    "master_key_file": _path,
    "simulators": _flag,
    "demo": _flag,
    "payment_expiry_s": _whole(30, 7 * 86_400),
    "egress_allow": _places,
    "undo_s": _whole(0, 86_400),
}
assert set(READERS) | {"ports"} == {each.name for each in fields(Settings)}
