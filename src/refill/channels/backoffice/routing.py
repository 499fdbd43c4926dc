"""The page of routing: how suppliers stand, who would deliver and why, and what people decide about it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill import catalogue
from refill.catalogue import steering
from refill.catalogue.routing import Maintenance, Rule
from refill.channels.backoffice import desk
from refill.channels.backoffice.why import WHY
from refill.channels.people import bridge
from refill.db import Tx
from refill.errors import BadInput, NotFound, RefillError
from refill.money import amount
from refill.topup import standing
from refill.topup.explain import Candidate, explain

CHINA = "Asia/Shanghai"
ACTIONS: dict[str, Promise] = {
    "prefer": gettext_lazy("these first"),
    "only": gettext_lazy("only these"),
    "never": gettext_lazy("never these"),
    "hold": gettext_lazy("hold orders back"),
}
WRONG = gettext_lazy("Nothing was changed: check the names, the times and the numbers, and say why.")


# ------------------------------------------------------------------ what is asked of the spine


@dataclass(frozen=True, slots=True)
class Decisions:
    """What people decided, as it stands."""

    rules: list[steering.Written]
    pauses: list[steering.Pause]


def decisions() -> Decisions:
    """Read from the database, not from what this process remembers."""
    trade = bridge.trade()

    async def work(tx: Tx) -> Decisions:
        return Decisions(await steering.rules(tx), await steering.pauses(tx, trade.world.db_now()))

    return bridge.ask(trade.db.transaction(work))


def write(work: Callable[[Tx], Any]) -> None:
    """Writes a decision, and lets this process know it at once."""
    trade = bridge.trade()

    async def both(tx: Tx) -> catalogue.Catalogue:
        await work(tx)
        return await catalogue.refresh(tx, trade.shelf.catalogue)

    trade.shelf.catalogue = bridge.ask(trade.db.transaction(both))


def turn(supplier: str, who: desk.Someone, reason: str, *, opened: bool) -> None:
    """Opens or closes a breaker by hand. Raises NotFound, BadInput."""
    step = standing.open_by_hand if opened else standing.close_by_hand
    bridge.ask(step(bridge.trade(), supplier, who=who.get_username(), why=reason))
    desk.act(who, "open breaker" if opened else "close breaker", supplier, reason)


def candidates(operator: str, typed: str) -> list[Candidate]:
    """Raises RefillError."""
    trade = bridge.trade()
    face = amount(typed, trade.shelf.catalogue.operator(operator).currency)
    return list(bridge.ask(explain(trade, operator, face)))


# ------------------------------------------------------------------ pages


class Routing:
    """The part of the staff's site that decides who delivers."""

    def routing_urls(self) -> list[URLPattern]:
        steps = {
            "turn": self.routing_turn,
            "add_rule": self.routing_add_rule,
            "end_rule": self.routing_end_rule,
            "add_pause": self.routing_add_pause,
            "end_pause": self.routing_end_pause,
            "set_limits": self.routing_set_limits,
            "switch": self.routing_switch,
        }
        own = [path("routing/", self.admin_view(self.routing), name="routing")]
        for name, step in steps.items():
            own.append(path(f"routing/{name}", self.admin_view(require_POST(step)), name=f"routing_{name}"))
        return own

    def routing(self, request: HttpRequest) -> HttpResponse:
        """Everything about it on one page; with an operator and an amount, who would deliver that."""
        operator, face = request.GET.get("operator", "")[:40], request.GET.get("face", "")[:20]
        answer: list[tuple[Candidate, str]] = []
        refused = False
        if operator and face:
            try:
                answer = [(one, str(WHY.get(one.why, one.why))) for one in candidates(operator, face)]
            except RefillError:
                refused = True
        shelf = bridge.trade().shelf.catalogue
        return self._page(
            request,
            "routing",
            title=_("Routing"),
            views=bridge.ask(standing.views(bridge.trade())),
            operators=[shelf._operators[name] for name in shelf.networks()],
            told=decisions(),
            actions=ACTIONS,
            operator=operator,
            face=face,
            answer=answer,
            refused=refused,
        )

    def routing_turn(self, request: HttpRequest) -> HttpResponse:
        said, opened = _("Written down; workers know it with their next order."), request.POST.get("to") == "open"
        supplier = request.POST.get("supplier", "")
        return self._decided(request, lambda: turn(supplier, request.user, _text(request, "why"), opened=opened), said)

    def routing_add_rule(self, request: HttpRequest) -> HttpResponse:
        def work() -> None:
            world = bridge.trade().world
            rule = _rule(request, world.new_id("ru", 0))
            who, says = request.user.get_username(), _text(request, "why")
            write(lambda tx: steering.add_rule(tx, rule, who=who, says=says))
            desk.act(request.user, "add rule", rule.id, f"{rule.action} {' '.join(rule.suppliers)}: {says}")

        return self._decided(request, work, _("The rule is in force."))

    def routing_end_rule(self, request: HttpRequest) -> HttpResponse:
        id_ = request.POST.get("id", "")

        def work() -> None:
            write(lambda tx: steering.end_rule(tx, id_))
            desk.act(request.user, "end rule", id_)

        return self._decided(request, work, _("The rule is out of force."))

    def routing_add_pause(self, request: HttpRequest) -> HttpResponse:
        def work() -> None:
            starts, ends = _moment(request, "starts"), _moment(request, "ends")
            if starts is None or ends is None:
                raise BadInput("A pause begins and ends.")
            id_ = bridge.trade().world.new_id("pm", 0)
            pause = Maintenance(_supplier(request), request.POST.get("operator") or None, starts, ends)
            who, says = request.user.get_username(), _text(request, "why")
            write(lambda tx: steering.add_pause(tx, id_, pause, who=who, says=says))
            desk.act(request.user, "add pause", id_, f"{pause.supplier}: {says}")

        return self._decided(request, work, _("The pause is in the calendar."))

    def routing_end_pause(self, request: HttpRequest) -> HttpResponse:
        id_ = request.POST.get("id", "")

        def work() -> None:
            write(lambda tx: steering.end_pause(tx, id_))
            desk.act(request.user, "end pause", id_)

        return self._decided(request, work, _("The pause is called off."))

    def routing_set_limits(self, request: HttpRequest) -> HttpResponse:
        def work() -> None:
            supplier = _supplier(request)
            was = bridge.trade().shelf.catalogue.routing.of(supplier)
            numbers = {name: _number(request, name) for name in steering.BOUNDS}
            given: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
            limits = replace(was, **{"most_per_second": None, **given, "enabled": request.POST.get("enabled") == "yes"})
            write(lambda tx: steering.limit(tx, supplier, limits))
            desk.act(request.user, "set limits", supplier, str(limits)[:200])

        return self._decided(request, work, _("The limits are in force."))

    def routing_switch(self, request: HttpRequest) -> HttpResponse:
        def work() -> None:
            operator, to = request.POST.get("operator", ""), request.POST.get("to", "")
            if to not in ("on", "wait", "refund"):
                raise BadInput("On, or off.")
            when_off = "wait" if to == "on" else to
            write(lambda tx: steering.switch(tx, operator, on=to == "on", when_off=when_off))
            desk.act(request.user, "switch operator", operator, to)

        return self._decided(request, work, _("The operator is switched."))

    def _decided(self, request: HttpRequest, step: Callable[[], None], said: str) -> HttpResponse:
        try:
            step()
        except NotFound:
            raise Http404 from None
        except RefillError:
            messages.error(request, str(WRONG))
        else:
            messages.success(request, said)
        return redirect("staff:routing")


def _text(request: HttpRequest, field: str) -> str:
    return request.POST.get(field, "").replace("\0", "").strip()[:200]


def _supplier(request: HttpRequest) -> str:
    """Raises NotFound."""
    name = request.POST.get("supplier", "")
    if name not in bridge.trade().suppliers:
        raise NotFound("There is no such supplier.")
    return name


def _rule(request: HttpRequest, id_: str) -> Rule:
    """Raises BadInput."""
    operator = request.POST.get("operator") or None
    if operator is not None and operator not in bridge.trade().shelf.catalogue.networks():
        raise BadInput("There is no such operator.")
    begins, ends = steering.hours(_text(request, "hours"))
    return Rule(
        id_,
        request.POST.get("action", ""),
        tuple(_text(request, "suppliers").replace(",", " ").split()),
        operator,
        region=_text(request, "region") or None,
        channel=_text(request, "channel") or None,
        partner=_text(request, "partner") or None,
        least_minor=_face(request, "least"),
        most_minor=_face(request, "most"),
        from_minute=begins,
        to_minute=ends,
        zone=CHINA,
        starts_at=_moment(request, "starts"),
        ends_at=_moment(request, "ends"),
    )


def _face(request: HttpRequest, field: str) -> int | None:
    """Raises BadInput."""
    text = _text(request, field)
    operator = request.POST.get("operator", "")
    catalogue_ = bridge.trade().shelf.catalogue
    currency = catalogue_.operator(operator).currency if operator else "CNY"
    return amount(text, currency).minor if text else None


def _moment(request: HttpRequest, field: str) -> datetime | None:
    """A time of day in China as browsers send it: "2026-11-22T23:50". Raises BadInput."""
    text = _text(request, field)
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=ZoneInfo(CHINA))
    except ValueError:
        raise BadInput("That is not a time.") from None


def _number(request: HttpRequest, field: str) -> int | None:
    """Raises BadInput."""
    text = _text(request, field)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise BadInput("Write whole numbers.")
    return int(text)
