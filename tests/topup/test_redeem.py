"""A scratch card for a number: used up, paid and given in one step, once, however it is typed, raced or repeated."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.topup.shop import NORTHTELS, OWN_NUMBER, Lossy, Shop, table
from tests.topup.vouchers_sold import sold, state

from refill import vouchers
from refill.errors import CannotHappen, NotForSale, RefillError
from refill.money import money
from refill.numbers import msisdn, number_id
from refill.topup import Order, Redemption, flow
from refill.topup.check import check
from refill.vouchers import MOST_WRONG, Pin, TooManyTries, VoucherNotValid, VoucherUsed, WrongPin, pin

HOUR = 3600
WRONG = pin("0000-0000-0000-0000")


def typed(shop: Shop, one: Pin, number: str = OWN_NUMBER, **more: Any) -> Redemption:
    who = msisdn(number)
    index = number_id(shop.vault, who)
    id_ = more.pop("id", None) or flow.new_order_id(shop.trade, index)
    return Redemption(id_, one, who, index, more.pop("payer", "guest:anna"), "portal", **more)


async def redeem(shop: Shop, *asked: Redemption) -> list[Order | RefillError]:
    return await flow.redeem(shop.trade, asked)


async def redeemed(shop: Shop, asked: Redemption) -> Order:
    (answer,) = await redeem(shop, asked)
    assert isinstance(answer, Order), answer
    return answer


async def is_clean(shop: Shop) -> bool:
    return await check(shop.db, lambda done, of: None) == []


async def test_a_card_of_fifty_is_fifty_on_a_phone_of_our_own_network(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    order = await redeemed(shop, typed(shop, card))
    assert (order.status, order.certainty, order.replayed) == ("succeeded", "final", False)
    assert order.price == order.face == money("50 CNY")
    assert order == await shop.order(order.id)
    assert await shop.story(order.id) == "sold"
    assert await shop.book(order.id) == table("""
        paid.0 | voucher:liability → owed:customers | 50.00
        sold.0 | owed:customers → balance:anna      | 50.00
    """)
    assert shop.subscriber is not None and shop.subscriber.active_until is not None
    assert order.valid_until == shop.subscriber.active_until + timedelta(days=60)
    assert await shop.balance("voucher:liability/CNY") == "0.00"
    assert await state(shop, card) == "redeemed"
    assert await shop.tick() == 0, "nothing is left to do"
    assert await is_clean(shop)


async def test_a_card_for_another_operators_number_is_paid_and_then_sent(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    order = await redeemed(shop, typed(shop, card, NORTHTELS))
    assert (order.payment, order.delivery, order.operator) == ("captured", "ready", "cmcc")
    assert await is_clean(shop)
    await shop.wait(HOUR)
    assert (await shop.order(order.id)).status == "succeeded"
    assert await shop.story(order.id) == "placed paid sent#1 delivered"
    (payment,) = (await shop.timeline(order.id)).payments
    assert (payment.method, payment.state, payment.reference) == ("voucher", "captured", f"{order.id}p1")
    assert await is_clean(shop)


async def test_the_choice_of_a_person_counts_where_the_prefix_tells_nothing(shop: Shop, tmp_path: Path) -> None:
    cards = await sold(shop, tmp_path, 2)
    foreign = "+44 7911 123456"
    refused, order = await redeem(
        shop, typed(shop, cards[0], foreign), typed(shop, cards[1], foreign, operator="cunicom")
    )
    assert isinstance(refused, NotForSale) and "cannot tell the operator" in str(refused)
    assert isinstance(order, Order) and order.operator == "cunicom"
    assert await state(shop, cards[0]) == "active"


async def test_what_a_number_taught_us_counts_more_than_its_prefix(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    await shop.place(shop.ask(NORTHTELS))
    await shop.taught(NORTHTELS, "ctcc")
    assert (await redeemed(shop, typed(shop, card, NORTHTELS))).operator == "ctcc"


def into_wallet(shop: Shop, one: Pin, payer: str = "guest:anna") -> Redemption:
    number = flow.wallet_number(shop.trade, payer)
    return Redemption(flow.new_order_id(shop.trade, number), one, None, number, payer, "portal")


async def test_a_card_of_any_value_fills_the_payers_wallet(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path, value="49.90 CNY")
    order = await redeemed(shop, into_wallet(shop, card))
    assert (order.status, order.certainty, order.supplier) == ("succeeded", "final", "wallet")
    assert order == await shop.order(order.id)
    assert await shop.book(order.id) == table("""
        paid.0 | voucher:liability → owed:customers | 49.90
        sold.0 | owed:customers → wallet:guest:anna | 49.90
    """)
    assert await flow.wallet(shop.trade, "guest:anna") == [money("49.90 CNY")]
    again, other = await redeem(shop, into_wallet(shop, card), into_wallet(shop, card, "guest:ben"))
    assert isinstance(again, Order) and (again.id, again.replayed) == (order.id, True)
    assert isinstance(other, VoucherUsed)
    assert await is_clean(shop)


async def test_what_could_not_be_delivered_comes_back_as_a_code_that_fills_the_wallet(
    shop: Shop, tmp_path: Path
) -> None:
    (card,) = await sold(shop, tmp_path)
    order = await redeemed(shop, typed(shop, card, "139 1234 0003"))
    await shop.wait(HOUR)
    assert (await shop.order(order.id)).payment == "refunded"
    code = flow.claim_code(shop.trade, await shop.refund(order.id))
    assert code != card
    await redeemed(shop, into_wallet(shop, code))
    assert await flow.wallet(shop.trade, "guest:anna") == [money("50 CNY")]
    assert await shop.balance("voucher:liability/CNY") == "0.00"
    assert await is_clean(shop)


# ------------------------------------------------------------------ refusals, each of which leaves the card as it was


async def test_a_card_that_does_not_fit_the_number_stays_good(shop: Shop, tmp_path: Path) -> None:
    for value, says in (("0.99 CNY", "0.99"), ("50.00 USD", "USD")):
        (card,) = await sold(shop, tmp_path, value=value)
        (refused,) = await redeem(shop, typed(shop, card))
        assert isinstance(refused, NotForSale) and says in str(refused)
        assert await state(shop, card) == "active"
    await shop.sql("UPDATE cards_subscriber SET state = 'expired'")
    (card,) = await sold(shop, tmp_path)
    (refused,) = await redeem(shop, typed(shop, card))
    assert isinstance(refused, NotForSale) and "out of service" in str(refused)
    assert await state(shop, card) == "active"
    assert await is_clean(shop)


async def test_what_is_no_good_card_says_so_and_disturbs_no_other(shop: Shop, tmp_path: Path) -> None:
    (good,) = await sold(shop, tmp_path)
    (unsold,) = await sold(shop, tmp_path, active=False)
    answers = await redeem(shop, typed(shop, WRONG), typed(shop, unsold), typed(shop, good))
    assert [type(answer) for answer in answers] == [WrongPin, VoucherNotValid, Order]
    shop.world.clock += timedelta(days=366)
    (late,) = await sold(shop, tmp_path)
    shop.world.clock += timedelta(days=365)
    (refused,) = await redeem(shop, typed(shop, late))
    assert isinstance(refused, VoucherNotValid)


async def test_a_partner_has_a_float_and_no_scratch_cards(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    (refused,) = await redeem(shop, typed(shop, card, payer=f"partner:{shop.partner}"))
    assert isinstance(refused, CannotHappen) and "float" in str(refused)
    assert await state(shop, card) == "active"


async def test_no_batch_is_no_work(shop: Shop) -> None:
    assert await redeem(shop) == []


# ------------------------------------------------------------------ again, at once, and after a crash


async def test_the_same_pin_for_the_same_number_repeats_its_answer(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    order = await redeemed(shop, typed(shop, card))
    again = await redeemed(shop, typed(shop, card, payer="guest:anna on another telephone"))
    assert (again.id, again.replayed) == (order.id, True)
    (refused,) = await redeem(shop, typed(shop, card, NORTHTELS))
    assert isinstance(refused, VoucherUsed)
    assert await shop.balance(f"balance:{shop.subscriber.id}/CNY") == "50.00"  # type: ignore[union-attr]


async def test_a_batch_equals_its_rows_one_by_one(shop: Shop, tmp_path: Path) -> None:
    one, two = await sold(shop, tmp_path, 2)
    rows = [(one, OWN_NUMBER), (one, OWN_NUMBER), (one, NORTHTELS), (two, OWN_NUMBER), (WRONG, OWN_NUMBER)]
    together = await redeem(shop, *(typed(shop, card, number) for card, number in rows))
    first, second, _, other, _ = together
    assert [type(answer) for answer in together] == [Order, Order, VoucherUsed, Order, WrongPin]
    assert isinstance(first, Order) and isinstance(second, Order) and isinstance(other, Order)
    assert (second.id, second.replayed, first.replayed) == (first.id, True, False)
    assert first.valid_until is not None
    assert other.valid_until == first.valid_until + timedelta(days=60), "validity is extended twice"
    alone = [(await redeem(shop, typed(shop, card, number)))[0] for card, number in rows]
    assert [type(answer) for answer in alone] == [type(answer) for answer in together]
    assert await is_clean(shop)


async def test_of_many_at_the_same_moment_one_gives_and_the_others_repeat(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    answers = await asyncio.gather(*(redeem(shop, typed(shop, card)) for _ in range(8)))
    orders = [answer for (answer,) in answers if isinstance(answer, Order)]
    assert len(orders) == 8 and len({order.id for order in orders}) == 1
    assert sorted(order.replayed for order in orders) == [False] + 7 * [True]
    assert await shop.balance(f"balance:{shop.subscriber.id}/CNY") == "50.00"  # type: ignore[union-attr]
    assert await is_clean(shop)


async def test_of_two_numbers_at_the_same_moment_one_has_it(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    answers = await asyncio.gather(*(redeem(shop, typed(shop, card, n)) for n in (OWN_NUMBER, NORTHTELS)))
    assert sorted(type(answer).__name__ for (answer,) in answers) == ["Order", "VoucherUsed"]
    assert await is_clean(shop)


async def test_batches_that_name_the_same_cards_in_another_order_do_not_wait_for_ever(
    shop: Shop, tmp_path: Path
) -> None:
    cards = await sold(shop, tmp_path, 12)
    batches = [cards, cards[::-1], cards[6:] + cards[:6], cards[::2] + cards[1::2]]
    answers = await asyncio.gather(*(redeem(shop, *(typed(shop, card) for card in batch)) for batch in batches))
    orders = {answer.id for batch in answers for answer in batch if isinstance(answer, Order)}
    assert len(orders) == 12
    assert await shop.balance("voucher:liability/CNY") == "0.00"


async def test_when_the_answer_to_commit_is_lost_the_rerun_finds_its_own_order(
    shop: Shop, db: Lossy, tmp_path: Path
) -> None:
    (card,) = await sold(shop, tmp_path)
    db.lose = 1
    order = await redeemed(shop, typed(shop, card, NORTHTELS))
    assert (order.delivery, order.replayed) == ("ready", False)
    assert await shop.balance("owed:customers/CNY") == "50.00"


# ------------------------------------------------------------------ guessing


async def test_who_guesses_in_a_batch_is_locked_out_within_it(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    asked = [typed(shop, WRONG, by=("session:eve", "account:eve")) for _ in range(MOST_WRONG)]
    answers = await redeem(
        shop,
        *asked,
        typed(shop, card, by=("session:eve",)),
        typed(shop, card, by=("account:eve",)),
        typed(shop, card, by=("session:anna",)),
    )
    assert [type(answer) for answer in answers] == [WrongPin] * MOST_WRONG + [TooManyTries, TooManyTries, Order]
    assert isinstance((await redeem(shop, typed(shop, card, by=("session:eve",))))[0], TooManyTries)
    shop.world.clock += vouchers.LOCKED
    assert (await redeemed(shop, typed(shop, card, by=("session:eve",)))).replayed


async def test_a_good_card_that_was_used_or_not_sold_is_no_guess(shop: Shop, tmp_path: Path) -> None:
    (used,) = await sold(shop, tmp_path)
    (unsold,) = await sold(shop, tmp_path, active=False)
    await redeemed(shop, typed(shop, used))
    for _ in range(2 * MOST_WRONG):
        answers = await redeem(shop, *(typed(shop, card, NORTHTELS, by=("session:anna",)) for card in (used, unsold)))
        assert [type(answer) for answer in answers] == [VoucherUsed, VoucherNotValid]


@pytest.mark.parametrize("change", ["spent_on = NULL, state = 'active'"])
async def test_a_card_that_somebody_made_new_in_the_database_pays_no_second_time(
    shop: Shop, tmp_path: Path, dsn: str, change: str
) -> None:
    """The transaction of a voucher is captured once for ever, whatever the voucher's own row says."""
    (card,) = await sold(shop, tmp_path)
    await redeemed(shop, typed(shop, card))
    await shop.sql("ALTER TABLE vouchers_voucher DISABLE TRIGGER given_once")
    try:
        await shop.sql(f"UPDATE vouchers_voucher SET {change}")
        await shop.sql("UPDATE ledger_account SET floor = NULL WHERE name LIKE 'voucher:%'")
        with pytest.raises(RefillError, match="claimed for two orders"):
            await redeem(shop, typed(shop, card, NORTHTELS))
    finally:
        await shop.sql("ALTER TABLE vouchers_voucher ENABLE TRIGGER given_once")
