"""Posting: all refusals first, each with a name; then one statement that cannot fail half-way."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from refill.db import Row, Statement, Tx
from refill.ids import cell_of_id
from refill.ledger.accounts import Account, cell_of_account, role_of


# Entries are made by the thousand: a Struct is made in a tenth of the time that a frozen dataclass takes.
class Transfer(msgspec.Struct, frozen=True):
    """`minor` units from `debit` to `credit`, above zero, both in one currency. A leg of zero is left out by `Entry.of`."""

    debit: str
    credit: str
    minor: int


class Entry(msgspec.Struct, frozen=True):
    """What happened, as transfers that are posted together or not at all.

    `id` is deterministic: the id of the order (or deposit) and the step, "tu_….sold": so it can be posted once only.
    """

    id: str
    transfers: tuple[Transfer, ...]

    @classmethod
    def of(cls, id_: str, *legs: tuple[str, str, int]) -> "Entry":
        """Entry.of("tu_….paid", ("clearing:alipay/CNY", "owed:customers/CNY", 4980))"""
        return cls(id_, tuple(Transfer(debit, credit, minor) for debit, credit, minor in legs if minor))


class Posted(msgspec.Struct, frozen=True):
    """The entry stands in the book; `again` when it stood there before."""

    again: bool = False


class Refusal(msgspec.Struct, frozen=True):
    """The entry was not posted; `why` is not_enough, no_account, other_content, currency or amount."""

    why: str
    account: str = ""


POSTED = Posted()


@dataclass(slots=True)
class Standing:
    """An account's balance under our lock, and how low it may go."""

    balance: int
    floor: int | None


class Draft:
    """Entries laid out for the book before anything is locked, so that the locks are held for no work that could be done now.

    `sound`: no two share an id, and every leg is above zero, within one currency and between two accounts. `taken` is
    what all entries together take out of each account.
    """

    __slots__ = ("change", "columns", "entries", "ordered", "sound", "taken", "unlocked")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.change: dict[str, int] = {}
        self.taken: dict[str, int] = {}
        self.sound = len({entry.id for entry in entries}) == len(entries)
        ids: list[str] = []
        cells: list[int] = []
        debits: list[str] = []
        credits: list[str] = []
        minors: list[int] = []
        self.columns = {"cells": cells, "ids": ids, "debits": debits, "credits": credits, "minors": minors}
        change, taken = self.change, self.taken
        for entry in entries:
            cell = cell_of_entry(entry.id)
            for n, leg in enumerate(entry.transfers):
                debit, credit, minor = leg.debit, leg.credit, leg.minor
                if minor <= 0 or debit[-3:] != credit[-3:] or debit == credit:
                    self.sound = False
                ids.append(f"{entry.id}.{n}")
                cells.append(cell)
                debits.append(debit)
                credits.append(credit)
                minors.append(minor)
                change[debit] = change.get(debit, 0) - minor
                change[credit] = change.get(credit, 0) + minor
                taken[debit] = taken.get(debit, 0) + minor
        self.ordered = in_lock_order(change)
        own = [name for name in self.ordered if not role_of(name).shared]
        self.unlocked = frozenset(own) if taken.keys().isdisjoint(own) else frozenset[str]()

    def covered(self, standings: Mapping[str, "Standing"]) -> bool:
        """Is there enough for all of them, in whatever order they come?"""
        if not self.sound or len(standings) + len(self.unlocked) < len(self.ordered):
            return False
        for name, minor in self.taken.items():
            standing = standings[name]
            if standing.floor is not None and standing.balance - minor < standing.floor:
                return False
        return True

    def write(self, tx: Tx, at: datetime) -> None:
        """Puts in line the writing of all its entries and of the balances that they change."""
        tx.ask(
            WRITE,
            at=at,
            **self.columns,
            account_cells=[cell_of_account(name) for name in self.ordered],
            names=self.ordered,
            changes=[self.change[name] for name in self.ordered],
        ).must_touch(len(self.ordered), "An entry names an account that was never opened; nothing was posted.")


async def post(
    tx: Tx, entries: Sequence[Entry] | Draft, at: datetime, *, new: bool = False
) -> Sequence[Posted | Refusal]:
    """Posts entries as if one by one, in order; a refused entry leaves no trace and does not disturb the others.

    They are written by the next statement that is awaited, or by the commit.

    Accounts that could refuse, and all that are shared, are locked in one order (shared first, then cell and name);
    an account of one subscriber that is only credited cannot refuse, so its update takes the lock, in the same order.
    `new`: the caller knows that none of these ids was ever posted (the unique key would refuse the transaction).
    """
    draft = entries if isinstance(entries, Draft) else Draft(entries)
    standings = await _lock(tx, [name for name in draft.ordered if name not in draft.unlocked], at)
    if new and draft.covered(standings):
        draft.write(tx, at)
        return [POSTED] * len(draft.entries)
    known = {} if new else await _known(tx, draft.entries)
    answers = decide(standings, draft.entries, known, draft.unlocked)
    accepted = [entry for entry, answer in zip(draft.entries, answers, strict=True) if answer == POSTED]
    if accepted:
        Draft(accepted).write(tx, at)
    return answers


def decide(
    standings: Mapping[str, Standing],
    entries: Sequence[Entry],
    known: Mapping[str, Entry],
    unlocked: frozenset[str] = frozenset(),
) -> list[Posted | Refusal]:
    """The verdict on each entry, in order; changes `standings` as accepted entries would."""
    answers: list[Posted | Refusal] = []
    seen = dict(known)
    for entry in entries:
        if entry.id in seen:
            same = seen[entry.id] == entry
            answers.append(Posted(again=True) if same else Refusal("other_content"))
            continue
        verdict = _verdict(standings, entry, unlocked)
        if isinstance(verdict, Posted):
            seen[entry.id] = entry
        answers.append(verdict)
    return answers


def _verdict(standings: Mapping[str, Standing], entry: Entry, unlocked: frozenset[str]) -> Posted | Refusal:
    change: dict[str, int] = {}
    for leg in entry.transfers:
        if leg.minor <= 0:
            return Refusal("amount", leg.debit)
        if leg.debit[-3:] != leg.credit[-3:] or leg.debit == leg.credit:
            return Refusal("currency", leg.debit)
        change[leg.debit] = change.get(leg.debit, 0) - leg.minor
        change[leg.credit] = change.get(leg.credit, 0) + leg.minor
    for name, delta in change.items():
        standing = standings.get(name)
        if standing is None:
            if name in unlocked:
                continue
            return Refusal("no_account", name)
        # Only what takes money out is refused: an account below its (raised) floor can still be paid into.
        if delta < 0 and standing.floor is not None and standing.balance + delta < standing.floor:
            return Refusal("not_enough", name)
    for name, delta in change.items():
        if name in standings:
            standings[name].balance += delta
    return POSTED


def in_lock_order(names: Iterable[str]) -> list[str]:
    """The one order in which everybody locks accounts: shared ones first, then by cell and name."""
    places = sorted((not role_of(name).shared, cell_of_account(name), name) for name in names)
    return [name for _, _, name in places]


LOCK = Statement("""
    -- Accounts, locked in the order in which they are named
    SELECT a.name, a.balance, a.floor
      FROM unnest(:cells::smallint[], :names::text[]) WITH ORDINALITY AS asked (cell, name, n)
      JOIN ledger_account a ON a.cell = asked.cell AND a.name = asked.name
     ORDER BY asked.n
       FOR UPDATE OF a
""")

OPEN = Statement("""
    -- Accounts that are not there yet
    INSERT INTO ledger_account (cell, name, currency, floor, opened_at)
    SELECT cell, name, right(name, 3), floor, :at
      FROM unnest(:cells::smallint[], :names::text[], :floors::bigint[]) AS asked (cell, name, floor)
        ON CONFLICT DO NOTHING
""")

KNOWN = Statement("""
    -- Transfers of these entries that stand in the book already
    SELECT t.id, t.debit, t.credit, t.minor
      FROM unnest(:cells::smallint[], :ids::text[]) AS asked (cell, id)
     CROSS JOIN LATERAL (  -- OFFSET 0: one look into the index for each, whatever the table's statistics were
           SELECT id, debit, credit, minor FROM ledger_transfer AS transfer
            WHERE transfer.cell = asked.cell AND transfer.id = asked.id OFFSET 0) AS t
""")

WRITE = Statement("""
    -- Transfers, and the balances that they change; accounts are touched in the order in which they are named
    WITH written AS (
      INSERT INTO ledger_transfer (cell, id, debit, credit, minor, at)
      SELECT cell, id, debit, credit, minor, :at
        FROM unnest(:cells::smallint[], :ids::text[], :debits::text[], :credits::text[], :minors::bigint[])
          AS t (cell, id, debit, credit, minor))
    UPDATE ledger_account a SET balance = a.balance + change.minor
      FROM unnest(:account_cells::smallint[], :names::text[], :changes::bigint[]) AS change (cell, name, minor)
     WHERE a.cell = change.cell AND a.name = change.name
""")

SET_FLOOR = Statement("""
    -- A credit limit: raised freely, lowered only against free headroom
    UPDATE ledger_account SET floor = :floor
     WHERE cell = :cell AND name = :name AND balance >= :floor
""")

BALANCES = Statement("""
    -- Balances of some accounts, not locked
    SELECT a.name, a.balance
      FROM unnest(:cells::smallint[], :names::text[]) AS asked (cell, name)
      JOIN ledger_account a ON a.cell = asked.cell AND a.name = asked.name
""")

ENTRIES_OF = Statement("""
    -- The transfers whose ids begin with an order's id
    SELECT id, debit, credit, minor, at FROM ledger_transfer
     WHERE cell = :cell AND id >= :source || '.' AND id < :source || '/'
     ORDER BY at, id
""")

WALLET_MOVES = Statement("""
    -- The latest transfers into and out of a wallet, the newest first
    SELECT id, minor, at FROM (
        SELECT id, minor, at FROM ledger_transfer WHERE credit = :name AND credit LIKE 'wallet:%'
         UNION ALL
        SELECT id, -minor, at FROM ledger_transfer WHERE debit = :name AND debit LIKE 'wallet:%') AS moves
     ORDER BY at DESC, id DESC LIMIT :most::int
""")


async def _lock(tx: Tx, names: Sequence[str], at: datetime) -> dict[str, Standing]:
    standings = await lock(tx, names)
    if len(standings) < len(names):
        first_used = [name for name in names if name not in standings and role_of(name).on_first_use]
        if first_used:
            await open_accounts(tx, [Account(name, role_of(name).floor) for name in first_used], at)
            standings = await lock(tx, names)
    return standings


async def lock(tx: Tx, names: Sequence[str]) -> dict[str, Standing]:
    """Locks those of the accounts that exist, in the order in which they are named: `in_lock_order`."""
    rows = await tx.rows(LOCK, cells=[cell_of_account(name) for name in names], names=list(names)) if names else []
    return {name: Standing(balance, floor) for name, balance, floor in rows}


async def _known(tx: Tx, entries: Sequence[Entry]) -> dict[str, Entry]:
    """Entries of these ids that were posted before, as they were posted."""
    rows = await _legs(tx, [f"{entry.id}.{n}" for entry in entries for n in range(max(1, len(entry.transfers)))])
    if rows:  # a repeat: what was posted before may have had a leg more than what is asked now
        rows += await _legs(tx, [f"{entry.id}.{len(entry.transfers)}" for entry in entries if entry.transfers])
    found: dict[str, list[tuple[str, Transfer]]] = {}
    for id_, debit, credit, minor in rows:
        entry_id, _, leg = id_.rpartition(".")
        found.setdefault(entry_id, []).append((leg, Transfer(debit, credit, minor)))
    return {
        id_: Entry(id_, tuple(t for _, t in sorted(legs, key=lambda leg: int(leg[0])))) for id_, legs in found.items()
    }


async def _legs(tx: Tx, ids: Sequence[str]) -> list[Row]:
    once = list(dict.fromkeys(ids))  # a batch may ask for one entry twice
    return await tx.rows(KNOWN, cells=[cell_of_entry(id_) for id_ in once], ids=once)


def cell_of_entry(entry_id: str) -> int:
    """Entries live in the cell of the order that they belong to."""
    return cell_of_id(entry_id.partition(".")[0])


async def open_accounts(tx: Tx, accounts: Sequence[Account], at: datetime) -> int:
    """Opens accounts that are not there yet and returns how many were new; an open account keeps its floor."""
    by_name = {opened.name: opened for opened in accounts}
    names = in_lock_order(by_name)
    floors = [by_name[name].floor_minor for name in names]
    return await tx.run(OPEN, at=at, cells=[cell_of_account(name) for name in names], names=names, floors=floors)


async def set_floor(tx: Tx, name: str, floor_minor: int) -> bool:
    """Sets how low one account may go; False when it stands lower already. `stripes.set_floor` minds its stripes too."""
    return await tx.run(SET_FLOOR, cell=cell_of_account(name), name=name, floor=floor_minor) == 1


async def balances(tx: Tx, names: Sequence[str]) -> dict[str, int]:
    """The balances (credit minus debit) of accounts that exist."""
    rows = await tx.rows(BALANCES, cells=[cell_of_account(name) for name in names], names=list(names))
    return {str(name): int(balance) for name, balance in rows}


async def entries_of(tx: Tx, source: str) -> list[tuple[str, str, str, int, datetime]]:
    """The transfers of one order or deposit: (id, debit, credit, minor, at), as they were posted."""
    rows = await tx.rows(ENTRIES_OF, cell=cell_of_id(source), source=source)
    return [(id_, debit, credit, minor, at) for id_, debit, credit, minor, at in rows]


async def wallet_moves(tx: Tx, name: str, most: int = 50) -> list[tuple[str, int, datetime]]:
    """What came into a wallet (above zero) and left it: (transfer's id, minor, at), the newest first."""
    rows = await tx.rows(WALLET_MOVES, name=name, most=most)
    return [(id_, minor, at) for id_, minor, at in rows]
