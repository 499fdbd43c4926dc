"""Files of top-ups, in parts of a thousand rows; each part is a piece of due work with its result beside it."""

from django.db import migrations

JOBS = """
CREATE TABLE uploads_job (
    id         text        COLLATE "C" PRIMARY KEY,
    owner      text        COLLATE "C" NOT NULL,         -- partner:<id>
    name       uuid        NOT NULL,                     -- keyed hash of the client's key, or of the file itself
    content    uuid        NOT NULL,                     -- keyed hash of the file
    rows       integer     NOT NULL CHECK (rows > 0),
    parts      integer     NOT NULL CHECK (parts > 0),
    created_at timestamptz NOT NULL,
    UNIQUE (owner, name)
);
CREATE INDEX uploads_job_created ON uploads_job (created_at);
"""

PARTS = """
CREATE TABLE uploads_part (
    job      text        COLLATE "C" NOT NULL REFERENCES uploads_job (id) ON DELETE CASCADE,
    n        integer     NOT NULL,
    rows     integer     NOT NULL CHECK (rows > 0),
    body     bytea       NOT NULL,                       -- the rows as they were read, sealed: they name numbers
    result   bytea,                                      -- what became of each of them
    accepted integer     NOT NULL DEFAULT 0,
    refused  integer     NOT NULL DEFAULT 0,
    due      timestamptz,                                -- when it is worked on, or somebody else may take it over
    done_at  timestamptz,
    PRIMARY KEY (job, n),
    CHECK ((result IS NULL) = (due IS NOT NULL) AND (result IS NULL) = (done_at IS NULL)),
    CHECK (result IS NULL OR accepted + refused = rows)
) WITH (fillfactor = 70);
CREATE INDEX uploads_part_due ON uploads_part (due, job, n) WHERE due IS NOT NULL;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.RunSQL(JOBS, "DROP TABLE uploads_job"),
        migrations.RunSQL(PARTS, "DROP TABLE uploads_part"),
    ]
