"""Counts of limits, and which orders are in them, found by their period: long after it nobody asks for them."""

from django.db import migrations

SINCE = """
CREATE INDEX topup_limit_count_since ON topup_limit_count (since);
CREATE INDEX topup_limit_use_since ON topup_limit_use (since);
"""


class Migration(migrations.Migration):
    dependencies = [("topup", "0010_nicknames")]
    operations = [migrations.RunSQL(SINCE, "DROP INDEX topup_limit_count_since, topup_limit_use_since")]
