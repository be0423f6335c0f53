"""A client that never stops asking: runs in a pod of the serving image until /tmp/stop exists, then prints a summary.

    python3 load.py URL [connections] [pause between the requests of a connection, seconds]

Every answer that is not 200, and every connection that breaks, counts as failed. Connections are kept alive as long
as the server lets them.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp

STOP = Path("/tmp/stop")


async def ask(session: aiohttp.ClientSession, url: str, pause: float, counts: dict[str, Counter[str]]) -> None:
    while not STOP.exists():
        started = time.perf_counter()
        try:
            async with session.get(url) as response:
                await response.read()
                outcome = str(response.status)
                counts["versions"][response.headers.get("x-modelyard-version", "?")] += 1
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            outcome = f"{type(error).__name__}: {error}"[:200]
        counts["outcomes"][outcome] += 1
        counts["milliseconds"][str(round((time.perf_counter() - started) * 1000))] += 1
        await asyncio.sleep(pause)


async def main(url: str, connections: int, pause: float) -> None:
    counts: dict[str, Counter[str]] = {"outcomes": Counter(), "versions": Counter(), "milliseconds": Counter()}
    connector = aiohttp.TCPConnector(limit=connections, ttl_dns_cache=5)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        print("started", flush=True)
        await asyncio.gather(*(ask(session, url, pause, counts) for _ in range(connections)))
    requests = sum(counts["outcomes"].values())
    summary = {
        "requests": requests,
        "failed": requests - counts["outcomes"]["200"],
        "outcomes": counts["outcomes"],
        "versions": counts["versions"],
        "slowest_milliseconds": max(map(int, counts["milliseconds"]), default=0),
    }
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
