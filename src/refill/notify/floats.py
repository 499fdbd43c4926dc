"""Partners' floats that run low: told once when one falls below what its partner named, and again after it was filled."""

import msgspec

from refill import ledger
from refill.accounts import float_account
from refill.db import Statement, Tx
from refill.money import decimal_text
from refill.notify.outbox import Told, tell
from refill.world import World

WATCHED = Statement("""
    -- Endpoints that want to know of a low float, locked: two processes tell it once
    SELECT e.id, e.partner_id, p.currency, e.low_minor, e.low_told
      FROM notify_endpoint e JOIN accounts_partner p ON p.id = e.partner_id
     WHERE e.state <> 'deleted' AND e.low_minor IS NOT NULL
     ORDER BY e.id
       FOR UPDATE OF e SKIP LOCKED
""")

MARK = Statement("""
    -- Which of them know now that it is low, and which may be told again
    UPDATE notify_endpoint e SET low_told = asked.low
      FROM unnest(:ids::text[], :lows::boolean[]) AS asked (id, low) WHERE e.id = asked.id
""")


class Low(msgspec.Struct):
    """The data of `float.low`: what is left, and the amount that it fell below; decimal strings."""

    currency: str
    balance: str
    below: str


async def watch(tx: Tx, world: World) -> int:
    """Looks at the floats of all who want to know; says how many are told."""
    watched = await tx.rows(WATCHED)
    if not watched:
        return 0
    floats = {partner: float_account(partner, currency) for _, partner, currency, *_ in watched}
    standings = await ledger.standings(tx, sorted(floats.values()))
    held = {partner: standings[name] for partner, name in floats.items()}
    lows = {id_: held[partner] < below for id_, partner, _, below, _ in watched}
    news = [(id_, told) for id_, _, _, _, told in watched if lows[id_] != told]
    if not news:
        return 0
    ids = [id_ for id_, _ in news]
    tx.ask(MARK, ids=ids, lows=[lows[id_] for id_ in ids])
    told = [
        Told(
            partner,
            id_,
            "float.low",
            msgspec.json.encode(
                Low(currency, decimal_text(held[partner], currency), decimal_text(below, currency))
            ).decode(),
            id_,
        )
        for id_, partner, currency, below, was_told in watched
        if lows[id_] and not was_told
    ]
    tell(tx, told, world.db_now())
    return len(told)
