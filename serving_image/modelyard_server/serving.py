"""The life of a serving process: status port, verified package, warm-up, replay, ready, drain, end."""

import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path

from aiohttp import web

from modelyard.contract.wire import Route, ServingSummary
from modelyard.model.opening import Model, PackageError, fetch_package
from modelyard.model.storage import StorageError, open_store
from modelyard_server.core import Core
from modelyard_server.doors import Doors
from modelyard_server.settings import ServerSettings
from modelyard_server.telling import Telling

__all__ = ["Server"]

#: How long requests may still be answered after the listener closed, in seconds.
_LAST_ANSWERS = 20.0
_WARM_UPS = 20


class Server:
    """One model behind two ports."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._started = time.monotonic()
        self._state, self._message = "Loading", "the package is being fetched"
        self._core: Core | None = None
        self._telling: Telling | None = None
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        status = await self._listen(self._status_application(), self._settings.status_port)
        try:
            try:
                core = await asyncio.to_thread(self._open)
            except (PackageError, StorageError, ValueError) as error:
                self._fail(str(error))
                return 1
            await self._serve(core)
            return 0
        finally:
            await status.cleanup()

    def _open(self) -> Core:
        """Fetch, verify, open, warm up and replay; raise PackageError or StorageError."""
        settings = self._settings
        with tempfile.TemporaryDirectory(prefix="modelyard-package-") as folder:
            manifest, digest = fetch_package(open_store(settings.uri), Path(folder), settings.digest)
            model = Model(Path(folder), manifest, digest)
        self._message = "the golden samples are replayed"
        model.verify_samples()
        for _ in range(_WARM_UPS if model.samples else 0):
            model.predict(model.samples[0].request)
        return Core(model, settings.name, settings.version, settings.most_instances)

    async def _serve(self, core: Core) -> None:
        telling = Telling(core.name, core.version)
        doors = Doors(core, telling, self._settings.largest_body)
        serving = await self._listen(doors.application(), self._settings.http_port)
        self._core, self._telling = core, telling
        self._state, self._message = "Ready", ""
        print(
            f"ready model={core.name} version={core.version} seconds={time.monotonic() - self._started:.3f}", flush=True
        )
        await self._stop.wait()
        # endpoints still point here for a while: go on answering, and let clients connect elsewhere
        self._state, doors.draining = "Draining", True
        await asyncio.sleep(self._settings.drain_seconds)
        await serving.cleanup()

    async def _listen(self, app: web.Application, port: int) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LAST_ANSWERS)
        await runner.setup()
        await web.TCPSite(runner, port=port, backlog=1024).start()
        return runner

    def _fail(self, message: str) -> None:
        self._state, self._message = "Failed", message
        print(f"not serving: {message}", file=sys.stderr, flush=True)
        try:
            Path(self._settings.termination_log).write_text(message[:4000])
        except OSError as error:
            print(f"the termination message could not be written: {error}", file=sys.stderr, flush=True)

    def _status_application(self) -> web.Application:
        app = web.Application()
        app.router.add_get(Route.HEALTHZ, self._health)
        app.router.add_get(Route.READYZ, self._ready)
        app.router.add_get(Route.METRICS, self._metrics)
        app.router.add_get(Route.SUMMARY, self._summary)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _ready(self, _: web.Request) -> web.Response:
        # a draining pod stays ready: its endpoint is removed because it is terminating, and until then it answers
        is_ready = self._state in ("Ready", "Draining")
        return web.Response(text=self._message or "ok", status=200 if is_ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        body = self._telling.metrics(self._core) if self._telling else b""
        return web.Response(body=body, content_type="text/plain")

    async def _summary(self, _: web.Request) -> web.Response:
        settings = self._settings
        summary = ServingSummary(
            model=settings.name,
            version=self._core.version if self._core else settings.version,
            digest=self._core.model.digest if self._core else settings.digest or "",
            state=self._state,
            message=self._message,
            uptime_seconds=round(time.monotonic() - self._started, 3),
        )
        if self._telling is not None:
            summary = self._telling.complete(summary, self._core)
        return web.Response(text=summary.model_dump_json(by_alias=True), content_type="application/json")
