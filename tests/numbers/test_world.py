"""Numbers of every country are read at once where they are plainly mobile numbers, and never otherwise than the library does."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from refill.errors import NotANumber
from refill.numbers import NotMobile, fast_msisdn, msisdn, typed_msisdn
from refill.numbers.world import mobile

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.TOLL_FREE, PhoneNumberType.PREMIUM_RATE)


def as_the_library_reads(sent: str) -> str | None:
    """What the library alone makes of it: the digits of a number that can hold credit."""
    try:
        number = phonenumbers.parse(sent, None)
    except phonenumbers.NumberParseException:
        return None
    mobile_kinds = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
    if not phonenumbers.is_valid_number(number) or phonenumbers.number_type(number) not in mobile_kinds:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]


def example(region: str, kind: int) -> str | None:
    number = phonenumbers.example_number_for_type(region, kind)
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) if number else None


def test_every_country_has_its_mobile_numbers_read() -> None:
    sent = [text for region in REGIONS if (text := example(region, PhoneNumberType.MOBILE))]
    assert len(sent) > 200
    assert [text for text in sent if msisdn(text).e164 != text] == []
    quick = [text for text in sent if fast_msisdn(text)]
    assert len(quick) >= len(sent) - 5, "nearly all of them without asking the library"


@given(
    st.sampled_from(REGIONS),
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 9)), max_size=3),
)
def test_the_quick_reader_never_reads_what_the_library_would_not(
    region: str, kind: int, slips: list[tuple[int, int]]
) -> None:
    sent = list(example(region, kind) or "+8613800138000")
    for place, digit in slips:
        sent[1 + place % (len(sent) - 1)] = str(digit)
    read = mobile("".join(sent))
    assert read is None or read == as_the_library_reads("".join(sent))


@given(st.text(alphabet="+0123456789", max_size=18))
def test_digits_that_mean_nothing_are_left_to_the_library(sent: str) -> None:
    read = mobile(sent)
    assert read is None or read == as_the_library_reads(sent)


@pytest.mark.parametrize(
    "sent", ["+447400123456\n", "+44７400123456", "447400123456", "+44 7400 123456", "+٤٤7400123456"]
)
def test_the_quick_reader_takes_the_full_form_only(sent: str) -> None:
    assert fast_msisdn(sent) is None


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("+442071838750", "landline"),
        ("+861012345678", "landline"),
        ("+449098790000", "premium"),
        ("+448008081234", "service"),
        ("+864008008000", "service"),
        ("+4474001234", "too_short"),
        ("+44740012345678", "too_long"),
        ("+8614900000000", "no_such"),
        ("+447012345678", "other"),
    ],
)
def test_what_can_hold_no_credit_is_refused_by_what_it_is(sent: str, kind: str) -> None:
    for read in (msisdn, typed_msisdn):
        with pytest.raises(NotMobile) as refusal:
            read(sent)
        assert refusal.value.kind == kind
        assert sent[4:] not in str(refusal.value)


@pytest.mark.parametrize(
    ("typed", "region", "means"),
    [
        ("07400 123456", "GB", "447400123456"),
        ("+44 (0)7400 123456", "CN", "447400123456"),
        ("0044 7400 123456", "GB", "447400123456"),
        ("٠٧٤٠٠ ١٢٣٤٥٦", "GB", "447400123456"),
        ("０７４００ １２３４５６\n", "GB", "447400123456"),
        ("7400123456", "GB", "447400123456"),
        ("0138 0013 8000", "CN", "8613800138000"),
        ("+86 138 0013 8000", "GB", "8613800138000"),
        ("(201) 555-0123", "US", "12015550123"),
        ("98765 43210", "IN", "919876543210"),
        ("09876543210", "IN", "919876543210"),
        ("01 23 45 67 89", "CI", "2250123456789"),
    ],
)
def test_a_person_types_a_number_as_one_dials_it_at_home(typed: str, region: str, means: str) -> None:
    assert typed_msisdn(typed, region).digits == means


@pytest.mark.parametrize(
    "typed", ["07400 123456;ext=5", "07400 123456 ext 5", "07400 123456#5", "+44+7400123456", "tel:+447400123456"]
)
def test_an_extension_is_nobodys_phone(typed: str) -> None:
    with pytest.raises(NotANumber):
        typed_msisdn(typed, "GB")


def test_a_number_is_written_as_in_its_country() -> None:
    assert msisdn("+12015550123").grouped() == "+1 201-555-0123"
    assert msisdn("+919876543210").grouped() == "+91 98765 43210"
    assert msisdn("+8613800138000").grouped() == "138 0013 8000"
    assert msisdn("+12423591234").country == "BS"
