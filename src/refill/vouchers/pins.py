"""The PIN under a scratch-off field, and the codes like it: read as people type them, never shown, kept as a keyed hash."""

import re
import unicodedata
from dataclasses import dataclass

from refill.errors import BadInput
from refill.vault import Vault
from refill.world import World

DIGITS = 16
_LONGEST = 64
# Spaces, dots and dashes of every kind, and the marks without a shape that come along with a pasted text.
_BETWEEN = re.compile(r"[\s·.\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff-]+")
_CODE = re.compile(r"[0-9a-z]{16,26}")


class NotAPin(BadInput):
    """What was typed has not the shape of a voucher's PIN."""

    code = "not_a_pin"


@dataclass(frozen=True, slots=True, repr=False)
class Pin:
    """A voucher's secret in plain letters; it shows itself to nobody who does not ask for it by name."""

    plain: str

    def __repr__(self) -> str:
        return "Pin(…)"

    def grouped(self) -> str:
        """As it is printed: 0123-4567-8901-2345."""
        return "-".join(self.plain[at : at + 4] for at in range(0, len(self.plain), 4))

    def digest(self, vault: Vault) -> str:
        """What we keep of it: a keyed hash, 32 hexadecimal digits."""
        return vault.digest("voucher", self.plain.encode())


def pin(typed: str) -> Pin:
    """Reads a PIN of 16 digits, or a claim code of 16 to 26 letters and digits, in groups or not. Raises NotAPin."""
    plain = _BETWEEN.sub("", unicodedata.normalize("NFKC", typed)).lower() if len(typed) <= _LONGEST else ""
    if not _CODE.fullmatch(plain):
        raise NotAPin(f"A voucher's PIN has {DIGITS} digits; type all that is under the scratch-off field.")
    return Pin(plain)


def new_pin(world: World) -> Pin:
    """Sixteen digits, each as likely as any other: a draw that would favour the lower ones is thrown away."""
    while (drawn := world.chance(54)) >= 10**DIGITS:
        pass
    return Pin(f"{drawn:0{DIGITS}d}")
