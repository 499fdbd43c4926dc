"""What a supplier abroad costs us: its currency at the rate that was frozen on the order, booked through the position."""

from collections.abc import Iterable

from refill.cases import Case
from refill.catalogue.rates import Rate
from refill.db import Tx
from refill.ledger import Account, Entry, open_accounts
from refill.money import Money, share
from refill.operators import Delivery, pins
from refill.topup.order import Attempt, Order
from refill.topup.states import supply_account
from refill.topup.store import Changes

Leg = tuple[str, str, int]


def frozen(order: Order, rate: Rate) -> Order:
    """The order with the rate at which its supplier's money is counted, whatever becomes of the rate afterwards."""
    num, den = rate.minor
    return order.but(cost_currency=rate.base, rate_num=num, rate_den=den)


def cost_of(order: Order, delivery: Delivery) -> Money:
    """What they took; where they do not tell it in the currency that was agreed, the part of the agreed cost that fits."""
    agreed = agreed_for(order, delivery)
    if delivery.cost and delivery.cost.currency == agreed.currency:
        return delivery.cost
    return agreed


def agreed_for(order: Order, delivery: Delivery) -> Money:
    """What was agreed for what was delivered."""
    currency = order.cost_currency or order.price.currency
    return Money(share(order.cost_minor or 0, delivery.face.minor, order.face.minor), currency)


def watch_cost(changes: Changes, order: Order, attempt: Attempt, delivery: Delivery) -> None:
    """A supplier never takes more than was agreed, nor another currency: where it does, a person is told."""
    told, agreed = delivery.cost, agreed_for(order, delivery)
    if told is None or order.cost_minor is None:
        return
    if told.currency != agreed.currency:
        says = f"{attempt.supplier} bills in {told.currency}, and {agreed.currency} was agreed; {agreed} was booked."
        changes.troubles.append(Case("wrong_cost", order.id, says, told))
    elif agreed < told and attempt.supplier != pins.NAME:  # what our own goods cost was agreed when we bought them
        says = f"{attempt.supplier} took {told}, and {agreed} was agreed; what they took was booked."
        changes.troubles.append(Case("wrong_cost", order.id, says, told - agreed))


def cost_legs(order: Order, supplier: str, cost: Money) -> list[Leg]:
    """What a supplier took out of our float there, as our cost; money of another currency goes through the position.

    A transfer stays within one currency: their money comes out of `fx:position` in theirs, and our cost goes into
    `fx:position` in ours, at the rate of the order.
    """
    spent = f"cost:topup/{order.price.currency}"
    taken = supply_account(supplier, order.operator, cost.currency)
    if cost.currency == order.price.currency:
        return [(spent, taken, cost.minor)]
    ours = order.in_price(cost.minor)
    return [
        (spent, f"fx:position/{order.price.currency}", ours),
        (f"fx:position/{cost.currency}", taken, cost.minor),
    ]


async def open_floats(tx: Tx, entries: Iterable[Entry], changes: Changes) -> None:
    """Opens the floats in other currencies from which these entries take: the first bill may come before the first deposit."""
    names = {leg.credit for entry in entries for leg in entry.transfers if leg.debit.startswith("fx:position/")}
    if names:
        await open_accounts(tx, [Account(name, None) for name in sorted(names)], changes.now)
