"""Paying on our own page: a voucher's PIN or the payer's wallet, captured in the transaction that takes them."""

from collections.abc import Sequence

from refill import cards, ledger, vouchers
from refill.db import Tx
from refill.errors import CannotHappen, NotForSale, NotFound, RefillError
from refill.operators import home
from refill.payments import Capture
from refill.topup import store
from refill.topup.invite import open_payment
from refill.topup.order import Dossier, Order
from refill.topup.pay import credit_home, keep_captures, take
from refill.topup.purses import OURSELVES, VOUCHER, WALLET, purse, wallet_account
from refill.topup.store import Changes
from refill.topup.trade import Trade
from refill.vouchers import Pin, Voucher


class VoucherDoesNotFit(CannotHappen):
    """This voucher is worth less than the price, or more and nobody said where the rest goes."""

    code = "voucher_does_not_fit"


async def pay_inside(
    trade: Trade,
    order_id: str,
    method: str,
    secret: str = "",
    *,
    by: Sequence[str] = (),
    change_to_wallet: bool = False,
) -> Order:
    """Pays an order by a method that `can.inside`; asking again, also after a lost answer, returns the paid order.

    voucher: `secret` is the PIN as it was typed, and `by` all that names who typed it (session, address, account). One
    voucher pays the whole price. One that is worth more is taken only with `change_to_wallet`: the payer was told that
    the rest goes to their wallet. wallet: debits the wallet of the order's payer; the door knows that it speaks with them.

    Raises NotFound, CannotHappen (paid or lapsed; VoucherDoesNotFit), NotForSale, NotAPin, WrongPin, VoucherUsed,
    VoucherNotValid, TooManyTries, NotEnough, Busy; whatever it raises, nothing was taken.
    """
    if method not in trade.methods or not trade.methods[method].can.inside:
        raise NotFound("There is no such way to pay.")
    pin = vouchers.pin(secret) if method == VOUCHER else None

    async def work(tx: Tx) -> Order | RefillError:
        if pin is None:
            return await _by_wallet(tx, trade, order_id)
        return await _by_voucher(tx, trade, order_id, pin, by, change_to_wallet)

    # A wrong PIN is an answer and no error as long as the transaction is open: it is to be counted.
    answer = await trade.db.transaction(work)
    if isinstance(answer, RefillError):
        raise answer
    return answer


async def _by_wallet(tx: Tx, trade: Trade, order_id: str) -> Order:
    changes, dossier = await _locked(tx, trade, order_id)
    if any(payment.method == WALLET and payment.state == "captured" for payment in dossier.payments):
        return dossier.order
    if dossier.order.supplier == WALLET:
        raise CannotHappen("A wallet is not filled out of itself; choose another way to pay.")
    return await _capture(tx, trade, changes, dossier.order, WALLET)


async def _by_voucher(
    tx: Tx, trade: Trade, order_id: str, pin: Pin, by: Sequence[str], change_to_wallet: bool
) -> Order | RefillError:
    now = trade.world.db_now()
    tries = await vouchers.enter(tx, trade.vault, by, now)
    if until := tries.locked_until(by, now):
        return vouchers.TooManyTries(until)
    changes, dossier = await _locked(tx, trade, order_id)
    voucher = (await vouchers.hold(tx, trade.vault, [pin])).get(pin)
    if voucher is not None and voucher.spent_on == order_id:
        return dossier.order
    if (refusal := vouchers.refusal(voucher, now)) is not None:
        if voucher is None:
            tries.wrong(by, now)
            await tries.save(tx, now)
        return refusal
    assert voucher is not None
    order = dossier.order
    _fits(voucher, order, change_to_wallet)
    change = voucher.value.minor - order.price.minor
    currency = order.price.currency
    legs = (purse(VOUCHER, order.payer, currency), wallet_account(order.payer, currency), change)
    if change:
        changes.entries.append(ledger.Entry.of(f"{order.id}.change", legs))
    paid = await _capture(tx, trade, changes, order, VOUCHER, voucher.serial)
    await vouchers.spend(tx, [(voucher, order.id)], now)
    return paid


def _fits(voucher: Voucher, order: Order, change_to_wallet: bool) -> None:
    """Raises VoucherDoesNotFit."""
    if voucher.value.currency != order.price.currency or voucher.value < order.price:
        raise VoucherDoesNotFit(f"This voucher is worth {voucher.value}; it does not pay {order.price}.")
    if order.price < voucher.value and not change_to_wallet:
        rest = voucher.value - order.price
        raise VoucherDoesNotFit(
            f"This voucher is worth {voucher.value}, {rest} more than the price; the rest can go to your wallet."
        )


async def _locked(tx: Tx, trade: Trade, order_id: str) -> tuple[Changes, Dossier]:
    changes = Changes(trade.world.db_now(), trade.rules)
    changes.watch(await store.lock(tx, [order_id]))
    if order_id not in changes.dossiers:
        raise NotFound("There is no order with that id.")
    return changes, changes.dossiers[order_id]


async def _capture(tx: Tx, trade: Trade, changes: Changes, order: Order, method: str, transaction: str = "") -> Order:
    """Opens and captures a payment of the whole price in one step; `transaction` names it for ever."""
    now = changes.now
    payment = open_payment(trade, changes, order.id, method, "inside", now)
    changes.keep_payment(payment)
    subscribers = await cards.by_numbers(tx, [order.number] if order.supplier == home.NAME else [])
    if order.supplier == home.NAME:
        subscriber = subscribers.get(order.number)
        if subscriber is None or subscriber.state not in home.SERVED:
            raise NotForSale("This number left our network meanwhile; nothing was taken.")
    capture = Capture(method, OURSELVES, transaction or payment.reference, payment.reference, order.price, now)
    fate, credits = take(trade, changes, capture, subscribers)
    await keep_captures(tx, [(capture, fate)], now)
    await credit_home(tx, changes, credits)
    await changes.save(tx)
    return changes.dossiers[order.id].order
