"""Who would deliver, explained: the same answer as the worker's, in the order in which suppliers would be asked."""

import pytest
from tests.topup.shop import Lossy
from tests.topup.test_failover import TwoShops

from refill.catalogue.routing import Limits, Rule
from refill.errors import NotForSale
from refill.money import money
from refill.topup import standing
from refill.topup.explain import explain


@pytest.fixture
async def two(db: Lossy) -> TwoShops:
    return await TwoShops(db).open()


async def said(two: TwoShops, **more: str) -> list[str]:
    found = await explain(two.trade, "cmcc", money("50 CNY"), **more)
    return [f"{one.supplier} {one.cost} {one.why}{'' if one.chosen else '!'}" for one in found]


async def test_all_stand_in_the_order_in_which_they_would_be_asked(two: TwoShops) -> None:
    assert await said(two) == ["northtel 49.60 CNY cheapest", "southtel 49.70 CNY only"]


async def test_whoever_would_not_be_asked_stands_last_with_the_reason(two: TwoShops) -> None:
    two.decide(limits={"northtel": Limits(enabled=False)})
    assert await said(two) == ["southtel 49.70 CNY only", "northtel 49.60 CNY off!"]
    await standing.open_by_hand(two.trade, "southtel", who="mei", why="asleep")
    assert await said(two) == ["northtel 49.60 CNY off!", "southtel 49.70 CNY open!"]


async def test_a_rule_that_holds_everything_is_the_reason_of_all(two: TwoShops) -> None:
    two.decide(Rule("r", "hold", channel="portal"))
    assert await said(two) == ["northtel 49.60 CNY rule!", "southtel 49.70 CNY rule!"]
    assert (await said(two, channel="counter"))[0] == "northtel 49.60 CNY cheapest"


async def test_what_is_not_on_sale_is_refused(two: TwoShops) -> None:
    with pytest.raises(NotForSale):
        await explain(two.trade, "nobody", money("50 CNY"))
