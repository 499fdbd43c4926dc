"""The customer's way: number and amount, confirm, pay, watch, receipt; in this order."""

import contextlib
import re
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

import segno
from django.conf import settings
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from refill.channels.people import bridge, limits, sealed
from refill.channels.portal import desk, drafts, words
from refill.channels.portal.desk import Wish
from refill.channels.portal.drafts import Draft
from refill.errors import BadInput, NotAnAmount, NotFound, PriceTooHigh, RefillError
from refill.money import Money
from refill.numbers import Msisdn, region
from refill.topup import Order

TOKEN_AGE_S = 30 * 60
LONGEST_TYPED = 60
ASK_GATEWAY_EVERY_S = 8  # while somebody watches the page of an unpaid order
# How long until the page asks again, by the age of the order: quick while a person waits, patient later.
BACK_OFF = ((timedelta(seconds=40), 2), (timedelta(minutes=3), 5), (timedelta(minutes=20), 15))
PATIENT_S = 60

View = Callable[..., HttpResponse]


def found_or_404(view: View) -> View:
    """What is not there and what is not yours look the same."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except NotFound:
            raise Http404 from None

    return guarded


# ------------------------------------------------------------------ number and amount


@require_http_methods(["GET", "HEAD", "POST"])
def start(request: HttpRequest) -> HttpResponse:
    """An empty form; sent, it becomes a draft."""
    if request.method == "POST":
        return _take(request, drafts.new())
    return _form(request, Draft(""))


@require_http_methods(["GET", "HEAD", "POST"])
def draft(request: HttpRequest, draft_id: str) -> HttpResponse:
    """The same form with what was entered before."""
    kept = drafts.find(request.session, draft_id)
    if kept is None:
        return redirect("start")
    return _take(request, kept) if request.method == "POST" else _form(request, kept)


def _take(request: HttpRequest, kept: Draft) -> HttpResponse:
    """Keeps what was sent, then leads to the confirm page, or back to the form with what is missing."""
    entered = kept.changed(**_entered(request))
    if recent := request.POST.get("recent"):
        entered = _from_recent(request, entered, recent)
    try:
        _count_look_up(request)
        if not entered.typed:
            raise BadInput("no number")
        msisdn = desk.read_number(entered.typed)
        drafts.keep(request.session, entered)
        operator = desk.seller(msisdn, entered.operator)
        if recent or not entered.face or operator is None:
            return redirect("draft", entered.id)
        desk.quote(operator, entered.product, entered.face)
    except RefillError as error:
        return _form(request, entered, error)
    return redirect("confirm", entered.id)


def _count_look_up(request: HttpRequest) -> None:
    """Nobody may ask our pages whose number is whose, one after the other. Raises TooOften."""
    limits.count("look up from", limits.address(request), at_most=600, per_s=300)
    if request.session.session_key:
        limits.count("look up", request.session.session_key, at_most=60, per_s=300)


def _entered(request: HttpRequest) -> dict[str, str]:
    """The fields of the form, cut to what a person would type."""
    fields = {
        "typed": request.POST.get("number", "").replace("\0", "")[:LONGEST_TYPED].strip(),
        "operator": request.POST.get("operator", "")[:40],
    }
    if request.POST.get("offer") == "custom":
        return fields | {"product": "", "face": _plain_amount(request.POST.get("custom", ""))}
    product, _, face = request.POST.get("offer", "")[:80].partition("|")
    return fields | {"product": product, "face": face}


def _plain_amount(typed: str) -> str:
    """What a person typed as an amount, in plain digits if it is one: "５０ 元" is "50"; the spine judges the rest."""
    kept = "".join(
        letter
        for letter in unicodedata.normalize("NFKC", typed[:40])
        if letter not in "元¥￥,, " and unicodedata.category(letter) not in ("Cf", "Cc", "Zs")
    )
    return kept[:20] or "?"


def _from_recent(request: HttpRequest, entered: Draft, recent: str) -> Draft:
    known = drafts.recent_numbers(request.session)
    if re.fullmatch("[0-9]", recent) and int(recent) < len(known):
        return entered.changed(typed=Msisdn(known[int(recent)]).grouped(), operator="", product="", face="")
    return entered


@require_POST
def offers(request: HttpRequest) -> HttpResponse:
    """The part of the form below the number, when a script asks for it."""
    entered = Draft("").changed(**_entered(request))
    try:
        _count_look_up(request)
        context = _choice(entered)
    except RefillError as error:
        context = {"choice_error": words.sentence(error)}
    return render(request, "portal/offers.html", context)


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Changes the language and keeps the form."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts=None) or not back.startswith("/"):
        back = "/"
    if "number" in request.POST and request.POST["number"].strip():
        kept = drafts.find(request.session, request.POST.get("draft", "")) or drafts.new()
        kept = kept.changed(**_entered(request))
        drafts.keep(request.session, kept)
        back = reverse("draft", args=[kept.id])
    response = HttpResponseRedirect(back)
    wanted = request.POST.get("language", "")
    if wanted in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            wanted,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            secure=settings.LANGUAGE_COOKIE_SECURE,
            httponly=True,
            samesite=settings.LANGUAGE_COOKIE_SAMESITE,
        )
    return response


@require_POST
def forget(request: HttpRequest) -> HttpResponse:
    """Forgets the recent numbers of this browser."""
    drafts.forget_numbers(request.session)
    return redirect("start")


def _form(request: HttpRequest, kept: Draft, error: RefillError | None = None) -> HttpResponse:
    context: dict[str, Any] = {
        "draft": kept,
        "recent": [Msisdn(digits).masked() for digits in drafts.recent_numbers(request.session)],
    }
    code = error.code if error else ""
    try:
        if kept.typed:
            context |= _choice(kept)
            context["shown"] = context["msisdn"].grouped()
    except RefillError as reason:
        code = code or reason.code
    if code in ("bad_input", "not_a_number"):
        context["number_error"] = words.sentence("not_a_number")
    elif code:
        context["choice_error"] = words.sentence(code)
    context.setdefault("shown", kept.typed)
    if "msisdn" not in context:
        context["all_networks"] = desk.networks()
    status = error.status if error else 200
    return render(request, "portal/start.html", context, status=status)


def _choice(kept: Draft) -> dict[str, Any]:
    """Operator, region and amounts for the number of a draft. Raises NotANumber."""
    msisdn = desk.read_number(kept.typed)
    operator = desk.seller(msisdn, kept.operator)
    context: dict[str, Any] = {
        "draft": kept,
        "msisdn": msisdn,
        "region": region(msisdn, get_language() or ""),
        "networks": desk.networks(),
        "network": desk.network(operator) if operator else None,
    }
    if operator is None:
        return context | {"choice_error": words.sentence("no_operator")}
    tiles, span = desk.shelf(operator)
    chosen = f"{kept.product}|{kept.face}"
    is_tile = any(tile.value == chosen for tile in tiles)
    return context | {
        "tiles": tiles,
        "span": span,
        "chosen": chosen,
        "custom": kept.face if kept.face and not is_tile and span and kept.face != "?" else "",
    }


# ------------------------------------------------------------------ confirm and place


@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest, draft_id: str) -> HttpResponse:
    """The whole wish in large type; sent, it becomes the one order of its sealed form, however often it is sent."""
    kept = drafts.find(request.session, draft_id)
    if request.method == "POST":
        return _place(request, kept, draft_id)
    if kept is None:
        return redirect("start")
    try:
        wish = _wish_of(kept.token, request) if kept.token else None
    except sealed.Stale:
        wish = None
    if wish is None:
        try:
            kept, wish = _new_wish(request, kept)
        except RefillError:
            return redirect("draft", draft_id)
    return _confirm(request, kept, wish)


def _new_wish(request: HttpRequest, kept: Draft) -> tuple[Draft, Wish]:
    """Makes the wish's name and seals both into the form, once for this content."""
    msisdn = desk.read_number(kept.typed)
    operator = desk.seller(msisdn, kept.operator)
    if operator is None or not kept.face:
        raise NotAnAmount("Nothing is chosen yet.")
    wish = desk.new_wish(get_random_string(24), msisdn, operator, kept.product, kept.face)
    kept = kept.changed(token=_token(wish, drafts.guest(request.session)))
    drafts.keep(request.session, kept)
    return kept, wish


def _place(request: HttpRequest, kept: Draft | None, draft_id: str) -> HttpResponse:
    guest = drafts.guest(request.session)
    try:
        wish = _wish_of(request.POST.get("token", ""), request)
    except sealed.Stale as error:
        if kept is None:
            return _form(request, Draft(""), error)
        kept, wish = _new_wish(request, kept.changed(token=""))
        return _confirm(request, kept, wish, error=error)
    kept = kept or Draft(draft_id)
    try:
        limits.count("place", guest, at_most=30, per_s=600)
        limits.count("place from", limits.address(request), at_most=300, per_s=600)
        order = desk.placed(guest, wish)
        if order is None and not request.POST.get("again"):
            again = desk.same_again(wish, desk.earlier(guest, wish.msisdn))
            if again:
                return _confirm(request, kept, wish, again=again, status=409)
        order = order or desk.place(guest, wish)
    except PriceTooHigh as error:
        kept, wish = _new_wish(request, kept.changed(token=""))
        return _confirm(request, kept, wish, error=error)
    except RefillError as error:
        return _confirm(request, kept, wish, error=error)
    drafts.remember_number(request.session, wish.msisdn.digits)
    if order.payment != "unpaid":
        return redirect("order", order.id)
    if request.POST.get("scene") == "qr":
        return redirect(f"{reverse('order', args=[order.id])}?scene=qr")
    return redirect("pay", order.id)


def _confirm(
    request: HttpRequest,
    kept: Draft,
    wish: Wish,
    *,
    error: RefillError | None = None,
    again: Order | None = None,
    status: int = 200,
) -> HttpResponse:
    former = desk.earlier(drafts.guest(request.session), wish.msisdn) if "guest" in request.session else []
    context = {
        "draft": kept,
        "wish": wish,
        "token": _token(wish, drafts.guest(request.session)),
        "network": desk.network(wish.operator),
        "region": region(wish.msisdn, get_language() or ""),
        "first_time": not [order for order in former if order.reference != wish.name and order.payment != "expired"],
        "again": again,
        "error": words.sentence(error) if error else "",
        "methods": desk.methods(wish.price.currency),
    }
    return render(request, "portal/confirm.html", context, status=error.status if error else status)


def _token(wish: Wish, guest: str) -> str:
    content = {
        "name": wish.name,
        "number": wish.msisdn.digits,
        "operator": wish.operator,
        "product": wish.product,
        "face": wish.face.minor,
        "price": wish.price.minor,
        "currency": wish.face.currency,
        "price_currency": wish.price.currency,
        "guest": guest,
    }
    return sealed.seal(content, "wish")


def _wish_of(token: str, request: HttpRequest) -> Wish:
    """Raises Stale for a form that is old, changed, or another person's."""
    said = sealed.unseal(token, "wish", max_age_s=TOKEN_AGE_S)
    if said["guest"] != request.session.get("guest"):
        raise sealed.Stale("This form belongs to another browser session; please start again.")
    return Wish(
        said["name"],
        Msisdn(said["number"]),
        said["operator"],
        said["product"],
        Money(said["face"], said["currency"]),
        Money(said["price"], said["price_currency"]),
    )


# ------------------------------------------------------------------ pay


@require_GET
@found_or_404
def pay(request: HttpRequest, order_id: str) -> HttpResponse:
    """Opens the payment firm's page. Not by a redirect: content policies hold a form to the site it began on."""
    order = _own(request, order_id)
    if order.payment != "unpaid":
        return redirect("order", order_id)
    method = request.GET.get("method") or next(iter(desk.methods(order.price.currency)), "")
    try:
        limits.count("pay", order.payer, at_most=40, per_s=600)
        if method not in desk.methods(order.price.currency):
            raise NotFound("no such method")
        back = request.build_absolute_uri(reverse("back", args=[order_id]))
        invitation = desk.invite(order_id, method, "page", back)
    except NotFound:
        raise
    except RefillError as error:
        return _watch(request, order_id, error=words.sentence(error))
    if invitation.kind != "redirect":
        return redirect("order", order_id)
    return render(request, "portal/leave.html", {"order": order, "url": invitation.url})


@require_http_methods(["GET", "POST"])
@found_or_404
def back(request: HttpRequest, order_id: str) -> HttpResponse:
    """The person comes back from paying, or says so: the gateway is asked, whatever their browser claims."""
    order = _own(request, order_id)
    if order.payment == "unpaid":
        try:
            limits.count("ask gateway", order.payer, at_most=60, per_s=600)
            desk.ask_gateway(order_id)
        except RefillError as error:
            return _watch(request, order_id, error=words.sentence(error))
    return redirect("order", order_id)


@require_POST
@found_or_404
def cancel(request: HttpRequest, order_id: str) -> HttpResponse:
    """Gives up an unpaid order."""
    _own(request, order_id, to_act=True)
    try:
        desk.cancel(order_id)
    except RefillError as error:
        return _watch(request, order_id, error=words.sentence(error))
    return redirect("order", order_id)


# ------------------------------------------------------------------ watch


@require_GET
@found_or_404
def order(request: HttpRequest, order_id: str) -> HttpResponse:
    """How the order stands, honestly, kept up to date while the page is open."""
    _own(request, order_id)
    return _watch(request, order_id)


@require_GET
@found_or_404
def state(request: HttpRequest, order_id: str) -> HttpResponse:
    """The moving part of that page, asked for again and again, ever more patiently."""
    order = _own(request, order_id)
    asked = f"asked:{order_id}"
    if order.payment == "unpaid" and cache.add(asked, 1, ASK_GATEWAY_EVERY_S):
        with contextlib.suppress(RefillError):  # the next look asks again, and so does the engine itself
            desk.ask_gateway(order_id)
    return render(request, "portal/state.html", _standing(request, order_id))


def _watch(request: HttpRequest, order_id: str, error: str = "") -> HttpResponse:
    context = _standing(request, order_id) | {"error": error}
    if context["order"].payment == "unpaid" and request.GET.get("scene") == "qr" and not error:
        method = next(iter(desk.methods(context["order"].price.currency)), "")
        try:
            invitation = desk.invite(
                order_id, method, "qr", request.build_absolute_uri(reverse("back", args=[order_id]))
            )
            if invitation.url:
                code = segno.make(invitation.url, error="m")
                context["qr"] = code.svg_inline(
                    scale=5, border=3, dark="#000", light="#fff", svgclass=None, lineclass=None
                )
        except RefillError as reason:
            context["error"] = words.sentence(reason)
    return render(request, "portal/order.html", context)


def _standing(request: HttpRequest, order_id: str) -> dict[str, Any]:
    story = desk.story(order_id)
    now = bridge.trade().world.now()
    standing = words.standing(story.order, now)
    age = now - story.order.created_at
    lines = [(line, at) for transition, at in story.happened for line in words.HAPPENED.get(transition, ())]
    return {
        "order": story.order,
        "standing": standing,
        "lines": lines,
        "since": lines[-1][1] if lines else story.order.created_at,
        "network": desk.network(story.order.operator),
        "masked": story.msisdn.masked() if story.msisdn else "",
        "delay_s": None if standing.final else next((s for limit, s in BACK_OFF if age < limit), PATIENT_S),
        "link": desk.signed(order_id),
        "refunded": Money(story.order.refunded_minor, story.order.price.currency),
    }


def _own(request: HttpRequest, order_id: str, *, to_act: bool = False) -> Order:
    """The order, if this browser session made it; to look is enough to have come by its signed link. Raises NotFound."""
    found = desk.order(order_id)
    guest = request.session.get("guest")
    shown = order_id in request.session.get("shown", ()) and not to_act
    if not (guest and found.payer == desk.payer(guest)) and not shown:
        raise NotFound("There is no such order.")
    return found


# ------------------------------------------------------------------ receipt


@require_GET
@found_or_404
def receipt(request: HttpRequest, order_id: str) -> HttpResponse:
    """For printing and keeping; the number is masked."""
    _own(request, order_id)
    context = _standing(request, order_id)
    context["url"] = request.build_absolute_uri(reverse("signed", args=[context["link"]]))
    return render(request, "portal/receipt.html", context)


@require_GET
@found_or_404
def signed(request: HttpRequest, text: str) -> HttpResponse:
    """Whoever has the link of a receipt may see its order, and nothing else."""
    order_id = desk.unsigned(text)
    desk.order(order_id)
    shown = [id_ for id_ in request.session.get("shown", []) if id_ != order_id]
    request.session["shown"] = [*shown, order_id][-8:]
    return redirect("receipt", order_id)
