"""Verifies live orders against the book: legal histories (I8), one entry for one effect (I4), nothing owed at rest (I2)."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from refill import stock, vouchers
from refill.db import Database, Statement, Tx
from refill.ids import CELLS
from refill.ledger.check import SHOWN, Progress, snapshot
from refill.ledger.check import check as check_book
from refill.topup.states import REMARKS, ends_of

STEPS = 64

HISTORIES = Statement("""
    -- What happened to the orders of some cells, with what they are now; either may be missing
    SELECT coalesce(e.order_id, o.id) AS name, e.transition, e.at, o.payment, o.delivery
      FROM (SELECT order_id, transition, at, n FROM topup_event WHERE cell BETWEEN :first AND :last) e
      FULL JOIN (SELECT id, payment, delivery FROM topup_order WHERE cell BETWEEN :first AND :last) o
        ON o.id = e.order_id
     ORDER BY name, e.at, e.n
""")

MONEY = Statement("""
    -- Orders of some cells whose row and whose entries tell different stories
    WITH moved AS (
      SELECT left(id, 27) AS order_id,
             sum(minor) FILTER (WHERE credit NOT LIKE 'disputes:%' AND credit NOT LIKE 'wallet:%'
                AND (debit LIKE 'clearing:%' OR debit LIKE 'float:pa_%' OR debit LIKE 'voucher:%')) AS taken,
             sum(minor) FILTER (WHERE debit NOT LIKE 'disputes:%'
                AND (credit LIKE 'clearing:%' OR credit LIKE 'float:pa_%' OR credit LIKE 'voucher:%')) AS given_back,
             -- a wallet pays and is paid back like the others, unless filling it is what was ordered; change is neither
             sum(minor) FILTER (WHERE debit LIKE 'wallet:%') AS out_of_wallet,
             sum(minor) FILTER (WHERE credit LIKE 'wallet:%' AND debit NOT LIKE 'voucher:%') AS into_wallet,
             sum(minor) FILTER (WHERE credit LIKE 'balance:%') AS credited,
             sum(CASE WHEN credit LIKE 'owed:%' OR credit LIKE 'held:%' THEN minor ELSE 0 END)
           - sum(CASE WHEN debit LIKE 'owed:%' OR debit LIKE 'held:%' THEN minor ELSE 0 END) AS waiting,
             sum(CASE WHEN debit LIKE 'disputes:%' THEN minor WHEN credit LIKE 'disputes:%' THEN -minor ELSE 0 END)
          AS disputed,
             -- what the supplier of the order took of its currency, and what that was booked as in ours; extra is what
             -- one took that the order had left, at the rate that was agreed with that one
             sum(minor) FILTER (WHERE debit LIKE 'fx:%' AND credit NOT LIKE 'cost:%' AND id NOT LIKE '%.extra.%') AS theirs,
             sum(minor) FILTER (WHERE debit LIKE 'cost:%' AND credit LIKE 'fx:%' AND id NOT LIKE '%.extra.%') AS ours,
             count(*) FILTER (WHERE debit LIKE 'fx:%' AND credit NOT LIKE 'cost:%' AND id NOT LIKE '%.extra.%') AS bills
        FROM ledger_transfer WHERE cell BETWEEN :first AND :last AND id LIKE 'tu\\_%' GROUP BY 1),
    stray AS (
      SELECT order_id, sum(minor) AS minor FROM topup_capture WHERE fate <> 'order' GROUP BY 1),
    stray_back AS (
      SELECT order_id, sum(minor) AS minor FROM topup_refund
       WHERE state = 'done' AND cell BETWEEN :first AND :last
         AND source LIKE 'suspense:%' AND source NOT LIKE 'suspense:unknown%' GROUP BY 1),
    fought AS (  -- what banks still decide about, and what they gave to the payers of orders
      SELECT order_id, coalesce(sum(minor) FILTER (WHERE state = 'opened'), 0) AS open, sum(counted_minor) AS counted
        FROM topup_dispute WHERE cell BETWEEN :first AND :last GROUP BY 1),
    told AS (
      SELECT o.id, o.captured_minor + coalesce(stray.minor, 0) AS captured,
             coalesce(moved.taken, 0) + CASE o.supplier WHEN 'wallet' THEN 0 ELSE coalesce(moved.out_of_wallet, 0) END
          AS taken,
             o.refunded_minor - coalesce(fought.counted, 0) + coalesce(stray_back.minor, 0) AS refunded,
             coalesce(moved.given_back, 0) + CASE o.supplier WHEN 'wallet' THEN 0 ELSE coalesce(moved.into_wallet, 0) END
          AS given_back,
             o.delivered_minor AS delivered,
             CASE WHEN o.supplier = 'wallet' THEN coalesce(moved.into_wallet, 0)
                  WHEN o.supplier = 'home' AND o.delivery <> 'reversed' THEN coalesce(moved.credited, 0)
                  ELSE o.delivered_minor END AS credited,
             CASE WHEN o.final_at IS NULL THEN 0 ELSE coalesce(moved.waiting, 0) END AS waiting,
             coalesce(moved.disputed, 0) AS disputed, coalesce(fought.open, 0) AS open,
             coalesce(moved.theirs, 0) AS theirs, coalesce(moved.ours, 0) AS ours, coalesce(moved.bills, 0) AS bills,
             coalesce(moved.theirs, 0) * coalesce(o.rate_num, 0)::numeric / coalesce(o.rate_den, 1) AS worth,
             o.cost_currency
        FROM topup_order o
        LEFT JOIN moved ON moved.order_id = o.id
        LEFT JOIN stray ON stray.order_id = o.id
        LEFT JOIN stray_back ON stray_back.order_id = o.id
        LEFT JOIN fought ON fought.order_id = o.id
       WHERE o.cell BETWEEN :first AND :last)
    SELECT id,
           CASE WHEN taken <> captured THEN 'took ' || taken || ', captured ' || captured
                WHEN given_back <> refunded THEN 'gave back ' || given_back || ', refunded ' || refunded
                WHEN credited <> delivered THEN 'credited ' || credited || ', delivered ' || delivered
                WHEN disputed <> open THEN 'holds ' || disputed || ' as disputed, and ' || open || ' is'
                WHEN abs(ours - worth) * 2 > bills THEN 'changed ' || theirs || coalesce(' of ' || cost_currency, '')
                  || ' into ' || ours || ', and its rate says ' || round(worth)
                ELSE 'is final, but ' || waiting || ' still waits' END
      FROM told
     WHERE taken <> captured OR given_back <> refunded OR credited <> delivered OR disputed <> open OR waiting <> 0
        OR abs(ours - worth) * 2 > bills
     ORDER BY id LIMIT :most
""")


async def check(db: Database, progress: Progress) -> list[str]:
    """Findings in the book and in the orders, all of one moment; an empty list is a clean business."""

    async def work(tx: Tx) -> list[str]:
        await snapshot(tx)
        return await check_in(tx, progress)

    return await db.transaction(work)


async def check_in(tx: Tx, progress: Progress, steps: int = STEPS) -> list[str]:
    """The same in a transaction of the caller's; a small database needs few steps."""
    findings = await check_book(tx, lambda done, total: progress(done, total + steps), steps)
    for step in range(steps):
        cells = {"first": step * CELLS // steps, "last": (step + 1) * CELLS // steps - 1}
        for order_id, says in await tx.rows(MONEY, **cells, most=SHOWN):
            findings.append(f"I4: {order_id} {says}.")
        findings += _illegal(await tx.rows(HISTORIES, **cells))
        progress(step + 1 + steps, steps + steps)
    return findings + await vouchers.check(tx) + await stock.check(tx)


def _illegal(rows: Sequence[tuple[object, ...]]) -> Iterator[str]:
    for order_id, events in groupby(rows, key=lambda row: row[0]):
        history = list(events)
        payment, delivery = history[0][3], history[0][4]
        if payment is None:
            yield f"I3: {order_id} has a history, but no order."
            continue
        told = [(str(row[1]), row[2]) for row in history if row[1] is not None]
        if (payment, delivery) not in replay(told):
            steps = " ".join(transition for transition, _ in told)
            yield f"I8: {order_id} is {payment}/{delivery}, which no legal path of «{steps}» leads to."


def replay(history: Sequence[tuple[str, object]]) -> set[tuple[str, str]]:
    """All states that a history of (transition, moment) may lead to; events of one moment may stand in any order."""
    states: set[tuple[str, str]] = {("", "")}
    for _, moment in groupby(((name, at) for name, at in history if name not in REMARKS), key=lambda event: event[1]):
        names = [name for name, _ in moment]
        states = {end for state in states for end in _orders(state, names)}
    return states


def _orders(state: tuple[str, str], names: Sequence[str]) -> set[tuple[str, str]]:
    if not names:
        return {state}
    ends: set[tuple[str, str]] = set()
    for n, name in enumerate(names):
        for after in ends_of(name, *state):
            ends |= _orders(after, [*names[:n], *names[n + 1 :]])
    return ends
