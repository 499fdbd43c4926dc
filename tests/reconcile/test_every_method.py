"""Every payment method that has statements, against its own far end: a day is paid, refunded, fetched, matched and closed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.reconcile.conftest import TODAY, Evening
from tests.topup.shop import US

from refill import reconcile, simulators
from refill.payments import SendsStatements, methods_by_name, shelf
from refill.reconcile import Result
from refill.topup import Worker, flow
from refill.world import Request

NAMES = [name for name, file in shelf().items() if file.EXAMPLES()[0].can.statement]
_kept: dict[str, str] = {}  # keys take seconds to make


def keep(name: str, make: Callable[[], str]) -> str:
    return _kept.setdefault(name, _kept.get(name) or make())


@pytest.mark.parametrize("name", NAMES)
async def test_a_day_of_payments_and_refunds_comes_out_even(evening: Evening, name: str) -> None:
    shop = evening.shop
    file, url = simulators.shelf()[name], f"https://{name.replace('_', '-')}.far.example"
    far: Any = file.plays(keep, url, US, shop.world.surroundings())
    shop.world.route(url, far.handle)
    method = methods_by_name(file.leads(keep, url))[name]
    assert isinstance(method, SendsStatements), "or finance would have to download it each morning"
    shop.trade = replace(shop.trade, methods={name: method})
    shop.worker = Worker(shop.trade)
    scene = "qr" if "qr" in method.can.scenes else "page"
    orders = []
    for _ in range(2):
        order = await shop.placed(shop.ask())
        invitation = await flow.invite(shop.trade, order.id, name, scene=scene, return_url=f"{US}/o/{order.id}")
        if invitation.url.startswith(url):  # the code is scanned, or the page opened
            await shop.world.send(Request("GET", invitation.url))
        reference = f"{order.id}p1"
        assert far.pay(reference) or far.pay(reference.replace("_", "U")), "JD Pay takes letters and digits only"
        await shop.world.advance(1)
        await flow.poll(shop.trade, order.id)
        orders.append(await shop.order(order.id))
    assert {order.payment for order in orders} == {"captured"}
    await flow.cancel(shop.trade, orders[0].id)
    await shop.wait(60)
    assert (await shop.order(orders[0].id)).payment == "refunded"

    await shop.world.advance(86400)
    answers: list[object] = []
    while not any(
        isinstance(answer, Result) and answer.lines for answer in answers
    ):  # some write it when they are asked
        answers += await reconcile.nightly(shop.trade, evening.bulk)
        await shop.world.advance(600)
        assert shop.world.db_now() < orders[0].created_at + timedelta(hours=30), answers
    (result,) = [answer for answer in answers if not isinstance(answer, Result) or answer.lines]
    assert isinstance(result, Result), str(result)
    assert (result.method, result.day, result.lines, result.matched, result.ours_only) == (name, TODAY, 3, 3, 0)
    now = shop.world.db_now()
    await shop.db.transaction(lambda tx: reconcile.close(tx, name, TODAY, "wang", now))
    (sums,) = await shop.db.transaction(lambda tx: reconcile.sums(tx, name, TODAY))
    got = sums.expected
    assert sums.payments.minor == 2 * orders[0].price.minor
    assert 0 < sums.fees.minor < sums.payments.minor // 10
    for who, step in (("wang", reconcile.enter), ("li", reconcile.confirm)):
        await shop.db.transaction(lambda tx, who=who, step=step: step(tx, name, TODAY, got, who, now))
    assert await evening.balance(f"clearing:{name}") == "0.00"
    assert await evening.cases() == []
    assert await evening.clean() == []
