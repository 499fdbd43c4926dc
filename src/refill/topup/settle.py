"""Settling: what a supplier's answer, or its silence until the deadline, means for an order and its money."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from refill import cases, ledger, numbers
from refill.cases import Case
from refill.db import Tx
from refill.money import Money, share
from refill.numbers import Lesson
from refill.operators import Delivery, pins
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, NOT_SENT, NOT_THEIRS, Done, Outcome, Refused, Unknown
from refill.payments import Capture
from refill.topup import pulse, sql, standing, states, store
from refill.topup.exchange import cost_legs, cost_of, open_floats, watch_cost
from refill.topup.order import Attempt, Dossier, Order
from refill.topup.refund import back_to_float, fail, payer_capture, refund_to_source
from refill.topup.send import Answered, agreed_with, elsewhere, never_heard
from refill.topup.states import PAID_BACK, after, owner_account
from refill.topup.store import Changes
from refill.topup.trade import Trade

SAME_LESSON = timedelta(days=30)  # a delivery that confirms what was learnt since then is not written again


async def settle(trade: Trade, answers: Sequence[Answered]) -> None:
    """Saves what suppliers said. Done: delivered and booked. Refused: again, elsewhere or refunded. Unknown: ask later."""

    await trade.db.transaction(lambda tx: settle_in(tx, trade, answers))


async def settle_in(tx: Tx, trade: Trade, answers: Sequence[Answered]) -> None:
    """The same inside a transaction; what our own stock answers is settled in the one that asked it."""
    changes = Changes(trade.world.db_now(), trade.rules)
    changes.watch(await store.lock(tx, [answer.attempt.order_id for answer in answers]))
    captures: dict[str, list[tuple[Capture, str]]] = {}
    for order_id, capture, fate in await store.captures_of(tx, list(changes.dossiers)):
        captures.setdefault(order_id, []).append((capture, fate))
    learnt: list[Lesson] = []
    tally = pulse.Tally()
    for answer in answers:
        _settle_one(trade, changes, answer, captures.get(answer.attempt.order_id, []), learnt, tally)
    changes.troubles += await standing.learn(tx, trade, tally, changes.now)
    await open_floats(tx, changes.entries, changes)
    await numbers.learn(tx, learnt, changes.now, changes.now - SAME_LESSON)
    await changes.save(tx)
    await pulse.add(tx, tally, changes.now)
    await _tell_of_names_twice(tx, changes)


async def _tell_of_names_twice(tx: Tx, changes: Changes) -> None:
    """Two orders under one name of theirs are perhaps one recharge: each is what they say it is, and a person asks them."""
    done = [a for a in changes.attempts.values() if a.state == "done" and a.their_id and a.supplier != pins.NAME]
    if not done:
        return
    twice = await tx.rows(
        sql.NAMED_TWICE,
        suppliers=[attempt.supplier for attempt in done],
        references=[attempt.their_id for attempt in done],
        orders=[attempt.order_id for attempt in done],
    )
    says = "{} gave {} and {} one name: were both credited, or one of them?"
    troubles = [
        Case("same_reference", f"{supplier}:{reference}", says.format(supplier, *sorted((order_id, other))))
        for supplier, reference, order_id, other in twice
    ]
    await cases.raise_cases(tx, troubles, changes.now)


def _settle_one(
    trade: Trade,
    changes: Changes,
    answer: Answered,
    captures: Sequence[tuple[Capture, str]],
    learnt: list[Lesson],
    tally: pulse.Tally,
) -> None:
    dossier = changes.dossiers.get(answer.attempt.order_id)
    attempt = next((a for a in dossier.attempts if a.n == answer.attempt.n), None) if dossier else None
    if dossier is None or attempt is None:
        return
    order = dossier.order
    if attempt.state not in ("prepared", "unknown"):
        if attempt.state == "refused" and isinstance(answer.outcome, Done):
            _late_success(
                changes, agreed_with(trade, order, attempt.supplier, changes.now), attempt, answer.outcome.reference
            )
        return
    judged = _judge(trade, changes, attempt, answer)
    _count(tally, changes, order, attempt, judged, by_inquiry=answer.by_inquiry)
    match judged:
        case Done(delivery):
            if attempt.supplier != pins.NAME:  # a PIN fits any phone of its operator, and says nothing of this one
                learnt.append(Lesson(order.number, order.operator, theirs=True))
            _delivered(changes, order, attempt, delivery, captures)
        case Refused() as no:
            _refused(trade, changes, order, attempt, no, captures, learnt)
        case doubt:
            _unsure(changes, order, attempt, doubt)


def _count(
    tally: pulse.Tally,
    changes: Changes,
    order: Order,
    attempt: Attempt,
    judged: Outcome[Delivery],
    *,
    by_inquiry: bool,
) -> None:
    """What an answer says of the supplier; a doubt counts once, when the request itself was answered by it."""
    took = changes.now - attempt.prepared_at
    match judged:
        case Done(delivery):
            tally.add(attempt.supplier, order.operator, pulse.DONE, took, cost_of(order, delivery).minor)
            if order.payment not in PAID_BACK:
                paid_at = order.deadline - changes.rules.delivery_deadline if order.deadline else order.created_at
                tally.add(attempt.supplier, order.operator, pulse.ARRIVED, changes.now - paid_at)
        case Refused(reason, final=final):
            against = not final and reason != EMPTY_FLOAT
            if reason == EMPTY_FLOAT and attempt.supplier != pins.NAME:  # of PINs only this one kind is used up
                tally.emptied.add(attempt.supplier)
            tally.add(attempt.supplier, order.operator, pulse.REFUSED if against else pulse.DECLINED, took)
        case _ if attempt.state == "prepared" and not by_inquiry:
            tally.add(attempt.supplier, order.operator, pulse.UNKNOWN, took)


def _judge(trade: Trade, changes: Changes, attempt: Attempt, answer: Answered) -> Outcome[Delivery]:
    """What an answer means for the attempt, which may have been asked for more than once.

    "Never heard of it" becomes a no only where the adapter says so, and only long enough after the hard end. "Not sent"
    speaks of one request: it is a no only while the lease holds under which the attempt was prepared; whoever took the
    order over since may have asked, or sent it again.
    """
    outcome = answer.outcome
    overtaken = answer.by_inquiry or attempt.fence != changes.seen[attempt.order_id].fence
    if isinstance(outcome, Refused) and outcome.reason == NOT_SENT and overtaken:
        return Unknown("this request was not sent, but an earlier one may have been")
    if answer.by_inquiry and never_heard(outcome):
        wait = trade.suppliers[attempt.supplier].flags.not_found_is_final_after
        if wait is not None and changes.now >= attempt.hard_end + wait:
            return Refused("it never arrived there", NOT_FOUND, final=False)
    return outcome


def _delivered(
    changes: Changes, order: Order, attempt: Attempt, delivery: Delivery, captures: Sequence[tuple[Capture, str]]
) -> None:
    if order.payment in PAID_BACK:
        _late_success(changes, order, attempt, delivery)
        return
    cost = _take_cost(changes, order, attempt, delivery)
    if delivery.face.minor >= order.face.minor:
        _book_sale(changes, order, "delivered", order.waiting_minor, cost)
        changes.move(order.id, "delivered", delivery="delivered", delivered_minor=order.face.minor)
    else:
        _partly_delivered(changes, order, delivery.face.minor, cost, captures)


def _take_cost(changes: Changes, order: Order, attempt: Attempt, delivery: Delivery) -> Money:
    """What they took, kept with the attempt that is done."""
    cost = cost_of(order, delivery)
    watch_cost(changes, order, attempt, delivery)
    changes.keep_attempt(
        replace(attempt, state="done", inquire_at=None, their_id=delivery.supplier_reference, cost_minor=cost.minor)
    )
    return cost


def _book_sale(changes: Changes, order: Order, step: str, price_minor: int, cost: Money, source: str = "") -> None:
    changes.entries.append(
        ledger.Entry.of(
            f"{order.id}.{step}",
            (source or owner_account(order), f"sales:topup/{order.price.currency}", price_minor),
            *cost_legs(order, order.supplier, cost),
        )
    )


def _partly_delivered(
    changes: Changes, order: Order, face_minor: int, cost: Money, captures: Sequence[tuple[Capture, str]]
) -> None:
    earned = min(share(order.price.minor, face_minor, order.face.minor), order.waiting_minor)
    back = order.waiting_minor - earned
    _book_sale(changes, order, "partial", earned, cost)
    if order.partner:
        back_to_float(changes, order, "partial_refund", back, owner_account(order))
    if order.partner or not back or order.payment == "disputed":  # the rest waits for what the payer's bank decides
        given = back if order.partner else 0
        changes.move(
            order.id,
            "partial",
            delivery="partial",
            delivered_minor=face_minor,
            refunded_minor=order.refunded_minor + given,
        )
        return
    capture = payer_capture(captures)
    changes.keep_refund(
        refund_to_source(changes, order, capture, Money(back, order.price.currency), owner_account(order), "partial")
    )
    changes.move(order.id, "partial", payment="refund_pending", delivery="partial", delivered_minor=face_minor)


def _late_success(changes: Changes, order: Order, attempt: Attempt, delivery: Delivery) -> None:
    """Delivered after all. A refund that has not left is cancelled, if they delivered the whole; else a person decides."""
    cost = _take_cost(changes, order, attempt, delivery)
    dossier = changes.dossiers[order.id]
    if order.delivery not in ("unknown", "failed") or order.payment not in PAID_BACK or dossier.open_attempt:
        says = "A supplier delivered an attempt that was refused before; the order went on without it."
        changes.troubles.append(Case("late_success", order.id, says, order.face))
        legs = cost_legs(order, attempt.supplier, cost)
        changes.entries.append(ledger.Entry.of(f"{order.id}.extra.{attempt.n}", *legs))
        changes.remark(order.id, "late_delivery", attempt.n, "delivered after a definite no")
        return
    whole = delivery.face.minor >= order.face.minor
    waiting = [refund for refund in dossier.refunds if whole and refund.state == "due" and refund.why == "order"]
    if waiting:
        for refund in waiting:
            changes.keep_refund(replace(refund, state="cancelled", ask_at=None))
            changes.remark(order.id, "refund_cancelled", refund.n, "")
        # The price lies where that refund would have taken it from: with us, or in suspense since the deadline.
        _book_sale(changes, order, "late", waiting[0].amount.minor, cost, waiting[0].source)
        changes.move(
            order.id, "late_success", payment="captured", delivery="delivered", delivered_minor=order.face.minor
        )
        return
    _book_sale(changes, order, "late", 0, cost)
    says = "Delivered after the payer had the money back: recover it, or write it off."
    changes.troubles.append(Case("late_success", order.id, says, order.price))
    changes.move(
        order.id,
        "late_success",
        delivery="delivered" if whole else "partial",
        delivered_minor=min(delivery.face.minor, order.face.minor),
    )


def _refused(
    trade: Trade,
    changes: Changes,
    order: Order,
    attempt: Attempt,
    no: Refused,
    captures: Sequence[tuple[Capture, str]],
    learnt: list[Lesson],
) -> None:
    """A definite no: the only answer after which somebody else, or the same again, may be asked."""
    code = EMPTY_FLOAT if no.reason == EMPTY_FLOAT else no.code or no.reason
    changes.keep_attempt(replace(attempt, state="refused", inquire_at=None, code=code))
    others = attempt.n < changes.rules.most_attempts and elsewhere(
        trade, changes.dossiers[order.id], attempt.supplier, changes.now
    )
    if order.payment in PAID_BACK:
        changes.move(order.id, "proven_failed", delivery="failed", reason=no.reason)
    elif order.payment == "disputed":  # nobody tries again, and the money waits for what the payer's bank decides
        changes.move(order.id, "stopped", delivery="failed", reason=no.reason)
    elif no.reason == EMPTY_FLOAT:
        says = f"Our float at {attempt.supplier} is used up; orders go to others, or wait for it."
        changes.troubles.append(Case("empty_float", attempt.supplier, says))
        if others:
            changes.move(order.id, "retry", attempt.n, delivery="ready", wake_at=changes.now, detail=no.reason)
        else:
            park(changes, order, no.reason)
    elif not no.final and attempt.n < changes.rules.most_attempts:
        wake = changes.now if others else changes.now + after(states.RETRY, attempt.n - 1)
        changes.move(order.id, "retry", attempt.n, delivery="ready", wake_at=wake, detail=no.reason)
    else:
        if no.reason == NOT_THEIRS:
            learnt.append(Lesson(order.number, order.operator, theirs=False))
        fail(changes, order.id, captures, no.reason)


def park(changes: Changes, order: Order, why: str, until: datetime | None = None) -> None:
    """Nobody can be asked now: the order waits, with a timer, until `until` or as long as it is usual."""
    wake = until or changes.now + after(states.PARK, order.parks)
    n = order.parks + 1
    changes.move(order.id, "parked", n, delivery="parked", parks=n, wake_at=wake, detail=why)


def _unsure(changes: Changes, order: Order, attempt: Attempt, doubt: Unknown) -> None:
    ask_again = states.next_inquiry(order, changes.rules, changes.now + after(states.INQUIRE, attempt.inquiries))
    changes.keep_attempt(replace(attempt, state="unknown", inquire_at=ask_again, code=doubt.code or attempt.code))
    if doubt.code:
        says = f"{attempt.supplier} answered with a code that is in no table of ours: {doubt.code[:40]}."
        changes.troubles.append(Case("unknown_code", f"{attempt.supplier}:{doubt.code[:40]}", says))
    if order.delivery == "dispatching":
        changes.move(order.id, "unsure", attempt.n, delivery="unknown", detail=doubt.why)


def overdue(changes: Changes, dossier: Dossier, captures: Sequence[tuple[Capture, str]]) -> None:
    """The deadline passed without an answer: the payer is refunded from suspense, and we go on asking (rule 5)."""
    order = dossier.order
    suspense = states.unknown_account(order)
    left = Money(order.waiting_minor, order.price.currency)
    changes.entries.append(ledger.Entry.of(f"{order.id}.overdue", (owner_account(order), suspense, left.minor)))
    says = f"{order.supplier} could not tell the outcome by the deadline; the payer gets the money back from suspense."
    changes.troubles.append(Case("unknown", order.id, says, order.price))
    if order.partner:
        back_to_float(changes, order, "overdue_refund", order.price.minor, suspense)
        changes.move(order.id, "overdue", payment="refunded", delivery="unknown", refunded_minor=order.price.minor)
        return
    changes.keep_refund(refund_to_source(changes, order, payer_capture(captures), left, suspense, "order"))
    changes.move(order.id, "overdue", payment="refund_pending", delivery="unknown")


def give_up(changes: Changes, dossier: Dossier, captures: Sequence[tuple[Capture, str]]) -> None:
    """The deadline passed while nothing was on its way."""
    fail(changes, dossier.order.id, captures, "not delivered by the deadline")
