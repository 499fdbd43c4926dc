"""The stock of SIM cards: kept by serial number, keys sealed and write-only, switched on from afar."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from refill.cards.subscribers import Subscriber, by_id, by_numbers, create, switch_on
from refill.db import Statement, Tx
from refill.errors import CannotHappen, NotFound
from refill.ids import cell_of, cell_of_id
from refill.numbers import Msisdn, remember
from refill.vault import Vault
from refill.world import World

KIND = "sim_keys"
FIRST_DAYS = 30  # validity that activation gives by itself


class NumberTaken(CannotHappen):
    """Another subscriber has this number."""

    code = "number_taken"


@dataclass(frozen=True, slots=True)
class Card:
    """A card without its keys."""

    iccid: str
    imsi: str
    kind: str  # SIM | USIM | eUICC
    status: str  # stock | in_use | replaced | lost
    subscriber_id: str | None
    batch: str


CARDS = Statement("""
    -- Some cards by serial number, without keys
    SELECT iccid, imsi, kind, status, subscriber_id, batch FROM cards_card WHERE iccid = ANY (:iccids::text[])
""")


async def cards(tx: Tx, iccids: Sequence[str]) -> dict[str, Card]:
    """Cards by serial number."""
    return {row[0]: Card(*row) for row in await tx.rows(CARDS, iccids=list(iccids))}


KEYS = Statement("""
    -- Sealed keys of some cards, for the network's authentication centre only
    SELECT iccid, keys_sealed FROM cards_card WHERE iccid = ANY (:iccids::text[])
""")


async def keys_for_network(tx: Tx, vault: Vault, iccids: Sequence[str]) -> dict[str, tuple[bytes, bytes]]:
    """K and OPc (16 bytes each, TS 35.206) by serial number. The only way out; no door leads a person here."""
    opened = {
        iccid: vault.unseal(KIND, iccid, bytes(sealed)) for iccid, sealed in await tx.rows(KEYS, iccids=list(iccids))
    }
    return {iccid: (keys[:16], keys[16:]) for iccid, keys in opened.items()}


CARD_FOR_ACTIVATION = Statement("""
    -- The card that is to be switched on, held so that two people cannot switch it on for two numbers
    SELECT iccid, imsi, kind, status, subscriber_id, batch FROM cards_card WHERE iccid = :iccid::text FOR UPDATE
""")

USE_CARDS = Statement("""
    -- These cards now serve these subscribers
    UPDATE cards_card AS card
       SET status = 'in_use', subscriber_id = asked.subscriber
      FROM unnest(:iccids::text[], :subscribers::text[]) AS asked (iccid, subscriber)
     WHERE card.iccid = asked.iccid AND card.status = 'stock'
""")


async def put_to_use(tx: Tx, asked: Sequence[tuple[Subscriber, datetime]], now: datetime) -> list[Subscriber]:
    """Switches on subscribers who got their card with a number in it, each until its own moment."""
    on = await switch_on(tx, asked, now)
    await tx.run(
        USE_CARDS, iccids=[subscriber.iccid for subscriber in on], subscribers=[subscriber.id for subscriber in on]
    )
    return on


async def activate(
    tx: Tx,
    world: World,
    vault: Vault,
    iccid: str,
    msisdn: Msisdn,
    *,
    days: int = FIRST_DAYS,
    network: str = "demo",
    currency: str = "CNY",
) -> Subscriber:
    """Switches a card on for a number, from afar; asking again for the same pair answers the same subscriber.

    Raises NotFound (no such card), CannotHappen (lost, replaced, or in use for another number), NumberTaken.
    """
    now = world.db_now()
    row = await tx.row(CARD_FOR_ACTIVATION, iccid=iccid)
    if row is None:
        raise NotFound("There is no card with this serial number in stock.")
    card = Card(*row)
    if card.status not in ("stock", "in_use"):
        raise CannotHappen(f"This card is {card.status}; take another one.")
    (number,) = await remember(tx, vault, [msisdn], now)
    if card.subscriber_id is None:
        cell = cell_of(number)
        subscriber = Subscriber(world.new_id("su", cell), cell, number, "stock", None, currency, network, card.iccid)
        if not await create(tx, [subscriber], now):
            raise NumberTaken("This number already has a card; order a replacement card for it instead.")
    else:
        known = await by_id(tx, cell_of_id(card.subscriber_id), card.subscriber_id)
        if known is None or known.number != number:
            raise CannotHappen("This card belongs to another number.")
        subscriber = known
    (on,) = await put_to_use(tx, [(subscriber, now + timedelta(days=days))], now)
    return on


@dataclass(frozen=True, slots=True)
class NewCard:
    """A card of a delivery: checked, but not yet in stock. `k` and `opc` never show in a trace-back."""

    iccid: str
    imsi: str
    kind: str
    keys: "Keys"
    msisdn: Msisdn | None = None


class Keys:
    """K and OPc on their way into the vault."""

    __slots__ = ("_plain",)

    def __init__(self, k: bytes, opc: bytes) -> None:
        self._plain = k + opc

    def seal(self, vault: Vault, iccid: str) -> bytes:
        """Sealed for one card."""
        return vault.seal(KIND, iccid, self._plain)

    def __repr__(self) -> str:
        return "Keys(…)"


EXISTING = Statement("""
    -- Cards that hold one of these serial numbers or identities
    SELECT iccid, imsi FROM cards_card WHERE iccid = ANY (:iccids::text[]) OR imsi = ANY (:imsis::text[])
""")

ADD = Statement("""
    -- Cards into stock
    INSERT INTO cards_card (iccid, imsi, kind, keys_sealed, status, subscriber_id, batch, imported_at)
    SELECT iccid, imsi, kind, keys_sealed, 'stock', subscriber, :batch::text, :now::timestamptz
      FROM unnest(:iccids::text[], :imsis::text[], :kinds::text[], :keys::bytea[], :subscribers::text[])
           AS new (iccid, imsi, kind, keys_sealed, subscriber)
     ORDER BY iccid
        ON CONFLICT DO NOTHING
""")

ADDED, ALREADY = "added", "already in stock"


class Collided(CannotHappen):
    """Somebody else brought the same cards or numbers at this very moment; nothing was written, do it again."""

    code = "collided"
    retryable = True


async def add_cards(
    tx: Tx,
    world: World,
    vault: Vault,
    rows: Sequence[NewCard],
    *,
    batch: str,
    network: str = "demo",
    currency: str = "CNY",
) -> list[str]:
    """Puts cards into stock, with a subscriber in stock for each that brings a number; one answer per row.

    ADDED, ALREADY (same serial number and identity: left as it was), or a sentence that says why not. Raises Collided.
    """
    now = world.db_now()
    numbers = await remember(tx, vault, (row.msisdn for row in rows if row.msisdn), now)
    index = {msisdn: number for number, msisdn in numbers.items()}
    taken = set(await by_numbers(tx, list(numbers)))
    existing = await tx.rows(EXISTING, iccids=[row.iccid for row in rows], imsis=[row.imsi for row in rows])
    imsi_of: dict[str, str] = dict(existing)
    imsis = set(imsi_of.values())
    answers, new, subscribers = [], [], []
    for row in rows:
        number = index[row.msisdn] if row.msisdn else None
        if row.iccid in imsi_of:
            same = imsi_of[row.iccid] == row.imsi
            answers.append(ALREADY if same else "Another card in stock has this serial number (ICCID).")
            continue
        if row.imsi in imsis:
            answers.append("Another card in stock has this identity (IMSI).")
            continue
        if number in taken:
            answers.append("Another subscriber has this number.")
            continue
        subscriber = None
        if number is not None:
            cell = cell_of(number)
            subscriber = Subscriber(world.new_id("su", cell), cell, number, "stock", None, currency, network, row.iccid)
            subscribers.append(subscriber)
            taken.add(number)
        imsi_of[row.iccid] = row.imsi
        imsis.add(row.imsi)
        new.append((row, subscriber.id if subscriber else None))
        answers.append(ADDED)
    created = await create(tx, subscribers, now)
    added = await tx.run(
        ADD,
        iccids=[row.iccid for row, _ in new],
        imsis=[row.imsi for row, _ in new],
        kinds=[row.kind for row, _ in new],
        keys=[row.keys.seal(vault, row.iccid) for row, _ in new],
        subscribers=[subscriber_id for _, subscriber_id in new],
        batch=batch,
        now=now,
    )
    if len(created) < len(subscribers) or added < len(new):
        raise Collided("The same cards are being imported by somebody else; import the file again.")
    return answers
