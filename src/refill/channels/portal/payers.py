"""Who a person is to a payment firm: asked in the browser of the firm's own app, and kept in their session only."""

from django.contrib.sessions.backends.base import SessionBase
from django.utils.crypto import constant_time_compare, get_random_string, salted_hmac

from refill.channels.people.sealed import Stale, seal, unseal
from refill.channels.portal.drafts import guest

KEPT_S = 30 * 86_400
NONCE = 16  # characters


def known(session: SessionBase, method: str) -> str:
    """Who the person of this session is to the firm of `method`; empty when the firm has not told, or long ago."""
    text = session.get("payers", {}).get(method)
    try:
        return unseal(text, "payer", max_age_s=KEPT_S)["openid"] if text else ""
    except Stale:
        return ""


def remember(session: SessionBase, method: str, openid: str) -> None:
    session["payers"] = {**session.get("payers", {}), method: seal({"openid": openid}, "payer")}


def state(session: SessionBase, order_id: str, method: str) -> str:
    """What the firm must bring back: letters and digits, signed by us and of no use in another session."""
    nonce = get_random_string(NONCE)
    return nonce + _mark(session, order_id, method, nonce)


def holds(session: SessionBase, order_id: str, method: str, state: str) -> bool:
    """Did this session ask for this order and method?"""
    return constant_time_compare(state[NONCE:], _mark(session, order_id, method, state[:NONCE]))


def _mark(session: SessionBase, order_id: str, method: str, nonce: str) -> str:
    asked = f"{guest(session)}:{order_id}:{method}:{nonce}"
    return salted_hmac("payer", asked, algorithm="sha256").hexdigest()
