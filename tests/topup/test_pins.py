"""PINs out of our own stock: given and delivered in one transaction, read by who paid, replaced by two people."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.topup.shop import NORTHTELS, Lossy, Shop, table

from refill import catalogue, stock
from refill.db import Pool
from refill.errors import BadInput, CannotHappen, NotAllowed, NotAnAmount, NotForSale, NotFound
from refill.money import money
from refill.operators import Recharge, pins
from refill.outcome import Unknown
from refill.stock import Goods
from refill.topup import Order, Worker, flow
from refill.topup.check import check

PIN = "cmcc-pin-50"
GOODS = Goods("cmcc", PIN, money("50 CNY"), money("49.20 CNY"))


def like(table: str, of: str, **other: object) -> str:
    """One more row of the catalogue, like another."""
    return (
        f"INSERT INTO catalogue_{table} SELECT (jsonb_populate_record(t, '{json.dumps(other)}')).*"
        f" FROM catalogue_{table} t WHERE id = '{of}'"
    )


@pytest.fixture
async def kiosk(shop: Shop) -> Shop:
    """A shop that sells PINs; there is none yet."""
    await shop.sql(like("product", "cmcc-50", id=PIN, category="pin", retail_bp=9960))
    await shop.sql(like("supply", "cmcc-northtel", id="cmcc-pins", product_id=PIN, supplier="pins", priority=1))
    shop.trade.shelf.catalogue = await shop.db.transaction(catalogue.load)
    return shop


async def buy(shop: Shop, count: int = 3, first: int = 1, goods: Goods = GOODS) -> None:
    rows = [f"S{n:08d},{n:018d},2027-12-31" for n in range(first, first + count)]
    file = "\n".join(["serial,pin,expiry", *rows, ""]).encode()
    said = {"purse": "bank:main", "who": "wang", "why": "invoice 17"}
    arrival = await stock.receive(shop.db, shop.world, shop.vault, file, goods, **said)
    assert arrival.batch is not None
    await flow.confirm_stock(shop.trade, arrival.batch.code, "li")


async def partner_buys(shop: Shop, **more: Any) -> Order:
    return await shop.placed(shop.partners_ask(NORTHTELS, product=PIN, **more))


async def serials(shop: Shop, order_id: str) -> list[str]:
    return [f"{given.serial} {given.state}" for given in (await flow.pin_story(shop.trade, order_id)).given]


async def shelf(shop: Shop) -> tuple[int, int]:
    (one,) = await shop.db.transaction(stock.shelves)
    return one.stock, one.given


async def sound(shop: Shop, pool: Pool) -> None:
    assert await check(pool, lambda done, total: None) == []


async def test_a_pin_is_given_and_the_order_delivered_in_the_transaction_that_took_it(kiosk: Shop, pool: Pool) -> None:
    await buy(kiosk)
    order = await partner_buys(kiosk)
    assert order.supplier == "pins"
    await kiosk.worker.tick()
    assert kiosk.world.sent == [], "nobody is asked for it"
    assert await kiosk.story(order.id) == "held sent#1 delivered"
    assert (await kiosk.order(order.id)).status == "succeeded"
    attempt = await kiosk.attempt(order.id)
    assert (attempt.state, attempt.their_id, attempt.cost_minor) == ("done", "S00000001", 4920)
    assert await kiosk.book(order.id) == table("""
        held.0 | float:kiosk → held:kiosk | 49.80
        delivered.0 | held:kiosk → sales:topup | 49.80
        delivered.1 | cost:topup → stock:cmcc | 49.20
    """)
    assert await serials(kiosk, order.id) == ["S00000001 given"]
    await sound(kiosk, pool)


async def test_who_paid_reads_the_pin_and_it_is_noted(kiosk: Shop) -> None:
    await buy(kiosk)
    order = await partner_buys(kiosk)
    assert await flow.pins_for_payer(kiosk.trade, order.id, "partner") == [], "not before it is delivered"
    await kiosk.tick()
    ((given, pin),) = await flow.pins_for_payer(kiosk.trade, order.id, "partner")
    assert (given.serial, pin.plain) == ("S00000001", f"{1:018d}")
    story = await flow.pin_story(kiosk.trade, order.id)
    assert [(request, reader) for request, reader, _ in story.readings] == [(f"{order.id}a1", "partner")]
    assert pin.plain not in repr(story)


async def test_a_lost_commit_gives_no_second_pin(kiosk: Shop, db: Lossy, pool: Pool) -> None:
    await buy(kiosk)
    order = await partner_buys(kiosk)
    db.lose = 1
    await kiosk.tick()
    assert await kiosk.story(order.id) == "held sent#1 delivered"
    assert await shelf(kiosk) == (2, 1)
    await sound(kiosk, pool)


async def test_out_of_stock_parks_alarms_and_goes_on_when_stock_arrives(kiosk: Shop, pool: Pool) -> None:
    order = await partner_buys(kiosk)
    await kiosk.tick()
    assert await kiosk.story(order.id) == "held sent#1 parked#1"
    assert await kiosk.cases(PIN) == ["low_stock"]
    assert (await kiosk.attempt(order.id)).code == "empty_float"
    kiosk.world.clock += timedelta(seconds=6)
    await buy(kiosk)
    await kiosk.tick()
    await kiosk.tick()
    assert await kiosk.story(order.id) == "held sent#1 parked#1 resumed#1 sent#2 delivered", "at once, not by its timer"
    assert await serials(kiosk, order.id) == ["S00000001 given"]
    await sound(kiosk, pool)


async def test_a_parked_order_goes_on_by_its_own_timer_too(kiosk: Shop) -> None:
    order = await partner_buys(kiosk)
    await kiosk.tick()
    await buy(kiosk)
    await kiosk.sql(
        "UPDATE topup_order SET wake_at = created_at + interval '1 min', due = created_at + interval '1 min'"
    )
    await kiosk.wait(61)
    assert (await kiosk.order(order.id)).status == "succeeded"


async def test_nothing_arrives_by_the_deadline_and_the_payer_has_the_money_back(kiosk: Shop, pool: Pool) -> None:
    order = await partner_buys(kiosk)
    await kiosk.wait(timedelta(hours=24, minutes=1).total_seconds())
    assert (await kiosk.order(order.id)).payment == "refunded"
    assert await kiosk.balance(kiosk.float) == "1000.00"
    await buy(kiosk)
    await kiosk.wait(600)
    assert await shelf(kiosk) == (3, 0)
    await sound(kiosk, pool)


async def test_a_guest_pays_and_gets_a_pin(kiosk: Shop, pool: Pool) -> None:
    await buy(kiosk)
    order = await kiosk.placed(kiosk.ask(product=PIN))
    await kiosk.invite(order.id)
    assert kiosk.alipay.pay(f"{order.id}p1")
    await kiosk.world.advance(0)
    await kiosk.wait(1)
    assert await kiosk.story(order.id) == "placed paid sent#1 delivered"
    await sound(kiosk, pool)


async def test_pins_and_strangers_share_a_batch(kiosk: Shop) -> None:
    await buy(kiosk, 1)
    orders = [await partner_buys(kiosk), await partner_buys(kiosk)]
    orders.append(await kiosk.placed(kiosk.partners_ask(NORTHTELS)))
    await kiosk.tick()
    await kiosk.wait(1)
    stories = [await kiosk.story(order.id) for order in orders]
    assert sorted(stories) == ["held sent#1 delivered", "held sent#1 delivered", "held sent#1 parked#1"]


async def test_the_last_pins_ring_the_alarm(kiosk: Shop) -> None:
    await buy(kiosk, 3)
    now = kiosk.world.db_now()
    await kiosk.db.transaction(lambda tx: stock.set_level(tx, PIN, 3, "wang", now))
    assert await kiosk.cases(PIN) == []
    await partner_buys(kiosk)
    await kiosk.tick()
    assert await kiosk.cases(PIN) == ["low_stock"]


async def test_eight_workers_and_a_few_pins(kiosk: Shop, pool: Pool) -> None:
    await buy(kiosk, 7)
    orders = [await partner_buys(kiosk) for _ in range(10)]
    workers = [Worker(kiosk.trade, batch=2) for _ in range(8)]
    await asyncio.gather(*(worker.tick() for worker in workers for _ in range(2)))
    given = [serial for order in orders for serial in await serials(kiosk, order.id)]
    assert len(given) == len(set(given)) == 7
    assert await shelf(kiosk) == (0, 7)
    states = sorted([(await kiosk.order(order.id)).delivery for order in orders])
    assert states == ["delivered"] * 7 + ["parked"] * 3
    await sound(kiosk, pool)


async def test_a_supply_in_another_currency_than_the_pins_is_told(kiosk: Shop) -> None:
    await buy(kiosk)
    order = await partner_buys(kiosk)
    await kiosk.sql("UPDATE topup_order SET cost_currency = 'USD', rate_num = 7, rate_den = 1, cost_minor = 700")
    await kiosk.tick()
    assert await kiosk.cases(order.id) == ["wrong_cost"]


async def test_a_pin_that_does_not_work_is_replaced_by_two_people(kiosk: Shop, db: Lossy, pool: Pool) -> None:
    await buy(kiosk)
    order = await partner_buys(kiosk)
    await kiosk.tick()
    wish = await flow.ask_about_pin(kiosk.trade, order.id, "replace", "the customer says it was used", "wang")
    with pytest.raises(NotAllowed):
        await flow.decide_about_pin(kiosk.trade, order.id, wish.n, "wang", agree=True)
    assert await serials(kiosk, order.id) == ["S00000001 given"]
    db.lose = 1
    await flow.decide_about_pin(kiosk.trade, order.id, wish.n, "li", agree=True)
    assert await serials(kiosk, order.id) == ["S00000001 faulty", "S00000002 given"]
    ((given, pin),) = await flow.pins_for_payer(kiosk.trade, order.id, "partner")
    assert (given.request_id, pin.plain) == (f"{order.id}x1", f"{2:018d}")
    assert "replaced.1.0 | cost:faulty → stock:cmcc | 49.20" in await kiosk.book(order.id)
    assert (await kiosk.story(order.id)).endswith("delivered pin_replaced#1")
    await sound(kiosk, pool)


async def test_with_nothing_to_give_instead_the_old_one_stays(kiosk: Shop, pool: Pool) -> None:
    await buy(kiosk, 1)
    order = await partner_buys(kiosk)
    await kiosk.tick()
    wish = await flow.ask_about_pin(kiosk.trade, order.id, "replace", "used before", "wang")
    with pytest.raises(CannotHappen, match="No PIN is left"):
        await flow.decide_about_pin(kiosk.trade, order.id, wish.n, "li", agree=True)
    assert await serials(kiosk, order.id) == ["S00000001 given"]
    await buy(kiosk, 1, 10)
    await flow.decide_about_pin(kiosk.trade, order.id, wish.n, "li", agree=True)
    assert await serials(kiosk, order.id) == ["S00000001 faulty", "S00000010 given"]
    await sound(kiosk, pool)


async def test_a_pin_is_replaced_once_for_one_wish(kiosk: Shop) -> None:
    await buy(kiosk)
    order = await partner_buys(kiosk)
    await kiosk.tick()
    wish = await flow.ask_about_pin(kiosk.trade, order.id, "replace", "used before", "wang")
    now = kiosk.world.db_now()
    await kiosk.db.transaction(lambda tx: stock.spoil(tx, order.id, wish.request_id, now))
    with pytest.raises(CannotHappen, match="replaced before"):
        await flow.decide_about_pin(kiosk.trade, order.id, wish.n, "li", agree=True)


async def test_who_asked_sees_the_pin_once(kiosk: Shop, db: Lossy) -> None:
    await buy(kiosk)
    order = await partner_buys(kiosk)
    await kiosk.tick()
    wish = await flow.ask_about_pin(kiosk.trade, order.id, "reveal", "reads it out by telephone", "wang")
    with pytest.raises(CannotHappen):
        await flow.show_pin(kiosk.trade, order.id, wish.n, "wang")
    await flow.decide_about_pin(kiosk.trade, order.id, wish.n, "li", agree=True)
    db.lose = 1
    _, pin = await flow.show_pin(kiosk.trade, order.id, wish.n, "wang")
    assert pin.plain == f"{1:018d}"
    with pytest.raises(CannotHappen):
        await flow.show_pin(kiosk.trade, order.id, wish.n, "wang")
    readers = [reader for _, reader, _ in (await flow.pin_story(kiosk.trade, order.id)).readings]
    assert readers == ["wang"]


async def test_a_pin_that_was_replaced_meanwhile_is_not_shown(kiosk: Shop) -> None:
    await buy(kiosk)
    order = await partner_buys(kiosk)
    await kiosk.tick()
    look = await flow.ask_about_pin(kiosk.trade, order.id, "reveal", "reads it out", "wang")
    swap = await flow.ask_about_pin(kiosk.trade, order.id, "replace", "used before", "wang")
    for wish in (look, swap):
        await flow.decide_about_pin(kiosk.trade, order.id, wish.n, "li", agree=True)
    with pytest.raises(CannotHappen, match="replaced meanwhile"):
        await flow.show_pin(kiosk.trade, order.id, look.n, "wang")


async def test_who_declines_changes_nothing(kiosk: Shop) -> None:
    await buy(kiosk)
    order = await partner_buys(kiosk)
    await kiosk.tick()
    wish = await flow.ask_about_pin(kiosk.trade, order.id, "replace", "used before", "wang")
    await flow.decide_about_pin(kiosk.trade, order.id, wish.n, "li", agree=False)
    with pytest.raises(CannotHappen):
        await flow.decide_about_pin(kiosk.trade, order.id, wish.n, "zhao", agree=True)
    with pytest.raises(BadInput):
        await flow.ask_about_pin(kiosk.trade, order.id, "replace", "", "wang")
    assert await serials(kiosk, order.id) == ["S00000001 given"]


async def test_an_order_without_a_pin_has_none_to_show(kiosk: Shop) -> None:
    order = await kiosk.placed(kiosk.partners_ask(NORTHTELS))
    with pytest.raises(NotFound):
        await flow.ask_about_pin(kiosk.trade, order.id, "reveal", "curious", "wang")


async def test_the_supplier_of_pins_is_never_asked_over_a_wire(kiosk: Shop) -> None:
    supplier = kiosk.trade.suppliers[pins.NAME]
    ask = Recharge("tu_1a1", "8613912345678", money("50 CNY"), "cmcc", PIN, kiosk.world.now())
    assert isinstance(await supplier.recharge(kiosk.world, ask), Unknown)
    assert isinstance(await supplier.inquire(kiosk.world, ask), Unknown)
    assert isinstance(await supplier.balance(kiosk.world, "CNY"), Unknown)


async def test_pins_are_bought_for_what_our_stock_supplies(kiosk: Shop) -> None:
    await kiosk.sql("UPDATE catalogue_supply SET enabled = false WHERE operator_id = 'cbn'")  # nobody supplies it
    kiosk.trade.shelf.catalogue = await kiosk.db.transaction(catalogue.load)
    assert flow.sold_by_pin(kiosk.trade) == {PIN: ("cmcc", money("50 CNY"))}
    file, said = b"serial,pin,expiry\nS1,123456789012,2027-12-31\n", {"purse": "bank:main", "who": "wang", "why": "x"}
    arrival = await flow.receive_stock(kiosk.trade, file, PIN, "49.20", **said)
    assert arrival.batch is not None and arrival.batch.goods == GOODS
    with pytest.raises(NotForSale):
        await flow.receive_stock(kiosk.trade, file, "cmcc-50", "49.20", **said)
    with pytest.raises(NotAnAmount):
        await flow.receive_stock(kiosk.trade, file, PIN, "4.9e1", **said)


async def test_out_of_stock_another_supplier_is_asked_at_once_and_none_is_asked_twice(kiosk: Shop, pool: Pool) -> None:
    await kiosk.sql(like("supply", "cmcc-northtel", id="cmcc-other", product_id=PIN, priority=2))
    kiosk.trade.shelf.catalogue = await kiosk.db.transaction(catalogue.load)
    order = await partner_buys(kiosk)
    assert order.supplier == "pins"
    await kiosk.wait(5)
    assert (await kiosk.order(order.id)).status == "succeeded"
    suppliers = [f"{each.supplier} {each.state}" for each in (await kiosk.timeline(order.id)).attempts]
    assert suppliers == ["pins refused", "northtel done"]
    await sound(kiosk, pool)
