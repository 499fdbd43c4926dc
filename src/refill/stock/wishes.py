"""What one person wants done with a PIN that was given, and another must agree to: replace it, or show it to staff."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from refill.db import Statement, Tx
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound
from refill.ids import cell_of_id

LONGEST_REASON = 200
Kind = Literal["replace", "reveal"]


@dataclass(frozen=True, slots=True)
class Wish:
    """That the PIN of `request_id` be replaced by another, or shown once to who asked."""

    order_id: str
    n: int  # of the order, from 1
    kind: Kind
    request_id: str
    why: str
    asked_by: str
    asked_at: datetime
    state: str  # open | confirmed | declined | read
    decided_by: str | None


_WISH = "order_id, n, kind, request_id, why, asked_by, asked_at, state, decided_by"

OF_ORDER = Statement(f"""
    -- What was wanted of an order's PINs, the first one first
    SELECT {_WISH} FROM stock_wish WHERE cell = :cell AND order_id = :order ORDER BY n
""")

WAITING = Statement(f"""
    -- What waits for a second person, the oldest first
    SELECT {_WISH} FROM stock_wish WHERE state = 'open' ORDER BY asked_at, order_id, n LIMIT :most::int
""")

HOLD = Statement(f"""
    -- One wish, held until it is decided
    SELECT {_WISH} FROM stock_wish WHERE cell = :cell AND order_id = :order AND n = :n::int FOR UPDATE
""")

ASK = Statement("""
    -- One more wish about an order, unless one of its kind waits
    INSERT INTO stock_wish (cell, order_id, n, kind, request_id, why, asked_by, asked_at)
    SELECT :cell, :order, coalesce(max(n), 0) + 1, :kind, :request, :why, :who, :now
      FROM stock_wish WHERE cell = :cell AND order_id = :order
        ON CONFLICT DO NOTHING
""")

DECIDE = Statement("""
    -- Somebody agreed, or did not
    UPDATE stock_wish SET state = :state, decided_by = :who, decided_at = :now
     WHERE cell = :cell AND order_id = :order AND n = :n::int
""")

READ = Statement("""
    -- It was shown, once
    UPDATE stock_wish SET state = 'read' WHERE cell = :cell AND order_id = :order AND n = :n::int AND state = 'confirmed'
""")


async def ask(tx: Tx, order_id: str, kind: Kind, request_id: str, *, why: str, who: str, now: datetime) -> Wish:
    """Asks for it; nothing happens until another person agrees. The same wish again is the same.

    Raises BadInput, CannotHappen (somebody else's wish of this kind waits).
    """
    why, who = why.strip()[:LONGEST_REASON], who.strip()
    if not why or not who:
        raise BadInput("Who wants that gives a name, and a reason.")
    wanted = {"kind": kind, "request": request_id, "why": why, "who": who, "now": now}
    written = await tx.run(ASK, cell=cell_of_id(order_id), order=order_id, **wanted)
    same = [each for each in await of_order(tx, order_id) if each.kind == kind and (written or each.state == "open")]
    if not same or (same[-1].request_id, same[-1].asked_by, same[-1].why) != (request_id, who, why):
        raise CannotHappen("Somebody asked for that before; it waits to be confirmed.")
    return same[-1]


async def held(tx: Tx, order_id: str, n: int) -> Wish:
    """A wish whose row we hold. Raises NotFound."""
    row = await tx.row(HOLD, cell=cell_of_id(order_id), order=order_id, n=n)
    if row is None:
        raise NotFound("Nobody asked for that.")
    return Wish(*row)


async def decide(tx: Tx, wish: Wish, who: str, now: datetime, *, agree: bool) -> None:
    """Raises BadInput, NotAllowed (only another person agrees; who asked may take it back), CannotHappen (decided before)."""
    who = who.strip()
    if not who:
        raise BadInput("Who decides it gives a name.")
    if wish.state != "open":
        raise CannotHappen("That was decided before.")
    if agree and wish.asked_by == who:
        raise NotAllowed("Another person confirms it, not the one who asked for it.")
    state = "confirmed" if agree else "declined"
    await tx.run(DECIDE, cell=cell_of_id(wish.order_id), order=wish.order_id, n=wish.n, state=state, who=who, now=now)


async def shown(tx: Tx, wish: Wish, who: str) -> None:
    """Uses up the leave to see a PIN. Raises NotAllowed (it is another's), CannotHappen (no leave, or seen before)."""
    if wish.kind != "reveal" or wish.asked_by != who.strip():
        raise NotAllowed("It is shown to the person who asked to see it.")
    if not await tx.run(READ, cell=cell_of_id(wish.order_id), order=wish.order_id, n=wish.n):
        raise CannotHappen("It was shown before, or nobody agreed to it.")


async def of_order(tx: Tx, order_id: str) -> list[Wish]:
    """What was wanted of an order's PINs."""
    return [Wish(*row) for row in await tx.rows(OF_ORDER, cell=cell_of_id(order_id), order=order_id)]


async def waiting(tx: Tx, most: int = 100) -> list[Wish]:
    """What waits for a second person."""
    return [Wish(*row) for row in await tx.rows(WAITING, most=most)]
