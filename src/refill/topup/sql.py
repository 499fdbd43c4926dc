"""The hot statements of a top-up: set-based, touching rows in the order in which they are named."""

from refill.db import Statement

# ------------------------------------------------------------------ keys

CLAIM_KEYS = Statement("""
    -- Clients' keys and references, first come; sorted by the caller so that two batches cannot wait for each other
    -- Says which were taken already; by whom, the next statement sees, whose snapshot is younger than any we waited for
    WITH asked AS MATERIALIZED (
      SELECT * FROM unnest(:cells::smallint[], :names::uuid[], :contents::uuid[], :orders::text[])
        AS asked (cell, name, content, order_id)),
    written AS (
      INSERT INTO topup_key (cell, name, content, order_id) SELECT cell, name, content, order_id FROM asked
          ON CONFLICT DO NOTHING RETURNING name)
    SELECT cell, name::text FROM asked WHERE name NOT IN (SELECT name FROM written)
""")

KEYS = Statement("""
    -- Who owns these keys
    SELECT k.name, k.content, k.order_id
      FROM unnest(:cells::smallint[], :names::uuid[]) AS asked (cell, name)
      JOIN topup_key k ON k.cell = asked.cell AND k.name = asked.name
""")

RELEASE_KEYS = Statement("""
    -- Keys of requests that were refused before an order existed: not remembered
    DELETE FROM topup_key k
     USING unnest(:cells::smallint[], :names::uuid[], :orders::text[]) AS asked (cell, name, order_id)
     WHERE k.cell = asked.cell AND k.name = asked.name AND k.order_id = asked.order_id
""")

POINT_KEYS = Statement("""
    -- A second name for an order that is there already
    UPDATE topup_key k SET order_id = asked.order_id
      FROM unnest(:cells::smallint[], :names::uuid[], :orders::text[]) AS asked (cell, name, order_id)
     WHERE k.cell = asked.cell AND k.name = asked.name
""")

# ------------------------------------------------------------------ orders

BEAR = Statement("""
    -- New orders that are born in one way, each with the event of its birth; what many have in common is told once
    WITH born AS (
      INSERT INTO topup_order (cell, id, payer, channel, number, operator, product, supplier, face_minor, face_currency,
                               price_minor, currency, cost_minor, days, policy, reference, payment, delivery,
                               captured_minor, delivered_minor, created_at, expires_at, deadline, final_at, valid_until,
                               wake_at, due, cost_currency, rate_num, rate_den, limited)
      SELECT cell, id, (:payers::text[])[term], (:channels::text[])[term], number, (:operators::text[])[term],
             (:products::text[])[term], (:suppliers::text[])[term], (:faces::bigint[])[term],
             (:facecurrencies::text[])[term], (:prices::bigint[])[term], (:currencies::text[])[term],
             (:costs::bigint[])[term], (:days::smallint[])[term], (:policies::text[])[term], reference, :payment,
             :delivery, CASE WHEN :payment = 'unpaid' THEN 0 ELSE (:prices::bigint[])[term] END,
             CASE WHEN :delivery = 'delivered' THEN (:faces::bigint[])[term] ELSE 0 END, :now, :expires, :deadline, :final,
             valid, :wake::timestamptz, coalesce(:wake, :expires), (:costcurrencies::text[])[term],
             (:ratenums::bigint[])[term], (:ratedens::bigint[])[term], (:limiteds::boolean[])[term]
        FROM unnest(:cells::smallint[], :ids::text[], :numbers::text[], :references::text[], :valids::timestamptz[],
                    :terms::smallint[])
          AS t (cell, id, number, reference, valid, term)
      RETURNING cell, id)
    INSERT INTO topup_event (cell, order_id, transition, n, at) SELECT cell, id, :transition, 0, :now FROM born
""")

_ORDER = """
    o.id, o.cell, o.payer, o.channel, o.number, o.operator, o.product, o.supplier, o.face_minor, o.face_currency,
    o.price_minor, o.currency, o.cost_minor, o.days, o.policy, o.reference, o.payment, o.delivery, o.created_at,
    o.expires_at, o.deadline, o.final_at, o.valid_until, o.wake_at, o.captured_minor, o.refunded_minor,
    o.delivered_minor, o.attempts, o.parks, o.reason, o.fence, o.cost_currency, o.rate_num, o.rate_den, o.limited
"""

FIND = Statement(f"""
    -- Orders by id, not locked
    SELECT {_ORDER}
      FROM unnest(:cells::smallint[], :ids::text[]) AS asked (cell, id)
      JOIN topup_order o ON o.cell = asked.cell AND o.id = asked.id
""")

LOCK = Statement(f"""
    -- Orders, locked in the order in which they are named
    SELECT {_ORDER}
      FROM unnest(:cells::smallint[], :ids::text[]) WITH ORDINALITY AS asked (cell, id, n)
      JOIN topup_order o ON o.cell = asked.cell AND o.id = asked.id
     ORDER BY asked.n
       FOR UPDATE OF o
""")

CLAIM_DUE = Statement(f"""
    -- Orders whose timer rang, each to one worker; the new due time is the lease: behind it another may take over.
    -- Those that are to be sent stand in a line for each operator (found by skipping from one to the next), and no more
    -- leave it than its suppliers have places for; the others stay due where they stand.
    WITH RECURSIVE line AS (
      (SELECT operator FROM topup_order WHERE due IS NOT NULL AND delivery = 'ready' ORDER BY operator LIMIT 1)
       UNION ALL
      SELECT (SELECT o.operator FROM topup_order o
               WHERE o.due IS NOT NULL AND o.delivery = 'ready' AND o.operator > line.operator
               ORDER BY o.operator LIMIT 1)
        FROM line WHERE line.operator IS NOT NULL),
    lines AS (SELECT operator, count(*) OVER () AS many FROM line WHERE operator IS NOT NULL),
    ready AS (
      SELECT first.cell, first.id
        FROM lines
        LEFT JOIN unnest(:operators::text[], :rooms::int[]) AS free (operator, room) ON free.operator = lines.operator
       CROSS JOIN LATERAL (
        SELECT o.cell, o.id FROM topup_order o
         WHERE o.due <= :now AND o.delivery = 'ready' AND o.operator = lines.operator
         ORDER BY o.due LIMIT least((:most::int + lines.many - 1) / lines.many, free.room) FOR UPDATE SKIP LOCKED)
          AS first),
    rang AS (
      SELECT cell, id FROM topup_order
       WHERE due <= :now AND delivery <> 'ready' ORDER BY due LIMIT :most FOR UPDATE SKIP LOCKED)
    UPDATE topup_order o SET due = :lease, fence = o.fence + 1
      FROM (SELECT cell, id FROM ready UNION ALL SELECT cell, id FROM rang) AS taken
     WHERE o.cell = taken.cell AND o.id = taken.id
    RETURNING {_ORDER}
""")

BY_NUMBER = Statement(f"""
    -- The latest orders of a number
    SELECT {_ORDER} FROM topup_order o WHERE o.number = :number ORDER BY o.id DESC LIMIT :most
""")

STANDING = Statement("""
    -- What the other top-ups of a number gave it on our own network and still give, since its subscriber came to be
    SELECT e.at, o.days, o.policy
      FROM topup_order o
      JOIN topup_event e ON e.cell = o.cell AND e.order_id = o.id AND e.transition = 'sold'
     WHERE o.number = :number AND o.id >= :since AND o.id <> :reversed
       AND o.supplier = 'home' AND o.delivery = 'delivered'
     ORDER BY e.at, o.id
""")

MOVE = Statement("""
    -- Orders from one state to the next; a row that is not in the state that we saw stays as it is
    WITH asked AS (
      SELECT * FROM unnest(:cells::smallint[], :ids::text[], :payments::text[], :deliveries::text[],
                           :newpayments::text[], :newdeliveries::text[], :captured::bigint[], :refunded::bigint[],
                           :delivered::bigint[], :attempts::smallint[], :parks::smallint[], :reasons::text[],
                           :expires::timestamptz[], :deadlines::timestamptz[], :finals::timestamptz[],
                           :valids::timestamptz[], :wakes::timestamptz[], :dues::timestamptz[], :suppliers::text[],
                           :costs::bigint[], :costcurrencies::text[], :ratenums::bigint[], :ratedens::bigint[])
        AS t (cell, id, payment, delivery, new_payment, new_delivery, captured, refunded, delivered, attempts, parks,
              reason, expires, deadline, final, valid, wake, due, supplier, cost, cost_currency, rate_num, rate_den))
    UPDATE topup_order o
       SET payment = asked.new_payment, delivery = asked.new_delivery, captured_minor = asked.captured,
           refunded_minor = asked.refunded, delivered_minor = asked.delivered, attempts = asked.attempts,
           parks = asked.parks, reason = asked.reason, expires_at = asked.expires, deadline = asked.deadline,
           final_at = asked.final, valid_until = asked.valid, wake_at = asked.wake, due = asked.due,
           supplier = asked.supplier, cost_minor = asked.cost, cost_currency = asked.cost_currency,
           rate_num = asked.rate_num, rate_den = asked.rate_den
      FROM asked
     WHERE o.cell = asked.cell AND o.id = asked.id AND o.payment = asked.payment AND o.delivery = asked.delivery
""")

WAKE = Statement("""
    -- Orders that are parked for want of a product go on at once; one that somebody holds goes on by its own timer
    WITH waiting AS (
      SELECT cell, id FROM topup_order
       WHERE due IS NOT NULL AND delivery = 'parked' AND product = :product FOR UPDATE SKIP LOCKED)
    UPDATE topup_order o SET wake_at = :now, due = least(o.due, :now)
      FROM waiting WHERE o.cell = waiting.cell AND o.id = waiting.id
""")

EVENTS = Statement("""
    -- What happened, added to the orders' timelines; never before what happened before it: whoever waited for an order's
    -- lock read the clock earlier than who held it, and clocks of two processes differ
    INSERT INTO topup_event (cell, order_id, transition, n, at, detail)
    SELECT t.cell, t.id, t.transition, t.n, greatest(:now::timestamptz, earlier.at), t.detail
      FROM unnest(:cells::smallint[], :ids::text[], :transitions::text[], :ns::smallint[], :details::text[])
        AS t (cell, id, transition, n, detail)
     CROSS JOIN LATERAL (
      SELECT max(e.at) AS at FROM topup_event e WHERE e.cell = t.cell AND e.order_id = t.id) AS earlier
""")


# ------------------------------------------------------------------ payments, attempts, refunds

PAYMENTS = Statement("""
    -- Payments of some orders, in the order in which they were opened
    SELECT p.order_id, p.n, p.method, p.scene, p.reference, p.minor, p.currency, p.state, p.opened_at, p.expires_at,
           p.polls, p.poll_at
      FROM unnest(:cells::smallint[], :ids::text[]) AS asked (cell, id)
      JOIN topup_payment p ON p.cell = asked.cell AND p.order_id = asked.id
     ORDER BY p.order_id, p.n
""")

SAVE_PAYMENTS = Statement("""
    -- Payments, new or as they stand now
    INSERT INTO topup_payment AS p
           (cell, order_id, n, method, scene, reference, minor, currency, state, opened_at, expires_at, polls, poll_at)
    SELECT * FROM unnest(:cells::smallint[], :orders::text[], :ns::smallint[], :methods::text[], :scenes::text[],
                         :references::text[], :minors::bigint[], :currencies::text[], :states::text[],
                         :opened::timestamptz[], :expires::timestamptz[], :polls::smallint[], :pollat::timestamptz[])
        ON CONFLICT (cell, order_id, n) DO UPDATE
       SET state = excluded.state, polls = excluded.polls, poll_at = excluded.poll_at
""")

ATTEMPTS = Statement("""
    -- Attempts of some orders, the first one first
    SELECT a.order_id, a.n, a.supplier, a.request_id, a.state, a.prepared_at, a.send_before, a.hard_end, a.inquiries,
           a.inquire_at, a.their_id, a.code, a.cost_minor, a.fence, a.why
      FROM unnest(:cells::smallint[], :ids::text[]) AS asked (cell, id)
      JOIN topup_attempt a ON a.cell = asked.cell AND a.order_id = asked.id
     ORDER BY a.order_id, a.n
""")

SAVE_ATTEMPTS = Statement("""
    -- Attempts, new or as they stand now
    INSERT INTO topup_attempt AS a
           (cell, order_id, n, supplier, request_id, state, prepared_at, send_before, hard_end, inquiries, inquire_at,
            their_id, code, cost_minor, fence, why)
    SELECT * FROM unnest(:cells::smallint[], :orders::text[], :ns::smallint[], :suppliers::text[], :requests::text[],
                         :states::text[], :prepared::timestamptz[], :sends::timestamptz[], :ends::timestamptz[],
                         :inquiries::smallint[], :inquireat::timestamptz[], :theirs::text[], :codes::text[],
                         :costs::bigint[], :fences::int[], :why::text[])
        ON CONFLICT (cell, order_id, n) DO UPDATE
       SET state = excluded.state, send_before = excluded.send_before, hard_end = excluded.hard_end,
           inquiries = excluded.inquiries, inquire_at = excluded.inquire_at, their_id = excluded.their_id,
           code = excluded.code, cost_minor = excluded.cost_minor
""")

REFUNDS = Statement("""
    -- Refunds of some orders, the first one first
    SELECT r.order_id, r.n, r.method, r.reference, r.merchant, r.transaction, r.captured_minor, r.minor, r.currency,
           r.source, r.request_id, r.state, r.why, r.opened_at, r.asks, r.ask_at, r.done_at, r.claim_until
      FROM unnest(:cells::smallint[], :ids::text[]) AS asked (cell, id)
      JOIN topup_refund r ON r.cell = asked.cell AND r.order_id = asked.id
     ORDER BY r.order_id, r.n
""")

SAVE_REFUNDS = Statement("""
    -- Refunds, new or as they stand now
    INSERT INTO topup_refund AS r
           (cell, order_id, n, method, reference, merchant, transaction, captured_minor, minor, currency, source,
            request_id, state, why, asks, ask_at, opened_at, done_at, claim_until)
    SELECT * FROM unnest(:cells::smallint[], :orders::text[], :ns::smallint[], :methods::text[], :references::text[],
                         :merchants::text[], :transactions::text[], :captured::bigint[], :minors::bigint[],
                         :currencies::text[], :sources::text[], :requests::text[], :states::text[], :whys::text[],
                         :asks::smallint[], :askat::timestamptz[], :opened::timestamptz[], :done::timestamptz[],
                         :claims::timestamptz[])
        ON CONFLICT (cell, order_id, n) DO UPDATE
       SET state = excluded.state, asks = excluded.asks, ask_at = excluded.ask_at, done_at = excluded.done_at,
           claim_until = excluded.claim_until
""")

PROPOSALS = Statement("""
    -- Refunds of an order that somebody asked for, the first one first
    SELECT n, minor, currency, why, asked_by, asked_at, state, decided_by, decided_at, answer
      FROM topup_proposal WHERE cell = :cell AND order_id = :id ORDER BY n
""")

SAVE_PROPOSAL = Statement("""
    -- A refund that somebody asks for, or what another person decided
    INSERT INTO topup_proposal AS p
           (cell, order_id, n, minor, currency, why, asked_by, asked_at, state, decided_by, decided_at, answer)
    VALUES (:cell, :id, :n, :minor, :currency, :why, :askedby, :askedat, :state, :decidedby, :decidedat, :answer)
        ON CONFLICT (cell, order_id, n) DO UPDATE
       SET state = excluded.state, decided_by = excluded.decided_by, decided_at = excluded.decided_at,
           answer = excluded.answer
     WHERE p.state = 'open'
""")

DISPUTES = Statement("""
    -- Disputed payments of an order, the first one first
    SELECT n, method, merchant, transaction, minor, currency, reason, state, opened_at, evidence_by, decided_at,
           counted_minor
      FROM topup_dispute WHERE cell = :cell AND order_id = :id ORDER BY n
""")

SAVE_DISPUTE = Statement("""
    -- A disputed payment, new or decided
    INSERT INTO topup_dispute AS d
           (cell, order_id, n, method, merchant, transaction, minor, currency, reason, state, opened_at, evidence_by,
            decided_at, counted_minor)
    VALUES (:cell, :id, :n, :method, :merchant, :transaction, :minor, :currency, :reason, :state, :opened, :evidenceby,
            :decided, :counted)
        ON CONFLICT (cell, order_id, n) DO UPDATE
       SET state = excluded.state, decided_at = excluded.decided_at, counted_minor = excluded.counted_minor
     WHERE d.state = 'opened' OR (d.state = excluded.state AND d.counted_minor < excluded.counted_minor)
""")

CAPTURE = Statement("""
    -- Money that arrived, once for ever for each of the gateway's transactions
    INSERT INTO topup_capture (cell, method, merchant, transaction, order_id, reference, minor, currency, paid_at,
                               noticed_at, fate)
    SELECT cell, method, merchant, transaction, order_id, reference, minor, currency, paid, :now, fate
      FROM unnest(:cells::smallint[], :methods::text[], :merchants::text[], :transactions::text[], :orders::text[],
                  :references::text[], :minors::bigint[], :currencies::text[], :paids::timestamptz[], :fates::text[])
        AS t (cell, method, merchant, transaction, order_id, reference, minor, currency, paid, fate)
        ON CONFLICT DO NOTHING
""")

CAPTURED = Statement("""
    -- Which of these transactions we know already
    SELECT c.method, c.merchant, c.transaction
      FROM unnest(:cells::smallint[], :methods::text[], :merchants::text[], :transactions::text[])
        AS asked (cell, method, merchant, transaction)
      JOIN topup_capture c USING (cell, method, merchant, transaction)
""")

CAPTURES_OF = Statement("""
    -- The money that arrived for these orders
    SELECT order_id, method, merchant, transaction, reference, minor, currency, paid_at, fate
      FROM topup_capture WHERE order_id = ANY (:orders::text[]) ORDER BY noticed_at, transaction
""")

ORDER_OF_TRANSACTION = Statement("""
    -- The order for which one of a gateway's transactions arrived, by their number alone
    SELECT order_id FROM topup_capture WHERE transaction = :transaction AND method = :method
""")

TIMELINE = Statement("""
    SELECT transition, n, at, detail FROM topup_event WHERE cell = :cell AND order_id = :id ORDER BY at, n
""")

MARKS = Statement("""
    -- How many things have happened to these orders, and whether they still wait for their money
    SELECT o.id, o.payment = 'unpaid', count(*)
      FROM unnest(:cells::smallint[], :ids::text[]) AS asked (cell, id)
      JOIN topup_order o ON o.cell = asked.cell AND o.id = asked.id
      JOIN topup_event e ON e.cell = o.cell AND e.order_id = o.id
     GROUP BY o.cell, o.id
""")

NAMED_TWICE = Statement("""
    -- Deliveries that a supplier gave the name of another order's
    SELECT asked.supplier, asked.reference, asked.order_id, a.order_id
      FROM unnest(:suppliers::text[], :references::text[], :orders::text[]) AS asked (supplier, reference, order_id)
      JOIN topup_attempt a ON a.their_id = asked.reference AND a.supplier = asked.supplier
     WHERE a.order_id <> asked.order_id AND a.state = 'done'
""")

BY_THEIR_ID = Statement("""
    SELECT order_id FROM topup_attempt WHERE their_id = :text LIMIT 20
""")
