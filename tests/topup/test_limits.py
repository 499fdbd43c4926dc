"""Limits: so many and so much in a period of their own time zone, exact in every race, and never for what failed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

import pytest
from tests.topup.shop import MORNING, NORTHTELS, OWN_NUMBER, Shop
from tests.topup.test_exchange import dollar
from tests.topup.test_send_settle import delivery

from refill.catalogue.rates import Rates, RateTooOld
from refill.db import Asked, Database, Pool, Statement, Tx
from refill.errors import BadInput, CannotHappen, NotEnough, NotFound, RefillError
from refill.money import Money, money
from refill.topup import Ask, Order, flow, limits
from refill.topup.limits import LimitReached, counts, period_of

T = TypeVar("T")


async def limit(shop: Shop, per: str = "number", period: str = "day", **more: Any) -> str:
    """A limit, known to the shop at once; two top-ups unless it is said otherwise."""
    if not {"most_count", "most"} & more.keys():
        more["most_count"] = 2
    more = {"zone": "Asia/Shanghai", "reason": "the operator's rule", "who": "anna", **more}
    made = await shop.db.transaction(lambda tx: limits.make(tx, shop.world, per=per, period=period, **more))
    await shop.db.transaction(shop.trade.guard.refresh)
    return made.id


async def used(shop: Shop, limit_id: str) -> tuple[int, int]:
    """How full the fullest count of a limit is."""
    rows = await shop.db.transaction(lambda tx: limits.in_force(tx, shop.world.db_now()))
    return next((n, minor) for one, n, minor in rows if one.id == limit_id)


def kinds(answers: list[Order | RefillError]) -> str:
    """ "o o L": which were placed, and which a limit refused."""
    return " ".join("o" if isinstance(one, Order) else "L" if isinstance(one, LimitReached) else "?" for one in answers)


# ------------------------------------------------------------------ counting


async def test_the_third_of_a_day_is_refused_alone_and_says_when_it_is_possible_again(shop: Shop) -> None:
    await limit(shop)
    asks = [shop.partners_ask(NORTHTELS) for _ in range(3)]
    answers = await shop.place(*asks, shop.partners_ask("139 1234 0001"), shop.partners_ask(OWN_NUMBER))
    assert kinds(answers) == "o o L o o"
    assert "again from 2026-11-23 00:00 (Asia/Shanghai)" in str(answers[2])
    assert kinds(await shop.place(shop.partners_ask(NORTHTELS))) == "L"
    assert await shop.balance(shop.float) == "800.80"
    await shop.world.advance(14 * 3600)  # midnight in Shanghai
    assert kinds(await shop.place(shop.partners_ask(NORTHTELS))) == "o"


async def test_how_much_counts_beside_how_many(shop: Shop) -> None:
    id_ = await limit(shop, most=money("100 CNY"), most_count=10)
    faces = ("50 CNY", "100 CNY", "50 CNY", "10 CNY")
    assert kinds([answer for face in faces for answer in await shop.place(shop.partners_ask(face=face))]) == "o L o L"
    assert await used(shop, id_) == (2, 10_000)


async def test_one_rule_of_a_distributor_is_three_limits(shop: Shop) -> None:
    """Ten a day, fifteen a week, twenty a month for a recipient."""
    for period, most in (("day", 10), ("week", 15), ("month", 20)):
        await limit(shop, period=period, most_count=most, supplier="northtel")
    placed = Counter[str]()
    for day in range(8):  # the 22nd is a Sunday
        answers = await shop.place(*[shop.partners_ask(NORTHTELS, "10 CNY") for _ in range(11)])
        placed[f"{22 + day}"] = kinds(answers).count("o")
        await shop.world.advance(24 * 3600)
    assert placed == {"22": 10, "23": 10, "24": 0, "25": 0, "26": 0, "27": 0, "28": 0, "29": 0}


@pytest.mark.parametrize(
    ("per", "whom", "expected"),
    [
        ("number", {}, "o o o o o L"),
        ("payer", {}, "o L o L L L"),
        ("operator", {}, "o L L o o L"),
        ("product payer", {}, "o o o o o L"),
        ("channel", {"channel": "portal"}, "o o o L o o"),
        ("", {"operator": "cmcc"}, "o L L o o L"),
        ("", {"supplier": "northtel"}, "o L L L o L"),
        ("", {"product": "cmcc-50"}, "o o L o o L"),
        ("", {"payer": "guest:anna"}, "o o o L o o"),
        ("", {}, "o L L L L L"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "+".join(value) or "all",
)
async def test_who_is_counted_apart_and_who_is_concerned(
    shop: Shop, per: str, whom: dict[str, str], expected: str
) -> None:
    await limit(shop, per, most_count=1, **whom)
    answers = await shop.place(
        shop.partners_ask("139 1234 0001"),
        shop.partners_ask("139 1234 0002", "20 CNY"),
        shop.ask("139 1234 0003"),
        shop.ask("186 1234 0004"),
        shop.partners_ask(OWN_NUMBER),
        shop.partners_ask("139 1234 0001"),
    )
    assert kinds(answers) == expected


async def test_an_amount_in_another_currency_counts_at_the_rate_of_the_hour(shop: Shop) -> None:
    id_ = await limit(shop, most=money("14.00 USD"))
    (answer,) = await shop.place(shop.partners_ask(NORTHTELS))
    assert isinstance(answer, RateTooOld), "what cannot be counted is not sold"
    shop.trade.shelf.catalogue = replace(shop.trade.shelf.catalogue, rates=Rates([dollar()]))
    assert kinds(await shop.place(*[shop.partners_ask(NORTHTELS) for _ in range(3)])) == "o o L"
    assert await used(shop, id_) == (2, 1392)  # 6.96 each


# ------------------------------------------------------------------ what does not count


async def test_an_order_that_fails_leaves_its_counts(shop: Shop) -> None:
    id_ = await limit(shop, "payer")
    for _ in range(3):
        order = await shop.sent("139 1234 0003")
        assert order.status == "failed"
    assert await used(shop, id_) == (0, 0)
    await shop.sent(NORTHTELS)
    assert await used(shop, id_) == (1, 0)


async def test_an_order_that_nobody_pays_leaves_its_counts_when_it_lapses(shop: Shop) -> None:
    id_ = await limit(shop)
    asks = [shop.ask() for _ in range(3)]
    assert kinds(await shop.place(*asks)) == "o o L"
    await shop.wait(16 * 60)
    assert await used(shop, id_) == (0, 0)
    assert kinds(await shop.place(shop.ask())) == "o"


async def test_what_is_taken_back_leaves_its_counts(shop: Shop) -> None:
    id_ = await limit(shop)
    order = await shop.placed(shop.partners_ask())
    assert await used(shop, id_) == (1, 0)
    await flow.reverse(shop.trade, order.id, who="ben", reason="wrong number")
    assert await used(shop, id_) == (0, 0)
    await flow.reverse(shop.trade, order.id, who="ben", reason="wrong number")
    assert await used(shop, id_) == (0, 0)


async def test_what_arrives_late_after_all_counts_again(shop: Shop) -> None:
    id_ = await limit(shop, period="month", most=money("100 CNY"))
    shop.world.unplugged.add("https://northtel.example")
    order = await shop.placed(shop.partners_ask(NORTHTELS))
    await shop.worker.tick()
    shop.world.die()
    attempt = await shop.attempt(order.id)
    await shop.wait_until(attempt.hard_end + timedelta(hours=25))
    assert (await shop.order(order.id)).certainty == "provisional"
    assert await used(shop, id_) == (0, 0)
    await flow.settle(shop.trade, [delivery(attempt)])
    # The payer has the money back: what was given away for nothing is no use of the limit.
    assert ((await shop.order(order.id)).payment, await used(shop, id_)) == ("refunded", (0, 0))


async def test_a_refund_that_is_called_back_counts_again(shop: Shop) -> None:
    id_ = await limit(shop, most=money("100 CNY"))
    shop.world.unplugged.add("https://northtel.example")
    order = await shop.guest_pays()
    await shop.worker.tick()
    shop.world.die()
    shop.worker = type(shop.worker)(shop.trade)
    attempt = await shop.attempt(order.id)
    shop.world.unplugged.add("https://alipay.example")
    await shop.wait_until(attempt.hard_end + timedelta(hours=24, minutes=1))
    sinces = [limit_.since(MORNING) for limit_ in shop.trade.guard.limits]
    assert (await shop.order(order.id)).payment == "refund_pending"
    assert await counted(shop, sinces) == [(0, 0)]
    await flow.settle(shop.trade, [delivery(attempt)])
    now = await shop.order(order.id)
    assert (now.payment, now.delivery) in {("captured", "delivered"), ("refund_pending", "delivered")}
    assert counts(now)
    assert (await used(shop, id_))[0] == 0, "today is another day"
    assert await counted(shop, sinces) == [(1, 5000)]


async def counted(shop: Shop, sinces: list[datetime]) -> list[tuple[int, int]]:
    statement = Statement("SELECT count, minor FROM topup_limit_count WHERE since = ANY (:sinces::timestamptz[])")
    Statement.every.remove(statement)
    return [(n, minor) for n, minor in await shop.db.transaction(lambda tx: tx.rows(statement, sinces=sinces))]


async def test_who_cannot_pay_is_not_counted(shop: Shop) -> None:
    id_ = await limit(shop, "payer", most_count=100)
    answers = await shop.place(*[shop.partners_ask(NORTHTELS, "500 CNY") for _ in range(3)])
    assert [type(answer) for answer in answers] == [Order, Order, NotEnough]
    assert await used(shop, id_) == (2, 0)


async def test_a_repeat_is_the_same_order_and_counts_once(shop: Shop) -> None:
    id_ = await limit(shop)
    asks = [shop.partners_ask(NORTHTELS, reference="r1") for _ in range(4)]
    answers = [*await shop.place(*asks[:2]), *await shop.place(asks[2]), *await shop.place(asks[3])]
    assert kinds(answers) == "o o o o"
    assert await used(shop, id_) == (1, 0)


async def test_a_commit_in_doubt_counts_once(shop: Shop) -> None:
    id_ = await limit(shop)
    shop.db.lose = 1  # type: ignore[attr-defined]
    assert kinds(await shop.place(shop.partners_ask(NORTHTELS))) == "o"
    assert await used(shop, id_) == (1, 0)


# ------------------------------------------------------------------ together


async def test_batches_at_once_never_exceed_a_limit_and_never_wait_in_a_ring(shop: Shop) -> None:
    """Eight batches of partners and guests, each with the same numbers in another order; settled and given up meanwhile."""
    await limit(shop, "number", most_count=7)
    id_ = await limit(shop, "payer", most_count=13)
    dice = Random(7)
    calls = [f"139 1234 {n:04d}" for n in (8000, 8001, 8002)] + [OWN_NUMBER]

    async def batch(n: int) -> list[tuple[Ask, Order | RefillError]]:
        asks = [dice.choice((shop.partners_ask, shop.ask))(dice.choice(calls), "10 CNY") for _ in range(6)]
        return list(zip(asks, await shop.place(*asks), strict=True))

    told = [one for some in await asyncio.gather(*map(batch, range(8))) for one in some]
    placed = [answer for _, answer in told if isinstance(answer, Order)]
    assert kinds([answer for _, answer in told]).replace(" ", "").strip("oL") == ""
    by_number, by_payer = Counter(one.number for one in placed), Counter(one.payer for one in placed)
    assert max(by_number.values()) <= 7 and max(by_payer.values()) <= 13
    # Who was refused met a limit that is full: which of the two, and whose, the race decides.
    refused = [ask for ask, answer in told if not isinstance(answer, Order)]
    assert refused and all(by_number[ask.number] == 7 or by_payer[ask.payer] == 13 for ask in refused)
    assert await used(shop, id_) == (max(by_payer.values()), 0)


@pytest.mark.parametrize("seed", range(4))
async def test_a_batch_is_its_rows_one_by_one(shop: Shop, seed: int) -> None:
    dice = Random(seed)
    await limit(shop, "number", most_count=2, most=money("90 CNY"))
    await limit(shop, "payer", most=money("150 CNY"))
    await limit(shop, "operator", most_count=5, operator="cmcc")
    calls = ["139 1234 8000", "139 1234 8001", "186 1234 8002"]
    asks = [
        dice.choice((shop.partners_ask, shop.ask))(dice.choice(calls), dice.choice(("10 CNY", "50 CNY", "20 CNY")))
        for _ in range(14)
    ]
    numbers, faces, payers, cmcc = Counter[str](), Counter[str](), Counter[str](), 0
    expected = []
    for ask in asks:
        mobile = ask.msisdn.digits.startswith("86139")
        fits = numbers[ask.number] < 2 and faces[ask.number] + ask.face.minor <= 9_000
        fits = fits and payers[ask.payer] + ask.face.minor <= 15_000 and (not mobile or cmcc < 5)
        expected.append("o" if fits else "L")
        if fits:
            numbers[ask.number] += 1
            faces[ask.number] += ask.face.minor
            payers[ask.payer] += ask.face.minor
            cmcc += mobile
    assert kinds(await shop.place(*asks)) == " ".join(expected)
    assert "L" in expected


class Listening(Database):
    """Notes which statements are asked."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.asked: list[Statement] = []

    async def transaction(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        outer = self

        async def listen(tx: Tx) -> T:
            class Ear(Tx):
                def ask(self, statement: Statement, **parameters: Any) -> Asked:
                    outer.asked.append(statement)
                    return tx.ask(statement, **parameters)

            return await work(Ear())

        return await self.db.transaction(listen)


async def test_what_no_limit_concerns_costs_no_statement(shop: Shop) -> None:
    await shop.place(shop.partners_ask())  # whatever is opened once, is open
    listening = Listening(shop.db)
    shop.trade = replace(shop.trade, db=listening)
    await shop.place(shop.partners_ask(), shop.partners_ask())
    bare, listening.asked = listening.asked, []
    await limit(shop, operator="ctcc")
    listening.asked = []
    await shop.place(shop.partners_ask(), shop.partners_ask())
    assert listening.asked == bare
    await limit(shop, operator="demo")
    listening.asked = []
    await shop.place(shop.partners_ask(), shop.partners_ask())
    assert Counter(listening.asked) - Counter(bare) == Counter([limits.HOLD, limits.ADD, limits.USE])


# ------------------------------------------------------------------ periods


@pytest.mark.parametrize(
    ("period", "zone", "now", "begin", "end"),
    [
        ("hour", "Asia/Kolkata", "2026-11-22T02:10:00Z", "2026-11-22T01:30:00Z", "2026-11-22T02:30:00Z"),
        ("day", "Asia/Shanghai", "2026-11-22T02:00:00Z", "2026-11-21T16:00:00Z", "2026-11-22T16:00:00Z"),
        ("day", "America/New_York", "2026-11-22T02:00:00Z", "2026-11-21T05:00:00Z", "2026-11-22T05:00:00Z"),
        ("day", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),  # 23 hours
        ("day", "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),  # 25 hours
        ("hour", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        ("hour", "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),  # again 2:30
        ("week", "Asia/Shanghai", "2026-11-22T15:59:59Z", "2026-11-15T16:00:00Z", "2026-11-22T16:00:00Z"),
        ("week", "Asia/Shanghai", "2026-11-22T16:00:00Z", "2026-11-22T16:00:00Z", "2026-11-29T16:00:00Z"),
        ("month", "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("month", "Europe/Berlin", "2026-02-28T23:30:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
    ],
)
def test_a_period_is_the_zones_own(period: str, zone: str, now: str, begin: str, end: str) -> None:
    moments = [datetime.fromisoformat(text) for text in (now, begin, end)]
    assert period_of(period, zone, moments[0]) == (moments[1], moments[2])
    assert all(moment.tzinfo is UTC for moment in period_of(period, zone, moments[0]))


# ------------------------------------------------------------------ setting them


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"per": "device"}, "per number, payer"),
        ({"period": "year"}, "an hour, a day"),
        ({"most_count": None}, "how many, or how much"),
        ({"most_count": -1}, "zero or above"),
        ({"most_count": 2**31}, "zero or above"),
        ({"most": Money(-1, "CNY")}, "zero or above"),
        ({"zone": "Mars/Olympus"}, "no time zone"),
        ({"zone": "../../etc/passwd"}, "no time zone"),
        ({"zone": ""}, "no time zone"),
        ({"reason": " "}, "Say why"),
        ({"reason": "x" * 301}, "Say why"),
        ({"who": ""}, "Say why"),
    ],
    ids=lambda value: next(iter(value.items()))[0] if isinstance(value, dict) else None,
)
async def test_what_is_no_limit_is_refused(shop: Shop, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        await limit(shop, **{"most_count": 1, **wrong})
    assert shop.trade.guard.limits == ()


async def test_a_limit_ends_and_stays_ended(shop: Shop) -> None:
    id_, now = await limit(shop, most_count=0), shop.world.db_now()
    assert kinds(await shop.place(shop.partners_ask(NORTHTELS))) == "L"
    with pytest.raises(CannotHappen):
        await shop.db.transaction(lambda tx: limits.end(tx, id_, " ", now))
    await shop.db.transaction(lambda tx: limits.end(tx, id_, "ben", now))
    with pytest.raises(NotFound):
        await shop.db.transaction(lambda tx: limits.end(tx, id_, "ben", now))
    await shop.db.transaction(shop.trade.guard.refresh)
    assert not shop.trade.guard.watches
    assert kinds(await shop.place(shop.partners_ask(NORTHTELS))) == "o"


async def test_a_limit_is_known_to_a_process_that_starts(pool: Pool, shop: Shop) -> None:
    id_ = await limit(shop, "payer operator", "week", most=money("8.00 EUR"), payer="guest:x", channel="portal")
    other = limits.Guard()
    await pool.transaction(other.refresh)
    (known,) = other.limits
    assert known == shop.trade.guard.limits[0]
    assert (known.id, known.per, known.most, known.payer) == (id_, ("payer", "operator"), money("8.00 EUR"), "guest:x")


async def test_what_was_counted_long_ago_is_forgotten_and_late_failures_do_not_mind(shop: Shop) -> None:
    id_ = await limit(shop)
    order = await shop.placed(shop.partners_ask())
    await shop.world.advance(timedelta(days=71).total_seconds())
    later = await shop.placed(shop.partners_ask())
    await shop.db.transaction(lambda tx: limits.forget(tx, shop.world.db_now()))
    assert await counted(shop, [MORNING - timedelta(hours=10)]) == []
    assert await used(shop, id_) == (1, 0)
    for one in (order, later):
        await flow.reverse(shop.trade, one.id, who="ben", reason="wrong number")
    assert await used(shop, id_) == (0, 0)


async def test_a_limit_is_told_in_a_line(shop: Shop) -> None:
    await limit(shop, most_count=10, most=money("80.00 EUR"), supplier="northtel", channel="portal")
    (one,) = shop.trade.guard.limits
    assert limits.told(one) == (
        "10 top-ups and 80.00 EUR a day (Asia/Shanghai) per number, for supplier northtel, channel portal"
    )
    assert limits.fullest(one, 7, 4500) == "7 top-ups, 45.00 EUR"
    only = replace(one, per=(), period="hour", most=None, supplier=None, channel=None)
    assert limits.told(only) == "10 top-ups an hour (Asia/Shanghai) together"
    assert (
        limits.told(replace(only, most=money("1 CNY"), most_count=None)) == "1.00 CNY an hour (Asia/Shanghai) together"
    )
    assert limits.fullest(only, 0, 0) == "0 top-ups"
