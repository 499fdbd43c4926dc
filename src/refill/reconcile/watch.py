"""Our floats at suppliers, watched: their word for each against our book, how long it lasts, and who waits for it.

A balance is one number, and our book allows a span: what is open at the supplier may have been taken or not. What was
booked while we asked may have been taken before or after. Outside of that for longer than the terms allow is a case.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from refill import cases, ledger
from refill.cases import Case
from refill.db import Database, Statement, Tx
from refill.money import Money
from refill.operators import Terms
from refill.outcome import Done
from refill.reconcile.recharges import PREFIX, strangers
from refill.topup import Trade, parked, pulse

SOON = timedelta(seconds=15)  # asked again, while orders wait for the float
STALE = 10  # readings: what was said longer ago than so many of them is not their word any more
RUSH, CALM = timedelta(hours=1), timedelta(hours=6)

FLOATS = Statement("""
    -- Floats that are watched from now on
    INSERT INTO reconcile_watch (supplier, currency, ask_at)
    SELECT supplier, currency, :now FROM unnest(:suppliers::text[], :currencies::text[]) AS t (supplier, currency)
        ON CONFLICT DO NOTHING
""")

CLAIM = Statement("""
    -- Floats whose time has come, each to one of those who ask
    UPDATE reconcile_watch w SET ask_at = t.next
      FROM unnest(:suppliers::text[], :currencies::text[], :nexts::timestamptz[]) AS t (supplier, currency, next)
     WHERE w.supplier = t.supplier AND w.currency = t.currency AND w.ask_at <= :now
    RETURNING w.supplier, w.currency
""")

SOONER = Statement("""
    -- A float that orders wait for is asked about soon
    UPDATE reconcile_watch SET ask_at = :at WHERE supplier = :supplier AND currency = :currency AND ask_at > :at
""")

OPEN = Statement("""
    -- What may have left a float without our book knowing: attempts that are open, and money that somebody paid back
    SELECT coalesce((SELECT sum(coalesce(o.cost_minor, o.price_minor))
                       FROM topup_attempt a JOIN topup_order o ON o.cell = a.cell AND o.id = a.order_id
                      WHERE a.supplier = :supplier AND a.state IN ('prepared', 'unknown')
                        AND coalesce(o.cost_currency, o.currency) = :currency), 0)::bigint
           - coalesce((SELECT sum(f.minor) FROM reconcile_funding f
                        WHERE f.supplier = :supplier AND f.currency = :currency AND f.decided_at IS NULL
                          AND f.minor < 0), 0)::bigint,
           -- and what may have come into it: reversals that are open, and money that is on its way
           coalesce((SELECT sum(a.cost_minor)
                       FROM topup_reversal r
                       JOIN topup_attempt a ON a.cell = r.cell AND a.order_id = r.order_id AND a.n = r.attempt
                       JOIN topup_order o ON o.cell = r.cell AND o.id = r.order_id
                      WHERE r.supplier = :supplier AND r.state IN ('due', 'sent')
                        AND coalesce(o.cost_currency, o.currency) = :currency), 0)::bigint
           + coalesce((SELECT sum(f.minor) FROM reconcile_funding f
                        WHERE f.supplier = :supplier AND f.currency = :currency AND f.decided_at IS NULL
                          AND f.minor > 0), 0)::bigint
""")

FORMER = Statement("""
    -- What a supplier said last
    SELECT minor, least_minor, most_minor, at, off_since FROM reconcile_reading
     WHERE supplier = :supplier AND currency = :currency ORDER BY at DESC LIMIT 1
""")

KEEP = Statement("""
    -- What a supplier says now
    INSERT INTO reconcile_reading (supplier, currency, at, minor, least_minor, most_minor, off_since)
    VALUES (:supplier, :currency, :at, :minor, :least, :most, :off) ON CONFLICT DO NOTHING
""")

BURNT = Statement("""
    -- What left floats for orders, from a moment on
    SELECT f.name, sum(t.minor)::bigint
      FROM unnest(:accounts::text[]) AS f (name)
     CROSS JOIN LATERAL (
           SELECT t.minor FROM ledger_transfer t
            WHERE t.credit LIKE 'float:%' AND t.credit NOT LIKE 'float:pa\\_%' AND t.credit = f.name
              AND t.at > :since AND t.id LIKE 'tu\\_%') AS t
     GROUP BY f.name
""")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a supplier said of our float, and what our book allowed at that moment, from `least` to `most`."""

    supplier: str
    left: Money
    least: Money
    most: Money
    at: datetime
    off_since: datetime | None

    @property
    def off(self) -> Money:
        """By how much their word is outside of what our book allows: below zero when they have less than they should."""
        if self.left < self.least:
            return self.left - self.least
        return self.left - self.most if self.most < self.left else Money(0, self.left.currency)


@dataclass(frozen=True, slots=True)
class Float:
    """Our money at one supplier in one currency, as it stands.

    book: what our book has there. open: what of it may be taken already, and we do not know. burn_minor: what leaves it in
    an hour, by the busier of the last hour and the last six. lasts: until it is empty; None while nothing leaves it.
    """

    supplier: str
    book: Money
    open: Money
    reading: Reading | None
    burn_minor: int
    lasts: timedelta | None
    low: bool
    parked: int
    parked_since: datetime | None

    @property
    def case_id(self) -> str:
        """Of the case about their word and our book, if they have differed for long."""
        return f"difference:{PREFIX}{self.supplier}/{self.book.currency}"

    @property
    def left(self) -> Money:
        """The best word for what can be spent: theirs while it is fresh, else our book's; less what is open."""
        return (self.reading.left if self.reading else self.book) - self.open


def watched(trade: Trade) -> list[tuple[str, str]]:
    """Every supplier with the currencies of our floats there: by its terms, by its wire, else by what is on sale."""
    on_sale = sorted({operator.currency for operator in trade.shelf.catalogue.operators()})
    found = []
    for name, supplier in strangers(trade).items():
        own = getattr(supplier, "currency", None)
        told = _terms(trade, name).currencies or ((own,) if own else tuple(on_sale))
        found += [(name, currency) for currency in told]
    return found


async def look(trade: Trade, db: Database) -> int:
    """Asks about every float whose time has come, each beside the caller; returns how many are asked."""
    pairs, now = watched(trade), trade.world.db_now()
    names, currencies = [name for name, _ in pairs], [currency for _, currency in pairs]

    async def claim(tx: Tx) -> list[tuple[str, str]]:
        await tx.run(FLOATS, suppliers=names, currencies=currencies, now=now)
        nexts = [now + _terms(trade, name).ask_every for name in names]
        rows = await tx.rows(CLAIM, suppliers=names, currencies=currencies, nexts=nexts, now=now)
        return [(supplier, currency) for supplier, currency in rows]

    due = await db.transaction(claim) if pairs else []
    for supplier, currency in due:
        trade.world.start(_read(trade, db, supplier, currency))
    return len(due)


async def _read(trade: Trade, db: Database, name: str, currency: str) -> None:
    before = await db.transaction(lambda tx: _book(tx, name, currency))
    answer = await trade.suppliers[name].balance(trade.world, currency)
    if isinstance(answer, Done):
        await db.transaction(lambda tx: keep(tx, trade, name, answer.reference, before))


async def keep(tx: Tx, trade: Trade, name: str, left: Money, before: Money) -> Reading:
    """Keeps what a supplier said; `before` is what our book had there when we asked. Wakes who waited for the money."""
    terms, now, currency = _terms(trade, name), trade.world.db_now(), left.currency
    book = await _book(tx, name, currency)
    row = await tx.row(OPEN, supplier=name, currency=currency)
    assert row is not None
    leaving, coming = row
    least = Money(min(before.minor, book.minor) - leaving, currency)
    most = Money(max(before.minor, book.minor) + coming, currency)
    former = await tx.row(FORMER, supplier=name, currency=currency)
    agrees = least <= left <= most
    off_since = None if agrees else (former[4] if former and former[4] else now)
    reading = Reading(name, left, least, most, now, off_since)
    await tx.run(
        KEEP,
        supplier=name,
        currency=currency,
        at=now,
        minor=left.minor,
        least=least.minor,
        most=most.minor,
        off=off_since,
    )
    await _judge(tx, reading, terms, now)
    if former is None or left.minor > former[0]:
        await parked.wake(tx, name, left, now)
    standing = (await floats(tx, trade, [(name, currency)]))[0]
    await _alarm(tx, standing, terms, now)
    if standing.parked:
        await tx.run(SOONER, supplier=name, currency=currency, at=now + SOON)
    elif left.minor > 0:
        await cases.close(tx, [f"empty_float:{name}"], "there is money again, and nobody waits for it", now)
    await pulse.see(tx, [(name, left)], now)
    return reading


async def _judge(tx: Tx, reading: Reading, terms: Terms, now: datetime) -> None:
    """What was outside for long is a case; what agrees again closes it."""
    name, currency = reading.supplier, reading.left.currency
    case = f"{PREFIX}{name}/{currency}"
    if reading.off_since is None:
        await cases.close(tx, [f"difference:{case}"], "their balance and our book agree again", now)
    elif now - reading.off_since >= terms.patience:
        span = f"{reading.least}" if reading.least == reading.most else f"{reading.least} to {reading.most}"
        says = f"{name} says that our float is {reading.left}; our book allows {span}."
        await cases.raise_cases(tx, [Case("difference", case, says, _size(reading.off))], now)


async def _alarm(tx: Tx, standing: Float, terms: Terms, now: datetime) -> None:
    about = f"{standing.supplier}/{standing.book.currency}"
    if not standing.low:
        await cases.close(tx, [f"low_float:{about}"], "it is filled again", now)
        return
    until = (
        f"it is empty in about {in_words(standing.lasts)}" if standing.lasts is not None else "that is below its level"
    )
    says = f"Our float at {standing.supplier} has {standing.left} left; {until}. Pay into it."
    await cases.raise_cases(tx, [Case("low_float", about, says, _size(standing.left))], now)


async def floats(tx: Tx, trade: Trade, pairs: Sequence[tuple[str, str]] | None = None) -> list[Float]:
    """Our floats as they stand, with how long each lasts; of all suppliers, or of these."""
    pairs = watched(trade) if pairs is None else list(pairs)
    now = trade.world.db_now()
    accounts = [f"{PREFIX}{name}/{currency}" for name, currency in pairs]
    rushed: dict[str, int] = dict(await tx.rows(BURNT, accounts=accounts, since=now - RUSH))
    burnt: dict[str, int] = dict(await tx.rows(BURNT, accounts=accounts, since=now - CALM))
    waiting = await parked.waiting(tx, sorted({name for name, _ in pairs}))
    found = []
    for (name, currency), account in zip(pairs, accounts, strict=True):
        terms, book = _terms(trade, name), await _book(tx, name, currency)
        row = await tx.row(OPEN, supplier=name, currency=currency)
        assert row is not None
        reading = await last(tx, name, currency)
        if reading is not None and now - reading.at > STALE * terms.ask_every:
            reading = None
        burn = max(_hourly(rushed.get(account, 0), RUSH), _hourly(burnt.get(account, 0), CALM))
        count, since, _ = waiting.get((name, currency), (0, None, 0))
        standing = Float(name, book, Money(row[0], currency), reading, burn, None, False, count, since)
        lasts = timedelta(seconds=max(standing.left.minor, 0) * 3600 // burn) if burn else None
        low = (lasts is not None and lasts < terms.alarm) or standing.left.minor < terms.least.get(
            currency, standing.left.minor
        )
        found.append(
            Float(name, book, standing.open, reading, burn, lasts, low, standing.parked, standing.parked_since)
        )
    return found


async def last(tx: Tx, name: str, currency: str) -> Reading | None:
    """What a supplier said last of our float."""
    row = await tx.row(FORMER, supplier=name, currency=currency)
    if row is None:
        return None
    minor, least, most, at, off_since = row
    return Reading(name, Money(minor, currency), Money(least, currency), Money(most, currency), at, off_since)


def in_words(lasts: timedelta | None) -> str:
    """ "about 5 h": how long a float lasts, as people say it; minutes below two hours, days from two days on."""
    if lasts is None:
        return "—"
    minutes = round(lasts.total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{round(minutes / 60)} h" if minutes < 48 * 60 else f"{round(minutes / 1440)} d"


async def _book(tx: Tx, name: str, currency: str) -> Money:
    """What our book has at a supplier: the account counts what left it."""
    account = f"{PREFIX}{name}/{currency}"
    return Money(-(await ledger.balances(tx, [account])).get(account, 0), currency)


def _terms(trade: Trade, name: str) -> Terms:
    return trade.terms.get(name) or Terms()


def _hourly(minor: int, span: timedelta) -> int:
    return round(minor * 3600 / span.total_seconds())


def _size(money: Money) -> Money:
    return Money(abs(money.minor), money.currency)
