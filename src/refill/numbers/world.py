"""Reads numbers of every country in their full form at once; whatever is not plainly a mobile number is left to the library.

The patterns are those of `phonenumbers`, put together once for each calling code when its first number comes.
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

_FULL = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164 §6.2.1: at most 15 digits
_NO_COUNTRY = "001"  # satellites and other networks without a country
_CODES = {str(code): regions for code, regions in COUNTRY_CODE_TO_REGION_CODE.items() if _NO_COUNTRY not in regions}
_HOLDS_NO_CREDIT = ("premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail")
_NOTHING = re.compile(r"(?!)")


class _Region(NamedTuple):
    """How the numbers of one region look, without the calling code."""

    leading: re.Pattern[str] | None  # begins so: it is this region's, whatever else it may be
    exists: re.Pattern[str]
    other: re.Pattern[str]  # exists, but can hold no credit
    mobile: re.Pattern[str]


class _Code(NamedTuple):
    """The regions that share a calling code, and what people put before a number at home."""

    before: re.Pattern[str]
    regions: tuple[_Region, ...]


def calling_code(digits: str) -> str:
    """The code that full digits begin with (no code begins with another): "44"."""
    return digits[:1] if digits[0] in "17" else digits[:2] if digits[:2] in _CODES else digits[:3]


# Whoever asks twice is answered from memory, as with every number that the library reads.
@lru_cache(maxsize=16_384)
def mobile(text: str) -> str | None:
    """The digits of "+447400123456" when it is plainly a mobile number in its full form; None: ask the library."""
    if _FULL.fullmatch(text) is None:
        return None
    code = calling_code(text[1:])
    if code not in _CODES:
        return None
    national, looks = text[1 + len(code) :], _looks(code)
    taken = looks.before.match(national)
    if taken is not None and taken.end():
        return None  # perhaps typed as one dials at home: the library knows what to take away
    for region in looks.regions:
        if region.leading is not None:
            if region.leading.match(national) is None:
                continue
        elif region.exists.fullmatch(national) is None:
            continue
        is_mobile = region.mobile.fullmatch(national) and not region.other.fullmatch(national)
        return text[1:] if is_mobile else None
    return None


@cache
def _looks(code: str) -> _Code:
    main, *_ = _CODES[code]
    before = _metadata(main).national_prefix_for_parsing
    regions = tuple(_region(_metadata(region)) for region in _CODES[code])
    return _Code(re.compile(before) if before else _NOTHING, regions)


def _metadata(region: str) -> Any:
    return PhoneMetadata.metadata_for_region(region)


def _region(metadata: Any) -> _Region:
    others = [getattr(metadata, kind) for kind in _HOLDS_NO_CREDIT]
    kinds = [*others, metadata.fixed_line, metadata.mobile]
    general = _pattern([metadata.general_desc])
    return _Region(
        re.compile(metadata.leading_digits) if metadata.leading_digits else None,
        re.compile(f"(?={general}\\Z){_pattern(kinds)}"),
        re.compile(_pattern(others)),
        re.compile(f"(?={general}\\Z){_pattern([metadata.mobile])}"),
    )


def _pattern(kinds: Iterable[Any]) -> str:
    """Matches what one of these kinds matches, each with the lengths that it may have."""
    some = []
    for kind in kinds:
        if kind is None or kind.national_number_pattern is None:
            continue
        lengths = [length for length in kind.possible_length if length > 0]
        as_long = "|".join(f"[0-9]{{{length}}}" for length in lengths)
        pattern = f"(?:{kind.national_number_pattern})"
        some.append(f"(?=(?:{as_long})\\Z){pattern}" if lengths else pattern)
    return f"(?:{'|'.join(some)})" if some else "(?!)"
