"""Inviting: where a person pays an order, and what becomes of the code that a till reads off their telephone."""

import re
from dataclasses import replace
from datetime import datetime

from refill.db import Tx
from refill.errors import BadInput, Busy, CannotHappen, NotFound
from refill.outcome import Done, Refused, Unknown
from refill.payments import ABSENT, ALREADY_PAID, Charge, Invitation
from refill.topup import states, store
from refill.topup.order import Payment, payment_reference
from refill.topup.pay import close, poll_payment
from refill.topup.states import after
from refill.topup.store import Changes
from refill.topup.trade import Trade

TILL = "barcode"  # the scene of a charge that is paid by being asked for
PAYMENT_CODE = re.compile(r"[0-9]{16,24}")


async def invite(
    trade: Trade,
    order_id: str,
    method: str,
    *,
    scene: str = "page",
    return_url: str = "",
    payer_ip: str = "",
    openid: str = "",
    auth_code: str = "",
) -> Invitation:
    """Where a person pays this order. The payment attempt is kept before the gateway hears of it.

    payer_ip, openid: of the person's browser, for the scenes of a charge that ask for them. auth_code: what a till read
    off the person's telephone, for the scene "barcode"; it is passed on and kept nowhere. Then money may move at once:
    `paid`, or `wait` while the person confirms or nobody knows; `poll` tells. However often a till reads a code, only
    one of its charges can be paid.

    Raises CannotHappen (paid or lapsed already, refused, or a method that is paid inside), NotFound, BadInput (no
    payment code), Busy (the gateway does not answer; ask again).
    """
    if method not in trade.methods:
        raise NotFound("There is no such way to pay.")
    can = trade.methods[method].can
    if can.inside:
        raise CannotHappen("This way of paying leads nowhere else: it is paid here, at once.")
    if scene == TILL:
        if not can.barcode:
            raise CannotHappen("This way of paying has no codes for a till.")
        if not PAYMENT_CODE.fullmatch(auth_code):
            raise BadInput("That is not a payment code; it has 16 to 24 digits.")
        if read_before := await _read_before(trade, order_id, method):
            return read_before

    async def work(tx: Tx) -> Payment:
        now = trade.world.db_now()
        changes = Changes(now, trade.rules)
        changes.watch(await store.lock(tx, [order_id]))
        payment = open_payment(trade, changes, order_id, method, scene, now)
        changes.keep_payment(payment)
        await changes.save(tx)
        return payment

    payment = await trade.db.transaction(work)
    charge = replace(_charge(trade, payment, return_url), payer_ip=payer_ip, openid=openid, auth_code=auth_code)
    match await trade.methods[method].begin(trade.world, charge):
        case Done(invitation) if invitation.kind == "paid":
            await poll_payment(trade, payment)
            return invitation
        case Done(invitation):
            return invitation
        case Refused(reason) if reason == ALREADY_PAID:
            await poll_payment(trade, payment)
            return Invitation("paid")
        case Refused(reason) as no if no.final:
            raise CannotHappen(f"The payment firm refuses: {reason}. Choose another way to pay.")
        case Unknown() if scene == TILL:
            return Invitation("wait")  # perhaps the person has paid: only the polls, or closing it, tell
        case _:  # not sent, or not answered
            raise Busy("The payment firm does not answer. Nothing was charged; try again in a moment.")


async def _read_before(trade: Trade, order_id: str, method: str) -> Invitation | None:
    """What a code read before came to: `paid`, or `wait` while nobody knows; None when another may be charged.

    That one is closed first. One that the gateway does not know is charged again under the same reference, so that the
    two are one payment there, even if the first request is still on its way.
    """
    dossier = await store.dossier(trade, order_id)
    for payment in dossier.payments:
        if (payment.method, payment.scene, payment.state) != (method, TILL, "open"):
            continue
        match await close(trade, payment):
            case Done():
                pass
            case Refused(reason) if reason == ABSENT:
                pass
            case Refused(reason) if reason == ALREADY_PAID:
                return Invitation("paid")
            case _:
                return Invitation("wait")
    return None


def open_payment(trade: Trade, changes: Changes, order_id: str, method: str, scene: str, now: datetime) -> Payment:
    """The payment of a locked order by this method and scene, new or open already. Raises NotFound, CannotHappen."""
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
