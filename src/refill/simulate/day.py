"""One seeded day: partners and guests buy credit, everything fails, then heals; what is left is for `truth` to judge."""

import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, partial
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from refill import cards, catalogue, ledger, operators, payments
from refill.catalogue.offers import Supply
from refill.db import Statement, Tx
from refill.errors import Busy, RefillError
from refill.ids import cell_of, make_id
from refill.money import amount
from refill.numbers import Msisdn, number_id
from refill.operators import Flags, Supplier
from refill.payments import Method, RawNotice
from refill.simulate.kernel import EPOCH, Kernel, Process
from refill.simulate.world import Books, Knobs, VirtualDatabase, VirtualWorld, Wire
from refill.simulators.alipay import AlipaySimulator
from refill.simulators.operator import OperatorSimulator
from refill.topup import Ask, Order, Rules, Shelf, Trade, Worker, flow
from refill.vault import Vault
from refill.world import NoAnswer, NotSent, Request, Response

HEALED_AT_S = 1800.0  # faults end; an order that came at the beginning has lapsed by then
PUBLIC = "http://refill.example"
GATEWAY = "http://alipay.example"
APP, SELLER = "2021000000000000", "2088000000000000"
SUPPLIERS = ("northtel", "southtel", "easttel")
WORST_LATENESS = timedelta(seconds=300)  # of the wire (200 s) and of the operators' own queue (60 s)
OUR_NUMBERS = [Msisdn(f"861991234{n:04}") for n in range(5000, 5004)]
PREFIXES = {"cmcc": "138", "cunicom": "186", "ctcc": "189"}
# What operators do wrong. `reversed` is not among them: nobody acts on a reversal yet.
WRONGS = (
    "slow lost refused hidden duplicate odd_code partial html truncated wrong_amount wrong_number not_ours empty_float"
    " later fails_later contradicts unsigned busy silent error_500"
).split()
GATEWAY_WRONGS = "error_before error_after slow lost html truncated unsigned garbled broke".split()


@dataclass(frozen=True)
class Operator:
    """An operator of the seed and what its adapter declares."""

    far: OperatorSimulator
    filled_minor: int  # our float there in the morning


@dataclass
class Heard:
    """What clients were told; nobody may ever be told otherwise."""

    orders: dict[str, set[str]] = field(default_factory=dict)  # by a client's key or reference: order ids
    texts: list[str] = field(default_factory=list)  # every answer, to look for numbers in
    wrong: list[str] = field(default_factory=list)  # answers that must never be given


class Day:
    """The system of one seed: a server, two workers, a gateway, operators, clients."""

    def __init__(self, seed: int, books: Books, orders: int = 20) -> None:
        self.seed, self.books, self.size = seed, books, orders
        self.knobs = Knobs.draw(seed)
        hour = Random(f"hour {seed}").choice((2, 8, 15.8, 23.9))  # UTC; 16 h is midnight in China
        self.kernel = Kernel(seed, EPOCH + timedelta(hours=hour))
        self.dice = self.kernel.dice
        self.wire = Wire(self.kernel, self.knobs)
        self.heard = Heard()
        self.numbers: set[str] = {number.digits for number in OUR_NUMBERS}
        self.vault = Vault(b"\7" * 32, nonce=lambda size: self.dice.getrandbits(8 * size).to_bytes(size))
        self.rules = Rules(
            delivery_deadline=timedelta(minutes=self.dice.choice((30, 120, 1440))),
            chase_after_deadline=timedelta(hours=3),
        )
        self.server = Process(self.kernel, "server")
        self.workers = [Process(self.kernel, f"worker{n}") for n in (1, 2)]
        self.far = Process(self.kernel, "far", mortal=False)
        self.people = Process(self.kernel, "people", mortal=False)
        self.people_world = VirtualWorld(self.people, self.wire)
        books.begin(self.kernel)
        self.gateway = self._gateway()
        self.operators = {name: self._operator(name) for name in SUPPLIERS[: self.dice.choice((1, 2, 3))]}
        self.shelf = Shelf(_on_sale(books, tuple(self.operators)))
        self.methods = _methods()
        self.suppliers = {name: self._supplier(name, operator.far) for name, operator in self.operators.items()}
        self.partners = [make_id("pa", 77 + n, 0, n) for n in range(2)]
        self._prepare_books()
        self._place_on_wire()

    # ------------------------------------------------------------------ the far ends

    def _surroundings(self) -> dict[str, Any]:
        world = VirtualWorld(self.far, self.wire)
        return {
            "now": self.kernel.time,
            "dice": self.dice,
            "schedule": lambda delay_s, work: self.kernel.at(delay_s, lambda: self.far.start(work())),
            "post": world.send,
            "sleep": world.sleep,
        }

    def _gateway(self) -> AlipaySimulator:
        knobs = self.knobs
        ours, theirs, _ = _keys()
        chances = {
            "lose_notice": knobs.lose_notice,
            "double_notice": knobs.double_notice,
            "late_notice": knobs.late_notice,
            "forge_notice": knobs.forge_notice,
            "short_paid": knobs.short_paid,
            **dict.fromkeys(GATEWAY_WRONGS, knobs.gateway),
        }
        return AlipaySimulator(
            app_id=APP,
            seller_id=SELLER,
            public_key=_public_pem(ours),
            private_key=_private_pem(theirs),
            base_url=GATEWAY,
            chances=chances,
            **self._surroundings(),
        )

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
        filled = 12_000 if knobs.drained else 10**9
        far = OperatorSimulator(
            secret=f"secret of {name}".encode(),
            name=name,
            base_url=f"http://{name}.example",
            notify_url=f"{PUBLIC}/callbacks/suppliers/{name}",
            float_minor=filled,
            cost_per_mille=980,
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
            GATEWAY: (self.far, self.gateway.handle),
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
        """The doors, without their frames: they translate and ask the spine."""
        trade, path = self.trade(self.server), request.url.removeprefix(PUBLIC)
        try:
            if path.startswith("/callbacks/suppliers/"):
                name = path.rpartition("/")[2]
                status, said = await flow.receive_supplier_notice(trade, name, request.body, request.headers)
                return Response(status, {}, said)
            if path.startswith("/callbacks/"):
                raw = RawNotice(request.body, request.headers, trade.world.now())
                status, said = await flow.receive_notice(trade, path.rpartition("/")[2], raw)
                return Response(status, {}, said)
            answer = await self._answer(trade, path, json.loads(request.body))
            return Response(200, {}, json.dumps(answer).encode())
        except RefillError as error:
            return Response(error.status, {}, json.dumps([error.code, str(error)]).encode())

    async def _answer(self, trade: Trade, path: str, said: Any) -> Any:
        match path:
            case "/place":
                orders = await flow.place(trade, [self._ask(trade, **row) for row in said])
                return [one.id if isinstance(one, Order) else [one.code, str(one)] for one in orders]
            case "/invite":
                return (await flow.invite(trade, said["order"], "alipay", scene=said["scene"])).url
            case "/look":
                return (await flow.poll(trade, said["order"])).status
            case "/reverse":
                return (await flow.reverse(trade, said["order"], who="finance", reason="sent by mistake")).status
            case "/cancel":
                return (await flow.cancel(trade, said["order"])).status
        raise AssertionError(path)

    def _ask(self, trade: Trade, *, payer: str, msisdn: str, face: str, key: str, reference: str | None) -> Ask:
        number = number_id(self.vault, Msisdn(msisdn))
        return Ask(
            flow.new_order_id(trade, number),
            payer,
            "partner_api" if payer.startswith("partner:") else "portal",
            Msisdn(msisdn),
            number,
            amount(face, "CNY"),
            key,
            reference,
            commission_bp=30 if payer.startswith("partner:") else None,
        )

    # ------------------------------------------------------------------ clients

    async def ask_us(self, path: str, said: Any) -> tuple[int, Any]:
        """One request of a client. Raises NotSent or NoAnswer."""
        request = Request("POST", PUBLIC + path, {}, json.dumps(said).encode(), 15)
        response = await self.people_world.send(request)
        self.heard.texts.append(response.body.decode())
        return response.status, json.loads(response.body)

    async def insist(self, path: str, said: Any, patience: int = 60) -> tuple[int, Any]:
        """Asks until somebody answers: this is how clients are told to behave."""
        for _ in range(patience):
            try:
                status, answer = await self.ask_us(path, said)
                if status != 503:
                    return status, answer
            except (NotSent, NoAnswer):
                pass
            await self.people_world.sleep(self.dice.uniform(0.5, 20))
        return 503, None

    def number(self) -> str:
        """A number to top up, on our own network or on another."""
        if self.dice.random() < 0.4:
            return self.dice.choice(OUR_NUMBERS).digits
        operator = self.dice.choice(sorted(PREFIXES)[: len(self.operators)])
        digits = f"86{PREFIXES[operator]}{self.dice.randrange(10**8):08}"
        self.numbers.add(digits)
        return digits

    def _row(self, payer: str, n: int) -> dict[str, Any]:
        face = self.dice.choice(("10.00", "20.00", "30.00", "50.00", "100.00"))
        reference = f"ref {n}" if self.dice.random() < 0.4 else None
        return {"payer": payer, "msisdn": self.number(), "face": face, "key": f"key {n}", "reference": reference}

    async def place(self, row: dict[str, Any]) -> str | None:
        """Places one order and remembers what it was told. None: refused, or nobody answered."""
        _, answers = await self.insist("/place", [row])
        return self._hear(row, answers[0]) if answers else None

    async def bulk(self, rows: list[dict[str, Any]]) -> None:
        """Places several orders at once."""
        _, answers = await self.insist("/place", rows)
        for row, answer in zip(rows, answers or (), strict=False):
            self._hear(row, answer)

    def _hear(self, row: dict[str, Any], answer: Any) -> str | None:
        """What a client is told of an order; None: it was refused."""
        if not isinstance(answer, str):
            return None
        names = [f"{row['payer']} {row['key']}"]
        if row["reference"]:
            names.append(f"{row['payer']} {row['reference']}")
        for name in names:
            self.heard.orders.setdefault(name, set()).add(answer)
        return answer

    async def partner(self, n: int) -> None:
        """A platform's request, with all the ways in which platforms repeat themselves."""
        row = self._row(f"partner:{self.dice.choice(self.partners)}", n)
        habit = self.dice.random()
        if self.dice.random() < 0.15:  # several in one request, one of them twice
            await self.bulk([row, self._row(row["payer"], 100 + n), row])
        if habit < 0.2:  # the same request twice at the same instant
            self.people.start(self.place(row))
        placed = await self.place(row)
        if habit < 0.5:
            await self.people_world.sleep(self.dice.uniform(0, 900))
            await self.place(row)
        elif habit < 0.65 and placed:
            other = {**row, "face": "200.00"}
            _, answers = await self.insist("/place", [other])
            if answers and (not isinstance(answers[0], list) or answers[0][0] != "key_reused"):
                self.heard.wrong.append(f"I3: another request under {row['key']} was answered {answers[0]}")
        elif habit < 0.75 and placed and row["reference"]:
            again = await self.place({**row, "key": f"other key {n}"})
            if again not in (placed, None):
                self.heard.wrong.append(f"I3: {row['reference']} under another key made another order")

        elif habit > 0.9 and placed:  # staff take it back, perhaps twice; where it is another network's they cannot
            for _ in range(self.dice.choice((1, 2))):
                await self.people_world.sleep(self.dice.uniform(0, 300))
                await self.insist("/reverse", {"order": placed})

    async def guest(self, n: int) -> None:
        """A person at the portal."""
        dice, world = self.dice, self.people_world
        row = self._row(f"guest:{n}", n) | {"reference": None}
        if dice.random() < 0.2:  # a double click
            self.people.start(self.place(row))
        order = await self.place(row)
        placed_at = self.kernel.now
        habit = dice.random()
        if order is None or habit < 0.05:
            return
        scene = dice.choice(("page", "qr"))
        reference = await self._open(order, scene)
        if reference is None or habit < 0.13:
            return
        if habit < 0.18:
            await self.insist("/cancel", {"order": order})
        if habit < 0.3:  # pays around the expiry
            brink = placed_at + self.rules.payment_expiry.total_seconds() + dice.uniform(-40, 5)
            await world.sleep(max(0.0, brink - self.kernel.now))
        else:
            await world.sleep(dice.uniform(1, 120))
        if habit < 0.4:  # pays by both ways
            other = await self._open(order, "qr" if scene == "page" else "page")
            if other:
                self._pay(other)
        self._pay(reference)
        if dice.random() < 0.3:
            await self.insist("/look", {"order": order}, 2)

    def _pay(self, reference: str) -> None:
        paid = self.gateway.pay(reference)
        self.kernel.note("pays", reference, paid)

    async def _open(self, order: str, scene: str) -> str | None:
        """Gets the address of the payment and opens it, now or later; our reference of the trade at the gateway."""
        status, url = await self.insist("/invite", {"order": order, "scene": scene}, 20)
        if status != 200:
            return None
        if self.dice.random() < 0.15:
            await self.people_world.sleep(self.dice.uniform(0, 950))  # the page was left open
        for _ in range(10):
            try:
                response = await self.people_world.send(Request("GET", url, timeout_s=20))
            except (NotSent, NoAnswer):
                await self.people_world.sleep(2)
                continue
            token = response.headers.get("location", "").rpartition("/")[2]
            return next((one.reference for one in self.gateway.trades.values() if one.token == token), None)
        return None

    async def forger(self) -> None:
        """Tells us that orders are paid which are not, and recharges refused which are not."""
        shelf = payments.shelf()["alipay"]
        while self.kernel.now < HEALED_AT_S:
            await self.people_world.sleep(self.dice.uniform(20, 200))
            guests = sorted(name for name in self.heard.orders if name.startswith("guest"))
            if not guests:
                continue
            order = min(self.heard.orders[self.dice.choice(guests)])
            now = (self.kernel.time() + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")
            fields = {
                "app_id": APP,
                "seller_id": SELLER,
                "notify_id": f"forged {self.dice.getrandbits(64)}",
                "notify_time": now,
                "charset": "utf-8",
                "out_trade_no": f"{order}p1",
                "trade_no": f"forged {self.dice.getrandbits(64)}",
                "trade_status": "TRADE_SUCCESS",
                "total_amount": self.dice.choice(("10.00", "20.00", "29.97", "49.90", "99.60")),
                "gmt_payment": now,
            }
            body = shelf.sign_notice(_keys()[2], fields)
            try:
                await self.people_world.send(Request("POST", f"{PUBLIC}/callbacks/alipay", {}, body, 10))
            except (NotSent, NoAnswer):
                continue

    # ------------------------------------------------------------------ the day

    def run(self) -> None:
        """Lives the day until nothing is due any more, or much too long."""
        self._begin_faults()
        for n in range(self.size):
            late = self.dice.random() < 0.2  # some come when all is well again
            begins = HEALED_AT_S + 100 * self.dice.random() if late else self.knobs.burst_s * self.dice.random()
            client = self.partner if self.dice.random() < 0.45 else self.guest
            self.kernel.at(begins, self._comes, client, n)
        if self.knobs.forge_notice:
            self.people.start(self.forger())
        self.kernel.run(HEALED_AT_S)
        self._heal()
        longest = HEALED_AT_S + self.rules.delivery_deadline.total_seconds() + 5 * 3600
        while self.kernel.now < longest:
            self.kernel.run(self.kernel.now + 900)
            if self.kernel.now > HEALED_AT_S + 1800 and not self.unsettled():
                break
        if self.dice.random() < 0.1:
            self.kernel.run(self.kernel.now + 26 * 3600)  # the gateway's last repeats of old notices

    def _comes(self, client: Callable[[int], Coroutine[Any, Any, None]], n: int) -> None:
        self.people.start(client(n))

    def unsettled(self) -> int:
        """How many orders still wait for a timer."""
        waiting: int = self.books.run(lambda tx: tx.value(WAITING))
        return waiting

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
        self.gateway.troubles.heal()
        if self.wire.knobs.lose_notice:
            self.gateway.troubles.chances["lose_notice"] = 1.0
        for one in self.operators.values():
            one.far.troubles.heal()
            one.far.float_minor += 10**9


WAITING = Statement("SELECT count(*) FROM topup_order WHERE due IS NOT NULL")


# ------------------------------------------------------------------ made once in a process


@cache
def _keys() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey, rsa.RSAPrivateKey]:
    """Ours, the gateway's, a forger's. Short keys: the same code runs, five times faster."""
    ours, theirs, forger = (rsa.generate_private_key(65537, 1024) for _ in range(3))  # noqa: S505
    return ours, theirs, forger


@cache
def _methods() -> dict[str, Method]:
    ours, theirs, _ = _keys()
    shelf = payments.shelf()["alipay"]
    return {"alipay": shelf.Alipay(APP, SELLER, ours, theirs.public_key(), f"{GATEWAY}/gateway.do")}


def _private_pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public_pem(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


_on_sale_kept: dict[tuple[Any, ...], catalogue.Catalogue] = {}


def _on_sale(books: Books, suppliers: Sequence[str]) -> catalogue.Catalogue:
    """The catalogue that comes along, each Chinese operator delivered by a supplier of the seed, two per cent below face."""
    key = (id(books), *suppliers)
    if key not in _on_sale_kept:
        everything = books.run(catalogue.load)
        supplies = {
            operator: (Supply(operator, None, suppliers[n % len(suppliers)], None, 9_800),)
            for n, operator in enumerate(sorted(PREFIXES))
        }
        _on_sale_kept[key] = replace(everything, _supplies=supplies)
    return _on_sale_kept[key]
