"""Scratch cards: made, sold, withdrawn, listed."""

import getpass
from pathlib import Path
from typing import Any

from cyclopts import App

from refill.cli.shared import Data, in_house, progress_bar, settings_of

vouchers = App(name="vouchers", help="Scratch cards: made, sold, withdrawn.")


@vouchers.command
def generate(file: Path, /, *, count: int, value: str, expires: str, currency: str = "CNY", data: Data = None) -> int:
    """Makes COUNT vouchers of a value, good until the end of a day (`--expires 2027-12-31`), and writes their PINs to FILE.

    FILE is for the printer: only its owner can read it, and no PIN is ever seen again.
    """
    from refill import vouchers
    from refill.money import amount

    async def run(house: Any) -> int:
        with progress_bar() as bar:
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

    return in_house(settings_of(data), run)


@vouchers.command(name="activate")
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

    return in_house(settings_of(data), run)


@vouchers.command
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

    return in_house(settings_of(data), run)


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


@vouchers.command(name="list")
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

    return in_house(settings_of(data), run)
