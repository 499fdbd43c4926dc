"""Asking the look-ups in turn: never for longer than a person waits, and whoever stays silent is left in peace for a while."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from refill.lookups.lookup import SILENT, Alive, Lookup, Whose
from refill.numbers import NETWORKS, Looked, Msisdn
from refill.outcome import Done, Outcome, Refused
from refill.world import World

MOST_S = 1.5  # for one question, however many look-ups are asked: after it a person is shown what we know without them
LEAST_S = 0.2  # with less left of it nobody else is asked
SILENCES = 3  # so many in a row, and a look-up rests
REST = timedelta(seconds=30)

# How long an answer is fresh. A number that is ported stays with its operator for months; whether somebody answers
# changes by the hour. Who did not know is not asked again while a person types.
FRESH = {
    ("whose", "done"): timedelta(days=7),
    ("whose", "refused"): timedelta(days=7),
    ("alive", "done"): timedelta(hours=12),
    ("alive", "refused"): timedelta(days=1),
    ("whose", "unknown"): timedelta(minutes=2),
    ("alive", "unknown"): timedelta(minutes=2),
}

Question = Callable[[Lookup, float], Awaitable[Outcome[Whose] | Outcome[Alive]]]


@dataclass
class _Patience:
    """How often a look-up was silent in a row, and until when it rests."""

    silences: int = 0
    rests_until: datetime | None = None


@dataclass
class Asker:
    """The look-ups that are connected.

    networks: network codes of ours beside China's.
    warns: operators for whose numbers it is asked, before payment, whether they reach anybody.
    """

    lookups: Sequence[Lookup] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    warns: frozenset[str] = frozenset()
    _patience: dict[str, _Patience] = field(default_factory=dict)

    async def whose(self, world: World, msisdn: Msisdn) -> Looked | None:
        """Which operator serves a number; None when there is nobody to ask. Never raises, never inside a transaction."""
        return await self._ask(world, msisdn, "whose", lambda one, within_s: one.whose(world, msisdn, within_s))

    async def alive(self, world: World, msisdn: Msisdn) -> Looked | None:
        """Whether a number reaches a subscriber; None when there is nobody to ask."""
        return await self._ask(world, msisdn, "alive", lambda one, within_s: one.alive(world, msisdn, within_s))

    async def _ask(self, world: World, msisdn: Msisdn, question: str, ask: Question) -> Looked | None:
        began, last = world.now(), None
        for lookup in self.lookups:
            left_s = MOST_S - (world.now() - began).total_seconds()
            if left_s < LEAST_S or not lookup.knows(msisdn) or self._rests(lookup, world.now()):
                continue
            outcome = await ask(lookup, left_s)
            self._remember(lookup, outcome, world.now())
            last = self._looked(question, lookup, outcome, world.db_now())
            if isinstance(outcome, Done):
                break
        return last

    def _looked(self, question: str, lookup: Lookup, outcome: Outcome[Whose] | Outcome[Alive], now: datetime) -> Looked:
        match outcome:
            case Done(Whose(network, ported, at)):
                operator = self.networks.get(network) or NETWORKS.get(network)
                fresh = at + FRESH[question, "done"]
                return Looked(question, lookup.name, "done", at, fresh, network, operator, ported)
            case Done(Alive(state, at)):
                return Looked(question, lookup.name, "done", at, at + FRESH[question, "done"], state=state)
            case Refused():
                return Looked(question, lookup.name, "refused", now, now + FRESH[question, "refused"])
        return Looked(question, lookup.name, "unknown", now, now + FRESH[question, "unknown"])

    def _rests(self, lookup: Lookup, now: datetime) -> bool:
        rests_until = self._patience.get(lookup.name, _Patience()).rests_until
        return rests_until is not None and now < rests_until

    def _remember(self, lookup: Lookup, outcome: object, now: datetime) -> None:
        patience = self._patience.setdefault(lookup.name, _Patience())
        patience.silences = patience.silences + 1 if outcome == SILENT else 0
        patience.rests_until = now + REST if patience.silences >= SILENCES else None
