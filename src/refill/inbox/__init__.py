"""Notices of strangers, kept raw before anyone acts on them, once each."""

from dataclasses import dataclass
from datetime import datetime

from refill.db import Statement, Tx
from refill.vault import Vault


@dataclass(frozen=True, slots=True)
class Kept:
    """A notice in the inbox; `new` False when the same one came before."""

    source: str
    their_id: str
    new: bool
    handled: bool


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A notice as the back office shows it, with its raw body opened."""

    source: str
    their_id: str
    received_at: datetime
    verified: bool
    remark: str
    seen: int
    raw: bytes


KEEP = Statement("""
    -- A notice, once; a repeat is only counted
    INSERT INTO inbox_notice AS kept (source, their_id, received_at, raw, verified, about)
    VALUES (:source, :id, :at, :raw, :verified, :about)
        ON CONFLICT (source, their_id) DO UPDATE SET seen = kept.seen + 1
    RETURNING seen = 1, handled_at IS NOT NULL
""")

HANDLED = Statement("""
    UPDATE inbox_notice SET handled_at = :at, remark = :remark WHERE source = :source AND their_id = :id
""")

ABOUT = Statement("""
    SELECT source, their_id, received_at, verified, remark, seen, raw FROM inbox_notice
     WHERE about = ANY (:about::text[]) ORDER BY received_at
""")


async def keep(
    tx: Tx, vault: Vault, source: str, their_id: str, raw: bytes, *, verified: bool, about: str | None, at: datetime
) -> Kept:
    """Keeps a raw notice, sealed; says whether it is new and whether it was already dealt with."""
    sealed = vault.seal("inbox", f"{source} {their_id}", raw)
    row = await tx.row(KEEP, source=source, id=their_id, at=at, raw=sealed, verified=verified, about=about)
    assert row is not None
    return Kept(source, their_id, new=row[0], handled=row[1])


async def handled(tx: Tx, kept: Kept, remark: str, at: datetime) -> None:
    """Notes what became of a notice."""
    await tx.run(HANDLED, source=kept.source, id=kept.their_id, remark=remark, at=at)


async def about(tx: Tx, vault: Vault, names: list[str]) -> list[InboxRow]:
    """The notices that speak of these orders, payment references or requests, oldest first."""
    return [
        InboxRow(source, id_, at, verified, remark, seen, vault.unseal("inbox", f"{source} {id_}", raw))
        for source, id_, at, verified, remark, seen, raw in await tx.rows(ABOUT, about=names)
    ]
