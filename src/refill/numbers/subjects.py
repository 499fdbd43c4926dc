"""Numbers kept once, encrypted; everything else names them by keyed index, so erasing a person is deleting one row."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from refill.db import Statement, Tx
from refill.ids import cell_of
from refill.numbers.msisdn import Msisdn
from refill.vault import Vault

KIND = "msisdn"


def number_id(vault: Vault, msisdn: Msisdn) -> str:
    """The keyed index by which every table names this number; its cell is `ids.cell_of` of it."""
    return vault.index(KIND, msisdn.digits)


REMEMBER = Statement("""
    -- Keep numbers that we have not met; in one order, so that two batches never wait for each other in a ring
    INSERT INTO numbers_number (cell, number, sealed, first_seen)
    SELECT cell, number, sealed, :now::timestamptz
      FROM unnest(:cells::smallint[], :numbers::text[], :sealed::bytea[]) AS met (cell, number, sealed)
     ORDER BY cell, number
        ON CONFLICT (cell, number) DO NOTHING
""")


async def remember(tx: Tx, vault: Vault, msisdns: Iterable[Msisdn], now: datetime) -> dict[str, Msisdn]:
    """Keeps the numbers that are new and returns all of them by their index."""
    met = {number_id(vault, msisdn): msisdn for msisdn in msisdns}
    if met:
        tx.ask(
            REMEMBER,
            now=now,
            cells=[cell_of(number) for number in met],
            numbers=list(met),
            sealed=[vault.seal(KIND, number, msisdn.digits.encode()) for number, msisdn in met.items()],
        )
    return met


REVEAL = Statement("""
    -- The sealed digits of some numbers
    SELECT kept.number, kept.sealed
      FROM unnest(:cells::smallint[], :numbers::text[]) AS asked (cell, number)
      JOIN numbers_number AS kept USING (cell, number)
""")


async def reveal(tx: Tx, vault: Vault, number_ids: Sequence[str]) -> dict[str, Msisdn]:
    """The numbers behind some indexes; one that was erased is absent."""
    if not number_ids:
        return {}
    rows = await tx.rows(REVEAL, cells=[cell_of(number) for number in number_ids], numbers=list(number_ids))
    return {number: Msisdn(vault.unseal(KIND, number, bytes(sealed)).decode()) for number, sealed in rows}


ERASE = Statement("""
    -- Destroy a person's number and what we were told of it; orders keep its index, which nobody can read back
    WITH told AS (DELETE FROM numbers_lookup WHERE cell = :cell::smallint AND number = :number::text),
         decided AS (DELETE FROM numbers_override WHERE cell = :cell::smallint AND number = :number::text)
    DELETE FROM numbers_number WHERE cell = :cell::smallint AND number = :number::text
""")


async def erase(tx: Tx, number_id: str) -> bool:
    """Erases a subject; False when there was nothing left to erase."""
    return bool(await tx.run(ERASE, cell=cell_of(number_id), number=number_id))
