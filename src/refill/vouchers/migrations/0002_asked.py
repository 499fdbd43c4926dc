"""Ranges that one person asks to sell or to withdraw, and another confirms or declines."""

from django.db import migrations

ASKED = """
CREATE TABLE vouchers_asked (
    batch      text        COLLATE "C" NOT NULL REFERENCES vouchers_batch,
    n          integer     NOT NULL,
    step       text        NOT NULL CHECK (step IN ('activated', 'void')),
    first      integer     NOT NULL,
    last       integer     NOT NULL,
    purse      text        NOT NULL,                    -- where the money lies, or goes back to
    minor      bigint      CHECK (minor >= 0),          -- what was paid for them, or is paid back; NULL: their face value
    why        text        NOT NULL,
    asked_by   text        NOT NULL,
    asked_at   timestamptz NOT NULL,
    state      text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'confirmed', 'declined')),
    decided_by text,
    decided_at timestamptz,
    PRIMARY KEY (batch, n),
    CHECK ((state = 'open') = (decided_by IS NULL) AND (state = 'open') = (decided_at IS NULL)),
    CHECK (state <> 'confirmed' OR decided_by <> asked_by)
);
CREATE INDEX vouchers_asked_open ON vouchers_asked (asked_at) WHERE state = 'open';
CREATE TRIGGER decided_once BEFORE UPDATE ON vouchers_asked FOR EACH ROW
    WHEN (OLD.state <> 'open') EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON vouchers_asked
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE vouchers_asked IS 'Which range somebody wants sold or withdrawn, and who agreed';
"""


class Migration(migrations.Migration):
    dependencies = [("vouchers", "0001_initial")]
    operations = [migrations.RunSQL(ASKED, "DROP TABLE vouchers_asked")]
