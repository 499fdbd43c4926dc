"""Is it alive, is it ready, how is it doing: for load balancers and for Prometheus."""

import asyncio
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from refill.accounts import KeyRing
from refill.channels.machines.batcher import Batcher
from refill.channels.machines.keys import needs, partner_of
from refill.channels.partner_api.topups import TopUps
from refill.db import Statement, Tx
from refill.errors import Busy
from refill.topup.trade import Trade

PATIENCE_S = 2.0

ANSWER = Statement("""
    -- Does the database answer?
    SELECT 1
""")


class Queues(Collector):
    """The batchers' own counts, read when somebody looks: counting costs the hot path nothing."""

    def __init__(self, topups: TopUps) -> None:
        self._batchers: dict[str, Batcher] = {"single": topups.singles, "bulk": topups.bulks}

    def collect(self) -> Iterable[Metric]:
        """Rows and batches applied, rows waiting, refused and poisoned, by route."""
        waiting = GaugeMetricFamily("refill_topups_waiting", "Top-ups accepted, not yet in a batch", labels=["route"])
        families = {
            "rows": CounterMetricFamily("refill_topups_applied", "Top-ups that went into a batch", labels=["route"]),
            "batches": CounterMetricFamily("refill_batches", "Batches applied", labels=["route"]),
            "refused": CounterMetricFamily("refill_topups_overload", "Top-ups refused: queue full", labels=["route"]),
            "poisoned": CounterMetricFamily("refill_topups_poisoned", "Top-ups that broke a batch", labels=["route"]),
        }
        for route, batcher in self._batchers.items():
            waiting.add_metric([route], batcher.waiting)
            for name, family in families.items():
                family.add_metric([route], getattr(batcher, name))
        return [waiting, *families.values()]


def health_routes(trade: Trade, keyring: KeyRing, topups: TopUps) -> list[BaseRoute]:
    """GET /healthz, /readyz, /metrics."""
    registry = CollectorRegistry()
    registry.register(Queues(topups))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        async def ask(tx: Tx) -> None:
            await tx.row(ANSWER)

        try:
            await asyncio.wait_for(trade.db.transaction(ask), PATIENCE_S)
        except Exception:
            raise Busy("The database does not answer.") from None
        return PlainTextResponse("ready\n")

    async def metrics(request: Request) -> Response:
        # What we sell is nobody's business: this machine's own collector, or a key that was given the right.
        direct = request.client is not None and request.client.host in ("127.0.0.1", "::1")
        if not direct or "x-forwarded-for" in request.headers or "forwarded" in request.headers:
            needs(await partner_of(keyring, request.headers.get("authorization")), "metrics")
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
