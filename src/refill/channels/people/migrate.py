"""Brings the database's tables to the state that this program knows, once, whoever starts first."""

from importlib.util import find_spec
from pathlib import Path

import psycopg

from refill.channels.people.django_settings import DJANGOS, OURS, UNSIGNED, configure
from refill.errors import RefillError

LOCK = 0x7265_6669_6C6C  # "refill": nobody else's advisory lock


class SchemaTooNew(RefillError):
    """The database was migrated by a newer program; this one would not understand it."""

    code = "schema_too_new"
    status = 500


def migrate(dsn: str) -> None:
    """Runs what is missing, under an advisory lock; returns at once when nothing is. Raises SchemaTooNew."""
    known = on_disk()
    if _missing(dsn, known):
        # A session's lock on its own connection: it falls with us, whatever kills us.
        with psycopg.connect(dsn, autocommit=True, application_name="refill migrate") as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            if _missing(dsn, known):
                _run(dsn)


def on_disk() -> set[tuple[str, str]]:
    """All (application, migration) that this program brings along; read from folders, nothing is imported."""
    return {
        (name.rpartition(".")[2], file.stem)
        for name in (*DJANGOS, *OURS)
        for folder in _folders(name)
        for file in (folder / "migrations").glob("[0-9]*.py")
    }


def _folders(name: str) -> list[Path]:
    spec = find_spec(name)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def _missing(dsn: str, known: set[tuple[str, str]]) -> set[tuple[str, str]]:
    with psycopg.connect(dsn, autocommit=True, application_name="refill migrate") as connection:
        there = connection.execute("SELECT to_regclass('django_migrations')").fetchone()
        if there is None or there[0] is None:
            return known
        applied = {(app, name) for app, name in connection.execute("SELECT app, name FROM django_migrations")}
    newer = sorted(applied - known)
    if newer:
        app, name = newer[-1]
        raise SchemaTooNew(
            f"This database was made by a newer Refill (it has {app}.{name}); start that version, or restore a backup."
        )
    return known - applied


def _run(dsn: str) -> None:
    configure(dsn, UNSIGNED)
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", interactive=False, verbosity=0)
    connections.close_all()
