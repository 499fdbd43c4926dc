"""Scratch cards of a seeded day: printed and sold before anybody comes, and then known to their holders by heart."""

import csv
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from refill import vouchers
from refill.db import Database
from refill.money import amount
from refill.simulate.world import Books, VirtualWorld
from refill.vault import Vault

T = TypeVar("T")
VALUES = ("10.00", "50.00", "100.00")
SOLD, UNSOLD = 4, 1  # of each value


class Morning(Database):
    """The books before the day begins, when nothing fails."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def transaction(self, work: Any) -> Any:
        return self._books.run(work)


class ScratchCards:
    """PINs in plain digits, as people read them off. A claim code is such a card too."""

    def __init__(self) -> None:
        self.sold: list[str] = []
        self.unsold: list[str] = []
        self.codes: dict[str, int] = {}  # claim codes that payers were told, numbered
        self.worth_minor = 0  # of all that were sold
        self._left: list[str] = []

    def print_and_sell(self, books: Books, world: VirtualWorld, vault: Vault) -> None:
        """Through the functions with which the product does it."""
        with TemporaryDirectory() as folder:
            for number, value in enumerate(VALUES):
                self._batch(books, world, vault, Path(folder) / f"{number}.csv", value)
        self._left = list(self.sold)

    def _batch(self, books: Books, world: VirtualWorld, vault: Vault, paper: Path, value: str) -> None:
        face, until = amount(value, "CNY"), world.now() + timedelta(days=365)
        database, count = Morning(books), SOLD + UNSOLD
        printing = vouchers.generate(
            database, world, vault, paper, count=count, value=face, expires_at=until, who="marketing"
        )
        batch = at_once(printing)
        sold = vouchers.Range(batch.code, 1, SOLD)
        books.run(lambda tx: vouchers.activate(tx, world, sold, purse="cash:office", who="sales"))
        with paper.open(encoding="ascii") as file:
            pins = [row["pin"].replace("-", "") for row in csv.DictReader(file)]
        self.sold += pins[:SOLD]
        self.unsold += pins[SOLD:]
        self.worth_minor += SOLD * face.minor

    def draw(self, dice: Random) -> str | None:
        """A card that nobody holds yet; None when all are out."""
        return self._left.pop(dice.randrange(len(self._left))) if self._left else None

    def name(self, pin: str) -> str:
        """What a card is called where its PIN must not stand."""
        return f"code {self.codes[pin]}" if pin in self.codes else str(self.sold.index(pin))


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What never waits is done when it first would."""
    try:
        work.send(None)
    except StopIteration as end:
        done: T = end.value
        return done
    raise AssertionError("the morning waited for something")
