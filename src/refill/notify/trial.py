"""Trying an endpoint: one signed event that says nothing, sent at once, and what was answered."""

import msgspec

from refill.db import Database
from refill.ids import cell_of
from refill.notify import endpoints
from refill.notify.courier import Note, body_of
from refill.notify.sender import Letter, Receipt
from refill.notify.webhook import TEST, Webhook
from refill.vault import Vault
from refill.world import World


class Trial(msgspec.Struct):
    """The data of `webhook.test`."""

    endpoint: str


async def trial(world: World, db: Database, vault: Vault, partner: str, endpoint_id: str) -> tuple[str, Receipt]:
    """Sends `webhook.test`, also to a disabled endpoint; (its id, what came back). Raises NotFound. Keeps nothing."""
    now = world.db_now()
    await db.transaction(lambda tx: endpoints.endpoint(tx, partner, endpoint_id))
    places = await db.transaction(lambda tx: endpoints.addresses(tx, vault, [endpoint_id], now))
    url, secrets = places[endpoint_id]
    id_ = world.new_id("te", cell_of(partner))
    body = body_of(Note(0, endpoint_id, 0, TEST, now, ""), msgspec.json.encode(Trial(endpoint_id)))
    return id_, await Webhook().send(world, Letter(id_, url, body, secrets))
