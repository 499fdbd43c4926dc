"""What a page asks of the spine, in the words of the page; the only file of the portal that calls it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.core import signing

from refill import stock
from refill.catalogue import Quote
from refill.channels.machines.passes import WATCH, write_pass
from refill.channels.people import bridge
from refill.channels.portal.countries import HOME, readable
from refill.channels.portal.ways import Way
from refill.errors import Busy, CannotHappen, NotFound, RefillError
from refill.money import Money, amount
from refill.numbers import Msisdn, number_id, typed_msisdn
from refill.outcome import Done, Refused
from refill.payments import AsksWho, Invitation, Method
from refill.stock import Given, TopUpPin
from refill.topup import Ask, Order, Redemption, flow, store, whose
from refill.topup.arriving import Arriving
from refill.topup.flow import Move
from refill.topup.order import Payment, Refund
from refill.topup.purses import WALLET
from refill.topup.store import Event
from refill.topup.whose import Caution, Told
from refill.vouchers import Pin, Voucher

ON_PURPOSE = timedelta(seconds=120)  # DOMAIN rule 7: the same wish again within this time is asked about
CHANNEL = "portal"
WATCHED_FOR = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Network:
    """An operator as the page shows it."""

    id: str
    name_zh: str
    name_en: str
    colour: str
    own: bool

    @property
    def glyph(self) -> str:
        """One character on the chip: 移 of 中国移动, else the first."""
        return (self.name_zh.removeprefix("中国") or self.name_en or "?")[0]


@dataclass(frozen=True, slots=True)
class Tile:
    """One denomination on sale."""

    product: str
    face: Money
    price: Money

    @property
    def value(self) -> str:
        return f"{self.product}|{self.face.text()}"


@dataclass(frozen=True, slots=True)
class Span:
    """Amounts of free choice."""

    product: str
    least: Money
    most: Money


@dataclass(frozen=True, slots=True)
class Wish:
    """What is confirmed: whose phone, which network, how much, at which price. `name` makes sending it twice one order."""

    name: str
    msisdn: Msisdn
    operator: str
    product: str
    face: Money
    price: Money
    chosen: bool = False  # the operator is the person's own word


def read_number(typed: str, country: str = HOME) -> Msisdn:
    """What was typed by somebody who means a number of `country`, unless it begins with another's code.

    Raises NotANumber.
    """
    return typed_msisdn(typed, readable(country))


def networks(country: str = "") -> list[Network]:
    """The operators on sale, in the order of the shelf; with `country` those of one country."""
    return [
        Network(each.id, each.name_zh, each.name_en, each.colour, each.own_network)
        for each in bridge.trade().shelf.catalogue.operators()
        if country in ("", each.country)
    ]


def served() -> set[str]:
    """The countries whose operators are on sale."""
    return {each.country for each in bridge.trade().shelf.catalogue.operators()}


def network(operator: str) -> Network:
    """One operator; one that is no longer on the shelf keeps its id as its name."""
    for each in networks():
        if each.id == operator:
            return each
    if operator == WALLET:
        return Network(WALLET, "余额", "My balance", "#00704f", False)
    return Network(operator, operator, operator, "#50605a", False)


def told(msisdn: Msisdn, chosen: str = "") -> Told:
    """What is known of a number, from a look-up too: whose it is, and whether anybody has it."""
    known = {each.id for each in networks()}
    return bridge.ask(whose.whose(bridge.trade(), msisdn, chosen if chosen in known else None))


def seller(msisdn: Msisdn, chosen: str) -> str | None:
    """Who sells for this number: our own network, the person's choice, or whose it is; None: ask the person."""
    operator = told(msisdn, chosen).operator
    return operator if any(each.id == operator for each in networks()) else None


def arriving(operator: str) -> Arriving | None:
    """When an operator's credit may be expected, by what arrived lately; None where that is too little to say."""
    trade = bridge.trade()
    return bridge.ask(trade.arriving.of(trade.db, trade.world.db_now())).get(operator)


def cautions(guest: str, wish: Wish) -> list[Caution]:
    """What this person should look at twice before paying."""
    found = bridge.ask(_cautions(guest, wish))
    return [caution for caution in found if caution.code != "operator_unsure" or not wish.chosen]


async def _cautions(guest: str, wish: Wish) -> list[Caution]:
    trade = bridge.trade()
    known = await whose.whose(trade, wish.msisdn)
    return await whose.cautions(trade, payer(guest), wish.msisdn, known, wish.name)


def shelf(operator: str) -> tuple[list[Tile], Span | None]:
    """What this operator has on sale: fixed amounts, smallest first, and the span of free ones. Raises NotForSale."""
    every = bridge.trade().shelf.catalogue.offers(operator, channel=CHANNEL)
    offers = [offer for offer in every if offer.category == "airtime"]
    tiles = [Tile(offer.product, offer.face, offer.price) for offer in offers if offer.kind == "fixed"]
    spans = [Span(offer.product, offer.face, offer.most) for offer in offers if offer.kind == "range"]
    return tiles, spans[0] if spans else None


def quote(operator: str, product: str, typed_face: str) -> Quote:
    """The price of one choice as it is now. Raises NotAnAmount, NotForSale."""
    catalogue = bridge.trade().shelf.catalogue
    face = amount(typed_face, catalogue.operator(operator).currency)
    now = bridge.trade().world.db_now()
    return catalogue.quote(operator, face, at=now, product=product or None, channel=CHANNEL)


def new_wish(name: str, msisdn: Msisdn, operator: str, product: str, typed_face: str, *, chosen: bool) -> Wish:
    """A wish at today's price. Raises NotAnAmount, NotForSale."""
    quoted = quote(operator, product, typed_face)
    return Wish(name, msisdn, operator, quoted.product, quoted.face, quoted.price, chosen)


def earlier(guest: str, msisdn: Msisdn) -> list[Order]:
    """This person's former orders for that number, newest first."""
    orders = bridge.ask(store.by_number(bridge.trade(), _index(msisdn), limit=20))
    return [order for order in orders if order.payer == payer(guest)]


def same_again(wish: Wish, former: Sequence[Order]) -> Order | None:
    """An order of the last two minutes for the same number and amount, which may have been meant to be this one."""
    now = bridge.trade().world.now()
    for order in former:
        lapsed = order.payment == "unpaid" and order.expires_at is not None and order.expires_at <= now
        alive = order.payment not in ("expired", "refunded", "refund_pending") and not lapsed
        if order.reference != wish.name and order.face == wish.face and order.created_at >= now - ON_PURPOSE and alive:
            return order
    return None


def placed(guest: str, wish: Wish) -> Order | None:
    """The order of this wish, if it was sent before."""
    return bridge.ask(store.by_reference(bridge.trade(), payer(guest), wish.name))


def place(guest: str, wish: Wish) -> Order:
    """The order of this wish, however often and from however many tabs it is sent. Raises what refuses it."""
    trade, index = bridge.trade(), _index(wish.msisdn)
    ask = Ask(
        id=flow.new_order_id(trade, index),
        payer=payer(guest),
        channel=CHANNEL,
        msisdn=wish.msisdn,
        number=index,
        face=wish.face,
        reference=wish.name,
        operator=wish.operator,
        product=wish.product,
        max_price=wish.price,
    )
    (answer,) = bridge.ask(flow.place(trade, [ask]))
    if isinstance(answer, RefillError):
        raise answer
    return answer


def methods() -> Mapping[str, Method]:
    """All payment methods that are connected."""
    return bridge.trade().methods


def invite(order_id: str, way: Way, return_url: str, payer_ip: str, openid: str) -> Invitation:
    """Where to pay. Raises CannotHappen when nothing is left to pay, Busy when the gateway does not answer."""
    trade, whose = bridge.trade(), {"return_url": return_url, "payer_ip": payer_ip, "openid": openid}
    return bridge.ask(flow.invite(trade, order_id, way.method, scene=way.scene, **whose))


def who_url(method: str, return_url: str, state: str) -> str:
    """Where the firm of this method tells who the person is; for a method that asks."""
    return _asking(method).who_url(return_url, state)


def who(method: str, code: str) -> str:
    """Who the person with that code is to us at the firm. Raises CannotHappen, and Busy when the firm does not say."""
    match bridge.ask(_asking(method).who(bridge.trade().world, code)):
        case Done(openid):
            return openid
        case Refused(reason):
            raise CannotHappen(f"The payment firm does not say who is paying: {reason}.")
        case _:
            raise Busy("The payment firm does not answer. Nothing was charged; try again in a moment.")


def _asking(method: str) -> AsksWho:
    found = methods()[method]
    assert isinstance(found, AsksWho)
    return found


def pay_inside(order_id: str, way: Way, secret: str, by: Sequence[str], change_to_wallet: bool) -> Order:
    """Pays here and at once. Raises what `flow.pay_inside` raises; nothing was taken then."""
    paid = flow.pay_inside(bridge.trade(), order_id, way.method, secret, by=by, change_to_wallet=change_to_wallet)
    return bridge.ask(paid)


def in_wallet(guest: str, currency: str) -> Money:
    """What this person keeps with us in one currency."""
    held = bridge.ask(flow.wallet(bridge.trade(), payer(guest)))
    return next((money for money in held if money.currency == currency), Money(0, currency))


def held(guest: str) -> list[Money]:
    """All that this person keeps with us."""
    return bridge.ask(flow.wallet(bridge.trade(), payer(guest)))


def currency() -> str:
    """What the people here pay with: the currency of the first operator on the shelf."""
    return bridge.trade().shelf.catalogue.operators()[0].currency


def fill(guest: str, money: Money, key: str) -> Order:
    """An order that fills this person's wallet; the same key and amount again is the same order. Raises BadInput."""
    return bridge.ask(flow.fill_wallet(bridge.trade(), payer(guest), money, channel=CHANNEL, key=key))


def moves(guest: str, currency: str) -> list[Move]:
    """What filled this person's wallet and what was paid from it, the newest first."""
    return bridge.ask(flow.wallet_story(bridge.trade(), payer(guest), currency))


def weigh(pin: Pin, by: Sequence[str]) -> Voucher:
    """The card behind a PIN. Raises WrongPin, VoucherNotValid, TooManyTries."""
    return bridge.ask(flow.weigh(bridge.trade(), pin, by))


def takes(operator: str, face: Money) -> None:
    """Whether this operator has such an amount on sale. Raises NotForSale."""
    bridge.trade().shelf.catalogue.quote(operator, face, at=bridge.trade().world.db_now())


def redeem(guest: str, pin: Pin, msisdn: Msisdn | None, operator: str, by: Sequence[str]) -> Order:
    """What a card gives: credit on a phone, or without a number money in this person's wallet. Raises what refuses it."""
    trade = bridge.trade()
    number = _index(msisdn) if msisdn else flow.wallet_number(trade, payer(guest))
    id_ = flow.new_order_id(trade, number)
    ask = Redemption(id_, pin, msisdn, number, payer(guest), CHANNEL, operator or None, tuple(by))
    (answer,) = bridge.ask(flow.redeem(trade, [ask]))
    if isinstance(answer, RefillError):
        raise answer
    return answer


def ask_gateway(order_id: str) -> Order:
    """Asks the gateway right now whether the order was paid."""
    return bridge.ask(flow.poll(bridge.trade(), order_id))


def cancel(order_id: str) -> Order:
    """Gives the order up while it is unpaid."""
    return bridge.ask(flow.cancel(bridge.trade(), order_id))


def order(order_id: str) -> Order:
    """Raises NotFound."""
    (found,) = bridge.ask(store.find(bridge.trade(), [order_id]))
    if found is None:
        raise NotFound("There is no such order.")
    return found


@dataclass(frozen=True, slots=True)
class Story:
    """An order with its number and what happened to it so far, for the person who may see it."""

    order: Order
    msisdn: Msisdn | None
    events: list[Event]
    payments: list[Payment]
    refunds: list[Refund]
    by_pin: bool  # an operator's PIN is what it got

    @property
    def claimed(self) -> list[Refund]:
        """What went back by a claim code, because the way it was paid leads nowhere back."""
        return [refund for refund in self.refunds if refund.claim_until is not None]

    @property
    def mark(self) -> int:
        """Grows with every step, as `store.Mark` does."""
        return len(self.events)


def story(order_id: str) -> Story:
    """Raises NotFound."""
    timeline = bridge.ask(store.timeline(bridge.trade(), order_id))
    by_pin = any(each.supplier == stock.SUPPLIER and each.state == "done" for each in timeline.attempts)
    return Story(timeline.order, timeline.msisdn, timeline.events, timeline.payments, timeline.refunds, by_pin)


def pins(order_id: str) -> list[tuple[Given, TopUpPin]]:
    """The PIN of an order, for the payer's eyes only; that they saw it is written down."""
    return bridge.ask(flow.pins_for_payer(bridge.trade(), order_id, "payer"))


def claim_code(refund: Refund) -> str:
    """The code of a refund in groups of four, for the payer's eyes only."""
    return flow.claim_code(bridge.trade(), refund).grouped()


def watch_url(order_id: str) -> str:
    """Where a page hears, for the next hours and without a session, that this order moved."""
    until = bridge.trade().world.now() + WATCHED_FOR
    return f"/watch/{write_pass(bridge.trade().vault, WATCH, order_id, until)}"


def payer(guest: str) -> str:
    return f"guest:{guest}"


def signed(order_id: str) -> str:
    """The order's id with our signature: whoever holds it may read the receipt."""
    return signing.Signer(salt="receipt").sign(order_id)


def unsigned(text: str) -> str:
    """Raises NotFound for a signature that is not ours."""
    try:
        return signing.Signer(salt="receipt").unsign(text)
    except signing.BadSignature:
        raise NotFound("There is no such receipt.") from None


def _index(msisdn: Msisdn) -> str:
    return number_id(bridge.trade().vault, msisdn)
