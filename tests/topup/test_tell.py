"""What a partner hears of its orders: the changes that it can see, and no others; nothing where nobody listens."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from tests.topup.shop import Shop

from refill import notify
from refill.db import Statement, Tx
from refill.notify import Listeners
from refill.topup import flow
from refill.topup.tell import as_told, facts, kind_of

HEARD = Statement("SELECT subject, n, kind, facts FROM notify_event ORDER BY at, subject, n")
Statement.every.remove(HEARD)


@dataclass
class Ear:
    """The shop's partner, listening."""

    shop: Shop

    async def heard(self, order_id: str) -> str:
        """ "succeeded#1 refunded#2": the events of an order."""
        rows = await self.shop.db.transaction(lambda tx: tx.rows(HEARD))
        return " ".join(f"{kind.removeprefix('topup.')}#{n}" for subject, n, kind, _ in rows if subject == order_id)


@pytest.fixture
async def ear(shop: Shop) -> Ear:
    await shop.sql(
        "INSERT INTO accounts_partner (id, name, currency, commission_bp, credit_limit_minor, status, created_at)"
        " VALUES (:id::text, 'Kiosk & Co', 'CNY', 40, 0, 'active', :at)",
        id=shop.partner,
        at=shop.world.db_now(),
    )

    async def listen(tx: Tx) -> None:
        await notify.create(tx, shop.world, shop.vault, shop.partner, "https://shop.example/refill")

    await shop.db.transaction(listen)
    return Ear(shop)


@pytest.mark.parametrize(
    ("end", "heard"),
    [
        ("5678", "succeeded#1"),
        ("0003", "failed#1"),
        ("0007", "partial#1"),
        ("0002", "processing#1 succeeded#2"),
        ("0013", ""),  # parked: nobody's news
    ],
)
async def test_each_outcome_is_told(ear: Ear, end: str, heard: str) -> None:
    order = await ear.shop.sent(f"139 1234 {end}")
    await ear.shop.wait(40)
    assert await ear.heard(order.id) == heard


async def test_our_own_network_is_told_as_it_is_sold(ear: Ear) -> None:
    order = await ear.shop.placed(ear.shop.partners_ask())
    assert await ear.heard(order.id) == "succeeded#1"
    await flow.reverse(ear.shop.trade, order.id, who="finance", reason="sent by mistake")
    assert await ear.heard(order.id) == "succeeded#1 reversed#2"


async def test_goodwill_is_told_as_a_refund(ear: Ear) -> None:
    order = await ear.shop.sent("139 1234 5678")
    asked = await flow.refund(ear.shop.trade, order.id, order.price, "it came late", "wang")
    await flow.confirm_refund(ear.shop.trade, order.id, asked.n, "li")
    assert await ear.heard(order.id) == "succeeded#1 refunded#2"


async def test_where_nobody_listens_nothing_is_asked_of_the_database(shop: Shop) -> None:
    await shop.trade.listeners.refresh(shop.db, shop.world.db_now())
    assert shop.trade.listeners.nobody(shop.world.db_now())
    asked = notify.outbox.TELL.name
    order = await shop.placed(shop.partners_ask())
    assert asked and order.status == "succeeded"
    assert await shop.sql("SELECT FROM notify_event") == 0


async def test_a_picture_of_who_listens_is_trusted_for_ten_seconds(ear: Ear) -> None:
    listeners, now = Listeners(), ear.shop.world.db_now()
    assert listeners.may_listen("pa_anybody", now) and not listeners.nobody(now)  # never taken: perhaps everybody
    await listeners.refresh(ear.shop.db, now)
    assert listeners.may_listen(ear.shop.partner, now)
    assert not listeners.may_listen("pa_anybody", now + timedelta(seconds=10))
    assert listeners.may_listen("pa_anybody", now + timedelta(seconds=11))


async def test_who_only_others_listen_beside_is_not_told(ear: Ear) -> None:
    ear.shop.trade.listeners._partners = frozenset({"pa_somebody_else"})
    ear.shop.trade.listeners._taken = ear.shop.world.db_now()
    order = await ear.shop.placed(ear.shop.partners_ask())
    assert await ear.heard(order.id) == ""


async def test_facts_bring_an_order_back_to_what_it_was(ear: Ear) -> None:
    before = await ear.shop.placed(ear.shop.partners_ask("139 1234 0002"))
    written = facts(before)
    await ear.shop.wait(600)
    after = await ear.shop.order(before.id)
    assert (after.status, as_told(after, written).status) == ("succeeded", "processing")
    assert (kind_of(before, after), kind_of(after, after)) == ("topup.succeeded", None)
