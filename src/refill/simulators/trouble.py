"""What far ends share: what they are given, and the trouble they make from a table, by plan, or by chance from a seed."""

import json
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Profile:
    """A character that a far end can be played with: what may go wrong, and how often.

    chances: by the names of troubles; those that a far end does not know never strike. delay_s: from asking to crediting.
    float_minor: what is in our float at the start, of those that keep one.
    """

    says: str
    chances: Mapping[str, float] = field(default_factory=dict)
    delay_s: tuple[float, float] = (0.0, 0.0)
    float_minor: int | None = None


def _per_cent(text: str) -> dict[str, float]:
    """ "lost=8 html=3": how often each trouble strikes, in per cent."""
    return {name: int(share) / 100 for name, _, share in (pair.partition("=") for pair in text.split())}


_SLOW = _per_cent("later=30 slow=10 late_notice=30 lose_notice=10 reversal_later=50")
_FLAKY = _per_cent(
    "lost=8 html=3 truncated=3 error_500=4 huge=1 busy=8 refused=3 hidden=4 fails_later=3 inquiry_lost=10 inquiry_html=3"
    " lose_notice=20 double_notice=10 late_notice=10 reversal_lost=30 reversal_busy=20"
)
_LIAR = _per_cent(
    "odd_code=5 wrong_amount=5 wrong_number=5 contradicts=6 unsigned=5 duplicate=5 partial=5 reversed=5 spent=5"
    " statement_omits=5 statement_twice=5 statement_dearer=5 statement_stranger=5"
)
PROFILES = {
    "calm": Profile("Everything goes well, at once; only the numbers with an ending of their own make trouble."),
    "slow": Profile("All of it arrives, but late: answers, credit and notices.", _SLOW, delay_s=(1.0, 20.0)),
    "flaky": Profile("Lines break: answers, inquiries and notices are lost, doubled or unreadable.", _FLAKY),
    "liar": Profile("What it says is not what it does; and its statement is wrong, too.", _LIAR),
    "drained": Profile(
        "Our float holds 200.00; pay into it on the page, and see what waited go on.", float_minor=20_000
    ),
    "chaos": Profile(
        "All of the others at once.",
        {name: chance / 2 for name, chance in (_SLOW | _FLAKY | _LIAR).items()} | {"empty_float": 0.02},
        delay_s=(0.0, 10.0),
        float_minor=200_000,
    ),
}


def behave(far_end: FarEnd, profile: str) -> None:
    """Gives a far end a character by its name; what it has no word for in itself, it cannot show."""
    chosen = PROFILES[profile]
    for name, value in (("profile", profile), ("delay_s", chosen.delay_s), ("float_minor", chosen.float_minor)):
        if value is not None and hasattr(far_end, name):
            setattr(far_end, name, value)
    troubles = getattr(far_end, "troubles", None)
    if isinstance(troubles, Troubles):
        troubles.play(chosen)


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
        self.struck: Counter[str] = Counter()  # how often each truly struck

    def plan(self, name: str, times: int = 1) -> None:
        """The next `times` occasions for `name` are taken."""
        self._planned[name] = self._planned.get(name, 0) + times

    def play(self, profile: Profile) -> None:
        """From now on trouble comes as in this character."""
        self.chances = dict(profile.chances)

    def heal(self) -> None:
        """From now on all goes well."""
        self.chances.clear()
        self._planned.clear()

    def strikes(self, name: str) -> bool:
        if self._planned.get(name):
            self._planned[name] -= 1
            self.struck[name] += 1
            return True
        chance = self.chances.get(name, 0.0)
        strikes = bool(chance) and self.dice.random() < chance
        self.struck[name] += strikes
        return strikes

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
