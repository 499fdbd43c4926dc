"""The database itself fills in what a plain denomination leaves unsaid, for whoever writes rows without Django."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0005_routing")]
    operations = [
        migrations.AlterField(
            model_name="operator",
            name="logo",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="the name of a drawing of ours; empty: initials in its colour",
            ),
        ),
        migrations.AlterField(
            model_name="product",
            name="category",
            field=models.TextField(db_default="airtime", default="airtime", help_text="what it is: airtime, data, pin"),
        ),
        migrations.AlterField(
            model_name="product", name="name_zh", field=models.TextField(blank=True, db_default="", default="")
        ),
        migrations.AlterField(
            model_name="product", name="name_en", field=models.TextField(blank=True, db_default="", default="")
        ),
        migrations.AlterField(
            model_name="supply",
            name="by_list",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="delivers what is on its price list, at the cost that stands there",
            ),
        ),
    ]
