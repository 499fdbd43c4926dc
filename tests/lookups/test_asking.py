"""Look-ups are asked in turn, for no longer than a person waits; who stays silent is left in peace for a while."""

from datetime import timedelta

import pytest
from tests.worlds import FixedWorld

from refill.errors import BadInput
from refill.lookups import Asker, asker, port_settings
from refill.numbers import msisdn
from refill.settings import read_settings
from refill.simulators import lookup as far_end
from refill.simulators.lookup import LookupSimulator
from refill.world import Request, Response

FIRM, OTHER = "https://firm.example", "https://other.example"
SECRET = "known to both sides"
SET = {"hlr_json_url": FIRM, "hlr_json_key": "refill", "hlr_json_secret": SECRET}
A_NUMBER = msisdn("138 0013 8000")


@pytest.fixture
def world() -> FixedWorld:
    return FixedWorld()


@pytest.fixture
def firm(world: FixedWorld) -> LookupSimulator:
    firm = LookupSimulator(**world.surroundings(), secret=SECRET, base_url=FIRM)
    world.route(FIRM, firm.handle)
    return firm


WHOSE = """
    138 0013 8000   | done    | cmcc    | 46000 | False
    138 0013 0051   | done    | ctcc    | 46003 | True
    133 0013 0052   | done    | cunicom | 46001 | True
    138 0013 0053   | unknown | None    | None  | None
    138 0013 0056   | unknown | None    | None  | None
    138 0013 0057   | unknown | None    | None  | None
    138 0013 0058   | unknown | None    | None  | None
    138 0013 0060   | refused | None    | None  | None
    138 0013 0061   | done    | cbn     | 46015 | False
    138 0013 0062   | done    | None    | 46099 | True
    +44 7400 123456 | unknown | None    | None  | None
"""


@pytest.mark.parametrize("line", [line.strip() for line in WHOSE.strip().splitlines()])
async def test_whose_a_number_is(world: FixedWorld, firm: LookupSimulator, line: str) -> None:
    typed, answered, operator, network, ported = (cell.strip() for cell in line.split("|"))
    looked = await asker(SET).whose(world, msisdn(typed))
    assert looked is not None and looked.lookup == "hlr_json"
    said = (looked.answered, str(looked.operator), str(looked.network), str(looked.ported))
    assert said == (answered, operator, network, ported)
    lasts = {"unknown": timedelta(minutes=2)}.get(answered, timedelta(days=7))
    assert looked.fresh_until - looked.asked_at == lasts


@pytest.mark.parametrize(
    ("typed", "answered", "state"),
    [
        ("138 0013 8000", "done", "active"),
        ("138 0013 0053", "done", "dead"),
        ("138 0013 0054", "done", "absent"),
        ("138 0013 0059", "unknown", None),
        ("138 0013 0060", "refused", None),
    ],
)
async def test_whether_anybody_has_it(
    world: FixedWorld, firm: LookupSimulator, typed: str, answered: str, state: str | None
) -> None:
    looked = await asker(SET).alive(world, msisdn(typed))
    assert looked is not None
    assert (looked.answered, looked.state) == (answered, state)
    assert firm.asked == [("alive", msisdn(typed).digits)]


async def test_networks_of_other_countries_are_named_by_a_setting(world: FixedWorld) -> None:
    async def british(request: Request) -> Response:
        said = b'{"msisdn":"+447400123456","processing_status":"COMPLETED","query_status":"OK","mccmnc":"23415"}'
        return Response(200, {}, said)

    world.route(FIRM, british)
    looked = await asker(SET | {"lookup_networks": "23415=vodafone_uk, 310260=tmo"}).whose(
        world, msisdn("+447400123456")
    )
    assert looked is not None and (looked.operator, looked.ported) == ("vodafone_uk", None)


async def test_nobody_is_asked_where_nobody_is_connected_or_knows_the_country(
    world: FixedWorld, firm: LookupSimulator
) -> None:
    assert await Asker().whose(world, A_NUMBER) is None
    assert await asker({}).alive(world, A_NUMBER) is None
    assert await asker(SET | {"hlr_json_countries": "gb, in"}).whose(world, A_NUMBER) is None
    assert firm.asked == []


async def test_whoever_is_silent_three_times_rests_and_is_then_asked_again(
    world: FixedWorld, firm: LookupSimulator
) -> None:
    asks = asker(SET)
    for _ in range(3):
        firm.troubles.plan("lost")
        looked = await asks.whose(world, A_NUMBER)
        assert looked is not None and looked.answered == "unknown"
    assert await asks.whose(world, A_NUMBER) is None
    assert await asks.alive(world, A_NUMBER) is None
    assert len(firm.asked) == 3
    await world.advance(31)
    looked = await asks.whose(world, A_NUMBER)
    assert looked is not None and looked.answered == "done"


async def test_not_knowing_is_no_silence(world: FixedWorld, firm: LookupSimulator) -> None:
    asks = asker(SET)
    for _ in range(4):
        await asks.whose(world, msisdn("+44 7400 123456"))
    assert len(firm.asked) == 4


async def test_the_next_is_asked_with_the_time_that_is_left(world: FixedWorld, firm: LookupSimulator) -> None:
    first, second = asker(SET | {"hlr_json_url": OTHER}).lookups[0], asker(SET).lookups[0]

    async def slow(request: Request) -> Response:
        world.clock += timedelta(seconds=lasts)
        return Response(500, {}, b"")

    world.route(OTHER, slow)
    lasts = 1.0
    looked = await Asker([first, second]).whose(world, A_NUMBER)
    assert looked is not None and looked.answered == "done"
    assert world.sent[-1].timeout_s == pytest.approx(0.5)
    lasts = 1.4
    looked = await Asker([first, second]).whose(world, A_NUMBER)
    assert looked is not None and looked.answered == "unknown"
    assert len(firm.asked) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hlr_json_url": "http://firm.example"}, "https"),
        ({"hlr_json_secret": None}, "hlr_json_secret"),
        ({"hlr_json_key": None}, "hlr_json_key"),
        ({"lookup_networks": "vodafone=23415"}, "lookup_networks"),
    ],
    ids=["no TLS", "no secret", "no key", "networks"],
)
def test_a_setting_that_cannot_be_used_is_named(wrong: dict[str, str | None], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        asker(SET | wrong)


def test_the_settings_are_read_like_all_others() -> None:
    settings = read_settings({"REFILL_LOOKUP_WARNS": "cmcc cbn", "REFILL_HLR_JSON_URL": FIRM}, port_settings())
    assert asker({**settings.ports, **SET}).warns == {"cmcc", "cbn"}


async def test_the_far_end_answers_whom_it_knows_and_shows_what_a_number_does(
    world: FixedWorld, firm: LookupSimulator
) -> None:
    for number, body in (("stranger", b"{}"), ("no number", b'{"msisdn": "138"}')):
        login = "Basic eDp5" if number == "stranger" else firm._who
        answer = await world.send(Request("POST", f"{FIRM}/mnp-lookup", {"authorization": login}, body))
        assert answer.status == {"stranger": 401, "no number": 400}[number]
    page = (await world.send(Request("GET", f"{FIRM}/"))).body.decode()
    assert all(what in page for what in far_end.WHAT_HAPPENS.values())
    assert (await world.send(Request("GET", f"{FIRM}/nothing"))).status == 404
    assert (await world.send(Request("POST", f"{FIRM}/troubles", {}, b"name=lost"))).status == 204
    assert b"asked" in (await world.send(Request("GET", f"{FIRM}/truth"))).body
