"""Names of accounts: `role:owner/CUR`, and what each role may do."""

from dataclasses import dataclass
from functools import lru_cache

from refill.errors import NotFound
from refill.ids import cell_of, cell_of_id


@dataclass(frozen=True, slots=True)
class Role:
    """How accounts of a role behave.

    shared: many orders touch it, so it is locked before the accounts of single subscribers.
    floor: the lowest balance of a new account (credit minus debit), None for none.
    on_first_use: opened by the first entry that names it; the others belong to someone and are opened with them.
    """

    shared: bool = True
    floor: int | None = None
    on_first_use: bool = True


ROLES = {
    "bank": Role(),  # our money at the bank
    "clearing": Role(),  # what a payment firm owes us
    "fees": Role(),  # what payment firms keep of it
    "owed": Role(),  # what we owe customers who paid and wait
    "sales": Role(),
    "cost": Role(),
    "discount": Role(),  # face value given below its price, by campaign
    "commission": Role(),  # face value given below its price, by partner
    "fx": Role(),  # what changed from one currency into another: in each, what it took or gave
    "suspense": Role(),  # money that nobody can explain yet, by reason
    "disputes": Role(),  # what a payment firm holds back while a payer's bank decides
    "loss": Role(),  # money that is gone: lost disputes, PINs that expired unsold
    "stock": Role(),  # what PINs of an operator cost us, as long as they lie in our stock
    "breakage": Role(),
    "cash": Role(),
    "voucher": Role(floor=0),  # what we owe to the holders of vouchers: no more is redeemed than was sold
    "wallet": Role(floor=0),  # a payer's balance with us
    "held": Role(floor=0),  # reserved out of a float
    "float": Role(floor=0, on_first_use=False),  # a partner's prepaid money with us, or ours at a supplier
    "balance": Role(shared=False, floor=0, on_first_use=False),  # a subscriber's credit on our own network
    "grant": Role(shared=False, floor=0, on_first_use=False),  # credit that expires by itself
}


@dataclass(frozen=True, slots=True)
class Account:
    """An account to open. `floor_minor` is the lowest balance it may have; None: any (our own money, at a bank or a supplier)."""

    name: str
    floor_minor: int | None = 0


@lru_cache(65536)
def cell_of_account(name: str) -> int:
    """An owner's id carries the cell (all accounts of one subscriber share it); other names are hashed."""
    owner = name[name.index(":") + 1 : name.rindex("/")]
    try:
        return cell_of_id(owner)
    except NotFound:
        return cell_of(name)


def role_of(name: str) -> Role:
    """The rule of an account's role. Raises KeyError for a role that the trade does not know."""
    return ROLES[name[: name.index(":")]]
