"""A lock storm: 16 real connections do everything at once to the same few rows, around midnight; then the truth is told.

Seeded days run one transaction at a time, so they cannot see two of them collide. Here they collide as often as we can
make them: the same keys, floats at their floors, the same subscribers, two notices of one payment, refunds asked twice.
"""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from refill import cards, catalogue, ledger
from refill.catalogue.offers import Supply
from refill.db import Pool, Statement, Tx
from refill.errors import Busy, CannotHappen, NotVerified, OtherContent, RefillError
from refill.ids import cell_of, make_id
from refill.money import Money, money
from refill.numbers import Msisdn, number_id
from refill.operators import Delivery, Flags, Recharge, SupplierNotice
from refill.outcome import EMPTY_FLOAT, NOT_FOUND, Done, Outcome, Refused, Unknown
from refill.payments import ABSENT, ALREADY_PAID, Can, Capture, Charge, Invitation, Notice, RawNotice, RefundAsk
from refill.simulate.crew import database
from refill.topup import Ask, Order, Rules, Shelf, Trade, Worker, flow
from refill.topup.check import check
from refill.vault import Vault
from refill.world import NotSent, Request, Response

CONNECTIONS = 16
FASTER = 60  # a second of the storm is a minute of its clock
BEGINS = datetime(2026, 11, 22, 15, 50, tzinfo=UTC)  # ten to midnight in China
SUBSCRIBERS = [Msisdn(f"861991234{n:04}") for n in range(6000, 6004)]
STRANGERS = [Msisdn(f"861380000{n:04}") for n in range(100, 110)]
POOR = 20_000  # minor units in the float that is soon at its floor
REFUSALS = {"insufficient_funds", "key_reused"}


class StormWorld:
    """Real waiting, a hurried clock, seeded dice."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)
        self._began = time.monotonic()
        self._ahead = timedelta()
        self.tasks: set[asyncio.Task[None]] = set()
        self.errors: list[str] = []

    def now(self) -> datetime:
        return BEGINS + timedelta(seconds=(time.monotonic() - self._began) * FASTER) + self._ahead

    db_now = now

    def skip(self, ahead: timedelta) -> None:
        """Moves the clock."""
        self._ahead += ahead

    def new_id(self, prefix: str, cell: int) -> str:
        return make_id(prefix, cell, int(self.now().timestamp() * 1000), self.chance(60))

    def chance(self, bits: int) -> int:
        return self._dice.getrandbits(bits)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / FASTER)

    async def send(self, request: Request) -> Response:
        raise NotSent("there is no wire in the storm")

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Busy:
            return  # its timer rings again
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")


class Gateway:
    """A payment method that answers at once and remembers what it truly took and gave back."""

    name = "alipay"
    can = Can(scenes=("page", "qr"))
    currencies = frozenset({"CNY"})

    def __init__(self) -> None:
        self.taken: dict[str, Capture] = {}
        self.closed: set[str] = set()
        self.back: dict[str, Money] = {}  # by our request

    def pays(self, payment: str, paid: Money, at: datetime) -> Capture | None:
        """A person pays; None: nobody can any more."""
        if payment in self.closed or payment in self.taken:
            return None
        self.taken[payment] = Capture(self.name, "us", f"t{payment}", payment, paid, at)
        return self.taken[payment]

    async def begin(self, world: Any, charge: Charge) -> Outcome[Invitation]:
        return Done(Invitation("redirect", charge.reference))

    async def query(self, world: Any, reference: str) -> Outcome[Capture]:
        return Done(self.taken[reference]) if reference in self.taken else Refused(ABSENT)

    def read_statement(self, file: Any) -> Any:
        raise CannotHappen("the storm asks for no statement")

    async def close(self, world: Any, reference: str) -> Outcome[str]:
        if reference in self.taken:
            return Refused(ALREADY_PAID)
        self.closed.add(reference)
        return Done(reference)

    async def refund(self, world: Any, ask: RefundAsk) -> Outcome[str]:
        if world.chance(2) == 0:
            return Unknown("no answer")
        self.back[ask.request_id] = ask.amount
        return Done("refund") if world.chance(2) else Unknown("the answer was lost")

    async def query_refund(self, world: Any, ask: RefundAsk) -> Outcome[str]:
        return Done("refund") if ask.request_id in self.back else Refused(ABSENT)

    def read_notice(self, raw: RawNotice) -> Notice:
        raise NotVerified("There are no notices in the storm.")

    def acknowledge(self, accepted: bool) -> tuple[int, bytes]:
        return 200, b""


class Supplier:
    """An operator that answers at once, in every way, and remembers what it truly delivered."""

    name = "stormtel"
    flags = Flags(dedups_our_reference=True, not_found_is_final_after=timedelta(seconds=60), can_reverse=False)

    def __init__(self) -> None:
        self.given: dict[str, Delivery] = {}
        self.no: dict[str, Refused] = {}
        self.calm = False

    async def recharge(self, world: Any, ask: Recharge) -> Outcome[Delivery]:
        if ask.request_id not in self.given and ask.request_id not in self.no:
            luck = 15 if self.calm else world.chance(4)
            if luck == 0:
                return Unknown("lost")
            if luck < 4:
                reasons = (EMPTY_FLOAT, "busy", "barred")
                self.no[ask.request_id] = Refused(reasons[luck - 1], final=luck == 3)
            else:
                face = Money(ask.face.minor // 2, "CNY") if luck == 4 else ask.face
                cost = Money(face.minor * 98 // 100, "CNY")
                self.given[ask.request_id] = Delivery(f"S{ask.request_id}", ask.msisdn, face, cost)
            if luck in (5, 6):
                return Unknown("the answer was lost")
        return await self.inquire(world, ask)

    async def inquire(self, world: Any, ask: Recharge) -> Outcome[Delivery]:
        if ask.request_id in self.given:
            return Done(self.given[ask.request_id])
        return self.no.get(ask.request_id) or Unknown(NOT_FOUND)

    async def balance(self, world: Any, currency: str) -> Outcome[Money]:
        return Unknown("not told")

    def read_notice(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> SupplierNotice:
        raise NotVerified("There are no notices in the storm.")


class Storm:
    """Everything at once."""

    def __init__(self, pool: Pool, seed: int, on_sale: catalogue.Catalogue) -> None:
        self.pool, self.world, self.dice = pool, StormWorld(seed), Random(seed)
        self.gateway, self.supplier = Gateway(), Supplier()
        self.vault = Vault(b"\5" * 32)
        supply = (Supply("cmcc", None, Supplier.name, None, 9_800),)
        shelf = Shelf(replace(on_sale, _supplies={"cmcc": supply}))
        rules = Rules(delivery_deadline=timedelta(hours=2), chase_after_deadline=timedelta(hours=2))
        self.trade = Trade(
            self.world,
            pool,
            self.vault,
            shelf,
            {"alipay": self.gateway},
            {Supplier.name: self.supplier},
            rules=rules,
        )
        self.partners = [make_id("pa", 5 + n, 0, n) for n in range(3)]
        self.told: dict[str, set[str]] = defaultdict(set)  # by payer and key: order ids
        self.count: Counter[str] = Counter()
        self.deposited: Counter[str] = Counter()  # by partner
        self.wrong: list[str] = []

    async def prepare(self) -> None:
        """Partners with floats, one of them poor, and a few subscribers that everybody tops up."""
        now = self.world.db_now()
        subscribers = []
        for n, msisdn in enumerate(SUBSCRIBERS):
            number = number_id(self.vault, msisdn)
            cell = cell_of(number)
            until = now + timedelta(days=9)
            subscribers.append(
                cards.Subscriber(make_id("su", cell, 0, n), cell, number, "active", until, "CNY", "demo", f"i{n}")
            )

        async def work(tx: Tx) -> None:
            await cards.create(tx, subscribers, now)
            await ledger.open_accounts(
                tx,
                [ledger.Account(f"float:{one}/CNY") for one in self.partners]
                + [ledger.Account(f"float:{Supplier.name}/CNY", None)],
                now,
            )

        await self.pool.transaction(work)
        for partner, minor in zip(self.partners, (10**9, 10**9, POOR), strict=True):
            await self.deposit(partner, minor, f"{make_id('de', 9, 0, len(self.deposited))}.deposit")

    async def deposit(self, partner: str, minor: int, entry_id: str) -> None:
        """A partner's money arrives; the same deposit may be told twice."""
        entry = ledger.Entry.of(entry_id, ("bank:demo/CNY", f"float:{partner}/CNY", minor))
        now = self.world.db_now()
        (answer,) = await self.pool.transaction(lambda tx: ledger.post(tx, [entry], now))
        if answer == ledger.Posted():
            self.deposited[partner] += minor

    def ask(self, payer: str, key: str | None) -> Ask:
        """The same key always asks for the same, except sometimes."""
        like = Random(key) if key and self.dice.random() < 0.97 else self.dice
        msisdn = like.choice(SUBSCRIBERS + STRANGERS)
        number = number_id(self.vault, msisdn)
        face = money(like.choice(("10.00 CNY", "20.00 CNY", "50.00 CNY", "100.00 CNY")))
        id_ = flow.new_order_id(self.trade, number)
        bp = 30 if payer.startswith("partner:") else None
        return Ask(id_, payer, "partner_api", msisdn, number, face, key, commission_bp=bp)

    async def places(self) -> None:
        """A batch of a partner's orders; its keys come from a small set that other connections use too."""
        asks = []
        for _ in range(self.dice.choice((1, 3, 40))):
            partner = self.dice.choice(self.partners)
            key = f"{int(self.world.now().timestamp()) // 120} {self.dice.randrange(60)}"
            asks.append(self.ask(f"partner:{partner}", key))
        for ask, answer in zip(asks, await flow.place(self.trade, asks), strict=True):
            self.hears(ask, answer)

    def hears(self, ask: Ask, answer: Order | RefillError) -> None:
        """What a client is told."""
        if isinstance(answer, Order):
            self.count["orders"] += not answer.replayed
            self.told[f"{ask.payer} {ask.key}"].add(answer.id)
        elif isinstance(answer, OtherContent) or answer.code in REFUSALS:
            self.count[answer.code] += 1
        else:
            self.wrong.append(f"an order was refused: {answer.code} {answer}")

    async def buys(self) -> None:
        """A guest's order, paid by two notices at once, or by two payments, or cancelled meanwhile."""
        asks = [self.ask(f"guest:{self.world.chance(40)}", None) for _ in range(self.dice.choice((1, 4)))]
        orders = [one for one in await flow.place(self.trade, asks) if isinstance(one, Order)]
        self.count["orders"] += len(orders)
        captures = []
        for order in orders:
            for scene in ("page", "qr")[: self.dice.choice((1, 1, 2))]:
                invitation = await flow.invite(self.trade, order.id, "alipay", scene=scene)
                paid = order.price if self.dice.random() < 0.95 else Money(order.price.minor - 1, "CNY")
                if self.dice.random() < 0.9:
                    captures.append(self.gateway.pays(invitation.url, paid, self.world.now()))
        known = [capture for capture in captures if capture]
        again = known[:]
        self.dice.shuffle(again)
        together: list[Any] = [flow.pay(self.trade, known), flow.pay(self.trade, again)]
        together += [flow.poll(self.trade, order.id) for order in orders[:1]]
        together += [flow.cancel(self.trade, order.id) for order in orders[1:2]]
        await asyncio.gather(*together)

    async def funds(self) -> None:
        """Two connections tell of one deposit at once."""
        partner = self.partners[2]
        entry_id = f"{self.world.new_id('de', cell_of(partner))}.deposit"
        await asyncio.gather(*(self.deposit(partner, 3_000, entry_id) for _ in range(2)))

    async def splits(self) -> None:
        """A float is kept in more stripes, or fewer, while everybody debits it."""
        partner, stripes = self.dice.choice(self.partners[1:]), self.dice.choice((1, 2, 4))
        name, now = f"float:{partner}/CNY", self.world.db_now()
        id_ = f"{self.world.new_id('sp', cell_of(partner))}.split"
        await self.pool.transaction(lambda tx: ledger.split(tx, name, stripes, id_=id_, at=now))

    async def reverses(self) -> None:
        """Two people take one top-up back at once."""
        known = sorted(min(ids) for ids in self.told.values())
        if not known:
            return
        order_id = self.dice.choice(known[-50:])
        twice = (flow.reverse(self.trade, order_id, who="finance", reason="by mistake") for _ in range(2))
        for answer in await asyncio.gather(*twice, return_exceptions=True):
            if isinstance(answer, Exception) and not isinstance(answer, CannotHappen | Busy):
                raise answer

    async def actor(self, until: float) -> None:
        """One connection's worth of haste."""
        deeds: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (
            *(self.places,) * 5,
            *(self.buys,) * 4,
            self.funds,
            self.splits,
            self.reverses,
        )
        while time.monotonic() < until:
            try:
                await self.dice.choice(deeds)()
            except Busy:
                self.count["busy"] += 1
            except Exception as error:
                self.wrong.append(f"an error escaped: {type(error).__name__}: {error}")

    async def works(self, until: float) -> None:
        """A worker."""
        worker = Worker(self.trade)
        while time.monotonic() < until:
            try:
                await asyncio.sleep(0 if await worker.tick() else 0.02)
            except Busy:
                self.count["busy"] += 1
            except Exception as error:
                self.wrong.append(f"an error escaped: {type(error).__name__}: {error}")

    async def settles(self) -> None:
        """After the storm: the clock is moved on until nothing is due any more."""
        self.supplier.calm = True
        worker = Worker(self.trade)
        for _ in range(2_000):
            while await worker.tick():
                await self.rests()
            await self.rests()
            due = await self.pool.transaction(lambda tx: tx.value(NEXT))
            if due is None:
                return
            self.world.skip(max(due - self.world.now(), timedelta()) + timedelta(milliseconds=1))
        self.wrong.append("liveness: orders are still due")

    async def rests(self) -> None:
        """Until all calls that were begun have ended."""
        while self.world.tasks:
            await asyncio.wait(set(self.world.tasks))

    async def judge(self) -> list[str]:
        """What does not hold."""
        findings = self.wrong + [f"an error escaped: {error}" for error in self.world.errors]
        findings += await check(self.pool, lambda done, total: None)
        findings += [f"I3: {key} is {len(ids)} orders" for key, ids in self.told.items() if len(ids) > 1]
        told = sorted({id_ for ids in self.told.values() for id_ in ids})
        kept = await self.pool.transaction(lambda tx: tx.value(KEPT, ids=told))
        if kept != len(told):
            findings.append(f"I3: {len(told)} orders were acknowledged, {kept} are there")
        balances: dict[str, int] = dict(await self.pool.transaction(lambda tx: tx.rows(BALANCES)))
        for partner, minor in self.deposited.items():
            spent = await self.pool.transaction(partial(_spent, partner))
            left = balances.get(f"float:{partner}", 0)
            if left != minor - spent:
                findings.append(f"I4: {partner} paid in {minor} and spent {spent}, but {left} is left")
            if left < 0:
                findings.append(f"I14: {partner} stands at {left}")
        taken = sum(capture.amount.minor for capture in self.gateway.taken.values())
        back = sum(amount.minor for amount in self.gateway.back.values())
        if -balances.get("clearing:alipay", 0) != taken - back:
            findings.append(f"I4: the gateway owes {taken - back}, our book says {-balances.get('clearing:alipay', 0)}")
        used = sum(one.cost.minor for one in self.supplier.given.values() if one.cost)
        if balances.get(f"float:{Supplier.name}", 0) != used:
            findings.append(f"I4: the operator took {used}, our book says {balances.get(f'float:{Supplier.name}', 0)}")
        for name, balance in balances.items():
            if balance and name.startswith(("owed:", "held:", "suspense:")):
                findings.append(f"I2: {balance} is left in {name}")
        return findings


NEXT = Statement("SELECT min(due) FROM topup_order")
KEPT = Statement("SELECT count(*) FROM topup_order WHERE id = ANY (:ids::text[])")
SPENT = Statement(
    "SELECT coalesce(sum(captured_minor - refunded_minor), 0)::bigint FROM topup_order WHERE payer = :payer"
)
BALANCES = Statement("""
    -- Balances by role and owner; the stripes of one account together
    SELECT split_part(split_part(name, '/', 1), '#', 1), sum(balance)::bigint FROM ledger_account GROUP BY 1 ORDER BY 1
""")


DEADLOCKS = Statement("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")


async def _spent(partner: str, tx: Tx) -> int:
    spent: int = await tx.value(SPENT, payer=f"partner:{partner}")
    return spent


async def blow(dsn: str, seconds: float, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """One storm; what was done, and what does not hold after it."""
    pool = await Pool(dsn, size=CONNECTIONS).open()
    try:
        storm = Storm(pool, seed, await pool.transaction(catalogue.load))
        await storm.prepare()
        until = time.monotonic() + seconds
        workers = [storm.works(until) for _ in range(3)]
        await asyncio.gather(*workers, *(storm.actor(until) for _ in range(CONNECTIONS - 3)))
        await storm.rests()
        await storm.settles()
        storm.count["deadlocks"] = await pool.transaction(lambda tx: tx.value(DEADLOCKS))
        return storm.count, await storm.judge()
    finally:
        await pool.close()


def run(seconds: float) -> int:
    """`refill simulate --storm`; 0 when everything held."""
    with database(["storm"]) as (dsn,):
        done, findings = asyncio.run(blow(dsn, seconds))
    shown = Counter(finding[:160] for finding in findings)
    for finding, times in shown.most_common(20):
        print(f"  {times} × {finding}")
    rate = math.floor(done["orders"] / seconds)
    print(
        f"storm of {seconds:g} s on {CONNECTIONS} connections: {done['orders']} orders ({rate}/s),"
        f" {done['insufficient_funds']} refused at the floor, {done['key_reused']} keys reused, {done['busy']} busy,"
        f" {done['deadlocks']} deadlocks, {len(findings)} findings"
    )
    return 1 if findings else 0
