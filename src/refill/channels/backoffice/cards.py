"""The pages of scratch cards: batches and what became of them, selling and withdrawing by two people, a serial's story."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, re_path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill import vouchers
from refill.channels.backoffice import desk
from refill.channels.backoffice.masking import mask
from refill.channels.people import bridge
from refill.db import Tx
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound, RefillError
from refill.money import amount
from refill.vouchers import Asked, Batch, Look, Range, Taken

BATCH = "(?P<code>v[0-9a-z]{6})"
SERIAL = re.compile(r"[0-9a-z_.:-]{3,64}")
PURSE = re.compile(r"(cash|bank|clearing):[a-z0-9_]{1,40}")
LATEST = 50

STATES: dict[str, Promise] = {
    "stock": gettext_lazy("not sold yet"),
    "active": gettext_lazy("sold, not used"),
    "redeemed": gettext_lazy("used"),
    "expired": gettext_lazy("over"),
    "void": gettext_lazy("withdrawn"),
}
STEPS: dict[str, Promise] = {"activated": gettext_lazy("Sale"), "void": gettext_lazy("Withdrawal")}
NOT_NOW: dict[type[RefillError], Promise] = {
    NotAllowed: gettext_lazy("Another person confirms it, not the one who asked for it."),
    BadInput: gettext_lazy(
        "Check the numbers of the cards, the account such as cash:office, the amount with plain digits, and the reason."
    ),
    CannotHappen: gettext_lazy(
        "Nothing was changed: some of these cards were sold or withdrawn before, are over, or another wish for them waits."
    ),
}

ASKED = gettext_lazy("Asked. Another person confirms it on this page.")


# ------------------------------------------------------------------ what is asked of the spine


def latest() -> tuple[list[tuple[Batch, list[int]]], list[Asked]]:
    """The latest batches, each with its counts in the order of STATES, and what waits to be confirmed."""

    async def work(tx: Tx) -> tuple[list[Batch], list[Asked]]:
        return await vouchers.batches(tx, most=LATEST), await vouchers.asked(tx)

    found, waiting = bridge.ask(bridge.trade().db.transaction(work))
    return [(batch, [batch.states.get(state, 0) for state in STATES]) for batch in found], waiting


def one(code: str) -> tuple[Batch, list[Asked], list[Taken]]:
    """A batch, what was asked about it and what was done. Raises NotFound."""

    async def work(tx: Tx) -> tuple[Batch, list[Asked], list[Taken]]:
        found = await vouchers.batches(tx, code)
        if not found:
            raise NotFound("There is no batch of that name.")
        return found[0], await vouchers.asked(tx, code), await vouchers.steps(tx, found[0])

    return bridge.ask(bridge.trade().db.transaction(work))


def look(serial: str) -> Look:
    """Raises NotFound."""
    if not SERIAL.fullmatch(serial):
        raise NotFound("There is no such serial.")
    found = bridge.ask(bridge.trade().db.transaction(lambda tx: vouchers.by_serial(tx, serial)))
    if found is None:
        raise NotFound("There is no such serial.")
    return found


def sell(taken: Range, who: desk.Someone, purse: str, typed: str, why: str) -> None:
    """Asks that a range be switched on because it was sold. Raises NotFound, BadInput, CannotHappen."""
    _ask("activated", taken, who, purse, typed, why)


def withdraw(taken: Range, who: desk.Someone, purse: str, typed: str, why: str) -> None:
    """Withdraws cards that nobody bought at once; with a purse, asks for it. Raises NotFound, BadInput, CannotHappen."""
    if purse:
        _ask("void", taken, who, purse, typed, why)
        return
    name, world = who.get_username(), bridge.trade().world
    _write(lambda tx: vouchers.void(tx, world, taken, who=name, why=why))
    desk.act(who, "withdraw vouchers", taken.batch, f"{taken.first}-{taken.last}: {why}")


def _ask(step: Literal["activated", "void"], taken: Range, who: desk.Someone, purse: str, typed: str, why: str) -> None:
    if not PURSE.fullmatch(purse):
        raise BadInput("Money lies in an account such as cash:office.")
    currency = one(taken.batch)[0].value.currency
    paid = amount(typed, currency) if typed else None
    name, world = who.get_username(), bridge.trade().world
    _write(lambda tx: vouchers.ask(tx, world, step, taken, purse=purse, paid=paid, why=why, who=name))
    desk.act(who, f"ask {step} vouchers", taken.batch, f"{taken.first}-{taken.last}, {purse}: {why}")


def decide(code: str, n: int, who: desk.Someone, *, agree: bool) -> None:
    """Raises NotFound, NotAllowed, CannotHappen."""
    decided, world = vouchers.confirm if agree else vouchers.decline, bridge.trade().world
    _write(lambda tx: decided(tx, world, code, n, who.get_username()))
    desk.act(who, "confirm vouchers" if agree else "decline vouchers", code, f"#{n}")


def _write(what: Callable[[Tx], Any]) -> None:
    bridge.ask(bridge.trade().db.transaction(what))


# ------------------------------------------------------------------ pages


class Cards:
    """The part of the staff's site where scratch cards are sold and looked for."""

    def card_urls(self) -> list[URLPattern]:
        steps = {"sell": self.sell, "withdraw": self.withdraw, "decide": self.decide_wish}
        return [
            path("vouchers/", self.admin_view(self.batches), name="batches"),
            path("vouchers/find", self.admin_view(require_POST(self.find_serial)), name="serial"),
            re_path(rf"^vouchers/{BATCH}$", self.admin_view(self.batch), name="batch"),
            *(
                re_path(rf"^vouchers/{BATCH}/{name}$", self.admin_view(require_POST(step)), name=f"batch-{name}")
                for name, step in steps.items()
            ),
        ]

    def batches(self, request: HttpRequest) -> HttpResponse:
        """The latest batches, and what waits for a second person."""
        rows, waiting = latest()
        return self._page(
            request, "batches", title=_("Scratch cards"), rows=rows, states=STATES.values(), wishes=_wishes(waiting)
        )

    def batch(self, request: HttpRequest, code: str) -> HttpResponse:
        """One batch: what became of its cards, who sold which, and the two forms."""
        try:
            found, asked, steps = one(code)
        except NotFound:
            raise Http404 from None
        counts = [(said, found.states.get(state, 0)) for state, said in STATES.items()]
        return self._page(
            request, "batch", title=_("Scratch cards"), subtitle=code, batch=found, counts=counts,
            wishes=_wishes(wish for wish in asked if wish.state == "open"), me=request.user.get_username(),
            steps=[(STEPS[step.step], step) for step in steps],
        )  # fmt: skip

    def find_serial(self, request: HttpRequest) -> HttpResponse:
        """By POST, because somebody will type a PIN here one day, and an address is written into logs."""
        typed = request.POST.get("serial", "").replace("\0", "").strip().lower()[:80]
        try:
            found = look(typed)
        except NotFound:
            messages.error(request, _("There is no such serial. It is printed beside the PIN: v7k2m9q-0000017."))
            return redirect("staff:batches")
        code = found.serial.partition("-")[0] if found.kind == "scratch" else ""
        return self._page(
            request, "serial", title=_("Scratch cards"), subtitle=found.serial, voucher=found, code=code,
            state=STATES[found.state],
        )  # fmt: skip

    def sell(self, request: HttpRequest, code: str) -> HttpResponse:
        return self._step_of(request, code, lambda: sell(_range(request, code), request.user, **_terms(request)), ASKED)

    def withdraw(self, request: HttpRequest, code: str) -> HttpResponse:
        said = ASKED if _terms(request)["purse"] else gettext_lazy("Withdrawn.")
        return self._step_of(
            request, code, lambda: withdraw(_range(request, code), request.user, **_terms(request)), said
        )

    def decide_wish(self, request: HttpRequest, code: str) -> HttpResponse:
        agree = request.POST.get("answer") == "confirm"
        said = gettext_lazy("Confirmed; it is done.") if agree else gettext_lazy("Declined; nothing was changed.")
        return self._step_of(
            request, code, lambda: decide(code, _number(request, "n"), request.user, agree=agree), said
        )

    def _step_of(self, request: HttpRequest, code: str, step: Callable[[], None], said: Promise) -> HttpResponse:
        try:
            step()
        except NotFound:
            raise Http404 from None
        except RefillError as error:
            kind = next((kind for kind in NOT_NOW if isinstance(error, kind)), CannotHappen)
            messages.error(request, str(NOT_NOW[kind]))
        else:
            messages.success(request, str(said))
        return redirect("staff:batch", code)


def _wishes(asked: Iterable[Asked]) -> list[tuple[Promise, Asked]]:
    return [(STEPS[wish.step], wish) for wish in asked]


def _range(request: HttpRequest, code: str) -> Range:
    """Raises BadInput."""
    return Range(code, _number(request, "first"), _number(request, "last"))


def _number(request: HttpRequest, field: str) -> int:
    """Raises BadInput."""
    typed = request.POST.get(field, "").strip()
    if not re.fullmatch("[0-9]{1,7}", typed):
        raise BadInput("The cards of a batch have numbers.")
    return int(typed)


def _terms(request: HttpRequest) -> dict[str, str]:
    """Where the money lies, how much it is, and why; without telephone numbers, for others read it."""
    said = {field: request.POST.get(field, "").replace("\0", "").strip()[:200] for field in ("purse", "typed", "why")}
    return said | {"why": mask(said["why"])}
