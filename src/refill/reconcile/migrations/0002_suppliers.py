"""Suppliers' statements among the others, what their balances were when we asked, and money that was paid into floats."""

from django.db import migrations

KINDS = """
ALTER TABLE reconcile_line DROP CONSTRAINT reconcile_line_kind_check,
    ADD CONSTRAINT reconcile_line_kind_check CHECK (kind IN ('payment', 'refund', 'recharge', 'reversal'));
ALTER TABLE reconcile_item DROP CONSTRAINT reconcile_item_kind_check,
    ADD CONSTRAINT reconcile_item_kind_check CHECK (kind IN ('payment', 'refund', 'recharge', 'reversal'));
CREATE INDEX reconcile_line_request ON reconcile_line (method, request_id) WHERE kind IN ('recharge', 'reversal');
"""
NO_KINDS = """
DROP INDEX reconcile_line_request;
ALTER TABLE reconcile_line DROP CONSTRAINT reconcile_line_kind_check,
    ADD CONSTRAINT reconcile_line_kind_check CHECK (kind IN ('payment', 'refund'));
ALTER TABLE reconcile_item DROP CONSTRAINT reconcile_item_kind_check,
    ADD CONSTRAINT reconcile_item_kind_check CHECK (kind IN ('payment', 'refund'));
"""

READINGS = """
-- When each float is asked about next; whoever moves the time on asks
CREATE TABLE reconcile_watch (
    supplier text        COLLATE "C" NOT NULL,
    currency text        NOT NULL,
    ask_at   timestamptz NOT NULL,
    PRIMARY KEY (supplier, currency)
);
-- Every balance that a supplier told us, for ever, with what our book allowed at that moment
CREATE TABLE reconcile_reading (
    supplier    text        COLLATE "C" NOT NULL,
    currency    text        NOT NULL,
    at          timestamptz NOT NULL,
    minor       bigint      NOT NULL,                    -- their word; below zero: a credit limit of theirs is in use
    least_minor bigint      NOT NULL,                    -- our book, if everything that is open was taken
    most_minor  bigint      NOT NULL,                    -- our book, if nothing of it was
    off_since   timestamptz,                             -- since when their word has been outside of that
    PRIMARY KEY (supplier, currency, at),
    CHECK (least_minor <= most_minor AND off_since <= at),
    CHECK ((minor BETWEEN least_minor AND most_minor) = (off_since IS NULL))
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconcile_reading
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

FUNDINGS = """
CREATE TABLE reconcile_funding (
    id           text        COLLATE "C" PRIMARY KEY,
    supplier     text        COLLATE "C" NOT NULL,
    currency     text        NOT NULL,
    minor        bigint      NOT NULL CHECK (minor <> 0), -- below zero: the supplier paid it back
    bank         text        NOT NULL,
    entered_by   text        NOT NULL,
    entered_at   timestamptz NOT NULL,
    decided_by   text,
    decided_at   timestamptz,
    confirmed    boolean,                                -- then it stands in the book; false: it was a mistake
    CHECK ((decided_by IS NULL) = (decided_at IS NULL) AND (decided_by IS NULL) = (confirmed IS NULL)),
    CHECK (NOT confirmed OR decided_by <> entered_by OR entered_by = 'operator')  -- I12: two people, or who owns the machine
);
CREATE INDEX reconcile_funding_open ON reconcile_funding (supplier) WHERE decided_at IS NULL;
CREATE TRIGGER keep_decided BEFORE UPDATE OR DELETE ON reconcile_funding FOR EACH ROW
    WHEN (OLD.decided_at IS NOT NULL) EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("reconcile", "0001_initial"), ("ledger", "0005_floats"), ("topup", "0006_chasing")]
    operations = [
        migrations.RunSQL(KINDS, NO_KINDS),
        migrations.RunSQL(READINGS, "DROP TABLE reconcile_reading, reconcile_watch"),
        migrations.RunSQL(FUNDINGS, "DROP TABLE reconcile_funding"),
    ]
