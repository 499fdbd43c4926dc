"""Vouchers, hot: SQL with the cell in every key; their batches, what people did to them, and who guesses."""

from django.db import migrations

VOUCHERS = """
CREATE TABLE vouchers_voucher (
    cell       smallint    NOT NULL CHECK (cell BETWEEN 0 AND 4095),  -- of the hash
    pin        uuid        NOT NULL,                    -- keyed hash of the PIN; the PIN is nowhere
    serial     text        COLLATE "C" NOT NULL,        -- batch code and number; what it was issued for
    kind       text        NOT NULL,                    -- scratch, or as it was issued: claim …
    minor      bigint      NOT NULL CHECK (minor > 0),
    currency   text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    state      text        NOT NULL CHECK (state IN ('stock', 'active', 'redeemed', 'expired', 'void')),
    expires_at timestamptz NOT NULL,
    spent_on   text        COLLATE "C",                 -- the order that it was used for
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (cell, pin),
    UNIQUE (serial, cell),
    CHECK ((state = 'redeemed') = (spent_on IS NOT NULL))
) WITH (fillfactor = 85);
CREATE INDEX vouchers_voucher_due ON vouchers_voucher (expires_at) WHERE state IN ('stock', 'active');
COMMENT ON TABLE vouchers_voucher IS 'Vouchers and claim codes: what each is worth, and whether it was used';

CREATE FUNCTION vouchers_given_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'voucher % is %: that is for ever', OLD.serial, OLD.state USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER given_once BEFORE UPDATE ON vouchers_voucher FOR EACH ROW
    WHEN (OLD.state IN ('redeemed', 'expired', 'void')) EXECUTE FUNCTION vouchers_given_once();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON vouchers_voucher
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

BATCHES = """
CREATE TABLE vouchers_batch (
    code       text        COLLATE "C" PRIMARY KEY,
    id         text        COLLATE "C" NOT NULL UNIQUE, -- names its entries in the book
    minor      bigint      NOT NULL CHECK (minor > 0),
    currency   text        NOT NULL,
    count      integer     NOT NULL CHECK (count > 0),
    expires_at timestamptz NOT NULL,
    made_by    text        NOT NULL,
    made_at    timestamptz NOT NULL,
    printed_at timestamptz                              -- NULL: the print file was not finished
);
COMMENT ON TABLE vouchers_batch IS 'Scratch cards that were made and printed together';

CREATE TABLE vouchers_step (
    batch    text        COLLATE "C" NOT NULL REFERENCES vouchers_batch,
    step     text        NOT NULL CHECK (step IN ('activated', 'void')),
    first    integer     NOT NULL,
    last     integer     NOT NULL,
    vouchers integer     NOT NULL,
    minor    bigint      NOT NULL,                      -- what was paid for them, or paid back
    who      text        NOT NULL,
    why      text        NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (batch, step, first, last)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON vouchers_step
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE vouchers_step IS 'Which range of a batch was sold or withdrawn, by whom, and why';
"""

GUESSERS = """
CREATE TABLE vouchers_guesser (
    cell  smallint    NOT NULL,
    name  uuid        NOT NULL,                         -- keyed hash of a session, an address or an account
    wrong smallint    NOT NULL DEFAULT 0,
    since timestamptz NOT NULL,                         -- the first wrong PIN of the window
    until timestamptz,                                  -- locked out until then
    PRIMARY KEY (cell, name)
) WITH (fillfactor = 70);
CREATE INDEX vouchers_guesser_since ON vouchers_guesser (since);
COMMENT ON TABLE vouchers_guesser IS 'Who typed wrong PINs lately; forgotten when it is over';
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("ledger", "0001_initial")]
    operations = [
        migrations.RunSQL(VOUCHERS, "DROP TABLE vouchers_voucher; DROP FUNCTION vouchers_given_once"),
        migrations.RunSQL(BATCHES, "DROP TABLE vouchers_step, vouchers_batch"),
        migrations.RunSQL(GUESSERS, "DROP TABLE vouchers_guesser"),
    ]
