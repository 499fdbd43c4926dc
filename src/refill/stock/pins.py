"""An operator's PIN: read as a batch file writes it, found by a keyed hash, kept only under seal."""

import re
from dataclasses import dataclass

from refill.errors import BadInput
from refill.vault import Vault

KIND = "stock-pin"  # of the vault's keys
_BETWEEN = re.compile(r"[ -]+")
_PIN = re.compile(r"[0-9A-Za-z]{4,32}")


class NotATopUpPin(BadInput):
    """What stands there has not the shape of an operator's PIN."""

    code = "not_a_top_up_pin"


@dataclass(frozen=True, slots=True, repr=False)
class TopUpPin:
    """The secret that brings credit at the operator; it shows itself to nobody who does not ask for it by name."""

    plain: str

    def __repr__(self) -> str:
        return "TopUpPin(…)"

    def grouped(self) -> str:
        """As people read it out: 1234 5678 9012 3456 78."""
        return " ".join(self.plain[at : at + 4] for at in range(0, len(self.plain), 4))

    def digest(self, vault: Vault, operator: str) -> str:
        """By which it is found: a keyed hash, 32 hexadecimal digits. Two operators may have the same PIN."""
        return vault.digest(KIND, f"{operator}\0{self.plain}".encode())

    def sealed(self, vault: Vault, digest: str) -> bytes:
        """What we keep of it."""
        return vault.seal(KIND, digest, self.plain.encode())


def top_up_pin(written: str) -> TopUpPin:
    """Reads a PIN of 4 to 32 digits or letters, in groups or not. Raises NotATopUpPin."""
    plain = _BETWEEN.sub("", written) if len(written) <= 64 else ""
    if not _PIN.fullmatch(plain):
        raise NotATopUpPin("A PIN has 4 to 32 digits or letters.")
    return TopUpPin(plain)


def opened(vault: Vault, digest: str, sealed: bytes) -> TopUpPin:
    """A PIN out of its seal. Raises NotOpened."""
    return TopUpPin(vault.unseal(KIND, digest, sealed).decode())
