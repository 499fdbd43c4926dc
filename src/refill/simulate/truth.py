"""What must hold when a day is over: our books against what payment firms and operators truly did."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from refill.db import Statement, Tx
from refill.money import share
from refill.simulate.day import FIRM_REMEMBERS, HEALED_AT_S, WORST_LATENESS, Day
from refill.simulate.gateways import INSIDE, Fought
from refill.simulate.holdings import Money, explain
from refill.topup import check as topup_check
from refill.topup.order import order_of

NOTICED_WITHIN = timedelta(minutes=5)
ANSWERED_WITHIN = timedelta(seconds=15)  # the last question of the five minutes may be on its way
SETTLED_WITHIN = timedelta(hours=2, minutes=30)  # after healing, or after the deadline: an hour between two questions

ORDERS = Statement("""
    SELECT id, payer, supplier, face_minor, price_minor, payment, delivery, captured_minor, refunded_minor,
           delivered_minor, reason, created_at, expires_at, deadline, final_at, due
      FROM topup_order ORDER BY id
""")
EVENTS = Statement("SELECT order_id, transition, n, at, detail FROM topup_event ORDER BY order_id, at, transition, n")
TEXTS = Statement("""
    -- Everything that the engine wrote down in words
    SELECT says || ' ' || about FROM cases_case UNION ALL SELECT detail FROM topup_event
    UNION ALL SELECT reason FROM topup_order UNION ALL SELECT code FROM topup_attempt
    UNION ALL SELECT remark FROM inbox_notice UNION ALL SELECT their_id FROM inbox_notice
""")
ATTEMPTS = Statement("SELECT supplier, prepared_at, why FROM topup_attempt ORDER BY supplier, prepared_at, request_id")
CASES = Statement("SELECT kind, about FROM cases_case ORDER BY id")

OURSELVES = ("home", "wallet")  # what we deliver without an operator


@dataclass
class Account:
    """One order: its row, and what became of it in the world."""

    id: str
    payer: str
    supplier: str
    face: int
    price: int
    payment: str
    delivery: str
    captured: int
    refunded: int
    delivered: int
    reason: str
    created_at: datetime
    expires_at: datetime | None
    deadline: datetime | None
    final_at: datetime | None
    due: datetime | None
    events: list[tuple[str, int, datetime]] = field(default_factory=list)
    credits: list[tuple[int, datetime]] = field(default_factory=list)  # that phones truly got from operators
    taken: dict[str, int] = field(default_factory=dict)  # that was truly paid, by reference
    back: dict[str, list[tuple[int, datetime]]] = field(default_factory=lambda: defaultdict(list))
    fought: dict[str, Fought] = field(default_factory=dict)  # by reference: the last that a payer's bank did
    goodwill: int = 0  # what two people of the staff gave back although the credit stays

    @property
    def is_guest(self) -> bool:
        return self.payer.startswith("guest:")

    @property
    def surprising(self) -> bool:
        """DOMAIN rule 5: the outcome was unknown at the deadline, so it may be delivered and refunded, once each."""
        return any(name in ("overdue", "late_delivery") for name, _, _ in self.events)


def judge(day: Day) -> list[str]:
    """What does not hold, in sentences; and everything that stands in the books into the run's digest."""

    def read(statement: Statement) -> list[tuple[Any, ...]]:
        return day.books.run(lambda tx: tx.rows(statement))

    accounts = {row[0]: Account(*row) for row in read(ORDERS)}
    events, cases = read(EVENTS), read(CASES)
    money = Money(read)
    for rows in (read(ORDERS), events, *money.told(), cases):
        for row in rows:
            day.kernel.note(*row)
    for order_id, name, n, at, _ in events:
        if order_id in accounts:
            accounts[order_id].events.append((name, n, at))
    findings = _gather(day, accounts, money, read)
    findings += [f"an error escaped: {error}" for error in day.kernel.errors]
    findings += day.people.heard.wrong
    findings += _book(day)
    findings += _promises(day, accounts)
    fates = {capture.reference: capture.fate for capture in money.captures}
    for account in accounts.values():
        findings += _order(day, account, fates, set(cases))
    findings += _captures(day, money)
    findings += _balances(day, money)
    findings += _left_over(accounts, money)
    findings += _stuck(accounts, money, set(cases))
    findings += _pace(day, read(ATTEMPTS))
    findings += explain(day.vault, day.people, money, {one.id: one.payer for one in accounts.values()})
    findings += _whole_numbers(day, [text for (text,) in read(TEXTS)])
    return findings


def _gather(
    day: Day, accounts: dict[str, Account], money: Money, read: Callable[[Statement], list[tuple[Any, ...]]]
) -> list[str]:
    """Puts what truly happened beside each order."""
    findings = []
    for operator in day.operators.values():
        for credit in operator.far.credits:
            account = accounts.get(order_of(credit.request_id))
            if account is None:
                findings.append(f"I3: {credit.request_id} was delivered for an order that does not exist")
            else:
                account.credits.append((credit.face_minor, credit.at))
    for order_id, minor, at in day.pins.credits(read):
        accounts[order_id].credits.append((minor, at))
    for firm in day.gateways:
        for taken in firm.taken():
            account = accounts.get(order_of(taken.reference))
            if account is None:
                findings.append(f"I3: {taken.reference} was paid for an order that does not exist")
            else:
                account.taken[taken.reference] = taken.minor
        for given in firm.given():
            accounts[order_of(given.reference)].back[given.reference].append((given.minor, given.at))
        for fought in firm.fought():
            accounts[order_of(fought.reference)].fought[fought.reference] = fought
    for capture in money.captures:
        if capture.method in INSIDE:  # `explain` compares these with what people hold
            accounts[order_of(capture.reference)].taken[capture.reference] = capture.minor
    payers = {one.id: one.payer for one in accounts.values()}
    for reference, minor, at in money.given_inside(payers):
        accounts[order_of(reference)].back[reference].append((minor, at))
    for proposal in money.proposals:
        account = accounts[proposal.order_id]
        if ("goodwill", proposal.n) in ((name, n) for name, n, _ in account.events):
            account.goodwill += proposal.minor
    return findings


def _book(day: Day) -> list[str]:
    """I1, I4, I5, I8, I14: what `refill check` finds."""

    async def work(tx: Tx) -> list[str]:
        return await topup_check.check_in(tx, lambda done, total: None, steps=1)

    return day.books.run(work)


def _promises(day: Day, accounts: dict[str, Account]) -> Iterator[str]:
    """I3: what was acknowledged is there, and one key is one order."""
    for name, told in day.people.heard.orders.items():
        if len(told) > 1:
            yield f"I3: {name} was answered with {len(told)} orders: {' '.join(sorted(told))}"
        for order_id in sorted(told):
            if order_id not in accounts:
                yield f"I3: {order_id} was acknowledged and is lost"
    owners = defaultdict(set)
    for name, told in day.people.heard.orders.items():
        for order_id in told:
            owners[order_id].add(name)
    acknowledged = len(owners)
    if len(accounts) > acknowledged + day.size:
        yield "I3: there are far more orders than requests"


def _order(day: Day, order: Account, fates: dict[str, str], cases: set[tuple[str, str]]) -> Iterator[str]:
    """I2, I7, I9 and liveness of one order."""
    main = [reference for reference in order.taken if fates.get(reference) == "order"]
    strays = [reference for reference in order.taken if reference not in main]
    for reference in strays:
        yield from _stray(order, reference)
    if len(main) > 1:
        yield f"I2: {order.id} was paid {len(main)} times"
    given = sum(minor for minor, _ in order.credits) if order.supplier not in OURSELVES else order.delivered
    if len(order.credits) > 1:
        yield f"I2: {order.id} was delivered {len(order.credits)} times"
    if order.is_guest:
        paid = sum(order.taken[reference] for reference in main)
        refunds = [refund for reference in main for refund in order.back[reference]]
        back = sum(minor for minor, _ in refunds)
    else:
        paid, back = order.captured, order.refunded
        refunds = [(back, at) for name, _, at in order.events if back and name in ("failed", "overdue")][:1]
    yield from _settled(day, order)
    if not paid:
        if given or order.delivery != "quoted":
            yield f"I7: {order.id} is {order.delivery} with {given} delivered, and nothing was paid"
        return
    if paid != order.price:
        yield f"I7: {order.id} costs {order.price} and {paid} was paid"
    fought = next((order.fought[reference] for reference in main if reference in order.fought), None)
    if fought is not None and fought.state != "won":
        yield from _fought(order, fought, paid, given, back)
    else:
        # A credit that was taken back afterwards was no goodwill: all of the price is back.
        goodwill = 0 if order.delivery == "reversed" else order.goodwill
        yield from _delivered_or_refunded(order, cases, paid, given, back - goodwill)
    if refunds and not order.surprising and order.delivery != "partial":
        first = min(at for _, at in refunds)
        if any(at > first for _, at in order.credits):
            yield f"I9: {order.id} was refunded while a request could still land"


def _stray(order: Account, reference: str) -> Iterator[str]:
    """What paid for nothing goes back: by us or, when the payer's bank was quicker, by the bank."""
    fought, back = order.fought.get(reference), sum(minor for minor, _ in order.back[reference])
    if fought is not None and fought.state != "won":
        back += fought.minor
    if back != order.taken[reference]:
        returned = [minor for minor, _ in order.back[reference]]
        yield f"I2: {reference} paid nothing and got back {returned} of {order.taken[reference]}"


def _delivered_or_refunded(
    order: Account, cases: set[tuple[str, str]], paid: int, given: int, back: int
) -> Iterator[str]:
    """I2 where no bank interferes; `back` without what the staff gave as goodwill."""
    if given and back and order.delivery != "partial":
        if not order.surprising:
            yield f"I2: {order.id} was delivered and refunded"
        elif back > paid or ("late_success", order.id) not in cases:
            yield f"I2: {order.id} was delivered and refunded, and nobody is told"
    match order.delivery:
        case "delivered" if given != order.face:
            yield f"I2: {order.id} says delivered, and {given} of {order.face} was"
        case "delivered" if back and not order.surprising:
            yield f"I2: {order.id} is delivered, and {back} went back"
        case "partial":
            rest = paid if order.surprising else order.price - share(order.price, given, order.face)
            if given != order.delivered or back != rest:
                yield f"I2: {order.id} was delivered in part ({given}), and {back} went back instead of {rest}"
        case "failed" | "unknown" | "reversed" if back != paid:
            yield f"I2: {order.id} is {order.delivery}, and {back} of {paid} went back"
        case "failed" | "reversed" if given:
            yield f"I2: {order.id} is {order.delivery}, and {given} was delivered"


def _fought(order: Account, fought: Fought, paid: int, given: int, back: int) -> Iterator[str]:
    """I2 where the payer's bank holds the money, or has given it to the payer: nothing leaves twice, nothing is sent anew."""
    if back + fought.minor > paid:
        yield f"I2: {order.id} cost {paid}, and {back} by us and {fought.minor} by the bank went back"
    if order.delivery == "delivered" and given != order.face:
        yield f"I2: {order.id} says delivered, and {given} of {order.face} was"
    if order.delivery == "partial" and given != order.delivered:
        yield f"I2: {order.id} says that {order.delivered} was delivered, and {given} was"
    if order.delivery in ("failed", "ready", "parked") and given and not order.surprising:
        yield f"I2: {order.id} is {order.delivery}, and {given} was delivered"
    if order.delivery in ("failed", "unknown") and fought.state == "lost" and back + fought.minor != paid:
        yield f"I2: {order.id} is {order.delivery}, and {back} and {fought.minor} of {paid} went back"


def _settled(day: Day, order: Account) -> Iterator[str]:
    """Liveness: everything ends, within its bound."""
    healed = day.kernel.began + timedelta(seconds=HEALED_AT_S)
    undecided = any(fought.state == "opened" for fought in order.fought.values())
    if order.due is not None:
        yield f"liveness: {order.id} is {order.payment}/{order.delivery} and still waits for {order.due:%d %H:%M:%S}"
    elif order.final_at is None:
        if (order.delivery, order.payment) != ("unknown", "refunded") and not undecided:
            yield f"liveness: {order.id} is {order.payment}/{order.delivery} and nothing will happen to it"
    else:
        slow = max(operator.far.delay_s[1] for operator in day.operators.values())
        # A bank decides when it likes, staff give back when they like: from then on it is settled as soon as ever.
        others = [at for name, _, at in order.events if name.startswith(("disput", "goodwill"))]
        latest = max(healed, order.deadline or order.created_at, *others) + SETTLED_WITHIN + WORST_LATENESS
        if order.fought:
            latest += FIRM_REMEMBERS
        if order.final_at > latest + timedelta(seconds=slow):
            yield f"liveness: {order.id} was final only {order.final_at - healed} after all was well"


def _captures(day: Day, money: Money) -> Iterator[str]:
    """I4 and liveness of payments: all that payment firms took stands in our book, soon, once, and for what it is."""
    healed = day.kernel.began + timedelta(seconds=HEALED_AT_S)
    noticed = {(one.method, one.reference, one.transaction): one for one in money.captures if one.method not in INSIDE}
    for firm in day.gateways:
        for taken in firm.taken():
            known = noticed.pop((firm.name, taken.reference, taken.transaction), None)
            if known is None:
                if taken.reference not in firm.revoked():
                    yield f"I4: {taken.reference} was paid and is not in our book"
                continue
            if known.minor != taken.minor:
                yield f"I4: {taken.reference} was paid with {taken.minor}, our book says {known.minor}"
            if known.noticed_at > max(taken.at, healed) + NOTICED_WITHIN + ANSWERED_WITHIN:
                yield f"liveness: {taken.reference} was noticed {known.noticed_at - taken.at} after it was paid"
            if known.fate == "late" and order_of(taken.reference) not in day.people.cancelled:
                yield f"I2: {taken.reference} was paid in time, and is called late"
    for method, reference, transaction in noticed:
        yield f"I7: nobody paid {reference} by {method} ({transaction}), but it stands in our book"


def _balances(day: Day, money: Money) -> Iterator[str]:
    """The book against payment firms, payers' banks and operators."""
    for firm in day.gateways:
        last = {fought.transaction: fought for fought in firm.fought()}
        held = {state: sum(one.minor for one in last.values() if one.state == state) for state in ("opened", "lost")}
        owes = sum(taken.minor for taken in firm.taken()) - sum(given.minor for given in firm.given())
        owes -= held["opened"] + held["lost"]
        booked = -money.balance(f"clearing:{firm.name}/CNY")
        if owes != booked:
            yield f"I4: {firm.name} owes us {owes}, our book says {booked}"
        disputed = -money.balance(f"disputes:{firm.name}/CNY")
        if disputed != held["opened"]:
            yield f"I4: banks hold {held['opened']} of {firm.name}, our book says {disputed}"
    for name, operator in day.operators.items():
        used = operator.filled_minor + 10**9 - operator.far.float_minor
        booked = operator.filled_minor + money.balance(f"float:{name}/CNY")
        if used != booked:
            yield f"I4: {name} took {used} from our float, our book says {booked}"


def _pace(day: Day, attempts: list[tuple[Any, ...]]) -> Iterator[str]:
    """Each attempt says why it went where it went, and a supplier gets no more in a second than it was promised.

    A second's worth may have been saved up before.
    """
    second = timedelta(seconds=1)
    for name in day.operators:
        sent = [at for supplier, at, _ in attempts if supplier == name]
        most = day.routing.of(name).most_per_second
        for n, at in enumerate(sent):
            if most is not None and n >= 2 * most and at - sent[n - 2 * most] < second:
                yield f"pace: {name} got more than {2 * most} orders in a second"
                break
    for supplier, _, why in attempts:
        if supplier in day.operators and not why:
            yield f"an attempt at {supplier} does not say why it went there"


def _left_over(accounts: dict[str, Account], money: Money) -> Iterator[str]:
    """Nothing that belongs to others is left lying about, except while a payer's bank decides about that very order."""
    left: dict[tuple[str, str], int] = defaultdict(int)
    for transfer in money.transfers:
        for name, minor in ((transfer.debit, -transfer.minor), (transfer.credit, transfer.minor)):
            if name.startswith(("owed:", "held:", "suspense:")):
                left[order_of(transfer.id), name] += minor
    for (order_id, name), minor in sorted(left.items()):
        order = accounts.get(order_id)
        undecided = order is not None and any(fought.state == "opened" for fought in order.fought.values())
        if minor and not undecided:
            yield f"I2: {minor} of {order_id} is left in {name}"


def _stuck(accounts: dict[str, Account], money: Money, cases: set[tuple[str, str]]) -> Iterator[str]:
    """A refund that nobody asks for any more: only where the payer's bank still holds the money, and a person is told."""
    for refund in money.refunds:
        order = accounts[order_of(refund.request_id)]
        fought = order.fought.get(refund.reference)
        undecided = fought is not None and fought.state == "opened" and ("refund_refused", order.id) in cases
        if refund.state == "stuck" and not undecided:
            yield f"a refund is stuck: {refund.request_id}"


_DIGITS = re.compile(r"[0-9]{11,}")


def _whole_numbers(day: Day, texts: list[str]) -> Iterator[str]:
    """I10: no whole telephone number and no PIN in anything that is written for people or logs."""
    ours = {digits[-11:] for digits in day.people.numbers}
    pins = (*day.cards.sold, *day.cards.unsold, *day.cards.codes, *day.pins.plain)
    for text in (*texts, *day.people.heard.texts, *day.kernel.errors):
        if any(pin in text for pin in pins):
            yield "I10: a whole PIN stands in a text"
            return
        if any(found[-11:] in ours or found[:11] in ours for found in _DIGITS.findall(text)):
            yield "I10: a whole number stands in a text"
            return
