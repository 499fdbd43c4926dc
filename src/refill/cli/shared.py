"""What commands share: where the data is, the settings, an engine without doors, a progress bar."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from refill.settings import Settings, read_settings

T = TypeVar("T")

Data = Annotated[Path | None, Parameter(name="--data", help="Folder of the embedded database and secrets.")]
Port = Annotated[int | None, Parameter(name="--port", help="Port of the pages and the API.")]
Host = Annotated[str | None, Parameter(name="--host", help="Address to listen on.")]


def settings_of(data: Path | None = None, **overrides: object) -> Settings:
    """The settings of the environment and the command line."""
    from refill.app import port_settings

    return read_settings(os.environ, port_settings(), data_dir=data, **overrides)


def run_with(settings: Settings, what: Callable[[str], Coroutine[Any, Any, T]]) -> T:
    """Opens the database, runs `what` on an event loop, ends the database after it."""
    import uvloop

    from refill.app import database

    with database(settings) as dsn, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(what(dsn))


def in_house(settings: Settings, what: Callable[[Any], Awaitable[T]]) -> T:
    """Runs `what` with an engine that has no doors; it reaches the simulators that `refill up` plays."""
    from refill.app import led, opened

    async def inside(dsn: str) -> T:
        async with opened(settings, dsn, led(settings)) as house:
            return await what(house)

    return run_with(settings, inside)


def progress_bar() -> Progress:
    """A progress bar on standard error, for people only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)
