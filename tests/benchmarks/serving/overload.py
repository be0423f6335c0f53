"""Overload: requests that come at fixed times, at multiples of what the server can answer, whatever it does.

The generator runs beside the load generators' core and asks through aiohttp's client; a request is sent when its time
has come, on a connection of its own while others wait.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.benchmarks.serving.requests import Request

__all__ = ["Flood", "flood", "recovery"]

_CONNECTIONS = 400


@dataclass
class Flood:
    """What came back of a flood."""

    offered: float
    """Requests a second that were due."""
    seconds: float
    accepted: list[float] = field(default_factory=list)
    """Seconds of each answer with status 200."""
    rejected: list[float] = field(default_factory=list)
    """Seconds of each 429 or 503."""
    failed: int = 0
    status_port: list[float] = field(default_factory=list)
    """Seconds of each answer of the status port meanwhile."""

    def document(self, peak: float, resident: int) -> dict[str, Any]:
        """Return the figures; `peak` is what the server answers a second when it is not flooded."""
        return {
            "offered": self.offered,
            "goodput": len(self.accepted) / self.seconds,
            "of_peak": len(self.accepted) / self.seconds / peak,
            "accepted_p99": _quantile(self.accepted),
            "rejected_p50": statistics.median(self.rejected) if self.rejected else 0.0,
            "rejected_p99": _quantile(self.rejected),
            "status_port_worst": max(self.status_port, default=0.0),
            "failed": self.failed,
            "resident": resident,
        }


def flood(port: int, status: int, request: Request, rate: float, seconds: float) -> Flood:
    """Ask `rate` times a second for so many seconds; the last answers are waited for."""
    return asyncio.run(_flood(port, status, request, rate, seconds))


def recovery(port: int, request: Request, normal: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds until ten requests in a row, one after the other, take at most twice the normal time."""
    return asyncio.run(_recovery(port, request, normal, clock))


async def _flood(port: int, status: int, request: Request, rate: float, seconds: float) -> Flood:
    found = Flood(rate, seconds)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_CONNECTIONS)) as session:
        watching = asyncio.create_task(_watch(session, status, found))
        loop = asyncio.get_running_loop()
        started, asked = loop.time(), []
        for place in range(int(rate * seconds)):
            wait = started + place / rate - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            asked.append(asyncio.create_task(_ask(session, port, request, found)))
        await asyncio.gather(*asked)
        found.seconds = loop.time() - started
        watching.cancel()
    return found


async def _ask(session: aiohttp.ClientSession, port: int, request: Request, found: Flood) -> None:
    started = time.perf_counter()
    try:
        status = await _status(session, f"http://127.0.0.1:{port}{request.path}", request)
    except aiohttp.ClientError:
        status = 0
    taken = time.perf_counter() - started
    if status == 200:
        found.accepted.append(taken)
    elif status in (429, 503):
        found.rejected.append(taken)
    else:
        found.failed += 1


async def _status(session: aiohttp.ClientSession, address: str, request: Request) -> int:
    async with session.request(request.method, address, data=request.body, headers=request.headers) as answer:
        await answer.read()
        return answer.status


async def _watch(session: aiohttp.ClientSession, status: int, found: Flood) -> None:
    while True:
        started = time.perf_counter()
        async with session.get(f"http://127.0.0.1:{status}/readyz") as answer:
            await answer.read()
        found.status_port.append(time.perf_counter() - started)
        await asyncio.sleep(0.02)


async def _recovery(port: int, request: Request, normal: float, clock: Callable[[], float]) -> float:
    began, good = clock(), 0
    async with aiohttp.ClientSession() as session:
        while good < 10:
            started = clock()
            status = await _status(session, f"http://127.0.0.1:{port}{request.path}", request)
            good = good + 1 if status == 200 and clock() - started <= 2 * normal else 0
            if clock() - began > 60:
                raise SystemExit("the server is not back to normal a minute after the flood")
    return clock() - began


def _quantile(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] if values else 0.0
