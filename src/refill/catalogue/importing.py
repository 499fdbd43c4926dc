"""Price lists: shown first as what they would change, then applied whole in one transaction, or not at all."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Literal, cast

from refill.catalogue import lists_sql as sql
from refill.catalogue.lines import COLUMNS, NEEDED, READERS, Known, sentence, wire_row, wrong
from refill.catalogue.sheets import FORMULA, BadFile, Wrong, sheet
from refill.db import Database, Row, Tx
from refill.db.bulk import Bulk, BulkTx
from refill.errors import BadInput, CannotHappen, NotFound
from refill.ids import cell_of
from refill.money import decimal_text
from refill.operators import Priced, PriceList, Supplier
from refill.outcome import Done
from refill.world import World

ROWS_A_STEP = 1_000  # of progress
LETS_GO = timedelta(days=7)  # after which a preview that nobody decided on is forgotten
OUTCOMES = ("added", "changed", "removed", "unchanged", "refused", "elsewhere")

Side = Literal["cost", "price"]
Progress = Callable[[int], None]  # hears how many rows were read


class PreviewOver(CannotHappen):
    """Prices changed since this preview was made; a new one stands in its place. Look at it, and apply that."""

    code = "preview_over"


@dataclass(frozen=True, slots=True)
class Import:
    """A list and what would become, or became, of its rows.

    side: `cost` is a supplier's list, `price` is ours. thin: rows among the added and changed that leave less than the
    least margin, where the rule is to sell and tell.
    """

    id: str
    side: str
    supplier: str
    source: str
    whole: bool
    state: str
    says: str
    rows: int
    added: int
    changed: int
    removed: int
    unchanged: int
    refused: int
    elsewhere: int
    thin: int
    asked_by: str
    asked_at: datetime
    decided_by: str | None
    decided_at: datetime | None

    @property
    def changes(self) -> int:
        """How many prices it changes."""
        return self.added + self.changed + self.removed


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a list, what became of it, and what stood before. Amounts in minor units of their currency."""

    n: int
    key: str  # what is priced; empty when that cannot be read
    operator: str
    product: str
    their_product: str
    name: str
    tier: str
    channel: str
    partner: str
    face_minor: int | None
    max_face_minor: int | None
    face_currency: str | None
    minor: int | None
    max_minor: int | None
    currency: str | None
    bp: int | None
    valid_from: datetime | None
    valid_until: datetime | None
    why: str
    what: str
    outcome: str
    thin: bool
    was_minor: int | None
    was_bp: int | None
    was_currency: str | None

    @property
    def says(self) -> str:
        """Why it is refused, or why it is worth a look; empty otherwise."""
        return sentence(self.why, self.what)


# ------------------------------------------------------------------ showing what a list would change


async def begin(
    db: Database, world: World, side: Side, supplier: str, source: str, *, who: str, whole: bool = False
) -> str:
    """Writes down that somebody shows us a list; returns its id. Raises BadInput.

    whole: the list is all there is: what stands and is not on it ends when it is applied.
    """
    if (side == "cost") != bool(supplier) or len(supplier) > 60 or not supplier.isprintable():
        raise BadInput("A list of costs is of one supplier; our own prices are of none.")
    id_, now = world.new_id("pl", cell_of(supplier)), world.db_now()

    async def work(tx: Tx) -> None:
        await tx.run(sql.FORGET_LINES, before=now - LETS_GO)
        await tx.run(sql.FORGET, before=now - LETS_GO)
        named = "".join(filter(str.isprintable, source))[-120:] or "list"
        await tx.run(sql.BEGIN, id=id_, side=side, supplier=supplier, source=named, whole=whole, who=who, now=now)

    await db.transaction(work)
    return id_


async def read_file(
    bulk: Bulk, world: World, import_id: str, file: BinaryIO, *, progress: Progress = lambda rows: None
) -> Import:
    """Previews a CSV or XLSX file under an id that `begin` gave. Raises BadFile; then nothing but that is kept."""

    def rows(side: str, known: Known) -> Iterator[Row]:
        read = READERS[side]
        for n, cells in sheet(file, COLUMNS[side], NEEDED[side]):
            yield wrong(n, cells) if isinstance(cells, Wrong) else read(n, cells, known)

    return await _preview(bulk, world, import_id, rows, progress)


async def read_wire(
    bulk: Bulk, world: World, import_id: str, told: PriceList, *, progress: Progress = lambda rows: None
) -> Import:
    """Previews the list that a supplier's wire gave."""

    def rows(side: str, known: Known) -> Iterator[Row]:
        yield from (wire_row(n, line, known) for n, line in enumerate(told.lines, 1))
        yield from (wrong(n, Wrong("unread", name)) for n, name in enumerate(told.unread, len(told.lines) + 1))

    return await _preview(bulk, world, import_id, rows, progress)


async def fetch(world: World, suppliers: Mapping[str, Supplier], name: str) -> PriceList:
    """Asks a supplier for its list. Raises NotFound, BadInput."""
    supplier = suppliers.get(name)
    if supplier is None:
        raise NotFound("No supplier of that name is connected.")
    if not hasattr(supplier, "price_list"):
        raise BadInput(f"{name} does not hand out its list through the wire; take it from a file.")
    answer = await cast(Priced, supplier).price_list(world)
    if not isinstance(answer, Done):
        raise BadInput(f"{name} does not tell its prices at present; try again in a while.")
    return answer.reference


async def _preview(
    bulk: Bulk, world: World, import_id: str, rows: Callable[[str, Known], Iterable[Row]], progress: Progress
) -> Import:
    now = world.db_now()

    async def work(tx: Tx) -> Import:
        assert isinstance(tx, BulkTx)
        found = await find(tx, import_id, lock=True)
        if found.state != "reading":
            raise CannotHappen("This list was read before.")
        await tx.run(sql.STAGE)
        count = await tx.copy(sql.STAGE_ROWS, _counted(rows(found.side, await _known(tx, found.supplier)), progress))
        await tx.run(sql.LOOK_AT_STAGE)
        await _judge(tx, found, now)
        await _keep(tx, found, count)
        return await find(tx, import_id)

    try:
        return await bulk.transaction(work)
    except BadFile as error:
        says = str(error)

        async def unreadable(tx: Tx) -> None:
            await tx.run(sql.UNREADABLE, id=import_id, says=says)

        await bulk.transaction(unreadable)
        raise


def _counted(rows: Iterable[Row], progress: Progress) -> Iterator[Row]:
    n = 0
    for n, row in enumerate(rows, 1):
        yield row
        if n % ROWS_A_STEP == 0:
            progress(n)
    progress(n)


async def _known(tx: Tx, supplier: str) -> Known:
    currencies: dict[str, str] = dict(await tx.rows(sql.OPERATORS))
    aliases: dict[str, str] = dict(await tx.rows(sql.ALIASES, supplier=supplier))
    return Known({**{id_: id_ for id_ in currencies}, **aliases}, currencies)


async def _judge(tx: Tx, found: Import, now: datetime) -> None:
    """What would become of each row that is staged, into `price_judged`."""
    where = {"side": found.side, "supplier": found.supplier, "now": now}
    await tx.run(sql.JUDGED)
    await tx.run(sql.JUDGE, id=found.id, **where)
    await tx.run(sql.LOOK_AT_JUDGED)
    await tx.run(sql.THIN_COSTS if found.side == "cost" else sql.THIN_PRICES, now=now)
    if found.whole:
        await tx.run(sql.REMOVED, id=found.id, **where)


async def _keep(tx: Tx, found: Import, count: int) -> None:
    await tx.run(sql.KEEP_LINES)
    await tx.run(sql.PREVIEWED, id=found.id, rows=count)


# ------------------------------------------------------------------ deciding


async def apply(bulk: Bulk, world: World, import_id: str, who: str) -> Import:
    """Applies a list when its preview is still true, all of its accepted rows in one transaction.

    Twice is once. Raises NotFound, CannotHappen, and PreviewOver: then the preview was made anew and nothing changed.
    """
    now = world.db_now()

    async def work(tx: Tx) -> Import | None:
        await tx.run(sql.ONE_AT_A_TIME)
        found = await find(tx, import_id, lock=True)
        if found.state == "applied":
            return found
        if found.state != "previewed":
            raise CannotHappen("This list cannot be applied any more; show it again.")
        await tx.run(sql.STAGE)
        await tx.run(sql.STAGE_AGAIN, id=import_id)
        await tx.run(sql.LOOK_AT_STAGE)
        await _judge(tx, found, now)
        if await tx.value(sql.OTHERWISE, id=import_id):
            await tx.run(sql.FORGET_THESE, id=import_id)
            await _keep(tx, found, found.rows)
            return None
        where = {"side": found.side, "supplier": found.supplier, "now": now}
        await tx.run(sql.END, **where)
        await tx.run(sql.END_REMOVED, **where)
        await tx.run(sql.WRITE, **where)
        await tx.run(sql.LOOK_AT_PRICES)
        if found.side == "cost":
            await tx.run(sql.BY_LIST, supplier=found.supplier)
            await tx.run(sql.SUPPLY, supplier=found.supplier)
        await tx.run(sql.DECIDE, id=import_id, state="applied", who=who, now=now)
        return await find(tx, import_id)

    applied = await bulk.transaction(work)
    if applied is None:
        raise PreviewOver("Prices changed since this preview was made; look at the new one, then apply it.")
    return applied


async def discard(tx: Tx, world: World, import_id: str, who: str) -> None:
    """Lets a list go. Raises NotFound, CannotHappen."""
    found = await find(tx, import_id, lock=True)
    if found.state not in ("previewed", "discarded"):
        raise CannotHappen("Only a preview can be let go.")
    if found.state == "previewed":
        await tx.run(sql.DECIDE, id=import_id, state="discarded", who=who, now=world.db_now())


# ------------------------------------------------------------------ looking


async def find(tx: Tx, import_id: str, *, lock: bool = False) -> Import:
    """One list. Raises NotFound."""
    row = await tx.row(sql.IMPORT_LOCKED if lock else sql.IMPORT, id=import_id)
    if row is None:
        raise NotFound("There is no such price list.")
    return Import(*row)


async def latest(tx: Tx, most: int = 50) -> list[Import]:
    """The lists that were shown to us, the latest first."""
    return [Import(*row) for row in await tx.rows(sql.LATEST, most=most)]


async def lines(
    tx: Tx, import_id: str, *, outcomes: Sequence[str] = OUTCOMES, after: int = 0, most: int = 200
) -> list[Line]:
    """Rows of a list behind row `after`, in the order of the file."""
    found = await tx.rows(sql.LINES, id=import_id, outcomes=list(outcomes), after=after, most=most)
    return [Line(*row) for row in found]


RESULT = ("row", "result", "why", *dict.fromkeys((*COLUMNS["cost"], *COLUMNS["price"])), "was")


def result_row(line: Line) -> list[str]:
    """A line of the file that answers a list, under RESULT; a cell that a spreadsheet would run is quoted."""

    def money(minor: int | None, currency: str | None) -> str:
        return decimal_text(minor, currency) if minor is not None and currency else ""

    cost = line.face_minor is not None
    words = {
        "row": "" if line.outcome == "removed" else str(line.n),
        "result": line.outcome,
        "why": line.says,
        "operator": line.operator,
        "supplier_product": line.their_product,
        "product": line.product,
        "name": line.name,
        "face": money(line.face_minor, line.face_currency),
        "max_face": money(line.max_face_minor, line.face_currency),
        "currency": line.face_currency or "",
        "cost": money(line.minor, line.currency) if cost else "",
        "max_cost": money(line.max_minor, line.currency),
        "cost_currency": line.currency or "" if cost else "",
        "tier": line.tier,
        "channel": line.channel,
        "partner": line.partner,
        "price": "" if cost else money(line.minor, line.currency),
        "bp": str(line.bp or ""),
        "valid_from": line.valid_from.isoformat() if line.valid_from else "",
        "valid_until": line.valid_until.isoformat() if line.valid_until else "",
        "was": money(line.was_minor, line.was_currency) or (f"{line.was_bp} bp" if line.was_bp else ""),
    }
    return ["'" + words[name] if words[name].startswith(FORMULA) else words[name] for name in RESULT]
