"""What lists say at one moment: our prices by tier, channel and partner, suppliers' costs, and what a sale must leave."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from refill.db import Statement, Tx
from refill.money import Money, share

K = TypeVar("K")


class Terms(NamedTuple):
    """Who buys, as far as some price asks for it; an empty word where none does."""

    partner: str = ""
    tier: str = ""
    channel: str = ""


EVERYBODY = None  # nobody in particular; the usual terms cost no look-up to tell apart


class Price(NamedTuple):
    """One price of ours: a fixed amount or a share of the face value, for these terms, of a product, operator or all."""

    operator: str
    product: str
    tier: str
    channel: str
    partner: str
    minor: int | None
    bp: int | None

    def of(self, face_minor: int) -> int:
        """In minor units."""
        return self.minor if self.minor is not None else share(face_minor, self.bp or 0, 10_000)


class Least(NamedTuple):
    """The least that a sale must leave, and what becomes of one that leaves less: `refuse` it, or sell and `alarm`."""

    bp: int = 0
    minor: int = 0
    rule: str = "alarm"

    def of(self, face_minor: int) -> int:
        """In minor units."""
        return max(self.minor, share(face_minor, self.bp, 10_000))


class Cost(NamedTuple):
    """One entry of a supplier's list: what a face value costs, or a span of them between both ends."""

    product: str  # ours, or empty: the face value tells
    face_minor: int
    max_face_minor: int | None
    face_currency: str
    minor: int
    max_minor: int | None
    currency: str

    def of(self, face: Money) -> int:
        """In minor units of `currency`; inside a span in proportion, rounded up."""
        if self.max_face_minor is None:
            return self.minor
        if self.max_minor is None:
            return -(-self.minor * face.minor // self.face_minor)
        rise, run = self.max_minor - self.minor, self.max_face_minor - self.face_minor
        return self.minor - (-rise * (face.minor - self.face_minor) // run)


class Listed:
    """What a supplier's list says of one operator."""

    def __init__(self, costs: Iterable[Cost] = ()) -> None:
        self._products: dict[str, Cost] = {}
        self._faces: dict[tuple[int, str], Cost] = {}
        self._spans: list[Cost] = []
        self.currencies: set[str] = set()
        for cost in costs:
            self.currencies.add(cost.currency)
            if cost.product:
                _dearer(self._products, cost.product, cost)
            elif cost.max_face_minor is None:
                _dearer(self._faces, (cost.face_minor, cost.face_currency), cost)
            else:
                self._spans.append(cost)

    def cost(self, product: str, face: Money, by_face: bool) -> Money | None:
        """What it takes for a product of ours at this face value; None: it is not on the list.

        An entry that names our product counts before one of the face value, and that before a span.
        """
        found = self._products.get(product)
        if found is None and by_face:
            found = self._faces.get((face.minor, face.currency)) or next(
                (
                    span
                    for span in self._spans
                    if span.face_currency == face.currency
                    and span.face_minor <= face.minor <= (span.max_face_minor or 0)
                ),
                None,
            )
        return None if found is None else Money(found.of(face), found.currency)


def _dearer(kept: dict[K, Cost], key: K, cost: Cost) -> None:
    """Of two entries for one thing the dearer one counts: a sale must not turn out to be a loss."""
    before = kept.get(key)
    if before is None or before.currency != cost.currency or before.minor < cost.minor:
        kept[key] = cost


class Prices:
    """Our prices, tiers and least margins."""

    def __init__(
        self,
        prices: Iterable[Price] = (),
        tiers: Mapping[str, str] | None = None,
        leasts: Mapping[tuple[str, str], Least] | None = None,
    ) -> None:
        self._prices = {(p.partner, p.tier, p.channel, p.operator, p.product): p for p in prices}
        self.told = bool(self._prices)
        self._channels = {p.channel for p in self._prices.values() if p.channel}
        named = {p.partner for p in self._prices.values() if p.partner}
        asked = {p.tier for p in self._prices.values() if p.tier}
        tiered = {partner: tier for partner, tier in (tiers or {}).items() if tier in asked}
        self._payers = {
            f"partner:{partner}": (partner if partner in named else "", tiered.get(partner, ""))
            for partner in named | set(tiered)
        }
        self._leasts = dict(leasts or {})

    def terms(self, payer: str, channel: str) -> Terms | None:
        """The terms of a buyer: the same for all whom no price tells apart. A few look-ups, however many prices there are."""
        partner, tier = self._payers.get(payer, ("", ""))
        channel = channel if channel in self._channels else ""
        return Terms(partner, tier, channel) if partner or tier or channel else EVERYBODY

    def find(self, terms: Terms | None, operator: str, product: str, *, everybody: bool) -> Price | None:
        """The most particular price: of the partner, then its tier, then the channel, then (`everybody`) of all; and in each
        of these of the product, then the operator, then everything."""
        if not self.told:
            return None
        terms = terms or Terms()
        for partner in _or_any(terms.partner):
            for tier in _or_any(terms.tier):
                for channel in _or_any(terms.channel):
                    if not (partner or tier or channel or everybody):
                        continue
                    for what in ((operator, product), (operator, ""), ("", "")):
                        found = self._prices.get((partner, tier, channel, *what))
                        if found is not None:
                            return found
        return None

    def least(self, operator: str, product: str) -> Least:
        """What a sale must leave, by the most particular rule; without one: nothing less than it costs."""
        for what in ((operator, product), (operator, ""), ("", "")):
            if what in self._leasts:
                return self._leasts[what]
        return Least()


def _or_any(word: str) -> Sequence[str]:
    return (word, "") if word else ("",)


# ------------------------------------------------------------------ read at a moment

PRICES = Statement("""
    -- Our prices that are valid at a moment: of several the one that began last
    SELECT DISTINCT ON (key) operator, product, tier, channel, partner, minor, bp
      FROM catalogue_price
     WHERE side = 'price' AND supplier = '' AND valid_from <= :now::timestamptz
       AND (valid_until IS NULL OR valid_until > :now)
     ORDER BY key, valid_from DESC, import_id DESC
""")

COSTS = Statement("""
    -- What one supplier takes of one operator at a moment: of several the one that began last
    SELECT DISTINCT ON (key) product, face_minor, max_face_minor, face_currency, minor, max_minor, currency
      FROM catalogue_price
     WHERE side = 'cost' AND operator = :operator AND supplier = :supplier AND valid_from <= :now::timestamptz
       AND (valid_until IS NULL OR valid_until > :now)
     ORDER BY key, valid_from DESC, import_id DESC
""")

TIERS = Statement("SELECT partner, tier FROM catalogue_tier")
LEASTS = Statement("SELECT operator, product, least_bp, least_minor, rule FROM catalogue_margin")

NEXT = Statement("""
    -- When some price begins or ends next
    SELECT least((SELECT min(valid_from) FROM catalogue_price WHERE valid_from > :now::timestamptz),
                 (SELECT min(valid_until) FROM catalogue_price WHERE valid_until > :now))
""")


async def load(tx: Tx, now: datetime) -> Prices:
    """Our prices at a moment."""
    prices = [Price(*row) for row in await tx.rows(PRICES, now=now)]
    leasts = {(operator, product): Least(*rest) for operator, product, *rest in await tx.rows(LEASTS)}
    return Prices(prices, dict(await tx.rows(TIERS)), leasts)


async def load_costs(tx: Tx, pairs: Iterable[tuple[str, str]], now: datetime) -> dict[tuple[str, str], Listed]:
    """What these suppliers' lists say of these operators, pair by pair, so that nobody waits long beside it."""
    found = {}
    for supplier, operator in pairs:
        rows = await tx.rows(COSTS, supplier=supplier, operator=operator, now=now)
        found[supplier, operator] = Listed(Cost(*row) for row in rows)
    return found


async def next_change(tx: Tx, now: datetime) -> datetime | None:
    """When the prices change next by themselves; None: as far as we know, never."""
    found: datetime | None = await tx.value(NEXT, now=now)
    return found
