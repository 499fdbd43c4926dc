"""How many PINs there are, how many there should be at least, and the alarm when there are fewer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from refill import cases
from refill.cases import Case
from refill.db import Statement, Tx
from refill.errors import BadInput
from refill.money import Money

KIND = "low_stock"
MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Shelf:
    """The PINs of one product and face value: how many in each state, what those in stock cost, and the alarm's level."""

    product: str
    operator: str
    face: Money
    waiting: int
    stock: int
    given: int
    faulty: int
    expired: int
    worth: Money
    soonest: datetime | None  # when the first of those in stock may no longer be given
    least: int | None

    @property
    def short(self) -> bool:
        """Are there fewer than there should be?"""
        return self.stock < (self.least or 1)


SHELVES = Statement("""
    -- What became of all PINs, by product
    SELECT p.product, min(p.operator), p.minor, p.currency, count(*) FILTER (WHERE p.state = 'waiting'),
           count(*) FILTER (WHERE p.state = 'stock'), count(*) FILTER (WHERE p.state = 'given'),
           count(*) FILTER (WHERE p.state = 'faulty'), count(*) FILTER (WHERE p.state = 'expired'),
           coalesce(sum(p.cost_minor) FILTER (WHERE p.state = 'stock'), 0)::bigint,
           min(p.until) FILTER (WHERE p.state = 'stock'), max(l.least)
      FROM stock_pin p
      LEFT JOIN stock_level l ON l.product = p.product
     GROUP BY p.product, p.minor, p.currency ORDER BY p.product, p.minor, p.currency
""")

SHORT = Statement("""
    -- Products with fewer PINs than there should be, counted only as far as that
    SELECT l.product, l.least, c.count
      FROM stock_level l
     CROSS JOIN LATERAL (
      SELECT count(*) AS count
        FROM (SELECT 1 FROM stock_pin s
               WHERE s.product = l.product AND s.state = 'stock' AND s.until > :now LIMIT l.least) AS few) AS c
     WHERE (:products::text[] IS NULL OR l.product = ANY (:products::text[])) AND c.count < l.least
     ORDER BY l.product
""")

SET = Statement("""
    -- From how many on somebody is told
    INSERT INTO stock_level (product, least, set_by, set_at) VALUES (:product, :least, :who, :now)
        ON CONFLICT (product) DO UPDATE
       SET least = excluded.least, set_by = excluded.set_by, set_at = excluded.set_at
""")

UNSET = Statement("DELETE FROM stock_level WHERE product = :product")


async def shelves(tx: Tx) -> list[Shelf]:
    """Every product of which there are, or were, PINs."""
    return [
        Shelf(
            product, operator, Money(minor, currency), waiting, stock, given, faulty, expired,
            Money(worth, currency), soonest, least,
        )
        for product, operator, minor, currency, waiting, stock, given, faulty, expired, worth, soonest, least
        in await tx.rows(SHELVES)
    ]  # fmt: skip


async def set_level(tx: Tx, product: str, least: int, who: str, now: datetime) -> None:
    """Somebody is told when fewer than `least` PINs are left; 0: nobody is. Raises BadInput."""
    if not 0 <= least <= MOST or not who.strip():
        raise BadInput(f"The alarm's level is a number from 0 to {MOST:,}, set by somebody with a name.")
    if least:
        await tx.run(SET, product=product, least=least, who=who.strip(), now=now)
    else:
        await tx.run(UNSET, product=product)
    await settle_alarms(tx, [product], now)
    await cases.raise_cases(tx, await alarms(tx, [product], now), now)


async def alarms(tx: Tx, products: Sequence[str] | None, now: datetime) -> list[Case]:
    """A case for each of these products (None: all) of which too few PINs are left; the caller raises them."""
    wanted = None if products is None else sorted(set(products))
    return [
        Case(KIND, product, f"{count} PINs of {product} are left, and {least} should be: buy and import more.")
        for product, least, count in await tx.rows(SHORT, products=wanted, now=now)
    ]


async def settle_alarms(tx: Tx, products: Sequence[str], now: datetime) -> None:
    """Closes the cases of products of which there are enough again."""
    short = {case.about for case in await alarms(tx, products, now)}
    enough = [f"{KIND}:{product}" for product in products if product not in short]
    if enough:
        await cases.close(tx, enough, "there are enough again", now)
