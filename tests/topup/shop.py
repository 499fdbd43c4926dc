"""A whole shop for stories about top-ups: the real engine and database, far ends in process, a clock that waits for us."""

from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from tests.worlds import MORNING, FixedWorld

from refill import cards, cases, catalogue, ledger, numbers
from refill.cards import Subscriber
from refill.db import Database, Pool, Statement, Tx
from refill.errors import RefillError
from refill.ids import cell_of
from refill.ledger import Account, Entry
from refill.money import Money, money
from refill.numbers import Msisdn, msisdn
from refill.operators import suppliers_by_name
from refill.payments import Capture, RawNotice, methods_by_name
from refill.simulators.alipay import AlipaySimulator, Keys, make_keys
from refill.simulators.operator import OperatorSimulator
from refill.topup import Ask, Order, Rules, Shelf, Trade, Worker, flow, store
from refill.topup.order import Attempt, Payment, Refund
from refill.vault import Vault
from refill.world import NotSent, Request, Response

T = TypeVar("T")
US = "https://refill.example"
ALIPAY = "https://alipay.example"
NORTHTEL = "https://northtel.example"
SECRET = "a secret that both sides know"
APP, SELLER = "2021000000000000", "2088000000000000"
KEYS: Callable[[], Keys] = cache(make_keys)

OWN_NUMBER = "138 0013 8000"  # a subscriber of our own network
ON_THE_WIRE = timedelta(milliseconds=20)  # so that what is asked and what is answered are two moments
NORTHTELS = "139 1234 5678"  # a number that northtel delivers to


class ShopWorld(FixedWorld):
    """A world whose coroutines run when time goes on; what goes wrong in one is kept, as a server would log it."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception] = []
        self.started: list[Coroutine[Any, Any, None]] = []
        self.unplugged: set[str] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        async def go() -> None:
            self.started.remove(work)
            try:
                await work
            except Exception as error:
                self.errors.append(error)

        self.started.append(work)
        self.schedule(0, go)

    def die(self) -> None:
        """The process is killed: nothing that was started goes on, not even a `finally`."""
        for work in self.started:
            work.close()
        self.started = []
        self._due = [due for due in self._due if "ShopWorld.start" not in getattr(due[2], "__qualname__", "")]

    async def send(self, request: Request) -> Response:
        if any(request.url.startswith(address) for address in self.unplugged):
            raise NotSent("nobody listens there")
        self.clock += ON_THE_WIRE
        return await super().send(request)


class Shop:
    """`dsn` with a partner, a subscriber, Alipay and northtel; `trade` is what the engine sees of it."""

    def __init__(self, db: Database, **northtel: Any) -> None:
        self.world = ShopWorld()
        self.db = db
        self.vault = Vault(bytes(range(32)), nonce=self.world.dice.randbytes)
        far = self.world.surroundings()
        self.alipay = AlipaySimulator(
            **far,
            app_id=APP,
            seller_id=SELLER,
            public_key=KEYS().merchant_public,
            private_key=KEYS().alipay_private,
            base_url=ALIPAY,
        )
        # Without a place for its notices, an operator is silent; stories about notices plug it in.
        self.northtel = OperatorSimulator(
            **far, secret=SECRET.encode(), base_url=NORTHTEL, dedups=northtel.get("dedups") == "yes", cost_per_mille=992
        )
        self.world.route(ALIPAY, self.alipay.handle)
        self.world.route(NORTHTEL, self.northtel.handle)
        self.world.route(US, self._hear)
        self.flags = {"dedups": "no", "not_found_final_s": "300", **northtel}
        self.partner = self.world.new_id("pa", cell_of("Kiosk & Co"))
        self.subscriber: Subscriber | None = None
        self.trade: Trade = None  # type: ignore[assignment]
        self.worker: Worker = None  # type: ignore[assignment]

    async def open(self, *, float_: str = "1000.00 CNY", rules: Rules | None = None) -> "Shop":
        suppliers = suppliers_by_name(
            {
                "http_json_suppliers": "northtel",
                "http_json_northtel_url": NORTHTEL,
                "http_json_northtel_secret": SECRET,
                **{f"http_json_northtel_{name}": value for name, value in self.flags.items()},
            }
        )
        methods = methods_by_name(
            {
                "alipay_app_id": APP,
                "alipay_seller_id": SELLER,
                "alipay_gateway": self.alipay.gateway_url,
                "alipay_private_key_file": KEYS().merchant_private,
                "alipay_public_key_file": KEYS().alipay_public,
            }
        )
        goods = Shelf(await self.db.transaction(catalogue.load))
        self.trade = Trade(self.world, self.db, self.vault, goods, methods, suppliers, US, rules or Rules())
        self.worker = Worker(self.trade)
        now = self.world.db_now()
        own = msisdn(OWN_NUMBER)

        async def furnish(tx: Tx) -> None:
            await ledger.open_accounts(tx, [Account("float:northtel/CNY", None), Account(self.float, 0)], now)
            deposit = self.world.new_id("de", ledger.cell_of_account(self.float))
            await ledger.post(
                tx, [Entry.of(f"{deposit}.deposit", ("bank:demo/CNY", self.float, money(float_).minor))], now
            )
            (number,) = await numbers.remember(tx, self.vault, [own], now)
            cell = cell_of(number)
            until = now + timedelta(days=10)
            self.subscriber = Subscriber(
                self.world.new_id("su", cell), cell, number, "active", until, "CNY", "demo", "89860012345678901234"
            )
            await cards.create(tx, [self.subscriber], now)

        await self.db.transaction(furnish)
        return self

    @property
    def float(self) -> str:
        return f"float:{self.partner}/CNY"

    def number(self, typed: str) -> str:
        return numbers.number_id(self.vault, msisdn(typed))

    async def taught(self, typed: str, operator: str, *, theirs: bool = True) -> None:
        """What an outcome told us of a number that we have met."""
        lesson, now = numbers.Lesson(self.number(typed), operator, theirs), self.world.db_now()
        await self.db.transaction(lambda tx: numbers.learn(tx, [lesson], now, now))

    # What people and partners do

    def ask(self, typed: str = NORTHTELS, face: str = "50.00 CNY", *, payer: str = "guest:anna", **more: Any) -> Ask:
        who: Msisdn = msisdn(typed)
        number = numbers.number_id(self.vault, who)
        id_ = more.pop("id", None) or flow.new_order_id(self.trade, number)
        return Ask(id_, payer, more.pop("channel", "portal"), who, number, money(face), **more)

    def partners_ask(self, typed: str = OWN_NUMBER, face: str = "50.00 CNY", **more: Any) -> Ask:
        more = {"channel": "partner_api", "commission_bp": 40, **more}
        return self.ask(typed, face, payer=f"partner:{self.partner}", **more)

    async def place(self, *asks: Ask) -> list[Order | RefillError]:
        return await flow.place(self.trade, asks)

    async def placed(self, ask: Ask) -> Order:
        (answer,) = await self.place(ask)
        assert isinstance(answer, Order), answer
        return answer

    async def guests_order(self, typed: str = NORTHTELS, face: str = "50.00 CNY") -> Order:
        """A guest's order with a page to pay on, opened."""
        order = await self.placed(self.ask(typed, face))
        await self.invite(order.id)
        return order

    async def invite(self, order_id: str, method: str = "alipay", scene: str = "page") -> str:
        """Shows a person where to pay, and opens it; our name for the payment."""
        invitation = await flow.invite(self.trade, order_id, method, scene=scene)
        if invitation.url:
            await self.alipay.handle(Request("GET", invitation.url))
        (payment, *_) = reversed((await self.timeline(order_id)).payments)
        return payment.reference

    async def guest_pays(self, typed: str = NORTHTELS, face: str = "50.00 CNY") -> Order:
        """A guest's order that is paid, and noticed as paid; nothing has been sent yet."""
        order = await self.guests_order(typed, face)
        assert self.alipay.pay(f"{order.id}p1")
        await self.world.advance(0)
        return await self.order(order.id)

    async def sent(self, typed: str = NORTHTELS, face: str = "50.00 CNY", **more: Any) -> Order:
        """A partner's order with northtel, asked for once."""
        order = await self.placed(self.partners_ask(typed, face, **more))
        await self.tick()
        return await self.order(order.id)

    # What the engine does

    async def tick(self) -> int:
        """One round of the worker, and the calls that it started."""
        taken = await self.worker.tick()
        await self.world.advance(0)
        return taken

    async def wait(self, seconds: float) -> None:
        """Time goes on; the worker wakes whenever a timer of ours or of a far end rings."""
        until = self.world.clock + timedelta(seconds=seconds)
        rounds_here = 0
        while True:
            before = self.world.clock
            while await self.worker.tick():
                await self.world.advance(0)
                rounds_here += 1
                assert rounds_here < 60, "an order is taken again and again without its timer moving on"
            due = await self._next_due()
            assert due is None or due > self.world.db_now(), "a timer rang and nobody took the order"
            moments = [due - self.world.db_ahead] if due else []
            if self.world._due:
                moments.append(self.world._due[0][0])
            to = min([*moments, until])
            await self.world.advance(max((to - self.world.clock).total_seconds(), 0))
            if self.world.clock > before:
                rounds_here = 0
            if self.world.clock >= until:
                while await self.tick():
                    pass
                return

    async def wait_until(self, moment: datetime) -> None:
        await self.wait((moment - self.world.clock).total_seconds())

    async def _next_due(self) -> datetime | None:
        return await self.db.transaction(lambda tx: tx.value(NEXT_DUE))

    async def _hear(self, request: Request) -> Response:
        """Our doors for notices."""
        place = request.url.removeprefix(f"{US}/callbacks/")
        if place == "northtel":
            answer = await flow.receive_supplier_notice(self.trade, "northtel", request.body, request.headers)
        else:
            raw = RawNotice(request.body, request.headers, self.world.now())
            answer = await flow.receive_notice(self.trade, place, raw)
        return Response(answer[0], {}, answer[1])

    def plug_in_notices(self) -> None:
        self.northtel.notify_url = f"{US}/callbacks/northtel"

    # What became of it

    async def order(self, order_id: str) -> Order:
        (order,) = await store.find(self.trade, [order_id])
        assert order is not None
        return order

    async def timeline(self, order_id: str) -> store.Timeline:
        return await store.timeline(self.trade, order_id)

    async def story(self, order_id: str) -> str:
        """What happened to an order, in a line: "placed paid sent#1 delivered"."""
        events = (await self.timeline(order_id)).events
        return " ".join(event.transition + (f"#{event.n}" if event.n else "") for event in events)

    async def attempts(self, order_id: str) -> str:
        """ "refused done": what became of each attempt."""
        return " ".join(attempt.state for attempt in (await self.timeline(order_id)).attempts)

    async def attempt(self, order_id: str) -> Attempt:
        return (await self.timeline(order_id)).attempts[-1]

    async def payment(self, order_id: str) -> Payment:
        return (await self.timeline(order_id)).payments[-1]

    async def refund(self, order_id: str) -> Refund:
        return (await self.timeline(order_id)).refunds[-1]

    async def cases(self, about: str) -> list[str]:
        return [case.kind for case in await self.db.transaction(lambda tx: cases.about(tx, about))]

    async def balance(self, account: str) -> str:
        """In plain decimals, "0.00" for an account that nobody has opened."""
        held = await self.db.transaction(lambda tx: ledger.balances(tx, [account]))
        return Money(held.get(account, 0), account[-3:]).text()

    async def book(self, order_id: str) -> str:
        """The entries of an order as a bookkeeper reads them, one transfer a line."""
        rows = (await self.timeline(order_id)).transfers
        lines = [
            f"{id_.removeprefix(order_id + '.')} | {self.called(debit)} → {self.called(credit)} | {_decimal(minor)}"
            for id_, debit, credit, minor, _ in rows
        ]
        return "\n".join(sorted(lines))

    def called(self, account: str) -> str:
        name = account.removesuffix("/CNY").replace(self.partner, "kiosk")
        return name.replace(self.subscriber.id, "anna") if self.subscriber else name

    async def sql(self, text: str, **parameters: Any) -> int:
        """Something that only a broken program or a person with psql would do."""
        statement = Statement(text)
        Statement.every.remove(statement)
        return await self.db.transaction(lambda tx: tx.run(statement, **parameters))


NEXT_DUE = Statement("SELECT min(due) FROM topup_order")
Statement.every.remove(NEXT_DUE)


def _decimal(minor: int) -> str:
    return Money(minor, "CNY").text()


def table(text: str) -> str:
    """A table written in a test, as `Shop.book` says it: sorted lines without indentation."""
    return "\n".join(sorted(" ".join(line.split()) for line in text.strip().splitlines()))


def captured(
    reference: str, amount: str, at: datetime = MORNING, *, method: str = "cash", number: str = "1"
) -> Capture:
    """Money counted at a till, or whatever a gateway might say."""
    return Capture(method, "till:1", number, reference, money(amount), at)


class Lossy:
    """A database whose answer to COMMIT is lost: the work runs, is committed, and runs again, as `Database` promises."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.lose = 0
        self.between: Callable[[], Awaitable[None]] | None = None  # what others do before the work runs again

    async def transaction(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        if self.lose:
            self.lose -= 1
            await self._pool.transaction(work)
            if self.between is not None:
                await self.between()
        return await self._pool.transaction(work)
