"""HTML by hand: tags whose children are escaped unless they are tags themselves. For the few pages of machines' doors."""

import re
from html import escape

_CODE = re.compile(r"`([^`]+)`")


class Html(str):
    """Text that is HTML already."""


def tag(name: str, /, *children: str, **attributes: str | bool | None) -> Html:
    """tag("a", "me & you", href="/x") is `<a href="/x">me &amp; you</a>`; a trailing _ is dropped, _ inside becomes -."""
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in ("input", "meta", "link", "br"):
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Children one after the other."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def prose(text: str) -> Html:
    """A sentence whose `words in backticks` are code."""
    parts = _CODE.split(text)
    return join(*(tag("code", part) if n % 2 else part for n, part in enumerate(parts)))
