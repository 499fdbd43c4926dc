"""What moved a wallet is found by its name; the index holds nothing else, so that other transfers do not pay for it."""

from django.db import migrations

WALLETS = """
CREATE INDEX ledger_transfer_into_wallet ON ledger_transfer (credit, at) WHERE credit LIKE 'wallet:%';
CREATE INDEX ledger_transfer_out_of_wallet ON ledger_transfer (debit, at) WHERE debit LIKE 'wallet:%';
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_stripes")]
    operations = [
        migrations.RunSQL(WALLETS, "DROP INDEX ledger_transfer_into_wallet, ledger_transfer_out_of_wallet"),
    ]
