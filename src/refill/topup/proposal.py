"""Refunds that people decide: one asks for it with a reason, another confirms it; then it goes the way of every refund."""

from collections.abc import Sequence
from dataclasses import replace

from refill import cases, ledger
from refill.cases import Case
from refill.db import Tx
from refill.errors import BadInput, CannotHappen, NotFound
from refill.money import Money
from refill.payments import Capture
from refill.topup import store
from refill.topup.order import Dossier, Order, Proposal
from refill.topup.purses import WALLET, wallet_account
from refill.topup.refund import back_to_float, fail, payer_capture, refund_to_source
from refill.topup.states import owner_account
from refill.topup.store import Changes
from refill.topup.trade import Trade

LONGEST_REASON = 200


class NotRefundable(CannotHappen):
    """This refund cannot be asked for or confirmed; `reason` is a word for doors, `left` what may go back."""

    code = "not_refundable"

    def __init__(self, reason: str, says: str, left: Money | None = None) -> None:
        self.reason, self.left = reason, left
        super().__init__(says)


# What to tell whoever wants a refund in these states of the payment.
_NOT_CAPTURED = {
    "unpaid": "Nothing was paid for this order, so there is nothing to give back.",
    "expired": "Nothing was paid for this order, so there is nothing to give back.",
    "refund_pending": "A refund of this order is on its way already.",
    "refunded": "Everything that was paid for this order went back already.",
    "disputed": "The payer's bank decides about this payment; a refund now could pay it back twice.",
}


async def refund(trade: Trade, order_id: str, amount: Money, why: str, by: str) -> Proposal:
    """Asks for a refund of a captured order, all of it or a part; nothing moves until another person confirms it.

    What was not delivered goes back whole and is not sent any more; what was delivered stays with the payer, and the
    refund is our goodwill. The same wish again is the same proposal.
    Raises NotFound, BadInput, NotRefundable.
    """
    why, by = why.strip()[:LONGEST_REASON], by.strip()
    if not why or not by or amount.minor <= 0:
        raise BadInput("A refund has an amount above zero, a reason, and the person who asks for it.")

    async def work(tx: Tx) -> Proposal:
        dossier, captures = await _locked(tx, order_id)
        _may_go_back(trade, dossier, captures, amount)
        before = await store.proposals_of(tx, order_id)
        if open_ := next((each for each in before if each.state == "open"), None):
            if (open_.amount, open_.why, open_.asked_by) == (amount, why, by):
                return open_
            raise NotRefundable("waiting", "Another refund of this order waits to be confirmed.")
        now = trade.world.db_now()
        asked = Proposal(order_id, len(before) + 1, amount, why, by, now)
        await store.save_proposal(tx, asked)
        says = "Somebody asks to give money back; another person confirms it or declines."
        await cases.raise_cases(tx, [Case("refund_asked", order_id, says, amount)], now)
        return asked

    return await trade.db.transaction(work)


async def confirm_refund(trade: Trade, order_id: str, n: int, by: str) -> Order:
    """Another person agrees: the refund is asked of the gateway by the worker, or is back in the partner's float at once.

    A repeat answers the order as it is. Raises NotFound, NotEnough (what filled a wallet was spent), NotRefundable
    (declined, the same person, or not legal any more).
    """

    async def work(tx: Tx) -> Order:
        dossier, captures = await _locked(tx, order_id)
        asked = await _asked(tx, order_id, n)
        if asked.state == "confirmed":
            return dossier.order
        if asked.state == "declined":
            raise NotRefundable("declined", "This refund was declined; ask for it again.")
        if asked.asked_by == by.strip() or not by.strip():
            raise NotRefundable("same_person", "A refund is confirmed by another person than the one who asked for it.")
        _may_go_back(trade, dossier, captures, asked.amount)
        changes = Changes(trade.world.db_now(), trade.rules)
        changes.watch([dossier])
        _give_back(changes, dossier.order, captures, asked)
        await changes.save(tx)
        await _decide(tx, changes, replace(asked, state="confirmed", decided_by=by.strip(), decided_at=changes.now))
        return changes.dossiers[order_id].order

    return await trade.db.transaction(work)


async def decline_refund(trade: Trade, order_id: str, n: int, by: str, why: str) -> Proposal:
    """No refund: also the person who asked may take it back. A repeat changes nothing.

    Raises NotFound, BadInput, NotRefundable (confirmed already).
    """
    if not why.strip() or not by.strip():
        raise BadInput("Who declines a refund says why.")

    async def work(tx: Tx) -> Proposal:
        changes = Changes(trade.world.db_now(), trade.rules)
        await _locked(tx, order_id)
        asked = await _asked(tx, order_id, n)
        if asked.state == "confirmed":
            raise NotRefundable("confirmed", "This refund was confirmed already.")
        if asked.state == "declined":
            return asked
        answer = why.strip()[:LONGEST_REASON]
        no = replace(asked, state="declined", decided_by=by.strip(), decided_at=changes.now, answer=answer)
        await _decide(tx, changes, no)
        return no

    return await trade.db.transaction(work)


async def _locked(tx: Tx, order_id: str) -> tuple[Dossier, list[tuple[Capture, str]]]:
    dossiers = await store.lock(tx, [order_id])
    if not dossiers:
        raise NotFound("There is no order with that id.")
    return dossiers[0], [(capture, fate) for _, capture, fate in await store.captures_of(tx, [order_id])]


async def _asked(tx: Tx, order_id: str, n: int) -> Proposal:
    for each in await store.proposals_of(tx, order_id):
        if each.n == n:
            return each
    raise NotFound("Nobody asked for that refund.")


async def _decide(tx: Tx, changes: Changes, decided: Proposal) -> None:
    await store.save_proposal(tx, decided)
    await cases.close(tx, [f"refund_asked:{decided.order_id}"], f"{decided.state} by {decided.decided_by}", changes.now)


def _may_go_back(trade: Trade, dossier: Dossier, captures: Sequence[tuple[Capture, str]], amount: Money) -> None:
    """All refusals, each with its reason. Raises BadInput, NotRefundable."""
    order = dossier.order
    if amount.currency != order.price.currency:
        raise BadInput(f"This order was paid in {order.price.currency}.")
    if order.payment != "captured":
        raise NotRefundable(order.payment, _NOT_CAPTURED[order.payment])
    if dossier.open_attempt is not None:
        says = "The credit may still arrive; wait until the operator has answered, or until the deadline."
        raise NotRefundable("in_flight", says)
    left = Money(order.captured_minor - order.refunded_minor, order.price.currency)
    if amount.minor > left.minor:
        raise NotRefundable("too_much", f"Only {left} of this payment is left to give back.", left)
    if order.delivery in ("ready", "parked") and amount != left:
        raise NotRefundable("whole_only", f"Nothing was delivered yet: give the whole {left} back, or wait.", left)
    if order.partner:
        return
    capture = payer_capture(captures)
    can = trade.methods[capture.method].can
    if can.refund and not can.partial_refund and amount != capture.amount:
        says = f"This way of paying gives back only the whole payment, {capture.amount}."
        raise NotRefundable("whole_only", says, capture.amount)


def _give_back(changes: Changes, order: Order, captures: Sequence[tuple[Capture, str]], asked: Proposal) -> None:
    """What was not delivered is owed to the payer. What was delivered is earned: its refund is a cost of its own."""
    if order.delivery in ("ready", "parked"):
        fail(changes, order.id, captures, f"given back: {asked.why}")
        return
    source = f"cost:goodwill/{asked.amount.currency}"
    if order.partner:
        total = order.refunded_minor + asked.amount.minor
        back_to_float(changes, order, f"goodwill.{asked.n}", asked.amount.minor, source)
        payment = "refunded" if total == order.captured_minor else "captured"
        changes.move(order.id, "goodwill", asked.n, payment=payment, refunded_minor=total, detail=asked.why)
        return
    if order.supplier == WALLET:  # the credit is money itself: it comes out of the wallet again, or is refused
        wallet, source = wallet_account(order.payer, asked.amount.currency), owner_account(order)
        changes.entries.append(ledger.Entry.of(f"{order.id}.goodwill.{asked.n}", (wallet, source, asked.amount.minor)))
    changes.keep_refund(refund_to_source(changes, order, payer_capture(captures), asked.amount, source, "goodwill"))
    changes.move(order.id, "goodwill", asked.n, payment="refund_pending", detail=asked.why)
