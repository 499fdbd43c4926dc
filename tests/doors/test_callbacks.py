"""Notices from outside: kept as they came, answered in the gateway's own words, believed only when verified."""

import contextlib
from collections.abc import AsyncIterator
from hashlib import md5

import pytest
from tests.doors.api import Api, api_on

from refill.operators import suppliers_by_name
from refill.world import Request


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    async with api_on(dsn) as api:
        yield api


async def notice_of(api: Api) -> tuple[str, Request]:
    """A guest pays; the notice that Alipay would send, taken off the wire before it arrives."""
    order = await api.shop.guests_order()
    taken: list[Request] = []

    async def keep(request: Request):  # type: ignore[no-untyped-def]
        taken.append(request)
        raise ConnectionError("the wire was cut")

    api.shop.world.route("https://refill.example/callbacks/alipay", keep)
    assert api.shop.alipay.pay(f"{order.id}p1")
    with contextlib.suppress(ConnectionError):
        await api.shop.world.advance(0)
    return order.id, taken[0]


async def knock(api: Api, notice: Request, path: str = "/callbacks/alipay", body: bytes | None = None):  # type: ignore[no-untyped-def]
    content = notice.body if body is None else body
    return await api.client.post(path, content=content, headers=dict(notice.headers))


async def test_a_verified_notice_pays_the_order(api: Api) -> None:
    order_id, notice = await notice_of(api)
    answer = await knock(api, notice)
    assert (answer.status_code, answer.text) == (200, "success")
    assert (await api.shop.order(order_id)).payment == "captured"


async def test_the_same_notice_twice_pays_once(api: Api) -> None:
    order_id, notice = await notice_of(api)
    for _ in range(3):
        assert (await knock(api, notice)).text == "success"
    assert (await api.shop.story(order_id)).count("paid") == 1


async def test_a_changed_byte_is_not_believed(api: Api) -> None:
    order_id, notice = await notice_of(api)
    answer = await knock(
        api, notice, body=notice.body.replace(b"trade_status=TRADE_SUCCESS", b"trade_status=TRADE_CLOSED")
    )
    assert answer.text != "success"
    assert (await api.shop.order(order_id)).payment == "unpaid"


async def test_nobody_listens_under_another_name(api: Api) -> None:
    _, notice = await notice_of(api)
    for path in ("/callbacks/wechat", "/callbacks/suppliers/nobody"):
        answer = await knock(api, notice, path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


# ------------------------------------------------------------------ notices whose signature proves little


@pytest.mark.parametrize(
    ("way", "status"),
    [
        ({"x-forwarded-for": "203.0.113.7"}, 404),  # admitted, read, and about an order that nobody has
        ({"x-forwarded-for": "203.0.113.8"}, 403),
        ({"x-forwarded-for": "203.0.113.7, 203.0.113.8"}, 403),  # the first is what the sender says, the last a fact
        ({"x-real-ip": "203.0.113.7", "forwarded": "for=203.0.113.7"}, 403),
        ({}, 403),
    ],
    ids=str,
)
async def test_a_notice_signed_with_md5_is_read_from_known_places_only(
    api: Api, way: dict[str, str], status: int
) -> None:
    platform = {
        "yrapi_suppliers": "dayuan",
        "yrapi_dayuan_url": "https://dayuan.example/yrapi.php",
        "yrapi_dayuan_userid": "10001",
        "yrapi_dayuan_apikey": "KEY",
        "yrapi_dayuan_products": "cmcc-50/50=68",
        "yrapi_dayuan_notices_from": "203.0.113.7",
    }
    assert isinstance(api.shop.trade.suppliers, dict)
    api.shop.trade.suppliers.update(suppliers_by_name(platform))
    said = {
        "userid": "10001",
        "order_number": "CZH7",
        "out_trade_num": "tu_nobodys",
        "otime": "1795312800",
        "state": "1",
    }
    text = "&".join(f"{name}={said[name]}" for name in sorted(said)) + "&apikey=KEY"
    sign = md5(text.encode(), usedforsecurity=False).hexdigest().upper()
    answer = await api.client.post("/callbacks/suppliers/dayuan", data={**said, "sign": sign}, headers=way)
    assert answer.status_code == status


NONSENSE = {
    "nothing": b"",
    "bytes": bytes(range(256)),
    "GBK": "交易".encode("gbk"),
    "XML with a DOCTYPE": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>',
    "half a form": b"sign=&sign_type=RSA2&out_trade_no",
    "a long form": b"&".join(b"a%d=1" % n for n in range(20_000)),
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_is_answered_and_breaks_nothing(api: Api, body: bytes) -> None:
    for path in ("/callbacks/alipay", "/callbacks/suppliers/northtel"):
        answer = await api.client.post(path, content=body)
        assert answer.status_code < 500
        assert answer.text != "success"


async def test_a_notice_larger_than_any_is_not_read(api: Api) -> None:
    answer = await api.client.post("/callbacks/alipay", content=b"x" * 300_000)
    assert answer.status_code == 413
