"""The courier: takes events that are due, each endpoint's for itself and each object's in order, tells them, saves answers.

An endpoint that fails is asked less and less at a time, so that it costs little and delays nobody else; its events keep
their own timetable (`webhook.WAITS_S`).
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from refill import cases
from refill.cases import Case
from refill.db import Database, Row, Statement, Tx
from refill.notify.endpoints import addresses
from refill.notify.outbox import event_id
from refill.notify.sender import Letter, Receipt, Sender
from refill.notify.webhook import LASTS, Webhook, wait_after
from refill.outcome import Done, Refused
from refill.vault import Vault
from refill.world import World

BATCH = 512
SEND_WITHIN = timedelta(seconds=10)  # from the commit of a lease to the first byte
AT_ONCE = 32  # requests to one endpoint from one process, as long as nothing is known of it
MOST_AT_ONCE = 256  # when all is well with it

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Note:
    """One event, as it was written down."""

    cell: int
    subject: str
    n: int
    kind: str
    at: datetime
    facts: str


# What an event says of its object: JSON for each note, looked up together. It may be asked again for another try.
Render = Callable[[Tx, Sequence[Note]], Awaitable[list[bytes]]]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One event on its way to one endpoint, under one lease."""

    endpoint: str
    note: Note
    tries: int  # this one included
    total: int
    since: datetime
    fence: int
    send_before: datetime
    letter: Letter


TAKE = Statement("""
    -- Events that are due, each to one courier, of no endpoint more than it can take, and none whose object's former
    -- event still waits; the new due time is the lease
    WITH rang AS (
      SELECT d.endpoint, d.cell, d.subject, d.n
        FROM notify_endpoint e
       CROSS JOIN LATERAL (
        SELECT w.endpoint, w.cell, w.subject, w.n
          FROM notify_delivery w
         WHERE w.endpoint = e.id AND w.state = 'waiting' AND w.due <= :now
           AND NOT EXISTS (SELECT 1 FROM notify_delivery b
                            WHERE b.endpoint = w.endpoint AND b.cell = w.cell AND b.subject = w.subject AND b.n < w.n
                              AND b.state = 'waiting')
         ORDER BY w.due
         LIMIT coalesce((:rooms::jsonb ->> e.id)::integer, :atonce::integer)
           FOR UPDATE SKIP LOCKED) AS d
       WHERE e.state = 'active'
       LIMIT :most::integer),
    taken AS (
      UPDATE notify_delivery w SET due = :lease, fence = w.fence + 1, tries = w.tries + 1, total = w.total + 1
        FROM rang
       WHERE w.endpoint = rang.endpoint AND w.cell = rang.cell AND w.subject = rang.subject AND w.n = rang.n
      RETURNING w.endpoint, w.cell, w.subject, w.n, w.tries, w.total, w.since, w.fence)
    SELECT taken.*, k.kind, k.at, k.facts
      FROM taken JOIN notify_event k ON k.cell = taken.cell AND k.subject = taken.subject AND k.n = taken.n
""")

SETTLE = Statement("""
    -- What became of tries; who was overtaken changes nothing, but the log has every try. The object's later events wait
    -- at least as long as the one before them: until then they need not be looked at
    WITH asked AS MATERIALIZED (
      SELECT * FROM unnest(:endpoints::text[], :cells::smallint[], :subjects::text[], :ns::integer[], :fences::integer[],
                           :states::text[], :dues::timestamptz[], :tries::integer[], :statuses::smallint[],
                           :latencies::integer[], :says::text[])
        AS t (endpoint, cell, subject, n, fence, state, due, try, status, latency_ms, says)),
    settled AS (
      UPDATE notify_delivery w
         SET state = asked.state, due = asked.due, status = asked.status,
             done_at = CASE WHEN asked.state <> 'waiting' THEN :now::timestamptz END
        FROM asked
       WHERE w.endpoint = asked.endpoint AND w.cell = asked.cell AND w.subject = asked.subject AND w.n = asked.n
         AND w.fence = asked.fence AND w.state = 'waiting'),
    behind AS (
      UPDATE notify_delivery w SET due = asked.due
        FROM asked
       WHERE w.endpoint = asked.endpoint AND w.cell = asked.cell AND w.subject = asked.subject AND w.n > asked.n
         AND w.state = 'waiting' AND asked.state = 'waiting' AND w.due < asked.due)
    INSERT INTO notify_try (endpoint, cell, subject, n, try, at, status, latency_ms, says)
    SELECT endpoint, cell, subject, n, try, :now, status, latency_ms, says FROM asked
        ON CONFLICT DO NOTHING
""")

ACCEPTING = Statement("""
    -- Endpoints that accepted something are not failing any more
    UPDATE notify_endpoint SET failing_since = NULL WHERE id = ANY (:ids::text[]) AND failing_since IS NOT NULL
""")

FAILING = Statement("""
    -- Endpoints that accepted nothing: since when
    UPDATE notify_endpoint SET failing_since = :now WHERE id = ANY (:ids::text[]) AND failing_since IS NULL
""")

DISABLE = Statement("""
    -- Endpoints that want to hear nothing more, and those that have failed for too long
    UPDATE notify_endpoint e
       SET state = 'disabled', why = CASE WHEN e.id = ANY (:gone::text[]) THEN 'gone' ELSE 'failing' END, changed_at = :now
     WHERE e.id = ANY (:ids::text[]) AND e.state = 'active'
       AND (e.id = ANY (:gone::text[]) OR e.failing_since <= :longago)
    RETURNING e.id, e.partner_id, e.why
""")


def body_of(note: Note, data: bytes) -> bytes:
    """What is posted: the event's type, its time, its number among its object's events, and the object as it was."""
    return msgspec.json.encode(
        {"type": note.kind, "timestamp": note.at, "sequence": note.n, "data": msgspec.Raw(data)},
    )


class Courier:
    """Delivers to all endpoints; any number of couriers may work beside each other.

    `in_flight` bounds the requests that are held at once: a slow endpoint holds memory, never a connection to the
    database.
    """

    def __init__(
        self,
        world: World,
        db: Database,
        vault: Vault,
        render: Render,
        *,
        sender: Sender | None = None,
        batch: int = BATCH,
        in_flight: int = 5000,
    ) -> None:
        self._world, self._db, self._vault, self._render = world, db, vault, render
        self._sender = sender or Webhook()
        self._lease = SEND_WITHIN + timedelta(seconds=self._sender.HARD_END_S + 15)
        self._batch, self._most = batch, in_flight
        self._flying: Counter[str] = Counter()  # by endpoint
        self._allowed: dict[str, int] = {}  # how many at once, learnt
        self._answers: list[tuple[Parcel, Receipt]] = []
        self._settling = False

    async def tick(self) -> int:
        """One round: how many events were taken. Their requests go on beside the caller."""
        room = min(self._batch, self._most - self._flying.total())
        if room <= 0:
            return 0
        busy = {*self._flying, *self._allowed}
        rooms = {id_: max(0, self._allowed.get(id_, AT_ONCE) - self._flying[id_]) for id_ in busy}
        parcels = await self._db.transaction(lambda tx: self._take(tx, room, rooms))
        for parcel in parcels:
            self._flying[parcel.endpoint] += 1
            self._world.start(self._deliver(parcel))
        return len(parcels)

    async def _take(self, tx: Tx, most: int, rooms: dict[str, int]) -> list[Parcel]:
        now = self._world.db_now()
        rows = await tx.rows(
            TAKE,
            now=now,
            lease=now + self._lease,
            rooms=json.dumps(rooms),
            atonce=AT_ONCE,
            most=most,
        )
        if not rows:
            return []
        notes = [_note(row) for row in rows]
        told = await self._told(tx, notes)
        places = await addresses(tx, self._vault, sorted({row[0] for row in rows}), now)
        parcels = []
        for row, note in zip(rows, notes, strict=True):
            url, secrets = places[row[0]]
            letter = Letter(event_id(note.subject, note.n), url, told[note.subject, note.n], secrets)
            parcels.append(Parcel(row[0], note, row[4], row[5], row[6], row[7], now + SEND_WITHIN, letter))
        return parcels

    async def _told(self, tx: Tx, notes: Sequence[Note]) -> dict[tuple[str, int], bytes]:
        """What to say of each event; those of one event for many endpoints are the same."""
        unique = list({(note.subject, note.n): note for note in notes}.values())
        data = await self._render(tx, unique)
        return {(note.subject, note.n): body_of(note, of) for note, of in zip(unique, data, strict=True)}

    async def _deliver(self, parcel: Parcel) -> None:
        """Who slept since the lease was written sends nothing: another may have told this, and what came after it."""
        try:
            if self._world.db_now() > parcel.send_before:
                return
            receipt = await self._sender.send(self._world, parcel.letter)
            self._learn(parcel.endpoint, well=isinstance(receipt.outcome, Done))
        finally:
            self._flying[parcel.endpoint] -= 1
            if self._flying[parcel.endpoint] <= 0:
                del self._flying[parcel.endpoint]
        await self._settle(parcel, receipt)

    def _learn(self, endpoint: str, *, well: bool) -> None:
        """Half as many at once after each failure, one more after each success."""
        now = self._allowed.get(endpoint, AT_ONCE)
        self._allowed[endpoint] = min(MOST_AT_ONCE, now + 1) if well else max(1, now // 2)

    async def _settle(self, parcel: Parcel, receipt: Receipt) -> None:
        """Whoever finds nobody settling settles all that has come in; so answers are saved in batches by themselves."""
        self._answers.append((parcel, receipt))
        if self._settling:
            return
        self._settling = True
        try:
            while self._answers:
                batch, self._answers = self._answers[: self._batch], self._answers[self._batch :]
                await settle(self._world, self._db, batch)
        finally:
            self._settling = False


def _note(row: Row) -> Note:
    _, cell, subject, n, *_, kind, at, facts = row
    return Note(cell, subject, n, kind, at, facts)


async def settle(world: World, db: Database, answers: Sequence[tuple[Parcel, Receipt]]) -> None:
    """Saves what became of tries, and of the endpoints they went to."""
    jitter = [world.chance(10) / 1023 for _ in answers]  # drawn outside: the work may run again
    # One try of one lease has one answer, in the order in which all couriers write.
    ordered = sorted(
        zip(answers, jitter, strict=True),
        key=lambda one: (one[0][0].endpoint, one[0][0].note.subject, one[0][0].note.n),
    )

    async def work(tx: Tx) -> list[Row]:
        now = world.db_now()
        fates = [_fate(parcel, receipt, now, extra) for (parcel, receipt), extra in ordered]
        parcels = [parcel for (parcel, _), _ in ordered]
        receipts = [receipt for (_, receipt), _ in ordered]
        await tx.run(
            SETTLE,
            now=now,
            endpoints=[parcel.endpoint for parcel in parcels],
            cells=[parcel.note.cell for parcel in parcels],
            subjects=[parcel.note.subject for parcel in parcels],
            ns=[parcel.note.n for parcel in parcels],
            fences=[parcel.fence for parcel in parcels],
            states=[state for state, _ in fates],
            dues=[due for _, due in fates],
            tries=[parcel.total for parcel in parcels],
            statuses=[receipt.status for receipt in receipts],
            latencies=[receipt.latency_ms for receipt in receipts],
            says=[receipt.says for receipt in receipts],
        )
        return await _judge(tx, parcels, receipts, now)

    for endpoint, partner, why in await db.transaction(work):
        log.warning("an endpoint is disabled", endpoint=endpoint, partner=partner, why=why)


def _fate(parcel: Parcel, receipt: Receipt, now: datetime, jitter: float) -> tuple[str, datetime | None]:
    """What becomes of an event after a try: its state, and when it is tried next."""
    if isinstance(receipt.outcome, Done):
        return "accepted", None
    wait = wait_after(parcel.tries, jitter)
    # An event that could not be tried as often as it might, because its endpoint failed all others too, ends as late.
    if wait is None or now - parcel.since >= LASTS:
        return "given_up", None
    return "waiting", now + max(wait, timedelta(seconds=receipt.wait_s))


async def _judge(tx: Tx, parcels: Sequence[Parcel], receipts: Sequence[Receipt], now: datetime) -> list[Row]:
    """Which endpoints fail, and for how long; one that has failed for three days, or says 410, is disabled."""
    well = {p.endpoint for p, r in zip(parcels, receipts, strict=True) if isinstance(r.outcome, Done)}
    ill = {p.endpoint for p in parcels} - well
    gone = {p.endpoint for p, r in zip(parcels, receipts, strict=True) if isinstance(r.outcome, Refused)}
    if well:
        tx.ask(ACCEPTING, ids=sorted(well))
    if not ill | gone:
        return []
    tx.ask(FAILING, ids=sorted(ill), now=now)
    disabled = await tx.rows(DISABLE, ids=sorted(ill | gone), gone=sorted(gone), longago=now - LASTS, now=now)
    says = "A partner's endpoint has accepted nothing for three days and is disabled; tell the partner."
    troubles = [Case("webhook_failing", endpoint, says) for endpoint, _, why in disabled if why == "failing"]
    await cases.raise_cases(tx, troubles, now)
    return disabled
