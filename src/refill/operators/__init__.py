"""The shelf of operators: one file is one supplier of credit, reached only through `supplier`, found here by name."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from refill.operators import terms
from refill.operators.supplier import (
    Delivery,
    Example,
    Flags,
    Priced,
    PriceLine,
    PriceList,
    Quarantined,
    ReadsStatements,
    Recharge,
    Reversal,
    Reverses,
    SendsStatements,
    Supplier,
    SupplierLine,
    SupplierNotice,
    TakenBack,
    TellsReversals,
)
from refill.operators.terms import Terms, terms_by_name
from refill.settings import PortSetting

GROUP = "refill.operators"  # entry points of other people's packages: each names a module such as ours
# The port, what is agreed beside it, and our own network, which answers inside our transaction.
_NOT_SUPPLIERS = {"supplier", "terms", "home"}


def shelf() -> dict[str, ModuleType]:
    """Every file on the shelf by its NAME: ours, then other people's.

    A file defines `NAME`, `SETTINGS`, `from_settings(settings) -> list[Supplier]` (one adapter may serve several
    suppliers) and `EXAMPLES() -> (Supplier, [Example, …])`.
    """
    ours = (file.name for file in pkgutil.iter_modules(__path__) if file.name not in _NOT_SUPPLIERS)
    files = [import_module(f"{__name__}.{name}") for name in ours]
    files += [found.load() for found in entry_points(group=GROUP)]
    return {file.NAME: file for file in files}


def port_settings() -> dict[str, PortSetting]:
    """The settings that the suppliers on the shelf declare, and those of what is agreed with each of them."""
    declared = {name: setting for file in shelf().values() for name, setting in file.SETTINGS.items()}
    return declared | terms.SETTINGS


def suppliers_by_name(settings: Mapping[str, object]) -> dict[str, Supplier]:
    """The suppliers for which `settings` (names such as "http_json_suppliers") say enough. Raises BadInput."""
    texts = {name: str(value) for name, value in settings.items() if value is not None}
    return {supplier.name: supplier for file in shelf().values() for supplier in file.from_settings(texts)}


__all__ = [
    "Delivery",
    "Example",
    "Flags",
    "PriceLine",
    "PriceList",
    "Priced",
    "Quarantined",
    "ReadsStatements",
    "Recharge",
    "Reversal",
    "Reverses",
    "SendsStatements",
    "Supplier",
    "SupplierLine",
    "SupplierNotice",
    "TakenBack",
    "TellsReversals",
    "Terms",
    "port_settings",
    "shelf",
    "suppliers_by_name",
    "terms_by_name",
]
