"""Webhooks out: where a partner wants to hear of its top-ups, what was told there, telling it again, and a test."""

from collections.abc import Sequence

import msgspec

from refill import numbers
from refill.channels.partner_api.topups import shown
from refill.db import Tx
from refill.notify import Note, Render
from refill.topup import store
from refill.topup.tell import as_told
from refill.topup.trade import Trade


def render(trade: Trade) -> Render:
    """What events say: of a top-up what GET /v1/topups/{id} answered in that moment, of all else the facts themselves."""

    async def data(tx: Tx, notes: Sequence[Note]) -> list[bytes]:
        about = sorted({note.subject for note in notes if note.kind.startswith("topup.")})
        orders = {order.id: order for order in await store.find_in(tx, about) if order} if about else {}
        erasable = sorted({order.number for order in orders.values()})
        known = await numbers.reveal(tx, trade.vault, erasable) if erasable else {}
        return [
            msgspec.json.encode(shown(as_told(order, note.facts), known.get(order.number)))
            if (order := orders.get(note.subject))
            else note.facts.encode()
            for note in notes
        ]

    return data
