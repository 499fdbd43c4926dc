"""Asking for a price that holds: for one number, or for any number of an operator."""

from datetime import timedelta

from refill import cards, numbers
from refill.catalogue import HOME, Quote
from refill.db import Tx
from refill.errors import BadInput, NotForSale
from refill.ids import cell_of
from refill.money import Money
from refill.topup import quotes
from refill.topup.order import Ask
from refill.topup.place import quote_for
from refill.topup.quotes import Kept
from refill.topup.trade import Trade

LASTS = timedelta(minutes=10)
LONGEST = timedelta(days=1)


async def quote(trade: Trade, ask: Ask, *, lasts: timedelta = LASTS) -> Kept:
    """The price of this ask, kept for its payer until it expires; `ask.id` is not used. Raises NotForSale, BadInput, Busy."""

    async def work(tx: Tx) -> Kept:
        now = trade.world.db_now()
        subscriber = (await cards.by_numbers(tx, [ask.number])).get(ask.number)
        if subscriber is not None:
            operator: str | None = subscriber.network
        else:
            believed = await numbers.believed(tx, {ask.number: numbers.hint(ask.msisdn.digits)}, now)
            operator = ask.operator or believed[ask.number].operator
        if operator is None:
            raise NotForSale("We cannot tell the operator of this number; name it in `operator`.")
        return await _keep(tx, trade, ask.payer, ask.number, quote_for(trade, ask, operator, subscriber, now), lasts)

    return await trade.db.transaction(work)


async def quote_operator(
    trade: Trade,
    payer: str,
    operator: str,
    face: Money,
    *,
    product: str | None = None,
    commission_bp: int | None = None,
    channel: str = "",
    lasts: timedelta = LASTS,
) -> Kept:
    """The same for any number of an operator. Raises NotForSale, BadInput, Busy."""

    async def work(tx: Tx) -> Kept:
        now, on_sale = trade.world.db_now(), trade.shelf.catalogue
        terms = {"payer": payer, "channel": channel}
        priced = on_sale.quote(operator, face, at=now, product=product, commission_bp=commission_bp, **terms)
        if priced.supplier != HOME and priced.supplier not in trade.suppliers:
            raise NotForSale("No supplier of this operator is connected.")
        return await _keep(tx, trade, payer, None, priced, lasts)

    return await trade.db.transaction(work)


async def _keep(tx: Tx, trade: Trade, payer: str, number: str | None, priced: Quote, lasts: timedelta) -> Kept:
    if not timedelta(0) < lasts <= LONGEST:
        raise BadInput("A quote holds for a second at least, and for a day at most.")
    now = trade.world.db_now()
    kept = Kept(trade.world.new_id("qu", cell_of(number or payer)), payer, number, priced, now + lasts)
    await quotes.keep(tx, kept, now)
    return kept
