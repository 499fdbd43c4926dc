"""Scratch cards and the balance through real HTTP, without scripts: every way of typing, guessing and prying."""

import re
from collections.abc import Callable, Iterator
from html import unescape

import httpx2
import psycopg
import pytest
from tests.doors.cards import card, printed
from tests.doors.conftest import House, Visitor, hidden

from refill.money import money
from refill.vouchers import MOST_WRONG


@pytest.fixture
def visitor(house: House) -> Visitor:
    return house.visitor()


@pytest.fixture(autouse=True)
def _nobody_guessed(house: House) -> Iterator[None]:
    """All visitors of these tests come from one address; what one of them guessed is not held against the next."""
    yield
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM vouchers_guesser")
        connection.execute("DELETE FROM people_tally")


def token(page: httpx2.Response) -> str:
    return hidden(page.text)["token"]


def type_card(visitor: Visitor, pin: str, number: str = "", **more: str) -> httpx2.Response:
    """Types a card up to the confirm page, or wherever the form leads."""
    return visitor.follow(visitor.post("/card", {"pin": pin, "number": number, "to": "phone", **more}))


def redeem(visitor: Visitor, page: httpx2.Response) -> httpx2.Response:
    return visitor.follow(visitor.post("/card/redeem", {"token": token(page)}, page))


def order_id(page: httpx2.Response) -> str:
    found = re.search(r"tu_[0-9a-z]{24}", page.url.path)
    assert found, page.url.path
    return found[0]


def guess(visitor: Visitor, times: int) -> None:
    for _ in range(times):
        assert type_card(visitor, "0000 0000 0000 0000", to="balance").status_code == 422


# ------------------------------------------------------------------ a card for a phone


def test_a_card_is_shown_with_its_worth_and_then_credited(house: House, visitor: Visitor, numbers) -> None:
    pin, number = card(house), numbers()
    page = type_card(visitor, pin, number)
    assert number in page.text
    assert "The card is worth" in page.text
    assert "Top up ¥50.00</button>" in page.text
    assert pin not in page.text
    assert pin.replace("-", "") not in page.text
    done = redeem(visitor, page)
    assert "Credited" in done.text
    order = house.order(order_id(done))
    assert (order.status, order.price, order.face) == ("succeeded", money("50 CNY"), money("50 CNY"))
    receipt = visitor.get(f"/o/{order.id}/receipt").text
    assert "¥50.00" in receipt
    assert number not in receipt


@pytest.mark.parametrize("shape", ["{}", " {} ", "spaces", "wide", "plain", "dots", "\u200b{}"])
def test_a_pin_may_be_typed_in_many_shapes(house: House, visitor: Visitor, numbers, shape: str) -> None:
    pin = card(house)
    typed = {
        "spaces": pin.replace("-", "   "),
        "wide": pin.translate({ord(str(digit)): chr(0xFF10 + digit) for digit in range(10)}),
        "plain": pin.replace("-", ""),
        "dots": pin.replace("-", "·"),
    }.get(shape, shape.format(pin))
    assert "Top up ¥50.00</button>" in type_card(visitor, typed, numbers()).text


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "1234",
        "0123 4567 8901 234",
        "0123 4567 8901 2345 6789 0123 4567",
        "'; DROP TABLE vouchers_voucher; --",
        "<script>alert(1)</script>",
        "０" * 200,
        "\ud800\ud800",
        "刮刮卡",
        "0123\x004567",
    ],
)
def test_what_is_no_pin_is_refused_with_a_sentence_and_is_no_guess(
    house: House, visitor: Visitor, numbers, typed: str
) -> None:
    before, number = house.orders(), numbers()
    for _ in range(MOST_WRONG + 1):
        page = type_card(visitor, typed, number)
        assert page.status_code in (400, 422)
        assert "<script>alert" not in page.text
    assert page.status_code == 400 or "A voucher&#x27;s PIN has 16 digits" in page.text
    assert house.orders() == before
    assert "Top up ¥50.00" in type_card(visitor, card(house), number).text, "not locked out"


@pytest.mark.parametrize("number", ["", "12345", "199 0000 00011", "<b>1</b>"])
def test_without_a_number_the_pin_stays_and_the_number_is_asked_for(
    house: House, visitor: Visitor, number: str
) -> None:
    pin = card(house)
    page = type_card(visitor, pin, number)
    assert page.status_code == 422
    assert "not a mobile number yet" in page.text
    assert f'value="{pin}"' in page.text
    assert "¥50.00" not in page.text


def test_a_wrong_pin_says_so_and_five_lock_the_right_one_out_until_a_time(house: House, visitor: Visitor) -> None:
    page = type_card(visitor, "0000 0000 0000 0000", to="balance")
    assert "There is no voucher with this PIN" in page.text
    guess(visitor, MOST_WRONG - 1)
    page = type_card(visitor, card(house), to="balance")
    assert page.status_code == 429
    assert re.search(r"none is taken from here until \d\d:\d\d", page.text)
    assert "¥50.00" not in page.text
    assert "Add ¥50.00" in type_card(house.visitor(), card(house), to="balance").text, "others may try"


def test_a_new_session_is_no_way_around_the_address(house: House) -> None:
    for _ in range(40 // (MOST_WRONG - 1)):
        guess(house.visitor(), MOST_WRONG - 1)
    assert type_card(house.visitor(), card(house), to="balance").status_code == 429


def test_the_same_card_for_the_same_number_is_the_same_order(house: House, visitor: Visitor, numbers) -> None:
    pin, number = card(house), numbers()
    page = type_card(visitor, pin, number)
    first = order_id(redeem(visitor, page))
    assert order_id(redeem(visitor, page)) == first, "the form sent twice"
    assert order_id(type_card(visitor, pin, number)) == first, "typed again"
    stranger = house.visitor()
    assert order_id(type_card(stranger, pin, number)) == first, "typed at another place"
    answer = stranger.post(f"/o/{first}/cancel", {}, stranger.get("/"))
    assert answer.status_code == 404, "to look is not to act"
    used = type_card(visitor, pin, numbers())
    assert used.status_code == 409
    assert "This voucher was used before" in used.text


def test_a_card_that_is_not_sold_withdrawn_or_over_says_what_to_do(house: House, visitor: Visitor) -> None:
    pin = card(house, active=False)
    assert "never switched on" in type_card(visitor, pin, to="balance").text
    code, (gone, over) = printed(house, 2)
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        connection.execute("UPDATE vouchers_voucher SET expires_at = now() WHERE serial = %s", [f"{code}-0000002"])
        connection.execute("UPDATE vouchers_voucher SET state = 'void' WHERE serial = %s", [f"{code}-0000001"])
    assert "was withdrawn" in type_card(visitor, gone, to="balance").text
    assert re.search(r"was good until \d{4}-\d\d-\d\d", type_card(visitor, over, to="balance").text)


def test_a_card_of_an_amount_that_the_operator_does_not_sell_can_go_to_the_balance(
    house: House, visitor: Visitor
) -> None:
    pin = card(house, "33.33 CNY")
    page = type_card(visitor, pin, "138 0013 8000")
    assert page.status_code == 422
    assert "put it into your balance" in page.text
    done = redeem(visitor, type_card(visitor, pin, to="balance"))
    assert "In your balance" in done.text


def test_a_sealed_form_is_not_anothers_and_not_forged(house: House, visitor: Visitor, numbers) -> None:
    page = type_card(visitor, card(house), numbers())
    thief = house.visitor()
    type_card(thief, card(house), to="balance")
    for sent in (token(page), "gAAAA", "x" * 9000, ""):
        answer = thief.post("/card/redeem", {"token": sent}, thief.get("/card"))
        assert answer.status_code == 422
        assert "open for too long" in answer.text
    assert thief.get("/card/redeem").status_code == 405


def test_another_language_keeps_what_was_typed_and_what_is_confirmed(house: House, visitor: Visitor, numbers) -> None:
    pin, number = card(house), numbers()
    page = visitor.post("/card", {"pin": pin, "number": number, "to": "phone", "language": "zh-hans"})
    assert "刮开涂层后的密码" in page.text
    assert f'value="{pin}"' in page.text
    assert number in page.text
    page = type_card(visitor, pin, number)
    assert "充值 ¥50.00</button>" in page.text
    page = visitor.post("/card", {"token": token(page), "language": "en"}, page)
    assert "Top up ¥50.00</button>" in page.text
    page = visitor.post("/card", {"token": token(page), "change": "yes"}, page)
    assert f'value="{pin}"' in page.text
    assert visitor.post("/card", {"pin": pin, "language": "xx"}).status_code == 200


def test_the_operator_of_a_number_is_told_and_nothing_else(visitor: Visitor, numbers) -> None:
    page = visitor.post("/card/operator", {"number": numbers()})
    assert 'name="operator"' in page.text
    assert visitor.post("/card/operator", {"number": "1"}).status_code == 200


# ------------------------------------------------------------------ the balance


def filled(visitor: Visitor, house: House, value: str = "100 CNY") -> None:
    page = type_card(visitor, card(house, value), to="balance")
    assert "lives in this browser" in page.text
    assert "In your balance" in redeem(visitor, page).text


def test_a_card_fills_the_balance_which_pays_and_tells_its_story(house: House, visitor: Visitor, numbers) -> None:
    empty = visitor.get("/balance").text
    assert "¥0.00" in empty
    assert "Nothing yet" in empty
    filled(visitor, house)
    page = visitor.confirm(visitor.wish(numbers()), way="wallet.inside")
    here = visitor.follow(page)
    paid = visitor.post(f"{here.url.path}/inside", {"way": "wallet.inside"}, here)
    assert "Credited" in visitor.follow(paid).text
    told = visitor.get("/balance").text
    assert "¥50.20" in told
    assert "+¥100.00" in told
    assert "−¥49.80" in told
    assert re.search(r"\d{3}\*{4}\d{4}", told)
    for order in set(re.findall(r"tu_[0-9a-z]{24}", told)):
        assert visitor.get(f"/o/{order}").status_code == 200
    assert "¥0.00" in house.visitor().get("/balance").text


def test_the_balance_is_filled_by_any_other_way_to_pay_but_not_out_of_itself(house: House, visitor: Visitor) -> None:
    filled(visitor, house)
    page = visitor.get("/balance")
    fields = {"amount": "50.00", "key": hidden(page.text)["key"]}
    order = order_id(visitor.follow(visitor.post("/balance", fields, page)))
    assert order_id(visitor.follow(visitor.post("/balance", fields, page))) == order, "pressed twice"
    fields["amount"] = "100.00"
    assert order_id(visitor.follow(visitor.post("/balance", fields, page))) != order
    waiting = visitor.get(f"/o/{order}").text
    assert "Waiting for payment" in waiting
    assert "Alipay" in waiting
    assert "wallet.inside" not in waiting
    assert "way=wallet" not in visitor.get(f"/o/{order}?way=wallet.inside").text
    pin = card(house)
    visitor.post(f"/o/{order}/inside", {"way": "voucher.inside", "secret": pin}, visitor.get(f"/o/{order}"))
    done = visitor.get(f"/o/{order}").text
    assert "In your balance" in done
    assert "on the phone" not in done
    assert "Operator" not in visitor.get(f"/o/{order}/receipt").text
    assert "¥150.00" in visitor.get("/balance").text


def test_who_gave_a_filling_up_begins_again_at_the_balance(visitor: Visitor) -> None:
    order = order_id(visitor.follow(visitor.post("/balance", {"amount": "custom", "custom": "３０ 元"})))
    visitor.post(f"/o/{order}/cancel", {}, visitor.get(f"/o/{order}"))
    assert visitor.post(f"/o/{order}/again", {}, visitor.get("/")).headers["location"] == "/balance"


@pytest.mark.parametrize(
    "typed", ["", "0", "-5", "5001", "1e3", "12.345", "NaN", "<b>", "９" * 80, "50; DROP", "\ud800", "0x10"]
)
def test_an_amount_that_is_none_is_refused_with_a_sentence(house: House, visitor: Visitor, typed: str) -> None:
    before = house.orders()
    for fields in ({"amount": typed}, {"amount": "custom", "custom": typed}):
        page = visitor.post("/balance", fields)
        assert page.status_code in (400, 422)
        assert page.status_code == 400 or "type one up to 5000" in page.text
    assert house.orders() == before


# ------------------------------------------------------------------ a claim code


def test_a_claim_code_goes_to_the_balance_whatever_number_was_typed(
    house: House, visitor: Visitor, numbers: Callable[[], str]
) -> None:
    pin = card(house, "49.80 CNY")
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        connection.execute("UPDATE vouchers_voucher SET kind = 'claim' WHERE state = 'active' AND minor = 4980")
    page = type_card(visitor, pin, numbers())
    assert "This is a claim code" in page.text
    assert "Add ¥49.80 to my balance" in unescape(page.text)
    assert "In your balance" in redeem(visitor, page).text
    assert "¥49.80" in visitor.get("/balance").text
