"""Placing orders, a batch at a time: one answer for each ask, as if they had come one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from refill import cards, ledger, numbers
from refill.cards import Subscriber
from refill.catalogue import Quote
from refill.db import Tx
from refill.errors import BadInput, NotEnough, NotForSale, OtherContent, PriceTooHigh, RefillError
from refill.ids import cell_of, cell_of_id
from refill.operators import home
from refill.topup import sql, store
from refill.topup.order import Ask, Order
from refill.topup.trade import Trade


@dataclass(slots=True)
class _Line:
    """One ask on its way through the batch."""

    ask: Ask
    content: str = ""
    names: tuple[str, ...] = ()  # its key and reference, hashed
    claimed: list[str] = field(default_factory=list)  # those that this ask was the first to use
    first: str | None = None  # the id of the order that has its name already
    subscriber: Subscriber | None = None
    quote: Quote | None = None
    valid_until: datetime | None = None
    answer: Order | RefillError | None = None


@dataclass(slots=True)
class _Floats:
    """Which stripe of each striped float a batch debits, and whose stripes are gathered first."""

    by: str  # the first ask's id: a batch locks one stripe of a float, the next batch perhaps another
    low: frozenset[str] = frozenset()
    gathering: str = ""
    gathered: int = 0

    def next_gathering(self) -> str:
        """An entry's id for each time that we gather, also when the work runs again."""
        self.gathered += 1
        return f"{self.gathering}.{self.gathered}"


async def place(trade: Trade, asks: Sequence[Ask]) -> list[Order | RefillError]:
    """Keeps orders; a repeat returns the order that its key or reference named first.

    A partner's order on our own network is paid and delivered here, in the same transaction. Refusals before an order
    exists (NotForSale, PriceTooHigh, NotEnough) are answers of their row, leave no trace and are not remembered.
    Raises Busy when the database does not answer.
    """
    named = [(ask, *_names(trade, ask)) for ask in asks]
    floats = _Floats(asks[0].id if asks else "")
    runs = 0

    async def work(tx: Tx) -> list[Order | RefillError]:
        nonlocal runs
        runs += 1
        # The work may run again after a commit in doubt, so it starts from the asks each time.
        answers: list[Order | RefillError] = []
        for batch in _in_turn([_Line(ask, content, names) for ask, content, names in named]):
            answers += await _place_together(trade, tx, batch, floats, again=runs > 1)
        return answers

    while True:
        try:
            return await trade.db.transaction(work)
        except ledger.StripesLow as found:
            floats.low |= found.owners
            floats.gathering = trade.world.new_id("st", cell_of_id(floats.by))


def _in_turn(lines: Sequence[_Line]) -> Iterator[list[_Line]]:
    """The asks in runs that may be placed together: nearly always one.

    Whoever shares a name with an ask before it, but is not its equal, waits until that one is decided: had the first
    been refused, its name would be free again.
    """
    batch: list[_Line] = []
    by_name: dict[str, _Line] = {}
    for line in lines:
        names = line.names or (line.ask.id,)
        if any(name in by_name and not _equal(by_name[name], line) for name in names):
            yield batch
            batch, by_name = [], {}
        batch.append(line)
        for name in names:
            by_name[name] = line
    yield batch


def _equal(one: _Line, other: _Line) -> bool:
    """Would both be answered the same?"""
    terms = [(line.names, line.content, line.ask.max_price, line.ask.commission_bp) for line in (one, other)]
    return bool(one.names) and terms[0] == terms[1]


async def _place_together(
    trade: Trade, tx: Tx, batch: Sequence[_Line], floats: _Floats, *, again: bool
) -> list[Order | RefillError]:
    now = trade.world.db_now()
    seen_before = await _claim(tx, batch)
    await _find_own(tx, [line for line in batch if again or seen_before or not line.names], replayed=not again)
    fresh = [line for line in batch if line.answer is None and line.first is None]
    await _quote(tx, trade, fresh)
    await _pay(tx, trade, [line for line in fresh if line.quote], floats, now)
    await _deliver_home(tx, [line for line in fresh if line.quote and line.answer is None], now)
    await _bear(tx, trade, [line for line in fresh if line.answer is None], now)
    await _release(tx, [line for line in fresh if isinstance(line.answer, RefillError)])
    await _repeat(tx, batch, [line for line in batch if line.first and line.answer is None])
    return [_answered(line) for line in batch]


def _names(trade: Trade, ask: Ask) -> tuple[str, tuple[str, ...]]:
    """What was asked, hashed, and the hashed names that the client gave it."""
    if ask.key is None and ask.reference is None:
        return "", ()
    names = []
    if ask.key is not None:
        names.append(store.key_name(trade, ask.payer, "key", ask.key))
    if ask.reference is not None:
        names.append(store.key_name(trade, ask.payer, "reference", ask.reference))
    # Normalised: the same key with another content is an error, never a second order.
    said = f"{ask.number}|{ask.face.minor}|{ask.face.currency}|{ask.reference}|{ask.operator}|{ask.product}"
    return trade.vault.digest("content", said.encode()), tuple(names)


# ------------------------------------------------------------------ who was first


async def _claim(tx: Tx, lines: Sequence[_Line]) -> bool:
    """Writes the keys of all asks; whoever finds one taken is a repeat (`first`) or an error.

    True when some key stood there already for the very order that was asked for: the same ask was placed before.
    """
    wanted: dict[str, _Line] = {}
    for line in lines:
        for name in line.names:
            wanted.setdefault(name, line)
    if not wanted:
        return False
    ordered = sorted((cell_of(name), name) for name in wanted)
    missed = await tx.rows(
        sql.CLAIM_KEYS,
        cells=[cell for cell, _ in ordered],
        names=[name for _, name in ordered],
        contents=[wanted[name].content for _, name in ordered],
        orders=[wanted[name].ask.id for _, name in ordered],
    )
    taken: dict[str, tuple[str, str]] = {}
    own = False
    if missed:
        owners = await tx.rows(sql.KEYS, cells=[cell for cell, _ in missed], names=[name for _, name in missed])
        for name, content, order_id in owners:
            if order_id == wanted[name.hex].ask.id:
                own = True
            else:
                taken[name.hex] = (content.hex, order_id)
    for line in lines:
        for name in line.names:
            content, owner = taken.get(name) or (wanted[name].content, wanted[name].ask.id)
            if owner == line.ask.id and wanted[name] is line:
                line.claimed.append(name)
            elif content != line.content:
                line.answer = OtherContent("This key or reference was used before for a different request.")
            elif line.first is None:
                line.first = owner
    await _tidy_repeats(tx, lines)
    return own


async def _tidy_repeats(tx: Tx, lines: Sequence[_Line]) -> None:
    """A repeat under a second name: the new name points to the first order too. A refused one leaves no name behind."""
    point = [(name, line.first) for line in lines if line.first and line.answer is None for name in line.claimed]
    if point:
        point.sort()
        await tx.run(
            sql.POINT_KEYS,
            cells=[cell_of(name) for name, _ in point],
            names=[name for name, _ in point],
            orders=[first for _, first in point],
        )
    await _release(tx, [line for line in lines if line.answer is not None])


async def _find_own(tx: Tx, lines: Sequence[_Line], *, replayed: bool) -> None:
    """After a commit in doubt, or when the very same ask comes twice, the order may stand already: it is the answer."""
    for line, order in zip(lines, await store.find_in(tx, [line.ask.id for line in lines]), strict=True):
        if order is not None and line.first is None and line.answer is None:
            line.answer = replace(order, replayed=replayed)


async def _release(tx: Tx, lines: Sequence[_Line]) -> None:
    """Forgets the keys of asks that were refused before an order existed."""
    gone = sorted((cell_of(name), name, line.ask.id) for line in lines for name in line.claimed)
    if gone:
        await tx.run(
            sql.RELEASE_KEYS,
            cells=[cell for cell, _, _ in gone],
            names=[name for _, name, _ in gone],
            orders=[id_ for _, _, id_ in gone],
        )


# ------------------------------------------------------------------ what it costs


async def _quote(tx: Tx, trade: Trade, lines: Sequence[_Line]) -> None:
    """Finds operator, product and price of each ask."""
    subscribers = await cards.by_numbers(tx, [line.ask.number for line in lines])
    strangers = [line.ask.number for line in lines if line.ask.number not in subscribers and not line.ask.operator]
    learned = await numbers.learned(tx, strangers) if strangers else {}
    for line in lines:
        ask = line.ask
        line.subscriber = subscribers.get(ask.number)
        try:
            if line.subscriber is not None:
                operator: str | None = line.subscriber.network
            else:
                operator = ask.operator or learned.get(ask.number) or numbers.hint(ask.msisdn.digits)
            if operator is None:
                raise NotForSale("We cannot tell the operator of this number; name it in `operator`.")
            line.quote = quote_for(trade, ask, operator, line.subscriber)
        except RefillError as refusal:
            line.answer = refusal


def quote_for(trade: Trade, ask: Ask, operator: str, subscriber: Subscriber | None) -> Quote:
    """The product and price of an ask. Raises NotForSale or PriceTooHigh."""
    quote = trade.shelf.catalogue.quote(operator, ask.face, product=ask.product, commission_bp=ask.commission_bp)
    if quote.supplier == home.NAME:
        if subscriber is None:
            raise NotForSale("This number is not on that network.")
        if subscriber.state not in home.SERVED:
            raise NotForSale("This number is out of service; a new card is needed before it can be topped up.")
    elif quote.supplier not in trade.suppliers:
        raise NotForSale("No supplier of this operator is connected.")
    if ask.max_price is not None:
        if ask.max_price.currency != quote.price.currency:
            raise BadInput(f"`max_price` must be in {quote.price.currency}, the currency of the price.")
        if ask.max_price < quote.price:
            raise PriceTooHigh(f"The price is {quote.price}, above the highest price that you accept.")
    return quote


# ------------------------------------------------------------------ money and credit


def _is_sold(line: _Line) -> bool:
    """Paid by a float and delivered by ourselves: one step."""
    return line.ask.payer.startswith("partner:") and line.quote is not None and line.quote.supplier == home.NAME


async def _pay(tx: Tx, trade: Trade, lines: Sequence[_Line], floats: _Floats, now: datetime) -> None:
    """Takes partners' money: into the subscriber's balance on our own network, else held out of their float.

    Raises StripesLow when a stripe refuses, but perhaps not its float: nothing stands, run again and gather first.
    """
    paying = [line for line in lines if line.ask.payer.startswith("partner:")]
    if not paying:
        return
    stripes = trade.stripes
    if floats.low:
        await stripes.hold(tx, floats.low)
    entries = [_entry(line, stripes, floats.by) for line in paying]
    if floats.low:
        await ledger.gather(tx, stripes, entries, floats.low, floats.next_gathering(), now)
    refused: set[str] = set()
    for line, answer in zip(paying, await ledger.post(tx, entries, now, new=True), strict=True):
        if answer == ledger.Posted():
            continue
        if isinstance(answer, ledger.Refusal) and answer.why == "not_enough":
            line.answer = NotEnough("The float holds too little for this top-up; add to it and send the request again.")
            refused.add(ledger.owner_of(answer.account))
        else:
            line.answer = NotForSale("This float cannot pay in that currency.")
    if refused - floats.low and (low := await stripes.striped(tx, refused - floats.low)):
        raise ledger.StripesLow(low)


def _entry(line: _Line, stripes: ledger.Stripes, by: str) -> ledger.Entry:
    ask, quote = line.ask, line.quote
    assert quote is not None
    owner, currency = ask.payer.partition(":")[2], quote.price.currency
    mark, price = stripes.mark(f"{owner}/{currency}", by), quote.price.minor
    float_ = f"float:{owner}{mark}/{currency}"
    if _is_sold(line):
        assert line.subscriber is not None
        # The commission is debited as often as the float: it goes along, stripe by stripe.
        return home.sold(f"{ask.id}.sold", float_, price, f"commission:{owner}{mark}", line.subscriber, quote.face)
    return ledger.Entry.of(f"{ask.id}.held", (float_, f"held:{owner}/{currency}", price))


async def _deliver_home(tx: Tx, lines: Sequence[_Line], now: datetime) -> None:
    sold = [line for line in lines if _is_sold(line)]
    if sold:
        credits = [
            home.HomeCredit(line.subscriber, line.quote.days, line.quote.policy)
            for line in sold
            if line.subscriber and line.quote
        ]
        for line, valid_until in zip(sold, await home.extend(tx, credits, now), strict=True):
            line.valid_until = valid_until


async def _bear(tx: Tx, trade: Trade, lines: Sequence[_Line], now: datetime) -> None:
    """Writes the orders."""
    if not lines:
        return
    strangers = [line.ask.msisdn for line in lines if line.subscriber is None]
    if strangers:
        await numbers.remember(tx, trade.vault, strangers, now)
    born: dict[str, list[Order]] = {}
    for line in lines:
        order = line.answer = _order(trade, line, now)
        born.setdefault(BIRTHS[order.payment, order.delivery], []).append(order)
    for transition, orders in born.items():
        first = orders[0]  # those born in one way at one moment have the same states and timers
        await tx.run(
            sql.BEAR,
            now=now,
            transition=transition,
            payment=first.payment,
            delivery=first.delivery,
            expires=first.expires_at,
            deadline=first.deadline,
            final=first.final_at,
            wake=first.wake_at,
            cells=[order.cell for order in orders],
            ids=[order.id for order in orders],
            payers=[order.payer for order in orders],
            channels=[order.channel for order in orders],
            numbers=[order.number for order in orders],
            operators=[order.operator for order in orders],
            products=[order.product for order in orders],
            suppliers=[order.supplier for order in orders],
            faces=[order.face.minor for order in orders],
            facecurrencies=[order.face.currency for order in orders],
            prices=[order.price.minor for order in orders],
            currencies=[order.price.currency for order in orders],
            costs=[order.cost_minor for order in orders],
            days=[order.days for order in orders],
            policies=[order.policy for order in orders],
            references=[order.reference for order in orders],
            valids=[order.valid_until for order in orders],
        )


BIRTHS = {("captured", "delivered"): "sold", ("captured", "ready"): "held", ("unpaid", "quoted"): "placed"}


def _order(trade: Trade, line: _Line, now: datetime) -> Order:
    ask, quote = line.ask, line.quote
    assert quote is not None
    sold, held = _is_sold(line), ask.payer.startswith("partner:")
    return Order(
        ask.id,
        cell_of_id(ask.id),
        ask.payer,
        ask.channel,
        ask.number,
        quote.operator,
        quote.product,
        quote.supplier,
        quote.face,
        quote.price,
        quote.cost.minor if quote.cost else None,
        quote.days,
        quote.policy,
        ask.reference,
        "captured" if held else "unpaid",
        "delivered" if sold else "ready" if held else "quoted",
        now,
        expires_at=None if held else now + trade.rules.payment_expiry,
        deadline=now + trade.rules.delivery_deadline if held and not sold else None,
        final_at=now if sold else None,
        valid_until=line.valid_until,
        wake_at=now + trade.rules.cooling if held and not sold else None,
        captured_minor=quote.price.minor if held else 0,
        delivered_minor=quote.face.minor if sold else 0,
    )


# ------------------------------------------------------------------ repeats


async def _repeat(tx: Tx, lines: Sequence[_Line], repeats: Sequence[_Line]) -> None:
    """Answers repeats with the first order: from this batch, or as it stands in the database."""
    if not repeats:
        return
    first_of = {line.ask.id: line.first for line in repeats}
    for line in repeats:  # the repeat of a repeat in this batch is a repeat of the order that both speak of
        line.first = first_of.get(line.first or "", line.first)
    here = {line.ask.id: line.answer for line in lines if line.first is None and line.answer is not None}
    elsewhere = sorted({line.first for line in repeats if line.first and line.first not in here})
    found = dict(zip(elsewhere, await store.find_in(tx, elsewhere), strict=True)) if elsewhere else {}
    for line in repeats:
        answer = here.get(line.first or "") or found.get(line.first or "")
        line.answer = replace(answer, replayed=True) if isinstance(answer, Order) else answer


def _answered(line: _Line) -> Order | RefillError:
    assert line.answer is not None
    return line.answer
