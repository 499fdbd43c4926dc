"""The staff's site at /staff/: sign-in, one search box, an order's story, cases, and lists to look things up."""

from collections.abc import Callable
from typing import Any

import msgspec
from django.contrib import messages
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, re_path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from unfold.forms import AuthenticationForm as UnfoldSignIn
from unfold.sites import UnfoldAdminSite

from refill.channels.backoffice import desk, pins, reversals, words
from refill.channels.backoffice.books import Books
from refill.channels.backoffice.cards import Cards
from refill.channels.backoffice.floats import Floats
from refill.channels.backoffice.guards import Guards
from refill.channels.backoffice.hooks import Hooks
from refill.channels.backoffice.masking import mask
from refill.channels.backoffice.pins import Pins
from refill.channels.backoffice.prices import Prices
from refill.channels.backoffice.reversals import Reversals
from refill.channels.backoffice.routing import Routing
from refill.channels.backoffice.whose import Whose
from refill.channels.people import limits
from refill.errors import NotFound, RefillError
from refill.topup.evidence import Evidence

ORDER = "tu_[0-9a-z]{24}"


class SignIn(UnfoldSignIn):
    """Name and password; guessing is slowed down for the name and for the address."""

    def clean(self) -> dict[str, Any]:
        name = str(self.cleaned_data.get("username", "")).casefold()
        try:
            limits.count("sign in from", limits.address(self.request), at_most=100, per_s=900)
            limits.count("sign in", name, at_most=8, per_s=900)
        except limits.TooOften:
            raise ValidationError(_("Too many tries. Wait a quarter of an hour and try again.")) from None
        accepted = AuthenticationForm.clean(self)
        limits.forgive("sign in", name)
        return accepted


class StaffSite(Books, Cards, Floats, Reversals, Guards, Pins, Prices, Routing, Hooks, Whose, UnfoldAdminSite):
    site_title = site_header = "Refill"
    index_title = gettext_lazy("Today")
    login_form = SignIn
    enable_nav_sidebar = True

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("find", self.admin_view(require_POST(self.find)), name="find"),
            re_path(rf"^order/(?P<order_id>{ORDER})$", self.admin_view(self.order), name="order"),
            re_path(
                rf"^order/(?P<order_id>{ORDER})/reveal$", self.admin_view(require_POST(self.reveal)), name="reveal"
            ),
            re_path(
                rf"^order/(?P<order_id>{ORDER})/refund$", self.admin_view(require_POST(self.refund)), name="refund"
            ),
            re_path(
                rf"^order/(?P<order_id>{ORDER})/refund/(?P<n>[0-9]{{1,4}})$",
                self.admin_view(require_POST(self.decide)),
                name="decide",
            ),
            re_path(rf"^order/(?P<order_id>{ORDER})/evidence$", self.admin_view(self.evidence), name="evidence"),
            re_path(
                rf"^order/(?P<order_id>{ORDER})/evidence\.json$",
                self.admin_view(self.evidence_file),
                name="evidence_file",
            ),
            path("case/<path:case_id>/take", self.admin_view(require_POST(self.take)), name="take"),
            path("case/<path:case_id>/resolve", self.admin_view(require_POST(self.resolve)), name="resolve"),
            path("case/<path:case_id>", self.admin_view(self.case), name="case"),
        ]
        return (
            own
            + self.book_urls()
            + self.card_urls()
            + self.float_urls()
            + self.reversal_urls()
            + self.hook_urls()
            + self.pin_urls()
            + self.price_urls()
            + self.routing_urls()
            + self.guard_urls()
            + self.whose_urls()
            + super().get_urls()
        )

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The search box and what waits for a person."""
        waiting = [words.Case.of(row) for row in desk.open_cases()]
        return self._page(request, "index", title=self.index_title, waiting=waiting)

    def find(self, request: HttpRequest) -> HttpResponse:
        """By POST, because what is looked for is often a number, and an address is written into logs."""
        text = request.POST.get("text", "").replace("\0", "")
        try:
            found = desk.search(text)
        except RefillError:
            found = []
        if len(found) == 1:
            return redirect("staff:order", found[0].id)
        shown = [words.Found.of(order) for order in found]
        return self._page(request, "found", title=_("Found"), found=shown, text=mask(text))

    def order(self, request: HttpRequest, order_id: str, number: str = "", pin: str = "") -> HttpResponse:
        """Everything that is known about one order."""
        try:
            timeline = desk.timeline(order_id)
        except NotFound:
            raise Http404 from None
        told: dict[str, Any] = {"story": words.Story.of(timeline), "number": number, "me": request.user.get_username()}
        told |= {"pins": pins.told(order_id), "pin": pin, "order_id": order_id, **reversals.shown(timeline.order)}
        return self._page(request, "order", title=_("Order"), subtitle=order_id, **told)

    def reveal(self, request: HttpRequest, order_id: str) -> HttpResponse:
        """Shows the whole number once; who looked stays written."""
        try:
            return self.order(request, order_id, number=desk.reveal(order_id, request.user))
        except NotFound:
            raise Http404 from None

    def refund(self, request: HttpRequest, order_id: str) -> HttpResponse:
        """Asks for money to go back; somebody else confirms it."""
        typed, why = request.POST.get("amount", ""), _note(request, "why")
        done = _("Asked. Another person confirms it on this page.")
        return self._about(request, order_id, lambda: desk.ask_refund(order_id, request.user, typed, why), done)

    def decide(self, request: HttpRequest, order_id: str, n: str) -> HttpResponse:
        """Confirms or declines what somebody else asked for."""
        if request.POST.get("answer") == "confirm":
            done = _("Confirmed. The money is on its way back.")
            return self._about(request, order_id, lambda: desk.confirm_refund(order_id, int(n), request.user), done)
        why = _note(request, "why")
        done = _("Declined. Nothing was given back.")
        return self._about(request, order_id, lambda: desk.decline_refund(order_id, int(n), request.user, why), done)

    def evidence(self, request: HttpRequest, order_id: str) -> HttpResponse:
        """What can be shown to a payer's bank, to read and print."""
        return self._page(
            request,
            "evidence",
            title=_("Evidence"),
            subtitle=order_id,
            told=words.Proof.of(self._proof(request, order_id)),
        )

    def evidence_file(self, request: HttpRequest, order_id: str) -> HttpResponse:
        """The same as a file of JSON."""
        body = msgspec.json.format(msgspec.json.encode(self._proof(request, order_id)), indent=2)
        named = {"Content-Disposition": f'attachment; filename="{order_id}.json"'}
        return HttpResponse(body, content_type="application/json", headers=named)

    def _proof(self, request: HttpRequest, order_id: str) -> Evidence:
        try:
            return desk.proof(order_id, request.user)
        except NotFound:
            raise Http404 from None

    def _about(self, request: HttpRequest, order_id: str, step: Callable[[], None], done: str) -> HttpResponse:
        try:
            step()
        except NotFound:
            raise Http404 from None
        except RefillError as error:
            messages.error(request, words.refusal(error))
        else:
            messages.success(request, done)
        return redirect("staff:order", order_id)

    def case(self, request: HttpRequest, case_id: str) -> HttpResponse:
        """One case, and how it may be settled."""
        from refill.cases.models import Case

        found = Case.objects.filter(pk=case_id).first()
        if found is None:
            raise Http404
        return self._page(request, "case", title=_("Case"), case=words.Case.of(found), ways=words.ways())

    def take(self, request: HttpRequest, case_id: str) -> HttpResponse:
        return self._step(request, case_id, lambda: desk.assign(case_id, request.user), _("The case is yours now."))

    def resolve(self, request: HttpRequest, case_id: str) -> HttpResponse:
        how, note = request.POST.get("how", ""), _note(request, "note")
        if how not in desk.WAYS or len(note) < 3:
            messages.error(request, _("Say how it was settled, and why."))
            return redirect("staff:case", case_id)
        return self._step(
            request, case_id, lambda: desk.resolve(case_id, request.user, how, note), _("The case is settled.")
        )

    def _step(self, request: HttpRequest, case_id: str, step: Any, done: str) -> HttpResponse:
        try:
            step()
        except RefillError:
            messages.error(request, _("That case was settled meanwhile; nothing was changed."))
        else:
            messages.success(request, done)
        return redirect("staff:case", case_id)

    def _page(self, request: HttpRequest, name: str, **context: Any) -> TemplateResponse:
        request.current_app = self.name
        return TemplateResponse(request, f"backoffice/{name}.html", {**self.each_context(request), **context})


def _note(request: HttpRequest, field: str) -> str:
    """What somebody wrote into a form, without telephone numbers: it is kept, and others read it."""
    return mask(request.POST.get(field, "").replace("\0", "").strip()[:500])


site = StaffSite("staff")
