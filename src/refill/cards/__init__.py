"""Our own network: its SIM cards, its subscribers, how long they are served and what they have."""

from refill.cards.buckets import Bucket, Credit, buckets, credit, open_buckets
from refill.cards.importing import BadFile, LineAnswer, import_cards
from refill.cards.inventory import Card, Keys, NewCard, NumberTaken, activate, add_cards, cards, keys_for_network
from refill.cards.states import Grant, life, validity
from refill.cards.subscribers import (
    Change,
    Extension,
    Shortening,
    Subscriber,
    age,
    balance_account,
    by_id,
    by_numbers,
    create,
    extend,
    shorten,
)

__all__ = [
    "BadFile",
    "Bucket",
    "Card",
    "Change",
    "Credit",
    "Extension",
    "Grant",
    "Keys",
    "LineAnswer",
    "NewCard",
    "NumberTaken",
    "Shortening",
    "Subscriber",
    "activate",
    "add_cards",
    "age",
    "balance_account",
    "buckets",
    "by_id",
    "by_numbers",
    "cards",
    "create",
    "credit",
    "extend",
    "import_cards",
    "keys_for_network",
    "life",
    "open_buckets",
    "shorten",
    "validity",
]
