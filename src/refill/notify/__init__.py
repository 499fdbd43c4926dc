"""Telling partners what happened: an outbox beside every change, and senders that deliver it, in order, at least once."""

from refill.notify.courier import Courier, Note, Render
from refill.notify.endpoints import (
    Endpoint,
    EndpointExists,
    TooManyEndpoints,
    addresses,
    change,
    create,
    delete,
    endpoint,
    every,
    find,
    of_partner,
    rotate,
)
from refill.notify.floats import Low
from refill.notify.floats import watch as watch_floats
from refill.notify.log import REPLAYED_AT_ONCE, Delivery, Try, deliveries, delivery, forget, replay, replay_span, tries
from refill.notify.outbox import REFRESH, Listeners, Told, event_id, tell
from refill.notify.sender import Letter, Receipt, Sender
from refill.notify.trial import Trial, trial
from refill.notify.webhook import EVENTS, TEST, Webhook

__all__ = [
    "EVENTS",
    "REFRESH",
    "REPLAYED_AT_ONCE",
    "TEST",
    "Courier",
    "Delivery",
    "Endpoint",
    "EndpointExists",
    "Letter",
    "Listeners",
    "Low",
    "Note",
    "Receipt",
    "Render",
    "Sender",
    "Told",
    "TooManyEndpoints",
    "Trial",
    "Try",
    "Webhook",
    "addresses",
    "change",
    "create",
    "delete",
    "deliveries",
    "delivery",
    "endpoint",
    "event_id",
    "every",
    "find",
    "forget",
    "of_partner",
    "replay",
    "replay_span",
    "rotate",
    "tell",
    "trial",
    "tries",
    "watch_floats",
]
