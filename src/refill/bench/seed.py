"""A market to sell on: one partner with one large float, and twenty thousand subscribers of our own network."""

import os
from datetime import timedelta
from pathlib import Path

from refill import cards
from refill.app import House, new_partner
from refill.db import Tx
from refill.money import Money
from refill.numbers import Msisdn, msisdn, number_id
from refill.numbers.iccid import check_digit
from refill.settings import Settings, read_settings

SUBSCRIBERS = 20_000
DIGITS = [f"86139{n:08d}" for n in range(SUBSCRIBERS)]
NUMBERS = ["+" + digits for digits in DIGITS]
FLOAT = Money(10**14, "CNY")
PACK = 1_000
TABLES = ("cards_subscriber", "ledger_account", "numbers_number")


def settings() -> Settings:
    """The product's own, with the database and folder of the stage."""
    return read_settings(
        {},
        data_dir=Path(os.environ["BENCH_HOME"]),
        database_url=os.environ["BENCH_DSN"],
        doors="machines",
        simulators=False,
        demo=False,
        workers=False,
    )


async def open_market(house: House) -> tuple[str, str]:
    """Fills an empty, migrated database; returns the partner's id and its API key."""
    partner = await new_partner(house, "Bench", FLOAT)
    for start in range(0, SUBSCRIBERS, PACK):
        await house.pool.transaction(_Pack(house, start).put_to_use)
    return partner


class _Pack:
    """A thousand subscribers, each with a card and a month of service."""

    def __init__(self, house: House, start: int) -> None:
        self._house = house
        self._start = start

    async def put_to_use(self, tx: Tx) -> None:
        """In one transaction."""
        world, vault = self._house.world, self._house.trade.vault
        numbers = [msisdn(text) for text in NUMBERS[self._start : self._start + PACK]]
        pack = [_card(self._start + n, number) for n, number in enumerate(numbers)]
        await cards.add_cards(tx, world, vault, pack, batch="bench")
        subscribers = await cards.by_numbers(tx, [number_id(vault, number) for number in numbers])
        now = world.db_now()
        until = now + timedelta(days=30)
        await cards.put_to_use(tx, [(subscriber, until) for subscriber in subscribers.values()], now)


def _card(place: int, number: Msisdn) -> cards.NewCard:
    body = f"898699{place + 1:012}"
    return cards.NewCard(
        body + check_digit(body), f"46099{place + 1:010}", "USIM", cards.Keys(bytes(16), bytes(16)), number
    )
