"""Reversal on our own network: all of the credit is taken back and the payer gets the price back, or nothing happens."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from refill import cards, ledger
from refill.cards import Grant, Shortening
from refill.db import Tx
from refill.errors import BadInput, CannotHappen, NotFound
from refill.ids import cell_of_id, time_of_id
from refill.money import Money
from refill.operators import home
from refill.topup import limits, sql, store
from refill.topup.order import Order
from refill.topup.refund import payer_capture, refund_to_source
from refill.topup.states import float_account, owner_account
from refill.topup.store import Changes
from refill.topup.trade import Trade


async def reverse(trade: Trade, order_id: str, *, who: str, reason: str) -> Order:
    """Takes a top-up of our own network back (DOMAIN rule 11); `who` decided so, and `reason` is told to the payer.

    A partner's price goes back to the float at once, a person's through the gateway that it came from, less what the
    payer was given before; validity is counted again from the top-ups that still stand. A repeat answers the order as
    it is.
    Raises NotFound, BadInput, CannotHappen (not ours to take back, or part of it was spent).
    """
    if not who.strip() or not reason.strip():
        raise BadInput("A reversal names the person who decides it, and a reason.")

    async def work(tx: Tx) -> Order:
        changes = Changes(trade.world.db_now(), trade.rules)
        changes.watch(await store.lock(tx, [order_id]))
        if order_id not in changes.dossiers:
            raise NotFound("There is no order with that id.")
        order = changes.dossiers[order_id].order
        if order.delivery == "reversed":
            return order
        if order.supplier != home.NAME or (order.payment, order.delivery) != ("captured", "delivered"):
            raise CannotHappen("Only a top-up that our own network delivered, and that is paid, can be taken back.")
        await taken_back_at_home(tx, changes, order, who, reason)
        return changes.dossiers[order_id].order

    return await trade.db.transaction(work)


async def taken_back_at_home(tx: Tx, changes: Changes, order: Order, who: str, reason: str) -> None:
    """Takes back what our own network delivered, and saves it. Raises CannotHappen when part of it was spent."""
    sale = await _sale(tx, order)
    # Counts before subscribers: the lock order that a placement keeps, which may count this very number.
    await limits.recount(tx, [(order, order.but(delivery="reversed"))])
    # Whoever tops this subscriber up holds its row until the commit, so that the days that we count are all there.
    subscriber_id = _whose(sale)
    await cards.hold(tx, cell_of_id(subscriber_id), subscriber_id, order.number)
    await _take_back(tx, changes, order, sale)
    valid_until = await _shorten(tx, changes.now, order, subscriber_id)
    if not order.partner:
        capture = payer_capture([(capture, fate) for _, capture, fate in await store.captures_of(tx, [order.id])])
        left = Money(order.waiting_minor, order.price.currency)
        changes.keep_refund(refund_to_source(changes, order, capture, left, owner_account(order), "reversed"))
    changes.move(
        order.id,
        "reversed",
        payment="refunded" if order.partner else "refund_pending",
        delivery="reversed",
        delivered_minor=0,
        refunded_minor=order.price.minor if order.partner else order.refunded_minor,
        valid_until=valid_until,
        reason=reason,
        detail=f"{who}: {reason}",
    )
    await changes.save(tx)


async def _sale(tx: Tx, order: Order) -> list[tuple[str, str, int]]:
    """The sale as it stands in the book: (debit, credit, minor)."""
    entries = await ledger.entries_of(tx, order.id)
    sold = f"{order.id}.sold."
    return [(debit, credit, minor) for id_, debit, credit, minor, _ in entries if id_.startswith(sold)]


def _whose(sale: Sequence[tuple[str, str, int]]) -> str:
    """The id of the subscriber whose balance got the credit."""
    (balance,) = {credit for _, credit, _ in sale if credit.startswith("balance:")}
    return balance.removeprefix("balance:").partition("/")[0]


async def _take_back(tx: Tx, changes: Changes, order: Order, sale: Sequence[tuple[str, str, int]]) -> None:
    """Posts the mirror of the sale. Raises CannotHappen when not all of the credit is there any more."""
    by_banks = sum(each.counted_minor for each in await store.disputes_of(tx, order.id))
    currency = order.price.currency
    given = {
        f"cost:goodwill/{currency}": order.refunded_minor - by_banks,
        f"loss:chargeback/{currency}": by_banks,
    }
    payer = float_account(order) if order.partner else owner_account(order)
    mirror = ledger.Entry.of(f"{order.id}.reversed", *without(mirrored(sale), payer, given))
    if await ledger.post(tx, [mirror], changes.now) != [ledger.Posted()]:
        raise CannotHappen("Part of this credit was spent, so it cannot be taken back; give the price back by hand.")


def mirrored(legs: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """What undoes these transfers. What came out of a stripe comes back at the account itself."""
    return [(credit, ledger.base_of(debit), minor) for debit, credit, minor in legs]


def without(
    legs: Sequence[tuple[str, str, int]], payer: str, given: Mapping[str, int]
) -> Iterator[tuple[str, str, int]]:
    """What the payer was given before stays there; it is no cost or loss of ours any more."""
    for debit, credit, minor in legs:
        if credit != payer:
            yield debit, credit, minor
            continue
        yield debit, credit, minor - sum(given.values())
        for account, before in given.items():
            yield debit, account, before


async def _shorten(tx: Tx, now: datetime, order: Order, subscriber_id: str) -> datetime | None:
    """Counts validity again without this top-up; its new end, or None: there is none, or nobody is served any more."""
    rows = await tx.rows(
        sql.STANDING,
        number=order.number,
        since=f"tu_{time_of_id(subscriber_id)}",  # a recycled number had other top-ups, of somebody else
        reversed=order.id,
    )
    standing = tuple(Grant(at, days, policy) for at, days, policy in rows)
    shortening = Shortening(subscriber_id, cell_of_id(subscriber_id), order.number, standing)
    (subscriber,) = await cards.shorten(tx, [shortening], now)
    return subscriber.active_until if subscriber else None
