"""Top up phones through a Refill server: sync and async, typed, and never twice."""

from refill_client.asking import AsyncClient, Client
from refill_client.errors import NotSigned, RefillClientError, Refused, Unknown
from refill_client.shapes import (
    Balance,
    Bulk,
    BulkRow,
    Day,
    Number,
    Operator,
    Page,
    Problem,
    Product,
    Quote,
    Statement,
    TopUp,
    Transaction,
    Upload,
    Wish,
)
from refill_client.webhooks import Event, verify

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Balance",
    "Bulk",
    "BulkRow",
    "Client",
    "Day",
    "Event",
    "NotSigned",
    "Number",
    "Operator",
    "Page",
    "Problem",
    "Product",
    "Quote",
    "RefillClientError",
    "Refused",
    "Statement",
    "TopUp",
    "Transaction",
    "Unknown",
    "Upload",
    "Wish",
    "verify",
]
