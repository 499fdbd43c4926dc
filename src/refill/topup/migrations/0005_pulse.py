"""How suppliers do, minute by minute, and what they last said of our floats there."""

from django.db import migrations

# Written by whoever settles, once per batch and not per order; reading an hour of it is reading a few hundred rows.
PULSE = """
CREATE TABLE topup_pulse (
    minute   timestamptz NOT NULL,
    supplier text        COLLATE "C" NOT NULL,
    operator text        COLLATE "C" NOT NULL,
    outcome  text        COLLATE "C" NOT NULL CHECK (outcome IN ('done', 'declined', 'refused', 'unknown', 'arrived')),
    bucket   smallint    NOT NULL,                       -- how long it took: pulse.BOUNDS_S
    count    integer     NOT NULL CHECK (count > 0),
    minor    bigint      NOT NULL,                       -- what the supplier took, in the operator's currency
    PRIMARY KEY (minute, supplier, operator, outcome, bucket)
);
"""

FLOATS = """
CREATE TABLE topup_float_seen (
    supplier text        COLLATE "C" NOT NULL,
    currency text        COLLATE "C" NOT NULL,
    minor    bigint      NOT NULL,                       -- below zero: a credit limit of theirs is in use
    seen_at  timestamptz NOT NULL,
    PRIMARY KEY (supplier, currency)
);
"""


class Migration(migrations.Migration):
    dependencies = [("topup", "0004_guards")]
    operations = [
        migrations.RunSQL(PULSE, "DROP TABLE topup_pulse"),
        migrations.RunSQL(FLOATS, "DROP TABLE topup_float_seen"),
    ]
