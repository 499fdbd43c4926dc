"""Refusals as problem+json (RFC 9457): a stable code, a sentence, whether to try again, and how certain we are."""

import re
import traceback

import msgspec

from refill.errors import RefillError

CONTENT_TYPE = b"application/problem+json"
_LONG_NUMBER = re.compile(r"\d{7,}")  # \d on purpose: a number in the digits of another script is a number too
_FIRST_SENTENCE = re.compile(r"[^.;]*")


class Problem(msgspec.Struct):
    """`certainty` is `final` when nothing happened for sure, `unknown` when only asking again, with the same key, tells.

    `type` is the address of a page here that says what happened and what to do next.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    certainty: str


def problem_of(error: RefillError) -> Problem:
    """The error as its client reads it; a long run of digits never gets in, whoever typed it into whatever field."""
    unknown = "unknown" if error.status >= 500 else "final"
    return Problem(
        type=f"/problems/{error.code}",
        title=title_of(type(error)),
        status=error.status,
        detail=without_numbers(str(error)),
        code=error.code,
        retryable=error.retryable,
        certainty=getattr(error, "certainty", unknown),
    )


def without_numbers(sentence: str) -> str:
    """A sentence without any long run of digits, whoever typed it into whatever field."""
    return _LONG_NUMBER.sub("…", sentence)


def headers_of(error: RefillError) -> dict[str, str]:
    """The headers that belong to a refusal: when to come back, and how to sign in."""
    headers = dict(getattr(error, "headers", {}))
    if error.status in (429, 503):
        headers.setdefault("Retry-After", "1")
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return headers


def where(error: BaseException) -> str:
    """What a log may say of an unexpected error: its type and the lines of code, never its text, which may hold data."""
    lines = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__qualname__}\n{lines}"


_titles: dict[type[RefillError], str] = {}


def title_of(kind: type[RefillError]) -> str:
    """The first sentence of what a class of refusals says of itself."""
    if kind not in _titles:
        match = _FIRST_SENTENCE.match(kind.__doc__ or kind.code)
        _titles[kind] = match[0].strip() if match else kind.code
    return _titles[kind]
