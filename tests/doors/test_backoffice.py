"""The staff's site: sign-in, finding an order, reading its story, settling cases; and what it never shows or writes."""

import re
from html import unescape

import psycopg
import pytest
from tests.doors.conftest import House, Visitor
from tests.doors.test_portal import paid_order, pay

from refill import cases
from refill.cases import Case
from refill.channels.backoffice.masking import readable
from refill.channels.people.staff import add_staff
from refill.money import money

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def employed(house: House) -> str:
    add_staff(house.dsn, "wang", PASSWORD)
    add_staff(house.dsn, "wang", "another password that changes nothing")
    return "wang"


@pytest.fixture
def staff(house: House, employed: str) -> Visitor:
    visitor = house.visitor("zh-CN")
    answer = sign_in(visitor, employed, PASSWORD)
    assert answer.status_code == 302, answer.text
    return visitor


def sign_in(visitor: Visitor, name: str, password: str):  # type: ignore[no-untyped-def]
    page = visitor.get("/staff/login/")
    return visitor.post("/staff/login/?next=/staff/", {"username": name, "password": password}, page)


def find(staff: Visitor, text: str):  # type: ignore[no-untyped-def]
    return staff.follow(staff.post("/staff/find", {"text": text}, staff.get("/staff/")))


@pytest.mark.parametrize("path", ["/staff/", "/staff/order/tu_000000000000000000000000", "/staff/accounts/partner/"])
def test_without_signing_in_there_is_nothing_to_see(house: House, path: str) -> None:
    answer = house.visitor().get(path)
    assert answer.status_code == 302
    assert "/staff/login/" in answer.headers["location"]


def test_a_customer_is_not_staff(house: House) -> None:
    with psycopg.connect(house.dsn) as connection:
        add_staff(house.dsn, "guest", PASSWORD)
        connection.execute("UPDATE people_person SET is_staff = false, is_superuser = false WHERE username = 'guest'")
    assert sign_in(house.visitor(), "guest", PASSWORD).status_code == 200


def test_a_disabled_clerks_session_ends_at_once(house: House) -> None:
    add_staff(house.dsn, "li", PASSWORD)
    visitor = house.visitor()
    assert sign_in(visitor, "li", PASSWORD).status_code == 302
    assert visitor.get("/staff/").status_code == 200
    with psycopg.connect(house.dsn) as connection:
        connection.execute("UPDATE people_person SET is_active = false WHERE username = 'li'")
    assert visitor.get("/staff/").status_code == 302


def test_a_thousand_passwords_are_not_tried(house: House) -> None:
    add_staff(house.dsn, "zhao", PASSWORD)
    answers = [sign_in(house.visitor(), "zhao", f"guess {n}") for n in range(9)]
    assert "Too many tries" in unescape(answers[-1].text)
    assert "Too many tries" in unescape(sign_in(house.visitor(), "Zhao", PASSWORD).text), "not even with the right one"


def test_an_orders_story_is_found_by_number_and_by_id(house: House, staff: Visitor, numbers) -> None:
    number, customer = numbers(), house.visitor()
    order_id = paid_order(customer, number)
    pay(house, customer, order_id)
    for text in (number, f"+86 {number}", order_id, f"{order_id}p1"):
        page = find(staff, text)
        assert str(page.url).endswith(order_id), text
    for word in ("付款", "clearing:alipay/CNY", f"{order_id}p1", "trade_status=TRADE_SUCCESS"):
        assert word in unescape(page.text), word
    assert number.replace(" ", "") not in page.text
    assert "****" in page.text


def test_several_orders_of_a_number_are_a_list(house: House, staff: Visitor, numbers) -> None:
    number, customer = numbers(), house.visitor()
    orders = [paid_order(customer, number, offer) for offer in ("demo-10|10.00", "demo-20|20.00")]
    page = find(staff, number)
    assert all(order_id in page.text for order_id in orders)
    assert number not in page.text, "what was typed comes back masked"


@pytest.mark.parametrize(
    "text", ["", "nothing", "\x00", "' OR 1=1 --", "１" * 200, "\ud800", "<script>alert(1)</script>"]
)
def test_what_is_not_found_is_said(staff: Visitor, text: str) -> None:
    page = find(staff, text)
    assert page.status_code == 200
    assert "<script>alert(1)" not in page.text


def test_showing_a_number_is_written_down_before_it_is_shown(house: House, staff: Visitor, numbers) -> None:
    number = numbers()
    order_id = paid_order(house.visitor(), number)
    assert number not in staff.get(f"/staff/order/{order_id}").text
    assert staff.get(f"/staff/order/{order_id}/reveal").status_code == 405
    shown = staff.post(f"/staff/order/{order_id}/reveal", {}, staff.get(f"/staff/order/{order_id}"))
    assert number in shown.text
    with psycopg.connect(house.dsn) as connection:
        acts = connection.execute("SELECT who, what FROM people_staffact WHERE subject = %s", [order_id]).fetchall()
    assert acts == [("wang", "reveal number")]


def test_what_staff_did_cannot_be_changed_or_removed(house: House, staff: Visitor, numbers) -> None:
    test_showing_a_number_is_written_down_before_it_is_shown(house, staff, numbers)
    for statement in (
        "UPDATE people_staffact SET who = 'nobody'",
        "DELETE FROM people_staffact",
        "TRUNCATE people_staffact",
    ):
        with psycopg.connect(house.dsn) as connection, pytest.raises(psycopg.errors.RaiseException):
            connection.execute(statement)


def raise_case(house: House, about: str, kind: str = "wrong_amount") -> str:
    case = Case(kind, about, "A payment of another amount than the price.", money("49.79 CNY"))
    house.ask(house.trade.db.transaction(lambda tx: cases.raise_cases(tx, [case], house.trade.world.db_now())))
    return case.id


def test_a_case_is_taken_and_settled_with_a_reason(house: House, staff: Visitor, numbers) -> None:
    case_id = raise_case(house, paid_order(house.visitor(), numbers()))
    assert "金额不符" in staff.get("/staff/").text
    page = staff.get(f"/staff/case/{case_id}")
    taken = staff.follow(staff.post(f"/staff/case/{case_id}/take", {}, page))
    assert "wang" in taken.text
    vague = staff.follow(staff.post(f"/staff/case/{case_id}/resolve", {"how": "refunded", "note": " "}, page))
    assert "请写明怎样处理" in vague.text
    staff.post(f"/staff/case/{case_id}/resolve", {"how": "refunded", "note": "Back by transfer 7781"}, page)
    settled = staff.get(f"/staff/case/{case_id}").text
    assert "Back by transfer 7781" in settled
    again = staff.post(f"/staff/case/{case_id}/resolve", {"how": "explained", "note": "once more"}, page)
    assert "Back by transfer 7781" in staff.follow(again).text
    with psycopg.connect(house.dsn) as connection:
        (state,) = connection.execute("SELECT state FROM cases_case WHERE id = %s", [case_id]).fetchone()
        acts = connection.execute("SELECT what FROM people_staffact WHERE subject = %s ORDER BY id", [case_id[:64]])
        assert [what for (what,) in acts] == ["assign case", "resolve case"]
    assert state == "resolved"


def test_a_case_about_a_strangers_notice_has_a_page_too(house: House, staff: Visitor) -> None:
    case_id = raise_case(house, "payments:alipay 2026112222001", "stranger")
    links = re.findall(r'href="(/staff/case/[^"]+)"', staff.get("/staff/").text)
    pages = [staff.get(unescape(link)) for link in links]
    assert all(page.status_code == 200 for page in pages)
    assert any("2026112222001" in page.text for page in pages), case_id


@pytest.mark.parametrize(
    "path",
    [
        "cases/case/",
        "cases/case/?state=open&kind=wrong_amount",
        "topup/order/",
        "accounts/partner/",
        "catalogue/operator/",
        "catalogue/product/",
        "backoffice/subscriberrow/",
        "people/staffact/",
    ],
)
def test_lists_are_for_reading(house: House, staff: Visitor, path: str) -> None:
    page = staff.get(f"/staff/{path}")
    assert page.status_code == 200
    assert "/add/" not in page.text
    assert staff.get(f"/staff/{path.split('?')[0]}add/").status_code == 403


def test_subscribers_are_listed_with_masked_numbers(house: House, staff: Visitor) -> None:
    page = staff.get("/staff/backoffice/subscriberrow/").text
    assert len(re.findall(r"199\*{4}[0-9]{4}", page)) > 10
    assert not re.search(r"199[0-9]{8}", page)


def test_an_order_in_the_list_leads_to_its_story(house: House, staff: Visitor, numbers) -> None:
    order_id = paid_order(house.visitor(), numbers())
    listed = staff.get("/staff/topup/order/").text
    link = re.search(rf'href="(/staff/topup/order/{order_id.replace("_", "_5F")}/change/[^"]*)"', listed)
    assert link
    assert str(staff.follow(staff.get(link[1])).url).endswith(order_id)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"a=1&msisdn=13800138000", ["a=1", "msisdn=138****8000"]),
        (b"msisdn=%2B8613800138000", ["msisdn=+86138****8000"]),
        (b'{"msisdn": "8613800138000"}', ['{"msisdn": "86138****8000"}']),
        (b"trade_no=2026112213800138000123", ["trade_no=2026112213800138000123"]),
        (b"\xff\x00", ["\ufffd\ufffd"]),
    ],
)
def test_raw_messages_are_readable_and_masked(raw: bytes, shown: list[str]) -> None:
    assert readable(raw) == shown
