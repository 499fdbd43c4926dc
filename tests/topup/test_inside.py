"""Paying without leaving the page: a voucher or the wallet, taken and captured in one transaction, or not at all."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from tests.topup.shop import NORTHTELS, OWN_NUMBER, Lossy, Shop, table
from tests.topup.vouchers_sold import sold, state

from refill.errors import BadInput, CannotHappen, NotEnough, NotForSale, NotFound, OtherContent
from refill.money import Money, money
from refill.numbers.pan import luhn
from refill.topup import Order, flow
from refill.topup.check import check
from refill.topup.inside import VoucherDoesNotFit
from refill.vouchers import MOST_WRONG, NotAPin, TooManyTries, VoucherUsed, WrongPin

HOUR = 3600
WRONG = "0000-0000-0000-0000"
ANNA = "guest:anna"


async def is_clean(shop: Shop) -> bool:
    return await check(shop.db, lambda done, of: None) == []


async def fill(shop: Shop, amount: str = "100.00 CNY", **more: str) -> Order:
    """Anna's wallet, filled through Alipay."""
    order = await flow.fill_wallet(shop.trade, ANNA, money(amount), channel="portal", **more)
    assert shop.alipay.pay(await shop.invite(order.id))
    await shop.world.advance(0)
    return await shop.order(order.id)


async def wallet(shop: Shop) -> list[Money]:
    return await flow.wallet(shop.trade, ANNA)


# ------------------------------------------------------------------ a voucher for an order


async def test_a_voucher_of_the_price_pays_an_order(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path, value="49.80 CNY")
    order = await shop.placed(shop.ask(OWN_NUMBER))
    paid = await flow.pay_inside(shop.trade, order.id, "voucher", card.grouped(), by=("session:anna",))
    assert (paid.status, paid.certainty, paid.captured_minor) == ("succeeded", "final", 4980)
    assert await shop.book(order.id) == table("""
        paid.0 | voucher:liability → owed:customers | 49.80
        sold.0 | owed:customers → balance:anna      | 49.80
        sold.1 | discount:retail → balance:anna     | 0.20
    """)
    assert await shop.story(order.id) == "placed sold"
    again = await flow.pay_inside(shop.trade, order.id, "voucher", card.grouped(), by=("session:anna",))
    assert again == paid, "the same PIN for the same order repeats its answer"
    assert await is_clean(shop)


async def test_an_order_elsewhere_is_paid_and_then_sent(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path, value="49.90 CNY")
    order = await shop.guests_order(NORTHTELS)  # with a page at Alipay open
    paid = await flow.pay_inside(shop.trade, order.id, "voucher", card.plain)
    assert (paid.payment, paid.delivery) == ("captured", "ready")
    await shop.wait(HOUR)
    assert (await shop.order(order.id)).status == "succeeded"
    assert shop.alipay.trades[f"{order.id}p1"].closed_at, "nobody can pay it a second time"
    assert await is_clean(shop)


async def test_the_rest_of_a_voucher_goes_to_the_wallet_when_the_payer_was_told_so(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    order = await shop.placed(shop.ask(OWN_NUMBER))
    with pytest.raises(VoucherDoesNotFit, match=r"0\.20 CNY more than the price"):
        await flow.pay_inside(shop.trade, order.id, "voucher", card.plain)
    assert await state(shop, card) == "active"
    paid = await flow.pay_inside(shop.trade, order.id, "voucher", card.plain, change_to_wallet=True)
    assert (paid.status, paid.captured_minor) == ("succeeded", 4980)
    assert await wallet(shop) == [money("0.20 CNY")]
    assert "change.0 | voucher:liability → wallet:guest:anna | 0.20" in await shop.book(order.id)
    assert await shop.balance("voucher:liability/CNY") == "0.00"
    assert await is_clean(shop)


@pytest.mark.parametrize("value", ["49.79 CNY", "50.00 USD"])
async def test_a_voucher_that_does_not_pay_the_price_stays_good(shop: Shop, tmp_path: Path, value: str) -> None:
    (card,) = await sold(shop, tmp_path, value=value)
    order = await shop.placed(shop.ask(OWN_NUMBER))
    with pytest.raises(VoucherDoesNotFit, match="does not pay 49.80 CNY"):
        await flow.pay_inside(shop.trade, order.id, "voucher", card.plain, change_to_wallet=True)
    assert await state(shop, card) == "active"
    assert (await shop.order(order.id)).payment == "unpaid"


async def test_wrong_pins_are_counted_although_the_order_stays_as_it_was(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path, value="49.80 CNY")
    order = await shop.placed(shop.ask(OWN_NUMBER))
    for _ in range(MOST_WRONG):
        with pytest.raises(WrongPin, match="no voucher"):
            await flow.pay_inside(shop.trade, order.id, "voucher", WRONG, by=("session:eve", "account:eve"))
    with pytest.raises(TooManyTries, match="after 03:00 UTC"):
        await flow.pay_inside(shop.trade, order.id, "voucher", card.plain, by=("account:eve",))
    with pytest.raises(NotAPin):
        await flow.pay_inside(shop.trade, order.id, "voucher", "1234")
    assert (
        await flow.pay_inside(shop.trade, order.id, "voucher", card.plain, by=("session:anna",))
    ).status == "succeeded"


async def test_a_used_voucher_pays_no_other_order_and_a_paid_order_takes_no_voucher(shop: Shop, tmp_path: Path) -> None:
    one, two = await sold(shop, tmp_path, 2, "49.80 CNY")
    first, second = [await shop.placed(shop.ask(OWN_NUMBER)) for _ in range(2)]
    await flow.pay_inside(shop.trade, first.id, "voucher", one.plain)
    with pytest.raises(VoucherUsed):
        await flow.pay_inside(shop.trade, second.id, "voucher", one.plain)
    with pytest.raises(CannotHappen, match="paid or has lapsed"):
        await flow.pay_inside(shop.trade, first.id, "voucher", two.plain)
    assert await state(shop, two) == "active"


async def test_what_has_lapsed_or_never_was_takes_nothing(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path, value="49.80 CNY")
    order = await shop.placed(shop.ask(OWN_NUMBER))
    shop.world.clock += timedelta(minutes=15)
    with pytest.raises(CannotHappen, match="lapsed"):
        await flow.pay_inside(shop.trade, order.id, "voucher", card.plain)
    with pytest.raises(NotFound, match="no order"):
        await flow.pay_inside(shop.trade, flow.new_order_id(shop.trade, "nobody"), "wallet")
    for method in ("alipay", "barter"):
        with pytest.raises(NotFound, match="no such way"):
            await flow.pay_inside(shop.trade, order.id, method)
    assert await state(shop, card) == "active"


async def test_nobody_is_invited_anywhere_by_a_method_that_is_paid_here(shop: Shop) -> None:
    order = await shop.placed(shop.ask(OWN_NUMBER))
    for method in ("voucher", "wallet"):
        assert shop.trade.methods[method].can.inside
        with pytest.raises(CannotHappen, match="paid here"):
            await flow.invite(shop.trade, order.id, method)
    assert (await shop.timeline(order.id)).payments == []


@pytest.mark.parametrize("change", ["state = 'expired'", "number = 'somebody else'"])
async def test_a_number_that_left_our_network_takes_no_voucher(shop: Shop, tmp_path: Path, change: str) -> None:
    (card,) = await sold(shop, tmp_path, value="49.80 CNY")
    order = await shop.placed(shop.ask(OWN_NUMBER))
    await shop.sql(f"UPDATE cards_subscriber SET {change}")
    with pytest.raises(NotForSale, match="left our network"):
        await flow.pay_inside(shop.trade, order.id, "voucher", card.plain)
    assert await state(shop, card) == "active"
    assert (await shop.order(order.id)).payment == "unpaid"


async def test_one_voucher_for_many_orders_at_once_pays_one(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path, value="49.80 CNY")
    orders = [await shop.placed(shop.ask(OWN_NUMBER)) for _ in range(6)]
    answers = await asyncio.gather(
        *(flow.pay_inside(shop.trade, order.id, "voucher", card.plain) for order in orders), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Order"] + 5 * ["VoucherUsed"]
    assert await is_clean(shop)


async def test_two_vouchers_for_one_order_at_once_leave_one_of_them_good(shop: Shop, tmp_path: Path) -> None:
    cards = await sold(shop, tmp_path, 2, "49.80 CNY")
    order = await shop.placed(shop.ask(OWN_NUMBER))
    await asyncio.gather(
        *(flow.pay_inside(shop.trade, order.id, "voucher", card.plain) for card in cards), return_exceptions=True
    )
    assert sorted([await state(shop, card) for card in cards]) == ["active", "redeemed"]
    assert (await shop.order(order.id)).captured_minor == 4980


async def test_a_lost_answer_to_commit_pays_once(shop: Shop, db: Lossy, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path, value="49.80 CNY")
    order = await shop.placed(shop.ask(OWN_NUMBER))
    db.lose = 1
    assert (await flow.pay_inside(shop.trade, order.id, "voucher", card.plain)).status == "succeeded"
    assert await shop.balance("voucher:liability/CNY") == "0.00"


# ------------------------------------------------------------------ the wallet


async def test_a_wallet_is_filled_by_an_order_of_its_own_and_pays_another(shop: Shop) -> None:
    filled = await fill(shop)
    assert (filled.status, filled.certainty, filled.supplier) == ("succeeded", "final", "wallet")
    assert await shop.book(filled.id) == table("""
        paid.0 | clearing:alipay → owed:customers   | 100.00
        sold.0 | owed:customers → wallet:guest:anna | 100.00
    """)
    assert await wallet(shop) == [money("100 CNY")]
    order = await shop.placed(shop.ask(OWN_NUMBER))
    paid = await flow.pay_inside(shop.trade, order.id, "wallet")
    assert (paid.status, paid.captured_minor) == ("succeeded", 4980)
    assert await flow.pay_inside(shop.trade, order.id, "wallet") == paid, "again is the same"
    assert await wallet(shop) == [money("50.20 CNY")]
    assert await shop.tick() == 0
    assert await is_clean(shop)


async def test_a_wallet_that_nobody_pays_for_stays_empty(shop: Shop) -> None:
    order = await flow.fill_wallet(shop.trade, ANNA, money("100 CNY"), channel="portal")
    assert (order.payment, order.status) == ("unpaid", "processing")
    assert await shop.order(order.id) == order
    await shop.wait(HOUR)
    assert (await shop.order(order.id)).status == "cancelled"
    assert await wallet(shop) == []


async def test_a_scratch_card_fills_a_wallet(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    order = await flow.fill_wallet(shop.trade, ANNA, money("50 CNY"), channel="portal")
    assert (await flow.pay_inside(shop.trade, order.id, "voucher", card.plain)).status == "succeeded"
    assert await wallet(shop) == [money("50 CNY")]
    assert await is_clean(shop)


async def test_a_wallet_is_not_filled_out_of_itself(shop: Shop) -> None:
    await fill(shop)
    order = await flow.fill_wallet(shop.trade, ANNA, money("50 CNY"), channel="portal")
    with pytest.raises(CannotHappen, match="out of itself"):
        await flow.pay_inside(shop.trade, order.id, "wallet")


async def test_an_empty_wallet_pays_nothing_and_the_order_can_be_paid_another_way(shop: Shop) -> None:
    order = await shop.placed(shop.ask(OWN_NUMBER))
    for _ in range(2):
        with pytest.raises(NotEnough, match="holds too little"):
            await flow.pay_inside(shop.trade, order.id, "wallet")
        assert (await shop.order(order.id)).payment == "unpaid"
        await fill(shop, "49.79 CNY")
        await shop.sql("UPDATE ledger_account SET floor = 4979 WHERE name LIKE 'wallet:%'")
    await shop.sql("UPDATE ledger_account SET floor = 0 WHERE name LIKE 'wallet:%'")
    assert (await flow.pay_inside(shop.trade, order.id, "wallet")).status == "succeeded"
    assert await is_clean(shop)


async def test_two_orders_at_once_cannot_spend_the_same_money(shop: Shop) -> None:
    await fill(shop, "60.00 CNY")
    orders = [await shop.placed(shop.ask(number)) for number in (OWN_NUMBER, NORTHTELS) for _ in range(3)]
    answers = await asyncio.gather(
        *(flow.pay_inside(shop.trade, order.id, "wallet") for order in orders), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == 5 * ["NotEnough"] + ["Order"]
    assert await is_clean(shop)


async def test_the_wallet_of_one_payer_is_nobody_elses(shop: Shop) -> None:
    await fill(shop)
    order = await shop.placed(shop.ask(OWN_NUMBER, payer="guest:ben"))
    with pytest.raises(NotEnough):
        await flow.pay_inside(shop.trade, order.id, "wallet")
    assert await flow.wallet(shop.trade, "guest:ben") == []


async def test_what_was_refused_for_good_goes_back_into_the_wallet_once(shop: Shop) -> None:
    await fill(shop)
    order = await shop.placed(shop.ask("139 1234 0003"))
    await flow.pay_inside(shop.trade, order.id, "wallet")
    assert await wallet(shop) == [money("50.10 CNY")]
    await shop.wait(HOUR)
    order = await shop.order(order.id)
    assert (order.status, order.payment, order.refunded_minor) == ("failed", "refunded", 4990)
    assert await wallet(shop) == [money("100 CNY")]
    assert "refund.1.0 | owed:customers → wallet:guest:anna | 49.90" in await shop.book(order.id)
    assert await is_clean(shop)


async def test_the_same_wish_under_the_same_key_is_the_same_order(shop: Shop, db: Lossy) -> None:
    first = await flow.fill_wallet(shop.trade, ANNA, money("50 CNY"), channel="portal", key="k1")
    again = await flow.fill_wallet(shop.trade, ANNA, money("50 CNY"), channel="portal", key="k1")
    assert (again.id, first.replayed, again.replayed) == (first.id, False, True)
    with pytest.raises(OtherContent):
        await flow.fill_wallet(shop.trade, ANNA, money("51 CNY"), channel="portal", key="k1")
    db.lose = 1
    other = await flow.fill_wallet(shop.trade, ANNA, money("50 CNY"), channel="portal")
    assert (other.id == first.id, other.replayed) == (False, False)


async def test_two_clicks_at_once_are_one_order(shop: Shop) -> None:
    orders = await asyncio.gather(
        *(flow.fill_wallet(shop.trade, ANNA, money("50 CNY"), channel="portal", key="k1") for _ in range(5))
    )
    assert len({order.id for order in orders}) == 1


@pytest.mark.parametrize(("payer", "amount"), [(ANNA, Money(0, "CNY")), ("partner:pa_1", Money(1, "CNY"))])
async def test_only_people_fill_wallets_and_only_with_something(shop: Shop, payer: str, amount: Money) -> None:
    with pytest.raises(BadInput, match="above zero"):
        await flow.fill_wallet(shop.trade, payer, amount, channel="portal")


# ------------------------------------------------------------------ nothing that could be a PIN is anywhere


LIKE_A_CARDS_NUMBER = re.compile(r"(?<![0-9a-z])[0-9](?:[ -]?[0-9]){12,18}(?![0-9a-z])")


def everything_in(dsn: str) -> str:
    """Every row of every table, as text."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND n.nspname = 'public'"
        ).fetchall()
        return "\n".join(
            row for (name,) in tables for (row,) in connection.execute(f"SELECT t::text FROM {name} t".encode())
        )


async def test_no_log_and_no_column_holds_a_pin_or_what_looks_like_a_cards_number(
    shop: Shop,
    tmp_path: Path,
    dsn: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cards = await sold(shop, tmp_path, 40, "49.80 CNY")
    caplog.set_level(0)
    for card in cards[:5]:
        order = await shop.placed(shop.ask(OWN_NUMBER))
        await flow.pay_inside(shop.trade, order.id, "voucher", card.grouped(), by=("session:anna",))
    with pytest.raises(WrongPin) as wrong:
        await flow.pay_inside(shop.trade, order.id, "voucher", WRONG, by=("session:anna",))
    await shop.wait(HOUR)
    said = everything_in(dsn) + caplog.text + "".join(capsys.readouterr()) + str(wrong.value)
    typed = [card.grouped() for card in cards] + [WRONG]
    assert any(luhn(card.plain) for card in cards), "else the scan below could not see a PIN"
    assert [one for one in typed if one in said or one.replace("-", "") in said] == []
    found = {re.sub(r"[ -]", "", match[0]) for match in LIKE_A_CARDS_NUMBER.finditer(said)}
    assert {digits for digits in found if luhn(digits)} == set()
