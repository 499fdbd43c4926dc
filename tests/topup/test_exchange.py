"""Suppliers abroad: what they take leaves our float in their currency, and costs us what the frozen rate makes of it."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.topup.shop import MORNING, Lossy, Shop, table
from tests.topup.test_send_settle import delivery

from refill.catalogue.offers import Supply
from refill.catalogue.rates import Rate, Rates, RateTooOld, rate
from refill.db import Tx
from refill.ids import CELLS
from refill.money import Money, money
from refill.operators import Recharge
from refill.topup import Order, flow
from refill.topup.check import check_in
from refill.topup.exchange import frozen
from refill.topup.order import Attempt


def dollar(text: str = "7.1834", hours: int = 24) -> Rate:
    ends = MORNING + timedelta(hours=hours)
    return rate("USD", "CNY", text, valid_from=MORNING, valid_until=ends, source="our bank")


def sells(shop: Shop, *rates: Rate, **supply: Any) -> None:
    """China Mobile is bought from northtel in dollars: 7.00 for 50 yuan, unless it is said otherwise."""
    terms = {"cost_minor": 700, "cost_bp": 10_000, **supply}
    bought = Supply("cmcc", None, "northtel", terms["cost_minor"], terms["cost_bp"], "USD")
    shop.trade.shelf.catalogue = replace(shop.trade.shelf.catalogue, _supplies={"cmcc": (bought,)}, rates=Rates(rates))


async def prepared(shop: Shop) -> tuple[Order, Attempt]:
    """A partner's order whose attempt waits for its answer; nobody listens at northtel."""
    shop.world.unplugged.add("https://northtel.example")
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    await shop.worker.tick()
    shop.world.die()
    return order, await shop.attempt(order.id)


async def findings(shop: Shop) -> list[str]:
    async def work(tx: Tx) -> list[str]:
        return await check_in(tx, lambda done, total: None, steps=1)

    return await shop.db.transaction(work)


async def test_their_money_leaves_our_float_there_and_costs_us_what_the_rate_makes_of_it(shop: Shop) -> None:
    sells(shop, dollar())
    order, attempt = await prepared(shop)
    assert (order.cost, order.in_price(700)) == (money("7.00 USD"), 5028)  # 50.2838
    await flow.settle(shop.trade, [delivery(attempt, cost=money("7.00 USD"))])
    assert await shop.book(order.id) == table("""
        held.0      | float:kiosk → held:kiosk           | 49.80
        delivered.0 | held:kiosk → sales:topup           | 49.80
        delivered.1 | cost:topup → fx:position           | 50.28
        delivered.2 | fx:position/USD → float:northtel/USD | 7.00
    """)
    assert await shop.balance("float:northtel/USD") == "7.00"
    assert (await shop.balance("fx:position/CNY"), await shop.balance("fx:position/USD")) == ("50.28", "-7.00")
    assert (await shop.attempt(order.id)).cost_minor == 700
    assert await shop.cases(order.id) == []
    assert await findings(shop) == []


async def test_the_rate_of_the_order_holds_whatever_becomes_of_the_rate(shop: Shop) -> None:
    sells(shop, dollar())
    order, attempt = await prepared(shop)
    sells(shop, dollar("9.9"))
    await flow.settle(shop.trade, [delivery(attempt)])
    assert await shop.balance("cost:topup/CNY") == "-50.28"
    assert (await shop.order(order.id)).cost_currency == "USD"


async def test_a_supplier_is_asked_with_what_was_agreed_in_its_own_currency(shop: Shop) -> None:
    sells(shop, dollar())
    asked: list[Recharge] = []
    real = shop.trade.suppliers["northtel"]

    class Listening:
        flags = real.flags

        async def recharge(self, world: Any, ask: Recharge) -> Any:
            asked.append(ask)
            return await real.recharge(world, ask)

    assert isinstance(shop.trade.suppliers, dict)
    shop.trade.suppliers["northtel"] = Listening()  # type: ignore[assignment]
    await shop.sent("139 1234 5678")
    assert [(ask.face, ask.most_cost) for ask in asked] == [(money("50 CNY"), money("7.00 USD"))]


@pytest.mark.parametrize("hours", [0, 1], ids=["never told", "ran out"])
async def test_without_a_rate_of_this_hour_nothing_is_sold(shop: Shop, hours: int) -> None:
    sells(shop, *([dollar(hours=hours)] if hours else []))
    await shop.world.advance(3600)
    (answer,) = await shop.place(shop.partners_ask("139 1234 5678"))
    assert isinstance(answer, RateTooOld)
    assert "the exchange rate is too old" in str(answer)
    assert await shop.balance(shop.float) == "1000.00"


# ------------------------------------------------------------------ what suppliers do


@pytest.mark.parametrize(
    ("face", "told", "taken", "cost", "earned", "case"),
    [
        ("50 CNY", None, "7.00", "-50.28", "49.80", []),
        ("50 CNY", "7.00 USD", "7.00", "-50.28", "49.80", []),
        ("50 CNY", "6.50 USD", "6.50", "-46.69", "49.80", []),
        ("50 CNY", "7.01 USD", "7.01", "-50.36", "49.80", ["wrong_cost"]),
        ("50 CNY", "49.60 CNY", "7.00", "-50.28", "49.80", ["wrong_cost"]),  # yuan are never booked as dollars
        ("25 CNY", None, "3.50", "-25.14", "24.90", []),
        ("25 CNY", "3.50 USD", "3.50", "-25.14", "24.90", []),
        ("25 CNY", "7.00 USD", "7.00", "-50.28", "24.90", ["wrong_cost"]),  # half of it for the price of all
        ("12.50 CNY", None, "1.75", "-12.57", "12.45", []),
    ],
)  # fmt: skip
async def test_what_is_booked_of_a_delivery(
    shop: Shop, face: str, told: str | None, taken: str, cost: str, earned: str, case: list[str]
) -> None:
    sells(shop, dollar())
    order, attempt = await prepared(shop)
    answer = delivery(attempt, face, cost=money(told) if told else None)
    await flow.settle(shop.trade, [answer])
    assert await shop.balance("float:northtel/USD") == taken
    assert await shop.balance("cost:topup/CNY") == cost
    assert await shop.balance("sales:topup/CNY") == earned
    assert await shop.cases(order.id) == case
    assert await findings(shop) == []


async def test_a_refused_one_costs_nothing_and_moves_no_position(shop: Shop) -> None:
    sells(shop, dollar())
    order = await shop.sent("139 1234 0003")
    assert (await shop.order(order.id)).status == "failed"
    assert await shop.balance(shop.float) == "1000.00"
    assert await shop.balance("fx:position/USD") == await shop.balance("cost:topup/CNY") == "0.00"
    assert await findings(shop) == []


async def test_a_late_success_is_booked_at_the_rate_of_its_order(shop: Shop) -> None:
    sells(shop, dollar())
    order, attempt = await prepared(shop)
    await shop.wait_until(attempt.hard_end + timedelta(hours=25))
    assert (await shop.order(order.id)).payment == "refunded"
    await flow.settle(shop.trade, [delivery(attempt, cost=money("7.00 USD"))])
    assert "late.1 | fx:position/USD → float:northtel/USD | 7.00" in await shop.book(order.id)
    assert await shop.balance("cost:topup/CNY") == "-50.28"
    assert await shop.cases(order.id) == ["unknown", "late_success"]
    assert await findings(shop) == []


async def test_credit_that_is_taken_back_turns_the_position_back(db: Lossy) -> None:
    shop = await Shop(db, can_reverse="yes").open()
    sells(shop, dollar())
    order = await shop.sent("139 1234 5678")
    row = await flow.ask_reversal(shop.trade, order.id, "the wrong number was typed", "mei")
    await flow.confirm_reversal(shop.trade, order.id, row.n, "tao")
    await shop.world.advance(1)
    await flow.chase_reversals(shop.trade)
    await shop.world.advance(0)
    assert (await shop.order(order.id)).status == "reversed"
    for account in ("cost:topup/CNY", "fx:position/CNY", "fx:position/USD", "float:northtel/USD"):
        assert await shop.balance(account) == "0.00", account
    assert await findings(shop) == []
    shop.world.die()


async def test_a_rate_and_its_legs_that_disagree_are_found(shop: Shop) -> None:
    sells(shop, dollar())
    order, attempt = await prepared(shop)
    await flow.settle(shop.trade, [delivery(attempt)])
    await shop.sql("UPDATE topup_order SET rate_num = rate_num * 2 WHERE id = :id", id=order.id)
    assert await findings(shop) == [f"I4: {order.id} changed 700 of USD into 5028, and its rate says 10057."]


@given(st.integers(1, 10**9), st.integers(1, 10**15), st.sampled_from([10**n for n in range(13)]))
def test_the_frozen_rate_rounds_like_the_rate_itself(minor: int, num: int, den: int) -> None:
    one = replace_rate(dollar(), num, den)
    order = frozen(ORDER, one)
    assert order.in_price(minor) == one.convert(Money(minor, "USD")).minor == round(minor * Fraction(num, den))


def replace_rate(one: Rate, num: int, den: int) -> Rate:
    return Rate(one.base, one.quote, num, den, one.valid_from, one.valid_until)


ORDER = Order(
    "tu_x", CELLS - 1, "guest:x", "portal", "n", "cmcc", "cmcc-50", "northtel", money("50 CNY"), money("50 CNY"), 700, 0,
    "never", None, "captured", "ready", MORNING,
)  # fmt: skip
