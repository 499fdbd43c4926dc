"""A delivery of PINs as a CSV file: an answer for every row; one person imports it, another confirms what it cost."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from refill import ledger
from refill.db import Database, Statement, Tx
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound
from refill.ids import base32, cell_of
from refill.money import Money
from refill.stock.giving import account, post
from refill.stock.levels import settle_alarms
from refill.stock.pins import NotATopUpPin, TopUpPin, top_up_pin
from refill.vault import Vault
from refill.world import World

MOST_BYTES = 4 << 20
MOST_ROWS = 20_000
COLUMNS = ("serial", "pin", "expiry")
LONGEST_REASON = 200
_SERIAL = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:/-]{0,63}")
_ROUNDED = re.compile(r"[0-9][.,]?[0-9]*[eE]\+?[0-9]+")
_PURSE = re.compile(r"(bank|cash|clearing):[a-z0-9_]{1,40}")


class BadStockFile(BadInput):
    """The file as a whole cannot be read; nothing was imported."""

    code = "bad_stock_file"


@dataclass(frozen=True, slots=True)
class Goods:
    """What a batch holds: PINs of one product, one face value and one cost, in one currency."""

    operator: str
    product: str
    face: Money
    cost: Money


@dataclass(frozen=True, slots=True)
class Batch:
    """PINs that were imported together; they may be given as soon as the batch is confirmed."""

    code: str
    id: str
    goods: Goods
    count: int
    purse: str
    why: str
    asked_by: str
    asked_at: datetime
    state: str  # open | confirmed | declined
    decided_by: str | None

    @property
    def cost(self) -> Money:
        """Of all its PINs."""
        return Money(self.count * self.goods.cost.minor, self.goods.cost.currency)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not taken, and why; it never says what its PIN was."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a file: the batch (None when no row of it was new) and the rows that were refused."""

    batch: Batch | None
    refused: list[Refusal]


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    serial: str
    pin: TopUpPin
    until: datetime


# ------------------------------------------------------------------ reading


def rows_of(file: bytes, now: datetime) -> tuple[list[_Row], list[Refusal]]:
    """The PINs of a file and the rows that cannot be taken. Raises BadStockFile."""
    if len(file) > MOST_BYTES:
        raise BadStockFile(f"The file is larger than {MOST_BYTES >> 20} MiB; split it.")
    lines = _text(file).splitlines()
    header = [cell.lower() for cell in _cells(lines[0])] if lines else []
    if sorted(header) != sorted(COLUMNS):
        raise BadStockFile("The first line names the columns serial, pin and expiry, divided by commas.")
    if len(lines) > MOST_ROWS + 1:
        raise BadStockFile(f"A file has at most {MOST_ROWS:,} PINs; split it.")
    rows: list[_Row] = []
    refused: list[Refusal] = []
    for number, line in enumerate(lines[1:], 2):
        try:
            if cells := _cells(line):
                rows.append(_row(number, dict(zip(header, cells, strict=True)), now))
        except NotATopUpPin as no:
            refused.append(Refusal(number, str(no)))
        except BadStockFile as no:
            refused.append(Refusal(number, str(no)))
        except ValueError:
            refused.append(Refusal(number, f"The row has not {len(COLUMNS)} cells."))
    return _once(rows, refused)


def _text(file: bytes) -> str:
    try:
        text = file.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadStockFile(
            "The text is not UTF-8 (perhaps GBK); save the sheet as “CSV UTF-8” and send it again."
        ) from None
    if "\0" in text:
        raise BadStockFile("There is a NUL character in the text; save the sheet as “CSV UTF-8” and send it again.")
    return text


def _cells(line: str) -> list[str]:
    # Line by line on purpose: an unclosed quotation mark must not swallow the PINs behind it.
    try:
        cells = [cell.strip() for cell in next(csv.reader(io.StringIO(line), strict=True), [])]
    except csv.Error:
        raise BadStockFile("A quotation mark is not closed.") from None
    return cells if any(cells) else []


def _row(line: int, cells: dict[str, str], now: datetime) -> _Row:
    """Raises BadStockFile, NotATopUpPin."""
    if any(cell[:1] in ("=", "@", "+", "-") for cell in cells.values()):
        raise BadStockFile("A cell holds a formula.")
    if _ROUNDED.fullmatch(cells["pin"]) and not cells["pin"].isalnum():
        raise BadStockFile("A spreadsheet has rounded the PIN; format the column as text and export it again.")
    if not _SERIAL.fullmatch(cells["serial"]):
        raise BadStockFile("A serial has 1 to 64 letters and digits.")
    until = good_until(cells["expiry"])
    if until <= now:
        raise BadStockFile("This PIN has expired.")
    return _Row(line, cells["serial"], top_up_pin(cells["pin"]), until)


def good_until(typed: str) -> datetime:
    """From when on a PIN is given to nobody: the beginning of its last day in UTC. Raises BadStockFile.

    Whoever gets it has the rest of that day to use it, wherever the operator's clock stands.
    """
    try:
        day = date.fromisoformat(typed)
    except ValueError:
        raise BadStockFile("The expiry is a day such as 2027-12-31.") from None
    return datetime.combine(day, time(), UTC)


def _once(rows: Sequence[_Row], refused: list[Refusal]) -> tuple[list[_Row], list[Refusal]]:
    """Leaves out what stands twice in the file, and PINs that lost their zeros."""
    longest = max((len(row.pin.plain) for row in rows), default=0)
    kept: list[_Row] = []
    serials: set[str] = set()
    pins: set[str] = set()
    for row in rows:
        if len(row.pin.plain) < longest:
            says = f"This PIN is shorter than others of the file ({longest} characters); did it lose its leading zeros?"
            refused.append(Refusal(row.line, says))
        elif row.serial in serials or row.pin.plain in pins:
            refused.append(Refusal(row.line, "This serial or PIN stands in the file before."))
        else:
            kept.append(row)
            serials.add(row.serial)
            pins.add(row.pin.plain)
    return kept, sorted(refused, key=lambda each: each.line)


# ------------------------------------------------------------------ importing

ONE_AT_A_TIME = Statement("LOCK TABLE stock_batch IN SHARE ROW EXCLUSIVE MODE")

NEW_BATCH = Statement("""
    -- A batch of which no PIN is there yet, unless its file was imported before
    INSERT INTO stock_batch (code, id, file, operator, product, minor, currency, cost_minor, count, purse, why, asked_by,
                             asked_at)
    VALUES (:code, :id, :file::text::uuid, :operator, :product, :minor, :currency, :cost, 0, :purse, :why, :who, :now)
        ON CONFLICT DO NOTHING
""")

SAME_FILE = Statement("SELECT code FROM stock_batch WHERE file = :file::text::uuid AND state <> 'declined'")

ADD = Statement("""
    -- PINs that wait for a second person; one that we know by PIN or serial is left out
    INSERT INTO stock_pin (cell, pin, sealed, serial, operator, product, minor, currency, cost_minor, batch, until, state,
                           changed_at)
    SELECT t.cell, t.pin, t.sealed, t.serial, b.operator, b.product, b.minor, b.currency, b.cost_minor, b.code, t.until,
           'waiting', :now
      FROM unnest(:cells::smallint[], :pins::uuid[], :seals::bytea[], :serials::text[], :untils::timestamptz[])
        AS t (cell, pin, sealed, serial, until), stock_batch b
     WHERE b.code = :code
        ON CONFLICT DO NOTHING
""")

ADDED = Statement("SELECT pin FROM stock_pin WHERE batch = :code")
COUNT = Statement("UPDATE stock_batch SET count = :count::int WHERE code = :code AND state = 'open'")
DROP = Statement("DELETE FROM stock_batch WHERE code = :code")


async def receive(
    db: Database, world: World, vault: Vault, file: bytes, goods: Goods, *, purse: str, who: str, why: str
) -> Arrival:
    """Imports a CSV file of PINs (serial, pin, expiry) that cost `goods.cost` each, paid out of `purse` (bank:main).

    Nobody gets one of them until another person confirms the batch. Raises BadStockFile, BadInput, and CannotHappen for a
    file that was imported before.
    """
    who, why = who.strip(), why.strip()[:LONGEST_REASON]
    _sound(goods, purse, who, why)
    rows, refused = rows_of(file, world.db_now())
    code = f"s{base32(world.chance(30), 6)}"
    id_ = world.new_id("sb", cell_of(code))
    # Sealed outside the transaction: when it runs again, it finds what it wrote.
    digests = [row.pin.digest(vault, goods.operator) for row in rows]
    new = {
        "cells": [cell_of(digest) for digest in digests],
        "pins": digests,
        "seals": [row.pin.sealed(vault, digest) for row, digest in zip(rows, digests, strict=True)],
        "serials": [row.serial for row in rows],
        "untils": [row.until for row in rows],
    }
    hashed, now = vault.digest("stock-file", file), world.db_now()

    async def work(tx: Tx) -> Arrival:
        await tx.run(ONE_AT_A_TIME)  # two that share PINs would wait for each other
        await tx.run(
            NEW_BATCH,
            code=code,
            id=id_,
            file=hashed,
            operator=goods.operator,
            product=goods.product,
            minor=goods.face.minor,
            currency=goods.face.currency,
            cost=goods.cost.minor,
            purse=purse,
            why=why,
            who=who,
            now=now,
        )
        before = await tx.value(SAME_FILE, file=hashed)
        if before != code:
            raise CannotHappen(f"This file was imported before, as batch {before}.")
        await tx.run(ADD, **new, code=code, now=now)
        added = {pin.hex for (pin,) in await tx.rows(ADDED, code=code)}
        known = [Refusal(row.line, "This serial or PIN was imported before.")
                 for row, digest in zip(rows, digests, strict=True) if digest not in added]  # fmt: skip
        answers = sorted([*refused, *known], key=lambda each: each.line)
        if not added:
            await tx.run(DROP, code=code)
            return Arrival(None, answers)
        await tx.run(COUNT, code=code, count=len(added))
        return Arrival((await batches(tx, code))[0], answers)

    return await db.transaction(work)


def _sound(goods: Goods, purse: str, who: str, why: str) -> None:
    """Raises BadInput."""
    if goods.cost.currency != goods.face.currency:
        raise BadInput(f"These PINs are worth {goods.face}; say what each cost in {goods.face.currency}.")
    if not _PURSE.fullmatch(purse):
        raise BadInput("The money that bought them came from an account such as bank:main or cash:office.")
    if not who or not why:
        raise BadInput("Who imports PINs gives a name, and says where they come from.")


# ------------------------------------------------------------------ the second person

_BATCH = (
    "code, id, operator, product, minor, currency, cost_minor, count, purse, why, asked_by, asked_at, state, decided_by"
)

HOLD = Statement(f"""
    -- A batch, held until it is decided
    SELECT {_BATCH} FROM stock_batch WHERE code = :code FOR UPDATE
""")

LATEST = Statement(f"""
    -- Batches, those that wait first, then the latest; or the one of that name
    SELECT {_BATCH} FROM stock_batch WHERE code = :code OR :code = ''
     ORDER BY state <> 'open', asked_at DESC, code LIMIT :most::int
""")

DECIDE = Statement("""
    -- Somebody agreed, or did not
    UPDATE stock_batch SET state = :state, decided_by = :who, decided_at = :now WHERE code = :code
""")

SHELVE = Statement("UPDATE stock_pin SET state = 'stock', changed_at = :now WHERE batch = :code AND state = 'waiting'")
FORGET = Statement("DELETE FROM stock_pin WHERE batch = :code AND state = 'waiting'")


async def confirm(tx: Tx, world: World, code: str, who: str) -> Batch:
    """Another person agrees to what was paid: the PINs are in stock and their cost in the book, in this transaction.

    Raises NotFound, NotAllowed (the same person), CannotHappen (decided before).
    """
    batch, who, now = await _held(tx, code), who.strip(), world.db_now()
    if batch.state == "confirmed" and batch.decided_by == who:
        return batch  # a rerun after a commit in doubt, or the button pressed twice
    _undecided(batch)
    if not who or batch.asked_by == who:
        raise NotAllowed("Another person confirms it, not the one who imported it.")
    count = await tx.run(SHELVE, code=code, now=now)
    if count != batch.count:
        raise CannotHappen(f"{count} PINs of this batch wait, and {batch.count} were imported.")
    await tx.run(DECIDE, code=code, state="confirmed", who=who, now=now)
    goods = batch.goods
    legs = (account(goods.operator, goods.cost.currency), f"{batch.purse}/{goods.cost.currency}", batch.cost.minor)
    await post(tx, ledger.Entry.of(f"{batch.id}.bought", legs), now)
    await settle_alarms(tx, [goods.product], now)
    return (await batches(tx, code))[0]


async def decline(tx: Tx, world: World, code: str, who: str) -> Batch:
    """The PINs are forgotten, so that a corrected file may bring them. Raises NotFound, BadInput, CannotHappen."""
    batch, who = await _held(tx, code), who.strip()
    if not who:
        raise BadInput("Who declines it gives a name.")
    if batch.state == "declined" and batch.decided_by == who:
        return batch
    _undecided(batch)
    await tx.run(FORGET, code=code)
    await tx.run(DECIDE, code=code, state="declined", who=who, now=world.db_now())
    return (await batches(tx, code))[0]


async def batches(tx: Tx, code: str = "", most: int | None = None) -> list[Batch]:
    """All batches or `most` of them, those that wait first, then the latest; or the one of that name."""
    return [_batch(*row) for row in await tx.rows(LATEST, code=code, most=most)]


async def _held(tx: Tx, code: str) -> Batch:
    row = await tx.row(HOLD, code=code)
    if row is None:
        raise NotFound("There is no batch of that name.")
    return _batch(*row)


def _undecided(batch: Batch) -> None:
    if batch.state != "open":
        raise CannotHappen("That was decided before.")


def _batch(
    code: str, id_: str, operator: str, product: str, minor: int, currency: str, cost: int, count: int, *rest: str
) -> Batch:
    goods = Goods(operator, product, Money(minor, currency), Money(cost, currency))
    purse, why, asked_by, asked_at, state, decided_by = rest
    return Batch(code, id_, goods, count, purse, why, asked_by, asked_at, state, decided_by)  # type: ignore[arg-type]
