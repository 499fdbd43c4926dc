"""The pages of partners' webhooks: where they listen, what was told and answered, telling again, and switching on and off."""

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, re_path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill import accounts, notify
from refill.channels.backoffice import desk
from refill.channels.people import bridge
from refill.db import Tx
from refill.errors import NotFound, RefillError
from refill.notify import Delivery, Endpoint, Try
from refill.outcome import Done

ENDPOINT = "(?P<id_>we_[0-9a-z]{24})"
STATES: dict[str, Promise] = {
    "active": gettext_lazy("on"),
    "disabled": gettext_lazy("off"),
    "deleted": gettext_lazy("deleted"),
}
WHY: dict[str, Promise] = {
    "asked": gettext_lazy("somebody switched it off"),
    "gone": gettext_lazy("it answered that it wants nothing more (410)"),
    "failing": gettext_lazy("it accepted nothing for three days"),
}
DELIVERED: dict[str, Promise] = {
    "waiting": gettext_lazy("waits"),
    "accepted": gettext_lazy("accepted"),
    "given_up": gettext_lazy("given up"),
}


@dataclass(frozen=True, slots=True)
class HookRow:
    """An endpoint as a page shows it."""

    partner: str
    waiting: int
    endpoint: Endpoint
    state: Promise
    why: Promise | str

    @classmethod
    def of(cls, partner: str, waiting: int, endpoint: Endpoint) -> "HookRow":
        return cls(partner, waiting, endpoint, STATES[endpoint.state], WHY.get(endpoint.why, ""))


# ------------------------------------------------------------------ what is asked of the spine


def every() -> list[HookRow]:
    """All endpoints, those that fail first."""
    found = bridge.ask(bridge.trade().db.transaction(notify.every))
    return [HookRow.of(*one) for one in found]


def one(id_: str) -> tuple[HookRow, list[tuple[Promise, Delivery]]]:
    """An endpoint and its latest deliveries. Raises NotFound."""

    async def work(tx: Tx) -> tuple[str, Endpoint, list[Delivery]]:
        endpoint = await notify.find(tx, id_)
        name = (await accounts.partner(tx, endpoint.partner)).name
        return name, endpoint, (await notify.deliveries(tx, id_))[0]

    name, endpoint, found = bridge.ask(bridge.trade().db.transaction(work))
    return HookRow.of(name, 0, endpoint), [(DELIVERED[delivery.state], delivery) for delivery in found]


def log(id_: str, event: str) -> tuple[Delivery, list[Try]]:
    """One delivery with every try. Raises NotFound."""

    async def work(tx: Tx) -> tuple[Delivery, list[Try]]:
        return await notify.delivery(tx, id_, event), await notify.tries(tx, id_, event)

    return bridge.ask(bridge.trade().db.transaction(work))


def again(id_: str, event: str, who: desk.Someone) -> None:
    """Tells one event again. Raises NotFound."""
    trade = bridge.trade()
    now = trade.world.db_now()
    bridge.ask(trade.db.transaction(lambda tx: notify.replay(tx, id_, event, now)))
    desk.act(who, "replay webhook", id_, event)


def switch(id_: str, who: desk.Someone, *, on: bool) -> None:
    """Switches an endpoint on or off for its partner. Raises NotFound."""
    trade = bridge.trade()

    async def work(tx: Tx) -> None:
        owner = (await notify.find(tx, id_)).partner
        await notify.change(tx, trade.world, owner, id_, enabled=on, allowed=trade.allowed_places)

    bridge.ask(trade.db.transaction(work))
    desk.act(who, "switch webhook on" if on else "switch webhook off", id_)


def test(id_: str, who: desk.Someone) -> tuple[bool, str]:
    """Sends a test event; was it accepted, and what was said. Raises NotFound."""
    trade = bridge.trade()
    endpoint = bridge.ask(trade.db.transaction(lambda tx: notify.find(tx, id_)))
    asked = notify.trial(trade.world, trade.db, trade.vault, endpoint.partner, id_)
    _event, receipt = bridge.ask(asked, timeout_s=20)
    desk.act(who, "test webhook", id_, str(receipt.status or ""))
    return isinstance(receipt.outcome, Done), f"{receipt.status or ''} {receipt.says}".strip()


# ------------------------------------------------------------------ pages


class Hooks:
    """The part of the staff's site that helps partners to hear."""

    def hook_urls(self) -> list[URLPattern]:
        steps = {"again": self.hook_again, "switch": self.hook_switch, "test": self.hook_test}
        return [
            path("webhooks/", self.admin_view(self.hooks), name="hooks"),
            re_path(rf"^webhooks/{ENDPOINT}$", self.admin_view(self.hook), name="hook"),
            re_path(
                rf"^webhooks/{ENDPOINT}/(?P<event>[a-z]{{2}}_[0-9a-z]{{24}}e[0-9]{{1,9}})$",
                self.admin_view(self.hook_log),
                name="hook-log",
            ),
            *(
                re_path(rf"^webhooks/{ENDPOINT}/{name}$", self.admin_view(require_POST(step)), name=f"hook-{name}")
                for name, step in steps.items()
            ),
        ]

    def hooks(self, request: HttpRequest) -> HttpResponse:
        """All endpoints, those that fail first."""
        return self._page(request, "hooks", title=_("Webhooks"), rows=every())

    def hook(self, request: HttpRequest, id_: str) -> HttpResponse:
        """One endpoint and its latest deliveries."""
        try:
            row, deliveries = one(id_)
        except NotFound:
            raise Http404 from None
        return self._page(request, "hook", title=_("Webhooks"), subtitle=row.partner, row=row, deliveries=deliveries)

    def hook_log(self, request: HttpRequest, id_: str, event: str) -> HttpResponse:
        """Every try of one delivery."""
        try:
            delivery, tries = log(id_, event)
        except NotFound:
            raise Http404 from None
        return self._page(
            request, "hook_log", title=_("Webhooks"), subtitle=delivery.id, id=id_, delivery=delivery, tries=tries,
            state=DELIVERED[delivery.state],
        )  # fmt: skip

    def hook_again(self, request: HttpRequest, id_: str) -> HttpResponse:
        event = request.POST.get("event", "").replace("\0", "")
        return self._heard(request, id_, lambda: again(id_, event, request.user), _("It is told again now."))

    def hook_switch(self, request: HttpRequest, id_: str) -> HttpResponse:
        on = request.POST.get("to") == "on"
        said = _("It is on. What happened meanwhile is told now.") if on else _("It is off. What happens now waits.")
        return self._heard(request, id_, lambda: switch(id_, request.user, on=on), said)

    def hook_test(self, request: HttpRequest, id_: str) -> HttpResponse:
        try:
            accepted, said = test(id_, request.user)
        except NotFound:
            raise Http404 from None
        if accepted:
            messages.success(request, _("The test was accepted: %(answer)s") % {"answer": said})
        else:
            messages.error(request, _("The test was not accepted: %(answer)s") % {"answer": said})
        return redirect("staff:hook", id_)

    def _heard(self, request: HttpRequest, id_: str, step: Callable[[], None], said: str) -> HttpResponse:
        try:
            step()
        except NotFound:
            raise Http404 from None
        except RefillError:
            messages.error(request, _("That could not be done; nothing was changed. Look at the page again."))
        else:
            messages.success(request, said)
        return redirect("staff:hook", id_)
