"""Money is read exactly, or refused by name; it never passes through a float."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refill.errors import NotAnAmount
from refill.money import EXPONENT, MAX_MINOR, Money, amount, decimal_text, money, share

READ = """
    49.80 CNY            4980
    49.8 CNY             4980
    50 CNY               5000
    0.01 CNY             1
    500 JPY              500
    1.250 KWD            1250
    1.25 KWD             1250
    9999999999999.99 CNY 999999999999999
"""


@pytest.mark.parametrize("line", READ.strip().splitlines())
def test_a_decimal_string_is_read_into_whole_minor_units(line: str) -> None:
    *text, minor = line.split()
    assert money(" ".join(text)) == Money(int(minor), text[1])


REFUSED = [
    "", " ", "0", "0.00", "-1", "+1", "1.", ".5", "01", "00.50", "1,000.00", "1 000", " 50", "50 ", "50\n", "1e3", "1E+1000000",
    "NaN", "Infinity", "0x10", "１２", "٥٠", "49.801", "9" * 16, "9" * 5000, "50.00.00", "$50", "50元", "\u0000", "1_000",
    "10000000000000.00",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text)[:20])
def test_every_other_shape_is_refused(text: str) -> None:
    with pytest.raises(NotAnAmount):
        amount(text, "CNY")


@pytest.mark.parametrize("value", [50, 49.8, True, None, ["50"], b"50", 1e400])
def test_a_json_number_is_no_amount(value: object) -> None:
    with pytest.raises(NotAnAmount, match="decimal string"):
        amount(value, "CNY")


@pytest.mark.parametrize("currency", ["cny", "XXX", "CN", "", "CNYY", None, 156, "ＣＮＹ", "C" * 1000])
def test_an_unknown_currency_is_refused_and_not_repeated_at_length(currency: object) -> None:
    with pytest.raises(NotAnAmount) as refusal:
        amount("50.00", currency)
    assert len(str(refusal.value)) < 100


@pytest.mark.parametrize(("text", "currency"), [("500.00", "JPY"), ("1.2505", "KWD"), ("0.001", "CNY")])
def test_a_currency_has_so_many_decimals_and_no_more(text: str, currency: str) -> None:
    with pytest.raises(NotAnAmount, match="decimals"):
        amount(text, currency)


@given(st.integers(1, MAX_MINOR), st.sampled_from(sorted(EXPONENT)))
def test_what_is_written_is_read_back(minor: int, currency: str) -> None:
    sum_ = Money(minor, currency)
    assert money(str(sum_)) == sum_


def test_a_debt_is_written_with_its_sign() -> None:
    assert decimal_text(-5, "CNY") == "-0.05"
    assert decimal_text(-500, "JPY") == "-500"
    assert Money(1250, "KWD").text() == "1.250"


def test_only_money_of_one_currency_is_added_and_compared() -> None:
    assert money("1 CNY") + money("2.50 CNY") == money("3.50 CNY")
    assert money("1 CNY") - money("2.50 CNY") == Money(-150, "CNY")
    assert money("1 CNY") < money("2 CNY") <= money("2 CNY")
    for mixed in (
        lambda: money("1 CNY") + money("1 USD"),
        lambda: money("1 CNY") - money("1 USD"),
        lambda: money("1 CNY") < money("1 USD"),
        lambda: money("1 CNY") <= money("1 USD"),
    ):
        with pytest.raises(NotAnAmount, match="USD"):
            mixed()


SHARES = """
    price   delivered   of      earned
    4980    2500        5000    2490
    4980    5000        5000    4980
    4980    0           5000    0
    5       1           2       2
    7       1           2       4
    100     1           3       33
    100     2           3       67
"""


@pytest.mark.parametrize("line", SHARES.strip().splitlines()[1:])
def test_a_share_is_rounded_half_to_even(line: str) -> None:
    price, delivered, of, earned = map(int, line.split())
    assert share(price, delivered, of) == earned


@given(st.integers(0, MAX_MINOR), st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_share_and_its_rest_are_the_whole(whole: int, part: int, of: int) -> None:
    part = min(part, of)
    assert 0 <= share(whole, part, of) <= whole
    assert abs(share(whole, part, of) * of - whole * part) * 2 <= of
