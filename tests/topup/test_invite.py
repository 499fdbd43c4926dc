"""Inviting at a till: a code read off a telephone is charged once, however often it is read and whatever is heard."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.topup.shop import US, Lossy, Shop

from refill import simulators
from refill.errors import BadInput, Busy, CannotHappen
from refill.payments import Invitation, methods_by_name
from refill.topup import Order, Worker, flow

PAYS = {"alipay": "280061098828009400", "wechat_pay": "130061098828009400", "jd_pay": "620061098828009400"}
ASKS = {"alipay": "280061098828009401", "wechat_pay": "130061098828009401", "jd_pay": "620061098828000002"}
POOR = {"alipay": "280061098828009402", "wechat_pay": "130061098828009402", "jd_pay": "620061098828000001"}
TILLS = pytest.mark.parametrize("name", PAYS)
_kept: dict[str, str] = {}  # keys take seconds to make


def keep(name: str, make: Callable[[], str]) -> str:
    return _kept.setdefault(name, _kept.get(name) or make())


class Till:
    """A clerk with a scanner, at a shop that takes payment codes of one firm."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.shop, self.name = shop, name
        file, self.url = simulators.shelf()[name], f"https://{name.replace('_', '-')}.far.example"
        self.far: Any = file.plays(keep, self.url, US, shop.world.surroundings())
        shop.world.route(self.url, self.far.handle)
        shop.trade = replace(shop.trade, methods=methods_by_name(file.leads(keep, self.url)))
        shop.worker = Worker(shop.trade)

    async def order(self) -> Order:
        return await self.shop.placed(self.shop.ask())

    async def read(self, order: Order, code: str) -> Invitation:
        return await flow.invite(self.shop.trade, order.id, self.name, scene="barcode", auth_code=code)

    async def payment(self, order: Order) -> str:
        return (await self.shop.order(order.id)).payment

    @property
    def charged(self) -> list[str]:
        return [one.reference.replace("U", "_") for one in self.far.captures]


@pytest.fixture
def till(shop: Shop) -> Callable[[str], Till]:
    return lambda name: Till(shop, name)


@TILLS
async def test_a_code_that_pays_at_once_has_paid_the_order_when_the_till_hears_of_it(
    till: Callable[[str], Till], name: str
) -> None:
    counter = till(name)
    order = await counter.order()
    assert await counter.read(order, PAYS[name]) == Invitation("paid")
    assert await counter.payment(order) == "captured"
    with pytest.raises(CannotHappen, match="paid or has lapsed"):
        await counter.read(order, PAYS[name])
    await counter.shop.wait(60)
    assert counter.charged == [f"{order.id}p1"]


@TILLS
async def test_while_the_person_confirms_the_till_waits_and_the_polls_find_the_money(
    till: Callable[[str], Till], name: str
) -> None:
    counter = till(name)
    order = await counter.order()
    assert await counter.read(order, ASKS[name]) == Invitation("wait")
    assert await counter.payment(order) == "unpaid"
    (reference,) = counter.far.trades
    assert counter.far.pay(reference)
    await flow.poll(counter.shop.trade, order.id)
    assert await counter.payment(order) == "captured"


@TILLS
async def test_after_a_refusal_another_code_may_be_read(till: Callable[[str], Till], name: str) -> None:
    counter = till(name)
    order = await counter.order()
    with pytest.raises(CannotHappen, match="too little"):
        await counter.read(order, POOR[name])
    assert counter.charged == []
    assert await counter.read(order, PAYS[name]) == Invitation("paid")
    assert await counter.payment(order) == "captured"
    assert counter.charged == [f"{order.id}p1"], "the firm never knew the first, so it is the same charge"


@TILLS
@pytest.mark.parametrize("trouble", ["lost", "error_after"])
async def test_when_the_answer_is_lost_the_next_reading_finds_the_money_and_charges_nobody(
    till: Callable[[str], Till], name: str, trouble: str
) -> None:
    counter = till(name)
    order = await counter.order()
    counter.far.troubles.plan(trouble)
    assert await counter.read(order, PAYS[name]) == Invitation("wait"), "perhaps the person has paid"
    assert await counter.payment(order) == "unpaid"
    assert await counter.read(order, PAYS[name][:-2] + "08") == Invitation("paid")
    assert await counter.payment(order) == "captured"
    assert counter.charged == [f"{order.id}p1"]
    assert counter.far.refunds == []


@TILLS
async def test_when_the_question_is_lost_the_same_charge_is_asked_for_again(
    till: Callable[[str], Till], name: str
) -> None:
    counter = till(name)
    order = await counter.order()
    counter.far.troubles.plan("error_before")
    assert await counter.read(order, PAYS[name]) == Invitation("wait")
    assert await counter.read(order, PAYS[name]) == Invitation("paid")
    assert counter.charged == [f"{order.id}p1"]


@TILLS
async def test_while_nobody_answers_no_second_code_is_charged(till: Callable[[str], Till], name: str) -> None:
    counter = till(name)
    order = await counter.order()
    counter.far.troubles.plan("lost", 2)  # the charge, and what is asked before the next one
    assert await counter.read(order, PAYS[name]) == Invitation("wait")
    assert await counter.read(order, PAYS[name][:-2] + "08") == Invitation("wait")
    assert counter.charged == [f"{order.id}p1"]
    await counter.shop.wait(60)
    assert await counter.payment(order) == "captured", "the polls found it"


@TILLS
async def test_without_a_connection_nothing_was_charged_and_the_clerk_may_try_again(
    till: Callable[[str], Till], name: str
) -> None:
    counter = till(name)
    order = await counter.order()
    counter.shop.world.unplugged.add(counter.url)
    with pytest.raises(Busy, match="Nothing was charged"):
        await counter.read(order, PAYS[name])


@pytest.mark.parametrize("name", ["alipay", "jd_pay"])
async def test_a_second_code_closes_the_charge_that_waits_for_the_first(till: Callable[[str], Till], name: str) -> None:
    counter = till(name)
    order = await counter.order()
    assert await counter.read(order, ASKS[name]) == Invitation("wait")
    assert await counter.read(order, PAYS[name]) == Invitation("paid")
    (first, _) = counter.far.trades
    assert not counter.far.pay(first), "nobody pays twice"
    assert counter.charged == [f"{order.id}p2"]


async def test_at_wechat_a_second_code_waits_until_the_first_is_decided(till: Callable[[str], Till]) -> None:
    counter = till("wechat_pay")
    order = await counter.order()
    assert await counter.read(order, ASKS["wechat_pay"]) == Invitation("wait")
    assert await counter.read(order, PAYS["wechat_pay"]) == Invitation("wait"), "the person may still type a password"
    await counter.shop.world.advance(61)
    assert await counter.read(order, PAYS["wechat_pay"]) == Invitation("paid")
    assert counter.charged == [f"{order.id}p2"]


async def test_two_readings_at_the_same_moment_are_one_charge(till: Callable[[str], Till]) -> None:
    counter = till("alipay")
    order = await counter.order()
    others: list[Invitation] = []

    async def meanwhile(request: Any) -> Any:
        if b"bar_code" in request.body and not others:
            others.append(Invitation("wait"))
            others[0] = await counter.read(order, PAYS["alipay"])
        return await counter.far.handle(request)

    counter.shop.world.route(counter.far.gateway_url, meanwhile)
    assert await counter.read(order, PAYS["alipay"][:-2] + "08") == Invitation("paid")
    assert others == [Invitation("paid")]
    assert await counter.payment(order) == "captured"
    assert counter.charged == [f"{order.id}p1"]


@pytest.mark.parametrize("code", ["", "12345", "28006109882800940x", "2" * 25, "２８００６１０９８８２８００９４００"])
async def test_what_is_no_payment_code_goes_nowhere(till: Callable[[str], Till], code: str) -> None:
    counter = till("alipay")
    order = await counter.order()
    sent = len(counter.shop.world.sent)
    with pytest.raises(BadInput, match="16 to 24 digits") as refused:
        await counter.read(order, code)
    assert not code or code not in str(refused.value)
    assert len(counter.shop.world.sent) == sent


async def test_a_method_without_codes_is_not_asked_for_one(shop: Shop) -> None:
    order = await shop.placed(shop.ask())
    shop.trade = replace(
        shop.trade, methods=methods_by_name(simulators.shelf()["card"].leads(keep, "https://c.example"))
    )
    with pytest.raises(CannotHappen, match="no codes"):
        await flow.invite(shop.trade, order.id, "card", scene="barcode", auth_code=PAYS["alipay"])


@TILLS
async def test_a_code_is_kept_nowhere(
    till: Callable[[str], Till], dsn: str, name: str, caplog: pytest.LogCaptureFixture, db: Lossy
) -> None:
    caplog.set_level(logging.DEBUG)
    counter = till(name)
    for codes in (PAYS, ASKS):
        assert await counter.read(await counter.order(), codes[name])
    with pytest.raises(CannotHappen) as refused:
        await counter.read(await counter.order(), POOR[name])
    counter.far.troubles.plan("lost")
    await counter.read(await counter.order(), PAYS[name][:-2] + "09")
    await counter.shop.wait(60)
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        kept = [row for (table,) in tables for (row,) in connection.execute(f"SELECT t::text FROM {table} t".encode())]
    said = "\n".join([*kept, caplog.text, str(refused.value)])
    assert len(kept) > 4
    for code in (PAYS[name], ASKS[name], POOR[name], PAYS[name][:-2] + "09"):
        assert code not in said


@pytest.mark.parametrize("inside", ["voucher", "wallet"])
async def test_what_is_paid_here_invites_nobody_elsewhere(shop: Shop, inside: str) -> None:
    order = await shop.placed(shop.ask())
    with pytest.raises(CannotHappen, match="leads nowhere else"):
        await flow.invite(shop.trade, order.id, inside, scene="inside")
