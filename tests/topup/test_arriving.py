"""When credit may be expected: from what arrived lately, and nothing where that is too little."""

from datetime import timedelta

import pytest
from tests.topup.shop import Shop

from refill.topup import pulse
from refill.topup.arriving import Arriving, Figures, within


@pytest.mark.parametrize(
    ("counts", "half_s", "nearly_all_s"),
    [
        ({0: 100}, 1, 1),
        ({3: 50, 6: 45, 11: 5}, 5, 20),
        ({3: 50, 6: 44, 11: 6}, 5, 120),
        ({21: 1}, 86_400, 86_400),
    ],
)
def test_a_share_is_reached_at_the_upper_end_of_a_bucket(
    counts: dict[int, int], half_s: int, nearly_all_s: int
) -> None:
    assert (within(counts, 50), within(counts, 95)) == (half_s, nearly_all_s)


async def arrive(shop: Shop, operator: str, count: int, seconds: float) -> None:
    tally = pulse.Tally()
    for _ in range(count):
        tally.add("northtel", operator, pulse.ARRIVED, timedelta(seconds=seconds))
    await shop.db.transaction(lambda tx: pulse.add(tx, tally, shop.world.db_now()))


async def test_too_few_say_nothing_and_an_hour_a_day_or_a_week_is_taken(shop: Shop) -> None:
    async def told() -> dict[str, Arriving]:
        return dict(await Figures().of(shop.db, shop.world.db_now()))

    await arrive(shop, "cmcc", 19, 4)
    assert await told() == {}
    await arrive(shop, "cmcc", 1, 100)
    assert await told() == {"cmcc": Arriving(5, 5, 20)}
    await arrive(shop, "cmcc", 1, 100)
    assert await told() == {"cmcc": Arriving(5, 120, 21)}
    await shop.world.advance(5 * 3600)
    await arrive(shop, "cmcc", 30, 1)
    assert (await told())["cmcc"] == Arriving(1, 1, 30), "the last hour holds enough"
    await shop.world.advance(5 * 3600)
    assert (await told())["cmcc"].count == 51, "else the last day"
    await shop.world.advance(2 * 86_400)
    assert (await told())["cmcc"].count == 51, "else the last week"
    await shop.world.advance(6 * 86_400)
    assert await told() == {}


async def test_figures_are_read_once_a_minute(shop: Shop) -> None:
    figures = Figures()
    assert await figures.of(shop.db, shop.world.db_now()) == {}
    await arrive(shop, "cmcc", 20, 4)
    assert await figures.of(shop.db, shop.world.db_now()) == {}
    await shop.world.advance(60)
    assert (await figures.of(shop.db, shop.world.db_now()))["cmcc"].usual_s == 5


async def test_what_a_supplier_delivers_is_counted_from_payment(shop: Shop) -> None:
    for n in range(20):
        await shop.sent(f"139 1234 {6000 + n}")
    found = await Figures().of(shop.db, shop.world.db_now())
    (only,) = found.values()
    assert (only.usual_s, only.count) == (1, 20)
