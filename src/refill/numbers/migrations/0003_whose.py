"""Whose number it is: when an outcome told us, who said "not ours", what a person decided, what a look-up answered."""

from django.db import migrations, models

LEARNED = """
ALTER TABLE numbers_number
    ADD COLUMN learned_at        timestamptz,
    ADD COLUMN disowned_operator text,        -- who said last that this is not their subscriber
    ADD COLUMN disowned_at       timestamptz;
"""

OVERRIDES = """
CREATE TABLE numbers_override (
    cell     smallint    NOT NULL CHECK (cell BETWEEN 0 AND 4095),
    number   text        NOT NULL CHECK (length(number) = 16), -- keyed index of the digits
    n        integer     NOT NULL,
    operator text        NOT NULL,
    why      text        NOT NULL CHECK (why <> ''),
    who      text        NOT NULL CHECK (who <> ''),
    since    timestamptz NOT NULL,
    until    timestamptz CHECK (until > since),                -- NULL: until somebody ends it
    ended_at timestamptz,
    ended_by text,
    PRIMARY KEY (cell, number, n)
);
CREATE UNIQUE INDEX numbers_override_one ON numbers_override (cell, number) WHERE ended_at IS NULL;
COMMENT ON TABLE numbers_override IS 'Operators of numbers as a person decided them, each with who, why and until when';
"""

LOOKUPS = """
CREATE TABLE numbers_lookup (
    cell        smallint    NOT NULL CHECK (cell BETWEEN 0 AND 4095),
    number      text        NOT NULL CHECK (length(number) = 16), -- keyed index of the digits
    question    text        NOT NULL CHECK (question IN ('whose', 'alive')),
    lookup      text        NOT NULL,                             -- who was asked
    answered    text        NOT NULL CHECK (answered IN ('done', 'refused', 'unknown')),
    network     text,                                             -- MCC and MNC
    operator    text,                                             -- NULL: a network that we do not know
    ported      boolean,
    state       text        CHECK (state IN ('active', 'absent', 'dead')),
    asked_at    timestamptz NOT NULL,
    fresh_until timestamptz NOT NULL,
    PRIMARY KEY (cell, number, question)
);
CREATE INDEX numbers_lookup_stale ON numbers_lookup (fresh_until);
COMMENT ON TABLE numbers_lookup IS 'What look-ups answered, for a while; an unknown is kept too, so that nobody is asked in vain again';
"""


class Migration(migrations.Migration):
    dependencies = [("numbers", "0002_listed")]
    operations = [
        migrations.RunSQL(
            LEARNED,
            "ALTER TABLE numbers_number DROP COLUMN learned_at, DROP COLUMN disowned_operator, DROP COLUMN disowned_at",
        ),
        migrations.RunSQL(OVERRIDES, "DROP TABLE numbers_override"),
        migrations.RunSQL(LOOKUPS, "DROP TABLE numbers_lookup"),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField("number", "learned_at", models.DateTimeField(null=True)),
                migrations.AddField("number", "disowned_operator", models.TextField(null=True)),
                migrations.AddField("number", "disowned_at", models.DateTimeField(null=True)),
            ]
        ),
    ]
