"""The port of an operator's supplier: how credit is ordered, how we ask what became of it, what it costs."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

import msgspec

from refill.errors import BadInput, NotAnAmount
from refill.money import EXPONENT, Money, amount
from refill.outcome import Outcome
from refill.world import Request, Response, World


@dataclass(frozen=True, slots=True)
class Recharge:
    """Credit we order for a number. `request_id` is ours and deterministic (order, attempt), at most 32 characters."""

    request_id: str
    msisdn: str  # digits, with country code
    face: Money
    operator: str
    product: str
    send_before: datetime  # checked immediately before the first byte is written
    most_cost: Money | None = None  # what we agreed to pay; a wire that has a guard against higher prices carries it


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the supplier says it delivered.

    `face` less than asked is a partial delivery; `cost` is None when they do not tell.
    """

    supplier_reference: str
    msisdn: str
    face: Money
    cost: Money | None = None


@dataclass(frozen=True, slots=True)
class SupplierNotice:
    """A verified callback. It only triggers an immediate inquiry; it is never believed by itself.

    `fresh` False: correctly signed, but old or repeated much later. It is still worth an inquiry, never a drop.
    """

    id: str
    request_id: str
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Flags:
    """What an adapter must declare, because money hangs on it (DOMAIN rule 3).

    dedups_our_reference: the same request_id sent twice is one recharge there.
    not_found_is_final_after: how long after an attempt's hard end "not found" means never; None: it never does.
    can_reverse: credit can be taken back by asking.
    timeout_s: the hard end of one request.
    """

    dedups_our_reference: bool
    not_found_is_final_after: timedelta | None
    can_reverse: bool
    timeout_s: float = 30.0


class Supplier(Protocol):
    """One supplier of credit behind a wire; one file on this shelf. All calls go through `world.call`, once each."""

    @property
    def name(self) -> str:
        """Also in accounts: float:<name>."""

    @property
    def flags(self) -> Flags:
        """What it must declare."""

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        """Orders credit. Refused only by the adapter's own code table, or NOT_SENT when the connection was refused."""

    async def inquire(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        """What became of it.

        "Never heard of it" is Unknown(NOT_FOUND): whether that is final, the flow decides by the flags.
        """

    async def balance(self, world: World, currency: str) -> Outcome[Money]:
        """Our float there."""

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        """Verifies a callback on its raw bytes; with `received_at` also its age. Raises NotVerified."""


@runtime_checkable
class Quarantined(Protocol):
    """What a supplier whose signature proves little has beside the port itself: its notices come from known places only."""

    def admits(self, address: str) -> bool:
        """Whether a notice from this address, as the connection shows it, may be read at all."""


class PriceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on a supplier's price list, in the supplier's own words: `operator` and `product` are its ids.

    kind fixed: `face` costs `cost`. kind range: from `face` at `cost` to `most` at `most_cost`, both ends included.
    The cost may be in another currency than the face. `product` is what `Recharge.product` would have to lead to.
    """

    operator: str
    product: str
    kind: Literal["fixed", "range"]
    face: Money
    cost: Money
    most: Money | None = None
    most_cost: Money | None = None
    country: str = ""  # ISO 3166-1, in two letters or three as they write it; "" when they do not tell
    name: str = ""


class PriceList(msgspec.Struct, frozen=True):
    """What a supplier sells us. `unread`: their ids of what is on it and cannot be read, such as an unknown currency."""

    lines: tuple[PriceLine, ...]
    unread: tuple[str, ...] = ()


class Priced(Protocol):
    """What a supplier that hands out its price list through the wire has beside the port itself."""

    async def price_list(self, world: World) -> Outcome[PriceList]:
        """The whole list, however many requests it takes; Unknown when any of it cannot be had. Never Refused."""


# ------------------------------------------------------------------ statements, and credit that is taken back


class SupplierLine(NamedTuple):
    """One row of a supplier's own statement: what left our float there, or came back to it.

    `minor` is above zero, in minor units of `currency`. At least one of `request_id` and `reference` is there.
    """

    kind: str  # recharge | reversal
    request_id: str  # ours
    reference: str  # theirs
    minor: int
    currency: str
    at: datetime


@runtime_checkable
class ReadsStatements(Protocol):
    """What a supplier has beside the port itself whose statements we can read."""

    def read_statement(self, file: BinaryIO) -> Iterator[SupplierLine]:
        """The rows of a statement, one at a time. Raises BadStatement at a row that cannot be read."""


@runtime_checkable
class SendsStatements(ReadsStatements, Protocol):
    """A supplier whose wire lists what it did for us."""

    async def fetch_statement(self, world: World, since: datetime, until: datetime) -> Outcome[bytes]:
        """Done(the file, as `read_statement` takes it) of what they did from `since` to before `until`; Unknown."""


@dataclass(frozen=True, slots=True)
class Reversal:
    """Credit that we ask a supplier to take back. `request_id` is ours and deterministic; `recharge` is what it undoes."""

    request_id: str
    recharge: Recharge
    supplier_reference: str


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What a supplier says it took back: all of the credit. `returned` is what came back to our float; None: all of it."""

    supplier_reference: str
    returned: Money | None = None


# Answers about a reversal that are definite; the reasons of Refused.
SPENT = "spent"  # not all of the credit is there any more
OVERDUE = "overdue"  # the operator's time for it is over
STANDS = "stands"  # the credit was not taken back, as far as they know: nobody asked, or not yet


@runtime_checkable
class TellsReversals(Protocol):
    """What a supplier has beside the port itself whose wire tells that delivered credit was taken back."""

    async def inquire_reversal(self, world: World, ask: Reversal) -> Outcome[TakenBack]:
        """Is the credit taken back? Refused(STANDS) when it is still there, as far as they know."""


@runtime_checkable
class Reverses(TellsReversals, Protocol):
    """A supplier that takes credit back when it is asked (冲正); `flags.can_reverse` says whether it does so for us."""

    async def reverse(self, world: World, ask: Reversal) -> Outcome[TakenBack]:
        """Asks for it, once; a repeat under that request_id is the same reversal. Refused only by the code table."""


# ------------------------------------------------------------------ settings of several suppliers of one kind


def names_in(settings: Mapping[str, str], kind: str) -> list[str]:
    """The suppliers that the setting `<kind>_suppliers` names, such as "northtel, southtel"."""
    return settings.get(f"{kind}_suppliers", "").replace(",", " ").split()


def on_tls(url: str) -> bool:
    """Is it https, or on this machine?"""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Said:
    """What the settings say of one of them: `Said("http_json", "northtel", settings).text("url")`. All raise BadInput."""

    kind: str
    name: str
    settings: Mapping[str, str]

    def text(self, what: str, default: str | None = None) -> str:
        """The setting `<kind>_<name>_<what>`; without a default it must be there."""
        value = self.settings.get(f"{self.kind}_{self.name}_{what}", default)
        if value is None or (not value and default is None):
            raise BadInput(f"The setting {self.kind}_{self.name}_{what} is missing; the supplier {self.name} needs it.")
        return value

    def address(self) -> str:
        """The setting `url` of a supplier whose answers are not signed: https, unless `plain_http` says yes.

        Without TLS, whoever sits on the way may say that credit was delivered.
        """
        url = self.text("url")
        if not on_tls(url) and not self.yes("plain_http", "no"):
            stem = f"{self.kind}_{self.name}"
            raise BadInput(f"The setting {stem}_url is not https; {stem}_plain_http=yes accepts it.")
        return url

    def yes(self, what: str, default: str | None = None) -> bool:
        """A setting that is yes or no."""
        value = self.text(what, default)
        if value not in ("yes", "no"):
            raise BadInput(f"The setting {self.kind}_{self.name}_{what} is {value!r}; write yes or no.")
        return value == "yes"

    def seconds(self, what: str, default: str | None = None) -> int:
        """A setting in whole seconds."""
        value = self.text(what, default)
        if not re.fullmatch(r"[0-9]{1,8}", value):
            raise BadInput(f"The setting {self.kind}_{self.name}_{what} is {value!r}; write whole seconds.")
        return int(value)

    def flags(self, *, can_reverse: bool, dedups: bool | None = None, timeout_s: str = "30") -> Flags:
        """The flags that have no default because money hangs on them, and the hard end of one request.

        `dedups` where the wire itself says it of everybody; else each supplier's setting does.
        """
        never = self.text("not_found_final_s") == "never"
        return Flags(
            dedups_our_reference=self.yes("dedups") if dedups is None else dedups,
            not_found_is_final_after=None if never else timedelta(seconds=self.seconds("not_found_final_s")),
            can_reverse=can_reverse,
            timeout_s=self.seconds("timeout_s", timeout_s),
        )


# ------------------------------------------------------------------ reading answers exactly


class Number(str):
    """A JSON number in its own digits: "12.50" stays "12.50" and never becomes a float."""

    __slots__ = ()


def json_value(body: bytes) -> Any:
    """JSON in which every number is a Number and no object names a member twice.

    Raises ValueError, or RecursionError for a very deep one.
    """
    return json.loads(
        body.decode("utf-8"),
        object_pairs_hook=_once,
        parse_float=Number,
        parse_int=Number,
        parse_constant=_no_constant,
    )


def exactly(number: object, currency: object) -> Money:
    """A JSON number or decimal string as an amount above zero: 12.5, "12.50" and 12.5000 are the same.

    Refuses what has more decimals than the currency, zero, signs and exponents. Raises NotAnAmount.
    """
    text = number if isinstance(number, str) and len(number) <= 40 else None
    if text is not None and "." in text:
        text = text.rstrip("0").removesuffix(".")
    return amount(text, currency)


def nearly(number: object, currency: object) -> Money:
    """A cost or balance of theirs, which may be zero, negative, or finer than our minor units: those round half to even.

    Raises NotAnAmount.
    """
    text = number if isinstance(number, str) and len(number) <= 40 else ""
    digits = text.removeprefix("-")
    whole, _, part = digits.partition(".")
    if not (whole + part).isascii() or not (whole + part).isdigit() or not whole or currency not in EXPONENT:
        raise NotAnAmount(f"{text[:20]!r} {str(currency)[:8]} is not an amount.")
    scale = 10 ** len(part)
    minor, rest = divmod(int(whole + part) * 10 ** EXPONENT[str(currency)], scale)
    minor += 2 * rest > scale or (2 * rest == scale and minor % 2)
    return Money(-minor if text.startswith("-") else minor, str(currency))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it names a member twice")
    return members


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not a number")


# ------------------------------------------------------------------ examples


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation for the shelf's generic tests: they answer our request so, what do we make of it?

    `at_once`: what the very first request comes to, on a wire where it says less than an inquiry.
    """

    says: str
    ask: Recharge
    answers: Callable[[Request], Response]
    expect: str  # "done" | "refused" | "unknown"
    reason: str = ""  # of a refusal or an unknown, where the flow reacts to it
    at_once: str = ""  # "" where both say the same
