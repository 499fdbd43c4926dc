"""PostgreSQL, the only database: statements, transactions, and an embedded server of our own."""

from refill.db.backwards import backwards, look_back
from refill.db.pool import Database, Pool, Tx, unsafe_settings
from refill.db.statement import Statement, array
from refill.db.talk import Asked, Row

__all__ = ["Asked", "Database", "Pool", "Row", "Statement", "Tx", "array", "backwards", "look_back", "unsafe_settings"]
