"""Ray Serve, as its documentation shows it. `serve_ray.py PORT`."""

import signal
import sys
import time
from typing import Any

import ray
from predicting import load
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1)
class Predict:
    def __init__(self) -> None:
        self.model = load()

    async def __call__(self, request: Request) -> Any:
        return {"click": self.model(await request.json())}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Predict.bind(), route_prefix="/predict")
    # its daemons are ended by the exit of the interpreter
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    while True:
        time.sleep(60)
