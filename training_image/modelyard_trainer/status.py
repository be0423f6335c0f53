"""The status port of a training pod: `/progress`, `/curves`, `/metrics`, `/healthz`."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from modelyard.contract.wire import STATUS_PORT, Phase, Progress, Route, RunCurves

__all__ = ["StatusServer"]

_METRICS: tuple[tuple[str, str, Callable[[Progress], float | None]], ...] = (
    ("modelyard_training_step", "Training steps done.", lambda progress: progress.step),
    ("modelyard_training_progress_ratio", "Share of the training that is done.", lambda p: (p.percent or 0) / 100),
    ("modelyard_training_eta_seconds", "Estimated seconds left.", lambda progress: progress.eta_seconds),
    ("modelyard_training_saved_step", "Step of the newest saved state.", lambda progress: progress.saved_step),
    ("modelyard_training_steps_per_second", "Steps a second of late.", lambda progress: progress.steps_per_second),
    ("modelyard_training_epoch", "Epochs done.", lambda progress: progress.epoch),
    ("modelyard_training_published", "Packages published by the run.", lambda progress: len(progress.published)),
)


class StatusServer:
    """Serves what the progress file says, and the file of curves beside it."""

    def __init__(self, read: Callable[[], Progress], curves: Path, port: int | None = None) -> None:
        self._read = read
        self._curves_path = curves
        self._port = STATUS_PORT if port is None else port
        self._runner: web.AppRunner | None = None
        self._read_again = asyncio.Event()

    async def start(self) -> None:
        """Listen on every address of the pod."""
        app = web.Application()
        app.router.add_get(Route.PROGRESS, self._progress)
        app.router.add_get(Route.CURVES, self._curves)
        app.router.add_get(Route.METRICS, self._metrics)
        app.router.add_get(Route.HEALTHZ, self._health)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def wait_until_read(self, seconds: float) -> None:
        """Wait until the progress is asked for once more, for at most so many seconds."""
        self._read_again.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._read_again.wait(), seconds)

    async def _progress(self, _: web.Request) -> web.Response:
        text = self._read().model_dump_json(by_alias=True, exclude_none=True)
        self._read_again.set()
        return web.Response(text=text, content_type="application/json")

    async def _curves(self, _: web.Request) -> web.Response:
        try:
            content = self._curves_path.read_bytes()
        except FileNotFoundError:
            # no step is done yet, or this is no script of the library's
            content = RunCurves(run=self._read().run).model_dump_json(by_alias=True).encode()
        return web.Response(body=content, content_type="application/json")

    async def _metrics(self, _: web.Request) -> web.Response:
        progress, registry = self._read(), CollectorRegistry()
        for name, words, value in _METRICS:
            number = value(progress)
            if number is not None:
                Gauge(name, words, ["run"], registry=registry).labels(progress.run).set(number)
        metric = Gauge("modelyard_training_metric", "The script's metrics.", ["run", "name"], registry=registry)
        phase = Gauge("modelyard_training_phase", "1 for what it is doing.", ["run", "phase"], registry=registry)
        for known in Phase:
            phase.labels(progress.run, str(known)).set(known is progress.phase)
        for name, number in progress.metrics.items():
            metric.labels(progress.run, name).set(number)
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")
