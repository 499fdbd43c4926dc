"""Before anybody pays: whose a number is, whether anybody has it, and what a payer should look at twice.

Nothing here refuses a top-up. What a look-up says is advice; without an answer all goes on as if nobody had been asked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from refill import cards, numbers
from refill.db import Statement, Tx
from refill.ids import time_of_id
from refill.numbers import Belief, Looked, Msisdn
from refill.numbers.belief import LEARNED_LASTS, OWN, PERSON, PREFIX
from refill.topup.trade import Trade

CHOSEN = "chosen"  # the payer's own word, for this top-up only
LONG_UNUSED = timedelta(days=180)  # an operator gives a number that was given up to somebody else after some months


@dataclass(frozen=True, slots=True)
class Told:
    """What can be said of a number. `state`: active, absent, dead, or None; `subscriber`: its id on our own network."""

    number: str  # keyed index
    belief: Belief
    state: str | None = None
    subscriber: str | None = None

    @property
    def operator(self) -> str | None:
        """Whose credit it takes, as far as anybody knows."""
        return self.belief.operator


@dataclass(frozen=True, slots=True)
class Caution:
    """Something to look at twice before paying: a code for programs, a sentence, and a number of before, masked."""

    code: str
    says: str
    number: str = ""


async def whose(trade: Trade, msisdn: Msisdn, chosen: str | None = None, *, ask: bool = True) -> Told:
    """Whose credit a number takes: our own network, the payer's choice, then what we believe.

    With `ask`, look-ups are asked where nothing better is known, outside any transaction and for no longer than
    `lookups.asking.MOST_S` a question. Whether anybody has the number is asked where a rule says so of its operator.
    """
    number = numbers.number_id(trade.vault, msisdn)
    hint = numbers.hint(msisdn.digits)

    async def look(tx: Tx) -> tuple[Told, dict[str, Looked]]:
        if subscriber := (await cards.by_numbers(tx, [number])).get(number):
            return Told(number, Belief(subscriber.network, OWN), subscriber=subscriber.id), {}
        now = trade.world.db_now()
        belief = (await numbers.believed(tx, {number: hint}, now))[number]
        return Told(number, belief), await numbers.answers(tx, number, now)

    told, kept = await trade.db.transaction(look)
    if told.subscriber is not None:
        return told
    belief = told.belief
    if chosen is not None:
        belief = Belief(chosen, CHOSEN)
    elif ask and "whose" not in kept and not _sure(belief, trade.world.db_now()):
        looked = await trade.lookups.whose(trade.world, msisdn)
        if looked is not None:
            belief = await _keep(trade, number, hint, looked)
    if ask and "alive" not in kept and belief.operator in trade.lookups.warns:
        looked = await trade.lookups.alive(trade.world, msisdn)
        if looked is not None:
            await _keep(trade, number, hint, looked)
            kept = {**kept, "alive": looked}
    return Told(number, belief, kept["alive"].state if "alive" in kept else None)


async def seller_for(trade: Trade, msisdn: Msisdn, chosen: str | None = None) -> str | None:
    """The operator alone, from what we know; nobody is asked."""
    return (await whose(trade, msisdn, chosen, ask=False)).operator


def _sure(belief: Belief, now: datetime) -> bool:
    """Does it count more than a look-up would?"""
    if belief.source == PERSON:
        return True
    return belief.source not in ("", PREFIX) and belief.at is not None and now - belief.at <= LEARNED_LASTS


async def _keep(trade: Trade, number: str, hint: str | None, looked: Looked) -> Belief:
    """Keeps an answer, and weighs anew."""

    async def work(tx: Tx) -> Belief:
        await numbers.keep_answer(tx, number, looked)
        return (await numbers.believed(tx, {number: hint}, trade.world.db_now()))[number]

    return await trade.db.transaction(work)


# ------------------------------------------------------------------ what to look at twice

LAST = Statement("""
    -- The last top-up of a number that a payer paid for, beside one that is being repeated
    SELECT o.id, o.operator, o.created_at FROM topup_order o
     WHERE o.number = :number AND o.payer = :payer AND o.captured_minor > 0
       AND (:reference::text IS NULL OR o.reference IS DISTINCT FROM :reference::text)
     ORDER BY o.id DESC LIMIT 1
""")

PAID_FOR = Statement("""
    -- Which of some numbers a payer has paid top-ups for
    SELECT near.number FROM unnest(:numbers::text[]) AS near (number)
     WHERE EXISTS (SELECT FROM topup_order o
                    WHERE o.number = near.number AND o.payer = :payer AND o.captured_minor > 0)
""")


async def cautions(trade: Trade, payer: str, msisdn: Msisdn, told: Told, reference: str | None = None) -> list[Caution]:
    """What this payer should look at twice before paying for this number; `reference` names the wish itself, if placed.

    Former recipients are known by their keyed index alone: the numbers that differ in one digit are made from this one.
    """
    found = []
    if told.state == "dead":
        found.append(Caution("dead", "The operator says that nobody has this number. Compare each digit."))
    if told.belief.doubted:
        found.append(Caution("operator_unsure", "This number may have moved to another operator; ask its owner."))
    near = _near(trade, msisdn)

    async def work(tx: Tx) -> list[Caution]:
        last = await tx.row(LAST, number=told.number, payer=payer, reference=reference)
        if last is not None:
            return _since(last[0], last[1], last[2], told, trade.world.db_now())
        rows = await tx.rows(PAID_FOR, numbers=list(near), payer=payer)
        if rows:
            other = near[rows[0][0]].masked()
            return [Caution("one_digit_off", f"You have topped up {other} before, which is nearly the same.", other)]
        return [Caution("first_time", "You have not topped up this number before. Compare each digit.")]

    return found + await trade.db.transaction(work)


def _since(order_id: str, operator: str, at: datetime, told: Told, now: datetime) -> list[Caution]:
    """What became of a number since this payer's last top-up of it."""
    if told.subscriber is not None and time_of_id(told.subscriber) > time_of_id(order_id):
        says = "This number was given to a new subscriber since your last top-up. Ask its owner."
        return [Caution("new_subscriber", says)]
    if now - at > LONG_UNUSED:
        says = f"Your last top-up of this number was on {at:%Y-%m-%d}. It may belong to somebody else by now."
        return [Caution("long_unused", says)]
    if told.belief.source not in ("", PREFIX, CHOSEN) and told.operator != operator:
        return [Caution("other_operator", "This number has another operator than at your last top-up of it.")]
    return []


def _near(trade: Trade, msisdn: Msisdn) -> dict[str, Msisdn]:
    """The numbers that differ in one digit, or in two that changed places, by their keyed index."""
    start = len(msisdn.calling_code)
    near = set()
    for place in range(start, len(msisdn.digits)):
        before, digit, after = msisdn.digits[:place], msisdn.digits[place], msisdn.digits[place + 1 :]
        near |= {before + other + after for other in "0123456789" if other != digit}
        if after and after[0] != digit:
            near.add(before + after[0] + digit + after[1:])
    return {numbers.number_id(trade.vault, Msisdn(digits)): Msisdn(digits) for digits in sorted(near)}
