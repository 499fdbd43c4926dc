"""What the pages say: errors by their code, and what became of an order, each with what to do next."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from refill.errors import RefillError
from refill.numbers import NotMobile
from refill.topup import Order
from refill.topup.flow import Move
from refill.topup.purses import WALLET
from refill.topup.store import Event
from refill.topup.whose import Caution
from refill.vouchers import TooManyTries, VoucherNotValid

ERRORS: dict[str, Promise] = {
    "not_a_number": _("That is not a mobile number yet. Check the digits, for example 138 0013 8000."),
    "not_an_amount": _("Please enter an amount in digits, for example 50."),
    "not_for_sale": _("This amount is not on sale for this operator. Choose another one."),
    "number_not_served": _("We cannot top up this number here. Nothing was charged; our support can tell you more."),
    "rate_too_old": _("This is not on sale at the moment. Nothing was charged; please try again in a while."),
    "limit_reached": _(
        "As much as is allowed was topped up for now. Nothing was charged; try again later, or choose a smaller amount."
    ),
    "price_too_high": _("The price changed meanwhile. Please look at it again before you pay."),
    "illegal_transition": _("This order has moved on. Here is how it stands now."),
    "key_reused": _("This form was used for another top-up. Please start again."),
    "stale_form": _("This page was open for too long. Please check it once more; nothing was charged."),
    "too_often": _("That was tried very often. Please wait a few minutes; nothing was charged."),
    "busy": _("We are very busy just now. Nothing was charged; try again in a few seconds."),
    "not_found": _("We cannot find that."),
    "way_refused": _("The payment firm does not take this payment. Nothing was charged; choose another way to pay."),
    "not_a_pin": _("A voucher's PIN has 16 digits. Type all that is under the scratch-off field."),
    "wrong_pin": _("There is no voucher with this PIN. Compare it with the card, digit by digit."),
    "voucher_used": _("This voucher was used before. Take another one, or choose another way to pay."),
    "voucher_does_not_fit": _(
        "This voucher is worth less than the price, or more. If it is worth more, tick the box and the rest is kept for you."
    ),
    "too_many_tries": _(
        "Too many wrong PINs: none is taken from here until %(at)s. Then try again, or pay another way."
    ),
    "card_not_for_sale": _(
        "The operator of this number does not sell what this card is worth. It was not used up:"
        " put it into your balance and top up from there."
    ),
    "insufficient_funds": _("Your wallet holds too little for this. Choose another way to pay."),
    "fill_amount": _("Choose an amount, or type one up to %(most)s."),
    "no_country": _("We do not sell top-ups for that country yet. Nothing was ordered."),
    "no_operator": _("We cannot tell the operator of this number. Please choose it."),
    "no_amount": _("Please choose an amount."),
}
# Why a number is none, by its kind.
NO_NUMBER: dict[str, Promise] = {
    "landline": _("This is a landline. Only mobile numbers can be topped up."),
    "premium": _("This is a premium-rate number, not a phone that can be topped up."),
    "service": _("This is a service number, not a phone that can be topped up."),
    "too_short": _("A digit is missing for a mobile number of %(country)s. Please compare each digit."),
    "too_long": _("There is a digit too many for a mobile number of %(country)s. Please compare each digit."),
    "no_such": _("There is no such mobile number in %(country)s. Check the digits, or choose another country."),
}
# What to look at twice before paying: an icon, a look, and a sentence.
CAUTIONS: dict[str, tuple[str, str, Promise]] = {
    "dead": (
        "warn",
        "wrong",
        _("The operator says that nobody has this number. Compare each digit; if you are sure of it, you may go on."),
    ),
    "operator_unsure": (
        "warn",
        "warn",
        _("The operator of this number may have changed. Ask its owner, and change it on the page before if need be."),
    ),
    "one_digit_off": (
        "warn",
        "warn",
        _("This is nearly %(number)s, which you have topped up before. Please compare each digit."),
    ),
    "new_subscriber": (
        "warn",
        "warn",
        _("Somebody else has this number since your last top-up. Ask its owner before you pay."),
    ),
    "long_unused": (
        "warn",
        "warn",
        _("You last topped up this number long ago. It may belong to somebody else by now; ask before you pay."),
    ),
    "other_operator": (
        "info",
        "plain",
        _("This number has changed its operator since your last top-up. That is fine if its owner did so."),
    ),
    "first_time": (
        "info",
        "plain",
        _("First top-up of this number from this browser. Please compare each digit."),
    ),
}
NOT_VALID: dict[str, Promise] = {
    "not_sold": _("This card was never switched on. Take it back to the shop that sold it; it was not used up."),
    "expired": _("This card was good until %(day)s; its time is over. Ask the shop that sold it."),
    "withdrawn": _("This card was withdrawn. Ask the shop that sold it; it was not used up."),
}
ANYTHING = _("That did not work, and nothing was charged. Please try again.")


def sentence(error: RefillError | str) -> str:
    """What went wrong and what to do next, in the reader's language; never the spine's own English."""
    if isinstance(error, TooManyTries):
        return str(ERRORS[error.code]) % {"at": f"{localtime(error.again_at):%H:%M}"}
    if isinstance(error, VoucherNotValid):
        return str(NOT_VALID[error.reason]) % {"day": f"{localtime(error.voucher.expires_at):%Y-%m-%d}"}
    code = error if isinstance(error, str) else error.code
    return str(ERRORS.get(code, ANYTHING))


def no_number(error: RefillError | None, country: str) -> str:
    """Why what was typed cannot be topped up, for somebody who means a number of that country."""
    if isinstance(error, NotMobile) and error.kind in NO_NUMBER:
        return str(NO_NUMBER[error.kind]) % {"country": country}
    return sentence("not_a_number")


@dataclass(frozen=True, slots=True)
class Look:
    """One caution as the page shows it."""

    icon: str
    tone: str
    says: str
    loud: bool  # read aloud at once

    @property
    def icon_file(self) -> str:
        return f"people/icons/{self.icon}.svg"


def cautions(found: Iterable[Caution]) -> list[Look]:
    """What to look at twice, in the reader's language."""
    looks = []
    for caution in found:
        icon, tone, says = CAUTIONS[caution.code]
        looks.append(Look(icon, tone, str(says) % {"number": caution.number}, tone != "plain"))
    return looks


@dataclass(frozen=True, slots=True)
class Standing:
    """How an order stands, for the person who paid: a title, a sentence, a tone and an icon."""

    word: str
    title: Promise
    says: Promise
    tone: str  # good | open | warn | wrong | calm
    icon: str
    final: bool = False
    next: Promise | None = None  # what we are waiting for, where the title does not say it
    again: bool = False  # the same top-up can be started once more

    @property
    def icon_file(self) -> str:
        return f"people/icons/{self.icon}.svg"


STANDINGS = {
    "unpaid": Standing(
        "unpaid",
        _("Waiting for payment"),
        _("Nothing has been charged yet. We see your payment at once."),
        "open",
        "clock",
    ),
    "paid": Standing(
        "paid",
        _("Paid"),
        _("Your payment has arrived. We are handing the top-up to the operator."),
        "open",
        "tower",
        next=_("On its way to the operator"),
    ),
    "with_operator": Standing(
        "with_operator",
        _("With the operator"),
        _("Your payment has arrived and the operator is crediting the phone. You may close this page."),
        "open",
        "tower",
    ),
    "parked": Standing(
        "parked",
        _("Waiting for the operator"),
        _("Your payment has arrived, but the operator cannot take the top-up just now. It goes on by itself."),
        "warn",
        "clock",
    ),
    "checking": Standing(
        "checking",
        _("Checking"),
        _(
            "The operator has not told us the outcome yet. We keep asking and never send it twice;"
            " if it did not arrive, your money comes back."
        ),
        "warn",
        "search",
    ),
    "credited": Standing("credited", _("Credited"), _("The credit is on the phone."), "good", "check", True),
    "pin": Standing(
        "pin",
        _("Your PIN is here"),
        _("Enter it at the operator, by telephone or in its app, and the phone is credited."),
        "good",
        "check",
        True,
    ),
    "filled": Standing("filled", _("In your balance"), _("It pays your next top-ups."), "good", "check", True),
    "partial": Standing(
        "partial",
        _("Partly credited"),
        _("A part of the credit is on the phone; the rest of your money is on its way back to you."),
        "warn",
        "info",
    ),
    "refunding": Standing(
        "refunding",
        _("Being refunded"),
        _("The operator refused the top-up. Your money is on its way back to where you paid from."),
        "warn",
        "undo",
    ),
    "refunded": Standing(
        "refunded",
        _("Refunded"),
        _("The top-up did not happen. Your money has gone back to where you paid from."),
        "calm",
        "undo",
        True,
        again=True,
    ),
    "closing": Standing(
        "closing",
        _("Being closed"),
        _("Please do not pay this order any more. If a payment still arrives, it goes straight back to you."),
        "calm",
        "cross",
        again=True,
    ),
    "expired": Standing(
        "expired", _("Closed"), _("It was not paid, and nothing was charged."), "calm", "cross", True, again=True
    ),
    "disputed": Standing(
        "disputed",
        _("Waiting for your bank"),
        _("Your bank questions this payment, so nothing is sent. It goes on when the bank has decided."),
        "warn",
        "clock",
    ),
    "reversed": Standing(
        "reversed",
        _("Taken back"),
        _("The operator took the credit back. Your money is returned to where you paid from."),
        "calm",
        "undo",
    ),
}


def standing(order: Order, now: datetime, *, by_pin: bool = False) -> Standing:
    """The one honest word for both machines of an order; `by_pin`: it got an operator's PIN."""
    match order.payment, order.delivery:
        case "unpaid", _any:
            lapsed = order.expires_at is not None and order.expires_at <= now
            return STANDINGS["closing" if lapsed else "unpaid"]
        case "expired", _any:
            return STANDINGS["expired"]
        case "disputed", "ready" | "parked" | "failed":
            return STANDINGS["disputed"]
        case "refunded", "failed" | "unknown" | "reversed":
            return STANDINGS["refunded"]
        case "refund_pending", "failed" | "unknown":
            return STANDINGS["refunding"]
        case _any, "delivered":
            return STANDINGS["filled" if order.supplier == WALLET else "pin" if by_pin else "credited"]
        case _any, "partial" | "reversed" | "parked" as word:
            return STANDINGS[word]
        case _any, "unknown":
            return STANDINGS["checking"]
        case _any, "dispatching":
            return STANDINGS["with_operator"]
        case _any, "failed":
            return STANDINGS["refunding"]
    return STANDINGS["paid"]


@dataclass(frozen=True, slots=True)
class Stray:
    """Money that arrived and did not fit, and whether it has gone back."""

    says: Promise
    gone_back: bool


STRAYS: dict[str, Promise] = {
    "wrong-amount": _("A payment arrived that is not the price of this order. It goes back to where it came from."),
    "paid-twice": _("A second payment arrived for this order. It goes back to where it came from."),
    "late": _("A payment arrived after the order was closed. It goes back to where it came from."),
}


def strays(events: Iterable[Event]) -> list[Stray]:
    """What is told about each payment that did not fit, in the order in which they came."""
    told = list(events)
    back = {event.n for event in told if event.transition == "stray_refunded"}
    return [Stray(STRAYS[event.detail], event.n in back) for event in told if event.transition == "stray_payment"]


# What happened, line by line; transitions that mean nothing to a customer are left out.
HAPPENED: dict[str, tuple[Promise, ...]] = {
    "placed": (_("Order placed"),),
    "held": (_("Order placed and paid"),),
    "paid": (_("Payment received"),),
    "sold": (_("Payment received"), _("Credit arrived on the phone")),
    "sent": (_("Handed to the operator"),),
    "unsure": (_("The operator's answer is missing; we ask again"),),
    "retry": (_("Trying another way"),),
    "parked": (_("Waiting until the operator can take it"),),
    "resumed": (_("Going on"),),
    "delivered": (_("Credit arrived on the phone"),),
    "late_success": (_("Credit arrived on the phone"),),
    "partial": (_("A part of the credit arrived"),),
    "failed": (_("The operator refused; refund started"),),
    "overdue": (_("No answer in time; refund started"),),
    "proven_failed": (_("The operator confirmed that nothing arrived"),),
    "refunded": (_("Money sent back"),),
    "goodwill": (_("We give money back; the credit stays"),),
    "disputed": (_("Your bank questions the payment"),),
    "stopped": (_("The operator refused; your bank decides about the money"),),
    "dispute_won": (_("Your bank let the payment stand"),),
    "dispute_lost": (_("Your bank gave you the money back"),),
    "stray_payment": (_("A payment arrived that did not fit"),),
    "stray_refunded": (_("That payment was sent back"),),
    "refund_stuck": (_("The payment firm holds the refund up; our staff see to it"),),
    "expired": (_("Closed without payment"),),
    "reversed": (_("The operator took the credit back"),),
}

FILLED: dict[str, tuple[Promise, ...]] = {
    "sold": (_("Payment received"), _("In your balance")),
    "delivered": (_("In your balance"),),
}


PINNED: dict[str, tuple[Promise, ...]] = {
    "sent": (),
    "delivered": (_("Your PIN is here"),),
    "pin_replaced": (_("Your PIN was replaced by another"),),
}


def happened(order: Order, event: Event, *, by_pin: bool = False) -> tuple[Promise, ...]:
    """What an event says to the customer, in one line or two, or none."""
    otherwise = FILLED if order.supplier == WALLET else PINNED if by_pin else {}
    return otherwise.get(event.transition, HAPPENED.get(event.transition, ()))


MOVED: dict[str, Promise] = {
    "sold": _("Filled"),
    "paid": _("Top-up"),
    "change": _("Rest of a scratch card"),
}


def moved(move: Move) -> Promise:
    """Why money came into the balance or left it."""
    return MOVED.get(move.step) or (_("Given back") if move.minor > 0 else _("Paid back"))
