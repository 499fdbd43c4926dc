"""Quotes over HTTP: a price that holds for a while, to be named in the top-up that uses it."""

import re
from datetime import datetime, timedelta

import msgspec
from starlette.responses import Response

from refill.catalogue.rates import RateTooOld
from refill.channels.machines.json import NotJson
from refill.channels.machines.operation import Answer, Call, Operation, Words, json_of
from refill.channels.partner_api.topups import CHANNEL, word
from refill.errors import BadInput, NotAnAmount, NotANumber, NotForSale
from refill.money import amount
from refill.numbers import msisdn, number_id
from refill.topup import Ask, flow
from refill.topup.quotes import Kept
from refill.topup.trade import Trade

NUMBER = "+8619912345678"
_SECONDS = re.compile("[0-9]{1,5}")


class QuoteAsk(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of POST /v1/quotes: all strings; for one number (`msisdn`), or for any number of an `operator`."""

    amount: str
    currency: str
    msisdn: str | msgspec.UnsetType = msgspec.UNSET
    operator: str | msgspec.UnsetType = msgspec.UNSET
    product: str | msgspec.UnsetType = msgspec.UNSET
    lasts_s: str | msgspec.UnsetType = msgspec.UNSET


class Quote(msgspec.Struct, omit_defaults=True):
    """A price that holds until `expires_at` for one top-up."""

    quote: str
    operator: str
    product: str
    face_value: str
    price: str
    currency: str
    expires_at: datetime
    msisdn: str | None = None
    validity_days: int = 0


class Quotes:
    """The one route of quotes."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade

    async def create(self, call: Call) -> Response:
        """POST /v1/quotes"""
        asked: QuoteAsk = call.body
        lasts = _lasts(asked.lasts_s)
        face = amount(asked.amount, asked.currency)
        operator = None if asked.operator is msgspec.UNSET else word("operator", asked.operator)
        product = None if asked.product is msgspec.UNSET else word("product", asked.product)
        payer = f"partner:{call.key.partner_id}"
        if asked.msisdn is not msgspec.UNSET:
            number = msisdn(asked.msisdn)
            index = number_id(self._trade.vault, number)
            ask = Ask(
                flow.new_order_id(self._trade, index), payer, CHANNEL, number, index, face,
                operator=operator, product=product, commission_bp=call.key.commission_bp,
            )  # fmt: skip
            kept = await flow.quote(self._trade, ask, lasts=lasts)
            return json_of(_shown(kept, number.e164), 201)
        if operator is None:
            raise NotJson('Name the number ("msisdn") or the "operator" that the quote is for.')
        kept = await flow.quote_operator(
            self._trade,
            payer,
            operator,
            face,
            product=product,
            commission_bp=call.key.commission_bp,
            channel=CHANNEL,
            lasts=lasts,
        )
        return json_of(_shown(kept, None), 201)


def _lasts(text: str | msgspec.UnsetType) -> timedelta:
    if text is msgspec.UNSET:
        return flow.QUOTE_LASTS
    if not _SECONDS.fullmatch(str(text)):
        raise BadInput('"lasts_s" is a number of seconds, at most a day: "600".')
    return timedelta(seconds=int(str(text)))


def _shown(kept: Kept, number: str | None) -> Quote:
    priced = kept.quote
    return Quote(
        quote=kept.id,
        operator=priced.operator,
        product=priced.product,
        face_value=priced.face.text(),
        price=priced.price.text(),
        currency=priced.price.currency,
        expires_at=kept.expires_at,
        msisdn=number,
        validity_days=priced.days,
    )


def quote_operations(trade: Trade) -> list[Operation]:
    """Asking for a price that holds."""
    return [
        Operation(
            "POST",
            "/v1/quotes",
            "createQuote",
            "topups",
            Words("Ask for a price that holds", "询价：价格在一段时间内不变"),
            "topup",
            {201: Answer(Words("The price, and until when it holds.", "价格，以及有效到什么时候。"), (Quote,))},
            Quotes(trade).create,
            more=Words(
                "Name its id as `quote` in one top-up of the same amount: its price holds until it expires, whatever the "
                "catalogue says meanwhile. It reserves nothing and costs nothing.",
                "充值时在 `quote` 里写上它的编号，金额要相同：在有效期内价格不变，目录改价也不影响。询价不收费，也不占用什么。",
            ),
            body=QuoteAsk,
            errors=(NotANumber, NotAnAmount, NotForSale, RateTooOld),
            example={"body": {"msisdn": NUMBER, "amount": "50.00", "currency": "CNY"}},
        )
    ]
