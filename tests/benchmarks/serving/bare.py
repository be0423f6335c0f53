"""The limit: an aiohttp handler that reads the same body and returns the same bytes. `bare.py PORT FILE-OF-ANSWER`."""

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web


async def main(port: int, answer: bytes) -> None:
    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer, content_type="application/json")

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v2/models/{model}/infer", handle)
    app.router.add_post("/v1/models/{model}:predict", handle)
    app.router.add_get("/v1/models/{model}:predict", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
