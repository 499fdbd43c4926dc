"""Notices as they arrived, unique by who sent them and what they call them."""

from django.db import migrations

NOTICES = """
CREATE TABLE inbox_notice (
    source      text        COLLATE "C" NOT NULL,        -- payments:alipay, operators:northtel
    their_id    text        COLLATE "C" NOT NULL,        -- theirs; "raw:<digest>" while it cannot be verified
    received_at timestamptz NOT NULL,
    raw         bytea       NOT NULL,                    -- the body, sealed
    verified    boolean     NOT NULL,
    about       text,                                    -- the order or request that it speaks of
    remark      text        NOT NULL DEFAULT '',         -- what we made of it
    handled_at  timestamptz,
    seen        integer     NOT NULL DEFAULT 1,          -- how often it came
    PRIMARY KEY (source, their_id)
);
CREATE INDEX inbox_notice_about ON inbox_notice (about) WHERE about IS NOT NULL;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [migrations.RunSQL(NOTICES, "DROP TABLE inbox_notice")]
