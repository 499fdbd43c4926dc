"""Who is refused although the price is known and the money is there: listed numbers, and top-ups beyond a limit."""

from collections.abc import Sequence
from datetime import datetime

from refill.db import Tx
from refill.errors import RefillError
from refill.numbers import lists
from refill.topup import limits
from refill.topup.limits import Counted, Wish
from refill.topup.trade import Trade


async def screen(tx: Tx, trade: Trade, wishes: Sequence[Wish], now: datetime) -> Counted:
    """Whom lists or limits refuse, and whom limits count. A number that is always served is neither refused nor counted.

    Counts are locked: after keys and orders, before subscribers and accounts.
    """
    guard = trade.guard
    refused: dict[str, RefillError] = {}
    free: set[str] = set()
    if guard.listed:
        for wish, said in await _listed(tx, wishes, now):
            if said == lists.BLOCK:
                refused[wish.id] = lists.NumberNotServed("We cannot top this number up here. Ask our support about it.")
            else:
                free.add(wish.id)
    if not guard.limits:
        return Counted(refused, frozenset())
    rest = [wish for wish in wishes if wish.id not in refused and wish.id not in free]
    counted = await limits.count(tx, guard, trade.shelf.catalogue.rates, rest, now)
    return Counted({**refused, **counted.refused}, counted.counted)


async def _listed(tx: Tx, wishes: Sequence[Wish], now: datetime) -> list[tuple[Wish, str]]:
    """The wishes whose number a list names, with what it says."""
    found: dict[str, list[lists.Line]] = {}
    for line in await lists.lines(tx, sorted({wish.number for wish in wishes})):
        found.setdefault(line.number, []).append(line)
    said = [(wish, lists.verdict(found.get(wish.number, ()), _scopes(wish), now)) for wish in wishes]
    return [(wish, word) for wish, word in said if word is not None]


def _scopes(wish: Wish) -> tuple[str, ...]:
    """The scopes of a top-up, the narrowest first."""
    own = (f"product:{wish.product}", f"operator:{wish.operator}", lists.ALL)
    return (wish.payer, *own) if wish.payer.startswith("partner:") else own
