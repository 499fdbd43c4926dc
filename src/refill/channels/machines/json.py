"""Strict JSON: every field once, known, of its type and within limits; what is wrong is said in a sentence."""

import json
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from refill.errors import BadInput

BODY_LIMIT_BYTES = 1_000_000
DEPTH_LIMIT = 16
T = TypeVar("T")

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")
_PLAIN_NAME = re.compile(r"[a-z_]{1,32}")
_WRONG_TYPE = re.compile(r"Expected `(\w+)[^`]*`, got `(\w+)`(?: - at `\$([^`]*)`)?")
_MISSING = re.compile(r"Object missing required field `(\w+)`(?: - at `\$([^`]*)`)?")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$([^`]*)`)?", re.DOTALL)
_LENGTH = re.compile(r"Expected `(array|str)` of length <= ([0-9]+)(?: - at `\$([^`]*)`)?")
_HERE = {"str": "a JSON string", "array": "a JSON array", "object": "a JSON object", "bool": "true or false"}
_CAME = {
    "int": "a number",
    "float": "a number",
    "null": "null",
    "bool": "true or false",
    "str": "a string",
    "array": "an array",
    "object": "an object",
}


class NotJson(BadInput):
    """The body is not the JSON document that this address reads."""

    code = "bad_request"
    status = 400


class Reader(Generic[T]):
    """Reads documents of one shape. All values in it are strings, in objects and arrays; nothing else is accepted.

    `strings(document)` is how many strings, names of fields included, a body of exactly this content holds. Comparing
    that with the quotation marks in the body finds a field given twice without walking the document a second time;
    without it every document is walked twice.
    """

    def __init__(self, shape: type[T], strings: Callable[[T], int] | None = None) -> None:
        self._decode = msgspec.json.Decoder(shape).decode
        self._strings = strings

    def read(self, body: bytes) -> T:
        """Raises NotJson."""
        try:
            document: T = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as broken:
            # A field given twice is the better explanation where both are true.
            _refuse_twice(body)
            raise NotJson(_sentence(broken)) from None
        if b"\\" in body:
            # Escapes are legal and rare; only here can a string hold NUL, or hide a quotation mark.
            _refuse_twice(body)
        elif self._strings is None or body.count(b'"') != 2 * self._strings(document):
            _refuse_twice(body)
        return document


def _refuse_twice(body: bytes) -> None:
    """Walks the document slowly and refuses what msgspec lets pass: a field given twice, NUL, half a character."""
    if _too_deep(body):
        raise NotJson(f"The JSON document is nested deeper than {DEPTH_LIMIT} levels.")
    try:
        json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return  # msgspec names what is wrong
    if b"\\" in body:
        for text in _texts(json.loads(body, parse_int=str, parse_float=str)):
            if "\0" in text:
                raise NotJson("A string contains the character U+0000, which no field may hold.")
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                raise NotJson("A string contains half of a surrogate pair, which is not a character.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotJson(f"The field {_name(twice)} is given twice; it is not clear which one is meant.")
    return fields


def _texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [text for element in value for text in _texts(element)]
        case dict():
            return [text for pair in value.items() for element in pair for text in _texts(element)]
    return []


def _too_deep(body: bytes) -> bool:
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_LIMIT:
            return True
    return False


def _name(field: str) -> str:
    return f'"{field}"' if _PLAIN_NAME.fullmatch(field) else "with that name"


def _field(path: str | None) -> str:
    return f'The field "{path.lstrip(".")}"' if path else "The body"


def _sentence(broken: Exception) -> str:
    said = str(broken)
    if isinstance(broken, UnicodeDecodeError):
        return "The body is not UTF-8."
    if isinstance(broken, RecursionError):
        return f"The JSON document is nested deeper than {DEPTH_LIMIT} levels."
    if match := _LENGTH.match(said):
        return (
            f"{_field(match[3])} holds more than {match[2]} rows."
            if match[1] == "array"
            else (f"{_field(match[3])} is longer than {match[2]} characters.")
        )
    if match := _WRONG_TYPE.match(said):
        return f"{_field(match[3])} must be {_HERE.get(match[1], match[1])}; {_CAME.get(match[2], match[2])} came."
    if match := _MISSING.match(said):
        return f'The field "{match[1]}" is missing{f" in {match[2]}" if match[2] else ""}.'
    if match := _UNKNOWN.match(said):
        return f"The field {_name(match[1])} is not known here; leave it out."
    if "range" in said:
        return f"{_field(said.partition('`$')[2].rstrip('`'))} is a number out of range; write a JSON string."
    return "The body is not a JSON document; check quotes, commas and brackets."
