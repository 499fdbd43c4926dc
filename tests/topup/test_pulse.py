"""The pulse: what became of attempts and how long credit takes, counted by whoever settles."""

from datetime import timedelta

from tests.topup.shop import NORTHTEL, Shop
from tests.worlds import MORNING

from refill.money import money
from refill.topup import pulse
from refill.topup.pulse import BOUNDS_S, Arrivals, Beat, Tally


async def beat(shop: Shop, operator: str = "cmcc") -> Beat:
    beats = await shop.db.transaction(lambda tx: pulse.since(tx, shop.world.db_now() - pulse.KEPT))
    return beats.get(("northtel", operator), Beat())


async def told(shop: Shop, operator: str, span: timedelta = pulse.HOUR) -> Arrivals | None:
    return await shop.db.transaction(lambda tx: pulse.arrivals(tx, operator, shop.world.db_now(), span))


async def counted(shop: Shop, *seconds: float, minutes_ago: int = 0, operator: str = "cmcc") -> None:
    tally = Tally()
    for took in seconds:
        tally.add("northtel", operator, pulse.ARRIVED, timedelta(seconds=took))
    at = shop.world.db_now() - timedelta(minutes=minutes_ago)
    await shop.db.transaction(lambda tx: pulse.add(tx, tally, at))


async def test_what_is_delivered_counts_for_the_supplier_and_for_the_payers(shop: Shop) -> None:
    await shop.sent()
    one = await beat(shop)
    assert (one.done, one.answers, one.bad, one.minor, one.typical_s()) == (1, 1, 0, 4960, 1)
    assert await told(shop, "cmcc") == Arrivals(1, 1, 1, 1)


async def test_an_answer_that_is_lost_counts_against_the_supplier_once_and_then_for_it(shop: Shop) -> None:
    await shop.sent("139 1234 0002")
    assert (await beat(shop)).unknown == 1
    await shop.wait(60)
    one = await beat(shop)
    assert (one.unknown, one.done, one.typical_s()) == (1, 1, 8)


async def test_a_no_about_the_number_or_our_own_float_does_not_speak_against_the_supplier(shop: Shop) -> None:
    await shop.sent("139 1234 0003")
    await shop.sent("139 1234 0013")
    assert ((await beat(shop)).declined, (await beat(shop)).bad) == (2, 0)


async def test_a_supplier_that_does_not_let_us_in_speaks_against_itself(shop: Shop) -> None:
    shop.world.unplugged.add(NORTHTEL)
    await shop.sent()
    await shop.sent("139 1234 0019")
    assert ((await beat(shop)).refused, (await beat(shop)).answers) == (2, 2)


async def test_a_delivery_after_the_refund_makes_nobodys_wait_shorter(shop: Shop) -> None:
    await shop.sent("139 1234 0021")
    await shop.wait(25 * 3600)
    shop.northtel._finish(next(iter(shop.northtel.jobs.values())))
    await shop.wait(2 * 3600)
    assert (await beat(shop)).done == 1
    assert await told(shop, "cmcc", pulse.KEPT) is None


async def test_percentiles_are_the_upper_ends_of_their_buckets(shop: Shop) -> None:
    await counted(shop, *[0.5] * 50, *[4] * 40, *[100] * 9, 10**6)
    assert await told(shop, "cmcc") == Arrivals(100, 1, 5, 120)
    assert await told(shop, "cunicom") is None
    assert pulse.bucket_of(timedelta(days=2)) == len(BOUNDS_S)


async def test_the_last_hour_is_the_last_hour(shop: Shop) -> None:
    await counted(shop, 1000, minutes_ago=61)
    assert await told(shop, "cmcc") is None
    assert await told(shop, "cmcc", timedelta(days=1)) == Arrivals(1, 1200, 1200, 1200)
    await counted(shop, 7, minutes_ago=60 * 24 * 9)
    await shop.db.transaction(lambda tx: pulse.forget(tx, shop.world.db_now()))
    assert await told(shop, "cmcc", timedelta(days=30)) == Arrivals(1, 1200, 1200, 1200)


async def test_batches_of_one_minute_add_up(shop: Shop) -> None:
    for _ in range(3):
        await counted(shop, 1, 2, 2)
    assert await told(shop, "cmcc") == Arrivals(9, 2, 2, 2)
    await shop.db.transaction(lambda tx: pulse.add(tx, Tally(), MORNING))


async def test_the_youngest_word_about_a_float_stands(shop: Shop) -> None:
    async def said(left: str, seconds: int) -> None:
        at = MORNING + timedelta(seconds=seconds)
        await shop.db.transaction(lambda tx: pulse.see(tx, [("northtel", money(left))], at))

    await said("10.00 CNY", 60)
    await said("20.00 CNY", 30)  # it was asked earlier, and came late
    (seen,) = await shop.db.transaction(pulse.floats_seen)
    assert (seen.supplier, seen.left, seen.seen_at) == ("northtel", money("10.00 CNY"), MORNING + timedelta(minutes=1))
    await shop.db.transaction(lambda tx: pulse.see(tx, [], MORNING))
