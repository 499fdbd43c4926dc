"""Taking a statement: every bucket, what becomes of it, and files that are repeated, corrected, or no statements at all."""

from datetime import timedelta
from io import BytesIO

import pytest
from tests.reconcile.conftest import TODAY, TOMORROW, Evening
from tests.topup.shop import captured

from refill import cases, reconcile
from refill.errors import CannotHappen, NotFound
from refill.money import money
from refill.payments import BadStatement
from refill.topup import flow


async def test_a_day_on_which_everything_matches(evening: Evening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refill.reconcile.taking.ROWS_A_STEP", 2)
    await evening.paid()
    await evening.refunded()
    heard: list[int] = []
    result = await evening.take(progress=heard.append)
    assert (result.day, result.lines, result.matched) == (TODAY, 3, 3)
    assert (result.ours_only, result.theirs_only, result.differs, result.duplicate) == (0, 0, 0, 0)
    assert heard == [2, 3]
    assert await evening.items() == []
    assert (await evening.day()).may_close


async def test_a_payment_whose_notice_was_lost_is_asked_for_and_pays_its_order(evening: Evening) -> None:
    order = await evening.paid(noticed=False)
    assert (await evening.shop.order(order.id)).payment == "unpaid"
    result = await evening.take()
    assert result.theirs_only == 1
    assert (await evening.shop.order(order.id)).payment == "captured"
    assert await evening.left() == ["theirs_only payment settled"]
    assert (await evening.items())[0].how == "our book has it now"
    assert await evening.cases() == []


async def test_a_payment_that_arrived_after_its_order_lapsed_goes_back(evening: Evening) -> None:
    order = await evening.paid(noticed=False)
    await evening.shop.sql("UPDATE topup_payment SET state = 'closed'")
    await evening.shop.sql("UPDATE topup_order SET payment = 'expired', final_at = created_at, due = NULL")
    await evening.take()
    assert await evening.left() == ["theirs_only payment settled"]
    assert [refund.why for refund in (await evening.shop.timeline(order.id)).refunds] == ["late"]


async def test_what_the_firm_does_not_confirm_is_a_case(evening: Evening) -> None:
    await evening.paid(noticed=False)
    evening.shop.alipay.troubles.plan("lost", 9)
    await evening.take()
    assert await evening.left() == ["theirs_only payment case"]
    (case,) = await evening.cases()
    assert case.kind == "difference"
    assert "our book does not have" in case.says
    assert (await evening.day()).waiting == 1


async def test_a_payment_for_nothing_of_ours_is_a_case_at_once(evening: Evening) -> None:
    await evening.paid()
    (row,) = evening.rows()
    foreign = [
        row._replace(trade_no="2026112200001", reference="shop-77"),
        row._replace(trade_no="2026112200002", reference="tu_strange"),
        row._replace(trade_no="2026112200003", reference=f"tu_{'0' * 24}p1"),
    ]
    result = await evening.take([row, *foreign])
    assert (result.matched, result.theirs_only) == (1, 3)
    assert await evening.left() == ["theirs_only payment case"] * 3
    before = len(evening.shop.world.sent)
    await reconcile.pursue(evening.shop.trade, evening.bulk, "alipay")
    assert len(evening.shop.world.sent) == before, "nobody can be asked about it"


async def test_a_payment_of_ours_that_no_statement_has_is_a_case(evening: Evening) -> None:
    await evening.paid()
    await evening.paid(face="100.00 CNY")
    result = await evening.take(evening.rows()[:1])
    assert (result.matched, result.ours_only, result.carried) == (1, 1, 0)
    (item,) = await evening.items()
    assert item.gap.money == money("99.60 CNY")
    assert item.state == "case"
    assert "in no statement" in (await evening.cases())[0].says


async def test_a_payment_just_before_midnight_belongs_to_tomorrows_statement(evening: Evening) -> None:
    await evening.paid()
    await evening.shop.world.advance((14 * 60 - 10) * 60)  # ten minutes before midnight in China
    await evening.paid()
    first, late = evening.rows()
    result = await evening.take([first])
    assert (result.ours_only, result.carried) == (1, 1)
    assert await evening.left() == ["ours_only payment carried"]
    assert await evening.cases() == []
    assert (await evening.close()).state == "closed"
    after = await evening.take([late._replace(at=late.at + timedelta(minutes=11))], TOMORROW)
    assert (after.matched, after.ours_only) == (1, 0)
    (item,) = await evening.items()
    assert (item.state, item.how) == ("settled", "a statement has it now")


async def test_what_tomorrows_statement_does_not_have_either_becomes_a_case_of_tomorrow(evening: Evening) -> None:
    await evening.shop.world.advance((14 * 60 - 10) * 60)
    await evening.paid()
    await evening.take([], day=TODAY)
    assert await evening.left() == ["ours_only payment carried"]
    await evening.close()
    await evening.take([], day=TOMORROW)
    assert await evening.left(TOMORROW) == ["ours_only payment case"]
    (item,) = await evening.items(TOMORROW)
    assert item.since == TODAY
    assert (await evening.day(TOMORROW)).oldest == TODAY
    with pytest.raises(CannotHappen, match="wait for somebody"):
        await evening.close(TOMORROW)


async def test_a_refund_that_they_book_later_is_carried_over_with_its_age(evening: Evening) -> None:
    await evening.refunded()
    paid, back = evening.rows()
    result = await evening.take([paid])
    assert (result.ours_only, result.carried) == (1, 1)
    assert await evening.left() == ["ours_only refund carried"]
    after = await evening.take([back._replace(at=back.at + timedelta(days=1))], TOMORROW)
    assert (after.matched, after.ours_only) == (1, 0)
    assert await evening.left() == ["ours_only refund settled"]


async def test_a_refund_that_they_never_book_is_a_case_after_three_days(evening: Evening) -> None:
    await evening.refunded()
    paid, _ = evening.rows()
    await evening.take([paid])
    states = []
    for ahead in range(1, 5):
        day = TODAY + timedelta(days=ahead)
        await evening.take([], day=day)
        states += await evening.left(day)
    assert states == ["ours_only refund carried"] * 2 + ["ours_only refund case"]
    assert len(await evening.cases()) == 1


async def test_a_refund_of_which_we_had_no_answer_is_asked_for_under_the_same_id(evening: Evening) -> None:
    order = await evening.paid()
    await flow.cancel(evening.shop.trade, order.id)
    evening.shop.alipay.troubles.plan("lost", 1)
    await evening.shop.tick()
    assert (await evening.shop.refund(order.id)).state == "sent"
    result = await evening.take()
    assert (result.matched, result.theirs_only) == (1, 1)
    assert (await evening.shop.refund(order.id)).state == "done"
    assert len(evening.shop.alipay.refunds) == 1
    assert await evening.left() == ["theirs_only refund settled"]
    assert await evening.clean() == []


async def test_a_refund_that_is_still_not_confirmed_is_a_case(evening: Evening) -> None:
    order = await evening.paid()
    await flow.cancel(evening.shop.trade, order.id)
    evening.shop.alipay.troubles.plan("lost", 9)
    await evening.shop.tick()
    await evening.take()
    assert await evening.left() == ["theirs_only refund case"]


async def test_a_refund_that_we_never_asked_for_is_a_case(evening: Evening) -> None:
    await evening.paid()
    (paid,) = evening.rows()
    back = paid._replace(amount_minor=-100, fee_minor=0, request_id="by-hand")
    result = await evening.take([paid, back])
    assert (result.matched, result.theirs_only) == (1, 1)
    assert await evening.left() == ["theirs_only refund case"]


async def test_another_amount_is_a_case_about_the_difference(evening: Evening) -> None:
    await evening.refunded()
    paid, back = evening.rows()
    wrong = [paid._replace(amount_minor=paid.amount_minor - 1), back._replace(amount_minor=back.amount_minor + 2)]
    result = await evening.take(wrong)
    assert (result.matched, result.differs) == (0, 2)
    assert [(item.gap.why, item.gap.money.minor) for item in await evening.items()] == [("amount", 1), ("amount", 2)]
    assert all(" in our book and " in case.says for case in await evening.cases())
    await evening.take([], day=TOMORROW)
    assert await evening.left() == ["differs payment case", "differs refund case"], "another day changes nothing"
    assert len(await evening.cases()) == 2


async def test_another_reference_or_another_day_is_a_difference_too(evening: Evening) -> None:
    await evening.paid()
    await evening.paid()
    one, other = evening.rows()
    result = await evening.take(
        [one._replace(reference="shop-77"), other._replace(at=other.at + timedelta(days=2))], day=TODAY
    )
    assert (result.matched, result.differs) == (0, 2)
    assert sorted(item.gap.why for item in await evening.items()) == ["reference", "time"]
    assert all("than in our book" in case.says for case in await evening.cases())


async def test_the_same_row_twice_counts_once_and_is_a_case(evening: Evening) -> None:
    await evening.refunded()
    paid, back = evening.rows()
    result = await evening.take([paid, back, paid, back])
    assert (result.lines, result.matched, result.duplicate) == (4, 2, 2)
    assert await evening.left() == ["duplicate payment case", "duplicate refund case"]
    assert all(case.says.endswith("twice.") for case in await evening.cases())


async def test_a_row_of_yesterday_is_a_duplicate_today(evening: Evening) -> None:
    await evening.paid()
    await evening.take()
    result = await evening.take(evening.rows(), day=TOMORROW)
    assert (result.matched, result.duplicate) == (0, 1)


# Files


async def test_the_same_file_again_is_given_its_first_answer(evening: Evening) -> None:
    await evening.paid(noticed=False)
    rows = evening.rows()
    first = await evening.take(rows)
    again = await evening.take(rows)
    assert again.again
    assert (again.theirs_only, again.lines) == (first.theirs_only, first.lines) == (1, 1)
    await evening.close()
    assert (await evening.take(rows)).again, "also when the day is closed"


async def test_a_corrected_file_takes_the_place_of_an_open_days(evening: Evening) -> None:
    await evening.paid()
    await evening.refunded()
    rows = evening.rows()
    wrong = [rows[0]._replace(amount_minor=1), rows[0], rows[1]._replace(reference="shop-77")]
    await evening.take(wrong)
    assert len(await evening.cases()) == 3
    (sums,) = await evening.shop.db.transaction(lambda tx: reconcile.sums(tx, "alipay", TODAY))
    result = await evening.take(rows)
    assert (result.lines, result.matched) == (3, 3)
    assert await evening.cases() == []
    assert {item.state for item in await evening.items()} == {"settled"}
    assert {item.how for item in await evening.items()} == {
        "both say the same now",
        "a statement has it now",
        "a corrected statement has it once",
    }
    (corrected,) = await evening.shop.db.transaction(lambda tx: reconcile.sums(tx, "alipay", TODAY))
    assert corrected.payments != sums.payments
    assert (await evening.close()).state == "closed"


async def test_what_a_file_explained_is_open_again_when_another_takes_its_place(evening: Evening) -> None:
    await evening.shop.world.advance((14 * 60 - 10) * 60)
    await evening.paid()
    (late,) = evening.rows()
    await evening.take([], day=TODAY)
    await evening.take([late], day=TOMORROW)
    assert await evening.left() == ["ours_only payment settled"]
    await evening.take([late._replace(reference="shop-1", trade_no="1")], day=TOMORROW)
    assert await evening.left(TOMORROW) == ["ours_only payment case", "theirs_only payment case"]


async def test_a_case_that_a_person_settled_is_not_opened_again(evening: Evening) -> None:
    await evening.paid()
    await evening.take([], day=TODAY)
    (case,) = await evening.cases()
    now = evening.shop.world.db_now()
    await evening.shop.db.transaction(lambda tx: cases.resolve(tx, case.id, "wang", "written_off", "lost", now))
    assert (await evening.day()).may_close
    await evening.take([], day=TOMORROW)
    assert await evening.cases() == []


async def test_a_corrected_file_for_a_closed_day_is_refused(evening: Evening) -> None:
    await evening.paid()
    await evening.take()
    await evening.close()
    with pytest.raises(CannotHappen, match="is closed"):
        await evening.take([], day=TODAY)


async def test_what_is_heard_of_after_the_close_is_an_item_of_the_next_day(evening: Evening) -> None:
    await evening.paid()
    await evening.take()
    await evening.close()
    order = await evening.shop.guests_order()
    stray = captured(f"{order.id}p1", "49.80 CNY", method="alipay", number="2026112288")
    await flow.pay(evening.shop.trade, [stray])
    await evening.take([], day=TOMORROW)
    assert await evening.left(TODAY) == []
    assert await evening.left(TOMORROW) == ["ours_only payment case"]


async def test_a_day_before_the_first_statement_is_not_asked_for(evening: Evening) -> None:
    await evening.paid()
    await evening.shop.world.advance(86400)
    result = await evening.take([], day=TOMORROW)
    assert result.ours_only == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [("共49.90元", "共49.91元"), ("交易\t", "转账\t"), ("#账号", "#帐号")],
    ids=["totals", "row", "account"],
)
async def test_a_file_that_is_not_whole_leaves_nothing(evening: Evening, old: str, new: str) -> None:
    await evening.paid()
    text = evening.file(evening.rows()).getvalue().decode("gbk")
    assert old in text
    with pytest.raises(BadStatement):
        await reconcile.take(evening.shop.trade, evening.bulk, "alipay", BytesIO(text.replace(old, new).encode("gbk")))
    for table in ("day", "line", "item", "sum", "statement"):
        assert await evening.shop.sql(f"SELECT FROM reconcile_{table}") == 0, table
    assert (await evening.take()).matched == 1


async def test_a_file_of_two_days_or_of_none_needs_the_day(evening: Evening) -> None:
    await evening.paid()
    (row,) = evening.rows()
    with pytest.raises(BadStatement, match="more than one day"):
        await evening.take([row, row._replace(trade_no="1", at=row.at + timedelta(days=1))])
    with pytest.raises(BadStatement, match="no rows"):
        await evening.take([])
    assert (await evening.take([], day=TODAY)).lines == 0


async def test_somebody_elses_file_is_refused_before_it_opens_thousands_of_cases(
    evening: Evening, monkeypatch: pytest.MonkeyPatch
) -> None:
    await evening.paid()
    (row,) = evening.rows()
    monkeypatch.setattr("refill.reconcile.taking.MOST_GAPS", 3)
    with pytest.raises(BadStatement, match="belongs to other books"):
        await evening.take([row._replace(trade_no=f"2026112200000{n}") for n in range(5)])
    assert await evening.items() == []


async def test_cash_and_strangers_have_no_statements(evening: Evening) -> None:
    for method, error in (("cash", BadStatement), ("ali", NotFound)):
        with pytest.raises(error):
            await reconcile.take(evening.shop.trade, evening.bulk, method, BytesIO())


async def test_when_the_answer_to_the_commit_is_lost_the_file_is_taken_once(evening: Evening) -> None:
    await evening.paid()
    real = evening.bulk._once
    lost = []

    async def loses(work):  # type: ignore[no-untyped-def]
        import psycopg

        result = await real(work)
        if not lost:
            lost.append(result)
            raise psycopg.OperationalError("the answer to COMMIT was lost")
        return result

    evening.bulk._once = loses  # type: ignore[method-assign]
    result = await evening.take()
    assert result.again
    assert result.matched == lost[0].matched == 1
