"""What we are told of whose a number is, kept: outcomes, people's overrides, and answers of look-ups for a while."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from refill.db import Row, Statement, Tx
from refill.errors import BadInput, CannotHappen, NotFound
from refill.ids import cell_of
from refill.numbers.belief import NOTHING, Answer, Belief, Known, Word, believe

KNOWN = Statement("""
    -- All that we have been told of whose some numbers are
    SELECT asked.number, kept.learned_operator, kept.learned_at, kept.first_seen, kept.disowned_operator,
           kept.disowned_at, decided.operator, decided.since, decided.until,
           told.operator, told.ported, told.asked_at, told.fresh_until
      FROM unnest(:cells::smallint[], :numbers::text[]) AS asked (cell, number)
      LEFT JOIN numbers_number AS kept ON kept.cell = asked.cell AND kept.number = asked.number
      LEFT JOIN numbers_override AS decided
             ON decided.cell = asked.cell AND decided.number = asked.number AND decided.ended_at IS NULL
      LEFT JOIN numbers_lookup AS told
             ON told.cell = asked.cell AND told.number = asked.number AND told.question = 'whose'
                AND told.answered = 'done'
""")


async def known(tx: Tx, number_ids: Sequence[str]) -> dict[str, Known]:
    """What is known of each number, by its index."""
    if not number_ids:
        return {}
    rows = await tx.rows(KNOWN, cells=[cell_of(number) for number in number_ids], numbers=list(number_ids))
    return {row[0]: _known(row) for row in rows}


def _known(row: Row) -> Known:
    _, learned, learned_at, first_seen, disowned, disowned_at, decided, since, until, *answer = row
    operator, ported, asked_at, fresh_until = answer
    return Known(
        Word(decided, since) if decided else None,
        until,
        # Before we wrote down when an outcome told us, all that is known is that it was after we met the number.
        Word(learned, learned_at or first_seen) if learned else None,
        Word(disowned, disowned_at) if disowned else None,
        Answer(operator, ported, asked_at, fresh_until) if asked_at else None,
    )


async def believed(tx: Tx, hints: Mapping[str, str | None], now: datetime) -> dict[str, Belief]:
    """Whose numbers are, that are not on our own network: index -> belief; `hints` are the prefixes' operators."""
    told = await known(tx, list(hints))
    return {number: believe(told.get(number, NOTHING), hint, now) for number, hint in hints.items()}


# ------------------------------------------------------------------ outcomes teach


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an outcome taught: `theirs`, the operator delivered; not `theirs`, it said "not our subscriber"."""

    number: str
    operator: str
    theirs: bool


LEARN = Statement("""
    -- Outcomes speak: a delivery tells whose a number is; "not our subscriber" takes that word back and stays as a doubt.
    -- A row that says the same as before is left alone for a month. Rows are locked in one order.
    WITH told AS (
      SELECT * FROM unnest(:cells::smallint[], :numbers::text[], :operators::text[], :theirs::boolean[])
                 AS told (cell, number, operator, theirs)
    ), held AS (
      SELECT kept.cell, kept.number FROM numbers_number AS kept JOIN told USING (cell, number)
       WHERE (told.theirs AND (kept.learned_operator IS DISTINCT FROM told.operator OR kept.learned_at IS NULL
                               OR kept.learned_at < :month::timestamptz))
          OR (NOT told.theirs)
       ORDER BY kept.cell, kept.number FOR UPDATE OF kept
    )
    UPDATE numbers_number AS kept
       SET learned_operator = CASE WHEN told.theirs THEN told.operator
                                   WHEN kept.learned_operator = told.operator THEN NULL
                                   ELSE kept.learned_operator END,
           learned_at = CASE WHEN told.theirs THEN :now::timestamptz
                             WHEN kept.learned_operator = told.operator THEN NULL
                             ELSE kept.learned_at END,
           disowned_operator = CASE WHEN NOT told.theirs THEN told.operator
                                    WHEN kept.disowned_operator = told.operator THEN NULL
                                    ELSE kept.disowned_operator END,
           disowned_at = CASE WHEN NOT told.theirs THEN :now::timestamptz
                              WHEN kept.disowned_operator = told.operator THEN NULL
                              ELSE kept.disowned_at END
      FROM told JOIN held USING (cell, number)
     WHERE kept.cell = told.cell AND kept.number = told.number
""")


async def learn(tx: Tx, lessons: Iterable[Lesson], now: datetime, month: datetime) -> None:
    """Keeps what outcomes taught, of numbers that we have met; the last word about a number counts.

    `month`: a delivery that confirms what was learnt after this moment is not written again.
    """
    last = {lesson.number: lesson for lesson in lessons}
    if last:
        await tx.run(
            LEARN,
            now=now,
            month=month,
            cells=[cell_of(number) for number in last],
            numbers=list(last),
            operators=[lesson.operator for lesson in last.values()],
            theirs=[lesson.theirs for lesson in last.values()],
        )


# ------------------------------------------------------------------ a person decides


@dataclass(frozen=True, slots=True)
class Override:
    """An operator as a person decided it."""

    n: int
    operator: str
    why: str
    who: str
    since: datetime
    until: datetime | None
    ended_at: datetime | None
    ended_by: str | None


OVERRIDES = Statement("""
    -- Everything that people decided of a number, the newest first
    SELECT n, operator, why, who, since, until, ended_at, ended_by FROM numbers_override
     WHERE cell = :cell::smallint AND number = :number::text ORDER BY n DESC
""")

END_OVERRIDE = Statement("""
    -- What a person decided of a number ends
    UPDATE numbers_override SET ended_at = :now::timestamptz, ended_by = :who::text
     WHERE cell = :cell::smallint AND number = :number::text AND ended_at IS NULL
""")

DECIDE = Statement("""
    -- A person decides whose a number is
    INSERT INTO numbers_override (cell, number, n, operator, why, who, since, until)
    SELECT :cell::smallint, :number::text, coalesce(max(n), 0) + 1, :operator::text, :why::text, :who::text,
           :now::timestamptz, :until::timestamptz
      FROM numbers_override WHERE cell = :cell::smallint AND number = :number::text
        ON CONFLICT DO NOTHING
""")


async def overrides(tx: Tx, number_id: str) -> list[Override]:
    """All that people decided of a number, the newest first."""
    return [Override(*row) for row in await tx.rows(OVERRIDES, cell=cell_of(number_id), number=number_id)]


async def decide(
    tx: Tx, number_id: str, operator: str, *, why: str, who: str, now: datetime, until: datetime | None = None
) -> None:
    """A person says whose a number is; what was decided before ends. Raises BadInput, and CannotHappen for two at once."""
    if not why.strip() or not who.strip():
        raise BadInput("Say who decides this, and why; others will read it.")
    if until is not None and until <= now:
        raise BadInput("The decision would be over already; name a day that is to come.")
    cell = cell_of(number_id)
    await tx.run(END_OVERRIDE, cell=cell, number=number_id, who=who, now=now)
    kept = await tx.run(
        DECIDE, cell=cell, number=number_id, operator=operator, why=why.strip()[:500], who=who, now=now, until=until
    )
    if not kept:
        raise CannotHappen("Somebody else decided the same number at this moment; look at it again.")


async def undecide(tx: Tx, number_id: str, *, who: str, now: datetime) -> None:
    """Ends what a person decided, so that the other sources speak again. Raises NotFound when nothing was decided."""
    if not await tx.run(END_OVERRIDE, cell=cell_of(number_id), number=number_id, who=who, now=now):
        raise NotFound("Nobody has decided whose this number is.")


# ------------------------------------------------------------------ answers of look-ups


@dataclass(frozen=True, slots=True)
class Looked:
    """One answer of a look-up as it is kept. `question`: whose or alive; `answered`: done, refused or unknown."""

    question: str
    lookup: str
    answered: str
    asked_at: datetime
    fresh_until: datetime
    network: str | None = None
    operator: str | None = None
    ported: bool | None = None
    state: str | None = None  # active, absent or dead; of the question alive


KEEP_ANSWER = Statement("""
    -- What a look-up answered replaces what it, or another, answered before; an unknown never replaces a fresh answer
    INSERT INTO numbers_lookup AS kept
           (cell, number, question, lookup, answered, network, operator, ported, state, asked_at, fresh_until)
    VALUES (:cell::smallint, :number::text, :question::text, :lookup::text, :answered::text, :network::text,
            :operator::text, :ported::boolean, :state::text, :asked::timestamptz, :fresh::timestamptz)
        ON CONFLICT (cell, number, question) DO UPDATE
       SET lookup = excluded.lookup, answered = excluded.answered, network = excluded.network,
           operator = excluded.operator, ported = excluded.ported, state = excluded.state,
           asked_at = excluded.asked_at, fresh_until = excluded.fresh_until
     WHERE excluded.answered = 'done' OR kept.answered <> 'done' OR kept.fresh_until <= excluded.asked_at
""")

ANSWERS = Statement("""
    -- What look-ups answered about a number and is still fresh
    SELECT question, lookup, answered, asked_at, fresh_until, network, operator, ported, state
      FROM numbers_lookup
     WHERE cell = :cell::smallint AND number = :number::text AND fresh_until > :now::timestamptz
""")

FORGET_STALE = Statement("""
    -- Look-ups that are no longer fresh tell nothing any more
    DELETE FROM numbers_lookup WHERE fresh_until <= :now::timestamptz
""")


async def keep_answer(tx: Tx, number_id: str, looked: Looked) -> None:
    """Keeps what a look-up said."""
    await tx.run(
        KEEP_ANSWER,
        cell=cell_of(number_id),
        number=number_id,
        question=looked.question,
        lookup=looked.lookup,
        answered=looked.answered,
        network=looked.network,
        operator=looked.operator,
        ported=looked.ported,
        state=looked.state,
        asked=looked.asked_at,
        fresh=looked.fresh_until,
    )


async def answers(tx: Tx, number_id: str, now: datetime) -> dict[str, Looked]:
    """The fresh answers about a number by their question."""
    rows = await tx.rows(ANSWERS, cell=cell_of(number_id), number=number_id, now=now)
    return {row[0]: Looked(*row) for row in rows}


async def forget_stale(tx: Tx, now: datetime) -> int:
    """Forgets answers whose time is over; returns how many."""
    return await tx.run(FORGET_STALE, now=now)
