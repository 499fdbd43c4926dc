"""Claims: what a method cannot give back by itself goes back by a code that only the payer sees."""

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.topup.shop import Lossy, Shop, captured, table

from refill.errors import CannotHappen, RefillError
from refill.money import money
from refill.outcome import Done, Refused, Unknown
from refill.topup import Order, flow
from refill.topup.check import check
from refill.vault import Vault

HOUR = 3600


async def paid_in_cash(shop: Shop, typed: str = "139 1234 0003") -> Order:
    """An order that somebody pays at a till, and what became of it after a minute."""
    order = await shop.placed(shop.ask(typed, channel="counter"))
    reference = await shop.invite(order.id, "cash", scene="till")
    await flow.pay(shop.trade, [captured(reference, "49.90 CNY", number=order.id)])
    await shop.wait(60)
    return await shop.order(order.id)


async def claim(shop: Shop, order_id: str) -> str:
    return flow.claim_code(shop.trade, await shop.refund(order_id)).plain


def issued(dsn: str) -> list[tuple[Any, ...]]:
    """Codes of refunds that were issued: whose, how much, until when."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT serial, kind, minor, currency, state, expires_at FROM vouchers_voucher ORDER BY serial"
        ).fetchall()


async def test_cash_goes_back_by_a_code(shop: Shop, dsn: str) -> None:
    order = await paid_in_cash(shop)
    assert (order.payment, order.delivery, order.certainty, order.refunded_minor) == (
        "refunded",
        "failed",
        "final",
        4990,
    )
    refund = await shop.refund(order.id)
    assert refund.state == "done" and refund.claim_until is not None
    assert refund.claim_until - shop.world.now() > shop.trade.rules.claim_lasts * 0.99
    assert await shop.book(order.id) == table("""
        paid.0     | clearing:cash → owed:customers     | 49.90
        refund.1.0 | owed:customers → voucher:liability | 49.90
    """)
    assert issued(dsn) == [(refund.request_id, "claim", 4990, "CNY", "active", refund.claim_until)]
    assert await shop.cases(order.id) == []
    assert await check(shop.db, lambda done, of: None) == []


async def test_a_code_is_sixteen_digits_that_only_our_key_can_tell_again(shop: Shop) -> None:
    order = await paid_in_cash(shop)
    code = await claim(shop, order.id)
    assert len(code) == 16 and set(code) <= set("0123456789")
    assert await claim(shop, order.id) == code
    assert await claim(shop, (await paid_in_cash(shop)).id) != code
    others = replace(shop.trade, vault=Vault(bytes(32)))
    assert flow.claim_code(others, await shop.refund(order.id)).plain != code


async def test_a_code_stands_nowhere_in_clear(shop: Shop, dsn: str) -> None:
    """I10."""
    code = await claim(shop, (await paid_in_cash(shop)).id)
    with psycopg.connect(dsn) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in tables:
            for row in connection.execute(f"SELECT t::text FROM {name} t".encode()).fetchall():
                assert code not in row[0].replace("-", ""), name
    assert code not in repr(flow.claim_code(shop.trade, await shop.refund((await paid_in_cash(shop)).id)))


async def test_a_refund_that_went_back_where_it_came_from_has_no_code(shop: Shop) -> None:
    order = await shop.guest_pays("139 1234 0003")
    await shop.wait(60)
    with pytest.raises(CannotHappen, match="has no claim code"):
        await claim(shop, order.id)


async def test_of_a_part_only_that_part_is_claimed(shop: Shop, dsn: str) -> None:
    order = await paid_in_cash(shop, "139 1234 0007")
    assert (order.payment, order.delivery) == ("captured", "partial")
    assert [row[2] for row in issued(dsn)] == [2495]
    assert await shop.balance("voucher:liability/CNY") == "24.95"
    assert await check(shop.db, lambda done, of: None) == []


async def test_goodwill_for_cash_is_a_code_too(shop: Shop, dsn: str) -> None:
    order = await paid_in_cash(shop, "139 1234 5678")
    asked = await flow.refund(shop.trade, order.id, money("5.00 CNY"), "it came late", "wang")
    await flow.confirm_refund(shop.trade, order.id, asked.n, "li")
    await shop.wait(60)
    assert [row[2] for row in issued(dsn)] == [500]
    assert "refund.1.0 | cost:goodwill → voucher:liability | 5.00" in await shop.book(order.id)


async def test_a_code_is_issued_once_however_often_the_answer_comes(shop: Shop, dsn: str, db: Lossy) -> None:
    order = await shop.placed(shop.ask("139 1234 0003", channel="counter"))
    reference = await shop.invite(order.id, "cash", scene="till")
    await flow.pay(shop.trade, [captured(reference, "49.90 CNY")])
    await shop.tick()
    await shop.worker.tick()
    refund = await shop.refund(order.id)
    answer = await flow.ask_refund(shop.trade, refund)
    db.lose = 1
    for said in (answer, answer, Done("?"), Refused("no"), Unknown("?")):
        await flow.refunded(shop.trade, refund, said)
    assert len(issued(dsn)) == 1
    assert await shop.balance("voucher:liability/CNY") == "49.90"
    assert (await shop.refund(order.id)).claim_until is not None


async def test_a_refund_that_was_stuck_becomes_a_claim_when_its_method_says_so(shop: Shop, dsn: str) -> None:
    order = await shop.guest_pays("139 1234 0003")
    shop.alipay.trades[f"{order.id}p1"].refunded_minor = 4990
    await shop.wait(60)
    refund = await shop.refund(order.id)
    assert refund.state == "stuck"
    await flow.refunded(shop.trade, refund, Refused("ask at a till", "CLAIM_CODE"))
    assert (await shop.order(order.id)).certainty == "final"
    assert len(issued(dsn)) == 1


async def test_a_code_pays_the_next_order_and_only_that(shop: Shop) -> None:
    first = await paid_in_cash(shop)
    code = await claim(shop, first.id)
    second, third = [await shop.placed(shop.ask("139 1234 5678")) for _ in range(2)]
    await flow.pay_inside(shop.trade, second.id, "voucher", code)
    with pytest.raises(CannotHappen):
        await flow.pay_inside(shop.trade, third.id, "voucher", code)
    await shop.wait(60)
    assert (await shop.order(second.id)).status == "succeeded"
    assert await shop.balance("voucher:liability/CNY") == "0.00"
    assert await check(shop.db, lambda done, of: None) == []


async def test_what_a_voucher_paid_goes_back_by_a_code(shop: Shop, dsn: str) -> None:
    code = await claim(shop, (await paid_in_cash(shop)).id)
    order = await shop.placed(shop.ask("139 1234 0003"))
    await flow.pay_inside(shop.trade, order.id, "voucher", code)
    await shop.wait(60)
    again = await claim(shop, order.id)
    assert again != code
    assert sorted(row[4] for row in issued(dsn)) == ["active", "redeemed"]
    assert await check(shop.db, lambda done, of: None) == []


# ------------------------------------------------------------------ what filled a wallet


async def filled(shop: Shop) -> Order:
    """A wallet with a hundred yuan in it."""
    order = await flow.fill_wallet(shop.trade, "guest:anna", money("100.00 CNY"), channel="portal")
    shop.alipay.pay(await shop.invite(order.id))
    await shop.world.advance(0)
    return order


async def give_back(shop: Shop, order: Order, amount: str) -> Order:
    asked = await flow.refund(shop.trade, order.id, money(amount), "asked for it", "wang")
    return await flow.confirm_refund(shop.trade, order.id, asked.n, "li")


async def test_what_filled_a_wallet_comes_out_of_it_again(shop: Shop) -> None:
    order = await filled(shop)
    await give_back(shop, order, "40.00 CNY")
    assert [str(money_) for money_ in await flow.wallet(shop.trade, "guest:anna")] == ["60.00 CNY"]
    await shop.wait(60)
    assert [refund.amount_minor for refund in shop.alipay.refunds] == [4000]
    assert await shop.balance("cost:goodwill/CNY") == "0.00"
    assert await check(shop.db, lambda done, of: None) == []


async def test_what_was_spent_out_of_a_wallet_is_not_given_back(shop: Shop) -> None:
    order = await filled(shop)
    spent = await shop.placed(shop.ask())
    await flow.pay_inside(shop.trade, spent.id, "wallet")
    with pytest.raises(RefillError, match="holds too little"):
        await give_back(shop, order, "60.00 CNY")
    await shop.wait(60)
    assert shop.alipay.refunds == []
    assert await check(shop.db, lambda done, of: None) == []


async def test_what_a_wallet_paid_goes_back_into_it(shop: Shop) -> None:
    await filled(shop)
    order = await shop.placed(shop.ask("139 1234 0003"))
    await flow.pay_inside(shop.trade, order.id, "wallet")
    await shop.wait(60)
    assert (await shop.order(order.id)).payment == "refunded"
    assert [str(money_) for money_ in await flow.wallet(shop.trade, "guest:anna")] == ["100.00 CNY"]
    assert await check(shop.db, lambda done, of: None) == []
