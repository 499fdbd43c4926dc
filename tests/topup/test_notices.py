"""Notices: kept before anyone reads them, believed only as far as they prove themselves."""

from typing import Any

import pytest
from tests.topup.shop import NORTHTEL, SECRET, US, Shop
from tests.worlds import Inbox

from refill import inbox, numbers
from refill.errors import NotFound
from refill.inbox import InboxRow
from refill.operators.http_json import signature
from refill.payments import RawNotice
from refill.topup import flow
from refill.world import Request

HOUR, DAY = 3600, 86_400


async def arrives(shop: Shop, body: bytes, method: str = "alipay") -> tuple[int, bytes]:
    return await flow.receive_notice(shop.trade, method, RawNotice(body, {}, shop.world.now()))


async def kept(shop: Shop, *names: str) -> list[InboxRow]:
    return await shop.db.transaction(lambda tx: inbox.about(tx, shop.vault, list(names)))


def intercept(shop: Shop) -> Inbox:
    """Alipay's notices end in our hands instead of at our door."""
    caught = Inbox()
    shop.world.route(f"{US}/callbacks/alipay", caught.handle)
    return caught


async def paid_unnoticed(shop: Shop) -> tuple[str, bytes]:
    """An order that is paid, and the notice of it that has not arrived yet."""
    order = await shop.guests_order()
    caught = intercept(shop)
    shop.alipay.pay(f"{order.id}p1")
    await shop.world.advance(0)
    return order.id, caught.notices[0].body


async def test_a_notice_that_holds_pays_the_order_and_is_kept(shop: Shop) -> None:
    order_id, body = await paid_unnoticed(shop)
    assert await arrives(shop, body) == (200, b"success")
    assert (await shop.order(order_id)).payment == "captured"
    (row,) = await kept(shop, f"{order_id}p1")
    assert (row.verified, row.remark, row.raw, row.seen) == (True, "paid", body, 1)
    (shown,) = (await shop.timeline(order_id)).notices
    assert shown == row


async def test_the_same_notice_twice_pays_once_and_is_counted(shop: Shop) -> None:
    order_id, body = await paid_unnoticed(shop)
    for _ in range(3):
        assert await arrives(shop, body) == (200, b"success")
    assert await shop.balance("clearing:alipay/CNY") == "-49.90"
    (row,) = await kept(shop, f"{order_id}p1")
    assert row.seen == 3


@pytest.mark.parametrize("spoiled", [b"total_amount=1", b"app_id=9"])
async def test_a_forged_notice_is_kept_and_refused(shop: Shop, spoiled: bytes) -> None:
    order_id, body = await paid_unnoticed(shop)
    name = spoiled.split(b"=")[0] + b"="
    forged = body.replace(name, spoiled, 1)
    assert await arrives(shop, forged) == (200, b"failure")
    assert (await shop.order(order_id)).payment == "unpaid"
    # It is kept unverified, so nobody knows for sure what it speaks of.
    assert await kept(shop, f"{order_id}p1") == []
    assert await arrives(shop, forged) == (200, b"failure")
    assert await shop.sql("UPDATE inbox_notice SET seen = seen WHERE NOT verified AND seen = 2") == 1
    # The true one is still believed.
    assert await arrives(shop, body) == (200, b"success")


async def test_a_stale_notice_is_never_believed_but_makes_us_ask(shop: Shop) -> None:
    order_id, body = await paid_unnoticed(shop)
    shop.world.clock += shop.trade.rules.payment_expiry / 2
    asked = len(shop.world.sent)
    assert await arrives(shop, body) == (200, b"success")
    assert len(shop.world.sent) == asked + 1
    assert (await shop.order(order_id)).payment == "captured"


async def test_a_stale_notice_that_nobody_confirms_is_asked_for_again(shop: Shop) -> None:
    order_id, body = await paid_unnoticed(shop)
    shop.world.clock += shop.trade.rules.payment_expiry / 2
    shop.alipay.troubles.plan("lost")
    assert await arrives(shop, body) == (200, b"failure")
    assert (await shop.order(order_id)).payment == "unpaid"
    assert await arrives(shop, body) == (200, b"success")
    assert (await shop.order(order_id)).payment == "captured"


async def test_a_notice_about_something_else_than_money_is_noted(shop: Shop) -> None:
    order = await shop.guests_order()
    trade = shop.alipay.trades[f"{order.id}p1"]
    assert await arrives(shop, shop.alipay.notice(trade)) == (200, b"success")
    (row,) = await kept(shop, f"{order.id}p1")
    assert row.remark == "noted"
    assert (await shop.order(order.id)).payment == "unpaid"


async def test_a_strangers_notice_is_kept_and_shown_to_a_person_and_asked_for_again(shop: Shop) -> None:
    order = await shop.guests_order()
    trade = shop.alipay.trades[f"{order.id}p1"]
    trade.reference = trade.reference[:-6] + "zzzzp1"
    trade.paid_at, trade.paid_minor = shop.world.now(), trade.amount_minor
    assert await arrives(shop, shop.alipay.notice(trade)) == (200, b"failure")
    (row,) = await kept(shop, trade.reference)
    assert row.verified
    assert await shop.cases(f"payments:alipay {row.their_id}") == ["stranger"]
    assert await shop.balance("clearing:alipay/CNY") == "0.00"


async def test_a_notice_of_a_gateway_that_we_do_not_have_is_not_found(shop: Shop) -> None:
    with pytest.raises(NotFound):
        await arrives(shop, b"x=1", "barter")


# ------------------------------------------------------------------ suppliers


def suppliers_notice(shop: Shop, request_id: str, status: str = "delivered", secret: str = SECRET) -> dict[str, Any]:
    body = f'{{"id":"nt_{request_id[-4:]}{status}","request_id":"{request_id}","status":"{status}"}}'.encode()
    stamp = str(int(shop.world.now().timestamp()))
    sign = signature(secret.encode(), "notice", stamp, body=body)
    return {"body": body, "headers": {"x-timestamp": stamp, "x-signature": sign}}


async def test_a_suppliers_notice_makes_us_ask_at_once(shop: Shop) -> None:
    shop.plug_in_notices()
    order = await shop.sent("139 1234 0014")  # processing, delivered after 8 s
    assert order.certainty == "unknown"
    await shop.world.advance(9)  # no worker runs
    assert (await shop.order(order.id)).status == "succeeded"
    assert [request.method for request in shop.world.sent if request.url.startswith(NORTHTEL)] == ["POST", "GET"]
    (row,) = await kept(shop, f"{order.id}a1")
    assert (row.verified, row.remark) == (True, "asked")


@pytest.mark.parametrize("status", ["refused", "delivered", "partial", "reversed"])
async def test_what_a_suppliers_notice_says_is_not_believed(shop: Shop, status: str) -> None:
    order = await shop.sent("139 1234 0021")  # processing for ever
    notice = suppliers_notice(shop, f"{order.id}a1", status)
    assert await flow.receive_supplier_notice(shop.trade, "northtel", **notice) == (200, b"success")
    assert (await shop.order(order.id)).certainty == "unknown"


async def test_a_notice_that_contradicts_what_they_did_changes_nothing(shop: Shop) -> None:
    shop.plug_in_notices()
    order = await shop.sent("139 1234 0016")  # delivered, then a signed notice says refused
    await shop.wait(60)
    assert (await shop.order(order.id)).status == "succeeded"
    assert await shop.balance(shop.float) == "950.20"


async def test_the_same_suppliers_notice_twice_is_asked_about_once(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    notice = suppliers_notice(shop, f"{order.id}a1")
    asked = len(shop.world.sent)
    for _ in range(3):
        assert await flow.receive_supplier_notice(shop.trade, "northtel", **notice) == (200, b"success")
    assert len(shop.world.sent) == asked + 1


async def test_a_suppliers_notice_with_a_false_signature_is_kept_and_refused(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    notice = suppliers_notice(shop, f"{order.id}a1", secret="guessed")
    asked = len(shop.world.sent)
    status, _ = await flow.receive_supplier_notice(shop.trade, "northtel", **notice)
    assert status == 400
    assert len(shop.world.sent) == asked
    assert await shop.sql("UPDATE inbox_notice SET seen = seen WHERE NOT verified") == 1


async def test_a_suppliers_notice_about_nothing_of_ours_is_shown_to_a_person(shop: Shop) -> None:
    notice = suppliers_notice(shop, f"{flow.new_order_id(shop.trade, 'x')}a1")
    status, _ = await flow.receive_supplier_notice(shop.trade, "northtel", **notice)
    assert status == 404
    with pytest.raises(NotFound):
        await flow.receive_supplier_notice(shop.trade, "southtel", **notice)


async def test_a_notice_about_an_attempt_that_we_never_made_asks_nobody_and_about_one_that_is_done_only_looks(
    shop: Shop,
) -> None:
    order = await shop.sent("139 1234 5678")
    before = len(shop.world.sent)
    for n, asked in ((7, 0), (1, 1)):
        notice = suppliers_notice(shop, f"{order.id}a{n}", f"delivered{n}")
        assert await flow.receive_supplier_notice(shop.trade, "northtel", **notice) == (200, b"success")
        assert [request.method for request in shop.world.sent[before:]] == ["GET"] * asked
    assert await shop.order(order.id) == order, "the credit is still there"


async def test_a_notice_about_a_person_who_was_erased_asks_nobody(shop: Shop) -> None:
    order = await shop.sent("139 1234 0021")
    number = shop.number("139 1234 0021")
    await shop.db.transaction(lambda tx: numbers.erase(tx, number))
    asked = len(shop.world.sent)
    notice = suppliers_notice(shop, f"{order.id}a1")
    assert await flow.receive_supplier_notice(shop.trade, "northtel", **notice) == (200, b"success")
    assert len(shop.world.sent) == asked


async def test_a_notice_never_makes_us_send_again(shop: Shop) -> None:
    order = await shop.sent("139 1234 0004")  # taken, but an inquiry says not_found for a minute
    notice = suppliers_notice(shop, f"{order.id}a1")
    assert await flow.receive_supplier_notice(shop.trade, "northtel", **notice) == (200, b"success")
    assert [request.method for request in shop.world.sent] == ["POST", "GET"]
    assert (await shop.order(order.id)).certainty == "unknown"


async def test_a_gateway_asks_our_door_and_gets_its_word(shop: Shop) -> None:
    order = await shop.guests_order()
    shop.alipay.pay(f"{order.id}p1")
    body = shop.alipay.notice(shop.alipay.trades[f"{order.id}p1"])
    answer = await shop.world.send(Request("POST", f"{US}/callbacks/alipay", {}, body))
    assert (answer.status, answer.body) == (200, b"success")
