"""Verifies that the book and the stock of PINs tell the same, and that each PIN was given once (I13)."""

from refill.db import Statement, Tx
from refill.money import Money

WORTH = Statement("""
    -- Operators of whose PINs the book says another worth than the stock
    SELECT account, currency, coalesce(v.worth, 0), coalesce(-a.balance, 0)
      FROM (SELECT 'stock:' || operator || '/' || currency AS account, currency, sum(cost_minor)::bigint AS worth
              FROM stock_pin WHERE state = 'stock' GROUP BY 1, 2) AS v
      FULL JOIN (SELECT name AS account, currency, balance FROM ledger_account WHERE name LIKE 'stock:%') AS a
     USING (account, currency)
     WHERE coalesce(v.worth, 0) <> coalesce(-a.balance, 0) ORDER BY account
""")

GIVEN = Statement("""
    -- PINs that say something else of who got them than the list of what was given
    SELECT coalesce(p.serial, g.request_id), coalesce(p.given_to, 'nobody'), coalesce(g.request_id, 'nobody')
      FROM (SELECT * FROM stock_pin WHERE given_to IS NOT NULL) AS p
      FULL JOIN stock_given g ON g.pin = p.pin
     WHERE p.given_to IS DISTINCT FROM g.request_id ORDER BY 1 LIMIT 20
""")


async def check(tx: Tx) -> list[str]:
    """Findings, each a sentence."""
    worth = [
        f"I13: PINs in stock of {account} cost {Money(worth, currency)}, but the book says {Money(booked, currency)}."
        for account, currency, worth, booked in await tx.rows(WORTH)
    ]
    given = [
        f"I13: the PIN {serial} was given to {one}, and the list of what was given says {other}."
        for serial, one, other in await tx.rows(GIVEN)
    ]
    return worth + given
