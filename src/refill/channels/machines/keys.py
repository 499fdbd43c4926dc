"""Who is calling: the Bearer key of a request becomes the partner to whom it was given."""

import re

from refill.accounts import KeyRing, PartnerKey
from refill.errors import NotAllowed, RefillError

_BEARER = re.compile(rb"[Bb]earer +([!-~]{8,200})")


class NoKey(RefillError):
    """This address answers only to a partner's key."""

    code = "no_key"
    status = 401


async def partner_of(keyring: KeyRing, authorization: bytes | str | None) -> PartnerKey:
    """The partner behind an `Authorization: Bearer …` header. Raises NoKey; the key itself is never repeated."""
    if isinstance(authorization, str):
        authorization = authorization.encode("latin-1")
    if authorization is None:
        raise NoKey('Send your key in the header "Authorization: Bearer …".')
    match = _BEARER.fullmatch(authorization)
    if match is None:
        raise NoKey('The header Authorization is not of the form "Bearer …".')
    key = keyring.find(match[1]) or await keyring.find_or_read(match[1])
    if key is None:
        raise NoKey("This key is not known here, or it has been withdrawn.")
    return key


def needs(key: PartnerKey, scope: str) -> None:
    """Raises NotAllowed when the key was not given that right."""
    if scope not in key.scopes:
        raise NotAllowed(f'This key may not do that; it needs the scope "{scope}".')
