"""Numbers of payment cards, which have no place with us: recognised, so that they are refused or made unreadable."""

import re

# As people write one, alone or among other words: unbroken, in fours, or as American Express (4-6-5) and UnionPay (6-13)
# print it. A UUID (8-4-4-4-12) and digits inside a longer word are none of these.
_WRITTEN = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?:\1[0-9]{1,3})?"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}|[0-9]{6}[ -][0-9]{13})(?![0-9A-Za-z])"
)
# Whose it would be, and how long theirs are: Visa, Mastercard (two ranges), American Express, Diners Club, JCB, Discover,
# UnionPay. Without this, one in ten of all long numbers would look like a card's.
_ISSUED = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
    r"|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[689][0-9])[0-9]{11}|35(?:2[89]|[3-8][0-9])[0-9]{12}"
    r"|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}|62[0-9]{14,17}"
)


def names_a_card(text: str) -> bool:
    """Does a number in `text` look like a payment card's: issuer, length and check digit (ISO/IEC 7812-1)?"""
    return any(map(_is_a_cards, _WRITTEN.finditer(text)))


def without_cards(text: str) -> str:
    """The text with every such number masked: "paid with 4111****11"."""
    return _WRITTEN.sub(lambda found: f"{found[0][:4]}****{found[0][-2:]}" if _is_a_cards(found) else found[0], text)


def _is_a_cards(written: re.Match[str]) -> bool:
    digits = written[0].replace(" ", "").replace("-", "")
    return _ISSUED.fullmatch(digits) is not None and luhn(digits)


def luhn(digits: str) -> bool:
    """Does the last digit check the others (ISO/IEC 7812-1, annex B)?"""
    doubled = [int(digit) * (2 if n % 2 else 1) for n, digit in enumerate(reversed(digits))]
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0
