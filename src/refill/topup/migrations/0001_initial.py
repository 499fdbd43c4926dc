"""Orders with their keys, events, payments, attempts and refunds."""

from django.db import migrations

# A client's key or reference, unique for ever: the row that decides which of two equal requests is the first.
KEYS = """
CREATE TABLE topup_key (
    cell     smallint NOT NULL,                          -- of the name, not of the order
    name     uuid     NOT NULL,                          -- keyed hash of payer, kind and key
    content  uuid     NOT NULL,                          -- keyed hash of what was asked
    order_id text     COLLATE "C" NOT NULL,
    PRIMARY KEY (cell, name)
);
"""

ORDERS = """
CREATE TABLE topup_order (
    cell            smallint    NOT NULL,
    id              text        COLLATE "C" NOT NULL,
    payer           text        COLLATE "C" NOT NULL,    -- partner:<id>, guest:<session>
    channel         text        NOT NULL,
    number          text        COLLATE "C" NOT NULL,    -- keyed index of the MSISDN
    operator        text        NOT NULL,
    product         text        NOT NULL,
    supplier        text        NOT NULL,                -- home: our own network
    face_minor      bigint      NOT NULL CHECK (face_minor > 0),
    face_currency   text        NOT NULL,
    price_minor     bigint      NOT NULL CHECK (price_minor > 0),
    currency        text        NOT NULL,
    cost_minor      bigint,                              -- what we expect the supplier to take
    days            smallint    NOT NULL,                -- validity that the top-up adds on our own network
    policy          text        NOT NULL,
    reference       text,                                -- the client's own
    payment         text        NOT NULL CHECK (payment IN
                    ('unpaid', 'captured', 'refund_pending', 'refunded', 'expired', 'disputed')),
    delivery        text        NOT NULL CHECK (delivery IN
                    ('quoted', 'ready', 'dispatching', 'delivered', 'partial', 'parked', 'unknown', 'failed', 'reversed')),
    captured_minor  bigint      NOT NULL DEFAULT 0,
    refunded_minor  bigint      NOT NULL DEFAULT 0,
    delivered_minor bigint      NOT NULL DEFAULT 0,
    attempts        smallint    NOT NULL DEFAULT 0,
    parks           smallint    NOT NULL DEFAULT 0,
    reason          text        NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz,                         -- unpaid until then
    deadline        timestamptz,                         -- an unknown outcome is refunded then
    final_at        timestamptz,
    valid_until     timestamptz,                         -- service on our own network after this top-up
    wake_at         timestamptz,                         -- the delivery's own timer: send, resume
    due             timestamptz,                         -- the earliest of all timers; NULL: nothing left to do
    fence           integer     NOT NULL DEFAULT 0,      -- counts leases
    PRIMARY KEY (cell, id),
    CHECK (captured_minor >= 0 AND refunded_minor >= 0 AND refunded_minor <= captured_minor),
    CHECK (delivered_minor BETWEEN 0 AND face_minor)
) WITH (fillfactor = 80);
CREATE INDEX topup_order_number ON topup_order (number, id);
CREATE INDEX topup_order_due ON topup_order (due) WHERE due IS NOT NULL;
"""

EVENTS = """
CREATE TABLE topup_event (
    cell       smallint    NOT NULL,
    order_id   text        COLLATE "C" NOT NULL,
    transition text        COLLATE "C" NOT NULL,
    n          smallint    NOT NULL,                     -- attempt, park or refund number; 0 where it happens once
    at         timestamptz NOT NULL,
    detail     text        NOT NULL DEFAULT '',
    PRIMARY KEY (cell, order_id, transition, n)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON topup_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

PAYMENTS = """
CREATE TABLE topup_payment (
    cell       smallint    NOT NULL,
    order_id   text        COLLATE "C" NOT NULL,
    n          smallint    NOT NULL,
    method     text        NOT NULL,
    scene      text        NOT NULL,
    reference  text        COLLATE "C" NOT NULL,         -- ours at the gateway: order id, "p", n
    minor      bigint      NOT NULL CHECK (minor > 0),
    currency   text        NOT NULL,
    state      text        NOT NULL CHECK (state IN ('open', 'captured', 'closed')),
    opened_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    polls      smallint    NOT NULL DEFAULT 0,
    poll_at    timestamptz,
    PRIMARY KEY (cell, order_id, n)
);
-- Money that arrived: one row for ever for each transaction of a gateway, whatever it turned out to be for.
CREATE TABLE topup_capture (
    cell        smallint    NOT NULL,                    -- of the transaction
    method      text        COLLATE "C" NOT NULL,
    merchant    text        COLLATE "C" NOT NULL,
    transaction text        COLLATE "C" NOT NULL,
    order_id    text        COLLATE "C" NOT NULL,
    reference   text        COLLATE "C" NOT NULL,
    minor       bigint      NOT NULL CHECK (minor > 0),
    currency    text        NOT NULL,
    paid_at     timestamptz NOT NULL,
    noticed_at  timestamptz NOT NULL,
    fate        text        NOT NULL CHECK (fate IN ('order', 'late', 'twice', 'amount')),
    PRIMARY KEY (cell, method, merchant, transaction)
);
CREATE INDEX topup_capture_order ON topup_capture (order_id);
"""

ATTEMPTS = """
CREATE TABLE topup_attempt (
    cell        smallint    NOT NULL,
    order_id    text        COLLATE "C" NOT NULL,
    n           smallint    NOT NULL,
    supplier    text        NOT NULL,
    request_id  text        COLLATE "C" NOT NULL,        -- order id, "a", n
    state       text        NOT NULL CHECK (state IN ('prepared', 'unknown', 'done', 'refused')),
    prepared_at timestamptz NOT NULL,
    send_before timestamptz NOT NULL,                    -- nobody writes a byte after this
    hard_end    timestamptz NOT NULL,                    -- nobody listens after this
    inquiries   smallint    NOT NULL DEFAULT 0,
    inquire_at  timestamptz,
    their_id    text,                                    -- the supplier's reference
    code        text        NOT NULL DEFAULT '',
    cost_minor  bigint,
    fence       integer     NOT NULL,                    -- the lease of the order under which it was prepared
    PRIMARY KEY (cell, order_id, n)
);
-- Rule 1: at most one open attempt per order
CREATE UNIQUE INDEX topup_attempt_open ON topup_attempt (cell, order_id) WHERE state IN ('prepared', 'unknown');
"""

REFUNDS = """
CREATE TABLE topup_refund (
    cell       smallint    NOT NULL,
    order_id   text        COLLATE "C" NOT NULL,
    n          smallint    NOT NULL,
    method     text        NOT NULL,
    reference  text        COLLATE "C" NOT NULL,         -- of the payment
    merchant   text        COLLATE "C" NOT NULL,
    transaction text       COLLATE "C" NOT NULL,         -- the gateway's number of the capture
    captured_minor bigint  NOT NULL,                     -- of that capture
    minor      bigint      NOT NULL CHECK (minor > 0),
    currency   text        NOT NULL,
    source     text        COLLATE "C" NOT NULL,         -- the account it comes out of
    request_id text        COLLATE "C" NOT NULL,         -- order id, "r", n
    state      text        NOT NULL CHECK (state IN ('due', 'sent', 'done', 'cancelled', 'stuck')),
    why        text        NOT NULL,
    asks       smallint    NOT NULL DEFAULT 0,
    ask_at     timestamptz,
    opened_at  timestamptz NOT NULL,
    done_at    timestamptz,
    PRIMARY KEY (cell, order_id, n)
);
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("ledger", "0001_initial")]
    operations = [
        migrations.RunSQL(KEYS, "DROP TABLE topup_key"),
        migrations.RunSQL(ORDERS, "DROP TABLE topup_order"),
        migrations.RunSQL(EVENTS, "DROP TABLE topup_event"),
        migrations.RunSQL(PAYMENTS, "DROP TABLE topup_capture, topup_payment"),
        migrations.RunSQL(ATTEMPTS, "DROP TABLE topup_attempt"),
        migrations.RunSQL(REFUNDS, "DROP TABLE topup_refund"),
    ]
