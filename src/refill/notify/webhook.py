"""Webhooks as the Standard Webhooks specification 1.0.0 has them: signed with HMAC-SHA256, answered with 2xx, tried again.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta

from refill.errors import BadInput
from refill.logs import mask
from refill.notify.sender import Letter, Receipt
from refill.outcome import Done, Outcome, Refused, Unknown
from refill.world import NoAnswer, NotSent, Request, Response, World, call

SECRET_BYTES = 32  # the specification asks for 24 to 64
SAID_BYTES = 500  # of an answer are kept
GONE = 410
_PREFIX = "whsec_"

# The wait after each try that failed. They sum to exactly three days, and then it is given up: tried at once, after 5 s,
# 30 s, 2 min, 10 min, 30 min, and 1, 2, 4, 8, 16, 28, 40, 56 and 72 hours.
WAITS_S = (5, 25, 90, 480, 1200, 1800, 3600, 7200, 14400, 28800, 43200, 43200, 57600, 57600)
LASTS = timedelta(seconds=sum(WAITS_S))
LONGEST_WISH_S = 86_400.0  # what a Retry-After may ask for


def wait_after(tries: int, jitter: float) -> timedelta | None:
    """The wait after the `tries`-th try failed, up to a tenth longer (`jitter` in 0…1); None: that was the last one."""
    if tries > len(WAITS_S):
        return None
    return timedelta(seconds=WAITS_S[tries - 1] * (1 + jitter / 10))


def secret_text(secret: bytes) -> str:
    """A secret as it is shown: `whsec_` and base64."""
    return _PREFIX + b64encode(secret).decode()


def read_secret(text: str) -> bytes:
    """The bytes of a shown secret. Raises BadInput."""
    try:
        secret = b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(_PREFIX) or not 24 <= len(secret) <= 64:
        raise BadInput("A secret is whsec_ and 24 to 64 bytes in base64.")
    return secret


def signature(secret: bytes, id_: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC of id, time and body, joined by full stops (section "Signature scheme")."""
    signed = hmac.digest(secret, b"%s.%d.%s" % (id_.encode(), timestamp, body), "sha256")
    return f"v1,{b64encode(signed).decode()}"


def headers(letter: Letter, at: datetime) -> dict[str, str]:
    """The headers of one try; while secrets change, there is a signature by each."""
    timestamp = int(at.timestamp())
    return {
        "content-type": "application/json",
        "user-agent": "refill-webhooks/1",
        "webhook-id": letter.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(s, letter.id, timestamp, letter.body) for s in letter.secrets),
    }


class Webhook:
    """Posts a letter to the address that a partner chose: only to public addresses, no redirects, nothing long."""

    HARD_END_S = 15.0  # the specification recommends 15 to 30

    async def send(self, world: World, letter: Letter) -> Receipt:
        began = world.now()
        request = Request(
            "POST",
            letter.to,
            headers(letter, began),
            letter.body,
            timeout_s=self.HARD_END_S,
            most_bytes=SAID_BYTES,
            guarded=True,
        )
        try:
            answer = await call(world, request)
        except NotSent as never:
            return Receipt(Unknown("not_sent"), None, _since(began, world), f"not sent: {never}"[:SAID_BYTES])
        except NoAnswer as lost:
            return Receipt(Unknown("no_answer"), None, _since(began, world), f"no answer: {lost}"[:SAID_BYTES])
        return Receipt(_outcome(answer.status), answer.status, _since(began, world), _said(answer.body), _wish(answer))


def _outcome(status: int) -> Outcome[str]:
    """Only 2xx is a yes; a redirect is a no like any other, and 410 says never again."""
    if 200 <= status < 300:
        return Done(str(status))
    if status == GONE:
        return Refused("gone", str(status))
    return Unknown("status", str(status))


def _since(began: datetime, world: World) -> int:
    return max(0, round((world.now() - began).total_seconds() * 1000))


def _said(body: bytes) -> str:
    """The beginning of an answer, for people to read: control characters and whole numbers out."""
    text = body[:SAID_BYTES].decode("utf-8", "replace")
    return mask("".join(letter if letter.isprintable() else " " for letter in text).strip())


def _wish(answer: Response) -> float:
    """The seconds of a Retry-After; its other form, a date, is rare and asks for nothing here."""
    asked = answer.headers.get("retry-after", "")
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 9):
        return 0.0
    return min(float(asked), LONGEST_WISH_S)


EVENTS: Sequence[str] = (
    "topup.succeeded",
    "topup.failed",
    "topup.partial",
    "topup.processing",
    "topup.refunded",
    "topup.reversed",
    "float.low",
)
TEST = "webhook.test"
