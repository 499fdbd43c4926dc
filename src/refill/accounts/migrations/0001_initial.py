"""The tables of partners and their API keys."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Partner",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("name", models.TextField(unique=True)),
                ("currency", models.CharField(max_length=3)),
                (
                    "commission_bp",
                    models.IntegerField(default=0, help_text="basis points of the face value: 40 is 0.40 %"),
                ),
                (
                    "credit_limit_minor",
                    models.BigIntegerField(default=0, help_text="how far the float may go below zero"),
                ),
                (
                    "status",
                    models.TextField(choices=[("active", "active"), ("suspended", "suspended")], default="active"),
                ),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "accounts_partner",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("commission_bp__gte", 0), ("commission_bp__lte", 10000)),
                        name="accounts_partner_commission",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("credit_limit_minor__gte", 0)), name="accounts_partner_credit_limit"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["active", "suspended"])), name="accounts_partner_status"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("prefix", models.TextField()),
                ("last4", models.TextField()),
                ("digest", models.TextField(unique=True)),
                ("scopes", models.TextField(help_text="words separated by a space: topup balance")),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                (
                    "partner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="keys", to="accounts.partner"
                    ),
                ),
            ],
            options={
                "db_table": "accounts_apikey",
            },
        ),
    ]
