"""The table of numbers: hot, so its key begins with the cell, and written as SQL."""

import django.db.models
from django.db import migrations

CREATE = """
CREATE TABLE numbers_number (
    cell             smallint    NOT NULL CHECK (cell BETWEEN 0 AND 4095),
    number           text        NOT NULL CHECK (length(number) = 16), -- keyed index of the digits
    sealed           bytea       NOT NULL,                             -- the digits; deleting the row erases the person
    learned_operator text,
    first_seen       timestamptz NOT NULL,
    PRIMARY KEY (cell, number)
);
COMMENT ON TABLE numbers_number IS 'Telephone numbers, once each, encrypted; all other tables name them by keyed index';
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.RunSQL(CREATE, "DROP TABLE numbers_number"),
        migrations.CreateModel(
            name="Number",
            fields=[
                (
                    "pk",
                    django.db.models.CompositePrimaryKey(
                        "cell", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("cell", django.db.models.SmallIntegerField()),
                ("number", django.db.models.TextField()),
                ("sealed", django.db.models.BinaryField()),
                ("learned_operator", django.db.models.TextField(null=True)),
                ("first_seen", django.db.models.DateTimeField()),
            ],
            options={"db_table": "numbers_number", "managed": False},
        ),
    ]
