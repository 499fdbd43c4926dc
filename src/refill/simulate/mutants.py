"""Bugs that we plant into the shipped engine at run time, to see whether the simulator finds them.

Each is one mistake that a top-up system can make and has made somewhere. Shipped code knows nothing of them: a mutant
replaces a function while it is planted. A `masked` one is harmless alone, because another guard holds; it is planted
in a pair with the one that takes that guard away.

There is no mutant for an audit chain's head that is read outside the transaction: no audit chain exists yet.
"""

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any

import msgspec

from refill import inbox, ledger, operators, payments, vouchers
from refill.db import Statement, Tx
from refill.errors import CannotHappen, OtherContent
from refill.outcome import Refused, Unknown
from refill.simulate.world import VirtualDatabase
from refill.topup import flow, sql, states, store
from refill.topup.order import Ask, Order, order_of
from refill.topup.send import elsewhere, never_heard
from refill.topup.store import Changes
from refill.topup.trade import Trade

# Rooms of the spine whose names are also functions of `flow`.
_invite, _pay = import_module("refill.topup.invite"), import_module("refill.topup.pay")
_refund = import_module("refill.topup.refund")
_place, _settle = import_module("refill.topup.place"), import_module("refill.topup.settle")
_redeem = import_module("refill.topup.redeem")
_work = import_module("refill.topup.work")
_exchange, _pins = import_module("refill.topup.exchange"), import_module("refill.operators.pins")


class Planted:
    """Replaces functions, and puts them back."""

    def __init__(self) -> None:
        self._former: list[tuple[Any, str, Any]] = []

    def put(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """`make` gets the function as it is and gives the one that takes its place."""
        former = getattr(owner, name)
        self._former.append((owner, name, former))
        setattr(owner, name, make(former))

    def undo(self) -> None:
        for owner, name, former in reversed(self._former):
            setattr(owner, name, former)


@dataclass(frozen=True)
class Mutant:
    """A bug to plant; `masked`: why nobody would see it alone."""

    name: str
    says: str
    plant: Callable[[Planted], None]
    masked: str = ""


MUTANTS: dict[str, Mutant] = {}


def _mutant(says: str, masked: str = "") -> Callable[[Callable[[Planted], None]], Callable[[Planted], None]]:
    def keep(plant: Callable[[Planted], None]) -> Callable[[Planted], None]:
        name = plant.__name__
        MUTANTS[name] = Mutant(name, says, plant, masked)
        return plant

    return keep


@contextlib.contextmanager
def planted(names: Sequence[str]) -> Iterator[None]:
    """The engine with these bugs in it."""
    patches = Planted()
    try:
        for name in names:
            MUTANTS[name].plant(patches)
        yield
    finally:
        patches.undo()


# ------------------------------------------------------------------ what an operator's answer means


def _judging(planted_: Planted, verdict: Callable[[Any, Any], Any]) -> None:
    """Changes what an answer means for an attempt."""

    def make(judge: Any) -> Any:
        def mutated(trade: Any, changes: Any, attempt: Any, answer: Any) -> Any:
            return verdict(answer, judge(trade, changes, attempt, answer))

        return mutated

    planted_.put(_settle, "_judge", make)


@_mutant("An unknown outcome is tried again under a new reference.")
def retry_under_new_reference(p: Planted) -> None:
    again = Refused("let us try again", final=False)
    _judging(p, lambda answer, is_: again if isinstance(is_, Unknown) and not answer.by_inquiry else is_)


@_mutant("An unknown outcome counts as a refusal.")
def unknown_is_a_no(p: Planted) -> None:
    _judging(p, lambda answer, is_: Refused("unknown") if isinstance(is_, Unknown) and not never_heard(is_) else is_)


@_mutant("“Not found” counts as a refusal at once.")
def not_found_is_a_no(p: Planted) -> None:
    never = Refused("it never arrived", final=False)
    _judging(p, lambda answer, is_: never if answer.by_inquiry and never_heard(is_) else is_)


@_mutant("A request that timed out counts as refused.")
def timeout_is_a_no(p: Planted) -> None:
    def make(recharge: Any) -> Any:
        async def mutated(self: Any, world: Any, ask: Any) -> Any:
            outcome = await recharge(self, world, ask)
            silent = isinstance(outcome, Unknown) and outcome.why == "The operator did not answer."
            return Refused("no answer") if silent else outcome

        return mutated

    p.put(operators.shelf()["http_json"].HttpJson, "recharge", make)


@_mutant("A worker that froze for ten minutes wakes and sends what another has taken over.")
def frozen_worker_sends(p: Planted) -> None:
    def make(recharge: Any) -> Any:
        async def mutated(self: Any, world: Any, ask: Any) -> Any:
            return await recharge(self, world, replace(ask, send_before=datetime(2999, 1, 1, tzinfo=UTC)))

        return mutated

    p.put(operators.shelf()["http_json"].HttpJson, "recharge", make)


@_mutant("A lost request is sent again to an operator that does not know our references.")
def resend_without_dedup(p: Planted) -> None:
    def make(inquire: Any) -> Any:
        async def mutated(trade: Any, attempt: Any, ask: Any, *, resend: bool) -> Any:
            return await inquire(trade, attempt, ask, resend=True)

        return mutated

    p.put(flow, "inquire", make)


@_mutant("A signed notice of an operator is believed, and the last one wins.")
def stale_notice_wins(p: Planted) -> None:
    def make(receive: Any) -> Any:
        async def mutated(trade: Trade, supplier: str, body: bytes, headers: Mapping[str, str]) -> Any:
            said = json.loads(body)
            if said.get("status") == "refused":
                await trade.db.transaction(lambda tx: _believe(trade, tx, order_of(said["request_id"])))
                return 200, b"success"
            return await receive(trade, supplier, body, headers)

        return mutated

    p.put(flow, "receive_supplier_notice", make)


async def _believe(trade: Trade, tx: Tx, order_id: str) -> None:
    """An order fails, whatever it was."""
    changes = Changes(trade.world.db_now(), trade.rules)
    changes.watch(await store.lock(tx, [order_id]))
    captures = [(capture, fate) for _, capture, fate in await store.captures_of(tx, [order_id])]
    for dossier in list(changes.dossiers.values()):
        order = dossier.order
        if (
            order.partner
            or order.payment != "captured"
            or order.delivery not in ("delivered", "dispatching", "unknown")
        ):
            continue
        for attempt in dossier.attempts:
            changes.keep_attempt(replace(attempt, state="refused", inquire_at=None))
        back = _refund.refund_to_source(
            changes, order, _refund.payer_capture(captures), order.price, states.owner_account(order), "order"
        )
        changes.keep_refund(back)
        failed = order.but(payment="refund_pending", delivery="failed", delivered_minor=0, final_at=None)
        changes.dossiers[order_id] = replace(changes.dossiers[order_id], order=failed)
        changes.events.append((order_id, "failed", 0, "they say so"))
    await changes.save(tx)


# ------------------------------------------------------------------ several suppliers


@_mutant("What one supplier cannot tell is ordered from another.")
def failover_after_unknown(p: Planted) -> None:
    def make(judge: Any) -> Any:
        def mutated(trade: Any, changes: Any, attempt: Any, answer: Any) -> Any:
            judged = judge(trade, changes, attempt, answer)
            dossier = changes.dossiers[attempt.order_id]
            if isinstance(judged, Unknown) and elsewhere(trade, dossier, attempt.supplier, changes.now):
                return Refused("let somebody else do it", final=False)
            return judged

        return mutated

    p.put(_settle, "_judge", make)


@_mutant("Two suppliers are asked at once, and the quicker one shall win.")
def asks_two_at_once(p: Planted) -> None:
    def make(send: Any) -> Any:
        async def mutated(trade: Trade, attempt: Any, ask: Any) -> Any:
            for name in sorted(set(trade.suppliers) - {attempt.supplier})[:1]:
                await trade.suppliers[name].recharge(trade.world, ask)
            return await send(trade, attempt, ask)

        return mutated

    p.put(flow, "send", make)


@_mutant("An order that goes on to another supplier is booked at the float of the first.")
def order_keeps_supplier(p: Planted) -> None:
    def make(move: Any) -> Any:
        def mutated(self: Any, *given: Any, **changes: Any) -> Any:
            changes.pop("supplier", None)
            return move(self, *given, **changes)

        return mutated

    p.put(Changes, "move", make)


@_mutant("An order that nobody may deliver at this hour waits for a timer that nobody set.")
def held_without_timer(p: Planted) -> None:
    def park(changes: Any, order: Any, why: str, until: Any = None) -> None:
        changes.postponed[order.id] = datetime(2999, 1, 1, tzinfo=UTC)

    p.put(_work, "park", lambda is_: park)


# ------------------------------------------------------------------ money that arrives


@_mutant("Nobody asks the gateway whether an order is paid; a notice is waited for.")
def no_payment_polling(p: Planted) -> None:
    p.put(states, "next_poll", lambda is_: lambda payment, order, now: order.expires_at or now)

    def make(open_payment: Any) -> Any:
        def mutated(*given: Any) -> Any:
            payment = open_payment(*given)
            return replace(payment, poll_at=payment.expires_at)

        return mutated

    p.put(_invite, "open_payment", make)


@_mutant("A notice that was handled is handled again.", "each transaction of a gateway is captured once for ever")
def inbox_forgets(p: Planted) -> None:
    def make(keep: Any) -> Any:
        async def mutated(*given: Any, **more: Any) -> Any:
            return replace(await keep(*given, **more), handled=False)

        return mutated

    p.put(inbox, "keep", make)


@_mutant("A transaction of a gateway is taken as often as it is told.", "a handled notice is not read again")
def captures_repeat(p: Planted) -> None:
    async def all_of(tx: Any, captures: Any) -> Any:
        return captures

    def make(keep: Any) -> Any:
        async def mutated(*given: Any) -> None:
            with contextlib.suppress(Exception):
                await keep(*given)

        return mutated

    p.put(_pay, "_not_yet_captured", lambda is_: all_of)
    p.put(_pay, "keep_captures", make)


@_mutant("A payment notice is not de-duplicated: neither in the inbox nor by the gateway's transaction.")
def notice_not_deduplicated(p: Planted) -> None:
    inbox_forgets(p)
    captures_repeat(p)


@_mutant("The signature of Alipay's notice is not verified.")
def signature_not_verified(p: Planted) -> None:
    p.put(payments.shelf()["alipay"].Alipay, "_holds", lambda is_: lambda self, message, signature: True)


@_mutant("The signature of WeChat Pay's notice is not verified; that its content opens is taken for a proof.")
def wechat_not_verified(p: Planted) -> None:
    p.put(payments.shelf()["wechat_pay"].WechatPay, "_signed_at", lambda is_: lambda self, headers, body, now: now)


@_mutant("The signature of JD Pay's notice is not verified; that its content opens is taken for a proof.")
def jd_not_verified(p: Planted) -> None:
    p.put(payments.shelf()["jd_pay"], "_holds", lambda is_: lambda key, text, signature: True)


@_mutant("The signature of Stripe's event is not verified.")
def card_not_verified(p: Planted) -> None:
    p.put(payments.shelf()["card"].Card, "_signed_at", lambda is_: lambda self, raw: raw.received_at)


@_mutant("The amount of a payment is not compared with the price.")
def amount_not_checked(p: Planted) -> None:
    def make(take: Any) -> Any:
        def mutated(trade: Any, changes: Any, capture: Any, *more: Any) -> Any:
            dossier = changes.dossiers[order_of(capture.reference)]
            return take(trade, changes, replace(capture, amount=dossier.order.price), *more)

        return mutated

    p.put(_pay, "take", make)


@_mutant("An order lapses without its payments being closed at the gateway.")
def expire_without_close(p: Planted) -> None:
    def make(step: Any) -> Any:
        def mutated(dossier: Any, now: Any) -> Any:
            order = dossier.order
            if order.payment == "unpaid" and order.expires_at is not None and order.expires_at <= now:
                return states.Expire()
            return step(dossier, now)

        return mutated

    p.put(states, "_next_payment_step", make)


@_mutant("Money that comes after an order lapsed is kept.", "no money comes after: the payment was closed first")
def late_money_is_kept(p: Planted) -> None:
    def make(to_suspense: Any) -> Any:
        def mutated(changes: Any, capture: Any, fate: str, *more: Any) -> Any:
            return fate if fate == "late" else to_suspense(changes, capture, fate, *more)

        return mutated

    p.put(_pay, "_to_suspense", make)


@_mutant("A second payment for an order is kept.")
def second_payment_is_kept(p: Planted) -> None:
    def make(to_suspense: Any) -> Any:
        def mutated(changes: Any, capture: Any, fate: str, *more: Any) -> Any:
            return fate if fate == "twice" else to_suspense(changes, capture, fate, *more)

        return mutated

    p.put(_pay, "_to_suspense", make)


@_mutant("Each question for a refund is another refund.")
def refund_under_new_id(p: Planted) -> None:
    def make(refund_ask: Any) -> Any:
        def mutated(refund: Any) -> Any:
            return replace(refund_ask(refund), request_id=f"{refund.request_id}x{refund.asks}")

        return mutated

    p.put(_refund, "refund_ask", make)


# ------------------------------------------------------------------ what we keep for people ourselves


@_mutant("A voucher is looked at in one transaction and used in another, and nobody minds that it is used already.")
def voucher_used_twice(p: Planted) -> None:
    seen: list[dict[Any, Any]] = []  # as it was seen before, while a transaction runs that believes it still is so

    def hold(is_: Any) -> Any:
        async def mutated(tx: Any, vault: Any, pins: Any) -> Any:
            return (seen and dict(seen[-1])) or await is_(tx, vault, pins)

        return mutated

    def carelessly(is_: Any) -> Any:
        async def mutated(*given: Any) -> None:
            with contextlib.suppress(CannotHappen):
                await is_(*given)

        return mutated

    def redeem(is_: Any) -> Any:
        async def mutated(trade: Trade, redemptions: Any) -> Any:
            pins = [one.pin for one in redemptions]
            before = await trade.db.transaction(lambda tx: vouchers.hold(tx, trade.vault, pins))

            class Believing:
                async def transaction(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
                    async def believing(tx: Any) -> Any:
                        seen.append(before)
                        try:
                            return await work(tx)
                        finally:
                            seen.clear()
                            before.clear()  # after a commit in doubt it looks again

                    return await trade.db.transaction(believing)

            return await is_(replace(trade, db=Believing()), redemptions)

        return mutated

    p.put(vouchers, "hold", hold)
    p.put(vouchers, "spend", carelessly)
    p.put(_redeem, "keep_captures", carelessly)
    p.put(flow, "redeem", redeem)


@_mutant("What a wallet paid comes back to another wallet.")
def refund_to_another_wallet(p: Planted) -> None:
    def make(purse: Any) -> Any:
        def mutated(method: str, payer: str, currency: str) -> str:
            back: str = purse(method, f"{payer}-neighbour" if method == "wallet" else payer, currency)
            return back

        return mutated

    p.put(_refund, "purse", make)


# ------------------------------------------------------------------ payers' banks


@_mutant("A payer's bank disputes a payment, and nothing of it is booked.")
def dispute_not_booked(p: Planted) -> None:
    async def heard(*given: Any) -> bool:
        return True

    p.put(import_module("refill.topup.notices"), "dispute", lambda is_: heard)


@_mutant("A refund that the firm refused while a bank held the money is never asked for again.")
def refund_stays_stuck(p: Planted) -> None:
    p.put(import_module("refill.topup.dispute"), "_ask_again", lambda is_: lambda hearing: False)


# ------------------------------------------------------------------ transactions


def _afterwards(p: Planted, then: Callable[[VirtualDatabase, list[Any]], Awaitable[None]]) -> None:
    """After each commit, `then` gets what the transaction left for later in `tx.left`."""

    def make(transaction: Any) -> Any:
        async def mutated(self: VirtualDatabase, work: Callable[[Any], Awaitable[Any]]) -> Any:
            left: list[Any] = []

            async def first(tx: Any) -> Any:
                left.clear()
                tx.left = left
                return await work(tx)

            done = await transaction(self, first)
            if left:
                await then(self, left)
            return done

        return mutated

    p.put(VirtualDatabase, "transaction", make)


@_mutant("The book is written in a second transaction, after the order.")
def ledger_in_second_transaction(p: Planted) -> None:
    async def post_later(self: Changes, tx: Any) -> None:
        entries, self.entries = self.entries, []
        if entries:
            tx.left.append((entries, self.now))

    async def then(db: VirtualDatabase, left: list[Any]) -> None:
        for entries, now in list(left):
            await db.transaction(partial(ledger.post, entries=entries, at=now))

    p.put(Changes, "post", lambda is_: post_later)
    _afterwards(p, then)


SILENCE = Statement("""
    UPDATE topup_order o SET due = NULL
      FROM unnest(:cells::smallint[], :ids::text[]) AS asked (cell, id)
     WHERE o.cell = asked.cell AND o.id = asked.id AND o.delivery = 'ready'
""")
REMIND = Statement("""
    UPDATE topup_order o SET due = :now
      FROM unnest(:cells::smallint[], :ids::text[]) AS asked (cell, id)
     WHERE o.cell = asked.cell AND o.id = asked.id AND o.delivery = 'ready'
""")


@_mutant("What is to be sent waits in a queue in memory.")
def queue_in_memory(p: Planted) -> None:
    def make(save: Any) -> Any:
        async def mutated(self: Changes, tx: Any) -> None:
            await save(self, tx)
            for dossier in self.dossiers.values():
                order = dossier.order
                if order.delivery == "ready" and order.wake_at is not None:
                    await tx.run(SILENCE, cells=[order.cell], ids=[order.id])
                    tx.left.append(order)

        return mutated

    async def then(db: VirtualDatabase, left: list[Any]) -> None:
        for order in list(left):
            db._world.start(_remind(db, order))

    p.put(Changes, "save", make)
    _afterwards(p, then)


async def _remind(db: VirtualDatabase, order: Order) -> None:
    world = db._world
    assert order.wake_at is not None
    await world.sleep(max(0.0, (order.wake_at - world.db_now()).total_seconds()))
    with contextlib.suppress(Exception):
        await db.transaction(lambda tx: tx.run(REMIND, now=world.db_now(), cells=[order.cell], ids=[order.id]))


class _Undone(Exception):
    """A transaction that is rolled back on purpose."""

    def __init__(self, answers: Any) -> None:
        super().__init__("undone")
        self.answers = answers


class _DryRun:
    """A database that forgets."""

    def __init__(self, db: Any) -> None:
        self._db = db

    async def transaction(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def undone(tx: Any) -> Any:
            raise _Undone(await work(tx))

        try:
            return await self._db.transaction(undone)
        except _Undone as done:
            return done.answers


@_mutant("An order is acknowledged first and kept afterwards.")
def acknowledged_before_commit(p: Planted) -> None:
    def make(place: Any) -> Any:
        async def keep(trade: Trade, asks: Sequence[Ask]) -> None:
            with contextlib.suppress(Exception):
                await place(trade, asks)

        async def mutated(trade: Trade, asks: Sequence[Ask]) -> Any:
            answers = await place(replace(trade, db=_DryRun(trade.db)), asks)
            trade.world.start(keep(trade, asks))
            return answers

        return mutated

    p.put(flow, "place", make)


@_mutant("A client's key is looked up in one transaction and kept in another.")
def check_then_insert(p: Planted) -> None:
    def make(place: Any) -> Any:
        async def mutated(trade: Trade, asks: Sequence[Ask]) -> Any:
            return [await _checked_then_placed(place, trade, ask) for ask in asks]

        return mutated

    p.put(flow, "place", make)


async def _checked_then_placed(place: Any, trade: Trade, ask: Ask) -> Any:
    named = [(kind, name) for kind, name in (("key", ask.key), ("reference", ask.reference)) if name is not None]
    names = [store.key_name(trade, ask.payer, kind, name) for kind, name in named]
    cells = [store.key_cell(name) for name in names]
    known = await trade.db.transaction(lambda tx: tx.row(sql.KEYS, cells=cells, names=names))
    content = _place._names(trade, ask)[0]
    if known:
        return (await store.find(trade, [known[2]]))[0] if known[1].hex == content else OtherContent("used before")
    (answer,) = await place(trade, [msgspec.structs.replace(ask, key=None, reference=None)])
    if isinstance(answer, Order):
        ids, contents = [answer.id] * len(names), [content] * len(names)
        await trade.db.transaction(
            lambda tx: tx.run(sql.CLAIM_KEYS, cells=cells, names=names, contents=contents, orders=ids)
        )
    return answer


# ------------------------------------------------------------------ PINs


@_mutant("A PIN is taken in a transaction of its own, and its order settled in the next.")
def pin_taken_apart(p: Planted) -> None:
    async def apart(trade: Trade, intent: Any) -> None:
        attempt, ask, now = intent.attempt, intent.ask, trade.world.db_now()
        (outcome,) = await trade.db.transaction(lambda tx: _pins.take(tx, [(attempt.order_id, ask)], now))
        await flow.settle(trade, [flow.Answered(attempt, outcome)])

    def make(_give: Any) -> Any:
        async def mutated(trade: Trade, tx: Tx, intents: Sequence[Any]) -> list[Any]:
            inside = [it for it in intents if isinstance(it, _work.ToSend) and it.attempt.supplier == _pins.NAME]
            for intent in inside:
                trade.world.start(apart(trade, intent))
            return [intent for intent in intents if intent not in inside]

        return mutated

    p.put(_work, "_give", make)


@_mutant("A PIN's cost is not taken out of the stock.")
def pin_cost_from_elsewhere(p: Planted) -> None:
    p.put(_exchange, "supply_account", lambda _: lambda supplier, operator, currency: f"clearing:{supplier}/{currency}")


SINGLES = tuple(name for name, mutant in MUTANTS.items() if not mutant.masked)

# Pairs of which one takes away the guard that masks the other, and pairs that might hide each other.
PAIRS = (
    ("inbox_forgets", "captures_repeat"),
    ("expire_without_close", "late_money_is_kept"),
    ("retry_under_new_reference", "not_found_is_a_no"),
    ("timeout_is_a_no", "no_payment_polling"),
    ("unknown_is_a_no", "refund_under_new_id"),
    ("stale_notice_wins", "amount_not_checked"),
    ("signature_not_verified", "expire_without_close"),
    ("ledger_in_second_transaction", "acknowledged_before_commit"),
    ("queue_in_memory", "no_payment_polling"),
    ("check_then_insert", "acknowledged_before_commit"),
    ("frozen_worker_sends", "not_found_is_a_no"),
    ("second_payment_is_kept", "notice_not_deduplicated"),
    ("resend_without_dedup", "frozen_worker_sends"),
    ("failover_after_unknown", "order_keeps_supplier"),
)
