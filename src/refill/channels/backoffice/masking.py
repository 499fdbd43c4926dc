"""Other people's messages made readable for staff, with every telephone number and payment card masked."""

import re
from urllib.parse import unquote_plus

from refill.numbers import without_cards

# A Chinese mobile number inside other text; not part of a longer row of digits, such as a gateway's order number.
_NUMBER = re.compile(r"(?<![0-9])((?:\+?86)?1[3-9][0-9])[ -]?[0-9]{4}[ -]?([0-9]{4})(?![0-9])")
_FORM = re.compile(r"[\w.]+=[^\s]*")
LONGEST_MESSAGE = 4_000


def readable(raw: bytes) -> list[str]:
    """A raw message line by line, one field each where it is a form."""
    text = raw[:LONGEST_MESSAGE].decode("utf-8", "replace").replace("\0", "\ufffd")
    lines = [unquote_plus(field) for field in text.split("&")] if _FORM.fullmatch(text) else text.splitlines()
    return [mask(line) for line in lines]


def mask(text: str) -> str:
    """The text with all Chinese mobile numbers and all numbers of payment cards masked."""
    return without_cards(_NUMBER.sub(r"\1****\2", text))
