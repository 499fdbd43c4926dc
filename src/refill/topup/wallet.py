"""The payer's balance with us, filled by an order of its own: paid by any other method, delivered in the same moment."""

from dataclasses import dataclass
from datetime import datetime

from refill import ledger, numbers
from refill.db import Tx
from refill.errors import BadInput, OtherContent
from refill.ids import cell_of, cell_of_id
from refill.money import EXPONENT, Money
from refill.numbers import Msisdn
from refill.topup import sql, store
from refill.topup.birth import bear
from refill.topup.order import Order
from refill.topup.purses import WALLET, wallet_account
from refill.topup.trade import Trade


async def fill_wallet(trade: Trade, payer: str, amount: Money, *, channel: str, key: str | None = None) -> Order:
    """An unpaid order whose delivery is `amount` in the payer's wallet; it lives like every other until it is paid.

    payer: whose wallet it is, and who pays. key: the client's own name for this wish; the same again is the same order.
    Raises BadInput, OtherContent (the key was used for another amount).
    """
    if amount.minor <= 0 or payer.startswith("partner:"):
        raise BadInput("A person fills a wallet, with an amount above zero; a partner has a float.")
    number = wallet_number(trade, payer)
    id_ = trade.world.new_id("tu", cell_of(number))
    name = store.key_name(trade, payer, WALLET, key if key is not None else id_)
    content = trade.vault.digest("content", f"{WALLET}|{amount.minor}|{amount.currency}".encode())

    async def work(tx: Tx) -> Order:
        keys = {"cells": [cell_of(name)], "names": [name]}
        if await tx.rows(sql.CLAIM_KEYS, **keys, contents=[content], orders=[id_]):
            ((_, known, first),) = await tx.rows(sql.KEYS, **keys)
            if known.hex != content:
                raise OtherContent("This key was used before for a different request.")
            (order,) = await store.find_in(tx, [first])
            assert order is not None, "a key and its order are written in one transaction"
            return order.but(replayed=first != id_)
        now = trade.world.db_now()
        order = wallet_order(id_, payer, number, amount, channel, now).but(expires_at=now + trade.rules.payment_expiry)
        await bear(tx, "placed", [order], now)
        return order

    return await trade.db.transaction(work)


def wallet_number(trade: Trade, payer: str) -> str:
    """What stands in the place of a topped-up number in orders for a wallet: the payer's name, as an index of another kind."""
    return trade.vault.index(WALLET, payer)


def wallet_order(id_: str, payer: str, number: str, amount: Money, channel: str, now: datetime) -> Order:
    """An order that fills a wallet: unpaid, and without an end."""
    goods = (WALLET, WALLET, WALLET, amount, amount)  # operator, product, supplier; face value and price
    return Order(id_, cell_of_id(id_), payer, channel, number, *goods, None, 0, "", None, "unpaid", "quoted", now)


async def wallet(trade: Trade, payer: str) -> list[Money]:
    """What a payer's wallet holds, in each currency that it has."""
    names = [wallet_account(payer, currency) for currency in EXPONENT]
    held = await trade.db.transaction(lambda tx: ledger.balances(tx, names))
    return [Money(minor, name[-3:]) for name, minor in held.items() if minor]


@dataclass(frozen=True, slots=True)
class Move:
    """Money that came into a wallet (above zero) or left it, and the order that it was for; `msisdn`: whose phone.

    step: why it moved, as the entry is named: sold (filled), paid, change (of a voucher), or a way back.
    """

    minor: int
    step: str
    at: datetime
    order: Order
    msisdn: Msisdn | None


async def wallet_story(trade: Trade, payer: str, currency: str, most: int = 50) -> list[Move]:
    """What filled a payer's wallet in one currency, and what was paid from it, the newest first."""

    async def work(tx: Tx) -> list[Move]:
        moves = await ledger.wallet_moves(tx, wallet_account(payer, currency), most)
        ids = [id_.partition(".")[0] for id_, _, _ in moves]
        orders = await store.find_in(tx, ids)
        called = await numbers.reveal(tx, trade.vault, [order.number for order in orders if order])
        return [
            Move(minor, id_.split(".")[1], at, order, called.get(order.number))
            for (id_, minor, at), order in zip(moves, orders, strict=True)
            if order is not None
        ]

    return await trade.db.transaction(work)
