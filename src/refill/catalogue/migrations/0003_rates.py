"""Exchange rates, told once and never changed, and the currency in which a supplier bills."""

from django.db import migrations, models

RATES = """
CREATE TABLE catalogue_rate (
    base        text        NOT NULL,
    quote       text        NOT NULL,
    valid_from  timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    num         bigint      NOT NULL CHECK (num > 0),  -- one unit of base is num / den units of quote
    den         bigint      NOT NULL CHECK (den > 0),
    source      text        NOT NULL CHECK (source <> ''),
    who         text        NOT NULL CHECK (who <> ''),
    told_at     timestamptz NOT NULL,
    PRIMARY KEY (base, quote, valid_from),
    CHECK (base <> quote),
    CHECK (valid_from < valid_until)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON catalogue_rate
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER catalogue_changed AFTER INSERT ON catalogue_rate
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
"""


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0002_first_operators"), ("ledger", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="supply",
            name="cost_currency",
            field=models.CharField(
                blank=True,
                help_text="in which the supplier bills; empty: the currency of the face value",
                max_length=3,
                null=True,
            ),
        ),
        migrations.RunSQL(RATES, "DROP TABLE catalogue_rate"),
    ]
