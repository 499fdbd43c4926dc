"""Numbers at every door: whose they are, what to look at twice, and numbers of other countries; through real HTTP."""

import re
from collections.abc import Iterator
from html import unescape

import psycopg
import pytest
from tests.doors.conftest import House, Visitor

from refill import numbers as numbers_
from refill.numbers import msisdn, number_id

# Copies of what is on sale in China, but for what is named here.
ALBION = """
    INSERT INTO catalogue_operator SELECT (jsonb_populate_record(was, :said::jsonb)).*
      FROM catalogue_operator AS was WHERE id = 'cmcc';
    INSERT INTO catalogue_product SELECT (jsonb_populate_record(was, '{"id":"albion-50","operator_id":"albion"}')).*
      FROM catalogue_product AS was WHERE id = 'cmcc-50';
    INSERT INTO catalogue_supply SELECT (jsonb_populate_record(was, '{"id":"albion-northtel","operator_id":"albion"}')).*
      FROM catalogue_supply AS was WHERE id = 'cmcc-northtel'
"""
SAID = '{"id": "albion", "name_zh": "英伦移动", "name_en": "Albion Mobile", "country": "GB", "position": 60}'


@pytest.fixture
def visitor(house: House) -> Visitor:
    return house.visitor()


@pytest.fixture
def britain(house: House) -> Iterator[None]:
    """An operator of another country is on sale."""
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        for statement in ALBION.replace(":said", f"'{SAID}'").split(";"):
            connection.execute(statement)
        _read_prices(house)
        yield
        connection.execute("DELETE FROM catalogue_supply WHERE operator_id = 'albion'")
        connection.execute("DELETE FROM catalogue_product WHERE operator_id = 'albion'")
        connection.execute("DELETE FROM catalogue_operator WHERE id = 'albion'")
    _read_prices(house)


def _read_prices(house: House) -> None:
    from refill import catalogue

    house.trade.shelf.catalogue = house.ask(house.trade.db.transaction(catalogue.load))


def guessed(page: str) -> str:
    """The operator that a page shows for its number."""
    found = re.search(r'<option value="(\w*)" selected>', page.partition('id="operator"')[2])
    return found[1] if found else ""


def typed(visitor: Visitor, number: str, **more: str) -> str:
    """The part of the form below a number, as a script gets it."""
    return unescape(visitor.post("/offers", {"number": number, **more}).text)


# ------------------------------------------------------------------ whose it is


def test_a_ported_number_shows_its_operator_and_may_be_changed(visitor: Visitor) -> None:
    page = typed(visitor, "138 7777 0051")
    assert guessed(page) == "ctcc"
    assert "Ported to this operator" in page
    assert guessed(typed(visitor, "138 7777 0051", operator="cbn", guessed="ctcc")) == "cbn"
    again = typed(visitor, "133 7777 8000", operator="ctcc", guessed="ctcc")
    assert guessed(again) == "ctcc"
    other = typed(visitor, "139 7777 8000", operator="ctcc", guessed="ctcc")
    assert guessed(other) == "cmcc", "what was guessed for the number of before is no choice"


@pytest.mark.parametrize("end", ["0056", "0057", "0058", "0059", "0060"])
def test_a_look_up_that_does_not_help_changes_nothing(visitor: Visitor, end: str) -> None:
    page = typed(visitor, f"137 7777 {end}")
    assert guessed(page) == "cmcc"
    assert 'role="alert"' not in page


def test_what_a_person_decided_is_shown(house: House, visitor: Visitor) -> None:
    number = number_id(house.trade.vault, msisdn("136 7777 8000"))
    now = house.trade.world.db_now()
    house.ask(
        house.trade.db.transaction(
            lambda tx: numbers_.decide(tx, number, "cbn", why="seen the contract", who="li", now=now)
        )
    )
    assert guessed(typed(visitor, "136 7777 8000")) == "cbn"


def test_a_doubted_number_asks_and_does_not_refuse(house: House, visitor: Visitor) -> None:
    page = typed(visitor, "135 7777 0062")  # ported to a network that nobody sells
    assert guessed(page) == "cmcc"
    assert "may have moved to another operator" in page
    confirm = visitor.wish("135 7777 0062", "cmcc-50|50.00")
    assert "operator of this number may have changed" in confirm.text
    assert "Pay ¥" in confirm.text


# ------------------------------------------------------------------ what to look at twice


def test_a_dead_number_is_warned_of_before_payment_and_may_be_paid(visitor: Visitor) -> None:
    page = visitor.wish("138 7777 0053", "cmcc-50|50.00")
    assert "nobody has this number" in page.text
    assert visitor.confirm(page).is_redirect


def test_a_first_time_and_one_digit_off_are_told(house: House, visitor: Visitor) -> None:
    from refill.payments import Capture
    from refill.topup import flow

    page = visitor.wish("138 7770 0001", "cmcc-50|50.00")
    assert "First top-up of this number" in page.text
    order_id = re.search(r"tu_[0-9a-z]{24}", visitor.confirm(page).headers["location"])[0]  # type: ignore[index]
    visitor.get(f"/o/{order_id}/pay?way=alipay.page")
    order = house.order(order_id)
    capture = Capture("alipay", "m", order_id, f"{order_id}p1", order.price, house.trade.world.now())
    house.ask(flow.pay(house.trade, [capture]))
    near = visitor.wish("138 7770 0007", "cmcc-50|50.00").text
    assert "nearly 138****0001" in near
    same = visitor.wish("138 7770 0001", "cmcc-30|30.00").text
    assert "First top-up" not in same and "nearly" not in same
    stranger = house.visitor().wish("138 7770 0007", "cmcc-50|50.00").text
    assert "nearly" not in stranger and "First top-up" in stranger


# ------------------------------------------------------------------ numbers of other countries


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+44 7400 123456", "CN"),
        ("0044 7400 123456", "CN"),
        ("07400 123456", "GB"),
        ("٠٧٤٠٠ ١٢٣٤٥٦", "GB"),
        ("7400 123456\n", "GB"),
    ],
)
def test_a_number_of_another_country_is_offered_its_operators(
    britain: None, visitor: Visitor, number: str, country: str
) -> None:
    page = typed(visitor, number, country=country)
    assert "Albion Mobile" in page
    assert "China Mobile" not in page
    assert "United Kingdom" in page
    assert "Please choose it" in page
    sold = visitor.wish(number, "albion-50|50.00", country=country, operator="albion")
    assert sold.url.path.endswith("/confirm"), sold.text
    assert "+44 7400 123456" in unescape(sold.text)


def test_a_country_where_we_sell_nothing_is_told_kindly(visitor: Visitor) -> None:
    page = typed(visitor, "+33 6 12 34 56 78")
    assert "do not sell top-ups for that country yet" in page


@pytest.mark.parametrize(
    ("number", "country", "says"),
    [
        ("010 6552 9988", "CN", "a landline"),
        ("020 7183 8750", "GB", "a landline"),
        ("0909 879 0000", "GB", "a premium-rate number"),
        ("400 800 8000", "CN", "a service number"),
        ("138 0013 800", "CN", "A digit is missing for a mobile number of China"),
        ("138 0013 8000 0", "CN", "a digit too many"),
        ("149 0000 0000", "CN", "no such mobile number in China"),
        ("07400 123456 ext 5", "GB", "not a mobile number yet"),
        ("138 0013 8000", "GB", "United Kingdom"),
        ("+44 7400 123456", "../etc/passwd", "country yet"),
    ],
)
def test_what_cannot_be_topped_up_is_told_by_what_it_is(
    house: House, visitor: Visitor, number: str, country: str, says: str
) -> None:
    before = house.orders()
    answer = visitor.post("/", {"number": number, "country": country})
    page = unescape(visitor.follow(answer).text)
    assert says in page
    assert house.orders() == before


def test_all_countries_can_be_picked_and_found_by_both_names(visitor: Visitor, house: House) -> None:
    rows = unescape(visitor.get("/countries").text)
    assert rows.count("<li>") > 230
    assert rows.index('value="CN"') < rows.index('value="AF"'), "where we sell comes first"
    assert 'data-also="united kingdom 英国"' in rows
    assert "英国 +44" in house.visitor("zh-CN").get("/countries").text
    start = visitor.get("/").text
    assert start.count('<option value="CN" selected>') == 1
    assert 'value="GB"' not in start


def test_the_language_switch_keeps_the_country(visitor: Visitor) -> None:
    fields = {"language": "zh-hans", "number": "07400 123456", "country": "GB"}
    page = visitor.follow(visitor.post("/language", fields))
    assert '<option value="GB" selected>英国 +44</option>' in page.text
    assert "暂不支持" in page.text
