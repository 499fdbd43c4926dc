"""Money that we pay into our floats at suppliers: entered by one person, confirmed by another, posted once."""

from dataclasses import dataclass
from datetime import datetime

from refill import ledger
from refill.db import Statement, Tx
from refill.errors import BadInput, CannotHappen, NotAllowed, NotFound
from refill.ledger import Account, Posted
from refill.money import Money
from refill.reconcile.recharges import PREFIX, strangers
from refill.reconcile.settlement import BANK, OPERATOR
from refill.topup import Trade

ENTER = Statement("""
    -- Money that somebody says was paid into a float
    INSERT INTO reconcile_funding (id, supplier, currency, minor, bank, entered_by, entered_at)
    VALUES (:id, :supplier, :currency, :minor, :bank, :who, :at)
""")

FIND = Statement("""
    -- One payment into a float, locked
    SELECT supplier, currency, minor, bank, entered_by, decided_by, confirmed FROM reconcile_funding
     WHERE id = :id FOR UPDATE
""")

DECIDE = Statement("""
    -- Another person saw it too, or says that it never was
    UPDATE reconcile_funding SET decided_by = :who, decided_at = :at, confirmed = :confirmed
     WHERE id = :id AND decided_at IS NULL
""")

LATEST = Statement("""
    -- The latest payments into floats, what waits for a second person first
    SELECT id, supplier, currency, minor, bank, entered_by, entered_at, decided_by, decided_at, confirmed
      FROM reconcile_funding ORDER BY decided_at IS NOT NULL, entered_at DESC LIMIT :most
""")


@dataclass(frozen=True, slots=True)
class Funding:
    """A payment into a float (below zero: the supplier paid it back); `confirmed` None waits for a second person."""

    id: str
    supplier: str
    amount: Money
    bank: str
    entered_by: str
    entered_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    confirmed: bool | None


async def fund(tx: Tx, trade: Trade, supplier: str, amount: Money, who: str, *, bank: str = BANK) -> str:
    """Writes down what was paid into a float; nothing is posted until another person confirms it. Returns its id.

    Raises NotFound (no such supplier), BadInput (nothing was paid).
    """
    if supplier not in strangers(trade):
        raise NotFound("There is no such supplier.")
    if not amount.minor or not who.strip():
        raise BadInput("A payment into a float has an amount, and somebody who enters it.")
    account = f"{PREFIX}{supplier}/{amount.currency}"
    id_ = trade.world.new_id("fu", ledger.cell_of_account(account))
    await tx.run(
        ENTER,
        id=id_,
        supplier=supplier,
        currency=amount.currency,
        minor=amount.minor,
        bank=bank,
        who=who,
        at=trade.world.db_now(),
    )
    return id_


async def confirm_funding(tx: Tx, trade: Trade, id_: str, who: str) -> None:
    """A second person saw it at the bank: debit float, credit bank. A repeat changes nothing.

    Raises NotFound, NotAllowed (who entered it), CannotHappen (it was withdrawn).
    """
    row = await tx.row(FIND, id=id_)
    if row is None:
        raise NotFound("There is no such payment into a float.")
    supplier, currency, minor, bank, entered_by, decided_by, confirmed = row
    if confirmed:
        return
    if decided_by is not None:
        raise CannotHappen("This payment was withdrawn; enter it again.")
    if who == entered_by != OPERATOR:
        raise NotAllowed("Another person must confirm what you entered.")
    float_, ours, now = f"{PREFIX}{supplier}/{currency}", f"bank:{bank}/{currency}", trade.world.db_now()
    await ledger.open_accounts(tx, [Account(float_, None)], now)
    leg = (float_, ours, minor) if minor > 0 else (ours, float_, -minor)
    (posted,) = await ledger.post(tx, [ledger.Entry.of(f"{id_}.funding", leg)], now)
    assert isinstance(posted, Posted), posted
    await tx.run(DECIDE, id=id_, who=who, at=now, confirmed=True)


async def withdraw_funding(tx: Tx, trade: Trade, id_: str, who: str) -> None:
    """It never was, or was written down wrongly; who entered it may say so too. Raises NotFound, CannotHappen (it is posted)."""
    row = await tx.row(FIND, id=id_)
    if row is None:
        raise NotFound("There is no such payment into a float.")
    if row[6]:
        raise CannotHappen("This payment stands in the book; a correction is a payment of its own.")
    if row[5] is None:
        await tx.run(DECIDE, id=id_, who=who, at=trade.world.db_now(), confirmed=False)


async def fundings(tx: Tx, most: int = 50) -> list[Funding]:
    """The latest payments into floats, what waits for a second person first."""
    return [
        Funding(id_, supplier, Money(minor, currency), *rest)
        for id_, supplier, currency, minor, *rest in await tx.rows(LATEST, most=most)
    ]
