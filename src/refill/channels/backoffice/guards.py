"""The pages of what holds selling back: listed numbers and limits, and the exchange rates that somebody must tell."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill import numbers
from refill.catalogue import rates
from refill.channels.backoffice import desk
from refill.channels.backoffice.masking import mask
from refill.channels.people import bridge
from refill.db import Tx
from refill.errors import BadInput, CannotHappen, NotANumber, NotFound, RefillError
from refill.money import Money, amount
from refill.numbers import lists
from refill.numbers.lists import Line
from refill.topup import limits
from refill.topup.limits import Limit

KINDS: dict[str, Promise] = {
    lists.BLOCK: gettext_lazy("Refuse"),
    lists.ALLOW: gettext_lazy("Always serve"),
}
LISTED: dict[str, Promise] = {lists.BLOCK: gettext_lazy("refused"), lists.ALLOW: gettext_lazy("always served")}
PERIODS: dict[str, Promise] = {
    "hour": gettext_lazy("an hour"),
    "day": gettext_lazy("a day"),
    "week": gettext_lazy("a week"),
    "month": gettext_lazy("a month"),
}
PER: dict[str, Promise] = {
    "number": gettext_lazy("number"),
    "payer": gettext_lazy("payer"),
    "product": gettext_lazy("product"),
    "operator": gettext_lazy("operator"),
    "channel": gettext_lazy("door"),
}
WHOM: dict[str, Promise] = PER | {"supplier": gettext_lazy("supplier")}
NOT_NOW: dict[type[RefillError], Promise] = {
    NotANumber: gettext_lazy(
        "Write a whole mobile number. A prefix tells nothing about its number: numbers are ported."
    ),
    BadInput: gettext_lazy(
        "Something is missing or cannot be read. Check the form: plain digits, a reason, an end that lies ahead."
    ),
    NotFound: gettext_lazy("That has ended already."),
    CannotHappen: gettext_lazy(
        "Nothing was changed: it is not there any more, was told otherwise before, or moves further than is usual."
    ),
}


@dataclass(frozen=True, slots=True)
class LineRow:
    """A listed number as a page shows it, masked."""

    line: Line
    number: str
    kind: Promise


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A limit as a page shows it, with the fullest count of the present period."""

    limit: Limit
    period: Promise
    per: str
    whom: str
    count: int
    amount: Money | None
    full: bool

    @classmethod
    def of(cls, limit: Limit, count: int, minor: int) -> "LimitRow":
        said = [f"{WHOM[name]} {getattr(limit, name)}" for name in WHOM if getattr(limit, name, None)]
        used = None if limit.most is None else Money(minor, limit.most.currency)
        full = limit.most_count is not None and count >= limit.most_count
        full = full or (limit.most is not None and minor >= limit.most.minor)
        per = " + ".join(str(PER[what]) for what in limit.per)
        return cls(limit, PERIODS[limit.period], per, ", ".join(said), count, used, full)


@dataclass(frozen=True, slots=True)
class RateRow:
    """A rate as a page shows it; `standing` says whether it is the one that counts."""

    told: rates.Told
    rate: str
    standing: Promise


# ------------------------------------------------------------------ what is asked of the spine


def standing() -> tuple[list[LineRow], list[LimitRow]]:
    """The lines and limits in force."""
    trade = bridge.trade()
    now = trade.world.db_now()

    async def work(tx: Tx) -> tuple[list[Line], dict[str, Any], list[tuple[Limit, int, int]]]:
        found = await lists.listing(tx, now)
        known = await numbers.reveal(tx, trade.vault, sorted({line.number for line in found}))
        return found, known, await limits.in_force(tx, now)

    found, known, every = bridge.ask(trade.db.transaction(work))
    lines = [
        LineRow(line, known[line.number].masked() if line.number in known else "—", LISTED[line.kind]) for line in found
    ]
    return lines, [LimitRow.of(*one) for one in every]


def put(typed: str, kind: str, where: str, why: str, until: datetime | None, who: desk.Someone) -> None:
    """Adds a line about a number. Raises BadInput, CannotHappen."""
    trade, name = bridge.trade(), who.get_username()
    msisdn, now = lists.whole_number(typed), trade.world.db_now()
    index = bridge.ask(
        trade.db.transaction(
            lambda tx: lists.put(tx, trade.vault, msisdn, kind, where=where, reason=why, who=name, now=now, until=until)
        )
    )
    _known_here()
    desk.act(who, f"{kind} number", index, f"{msisdn.masked()} {where}: {why}")


def lift(number: str, where: str, why: str, who: desk.Someone) -> None:
    """Takes a number that a page showed off the list. Raises CannotHappen."""
    trade, now = bridge.trade(), bridge.trade().world.db_now()

    async def work(tx: Tx) -> None:
        known = await numbers.reveal(tx, trade.vault, [number])
        if number not in known:
            raise CannotHappen("This number was erased.")
        await lists.put(
            tx, trade.vault, known[number], lists.LIFT, where=where, reason=why, who=who.get_username(), now=now
        )

    bridge.ask(trade.db.transaction(work))
    desk.act(who, "lift number", number, f"{where}: {why}")


def make_limit(who: desk.Someone, **terms: Any) -> None:
    """Raises BadInput."""
    trade, name = bridge.trade(), who.get_username()
    made = bridge.ask(trade.db.transaction(lambda tx: limits.make(tx, trade.world, who=name, **terms)))
    _known_here()
    desk.act(who, "make limit", made.id, f"{limits.told(made)}: {made.reason}")


def end_limit(limit_id: str, who: desk.Someone) -> None:
    """Raises NotFound."""
    trade, name = bridge.trade(), who.get_username()
    bridge.ask(trade.db.transaction(lambda tx: limits.end(tx, limit_id, name, trade.world.db_now())))
    _known_here()
    desk.act(who, "end limit", limit_id)


def _known_here() -> None:
    """This process knows it at once, the others within seconds."""
    trade = bridge.trade()
    bridge.ask(trade.db.transaction(trade.guard.refresh))


def told_rates() -> tuple[list[RateRow], list[tuple[str, str]]]:
    """What was told of rates, and the pairs for which something on sale has none."""
    trade = bridge.trade()
    now = trade.world.db_now()

    async def work(tx: Tx) -> tuple[list[rates.Told], rates.Rates]:
        return await rates.listing(tx), await rates.load(tx)

    rows, every = bridge.ask(trade.db.transaction(work))

    def stands(one: rates.Told) -> Promise:
        rate = one.rate
        if now < rate.valid_from:
            return gettext_lazy("later")
        counts = every.has(rate.base, rate.quote, now) and every.at(rate.base, rate.quote, now)
        same = counts and (counts.valid_from, counts.base) == (rate.valid_from, rate.base)
        return gettext_lazy("in force") if same else gettext_lazy("over")

    old = [pair for pair in sorted(trade.shelf.catalogue.abroad()) if not every.has(*pair, now)]
    return [RateRow(one, one.rate.text(), stands(one)) for one in rows], old


def tell_rate(base: str, quote: str, text: str, source: str, hours: int, anyway: bool, who: desk.Someone) -> None:
    """A rate from now on. Raises BadInput, CannotHappen."""
    trade, name = bridge.trade(), who.get_username()
    now = trade.world.db_now()
    one = rates.rate(base, quote, text, valid_from=now, valid_until=now + timedelta(hours=hours), source=source)
    bridge.ask(trade.db.transaction(lambda tx: rates.tell(tx, [one], name, now, anyway=anyway)))
    desk.act(who, "tell rate", f"{base}/{quote}", f"{text}, {source}")


# ------------------------------------------------------------------ pages


class Guards:
    """The part of the staff's site where selling is held back, and let go."""

    def guard_urls(self) -> list[URLPattern]:
        steps = {
            "put": self.put_number,
            "lift": self.lift_number,
            "limit": self.new_limit,
            "end": self.end_limit,
        }
        return [
            path("guards/", self.admin_view(self.guards), name="guards"),
            *(
                path(f"guards/{name}", self.admin_view(require_POST(step)), name=f"guard-{name}")
                for name, step in steps.items()
            ),
            path("rates/", self.admin_view(self.rates), name="rates"),
            path("rates/tell", self.admin_view(require_POST(self.new_rate)), name="rate-tell"),
        ]

    def guards(self, request: HttpRequest) -> HttpResponse:
        """Listed numbers and limits."""
        lines, every = standing()
        return self._page(
            request, "guards", title=_("Lists and limits"), lines=lines, limits=every, kinds=KINDS.items(),
            periods=PERIODS.items(), pers=PER.items(), whoms=WHOM.items(),
        )  # fmt: skip

    def put_number(self, request: HttpRequest) -> HttpResponse:
        """By POST alone: a number never stands in an address."""

        def step() -> None:
            kind = _text(request, "kind")
            if kind not in KINDS:
                raise BadInput("A number is refused, or always served.")
            put(
                _text(request, "number"),
                kind,
                _text(request, "scope") or lists.ALL,
                _why(request),
                _until(request),
                request.user,
            )

        return self._guarded(request, step, _("Done. All doors know within seconds."), "staff:guards")

    def lift_number(self, request: HttpRequest) -> HttpResponse:
        number, where = _text(request, "line"), _text(request, "scope")
        return self._guarded(
            request, lambda: lift(number, where, _why(request), request.user), _("Off the list."), "staff:guards"
        )

    def new_limit(self, request: HttpRequest) -> HttpResponse:
        def step() -> None:
            typed, currency = _text(request, "amount"), _text(request, "currency")
            count = _text(request, "count")
            if count and not re.fullmatch("[0-9]{1,9}", count):
                raise BadInput("How many is a whole number.")
            make_limit(
                request.user,
                per=" ".join(request.POST.getlist("per")),
                period=_text(request, "period"),
                zone=_text(request, "zone"),
                most_count=int(count) if count else None,
                most=amount(typed, currency) if typed else None,
                reason=_why(request),
                **{name: _text(request, name) or None for name in WHOM if name != "number"},
            )

        return self._guarded(request, step, _("The limit counts from now on."), "staff:guards")

    def end_limit(self, request: HttpRequest) -> HttpResponse:
        limit_id = _text(request, "limit")
        return self._guarded(
            request, lambda: end_limit(limit_id, request.user), _("The limit has ended."), "staff:guards"
        )

    def rates(self, request: HttpRequest) -> HttpResponse:
        """What was told, and what is missing."""
        rows, old = told_rates()
        return self._page(request, "rates", title=_("Exchange rates"), rows=rows, old=old)

    def new_rate(self, request: HttpRequest) -> HttpResponse:
        def step() -> None:
            hours = _text(request, "hours")
            if not re.fullmatch("[0-9]{1,4}", hours):
                raise BadInput("How long it holds is a number of hours.")
            base, quote = _text(request, "base").upper(), _text(request, "quote").upper()
            anyway = request.POST.get("anyway") == "yes"
            tell_rate(base, quote, _text(request, "rate"), _why(request, "source"), int(hours), anyway, request.user)

        return self._guarded(request, step, _("The rate counts from now on."), "staff:rates")

    def _guarded(self, request: HttpRequest, step: Callable[[], Any], said: str, page: str) -> HttpResponse:
        try:
            step()
        except RefillError as error:
            kind = next((kind for kind in NOT_NOW if isinstance(error, kind)), CannotHappen)
            messages.error(request, str(NOT_NOW[kind]))
        else:
            messages.success(request, said)
        return redirect(page)


def _text(request: HttpRequest, field: str) -> str:
    return request.POST.get(field, "").replace("\0", "").strip()[:200]


def _why(request: HttpRequest, field: str = "why") -> str:
    """Why, without telephone numbers: others read it."""
    return mask(_text(request, field))


def _until(request: HttpRequest) -> datetime | None:
    """The end of the day that was chosen, in the site's time zone; None: for good. Raises BadInput."""
    text = _text(request, "until")
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 its zone comes with the next line
    except ValueError:
        raise BadInput("The last day is written as 2026-12-31.") from None
    return timezone.make_aware(day) + timedelta(days=1)
