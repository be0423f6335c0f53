"""The life of a serving process: status port, verified package, warm-up, replay, ready, drain, end."""

import asyncio
import gc
import signal
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from modelyard.contract.wire import Route, ServingSummary
from modelyard.model.opening import PackageError
from modelyard.model.storage import StorageError
from modelyard_server.access import Certificate, KeyRing
from modelyard_server.connection import Listener
from modelyard_server.core import Core
from modelyard_server.doors.remote import start_remote
from modelyard_server.doors.routing import Doors
from modelyard_server.loading import SWITCH_INTERVAL, build_core, load_model
from modelyard_server.settings import ServerSettings

__all__ = ["Server"]

#: How long requests may still be answered after the listener closed, in seconds.
_LAST_ANSWERS = 20.0
_BACKLOG = 1024
#: Seconds between two looks at whether the event loop is on time.
_APPOINTMENT = 0.025
#: Container objects made, less those freed, between two looks of the garbage collector.
_GARBAGE_THRESHOLD = 20_000


class Server:
    """One model behind its ports."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._started = time.monotonic()
        self._state, self._message = "Loading", "the package is being fetched"
        self._core: Core | None = None
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        status = web.AppRunner(self._status_application(), access_log=None)
        await status.setup()
        await web.TCPSite(status, port=self._settings.status_port).start()
        try:
            try:
                model = await asyncio.to_thread(load_model, self._settings, self._tell)
                core = await build_core(model, self._settings)
            except (PackageError, StorageError, ValueError, OSError) as error:
                self._fail(str(error))
                return 1
            try:
                await self._serve(core)
            except (OSError, ssl.SSLError) as error:
                self._fail(str(error))
                return 1
            return 0
        finally:
            await status.cleanup()

    async def _serve(self, core: Core) -> None:
        settings, clock = self._settings, time.perf_counter
        keys = KeyRing(settings.api_keys, clock) if settings.api_keys else None
        doors = Doors(core, clock, keys)
        listener = Listener(doors.answer, clock, settings.options.admission.max_body_bytes, doors.turn_away)
        runner = web.AppRunner(listener.application(), access_log=None, shutdown_timeout=_LAST_ANSWERS)
        await runner.setup()
        assert runner.server is not None
        certificate = Certificate(settings.tls) if settings.tls else None
        context = certificate.context if certificate else None
        socket = await asyncio.get_running_loop().create_server(
            listener.connect(runner.server), port=settings.http_port, backlog=_BACKLOG, ssl=context
        )
        _settle()
        remote = await start_remote(core, settings.grpc_port, keys, tls=certificate)
        watching = [asyncio.create_task(_watch_loop(core.telling.observe_lateness))]
        if certificate is not None:
            watching.append(asyncio.create_task(certificate.watch()))
        self._core = core
        self._state, self._message = "Ready", ""
        seconds = time.monotonic() - self._started
        print(f"ready model={core.name} version={core.version} seconds={seconds:.3f}", flush=True)
        await self._stop.wait()
        # endpoints still point here for a while: go on answering, and let clients connect elsewhere
        self._state, listener.draining = "Draining", True
        await asyncio.sleep(settings.drain_seconds)
        socket.close()
        await remote.stop(_LAST_ANSWERS)
        await runner.cleanup()
        core.close()
        for task in watching:
            task.cancel()

    def _tell(self, message: str) -> None:
        self._message = message

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
        body = self._core.metrics() if self._core else b""
        return web.Response(body=body, content_type="text/plain")

    async def _summary(self, request: web.Request) -> web.Response:
        settings = self._settings
        summary = ServingSummary(
            model=settings.name,
            version=self._core.version if self._core else settings.version,
            digest=self._core.model.digest if self._core else settings.digest or "",
            state=self._state,
            message=self._message,
            uptime_seconds=round(time.monotonic() - self._started, 3),
        )
        if self._core is not None:
            summary = self._core.summary(summary, sketches="sketches" in request.query)
        return web.Response(text=summary.model_dump_json(by_alias=True), content_type="application/json")


async def _watch_loop(observe: Callable[[float, float], None]) -> None:
    """Make appointments with the event loop, and tell how late it is for each; runs until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due, computed = loop.time() + _APPOINTMENT, time.thread_time()
        await asyncio.sleep(_APPOINTMENT)
        observe(max(0.0, loop.time() - due), time.thread_time() - computed)


def _settle() -> None:
    """Take what start-up made out of the garbage collector's sight: it stays, and looking at it stalls requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD)
    sys.setswitchinterval(SWITCH_INTERVAL)
