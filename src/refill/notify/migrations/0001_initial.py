"""Where partners listen, what happened for them to hear, and what became of each telling."""

import django.db.models.deletion
from django.db import migrations, models

EVENTS = """
CREATE TABLE notify_event (
    cell    smallint    NOT NULL,
    subject text        COLLATE "C" NOT NULL,            -- the object that it happened to
    n       integer     NOT NULL CHECK (n > 0),          -- 1, 2, 3 … for each object
    partner text        COLLATE "C" NOT NULL,            -- who may hear of it
    kind    text        NOT NULL,
    at      timestamptz NOT NULL,
    facts   text        NOT NULL,                        -- JSON: what was true then, without numbers of people
    PRIMARY KEY (cell, subject, n)
);
CREATE INDEX notify_event_at ON notify_event (at);
COMMENT ON TABLE notify_event IS 'What happened for partners to hear, written where it happened; kept for a month';
"""

DELIVERIES = """
CREATE TABLE notify_delivery (
    endpoint text        COLLATE "C" NOT NULL,
    cell     smallint    NOT NULL,
    subject  text        COLLATE "C" NOT NULL,
    n        integer     NOT NULL,
    state    text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'accepted', 'given_up')),
    at       timestamptz NOT NULL,                       -- when it happened
    since    timestamptz NOT NULL,                       -- when its tries began; again when it is replayed
    due      timestamptz,                                -- the next try; while somebody tries, the end of the lease
    tries    integer     NOT NULL DEFAULT 0,             -- since then
    total    integer     NOT NULL DEFAULT 0,             -- ever; names the tries in the log
    fence    integer     NOT NULL DEFAULT 0,             -- counts leases: who holds an older one was overtaken
    done_at  timestamptz,
    status   smallint,                                   -- of the latest answer
    PRIMARY KEY (endpoint, cell, subject, n),
    CHECK ((state = 'waiting') = (due IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX notify_delivery_due ON notify_delivery (endpoint, due) WHERE state = 'waiting';
CREATE INDEX notify_delivery_at ON notify_delivery (endpoint, at, subject, n);
COMMENT ON TABLE notify_delivery IS 'Each event for each endpoint that hears it: waiting, accepted or given up';

CREATE TABLE notify_try (
    endpoint   text        COLLATE "C" NOT NULL,
    cell       smallint    NOT NULL,
    subject    text        COLLATE "C" NOT NULL,
    n          integer     NOT NULL,
    try        integer     NOT NULL,
    at         timestamptz NOT NULL,
    status     smallint,                                 -- NULL: no answer
    latency_ms integer     NOT NULL,
    says       text        NOT NULL,                     -- the beginning of the answer, numbers masked
    PRIMARY KEY (endpoint, cell, subject, n, try)
);
COMMENT ON TABLE notify_try IS 'The log of deliveries: one row for each time that an endpoint was asked';
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("accounts", "0001_initial")]
    operations = [
        migrations.CreateModel(
            name="Endpoint",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("url", models.TextField()),
                ("events", models.TextField(default="", help_text="words separated by a space; empty: all of them")),
                ("description", models.TextField(default="")),
                (
                    "state",
                    models.TextField(
                        choices=[("active", "active"), ("disabled", "disabled"), ("deleted", "deleted")],
                        default="active",
                    ),
                ),
                ("why", models.TextField(default="", help_text="why it is disabled: asked, gone or failing")),
                ("secret", models.BinaryField()),
                ("former_secret", models.BinaryField(help_text="the one before, while both sign", null=True)),
                ("former_until", models.DateTimeField(null=True)),
                (
                    "failing_since",
                    models.DateTimeField(help_text="the first failure since something was accepted", null=True),
                ),
                ("low_minor", models.BigIntegerField(help_text="tell when the float is below this", null=True)),
                ("low_told", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField()),
                ("changed_at", models.DateTimeField()),
                (
                    "partner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="endpoints",
                        to="accounts.partner",
                    ),
                ),
            ],
            options={
                "db_table": "notify_endpoint",
                "indexes": [
                    models.Index(fields=["partner"], name="notify_endpoint_partner"),
                    models.Index(fields=["state"], name="notify_endpoint_state"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["active", "disabled", "deleted"])),
                        name="notify_endpoint_states",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("former_secret__isnull", True), ("former_until__isnull", True)),
                            models.Q(("former_secret__isnull", False), ("former_until__isnull", False)),
                            _connector="OR",
                        ),
                        name="notify_endpoint_former",
                    ),
                ],
            },
        ),
        migrations.RunSQL(EVENTS, "DROP TABLE notify_event"),
        migrations.RunSQL(DELIVERIES, "DROP TABLE notify_try, notify_delivery"),
    ]
