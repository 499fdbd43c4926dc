"""Who guesses PINs is locked out: wrong ones are counted for each session, address or account, also when they come at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from refill.cases import Case, raise_cases
from refill.db import Statement, Tx
from refill.errors import RefillError
from refill.ids import cell_of
from refill.vault import Vault

MOST_WRONG = 5  # in a window; the next PIN is not even looked at
MOST_WRONG_AT_AN_ADDRESS = 40  # behind one address of a mobile operator there may be a town
ADDRESS = "address:"  # how such a name begins
WINDOW = timedelta(minutes=15)
LOCKED = timedelta(hours=1)
WIDESPREAD = 200  # names with wrong PINs in a window: then a person is called


class TooManyTries(RefillError):
    """Too many wrong PINs came from here; until `again_at` no PIN is looked at, right or wrong."""

    code = "too_many_tries"
    status = 429
    retryable = True

    def __init__(self, again_at: datetime) -> None:
        self.again_at = again_at
        super().__init__(f"Too many wrong PINs were typed. Try again after {again_at:%H:%M} UTC, or ask us for help.")


@dataclass(slots=True)
class _Tally:
    """What a guesser did: wrong PINs since the first of a window, and how long nothing is taken from them."""

    wrong: int
    since: datetime
    until: datetime | None
    changed: bool = False

    def count(self, most: int, now: datetime) -> None:
        if now - self.since >= WINDOW or not self.wrong:
            self.wrong, self.since = 0, now
        self.wrong += 1
        if self.wrong >= most:
            self.wrong, self.until = 0, now + LOCKED
        self.changed = True


ENTER = Statement("""
    -- Guessers, new or known, held in the order in which they are named until we know whether they guessed wrong
    INSERT INTO vouchers_guesser AS g (cell, name, since)
    SELECT cell, name, :now FROM unnest(:cells::smallint[], :names::uuid[]) AS asked (cell, name)
        ON CONFLICT (cell, name) DO UPDATE SET since = g.since
    RETURNING name, wrong, since, until
""")

COUNT = Statement("""
    -- What guessers whom we hold did
    UPDATE vouchers_guesser g SET wrong = asked.wrong, since = asked.since, until = asked.until
      FROM unnest(:cells::smallint[], :names::uuid[], :wrongs::smallint[], :sinces::timestamptz[],
                  :untils::timestamptz[]) AS asked (cell, name, wrong, since, until)
     WHERE g.cell = asked.cell AND g.name = asked.name
""")

GUESSING = Statement("""
    -- How many guess at the moment, as far as we need to know it
    SELECT count(*) FROM (
        SELECT FROM vouchers_guesser
         WHERE since > :since AND (wrong > 0 OR until IS NOT NULL) LIMIT :most::int) AS guessing
""")

FORGET = Statement("""
    -- Guessers whose window and lock-out are over
    DELETE FROM vouchers_guesser g USING (
        SELECT cell, name FROM vouchers_guesser
         WHERE since <= :before AND (until IS NULL OR until <= :now)
         ORDER BY since LIMIT :most::int FOR UPDATE SKIP LOCKED) AS over
     WHERE g.cell = over.cell AND g.name = over.name
""")


class Tries:
    """The guessers of one transaction, held: two tries of one of them at the same moment come one after the other."""

    def __init__(self, names: dict[str, str], tallies: dict[str, _Tally]) -> None:
        self._names = names  # as they were given: hashed
        self._tallies = tallies

    def locked_until(self, by: Sequence[str], now: datetime) -> datetime | None:
        """How long nothing is taken from any of these; None: they may try."""
        ends = [self._tallies[self._names[name]].until for name in by]
        return max((end for end in ends if end is not None and end > now), default=None)

    def wrong(self, by: Sequence[str], now: datetime) -> None:
        """Each of these typed a wrong PIN."""
        for name in dict.fromkeys(by):
            most = MOST_WRONG_AT_AN_ADDRESS if name.startswith(ADDRESS) else MOST_WRONG
            self._tallies[self._names[name]].count(most, now)

    async def save(self, tx: Tx, now: datetime) -> None:
        """Keeps what was counted; calls a person when guessing is widespread. The last thing that a transaction does."""
        changed = [(cell_of(name), name, tally) for name, tally in self._tallies.items() if tally.changed]
        if not changed:
            return
        await tx.run(
            COUNT,
            cells=[cell for cell, _, _ in changed],
            names=[name for _, name, _ in changed],
            wrongs=[tally.wrong for _, _, tally in changed],
            sinces=[tally.since for _, _, tally in changed],
            untils=[tally.until for _, _, tally in changed],
        )
        if await tx.value(GUESSING, since=now - WINDOW, most=WIDESPREAD) == WIDESPREAD:
            says = f"Wrong PINs of vouchers came from {WIDESPREAD} sessions and addresses within a quarter of an hour."
            await raise_cases(tx, [Case("voucher_guessing", "vouchers", says)], now)


async def enter(tx: Tx, vault: Vault, by: Iterable[str], now: datetime) -> Tries:
    """Takes hold of guessers by whatever names them; only keyed hashes are kept. Before any other row is locked.

    "address:…" is a network address, which many people may share; everything else (a session, an account) is one person.
    """
    names = {name: vault.digest("guesser", name.encode()) for name in by}
    ordered = sorted((cell_of(name), name) for name in set(names.values()))
    if not ordered:
        return Tries({}, {})
    rows = await tx.rows(ENTER, now=now, cells=[cell for cell, _ in ordered], names=[name for _, name in ordered])
    return Tries(names, {name.hex: _Tally(wrong, since, until) for name, wrong, since, until in rows})


async def forget(tx: Tx, now: datetime, most: int = 1_000) -> int:
    """Forgets guessers who have been quiet; returns how many."""
    return await tx.run(FORGET, before=now - WINDOW, now=now, most=most)
