"""What staff read: states, transitions and kinds of cases in their language, and values made ready for a page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from refill.channels.backoffice import desk
from refill.channels.backoffice.masking import mask, readable
from refill.money import Money
from refill.topup import Order
from refill.topup.store import Timeline

STATES: dict[str, Promise] = {
    # payment
    "unpaid": _("unpaid"),
    "captured": _("paid"),
    "refund_pending": _("being refunded"),
    "refunded": _("refunded"),
    "expired": _("lapsed"),
    "disputed": _("disputed"),
    # delivery
    "quoted": _("quoted"),
    "ready": _("ready to send"),
    "dispatching": _("with the supplier"),
    "delivered": _("delivered"),
    "partial": _("partly delivered"),
    "parked": _("parked"),
    "unknown": _("unknown"),
    "failed": _("failed"),
    "reversed": _("reversed"),
    # parts
    "open": _("open"),
    "closed": _("closed"),
    "prepared": _("prepared"),
    "done": _("done"),
    "refused": _("refused"),
    "due": _("due"),
    "sent": _("sent"),
    "cancelled": _("cancelled"),
    "stuck": _("stuck"),
    # cases
    "assigned": _("assigned"),
    "resolved": _("settled"),
}
TRANSITIONS: dict[str, Promise] = {
    "placed": _("Order placed"),
    "held": _("Placed and paid from a float"),
    "sold": _("Paid and credited in one step"),
    "paid": _("Payment received"),
    "expired": _("Lapsed without payment"),
    "sent": _("Attempt sent to the supplier"),
    "unsure": _("Outcome unknown; inquiring"),
    "retry": _("Definite no; another attempt"),
    "parked": _("Parked: our float is empty"),
    "resumed": _("Resumed"),
    "delivered": _("Delivered"),
    "partial": _("Delivered in part"),
    "failed": _("Failed; refund due"),
    "overdue": _("Unknown at the deadline; refunded from suspense"),
    "late_success": _("Delivered after all"),
    "proven_failed": _("Proven failed"),
    "refunded": _("Refunded"),
    "reversed": _("Credit taken back"),
    "stray_payment": _("A stray payment went to suspense"),
    "stray_refunded": _("The stray payment went back"),
    "refund_cancelled": _("Refund cancelled"),
    "refund_stuck": _("The refund is stuck"),
}
KINDS: dict[str, Promise] = {
    "unknown": _("Unknown outcome"),
    "unknown_code": _("Unknown answer code"),
    "late_success": _("Delivered after refund"),
    "late_payment": _("Paid after it lapsed"),
    "paid_twice": _("Paid twice"),
    "wrong_amount": _("Wrong amount"),
    "stranger": _("Notice for no order"),
    "refund_refused": _("Refund refused"),
    "empty_float": _("Our float is empty"),
    "voucher_guessing": _("PINs are being guessed"),
    "difference": _("Difference in the books"),
    "disputed": _("Disputed payment"),
    "suspense": _("In suspense"),
}
WAYS: dict[str, Promise] = {
    "explained": _("Explained, nothing to do"),
    "refunded": _("Refunded to the payer"),
    "written_off": _("Written off"),
    "corrected_by_partner": _("Corrected by the other side"),
    "duplicate": _("Same as another case"),
}


# What django-unfold says on our pages; it brings no Chinese of its own.
_UNFOLD = (
    _("Apply Filters"),
    _("Clear all filters"),
    _("Dark"),
    _("Filters"),
    _("Go back"),
    _("Light"),
    _("Log out"),
    _("No results found"),
    _("Remove from sorting"),
    _("Reset filters"),
    _("Return to site"),
    _("System"),
    _("This page yielded into no results. Create a new item or reset your filters."),
    _("Toggle password visibility"),
    _("Toggle sorting"),
    _("Type to search"),
    _("Welcome back to"),
)


def navigation(_request: HttpRequest) -> list[dict[str, Any]]:
    """What stands at the side of every staff page."""
    look_up = [
        (_("Orders"), "receipt_long", "topup_order"),
        (_("Cases"), "report", "cases_case"),
        (_("Subscribers"), "sim_card", "backoffice_subscriberrow"),
        (_("Partners"), "handshake", "accounts_partner"),
        (_("Operators"), "cell_tower", "catalogue_operator"),
        (_("Products"), "sell", "catalogue_product"),
        (_("What staff did"), "history", "people_staffact"),
    ]
    today = {"title": _("Today"), "icon": "today", "link": reverse("staff:index")}
    lists = [
        {"title": title, "icon": icon, "link": reverse(f"staff:{name}_changelist")} for title, icon, name in look_up
    ]
    return [{"items": [today]}, {"title": _("Look up"), "separator": True, "items": lists}]


def state(word: str) -> Promise | str:
    return STATES.get(word, word)


def kind(word: str) -> Promise | str:
    return KINDS.get(word, word)


def ways() -> list[tuple[str, Promise]]:
    return [(way, WAYS[way]) for way in desk.WAYS]


@dataclass(frozen=True, slots=True)
class Case:
    """A case on a list or page; `order` is the id of the order that it is about, if it is about one."""

    id: str
    kind: Promise | str
    about: str
    says: str
    state: Promise | str
    open: bool
    due_at: datetime
    opened_at: datetime
    assigned_to: str
    resolution: str
    resolved_by: str
    order: str

    @classmethod
    def of(cls, row: Any) -> "Case":
        return cls(
            row.id,
            kind(row.kind),
            mask(row.about),
            mask(row.says),
            state(row.state),
            row.state != "resolved",
            row.due_at,
            row.opened_at,
            row.assigned_to or "",
            row.resolution or "",
            row.resolved_by or "",
            row.about if row.about.startswith("tu_") and len(row.about) == 27 else "",
        )


@dataclass(frozen=True, slots=True)
class Found:
    """An order in a list."""

    id: str
    operator: str
    face: Money
    price: Money
    payment: Promise | str
    delivery: Promise | str
    created_at: datetime

    @classmethod
    def of(cls, order: Order) -> "Found":
        states = state(order.payment), state(order.delivery)
        return cls(order.id, order.operator, order.face, order.price, *states, order.created_at)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order's story."""

    at: datetime
    what: Promise | str
    detail: str
    message: list[str]
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """An order's page: what it is, what happened, and the money and the requests around it."""

    order: Order
    payment: Promise | str
    delivery: Promise | str
    masked: str
    lines: list[Line]
    payments: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    refunds: list[dict[str, Any]]
    transfers: list[dict[str, Any]]
    cases: list[Case]

    @classmethod
    def of(cls, timeline: Timeline) -> "Story":
        order = timeline.order
        happened = [
            Line(event.at, TRANSITIONS.get(event.transition, event.transition), mask(event.detail), [])
            for event in timeline.events
        ]
        notices = [
            Line(
                notice.received_at,
                _("Notice from %(source)s") % {"source": notice.source},
                f"{mask(notice.remark)} ×{notice.seen}",
                readable(notice.raw),
                not notice.verified,
            )
            for notice in timeline.notices
        ]
        return cls(
            order,
            state(order.payment),
            state(order.delivery),
            timeline.msisdn.masked() if timeline.msisdn else "",
            sorted(happened + notices, key=lambda line: line.at),
            [
                {
                    "method": p.method,
                    "reference": p.reference,
                    "amount": p.amount,
                    "state": state(p.state),
                    "at": p.opened_at,
                }
                for p in timeline.payments
            ],
            [
                {
                    "supplier": a.supplier,
                    "request": a.request_id,
                    "theirs": a.their_id or "",
                    "code": a.code,
                    "state": state(a.state),
                    "asked": a.inquiries,
                    "at": a.prepared_at,
                }
                for a in timeline.attempts
            ],
            [
                {"method": r.method, "request": r.request_id, "amount": r.amount, "state": state(r.state), "why": r.why}
                for r in timeline.refunds
            ],
            [
                {
                    "entry": entry,
                    "debit": debit,
                    "credit": credit,
                    "amount": Money(minor, debit.rpartition("/")[2]),
                    "at": at,
                }
                for entry, debit, credit, minor, at in timeline.transfers
            ],
            [Case.of(case) for case in timeline.cases],
        )
