"""Webhooks that arrive at your side: believed only when the signature holds and the message is fresh.

Source: Standard Webhooks (github.com/standard-webhooks/standard-webhooks, spec v1).
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from refill_client.errors import NotSigned

TOLERANCE_S = 300


class Event(msgspec.Struct, frozen=True):
    """What happened: `type` such as topup.succeeded, `data` as the API shows the object. The same `id` may come twice."""

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]


def verify(secrets: str | Sequence[str], headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> Event:
    """The event in a webhook, on its raw bytes. `secrets`: whsec_…, two while one replaces the other. Raises NotSigned."""
    sent = {name.lower(): value for name, value in headers.items()}
    id_, at, signatures = (sent.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not id_ or not at.isascii() or not at.isdigit():
        raise NotSigned("it lacks the headers of a signed webhook")
    if abs((time.time() if now is None else now) - int(at)) > TOLERANCE_S:
        raise NotSigned("it is older, or newer, than five minutes")
    given = [one[3:] for one in signatures.split() if one.startswith("v1,")]
    for secret in [secrets] if isinstance(secrets, str) else secrets:
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"))
        except binascii.Error:
            raise NotSigned("a secret of yours is not base 64") from None
        mac = hmac.digest(key, f"{id_}.{at}.".encode() + body, hashlib.sha256)
        expected = base64.b64encode(mac).decode()
        if any(hmac.compare_digest(expected, one) for one in given):
            try:
                told = msgspec.json.decode(body)
                return msgspec.convert({**told, "id": id_}, Event)
            except (msgspec.MsgspecError, TypeError):
                raise NotSigned("its content is no event") from None
    raise NotSigned("its signature does not hold")
