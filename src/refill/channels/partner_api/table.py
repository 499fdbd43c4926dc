"""The table of the partner API: every operation there is, from which routes, OpenAPI and the developers' pages come."""

from collections.abc import Sequence

from refill.catalogue.rates import RateTooOld
from refill.channels.machines.batcher import Overloaded
from refill.channels.machines.limits import TooMany
from refill.channels.machines.operation import Answer, Operation, Words
from refill.channels.partner_api.cards import card_operations
from refill.channels.partner_api.lists import list_operations
from refill.channels.partner_api.look import look_operations
from refill.channels.partner_api.quotes import quote_operations
from refill.channels.partner_api.reversals import reversal_operations
from refill.channels.partner_api.topups import BadKey, Bulk, BulkAsk, CardNumber, NoName, TopUp, TopUpAsk, TopUps
from refill.channels.partner_api.undo import undo_operations
from refill.channels.partner_api.uploads import upload_operations
from refill.channels.partner_api.webhooks import webhook_operations
from refill.errors import (
    NotAnAmount,
    NotANumber,
    NotEnough,
    NotForSale,
    NotFound,
    OtherContent,
    PriceTooHigh,
)
from refill.numbers.lists import NumberNotServed
from refill.topup.limits import LimitReached
from refill.topup.quotes import QuoteMisfit, QuoteOver
from refill.topup.trade import Trade

IDEMPOTENCY = {
    "Idempotency-Key": Words(
        "Your name for this request: the same key with the same content answers the first result, for ever.",
        "你给这次请求起的名字：同一个键、同样的内容，永远得到第一次的结果。",
    )
}
REPLAYED = {
    "Idempotent-Replayed": Words(
        "`true` when this was placed before.",
        "如果以前已经下过这一单，值为 `true`。",
    )
}
GUARDS = (NumberNotServed, LimitReached, NotFound, QuoteMisfit, QuoteOver, RateTooOld)
NUMBER = "+8619912345678"  # of the demonstration's own network


def hot_operations() -> list[Operation]:
    """The two routes that the lane serves: `TopUps.one` and `TopUps.many`."""
    refusals = (BadKey, NoName, CardNumber, NotANumber, NotAnAmount, TooMany, Overloaded)
    return [
        Operation(
            "POST",
            "/v1/topups",
            "placeTopup",
            "topups",
            Words("Top up one number", "给一个号码充值"),
            "topup",
            {
                200: Answer(
                    Words("It was placed before; as it stands now.", "以前已经下过单；这是它此刻的样子。"),
                    (TopUp,),
                    headers=REPLAYED,
                ),
                201: Answer(Words("New, and its outcome is known.", "新下的单，结果已定。"), (TopUp,)),
                202: Answer(Words("New, and still processing.", "新下的单，还在处理。"), (TopUp,)),
            },
            more=Words(
                "Give it a name of yours, `reference` or the header `Idempotency-Key`: asking twice is then one top-up. "
                "If the answer is lost, send the very same request again.",
                "请起个名字（`reference` 或请求头 `Idempotency-Key`），问两次也只充一次。没等到回答就把同一个请求再发一遍。",
            ),
            body=TopUpAsk,
            headers=IDEMPOTENCY,
            leads={"getTopup": {"id": "$response.body#/id"}},
            errors=(*refusals, NotForSale, PriceTooHigh, NotEnough, OtherContent, *GUARDS),
            example={"body": {"msisdn": NUMBER, "amount": "50.00", "currency": "CNY", "reference": "order-1"}},
        ),
        Operation(
            "POST",
            "/v1/topups/bulk",
            "placeTopups",
            "topups",
            Words("Top up as many as a thousand numbers", "一次给多至一千个号码充值"),
            "topup",
            {200: Answer(Words("A result for every row, in their order.", "每一行都有结果，顺序不变。"), (Bulk,))},
            more=Words(
                "A row that is refused disturbs no other. One `Idempotency-Key` names all rows by their place.",
                "一行被拒绝不影响其他行。一个 `Idempotency-Key` 按位置给每一行起名。",
            ),
            body=BulkAsk,
            headers=IDEMPOTENCY,
            errors=refusals,
            example={
                "body": {
                    "topups": [
                        {"msisdn": NUMBER, "amount": "10.00", "currency": "CNY", "reference": "order-2"},
                        {"msisdn": "12345", "amount": "10.00", "currency": "CNY", "reference": "order-3"},
                    ]
                }
            },
        ),
    ]


def operations(trade: Trade, topups: TopUps) -> Sequence[Operation]:
    """Every operation, in the order in which the pages show them."""
    found = [
        *hot_operations(),
        *quote_operations(trade),
        *list_operations(trade),
        *look_operations(trade),
        *webhook_operations(trade),
        *upload_operations(trade, topups),
        *undo_operations(trade),
        *reversal_operations(trade),
        *card_operations(trade),
    ]
    order = ["topups", "files", "catalogue", "numbers", "account", "vouchers", "webhooks"]
    return sorted(found, key=lambda operation: order.index(operation.group))
