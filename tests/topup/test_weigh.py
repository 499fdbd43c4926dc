"""What a card is worth, asked before it is used; and what moved a wallet."""

from pathlib import Path

import psycopg
import pytest
from tests.topup.shop import OWN_NUMBER, Shop
from tests.topup.vouchers_sold import sold, state

from refill.money import money
from refill.topup import Redemption, flow
from refill.vouchers import MOST_WRONG, TooManyTries, VoucherNotValid, WrongPin, pin

HOUR = 3600
WRONG = pin("0000-0000-0000-0000")
ANNA = ("guest:anna", "address:192.0.2.1")


async def test_a_card_is_weighed_and_left_as_it_is(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    for _ in range(2):
        voucher = await flow.weigh(shop.trade, card, ANNA)
        assert (voucher.value, voucher.kind, voucher.spent_on) == (money("50 CNY"), "scratch", None)
    assert await state(shop, card) == "active"


async def test_a_used_card_is_told_with_what_it_was_used_for(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    order = await flow.fill_wallet(shop.trade, "guest:anna", money("50 CNY"), channel="portal")
    await flow.pay_inside(shop.trade, order.id, "voucher", card.plain, by=ANNA)
    assert (await flow.weigh(shop.trade, card, ANNA)).spent_on == order.id


async def test_wrong_pins_are_guesses_and_the_right_one_comes_too_late(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path)
    for _ in range(MOST_WRONG):
        with pytest.raises(WrongPin):
            await flow.weigh(shop.trade, WRONG, ANNA)
    with pytest.raises(TooManyTries):
        await flow.weigh(shop.trade, card, ANNA)
    assert (await flow.weigh(shop.trade, card, ("guest:bert", ANNA[1]))).value == money("50 CNY")
    await shop.world.advance(HOUR)
    assert (await flow.weigh(shop.trade, card, ANNA)).value == money("50 CNY")


async def test_a_card_that_was_never_sold_says_so(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path, active=False)
    with pytest.raises(VoucherNotValid) as no:
        await flow.weigh(shop.trade, card)
    assert no.value.reason == "not_sold"


async def test_a_wallet_tells_what_filled_it_and_what_was_paid_from_it(shop: Shop, tmp_path: Path) -> None:
    (card,) = await sold(shop, tmp_path, value="100 CNY")
    number = flow.wallet_number(shop.trade, "guest:anna")
    id_ = flow.new_order_id(shop.trade, number)
    await flow.redeem(shop.trade, [Redemption(id_, card, None, number, "guest:anna", "portal")])
    await shop.world.advance(60)
    order = await shop.placed(shop.ask(OWN_NUMBER))
    await flow.pay_inside(shop.trade, order.id, "wallet")
    told = await flow.wallet_story(shop.trade, "guest:anna", "CNY")
    assert [(move.minor, move.order.id, move.msisdn is None) for move in told] == [
        (-4980, order.id, False),
        (10000, id_, True),
    ]
    assert len(await flow.wallet_story(shop.trade, "guest:anna", "CNY", most=1)) == 1
    assert await flow.wallet_story(shop.trade, "guest:bert", "CNY") == []


def test_the_story_of_a_wallet_is_read_from_an_index(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT id FROM ledger_transfer WHERE debit = 'wallet:guest:a/CNY' AND debit LIKE 'wallet:%'"
        )
        assert "ledger_transfer_out_of_wallet" in str(plan.fetchall())
