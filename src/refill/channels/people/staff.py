"""The demonstration's staff login."""

import os
import secrets
from pathlib import Path

NAME = "demo"


def ensure_staff(dsn: str, folder: Path) -> str:
    """Creates the staff person `demo` once and returns the password, kept in a file that only we can read."""
    from django.contrib.auth import get_user_model

    path = folder / "demo-staff.password"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(12))
    password = path.read_text()
    people = get_user_model().objects
    if not people.filter(username=NAME).exists():
        people.create_superuser(NAME, password=password)
    return password
