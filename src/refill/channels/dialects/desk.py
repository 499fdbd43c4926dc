"""What every dialect needs: whose key it is, a top-up placed once, its outcome waited for, and short numbers for ids."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from hmac import compare_digest
from typing import Any

import msgspec

from refill import ledger, numbers
from refill.accounts import KeyRing, PartnerKey, float_account
from refill.catalogue import Operator
from refill.channels.machines.keys import NoKey
from refill.errors import BadInput, NotFound, OtherContent, RefillError
from refill.ids import cell_of_id
from refill.money import Money
from refill.numbers import Msisdn
from refill.topup import Ask, Order, flow, nicknames, store
from refill.topup.trade import Trade

Submit = Callable[[Sequence[Ask]], Awaitable[Sequence[Order | RefillError]]]

GUARD = timedelta(minutes=2)  # the same number and amount again within it is a repeat, when nothing names the request
TOKEN_LASTS = timedelta(hours=24)
LOOK = 0.25  # seconds between two looks at the orders that somebody waits for
SCOPE = "topup"
_REFERENCE = re.compile(r"[ -~]{1,128}")
_TOKEN = re.compile(r"rt\.([0-9]{10})\.([0-9a-f]{32})\.([0-9a-f]{32})")


class Repeated(OtherContent):
    """The same number was topped up with the same amount a moment ago, and nothing says that this is on purpose."""

    code = "recently_topped_up"


@dataclass(frozen=True, slots=True)
class Wish:
    """A top-up as a foreign client asks for it; `reference` or `key` is the client's own name for it, where it gave one."""

    dialect: str
    number: Msisdn
    face: Money
    reference: str | None = None
    key: str | None = None
    operator: str | None = None
    product: str | None = None
    max_price: Money | None = None


class Desk:
    """Where all dialects knock. Nothing here knows any foreign word."""

    def __init__(self, trade: Trade, keyring: KeyRing, submit: Submit) -> None:
        self.trade = trade
        self._keyring = keyring
        self._submit = submit
        self._waits: dict[str, list[asyncio.Future[Order]]] = {}
        self._looking = False

    # -------------------------------------------------------------- who calls

    async def partner(self, secret: str | None) -> PartnerKey:
        """Whose key, or token made from a key, this is. Raises NoKey."""
        if not secret or len(secret) > 200:
            raise NoKey("Send your API key.")
        token = _TOKEN.fullmatch(secret)
        if token is not None:
            expiry, digest, seal = token.groups()
            valid = (
                compare_digest(seal, self._seal(expiry, digest)) and int(expiry) > self.trade.world.now().timestamp()
            )
            key = self._keyring.by_digest(digest) if valid else None
        else:
            key = self._keyring.find(secret) or await self._keyring.find_or_read(secret)
        if key is None or SCOPE not in key.scopes:
            raise NoKey("This key is not known here, has expired or may not sell top-ups.")
        return key

    def token(self, key: PartnerKey) -> str:
        """A word that stands for a key until TOKEN_LASTS is over, or the key is withdrawn."""
        expiry = f"{int((self.trade.world.now() + TOKEN_LASTS).timestamp()):010d}"
        return f"rt.{expiry}.{key.digest}.{self._seal(expiry, key.digest)}"

    def _seal(self, expiry: str, digest: str) -> str:
        return self.trade.vault.digest("dialect token", f"{expiry}.{digest}".encode())

    async def balance(self, key: PartnerKey) -> Money:
        """What is left of the partner's float."""
        account = float_account(key.partner_id, key.currency)
        return Money(await self.trade.db.transaction(lambda tx: ledger.standing(tx, account)), key.currency)

    # -------------------------------------------------------------- placing

    async def place(self, key: PartnerKey, wish: Wish) -> Order:
        """Places a top-up once, however often the client sends it. Raises what the flow refuses, and Repeated.

        A reference or a key names it for ever. Without either, the same number and amount within GUARD is the request
        that a client sends again because it heard no answer: it is refused by name, for nobody can tell it from a wish
        for more.
        """
        if wish.reference is not None:
            if _REFERENCE.fullmatch(wish.reference) is None or numbers.names_a_card(wish.reference):
                raise BadInput("A reference has 1 to 128 printable ASCII characters and is no payment card's number.")
            return await self._placed(self._ask(key, wish))
        if wish.key is not None:
            return await self._placed(self._ask(key, wish, (f"{wish.dialect} {wish.key}",)))
        now = self.trade.world.now()
        turn = int(now.timestamp() // GUARD.total_seconds())
        said = f"{wish.dialect} {wish.number.digits} {wish.face}"
        # Each is named for its own turn of the clock and the next: two within GUARD share a name, whichever comes first.
        names = tuple(f"{said} {n}" for n in (turn, turn + 1))
        order = await self._placed(self._ask(key, wish, names))
        if order.replayed and now - order.created_at >= GUARD:  # two turns are longer than GUARD: this one is new
            order = await self._placed(self._ask(key, wish, (f"{said} after {order.id}",)))
        if order.replayed:
            raise Repeated(
                "This number was topped up with the same amount a moment ago; send a reference to do it again."
            )
        return order

    def _ask(self, key: PartnerKey, wish: Wish, names: tuple[str, ...] = ()) -> Ask:
        index = numbers.number_id(self.trade.vault, wish.number)
        return Ask(
            id=flow.new_order_id(self.trade, index),
            payer=f"partner:{key.partner_id}",
            channel="partner_api",
            msisdn=wish.number,
            number=index,
            face=wish.face,
            key=names[0] if names else None,
            also=names[1:],
            reference=wish.reference,
            operator=wish.operator,
            product=wish.product,
            max_price=wish.max_price,
            commission_bp=key.commission_bp,
        )

    async def _placed(self, ask: Ask) -> Order:
        (answer,) = await self._submit((ask,))
        if not isinstance(answer, Order):
            raise answer
        return answer

    # -------------------------------------------------------------- waiting and finding

    async def ended(self, order: Order, within_s: float) -> Order:
        """The order when it is decided, or as it stands when the patience of a foreign client ends."""
        if order.certainty == "final":
            return order
        waiting: asyncio.Future[Order] = asyncio.get_running_loop().create_future()
        self._waits.setdefault(order.id, []).append(waiting)
        if not self._looking:
            self._looking = True
            self.trade.world.start(self._look())
        try:
            return await asyncio.wait_for(waiting, within_s)
        except TimeoutError:
            (now,) = await store.find(self.trade, [order.id])
            return now or order

    async def _look(self) -> None:
        """One look for everybody who waits, again and again until nobody does."""
        try:
            while self._waits:
                await self.trade.world.sleep(LOOK)
                for order in await store.find(self.trade, list(self._waits)):
                    if order is not None and order.certainty == "final":
                        self._tell(order)
                gone = [id_ for id_, some in self._waits.items() if all(one.done() for one in some)]
                for id_ in gone:
                    del self._waits[id_]
        finally:
            self._looking = False

    def _tell(self, order: Order) -> None:
        for waiting in self._waits.pop(order.id):
            if not waiting.done():
                waiting.set_result(order)

    async def by_reference(self, key: PartnerKey, reference: str) -> Order:
        """The partner's order by its own name for it. Raises NotFound."""
        order = await store.by_reference(self.trade, f"partner:{key.partner_id}", reference)
        if order is None:
            raise NotFound("There is no top-up with that reference.")
        return order

    async def by_id(self, key: PartnerKey, id_: str) -> Order:
        """The partner's order by our id. Raises NotFound; another's order is not there at all."""
        cell_of_id(id_)
        (order,) = await store.find(self.trade, [id_])
        if order is None or order.payer != f"partner:{key.partner_id}":
            raise NotFound("There is no top-up with that id.")
        return order

    async def by_nickname(self, key: PartnerKey, n: int) -> Order:
        """The partner's order by its short number. Raises NotFound."""
        id_ = await self.trade.db.transaction(lambda tx: nicknames.named(tx, n))
        if id_ is None:
            raise NotFound("There is no top-up with that number.")
        return await self.by_id(key, id_)

    async def nicknames(self, orders: Sequence[Order]) -> dict[str, int]:
        """A short number for each order, for ever the same; below 2^53, so that every JSON reader holds it."""
        ids = [order.id for order in orders]
        return await self.trade.db.transaction(lambda tx: nicknames.nicknames(tx, self.trade.vault, ids))

    async def numbers(self, orders: Sequence[Order]) -> dict[str, Msisdn]:
        """The telephone numbers behind orders, by the orders' `number`; one whose owner had it erased is missing."""
        vault, wanted = self.trade.vault, sorted({order.number for order in orders})
        return await self.trade.db.transaction(lambda tx: numbers.reveal(tx, vault, wanted))

    # -------------------------------------------------------------- what is on sale

    def operator(self, n: int) -> Operator:
        """The operator with that short number. Raises NotFound."""
        for operator in self.trade.shelf.catalogue.operators():
            if short(operator.id) == n:
                return operator
        raise NotFound("There is no operator with that id.")


def short(text: str) -> int:
    """A number for a name of ours (an operator, a product), the same for ever: 31 bits, above zero."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest()) % (2**31 - 1) + 1


def number_of(money: Money) -> msgspec.Raw:
    """An amount as a JSON number in exactly its digits: 49.80."""
    return msgspec.Raw(money.text().encode())


def encoded(document: Any) -> bytes:
    """The JSON of an answer."""
    return msgspec.json.encode(document)
