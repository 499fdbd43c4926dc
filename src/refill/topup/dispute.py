"""A payer's bank takes money back: the order stands still, staff show what was delivered, and the bank decides."""

from dataclasses import dataclass, replace

from refill import cases, ledger
from refill.cases import Case
from refill.db import Tx
from refill.money import Money, share
from refill.payments import Capture, Dispute
from refill.topup import sql, store
from refill.topup.order import Chargeback, Order, Refund
from refill.topup.refund import ask_anew, refund_to_source
from refill.topup.states import owner_account
from refill.topup.store import Changes
from refill.topup.trade import Trade


async def dispute(trade: Trade, method: str, said: Dispute) -> bool:
    """A payment firm says that a payer's bank disputes one of its transactions, or how the bank decided.

    Opened: the money leaves clearing, and an order that was not sent yet is not sent. Won: it comes back, and the order
    goes on. Lost: it settles what we still owed the payer; what we did not owe any more is our loss. Nothing moves twice
    when it is said twice, late or out of order. Answers False for a transaction that we do not know.
    """

    async def work(tx: Tx) -> bool:
        rows = await tx.rows(sql.ORDER_OF_TRANSACTION, transaction=said.transaction, method=method)
        if len(rows) != 1:
            return False
        (order_id,) = rows[0]
        changes = Changes(trade.world.db_now(), trade.rules)
        changes.watch(await store.lock(tx, [order_id]))
        capture, fate = next(
            (capture, fate)
            for _, capture, fate in await store.captures_of(tx, [order_id])
            if (capture.method, capture.transaction) == (method, said.transaction)
        )
        await _hear(tx, _Hearing(changes, order_id, capture, fate == "order"), said)
        await changes.save(tx)
        return True

    return await trade.db.transaction(work)


@dataclass(frozen=True, slots=True)
class _Hearing:
    """A disputed payment under the lock of its order; `paid_order` False: it paid for nothing and goes back anyway."""

    changes: Changes
    order_id: str
    capture: Capture
    paid_order: bool

    @property
    def order(self) -> Order:
        return self.changes.dossiers[self.order_id].order

    @property
    def stands_still(self) -> bool:
        """Does the whole order wait for the bank?"""
        return self.paid_order and self.order.payment == "disputed"

    def refunds(self, *states: str) -> list[Refund]:
        """The refunds of this payment that are in one of these states."""
        all_ = self.changes.dossiers[self.order_id].refunds
        return [r for r in all_ if r.state in states and r.transaction == self.capture.transaction]

    def post(self, row: Chargeback, step: str, *legs: tuple[str, str, int]) -> None:
        self.changes.entries.append(ledger.Entry.of(f"{self.order_id}.{step}.{row.n}", *legs))

    def give_back(self, minor: int, source: str, why: str) -> None:
        amount = Money(minor, self.capture.amount.currency)
        self.changes.keep_refund(refund_to_source(self.changes, self.order, self.capture, amount, source, why))


async def _hear(tx: Tx, hearing: _Hearing, said: Dispute) -> None:
    if said.amount.currency != hearing.capture.amount.currency:
        says = f"A payer's bank disputes {said.amount}, but another currency was paid: settle it with the payment firm."
        hearing.changes.troubles.append(Case("difference", hearing.order_id, says, said.amount))
        return
    known = await store.disputes_of(tx, hearing.order_id)
    row = next((each for each in known if each.transaction == said.transaction), None)
    if row is None:  # the word how it ended may overtake the word that it began
        row = _opened(hearing, said, len(known) + 1)
        await store.save_dispute(tx, row)
    if said.state in ("opened", row.state):
        return
    if row.state != "opened":
        says = f"A payer's bank decided once more, and otherwise: first {row.state}, now {said.state}."
        hearing.changes.troubles.append(Case("disputed", hearing.order_id, says, row.amount))
        return
    if not any(each.state == "opened" and each.n != row.n for each in known):
        await cases.close(tx, [f"disputed:{hearing.order_id}"], said.state, hearing.changes.now)
    if said.state == "won" and _ask_again(hearing):
        await cases.close(tx, [f"refund_refused:{hearing.order_id}"], "asked again", hearing.changes.now)
    decided = replace(row, state=said.state, decided_at=hearing.changes.now)
    await store.save_dispute(tx, _won(hearing, decided) if said.state == "won" else _lost(hearing, decided))


def _opened(hearing: _Hearing, said: Dispute, n: int) -> Chargeback:
    capture, changes = hearing.capture, hearing.changes
    row = Chargeback(
        hearing.order_id,
        n,
        capture.method,
        capture.merchant,
        capture.transaction,
        said.amount,
        said.reason,
        "opened",
        changes.now,
        said.evidence_by,
    )
    hearing.post(row, "disputed", (_disputes(row), _clearing(row), row.amount.minor))
    if said.state == "opened":
        says = "A payer's bank disputes this payment: send what proves the delivery, or let it go."
        changes.troubles.append(Case("disputed", row.order_id, says, row.amount, said.evidence_by))
    if hearing.paid_order and hearing.order.payment == "captured":
        changes.move(row.order_id, "disputed", n, payment="disputed", detail=said.reason)
    else:
        changes.remark(row.order_id, "dispute_noted", n, said.reason)
    return row


def _won(hearing: _Hearing, row: Chargeback) -> Chargeback:
    """The money is ours again, and the order goes on where it stood; what was not delivered meanwhile goes back."""
    hearing.post(row, "dispute_won", (_clearing(row), _disputes(row), row.amount.minor))
    order = hearing.order
    if not hearing.stands_still:
        hearing.changes.remark(order.id, "dispute_ended", row.n, "won")
        return row
    left = _waiting(order) if order.delivery in ("partial", "failed") else 0
    if left:
        hearing.give_back(left, owner_account(order), _why(order))
    hearing.changes.move(order.id, "dispute_won", row.n, payment="refund_pending" if left else "captured")
    return row


def _ask_again(hearing: _Hearing) -> bool:
    """Refunds that the firm refused while the bank held the money are due again; were there any?"""
    stuck = hearing.refunds("stuck")
    for refund in stuck:
        ask_anew(hearing.changes, refund)
    return bool(stuck)


def _lost(hearing: _Hearing, row: Chargeback) -> Chargeback:
    """The payer has the money from the bank, which settles what still waited with us; the rest of it is gone."""
    counted = min(row.amount.minor, _may_go_back(hearing)) if hearing.paid_order else 0
    unpaid, legs = row.amount.minor, []
    for pot in _pots(hearing):
        taken = min(pot.minor, unpaid)
        unpaid -= taken
        legs.append((pot.account, _disputes(row), taken))
        if pot.minor > taken and pot.goes_back:
            hearing.give_back(pot.minor - taken, pot.account, pot.why)
    hearing.post(row, "dispute_lost", *legs, (f"loss:chargeback/{row.amount.currency}", _disputes(row), unpaid))
    says = "A payer's bank took this payment back for good: write it off, or recover it from the payer."
    hearing.changes.troubles.append(Case("dispute_lost", row.order_id, says, row.amount))
    if counted:
        _move_lost(hearing, row, counted)
    else:
        hearing.changes.remark(row.order_id, "dispute_ended", row.n, "lost")
    return replace(row, counted_minor=counted)


def _move_lost(hearing: _Hearing, row: Chargeback, counted: int) -> None:
    """The bank's refund is a refund like ours: what was not delivered fails, what may still land is asked about."""
    order = hearing.order
    total = order.refunded_minor + counted
    if hearing.refunds("due", "sent"):
        payment = "refund_pending"
    else:
        payment = "refunded" if total == order.captured_minor else "captured"
    delivery, reason = order.delivery, order.reason
    if delivery in ("ready", "parked"):
        delivery, reason = "failed", "the payer's bank took the payment back"
    elif delivery == "dispatching":
        delivery = "unknown"
    hearing.changes.move(
        order.id, "dispute_lost", row.n, payment=payment, delivery=delivery, refunded_minor=total, reason=reason
    )


@dataclass(frozen=True, slots=True)
class _Pot:
    """Money that waits with us for this payer; `goes_back`: what the bank left in it is refunded now."""

    account: str
    minor: int
    why: str
    goes_back: bool = True


def _pots(hearing: _Hearing) -> list[_Pot]:
    """What waits in an order that stands still; else refunds that are surely not on their way, which end here."""
    order, changes = hearing.order, hearing.changes
    if hearing.stands_still:
        at_rest = order.delivery not in ("dispatching", "unknown")
        return [_Pot(owner_account(order), _waiting(order), _why(order), at_rest)]
    pots = []
    for refund in hearing.refunds("due", "stuck"):
        changes.keep_refund(replace(refund, state="cancelled", ask_at=None))
        changes.remark(order.id, "refund_cancelled", refund.n, "the payer's bank paid it")
        pots.append(_Pot(refund.source, refund.amount.minor, refund.why))
    return pots


def _may_go_back(hearing: _Hearing) -> int:
    """What of the payment neither went back nor may be on its way."""
    leaving = sum(refund.amount.minor for refund in hearing.refunds("sent"))
    return hearing.order.captured_minor - hearing.order.refunded_minor - leaving


def _waiting(order: Order) -> int:
    """What of the price is still owed to the payer of an order that stands still."""
    if order.delivery == "delivered":
        return 0
    if order.delivery == "partial":
        earned = share(order.price.minor, order.delivered_minor, order.face.minor)
        return max(0, order.waiting_minor - earned)
    return order.waiting_minor


def _why(order: Order) -> str:
    return "partial" if order.delivery == "partial" else "order"


def _clearing(row: Chargeback) -> str:
    return f"clearing:{row.method}/{row.amount.currency}"


def _disputes(row: Chargeback) -> str:
    return f"disputes:{row.method}/{row.amount.currency}"
