"""SQL that reads like prose: a named statement with `:name` parameters, compiled once to PostgreSQL's `$1`."""

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Any

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)\b")
_numbers = itertools.count()
_PLAIN = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz.:#/+,-"


class Statement:
    """One SQL statement; write `:name` for a parameter and cast it (`:ids::text[]`) where PostgreSQL cannot tell its type.

    Every statement registers itself, so that a test can prepare them all against the migrated schema.
    """

    every: "list[Statement]" = []

    def __init__(self, text: str) -> None:
        names: list[str] = []

        def place(match: re.Match[str]) -> str:
            if match[1] not in names:
                names.append(match[1])
            return f"${names.index(match[1]) + 1}"

        self.text = _PARAMETER.sub(place, text.strip())
        self.wire = self.text.encode()
        self.name = b"refill%d" % next(_numbers)  # of its preparation, on every connection
        self.names = tuple(names)
        Statement.every.append(self)

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The parameters in order; sequences become array literals, several times cheaper than a driver's dumper."""
        if len(parameters) != len(self.names):
            raise TypeError(f"this statement takes {self.names}, not {tuple(parameters)}")
        return [
            array(value) if isinstance(value, list | tuple) else value
            for value in map(parameters.__getitem__, self.names)
        ]


def array(values: Sequence[Any]) -> str:
    """A one-dimensional array literal of integers, text, booleans, times and None: [1, None] -> '{1,NULL}'."""
    # One state, one moment: told once. Whether it is, two looks tell nearly always.
    if len(values) > 1 and values[0] is values[-1] and len(set(map(id, values))) == 1:
        return "{" + ",".join([_element(values[0])] * len(values)) + "}"
    kinds = set(map(type, values))
    if kinds <= {int}:
        return "{" + ",".join(map(str, values)) + "}"
    if kinds == {datetime}:
        return "{" + ",".join([value.isoformat() for value in values]) + "}"
    if kinds == {int, NoneType}:
        return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"
    if kinds == {str}:
        text = ",".join(values)
        if _is_plain(text, len(values)):
            return "{" + text + "}"
    return "{" + ",".join(map(_element, values)) + "}"


def _is_plain(text: str, count: int) -> bool:
    """Ids, digits and states need no quotes; one look at the joined text decides for the whole array.

    An element that reads "null" would need them; ids have no u in their alphabet, so that look is short too.
    """
    if text.encode().translate(None, _PLAIN) or text.count(",") != count - 1:
        return False
    if ",," in text or text[:1] in ("", ",") or text[-1] == ",":
        return False
    return ("u" not in text and "U" not in text) or "null" not in text.lower()


def _element(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "t" if value else "f"
        case int():
            return str(value)
        case datetime():
            return f'"{value.isoformat()}"'
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case bytes():
            return f'"\\\\x{value.hex()}"'
    raise TypeError(f"{type(value).__name__} cannot stand in an array")
