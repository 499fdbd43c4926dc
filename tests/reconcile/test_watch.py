"""Floats under watch: their word against our book, how long money lasts, and orders that wait for it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.topup.shop import Lossy, Shop

from refill import cases, reconcile
from refill.cases import CaseRow
from refill.db import Pool, Statement
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound
from refill.money import Money, money
from refill.operators import terms_by_name
from refill.reconcile import Float, Reading, in_words
from refill.reconcile.watch import last
from refill.topup.check import check_in

NORTHTEL = ("northtel", "CNY")


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await Pool(dsn, size=4).open()
    yield pool
    await pool.close()


@pytest.fixture
async def shop(pool: Pool) -> AsyncIterator[Shop]:
    """A shop whose float at northtel stands in the book."""
    shop = await Shop(Lossy(pool)).open()
    shop.northtel.float_minor = 100_000
    await paid_in(shop, "1000.00 CNY")
    yield shop
    shop.world.die()
    assert shop.world.errors == []


async def paid_in(shop: Shop, amount: str) -> None:
    at = shop.db.transaction
    id_ = await at(lambda tx: reconcile.fund(tx, shop.trade, "northtel", money(amount), "wang"))
    await at(lambda tx: reconcile.confirm_funding(tx, shop.trade, id_, "li"))


async def read(shop: Shop) -> Reading:
    """A minute later, what northtel says."""
    await shop.world.advance(60)
    await reconcile.look(shop.trade, shop.db)
    await shop.world.advance(0)
    found = await shop.db.transaction(lambda tx: last(tx, *NORTHTEL))
    assert found is not None
    return found


async def standing(shop: Shop) -> Float:
    (found,) = await shop.db.transaction(lambda tx: reconcile.floats(tx, shop.trade))
    return found


async def waiting(shop: Shop) -> list[CaseRow]:
    return await shop.db.transaction(cases.open_cases)


async def test_their_word_and_our_book_agree_while_everything_is_known(shop: Shop) -> None:
    await shop.sent()
    reading = await read(shop)
    assert (reading.left.text(), reading.least, reading.most) == ("950.40", reading.left, reading.left)
    assert reading.off_since is None
    assert await waiting(shop) == []


async def test_each_float_is_asked_about_once_in_its_time_however_many_ask(shop: Shop) -> None:
    asked = [await reconcile.look(shop.trade, shop.db) for _ in range(3)]
    await shop.world.advance(0)
    assert asked == [1, 0, 0]
    await shop.world.advance(59)
    assert await reconcile.look(shop.trade, shop.db) == 0
    await shop.world.advance(1)
    assert await reconcile.look(shop.trade, shop.db) == 1


async def test_what_is_open_may_have_been_taken_or_not(shop: Shop) -> None:
    shop.northtel.troubles.plan("lost")
    await shop.sent()
    taken = await read(shop)
    assert (taken.least.text(), taken.left.text(), taken.most.text()) == ("950.40", "950.40", "1000.00")
    shop.northtel.float_minor += 4960  # as if it had not been taken
    untaken = await read(shop)
    assert untaken.left.text() == "1000.00"
    assert untaken.off_since is None


async def test_what_stays_outside_for_a_quarter_of_an_hour_is_a_case_and_closes_by_itself(shop: Shop) -> None:
    shop.northtel.float_minor -= 1234
    first = await read(shop)
    assert (first.off.text(), first.off_since) == ("-12.34", first.at)
    for _ in range(14):
        reading = await read(shop)
        assert (reading.off_since, await waiting(shop)) == (first.at, [])
    await read(shop)
    (case,) = await waiting(shop)
    assert case.id == "difference:float:northtel/CNY"
    assert case.says == "northtel says that our float is 987.66 CNY; our book allows 1000.00 CNY."
    shop.northtel.float_minor += 1234
    assert (await read(shop)).off_since is None
    assert await waiting(shop) == []


async def test_money_that_somebody_entered_and_nobody_confirmed_may_be_there_already(shop: Shop) -> None:
    await shop.db.transaction(lambda tx: reconcile.fund(tx, shop.trade, "northtel", money("500.00 CNY"), "wang"))
    for left in (100_000, 150_000):
        shop.northtel.float_minor = left
        assert (await read(shop)).off_since is None
    shop.northtel.float_minor = 150_001
    assert (await read(shop)).off.text() == "0.01"


async def test_a_supplier_that_does_not_tell_leaves_no_reading(shop: Shop) -> None:
    shop.northtel.currency = "USD"
    await reconcile.look(shop.trade, shop.db)
    await shop.world.advance(0)
    assert await shop.db.transaction(lambda tx: last(tx, *NORTHTEL)) is None
    found = await standing(shop)
    assert (found.reading, found.left.text()) == (None, "1000.00"), "then our own book is the best word"


async def test_readings_stay_as_they_were(shop: Shop) -> None:
    await read(shop)
    with pytest.raises(Exception, match="append-only"):
        await shop.sql("UPDATE reconcile_reading SET minor = 0")


# ------------------------------------------------------------------ how long it lasts


async def test_a_float_that_will_be_empty_soon_is_an_alarm_before_it_is_empty(shop: Shop) -> None:
    assert (await standing(shop)).lasts is None, "nothing leaves it"
    for n in range(10):
        await shop.sent(f"139 1234 {6000 + n}")
    await read(shop)
    found = await standing(shop)
    assert (found.burn_minor, found.left.text(), found.low) == (49_600, "504.00", True)
    assert in_words(found.lasts) == "61 min"
    (case,) = await waiting(shop)
    assert case.id == "low_float:northtel/CNY"
    assert case.says == "Our float at northtel has 504.00 CNY left; it is empty in about 61 min. Pay into it."
    shop.northtel.float_minor += 1_000_000
    await paid_in(shop, "10000.00 CNY")
    await read(shop)
    assert await waiting(shop) == []
    await shop.world.advance(3 * 3600)
    assert (await standing(shop)).burn_minor == 8267, "after the rush, the last six hours tell"


async def test_a_level_that_is_set_alarms_even_when_nothing_is_sold(shop: Shop) -> None:
    settings = {"terms_northtel_least": "1200.00 CNY", "terms_northtel_alarm_h": "1"}
    shop.trade = replace(shop.trade, terms=terms_by_name(settings, ["northtel"]))
    await read(shop)
    (case,) = await waiting(shop)
    assert "has 1000.00 CNY left; that is below its level" in case.says


@pytest.mark.parametrize(
    ("lasts", "words"),
    [
        (None, "—"),
        (timedelta(minutes=90), "90 min"),
        (timedelta(hours=5, minutes=10), "5 h"),
        (timedelta(days=9), "9 d"),
    ],
)
def test_how_long_it_lasts_is_said_as_people_say_it(lasts: timedelta | None, words: str) -> None:
    assert in_words(lasts) == words


# ------------------------------------------------------------------ who waits for it


async def test_an_empty_float_parks_alarms_and_resumes_alone_when_money_is_seen(shop: Shop) -> None:
    shop.northtel.float_minor = 5000
    orders = [await shop.sent(f"139 1234 {6000 + n}") for n in range(3)]
    assert [order.delivery for order in orders] == ["delivered", "parked", "parked"]
    hour = shop.world.db_now() + timedelta(hours=1)
    await shop.sql("UPDATE topup_order SET wake_at = :at, due = :at WHERE delivery = 'parked'", at=hour)
    await read(shop)
    assert "empty_float:northtel" in [case.id for case in await waiting(shop)]
    shop.northtel.float_minor += 5000  # enough for one of them
    await shop.world.advance(15)
    await reconcile.look(shop.trade, shop.db)
    await shop.world.advance(0)
    assert await shop.db.transaction(lambda tx: tx.value(DUE_NOW, now=shop.world.db_now())) == 1
    await shop.tick()
    await shop.tick()
    deliveries = [(await shop.order(order.id)).delivery for order in orders]
    assert deliveries == ["delivered", "delivered", "parked"], "the oldest first, as far as the money goes"
    shop.northtel.float_minor += 100_000
    await read(shop)
    await shop.tick()
    await shop.tick()
    assert (await shop.order(orders[2].id)).delivery == "delivered"
    await read(shop)
    assert "empty_float:northtel" not in [case.id for case in await waiting(shop)]


DUE_NOW = Statement("SELECT count(*) FROM topup_order WHERE delivery = 'parked' AND due <= :now")
Statement.every.remove(DUE_NOW)


# ------------------------------------------------------------------ paying into it


async def test_a_payment_into_a_float_takes_two_people_and_is_posted_once(shop: Shop) -> None:
    at = shop.db.transaction
    id_ = await at(lambda tx: reconcile.fund(tx, shop.trade, "northtel", money("500.00 CNY"), "wang"))
    with pytest.raises(NotAllowed):
        await at(lambda tx: reconcile.confirm_funding(tx, shop.trade, id_, "wang"))
    assert (await standing(shop)).book == money("1000.00 CNY")
    for _ in range(2):
        await at(lambda tx: reconcile.confirm_funding(tx, shop.trade, id_, "li"))
    assert (await standing(shop)).book == money("1500.00 CNY")
    assert await shop.balance("bank:main/CNY") == "1500.00"
    with pytest.raises(CannotHappen):
        await at(lambda tx: reconcile.withdraw_funding(tx, shop.trade, id_, "wang"))
    assert await at(lambda tx: check_in(tx, lambda done, total: None, steps=1)) == []


async def test_what_the_supplier_pays_back_goes_to_the_bank(shop: Shop) -> None:
    await paid_in_back(shop)
    assert (await standing(shop)).book == money("900.00 CNY")


async def paid_in_back(shop: Shop) -> None:
    back = Money(-10_000, "CNY")
    at = shop.db.transaction
    id_ = await at(lambda tx: reconcile.fund(tx, shop.trade, "northtel", back, "wang"))
    shop.northtel.float_minor -= 10_000
    assert (await read(shop)).off_since is None, "it may be gone already"
    await at(lambda tx: reconcile.confirm_funding(tx, shop.trade, id_, "li"))


async def test_a_payment_that_never_was_is_withdrawn(shop: Shop) -> None:
    at = shop.db.transaction
    await shop.world.advance(1)
    id_ = await at(lambda tx: reconcile.fund(tx, shop.trade, "northtel", money("500.00 CNY"), "wang"))
    for _ in range(2):
        await at(lambda tx: reconcile.withdraw_funding(tx, shop.trade, id_, "wang"))
    with pytest.raises(CannotHappen):
        await at(lambda tx: reconcile.confirm_funding(tx, shop.trade, id_, "li"))
    assert [row.confirmed for row in await at(reconcile.fundings)] == [False, True]


async def test_payments_into_nothing_and_of_nothing_are_refused(shop: Shop) -> None:
    at = shop.db.transaction
    with pytest.raises(NotFound):
        await at(lambda tx: reconcile.fund(tx, shop.trade, "nobody", money("1.00 CNY"), "wang"))
    with pytest.raises(BadInput):
        await at(lambda tx: reconcile.fund(tx, shop.trade, "northtel", Money(0, "CNY"), "wang"))
    for step in (reconcile.confirm_funding, reconcile.withdraw_funding):
        with pytest.raises(NotFound):
            await at(lambda tx, step=step: step(tx, shop.trade, "fu_none", "li"))
