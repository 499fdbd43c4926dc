"""What the tests of several suppliers' wires share: a recharge, numbers that bring trouble, and words for outcomes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.worlds import MORNING

from refill.money import money
from refill.operators import Delivery, Recharge
from refill.outcome import Outcome
from refill.simulators.network import Network
from refill.simulators.trouble import BY_SUFFIX

DELIVERED, PERHAPS, REFUSED = "done", "unknown", "refused"


def a_recharge(msisdn: str = "8613800138000", request_id: str = "rq_1", **other: Any) -> Recharge:
    ask = Recharge(request_id, msisdn, money("50 CNY"), "northtel", "airtime", MORNING + timedelta(hours=1))
    return replace(ask, **other)


def ending(trouble: str) -> str:
    return "861380013" + next(end for end, what in BY_SUFFIX.items() if what == trouble)


def credited(operator: Network) -> list[int]:
    return [credit.face_minor for credit in operator.credits]


def kind(outcome: Outcome[Delivery]) -> str:
    return type(outcome).__name__.lower()
