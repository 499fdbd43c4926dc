"""The pages of whoever keeps prices: lists shown before they are applied, what became of each row, and what sales leave."""

import csv
import io
import re
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, re_path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill.catalogue import importing, margins
from refill.catalogue.importing import OUTCOMES, Import, Line, PreviewOver
from refill.catalogue.prices import Least
from refill.catalogue.sheets import MOST_BYTES
from refill.channels.backoffice import desk
from refill.channels.people import bridge
from refill.errors import BadInput, NotFound, RefillError
from refill.money import decimal_text

LIST = "(?P<name>pl_[0-9a-z]{24})"
SHOWN = 200  # rows of a list on one page
PATIENCE_S = 120.0
GIVEN_UP = timedelta(minutes=15)  # a list that is still being read then was interrupted

OUTCOME_WORDS: dict[str, Promise] = {
    "added": gettext_lazy("new"),
    "changed": gettext_lazy("changed"),
    "removed": gettext_lazy("ends"),
    "unchanged": gettext_lazy("as before"),
    "refused": gettext_lazy("refused"),
    "elsewhere": gettext_lazy("not sold here"),
}
STATES: dict[str, Promise] = {
    "reading": gettext_lazy("being read"),
    "previewed": gettext_lazy("waits for your decision"),
    "applied": gettext_lazy("applied"),
    "discarded": gettext_lazy("let go"),
    "unreadable": gettext_lazy("cannot be read"),
}
WHYS: dict[str, Promise] = {
    "cells": gettext_lazy("The row has more cells than the first line names."),
    "cell": gettext_lazy("A cell is neither text, a number nor a day."),
    "formula": gettext_lazy("A cell begins like a formula; write the value itself."),
    "long": gettext_lazy("A cell or the line is too long."),
    "unprintable": gettext_lazy("A cell holds characters that cannot be printed."),
    "quote": gettext_lazy("A quotation mark is not closed."),
    "rounded": gettext_lazy("A spreadsheet has rounded this number; format the column as text."),
    "amount": gettext_lazy("This is not an amount of that currency; write plain digits such as 9.92."),
    "currency": gettext_lazy("This is not a currency we know."),
    "span": gettext_lazy("A span of amounts ends above where it begins, and so does its cost."),
    "one_price": gettext_lazy("Write either a price or basis points."),
    "bp": gettext_lazy("This is no share; 9960 basis points are 99.60 % of the face value."),
    "word": gettext_lazy("This is no name of a tier or channel."),
    "time": gettext_lazy("This is not a time; write 2026-12-01 or 2026-12-01 08:30."),
    "ends_first": gettext_lazy("It ends before it begins."),
    "whose": gettext_lazy("Name the operator of this product too."),
    "over": gettext_lazy("It ended already."),
    "twice": gettext_lazy("An earlier row prices the same thing from the same moment."),
    "no_operator": gettext_lazy("We have no such operator."),
    "no_product": gettext_lazy("This operator has no such product of ours."),
    "other_currency": gettext_lazy("This operator's credit is sold in another currency."),
    "not_that_face": gettext_lazy("The row does not cover the face value of our product."),
    "needs_product": gettext_lazy("A fixed price is of one product with one face value."),
    "no_partner": gettext_lazy("There is no such partner."),
    "loss": gettext_lazy("It would leave less than the least margin."),
    "unread": gettext_lazy("The supplier's own entry cannot be read."),
}
RULES: dict[str, Promise] = {
    "alarm": gettext_lazy("sell, and tell us"),
    "refuse": gettext_lazy("do not sell"),
}

_reading: dict[str, int] = {}  # how many rows of a list this process has read


# ------------------------------------------------------------------ what is asked of the spine


def latest() -> list[Import]:
    """The lists that were shown to us, the latest first."""
    return bridge.ask(bridge.trade().db.transaction(importing.latest))


def one(name: str, outcomes: tuple[str, ...], after: int) -> tuple[Import, list[Line]]:
    """A list and some of its rows. Raises NotFound."""

    async def work(tx: Any) -> tuple[Import, list[Line]]:
        found = await importing.find(tx, name)
        return found, await importing.lines(tx, name, outcomes=outcomes, after=after, most=SHOWN + 1)

    return bridge.ask(bridge.trade().db.transaction(work))


def show(file: io.BytesIO, source: str, supplier: str, who: desk.Someone, *, whole: bool) -> str:
    """Has a file read beside the pages; returns the name of the list. Raises BadInput."""
    trade = bridge.trade()
    side: Any = "cost" if supplier else "price"
    begun = importing.begin(trade.db, trade.world, side, supplier, source, who=who.get_username(), whole=whole)
    name = bridge.ask(begun)
    _beside(name, importing.read_file(bridge.bulk(), trade.world, name, file, progress=_heard(name)))
    desk.act(who, "show prices", name, f"{supplier or 'ours'}: {source}")
    return name


def fetch(supplier: str, who: desk.Someone) -> str:
    """Asks a supplier for its list, and has it read. Raises NotFound, BadInput."""
    trade = bridge.trade()
    told = bridge.ask(importing.fetch(trade.world, trade.suppliers, supplier), PATIENCE_S)
    begun = importing.begin(trade.db, trade.world, "cost", supplier, "wire", who=who.get_username(), whole=True)
    name = bridge.ask(begun)
    _beside(name, importing.read_wire(bridge.bulk(), trade.world, name, told, progress=_heard(name)))
    desk.act(who, "fetch prices", name, supplier)
    return name


def apply(name: str, who: desk.Someone) -> Import:
    """Raises NotFound, CannotHappen, PreviewOver."""
    applied = bridge.ask(importing.apply(bridge.bulk(), bridge.trade().world, name, who.get_username()), PATIENCE_S)
    desk.act(who, "apply prices", name, f"{applied.changes} changed")
    return applied


def discard(name: str, who: desk.Someone) -> None:
    """Raises NotFound, CannotHappen."""
    trade = bridge.trade()
    bridge.ask(trade.db.transaction(lambda tx: importing.discard(tx, trade.world, name, who.get_username())))
    desk.act(who, "let prices go", name)


def results(name: str) -> Iterator[str]:
    """The file that answers a list, page by page."""
    yield "\ufeff" + _csv([importing.RESULT])
    after, trade = 0, bridge.trade()
    while page := bridge.ask(
        trade.db.transaction(lambda tx: importing.lines(tx, name, after=after, most=5_000))  # noqa: B023
    ):
        yield _csv(map(importing.result_row, page))
        after = page[-1].n


def left() -> list[margins.Margin]:
    """What a sale of each product leaves now."""
    trade = bridge.trade()
    return margins.margins(trade.shelf.catalogue, trade.world.db_now())


def set_least(operator: str, product: str, least: Least, who: desk.Someone) -> None:
    """Raises BadInput."""
    trade, name = bridge.trade(), who.get_username()
    now = trade.world.db_now()
    bridge.ask(trade.db.transaction(lambda tx: margins.set_least(tx, operator, product, least, name, now)))
    desk.act(who, "set least margin", product or operator or "everything", f"{least.bp} bp, {least.rule}")


def listing() -> list[str]:
    """The suppliers that hand out their list through the wire."""
    return sorted(name for name, supplier in bridge.trade().suppliers.items() if hasattr(supplier, "price_list"))


def _heard(name: str) -> importing.Progress:
    _reading[name] = 0

    def heard(rows: int) -> None:
        _reading[name] = rows

    return heard


def _beside(name: str, work: Coroutine[Any, Any, Import]) -> None:
    """Starts reading on the engine's loop; what cannot be read says so in the list itself."""

    async def read() -> None:
        try:
            await work
        except RefillError:
            pass
        finally:
            _reading.pop(name, None)

    async def start() -> None:
        bridge.trade().world.start(read())

    bridge.ask(start())


def _csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


# ------------------------------------------------------------------ values made ready for a page


def row_of(line: Line) -> dict[str, Any]:
    """A row of a list as a page shows it."""

    def money(minor: int | None, currency: str | None) -> str:
        return f"{decimal_text(minor, currency)} {currency}" if minor is not None and currency else ""

    operator = line.operator or ("*" if line.key else "")
    face = money(line.face_minor, line.face_currency)
    if line.max_face_minor is not None and line.face_currency:
        face = f"{decimal_text(line.face_minor or 0, line.face_currency)} – {money(line.max_face_minor, line.face_currency)}"
    return {
        "n": "" if line.outcome == "removed" else line.n,
        "outcome": OUTCOME_WORDS[line.outcome],
        "what": " · ".join(filter(None, (operator, line.product, line.their_product, line.name))),
        "whom": " · ".join(filter(None, (line.partner, line.tier, line.channel))),
        "face": face,
        "was": money(line.was_minor, line.was_currency) or _share(line.was_bp),
        "becomes": money(line.minor, line.currency) or _share(line.bp),
        "starts": line.valid_from,
        "ends": line.valid_until,
        "why": WHYS[line.why] if line.why else "",
        "about": line.what,
        "thin": line.thin,
    }


def _share(bp: int | None) -> str:
    return f"{bp / 100:.2f} %" if bp else ""


# ------------------------------------------------------------------ pages


class Prices:
    """The part of the staff's site where prices are kept."""

    def price_urls(self) -> list[URLPattern]:
        steps = {"apply": self.apply_prices, "discard": self.discard_prices}
        return [
            path("prices/", self.admin_view(self.price_lists), name="prices"),
            path("prices/show", self.admin_view(require_POST(self.show_prices)), name="prices-show"),
            path("prices/fetch", self.admin_view(require_POST(self.fetch_prices)), name="prices-fetch"),
            path("prices/one", self.admin_view(require_POST(self.one_price)), name="prices-one"),
            path("margins/", self.admin_view(self.margins), name="margins"),
            path("margins/least", self.admin_view(require_POST(self.set_margin)), name="margins-least"),
            re_path(rf"^prices/{LIST}$", self.admin_view(self.price_list), name="price-list"),
            re_path(rf"^prices/{LIST}\.csv$", self.admin_view(self.price_result), name="price-result"),
            *(
                re_path(rf"^prices/{LIST}/{name}$", self.admin_view(require_POST(step)), name=f"price-{name}")
                for name, step in steps.items()
            ),
        ]

    def price_lists(self, request: HttpRequest) -> HttpResponse:
        """The latest lists, and the forms that bring another one."""
        catalogue = bridge.trade().shelf.catalogue
        return self._page(
            request, "prices", title=_("Prices"), lists=[(STATES[each.state], each) for each in latest()],
            suppliers=sorted(bridge.trade().suppliers), wires=listing(), may=_may(request),
            products=[product for product in catalogue.products() if product.kind == "fixed"],
        )  # fmt: skip

    def price_list(self, request: HttpRequest, name: str) -> HttpResponse:
        """One list: what it would change, row by row, and the decision."""
        wanted, after = request.GET.get("rows", ""), request.GET.get("after", "0")
        outcomes = (wanted,) if wanted in OUTCOMES else OUTCOMES
        try:
            found, lines = one(name, outcomes, int(after) if re.fullmatch("[0-9]{1,9}", after) else 0)
        except NotFound:
            raise Http404 from None
        counts = [(each, OUTCOME_WORDS[each], getattr(found, each)) for each in OUTCOMES]
        interrupted = found.state == "reading" and bridge.trade().world.db_now() - found.asked_at > GIVEN_UP
        answer = self._page(
            request, "price_list", title=_("Prices"), subtitle=found.supplier or _("our prices"), list=found,
            state=STATES[found.state], counts=counts, wanted=wanted, may=_may(request), interrupted=interrupted,
            rows=[row_of(line) for line in lines[:SHOWN]], more=lines[SHOWN - 1].n if len(lines) > SHOWN else 0,
            read=_reading.get(name, 0), kept=found.whole and found.refused and not found.removed,
        )  # fmt: skip
        if found.state == "reading" and not interrupted:
            answer["Refresh"] = "1"
        return answer

    def price_result(self, request: HttpRequest, name: str) -> StreamingHttpResponse:
        """What became of every row, as a file."""
        try:
            one(name, OUTCOMES, 0)
        except NotFound:
            raise Http404 from None
        named = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return StreamingHttpResponse(results(name), content_type="text/csv; charset=utf-8", headers=named)

    def show_prices(self, request: HttpRequest) -> HttpResponse:
        _must(request)
        uploaded, supplier = request.FILES.get("file"), request.POST.get("supplier", "")
        if uploaded is None or (uploaded.size or 0) > MOST_BYTES:
            messages.error(request, _("Choose a CSV or XLSX file of at most 32 MB."))
            return redirect("staff:prices")
        if supplier and supplier not in bridge.trade().suppliers:
            raise Http404
        whole = request.POST.get("whole") == "yes"
        file = io.BytesIO(uploaded.read())
        return redirect("staff:price-list", show(file, str(uploaded.name), supplier, request.user, whole=whole))

    def fetch_prices(self, request: HttpRequest) -> HttpResponse:
        _must(request)
        try:
            return redirect("staff:price-list", fetch(request.POST.get("supplier", ""), request.user))
        except NotFound:
            raise Http404 from None
        except RefillError:
            messages.error(request, _("The supplier does not tell its prices at present. Try again in a while."))
            return redirect("staff:prices")

    def one_price(self, request: HttpRequest) -> HttpResponse:
        """A price of ours that somebody types, now or for later: a list of one row."""
        _must(request)
        said = {
            name: request.POST.get(name, "").strip()[:60] for name in ("product", "price", "valid_from", "valid_until")
        }
        products = {product.id: product.operator for product in bridge.trade().shelf.catalogue.products()}
        if said["product"] not in products:
            raise Http404
        row = {"operator": products[said["product"]], **said}
        text = _csv([row.keys(), row.values()])
        return redirect(
            "staff:price-list", show(io.BytesIO(text.encode()), said["product"], "", request.user, whole=False)
        )

    def apply_prices(self, request: HttpRequest, name: str) -> HttpResponse:
        _must(request)
        try:
            applied = apply(name, request.user)
        except NotFound:
            raise Http404 from None
        except PreviewOver:
            messages.error(
                request, _("Prices changed meanwhile; nothing was applied. This is the preview as it is now.")
            )
        except RefillError:
            messages.error(request, _("This list cannot be applied any more; show it again."))
        else:
            messages.success(request, _("Applied: %(count)s prices changed.") % {"count": applied.changes})
        return redirect("staff:price-list", name)

    def discard_prices(self, request: HttpRequest, name: str) -> HttpResponse:
        _must(request)
        try:
            discard(name, request.user)
        except NotFound:
            raise Http404 from None
        except RefillError:
            messages.error(request, _("Only a preview can be let go."))
        else:
            messages.success(request, _("Let go; no price changed."))
        return redirect("staff:prices")

    def margins(self, request: HttpRequest) -> HttpResponse:
        """What a sale of each product leaves, and the rule of how little that may be."""
        rows = left()
        return self._page(
            request, "margins", title=_("Margins"), rows=[(RULES[row.rule], row) for row in rows], rules=RULES.items(),
            operators=bridge.trade().shelf.catalogue.operators(), may=_may(request), thin=sum(row.thin for row in rows),
        )  # fmt: skip

    def set_margin(self, request: HttpRequest) -> HttpResponse:
        _must(request)
        bp, operator = request.POST.get("bp", ""), request.POST.get("operator", "")
        try:
            if not re.fullmatch("[0-9]{1,5}", bp):
                raise BadInput("Basis points are whole numbers.")
            set_least(operator, "", Least(int(bp), 0, request.POST.get("rule", "")), request.user)
        except RefillError:
            messages.error(request, _("Write basis points from 0 to 10000, such as 20 for 0.20 % of the face value."))
        else:
            messages.success(request, _("The rule is set; it counts within a few seconds."))
        return redirect("staff:margins")


def _may(request: HttpRequest) -> bool:
    """Who has the right to change products keeps their prices."""
    person: Any = request.user  # the site lets only staff in
    return bool(person.has_perm("catalogue.change_product"))


def _must(request: HttpRequest) -> None:
    if not _may(request):
        raise PermissionDenied
