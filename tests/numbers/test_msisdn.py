"""A program's number is read strictly, a person's tolerantly, and nobody's is repeated in an error."""

from contextlib import suppress

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refill.errors import NotANumber
from refill.numbers import Msisdn, fast_msisdn, hint, msisdn, region, typed_msisdn
from refill.numbers.plan import CHINA, VIRTUAL, is_virtual


@pytest.mark.parametrize(
    "sent", ["+8613800138000", "8613800138000", "13800138000", "138 0013 8000", "138-0013-8000", "+86 138 0013 8000"]
)
def test_one_number_has_many_spellings_and_one_meaning(sent: str) -> None:
    assert msisdn(sent) == Msisdn("8613800138000")


@pytest.mark.parametrize(
    "sent",
    [
        "",
        " ",
        "+",
        "١٣٨٠٠١٣٨٠٠٠",
        "１３８００１３８０００",
        "13800138000\n",
        "\n13800138000",
        "13800138000;ext=5",
        "13800138000 ext 5",
        "+8613800138000x5",
        "138\u00a00013\u00a08000",
        "138\u200b00138000",
        "138  0013 8000",
        "13800138000 ",
        "+86+13800138000",
        "++8613800138000",
        "1380013800",
        "138001380000",
        "23800138000",
        "14000138000",
        "12345",
        "110",
        "+8601012345678",
        "010 1234 5678",
        "0" * 24,
        "1" * 5000,
        "1.38E+10",
        "tel:+8613800138000",
        "\x00",
        "\ud800",
        "+999123456789",
    ],
)
def test_what_is_no_mobile_number_is_refused_and_not_repeated(sent: str) -> None:
    with pytest.raises(NotANumber) as refusal:
        msisdn(sent)
    assert len(sent) < 4 or sent not in str(refusal.value)


def test_a_plus_that_became_a_space_is_explained() -> None:
    with pytest.raises(NotANumber, match="%2B"):
        msisdn(" 8613800138000")


@pytest.mark.parametrize("sent", [13800138000, None, True, 1.38e10, ["+8613800138000"]])
def test_a_number_is_a_string(sent: object) -> None:
    with pytest.raises(NotANumber, match="string"):
        msisdn(sent)


@pytest.mark.parametrize(
    "typed",
    [
        "13800138000",
        " 138 0013 8000 ",
        "138\u00a00013\u00a08000",
        "\u202d138 0013 8000\u202c",
        "\u200e138\u200b0013\ufeff8000",
        "１３８００１３８０００",
        "138\u30000013 8000",
        "+86(138)0013-8000",
        "138–0013—8000",
        "0086 138 0013 8000",
        "١٣٨٠٠١٣٨٠٠٠",
        "138.0013.8000",
        "13800138000\r\n",
    ],
)
def test_a_person_may_type_or_paste_it_in_any_way(typed: str) -> None:
    assert typed_msisdn(typed) == Msisdn("8613800138000")


@pytest.mark.parametrize(
    "typed", ["", "my number", "138 0013 800", "138 0013 8000 0", "1" * 300, "½", "138 0013 8000 a"]
)
def test_a_persons_mistake_is_answered_with_a_sentence(typed: str) -> None:
    with pytest.raises(NotANumber):
        typed_msisdn(typed)


def test_numbers_of_other_countries_are_read_with_their_code() -> None:
    british = msisdn("+447400123456")
    assert (british.digits, british.country) == ("447400123456", "GB")
    assert british.grouped() == "+44 7400 123456"
    assert british.masked() == "+44****3456"
    assert msisdn("07400 123456", region="GB") == british


def test_a_number_is_read_aloud_grouped_and_logged_masked() -> None:
    number = msisdn("13800138000")
    assert number.grouped() == "138 0013 8000"
    assert number.masked() == "138****8000"
    assert number.e164 == "+8613800138000"
    assert number.country == "CN"


def test_a_number_does_not_slip_into_a_log_by_being_printed() -> None:
    number = msisdn("13800138000")
    assert "0013" not in f"{number} {number!r} {[number]}"


@pytest.mark.parametrize("prefix", sorted(set(CHINA) | VIRTUAL))
def test_the_fast_lane_reads_only_what_the_library_would_read_too(prefix: str) -> None:
    for rest in ("00000000", "20138000", "99999999"):
        assert fast_msisdn(f"+86{prefix}{rest}") == Msisdn(f"86{prefix}{rest}")
        assert phonenumbers.is_valid_number(phonenumbers.parse(f"+86{prefix}{rest}"))


@given(st.from_regex(r"\+?861[3-9][0-9]{9}\n?", fullmatch=True))
def test_the_fast_lane_and_the_slow_one_agree(sent: str) -> None:
    fast = fast_msisdn(sent)
    parsed = phonenumbers.parse("+" + sent.lstrip("+").rstrip("\n"))
    assert fast is None or (phonenumbers.is_valid_number(parsed) and fast.digits == sent.lstrip("+"))


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_a_refusal(sent: str) -> None:
    for read in (msisdn, typed_msisdn):
        with suppress(NotANumber):
            assert read(sent).digits.isascii()


@pytest.mark.parametrize(
    ("number", "operator"),
    [
        ("13800138000", "cmcc"),
        ("13000138000", "cunicom"),
        ("18900138000", "ctcc"),
        ("19200138000", "cbn"),
        ("16200138000", None),
        ("16500138000", None),
        ("17000138000", None),
    ],
)
def test_the_prefix_hints_at_the_operator_and_says_nothing_for_virtual_ones(number: str, operator: str | None) -> None:
    assert hint(msisdn(number).digits) == operator
    assert is_virtual("86" + number) is (operator is None)


def test_foreign_numbers_have_no_hint() -> None:
    assert hint("447400123456") is None
    assert not is_virtual("447400123456")


def test_the_region_is_told_in_the_readers_language() -> None:
    assert region(Msisdn("8613800138000"), "zh") == "北京市"
    assert "Beijing" in region(Msisdn("8613800138000"), "en")
