"""Partners' endpoints: where they want to hear what, the secrets that sign it, and when nothing is sent there any more."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from refill.db import Row, Statement, Tx
from refill.egress import callable_url
from refill.errors import BadInput, NotFound, RefillError
from refill.ids import cell_of
from refill.money import Money
from refill.notify.webhook import EVENTS, SECRET_BYTES, secret_text
from refill.vault import Vault
from refill.world import World

MOST = 10  # endpoints of a partner
FORMER_LASTS = timedelta(hours=24)  # both secrets sign, so that a receiver can be changed in peace
LONGEST_DESCRIPTION = 200
KIND = "webhook"  # of secret, for the vault


class TooManyEndpoints(RefillError):
    """A partner has as many endpoints as it may have; delete one that is not needed."""

    code: ClassVar[str] = "too_many_endpoints"
    status: ClassVar[int] = 409


class EndpointExists(RefillError):
    """This address is an endpoint of yours already; change that one."""

    code: ClassVar[str] = "endpoint_exists"
    status: ClassVar[int] = 409


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a partner, without its secrets. `events` empty: all of them."""

    id: str
    partner: str
    url: str
    events: tuple[str, ...]
    description: str
    state: str  # active | disabled | deleted
    why: str  # asked | gone | failing, when disabled
    former_until: datetime | None
    failing_since: datetime | None
    low: Money | None  # `float.low` is told below this
    created_at: datetime


_COLUMNS = """
    e.id, e.partner_id, e.url, e.events, e.description, e.state, e.why, e.former_until, e.failing_since, e.low_minor,
    p.currency, e.created_at
"""

OWNER = Statement("""
    -- The partner, locked, so that two endpoints cannot both be the last that it may have
    SELECT id FROM accounts_partner WHERE id = :partner FOR UPDATE
""")

CREATE = Statement("""
    -- A new endpoint
    INSERT INTO notify_endpoint (id, partner_id, url, events, description, state, why, secret, low_minor, low_told,
                                 created_at, changed_at)
    VALUES (:id, :partner, :url, :events, :description, 'active', '', :secret, :low::bigint, false, :now, :now)
""")

OF_PARTNER = Statement(f"""
    -- A partner's endpoints, the oldest first
    SELECT {_COLUMNS}
      FROM notify_endpoint e JOIN accounts_partner p ON p.id = e.partner_id
     WHERE e.partner_id = :partner AND e.state <> 'deleted'
     ORDER BY e.created_at, e.id
""")

ONE = Statement(f"""
    -- One endpoint of a partner
    SELECT {_COLUMNS}
      FROM notify_endpoint e JOIN accounts_partner p ON p.id = e.partner_id
     WHERE e.id = :id AND e.partner_id = :partner AND e.state <> 'deleted'
       FOR UPDATE OF e
""")

FIND = Statement(f"""
    -- One endpoint, whosever it is, also a deleted one
    SELECT {_COLUMNS}
      FROM notify_endpoint e JOIN accounts_partner p ON p.id = e.partner_id
     WHERE e.id = :id
""")

EVERY = Statement(f"""
    -- All endpoints, those that fail first, each with its partner's name and how much waits, counted up to a thousand
    SELECT p.name,
           (SELECT count(*) FROM (SELECT 1 FROM notify_delivery d
                                   WHERE d.endpoint = e.id AND d.state = 'waiting' LIMIT 1000) AS waits),
           {_COLUMNS}
      FROM notify_endpoint e JOIN accounts_partner p ON p.id = e.partner_id
     WHERE e.state IN ('active', 'disabled')
     ORDER BY e.failing_since NULLS LAST, p.name, e.created_at
     LIMIT :most
""")

CHANGE = Statement("""
    -- An endpoint as its partner wants it now; whoever comes back is not failing any more
    UPDATE notify_endpoint
       SET url = :url, events = :events, description = :description, state = :state, why = :why,
           low_told = low_told AND low_minor IS NOT DISTINCT FROM :low::bigint, low_minor = :low::bigint,
           failing_since = CASE WHEN :again::boolean THEN NULL ELSE failing_since END, changed_at = :now
     WHERE id = :id
""")

BEGIN_ANEW = Statement("""
    -- What waited while an endpoint was disabled has all its tries again
    UPDATE notify_delivery SET since = :now, due = :now, tries = 0 WHERE endpoint = :id AND state = 'waiting'
""")

ROTATE = Statement("""
    -- A new secret; the one before signs too for a while, the one before that never again
    UPDATE notify_endpoint SET former_secret = secret, former_until = :until, secret = :secret, changed_at = :now
     WHERE id = :id
""")

DELETE = Statement("""
    -- An endpoint that hears nothing any more; its log stays until it is old
    UPDATE notify_endpoint SET state = 'deleted', changed_at = :now
     WHERE id = :id AND partner_id = :partner AND state <> 'deleted'
""")

SECRETS = Statement("""
    -- The sealed secrets of endpoints
    SELECT e.id, e.url, e.secret, e.former_secret, e.former_until
      FROM unnest(:ids::text[]) AS asked (id) JOIN notify_endpoint e ON e.id = asked.id
""")


def _endpoint(row: Row) -> Endpoint:
    id_, partner, url, events, description, state, why, until, failing, low, currency, created = row
    wish = None if low is None else Money(low, currency)
    return Endpoint(id_, partner, url, tuple(events.split()), description, state, why, until, failing, wish, created)


def _words(events: Sequence[str]) -> str:
    """The events that are wanted, each once, in our order. Raises BadInput."""
    for event in events:
        if event not in EVENTS:
            raise BadInput(f"There is no such event; there are {', '.join(EVENTS)}.")
    return " ".join(event for event in EVENTS if event in events)


def _description(text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST_DESCRIPTION or not text.isprintable():
        raise BadInput(f"A description has up to {LONGEST_DESCRIPTION} printable characters.")
    return text


def _low(low: Money | None) -> int | None:
    if low is not None and low.minor <= 0:
        raise BadInput("Name an amount above zero below which the float is low.")
    return None if low is None else low.minor


def _fresh(world: World) -> bytes:
    return world.chance(8 * SECRET_BYTES).to_bytes(SECRET_BYTES, "big")


async def create(
    tx: Tx,
    world: World,
    vault: Vault,
    partner: str,
    url: str,
    *,
    events: Sequence[str] = (),
    description: str = "",
    low: Money | None = None,
    allowed: Collection[str] = (),
) -> tuple[Endpoint, str]:
    """A new endpoint and its secret, which is shown now or never. Raises WrongUrl, BadInput,
    TooManyEndpoints, EndpointExists.

    low: an amount in the partner's currency; `float.low` is told when the float is below it. What happens until ten
    seconds later may stay untold, for another process may not know of the endpoint yet.
    """
    id_ = world.new_id("we", cell_of(partner))
    secret = _fresh(world)
    place, wanted, about, below = callable_url(url, allowed), _words(events), _description(description), _low(low)
    await tx.run(OWNER, partner=partner)
    there = await of_partner(tx, partner)
    if any(one.url == place for one in there):
        raise EndpointExists("You listen at this address already; change that endpoint, or delete it first.")
    if len(there) >= MOST:
        raise TooManyEndpoints(f"You have {MOST} endpoints, as many as there may be; delete one that you do not need.")
    await tx.run(
        CREATE,
        id=id_,
        partner=partner,
        url=place,
        events=wanted,
        description=about,
        secret=vault.seal(KIND, id_, secret),
        low=below,
        now=world.db_now(),
    )
    return await endpoint(tx, partner, id_), secret_text(secret)


async def of_partner(tx: Tx, partner: str) -> list[Endpoint]:
    """A partner's endpoints, the oldest first."""
    return [_endpoint(row) for row in await tx.rows(OF_PARTNER, partner=partner)]


async def endpoint(tx: Tx, partner: str, id_: str) -> Endpoint:
    """One of a partner's endpoints, locked. Raises NotFound, also for another's."""
    row = await tx.row(ONE, id=id_, partner=partner)
    if row is None:
        raise NotFound("There is no endpoint with that id.")
    return _endpoint(row)


async def find(tx: Tx, id_: str) -> Endpoint:
    """Any partner's endpoint, for our own people. Raises NotFound."""
    row = await tx.row(FIND, id=id_)
    if row is None:
        raise NotFound("There is no endpoint with that id.")
    return _endpoint(row)


async def every(tx: Tx, most: int = 200) -> list[tuple[str, int, Endpoint]]:
    """All endpoints, those that fail first: (the partner's name, how many events wait, up to a thousand, the endpoint)."""
    return [(name, waiting, _endpoint(tuple(row))) for name, waiting, *row in await tx.rows(EVERY, most=most)]


async def change(
    tx: Tx,
    world: World,
    partner: str,
    id_: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
    low: Money | None = None,
    forget_low: bool = False,
    allowed: Collection[str] = (),
) -> Endpoint:
    """Changes what is given. Enabled again, it hears what happened meanwhile. Raises NotFound, WrongUrl, BadInput."""
    was = await endpoint(tx, partner, id_)
    now = world.db_now()
    again = enabled is True and was.state == "disabled"
    wish = None if forget_low else low or was.low
    await tx.run(
        CHANGE,
        id=id_,
        url=was.url if url is None else callable_url(url, allowed),
        events=" ".join(was.events) if events is None else _words(events),
        description=was.description if description is None else _description(description),
        state=was.state if enabled is None else "active" if enabled else "disabled",
        why=was.why if enabled is None else "" if enabled else was.why or "asked",
        low=_low(wish),
        again=again,
        now=now,
    )
    if again:
        await tx.run(BEGIN_ANEW, id=id_, now=now)
    return await endpoint(tx, partner, id_)


async def rotate(tx: Tx, world: World, vault: Vault, partner: str, id_: str) -> tuple[Endpoint, str]:
    """A new secret, shown now or never; the former one signs too for a day. Raises NotFound."""
    await endpoint(tx, partner, id_)
    now, secret = world.db_now(), _fresh(world)
    await tx.run(ROTATE, id=id_, secret=vault.seal(KIND, id_, secret), until=now + FORMER_LASTS, now=now)
    return await endpoint(tx, partner, id_), secret_text(secret)


async def delete(tx: Tx, partner: str, id_: str, now: datetime) -> None:
    """Nothing is sent there any more. Raises NotFound."""
    if not await tx.run(DELETE, id=id_, partner=partner, now=now):
        raise NotFound("There is no endpoint with that id.")


async def addresses(
    tx: Tx, vault: Vault, ids: Sequence[str], now: datetime
) -> dict[str, tuple[str, tuple[bytes, ...]]]:
    """Where endpoints are, and the secrets that sign for them at this moment, the newest first."""
    found = {}
    for id_, url, secret, former, until in await tx.rows(SECRETS, ids=list(ids)):
        secrets = [vault.unseal(KIND, id_, secret)]
        if former is not None and until > now:
            secrets.append(vault.unseal(KIND, id_, former))
        found[id_] = url, tuple(secrets)
    return found
