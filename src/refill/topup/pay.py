"""Paying: money that arrives, asking whether it did, and closing what nobody shall pay any more."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from refill import cards, ledger
from refill.cards import Subscriber
from refill.cases import Case
from refill.db import Tx
from refill.errors import CannotHappen, NotFound
from refill.ids import cell_of
from refill.operators import home
from refill.outcome import Done, Outcome, Refused
from refill.payments import ABSENT, ALREADY_PAID, Capture
from refill.topup import sql, store
from refill.topup.order import Order, Payment, order_of
from refill.topup.purses import WALLET, purse, wallet_account
from refill.topup.refund import fail, refund_to_source
from refill.topup.states import owner_account
from refill.topup.store import Changes
from refill.topup.trade import Trade


async def pay(trade: Trade, captures: Sequence[Capture]) -> None:
    """Verified money arrived. Exact money for a waiting order pays it; all other money goes to suspense and back.

    Each of the gateway's transactions counts once for ever, whoever tells us of it and how often.
    """
    unique = {(c.method, c.merchant, c.transaction): c for c in captures}

    async def work(tx: Tx) -> None:
        now = trade.world.db_now()
        changes = Changes(now, trade.rules)
        changes.watch(await store.lock(tx, [order_of(capture.reference) for capture in unique.values()]))
        new = await _not_yet_captured(tx, [c for c in unique.values() if order_of(c.reference) in changes.dossiers])
        # Of our own network's subscribers we must know whether they can still be credited.
        wanted = [changes.dossiers[order_of(capture.reference)].order for capture in new]
        subscribers = await cards.by_numbers(tx, [order.number for order in wanted if order.supplier == home.NAME])
        fates, credits = [], []
        for capture in sorted(new, key=lambda c: (c.paid_at, c.transaction)):
            fate, credit = take(trade, changes, capture, subscribers)
            fates.append((capture, fate))
            credits += credit
        await keep_captures(tx, fates, now)
        await credit_home(tx, changes, credits)
        await changes.save(tx)

    if unique:
        await trade.db.transaction(work)


def take(
    trade: Trade, changes: Changes, capture: Capture, subscribers: Mapping[str, Subscriber]
) -> tuple[str, list[tuple[Order, Subscriber]]]:
    """Decides what one capture is for; returns its fate and the credit that our own network gives for it."""
    dossier = changes.dossiers[order_of(capture.reference)]
    order = dossier.order
    payment = next((p for p in dossier.payments if p.reference == capture.reference), None)
    if payment is not None and payment.state == "open":
        changes.keep_payment(replace(payment, state="captured", poll_at=None))
    if payment is None or capture.amount != payment.amount or capture.method != payment.method:
        return _to_suspense(
            changes, capture, "amount", "wrong_amount", "A payment of another amount than the price."
        ), []
    if order.payment == "expired" or _given_up(trade, order, payment):
        return _to_suspense(changes, capture, "late", "late_payment", "A payment arrived after the order lapsed."), []
    if order.payment != "unpaid":
        return _to_suspense(changes, capture, "twice", "paid_twice", "A second payment for one order."), []
    currency = order.price.currency
    source = purse(capture.method, order.payer, currency)
    changes.entries.append(ledger.Entry.of(f"{order.id}.paid", (source, owner_account(order), order.price.minor)))
    _close_soon(changes, order.id)
    paid: dict[str, Any] = {
        "payment": "captured",
        "captured_minor": order.price.minor,
        "deadline": changes.now + changes.rules.delivery_deadline,
    }
    if order.supplier == WALLET:
        filled = wallet_account(order.payer, currency)
        changes.entries.append(ledger.Entry.of(f"{order.id}.sold", (owner_account(order), filled, order.price.minor)))
        changes.move(order.id, "sold", delivery="delivered", delivered_minor=order.face.minor, **paid)
        return "order", []
    if order.supplier != home.NAME:
        changes.move(order.id, "paid", delivery="ready", wake_at=changes.now + changes.rules.cooling, **paid)
        return "order", []
    subscriber = subscribers.get(order.number)
    if subscriber is None or subscriber.state not in home.SERVED:
        changes.move(order.id, "paid", delivery="ready", wake_at=None, **paid)
        fail(changes, order.id, [(capture, "order")], "The number left our network before the credit arrived.")
        return "order", []
    changes.entries.append(
        home.sold(
            f"{order.id}.sold", owner_account(order), order.price.minor, "discount:retail", subscriber, order.face
        )
    )
    changes.move(order.id, "sold", delivery="delivered", delivered_minor=order.face.minor, **paid)
    return "order", [(order, subscriber)]


def _given_up(trade: Trade, order: Order, payment: Payment) -> bool:
    """Did the payer cancel after this payment was opened, so that we are closing it?

    Where closing gives back what is paid in that moment, the notice of it is true and the money gone: it buys nothing.
    """
    method = trade.methods.get(payment.method)
    if method is None or not method.can.close_gives_back or order.payment != "unpaid":
        return False
    return order.expires_at is not None and order.expires_at < payment.expires_at


def _close_soon(changes: Changes, order_id: str) -> None:
    """The order's other live payments are closed at their gateways, so that nobody pays it a second time."""
    for other in changes.dossiers[order_id].payments:
        if other.state == "open":
            changes.keep_payment(replace(other, poll_at=changes.now))


def _to_suspense(changes: Changes, capture: Capture, fate: str, kind: str, says: str) -> str:
    order = changes.dossiers[order_of(capture.reference)].order
    reason = {"late": "late", "twice": "paid-twice", "amount": "wrong-amount"}[fate]
    source = f"suspense:{reason}/{capture.amount.currency}"
    n = len(changes.dossiers[order.id].refunds) + 1
    clearing = f"clearing:{capture.method}/{capture.amount.currency}"
    changes.entries.append(ledger.Entry.of(f"{order.id}.stray.{n}", (clearing, source, capture.amount.minor)))
    changes.remark(order.id, "stray_payment", n, reason)
    changes.troubles.append(Case(kind, order.id, says, capture.amount))
    changes.keep_refund(refund_to_source(changes, order, capture, capture.amount, source, reason))
    return fate


async def _not_yet_captured(tx: Tx, captures: Sequence[Capture]) -> list[Capture]:
    if not captures:
        return []
    rows = await tx.rows(
        sql.CAPTURED,
        cells=[_capture_cell(capture) for capture in captures],
        methods=[capture.method for capture in captures],
        merchants=[capture.merchant for capture in captures],
        transactions=[capture.transaction for capture in captures],
    )
    known = {(method, merchant, transaction) for method, merchant, transaction in rows}
    return [c for c in captures if (c.method, c.merchant, c.transaction) not in known]


async def keep_captures(tx: Tx, fates: Sequence[tuple[Capture, str]], now: datetime) -> None:
    """Writes captures that are new, with what each was for. Raises CannotHappen when somebody overtook us."""
    if not fates:
        return
    captures = [capture for capture, _ in fates]
    written = await tx.run(
        sql.CAPTURE,
        now=now,
        cells=[_capture_cell(capture) for capture in captures],
        methods=[capture.method for capture in captures],
        merchants=[capture.merchant for capture in captures],
        transactions=[capture.transaction for capture in captures],
        orders=[order_of(capture.reference) for capture in captures],
        references=[capture.reference for capture in captures],
        minors=[capture.amount.minor for capture in captures],
        currencies=[capture.amount.currency for capture in captures],
        paids=[capture.paid_at for capture in captures],
        fates=[fate for _, fate in fates],
    )
    if written != len(fates):
        raise CannotHappen("One transaction of a gateway was claimed for two orders at once; look again.")


def _capture_cell(capture: Capture) -> int:
    return cell_of(f"{capture.method} {capture.merchant} {capture.transaction}")


async def credit_home(tx: Tx, changes: Changes, sold: Sequence[tuple[Order, Subscriber]]) -> None:
    """Extends validity on our own network. Everybody locks orders, then subscribers, then accounts."""
    if not sold:
        return
    credits = [home.HomeCredit(subscriber, order.days, order.policy) for order, subscriber in sold]
    for (order, _), valid_until in zip(sold, await home.extend(tx, credits, changes.now), strict=True):
        dossier = changes.dossiers[order.id]
        changes.dossiers[order.id] = replace(dossier, order=dossier.order.but(valid_until=valid_until))


async def poll(trade: Trade, order_id: str) -> Order:
    """Asks the gateways now whether an order was paid: the notice may be lost or late. Raises NotFound."""
    dossier = await store.dossier(trade, order_id)
    for payment in dossier.payments:
        if payment.state == "open":
            await poll_payment(trade, payment)
    (order,) = await store.find(trade, [order_id])
    assert order is not None
    return order


async def poll_payment(trade: Trade, payment: Payment) -> None:
    """Is this payment made? Money that is found counts as if the notice had come."""
    answer = await trade.methods[payment.method].query(trade.world, payment.reference)
    if isinstance(answer, Done):
        await pay(trade, [answer.reference])


async def cancel(trade: Trade, order_id: str) -> Order:
    """A person changes their mind: unpaid, the order lapses after its payments are closed at the gateways; paid but not
    sent, the money goes back. Once an attempt was prepared it is too late, and the order is returned as it stands.
    """

    async def work(tx: Tx) -> Order:
        now = trade.world.db_now()
        changes = Changes(now, trade.rules)
        changes.watch(await store.lock(tx, [order_id]))
        if order_id not in changes.dossiers:
            raise NotFound("There is no order with that id.")
        dossier = changes.dossiers[order_id]
        if dossier.order.payment == "unpaid":
            changes.dossiers[order_id] = replace(dossier, order=dossier.order.but(expires_at=now))
            _close_soon(changes, order_id)
        elif dossier.order.delivery == "ready" and not dossier.order.attempts:
            captures = [(capture, fate) for _, capture, fate in await store.captures_of(tx, [order_id])]
            fail(changes, order_id, captures, "cancelled by the payer")
        await changes.save(tx)
        return changes.dossiers[order_id].order

    return await trade.db.transaction(work)


async def close(trade: Trade, payment: Payment) -> Outcome[str]:
    """Makes sure that nobody can pay this any more, or finds the money that overtook us; what the gateway said to it."""
    method = trade.methods[payment.method]
    answer = await method.close(trade.world, payment.reference)
    match answer:
        case Refused(reason) if reason == ALREADY_PAID:
            await poll_payment(trade, payment)
        case Refused(reason) if reason == ABSENT:
            # It may yet come into being there (a page that is still open), as long as the charge itself may be paid.
            if trade.world.db_now() >= payment.expires_at + trade.rules.gateway_grace:
                await _closed(trade, payment)
        case Done():
            await _closed(trade, payment)
    return answer


async def _closed(trade: Trade, payment: Payment) -> None:
    async def work(tx: Tx) -> None:
        changes = Changes(trade.world.db_now(), trade.rules)
        changes.watch(await store.lock(tx, [payment.order_id]))
        for now_ in changes.dossiers[payment.order_id].payments:
            if now_.n == payment.n and now_.state == "open":
                changes.keep_payment(replace(now_, state="closed", poll_at=None))
        await changes.save(tx)

    await trade.db.transaction(work)
