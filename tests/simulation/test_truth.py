"""The judge of a day: whatever is changed in the books behind its back, it says so."""

import psycopg
import pytest

from refill.simulate.crew import Runner
from refill.simulate.day import Day
from refill.simulate.truth import judge

SEED = 67  # a day with scratch cards, claim codes, wallets, a till, staff and payers' banks

# what is changed: what the judge says
CHANGES = """
    UPDATE vouchers_voucher SET state = 'active', spent_on = NULL WHERE state = 'redeemed' | I13: active vouchers are worth
    UPDATE vouchers_voucher SET spent_on = 'tu_0' WHERE state = 'redeemed'                 | I13: card
    UPDATE vouchers_voucher SET state = 'redeemed', spent_on = 'tu_0' WHERE state = 'stock' | I13: a card that was never sold
    UPDATE vouchers_voucher SET minor = minor + 1 WHERE kind = 'claim'                     | and its code is worth
    DELETE FROM vouchers_voucher WHERE kind = 'claim'                                      | and its code is worth 0
    UPDATE topup_refund SET state = 'cancelled' WHERE method IN ('cash', 'voucher')        | has a code, and gave nothing back
    DELETE FROM topup_capture WHERE method = 'cash'                                        | I4: the till holds
    DELETE FROM topup_capture WHERE method = 'wallet'                                      | is explained
    DELETE FROM topup_capture WHERE method IN ('alipay', 'wechat_pay', 'jd_pay', 'card')   | was paid and is not in our book
    UPDATE topup_capture SET transaction = transaction || 'x' WHERE method = 'card'        | but it stands in our book
    UPDATE topup_capture SET minor = minor - 1                                             | our book says
    UPDATE topup_capture SET noticed_at = noticed_at + interval '2 hours'                  | after it was paid
    UPDATE ledger_account SET balance = balance + 1 WHERE name LIKE 'wallet:%'             | is explained
    UPDATE ledger_account SET balance = balance - 1 WHERE name LIKE 'disputes:%'           | I4: banks hold
    UPDATE ledger_account SET balance = balance + 1 WHERE name LIKE 'clearing:%'           | owes us
    UPDATE ledger_account SET balance = balance + 1 WHERE name LIKE 'voucher:%'            | I13: cards are worth
    UPDATE topup_refund SET state = 'stuck' WHERE state = 'done'                           | a refund is stuck
    UPDATE topup_event SET detail = '8619912345000'                                        | I10: a whole number
"""


@pytest.mark.parametrize("line", [line.strip() for line in CHANGES.strip().splitlines()])
def test_what_is_changed_behind_its_back_is_seen(dsn: str, days: Runner, line: str) -> None:
    change, says = (part.strip() for part in line.rsplit("| ", 1))
    days.empty()
    day = Day(SEED, days.books)
    day.run()
    assert judge(day) == []
    with psycopg.connect(dsn) as behind:
        behind.execute("SET session_replication_role = replica")  # no trigger speaks
        assert behind.execute(change).rowcount
    findings = judge(day)
    day.kernel.bury()
    assert any(says in finding for finding in findings), findings
