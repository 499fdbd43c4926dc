"""SIM cards of our own network: into stock, and switched on."""

from pathlib import Path
from typing import Any

from cyclopts import App

from refill.cli.shared import Data, in_house, progress_bar, settings_of

cards = App(name="cards", help="SIM cards of our own network.")


@cards.command(name="import")
def import_(file: Path, /, *, batch: str | None = None, data: Data = None) -> int:
    """Takes SIM cards into stock from a CSV file (iccid, imsi, kind, k, opc, perhaps msisdn), a line at a time."""
    from refill.cards import import_cards

    async def run(house: Any) -> int:
        with file.open("rb") as lines, progress_bar() as bar:
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

    return in_house(settings_of(data), run)


@cards.command
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

    return in_house(settings_of(data), run)
