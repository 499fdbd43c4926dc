"""A supplier's day: fetched over its wire or taken as a table of text, and everything in it that our book sees otherwise."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
from tests.reconcile.conftest import TODAY, TOMORROW, Evening
from tests.topup.shop import NORTHTEL, Lossy, Shop

from refill import reconcile
from refill.db import Pool
from refill.errors import NotFound
from refill.operators import terms_by_name
from refill.operators.http_json import HttpJson
from refill.payments import BadStatement
from refill.reconcile import Item, Result
from refill.topup import Order
from refill.world import NoAnswer, Request, Response

FLOAT = "float:northtel"
LAYOUT = {
    "terms_northtel_statement_columns": "request_id=商户订单号; reference=流水号; cost=扣款; at=完成时间; kind=类型",
    "terms_northtel_statement_charges": "充值",
    "terms_northtel_statement_returns": "退款",
}


@pytest.fixture
async def shop(pool: Pool) -> AsyncIterator[Shop]:
    """Nobody may undo anything here: what is paid is sent."""
    shop = await Shop(Lossy(pool)).open()
    yield shop
    shop.world.die()
    assert shop.world.errors == []


async def delivered(shop: Shop, times: int = 1) -> list[Order]:
    orders = [await shop.sent(f"139 1234 {6000 + n}") for n in range(times)]
    assert {order.delivery for order in orders} == {"delivered"}
    return orders


async def night(evening: Evening) -> Result:
    """The morning after: what was fetched of northtel's for yesterday."""
    await evening.shop.world.advance(86400)
    found = [
        answer
        for answer in await reconcile.nightly(evening.shop.trade, evening.bulk)
        if isinstance(answer, Result) and answer.method == FLOAT and answer.day == TODAY
    ]
    (result,) = found
    return result


async def items(evening: Evening) -> list[Item]:
    return await evening.shop.db.transaction(lambda tx: reconcile.items(tx, FLOAT, TODAY))


async def left(evening: Evening) -> list[str]:
    return sorted(f"{item.gap.bucket} {item.gap.kind} {item.state}" for item in await items(evening))


async def table_of(evening: Evening, rows: Sequence[str]) -> Result:
    """A table as people get it from the supplier's own page."""
    evening.shop.trade = replace(evening.shop.trade, terms=terms_by_name(LAYOUT, ["northtel"]))
    text = "\n".join(["\ufeff商户订单号,流水号,扣款,完成时间,类型", *rows])
    return await reconcile.take(evening.shop.trade, evening.bulk, "northtel", BytesIO(text.encode()), day=TODAY)


async def test_a_day_that_comes_out_even_is_fetched_matched_and_closed(evening: Evening) -> None:
    await delivered(evening.shop, 3)
    result = await night(evening)
    assert (result.lines, result.matched, result.ours_only) == (3, 3, 0)
    assert await items(evening) == []
    now = evening.shop.world.db_now()
    closed = await evening.shop.db.transaction(lambda tx: reconcile.close(tx, FLOAT, TODAY, "wang", now))
    assert closed.state == "closed"
    (sums,) = await evening.shop.db.transaction(lambda tx: reconcile.sums(tx, FLOAT, TODAY))
    assert (sums.payments.text(), sums.fees.text()) == ("148.80", "0.00")
    missing = await reconcile.missing(evening.shop.trade, evening.shop.db)
    assert FLOAT not in [name for name, _ in missing], "quiet days are taken too"


async def test_a_long_day_comes_in_pages(evening: Evening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refill.simulators.operator._PAGE", 2)
    await delivered(evening.shop, 5)
    assert (await night(evening)).matched == 5


async def test_a_recharge_that_they_did_not_tell_us_of_is_asked_for_and_delivers_its_order(evening: Evening) -> None:
    shop = evening.shop
    shop.northtel.troubles.plan("lost")
    order = await shop.sent()
    assert order.delivery == "unknown"
    result = await night(evening)
    assert (result.matched, result.theirs_only) == (0, 1)
    assert (await shop.order(order.id)).delivery == "delivered"
    assert await left(evening) == ["theirs_only recharge settled"]
    assert await evening.cases() == []


async def test_a_recharge_after_a_definite_no_is_found_by_their_statement(evening: Evening) -> None:
    shop = evening.shop
    shop.northtel.troubles.plan("refused")
    order = await shop.sent()
    assert order.delivery == "failed"
    job = shop.northtel.jobs[f"{order.id}a1"]
    shop.northtel.credit(job, job.face_minor)
    job.status, job.code = "delivered", ""
    assert (await night(evening)).theirs_only == 1
    assert await left(evening) == ["theirs_only recharge settled"]
    assert [case.kind for case in await evening.cases()] == ["late_success"], "money to recover from the payer"


async def test_a_recharge_of_nobodys_is_a_case_with_their_cost(evening: Evening) -> None:
    shop = evening.shop
    shop.northtel.troubles.plan("statement_stranger")
    await delivered(shop)
    result = await night(evening)
    assert (result.matched, result.theirs_only) == (1, 1)
    (case,) = await evening.cases()
    assert case.says == "The statement of northtel has a recharge of 49.60 CNY that our book does not have."


async def test_a_cost_that_differs_is_a_case_about_the_difference(evening: Evening) -> None:
    evening.shop.northtel.troubles.plan("statement_dearer")
    await delivered(evening.shop)
    assert (await night(evening)).differs == 1
    (item,) = await items(evening)
    assert (item.gap.why, item.gap.money.text(), item.state) == ("amount", "1.00", "case")


async def test_what_stands_twice_is_told_as_twice(evening: Evening) -> None:
    evening.shop.northtel.troubles.plan("statement_twice")
    await delivered(evening.shop, 2)
    result = await night(evening)
    assert (result.matched, result.duplicate) == (2, 1)
    assert await left(evening) == ["duplicate recharge case"]


async def test_what_they_leave_out_is_a_case_of_ours(evening: Evening) -> None:
    evening.shop.northtel.troubles.plan("statement_omits")
    await delivered(evening.shop, 2)
    result = await night(evening)
    assert (result.lines, result.ours_only, result.carried) == (1, 1, 0)
    (case,) = await evening.cases()
    assert case.says == "Our recharge of 49.60 CNY is in no statement of northtel's."


async def test_a_table_without_our_number_goes_by_theirs_and_a_corrected_one_explains_what_the_first_lacked(
    evening: Evening,
) -> None:
    shop = evening.shop
    one, two, three = await delivered(shop, 3)
    theirs = {order.id: shop.northtel.jobs[f"{order.id}a1"].reference for order in (one, two, three)}
    rows = [
        f'"",{theirs[one.id]},"49.60",2026/11/22 10:00:00,充值',
        f'="{two.id}a1",,49.60,2026-11-22 10:00,充值',
        f"{three.id}a1,{theirs[three.id]},0.00,2026-11-22 10:00:01,失败",
    ]
    first = await table_of(evening, rows)
    assert (first.lines, first.matched, first.ours_only) == (2, 2, 1)
    assert await left(evening) == ["ours_only recharge case"]
    corrected = await table_of(evening, [*rows[:2], f"{three.id}a1,{theirs[three.id]},49.60,2026-11-22 10:00:01,充值"])
    assert (corrected.matched, corrected.ours_only) == (3, 0)
    assert await left(evening) == ["ours_only recharge settled"]


async def test_our_number_beside_another_number_of_theirs_is_no_match(evening: Evening) -> None:
    (order,) = await delivered(evening.shop)
    result = await table_of(evening, [f"{order.id}a1,N-OTHER,49.60,2026-11-22 10:00:00,充值"])
    assert result.differs == 1
    (item,) = await items(evening)
    assert item.gap.why == "reference"


async def test_money_back_that_our_book_does_not_have_is_a_case_of_its_own(evening: Evening) -> None:
    shop = evening.shop
    (order,) = await delivered(shop)
    await shop.northtel.reverse(shop.northtel.jobs[f"{order.id}a1"])
    result = await night(evening)
    assert (result.lines, result.matched, result.theirs_only) == (2, 1, 1)
    assert await left(evening) == ["theirs_only reversal case"]


async def test_a_recharge_just_before_midnight_belongs_into_tomorrows_statement(evening: Evening) -> None:
    shop = evening.shop
    await shop.world.advance((14 * 60 - 10) * 60)
    (order,) = await delivered(shop)
    evening.shop.trade = replace(evening.shop.trade, terms=terms_by_name(LAYOUT, ["northtel"]))
    result = await table_of(evening, [])
    assert (result.ours_only, result.carried) == (1, 1)
    row = f"商户订单号,流水号,扣款,完成时间,类型\n{order.id}a1,,49.60,2026-11-23 00:00:01,充值"
    after = await reconcile.take(shop.trade, evening.bulk, FLOAT, BytesIO(row.encode()))
    assert (after.day, after.matched, after.ours_only) == (TOMORROW, 1, 0)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("tu_1a1,N-1,49.60", "Row 2 of the statement has 3 cells"),
        (",,49.60,2026-11-22 10:00:00,充值", "names no order"),
        ("1.38E+10,,49.60,2026-11-22 10:00:00,充值", "no usable number"),
        ("tu_1a1,N-1,forty,2026-11-22 10:00:00,充值", "a cost that is no amount"),
        ("tu_1a1,N-1,49.60,yesterday,充值", "a time that cannot be read"),
        ('"tu_1a1,N-1,49.60,2026-11-22 10:00:00,充值', "quotation mark"),
    ],
)
async def test_a_table_that_cannot_be_read_changes_nothing(evening: Evening, row: str, says: str) -> None:
    with pytest.raises(BadStatement, match=says):
        await table_of(evening, [row])
    with pytest.raises(NotFound):
        await evening.shop.db.transaction(lambda tx: reconcile.find(tx, FLOAT, TODAY))


async def test_a_table_in_the_wrong_letters_or_with_other_headings_is_refused(evening: Evening) -> None:
    shop = evening.shop
    shop.trade = replace(shop.trade, terms=terms_by_name(LAYOUT, ["northtel"]))
    for file, says in (
        ("单号,时间\n".encode(), "has no column"),
        ("商户订单号".encode("gbk"), "not written in utf-8-sig"),
    ):
        with pytest.raises(BadStatement, match=says):
            await reconcile.take(shop.trade, evening.bulk, "northtel", BytesIO(file), day=TODAY)


async def test_a_list_of_transactions_that_breaks_off_is_refused(evening: Evening) -> None:
    with pytest.raises(BadStatement, match="no list of transactions"):
        await reconcile.take(evening.shop.trade, evening.bulk, FLOAT, BytesIO(b'{"transactions":[{"kind":'))


async def test_a_supplier_that_does_not_answer_is_asked_another_time_and_then_a_person_is(evening: Evening) -> None:
    shop = evening.shop
    await delivered(shop)

    async def silent(request: Request) -> Response:
        raise NoAnswer("nobody")

    shop.world.route(f"{NORTHTEL}/transactions", silent)
    for _ in range(4):
        await shop.world.advance(86400)
        answers = await reconcile.nightly(shop.trade, evening.bulk)
        assert not [answer for answer in answers if isinstance(answer, Result) and answer.method == FLOAT]
    (case,) = await evening.cases()
    assert case.id == f"difference:{FLOAT}:statement:{TODAY}"


async def test_who_tells_no_layout_and_sends_nothing_has_no_statements(evening: Evening) -> None:
    shop = evening.shop
    supplier = shop.trade.suppliers["northtel"]
    assert isinstance(supplier, HttpJson)

    class Silent:
        name, flags = "easttel", supplier.flags

    shop.trade = replace(shop.trade, suppliers={"easttel": Silent()})  # type: ignore[dict-item]
    with pytest.raises(BadStatement, match="terms_easttel_statement_columns"):
        await reconcile.take(shop.trade, evening.bulk, "easttel", BytesIO(b"a"), day=TODAY)
    assert await reconcile.missing(shop.trade, shop.db) == [
        ("alipay", TODAY - timedelta(days=back)) for back in (3, 2, 1)
    ]
    with pytest.raises(NotFound):
        await reconcile.take(shop.trade, evening.bulk, "nobody", BytesIO(b"a"), day=TODAY)
