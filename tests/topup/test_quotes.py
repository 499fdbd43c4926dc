"""Quotes: a price that holds for a while, for one top-up of one payer, whatever the catalogue says meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.topup.shop import NORTHTELS, OWN_NUMBER, Lossy, Shop
from tests.topup.test_exchange import dollar, sells

from refill.catalogue.rates import RateTooOld
from refill.errors import BadInput, NotEnough, NotForSale, NotFound, OtherContent, PriceTooHigh, RefillError
from refill.money import money
from refill.topup import Order, flow, quotes
from refill.topup.quotes import Kept, QuoteMisfit, QuoteOver

VIRTUAL = "162 1234 5678"  # nobody can tell its operator


async def quoted(shop: Shop, number: str = NORTHTELS, face: str = "50 CNY", **more: Any) -> Kept:
    lasts = more.pop("lasts", timedelta(minutes=10))
    return await flow.quote(shop.trade, shop.partners_ask(number, face, **more), lasts=lasts)


async def refused(shop: Shop, quote: str, number: str = NORTHTELS, face: str = "50 CNY", **more: Any) -> RefillError:
    (answer,) = await shop.place(shop.partners_ask(number, face, quote=quote, **more))
    assert isinstance(answer, RefillError), answer
    return answer


def dearer(shop: Shop) -> None:
    """Everything costs its face value from now on."""
    raised = {
        operator: tuple(replace(one, retail_bp=10_000) for one in some)
        for operator, some in shop.trade.shelf.catalogue._products.items()
    }
    shop.trade.shelf.catalogue = replace(shop.trade.shelf.catalogue, _products=raised)


async def test_the_price_of_a_quote_holds_although_the_catalogue_changed(shop: Shop) -> None:
    ask = shop.ask(NORTHTELS)
    kept = await flow.quote(shop.trade, ask)
    dearer(shop)
    order = await shop.placed(shop.ask(NORTHTELS, quote=kept.id))
    assert (kept.quote.price, order.price) == (money("49.90 CNY"), money("49.90 CNY"))
    assert (await shop.placed(shop.ask(NORTHTELS))).price == money("50.00 CNY")
    assert (order.supplier, order.cost) == ("northtel", money("49.60 CNY"))


@pytest.mark.parametrize("number", [NORTHTELS, OWN_NUMBER], ids=["elsewhere", "at home"])
async def test_a_quote_for_an_operator_is_for_any_of_its_numbers(shop: Shop, number: str) -> None:
    operator = "cmcc" if number == NORTHTELS else "demo"
    kept = await flow.quote_operator(shop.trade, f"partner:{shop.partner}", operator, money("50 CNY"), commission_bp=40)
    order = await shop.placed(shop.partners_ask(number, quote=kept.id))
    assert (order.operator, order.price) == (operator, money("49.80 CNY"))
    assert kept.number is None


async def test_a_quote_names_the_operator_of_a_number_that_tells_none(shop: Shop) -> None:
    kept = await quoted(shop, VIRTUAL, operator="ctcc")
    assert (await shop.placed(shop.partners_ask(VIRTUAL, quote=kept.id))).operator == "ctcc"


async def test_a_quote_is_for_one_top_up(shop: Shop) -> None:
    kept = await quoted(shop)
    asks = [shop.partners_ask(NORTHTELS, quote=kept.id) for _ in range(2)]
    first, second = await shop.place(*asks)
    assert isinstance(first, Order)
    assert isinstance(second, QuoteOver)
    assert "placed with this quote before" in str(await refused(shop, kept.id))


async def test_a_repeat_of_a_quoted_top_up_is_the_same_top_up(shop: Shop, db: Lossy) -> None:
    kept = await quoted(shop)
    asks = [shop.partners_ask(NORTHTELS, quote=kept.id, key="k1") for _ in range(3)]
    db.lose = 1
    first, again = await shop.place(*asks[:2])
    (later,) = await shop.place(asks[2])
    assert isinstance(first, Order) and isinstance(again, Order) and isinstance(later, Order)
    assert first.id == again.id == later.id
    (other,) = await shop.place(shop.partners_ask(NORTHTELS, key="k1"))
    assert isinstance(other, OtherContent), "with a quote and without are two wishes"


async def test_a_quote_that_could_not_be_paid_is_still_good(shop: Shop) -> None:
    kept = await quoted(shop, face="500 CNY")
    await shop.place(shop.partners_ask(NORTHTELS, "500 CNY"))
    await shop.place(shop.partners_ask(NORTHTELS, "20 CNY"))
    assert isinstance(await refused(shop, kept.id, face="500 CNY"), NotEnough)
    await shop.sql("UPDATE ledger_account SET floor = -100000 WHERE name = :name", name=shop.float)
    assert (await shop.placed(shop.partners_ask(NORTHTELS, "500 CNY", quote=kept.id))).price == kept.quote.price


async def test_a_quote_ends_at_its_end(shop: Shop) -> None:
    kept = await quoted(shop, lasts=timedelta(seconds=60))
    await shop.world.advance(60)
    answer = await refused(shop, kept.id)
    assert isinstance(answer, QuoteOver)
    assert "expired at 2026-11-22 02:01:00 UTC" in str(answer)
    assert (QuoteOver.status, QuoteMisfit.status) == (409, 422)


@pytest.mark.parametrize(
    ("what", "ask"),
    [
        ("number", {"number": "139 1234 0001"}),
        ("operator", {"operator": "ctcc"}),
        ("product", {"product": "cmcc-20"}),
        ("amount", {"face": "20 CNY"}),
    ],
)
async def test_a_quote_for_something_else_is_refused_with_what_differs(
    shop: Shop, what: str, ask: dict[str, str]
) -> None:
    kept = await quoted(shop)
    answer = await refused(shop, kept.id, **ask)
    assert isinstance(answer, QuoteMisfit)
    assert f"another {what}" in str(answer)
    assert await shop.balance(shop.float) == "1000.00"


async def test_a_strangers_quote_is_not_there(shop: Shop) -> None:
    kept = await flow.quote(shop.trade, shop.ask(NORTHTELS))
    for id_ in (kept.id, "qu_" + "0" * 24, "qu_", "tu_1"):
        answer = await refused(shop, id_)
        assert isinstance(answer, NotFound)
        assert str(answer) == "There is no quote with that id."


async def test_what_one_pays_at_most_counts_for_a_quote_too(shop: Shop) -> None:
    kept = await quoted(shop)
    assert isinstance(await refused(shop, kept.id, max_price=money("49.79 CNY")), PriceTooHigh)


async def test_a_quote_keeps_the_rate_at_which_it_was_made(shop: Shop) -> None:
    sells(shop, dollar(hours=1))
    kept = await quoted(shop, lasts=timedelta(hours=3))
    await shop.world.advance(3600)
    (without,) = await shop.place(shop.partners_ask(NORTHTELS))
    assert isinstance(without, RateTooOld)
    order = await shop.placed(shop.partners_ask(NORTHTELS, quote=kept.id))
    assert (order.cost, order.rate_num, order.rate_den) == (money("7.00 USD"), 35917, 5000)


@pytest.mark.parametrize(
    ("number", "more", "error"),
    [
        (VIRTUAL, {}, NotForSale),
        (NORTHTELS, {"operator": "nobody"}, NotForSale),
        (NORTHTELS, {"face": "51 CNY"}, NotForSale),
        (NORTHTELS, {"lasts": timedelta(0)}, BadInput),
        (NORTHTELS, {"lasts": timedelta(days=1, seconds=1)}, BadInput),
    ],
    ids=["no operator", "unknown operator", "no such amount", "no time", "too long"],
)
async def test_what_cannot_be_quoted_is_refused(
    shop: Shop, number: str, more: dict[str, Any], error: type[RefillError]
) -> None:
    with pytest.raises(error):
        await quoted(shop, number, **more)


async def test_a_quote_for_an_operator_without_a_connected_supplier_is_refused(shop: Shop) -> None:
    shop.trade = replace(shop.trade, suppliers={})
    with pytest.raises(NotForSale, match="No supplier"):
        await flow.quote_operator(shop.trade, "guest:x", "cmcc", money("50 CNY"))


async def test_what_nobody_used_is_forgotten_and_what_was_used_is_kept(shop: Shop) -> None:
    kept, other = await quoted(shop), await quoted(shop)
    await shop.placed(shop.partners_ask(NORTHTELS, quote=kept.id))
    await shop.world.advance(timedelta(days=8).total_seconds())
    assert await shop.db.transaction(lambda tx: quotes.forget(tx, shop.world.db_now())) == 1
    assert list(await shop.db.transaction(lambda tx: quotes.hold(tx, [kept.id, other.id]))) == [kept.id]


async def test_a_number_of_our_own_is_quoted_with_its_days(shop: Shop) -> None:
    kept = await quoted(shop, OWN_NUMBER, operator="cmcc")
    assert (kept.quote.operator, kept.quote.days, kept.number) == ("demo", 60, shop.number(OWN_NUMBER))
