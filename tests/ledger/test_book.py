"""The book, as tables: every refusal by name, and what stands in the accounts afterwards."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from tests.ledger.tables import NOON, book_name, entry_id, opened, told

from refill import ledger
from refill.db import Pool, Statement, Tx
from refill.errors import CannotHappen
from refill.ids import cell_of, cell_of_id, make_id
from refill.ledger import Account, Entry, Posted, Refusal
from refill.ledger.accounts import role_of

SUBSCRIBER = make_id("su", 77, 0, 1)
ANNA = f"balance:{SUBSCRIBER}"


async def test_a_transfer_takes_from_one_account_and_gives_to_another(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:acme      100.00     0.00
        entries
            1   float:acme → held:acme     30.00                                   posted
            2   held:acme → sales:topup    30.00 + cost:topup → bank:northtel 29.76  posted
        balances
            float:acme       70.00
            held:acme         0.00
            sales:topup      30.00
            cost:topup      −29.76
            bank:northtel    29.76
        """,
    )


async def test_what_was_never_posted_before_is_judged_as_strictly(db: Pool) -> None:
    await db.transaction(lambda tx: ledger.open_accounts(tx, [Account("float:acme/CNY", 0)], NOON))
    numbers = iter(range(70, 90))

    async def post(*legs: tuple[str, str, int]) -> list[str]:
        entries = [Entry(entry_id(str(next(numbers))), (ledger.Transfer(*leg),)) for leg in legs]
        answers = await db.transaction(lambda tx: ledger.post(tx, entries, NOON, new=True))
        return [answer.why if isinstance(answer, Refusal) else "posted" for answer in answers]

    assert await post(("bank:demo/CNY", "float:acme/CNY", 500)) == ["posted"]
    assert await post(("float:acme/CNY", "held:acme/CNY", 0), ("float:acme/USD", "held:acme/CNY", 5)) == [
        "amount",
        "currency",
    ]
    assert await post(("float:acme/CNY", "float:acme/CNY", 5)) == ["currency"]
    assert await post(("float:nobody/CNY", "held:acme/CNY", 5)) == ["no_account"]
    assert await post(("float:acme/CNY", "held:acme/CNY", 400), ("float:acme/CNY", "held:acme/CNY", 200)) == [
        "posted",
        "not_enough",
    ]


async def test_an_overdraft_refuses_its_own_row_and_no_other(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:acme      100.00     0.00
            float:bell       10.00     0.00
        entries
            1   float:acme → held:acme     60.00      posted
            2   float:acme → held:acme     60.00      not_enough float:acme
            3   float:bell → held:bell     10.00      posted
            4   float:acme → held:acme     40.00      posted
            5   float:bell → held:bell      0.01      not_enough float:bell
        balances
            float:acme        0.00
            held:acme       100.00
            float:bell        0.00
            held:bell        10.00
        """,
    )


async def test_money_that_arrives_in_a_batch_can_be_spent_by_a_later_row(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:acme        5.00     0.00
        entries
            1   float:acme → held:acme     50.00      not_enough float:acme
            2   bank:demo → float:acme     50.00      posted
            3   float:acme → held:acme     50.00      posted
        balances
            float:acme        5.00
            bank:demo       −50.00
        """,
    )


async def test_an_entry_is_posted_whole_or_not_at_all(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:acme      100.00     0.00
            float:bell        1.00     0.00
        entries
            1   float:acme → held:acme 30.00 + float:bell → held:bell 30.00     not_enough float:bell
        balances
            float:acme      100.00
            held:acme         0.00
            float:bell        1.00
        """,
    )


async def test_what_counts_is_what_an_entry_does_to_an_account_in_sum(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:acme        0.00     0.00
        entries
            1   float:acme → held:acme 30.00 + bank:demo → float:acme 30.00     posted
        balances
            float:acme        0.00
            held:acme        30.00
        """,
    )


async def test_a_credit_limit_is_a_floor_below_zero(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:acme        0.00  −50.00
        entries
            1   float:acme → held:acme     50.00      posted
            2   float:acme → held:acme      0.01      not_enough float:acme
        balances
            float:acme      −50.00
        """,
    )


async def test_our_own_money_elsewhere_has_no_floor(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:northtel    0.00     -
        entries
            1   float:northtel → bank:demo   999999.99      posted
        balances
            float:northtel   −999999.99
        """,
    )


async def test_the_same_entry_again_exists_and_moves_nothing(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:acme      100.00     0.00
        entries
            1   float:acme → held:acme 30.00 + cost:topup → sales:topup 1.00     posted
            1   float:acme → held:acme 30.00 + cost:topup → sales:topup 1.00     exists
        balances
            float:acme       70.00
            held:acme        30.00
        """,
    )


OTHER_CONTENT = """
    another amount          | float:acme → held:acme   30.01 + cost:topup → sales:topup 1.00
    another account         | float:acme → bank:demo   30.00 + cost:topup → sales:topup 1.00
    the legs exchanged      | cost:topup → sales:topup  1.00 + float:acme → held:acme  30.00
    a leg less              | float:acme → held:acme   30.00
    a leg more              | float:acme → held:acme   30.00 + cost:topup → sales:topup 1.00 + bank:a → bank:b 1.00
    only its second leg     | cost:topup → sales:topup  1.00
"""


@pytest.mark.parametrize("when", ["in one batch", "a day later"])
@pytest.mark.parametrize("line", [line.strip() for line in OTHER_CONTENT.strip().splitlines()])
async def test_the_same_id_with_other_content_is_refused(db: Pool, line: str, when: str) -> None:
    legs = line.partition("|")[2].strip()
    first = "1   float:acme → held:acme 30.00 + cost:topup → sales:topup 1.00   posted"
    second = f"1   {legs}   other_content"
    accounts, left = (
        "accounts\n float:acme 100.00 0.00\n",
        "\nbalances\n float:acme 70.00\n held:acme 30.00\n sales:topup 1.00",
    )
    if when == "in one batch":
        await told(db, f"{accounts}entries\n{first}\n{second}{left}")
    else:
        await told(db, f"{accounts}entries\n{first}{left}")
        await told(db, f"entries\n{second}{left}")


async def test_an_entry_that_stands_is_asked_for_twice_in_one_batch(db: Pool) -> None:
    await told(db, "accounts\n float:acme 100.00 0.00\nentries\n 1 float:acme → held:acme 30.00 posted")
    await told(
        db,
        """
        entries
            1   float:acme → held:acme     30.00      exists
            1   float:acme → held:acme     30.00      exists
            1   float:acme → held:acme     30.00 + cost:topup → sales:topup 1.00      other_content
            1   float:acme → held:acme     30.00      exists
        balances
            float:acme       70.00
        """,
    )


async def test_a_refused_entry_is_not_remembered_and_may_come_again(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:acme       10.00     0.00
        entries
            1   float:acme → held:acme     30.00      not_enough float:acme
            2   bank:demo → float:acme     20.00      posted
            1   float:acme → held:acme     30.00      posted
            1   float:acme → held:acme     30.00      exists
        balances
            float:acme        0.00
            held:acme        30.00
        """,
    )


async def test_two_steps_of_one_order_are_two_entries(db: Pool) -> None:
    await told(
        db,
        """
        entries
            1    clearing:alipay → owed:customers    49.80     posted
            1'   owed:customers → sales:topup        49.80     posted
        balances
            clearing:alipay  −49.80
            owed:customers     0.00
            sales:topup       49.80
        """,
    )


async def test_an_amount_is_above_zero(db: Pool) -> None:
    await told(
        db,
        """
        entries
            1   bank:demo → bank:other      0.00      amount bank:demo
            2   bank:demo → bank:other     −1.00      amount bank:demo
            3   bank:demo → bank:other      0.01      posted
        balances
            bank:other        0.01
        """,
    )


async def test_a_transfer_joins_two_accounts_of_one_currency(db: Pool) -> None:
    await told(
        db,
        """
        entries
            1   bank:tokyo/JPY → bank:demo      500      currency bank:tokyo/JPY
            2   bank:demo → bank:demo          5.00      currency bank:demo
            3   bank:tokyo/JPY → cash:till/JPY  500      posted
            4   bank:kuwait/KWD → cash:till/KWD 1.250    posted
        balances
            cash:till/JPY     500
            cash:till/KWD     1.250
        """,
    )


async def test_an_account_that_belongs_to_someone_must_have_been_opened(db: Pool) -> None:
    await told(
        db,
        """
        accounts
            float:acme      100.00     0.00
        entries
            1   float:nobody → held:nobody     1.00      no_account float:nobody
            2   bank:demo → float:nobody       1.00      no_account float:nobody
            3   float:acme → held:acme         1.00      posted
        balances
            float:nobody     no account
            float:acme       99.00
        """,
    )


async def test_a_balance_that_nobody_opened_cannot_be_spent(db: Pool) -> None:
    await told(
        db,
        f"""
        entries
            1   {ANNA} → sales:usage           1.00      no_account {ANNA}
            2   bank:demo → bank:other         1.00      posted
        balances
            bank:other        1.00
        """,
    )


async def test_credit_for_a_balance_that_nobody_opened_stops_everything(db: Pool) -> None:
    """The catalogue of subscribers and the book disagree; nobody may go on as if nothing had happened."""
    lost = Entry.of(entry_id("1"), ("bank:demo/CNY", f"{ANNA}/CNY", 100))
    with pytest.raises(CannotHappen, match="never opened"):
        await db.transaction(lambda tx: ledger.post(tx, [lost], NOON))
    assert await db.transaction(lambda tx: ledger.balances(tx, ["bank:demo/CNY"])) == {}


async def test_a_subscribers_credit_can_be_spent_in_the_batch_that_brings_it(db: Pool) -> None:
    await told(
        db,
        f"""
        accounts
            {ANNA}            0.00     0.00
        entries
            1   {ANNA} → sales:usage           1.00      not_enough {ANNA}
            2   bank:demo → {ANNA}            50.00      posted
            3   {ANNA} → sales:usage          20.00      posted
        balances
            {ANNA}           30.00
            sales:usage      20.00
        """,
    )


ON_FIRST_USE = "bank clearing owed sales cost discount commission suspense breakage cash held".split()


@pytest.mark.parametrize("role", ON_FIRST_USE)
async def test_our_own_accounts_open_by_themselves(db: Pool, role: str) -> None:
    await told(db, f"entries\n 1 bank:demo → {role}:new 1.00 posted\nbalances\n {role}:new 1.00")


async def test_what_is_held_never_goes_below_zero_although_it_opened_by_itself(db: Pool) -> None:
    await told(
        db,
        """
        entries
            1   held:acme → bank:demo      1.00      not_enough held:acme
            2   bank:demo → held:acme      1.00      posted
            3   held:acme → bank:demo      1.01      not_enough held:acme
        balances
            held:acme         1.00
        """,
    )


def test_every_role_of_the_trade_is_known_and_no_other() -> None:
    assert not role_of("balance:x/CNY").shared
    with pytest.raises(KeyError):
        role_of("petty:x/CNY")


async def test_a_raised_floor_refuses_debits_and_lets_money_in(db: Pool) -> None:
    await told(db, "accounts\n float:acme 10.00 0.00\nbalances\n float:acme 10.00")
    assert await db.transaction(lambda tx: ledger.set_floor(tx, book_name("float:acme"), -2000))
    await told(db, "entries\n 1 float:acme → held:acme 25.00 posted\nbalances\n float:acme −15.00")
    # The limit cannot be lowered below what is used already …
    assert not await db.transaction(lambda tx: ledger.set_floor(tx, book_name("float:acme"), 0))
    # … but down to it, and then nothing more leaves while everything may come.
    assert await db.transaction(lambda tx: ledger.set_floor(tx, book_name("float:acme"), -1500))
    await told(
        db,
        """
        entries
            2   float:acme → held:acme     0.01      not_enough float:acme
            3   bank:demo → float:acme     5.00      posted
        balances
            float:acme      −10.00
        """,
    )


async def test_a_floor_of_an_account_that_is_not_there_is_not_set(db: Pool) -> None:
    assert not await db.transaction(lambda tx: ledger.set_floor(tx, "float:nobody/CNY", 0))


async def test_opening_twice_opens_once_and_keeps_the_floor(db: Pool) -> None:
    async def opening(tx: Tx) -> list[int]:
        once = await ledger.open_accounts(tx, [Account("float:acme/CNY", -500), Account("float:bell/CNY")], NOON)
        again = await ledger.open_accounts(tx, [Account("float:acme/CNY", -900_000)], NOON)
        return [once, again]

    opened_now, again = await db.transaction(opening)
    assert opened_now >= 2 and again == 0
    await told(db, "entries\n 1 float:acme → held:acme 5.01 not_enough float:acme\nbalances\n float:acme 0.00")


async def test_the_entries_of_an_order_are_read_as_they_were_posted(db: Pool) -> None:
    order, other = make_id("tu", 9, 0, 1), make_id("tu", 9, 0, 2)
    entries = [
        Entry.of(f"{order}.paid", ("clearing:alipay/CNY", "owed:customers/CNY", 4980)),
        Entry.of(f"{other}.paid", ("clearing:alipay/CNY", "owed:customers/CNY", 1)),
        Entry.of(f"{order}.sold", ("owed:customers/CNY", "sales:topup/CNY", 4980), ("cost:a/CNY", "bank:b/CNY", 0)),
    ]

    async def story(tx: Tx) -> list[tuple[str, str, str, int]]:
        await ledger.post(tx, entries, NOON)
        rows = await ledger.entries_of(tx, order)
        assert {at for *_, at in rows} == {NOON}
        return [(id_.removeprefix(order), debit, credit, amount) for id_, debit, credit, amount, _ in rows]

    assert await db.transaction(story) == [
        (".paid.0", "clearing:alipay/CNY", "owed:customers/CNY", 4980),
        (".sold.0", "owed:customers/CNY", "sales:topup/CNY", 4980),
    ]


async def test_nothing_to_post_is_posted(db: Pool) -> None:
    assert await db.transaction(lambda tx: ledger.post(tx, [], NOON)) == []
    empty = Entry.of(entry_id("1"), ("cost:a/CNY", "bank:b/CNY", 0))
    assert await db.transaction(lambda tx: ledger.post(tx, [empty], NOON)) == [Posted()]


def test_all_accounts_of_one_subscriber_live_in_one_cell() -> None:
    assert ledger.cell_of_account(f"{ANNA}/CNY") == ledger.cell_of_account(f"grant:{SUBSCRIBER}/CNY") == 77
    assert ledger.cell_of_account("clearing:alipay/CNY") == cell_of("clearing:alipay/CNY")
    assert cell_of_id(SUBSCRIBER) == 77


# ------------------------------------------------------------------ what the database itself refuses


ENTRY = Entry.of(entry_id("1"), ("bank:demo/CNY", "bank:other/CNY", 100))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_transfer SET minor = minor + 1",
        "DELETE FROM ledger_transfer",
        "TRUNCATE ledger_transfer",
    ],
)
async def test_entries_are_only_ever_added(db: Pool, dsn: str, statement: str) -> None:
    await db.transaction(lambda tx: ledger.post(tx, [ENTRY], NOON))
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        connection.execute(statement.encode())


async def test_no_program_can_take_an_account_below_its_floor(db: Pool, dsn: str) -> None:
    await told(db, "accounts\n float:acme 10.00 0.00\nbalances\n float:acme 10.00")
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.CheckViolation, match="below its floor"):
        connection.execute("UPDATE ledger_account SET balance = balance - 1001 WHERE name LIKE 'float:acme%'")


@pytest.mark.parametrize(
    ("debit", "credit", "amount"),
    [
        ("bank:a/CNY", "bank:b/CNY", 0),
        ("bank:a/CNY", "bank:b/CNY", -1),
        ("bank:a/CNY", "bank:a/CNY", 1),
        ("bank:a/CNY", "bank:b/JPY", 1),
    ],
)
async def test_no_program_can_write_a_transfer_that_is_none(dsn: str, debit: str, credit: str, amount: int) -> None:
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO ledger_transfer (cell, id, debit, credit, minor, at) VALUES (0, 'x', %s, %s, %s, now())",
            [debit, credit, amount],
        )


# ------------------------------------------------------------------ many at once


async def all_at_once(n: int, work: Callable[[int], Awaitable[object]]) -> list[object]:
    return list(await asyncio.gather(*(work(i) for i in range(n))))


async def test_sixteen_cashiers_never_take_a_float_below_its_floor(db: Pool) -> None:
    await told(db, "accounts\n float:acme 100.00 −20.00\nbalances\n float:acme 100.00")

    async def cashier(i: int) -> int:
        sold = 0
        for n in range(10):  # 160 times 1.00 are asked for, 120 are there
            entry = Entry.of(f"{make_id('tu', i, 0, n)}.sold", ("float:acme/CNY", "sales:topup/CNY", 100))
            (answer,) = await db.transaction(lambda tx, entry=entry: ledger.post(tx, [entry], NOON))
            assert answer in (Posted(), Refusal("not_enough", answer.account if isinstance(answer, Refusal) else ""))
            sold += answer == Posted()
        return sold

    assert sum(await all_at_once(16, cashier)) == 120  # type: ignore[arg-type]
    await told(db, "balances\n float:acme −20.00\n sales:topup 120.00")


async def test_the_same_entry_from_sixteen_sides_is_posted_once(db: Pool) -> None:
    await told(db, "accounts\n float:acme 100.00 0.00\nbalances\n float:acme 100.00")
    entry = Entry.of(entry_id("7"), ("float:acme/CNY", "sales:topup/CNY", 3000))

    async def post(i: int) -> object:
        (answer,) = await db.transaction(lambda tx: ledger.post(tx, [entry], NOON))
        return answer

    answers = await all_at_once(16, post)
    assert answers.count(Posted()) == 1 and answers.count(Posted(again=True)) == 15
    await told(db, "balances\n float:acme 70.00")


async def test_batches_that_name_accounts_in_opposite_order_do_not_wait_for_each_other_in_a_ring(db: Pool) -> None:
    names = [f"bank:{letter}/CNY" for letter in "abcdefgh"]

    async def batch(i: int) -> object:
        way = names if i % 2 else names[::-1]
        entries = [Entry.of(f"{make_id('tu', i, 0, n)}.x", (way[n], way[n + 1], 1 + n)) for n in range(len(names) - 1)]
        return await db.transaction(lambda tx: ledger.post(tx, entries, NOON))

    for answers in await all_at_once(16, batch):
        assert answers == [Posted()] * 7
    assert sum((await db.transaction(lambda tx: ledger.balances(tx, names))).values()) == 0


async def test_accounts_are_locked_shared_ones_first_then_by_cell(db: Pool) -> None:
    seen: list[list[str]] = []

    class Watched:
        def __init__(self, tx: Tx) -> None:
            self._tx = tx

        async def rows(self, statement: Statement, **parameters: object) -> list[tuple[object, ...]]:
            if "FOR UPDATE" in statement.text:
                seen.append(list(parameters["names"]))  # type: ignore[call-overload]
            return await self._tx.rows(statement, **parameters)

        def __getattr__(self, name: str) -> object:
            return getattr(self._tx, name)

    other = make_id("su", 5, 0, 9)

    async def story(tx: Tx) -> None:
        await opened(tx, [f"{ANNA} 9.00 0.00", f"balance:{other} 9.00 0.00", "float:acme 9.00 0.00"])
        entries = [
            Entry.of(entry_id("1"), (f"{ANNA}/CNY", "sales:usage/CNY", 1)),
            Entry.of(entry_id("2"), (f"balance:{other}/CNY", "sales:usage/CNY", 1)),
            Entry.of(entry_id("3"), ("float:acme/CNY", f"{ANNA}/CNY", 1)),
        ]
        assert await ledger.post(Watched(tx), entries, NOON) == [Posted()] * 3  # type: ignore[arg-type]

    await db.transaction(story)
    order = seen[0]
    roles = [name.split(":")[0] for name in order]
    assert roles.index("balance") > max(i for i, role in enumerate(roles) if role != "balance")
    balances = [name for name in order if name.startswith("balance:")]
    assert balances == [f"balance:{other}/CNY", f"{ANNA}/CNY"]  # cell 5, then cell 77
