"""The demonstration's member of staff, so that the first visitor can sign in to the back office."""

import os
from pathlib import Path

import psycopg

from refill.channels.people.django_settings import configure_once

DEMO = "demo"

# One superuser, once; a password that somebody changed stays changed.
ADD = """
    INSERT INTO people_person (username, password, is_superuser, is_staff, is_active, first_name, last_name, email, date_joined)
    VALUES (%s, %s, true, true, true, '', '', '', %s)
    ON CONFLICT (username) DO NOTHING
"""


def ensure_staff(dsn: str, folder: Path) -> str:
    """Puts `demo` in place and returns its password, which is kept in `folder` and made on the first start."""
    path = folder / "demo-staff.password"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(_readable_password())
    password = path.read_text(encoding="ascii").strip()
    add_staff(dsn, DEMO, password)
    return password


def add_staff(dsn: str, username: str, password: str) -> None:
    """A member of staff who may do everything; one who is there already is left alone."""
    configure_once(dsn)
    from django.contrib.auth.hashers import make_password
    from django.utils import timezone

    with psycopg.connect(dsn, application_name="refill staff") as connection:
        if connection.execute("SELECT 1 FROM people_person WHERE username = %s", [username]).fetchone() is None:
            connection.execute(ADD, [username, make_password(password), timezone.now()])


def _readable_password() -> str:
    """Three groups that can be read out: 75 bits."""
    from refill.ids import base32

    text = base32(int.from_bytes(os.urandom(10)), 15)
    return "-".join((text[:5], text[5:10], text[10:]))
