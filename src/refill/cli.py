"""The command line: `refill up` runs everything; the other commands each do one thing to the same data."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from refill import __version__
from refill.errors import RefillError
from refill.settings import Settings, read_settings

T = TypeVar("T")
cli = App(name="refill", version=__version__, help="Sell phone credit through every door and never lose a cent.")
partner_commands = App(name="partner", help="Platforms that sell through us.")
card_commands = App(name="cards", help="SIM cards of our own network.")
cli.command(partner_commands)
cli.command(card_commands)

Data = Annotated[Path | None, Parameter(name="--data", help="Folder of the embedded database and secrets.")]
Port = Annotated[int | None, Parameter(name="--port", help="Port of the pages and the API.")]
Host = Annotated[str | None, Parameter(name="--host", help="Address to listen on.")]


def main() -> None:
    """Runs a command; an error that we foresee is one sentence and exit code 1."""
    try:
        sys.exit(cli() or 0)
    except RefillError as error:
        print(f"refill: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _settings(data: Path | None = None, **overrides: object) -> Settings:
    from refill.app import port_settings

    return read_settings(os.environ, port_settings(), data_dir=data, **overrides)


def _run(settings: Settings, what: Callable[[str], Coroutine[Any, Any, T]]) -> T:
    """Opens the database, runs `what` on an event loop, ends the database after it."""
    import uvloop

    from refill.app import database

    with database(settings) as dsn, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(what(dsn))


def _in_house(settings: Settings, what: Callable[[Any], Awaitable[T]]) -> T:
    """Runs `what` with an engine that has no doors; it reaches the simulators that `refill up` plays."""
    from refill.app import led, opened

    async def inside(dsn: str) -> T:
        async with opened(settings, dsn, led(settings)) as house:
            return await what(house)

    return _run(settings, inside)


# ------------------------------------------------------------------ running


@cli.command
def up(*, data: Data = None, port: Port = None, host: Host = None) -> None:
    """Starts everything: database, demonstration, simulators, worker, pages and API. Ctrl-C stops it in order."""
    from refill.app import up as run_up

    settings = _settings(data, port=port, host=host)
    _run(settings, lambda dsn: run_up(settings, dsn, _welcome))


@cli.command
def serve(*, data: Data = None, port: Port = None, host: Host = None, doors: str | None = None) -> None:
    """Serves the doors alone (`--doors people|machines|all`); run `refill work` beside it."""
    from refill.app import up as run_up

    settings = _settings(data, port=port, host=host, doors=doors, workers=False, simulators=False, demo=False)
    _run(settings, lambda dsn: run_up(settings, dsn, _say_ready))


@cli.command
def work(*, data: Data = None) -> None:
    """Works due orders off: sends, asks, settles, refunds. Any number of workers may run."""
    from refill.app import House, keep_house, stop_on_signals
    from refill.app import work as work_off

    async def run(house: House) -> None:
        stop = stop_on_signals()
        async with asyncio.TaskGroup() as group:
            group.create_task(work_off(house, stop))
            group.create_task(keep_house(house, stop))

    _in_house(_settings(data), run)


async def _welcome(house: Any, far: Any) -> None:
    from refill.app import demonstrate
    from refill.channels.people.staff import ensure_staff

    settings: Settings = house.settings
    if settings.demo:
        facts, key = await demonstrate(house)
        password = await asyncio.to_thread(ensure_staff, house.dsn, settings.secrets_dir)
        number, other = facts.active[0], facts.active[1]
        print(
            f"Numbers to top up    {number.grouped()} · {other.grouped()} (our own network), or any Chinese mobile number"
        )
        print(f"Pages                {settings.public_url}/")
        print(f"Staff                {settings.public_url}/staff/   demo / {password}")
        print(f"Partner key          {key}")
        print(
            f"Partner API          curl -s {settings.public_url}/v1/topups -H 'Authorization: Bearer {key}' "
            f"-H 'Content-Type: application/json' "
            f"""-d '{{"msisdn":"{number.e164}","amount":"50.00","currency":"CNY","reference":"first"}}'"""
        )
        if far is not None:
            print(f"Simulators           {' · '.join(f'{name} {url}' for name, url in far.urls.items())}")
    await _say_ready(house, far)


async def _say_ready(house: Any, far: Any) -> None:
    print(f"Refill is ready: {house.settings.public_url}", flush=True)


# ------------------------------------------------------------------ asking and doing


@cli.command
def topup(
    msisdn: str, amount: str, /, *, data: Data = None, partner: str | None = None, reference: str | None = None
) -> int:
    """Tops a number up from a partner's float (the demonstration's, when none is named): `refill topup 19912345678 50.00`."""
    from refill import accounts, numbers
    from refill.money import amount as read_amount
    from refill.topup import Ask, Order, flow

    async def run(house: Any) -> int:
        trade = house.trade
        payer = await trade.db.transaction(lambda tx: accounts.partner(tx, partner or "Demo platform"))
        number = numbers.msisdn(msisdn)
        index = numbers.number_id(trade.vault, number)
        face = read_amount(amount, payer.currency)
        ask = Ask(
            flow.new_order_id(trade, index),
            f"partner:{payer.id}",
            "cli",
            number,
            index,
            face,
            reference=reference,
            commission_bp=payer.commission_bp,
        )
        (order,) = await flow.place(trade, [ask])
        if not isinstance(order, Order):
            raise order
        until = f", valid until {order.valid_until:%Y-%m-%d}" if order.valid_until else ""
        print(f"{order.id} {order.status}: {number.masked()} {order.face} for {order.price}{until}")
        return 0

    return _in_house(_settings(data), run)


@cli.command
def balance(msisdn: str, /, *, data: Data = None) -> int:
    """Balance and validity of a number on our own network."""
    from refill import numbers
    from refill.errors import NotFound
    from refill.topup import store

    async def run(house: Any) -> int:
        view = await store.subscriber_view(house.trade, numbers.msisdn(msisdn))
        if view is None:
            raise NotFound("This number is not on our own network.")
        until = f"{view.active_until:%Y-%m-%d}" if view.active_until else "not activated"
        print(f"{view.msisdn.masked()}  {view.state}  balance {view.balance}  valid until {until}")
        return 0

    return _in_house(_settings(data), run)


@cli.command
def check(*, data: Data = None) -> int:
    """Replays the whole book and verifies what must always hold; exit code 1 when anything is found."""
    from refill.db import Pool
    from refill.topup.check import check as check_all

    async def run(dsn: str) -> int:
        pool = await Pool(dsn, size=1, scans=True).open()
        try:
            with _bar() as bar:
                task = bar.add_task("checking", total=None)
                findings = await check_all(pool, lambda done, total: bar.update(task, completed=done, total=total))
        finally:
            await pool.close()
        for finding in findings:
            print(finding)
        print(f"{len(findings)} findings" if findings else "The book is clean: I1, I4, I5, I8 and I14 hold.")
        return 1 if findings else 0

    return _run(_settings(data), run)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)


# ------------------------------------------------------------------ partners


@partner_commands.command
def create(
    name: str,
    /,
    *,
    float: str = "0.00",
    currency: str = "CNY",
    commission_bp: int = 0,
    scopes: str = "topup balance",
    data: Data = None,
) -> int:
    """Creates a partner with a float (`--float 1000000.00`, posted from bank:demo) and prints its API key, once.

    `--scopes "topup balance subscriber"` also lets the key see subscribers of our own network.
    """
    from refill.app import new_partner
    from refill.money import Money, amount

    prepaid = Money(0, currency) if float.strip("0.") == "" else amount(float, currency)

    async def run(house: Any) -> int:
        partner_id, key = await new_partner(house, name, prepaid, commission_bp=commission_bp, scopes=scopes)
        print(f"{partner_id}\n{key}")
        return 0

    return _in_house(_settings(data), run)


@partner_commands.command
def stripes(name: str, count: int, /, *, data: Data = None) -> int:
    """Keeps a very busy partner's float in COUNT pieces (1 to 16), each of which one batch may debit at a time."""
    from refill import accounts, ledger

    async def run(house: Any) -> int:
        world = house.world

        async def split(tx: Any) -> str:
            partner = await accounts.partner(tx, name)
            account = accounts.float_account(partner.id, partner.currency)
            id_ = world.new_id("st", ledger.cell_of_account(account))
            await ledger.split(tx, account, count, id_=id_, at=world.db_now())
            return account

        print(f"{await house.pool.transaction(split)} is kept in {count}")
        return 0

    return _in_house(_settings(data), run)


# ------------------------------------------------------------------ cards


@card_commands.command(name="import")
def import_(file: Path, /, *, batch: str | None = None, data: Data = None) -> int:
    """Takes SIM cards into stock from a CSV file (iccid, imsi, kind, k, opc, perhaps msisdn), a line at a time."""
    from refill.cards import import_cards

    async def run(house: Any) -> int:
        with file.open("rb") as lines, _bar() as bar:
            task = bar.add_task("importing", total=None)
            answers = await import_cards(
                house.pool,
                house.world,
                house.trade.vault,
                lines,
                batch=batch or file.stem,
                progress=lambda done: bar.update(task, completed=done),
            )
        for answer in answers:
            if answer.result not in ("added", "already"):
                print(f"line {answer.line}: {answer.result}: {answer.why}")
        added = sum(answer.result == "added" for answer in answers)
        print(f"{added} of {len(answers)} cards added")
        return 0 if added or not answers else 1

    return _in_house(_settings(data), run)


@card_commands.command
def activate(iccid: str, msisdn: str, /, *, days: int = 30, data: Data = None) -> int:
    """Switches a card on for a number, from afar."""
    from refill import cards, numbers

    async def run(house: Any) -> int:
        number = numbers.msisdn(msisdn)
        vault, world = house.trade.vault, house.world
        subscriber = await house.pool.transaction(
            lambda tx: cards.activate(tx, world, vault, numbers.iccid(iccid), number, days=days)
        )
        print(f"{subscriber.id} {number.masked()} {subscriber.state} until {subscriber.active_until:%Y-%m-%d}")
        return 0

    return _in_house(_settings(data), run)


# ------------------------------------------------------------------ proof


@cli.command
def simulate(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Seeded days of the shipped engine: `--seeds N --start S`, `--mutant NAME`, `--mutants`, `--storm`."""
    from refill.simulate.run import run

    return run(list(tokens))


@cli.command
def bench(name: str = "all", /, *, json: bool = False, orders: str | None = None) -> int:
    """Measures a ratio against a reference in the same run: single, bulk, growth or all."""
    from refill.bench.run import run

    return run(name, json=json, orders=int(_number(orders)) if orders else None)


def _number(text: str) -> int:
    """1e7 and 10000000 are the same number of orders."""
    whole, _, zeros = text.lower().partition("e")
    return int(whole) * 10 ** int(zeros or 0)


# ------------------------------------------------------------------ simulators


@cli.command
def simulator(
    name: str, /, *, port: int = 8001, keys: Path = Path("simulator-keys"), refill: str = "http://127.0.0.1:8000"
) -> None:
    """Plays the other end of one wire alone: alipay, operator, … Its keys are made in the folder --keys.

    It prints the settings that lead a Refill to it; notices that have no address of their own go to --refill.
    """
    from refill.app import keeping, stop_on_signals
    from refill.simulators.serve import alone

    async def run() -> None:
        await alone(name, keys, keeping(keys), port, refill, stop_on_signals(), print)

    asyncio.run(run())


@cli.command
def settings(*, data: Data = None) -> None:
    """Prints the settings that are in force, without secrets."""
    shown = _settings(data)
    names = [name for name in shown.__dataclass_fields__ if name != "database_url"]
    print(json.dumps({name: str(getattr(shown, name)) for name in names}, indent=1))
