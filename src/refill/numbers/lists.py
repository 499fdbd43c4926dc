"""Numbers that we refuse, or always serve: by keyed index, never in clear, each with a reason, a person and an end.

A line names one whole number and a scope: everything (`all`), `operator:cmcc`, `product:cmcc-50` or `partner:pa_…`. The
narrowest line of a number decides. There are no lines for prefixes: numbers are ported, and a prefix belongs to nobody.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from refill.db import Statement, Tx
from refill.errors import BadInput, CannotHappen, RefillError
from refill.ids import cell_of
from refill.numbers.msisdn import Msisdn, typed_msisdn
from refill.numbers.subjects import number_id, remember
from refill.vault import Vault

ALL, BLOCK, ALLOW, LIFT = "all", "block", "allow", "lift"
_SCOPE = re.compile(r"all|(?:operator|product|partner):[a-z0-9][a-z0-9_.-]{0,63}")
_WHY_LIMIT = 300


class NumberNotServed(RefillError):
    """We do not top this number up here; support knows more."""

    code = "number_not_served"
    status = 403


@dataclass(frozen=True, slots=True)
class Line:
    """What was decided about a number in a scope; `kind` is block, allow or lift."""

    number: str  # keyed index
    scope: str
    kind: str
    until: datetime | None
    reason: str
    who: str
    listed_at: datetime

    def holds(self, now: datetime) -> bool:
        """Is it in force?"""
        return self.kind != LIFT and (self.until is None or now < self.until)


def scope(text: str) -> str:
    """Reads a scope. Raises BadInput."""
    if _SCOPE.fullmatch(text) is None:
        raise BadInput("A scope is all, operator:cmcc, product:cmcc-50 or partner:pa_…")
    return text


def whole_number(text: str) -> Msisdn:
    """Reads the number that a line is about. Raises BadInput, also for a prefix."""
    if len(re.findall(r"[0-9]", text)) <= 7:
        raise BadInput("Name a whole number: a prefix tells nothing about its number, because numbers are ported.")
    return typed_msisdn(text)


LIST = Statement("""
    -- A line about a number, added behind the earlier ones of its scope
    INSERT INTO numbers_listed (cell, number, scope, listed_at, kind, until, reason, who)
    VALUES (:cell, :number, :scope, :now, :kind, :until, :reason, :who)
""")

LINES = Statement("""
    -- The latest line of each scope, of some numbers
    SELECT line.number, line.scope, line.kind, line.until, line.reason, line.who, line.listed_at
      FROM unnest(:cells::smallint[], :numbers::text[]) AS asked (cell, number)
     CROSS JOIN LATERAL (
           SELECT DISTINCT ON (scope) * FROM numbers_listed AS l
            WHERE l.cell = asked.cell AND l.number = asked.number
            ORDER BY l.scope, l.listed_at DESC) AS line
""")

LATEST = Statement("""
    -- The latest lines, each as long as it is the last of its number and scope
    SELECT number, scope, kind, until, reason, who, listed_at FROM numbers_listed AS l
     WHERE kind <> 'lift' AND (until IS NULL OR until > :now)
       AND NOT EXISTS (SELECT 1 FROM numbers_listed AS later
                        WHERE later.cell = l.cell AND later.number = l.number AND later.scope = l.scope
                          AND later.listed_at > l.listed_at)
     ORDER BY listed_at DESC LIMIT :most
""")

ANY = Statement("""
    -- Was any number ever listed?
    SELECT EXISTS (SELECT 1 FROM numbers_listed)
""")


async def put(
    tx: Tx,
    vault: Vault,
    msisdn: Msisdn,
    kind: str,
    *,
    where: str,
    reason: str,
    who: str,
    now: datetime,
    until: datetime | None = None,
) -> str:
    """Adds a line (block, allow or lift) and returns the number's index. Raises BadInput, CannotHappen (nothing to lift)."""
    reason, who = reason.strip(), who.strip()
    if not 0 < len(reason) <= _WHY_LIMIT or not who:
        raise BadInput("Say why, in a sentence; others will read it.")
    if until is not None and until <= now:
        raise BadInput("That end is over already; name a later one, or none.")
    number = number_id(vault, msisdn)
    if kind == LIFT and not any(line.scope == where and line.holds(now) for line in await lines(tx, [number])):
        raise CannotHappen("This number is not listed there.")
    await remember(tx, vault, [msisdn], now)
    await tx.run(
        LIST,
        cell=cell_of(number),
        number=number,
        scope=scope(where),
        now=now,
        kind=kind,
        until=until,
        reason=reason,
        who=who,
    )
    return number


async def lines(tx: Tx, numbers: Sequence[str]) -> list[Line]:
    """The latest line of each scope, of some numbers; it may be lifted or over."""
    cells = [cell_of(number) for number in numbers]
    return [Line(*row) for row in await tx.rows(LINES, cells=cells, numbers=list(numbers))]


async def listing(tx: Tx, now: datetime, most: int = 200) -> list[Line]:
    """What is in force, the latest first."""
    return [Line(*row) for row in await tx.rows(LATEST, now=now, most=most)]


async def any_listed(tx: Tx) -> bool:
    """False as long as nobody was ever listed: then nobody needs to be looked for."""
    return bool(await tx.value(ANY))


def verdict(found: Iterable[Line], scopes: Sequence[str], now: datetime) -> str | None:
    """block, allow or None: what the first of these scopes that names the number says; so name the narrowest first."""
    says: Mapping[str, str] = {line.scope: line.kind for line in found if line.holds(now)}
    return next((says[name] for name in scopes if name in says), None)
