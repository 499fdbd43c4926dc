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
from refill.channels.backoffice.why import why
from refill.errors import RefillError
from refill.money import Money
from refill.topup import Order
from refill.topup.evidence import Evidence, GivenBack, Tried
from refill.topup.proposal import NotRefundable
from refill.topup.store import Event, Timeline

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
    "opened": _("the bank decides"),
    "won": _("decided for us"),
    "lost": _("decided against us"),
    "confirmed": _("confirmed"),
    "declined": _("declined"),
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
    "pin_replaced": _("The PIN did not work; another was given"),
    "refunded": _("Refunded"),
    "reversed": _("Credit taken back"),
    "stray_payment": _("A stray payment went to suspense"),
    "stray_refunded": _("The stray payment went back"),
    "refund_cancelled": _("Refund cancelled"),
    "refund_stuck": _("The refund is stuck"),
    "late_delivery": _("Delivered after a definite no"),
    "reversal_refused": _("Credit could not be taken back"),
    "reversal_stuck": _("Nobody can tell whether credit was taken back"),
    "stopped": _("Definite no; the money waits for the bank"),
    "goodwill": _("Given back as goodwill; the credit stays"),
    "disputed": _("Disputed by the payer's bank; stands still"),
    "dispute_won": _("The bank decided for us"),
    "dispute_lost": _("The bank decided against us"),
    "dispute_noted": _("Disputed by the payer's bank"),
    "dispute_ended": _("The dispute is decided"),
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
    "low_stock": _("Too few PINs are left"),
    "same_reference": _("Two orders under one name of theirs"),
    "low_float": _("Our float will be empty soon"),
    "breaker": _("A supplier fails, and is left alone"),
    "reversal_asked": _("Reversal to confirm"),
    "reversal_stuck": _("Unclear reversal"),
    "voucher_guessing": _("PINs are being guessed"),
    "webhook_failing": _("A partner's endpoint fails"),
    "wrong_cost": _("A supplier took more than agreed"),
    "thin_margin": _("A sale left too little"),
    "rate_old": _("An exchange rate ran out"),
    "difference": _("Difference in the books"),
    "disputed": _("Disputed payment"),
    "dispute_lost": _("Lost dispute"),
    "refund_asked": _("Refund to confirm"),
    "suspense": _("In suspense"),
}
WAYS: dict[str, Promise] = {
    "explained": _("Explained, nothing to do"),
    "refunded": _("Refunded to the payer"),
    "written_off": _("Written off"),
    "corrected_by_partner": _("Corrected by the other side"),
    "duplicate": _("Same as another case"),
}

# Why a refund cannot be asked for or confirmed; `left` is what may go back.
NOT_REFUNDABLE: dict[str, Promise] = {
    "unpaid": _("Nothing was paid, so there is nothing to give back."),
    "expired": _("Nothing was paid, so there is nothing to give back."),
    "refund_pending": _("A refund of this order is on its way already."),
    "refunded": _("Everything that was paid went back already."),
    "disputed": _("The payer's bank decides about this payment; a refund now could pay it back twice."),
    "in_flight": _("The credit may still arrive. Wait until the operator has answered, or until the deadline."),
    "too_much": _("Only %(left)s is left to give back."),
    "whole_only": _("Here only the whole can be given back: %(left)s."),
    "waiting": _("Another refund of this order waits to be confirmed."),
    "same_person": _("Another person confirms it, not the one who asked for it."),
    "declined": _("This refund was declined; ask for it again."),
    "confirmed": _("This refund was confirmed already."),
}
REFUSALS: dict[str, Promise] = {
    "not_an_amount": _("That is not an amount; write plain digits such as 50.00."),
    "bad_input": _("A refund has an amount and a reason."),
    "insufficient_funds": _("The wallet holds too little: what filled it was spent."),
}
NOT_DONE = _("That is not possible now; nothing was changed.")


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
    books = {"title": _("Reconciliation"), "icon": "balance", "link": reverse("staff:days")}
    floats = {"title": _("Floats at suppliers"), "icon": "account_balance_wallet", "link": reverse("staff:floats")}
    routing = {"title": _("Routing"), "icon": "alt_route", "link": reverse("staff:routing")}
    pins = {"title": _("PINs"), "icon": "pin", "link": reverse("staff:pins")}
    cards = {"title": _("Scratch cards"), "icon": "confirmation_number", "link": reverse("staff:batches")}
    guards = {"title": _("Lists and limits"), "icon": "shield", "link": reverse("staff:guards")}
    prices = {"title": _("Prices"), "icon": "price_change", "link": reverse("staff:prices")}
    left = {"title": _("Margins"), "icon": "percent", "link": reverse("staff:margins")}
    rates = {"title": _("Exchange rates"), "icon": "currency_exchange", "link": reverse("staff:rates")}
    hooks = {"title": _("Webhooks"), "icon": "webhook", "link": reverse("staff:hooks")}
    owners = {"title": _("Whose number"), "icon": "contact_phone", "link": reverse("staff:whose")}
    return [
        {"items": [today, books, floats, routing, prices, left, rates, cards, pins, guards, hooks, owners]},
        {"title": _("Look up"), "separator": True, "items": lists},
    ]


def state(word: str) -> Promise | str:
    return STATES.get(word, word)


def kind(word: str) -> Promise | str:
    return KINDS.get(word, word)


def refusal(error: RefillError) -> str:
    """Why nothing was done, in the reader's language; never the spine's own English."""
    if isinstance(error, NotRefundable):
        return str(NOT_REFUNDABLE[error.reason]) % {"left": error.left}
    return str(REFUSALS.get(error.code, NOT_DONE))


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
    proposals: list[dict[str, Any]]
    disputes: list[dict[str, Any]]
    left: Money | None  # what may be asked back; None: nothing, or somebody asked already

    @classmethod
    def of(cls, timeline: Timeline) -> "Story":
        order = timeline.order
        happened = [
            Line(event.at, TRANSITIONS.get(event.transition, event.transition), _detail(event), [])
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
                    "why": why(a.why) if a.why else "",
                    "at": a.prepared_at,
                }
                for a in timeline.attempts
            ],
            [
                {
                    "method": r.method,
                    "request": r.request_id,
                    "amount": r.amount,
                    "state": state(r.state),
                    "why": r.why,
                    "claim_until": r.claim_until,
                }
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
            [
                {
                    "n": p.n,
                    "amount": p.amount,
                    "why": mask(p.why),
                    "asked_by": p.asked_by,
                    "at": p.asked_at,
                    "state": state(p.state),
                    "open": p.state == "open",
                    "decided_by": p.decided_by or "",
                    "answer": mask(p.answer),
                }
                for p in timeline.proposals
            ],
            [
                {
                    "method": d.method,
                    "transaction": d.transaction,
                    "amount": d.amount,
                    "reason": d.reason,
                    "state": state(d.state),
                    "open": d.state == "opened",
                    "evidence_by": d.evidence_by,
                    "at": d.opened_at,
                }
                for d in timeline.disputes
            ],
            _left(timeline),
        )


def _left(timeline: Timeline) -> Money | None:
    order = timeline.order
    if order.payment != "captured" or any(proposal.state == "open" for proposal in timeline.proposals):
        return None
    return Money(order.captured_minor - order.refunded_minor, order.price.currency)


def _detail(event: Event) -> str:
    """What stands beside a step; of an order that waits, why nobody was asked."""
    return why(event.detail) if event.transition == "parked" and event.detail else mask(event.detail)


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence as a page for people: the same facts as in the file, in the reader's words."""

    facts: Evidence
    lines: list[Line]
    attempts: list[tuple[Tried, Promise | str]]
    refunds: list[tuple[GivenBack, Promise | str]]

    @classmethod
    def of(cls, told: Evidence) -> "Proof":
        return cls(
            told,
            [Line(at, TRANSITIONS.get(what, what), "", []) for at, what in told.history],
            [(each, state(each.state)) for each in told.attempts],
            [(each, state(each.state)) for each in told.refunds],
        )
