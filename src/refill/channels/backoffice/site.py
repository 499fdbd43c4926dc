"""The staff's site at /staff/: sign-in, one search box, an order's story, cases, and lists to look things up."""

from typing import Any

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

from refill.channels.backoffice import desk, words
from refill.channels.backoffice.masking import mask
from refill.channels.people import limits
from refill.errors import NotFound, RefillError

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


class StaffSite(UnfoldAdminSite):
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
            path("case/<path:case_id>/take", self.admin_view(require_POST(self.take)), name="take"),
            path("case/<path:case_id>/resolve", self.admin_view(require_POST(self.resolve)), name="resolve"),
            path("case/<path:case_id>", self.admin_view(self.case), name="case"),
        ]
        return own + super().get_urls()

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

    def order(self, request: HttpRequest, order_id: str, number: str = "") -> HttpResponse:
        """Everything that is known about one order."""
        try:
            timeline = desk.timeline(order_id)
        except NotFound:
            raise Http404 from None
        return self._page(
            request, "order", title=_("Order"), subtitle=order_id, story=words.Story.of(timeline), number=number
        )

    def reveal(self, request: HttpRequest, order_id: str) -> HttpResponse:
        """Shows the whole number once; who looked stays written."""
        try:
            return self.order(request, order_id, number=desk.reveal(order_id, request.user))
        except NotFound:
            raise Http404 from None

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
        how, note = request.POST.get("how", ""), request.POST.get("note", "").replace("\0", "").strip()[:500]
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


site = StaffSite("staff")
