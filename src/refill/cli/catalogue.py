"""What is on sale and at which price: lists shown, applied and fetched, what sales leave, and whose terms differ."""

import csv
import os
import sys
from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from refill.cli.shared import Data, in_house, progress_bar, settings_of
from refill.errors import BadInput

catalogue = App(name="catalogue", help="Price lists, ours and suppliers'; margins; tiers.")
WHO = "operator"  # whoever may run commands here


@catalogue.command
def show(file: Path, /, *, supplier: str = "", whole: bool = False, apply: bool = False, data: Data = None) -> int:
    """Shows what a price list (CSV or XLSX) would change: ours, or with --supplier that supplier's costs.

    --whole: the list is all there is, and what is not on it ends. --apply: applies it at once. Exit code 1 when rows are
    refused.
    """
    from refill.catalogue import importing
    from refill.db.bulk import Bulk

    async def run(house: Any) -> int:
        side: Literal["cost", "price"] = "cost" if supplier else "price"
        try:
            lines = file.open("rb")
        except OSError as error:
            raise BadInput(f"{file} cannot be read: {error.strerror}.") from None
        with lines, progress_bar() as bar:
            task = bar.add_task("reading", total=lines.seek(0, os.SEEK_END))
            id_ = await importing.begin(house.pool, house.world, side, supplier, file.name, who=WHO, whole=whole)
            shown = await importing.read_file(
                Bulk(house.dsn),
                house.world,
                id_,
                lines,
                progress=lambda rows: bar.update(task, completed=lines.tell(), description=f"{rows:,} rows"),
            )
        return await _told(house, shown, apply)

    return in_house(settings_of(data), run)


@catalogue.command
def fetch(supplier: str, /, *, whole: bool = True, apply: bool = False, data: Data = None) -> int:
    """Fetches a supplier's price list through its wire and shows what it would change; --apply applies it at once."""
    from refill.catalogue import importing
    from refill.db.bulk import Bulk

    async def run(house: Any) -> int:
        told = await importing.fetch(house.world, house.trade.suppliers, supplier)
        id_ = await importing.begin(house.pool, house.world, "cost", supplier, "wire", who=WHO, whole=whole)
        shown = await importing.read_wire(Bulk(house.dsn), house.world, id_, told)
        return await _told(house, shown, apply)

    return in_house(settings_of(data), run)


@catalogue.command
def apply(name: str, /, *, data: Data = None) -> int:
    """Applies a list that was shown (its name is printed then), when its preview is still true."""
    from refill.catalogue import importing
    from refill.db.bulk import Bulk

    async def run(house: Any) -> int:
        done = await importing.apply(Bulk(house.dsn), house.world, name, WHO)
        print(f"{done.id}: {done.changes:,} prices changed")
        return 0

    return in_house(settings_of(data), run)


@catalogue.command
def result(name: str, /, *, data: Data = None) -> int:
    """Prints what became of every row of a list, as CSV."""
    from refill.catalogue import importing

    async def run(house: Any) -> int:
        await house.pool.transaction(lambda tx: importing.find(tx, name))
        write, after = csv.writer(sys.stdout, lineterminator="\n"), 0
        write.writerow(importing.RESULT)
        while True:
            page = await house.pool.transaction(lambda tx: importing.lines(tx, name, after=after, most=5_000))  # noqa: B023
            write.writerows(map(importing.result_row, page))
            if not page:
                return 0
            after = page[-1].n

    return in_house(settings_of(data), run)


@catalogue.command
def lists(*, data: Data = None) -> int:
    """Lists the latest price lists, who showed and who applied them."""
    from refill.catalogue import importing

    async def run(house: Any) -> int:
        for each in await house.pool.transaction(importing.latest):
            whose = each.supplier or "our prices"
            decided = f", {each.state} by {each.decided_by}" if each.decided_by else f", {each.state}"
            print(f"{each.id}  {each.asked_at:%Y-%m-%d %H:%M}  {whose:16} {_counts(each)}; by {each.asked_by}{decided}")
        return 0

    return in_house(settings_of(data), run)


@catalogue.command
def margins(*, thin: bool = False, data: Data = None) -> int:
    """What a sale of each product leaves; --thin: only those that leave too little. Exit code 1 when there are such."""
    from refill.catalogue.margins import margins as all_margins

    async def run(house: Any) -> int:
        told = all_margins(house.trade.shelf.catalogue, house.world.db_now())
        for each in told:
            if thin and not each.thin:
                continue
            left = f"leaves {each.left} ({each.bp} bp)" if each.left is not None else each.why or "costs nothing to buy"
            print(
                f"{each.product.id:24} {each.price!s:>14}  {each.supplier:12} {left}{'  TOO LITTLE' if each.thin else ''}"
            )
        return 1 if any(each.thin for each in told) else 0

    return in_house(settings_of(data), run)


@catalogue.command
def least(
    *,
    operator: str = "",
    product: str = "",
    bp: int = 0,
    minor: int = 0,
    rule: str = "alarm",
    clear: bool = False,
    data: Data = None,
) -> int:
    """Sets the least that a sale must leave, in basis points of the face value or minor units; --rule refuse or alarm."""
    from refill.catalogue.margins import set_least
    from refill.catalogue.prices import Least

    async def run(house: Any) -> int:
        wanted = None if clear else Least(bp, minor, rule)
        now = house.world.db_now()
        await house.pool.transaction(lambda tx: set_least(tx, operator, product, wanted, WHO, now))
        print(
            f"{product or operator or 'everything'}: {'no rule of its own' if clear else f'{bp} bp, {minor}, {rule}'}"
        )
        return 0

    return in_house(settings_of(data), run)


@catalogue.command
def tier(partner: str, name: str = "", /, *, data: Data = None) -> int:
    """Puts a partner (by id or name) into a tier, by which prices may differ; without a name takes it out."""
    from refill import accounts
    from refill.catalogue.margins import set_tier

    async def run(house: Any) -> int:
        now = house.world.db_now()

        async def work(tx: Any) -> str:
            found = await accounts.partner(tx, partner)
            await set_tier(tx, found.id, name, WHO, now)
            return found.name

        print(f"{await house.pool.transaction(work)}: {name or 'no tier'}")
        return 0

    return in_house(settings_of(data), run)


@catalogue.command
def alias(supplier: str, theirs: str, operator: str, /, *, data: Data = None) -> int:
    """Says which operator of ours a supplier means: `refill catalogue alias reloadly 341 cmcc`."""
    from refill.catalogue.margins import set_alias

    async def run(house: Any) -> int:
        now = house.world.db_now()
        await house.pool.transaction(lambda tx: set_alias(tx, supplier, theirs, operator, WHO, now))
        print(f"{supplier} calls {operator} {theirs!r}")
        return 0

    return in_house(settings_of(data), run)


def _counts(told: Any) -> str:
    from refill.catalogue.importing import OUTCOMES

    named = [f"{getattr(told, name):,} {name}" for name in OUTCOMES if getattr(told, name)]
    return ", ".join(named) or told.says or "nothing"


async def _told(house: Any, shown: Any, at_once: bool) -> int:
    from refill.catalogue import importing
    from refill.db.bulk import Bulk

    print(f"{shown.id}: {_counts(shown)}" + (f"; {shown.thin:,} leave too little" if shown.thin else ""))
    refused = await house.pool.transaction(
        lambda tx: importing.lines(tx, shown.id, outcomes=["refused", "elsewhere"], most=20)
    )
    for line in refused:
        why = (
            line.says or f"We do not sell the operator {line.operator!r}; tell with `refill catalogue alias` if we do."
        )
        print(f"row {line.n}: {why}")
    if shown.refused + shown.elsewhere > len(refused):
        print(f"and {shown.refused + shown.elsewhere - len(refused):,} more: refill catalogue result {shown.id}")
    if at_once and shown.changes:
        done = await importing.apply(Bulk(house.dsn), house.world, shown.id, WHO)
        print(f"applied: {done.changes:,} prices changed")
    elif shown.changes:
        print(f"Apply it with: refill catalogue apply {shown.id}")
    return 1 if shown.refused else 0
