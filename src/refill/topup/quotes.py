"""Quotes that are kept: a price that holds for a while, for one top-up of one payer, whatever the catalogue says meanwhile."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from refill.catalogue import Quote
from refill.catalogue.rates import Rate
from refill.db import Row, Statement, Tx
from refill.errors import NotFound, RefillError
from refill.ids import cell_of_id
from refill.money import EXPONENT, Money
from refill.topup.order import Ask

KEPT = timedelta(days=7)  # so long after its end a quote that nobody used is still known as over


class QuoteOver(RefillError):
    """The quote has expired, or a top-up was placed with it before; ask for a new one."""

    code = "quote_over"
    status = 409


class QuoteMisfit(RefillError):
    """The quote is for another number, operator, product or amount than the top-up."""

    code = "quote_misfit"
    status = 422


@dataclass(frozen=True, slots=True)
class Kept:
    """A quote with its name and end. `number` None: it holds for any number of the operator."""

    id: str
    payer: str
    number: str | None
    quote: Quote
    expires_at: datetime
    order_id: str | None = None


KEEP = Statement("""
    -- A price that is promised for a while
    INSERT INTO topup_quote (cell, id, payer, number, operator, product, supplier, face_minor, face_currency, price_minor,
                             currency, cost_minor, cost_currency, rate_num, rate_den, days, policy, made_at, expires_at)
    VALUES (:cell, :id, :payer, :number, :operator, :product, :supplier, :face, :facecurrency, :price, :currency, :cost,
            :costcurrency, :ratenum, :rateden, :days, :policy, :now, :expires)
""")

HOLD = Statement("""
    -- Quotes, locked in the order in which they are named: one top-up uses one
    SELECT q.id, q.payer, q.number, q.expires_at, q.order_id, q.made_at, q.operator, q.product, q.supplier, q.face_minor,
           q.face_currency, q.price_minor, q.currency, q.cost_minor, q.cost_currency, q.rate_num, q.rate_den, q.days, q.policy
      FROM unnest(:cells::smallint[], :ids::text[]) WITH ORDINALITY AS asked (cell, id, n)
      JOIN topup_quote q ON q.cell = asked.cell AND q.id = asked.id
     ORDER BY asked.n
       FOR UPDATE OF q
""")

USE = Statement("""
    -- Quotes that top-ups were placed with
    UPDATE topup_quote q SET order_id = used.order_id
      FROM unnest(:cells::smallint[], :ids::text[], :orders::text[]) AS used (cell, id, order_id)
     WHERE q.cell = used.cell AND q.id = used.id
""")

FORGET = Statement("""
    -- Quotes that nobody used, long over
    DELETE FROM topup_quote WHERE order_id IS NULL AND expires_at < :before
""")


async def keep(tx: Tx, kept: Kept, now: datetime) -> None:
    """Writes a new quote."""
    quote = kept.quote
    num, den = quote.rate.minor if quote.rate else (None, None)
    await tx.run(
        KEEP,
        cell=cell_of_id(kept.id),
        id=kept.id,
        payer=kept.payer,
        number=kept.number,
        operator=quote.operator,
        product=quote.product,
        supplier=quote.supplier,
        face=quote.face.minor,
        facecurrency=quote.face.currency,
        price=quote.price.minor,
        currency=quote.price.currency,
        cost=quote.cost.minor if quote.cost else None,
        costcurrency=quote.rate.base if quote.rate else None,
        ratenum=num,
        rateden=den,
        days=quote.days,
        policy=quote.policy,
        now=now,
        expires=kept.expires_at,
    )


async def hold(tx: Tx, ids: Iterable[str]) -> dict[str, Kept]:
    """Quotes by id, locked: after keys, before everything else. What is no quote is left out."""
    names: list[tuple[int, str]] = []
    for id_ in set(ids):
        try:
            names.append((cell_of_id(id_), id_))
        except NotFound:
            continue
    names.sort()
    rows = await tx.rows(HOLD, cells=[cell for cell, _ in names], ids=[id_ for _, id_ in names]) if names else []
    return {row[0]: _kept(row) for row in rows}


def _kept(row: Row) -> Kept:
    id_, payer, number, expires_at, order_id, made_at, operator, product, supplier, face, face_currency, *rest = row
    price, currency, cost, cost_currency, num, den, days, policy = rest
    rate = None
    if cost_currency is not None:  # kept between minor units, as the order will keep it
        units = num * 10 ** EXPONENT[cost_currency], den * 10 ** EXPONENT[currency]
        rate = Rate(cost_currency, currency, *units, made_at, expires_at)
    quote = Quote(
        operator,
        product,
        supplier,
        Money(face, face_currency),
        Money(price, currency),
        None if cost is None else Money(cost, cost_currency or currency),
        days,
        policy,
        rate,
    )
    return Kept(id_, payer, number, quote, expires_at, order_id)


def fit(kept: Kept | None, ask: Ask, operator: str, now: datetime) -> Quote:
    """The quote that an ask names, if it is the payer's, for this very top-up, and not over.

    Raises NotFound, QuoteMisfit, QuoteOver.
    """
    if kept is None or kept.payer != ask.payer:
        raise NotFound("There is no quote with that id.")
    quote = kept.quote
    misfits = {
        "number": kept.number not in (None, ask.number),
        "operator": quote.operator != operator,
        "product": ask.product not in (None, quote.product),
        "amount": quote.face != ask.face,
    }
    if wrong := next((what for what, misfit in misfits.items() if misfit), None):
        raise QuoteMisfit(f"This quote is for another {wrong}; ask for a quote of this top-up.")
    if kept.order_id is not None:
        raise QuoteOver("A top-up was placed with this quote before; ask for a new one.")
    if now >= kept.expires_at:
        raise QuoteOver(f"This quote expired at {kept.expires_at:%Y-%m-%d %H:%M:%S} UTC; ask for a new one.")
    return quote


def use(tx: Tx, used: Iterable[tuple[str, str]]) -> None:
    """Puts in line that these quotes were used: (quote, order), of quotes that we hold."""
    rows = sorted(used)
    if rows:
        tx.ask(
            USE,
            cells=[cell_of_id(id_) for id_, _ in rows],
            ids=[id_ for id_, _ in rows],
            orders=[order_id for _, order_id in rows],
        )


async def forget(tx: Tx, now: datetime) -> int:
    """Deletes quotes that nobody used and that are long over."""
    return await tx.run(FORGET, before=now - KEPT)
