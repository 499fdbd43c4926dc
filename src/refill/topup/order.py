"""What a top-up is: the ask that makes it, the order itself, and how its two machines read as one status."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from refill.money import Money, share
from refill.numbers import Msisdn


# Asks and orders are made by the thousand: a Struct is made in a tenth of the time that a frozen dataclass takes.
class BulkKey(msgspec.Struct, frozen=True):
    """The one key of a request with many rows, and a keyed hash of all that was asked in it."""

    key: str
    content: str


class Ask(msgspec.Struct, frozen=True):
    """One wish for credit, as a door hands it in.

    payer: `partner:<id>` (their float pays at once) or `guest:<session>` (a payment method pays later).
    key, reference: the client's own names for it, unique for ever per payer; without either it is always a new order.
    id: made by the caller with `flow.new_order_id`, so that a rerun after a lost commit finds its own order.
    """

    id: str
    payer: str
    channel: str  # partner_api | portal | counter | cli
    msisdn: Msisdn
    number: str  # the keyed index of msisdn
    face: Money
    key: str | None = None
    reference: str | None = None
    operator: str | None = None  # the person's or partner's choice; None: our own network, outcomes, then the prefix
    product: str | None = None
    max_price: Money | None = None
    commission_bp: int | None = None  # the partner's; None is the retail price
    quote: str | None = None  # a kept quote, whose price counts
    also: tuple[str, ...] = ()  # further keys of the same ask
    bulk: BulkKey | None = None  # the request that it came in with others; its key is claimed once for all of them


class Order(msgspec.Struct, frozen=True):
    """One top-up as it stands. `replayed` is True when the ask's key or reference already named it."""

    id: str
    cell: int
    payer: str
    channel: str
    number: str
    operator: str
    product: str
    supplier: str  # home: our own network
    face: Money
    price: Money
    cost_minor: int | None
    days: int
    policy: str
    reference: str | None
    payment: str  # unpaid | captured | refund_pending | refunded | expired | disputed
    delivery: str  # quoted | ready | dispatching | delivered | partial | parked | unknown | failed | reversed
    created_at: datetime
    expires_at: datetime | None = None
    deadline: datetime | None = None
    final_at: datetime | None = None
    valid_until: datetime | None = None
    wake_at: datetime | None = None
    captured_minor: int = 0
    refunded_minor: int = 0
    delivered_minor: int = 0
    attempts: int = 0
    parks: int = 0
    reason: str = ""
    fence: int = 0  # counts leases: who holds an older one was overtaken
    cost_currency: str | None = None  # of the supplier's bill, where that is not the currency of the price
    rate_num: int | None = None  # then the rate, frozen: so many minor units of the price's currency …
    rate_den: int | None = None  # … are so many of the supplier's
    limited: bool | None = None  # limits count it
    replayed: bool = False

    def but(self, **changes: object) -> "Order":
        """The same order with some of it changed."""
        return msgspec.structs.replace(self, **changes)

    @property
    def partner(self) -> str | None:
        """The id of the partner whose float pays, or None for a person who pays by a payment method."""
        kind, _, owner = self.payer.partition(":")
        return owner if kind == "partner" else None

    @property
    def cost(self) -> Money | None:
        """What was agreed with the supplier, in its currency; None on our own network."""
        if self.cost_minor is None:
            return None
        return Money(self.cost_minor, self.cost_currency or self.price.currency)

    def in_price(self, cost_minor: int) -> int:
        """What of the supplier's money is in the currency of the price, at the frozen rate, rounded half to even."""
        if self.rate_num is None or self.rate_den is None:
            return cost_minor
        return share(cost_minor, self.rate_num, self.rate_den)

    @property
    def waiting_minor(self) -> int:
        """What of the price waits for an undelivered order; a lost dispute may have taken a part of it."""
        return self.price.minor - self.refunded_minor

    @property
    def status(self) -> str:
        """One word for a client: processing, succeeded, failed, partial, cancelled or reversed."""
        match self.delivery:
            case "delivered":
                return "succeeded"
            case "partial" | "reversed" | "failed":
                return self.delivery
            case "unknown" if self.payment in ("refund_pending", "refunded"):
                return "failed"  # rule 5: the payer has the money back; `certainty` says that it is provisional
        return "cancelled" if self.payment == "expired" else "processing"

    @property
    def certainty(self) -> str:
        """`final`: will not change; `provisional`: refunded without proof; `unknown`: being asked; else `pending`."""
        if self.delivery == "unknown":
            return "provisional" if self.status == "failed" else "unknown"
        return "final" if self.final_at is not None else "pending"


@dataclass(frozen=True, slots=True)
class Payment:
    """One try to pay an order by one method; `reference` is ours at the gateway."""

    order_id: str
    n: int
    method: str
    scene: str
    reference: str
    amount: Money
    state: str  # open | captured | closed
    opened_at: datetime
    expires_at: datetime
    polls: int = 0
    poll_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to one supplier, committed before any byte is sent."""

    order_id: str
    n: int
    supplier: str
    request_id: str
    state: str  # prepared | unknown | done | refused
    prepared_at: datetime
    send_before: datetime
    hard_end: datetime
    inquiries: int = 0
    inquire_at: datetime | None = None
    their_id: str | None = None
    code: str = ""
    cost_minor: int | None = None
    fence: int = 0  # the lease under which it was prepared
    why: str = ""  # why this supplier: catalogue.routing.Choice.why


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back to where it came from; `source` is the account it comes out of."""

    order_id: str
    n: int
    method: str
    reference: str
    merchant: str
    transaction: str
    captured_minor: int
    amount: Money
    source: str
    request_id: str
    state: str  # due | sent | done | cancelled | stuck
    why: str
    opened_at: datetime
    asks: int = 0
    ask_at: datetime | None = None
    done_at: datetime | None = None
    claim_until: datetime | None = None  # done by a claim code, which may be redeemed until then


@dataclass(frozen=True, slots=True)
class Proposal:
    """A refund that one person asked for and another must confirm; `why` is for our eyes, not for the gateway's."""

    order_id: str
    n: int
    amount: Money
    why: str
    asked_by: str
    asked_at: datetime
    state: str = "open"  # open | confirmed | declined
    decided_by: str | None = None
    decided_at: datetime | None = None
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Chargeback:
    """A payment that the payer's bank disputes, as our book has it.

    counted_minor: what of a lost one counts as given back to the payer of the order; the rest was given back before, or
    had paid for nothing.
    """

    order_id: str
    n: int
    method: str
    merchant: str
    transaction: str
    amount: Money
    reason: str
    state: str  # opened | won | lost
    opened_at: datetime
    evidence_by: datetime | None = None
    decided_at: datetime | None = None
    counted_minor: int = 0


@dataclass(frozen=True, slots=True)
class Dossier:
    """An order with everything that is still moving around it."""

    order: Order
    payments: tuple[Payment, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    refunds: tuple[Refund, ...] = ()

    @property
    def open_attempt(self) -> Attempt | None:
        return next((a for a in self.attempts if a.state in ("prepared", "unknown")), None)


def request_id(order_id: str, n: int) -> str:
    """Our name for attempt `n` at a supplier: a function of order and number, so that a rerun asks for the same thing."""
    return f"{order_id}a{n}"


def refund_id(order_id: str, n: int) -> str:
    """Our name for refund `n` at a gateway; the same refund always has the same name."""
    return f"{order_id}r{n}"


def payment_reference(order_id: str, n: int) -> str:
    """Our name for payment `n` at a gateway."""
    return f"{order_id}p{n}"


def order_of(name: str) -> str:
    """The order that a request, refund or payment reference belongs to: the first 27 characters."""
    return name[:27]
