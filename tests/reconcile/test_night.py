"""The morning after: statements fetched from the firm, taken, and asked for again while they are not there."""

from dataclasses import replace
from datetime import UTC, date, datetime

from tests.reconcile.conftest import TODAY, Evening

from refill import reconcile
from refill.errors import CannotHappen
from refill.payments import BadStatement
from refill.reconcile import Result
from refill.reconcile.night import due_days


def test_a_statement_is_due_from_half_past_nine_of_the_next_day() -> None:
    assert due_days(datetime(2026, 11, 23, 1, 29, tzinfo=UTC)) == [date(2026, 11, day) for day in (19, 20, 21)]
    assert due_days(datetime(2026, 11, 23, 1, 30, tzinfo=UTC)) == [date(2026, 11, day) for day in (20, 21, 22)]


async def nightly(evening: Evening) -> list[Result | BadStatement | CannotHappen]:
    firms = replace(evening.shop.trade, suppliers={})  # suppliers have nights of their own
    return list(await reconcile.nightly(firms, evening.bulk))


async def test_the_statement_of_yesterday_is_fetched_and_taken(evening: Evening) -> None:
    await evening.paid()
    assert await nightly(evening) == []
    await evening.shop.world.advance(86400)
    assert ("alipay", TODAY) in await reconcile.missing(evening.shop.trade, evening.shop.db)
    (result,) = await nightly(evening)
    assert isinstance(result, Result)
    assert (result.day, result.matched) == (TODAY, 1)
    assert ("alipay", TODAY) not in await reconcile.missing(evening.shop.trade, evening.shop.db)
    assert await nightly(evening) == []


async def test_what_is_not_there_yet_is_fetched_another_time(evening: Evening) -> None:
    await evening.paid()
    await evening.shop.world.advance(86400)
    evening.shop.alipay.troubles.plan("lost", 3)
    assert await nightly(evening) == []
    assert len(await nightly(evening)) == 1


async def test_a_statement_that_never_comes_is_a_case_on_its_last_day(evening: Evening) -> None:
    await evening.paid()
    gone = {"lost": 1.0}
    for days, expected in ((1, 0), (1, 0), (1, 1), (1, 1)):
        await evening.shop.world.advance(days * 86400)
        evening.shop.alipay.troubles.chances.update(gone)
        assert await nightly(evening) == []
        assert len(await evening.cases()) == expected, "only the day on which money arrived, and once"
    assert "take it by hand" in (await evening.cases())[0].says


async def test_a_statement_that_cannot_be_taken_is_told_and_nothing_is_lost(evening: Evening) -> None:
    await evening.paid()
    await evening.shop.world.advance(86400)
    evening.shop.alipay.seller_id, seller = "2088000000000009", evening.shop.alipay.seller_id
    (refusal,) = await nightly(evening)
    assert isinstance(refusal, BadStatement)
    (case,) = await evening.cases()
    assert case.says == f"The statement of alipay for {TODAY} was refused: {refusal}"
    evening.shop.alipay.seller_id = seller
    (result,) = await nightly(evening)
    assert isinstance(result, Result)


async def test_what_a_crash_left_unasked_is_asked_in_the_night(evening: Evening) -> None:
    order = await evening.paid(noticed=False)
    evening.shop.alipay.troubles.plan("lost", 1)
    await evening.take()
    await evening.shop.sql("UPDATE reconcile_item SET state = 'asking'")
    await evening.shop.sql("DELETE FROM cases_case")
    await nightly(evening)
    assert (await evening.shop.order(order.id)).payment == "captured"
    assert await evening.left() == ["theirs_only payment settled"]
    assert await evening.cases() == []
