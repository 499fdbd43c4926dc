"""The tables of operators, products and supplies, and the counter that tells readers to read again."""

import django.db.models.deletion
from django.db import migrations, models

TELL = """
INSERT INTO catalogue_version (id, version) VALUES (1, 1);

CREATE FUNCTION catalogue_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalogue_version SET version = version + 1 WHERE id = 1;
    RETURN NULL;
END $$;

CREATE TRIGGER catalogue_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalogue_operator
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalogue_product
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalogue_supply
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
"""

SILENCE = """
DROP TRIGGER catalogue_changed ON catalogue_operator;
DROP TRIGGER catalogue_changed ON catalogue_product;
DROP TRIGGER catalogue_changed ON catalogue_supply;
DROP FUNCTION catalogue_changed;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Operator",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("name_zh", models.TextField()),
                ("name_en", models.TextField()),
                ("country", models.CharField(max_length=2)),
                ("currency", models.CharField(max_length=3)),
                ("own_network", models.BooleanField(default=False)),
                ("colour", models.TextField(default="#334155", help_text="of the brand, as #rrggbb")),
                ("position", models.IntegerField(default=100, help_text="smaller comes first on the pages")),
                ("enabled", models.BooleanField(default=True)),
            ],
            options={
                "db_table": "catalogue_operator",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("colour__regex", "^#[0-9a-f]{6}$")), name="catalogue_operator_colour"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("kind", models.TextField(choices=[("fixed", "fixed"), ("range", "range")])),
                ("face_minor", models.BigIntegerField(help_text="the face value; of a range the smallest")),
                ("max_face_minor", models.BigIntegerField(blank=True, null=True)),
                ("currency", models.CharField(max_length=3)),
                ("retail_price_minor", models.BigIntegerField(blank=True, null=True)),
                ("retail_bp", models.IntegerField(default=10000, help_text="price as basis points of the face value")),
                ("validity_days", models.IntegerField(default=0)),
                (
                    "validity_policy",
                    models.TextField(
                        choices=[
                            ("from_today", "from_today"),
                            ("from_expiry", "from_expiry"),
                            ("longer", "longer"),
                            ("never", "never"),
                        ],
                        default="never",
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                (
                    "operator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="products", to="catalogue.operator"
                    ),
                ),
            ],
            options={
                "db_table": "catalogue_product",
            },
        ),
        migrations.CreateModel(
            name="Supply",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("supplier", models.TextField()),
                ("cost_minor", models.BigIntegerField(blank=True, null=True)),
                ("cost_bp", models.IntegerField(default=10000, help_text="cost as basis points of the face value")),
                ("priority", models.IntegerField(default=100)),
                ("enabled", models.BooleanField(default=True)),
                (
                    "operator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="supplies", to="catalogue.operator"
                    ),
                ),
                (
                    "product",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="supplies",
                        to="catalogue.product",
                    ),
                ),
            ],
            options={
                "db_table": "catalogue_supply",
            },
        ),
        migrations.CreateModel(
            name="Version",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("version", models.BigIntegerField()),
            ],
            options={
                "db_table": "catalogue_version",
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="catalogue_version_single")],
            },
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(condition=models.Q(("face_minor__gt", 0)), name="catalogue_product_face"),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "fixed"), ("max_face_minor__isnull", True)),
                    models.Q(
                        ("kind", "range"),
                        ("max_face_minor__gte", models.F("face_minor")),
                        ("max_face_minor__isnull", False),
                        ("retail_price_minor__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="catalogue_product_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("retail_price_minor__isnull", True), ("retail_price_minor__gt", 0), _connector="OR"),
                    ("retail_bp__gt", 0),
                    ("retail_bp__lte", 20000),
                ),
                name="catalogue_product_price",
            ),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("validity_days__gte", 0),
                    ("validity_days__lte", 3650),
                    ("validity_policy__in", ["from_today", "from_expiry", "longer", "never"]),
                ),
                name="catalogue_product_validity",
            ),
        ),
        migrations.AddConstraint(
            model_name="supply",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("cost_minor__isnull", True),
                        models.Q(("cost_minor__gt", 0), ("product__isnull", False)),
                        _connector="OR",
                    ),
                    ("cost_bp__gt", 0),
                    ("cost_bp__lte", 20000),
                ),
                name="catalogue_supply_cost",
            ),
        ),
        migrations.RunSQL(TELL, SILENCE),
    ]
