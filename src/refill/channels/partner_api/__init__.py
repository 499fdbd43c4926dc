"""Our own HTTP API: platforms sell top-ups from a prepaid float, one at a time or a thousand."""

from refill.channels.partner_api.app import create_app

__all__ = ["create_app"]
