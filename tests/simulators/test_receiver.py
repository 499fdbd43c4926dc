"""A partner's server that is played: it believes what the standard's own library signs, and nothing else."""

import json
from datetime import timedelta
from urllib.parse import quote

import pytest
from standardwebhooks.webhooks import Webhook as Library
from tests.worlds import FixedWorld

from refill.simulators import receiver, shelf
from refill.simulators.receiver import BY_NAME, Receiver
from refill.world import NoAnswer, Request, Response

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"type":"topup.succeeded","sequence":1,"data":{"id":"tu_1","msisdn":"+8613800138000"}}'
HERE = "http://receiver.example"


class Town:
    def __init__(self) -> None:
        self.world = FixedWorld()
        self.far: Receiver = receiver.plays(lambda name, make: make(), HERE, "", self.world.surroundings())  # type: ignore[arg-type]

    async def post(self, path: str, body: str, headers: dict[str, str] | None = None) -> Response:
        return await self.far.handle(Request("POST", HERE + path, headers or {}, body.encode()))

    async def tell(self, secret: str = SECRET, body: str = BODY) -> Response:
        """What the library of the standard signs."""
        id_, at = "tu_1e1", self.world.clock
        signed = Library(secret).sign(id_, at, body)
        headers = {
            "webhook-id": id_,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": f"v9,x {signed}",
        }
        return await self.post("/hook/mine", body, headers)


@pytest.fixture
async def town() -> Town:
    town = Town()
    assert (await town.post("/secret", f"secret={SECRET}")).status == 303
    return town


async def test_it_believes_the_standards_library(town: Town) -> None:
    assert (await town.tell()).status == 200
    (heard,) = town.far.heard
    assert (heard.id, heard.type, heard.sequence, heard.subject) == ("tu_1e1", "topup.succeeded", 1, "tu_1")


async def test_it_believes_nobody_else(town: Town) -> None:
    assert (await town.tell("whsec_" + "A" * 32)).status == 401
    assert (await town.post("/hook", BODY)).status == 401
    town.world.clock -= timedelta(minutes=6)
    sent = {"webhook-id": "tu_1e1", "webhook-timestamp": str(int(town.world.clock.timestamp()))}
    sent["webhook-signature"] = Library(SECRET).sign("tu_1e1", town.world.clock, BODY)
    town.world.clock += timedelta(minutes=6)
    assert (await town.post("/hook", BODY, sent)).status == 401
    assert (town.far.heard, town.far.unbelieved) == ([], 3)


@pytest.mark.parametrize("typed", ["", "secret=whsec_", "secret=MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret=whsec_%E5"])
async def test_what_is_no_secret_is_refused(typed: str) -> None:
    assert (await Town().post("/secret", typed)).status == 422


async def test_a_secret_with_a_plus_survives_a_form() -> None:
    town, secret = Town(), "whsec_" + "+/" * 16
    await town.post("/secret", f"secret={quote(secret)}")
    assert (await town.tell(secret)).status == 200
    await town.post("/secret", f"secret={secret}")
    assert len(set(town.far.secrets)) == 1


@pytest.mark.parametrize(
    ("trouble", "status", "heard"),
    [
        ("error_500", 500, 0),
        ("busy", 503, 0),
        ("gone", 410, 0),
        ("redirect", 307, 0),
        ("slow", 200, 1),
        ("huge", 200, 1),
    ],
)
async def test_trouble_happens_as_planned(town: Town, trouble: str, status: int, heard: int) -> None:
    assert (await town.post("/troubles", f"name={trouble}")).status == 204
    assert ((await town.tell()).status, len(town.far.heard)) == (status, heard)
    assert (await town.tell()).status == 200


async def test_an_answer_may_be_lost(town: Town) -> None:
    await town.post("/troubles", "name=lost")
    with pytest.raises(NoAnswer):
        await town.tell()
    assert len(town.far.heard) == 1


async def test_its_page_tells_what_came_and_every_trouble(town: Town) -> None:
    await town.tell()
    page = (await town.far.handle(Request("GET", HERE + "/"))).body.decode()
    assert "topup.succeeded" in page and all(name in page for name in BY_NAME)
    assert "13800138000" not in page and SECRET not in page
    told = json.loads((await town.far.handle(Request("GET", HERE + "/truth"))).body)
    assert ([one["id"] for one in told["heard"]], told["unbelieved"]) == (["tu_1e1"], [0])
    assert (await town.far.handle(Request("GET", HERE + "/nowhere"))).status == 404


def test_no_setting_leads_there() -> None:
    assert shelf()["receiver"] is receiver
    assert receiver.leads(lambda name, make: make(), HERE) == {}
