"""Ids that say what they are, sort by time and carry their cell: `tu_` + 9 time + 3 cell + 12 random characters.

The alphabet is Crockford's base 32 in lower case, so an id is safe in a URL, a file name and over the telephone.
"""

from functools import lru_cache
from hashlib import blake2b

from refill.errors import NotFound

CELLS = 4096  # for ever: cells map to servers and stripes, the number of cells never changes
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]  # ten bits at a time is four times quicker than five


def base32(value: int, length: int) -> str:
    """The lowest `length` characters of `value` in base 32."""
    pairs = [_PAIRS[value >> shift & 1023] for shift in range(10 * ((length - 1) // 2), -1, -10)]
    return "".join(pairs)[-length:]


_CELL_TEXT = [base32(cell, 3) for cell in range(CELLS)]
_CELL_OF_TEXT = {text: cell for cell, text in enumerate(_CELL_TEXT)}


def make_id(prefix: str, cell: int, at_ms: int, chance: int) -> str:
    """`chance` supplies 60 random bits; `at_ms` is Unix time in milliseconds."""
    # `base32(chance, 12)` written out: ids are made by the thousand, and this takes a third of the time.
    high, low = chance >> 30, chance & 0x3FFFFFFF
    return (
        f"{prefix}_{_time_text(at_ms)}{_CELL_TEXT[cell]}{_PAIRS[high >> 20 & 1023]}{_PAIRS[high >> 10 & 1023]}"
        f"{_PAIRS[high & 1023]}{_PAIRS[low >> 20]}{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}"
    )


_last_time = (-1, "")


def _time_text(at_ms: int) -> str:
    global _last_time
    last_ms, text = _last_time
    if at_ms != last_ms:
        text = base32(at_ms, 9)
        _last_time = (at_ms, text)
    return text


def cell_of_id(id_: str) -> int:
    """The cell that an id carries. Raises NotFound for a text that is not one of our ids."""
    cell = _CELL_OF_TEXT.get(id_[-15:-12])
    if cell is None or id_[-25:-24] != "_":
        raise NotFound("There is no object with that id.")
    return cell


def time_of_id(id_: str) -> str:
    """The letters of an id that tell when it was made; they sort like time."""
    return id_[-24:-15]


@lru_cache(1 << 16)
def cell_of(text: str) -> int:
    """The cell in which a name (an MSISDN's index, an account's owner, a client's key) lives."""
    return int.from_bytes(blake2b(text.encode(), digest_size=2).digest()) % CELLS
