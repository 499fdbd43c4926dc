"""What a partner may look up: its top-ups, its float, what is on sale, and what a number tells."""

from datetime import datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from refill import catalogue as catalogue_
from refill import ledger, numbers
from refill.accounts import KeyRing, PartnerKey, float_account
from refill.catalogue import Catalogue
from refill.channels.machines.keys import needs, partner_of
from refill.channels.partner_api.topups import shown
from refill.errors import BadInput, NotFound
from refill.ids import cell_of_id
from refill.money import decimal_text
from refill.topup import store
from refill.topup.trade import Trade


class Balance(msgspec.Struct):
    """A partner's float: what is free to spend, without its credit limit."""

    currency: str
    balance: str


class Offer(msgspec.Struct, omit_defaults=True):
    """One denomination on sale to this partner; a range has `face_value` and `max_face_value`, and its price depends."""

    product: str
    kind: str
    face_value: str
    currency: str
    price: str | None = None
    max_face_value: str | None = None
    validity_days: int = 0


class Operator(msgspec.Struct):
    """A network whose credit is on sale."""

    id: str
    name: str
    name_zh: str
    country: str
    currency: str
    own_network: bool
    products: list[Offer]


class Number(msgspec.Struct):
    """What a number tells by itself: `operator` is a hint, because numbers are ported."""

    msisdn: str
    grouped: str
    country: str
    operator: str | None
    region: str


class Bucket(msgspec.Struct):
    """Credit that expires by itself."""

    kind: str
    amount: str
    expires_at: datetime


class Subscriber(msgspec.Struct):
    """A subscriber of our own network."""

    msisdn: str
    state: str
    balance: str
    currency: str
    active_until: datetime | None
    grace_until: datetime | None
    buckets: list[Bucket]


class Looks:
    """The reading routes. Every one of them starts with whose key it is: another partner's order is not there at all."""

    def __init__(self, trade: Trade, keyring: KeyRing) -> None:
        self._trade = trade
        self._keyring = keyring

    async def topup(self, request: Request) -> Response:
        """GET /v1/topups/{id}"""
        key = await self._caller(request, "topup")
        id_ = request.path_params["id"]
        try:
            cell_of_id(id_)
        except NotFound:
            raise NotFound("There is no top-up with that id.") from None
        (order,) = await store.find(self._trade, [id_])
        if order is None or order.payer != f"partner:{key.partner_id}":
            raise NotFound("There is no top-up with that id.")
        return _json(shown(order, await self._number(order.number)))

    async def by_reference(self, request: Request) -> Response:
        """GET /v1/topups?reference=…"""
        key = await self._caller(request, "topup")
        asked = request.query_params.multi_items()
        if len(asked) != 1 or asked[0][0] != "reference" or not asked[0][1]:
            raise BadInput("Ask for one top-up by your own name for it: /v1/topups?reference=…")
        if "\0" in asked[0][1]:
            raise NotFound("There is no top-up with that reference.")
        order = await store.by_reference(self._trade, f"partner:{key.partner_id}", asked[0][1])
        if order is None:
            raise NotFound("There is no top-up with that reference.")
        return _json(shown(order, await self._number(order.number)))

    async def balance(self, request: Request) -> Response:
        """GET /v1/balance"""
        key = await self._caller(request, "balance")
        account = float_account(key.partner_id, key.currency)
        held = await self._trade.db.transaction(lambda tx: ledger.standing(tx, account))
        return _json(Balance(key.currency, decimal_text(held, key.currency)))

    async def operators(self, request: Request) -> Response:
        """GET /v1/operators: what is on sale, at this partner's prices."""
        key = await self._caller(request, "topup")
        catalogue = self._trade.shelf.catalogue
        return _json({"operators": [_operator(catalogue, operator, key) for operator in catalogue.operators()]})

    async def number(self, request: Request) -> Response:
        """GET /v1/numbers/{msisdn}"""
        await self._caller(request, "topup")
        number = numbers.msisdn(request.path_params["msisdn"])
        region = numbers.region(number)
        seller = await store.seller_for(self._trade, number)
        return _json(Number(number.e164, number.grouped(), number.country, seller, region))

    async def subscriber(self, request: Request) -> Response:
        """GET /v1/subscribers/{msisdn}: balance and validity on our own network."""
        await self._caller(request, "subscriber")
        view = await store.subscriber_view(self._trade, numbers.msisdn(request.path_params["msisdn"]))
        if view is None:
            raise NotFound("That number is no subscriber of our own network.")
        return _json(
            Subscriber(
                msisdn=view.msisdn.e164,
                state=view.state,
                balance=view.balance.text(),
                currency=view.balance.currency,
                active_until=view.active_until,
                grace_until=view.grace_until,
                buckets=[Bucket(grant.kind, grant.amount.text(), grant.expires_at) for grant in view.buckets],
            )
        )

    async def _caller(self, request: Request, scope: str) -> PartnerKey:
        key = await partner_of(self._keyring, request.headers.get("authorization"))
        needs(key, scope)
        return key

    async def _number(self, number_id: str) -> numbers.Msisdn | None:
        vault = self._trade.vault
        found = await self._trade.db.transaction(lambda tx: numbers.reveal(tx, vault, [number_id]))
        return found.get(number_id)


def _operator(catalogue: Catalogue, operator: catalogue_.Operator, key: PartnerKey) -> Operator:
    offers = []
    for offer in catalogue.offers(operator.id):
        quote = catalogue.quote(operator.id, offer.face, product=offer.product, commission_bp=key.commission_bp)
        is_range = offer.kind == "range"
        offers.append(
            Offer(
                product=offer.product,
                kind=offer.kind,
                face_value=offer.face.text(),
                currency=offer.face.currency,
                price=None if is_range else quote.price.text(),
                max_face_value=offer.most.text() if is_range else None,
                validity_days=offer.days,
            )
        )
    return Operator(
        id=operator.id,
        name=operator.name_en,
        name_zh=operator.name_zh,
        country=operator.country,
        currency=operator.currency,
        own_network=operator.own_network,
        products=offers,
    )


def look_routes(trade: Trade, keyring: KeyRing) -> list[BaseRoute]:
    """The GET routes of the API."""
    looks = Looks(trade, keyring)
    return [
        Route("/v1/topups", looks.by_reference, methods=["GET"]),
        Route("/v1/topups/{id}", looks.topup, methods=["GET"]),
        Route("/v1/balance", looks.balance, methods=["GET"]),
        Route("/v1/operators", looks.operators, methods=["GET"]),
        Route("/v1/numbers/{msisdn}", looks.number, methods=["GET"]),
        Route("/v1/subscribers/{msisdn}", looks.subscriber, methods=["GET"]),
    ]


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
