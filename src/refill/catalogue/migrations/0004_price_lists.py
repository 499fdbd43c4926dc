"""Kinds of goods, and prices with a span of time: suppliers' lists, ours, how they were imported, and margins."""

from django.db import migrations, models

PRICES = """
-- A list that somebody showed us: first previewed, then applied whole, or let go
CREATE TABLE catalogue_import (
    id           text        COLLATE "C" PRIMARY KEY,
    side         text        NOT NULL CHECK (side IN ('cost', 'price')),
    supplier     text        COLLATE "C" NOT NULL,         -- empty for our own prices
    source       text        NOT NULL,                     -- the name of the file, or `wire`
    whole        boolean     NOT NULL,                     -- what is not on it is no longer sold
    state        text        NOT NULL CHECK (state IN ('reading', 'previewed', 'applied', 'discarded', 'unreadable')),
    says         text        NOT NULL DEFAULT '',          -- why it is unreadable
    rows         integer     NOT NULL DEFAULT 0,
    added        integer     NOT NULL DEFAULT 0,
    changed      integer     NOT NULL DEFAULT 0,
    removed      integer     NOT NULL DEFAULT 0,
    unchanged    integer     NOT NULL DEFAULT 0,
    refused      integer     NOT NULL DEFAULT 0,
    elsewhere    integer     NOT NULL DEFAULT 0,           -- of operators that we do not sell
    thin         integer     NOT NULL DEFAULT 0,           -- accepted, though they leave less than there should be
    asked_by     text        NOT NULL,
    asked_at     timestamptz NOT NULL,
    decided_by   text,
    decided_at   timestamptz,
    CHECK ((side = 'cost') = (supplier <> '')),
    CHECK ((state IN ('applied', 'discarded')) = (decided_by IS NOT NULL AND decided_at IS NOT NULL))
);
CREATE INDEX catalogue_import_latest ON catalogue_import (asked_at);

-- What became of every row of it, for ever once it was applied: the log of all changes of prices
CREATE TABLE catalogue_import_line (
    import_id      text    COLLATE "C" NOT NULL REFERENCES catalogue_import,
    n              integer NOT NULL,                       -- the line of the file; behind its last one, what is removed
    key            text    COLLATE "C" NOT NULL,           -- what is priced; empty when that cannot be read
    operator       text    COLLATE "C" NOT NULL,
    product        text    COLLATE "C" NOT NULL,           -- ours, or empty
    their_product  text    NOT NULL,
    name           text    NOT NULL,
    tier           text    NOT NULL,
    channel        text    NOT NULL,
    partner        text    NOT NULL,
    face_minor     bigint,
    max_face_minor bigint,
    face_currency  text,
    minor          bigint,
    max_minor      bigint,
    currency       text,
    bp             integer,
    valid_from     timestamptz,                            -- empty: from when it is applied
    valid_until    timestamptz,
    why            text    NOT NULL,                       -- it is refused, as a word of `importing.SENTENCES`
    what           text    NOT NULL,                       -- it is about
    outcome        text    NOT NULL
                   CHECK (outcome IN ('added', 'changed', 'removed', 'unchanged', 'refused', 'elsewhere')),
    thin           boolean NOT NULL,
    was_minor      bigint,
    was_bp         integer,
    was_currency   text,
    PRIMARY KEY (import_id, n)
);

-- Every price that ever was or will be, theirs (cost) and ours (price), with its span; an empty span never came to be
CREATE TABLE catalogue_price (
    import_id      text    COLLATE "C" NOT NULL REFERENCES catalogue_import,
    n              integer NOT NULL,
    side           text    NOT NULL CHECK (side IN ('cost', 'price')),
    supplier       text    COLLATE "C" NOT NULL,
    key            text    COLLATE "C" NOT NULL CHECK (key <> ''),
    operator       text    COLLATE "C" NOT NULL,
    product        text    COLLATE "C" NOT NULL,
    their_product  text    NOT NULL,
    tier           text    NOT NULL,
    channel        text    NOT NULL,
    partner        text    NOT NULL,
    face_minor     bigint  CHECK (face_minor > 0),
    max_face_minor bigint,
    face_currency  text,
    minor          bigint  CHECK (minor > 0),
    max_minor      bigint  CHECK (max_minor >= minor),
    currency       text,
    bp             integer CHECK (bp BETWEEN 1 AND 20000),
    valid_from     timestamptz NOT NULL,
    valid_until    timestamptz,
    PRIMARY KEY (import_id, n),
    CHECK ((minor IS NULL) <> (bp IS NULL)),
    CHECK ((minor IS NULL) = (currency IS NULL)),
    CHECK (valid_until >= valid_from),
    CHECK (max_face_minor >= face_minor),
    CHECK (side = 'price' OR face_minor IS NOT NULL)
);
CREATE INDEX catalogue_price_key ON catalogue_price (side, supplier, key, valid_from);
CREATE INDEX catalogue_price_of ON catalogue_price (side, operator, product, face_minor);
CREATE INDEX catalogue_price_from ON catalogue_price (valid_from);
CREATE INDEX catalogue_price_until ON catalogue_price (valid_until) WHERE valid_until IS NOT NULL;

-- How a supplier calls an operator of ours
CREATE TABLE catalogue_alias (
    supplier text COLLATE "C" NOT NULL,
    theirs   text COLLATE "C" NOT NULL CHECK (theirs <> ''),
    operator text NOT NULL REFERENCES catalogue_operator,
    who      text NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (supplier, theirs)
);

-- The tier of a partner, by which prices may differ
CREATE TABLE catalogue_tier (
    partner text COLLATE "C" PRIMARY KEY,
    tier    text COLLATE "C" NOT NULL CHECK (tier ~ '^[a-z][a-z0-9_]{0,30}$'),
    who     text NOT NULL,
    at      timestamptz NOT NULL
);

-- The least that a sale must leave: of one product, of an operator, of everything; the most particular counts
CREATE TABLE catalogue_margin (
    operator  text    COLLATE "C" NOT NULL,                -- empty: of everything
    product   text    COLLATE "C" NOT NULL,                -- empty: of all that the operator has
    least_bp  integer NOT NULL CHECK (least_bp BETWEEN 0 AND 10000),  -- of the face value
    least_minor bigint NOT NULL CHECK (least_minor >= 0),
    rule      text    NOT NULL CHECK (rule IN ('refuse', 'alarm')),
    who       text    NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (operator, product),
    CHECK (product = '' OR operator <> '')
);

-- Aliases, tiers and margins as they were before somebody changed them
CREATE TABLE catalogue_term_log (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind  text  NOT NULL,
    was   jsonb,
    is_   jsonb
);
"""

LOGS = """
CREATE FUNCTION catalogue_log_term() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO catalogue_term_log (kind, was, is_)
    VALUES (TG_TABLE_NAME, CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
            CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END $$;
CREATE TRIGGER log_term AFTER INSERT OR UPDATE OR DELETE ON catalogue_alias
    FOR EACH ROW EXECUTE FUNCTION catalogue_log_term();
CREATE TRIGGER log_term AFTER INSERT OR UPDATE OR DELETE ON catalogue_tier
    FOR EACH ROW EXECUTE FUNCTION catalogue_log_term();
CREATE TRIGGER log_term AFTER INSERT OR UPDATE OR DELETE ON catalogue_margin
    FOR EACH ROW EXECUTE FUNCTION catalogue_log_term();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON catalogue_term_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What was applied stays written
CREATE TRIGGER keep_applied BEFORE UPDATE OR DELETE ON catalogue_import FOR EACH ROW
    WHEN (OLD.state = 'applied') EXECUTE FUNCTION refuse_change();
CREATE FUNCTION catalogue_keep_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM (SELECT DISTINCT import_id FROM gone) g JOIN catalogue_import i ON i.id = g.import_id
                WHERE i.state = 'applied') THEN
        RAISE EXCEPTION 'rows of an applied list stay as they are' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_updated AFTER UPDATE ON catalogue_import_line REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_keep_lines();
CREATE TRIGGER keep_deleted AFTER DELETE ON catalogue_import_line REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_keep_lines();
-- A price may end; nothing else about it changes
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE OR UPDATE OF import_id, n, side, supplier, key, operator, product,
    their_product, tier, channel, partner, face_minor, max_face_minor, face_currency, minor, max_minor, currency, bp,
    valid_from ON catalogue_price FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER catalogue_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalogue_price
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalogue_tier
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalogue_margin
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
"""

BACK = """
DROP TABLE catalogue_margin, catalogue_tier, catalogue_alias, catalogue_price, catalogue_import_line, catalogue_import,
           catalogue_term_log;
DROP FUNCTION catalogue_log_term, catalogue_keep_lines;
"""


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0003_rates"), ("ledger", "0001_initial"), ("accounts", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="operator",
            name="logo",
            field=models.TextField(
                blank=True, default="", help_text="the name of a drawing of ours; empty: initials in its colour"
            ),
        ),
        migrations.AddField(
            model_name="product",
            name="category",
            field=models.TextField(default="airtime", help_text="what it is: airtime, data, pin"),
        ),
        migrations.AddField(model_name="product", name="name_zh", field=models.TextField(blank=True, default="")),
        migrations.AddField(model_name="product", name="name_en", field=models.TextField(blank=True, default="")),
        migrations.AddField(
            model_name="product",
            name="data_mb",
            field=models.BigIntegerField(blank=True, null=True, help_text="of a bundle; 0: without a limit"),
        ),
        migrations.AddField(
            model_name="product",
            name="minutes",
            field=models.IntegerField(blank=True, null=True, help_text="of calls in a bundle; 0: without a limit"),
        ),
        migrations.AddField(
            model_name="product",
            name="texts",
            field=models.IntegerField(blank=True, null=True, help_text="messages in a bundle; 0: without a limit"),
        ),
        migrations.AddField(
            model_name="product",
            name="lasts_hours",
            field=models.IntegerField(blank=True, null=True, help_text="how long a bundle may be used"),
        ),
        migrations.AddField(
            model_name="supply",
            name="by_list",
            field=models.BooleanField(
                default=False, help_text="delivers what is on its price list, at the cost that stands there"
            ),
        ),
        migrations.AddConstraint(
            model_name="operator",
            constraint=models.CheckConstraint(
                condition=models.Q(("logo__regex", "^[a-z0-9-]{0,40}$")), name="catalogue_operator_logo"
            ),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(
                condition=models.Q(("category__regex", "^[a-z][a-z0-9_]{1,30}$")), name="catalogue_product_category"
            ),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("data_mb__isnull", True), ("data_mb__gte", 0), _connector="OR"),
                    models.Q(("minutes__isnull", True), ("minutes__gte", 0), _connector="OR"),
                    models.Q(("texts__isnull", True), ("texts__gte", 0), _connector="OR"),
                    models.Q(("lasts_hours__isnull", True), ("lasts_hours__gt", 0), _connector="OR"),
                ),
                name="catalogue_product_bundle",
            ),
        ),
        migrations.RunSQL(PRICES + LOGS, BACK),
    ]
