"""The check of a living business: every finding by name, and none while all is well."""

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.topup.shop import Shop, captured

from refill.money import money
from refill.payments import Dispute
from refill.topup import flow
from refill.topup.check import check, replay

HOUR, DAY = 3600, 86_400


async def findings(shop: Shop) -> list[str]:
    return await check(shop.db, lambda done, of: None)


async def a_busy_day(shop: Shop) -> None:
    """Something of everything that the trade knows."""
    for end in ("0003", "0007", "0013", "0021", "5678"):
        await shop.sent(f"139 1234 {end}")
        await shop.guest_pays(f"139 1234 {end}")
    await shop.placed(shop.partners_ask())
    paid_twice = await shop.placed(shop.ask("138 0013 8000"))
    for scene in ("page", "qr"):
        shop.alipay.pay(await shop.invite(paid_twice.id, scene=scene))
    short = await shop.guests_order()
    shop.alipay.pay(f"{short.id}p1", amount_override=1)
    await shop.guests_order()  # nobody pays it


async def test_at_every_moment_of_a_busy_day_the_business_is_clean(shop: Shop) -> None:
    await a_busy_day(shop)
    for seconds in (0, 1, 60, HOUR, DAY, DAY):
        await shop.wait(seconds)
        assert await findings(shop) == []


async def test_the_check_tells_how_far_it_is(shop: Shop) -> None:
    seen: list[tuple[int, int]] = []
    await check(shop.db, lambda done, of: seen.append((done, of)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == seen[-1][1]


def tamper(dsn: str, statement: str) -> None:
    """As somebody with the keys of the house would: no trigger and no constraint speaks."""
    with psycopg.connect(make_conninfo(dsn, options="-c session_replication_role=replica")) as connection:
        assert connection.execute(statement.encode()).rowcount


TAMPERED = [
    pytest.param("UPDATE topup_order SET captured_minor = captured_minor + 1", "I4", "took 4980, captured 4981", id="taken"),
    pytest.param(
        "UPDATE topup_order SET refunded_minor = 1", "I4", "gave back 0, refunded 1", id="given back",
    ),
    pytest.param("UPDATE topup_order SET delivered_minor = 1", "I4", "credited 5000, delivered 1", id="credited"),
    pytest.param(
        "UPDATE topup_order SET delivery = 'failed'", "I8", "captured/failed, which no legal path of «sold»", id="state"
    ),
    pytest.param("UPDATE topup_event SET transition = 'paid'", "I8", "no legal path of «paid»", id="history"),
    pytest.param("UPDATE topup_event SET transition = 'sould'", "I8", "no legal path of «sould»", id="nonsense"),
    pytest.param("DELETE FROM topup_order", "I3", "has a history, but no order", id="an order torn out"),
    pytest.param("UPDATE ledger_account SET balance = balance + 1", "I1", "balances in CNY", id="the book itself"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "law", "says"), TAMPERED)
async def test_whatever_is_changed_by_hand_is_found_and_named(
    shop: Shop, dsn: str, statement: str, law: str, says: str
) -> None:
    await shop.placed(shop.partners_ask())
    tamper(dsn, statement)
    assert any(line.startswith(law) and says in line for line in await findings(shop))


async def test_a_final_order_for_which_money_still_waits_is_found(shop: Shop, dsn: str) -> None:
    order = await shop.sent("139 1234 0021")
    tamper(dsn, "UPDATE topup_order SET final_at = created_at")
    assert any(order.id in line and "is final, but 4980 still waits" in line for line in await findings(shop))


async def test_an_order_without_a_history_is_found(shop: Shop, dsn: str) -> None:
    order = await shop.placed(shop.partners_ask())
    tamper(dsn, "DELETE FROM topup_event")
    assert any(line.startswith("I8") and order.id in line for line in await findings(shop))


async def test_money_that_was_paid_to_an_order_without_an_entry_is_found(shop: Shop, dsn: str) -> None:
    order = await shop.guests_order()
    await flow.pay(shop.trade, [captured(f"{order.id}p1", "1.00 CNY")])
    tamper(dsn, "UPDATE topup_capture SET minor = 200")
    assert any(line.startswith("I4") and order.id in line for line in await findings(shop))


@pytest.mark.parametrize(
    ("state", "change", "says"),
    [
        ("opened", "minor = minor - 1", "holds 4990 as disputed, and 4989 is"),
        ("lost", "counted_minor = 0", "gave back 0, refunded 4990"),
    ],
)
async def test_a_dispute_that_the_book_tells_otherwise_is_found(
    shop: Shop, dsn: str, state: str, change: str, says: str
) -> None:
    order = await shop.guest_pays()
    transaction = shop.alipay.trades[f"{order.id}p1"].trade_no
    await flow.dispute(shop.trade, "alipay", Dispute(transaction, state, money("49.90 CNY"), "fraudulent"))
    assert await findings(shop) == []
    tamper(dsn, f"UPDATE topup_dispute SET {change}")
    assert any(line.startswith("I4") and says in line for line in await findings(shop))


def test_events_of_one_moment_may_stand_in_any_order() -> None:
    assert replay([("paid", 2), ("failed", 2), ("placed", 1)][::-1]) == {
        ("refund_pending", "failed"),
        ("refunded", "failed"),
    }
    assert replay([("delivered", 1), ("sent", 1), ("held", 1)]) == {("captured", "delivered")}
    assert replay([("held", 1), ("stray_payment", 1), ("sent", 2)]) == {("captured", "dispatching")}
    assert replay([("held", 1), ("delivered", 2), ("sent", 3)]) == set()
    assert replay([]) == {("", "")}
