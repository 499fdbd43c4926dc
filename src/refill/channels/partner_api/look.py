"""What a partner may look up: a top-up, its float, what is on sale, and what a number tells."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from refill import accounts, ledger, numbers
from refill import catalogue as catalogue_
from refill.accounts import PartnerKey, float_account
from refill.catalogue import Catalogue
from refill.channels.machines.limits import TokenBuckets, TooMany
from refill.channels.machines.operation import Answer, Call, Operation, Words, json_of
from refill.channels.partner_api.cursors import read_cursor, write_cursor
from refill.channels.partner_api.topups import CHANNEL, Pin, TopUp, shown
from refill.errors import NotANumber, NotForSale, NotFound
from refill.ids import cell_of_id
from refill.money import decimal_text
from refill.topup import flow, store, whose
from refill.topup.trade import Trade

LOOK_UPS_PER_S = 20  # for each partner: look-ups that may leave the house


class Balance(msgspec.Struct):
    """A partner's float: what is free to spend, without its credit limit."""

    currency: str
    balance: str


class Offer(msgspec.Struct, omit_defaults=True):
    """One denomination on sale to this partner; a range has `face_value` and `max_face_value`, and its price depends."""

    product: str
    kind: str
    category: str
    face_value: str
    currency: str
    price: str | None = None
    max_face_value: str | None = None
    validity_days: int = 0
    contents: str = ""
    contents_zh: str = ""


class Arrives(msgspec.Struct):
    """How long credit of an operator took to arrive lately, in seconds after payment."""

    usual_s: int
    nearly_all_s: int
    counted: int


class Operator(msgspec.Struct):
    """A network whose credit is on sale."""

    id: str
    name: str
    name_zh: str
    country: str
    currency: str
    own_network: bool
    products: list[Offer]
    arrives: Arrives | None = None


class Operators(msgspec.Struct):
    """All networks whose credit is on sale, each with what it sells."""

    operators: list[Operator]


class Product(msgspec.Struct, omit_defaults=True):
    """One denomination on sale, with the operator whose credit it is."""

    product: str
    operator: str
    country: str
    kind: str
    category: str
    face_value: str
    currency: str
    price: str | None = None
    max_face_value: str | None = None
    validity_days: int = 0
    contents: str = ""
    contents_zh: str = ""


class Products(msgspec.Struct):
    """A page of what is on sale."""

    products: list[Product]
    next: str | None


class ProductsWanted(msgspec.Struct):
    """Which products to show."""

    operator: str | None = None
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$")] | None = None
    kind: Literal["fixed", "range"] | None = None
    category: Annotated[str, Meta(pattern="^[a-z_]{1,20}$")] | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Warning(msgspec.Struct):
    """Something to look at twice before topping a number up: a stable code, and a sentence."""

    code: Literal[
        "dead", "operator_unsure", "first_time", "one_digit_off", "new_subscriber", "long_unused", "other_operator"
    ]
    detail: str


class Number(msgspec.Struct):
    """What is known of a number. Nothing here refuses a top-up: numbers are ported, and look-ups are advice.

    `operator_source`: own (our network), person (our staff decided it), outcome (a delivery told us), look_up, or prefix,
    which is a hint only. `state`: whether anybody has the number, where that was asked.
    """

    msisdn: str
    grouped: str
    country: str
    operator: str | None
    region: str
    operator_source: Literal["own", "person", "outcome", "look_up", "prefix"] | None
    ported: bool | None
    state: Literal["active", "absent", "dead"] | None
    warnings: list[Warning]


class Bucket(msgspec.Struct):
    """Credit that expires by itself."""

    kind: str
    amount: str
    expires_at: datetime


class Subscriber(msgspec.Struct):
    """A subscriber of our own network."""

    msisdn: str
    state: str
    balance: str
    currency: str
    active_until: datetime | None
    grace_until: datetime | None
    buckets: list[Bucket]


class Looks:
    """The reading routes. Every one of them knows whose key it is: another partner's top-up is not there at all."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade
        self._strangers = TokenBuckets(LOOK_UPS_PER_S)

    async def topup(self, call: Call) -> Response:
        """One top-up by our id."""
        id_ = call.path["id"]
        try:
            cell_of_id(id_)
        except NotFound:
            raise NotFound("There is no top-up with that id.") from None
        (order,) = await store.find(self._trade, [id_])
        if order is None or order.payer != f"partner:{call.key.partner_id}":
            raise NotFound("There is no top-up with that id.")
        told = shown(order, await self._number(order.number))
        if accounts.PINS in call.key.scopes:
            for given, pin in await flow.pins_for_payer(self._trade, order.id, "partner"):
                told.pin = Pin(pin.plain, given.serial, given.until.date())
        return json_of(told)

    async def balance(self, call: Call) -> Response:
        """What is free in the float."""
        account = float_account(call.key.partner_id, call.key.currency)
        held = await self._trade.db.transaction(lambda tx: ledger.standing(tx, account))
        return json_of(Balance(call.key.currency, decimal_text(held, call.key.currency)))

    async def operators(self, call: Call) -> Response:
        """What is on sale by operator, at this partner's prices."""
        catalogue, now = self._trade.shelf.catalogue, self._trade.world.db_now()
        every = [_operator(catalogue, operator, call.key, now) for operator in catalogue.operators()]
        arriving = await self._trade.arriving.of(self._trade.db, now)
        for told in every:
            if lately := arriving.get(told.id):
                told.arrives = Arrives(lately.usual_s, lately.nearly_all_s, lately.count)
        return json_of(Operators(every))

    async def products(self, call: Call) -> Response:
        """What is on sale as one list, a page at a time; the cursor is the last product shown."""
        wanted: ProductsWanted = call.query
        behind = read_cursor("products", wanted.cursor)
        every = sorted(self._products(call.key, wanted), key=lambda product: product.product)
        left = [product for product in every if not behind or product.product > behind[0]]
        page = left[: wanted.limit]
        more = write_cursor("products", page[-1].product) if len(left) > len(page) else None
        return json_of(Products(page, more))

    def _products(self, key: PartnerKey, wanted: ProductsWanted) -> list[Product]:
        catalogue, now = self._trade.shelf.catalogue, self._trade.world.db_now()
        return [
            Product(
                product=offer.product,
                operator=operator.id,
                country=operator.country,
                kind=offer.kind,
                category=offer.category,
                face_value=offer.face_value,
                currency=offer.currency,
                price=offer.price,
                max_face_value=offer.max_face_value,
                validity_days=offer.validity_days,
                contents=offer.contents,
                contents_zh=offer.contents_zh,
            )
            for operator in catalogue.operators()
            if wanted.operator in (None, operator.id) and wanted.country in (None, operator.country)
            for offer in _operator(catalogue, operator, key, now).products
            if wanted.kind in (None, offer.kind) and wanted.category in (None, offer.category)
        ]

    async def number(self, call: Call) -> Response:
        """Whose a number is, and what to look at twice before topping it up."""
        number = numbers.msisdn(call.path["msisdn"])
        told = await whose.whose(self._trade, number, ask=self._may_ask(call.key.partner_id))
        found = await whose.cautions(self._trade, f"partner:{call.key.partner_id}", number, told)
        belief = told.belief
        return json_of(
            Number(
                number.e164,
                number.grouped(),
                number.country,
                belief.operator,
                numbers.region(number),
                belief.source or None,  # type: ignore[arg-type]  # one of its words, without a choice of the payer
                belief.ported,
                told.state,  # type: ignore[arg-type]
                [Warning(caution.code, caution.says) for caution in found],  # type: ignore[arg-type]
            )
        )

    def _may_ask(self, partner: str) -> bool:
        """May strangers be asked for this partner just now? Each answer costs money; beyond that, what we know is told."""
        try:
            self._strangers.take(partner)
        except TooMany:
            return False
        return True

    async def subscriber(self, call: Call) -> Response:
        """Balance and validity on our own network."""
        view = await store.subscriber_view(self._trade, numbers.msisdn(call.path["msisdn"]))
        if view is None:
            raise NotFound("That number is no subscriber of our own network.")
        return json_of(
            Subscriber(
                msisdn=view.msisdn.e164,
                state=view.state,
                balance=view.balance.text(),
                currency=view.balance.currency,
                active_until=view.active_until,
                grace_until=view.grace_until,
                buckets=[Bucket(grant.kind, grant.amount.text(), grant.expires_at) for grant in view.buckets],
            )
        )

    async def _number(self, number_id: str) -> numbers.Msisdn | None:
        vault = self._trade.vault
        found = await self._trade.db.transaction(lambda tx: numbers.reveal(tx, vault, [number_id]))
        return found.get(number_id)


def _operator(catalogue: Catalogue, operator: catalogue_.Operator, key: PartnerKey, now: datetime) -> Operator:
    offers = []
    for offer in catalogue.offers(operator.id):
        try:
            quote = catalogue.quote(
                operator.id,
                offer.face,
                at=now,
                product=offer.product,
                commission_bp=key.commission_bp,
                payer=f"partner:{key.partner_id}",
                channel=CHANNEL,
            )
        except NotForSale:
            continue  # nobody delivers it at present, or the exchange rate of who does is too old
        is_range = offer.kind == "range"
        offers.append(
            Offer(
                product=offer.product,
                kind=offer.kind,
                category=offer.category,
                face_value=offer.face.text(),
                currency=offer.face.currency,
                price=None if is_range else quote.price.text(),
                max_face_value=offer.most.text() if is_range else None,
                validity_days=offer.days,
                contents=offer.bundle.words_en(),
                contents_zh=offer.bundle.words_zh(),
            )
        )
    return Operator(
        id=operator.id,
        name=operator.name_en,
        name_zh=operator.name_zh,
        country=operator.country,
        currency=operator.currency,
        own_network=operator.own_network,
        products=offers,
    )


def look_operations(trade: Trade) -> list[Operation]:
    """The reading operations."""
    looks = Looks(trade)
    return [
        Operation(
            "GET",
            "/v1/topups/{id}",
            "getTopup",
            "topups",
            Words("One top-up by our id", "按我们的编号查一笔充值"),
            "topup",
            {200: Answer(Words("The top-up as it stands now.", "这笔充值此刻的样子。"), (TopUp,))},
            looks.topup,
            errors=(NotFound,),
            example={"id": "tu_…"},
        ),
        Operation(
            "GET",
            "/v1/balance",
            "getBalance",
            "account",
            Words("What is left of your float", "预付款还剩多少"),
            "balance",
            {200: Answer(Words("Your float.", "你的预付款。"), (Balance,))},
            looks.balance,
        ),
        Operation(
            "GET",
            "/v1/operators",
            "listOperators",
            "catalogue",
            Words("What is on sale by operator, at your prices", "各运营商在售的面值，按你的价格"),
            "topup",
            {200: Answer(Words("All operators.", "全部运营商。"), (Operators,))},
            looks.operators,
            kept=True,
        ),
        Operation(
            "GET",
            "/v1/products",
            "listProducts",
            "catalogue",
            Words("What is on sale as one list, at your prices", "在售商品清单，按你的价格"),
            "topup",
            {200: Answer(Words("A page of products.", "一页商品。"), (Products,))},
            looks.products,
            query=ProductsWanted,
            example={"country": "CN", "kind": "fixed", "limit": "5"},
            kept=True,
        ),
        Operation(
            "GET",
            "/v1/numbers/{msisdn}",
            "getNumber",
            "numbers",
            Words("Whose a number is, and what to look at twice", "一个号码是谁家的，充值前要注意什么"),
            "topup",
            {
                200: Answer(
                    Words(
                        "Country, region, operator as far as anybody knows, and warnings for you alone.",
                        "国家、地区、已知的运营商，以及只对你有意义的提醒。",
                    ),
                    (Number,),
                )
            },
            looks.number,
            errors=(NotANumber,),
            more=Words(
                "Ask before you take money: a look-up may be asked, which takes two seconds or three at most. With "
                "`operator_source` `prefix`, `operator` is a hint, because numbers are ported: name another one in your "
                "top-up if you know better. A warning refuses nothing.",
                "收款之前先问：我们可能会去查询，最多两三秒。`operator_source` 为 `prefix` 时，`operator` 只是按号段的提示，"
                "因为号码可以携号转网；如果你更清楚，请在充值时写明运营商。提醒不会拒绝任何充值。",
            ),
            example={"msisdn": "+8613912345678"},
        ),
        Operation(
            "GET",
            "/v1/subscribers/{msisdn}",
            "getSubscriber",
            "numbers",
            Words("Balance and validity on our own network", "本网用户的余额和有效期"),
            "subscriber",
            {200: Answer(Words("The subscriber.", "这位用户。"), (Subscriber,))},
            looks.subscriber,
            errors=(NotANumber, NotFound),
            example={"msisdn": "+8619912345678"},
        ),
    ]
