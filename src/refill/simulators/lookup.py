"""A look-up firm's end of the wire `hlr_json`: whose a number is and whether anybody answers there, and trouble by number.

The last four digits of a number decide what happens (`WHAT_HAPPENS`, also shown on the page at `/`); all others are
served by the network that their prefix was issued to. What was asked stands in `asked`; from another process, in
`GET /truth`. By plan or chance: `lost`, `html`; from another process `POST /troubles` with `name=lost&times=1`.
"""

import hmac
import json
import os
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.resources import files
from random import Random
from string import Template
from typing import Any
from urllib.parse import urlsplit

from refill.numbers import NETWORKS, hint
from refill.simulators.trouble import Keep, Post, Schedule, Sleep, Surroundings, Troubles, truth
from refill.world import NoAnswer, Request, Response

NAME = "lookup"
PORT = 12
KEY = "refill"
SLOW_S = 10
WARNED_OF = "cmcc cunicom ctcc cbn"

BY_SUFFIX = {
    "0051": "ported_to_telecom",
    "0052": "ported_to_unicom",
    "0053": "dead",
    "0054": "absent",
    "0055": "slow",
    "0056": "lost",
    "0057": "html",
    "0058": "wrong_number",
    "0059": "undetermined",
    "0060": "rejected",
    "0061": "wrong",
    "0062": "ported_elsewhere",
}
WHAT_HAPPENS = {
    "ported_to_telecom": "ported to China Telecom (46003)",
    "ported_to_unicom": "ported to China Unicom (46001)",
    "dead": "nobody has this number: INVALID_MSISDN",
    "absent": "switched off: ABSENT",
    "slow": f"answered after {SLOW_S} s",
    "lost": "the answer is lost",
    "html": "answered 200 with an HTML page",
    "wrong_number": "the answer names another number",
    "undetermined": "they cannot tell: FAILED, UNDETERMINED",
    "rejected": "they do not take this number: REJECTED",
    "wrong": "their records are old: China Broadnet (46015), whoever serves it",
    "ported_elsewhere": "ported to a network that nobody sells (46099)",
}
_NETWORKS = {"ported_to_telecom": "46003", "ported_to_unicom": "46001", "wrong": "46015", "ported_elsewhere": "46099"}
_OF_OPERATOR = {operator: network for network, operator in reversed(NETWORKS.items())}


def leads(keep: Keep, url: str) -> dict[str, object]:
    """The settings that lead Refill to this firm; payers are warned of dead numbers of the Chinese operators."""
    return {"hlr_json_url": url, "hlr_json_key": KEY, "hlr_json_secret": _secret(keep), "lookup_warns": WARNED_OF}


def plays(keep: Keep, url: str, product_url: str, around: Surroundings) -> "LookupSimulator":
    """The firm with the one client that `leads` speaks of. This wire has no notices."""
    return LookupSimulator(secret=_secret(keep), base_url=url, **around)


def _secret(keep: Keep) -> str:
    return keep("lookup.secret", lambda: os.urandom(32).hex())


class LookupSimulator:
    """One firm with one client."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        dice: Random,
        schedule: Schedule,
        post: Post,
        sleep: Sleep,
        secret: str,
        base_url: str = "",
        chances: Mapping[str, float] | None = None,
    ) -> None:
        self._now, self._sleep = now, sleep
        self._who = "Basic " + b64encode(f"{KEY}:{secret}".encode()).decode()
        self._base_path = urlsplit(base_url).path.rstrip("/")
        self.troubles = Troubles(dice, chances)
        self.asked: list[tuple[str, str]] = []  # (question, digits)

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises NoAnswer when the answer is lost."""
        path = urlsplit(request.url).path.removeprefix(self._base_path)
        match request.method, path:
            case "GET", "" | "/":
                return self._page()
            case "GET", "/truth":
                return truth(asked=self.asked)
            case "POST", "/troubles":
                return self.troubles.ordered(request.body)
            case "POST", "/mnp-lookup" | "/hlr-lookup":
                given = request.headers.get("authorization", "").encode("utf-8", "replace")
                if not hmac.compare_digest(given, self._who.encode()):
                    return _json(401, {"errors": ["Wrong key or secret."]})
                return await self._look_up(request, path)
        return _json(404, {"errors": ["There is nothing at this address."]})

    async def _look_up(self, request: Request, path: str) -> Response:
        try:
            e164 = json.loads(request.body)["msisdn"]
            digits = e164.removeprefix("+")
            if not e164.startswith("+") or not (digits.isascii() and digits.isdigit()):
                raise ValueError("no number")
        except (ValueError, KeyError, TypeError, AttributeError):
            return _json(400, {"errors": ["Send a number in international form as msisdn."]})
        self.asked.append(("whose" if path == "/mnp-lookup" else "alive", digits))
        trouble = BY_SUFFIX.get(digits[-4:]) or self.troubles.one_of(("lost", "html"))
        match trouble:
            case "slow":
                await self._sleep(SLOW_S)
            case "lost":
                raise NoAnswer("the answer was lost")
            case "html":
                return Response(200, {"content-type": "text/html"}, b"<html><body>Please sign in</body></html>")
            case "wrong_number":
                e164 = e164[:-1] + str((int(e164[-1]) + 1) % 10)
        said = {"msisdn": e164, "processing_status": "REJECTED" if trouble == "rejected" else "COMPLETED"}
        told = self._whose(digits, trouble) if path == "/mnp-lookup" else _alive(trouble)
        return _json(200, {**said, "timestamp": self._now().isoformat(), **told})

    def _whose(self, digits: str, trouble: str) -> dict[str, Any]:
        network = _NETWORKS.get(trouble) or _OF_OPERATOR.get(hint(digits) or "")
        if trouble in ("undetermined", "rejected", "dead") or network is None:
            return {"query_status": "FAILED", "mccmnc": None, "is_ported": None}
        return {"query_status": "OK", "mccmnc": network, "is_ported": trouble in _NETWORKS and trouble != "wrong"}

    def _page(self) -> Response:
        rows = "".join(f"<tr><td>…{end}</td><td>{WHAT_HAPPENS[what]}</td></tr>" for end, what in BY_SUFFIX.items())
        page = Template(files("refill.simulators").joinpath("pages", "lookup.html").read_text("utf-8"))
        text = page.substitute(asked=len(self.asked), rows=rows)
        return Response(200, {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}, text.encode())


def _alive(trouble: str) -> dict[str, Any]:
    words = {"dead": "INVALID_MSISDN", "absent": "ABSENT", "undetermined": "UNDETERMINED", "rejected": "UNDETERMINED"}
    return {"connectivity_status": words.get(trouble, "CONNECTED")}


def _json(status: int, said: Mapping[str, Any]) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(said, separators=(",", ":")).encode())
