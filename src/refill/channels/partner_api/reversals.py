"""Taking delivered credit back over HTTP: asked for by the partner that bought it, decided by the operator and its rules."""

import re
from datetime import datetime
from typing import Literal

import msgspec
from starlette.responses import Response

from refill.channels.machines.operation import Answer, Call, Operation, Words, json_of
from refill.errors import BadInput, CannotHappen, NotFound
from refill.ids import cell_of_id
from refill.topup import flow, store
from refill.topup.order import Order
from refill.topup.reversal import NotReversible, ReversalRow, reversals_of
from refill.topup.trade import Trade

STATES: dict[str, Literal["processing", "reversed", "refused", "unknown"]] = {
    "proposed": "processing",
    "due": "processing",
    "sent": "processing",
    "done": "reversed",
    "declined": "refused",
    "refused": "refused",
    "stuck": "unknown",
}
# What an operator's no is called here; its own words may name what is nobody's business.
REASONS = {"spent": "spent", "overdue": "too_late"}


class ReversalAsk(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/topups/{id}/reversal."""

    reason: str


class ReversalTold(msgspec.Struct, omit_defaults=True):
    """One reversal as it stands; `refused_because` is `spent`, `too_late` or `declined`."""

    topup: str
    state: Literal["processing", "reversed", "refused", "unknown"]
    reason: str
    asked_at: datetime
    ended_at: datetime | None = None
    refused_because: str | None = None


class Reversals:
    """The routes of reversals; another partner's top-up is not there at all."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade

    async def ask(self, call: Call) -> Response:
        """POST /v1/topups/{id}/reversal"""
        asked: ReversalAsk = call.body
        order = await self._theirs(call)
        row = await flow.ask_reversal(self._trade, order.id, _reason(asked.reason), order.payer)
        return json_of(told(row), 200 if row.state == "done" else 202)

    async def look(self, call: Call) -> Response:
        """GET /v1/topups/{id}/reversal"""
        order = await self._theirs(call)
        rows = await self._trade.db.transaction(lambda tx: reversals_of(tx, order.id))
        if not rows:
            raise NotFound("Nobody asked for this top-up to be taken back.")
        return json_of(told(rows[-1]))

    async def _theirs(self, call: Call) -> Order:
        id_ = call.path["id"]
        try:
            cell_of_id(id_)
        except NotFound:
            raise NotFound("There is no top-up with that id.") from None
        (order,) = await store.find(self._trade, [id_])
        if order is None or order.payer != f"partner:{call.key.partner_id}":
            raise NotFound("There is no top-up with that id.")
        return order


def _reason(text: str) -> str:
    """Why, in words: kept for people who look later, so it names nobody's number. Raises BadInput."""
    if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,200}", text) or not text.strip():
        raise BadInput('The field "reason" says why, in 1 to 200 characters on one line.')
    if re.search(r"[0-9][0-9 -]{5,}[0-9]", text):
        raise BadInput('The field "reason" says why, in words; write no numbers of telephones or cards.')
    return text


def told(row: ReversalRow) -> ReversalTold:
    """A reversal as a partner sees it."""
    state = STATES[row.state]
    because = None
    if state == "refused":
        because = "declined" if row.state == "declined" else REASONS.get(row.answer, "declined")
    return ReversalTold(row.order_id, state, row.why, row.asked_at, row.ended_at, because)


def reversal_operations(trade: Trade) -> list[Operation]:
    """Asking for a reversal, and looking what became of it."""
    routes = Reversals(trade)
    shape = (ReversalTold,)
    return [
        Operation(
            "POST",
            "/v1/topups/{id}/reversal",
            "reverseTopup",
            "topups",
            Words("Ask for delivered credit to be taken back", "申请冲正已到账的充值"),
            "topup",
            {
                200: Answer(Words("Taken back; the price is in your float.", "已冲正，钱已退回预付款。"), shape),
                202: Answer(Words("Asked of the operator; look again.", "已向运营商申请，请稍后查询。"), shape),
            },
            routes.ask,
            more=Words(
                "Each operator has rules: mostly within 24 hours, in the same month, and only while nothing of the credit was "
                "spent. The price comes back when the operator has taken all of it back. Asking twice for the same reason "
                "is asking once.",
                "各运营商有各自的规则：一般在 24 小时内、同一自然月内，且话费还没有用过。"
                "运营商全额冲正后，钱才退回。同样的理由问两次，只算一次。",
            ),
            body=ReversalAsk,
            errors=(NotFound, NotReversible, CannotHappen),
            leads={"getReversal": {"id": "$response.body#/topup"}},
            example={"id": "tu_…", "body": {"reason": "the wrong number was typed"}},
        ),
        Operation(
            "GET",
            "/v1/topups/{id}/reversal",
            "getReversal",
            "topups",
            Words("What became of a reversal", "查询冲正结果"),
            "topup",
            {200: Answer(Words("As it stands.", "目前的状态。"), shape)},
            routes.look,
            errors=(NotFound,),
            example={"id": "tu_…"},
        ),
    ]
