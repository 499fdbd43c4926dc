"""A partner's key is shown once, opens what it should, and stops when it must."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from refill.accounts import (
    KeyRing,
    NameTaken,
    Partner,
    create_key,
    create_partner,
    float_account,
    load_keys,
    partner,
    revoke_key,
    set_time_zone,
    suspend,
)
from refill.db import Pool
from refill.errors import BadInput, NotFound
from refill.money import Money, money
from refill.vault import Vault

SECOND = timedelta(seconds=1)
World = Any  # the fixture's


async def made(db: Pool, world: World, vault: Vault, name: str = "Acme", **terms: Any) -> tuple[Partner, str]:
    return await db.transaction(lambda tx: create_partner(tx, world, vault, name, **terms))


async def test_a_new_partner_gets_a_key_that_opens(db: Pool, world: World, vault: Vault) -> None:
    acme, key = await made(db, world, vault, commission_bp=40, credit_limit=money("1000 CNY"))
    ring = KeyRing(vault, db, world)
    await ring.refresh()
    found = ring.find(key)
    assert found is not None
    assert (found.partner_id, found.name, found.currency, found.commission_bp) == (acme.id, "Acme", "CNY", 40)
    assert found.scopes == {"topup", "balance", "webhooks"}
    assert ring.find(key.encode()) is found
    assert acme.credit_limit == money("1000 CNY")
    assert float_account(acme.id, acme.currency) == f"float:{acme.id}/CNY"


async def test_the_key_itself_is_kept_nowhere(db: Pool, world: World, vault: Vault, dsn: str) -> None:
    _, key = await made(db, world, vault)
    assert key.startswith("rk_live_")
    assert len(key) == 40
    with psycopg.connect(dsn) as connection:
        stored = str(connection.execute("SELECT accounts_apikey::text FROM accounts_apikey").fetchall())
    assert key not in stored
    assert key[:12] in stored
    assert key[16:] not in stored


@pytest.mark.parametrize("wrong", ["", "rk_live_", "rk_live_" + "0" * 32, "é", "\ud800", b"\xff", "x" * 100_000])
async def test_any_other_key_opens_nothing(db: Pool, world: World, vault: Vault, wrong: str | bytes) -> None:
    await made(db, world, vault)
    ring = KeyRing(vault, db, world)
    assert await ring.find_or_read(wrong) is None


async def test_a_key_made_this_second_opens_at_once(db: Pool, world: World, vault: Vault) -> None:
    ring = KeyRing(vault, db, world)
    await ring.refresh()
    world.time += 2 * SECOND
    _, key = await made(db, world, vault)
    assert ring.find(key) is None
    assert await ring.find_or_read(key) is not None


async def test_a_flood_of_wrong_keys_is_one_question_a_second(db: Pool, world: World, vault: Vault) -> None:
    ring = KeyRing(vault, db, world)
    await ring.refresh()
    _, key = await made(db, world, vault)
    for _ in range(1_000):
        assert await ring.find_or_read(key) is None  # read less than a second ago
    world.time += 2 * SECOND
    assert await ring.find_or_read(key) is not None


async def test_a_revoked_key_is_forgotten_within_five_seconds(db: Pool, world: World, vault: Vault, dsn: str) -> None:
    acme, key = await made(db, world, vault)
    ring = KeyRing(vault, db, world)
    await ring.refresh()
    with psycopg.connect(dsn) as connection:
        (key_id,) = connection.execute("SELECT id FROM accounts_apikey").fetchone() or ("",)
    assert await db.transaction(lambda tx: revoke_key(tx, key_id, world.time))
    assert not await db.transaction(lambda tx: revoke_key(tx, key_id, world.time))
    world.time += 6 * SECOND
    ring.find(key)
    assert len(world.started) == 1
    assert ring.find(key) is not None  # nobody waits: the ring is read beside the callers, once
    assert len(world.started) == 1
    await world.started.pop()
    assert ring.find(key) is None
    other = await db.transaction(lambda tx: create_key(tx, world, vault, acme.id))
    world.time += 6 * SECOND
    assert await ring.find_or_read(other) is not None
    for work in world.started:
        work.close()


async def test_a_ring_that_cannot_be_read_keeps_what_it_has_and_tries_again(
    db: Pool, world: World, vault: Vault
) -> None:
    _, key = await made(db, world, vault)

    class Down:
        async def transaction(self, work: Any) -> Any:
            raise ConnectionError

    ring = KeyRing(vault, db, world)
    await ring.refresh()
    ring._db = Down()
    world.time += 6 * SECOND
    assert ring.find(key) is not None
    with pytest.raises(ConnectionError):
        await world.started.pop()
    assert ring.find(key) is not None
    assert len(world.started) == 1  # another try is under way
    world.started.pop().close()


async def test_a_suspended_partner_is_shut_out_and_let_in_again(db: Pool, world: World, vault: Vault) -> None:
    acme, _ = await made(db, world, vault)
    assert await db.transaction(lambda tx: suspend(tx, acme.id))
    assert await db.transaction(lambda tx: load_keys(tx, world.time)) == {}
    assert await db.transaction(lambda tx: suspend(tx, acme.id, suspended=False))
    assert not await db.transaction(lambda tx: suspend(tx, acme.id, suspended=False))
    assert len(await db.transaction(lambda tx: load_keys(tx, world.time))) == 1


async def test_a_key_with_an_end_opens_until_then(db: Pool, world: World, vault: Vault) -> None:
    acme, _ = await made(db, world, vault)
    end = world.time + 60 * SECOND
    await db.transaction(lambda tx: create_key(tx, world, vault, acme.id, scopes="balance", expires_at=end))
    assert len(await db.transaction(lambda tx: load_keys(tx, end - SECOND))) == 2
    assert len(await db.transaction(lambda tx: load_keys(tx, end))) == 1


async def test_a_partner_is_found_by_id_and_by_name(db: Pool, world: World, vault: Vault) -> None:
    acme, _ = await made(db, world, vault)
    assert await db.transaction(lambda tx: partner(tx, acme.id)) == acme
    assert await db.transaction(lambda tx: partner(tx, "Acme")) == acme
    with pytest.raises(NotFound):
        await db.transaction(lambda tx: partner(tx, "Nobody"))
    with pytest.raises(NotFound):
        await db.transaction(lambda tx: create_key(tx, world, vault, "pa_nobody"))


async def test_two_partners_do_not_share_a_name(db: Pool, world: World, vault: Vault) -> None:
    await made(db, world, vault)
    with pytest.raises(NameTaken, match="Acme"):
        await made(db, world, vault, " Acme ")


@pytest.mark.parametrize(
    "terms",
    [
        {"name": ""},
        {"name": " "},
        {"name": "a\nb"},
        {"name": "x" * 101},
        {"currency": "cny"},
        {"currency": "XXX"},
        {"credit_limit": Money(1, "USD")},
        {"credit_limit": Money(-1, "CNY")},
        {"commission_bp": -1},
        {"commission_bp": 10_001},
    ],
)
async def test_terms_that_make_no_sense_are_refused(db: Pool, world: World, vault: Vault, terms: Any) -> None:
    with pytest.raises(BadInput):
        await made(db, world, vault, **{"name": "Acme", **terms})


async def test_a_partners_day_ends_where_it_says(db: Pool, world: World, vault: Vault) -> None:
    acme, key = await made(db, world, vault)
    ring = KeyRing(vault, db, world)
    for by, zone in ((acme.id, "Europe/Berlin"), ("Acme", "Asia/Tokyo")):
        await db.transaction(lambda tx: set_time_zone(tx, by, zone))  # noqa: B023 awaited at once
        await ring.refresh()
        found = ring.find(key)
        assert found is not None and found.time_zone == zone
    for name, wrong, error in (("Acme", "Mars/Base", BadInput), ("Acme", "Asia", BadInput), ("Bell", "UTC", NotFound)):
        with pytest.raises(error):
            await db.transaction(lambda tx: set_time_zone(tx, name, wrong))  # noqa: B023 awaited at once
