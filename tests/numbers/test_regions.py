"""The packed table of regions says what the library says, and costs nothing."""

from random import Random

import pytest
from phonenumbers import geocoder, parse

from refill.numbers import Msisdn
from refill.numbers.regions import region


@pytest.mark.parametrize(("language", "ours"), [("zh", "zh-hans"), ("en", "en")])
def test_it_agrees_with_the_library(language: str, ours: str) -> None:
    dice = Random(20261122)
    for _ in range(2_000):
        digits = f"861{dice.randrange(3, 10)}{dice.randrange(10**9):09}"
        theirs = geocoder.description_for_number(parse("+" + digits), language)
        assert region(Msisdn(digits), ours) == ("" if theirs in ("中国", "China") else theirs), digits[:9]


def test_a_number_of_another_country_has_no_region() -> None:
    assert region(Msisdn("447400123456"), "en") == ""
