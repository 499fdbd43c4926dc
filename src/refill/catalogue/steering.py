"""What people decide of routing, written down: rules, suppliers' pauses, limits, and the switch of an operator."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from refill.catalogue.routing import Limits, Maintenance, Rule
from refill.db import Statement, Tx
from refill.errors import BadInput, NotFound

ACTIONS = ("prefer", "only", "never", "hold")
_HOUR = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")

ADD_RULE = Statement("""
    -- A new rule of routing, as staff set it
    INSERT INTO catalogue_rule (id, position, action, suppliers, operator_id, product_id, region, channel, partner,
                                least_minor, most_minor, from_minute, to_minute, zone, starts_at, ends_at, says, made_by,
                                enabled)
    VALUES (:id, :position, :action, :suppliers, :operator, :product, :region, :channel, :partner, :least, :most,
            :fromminute, :tominute, :zone, :starts, :ends, :says, :who, true)
""")

END_RULE = Statement("UPDATE catalogue_rule SET enabled = false WHERE id = :id AND enabled")

LISTING = Statement("""
    -- The rules in force, in the order in which they are looked at
    SELECT id, action, suppliers, operator_id, product_id, region, channel, partner, least_minor, most_minor,
           from_minute, to_minute, zone, starts_at, ends_at, position, says, made_by
      FROM catalogue_rule WHERE enabled ORDER BY position, id
""")

ADD_PAUSE = Statement("""
    INSERT INTO catalogue_maintenance (id, supplier, operator_id, starts_at, ends_at, says, made_by)
    VALUES (:id, :supplier, :operator, :starts, :ends, :says, :who)
""")

END_PAUSE = Statement("DELETE FROM catalogue_maintenance WHERE id = :id")

PAUSES = Statement("""
    -- Pauses that are not over
    SELECT id, supplier, operator_id, starts_at, ends_at, says, made_by FROM catalogue_maintenance
     WHERE ends_at > :now ORDER BY starts_at, id
""")

LIMIT = Statement("""
    -- How much a supplier is asked for at once, new or changed
    INSERT INTO catalogue_limits (supplier, enabled, most_in_flight, most_per_second, most_tries, opens_at_bp,
                                  least_answers, rest_s)
    VALUES (:supplier, :enabled, :inflight, :persecond, :tries, :opensat, :answers, :rest)
        ON CONFLICT (supplier) DO UPDATE
       SET enabled = excluded.enabled, most_in_flight = excluded.most_in_flight,
           most_per_second = excluded.most_per_second, most_tries = excluded.most_tries,
           opens_at_bp = excluded.opens_at_bp, least_answers = excluded.least_answers, rest_s = excluded.rest_s
""")

SWITCH = Statement("UPDATE catalogue_operator SET enabled = :enabled, when_off = :whenoff WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Written:
    """A rule as it stands, with who made it and why."""

    rule: Rule
    position: int
    says: str
    made_by: str


@dataclass(frozen=True, slots=True)
class Pause:
    """A supplier's pause as it stands."""

    id: str
    pause: Maintenance
    says: str
    made_by: str


def hours(text: str) -> tuple[int | None, int | None]:
    """Reads a span of the day: "23:50-00:20" -> (1430, 20); "" -> (None, None), all day. Raises BadInput."""
    if not text.strip():
        return None, None
    begins, _, ends = text.partition("-")
    found = [_HOUR.fullmatch(part.strip()) for part in (begins, ends)]
    minutes = [int(each[1]) * 60 + int(each[2]) for each in found if each]
    if len(minutes) != 2 or minutes[0] == minutes[1]:
        raise BadInput(f"{text[:20]!r} is not a span of the day; write it as 23:50-00:20.")
    return minutes[0], minutes[1]


async def add_rule(tx: Tx, rule: Rule, *, who: str, says: str, position: int = 100) -> None:
    """Puts a rule in force. Raises BadInput when it means nothing."""
    if rule.action not in ACTIONS:
        raise BadInput(f"A rule says {', '.join(ACTIONS)}, not {rule.action[:20]!r}.")
    if not rule.suppliers and rule.action != "hold":
        raise BadInput("Name the suppliers that the rule is about.")
    if not says.strip() or not who.strip():
        raise BadInput("Say why the rule is made, for whoever reads it next year.")
    if any(not re.fullmatch(r"[a-z0-9_]{1,40}", name) for name in rule.suppliers):
        raise BadInput("Names of suppliers are small letters, digits and underscores, divided by spaces.")
    if rule.least_minor is not None and rule.most_minor is not None and rule.most_minor < rule.least_minor:
        raise BadInput("The largest amount is not below the smallest.")
    _check_span(rule.starts_at, rule.ends_at)
    try:
        ZoneInfo(rule.zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise BadInput(f"{rule.zone[:40]!r} is not a time zone; write it as Asia/Shanghai.") from None
    await tx.run(
        ADD_RULE,
        id=rule.id,
        position=position,
        action=rule.action,
        suppliers=" ".join(rule.suppliers),
        operator=rule.operator,
        product=rule.product,
        region=rule.region,
        channel=rule.channel,
        partner=rule.partner,
        least=rule.least_minor,
        most=rule.most_minor,
        fromminute=rule.from_minute,
        tominute=rule.to_minute,
        zone=rule.zone,
        starts=rule.starts_at,
        ends=rule.ends_at,
        says=says.strip()[:200],
        who=who,
    )


async def end_rule(tx: Tx, id_: str) -> None:
    """Takes a rule out of force; it stays written. Raises NotFound."""
    if not await tx.run(END_RULE, id=id_):
        raise NotFound("There is no such rule in force.")


async def rules(tx: Tx) -> list[Written]:
    """The rules in force."""
    found = []
    for id_, action, suppliers, *more, position, says, made_by in await tx.rows(LISTING):
        found.append(Written(Rule(id_, action, tuple(suppliers.split()), *more), position, says, made_by))
    return found


async def add_pause(tx: Tx, id_: str, pause: Maintenance, *, who: str, says: str = "") -> None:
    """Writes down a pause that a supplier announced. Raises BadInput."""
    _check_span(pause.starts_at, pause.ends_at)
    await tx.run(
        ADD_PAUSE,
        id=id_,
        supplier=pause.supplier,
        operator=pause.operator,
        starts=pause.starts_at,
        ends=pause.ends_at,
        says=says.strip()[:200],
        who=who,
    )


async def end_pause(tx: Tx, id_: str) -> None:
    """Calls a pause off. Raises NotFound."""
    if not await tx.run(END_PAUSE, id=id_):
        raise NotFound("There is no such pause.")


async def pauses(tx: Tx, now: datetime) -> list[Pause]:
    """The pauses that are not over."""
    return [
        Pause(id_, Maintenance(supplier, operator, starts, ends), says, made_by)
        for id_, supplier, operator, starts, ends, says, made_by in await tx.rows(PAUSES, now=now)
    ]


# What a limit may be; the same as the table's own CHECK, in words.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "most_in_flight": (1, 100_000),
    "most_per_second": (1, 100_000),
    "most_tries": (1, 100),
    "opens_at_bp": (1, 10_000),
    "least_answers": (1, 2**31 - 1),
    "rest_s": (1, 600),
}


async def limit(tx: Tx, supplier: str, limits: Limits) -> None:
    """Sets how far a supplier is trusted. Raises BadInput."""
    for name, (least, most) in BOUNDS.items():
        value = getattr(limits, name)
        if value is not None and not least <= value <= most:
            raise BadInput(f"{name} is from {least:,} to {most:,}.")
    await tx.run(
        LIMIT,
        supplier=supplier,
        enabled=limits.enabled,
        inflight=limits.most_in_flight,
        persecond=limits.most_per_second,
        tries=limits.most_tries,
        opensat=limits.opens_at_bp,
        answers=limits.least_answers,
        rest=limits.rest_s,
    )


async def switch(tx: Tx, operator: str, *, on: bool, when_off: str = "wait") -> None:
    """Switches an operator's sale on or off; `when_off`: paid orders `wait` meanwhile, or `refund`. Raises NotFound, BadInput."""
    if when_off not in ("wait", "refund"):
        raise BadInput("Paid orders wait, or are refunded.")
    if not await tx.run(SWITCH, id=operator, enabled=on, whenoff=when_off):
        raise NotFound("There is no such operator.")


def _check_span(starts: datetime | None, ends: datetime | None) -> None:
    if starts is not None and ends is not None and ends <= starts:
        raise BadInput("It ends after it begins.")
