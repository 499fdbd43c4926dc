"""Taking credit back as staff do it: one asks on the order's page, another confirms, and the rules speak plainly."""

from collections.abc import Callable
from html import unescape

import pytest
from tests.doors.conftest import House, Visitor
from tests.doors.test_backoffice import PASSWORD, sign_in
from tests.doors.test_portal import paid_order, pay
from tests.doors.test_reconcile import noticed

from refill.channels.people.staff import add_staff


@pytest.fixture(scope="module")
def people(house: House) -> Callable[[str], Visitor]:
    def employ(name: str) -> Visitor:
        add_staff(house.dsn, name, PASSWORD)
        visitor = house.visitor("zh-CN")
        assert sign_in(visitor, name, PASSWORD).status_code == 302
        return visitor

    return employ


@pytest.fixture
def order(house: House, numbers: Callable[[], str]) -> str:
    """A top-up of our own network, paid and delivered."""
    customer = house.visitor()
    order_id = paid_order(customer, numbers())
    pay(house, customer, order_id)
    noticed(house, order_id)
    assert house.order(order_id).delivery == "delivered"
    return order_id


def do(visitor: Visitor, order_id: str, step: str, **fields: str) -> str:
    page = visitor.get(f"/staff/order/{order_id}")
    answer = visitor.post(f"/staff/order/{order_id}/{step}", fields, page)
    assert answer.status_code == 302, answer.text
    return unescape(visitor.follow(answer).text)


def test_one_asks_and_another_confirms(house: House, people: Callable[[str], Visitor], order: str) -> None:
    mei, tao = people("mei2"), people("tao2")
    assert "申请冲正" in unescape(mei.get(f"/staff/order/{order}").text)
    assert "请写明" in do(mei, order, "reversal", why=" ")
    page = do(mei, order, "reversal", why="号码填错了 13800138000")
    assert "已申请。请另一位同事在本页确认" in page
    assert "13800138000" not in page
    assert "须由另一人确认，不能由申请人自己确认" in do(mei, order, "reversal/1", answer="confirm")
    assert "已有冲正申请" in do(tao, order, "reversal", why="又一个理由")
    assert "已复核" in do(tao, order, "reversal/1", answer="confirm")
    assert house.order(order).delivery == "reversed"
    assert "申请冲正</button>" not in unescape(mei.get(f"/staff/order/{order}").text)


def test_a_declined_wish_leaves_the_credit(house: House, people: Callable[[str], Visitor], order: str) -> None:
    mei, tao = people("mei2"), people("tao2")
    do(mei, order, "reversal", why="号码填错了")
    assert "已驳回" in do(tao, order, "reversal/1", answer="decline", why="号码没错")
    assert "已处理" in do(mei, order, "reversal/1", answer="confirm")
    assert house.order(order).delivery == "delivered"


def test_what_is_not_there_is_not_found_and_a_link_changes_nothing(
    people: Callable[[str], Visitor], order: str
) -> None:
    mei = people("mei2")
    page = mei.get(f"/staff/order/{order}")
    assert mei.post(f"/staff/order/{order}/reversal/7", {"answer": "confirm"}, page).status_code == 404
    assert mei.post(f"/staff/order/tu_{'0' * 24}/reversal", {"why": "x"}, page).status_code == 404
    assert mei.get(f"/staff/order/{order}/reversal").status_code == 405
