"""Short numbers for orders, for clients whose language has no room for our ids."""

from django.db import migrations

NICKNAMES = """
CREATE TABLE topup_nickname (
    cell     smallint NOT NULL,                          -- of the order; the number carries it too
    n        bigint   NOT NULL,
    order_id text     COLLATE "C" NOT NULL,
    PRIMARY KEY (cell, n),
    UNIQUE (cell, order_id)
)
"""


class Migration(migrations.Migration):
    dependencies = [("topup", "0009_reversals")]
    operations = [migrations.RunSQL(NICKNAMES, "DROP TABLE topup_nickname")]
