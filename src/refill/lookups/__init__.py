"""The shelf of look-ups: one file is one stranger who knows whose a number is, reached only through `lookup`."""

import pkgutil
import re
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from refill.errors import BadInput
from refill.lookups.asking import Asker
from refill.lookups.lookup import Alive, Example, Lookup, Whose
from refill.settings import PortSetting

GROUP = "refill.lookups"  # entry points of other people's packages: each names a module such as ours
_NOT_LOOKUPS = {"lookup", "asking"}  # the port, and who asks through it

SETTINGS = {
    "lookup_networks": PortSetting(
        "text", "networks of operators that you sell, as look-ups name them (MCC and MNC): `23415=vodafone_uk`"
    ),
    "lookup_warns": PortSetting(
        "text", "operators for whose numbers a payer is warned when nobody has the number: `cmcc cunicom`"
    ),
}


def shelf() -> dict[str, ModuleType]:
    """Every file on the shelf by its NAME: ours, then other people's.

    A file defines `NAME`, `SETTINGS`, `from_settings(settings) -> list[Lookup]` and `EXAMPLES() -> (Lookup, [Example, …])`.
    """
    ours = (file.name for file in pkgutil.iter_modules(__path__) if file.name not in _NOT_LOOKUPS)
    files = [import_module(f"{__name__}.{name}") for name in ours]
    files += [found.load() for found in entry_points(group=GROUP)]
    return {file.NAME: file for file in files}


def port_settings() -> dict[str, PortSetting]:
    """The settings that the look-ups on the shelf declare, and those that all of them share."""
    return {name: setting for file in shelf().values() for name, setting in file.SETTINGS.items()} | SETTINGS


def asker(settings: Mapping[str, object]) -> Asker:
    """The look-ups for which `settings` say enough, ready to be asked. Raises BadInput."""
    texts = {name: str(value) for name, value in settings.items() if value is not None}
    lookups = [lookup for file in shelf().values() for lookup in file.from_settings(texts)]
    networks = {}
    for pair in texts.get("lookup_networks", "").replace(",", " ").split():
        if not re.fullmatch(r"[0-9]{5,6}=[a-z][a-z0-9_]{0,39}", pair):
            raise BadInput(f"The setting lookup_networks holds {pair[:60]!r}; write 23415=vodafone_uk.")
        network, _, operator = pair.partition("=")
        networks[network] = operator
    return Asker(lookups, networks, frozenset(texts.get("lookup_warns", "").replace(",", " ").split()))


__all__ = ["Alive", "Asker", "Example", "Lookup", "Whose", "asker", "port_settings", "shelf"]
