"""Transfers found by their time, for owners of floats who list what moved."""

from django.db import migrations

# Transfers are only ever added, in the order of time: a few bytes for a hundred pages, and next to nothing for an insert.
BY_TIME = "CREATE INDEX ledger_transfer_at ON ledger_transfer USING brin (at) WITH (autosummarize = on)"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0003_wallets")]
    operations = [migrations.RunSQL(BY_TIME, "DROP INDEX ledger_transfer_at")]
