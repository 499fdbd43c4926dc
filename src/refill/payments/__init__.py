"""The shelf of payment methods: one file is one method, reached only through `method`, found here by name."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from refill.errors import BadInput
from refill.payments.method import (
    ABSENT,
    ALREADY_PAID,
    CLOSED,
    WAITING,
    AsksWho,
    BadStatement,
    Can,
    Capture,
    Charge,
    Dispute,
    Example,
    Invitation,
    Method,
    Notice,
    RawNotice,
    RefundAsk,
    SendsStatements,
    StatementLine,
)
from refill.settings import PortSetting

GROUP = "refill.payments"  # entry points of other people's packages: each names a module such as ours


def shelf() -> dict[str, ModuleType]:
    """Every file on the shelf by its NAME: ours, then other people's.

    A file defines `NAME`, `SETTINGS`, `from_settings(settings) -> Method | None` and
    `EXAMPLES() -> (Method, [Example, …])`.
    """
    files = [
        import_module(f"{__name__}.{file.name}") for file in pkgutil.iter_modules(__path__) if file.name != "method"
    ]
    files += [found.load() for found in entry_points(group=GROUP)]
    return {file.NAME: file for file in files}


def port_settings() -> dict[str, PortSetting]:
    """The settings that the methods on the shelf declare."""
    return {name: setting for file in shelf().values() for name, setting in file.SETTINGS.items()}


def methods_by_name(settings: Mapping[str, object]) -> dict[str, Method]:
    """The methods for which `settings` (lower-case names such as "alipay_app_id") say enough. Raises BadInput."""
    texts = {name: str(value) for name, value in settings.items() if value is not None}
    made: dict[str, Method] = {}
    for name, file in shelf().items():
        method = file.from_settings(texts)
        if method is not None:
            made[name] = method
        elif given := next((setting for setting in file.SETTINGS if texts.get(setting)), None):
            raise BadInput(f"The setting {next(iter(file.SETTINGS))} is missing; {name} needs it beside {given}.")
    return made


__all__ = [
    "ABSENT",
    "ALREADY_PAID",
    "CLOSED",
    "WAITING",
    "AsksWho",
    "BadStatement",
    "Can",
    "Capture",
    "Charge",
    "Dispute",
    "Example",
    "Invitation",
    "Method",
    "Notice",
    "RawNotice",
    "RefundAsk",
    "SendsStatements",
    "StatementLine",
    "methods_by_name",
    "port_settings",
    "shelf",
]
