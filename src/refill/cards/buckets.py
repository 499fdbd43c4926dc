"""Credit that expires: each grant is a bucket with a ledger account of its own, and the one that ends first is spent first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from refill import ledger
from refill.cards.subscribers import Subscriber, balance_account, by_numbers
from refill.db import Statement, Tx
from refill.money import Money


@dataclass(frozen=True, slots=True)
class Bucket:
    """An expiring grant. `id` is made by the caller in the subscriber's cell: `world.new_id("bk", subscriber.cell)`."""

    id: str
    cell: int
    subscriber_id: str
    kind: str  # what the person reads: bonus, gift, data
    currency: str
    expires_at: datetime

    @property
    def account(self) -> str:
        """The ledger's name of what is left in it."""
        return f"grant:{self.id}/{self.currency}"


OPEN = Statement("""
    -- New buckets; one that exists is the same request again
    INSERT INTO cards_bucket (cell, id, subscriber, kind, currency, account, expires_at, created_at)
    SELECT cell, id, subscriber, kind, currency, account, expires_at, :now::timestamptz
      FROM unnest(:cells::smallint[], :ids::text[], :subscribers::text[], :kinds::text[], :currencies::text[],
                  :accounts::text[], :expires_at::timestamptz[])
           AS new (cell, id, subscriber, kind, currency, account, expires_at)
     ORDER BY cell, id
        ON CONFLICT (cell, id) DO NOTHING
""")


async def open_buckets(tx: Tx, rows: Sequence[Bucket], now: datetime) -> None:
    """Opens buckets and their accounts; what goes into them is posted by the caller."""
    if not rows:
        return
    await tx.run(
        OPEN,
        cells=[bucket.cell for bucket in rows],
        ids=[bucket.id for bucket in rows],
        subscribers=[bucket.subscriber_id for bucket in rows],
        kinds=[bucket.kind for bucket in rows],
        currencies=[bucket.currency for bucket in rows],
        accounts=[bucket.account for bucket in rows],
        expires_at=[bucket.expires_at for bucket in rows],
        now=now,
    )
    await ledger.open_accounts(tx, [ledger.Account(bucket.account, 0) for bucket in rows], now)


OF_SUBSCRIBER = Statement("""
    -- A subscriber's grants in the order in which they are spent
    SELECT id, cell, subscriber, kind, currency, expires_at
      FROM cards_bucket
     WHERE cell = :cell::smallint AND subscriber = :subscriber::text AND expires_at > :now::timestamptz
     ORDER BY expires_at, id
""")


async def buckets(tx: Tx, subscriber: Subscriber, now: datetime) -> list[Bucket]:
    """The grants that still count, the one that ends first in front."""
    rows = await tx.rows(OF_SUBSCRIBER, cell=subscriber.cell, subscriber=subscriber.id, now=now)
    return [Bucket(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Credit:
    """What a subscriber has: the main balance, and each grant with what is left of it."""

    subscriber: Subscriber
    balance: Money
    grants: tuple[tuple[Bucket, Money], ...]


async def credit(tx: Tx, number_id: str, now: datetime) -> Credit | None:
    """What the subscriber of a number has; None when the number is not one of ours."""
    subscriber = (await by_numbers(tx, [number_id])).get(number_id)
    if subscriber is None:
        return None
    open_now = await buckets(tx, subscriber, now)
    main = balance_account(subscriber)
    held = await ledger.balances(tx, [main, *(bucket.account for bucket in open_now)])
    return Credit(
        subscriber,
        Money(held.get(main, 0), subscriber.currency),
        tuple((bucket, Money(held.get(bucket.account, 0), bucket.currency)) for bucket in open_now),
    )
