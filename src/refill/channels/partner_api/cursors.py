"""Cursors: where the last page of a list ended, in letters that nobody needs to understand."""

import base64
import binascii

from refill.errors import BadInput

_LONGEST = 200


def write_cursor(of: str, *place: str) -> str:
    """A cursor into the list `of` behind that place."""
    return base64.urlsafe_b64encode("\n".join((of, *place)).encode()).decode().rstrip("=")


def read_cursor(of: str, cursor: str | None) -> tuple[str, ...]:
    """The place; nothing for the first page. Raises BadInput for a cursor that is none, or of another list."""
    if cursor is None:
        return ()
    try:
        if len(cursor) > _LONGEST:
            raise ValueError
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        text = ""
    name, *place = text.split("\n")
    if name != of or not place:
        raise BadInput("That is no cursor of this list; send the `next` of its last page as it came.")
    return tuple(place)
