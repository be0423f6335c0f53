"""The doors: HTTP in front of the core. Each handler translates and delegates, nothing else."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from modelyard.model.features import FeatureError
from modelyard_server import wording
from modelyard_server.core import Answer, Core, RequestError
from modelyard_server.telling import Telling

__all__ = ["Doors"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


class Doors:
    """Routes of a ready model."""

    def __init__(self, core: Core, telling: Telling, largest_body: int) -> None:
        self._core = core
        self._telling = telling
        self._largest_body = largest_body
        self.draining = False

    def application(self) -> web.Application:
        """Return the application of the serving port."""
        app = web.Application(client_max_size=self._largest_body, middlewares=[self._middleware])
        v1, v2 = "/v1/models/{model}", "/v2/models/{model}"
        for prefix in (v1, v1 + "/versions/{version}"):
            app.router.add_get(prefix + ":predict", self._predict_query)
            app.router.add_post(prefix + ":predict", self._predict)
            app.router.add_get(prefix + "/metadata", self._metadata_v1)
            app.router.add_get(prefix, self._status_v1)
        for prefix in (v2, v2 + "/versions/{version}"):
            app.router.add_get(prefix, self._metadata_v2)
            app.router.add_get(prefix + "/ready", self._empty)
            app.router.add_post(prefix + "/infer", self._infer)
        app.router.add_get("/v2", self._server_v2)
        app.router.add_get("/v2/health/live", self._empty)
        app.router.add_get("/v2/health/ready", self._empty)
        return app

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count every request, turn errors into answers, and close connections while draining."""
        started = time.perf_counter()
        try:
            self._check_model(request)
            response = await handler(request)
        except (FeatureError, RequestError) as error:
            status = error.status if isinstance(error, RequestError) else 400
            response = _json({"error": str(error)}, status)
        except web.HTTPRequestEntityTooLarge:
            response = _json({"error": f"the body is larger than {self._largest_body} bytes"}, 413)
        except web.HTTPException as error:
            response = _json({"error": error.reason}, error.status)
        except Exception as error:
            print(f"unexpected {type(error).__name__}: {error}", flush=True)
            response = _json({"error": "internal error"}, 500)
        response.headers["x-modelyard-version"] = self._core.version
        if self.draining:
            response.force_close()
            response.headers["Connection"] = "close"
        self._telling.observe(response.status, time.perf_counter() - started)
        return response

    def _check_model(self, request: web.Request) -> None:
        name, version = request.match_info.get("model"), request.match_info.get("version")
        if name is not None and name != self._core.name:
            raise RequestError(f"Servable not found for request: Latest({name})", 404)
        if version is not None and version != self._core.version:
            raise RequestError(f"Servable not found for request: Specific({name}, {version})", 404)

    async def _predict_query(self, request: web.Request) -> web.Response:
        tag = f'"{hashlib.sha256(f"{self._core.model.digest} {request.raw_path}".encode()).hexdigest()[:32]}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        row = self._core.model.encoder.parse_query(request.query.items())
        answer = self._core.answer_rows([row])
        response = _timed(wording.predict_response(self._core, answer), answer)
        response.headers["ETag"] = tag
        return response

    async def _predict(self, request: web.Request) -> web.Response:
        document = wording.parse_json(await request.read())
        answer = wording.predict_request(self._core, document)
        return _timed(wording.predict_response(self._core, answer, columns="inputs" in document), answer)

    async def _infer(self, request: web.Request) -> web.Response:
        document = wording.parse_json(await request.read())
        answer = self._core.answer_columns(wording.infer_columns(self._core, document))
        return _timed(wording.infer_response(self._core, document, answer), answer)

    async def _status_v1(self, _: web.Request) -> web.Response:
        state = {"error_code": "OK", "error_message": ""}
        entry = {"version": self._core.version, "state": "AVAILABLE", "status": state}
        return _json({"model_version_status": [entry]})

    async def _metadata_v1(self, _: web.Request) -> web.Response:
        model = self._core.model
        metadata = {
            "features": [feature.document() for feature in model.features.features],
            "outputs": [output.document() for output in model.labels.outputs],
            "metrics": model.manifest.metrics,
            "digest": model.digest,
        }
        specification = {"name": self._core.name, "signature_name": "", "version": self._core.version}
        return _json({"model_spec": specification, "metadata": metadata})

    async def _metadata_v2(self, _: web.Request) -> web.Response:
        return _json(wording.model_metadata(self._core))

    async def _server_v2(self, _: web.Request) -> web.Response:
        from modelyard import __version__

        return _json({"name": "modelyard", "version": __version__, "extensions": []})

    async def _empty(self, _: web.Request) -> web.Response:
        return web.Response()


def _json(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document, option=_OPTIONS), status=status, content_type="application/json")


def _timed(document: Any, answer: Answer) -> web.Response:
    response = _json(document)
    response.headers["Server-Timing"] = f"encode;dur={answer.encode * 1e3:.3f}, compute;dur={answer.compute * 1e3:.3f}"
    return response
