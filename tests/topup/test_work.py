"""The worker: any number of them, each order with one, and no order that stops the others."""

import asyncio

import pytest
from tests.topup.shop import NORTHTEL, Shop

from refill.money import Money, money
from refill.operators import Delivery, Recharge, Supplier
from refill.outcome import Done, Outcome
from refill.topup import Worker, flow
from refill.world import World


async def test_a_shop_without_orders_has_nothing_to_do(shop: Shop) -> None:
    assert await shop.worker.tick() == 0


async def test_workers_beside_each_other_take_each_order_once(shop: Shop) -> None:
    asks = [shop.partners_ask(f"139 1234 5{n:03}", "10.00 CNY") for n in range(20)]
    await shop.place(*asks)
    workers = [Worker(shop.trade, batch=3) for _ in range(4)]
    while sum(await asyncio.gather(*(worker.tick() for worker in workers))):
        await shop.world.advance(0)
    assert sorted(credit.request_id for credit in shop.northtel.credits) == sorted(f"{ask.id}a1" for ask in asks)
    assert {(await shop.order(ask.id)).status for ask in asks} == {"succeeded"}


async def test_a_worker_holds_no_more_calls_than_it_was_told(shop: Shop) -> None:
    await shop.place(*(shop.partners_ask(f"139 1234 5{n:03}", "10.00 CNY") for n in range(5)))
    worker = Worker(shop.trade, in_flight=2)
    assert [await worker.tick() for _ in range(3)] == [2, 0, 0]
    await shop.world.advance(0)
    assert [await worker.tick() for _ in range(2)] == [2, 0]


async def test_answers_that_come_in_together_are_saved_together(shop: Shop) -> None:
    asks = [shop.partners_ask(f"139 1234 5{n:03}", "10.00 CNY") for n in range(6)]
    await shop.place(*asks)
    await shop.worker.tick()
    started, shop.world.started = shop.world.started, []
    shop.world._due.clear()
    await asyncio.gather(*started)
    assert {(await shop.order(ask.id)).status for ask in asks} == {"succeeded"}


class Liar:
    """A supplier whose n-th answer names a cost that no book can hold."""

    def __init__(self, honest: Supplier, n: int) -> None:
        self.name, self.flags, self._honest, self._left = honest.name, honest.flags, honest, n
        self.lied_about = ""

    async def recharge(self, world: World, ask: Recharge) -> Outcome[Delivery]:
        answer = await self._honest.recharge(world, ask)
        self._left -= 1
        if self._left == 0:
            self.lied_about = ask.request_id[:27]
            return Done(Delivery("N", ask.msisdn, ask.face, Money(2**63, "CNY")))
        return answer


@pytest.mark.parametrize("n", [1, 2, 3])
async def test_one_answer_that_cannot_be_saved_does_not_keep_the_others_from_being_saved(shop: Shop, n: int) -> None:
    asks = [shop.partners_ask(f"139 1234 5{n:03}", "10.00 CNY") for n in range(3)]
    await shop.place(*asks)
    honest = shop.trade.suppliers["northtel"]
    liar = Liar(honest, n)
    shop.trade.suppliers["northtel"] = liar  # type: ignore[index]
    await shop.worker.tick()
    started, shop.world.started = shop.world.started, []
    shop.world._due.clear()
    await asyncio.gather(*started)
    await shop.world.advance(0)
    for ask in asks:
        assert (await shop.order(ask.id)).status == ("processing" if ask.id == liar.lied_about else "succeeded")
    assert len(shop.world.errors) == 1
    shop.world.errors.clear()
    # It is asked about, like every answer that we do not have.
    shop.trade.suppliers["northtel"] = honest  # type: ignore[index]
    await shop.wait(120)
    assert (await shop.order(liar.lied_about)).status == "succeeded"


async def test_an_order_that_cannot_be_worked_does_not_stop_the_others(shop: Shop) -> None:
    """The supplier that must be asked about it was disconnected, say."""
    orphan = await shop.sent("139 1234 0002", "10.00 CNY")
    await shop.sql("UPDATE topup_attempt SET supplier = 'southtel'")
    await shop.world.advance(10)
    other = await shop.placed(shop.partners_ask("139 1234 5002", "10.00 CNY"))
    for _ in range(3):
        await shop.tick()
    assert (await shop.order(other.id)).status == "succeeded"
    assert (await shop.order(orphan.id)).status == "processing"
    await shop.sql("UPDATE topup_attempt SET supplier = 'northtel'")
    await shop.wait(3600)
    assert (await shop.order(orphan.id)).status == "succeeded"


async def test_a_worker_that_froze_while_another_asked_again_does_not_settle_twice(shop: Shop) -> None:
    order = await shop.placed(shop.partners_ask("139 1234 5678"))
    await shop.worker.tick()
    frozen, shop.world.started = shop.world.started, []
    shop.world._due.clear()
    attempt = await shop.attempt(order.id)
    shop.worker = Worker(shop.trade)
    delivered = Done(Delivery("N1", "8613912345678", money("50.00 CNY")))
    await flow.settle(shop.trade, [flow.Answered(attempt, delivered)])
    for work in frozen:
        await work
    assert await shop.attempts(order.id) == "done"
    assert await shop.balance("sales:topup/CNY") == "49.80"


async def test_a_skewed_clock_steals_nothing(shop: Shop) -> None:
    """Due times are the database's; this process is a day ahead."""
    order = await shop.sent("139 1234 0021")
    shop.world.db_ahead = -(shop.trade.rules.delivery_deadline * 2)
    assert await shop.worker.tick() == 0
    assert (await shop.order(order.id)).certainty == "unknown"


async def test_a_supplier_that_is_slow_holds_nobody_up(shop: Shop) -> None:
    slow = await shop.placed(shop.partners_ask("139 1234 0001"))
    quick = await shop.placed(shop.partners_ask("139 1234 5678"))
    await shop.tick()
    await shop.wait(30)
    assert [(await shop.order(order.id)).status for order in (slow, quick)] == ["succeeded", "succeeded"]
    assert all(request.url.startswith(NORTHTEL) for request in shop.world.sent)


async def test_an_order_that_was_woken_for_nothing_goes_back_to_sleep(shop: Shop) -> None:
    order = await shop.sent("139 1234 5678")
    await shop.sql("UPDATE topup_order SET due = created_at")
    assert [await shop.tick(), await shop.tick()] == [1, 0]
    assert (await shop.order(order.id)).status == "succeeded"
