"""Which numbers look like a payment card's, and which long numbers of honest people do not."""

import uuid
from random import Random

import pytest

from refill.numbers.pan import luhn, names_a_card, without_cards


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111",
        "4222222222222",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "order 5555555555554444, please",
        "card:2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "3782-822463-10005",
        "30569309025904",
        "38520000023237",
        "3530111333300000",
        "6011111111111117",
        "6200000000000005",
        "6200 0000 0000 0000 000",
        "620000 0000000000000",
        "6200000000000000000",
    ],
)
def test_a_card_is_seen_as_people_write_it(text: str) -> None:
    assert names_a_card(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "R-2026-000123",
        "4111111111111112",  # its check digit is wrong
        "2026112210151234",  # a day and a time
        "1763806512345",  # milliseconds since 1970
        "1858459212345678902",  # a snowflake
        "+86 138 0013 8000",
        "89860012345678901234",
        "x4111111111111111",  # inside a longer word, as in a hash
        "4111111111111111a",
        "41111111111111111111",
        "4111-1111 1111-1111",
        "44444444-4444-4444-4444-444444444448",
    ],
)
def test_other_numbers_pass(text: str) -> None:
    assert not names_a_card(text)


def test_no_uuid_is_taken_for_a_card() -> None:
    dice = Random(1)
    for _ in range(2000):
        digits_only = "".join(dice.choice("0123456789") for _ in range(32))
        assert not names_a_card(str(uuid.UUID(digits_only)))


def test_the_check_digit_sees_one_wrong_digit() -> None:
    assert luhn("79927398713")
    assert not any(luhn(f"7992739871{last}") for last in "012456789")


def test_in_what_people_write_only_the_card_is_masked() -> None:
    text = "call 2026112210151234, paid with 4111 1111 1111 1111 (3782-822463-10005)"
    assert without_cards(text) == "call 2026112210151234, paid with 4111****11 (3782****05)"
