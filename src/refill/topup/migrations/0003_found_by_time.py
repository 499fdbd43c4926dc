"""Money that arrived and refunds that were made, found by their time: reconciliation asks for a day of them."""

from django.db import migrations

# Captures are only ever added, in the order of time: a few bytes for a hundred pages, and next to nothing for an insert.
CAPTURES = "CREATE INDEX topup_capture_paid ON topup_capture USING brin (paid_at) WITH (autosummarize = on)"
# Written once, when a refund is done; what is under way is not in it.
REFUNDS = "CREATE INDEX topup_refund_done ON topup_refund (method, done_at) WHERE state = 'done'"


class Migration(migrations.Migration):
    dependencies = [("topup", "0002_disputes")]
    operations = [
        migrations.RunSQL(CAPTURES, "DROP INDEX topup_capture_paid"),
        migrations.RunSQL(REFUNDS, "DROP INDEX topup_refund_done"),
    ]
