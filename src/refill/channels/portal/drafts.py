"""What a person has entered so far, kept sealed in their session: two tabs are two drafts, and no number is in a URL."""

from dataclasses import asdict, dataclass, replace

from django.contrib.sessions.backends.base import SessionBase
from django.utils.crypto import get_random_string

from refill.channels.people.sealed import Stale, seal, unseal
from refill.channels.portal.countries import HOME

KEPT_DRAFTS = 8
KEPT_NUMBERS = 4
DRAFT_AGE_S = 24 * 3600
NUMBER_AGE_S = 30 * 86400


@dataclass(frozen=True, slots=True)
class Draft:
    """One tab's form. `token` is the sealed wish of its confirm page, made once."""

    id: str
    typed: str = ""
    operator: str = ""
    product: str = ""
    face: str = ""
    token: str = ""
    country: str = HOME

    def changed(self, **fields: str) -> "Draft":
        """With other fields; another wish needs another token."""
        new = replace(self, **fields)
        return new if "token" in fields or new == self else replace(new, token="")


def new() -> Draft:
    return Draft(get_random_string(12))


def keep(session: SessionBase, draft: Draft) -> None:
    """Remembers a draft; the oldest falls out."""
    kept = {id_: text for id_, text in session.get("drafts", {}).items() if id_ != draft.id}
    kept[draft.id] = seal(asdict(draft), "draft")
    session["drafts"] = dict(list(kept.items())[-KEPT_DRAFTS:])


def find(session: SessionBase, id_: str) -> Draft | None:
    """The draft of this session with that id, if it is not too old."""
    text = session.get("drafts", {}).get(id_)
    try:
        return Draft(**unseal(text, "draft", max_age_s=DRAFT_AGE_S)) if text else None
    except Stale:
        return None


def guest(session: SessionBase) -> str:
    """The name of this browser session as a payer; made when it first places an order."""
    if "guest" not in session:
        session["guest"] = get_random_string(22)
    return session["guest"]


def remember_number(session: SessionBase, digits: str) -> None:
    """Puts a number first among this session's recent ones."""
    others = [text for text in session.get("recent", []) if _digits(text) not in (digits, None)]
    session["recent"] = [seal({"number": digits}, "recent"), *others][:KEPT_NUMBERS]


def recent_numbers(session: SessionBase) -> list[str]:
    """The digits of this session's recent numbers, newest first."""
    return [digits for text in session.get("recent", []) if (digits := _digits(text))]


def forget_numbers(session: SessionBase) -> None:
    session.pop("recent", None)


def _digits(text: str) -> str | None:
    try:
        return unseal(text, "recent", max_age_s=NUMBER_AGE_S)["number"]
    except Stale:
        return None
