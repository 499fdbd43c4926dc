"""SQL that reads like prose: a named statement with `:name` parameters, compiled once to PostgreSQL's `$1`."""

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)\b")
_numbers = itertools.count()
_PLAIN = re.compile(r"[A-Za-z0-9_.:#/+,\-]+")


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
    if len(values) > 1 and len(set(map(id, values))) == 1:  # one state, one moment: told once
        return "{" + ",".join([_element(values[0])] * len(values)) + "}"
    kinds = set(map(type, values))
    if kinds <= {int}:
        return "{" + ",".join(map(str, values)) + "}"
    if kinds == {str}:
        text = ",".join(values)
        # Ids, digits and states need no quotes; one look at the joined text decides for the whole array.
        plain = _PLAIN.fullmatch(text) and ",," not in text and text[0] != "," and text[-1] != ","
        if plain and text.count(",") == len(values) - 1 and "null" not in text.lower():
            return "{" + text + "}"
    return "{" + ",".join(map(_element, values)) + "}"


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
