"""A voucher on its way into an order: found by its PIN, held, given once, and told in words why it cannot be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from refill.db import Statement, Tx
from refill.errors import BadInput, CannotHappen, OtherContent, RefillError
from refill.ids import cell_of
from refill.money import Money
from refill.vault import Vault
from refill.vouchers.pins import Pin, pin
from refill.world import World


class WrongPin(BadInput):
    """No voucher has this PIN."""

    code = "wrong_pin"


class VoucherUsed(CannotHappen):
    """This voucher was used for something else."""

    code = "voucher_used"


class VoucherNotValid(CannotHappen):
    """This voucher was not sold yet, was withdrawn, or its time is over; `reason` is a word for doors."""

    code = "voucher_not_valid"

    def __init__(self, reason: Literal["not_sold", "expired", "withdrawn"], says: str, voucher: "Voucher") -> None:
        self.reason, self.voucher = reason, voucher
        super().__init__(says)


@dataclass(frozen=True, slots=True)
class Voucher:
    """A voucher whose row we hold; `spent_on` is the order that it was used for."""

    serial: str
    kind: str  # scratch: from a printed batch; others as `issue` was told
    value: Money
    state: str  # stock | active | redeemed | expired | void
    expires_at: datetime
    spent_on: str | None
    digest: str = field(repr=False)


def liability(currency: str) -> str:
    """The account of what we owe to the holders of vouchers."""
    return f"voucher:liability/{currency}"


def refusal(voucher: Voucher | None, now: datetime) -> RefillError | None:
    """Why this voucher pays nothing now; None when it does."""
    if voucher is None:
        return WrongPin("There is no voucher with this PIN; compare it with the card, digit by digit.")
    if voucher.state == "redeemed":
        return VoucherUsed("This voucher was used before.")
    if voucher.state == "stock":
        says = "This voucher was not switched on when it was sold; take it back to the shop."
        return VoucherNotValid("not_sold", says, voucher)
    if voucher.state == "expired" or (voucher.state == "active" and voucher.expires_at <= now):
        return VoucherNotValid("expired", f"This voucher was good until {voucher.expires_at:%Y-%m-%d}.", voucher)
    if voucher.state == "void":
        return VoucherNotValid("withdrawn", "This voucher was withdrawn; ask the shop that sold it.", voucher)
    return None


HOLD = Statement("""
    -- Vouchers by the hash of their PIN, held in the order in which they are named
    SELECT v.pin, v.serial, v.kind, v.minor, v.currency, v.state, v.expires_at, v.spent_on
      FROM unnest(:cells::smallint[], :pins::uuid[]) WITH ORDINALITY AS asked (cell, pin, n)
      JOIN vouchers_voucher v ON v.cell = asked.cell AND v.pin = asked.pin
     ORDER BY asked.n
       FOR UPDATE OF v
""")


async def hold(tx: Tx, vault: Vault, pins: Iterable[Pin]) -> dict[Pin, Voucher]:
    """Locks vouchers by their PINs, in one order for everybody; a PIN that no voucher has is left out."""
    by_digest = {one.digest(vault): one for one in pins}
    ordered = sorted((cell_of(digest), digest) for digest in by_digest)
    if not ordered:
        return {}
    rows = await tx.rows(HOLD, cells=[cell for cell, _ in ordered], pins=[digest for _, digest in ordered])
    return {
        by_digest[digest.hex]: Voucher(serial, kind, Money(minor, currency), state, expires_at, spent_on, digest.hex)
        for digest, serial, kind, minor, currency, state, expires_at, spent_on in rows
    }


SPEND = Statement("""
    -- Vouchers that we hold are used, each for its order; one that is not active stays as it is
    UPDATE vouchers_voucher v SET state = 'redeemed', spent_on = asked.spent_on, changed_at = :now
      FROM unnest(:cells::smallint[], :pins::uuid[], :orders::text[]) AS asked (cell, pin, spent_on)
     WHERE v.cell = asked.cell AND v.pin = asked.pin AND v.state = 'active'
""")


async def spend(tx: Tx, spent: Sequence[tuple[Voucher, str]], now: datetime) -> None:
    """Uses up vouchers that we hold, each for one order; the caller posts what leaves `liability` in the same transaction.

    Raises CannotHappen when one of them is not active: nothing of the transaction may stand then.
    """
    done = await tx.run(
        SPEND,
        now=now,
        cells=[cell_of(voucher.digest) for voucher, _ in spent],
        pins=[voucher.digest for voucher, _ in spent],
        orders=[order_id for _, order_id in spent],
    )
    if done != len(spent):
        raise CannotHappen("A voucher was used that is not active; nothing was taken.")


ISSUED = Statement("""
    -- What was issued for a source
    SELECT pin, minor, currency FROM vouchers_voucher WHERE serial = :source
""")

ISSUE = Statement("""
    -- One voucher that can be used at once
    INSERT INTO vouchers_voucher (cell, pin, serial, kind, minor, currency, state, expires_at, changed_at)
    VALUES (:cell, :pin::text::uuid, :source, :kind, :minor, :currency, 'active', :expires, :now) ON CONFLICT DO NOTHING
""")


async def issue(
    tx: Tx, world: World, vault: Vault, *, value: Money, kind: str, source: str, expires_at: datetime, code: str
) -> None:
    """A voucher of `value` for one person, such as the claim code of a refund; asking again for a source changes nothing.

    `code` is the caller's, derived so that it can be told again; we keep its keyed hash. `source` (a refund's id, unique
    for ever) is the voucher's serial. The caller posts the money to `liability` in the same transaction, under a lock that
    keeps a source from being issued twice at once. Raises OtherContent, NotAPin.
    """
    digest = pin(code).digest(vault)
    issued = await tx.row(ISSUED, source=source)
    if issued is None:
        written = await tx.run(
            ISSUE,
            cell=cell_of(digest),
            pin=digest,
            source=source,
            kind=kind,
            minor=value.minor,
            currency=value.currency,
            expires=expires_at,
            now=world.db_now(),
        )
        if not written:
            raise OtherContent("Another voucher has this code; derive another one.")
    elif (issued[0].hex, issued[1], issued[2]) != (digest, value.minor, value.currency):
        raise OtherContent("Another voucher was issued for this before.")
