"""Batches of scratch cards: made and printed once, switched on when they are sold, withdrawn, expired."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TextIO

from refill import ledger
from refill.db import Database, Statement, Tx
from refill.errors import BadInput, CannotHappen, NotFound
from refill.ids import base32, cell_of
from refill.money import Money
from refill.vault import Vault
from refill.vouchers.pins import Pin, new_pin
from refill.vouchers.spending import liability
from refill.world import World

PACK = 1_000
MOST = 1_000_000  # of a batch
PURSES = ("cash", "clearing", "bank")  # where the money of sold vouchers may come from


@dataclass(frozen=True, slots=True)
class Batch:
    """Vouchers of one value that were made together; `states` counts them."""

    code: str  # serials are the code and a number: v7k2m9q-0000017
    id: str
    value: Money
    count: int
    expires_at: datetime
    printed_at: datetime | None  # None: the print file was never finished, so none of them can be sold
    states: Mapping[str, int]

    def serial(self, n: int) -> str:
        """The printed name of the n-th voucher, from 1."""
        return f"{self.code}-{n:07d}"


# ------------------------------------------------------------------ making and printing


NEW_BATCH = Statement("""
    -- A batch of which no voucher is there yet
    INSERT INTO vouchers_batch (code, id, minor, currency, count, expires_at, made_by, made_at)
    VALUES (:code, :id, :minor, :currency, :count, :expires, :who, :now) ON CONFLICT DO NOTHING
""")

ADD = Statement("""
    -- Vouchers into stock; one whose PIN is taken is left out
    INSERT INTO vouchers_voucher (cell, pin, serial, kind, minor, currency, state, expires_at, changed_at)
    SELECT cell, pin, serial, 'scratch', :minor, :currency, 'stock', :expires, :now
      FROM unnest(:cells::smallint[], :pins::uuid[], :serials::text[]) AS new (cell, pin, serial)
        ON CONFLICT DO NOTHING
""")

LEFT_OUT = Statement("""
    -- Which of these vouchers are not there under their PIN
    SELECT asked.serial FROM unnest(:cells::smallint[], :pins::uuid[], :serials::text[]) AS asked (cell, pin, serial)
      LEFT JOIN vouchers_voucher v ON v.cell = asked.cell AND v.pin = asked.pin AND v.serial = asked.serial
     WHERE v.serial IS NULL
""")

PRINTED = Statement("UPDATE vouchers_batch SET printed_at = :now WHERE code = :code AND printed_at IS NULL")


async def generate(
    db: Database,
    world: World,
    vault: Vault,
    path: Path,
    *,
    count: int,
    value: Money,
    expires_at: datetime,
    who: str,
    progress: Callable[[int], None] = lambda done: None,
) -> Batch:
    """Makes a batch and writes its serials and PINs to `path`, readable by the owner alone: the only time they are seen.

    The file is CSV: serial, pin (0123-4567-8901-2345), value, currency, expires. A batch whose file was not finished can
    never be sold. `progress` hears how many are made. Raises BadInput, also when the file exists.
    """
    if not 1 <= count <= MOST:
        raise BadInput(f"A batch has 1 to {MOST:,} vouchers.")
    if expires_at <= world.db_now():
        raise BadInput("Vouchers expire in the future.")
    with _PrintFile(path) as paper:
        batch = await _new_batch(db, world, value, count, expires_at, who)
        for first in range(1, count + 1, PACK):
            last = min(first + PACK - 1, count)
            paper.write(batch, await _fill(db, world, vault, batch, [batch.serial(n) for n in range(first, last + 1)]))
            progress(last)
    await db.transaction(lambda tx: tx.run(PRINTED, code=batch.code, now=world.db_now()))
    return (await db.transaction(lambda tx: batches(tx, batch.code)))[0]


def end_of_day(typed: str) -> datetime:
    """The last second of a day such as 2027-12-31, UTC. Raises BadInput."""
    try:
        day = date.fromisoformat(typed)
    except ValueError:
        raise BadInput(f"{typed[:20]!r} is not a day; write it as 2027-12-31.") from None
    return datetime.combine(day, time(23, 59, 59), UTC)


async def _new_batch(db: Database, world: World, value: Money, count: int, expires_at: datetime, who: str) -> Batch:
    code = f"v{base32(world.chance(30), 6)}"  # with letters, so that no serial is mistaken for a card's number
    batch = Batch(code, world.new_id("vb", cell_of(code)), value, count, expires_at, None, {})

    async def work(tx: Tx) -> None:
        await tx.run(
            NEW_BATCH,
            code=code,
            id=batch.id,
            minor=value.minor,
            currency=value.currency,
            count=count,
            expires=expires_at,
            who=who,
            now=world.db_now(),
        )
        if (await batches(tx, code))[0].id != batch.id:
            raise CannotHappen("Another batch has drawn the same name; generate again.")

    await db.transaction(work)
    return batch


async def _fill(db: Database, world: World, vault: Vault, batch: Batch, serials: Sequence[str]) -> dict[str, Pin]:
    """Puts vouchers into stock and returns their PINs; a PIN that is taken is drawn again."""
    made: dict[str, Pin] = {}
    missing = list(serials)
    while missing:
        # Drawn outside the transaction: when it runs again, it finds what it wrote.
        drawn = {serial: new_pin(world) for serial in missing}
        made |= drawn
        missing = await db.transaction(lambda tx: _add(tx, world, vault, batch, drawn))  # noqa: B023 awaited at once
    return made


async def _add(tx: Tx, world: World, vault: Vault, batch: Batch, drawn: Mapping[str, Pin]) -> list[str]:
    """The serials of those that could not be added."""
    digests = [one.digest(vault) for one in drawn.values()]
    rows = {"cells": [cell_of(digest) for digest in digests], "pins": digests, "serials": list(drawn)}
    await tx.run(
        ADD,
        **rows,
        minor=batch.value.minor,
        currency=batch.value.currency,
        expires=batch.expires_at,
        now=world.db_now(),
    )
    return [serial for (serial,) in await tx.rows(LEFT_OUT, **rows)]


class _PrintFile:
    """A file that the owner alone can read, new, whole on the disk when it is closed; gone when the work failed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO

    def __enter__(self) -> "_PrintFile":
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise BadInput(f"The print file {self._path} cannot be made: {error.strerror}.") from None
        self._file = os.fdopen(handle, "w", encoding="ascii")
        self._file.write("serial,pin,value,currency,expires\n")
        return self

    def write(self, batch: Batch, pins: Mapping[str, Pin]) -> None:
        rest = f"{batch.value.text()},{batch.value.currency},{batch.expires_at:%Y-%m-%d}"
        self._file.writelines(f"{serial},{one.grouped()},{rest}\n" for serial, one in pins.items())

    def __exit__(self, failed: object, *_: object) -> None:
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        if failed:
            self._path.unlink()


# ------------------------------------------------------------------ selling and withdrawing


HOLD_BATCH = Statement("""
    -- A batch, so that it is sold or withdrawn by one person at a time
    SELECT code, id, minor, currency, count, expires_at, printed_at FROM vouchers_batch WHERE code = :code FOR UPDATE
""")

STEP_DONE = Statement("""
    -- How many vouchers such a step changed when it was taken before
    SELECT vouchers FROM vouchers_step
     WHERE batch = :code AND step = :step AND first = :first::int AND last = :last::int
""")

ACTIVATE = Statement("""
    -- A range of a batch is sold
    WITH held AS (
      SELECT cell, pin FROM vouchers_voucher
       WHERE serial BETWEEN :first::text AND :last::text AND state = 'stock' ORDER BY cell, pin FOR UPDATE)
    UPDATE vouchers_voucher v SET state = 'active', changed_at = :now
      FROM held WHERE v.cell = held.cell AND v.pin = held.pin
""")

WITHDRAW = Statement("""
    -- What of a range is not used is withdrawn; how much of it was in stock, how much was sold
    WITH held AS (
      SELECT cell, pin, state FROM vouchers_voucher
       WHERE serial BETWEEN :first::text AND :last::text AND state IN ('stock', 'active')
       ORDER BY cell, pin FOR UPDATE),
    gone AS (
      UPDATE vouchers_voucher v SET state = 'void', changed_at = :now
        FROM held WHERE v.cell = held.cell AND v.pin = held.pin RETURNING held.state)
    SELECT state, count(*) FROM gone GROUP BY state
""")

STEP = Statement("""
    -- Who did what to a range of a batch, and why
    INSERT INTO vouchers_step (batch, step, first, last, vouchers, minor, who, why, at)
    VALUES (:code, :step, :first, :last, :vouchers, :minor, :who, :why, :now)
""")


@dataclass(frozen=True, slots=True)
class Range:
    """Vouchers `first` to `last` of a batch, both included."""

    batch: str
    first: int
    last: int

    def serials(self, batch: Batch) -> dict[str, str]:
        """As the statements name them. Raises BadInput when the batch has no such numbers."""
        if not 1 <= self.first <= self.last <= batch.count:
            raise BadInput(f"The vouchers of {batch.code} have the numbers 1 to {batch.count}.")
        return {"first": batch.serial(self.first), "last": batch.serial(self.last)}


async def activate(
    tx: Tx, world: World, sold: Range, *, purse: str, who: str, paid: Money | None = None, why: str = "sold"
) -> int:
    """Switches a range on because it was sold; returns how many. The same range again answers the same, changing nothing.

    Debits `purse` ("cash:office", "clearing:…", "bank:…") with what was paid (None: the face value; a shop may pay less,
    the rest is `discount:vouchers`) and credits `liability` with the face value. Raises NotFound, BadInput, CannotHappen.
    """
    now = world.db_now()
    batch = await held_batch(tx, sold.batch)
    serials = sold.serials(batch)
    if (before := await _done_before(tx, "activated", sold)) is not None:
        return before
    if batch.printed_at is None:
        raise CannotHappen("The print file of this batch was never finished; nobody can know its PINs. Withdraw it.")
    if batch.expires_at <= now:
        raise CannotHappen("These vouchers have expired.")
    face = Money(batch.value.minor * (sold.last - sold.first + 1), batch.value.currency)
    legs = sale(purse, face, paid)
    count = await tx.run(ACTIVATE, **serials, now=now)
    if count != sold.last - sold.first + 1:
        raise CannotHappen(f"Only {count} of these vouchers are in stock; the others were sold or withdrawn before.")
    await _post(tx, ledger.Entry.of(f"{batch.id}.activated.{sold.first}", *legs), now)
    await _tell(tx, "activated", sold, count, (paid or face).minor, who, why, now)
    return count


async def void(
    tx: Tx,
    world: World,
    withdrawn: Range,
    *,
    who: str,
    why: str,
    purse: str = "",
    paid_back: Money | None = None,
) -> int:
    """Withdraws what of a range is not used yet; returns how many. Those that were sold need a `purse`.

    Their face value leaves `liability`: `paid_back` (None: all of it) goes back to the purse, the rest to
    `discount:vouchers`. The same range again answers the same. Raises NotFound, BadInput, CannotHappen.
    """
    if not who.strip() or not why.strip():
        raise BadInput("Withdrawing vouchers names the person who decides it, and a reason.")
    now = world.db_now()
    batch = await held_batch(tx, withdrawn.batch)
    gone: dict[str, int] = dict(await tx.rows(WITHDRAW, **withdrawn.serials(batch), now=now))
    if not gone:
        return await _done_before(tx, "void", withdrawn) or 0
    sold = gone.get("active", 0)
    face = Money(batch.value.minor * sold, batch.value.currency)
    if sold:
        if not purse:
            raise CannotHappen(f"{sold} of these vouchers were sold; say where their money goes back to.")
        legs = [(credit, debit, minor) for debit, credit, minor in sale(purse, face, paid_back)]
        await _post(tx, ledger.Entry.of(f"{world.new_id('vw', cell_of(batch.code))}.void", *legs), now)
    count = sum(gone.values())
    await _tell(tx, "void", withdrawn, count, (paid_back or face).minor if sold else 0, who, why, now)
    return count


def sale(purse: str, face: Money, paid: Money | None) -> list[tuple[str, str, int]]:
    """The legs of a sale of vouchers: what was paid, and what we let them go for less. Raises BadInput."""
    owed, paid = liability(face.currency), paid or face
    if purse.partition(":")[0] not in PURSES or not purse.partition(":")[2]:
        raise BadInput("Money of vouchers lies in an account such as cash:office, clearing:alipay or bank:icbc.")
    if not paid <= face:
        raise BadInput(f"These vouchers are worth {face} together; nobody pays more.")
    return [
        (f"{purse}/{face.currency}", owed, paid.minor),
        (f"discount:vouchers/{face.currency}", owed, face.minor - paid.minor),
    ]


async def _post(tx: Tx, entry: ledger.Entry, now: datetime) -> None:
    (answer,) = await ledger.post(tx, [entry], now)
    if answer != ledger.Posted():
        raise CannotHappen(f"The book refuses {entry.id}: {answer}.")


async def held_batch(tx: Tx, code: str) -> Batch:
    """A batch, locked; its `states` are not counted. Raises NotFound."""
    row = await tx.row(HOLD_BATCH, code=code)
    if row is None:
        raise NotFound("There is no batch of that name.")
    code, id_, minor, currency, count, expires_at, printed_at = row
    return Batch(code, id_, Money(minor, currency), count, expires_at, printed_at, {})


async def _done_before(tx: Tx, step: str, taken: Range) -> int | None:
    done: int | None = await tx.value(STEP_DONE, code=taken.batch, step=step, first=taken.first, last=taken.last)
    return done


async def _tell(tx: Tx, step: str, taken: Range, vouchers: int, minor: int, who: str, why: str, now: datetime) -> None:
    await tx.run(
        STEP,
        code=taken.batch,
        step=step,
        first=taken.first,
        last=taken.last,
        vouchers=vouchers,
        minor=minor,
        who=who,
        why=why,
        now=now,
    )


# ------------------------------------------------------------------ expiry


EXPIRE = Statement("""
    -- Vouchers whose time is over, a pack of them; what was sold of them is ours now
    WITH over AS (
      SELECT cell, pin, state FROM vouchers_voucher
       WHERE expires_at <= :now AND state IN ('stock', 'active')
       ORDER BY expires_at LIMIT :most::int FOR UPDATE SKIP LOCKED)
    UPDATE vouchers_voucher v SET state = 'expired', changed_at = :now
      FROM over WHERE v.cell = over.cell AND v.pin = over.pin
    RETURNING v.currency, CASE WHEN over.state = 'active' THEN v.minor ELSE 0 END
""")


async def expire(tx: Tx, world: World, most: int = PACK) -> int:
    """Ends vouchers whose time is over and books what was sold of them as breakage, one entry; returns how many."""
    now = world.db_now()
    rows = await tx.rows(EXPIRE, now=now, most=most)
    left: dict[str, int] = {}
    for currency, minor in rows:
        left[currency] = left.get(currency, 0) + minor
    # When this runs again after a commit in doubt, it finds other vouchers: their entry has another name.
    name = world.new_id("vx", cell_of("vouchers"))
    legs = [(liability(currency), f"breakage:vouchers/{currency}", minor) for currency, minor in sorted(left.items())]
    entry = ledger.Entry.of(f"{name}.expired", *legs)
    if entry.transfers:
        await _post(tx, entry, now)
    return len(rows)


# ------------------------------------------------------------------ looking


BATCHES = Statement("""
    -- Batches, the latest first, with what became of their vouchers
    SELECT b.code, b.id, b.minor, b.currency, b.count, b.expires_at, b.printed_at, v.states
      FROM (SELECT * FROM vouchers_batch WHERE code = :code OR :code = ''
             ORDER BY made_at DESC, code LIMIT :most::int) AS b
     CROSS JOIN LATERAL (
      SELECT coalesce(jsonb_object_agg(state, vouchers), '{}') AS states
        FROM (SELECT state, count(*) AS vouchers FROM vouchers_voucher
               WHERE serial >= b.code || '-' AND serial < b.code || '.' GROUP BY state) AS counted) AS v
     ORDER BY b.made_at DESC, b.code
""")


async def batches(tx: Tx, code: str = "", most: int | None = None) -> list[Batch]:
    """All batches or the `most` latest, or the one of that name."""
    return [
        Batch(code, id_, Money(minor, currency), *rest)
        for code, id_, minor, currency, *rest in await tx.rows(BATCHES, code=code, most=most)
    ]


STEPS = Statement("""
    -- What people did to a batch, the latest first
    SELECT step, first, last, vouchers, minor, who, why, at FROM vouchers_step
     WHERE batch = :code ORDER BY at DESC, step, first LIMIT :most::int
""")

BY_SERIAL = Statement("""
    -- The voucher of a serial, and what it was used for
    SELECT serial, kind, minor, currency, state, expires_at, spent_on, changed_at
      FROM vouchers_voucher WHERE serial = :serial
""")


@dataclass(frozen=True, slots=True)
class Taken:
    """What somebody did to a range: `activated` or `void`, how many, and what was paid for them or back."""

    step: str
    first: int
    last: int
    vouchers: int
    paid: Money
    who: str
    why: str
    at: datetime


async def steps(tx: Tx, batch: Batch, most: int = 200) -> list[Taken]:
    """What people did to a batch, the latest first."""
    return [
        Taken(step, first, last, count, Money(minor, batch.value.currency), who, why, at)
        for step, first, last, count, minor, who, why, at in await tx.rows(STEPS, code=batch.code, most=most)
    ]


@dataclass(frozen=True, slots=True)
class Look:
    """One voucher as staff see it: everything but its PIN, which nobody has."""

    serial: str
    kind: str
    value: Money
    state: str
    expires_at: datetime
    spent_on: str | None  # the order that it was used for
    changed_at: datetime


async def by_serial(tx: Tx, serial: str) -> Look | None:
    """The voucher that has this serial."""
    row = await tx.row(BY_SERIAL, serial=serial)
    if row is None:
        return None
    serial, kind, minor, currency, *rest = row
    return Look(serial, kind, Money(minor, currency), *rest)
