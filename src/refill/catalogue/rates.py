"""Exchange rates: told by a person or a file, valid for a time, exact in integers; none is ever fetched by itself."""

import csv
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from refill.cases import Case, close, raise_cases
from refill.db import Database, Statement, Tx
from refill.errors import BadInput, CannotHappen, NotForSale
from refill.money import EXPONENT, Money, share

JUMP = 10  # per cent: a rate that moves further than this against the last one is a slip of the finger until confirmed
ROWS_LIMIT = 10_000
COLUMNS = ("base", "quote", "rate", "valid_from", "valid_until", "source")
_DECIMAL = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,12}))?")
_MOST_DIGITS = 15  # so that a ratio of minor units still fits a bigint


class RateTooOld(NotForSale):
    """The exchange rate behind a price has run out, or none was ever told."""

    code = "rate_too_old"
    retryable = True


class Rate(msgspec.Struct, frozen=True):
    """One unit of `base` is `num` / `den` units of `quote`, from `valid_from` until just before `valid_until`."""

    base: str
    quote: str
    num: int
    den: int
    valid_from: datetime
    valid_until: datetime
    source: str = ""

    def convert(self, money: Money, part: int = 1, of: int = 1) -> Money:
        """`part` / `of` of an amount in `base` as an amount in `quote`, rounded half to even, once."""
        num, den = self.minor
        return Money(share(money.minor, part * num, of * den), self.quote)

    @property
    def minor(self) -> tuple[int, int]:
        """The same ratio between minor units, reduced: for `den` minor units of `base` one has `num` of `quote`."""
        num, den = self.num * 10 ** EXPONENT[self.quote], self.den * 10 ** EXPONENT[self.base]
        common = math.gcd(num, den)
        return num // common, den // common

    def turned(self) -> "Rate":
        """The same rate seen from the other side, exactly."""
        return Rate(self.quote, self.base, self.den, self.num, self.valid_from, self.valid_until, self.source)

    def text(self) -> str:
        """As people write it: "7.1834", with at most twelve decimals."""
        return rate_text(self.num, self.den)


def rate_text(num: int, den: int) -> str:
    """A ratio as a decimal with at most twelve decimals: (35917, 5000) -> "7.1834"."""
    whole, part = divmod(share(num, 10**12, den), 10**12)
    return f"{whole}.{part:012d}".rstrip("0").removesuffix(".")


class Rates:
    """The rates that were told, each until the next one of its pair begins."""

    def __init__(self, told: Iterable[Rate] = ()) -> None:
        pairs: dict[tuple[str, str], list[Rate]] = {}
        for rate in sorted(told, key=lambda rate: rate.valid_from):
            line = pairs.setdefault((rate.base, rate.quote), [])
            if line and line[-1].valid_until > rate.valid_from:
                line[-1] = msgspec.structs.replace(line[-1], valid_until=rate.valid_from)
            line.append(rate)
        self._pairs = pairs

    def at(self, base: str, quote: str, now: datetime) -> Rate:
        """The rate of a pair at a moment, told so or the other way round. Raises RateTooOld."""
        found = self._told(base, quote, now)
        if found is None and (other := self._told(quote, base, now)) is not None:
            found = other.turned()
        if found is None:
            raise RateTooOld("Not for sale at present: the exchange rate is too old. Try again later.")
        return found

    def has(self, base: str, quote: str, now: datetime) -> bool:
        """Is there a rate of a pair at this moment?"""
        return self._told(base, quote, now) is not None or self._told(quote, base, now) is not None

    def _told(self, base: str, quote: str, now: datetime) -> Rate | None:
        line = self._pairs.get((base, quote), [])
        place = bisect_right(line, now, key=lambda rate: rate.valid_from)
        return line[place - 1] if place and now < line[place - 1].valid_until else None


# ------------------------------------------------------------------ telling rates


@dataclass(frozen=True, slots=True)
class Told:
    """A rate as it was told: by whom, when, and from which source."""

    rate: Rate
    who: str
    told_at: datetime


def rate(base: str, quote: str, text: str, *, valid_from: datetime, valid_until: datetime, source: str) -> Rate:
    """Reads one rate: rate("USD", "CNY", "7.1834", …): a dollar is 7.1834 yuan. Raises BadInput."""
    for currency in (base, quote):
        if currency not in EXPONENT:
            raise BadInput(f"{currency[:8]!r} is not a currency we know; use an ISO 4217 code such as USD.")
    if base == quote:
        raise BadInput("A rate is between two currencies.")
    match = _DECIMAL.fullmatch(text)
    if match is None or len((match[1] + (match[2] or "")).lstrip("0")) > _MOST_DIGITS:
        raise BadInput(
            f"{text[:20]!r} is not a rate; write plain digits such as 7.1834, at most {_MOST_DIGITS} of them."
        )
    decimals = match[2] or ""
    num, den = int(match[1] + decimals), 10 ** len(decimals)
    if not num:
        raise BadInput("A rate is above zero.")
    if valid_from.tzinfo is None or valid_until.tzinfo is None:
        raise BadInput("A rate's times name their zone, such as 2026-11-22T00:00:00+08:00.")
    if valid_until <= valid_from:
        raise BadInput("A rate is valid until after the moment from which it is valid.")
    if not 0 < len(source.strip()) <= 100 or not source.isprintable():
        raise BadInput("Say where the rate comes from, in 1 to 100 printable characters.")
    common = math.gcd(num, den)
    return Rate(base, quote, num // common, den // common, valid_from, valid_until, source.strip())


def moment(text: str) -> datetime:
    """Reads a time with its zone: "2026-11-22T00:00:00+08:00". Raises BadInput."""
    says = f"{text[:40]!r} is not a time with its zone; write it as 2026-11-22T00:00:00+08:00."
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(says) from None
    if read.tzinfo is None:
        raise BadInput(says)
    return read


def read_csv(lines: Iterable[str], now: datetime) -> list[Rate]:
    """Rates from a CSV file with a first line of COLUMNS; an empty valid_from is now. Raises BadInput with the line."""
    rows = csv.reader(lines, strict=True)
    found: list[Rate] = []
    try:
        head = next(rows, None)
        if head is None or tuple(name.strip().lstrip("\ufeff") for name in head) != COLUMNS:
            raise BadInput(f"The first line must name the columns: {','.join(COLUMNS)}.")
        for cells in rows:
            if not cells:
                continue
            if len(cells) != len(COLUMNS):
                raise BadInput(f"there are {len(cells)} columns instead of {len(COLUMNS)}.")
            if len(found) == ROWS_LIMIT:
                raise BadInput(f"a file holds at most {ROWS_LIMIT:,} rates.")
            base, quote, text, begins, ends, source = (cell.strip() for cell in cells)
            begin = moment(begins) if begins else now
            found.append(rate(base, quote, text, valid_from=begin, valid_until=moment(ends), source=source))
    except (BadInput, csv.Error) as wrong:
        raise BadInput(f"Line {max(rows.line_num, 1)}: {wrong} Nothing was taken.") from None
    return found


TELL = Statement("""
    -- Rates, once each: what was told stays as it was told
    INSERT INTO catalogue_rate (base, quote, valid_from, valid_until, num, den, source, who, told_at)
    SELECT base, quote, valid_from, valid_until, num, den, source, :who, :now
      FROM unnest(:bases::text[], :quotes::text[], :froms::timestamptz[], :untils::timestamptz[], :nums::bigint[],
                  :dens::bigint[], :sources::text[])
        AS t (base, quote, valid_from, valid_until, num, den, source)
        ON CONFLICT DO NOTHING
""")

LISTING = Statement("""
    -- What was told, the latest of each pair first
    SELECT base, quote, num, den, valid_from, valid_until, source, who, told_at FROM catalogue_rate
     ORDER BY base, quote, valid_from DESC LIMIT :most
""")

KNOWN = Statement("""
    -- What was told of some pairs
    SELECT base, quote, num, den, valid_from, valid_until, source FROM catalogue_rate
     WHERE base = ANY (:bases::text[]) AND quote = ANY (:quotes::text[])
""")

IN_FORCE = Statement("""
    -- The rates that were valid when one was told for the last time, or are to come; older ones price nothing any more
    SELECT base, quote, num, den, valid_from, valid_until, source FROM catalogue_rate
     WHERE valid_until > (SELECT coalesce(max(told_at), '-infinity') FROM catalogue_rate) - interval '1 day'
     ORDER BY base, quote, valid_from
""")


async def tell(tx: Tx, told: Sequence[Rate], who: str, now: datetime, *, anyway: bool = False) -> int:
    """Keeps rates and returns how many were new; the very same rate again is no news. All of them, or none.

    anyway: also one that moves more than JUMP per cent against the last of its pair. Raises BadInput, CannotHappen.
    """
    if not who.strip():
        raise BadInput("Say who tells the rate.")
    for one in told:
        if one.valid_until <= now:
            raise BadInput(f"The rate {one.base}/{one.quote} {one.text()} is over already.")
    pairs = {"bases": sorted({one.base for one in told}), "quotes": sorted({one.quote for one in told})}
    rows = [Rate(*row) for row in await tx.rows(KNOWN, **pairs)]
    known = {(one.base, one.quote, one.valid_from): one for one in rows}
    last: dict[tuple[str, str], Rate] = {}
    for one in sorted([*known.values(), *told], key=lambda one: one.valid_from):
        before = last.get((one.base, one.quote))
        if before is not None and one in told and not anyway:
            _no_jump(before, one)
        last[one.base, one.quote] = one
    new: dict[tuple[str, str, datetime], Rate] = {}
    for one in told:
        key = one.base, one.quote, one.valid_from
        stands = known.get(key) or new.setdefault(key, one)
        if stands != one:
            raise CannotHappen(
                f"{one.base}/{one.quote} was told otherwise for that moment; tell the new rate from now on."
            )
    await _write(tx, list(new.values()), who, now)
    return len(new)


async def _write(tx: Tx, rows: Sequence[Rate], who: str, now: datetime) -> None:
    written = await tx.run(
        TELL,
        who=who,
        now=now,
        bases=[row.base for row in rows],
        quotes=[row.quote for row in rows],
        froms=[row.valid_from for row in rows],
        untils=[row.valid_until for row in rows],
        nums=[row.num for row in rows],
        dens=[row.den for row in rows],
        sources=[row.source for row in rows],
    )
    if written != len(rows):
        raise CannotHappen(
            "Somebody told one of these rates at this very moment; look at the list, and tell them again."
        )


def _no_jump(before: Rate, after: Rate) -> None:
    """Raises CannotHappen."""
    old, new = before.num * after.den, after.num * before.den
    if abs(new - old) * 100 > JUMP * old:
        pair = f"{after.base}/{after.quote}"
        raise CannotHappen(
            f"{pair} would move from {before.text()} to {after.text()}, by more than {JUMP} %; say it is meant."
        )


async def listing(tx: Tx, most: int = 200) -> list[Told]:
    """What was told, by pair, the latest first."""
    return [Told(Rate(*row[:7]), row[7], row[8]) for row in await tx.rows(LISTING, most=most)]


async def load(tx: Tx) -> Rates:
    """The rates as they stand."""
    return Rates(Rate(*row) for row in await tx.rows(IN_FORCE))


# ------------------------------------------------------------------ rates that run out

WARN = timedelta(hours=2)


class Watch:
    """Tells staff which rates run out, and closes their cases when there is a new one; quiet as long as nothing changes."""

    def __init__(self) -> None:
        self._told: tuple[set[tuple[str, str]], set[tuple[str, str]]] | None = None

    async def look(self, db: Database, rates: Rates, needed: set[tuple[str, str]], now: datetime) -> None:
        """One look at the pairs that something on sale needs."""
        old = {pair for pair in needed if not (rates.has(*pair, now) and rates.has(*pair, now + WARN))}
        if self._told == (needed, old):
            return
        troubles = [
            Case(
                "rate_old", f"{base}/{quote}", f"No exchange rate {base}/{quote} is told for the next hours; tell one."
            )
            for base, quote in sorted(old)
        ]
        healed = [Case("rate_old", f"{base}/{quote}", "").id for base, quote in sorted(needed - old)]

        async def work(tx: Tx) -> None:
            await raise_cases(tx, troubles, now)
            await close(tx, healed, "a new rate was told", now)

        if needed:
            await db.transaction(work)
        self._told = needed, old
