"""What people hold of ours: a scratch card or claim code that becomes credit, and the balance of this browser."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.crypto import get_random_string
from django.views.decorators.http import require_http_methods, require_POST

from refill import vouchers
from refill.channels.people import limits, sealed
from refill.channels.portal import desk, drafts, views, words
from refill.errors import BadInput, NotANumber, NotForSale, RefillError
from refill.money import EXPONENT, Money, amount
from refill.numbers import Msisdn, region
from refill.vouchers import NotAPin, TooManyTries, Voucher, VoucherNotValid, VoucherUsed, WrongPin

CARD_AGE_S = 30 * 60
LONGEST_TYPED = 60
ABOUT_PIN = (NotAPin, WrongPin, VoucherUsed, VoucherNotValid, TooManyTries)
PHONE, BALANCE = "phone", "balance"  # where the value of a card may go
FILLS = (20, 50, 100, 200, 500, 1000)  # whole units of the currency
MOST_FILL = 5000


@dataclass(frozen=True, slots=True)
class Card:
    """What was typed about a card. It travels sealed in the form, and is kept nowhere: nobody but its owner has the PIN."""

    pin: str = ""
    number: str = ""
    operator: str = ""
    to: str = PHONE

    def sealed(self, guest: str) -> str:
        return sealed.seal(asdict(self) | {"guest": guest}, "card")


def _unsealed(request: HttpRequest) -> Card:
    """Raises Stale for a form that is old, changed, or another person's."""
    said = sealed.unseal(request.POST["token"], "card", max_age_s=CARD_AGE_S)
    if said.pop("guest") != request.session.get("guest"):
        raise sealed.Stale("This form belongs to another browser session; please start again.")
    return Card(**said)


def _typed(request: HttpRequest) -> Card:
    """The fields of the form, cut to what a person would type."""
    said = {name: request.POST.get(name, "").replace("\0", "")[:LONGEST_TYPED].strip() for name in ("pin", "number")}
    to = BALANCE if request.POST.get("to") == BALANCE else PHONE
    return Card(**said, operator=request.POST.get("operator", "")[:40], to=to)


# ------------------------------------------------------------------ a card


@require_http_methods(["GET", "HEAD", "POST"])
def card(request: HttpRequest) -> HttpResponse:
    """PIN and number; sent, they come back in large type with what the card is worth."""
    if request.method != "POST":
        return _form(request, Card(to=BALANCE if request.GET.get("to") == BALANCE else PHONE))
    confirming = "token" in request.POST
    try:
        entered = _unsealed(request) if confirming else _typed(request)
    except sealed.Stale as error:
        return _form(request, Card(), error)
    if language := request.POST.get("language"):
        page = _confirm if confirming else _form
        return _in_language(language, lambda: page(request, entered))
    return _form(request, entered) if "change" in request.POST else _confirm(request, entered)


@require_POST
def redeem(request: HttpRequest) -> HttpResponse:
    """The card becomes credit, once; the same form again leads to the same order."""
    try:
        entered = _unsealed(request) if "token" in request.POST else Card()
        return _redeemed(request, entered)
    except sealed.Stale as error:
        return _form(request, Card(), error)
    except RefillError as error:
        return _form(request, entered, error)


@require_POST
def operator(request: HttpRequest) -> HttpResponse:
    """The operator of the number, when a script asks for it."""
    try:
        views.count_look_up(request)
        return render(request, "portal/operator.html", _whose(_typed(request)))
    except RefillError as error:
        return render(request, "portal/operator.html", {"choice_error": words.sentence(error)})


def _confirm(request: HttpRequest, entered: Card) -> HttpResponse:
    guest = drafts.guest(request.session)
    try:
        pin = vouchers.pin(entered.pin)
        views.count_look_up(request)
        limits.count("pay", guest, at_most=40, per_s=600)
        voucher = desk.weigh(pin, _by(request))
        if voucher.kind != "scratch":
            entered = Card(entered.pin, to=BALANCE)  # money that is owed to somebody is no card of a face value
        context = _whose(entered) if entered.to == PHONE else {}
        if voucher.spent_on:
            return _redeemed(request, entered)
        if entered.to == PHONE:
            _sold_here(context, voucher)
    except RefillError as error:
        return _form(request, entered, error)
    context |= {
        "voucher": voucher,
        "claim": voucher.kind != "scratch",
        "to_phone": entered.to == PHONE,
        "token": entered.sealed(guest),
        "held": desk.in_wallet(guest, voucher.value.currency),
    }
    return render(request, "portal/card_confirm.html", context)


def _whose(entered: Card) -> dict[str, Any]:
    """Number, region and operator, as far as they are known. Raises NotANumber."""
    msisdn = desk.read_number(entered.number)
    seller = desk.seller(msisdn, entered.operator)
    return {
        "msisdn": msisdn,
        "region": region(msisdn, translation.get_language() or ""),
        "networks": desk.networks(),
        "network": desk.network(seller) if seller else None,
    }


class _NoOperator(NotForSale):
    """The person has to say whose number it is."""

    code = "no_operator"


class _CardNotForSale(NotForSale):
    """The card is good, but this operator has no such amount."""

    code = "card_not_for_sale"


def _sold_here(context: dict[str, Any], voucher: Voucher) -> None:
    """Raises _NoOperator, _CardNotForSale."""
    if context["network"] is None:
        raise _NoOperator("Choose the operator of this number.")
    try:
        desk.takes(context["network"].id, voucher.value)
    except NotForSale:
        raise _CardNotForSale("This card is worth an amount that is not on sale there.") from None


def _redeemed(request: HttpRequest, entered: Card) -> HttpResponse:
    """Leads to the order of this card. Raises what refuses it; the card stays as it was then."""
    guest = drafts.guest(request.session)
    limits.count("pay", guest, at_most=40, per_s=600)
    msisdn: Msisdn | None = desk.read_number(entered.number) if entered.to == PHONE else None
    try:
        order = desk.redeem(guest, vouchers.pin(entered.pin), msisdn, entered.operator, _by(request))
    except NotForSale:
        raise _CardNotForSale("This card is worth an amount that is not on sale there.") from None
    if msisdn is not None:
        drafts.remember_number(request.session, msisdn.digits)
    if order.payer != desk.payer(guest):  # who knows PIN and number may see what became of them, wherever it was done
        views.show(request, order.id)
    return redirect("order", order.id)


def _by(request: HttpRequest) -> tuple[str, ...]:
    """All that names who types a PIN."""
    return desk.payer(drafts.guest(request.session)), f"address:{limits.address(request)}"


def _form(request: HttpRequest, entered: Card, error: RefillError | None = None) -> HttpResponse:
    context: dict[str, Any] = {"card": entered, "shown": entered.number, "letters": "letters" in request.GET}
    try:
        if entered.number:
            context |= _whose(entered)
            context["shown"] = context["msisdn"].grouped()
    except NotANumber:
        pass  # said below the field only when somebody wants to go on
    if error is not None:
        where = "pin" if isinstance(error, ABOUT_PIN) else "number" if isinstance(error, NotANumber) else "card"
        context[f"{where}_error"] = words.sentence(error)
    return render(request, "portal/card.html", context, status=error.status if error else 200)


def _in_language(wanted: str, page: Callable[[], HttpResponse]) -> HttpResponse:
    """The same page in another language: what was typed is in the form and nowhere else, so no address leads back to it."""
    with translation.override(wanted if translation.check_for_language(wanted) else translation.get_language()):
        response = page()
    views.remember_language(response, wanted)
    return response


# ------------------------------------------------------------------ the balance


@require_http_methods(["GET", "HEAD", "POST"])
def balance(request: HttpRequest) -> HttpResponse:
    """What this browser's owner keeps with us, how to fill it, and what moved it; sent, it becomes an order that fills it."""
    if request.method != "POST":
        return _balance(request)
    guest, currency = drafts.guest(request.session), desk.currency()
    try:
        limits.count("place", guest, at_most=30, per_s=600)
        limits.count("place from", limits.address(request), at_most=300, per_s=600)
        money = _wanted(request, currency)
    except RefillError as error:
        return _balance(request, error)
    key = request.POST.get("key", "")[:40] or get_random_string(16)
    return redirect("order", desk.fill(guest, money, f"{key}.{money.minor}").id)


def _wanted(request: HttpRequest, currency: str) -> Money:
    """The amount that was chosen or typed. Raises NotAnAmount, BadInput."""
    chosen = request.POST.get("amount", "")
    typed = request.POST.get("custom", "") if chosen in ("", "custom") else chosen
    money = amount(views.plain_amount(typed), currency)
    if not 0 < money.minor <= MOST_FILL * 10 ** EXPONENT[currency]:
        raise BadInput("One filling is limited.")
    return money


def _balance(request: HttpRequest, error: RefillError | None = None) -> HttpResponse:
    guest, currency = request.session.get("guest", ""), desk.currency()
    held = desk.held(guest) if guest else []
    moves = desk.moves(guest, currency) if guest else []
    unit = 10 ** EXPONENT[currency]
    said = ""
    if error is not None:
        said = words.sentence("fill_amount" if isinstance(error, BadInput) else error)
        said = said % {"most": MOST_FILL} if isinstance(error, BadInput) else said
    context = {
        "held": next((money for money in held if money.currency == currency), Money(0, currency)),
        "also": [money for money in held if money.currency != currency],
        "tiles": [Money(units * unit, currency) for units in FILLS],
        "chosen": request.POST.get("amount", ""),
        "custom": request.POST.get("custom", "")[:12],
        "key": get_random_string(16),
        "most": MOST_FILL,
        "error": said,
        "moves": [(move, words.moved(move), Money(abs(move.minor), currency)) for move in moves],
    }
    return render(request, "portal/balance.html", context, status=error.status if error else 200)
