"""The look-up `hlr_json`: network and subscriber state as JSON over HTTP, in the words that look-up firms use.

The wire, for whoever builds the other side (`refill simulator lookup` is one):

- `POST /mnp-lookup` and `POST /hlr-lookup` of `{"msisdn": "+8613800138000"}`, with HTTP Basic authentication
- both answer 200 and a JSON object that names the same `msisdn`, and `processing_status` COMPLETED or REJECTED
- mnp: `query_status` OK or FAILED, `mccmnc`, `is_ported`
- hlr: `connectivity_status` CONNECTED, ABSENT, INVALID_MSISDN or UNDETERMINED

Answers are not signed, so the address must be https. Nothing but a complete answer about this very number is believed.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from refill.errors import BadInput
from refill.lookups.lookup import SILENT, Alive, Example, Lookup, State, Whose
from refill.numbers import Msisdn
from refill.outcome import Done, Outcome, Refused, Unknown
from refill.settings import PortSetting
from refill.world import NoAnswer, NotSent, Request, Response, World, call

NAME = "hlr_json"
MAX_ANSWER = 1 << 16
STATES: dict[object, State] = {"CONNECTED": "active", "ABSENT": "absent", "INVALID_MSISDN": "dead"}
_NETWORK = re.compile(r"[0-9]{5,6}")


@dataclass(frozen=True)
class HlrJson:
    """One firm that answers on this wire. `countries`: ISO 3166 codes that it knows; none: all."""

    base_url: str
    key: str
    secret: str = field(repr=False)
    countries: frozenset[str] = frozenset()
    name: str = NAME

    def knows(self, msisdn: Msisdn) -> bool:
        return not self.countries or msisdn.country in self.countries

    async def whose(self, world: World, msisdn: Msisdn, within_s: float) -> Outcome[Whose]:
        said = await self._asked(world, "/mnp-lookup", msisdn, within_s)
        if not isinstance(said, dict):
            return said
        network, ported = said.get("mccmnc"), said.get("is_ported")
        if said.get("query_status") != "OK" or not isinstance(network, str) or not _NETWORK.fullmatch(network):
            return Unknown("The look-up does not know the network.")
        return Done(Whose(network, ported if isinstance(ported, bool) else None, world.db_now()))

    async def alive(self, world: World, msisdn: Msisdn, within_s: float) -> Outcome[Alive]:
        said = await self._asked(world, "/hlr-lookup", msisdn, within_s)
        if not isinstance(said, dict):
            return said
        status = said.get("connectivity_status")
        if not isinstance(status, str) or status not in STATES:
            return Unknown("The look-up does not know whether the number reaches anybody.")
        return Done(Alive(STATES[status], world.db_now()))

    async def _asked(
        self, world: World, path: str, msisdn: Msisdn, within_s: float
    ) -> dict[str, Any] | Refused | Unknown:
        """The complete answer about this number, or why there is none."""
        login = b64encode(f"{self.key}:{self.secret}".encode()).decode()
        headers = {
            "accept": "application/json",
            "content-type": "application/json",
            "authorization": f"Basic {login}",
        }
        # The number is in the body: an address would be written into their logs, and ours.
        body = json.dumps({"msisdn": msisdn.e164}).encode()
        try:
            response = await call(
                world, Request("POST", self.base_url.rstrip("/") + path, headers, body, within_s, MAX_ANSWER)
            )
        except (NotSent, NoAnswer):
            return SILENT
        return _complete(response, msisdn)


def _complete(response: Response, msisdn: Msisdn) -> dict[str, Any] | Refused | Unknown:
    if response.status != 200 or len(response.body) > MAX_ANSWER:
        return Unknown("The look-up answered with an error.")
    try:
        said = json.loads(response.body.decode("utf-8"))
    except (ValueError, RecursionError):
        return Unknown("The look-up's answer cannot be read.")
    if not isinstance(said, dict) or said.get("msisdn") != msisdn.e164:
        return Unknown("The look-up's answer is about another number.")
    if said.get("processing_status") == "REJECTED":
        return Refused("the look-up does not take this number")
    if said.get("processing_status") != "COMPLETED":
        return Unknown("The look-up is not done.")
    return said


SETTINGS = {
    "hlr_json_url": PortSetting("url", "address of a firm that looks numbers up over HTTP and JSON (MNP, HLR)"),
    "hlr_json_key": PortSetting("text", "the name under which it knows us"),
    "hlr_json_secret": PortSetting("secret", "the secret beside it"),
    "hlr_json_countries": PortSetting("text", "countries that it may be asked about, such as `CN GB`; not set: all"),
}


def from_settings(settings: Mapping[str, str]) -> list[Lookup]:
    """The firm at `hlr_json_url`, which needs `hlr_json_key` and `hlr_json_secret`. Raises BadInput."""
    url = settings.get("hlr_json_url")
    if not url:
        return []
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise BadInput("The setting hlr_json_url is not https: anybody on the way could say whose a number is.")
    missing = next((name for name in ("hlr_json_key", "hlr_json_secret") if not settings.get(name)), None)
    if missing:
        raise BadInput(f"The setting {missing} is missing; the look-up at hlr_json_url needs it.")
    countries = frozenset(settings.get("hlr_json_countries", "").upper().replace(",", " ").split())
    return [HlrJson(url, settings["hlr_json_key"], settings["hlr_json_secret"], countries)]


def EXAMPLES() -> tuple[Lookup, list[Example]]:
    """A look-up with a throw-away secret, and what it answers."""
    lookup = HlrJson("https://lookups.example/api", "refill", "a secret for examples only")
    number = Msisdn("8613800138000")
    mnp = {"query_status": "OK", "mccmnc": "46003", "is_ported": True}
    hlr = {"connectivity_status": "CONNECTED", "mccmnc": "46000"}

    def example(
        says: str, question: Any, expect: str, means: str = "", ported: bool | None = None, **other: object
    ) -> Example:
        whole = {"msisdn": number.e164, "processing_status": "COMPLETED", **(mnp if question == "whose" else hlr)}
        body = json.dumps({**whole, **other}).encode()
        return Example(says, question, number, lambda _: Response(200, {}, body), expect, means, ported)

    return lookup, [
        example("ported to China Telecom", "whose", "done", "46003", True),
        example("where it always was", "whose", "done", "46000", False, mccmnc="46000", is_ported=False),
        example("a network, and not whether it was ported", "whose", "done", "46003", None, is_ported=None),
        example("they do not find it", "whose", "unknown", query_status="FAILED"),
        example("a network that cannot be", "whose", "unknown", mccmnc="460"),
        example("somebody answers", "alive", "done", "active"),
        example("switched off", "alive", "done", "absent", connectivity_status="ABSENT"),
        example("nobody has this number", "alive", "done", "dead", connectivity_status="INVALID_MSISDN"),
        example("they cannot tell", "alive", "unknown", connectivity_status="UNDETERMINED"),
        example("a word that nobody documented", "alive", "unknown", connectivity_status="GONE"),
        example("about another number", "whose", "unknown", msisdn="+8613900139000"),
        example("not done yet", "alive", "unknown", processing_status="PENDING"),
        example("a number that they do not take", "whose", "refused", processing_status="REJECTED"),
        example("a state that they do not ask for", "alive", "refused", processing_status="REJECTED"),
    ]
