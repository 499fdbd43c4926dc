"""Orders found by the time at which they were placed, for partners who list theirs."""

from django.db import migrations

# Orders are placed in the order of time: a few bytes for a hundred pages, and next to nothing for an insert. An order that
# is moved into an old page's gap would widen that page's span to months; several spans a page stay narrow.
BY_TIME = """
CREATE INDEX topup_order_created ON topup_order
    USING brin (created_at timestamptz_minmax_multi_ops) WITH (autosummarize = on)
"""


class Migration(migrations.Migration):
    dependencies = [("topup", "0006_chasing")]
    operations = [migrations.RunSQL(BY_TIME, "DROP INDEX topup_order_created")]
