"""Money on its way back: to a partner's float at once, to a person through the gateway that it came from."""

from collections.abc import Sequence
from dataclasses import replace

from refill import ledger, vouchers
from refill.cases import Case
from refill.db import Tx
from refill.errors import CannotHappen
from refill.money import Money
from refill.outcome import Done, Outcome, Refused
from refill.payments import Capture, RefundAsk
from refill.topup import states, store
from refill.topup.order import Chargeback, Order, Refund, refund_id
from refill.topup.purses import purse
from refill.topup.states import owner_account
from refill.topup.store import Changes
from refill.topup.trade import Trade
from refill.vouchers import Pin

BY_CLAIM_CODE = "CLAIM_CODE"  # how a method says that it can give nothing back by itself (DOMAIN rule 10)


def fail(changes: Changes, order_id: str, captures: Sequence[tuple[Capture, str]], reason: str) -> None:
    """Nothing was delivered and nothing is on its way: the money goes back."""
    order = changes.dossiers[order_id].order
    if order.partner:
        back_to_float(changes, order, "failed", order.price.minor, owner_account(order))
        changes.move(
            order.id, "failed", payment="refunded", delivery="failed", refunded_minor=order.price.minor, reason=reason
        )
        return
    left = Money(order.waiting_minor, order.price.currency)
    changes.keep_refund(refund_to_source(changes, order, payer_capture(captures), left, owner_account(order), "order"))
    changes.move(order.id, "failed", payment="refund_pending", delivery="failed", reason=reason, wake_at=None)


def payer_capture(captures: Sequence[tuple[Capture, str]]) -> Capture:
    """The capture that paid the order."""
    return next(capture for capture, fate in captures if fate == "order")


def refund_to_source(changes: Changes, order: Order, capture: Capture, amount: Money, source: str, why: str) -> Refund:
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


def back_to_float(changes: Changes, order: Order, step: str, minor: int, source: str) -> None:
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
                    _refund_done(changes, standing, await store.disputes_of(tx, refund.order_id))
                case Refused(_, code) if code == BY_CLAIM_CODE:
                    claim = replace(standing, claim_until=changes.now + changes.rules.claim_lasts)
                    _refund_done(changes, claim, await store.disputes_of(tx, refund.order_id))
                    await _issue(tx, trade, claim)
                case Refused(reason, _, final) if final and standing.state == "sent":  # told once, however often asked
                    await _refused(tx, changes, standing, reason)
        await changes.save(tx)

    await trade.db.transaction(work)


async def _refused(tx: Tx, changes: Changes, refund: Refund, reason: str) -> None:
    """The firm will not give this back: because the payer's bank has, or had the money when we asked; else a person is told."""
    for fought in await store.disputes_of(tx, refund.order_id):
        if fought.transaction != refund.transaction or fought.decided_at is None:
            continue
        if fought.state == "lost" and refund.amount <= fought.amount:
            await store.save_dispute(tx, _paid_by_bank(changes, refund, fought))
            return
        if fought.state == "won" and refund.opened_at < fought.decided_at:
            ask_anew(changes, refund)
            return
    changes.keep_refund(replace(refund, state="stuck", ask_at=None))
    changes.remark(refund.order_id, "refund_stuck", refund.n, reason)
    says = f"The payment firm refuses to give the money back: {reason[:80]}."
    changes.troubles.append(Case("refund_refused", refund.order_id, says, refund.amount))


def ask_anew(changes: Changes, refund: Refund) -> None:
    """A refund that was surely refused is asked for once more, as another one: a firm may remember what it answered."""
    changes.keep_refund(replace(refund, state="cancelled", ask_at=None))
    changes.remark(refund.order_id, "refund_cancelled", refund.n, "asked for again")
    n, now = len(changes.dossiers[refund.order_id].refunds) + 1, changes.now
    again = replace(refund, n=n, request_id=refund_id(refund.order_id, n), state="due", asks=0)
    changes.keep_refund(replace(again, opened_at=now, ask_at=now))


def _paid_by_bank(changes: Changes, refund: Refund, lost: Chargeback) -> Chargeback:
    """This refund never left: what lay ready for it covers the loss that was booked when the bank took the whole."""
    order = changes.dossiers[refund.order_id].order
    changes.keep_refund(replace(refund, state="cancelled", ask_at=None))
    changes.remark(order.id, "refund_cancelled", refund.n, "the payer's bank paid it")
    covered = (refund.source, f"loss:chargeback/{refund.amount.currency}", refund.amount.minor)
    changes.entries.append(ledger.Entry.of(f"{order.id}.refund_cancelled.{refund.n}", covered))
    if _is_stray(refund):
        return lost
    _count_back(changes, refund, "captured")
    return replace(lost, counted_minor=lost.counted_minor + refund.amount.minor)


async def _issue(tx: Tx, trade: Trade, claim: Refund) -> None:
    assert claim.claim_until is not None
    await vouchers.issue(
        tx,
        trade.world,
        trade.vault,
        value=claim.amount,
        kind="claim",
        source=claim.request_id,
        expires_at=claim.claim_until,
        code=claim_code(trade, claim).plain,
    )


def claim_code(trade: Trade, refund: Refund) -> Pin:
    """The code that brings a refund's money back at any of our doors; for the payer's eyes only.

    Sixteen digits that only our master key can tell from the refund's name: we keep no more of them than of any PIN.
    Raises CannotHappen for a refund that went back another way.
    """
    if refund.claim_until is None:
        raise CannotHappen("This refund went back where it came from; it has no claim code.")
    told = int(trade.vault.digest("claim", refund.request_id.encode()), 16)
    return Pin(f"{told % 10**vouchers.DIGITS:0{vouchers.DIGITS}d}")


def _refund_done(changes: Changes, refund: Refund, disputes: Sequence[Chargeback]) -> None:
    order = changes.dossiers[refund.order_id].order
    changes.keep_refund(replace(refund, state="done", ask_at=None, done_at=changes.now))
    changes.entries.append(
        ledger.Entry.of(
            f"{order.id}.refund.{refund.n}",
            (refund.source, _goes_to(order, refund), refund.amount.minor),
        )
    )
    if _is_stray(refund):
        changes.remark(order.id, "stray_refunded", refund.n)
        return
    fought = any(each.state == "opened" and each.transaction == refund.transaction for each in disputes)
    _count_back(changes, refund, "disputed" if fought else "captured")


def _is_stray(refund: Refund) -> bool:
    """Does it give back what paid for nothing?"""
    return refund.source.startswith("suspense:") and not refund.source.startswith("suspense:unknown")


def _count_back(changes: Changes, refund: Refund, rest: str) -> None:
    """The payer has this much more of the price; `rest` is how the payment stands while something of it is left."""
    order = changes.dossiers[refund.order_id].order
    total = order.refunded_minor + refund.amount.minor
    payment = rest if total < order.captured_minor else "refunded"
    changes.move(order.id, "refunded", refund.n, payment=payment, refunded_minor=total)


def _goes_to(order: Order, refund: Refund) -> str:
    """To where it came from; or to whoever has the claim code."""
    currency = refund.amount.currency
    if refund.claim_until is not None:
        return vouchers.liability(currency)
    return purse(refund.method, order.payer, currency)
