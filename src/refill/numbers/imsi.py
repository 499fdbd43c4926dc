"""The identity of a subscriber on the radio network: country, network and subscriber, 14 or 15 digits (ITU-T E.212)."""

import re

from refill.errors import BadInput


class NotAnImsi(BadInput):
    """This is not a subscriber identity."""

    code = "not_an_imsi"


def imsi(text: str) -> str:
    """Reads an identity such as "460001234567890". Raises NotAnImsi, which never repeats it."""
    if not re.fullmatch(r"[2-9][0-9]{13,14}", text):
        raise NotAnImsi("A subscriber identity (IMSI) has 14 or 15 digits and starts with a country code.")
    return text


def country_code(text: str) -> str:
    """The mobile country code, the first three digits: "460" is China."""
    return text[:3]
