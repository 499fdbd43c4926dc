"""Asking a supplier for credit, once, and asking what became of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from refill.catalogue.routing import Choice, Route, Tried
from refill.operators import Delivery, Recharge, pins
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, Outcome, Unknown
from refill.topup import states
from refill.topup.exchange import frozen
from refill.topup.order import Attempt, Dossier, Order, request_id
from refill.topup.states import after
from refill.topup.store import Changes
from refill.topup.trade import Trade


@dataclass(frozen=True, slots=True)
class Answered:
    """What a supplier said about one attempt; `by_inquiry`: asked again, rather than at the first request."""

    attempt: Attempt
    outcome: Outcome[Delivery]
    by_inquiry: bool = False


def tried(dossier: Dossier) -> dict[str, Tried]:
    """Who refused this order, how often, and until when each of them is left alone; an empty float is no refusal of it."""
    found: dict[str, Tried] = {}
    for attempt in dossier.attempts:
        if attempt.state == "refused" and attempt.code != EMPTY_FLOAT:
            times = found[attempt.supplier].times if attempt.supplier in found else 0
            found[attempt.supplier] = Tried(times + 1, attempt.prepared_at + after(states.RETRY, times))
        elif attempt.state == "refused" and attempt.supplier == pins.NAME:  # of this product none was left a moment ago
            found[pins.NAME] = Tried(0, attempt.prepared_at + after(states.RETRY, 0))
    return found


def elsewhere(trade: Trade, dossier: Dossier, supplier: str, now: datetime) -> bool:
    """Is there anybody but `supplier` who could be asked for this order at once?"""
    order, catalogue = dossier.order, trade.shelf.catalogue
    refused = tried(dossier)

    def free(name: str) -> bool:
        one = refused.get(name)
        return one is None or (one.times < catalogue.routing.of(name).most_tries and one.rests_until <= now)

    routes = catalogue.routes_of_paid(order.operator, order.product, order.face, now)
    names = {route.supplier for route in routes} & set(trade.suppliers) - {supplier}
    return any(free(name) for name in names)


def prepare(trade: Trade, changes: Changes, order: Order, choice: Choice) -> Attempt:
    """A new attempt for a ready order at the chosen supplier, to be committed before any byte is sent.

    The order follows its attempt: its supplier, and what was agreed with it, are those that are asked now.
    """
    assert choice.route is not None
    n, now, supplier = order.attempts + 1, changes.now, choice.route.supplier
    if supplier != order.supplier:
        order = _moved(order, choice.route)
    flags = trade.suppliers[supplier].flags
    send_before = now + trade.rules.send_window
    hard_end = send_before + timedelta(seconds=flags.timeout_s)
    attempt = Attempt(
        order.id,
        n,
        supplier,
        request_id(order.id, n),
        "prepared",
        now,
        send_before,
        hard_end,
        0,
        hard_end + after(states.INQUIRE, 0),
        fence=order.fence,
        why=choice.why,
    )
    changes.keep_attempt(attempt)
    changes.move(
        order.id,
        "sent",
        n,
        delivery="dispatching",
        attempts=n,
        wake_at=None,
        detail=supplier,
        supplier=supplier,
        cost_minor=order.cost_minor,
        cost_currency=order.cost_currency,
        rate_num=order.rate_num,
        rate_den=order.rate_den,
    )
    return attempt


def agreed_with(trade: Trade, order: Order, supplier: str, now: datetime) -> Order:
    """The order as it was agreed with a supplier that had it before, or will have it: what that one takes."""
    if supplier == order.supplier:
        return order
    routes = trade.shelf.catalogue.routes_of_paid(order.operator, order.product, order.face, now)
    route = next((route for route in routes if route.supplier == supplier), Route(supplier, order.cost))
    return _moved(order, route)


def _moved(order: Order, route: Route) -> Order:
    cost = None if route.cost is None else route.cost.minor
    moved = order.but(supplier=route.supplier, cost_minor=cost, cost_currency=None, rate_num=None, rate_den=None)
    return moved if route.rate is None else frozen(moved, route.rate)


async def send(trade: Trade, attempt: Attempt, ask: Recharge) -> Answered:
    """Orders the credit from the supplier, once. The attempt was committed before."""
    return Answered(attempt, await trade.suppliers[attempt.supplier].recharge(trade.world, ask))


async def inquire(trade: Trade, attempt: Attempt, ask: Recharge, *, resend: bool) -> Answered:
    """Asks the supplier what became of an attempt; with `resend` a request that never arrived is sent again.

    Only for a supplier that knows our reference once, and only while the payer's money is still with us.
    """
    supplier = trade.suppliers[attempt.supplier]
    outcome = await supplier.inquire(trade.world, ask)
    if resend and never_heard(outcome):
        outcome = await supplier.recharge(trade.world, ask)
    return Answered(attempt, outcome, by_inquiry=True)


def never_heard(outcome: Outcome[Delivery]) -> bool:
    return isinstance(outcome, Unknown) and outcome.why == NOT_FOUND


def recharge_of(order: Order, attempt: Attempt, msisdn: str, send_before: datetime) -> Recharge:
    """What we ask a supplier for."""
    return Recharge(attempt.request_id, msisdn, order.face, order.operator, order.product, send_before, order.cost)
