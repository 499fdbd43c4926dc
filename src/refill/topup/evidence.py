"""What we can show to a payer's bank: what was ordered and paid, how it was delivered, and who says so."""

from dataclasses import dataclass
from datetime import datetime

from refill.money import Money
from refill.topup.store import Timeline

# Transitions with which credit reached the phone; our own sale is one step with its payment.
ARRIVED = ("delivered", "sold", "partial", "late_success")


@dataclass(frozen=True, slots=True)
class Tried:
    """One request to the operator or a distributor, under our name and theirs."""

    supplier: str
    request_id: str
    their_reference: str
    state: str
    code: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Paid:
    """Money that arrived for the order, in the payment firm's own words."""

    method: str
    merchant: str
    transaction: str
    amount: str
    at: datetime


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Money that went back, or is on its way."""

    method: str
    request_id: str
    amount: str
    state: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Heard:
    """A signed notice of a payment firm or an operator that we received and kept."""

    source: str
    id: str
    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Fought:
    """A dispute, as the payment firm told it."""

    method: str
    transaction: str
    amount: str
    reason: str
    state: str
    opened_at: datetime
    evidence_by: datetime | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One order for the eyes of a bank. No address of a browser, no whole number, and nothing that staff wrote.

    Amounts are decimals with their currency, times UTC; `number` is masked, or empty when it was erased.
    """

    order: str
    number: str
    operator: str
    product: str
    face_value: str
    price: str
    ordered_at: datetime
    delivered_at: datetime | None
    delivered: str
    payments: list[Paid]
    attempts: list[Tried]
    refunds: list[GivenBack]
    disputes: list[Fought]
    history: list[tuple[datetime, str]]
    notices: list[Heard]


def evidence(timeline: Timeline) -> Evidence:
    """What an order's timeline tells a bank."""
    order = timeline.order
    return Evidence(
        order.id,
        timeline.msisdn.masked() if timeline.msisdn else "",
        order.operator,
        order.product,
        str(order.face),
        str(order.price),
        order.created_at,
        next((event.at for event in timeline.events if event.transition in ARRIVED), None),
        str(Money(order.delivered_minor, order.face.currency)),
        [Paid(c.method, c.merchant, c.transaction, str(c.amount), c.paid_at) for c in timeline.captures],
        [Tried(a.supplier, a.request_id, a.their_id or "", a.state, a.code, a.prepared_at) for a in timeline.attempts],
        [GivenBack(r.method, r.request_id, str(r.amount), r.state, r.done_at or r.opened_at) for r in timeline.refunds],
        [
            Fought(d.method, d.transaction, str(d.amount), d.reason, d.state, d.opened_at, d.evidence_by)
            for d in timeline.disputes
        ],
        [(event.at, event.transition) for event in timeline.events],
        [Heard(n.source, n.their_id, n.received_at, n.remark) for n in timeline.notices if n.verified],
    )
