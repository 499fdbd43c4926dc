"""Files as they are kept: taken whole in one transaction, handed out part by part, each with its result."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

import msgspec

from refill.db import Statement, Tx
from refill.errors import NotFound, OtherContent, RefillError
from refill.ids import cell_of
from refill.topup import Ask
from refill.vault import Vault
from refill.world import World

PART_ROWS = 1_000
KEPT = timedelta(days=30)
KIND = "upload"
WAITING_LIMIT = 500_000  # rows of one owner
_TOGETHER = 5  # parts written by one statement: a few milliseconds of work between two turns of the loop


class NotReady(RefillError):
    """The result is not complete yet; the progress tells how far it is."""

    code = "not_ready"
    status = 409
    retryable = True


class TooManyRows(RefillError):
    """As many rows of files wait already as one owner may have waiting."""

    code = "too_many_rows"
    status = 429
    retryable = True
    headers: ClassVar[dict[str, str]] = {"Retry-After": "30"}


class RefusedRow(msgspec.Struct):
    """A row that became no top-up; `status` is what it would have been answered alone."""

    line: int
    status: int
    code: str
    detail: str
    reference: str = ""


class Part(msgspec.Struct):
    """Rows of a file: those that can be asked for, with their lines, and those that cannot be read."""

    lines: list[int]
    asks: list[Ask]
    refused: list[RefusedRow]

    def rows(self) -> int:
        """How many rows of the file these are."""
        return len(self.asks) + len(self.refused)


class Done(msgspec.Struct):
    """A row that became a top-up."""

    line: int
    order_id: str
    replayed: bool


class Result(msgspec.Struct):
    """What became of the rows of a part that could be asked for."""

    done: list[Done]
    refused: list[RefusedRow]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file is: rows of parts that are done are accepted or refused, the rest waits."""

    id: str
    rows: int
    parts: int
    parts_done: int
    accepted: int
    refused: int
    created_at: datetime
    done_at: datetime | None
    replayed: bool = False

    @property
    def status(self) -> str:
        """queued, running or done."""
        if self.parts_done == self.parts:
            return "done"
        return "running" if self.parts_done else "queued"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A part in the hands of one worker until its lease ends."""

    job: str
    n: int
    part: Part


TAKE = Statement("""
    -- A file, once for each name that its owner gives it
    INSERT INTO uploads_job (id, owner, name, content, rows, parts, created_at)
    VALUES (:id, :owner, :name, :content, :rows, :parts, :now) ON CONFLICT (owner, name) DO NOTHING
""")

TAKEN = Statement("""
    -- The file that has this name
    SELECT id, content::text FROM uploads_job WHERE owner = :owner AND name = :name
""")

WAITING = Statement("""
    -- How many rows of an owner's files are not worked off yet
    SELECT coalesce(sum(p.rows), 0)::int FROM uploads_job j JOIN uploads_part p ON p.job = j.id
     WHERE j.owner = :owner AND p.due IS NOT NULL
""")

PARTS = Statement("""
    -- Parts of a file, to be worked on at once
    INSERT INTO uploads_part (job, n, rows, body, due)
    SELECT :job, n, rows, body, :now FROM unnest(:ns::int[], :rows::int[], :bodies::bytea[]) AS t (n, rows, body)
""")

CLAIM = Statement("""
    -- A part whose time has come, to one worker; the new due time is the lease: behind it another may take over
    WITH rang AS (
      SELECT job, n FROM uploads_part WHERE due <= :now ORDER BY due, job, n LIMIT 1 FOR UPDATE SKIP LOCKED)
    UPDATE uploads_part p SET due = :lease FROM rang WHERE p.job = rang.job AND p.n = rang.n
    RETURNING p.job, p.n, p.body
""")

LATER = Statement("""
    -- A part that could not be worked on: soon again
    UPDATE uploads_part SET due = :due WHERE job = :job AND n = :n AND due IS NOT NULL
""")

FINISH = Statement("""
    -- What became of a part; whoever was first has said it
    UPDATE uploads_part
       SET result = :result, accepted = :accepted, refused = :refused, due = NULL, done_at = :now
     WHERE job = :job AND n = :n AND result IS NULL
""")

PROGRESS = Statement("""
    -- How far a file is
    SELECT j.id, j.rows, j.parts, count(p.result), sum(p.accepted)::int, sum(p.refused)::int, j.created_at,
           CASE WHEN count(p.result) = j.parts THEN max(p.done_at) END
      FROM uploads_job j JOIN uploads_part p ON p.job = j.id
     WHERE j.id = :id AND j.owner = :owner
     GROUP BY j.id
""")

PART = Statement("""
    -- One part with its result
    SELECT body, result FROM uploads_part WHERE job = :job AND n = :n
""")

FORGET = Statement("""
    -- Files whose every row has been told for long
    DELETE FROM uploads_job j
     WHERE j.created_at < :before
       AND NOT EXISTS (SELECT FROM uploads_part p WHERE p.job = j.id AND p.result IS NULL)
""")

_encode = msgspec.msgpack.Encoder().encode
_part = msgspec.msgpack.Decoder(Part).decode
_result = msgspec.msgpack.Decoder(Result).decode


async def take(
    tx: Tx, world: World, vault: Vault, id_: str, owner: str, key: str | None, content: str, parts: Sequence[Part]
) -> Progress:
    """Keeps a file; a repeat under its name answers the first one. Without a `key` the file itself is its name.

    `id_` is made by the caller (`new_upload_id`), `content` is a hash of the file. Raises OtherContent, TooManyRows.
    """
    now = world.db_now()
    name = vault.digest("upload key", f"{owner}\0{'key ' + key if key is not None else 'file ' + content}".encode())
    mark = vault.digest("upload content", content.encode())
    rows = sum(part.rows() for part in parts)
    new = await tx.run(TAKE, id=id_, owner=owner, name=name, content=mark, rows=rows, parts=len(parts), now=now)
    if not new:
        row = await tx.row(TAKEN, owner=owner, name=name)
        assert row is not None
        if row[1].replace("-", "") != mark:
            raise OtherContent("This key was used before for another file.")
        # The id is ours when a commit was in doubt and we run again.
        return replace(await progress(tx, owner, row[0]), replayed=row[0] != id_)
    if await tx.value(WAITING, owner=owner) + rows > WAITING_LIMIT:
        raise TooManyRows(
            f"{WAITING_LIMIT:,} rows of yours may wait at once; send this file when some of them are done."
        )
    for start in range(0, len(parts), _TOGETHER):
        some = list(enumerate(parts[start : start + _TOGETHER], start))
        await tx.run(
            PARTS,
            job=id_,
            now=now,
            ns=[n for n, _ in some],
            rows=[part.rows() for _, part in some],
            bodies=[vault.seal(KIND, f"{id_}.{n}", zlib.compress(_encode(part), 1)) for n, part in some],
        )
    return await progress(tx, owner, id_)


async def progress(tx: Tx, owner: str, id_: str) -> Progress:
    """How far a file is. Raises NotFound, also for somebody else's."""
    row = await tx.row(PROGRESS, id=id_, owner=owner)
    if row is None:
        raise NotFound("There is no file with that id.")
    return Progress(*row)


async def part(tx: Tx, vault: Vault, id_: str, n: int) -> tuple[Part, Result]:
    """A part of a file that is done."""
    row = await tx.row(PART, job=id_, n=n)
    assert row is not None and row[1] is not None
    return _read(vault, id_, n, row[0]), _result(row[1])


async def claim(tx: Tx, vault: Vault, now: datetime, lease: datetime) -> Claimed | None:
    """A part to work on; nobody else gets it before `lease`. None: there is nothing to do."""
    row = await tx.row(CLAIM, now=now, lease=lease)
    if row is None:
        return None
    job, n, body = row
    return Claimed(job, n, _read(vault, job, n, body))


def _read(vault: Vault, job: str, n: int, body: bytes) -> Part:
    return _part(zlib.decompress(vault.unseal(KIND, f"{job}.{n}", body)))


async def later(tx: Tx, claimed: Claimed, due: datetime) -> None:
    """Gives a part back, to be worked on at `due`."""
    await tx.run(LATER, job=claimed.job, n=claimed.n, due=due)


async def finish(tx: Tx, claimed: Claimed, result: Result, now: datetime) -> None:
    """Keeps what became of a part. The first word stands: another worker may have finished it before us."""
    refused = len(result.refused) + len(claimed.part.refused)
    await tx.run(
        FINISH,
        job=claimed.job,
        n=claimed.n,
        result=_encode(result),
        accepted=len(result.done),
        refused=refused,
        now=now,
    )


async def forget(tx: Tx, now: datetime) -> int:
    """Forgets files that are done and older than KEPT; the top-ups stay. Returns how many."""
    return await tx.run(FORGET, before=now - KEPT)


def new_upload_id(world: World, owner: str) -> str:
    """An id for a new file."""
    return world.new_id("up", cell_of(owner))
