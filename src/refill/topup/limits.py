"""Limits as data: how many top-ups, and how much, in an hour, day, week or month of the limit's own time zone.

A limit counts apart for each of what it is `per` (a number, a payer, …), and concerns the top-ups that its filters name.
One distributor's rule, 10 a day or 80 euros, 15 a week and 20 a month for a recipient, is three limits per number.
Orders that failed, were given up or refunded do not count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from refill.catalogue.rates import Rates
from refill.db import Statement, Tx
from refill.errors import BadInput, CannotHappen, NotFound, RefillError
from refill.ids import cell_of, cell_of_id
from refill.money import Money
from refill.numbers import lists
from refill.topup.order import Order
from refill.world import World

PERIODS = ("hour", "day", "week", "month")
KEPT = timedelta(days=70)  # longer than the longest period, and than nearly every order takes to be final
PER = ("number", "payer", "product", "operator", "channel")
_REASON_LIMIT = 300


class LimitReached(RefillError):
    """As many top-ups, or as much, as is allowed in this time; the sentence says when it is possible again."""

    code = "limit_reached"
    status = 422
    retryable = True


class Wish(NamedTuple):
    """What a limit looks at: one top-up that somebody wants to place."""

    id: str  # of the order that it will be
    number: str
    payer: str
    channel: str
    operator: str
    product: str
    supplier: str
    face: Money


def wish_of(order: Order) -> Wish:
    """The same of an order that is about to be written."""
    goods = (order.operator, order.product, order.supplier, order.face)
    return Wish(order.id, order.number, order.payer, order.channel, *goods)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many top-ups, or so much face value, in each period, counted apart by `per`; None concerns everybody."""

    id: str
    per: tuple[str, ...]
    operator: str | None
    product: str | None
    supplier: str | None
    channel: str | None
    payer: str | None
    period: str
    zone: str
    most_count: int | None
    most: Money | None
    reason: str
    made_by: str

    def concerns(self, wish: Wish) -> bool:
        """Does it count this top-up?"""
        return (
            self.operator in (None, wish.operator)
            and self.product in (None, wish.product)
            and self.supplier in (None, wish.supplier)
            and self.channel in (None, wish.channel)
            and self.payer in (None, wish.payer)
        )

    def subject(self, wish: Wish) -> str:
        """Whose count it is."""
        return " ".join(getattr(wish, what) for what in self.per)

    def since(self, now: datetime) -> datetime:
        """When the period began in which this moment lies."""
        return period_of(self.period, self.zone, now)[0]

    def minor(self, face: Money, rates: Rates, now: datetime) -> int:
        """What of a face value counts; one in another currency at the rate of now. Raises RateTooOld."""
        if self.most is None:
            return 0
        if self.most.currency == face.currency:
            return face.minor
        return rates.at(face.currency, self.most.currency, now).convert(face).minor


def period_of(period: str, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """The beginning of the period in which a moment lies, and of the next one; a day may have 23 or 25 hours."""
    local = now.astimezone(ZoneInfo(zone)).replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        begin = local.astimezone(UTC)
        return begin, begin + timedelta(hours=1)
    day = local.replace(hour=0, fold=0)
    if period == "day":
        first, after = day, day + timedelta(days=1)
    elif period == "week":
        first = day - timedelta(days=day.weekday())
        after = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        after = (first + timedelta(days=31)).replace(day=1)
    return first.astimezone(UTC), after.astimezone(UTC)  # arithmetic of local days, whatever the clock did


# ------------------------------------------------------------------ what is in force


class Guard:
    """The limits in force, in memory, and whether any number is listed: asked on every placement, read anew every 5 s."""

    def __init__(self) -> None:
        self.limits: tuple[Limit, ...] = ()
        self.listed = False

    @property
    def watches(self) -> bool:
        """Is there anything to look at?"""
        return self.listed or bool(self.limits)

    async def refresh(self, tx: Tx) -> None:
        """Reads what is in force now."""
        asked = tx.ask(IN_FORCE)
        self.listed = await lists.any_listed(tx)
        self.limits = tuple(map(_limit, await asked))


IN_FORCE = Statement("""
    -- The limits in force
    SELECT id, per, operator, product, supplier, channel, payer, period, zone, most_count, most_minor, currency, reason,
           made_by
      FROM topup_limit WHERE ended_at IS NULL ORDER BY id
""")


def _limit(row: Sequence[object]) -> Limit:
    id_, per, operator, product, supplier, channel, payer, period, zone, count, minor, currency, reason, who = row
    most = None if minor is None else Money(minor, currency)  # type: ignore[arg-type]
    whom = (operator, product, supplier, channel, payer)
    return Limit(id_, tuple(str(per).split()), *whom, period, zone, count, most, reason, who)  # type: ignore[arg-type]


# ------------------------------------------------------------------ counting

HOLD = Statement("""
    -- Takes hold of counts, in the order in which they are named, and says how they stand
    INSERT INTO topup_limit_count AS c (cell, limit_id, subject, since)
    SELECT * FROM unnest(:cells::smallint[], :limits::text[], :subjects::text[], :sinces::timestamptz[])
        ON CONFLICT (cell, limit_id, subject, since) DO UPDATE SET count = c.count
    RETURNING cell, limit_id, subject, since, count, minor
""")

ADD = Statement("""
    -- Counts more, or less, in the order in which the counts are named
    UPDATE topup_limit_count c SET count = c.count + more.count, minor = c.minor + more.minor
      FROM unnest(:cells::smallint[], :limits::text[], :subjects::text[], :sinces::timestamptz[], :counts::int[],
                  :minors::bigint[]) AS more (cell, limit_id, subject, since, count, minor)
     WHERE c.cell = more.cell AND c.limit_id = more.limit_id AND c.subject = more.subject AND c.since = more.since
""")

USE = Statement("""
    -- Which counts an order is in
    INSERT INTO topup_limit_use (cell, order_id, limit_id, count_cell, subject, since, minor, counts)
    SELECT *, true FROM unnest(:ordercells::smallint[], :orders::text[], :limits::text[], :cells::smallint[],
                               :subjects::text[], :sinces::timestamptz[], :minors::bigint[])
""")

TURN = Statement("""
    -- Orders that count no more, or count again: the counts that they were in
    UPDATE topup_limit_use u SET counts = asked.counts
      FROM unnest(:cells::smallint[], :ids::text[], :counts::boolean[]) AS asked (cell, id, counts)
     WHERE u.cell = asked.cell AND u.order_id = asked.id AND u.counts <> asked.counts
    RETURNING u.count_cell, u.limit_id, u.subject, u.since, CASE WHEN u.counts THEN 1 ELSE -1 END, u.minor
""")

Key = tuple[int, str, str, datetime]


class _Use(NamedTuple):
    """One wish in one count."""

    limit: Limit
    key: Key
    minor: int


class Counted(NamedTuple):
    """What limits said to a batch: whom they refuse, and whom they count."""

    refused: Mapping[str, RefillError]
    counted: frozenset[str]


async def count(tx: Tx, guard: Guard, rates: Rates, wishes: Sequence[Wish], now: datetime) -> Counted:
    """Counts what limits concern, as if one by one: who would exceed one is refused and counted in none.

    The counts are held until the transaction ends, so that two batches together never exceed a limit. What no limit
    concerns costs no statement.
    """
    since = {limit.id: limit.since(now) for limit in guard.limits}
    uses: dict[str, list[_Use]] = {}
    refused: dict[str, RefillError] = {}
    for wish in wishes:
        try:
            if found := [
                _use(limit, wish, since[limit.id], rates, now) for limit in guard.limits if limit.concerns(wish)
            ]:
                uses[wish.id] = found
        except RefillError as too_old:
            refused[wish.id] = too_old
    if not uses:
        return Counted(refused, frozenset())
    keys = sorted({use.key for found in uses.values() for use in found})
    rows = await tx.rows(HOLD, **_columns(keys))
    standing: dict[Key, tuple[int, int]] = {
        (cell, limit, subject, at): (n, minor) for cell, limit, subject, at, n, minor in rows
    }
    more = dict.fromkeys(keys, (0, 0))
    for id_, found in list(uses.items()):
        over = next((use for use in found if _exceeds(use, standing[use.key], more[use.key])), None)
        if over is not None:
            refused[id_] = _reached(over.limit, now)
            del uses[id_]
            continue
        for use in found:
            n, minor = more[use.key]
            more[use.key] = n + 1, minor + use.minor
    _keep(tx, uses, {key: change for key, change in more.items() if change[0]})
    return Counted(refused, frozenset(uses))


def _use(limit: Limit, wish: Wish, since: datetime, rates: Rates, now: datetime) -> _Use:
    subject = limit.subject(wish)
    return _Use(limit, (cell_of(subject), limit.id, subject, since), limit.minor(wish.face, rates, now))


def _exceeds(use: _Use, stands: tuple[int, int], more: tuple[int, int]) -> bool:
    n, minor = stands[0] + more[0] + 1, stands[1] + more[1] + use.minor
    limit = use.limit
    return (limit.most_count is not None and n > limit.most_count) or (
        limit.most is not None and minor > limit.most.minor
    )


def _reached(limit: Limit, now: datetime) -> LimitReached:
    """Which limit it was stays with us; when it begins anew is what the person can use."""
    again = period_of(limit.period, limit.zone, now)[1].astimezone(ZoneInfo(limit.zone))
    return LimitReached(
        f"As much as is allowed was topped up in this {limit.period}; it is possible again from"
        f" {again:%Y-%m-%d %H:%M} ({limit.zone})."
    )


def _columns(keys: Sequence[Key]) -> dict[str, list[object]]:
    return {
        "cells": [cell for cell, *_ in keys],
        "limits": [limit for _, limit, *_ in keys],
        "subjects": [subject for *_, subject, _ in keys],
        "sinces": [since for *_, since in keys],
    }


def _keep(tx: Tx, uses: Mapping[str, Sequence[_Use]], more: Mapping[Key, tuple[int, int]]) -> None:
    """Puts the new counts in line, and which order is in which of them."""
    if not uses:
        return
    changes = list(more.values())
    tx.ask(ADD, **_columns(list(more)), counts=[n for n, _ in changes], minors=[minor for _, minor in changes])
    rows = [(id_, use) for id_, found in uses.items() for use in found]
    tx.ask(
        USE,
        ordercells=[cell_of_id(id_) for id_, _ in rows],
        orders=[id_ for id_, _ in rows],
        minors=[use.minor for _, use in rows],
        **_columns([use.key for _, use in rows]),
    )


def counts(order: Order) -> bool:
    """Does this order count? Not when it failed, was given up, taken back, or wholly refunded."""
    return order.payment != "refunded" and order.status not in ("failed", "cancelled", "reversed")


async def recount(tx: Tx, moves: Iterable[tuple[Order, Order]]) -> None:
    """Takes orders that failed out of their counts, and puts those that succeeded late back in: (before, after) of each.

    Counts are locked here: after the orders, before subscribers and accounts.
    """
    turned = [after for before, after in moves if after.limited and counts(before) != counts(after)]
    if not turned:
        return
    change: dict[Key, tuple[int, int]] = {}
    for cell, limit, subject, since, sign, minor in await tx.rows(
        TURN,
        cells=[order.cell for order in turned],
        ids=[order.id for order in turned],
        counts=[counts(order) for order in turned],
    ):
        n, sum_ = change.get((cell, limit, subject, since), (0, 0))
        change[cell, limit, subject, since] = n + sign, sum_ + sign * minor
    keys = sorted(change)
    if keys:
        columns = _columns(keys)
        await tx.run(ADD, **columns, counts=[change[key][0] for key in keys], minors=[change[key][1] for key in keys])


FORGET_USES = Statement("""
    -- Which orders were in counts of periods long over
    DELETE FROM topup_limit_use WHERE since < :before
""")

FORGET_COUNTS = Statement("""
    -- Counts of periods long over
    DELETE FROM topup_limit_count WHERE since < :before
""")


async def forget(tx: Tx, now: datetime) -> None:
    """Deletes what was counted in periods that ended long ago; an order that fails later leaves nothing behind there."""
    await tx.run(FORGET_USES, before=now - KEPT)
    await tx.run(FORGET_COUNTS, before=now - KEPT)


# ------------------------------------------------------------------ setting limits

MAKE = Statement("""
    -- A new limit, as staff set it
    INSERT INTO topup_limit (id, per, operator, product, supplier, channel, payer, period, zone, most_count, most_minor,
                             currency, reason, made_by, made_at)
    VALUES (:id, :per, :operator, :product, :supplier, :channel, :payer, :period, :zone, :count, :minor, :currency,
            :reason, :who, :now)
""")

END = Statement("UPDATE topup_limit SET ended_by = :who, ended_at = :now WHERE id = :id AND ended_at IS NULL")

FULLEST = Statement("""
    -- How far each limit is used up now, at its fullest count
    SELECT limit_id, max(count), max(minor) FROM topup_limit_count
     WHERE (limit_id, since) IN (SELECT * FROM unnest(:limits::text[], :sinces::timestamptz[])) GROUP BY limit_id
""")


async def make(
    tx: Tx,
    world: World,
    *,
    per: str,
    period: str,
    zone: str,
    most_count: int | None = None,
    most: Money | None = None,
    reason: str,
    who: str,
    **whom: str | None,
) -> Limit:
    """A new limit, counted from now on; `whom` are operator, product, supplier, channel and payer. Raises BadInput."""
    what = tuple(dict.fromkeys(per.split()))
    if any(one not in PER for one in what):
        raise BadInput(f"A limit is per {', '.join(PER[:-1])} or {PER[-1]}, or several of them.")
    if period not in PERIODS:
        raise BadInput("A limit is for an hour, a day, a week or a month.")
    if most_count is None and most is None:
        raise BadInput("A limit says how many, or how much.")
    if (most_count is not None and not 0 <= most_count < 2**31) or (most is not None and most.minor < 0):
        raise BadInput("A limit is zero or above.")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(f"{zone[:40]!r} is no time zone; write one such as Asia/Shanghai.") from None
    reason, who = reason.strip(), who.strip()
    if not 0 < len(reason) <= _REASON_LIMIT or not who:
        raise BadInput("Say why there is this limit, in a sentence; others will read it.")
    named = {name: whom.get(name) or None for name in ("operator", "product", "supplier", "channel", "payer")}
    limit = Limit(
        id=world.new_id("li", 0), per=what, period=period, zone=zone, most_count=most_count, most=most, reason=reason,
        made_by=who, **named,
    )  # fmt: skip
    await tx.run(
        MAKE,
        id=limit.id,
        per=" ".join(what),
        period=period,
        zone=zone,
        count=most_count,
        minor=most.minor if most else None,
        currency=most.currency if most else None,
        reason=reason,
        who=who,
        now=world.db_now(),
        **named,
    )
    return limit


async def end(tx: Tx, limit_id: str, who: str, now: datetime) -> None:
    """Ends a limit; it stays readable. Raises NotFound, CannotHappen."""
    if not who.strip():
        raise CannotHappen("Say who ends it.")
    if not await tx.run(END, id=limit_id, who=who, now=now):
        raise NotFound("There is no limit of that name in force.")


async def in_force(tx: Tx, now: datetime) -> list[tuple[Limit, int, int]]:
    """The limits, each with the count and amount of its fullest subject in the present period."""
    limits = [_limit(row) for row in await tx.rows(IN_FORCE)]
    sinces = [limit.since(now) for limit in limits]
    used = {row[0]: row[1:] for row in await tx.rows(FULLEST, limits=[limit.id for limit in limits], sinces=sinces)}
    return [(limit, *used.get(limit.id, (0, 0))) for limit in limits]


# ------------------------------------------------------------------ telling them


def told(limit: Limit) -> str:
    """A limit in a line: "10 top-ups and 80.00 EUR a day (Asia/Shanghai) per number, for supplier dtone"."""
    most = [f"{limit.most_count} top-ups"] if limit.most_count is not None else []
    most += [str(limit.most)] if limit.most is not None else []
    per = f" per {' and '.join(limit.per)}" if limit.per else " together"
    names = ("operator", "product", "supplier", "channel", "payer")
    whom = ", ".join(f"{name} {getattr(limit, name)}" for name in names if getattr(limit, name))
    return f"{' and '.join(most)} {_EACH[limit.period]} ({limit.zone}){per}{f', for {whom}' if whom else ''}"


def fullest(limit: Limit, count: int, minor: int) -> str:
    """How full its fullest count is: "7 top-ups, 45.00 EUR"."""
    return f"{count} top-ups" + (f", {Money(minor, limit.most.currency)}" if limit.most is not None else "")


_EACH = {"hour": "an hour", "day": "a day", "week": "a week", "month": "a month"}
