"""PINs as a way to deliver: given in the worker's own transaction, read by who paid, replaced or shown by two people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from refill import cases, ledger, stock
from refill.cases import Case
from refill.db import Tx
from refill.errors import CannotHappen, NotForSale, NotFound
from refill.money import Money, amount
from refill.operators import Recharge, pins
from refill.outcome import Done
from refill.stock import Arrival, Batch, Given, Goods, TopUpPin, Wanted, Wish
from refill.topup import sql, store
from refill.topup.order import Attempt
from refill.topup.send import Answered
from refill.topup.settle import settle_in
from refill.topup.store import Changes
from refill.topup.trade import Trade

# ------------------------------------------------------------------ given


async def give(trade: Trade, tx: Tx, asked: Sequence[tuple[Attempt, Recharge]]) -> None:
    """What attempts want of our own stock is given, and their orders delivered, in the transaction that prepared them.

    Where there is none, the attempt is refused like one at a supplier whose float is empty.
    """
    if not asked:
        return
    now = trade.world.db_now()
    outcomes = await pins.take(tx, [(attempt.order_id, ask) for attempt, ask in asked], now)
    answers = [Answered(attempt, outcome) for (attempt, _), outcome in zip(asked, outcomes, strict=True)]
    await settle_in(tx, trade, answers)
    gone = {ask.product for (_, ask), outcome in zip(asked, outcomes, strict=True) if not isinstance(outcome, Done)}
    says = "No PIN of {} is left, and paid orders wait for one: buy and import more."
    troubles = [Case("low_stock", product, says.format(product)) for product in sorted(gone)]
    low = await stock.alarms(tx, [ask.product for _, ask in asked], now)
    await cases.raise_cases(tx, [*low, *troubles], now)


# ------------------------------------------------------------------ bought


def sold_by_pin(trade: Trade) -> dict[str, tuple[str, Money]]:
    """The products that our own stock supplies, each with its operator and face value."""
    catalogue, now, sold = trade.shelf.catalogue, trade.world.db_now(), {}
    for operator in catalogue.operators():
        for offer in catalogue.offers(operator.id):
            try:
                routes = catalogue.routes(operator.id, offer.product, offer.face, at=now)
            except NotForSale:  # nobody supplies it at present
                continue
            if offer.face == offer.most and any(route.supplier == pins.NAME for route in routes):
                sold[offer.product] = (operator.id, offer.face)
    return sold


async def receive_stock(
    trade: Trade, file: bytes, product: str, cost: str, *, purse: str, who: str, why: str
) -> Arrival:
    """Imports a file of PINs of a product, of which each cost us `cost` ("49.20"); another person confirms it.

    Raises NotForSale for a product that our stock does not supply, NotAnAmount, and what `stock.receive` raises.
    """
    sold = sold_by_pin(trade)
    if product not in sold:
        raise NotForSale("Our stock supplies no such product; give it the supplier `pins` in the catalogue first.")
    operator, face = sold[product]
    goods = Goods(operator, product, face, amount(cost, face.currency))
    return await stock.receive(trade.db, trade.world, trade.vault, file, goods, purse=purse, who=who, why=why)


async def confirm_stock(trade: Trade, code: str, who: str) -> Batch:
    """Puts a batch of PINs into stock, and wakes the orders that wait for them. Raises what `stock.confirm` raises."""
    batch = await trade.db.transaction(lambda tx: stock.confirm(tx, trade.world, code, who))
    # Apart, for orders are locked before accounts; without it they would wake by their own timers.
    now = trade.world.db_now()
    await trade.db.transaction(lambda tx: tx.run(sql.WAKE, product=batch.goods.product, now=now))
    return batch


# ------------------------------------------------------------------ read


async def pins_for_payer(trade: Trade, order_id: str, reader: str) -> list[tuple[Given, TopUpPin]]:
    """The good PIN of an order, if it got one, for who paid; `reader` is payer or partner. The first reading is kept.

    The door knows that it speaks with the payer.
    """
    now = trade.world.db_now()
    return await trade.db.transaction(lambda tx: stock.read(tx, trade.vault, order_id, reader, now))


@dataclass(frozen=True, slots=True)
class PinStory:
    """What staff see of an order's PINs: everything but the PINs."""

    given: list[Given]
    wishes: list[Wish]
    readings: list[tuple[str, str, datetime]]  # request, reader, when for the first time


async def pin_story(trade: Trade, order_id: str) -> PinStory:
    """An order's PINs for staff, sealed."""

    async def work(tx: Tx) -> PinStory:
        return PinStory(
            await stock.of_order(tx, order_id),
            await stock.wishes_of(tx, order_id),
            await stock.readings(tx, order_id),
        )

    return await trade.db.transaction(work)


async def show_pin(trade: Trade, order_id: str, n: int, who: str) -> tuple[Given, TopUpPin]:
    """Shows a PIN to the member of staff who asked for it, once, after another agreed; the reading is kept.

    Raises NotFound, NotAllowed, CannotHappen.
    """
    now = trade.world.db_now()
    used = False

    async def work(tx: Tx) -> tuple[Given, TopUpPin]:
        nonlocal used
        wish = await stock.held(tx, order_id, n)
        if not (used and wish.state == "read"):  # else this is a rerun, after a commit whose answer was lost
            await stock.shown(tx, wish, who)
        used = True
        for given, pin in await stock.read(tx, trade.vault, order_id, who, now):
            if given.request_id == wish.request_id:
                return given, pin
        raise CannotHappen("This PIN was replaced meanwhile.")

    return await trade.db.transaction(work)


# ------------------------------------------------------------------ replaced


async def ask_about_pin(trade: Trade, order_id: str, kind: stock.Kind, why: str, who: str) -> Wish:
    """Asks that the PIN of an order be replaced because it does not work, or be shown; another person decides.

    Raises NotFound (no such order, or no good PIN), BadInput, CannotHappen.
    """
    now = trade.world.db_now()

    async def work(tx: Tx) -> Wish:
        await store.lock(tx, [order_id])
        good = [given for given in await stock.of_order(tx, order_id) if given.state == "given"]
        if not good:
            raise NotFound("This order has no PIN.")
        return await stock.ask(tx, order_id, kind, good[-1].request_id, why=why, who=who, now=now)

    return await trade.db.transaction(work)


async def decide_about_pin(trade: Trade, order_id: str, n: int, who: str, *, agree: bool) -> None:
    """Another person agrees, or does not. A PIN that is replaced is given up, and another taken, in this transaction.

    Raises NotFound, BadInput, NotAllowed (the same person), CannotHappen (decided before; none left to give instead).
    """

    async def work(tx: Tx) -> None:
        changes = Changes(trade.world.db_now(), trade.rules)
        changes.watch(await store.lock(tx, [order_id]))
        wish = await stock.held(tx, order_id, n)
        if agree and wish.state == "confirmed" and wish.decided_by == who.strip():
            return  # the button pressed twice, or a commit whose answer was lost
        await stock.decide(tx, wish, who, changes.now, agree=agree)
        if agree and wish.kind == "replace":
            await _replace(tx, changes, wish)
            await changes.save(tx)

    await trade.db.transaction(work)


async def _replace(tx: Tx, changes: Changes, wish: Wish) -> None:
    order = changes.dossiers[wish.order_id].order
    if not await stock.spoil(tx, order.id, wish.request_id, changes.now):
        raise CannotHappen("This PIN was replaced before.")
    (pin,) = await stock.take(tx, [Wanted(order.id, f"{order.id}x{wish.n}", order.product, order.face)], changes.now)
    if pin is None:
        raise CannotHappen("No PIN is left to be given instead; confirm it again when there is stock.")
    currency = pin.cost.currency
    legs = (f"cost:faulty/{currency}", stock.account(order.operator, currency), pin.cost.minor)
    changes.entries.append(ledger.Entry.of(f"{order.id}.replaced.{wish.n}", legs))
    changes.remark(order.id, "pin_replaced", wish.n, f"by {pin.serial}")
    changes.troubles += await stock.alarms(tx, [order.product], changes.now)
