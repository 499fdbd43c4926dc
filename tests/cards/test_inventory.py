"""Cards come into stock, are switched on from afar, and their keys go in and never out to a person."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from refill import cards
from refill.cards import ADDED, ALREADY, Keys, NewCard, NumberTaken, activate, add_cards, keys_for_network, put_to_use
from refill.db import Pool
from refill.errors import CannotHappen, NotFound
from refill.numbers import Msisdn, msisdn, number_id
from refill.numbers.iccid import check_digit
from refill.vault import Vault

World = Any
DAY = timedelta(days=1)
K, OPC = bytes(range(16)), bytes(range(16, 32))
BEIJING, SHANGHAI = msisdn("13800138000"), msisdn("13900139000")


def card(place: int, number: Msisdn | None = None, *, imsi: str | None = None) -> NewCard:
    body = f"898699{place:012}"
    return NewCard(body + check_digit(body), imsi or f"46099{place:010}", "USIM", Keys(K, OPC), number)


async def add(db: Pool, world: World, vault: Vault, *rows: NewCard) -> list[str]:
    return await db.transaction(lambda tx: add_cards(tx, world, vault, rows, batch="spring"))


async def switch_on(db: Pool, world: World, vault: Vault, one: NewCard, number: Msisdn) -> cards.Subscriber:
    return await db.transaction(lambda tx: activate(tx, world, vault, one.iccid, number))


async def test_a_card_comes_into_stock_once(db: Pool, world: World, vault: Vault) -> None:
    assert await add(db, world, vault, card(1), card(1), card(2, BEIJING)) == [ADDED, ALREADY, ADDED]
    assert await add(db, world, vault, card(1), card(2, BEIJING), card(3)) == [ALREADY, ALREADY, ADDED]
    found = await db.transaction(lambda tx: cards.cards(tx, [card(1).iccid]))
    assert found[card(1).iccid] == cards.Card(card(1).iccid, card(1).imsi, "USIM", "stock", None, "spring")


async def test_what_contradicts_the_stock_is_refused_alone(db: Pool, world: World, vault: Vault) -> None:
    await add(db, world, vault, card(1, BEIJING))
    answers = await add(
        db,
        world,
        vault,
        card(1, imsi="460990000009999"),
        card(2, imsi=card(1).imsi),
        card(3, BEIJING),
        card(4, SHANGHAI),
        card(5, SHANGHAI),
    )
    assert [answer.split()[-1] for answer in answers] == ["(ICCID).", "(IMSI).", "number.", "added", "number."]


async def test_keys_are_sealed_and_only_the_network_opens_them(db: Pool, world: World, vault: Vault, dsn: str) -> None:
    await add(db, world, vault, card(1))
    with psycopg.connect(dsn) as connection:
        stored = str(connection.execute("SELECT cards_card::text FROM cards_card").fetchall())
    assert K.hex() not in stored
    assert repr(card(1).keys) == "Keys(…)"
    opened = await db.transaction(lambda tx: keys_for_network(tx, vault, [card(1).iccid, "none"]))
    assert opened == {card(1).iccid: (K, OPC)}


async def test_a_card_is_switched_on_from_afar_once(db: Pool, world: World, vault: Vault) -> None:
    await add(db, world, vault, card(1))
    anna = await switch_on(db, world, vault, card(1), BEIJING)
    assert (anna.state, anna.active_until, anna.iccid) == ("active", world.time + 30 * DAY, card(1).iccid)
    world.time += DAY
    assert await switch_on(db, world, vault, card(1), BEIJING) == anna
    found = await db.transaction(lambda tx: cards.by_numbers(tx, [number_id(vault, BEIJING)]))
    assert found == {anna.number: anna}
    stock = await db.transaction(lambda tx: cards.cards(tx, [card(1).iccid]))
    assert (stock[card(1).iccid].status, stock[card(1).iccid].subscriber_id) == ("in_use", anna.id)


async def test_a_card_that_came_with_a_number_is_switched_on_for_that_one_only(
    db: Pool, world: World, vault: Vault
) -> None:
    await add(db, world, vault, card(1, BEIJING))
    with pytest.raises(CannotHappen, match="another number"):
        await switch_on(db, world, vault, card(1), SHANGHAI)
    assert (await switch_on(db, world, vault, card(1), BEIJING)).state == "active"


async def test_cards_that_cannot_be_switched_on_say_why(db: Pool, world: World, vault: Vault, dsn: str) -> None:
    await add(db, world, vault, card(1, BEIJING), card(2), card(3))
    with pytest.raises(NotFound):
        await switch_on(db, world, vault, card(9), SHANGHAI)
    with pytest.raises(NumberTaken):
        await switch_on(db, world, vault, card(2), BEIJING)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE cards_card SET status = 'lost' WHERE iccid = %s", [card(3).iccid])
    with pytest.raises(CannotHappen, match="lost"):
        await switch_on(db, world, vault, card(3), SHANGHAI)


async def test_a_batch_is_put_to_use_each_until_its_own_day(db: Pool, world: World, vault: Vault) -> None:
    await add(db, world, vault, card(1, BEIJING), card(2, SHANGHAI))
    index = [number_id(vault, BEIJING), number_id(vault, SHANGHAI)]
    found = await db.transaction(lambda tx: cards.by_numbers(tx, index))
    asked = [(found[number], world.time + days * DAY) for number, days in zip(index, (5, 50), strict=True)]
    on = await db.transaction(lambda tx: put_to_use(tx, asked, world.time))
    assert [one.active_until for one in on] == [world.time + 5 * DAY, world.time + 50 * DAY]
    assert await db.transaction(lambda tx: cards.by_numbers(tx, index)) == {one.number: one for one in on}
