"""How suppliers stand at this moment: breakers, pace, floats and the last hour; read for a batch, kept for all workers.

The rows of `topup_supplier` are locked after orders and before accounts, in the order of their names.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from refill.cases import Case
from refill.catalogue.routing import ENOUGH, PACE, Limits, Standing
from refill.db import Statement, Tx
from refill.errors import BadInput, NotFound
from refill.money import Money
from refill.operators import pins
from refill.topup import pulse
from refill.topup.pulse import Beats, Tally
from refill.topup.trade import Trade

LOOK_AGAIN = timedelta(seconds=5)  # the last hour changes slowly
TRUSTED = timedelta(minutes=10)  # what a supplier said of our float that long ago says nothing any more
EMPTY = timedelta(seconds=60)  # an empty float is not asked for again before
LONGEST_REST = timedelta(minutes=10)
PROBE = timedelta(seconds=60)  # after it another order may try, whatever became of the one that did
WINDOW = timedelta(minutes=1)  # the minute before this one, and this one

_ROW = """
    s.supplier, s.breaker, s.since, s.retry_at, s.rests, s.why, s.by, s.spent_until, s.empty_until,
    (SELECT max(f.seen_at) FROM topup_float_seen f WHERE f.supplier = s.supplier AND f.minor > 0)
"""

ALL = Statement(f"""
    -- How every supplier stands
    SELECT {_ROW} FROM topup_supplier s ORDER BY s.supplier
""")

LOCK = Statement(f"""
    -- How some suppliers stand, held until the transaction ends
    SELECT {_ROW} FROM topup_supplier s WHERE s.supplier = ANY (:suppliers::text[])
     ORDER BY s.supplier FOR UPDATE
""")

MEET = Statement("""
    -- Suppliers that nobody has written down yet
    INSERT INTO topup_supplier (supplier, since) SELECT supplier, :now FROM unnest(:suppliers::text[]) AS t (supplier)
        ON CONFLICT DO NOTHING
""")

SAVE = Statement("""
    -- How suppliers stand; rows that we hold
    UPDATE topup_supplier s
       SET breaker = t.breaker, since = t.since, retry_at = t.retry_at, rests = t.rests, why = t.why, by = t.by,
           spent_until = t.spent_until, empty_until = t.empty_until
      FROM unnest(:suppliers::text[], :breakers::text[], :sinces::timestamptz[], :retries::timestamptz[],
                  :rests::smallint[], :whys::text[], :bys::text[], :spent::timestamptz[], :empties::timestamptz[])
        AS t (supplier, breaker, since, retry_at, rests, why, by, spent_until, empty_until)
     WHERE s.supplier = t.supplier
""")

ON_THE_WAY = Statement("""
    -- What open attempts will cost us, by supplier and currency
    SELECT a.supplier, coalesce(o.cost_currency, o.currency), count(*), sum(coalesce(o.cost_minor, 0))::bigint
      FROM topup_attempt a JOIN topup_order o ON o.cell = a.cell AND o.id = a.order_id
     WHERE a.state IN ('prepared', 'unknown')
     GROUP BY 1, 2 ORDER BY 1, 2
""")


@dataclass(frozen=True, slots=True)
class Row:
    """A supplier as all workers know it."""

    supplier: str
    breaker: str
    since: datetime
    retry_at: datetime | None = None
    rests: int = 0
    why: str = ""
    by: str | None = None
    spent_until: datetime | None = None
    empty_until: datetime | None = None
    filled_at: datetime | None = None  # when they last told us of money in a float of ours

    def is_empty(self, now: datetime) -> bool:
        """Did it refuse for an empty float a moment ago, and told of no money since?"""
        if self.empty_until is None or self.empty_until <= now:
            return False
        return self.filled_at is None or self.filled_at <= self.empty_until - EMPTY


async def rows(tx: Tx) -> dict[str, Row]:
    """All suppliers that were ever written down."""
    return {row[0]: Row(*row) for row in await tx.rows(ALL)}


async def _lock(tx: Tx, suppliers: Collection[str], known: Collection[str], now: datetime) -> dict[str, Row]:
    names = sorted(suppliers)
    if new := [name for name in names if name not in known]:
        await tx.run(MEET, now=now - pulse.HOUR, suppliers=new)
    return {row[0]: Row(*row) for row in await tx.rows(LOCK, suppliers=names)}


async def _save(tx: Tx, changed: Iterable[Row]) -> None:
    found = sorted(changed, key=lambda row: row.supplier)
    if found:
        await tx.run(
            SAVE,
            suppliers=[row.supplier for row in found],
            breakers=[row.breaker for row in found],
            sinces=[row.since for row in found],
            retries=[row.retry_at for row in found],
            rests=[row.rests for row in found],
            whys=[row.why for row in found],
            bys=[row.by for row in found],
            spent=[row.spent_until for row in found],
            empties=[row.empty_until for row in found],
        )


# ------------------------------------------------------------------ before a batch is routed


@dataclass(slots=True)
class Watch:
    """What one worker remembers of suppliers: the calls that it holds at each, and the last hour as it last looked."""

    flying: Counter[str] = field(default_factory=Counter)
    asking: Counter[str] = field(default_factory=Counter)  # inquiries
    _shut_until: dict[str, datetime] = field(default_factory=dict)
    _looked_at: datetime | None = None
    _beats: Beats = field(default_factory=dict)
    _left: Mapping[tuple[str, str], int] = field(
        default_factory=dict
    )  # of floats that are known, less what is on its way

    def rooms(self, trade: Trade, now: datetime) -> dict[str, int]:
        """How many more calls the suppliers of each operator take from us; an operator without any is not named."""
        catalogue = trade.shelf.catalogue
        free = {
            name: 0 if now < self._shut_until.get(name, now) else self.room(trade, name) for name in trade.suppliers
        }
        return {
            operator: sum(free[name] for name in names)
            for operator in catalogue.networks()
            if (names := [name for name in catalogue.deliverers(operator) if name in free])
        }

    def shut(self, suppliers: Iterable[str], now: datetime) -> None:
        """Their pace is spent: nobody leaves their operators' lines for them for a moment."""
        self._shut_until |= dict.fromkeys(suppliers, now + PACE)

    def room(self, trade: Trade, supplier: str) -> int:
        """How many more calls a supplier takes from this worker."""
        return max(trade.shelf.catalogue.routing.of(supplier).most_in_flight - self.flying[supplier], 0)

    def may_ask(self, trade: Trade, supplier: str, more: int) -> bool:
        """May another inquiry go there, beside `more` of this batch? They have as many places of their own."""
        return self.asking[supplier] + more < trade.shelf.catalogue.routing.of(supplier).most_in_flight

    async def look(self, tx: Tx, trade: Trade, now: datetime) -> None:
        """Reads the last hour anew, now and then."""
        if self._looked_at is None or now - self._looked_at >= LOOK_AGAIN:
            self._beats = await pulse.since(tx, now - pulse.HOUR)
            self._left = {key: left.minor for key, left in (await floats_left(tx, trade, now)).items()}
            self._looked_at = now

    def standing(self, trade: Trade, supplier: str, row: Row | None, now: datetime) -> Standing:
        """How a supplier stands, for one batch."""
        limits = trade.shelf.catalogue.routing.of(supplier)
        standing = Standing(room=self.room(trade, supplier), tokens=tokens(limits, row, now))
        standing.left_minor = {currency: left for (name, currency), left in self._left.items() if name == supplier}
        for (name, operator), beat in self._beats.items():
            if name != supplier:
                continue
            if beat.answers >= ENOUGH:
                standing.good_bp[operator] = 10_000 - 10_000 * beat.bad // beat.answers
            if (typical := beat.typical_s()) is not None:
                standing.typical_s[operator] = typical
        if row is not None:
            standing.breaker, standing.retry_at = row.breaker, row.retry_at
            standing.empty_until = row.empty_until if row.is_empty(now) else None
        return standing


def tokens(limits: Limits, row: Row | None, now: datetime) -> int | None:
    """How many calls the pace allows at once: what was not spent of the last second. None: nothing limits it."""
    if limits.most_per_second is None:
        return None
    spent = _spent(row, now)
    return max(int((now - spent) / timedelta(seconds=1) * limits.most_per_second + 1e-6), 0)


def _spent(row: Row | None, now: datetime) -> datetime:
    second = now - timedelta(seconds=1)
    return second if row is None or row.spent_until is None else max(row.spent_until, second)


async def stand(
    tx: Tx, trade: Trade, watch: Watch, suppliers: Collection[str], now: datetime
) -> tuple[dict[str, Standing], dict[str, Row]]:
    """How these suppliers stand; the rows of those that are paced, or may be tried again, stay locked until the commit."""
    await watch.look(tx, trade, now)
    known = await rows(tx)
    paced = [name for name in suppliers if trade.shelf.catalogue.routing.of(name).most_per_second is not None]
    rung = [name for name in suppliers if name in known and _may_be_tried(known[name], now)]
    held: dict[str, Row] = {}
    if paced or rung:
        held = await _lock(tx, {*paced, *rung}, known, now)
        known |= held
    standings = {name: watch.standing(trade, name, known.get(name), now) for name in sorted(suppliers)}
    for name, row in held.items():
        if _may_be_tried(row, now):
            standings[name].breaker = "probe"
    return standings, held


def _may_be_tried(row: Row, now: datetime) -> bool:
    return row.breaker == "open" and row.retry_at is not None and row.retry_at <= now


async def spend(tx: Tx, trade: Trade, held: Mapping[str, Row], sent: Mapping[str, int], now: datetime) -> None:
    """Writes down what a batch took of the suppliers' pace, and who is being tried."""
    changed = []
    for name, row in held.items():
        after, count = row, sent.get(name, 0)
        per_second = trade.shelf.catalogue.routing.of(name).most_per_second
        if count and per_second is not None:
            after = replace(after, spent_until=_spent(row, now) + timedelta(seconds=1) * count / per_second)
        if count and _may_be_tried(row, now):
            after = replace(after, retry_at=now + PROBE)
        if after != row:
            changed.append(after)
    await _save(tx, changed)


# ------------------------------------------------------------------ after a batch was answered


async def learn(tx: Tx, trade: Trade, tally: Tally, now: datetime) -> list[Case]:
    """Opens and closes breakers by what a batch was answered; returns what a person should know."""
    touched = {supplier for supplier, *_ in tally.counts} - {pins.NAME}  # our own stock needs no breaker
    if not touched:
        return []
    known = await rows(tx)
    wanted = {name for name in touched if _says_something(name, known.get(name), tally, now)} | tally.emptied
    held = await _lock(tx, wanted, known, now) if wanted else {}
    changed, troubles = [], []
    for name, row in held.items():
        limits = trade.shelf.catalogue.routing.of(name)
        if row.breaker == "open":
            after = _tried(limits, row, tally, now)
        else:
            after = await _counted(tx, limits, row, tally, now)
        if name in tally.emptied:
            after = replace(after, empty_until=now + EMPTY)
        if after != row:
            changed.append(after)
        if (row.breaker, after.breaker) == ("closed", "open"):
            says = f"{name} fails: {after.why}. Its breaker opened; orders go to others, or wait for it."
            troubles.append(Case("breaker", name, says))
    await _save(tx, changed)
    return troubles


def _says_something(name: str, row: Row | None, tally: Tally, now: datetime) -> bool:
    """Can these answers move its breaker?"""
    if row is None or row.breaker == "closed":
        return bool(tally.bad(name))
    return row.retry_at is not None and tally.youngest(name, now) >= row.since


def _tried(limits: Limits, row: Row, tally: Tally, now: datetime) -> Row:
    """What became of whoever tried an open breaker."""
    name = row.supplier
    if row.retry_at is None or tally.youngest(name, now) < row.since:
        return row
    if tally.youngest(name, now, good=True) >= row.since:
        return replace(row, breaker="closed", since=now, retry_at=None, rests=0, why="", by=None)
    return replace(row, retry_at=now + _rest(limits, row.rests + 1), rests=row.rests + 1)


async def _counted(tx: Tx, limits: Limits, row: Row, tally: Tally, now: datetime) -> Row:
    """Opens a closed breaker, when enough of enough answers speak against the supplier."""
    name = row.supplier
    if not tally.bad(name):
        return row
    # What was counted in the minute in which it closed is what had opened it.
    since = max(now - WINDOW, row.since + timedelta(minutes=1))
    before = [] if since > now else [beat for (who, _), beat in (await pulse.since(tx, since)).items() if who == name]
    answers = sum(beat.answers for beat in before) + tally.answers(name)
    bad = sum(beat.bad for beat in before) + tally.bad(name)
    if answers < limits.least_answers or bad * 10_000 < limits.opens_at_bp * answers:
        return row
    why = f"{bad} of {answers} answers"
    return replace(row, breaker="open", since=now, retry_at=now + _rest(limits, 0), rests=0, why=why, by=None)


def _rest(limits: Limits, n: int) -> timedelta:
    return min(timedelta(seconds=limits.rest_s) * 2 ** min(n, 10), LONGEST_REST)


# ------------------------------------------------------------------ by hand


async def open_by_hand(trade: Trade, supplier: str, *, who: str, why: str) -> None:
    """Nothing more is sent to a supplier until a person closes its breaker. Raises NotFound, BadInput."""
    await _by_hand(trade, supplier, who, why, "open")


async def close_by_hand(trade: Trade, supplier: str, *, who: str, why: str) -> None:
    """Orders go to a supplier again, whoever opened its breaker. Raises NotFound, BadInput."""
    await _by_hand(trade, supplier, who, why, "closed")


async def _by_hand(trade: Trade, supplier: str, who: str, why: str, breaker: str) -> None:
    if supplier not in trade.suppliers:
        raise NotFound("There is no such supplier.")
    if not who.strip() or not why.strip():
        raise BadInput("Say who decides it, and why.")
    now = trade.world.db_now()

    async def work(tx: Tx) -> None:
        row = (await _lock(tx, [supplier], (), now))[supplier]
        row = replace(row, breaker=breaker, since=now, retry_at=None, rests=0, why=why.strip()[:200], by=who)
        await _save(tx, [row])

    await trade.db.transaction(work)


# ------------------------------------------------------------------ floats


async def floats_left(tx: Tx, trade: Trade, now: datetime) -> dict[tuple[str, str], Money]:
    """What is left of each float that a supplier told us of lately, less what was taken since and what is on its way."""
    seen = [one for one in await pulse.floats_seen(tx) if now - one.seen_at <= TRUSTED]
    if not seen:
        return {}
    going = {(name, currency): minor for name, currency, _, minor in await tx.rows(ON_THE_WAY)}
    bills = trade.shelf.catalogue.billed()
    left = {}
    for one in seen:
        name, currency = one.supplier, one.left.currency
        minor = one.left.minor - going.get((name, currency), 0)
        if bills.get(name) == {currency}:  # else nobody knows in which it was taken
            beats = await pulse.since(tx, one.seen_at)
            minor -= sum(beat.minor for (who, _), beat in beats.items() if who == name)
        left[name, currency] = Money(minor, currency)
    return left


# ------------------------------------------------------------------ for people


@dataclass(frozen=True, slots=True)
class View:
    """A supplier as the back office shows it. hour: the last one. runs_dry: when the float will be used up at its pace."""

    supplier: str
    row: Row | None
    limits: Limits
    hour: pulse.Beat
    on_the_way: int
    floats: tuple[pulse.FloatSeen, ...]
    left: tuple[Money, ...]
    runs_dry: datetime | None


async def views(trade: Trade) -> list[View]:
    """Every supplier that is connected."""
    now = trade.world.db_now()

    async def work(tx: Tx) -> list[View]:
        known, beats = await rows(tx), await pulse.since(tx, now - pulse.HOUR)
        going: Counter[str] = Counter()
        for name, _, count, _ in await tx.rows(ON_THE_WAY):
            going[name] += count
        seen, left = await pulse.floats_seen(tx), await floats_left(tx, trade, now)
        found = []
        for name in sorted(set(trade.suppliers) - {pins.NAME}):
            hour = _together([beat for (who, _), beat in beats.items() if who == name])
            mine = tuple(money for (who, _), money in left.items() if who == name)
            dry = now + pulse.HOUR * (max(mine[0].minor, 0) / hour.minor) if len(mine) == 1 and hour.minor else None
            found.append(
                View(
                    name,
                    known.get(name),
                    trade.shelf.catalogue.routing.of(name),
                    hour,
                    going[name],
                    tuple(one for one in seen if one.supplier == name),
                    mine,
                    dry,
                )
            )
        return found

    return await trade.db.transaction(work)


def _together(beats: Sequence[pulse.Beat]) -> pulse.Beat:
    whole = pulse.Beat()
    for beat in beats:
        whole.declined += beat.declined
        whole.refused += beat.refused
        whole.unknown += beat.unknown
        whole.minor += beat.minor
        whole.times.update(beat.times)
    return whole
