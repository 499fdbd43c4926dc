"""What moved our floats at suppliers is found by its account and time; the floats of partners and all else pay nothing for it."""

from django.db import migrations

FLOATS = r"""
CREATE INDEX ledger_transfer_out_of_float ON ledger_transfer (credit, at)
    WHERE credit LIKE 'float:%' AND credit NOT LIKE 'float:pa\_%';
CREATE INDEX ledger_transfer_into_float ON ledger_transfer (debit, at)
    WHERE debit LIKE 'float:%' AND debit NOT LIKE 'float:pa\_%';
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0004_by_time")]
    operations = [
        migrations.RunSQL(FLOATS, "DROP INDEX ledger_transfer_out_of_float, ledger_transfer_into_float"),
    ]
