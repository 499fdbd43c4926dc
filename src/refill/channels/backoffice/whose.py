"""The page of whose a number is: what every source says of it, and a person's decision with why and until when."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from refill import numbers
from refill.channels.backoffice import desk
from refill.channels.backoffice.masking import mask
from refill.channels.people import bridge, sealed
from refill.db import Tx
from refill.errors import BadInput, CannotHappen, NotANumber, NotFound, RefillError
from refill.numbers import Known, Looked, Msisdn, Override
from refill.topup import whose
from refill.topup.whose import Told

FORM_AGE_S = 3600
SOURCES: dict[str, Promise] = {
    "own": gettext_lazy("our own network"),
    "person": gettext_lazy("a person decided it"),
    "outcome": gettext_lazy("a top-up arrived there"),
    "look_up": gettext_lazy("a look-up said so"),
    "prefix": gettext_lazy("its prefix, which is a hint only"),
    "": gettext_lazy("nobody knows"),
}
STATES: dict[str, Promise] = {
    "active": gettext_lazy("somebody answers"),
    "absent": gettext_lazy("switched off or out of reach"),
    "dead": gettext_lazy("nobody has this number"),
}
NOT_NOW: dict[type[RefillError], Promise] = {
    NotANumber: gettext_lazy("Write a whole mobile number, with + and its code for another country."),
    sealed.Stale: gettext_lazy("This page was open for too long. Look the number up again."),
    NotFound: gettext_lazy("Nobody has decided whose this number is, or it has ended already."),
    CannotHappen: gettext_lazy("Somebody else decided the same number just now. Look at it again."),
    BadInput: gettext_lazy("Choose an operator that is on sale, say why, and name a last day that is to come."),
}


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that is known of a number, for staff."""

    msisdn: Msisdn
    told: Told
    known: Known
    answers: dict[str, Looked]
    overrides: list[Override]
    hint: str | None

    @property
    def source(self) -> Promise:
        return SOURCES[self.told.belief.source]

    @property
    def state(self) -> Promise | str:
        return STATES.get(self.told.state or "", "—")

    @property
    def decided(self) -> Override | None:
        """The decision that has not been ended."""
        return next((each for each in self.overrides if each.ended_at is None), None)

    @property
    def looked(self) -> Looked | None:
        return self.answers.get("whose")


# ------------------------------------------------------------------ what is asked of the spine


def dossier(msisdn: Msisdn) -> Dossier:
    """What every source says; a look-up is asked where nothing better is known."""
    trade = bridge.trade()
    told = bridge.ask(whose.whose(trade, msisdn))

    async def work(tx: Tx) -> tuple[Known, dict[str, Looked], list[Override]]:
        now = trade.world.db_now()
        every = await numbers.known(tx, [told.number])
        return every[told.number], await numbers.answers(tx, told.number, now), await numbers.overrides(tx, told.number)

    known, answers, overrides = bridge.ask(trade.db.transaction(work))
    return Dossier(msisdn, told, known, answers, overrides, numbers.hint(msisdn.digits))


def decide(msisdn: Msisdn, operator: str, why: str, until: datetime | None, who: desk.Someone) -> None:
    """Raises BadInput, CannotHappen."""
    trade = bridge.trade()
    if operator not in {each.id for each in trade.shelf.catalogue.operators()}:
        raise BadInput("There is no such operator on sale.")
    number, now, name = numbers.number_id(trade.vault, msisdn), trade.world.db_now(), who.get_username()
    bridge.ask(
        trade.db.transaction(lambda tx: numbers.decide(tx, number, operator, why=why, who=name, now=now, until=until))
    )
    desk.act(who, "decide operator", number, f"{msisdn.masked()} {operator}: {why}")


def end(msisdn: Msisdn, who: desk.Someone) -> None:
    """Raises NotFound."""
    trade = bridge.trade()
    number, now, name = numbers.number_id(trade.vault, msisdn), trade.world.db_now(), who.get_username()
    bridge.ask(trade.db.transaction(lambda tx: numbers.undecide(tx, number, who=name, now=now)))
    desk.act(who, "end decided operator", number, msisdn.masked())


# ------------------------------------------------------------------ pages


class Whose:
    """The page, for the staff's site."""

    admin_view: Any
    _page: Callable[..., HttpResponse]

    def whose_urls(self) -> list[URLPattern]:
        return [
            path("whose", self.admin_view(self.whose), name="whose"),
            path("whose/decide", self.admin_view(require_POST(self.whose_decide)), name="whose-decide"),
            path("whose/end", self.admin_view(require_POST(self.whose_end)), name="whose-end"),
        ]

    def whose(self, request: HttpRequest) -> HttpResponse:
        """A number is asked for by POST: an address is written into logs."""
        if request.method != "POST":
            return self._whose(request)
        try:
            msisdn = numbers.typed_msisdn(request.POST.get("number", "").replace("\0", "")[:60])
        except NotANumber as error:
            return self._whose(request, error=error)
        return self._whose(request, msisdn)

    def whose_decide(self, request: HttpRequest) -> HttpResponse:
        """Somebody says whose it is."""
        operator = request.POST.get("operator", "")[:40]
        why = mask(request.POST.get("why", "").replace("\0", "").strip()[:200])

        def act(msisdn: Msisdn) -> str:
            decide(msisdn, operator, why, _last_day(request.POST.get("until", "")), request.user)
            return _("Decided. Top-ups of this number go there from now on.")

        return self._acted(request, act)

    def whose_end(self, request: HttpRequest) -> HttpResponse:
        """The decision ends, and the other sources speak again."""

        def act(msisdn: Msisdn) -> str:
            end(msisdn, request.user)
            return _("Ended. The other sources speak again.")

        return self._acted(request, act)

    def _acted(self, request: HttpRequest, act: Callable[[Msisdn], str]) -> HttpResponse:
        msisdn = None
        try:
            msisdn = Msisdn(sealed.unseal(request.POST.get("token", ""), "whose", max_age_s=FORM_AGE_S)["number"])
            messages.success(request, act(msisdn))
        except RefillError as error:
            return self._whose(request, msisdn, error)
        return self._whose(request, msisdn)

    def _whose(
        self, request: HttpRequest, msisdn: Msisdn | None = None, error: RefillError | None = None
    ) -> HttpResponse:
        if error is not None:
            says = next((says for kind, says in NOT_NOW.items() if isinstance(error, kind)), NOT_NOW[BadInput])
            messages.error(request, str(says))
        context: dict[str, Any] = {"operators": bridge.trade().shelf.catalogue.operators()}
        if msisdn is not None:
            context["found"] = dossier(msisdn)
            context["token"] = sealed.seal({"number": msisdn.digits}, "whose")
        response = self._page(request, "whose", title=_("Whose number"), **context)
        response.status_code = error.status if error else 200
        return response


def _last_day(text: str) -> datetime | None:
    """The end of the day that was named, where we are; None: until somebody ends it. Raises BadInput."""
    if not text.strip():
        return None
    try:
        day = datetime.strptime(text.strip()[:10], "%Y-%m-%d")  # noqa: DTZ007 the zone follows
    except ValueError:
        raise BadInput("A day is written like 2027-01-31.") from None
    return timezone.make_aware(day) + timedelta(days=1)
