"""The check replays the book and names what does not hold."""

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.ledger.tables import told

from refill.db import Pool, Tx
from refill.ledger.check import STEPS, check, snapshot

BOOK = """
    accounts
        float:acme      100.00     0.00
    entries
        1   float:acme → held:acme     30.00       posted
        2   held:acme → sales:topup    30.00       posted
"""


async def findings(db: Pool) -> list[str]:
    async def work(tx: Tx) -> list[str]:
        await snapshot(tx)
        return await check(tx, lambda done, of: None)

    return await db.transaction(work)


def tamper(dsn: str, statement: str) -> None:
    """As somebody with the keys of the house would: no trigger and no constraint speaks."""
    with psycopg.connect(make_conninfo(dsn, options="-c session_replication_role=replica")) as connection:
        connection.execute(statement.encode())


async def test_a_clean_book_has_no_findings_and_the_check_tells_how_far_it_is(db: Pool) -> None:
    await told(db, BOOK)
    told_so_far: list[tuple[int, int]] = []

    async def work(tx: Tx) -> list[str]:
        await snapshot(tx)
        return await check(tx, lambda done, of: told_so_far.append((done, of)))

    assert await db.transaction(work) == []
    assert told_so_far == [(step, STEPS) for step in range(1, STEPS + 1)]


TAMPERED = [
    pytest.param(
        "UPDATE ledger_account SET balance = balance + 1 WHERE name LIKE 'sales:topup%'",
        ["I1: balances in CNY sum to 1, not to 0.", "I5: sales:topup", "stands at 3001", "3000"],
        id="a cent too much in one account",
    ),
    pytest.param(
        "UPDATE ledger_account SET balance = balance + CASE WHEN name LIKE 'sales%' THEN 5 ELSE -5 END"
        " WHERE name LIKE 'sales%' OR name LIKE 'float:acme%'",
        ["I5: float:acme", "stands at 6995", "7000", "I5: sales:topup"],
        id="money moved without an entry",
    ),
    pytest.param(
        "DELETE FROM ledger_transfer WHERE credit LIKE 'sales:topup%'",
        ["I5: held:acme", "I5: sales:topup", "stands at 3000", "add up to 0"],
        id="an entry torn out",
    ),
    pytest.param(
        "UPDATE ledger_transfer SET minor = minor * 2 WHERE credit LIKE 'sales:topup%'",
        ["I5: sales:topup", "add up to 6000"],
        id="an amount written over",
    ),
    pytest.param(
        "DELETE FROM ledger_account WHERE name LIKE 'sales:topup%'",
        ["I1: balances in CNY sum to -3000", "I5: sales:topup", "stands at 0"],
        id="an account torn out",
    ),
    pytest.param(
        "UPDATE ledger_account SET floor = 7001 WHERE name LIKE 'float:acme%'",
        ["I14: float:acme", "stands at 7000, below its floor 7001"],
        id="a float below its floor",
    ),
]


@pytest.mark.parametrize(("statement", "says"), TAMPERED)
async def test_whatever_is_changed_by_hand_is_found_and_named(
    db: Pool, dsn: str, statement: str, says: list[str]
) -> None:
    await told(db, BOOK)
    tamper(dsn, statement)
    found = "\n".join(await findings(db))
    for words in says:
        assert words in found


async def test_a_thousand_findings_are_not_all_shown(db: Pool, dsn: str) -> None:
    lines = "\n".join(f"{n} bank:demo → bank:b{n} 1.00 posted" for n in range(1, 40))
    await told(db, f"entries\n{lines}")
    tamper(dsn, "UPDATE ledger_account SET balance = balance + 1, floor = 1000")
    found = await findings(db)
    assert len([line for line in found if line.startswith("I5")]) == 20
    assert len([line for line in found if line.startswith("I14")]) == 20
