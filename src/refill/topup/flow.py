"""The life of one top-up, in the order in which it happens: place, pay, send, settle, refund; inquire where we do not know.

Each step is a room of its own; this is their table of contents.
"""

from refill.ids import cell_of
from refill.topup.dispute import dispute
from refill.topup.inside import pay_inside
from refill.topup.invite import invite
from refill.topup.notices import receive_notice, receive_supplier_notice
from refill.topup.pay import cancel, close, pay, poll, poll_payment
from refill.topup.pins import (
    ask_about_pin,
    confirm_stock,
    decide_about_pin,
    pin_story,
    pins_for_payer,
    receive_stock,
    show_pin,
    sold_by_pin,
)
from refill.topup.place import place
from refill.topup.proposal import confirm_refund, decline_refund, refund
from refill.topup.quoting import LASTS as QUOTE_LASTS
from refill.topup.quoting import quote, quote_operator
from refill.topup.redeem import redeem
from refill.topup.refund import ask_refund, claim_code, refunded
from refill.topup.reversal import ask_reversal, chase_reversals, confirm_reversal, decline_reversal, settle_reversal
from refill.topup.reverse import reverse
from refill.topup.send import Answered, inquire, send
from refill.topup.settle import settle
from refill.topup.trade import Trade
from refill.topup.wallet import Move, fill_wallet, wallet, wallet_number, wallet_story
from refill.topup.weigh import weigh

# As an order lives: placed; invited, paid (by notice or by asking) or given up; sent, inquired, settled; its PIN read;
# refunded (by itself, or by two people), reversed, disputed by the payer's bank.
__all__ = [  # noqa: RUF022
    "new_order_id",
    "QUOTE_LASTS",
    "quote",
    "quote_operator",
    "place",
    "fill_wallet",
    "wallet",
    "wallet_number",
    "Move",
    "wallet_story",
    "weigh",
    "redeem",
    "invite",
    "pay_inside",
    "receive_notice",
    "pay",
    "poll",
    "poll_payment",
    "cancel",
    "close",
    "Answered",
    "send",
    "inquire",
    "receive_supplier_notice",
    "settle",
    "sold_by_pin",
    "receive_stock",
    "confirm_stock",
    "pins_for_payer",
    "pin_story",
    "ask_about_pin",
    "decide_about_pin",
    "show_pin",
    "refund",
    "confirm_refund",
    "decline_refund",
    "ask_refund",
    "refunded",
    "claim_code",
    "reverse",
    "ask_reversal",
    "confirm_reversal",
    "decline_reversal",
    "chase_reversals",
    "settle_reversal",
    "dispute",
]


def new_order_id(trade: Trade, number: str) -> str:
    """An id for a new order, in the cell of its number."""
    return trade.world.new_id("tu", cell_of(number))
