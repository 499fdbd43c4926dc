"""Operators' PINs that we bought to sell: batches, the PINs themselves, who got which, who read it, and what people want."""

from django.db import migrations

BATCHES = """
CREATE TABLE stock_batch (
    code       text        COLLATE "C" PRIMARY KEY,
    id         text        COLLATE "C" NOT NULL UNIQUE, -- names its entry in the book
    file       uuid        NOT NULL,                    -- keyed hash of what was imported
    operator   text        COLLATE "C" NOT NULL,
    product    text        COLLATE "C" NOT NULL,
    minor      bigint      NOT NULL CHECK (minor > 0),  -- face value of each
    currency   text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    cost_minor bigint      NOT NULL CHECK (cost_minor >= 0),
    count      integer     NOT NULL CHECK (count >= 0),
    purse      text        NOT NULL,                    -- whose money bought them
    why        text        NOT NULL,
    asked_by   text        NOT NULL,
    asked_at   timestamptz NOT NULL,
    state      text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'confirmed', 'declined')),
    decided_by text,
    decided_at timestamptz,
    CHECK ((state = 'open') = (decided_by IS NULL) AND (state = 'open') = (decided_at IS NULL)),
    CHECK (state <> 'confirmed' OR decided_by <> asked_by)
);
CREATE UNIQUE INDEX stock_batch_file ON stock_batch (file) WHERE state <> 'declined';
CREATE INDEX stock_batch_latest ON stock_batch (asked_at);
CREATE TRIGGER decided_once BEFORE UPDATE ON stock_batch FOR EACH ROW
    WHEN (OLD.state <> 'open') EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON stock_batch FOR EACH ROW
    WHEN (OLD.count > 0) EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE stock_batch IS 'PINs that were bought and imported together, by one person, and confirmed by another';
"""

PINS = """
CREATE TABLE stock_pin (
    cell       smallint    NOT NULL CHECK (cell BETWEEN 0 AND 4095),  -- of the hash
    pin        uuid        NOT NULL,                    -- keyed hash of operator and PIN
    sealed     bytea       NOT NULL,                    -- the PIN, encrypted
    serial     text        COLLATE "C" NOT NULL,
    operator   text        COLLATE "C" NOT NULL,
    product    text        COLLATE "C" NOT NULL,
    minor      bigint      NOT NULL CHECK (minor > 0),
    currency   text        NOT NULL,
    cost_minor bigint      NOT NULL CHECK (cost_minor >= 0),
    batch      text        COLLATE "C" NOT NULL REFERENCES stock_batch,
    until      timestamptz NOT NULL,                    -- from then on it is given to nobody
    state      text        NOT NULL CHECK (state IN ('waiting', 'stock', 'given', 'faulty', 'expired')),
    given_to   text        COLLATE "C",                 -- the request that it was given to
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (cell, pin),
    UNIQUE (operator, serial),
    CHECK ((state IN ('given', 'faulty')) = (given_to IS NOT NULL))
) WITH (fillfactor = 85);
CREATE INDEX stock_pin_next ON stock_pin (product, minor, currency, until, serial) WHERE state = 'stock';
CREATE INDEX stock_pin_due ON stock_pin (until) WHERE state = 'stock';
CREATE INDEX stock_pin_batch ON stock_pin (batch);
COMMENT ON TABLE stock_pin IS 'PINs of operators, each sealed, and what became of it';

CREATE FUNCTION stock_given_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'PIN % is %: that is for ever', OLD.serial, OLD.state USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER given_once BEFORE UPDATE ON stock_pin FOR EACH ROW
    WHEN (OLD.state IN ('faulty', 'expired')
       OR OLD.state = 'given' AND (NEW.state <> 'faulty' OR NEW.given_to <> OLD.given_to))
    EXECUTE FUNCTION stock_given_once();
CREATE TRIGGER kept BEFORE DELETE ON stock_pin FOR EACH ROW
    WHEN (OLD.state <> 'waiting') EXECUTE FUNCTION stock_given_once();
CREATE TRIGGER emptied BEFORE TRUNCATE ON stock_pin FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

GIVEN = """
CREATE TABLE stock_given (
    cell       smallint    NOT NULL,                    -- of the order
    request_id text        COLLATE "C" NOT NULL,        -- the attempt, or the exchange: it gets one PIN for ever
    pin_cell   smallint    NOT NULL,
    pin        uuid        NOT NULL UNIQUE,             -- and no other request gets this one
    at         timestamptz NOT NULL,
    PRIMARY KEY (cell, request_id),
    FOREIGN KEY (pin_cell, pin) REFERENCES stock_pin
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_given
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE stock_given IS 'Which request got which PIN';

CREATE TABLE stock_reading (
    cell       smallint    NOT NULL,
    request_id text        COLLATE "C" NOT NULL,
    reader     text        COLLATE "C" NOT NULL,        -- payer, partner, or a person of ours
    at         timestamptz NOT NULL,                    -- the first time
    PRIMARY KEY (cell, request_id, reader)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_reading
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE stock_reading IS 'Who saw which PIN, and when for the first time';
"""

WISHES = """
CREATE TABLE stock_wish (
    cell       smallint    NOT NULL,
    order_id   text        COLLATE "C" NOT NULL,
    n          integer     NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('replace', 'reveal')),
    request_id text        COLLATE "C" NOT NULL,        -- whose PIN it is about
    why        text        NOT NULL,
    asked_by   text        NOT NULL,
    asked_at   timestamptz NOT NULL,
    state      text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'confirmed', 'declined', 'read')),
    decided_by text,
    decided_at timestamptz,
    PRIMARY KEY (cell, order_id, n),
    CHECK ((state = 'open') = (decided_by IS NULL) AND (state = 'open') = (decided_at IS NULL)),
    CHECK (state NOT IN ('confirmed', 'read') OR decided_by <> asked_by),
    CHECK (state <> 'read' OR kind = 'reveal')
);
CREATE UNIQUE INDEX stock_wish_one ON stock_wish (cell, order_id, kind) WHERE state = 'open';
CREATE INDEX stock_wish_open ON stock_wish (asked_at) WHERE state = 'open';
CREATE TRIGGER decided_once BEFORE UPDATE ON stock_wish FOR EACH ROW
    WHEN (OLD.state IN ('declined', 'read') OR OLD.state = 'confirmed' AND NEW.state <> 'read')
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON stock_wish FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE stock_wish IS 'PINs that somebody wants replaced or shown, and who agreed';

CREATE TABLE stock_level (
    product text        COLLATE "C" PRIMARY KEY,
    least   integer     NOT NULL CHECK (least > 0),     -- below this many, somebody is told
    set_by  text        NOT NULL,
    set_at  timestamptz NOT NULL
);
COMMENT ON TABLE stock_level IS 'How many PINs of a product there should be at least';
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("ledger", "0001_initial")]
    operations = [
        migrations.RunSQL(BATCHES, "DROP TABLE stock_batch"),
        migrations.RunSQL(PINS, "DROP TABLE stock_pin; DROP FUNCTION stock_given_once"),
        migrations.RunSQL(GIVEN, "DROP TABLE stock_reading, stock_given"),
        migrations.RunSQL(WISHES, "DROP TABLE stock_level, stock_wish"),
    ]
