"""SIM cards as an ordinary table; subscribers and expiring balances hot, so written as SQL with the cell in every key."""

from django.db import migrations, models

HOT = """
CREATE TABLE cards_subscriber (
    cell         smallint    NOT NULL CHECK (cell BETWEEN 0 AND 4095),
    id           text        NOT NULL,
    number       text,                 -- keyed index of the number; NULL once the number has gone back to the pool
    iccid        text        NOT NULL,
    network      text        NOT NULL,
    currency     text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    state        text        NOT NULL CHECK (state IN ('stock', 'active', 'grace', 'suspended', 'expired', 'recycled')),
    active_until timestamptz,
    first_until  timestamptz,          -- the validity that activation gave; a reversal counts again from here
    activated_at timestamptz,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (cell, id),
    UNIQUE (cell, number),
    CHECK ((state = 'stock') = (active_until IS NULL)),
    CHECK ((state = 'recycled') = (number IS NULL))
) WITH (fillfactor = 85);
-- Every top-up moves state and active_until, so no index names them: an update then stays on its page (HOT) and touches no
-- index. Who is due is found by walking the primary key cell by cell; a cell of ten million subscribers holds 2,400 rows.
COMMENT ON TABLE cards_subscriber IS 'Subscribers of our own network: which number, until when it is served';

CREATE TABLE cards_bucket (
    cell       smallint    NOT NULL CHECK (cell BETWEEN 0 AND 4095),
    id         text        NOT NULL,
    subscriber text        NOT NULL,
    kind       text        NOT NULL,
    currency   text        NOT NULL,
    account    text        NOT NULL,   -- of the ledger, this bucket's own
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (cell, id)
);
CREATE INDEX cards_bucket_of_subscriber ON cards_bucket (cell, subscriber, expires_at);
COMMENT ON TABLE cards_bucket IS 'Grants that expire; the oldest is spent first';
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.RunSQL(HOT, "DROP TABLE cards_bucket; DROP TABLE cards_subscriber"),
        migrations.CreateModel(
            name="Bucket",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "cell", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("cell", models.SmallIntegerField()),
                ("id", models.TextField()),
                ("subscriber", models.TextField()),
                ("kind", models.TextField()),
                ("currency", models.TextField()),
                ("account", models.TextField()),
                ("expires_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "cards_bucket",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Subscriber",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "cell", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("cell", models.SmallIntegerField()),
                ("id", models.TextField()),
                ("number", models.TextField(null=True)),
                ("iccid", models.TextField()),
                ("network", models.TextField()),
                ("currency", models.TextField()),
                ("state", models.TextField()),
                ("active_until", models.DateTimeField(null=True)),
                ("first_until", models.DateTimeField(null=True)),
                ("activated_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "cards_subscriber",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Card",
            fields=[
                ("iccid", models.TextField(primary_key=True, serialize=False)),
                ("imsi", models.TextField(unique=True)),
                ("kind", models.TextField(choices=[("SIM", "SIM"), ("USIM", "USIM"), ("eUICC", "eUICC")])),
                ("keys_sealed", models.BinaryField()),
                (
                    "status",
                    models.TextField(
                        choices=[("stock", "stock"), ("in_use", "in_use"), ("replaced", "replaced"), ("lost", "lost")],
                        default="stock",
                    ),
                ),
                ("subscriber_id", models.TextField(blank=True, null=True)),
                ("batch", models.TextField()),
                ("imported_at", models.DateTimeField()),
            ],
            options={
                "db_table": "cards_card",
                "indexes": [models.Index(fields=["subscriber_id"], name="cards_card_subscriber")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["SIM", "USIM", "eUICC"])), name="cards_card_kind"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["stock", "in_use", "replaced", "lost"])),
                        name="cards_card_status",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "in_use"), _negated=True),
                            ("subscriber_id__isnull", False),
                            _connector="OR",
                        ),
                        name="cards_card_in_use",
                    ),
                ],
            },
        ),
    ]
