"""Verifies that what we owe to the holders of vouchers is what the vouchers in their hands are worth (I13)."""

from refill.db import Statement, Tx
from refill.money import Money

OWED = Statement("""
    -- Currencies in which the book owes holders something else than their vouchers are worth
    SELECT currency, coalesce(v.worth, 0), coalesce(a.balance, 0)
      FROM (SELECT currency, sum(minor)::bigint AS worth FROM vouchers_voucher WHERE state = 'active' GROUP BY 1) AS v
      FULL JOIN (SELECT currency, balance FROM ledger_account WHERE name LIKE 'voucher:liability/%') AS a USING (currency)
     WHERE coalesce(v.worth, 0) <> coalesce(a.balance, 0) ORDER BY currency
""")


async def check(tx: Tx) -> list[str]:
    """Findings, each a sentence."""
    return [
        f"I13: active vouchers are worth {Money(worth, currency)}, but the book owes their holders {Money(owed, currency)}."
        for currency, worth, owed in await tx.rows(OWED)
    ]
