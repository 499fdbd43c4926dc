"""When credit may be expected, as customers and partners read it: before paying, while waiting, and not at all from too few."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import unescape

import pytest
from tests.doors.conftest import House
from tests.doors.test_portal import paid_order, pay
from tests.doors.test_reconcile import noticed

from refill.topup.arriving import Arriving, Figures

LATELY = Arriving(20, 120, 40)


@pytest.fixture
def lately(house: House) -> Iterator[Figures]:
    """Figures as they would be measured, for as long as a story lasts."""
    figures = house.trade.arriving
    before = figures._found, figures._read_at
    figures._found = {"cmcc": LATELY}
    figures._read_at = house.trade.world.db_now() + timedelta(hours=1)
    yield figures
    figures._found, figures._read_at = before


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("en", "Usually arrives within 20 s; 95 of 100 within 2 min."),
        ("zh-CN", "通常 20 秒内到账，95% 在 2 分钟内到账。"),
    ],
)
def test_it_is_told_before_paying_and_while_waiting(house: House, lately: Figures, language: str, says: str) -> None:
    visitor = house.visitor(language)
    number = "138 0013 0021"  # northtel works on it for ever
    page = visitor.wish(number, "cmcc-50|50.00", again="1")
    assert says in unescape(page.text)
    order_id = paid_order(visitor, number, "cmcc-50|50.00") if language == "en" else ""
    if order_id:
        pay(house, visitor, order_id)
        noticed(house, order_id)
        for _ in range(100):
            if house.order(order_id).delivery in ("dispatching", "unknown"):
                break
            time.sleep(0.05)
        assert says in unescape(visitor.get(f"/o/{order_id}").text)


def test_from_too_few_nothing_is_told(house: House, lately: Figures, numbers: Callable[[], str]) -> None:
    lately._found = {}
    page = house.visitor().wish("138 0013 0021", "cmcc-50|50.00", again="1")
    assert "data-arriving" not in page.text
