"""How often one person may try something, counted in the database so that all processes count together."""

from hashlib import blake2b

from django.db import connection
from django.http import HttpRequest

from refill.channels.people import bridge
from refill.errors import RefillError

# One more of this key in this span; spans long past are thrown away by the same statement.
COUNT = """
    WITH old AS (DELETE FROM people_tally WHERE key = %(key)s AND since < %(since)s)
    INSERT INTO people_tally (key, since, count) VALUES (%(key)s, %(since)s, 1)
    ON CONFLICT (key, since) DO UPDATE SET count = people_tally.count + 1
    RETURNING count
"""


class TooOften(RefillError):
    """This was tried more often than a person does; it may be tried again after a pause."""

    code = "too_often"
    status = 429
    retryable = True


def count(what: str, who: str, *, at_most: int, per_s: int) -> None:
    """Counts one try. Raises TooOften above `at_most` in the current span of `per_s` seconds."""
    now = int(bridge.trade().world.now().timestamp())
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"key": _key(what, who), "since": now - now % per_s})
        (tries,) = cursor.fetchone()
    if tries > at_most:
        raise TooOften("That was tried very often; wait a few minutes and try again.")


def forgive(what: str, who: str) -> None:
    """Begins to count anew: the try succeeded."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM people_tally WHERE key = %s", [_key(what, who)])


def _key(what: str, who: str) -> str:
    """An address or a name is never kept in clear."""
    return f"{what}:{blake2b(who.encode(errors='replace'), digest_size=16).hexdigest()}"


def address(request: HttpRequest) -> str:
    """Where the request comes from, as the server in front tells it."""
    return request.META.get("REMOTE_ADDR", "") or "unknown"
