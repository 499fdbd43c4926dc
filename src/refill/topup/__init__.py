"""The life of one top-up: placed, paid, sent, settled, refunded; exact in every race and after every crash."""

from refill.topup import flow, store
from refill.topup.order import Ask, BulkKey, Order
from refill.topup.redeem import Redemption
from refill.topup.trade import Rules, Shelf, Trade
from refill.topup.work import Worker

__all__ = ["Ask", "BulkKey", "Order", "Redemption", "Rules", "Shelf", "Trade", "Worker", "flow", "store"]
