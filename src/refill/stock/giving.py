"""Giving PINs: one for each request, for ever, the one that expires first; and looking at what was given."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from refill import ledger
from refill.db import Statement, Tx
from refill.errors import CannotHappen
from refill.ids import cell_of, cell_of_id
from refill.money import Money
from refill.stock.pins import TopUpPin, opened
from refill.vault import Vault
from refill.world import World

PACK = 1_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """One PIN that a request wants. `request_id` begins with the order's id."""

    order_id: str
    request_id: str
    product: str
    face: Money


@dataclass(frozen=True, slots=True)
class Taken:
    """The PIN that a request has, without the PIN itself."""

    request_id: str
    serial: str
    cost: Money


@dataclass(frozen=True, slots=True)
class Given:
    """A PIN that an order got, sealed; `state` is given, or faulty when another was given in its place."""

    order_id: str
    request_id: str
    operator: str
    serial: str
    face: Money
    cost: Money
    state: str
    until: datetime
    at: datetime
    digest: str = field(repr=False)
    sealed: bytes = field(repr=False)

    def open(self, vault: Vault) -> TopUpPin:
        """For the eyes of who paid. Raises NotOpened."""
        return opened(vault, self.digest, self.sealed)


def account(operator: str, currency: str) -> str:
    """What our PINs of an operator cost us, as long as they lie here."""
    return f"stock:{operator}/{currency}"


# ------------------------------------------------------------------ giving

HAS = Statement("""
    -- The PINs that these requests have already
    SELECT g.request_id, p.serial, p.cost_minor, p.currency
      FROM unnest(:cells::smallint[], :requests::text[]) AS asked (cell, request_id)
      JOIN stock_given g ON g.cell = asked.cell AND g.request_id = asked.request_id
      JOIN stock_pin p ON p.cell = g.pin_cell AND p.pin = g.pin
""")

NEXT = Statement("""
    -- Of each product as many PINs as are wanted, those first that expire first; what another holds is passed over
    SELECT asked.n, p.cell, p.pin, p.serial, p.cost_minor
      FROM unnest(:products::text[], :minors::bigint[], :currencies::text[], :counts::bigint[]) WITH ORDINALITY
        AS asked (product, minor, currency, count, n)
     CROSS JOIN LATERAL (
      SELECT s.cell, s.pin, s.serial, s.cost_minor
        FROM stock_pin s
       WHERE s.product = asked.product AND s.minor = asked.minor AND s.currency = asked.currency
         AND s.state = 'stock' AND s.until > :now
       ORDER BY s.until, s.serial LIMIT asked.count FOR UPDATE SKIP LOCKED) AS p
""")

GIVE = Statement("""
    -- A PIN for each request; a request that has one keeps it, and is not named here
    INSERT INTO stock_given (cell, request_id, pin_cell, pin, at)
    SELECT cell, request_id, pin_cell, pin, :now
      FROM unnest(:cells::smallint[], :requests::text[], :pincells::smallint[], :pins::uuid[])
        AS t (cell, request_id, pin_cell, pin)
        ON CONFLICT (cell, request_id) DO NOTHING
    RETURNING request_id
""")

GONE = Statement("""
    -- PINs that we hold leave the stock, each for its request
    UPDATE stock_pin p SET state = 'given', given_to = t.request_id, changed_at = :now
      FROM unnest(:cells::smallint[], :pins::uuid[], :requests::text[]) AS t (cell, pin, request_id)
     WHERE p.cell = t.cell AND p.pin = t.pin AND p.state = 'stock'
""")


async def take(tx: Tx, wanted: Sequence[Wanted], now: datetime) -> list[Taken | None]:
    """A PIN for each request, in order; None where the stock has none. The same request always gets the same PIN.

    The caller posts their cost out of `account` in the same transaction.
    """
    has = await _has(tx, wanted)
    fresh = list({each.request_id: each for each in wanted if each.request_id not in has}.values())
    if fresh:
        has |= await _give(tx, fresh, now)
    return [has.get(each.request_id) for each in wanted]


async def _has(tx: Tx, wanted: Sequence[Wanted]) -> dict[str, Taken]:
    cells, requests = [cell_of_id(each.order_id) for each in wanted], [each.request_id for each in wanted]
    rows = await tx.rows(HAS, cells=cells, requests=requests)
    return {request: Taken(request, serial, Money(cost, currency)) for request, serial, cost, currency in rows}


async def _give(tx: Tx, fresh: Sequence[Wanted], now: datetime) -> dict[str, Taken]:
    """What of the stock these requests get, who have nothing yet."""
    counts = Counter((each.product, each.face.minor, each.face.currency) for each in fresh)
    products, minors, currencies = zip(*counts, strict=True)
    ready: dict[object, list[tuple[int, UUID, str, int]]] = {kind: [] for kind in counts}
    kinds = list(counts)
    rows = await tx.rows(
        NEXT, products=products, minors=minors, currencies=currencies, counts=list(counts.values()), now=now
    )
    for n, *pin in rows:
        ready[kinds[n - 1]].append(tuple(pin))
    pairs = []
    for each in fresh:
        if kind := ready[each.product, each.face.minor, each.face.currency]:
            pairs.append((each, kind.pop(0)))
    if not pairs:
        return {}
    pairs.sort(key=lambda pair: (cell_of_id(pair[0].order_id), pair[0].request_id))  # in one order for everybody
    written = await tx.rows(
        GIVE,
        cells=[cell_of_id(each.order_id) for each, _ in pairs],
        requests=[each.request_id for each, _ in pairs],
        pincells=[pin[0] for _, pin in pairs],
        pins=[pin[1].hex for _, pin in pairs],
        now=now,
    )
    mine = {request for (request,) in written}
    given = [(each, pin) for each, pin in pairs if each.request_id in mine]
    gone = await tx.run(
        GONE,
        cells=[pin[0] for _, pin in given],
        pins=[pin[1].hex for _, pin in given],
        requests=[each.request_id for each, _ in given],
        now=now,
    )
    if gone != len(given):
        raise CannotHappen("A PIN left the stock while we held it; nothing was given.")
    taken = {each.request_id: Taken(each.request_id, pin[2], Money(pin[3], each.face.currency)) for each, pin in given}
    # Whoever asked under the same name at the same moment was first: theirs is the PIN of us both.
    return taken | await _has(tx, [each for each, _ in pairs if each.request_id not in mine])


# ------------------------------------------------------------------ looking

OF_ORDER = Statement("""
    -- The PINs that an order got, the first one first
    SELECT g.request_id, p.operator, p.serial, p.minor, p.currency, p.cost_minor, p.state, p.until, g.at, p.pin, p.sealed
      FROM stock_given g
      JOIN stock_pin p ON p.cell = g.pin_cell AND p.pin = g.pin
     WHERE g.cell = :cell AND g.request_id > :order::text AND g.request_id < :order::text || '~'
     ORDER BY g.at, g.request_id
""")

NOTE = Statement("""
    -- Somebody sees a PIN; only the first time is kept
    INSERT INTO stock_reading (cell, request_id, reader, at) VALUES (:cell, :request, :reader, :now)
        ON CONFLICT DO NOTHING
""")

READINGS = Statement("""
    -- Who saw the PINs of an order, and when for the first time
    SELECT request_id, reader, at FROM stock_reading
     WHERE cell = :cell AND request_id > :order::text AND request_id < :order::text || '~'
     ORDER BY at, request_id, reader
""")


async def of_order(tx: Tx, order_id: str) -> list[Given]:
    """The PINs that an order got; all but the last are faulty."""
    rows = await tx.rows(OF_ORDER, cell=cell_of_id(order_id), order=order_id)
    return [
        Given(
            order_id, request, operator, serial, Money(minor, currency), Money(cost, currency), state, until, at,
            digest.hex, sealed,
        )
        for request, operator, serial, minor, currency, cost, state, until, at, digest, sealed in rows
    ]  # fmt: skip


async def read(tx: Tx, vault: Vault, order_id: str, reader: str, now: datetime) -> list[tuple[Given, TopUpPin]]:
    """The good PINs of an order for who may see them; `reader` is payer, partner or a person of ours, and is written down."""
    good = [given for given in await of_order(tx, order_id) if given.state == "given"]
    for given in good:
        tx.ask(NOTE, cell=cell_of_id(order_id), request=given.request_id, reader=reader, now=now)
    return [(given, given.open(vault)) for given in good]


async def readings(tx: Tx, order_id: str) -> list[tuple[str, str, datetime]]:
    """Who saw which PIN of an order (request id, reader, first time)."""
    rows = await tx.rows(READINGS, cell=cell_of_id(order_id), order=order_id)
    return [(request, reader, at) for request, reader, at in rows]


# ------------------------------------------------------------------ a PIN that does not work

SPOIL = Statement("""
    -- A PIN that was given does not work
    UPDATE stock_pin p SET state = 'faulty', changed_at = :now
      FROM stock_given g
     WHERE g.cell = :cell AND g.request_id = :request AND p.cell = g.pin_cell AND p.pin = g.pin AND p.state = 'given'
""")


async def spoil(tx: Tx, order_id: str, request_id: str, now: datetime) -> bool:
    """Marks the PIN of a request as faulty; False when it is no good one."""
    return bool(await tx.run(SPOIL, cell=cell_of_id(order_id), request=request_id, now=now))


# ------------------------------------------------------------------ expiry

EXPIRE = Statement("""
    -- PINs whose time is over, a pack of them, with what they cost us
    WITH over AS (
      SELECT cell, pin FROM stock_pin
       WHERE until <= :now AND state = 'stock' ORDER BY until LIMIT :most::int FOR UPDATE SKIP LOCKED)
    UPDATE stock_pin p SET state = 'expired', changed_at = :now
      FROM over WHERE p.cell = over.cell AND p.pin = over.pin
    RETURNING p.operator, p.currency, p.cost_minor
""")


async def expire(tx: Tx, world: World, most: int = PACK) -> int:
    """Takes PINs out whose time is over and books what they cost as lost, one entry; returns how many."""
    now = world.db_now()
    rows = await tx.rows(EXPIRE, now=now, most=most)
    lost: Counter[tuple[str, str]] = Counter()
    for operator, currency, cost in rows:
        lost[operator, currency] += cost
    # When this runs again after a commit in doubt, it finds other PINs: their entry has another name.
    name = world.new_id("sx", cell_of("stock"))
    legs = [
        (f"loss:expired/{currency}", account(operator, currency), cost) for (operator, currency), cost in lost.items()
    ]
    await post(tx, ledger.Entry.of(f"{name}.expired", *sorted(legs)), now)
    return len(rows)


async def post(tx: Tx, entry: ledger.Entry, now: datetime) -> None:
    """One entry, if anything is left of it. Raises CannotHappen."""
    if entry.transfers:
        (answer,) = await ledger.post(tx, [entry], now)
        if not isinstance(answer, ledger.Posted):
            raise CannotHappen(f"The book refuses {entry.id}: {answer}.")
