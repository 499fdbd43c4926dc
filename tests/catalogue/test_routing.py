"""Routing: rules of people first, then who delivers well, cheaply and quickly; and a word for whoever was passed over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from refill.catalogue import load, routing
from refill.catalogue.routing import (
    Choice,
    Limits,
    Line,
    Maintenance,
    Route,
    Routing,
    Rule,
    Standing,
    Tried,
    Want,
    decide,
    suppliers_in,
)
from refill.db import Pool
from refill.money import money

NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # in China
LATER = NOON + timedelta(minutes=30)
WANT = Want("cmcc", "cmcc-50", 5000, "CNY", "portal", None, "广东省深圳市 Shenzhen, Guangdong")
NORTH, SOUTH = Route("north", money("49.60 CNY")), Route("south", money("49.00 CNY"))
BOTH = (NORTH, SOUTH)


def choose(
    *rules: Rule, want: Want = WANT, routes: tuple[Route, ...] = BOTH, now: datetime = NOON, **more: Any
) -> Choice:
    """One order; `more`: maintenance and limits, and a Standing by each supplier's name."""
    names = [name for name in more if name in ("north", "south")]
    standings = {name: more.pop(name) for name in names}
    tried = more.pop("tried", {})
    connected = more.pop("connected", None)
    (choice,) = decide(Routing(rules, **more), [Line(want, routes, tried)], standings, now, connected)
    return choice


def sent(choice: Choice) -> str:
    """ "south cheapest", or what else became of it."""
    return f"{choice.route.supplier} {choice.why}" if choice.route else f"{choice.verdict} {choice.why}"


# ------------------------------------------------------------------ who is better


def test_of_equals_the_cheaper_one_is_asked() -> None:
    assert sent(choose()) == "south cheapest"


def test_who_fails_often_comes_behind_however_cheap() -> None:
    assert sent(choose(south=Standing(good_bp={"cmcc": 7_999}))) == "north reliable"
    assert (
        sent(choose(south=Standing(good_bp={"cmcc": 7_999}), north=Standing(good_bp={"cmcc": 7_000})))
        == "south cheapest"
    )
    assert sent(choose(south=Standing(good_bp={"cunicom": 10}))) == "south cheapest"


def test_a_persons_priority_comes_before_the_cost() -> None:
    assert sent(choose(routes=(Route("north", NORTH.cost, priority=10), SOUTH))) == "north priority"


def test_where_both_cost_the_same_the_quicker_one_and_then_the_fuller_float() -> None:
    same = (Route("north", SOUTH.cost), SOUTH)
    assert sent(choose(routes=same, north=Standing(typical_s={"cmcc": 8}), south=Standing(typical_s={"cmcc": 2}))) == (
        "south quickest"
    )
    fuller = Standing(left_minor={"CNY": 10**6})
    assert sent(choose(routes=same, south=fuller)) == "south fuller"
    assert sent(choose(routes=same)) == "north same"


def test_a_single_supplier_is_the_only_one() -> None:
    assert sent(choose(routes=(NORTH,))) == "north only"
    assert sent(choose(routes=(Route("home", None),))) == "home only"
    assert sent(choose(routes=())) == "hold nobody"


# ------------------------------------------------------------------ what people decide


def test_a_preferred_supplier_is_asked_first_and_the_others_after_it() -> None:
    rule = Rule("r", "prefer", ("north",))
    assert sent(choose(rule)) == "north preferred"
    assert sent(choose(rule, north=Standing(room=0))) == "south only|north=full"


def test_only_and_never_leave_nobody_else() -> None:
    assert sent(choose(Rule("r", "only", ("north",)))) == "north only|south=others"
    assert sent(choose(Rule("r", "never", ("south",)))) == "north only|south=never"
    assert sent(choose(Rule("r", "only", ("west",)))) == "hold nobody|south=others|north=others"


MATCHES = """
    operator=cmcc | product=cmcc-50 | channel=portal | region=广东 | region=Guangdong | least_minor=5000 | most_minor=5000
"""
MISSES = """
    operator=cunicom | product=cmcc-30 | channel=counter | region=北京 | partner=pa_1 | least_minor=5001 | most_minor=4999
"""


def _rule(text: str) -> Rule:
    name, _, value = text.strip().partition("=")
    return Rule("r", "never", ("south",), **{name: int(value) if name.endswith("minor") else value})


@pytest.mark.parametrize("text", [text.strip() for text in MATCHES.split("|")])
def test_a_rule_speaks_of_what_it_names(text: str) -> None:
    assert sent(choose(_rule(text))) == "north only|south=never"


@pytest.mark.parametrize("text", [text.strip() for text in MISSES.split("|")])
def test_and_of_nothing_else(text: str) -> None:
    assert sent(choose(_rule(text))) == "south cheapest"


def test_a_partners_rule_is_for_that_partner() -> None:
    rule = Rule("r", "prefer", ("north",), partner="pa_1")
    assert sent(choose(rule, want=WANT._replace(partner="pa_1"))) == "north preferred"


def hours(begins: str, ends: str, **more: Any) -> Rule:
    def minute(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    return Rule("night", "hold", from_minute=minute(begins), to_minute=minute(ends), **more)


def test_what_is_held_waits_for_the_end_of_the_hour_in_its_own_zone() -> None:
    held = choose(hours("11:30", "12:20"))
    assert (sent(held), held.until) == ("hold rule|night", NOON + timedelta(minutes=20))
    assert sent(choose(hours("12:01", "13:00"))) == "south cheapest"
    assert sent(choose(hours("11:00", "12:00"))) == "south cheapest"
    assert choose(hours("23:00", "12:30")).until == LATER  # over midnight
    assert choose(hours("03:00", "05:00", zone="UTC")).until == NOON + timedelta(hours=1)
    assert choose(hours("11:00", "13:00", ends_at=LATER)).until == LATER


def test_a_rule_begins_and_ends() -> None:
    ended, coming = Rule("r", "hold", ends_at=NOON), Rule("r", "hold", starts_at=LATER)
    assert sent(choose(ended, coming)) == "south cheapest"
    assert choose(Rule("r", "hold", starts_at=NOON, ends_at=LATER)).until == LATER
    assert choose(Rule("r", "hold")).until is None


def test_one_supplier_may_be_held_alone() -> None:
    rule = Rule("r", "hold", ("south",), ends_at=LATER)
    assert sent(choose(rule)) == "north only|south=never"
    assert choose(rule, routes=(SOUTH,)).until == LATER


def test_maintenance_is_waited_for_where_nobody_else_delivers() -> None:
    pause = Maintenance("south", "cmcc", NOON, LATER)
    assert sent(choose(maintenance=(pause,))) == "north only|south=maintenance"
    held = choose(maintenance=(pause, Maintenance("north", None, NOON, NOON + timedelta(hours=2))))
    assert (held.verdict, held.until) == ("hold", LATER)
    assert sent(choose(maintenance=(pause,), now=LATER)) == "south cheapest"
    assert sent(choose(maintenance=(Maintenance("south", "cunicom", NOON, LATER),))) == "south cheapest"


def test_who_is_switched_off_or_has_no_wire_is_not_asked() -> None:
    assert sent(choose(limits={"south": Limits(enabled=False)})) == "north only|south=off"
    assert sent(choose(connected=["north"])) == "north only|south=off"


# ------------------------------------------------------------------ how they stand


def test_an_open_breaker_is_passed_over_and_waited_for_where_it_is_the_last() -> None:
    opened = Standing(breaker="open", retry_at=LATER)
    assert sent(choose(south=opened)) == "north only|south=open"
    held = choose(south=opened, routes=(SOUTH,))
    assert (held.verdict, held.until) == ("hold", LATER)


def test_one_order_tries_a_supplier_that_rested() -> None:
    standings = {"south": Standing(breaker="probe", retry_at=NOON)}
    lines = [Line(WANT, BOTH), Line(WANT, BOTH), Line(WANT, (SOUTH,))]
    choices = decide(Routing(), lines, standings, NOON)
    assert [sent(choice) for choice in choices] == ["south probe", "north only|south=open", "hold nobody|south=open"]


def test_places_tokens_and_floats_go_down_order_by_order() -> None:
    standings = {"south": Standing(room=2, left_minor={"CNY": 9_900}), "north": Standing(tokens=1)}
    choices = decide(Routing(), [Line(WANT, BOTH)] * 4, standings, NOON)
    assert [sent(choice) for choice in choices] == [
        "south cheapest",
        "south cheapest",
        "north only|south=low",
        "later nobody|south=low|north=pace",
    ]
    assert choices[3].until == NOON + routing.PACE


def test_whoever_refused_is_left_alone_for_a_while_and_at_last_for_good() -> None:
    rests = {"south": Tried(1, LATER)}
    assert sent(choose(tried=rests)) == "north only|south=rests"
    later = choose(tried=rests, routes=(SOUTH,))
    assert (later.verdict, later.until) == ("later", LATER)
    assert sent(choose(tried=rests, now=LATER)) == "south cheapest"
    gone = {"south": Tried(12, NOON), "north": Tried(12, NOON)}
    assert sent(choose(tried=gone)) == "none nobody|south=tried|north=tried"


def test_empty_floats_park_also_beside_who_is_out_for_good() -> None:
    empty = Standing(empty_until=LATER)
    assert sent(choose(south=empty)) == "north only|south=empty"
    assert sent(choose(south=empty, now=LATER)) == "south cheapest"
    parked = choose(south=empty, limits={"north": Limits(enabled=False)})
    assert (parked.verdict, parked.until, suppliers_in(parked.why)) == ("empty", LATER, ["south", "north"])
    soon = choose(south=empty, north=Standing(breaker="open", retry_at=LATER))
    assert (soon.verdict, soon.until) == ("hold", LATER)


def test_equal_wants_are_weighed_once_and_others_apart() -> None:
    rule = Rule("r", "only", ("north",), operator="cunicom")
    other = Line(WANT._replace(operator="cunicom"), BOTH)
    choices = decide(Routing((rule,)), [Line(WANT, BOTH), other, Line(WANT, BOTH)], {}, NOON)
    assert [choice.route.supplier for choice in choices if choice.route] == ["south", "north", "south"]


# ------------------------------------------------------------------ what people wrote down

WRITTEN = """
    INSERT INTO catalogue_rule (id, position, action, suppliers, operator_id, zone, says, made_by, enabled, from_minute,
                                to_minute)
    VALUES ('b', 2, 'hold', '', 'cmcc', 'Asia/Shanghai', 'they close the books', 'mei', true, 1430, 10),
           ('a', 1, 'only', 'north south', NULL, 'UTC', 'the others are expensive', 'mei', true, NULL, NULL),
           ('c', 0, 'never', 'north', NULL, 'UTC', 'not yet', 'mei', false, NULL, NULL);
    INSERT INTO catalogue_maintenance (id, supplier, starts_at, ends_at, says, made_by)
    VALUES ('m', 'north', '2026-11-22T04:00Z', '2026-11-22T05:00Z', '', 'mei');
    INSERT INTO catalogue_limits (supplier, enabled, most_in_flight, most_per_second, most_tries, opens_at_bp,
                                  least_answers, rest_s)
    VALUES ('north', true, 7, 3, 2, 4000, 10, 60);
"""


@pytest.fixture
async def db(dsn: str) -> Any:
    pool = await Pool(dsn, size=1).open()
    yield pool
    await pool.close()


async def test_what_people_wrote_down_is_read_with_the_catalogue(db: Pool, dsn: str) -> None:
    before = (await db.transaction(load)).version
    with psycopg.connect(dsn) as connection:
        connection.execute(WRITTEN)
    catalogue = await db.transaction(load)
    told = catalogue.routing
    assert catalogue.version > before
    assert [(rule.id, rule.suppliers, rule.operator) for rule in told.rules] == [
        ("a", ("north", "south"), None),
        ("b", (), "cmcc"),
    ]
    assert told.maintenance == (Maintenance("north", None, NOON, NOON + timedelta(hours=1)),)
    assert (told.of("north"), told.of("south")) == (Limits(True, 7, 3, 2, 4000, 10, 60), Limits())
    assert not told.by_region
    assert Routing((Rule("r", "hold", region="广东"),)).by_region


BROKEN = """
    'prefer', '', 'UTC', NULL, NULL
    'steal', 'north', 'UTC', NULL, NULL
    'only', 'north; south', 'UTC', NULL, NULL
    'only', 'north', 'Nowhere', NULL, NULL
    'only', 'north', 'UTC', 10, NULL
    'only', 'north', 'UTC', 10, 10
    'only', 'north', 'UTC', 0, 1440
"""


@pytest.mark.parametrize("row", [line.strip() for line in BROKEN.strip().splitlines()])
def test_a_rule_that_means_nothing_is_refused(dsn: str, row: str) -> None:
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(f"""
            INSERT INTO catalogue_rule (id, position, says, made_by, enabled, action, suppliers, zone, from_minute, to_minute)
            VALUES ('r', 1, 'why', 'mei', true, {row})
        """)
