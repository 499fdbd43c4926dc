"""Webhooks through the partner API: endpoints, secrets shown once, the log, replay and the tester; nobody else's."""

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from tests.doors.api import Api, api_on
from tests.doors.conftest import House
from tests.notify.conftest import PLACE, Receiver

from refill import app, simulators
from refill.channels.partner_api.webhooks import render
from refill.money import money
from refill.notify import EVENTS, Courier

NORTHTELS = "+8613912345678"


class Listening:
    """A partner's program, its receiver, and our courier."""

    def __init__(self, api: Api) -> None:
        self.api, self.receiver = api, Receiver()
        api.shop.world.route("https://shop.example", self.receiver.handle)
        self.courier = Courier(api.shop.world, api.pool, api.shop.vault, render(api.shop.trade))

    async def new(self, **fields: Any) -> dict[str, Any]:
        answer = await self.api.post("/v1/webhooks", {"url": PLACE, **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def ask(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.api.key}", "content-type": "application/json"}
        content = b"" if body is None else json.dumps(body).encode()
        return await self.api.client.request(method, f"/v1/webhooks{path}", content=content, headers=headers)

    async def tell(self) -> None:
        while await self.courier.tick():
            await self.api.shop.world.advance(0)


@pytest.fixture
async def listening(dsn: str) -> AsyncIterator[Listening]:
    async with api_on(dsn) as api:
        yield Listening(api)
        await api.shop.world.advance(0)  # what was started beside the story ends with it


async def test_an_endpoint_is_made_shown_changed_and_deleted(listening: Listening) -> None:
    made = await listening.new(description="our shop", events=["topup.failed", "topup.succeeded"], float_below="100.00")
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert {name: made[name] for name in made if name not in ("id", "created_at")} == {
        "url": PLACE,
        "events": ["topup.succeeded", "topup.failed"],
        "description": "our shop",
        "state": "active",
        "why": "",
        "float_below": "100.00",
        "failing_since": None,
        "both_secrets_until": None,
    }
    path = f"/{made['id']}"
    assert (await listening.ask("GET", path)).json() == made
    assert (await listening.ask("GET", "")).json() == {"webhooks": [made]}
    changed = (await listening.ask("PATCH", path, {"enabled": False, "float_below": None, "events": []})).json()
    assert changed == {**made, "state": "disabled", "why": "asked", "float_below": None, "events": []}
    assert (await listening.ask("DELETE", path)).status_code == 204
    assert [(await listening.ask(method, path)).status_code for method in ("GET", "DELETE")] == [404, 404]
    assert (await listening.ask("GET", "")).json() == {"webhooks": []}


async def test_what_is_told_is_what_the_api_answers(listening: Listening) -> None:
    await listening.new()
    placed = await listening.api.topup("k1")
    await listening.tell()
    (event,) = listening.receiver.heard
    assert event["data"] == placed.json()
    assert event["data"] == (await listening.api.get(f"/v1/topups/{placed.json()['id']}")).json()


async def test_the_log_shows_every_try_and_pages(listening: Listening) -> None:
    id_ = (await listening.new())["id"]
    listening.receiver.answers = [500, None, 204]
    placed = [(await listening.api.topup(f"k{n}", reference=f"r{n}", amount="10.00")).json() for n in range(3)]
    await listening.tell()
    for _ in range(3):
        await listening.api.shop.world.advance(30)
        await listening.tell()
    page = (await listening.ask("GET", f"/{id_}/deliveries?limit=2")).json()
    rest = (await listening.ask("GET", f"/{id_}/deliveries?limit=2&cursor={page['next']}")).json()
    shown = [*page["deliveries"], *rest["deliveries"]]
    assert (len(shown), rest["next"]) == (3, None)
    assert {one["subject"] for one in shown} == {one["id"] for one in placed}
    assert {one["state"] for one in shown} == {"accepted"}
    assert sorted(one["tries"] for one in shown) == [1, 2, 2]
    tried = next(one for one in shown if one["tries"] == 2)
    log = (await listening.ask("GET", f"/{id_}/deliveries/{tried['event']}")).json()
    assert log["delivery"] == tried
    assert [one["status"] for one in log["tries"]] in ([500, 204], [None, 204])
    assert (await listening.ask("GET", f"/{id_}/deliveries?state=given_up")).json()["deliveries"] == []


async def test_replay_tells_one_event_or_a_span_again_under_the_same_id(listening: Listening) -> None:
    id_ = (await listening.new())["id"]
    for n in range(3):
        await listening.api.topup(f"k{n}", reference=f"r{n}", amount="10.00")
    await listening.tell()
    first = [event["id"] for event in listening.receiver.heard]
    answer = await listening.ask("POST", f"/{id_}/replay", {"event": first[0]})
    assert (answer.status_code, answer.json()["replayed"]) == (202, 1)
    await listening.tell()
    assert [event["id"] for event in listening.receiver.heard] == [*first, first[0]]
    day = {"from": "2026-11-22T00:00:00Z", "until": "2026-11-23T00:00:00+00:00"}
    assert (await listening.ask("POST", f"/{id_}/replay", day)).json()["replayed"] == 3
    await listening.tell()
    assert sorted(event["id"] for event in listening.receiver.heard[4:]) == sorted(first)
    assert (await listening.ask("POST", f"/{id_}/replay", {**day, "state": "given_up"})).json()["replayed"] == 0


async def test_the_tester_says_what_came_back(listening: Listening) -> None:
    id_ = (await listening.new())["id"]
    listening.receiver.answers = [418]
    tested = (await listening.ask("POST", f"/{id_}/test")).json()
    assert (tested["accepted"], tested["status"], tested["answer"]) == (False, 418, "thanks")
    tested = (await listening.ask("POST", f"/{id_}/test")).json()
    assert (tested["accepted"], tested["status"]) == (True, 204)
    (event,) = listening.receiver.heard
    assert (event["type"], event["data"], event["id"]) == ("webhook.test", {"endpoint": id_}, tested["event"])
    assert (await listening.ask("GET", f"/{id_}/deliveries")).json()["deliveries"] == []


async def test_a_low_float_is_told_once_until_it_is_filled(listening: Listening) -> None:
    from refill.notify import watch_floats

    await listening.new(float_below="960.00", events=["float.low"])
    world, pool = listening.api.shop.world, listening.api.pool

    async def look() -> int:
        return await pool.transaction(lambda tx: watch_floats(tx, world))

    assert await look() == 0
    await listening.api.topup("k1")
    assert [await look(), await look()] == [1, 0]
    await listening.tell()
    (event,) = listening.receiver.heard
    assert (event["type"], event["data"]) == (
        "float.low",
        {"currency": "CNY", "balance": "950.20", "below": "960.00"},
    )


BAD_URLS = {
    "http": "http://shop.example/",
    "loopback": "https://127.0.0.1/",
    "loopback-name": "https://localhost/",
    "v6-loopback": "https://[::1]/",
    "v4-mapped": "https://[::ffff:10.0.0.1]/",
    "private": "https://10.1.2.3/",
    "link-local": "https://169.254.169.254/latest/meta-data/",
    "decimal": "https://2130706433/",
    "hexadecimal": "https://0x7f.1/",
    "file": "file:///etc/passwd",
    "password": "https://user:secret@shop.example/",
    "fragment": "https://shop.example/#x",
    "bare-name": "https://intranet/",
    "internal": "https://metadata.google.internal/",
    "space": "https://shop.example/a b",
    "unicode": "https://店.example/",
    "empty": "",
    "long": "https://shop.example/" + "x" * 500,
    "port": "https://shop.example:0/",
    "no-port": "https://shop.example:99999/",
}


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
async def test_an_address_that_we_would_not_call_is_refused(listening: Listening, url: str) -> None:
    answer = await listening.api.post("/v1/webhooks", {"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "url_not_allowed")
    assert (await listening.ask("GET", "")).json() == {"webhooks": []}


async def test_what_cannot_be_is_refused_without_a_trace(listening: Listening) -> None:
    id_ = (await listening.new())["id"]
    asked = [
        ("POST", "", {"url": PLACE}),
        ("POST", "", {"url": PLACE + "2", "events": ["topup.gone"]}),
        ("POST", "", {"url": PLACE + "2", "float_below": "-1"}),
        ("POST", "", {"url": PLACE + "2", "float_below": "0"}),
        ("POST", "", {"url": PLACE + "2", "description": "x" * 201}),
        ("POST", "", {"url": PLACE + "2", "surprise": "1"}),
        ("PATCH", f"/{id_}", {"url": "http://10.0.0.1/"}),
        ("POST", f"/{id_}/replay", {}),
        ("POST", f"/{id_}/replay", {"from": "2026-11-22T00:00:00Z"}),
        ("POST", f"/{id_}/replay", {"from": "2026-11-22T00:00:00Z", "until": "2026-11-21T00:00:00Z"}),
        ("POST", f"/{id_}/replay", {"event": "tu_x"}),
        ("POST", f"/{id_}/replay", {"event": "tu_" + "0" * 24 + "e1"}),
        ("GET", f"/{id_}/deliveries?state=lost", None),
        ("GET", f"/{id_}/deliveries?cursor=nonsense", None),
        ("GET", f"/{id_}/deliveries?limit=0", None),
        ("GET", f"/{id_}/deliveries/nonsense", None),
        ("POST", "/we_nobody/test", None),
    ]
    answers = [await listening.ask(*one) for one in asked]
    assert [answer.status_code for answer in answers] == [
        *(409, 422, 422, 422, 422, 400, 422),
        *(422, 422, 422, 404, 404),
        *(422, 404, 422, 404, 404),
    ]
    assert len((await listening.ask("GET", "")).json()["webhooks"]) == 1
    for n in range(9):
        await listening.new(url=f"{PLACE}/{n}")
    full = await listening.api.post("/v1/webhooks", {"url": f"{PLACE}/one-more"})
    assert (full.status_code, full.json()["code"]) == (409, "too_many_endpoints")


async def test_another_partners_endpoint_is_not_there(listening: Listening) -> None:
    id_ = (await listening.new())["id"]
    await listening.api.topup("k1")
    await listening.tell()
    event = listening.receiver.heard[0]["id"]
    _, listening.api.key = await listening.api.new_partner("Bell", "100.00 CNY")
    asked = [
        ("GET", f"/{id_}", None),
        ("PATCH", f"/{id_}", {"enabled": False}),
        ("DELETE", f"/{id_}", None),
        ("POST", f"/{id_}/secret", None),
        ("POST", f"/{id_}/test", None),
        ("GET", f"/{id_}/deliveries", None),
        ("GET", f"/{id_}/deliveries/{event}", None),
        ("POST", f"/{id_}/replay", {"event": event}),
    ]
    assert {(await listening.ask(*one)).status_code for one in asked} == {404}
    assert (await listening.ask("GET", "")).json() == {"webhooks": []}
    _, listening.api.key = await listening.api.new_partner("Cook", "100.00 CNY", scopes="topup balance")
    assert (await listening.ask("GET", "")).status_code == 403


def test_a_played_partner_hears_over_real_sockets(house: House, numbers: Callable[[], str]) -> None:
    _, key = house.ask(app.new_partner(house.house, "A platform that listens", money("500.00 CNY")))
    house.ask(house.house.keyring.refresh())
    receiver: simulators.receiver.Receiver = house.far["receiver"]
    hook = f"{receiver_of(house)}/hook"
    with httpx2.Client(base_url=house.url, trust_env=False, headers={"authorization": f"Bearer {key}"}) as partner:
        made = partner.post("/v1/webhooks", json={"url": hook}).json()
        assert partner.post(f"/v1/webhooks/{made['id']}/test").json()["status"] == 401  # it was told no secret yet
        httpx2.post(f"{receiver_of(house)}/secret", data={"secret": made["secret"]}, trust_env=False)
        assert partner.post(f"/v1/webhooks/{made['id']}/test").json()["accepted"] is True
        wish = {"msisdn": numbers(), "amount": "50.00", "currency": "CNY", "reference": "R1"}
        placed = partner.post("/v1/topups", json=wish).json()
        until = time.monotonic() + 15
        while not any(one.subject == placed["id"] for one in receiver.heard) and time.monotonic() < until:
            time.sleep(0.02)
        assert [one.type for one in receiver.heard if one.subject == placed["id"]] == ["topup.succeeded"]
        refused = partner.post("/v1/webhooks", json={"url": house.url + "/v1/topups"})
        assert (refused.status_code, refused.json()["code"]) == (422, "url_not_allowed")


def receiver_of(house: House) -> str:
    """Where the receiver is played, which this house may call although it is not public."""
    url = house.urls["receiver"]
    assert url.removeprefix("http://") in house.trade.allowed_places
    return url


def test_every_kind_of_event_is_named_in_the_description() -> None:
    from refill.channels.partner_api.words import FIELDS

    assert FIELDS["events"].schema["items"]["enum"] == list(EVENTS)
