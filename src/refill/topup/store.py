"""Orders as they are kept: finding them, loading what moves around them, and saving a batch of changes at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from refill import cards, cases, inbox, ledger, numbers
from refill.db import Row, Tx
from refill.errors import BadInput, CannotHappen, NotEnough, NotFound
from refill.ids import cell_of_id
from refill.money import Money
from refill.numbers import Msisdn
from refill.payments import Capture
from refill.topup import limits, sql, tell
from refill.topup.order import Attempt, Chargeback, Dossier, Order, Payment, Proposal, Refund, order_of
from refill.topup.states import EDGES, REMARKS, due_of, ends_of, is_final, legal
from refill.topup.trade import Rules, Trade

# ------------------------------------------------------------------ finding


async def find(trade: Trade, ids: Sequence[str]) -> list[Order | None]:
    """Orders by id, in the order asked; None where there is none."""
    return await trade.db.transaction(lambda tx: find_in(tx, ids))


async def find_in(tx: Tx, ids: Sequence[str]) -> list[Order | None]:
    """The same inside a transaction."""
    known = [(cell, id_) for id_ in ids if (cell := _cell(id_)) is not None]
    if not known:
        return [None] * len(ids)
    rows = await tx.rows(sql.FIND, cells=[cell for cell, _ in known], ids=[id_ for _, id_ in known])
    found = {row[0]: _order(row) for row in rows}
    return [found.get(id_) for id_ in ids]


async def by_number(trade: Trade, number: str, limit: int = 20) -> list[Order]:
    """The latest orders for a number (its keyed index), newest first."""
    rows = await trade.db.transaction(lambda tx: tx.rows(sql.BY_NUMBER, number=number, most=limit))
    return [_order(row) for row in rows]


async def by_reference(trade: Trade, payer: str, reference: str) -> Order | None:
    """A payer's order by their own reference."""
    name = key_name(trade, payer, "reference", reference)

    async def work(tx: Tx) -> Order | None:
        row = await tx.row(sql.KEYS, cells=[key_cell(name)], names=[name])
        return (await find_in(tx, [row[2]]))[0] if row else None

    return await trade.db.transaction(work)


def key_name(trade: Trade, payer: str, kind: str, key: str) -> str:
    """The keyed hash under which a client's key or reference is registered."""
    return trade.vault.digest("key", f"{payer}\0{kind}\0{key}".encode())


def key_cell(name: str) -> int:
    """The cell in which a key is registered: its own first twelve bits, which are as good as any hash of them."""
    return int(name[:3], 16)


async def search(trade: Trade, text: str) -> list[Order]:
    """What staff type into the one search box: a number, an order, a payment or request reference, a supplier's reference."""
    text = text.strip()
    try:
        msisdn = numbers.typed_msisdn(text)
    except BadInput:  # not a number: then it is the name of something
        msisdn = None
    if msisdn is not None:
        return await by_number(trade, numbers.number_id(trade.vault, msisdn))
    if found := [order for order in await find(trade, [order_of(text)]) if order]:
        return found

    async def work(tx: Tx) -> list[Order]:
        ids = [row[0] for row in await tx.rows(sql.BY_THEIR_ID, text=text)]
        return [order for order in await find_in(tx, ids) if order]

    return await trade.db.transaction(work)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of an order's timeline."""

    transition: str
    n: int
    at: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that is known about one order, for the people who must explain it."""

    order: Order
    msisdn: Msisdn | None  # None: erased
    events: list[Event]
    attempts: list[Attempt]
    payments: list[Payment]
    captures: list[Capture]
    refunds: list[Refund]
    transfers: list[tuple[str, str, str, int, datetime]]
    notices: list[inbox.InboxRow]
    cases: list[cases.CaseRow]
    proposals: list[Proposal]
    disputes: list[Chargeback]


def _in_order_of_life(events: list[Event]) -> list[Event]:
    """Events of one moment stand as life goes: resumed for the first time before sent for the second, sent before delivered."""
    life = {transition: n for n, transition in enumerate((*EDGES, *REMARKS))}
    waiting = sorted(events, key=lambda event: (event.at, event.n, life[event.transition]))
    told: list[Event] = []
    standing = {("", "")}
    while waiting:
        moment = [event for event in waiting if event.at == waiting[0].at]
        # The first that may follow; where histories are not legal (the check finds those), the first of all.
        event = next((one for one in moment if _follow(one, standing)), moment[0])
        standing = _follow(event, standing) or standing
        waiting.remove(event)
        told.append(event)
    return told


def _follow(event: Event, standing: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The states that an event may lead to from any of these; none when it may not happen there."""
    if event.transition in REMARKS:
        return standing
    return {end for state in standing for end in ends_of(event.transition, *state)}


async def story_of(tx: Tx, order: Order) -> list[Event]:
    """What happened to an order, as it happened."""
    return _in_order_of_life([Event(*row) for row in await tx.rows(sql.TIMELINE, cell=order.cell, id=order.id)])


async def timeline(trade: Trade, order_id: str) -> Timeline:
    """Raises NotFound."""

    async def work(tx: Tx) -> Timeline:
        (order,) = await find_in(tx, [order_id])
        if order is None:
            raise NotFound("There is no order with that id.")
        (dossier,) = await load(tx, [order])
        captures = [capture for _, capture, _ in await captures_of(tx, [order.id])]
        names = [order.id, *(p.reference for p in dossier.payments), *(a.request_id for a in dossier.attempts)]
        names += [capture.transaction for capture in captures]  # a bank that disputes may know no other name
        return Timeline(
            order,
            (await numbers.reveal(tx, trade.vault, [order.number])).get(order.number),
            await story_of(tx, order),
            list(dossier.attempts),
            list(dossier.payments),
            captures,
            list(dossier.refunds),
            await ledger.entries_of(tx, order.id),
            await inbox.about(tx, trade.vault, names),
            await cases.about(tx, order.id),
            await proposals_of(tx, order.id),
            await disputes_of(tx, order.id),
        )

    return await trade.db.transaction(work)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an order has come: every step adds one, so whoever remembers the former number sees that it moved."""

    number: int
    unpaid: bool


async def marks(trade: Trade, ids: Sequence[str]) -> dict[str, Mark]:
    """The marks of many orders in one look; ids that do not exist are left out."""
    known = [(cell, id_) for id_ in ids if (cell := _cell(id_)) is not None]
    cells, names = [cell for cell, _ in known], [id_ for _, id_ in known]
    rows = await trade.db.transaction(lambda tx: tx.rows(sql.MARKS, cells=cells, ids=names))
    return {id_: Mark(number, unpaid) for id_, unpaid, number in rows}


@dataclass(frozen=True, slots=True)
class GrantView:
    """Credit that expires by itself."""

    kind: str
    amount: Money
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SubscriberView:
    """A subscriber of our own network: what the phone has and how long it lasts; `buckets` are grants that expire."""

    msisdn: Msisdn
    state: str
    balance: Money
    active_until: datetime | None
    grace_until: datetime | None
    buckets: tuple[GrantView, ...]


async def subscriber_view(trade: Trade, msisdn: Msisdn) -> SubscriberView | None:
    """Balance and validity of a number of our own network; None when it is not ours."""
    number = numbers.number_id(trade.vault, msisdn)
    credit = await trade.db.transaction(lambda tx: cards.credit(tx, number, trade.world.db_now()))
    if credit is None:
        return None
    until = credit.subscriber.active_until
    return SubscriberView(
        msisdn,
        credit.subscriber.state,
        credit.balance,
        until,
        until + cards.GRACE_LASTS if until else None,
        tuple(GrantView(bucket.kind, left, bucket.expires_at) for bucket, left in credit.grants),
    )


# ------------------------------------------------------------------ loading


async def lock(tx: Tx, ids: Iterable[str]) -> list[Dossier]:
    """Locks orders, in one order for everybody, and loads what moves around them; ids that do not exist are left out."""
    wanted = sorted({(cell, id_) for id_ in ids if (cell := _cell(id_)) is not None})
    if not wanted:
        return []
    rows = await tx.rows(sql.LOCK, cells=[cell for cell, _ in wanted], ids=[id_ for _, id_ in wanted])
    return await load(tx, [_order(row) for row in rows])


async def claim_due(
    tx: Tx, now: datetime, lease: datetime, most: int, rooms: Mapping[str, int] | None = None
) -> list[Dossier]:
    """Takes orders whose timer rang; nobody else gets them before `lease`.

    Of those that are to be sent, and of all others, `most` each; of an operator in `rooms` no more than its places.
    """
    rooms = rooms or {}
    rows = await tx.rows(
        sql.CLAIM_DUE, now=now, lease=lease, most=most, operators=list(rooms), rooms=list(rooms.values())
    )
    return await load(tx, sorted(map(_order, rows), key=lambda order: (order.cell, order.id)))


async def load(tx: Tx, orders: Sequence[Order]) -> list[Dossier]:
    """The payments, attempts and refunds of orders, three statements for any number of them."""
    if not orders:
        return []
    cells, ids = [order.cell for order in orders], [order.id for order in orders]
    payments: dict[str, list[Payment]] = {}
    for row in await tx.rows(sql.PAYMENTS, cells=cells, ids=ids):
        order_id, n, method, scene, reference, minor, currency, *rest = row
        payment = Payment(order_id, n, method, scene, reference, Money(minor, currency), *rest)
        payments.setdefault(order_id, []).append(payment)
    attempts: dict[str, list[Attempt]] = {}
    for row in await tx.rows(sql.ATTEMPTS, cells=cells, ids=ids):
        attempts.setdefault(row[0], []).append(Attempt(*row))
    refunds: dict[str, list[Refund]] = {}
    for row in await tx.rows(sql.REFUNDS, cells=cells, ids=ids):
        order_id, n, method, reference, merchant, transaction, captured, minor, currency, *rest = row
        amount = Money(minor, currency)
        refund = Refund(order_id, n, method, reference, merchant, transaction, captured, amount, *rest)
        refunds.setdefault(order_id, []).append(refund)
    return [
        Dossier(
            order,
            tuple(payments.get(order.id, ())),
            tuple(attempts.get(order.id, ())),
            tuple(refunds.get(order.id, ())),
        )
        for order in orders
    ]


async def dossier(trade: Trade, order_id: str) -> Dossier:
    """An order with what moves around it, not locked. Raises NotFound."""

    async def work(tx: Tx) -> Dossier:
        (order,) = await find_in(tx, [order_id])
        if order is None:
            raise NotFound("There is no order with that id.")
        return (await load(tx, [order]))[0]

    return await trade.db.transaction(work)


async def captures_of(tx: Tx, order_ids: Sequence[str]) -> list[tuple[str, Capture, str]]:
    """The money that arrived for orders: (order id, capture, fate)."""
    return [
        (order_id, Capture(method, merchant, transaction, reference, Money(minor, currency), paid_at), fate)
        for order_id, method, merchant, transaction, reference, minor, currency, paid_at, fate in await tx.rows(
            sql.CAPTURES_OF, orders=list(order_ids)
        )
    ]


async def proposals_of(tx: Tx, order_id: str) -> list[Proposal]:
    """The refunds of an order that somebody asked for."""
    return [
        Proposal(order_id, n, Money(minor, currency), *rest)
        for n, minor, currency, *rest in await tx.rows(sql.PROPOSALS, cell=cell_of_id(order_id), id=order_id)
    ]


async def disputes_of(tx: Tx, order_id: str) -> list[Chargeback]:
    """The payments for an order that payers' banks disputed."""
    return [
        Chargeback(order_id, n, method, merchant, transaction, Money(minor, currency), *rest)
        for n, method, merchant, transaction, minor, currency, *rest in await tx.rows(
            sql.DISPUTES, cell=cell_of_id(order_id), id=order_id
        )
    ]


def _cell(id_: str) -> int | None:
    try:
        return cell_of_id(id_) if id_.startswith("tu_") else None
    except NotFound:
        return None


def _order(row: Row) -> Order:
    id_, cell, payer, channel, number, operator, product, supplier, face, face_currency, price, currency, *rest = row
    money = Money(face, face_currency), Money(price, currency)
    return Order(id_, cell, payer, channel, number, operator, product, supplier, *money, *rest)


# ------------------------------------------------------------------ saving


@dataclass(slots=True)
class Changes:
    """What one transaction will do, gathered while deciding and saved at once; after that nothing can refuse."""

    now: datetime
    rules: Rules
    dossiers: dict[str, Dossier] = field(default_factory=dict)  # as they will be
    seen: dict[str, Order] = field(default_factory=dict)  # as they were under our lock
    events: list[tuple[str, str, int, str]] = field(default_factory=list)
    entries: list[ledger.Entry] = field(default_factory=list)
    troubles: list[cases.Case] = field(default_factory=list)
    payments: dict[str, Payment] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    postponed: dict[str, datetime] = field(default_factory=dict)  # orders that could not be decided, and until when

    def watch(self, dossiers: Iterable[Dossier]) -> None:
        """Takes locked dossiers in; their timers are set anew when they are saved."""
        for dossier in dossiers:
            self.dossiers[dossier.order.id] = dossier
            self.seen[dossier.order.id] = dossier.order

    def move(self, order_id: str, transition: str, n: int = 0, *, detail: str = "", **changes: object) -> Order:
        """Moves an order along a legal edge. Raises CannotHappen otherwise."""
        dossier = self.dossiers[order_id]
        before = dossier.order
        after = before.but(**changes)
        if not legal(transition, before.payment, before.delivery, after.payment, after.delivery):
            raise CannotHappen(f"An order that is {before.payment} and {before.delivery} cannot be {transition}.")
        if is_final(after.payment, after.delivery):
            after = after.but(final_at=self.now)
        elif after.final_at is not None:
            after = after.but(final_at=None)
        self.dossiers[order_id] = replace(dossier, order=after)
        self.events.append((order_id, transition, n, detail))
        return after

    def remark(self, order_id: str, remark: str, n: int, detail: str = "") -> None:
        """Adds a line to an order's timeline that moves neither machine."""
        self.events.append((order_id, remark, n, detail))

    def keep_payment(self, payment: Payment) -> None:
        """A payment, new or changed."""
        self.payments[payment.reference] = payment
        dossier = self.dossiers[payment.order_id]
        others = tuple(other for other in dossier.payments if other.n != payment.n)
        self.dossiers[payment.order_id] = replace(dossier, payments=(*others, payment))

    def keep_attempt(self, attempt: Attempt) -> None:
        """An attempt, new or changed."""
        self.attempts[attempt.request_id] = attempt
        dossier = self.dossiers[attempt.order_id]
        others = tuple(other for other in dossier.attempts if other.n != attempt.n)
        self.dossiers[attempt.order_id] = replace(dossier, attempts=(*others, attempt))

    def keep_refund(self, refund: Refund) -> None:
        """A refund, new or changed."""
        self.refunds[refund.request_id] = refund
        dossier = self.dossiers[refund.order_id]
        others = tuple(other for other in dossier.refunds if other.n != refund.n)
        self.dossiers[refund.order_id] = replace(dossier, refunds=(*others, refund))

    def absorb(self, other: "Changes") -> None:
        """Takes over what was decided apart, for orders that are not changed here."""
        self.dossiers |= other.dossiers
        self.seen |= other.seen
        self.payments |= other.payments
        self.attempts |= other.attempts
        self.refunds |= other.refunds
        self.postponed |= other.postponed
        self.events += other.events
        self.entries += other.entries
        self.troubles += other.troubles

    async def post(self, tx: Tx) -> None:
        """Posts the entries gathered so far."""
        entries, self.entries = self.entries, []
        if entries:
            for entry, answer in zip(entries, await ledger.post(tx, entries, self.now), strict=True):
                if isinstance(answer, ledger.Refusal) and answer.account.startswith("wallet:"):
                    raise NotEnough("The wallet holds too little for this; fill it, or choose another way to pay.")
                if answer != ledger.Posted():
                    raise CannotHappen(f"The book refuses {entry.id}: {answer}.")

    async def save(self, tx: Tx) -> None:
        """Writes everything: order rows (locked by us), events, entries, and what moves around the orders."""
        await self._save_orders(tx)
        await limits.recount(tx, ((self.seen[id_], dossier.order) for id_, dossier in self.dossiers.items()))
        tell.changed(tx, ((self.seen[id_], dossier.order) for id_, dossier in self.dossiers.items()), self.now)
        await self._save_events(tx)
        await self.post(tx)
        await self._save_payments(tx)
        await self._save_attempts(tx)
        await self._save_refunds(tx)
        await cases.raise_cases(tx, self.troubles, self.now)

    async def _save_orders(self, tx: Tx) -> None:
        ids = sorted(self.dossiers, key=lambda id_: (self.seen[id_].cell, id_))
        before = [self.seen[id_] for id_ in ids]
        after = [self.dossiers[id_].order for id_ in ids]
        moved = await tx.run(
            sql.MOVE,
            cells=[order.cell for order in before],
            ids=ids,
            payments=[order.payment for order in before],
            deliveries=[order.delivery for order in before],
            newpayments=[order.payment for order in after],
            newdeliveries=[order.delivery for order in after],
            captured=[order.captured_minor for order in after],
            refunded=[order.refunded_minor for order in after],
            delivered=[order.delivered_minor for order in after],
            attempts=[order.attempts for order in after],
            parks=[order.parks for order in after],
            reasons=[order.reason for order in after],
            expires=[order.expires_at for order in after],
            deadlines=[order.deadline for order in after],
            finals=[order.final_at for order in after],
            valids=[order.valid_until for order in after],
            wakes=[order.wake_at for order in after],
            dues=[self.postponed.get(id_) or due_of(self.dossiers[id_], self.rules) for id_ in ids],
            suppliers=[order.supplier for order in after],
            costs=[order.cost_minor for order in after],
            costcurrencies=[order.cost_currency for order in after],
            ratenums=[order.rate_num for order in after],
            ratedens=[order.rate_den for order in after],
        )
        if moved != len(ids):
            raise CannotHappen("An order moved while we held its lock.")

    async def _save_events(self, tx: Tx) -> None:
        if self.events:
            await tx.run(
                sql.EVENTS,
                now=self.now,
                cells=[cell_of_id(id_) for id_, *_ in self.events],
                ids=[id_ for id_, *_ in self.events],
                transitions=[transition for _, transition, *_ in self.events],
                ns=[n for *_, n, _ in self.events],
                details=[detail for *_, detail in self.events],
            )

    async def _save_payments(self, tx: Tx) -> None:
        rows = list(self.payments.values())
        if rows:
            await tx.run(
                sql.SAVE_PAYMENTS,
                cells=[cell_of_id(row.order_id) for row in rows],
                orders=[row.order_id for row in rows],
                ns=[row.n for row in rows],
                methods=[row.method for row in rows],
                scenes=[row.scene for row in rows],
                references=[row.reference for row in rows],
                minors=[row.amount.minor for row in rows],
                currencies=[row.amount.currency for row in rows],
                states=[row.state for row in rows],
                opened=[row.opened_at for row in rows],
                expires=[row.expires_at for row in rows],
                polls=[row.polls for row in rows],
                pollat=[row.poll_at for row in rows],
            )

    async def _save_attempts(self, tx: Tx) -> None:
        # An attempt that ends is saved before one that begins, for at most one may be open.
        rows = sorted(self.attempts.values(), key=lambda row: (row.order_id, row.n))
        if rows:
            await tx.run(
                sql.SAVE_ATTEMPTS,
                cells=[cell_of_id(row.order_id) for row in rows],
                orders=[row.order_id for row in rows],
                ns=[row.n for row in rows],
                suppliers=[row.supplier for row in rows],
                requests=[row.request_id for row in rows],
                states=[row.state for row in rows],
                prepared=[row.prepared_at for row in rows],
                sends=[row.send_before for row in rows],
                ends=[row.hard_end for row in rows],
                inquiries=[row.inquiries for row in rows],
                inquireat=[row.inquire_at for row in rows],
                theirs=[row.their_id for row in rows],
                codes=[row.code for row in rows],
                costs=[row.cost_minor for row in rows],
                fences=[row.fence for row in rows],
                why=[row.why for row in rows],
            )

    async def _save_refunds(self, tx: Tx) -> None:
        rows = list(self.refunds.values())
        if rows:
            await tx.run(
                sql.SAVE_REFUNDS,
                cells=[cell_of_id(row.order_id) for row in rows],
                orders=[row.order_id for row in rows],
                ns=[row.n for row in rows],
                methods=[row.method for row in rows],
                references=[row.reference for row in rows],
                merchants=[row.merchant for row in rows],
                transactions=[row.transaction for row in rows],
                captured=[row.captured_minor for row in rows],
                minors=[row.amount.minor for row in rows],
                currencies=[row.amount.currency for row in rows],
                sources=[row.source for row in rows],
                requests=[row.request_id for row in rows],
                states=[row.state for row in rows],
                whys=[row.why for row in rows],
                asks=[row.asks for row in rows],
                askat=[row.ask_at for row in rows],
                opened=[row.opened_at for row in rows],
                done=[row.done_at for row in rows],
                claims=[row.claim_until for row in rows],
            )


async def save_proposal(tx: Tx, row: Proposal) -> None:
    """A proposal, new or decided; a decided one stays as it is."""
    await tx.run(
        sql.SAVE_PROPOSAL,
        cell=cell_of_id(row.order_id),
        id=row.order_id,
        n=row.n,
        minor=row.amount.minor,
        currency=row.amount.currency,
        why=row.why,
        askedby=row.asked_by,
        askedat=row.asked_at,
        state=row.state,
        decidedby=row.decided_by,
        decidedat=row.decided_at,
        answer=row.answer,
    )


async def save_dispute(tx: Tx, row: Chargeback) -> None:
    """A disputed payment, new or decided; a decided one stays as it is, but that more of a lost one may count."""
    await tx.run(
        sql.SAVE_DISPUTE,
        cell=cell_of_id(row.order_id),
        id=row.order_id,
        n=row.n,
        method=row.method,
        merchant=row.merchant,
        transaction=row.transaction,
        minor=row.amount.minor,
        currency=row.amount.currency,
        reason=row.reason,
        state=row.state,
        opened=row.opened_at,
        evidenceby=row.evidence_by,
        decided=row.decided_at,
        counted=row.counted_minor,
    )
