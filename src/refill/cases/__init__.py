"""What a person must settle: opened by the engine, assigned to someone, resolved by a transition with a note."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from refill.db import Statement, Tx
from refill.errors import CannotHappen
from refill.money import Money

# How long a case of a kind may wait for a person before it is overdue.
AGE_LIMIT = {
    "unknown": timedelta(hours=24),  # an outcome that the operator cannot tell us at the deadline
    "unknown_code": timedelta(hours=4),  # an answer that is in no table of ours
    "late_success": timedelta(hours=24),  # delivered after it was refunded: money to recover
    "late_payment": timedelta(hours=24),  # paid after the order expired: refunded from suspense
    "paid_twice": timedelta(hours=24),
    "wrong_amount": timedelta(hours=24),
    "stranger": timedelta(hours=72),  # a verified notice for an order that we do not know
    "refund_refused": timedelta(hours=8),  # the gateway will not give the money back
    "empty_float": timedelta(hours=1),  # our float at a supplier is used up; orders are parked
    "same_reference": timedelta(hours=24),  # a supplier gave two orders one name of its own
    "low_stock": timedelta(hours=8),  # fewer PINs of a product are left than there should be
    "wrong_cost": timedelta(hours=24),  # a supplier took more than was agreed, or another currency
    "thin_margin": timedelta(hours=8),  # a sale left less than it should
    "rate_old": timedelta(hours=1),  # an exchange rate ran out: what needs it is not sold
    "low_float": timedelta(hours=2),  # our float at a supplier will be empty soon, and nobody waits for it yet
    "breaker": timedelta(hours=1),  # a supplier fails so often that nothing is sent to it for a while
    "reversal_asked": timedelta(hours=12),  # operators take credit back for a day or so; another person confirms
    "reversal_stuck": timedelta(hours=8),  # taken back unasked, or nobody there can tell whether it was
    "difference": timedelta(hours=24),
    "voucher_guessing": timedelta(hours=1),  # wrong PINs from many places: somebody tries them through
    "disputed": timedelta(hours=48),  # a payer's bank takes money back; with a day for our evidence, until that day
    "dispute_lost": timedelta(hours=24),  # money that is gone: write it off, or recover it
    "webhook_failing": timedelta(hours=72),  # a partner's endpoint accepted nothing for days and is disabled
    "refund_asked": timedelta(hours=24),  # somebody wants to give money back; another person confirms
}


@dataclass(frozen=True, slots=True)
class Case:
    """One trouble about one object, in a sentence; `money` is what is at stake, if any.

    due_at: a deadline that somebody else set, in the place of the kind's age limit.
    """

    kind: str
    about: str
    says: str
    money: Money | None = None
    due_at: datetime | None = None

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.about}"


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case as it stands."""

    id: str
    kind: str
    about: str
    says: str
    opened_at: datetime
    due_at: datetime
    state: str
    assigned_to: str | None
    resolved_by: str | None
    resolution: str


RAISE = Statement("""
    -- Cases, once each; the same trouble again (after it was resolved) opens it again
    INSERT INTO cases_case AS c (id, kind, about, says, minor, currency, opened_at, due_at)
    SELECT id, kind, about, says, minor, currency, :at, due
      FROM unnest(:ids::text[], :kinds::text[], :abouts::text[], :says::text[], :minors::bigint[],
                  :currencies::text[], :dues::timestamptz[]) AS t (id, kind, about, says, minor, currency, due)
        ON CONFLICT (id) DO UPDATE
       SET state = 'open', assigned_to = NULL, resolved_by = NULL, resolved_at = NULL,
           opened_at = excluded.opened_at, due_at = excluded.due_at, says = excluded.says
     WHERE c.state = 'resolved'
""")

ASSIGN = Statement("""
    UPDATE cases_case SET state = 'assigned', assigned_to = :who WHERE id = :id AND state <> 'resolved'
""")

RESOLVE = Statement("""
    UPDATE cases_case SET state = 'resolved', resolved_by = :who, resolved_at = :at, resolution = :how
     WHERE id = :id AND state <> 'resolved'
""")

CLOSE = Statement("""
    -- What settled itself: the engine closes it, if nobody did before
    UPDATE cases_case SET state = 'resolved', resolved_by = 'refill', resolved_at = :at, resolution = :how
     WHERE id = ANY (:ids::text[]) AND state <> 'resolved'
""")

LISTING = Statement("""
    SELECT id, kind, about, says, opened_at, due_at, state, assigned_to, resolved_by, resolution FROM cases_case
     WHERE state <> 'resolved' ORDER BY due_at LIMIT :most
""")

ABOUT = Statement("""
    SELECT id, kind, about, says, opened_at, due_at, state, assigned_to, resolved_by, resolution FROM cases_case
     WHERE about = :about ORDER BY opened_at
""")


async def raise_cases(tx: Tx, cases: Sequence[Case], at: datetime) -> None:
    """Opens cases (a case that is open already stays as it is)."""
    unique = sorted({case.id: case for case in cases}.values(), key=lambda case: case.id)
    if unique:
        await tx.run(
            RAISE,
            at=at,
            ids=[case.id for case in unique],
            kinds=[case.kind for case in unique],
            abouts=[case.about for case in unique],
            says=[case.says for case in unique],
            minors=[case.money.minor if case.money else None for case in unique],
            currencies=[case.money.currency if case.money else None for case in unique],
            dues=[case.due_at or at + AGE_LIMIT[case.kind] for case in unique],
        )


async def open_cases(tx: Tx, most: int = 100) -> list[CaseRow]:
    """What waits for a person, the most urgent first."""
    return [CaseRow(*row) for row in await tx.rows(LISTING, most=most)]


async def about(tx: Tx, name: str) -> list[CaseRow]:
    """All cases about one object."""
    return [CaseRow(*row) for row in await tx.rows(ABOUT, about=name)]


async def assign(tx: Tx, case_id: str, who: str, now: datetime) -> None:
    """Gives a case to a person. Raises CannotHappen when it is resolved."""
    if not await tx.run(ASSIGN, id=case_id, who=who):
        raise CannotHappen("This case is resolved already.")


async def resolve(tx: Tx, case_id: str, who: str, how: str, note: str, now: datetime) -> None:
    """Closes a case with how it was settled and a note. Raises CannotHappen when it is resolved already."""
    if not await tx.run(RESOLVE, id=case_id, who=who, how=f"{how}: {note}", at=now):
        raise CannotHappen("This case is resolved already.")


async def close(tx: Tx, case_ids: Sequence[str], how: str, now: datetime) -> None:
    """Closes cases that settled themselves; one that a person resolved, or that never was, stays as it is."""
    await tx.run(CLOSE, ids=list(case_ids), how=how, at=now)
