"""Numbers that are refused or always served, by keyed index; each line says who decided it and until when."""

from django.db import migrations

CREATE = """
CREATE TABLE numbers_listed (
    cell      smallint    NOT NULL CHECK (cell BETWEEN 0 AND 4095),
    number    text        NOT NULL CHECK (length(number) = 16),    -- keyed index of the digits
    scope     text        COLLATE "C" NOT NULL CHECK (scope <> ''), -- all, operator:…, product:…, partner:…
    listed_at timestamptz NOT NULL,
    kind      text        NOT NULL CHECK (kind IN ('block', 'allow', 'lift')),
    until     timestamptz,                                         -- NULL: for good
    reason    text        NOT NULL CHECK (reason <> ''),
    who       text        NOT NULL CHECK (who <> ''),
    PRIMARY KEY (cell, number, scope, listed_at),                  -- the latest line of a number and scope counts
    CHECK (until > listed_at)
);
CREATE INDEX numbers_listed_at ON numbers_listed (listed_at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON numbers_listed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("numbers", "0001_initial"), ("ledger", "0001_initial")]
    operations = [migrations.RunSQL(CREATE, "DROP TABLE numbers_listed")]
