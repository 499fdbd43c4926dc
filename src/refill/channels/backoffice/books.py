"""Finance's pages: business days of firms and suppliers, what does not match in them, closing them, and the bank's money."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, re_path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill import reconcile
from refill.channels.backoffice import desk
from refill.channels.people import bridge
from refill.db import Tx
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound, OtherContent, RefillError
from refill.money import Money, amount
from refill.reconcile import Day, Item, Sum

DAY = "(?P<method>(?:float:)?[a-zA-Z][a-zA-Z0-9_-]{1,40})/(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"

METHODS: dict[str, Promise] = {
    "alipay": gettext_lazy("Alipay"),
    "wechat_pay": gettext_lazy("WeChat Pay"),
    "jd_pay": gettext_lazy("JD Pay"),
    "card": gettext_lazy("Bank card"),
}
BUCKETS: dict[str, Promise] = {
    "ours_only": gettext_lazy("Only in our book"),
    "theirs_only": gettext_lazy("Only in their statement"),
    "differs": gettext_lazy("Differs"),
    "duplicate": gettext_lazy("Twice in their statements"),
}
THINGS: dict[str, Promise] = {
    "payment": gettext_lazy("payment"),
    "refund": gettext_lazy("refund"),
    "recharge": gettext_lazy("recharge"),
    "reversal": gettext_lazy("reversal"),
}
WHYS: dict[str, Promise] = {
    "amount": gettext_lazy("the amount"),
    "reference": gettext_lazy("our reference"),
    "time": gettext_lazy("the time"),
}
STANDINGS: dict[str, Promise] = {
    "asking": gettext_lazy("the firm is being asked"),
    "carried": gettext_lazy("belongs into a later statement"),
    "settled": gettext_lazy("explained"),
    "open": gettext_lazy("waits for somebody"),
    "assigned": gettext_lazy("assigned"),
    "resolved": gettext_lazy("settled"),
}
NOT_NOW: dict[type[RefillError], Promise] = {
    NotAllowed: gettext_lazy("Another person must confirm what you entered."),
    BadInput: gettext_lazy("Write the amount with plain digits, such as 9940.30."),
    OtherContent: gettext_lazy("Another amount stands in the book for this day already."),
    CannotHappen: gettext_lazy("That changed meanwhile, or something still waits. Look at the day again."),
}


@dataclass(frozen=True, slots=True)
class DayRow:
    """A business day as a page shows it."""

    day: Day
    method: Promise | str
    supplier: bool  # a day of our float at one; its money is paid in on the page of floats
    oldest_days: int | None  # how long the oldest difference has waited

    @classmethod
    def of(cls, day: Day, today: date) -> "DayRow":
        name = METHODS.get(day.method, day.method.removeprefix("float:"))
        waited = _days(day.oldest, today) if day.oldest else None
        return cls(day, name, day.method.startswith("float:"), waited)


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A difference as a page shows it; `order` is the id of ours that it is about, if it is about one."""

    case_id: str
    bucket: Promise | str
    why: Promise | str
    kind: Promise
    ours: Money | None
    theirs: Money | None
    transaction: str
    order: str
    at: datetime
    days: int
    standing: Promise | str
    owner: str
    due_at: datetime | None
    waits: bool  # for somebody to take it
    settle: bool  # by a person
    how: str

    @classmethod
    def of(cls, item: Item, today: date) -> "ItemRow":
        gap = item.gap
        state = item.case_state or item.state if item.state == "case" else item.state
        return cls(
            item.case_id,
            BUCKETS[gap.bucket],
            WHYS.get(gap.why, ""),
            THINGS[gap.kind],
            _money(gap.ours_minor, gap.currency),
            _money(gap.theirs_minor, gap.currency),
            gap.transaction,
            gap.reference[:27] if gap.ours_minor is not None and gap.reference.startswith("tu_") else "",
            gap.at,
            _days(item.since, today),
            STANDINGS[state],
            item.assigned_to or "",
            item.due_at if state in ("open", "assigned") else None,
            state == "open",
            state in ("open", "assigned"),
            item.how or (item.resolution or "" if state == "resolved" else ""),
        )


def _days(since: date, today: date) -> int:
    return max((today - since).days, 0)


def _money(minor: int | None, currency: str) -> Money | None:
    return None if minor is None else Money(minor, currency)


# ------------------------------------------------------------------ what is asked of the spine


def latest() -> list[DayRow]:
    """The latest business days, the newest first."""
    days = bridge.ask(bridge.trade().db.transaction(reconcile.latest))
    return [DayRow.of(day, _today()) for day in days]


def one(method: str, day: date) -> tuple[DayRow, list[Sum], list[ItemRow]]:
    """A day with its sums and differences. Raises NotFound."""

    async def work(tx: Tx) -> tuple[Day, list[Sum], list[Item]]:
        return (
            await reconcile.find(tx, method, day),
            await reconcile.sums(tx, method, day),
            await reconcile.items(tx, method, day),
        )

    found, sums, items = bridge.ask(bridge.trade().db.transaction(work))
    return DayRow.of(found, _today()), sums, [ItemRow.of(item, _today()) for item in items]


def assign(method: str, day: date, case_id: str, who: desk.Someone) -> int:
    """Takes one difference of a day, or with an empty `case_id` all that nobody has; returns how many."""
    waiting = [item.case_id for item in one(method, day)[2] if item.waits]
    wanted = [id_ for id_ in waiting if not case_id or id_ == case_id]
    for id_ in wanted:
        desk.assign(id_, who)
    return len(wanted)


def close(method: str, day: date, who: desk.Someone) -> None:
    """Raises NotFound, CannotHappen."""
    _write(lambda tx, now: reconcile.close(tx, method, day, who.get_username(), now))
    desk.act(who, "close day", f"{method} {day}")


def enter(method: str, day: date, got: Money, who: desk.Someone) -> None:
    """What the bank got, as one person read it. Raises NotFound, OtherContent."""
    _write(lambda tx, now: reconcile.enter(tx, method, day, got, who.get_username(), now))
    desk.act(who, "enter settlement", f"{method} {day}", str(got))


def confirm(method: str, day: date, got: Money, who: desk.Someone) -> None:
    """What another person read. Raises NotFound, NotAllowed, CannotHappen."""
    _write(lambda tx, now: reconcile.confirm(tx, method, day, got, who.get_username(), now))
    desk.act(who, "confirm settlement", f"{method} {day}", str(got))


def _write(what: Callable[[Tx, datetime], Any]) -> None:
    now = bridge.trade().world.db_now()
    bridge.ask(bridge.trade().db.transaction(lambda tx: what(tx, now)))


def _today() -> date:
    return reconcile.business_day(bridge.trade().world.db_now())


# ------------------------------------------------------------------ pages


class Books:
    """The part of the staff's site that finance works on."""

    def book_urls(self) -> list[URLPattern]:
        steps = {"assign": self.assign, "close": self.close, "enter": self.enter, "confirm": self.confirm}
        return [
            re_path(r"^reconcile/$", self.admin_view(self.days), name="days"),
            re_path(rf"^reconcile/{DAY}$", self.admin_view(self.day), name="day"),
            *(
                re_path(rf"^reconcile/{DAY}/{name}$", self.admin_view(require_POST(step)), name=f"day-{name}")
                for name, step in steps.items()
            ),
        ]

    def days(self, request: HttpRequest) -> HttpResponse:
        """Business days of all methods, the newest first."""
        return self._page(request, "days", title=_("Reconciliation"), days=latest())

    def day(self, request: HttpRequest, method: str, day: str) -> HttpResponse:
        """One day of one method."""
        try:
            found, sums, items = one(method, _date(day))
        except NotFound:
            raise Http404 from None
        return self._page(
            request, "day", title=_("Reconciliation"), subtitle=day, row=found, sums=sums, items=items,
            waiting=sum(item.waits for item in items), me=request.user.get_username(),
        )  # fmt: skip

    def assign(self, request: HttpRequest, method: str, day: str) -> HttpResponse:
        case_id = request.POST.get("case", "")
        return self._booked(
            request, method, day, lambda: assign(method, _date(day), case_id, request.user), _("They are yours now.")
        )

    def close(self, request: HttpRequest, method: str, day: str) -> HttpResponse:
        return self._booked(
            request, method, day, lambda: close(method, _date(day), request.user), _("The day is closed.")
        )

    def enter(self, request: HttpRequest, method: str, day: str) -> HttpResponse:
        said = _("Written down. Another person must confirm it.")
        return self._booked(
            request, method, day, lambda: enter(method, _date(day), _typed(request), request.user), said
        )

    def confirm(self, request: HttpRequest, method: str, day: str) -> HttpResponse:
        said = _("Confirmed; it stands in the book.")
        return self._booked(
            request, method, day, lambda: confirm(method, _date(day), _typed(request), request.user), said
        )

    def _booked(self, request: HttpRequest, method: str, day: str, step: Callable[[], Any], said: str) -> HttpResponse:
        try:
            step()
        except NotFound:
            raise Http404 from None
        except RefillError as error:
            kind = next((kind for kind in NOT_NOW if isinstance(error, kind)), CannotHappen)
            messages.error(request, str(NOT_NOW[kind]))
        else:
            messages.success(request, said)
        return redirect("staff:day", method, day)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise NotFound("There is no such day.") from None


def _typed(request: HttpRequest) -> Money:
    """Raises BadInput."""
    return amount(request.POST.get("amount", "").strip(), request.POST.get("currency", ""))
