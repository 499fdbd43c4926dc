"""Refunds that two people decide, refunds by claim code, and payments that a payer's bank disputes."""

from django.db import migrations

CLAIMS = """
ALTER TABLE topup_refund ADD COLUMN claim_until timestamptz;  -- set: done by a claim code, redeemable until then
"""

PROPOSALS = """
CREATE TABLE topup_proposal (
    cell       smallint    NOT NULL,                     -- of the order
    order_id   text        COLLATE "C" NOT NULL,
    n          smallint    NOT NULL,
    minor      bigint      NOT NULL CHECK (minor > 0),
    currency   text        NOT NULL,
    why        text        NOT NULL CHECK (why <> ''),
    asked_by   text        NOT NULL CHECK (asked_by <> ''),
    asked_at   timestamptz NOT NULL,
    state      text        NOT NULL CHECK (state IN ('open', 'confirmed', 'declined')),
    decided_by text,
    decided_at timestamptz,
    answer     text        NOT NULL DEFAULT '',
    PRIMARY KEY (cell, order_id, n),
    CHECK ((state = 'open') = (decided_by IS NULL) AND (state = 'open') = (decided_at IS NULL)),
    CHECK (state <> 'confirmed' OR decided_by <> asked_by)                -- I12: two people
);
-- One question at a time
CREATE UNIQUE INDEX topup_proposal_open ON topup_proposal (cell, order_id) WHERE state = 'open';
"""

DISPUTES = """
CREATE TABLE topup_dispute (
    cell          smallint    NOT NULL,                  -- of the order
    order_id      text        COLLATE "C" NOT NULL,
    n             smallint    NOT NULL,
    method        text        COLLATE "C" NOT NULL,
    merchant      text        COLLATE "C" NOT NULL,
    transaction   text        COLLATE "C" NOT NULL,      -- the gateway's number of the capture
    minor         bigint      NOT NULL CHECK (minor > 0),
    currency      text        NOT NULL,
    reason        text        NOT NULL,                  -- in the bank's words
    state         text        NOT NULL CHECK (state IN ('opened', 'won', 'lost')),
    opened_at     timestamptz NOT NULL,
    evidence_by   timestamptz,
    decided_at    timestamptz,
    counted_minor bigint      NOT NULL DEFAULT 0,        -- of a lost one: what counts as given back to the order's payer
    PRIMARY KEY (cell, order_id, n),
    UNIQUE (cell, order_id, method, merchant, transaction),
    CHECK ((state = 'opened') = (decided_at IS NULL)),
    CHECK (counted_minor BETWEEN 0 AND minor AND (counted_minor = 0 OR state = 'lost'))
);
-- A bank names a payment by the gateway's number alone
CREATE INDEX topup_capture_transaction ON topup_capture (transaction);
"""


class Migration(migrations.Migration):
    dependencies = [("topup", "0001_initial")]
    operations = [
        migrations.RunSQL(CLAIMS, "ALTER TABLE topup_refund DROP COLUMN claim_until"),
        migrations.RunSQL(PROPOSALS, "DROP TABLE topup_proposal"),
        migrations.RunSQL(DISPUTES, "DROP INDEX topup_capture_transaction; DROP TABLE topup_dispute"),
    ]
