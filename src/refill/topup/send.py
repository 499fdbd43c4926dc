"""Asking a supplier for credit, once, and asking what became of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from refill.operators import Delivery, Recharge
from refill.outcome import NOT_FOUND, Outcome, Unknown
from refill.topup import states
from refill.topup.order import Attempt, Order, request_id
from refill.topup.states import after
from refill.topup.store import Changes
from refill.topup.trade import Trade


@dataclass(frozen=True, slots=True)
class Answered:
    """What a supplier said about one attempt; `by_inquiry`: asked again, rather than at the first request."""

    attempt: Attempt
    outcome: Outcome[Delivery]
    by_inquiry: bool = False


def prepare(trade: Trade, changes: Changes, order: Order) -> Attempt:
    """A new attempt for a ready order, to be committed before any byte is sent."""
    n, now = order.attempts + 1, changes.now
    flags = trade.suppliers[order.supplier].flags
    send_before = now + trade.rules.send_window
    hard_end = send_before + timedelta(seconds=flags.timeout_s)
    attempt = Attempt(
        order.id,
        n,
        order.supplier,
        request_id(order.id, n),
        "prepared",
        now,
        send_before,
        hard_end,
        0,
        hard_end + after(states.INQUIRE, 0),
        fence=order.fence,
    )
    changes.keep_attempt(attempt)
    changes.move(order.id, "sent", n, delivery="dispatching", attempts=n, wake_at=None, detail=order.supplier)
    return attempt


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
