"""What a member of staff asks of the spine; beside `books` and `cards`, the only file of the back office that calls it."""

from collections.abc import Iterable

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from refill import cases, numbers
from refill.cases import CaseRow
from refill.channels.people import bridge
from refill.channels.people.models import StaffAct
from refill.db import Tx
from refill.errors import NotFound
from refill.money import amount
from refill.topup import Order, flow, store
from refill.topup.evidence import Evidence, evidence
from refill.topup.store import Timeline

Someone = AbstractBaseUser | AnonymousUser  # the site lets only staff in

# How a case may be settled; the note says the rest.
WAYS = ("explained", "refunded", "written_off", "corrected_by_partner", "duplicate")


def search(text: str) -> list[Order]:
    """Orders by number, order id, payment or request reference, or the other side's reference."""
    return bridge.ask(store.search(bridge.trade(), text[:120])) if text.strip() else []


def timeline(order_id: str) -> Timeline:
    """Raises NotFound."""
    return bridge.ask(store.timeline(bridge.trade(), order_id))


def reveal(order_id: str, who: Someone) -> str:
    """The whole number of an order, grouped; who looked is written down first. Raises NotFound."""
    act(who, "reveal number", order_id)
    msisdn = timeline(order_id).msisdn
    if msisdn is None:
        raise NotFound("This number was erased.")
    return msisdn.grouped()


def masked(indexes: Iterable[str]) -> dict[str, str]:
    """The masked numbers behind some indexes; one that was erased is absent."""
    trade, wanted = bridge.trade(), list(indexes)
    found = bridge.ask(trade.db.transaction(lambda tx: numbers.reveal(tx, trade.vault, wanted)))
    return {index: msisdn.masked() for index, msisdn in found.items()}


def open_cases(most: int = 50) -> list[CaseRow]:
    """What waits for a person, the most urgent first."""
    return bridge.ask(bridge.trade().db.transaction(lambda tx: cases.open_cases(tx, most)))


def assign(case_id: str, who: Someone) -> None:
    """Takes a case. Raises CannotHappen when it is resolved."""
    name, now = who.get_username(), bridge.trade().world.db_now()

    async def work(tx: Tx) -> None:
        await cases.assign(tx, case_id, name, now)

    bridge.ask(bridge.trade().db.transaction(work))
    act(who, "assign case", case_id)


def resolve(case_id: str, who: Someone, how: str, note: str) -> None:
    """Settles a case with how and why. Raises CannotHappen when it is resolved."""
    name, now = who.get_username(), bridge.trade().world.db_now()

    async def work(tx: Tx) -> None:
        await cases.resolve(tx, case_id, name, how, note, now)

    bridge.ask(bridge.trade().db.transaction(work))
    act(who, "resolve case", case_id, f"{how}: {note}")


def ask_refund(order_id: str, who: Someone, typed: str, why: str) -> None:
    """Asks for a refund; another person confirms it. Raises NotFound, BadInput, NotRefundable."""
    money = amount(typed.strip(), timeline(order_id).order.price.currency)
    bridge.ask(flow.refund(bridge.trade(), order_id, money, why, who.get_username()))
    act(who, "ask refund", order_id, f"{money}: {why}")


def confirm_refund(order_id: str, n: int, who: Someone) -> None:
    """Lets a refund go that somebody else asked for. Raises NotFound, NotEnough, NotRefundable."""
    bridge.ask(flow.confirm_refund(bridge.trade(), order_id, n, who.get_username()))
    act(who, "confirm refund", order_id)


def decline_refund(order_id: str, n: int, who: Someone, why: str) -> None:
    """No refund. Raises NotFound, BadInput, NotRefundable."""
    bridge.ask(flow.decline_refund(bridge.trade(), order_id, n, who.get_username(), why))
    act(who, "decline refund", order_id, why)


def proof(order_id: str, who: Someone) -> Evidence:
    """What can be shown to a payer's bank; who took it is written down first. Raises NotFound."""
    told = evidence(timeline(order_id))
    act(who, "take evidence", order_id)
    return told


def act(who: Someone, what: str, subject: str, note: str = "") -> None:
    """Writes down what somebody did."""
    StaffAct.objects.create(
        who=who.get_username(), what=what, subject=subject[:64], note=note[:500], at=bridge.trade().world.db_now()
    )
