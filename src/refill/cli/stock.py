"""Operators' PINs in our own stock: imported, confirmed, counted, watched."""

import getpass
from pathlib import Path
from typing import Any

from cyclopts import App

from refill.cli.shared import Data, in_house, settings_of

stock = App(name="stock", help="Operators' PINs in our own stock: imported, confirmed, counted, watched.")


@stock.command(name="import")
def import_pins(file: Path, /, *, product: str, cost: str, purse: str, why: str, data: Data = None) -> int:
    """Imports a CSV file of PINs (serial, pin, expiry) of a product, each for `--cost 49.20` out of `--purse bank:main`.

    Another person confirms the batch, on the staff's pages or with `refill stock confirm`. Delete the file afterwards.
    """
    from refill.errors import BadInput
    from refill.topup import flow

    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadInput(f"The file {file} cannot be read: {error.strerror}.") from None

    async def run(house: Any) -> int:
        arrival = await flow.receive_stock(
            house.trade, content, product, cost, purse=purse, who=getpass.getuser(), why=why
        )
        for refused in arrival.refused:
            print(f"line {refused.line}: {refused.why}")
        if arrival.batch is None:
            print("No row of this file is new; nothing was imported.")
            return 1
        batch = arrival.batch
        print(
            f"{batch.code}: {batch.count} PINs of {product}, {batch.cost} together; another person confirms the batch"
        )
        return 0

    return in_house(settings_of(data), run)


@stock.command
def confirm(batch: str, /, *, data: Data = None) -> int:
    """Puts a batch into stock that somebody else imported, and books what it cost; orders that wait for PINs go on."""
    from refill.topup import flow

    async def run(house: Any) -> int:
        done = await flow.confirm_stock(house.trade, batch, getpass.getuser())
        print(f"{done.count} PINs of {done.goods.product} are in stock")
        return 0

    return in_house(settings_of(data), run)


@stock.command
def decline(batch: str, /, *, data: Data = None) -> int:
    """Forgets a batch that nobody confirmed, so that a corrected file may bring its PINs."""
    from refill import stock

    async def run(house: Any) -> int:
        name = getpass.getuser()
        await house.pool.transaction(lambda tx: stock.decline(tx, house.world, batch, name))
        print(f"{batch} is declined; nothing was booked")
        return 0

    return in_house(settings_of(data), run)


@stock.command
def level(product: str, least: int, /, *, data: Data = None) -> int:
    """Opens a case when fewer than LEAST PINs of a product are left; 0: no alarm."""
    from refill import stock

    async def run(house: Any) -> int:
        now = house.world.db_now()
        await house.pool.transaction(lambda tx: stock.set_level(tx, product, least, getpass.getuser(), now))
        print(f"{product}: " + (f"an alarm below {least}" if least else "no alarm"))
        return 0

    return in_house(settings_of(data), run)


@stock.command
def count(*, data: Data = None) -> int:
    """How many PINs of each product are in stock, what they cost, and the latest batches."""
    from refill import stock

    async def run(house: Any) -> int:
        for shelf in await house.pool.transaction(stock.shelves):
            alarm = f", alarm below {shelf.least}" if shelf.least else ""
            short = "  TOO FEW" if shelf.short else ""
            print(
                f"{shelf.product}  {shelf.stock} of {shelf.face} in stock ({shelf.worth}), {shelf.waiting} to confirm,"
                f" {shelf.given} given, {shelf.faulty} faulty, {shelf.expired} expired{alarm}{short}"
            )
        for batch in await house.pool.transaction(lambda tx: stock.batches(tx, most=20)):
            by = f"{batch.asked_by}, {batch.decided_by}" if batch.decided_by else batch.asked_by
            print(f"{batch.code}  {batch.count} of {batch.goods.product}, {batch.cost}: {batch.state} ({by})")
        return 0

    return in_house(settings_of(data), run)
