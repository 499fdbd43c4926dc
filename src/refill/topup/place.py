"""Placing orders, a batch at a time: one answer for each ask, as if they had come one by one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from refill import cards, ledger, numbers
from refill.cards import Subscriber
from refill.catalogue import Quote
from refill.db import Asked, Tx
from refill.errors import BadInput, NotEnough, NotForSale, OtherContent, PriceTooHigh, RefillError
from refill.ids import cell_of_id
from refill.operators import home
from refill.topup import guard, quotes, sql, store, tell
from refill.topup.birth import bear
from refill.topup.exchange import frozen
from refill.topup.limits import Wish
from refill.topup.order import Ask, BulkKey, Order
from refill.topup.trade import Trade


@dataclass(slots=True)
class _Line:
    """One ask on its way through the batch."""

    ask: Ask
    content: str = ""
    names: tuple[str, ...] = ()  # its key and reference, hashed
    bulk: str = ""  # the hashed key of the request that it came in
    claimed: list[str] = field(default_factory=list)  # those that this ask was the first to use
    first: str | None = None  # the id of the order that has its name already
    subscriber: Subscriber | None = None
    quote: Quote | None = None
    sold: bool = False  # paid by a float and delivered by ourselves: one step
    limited: bool = False  # limits count it
    valid_until: datetime | None = None
    answer: Order | RefillError | None = None


@dataclass(slots=True)
class _Floats:
    """Which stripe of each striped float a batch debits, whose stripes are gathered first, and what they refused."""

    by: str  # the first ask's id: a batch locks one stripe of a float, the next batch perhaps another
    refused: dict[str, RefillError] = field(
        default_factory=dict
    )  # asks for which a float held too little, under its lock
    low: frozenset[str] = frozenset()
    gathering: str = ""
    gathered: int = 0

    def next_gathering(self) -> str:
        """An entry's id for each time that we gather, also when the work runs again."""
        self.gathered += 1
        return f"{self.gathering}.{self.gathered}"


class _TurnedDown(Exception):
    """Some asks cannot be paid; what was written for them must be undone."""

    def __init__(self, answers: Mapping[str, RefillError]) -> None:
        super().__init__("asks that cannot be paid")
        self.answers = answers


async def place(trade: Trade, asks: Sequence[Ask]) -> list[Order | RefillError]:
    """Keeps orders; a repeat returns the order that its key or reference named first.

    A partner's order on our own network is paid and delivered here, in the same transaction. Refusals before an order
    exists (NotForSale, PriceTooHigh, NotEnough) are answers of their row, leave no trace and are not remembered.
    Raises Busy when the database does not answer.
    """
    named = _named(trade, asks)
    floats = _Floats(asks[0].id if asks else "")
    runs = 0

    async def work(tx: Tx) -> list[Order | RefillError]:
        nonlocal runs
        runs += 1
        # The work may run again after a commit in doubt, so it starts from the asks each time.
        answers: list[Order | RefillError] = []
        for batch in _in_turn([_Line(*names) for names in named]):
            answers += await _place_together(trade, tx, batch, floats, again=runs > 1)
        return answers

    while True:
        try:
            return await trade.db.transaction(work)
        except _TurnedDown as found:  # nothing stands: again without them, whose answer is known
            floats.refused |= found.answers
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
        if line.ask.quote is not None:
            names = (*names, line.ask.quote)
        if any(name in by_name and not _equal(by_name[name], line) for name in names):
            yield batch
            batch, by_name = [], {}
        batch.append(line)
        for name in names:
            by_name[name] = line
    yield batch


def _equal(one: _Line, other: _Line) -> bool:
    """Would both be answered the same?"""
    terms = [
        (line.names, line.content, line.ask.max_price, line.ask.commission_bp, line.ask.bulk) for line in (one, other)
    ]
    return bool(one.names) and terms[0] == terms[1]


async def _place_together(
    trade: Trade, tx: Tx, batch: Sequence[_Line], floats: _Floats, *, again: bool
) -> list[Order | RefillError]:
    now = trade.world.db_now()
    wanted, bulks = _wanted(batch), _bulks(batch)
    claimed = _ask_for(tx, wanted, bulks)
    subscribers = cards.reach_for(tx, [line.ask.number for line in batch])
    seen_before = await _claim(tx, batch, wanted, bulks, claimed)
    await _find_own(tx, [line for line in batch if again or seen_before or not line.names], replayed=not again)
    fresh = [line for line in batch if line.answer is None and line.first is None]
    await _quote(tx, trade, fresh, cards.reached(await subscribers), now)
    for line in fresh:
        line.answer = line.answer or floats.refused.get(line.ask.id)
    if trade.guard.watches:
        await _screen(tx, trade, [line for line in fresh if line.answer is None], now)
    placed = [line for line in fresh if line.answer is None]
    paying = _Paying.of(trade, placed, floats)  # laid out before anything is locked that others wait for
    # The float that all partners' orders wait for is locked last: what else is to be written is written before.
    await _deliver_home(tx, [line for line in placed if line.sold], now)
    await _bear(tx, trade, placed, now)
    quotes.use(tx, ((line.ask.quote, line.ask.id) for line in placed if line.ask.quote is not None))
    await _pay(tx, trade, paying, floats, now)
    await _release(tx, [line for line in fresh if isinstance(line.answer, RefillError)], _empty(batch, bulks))
    await _repeat(tx, batch, [line for line in batch if line.first and line.answer is None])
    return [_answered(line) for line in batch]


def _named(trade: Trade, asks: Sequence[Ask]) -> list[tuple[Ask, str, tuple[str, ...], str]]:
    """Each ask with what it asked, hashed, and the hashed names that its client gave it and the request it came in."""
    bulks: dict[tuple[str, BulkKey], str] = {}
    named = []
    for ask in asks:
        bulk = ""
        if ask.bulk is not None:
            bulk = bulks.get((ask.payer, ask.bulk)) or store.key_name(trade, ask.payer, "bulk", ask.bulk.key)
            bulks[ask.payer, ask.bulk] = bulk
        named.append((ask, *_names(trade, ask), bulk))
    return named


def _names(trade: Trade, ask: Ask) -> tuple[str, tuple[str, ...]]:
    """What was asked, hashed, and the hashed names that the client gave it."""
    if ask.key is None and ask.reference is None:
        return "", ()
    names = []
    if ask.key is not None:
        names.append(store.key_name(trade, ask.payer, "key", ask.key))
        names += [store.key_name(trade, ask.payer, "key", key) for key in ask.also]
    if ask.reference is not None:
        names.append(store.key_name(trade, ask.payer, "reference", ask.reference))
    # Normalised: the same key with another content is an error, never a second order.
    said = f"{ask.number}|{ask.face.minor}|{ask.face.currency}|{ask.reference}|{ask.operator}|{ask.product}"
    if ask.quote is not None:
        said += f"|{ask.quote}"
    return trade.vault.digest("content", said.encode()), tuple(names)


# ------------------------------------------------------------------ who was first


def _wanted(lines: Sequence[_Line]) -> dict[str, _Line]:
    """The names that a batch brings, each with the ask that was the first in it to use it."""
    wanted: dict[str, _Line] = {}
    for line in lines:
        for name in line.names:
            wanted.setdefault(name, line)
    return wanted


def _bulks(lines: Sequence[_Line]) -> dict[str, _Line]:
    """The keys of whole requests, each with the first of its rows here, whose id stands for the request."""
    bulks: dict[str, _Line] = {}
    for line in lines:
        if line.bulk:
            bulks.setdefault(line.bulk, line)
    return bulks


def _ask_for(tx: Tx, wanted: Mapping[str, _Line], bulks: Mapping[str, _Line]) -> Asked | None:
    """Puts in line the writing of these names; it answers with those that were taken."""
    if not wanted and not bulks:
        return None
    ordered = sorted((*wanted, *bulks))  # a name begins with its cell
    contents = {name: line.ask.bulk.content for name, line in bulks.items() if line.ask.bulk}
    return tx.ask(
        sql.CLAIM_KEYS,
        cells=[store.key_cell(name) for name in ordered],
        names=ordered,
        contents=[contents.get(name) or wanted[name].content for name in ordered],
        orders=[(wanted.get(name) or bulks[name]).ask.id for name in ordered],
    )


async def _claim(
    tx: Tx,
    lines: Sequence[_Line],
    wanted: Mapping[str, _Line],
    bulks: dict[str, _Line],
    claimed: Asked | None,
) -> bool:
    """Whoever finds a name taken is a repeat (`first`) or an error; of a bulk's key only another content is an error.

    Leaves in `bulks` those whose key is claimed here. True when some key stood there already for the very order that was
    asked for: the same ask was placed before.
    """
    taken: dict[str, tuple[str, str]] = {}
    held = {name: line.ask.bulk.content for name, line in bulks.items() if line.ask.bulk}
    own = False
    if claimed is not None and (missed := await claimed):
        owners = await tx.rows(sql.KEYS, cells=[cell for cell, _ in missed], names=[name for _, name in missed])
        for name, content, order_id in owners:
            if name.hex in bulks:
                held[name.hex] = content.hex
                del bulks[name.hex]
            elif order_id == wanted[name.hex].ask.id:
                own = True
            else:
                taken[name.hex] = (content.hex, order_id)
    for line in lines:
        for name in line.names:
            first = wanted[name]
            if first is line and name not in taken:
                line.claimed.append(name)
                continue
            content, owner = taken.get(name) or (first.content, first.ask.id)
            if content != line.content:
                line.answer = OtherContent("This key or reference was used before for a different request.")
            elif line.first is None:
                line.first = owner
        if line.bulk and line.ask.bulk and held[line.bulk] != line.ask.bulk.content:
            line.answer = OtherContent("This key was used before for a different bulk.")
    await _tidy_repeats(tx, lines)
    return own


def _empty(lines: Sequence[_Line], bulks: Mapping[str, _Line]) -> list[tuple[str, str]]:
    """The keys of requests of which every row was refused: not remembered."""
    kept = {line.bulk for line in lines if not isinstance(line.answer, RefillError)}
    return [(name, line.ask.id) for name, line in bulks.items() if name not in kept]


async def _tidy_repeats(tx: Tx, lines: Sequence[_Line]) -> None:
    """A repeat under a second name: the new name points to the first order too. A refused one leaves no name behind."""
    point = [(name, line.first) for line in lines if line.first and line.answer is None for name in line.claimed]
    if point:
        point.sort()
        tx.ask(
            sql.POINT_KEYS,
            cells=[store.key_cell(name) for name, _ in point],
            names=[name for name, _ in point],
            orders=[first for _, first in point],
        )
    await _release(tx, [line for line in lines if line.answer is not None])


async def _find_own(tx: Tx, lines: Sequence[_Line], *, replayed: bool) -> None:
    """After a commit in doubt, or when the very same ask comes twice, the order may stand already: it is the answer."""
    for line, order in zip(lines, await store.find_in(tx, [line.ask.id for line in lines]), strict=True):
        if order is not None and line.first is None and line.answer is None:
            line.answer = order.but(replayed=replayed)


async def _release(tx: Tx, lines: Sequence[_Line], bulks: Sequence[tuple[str, str]] = ()) -> None:
    """Forgets the keys of asks that were refused before an order existed."""
    gone = sorted([(name, line.ask.id) for line in lines for name in line.claimed] + list(bulks))
    if gone:
        tx.ask(
            sql.RELEASE_KEYS,
            cells=[store.key_cell(name) for name, _ in gone],
            names=[name for name, _ in gone],
            orders=[id_ for _, id_ in gone],
        )


# ------------------------------------------------------------------ what it costs


async def _quote(
    tx: Tx, trade: Trade, lines: Sequence[_Line], subscribers: Mapping[str, Subscriber], now: datetime
) -> None:
    """Finds operator, product and price of each ask."""
    asks = [line.ask for line in lines if line.ask.number not in subscribers and not line.ask.operator]
    strangers = {ask.number: numbers.hint(ask.msisdn.digits) for ask in asks}
    believed = await numbers.believed(tx, strangers, now) if strangers else {}
    held = await quotes.hold(tx, [line.ask.quote for line in lines if line.ask.quote is not None])
    for line in lines:
        ask = line.ask
        line.subscriber = subscribers.get(ask.number)
        kept = held.get(ask.quote) if ask.quote is not None else None
        try:
            if line.subscriber is not None:
                operator: str | None = line.subscriber.network
            else:
                operator = ask.operator or believed[ask.number].operator
            if kept is not None and line.subscriber is None:
                operator = ask.operator or kept.quote.operator
            if operator is None:
                raise NotForSale("We cannot tell the operator of this number; name it in `operator`.")
            agreed = None if ask.quote is None else quotes.fit(kept, ask, operator, now)
            line.quote = quote_for(trade, ask, operator, line.subscriber, now, agreed)
            line.sold = line.quote.supplier == home.NAME and ask.payer.startswith("partner:")
        except RefillError as refusal:
            line.answer = refusal


def quote_for(
    trade: Trade, ask: Ask, operator: str, subscriber: Subscriber | None, now: datetime, agreed: Quote | None = None
) -> Quote:
    """The product and price of an ask, or what was `agreed` before. Raises NotForSale or PriceTooHigh."""
    on_sale = trade.shelf.catalogue
    quote = agreed or on_sale.quote(
        operator,
        ask.face,
        at=now,
        product=ask.product,
        commission_bp=ask.commission_bp,
        payer=ask.payer,
        channel=ask.channel,
    )
    if quote.supplier == home.NAME:
        if subscriber is None:
            raise NotForSale("This number is not on that network.")
        if subscriber.state not in home.SERVED:
            raise NotForSale("This number is out of service; a new card is needed before it can be topped up.")
    elif quote.supplier not in trade.suppliers and not _others_deliver(trade, quote, now):
        raise NotForSale("No supplier of this operator is connected.")
    if ask.max_price is not None:
        if ask.max_price.currency != quote.price.currency:
            raise BadInput(f"`max_price` must be in {quote.price.currency}, the currency of the price.")
        if ask.max_price < quote.price:
            raise PriceTooHigh(f"The price is {quote.price}, above the highest price that you accept.")
    return quote


def _others_deliver(trade: Trade, quote: Quote, now: datetime) -> bool:
    """Is another supplier connected that delivers it? Which one is asked is decided when it is sent."""
    routes = trade.shelf.catalogue.routes(quote.operator, quote.product, quote.face, at=now)
    return any(route.supplier in trade.suppliers for route in routes)


async def _screen(tx: Tx, trade: Trade, lines: Sequence[_Line], now: datetime) -> None:
    """Refuses what lists and limits refuse."""
    wishes = [wish(line.ask, line.quote) for line in lines if line.quote is not None]
    screened = await guard.screen(tx, trade, wishes, now)
    for line in lines:
        line.answer = screened.refused.get(line.ask.id)
        line.limited = line.ask.id in screened.counted


def wish(ask: Ask, quote: Quote) -> Wish:
    """What lists and limits look at."""
    return Wish(ask.id, ask.number, ask.payer, ask.channel, quote.operator, quote.product, quote.supplier, quote.face)


# ------------------------------------------------------------------ money and credit


@dataclass(slots=True)
class _Paying:
    """Partners' asks with the entries that take their money: into a balance on our own network, else held."""

    lines: list[_Line]
    draft: ledger.Draft

    @classmethod
    def of(cls, trade: Trade, placed: Sequence[_Line], floats: _Floats) -> "_Paying":
        lines = [line for line in placed if line.ask.payer.startswith("partner:")]
        named: dict[tuple[str, str], tuple[str, str, str]] = {}
        entries = [_entry(line, _accounts(line, trade.stripes, floats.by, named)) for line in lines]
        return cls(lines, ledger.Draft(entries))


async def _pay(tx: Tx, trade: Trade, paying: _Paying, floats: _Floats, now: datetime) -> None:
    """Takes partners' money.

    Raises StripesLow when a stripe refuses, but perhaps not its float: nothing stands, run again and gather first; and
    _TurnedDown when a float refuses.
    """
    if not paying.lines:
        return
    stripes, draft = trade.stripes, paying.draft
    if floats.low:
        await stripes.hold(tx, floats.low)
        # Which stripe a batch debits may have changed with what was learnt; gathering says what is held now.
        draft = _Paying.of(trade, paying.lines, floats).draft
        await ledger.gather(tx, stripes, draft.entries, floats.low, floats.next_gathering(), now)
    refused: set[str] = set()
    answers: dict[str, RefillError] = {}
    for line, answer in zip(paying.lines, await ledger.post(tx, draft, now, new=True), strict=True):
        if answer == ledger.POSTED:
            continue
        if isinstance(answer, ledger.Refusal) and answer.why == "not_enough":
            says = "The float holds too little for this top-up; add to it and send the request again."
            answers[line.ask.id] = NotEnough(says)
            refused.add(ledger.owner_of(answer.account))
        else:
            answers[line.ask.id] = NotForSale("This float cannot pay in that currency.")
    if refused - floats.low and (low := await stripes.striped(tx, refused - floats.low)):
        raise ledger.StripesLow(low)
    if answers:
        raise _TurnedDown(answers)


def _accounts(
    line: _Line, stripes: ledger.Stripes, by: str, named: dict[tuple[str, str], tuple[str, str, str]]
) -> tuple[str, str, str]:
    """Where a line's money comes from: its float, the commission that is given beside it, and where a hold lies."""
    assert line.quote is not None
    payer, currency = line.ask.payer, line.quote.price.currency
    if (payer, currency) not in named:
        owner = payer.partition(":")[2]
        mark = stripes.mark(f"{owner}/{currency}", by)
        # The commission is debited as often as the float: it goes along, stripe by stripe.
        named[payer, currency] = (
            f"float:{owner}{mark}/{currency}",
            f"commission:{owner}{mark}",
            f"held:{owner}/{currency}",
        )
    return named[payer, currency]


def _entry(line: _Line, accounts: tuple[str, str, str]) -> ledger.Entry:
    ask, quote = line.ask, line.quote
    assert quote is not None
    float_, commission, held = accounts
    if line.sold:
        assert line.subscriber is not None
        return home.sold(f"{ask.id}.sold", float_, quote.price.minor, commission, line.subscriber, quote.face)
    return ledger.Entry.of(f"{ask.id}.held", (float_, held, quote.price.minor))


async def _deliver_home(tx: Tx, lines: Sequence[_Line], now: datetime) -> None:
    credits = [
        home.HomeCredit(line.subscriber, line.quote.days, line.quote.policy)
        for line in lines
        if line.subscriber and line.quote
    ]
    for line, valid_until in zip(lines, await home.extend(tx, credits, now), strict=True):
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
        await bear(tx, transition, orders, now)
    tell.born(tx, trade.listeners, born.get("sold", ()), now)


BIRTHS = {("captured", "delivered"): "sold", ("captured", "ready"): "held", ("unpaid", "quoted"): "placed"}


def _order(trade: Trade, line: _Line, now: datetime) -> Order:
    ask, quote = line.ask, line.quote
    assert quote is not None
    sold, held = line.sold, ask.payer.startswith("partner:")
    order = Order(
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
    if line.limited:
        order = order.but(limited=True)
    return order if quote.rate is None else frozen(order, quote.rate)


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
        line.answer = answer.but(replayed=True) if isinstance(answer, Order) else answer


def _answered(line: _Line) -> Order | RefillError:
    assert line.answer is not None
    return line.answer
