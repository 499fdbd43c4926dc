"""Secrets at rest: keyed indexes to find by, keyed digests to compare by, and sealed envelopes to read back."""

import os
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from refill.errors import RefillError
from refill.ids import base32

KEY_BYTES = 32
_VERSION = b"\x01"
_NONCE_BYTES = 12


class NotOpened(RefillError):
    """A sealed value does not open: another master key, another row, or a changed byte."""

    code = "not_opened"
    status = 500


class BadKeyFile(RefillError):
    """The master key's file is missing, readable by others or not a key."""

    code = "bad_key_file"
    status = 500


class Vault:
    """Everything that needs the master key. Each kind of secret has a key of its own, derived once.

    `nonce` gives that many random bytes; a simulation passes its seeded dice, so that its days replay byte by byte.
    """

    def __init__(self, master: bytes, *, nonce: Callable[[int], bytes] = os.urandom) -> None:
        if len(master) != KEY_BYTES:
            raise BadKeyFile(f"A master key has {KEY_BYTES} bytes; this one has {len(master)}.")
        self._nonce = nonce

        def subkey(use: str, kind: str) -> bytes:
            return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"refill {use} {kind}".encode()).derive(master)

        # A prepared hash is copied per call, which spares it the keyed first block. There are few kinds: caches stay small.
        self._index = cache(lambda kind: blake2b(key=subkey("index", kind), digest_size=10))
        self._digest = cache(lambda kind: blake2b(key=subkey("digest", kind), digest_size=16))
        self._cipher = cache(lambda kind: AESGCM(subkey("seal", kind)))

    @classmethod
    def from_file(cls, path: Path | str, *, nonce: Callable[[int], bytes] = os.urandom) -> "Vault":
        """Reads the master key. Raises BadKeyFile, also when anyone but the owner could read it."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode  # of the file that we read, not of one put there meanwhile
                if mode & 0o077:
                    raise BadKeyFile(f"The key file {path} can be read by others; run: chmod 600 {path}")
                text = file.read(4 * KEY_BYTES)
        except OSError as error:
            raise BadKeyFile(f"The key file {path} cannot be read: {error.strerror}.") from None
        try:
            return cls(bytes.fromhex(text.decode("ascii").strip()), nonce=nonce)
        except ValueError:
            raise BadKeyFile(f"The key file {path} is not {2 * KEY_BYTES} hexadecimal digits.") from None

    def index(self, kind: str, text: str) -> str:
        """A keyed name for `text`, 16 characters of base 32 (80 bits): equal texts meet, nobody reads them back."""
        hashed = self._index(kind).copy()
        hashed.update(text.encode())
        return base32(int.from_bytes(hashed.digest(), "big"), 16)

    def digest(self, kind: str, content: bytes) -> str:
        """A keyed hash of `content`, 32 hexadecimal digits (128 bits): is this the same request, the same key?"""
        hashed = self._digest(kind).copy()
        hashed.update(content)
        return hashed.hexdigest()

    def seal(self, kind: str, row_id: str, plain: bytes) -> bytes:
        """AES-256-GCM: version, nonce, ciphertext and tag. It opens only for the same kind and row."""
        nonce = self._nonce(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher(kind).encrypt(nonce, plain, row_id.encode())

    def unseal(self, kind: str, row_id: str, sealed: bytes) -> bytes:
        """What was sealed. Raises NotOpened."""
        if sealed[:1] != _VERSION:
            raise NotOpened(f"A sealed {kind} has a version that this program does not know.")
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher(kind).decrypt(nonce, body, row_id.encode())
        except (InvalidTag, ValueError):
            raise NotOpened(f"A sealed {kind} does not open: is this the master key it was sealed with?") from None


def create_key_file(path: Path | str) -> None:
    """Writes a fresh master key that only its owner can read; an existing file is left alone (FileExistsError)."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(os.urandom(KEY_BYTES).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())  # a key lost in a power cut is every number lost
