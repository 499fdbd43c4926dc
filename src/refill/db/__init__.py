"""PostgreSQL, the only database: statements, transactions, and an embedded server of our own."""

from refill.db.pool import Database, Pool, Row, Tx, unsafe_settings
from refill.db.statement import Statement, array

__all__ = ["Database", "Pool", "Row", "Statement", "Tx", "array", "unsafe_settings"]
