"""Running: everything, the doors alone, a worker, the other end of a wire; and which settings are in force."""

import asyncio
import json
from pathlib import Path
from typing import Any

from refill.cli.shared import Data, Host, Port, in_house, run_with, settings_of
from refill.settings import Settings


def up(*, data: Data = None, port: Port = None, host: Host = None) -> None:
    """Starts everything: database, demonstration, simulators, worker, pages and API. Ctrl-C stops it in order."""
    from refill.app import up as run_up

    settings = settings_of(data, port=port, host=host)
    run_with(settings, lambda dsn: run_up(settings, dsn, _welcome))


def serve(*, data: Data = None, port: Port = None, host: Host = None, doors: str | None = None) -> None:
    """Serves the doors alone (`--doors people|machines|all`); run `refill work` beside it."""
    from refill.app import up as run_up

    settings = settings_of(data, port=port, host=host, doors=doors, workers=False, simulators=False, demo=False)
    run_with(settings, lambda dsn: run_up(settings, dsn, _say_ready))


def work(*, data: Data = None) -> None:
    """Works due orders off: sends, asks, settles, refunds, tells partners. Any number of workers may run."""
    from refill.app import House, labours, stop_on_signals

    async def run(house: House) -> None:
        stop = stop_on_signals()
        async with asyncio.TaskGroup() as group:
            for labour in labours(house, stop):
                group.create_task(labour)

    in_house(settings_of(data), run)


async def _welcome(house: Any, far: Any) -> None:
    from refill.app import demonstrate, fund_played_floats
    from refill.channels.people.staff import ensure_staff

    settings: Settings = house.settings
    if far is not None and settings.demo:
        await fund_played_floats(house)
    if settings.demo:
        facts, key = await demonstrate(house)
        password = await asyncio.to_thread(ensure_staff, house.dsn, settings.secrets_dir)
        number, other = facts.active[0], facts.active[1]
        print(
            f"Numbers to top up    {number.grouped()} · {other.grouped()} (our own network), or any Chinese mobile number"
        )
        print(f"Pages                {settings.public_url}/")
        print(f"Developers           {settings.public_url}/developers")
        print(f"Staff                {settings.public_url}/staff/   demo / {password}")
        print(f"Partner key          {key}")
        print(
            f"Partner API          curl -s {settings.public_url}/v1/topups -H 'Authorization: Bearer {key}' "
            f"-H 'Content-Type: application/json' "
            f"""-d '{{"msisdn":"{number.e164}","amount":"50.00","currency":"CNY","reference":"first"}}'"""
        )
        if far is not None:
            ports = " · ".join(f"{name} {url.rpartition(':')[2]}" for name, url in far.urls.items())
            print(f"Simulators           on 127.0.0.1: {ports}")
    await _say_ready(house, far)


async def _say_ready(house: Any, far: Any) -> None:
    print(f"Refill is ready: {house.settings.public_url}", flush=True)


def simulator(
    name: str,
    /,
    *,
    port: int = 8001,
    keys: Path = Path("simulator-keys"),
    refill: str = "http://127.0.0.1:8000",
    profile: str = "calm",
) -> None:
    """Plays the other end of one wire alone: alipay, operator, … Its keys are made in the folder --keys.

    It prints the settings that lead a Refill to it; notices that have no address of their own go to --refill. With
    --profile it has a character: calm, slow, flaky, liar, drained or chaos. What it truly did stands at its address.
    """
    from refill.app import keeping, stop_on_signals
    from refill.simulators.serve import alone

    async def run() -> None:
        await alone(name, keys, keeping(keys), port, refill, stop_on_signals(), print, profile)

    asyncio.run(run())


def settings(*, data: Data = None) -> None:
    """Prints the settings that are in force, without secrets."""
    from refill.app import port_settings

    shown = settings_of(data)
    told = {name: str(getattr(shown, name)) for name in shown.__dataclass_fields__ if name not in HIDDEN}
    kinds = port_settings()
    told |= {name: value for name, value in shown.ports.items() if name in kinds and kinds[name].kind != "secret"}
    print(json.dumps(told, indent=1))


HIDDEN = ("database_url", "ports")  # passwords; of the ports what is no secret is told by name
