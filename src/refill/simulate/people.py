"""Everybody who comes on a seeded day: partners, guests and their banks, staff and a forger, with all their habits."""

import json
from collections.abc import Coroutine, Sized
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from refill.money import amount
from refill.numbers import Msisdn
from refill.simulate.doors import PUBLIC
from refill.simulate.gateways import Card, Gateway
from refill.simulate.kernel import Kernel, Process
from refill.simulate.scratch import ScratchCards
from refill.simulate.world import Knobs, VirtualWorld, Wire
from refill.topup import Rules
from refill.world import NoAnswer, NotSent, Request

OUR_NUMBERS = [Msisdn(f"861991234{n:04}") for n in range(5000, 5004)]
PREFIXES = {"cmcc": "138", "cunicom": "186", "ctcc": "189"}


@dataclass
class Heard:
    """What clients were told; nobody may ever be told otherwise."""

    orders: dict[str, set[str]] = field(default_factory=dict)  # by a client's key or reference: order ids
    texts: list[str] = field(default_factory=list)  # every answer, to look for numbers in
    wrong: list[str] = field(default_factory=list)  # answers that must never be given


class Town(Protocol):
    """What people find on their day."""

    dice: Random
    kernel: Kernel
    knobs: Knobs
    wire: Wire
    outside: Process  # where people's own doings run
    rules: Rules
    cards: ScratchCards
    gateways: list[Gateway]
    partners: list[str]

    @property
    def operators(self) -> Sized:
        """Those that deliver today; so many networks have numbers."""


class People:
    """The clients of a day and what they know."""

    def __init__(self, day: Town) -> None:
        self.day, self.dice, self.kernel = day, day.dice, day.kernel
        self.world = VirtualWorld(day.outside, day.wire)
        self.heard = Heard()
        self.numbers: set[str] = {number.digits for number in OUR_NUMBERS}
        self.cards = day.cards
        self.drawer: dict[str, int] = {}  # what the clerk keeps of each order paid at the till
        self.cancelled: set[str] = set()  # orders that their payers no longer wanted, perhaps before we heard of it
        self.acting = 0  # stories that are not told to their end

    # ------------------------------------------------------------------ asking us

    def start(self, story: Coroutine[Any, Any, None]) -> None:
        """Somebody begins to do something; the day is not over before they have done it."""

        async def act() -> None:
            self.acting += 1
            try:
                await story
            finally:
                self.acting -= 1

        self.day.outside.start(act())

    async def ask_us(self, path: str, said: Any) -> tuple[int, Any]:
        """One request of a client. Raises NotSent or NoAnswer."""
        request = Request("POST", PUBLIC + path, {}, json.dumps(said).encode(), 15)
        response = await self.world.send(request)
        if path != "/claim":  # its answer is a secret for the payer's eyes
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
            await self.world.sleep(self.dice.uniform(0.5, 20))
        return 503, None

    def number(self) -> str:
        """A number to top up, on our own network or on another."""
        if self.dice.random() < 0.4:
            return self.dice.choice(OUR_NUMBERS).digits
        operator = self.dice.choice(sorted(PREFIXES)[: len(self.day.operators)])
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

    async def _places(self, row: dict[str, Any]) -> None:
        await self.place(row)

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

    # ------------------------------------------------------------------ partners

    async def partner(self, n: int) -> None:
        """A platform's request, with all the ways in which platforms repeat themselves."""
        row = self._row(f"partner:{self.dice.choice(self.day.partners)}", n)
        habit = self.dice.random()
        if self.dice.random() < 0.15:  # several in one request, one of them twice
            await self.bulk([row, self._row(row["payer"], 100 + n), row])
        if habit < 0.2:  # the same request twice at the same instant
            self.start(self._places(row))
        placed = await self.place(row)
        if habit < 0.5:
            await self.world.sleep(self.dice.uniform(0, 900))
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
                await self.world.sleep(self.dice.uniform(0, 300))
                await self.insist("/reverse", {"order": placed})

    # ------------------------------------------------------------------ guests

    async def guest(self, n: int) -> None:
        """A person who comes once: at the portal, at a till, with a scratch card, or to live on a wallet."""
        knobs, habit = self.day.knobs, self.dice.random()
        if knobs.scratch_cards and habit < 0.3:
            await self._scratches(n)
        elif knobs.wallets and habit < 0.5:
            await self._saves(n)
        elif knobs.till and habit < 0.65:
            await self._at_the_till(n)
        else:
            await self._at_the_portal(n)

    async def _at_the_portal(self, n: int) -> None:
        row = self._row(f"guest:{n}", n) | {"reference": None}
        if self.dice.random() < 0.2:  # a double click
            self.start(self._places(row))
        order = await self.place(row)
        if order is not None:
            await self._pays(order)

    async def _pays(self, order: str) -> None:
        """The payer goes to a payment firm, changes their mind, comes back, pays by two ways, or never does."""
        dice, placed_at = self.dice, self.kernel.now
        habit = dice.random()
        if habit < 0.05:
            return
        firm = dice.choice(self.day.gateways)
        scene = dice.choice(firm.scenes)
        reference = await self._open(order, firm, scene)
        if reference is None or habit < 0.13:
            return
        if habit < 0.18:
            await self._cancel(order)
            if dice.random() < 0.6:  # in one window, and presses Pay in the other
                await self.world.sleep(dice.uniform(0, 3))
                self._pay(firm, reference)
                return
        if habit < 0.3:  # pays around the expiry
            brink = placed_at + self.day.rules.payment_expiry.total_seconds() + dice.uniform(-40, 5)
            await self.world.sleep(max(0.0, brink - self.kernel.now))
        else:
            await self.world.sleep(dice.uniform(1, 120))
        if habit < 0.45:  # pays by both ways
            ways = [(one, other) for one in self.day.gateways for other in one.scenes if (one, other) != (firm, scene)]
            second, other = dice.choice(ways)
            if another := await self._open(order, second, other):
                self._pay(second, another)
        self._pay(firm, reference)
        if dice.random() < 0.3:
            await self.insist("/look", {"order": order}, 2)

    def _pay(self, firm: Gateway, reference: str) -> None:
        paid = firm.pay(reference)
        self.kernel.note("pays", firm.name, reference, paid)
        if paid and isinstance(firm, Card) and self.day.knobs.disputes and self.dice.random() < 0.8:
            self.start(self._disputes(firm, reference))

    async def _disputes(self, card: Card, reference: str) -> None:
        """The payer's bank takes the money back, before the delivery or after it, and decides: soon, late or not today."""
        dice, habit = self.dice, self.dice.random()
        await self.world.sleep(dice.choice((dice.uniform(0, 5), dice.uniform(0, 60), dice.uniform(60, 2500))))
        self.kernel.note("disputes", reference, card.dispute(reference))
        if habit < 0.15:
            return
        await self.world.sleep(dice.choice((dice.uniform(0, 5), dice.uniform(5, 2000))))
        self.kernel.note("decides", reference, card.decide(reference, won=habit < 0.6))

    async def _cancel(self, order: str) -> None:
        self.cancelled.add(order)
        await self.insist("/cancel", {"order": order})

    async def _open(self, order: str, firm: Gateway, scene: str) -> str | None:
        """Gets the address of the payment and opens it, now or later; our reference of it, as it is read there."""
        status, invitation = await self.insist("/invite", {"order": order, "method": firm.name, "scene": scene}, 20)
        if status != 200:
            return None
        if self.dice.random() < 0.15:
            await self.world.sleep(self.dice.uniform(0, 950))  # the page was left open
        for _ in range(10):
            try:
                return await firm.open(self.world.send, invitation)
            except (NotSent, NoAnswer):
                await self.world.sleep(2)
        return None

    # ------------------------------------------------------------------ scratch cards

    async def _scratches(self, n: int) -> None:
        """A person with a scratch card: for a number, for an order, for two things at once; perhaps mistyped at first."""
        dice, payer, habit = self.dice, f"guest:{n}", self.dice.random()
        if dice.random() < 0.25:
            await self._mistypes(payer)
        card = self.cards.draw(dice)
        if card is None:
            return
        if habit < 0.35:
            number = self.number()
            await self._redeem(payer, number, card)
            if dice.random() < 0.5:
                await self.world.sleep(dice.uniform(0, 600))
                await self._redeem(payer, dice.choice((number, number, self.number(), None)), card)
        elif habit < 0.6:  # two people know the PIN
            self.start(self._redeem(payer, self.number(), card))
            self.start(self._redeem(f"guest:{n}-thief", dice.choice((self.number(), None)), card))
        else:
            order = await self.place(self._row(payer, n) | {"reference": None})
            if order is None:
                return
            if habit > 0.85:  # two people know it, and the other is at another door
                self.start(self._redeem(f"guest:{n}-thief", self.number(), card))
            elif habit > 0.75:
                self.start(self._pays(order))
            await self._pays_by_card(payer, order, card)
            await self._claims(payer, order)

    async def _mistypes(self, payer: str) -> None:
        """A PIN that nobody has, or that was never sold: whoever takes it gives something away."""
        for _ in range(self.dice.choice((1, 2))):
            pin = self.dice.choice((f"{self.dice.randrange(10**16):016d}", *self.cards.unsold))
            _, answer = await self.insist("/redeem", {"payer": payer, "msisdn": self.number(), "pin": pin})
            if isinstance(answer, str):
                self.heard.wrong.append(f"I13: a PIN that was never sold paid {answer}")

    async def _redeem(self, payer: str, msisdn: str | None, card: str) -> None:
        """For a number, or for the payer's wallet."""
        _, answer = await self.insist("/redeem", {"payer": payer, "msisdn": msisdn, "pin": card})
        if isinstance(answer, str):
            self._used(card, answer)
            if self.dice.random() < 0.3:
                await self._claims(payer, answer)

    def _used(self, card: str, order: str) -> None:
        """What a card was good for, as its holder was told: one order, for ever."""
        self.heard.orders.setdefault(f"card {self.cards.name(card)}", set()).add(order)

    async def _pays_by_card(self, payer: str, order: str, card: str) -> None:
        """On our own page. A card of too little goes to the wallet, as the page proposes."""
        said = {"order_id": order, "method": "voucher", "secret": card, "by": [payer], "change_to_wallet": True}
        if self.dice.random() < 0.2:  # a double click
            self.start(self._pays_once(said, order, card))
        status, answer = await self._paid(said)
        if status == 200:
            self._used(card, order)
        elif answer and answer[0] == "voucher_does_not_fit":
            await self._redeem(payer, None, card)

    async def _pays_once(self, said: dict[str, Any], order: str, card: str) -> None:
        status, _ = await self._paid(said)
        if status == 200:
            self._used(card, order)

    async def _paid(self, said: dict[str, Any]) -> tuple[int, Any]:
        return await self.insist("/pay", said)

    async def _claims(self, payer: str, order: str) -> None:
        """What could not be delivered comes back as a code, which is a card like any other."""
        for _ in range(3):
            await self.world.sleep(self.dice.uniform(300, 2500))
            status, codes = await self.insist("/claim", {"order": order})
            if status == 200 and codes:
                for code in codes:
                    self.cards.codes.setdefault(code, len(self.cards.codes))
                    if self.dice.random() < 0.8:
                        await self._redeem(payer, self.dice.choice((self.number(), None)), code)
                return

    # ------------------------------------------------------------------ wallets

    async def _saves(self, n: int) -> None:
        """Fills a wallet, by whatever way, and pays from it, also twice at the same instant."""
        dice, payer = self.dice, f"guest:{n}"
        said = {"payer": payer, "face": dice.choice(("50.00", "100.00", "200.00")), "key": f"fill {n}"}
        status, filling = await self.insist("/fill", said)
        if status != 200:
            return
        self.heard.orders.setdefault(f"{payer} fill", set()).add(filling)
        card = self.cards.draw(dice) if dice.random() < 0.2 else None
        if card:
            await self._pays_by_card(payer, filling, card)
        else:
            await self._pays(filling)
        for wish in range(dice.choice((1, 2, 3))):
            await self.world.sleep(dice.uniform(0, 200))
            order = await self.place(self._row(payer, 1000 * (wish + 1) + n) | {"reference": None})
            if order is None:
                continue
            if dice.random() < 0.5:
                self.start(self._from_wallet(order))
            else:
                await self._from_wallet(order)

    async def _from_wallet(self, order: str) -> None:
        status, _ = await self._paid({"order_id": order, "method": "wallet"})
        if status != 200 and self.dice.random() < 0.5:  # too little in it
            await self._pays(order)

    # ------------------------------------------------------------------ at the till

    async def _at_the_till(self, n: int) -> None:
        """A person pays a clerk in cash; the clerk keeps the money when the till says so, however long that takes."""
        payer = f"guest:{n}"
        order = await self.place(self._row(payer, n) | {"reference": None})
        if order is None:
            return
        if self.dice.random() < 0.2:  # paid at home meanwhile
            self.start(self._pays(order))
        await self.world.sleep(self.dice.uniform(0, 300))
        status, minor = await self.insist("/till", {"order": order}, 400)
        if status == 200 and minor is not None:
            self.drawer[order] = minor
            await self._claims(payer, order)

    # ------------------------------------------------------------------ staff

    async def staff(self, until: float) -> None:
        """Gives money back, all or a part: one asks, another confirms or declines; what one alone confirms is refused."""
        dice = self.dice
        while self.kernel.now < until:
            await self.world.sleep(dice.uniform(30, 400))
            orders = sorted({one for told in self.heard.orders.values() for one in told})
            if not orders:
                continue
            order, minor = dice.choice(orders), dice.choice((None, None, 100, 555))
            said = {"order": order, "minor": minor, "why": "a complaint", "by": "support"}
            status, n = await self.insist("/refund", said)
            if status != 200:
                continue
            if dice.random() < 0.2:
                status, _ = await self.insist("/confirm", {"order": order, "n": n, "by": "support"})
                if status == 200:
                    self.heard.wrong.append(f"I12: one person alone refunded {order}")
            deed = "/decline" if dice.random() < 0.2 else "/confirm"
            for _ in range(dice.choice((1, 1, 2))):
                await self.insist(deed, {"order": order, "n": n, "by": "finance"})

    # ------------------------------------------------------------------ forgers

    async def forger(self, until: float) -> None:
        """Tells us that orders are paid which are not, in the name of every firm."""
        while self.kernel.now < until:
            await self.world.sleep(self.dice.uniform(20, 200))
            guests = sorted(name for name in self.heard.orders if name.startswith("guest"))
            if not guests:
                continue
            order = min(self.heard.orders[self.dice.choice(guests)])
            firm = self.dice.choice(self.day.gateways)
            price = amount(self.dice.choice(("9.80", "10.00", "20.00", "29.40", "29.97", "49.90", "99.60")), "CNY")
            notice = firm.forged(f"{order}p1", price, self.kernel.time(), self.dice.getrandbits(64))
            url = f"{PUBLIC}/callbacks/{firm.name}"
            try:
                await self.world.send(Request("POST", url, notice.headers, notice.body, 10))
            except (NotSent, NoAnswer):
                continue
