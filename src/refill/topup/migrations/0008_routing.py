"""How suppliers stand, why each attempt went where it went, and due orders found by operator."""

from django.db import migrations

# A handful of rows, changed when a breaker opens or closes, when a float is empty, and by each batch at a paced supplier.
SUPPLIERS = """
CREATE TABLE topup_supplier (
    supplier    text        COLLATE "C" PRIMARY KEY,
    breaker     text        NOT NULL DEFAULT 'closed' CHECK (breaker IN ('closed', 'open')),
    since       timestamptz NOT NULL,                    -- of this state of the breaker
    retry_at    timestamptz,                             -- open: when one order may try; NULL: only a person closes it
    rests       smallint    NOT NULL DEFAULT 0,          -- in a row, each twice as long as the one before
    why         text        NOT NULL DEFAULT '',
    by          text,                                    -- the person who opened or closed it
    spent_until timestamptz,                             -- calls that were promised to it are spent up to here
    empty_until timestamptz,                             -- it said that our float is empty: not asked before
    CHECK (breaker = 'open' OR retry_at IS NULL)
);
"""

ATTEMPTS = "ALTER TABLE topup_attempt ADD COLUMN why text NOT NULL DEFAULT ''"  # why this supplier: routing.Choice.why

# Orders that wait for a place at a supplier stay due. They stand in a line of their own for each operator, so that those
# whose suppliers are full are not even looked at.
LINES = """
DROP INDEX topup_order_due;
CREATE INDEX topup_order_timer ON topup_order (due) WHERE due IS NOT NULL AND delivery <> 'ready';
CREATE INDEX topup_order_ready ON topup_order (operator, due) WHERE due IS NOT NULL AND delivery = 'ready';
"""
ONE_LINE = """
DROP INDEX topup_order_timer, topup_order_ready;
CREATE INDEX topup_order_due ON topup_order (due) WHERE due IS NOT NULL;
"""


class Migration(migrations.Migration):
    dependencies = [("topup", "0007_by_time")]
    operations = [
        migrations.RunSQL(SUPPLIERS, "DROP TABLE topup_supplier"),
        migrations.RunSQL(ATTEMPTS, "ALTER TABLE topup_attempt DROP COLUMN why"),
        migrations.RunSQL(LINES, ONE_LINE),
    ]
