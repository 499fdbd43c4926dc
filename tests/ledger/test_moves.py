"""What a float's owner reads of the book: every move once, days that open with what the former closed with."""

from datetime import datetime, timedelta
from itertools import count, pairwise
from random import Random

from tests.ledger.tables import NOON, opened

from refill import ledger
from refill.db import Pool, Tx
from refill.ids import make_id
from refill.ledger import Entry, Move, Posted

ACME = "float:acme/CNY"
numbers = count(1)


def new_id(prefix: str) -> str:
    return make_id(prefix, 7, 0, next(numbers))


async def post(db: Pool, id_: str, debit: str, credit: str, minor: int, at: datetime) -> None:
    entry = Entry.of(id_, (debit, credit, minor))
    assert await db.transaction(lambda tx: ledger.post(tx, [entry], at)) == [Posted()]


async def furnish(db: Pool) -> str:
    """A float of 1,000 in three stripes: a deposit, a sale, a failed and a reversed one, and a hand that puts right."""

    async def open_(tx: Tx) -> None:
        await opened(tx, ["float:acme 0.00 -9000.00", "float:bell 500.00 0.00"])

    await db.transaction(open_)
    await post(db, f"{new_id('de')}.deposit", "bank:demo/CNY", ACME, 100_000, NOON)
    await db.transaction(lambda tx: ledger.split(tx, ACME, 3, id_=f"{new_id('st')}.split", at=NOON))
    order = new_id("tu")
    await post(db, f"{order}.held", "float:acme#1/CNY", "held:acme/CNY", 5_000, NOON + timedelta(hours=1))
    await post(db, f"{order}.failed", "held:acme/CNY", ACME, 5_000, NOON + timedelta(hours=2))
    sold = new_id("tu")
    await post(db, f"{sold}.sold", "float:acme#2/CNY", "sales:topup/CNY", 3_000, NOON + timedelta(days=1))
    await post(db, f"{sold}.reversed", "sales:topup/CNY", ACME, 3_000, NOON + timedelta(days=1, hours=1))
    await post(db, f"{new_id('ad')}.right", ACME, "sales:topup/CNY", 100, NOON + timedelta(days=2))
    await post(db, f"{new_id('tu')}.sold", "float:bell/CNY", "sales:topup/CNY", 700, NOON + timedelta(days=2))
    return order


async def listed(db: Pool, most: int = 9, behind: Move | None = None, **wanted: object) -> list[Move]:
    asked = {"since": None, "kind": None, "until": NOON + timedelta(days=9), **wanted}
    last = (behind.at, behind.id) if behind else None
    return await db.transaction(
        lambda tx: ledger.moves(tx, ACME, behind=last, most=most, **asked)  # type: ignore[arg-type]
    )


async def test_every_move_of_a_float_is_listed_once_whatever_stripe_it_took(db: Pool) -> None:
    order = await furnish(db)
    found = await listed(db)
    assert [(move.kind, move.minor) for move in found] == [
        ("adjustment", -100),
        ("reversal", 3_000),
        ("topup", -3_000),
        ("refund", 5_000),
        ("topup", -5_000),
        ("deposit", 100_000),
    ]
    pages: list[Move] = []
    while page := await listed(db, 2, pages[-1] if pages else None):
        pages += page
    assert pages == found
    assert [move.minor for move in await listed(db, kind="topup")] == [-3_000, -5_000]
    assert [move.minor for move in await listed(db, since=NOON + timedelta(days=1))] == [-100, 3_000, -3_000]
    of_one = await db.transaction(lambda tx: ledger.moves_of(tx, ACME, order, 7))
    assert [(move.source, move.minor) for move in of_one] == [(order, 5_000), (order, -5_000)]


async def test_days_add_up_from_opening_to_closing(db: Pool) -> None:
    await furnish(db)
    midnight = NOON.replace(hour=0)
    bounds = [midnight + timedelta(days=n) for n in range(-1, 3)]
    days = await db.transaction(lambda tx: ledger.spans(tx, ACME, bounds))
    assert [(day.opening, day.closing) for day in days] == [(0, 0), (0, 100_000), (100_000, 100_000)]
    assert days[1].moved == {"deposit": (1, 100_000), "topup": (1, -5_000), "refund": (1, 5_000)}
    assert [(day.since, day.until) for day in days] == list(pairwise(bounds))
    later = await db.transaction(lambda tx: ledger.spans(tx, ACME, [bounds[-1], bounds[-1] + timedelta(days=1)]))
    assert (later[0].opening, later[0].closing) == (100_000, 99_900)


async def test_any_days_of_any_life_join_without_a_gap(db: Pool) -> None:
    await furnish(db)
    dice = Random(7)
    for n in range(40):
        at = NOON + timedelta(minutes=dice.randrange(6 * 1440))
        await post(db, f"{new_id('tu')}.sold", ACME, "sales:topup/CNY", 1 + n, at)
    bounds = sorted(NOON + timedelta(hours=dice.randrange(-20, 150)) for _ in range(12))
    bounds = sorted(set(bounds))
    days = await db.transaction(lambda tx: ledger.spans(tx, ACME, bounds))
    assert all(before.closing == day.opening for before, day in pairwise(days))
    assert all(day.closing - day.opening == sum(minor for _, minor in day.moved.values()) for day in days)
    now = await db.transaction(lambda tx: ledger.standing(tx, ACME))
    whole = await db.transaction(
        lambda tx: ledger.spans(tx, ACME, [NOON - timedelta(days=1), NOON + timedelta(days=9)])
    )
    assert (whole[0].opening, whole[0].closing) == (0, now)
