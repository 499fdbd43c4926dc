"""Undoing a top-up while it has not left: the price goes back to the float, and nothing is sent."""

from starlette.responses import Response

from refill import numbers
from refill.channels.machines.operation import Answer, Call, Operation, Words, json_of
from refill.channels.partner_api.topups import TopUp, shown
from refill.errors import CannotHappen, NotFound
from refill.ids import cell_of_id
from refill.topup import flow, store
from refill.topup.trade import Trade


class TooLate(CannotHappen):
    """It has left already, or is delivered; it cannot be undone any more."""

    code = "too_late"


class Undo:
    """Cancelling, which the flow allows until the first attempt is prepared."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade

    async def cancel(self, call: Call) -> Response:
        """The same answer however often it is asked."""
        trade, id_ = self._trade, call.path["id"]
        try:
            cell_of_id(id_)
        except NotFound:
            raise NotFound("There is no top-up with that id.") from None
        (order,) = await store.find(trade, [id_])
        if order is None or order.payer != f"partner:{call.key.partner_id}":
            raise NotFound("There is no top-up with that id.")
        order = await flow.cancel(trade, id_)
        if order.attempts or order.status not in ("failed", "cancelled"):
            raise TooLate(f"It is {order.status}, and left already; ask for a reversal if it must come back.")
        found = await trade.db.transaction(lambda tx: numbers.reveal(tx, trade.vault, [order.number]))
        return json_of(shown(order, found.get(order.number)))


def undo_operations(trade: Trade) -> list[Operation]:
    """What may be undone."""
    return [
        Operation(
            "POST",
            "/v1/topups/{id}/cancel",
            "cancelTopup",
            "topups",
            Words("Undo a top-up that has not left yet", "撤销还没发出的充值"),
            "topup",
            {200: Answer(Words("Undone; the price is back in your float.", "已撤销，钱已退回预付款。"), (TopUp,))},
            Undo(trade).cancel,
            more=Words(
                "It works until the top-up is sent to its operator, at once in most set-ups. Asking twice is asking once.",
                "在充值发给运营商之前都可以撤销；多数情况下会立即发出。问两次和问一次结果一样。",
            ),
            errors=(NotFound, TooLate),
            example={"id": "tu_…"},
        )
    ]
