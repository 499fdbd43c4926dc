"""Text that travels through a browser and that nobody there can read or change."""

import json
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from refill.errors import BadInput


class Stale(BadInput):
    """This form was not made by us, or so long ago that it no longer counts."""

    code = "stale_form"


def seal(content: dict[str, Any], purpose: str) -> str:
    """`content` as sealed text that only `unseal` with the same purpose opens."""
    return _key(purpose).encrypt(json.dumps(content, separators=(",", ":")).encode()).decode()


def unseal(text: str, purpose: str, *, max_age_s: int) -> dict[str, Any]:
    """The content again. Raises Stale for anything that we did not seal, or sealed too long ago."""
    if len(text) > 4096:
        raise Stale("This form cannot be read; please start again.")
    try:
        return json.loads(_key(purpose).decrypt(text.encode(errors="replace"), ttl=max_age_s))
    except InvalidToken:
        raise Stale("This form is too old or was changed on its way; please start again.") from None


def _key(purpose: str) -> Fernet:
    digest = blake2b(settings.SECRET_KEY.encode()[:64], digest_size=32, person=purpose.encode()[:16]).digest()
    return Fernet(urlsafe_b64encode(digest))
