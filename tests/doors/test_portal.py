"""The customer's pages through real HTTP, without scripts: every way of typing, pressing twice and prying."""

import re
import threading
import time
from collections.abc import Callable
from html import unescape

import psycopg
import pytest
from tests.doors.conftest import House, Visitor, hidden

from refill.money import money
from refill.payments import Capture
from refill.topup import flow, store


@pytest.fixture
def visitor(house: House) -> Visitor:
    return house.visitor()


def paid_order(visitor: Visitor, number: str, offer: str = "demo-50|50.00") -> str:
    """Places an order and opens its payment page; returns its id."""
    answer = visitor.confirm(visitor.wish(number, offer))
    order_id = re.search(r"tu_[0-9a-z]{24}", answer.headers["location"])
    assert order_id, answer.text
    visitor.follow(answer)
    return order_id[0]


def pay(house: House, visitor: Visitor, order_id: str) -> None:
    """The person presses Pay at the gateway."""
    page = visitor.get(f"/o/{order_id}/pay?way=alipay.page").text
    gateway = unescape(re.search(r'content="0;url=([^"]+)"', page)[1])  # type: ignore[index]
    cashier = visitor.client.get(gateway, follow_redirects=True)
    visitor.client.post(f"{str(cashier.url).split('?')[0]}/pay", content=b"")


def test_a_number_and_an_amount_become_a_credited_phone(house: House, visitor: Visitor, numbers) -> None:
    number = numbers()
    page = visitor.wish(number)
    assert number in page.text  # 199 0000 0001, grouped and whole
    assert "¥49.80" in page.text
    assert "Pay ¥49.80</button>" in page.text
    order_id = paid_order(visitor, number, "demo-30|30.00")
    assert "Waiting for payment" in visitor.get(f"/o/{order_id}").text
    pay(house, visitor, order_id)
    back = visitor.follow(visitor.get(f"/o/{order_id}/back"))
    assert "Credited" in back.text
    assert number.replace(" ", "") not in back.text
    receipt = visitor.get(f"/o/{order_id}/receipt").text
    assert "¥29.88" in receipt
    assert "****" in receipt
    assert number not in receipt
    assert house.order(order_id).status == "succeeded"


@pytest.mark.parametrize(
    "typed",
    [
        "{}",
        "+86 {}",
        "0086-{}",
        "\u00a0{}\u00a0",
        "\u200b{}\u200b",
        "\u202d{}\u202c",
        "（{}）",
    ],
)
def test_a_number_may_be_pasted_in_many_shapes(visitor: Visitor, numbers, typed: str) -> None:
    number = numbers()
    page = visitor.wish(typed.format(number))
    assert page.url.path.endswith("/confirm"), page.text
    assert number in page.text


def test_full_width_digits_are_digits(visitor: Visitor, numbers) -> None:
    number = numbers()
    wide = number.translate({ord(str(digit)): chr(0xFF10 + digit) for digit in range(10)})
    assert number in visitor.wish(wide).text


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "12345",
        "199 0000 00011",
        "'; DROP TABLE topup_order; --",
        "１" * 60,
        "\ud800",
        "199\x0000000001x",
        "<b>1</b>",
    ],
)
def test_what_is_no_number_is_refused_with_a_sentence_and_nothing_happens(house: House, typed: str) -> None:
    visitor, before = house.visitor(), house.orders()
    answer = visitor.post("/", {"number": typed, "offer": "demo-50|50.00"})
    assert answer.status_code in (400, 422)
    if answer.status_code == 422:
        assert "mobile number" in answer.text and 'aria-invalid="true"' in answer.text
    assert house.orders() == before


@pytest.mark.parametrize(
    "offer", ["demo-50|49.00", "demo-50|-50", "x|1e400", "demo-50|0", "cmcc-50|50.00", "|", "demo-any|NaN"]
)
def test_an_amount_that_is_not_on_sale_is_refused(house: House, visitor: Visitor, numbers, offer: str) -> None:
    answer = visitor.post("/", {"number": numbers(), "offer": offer})
    followed = visitor.follow(answer)
    assert not followed.url.path.endswith("/confirm")
    assert followed.status_code in (200, 422)


@pytest.mark.parametrize(("typed", "face"), [("37", "¥37.00"), ("５０ 元", "¥50.00"), ("12.34", "¥12.34")])
def test_a_free_amount_is_read_tolerantly(visitor: Visitor, numbers, typed: str, face: str) -> None:
    assert face in visitor.wish(numbers(), "custom", custom=typed).text


@pytest.mark.parametrize("typed", ["", "0", "-5", "501", "1e2", "NaN", "1" * 30, "12.345", "五十"])
def test_a_free_amount_out_of_range_says_what_to_do(visitor: Visitor, numbers, typed: str) -> None:
    answer = visitor.post("/", {"number": numbers(), "offer": "custom", "custom": typed})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


# ------------------------------------------------------------------ twice is once


def test_pressing_twice_is_one_order(house: House, visitor: Visitor, numbers) -> None:
    page = visitor.wish(numbers())
    before = len(house.orders())
    answers = [visitor.confirm(page) for _ in range(2)]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(house.orders()) == before + 1


def test_pressing_twice_at_the_same_moment_is_one_order(house: House, visitor: Visitor, numbers) -> None:
    page = visitor.wish(numbers())
    before = len(house.orders())
    together = threading.Barrier(2)
    answers = []

    def press() -> None:
        together.wait()
        answers.append(visitor.confirm(page))

    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {302}
    assert len(house.orders()) == before + 1


def test_coming_back_to_the_confirm_page_keeps_the_order(house: House, visitor: Visitor, numbers) -> None:
    page = visitor.wish(numbers())
    first = visitor.confirm(page)
    again = visitor.get(page.url.path)  # the back button, with a fresh copy of the page
    second = visitor.confirm(again)
    assert first.headers["location"] == second.headers["location"]


def test_the_same_wish_in_another_tab_asks_whether_it_is_meant(house: House, visitor: Visitor, numbers) -> None:
    number = numbers()
    paid_order(visitor, number)
    before = len(house.orders())
    page = visitor.wish(number)
    asked = visitor.confirm(page)
    assert asked.status_code == 409
    assert "Once more on purpose?" in asked.text
    assert len(house.orders()) == before
    meant = visitor.confirm(asked, again="1")
    assert meant.is_redirect
    assert len(house.orders()) == before + 1


def test_two_tabs_hold_two_numbers(visitor: Visitor, numbers) -> None:
    one, other = numbers(), numbers()
    first, second = visitor.wish(one), visitor.wish(other)
    assert one in visitor.get(first.url.path).text
    assert other in visitor.get(second.url.path).text


def test_a_price_that_rose_meanwhile_is_shown_before_anything_is_ordered(
    house: House, visitor: Visitor, numbers
) -> None:
    page = visitor.wish(numbers(), "demo-20|20.00")
    before, shelf = house.orders(), house.trade.shelf
    _set_price(house, "demo-20", 1999)
    try:
        answer = visitor.confirm(page)
        assert answer.status_code == 409
        assert "The price changed meanwhile" in answer.text
        assert "¥19.99" in answer.text
        assert house.orders() == before
        assert visitor.confirm(answer).is_redirect
        assert house.order(house.orders()[-1]).price == money("19.99 CNY")
    finally:
        _set_price(house, "demo-20", None)
    assert shelf is house.trade.shelf


def _set_price(house: House, product: str, minor: int | None) -> None:
    from refill import catalogue

    with psycopg.connect(house.dsn) as connection:
        connection.execute("UPDATE catalogue_product SET retail_price_minor = %s WHERE id = %s", [minor, product])
    house.trade.shelf.catalogue = house.ask(house.trade.db.transaction(catalogue.load))


# ------------------------------------------------------------------ not yours is not there


def test_another_sessions_order_is_not_there(house: House, visitor: Visitor, numbers) -> None:
    order_id = paid_order(visitor, numbers())
    stranger = house.visitor()
    stranger.wish(numbers())
    for path in ("", "/state", "/pay", "/back", "/receipt"):
        assert stranger.get(f"/o/{order_id}{path}").status_code == 404, path
    assert stranger.post(f"/o/{order_id}/cancel", {}).status_code == 404
    assert house.order(order_id).payment == "unpaid"
    assert stranger.get("/o/tu_000000000000000000000000").status_code == 404


def test_the_signed_link_shows_the_receipt_and_allows_nothing_else(house: House, visitor: Visitor, numbers) -> None:
    order_id = paid_order(visitor, numbers())
    link = re.search(r'href="(http[^"]+/r/[^"]+)"', visitor.get(f"/o/{order_id}/receipt").text)[1]  # type: ignore[index]
    friend = house.visitor()
    assert order_id in friend.follow(friend.get(link)).text
    assert friend.post(f"/o/{order_id}/cancel", {}).status_code == 404
    assert friend.get(link[:-1] + ("A" if link[-1] != "A" else "B")).status_code == 404


def test_who_has_the_signed_link_may_pay_at_a_firm_but_not_act(house: House, visitor: Visitor, numbers) -> None:
    order_id = paid_order(visitor, numbers())
    link = re.search(r'href="(http[^"]+/r/[^"]+)"', visitor.get(f"/o/{order_id}/receipt").text)[1]  # type: ignore[index]
    friend = house.visitor()
    friend.follow(friend.get(link))
    page = friend.get(f"/o/{order_id}").text
    assert "alipay.page" in page
    for act in ("/cancel", "voucher.inside"):
        assert act in visitor.get(f"/o/{order_id}").text
        assert act not in page
    for path in ("inside", "again", "cancel"):
        assert friend.post(f"/o/{order_id}/{path}", {"way": "voucher.inside", "secret": "1"}).status_code == 404
    pay(house, friend, order_id)
    friend.get(f"/o/{order_id}/back")
    assert house.order(order_id).status == "succeeded"


def test_a_firm_that_leads_its_payer_back_by_a_form_of_its_own_is_let_in(
    house: House, visitor: Visitor, numbers
) -> None:
    order_id = paid_order(visitor, numbers())
    answer = visitor.client.post(
        f"/o/{order_id}/back", data={"tradeNum": "x"}, headers={"origin": "https://jd.example"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"/o/{order_id}/back")
    assert visitor.follow(answer).url.path == f"/o/{order_id}"


def test_a_page_that_has_seen_all_is_told_nothing(visitor: Visitor, numbers) -> None:
    order_id = paid_order(visitor, numbers())
    state = unescape(re.search(r'data-state="([^"]+)"', visitor.get(f"/o/{order_id}").text)[1])  # type: ignore[index]
    assert visitor.get(state).status_code == 204
    visitor.post(f"/o/{order_id}/cancel", {}, visitor.get(f"/o/{order_id}"))
    told = visitor.get(state)
    assert told.status_code == 200
    assert "Being closed" in told.text


def test_a_form_of_another_session_places_nothing(house: House, visitor: Visitor, numbers) -> None:
    page = visitor.wish(numbers())
    before = house.orders()
    thief = house.visitor()
    answer = thief.post(page.url.path, {"token": hidden(page.text)["token"]})
    assert not answer.is_redirect
    assert house.orders() == before


@pytest.mark.parametrize("token", ["", "x", "gAAAAA" * 20, "\u200f", "A" * 5000])
def test_a_changed_form_places_nothing_and_shows_the_page_again(
    house: House, visitor: Visitor, numbers, token: str
) -> None:
    page = visitor.wish(numbers())
    before = house.orders()
    answer = visitor.post(page.url.path, {"token": token}, visitor.get("/"))
    assert answer.status_code == 422
    assert "open for too long" in answer.text
    assert house.orders() == before


def test_a_form_from_elsewhere_is_refused(house: House, numbers) -> None:
    visitor = house.visitor()
    visitor.get("/")
    answer = visitor.client.post("/", data={"number": numbers(), "offer": "demo-50|50.00"})
    assert answer.status_code == 403
    assert "did not come from our page" in answer.text


@pytest.mark.parametrize(
    "back", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_the_language_switch_never_leads_away(visitor: Visitor, back: str) -> None:
    answer = visitor.post("/language", {"language": "zh-hans", "next": back})
    assert answer.headers["location"] == "/"


def test_the_language_switch_keeps_the_form(visitor: Visitor, numbers) -> None:
    number = numbers()
    answer = visitor.post("/language", {"language": "zh-hans", "number": number, "offer": "demo-30|30.00"})
    page = visitor.follow(answer)
    assert '<html lang="zh-hans">' in page.text
    assert number in page.text
    assert 'value="demo-30|30.00" checked' in page.text
    assert "下一步" in page.text


def test_what_was_typed_comes_back_as_text(visitor: Visitor) -> None:
    evil = '"><script>alert(1)</script>'
    answer = visitor.post("/", {"number": evil})
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_an_operators_name_is_text_too(house: House, visitor: Visitor, numbers) -> None:
    from refill import catalogue

    evil = "<img src=x onerror=alert(1)>"
    try:
        with psycopg.connect(house.dsn) as connection:
            connection.execute("UPDATE catalogue_operator SET name_en = %s WHERE id = 'cbn'", [evil])
        house.trade.shelf.catalogue = house.ask(house.trade.db.transaction(catalogue.load))
        assert evil not in visitor.follow(visitor.post("/", {"number": numbers()})).text
    finally:
        with psycopg.connect(house.dsn) as connection:
            connection.execute("UPDATE catalogue_operator SET name_en = 'China Broadnet' WHERE id = 'cbn'")
        house.trade.shelf.catalogue = house.ask(house.trade.db.transaction(catalogue.load))


# ------------------------------------------------------------------ the page itself


def test_every_address_is_free_of_numbers(house: House, visitor: Visitor, numbers) -> None:
    number = numbers()
    digits = number.replace(" ", "")
    page = visitor.wish(number)
    seen = [str(step.url) for step in (*page.history, page)] + re.findall(r'(?:href|action)="([^"]+)"', page.text)
    order = visitor.follow(visitor.confirm(page))
    seen += [str(order.url), *re.findall(r'(?:href|action)="([^"]+)"', order.text)]
    assert not [address for address in seen if digits in address]
    with psycopg.connect(house.dsn) as connection:
        sessions = " ".join(row[0] for row in connection.execute("SELECT session_data FROM django_session"))
    import base64
    import zlib

    for text in sessions.split():
        packed = text.split(":")[0]
        raw = base64.urlsafe_b64decode(packed.lstrip(".") + "===")
        assert digits.encode() not in (zlib.decompress(raw) if packed.startswith(".") else raw)


def test_the_pages_are_light(visitor: Visitor, numbers) -> None:
    page = visitor.follow(visitor.post("/", {"number": numbers()}))
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+|/manifest[^"]+)"', page.text))
    assert len(files) >= 4
    weight = len(page.content) + sum(len(visitor.get(file).content) for file in files)
    assert weight <= 100 * 1024, f"{weight} bytes, not compressed"


def test_files_keep_for_ever_under_names_that_carry_their_content(visitor: Visitor) -> None:
    style = re.search(r'href="(/static/refill/app\.[0-9a-f]{12}\.css)"', visitor.get("/").text)[1]  # type: ignore[index]
    assert "immutable" in visitor.get(style).headers["cache-control"]
    assert visitor.get(re.sub(r"\.[0-9a-f]{12}", ".000000000000", style)).status_code == 404
    assert "immutable" not in visitor.get("/static/refill/app.css").headers["cache-control"]


def test_pages_say_what_browsers_may_do(visitor: Visitor) -> None:
    headers = visitor.get("/").headers
    policy = headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_nothing_is_written_inline(visitor: Visitor, numbers) -> None:
    number = numbers()
    order_id = paid_order(visitor, number)
    for page in (visitor.get("/"), visitor.wish(number), visitor.get(f"/o/{order_id}?scene=qr")):
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", page.text), page.url


def test_errors_are_pages_too(visitor: Visitor) -> None:
    answer = visitor.get("/o/nothing")
    assert answer.status_code == 404
    assert "Top up a phone" in answer.text


# ------------------------------------------------------------------ what became of it


def test_a_cancelled_order_cannot_be_paid_any_more(house: House, visitor: Visitor, numbers) -> None:
    order_id = paid_order(visitor, numbers())
    page = visitor.follow(visitor.post(f"/o/{order_id}/cancel", {}, visitor.get(f"/o/{order_id}")))
    assert "do not pay this order any more" in page.text
    assert "Pay ¥" not in page.text
    assert "do not pay" in visitor.follow(visitor.get(f"/o/{order_id}/pay")).text


def test_a_gateway_that_does_not_answer_is_said_and_can_be_tried_again(house: House, visitor: Visitor, numbers) -> None:
    order_id = paid_order(visitor, numbers())
    house.alipay.troubles.plan("lost", 1)
    page = visitor.get(f"/o/{order_id}?way=alipay.qr")
    assert page.status_code == 200
    assert 'role="alert"' in page.text
    assert 'class="code"' not in page.text
    assert 'class="code"' in visitor.get(f"/o/{order_id}?way=alipay.qr").text


@pytest.mark.parametrize(
    ("payment", "delivery", "word"),
    [
        ("unpaid", "quoted", "unpaid"),
        ("expired", "quoted", "expired"),
        ("captured", "ready", "paid"),
        ("captured", "dispatching", "with_operator"),
        ("captured", "unknown", "checking"),
        ("captured", "parked", "parked"),
        ("captured", "delivered", "credited"),
        ("refunded", "delivered", "credited"),
        ("captured", "partial", "partial"),
        ("refund_pending", "partial", "partial"),
        ("refund_pending", "failed", "refunding"),
        ("refund_pending", "unknown", "refunding"),
        ("refunded", "failed", "refunded"),
        ("refunded", "unknown", "refunded"),
        ("refund_pending", "reversed", "reversed"),
        ("refunded", "reversed", "refunded"),
    ],
)
def test_every_state_has_one_honest_word(
    house: House, visitor: Visitor, numbers, payment: str, delivery: str, word: str
) -> None:
    from refill.channels.portal.words import standing

    order = house.order(paid_order(visitor, numbers()))
    assert standing(order.but(payment=payment, delivery=delivery), order.created_at).word == word


def test_too_many_look_ups_are_asked_to_wait(house: House, numbers: Callable[[], str]) -> None:
    visitor, number = house.visitor(), numbers()
    visitor.wish(number)
    page = visitor.get("/")
    answers = [visitor.post("/offers", {"number": number}, page).text for _ in range(65)]
    assert "demo-50" in answers[0]
    assert "tried very often" in answers[-1]
    assert number in house.visitor().wish(number).text, "others are not held up"


def test_who_paid_in_cash_gets_a_code_and_nobody_else_sees_it(house: House, visitor: Visitor, numbers) -> None:
    order_id = paid_order(visitor, numbers(), "demo-30|30.00")
    house.ask(flow.invite(house.trade, order_id, "cash", scene="till"))
    (*_, payment) = house.ask(store.timeline(house.trade, order_id)).payments
    now = house.trade.world.db_now()
    counted = Capture("cash", "till:1", payment.reference, payment.reference, payment.amount, now)
    house.ask(flow.pay(house.trade, [counted]))
    asked = house.ask(flow.refund(house.trade, order_id, money("5.00 CNY"), "slow", "wang"))
    house.ask(flow.confirm_refund(house.trade, order_id, asked.n, "li"))
    for _ in range(200):
        (refund,) = house.ask(store.timeline(house.trade, order_id)).refunds
        if refund.claim_until is not None:
            break
        time.sleep(0.05)
    code = flow.claim_code(house.trade, refund).grouped()
    for place in ("", "/receipt"):
        page = visitor.get(f"/o/{order_id}{place}").text
        assert code in page and "¥5.00 waits for you under a code" in page
    link = re.search(r"/r/[^\s\"<]+", visitor.get(f"/o/{order_id}/receipt").text)
    assert link
    other = house.visitor()
    shown = other.follow(other.get(link[0])).text
    assert "waits for you under a code" in shown and code not in shown
    assert "shown only in the browser" in shown
