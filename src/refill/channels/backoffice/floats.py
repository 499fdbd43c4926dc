"""The page of our floats at suppliers: what our book and they say, how long each lasts, and paying in by two people."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, re_path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill import reconcile
from refill.channels.backoffice import desk
from refill.channels.people import bridge
from refill.db import Tx
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound, RefillError
from refill.money import Money, amount
from refill.reconcile import Float, Funding

FUNDING = "fu_[0-9a-z]{24}"
NOT_NOW: dict[type[RefillError], Promise] = {
    NotAllowed: gettext_lazy("Another person must confirm what you entered."),
    BadInput: gettext_lazy("Write the amount with plain digits, such as 50000.00, and choose a float."),
    CannotHappen: gettext_lazy("That changed meanwhile; nothing was changed. Look at the page again."),
}


@dataclass(frozen=True, slots=True)
class FloatRow:
    """A float as a page shows it. `lasts` is how long it lasts, as people say it."""

    float: Float
    burn: Money
    lasts: str

    @classmethod
    def of(cls, standing: Float) -> "FloatRow":
        return cls(standing, Money(standing.burn_minor, standing.book.currency), _lasts(standing))


def _lasts(standing: Float) -> str:
    if standing.lasts is None:
        return "—"
    minutes = round(standing.lasts.total_seconds() / 60)
    if minutes < 120:
        return _("empty in about %(n)s min") % {"n": minutes}
    hours = round(minutes / 60)
    if hours < 48:
        return _("empty in about %(n)s h") % {"n": hours}
    return _("empty in about %(n)s days") % {"n": hours // 24}


# ------------------------------------------------------------------ what is asked of the spine


def standing() -> tuple[list[FloatRow], list[Funding]]:
    """All floats, and the latest payments into them."""
    trade = bridge.trade()

    async def work(tx: Tx) -> tuple[list[Float], list[Funding]]:
        return await reconcile.floats(tx, trade), await reconcile.fundings(tx, most=20)

    found, paid = bridge.ask(trade.db.transaction(work))
    return [FloatRow.of(one) for one in found], paid


def fund(supplier: str, paid: Money, who: desk.Someone) -> None:
    """What was paid into a float, as one person read it. Raises NotFound, BadInput."""
    trade, name = bridge.trade(), who.get_username()
    id_ = bridge.ask(trade.db.transaction(lambda tx: reconcile.fund(tx, trade, supplier, paid, name)))
    desk.act(who, "enter funding", id_, f"{supplier} {paid}")


def decide(id_: str, confirmed: bool, who: desk.Someone) -> None:
    """Another person saw it too, or somebody says that it never was. Raises NotFound, NotAllowed, CannotHappen."""
    trade, name = bridge.trade(), who.get_username()
    step = reconcile.confirm_funding if confirmed else reconcile.withdraw_funding
    bridge.ask(trade.db.transaction(lambda tx: step(tx, trade, id_, name)))
    desk.act(who, "confirm funding" if confirmed else "withdraw funding", id_)


# ------------------------------------------------------------------ pages


class Floats:
    """The part of the staff's site that keeps our floats filled."""

    def float_urls(self) -> list[URLPattern]:
        return [
            path("floats/", self.admin_view(self.floats), name="floats"),
            path("floats/fund", self.admin_view(require_POST(self.fund)), name="fund"),
            re_path(
                rf"^floats/(?P<id_>{FUNDING})$", self.admin_view(require_POST(self.decide_funding)), name="funding"
            ),
        ]

    def floats(self, request: HttpRequest) -> HttpResponse:
        """All floats, the ones that need somebody first."""
        rows, paid = standing()
        rows.sort(key=lambda row: (not row.float.low, not row.float.parked, row.float.supplier))
        return self._page(
            request, "floats", title=_("Floats at suppliers"), rows=rows,
            waiting=[one for one in paid if one.confirmed is None], me=request.user.get_username(),
            paid=[one for one in paid if one.confirmed],
        )  # fmt: skip

    def fund(self, request: HttpRequest) -> HttpResponse:
        said = _("Written down. Another person must confirm it.")
        supplier, __, currency = request.POST.get("float", "").rpartition("/")
        return self._funded(request, lambda: fund(supplier, _typed(request, currency), request.user), said)

    def decide_funding(self, request: HttpRequest, id_: str) -> HttpResponse:
        confirmed = request.POST.get("answer") == "confirm"
        said = _("Confirmed; it stands in the book.") if confirmed else _("Withdrawn; nothing was posted.")
        return self._funded(request, lambda: decide(id_, confirmed, request.user), said)

    def _funded(self, request: HttpRequest, step: Callable[[], Any], said: str) -> HttpResponse:
        try:
            step()
        except NotFound:
            raise Http404 from None
        except RefillError as error:
            kind = next((kind for kind in NOT_NOW if isinstance(error, kind)), CannotHappen)
            messages.error(request, str(NOT_NOW[kind]))
        else:
            messages.success(request, said)
        return redirect("staff:floats")


def _typed(request: HttpRequest, currency: str) -> Money:
    """What was paid in; with a minus, what the supplier paid back. Raises BadInput."""
    text = request.POST.get("amount", "").strip()
    paid = amount(text.removeprefix("-"), currency)
    return Money(-paid.minor, paid.currency) if text.startswith("-") else paid
