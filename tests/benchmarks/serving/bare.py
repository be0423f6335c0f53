"""The limit: a handler that reads the same body and returns the same bytes. `bare.py PORT METHOD PATH FILE-OF-ANSWER`.

Over HTTP it is aiohttp's as anybody would write it for speed: uvloop, a fixed path, no access log, no middleware. For
gRPC (METHOD is `grpc`) it is grpc.aio's, with messages that are never parsed.
"""

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web


async def http(port: int, method: str, path: str, answer: bytes) -> None:
    async def read_and_return(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer, content_type="application/json")

    async def just_return(_: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    app = web.Application(client_max_size=64 << 20)
    app.router.add_route(method, path, just_return if method == "GET" else read_and_return)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


async def remote(port: int, path: str, answer: bytes) -> None:
    import grpc

    async def just_return(_: bytes, __: grpc.aio.ServicerContext) -> bytes:
        return answer

    _, service, method = path.split("/")
    handler = grpc.unary_unary_rpc_method_handler(just_return)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    number, verb, where, file = int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])
    body = file.read_bytes()
    uvloop.run(remote(number, where, body) if verb == "grpc" else http(number, verb, where, body))
