"""The other ends of the wires, shipped with the product: each is a plain class with `handle`, its own clock and dice."""

import pkgutil
from importlib import import_module
from types import ModuleType

_NOT_FAR_ENDS = {"serve", "trouble", "network"}  # what they stand on, the trouble and the operator that they share


def shelf() -> dict[str, ModuleType]:
    """Every far end by its NAME.

    A file defines `NAME`; `PORT`, its offset behind Refill's own port; `leads(keep, url)`, the settings that lead Refill
    to it; and `plays(keep, url, product_url, around)`, the far end itself.
    """
    names = (file.name for file in pkgutil.iter_modules(__path__) if file.name not in _NOT_FAR_ENDS)
    files = [import_module(f"{__name__}.{name}") for name in names]
    return {file.NAME: file for file in sorted(files, key=lambda file: int(file.PORT))}


__all__ = ["shelf"]
