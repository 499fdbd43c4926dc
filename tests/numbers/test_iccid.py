"""A mistyped serial number is noticed before it costs anybody a card."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from refill.numbers import iccid, imsi
from refill.numbers.iccid import NotAnIccid, check_digit
from refill.numbers.imsi import NotAnImsi, country_code


@given(st.from_regex(r"89[0-9]{16,17}", fullmatch=True))
def test_the_check_digit_is_luhns(body: str) -> None:
    assert check_digit(body) == luhn.calc_check_digit(body)
    assert iccid(body + check_digit(body)) == body + check_digit(body)


@given(st.integers(2, 18), st.integers(1, 9))
def test_one_wrong_digit_is_noticed(place: int, off: int) -> None:
    good = "8986001234567890" + "12" + check_digit("898600123456789012")
    wrong = good[:place] + str((int(good[place]) + off) % 10) + good[place + 1 :]
    with pytest.raises(NotAnIccid):
        iccid(wrong)


@pytest.mark.parametrize(
    "text", ["", "89", "8" * 19, "8986001234567890127\n", "٨٩" + "0" * 17, "8.98600E+18", "89" * 11]
)
def test_what_is_no_serial_number_is_refused(text: str) -> None:
    with pytest.raises(NotAnIccid):
        iccid(text)


def test_spaces_as_printed_are_read() -> None:
    digits = "898600123456789012" + check_digit("898600123456789012")
    assert iccid(f"{digits[:4]} {digits[4:8]} {digits[8:]}") == digits


def test_an_identity_has_fourteen_or_fifteen_digits() -> None:
    assert country_code(imsi("460001234567890")) == "460"
    for wrong in ("", "46000123456789012", "46000", "160001234567890", "46000123456789x", "460001234567890\n"):
        with pytest.raises(NotAnImsi):
            imsi(wrong)
