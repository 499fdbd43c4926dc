"""How many stripes the hot accounts of an owner have; most owners are not here, and have one."""

from django.db import migrations

STRIPES = """
CREATE TABLE ledger_stripe (
    owner   text     COLLATE "C" PRIMARY KEY,            -- owner/CUR, as in the names of its accounts
    stripes smallint NOT NULL CHECK (stripes >= 1)
);
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [migrations.RunSQL(STRIPES, "DROP TABLE ledger_stripe")]
