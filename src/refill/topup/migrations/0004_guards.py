"""What a supplier abroad is paid, frozen on the order; quotes that hold for a while; limits and what they count."""

from django.db import migrations

# All NULL for nearly every order: a NULL costs a bit of the row's header, and adding the columns touches no row.
ABROAD = """
ALTER TABLE topup_order
    ADD COLUMN cost_currency text,    -- of the supplier's bill; NULL: the currency of the price
    ADD COLUMN rate_num      bigint,  -- of the order's currency, in minor units, for …
    ADD COLUMN rate_den      bigint,  -- … so many minor units of the supplier's
    ADD COLUMN limited       boolean; -- true: limits count it, and forget it when it fails
ALTER TABLE topup_order ADD CONSTRAINT topup_order_abroad CHECK (
    (cost_currency IS NULL) = (rate_num IS NULL) AND (cost_currency IS NULL) = (rate_den IS NULL)
    AND rate_num > 0 AND rate_den > 0) NOT VALID;
"""

QUOTES = """
CREATE TABLE topup_quote (
    cell          smallint    NOT NULL,
    id            text        COLLATE "C" NOT NULL,
    payer         text        COLLATE "C" NOT NULL,    -- whose price it is
    number        text        COLLATE "C",             -- keyed index; NULL: for any number of the operator
    operator      text        NOT NULL,
    product       text        NOT NULL,
    supplier      text        NOT NULL,
    face_minor    bigint      NOT NULL CHECK (face_minor > 0),
    face_currency text        NOT NULL,
    price_minor   bigint      NOT NULL CHECK (price_minor > 0),
    currency      text        NOT NULL,
    cost_minor    bigint,
    cost_currency text,
    rate_num      bigint,
    rate_den      bigint,
    days          smallint    NOT NULL,
    policy        text        NOT NULL,
    made_at       timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    order_id      text        COLLATE "C",             -- the one top-up that was placed with it
    PRIMARY KEY (cell, id),
    CHECK (expires_at > made_at)
);
CREATE INDEX topup_quote_expires ON topup_quote (expires_at) WHERE order_id IS NULL;
"""

LIMITS = """
CREATE TABLE topup_limit (
    id         text        COLLATE "C" PRIMARY KEY,
    per        text        NOT NULL,                   -- what is counted apart, such as number, or payer operator
    operator   text,                                   -- whom it concerns; NULL: everybody
    product    text,
    supplier   text,
    channel    text,
    payer      text,
    period     text        NOT NULL CHECK (period IN ('hour', 'day', 'week', 'month')),
    zone       text        NOT NULL,                   -- whose midnight it is
    most_count integer     CHECK (most_count >= 0),
    most_minor bigint      CHECK (most_minor >= 0),    -- of face value
    currency   text,
    reason     text        NOT NULL CHECK (reason <> ''),
    made_by    text        NOT NULL CHECK (made_by <> ''),
    made_at    timestamptz NOT NULL,
    ended_by   text,
    ended_at   timestamptz,
    CHECK (most_count IS NOT NULL OR most_minor IS NOT NULL),
    CHECK ((most_minor IS NULL) = (currency IS NULL)),
    CHECK ((ended_by IS NULL) = (ended_at IS NULL))
);
-- One row for each thing counted in a period: locked by whoever places what it concerns.
CREATE TABLE topup_limit_count (
    cell     smallint    NOT NULL,                     -- of the subject
    limit_id text        COLLATE "C" NOT NULL,
    subject  text        COLLATE "C" NOT NULL,         -- a number's keyed index, a payer, …
    since    timestamptz NOT NULL,                     -- the beginning of the period
    count    integer     NOT NULL DEFAULT 0,
    minor    bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (cell, limit_id, subject, since),
    CHECK (count >= 0 AND minor >= 0)
) WITH (fillfactor = 50);
CREATE TABLE topup_limit_use (
    cell       smallint    NOT NULL,                   -- of the order
    order_id   text        COLLATE "C" NOT NULL,
    limit_id   text        COLLATE "C" NOT NULL,
    count_cell smallint    NOT NULL,
    subject    text        COLLATE "C" NOT NULL,
    since      timestamptz NOT NULL,
    minor      bigint      NOT NULL,
    counts     boolean     NOT NULL,                   -- false while the order is failed, given up or refunded
    PRIMARY KEY (cell, order_id, limit_id)
);
"""


class Migration(migrations.Migration):
    dependencies = [("topup", "0003_found_by_time")]
    operations = [
        migrations.RunSQL(
            ABROAD,
            "ALTER TABLE topup_order DROP CONSTRAINT topup_order_abroad, DROP COLUMN cost_currency,"
            " DROP COLUMN rate_num, DROP COLUMN rate_den, DROP COLUMN limited",
        ),
        migrations.RunSQL(QUOTES, "DROP TABLE topup_quote"),
        migrations.RunSQL(LIMITS, "DROP TABLE topup_limit_use, topup_limit_count, topup_limit"),
    ]
