"""The worker: takes orders whose timer rang, saves that we will ask, asks, saves the answer. The order row is the job."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

import structlog

from refill import numbers
from refill.cases import Case
from refill.catalogue.routing import Choice, Line, Route, Want, decide, suppliers_in
from refill.db import Tx
from refill.operators import Recharge, pins
from refill.payments import Capture
from refill.topup import flow, states, store
from refill.topup.order import Attempt, Dossier, Payment, Refund
from refill.topup.pins import give
from refill.topup.refund import fail
from refill.topup.send import prepare, recharge_of, tried
from refill.topup.settle import give_up, overdue, park
from refill.topup.standing import Row, Watch, spend, stand
from refill.topup.states import AskRefund, Close, Expire, GiveUp, Inquire, Overdue, Poll, Resume, Send, after
from refill.topup.store import Changes
from refill.topup.trade import Trade

LEASE = timedelta(seconds=60)  # only until the intents are saved, in the same transaction
BATCH = 256
POSTPONE = timedelta(minutes=5)
CROWDED = timedelta(seconds=5)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ToPoll:
    """Ask a gateway whether it is paid."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class ToClose:
    """Close a payment at its gateway."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class ToSend:
    """Order credit from a supplier."""

    attempt: Attempt
    ask: Recharge


@dataclass(frozen=True, slots=True)
class ToInquire:
    """Ask a supplier what became of an attempt; `resend` when it never arrived there."""

    attempt: Attempt
    ask: Recharge
    resend: bool


@dataclass(frozen=True, slots=True)
class ToRefund:
    """Ask a gateway for a refund."""

    refund: Refund


Intent = ToPoll | ToClose | ToSend | ToInquire | ToRefund


class Worker:
    """Works due orders off; any number of workers may run beside each other.

    `in_flight` bounds the calls to strangers that are held at once: a slow supplier holds memory, never a connection,
    and no more places than its own limit, so that the others' orders and all questions still find one.
    """

    def __init__(self, trade: Trade, *, batch: int = BATCH, in_flight: int = 5000) -> None:
        self._trade = trade
        self._batch = batch
        self._most = in_flight
        self._flying = 0
        self._watch = Watch()
        self._answers: list[flow.Answered] = []
        self._settling = False

    @property
    def flying(self) -> int:
        """How many calls to strangers it holds."""
        return self._flying

    async def tick(self) -> int:
        """One round: how many orders were taken. Their calls go on beside the caller."""
        room = min(self._batch, self._most - self._flying)
        if room <= 0:
            return 0
        taken, intents = await self._trade.db.transaction(lambda tx: take(self._trade, tx, room, self._watch))
        for intent in intents:
            self._flying += 1
            _count(self._watch, intent, 1)
            self._trade.world.start(self._act(intent))
        return taken

    async def _act(self, intent: Intent) -> None:
        try:
            await self._ask(intent)
        finally:
            self._flying -= 1
            _count(self._watch, intent, -1)

    async def _ask(self, intent: Intent) -> None:
        trade = self._trade
        match intent:
            case ToPoll(payment):
                await flow.poll_payment(trade, payment)
            case ToClose(payment):
                await flow.close(trade, payment)
            case ToSend(attempt, ask):
                await self._settle(await flow.send(trade, attempt, ask))
            case ToInquire(attempt, ask, resend):
                await self._settle(await flow.inquire(trade, attempt, ask, resend=resend))
            case ToRefund(refund):
                await flow.refunded(trade, refund, await flow.ask_refund(trade, refund))
            case never:
                assert_never(never)

    async def _settle(self, answer: flow.Answered) -> None:
        """Whoever finds nobody settling settles all that has come in; so answers are saved in batches by themselves."""
        self._answers.append(answer)
        if self._settling:
            return
        self._settling = True
        try:
            while self._answers:
                batch, self._answers = self._answers[: self._batch], self._answers[self._batch :]
                await self._save(batch)
        finally:
            self._settling = False

    async def _save(self, batch: Sequence[flow.Answered]) -> None:
        try:
            await flow.settle(self._trade, batch)
        except Exception:
            # One answer that cannot be saved must keep nobody from being saved, nor those that come in meanwhile.
            for answer in batch:
                self._trade.world.start(flow.settle(self._trade, [answer]))


def _count(watch: Watch, intent: Intent, change: int) -> None:
    """Calls are counted where they are held."""
    match intent:
        case ToSend(attempt, _):
            watch.flying[attempt.supplier] += change
        case ToInquire(attempt, _, _):
            watch.asking[attempt.supplier] += change


async def take(trade: Trade, tx: Tx, most: int, watch: Watch) -> tuple[int, list[Intent]]:
    """Takes due orders and saves what will be asked about each; what needs no stranger is done at once."""
    now = trade.world.db_now()
    dossiers = await store.claim_due(tx, now, now + LEASE, most, watch.rooms(trade, now))
    if not dossiers:
        return 0, []
    changes = Changes(now, trade.rules)
    changes.watch(dossiers)
    steps = [(dossier, states.next_step(dossier, now)) for dossier in dossiers]
    calling = [dossier.order.number for dossier, step in steps if isinstance(step, Send | Inquire)]
    msisdns = await numbers.reveal(tx, trade.vault, sorted(set(calling))) if calling else {}
    batch = Batch(trade, watch, msisdns)
    sending = [dossier for dossier, step in steps if isinstance(step, Send) and dossier.order.number in msisdns]
    held = await route(tx, batch, sending, now) if sending else {}
    refunding = [
        dossier.order.id
        for dossier, step in steps
        if isinstance(step, Overdue | GiveUp)
        or (isinstance(step, Send) and (dossier.order.number not in msisdns or batch.refuses(dossier.order.id)))
    ]
    for order_id, capture, fate in await store.captures_of(tx, refunding) if refunding else ():
        batch.captures.setdefault(order_id, []).append((capture, fate))
    intents: list[Intent] = []
    for dossier, step in steps:
        # Decided apart: an order that cannot be decided (its supplier was disconnected, say) must not stop the others.
        alone = Changes(now, trade.rules)
        alone.watch([dossier])
        try:
            intent = _prepare(batch, alone, dossier, step)
        except Exception as error:
            log.error("an order could not be worked", order=dossier.order.id, error=repr(error)[:200])
            alone = Changes(now, trade.rules)
            alone.watch([dossier])
            alone.postponed[dossier.order.id] = now + POSTPONE
            intent = None
        changes.absorb(alone)
        if intent is not None:
            intents.append(intent)
    if held:
        await spend(tx, trade, held, Counter(it.attempt.supplier for it in intents if isinstance(it, ToSend)), now)
    await changes.save(tx)
    return len(dossiers), await _give(trade, tx, intents)


async def _give(trade: Trade, tx: Tx, intents: Sequence[Intent]) -> list[Intent]:
    """What our own stock answers is answered in this transaction; the rest is asked of strangers after it."""
    inside: list[tuple[Attempt, Recharge]] = []
    outside: list[Intent] = []
    for intent in intents:
        if isinstance(intent, ToSend) and intent.attempt.supplier == pins.NAME:
            inside.append((intent.attempt, intent.ask))
        else:
            outside.append(intent)
    await give(trade, tx, inside)
    return outside


@dataclass(slots=True)
class Batch:
    """What is known while a batch is worked, beside the orders themselves."""

    trade: Trade
    watch: Watch
    msisdns: "dict[str, numbers.Msisdn]"
    choices: dict[str, Choice] = field(default_factory=dict)  # by order
    captures: dict[str, list[tuple[Capture, str]]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)  # inquiries at each supplier

    def refuses(self, order_id: str) -> bool:
        """Is there surely nobody who would deliver this order?"""
        return order_id in self.choices and self.choices[order_id].verdict == "none"


async def route(tx: Tx, batch: Batch, dossiers: Sequence[Dossier], now: datetime) -> Mapping[str, Row]:
    """Chooses a supplier for each order that is to be sent; returns the suppliers' rows that stay locked meanwhile."""
    trade, catalogue = batch.trade, batch.trade.shelf.catalogue
    lines: list[tuple[str, Line]] = []
    known: dict[tuple[str, str, int, str], tuple[Route, ...]] = {}
    for dossier in dossiers:
        order = dossier.order
        off = catalogue.off(order.operator)
        if off is not None:
            batch.choices[order.id] = Choice("hold" if off == "wait" else "none", None, "switched_off")
            continue
        region = _region(batch.msisdns[order.number]) if catalogue.routing.by_region else ""
        face = order.face
        want = Want(order.operator, order.product, face.minor, face.currency, order.channel, order.partner, region)
        goods = order.operator, order.product, face.minor, face.currency
        if (routes := known.get(goods)) is None:
            routes = known[goods] = catalogue.routes_of_paid(order.operator, order.product, face, now)
        lines.append((order.id, Line(want, routes, tried(dossier))))
    names = {route.supplier for _, line in lines for route in line.routes}
    standings, held = await stand(tx, trade, batch.watch, names, now)
    choices = decide(catalogue.routing, [line for _, line in lines], standings, now, trade.suppliers)
    batch.choices.update(zip((order_id for order_id, _ in lines), choices, strict=True))
    batch.watch.shut({name for name, standing in standings.items() if standing.tokens == 0}, now)
    return held


def _region(msisdn: "numbers.Msisdn") -> str:
    """Where a number is from, in both languages, so that a rule may name it in either."""
    return f"{numbers.region(msisdn)} {numbers.region(msisdn, 'en')}"


def _prepare(batch: Batch, changes: Changes, dossier: Dossier, step: states.Step | None) -> Intent | None:
    trade, msisdns, captures = batch.trade, batch.msisdns, batch.captures.get(dossier.order.id, [])
    order, now = dossier.order, changes.now
    match step:
        case Poll(payment):
            asked = replace(payment, polls=payment.polls + 1, poll_at=states.next_poll(payment, order, now))
            changes.keep_payment(asked)
            return ToPoll(asked)
        case Close(payment):
            asked = replace(payment, polls=payment.polls + 1, poll_at=now + after(states.POLL, payment.polls))
            changes.keep_payment(asked)
            return ToClose(asked)
        case Expire():
            changes.move(order.id, "expired", payment="expired")
        case Send():
            if order.number not in msisdns:  # erased meanwhile: there is nobody left to credit
                give_up(changes, dossier, captures)
                return None
            return _prepare_sending(batch, changes, dossier, captures)
        case Inquire(attempt):
            if not batch.watch.may_ask(trade, attempt.supplier, batch.asked[attempt.supplier]):
                changes.postponed[order.id] = now + CROWDED
                return None
            batch.asked[attempt.supplier] += 1
            return _prepare_inquiry(trade, changes, dossier, attempt, msisdns)
        case Resume():
            changes.move(order.id, "resumed", order.parks, delivery="ready", wake_at=now)
        case GiveUp():
            give_up(changes, dossier, captures)
        case Overdue():
            overdue(changes, dossier, captures)
        case AskRefund(refund):
            wait = after(states.ASK_REFUND, refund.asks)
            asked_refund = replace(
                refund, state="sent", asks=refund.asks + 1, ask_at=now + wait + timedelta(seconds=30)
            )
            changes.keep_refund(asked_refund)
            return ToRefund(asked_refund)
    return None


def _prepare_sending(
    batch: Batch, changes: Changes, dossier: Dossier, captures: Sequence[tuple[Capture, str]]
) -> Intent | None:
    """Asks the chosen supplier, or lets the order wait, or gives the money back where surely nobody delivers it."""
    order, now, choice = dossier.order, changes.now, batch.choices[dossier.order.id]
    match choice.verdict:
        case "send":
            attempt = prepare(batch.trade, changes, order, choice)
            order = changes.dossiers[order.id].order
            digits = batch.msisdns[order.number].digits
            return ToSend(attempt, recharge_of(order, attempt, digits, attempt.send_before))
        case "later":
            changes.postponed[order.id] = min(choice.until or now + CROWDED, order.deadline or now + CROWDED)
        case "none":
            refusals = [attempt.code for attempt in dossier.attempts if attempt.state == "refused"]
            fail(changes, order.id, captures, refusals[-1] if refusals else "not sold any more")
        case verdict:
            if verdict == "empty":
                for name in suppliers_in(choice.why):
                    says = f"Our float at {name} is used up; orders go to others, or wait for it."
                    changes.troubles.append(Case("empty_float", name, says))
            park(changes, order, choice.why, choice.until)
    return None


def _prepare_inquiry(
    trade: Trade, changes: Changes, dossier: Dossier, attempt: Attempt, msisdns: "dict[str, numbers.Msisdn]"
) -> Intent | None:
    order, now = dossier.order, changes.now
    flags = trade.suppliers[attempt.supplier].flags
    send_before = now + trade.rules.send_window
    hard_end = attempt.hard_end
    # Once the payer has the money back, or fights for it, we only ask: credit that we ordered then would be a present.
    resend = flags.dedups_our_reference and order.payment == "captured"
    if resend:
        # The inquiry may end in sending again under the same reference, so the hard end moves with it.
        hard_end = max(hard_end, send_before + timedelta(seconds=flags.timeout_s))
    wait = after(states.INQUIRE, attempt.inquiries) + timedelta(seconds=flags.timeout_s)
    erased = order.number not in msisdns  # then nobody is asked, and the deadline decides
    ask_again = states.next_inquiry(order, trade.rules, now + wait) if erased else now + wait
    asked = replace(attempt, inquiries=attempt.inquiries + 1, inquire_at=ask_again, hard_end=hard_end)
    changes.keep_attempt(asked)
    if erased:
        return None
    return ToInquire(asked, recharge_of(order, asked, msisdns[order.number].digits, send_before), resend)
