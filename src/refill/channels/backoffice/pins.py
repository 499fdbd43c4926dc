"""The pages of PINs: what is in stock, batches that two people buy, alarms; and PINs of orders, shown to nobody alone."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, re_path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill import stock
from refill.channels.backoffice import desk
from refill.channels.backoffice.masking import mask
from refill.channels.people import bridge
from refill.db import Tx
from refill.errors import BadInput, CannotHappen, NotAllowed, NotAnAmount, NotForSale, NotFound, RefillError
from refill.money import Money
from refill.stock import Arrival, BadStockFile, Batch, Given, Kind, Shelf, TopUpPin, Wish
from refill.topup import flow
from refill.topup.pins import PinStory

BATCH = "(?P<code>s[0-9a-z]{6})"
ORDER = "(?P<order_id>tu_[0-9a-z]{24})"
LATEST = 50
SHOWN = 20  # refused rows that a page names

BATCH_STATES: dict[str, Promise] = {
    "open": gettext_lazy("waits for a second person"),
    "confirmed": gettext_lazy("in stock"),
    "declined": gettext_lazy("declined"),
}
KINDS: dict[str, Promise] = {
    "replace": gettext_lazy("Replace the PIN"),
    "reveal": gettext_lazy("Look at the PIN"),
}
WISH_STATES: dict[str, Promise] = {
    "open": gettext_lazy("waits for a second person"),
    "confirmed": gettext_lazy("confirmed"),
    "declined": gettext_lazy("declined"),
    "read": gettext_lazy("shown"),
}
NOT_NOW: dict[type[RefillError], Promise] = {
    NotAllowed: gettext_lazy("Another person confirms it, not the one who asked for it."),
    BadStockFile: gettext_lazy(
        "The file cannot be read. It is CSV in UTF-8 with the columns serial, pin and expiry (2027-12-31),"
        " at most 20,000 rows."
    ),
    NotForSale: gettext_lazy("Our stock supplies no such product."),
    NotAnAmount: gettext_lazy("That is not an amount; write plain digits such as 49.20."),
    BadInput: gettext_lazy("Name the account such as bank:main, what each PIN cost, and where they come from."),
    CannotHappen: gettext_lazy(
        "Nothing was changed: it was decided or imported before, another wish waits, or no PIN is left to give instead."
    ),
}


# ------------------------------------------------------------------ what is asked of the spine


def shelves() -> tuple[list[Shelf], list[Batch], list[Wish]]:
    """The stock by product, the latest batches, and what is wanted of orders' PINs."""

    async def work(tx: Tx) -> tuple[list[Shelf], list[Batch], list[Wish]]:
        return await stock.shelves(tx), await stock.batches(tx, most=LATEST), await stock.waiting(tx)

    return bridge.ask(bridge.trade().db.transaction(work))


def on_sale() -> dict[str, tuple[str, Money]]:
    """What our stock supplies: operator and face value by product."""
    return flow.sold_by_pin(bridge.trade())


def receive(file: bytes, who: desk.Someone, said: dict[str, str]) -> Arrival:
    """Imports a file. Raises NotForSale, NotAnAmount, BadStockFile, BadInput, CannotHappen."""
    name = who.get_username()
    arrival = bridge.ask(
        flow.receive_stock(
            bridge.trade(), file, said["product"], said["cost"], purse=said["purse"], who=name, why=said["why"]
        )
    )
    if arrival.batch is not None:
        desk.act(who, "import PINs", arrival.batch.code, f"{arrival.batch.count} of {said['product']}")
    return arrival


def decide_batch(code: str, who: desk.Someone, *, agree: bool) -> None:
    """Raises NotFound, NotAllowed, CannotHappen."""
    trade, name = bridge.trade(), who.get_username()
    if agree:
        bridge.ask(flow.confirm_stock(trade, code, name))
    else:
        bridge.ask(trade.db.transaction(lambda tx: stock.decline(tx, trade.world, code, name)))
    desk.act(who, "confirm PINs" if agree else "decline PINs", code)


def set_level(product: str, who: desk.Someone, typed: str) -> None:
    """Raises NotForSale, BadInput."""
    if product not in on_sale():
        raise NotForSale("Our stock supplies no such product.")
    if not typed.isascii() or not typed.isdigit() or len(typed) > 7:
        raise BadInput("A level is a number.")
    trade, name = bridge.trade(), who.get_username()
    now = trade.world.db_now()
    bridge.ask(trade.db.transaction(lambda tx: stock.set_level(tx, product, int(typed), name, now)))
    desk.act(who, "set PIN level", product, typed)


def story(order_id: str) -> PinStory:
    """The PINs of an order, sealed, with what was wanted of them and who read them."""
    return bridge.ask(flow.pin_story(bridge.trade(), order_id))


def ask_about(order_id: str, kind: Kind, who: desk.Someone, why: str) -> None:
    """Raises NotFound, BadInput, CannotHappen."""
    bridge.ask(flow.ask_about_pin(bridge.trade(), order_id, kind, why, who.get_username()))
    desk.act(who, f"ask to {kind} PIN", order_id, why)


def decide(order_id: str, n: int, who: desk.Someone, *, agree: bool) -> None:
    """Raises NotFound, NotAllowed, CannotHappen."""
    bridge.ask(flow.decide_about_pin(bridge.trade(), order_id, n, who.get_username(), agree=agree))
    desk.act(who, "confirm about PIN" if agree else "decline about PIN", order_id, f"#{n}")


def show(order_id: str, n: int, who: desk.Someone) -> tuple[Given, TopUpPin]:
    """The PIN, once; who looks is written down first. Raises NotFound, NotAllowed, CannotHappen."""
    desk.act(who, "look at PIN", order_id, f"#{n}")
    return bridge.ask(flow.show_pin(bridge.trade(), order_id, n, who.get_username()))


# ------------------------------------------------------------------ pages


class Pins:
    """The part of the staff's site where operators' PINs are bought, watched, replaced and, by two people, looked at."""

    def pin_urls(self) -> list[URLPattern]:
        about = {"ask": self.ask_about_pin}
        numbered = {"decide": self.decide_about_pin, "show": self.show_pin}
        return [
            path("pins/", self.admin_view(self.pins), name="pins"),
            path("pins/import", self.admin_view(require_POST(self.import_pins)), name="pins-import"),
            path("pins/level", self.admin_view(require_POST(self.level)), name="pins-level"),
            re_path(rf"^pins/{BATCH}/decide$", self.admin_view(require_POST(self.decide_pins)), name="pins-decide"),
            *(
                re_path(rf"^order/{ORDER}/pin/{name}$", self.admin_view(require_POST(step)), name=f"pin-{name}")
                for name, step in about.items()
            ),
            *(
                re_path(
                    rf"^order/{ORDER}/pin/(?P<n>[0-9]{{1,4}})/{name}$",
                    self.admin_view(require_POST(step)),
                    name=f"pin-{name}",
                )
                for name, step in numbered.items()
            ),
        ]

    def pins(self, request: HttpRequest, refused: Arrival | None = None) -> HttpResponse:
        """What is in stock, what waits, and the two forms."""
        rows, batches, wishes = shelves()
        return self._page(
            request, "pins", title=_("PINs"), shelves=rows, me=request.user.get_username(), products=on_sale(),
            batches=[(BATCH_STATES[batch.state], batch) for batch in batches],
            open=[batch for batch in batches if batch.state == "open"],
            wishes=[(KINDS[wish.kind], wish) for wish in wishes],
            refused=refused.refused[:SHOWN] if refused else [],
            more=max(len(refused.refused) - SHOWN, 0) if refused else 0,
        )  # fmt: skip

    def import_pins(self, request: HttpRequest) -> HttpResponse:
        """Takes a file; its refused rows are named once, without their PINs."""
        uploaded = request.FILES.get("file")
        said = {field: _said(request, field) for field in ("product", "cost", "purse", "why")}
        try:
            arrival = receive(uploaded.read() if uploaded else b"", request.user, said)
        except RefillError as error:
            messages.error(request, _refusal(error))
            return redirect("staff:pins")
        if arrival.batch is None:
            messages.error(request, _("No row of this file is new; nothing was imported."))
        else:
            messages.success(
                request,
                _("%(count)s PINs were imported. Another person confirms the batch %(code)s.")
                % {"count": arrival.batch.count, "code": arrival.batch.code},
            )
        return self.pins(request, arrival) if arrival.refused else redirect("staff:pins")

    def decide_pins(self, request: HttpRequest, code: str) -> HttpResponse:
        agree = request.POST.get("answer") == "confirm"
        said = (
            gettext_lazy("Confirmed; the PINs are in stock.")
            if agree
            else gettext_lazy("Declined; nothing was booked.")
        )
        return self._pin_step(
            request, lambda: decide_batch(code, request.user, agree=agree), said, redirect("staff:pins")
        )

    def level(self, request: HttpRequest) -> HttpResponse:
        product, typed = _said(request, "product"), _said(request, "least")
        return self._pin_step(
            request,
            lambda: set_level(product, request.user, typed),
            gettext_lazy("The alarm is set."),
            redirect("staff:pins"),
        )

    def ask_about_pin(self, request: HttpRequest, order_id: str) -> HttpResponse:
        kind: Kind = "reveal" if request.POST.get("kind") == "reveal" else "replace"
        return self._pin_step(
            request,
            lambda: ask_about(order_id, kind, request.user, _said(request, "why")),
            gettext_lazy("Asked. Another person confirms it on this page."),
            redirect("staff:order", order_id),
        )

    def decide_about_pin(self, request: HttpRequest, order_id: str, n: str) -> HttpResponse:
        agree = request.POST.get("answer") == "confirm"
        said = gettext_lazy("Confirmed; it is done.") if agree else gettext_lazy("Declined; nothing was changed.")
        return self._pin_step(
            request,
            lambda: decide(order_id, int(n), request.user, agree=agree),
            said,
            redirect("staff:order", order_id),
        )

    def show_pin(self, request: HttpRequest, order_id: str, n: str) -> HttpResponse:
        """Shows the PIN once, in this answer alone; who looked stays written."""
        try:
            _given, pin = show(order_id, int(n), request.user)
        except NotFound:
            raise Http404 from None
        except RefillError as error:
            messages.error(request, _refusal(error))
            return redirect("staff:order", order_id)
        return self.order(request, order_id, pin=pin.grouped())  # type: ignore[attr-defined]

    def _pin_step(
        self, request: HttpRequest, step: Callable[[], None], said: Promise, then: HttpResponse
    ) -> HttpResponse:
        try:
            step()
        except NotFound:
            raise Http404 from None
        except RefillError as error:
            messages.error(request, _refusal(error))
        else:
            messages.success(request, str(said))
        return then


def told(order_id: str) -> dict[str, Any]:
    """What an order's page says of its PINs; nothing for an order that got none."""
    found = story(order_id)
    if not found.given:
        return {}
    return {
        "given": found.given,
        "wishes": [(KINDS[wish.kind], WISH_STATES[wish.state], wish) for wish in found.wishes],
        "readings": found.readings,
    }


def _refusal(error: RefillError) -> str:
    kind = next((kind for kind in NOT_NOW if isinstance(error, kind)), CannotHappen)
    return str(NOT_NOW[kind])


def _said(request: HttpRequest, field: str) -> str:
    """Without telephone numbers: it is kept, and others read it."""
    return mask(request.POST.get(field, "").replace("\0", "").strip()[:200])
