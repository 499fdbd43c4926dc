"""Business days of payment methods: the firms' statements, what differs from our book, and the money that they settle."""

from django.db import migrations

DAYS = """
CREATE TABLE reconcile_day (
    method    text        COLLATE "C" NOT NULL,
    day       date        NOT NULL,
    state     text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    digest    text        COLLATE "C",                   -- of the statement that stands
    closed_by text,
    closed_at timestamptz,
    PRIMARY KEY (method, day),
    CHECK ((state = 'closed') = (closed_at IS NOT NULL) AND (state = 'open' OR digest IS NOT NULL))
);
CREATE FUNCTION reconcile_keep_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is closed: a later finding belongs to a later day', OLD.day, OLD.method
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER keep_closed BEFORE UPDATE OR DELETE ON reconcile_day FOR EACH ROW
    WHEN (OLD.state = 'closed') EXECUTE FUNCTION reconcile_keep_closed();
"""

STATEMENTS = """
-- Every statement that was taken, for ever, with the answer that it was given
CREATE TABLE reconcile_statement (
    method      text        COLLATE "C" NOT NULL,
    digest      text        COLLATE "C" NOT NULL,        -- SHA-256 of the file
    day         date        NOT NULL,
    taken_at    timestamptz NOT NULL,
    lines       integer     NOT NULL,
    matched     integer     NOT NULL,
    ours_only   integer     NOT NULL,
    theirs_only integer     NOT NULL,
    differs     integer     NOT NULL,
    duplicate   integer     NOT NULL,
    carried     integer     NOT NULL,                    -- of ours_only: what belongs to a later statement
    PRIMARY KEY (method, digest)
);
CREATE INDEX reconcile_statement_day ON reconcile_statement (method, day);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconcile_statement
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

SUMS = """
-- What the standing statement of a day adds up to
CREATE TABLE reconcile_sum (
    method         text   COLLATE "C" NOT NULL,
    day            date   NOT NULL,
    currency       text   NOT NULL,
    payments_minor bigint NOT NULL,
    refunds_minor  bigint NOT NULL,
    fees_minor     bigint NOT NULL,                      -- below zero where the firm gave back more than it kept
    PRIMARY KEY (method, day, currency)
);
"""

LINES = """
CREATE TABLE reconcile_line (
    method      text        COLLATE "C" NOT NULL,
    day         date        NOT NULL,
    n           integer     NOT NULL,                    -- its place in the file
    kind        text        NOT NULL CHECK (kind IN ('payment', 'refund')),
    cell        smallint,                                -- of our order, if the reference is one of ours
    reference   text        COLLATE "C" NOT NULL,
    request_id  text        COLLATE "C" NOT NULL,        -- ours: the refund's; empty for a payment
    transaction text        COLLATE "C" NOT NULL,        -- theirs
    minor       bigint      NOT NULL CHECK (minor > 0),
    fee_minor   bigint      NOT NULL,
    currency    text        NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (method, day, n)
);
CREATE INDEX reconcile_line_transaction ON reconcile_line (method, transaction);
CREATE INDEX reconcile_line_refund ON reconcile_line (method, request_id) WHERE kind = 'refund';
CREATE FUNCTION reconcile_keep_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT method, day FROM gone) AS g
                 JOIN reconcile_day d ON d.method = g.method AND d.day = g.day AND d.state = 'closed') THEN
        RAISE EXCEPTION 'the lines of a closed day stay' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_closed AFTER DELETE ON reconcile_line REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION reconcile_keep_lines();
CREATE TRIGGER as_written BEFORE UPDATE OR TRUNCATE ON reconcile_line
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

ITEMS = """
-- What does not match, each once: it moves from day to day until it is explained
CREATE TABLE reconcile_item (
    id           text        COLLATE "C" PRIMARY KEY,    -- method:kind:their number (and the day and line of a duplicate)
    method       text        COLLATE "C" NOT NULL,
    day          date        NOT NULL,                   -- the business day to which it belongs now
    since        date        NOT NULL,                   -- the one on which it was found
    bucket       text        NOT NULL CHECK (bucket IN ('ours_only', 'theirs_only', 'differs', 'duplicate')),
    why          text        NOT NULL,                   -- of a difference: amount, reference, time, state
    kind         text        NOT NULL CHECK (kind IN ('payment', 'refund')),
    cell         smallint,
    reference    text        COLLATE "C" NOT NULL,
    request_id   text        COLLATE "C" NOT NULL,
    transaction  text        COLLATE "C" NOT NULL,
    ours_minor   bigint,
    theirs_minor bigint,
    currency     text        NOT NULL,
    at           timestamptz NOT NULL,
    state        text        NOT NULL CHECK (state IN ('asking', 'carried', 'case', 'settled')),
    settled_on   date,
    how          text        NOT NULL DEFAULT '',
    CHECK ((state = 'settled') = (settled_on IS NOT NULL))
);
CREATE INDEX reconcile_item_day ON reconcile_item (method, day);
CREATE INDEX reconcile_item_standing ON reconcile_item (method) WHERE state <> 'settled';
"""

SETTLEMENTS = """
CREATE TABLE reconcile_settlement (
    method       text        COLLATE "C" NOT NULL,
    day          date        NOT NULL,
    currency     text        NOT NULL,
    bank         text        NOT NULL,
    minor        bigint      NOT NULL CHECK (minor > 0),
    entered_by   text        NOT NULL,
    entered_at   timestamptz NOT NULL,
    confirmed_by text,                                   -- then it stands in the book
    confirmed_at timestamptz,
    PRIMARY KEY (method, day, currency),
    CHECK ((confirmed_by IS NULL) = (confirmed_at IS NULL)),
    CHECK (confirmed_by <> entered_by OR entered_by = 'operator')         -- I12: two people, or who owns the machine
);
CREATE TRIGGER keep_confirmed BEFORE UPDATE OR DELETE ON reconcile_settlement FOR EACH ROW
    WHEN (OLD.confirmed_at IS NOT NULL) EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("ledger", "0001_initial"), ("cases", "0001_initial"), ("topup", "0003_found_by_time")]
    operations = [
        migrations.RunSQL(DAYS, "DROP TABLE reconcile_day; DROP FUNCTION reconcile_keep_closed"),
        migrations.RunSQL(STATEMENTS, "DROP TABLE reconcile_statement"),
        migrations.RunSQL(SUMS, "DROP TABLE reconcile_sum"),
        migrations.RunSQL(LINES, "DROP TABLE reconcile_line; DROP FUNCTION reconcile_keep_lines"),
        migrations.RunSQL(ITEMS, "DROP TABLE reconcile_item"),
        migrations.RunSQL(SETTLEMENTS, "DROP TABLE reconcile_settlement"),
    ]
