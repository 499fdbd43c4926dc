"""Stripes: a float that everyone debits kept as several accounts, so that batches need not wait for each other's lock.

Stripe 0 is the account itself, the others are `float:pa_…#1/CNY`, `#2` …; each has its part of the money and of the
credit limit. Money comes in at stripe 0. A debit takes one stripe; when that holds too little, all stripes are locked in
order and what is free is gathered, so that the float refuses only what it would refuse in one piece.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from refill.db import Statement, Tx
from refill.errors import CannotHappen, NotFound
from refill.ids import cell_of
from refill.ledger import book
from refill.ledger.accounts import Account, cell_of_account, role_of
from refill.ledger.book import Entry, Posted, Standing, balances, in_lock_order, lock, open_accounts, post

MOST = 16


def stripe(name: str, n: int) -> str:
    """("float:pa_x/CNY", 2) -> "float:pa_x#2/CNY"; stripe 0 is the account itself."""
    owner, _, currency = name.rpartition("/")
    return f"{owner}#{n}/{currency}" if n else name


def base_of(name: str) -> str:
    """The account that a stripe belongs to; any other name as it is."""
    owner, _, currency = name.rpartition("/")
    return f"{owner.partition('#')[0]}/{currency}"


def owner_of(name: str) -> str:
    """Whose account it is, and in which currency: "float:pa_x#2/CNY" -> "pa_x/CNY"."""
    return base_of(name).partition(":")[2]


def stripes_of(name: str, count: int) -> list[str]:
    """The stripes of an account."""
    return [stripe(name, n) for n in range(count)]


class StripesLow(Exception):
    """Stripes of these owners hold too little, but perhaps all of them together do not: run again, and gather first."""

    def __init__(self, owners: Iterable[str]) -> None:
        self.owners = frozenset(owners)
        super().__init__(f"stripes of {sorted(self.owners)} hold too little")


LOAD = Statement("SELECT owner, stripes FROM ledger_stripe")

COUNT = Statement("""
    -- How many stripes the accounts of these owners have, if more than one
    SELECT owner, stripes FROM ledger_stripe WHERE owner = ANY (:owners::text[])
""")

HOLD = Statement("""
    -- The same, and nobody splits them or gathers from them until we are done; always before any account is locked
    SELECT owner, stripes FROM ledger_stripe WHERE owner = ANY (:owners::text[]) ORDER BY owner FOR UPDATE
""")

REGISTER = Statement("""
    -- An owner that has one stripe, as a row that can be locked
    INSERT INTO ledger_stripe (owner, stripes) VALUES (:owner, 1) ON CONFLICT DO NOTHING
""")

RECORD = Statement("UPDATE ledger_stripe SET stripes = :stripes WHERE owner = :owner")

WRITE_FLOORS = Statement("""
    -- Floors of accounts whose rows we hold
    UPDATE ledger_account a SET floor = asked.floor
      FROM unnest(:cells::smallint[], :names::text[], :floors::bigint[]) AS asked (cell, name, floor)
     WHERE a.cell = asked.cell AND a.name = asked.name
""")


class Stripes:
    """How many stripes each owner has, in memory, for choosing one without asking; a stale number only costs a detour."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, owner: str) -> int:
        """As far as we know."""
        return self._counts.get(owner, 1)

    def mark(self, owner: str, by: str) -> str:
        """What to write behind the owner in the name of an account: "#2", or nothing. The same `by`, the same stripe."""
        if owner not in self._counts:
            return ""
        n = cell_of(by) % self._counts[owner]
        return f"#{n}" if n else ""

    async def refresh(self, tx: Tx) -> None:
        """Learns all numbers anew."""
        self._counts = dict(await tx.rows(LOAD))

    async def striped(self, tx: Tx, owners: Collection[str]) -> set[str]:
        """Those of them for whom one stripe's word is not the last: they have several, or had when we last looked."""
        had = {owner for owner in owners if self.count(owner) > 1}
        self._learn(await tx.rows(COUNT, owners=sorted(owners)))
        return had | {owner for owner in owners if self.count(owner) > 1}

    async def hold(self, tx: Tx, owners: Collection[str]) -> None:
        """Learns the numbers of these owners and keeps them from changing until the transaction ends."""
        self._learn(await tx.rows(HOLD, owners=sorted(owners)))

    def _learn(self, rows: Iterable[Sequence[object]]) -> None:
        self._counts = self._counts | {str(owner): int(str(count)) for owner, count in rows}


async def gather(
    tx: Tx, stripes: Stripes, entries: Sequence[Entry], owners: Collection[str], id_: str, at: datetime
) -> None:
    """Brings to the stripes that these entries debit what they need, as far as their floats have it; shares out the rest.

    Only for `owners` that `stripes` holds. Also locks the entries' shared accounts, because all locks have one order.
    Posted under `id_`, made by the caller.
    """
    needed: dict[str, int] = {}
    for leg in (leg for entry in entries for leg in entry.transfers):
        if leg.debit.startswith("float:") and owner_of(leg.debit) in owners:
            needed[leg.debit] = needed.get(leg.debit, 0) + leg.minor
    beside = {name for entry in entries for leg in entry.transfers for name in (leg.debit, leg.credit)}
    every = {name: stripes_of(base_of(name), stripes.count(owner_of(name))) for name in needed}
    names = {name for name in beside if role_of(name).shared}.union(*every.values())
    standings = await lock(tx, in_lock_order(names))
    change: dict[str, int] = {}
    for low, minor in needed.items():
        headroom = {name: _headroom(standings[name]) for name in every[low]}
        share = max(sum(headroom.values()) - minor, 0) // len(headroom)
        wanted = dict.fromkeys(headroom, share)
        wanted[low] = sum(headroom.values()) - share * (len(headroom) - 1)
        change |= {name: wanted[name] - headroom[name] for name in headroom}
    await _move(tx, id_, change, at)


def _headroom(standing: Standing) -> int:
    """How much may be taken out of an account that has a floor."""
    assert standing.floor is not None
    return standing.balance - standing.floor


async def _move(tx: Tx, id_: str, change: Mapping[str, int], at: datetime) -> None:
    """Posts one entry that changes balances so; within each owner's accounts the changes sum to zero."""
    legs = []
    giving = {name: -minor for name, minor in change.items() if minor < 0}
    for taker, missing in change.items():
        for giver in giving:
            minor = max(min(missing, giving[giver]), 0) if base_of(giver) == base_of(taker) else 0
            legs.append((giver, taker, minor))
            giving[giver] -= minor
            missing -= minor
    entry = Entry.of(id_, *legs)
    if entry.transfers and await post(tx, [entry], at) != [Posted()]:
        raise CannotHappen("Money could not be moved between stripes that we hold.")


async def split(tx: Tx, name: str, stripes: int, *, id_: str, at: datetime) -> None:
    """Keeps an account with a floor in so many stripes (1: in one piece again), money and credit limit in equal parts.

    Other processes learn of it when they next refresh, or when a stripe refuses them. `id_`, made by the caller, names
    the entry that moves the money. Raises NotFound, CannotHappen.
    """
    if not 1 <= stripes <= MOST or base_of(name) != name:
        raise CannotHappen(f"An account is kept in 1 to {MOST} stripes, and a stripe is not split again.")
    owner = owner_of(name)
    await tx.run(REGISTER, owner=owner)
    ((_, before),) = await tx.rows(HOLD, owners=[owner])
    if name not in await balances(tx, [name]):
        raise NotFound("There is no account of that name.")
    names = stripes_of(name, max(stripes, before))
    await open_accounts(tx, [Account(one, 0) for one in names[1:]], at)
    standings = await lock(tx, in_lock_order(names))
    if standings[name].floor is None or sum(map(_headroom, standings.values())) < 0:
        raise CannotHappen("An account without a floor, or below it, cannot be kept in stripes.")
    headroom = _parts(sum(map(_headroom, standings.values())), stripes, names)
    floors = _parts(sum(standing.floor or 0 for standing in standings.values()), stripes, names)
    await _write_floors(tx, floors)
    await _move(tx, id_, {one: floors[one] + headroom[one] - standings[one].balance for one in names}, at)
    await tx.run(RECORD, owner=owner, stripes=stripes)


def _parts(minor: int, count: int, names: Sequence[str]) -> dict[str, int]:
    """Equal parts of an amount for the first `count` names, the first of them with the rest; nothing for the others."""
    sign, whole = (-1, -minor) if minor < 0 else (1, minor)
    parts = dict.fromkeys(names, 0) | dict.fromkeys(names[1:count], sign * (whole // count))
    parts[names[0]] = minor - sum(parts.values())
    return parts


async def _write_floors(tx: Tx, floors: Mapping[str, int]) -> None:
    names = in_lock_order(floors)
    cells = [cell_of_account(name) for name in names]
    await tx.run(WRITE_FLOORS, cells=cells, names=names, floors=[floors[name] for name in names])


async def set_floor(tx: Tx, name: str, floor_minor: int) -> bool:
    """Sets how low an account may go, in all its stripes together (a partner's credit limit, negative).

    Lowered freely, raised only against free headroom: False when the account stands lower already, or is not there.
    """
    held = await tx.rows(HOLD, owners=[owner_of(name)])
    count = held[0][1] if held else 1
    if count == 1:
        return await book.set_floor(tx, name, floor_minor)
    names = stripes_of(name, count)
    standings = await lock(tx, in_lock_order(names))
    floors = {one: standings[one].balance - _headroom(standings[one]) for one in names}
    rise = floor_minor - sum(floors.values())
    if rise > sum(map(_headroom, standings.values())):
        return False
    if rise <= 0:
        parts = _parts(rise, count, names)
    else:
        parts = {}
        for one in names:
            parts[one] = min(rise, _headroom(standings[one]))
            rise -= parts[one]
    await _write_floors(tx, {one: floors[one] + parts[one] for one in names})
    return True


async def standing(tx: Tx, name: str) -> int:
    """What an account holds in all its stripes together, at one moment; 0 when there is no such account."""
    return (await standings(tx, [name]))[name]


async def standings(tx: Tx, names: Sequence[str]) -> dict[str, int]:
    """The same of many accounts."""
    held = await balances(tx, [one for name in names for one in stripes_of(name, MOST)])
    return {name: sum(held.get(one, 0) for one in stripes_of(name, MOST)) for name in names}
