"""What is to be told, written in the transaction in which it happened: nothing is lost, and nothing told that was not.

Each event of an object has the next number, under the lock that whoever changes the object holds; so its events can be
told in the order in which they happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from refill.db import Database, Statement, Tx
from refill.errors import NotFound
from refill.ids import cell_of_id

REFRESH = timedelta(seconds=5)  # how old the picture of who listens may be before it is taken anew
TRUSTED = timedelta(seconds=10)  # and before it is not believed any more
_ID = 27  # characters of an id of ours


@dataclass(frozen=True, slots=True)
class Told:
    """Something that a partner may want to hear. `facts` is JSON: what was true of the subject in that moment.

    subject: the id of the object that it happened to. endpoint: the only one that hears it, or None for all.
    """

    partner: str
    subject: str
    kind: str
    facts: str
    endpoint: str | None = None


def event_id(subject: str, n: int) -> str:
    """The name of the n-th event of an object; it never changes, so that whoever hears it twice knows."""
    return f"{subject}e{n}"


def read_event_id(text: str) -> tuple[str, int]:
    """(subject, n). Raises NotFound."""
    subject, letter, n = text[:_ID], text[_ID : _ID + 1], text[_ID + 1 :]
    if letter != "e" or not (n.isascii() and n.isdigit()) or len(n) > 9:
        raise NotFound("There is no event with that id.")
    cell_of_id(subject)
    return subject, int(n)


TELL = Statement("""
    -- What happened, for those who want to hear it: the next event of each object, and a delivery to each endpoint
    WITH told AS MATERIALIZED (
      SELECT t.*,
             (SELECT array_agg(e.id ORDER BY e.id) FROM notify_endpoint e
               WHERE e.partner_id = t.partner AND e.state <> 'deleted'
                 AND (e.events = '' OR t.kind = ANY (string_to_array(e.events, ' ')))
                 AND (t.endpoint IS NULL OR e.id = t.endpoint)) AS endpoints,
             1 + coalesce((SELECT max(k.n) FROM notify_event k WHERE k.cell = t.cell AND k.subject = t.subject), 0) AS n
        FROM unnest(:cells::smallint[], :subjects::text[], :partners::text[], :kinds::text[], :facts::text[],
                    :endpoints::text[])
          AS t (cell, subject, partner, kind, facts, endpoint)),
    kept AS (
      INSERT INTO notify_event (cell, subject, n, partner, kind, at, facts)
      SELECT cell, subject, n, partner, kind, :now, facts FROM told WHERE endpoints IS NOT NULL)
    INSERT INTO notify_delivery (endpoint, cell, subject, n, at, since, due)
    SELECT heard.id, told.cell, told.subject, told.n, :now, :now, :now
      FROM told CROSS JOIN LATERAL unnest(told.endpoints) AS heard (id)
     WHERE told.endpoints IS NOT NULL
""")


def tell(tx: Tx, told: Sequence[Told], now: datetime) -> None:
    """Puts the writing of events in line, one statement for any number of them; each subject at most once.

    Who calls holds the lock under which the subjects change, or has just made them.
    """
    if told:
        tx.ask(
            TELL,
            now=now,
            cells=[cell_of_id(one.subject) for one in told],
            subjects=[one.subject for one in told],
            partners=[one.partner for one in told],
            kinds=[one.kind for one in told],
            facts=[one.facts for one in told],
            endpoints=[one.endpoint for one in told],
        )


LISTENING = Statement("""
    -- The partners that have endpoints, disabled ones too: what happens meanwhile waits for them
    SELECT DISTINCT partner_id FROM notify_endpoint WHERE state <> 'deleted'
""")


class Listeners:
    """Which partners listen at all, as it was a few seconds ago: whoever has no endpoint costs the hot path nothing.

    As long as the picture was never taken, or when it is too old, everybody may be listening, and the database tells.
    """

    def __init__(self) -> None:
        self._partners: frozenset[str] = frozenset()
        self._taken: datetime | None = None

    def may_listen(self, partner: str, now: datetime) -> bool:
        """Perhaps this partner listens; False is certain."""
        return partner in self._partners or self._taken is None or now - self._taken > TRUSTED

    def nobody(self, now: datetime) -> bool:
        """Certainly nobody listens."""
        return not self._partners and self._taken is not None and now - self._taken <= TRUSTED

    async def refresh(self, db: Database, now: datetime) -> None:
        """Takes the picture anew. `now` is read before."""
        rows = await db.transaction(lambda tx: tx.rows(LISTENING))
        self._partners, self._taken = frozenset(partner for (partner,) in rows), now
