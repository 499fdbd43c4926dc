"""One seeded day: partners and guests buy credit, everything fails, then heals; what is left is for `truth` to judge."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from refill import cards, catalogue, ledger, operators
from refill.catalogue.offers import Supply
from refill.catalogue.routing import Limits, Maintenance, Routing, Rule
from refill.db import Statement, Tx
from refill.errors import Busy
from refill.ids import cell_of, make_id
from refill.numbers import number_id
from refill.operators import Flags, Supplier
from refill.simulate.doors import PUBLIC, serve
from refill.simulate.gateways import GATEWAYS, INSIDE, methods
from refill.simulate.kernel import EPOCH, Kernel, Process
from refill.simulate.people import OUR_NUMBERS, PREFIXES, People
from refill.simulate.pins import PinStock
from refill.simulate.scratch import ScratchCards
from refill.simulate.world import Books, Knobs, VirtualDatabase, VirtualWorld, Wire
from refill.simulators.operator import OperatorSimulator
from refill.simulators.trouble import Surroundings
from refill.topup import Rules, Shelf, Trade, Worker
from refill.vault import Vault
from refill.world import Request, Response

HEALED_AT_S = 1800.0  # faults end; an order that came at the beginning has lapsed by then
SUPPLIERS = {"northtel": 980, "southtel": 970, "easttel": 990, "westtel": 980}  # and what each takes, per mille
WORST_LATENESS = timedelta(seconds=300)  # of the wire (200 s) and of the operators' own queue (60 s)
# For a day Stripe answers a refund as it did at first: also when it broke down over what it would have refused.
FIRM_REMEMBERS = timedelta(hours=24)
# What operators do wrong. `reversed` is not among them: nobody acts on a reversal yet.
WRONGS = (
    "slow lost refused hidden duplicate odd_code partial html truncated wrong_amount wrong_number not_ours empty_float"
    " later fails_later contradicts unsigned busy silent error_500"
).split()


@dataclass(frozen=True)
class Operator:
    """An operator of the seed and what its adapter declares."""

    far: OperatorSimulator
    filled_minor: int  # our float there in the morning


class Day:
    """The system of one seed: a server, two workers, payment firms, operators, clients."""

    def __init__(self, seed: int, books: Books, orders: int = 20) -> None:
        self.seed, self.books, self.size = seed, books, orders
        self.knobs = Knobs.draw(seed)
        hour = Random(f"hour {seed}").choice((2, 8, 15.8, 23.9))  # UTC; 16 h is midnight in China
        self.kernel = Kernel(seed, EPOCH + timedelta(hours=hour))
        self.dice = self.kernel.dice
        self.wire = Wire(self.kernel, self.knobs)
        self.vault = Vault(b"\7" * 32, nonce=lambda size: self.dice.getrandbits(8 * size).to_bytes(size))
        self.rules = Rules(
            delivery_deadline=timedelta(minutes=self.dice.choice((30, 120, 1440))),
            chase_after_deadline=timedelta(hours=3),
        )
        self.server = Process(self.kernel, "server")
        self.workers = [Process(self.kernel, f"worker{n}") for n in (1, 2)]
        self.far = Process(self.kernel, "far", mortal=False)
        self.outside = Process(self.kernel, "people", mortal=False)
        books.begin(self.kernel)
        self.gateways = [GATEWAYS[name](self.knobs, PUBLIC, self._surroundings()) for name in self.knobs.firms]
        open_today = list(SUPPLIERS)[: self.dice.choice((1, 2, 3, 4))]
        self.operators = {name: self._operator(name) for name in open_today}
        self.routing = _routing(seed, open_today, self.kernel.began)
        self.pins = PinStock(seed)
        self.shelf = Shelf(self.pins.on_sale(_on_sale(books, seed, open_today, self.routing)))
        names = (*self.knobs.firms, *INSIDE)
        self.methods = {name: methods()[name] for name in names}
        self.suppliers = {name: self._supplier(name, operator.far) for name, operator in self.operators.items()}
        self.suppliers |= self.pins.suppliers()
        self.partners = [make_id("pa", 77 + n, 0, n) for n in range(2)]
        self._prepare_books()
        self.pins.buy(books, VirtualWorld(self.far, self.wire), self.vault)
        self.cards = ScratchCards()
        if self.knobs.scratch_cards:
            self.cards.print_and_sell(books, VirtualWorld(self.far, self.wire), self.vault)
        self._place_on_wire()
        self.people = People(self)

    # ------------------------------------------------------------------ the far ends

    def _surroundings(self) -> Surroundings:
        world = VirtualWorld(self.far, self.wire)
        return {
            "now": self.kernel.time,
            "dice": self.dice,
            "schedule": lambda delay_s, work: self.kernel.at(delay_s, lambda: self.far.start(work())),
            "post": world.send,
            "sleep": world.sleep,
        }

    def _operator(self, name: str) -> Operator:
        knobs, dice = self.knobs, self.dice
        wrongs = dice.sample(WRONGS, 6) if knobs.operator else []
        chances = dict.fromkeys(wrongs, knobs.operator)
        if knobs.operator:
            chances |= {"contradicts": 0.1, "refused": 0.1, "busy": 0.06, "partial": 0.06}
        if knobs.lose_notice:
            chances |= {"lose_notice": knobs.lose_notice, "double_notice": knobs.double_notice, "late_notice": 0.2}
        if knobs.lost:
            chances |= {"inquiry_lost": 0.1, "inquiry_html": 0.05}
        filled = 12_000 if knobs.drained and dice.random() < 0.7 else 10**9
        far = OperatorSimulator(
            secret=f"secret of {name}".encode(),
            name=name,
            base_url=f"http://{name}.example",
            notify_url=f"{PUBLIC}/callbacks/suppliers/{name}",
            float_minor=filled,
            cost_per_mille=SUPPLIERS[name],
            dedups=dice.random() < 0.5,
            delay_s=dice.choice(((0, 0), (0, 0), (0.5, 40), (60, 2700))),
            latest_s=60,
            by_suffix={},
            chances=chances,
            **self._surroundings(),
        )
        return Operator(far, filled)

    def _supplier(self, name: str, far: OperatorSimulator) -> Supplier:
        never = far.dedups and self.dice.random() < 0.5
        flags = Flags(far.dedups, None if never else WORST_LATENESS, can_reverse=False, timeout_s=30)
        made: Supplier = operators.shelf()["http_json"].HttpJson(
            name, f"http://{name}.example", f"secret of {name}".encode(), flags
        )
        return made

    def _place_on_wire(self) -> None:
        self.wire.places = {
            PUBLIC: (self.server, self._serve),
            **{firm.url(): (self.far, firm.far.handle) for firm in self.gateways},
            **{f"http://{name}.example": (self.far, one.far.handle) for name, one in self.operators.items()},
        }
        self.wire.once_only = tuple(
            f"http://{name}.example" for name, one in self.operators.items() if not one.far.dedups
        )

    # ------------------------------------------------------------------ our own processes

    def trade(self, process: Process) -> Trade:
        """The engine as one process sees it."""
        world = VirtualWorld(process, self.wire)
        db = VirtualDatabase(world, self.books)
        return Trade(world, db, self.vault, self.shelf, self.methods, self.suppliers, PUBLIC, self.rules)

    def _prepare_books(self) -> None:
        now = self.kernel.time()
        poor = 15_000 if self.dice.random() < 0.3 else 10**8
        accounts = [ledger.Account(f"float:{self.partners[0]}/CNY"), ledger.Account(f"float:{self.partners[1]}/CNY")]
        accounts += [ledger.Account(f"float:{name}/CNY", None) for name in self.operators]
        moved = [("bank:demo/CNY", f"float:{self.partners[0]}/CNY", 10**9)]
        moved += [("bank:demo/CNY", f"float:{self.partners[1]}/CNY", poor)]
        moved += [(f"float:{name}/CNY", "bank:demo/CNY", one.filled_minor) for name, one in self.operators.items()]
        entries = [ledger.Entry.of(f"{make_id('de', n, 0, n)}.deposit", leg) for n, leg in enumerate(moved)]
        subscribers = []
        for n, msisdn in enumerate(OUR_NUMBERS):
            number = number_id(self.vault, msisdn)
            cell = cell_of(number)
            until = now + timedelta(days=(40, 1, -3, 400)[n])
            state = "grace" if until < now else "active"
            subscribers.append(
                cards.Subscriber(make_id("su", cell, 0, n), cell, number, state, until, "CNY", "demo", f"iccid{n}")
            )

        async def work(tx: Tx) -> None:
            await ledger.open_accounts(tx, accounts, now)
            answers = await ledger.post(tx, entries, now)
            assert answers == [ledger.Posted()] * len(entries), answers
            await cards.create(tx, subscribers, now)

        self.books.run(work)

    def _boot_worker(self, process: Process) -> None:
        process.start(self._work(Worker(self.trade(process)), VirtualWorld(process, self.wire)))

    async def _work(self, worker: Worker, world: VirtualWorld) -> None:
        """The worker's loop of `app`, except that it is woken when something is due."""
        while True:
            try:
                taken = await worker.tick()
            except Busy:
                await world.sleep(1)
                continue
            if taken:
                await world.sleep(0.01)
            else:
                await self.books.due()

    async def _serve(self, request: Request) -> Response:
        return await serve(self.trade(self.server), request)

    # ------------------------------------------------------------------ the day

    def run(self) -> None:
        """Lives the day until nothing is due any more, or much too long."""
        self._begin_faults()
        for n in range(self.size):
            late = self.dice.random() < 0.2  # some come when all is well again
            begins = HEALED_AT_S + 100 * self.dice.random() if late else self.knobs.burst_s * self.dice.random()
            client = self.people.partner if self.dice.random() < 0.45 else self.people.guest
            self.kernel.at(begins, self._comes, client, n)
        if self.knobs.forge_notice:
            self.people.start(self.people.forger(HEALED_AT_S))
        if self.knobs.staff:
            self.people.start(self.people.staff(HEALED_AT_S + 600))
        self.kernel.run(HEALED_AT_S)
        self._heal()
        longest = HEALED_AT_S + self.rules.delivery_deadline.total_seconds() + 8 * 3600
        if self.knobs.disputes:
            longest += FIRM_REMEMBERS.total_seconds()
        while self.kernel.now < longest:
            self.kernel.run(self.kernel.now + 900)
            if self.kernel.now > HEALED_AT_S + 1800 and not self.unsettled() and not self.untold():
                break
        if self.dice.random() < 0.1:
            self.kernel.run(self.kernel.now + 26 * 3600)  # the gateway's last repeats of old notices

    def _comes(self, client: Callable[[int], Coroutine[Any, Any, None]], n: int) -> None:
        self.people.start(client(n))

    def unsettled(self) -> int:
        """How many orders still wait for a timer."""
        waiting: int = self.books.run(lambda tx: tx.value(WAITING))
        return waiting

    def untold(self) -> bool:
        """Does somebody still do something, or a bank's word wait to be heard?"""
        truly = {one.transaction: one.state for firm in self.gateways for one in firm.fought()}
        heard: dict[str, str] = dict(self.books.run(lambda tx: tx.rows(DISPUTED)))
        return bool(self.people.acting) or truly != heard

    def _begin_faults(self) -> None:
        knobs = self.knobs
        for process in (self.server, *self.workers):
            process.dies_at_await = knobs.dies_at_await
            if knobs.skew_s:
                process.skew_s = self.dice.uniform(-knobs.skew_s, knobs.skew_s)
        for worker in self.workers:
            worker.freezes_at_commit = knobs.freezes_at_commit
            worker.freezes_until = HEALED_AT_S - 1000 if knobs.freezes_at_commit else 0.0
            worker.on_boot = partial(self._boot_worker, worker)
            self._boot_worker(worker)
        if knobs.killed_every_s:
            self.kernel.at(knobs.killed_every_s * self.dice.random(), self._kill_one)

    def _kill_one(self) -> None:
        if self.wire.knobs.killed_every_s:
            self.dice.choice((self.server, *self.workers)).kill()
            self.kernel.at(2 * self.knobs.killed_every_s * self.dice.random(), self._kill_one)

    def _heal(self) -> None:
        """Faults end; what they did remains."""
        self.kernel.note("healed")
        self.wire.knobs = self.knobs.healed()
        for process in (self.server, *self.workers):
            process.dies_at_await = 0.0
            process.skew_s = max(-60.0, min(60.0, process.skew_s))
        for firm in self.gateways:
            # Nobody can be asked about a dispute: its notices come in the end.
            told = self.knobs.disputes and firm.name == "card"
            firm.heal(lose_notices=self.knobs.notices_stay_lost and not told)
        for one in self.operators.values():
            one.far.troubles.heal()
            one.far.float_minor += 10**9


DISPUTED = Statement("SELECT transaction, state FROM topup_dispute")
WAITING = Statement("SELECT count(*) FROM topup_order WHERE due IS NOT NULL")


# ------------------------------------------------------------------ made once in a process


_on_sale_kept: dict[int, catalogue.Catalogue] = {}


def _on_sale(books: Books, seed: int, suppliers: Sequence[str], routing: Routing) -> catalogue.Catalogue:
    """The catalogue that comes along; each Chinese operator is delivered by one supplier of the seed, by some, or by all."""
    everything = _on_sale_kept.get(id(books)) or _on_sale_kept.setdefault(id(books), books.run(catalogue.load))
    dice = Random(f"supplies {seed}")
    supplies = {}
    for n, operator in enumerate(sorted(PREFIXES)):
        first = suppliers[n % len(suppliers)]
        others = [name for name in suppliers if name != first]
        some = [first, *dice.sample(others, dice.randint(0, len(others)))]
        supplies[operator] = tuple(
            Supply(operator, None, name, None, SUPPLIERS[name] * 10, None, dice.choice((10, 10, 20))) for name in some
        )
    return replace(everything, _supplies=supplies, routing=routing)


def _routing(seed: int, suppliers: Sequence[str], began: datetime) -> Routing:
    """What people decided of routing on this day: limits, pauses, rules; nothing of it outlasts the faults."""
    dice = Random(f"routing {seed}")

    def span() -> tuple[datetime, datetime]:
        starts = began + timedelta(seconds=dice.uniform(0, HEALED_AT_S / 2))
        return starts, starts + timedelta(seconds=dice.uniform(60, HEALED_AT_S / 2))

    limits = {
        name: Limits(
            most_in_flight=dice.choice((1, 3, 2_000)),
            most_per_second=dice.choice((None, None, 1, 5)),
            most_tries=dice.choice((2, 12)),
            least_answers=dice.choice((3, 8, 20)),
            rest_s=dice.choice((5, 30)),
        )
        for name in suppliers
        if dice.random() < 0.6
    }
    pauses = [Maintenance(name, None, *span()) for name in suppliers if dice.random() < 0.2]
    rules = []
    for action in ("prefer", "only", "never", "hold"):
        if dice.random() < 0.15:
            starts, ends = span()
            named = () if action == "hold" and dice.random() < 0.5 else (dice.choice(suppliers),)
            operator = dice.choice((None, *sorted(PREFIXES)))
            rules.append(Rule(action, action, named, operator, starts_at=starts, ends_at=ends))
    return Routing(tuple(rules), tuple(pauses), limits)
