"""What a partner hears of its orders: each change that it can see, written in the transaction that changes."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from refill.db import Tx
from refill.notify import Listeners, Told, tell
from refill.topup.order import Order

KINDS = {
    "succeeded": "topup.succeeded",
    "failed": "topup.failed",
    "partial": "topup.partial",
    "reversed": "topup.reversed",
}


class Facts(msgspec.Struct):
    """What may change of an order; the rest is for ever as it was born."""

    payment: str
    delivery: str
    delivered_minor: int
    refunded_minor: int
    reason: str
    final_at: datetime | None
    valid_until: datetime | None


_FIELDS = Facts.__struct_fields__


def facts(order: Order) -> str:
    """An order's facts as they are kept beside the event."""
    return msgspec.json.encode(Facts(*(getattr(order, name) for name in _FIELDS))).decode()


def as_told(order: Order, told: str) -> Order:
    """The order as it was when these facts were written."""
    return order.but(**msgspec.structs.asdict(msgspec.json.decode(told, type=Facts)))


def kind_of(before: Order, after: Order) -> str | None:
    """The event of a change, or None when its partner sees none.

    While an order is processing there is nothing to hear but that its outcome became unknown; money that went back
    together with the outcome is told with it.
    """
    if (before.status, before.certainty) != (after.status, after.certainty):
        return KINDS.get(after.status) or ("topup.processing" if after.certainty == "unknown" else None)
    return "topup.refunded" if after.refunded_minor > before.refunded_minor else None


def born(tx: Tx, listeners: Listeners, orders: Sequence[Order], now: datetime) -> None:
    """Puts in line the telling of orders that were delivered as they were placed; nothing where nobody listens."""
    if orders and not listeners.nobody(now):
        heard = [order for order in orders if order.partner and listeners.may_listen(order.partner, now)]
        tell(tx, [_told(order, "topup.succeeded") for order in heard], now)


def changed(tx: Tx, orders: Iterable[tuple[Order, Order]], now: datetime) -> None:
    """Puts in line the telling of changes (before, after) of orders that are locked; the database knows who listens."""
    tell(
        tx,
        [
            _told(after, kind)
            for before, after in orders
            if after is not before and after.partner and (kind := kind_of(before, after))
        ],
        now,
    )


def _told(order: Order, kind: str) -> Told:
    assert order.partner is not None
    return Told(order.partner, order.id, kind, facts(order))
