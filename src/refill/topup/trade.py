"""Everything that the life of a top-up needs from outside, gathered once by the composition root."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from refill.catalogue import Catalogue
from refill.db import Database
from refill.ledger import Stripes
from refill.lookups import Asker
from refill.notify import Listeners
from refill.operators import Supplier, Terms
from refill.payments import Method
from refill.topup.arriving import Figures
from refill.topup.limits import Guard
from refill.vault import Vault
from refill.world import World


@dataclass(frozen=True, slots=True)
class Rules:
    """How long things may take."""

    payment_expiry: timedelta = timedelta(minutes=15)
    gateway_grace: timedelta = timedelta(
        seconds=60
    )  # clocks differ: a charge is surely over this long after its expiry
    cooling: timedelta = timedelta(0)  # paid, but not sent yet: the payer may still undo it
    send_window: timedelta = timedelta(seconds=10)  # from the commit of an attempt to its first byte
    delivery_deadline: timedelta = timedelta(
        hours=24
    )  # from payment; an outcome unknown then is refunded from suspense
    chase_after_deadline: timedelta = timedelta(days=7)  # how long we go on asking what became of it
    most_attempts: int = 12
    # A claim code is a debt of ours: it lasts as long as one can be claimed (Civil Code of China, art. 188).
    claim_lasts: timedelta = timedelta(days=3 * 365)


@dataclass(slots=True)
class Shelf:
    """What is on sale, replaced as a whole when it changes."""

    catalogue: Catalogue


@dataclass(frozen=True, slots=True)
class Trade:
    """The engine's surroundings: ports, shelves and rules."""

    world: World
    db: Database
    vault: Vault
    shelf: Shelf
    methods: Mapping[str, Method]
    suppliers: Mapping[str, Supplier]
    public_url: str = "http://127.0.0.1:8000"
    rules: Rules = field(default_factory=Rules)
    terms: Mapping[str, Terms] = field(default_factory=dict)  # what is agreed with each supplier beside its wire
    arriving: Figures = field(default_factory=Figures)  # when credit may be expected
    stripes: Stripes = field(default_factory=Stripes)
    guard: Guard = field(default_factory=Guard)
    lookups: Asker = field(default_factory=Asker)
    listeners: Listeners = field(default_factory=Listeners)
    allowed_places: frozenset[str] = frozenset()  # of our own network, where partners may listen all the same
