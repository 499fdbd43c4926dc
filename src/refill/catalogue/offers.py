"""What a top-up costs and who delivers it: an immutable picture of the catalogue, read from the database in one go."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from refill.catalogue import rates, routing
from refill.catalogue.rates import Rate, Rates, RateTooOld
from refill.catalogue.routing import Route, Routing
from refill.db import Statement, Tx
from refill.errors import NotForSale
from refill.money import Money, share

HOME = "home"  # the supplier of our own network: credit is given in our own transaction
_QUOTES_KEPT = 65_536


@dataclass(frozen=True, slots=True)
class Operator:
    """A network whose credit we sell."""

    id: str
    name_zh: str
    name_en: str
    country: str
    currency: str
    own_network: bool
    colour: str  # of its brand, "#rrggbb"
    enabled: bool
    when_off: str = "wait"  # what becomes of paid orders while it is switched off: wait | refund


@dataclass(frozen=True, slots=True)
class Product:
    """A denomination (`least` = `most`) or a span of amounts."""

    id: str
    operator: str
    kind: str  # fixed | range
    least: Money
    most: Money
    retail_price_minor: int | None
    retail_bp: int
    days: int
    policy: str

    def retail_price(self, face_minor: int) -> int:
        """What a person pays, in minor units."""
        if self.retail_price_minor is not None:
            return self.retail_price_minor
        return share(face_minor, self.retail_bp, 10_000)


@dataclass(frozen=True, slots=True)
class Supply:
    """That a supplier delivers an operator's credit, or one product of it, at a cost, perhaps in a currency of its own."""

    operator: str
    product: str | None
    supplier: str
    cost_minor: int | None
    cost_bp: int
    currency: str | None = None  # None: that of the face value
    priority: int = 100

    def is_abroad(self, face: Money) -> bool:
        """Does the supplier bill in another currency?"""
        return self.currency is not None and self.currency != face.currency

    def cost(self, face: Money, rate: Rate | None = None) -> Money:
        """What the supplier takes for `face`; `rate` is of its currency in ours, where it has one of its own."""
        currency = face.currency if rate is None else rate.base
        if self.cost_minor is not None:
            return Money(self.cost_minor, currency)
        if rate is not None:
            return rate.turned().convert(face, self.cost_bp, 10_000)
        return Money(share(face.minor, self.cost_bp, 10_000), currency)


@dataclass(frozen=True, slots=True)
class Quote:
    """One top-up, priced and routed. `cost` is None on our own network, where credit costs us nothing to buy.

    rate: of the currency of the cost in the currency of the price, where they differ.
    """

    operator: str
    product: str
    supplier: str  # `home` for our own network
    face: Money
    price: Money
    cost: Money | None
    days: int
    policy: str
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a page shows: a denomination with its retail price, or a span (`kind` range) of which the prices are shares."""

    product: str
    kind: str
    face: Money
    most: Money
    price: Money
    days: int
    policy: str


@dataclass(frozen=True)
class Catalogue:
    """Everything on sale at one version. It never changes; `refresh` makes the next one."""

    version: int
    _operators: Mapping[str, Operator]
    _products: Mapping[str, tuple[Product, ...]]
    _supplies: Mapping[str, tuple[Supply, ...]]
    rates: Rates = field(default_factory=Rates)
    routing: Routing = field(default_factory=Routing)
    _fixed: Mapping[tuple[str, str, int], Product] = field(init=False, repr=False)
    _by_id: Mapping[str, Product] = field(init=False, repr=False)
    _quotes: dict[tuple[str, int, str, str | None, int | None], Quote] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        every = [product for products in self._products.values() for product in products]
        fixed: dict[tuple[str, str, int], Product] = {}
        for product in every:
            if product.kind == "fixed":
                fixed.setdefault((product.operator, product.least.currency, product.least.minor), product)
        object.__setattr__(self, "_fixed", fixed)
        object.__setattr__(self, "_by_id", {product.id: product for product in every})

    def operators(self) -> list[Operator]:
        """The operators on sale, in the order in which pages show them."""
        return [operator for operator in self._operators.values() if operator.enabled]

    def operator(self, operator: str) -> Operator:
        """One operator on sale. Raises NotForSale."""
        found = self._operators.get(operator)
        if found is None or not found.enabled:
            raise NotForSale(f"We do not sell top-ups of the operator {operator[:40]!r}.")
        return found

    def quote(
        self,
        operator: str,
        face: Money,
        *,
        at: datetime | None = None,
        product: str | None = None,
        commission_bp: int | None = None,
    ) -> Quote:
        """The price of `face` and who delivers it; `commission_bp` are a partner's terms, None is retail. Raises NotForSale.

        at: the moment whose exchange rates count; needed where a supplier bills in another currency.
        """
        key = (operator, face.minor, face.currency, product, commission_bp)
        quote = self._quotes.get(key)
        if quote is None:
            quote = self._quote(operator, face, at, product, commission_bp)
            if self._is_abroad(operator, face):
                return quote  # rates run out: nothing to remember
            if len(self._quotes) >= _QUOTES_KEPT:
                self._quotes.clear()
            self._quotes[key] = quote
        return quote

    def _is_abroad(self, operator: str, face: Money) -> bool:
        return any(supply.is_abroad(face) for supply in self._supplies.get(operator, ()))

    def _quote(
        self, operator: str, face: Money, at: datetime | None, product: str | None, commission_bp: int | None
    ) -> Quote:
        sold_by = self.operator(operator)
        found = self._find(sold_by, face, product)
        if commission_bp is None:
            price = found.retail_price(face.minor)
        else:
            price = face.minor - share(face.minor, commission_bp, 10_000)
        if price <= 0:
            raise NotForSale(f"{face} is too little to be sold.")
        route = self.routes(operator, found.id, face, at=at)[0]
        return Quote(
            operator,
            found.id,
            route.supplier,
            face,
            Money(price, face.currency),
            route.cost,
            found.days,
            found.policy,
            route.rate,
        )

    def _find(self, operator: Operator, face: Money, product: str | None) -> Product:
        if face.currency != operator.currency:
            raise NotForSale(f"Credit of {operator.name_en} is sold in {operator.currency}, not in {face.currency}.")
        if product is not None:
            found = self._by_id.get(product)
            if found is None or found.operator != operator.id:
                raise NotForSale(f"{operator.name_en} has no product {product[:40]!r} on sale.")
            if not found.least.minor <= face.minor <= found.most.minor:
                raise NotForSale(f"The product {product!r} is sold from {found.least} to {found.most}, not at {face}.")
            return found
        exact = self._fixed.get((operator.id, face.currency, face.minor))
        if exact is not None:
            return exact
        for one in self._products.get(operator.id, ()):
            if one.kind == "range" and one.least.minor <= face.minor <= one.most.minor:
                return one
        on_sale = ", ".join(amount.text() for amount in self._amounts(operator.id)) or "nothing at present"
        raise NotForSale(f"{operator.name_en} does not sell {face}; on sale: {on_sale}.")

    def _amounts(self, operator: str) -> Sequence[Money]:
        return [product.least for product in self._products.get(operator, ()) if product.kind == "fixed"]

    def routes(self, operator: str, product: str, face: Money, *, at: datetime | None = None) -> tuple[Route, ...]:
        """Every supplier that delivers it, the preferred one first. Raises NotForSale when nobody does.

        One that bills in another currency, whose rate `at` that moment is too old, is passed over; when no other is left,
        that is the refusal (RateTooOld).
        """
        refusal: NotForSale = NotForSale(f"No supplier delivers {self.operator(operator).name_en} at present.")
        routes, too_old = self._routes(operator, product, face, at)
        if not routes:
            raise too_old or refusal
        return routes

    def routes_of_paid(self, operator: str, product: str, face: Money, at: datetime) -> tuple[Route, ...]:
        """The same for an order that is paid: also of an operator that is switched off meanwhile, and perhaps nobody."""
        return self._routes(operator, product, face, at)[0] if operator in self._operators else ()

    def _routes(
        self, operator: str, product: str, face: Money, at: datetime | None
    ) -> tuple[tuple[Route, ...], NotForSale | None]:
        if self._operators[operator].own_network:
            return (Route(HOME, None),), None
        routes: dict[str, Route] = {}
        refusal: NotForSale | None = None
        for supply in self._supplies.get(operator, ()):
            if supply.product is not None and supply.product != product:
                continue
            try:
                rate = self._rate(supply, face, at)
            except RateTooOld as too_old:
                refusal = too_old
            else:
                route = Route(supply.supplier, supply.cost(face, rate), rate, supply.priority)
                routes.setdefault(supply.supplier, route)
        return tuple(routes.values()), refusal

    def off(self, operator: str) -> str | None:
        """What becomes of a paid order of an operator that is switched off: `wait` or `refund`; None: it is on sale."""
        found = self._operators.get(operator)
        if found is None:
            return "wait"
        return None if found.enabled else found.when_off

    def deliverers(self, operator: str) -> set[str]:
        """Everybody who delivers some credit of an operator."""
        return {supply.supplier for supply in self._supplies.get(operator, ())}

    def networks(self) -> list[str]:
        """Every operator, also those that are switched off."""
        return list(self._operators)

    def _rate(self, supply: Supply, face: Money, at: datetime | None) -> Rate | None:
        """The rate of the supplier's currency in ours; None where it bills in ours. Raises RateTooOld."""
        if not supply.is_abroad(face):
            return None
        assert supply.currency is not None and at is not None, "a supplier abroad is paid at the rate of a moment"
        return self.rates.at(supply.currency, face.currency, at)

    def billed(self) -> dict[str, set[str]]:
        """The currencies in which each supplier bills us."""
        found: dict[str, set[str]] = defaultdict(set)
        for operator in self._operators.values():
            for supply in self._supplies.get(operator.id, ()):
                found[supply.supplier].add(supply.currency or operator.currency)
        return found

    def abroad(self) -> set[tuple[str, str]]:
        """Pairs of a supplier's currency and ours that something on sale needs a rate for."""
        return {
            (supply.currency, operator.currency)
            for operator in self.operators()
            for supply in self._supplies.get(operator.id, ())
            if supply.currency is not None and supply.currency != operator.currency
        }

    def offers(self, operator: str) -> list[Offer]:
        """What a page shows for an operator, smallest face value first and spans last. Raises NotForSale."""
        self.operator(operator)
        return [
            Offer(
                product.id,
                product.kind,
                product.least,
                product.most,
                Money(product.retail_price(product.least.minor), product.least.currency),
                product.days,
                product.policy,
            )
            for product in self._products.get(operator, ())
        ]


VERSION = Statement("""
    -- How often the catalogue has changed
    SELECT version FROM catalogue_version WHERE id = 1
""")

OPERATORS = Statement("""
    -- Every operator in the order of the pages
    SELECT id, name_zh, name_en, country, currency, own_network, colour, enabled, when_off
      FROM catalogue_operator ORDER BY position, id
""")

PRODUCTS = Statement("""
    -- Every product on sale: denominations by face value, then spans
    SELECT id, operator_id, kind, currency, face_minor, coalesce(max_face_minor, face_minor),
           retail_price_minor, retail_bp, validity_days, validity_policy
      FROM catalogue_product WHERE enabled
     ORDER BY operator_id, kind, face_minor, id
""")

SUPPLIES = Statement("""
    -- Who delivers what: of a product its own supplies before its operator's, then by priority
    SELECT operator_id, product_id, supplier, cost_minor, cost_bp, cost_currency, priority
      FROM catalogue_supply WHERE enabled
     ORDER BY operator_id, priority, product_id NULLS LAST, id
""")


async def load(tx: Tx) -> Catalogue:
    """The catalogue as it stands."""
    # The version first: what changes while we read raises it again, and the next refresh reads again.
    version = await tx.value(VERSION) or 0
    operators = {row[0]: Operator(*row) for row in await tx.rows(OPERATORS)}
    products: dict[str, list[Product]] = defaultdict(list)
    for id_, operator, kind, currency, least, most, price, bp, days, policy in await tx.rows(PRODUCTS):
        span = Money(least, currency), Money(most, currency)
        products[operator].append(Product(id_, operator, kind, *span, price, bp, days, policy))
    supplies: dict[str, list[Supply]] = defaultdict(list)
    for row in await tx.rows(SUPPLIES):
        supplies[row[0]].append(Supply(*row))
    return Catalogue(
        version,
        operators,
        {operator: tuple(some) for operator, some in products.items()},
        {operator: tuple(some) for operator, some in supplies.items()},
        await rates.load(tx),
        await routing.load(tx),
    )


async def refresh(tx: Tx, catalogue: Catalogue) -> Catalogue:
    """The same catalogue when nothing changed (one row is read), the next one otherwise."""
    if await tx.value(VERSION) == catalogue.version:
        return catalogue
    return await load(tx)
