"""What the server answers, typed: amounts are Decimal, times are aware. Fields that are new on the server are ignored."""

from datetime import date, datetime
from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Wish(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """One top-up to place. `reference` is your own name for it, for ever; without one the client makes a key."""

    msisdn: str
    amount: Decimal
    currency: str
    reference: str | None = None
    operator: str | None = None
    product: str | None = None
    max_price: Decimal | None = None
    quote: str | None = None


class Pin(msgspec.Struct, frozen=True):
    """The operator's PIN that a top-up got."""

    pin: str
    serial: str
    expires_on: date


class TopUp(msgspec.Struct, frozen=True):
    """A top-up. `status`: processing, succeeded, partial, failed, cancelled, reversed; `certainty`: final when it stays so."""

    id: str
    status: str
    certainty: str
    msisdn: str | None
    face_value: Decimal
    price: Decimal
    currency: str
    operator: str
    reference: str | None
    created_at: datetime
    product: str = ""
    delivered_value: Decimal | None = None
    refunded: Decimal | None = None
    valid_until: datetime | None = None
    reason: str = ""
    pin: Pin | None = None

    @property
    def final(self) -> bool:
        """Will it stay as it is?"""
        return self.certainty == "final"


class Problem(msgspec.Struct, frozen=True):
    """Why something was refused."""

    code: str
    detail: str
    status: int
    retryable: bool = False
    certainty: str = "final"


class BulkRow(msgspec.Struct, frozen=True):
    """One row of a bulk: its top-up or its problem."""

    status: int
    replayed: bool = False
    topup: TopUp | None = None
    problem: Problem | None = None


class Bulk(msgspec.Struct, frozen=True):
    """A result for each row, in order."""

    accepted: int
    refused: int
    results: list[BulkRow]


class Upload(msgspec.Struct, frozen=True):
    """A file of top-ups, and how far it is."""

    id: str
    status: str
    rows: int
    accepted: int
    refused: int
    waiting: int
    created_at: datetime
    done_at: datetime | None = None
    result: str | None = None


class Balance(msgspec.Struct, frozen=True):
    """What is left of the float."""

    currency: str
    balance: Decimal


class Offer(msgspec.Struct, frozen=True):
    """One denomination of an operator."""

    product: str
    kind: str
    face_value: Decimal
    currency: str
    price: Decimal | None = None
    max_face_value: Decimal | None = None
    validity_days: int = 0
    category: str = "airtime"
    contents: str = ""
    contents_zh: str = ""


class Operator(msgspec.Struct, frozen=True):
    """A network whose credit is on sale."""

    id: str
    name: str
    name_zh: str
    country: str
    currency: str
    own_network: bool
    products: list[Offer]


class Product(msgspec.Struct, frozen=True):
    """One denomination, with the operator whose credit it is."""

    product: str
    operator: str
    country: str
    kind: str
    face_value: Decimal
    currency: str
    price: Decimal | None = None
    max_face_value: Decimal | None = None
    validity_days: int = 0
    category: str = "airtime"
    contents: str = ""
    contents_zh: str = ""


class Quote(msgspec.Struct, frozen=True):
    """A price that holds until `expires_at` for one top-up that names it."""

    quote: str
    operator: str
    product: str
    face_value: Decimal
    price: Decimal
    currency: str
    expires_at: datetime
    msisdn: str | None = None
    validity_days: int = 0


class Warning(msgspec.Struct, frozen=True):
    """Something to look at twice; it refuses nothing."""

    code: str
    detail: str


class Number(msgspec.Struct, frozen=True):
    """What is known of a number; `operator_source` "prefix" is a hint only."""

    msisdn: str
    grouped: str
    country: str
    operator: str | None
    region: str
    operator_source: str | None = None
    ported: bool | None = None
    state: str | None = None
    warnings: list[Warning] = []


class Transaction(msgspec.Struct, frozen=True):
    """One move in the float."""

    id: str
    at: datetime
    kind: str
    amount: Decimal
    currency: str
    topup: str | None


class Day(msgspec.Struct, frozen=True):
    """A day of the float: opening + all that moved = closing."""

    day: date
    opening: Decimal
    topups: Decimal
    topup_count: int
    refunds: Decimal
    reversals: Decimal
    deposits: Decimal
    adjustments: Decimal
    closing: Decimal
    complete: bool


class Statement(msgspec.Struct, frozen=True):
    """The float from day to day."""

    currency: str
    time_zone: str
    days: list[Day]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some of many; `next` is the cursor of the page behind, None on the last."""

    items: list[T]
    next: str | None
