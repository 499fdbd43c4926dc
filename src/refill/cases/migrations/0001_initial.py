"""What a person must settle."""

from django.db import migrations

CASES = """
CREATE TABLE cases_case (
    id          text        COLLATE "C" PRIMARY KEY,     -- kind:about, so that one trouble is one case
    kind        text        NOT NULL,
    about       text        COLLATE "C" NOT NULL,        -- the order, notice or account
    says        text        NOT NULL,                    -- one sentence, no numbers of people in it
    minor       bigint,
    currency    text,
    opened_at   timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,                    -- nothing waits for ever
    state       text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'assigned', 'resolved')),
    assigned_to text,
    resolved_by text,
    resolution  text        NOT NULL DEFAULT '',
    resolved_at timestamptz,
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK (state <> 'assigned' OR assigned_to IS NOT NULL)
);
CREATE INDEX cases_case_open ON cases_case (due_at) WHERE state <> 'resolved';
CREATE INDEX cases_case_about ON cases_case (about);
"""


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [migrations.RunSQL(CASES, "DROP TABLE cases_case")]
