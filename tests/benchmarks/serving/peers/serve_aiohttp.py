"""What one writes in twenty lines: aiohttp, uvloop, the interpreter, and nothing else. `serve_aiohttp.py PORT`."""

import json
import sys

import uvloop
from aiohttp import web
from predicting import load

model = load()


async def predict(request: web.Request) -> web.Response:
    columns = json.loads(await request.read())
    return web.Response(body=json.dumps({"click": model(columns)}).encode(), content_type="application/json")


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/predict", predict)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
