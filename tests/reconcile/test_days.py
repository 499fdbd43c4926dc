"""Closing a day: when it may be closed, what is posted then, and that it does not change afterwards."""

import psycopg
import pytest
from tests.reconcile.conftest import TODAY, TOMORROW, Evening

from refill import reconcile
from refill.errors import CannotHappen, NotFound
from refill.money import money
from refill.reconcile.days import day_id


async def test_the_firms_fees_are_posted_when_the_day_closes(evening: Evening) -> None:
    await evening.paid()
    await evening.refunded()
    await evening.take()
    assert await evening.balance("fees:alipay") == "0.00"
    clearing = await evening.balance("clearing:alipay")
    closed = await evening.close()
    assert (closed.state, closed.closed_by) == ("closed", "wang")
    assert await evening.balance("fees:alipay") == "-0.30"
    assert clearing == "-49.90"
    assert await evening.balance("clearing:alipay") == "-49.60", "what they owe us is less by what they kept"
    assert await evening.clean() == []


async def test_closing_twice_is_closing_once(evening: Evening) -> None:
    await evening.paid()
    await evening.take()
    first = await evening.close()
    again = await evening.close(who="li")
    assert (again.closed_by, again.closed_at) == (first.closed_by, first.closed_at)
    assert await evening.balance("fees:alipay") == "-0.30"


async def test_a_day_on_which_the_firm_gave_back_more_than_it_kept(evening: Evening) -> None:
    await evening.refunded()
    paid, back = evening.rows()
    await evening.take([paid._replace(fee_minor=-10), back])
    await evening.close()
    assert await evening.balance("fees:alipay") == "0.20"
    assert await evening.clean() == []


async def test_a_day_without_fees_posts_nothing(evening: Evening) -> None:
    await evening.take([], day=TODAY)
    assert (await evening.close()).state == "closed"
    assert await evening.shop.sql("SELECT FROM ledger_transfer WHERE id LIKE 'rd%'") == 0


async def test_a_day_does_not_close_while_a_difference_waits_for_somebody(evening: Evening) -> None:
    await evening.paid()
    await evening.take([], day=TODAY)
    with pytest.raises(CannotHappen, match="1 differences"):
        await evening.close()
    assert await evening.balance("fees:alipay") == "0.00"
    await evening.assign_all()
    assert (await evening.close()).state == "closed"


async def test_a_day_does_not_close_while_the_firm_is_still_to_be_asked(evening: Evening) -> None:
    await evening.paid(noticed=False)
    await evening.take()
    await evening.shop.sql("UPDATE reconcile_item SET state = 'asking', settled_on = NULL")
    with pytest.raises(CannotHappen):
        await evening.close()


async def test_a_day_without_a_statement_does_not_close(evening: Evening) -> None:
    with pytest.raises(NotFound):
        await evening.close()
    await evening.shop.sql(f"INSERT INTO reconcile_day (method, day) VALUES ('alipay', '{TODAY}')")
    with pytest.raises(CannotHappen, match="no statement"):
        await evening.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reconcile_day SET closed_by = 'nobody'",
        "UPDATE reconcile_day SET state = 'open', closed_at = NULL",
        "DELETE FROM reconcile_day",
        "DELETE FROM reconcile_line",
        "UPDATE reconcile_line SET minor = 1",
        "TRUNCATE reconcile_line",
        "UPDATE reconcile_statement SET matched = 0",
        "DELETE FROM reconcile_statement",
    ],
)
async def test_nobody_changes_a_closed_day(evening: Evening, statement: str) -> None:
    await evening.paid()
    await evening.take()
    await evening.close()
    with pytest.raises(psycopg.errors.RestrictViolation):
        await evening.shop.sql(statement)


async def test_days_are_listed_the_newest_first_with_what_is_left_in_them(evening: Evening) -> None:
    await evening.paid()
    await evening.take()
    await evening.take([], day=TOMORROW)
    days = await evening.shop.db.transaction(reconcile.latest)
    assert [(day.method, day.day, day.state, day.lines, day.matched) for day in days] == [
        ("alipay", TOMORROW, "open", 0, 0),
        ("alipay", TODAY, "open", 1, 1),
    ]
    assert await evening.shop.db.transaction(lambda tx: reconcile.latest(tx, method="wechat_pay")) == []
    (sums,) = await evening.shop.db.transaction(lambda tx: reconcile.sums(tx, "alipay", TODAY))
    assert (sums.payments, sums.refunds, sums.fees) == (
        money("49.90 CNY"),
        money("0.01 CNY") - money("0.01 CNY"),
        money("0.30 CNY"),
    )
    assert sums.expected == money("49.60 CNY")


async def test_an_item_knows_its_case(evening: Evening) -> None:
    await evening.paid()
    await evening.take([], day=TODAY)
    (item,) = await evening.items()
    (case,) = await evening.cases()
    assert (item.case_id, item.case_state, item.due_at) == (case.id, "open", case.due_at)


def test_a_days_entries_have_the_same_id_whoever_makes_them() -> None:
    assert day_id("alipay", TODAY) == day_id("alipay", TODAY)
    assert len({day_id(method, day) for method in ("alipay", "card") for day in (TODAY, TOMORROW)}) == 4
    assert len(day_id("alipay", TODAY)) == 27
