"""What a top-up costs and who delivers it: an immutable picture of the catalogue, read from the database in one go."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from refill.catalogue import prices, rates, routing
from refill.catalogue.goods import AIRTIME, CATEGORIES, NO_BUNDLE, Bundle, initials
from refill.catalogue.prices import EVERYBODY, Listed, Prices, Terms
from refill.catalogue.rates import Rate, Rates, RateTooOld
from refill.catalogue.routing import Route, Routing
from refill.db import Statement, Tx
from refill.errors import NotForSale
from refill.money import Money, share

HOME = "home"  # the supplier of our own network: credit is given in our own transaction
_QUOTES_KEPT = 65_536
_NOTHING_LISTED = Listed()


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
    logo: str = ""  # the name of a drawing of ours; empty: `initials` in its colour

    @property
    def initials(self) -> tuple[str, str]:
        """What stands in its colour where it has no drawing, in Chinese and in English."""
        return initials(self.name_zh, self.name_en)


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
    category: str = AIRTIME
    name_zh: str = ""
    name_en: str = ""
    bundle: Bundle = NO_BUNDLE

    @property
    def by_face(self) -> bool:
        """Is it found by an amount alone? A bundle of 10 yuan is not 10 yuan of credit."""
        return self.category in CATEGORIES and CATEGORIES[self.category].by_face

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
    by_list: bool = False  # it delivers what is on its price list, at the cost that stands there

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
    category: str = AIRTIME
    name_zh: str = ""
    name_en: str = ""
    bundle: Bundle = NO_BUNDLE


@dataclass(frozen=True, slots=True)
class Thin:
    """A sale that leaves less than it should: what it is, at which price, and what it costs in the same currency."""

    operator: str
    product: str
    supplier: str
    price: Money
    cost: Money
    least: Money


@dataclass(frozen=True)
class Catalogue:
    """Everything on sale at one version and moment. It never changes; `refresh` makes the next one.

    until: when some price begins or ends next, so that another picture is due although no row was written.
    """

    version: int
    _operators: Mapping[str, Operator]
    _products: Mapping[str, tuple[Product, ...]]
    _supplies: Mapping[str, tuple[Supply, ...]]
    rates: Rates = field(default_factory=Rates)
    routing: Routing = field(default_factory=Routing)
    prices: Prices = field(default_factory=Prices)
    _listed: Mapping[tuple[str, str], Listed] = field(default_factory=dict)
    until: datetime | None = None
    _fixed: Mapping[tuple[str, str, int], Product] = field(init=False, repr=False)
    _by_id: Mapping[str, Product] = field(init=False, repr=False)
    _quotes: dict[tuple[str, int, str, str | None, int | None, Terms | None], Quote] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _thin: dict[tuple[str, str], Thin] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        every = [product for products in self._products.values() for product in products]
        fixed: dict[tuple[str, str, int], Product] = {}
        for product in every:
            if product.kind == "fixed" and product.by_face:
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
        payer: str = "",
        channel: str = "",
    ) -> Quote:
        """The price of `face` and who delivers it; `commission_bp` are a partner's terms, None is retail. Raises NotForSale.

        at: the moment whose exchange rates count; needed where a supplier bills in another currency. payer, channel: who
        buys through which door, for prices that are theirs alone; they count before the commission.
        """
        terms = self.prices.terms(payer, channel) if self.prices.told else EVERYBODY
        key = (operator, face.minor, face.currency, product, commission_bp, terms)
        quote = self._quotes.get(key)
        if quote is None:
            quote = self._quote(operator, face, at, product, commission_bp, terms)
            if self._is_abroad(operator, face):
                return quote  # rates run out: nothing to remember
            if len(self._quotes) >= _QUOTES_KEPT:
                self._quotes.clear()
            self._quotes[key] = quote
        return quote

    def _is_abroad(self, operator: str, face: Money) -> bool:
        return any(
            not self._currencies(supply, face.currency) <= {face.currency}
            for supply in self._supplies.get(operator, ())
        )

    def _quote(
        self,
        operator: str,
        face: Money,
        at: datetime | None,
        product: str | None,
        commission_bp: int | None,
        terms: Terms | None,
    ) -> Quote:
        sold_by = self.operator(operator)
        found = self._find(sold_by, face, product)
        price = Money(self._price(found, face.minor, commission_bp, terms), face.currency)
        if price.minor <= 0:
            raise NotForSale(f"{face} is too little to be sold.")
        route = self.routes(operator, found.id, face, at=at)[0]
        self._leaves_enough(found, face, price, route)
        return Quote(
            operator,
            found.id,
            route.supplier,
            face,
            price,
            route.cost,
            found.days,
            found.policy,
            route.rate,
        )

    def _price(self, product: Product, face_minor: int, commission_bp: int | None, terms: Terms | None) -> int:
        """What the buyer pays: the price for its terms, else the face value less its commission, else what everybody pays."""
        own = self.prices.find(terms, product.operator, product.id, everybody=commission_bp is None)
        if own is not None:
            return own.of(face_minor)
        if commission_bp is not None:
            return face_minor - share(face_minor, commission_bp, 10_000)
        return product.retail_price(face_minor)

    def _leaves_enough(self, product: Product, face: Money, price: Money, route: Route) -> None:
        """Remembers a sale that leaves too little, to be told; where the rule says so, raises NotForSale."""
        if route.cost is None:
            return
        cost = route.cost if route.rate is None else route.rate.convert(route.cost)
        least = self.prices.least(product.operator, product.id)
        if price.minor - cost.minor >= least.of(face.minor):
            return
        self._thin[product.operator, product.id] = Thin(
            product.operator, product.id, route.supplier, price, cost, Money(least.of(face.minor), face.currency)
        )
        if least.rule == "refuse":
            raise NotForSale(f"{face} of this operator is not on sale at present.")

    def thin(self) -> list[Thin]:
        """The sales that were asked for on this picture and leave less than they should, one for each product."""
        return [self._thin[key] for key in sorted(self._thin)]

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
            if one.kind == "range" and one.by_face and one.least.minor <= face.minor <= one.most.minor:
                return one
        on_sale = ", ".join(amount.text() for amount in self._amounts(operator.id)) or "nothing at present"
        raise NotForSale(f"{operator.name_en} does not sell {face}; on sale: {on_sale}.")

    def _amounts(self, operator: str) -> Sequence[Money]:
        return [
            product.least for product in self._products.get(operator, ()) if product.kind == "fixed" and product.by_face
        ]

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
        is_pin = product in self._by_id and self._by_id[product].category == "pin"
        for kept in self._supplies.get(operator, ()):
            # Who delivers an operator's credit does not deliver its PINs: those are supplied by name.
            if kept.product != product and (kept.product is not None or is_pin):
                continue
            supply = self._at_list_price(kept, product, face)
            if supply is None:
                continue
            try:
                rate = self._rate(supply, face, at)
            except RateTooOld as too_old:
                refusal = too_old
            else:
                route = Route(supply.supplier, supply.cost(face, rate), rate, supply.priority)
                routes.setdefault(supply.supplier, route)
        return tuple(routes.values()), refusal

    def _at_list_price(self, supply: Supply, product: str, face: Money) -> Supply | None:
        """The supply at what its list says; None for what is not on it."""
        if not supply.by_list:
            return supply
        known = self._by_id.get(product)
        by_face = known is None or known.by_face
        cost = self._listed.get((supply.supplier, supply.operator), _NOTHING_LISTED).cost(product, face, by_face)
        return None if cost is None else replace(supply, cost_minor=cost.minor, currency=cost.currency)

    def _currencies(self, supply: Supply, ours: str) -> set[str]:
        """In which a supplier may bill this supply."""
        if supply.by_list:
            return self._listed.get((supply.supplier, supply.operator), _NOTHING_LISTED).currencies
        return {supply.currency or ours}

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
                found[supply.supplier] |= self._currencies(supply, operator.currency)
        return found

    def abroad(self) -> set[tuple[str, str]]:
        """Pairs of a supplier's currency and ours that something on sale needs a rate for."""
        return {
            (currency, operator.currency)
            for operator in self.operators()
            for supply in self._supplies.get(operator.id, ())
            for currency in self._currencies(supply, operator.currency)
            if currency != operator.currency
        }

    def offers(
        self, operator: str, *, commission_bp: int | None = None, payer: str = "", channel: str = ""
    ) -> list[Offer]:
        """What a page shows for an operator, smallest face value first and spans last, at a buyer's prices.

        Goods of all categories; a page that sells credit alone takes those of `airtime`. Raises NotForSale.
        """
        self.operator(operator)
        terms = self.prices.terms(payer, channel)
        return [
            Offer(
                product.id,
                product.kind,
                product.least,
                product.most,
                Money(self._price(product, product.least.minor, commission_bp, terms), product.least.currency),
                product.days,
                product.policy,
                product.category,
                product.name_zh,
                product.name_en,
                product.bundle,
            )
            for product in self._products.get(operator, ())
        ]

    def price_of(self, product: Product) -> Money:
        """What everybody pays for the smallest face value of a product."""
        return Money(self._price(product, product.least.minor, None, EVERYBODY), product.least.currency)

    def products(self) -> list[Product]:
        """Everything on sale, operator by operator."""
        return [product for operator in self.operators() for product in self._products.get(operator.id, ())]


VERSION = Statement("""
    -- How often the catalogue has changed
    SELECT version FROM catalogue_version WHERE id = 1
""")

OPERATORS = Statement("""
    -- Every operator in the order of the pages
    SELECT id, name_zh, name_en, country, currency, own_network, colour, enabled, when_off, logo
      FROM catalogue_operator ORDER BY position, id
""")

PRODUCTS = Statement("""
    -- Every product on sale: denominations by face value, then spans
    SELECT id, operator_id, kind, currency, face_minor, coalesce(max_face_minor, face_minor),
           retail_price_minor, retail_bp, validity_days, validity_policy, category, name_zh, name_en, data_mb, minutes,
           texts, lasts_hours
      FROM catalogue_product WHERE enabled
     ORDER BY operator_id, kind, face_minor, id
""")

SUPPLIES = Statement("""
    -- Who delivers what: of a product its own supplies before its operator's, then by priority
    SELECT operator_id, product_id, supplier, cost_minor, cost_bp, cost_currency, priority, by_list
      FROM catalogue_supply WHERE enabled
     ORDER BY operator_id, priority, product_id NULLS LAST, id
""")


async def load(tx: Tx, now: datetime | None = None) -> Catalogue:
    """The catalogue as it stands, with the prices of lists that are valid `now`; None: without lists."""
    # The version first: what changes while we read raises it again, and the next refresh reads again.
    version = await tx.value(VERSION) or 0
    operators = {row[0]: Operator(*row) for row in await tx.rows(OPERATORS)}
    products: dict[str, list[Product]] = defaultdict(list)
    for id_, operator, kind, currency, least, most, price, bp, days, policy, *goods in await tx.rows(PRODUCTS):
        span = Money(least, currency), Money(most, currency)
        category, name_zh, name_en, *bundle = goods
        words: tuple[str, str, str] = (category, name_zh, name_en)
        product = Product(id_, operator, kind, *span, price, bp, days, policy, *words, Bundle(*bundle))
        products[operator].append(product)
    supplies: dict[str, list[Supply]] = defaultdict(list)
    for row in await tx.rows(SUPPLIES):
        supplies[row[0]].append(Supply(*row))
    by_list = sorted({(one.supplier, one.operator) for some in supplies.values() for one in some if one.by_list})
    return Catalogue(
        version,
        operators,
        {operator: tuple(some) for operator, some in products.items()},
        {operator: tuple(some) for operator, some in supplies.items()},
        await rates.load(tx),
        await routing.load(tx),
        await prices.load(tx, now) if now else Prices(),
        await prices.load_costs(tx, by_list, now) if now else {},
        await prices.next_change(tx, now) if now else None,
    )


async def refresh(tx: Tx, catalogue: Catalogue, now: datetime | None = None) -> Catalogue:
    """The same catalogue when nothing changed and no price began or ended (one row is read), the next one otherwise."""
    over = now is not None and catalogue.until is not None and now >= catalogue.until
    if not over and await tx.value(VERSION) == catalogue.version:
        return catalogue
    return await load(tx, now)
