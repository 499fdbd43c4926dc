"""Webhooks out: where a partner wants to hear of its top-ups, what was told there, telling it again, and a test."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from refill import notify, numbers
from refill.channels.machines.openapi import Event
from refill.channels.machines.operation import Answer, Call, Handle, Operation, Words, json_of
from refill.channels.partner_api.topups import TopUp, shown
from refill.db import Tx
from refill.egress import WrongUrl
from refill.errors import BadInput, NotAnAmount, NotFound
from refill.money import amount
from refill.notify import EndpointExists, Low, Note, Render, TooManyEndpoints, Trial
from refill.outcome import Done
from refill.topup import store
from refill.topup.tell import as_told
from refill.topup.trade import Trade

SCOPE = "webhooks"
Moment = Annotated[datetime, Meta(tz=True)]
State = Literal["waiting", "accepted", "given_up"]
T = TypeVar("T")


class WebhookAsk(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/webhooks; all but `url` may be left out."""

    url: str
    events: list[str] = []
    description: str = ""
    float_below: str | None = None


class WebhookChange(msgspec.Struct, forbid_unknown_fields=True):
    """The body of PATCH /v1/webhooks/{webhook}: what is left out stays as it is."""

    url: str | UnsetType = UNSET
    events: list[str] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    float_below: str | UnsetType | None = UNSET


class Webhook(msgspec.Struct, kw_only=True):
    """An endpoint: where to, what of, and how it is doing."""

    id: str
    url: str
    events: list[str]
    description: str
    state: Literal["active", "disabled"]
    why: Literal["", "asked", "gone", "failing"]
    float_below: str | None
    failing_since: datetime | None
    both_secrets_until: datetime | None
    created_at: datetime


class WebhookWithSecret(Webhook, kw_only=True):
    """The same with its new secret, which is shown this once."""

    secret: str


class Webhooks(msgspec.Struct):
    """All endpoints of the partner, the oldest first."""

    webhooks: list[Webhook]


class DeliveriesWanted(msgspec.Struct):
    """Which deliveries to show."""

    state: State | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Delivery(msgspec.Struct):
    """One event for one endpoint; `next_try_at` while it waits."""

    event: str
    type: str
    subject: str
    sequence: int
    at: datetime
    state: State
    tries: int
    status: int | None
    next_try_at: datetime | None
    done_at: datetime | None


class Deliveries(msgspec.Struct):
    """A page of deliveries, the latest events first."""

    deliveries: list[Delivery]
    next: str | None


class Try(msgspec.Struct):
    """One request to the endpoint; `status` null: no answer, and `answer` says why."""

    number: int
    at: datetime
    status: int | None
    latency_ms: int
    answer: str


class DeliveryLog(msgspec.Struct):
    """A delivery with every request that was made for it."""

    delivery: Delivery
    tries: list[Try]


class ReplayAsk(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a replay: one `event`, or what happened in a span, all of it or only what stands in `state`."""

    event: str | UnsetType = UNSET
    from_: Moment | UnsetType = msgspec.field(default=UNSET, name="from")
    until: Moment | UnsetType = UNSET
    state: Literal["accepted", "given_up"] | UnsetType = UNSET


class Replayed(msgspec.Struct):
    """How many events are told again; `limit` at most at a time, the earliest first."""

    replayed: int
    limit: int = notify.REPLAYED_AT_ONCE


class Tested(msgspec.Struct):
    """What came of a test: `accepted` for an answer of 2xx."""

    event: str
    accepted: bool
    status: int | None
    latency_ms: int
    answer: str


class Hooks:
    """The routes. Each begins with whose key it is: another partner's endpoint is not there at all."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade

    async def create(self, call: Call) -> Response:
        """POST /v1/webhooks"""
        asked: WebhookAsk = call.body
        trade, key = self._trade, call.key
        low = None if asked.float_below is None else amount(asked.float_below, key.currency)

        async def work(tx: Tx) -> tuple[notify.Endpoint, str]:
            return await notify.create(
                tx,
                trade.world,
                trade.vault,
                key.partner_id,
                asked.url,
                events=asked.events,
                description=asked.description,
                low=low,
                allowed=trade.allowed_places,
            )

        made, secret = await trade.db.transaction(work)
        await trade.listeners.refresh(trade.db, trade.world.db_now())
        return json_of(_with_secret(made, secret), 201)

    async def every(self, call: Call) -> Response:
        """GET /v1/webhooks"""
        found = await self._trade.db.transaction(lambda tx: notify.of_partner(tx, call.key.partner_id))
        return json_of(Webhooks([_shown(one) for one in found]))

    async def one(self, call: Call) -> Response:
        """GET /v1/webhooks/{webhook}"""
        return json_of(_shown(await self._trade.db.transaction(lambda tx: _own(tx, call))))

    async def change(self, call: Call) -> Response:
        """PATCH /v1/webhooks/{webhook}"""
        asked: WebhookChange = call.body
        trade, below = self._trade, asked.float_below
        low = amount(below, call.key.currency) if isinstance(below, str) else None

        async def work(tx: Tx) -> notify.Endpoint:
            return await notify.change(
                tx,
                trade.world,
                call.key.partner_id,
                call.path["webhook"],
                url=_given(asked.url),
                events=_given(asked.events),
                description=_given(asked.description),
                enabled=_given(asked.enabled),
                low=low,
                forget_low=below is None,
                allowed=trade.allowed_places,
            )

        return json_of(_shown(await trade.db.transaction(work)))

    async def delete(self, call: Call) -> Response:
        """DELETE /v1/webhooks/{webhook}"""
        trade = self._trade
        now = trade.world.db_now()
        await trade.db.transaction(lambda tx: notify.delete(tx, call.key.partner_id, call.path["webhook"], now))
        return Response(status_code=204)

    async def rotate(self, call: Call) -> Response:
        """POST /v1/webhooks/{webhook}/secret"""
        trade, partner, id_ = self._trade, call.key.partner_id, call.path["webhook"]
        changed, secret = await trade.db.transaction(
            lambda tx: notify.rotate(tx, trade.world, trade.vault, partner, id_)
        )
        return json_of(_with_secret(changed, secret))

    async def deliveries(self, call: Call) -> Response:
        """GET /v1/webhooks/{webhook}/deliveries"""
        wanted: DeliveriesWanted = call.query

        async def work(tx: Tx) -> tuple[list[notify.Delivery], str | None]:
            own = await _own(tx, call)
            return await notify.deliveries(tx, own.id, state=wanted.state or "", after=wanted.cursor, most=wanted.limit)

        found, more = await self._trade.db.transaction(work)
        return json_of(Deliveries([_delivery(one) for one in found], more))

    async def delivery(self, call: Call) -> Response:
        """GET /v1/webhooks/{webhook}/deliveries/{event}"""
        event = call.path["event"]

        async def work(tx: Tx) -> DeliveryLog:
            own = await _own(tx, call)
            found = await notify.delivery(tx, own.id, event)
            tried = await notify.tries(tx, own.id, event)
            return DeliveryLog(
                _delivery(found), [Try(one.n, one.at, one.status, one.latency_ms, one.says) for one in tried]
            )

        return json_of(await self._trade.db.transaction(work))

    async def replay(self, call: Call) -> Response:
        """POST /v1/webhooks/{webhook}/replay"""
        asked: ReplayAsk = call.body
        now = self._trade.world.db_now()
        event, since, until = _given(asked.event), _given(asked.from_), _given(asked.until)
        span = since is not None and until is not None
        if (
            (event is None) != span
            or (event is not None and asked.state is not UNSET)
            or (since is None) != (until is None)
        ):
            raise BadInput('Name one "event", or a span by "from" and "until", perhaps with a "state".')

        async def work(tx: Tx) -> int:
            own = await _own(tx, call)
            if event is not None:
                await notify.replay(tx, own.id, event, now)
                return 1
            assert since is not None and until is not None
            return await notify.replay_span(tx, own.id, since, until, now, state=_given(asked.state) or "")

        return json_of(Replayed(await self._trade.db.transaction(work)), 202)

    async def test(self, call: Call) -> Response:
        """POST /v1/webhooks/{webhook}/test"""
        trade = self._trade
        event, receipt = await notify.trial(
            trade.world, trade.db, trade.vault, call.key.partner_id, call.path["webhook"]
        )
        done = isinstance(receipt.outcome, Done)
        return json_of(Tested(event, done, receipt.status, receipt.latency_ms, receipt.says))


def _given(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value


async def _own(tx: Tx, call: Call) -> notify.Endpoint:
    return await notify.endpoint(tx, call.key.partner_id, call.path["webhook"])


def _fields(one: notify.Endpoint) -> dict[str, object]:
    return {
        "id": one.id,
        "url": one.url,
        "events": list(one.events),
        "description": one.description,
        "state": one.state,
        "why": one.why,
        "float_below": one.low.text() if one.low else None,
        "failing_since": one.failing_since,
        "both_secrets_until": one.former_until,
        "created_at": one.created_at,
    }


def _shown(one: notify.Endpoint) -> Webhook:
    return msgspec.convert(_fields(one), Webhook)


def _with_secret(one: notify.Endpoint, secret: str) -> WebhookWithSecret:
    return msgspec.convert({**_fields(one), "secret": secret}, WebhookWithSecret)


def _delivery(one: notify.Delivery) -> Delivery:
    return Delivery(
        event=one.id,
        type=one.kind,
        subject=one.subject,
        sequence=one.n,
        at=one.at,
        state=one.state,  # type: ignore[arg-type]
        tries=one.tries,
        status=one.status,
        next_try_at=one.due,
        done_at=one.done_at,
    )


# ------------------------------------------------------------------ what a delivery says


def render(trade: Trade) -> Render:
    """What events say: of a top-up what GET /v1/topups/{id} answered in that moment, of all else the facts themselves."""

    async def data(tx: Tx, notes: Sequence[Note]) -> list[bytes]:
        about = sorted({note.subject for note in notes if note.kind.startswith("topup.")})
        orders = {order.id: order for order in await store.find_in(tx, about) if order} if about else {}
        erasable = sorted({order.number for order in orders.values()})
        known = await numbers.reveal(tx, trade.vault, erasable) if erasable else {}
        return [
            msgspec.json.encode(shown(as_told(order, note.facts), known.get(order.number)))
            if (order := orders.get(note.subject))
            else note.facts.encode()
            for note in notes
        ]

    return data


class TopUpEvent(msgspec.Struct):
    """What is posted when something becomes of a top-up; `data` is the top-up as it was then."""

    type: str
    timestamp: datetime
    sequence: int
    data: TopUp


class FloatEvent(msgspec.Struct):
    """What is posted when the float is low."""

    type: str
    timestamp: datetime
    sequence: int
    data: Low


class TestEvent(msgspec.Struct):
    """What is posted by the tester."""

    type: str
    timestamp: datetime
    sequence: int
    data: Trial


POSTED = (
    Event("topup.succeeded", TopUpEvent, Words("The phone has the credit", "充值已到账")),
    Event(
        "topup.failed", TopUpEvent, Words("It failed; the money is back in your float", "充值失败，款项已退回预付款")
    ),
    Event("topup.partial", TopUpEvent, Words("A part was delivered, the rest is back", "部分到账，其余已退回")),
    Event(
        "topup.processing", TopUpEvent, Words("The operator did not answer; we are asking", "运营商没有回答，正在查询")
    ),
    Event("topup.refunded", TopUpEvent, Words("Money went back although the credit stays", "已退款，话费保留")),
    Event("topup.reversed", TopUpEvent, Words("The credit was taken back", "话费已冲正")),
    Event("float.low", FloatEvent, Words("Your float fell below what you named", "预付款低于你设定的金额")),
    Event("webhook.test", TestEvent, Words("You asked for a test", "你要求发送的测试")),
)
assert [event.name for event in POSTED] == [*notify.EVENTS, notify.TEST]


# ------------------------------------------------------------------ the table

EXAMPLE_URL = "https://shop.example/refill"
EXAMPLE_ID = "we_01k000000000000000000000"


def webhook_operations(trade: Trade) -> list[Operation]:
    """Everything that a partner may do with its endpoints."""
    hooks = Hooks(trade)

    def operation(
        method: str, path: str, name: str, says: Words, answers: dict[int, Answer], handle: Handle, **more: Any
    ) -> Operation:
        here = {"webhook": EXAMPLE_ID} if "{webhook}" in path else {}
        example = {**here, **more.pop("example", {})}
        errors = (*more.pop("errors", ()), *((NotFound,) if here else ()))
        return Operation(
            method, path, name, "webhooks", says, SCOPE, answers, handle, errors=errors, example=example, **more
        )

    one = "/v1/webhooks/{webhook}"
    endpoint = Words("The endpoint.", "这个接收地址。")
    return [
        operation(
            "POST",
            "/v1/webhooks",
            "createWebhook",
            Words("Listen at an address", "登记一个接收地址"),
            {
                201: Answer(
                    Words("The endpoint with its secret, shown this once.", "接收地址和密钥；密钥只显示这一次。"),
                    (WebhookWithSecret,),
                )
            },
            hooks.create,
            more=Words(
                "We post what happens there, signed as the Standard Webhooks specification says. What happens in the "
                "first ten seconds may stay untold.",
                "发生的事会推送到这个地址，按 Standard Webhooks 规范签名。登记后头十秒里发生的事可能不会推送。",
            ),
            body=WebhookAsk,
            errors=(WrongUrl, TooManyEndpoints, EndpointExists, NotAnAmount),
            example={"body": {"url": EXAMPLE_URL, "events": ["topup.succeeded", "topup.failed"]}},
        ),
        operation(
            "GET",
            "/v1/webhooks",
            "listWebhooks",
            Words("Your endpoints", "你的接收地址"),
            {200: Answer(Words("All of them, the oldest first.", "全部，最早的在前。"), (Webhooks,))},
            hooks.every,
        ),
        operation(
            "GET",
            one,
            "getWebhook",
            Words("One endpoint", "一个接收地址"),
            {200: Answer(endpoint, (Webhook,))},
            hooks.one,
        ),
        operation(
            "PATCH",
            one,
            "changeWebhook",
            Words("Change, disable or enable an endpoint", "修改、停用或启用接收地址"),
            {200: Answer(endpoint, (Webhook,))},
            hooks.change,
            more=Words(
                "An endpoint that is enabled again hears what happened meanwhile, up to thirty days back.",
                "重新启用后，停用期间发生的事会补推，最多三十天。",
            ),
            body=WebhookChange,
            errors=(WrongUrl, NotAnAmount),
            example={"body": {"enabled": True}},
        ),
        operation(
            "DELETE",
            one,
            "deleteWebhook",
            Words("Stop listening", "删除接收地址"),
            {204: Answer(Words("Nothing is sent there any more.", "不再向它推送。"))},
            hooks.delete,
        ),
        operation(
            "POST",
            f"{one}/secret",
            "rotateWebhookSecret",
            Words("A new secret", "更换密钥"),
            {
                200: Answer(
                    Words("The endpoint with its new secret, shown this once.", "接收地址和新密钥；只显示这一次。"),
                    (WebhookWithSecret,),
                )
            },
            hooks.rotate,
            more=Words(
                "For a day both secrets sign, so that you can change your side in peace.",
                "一天之内新旧密钥同时签名，你可以从容更换。",
            ),
        ),
        operation(
            "POST",
            f"{one}/test",
            "testWebhook",
            Words("Send a test event now", "立即发送测试事件"),
            {200: Answer(Words("What your address answered.", "你的地址怎样回答。"), (Tested,))},
            hooks.test,
        ),
        operation(
            "GET",
            f"{one}/deliveries",
            "listDeliveries",
            Words("The log of deliveries", "推送记录"),
            {
                200: Answer(
                    Words("A page of deliveries, the latest events first.", "一页推送，最近的在前。"), (Deliveries,)
                )
            },
            hooks.deliveries,
            query=DeliveriesWanted,
        ),
        operation(
            "GET",
            f"{one}/deliveries/{{event}}",
            "getDelivery",
            Words("One delivery with every try", "一次推送和它的每次尝试"),
            {
                200: Answer(
                    Words("The delivery and every request made for it.", "这次推送和发出的每个请求。"), (DeliveryLog,)
                )
            },
            hooks.delivery,
            example={"event": "tu_01k000000000000000000000e1"},
        ),
        operation(
            "POST",
            f"{one}/replay",
            "replayWebhook",
            Words("Tell again", "重新推送"),
            {202: Answer(Words("How many events are told again.", "重新推送多少个事件。"), (Replayed,))},
            hooks.replay,
            more=Words(
                "One event, or all that happened in a span of time. An event keeps its id, however often it is told.",
                "重推一个事件，或一段时间里的全部事件。同一个事件无论推送几次，编号不变。",
            ),
            body=ReplayAsk,
            example={"body": {"from": "2026-11-22T00:00:00Z", "until": "2026-11-23T00:00:00Z", "state": "given_up"}},
        ),
    ]
