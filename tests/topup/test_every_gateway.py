"""Every payment method that has a wire, against its own far end: whatever becomes of notices and answers, money is exact."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.topup.shop import NORTHTELS, OWN_NUMBER, US, Shop

from refill import payments, simulators
from refill.db import Statement
from refill.payments import Method, methods_by_name
from refill.topup import Order, Worker, flow, store
from refill.topup.check import check_in
from refill.world import Request, Response

NAMES = [name for name in payments.shelf() if name in simulators.shelf()]
ARRIVED = Statement("SELECT count(*) FROM inbox_notice")
Statement.every.remove(ARRIVED)
_kept: dict[str, str] = {}  # keys take seconds to make


def keep(name: str, make: Callable[[], str]) -> str:
    if name not in _kept:
        _kept[name] = make()
    return _kept[name]


class Gateway:
    """A far end of the shelf beside the shop, which takes payments by it alone."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.shop, self.name = shop, name
        file, self.url = simulators.shelf()[name], f"https://{name.replace('_', '-')}.far.example"
        self.far: Any = file.plays(keep, self.url, US, shop.world.surroundings())
        shop.world.route(self.url, self.far.handle)
        self.method: Method = methods_by_name(file.leads(keep, self.url))[name]
        shop.trade = replace(shop.trade, methods={name: self.method})
        shop.worker = Worker(shop.trade)

    async def order(self, number: str = NORTHTELS) -> tuple[Order, str]:
        """A guest's order and our name for its payment, which was opened by the payer."""
        order = await self.shop.placed(self.shop.ask(number))
        scene = next(scene for scene in ("qr", "page") if scene in self.method.can.scenes)
        return order, await self.open(order, scene)

    async def open(self, order: Order, scene: str) -> str:
        invitation = await flow.invite(
            self.shop.trade, order.id, self.name, scene=scene, return_url=f"{US}/o/{order.id}", payer_ip="203.0.113.9"
        )
        if invitation.kind == "form":
            form = {"content-type": "application/x-www-form-urlencoded"}
            await self.shop.world.send(Request("POST", invitation.url, form, urlencode(invitation.fields).encode()))
        elif invitation.url.startswith(self.url):
            await self.shop.world.send(Request("GET", invitation.url))
        (payment, *_) = reversed((await self.shop.timeline(order.id)).payments)
        return payment.reference

    def pay(self, reference: str) -> bool:
        return bool(self.far.pay(self._theirs(reference)))

    def taken(self, reference: str) -> list[int]:
        return [one.amount_minor for one in self.far.captures if one.reference == self._theirs(reference)]

    def back(self, reference: str) -> list[int]:
        return [one.amount_minor for one in self.far.refunds if one.reference == self._theirs(reference)]

    def _theirs(self, reference: str) -> str:
        return (
            reference.replace("_", "U") if self.name == "jd_pay" else reference
        )  # which takes letters and digits only

    async def captures(self, order: Order) -> Sequence[str]:
        """What money arrived for, as our book has it."""
        found = await self.shop.db.transaction(lambda tx: store.captures_of(tx, [order.id]))
        return [fate for _, _, fate in found]

    async def clean(self) -> None:
        found = await self.shop.db.transaction(lambda tx: check_in(tx, lambda done, total: None, steps=1))
        assert found == []


@pytest.fixture(params=NAMES)
def gateway(shop: Shop, request: pytest.FixtureRequest) -> Gateway:
    return Gateway(shop, request.param)


@pytest.mark.parametrize("notice", ["as it should", "lose_notice", "double_notice", "late_notice"])
async def test_a_payment_counts_once_and_soon_whatever_becomes_of_its_notice(gateway: Gateway, notice: str) -> None:
    shop = gateway.shop
    order, reference = await gateway.order(OWN_NUMBER)
    if notice != "as it should":
        gateway.far.troubles.plan(notice, 20 if notice == "lose_notice" else 1)
    assert gateway.pay(reference)
    await shop.wait(5 * 60)
    assert (await shop.order(order.id)).status == "succeeded"
    await shop.wait(26 * 3600)  # the last repeat of the notice
    assert await gateway.captures(order) == ["order"]
    assert (gateway.taken(reference), gateway.back(reference)) == ([order.price.minor], [])
    await gateway.clean()


async def test_a_forged_notice_pays_nothing(gateway: Gateway) -> None:
    shop = gateway.shop
    order, reference = await gateway.order(OWN_NUMBER)
    gateway.far.troubles.plan("forge_notice", 20)
    gateway.far.troubles.plan("lose_notice", 1)
    assert gateway.pay(reference)  # only what somebody else made up arrives
    await shop.world.advance(1)
    assert await shop.db.transaction(lambda tx: tx.value(ARRIVED)) > 0
    assert (await shop.order(order.id)).payment == "unpaid"
    await shop.wait(5 * 60)
    assert (await shop.order(order.id)).status == "succeeded", "we asked, and found the money"
    await gateway.clean()


async def test_a_cent_too_little_pays_nothing_and_goes_back(gateway: Gateway) -> None:
    shop = gateway.shop
    order, reference = await gateway.order()
    gateway.far.troubles.plan("short_paid")
    assert gateway.pay(reference)
    await shop.wait(30 * 60)
    assert (await shop.order(order.id)).payment == "expired"
    assert await gateway.captures(order) == ["amount"]
    assert gateway.taken(reference) == gateway.back(reference) == [order.price.minor - 1]
    await gateway.clean()


async def test_a_second_payment_for_one_order_goes_back(gateway: Gateway) -> None:
    shop = gateway.shop
    order, first = await gateway.order(OWN_NUMBER)
    opened = (await shop.timeline(order.id)).payments[0].scene
    second = await gateway.open(
        order, next(s for s in gateway.method.can.scenes if s in ("page", "wap") and s != opened)
    )
    assert second != first
    assert gateway.pay(second)
    assert gateway.pay(first)
    await shop.wait(60 * 60)
    assert sorted(await gateway.captures(order)) == ["order", "twice"]
    assert sorted([*gateway.back(first), *gateway.back(second)]) == [order.price.minor]
    await gateway.clean()


CLOSES = re.compile("alipay.trade.close|/close$|/service/revoke$|/expire$")


@pytest.mark.parametrize("heard", [True, False])
async def test_what_is_paid_while_we_close_it_buys_something_or_goes_back_never_both(
    gateway: Gateway, heard: bool
) -> None:
    shop = gateway.shop
    order, reference = await gateway.order()

    async def pressed_pay_meanwhile(request: Request) -> Response:
        if CLOSES.search(request.url) and gateway.pay(reference) and heard:
            await shop.world.advance(0)
        return await gateway.far.handle(request)

    shop.world.route(f"{gateway.url}/", pressed_pay_meanwhile)
    await flow.cancel(shop.trade, order.id)
    await shop.wait(3600)
    assert gateway.taken(reference) == [order.price.minor]
    delivered = [credit.face_minor for credit in shop.northtel.credits]
    assert (delivered, gateway.back(reference)) in (([5000], []), ([], [order.price.minor]))
    assert (await shop.order(order.id)).final_at is not None
    await gateway.clean()


@pytest.mark.parametrize("trouble", ["lost", "error_before", "error_after", "html", "slow"])
async def test_a_refund_in_doubt_is_asked_for_until_it_is_known_and_happens_once(
    gateway: Gateway, trouble: str
) -> None:
    shop = gateway.shop
    order, reference = await gateway.order()
    assert gateway.pay(reference)
    await shop.world.advance(1)
    await flow.poll(shop.trade, order.id)
    gateway.far.troubles.plan(trouble, 3)
    assert (await flow.cancel(shop.trade, order.id)).payment in ("refund_pending", "captured")
    await shop.wait(2 * 3600)
    assert (await shop.order(order.id)).payment == "refunded"
    assert gateway.back(reference) == [order.price.minor]
    await gateway.clean()
