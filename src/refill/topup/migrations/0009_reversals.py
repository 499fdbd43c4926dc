"""Reversals have timers of their own: an order that was delivered long ago has none."""

from django.db import migrations

DUE = "CREATE INDEX topup_reversal_due ON topup_reversal (ask_at) WHERE ask_at IS NOT NULL"


class Migration(migrations.Migration):
    dependencies = [("topup", "0008_routing")]
    operations = [migrations.RunSQL(DUE, "DROP INDEX topup_reversal_due")]
