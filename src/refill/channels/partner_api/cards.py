"""Scratch cards through a partner: its customer types the PIN, and the credit is on the number at once."""

import math
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from refill import vouchers
from refill.channels.machines.operation import Answer, Call, Operation, Words, json_of
from refill.channels.partner_api.topups import TopUp, shown
from refill.errors import CannotHappen, NotANumber, NotForSale
from refill.numbers import msisdn, number_id
from refill.topup import Order, Redemption, flow, store
from refill.topup.trade import Trade
from refill.vouchers import NotAPin, TooManyTries, VoucherNotValid, VoucherUsed, WrongPin


class CardAsk(msgspec.Struct, forbid_unknown_fields=True):
    """A PIN that somebody typed for a number of our own network."""

    pin: str
    msisdn: str
    person: Annotated[str, Meta(min_length=1, max_length=128)]


class Cards:
    """A card is a person's, not the partner's: it pays, and what goes wrong with PINs is counted for who typed them."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade

    async def redeem(self, call: Call) -> Response:
        """The same PIN for the same number is answered with the same top-up."""
        asked: CardAsk = call.body
        trade = self._trade
        number = msisdn(asked.msisdn)
        pin = vouchers.pin(asked.pin)
        if await store.subscriber_view(trade, number) is None:
            # Elsewhere a refusal would have to give the card's worth back to a person whom we do not see.
            raise NotForSale("Here cards are taken for numbers of our own network; others redeem them on our pages.")
        index = number_id(trade.vault, number)
        person = trade.vault.digest("api person", f"{call.key.partner_id}\0{asked.person}".encode())
        wish = Redemption(
            flow.new_order_id(trade, index),
            pin,
            number,
            index,
            f"guest:{person}",
            "partner_api",
            by=(f"person:{person}", f"{vouchers.ADDRESS}{call.key.partner_id}"),
        )
        (answer,) = await flow.redeem(trade, [wish])
        if isinstance(answer, TooManyTries):
            wait_s = math.ceil((answer.again_at - trade.world.db_now()).total_seconds())
            answer.headers = {"Retry-After": str(max(1, wait_s))}  # type: ignore[attr-defined]
        if not isinstance(answer, Order):
            raise answer
        return json_of(shown(answer, number), 200 if answer.replayed else 201)


def card_operations(trade: Trade) -> list[Operation]:
    """What may be done with vouchers."""
    return [
        Operation(
            "POST",
            "/v1/vouchers/redeem",
            "redeemVoucher",
            "vouchers",
            Words("Redeem a scratch card for a number of our own network", "用充值卡给本网号码充值"),
            "topup",
            {
                200: Answer(Words("This card was used for this number before.", "这张卡已经给这个号码充过。"), (TopUp,)),
                201: Answer(Words("The card is used, the credit is there.", "卡已使用，话费到账。"), (TopUp,)),
            },
            Cards(trade).redeem,
            more=Words(
                "The card pays, not your float. `person` is your own word for whoever types, never a name: after five wrong "
                "PINs that person must wait an hour, and after forty everybody of yours.",
                "由卡付款，不动你的预付款。`person` 是你给输入者起的代号，不要用真名："
                "输错五次，这个人要等一小时；总共错四十次，你的所有用户都要等。",
            ),
            body=CardAsk,
            errors=(
                NotANumber, NotAPin, NotForSale, CannotHappen, WrongPin, VoucherUsed, VoucherNotValid, TooManyTries,
            ),
            example={"body": {"pin": "0000 0000 0000 0000", "msisdn": "+8619912345678", "person": "customer-17"}},
        )
    ]  # fmt: skip
