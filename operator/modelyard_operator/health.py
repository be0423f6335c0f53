"""Health: /healthz says when the operator is blind or stuck, /readyz whether it does its duty, /metrics counts."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["Vitals", "application", "diagnose"]

#: Two missed resyncs and their repeats.
BLIND_SECONDS = 1200.0
#: A pass asks the API server for some objects, each at most 30 seconds.
STUCK_SECONDS = 300.0
#: A candidate that could not ask for its Lease for so long cannot reach the API server.
SILENT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the operator's health is concluded from; ages in seconds."""

    leading: bool
    """Whether it holds the Lease and has seen every kind once."""
    lease_age: float
    """Since the Lease was last read or renewed."""
    resync_age: float
    longest_pass: float


def diagnose(vitals: Vitals) -> str:
    """Return what is wrong; nothing if all is well."""
    if vitals.lease_age > SILENT_SECONDS:
        return f"no answer about the Lease for {vitals.lease_age:.0f} s: the API server is out of reach"
    if vitals.leading and vitals.resync_age > BLIND_SECONDS:
        return f"blind: the last complete list is {vitals.resync_age:.0f} s old"
    if vitals.leading and vitals.longest_pass > STUCK_SECONDS:
        return f"stuck: a pass has been running for {vitals.longest_pass:.0f} s"
    return ""


def application(
    vitals: Callable[[], Vitals], registry: CollectorRegistry, refresh: Callable[[], None]
) -> web.Application:
    """Return the HTTP application; a standby is ready too, since it stands by."""

    async def healthz(_: web.Request) -> web.Response:
        problem = diagnose(vitals())
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def readyz(_: web.Request) -> web.Response:
        now = vitals()
        problem = diagnose(now)
        told = "leading" if now.leading else "standing by"
        return web.Response(text=problem or told, status=503 if problem else 200)

    async def metrics(_: web.Request) -> web.Response:
        refresh()
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    routes = web.Application()
    routes.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return routes
