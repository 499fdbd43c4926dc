"""What a sale leaves: shown for every product, told to staff where it is too little, and the rules of how little that is."""

from dataclasses import dataclass
from datetime import datetime

from refill.cases import Case, raise_cases
from refill.catalogue.offers import Catalogue, Product
from refill.catalogue.prices import Least
from refill.db import Database, Statement, Tx
from refill.errors import BadInput, NotForSale
from refill.money import Money

RULES = ("refuse", "alarm")


@dataclass(frozen=True, slots=True)
class Margin:
    """What one sale of a product to everybody leaves, through the supplier that comes first.

    cost: in the currency of the price; None on our own network. why: it is not sold now, and why not.
    """

    product: Product
    face: Money
    price: Money | None
    supplier: str
    cost: Money | None
    least: Money
    rule: str
    why: str = ""

    @property
    def left(self) -> Money | None:
        """The price less the cost; None where one of them is not known."""
        return None if self.price is None or self.cost is None else self.price - self.cost

    @property
    def bp(self) -> int | None:
        """What is left, as basis points of the price."""
        left = self.left
        return None if left is None or self.price is None else left.minor * 10_000 // self.price.minor

    @property
    def thin(self) -> bool:
        """Is it less than it should be?"""
        left = self.left
        return left is not None and left < self.least


def margins(catalogue: Catalogue, now: datetime) -> list[Margin]:
    """Every product on sale with what it leaves, at its smallest face value."""
    return [_margin(catalogue, product, now) for product in catalogue.products()]


def _margin(catalogue: Catalogue, product: Product, now: datetime) -> Margin:
    face, rule = product.least, catalogue.prices.least(product.operator, product.id)
    least = Money(rule.of(face.minor), face.currency)
    price = catalogue.price_of(product)
    try:
        route = catalogue.routes(product.operator, product.id, face, at=now)[0]
    except NotForSale as refusal:
        return Margin(product, face, price, "", None, least, rule.rule, str(refusal))
    cost = route.cost if route.cost is None or route.rate is None else route.rate.convert(route.cost)
    return Margin(product, face, price, route.supplier, cost, least, rule.rule)


# ------------------------------------------------------------------ telling staff


class Watch:
    """Tells staff which sales left too little; once for each product as long as prices stay as they are."""

    def __init__(self) -> None:
        self._version = -1
        self._told: set[tuple[str, str]] = set()

    async def look(self, db: Database, catalogue: Catalogue, now: datetime) -> None:
        """One look at what was quoted since the last one."""
        if catalogue.version != self._version:
            self._version, self._told = catalogue.version, set()
        new = [thin for thin in catalogue.thin() if (thin.operator, thin.product) not in self._told]
        if not new:
            return
        cases = [
            Case(
                "thin_margin",
                thin.product,
                f"{thin.product} is quoted at {thin.price}; {thin.supplier} takes {thin.cost}, and {thin.least} should be left.",
                thin.cost - thin.price if thin.price < thin.cost else None,
            )
            for thin in new
        ]
        await db.transaction(lambda tx: raise_cases(tx, cases, now))
        self._told |= {(thin.operator, thin.product) for thin in new}


# ------------------------------------------------------------------ the rules

SET = Statement("""
    -- The least that a sale must leave
    INSERT INTO catalogue_margin (operator, product, least_bp, least_minor, rule, who, at)
    SELECT :operator::text, :product::text, :bp::int, :minor::bigint, :rule::text, :who::text, :now::timestamptz
     WHERE (:operator = '' OR EXISTS (SELECT 1 FROM catalogue_operator WHERE id = :operator))
       AND (:product = '' OR EXISTS (SELECT 1 FROM catalogue_product WHERE id = :product AND operator_id = :operator))
        ON CONFLICT (operator, product) DO UPDATE
       SET least_bp = excluded.least_bp, least_minor = excluded.least_minor, rule = excluded.rule, who = excluded.who,
           at = excluded.at
""")

CLEAR = Statement("DELETE FROM catalogue_margin WHERE operator = :operator AND product = :product")

TIER = Statement("""
    -- The tier of a partner
    INSERT INTO catalogue_tier (partner, tier, who, at)
    SELECT id, :tier::text, :who::text, :now::timestamptz FROM accounts_partner WHERE id = :partner::text
        ON CONFLICT (partner) DO UPDATE SET tier = excluded.tier, who = excluded.who, at = excluded.at
""")

NO_TIER = Statement("DELETE FROM catalogue_tier WHERE partner = :partner")

ALIAS = Statement("""
    -- How a supplier calls an operator of ours
    INSERT INTO catalogue_alias (supplier, theirs, operator, who, at)
    SELECT :supplier::text, :theirs::text, id, :who::text, :now::timestamptz
      FROM catalogue_operator WHERE id = :operator::text
        ON CONFLICT (supplier, theirs) DO UPDATE SET operator = excluded.operator, who = excluded.who, at = excluded.at
""")


async def set_least(tx: Tx, operator: str, product: str, least: Least | None, who: str, now: datetime) -> None:
    """Sets the least that a sale must leave (None: no rule of its own any more). Raises BadInput."""
    if least is None:
        await tx.run(CLEAR, operator=operator, product=product)
        return
    if not 0 <= least.bp <= 10_000 or not 0 <= least.minor < 10**12 or least.rule not in RULES:
        raise BadInput("A least margin is 0 to 10000 basis points or an amount; its rule is refuse or alarm.")
    if product and not operator:
        raise BadInput("A product is of one operator; name it too.")
    told = {"operator": operator, "product": product, "bp": least.bp, "minor": least.minor, "rule": least.rule}
    if not await tx.run(SET, **told, who=who, now=now):
        raise BadInput("There is no such operator or product.")


async def set_tier(tx: Tx, partner: str, tier: str, who: str, now: datetime) -> None:
    """Puts a partner into a tier; an empty one takes it out. Raises BadInput."""
    if not tier:
        await tx.run(NO_TIER, partner=partner)
        return
    if not (tier.isascii() and tier.replace("_", "a").isalnum() and tier[0].isalpha() and tier.islower()):
        raise BadInput(f"{tier[:20]!r} is no name of a tier; use small letters, digits and _.")
    if len(tier) > 31 or not await tx.run(TIER, partner=partner, tier=tier, who=who, now=now):
        raise BadInput("There is no partner with that id, or the tier's name is too long.")


async def set_alias(tx: Tx, supplier: str, theirs: str, operator: str, who: str, now: datetime) -> None:
    """Says which operator of ours a supplier means by a word of its own. Raises BadInput."""
    if not 0 < len(theirs) <= 100 or not theirs.isprintable() or not supplier:
        raise BadInput("A supplier's own word for an operator has 1 to 100 printable characters.")
    if not await tx.run(ALIAS, supplier=supplier, theirs=theirs, operator=operator, who=who, now=now):
        raise BadInput(f"We have no operator {operator[:40]!r}.")
