"""Everybody who comes on a seeded day: partners, guests and their banks, staff and a forger, with all their habits."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from refill.money import amount
from refill.numbers import Msisdn
from refill.simulate.doors import PUBLIC
from refill.simulate.gateways import Gateway
from refill.simulate.world import VirtualWorld
from refill.world import NoAnswer, NotSent, Request

if TYPE_CHECKING:
    from refill.simulate.day import Day

OUR_NUMBERS = [Msisdn(f"861991234{n:04}") for n in range(5000, 5004)]
PREFIXES = {"cmcc": "138", "cunicom": "186", "ctcc": "189"}


@dataclass
class Heard:
    """What clients were told; nobody may ever be told otherwise."""

    orders: dict[str, set[str]] = field(default_factory=dict)  # by a client's key or reference: order ids
    texts: list[str] = field(default_factory=list)  # every answer, to look for numbers in
    wrong: list[str] = field(default_factory=list)  # answers that must never be given


class People:
    """The clients of a day and what they know."""

    def __init__(self, day: "Day") -> None:
        self.day, self.dice, self.kernel = day, day.dice, day.kernel
        self.world = VirtualWorld(day.outside, day.wire)
        self.heard = Heard()
        self.numbers: set[str] = {number.digits for number in OUR_NUMBERS}

    # ------------------------------------------------------------------ asking us

    async def ask_us(self, path: str, said: Any) -> tuple[int, Any]:
        """One request of a client. Raises NotSent or NoAnswer."""
        request = Request("POST", PUBLIC + path, {}, json.dumps(said).encode(), 15)
        response = await self.world.send(request)
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
            self.day.outside.start(self.place(row))
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
        """A person at the portal."""
        row = self._row(f"guest:{n}", n) | {"reference": None}
        if self.dice.random() < 0.2:  # a double click
            self.day.outside.start(self.place(row))
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
            await self.insist("/cancel", {"order": order})
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
        self.kernel.note("pays", firm.name, reference, firm.pay(reference))

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
