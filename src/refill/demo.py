"""A network to play with: subscribers in every stage of life, cards in stock, and numbers that are easy to type."""

from dataclasses import dataclass
from datetime import timedelta

from refill import cards
from refill.cards import ADDED
from refill.db import Database, Tx
from refill.numbers import Msisdn, msisdn, number_id
from refill.numbers.iccid import check_digit
from refill.vault import Vault
from refill.world import World

EASY = ("+8619912345678", "+8619988888888", "+8619966668888", "+8619900138000")
NUMBERS = [*EASY, *(f"+86199{number:08}" for number in range(1, 201))]
IN_GRACE, SUSPENDED, IN_STOCK = 5, 3, 2  # of the last numbers; all others are active
SPARE_CARDS = 20


@dataclass(frozen=True, slots=True)
class DemoFacts:
    """What a visitor can try; printed when the program starts."""

    active: tuple[Msisdn, ...]
    in_grace: tuple[Msisdn, ...]
    suspended: tuple[Msisdn, ...]
    in_stock: tuple[Msisdn, ...]
    spare_cards: tuple[str, ...]  # ICCIDs without a number, for remote activation


async def fill(db: Database, world: World, vault: Vault) -> DemoFacts:
    """Puts the demonstration network in place, once; asked again it changes nothing and answers the same."""
    numbers = [msisdn(text) for text in NUMBERS]
    deck = [_card(world, place, number) for place, number in enumerate(numbers)]
    spare = [_card(world, len(numbers) + place, None) for place in range(SPARE_CARDS)]
    served = len(numbers) - IN_STOCK
    now = world.db_now()

    async def put_in_place(tx: Tx) -> None:
        answers = await cards.add_cards(tx, world, vault, deck + spare, batch="demo")
        if ADDED not in answers:
            return
        index = {number: number_id(vault, number) for number in numbers}
        subscribers = await cards.by_numbers(tx, list(index.values()))
        asked = []
        for place, (number, answer) in enumerate(zip(numbers[:served], answers, strict=False)):
            if place < served - IN_GRACE - SUSPENDED:
                days = 20 + place * 7 % 340  # spread, so that reminders find somebody every day
            else:
                days = -10 if place < served - SUSPENDED else -100
            if answer == ADDED:
                asked.append((subscribers[index[number]], now + timedelta(days=days)))
        await cards.put_to_use(tx, asked, now)
        await cards.age(tx, now, len(NUMBERS))

    await db.transaction(put_in_place)
    active = served - IN_GRACE - SUSPENDED
    return DemoFacts(
        active=tuple(numbers[:active]),
        in_grace=tuple(numbers[active : active + IN_GRACE]),
        suspended=tuple(numbers[active + IN_GRACE : served]),
        in_stock=tuple(numbers[served:]),
        spare_cards=tuple(card.iccid for card in spare),
    )


def _card(world: World, place: int, number: Msisdn | None) -> cards.NewCard:
    # 460 99 is no network's code in China, so none of these cards could ever be somebody's.
    body = f"898699{place + 1:012}"
    keys = cards.Keys(world.chance(128).to_bytes(16), world.chance(128).to_bytes(16))
    return cards.NewCard(body + check_digit(body), f"46099{place + 1:010}", "USIM", keys, number)
