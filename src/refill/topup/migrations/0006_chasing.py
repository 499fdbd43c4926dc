"""What is open at a supplier and what waits for its float, found at once; and reversals that an operator is asked for."""

from django.db import migrations

FOUND = """
CREATE INDEX topup_attempt_open_at ON topup_attempt (supplier) WHERE state IN ('prepared', 'unknown');
CREATE INDEX topup_attempt_theirs ON topup_attempt (their_id, supplier) WHERE their_id IS NOT NULL;
CREATE INDEX topup_order_parked ON topup_order (supplier, created_at) WHERE delivery = 'parked';
"""

REVERSALS = """
CREATE TABLE topup_reversal (
    cell           smallint    NOT NULL,                 -- of the order
    order_id       text        COLLATE "C" NOT NULL,
    n              smallint    NOT NULL,
    attempt        smallint    NOT NULL,                 -- what it undoes
    supplier       text        COLLATE "C" NOT NULL,
    request_id     text        COLLATE "C" NOT NULL,     -- order id, "v", n
    state          text        NOT NULL CHECK (state IN
                   ('proposed', 'declined', 'due', 'sent', 'done', 'refused', 'stuck')),
    why            text        NOT NULL CHECK (why <> ''),
    asked_by       text        NOT NULL CHECK (asked_by <> ''),
    asked_at       timestamptz NOT NULL,
    decided_by     text,
    decided_at     timestamptz,
    answer         text        NOT NULL DEFAULT '',      -- why it was declined, refused, or is stuck
    code           text        NOT NULL DEFAULT '',      -- the supplier's word
    their_id       text,                                 -- the supplier's reference of the reversal
    returned_minor bigint,                               -- what came back to our float, in the currency of its bill
    asks           smallint    NOT NULL DEFAULT 0,
    ask_at         timestamptz,
    ended_at       timestamptz,
    PRIMARY KEY (cell, order_id, n),
    CHECK ((state = 'proposed') = (decided_by IS NULL) AND (state = 'proposed') = (decided_at IS NULL)),
    CHECK ((state IN ('due', 'sent')) = (ask_at IS NOT NULL)),
    CHECK ((state IN ('proposed', 'due', 'sent')) = (ended_at IS NULL)),
    -- I12: two people; a partner asks for its own top-up, and the operator decides
    CHECK (state = 'declined' OR decided_by <> asked_by OR asked_by LIKE 'partner:%' OR asked_by LIKE 'operator:%')
);
-- One question at a time
CREATE UNIQUE INDEX topup_reversal_open ON topup_reversal (cell, order_id) WHERE state IN ('proposed', 'due', 'sent');
"""


class Migration(migrations.Migration):
    dependencies = [("topup", "0005_pulse")]
    operations = [
        migrations.RunSQL(FOUND, "DROP INDEX topup_attempt_open_at, topup_attempt_theirs, topup_order_parked"),
        migrations.RunSQL(REVERSALS, "DROP TABLE topup_reversal"),
    ]
