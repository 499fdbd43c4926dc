"""Which supplier delivers a top-up, and why: rules as data, then how suppliers do, decided for a whole batch at once.

Pure: everything that is known comes in as values, and out comes one choice for each order, with a word for every
supplier that was passed over. Nothing here asks a database or a stranger.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from refill.catalogue.rates import Rate
from refill.db import Statement, Tx
from refill.money import Money

MINUTES = 24 * 60
PACE = timedelta(seconds=1)  # what waits for a free place looks again so soon
ENOUGH = 20  # answers of an hour; with fewer nobody is called bad
GOOD_BP, FAIR_BP = 9_500, 8_000  # shares of answers that do not speak against a supplier


# ------------------------------------------------------------------ what people decide


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a person: for what it matches, these suppliers first (`prefer`), `only`, `never`, or nobody yet (`hold`).

    None, and an empty tuple of suppliers of a `hold`, mean every one. Minutes are of the local day in `zone`; a span
    may cross midnight. A region is a part of its name, "广东" or "Guangdong".
    """

    id: str
    action: str
    suppliers: tuple[str, ...] = ()
    operator: str | None = None
    product: str | None = None
    region: str | None = None
    channel: str | None = None
    partner: str | None = None
    least_minor: int | None = None
    most_minor: int | None = None
    from_minute: int | None = None
    to_minute: int | None = None
    zone: str = "Asia/Shanghai"
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Is this its hour?"""
        if (self.starts_at and now < self.starts_at) or (self.ends_at and now >= self.ends_at):
            return False
        if self.from_minute is None or self.to_minute is None:
            return True
        minute = self._minute(now)
        return (minute - self.from_minute) % MINUTES < (self.to_minute - self.from_minute) % MINUTES

    def over_at(self, now: datetime) -> datetime | None:
        """When it stops being in force, of one that is; None: nobody knows."""
        if self.to_minute is None:
            return self.ends_at
        left = timedelta(minutes=(self.to_minute - self._minute(now)) % MINUTES)
        over = now.replace(second=0, microsecond=0) + left
        return min(over, self.ends_at) if self.ends_at else over

    def _minute(self, now: datetime) -> int:
        here = now.astimezone(_zone(self.zone))
        return here.hour * 60 + here.minute

    def matches(self, want: "Want") -> bool:
        """Is it about this order?"""
        return (
            (self.operator is None or self.operator == want.operator)
            and (self.product is None or self.product == want.product)
            and (self.channel is None or self.channel == want.channel)
            and (self.partner is None or self.partner == want.partner)
            and (self.region is None or self.region in want.region)
            and (self.least_minor is None or self.least_minor <= want.face_minor)
            and (self.most_minor is None or want.face_minor <= self.most_minor)
        )


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A supplier's announced pause, of all operators (None) or of one."""

    supplier: str
    operator: str | None
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a supplier is trusted.

    most_in_flight: calls that one worker holds there at once (bulkhead). most_per_second: of all workers together; None:
    no limit. most_tries: attempts of one order there. opens_at_bp, least_answers: the breaker opens when so many of at
    least so many answers speak against it. rest_s: its first rest, twice as long each time, up to ten minutes.
    """

    enabled: bool = True
    most_in_flight: int = 2_000
    most_per_second: int | None = None
    most_tries: int = 12
    opens_at_bp: int = 5_000
    least_answers: int = 20
    rest_s: int = 30


DEFAULT = Limits()


@dataclass(frozen=True)
class Routing:
    """All that people decided, at one version of the catalogue."""

    rules: tuple[Rule, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=dict)

    def of(self, supplier: str) -> Limits:
        """The limits of a supplier."""
        return self.limits.get(supplier, DEFAULT)

    @property
    def by_region(self) -> bool:
        """Does any rule ask where a number is from?"""
        return any(rule.region for rule in self.rules)


@lru_cache(64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


# ------------------------------------------------------------------ what is known at this moment


@dataclass(frozen=True, slots=True)
class Route:
    """A supplier that can deliver, what it takes, and at which rate that is our money, if it is in another currency.

    priority: a person's; the smallest comes first among those that deliver equally well.
    """

    supplier: str
    cost: Money | None
    rate: Rate | None = None
    priority: int = field(default=100, compare=False)


class Want(NamedTuple):
    """What routing looks at in an order; equal wants of a batch are weighed once."""

    operator: str
    product: str
    face_minor: int
    currency: str
    channel: str
    partner: str | None = None
    region: str = ""


class Tried(NamedTuple):
    """How often an order was refused by a supplier, and until when it is not asked again."""

    times: int
    rests_until: datetime


class Line(NamedTuple):
    """One order of a batch: what it wants, who delivers that, and who refused it before."""

    want: Want
    routes: tuple[Route, ...]
    tried: Mapping[str, Tried] = {}


@dataclass(slots=True)
class Standing:
    """How a supplier stands. `room`, `tokens` and `left_minor` (by currency) shrink while a batch is decided.

    breaker: closed, open, or probe: it rested, and one order may try. tokens: None where nothing limits the pace.
    """

    breaker: str = "closed"
    retry_at: datetime | None = None
    room: int = DEFAULT.most_in_flight
    tokens: int | None = None
    empty_until: datetime | None = None
    left_minor: dict[str, int] = field(default_factory=dict)
    good_bp: dict[str, int] = field(default_factory=dict)  # by operator: of 10,000 answers, those not against it
    typical_s: dict[str, int] = field(default_factory=dict)  # by operator


# ------------------------------------------------------------------ the choice


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of one order.

    verdict: `send` with `route`; `later`, as soon as somebody has a free place; `hold` until then (None: nobody knows
    when); `empty`, all floats are; `none`, everybody who may deliver it refused as often as allowed.
    why: the word of the choice, then each supplier that was passed over, as `cheapest|southtel=open|easttel=tried`.
    """

    verdict: str
    route: Route | None
    why: str
    until: datetime | None = None


# Why a supplier was chosen, in the order in which it is weighed, and why one was passed over.
CHOSEN = ("preferred", "reliable", "priority", "cheapest", "quickest", "fuller", "same", "only", "probe")
SAYS = {
    "preferred": "a rule prefers it",
    "reliable": "the others fail more often in this hour",
    "priority": "a person put it first",
    "cheapest": "it takes less than the next",
    "quickest": "it delivers sooner than the next",
    "fuller": "our float there holds more",
    "same": "nothing tells it from the next",
    "only": "nobody else can be asked",
    "probe": "its breaker is open, and one order tries whether it is well again",
    "off": "it is switched off or not connected",
    "never": "a rule excludes it",
    "others": "a rule says only others",
    "maintenance": "it announced a pause",
    "open": "it failed too often, and its breaker is open",
    "tried": "it refused this order as often as allowed",
    "rests": "it refused this order a moment ago",
    "empty": "our float there is empty",
    "low": "our float there holds too little beside what is on its way",
    "full": "it has as many calls as it may",
    "pace": "it had as many orders in this second as it may",
    "rule": "a rule holds such orders back",
    "nobody": "nobody can be asked now",
    "switched_off": "the operator is switched off",
}
PASSED = {
    "off": "hold",  # switched off, or not connected
    "never": "hold",  # by a rule
    "others": "hold",  # a rule says only others
    "maintenance": "hold",
    "open": "hold",  # the breaker
    "tried": "none",
    "rests": "later",  # it refused this very order a moment ago
    "empty": "empty",
    "low": "empty",  # the float holds too little beside what is on its way
    "full": "later",
    "pace": "later",
}


class _Place(NamedTuple):
    """A supplier in the plan for equal wants: its place in the order of preference, and why not (yet), until when."""

    rank: tuple[int, ...]
    route: Route
    passed: str
    until: datetime | None


class _Plan(NamedTuple):
    held: str  # the rule that holds everything
    until: datetime | None
    places: tuple[_Place, ...]


def decide(
    routing: Routing,
    lines: Sequence[Line],
    standings: Mapping[str, Standing],
    now: datetime,
    connected: Iterable[str] | None = None,
) -> list[Choice]:
    """One choice for each line, in turn: what one takes, a place, a token, a part of a float, the next does not have.

    connected: the suppliers that have a wire; None: all have.
    """
    rules = [(rule, rule.over_at(now)) for rule in routing.rules if rule.in_force(now)]
    pauses: dict[str, list[Maintenance]] = defaultdict(list)
    for pause in routing.maintenance:
        if pause.starts_at <= now < pause.ends_at:
            pauses[pause.supplier].append(pause)
    wired = None if connected is None else frozenset(connected)
    plans: dict[tuple[Want, int], _Plan] = {}  # routes are told apart by being the same tuple: quicker than by content
    choices = []
    for line in lines:
        key = line.want, id(line.routes)
        plan = plans.get(key)
        if plan is None:
            matching = [(rule, over_at) for rule, over_at in rules if rule.matches(line.want)]
            plan = plans[key] = _plan(routing, line, matching, pauses, standings, now, wired)
        choices.append(_choose(routing, plan, line, standings, now))
    return choices


def _plan(
    routing: Routing,
    line: Line,
    rules: Sequence[tuple[Rule, datetime | None]],
    pauses: Mapping[str, Sequence[Maintenance]],
    standings: Mapping[str, Standing],
    now: datetime,
    wired: frozenset[str] | None,
) -> _Plan:
    """All that is the same for equal wants, weighed once."""
    want = line.want
    for rule, over_at in rules:
        if rule.action == "hold" and not rule.suppliers:
            return _Plan(rule.id, over_at, ())
    places = []
    for position, route in enumerate(line.routes):
        name = route.supplier
        standing = standings.get(name) or Standing()
        passed, until = _static(routing, want, name, rules, pauses.get(name, ()), wired)
        if not passed and standing.breaker == "open":
            passed, until = "open", standing.retry_at
        if not passed and standing.empty_until is not None and now < standing.empty_until:
            passed, until = "empty", standing.empty_until
        good = standing.good_bp.get(want.operator, 10_000)
        rank = (
            0 if any(rule.action == "prefer" and name in rule.suppliers for rule, _ in rules) else 1,
            0 if good >= GOOD_BP else 1 if good >= FAIR_BP else 2,
            route.priority,
            _in_price(route),
            standing.typical_s.get(want.operator, 0),
            -standing.left_minor.get(_currency(want, route), 0),
            position,
        )
        places.append(_Place(rank, route, passed, until))
    return _Plan("", None, tuple(sorted(places, key=lambda place: place.rank)))


def _static(
    routing: Routing,
    want: Want,
    name: str,
    rules: Sequence[tuple[Rule, datetime | None]],
    pauses: Sequence[Maintenance],
    wired: frozenset[str] | None,
) -> tuple[str, datetime | None]:
    """What people decided about one supplier: why it is passed over, and until when; "" when it is not."""
    if not routing.of(name).enabled or (wired is not None and name not in wired):
        return "off", None
    for rule, until in rules:
        if rule.action in ("never", "hold") and name in rule.suppliers:
            return "never", until
        if rule.action == "only" and name not in rule.suppliers:
            return "others", until
    ends_at = [pause.ends_at for pause in pauses if pause.operator in (None, want.operator)]
    return ("maintenance", max(ends_at)) if ends_at else ("", None)


def _choose(routing: Routing, plan: _Plan, line: Line, standings: Mapping[str, Standing], now: datetime) -> Choice:
    if plan.held:
        return Choice("hold", None, f"rule|{plan.held}", plan.until)
    passed: list[tuple[str, str, datetime | None]] = []
    chosen: _Place | None = None
    second: _Place | None = None
    for place in plan.places:
        no, until = _not_now(routing, place, line, standings, now)
        if no:
            passed.append((place.route.supplier, no, until))
        elif chosen is None:
            chosen = place
        else:
            second = place
            break
    if chosen is None:
        return _nobody(passed, now)
    standing = standings.get(chosen.route.supplier)
    if standing is not None:
        _take(standing, line.want, chosen.route)
    why = "probe" if standing is not None and standing.breaker == "probe" else _word(chosen, second)
    if standing is not None and standing.breaker == "probe":
        standing.breaker = "open"  # one order tries; the others wait for what it finds
    return Choice("send", chosen.route, "|".join((why, *(f"{name}={no}" for name, no, _ in passed))))


def _not_now(
    routing: Routing, place: _Place, line: Line, standings: Mapping[str, Standing], now: datetime
) -> tuple[str, datetime | None]:
    """Why this very order passes a supplier over, although equal ones may not; and until when."""
    if place.passed:
        return place.passed, place.until
    name = place.route.supplier
    tried = line.tried.get(name)
    if tried is not None:
        if tried.times >= routing.of(name).most_tries:
            return "tried", None
        if now < tried.rests_until:
            return "rests", tried.rests_until
    standing = standings.get(name)
    if standing is None:
        return "", None
    if standing.breaker == "open":
        return "open", standing.retry_at
    if place.route.cost is not None:
        left = standing.left_minor.get(place.route.cost.currency)
        if left is not None and left < place.route.cost.minor:
            return "low", None
    if standing.room <= 0:
        return "full", now + PACE
    if standing.tokens is not None and standing.tokens <= 0:
        return "pace", now + PACE
    return "", None


def _take(standing: Standing, want: Want, route: Route) -> None:
    standing.room -= 1
    if standing.tokens is not None:
        standing.tokens -= 1
    if route.cost is not None and route.cost.currency in standing.left_minor:
        standing.left_minor[route.cost.currency] -= route.cost.minor


def _nobody(passed: Sequence[tuple[str, str, datetime | None]], now: datetime) -> Choice:
    """Nobody can be asked: the most hopeful reason decides, and it is looked at again when the first one may have passed."""
    verdicts = {PASSED[no] for _, no, _ in passed}
    why = "|".join(("nobody", *(f"{name}={no}" for name, no, _ in passed)))
    verdict = next((each for each in ("later", "hold", "empty", "none") if each in verdicts), "hold")
    if (
        verdict == "hold"
        and "empty" in verdicts
        and all(until is None for _, no, until in passed if PASSED[no] == "hold")
    ):
        verdict = "empty"  # a float is filled sooner than a rule is changed
    until = min((until for _, no, until in passed if until is not None and PASSED[no] == verdict), default=None)
    return Choice(verdict, None, why, until)


def _word(chosen: _Place, second: _Place | None) -> str:
    """What put the chosen one before the next that could have been asked."""
    if second is None:
        return "only"
    return next(word for word, a, b in zip(CHOSEN, chosen.rank, second.rank, strict=False) if a != b)


def parts_of(why: str) -> tuple[str, list[tuple[str, str]]]:
    """A choice's words apart: that of the choice, and each supplier that was passed over with its own."""
    word, *passed = why.split("|")
    return word, [(name, no) for name, _, no in (part.partition("=") for part in passed)]


def suppliers_in(why: str) -> list[str]:
    """The suppliers that a choice passed over."""
    return [name for name, no in parts_of(why)[1] if no]


def _in_price(route: Route) -> int:
    """What it costs in the currency of the price."""
    if route.cost is None:
        return 0
    return route.cost.minor if route.rate is None else route.rate.convert(route.cost).minor


def _currency(want: Want, route: Route) -> str:
    return route.cost.currency if route.cost is not None else want.currency


# ------------------------------------------------------------------ reading what people decided

RULES = Statement("""
    -- What people decided of routing, in the order of its places
    SELECT id, action, suppliers, operator_id, product_id, region, channel, partner, least_minor, most_minor,
           from_minute, to_minute, zone, starts_at, ends_at
      FROM catalogue_rule WHERE enabled ORDER BY position, id
""")

MAINTENANCE = Statement("""
    -- Pauses that suppliers announced
    SELECT supplier, operator_id, starts_at, ends_at FROM catalogue_maintenance ORDER BY starts_at, id
""")

LIMITS = Statement("""
    -- How far each supplier is trusted
    SELECT supplier, enabled, most_in_flight, most_per_second, most_tries, opens_at_bp, least_answers, rest_s
      FROM catalogue_limits ORDER BY supplier
""")


async def load(tx: Tx) -> Routing:
    """Rules, calendar and limits as they stand."""
    rules = []
    for id_, action, suppliers, *more in await tx.rows(RULES):
        rules.append(Rule(id_, action, tuple(suppliers.split()), *more))
    maintenance = tuple(Maintenance(*row) for row in await tx.rows(MAINTENANCE))
    limits = {supplier: Limits(*more) for supplier, *more in await tx.rows(LIMITS)}
    return Routing(tuple(rules), maintenance, limits)
