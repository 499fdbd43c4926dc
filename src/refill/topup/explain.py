"""Who would deliver a top-up at this moment, in which order, and why: the same decision as the worker's, for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from refill.catalogue.routing import Line, Route, Standing, Want, decide, parts_of
from refill.db import Tx
from refill.money import Money
from refill.topup.standing import Watch, rows
from refill.topup.trade import Trade


@dataclass(frozen=True, slots=True)
class Candidate:
    """A supplier, what it takes, and one word of `routing.CHOSEN` or `routing.PASSED`."""

    supplier: str
    cost: Money | None
    chosen: bool
    why: str


async def explain(
    trade: Trade,
    operator: str,
    face: Money,
    *,
    channel: str = "portal",
    partner: str | None = None,
    region: str = "",
) -> Sequence[Candidate]:
    """The suppliers in the order in which they would be asked, then those that would not be. Raises NotForSale."""
    catalogue, now = trade.shelf.catalogue, trade.world.db_now()
    quote = catalogue.quote(operator, face, at=now)
    routes = catalogue.routes(operator, quote.product, face, at=now)
    watch = Watch()

    async def look(tx: Tx) -> dict[str, Standing]:
        await watch.look(tx, trade, now)
        known = await rows(tx)
        return {
            route.supplier: watch.standing(trade, route.supplier, known.get(route.supplier), now) for route in routes
        }

    standings = await trade.db.transaction(look)
    want = Want(operator, quote.product, face.minor, face.currency, channel, partner, region)
    left: tuple[Route, ...] = routes
    found: list[Candidate] = []
    while True:
        (choice,) = decide(catalogue.routing, [Line(want, left)], standings, now, trade.suppliers)
        if choice.route is None:
            break
        found.append(Candidate(choice.route.supplier, choice.route.cost, True, parts_of(choice.why)[0]))
        left = tuple(route for route in left if route.supplier != found[-1].supplier)
    costs = {route.supplier: route.cost for route in left}
    passed = dict(parts_of(choice.why)[1])
    rest = [Candidate(name, cost, False, passed.get(name, parts_of(choice.why)[0])) for name, cost in costs.items()]
    return [*found, *rest]
