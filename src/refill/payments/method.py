"""The port of a payment method: how a person pays, how we ask what became of it, how money goes back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, BinaryIO, NamedTuple, Protocol, runtime_checkable

from refill.errors import BadStatement
from refill.money import Money
from refill.outcome import Done, Outcome, Refused, Unknown
from refill.world import World


@dataclass(frozen=True, slots=True)
class Charge:
    """Money we ask a person for; nobody can pay after `expires_at`.

    `reference` is ours: at most 32 characters, unique for ever.
    """

    reference: str
    amount: Money
    subject: str  # what the person reads at the gateway, never a whole phone number
    expires_at: datetime
    # page | wap (a telephone's browser) | app (our own app) | qr | jsapi (inside WeChat) | barcode (at a till) | till
    scene: str = "page"
    notify_url: str = ""
    return_url: str = ""
    payer_ip: str = ""  # for wap, where the firm asks for it
    openid: str = ""  # for jsapi: who the person is to our account at the firm
    auth_code: str = field(default="", repr=False)  # for barcode: what the till read off the person's telephone


@dataclass(frozen=True, slots=True)
class Invitation:
    """Where the person pays: `redirect` is a page to open, `form` one to open by sending `fields` to it (POST), `qr` the
    text of a QR code, `bridge` what our page hands to the firm's app around it, `app` the text in `url` that our own app
    hands to the firm's, `wait`: the person confirms on their own telephone, `paid`: nothing is left."""

    kind: str  # redirect | form | qr | bridge | app | wait | paid
    url: str = ""
    bridge: Mapping[str, str] = field(default_factory=dict, hash=False)
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)  # of a form


@dataclass(frozen=True, slots=True)
class Capture:
    """A verified payment, in the gateway's own words; (method, merchant, transaction) is unique for ever."""

    method: str
    merchant: str
    transaction: str  # the gateway's number
    reference: str  # ours
    amount: Money
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class RefundAsk:
    """Money back to where it came from; `request_id` is ours and deterministic, so asking twice refunds once."""

    request_id: str
    reference: str  # the charge's
    transaction: str  # the gateway's number of the capture
    amount: Money
    captured: Money
    reason: str


@dataclass(frozen=True, slots=True)
class Dispute:
    """The payer's bank takes the money back, or says that it will not: a chargeback."""

    transaction: str  # the gateway's number of the capture
    state: str  # opened | won | lost
    amount: Money
    reason: str
    evidence_by: datetime | None = None  # until then we may show that we delivered


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice whose signature holds. `fresh` False (correctly signed, but old) triggers a query, never a drop."""

    id: str  # theirs: unique with the method's name
    reference: str
    capture: Capture | None  # None: about something else than money arriving; ask by query
    fresh: bool = True
    dispute: Dispute | None = None


@dataclass(frozen=True, slots=True)
class RawNotice:
    """A callback exactly as it arrived, kept in `inbox` before anyone reads it."""

    body: bytes
    headers: Mapping[str, str]
    received_at: datetime


class StatementLine(NamedTuple):
    """One row of a firm's own statement; `minor` is above zero, in minor units of `currency`."""

    kind: str  # payment | refund
    reference: str  # ours: the charge's
    request_id: str  # ours: the refund's; empty for a payment
    transaction: str  # theirs: of the payment
    minor: int
    fee_minor: int  # what the firm keeps of it; below zero where it gives a fee back
    currency: str
    at: datetime


# Answers of `query` and `close` that are definite but not money; the reasons of Refused.
WAITING = "waiting"  # the person may still pay
CLOSED = "closed"  # nobody can pay this any more
ABSENT = "absent"  # the gateway does not know it: final only after expires_at
ALREADY_PAID = "already_paid"  # close came too late: query for the capture


@dataclass(frozen=True, slots=True)
class Can:
    """What a method can do."""

    refund: bool = True
    partial_refund: bool = True
    close: bool = True
    close_gives_back: bool = False  # what is paid in the very moment in which we close it, the firm returns by itself
    query: bool = True
    barcode: bool = False
    statement: bool = False
    inside: bool = False  # paid on our own page by `flow.pay_inside`; nobody is invited elsewhere
    scenes: tuple[str, ...] = ("page",)


class Method(Protocol):
    """One payment method; one file on this shelf. All calls go through `world.call`, once each."""

    name: str  # also in accounts: clearing:<name>
    can: Can
    currencies: frozenset[str]

    async def begin(self, world: World, charge: Charge) -> Outcome[Invitation]:
        """Where to send the person. May be asked again for the same reference; nothing is captured by it."""

    async def query(self, world: World, reference: str) -> Outcome[Capture]:
        """Done(capture) when paid; Refused(WAITING | CLOSED | ABSENT); Unknown."""

    async def close(self, world: World, reference: str) -> Outcome[str]:
        """Done when nobody can pay it any more; Refused(ALREADY_PAID | ABSENT); Unknown."""

    async def refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        """Done(their number) when the money is on its way back; a repeat with that request_id is the same refund."""

    async def query_refund(self, world: World, ask: RefundAsk) -> Outcome[str]:
        """Done when that refund happened; Refused(ABSENT) when it surely did not; Unknown."""

    def read_notice(self, raw: RawNotice) -> Notice:
        """Verifies signature, application and merchant on the raw bytes. Raises NotVerified."""

    def acknowledge(self, accepted: bool) -> tuple[int, bytes]:
        """The HTTP status and body that tells the gateway to stop (or to try again later)."""

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        """The rows of a statement as the firm sends it, one at a time.

        Raises BadStatement at a row that cannot be read and, at the end, when the file's totals are not its rows' sums.
        """


@runtime_checkable
class SendsStatements(Protocol):
    """A method whose firm hands out its statements over the wire."""

    async def fetch_statement(self, world: World, day: date) -> Outcome[bytes]:
        """Done(the file, as `read_statement` takes it); Refused(ABSENT) when there is none (yet); Unknown."""


@runtime_checkable
class AsksWho(Protocol):
    """A method whose firm tells, in the browser of its own app, who the person is to our account there: for `jsapi`."""

    @property
    def asks_who(self) -> bool:
        """Is everything set that the firm wants for it?"""

    def who_url(self, return_url: str, state: str) -> str:
        """Where to send the person, who comes back to `return_url` with `code` and our `state` (letters and digits)."""

    async def who(self, world: World, code: str) -> Outcome[str]:
        """Done(who the person is: a charge's `openid`); Refused when the code is spent or none of theirs; Unknown."""


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation of a method for the shelf's generic tests: what arrives and what we must make of it."""

    says: str
    raw: RawNotice
    expect: str  # "capture" | "not_verified" | "stale" | "other"
    context: Mapping[str, Any] = field(default_factory=dict)


__all__ = [
    "ABSENT",
    "ALREADY_PAID",
    "CLOSED",
    "WAITING",
    "AsksWho",
    "BadStatement",
    "Can",
    "Capture",
    "Charge",
    "Dispute",
    "Done",
    "Example",
    "Invitation",
    "Method",
    "Notice",
    "Outcome",
    "RawNotice",
    "RefundAsk",
    "Refused",
    "SendsStatements",
    "StatementLine",
    "Unknown",
]
