"""Seeded days are not empty: every way to pay, and every way in which money comes back, is lived within a few dozen of them."""

import psycopg

from refill.simulate.crew import Runner
from refill.simulate.gateways import GATEWAYS, INSIDE

WITHIN = 60  # days

SEEN = """
    SELECT DISTINCT 'paid by ' || method FROM topup_capture WHERE fate = 'order'
     UNION SELECT DISTINCT 'paid twice by ' || method FROM topup_capture WHERE fate = 'twice'
     UNION SELECT DISTINCT 'back by ' || method FROM topup_refund WHERE state = 'done' AND why <> 'paid-twice'
     UNION SELECT DISTINCT 'dispute ' || state FROM topup_dispute
     UNION SELECT DISTINCT 'refund ' || state FROM topup_proposal
     UNION SELECT DISTINCT kind || ' ' || state FROM vouchers_voucher
     UNION SELECT DISTINCT 'filled ' || delivery FROM topup_order WHERE supplier = 'wallet'
     UNION SELECT DISTINCT 'refused ' || source FROM inbox_notice WHERE NOT verified
"""
FIRMS = tuple(GATEWAYS)
WANTED = {
    *(f"paid by {name}" for name in (*FIRMS, *INSIDE)),
    *(f"paid twice by {name}" for name in FIRMS),
    *(f"back by {name}" for name in (*FIRMS, *INSIDE)),
    *(f"dispute {state}" for state in ("opened", "won", "lost")),
    *(f"refund {state}" for state in ("open", "confirmed", "declined")),
    *("scratch stock", "scratch active", "scratch redeemed", "claim active", "claim redeemed", "filled delivered"),
    *(f"refused payments:{name}" for name in FIRMS),
}


def test_every_way_of_paying_is_lived(dsn: str, days: Runner) -> None:
    missing = set(WANTED)
    with psycopg.connect(dsn, autocommit=True) as looking:
        for seed in range(WITHIN):
            days.live(seed)
            missing -= {name for (name,) in looking.execute(SEEN).fetchall()}
            if not missing:
                break
    assert missing == set()
