"""Reading a supplier's numbers: exactly, in their own digits, and never as a float."""

import pytest

from refill.errors import NotAnAmount
from refill.money import Money
from refill.operators.supplier import Number, exactly, json_value, nearly


def test_a_json_number_keeps_its_digits() -> None:
    said = json_value(b'{"cost": 4.35, "id": 28805, "text": "4.35", "tail": 0.10, "yes": true}')
    assert said == {"cost": "4.35", "id": "28805", "text": "4.35", "tail": "0.10", "yes": True}
    assert isinstance(said["cost"], Number)
    assert not isinstance(said["text"], Number)


@pytest.mark.parametrize("body", [b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":-Infinity}', b"\xff", b"", b'{"a":1'])
def test_json_that_nobody_should_send_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        json_value(body)


@pytest.mark.parametrize(
    ("number", "currency", "minor"),
    [("5", "USD", 500), ("5.0", "USD", 500), ("5.2500", "USD", 525), ("0.10", "USD", 10), ("500.0", "JPY", 500)],
)
def test_an_amount_is_read_exactly(number: str, currency: str, minor: int) -> None:
    assert exactly(number, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("number", "currency"),
    [
        ("4.9985", "GBP"),
        ("1e2", "USD"),
        ("-1", "USD"),
        ("0", "USD"),
        ("0.00", "USD"),
        (".", "USD"),
        ("５", "USD"),
        ("9" * 5000, "USD"),
        (True, "USD"),
        (None, "USD"),
        (5.0, "USD"),
        ("5", "usd"),
        ("5", None),
        ("1.5", "JPY"),
    ],
)
def test_what_is_no_exact_amount_is_refused(number: object, currency: object) -> None:
    with pytest.raises(NotAnAmount):
        exactly(number, currency)


@pytest.mark.parametrize(
    ("number", "minor"),
    [("0", 0), ("-12.50", -1250), ("5109.53732", 510954), ("0.005", 0), ("0.015", 2), ("0.0150001", 2), ("7", 700)],
)
def test_a_cost_finer_than_a_cent_is_rounded_half_to_even(number: str, minor: int) -> None:
    assert nearly(number, "USD") == Money(minor, "USD")


@pytest.mark.parametrize(
    "number", ["", "-", "--1", "1e2", ".5", "1,5", "５", "²", "1.2.3", " 1", "1" * 50, None, True, 1.5]
)
def test_what_is_no_cost_is_refused(number: object) -> None:
    with pytest.raises(NotAnAmount):
        nearly(number, "USD")
    with pytest.raises(NotAnAmount):
        nearly("1", "usd")
