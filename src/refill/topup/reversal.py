"""Reversals that are asked for (冲正): by staff, two of them, or by a partner; checked against the operator's rules first.

On our own network it happens at once, or is refused. A supplier is asked, as often as it takes, under one name of ours;
`delivered -> reversed` only on its signed word and its own record. The row of the reversal is the job, with a timer of its
own. What an operator took back unasked is believed on the same two words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from refill import cases, ledger, numbers
from refill.cases import Case
from refill.db import Row, Statement, Tx
from refill.errors import BadInput, CannotHappen, NotFound
from refill.ids import cell_of_id
from refill.money import Money
from refill.operators import Reversal, Reverses, Supplier, TakenBack, TellsReversals, Terms, home
from refill.outcome import NOT_SENT, Done, Outcome, Refused, Unknown
from refill.topup import limits, states, store
from refill.topup.order import Attempt, Dossier, Order
from refill.topup.refund import payer_capture, refund_to_source
from refill.topup.reverse import mirrored, taken_back_at_home, without
from refill.topup.send import recharge_of
from refill.topup.states import after, float_account, owner_account
from refill.topup.store import Changes
from refill.topup.trade import Trade

LEASE = timedelta(minutes=2)
CHASED = timedelta(days=7)  # then a person asks the operator
LATER = timedelta(hours=1)  # while money moves the other way: a bank decides, or a refund is on its way
BATCH = 64
LONGEST_REASON = 200
OPEN = ("proposed", "due", "sent")


class NotReversible(CannotHappen):
    """This top-up cannot be taken back, or not any more; `reason` is a word for doors."""

    code = "not_reversible"

    def __init__(self, reason: str, says: str) -> None:
        self.reason = reason
        super().__init__(says)


SAYS = {
    "not_delivered": "Only a top-up that was delivered whole, and that is paid, can be taken back.",
    "money_moves": "Money of this top-up is on its way back or disputed; ask again when that has ended.",
    "not_supported": "This operator takes nothing back when it is asked over the wire; ask its people.",
    "too_late": "The operator's time for taking it back is over.",
    "other_month": "The operator takes it back only in the calendar month in which it was delivered.",
    "waiting": "Another reversal of this top-up is asked for already.",
    "refused": "The operator refused to take it back; nothing has changed since.",
    "same_person": "A reversal is confirmed by another person than the one who asked for it.",
    "decided": "This reversal was decided already.",
}


@dataclass(frozen=True, slots=True)
class ReversalRow:
    """One reversal as it stands; `attempt` is what it undoes (0: the sale on our own network)."""

    order_id: str
    n: int
    attempt: int
    supplier: str
    request_id: str
    state: str  # proposed | declined | due | sent | done | refused | stuck
    why: str
    asked_by: str
    asked_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    answer: str = ""
    code: str = ""
    their_id: str | None = None
    returned_minor: int | None = None
    asks: int = 0
    ask_at: datetime | None = None
    ended_at: datetime | None = None


_COLUMNS = """order_id, n, attempt, supplier, request_id, state, why, asked_by, asked_at, decided_by, decided_at, answer,
           code, their_id, returned_minor, asks, ask_at, ended_at"""

OF = Statement(f"""
    -- The reversals of an order that were asked for, the first one first
    SELECT {_COLUMNS} FROM topup_reversal WHERE cell = :cell AND order_id = :id ORDER BY n
""")

SAVE = Statement("""
    -- A reversal, new or as it stands now
    INSERT INTO topup_reversal AS r (cell, order_id, n, attempt, supplier, request_id, state, why, asked_by, asked_at,
                                     decided_by, decided_at, answer, code, their_id, returned_minor, asks, ask_at, ended_at)
    VALUES (:cell, :id, :n, :attempt, :supplier, :request, :state, :why, :askedby, :askedat, :decidedby, :decidedat,
            :answer, :code, :theirs, :returned, :asks, :askat, :ended)
        ON CONFLICT (cell, order_id, n) DO UPDATE
       SET state = excluded.state, decided_by = excluded.decided_by, decided_at = excluded.decided_at,
           answer = excluded.answer, code = excluded.code, their_id = excluded.their_id,
           returned_minor = excluded.returned_minor, asks = excluded.asks, ask_at = excluded.ask_at,
           ended_at = excluded.ended_at
     WHERE r.state IN ('proposed', 'due', 'sent')
""")

CLAIM = Statement(f"""
    -- Reversals whose timer rang, each to one worker; the new time is the lease
    WITH rang AS (
      SELECT cell, order_id, n FROM topup_reversal
       WHERE ask_at <= :now ORDER BY ask_at LIMIT :most FOR UPDATE SKIP LOCKED)
    UPDATE topup_reversal r SET state = 'sent', asks = r.asks + 1, ask_at = :lease
      FROM rang WHERE r.cell = rang.cell AND r.order_id = rang.order_id AND r.n = rang.n
    RETURNING {", ".join("r." + name.strip() for name in _COLUMNS.split(","))}
""")


# ------------------------------------------------------------------ asking for one


async def ask_reversal(trade: Trade, order_id: str, why: str, by: str) -> ReversalRow:
    """Asks for a delivered top-up to be taken back; `by` is a member of staff, or `partner:<id>` for its own.

    What staff ask for waits for another person. What a partner asks for is done at once on our own network, and asked of
    the supplier otherwise. The same wish again is the same reversal.
    Raises NotFound, BadInput, NotReversible, CannotHappen (part of the credit on our own network was spent).
    """
    why, by = why.strip()[:LONGEST_REASON], by.strip()
    if not why or not by:
        raise BadInput("A reversal has a reason, and somebody who asks for it.")

    async def work(tx: Tx) -> ReversalRow:
        changes, dossier = await _locked(tx, trade, order_id)
        order, before = dossier.order, await reversals_of(tx, order_id)
        last = before[-1] if before else None
        if last and (last.state in OPEN or last.state == "done"):
            if (last.why, last.asked_by) == (why, by):
                return last
            raise refusal("waiting" if last.state in OPEN else "not_delivered")
        await _may_be_taken_back(tx, trade, dossier, changes.now)
        if last and last.state == "refused":
            raise refusal("refused")
        attempt = _delivering(dossier)
        n, now = len(before) + 1, changes.now
        undone = attempt.n if attempt else 0
        row = ReversalRow(order_id, n, undone, order.supplier, f"{order_id}v{n}", "proposed", why, by, now)
        if by.startswith("partner:"):
            return await _go(tx, trade, changes, order, replace(row, decided_by=by, decided_at=now))
        await save(tx, row)
        says = "Somebody asks to take credit back; another person confirms it or declines."
        await cases.raise_cases(tx, [Case("reversal_asked", order_id, says, order.face)], now)
        return row

    return await trade.db.transaction(work)


async def confirm_reversal(trade: Trade, order_id: str, n: int, by: str) -> ReversalRow:
    """Another person agrees: the supplier is asked by the worker, or our own network takes it back at once.

    A repeat answers the reversal as it is. Raises NotFound, NotReversible, CannotHappen (part of it was spent).
    """

    async def work(tx: Tx) -> ReversalRow:
        changes, dossier = await _locked(tx, trade, order_id)
        row = await _asked(tx, order_id, n)
        if row.state == "declined":
            raise refusal("decided")
        if row.state != "proposed":
            return row
        if row.asked_by == by.strip() or not by.strip():
            raise refusal("same_person")
        await _may_be_taken_back(tx, trade, dossier, changes.now)
        await cases.close(tx, [f"reversal_asked:{order_id}"], f"confirmed by {by.strip()}", changes.now)
        decided = replace(row, decided_by=by.strip(), decided_at=changes.now)
        return await _go(tx, trade, changes, dossier.order, decided)

    return await trade.db.transaction(work)


async def decline_reversal(trade: Trade, order_id: str, n: int, by: str, why: str) -> ReversalRow:
    """No reversal; also who asked for it may take the wish back. A repeat changes nothing.

    Raises NotFound, BadInput, NotReversible (confirmed already).
    """
    if not why.strip() or not by.strip():
        raise BadInput("Who declines a reversal says why.")

    async def work(tx: Tx) -> ReversalRow:
        changes, _ = await _locked(tx, trade, order_id)
        row = await _asked(tx, order_id, n)
        if row.state == "declined":
            return row
        if row.state != "proposed":
            raise refusal("decided")
        no = replace(row, state="declined", decided_by=by.strip(), decided_at=changes.now, ended_at=changes.now)
        no = replace(no, answer=why.strip()[:LONGEST_REASON])
        await save(tx, no)
        await cases.close(tx, [f"reversal_asked:{order_id}"], f"declined by {by.strip()}", changes.now)
        return no

    return await trade.db.transaction(work)


async def _go(tx: Tx, trade: Trade, changes: Changes, order: Order, row: ReversalRow) -> ReversalRow:
    """Decided: at once on our own network, else the worker asks the supplier."""
    if order.supplier == home.NAME:
        await taken_back_at_home(tx, changes, order, row.decided_by or row.asked_by, row.why)
        row = replace(row, state="done", ended_at=changes.now)
    else:
        row = replace(row, state="due", ask_at=changes.now)
    await save(tx, row)
    return row


async def _may_be_taken_back(tx: Tx, trade: Trade, dossier: Dossier, now: datetime) -> None:
    """Raises NotReversible by what the order is, what the supplier can, and what its rules say."""
    order = dossier.order
    if order.payment in ("disputed", "refund_pending"):
        raise refusal("money_moves")
    if order.payment != "captured" or order.delivery != "delivered":
        raise refusal("not_delivered")
    if order.supplier != home.NAME:
        supplier = trade.suppliers.get(order.supplier)
        if _asks(supplier) is None or _delivering(dossier) is None:
            raise refusal("not_supported")
    rules = (trade.terms.get(order.supplier) or Terms()).reversal
    events = await store.story_of(tx, order)
    delivered_at = max(event.at for event in events if event.transition in ("sold", "delivered", "late_success"))
    if reason := rules.refusal(delivered_at, now):
        raise refusal(reason)


def refusal(reason: str) -> NotReversible:
    """Why a top-up cannot be taken back, by its word."""
    return NotReversible(reason, SAYS[reason])


def _asks(supplier: Supplier | None) -> Reverses | None:
    """A supplier that takes credit back for us when it is asked."""
    able: object = supplier if supplier is not None and supplier.flags.can_reverse else None
    return able if isinstance(able, Reverses) else None


def _delivering(dossier: Dossier) -> Attempt | None:
    """The attempt that delivered the order, if one did."""
    return next((a for a in dossier.attempts if a.state == "done" and a.supplier == dossier.order.supplier), None)


async def _locked(tx: Tx, trade: Trade, order_id: str) -> tuple[Changes, Dossier]:
    changes = Changes(trade.world.db_now(), trade.rules)
    changes.watch(await store.lock(tx, [order_id]))
    if order_id not in changes.dossiers:
        raise NotFound("There is no order with that id.")
    return changes, changes.dossiers[order_id]


async def reversals_of(tx: Tx, order_id: str) -> list[ReversalRow]:
    """The reversals of an order that were asked for, the first one first."""
    return [ReversalRow(*row) for row in await tx.rows(OF, cell=cell_of_id(order_id), id=order_id)]


async def _asked(tx: Tx, order_id: str, n: int) -> ReversalRow:
    for row in await reversals_of(tx, order_id):
        if row.n == n:
            return row
    raise NotFound("Nobody asked for that reversal.")


async def save(tx: Tx, row: ReversalRow) -> None:
    """A reversal, new or as it stands now; one that ended stays as it is."""
    await tx.run(
        SAVE,
        cell=cell_of_id(row.order_id),
        id=row.order_id,
        n=row.n,
        attempt=row.attempt,
        supplier=row.supplier,
        request=row.request_id,
        state=row.state,
        why=row.why,
        askedby=row.asked_by,
        askedat=row.asked_at,
        decidedby=row.decided_by,
        decidedat=row.decided_at,
        answer=row.answer,
        code=row.code,
        theirs=row.their_id,
        returned=row.returned_minor,
        asks=row.asks,
        askat=row.ask_at,
        ended=row.ended_at,
    )


# ------------------------------------------------------------------ asking the supplier


async def chase_reversals(trade: Trade, most: int = BATCH) -> int:
    """Asks suppliers about every reversal whose timer rang, each beside the caller; returns how many."""
    now = trade.world.db_now()

    async def claim(tx: Tx) -> list[Row]:
        return await tx.rows(CLAIM, now=now, lease=now + LEASE, most=most)

    rows = [ReversalRow(*row) for row in await trade.db.transaction(claim)]
    for row in rows:
        trade.world.start(_chase(trade, row))
    return len(rows)


async def _chase(trade: Trade, row: ReversalRow) -> None:
    ask = await _reversal_of(trade, row.order_id, row.attempt, row.request_id)
    supplier = _asks(trade.suppliers.get(row.supplier))
    outcome: Outcome[TakenBack] = Unknown("nobody can be asked: the number was erased, or the supplier is disconnected")
    if ask is not None and supplier is not None:
        outcome = await supplier.reverse(trade.world, ask)
        if isinstance(outcome, Done):
            outcome = await _seen_too(trade, supplier, ask, outcome.reference)
    await settle_reversal(trade, row, outcome)


async def _seen_too(trade: Trade, supplier: TellsReversals, ask: Reversal, said: TakenBack) -> Outcome[TakenBack]:
    """Their word alone is not enough: their own record must say it too."""
    match await supplier.inquire_reversal(trade.world, ask):
        case Done(seen):
            return Done(replace(said, returned=said.returned or seen.returned))
        case _:
            return Unknown("they say that it is taken back, and their own record does not yet")


async def _reversal_of(trade: Trade, order_id: str, attempt_n: int, request_id: str) -> Reversal | None:
    dossier = await store.dossier(trade, order_id)
    attempt = next((a for a in dossier.attempts if a.n == attempt_n), None)
    index = dossier.order.number
    found = await trade.db.transaction(lambda tx: numbers.reveal(tx, trade.vault, [index]))
    if attempt is None or index not in found:
        return None
    recharge = recharge_of(dossier.order, attempt, found[index].digits, attempt.send_before)
    return Reversal(request_id, recharge, attempt.their_id or "")


async def settle_reversal(trade: Trade, row: ReversalRow, outcome: Outcome[TakenBack]) -> None:
    """Saves what a supplier said. Done: booked, and the price goes back. Refused: the credit stays. Unknown: ask later."""

    async def work(tx: Tx) -> None:
        changes, dossier = await _locked(tx, trade, row.order_id)
        standing = await _asked(tx, row.order_id, row.n)
        if standing.state != "sent":
            return
        order = dossier.order
        match outcome:
            case Done() if order.payment in ("disputed", "refund_pending"):
                standing = replace(standing, ask_at=changes.now + LATER)
            case Done(taken):
                back = await _book(tx, changes, order, taken)
                standing = replace(standing, state="done", their_id=taken.supplier_reference, returned_minor=back)
                standing = replace(standing, ask_at=None, ended_at=changes.now)
            case Refused(reason, code, final) if final:
                standing = replace(standing, state="refused", answer=reason, code=code, ask_at=None)
                standing = replace(standing, ended_at=changes.now)
                changes.remark(order.id, "reversal_refused", row.n, reason)
            case _:
                standing = _doubtful(changes, standing, outcome)
        await changes.save(tx)
        await save(tx, standing)

    await trade.db.transaction(work)


def _doubtful(changes: Changes, row: ReversalRow, outcome: Outcome[TakenBack]) -> ReversalRow:
    """Asked again under the same name, until a person has to."""
    why = outcome.reason if isinstance(outcome, Refused) else getattr(outcome, "why", "")
    code = getattr(outcome, "code", "")
    if isinstance(outcome, Unknown) and code:
        says = f"{row.supplier} answered a reversal with a code that is in no table of ours: {code[:40]}."
        changes.troubles.append(Case("unknown_code", f"{row.supplier}:{code[:40]}", says))
    if changes.now >= (row.decided_at or row.asked_at) + CHASED:
        says = f"{row.supplier} could not tell whether it took credit back: {why[:80]}. Ask its people."
        changes.troubles.append(Case("reversal_stuck", row.order_id, says))
        changes.remark(row.order_id, "reversal_stuck", row.n, why)
        return replace(row, state="stuck", answer=why, code=code, ask_at=None, ended_at=changes.now)
    schedule = states.RETRY if why == NOT_SENT else states.INQUIRE
    return replace(row, answer=why, code=code, ask_at=changes.now + after(schedule, row.asks - 1))


# ------------------------------------------------------------------ booking it


async def _book(tx: Tx, changes: Changes, order: Order, taken: TakenBack) -> int | None:
    """Posts the mirror of the sale and sends the price back; returns what came back to our float, in its currency.

    What the payer was given before stays there. What the operator kept of the cost is a cost of ours.
    """
    await limits.recount(tx, [(order, order.but(delivery="reversed"))])
    sale = await _sale(tx, order)
    paid = sum(minor for _, credit, minor in sale if credit.startswith("sales:"))
    given = await _given(tx, order) if paid else {}
    payer = float_account(order) if order.partner else owner_account(order)
    to_payer = [(credit, payer, minor) for _, credit, minor in sale if credit.startswith("sales:")]
    costs = mirrored([leg for leg in sale if not leg[1].startswith("sales:")])
    legs = [*without(to_payer, payer, given), *costs, *_kept(order, costs, taken)]
    changes.entries.append(ledger.Entry.of(f"{order.id}.reversed", *legs))
    left = Money(max(paid - sum(given.values()), 0), order.price.currency)
    goes_back = left.minor and not order.partner
    if goes_back:
        capture = payer_capture([(capture, fate) for _, capture, fate in await store.captures_of(tx, [order.id])])
        changes.keep_refund(refund_to_source(changes, order, capture, left, owner_account(order), "reversed"))
    changes.move(
        order.id,
        "reversed",
        payment="refund_pending" if goes_back else "refunded",
        delivery="reversed",
        delivered_minor=0,
        refunded_minor=order.refunded_minor + (left.minor if order.partner else 0),
        reason="the operator took the credit back",
        detail=taken.supplier_reference,
    )
    into = [minor for debit, _, minor in costs if debit.startswith("float:")]
    return sum(into) - sum(minor for _, _, minor in _kept(order, costs, taken)) if into else None


async def _sale(tx: Tx, order: Order) -> list[tuple[str, str, int]]:
    """The delivery as it stands in the book: (debit, credit, minor)."""
    entries = await ledger.entries_of(tx, order.id)
    steps = tuple(f"{order.id}.{step}." for step in ("delivered", "late"))
    return [(debit, credit, minor) for id_, debit, credit, minor, _ in entries if id_.startswith(steps)]


async def _given(tx: Tx, order: Order) -> dict[str, int]:
    """What of the price the payer was given before, by the account that bore it."""
    by_banks = sum(each.counted_minor for each in await store.disputes_of(tx, order.id))
    currency = order.price.currency
    return {f"cost:goodwill/{currency}": order.refunded_minor - by_banks, f"loss:chargeback/{currency}": by_banks}


def _kept(order: Order, costs: Sequence[tuple[str, str, int]], taken: TakenBack) -> list[tuple[str, str, int]]:
    """What the operator does not give back of what it took: a fee of theirs."""
    for debit, _, minor in costs:
        if debit.startswith("float:") and taken.returned is not None and debit.endswith(taken.returned.currency):
            fee = max(minor - taken.returned.minor, 0)
            return [(f"cost:reversal/{taken.returned.currency}", debit, fee)] if fee else []
    return []


# ------------------------------------------------------------------ taken back unasked


async def look_for_reversal(trade: Trade, dossier: Dossier, attempt: Attempt) -> bool:
    """After a notice about credit that was delivered: did the operator take it back? Then the payer has the price back.

    An operator that does so unasked tells a person too. Returns whether it was taken back.
    """
    order = dossier.order
    supplier: object = trade.suppliers[attempt.supplier]
    if not isinstance(supplier, TellsReversals) or order.delivery != "delivered" or attempt != _delivering(dossier):
        return False
    ask = await _reversal_of(trade, order.id, attempt.n, "")
    said = await supplier.inquire_reversal(trade.world, ask) if ask else Unknown("erased")
    if not isinstance(said, Done):
        return False
    taken, by = said.reference, f"operator:{attempt.supplier}"

    async def work(tx: Tx) -> bool:
        changes, found = await _locked(tx, trade, order.id)
        before = await reversals_of(tx, order.id)
        if found.order.delivery != "delivered" or (before and before[-1].state in ("due", "sent")):
            return False  # settled meanwhile, or asked for: then its own timer books it
        says = f"{attempt.supplier} took delivered credit back without being asked; ask its people why."
        if found.order.payment in ("disputed", "refund_pending"):
            await cases.raise_cases(tx, [Case("reversal_stuck", order.id, says, order.face)], changes.now)
            return False
        if before and before[-1].state == "proposed":  # what somebody wished for has come by itself
            done = replace(before[-1], decided_by=by, decided_at=changes.now)
        else:
            n = len(before) + 1
            done = ReversalRow(
                order.id, n, attempt.n, attempt.supplier, f"{order.id}v{n}", "done", says, by, changes.now
            )
            done = replace(done, decided_by=by, decided_at=changes.now)
        back = await _book(tx, changes, found.order, taken)
        changes.troubles.append(Case("reversal_stuck", order.id, says, order.face))
        await changes.save(tx)
        ended = replace(done, state="done", their_id=taken.supplier_reference, returned_minor=back)
        await save(tx, replace(ended, ended_at=changes.now))
        return True

    return await trade.db.transaction(work)
