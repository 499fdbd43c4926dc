"""Scratch cards for a number or a wallet: what the card is worth is what it gives, paid and given in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from refill import cards, ledger, numbers, vouchers
from refill.cards import Subscriber
from refill.db import Tx
from refill.errors import CannotHappen, NotForSale, RefillError
from refill.ids import cell_of_id
from refill.numbers import Msisdn
from refill.operators import home
from refill.payments import Capture
from refill.topup import guard, store
from refill.topup.birth import bear
from refill.topup.exchange import frozen
from refill.topup.limits import wish_of
from refill.topup.order import Ask, Order, Payment, payment_reference
from refill.topup.pay import keep_captures
from refill.topup.place import quote_for
from refill.topup.purses import OURSELVES, VOUCHER, WALLET, purse, wallet_account
from refill.topup.states import owner_account
from refill.topup.store import Changes
from refill.topup.trade import Trade
from refill.topup.wallet import wallet_order
from refill.vouchers import Pin, Tries, Voucher


@dataclass(frozen=True, slots=True)
class Redemption:
    """A PIN that somebody typed for a number, or for their own wallet.

    msisdn, number: the number and its keyed index; for the payer's wallet None and `flow.wallet_number`.
    id: made by the caller with `flow.new_order_id`, so that a rerun after a lost commit finds its own order.
    by: all that names who types (session, address, account), for the lock-out; nothing: a caller whom we trust.
    """

    id: str
    pin: Pin
    msisdn: Msisdn | None
    number: str
    payer: str
    channel: str
    operator: str | None = None  # the person's choice; None: our own network, outcomes, then the prefix
    by: tuple[str, ...] = ()


@dataclass(slots=True)
class _Line:
    """One redemption on its way through the batch."""

    ask: Redemption
    voucher: Voucher | None = None
    subscriber: Subscriber | None = None
    operator: str | None = None
    first: str | None = None  # the order that this voucher was used for before
    answer: Order | RefillError | None = None


async def redeem(trade: Trade, redemptions: Sequence[Redemption]) -> list[Order | RefillError]:
    """Tops numbers and wallets up with vouchers, as if one by one: the price is the voucher's value, and so is the face.

    The voucher is used up, the order paid, and in a wallet or on our own network delivered, in one transaction; elsewhere
    the order is ready to be sent. A PIN again for the same number or wallet is answered with the same order. Refused, each
    a row's own answer that leaves the voucher as it was: WrongPin, VoucherUsed, VoucherNotValid, TooManyTries, NotForSale,
    CannotHappen. Raises Busy.
    """

    async def work(tx: Tx) -> list[Order | RefillError]:
        now = trade.world.db_now()
        tries = await vouchers.enter(tx, trade.vault, [name for ask in redemptions for name in ask.by], now)
        lines = [_Line(ask) for ask in redemptions]
        await _look(tx, trade, lines, now)
        _decide(trade, lines, tries, now)
        await _screen(tx, trade, lines, tries, now)
        await _give(tx, trade, [line for line in lines if isinstance(line.answer, Order)], now)
        await _repeat(tx, lines)
        await tries.save(tx, now)
        return [_answered(line) for line in lines]

    return await trade.db.transaction(work)


async def _look(tx: Tx, trade: Trade, lines: Sequence[_Line], now: datetime) -> None:
    """Takes hold of the vouchers and finds whose credit each number takes."""
    held = await vouchers.hold(tx, trade.vault, [line.ask.pin for line in lines])
    called = [line.ask for line in lines if line.ask.msisdn is not None]
    subscribers = await cards.by_numbers(tx, [ask.number for ask in called])
    strangers = [ask for ask in called if ask.number not in subscribers and not ask.operator]
    hints = {ask.number: numbers.hint(ask.msisdn.digits) for ask in strangers if ask.msisdn}
    believed = await numbers.believed(tx, hints, now)
    for line in lines:
        ask = line.ask
        line.voucher = held.get(ask.pin)
        line.subscriber = subscribers.get(ask.number)
        if line.subscriber is not None:
            line.operator = line.subscriber.network
        elif ask.msisdn is not None:
            line.operator = ask.operator or believed[ask.number].operator


def _decide(trade: Trade, lines: Sequence[_Line], tries: Tries, now: datetime) -> None:
    """Each row's order, refusal or former order; a voucher that a row before it takes is used for the rows behind."""
    taken: dict[Pin, str] = {}
    for line in lines:
        ask = line.ask
        if until := tries.locked_until(ask.by, now):
            line.answer = vouchers.TooManyTries(until)
            continue
        line.first = taken.get(ask.pin) or (line.voucher.spent_on if line.voucher else None)
        if line.first:
            continue
        if (refusal := vouchers.refusal(line.voucher, now)) is not None:
            line.answer = refusal
            if line.voucher is None:
                tries.wrong(ask.by, now)
            continue
        assert line.voucher is not None
        try:
            line.answer = _order(trade, line, line.voucher, now)
        except RefillError as no:
            line.answer = no
        else:
            taken[ask.pin] = ask.id


def _order(trade: Trade, line: _Line, voucher: Voucher, now: datetime) -> Order:
    """The order that this voucher pays. Raises NotForSale (the card is good, but not for this number), CannotHappen."""
    ask = line.ask
    if ask.payer.startswith("partner:"):
        raise CannotHappen("A partner pays out of its float; a scratch card is for a person.")
    value = voucher.value
    if ask.msisdn is None:
        filling = wallet_order(ask.id, ask.payer, ask.number, value, ask.channel, now)
        return filling.but(
            payment="captured",
            delivery="delivered",
            final_at=now,
            captured_minor=value.minor,
            delivered_minor=value.minor,
        )
    if line.operator is None:
        raise NotForSale("We cannot tell the operator of this number; name it in `operator`.")
    # A card of 50 is 50 on the phone: no discount, for it was given when the card was sold.
    wish = Ask(ask.id, ask.payer, ask.channel, ask.msisdn, ask.number, value, commission_bp=0)
    quote = quote_for(trade, wish, line.operator, line.subscriber, now)
    at_home = quote.supplier == home.NAME
    order = Order(
        ask.id,
        cell_of_id(ask.id),
        ask.payer,
        ask.channel,
        ask.number,
        quote.operator,
        quote.product,
        quote.supplier,
        quote.face,
        quote.price,
        quote.cost.minor if quote.cost else None,
        quote.days,
        quote.policy,
        None,
        "captured",
        "delivered" if at_home else "ready",
        now,
        deadline=None if at_home else now + trade.rules.delivery_deadline,
        final_at=now if at_home else None,
        wake_at=None if at_home else now + trade.rules.cooling,
        captured_minor=quote.price.minor,
        delivered_minor=quote.face.minor if at_home else 0,
    )
    return order if quote.rate is None else frozen(order, quote.rate)


async def _screen(tx: Tx, trade: Trade, lines: Sequence[_Line], tries: Tries, now: datetime) -> None:
    """Refuses what lists and limits refuse; the card stays as it was."""
    if not trade.guard.watches:
        return
    orders = [line.answer for line in lines if isinstance(line.answer, Order) and line.ask.msisdn is not None]
    screened = await guard.screen(tx, trade, list(map(wish_of, orders)), now)
    for line in lines:
        if isinstance(line.answer, Order) and line.answer.id in screened.counted:
            line.answer = line.answer.but(limited=True)
        line.answer = screened.refused.get(line.ask.id) or line.answer
    # Who came behind with a card that is free again is decided anew.
    if behind := [line for line in lines if line.first in screened.refused]:
        _decide(trade, behind, tries, now)
        await _screen(tx, trade, behind, tries, now)


async def _give(tx: Tx, trade: Trade, lines: Sequence[_Line], now: datetime) -> None:
    """Uses the vouchers up, posts, credits our own subscribers and writes the orders."""
    if not lines:
        return
    changes = Changes(now, trade.rules)
    captures: list[tuple[Capture, str]] = []
    at_home: list[tuple[Order, Subscriber]] = []
    for line in lines:
        assert isinstance(line.answer, Order) and line.voucher is not None
        order = line.answer
        changes.entries += _entries(order, line.subscriber)
        payment = _payment(order, now)
        changes.payments[payment.reference] = payment
        capture = Capture(VOUCHER, OURSELVES, line.voucher.serial, payment.reference, order.price, now)
        captures.append((capture, "order"))
        if order.delivery == "ready":
            changes.events.append((order.id, "paid", 0, ""))
        elif line.subscriber is not None:
            at_home.append((order, line.subscriber))
    await vouchers.spend(tx, [(line.voucher, line.ask.id) for line in lines if line.voucher], now)
    credits = [home.HomeCredit(subscriber, order.days, order.policy) for order, subscriber in at_home]
    ends = await home.extend(tx, credits, now)
    valid_until = {order.id: end for (order, _), end in zip(at_home, ends, strict=True)}
    strangers = [line.ask.msisdn for line in lines if line.ask.msisdn and line.subscriber is None]
    await numbers.remember(tx, trade.vault, strangers, now)
    for line in lines:
        assert isinstance(line.answer, Order)
        line.answer = line.answer.but(valid_until=valid_until.get(line.answer.id))
    orders = [line.answer for line in lines if isinstance(line.answer, Order)]
    await bear(tx, "sold", [order for order in orders if order.delivery == "delivered"], now)
    await bear(tx, "placed", [order for order in orders if order.delivery == "ready"], now)
    await keep_captures(tx, captures, now)
    await changes.save(tx)


def _entries(order: Order, subscriber: Subscriber | None) -> list[ledger.Entry]:
    owed = owner_account(order)
    source = purse(VOUCHER, order.payer, order.price.currency)
    entries = [ledger.Entry.of(f"{order.id}.paid", (source, owed, order.price.minor))]
    if order.supplier == WALLET:
        filled = wallet_account(order.payer, order.price.currency)
        entries.append(ledger.Entry.of(f"{order.id}.sold", (owed, filled, order.price.minor)))
    elif subscriber is not None:
        entries.append(
            home.sold(f"{order.id}.sold", owed, order.price.minor, "discount:retail", subscriber, order.face)
        )
    return entries


def _payment(order: Order, now: datetime) -> Payment:
    reference = payment_reference(order.id, 1)
    return Payment(order.id, 1, VOUCHER, "inside", reference, order.price, "captured", now, now)


async def _repeat(tx: Tx, lines: Sequence[_Line]) -> None:
    """A voucher that was used for the same number answers with that order; for another it is used."""
    here = {line.ask.id: line.answer for line in lines if isinstance(line.answer, Order)}
    repeats = [line for line in lines if line.answer is None]
    elsewhere = sorted({line.first for line in repeats if line.first and line.first not in here})
    found = {order.id: order for order in await store.find_in(tx, elsewhere) if order} | here
    for line in repeats:
        order = found.get(line.first or "")
        if order is not None and order.number == line.ask.number:
            line.answer = order.but(replayed=order.id != line.ask.id or order.id in here)
        else:
            line.answer = vouchers.VoucherUsed("This voucher was used before.")


def _answered(line: _Line) -> Order | RefillError:
    assert line.answer is not None
    return line.answer
