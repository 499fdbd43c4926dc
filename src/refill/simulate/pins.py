"""Operators' PINs on a seeded day: a few are bought in the morning and run out, and orders go on to other suppliers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any

from refill import operators, stock
from refill.catalogue import Catalogue
from refill.catalogue.offers import Supply
from refill.db import Statement
from refill.money import Money
from refill.operators import Supplier
from refill.simulate.people import PREFIXES
from refill.simulate.scratch import Morning, at_once
from refill.simulate.world import Books, VirtualWorld
from refill.stock import Goods
from refill.topup.order import order_of
from refill.vault import Vault

FACES = (1000, 2000, 3000, 5000, 10_000)
COST_BP = 9_700

GIVEN = Statement("""
    SELECT g.request_id, g.at, p.minor, p.serial, p.operator, p.state
      FROM stock_given g JOIN stock_pin p ON p.cell = g.pin_cell AND p.pin = g.pin ORDER BY g.request_id
""")


class PinStock:
    """The stock of one operator's PINs, on some days; `plain` are the PINs themselves."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(f"pins {seed}")
        self.operator = self._dice.choice(sorted(PREFIXES)) if self._dice.random() < 0.5 else ""
        self.plain: list[str] = []

    def suppliers(self) -> dict[str, Supplier]:
        """Our own stock on the shelf of suppliers, on a day that has PINs."""
        made: list[Supplier] = operators.shelf()[stock.SUPPLIER].from_settings({})
        return {each.name: each for each in made if self.operator}

    def on_sale(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue with PINs in front of the operator's other suppliers."""
        if not self.operator:
            return catalogue
        ours = Supply(self.operator, None, stock.SUPPLIER, None, COST_BP, None, 1)
        supplies = dict(catalogue._supplies)
        supplies[self.operator] = (ours, *supplies[self.operator])
        return replace(catalogue, _supplies=supplies)

    def buy(self, books: Books, world: VirtualWorld, vault: Vault) -> None:
        """Through the functions with which the product does it: one person imports, another confirms."""
        if not self.operator:
            return
        for face in FACES:
            pins = [f"{self._dice.getrandbits(54):017d}" for _ in range(self._dice.randint(1, 3))]
            first = len(self.plain)
            rows = [f"P{first + n},{pin},2099-12-31" for n, pin in enumerate(pins)]
            self.plain += pins
            goods = Goods(
                self.operator,
                f"{self.operator}-{face // 100}",
                Money(face, "CNY"),
                Money(face * COST_BP // 10_000, "CNY"),
            )
            file = "\n".join(["serial,pin,expiry", *rows]).encode()
            said = {"purse": "bank:main", "who": "wang", "why": "invoice 17"}
            arrival = at_once(stock.receive(Morning(books), world, vault, file, goods, **said))
            code = arrival.batch.code if arrival.batch else ""
            books.run(lambda tx: stock.confirm(tx, world, code, "li"))  # noqa: B023 run at once

    def credits(self, read: Callable[[Statement], list[tuple[Any, ...]]]) -> Iterator[tuple[str, int, datetime]]:
        """The PINs that orders truly got: (order, face value, when)."""
        for request_id, at, minor, _, _, state in read(GIVEN):
            if state == "given":
                yield order_of(request_id), minor, at
