"""A partner's own server that listens to webhooks: it believes a signature only, and shows what it heard.

`POST /hook` (or any path below it) is the address to listen at. `POST /secret` with secret=whsec_… tells it what to
believe; without any it believes nothing. Trouble: `POST /troubles`, see BY_NAME. Truth: `GET /truth`.
"""

import binascii
import hashlib
import hmac
import html
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.resources import files
from random import Random
from string import Template
from urllib.parse import parse_qs, urlsplit

from refill.logs import mask
from refill.simulators.trouble import Keep, Schedule, Sleep, Surroundings, Troubles, truth
from refill.world import NoAnswer, Request, Response

NAME = "receiver"
PORT = 13
TOLERANCE_S = 300
SHOWN = 50

BY_NAME = {
    "slow": "answers after 20 s, when nobody is listening any more",
    "lost": "hears it, and its answer is lost",
    "error_500": "hears nothing and answers 500",
    "busy": "answers 503 and asks to wait for a minute",
    "gone": "answers 410: it wants to hear nothing more",
    "redirect": "answers with another address, which nobody may follow",
    "huge": "hears it and answers with ten megabytes",
}


def leads(keep: Keep, url: str) -> dict[str, object]:
    """No setting leads here: a partner tells us its address through the API."""
    return {}


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "Receiver":
    """A receiver that was told no secret yet."""
    return Receiver(now=around["now"], dice=around["dice"], sleep=around["sleep"], schedule=around["schedule"])


@dataclass(frozen=True)
class Heard:
    """One event, as often as it came."""

    id: str
    type: str
    sequence: int
    at: datetime
    subject: str


class Receiver:
    """A partner's server. `heard` is what it believed, in the order in which it came, repeats too."""

    def __init__(self, *, now: Callable[[], datetime], dice: Random, sleep: Sleep, schedule: Schedule) -> None:
        self._now, self._sleep = now, sleep
        self.troubles = Troubles(dice)
        self.secrets: list[bytes] = []
        self.heard: list[Heard] = []
        self.unbelieved = 0

    async def handle(self, request: Request) -> Response:
        """One request from Refill, or from whoever plays with it."""
        path = urlsplit(request.url).path
        if request.method == "POST" and path.startswith("/hook"):
            return await self._hear(request)
        match request.method, path:
            case "POST", "/secret":
                return self._learn(request.body)
            case "POST", "/troubles":
                return self.troubles.ordered(request.body)
            case "GET", "/truth":
                return truth(heard=[asdict(one) for one in self.heard], unbelieved=[self.unbelieved])
            case "GET", "/":
                return self._page()
        return _says(404, "There is nothing here.")

    async def _hear(self, request: Request) -> Response:
        trouble = self.troubles.one_of(tuple(BY_NAME))
        match trouble:
            case "error_500":
                return _says(500, "broken today")
            case "busy":
                return Response(503, {"content-type": "text/plain", "retry-after": "60"}, b"busy")
            case "gone":
                return _says(410, "we have closed")
            case "redirect":
                return Response(307, {"location": "http://169.254.169.254/"}, b"")
        if not self._believes(request):
            self.unbelieved += 1
            return _says(401, "not signed by anybody we know")
        event = json.loads(request.body)
        subject = str(event["data"].get("id", ""))
        self.heard.append(Heard(request.headers["webhook-id"], event["type"], event["sequence"], self._now(), subject))
        if trouble == "slow":
            await self._sleep(20)
        if trouble == "lost":
            raise NoAnswer("the answer is lost")
        return _says(200, "x" * 10_000_000 if trouble == "huge" else "thank you")

    def _believes(self, request: Request) -> bool:
        """Standard Webhooks 1.0.0, section "Verifying signatures": any signature by any secret, and not long ago."""
        sent = request.headers
        at = sent.get("webhook-timestamp", "")
        if not (at.isascii() and at.isdigit() and len(at) < 12):
            return False
        if abs(self._now().timestamp() - int(at)) > TOLERANCE_S:
            return False
        signed = f"{sent.get('webhook-id', '')}.{at}.".encode() + request.body
        made = [b64encode(hmac.new(secret, signed, hashlib.sha256).digest()) for secret in self.secrets]
        given = [word[3:].encode() for word in sent.get("webhook-signature", "").split() if word.startswith("v1,")]
        return any(hmac.compare_digest(one, other) for one in made for other in given)

    def _learn(self, body: bytes) -> Response:
        typed = parse_qs(body.decode("ascii", "replace")).get("secret", [""])[0].replace(" ", "+").strip()
        try:
            secret = b64decode(typed.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if not typed.startswith("whsec_") or not 24 <= len(secret) <= 64:
            return _says(422, "Send secret=whsec_…, as the API showed it.")
        self.secrets.append(secret)
        return Response(303, {"location": "/"}, b"")

    def _page(self) -> Response:
        rows = "".join(
            f"<tr><td>{one.at:%H:%M:%S}</td><td>{html.escape(one.type)}</td><td>{one.sequence}</td>"
            f"<td>{html.escape(mask(one.id))}</td></tr>"
            for one in reversed(self.heard[-SHOWN:])
        )
        troubles = "".join(f"<tr><td>{name}</td><td>{says}</td></tr>" for name, says in BY_NAME.items())
        page = Template(files("refill.simulators").joinpath("pages", "receiver.html").read_text("utf-8")).substitute(
            secrets=len(self.secrets), heard=len(self.heard), unbelieved=self.unbelieved, rows=rows, troubles=troubles
        )
        return Response(200, {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}, page.encode())


def _says(status: int, text: str) -> Response:
    return Response(status, {"content-type": "text/plain; charset=utf-8"}, text.encode())
