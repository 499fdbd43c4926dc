"""Subscribers of our own network: found by number, extended by top-ups, aged by time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec.structs import replace as _but

from refill import ledger
from refill.cards.states import (
    ACTIVE,
    EXPIRED,
    GRACE_LASTS,
    LONGEST_DAYS,
    QUARANTINE_LASTS,
    RECYCLED,
    STOCK,
    SUSPENDED,
    SUSPENSION_LASTS,
    Grant,
    life,
    reach,
    validity,
)
from refill.db import Asked, Row, Statement, Tx
from refill.errors import CannotHappen
from refill.ids import CELLS, cell_of


class Subscriber(msgspec.Struct, frozen=True):
    """A subscriber as last written down; `number` is the keyed index, None once the number has gone back to the pool."""

    id: str
    cell: int
    number: str | None
    state: str
    active_until: datetime | None
    currency: str
    network: str
    iccid: str


def balance_account(subscriber: Subscriber) -> str:
    """The ledger's name of a subscriber's main balance."""
    return f"balance:{subscriber.id}/{subscriber.currency}"


BY_NUMBERS = Statement("""
    -- The subscribers that some numbers reach
    SELECT s.id, s.cell, s.number, s.state, s.active_until, s.currency, s.network, s.iccid
      FROM unnest(:cells::smallint[], :numbers::text[]) AS asked (cell, number)
      JOIN cards_subscriber AS s USING (cell, number)
""")


async def by_numbers(tx: Tx, number_ids: Sequence[str]) -> dict[str, Subscriber]:
    """The subscriber of each number that is one of ours."""
    return reached(await reach_for(tx, number_ids)) if number_ids else {}


def reach_for(tx: Tx, number_ids: Sequence[str]) -> Asked:
    """Puts the question `by_numbers` in line; `reached` reads the answer."""
    asked = list(dict.fromkeys(number_ids))
    return tx.ask(BY_NUMBERS, cells=[cell_of(number) for number in asked], numbers=asked)


def reached(rows: Sequence[Row]) -> dict[str, Subscriber]:
    """The subscribers by their numbers."""
    return {row[2]: Subscriber(*row) for row in rows}


class Extension(msgspec.Struct, frozen=True):
    """Validity that a top-up gives. `number` is the one that was quoted: numbers are recycled, subscribers are not."""

    subscriber_id: str
    cell: int
    number: str
    days: int
    policy: str  # from_today | from_expiry | longer | never


EXTEND = Statement("""
    -- Extend validity and bring subscribers back to life, each one once, touched in the order in which they are named
    UPDATE cards_subscriber AS s
       SET active_until = CASE WHEN asked.at_least_days IS NULL THEN s.active_until ELSE least(
               greatest(:now::timestamptz + asked.at_least_days * interval '1 day',
                        s.active_until + asked.plus_days * interval '1 day'),
               :now::timestamptz + (:longest::int) * interval '1 day') END,
           activated_at = CASE WHEN asked.at_least_days IS NULL THEN s.activated_at
                               ELSE coalesce(s.activated_at, :now::timestamptz) END,
           state = CASE WHEN asked.at_least_days IS NULL THEN s.state ELSE 'active' END
      FROM unnest(:cells::smallint[], :ids::text[], :numbers::text[], :plus::int[], :at_least::int[])
           AS asked (cell, id, number, plus_days, at_least_days)
     WHERE s.cell = asked.cell AND s.id = asked.id AND s.number = asked.number
       AND s.state IN ('stock', 'active', 'grace', 'suspended')
    RETURNING s.id, s.active_until
""")


async def extend(tx: Tx, rows: Sequence[Extension], now: datetime) -> list[datetime | None]:
    """The end of validity after each row, as if they came one by one; None: refused.

    Refused are a subscriber that is expired or recycled, one that no longer has the quoted number, and one in stock
    as long as nothing gave it validity. The state written down decides, not the calendar: as long as the network still
    serves a subscriber, a top-up saves it.
    """
    rounds: list[dict[str, int]] = []  # the first row of every subscriber, then the second of those that have one, …
    seen: dict[str, int] = {}
    for n, row in enumerate(rows):
        nth = seen[row.subscriber_id] = seen.get(row.subscriber_id, -1) + 1
        if nth == len(rounds):
            rounds.append({})
        rounds[nth][row.subscriber_id] = n
    asked = [(places, _ask_extension(tx, [rows[n] for n in places.values()], now)) for places in rounds]
    ends: list[datetime | None] = [None] * len(rows)
    for places, extended in asked:
        for id_, active_until in await extended:
            ends[places[id_]] = active_until
    return ends


def _ask_extension(tx: Tx, rows: Sequence[Extension], now: datetime) -> Asked:
    """Rows of different subscribers, in the order in which everybody locks them."""
    ordered = sorted(rows, key=lambda row: (row.cell, row.subscriber_id))
    reaches = [reach(row.policy, row.days) for row in ordered]
    return tx.ask(
        EXTEND,
        cells=[row.cell for row in ordered],
        ids=[row.subscriber_id for row in ordered],
        numbers=[row.number for row in ordered],
        plus=[each.plus_days for each in reaches],
        at_least=[each.at_least_days for each in reaches],
        longest=LONGEST_DAYS,
        now=now,
    )


@dataclass(frozen=True, slots=True)
class Shortening:
    """That a subscriber's validity must be counted again from activation and the top-ups that still stand."""

    subscriber_id: str
    cell: int
    number: str
    standing: tuple[Grant, ...]


LOCK = Statement("""
    -- Subscribers that are still served, locked in the order in which everybody locks them
    SELECT s.id, s.cell, s.number, s.state, s.active_until, s.currency, s.network, s.iccid, s.first_until
      FROM unnest(:cells::smallint[], :ids::text[], :numbers::text[]) AS asked (cell, id, number)
      JOIN cards_subscriber AS s ON s.cell = asked.cell AND s.id = asked.id
     WHERE s.number = asked.number
       AND s.state IN ('stock', 'active', 'grace', 'suspended')
     ORDER BY s.cell, s.id
       FOR UPDATE OF s
""")

WRITE_LIFE = Statement("""
    -- Write down what became of subscribers whose rows we hold; who is in stock again was never activated
    UPDATE cards_subscriber AS s
       SET state = is_now.state,
           active_until = is_now.active_until,
           activated_at = CASE WHEN is_now.state <> 'stock' THEN s.activated_at END,
           number = CASE WHEN is_now.state <> 'recycled' THEN s.number END
      FROM unnest(:cells::smallint[], :ids::text[], :states::text[], :active_until::timestamptz[])
           AS is_now (cell, id, state, active_until)
     WHERE s.cell = is_now.cell AND s.id = is_now.id
""")


async def hold(tx: Tx, cell: int, subscriber_id: str, number: str) -> None:
    """Locks one subscriber until the transaction ends, if it is still served and has that number."""
    await tx.rows(LOCK, cells=[cell], ids=[subscriber_id], numbers=[number])


async def shorten(tx: Tx, rows: Sequence[Shortening], now: datetime) -> list[Subscriber | None]:
    """Takes validity back after a reversal; the subscriber as it is now, or None: refused, as in `extend`.

    A subscriber may stand in the batch once: a later row would count the same top-ups again.
    """
    if len({row.subscriber_id for row in rows}) < len(rows):
        raise CannotHappen("Reversals for one subscriber are taken one after the other.")
    locked = await tx.rows(
        LOCK,
        cells=[row.cell for row in rows],
        ids=[row.subscriber_id for row in rows],
        numbers=[row.number for row in rows],
    )
    standing = {row.subscriber_id: row.standing for row in rows}
    shortened: dict[str, Subscriber] = {}
    for *columns, first_until in locked:
        subscriber = Subscriber(*columns)
        until = validity(first_until, standing[subscriber.id])
        state = STOCK if until is None else life(ACTIVE, until, now)
        if state in (EXPIRED, RECYCLED):
            state = SUSPENDED  # the credit is not forfeited by a reversal; `age` takes its own time for that
        shortened[subscriber.id] = _but(subscriber, state=state, active_until=until)
    await _write_life(tx, list(shortened.values()))
    return [shortened.get(row.subscriber_id) for row in rows]


async def _write_life(tx: Tx, subscribers: Sequence[Subscriber]) -> None:
    if subscribers:
        await tx.run(
            WRITE_LIFE,
            cells=[subscriber.cell for subscriber in subscribers],
            ids=[subscriber.id for subscriber in subscribers],
            states=[subscriber.state for subscriber in subscribers],
            active_until=[subscriber.active_until for subscriber in subscribers],
        )


# No index tells who is due (see the table's migration); the caller walks the cells, some at a time.
DUE = Statement("""
    -- Subscribers in some cells whose next stage of life has come, as far as nobody else holds them
    SELECT id, cell, number, state, active_until, currency, network, iccid
      FROM cards_subscriber
     WHERE cell BETWEEN :first_cell::smallint AND :last_cell::smallint
       AND active_until <= CASE state
               WHEN 'active' THEN :now::timestamptz
               WHEN 'grace' THEN :grace_over::timestamptz
               WHEN 'suspended' THEN :suspension_over::timestamptz
               WHEN 'expired' THEN :quarantine_over::timestamptz
           END
     ORDER BY cell, id
     LIMIT :rows::int
       FOR UPDATE SKIP LOCKED
""")


@dataclass(frozen=True, slots=True)
class Change:
    """A subscriber that moved on in life: `was` and `became`. Of an expired one the caller books the rest as breakage."""

    was: Subscriber
    became: Subscriber


async def age(
    tx: Tx, now: datetime, limit: int = 1_000, *, first_cell: int = 0, last_cell: int = CELLS - 1
) -> list[Change]:
    """Moves up to `limit` subscribers of some cells to the state that the calendar gives them; fewer: all are done."""
    due = await tx.rows(
        DUE,
        now=now,
        grace_over=now - GRACE_LASTS,
        suspension_over=now - (GRACE_LASTS + SUSPENSION_LASTS),
        quarantine_over=now - (GRACE_LASTS + SUSPENSION_LASTS + QUARANTINE_LASTS),
        first_cell=first_cell,
        last_cell=last_cell,
        rows=limit,
    )
    changes = []
    for row in due:
        was = Subscriber(*row)
        state = life(was.state, was.active_until, now)
        # A number goes back to the pool only after its end was seen: the credit is booked at "expired", never skipped.
        if state == RECYCLED and was.state != EXPIRED:
            state = EXPIRED
        changes.append(Change(was, _but(was, state=state, number=None if state == RECYCLED else was.number)))
    await _write_life(tx, [change.became for change in changes])
    return changes


CREATE = Statement("""
    -- New subscribers; one whose id or number exists already is left out
    INSERT INTO cards_subscriber
           (cell, id, number, iccid, network, currency, state, active_until, first_until, activated_at, created_at)
    SELECT cell, id, number, iccid, network, currency, state, active_until, active_until,
           CASE WHEN state <> 'stock' THEN :now::timestamptz END, :now::timestamptz
      FROM unnest(:cells::smallint[], :ids::text[], :numbers::text[], :iccids::text[], :networks::text[],
                  :currencies::text[], :states::text[], :active_until::timestamptz[])
           AS new (cell, id, number, iccid, network, currency, state, active_until)
     ORDER BY cell, id
        ON CONFLICT DO NOTHING
    RETURNING id
""")


async def create(tx: Tx, subscribers: Sequence[Subscriber], now: datetime) -> set[str]:
    """Writes new subscribers and opens their main balances; returns the ids of those that are new.

    An id is made by `world.new_id("su", ids.cell_of(number))`. Who is missing in the answer met a number in use.
    """
    if not subscribers:
        return set()
    rows: list[Row] = await tx.rows(
        CREATE,
        cells=[subscriber.cell for subscriber in subscribers],
        ids=[subscriber.id for subscriber in subscribers],
        numbers=[subscriber.number for subscriber in subscribers],
        iccids=[subscriber.iccid for subscriber in subscribers],
        networks=[subscriber.network for subscriber in subscribers],
        currencies=[subscriber.currency for subscriber in subscribers],
        states=[subscriber.state for subscriber in subscribers],
        active_until=[subscriber.active_until for subscriber in subscribers],
        now=now,
    )
    created = {id_ for (id_,) in rows}
    accounts = [ledger.Account(balance_account(one), 0) for one in subscribers if one.id in created]
    if accounts:
        await ledger.open_accounts(tx, accounts, now)
    return created


SWITCH_ON = Statement("""
    -- Subscribers out of stock, each until its own moment; who is on already is left as it is
    WITH stock AS MATERIALIZED (
        SELECT s.cell, s.id, asked.active_until
          FROM unnest(:cells::smallint[], :ids::text[], :active_until::timestamptz[]) AS asked (cell, id, active_until)
          JOIN cards_subscriber AS s ON s.cell = asked.cell AND s.id = asked.id
         WHERE s.state = 'stock'
         ORDER BY s.cell, s.id
           FOR UPDATE OF s
    )
    UPDATE cards_subscriber AS s
       SET state = 'active', active_until = stock.active_until, first_until = stock.active_until,
           activated_at = :now::timestamptz
      FROM stock
     WHERE s.cell = stock.cell AND s.id = stock.id
    RETURNING s.id
""")


async def switch_on(tx: Tx, asked: Sequence[tuple[Subscriber, datetime]], now: datetime) -> list[Subscriber]:
    """Takes subscribers out of stock, each with the end of its validity; who is on already stays as it is."""
    rows = await tx.rows(
        SWITCH_ON,
        cells=[subscriber.cell for subscriber, _ in asked],
        ids=[subscriber.id for subscriber, _ in asked],
        active_until=[until for _, until in asked],
        now=now,
    )
    on = {id_ for (id_,) in rows}
    return [
        _but(subscriber, state=ACTIVE, active_until=until) if subscriber.id in on else subscriber
        for subscriber, until in asked
    ]


BY_ID = Statement("""
    -- One subscriber
    SELECT id, cell, number, state, active_until, currency, network, iccid
      FROM cards_subscriber WHERE cell = :cell::smallint AND id = :id::text
""")


async def by_id(tx: Tx, cell: int, subscriber_id: str) -> Subscriber | None:
    """One subscriber by its id."""
    row = await tx.row(BY_ID, cell=cell, id=subscriber_id)
    return Subscriber(*row) if row else None


__all__ = [
    "Change",
    "Extension",
    "Grant",
    "Shortening",
    "Subscriber",
    "age",
    "balance_account",
    "by_id",
    "by_numbers",
    "create",
    "extend",
    "hold",
    "reach_for",
    "reached",
    "shorten",
    "switch_on",
]
