"""Taking credit back, on an order's page: one person asks, another confirms or declines; what became of it stands there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, re_path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill.channels.backoffice import desk
from refill.channels.backoffice.masking import mask
from refill.channels.people import bridge
from refill.errors import BadInput, NotFound, RefillError
from refill.topup import Order, flow
from refill.topup.reversal import NotReversible, ReversalRow, reversals_of

ORDER = "tu_[0-9a-z]{24}"
STATES: dict[str, Promise] = {
    "proposed": gettext_lazy("waits for another person"),
    "declined": gettext_lazy("declined"),
    "due": gettext_lazy("the operator is being asked"),
    "sent": gettext_lazy("the operator is being asked"),
    "done": gettext_lazy("taken back"),
    "refused": gettext_lazy("the operator refuses"),
    "stuck": gettext_lazy("nobody can tell; ask the operator's people"),
}
REASONS: dict[str, Promise] = {
    "not_delivered": gettext_lazy("Only what was delivered whole, and is paid, can be taken back."),
    "money_moves": gettext_lazy("Money of this order is on its way back or disputed. Wait until that has ended."),
    "not_supported": gettext_lazy("This operator takes nothing back over the wire. Ask its people."),
    "too_late": gettext_lazy("The operator's time for taking it back is over."),
    "other_month": gettext_lazy("The operator takes it back only in the calendar month of the delivery."),
    "waiting": gettext_lazy("Another reversal of this order is asked for already."),
    "refused": gettext_lazy("The operator refused it before; nothing has changed since."),
    "same_person": gettext_lazy("Another person confirms it, not the one who asked for it."),
    "decided": gettext_lazy("This reversal was decided already."),
}
ANSWERS: dict[str, Promise] = {
    "spent": gettext_lazy("part of the credit is used"),
    "overdue": gettext_lazy("its time for it is over"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A reversal as the page shows it."""

    n: int
    state: Promise
    open: bool  # for another person's word
    why: str
    asked_by: str
    asked_at: datetime
    decided_by: str
    answer: Promise | str

    @classmethod
    def of(cls, row: ReversalRow) -> "Shown":
        answer = ANSWERS.get(row.answer, mask(row.answer)) if row.state in ("refused", "declined", "stuck") else ""
        return cls(
            row.n, STATES[row.state], row.state == "proposed", mask(row.why), row.asked_by, row.asked_at,
            row.decided_by or "", answer,
        )  # fmt: skip


def shown(order: Order) -> dict[str, Any]:
    """What the order's page says of reversals, and whether one may be asked for."""
    trade = bridge.trade()
    rows = bridge.ask(trade.db.transaction(lambda tx: reversals_of(tx, order.id)))
    may = order.payment == "captured" and order.delivery == "delivered"
    return {
        "reversals": [Shown.of(row) for row in rows],
        "may_reverse": may and not any(row.state in ("proposed", "due", "sent", "done") for row in rows),
    }


class Reversals:
    """The part of the staff's site on which credit is taken back."""

    def reversal_urls(self) -> list[URLPattern]:
        return [
            re_path(
                rf"^order/(?P<order_id>{ORDER})/reversal$", self.admin_view(require_POST(self.reverse)), name="reverse"
            ),
            re_path(
                rf"^order/(?P<order_id>{ORDER})/reversal/(?P<n>[0-9]{{1,4}})$",
                self.admin_view(require_POST(self.decide_reversal)),
                name="decide_reversal",
            ),
        ]

    def reverse(self, request: HttpRequest, order_id: str) -> HttpResponse:
        """Asks for credit to be taken back; somebody else confirms it."""
        why, who = _written(request), request.user

        def step() -> None:
            bridge.ask(flow.ask_reversal(bridge.trade(), order_id, why, who.get_username()))
            desk.act(who, "ask reversal", order_id, why)

        return self._reversed(request, order_id, step, _("Asked. Another person confirms it on this page."))

    def decide_reversal(self, request: HttpRequest, order_id: str, n: str) -> HttpResponse:
        """Confirms or declines what somebody else asked for."""
        trade, who, why = bridge.trade(), request.user, _written(request)
        name, confirmed = who.get_username(), request.POST.get("answer") == "confirm"

        def step() -> None:
            if confirmed:
                bridge.ask(flow.confirm_reversal(trade, order_id, int(n), name))
                desk.act(who, "confirm reversal", order_id)
            else:
                bridge.ask(flow.decline_reversal(trade, order_id, int(n), name, why))
                desk.act(who, "decline reversal", order_id, why)

        done = _("Confirmed. The operator is asked.") if confirmed else _("Declined. The credit stays.")
        return self._reversed(request, order_id, step, done)

    def _reversed(self, request: HttpRequest, order_id: str, step: Callable[[], None], done: str) -> HttpResponse:
        try:
            step()
        except NotFound:
            raise Http404 from None
        except NotReversible as no:
            messages.error(request, str(REASONS[no.reason]))
        except BadInput:
            messages.error(request, _("Say why the credit is to be taken back, or why not."))
        except RefillError:
            messages.error(request, _("Part of this credit was spent, so it cannot be taken back."))
        else:
            messages.success(request, done)
        return redirect("staff:order", order_id)


def _written(request: HttpRequest) -> str:
    """What somebody wrote, without telephone numbers: it is kept, and others read it."""
    return mask(request.POST.get("why", "").replace("\0", "").strip()[:200])
