"""Selling from the command line: a top-up from a float, a balance, partners and their floats."""

from typing import Any

from cyclopts import App

from refill.cli.shared import Data, in_house, settings_of

partner = App(name="partner", help="Platforms that sell through us.")


def topup(
    msisdn: str, amount: str, /, *, data: Data = None, partner: str | None = None, reference: str | None = None
) -> int:
    """Tops a number up from a partner's float (the demonstration's, when none is named): `refill topup 19912345678 50.00`."""
    from refill import accounts, numbers
    from refill.money import amount as read_amount
    from refill.topup import Ask, Order, flow

    async def run(house: Any) -> int:
        trade = house.trade
        payer = await trade.db.transaction(lambda tx: accounts.partner(tx, partner or "Demo platform"))
        number = numbers.msisdn(msisdn)
        index = numbers.number_id(trade.vault, number)
        face = read_amount(amount, payer.currency)
        ask = Ask(
            flow.new_order_id(trade, index),
            f"partner:{payer.id}",
            "cli",
            number,
            index,
            face,
            reference=reference,
            commission_bp=payer.commission_bp,
        )
        (order,) = await flow.place(trade, [ask])
        if not isinstance(order, Order):
            raise order
        until = f", valid until {order.valid_until:%Y-%m-%d}" if order.valid_until else ""
        print(f"{order.id} {order.status}: {number.masked()} {order.face} for {order.price}{until}")
        return 0

    return in_house(settings_of(data), run)


def balance(msisdn: str, /, *, data: Data = None) -> int:
    """Balance and validity of a number on our own network."""
    from refill import numbers
    from refill.errors import NotFound
    from refill.topup import store

    async def run(house: Any) -> int:
        view = await store.subscriber_view(house.trade, numbers.msisdn(msisdn))
        if view is None:
            raise NotFound("This number is not on our own network.")
        until = f"{view.active_until:%Y-%m-%d}" if view.active_until else "not activated"
        print(f"{view.msisdn.masked()}  {view.state}  balance {view.balance}  valid until {until}")
        return 0

    return in_house(settings_of(data), run)


def routes(
    operator: str,
    face: str,
    /,
    *,
    channel: str = "portal",
    partner: str | None = None,
    region: str = "",
    data: Data = None,
) -> int:
    """Says who would deliver a top-up now, in which order, and why: `refill routes cmcc 50.00`."""
    from refill.catalogue.routing import SAYS
    from refill.money import amount as read_amount
    from refill.topup.explain import explain

    async def run(house: Any) -> int:
        currency = house.trade.shelf.catalogue.operator(operator).currency
        amount = read_amount(face, currency)
        found = await explain(house.trade, operator, amount, channel=channel, partner=partner, region=region)
        for n, one in enumerate(found, 1):
            place = f"{n}." if one.chosen else "–"
            cost = f" for {one.cost}" if one.cost else ""
            print(f"{place} {one.supplier}{cost}: {SAYS.get(one.why, one.why)}")
        return 0 if any(one.chosen for one in found) else 1

    return in_house(settings_of(data), run)


@partner.command
def create(
    name: str,
    /,
    *,
    float: str = "0.00",
    currency: str = "CNY",
    commission_bp: int = 0,
    scopes: str = "topup balance webhooks",
    data: Data = None,
) -> int:
    """Creates a partner with a float (`--float 1000000.00`, posted from bank:demo) and prints its API key, once.

    `--scopes "topup balance webhooks subscriber"` also lets the key see subscribers of our own network.
    """
    from refill.app import new_partner
    from refill.money import Money, amount

    prepaid = Money(0, currency) if float.strip("0.") == "" else amount(float, currency)

    async def run(house: Any) -> int:
        partner_id, key = await new_partner(house, name, prepaid, commission_bp=commission_bp, scopes=scopes)
        print(f"{partner_id}\n{key}")
        return 0

    return in_house(settings_of(data), run)


@partner.command
def zone(name: str, time_zone: str, /, *, data: Data = None) -> int:
    """Sets whose midnight ends a partner's day, for its statements: an IANA name such as Asia/Shanghai."""
    from refill.accounts import set_time_zone

    async def run(house: Any) -> int:
        await house.pool.transaction(lambda tx: set_time_zone(tx, name, time_zone))
        return 0

    return in_house(settings_of(data), run)


@partner.command
def stripes(name: str, count: int, /, *, data: Data = None) -> int:
    """Keeps a very busy partner's float in COUNT pieces (1 to 16), each of which one batch may debit at a time."""
    from refill import accounts, ledger

    async def run(house: Any) -> int:
        world = house.world

        async def split(tx: Any) -> str:
            partner = await accounts.partner(tx, name)
            account = accounts.float_account(partner.id, partner.currency)
            id_ = world.new_id("st", ledger.cell_of_account(account))
            await ledger.split(tx, account, count, id_=id_, at=world.db_now())
            return account

        print(f"{await house.pool.transaction(split)} is kept in {count}")
        return 0

    return in_house(settings_of(data), run)
