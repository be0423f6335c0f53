"""Which door answers a path. One server has one model of one version, so the paths are known and looked up."""

import sys
import traceback
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from modelyard.contract.wire import Header
from modelyard.model.features import FeatureError
from modelyard_server.access import KeyRing
from modelyard_server.asking import Ask, Reply, RequestError
from modelyard_server.core import Core
from modelyard_server.doors.about import AboutDoor
from modelyard_server.doors.documents import reply
from modelyard_server.doors.inference import InferenceDoor
from modelyard_server.doors.query import QueryDoor
from modelyard_server.doors.tensorflow import TensorFlowDoor

__all__ = ["Doors"]

Door = Callable[[Ask], Awaitable[Reply]]


class Doors:
    """All doors of one ready model."""

    def __init__(self, core: Core, clock: Callable[[], float], keys: KeyRing | None = None) -> None:
        self._core = core
        self._clock = clock
        self._keys = keys
        self._version = core.version
        self._routes = _routes(core)

    async def answer(self, ask: Ask) -> Reply:
        """Answer whatever is asked, errors included, and count it."""
        try:
            if self._keys is not None:
                self._keys.check(ask.headers)
            reply_ = await self._door(ask)(ask)
        except (FeatureError, RequestError) as error:
            reply_ = _refusal(error)
        except Exception as error:
            print(f"unexpected {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            traceback.print_exc()
            reply_ = reply({"error": "internal error"}, 500)
        seconds = self._clock() - ask.arrived
        answer = reply_.answer
        reply_.headers[Header.VERSION] = self._version
        if answer is not None:
            rest = seconds - answer.queue - answer.encode - answer.compute
            reply_.headers["Server-Timing"] = (
                f"queue;dur={answer.queue * 1e3:.3f}, encode;dur={answer.encode * 1e3:.3f}, "
                f"compute;dur={answer.compute * 1e3:.3f}, rest;dur={rest * 1e3:.3f}"
            )
        self._core.telling.observe(reply_.status, seconds, answer)
        return reply_

    def turn_away(self) -> Reply | None:
        """Return the refusal of a request whose body need not be read, since the queue is full; count it."""
        error = self._core.computing.gate.full()
        if error is None:
            return None
        refused = _refusal(error)
        refused.headers[Header.VERSION] = self._version
        self._core.telling.observe(refused.status, 0.0, None)
        return refused

    def _door(self, ask: Ask) -> Door:
        methods = self._routes.get(ask.path)
        if methods is None:
            methods = self._routes.get(unquote(ask.path))
            if methods is None:
                raise RequestError(self._explain(unquote(ask.path)), 404)
        door = methods.get("GET" if ask.method == "HEAD" else ask.method)
        if door is None:
            allowed = ", ".join(methods)
            raise RequestError(f"{ask.method} is not answered here, only {allowed}", 405, {"Allow": allowed})
        return door

    def _explain(self, path: str) -> str:
        """Say why there is nothing at a path, in TensorFlow Serving's words where it has some."""
        parts = path.split("/")
        if len(parts) < 4 or parts[1] not in ("v1", "v2") or parts[2] != "models":
            return f"there is nothing at {path[:200]}; /openapi.json lists what there is"
        name = parts[3].partition(":")[0]
        if name != self._core.name:
            return f"Servable not found for request: Latest({name[:200]})"
        if len(parts) > 5 and parts[4] in ("versions", "labels"):
            version = parts[5].partition(":")[0]
            if version != self._version:
                return f"Servable not found for request: Specific({name}, {version[:200]})"
        return f"there is nothing at {path[:200]}; /openapi.json lists what there is"


def _routes(core: Core) -> dict[str, dict[str, Door]]:
    """Return the door of every path and method."""
    query, tensorflow, inference, about = QueryDoor(core), TensorFlowDoor(core), InferenceDoor(core), AboutDoor(core)
    routes: dict[str, dict[str, Door]] = {
        "/": {"GET": about.page},
        "/openapi.json": {"GET": about.document},
        "/distributions.json": {"GET": about.distributions},
        "/v2": {"GET": inference.server},
        "/v2/health/live": {"GET": inference.live},
        "/v2/health/ready": {"GET": inference.ready},
        "/v2/models": {"GET": inference.models},
    }
    base = f"/v1/models/{core.name}"
    for prefix in (base, f"{base}/versions/{core.version}", f"{base}/labels/latest"):
        routes |= {
            prefix: {"GET": tensorflow.status},
            f"{prefix}/metadata": {"GET": tensorflow.metadata},
            f"{prefix}:predict": {"GET": query.predict, "POST": tensorflow.predict},
            f"{prefix}:classify": {"POST": tensorflow.classify},
            f"{prefix}:regress": {"POST": tensorflow.regress},
        }
    base = f"/v2/models/{core.name}"
    for prefix in (base, f"{base}/versions/{core.version}"):
        routes |= {
            prefix: {"GET": inference.metadata},
            f"{prefix}/ready": {"GET": inference.ready},
            f"{prefix}/infer": {"POST": inference.infer},
        }
    return routes


def _refusal(error: FeatureError | RequestError) -> Reply:
    refused = reply({"error": str(error)}, error.status if isinstance(error, RequestError) else 400)
    if isinstance(error, RequestError):
        refused.headers = dict(error.headers)
    return refused
