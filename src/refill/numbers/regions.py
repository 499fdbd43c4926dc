"""Where a Chinese number was issued, from a packed table: the library's own takes 190 MB and stalls us for seconds.

`python -m refill.numbers.regions` packs `regions.bin` again from the geocoding data of `phonenumbers`
(libphonenumber, Apache-2.0). Ranges of the first seven national digits are kept as their starts and a place each.
"""

import json
import re
import zlib
from array import array
from bisect import bisect_right
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path

from refill.numbers.msisdn import Msisdn

PACKED = Path(__file__).with_name("regions.bin")
SHOWN = 7  # national digits that tell the region
NOWHERE = 0


@cache
def _table() -> "tuple[array[int], array[int], list[list[str]]]":
    """Starts of ranges, the place of each, and the places' names in Chinese and English; under a megabyte."""
    length, packed = PACKED.read_bytes().split(b"\n", 1)
    raw = zlib.decompress(packed)
    size = int(length)
    names = json.loads(raw[:size])
    count = (len(raw) - size) // 6
    starts, places = array("I"), array("H")
    starts.frombytes(raw[size : size + 4 * count])
    places.frombytes(raw[size + 4 * count :])
    return starts, places, names


def region(msisdn: Msisdn, language: str = "zh") -> str:
    """The place in words, "北京市" or "Beijing"; empty when nobody knows more than the country."""
    if not re.fullmatch(r"861[0-9]{10}", msisdn.digits):
        return ""
    starts, places, names = _table()
    found = bisect_right(starts, int(msisdn.digits[2 : 2 + SHOWN])) - 1
    if found < 0 or places[found] == NOWHERE:
        return ""
    return names[places[found] - 1][1 if language == "en" else 0]


def pack() -> None:
    """Writes the table anew; little-endian, as every machine that we run on."""
    import pkgutil

    from phonenumbers import geodata

    known: dict[str, tuple[str, str]] = {}
    for module in pkgutil.iter_modules(geodata.__path__):
        if module.name.startswith("data"):
            for prefix, said in import_module(f"phonenumbers.geodata.{module.name}").data.items():
                if re.match("861[3-9]", prefix) and "zh" in said:
                    known[prefix[2:]] = (said["zh"], said.get("en", said["zh"]))
    names = sorted(set(known.values()))
    number = {name: place for place, name in enumerate(names, 1)}
    by_start = [NOWHERE] * 10**SHOWN
    for prefix in sorted(known, key=len):  # a longer prefix knows better and overwrites
        width = 10 ** (SHOWN - len(prefix))
        first = int(prefix) * width
        by_start[first : first + width] = [number[known[prefix]]] * width
    changes = [0, *(at for at, (before, now) in enumerate(pairwise(by_start), 1) if before != now)]
    said = json.dumps(names, ensure_ascii=False, separators=(",", ":")).encode()
    raw = said + array("I", changes).tobytes() + array("H", [by_start[at] for at in changes]).tobytes()
    PACKED.write_bytes(f"{len(said)}\n".encode() + zlib.compress(raw, 9))


if __name__ == "__main__":
    pack()
