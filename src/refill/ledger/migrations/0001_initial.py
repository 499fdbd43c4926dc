"""Accounts, and transfers that are only ever added."""

from django.db import migrations

ACCOUNTS = """
CREATE TABLE ledger_account (
    cell      smallint    NOT NULL,
    name      text        COLLATE "C" NOT NULL,          -- role:owner/CUR
    currency  text        NOT NULL,
    balance   bigint      NOT NULL DEFAULT 0,            -- credit minus debit, minor units
    floor     bigint,                                    -- how low it may go; NULL: our own money elsewhere
    opened_at timestamptz NOT NULL,
    PRIMARY KEY (cell, name),
    CHECK (right(name, 4) = '/' || currency)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);  -- room for updates in place
"""

# A floor that was raised above a balance refuses further debits only, so the check sits in a trigger on decreases.
FLOOR = """
CREATE FUNCTION ledger_keep_floor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'account % would fall to % below its floor %', NEW.name, NEW.balance, NEW.floor
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER ledger_keep_floor BEFORE UPDATE ON ledger_account FOR EACH ROW
    WHEN (NEW.balance < OLD.balance AND NEW.balance < NEW.floor) EXECUTE FUNCTION ledger_keep_floor();
"""

TRANSFERS = """
CREATE TABLE ledger_transfer (
    cell   smallint    NOT NULL,
    id     text        COLLATE "C" NOT NULL,             -- order.step.leg: deterministic, so it is posted once
    debit  text        COLLATE "C" NOT NULL,
    credit text        COLLATE "C" NOT NULL,
    minor  bigint      NOT NULL,
    at     timestamptz NOT NULL,
    PRIMARY KEY (cell, id),
    CHECK (minor > 0 AND debit <> credit AND right(debit, 3) = right(credit, 3))
);
"""

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: add a correcting row', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transfer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.RunSQL(ACCOUNTS, "DROP TABLE ledger_account"),
        migrations.RunSQL(FLOOR, "DROP FUNCTION ledger_keep_floor CASCADE"),
        migrations.RunSQL(TRANSFERS, "DROP TABLE ledger_transfer"),
        migrations.RunSQL(APPEND_ONLY, "DROP FUNCTION refuse_change CASCADE"),
    ]
