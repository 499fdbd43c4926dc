"""The log of deliveries: what was told to an endpoint, what it answered, and telling it again."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from refill.db import Statement, Tx
from refill.errors import BadInput, NotFound
from refill.ids import cell_of_id
from refill.notify.outbox import event_id, read_event_id

PAGE = 50
MOST = 200
KEPT = timedelta(days=30)
REPLAYED_AT_ONCE = 10_000
STATES = ("waiting", "accepted", "given_up")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint."""

    subject: str
    n: int
    kind: str
    at: datetime
    state: str  # waiting | accepted | given_up
    tries: int
    status: int | None  # of the latest answer
    due: datetime | None
    done_at: datetime | None

    @property
    def id(self) -> str:
        return event_id(self.subject, self.n)


@dataclass(frozen=True, slots=True)
class Try:
    """One time that an endpoint was asked; `status` None: no answer."""

    n: int
    at: datetime
    status: int | None
    latency_ms: int
    says: str


_DELIVERY = "d.subject, d.n, k.kind, d.at, d.state, d.total, d.status, d.due, d.done_at"

LISTING = Statement(f"""
    -- Deliveries to an endpoint, the latest events first, from a place on
    SELECT {_DELIVERY}
      FROM notify_delivery d JOIN notify_event k ON k.cell = d.cell AND k.subject = d.subject AND k.n = d.n
     WHERE d.endpoint = :endpoint
       AND (d.at, d.subject, d.n) < (:at::timestamptz, :subject::text, :n::integer)
       AND (:state = '' OR d.state = :state)
     ORDER BY d.at DESC, d.subject DESC, d.n DESC
     LIMIT :most
""")

ONE = Statement(f"""
    -- One delivery
    SELECT {_DELIVERY}
      FROM notify_delivery d JOIN notify_event k ON k.cell = d.cell AND k.subject = d.subject AND k.n = d.n
     WHERE d.endpoint = :endpoint AND d.cell = :cell AND d.subject = :subject AND d.n = :n
""")

TRIES = Statement("""
    -- Every time that it was tried
    SELECT try, at, status, latency_ms, says FROM notify_try
     WHERE endpoint = :endpoint AND cell = :cell AND subject = :subject AND n = :n ORDER BY try
""")

REPLAY = Statement("""
    -- One event once more, with all its tries; one that waits is tried at once
    UPDATE notify_delivery
       SET state = 'waiting', since = :now, due = :now, tries = 0, done_at = NULL, fence = fence + 1
     WHERE endpoint = :endpoint AND cell = :cell AND subject = :subject AND n = :n
""")

REPLAY_SPAN = Statement("""
    -- What happened in a span of time once more, the earliest first; what waits already is left alone
    UPDATE notify_delivery d
       SET state = 'waiting', since = :now, due = :now, tries = 0, done_at = NULL, fence = d.fence + 1
      FROM (SELECT endpoint, cell, subject, n FROM notify_delivery
             WHERE endpoint = :endpoint AND at >= :since AND at < :until AND state <> 'waiting'
               AND (:state = '' OR state = :state)
             ORDER BY at, subject, n LIMIT :most) AS chosen
     WHERE d.endpoint = chosen.endpoint AND d.cell = chosen.cell AND d.subject = chosen.subject AND d.n = chosen.n
""")

FORGET = Statement("""
    -- Events that are older than we keep them, a few at a time, with what became of them
    WITH old AS MATERIALIZED (
      SELECT cell, subject, n, partner FROM notify_event WHERE at < :before ORDER BY at LIMIT :most
         FOR UPDATE SKIP LOCKED),
    sent AS MATERIALIZED (
      SELECT e.id AS endpoint, old.cell, old.subject, old.n
        FROM old JOIN notify_endpoint e ON e.partner_id = old.partner),
    tried AS (
      DELETE FROM notify_try t USING sent
       WHERE t.endpoint = sent.endpoint AND t.cell = sent.cell AND t.subject = sent.subject AND t.n = sent.n),
    told AS (
      DELETE FROM notify_delivery d USING sent
       WHERE d.endpoint = sent.endpoint AND d.cell = sent.cell AND d.subject = sent.subject AND d.n = sent.n)
    DELETE FROM notify_event k USING old WHERE k.cell = old.cell AND k.subject = old.subject AND k.n = old.n
""")

START = datetime(9999, 1, 1, tzinfo=UTC), "", 0  # before the latest of all


async def deliveries(
    tx: Tx, endpoint: str, *, state: str = "", after: str | None = None, most: int = PAGE
) -> tuple[list[Delivery], str | None]:
    """Deliveries to an endpoint, the latest events first, and where the next page begins. Raises BadInput, NotFound.

    after: the id of the last event of the page before.
    """
    if state and state not in STATES:
        raise BadInput(f"A delivery is one of: {', '.join(STATES)}.")
    if not 0 < most <= MOST:
        raise BadInput(f"A page has 1 to {MOST} deliveries.")
    at, subject, n = START
    if after is not None:
        last = await delivery(tx, endpoint, after)
        at, subject, n = last.at, last.subject, last.n
    rows = await tx.rows(LISTING, endpoint=endpoint, at=at, subject=subject, n=n, state=state, most=most + 1)
    found = [Delivery(*row) for row in rows[:most]]
    return found, found[-1].id if len(rows) > most else None


async def delivery(tx: Tx, endpoint: str, event: str) -> Delivery:
    """One delivery by its event's id. Raises NotFound."""
    subject, n = read_event_id(event)
    row = await tx.row(ONE, endpoint=endpoint, cell=cell_of_id(subject), subject=subject, n=n)
    if row is None:
        raise NotFound("That event was not for this endpoint, or it is older than we keep it.")
    return Delivery(*row)


async def tries(tx: Tx, endpoint: str, event: str) -> list[Try]:
    """Every time that an event was told to an endpoint. Raises NotFound."""
    subject, n = read_event_id(event)
    rows = await tx.rows(TRIES, endpoint=endpoint, cell=cell_of_id(subject), subject=subject, n=n)
    return [Try(*row) for row in rows]


async def replay(tx: Tx, endpoint: str, event: str, now: datetime) -> None:
    """Tells one event again. Raises NotFound."""
    subject, n = read_event_id(event)
    if not await tx.run(REPLAY, endpoint=endpoint, cell=cell_of_id(subject), subject=subject, n=n, now=now):
        raise NotFound("That event was not for this endpoint, or it is older than we keep it.")


async def replay_span(
    tx: Tx, endpoint: str, since: datetime, until: datetime, now: datetime, *, state: str = ""
) -> int:
    """Tells what happened in a span again, up to REPLAYED_AT_ONCE events, the earliest first; says how many.

    state: only those that were accepted, or given up. Raises BadInput.
    """
    if not since < until:
        raise BadInput("A span begins before it ends.")
    if state not in ("", "accepted", "given_up"):
        raise BadInput("Replay what was accepted, or what was given_up; leave it out for both.")
    span = {"since": since, "until": until}
    return await tx.run(REPLAY_SPAN, endpoint=endpoint, now=now, state=state, most=REPLAYED_AT_ONCE, **span)


async def forget(tx: Tx, now: datetime, most: int = 2_000) -> int:
    """Forgets events that are older than KEPT; says how many, at most `most` at a time."""
    return await tx.run(FORGET, before=now - KEPT, most=most)
