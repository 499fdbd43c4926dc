"""Replays the whole book: sums to zero (I1), balances are the replay of transfers (I5), floors hold (I14)."""

from collections.abc import Callable

from refill.db import Statement, Tx
from refill.ids import CELLS

Progress = Callable[[int, int], None]  # steps done, of how many
STEPS = 64
SHOWN = 20  # findings of a kind; the rest is only counted

SNAPSHOT = Statement("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

TABLE = Statement('CREATE TEMPORARY TABLE replayed (name text COLLATE "C", minor bigint) ON COMMIT DROP')

REPLAY = Statement("""
    -- What the transfers of some cells move in each account
    INSERT INTO replayed (name, minor)
    SELECT name, sum(minor) FROM (
        SELECT debit AS name, -minor AS minor FROM ledger_transfer WHERE cell BETWEEN :first AND :last
         UNION ALL
        SELECT credit, minor FROM ledger_transfer WHERE cell BETWEEN :first AND :last) AS moved
     GROUP BY name
""")

SUMS = Statement("""
    -- Currencies whose balances do not sum to zero
    SELECT currency, sum(balance) FROM ledger_account GROUP BY currency HAVING sum(balance) <> 0 ORDER BY currency
""")

DRIFT = Statement("""
    -- Accounts whose balance is not the replay of their transfers
    SELECT name, coalesce(a.balance, 0), coalesce(r.minor, 0)
      FROM ledger_account a FULL JOIN (SELECT name, sum(minor) AS minor FROM replayed GROUP BY name) r USING (name)
     WHERE coalesce(a.balance, 0) <> coalesce(r.minor, 0) ORDER BY name LIMIT :most
""")

UNDER = Statement("""
    -- Accounts below their floor
    SELECT name, balance, floor FROM ledger_account WHERE balance < floor ORDER BY name LIMIT :most
""")


async def snapshot(tx: Tx) -> None:
    """Everything that follows in this transaction sees one moment; must be its first statement."""
    await tx.run(SNAPSHOT)


async def check(tx: Tx, progress: Progress, steps: int = STEPS) -> list[str]:
    """Findings, each a sentence; an empty list is a clean book."""
    await tx.run(TABLE)
    for step in range(steps):
        await tx.run(REPLAY, first=step * CELLS // steps, last=(step + 1) * CELLS // steps - 1)
        progress(step + 1, steps)
    findings = [f"I1: balances in {currency} sum to {total}, not to 0." for currency, total in await tx.rows(SUMS)]
    for name, balance, replayed in await tx.rows(DRIFT, most=SHOWN):
        findings.append(f"I5: {name} stands at {balance}, but its transfers add up to {replayed}.")
    for name, balance, floor in await tx.rows(UNDER, most=SHOWN):
        findings.append(f"I14: {name} stands at {balance}, below its floor {floor}.")
    return findings
