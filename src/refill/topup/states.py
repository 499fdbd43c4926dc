"""The two machines of an order: which moves are legal, which timer is next, and what to do when it rings. Pure rules."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from refill import stock
from refill.operators import pins
from refill.topup.order import Attempt, Dossier, Order, Payment, Refund
from refill.topup.trade import Rules

PAID_BACK = frozenset({"refund_pending", "refunded"})
FINAL_DELIVERY = frozenset({"delivered", "partial", "failed", "reversed"})


@dataclass(frozen=True, slots=True)
class Edge:
    """A legal move: from any of these payment and delivery states (both empty: an order is born) to those.

    A delivery of "=" is the one that it had.
    """

    payment: frozenset[str]
    delivery: frozenset[str]
    to: frozenset[tuple[str, str]]

    def leaves(self, payment: str, delivery: str) -> bool:
        """Does it begin at this state?"""
        return payment in self.payment and delivery in self.delivery


def _edge(payment: str, delivery: str, *to: str) -> tuple[Edge, ...]:
    return (
        Edge(
            frozenset(payment.split() or [""]),
            frozenset(delivery.split() or [""]),
            frozenset((p, d) for p, d in (pair.split("/") for pair in to)),
        ),
    )


# transition: its legal moves; payment before, delivery before, allowed (payment/delivery) after
EDGES: dict[str, tuple[Edge, ...]] = {
    "placed": _edge("", "", "unpaid/quoted"),
    "held": _edge("", "", "captured/ready"),
    # born so for a partner; paid and credited at once for a guest
    "sold": _edge("", "", "captured/delivered") + _edge("unpaid", "quoted", "captured/delivered"),
    "paid": _edge("unpaid", "quoted", "captured/ready"),
    "expired": _edge("unpaid", "quoted", "expired/quoted"),
    "sent": _edge("captured", "ready", "captured/dispatching"),
    "unsure": _edge("captured", "dispatching unknown", "captured/unknown")
    + _edge("disputed", "dispatching unknown", "disputed/unknown"),
    "retry": _edge("captured", "dispatching unknown", "captured/ready"),
    # an empty float, or nobody who may be asked at this hour
    "parked": _edge("captured", "ready dispatching unknown", "captured/parked"),
    "resumed": _edge("captured", "parked", "captured/ready"),
    "delivered": _edge("captured", "dispatching unknown", "captured/delivered")
    + _edge("disputed", "dispatching unknown", "disputed/delivered"),
    "partial": _edge("captured", "dispatching unknown", "refund_pending/partial", "captured/partial")
    + _edge("disputed", "dispatching unknown", "disputed/partial"),
    "failed": _edge("captured", "ready dispatching unknown parked", "refund_pending/failed", "refunded/failed"),
    "stopped": _edge("disputed", "dispatching unknown", "disputed/failed"),
    "overdue": _edge("captured", "unknown dispatching", "refund_pending/unknown", "refunded/unknown"),
    "late_success": _edge(
        "refund_pending refunded",
        "unknown failed",
        *("captured/delivered", "refund_pending/delivered", "refunded/delivered"),
        *("refund_pending/partial", "refunded/partial"),  # half of it came late: the payer has everything back
    ),
    "proven_failed": _edge("refund_pending refunded", "unknown", "refund_pending/failed", "refunded/failed"),
    # a person gives money back although the credit stays; at once into a float, for others the gateway is asked
    "goodwill": _edge("captured", "delivered partial", "refund_pending/=", "captured/=", "refunded/="),
    "refunded": _edge("refund_pending", "failed unknown reversed", "refunded/=")
    + _edge("refund_pending", "partial delivered", "refunded/=", "captured/=", "disputed/="),
    "reversed": _edge("captured", "delivered", "refund_pending/reversed", "refunded/reversed")
    + _edge("refunded", "delivered", "refunded/reversed"),  # the payer had the price back before
    "disputed": _edge("captured", "ready parked dispatching unknown delivered partial", "disputed/="),
    "dispute_won": _edge("disputed", "ready parked dispatching unknown delivered partial", "captured/=")
    + _edge("disputed", "failed partial", "refund_pending/="),  # what was not delivered goes back now
    "dispute_lost": _edge("disputed", "delivered", "refunded/=", "captured/=")  # captured: the bank took a part
    + _edge("disputed", "partial", "refunded/=", "captured/=", "refund_pending/=")
    + _edge("disputed", "ready parked failed", "refunded/failed", "refund_pending/failed")
    + _edge("disputed", "dispatching unknown", "refunded/unknown", "captured/unknown")
    + _edge("refund_pending", "failed unknown reversed", "refunded/=", "refund_pending/=")
    + _edge("refund_pending", "partial delivered", "refunded/=", "refund_pending/=", "captured/="),
}
BORN = frozenset(name for name, edges in EDGES.items() if any(edge.leaves("", "") for edge in edges))
# Remarks in an order's timeline that move neither machine, in the order of life.
REMARKS = (
    *("late_delivery", "stray_payment", "refund_cancelled", "refund_stuck", "stray_refunded"),
    *("reversal_refused", "reversal_stuck"),
    "pin_replaced",  # one that did not work, by another
    *("dispute_noted", "dispute_ended"),  # of money that is on its way back, or that paid for nothing
)


def legal(transition: str, payment: str, delivery: str, payment_after: str, delivery_after: str) -> bool:
    """May an order in this state make this move? Both states empty: it is being born."""
    return (payment_after, delivery_after) in ends_of(transition, payment, delivery)


@cache
def ends_of(transition: str, payment: str, delivery: str) -> frozenset[tuple[str, str]]:
    """All states that this move may lead to from here; none for a transition that the rules do not know."""
    leaving = [edge for edge in EDGES.get(transition, ()) if edge.leaves(payment, delivery)]
    return frozenset((p, delivery if d == "=" else d) for edge in leaving for p, d in edge.to)


def is_final(payment: str, delivery: str) -> bool:
    """Nothing can change any more except by a dispute, a reversal or a surprise."""
    if payment == "expired":
        return True
    return (delivery in FINAL_DELIVERY and payment in ("captured", "refunded")) and not (
        delivery in ("failed", "reversed") and payment == "captured"
    )


# ------------------------------------------------------------------ schedules, in seconds

POLL = (15, 30, 60, 60, 120)  # is it paid? money is found within five minutes although every notice is lost
INQUIRE = (5, 15, 30, 60, 120, 300, 600, 1800, 3600)  # DOMAIN rule 4
ASK_REFUND = (5, 15, 60, 300, 900, 3600)
RETRY = (5, 15, 60, 300)  # another attempt after a definite no that may pass
PARK = (60, 60, 120, 300, 600)  # is our float filled again?


def after(schedule: tuple[int, ...], n: int) -> timedelta:
    """The wait before the n-th repetition (from 0); the last one goes on for ever."""
    return timedelta(seconds=schedule[min(n, len(schedule) - 1)])


def due_of(dossier: Dossier, rules: Rules) -> datetime | None:
    """The earliest of all timers of an order; None when nothing is left to do."""
    order = dossier.order
    timers = [refund.ask_at for refund in dossier.refunds if refund.state in ("due", "sent")]
    open_payments = [payment for payment in dossier.payments if payment.state == "open"]
    timers += [payment.poll_at for payment in open_payments]
    if order.payment == "unpaid" and not open_payments:
        timers.append(order.expires_at)
    if _may_be_sent(order):
        timers += [order.wake_at, order.deadline]
    if attempt := dossier.open_attempt:
        timers.append(attempt.inquire_at)
        if order.payment == "captured":
            timers.append(_never_before(order.deadline, attempt.hard_end))
    return min((timer for timer in timers if timer is not None), default=None)


def next_inquiry(order: Order, rules: Rules, at: datetime) -> datetime | None:
    """`at`, unless by then nobody asks any more what became of the order."""
    if order.deadline is not None and at >= order.deadline + rules.chase_after_deadline:
        return None
    return at


def next_poll(payment: Payment, order: Order, now: datetime) -> datetime:
    """When to ask the gateway next: by the schedule, but not later than the moment in which the order lapses."""
    planned = now + after(POLL, payment.polls)
    if order.payment == "unpaid" and order.expires_at is not None and now < order.expires_at < planned:
        return order.expires_at
    return planned


def _may_be_sent(order: Order) -> bool:
    """Paid and not sent; an order whose payment is disputed waits for the bank, and its case has the deadline."""
    return order.payment == "captured" and order.delivery in ("ready", "parked")


def _never_before(deadline: datetime | None, hard_end: datetime) -> datetime | None:
    """Nobody is refunded while our own request may still be on its way out."""
    return None if deadline is None else max(deadline, hard_end)


# ------------------------------------------------------------------ what to do when a timer rings


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask the gateway whether it is paid."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class Close:
    """Tell the gateway that nobody may pay it any more."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class Expire:
    """Nobody paid, and nobody can."""


@dataclass(frozen=True, slots=True)
class Send:
    """Make an attempt at the supplier."""


@dataclass(frozen=True, slots=True)
class Inquire:
    """Ask the supplier what became of an attempt."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Resume:
    """Leave the parking place."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The deadline passed and nothing is on its way: refund."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The deadline passed and the outcome is still unknown: refund from suspense, go on asking."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class AskRefund:
    """Ask the gateway for a refund."""

    refund: Refund


Step = Poll | Close | Expire | Send | Inquire | Resume | GiveUp | Overdue | AskRefund


def next_step(dossier: Dossier, now: datetime) -> Step | None:
    """The most urgent thing that is due for an order; None when no timer has rung."""
    order = dossier.order
    for refund in dossier.refunds:
        if refund.state in ("due", "sent") and _rang(refund.ask_at, now):
            return AskRefund(refund)
    if _may_be_sent(order):
        if _rang(order.deadline, now):
            return GiveUp()
        if _rang(order.wake_at, now):
            return Send() if order.delivery == "ready" else Resume()
    if attempt := dossier.open_attempt:
        if order.payment == "captured" and _rang(_never_before(order.deadline, attempt.hard_end), now):
            return Overdue(attempt)
        if _rang(attempt.inquire_at, now):
            return Inquire(attempt)
    return _next_payment_step(dossier, now)


def _next_payment_step(dossier: Dossier, now: datetime) -> Step | None:
    """Open payments are asked about while they may be paid and closed when they may not; also beside a paid order."""
    order = dossier.order
    open_payments = [payment for payment in dossier.payments if payment.state == "open"]
    # A live QR code beside a paid or lapsed order is closed, so that nobody pays it a second time.
    lapsed = order.payment != "unpaid" or _rang(order.expires_at, now)
    for payment in open_payments:
        if _rang(payment.poll_at, now):
            return Close(payment) if lapsed else Poll(payment)
    if order.payment == "unpaid" and not open_payments and _rang(order.expires_at, now):
        return Expire()
    return None


def _rang(timer: datetime | None, now: datetime) -> bool:
    return timer is not None and timer <= now


def owner_account(order: Order) -> str:
    """Where a captured order's money waits: with us for people, held out of the float for a partner."""
    owner = f"held:{order.partner}" if order.partner else "owed:customers"
    return f"{owner}/{order.price.currency}"


def float_account(order: Order) -> str:
    """The partner's float."""
    return f"float:{order.partner}/{order.price.currency}"


def supply_account(supplier: str, operator: str, currency: str) -> str:
    """What a delivery is taken out of: our float at the supplier, or the PINs in our own stock."""
    return stock.account(operator, currency) if supplier == pins.NAME else f"float:{supplier}/{currency}"


def unknown_account(order: Order) -> str:
    """Where money of an outcome that nobody could tell us goes at the deadline; the entries name the order."""
    return f"suspense:unknown-{order.supplier}/{order.price.currency}"
