"""What far ends share: what they are given, and the trouble they make from a table, by plan, or by chance from a seed."""

import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from random import Random
from typing import Any, Protocol, TypedDict
from urllib.parse import parse_qsl

from refill.world import Request, Response

Work = Callable[[], Coroutine[Any, Any, None]]
Schedule = Callable[[float, Work], None]  # runs some work after so many seconds
Post = Callable[[Request], Coroutine[Any, Any, Response]]  # sends a notice; raises NotSent or NoAnswer
Sleep = Callable[[float], Coroutine[Any, Any, None]]
Keep = Callable[[str, Callable[[], str]], str]  # a secret by its name, made the first time and the same ever after


class FarEnd(Protocol):
    """Anything that answers requests: a simulated gateway or operator."""

    async def handle(self, request: Request) -> Response:
        """One answer. Raises NoAnswer when the answer is to be lost."""


class Surroundings(TypedDict):
    """What a far end takes beside its own settings: `AlipaySimulator(**surroundings, app_id=…)`."""

    now: Callable[[], datetime]
    dice: Random
    schedule: Schedule
    post: Post
    sleep: Sleep


# What a recharge can meet, by the last four digits of its number. Shown on the operator's own page.
BY_SUFFIX = {
    "0001": "slow",
    "0002": "lost",
    "0003": "refused",
    "0004": "hidden",
    "0005": "duplicate",
    "0006": "odd_code",
    "0007": "partial",
    "0008": "html",
    "0009": "truncated",
    "0010": "wrong_amount",
    "0011": "wrong_number",
    "0012": "not_ours",
    "0013": "empty_float",
    "0014": "later",
    "0015": "fails_later",
    "0016": "contradicts",
    "0017": "unsigned",
    "0018": "huge",
    "0019": "busy",
    "0020": "reversed",
    "0021": "silent",
    "0022": "error_500",
    "0023": "spent",
}


def truth(**lists: object) -> Response:
    """`GET /truth`: what truly happened, as JSON; for tests of a served far end."""
    body = json.dumps(lists, default=str, indent=1).encode()
    return Response(200, {"content-type": "application/json", "cache-control": "no-store"}, body)


class Troubles:
    """Whether trouble strikes: first what was planned, then what the dice say. Without either, never."""

    def __init__(self, dice: Random, chances: Mapping[str, float] | None = None) -> None:
        self.dice = dice
        self.chances = dict(chances or {})  # name -> probability, 0 to 1
        self._planned: dict[str, int] = {}

    def plan(self, name: str, times: int = 1) -> None:
        """The next `times` occasions for `name` are taken."""
        self._planned[name] = self._planned.get(name, 0) + times

    def heal(self) -> None:
        """From now on all goes well."""
        self.chances.clear()
        self._planned.clear()

    def strikes(self, name: str) -> bool:
        if self._planned.get(name):
            self._planned[name] -= 1
            return True
        chance = self.chances.get(name, 0.0)
        return bool(chance) and self.dice.random() < chance

    def ordered(self, body: bytes) -> Response:
        """`POST /troubles` with name=…&times=… plans trouble from another process; for tests of a served far end."""
        fields = dict(parse_qsl(body.decode("ascii", "replace")))
        times = fields.get("times", "1")
        if not fields.get("name") or not times.isdigit() or len(times) > 4:
            return Response(422, {"content-type": "text/plain"}, b"Send name=lose_notice&times=1.")
        self.plan(fields["name"], int(times))
        return Response(204, {}, b"")

    def one_of(self, names: tuple[str, ...]) -> str:
        """The first of `names` that strikes, or ""."""
        return next((name for name in names if self.strikes(name)), "")
