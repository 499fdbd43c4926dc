"""The staff's site: sign-in, finding an order, reading its story, settling cases; and what it never shows or writes."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
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
from refill.payments import Dispute
from refill.topup import flow, store

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
    add_staff(house.dsn, "chen", PASSWORD)
    visitor = house.visitor()
    assert sign_in(visitor, "chen", PASSWORD).status_code == 302
    assert visitor.get("/staff/").status_code == 200
    with psycopg.connect(house.dsn) as connection:
        connection.execute("UPDATE people_person SET is_active = false WHERE username = 'chen'")
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


# ------------------------------------------------------------------ money that goes back, and what a bank may see


@pytest.fixture
def colleague(house: House) -> Visitor:
    """Another member of staff."""
    add_staff(house.dsn, "li-na", PASSWORD)
    visitor = house.visitor("en")
    assert sign_in(visitor, "li-na", PASSWORD).status_code == 302
    return visitor


def delivered(house: House, numbers) -> str:  # type: ignore[no-untyped-def]
    customer = house.visitor()
    order_id = paid_order(customer, numbers())
    pay(house, customer, order_id)
    wait_until(lambda: house.order(order_id).delivery == "delivered")
    return order_id


def wait_until(so: Callable[[], bool]) -> None:
    """For at most ten seconds."""
    for _ in range(200):
        if so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def send(visitor: Visitor, path: str, order_id: str, **fields: str):  # type: ignore[no-untyped-def]
    """A form of an order's page; the page that is shown afterwards."""
    return visitor.follow(visitor.post(path, fields, visitor.get(f"/staff/order/{order_id}")))


def test_one_asks_for_a_refund_and_another_confirms_it(
    house: House, staff: Visitor, colleague: Visitor, numbers
) -> None:
    order_id = delivered(house, numbers)
    asked = send(staff, f"/staff/order/{order_id}/refund", order_id, amount="10.00", why="late; call 13800138000")
    assert "已申请" in asked.text and "须由另一人确认" in asked.text
    assert "13800138000" not in asked.text and "138****8000" in asked.text
    assert "确认退款" not in asked.text, "nobody confirms their own refund"
    refused = send(staff, f"/staff/order/{order_id}/refund/1", order_id, answer="confirm")
    assert "不能由申请人自己确认" in refused.text
    page = colleague.get(f"/staff/order/{order_id}")
    assert "wang asks to give ¥10.00 back." in unescape(page.text)
    confirmed = send(colleague, f"/staff/order/{order_id}/refund/1", order_id, answer="confirm")
    assert "Confirmed. The money is on its way back." in confirmed.text
    wait_until(lambda: house.order(order_id).refunded_minor > 0)
    order = house.order(order_id)
    assert (order.payment, order.delivery, order.refunded_minor) == ("captured", "delivered", 1000)
    with psycopg.connect(house.dsn) as connection:
        acts = connection.execute("SELECT who, what FROM people_staffact WHERE subject = %s ORDER BY id", [order_id])
        assert acts.fetchall() == [("wang", "ask refund"), ("li-na", "confirm refund")]


def test_a_refund_may_be_declined_and_asked_for_again(
    house: House, staff: Visitor, colleague: Visitor, numbers
) -> None:
    order_id = delivered(house, numbers)
    send(staff, f"/staff/order/{order_id}/refund", order_id, amount="10.00", why="late")
    vague = send(colleague, f"/staff/order/{order_id}/refund/1", order_id, answer="decline", why=" ")
    assert "A refund has an amount and a reason." in vague.text
    declined = send(colleague, f"/staff/order/{order_id}/refund/1", order_id, answer="decline", why="it came in time")
    assert "Declined. Nothing was given back." in declined.text and "it came in time" in declined.text
    late = send(staff, f"/staff/order/{order_id}/refund/1", order_id, answer="confirm")
    assert "这笔退款已被拒绝" in late.text
    again = send(staff, f"/staff/order/{order_id}/refund", order_id, amount="5.00", why="late")
    assert "¥5.00" in again.text
    assert house.order(order_id).payment == "captured"


@pytest.mark.parametrize(
    ("amount", "why", "says"),
    [
        ("9999.00", "late", "最多还能退"),
        ("ten", "late", "金额格式不对"),
        ("-1", "late", "金额格式不对"),
        ("10.00", " ", "退款须写明金额和原因"),
    ],
)
def test_a_refund_that_is_refused_is_said_in_the_readers_language(
    house: House, staff: Visitor, numbers, amount: str, why: str, says: str
) -> None:
    order_id = delivered(house, numbers)
    assert says in send(staff, f"/staff/order/{order_id}/refund", order_id, amount=amount, why=why).text


def test_of_an_order_that_nobody_paid_there_is_nothing_to_give_back(house: House, staff: Visitor, numbers) -> None:
    order_id = paid_order(house.visitor(), numbers())
    page = staff.get(f"/staff/order/{order_id}")
    assert "申请退款" not in page.text
    assert "没有付款" in send(staff, f"/staff/order/{order_id}/refund", order_id, amount="1.00", why="late").text


def test_a_refund_of_an_order_that_there_is_not_is_not_found(house: House, staff: Visitor, numbers) -> None:
    page = staff.get(f"/staff/order/{paid_order(house.visitor(), numbers())}")
    nobody = "tu_" + "0" * 24
    for path, fields in (("refund", {"amount": "1.00", "why": "late"}), ("refund/1", {"answer": "confirm"})):
        assert staff.post(f"/staff/order/{nobody}/{path}", fields, page).status_code == 404
    assert staff.get(f"/staff/order/{nobody}/evidence").status_code == 404


def test_evidence_is_read_downloaded_and_written_down(
    house: House, staff: Visitor, colleague: Visitor, numbers
) -> None:
    number = numbers()
    order_id = delivered(house, lambda: number)
    page = colleague.get(f"/staff/order/{order_id}/evidence")
    assert "Signed notices that we received" in page.text
    file = staff.get(f"/staff/order/{order_id}/evidence.json")
    assert file.headers["content-disposition"] == f'attachment; filename="{order_id}.json"'
    told = file.json()
    assert told["order"] == order_id and told["delivered_at"] and told["payments"][0]["method"] == "alipay"
    for text in (page.text, file.text):
        assert number.replace(" ", "") not in text.replace(" ", "")
        assert "****" in text
    with psycopg.connect(house.dsn) as connection:
        acts = connection.execute("SELECT who, what FROM people_staffact WHERE subject = %s ORDER BY id", [order_id])
        assert acts.fetchall() == [("li-na", "take evidence"), ("wang", "take evidence")]


def test_a_disputed_payment_is_shown_with_its_deadline(house: House, staff: Visitor, numbers) -> None:
    order_id = delivered(house, numbers)
    (transaction,) = [c.transaction for c in house.ask(store.timeline(house.trade, order_id)).captures]
    until = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    said = Dispute(transaction, "opened", money("9.00 CNY"), "fraudulent", until)
    assert house.ask(flow.dispute(house.trade, "alipay", said))
    page = staff.get(f"/staff/order/{order_id}").text
    for word in ("有争议", "银行审理中", "举证截止 2030-01-02", "fraudulent", f"/staff/order/{order_id}/evidence"):
        assert word in page, word
    assert "申请退款" not in page
