"""The life of one top-up, in the order in which it happens: place, pay, send, settle, refund; inquire where we do not know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from refill import cards, cases, inbox, ledger, numbers
from refill.cards import Subscriber
from refill.cases import Case
from refill.db import Tx
from refill.errors import Busy, CannotHappen, NotFound, NotVerified
from refill.ids import cell_of
from refill.money import Money, share
from refill.operators import Delivery, Recharge, home
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, NOT_THEIRS, Done, Outcome, Refused, Unknown
from refill.payments import ABSENT, ALREADY_PAID, Capture, Charge, Invitation, RawNotice, RefundAsk
from refill.topup import sql, states, store
from refill.topup.order import (
    Attempt,
    Dossier,
    Order,
    Payment,
    Refund,
    order_of,
    payment_reference,
    refund_id,
    request_id,
)
from refill.topup.place import place
from refill.topup.states import PAID_BACK, after, owner_account
from refill.topup.store import Changes
from refill.topup.trade import Trade

__all__ = [
    "Answered",
    "ask_refund",
    "cancel",
    "close",
    "inquire",
    "invite",
    "new_order_id",
    "pay",
    "place",
    "poll",
    "receive_notice",
    "receive_supplier_notice",
    "refunded",
    "send",
    "settle",
]


def new_order_id(trade: Trade, number: str) -> str:
    """An id for a new order, in the cell of its number."""
    return trade.world.new_id("tu", cell_of(number))


# ------------------------------------------------------------------ paying


async def invite(trade: Trade, order_id: str, method: str, *, scene: str = "page", return_url: str = "") -> Invitation:
    """Where a person pays this order. The payment attempt is kept before the gateway hears of it.

    Raises CannotHappen (paid or lapsed already), NotFound, Busy (the gateway does not answer; ask again).
    """
    if method not in trade.methods:
        raise NotFound("There is no such way to pay.")

    async def work(tx: Tx) -> Payment:
        now = trade.world.db_now()
        changes = Changes(now, trade.rules)
        changes.watch(await store.lock(tx, [order_id]))
        payment = _open_payment(trade, changes, order_id, method, scene, now)
        changes.keep_payment(payment)
        await changes.save(tx)
        return payment

    payment = await trade.db.transaction(work)
    match await trade.methods[method].begin(trade.world, _charge(trade, payment, return_url)):
        case Done(invitation):
            return invitation
        case Refused(reason):
            raise CannotHappen(f"The payment firm refuses: {reason}. Choose another way to pay.")
        case Unknown():
            raise Busy("The payment firm does not answer. Nothing was charged; try again in a moment.")


def _open_payment(trade: Trade, changes: Changes, order_id: str, method: str, scene: str, now: datetime) -> Payment:
    if order_id not in changes.dossiers:
        raise NotFound("There is no order with that id.")
    dossier = changes.dossiers[order_id]
    order = dossier.order
    if order.payment != "unpaid" or order.expires_at is None or now >= order.expires_at:
        raise CannotHappen("This order is paid or has lapsed; start a new one.")
    for payment in dossier.payments:
        if (payment.method, payment.scene, payment.state) == (method, scene, "open"):
            return payment
    n = len(dossier.payments) + 1
    first_poll = min(now + after(states.POLL, 0), order.expires_at)
    reference = payment_reference(order.id, n)
    return Payment(order.id, n, method, scene, reference, order.price, "open", now, order.expires_at, 0, first_poll)


def _charge(trade: Trade, payment: Payment, return_url: str) -> Charge:
    return Charge(
        payment.reference,
        payment.amount,
        f"手机充值 Top-up {payment.amount}",
        payment.expires_at,
        payment.scene,
        f"{trade.public_url}/callbacks/{payment.method}",
        return_url,
    )


async def receive_notice(trade: Trade, method: str, raw: RawNotice) -> tuple[int, bytes]:
    """A payment firm's callback: kept first, verified, believed only for its exact order; the answer to send back."""
    if method not in trade.methods:
        raise NotFound("There is no such payment method.")
    shelf = trade.methods[method]
    source = f"payments:{method}"
    try:
        notice = shelf.read_notice(raw)
    except NotVerified as doubt:
        await _keep_unverified(trade, source, raw.body, str(doubt))
        return shelf.acknowledge(False)
    kept = await _keep(trade, source, notice.id, raw.body, notice.reference)
    if kept.handled:
        return shelf.acknowledge(True)
    if notice.capture is not None and notice.fresh:
        captures = [notice.capture]
    else:
        # Stale, or about something else than money arriving: the gateway itself is asked, never the notice believed.
        answer = await shelf.query(trade.world, notice.reference)
        if isinstance(answer, Unknown):
            return shelf.acknowledge(False)
        captures = [answer.reference] if isinstance(answer, Done) else []
    (known,) = await store.find(trade, [order_of(notice.reference)])
    if known is None:
        await _stranger(trade, kept, notice.capture)
        return shelf.acknowledge(False)  # perhaps it overtook our own commit: let them send it again
    await pay(trade, captures)
    await trade.db.transaction(
        lambda tx: inbox.handled(tx, kept, "paid" if captures else "noted", trade.world.db_now())
    )
    return shelf.acknowledge(True)


async def _keep(trade: Trade, source: str, their_id: str, raw: bytes, about: str | None) -> inbox.Kept:
    now = trade.world.db_now()
    return await trade.db.transaction(
        lambda tx: inbox.keep(tx, trade.vault, source, their_id, raw, verified=True, about=about, at=now)
    )


async def _keep_unverified(trade: Trade, source: str, raw: bytes, doubt: str) -> None:
    their_id = "raw:" + trade.vault.digest("notice", raw)

    async def work(tx: Tx) -> None:
        now = trade.world.db_now()
        kept = await inbox.keep(tx, trade.vault, source, their_id, raw, verified=False, about=None, at=now)
        await inbox.handled(tx, kept, doubt, now)

    await trade.db.transaction(work)


async def _stranger(trade: Trade, kept: inbox.Kept, capture: Capture | None) -> None:
    money = capture.amount if capture else None
    says = "A verified notice names an order that we do not have."
    case = Case("stranger", f"{kept.source} {kept.their_id}", says, money)
    await trade.db.transaction(lambda tx: cases.raise_cases(tx, [case], trade.world.db_now()))


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
            fate, credit = _take(changes, capture, subscribers)
            fates.append((capture, fate))
            credits += credit
        await _keep_captures(tx, fates, now)
        await _credit_home(tx, changes, credits)
        await changes.save(tx)

    if unique:
        await trade.db.transaction(work)


def _take(
    changes: Changes, capture: Capture, subscribers: Mapping[str, Subscriber]
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
    if order.payment == "expired":
        return _to_suspense(changes, capture, "late", "late_payment", "A payment arrived after the order lapsed."), []
    if order.payment != "unpaid":
        return _to_suspense(changes, capture, "twice", "paid_twice", "A second payment for one order."), []
    currency = order.price.currency
    changes.entries.append(
        ledger.Entry.of(
            f"{order.id}.paid", (f"clearing:{capture.method}/{currency}", owner_account(order), order.price.minor)
        )
    )
    _close_soon(changes, order.id)
    paid: dict[str, Any] = {
        "payment": "captured",
        "captured_minor": order.price.minor,
        "deadline": changes.now + changes.rules.delivery_deadline,
    }
    if order.supplier != home.NAME:
        changes.move(order.id, "paid", delivery="ready", wake_at=changes.now, **paid)
        return "order", []
    subscriber = subscribers.get(order.number)
    if subscriber is None or subscriber.state not in home.SERVED:
        changes.move(order.id, "paid", delivery="ready", wake_at=None, **paid)
        _fail(changes, order.id, [(capture, "order")], "The number left our network before the credit arrived.")
        return "order", []
    changes.entries.append(
        home.sold(
            f"{order.id}.sold", owner_account(order), order.price.minor, "discount:retail", subscriber, order.face
        )
    )
    changes.move(order.id, "sold", delivery="delivered", delivered_minor=order.face.minor, **paid)
    return "order", [(order, subscriber)]


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
    changes.keep_refund(_refund(changes, order, capture, capture.amount, source, reason))
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


async def _keep_captures(tx: Tx, fates: Sequence[tuple[Capture, str]], now: datetime) -> None:
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


async def _credit_home(tx: Tx, changes: Changes, sold: Sequence[tuple[Order, Subscriber]]) -> None:
    if not sold:
        return
    credits = [home.HomeCredit(subscriber, order.days, order.policy) for order, subscriber in sold]
    for (order, _), valid_until in zip(sold, await home.extend(tx, credits, changes.now), strict=True):
        dossier = changes.dossiers[order.id]
        changes.dossiers[order.id] = replace(dossier, order=replace(dossier.order, valid_until=valid_until))


async def poll(trade: Trade, order_id: str) -> Order:
    """Asks the gateways now whether an order was paid: the notice may be lost or late. Raises NotFound."""
    dossier = await _dossier(trade, order_id)
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
    """A person changes their mind before paying: the order lapses now, after its payments are closed at the gateways."""

    async def work(tx: Tx) -> Order:
        now = trade.world.db_now()
        changes = Changes(now, trade.rules)
        changes.watch(await store.lock(tx, [order_id]))
        if order_id not in changes.dossiers:
            raise NotFound("There is no order with that id.")
        dossier = changes.dossiers[order_id]
        if dossier.order.payment == "unpaid":
            changes.dossiers[order_id] = replace(dossier, order=replace(dossier.order, expires_at=now))
            _close_soon(changes, order_id)
        await changes.save(tx)
        return changes.dossiers[order_id].order

    return await trade.db.transaction(work)


async def close(trade: Trade, payment: Payment) -> None:
    """Makes sure that nobody can pay this any more, or finds the money that overtook us."""
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


async def _closed(trade: Trade, payment: Payment) -> None:
    async def work(tx: Tx) -> None:
        changes = Changes(trade.world.db_now(), trade.rules)
        changes.watch(await store.lock(tx, [payment.order_id]))
        for now_ in changes.dossiers[payment.order_id].payments:
            if now_.n == payment.n and now_.state == "open":
                changes.keep_payment(replace(now_, state="closed", poll_at=None))
        await changes.save(tx)

    await trade.db.transaction(work)


# ------------------------------------------------------------------ sending


@dataclass(frozen=True, slots=True)
class Answered:
    """What a supplier said about one attempt; `by_inquiry`: asked again, rather than at the first request."""

    attempt: Attempt
    outcome: Outcome[Delivery]
    by_inquiry: bool = False


def prepare(trade: Trade, changes: Changes, order: Order) -> Attempt:
    """A new attempt for a ready order, to be committed before any byte is sent."""
    n, now = order.attempts + 1, changes.now
    flags = trade.suppliers[order.supplier].flags
    send_before = now + trade.rules.send_window
    hard_end = send_before + timedelta(seconds=flags.timeout_s)
    attempt = Attempt(
        order.id,
        n,
        order.supplier,
        request_id(order.id, n),
        "prepared",
        now,
        send_before,
        hard_end,
        0,
        hard_end + after(states.INQUIRE, 0),
    )
    changes.keep_attempt(attempt)
    changes.move(order.id, "sent", n, delivery="dispatching", attempts=n, wake_at=None, detail=order.supplier)
    return attempt


async def send(trade: Trade, attempt: Attempt, ask: Recharge) -> Answered:
    """Orders the credit from the supplier, once. The attempt was committed before."""
    return Answered(attempt, await trade.suppliers[attempt.supplier].recharge(trade.world, ask))


async def inquire(trade: Trade, attempt: Attempt, ask: Recharge) -> Answered:
    """Asks the supplier what became of an attempt; where they know our reference only once, a lost request is sent again."""
    supplier = trade.suppliers[attempt.supplier]
    outcome = await supplier.inquire(trade.world, ask)
    if _never_heard(outcome) and supplier.flags.dedups_our_reference and attempt.state in ("prepared", "unknown"):
        outcome = await supplier.recharge(trade.world, ask)
    return Answered(attempt, outcome, by_inquiry=True)


def _never_heard(outcome: Outcome[Delivery]) -> bool:
    return isinstance(outcome, Unknown) and outcome.why == NOT_FOUND


def recharge_of(order: Order, attempt: Attempt, msisdn: str, send_before: datetime) -> Recharge:
    """What we ask a supplier for."""
    return Recharge(attempt.request_id, msisdn, order.face, order.operator, order.product, send_before)


# ------------------------------------------------------------------ settling


async def settle(trade: Trade, answers: Sequence[Answered]) -> None:
    """Saves what suppliers said. Done: delivered and booked. Refused: again, elsewhere or refunded. Unknown: ask later."""

    async def work(tx: Tx) -> None:
        changes = Changes(trade.world.db_now(), trade.rules)
        changes.watch(await store.lock(tx, [answer.attempt.order_id for answer in answers]))
        captures: dict[str, list[tuple[Capture, str]]] = {}
        for order_id, capture, fate in await store.captures_of(tx, list(changes.dossiers)):
            captures.setdefault(order_id, []).append((capture, fate))
        learnt: list[tuple[str, str | None]] = []
        for answer in answers:
            _settle_one(trade, changes, answer, captures.get(answer.attempt.order_id, []), learnt)
        await changes.save(tx)
        for number, operator in sorted(learnt, key=lambda pair: pair[0]):
            await numbers.learn_operator(tx, number, operator)

    await trade.db.transaction(work)


def _settle_one(
    trade: Trade,
    changes: Changes,
    answer: Answered,
    captures: Sequence[tuple[Capture, str]],
    learnt: list[tuple[str, str | None]],
) -> None:
    dossier = changes.dossiers.get(answer.attempt.order_id)
    attempt = next((a for a in dossier.attempts if a.n == answer.attempt.n), None) if dossier else None
    if dossier is None or attempt is None:
        return
    order = dossier.order
    if attempt.state not in ("prepared", "unknown"):
        if attempt.state == "refused" and isinstance(answer.outcome, Done):
            _late_success(changes, order, attempt, answer.outcome.reference)
        return
    match _judge(trade, changes, attempt, answer):
        case Done(delivery):
            _delivered(changes, order, attempt, delivery, captures)
        case Refused() as no:
            _refused(changes, order, attempt, no, captures, learnt)
        case Unknown() as doubt:
            _unsure(changes, order, attempt, doubt)


def _judge(trade: Trade, changes: Changes, attempt: Attempt, answer: Answered) -> Outcome[Delivery]:
    """What an answer means for the attempt, which may have been asked for more than once.

    "Never heard of it" becomes a no only where the adapter says so, and only long enough after the hard end. "Not sent"
    speaks of one request: it is a no only for an attempt that nobody else has asked about (or sent again) meanwhile.
    """
    outcome = answer.outcome
    if isinstance(outcome, Refused) and outcome.reason == NOT_SENT and (answer.by_inquiry or attempt.inquiries):
        return Unknown("this request was not sent, but an earlier one may have been")
    if answer.by_inquiry and _never_heard(outcome):
        wait = trade.suppliers[attempt.supplier].flags.not_found_is_final_after
        if wait is not None and changes.now >= attempt.hard_end + wait:
            return Refused("it never arrived there", NOT_FOUND, final=False)
    return outcome


def _delivered(
    changes: Changes, order: Order, attempt: Attempt, delivery: Delivery, captures: Sequence[tuple[Capture, str]]
) -> None:
    cost = delivery.cost.minor if delivery.cost else order.cost_minor or 0
    changes.keep_attempt(
        replace(attempt, state="done", inquire_at=None, their_id=delivery.supplier_reference, cost_minor=cost)
    )
    if order.payment in PAID_BACK:
        _late_success(changes, order, attempt, delivery)
    elif delivery.face.minor >= order.face.minor:
        _book_sale(changes, order, "delivered", order.price.minor, cost)
        changes.move(order.id, "delivered", delivery="delivered", delivered_minor=order.face.minor)
    else:
        _partly_delivered(changes, order, delivery.face.minor, cost, captures)


def _book_sale(changes: Changes, order: Order, step: str, price_minor: int, cost_minor: int, source: str = "") -> None:
    currency = order.price.currency
    changes.entries.append(
        ledger.Entry.of(
            f"{order.id}.{step}",
            (source or owner_account(order), f"sales:topup/{currency}", price_minor),
            (f"cost:topup/{currency}", f"float:{order.supplier}/{currency}", cost_minor),
        )
    )


def _partly_delivered(
    changes: Changes, order: Order, face_minor: int, cost: int, captures: Sequence[tuple[Capture, str]]
) -> None:
    earned = share(order.price.minor, face_minor, order.face.minor)
    back = order.price.minor - earned
    _book_sale(changes, order, "partial", earned, cost)
    if order.partner:
        _back_to_float(changes, order, "partial_refund", back, owner_account(order))
        changes.move(
            order.id,
            "partial",
            delivery="partial",
            delivered_minor=face_minor,
            refunded_minor=back,
        )
        return
    capture = _captured(captures)
    changes.keep_refund(
        _refund(changes, order, capture, Money(back, order.price.currency), owner_account(order), "partial")
    )
    changes.move(order.id, "partial", payment="refund_pending", delivery="partial", delivered_minor=face_minor)


def _late_success(changes: Changes, order: Order, attempt: Attempt, delivery: Delivery) -> None:
    """Delivered after all. A refund that has not left is cancelled; money that has left is a case for a person."""
    cost = delivery.cost.minor if delivery.cost else order.cost_minor or 0
    changes.keep_attempt(
        replace(attempt, state="done", inquire_at=None, their_id=delivery.supplier_reference, cost_minor=cost)
    )
    if order.delivery not in ("unknown", "failed") or order.payment not in PAID_BACK:
        says = "A supplier delivered an attempt that was refused before; the order went on without it."
        changes.troubles.append(Case("late_success", order.id, says, order.face))
        currency = order.price.currency
        changes.entries.append(
            ledger.Entry.of(
                f"{attempt.request_id}.extra",
                (f"cost:topup/{currency}", f"float:{attempt.supplier}/{currency}", cost),
            )
        )
        changes.remark(order.id, "late_delivery", attempt.n, "delivered after a definite no")
        return
    waiting = [
        refund for refund in changes.dossiers[order.id].refunds if refund.state == "due" and refund.why == "order"
    ]
    source = states.unknown_account(order) if order.delivery == "unknown" else owner_account(order)
    if waiting:
        for refund in waiting:
            changes.keep_refund(replace(refund, state="cancelled", ask_at=None))
            changes.remark(order.id, "refund_cancelled", refund.n, "")
        _book_sale(changes, order, "late", order.price.minor, cost, source)
        changes.move(
            order.id, "late_success", payment="captured", delivery="delivered", delivered_minor=order.face.minor
        )
        return
    _book_sale(changes, order, "late", 0, cost)
    says = "Delivered after the payer had the money back: recover it, or write it off."
    changes.troubles.append(Case("late_success", order.id, says, order.price))
    changes.move(order.id, "late_success", delivery="delivered", delivered_minor=order.face.minor)


def _refused(
    changes: Changes,
    order: Order,
    attempt: Attempt,
    no: Refused,
    captures: Sequence[tuple[Capture, str]],
    learnt: list[tuple[str, str | None]],
) -> None:
    changes.keep_attempt(replace(attempt, state="refused", inquire_at=None, code=no.code or no.reason))
    if order.payment in PAID_BACK:
        changes.move(order.id, "proven_failed", delivery="failed", reason=no.reason)
    elif no.reason == EMPTY_FLOAT:
        wake = changes.now + after(states.PARK, order.parks)
        says = f"Our float at {order.supplier} is used up; orders wait for it."
        changes.troubles.append(Case("empty_float", order.supplier, says))
        changes.move(order.id, "parked", order.parks + 1, delivery="parked", parks=order.parks + 1, wake_at=wake)
    elif not no.final and attempt.n < changes.rules.most_attempts:
        wake = changes.now + after(states.RETRY, attempt.n - 1)
        changes.move(order.id, "retry", attempt.n, delivery="ready", wake_at=wake, detail=no.reason)
    else:
        if no.reason == NOT_THEIRS:
            learnt.append((order.number, None))
        _fail(changes, order.id, captures, no.reason)


def _fail(changes: Changes, order_id: str, captures: Sequence[tuple[Capture, str]], reason: str) -> None:
    """Nothing was delivered and nothing is on its way: the money goes back."""
    order = changes.dossiers[order_id].order
    if order.partner:
        _back_to_float(changes, order, "failed", order.price.minor, owner_account(order))
        changes.move(
            order.id, "failed", payment="refunded", delivery="failed", refunded_minor=order.price.minor, reason=reason
        )
        return
    changes.keep_refund(_refund(changes, order, _captured(captures), order.price, owner_account(order), "order"))
    changes.move(order.id, "failed", payment="refund_pending", delivery="failed", reason=reason, wake_at=None)


def _unsure(changes: Changes, order: Order, attempt: Attempt, doubt: Unknown) -> None:
    wait = after(states.INQUIRE, attempt.inquiries)
    give_up = order.deadline and order.deadline + changes.rules.chase_after_deadline
    ask_again = changes.now + wait if give_up is None or changes.now + wait < give_up else None
    changes.keep_attempt(replace(attempt, state="unknown", inquire_at=ask_again, code=doubt.code or attempt.code))
    if doubt.code:
        says = f"{attempt.supplier} answered with a code that is in no table of ours: {doubt.code[:40]}."
        changes.troubles.append(Case("unknown_code", f"{attempt.supplier}:{doubt.code[:40]}", says))
    if order.delivery == "dispatching" and order.payment == "captured":
        changes.move(order.id, "unsure", attempt.n, delivery="unknown", detail=doubt.why)


def overdue(changes: Changes, dossier: Dossier, captures: Sequence[tuple[Capture, str]]) -> None:
    """The deadline passed without an answer: the payer is refunded from suspense, and we go on asking (rule 5)."""
    order = dossier.order
    suspense = states.unknown_account(order)
    changes.entries.append(ledger.Entry.of(f"{order.id}.overdue", (owner_account(order), suspense, order.price.minor)))
    says = f"{order.supplier} could not tell the outcome by the deadline; the payer gets the money back from suspense."
    changes.troubles.append(Case("unknown", order.id, says, order.price))
    if order.partner:
        _back_to_float(changes, order, "overdue_refund", order.price.minor, suspense)
        changes.move(order.id, "overdue", payment="refunded", delivery="unknown", refunded_minor=order.price.minor)
        return
    changes.keep_refund(_refund(changes, order, _captured(captures), order.price, suspense, "order"))
    changes.move(order.id, "overdue", payment="refund_pending", delivery="unknown")


def give_up(changes: Changes, dossier: Dossier, captures: Sequence[tuple[Capture, str]]) -> None:
    """The deadline passed while nothing was on its way."""
    _fail(changes, dossier.order.id, captures, "not delivered by the deadline")


# ------------------------------------------------------------------ refunding


def _captured(captures: Sequence[tuple[Capture, str]]) -> Capture:
    """The capture that paid the order."""
    return next(capture for capture, fate in captures if fate == "order")


def _refund(changes: Changes, order: Order, capture: Capture, amount: Money, source: str, why: str) -> Refund:
    n = len(changes.dossiers[order.id].refunds) + 1
    return Refund(
        order.id,
        n,
        capture.method,
        capture.reference,
        capture.merchant,
        capture.transaction,
        capture.amount.minor,
        amount,
        source,
        refund_id(order.id, n),
        "due",
        why,
        changes.now,
        0,
        changes.now,
    )


def _back_to_float(changes: Changes, order: Order, step: str, minor: int, source: str) -> None:
    changes.entries.append(ledger.Entry.of(f"{order.id}.{step}", (source, states.float_account(order), minor)))


def refund_ask(refund: Refund) -> RefundAsk:
    """What we ask the gateway for; always under the same id."""
    return RefundAsk(
        refund.request_id,
        refund.reference,
        refund.transaction,
        refund.amount,
        Money(refund.captured_minor, refund.amount.currency),
        refund.why,
    )


async def ask_refund(trade: Trade, refund: Refund) -> Outcome[str]:
    """Asks the gateway for a refund, once; asking again under the same id is the same refund."""
    return await trade.methods[refund.method].refund(trade.world, refund_ask(refund))


async def refunded(trade: Trade, refund: Refund, answer: Outcome[str]) -> None:
    """Saves what the gateway said about a refund. Unknown: the timer asks again under the same id."""

    async def work(tx: Tx) -> None:
        changes = Changes(trade.world.db_now(), trade.rules)
        changes.watch(await store.lock(tx, [refund.order_id]))
        standing = next(r for r in changes.dossiers[refund.order_id].refunds if r.n == refund.n)
        if standing.state in ("sent", "stuck"):
            match answer:
                case Done():
                    _refund_done(changes, standing)
                case Refused(reason, _, final) if final:
                    changes.keep_refund(replace(standing, state="stuck", ask_at=None))
                    changes.remark(refund.order_id, "refund_stuck", refund.n, reason)
                    says = f"The payment firm refuses to give the money back: {reason[:80]}."
                    changes.troubles.append(Case("refund_refused", refund.order_id, says, refund.amount))
        await changes.save(tx)

    await trade.db.transaction(work)


def _refund_done(changes: Changes, refund: Refund) -> None:
    order = changes.dossiers[refund.order_id].order
    currency = refund.amount.currency
    changes.keep_refund(replace(refund, state="done", ask_at=None, done_at=changes.now))
    changes.entries.append(
        ledger.Entry.of(
            f"{order.id}.refund.{refund.n}",
            (refund.source, f"clearing:{refund.method}/{currency}", refund.amount.minor),
        )
    )
    if refund.source.startswith("suspense:") and not refund.source.startswith("suspense:unknown"):
        changes.remark(order.id, "stray_refunded", refund.n)
        return
    total = order.refunded_minor + refund.amount.minor
    payment = "captured" if order.delivery == "partial" else "refunded"
    changes.move(order.id, "refunded", refund.n, payment=payment, refunded_minor=total)


# ------------------------------------------------------------------ suppliers' notices


async def receive_supplier_notice(
    trade: Trade, supplier: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """A supplier's callback: kept, verified, and then only a reason to ask them at once."""
    if supplier not in trade.suppliers:
        raise NotFound("There is no such supplier.")
    source = f"operators:{supplier}"
    try:
        notice = trade.suppliers[supplier].read_notice(body, headers)
    except NotVerified as doubt:
        await _keep_unverified(trade, source, body, str(doubt))
        return 400, b"not verified"
    kept = await _keep(trade, source, notice.id, body, notice.request_id)
    if kept.handled:
        return 200, b"success"
    try:
        dossier = await _dossier(trade, order_of(notice.request_id))
    except NotFound:
        await _stranger(trade, kept, None)
        return 404, b"unknown order"
    attempt = next((a for a in dossier.attempts if a.request_id == notice.request_id), None)
    if attempt is not None and attempt.state != "done":
        msisdn = await trade.db.transaction(lambda tx: numbers.reveal(tx, trade.vault, [dossier.order.number]))
        if dossier.order.number in msisdn:
            digits = msisdn[dossier.order.number].digits
            ask = recharge_of(dossier.order, attempt, digits, attempt.send_before)
            # An answer by notice never sends again: only ask.
            outcome = await trade.suppliers[supplier].inquire(trade.world, ask)
            if not _never_heard(outcome):
                await settle(trade, [Answered(attempt, outcome, by_inquiry=True)])
    await trade.db.transaction(lambda tx: inbox.handled(tx, kept, "asked", trade.world.db_now()))
    return 200, b"success"


async def _dossier(trade: Trade, order_id: str) -> Dossier:
    async def work(tx: Tx) -> Dossier:
        (order,) = await store.find_in(tx, [order_id])
        if order is None:
            raise NotFound("There is no order with that id.")
        return (await store.load(tx, [order]))[0]

    return await trade.db.transaction(work)
