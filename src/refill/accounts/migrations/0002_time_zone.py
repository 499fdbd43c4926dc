"""Where a partner's day ends, for its statements."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="partner",
            name="time_zone",
            field=models.TextField(
                db_default="Asia/Shanghai",
                default="Asia/Shanghai",
                help_text="whose midnight ends its day: an IANA name",
            ),
        ),
    ]
