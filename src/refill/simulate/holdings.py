"""What we keep for people ourselves, cards, codes, wallets and a till, explained to the cent; and the rows that tell of money."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from refill.db import Statement
from refill.simulate.people import People
from refill.topup.order import order_of
from refill.vault import Vault
from refill.vouchers import Pin

CAPTURES = Statement("""
    SELECT method, reference, transaction, minor, fate, paid_at, noticed_at
      FROM topup_capture ORDER BY reference, transaction
""")
REFUNDS = Statement("""
    SELECT request_id, state, minor, why, method, reference, done_at FROM topup_refund ORDER BY request_id
""")
TRANSFERS = Statement("SELECT id, debit, credit, minor, at FROM ledger_transfer ORDER BY id")
BALANCES = Statement("SELECT name, balance FROM ledger_account WHERE balance <> 0 ORDER BY name")
VOUCHERS = Statement("SELECT serial, pin, kind, minor, state, spent_on FROM vouchers_voucher ORDER BY serial")
PROPOSALS = Statement("""
    SELECT order_id, n, minor, state, asked_by, decided_by FROM topup_proposal ORDER BY order_id, n
""")
DISPUTES = Statement("""
    SELECT order_id, n, transaction, minor, state, counted_minor FROM topup_dispute ORDER BY order_id, n
""")
FILLED = Statement("SELECT id, payer, delivered_minor FROM topup_order WHERE supplier = 'wallet' ORDER BY id")


class Capture(NamedTuple):
    """Money that our book says arrived."""

    method: str
    reference: str
    transaction: str
    minor: int
    fate: str
    paid_at: datetime
    noticed_at: datetime


class Refund(NamedTuple):
    """Money that our book sends back."""

    request_id: str
    state: str
    minor: int
    why: str
    method: str
    reference: str
    done_at: datetime | None


class Transfer(NamedTuple):
    """One leg of an entry."""

    id: str
    debit: str
    credit: str
    minor: int
    at: datetime


class Card(NamedTuple):
    """A voucher as it stands: a scratch card or a claim code."""

    serial: str
    pin: Any  # the hash of it
    kind: str
    minor: int
    state: str
    spent_on: str | None


class Proposal(NamedTuple):
    """A refund that staff asked for."""

    order_id: str
    n: int
    minor: int
    state: str
    asked_by: str
    decided_by: str | None


class Money:
    """All rows that tell of money when a day is over."""

    def __init__(self, read: Callable[[Statement], list[tuple[Any, ...]]]) -> None:
        self.captures = [Capture(*row) for row in read(CAPTURES)]
        self.refunds = [Refund(*row) for row in read(REFUNDS)]
        self.transfers = [Transfer(*row) for row in read(TRANSFERS)]
        self.cards = [Card(*row) for row in read(VOUCHERS)]
        self.proposals = [Proposal(*row) for row in read(PROPOSALS)]
        self.filled = read(FILLED)
        self._balances: dict[str, int] = dict(read(BALANCES))
        self._disputes = read(DISPUTES)

    def told(self) -> Iterator[list[Any]]:
        """The rows, for the digest."""
        yield from (self.captures, self.refunds, self.transfers, self.cards, self.proposals, self._disputes)

    def balance(self, name: str) -> int:
        """Of an account, 0 when there is none."""
        return self._balances.get(name, 0)

    def wallets(self) -> dict[str, int]:
        """The wallets that are not empty."""
        return {name: minor for name, minor in self._balances.items() if name.startswith("wallet:")}

    def claims(self) -> dict[str, Card]:
        """Claim codes by the refund that each was made for."""
        return {card.serial: card for card in self.cards if card.kind == "claim"}

    def given_inside(self, payers: Mapping[str, str]) -> Iterator[tuple[str, int, datetime]]:
        """What payers got back from ourselves: in their own wallet, or as a code. (reference, minor, at)"""
        claims = self.claims()
        moved: dict[tuple[str, str], int] = defaultdict(int)
        for transfer in self.transfers:
            step, _, _ = transfer.id.rpartition(".")
            moved[step, transfer.credit] += transfer.minor
        for refund in self.refunds:
            order_id, n = order_of(refund.request_id), refund.request_id.rpartition("r")[2]
            wallet = moved[f"{order_id}.refund.{n}", f"wallet:{payers[order_id]}/CNY"]
            if refund.method == "wallet" and wallet and refund.done_at:
                yield refund.reference, wallet, refund.done_at
            elif refund.request_id in claims and refund.done_at:
                yield refund.reference, claims[refund.request_id].minor, refund.done_at


def explain(vault: Vault, people: People, money: Money, payers: Mapping[str, str]) -> Iterator[str]:
    """What does not hold in what we keep for people ourselves."""
    yield from _cards(vault, people, money)
    yield from _claims(money)
    yield from _till(people, money)
    yield from _wallets(money, payers)
    for proposal in money.proposals:
        if proposal.state == "confirmed" and proposal.asked_by == proposal.decided_by:
            yield f"I12: one person alone gave back {proposal.minor} of {proposal.order_id}"


def _cards(vault: Vault, people: People, money: Money) -> Iterator[str]:
    """I13: each card pays once, for what its holder was told, and we owe holders what their cards are worth."""
    by_pin = {card.pin.hex: card for card in money.cards}
    paid: dict[str, list[Capture]] = defaultdict(list)
    for capture in money.captures:
        if capture.method == "voucher":
            paid[capture.transaction].append(capture)
    for pin in (*people.cards.sold, *people.cards.codes):
        name = people.cards.name(pin)
        card, told = by_pin.get(Pin(pin).digest(vault)), people.heard.orders.get(f"card {name}", set())
        if card is None:
            yield f"I3: card {name} was given to somebody and is lost"
            continue
        if told - {card.spent_on}:
            yield f"I13: card {name} was used for {card.spent_on}, and its holder was told of {' '.join(sorted(told))}"
    for card in money.cards:
        orders = [order_of(capture.reference) for capture in paid.pop(card.serial, [])]
        if orders != [card.spent_on] * (card.state == "redeemed"):
            yield f"I13: {card.serial} is {card.state} for {card.spent_on}, and paid {' '.join(orders)}"
    for serial in paid:
        yield f"I7: {serial} paid {order_of(paid[serial][0].reference)}, and there is no such card"
    for pin in people.cards.unsold:
        if by_pin[Pin(pin).digest(vault)].state != "stock":
            yield "I13: a card that was never sold is not in stock"
    codes = sum(card.minor for card in money.cards if card.kind == "claim")
    used = sum(card.minor for card in money.cards if card.state == "redeemed")
    owed = people.cards.worth_minor + codes - used
    if owed != money.balance("voucher:liability/CNY"):
        yield f"I13: cards are worth {owed}, our book says {money.balance('voucher:liability/CNY')}"


def _claims(money: Money) -> Iterator[str]:
    """Rule 10: cash and vouchers come back as a code, each refund as one, of its amount."""
    claims = money.claims()
    for refund in money.refunds:
        if refund.method not in ("voucher", "cash") or refund.state != "done":
            continue
        code = claims.pop(refund.request_id, None)
        if code is None or code.minor != refund.minor:
            yield f"I2: {refund.request_id} gave {refund.minor} back, and its code is worth {code.minor if code else 0}"
    for serial in claims:
        yield f"I4: {serial} has a code, and gave nothing back"


def _till(people: People, money: Money) -> Iterator[str]:
    """I4: what the clerk counted is what our book says."""
    booked = {order_of(one.reference): one.minor for one in money.captures if one.method == "cash"}
    if booked != people.drawer:
        yield f"I4: the till holds {sum(people.drawer.values())}, our book says {sum(booked.values())}"


def _wallets(money: Money, payers: Mapping[str, str]) -> Iterator[str]:
    """Each wallet holds what was filled, left over of cards and paid back, less what it paid; and never less than nothing."""
    held: dict[str, int] = defaultdict(int)
    filled = {order_id for order_id, _, _ in money.filled}
    worth = {card.serial: card.minor for card in money.cards}
    for _, payer, minor in money.filled:
        held[payer] += minor
    for capture in money.captures:
        payer = payers[order_of(capture.reference)]
        if capture.method == "wallet":
            held[payer] -= capture.minor
        elif capture.method == "voucher":
            held[payer] += worth.get(capture.transaction, 0) - capture.minor
    for refund in money.refunds:
        order_id = order_of(refund.request_id)
        if refund.method == "wallet" and refund.state == "done":
            held[payers[order_id]] += refund.minor
    for proposal in money.proposals:
        if proposal.order_id in filled and proposal.state == "confirmed":  # the credit itself is given back
            held[payers[proposal.order_id]] -= proposal.minor
    expected = {f"wallet:{payer}/CNY": minor for payer, minor in held.items() if minor}
    for name in sorted(expected.keys() | money.wallets().keys()):
        if expected.get(name, 0) != money.balance(name) or money.balance(name) < 0:
            yield f"I4: {name} holds {money.balance(name)}, and {expected.get(name, 0)} is explained"
