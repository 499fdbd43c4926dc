"""Which addresses we call when a stranger chose them: public ones over TLS, and nothing of our own neighbourhood."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from refill.errors import BadInput

LONGEST = 500

# IANA's registries of special-purpose addresses (RFC 6890 and what was added): everything in them that is not plain
# public unicast. Clouds' metadata services live in them too: 169.254.169.254, 100.100.100.200, fd00:ec2::254.
_NOT_PUBLIC_V4 = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
]
# Of IPv6 only 2000::/3 is public unicast, so loopback, link-local, private, multicast, v4-mapped (::ffff:0:0/96) and
# NAT64 (64:ff9b::/96) are out by themselves; within it Teredo, 6to4 and documentation lead elsewhere or nowhere.
_PUBLIC_V6 = ip_network("2000::/3")
_NOT_PUBLIC_V6 = [
    ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]


class WrongUrl(BadInput):
    """This is not an address that we may call; use an https address that everybody can reach."""

    code = "url_not_allowed"


def is_public(address: str) -> bool:
    """Is this numeric address one that anybody may reach? False for whatever is not an address at all."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    match found:
        case IPv4Address():
            return not any(found in network for network in _NOT_PUBLIC_V4)
        case IPv6Address():
            return found in _PUBLIC_V6 and not any(found in network for network in _NOT_PUBLIC_V6)


def place(host: str, port: int) -> str:
    """How a place of our own network is written in the setting that allows it: `10.0.0.5:8443`, `[fd00::5]:443`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def callable_url(typed: str, allowed: Collection[str] = ()) -> str:
    """The address as we keep it. `allowed` are places of our own network that may be called all the same, also by http.

    Raises WrongUrl. A name is not looked up here: it is looked up, and looked at, whenever we connect.
    """
    if not 0 < len(typed) <= LONGEST or not typed.isascii() or not typed.isprintable() or " " in typed or "\\" in typed:
        raise WrongUrl(f"An address has up to {LONGEST} visible ASCII characters; write a foreign name as xn--….")
    try:
        parts = urlsplit(typed)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise WrongUrl("This is not an address such as https://shop.example/refill.") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise WrongUrl("This is not an address such as https://shop.example/refill.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise WrongUrl("Leave the name, the password and the fragment out of the address.")
    if place(host, port or (443 if parts.scheme == "https" else 80)) in allowed:
        return typed
    if parts.scheme != "https":
        raise WrongUrl("The address must begin with https://, so that nobody reads what we send.")
    if _numeric(host) and not is_public(host):
        raise WrongUrl("This address belongs to a private network, which cannot be reached from here.")
    if not _numeric(host) and (
        "." not in host.rstrip(".") or _LOCAL.intersection([host.rstrip(".").rpartition(".")[2]])
    ):
        raise WrongUrl("This name belongs to a private network; use one that everybody can look up.")
    return typed


_LOCAL = {"localhost", "local", "internal", "localdomain", "home", "lan", "intranet", "arpa", "onion"}


def _numeric(host: str) -> bool:
    """Is it an address rather than a name? `0x7f.1` and `2130706433` are addresses to some libraries."""
    last = host.rstrip(".").rpartition(".")[2]
    return ":" in host or last.isdigit() or last.startswith("0x")
