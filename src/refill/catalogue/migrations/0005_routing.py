"""Rules of routing, suppliers' maintenance and how far each of them is trusted."""

import django.db.models.deletion
from django.db import migrations, models

TELL = """
CREATE TRIGGER catalogue_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalogue_rule
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalogue_maintenance
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalogue_limits
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
"""
SILENCE = """
DROP TRIGGER catalogue_changed ON catalogue_rule;
DROP TRIGGER catalogue_changed ON catalogue_maintenance;
DROP TRIGGER catalogue_changed ON catalogue_limits;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("catalogue", "0004_price_lists"),
    ]

    operations = [
        migrations.CreateModel(
            name="Limits",
            fields=[
                ("supplier", models.TextField(primary_key=True, serialize=False)),
                ("enabled", models.BooleanField(default=True)),
                (
                    "most_in_flight",
                    models.IntegerField(default=2000, help_text="calls that one worker holds there at once"),
                ),
                (
                    "most_per_second",
                    models.IntegerField(blank=True, help_text="of all workers together; empty: no limit", null=True),
                ),
                ("most_tries", models.SmallIntegerField(default=12, help_text="attempts of one order")),
                (
                    "opens_at_bp",
                    models.IntegerField(default=5000, help_text="basis points of answers that open the breaker"),
                ),
                (
                    "least_answers",
                    models.IntegerField(default=20, help_text="in two minutes, before the breaker may open"),
                ),
                (
                    "rest_s",
                    models.IntegerField(
                        default=30, help_text="its first rest; each next one is twice as long, up to 600 s"
                    ),
                ),
            ],
            options={
                "db_table": "catalogue_limits",
            },
        ),
        migrations.CreateModel(
            name="Maintenance",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("supplier", models.TextField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("says", models.TextField(blank=True, default="")),
                ("made_by", models.TextField()),
            ],
            options={
                "db_table": "catalogue_maintenance",
            },
        ),
        migrations.CreateModel(
            name="Rule",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("position", models.IntegerField(default=100, help_text="smaller is looked at first")),
                (
                    "action",
                    models.TextField(
                        choices=[("prefer", "prefer"), ("only", "only"), ("never", "never"), ("hold", "hold")]
                    ),
                ),
                (
                    "suppliers",
                    models.TextField(
                        blank=True, default="", help_text="names, divided by spaces; hold: empty means all"
                    ),
                ),
                (
                    "region",
                    models.TextField(blank=True, help_text="a part of the province's name, such as 广东", null=True),
                ),
                ("channel", models.TextField(blank=True, null=True)),
                ("partner", models.TextField(blank=True, null=True)),
                ("least_minor", models.BigIntegerField(blank=True, null=True)),
                ("most_minor", models.BigIntegerField(blank=True, null=True)),
                ("from_minute", models.SmallIntegerField(blank=True, null=True)),
                ("to_minute", models.SmallIntegerField(blank=True, null=True)),
                ("zone", models.TextField(default="Asia/Shanghai")),
                ("starts_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                ("says", models.TextField(help_text="why, for whoever reads it next year")),
                ("made_by", models.TextField()),
                ("enabled", models.BooleanField(default=True)),
            ],
            options={
                "db_table": "catalogue_rule",
            },
        ),
        migrations.AddField(
            model_name="operator",
            name="when_off",
            field=models.TextField(
                choices=[("wait", "wait"), ("refund", "refund")],
                db_default="wait",
                help_text="what becomes of paid orders while it is switched off",
            ),
        ),
        migrations.AddConstraint(
            model_name="operator",
            constraint=models.CheckConstraint(
                condition=models.Q(("when_off__in", ["wait", "refund"])), name="catalogue_operator_when_off"
            ),
        ),
        migrations.AddConstraint(
            model_name="limits",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("least_answers__gte", 1),
                    ("most_in_flight__gte", 1),
                    ("most_in_flight__lte", 100000),
                    ("most_tries__gte", 1),
                    ("most_tries__lte", 100),
                    ("opens_at_bp__gte", 1),
                    ("opens_at_bp__lte", 10000),
                    ("rest_s__gte", 1),
                    ("rest_s__lte", 600),
                    models.Q(
                        ("most_per_second__isnull", True),
                        models.Q(("most_per_second__gte", 1), ("most_per_second__lte", 100000)),
                        _connector="OR",
                    ),
                ),
                name="catalogue_limits_sane",
            ),
        ),
        migrations.AddField(
            model_name="maintenance",
            name="operator",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="pauses",
                to="catalogue.operator",
            ),
        ),
        migrations.AddField(
            model_name="rule",
            name="operator",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rules",
                to="catalogue.operator",
            ),
        ),
        migrations.AddField(
            model_name="rule",
            name="product",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rules",
                to="catalogue.product",
            ),
        ),
        migrations.AddConstraint(
            model_name="maintenance",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="catalogue_maintenance_span"
            ),
        ),
        migrations.AddConstraint(
            model_name="rule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("action__in", ["prefer", "only", "never", "hold"]),
                    models.Q(("action", "hold"), models.Q(("suppliers", ""), _negated=True), _connector="OR"),
                ),
                name="catalogue_rule_action",
            ),
        ),
        migrations.AddConstraint(
            model_name="rule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("suppliers__regex", "^([a-z0-9_]+( [a-z0-9_]+)*)?$"),
                    ("zone__regex", "^(UTC|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_+-]+)+)$"),
                    models.Q(("says", ""), _negated=True),
                ),
                name="catalogue_rule_words",
            ),
        ),
        migrations.AddConstraint(
            model_name="rule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("from_minute__isnull", True), ("to_minute__isnull", True)),
                    models.Q(
                        ("from_minute__gte", 0),
                        ("from_minute__isnull", False),
                        ("from_minute__lt", 1440),
                        ("to_minute__gte", 0),
                        ("to_minute__isnull", False),
                        ("to_minute__lt", 1440),
                        models.Q(("from_minute", models.F("to_minute")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="catalogue_rule_hours",
            ),
        ),
        migrations.AddConstraint(
            model_name="rule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("least_minor__isnull", True),
                    ("most_minor__isnull", True),
                    ("most_minor__gte", models.F("least_minor")),
                    _connector="OR",
                ),
                name="catalogue_rule_face",
            ),
        ),
        migrations.AddConstraint(
            model_name="rule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("starts_at__isnull", True),
                    ("ends_at__isnull", True),
                    ("ends_at__gt", models.F("starts_at")),
                    _connector="OR",
                ),
                name="catalogue_rule_time",
            ),
        ),
        migrations.RunSQL(TELL, SILENCE),
    ]
