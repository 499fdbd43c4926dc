"""The bank's money: entered by one, confirmed by another, posted once, compared with what the statement promised."""

from datetime import timedelta

import pytest
from tests.reconcile.conftest import TODAY, Evening

from refill import reconcile
from refill.errors import CannotHappen, NotAllowed, NotFound, OtherContent
from refill.money import Money, money
from refill.reconcile import BANK, OPERATOR

PROMISED = money("49.60 CNY")


@pytest.fixture
async def closed(evening: Evening) -> Evening:
    await evening.paid()
    await evening.take()
    await evening.close()
    return evening


async def enter(evening: Evening, amount: Money = PROMISED, who: str = "wang", bank: str = BANK) -> None:
    now = evening.shop.world.db_now()
    await evening.shop.db.transaction(lambda tx: reconcile.enter(tx, "alipay", TODAY, amount, who, now, bank=bank))


async def confirm(evening: Evening, amount: Money = PROMISED, who: str = "li") -> None:
    now = evening.shop.world.db_now()
    await evening.shop.db.transaction(lambda tx: reconcile.confirm(tx, "alipay", TODAY, amount, who, now))


async def test_clearing_is_empty_when_the_bank_got_what_was_promised(closed: Evening) -> None:
    await enter(closed)
    assert await closed.balance("bank:main") == "0.00", "one person alone moves no money"
    await confirm(closed)
    assert await closed.balance("bank:main") == "-49.60"
    assert await closed.balance("clearing:alipay") == "0.00"
    assert await closed.cases() == []
    assert await closed.clean() == []
    (sums,) = await closed.shop.db.transaction(lambda tx: reconcile.sums(tx, "alipay", TODAY))
    assert (sums.settled, sums.entered_by, sums.confirmed_by, sums.bank) == (PROMISED, "wang", "li", "main")


async def test_who_entered_it_cannot_confirm_it(closed: Evening) -> None:
    await enter(closed)
    with pytest.raises(NotAllowed):
        await confirm(closed, who="wang")
    assert await closed.balance("bank:main") == "0.00"


async def test_who_owns_the_machine_may_do_both(closed: Evening) -> None:
    await enter(closed, who=OPERATOR, bank="icbc")
    await confirm(closed, who=OPERATOR)
    assert await closed.balance("bank:icbc") == "-49.60"


async def test_twice_is_once(closed: Evening) -> None:
    for _ in range(2):
        await enter(closed)
        await confirm(closed)
    assert await closed.balance("bank:main") == "-49.60"


async def test_a_slip_is_corrected_before_it_is_confirmed_and_not_after(closed: Evening) -> None:
    await enter(closed, money("49.06 CNY"))
    await enter(closed)
    with pytest.raises(CannotHappen, match="changed meanwhile"):
        await confirm(closed, money("49.06 CNY"))
    await confirm(closed)
    for other in ((money("49.06 CNY"), BANK), (PROMISED, "icbc")):
        with pytest.raises(OtherContent):
            await enter(closed, other[0], bank=other[1])


async def test_other_money_than_promised_is_a_case(closed: Evening) -> None:
    short = PROMISED - money("1.00 CNY")
    await enter(closed, short)
    await confirm(closed, short)
    (case,) = await closed.cases()
    assert case.says == f"The bank got 48.60 CNY for {TODAY} where the statement of alipay promises 49.60 CNY."
    assert await closed.balance("clearing:alipay") == "-1.00", "that is what they still owe us"


async def test_money_for_a_day_that_nobody_knows_is_refused(closed: Evening) -> None:
    with pytest.raises(NotFound):
        await enter(closed, money("49.60 USD"))
    with pytest.raises(NotFound, match="Nobody has entered"):
        await confirm(closed)
    now = closed.shop.world.db_now()
    before = TODAY - timedelta(days=1)
    with pytest.raises(NotFound, match="take the statement first"):
        await closed.shop.db.transaction(lambda tx: reconcile.enter(tx, "alipay", before, PROMISED, "wang", now))


async def test_nobody_changes_what_was_confirmed(closed: Evening) -> None:
    import psycopg

    await enter(closed)
    await confirm(closed)
    for statement in ("UPDATE reconcile_settlement SET minor = 1", "DELETE FROM reconcile_settlement"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            await closed.shop.sql(statement)
