"""The serial number of a SIM card or profile: 19 or 20 digits, the last one a check digit (ITU-T E.118)."""

import re

from refill.errors import BadInput


class NotAnIccid(BadInput):
    """This is not a card's serial number."""

    code = "not_an_iccid"


def iccid(text: str) -> str:
    """Reads a serial number as printed, spaces allowed: "8986 0012 3456 7890 1236". Raises NotAnIccid."""
    digits = text.replace(" ", "")
    if not re.fullmatch(r"89[0-9]{17,18}", digits):
        raise NotAnIccid("A card's serial number (ICCID) has 19 or 20 digits and starts with 89.")
    if check_digit(digits[:-1]) != digits[-1]:
        raise NotAnIccid("The serial number's last digit does not fit the others; one of them was mistyped.")
    return digits


def check_digit(body: str) -> str:
    """The digit that Luhn's formula appends to `body` (ISO/IEC 7812-1 annex B)."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = ord(digit) - 48
        if place % 2 == 0:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return str(-total % 10)
