"""The two methods that are paid inside: no stranger is asked, and none is believed."""

from io import BytesIO

import pytest
from tests.worlds import MORNING, FixedWorld

from refill.money import Money, money
from refill.outcome import Done, Refused, Unknown
from refill.payments import ABSENT, BadStatement, Method, RefundAsk, methods_by_name, shelf

PRICE = money("49.80 CNY")
BACK = RefundAsk("tu_1r1", "tu_1p1", "v7k2m9q-0000017", PRICE, PRICE, "not delivered")


def method(name: str) -> Method:
    return methods_by_name({})[name]


@pytest.mark.parametrize("name", ["voucher", "wallet"])
async def test_it_is_paid_on_our_own_page_and_asks_nobody(name: str) -> None:
    world = FixedWorld()
    assert method(name).can.inside
    assert not method(name).can.query
    assert method(name).can.scenes == ("inside",)
    assert await method(name).query(world, "tu_1p1") == Refused(ABSENT)
    assert await method(name).close(world, "tu_1p1") == Done("tu_1p1")
    await method(name).refund(world, BACK)
    assert world.sent == []
    assert world.clock == MORNING


@pytest.mark.parametrize("name", ["alipay", "cash"])
def test_the_others_are_not(name: str) -> None:
    made, _ = shelf()[name].EXAMPLES()
    assert not made.can.inside


async def test_a_voucher_goes_back_by_claim_code_like_cash() -> None:
    """DOMAIN rule 10: whoever has the PIN may be anybody, so the money waits for the payer under a code."""
    for name in ("voucher", "cash"):
        assert not method(name).can.refund
        answer = await method(name).refund(FixedWorld(), BACK)
        assert isinstance(answer, Refused)
        assert (answer.code, answer.final) == ("CLAIM_CODE", True)


async def test_a_wallet_is_filled_again_by_the_entry_that_books_the_answer() -> None:
    """The same refund asked for twice is answered twice; that it is booked once, the refund's state sees to."""
    wallet = method("wallet")
    assert wallet.can.refund and wallet.can.partial_refund
    part = RefundAsk("tu_1r2", "tu_1p1", "tu_1p1", Money(1, "CNY"), PRICE, "partial")
    assert [await wallet.refund(FixedWorld(), part) for _ in range(2)] == [Done("tu_1r2"), Done("tu_1r2")]
    assert isinstance(await wallet.query_refund(FixedWorld(), part), Unknown), "only our own book tells"


@pytest.mark.parametrize("name", ["voucher", "wallet"])
def test_it_has_no_statement_to_compare_with(name: str) -> None:
    with pytest.raises(BadStatement, match="our own book is"):
        method(name).read_statement(BytesIO(b"serial,pin\n"))
