"""A pass: leave to look at one thing for a while. It travels in a URL, so it names no person and opens nothing else."""

import hmac
import re
from datetime import datetime

from refill.errors import NotFound
from refill.vault import Vault

WATCH = "watch"  # to hear when an order moves: `channels/watch.py`

_PASS = re.compile(r"([0-9a-z_]{1,40})\.([0-9a-f]{1,12})\.([0-9a-f]{32})")


def write_pass(vault: Vault, purpose: str, subject: str, until: datetime) -> str:
    """A pass for `subject` (an id in small letters, digits and _) that ends at `until`; good for one purpose only."""
    end = f"{int(until.timestamp()):x}"
    return f"{subject}.{end}.{_signature(vault, purpose, subject, end)}"


def read_pass(vault: Vault, purpose: str, text: str, now: datetime) -> str:
    """The subject of a pass. Raises NotFound for one that we did not write, or whose time is over."""
    found = _PASS.fullmatch(text)
    if found is None:
        raise NotFound("This is no pass of ours.")
    subject, end, signature = found.groups()
    if not hmac.compare_digest(signature, _signature(vault, purpose, subject, end)):
        raise NotFound("This is no pass of ours.")
    if now.timestamp() >= int(end, 16):
        raise NotFound("This pass has run out; open the page again.")
    return subject


def _signature(vault: Vault, purpose: str, subject: str, end: str) -> str:
    return vault.digest("pass", f"{purpose}.{subject}.{end}".encode())
