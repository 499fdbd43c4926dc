"""The shelf of dialects: one file answers as a foreign API does, for partners who bring a client that they have already."""

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from starlette.routing import BaseRoute, Mount

from refill.accounts import KeyRing
from refill.channels.dialects.desk import Desk, Submit
from refill.topup.trade import Trade

GROUP = "refill.dialects"  # entry points of other people's packages: each names a module such as ours
PATH = "/dialects/"


def shelf() -> dict[str, ModuleType]:
    """Every file on the shelf by its NAME: ours, then other people's. A file defines `NAME` and `routes(desk)`."""
    ours = (file.name for file in pkgutil.iter_modules(__path__) if file.name != "desk")
    files = [import_module(f"{__name__}.{name}") for name in ours]
    files += [found.load() for found in entry_points(group=GROUP)]
    return {file.NAME: file for file in files}


def routes(trade: Trade, keyring: KeyRing, submit: Submit) -> Sequence[BaseRoute]:
    """Everything under /dialects/{name}/. `submit` places asks, as the partner API's own batcher does."""
    desk = Desk(trade, keyring, submit)
    return [Mount(f"{PATH}{name}", routes=list(file.routes(desk))) for name, file in shelf().items()]


__all__ = ["PATH", "Desk", "Submit", "routes", "shelf"]
