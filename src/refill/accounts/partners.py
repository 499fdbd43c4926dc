"""Partners and their API keys: made once, shown once, found by digest on every request."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from refill.db import Database, Statement, Tx
from refill.errors import BadInput, NotFound
from refill.ids import base32, cell_of
from refill.money import EXPONENT, Money
from refill.vault import Vault
from refill.world import World

KIND = "api_key"
SCOPES = "topup balance webhooks"
PINS = "pins"  # reads the PINs that its own top-ups got
SUBSCRIBER = "subscriber"  # sees balances of our own network's subscribers: for our own platforms only
REFRESH = timedelta(seconds=5)  # how long a revoked key may still open the door
REFRESH_ON_MISS = timedelta(seconds=1)  # a flood of wrong keys must not become a flood of queries


class NameTaken(BadInput):
    """Another partner has this name."""

    code = "name_taken"
    status = 409


@dataclass(frozen=True, slots=True)
class Partner:
    """A platform that sells through our API; its float is the account `float:<id>/<currency>`."""

    id: str
    name: str
    currency: str
    commission_bp: int  # basis points of the face value that the partner keeps
    credit_limit: Money
    status: str  # active | suspended


@dataclass(frozen=True, slots=True)
class PartnerKey:
    """What an API key opens: the partner, its terms and what the key may do."""

    partner_id: str
    name: str
    currency: str
    commission_bp: int
    scopes: frozenset[str]
    digest: str
    time_zone: str = "Asia/Shanghai"


def float_account(partner_id: str, currency: str) -> str:
    """The ledger's name of a partner's prepaid money."""
    return f"float:{partner_id}/{currency}"


CREATE_PARTNER = Statement("""
    -- A new partner; nothing when the name is taken
    INSERT INTO accounts_partner (id, name, currency, commission_bp, credit_limit_minor, status, created_at)
    VALUES (:id::text, :name::text, :currency::text, :commission_bp::int, :credit_limit::bigint, 'active',
            :now::timestamptz)
        ON CONFLICT DO NOTHING
""")


async def create_partner(
    tx: Tx,
    world: World,
    vault: Vault,
    name: str,
    *,
    currency: str = "CNY",
    commission_bp: int = 0,
    credit_limit: Money | None = None,
    scopes: str = SCOPES,
) -> tuple[Partner, str]:
    """A new partner and its first API key, whose text exists nowhere else. Raises NameTaken, BadInput.

    The float account is opened and funded by whoever calls.
    """
    limit = credit_limit or Money(0, currency)
    name = name.strip()
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise BadInput("A partner's name has 1 to 100 printable characters.")
    if currency not in EXPONENT or limit.currency != currency or limit.minor < 0:
        raise BadInput("The float is kept in one known currency, and the credit limit is an amount of it.")
    if not 0 <= commission_bp <= 10_000:
        raise BadInput("A commission is between 0 and 10000 basis points of the face value.")
    partner = Partner(world.new_id("pa", cell_of(name)), name, currency, commission_bp, limit, "active")
    created = await tx.run(
        CREATE_PARTNER,
        id=partner.id,
        name=name,
        currency=currency,
        commission_bp=commission_bp,
        credit_limit=limit.minor,
        now=world.db_now(),
    )
    if not created:
        raise NameTaken(f"There is a partner called {name!r} already.")
    return partner, await create_key(tx, world, vault, partner.id, scopes=scopes)


CREATE_KEY = Statement("""
    -- A key, of which only the digest is kept
    INSERT INTO accounts_apikey (id, partner_id, prefix, last4, digest, scopes, created_at, expires_at, revoked_at)
    SELECT :id::text, partner.id, :prefix::text, :last_four::text, :digest::text, :scopes::text,
           :now::timestamptz, :expires_at::timestamptz, NULL
      FROM accounts_partner AS partner
     WHERE partner.id = :partner::text
""")


async def create_key(
    tx: Tx, world: World, vault: Vault, partner_id: str, *, scopes: str = SCOPES, expires_at: datetime | None = None
) -> str:
    """One more key for a partner: `rk_live_` and 32 letters (160 random bits). It is printed now or never."""
    text = "rk_live_" + base32(world.chance(160), 32)
    created = await tx.run(
        CREATE_KEY,
        id=world.new_id("ak", cell_of(partner_id)),
        partner=partner_id,
        prefix=text[:12],
        last_four=text[-4:],
        digest=vault.digest(KIND, text.encode()),
        scopes=scopes,
        now=world.db_now(),
        expires_at=expires_at,
    )
    if not created:
        raise NotFound("There is no partner with that id.")
    return text


REVOKE_KEY = Statement("""
    -- A key that opens nothing any more; the first revocation counts
    UPDATE accounts_apikey SET revoked_at = :now::timestamptz WHERE id = :id::text AND revoked_at IS NULL
""")


async def revoke_key(tx: Tx, key_id: str, now: datetime) -> bool:
    """Ends a key; every door forgets it within REFRESH. False when it was ended before, or never was."""
    return bool(await tx.run(REVOKE_KEY, id=key_id, now=now))


SUSPEND = Statement("""
    -- Let a partner in, or keep it out; its money stays where it is
    UPDATE accounts_partner SET status = :status::text WHERE id = :id::text AND status <> :status::text
""")


async def suspend(tx: Tx, partner_id: str, *, suspended: bool = True) -> bool:
    """Closes (or opens again) every key of a partner; False when nothing changed."""
    return bool(await tx.run(SUSPEND, id=partner_id, status="suspended" if suspended else "active"))


SET_ZONE = Statement("""
    -- Whose midnight ends a partner's day
    UPDATE accounts_partner SET time_zone = :zone::text WHERE id = :id_or_name::text OR name = :id_or_name::text
""")


async def set_time_zone(tx: Tx, id_or_name: str, zone: str) -> None:
    """Where a partner's day ends, for its statements. Raises BadInput, NotFound."""
    try:
        ZoneInfo(zone)
    except (LookupError, ValueError, OSError):
        raise BadInput("A time zone is a name of the IANA database, such as Asia/Shanghai.") from None
    if not await tx.run(SET_ZONE, id_or_name=id_or_name, zone=zone):
        raise NotFound("There is no such partner.")


PARTNER = Statement("""
    -- One partner by id or name
    SELECT id, name, currency, commission_bp, credit_limit_minor, status
      FROM accounts_partner WHERE id = :id_or_name::text OR name = :id_or_name::text
""")


async def partner(tx: Tx, id_or_name: str) -> Partner:
    """One partner. Raises NotFound."""
    row = await tx.row(PARTNER, id_or_name=id_or_name)
    if row is None:
        raise NotFound("There is no such partner.")
    id_, name, currency, commission_bp, limit, status = row
    return Partner(id_, name, currency, commission_bp, Money(limit, currency), status)


LOAD_KEYS = Statement("""
    -- Every key that opens something at this moment
    SELECT key.digest, partner.id, partner.name, partner.currency, partner.commission_bp, key.scopes, partner.time_zone
      FROM accounts_apikey AS key
      JOIN accounts_partner AS partner ON partner.id = key.partner_id
     WHERE partner.status = 'active'
       AND (key.revoked_at IS NULL OR key.revoked_at > :now::timestamptz)
       AND (key.expires_at IS NULL OR key.expires_at > :now::timestamptz)
""")


async def load_keys(tx: Tx, now: datetime) -> dict[str, PartnerKey]:
    """The keys in force by digest."""
    return {
        digest: PartnerKey(id_, name, currency, commission_bp, frozenset(scopes.split()), digest, time_zone)
        for digest, id_, name, currency, commission_bp, scopes, time_zone in await tx.rows(LOAD_KEYS, now=now)
    }


class KeyRing:
    """The keys in force, in memory: `find` never waits, and when they are 5 s old they are read again beside it."""

    def __init__(self, vault: Vault, db: Database, world: World) -> None:
        self._vault = vault
        self._db = db
        self._world = world
        self._keys: dict[str, PartnerKey] = {}
        self._read_at: datetime | None = None
        self._refreshing = False

    def find(self, bearer: str | bytes) -> PartnerKey | None:
        """Whose key this is. A look-up by keyed digest takes the same time for a wrong key as for a right one."""
        if self._read_at is not None and self._world.db_now() - self._read_at > REFRESH and not self._refreshing:
            self._refreshing = True
            self._world.start(self._refresh_beside())
        raw = bearer if isinstance(bearer, bytes) else bearer.encode("utf-8", "surrogatepass")
        return self._keys.get(self._vault.digest(KIND, raw))

    def by_digest(self, digest: str) -> PartnerKey | None:
        """The key in force with this digest, for what was made from a key and carries it."""
        return self._keys.get(digest)

    async def find_or_read(self, bearer: str | bytes) -> PartnerKey | None:
        """Like `find`; for an unknown key the database is asked, at most once a second for everybody together."""
        found = self.find(bearer)
        if found is None and (self._read_at is None or self._world.db_now() - self._read_at > REFRESH_ON_MISS):
            await self.refresh()
            found = self.find(bearer)
        return found

    async def refresh(self) -> None:
        """Reads the keys in force now."""
        now = self._world.db_now()
        previous, self._read_at = self._read_at, now  # set first: who comes meanwhile does not ask again
        try:
            self._keys = await self._db.transaction(lambda tx: load_keys(tx, now))
        except BaseException:
            self._read_at = previous
            raise

    async def _refresh_beside(self) -> None:
        try:
            await self.refresh()
        finally:
            self._refreshing = False
