"""Orders are born: however they were placed, they are written here, each with the event of its birth."""

from collections.abc import Sequence
from datetime import datetime

from refill.db import Tx
from refill.topup import sql
from refill.topup.order import Order


async def bear(tx: Tx, transition: str, orders: Sequence[Order], now: datetime) -> None:
    """Puts in line the writing of orders that are born by one transition, in the same states and with the same timers."""
    if not orders:
        return
    first = orders[0]
    # A shop sells the same few things all day, so what is sold, by whom and for how much is told once for all its orders.
    terms: dict[tuple[object, ...], int] = {}
    placed = [
        terms.setdefault(
            (
                *(
                    o.payer,
                    o.channel,
                    o.operator,
                    o.product,
                    o.supplier,
                    o.face,
                    o.price,
                    o.cost_minor,
                    o.days,
                    o.policy,
                ),
                *(o.cost_currency, o.rate_num, o.rate_den, o.limited),
            ),
            len(terms) + 1,
        )
        for o in orders
    ]
    payers, channels, operators, products, suppliers, faces, prices, costs, days, policies, *more = zip(
        *terms, strict=True
    )
    cost_currencies, rate_nums, rate_dens, limited = more
    tx.ask(
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
        numbers=[order.number for order in orders],
        references=[order.reference for order in orders],
        valids=[order.valid_until for order in orders],
        terms=placed,
        payers=payers,
        channels=channels,
        operators=operators,
        products=products,
        suppliers=suppliers,
        faces=[face.minor for face in faces],
        facecurrencies=[face.currency for face in faces],
        prices=[price.minor for price in prices],
        currencies=[price.currency for price in prices],
        costs=costs,
        days=days,
        policies=policies,
        costcurrencies=cost_currencies,
        ratenums=rate_nums,
        ratedens=rate_dens,
        limiteds=limited,
    )
