"""Ranges that are sold or withdrawn by two people: one asks, another confirms, and only then anything moves."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from refill.db import Statement, Tx
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound
from refill.money import Money
from refill.vouchers.stock import Range, activate, held_batch, sale, void
from refill.world import World

LONGEST_REASON = 200
Step = Literal["activated", "void"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A range that somebody wants sold (`activated`) or withdrawn (`void`)."""

    taken: Range
    n: int  # of the batch, from 1
    step: Step
    purse: str
    paid: Money | None  # what was paid, or is paid back; None: the face value
    why: str
    asked_by: str
    asked_at: datetime
    state: str  # open | confirmed | declined
    decided_by: str | None


_ASKED = """a.batch, a.first, a.last, a.n, a.step, a.purse, a.minor, b.currency, a.why, a.asked_by, a.asked_at, a.state,
       a.decided_by"""

ASKED = Statement(f"""
    -- What was asked about a batch, or what waits in any; the latest first
    SELECT {_ASKED}
      FROM vouchers_asked a JOIN vouchers_batch b ON b.code = a.batch
     WHERE a.batch = :code OR (:code = '' AND a.state = 'open')
     ORDER BY a.asked_at DESC, a.batch, a.n DESC LIMIT :most::int
""")

ONE = Statement(f"""
    -- One wish, held until it is decided
    SELECT {_ASKED}
      FROM vouchers_asked a JOIN vouchers_batch b ON b.code = a.batch
     WHERE a.batch = :code AND a.n = :n::int FOR UPDATE
""")

ASK = Statement("""
    -- One more wish about a batch whose row we hold
    INSERT INTO vouchers_asked (batch, n, step, first, last, purse, minor, why, asked_by, asked_at)
    SELECT :code, coalesce(max(n), 0) + 1, :step, :first, :last, :purse, :minor, :why, :who, :now
      FROM vouchers_asked WHERE batch = :code
""")

DECIDE = Statement("""
    -- Somebody agreed, or did not
    UPDATE vouchers_asked SET state = :state, decided_by = :who, decided_at = :now WHERE batch = :code AND n = :n::int
""")


async def ask(
    tx: Tx, world: World, step: Step, taken: Range, *, purse: str, paid: Money | None, why: str, who: str
) -> Asked:
    """Asks that a range be sold or withdrawn; nothing moves until another person confirms it.

    paid: what was paid, or is paid back; None: the face value. The same wish again is the same.
    Raises NotFound, BadInput, CannotHappen (another wish for some of these vouchers waits).
    """
    why, who = why.strip()[:LONGEST_REASON], who.strip()
    if not why or not who:
        raise BadInput("Who sells or withdraws vouchers gives a name, and a reason.")
    batch = await held_batch(tx, taken.batch)
    taken.serials(batch)
    sale(purse, Money(batch.value.minor * (taken.last - taken.first + 1), batch.value.currency), paid)
    for each in await asked(tx, taken.batch):
        if each.state != "open" or each.taken.last < taken.first or taken.last < each.taken.first:
            continue
        if (each.step, each.taken, each.purse, each.paid) == (step, taken, purse, paid) and each.asked_by == who:
            return each
        raise CannotHappen("Another wish for some of these vouchers waits to be confirmed.")
    await tx.run(
        ASK,
        code=taken.batch,
        step=step,
        first=taken.first,
        last=taken.last,
        purse=purse,
        minor=paid.minor if paid else None,
        why=why,
        who=who,
        now=world.db_now(),
    )
    return (await asked(tx, taken.batch, most=1))[0]


async def confirm(tx: Tx, world: World, code: str, n: int, who: str) -> int:
    """Another person agrees: the range is sold or withdrawn in this transaction; returns how many.

    Raises NotFound, NotAllowed (the same person), CannotHappen (decided before; or what `activate` and `void` refuse).
    """
    wish = await _open(tx, code, n)
    if not who.strip() or wish.asked_by == who.strip():
        raise NotAllowed("Another person confirms it, not the one who asked for it.")
    both = f"{wish.asked_by}, {who.strip()}"
    if wish.step == "activated":
        count = await activate(tx, world, wish.taken, purse=wish.purse, who=both, paid=wish.paid, why=wish.why)
    else:
        count = await void(tx, world, wish.taken, purse=wish.purse, who=both, paid_back=wish.paid, why=wish.why)
    await tx.run(DECIDE, code=code, n=n, state="confirmed", who=who.strip(), now=world.db_now())
    return count


async def decline(tx: Tx, world: World, code: str, n: int, who: str) -> None:
    """Nothing is sold or withdrawn; also the person who asked may take it back. Raises NotFound, BadInput, CannotHappen."""
    if not who.strip():
        raise BadInput("Who declines it gives a name.")
    await _open(tx, code, n)
    await tx.run(DECIDE, code=code, n=n, state="declined", who=who.strip(), now=world.db_now())


async def asked(tx: Tx, code: str = "", most: int = 200) -> list[Asked]:
    """What was asked about a batch; without a name, what waits in any batch. The latest first."""
    return [_asked(*row) for row in await tx.rows(ASKED, code=code, most=most)]


async def _open(tx: Tx, code: str, n: int) -> Asked:
    row = await tx.row(ONE, code=code, n=n)
    if row is None:
        raise NotFound("Nobody asked for that.")
    wish = _asked(*row)
    if wish.state != "open":
        raise CannotHappen("That was decided before.")
    return wish


def _asked(batch: str, first: int, last: int, n: int, step: Step, purse: str, *rest: Any) -> Asked:
    minor, currency, *told = rest
    paid = None if minor is None else Money(minor, currency)
    return Asked(Range(batch, first, last), n, step, purse, paid, *told)
