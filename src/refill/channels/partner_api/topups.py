"""Top-ups over HTTP: what a partner sends becomes an Ask, what the flow answers becomes the partner's top-up."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated

import msgspec

from refill.accounts import KeyRing, PartnerKey
from refill.channels.machines.batcher import Batcher
from refill.channels.machines.body import WrongForm
from refill.channels.machines.json import Reader
from refill.channels.machines.keys import needs, partner_of
from refill.channels.machines.lane import Headers, Reply
from refill.channels.machines.limits import TokenBuckets
from refill.channels.machines.problem import Problem, problem_of
from refill.errors import BadInput, NotFound, RefillError
from refill.money import Money, amount
from refill.numbers import Msisdn, fast_msisdn, msisdn, names_a_card, number_id
from refill.topup import Ask, BulkKey, Order, flow
from refill.topup.trade import Trade

ROWS_LIMIT = 1_000
BREATH = 64  # rows of a bulk between two turns of the loop: whoever holds locks in the database is not kept waiting
CHANNEL = "partner_api"
SCOPE = "topup"

_VISIBLE = re.compile(r"[!-~]{1,255}")  # RFC 9110 calls these visible; a space at an end would be lost on the way
_REFERENCE = re.compile(r"[ -~]{1,128}")
_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_QUOTE = re.compile(r"qu_[0-9a-z]{24}")
_JSON = (b"content-type", b"application/json")
_REPLAYED = (b"idempotent-replayed", b"true")
_given = msgspec.UNSET
Optional = str | msgspec.UnsetType


class BadKey(BadInput):
    """An Idempotency-Key has 1 to 255 visible ASCII characters."""

    code = "bad_key"
    status = 400


class NoName(BadInput):
    """A top-up needs a name of yours, so that asking twice is one top-up."""

    code = "no_key_or_reference"
    status = 400


class CardNumber(BadInput):
    """A name looks like a payment card's number, which nobody may send us; put a letter before it if it is none."""

    code = "card_number"


class TopUpAsk(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/topups: all strings; all but the first three fields may be left out."""

    msisdn: str
    amount: str
    currency: str
    reference: Optional = _given
    operator: Optional = _given
    product: Optional = _given
    max_price: Optional = _given
    quote: Optional = _given

    def fields(self) -> int:
        """How many fields were given."""
        return (
            3
            + (self.reference is not _given)
            + (self.operator is not _given)
            + (self.product is not _given)
            + (self.max_price is not _given)
            + (self.quote is not _given)
        )


class BulkAsk(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/topups/bulk."""

    topups: Annotated[list[TopUpAsk], msgspec.Meta(max_length=ROWS_LIMIT)]


class Pin(msgspec.Struct):
    """The operator's PIN that a top-up got; it brings credit at the operator until the end of `expires_on`."""

    pin: str
    serial: str
    expires_on: date


class TopUp(msgspec.Struct, omit_defaults=True):
    """A top-up as its partner sees it; amounts are decimal strings, times are UTC."""

    id: str
    status: str
    certainty: str
    msisdn: str | None
    face_value: str
    price: str
    currency: str
    operator: str
    reference: str | None
    created_at: datetime
    product: str = ""
    delivered_value: str = ""
    refunded: str = ""
    valid_until: datetime | None = None
    reason: str = ""
    pin: Pin | None = None


class Row(msgspec.Struct, omit_defaults=True):
    """The result of one row of a bulk: the HTTP status that it would have had alone, and its top-up or its problem."""

    status: int
    replayed: bool = False
    topup: TopUp | None = None
    problem: Problem | None = None


class Bulk(msgspec.Struct):
    """The answer to a bulk: one result per row, in order."""

    accepted: int
    refused: int
    results: list[Row]


_encode = msgspec.json.Encoder().encode
_single = Reader(TopUpAsk, lambda ask: 2 * ask.fields())
_bulk = Reader(BulkAsk, lambda bulk: 1 + sum(2 * ask.fields() for ask in bulk.topups))

Place = Callable[[list[Ask]], Awaitable[Sequence[Order | RefillError]]]


class TopUps:
    """The two hot routes. Single top-ups of all partners share batches; each bulk is a batch of its own."""

    def __init__(self, trade: Trade, keyring: KeyRing, place: Place, rate: TokenBuckets | None = None) -> None:
        self._trade = trade
        self._keyring = keyring
        self._rate = rate
        # While PostgreSQL commits one batch, the next is made ready.
        self.singles: Batcher[Ask, Order] = Batcher(place, limit=512, lanes=2)
        # Whoever sends a thousand can wait for seconds; how many thousands may wait is what protects us.
        self.bulks: Batcher[Ask, Order] = Batcher(
            place, limit=ROWS_LIMIT, waiting_limit=32 * ROWS_LIMIT, patience_s=10.0, lanes=2
        )

    async def one(self, sent: Headers, body: bytes) -> Reply:
        """POST /v1/topups: 201 for a new top-up, 202 while it is processing, 200 for one that was placed before."""
        key, idempotency_key = await self._caller(sent)
        asked = _single.read(body)
        headers = [_JSON] if self._rate is None else [_JSON, *_wire(self._rate.take(key.partner_id))]
        ask = self.ask(key, f"partner:{key.partner_id}", asked, idempotency_key)
        (order,) = await self.singles.submit((ask,))
        if not isinstance(order, Order):
            raise order
        if order.replayed:
            headers.append(_REPLAYED)
        return Reply(_status(order), headers, _encode(shown(order, ask.msisdn)))

    async def many(self, sent: Headers, body: bytes) -> Reply:
        """POST /v1/topups/bulk: 200 with a result per row; a row that is refused disturbs no other."""
        key, idempotency_key = await self._caller(sent)
        asked = _bulk.read(body)
        headers = [_JSON]
        if self._rate is not None:
            headers += _wire(self._rate.take(key.partner_id, max(1, len(asked.topups))))
        payer = f"partner:{key.partner_id}"
        results: list[Row | None] = []
        asks: list[Ask] = []
        bulk = idempotency_key and self._bulk(idempotency_key, asked)
        for n, row in enumerate(asked.topups):
            if n % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            # The key claims the bulk as a whole; a row without a reference is named by it and its place, too: no header
            # can hold the space between them.
            named = idempotency_key and row.reference is _given and f"{idempotency_key} {n}"
            try:
                asks.append(self.ask(key, payer, row, named or None, bulk or None))
                results.append(None)
            except RefillError as refused:
                results.append(Row(refused.status, problem=problem_of(refused)))
        orders = iter(await self.bulks.submit(asks) if asks else ())
        placed = iter(asks)
        for n, result in enumerate(results):
            if n % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            if result is None:
                order, ask = next(orders), next(placed)
                if isinstance(order, Order):
                    results[n] = Row(_status(order), order.replayed, shown(order, ask.msisdn))
                else:
                    results[n] = Row(order.status, problem=problem_of(order))
        rows = [row for row in results if row is not None]
        accepted = sum(row.topup is not None for row in rows)
        return Reply(200, headers, _encode(Bulk(accepted, len(rows) - accepted, rows)))

    async def close(self) -> None:
        """Returns when everything that was accepted has been answered."""
        await self.singles.close()
        await self.bulks.close()

    async def _caller(self, sent: Headers) -> tuple[PartnerKey, str | None]:
        authorization = idempotency_key = content_type = None
        for name, value in sent:
            if name == b"authorization":
                authorization = value
            elif name == b"idempotency-key":
                if idempotency_key is not None and value != idempotency_key:
                    raise BadKey("The header Idempotency-Key is sent twice, with two values.")
                idempotency_key = value
            elif name == b"content-type":
                content_type = value
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise WrongForm("Compressed bodies are not read here; send plain JSON.")
        key = await partner_of(self._keyring, authorization)
        if SCOPE not in key.scopes:
            needs(key, SCOPE)
        if content_type != b"application/json" and not _is_json(content_type):
            raise WrongForm('Send JSON with the header "Content-Type: application/json".')
        if idempotency_key is None:
            return key, None
        text = idempotency_key.decode("latin-1")
        if _VISIBLE.fullmatch(text) is None:
            raise BadKey("An Idempotency-Key has 1 to 255 visible ASCII characters.")
        return key, text

    def _bulk(self, idempotency_key: str, asked: BulkAsk) -> BulkKey:
        return BulkKey(idempotency_key, self._trade.vault.digest("content", _encode(asked)))

    def ask(
        self, key: PartnerKey, payer: str, asked: TopUpAsk, idempotency_key: str | None, bulk: BulkKey | None = None
    ) -> Ask:
        """What the flow needs to know. Raises BadInput by name; nothing is looked up yet."""
        number = fast_msisdn(asked.msisdn) or msisdn(asked.msisdn)
        face = _amount(asked.amount, asked.currency)
        reference = None if asked.reference is _given else asked.reference
        if reference is not None and _REFERENCE.fullmatch(reference) is None:
            raise BadInput("A reference has 1 to 128 printable ASCII characters.")
        if reference is not None:
            _no_card("reference", reference)
        if reference is None and idempotency_key is None:
            raise NoName("Send an Idempotency-Key or a reference: it makes asking twice one top-up.")
        operator = product = max_price = None
        if asked.operator is not _given:
            operator = word("operator", asked.operator)
        if asked.product is not _given:
            product = word("product", asked.product)
        if asked.max_price is not _given:
            max_price = _amount(asked.max_price, key.currency)
        quote = None if asked.quote is _given else asked.quote
        if quote is not None and _QUOTE.fullmatch(quote) is None:
            raise NotFound("There is no quote with that id.")
        index = number_id(self._trade.vault, number)
        return Ask(
            id=flow.new_order_id(self._trade, index),
            payer=payer,
            channel=CHANNEL,
            msisdn=number,
            number=index,
            face=face,
            key=idempotency_key,
            reference=reference,
            operator=operator,
            product=product,
            max_price=max_price,
            commission_bp=key.commission_bp,
            bulk=bulk,
            quote=quote,
        )


def shown(order: Order, number: Msisdn | None) -> TopUp:
    """The top-up as its partner sees it; `number` is None when its owner had it erased."""
    return TopUp(
        id=order.id,
        status=order.status,
        certainty=order.certainty,
        msisdn=number.e164 if number else None,
        face_value=_text(order.face),
        price=_text(order.price),
        currency=order.price.currency,
        operator=order.operator,
        reference=order.reference,
        created_at=order.created_at,
        product=order.product,
        delivered_value=Money(order.delivered_minor, order.face.currency).text() if order.delivery == "partial" else "",
        refunded=Money(order.refunded_minor, order.price.currency).text() if order.refunded_minor else "",
        valid_until=order.valid_until,
        reason=order.reason,
    )


def _status(order: Order) -> int:
    if order.replayed:
        return 200
    return 202 if order.status == "processing" else 201


# A shop sells the same few amounts all day. Refusals are not remembered: they are rare, and their texts are endless.
@lru_cache(4096)
def _amount(text: str, currency: str) -> Money:
    return amount(text, currency)


@lru_cache(4096)
def _text(money: Money) -> str:
    return money.text()


def word(field: str, value: str | msgspec.UnsetType) -> str:
    """Reads a name of ours that a partner sent back. Raises BadInput."""
    if not isinstance(value, str) or _WORD.fullmatch(value) is None:
        raise BadInput(f'The field "{field}" is a name of ours, such as GET /v1/operators lists.')
    _no_card(field, value)
    return value


def _no_card(field: str, value: str) -> None:
    """What a partner names would be kept, or told back to them. Raises CardNumber."""
    if names_a_card(value):
        raise CardNumber(
            f'The field "{field}" looks like the number of a payment card; we keep none. Use another name.'
        )


def _is_json(content_type: bytes | None) -> bool:
    if content_type is None:
        return True
    kind, _, parameters = content_type.lower().partition(b";")
    return kind.strip() == b"application/json" and parameters.strip() in (b"", b"charset=utf-8", b'charset="utf-8"')


def _wire(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
