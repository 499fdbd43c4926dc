"""A long life in a minute: orders of the last 400 days with all their rows, written set by set; the book stays whole."""

import random
from collections.abc import Callable
from datetime import timedelta

from refill.accounts import float_account
from refill.app import House
from refill.bench.seed import DIGITS
from refill.db import Pool, Statement, Tx
from refill.numbers import Msisdn, number_id
from refill.topup import store

DAYS = 400
FACE_MINOR = 5_000
PACK = 100_000
OLD = 20_000  # of them can be asked for again, by their key

TABLES = ("topup_key", "topup_order", "topup_event", "ledger_transfer")

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME = " || ".join(f"substr('{_ALPHABET}', ((ms >> {5 * place}) & 31)::int + 1, 1)" for place in range(8, -1, -1))
_CELL = " || ".join(f"substr('{_ALPHABET}', ((s.cell >> {5 * place}) & 31)::int + 1, 1)" for place in range(2, -1, -1))

FILL = Statement(f"""
    -- Orders number :first to :last of a life of :days days, with keys, events and transfers; random but repeatable
    WITH subscriber AS (
      SELECT row_number() OVER (ORDER BY id) - 1 AS n, cell, id, number FROM cards_subscriber
    ), moment AS MATERIALIZED (
      SELECT at, (extract(epoch FROM at) * 1000)::bigint AS ms, dice,
             ('x' || substr(dice, 20, 7))::bit(28)::bigint % (SELECT count(*) FROM cards_subscriber) AS whose
        FROM (SELECT :end::timestamptz - :days::int * interval '1 day' * (1 - n::float8 / :orders::bigint) AS at,
                     md5('order ' || n) AS dice
                FROM generate_series(:first::bigint, :last::bigint) AS n) AS numbered
    ), life AS MATERIALIZED (
      SELECT 'tu_' || {_TIME} || {_CELL} || substr(dice, 1, 12) AS id, s.cell, s.number, m.at, dice,
             'balance:' || s.id || '/CNY' AS balance
        FROM moment m JOIN subscriber s ON s.n = m.whose
    ), ordered AS (
      INSERT INTO topup_order (cell, id, payer, channel, number, operator, product, supplier, face_minor, face_currency,
                               price_minor, currency, days, policy, reference, payment, delivery, captured_minor,
                               delivered_minor, created_at, final_at, valid_until)
      SELECT cell, id, :payer::text, 'partner_api', number, 'demo', 'demo-50', 'home', {FACE_MINOR}, 'CNY', {FACE_MINOR},
             'CNY', 60, 'from_expiry', substr(dice, 3, 16), 'captured', 'delivered', {FACE_MINOR}, {FACE_MINOR}, at, at,
             at + interval '60 days'
        FROM life
    ), told AS (
      INSERT INTO topup_event (cell, order_id, transition, n, at) SELECT cell, id, 'sold', 0, at FROM life
    ), moved AS (
      INSERT INTO ledger_transfer (cell, id, debit, credit, minor, at)
      SELECT cell, id || '.sold.0', :float::text, balance, {FACE_MINOR}, at FROM life
    ), named AS (
      INSERT INTO topup_key (cell, name, content, order_id)
      SELECT ('x' || substr(md5(kind || dice), 1, 3))::bit(12)::int, md5(kind || dice)::uuid, md5(dice)::uuid, id
        FROM life, unnest(ARRAY['key ', 'reference ']) AS kind
    ), credited AS (
      UPDATE ledger_account a SET balance = a.balance + sum.minor
        FROM (SELECT cell, balance AS name, count(*) * {FACE_MINOR} AS minor FROM life GROUP BY 1, 2) AS sum
       WHERE a.cell = sum.cell AND a.name = sum.name
    )
    UPDATE ledger_account SET balance = balance - (SELECT count(*) FROM life) * {FACE_MINOR} WHERE name = :float::text
""")

SOME = Statement("""
    -- Orders from all over that life
    SELECT id, number, reference FROM topup_order TABLESAMPLE BERNOULLI (:percent::float8) LIMIT :most::int
""")

NAME = Statement("""
    -- Keys by which they can be asked for again
    INSERT INTO topup_key (cell, name, content, order_id)
    SELECT * FROM unnest(:cells::smallint[], :names::uuid[], :contents::uuid[], :orders::text[])
        ON CONFLICT DO NOTHING
""")


async def fill(house: House, pool: Pool, partner_id: str, first: int, orders: int, tell: Callable[[int], None]) -> None:
    """Writes orders `first` to `orders` of a life of that many; `tell` hears how many are written."""
    end = house.world.db_now() - timedelta(minutes=1)
    for start in range(first, orders, PACK):
        last = min(start + PACK, orders) - 1

        async def pack(tx: Tx, start: int = start, last: int = last) -> None:
            await tx.run(
                FILL,
                first=start,
                last=last,
                orders=orders,
                days=DAYS,
                end=end,
                payer=f"partner:{partner_id}",
                float=float_account(partner_id, "CNY"),
            )

        await pool.transaction(pack)
        tell(last + 1 - first)


async def name_some(house: House, pool: Pool, partner_id: str, orders: int) -> list[tuple[str, str]]:
    """(key, body) of orders all over the life that can be sent again and must answer as they did then."""
    trade, payer = house.trade, f"partner:{partner_id}"
    digits_of = {number_id(trade.vault, Msisdn(digits)): digits for digits in DIGITS}

    async def work(tx: Tx) -> list[tuple[str, str]]:
        old = []
        names: list[str] = []
        contents: list[str] = []
        owners: list[str] = []
        for id_, number, reference in await tx.rows(SOME, percent=min(100.0, 120.0 * OLD / orders), most=OLD):
            digits = digits_of[number]
            key = f"old-{id_}"
            content = trade.vault.digest("content", f"{number}|{FACE_MINOR}|CNY|{reference}|None|None".encode())
            for kind, name in (("key", key), ("reference", reference)):
                names.append(store.key_name(trade, payer, kind, name))
                contents.append(content)
                owners.append(id_)
            old.append((key, f'{{"msisdn":"+{digits}","amount":"50.00","currency":"CNY","reference":"{reference}"}}'))
        await tx.run(
            NAME, cells=[store.key_cell(name) for name in names], names=names, contents=contents, orders=owners
        )
        return old

    named = await pool.transaction(work)
    random.Random(1).shuffle(named)
    return named
