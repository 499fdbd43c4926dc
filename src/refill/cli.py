"""The command line: `refill up` runs everything; the other commands each do one thing to the same data."""

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import date
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from refill import __version__
from refill.errors import BadInput, RefillError
from refill.settings import Settings, read_settings

T = TypeVar("T")
cli = App(name="refill", version=__version__, help="Sell phone credit through every door and never lose a cent.")
partner_commands = App(name="partner", help="Platforms that sell through us.")
reconcile_commands = App(name="reconcile", help="Our book against the payment firms' statements.")
card_commands = App(name="cards", help="SIM cards of our own network.")
voucher_commands = App(name="vouchers", help="Scratch cards: made, sold, withdrawn.")
cli.command(partner_commands)
cli.command(card_commands)
cli.command(reconcile_commands)
cli.command(voucher_commands)

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
    from refill.app import House, keep_books, keep_house, stop_on_signals
    from refill.app import work as work_off

    async def run(house: House) -> None:
        stop = stop_on_signals()
        async with asyncio.TaskGroup() as group:
            group.create_task(work_off(house, stop))
            group.create_task(keep_house(house, stop))
            group.create_task(keep_books(house, stop))

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


# ------------------------------------------------------------------ reconciliation


@reconcile_commands.default
def take(method: str, file: Path, /, *, day: str | None = None, data: Data = None) -> int:
    """Takes a payment firm's statement: `refill reconcile alipay bill.zip`; exit code 1 when something does not match.

    The statement's totals must be the sums of its rows, or nothing of it is taken. `--day 2026-11-22` names the business
    day of a statement without rows.
    """
    from refill import reconcile
    from refill.db.bulk import Bulk

    async def run(house: Any) -> int:
        with _opened(file) as lines, _bar() as bar:
            task = bar.add_task("reading", total=lines.seek(0, os.SEEK_END))
            result = await reconcile.take(
                house.trade,
                Bulk(house.dsn),
                method,
                lines,
                day=_day(day) if day else None,
                progress=lambda rows: bar.update(task, completed=lines.tell(), description=f"{rows:,} rows"),
            )
        again = " (this file was taken before; that was the answer)" if result.again else ""
        print(f"{result.method} {result.day}: {result.matched:,} of {result.lines:,} rows match{again}")
        gaps = {name: getattr(result, name) for name in reconcile.BUCKETS}
        if any(gaps.values()):
            named = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in gaps.items() if count)
            print(f"Not: {named}; {result.carried:,} belong into a later statement.")
            await _tell_waiting(house, result.method, result.day)
        return 1 if any(gaps.values()) else 0

    return _in_house(_settings(data), run)


async def _tell_waiting(house: Any, method: str, day: date) -> None:
    from refill import reconcile

    found = await house.pool.transaction(lambda tx: reconcile.find(tx, method, day))
    print(f"{found.waiting:,} wait for a person: {house.settings.public_url}/staff/reconcile/{method}/{day}")


@reconcile_commands.command
def days(*, method: str | None = None, data: Data = None) -> int:
    """Lists the latest business days and what waits in them."""
    from refill import reconcile

    async def run(house: Any) -> int:
        for day in await house.pool.transaction(lambda tx: reconcile.latest(tx, method=method)):
            gaps = f"{day.ours_only + day.theirs_only + day.differs + day.duplicate:,} open, {day.waiting:,} waiting"
            lines = "no statement" if day.lines is None else f"{day.matched:,} of {day.lines:,} rows match"
            print(f"{day.day}  {day.method:12} {day.state:7} {lines}; {gaps}")
        return 0

    return _in_house(_settings(data), run)


@reconcile_commands.command
def close(method: str, day: str, /, *, data: Data = None) -> int:
    """Closes a business day and posts what the firm kept; a closed day does not change."""
    from refill import reconcile

    async def run(house: Any) -> int:
        now = house.world.db_now()
        closed = await house.pool.transaction(
            lambda tx: reconcile.close(tx, method, _day(day), reconcile.OPERATOR, now)
        )
        print(f"{closed.method} {closed.day} is closed, by {closed.closed_by}")
        return 0

    return _in_house(_settings(data), run)


@reconcile_commands.command
def settle(
    method: str,
    day: str,
    amount: str,
    /,
    *,
    currency: str = "CNY",
    bank: str = "main",
    data: Data = None,
) -> int:
    """Posts what the bank got for a day: `refill reconcile settle alipay 2026-11-22 9890.30`. Twice is once."""
    from refill import reconcile
    from refill.money import amount as read_amount

    async def run(house: Any) -> int:
        now, got = house.world.db_now(), read_amount(amount, currency)

        async def both(tx: Any) -> None:
            await reconcile.enter(tx, method, _day(day), got, reconcile.OPERATOR, now, bank=bank)
            await reconcile.confirm(tx, method, _day(day), got, reconcile.OPERATOR, now)

        await house.pool.transaction(both)
        print(f"{got} of {method} for {day} stand at bank:{bank}")
        return 0

    return _in_house(_settings(data), run)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text[:20]!r} is not a day; write it as 2026-11-22.") from None


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}.") from None


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


# ------------------------------------------------------------------ vouchers


@voucher_commands.command
def generate(file: Path, /, *, count: int, value: str, expires: str, currency: str = "CNY", data: Data = None) -> int:
    """Makes COUNT vouchers of a value, good until the end of a day (`--expires 2027-12-31`), and writes their PINs to FILE.

    FILE is for the printer: only its owner can read it, and no PIN is ever seen again.
    """
    from refill import vouchers
    from refill.money import amount

    async def run(house: Any) -> int:
        with _bar() as bar:
            task = bar.add_task("drawing PINs", total=count)
            batch = await vouchers.generate(
                house.pool,
                house.world,
                house.trade.vault,
                file,
                count=count,
                value=amount(value, currency),
                expires_at=vouchers.end_of_day(expires),
                who=getpass.getuser(),
                progress=lambda done: bar.update(task, completed=done),
            )
        print(f"{batch.serial(1)} to {batch.serial(count)}: {count} of {batch.value}, in stock; PINs in {file}")
        return 0

    return _in_house(_settings(data), run)


@voucher_commands.command(name="activate")
def activate_vouchers(
    batch: str,
    /,
    *,
    purse: str,
    first: int = 1,
    last: int | None = None,
    paid: str | None = None,
    why: str = "sold",
    data: Data = None,
) -> int:
    """Switches vouchers FIRST to LAST of a batch on, because they were sold; `--purse cash:office` is where the money lies.

    `--paid 4900.00` when a shop paid less than they are worth.
    """
    from refill import vouchers

    async def run(house: Any) -> int:
        sold, price = await _range(house, batch, first, last, paid)
        count = await house.pool.transaction(
            lambda tx: vouchers.activate(tx, house.world, sold, purse=purse, who=getpass.getuser(), paid=price, why=why)
        )
        print(f"{count} vouchers of {batch} are active")
        return 0

    return _in_house(_settings(data), run)


@voucher_commands.command
def void(
    batch: str,
    /,
    *,
    why: str,
    first: int = 1,
    last: int | None = None,
    purse: str = "",
    paid_back: str | None = None,
    data: Data = None,
) -> int:
    """Withdraws what of a range is not used: stolen, lost, or brought back by a shop (then `--purse` pays it back)."""
    from refill import vouchers

    async def run(house: Any) -> int:
        gone, back = await _range(house, batch, first, last, paid_back)
        count = await house.pool.transaction(
            lambda tx: vouchers.void(tx, house.world, gone, who=getpass.getuser(), why=why, purse=purse, paid_back=back)
        )
        print(f"{count} vouchers of {batch} are withdrawn")
        return 0

    return _in_house(_settings(data), run)


async def _range(house: Any, code: str, first: int, last: int | None, paid: str | None) -> tuple[Any, Any]:
    """The vouchers meant, to the last one when none is named; and an amount in their currency."""
    from refill import vouchers
    from refill.errors import NotFound
    from refill.money import amount

    found = await house.pool.transaction(lambda tx: vouchers.batches(tx, code)) if code else []
    if not found:
        raise NotFound("There is no batch of that name.")
    (batch,) = found
    return vouchers.Range(code, first, last or batch.count), amount(paid, batch.value.currency) if paid else None


@voucher_commands.command(name="list")
def list_vouchers(*, data: Data = None) -> int:
    """Every batch and what became of its vouchers, the latest first."""
    from refill import vouchers

    async def run(house: Any) -> int:
        for batch in await house.pool.transaction(vouchers.batches):
            states = "  ".join(f"{count} {state}" for state, count in sorted(batch.states.items()))
            unfinished = "" if batch.printed_at else "  (never printed)"
            print(
                f"{batch.code}  {batch.count} of {batch.value}, until {batch.expires_at:%Y-%m-%d}: {states}{unfinished}"
            )
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
    """Measures a ratio against a reference in the same run: single, bulk, growth, reconcile or all."""
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
