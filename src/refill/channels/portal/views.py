"""The customer's way: number and amount, confirm, pay, watch, receipt; in this order."""

import contextlib
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any
from urllib.parse import urlencode, urlsplit

import segno
from django.conf import settings
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from refill.channels.people import bridge, limits, sealed
from refill.channels.portal import countries, desk, drafts, payers, ways, words
from refill.channels.portal.desk import Wish
from refill.channels.portal.drafts import Draft
from refill.channels.portal.templatetags.telling import cash
from refill.channels.portal.ways import BRIDGE, Way
from refill.errors import BadInput, CannotHappen, NotAnAmount, NotFound, PriceTooHigh, RefillError
from refill.money import Money
from refill.numbers import Msisdn, region
from refill.payments import Invitation
from refill.topup import Order

TOKEN_AGE_S = 30 * 60
LONGEST_TYPED = 60
ASK_GATEWAY_EVERY_S = 8  # while a page without a stream of events watches an unpaid order
CODE_KEPT_S = 600
CODE = {"border": 3, "dark": "#000", "light": "#fff", "omitsize": True, "svgclass": None, "lineclass": None}
WALLET = "wallet"
LEAVING = ("redirect", "form")  # invitations to a page of the payment firm
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
        count_look_up(request)
        if not entered.typed:
            raise BadInput("no number")
        msisdn = desk.read_number(entered.typed, entered.country)
        entered = entered.changed(country=msisdn.country)
        drafts.keep(request.session, entered)
        operator = desk.seller(msisdn, entered.operator)
        if recent or not entered.face or operator is None:
            return redirect("draft", entered.id)
        desk.quote(operator, entered.product, entered.face)
    except RefillError as error:
        return _form(request, entered, error)
    return redirect("confirm", entered.id)


def count_look_up(request: HttpRequest) -> None:
    """Nobody may ask our pages whose number is whose, one after the other. Raises TooOften."""
    limits.count("look up from", limits.address(request), at_most=600, per_s=300)
    if request.session.session_key:
        limits.count("look up", request.session.session_key, at_most=60, per_s=300)


def _entered(request: HttpRequest) -> dict[str, str]:
    """The fields of the form, cut to what a person would type."""
    fields = {
        "typed": request.POST.get("number", "").replace("\0", "")[:LONGEST_TYPED].strip(),
        "operator": _chosen(request),
        "country": countries.readable(request.POST.get("country", "")),
    }
    if request.POST.get("offer") == "custom":
        return fields | {"product": "", "face": plain_amount(request.POST.get("custom", ""))}
    product, _, face = request.POST.get("offer", "")[:80].partition("|")
    return fields | {"product": product, "face": face}


def _chosen(request: HttpRequest) -> str:
    """The operator that a person chose; what we guessed and they left as it was is no choice."""
    operator = request.POST.get("operator", "")[:40]
    return "" if operator == request.POST.get("guessed") else operator


def plain_amount(typed: str) -> str:
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
        number = Msisdn(known[int(recent)])
        chosen = {"operator": "", "product": "", "face": ""}
        return entered.changed(typed=number.grouped(), country=number.country, **chosen)
    return entered


@require_POST
def offers(request: HttpRequest) -> HttpResponse:
    """The part of the form below the number, when a script asks for it."""
    entered = Draft("").changed(**_entered(request))
    try:
        count_look_up(request)
        context = _choice(entered)
    except RefillError as error:
        context = {"choice_error": words.sentence(error)}
    return render(request, "portal/offers.html", context)


@require_GET
def country_list(request: HttpRequest) -> HttpResponse:
    """All countries for the picker, fetched when somebody opens it."""
    found = countries.countries(get_language() or "", desk.served())
    return render(request, "portal/countries.html", {"countries": found})


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
    remember_language(response, request.POST.get("language", ""))
    return response


def remember_language(response: HttpResponse, wanted: str) -> None:
    """Keeps the wanted language, if it is one of ours, in a cookie."""
    if wanted in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            wanted,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            secure=settings.LANGUAGE_COOKIE_SECURE,
            httponly=True,
            samesite=settings.LANGUAGE_COOKIE_SAMESITE,
        )


@require_POST
def forget(request: HttpRequest) -> HttpResponse:
    """Forgets the recent numbers of this browser."""
    drafts.forget_numbers(request.session)
    return redirect("start")


def _form(request: HttpRequest, kept: Draft, error: RefillError | None = None) -> HttpResponse:
    context: dict[str, Any] = {
        "draft": kept,
        "recent": [Msisdn(digits).masked() for digits in drafts.recent_numbers(request.session)],
        "countries": _where(kept.country),
        "country": kept.country,
    }
    code, status = (error.code, error.status) if error else ("", 200)
    try:
        if kept.typed:
            context |= _choice(kept)
            context["shown"] = context["msisdn"].grouped()
            context["country"] = context["msisdn"].country
            context["countries"] = _where(context["country"])
    except RefillError as reason:
        error, code = error or reason, code or reason.code
    if code in ("bad_input", "not_a_number"):
        context["number_error"] = words.no_number(error, countries.named(kept.country, get_language() or ""))
    elif code:
        context["choice_error"] = words.sentence(code)
    context.setdefault("shown", kept.typed)
    if "msisdn" not in context:
        context["all_networks"] = desk.networks()
    return render(request, "portal/start.html", context, status=status)


def _where(country: str) -> list[countries.Country]:
    """The countries that the form itself names: where we sell, and the one that was chosen."""
    served = desk.served()
    return [each for each in countries.countries(get_language() or "", served) if each.id in served | {country}]


def _choice(kept: Draft) -> dict[str, Any]:
    """Operator, region and amounts for the number of a draft. Raises NotANumber."""
    msisdn = desk.read_number(kept.typed, kept.country)
    told, networks = desk.told(msisdn, kept.operator), desk.networks(msisdn.country)
    operator = told.operator if any(each.id == told.operator for each in networks) else None
    place = region(msisdn, get_language() or "") or (
        countries.named(msisdn.country, get_language() or "") if msisdn.country != countries.HOME else ""
    )
    context: dict[str, Any] = {
        "draft": kept,
        "msisdn": msisdn,
        "region": place,
        "networks": networks,
        "network": desk.network(operator) if operator else None,
        "guessed": operator if not kept.operator else "",
        "told": told,
    }
    if operator is None:
        return context | {"choice_error": words.sentence("no_operator" if networks else "no_country")}
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
    msisdn = desk.read_number(kept.typed, kept.country)
    operator = desk.seller(msisdn, kept.operator)
    if operator is None or not kept.face:
        raise NotAnAmount("Nothing is chosen yet.")
    chosen = bool(kept.operator)
    wish = desk.new_wish(get_random_string(24), msisdn, operator, kept.product, kept.face, chosen=chosen)
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
    return redirect(_by_way("pay", order.id, request.POST.get("way", "")))


def _confirm(
    request: HttpRequest,
    kept: Draft,
    wish: Wish,
    *,
    error: RefillError | None = None,
    again: Order | None = None,
    status: int = 200,
) -> HttpResponse:
    guest = drafts.guest(request.session)
    context = {
        "draft": kept,
        "wish": wish,
        "token": _token(wish, guest),
        "network": desk.network(wish.operator),
        "region": region(wish.msisdn, get_language() or ""),
        "arriving": desk.arriving(wish.operator),
        "cautions": [] if again else words.cautions(desk.cautions(guest, wish)),
        "again": again,
        "error": words.sentence(error) if error else "",
        "ways": ways.firsts(_offered(request, wish.price)),
        "chosen": request.POST.get("way", ""),
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
        "chosen": wish.chosen,
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
        bool(said.get("chosen")),
    )


# ------------------------------------------------------------------ pay


@require_GET
@found_or_404
def pay(request: HttpRequest, order_id: str) -> HttpResponse:
    """Leads to where the person pays. Not by a redirect: content policies hold a form to the site it began on."""
    order = _own(request, order_id)
    if order.payment != "unpaid":
        return redirect("order", order_id)
    offered = _offered(request, order.price, mine=_is_payer(request, order), filling=order.supplier == WALLET)
    way = ways.find(offered, request.GET.get("way", "")) or next(iter(offered), None)
    if way is None:
        raise NotFound("There is no way to pay.")
    if way.stays or (way.scene == BRIDGE and payers.known(request.session, way.method)):
        return redirect(_by_way("order", order_id, way.text))
    if way.scene == BRIDGE:
        back = request.build_absolute_uri(reverse("who", args=[order_id, way.method]))
        asked = desk.who_url(way.method, back, payers.state(request.session, order_id, way.method))
        return _leave(request, order, way, Invitation("redirect", asked))
    try:
        invitation = _invite(request, order, way)
    except RefillError as error:
        return _watch(request, order_id, error=_why_not(error, order_id))
    if invitation.kind not in LEAVING:
        return redirect("order", order_id)
    return _leave(request, order, way, invitation)


def _leave(request: HttpRequest, order: Order, way: Way, invitation: Invitation) -> HttpResponse:
    """The last page of ours: it goes on by itself, or by one press where no script runs."""
    context = {"order": order, "way": way, "invitation": invitation}
    response = render(request, "portal/leave.html", context)
    # A payment firm may ask from which site its payer comes (WeChat's H5 does); the address behind it stays ours.
    response.headers["Referrer-Policy"] = "strict-origin"
    if invitation.kind == "form":
        # The form goes to the firm, and the firm may lead it on to hosts that only it knows.
        response._csp_update = {"form-action": [_origin(invitation.url), "https:"]}
    return response


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _invite(request: HttpRequest, order: Order, way: Way) -> Invitation:
    """Raises TooOften, and what `desk.invite` raises."""
    limits.count("pay", order.payer, at_most=40, per_s=600)
    back = request.build_absolute_uri(reverse("back", args=[order.id]))
    openid = payers.known(request.session, way.method)
    return desk.invite(order.id, way, back, limits.address(request), openid)


def _offered(request: HttpRequest, price: Money, *, mine: bool = True, filling: bool = False) -> list[Way]:
    """The ways to pay that this person's device can use; the wallet only when it holds enough, and never to fill itself.

    Who only came by the signed link of another person's order may pay it at a firm, but not here.
    """
    guest = request.session.get("guest")
    held = desk.in_wallet(guest, price.currency) if guest and mine else Money(0, price.currency)
    offered = ways.ways(desk.methods(), price.currency, ways.device(request.headers.get("user-agent", "")))
    return [
        replace(way, hint=cash(held)) if way.method == WALLET else way
        for way in offered
        if (mine or way.scene != "inside") and (way.method != WALLET or (held.minor >= price.minor and not filling))
    ]


def _by_way(view: str, order_id: str, way: str) -> str:
    """The address of an order's page that keeps the chosen way."""
    return f"{reverse(view, args=[order_id])}?{urlencode({'way': way[:60]})}"


def _why_not(error: RefillError, order_id: str) -> str:
    """Why nobody can pay this way; a firm that refuses is not an order that has moved on."""
    refused = type(error) is CannotHappen and words.standing(desk.order(order_id), _now()).word == "unpaid"
    return words.sentence("way_refused" if refused else error)


@require_GET
@found_or_404
def who(request: HttpRequest, order_id: str, method: str) -> HttpResponse:
    """The person comes back from the firm, which has told who they are; now their own page can hand the payment over."""
    order = _own(request, order_id)
    offered = _offered(request, order.price, mine=_is_payer(request, order))
    way = ways.find(offered, f"{method}.{BRIDGE}")
    state, code = request.GET.get("state", ""), request.GET.get("code", "")[:200]
    if way is None or not code or not payers.holds(request.session, order_id, method, state):
        return redirect("order", order_id)
    try:
        limits.count("pay", order.payer, at_most=40, per_s=600)
        payers.remember(request.session, method, desk.who(method, code))
    except RefillError as error:
        return _watch(request, order_id, error=_why_not(error, order_id), way=way)
    return redirect(_by_way("order", order_id, way.text))


@require_POST
@found_or_404
def inside(request: HttpRequest, order_id: str) -> HttpResponse:
    """Pays on this page, by a PIN or out of the wallet; what was typed is never shown again."""
    order = _own(request, order_id, to_act=True)
    offered = _offered(request, order.price, filling=order.supplier == WALLET)
    way = ways.find(offered, request.POST.get("way", ""))
    if way is None or way.scene != "inside":
        return redirect("order", order_id)
    by = (order.payer, f"address:{limits.address(request)}")
    try:
        limits.count("pay", order.payer, at_most=40, per_s=600)
        secret = request.POST.get("secret", "").replace("\0", "")[:LONGEST_TYPED]
        desk.pay_inside(order_id, way, secret, by, bool(request.POST.get("change")))
    except RefillError as error:
        return _watch(request, order_id, error=_why_not(error, order_id), way=way, status=422)
    return redirect("order", order_id)


@csrf_exempt  # a firm may lead a person back by a form of its own (JD Pay does), which our cookies do not travel with
@require_http_methods(["GET", "POST"])
@found_or_404
def back(request: HttpRequest, order_id: str) -> HttpResponse:
    """The person comes back from paying, or says so: the gateway is asked, whatever their browser brings along."""
    if request.method == "POST":
        return HttpResponseRedirect(reverse("back", args=[order_id]), status=303)
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


@require_POST
@found_or_404
def again(request: HttpRequest, order_id: str) -> HttpResponse:
    """The same number and amount once more, to be confirmed: for an order that lapsed or failed."""
    _own(request, order_id, to_act=True)
    story = desk.story(order_id)
    order = story.order
    if story.msisdn is None:
        return redirect("balance" if order.supplier == WALLET else "start")
    wish = {"operator": order.operator, "product": order.product, "face": order.face.text()}
    kept = drafts.new().changed(typed=story.msisdn.grouped(), **wish)
    drafts.keep(request.session, kept)
    return redirect("confirm", kept.id)


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
    """The moving part of that page, asked for when the order moved; nothing when the page has seen it already."""
    order = _own(request, order_id)
    asked = f"asked:{order_id}"
    if order.payment == "unpaid" and cache.add(asked, 1, ASK_GATEWAY_EVERY_S):
        with contextlib.suppress(RefillError):  # the next look asks again, and so does the engine itself
            desk.ask_gateway(order_id)
    context = _standing(request, order_id)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "portal/state.html", context | _paying(request, context))


def _watch(
    request: HttpRequest, order_id: str, error: str = "", way: Way | None = None, status: int = 200
) -> HttpResponse:
    context = _standing(request, order_id)
    context |= _paying(request, context, way, but_not_now=bool(error))
    context["error"] = error or context.get("error", "")
    return render(request, "portal/order.html", context, status=status)


def _standing(request: HttpRequest, order_id: str) -> dict[str, Any]:
    story, now = desk.story(order_id), _now()
    order, standing = story.order, words.standing(story.order, now, by_pin=story.by_pin)
    age = now - order.created_at
    lines = [(line, event.at) for event in story.events for line in words.happened(order, event, by_pin=story.by_pin)]
    filling = order.supplier == WALLET
    strays = words.strays(story.events)
    still = standing.final and all(stray.gone_back for stray in strays)  # nothing will change any more
    delay_s = None if still else next((s for limit, s in BACK_OFF if age < limit), PATIENT_S)
    return {
        "story": story,
        "order": order,
        "mine": _is_payer(request, order),
        "standing": standing,
        "strays": strays,
        "claims": _claims(request, story),
        "pins": _pins(request, story),
        "lines": lines,
        "network": desk.network(order.operator),
        "arriving": None if filling or standing.final or standing.word == "unpaid" else desk.arriving(order.operator),
        "filling": filling,
        "masked": story.msisdn.masked() if story.msisdn else _("My balance") if filling else "",
        "delay_s": delay_s,
        "watch": desk.watch_url(order_id) if delay_s else "",
        "seen": f"{story.mark}-{standing.word}",
        "left_s": max(0, round((order.expires_at - now).total_seconds())) if order.expires_at else 0,
        "link": desk.signed(order_id),
        "refunded": Money(order.refunded_minor, order.price.currency),
    }


def _claims(request: HttpRequest, story: desk.Story) -> list[dict[str, Any]]:
    """What waits under a code. The code itself only where the order was made: a link may be in other hands."""
    mine = _is_payer(request, story.order)
    return [
        {"amount": each.amount, "until": each.claim_until, "code": desk.claim_code(each) if mine else ""}
        for each in story.claimed
    ]


def _pins(request: HttpRequest, story: desk.Story) -> list[dict[str, Any]]:
    """The operator's PIN that the order got; the PIN itself only where the order was made."""
    if not story.by_pin:
        return []
    if not _is_payer(request, story.order):
        return [{"pin": ""}]
    return [
        {"pin": pin.grouped(), "serial": given.serial, "until": given.until} for given, pin in desk.pins(story.order.id)
    ]


def _paying(
    request: HttpRequest, context: dict[str, Any], asked: Way | None = None, *, but_not_now: bool = False
) -> dict[str, Any]:
    """How a waiting order is paid on this device: the way that is chosen, its code, and all the others."""
    story, order = context["story"], context["order"]
    if context["standing"].word != "unpaid":
        return {}
    offered = _offered(request, order.price, mine=context["mine"], filling=context["filling"])
    asked = asked or ways.find(offered, request.GET.get("way", ""))
    opened = _last_opened(story, offered)
    way = asked or opened or next(iter(offered), None)
    found: dict[str, Any] = {
        "way": way,
        "siblings": [each for each in offered if way and each.method == way.method and each != way],
        "others": [each for each in ways.firsts(offered) if way and each.method != way.method],
        "device": ways.device(request.headers.get("user-agent", "")),
        "way_query": urlencode({"way": way.text}) if way else "",
    }
    if way is not None and (asked or opened) and not but_not_now:
        try:
            if way.scene == "qr":
                found["qr"] = _code(request, story, way)
            if way.scene == BRIDGE and payers.known(request.session, way.method):
                found["bridge"] = _bridge(request, story, way)
        except RefillError as error:
            found["error"] = _why_not(error, order.id)
    begun = {payment.method for payment in story.payments if payment.state == "open"}
    found["several"] = way is not None and bool(begun - {way.method})
    return found


def _last_opened(story: desk.Story, offered: list[Way]) -> Way | None:
    """The way on which this person left last time, or the same method by what this device can."""
    for payment in reversed(story.payments):
        if payment.state == "open":
            same = [way for way in offered if way.method == payment.method]
            return next((way for way in same if way.scene == payment.scene), next(iter(same), None))
    return None


def _code(request: HttpRequest, story: desk.Story, way: Way) -> str:
    """The QR code of an invitation as SVG, kept while nothing moves: a page that is shown again asks nobody."""
    kept = f"code:{story.order.id}:{way.text}:{story.mark}"
    code: str | None = cache.get(kept)
    if code is None:
        invitation = _invite(request, story.order, way)
        drawn = segno.make(invitation.url, error="m") if invitation.url else None
        code = drawn.svg_inline(**CODE) if drawn else ""
        cache.set(kept, code, CODE_KEPT_S)
    return code


def _bridge(request: HttpRequest, story: desk.Story, way: Way) -> str:
    """What our page hands to the app around it, as JSON; kept as a code is, for this session's person alone."""
    kept = f"bridge:{story.order.id}:{way.text}:{request.session.session_key}:{story.mark}"
    words: str | None = cache.get(kept)
    if words is None:
        words = json.dumps(dict(_invite(request, story.order, way).bridge))
        cache.set(kept, words, CODE_KEPT_S)
    return words


def _now() -> datetime:
    return bridge.trade().world.now()


def _own(request: HttpRequest, order_id: str, *, to_act: bool = False) -> Order:
    """The order, if this browser session made it; to look is enough to have come by its signed link. Raises NotFound."""
    found = desk.order(order_id)
    shown = order_id in request.session.get("shown", ()) and not to_act
    if not _is_payer(request, found) and not shown:
        raise NotFound("There is no such order.")
    return found


def _is_payer(request: HttpRequest, order: Order) -> bool:
    """Was it made in this browser session?"""
    guest = request.session.get("guest")
    return isinstance(guest, str) and order.payer == desk.payer(guest)


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
    show(request, order_id)
    return redirect("receipt", order_id)


def show(request: HttpRequest, order_id: str) -> None:
    """From now on this browser may look at an order that another made."""
    shown = [id_ for id_ in request.session.get("shown", []) if id_ != order_id]
    request.session["shown"] = [*shown, order_id][-8:]
