"""Short numbers for orders, for clients whose language has no room for our ids: made from the id, kept to find it by."""

from collections.abc import Sequence

from refill.db import Statement, Tx
from refill.ids import cell_of_id
from refill.vault import Vault

BITS = 41  # with the twelve of the cell before them a number stays below 2^53, which every JSON reader holds exactly

NAME = Statement("""
    -- Numbers for orders that have none; one that is taken by another order is left out
    INSERT INTO topup_nickname (cell, n, order_id)
    SELECT cell, n, order_id
      FROM unnest(:cells::smallint[], :ns::bigint[], :orders::text[]) AS t (cell, n, order_id)
     ORDER BY cell, n
        ON CONFLICT DO NOTHING
""")

NICKNAMES = Statement("""
    -- The numbers of some orders
    SELECT n.order_id, n.n
      FROM unnest(:cells::smallint[], :orders::text[]) AS asked (cell, order_id)
      JOIN topup_nickname n ON n.cell = asked.cell AND n.order_id = asked.order_id
""")

NAMED = Statement("""
    -- Whose number this is
    SELECT order_id FROM topup_nickname WHERE cell = :cell::smallint AND n = :n::bigint
""")


async def nicknames(tx: Tx, vault: Vault, ids: Sequence[str]) -> dict[str, int]:
    """The number of each order, by its id; the same for ever."""
    ordered = sorted(set(ids))
    found = await _known(tx, ordered)
    turn = 0
    while missing := [id_ for id_ in ordered if id_ not in found]:
        cells = [cell_of_id(id_) for id_ in missing]
        ns = [_number(vault, id_, cell, turn) for id_, cell in zip(missing, cells, strict=True)]
        tx.ask(NAME, cells=cells, ns=ns, orders=missing)
        found |= await _known(tx, missing)
        turn += 1
    return found


async def _known(tx: Tx, ids: Sequence[str]) -> dict[str, int]:
    if not ids:
        return {}
    rows = await tx.rows(NICKNAMES, cells=[cell_of_id(id_) for id_ in ids], orders=list(ids))
    return {str(id_): int(n) for id_, n in rows}


def _number(vault: Vault, id_: str, cell: int, turn: int) -> int:
    """Nobody reads from it how many orders there are. Another `turn`, another number: two orders may meet in one."""
    hashed = int(vault.digest("nickname", f"{id_} {turn}".encode()), 16)
    return cell << BITS | hashed & ((1 << BITS) - 1)


async def named(tx: Tx, n: int) -> str | None:
    """The id of the order with that number, or None."""
    if not 0 <= n < 1 << BITS + 12:
        return None
    row = await tx.row(NAMED, cell=n >> BITS, n=n)
    return str(row[0]) if row else None
