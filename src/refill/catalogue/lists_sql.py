"""The statements of price lists: staged, judged against what stands, kept as a preview, applied."""

from refill.db import Statement

SAID = """operator, product, their_product, name, tier, channel, partner, face_minor, max_face_minor,
         face_currency, minor, max_minor, currency, bp, valid_from, valid_until"""
IMPORT_ROW = """id, side, supplier, source, whole, state, says, rows, added, changed, removed, unchanged, refused, elsewhere,
           thin, asked_by, asked_at, decided_by, decided_at"""

OPERATORS = Statement("SELECT id, currency FROM catalogue_operator")
ALIASES = Statement("SELECT theirs, operator FROM catalogue_alias WHERE supplier = :supplier")

BEGIN = Statement("""
    -- A list that somebody shows us
    INSERT INTO catalogue_import (id, side, supplier, source, whole, state, asked_by, asked_at)
    VALUES (:id::text, :side::text, :supplier::text, :source::text, :whole::boolean, 'reading', :who::text,
            :now::timestamptz)
""")

IMPORT = Statement(f"SELECT {IMPORT_ROW} FROM catalogue_import WHERE id = :id")
IMPORT_LOCKED = Statement(f"SELECT {IMPORT_ROW} FROM catalogue_import WHERE id = :id FOR UPDATE")
LATEST = Statement(f"SELECT {IMPORT_ROW} FROM catalogue_import ORDER BY asked_at DESC, id DESC LIMIT :most")

LINES = Statement(f"""
    -- Rows of a list with these outcomes, behind one
    SELECT n, key, {SAID}, why, what, outcome, thin, was_minor, was_bp, was_currency
      FROM catalogue_import_line
     WHERE import_id = :id AND n > :after::int AND outcome = ANY (:outcomes::text[])
     ORDER BY n LIMIT :most
""")

# ------------------------------------------------------------------ the stage

# Prepared by a test with the other temporary tables, so they are told on one line.
STAGE = Statement(
    "CREATE TEMPORARY TABLE price_stage ON COMMIT DROP AS"
    f" SELECT n, key, {' '.join(SAID.split())}, why, what FROM catalogue_import_line WITH NO DATA"
)
JUDGED = Statement(
    "CREATE TEMPORARY TABLE price_judged ON COMMIT DROP AS SELECT * FROM catalogue_import_line WITH NO DATA"
)
STAGE_ROWS = Statement(f"COPY price_stage (n, key, {SAID}, why, what) FROM STDIN")
LOOK_AT_STAGE = Statement("ANALYZE price_stage")
LOOK_AT_PRICES = Statement("ANALYZE catalogue_price")
LOOK_AT_JUDGED = Statement("ANALYZE price_judged")

STAGE_AGAIN = Statement(f"""
    -- The rows of a preview as they came, to be judged once more
    INSERT INTO price_stage (n, key, {SAID}, why, what)
    SELECT n, key, {SAID},
           CASE WHEN key = '' THEN why ELSE '' END, CASE WHEN key = '' THEN what ELSE '' END
      FROM catalogue_import_line WHERE import_id = :id AND outcome <> 'removed'
""")

# A list counts from now on at the earliest: what was sold before keeps its price.
STARTS = "greatest(coalesce(s.valid_from, :now), :now)"

JUDGE = Statement("""
    -- What would become of each row, by what stands at the moment from which it would count
    INSERT INTO price_judged
    WITH weighed AS MATERIALIZED (
        SELECT s.*, o.id IS NULL AND :side::text = 'cost' AS foreign_to_us,
               greatest(coalesce(s.valid_from, :now::timestamptz), :now) AS starts,
               CASE WHEN s.why <> '' THEN s.why
                    WHEN row_number() OVER (PARTITION BY s.key, s.valid_from ORDER BY s.n) > 1 THEN 'twice'
                    WHEN s.valid_until <= greatest(coalesce(s.valid_from, :now), :now) THEN 'over'
                    WHEN o.id IS NULL AND :side = 'cost' THEN ''
                    WHEN o.id IS NULL AND s.operator <> '' THEN 'no_operator'
                    WHEN p.id IS NULL AND s.product <> '' THEN 'no_product'
                    WHEN s.face_currency <> o.currency OR (:side = 'price' AND s.currency <> p.currency)
                        THEN 'other_currency'
                    WHEN p.face_minor < s.face_minor
                      OR coalesce(p.max_face_minor, p.face_minor) > coalesce(s.max_face_minor, s.face_minor)
                        THEN 'not_that_face'
                    WHEN :side = 'price' AND s.minor IS NOT NULL AND p.kind IS DISTINCT FROM 'fixed' THEN 'needs_product'
                    WHEN s.partner <> '' AND r.id IS NULL THEN 'no_partner'
                    ELSE '' END AS trouble
          FROM price_stage s
          LEFT JOIN catalogue_operator o ON o.id = s.operator
          LEFT JOIN catalogue_product p ON p.id = s.product AND p.operator_id = s.operator
          LEFT JOIN accounts_partner r ON r.id = s.partner
    )
    SELECT :id::text, s.n, s.key, s.operator, s.product, s.their_product, s.name, s.tier, s.channel, s.partner,
           s.face_minor, s.max_face_minor, s.face_currency, s.minor, s.max_minor, s.currency, s.bp,
           s.valid_from, s.valid_until, s.trouble,
           CASE WHEN s.why <> '' THEN s.what
                WHEN s.trouble = 'no_operator' THEN s.operator
                WHEN s.trouble IN ('no_product', 'not_that_face') THEN s.product
                WHEN s.trouble = 'other_currency' THEN coalesce(s.face_currency, s.currency)
                WHEN s.trouble = 'no_partner' THEN s.partner
                ELSE '' END,
           CASE WHEN s.trouble <> '' THEN 'refused'
                WHEN s.foreign_to_us THEN 'elsewhere'
                WHEN c.key IS NULL THEN 'added'
                WHEN (c.minor, c.max_minor, c.currency, c.bp, c.max_face_minor, c.face_minor, c.product, c.valid_until)
                     IS NOT DISTINCT FROM
                     (s.minor, s.max_minor, s.currency, s.bp, s.max_face_minor, s.face_minor, s.product, s.valid_until)
                     THEN 'unchanged'
                ELSE 'changed' END,
           false, c.minor, c.bp, c.currency
      FROM weighed s
      LEFT JOIN LATERAL (
          SELECT * FROM catalogue_price c
           WHERE c.side = :side AND c.supplier = :supplier::text AND c.key = s.key AND c.valid_from <= s.starts
             AND (c.valid_until IS NULL OR c.valid_until > s.starts) AND s.trouble = ''
           ORDER BY c.valid_from DESC, c.import_id DESC LIMIT 1
      ) c ON true
""")

REMOVED = Statement("""
    -- What stands and is not on a whole list; nothing, when some row of it could not even be read
    INSERT INTO price_judged
    SELECT :id::text, top.n + row_number() OVER (ORDER BY c.key), c.key, c.operator, c.product, c.their_product, '',
           c.tier, c.channel, c.partner, c.face_minor, c.max_face_minor, c.face_currency, NULL, NULL, NULL, NULL, NULL,
           NULL, '', '', 'removed', false, c.minor, c.bp, c.currency
      FROM (SELECT coalesce(max(n), 0) AS n, coalesce(bool_or(key = ''), false) AS unread FROM price_stage) top
      JOIN (SELECT DISTINCT ON (key) * FROM catalogue_price
             WHERE side = :side::text AND supplier = :supplier::text
               AND (valid_until IS NULL OR (valid_until > :now::timestamptz AND valid_until > valid_from))
             ORDER BY key, valid_from > :now, valid_from DESC, import_id DESC) c ON NOT top.unread
     WHERE c.key NOT IN (SELECT key FROM price_stage)  -- hashed, whatever the planner thinks of the other side
""")

LEAST = """LEFT JOIN LATERAL (
               SELECT greatest(least_minor, p.face_minor * least_bp / 10000) AS least, rule FROM catalogue_margin
                WHERE (operator, product) IN ((p.operator_id, p.id), (p.operator_id, ''), ('', ''))
                ORDER BY product = '', operator = '' LIMIT 1
           ) m ON true"""

THIN_COSTS = Statement(f"""
    -- Costs at which something on sale would leave too little, by the price for everybody
    WITH sold AS (
        SELECT j.n, j.minor AS cost, greatest(coalesce(j.valid_from, :now::timestamptz), :now) AS starts, p.*
          FROM price_judged j JOIN catalogue_product p ON p.id = j.product AND p.kind = 'fixed'
         WHERE j.product <> '' AND j.currency = p.currency AND j.outcome IN ('added', 'changed') AND p.enabled
         UNION ALL
        SELECT j.n, j.minor, greatest(coalesce(j.valid_from, :now), :now), p.*
          FROM price_judged j
          JOIN catalogue_product p ON p.operator_id = j.operator AND p.currency = j.face_currency
           AND p.face_minor = j.face_minor AND p.kind = 'fixed' AND p.category = 'airtime'
         WHERE j.product = '' AND j.max_face_minor IS NULL AND j.currency = p.currency
           AND j.outcome IN ('added', 'changed') AND p.enabled
    ), thin AS (
        SELECT p.n, min(p.id) AS id, bool_or(m.rule = 'refuse') AS refused
          FROM sold p
          LEFT JOIN LATERAL (
              SELECT minor, bp FROM catalogue_price c
               WHERE c.side = 'price' AND c.supplier = ''
                 AND c.key IN (p.operator_id || '|' || p.id || '|||', p.operator_id || '||||')
                 AND c.valid_from <= p.starts AND (c.valid_until IS NULL OR c.valid_until > p.starts)
               ORDER BY c.product = '', c.valid_from DESC, c.import_id DESC LIMIT 1
          ) r ON true
          {LEAST}
         WHERE coalesce(r.minor, round(p.face_minor * r.bp / 10000.0), p.retail_price_minor,
                        round(p.face_minor * p.retail_bp / 10000.0)) < p.cost + coalesce(m.least, 0)
         GROUP BY p.n
    )
    UPDATE price_judged j
       SET thin = NOT coalesce(thin.refused, false), why = 'loss', what = thin.id,
           outcome = CASE WHEN thin.refused THEN 'refused' ELSE j.outcome END
      FROM thin WHERE thin.n = j.n
""")

THIN_PRICES = Statement(f"""
    -- Prices that would leave too little even at the lowest cost
    WITH sold AS (
        SELECT j.n, j.minor AS fixed, j.bp, greatest(coalesce(j.valid_from, :now::timestamptz), :now) AS starts, p.*
          FROM price_judged j JOIN catalogue_product p ON p.id = j.product
         WHERE j.product <> '' AND j.outcome IN ('added', 'changed') AND p.enabled
         UNION ALL
        SELECT j.n, j.minor, j.bp, greatest(coalesce(j.valid_from, :now), :now), p.*
          FROM price_judged j JOIN catalogue_product p ON j.operator IN ('', p.operator_id)
         WHERE j.product = '' AND j.outcome IN ('added', 'changed') AND p.enabled
    ), thin AS (
        SELECT p.n, min(p.id) AS id, bool_or(m.rule = 'refuse') AS refused
          FROM sold p
          LEFT JOIN LATERAL (
              SELECT min(cost) AS cost FROM (
                  SELECT coalesce(y.cost_minor, round(p.face_minor * y.cost_bp / 10000.0)) AS cost
                    FROM catalogue_supply y
                   WHERE y.operator_id = p.operator_id AND y.enabled AND NOT y.by_list
                     AND (y.product_id IS NULL OR y.product_id = p.id)
                     AND coalesce(y.cost_currency, p.currency) = p.currency
                   UNION ALL
                  SELECT c.minor FROM catalogue_price c
                   WHERE c.side = 'cost' AND c.operator = p.operator_id AND c.product IN ('', p.id)
                     AND c.face_minor = p.face_minor AND c.max_face_minor IS NULL AND c.face_currency = p.currency
                     AND c.currency = p.currency AND c.valid_from <= p.starts
                     AND (c.valid_until IS NULL OR c.valid_until > p.starts)
              ) known
          ) k ON true
          {LEAST}
         WHERE coalesce(p.fixed, round(p.face_minor * p.bp / 10000.0)) < k.cost + coalesce(m.least, 0)
         GROUP BY p.n
    )
    UPDATE price_judged j
       SET thin = NOT coalesce(thin.refused, false), why = 'loss', what = thin.id,
           outcome = CASE WHEN thin.refused THEN 'refused' ELSE j.outcome END
      FROM thin WHERE thin.n = j.n
""")

KEEP_LINES = Statement("INSERT INTO catalogue_import_line SELECT * FROM price_judged")

PREVIEWED = Statement("""
    -- What a preview adds up to
    UPDATE catalogue_import i
       SET state = 'previewed', rows = :rows::int, added = t.added, changed = t.changed, removed = t.removed,
           unchanged = t.unchanged, refused = t.refused, elsewhere = t.elsewhere, thin = t.thin
      FROM (SELECT count(*) FILTER (WHERE outcome = 'added') AS added,
                   count(*) FILTER (WHERE outcome = 'changed') AS changed,
                   count(*) FILTER (WHERE outcome = 'removed') AS removed,
                   count(*) FILTER (WHERE outcome = 'unchanged') AS unchanged,
                   count(*) FILTER (WHERE outcome = 'refused') AS refused,
                   count(*) FILTER (WHERE outcome = 'elsewhere') AS elsewhere,
                   count(*) FILTER (WHERE thin) AS thin
              FROM price_judged) t
     WHERE i.id = :id
""")

UNREADABLE = Statement("""
    -- A file that cannot be read, and why
    UPDATE catalogue_import SET state = 'unreadable', says = :says::text WHERE id = :id::text AND state = 'reading'
""")

# ------------------------------------------------------------------ deciding

ONE_AT_A_TIME = Statement("SELECT pg_advisory_xact_lock(7021797001)")  # lists are applied one after the other

OTHERWISE = Statement("""
    -- Would some row be answered otherwise than its preview said?
    SELECT EXISTS (
        SELECT 1 FROM price_judged j
          FULL JOIN (SELECT * FROM catalogue_import_line WHERE import_id = :id::text) l ON l.n = j.n
         WHERE (j.key, j.outcome, j.why, j.thin, j.was_minor, j.was_bp, j.was_currency)
               IS DISTINCT FROM (l.key, l.outcome, l.why, l.thin, l.was_minor, l.was_bp, l.was_currency))
""")

FORGET_THESE = Statement("DELETE FROM catalogue_import_line WHERE import_id = :id")

END = Statement(f"""
    -- What a new price takes the place of ends when that begins: an endless one, all that began before; a limited one, only
    -- what began with it and ends no later
    UPDATE catalogue_price old SET valid_until = ended.at
      FROM (SELECT c.import_id, c.n, min({STARTS}) AS at
              FROM price_judged s
              JOIN catalogue_price c ON c.side = :side::text AND c.supplier = :supplier::text AND c.key = s.key
               AND c.valid_from <= {STARTS} AND (c.valid_until IS NULL OR c.valid_until > {STARTS})
             WHERE s.outcome IN ('added', 'changed')
               AND (s.valid_until IS NULL OR (c.valid_from = {STARTS} AND c.valid_until <= s.valid_until))
             GROUP BY c.import_id, c.n) ended
     WHERE old.import_id = ended.import_id AND old.n = ended.n
""")

END_REMOVED = Statement("""
    -- What is no longer on a whole list ends now; what had not begun never does
    UPDATE catalogue_price c SET valid_until = greatest(c.valid_from, :now::timestamptz)
      FROM price_judged s
     WHERE s.outcome = 'removed' AND c.side = :side::text AND c.supplier = :supplier::text AND c.key = s.key
       AND (c.valid_until IS NULL OR c.valid_until > :now)
""")

WRITE = Statement(f"""
    -- The prices that a list adds or changes
    INSERT INTO catalogue_price (import_id, n, side, supplier, key, operator, product, their_product, tier, channel, partner,
                                 face_minor, max_face_minor, face_currency, minor, max_minor, currency, bp, valid_from,
                                 valid_until)
    SELECT import_id, n, :side::text, :supplier::text, key, operator, product, their_product, tier, channel, partner,
           face_minor, max_face_minor, face_currency, minor, max_minor, currency, bp,
           {STARTS}, valid_until
      FROM price_judged s WHERE outcome IN ('added', 'changed')
""")

BY_LIST = Statement("""
    -- A supplier with a list for an operator delivers what is on it, at the cost that stands there
    UPDATE catalogue_supply SET by_list = true
     WHERE supplier = :supplier::text AND product_id IS NULL AND NOT by_list
       AND operator_id IN (SELECT operator FROM price_judged WHERE outcome IN ('added', 'changed'))
""")

SUPPLY = Statement("""
    -- A supplier whose list names an operator for the first time stands behind those who deliver it already
    INSERT INTO catalogue_supply (id, operator_id, supplier, cost_bp, priority, enabled, by_list)
    SELECT operator || '-' || :supplier::text, operator, :supplier, 10000, 100, true, true
      FROM (SELECT DISTINCT operator FROM price_judged WHERE outcome IN ('added', 'changed')) listed
     WHERE NOT EXISTS (SELECT 1 FROM catalogue_supply y
                        WHERE y.supplier = :supplier AND y.operator_id = listed.operator AND y.product_id IS NULL)
        ON CONFLICT (id) DO NOTHING
""")

DECIDE = Statement("""
    -- Who applied a list, or let it go, and when
    UPDATE catalogue_import SET state = :state::text, decided_by = :who::text, decided_at = :now::timestamptz
     WHERE id = :id::text
""")

FORGET_LINES = Statement("""
    -- Rows of lists that nobody applied
    DELETE FROM catalogue_import_line WHERE import_id IN (
        SELECT id FROM catalogue_import WHERE state <> 'applied' AND asked_at < :before::timestamptz)
""")

FORGET = Statement("""
    -- Lists that nobody applied
    DELETE FROM catalogue_import WHERE state <> 'applied' AND asked_at < :before::timestamptz
""")
