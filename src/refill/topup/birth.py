"""Orders are born: however they were placed, they are written here, each with the event of its birth."""

from collections.abc import Sequence
from datetime import datetime

from refill.db import Tx
from refill.topup import sql
from refill.topup.order import Order


async def bear(tx: Tx, transition: str, orders: Sequence[Order], now: datetime) -> None:
    """Writes orders that are born by one transition, in the same states and with the same timers, and says so."""
    if not orders:
        return
    first = orders[0]
    await tx.run(
        sql.BEAR,
        now=now,
        transition=transition,
        payment=first.payment,
        delivery=first.delivery,
        expires=first.expires_at,
        deadline=first.deadline,
        final=first.final_at,
        wake=first.wake_at,
        cells=[order.cell for order in orders],
        ids=[order.id for order in orders],
        payers=[order.payer for order in orders],
        channels=[order.channel for order in orders],
        numbers=[order.number for order in orders],
        operators=[order.operator for order in orders],
        products=[order.product for order in orders],
        suppliers=[order.supplier for order in orders],
        faces=[order.face.minor for order in orders],
        facecurrencies=[order.face.currency for order in orders],
        prices=[order.price.minor for order in orders],
        currencies=[order.price.currency for order in orders],
        costs=[order.cost_minor for order in orders],
        days=[order.days for order in orders],
        policies=[order.policy for order in orders],
        references=[order.reference for order in orders],
        valids=[order.valid_until for order in orders],
    )
