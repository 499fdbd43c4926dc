"""The statements of reconciliation: a day's lines go in as one stream, and only what does not match comes out."""

from refill.db import Statement

# ------------------------------------------------------------------ taking a statement

ONE_AT_A_TIME = Statement("SELECT pg_advisory_xact_lock(:key)")

OPEN_DAY = Statement("""
    -- A business day, made when it is first heard of
    INSERT INTO reconcile_day (method, day) VALUES (:method, :day::date) ON CONFLICT DO NOTHING
""")

DAY = Statement("""
    -- How a business day stands, and the statement that stands for it
    SELECT state, digest FROM reconcile_day WHERE method = :method AND day = :day::date
""")

TAKEN = Statement("""
    -- What a file was answered when it was first taken
    SELECT day, lines, matched, ours_only, theirs_only, differs, duplicate, carried FROM reconcile_statement
     WHERE method = :method AND digest = :digest
""")

FORGET_LINES = Statement("DELETE FROM reconcile_line WHERE method = :method AND day = :day::date")
FORGET_SUMS = Statement("DELETE FROM reconcile_sum WHERE method = :method AND day = :day::date")

UNSETTLE = Statement("""
    -- What the former statement of a day had explained is open again
    UPDATE reconcile_item SET state = 'carried', settled_on = NULL, how = ''
     WHERE method = :method AND settled_on = :day::date
""")

LINES = Statement("""
    -- The rows of a statement as a stream
    COPY reconcile_line
         (method, day, n, kind, cell, reference, request_id, transaction, minor, fee_minor, currency, at) FROM STDIN
""")

LOOK_AT_LINES = Statement("ANALYZE reconcile_line")

SUMS = Statement("""
    -- What a statement adds up to in each currency
    INSERT INTO reconcile_sum (method, day, currency, payments_minor, refunds_minor, fees_minor)
    SELECT :method, :day::date, currency, payments, refunds, fees
      FROM unnest(:currencies::text[], :payments::bigint[], :refunds::bigint[], :fees::bigint[])
        AS t (currency, payments, refunds, fees)
""")

STANDS = Statement("""
    -- The statement that stands for an open day
    UPDATE reconcile_day SET digest = :digest WHERE method = :method AND day = :day::date
""")

TAKE = Statement("""
    -- A statement with the answer that it was given
    INSERT INTO reconcile_statement
           (method, digest, day, taken_at, lines, matched, ours_only, theirs_only, differs, duplicate, carried)
    VALUES (:method, :digest, :day::date, :at, :lines, :matched, :ours, :theirs, :differs, :duplicate, :carried)
""")

# ------------------------------------------------------------------ what does not match
#
# A LATERAL … LIMIT 1 is a probe of an index for each line: what a day costs does not grow with the years before it.

COPIES = Statement("""
    -- Lines of a day that stand in a statement already
    SELECT l.n, l.kind, l.cell, l.reference, l.request_id, l.transaction, l.minor, l.currency, l.at
      FROM reconcile_line l
     CROSS JOIN LATERAL (
           SELECT FROM reconcile_line f
            WHERE f.method = l.method AND f.transaction = l.transaction AND f.kind = l.kind
              AND f.request_id = l.request_id AND (f.day <> l.day OR f.n < l.n) LIMIT 1) AS before
     WHERE l.method = :method AND l.day = :day::date
     ORDER BY l.n LIMIT :most
""")

PAYMENTS = Statement("""
    -- Payments of a day's statement that our book does not have, or has otherwise
    SELECT l.n, l.cell, l.reference, l.transaction, l.minor, l.currency, l.at,
           c.minor, c.currency, c.reference, c.paid_at,
           EXISTS (SELECT FROM topup_payment p
                    WHERE p.cell = l.cell AND p.order_id = left(l.reference, 27) AND p.reference = l.reference
                      AND p.method = l.method)
      FROM reconcile_line l
      LEFT JOIN LATERAL (
           SELECT * FROM topup_capture c WHERE c.transaction = l.transaction AND c.method = l.method LIMIT 1) AS c
        ON true
     WHERE l.method = :method AND l.day = :day::date AND l.kind = 'payment'
       AND (c.minor IS DISTINCT FROM l.minor OR c.currency <> l.currency OR c.reference <> l.reference
            OR c.paid_at NOT BETWEEN l.at - :clocks::interval AND l.at + :clocks::interval)
     ORDER BY l.n LIMIT :most
""")

REFUNDS = Statement("""
    -- Refunds of a day's statement that our book does not have, has otherwise, or has not finished
    SELECT l.n, l.cell, l.reference, l.request_id, l.transaction, l.minor, l.currency, l.at,
           r.minor, r.currency, r.reference, r.opened_at, r.state
      FROM reconcile_line l
      LEFT JOIN topup_refund r ON r.cell = l.cell AND r.order_id = left(l.reference, 27) AND r.method = l.method
       AND r.request_id = l.request_id
     WHERE l.method = :method AND l.day = :day::date AND l.kind = 'refund'
       AND (r.state IS DISTINCT FROM 'done' OR r.minor <> l.minor OR r.currency <> l.currency
            OR r.reference <> l.reference)
     ORDER BY l.n LIMIT :most
""")

OUR_PAYMENTS = Statement("""
    -- Money that arrived in a span of time and stands in no statement
    SELECT c.reference, c.transaction, c.minor, c.currency, c.paid_at
      FROM topup_capture c
      LEFT JOIN LATERAL (
           SELECT 1 AS told FROM reconcile_line l
            WHERE l.method = c.method AND l.transaction = c.transaction AND l.kind = 'payment' LIMIT 1) AS l ON true
     WHERE c.method = :method AND c.paid_at >= :since AND c.paid_at < :until AND l.told IS NULL
     ORDER BY c.paid_at, c.transaction LIMIT :most
""")

OUR_REFUNDS = Statement("""
    -- Refunds that were done in a span of time and stand in no statement
    SELECT r.cell, r.reference, r.request_id, r.transaction, r.minor, r.currency, r.done_at
      FROM topup_refund r
      LEFT JOIN LATERAL (
           SELECT 1 AS told FROM reconcile_line l
            WHERE l.method = r.method AND l.request_id = r.request_id AND l.kind = 'refund' LIMIT 1) AS l ON true
     WHERE r.method = :method AND r.state = 'done' AND r.done_at >= :since AND r.done_at < :until
       AND r.claim_until IS NULL AND l.told IS NULL
     ORDER BY r.done_at, r.request_id LIMIT :most
""")

# ------------------------------------------------------------------ suppliers: what left our floats, and came back
#
# Our side is the book. An attempt that succeeded after it was refused stands there by its number (`….extra.2`); what else
# was posted for an order between it and a supplier's float belongs to the one attempt that delivered it.

_BOOKED = """
           SELECT sum(t.minor)::bigint AS minor, min(right(t.credit, 3)) AS currency, min(t.at) AS at
             FROM ledger_transfer t
            WHERE t.cell = a.cell AND t.id > a.order_id || '.' AND t.id < a.order_id || '/'
              AND left(CASE x.kind WHEN 'recharge' THEN t.credit ELSE t.debit END, -4) = :method
              AND (substring(t.id from '[.]extra[.]([0-9]+)') = a.n::text
                   OR (t.id NOT LIKE '%.extra.%' AND a.state = 'done' AND NOT EXISTS (
                       SELECT FROM ledger_transfer e
                        WHERE e.cell = a.cell AND e.id >= a.order_id || '.extra.' || a.n || '.'
                          AND e.id < a.order_id || '.extra.' || a.n || '/')))
"""

RECHARGES = Statement(f"""
    -- Rows of a supplier's day that our book does not have, or has otherwise; a row without our number goes by theirs
    SELECT x.n, x.kind, x.cell, coalesce(a.request_id, x.reference), x.request_id, x.transaction,
           CASE WHEN x.kind = 'reversal' OR x.transaction = x.request_id THEN coalesce(a.their_id, '') ELSE x.transaction END,
           x.minor, x.currency, x.at, b.minor, b.currency, coalesce(a.their_id, ''), coalesce(a.prepared_at, b.at), a.state
      FROM reconcile_line x
      LEFT JOIN LATERAL (
           SELECT a.cell, a.order_id, a.n, a.request_id, a.their_id, a.state, a.prepared_at FROM topup_attempt a
            WHERE a.cell = x.cell AND a.order_id = left(x.request_id, 27) AND a.request_id = x.request_id
              AND a.supplier = :supplier
            UNION ALL
           SELECT a.cell, a.order_id, a.n, a.request_id, a.their_id, a.state, a.prepared_at FROM topup_attempt a
            WHERE x.request_id = '' AND a.their_id = x.transaction AND a.supplier = :supplier
            LIMIT 1) AS a ON true
      LEFT JOIN LATERAL ({_BOOKED}) AS b ON true
     WHERE x.method = :method AND x.day = :day::date
       AND (b.minor IS DISTINCT FROM x.minor OR b.currency <> x.currency
            OR (x.kind = 'recharge' AND (x.transaction NOT IN (x.request_id, coalesce(a.their_id, ''))
                OR a.prepared_at NOT BETWEEN x.at - :clocks::interval AND x.at + :clocks::interval)))
     ORDER BY x.n LIMIT :most
""")

_NOT_TOLD = """
       AND NOT EXISTS (
           SELECT FROM reconcile_line l
            WHERE l.method = :method AND l.kind IN ('recharge', 'reversal') AND l.kind = x.kind
              AND l.request_id = x.request_id)
       AND NOT EXISTS (
           SELECT FROM reconcile_line l
            WHERE l.method = :method AND l.kind = x.kind AND l.request_id = '' AND l.transaction = x.their_id)
"""

OUR_RECHARGES = Statement(f"""
    -- What was posted out of a float for orders in a span of time and stands in no statement
    SELECT x.cell, x.request_id, coalesce(x.their_id, x.request_id), x.minor, x.currency, x.at
      FROM (SELECT t.cell, a.request_id, a.their_id, t.minor, right(t.credit, 3) AS currency, t.at, 'recharge' AS kind
              FROM ledger_transfer t
              JOIN topup_attempt a ON a.cell = t.cell AND a.order_id = left(t.id, 27) AND a.supplier = :supplier
               AND a.state = 'done'
               AND CASE WHEN t.id LIKE '%.extra.%' THEN substring(t.id from '[.]extra[.]([0-9]+)') = a.n::text
                   ELSE NOT EXISTS (
                       SELECT FROM ledger_transfer e
                        WHERE e.cell = a.cell AND e.id >= a.order_id || '.extra.' || a.n || '.'
                          AND e.id < a.order_id || '.extra.' || a.n || '/') END
             WHERE t.credit LIKE 'float:%' AND t.credit NOT LIKE 'float:pa\\_%' AND t.credit = ANY (:accounts::text[])
               AND t.at >= :since AND t.at < :until AND t.id LIKE 'tu\\_%') AS x
     WHERE true {_NOT_TOLD}
     ORDER BY x.at, x.request_id LIMIT :most
""")

OUR_REVERSALS = Statement(f"""
    -- What came back into a float for orders in a span of time and stands in no statement
    SELECT x.cell, x.request_id, coalesce(x.their_id, x.request_id), x.minor, x.currency, x.at
      FROM (SELECT t.cell, a.request_id, a.their_id, t.minor, right(t.debit, 3) AS currency, t.at, 'reversal' AS kind
              FROM ledger_transfer t
              JOIN topup_attempt a ON a.cell = t.cell AND a.order_id = left(t.id, 27) AND a.supplier = :supplier
               AND a.state = 'done'
               AND NOT EXISTS (
                   SELECT FROM ledger_transfer e
                    WHERE e.cell = a.cell AND e.id >= a.order_id || '.extra.' || a.n || '.'
                      AND e.id < a.order_id || '.extra.' || a.n || '/')
             WHERE t.debit LIKE 'float:%' AND t.debit NOT LIKE 'float:pa\\_%' AND t.debit = ANY (:accounts::text[])
               AND t.at >= :since AND t.at < :until AND t.id LIKE 'tu\\_%') AS x
     WHERE true {_NOT_TOLD}
     ORDER BY x.at, x.request_id LIMIT :most
""")

STANDING_RECHARGES = Statement(f"""
    -- What was not explained yet of a supplier's, with both sides' words as they are now
    SELECT x.id, x.bucket, x.kind, x.cell, x.reference, x.request_id, x.transaction, x.ours_minor, x.theirs_minor,
           x.currency, x.at, x.why, x.state, x.day,
           (SELECT count(*) FROM reconcile_line l
             WHERE l.method = x.method AND l.transaction = x.transaction AND l.kind = x.kind
               AND l.request_id = x.request_id),
           l.minor, l.currency,
           CASE WHEN l.minor IS NULL OR x.kind = 'reversal' OR l.transaction = l.request_id THEN coalesce(a.their_id, '')
                ELSE l.transaction END, l.at,
           b.minor, b.currency, coalesce(a.their_id, ''), a.prepared_at
      FROM reconcile_item x
      LEFT JOIN cases_case s ON s.id = 'difference:' || x.id
      LEFT JOIN LATERAL (
           SELECT * FROM (
                  SELECT l.day, l.n, l.minor, l.currency, l.request_id, l.transaction, l.at FROM reconcile_line l
                   WHERE l.method = x.method AND l.kind IN ('recharge', 'reversal') AND l.kind = x.kind
                     AND l.request_id = x.request_id AND x.request_id <> ''
                   UNION ALL
                  SELECT l.day, l.n, l.minor, l.currency, l.request_id, l.transaction, l.at FROM reconcile_line l
                   WHERE l.method = x.method AND l.kind = x.kind AND l.request_id = '' AND l.transaction = x.transaction
                  ) AS l
            ORDER BY l.day, l.n LIMIT 1) AS l ON true
      LEFT JOIN LATERAL (
           SELECT a.cell, a.order_id, a.n, a.their_id, a.state, a.prepared_at FROM topup_attempt a
            WHERE a.cell = x.cell AND a.order_id = left(x.reference, 27) AND a.request_id = x.reference
            UNION ALL
           SELECT a.cell, a.order_id, a.n, a.their_id, a.state, a.prepared_at FROM topup_attempt a
            WHERE x.reference = '' AND a.their_id = x.transaction AND 'float:' || a.supplier = :method
            LIMIT 1) AS a ON true
      LEFT JOIN LATERAL ({_BOOKED}) AS b ON true
     WHERE x.method = :method AND x.state <> 'settled' AND s.state IS DISTINCT FROM 'resolved'
     ORDER BY x.id
""")

RECHARGED = Statement("""
    -- Did anything leave these floats for an order in a span of time?
    SELECT EXISTS (
      SELECT FROM ledger_transfer t
       WHERE t.credit LIKE 'float:%' AND t.credit NOT LIKE 'float:pa\\_%' AND t.credit = ANY (:accounts::text[])
         AND t.at >= :since AND t.at < :until)
""")

# ------------------------------------------------------------------ items

ADD = Statement("""
    -- What does not match, once each; what was explained before by a statement that no longer stands is open again
    INSERT INTO reconcile_item AS i (id, method, day, since, bucket, why, kind, cell, reference, request_id, transaction,
                                     ours_minor, theirs_minor, currency, at, state)
    SELECT id, :method, :day::date, :day::date, bucket, why, kind, cell, reference, request_id, transaction, ours, theirs,
           currency, at, state
      FROM unnest(:ids::text[], :buckets::text[], :whys::text[], :kinds::text[], :cells::smallint[], :references::text[],
                  :requests::text[], :transactions::text[], :ours::bigint[], :theirs::bigint[], :currencies::text[],
                  :ats::timestamptz[], :states::text[])
        AS t (id, bucket, why, kind, cell, reference, request_id, transaction, ours, theirs, currency, at, state)
        ON CONFLICT (id) DO UPDATE
       SET day = excluded.day, bucket = excluded.bucket, why = excluded.why, ours_minor = excluded.ours_minor,
           theirs_minor = excluded.theirs_minor, state = excluded.state, settled_on = NULL, how = ''
     WHERE i.state = 'settled'
    RETURNING id
""")

STANDING = Statement("""
    -- What was not explained yet, with both sides' words as they are now
    SELECT i.id, i.bucket, i.kind, i.cell, i.reference, i.request_id, i.transaction, i.ours_minor, i.theirs_minor,
           i.currency, i.at, i.why, i.state, i.day,
           (SELECT count(*) FROM reconcile_line l
             WHERE l.method = i.method AND l.transaction = i.transaction AND l.kind = i.kind
               AND l.request_id = i.request_id),
           l.minor, l.currency, l.reference, l.at, o.minor, o.currency, o.reference, o.at
      FROM reconcile_item i
      LEFT JOIN cases_case s ON s.id = 'difference:' || i.id
      LEFT JOIN LATERAL (
           SELECT l.minor, l.currency, l.reference, l.at FROM reconcile_line l
            WHERE l.method = i.method AND l.transaction = i.transaction AND l.kind = i.kind
              AND l.request_id = i.request_id ORDER BY l.day, l.n LIMIT 1) AS l ON true
      LEFT JOIN LATERAL (
           SELECT c.minor, c.currency, c.reference, c.paid_at AS at FROM topup_capture c
            WHERE i.kind = 'payment' AND c.transaction = i.transaction AND c.method = i.method
            UNION ALL
           SELECT r.minor, r.currency, r.reference, r.done_at FROM topup_refund r
            WHERE i.kind = 'refund' AND r.cell = i.cell AND r.order_id = left(i.reference, 27) AND r.method = i.method
              AND r.request_id = i.request_id AND r.state = 'done'
            LIMIT 1) AS o ON true
     WHERE i.method = :method AND i.state <> 'settled' AND s.state IS DISTINCT FROM 'resolved'
     ORDER BY i.id
""")

MOVE = Statement("""
    -- Items that wait, become cases, or are explained
    UPDATE reconcile_item i SET state = t.state, day = t.day, settled_on = t.settled_on, how = t.how
      FROM unnest(:ids::text[], :states::text[], :days::date[], :settled::date[], :hows::text[])
        AS t (id, state, day, settled_on, how)
     WHERE i.id = t.id AND i.state <> 'settled'
""")

ASKING = Statement("""
    -- What the firm itself is to be asked about
    SELECT kind, reference, request_id FROM reconcile_item
     WHERE method = :method AND state = 'asking' ORDER BY id
""")

# ------------------------------------------------------------------ days

DAYS = Statement("""
    -- The latest business days of the methods, each with its statement, its sums, and what stands in the way of closing
    SELECT d.method, d.day, d.state, d.digest, d.closed_by, d.closed_at, s.lines, s.matched, s.taken_at,
           coalesce(i.ours_only, 0), coalesce(i.theirs_only, 0), coalesce(i.differs, 0), coalesce(i.duplicate, 0),
           coalesce(i.carried, 0), coalesce(i.waiting, 0), i.oldest
      FROM reconcile_day d
      LEFT JOIN reconcile_statement s ON s.method = d.method AND s.digest = d.digest
      LEFT JOIN LATERAL (
           SELECT count(*) FILTER (WHERE i.bucket = 'ours_only') AS ours_only,
                  count(*) FILTER (WHERE i.bucket = 'theirs_only') AS theirs_only,
                  count(*) FILTER (WHERE i.bucket = 'differs') AS differs,
                  count(*) FILTER (WHERE i.bucket = 'duplicate') AS duplicate,
                  count(*) FILTER (WHERE i.state = 'carried') AS carried,
                  count(*) FILTER (WHERE i.state = 'asking' OR c.state = 'open') AS waiting,
                  min(i.since) AS oldest
             FROM reconcile_item i LEFT JOIN cases_case c ON c.id = 'difference:' || i.id
            WHERE i.method = d.method AND i.day = d.day AND i.state <> 'settled'
              AND c.state IS DISTINCT FROM 'resolved') AS i ON true
     WHERE (:method::text IS NULL OR d.method = :method) AND (:day::date IS NULL OR d.day = :day)
     ORDER BY d.day DESC, d.method LIMIT :most
""")

SUMS_OF = Statement("""
    -- What the statement of a day adds up to, and what the bank got of it
    SELECT s.currency, s.payments_minor, s.refunds_minor, s.fees_minor, t.bank, t.minor, t.entered_by, t.entered_at,
           t.confirmed_by, t.confirmed_at
      FROM reconcile_sum s
      LEFT JOIN reconcile_settlement t ON t.method = s.method AND t.day = s.day AND t.currency = s.currency
     WHERE s.method = :method AND s.day = :day::date ORDER BY s.currency
""")

ITEMS = Statement("""
    -- What did not match on a day, what waits for a person first
    SELECT i.id, i.bucket, i.kind, i.cell, i.reference, i.request_id, i.transaction, i.ours_minor, i.theirs_minor,
           i.currency, i.at, i.why, i.state, i.since, i.how, c.state, c.assigned_to, c.due_at, c.resolution
      FROM reconcile_item i LEFT JOIN cases_case c ON c.id = 'difference:' || i.id
     WHERE i.method = :method AND i.day = :day::date
     ORDER BY i.state = 'settled', c.state = 'resolved', c.due_at, i.id LIMIT :most
""")

CLOSE = Statement("""
    -- A day that nothing waits in
    UPDATE reconcile_day SET state = 'closed', closed_by = :who, closed_at = :at
     WHERE method = :method AND day = :day::date AND state = 'open'
""")

WITH_STATEMENT = Statement("""
    -- Business days of a method, since one, that have a statement
    SELECT day FROM reconcile_day WHERE method = :method AND day >= :since::date AND digest IS NOT NULL
""")

TRADED = Statement("""
    -- Did money arrive by a method in a span of time?
    SELECT EXISTS (SELECT FROM topup_capture WHERE method = :method AND paid_at >= :since AND paid_at < :until)
""")

# ------------------------------------------------------------------ settlements

SETTLEMENT = Statement("""
    -- The money that the bank got for a day, locked
    SELECT bank, minor, entered_by, entered_at, confirmed_by, confirmed_at FROM reconcile_settlement
     WHERE method = :method AND day = :day::date AND currency = :currency FOR UPDATE
""")

ENTER = Statement("""
    -- What somebody read on the bank's page; until another confirms it, it may be corrected
    INSERT INTO reconcile_settlement AS s (method, day, currency, bank, minor, entered_by, entered_at)
    VALUES (:method, :day::date, :currency, :bank, :minor, :who, :at)
        ON CONFLICT (method, day, currency) DO UPDATE
       SET bank = excluded.bank, minor = excluded.minor, entered_by = excluded.entered_by, entered_at = excluded.entered_at
     WHERE s.confirmed_at IS NULL
""")

CONFIRM = Statement("""
    -- Confirmed: from now on it stands in the book
    UPDATE reconcile_settlement SET confirmed_by = :who, confirmed_at = :at
     WHERE method = :method AND day = :day::date AND currency = :currency AND confirmed_at IS NULL
""")
