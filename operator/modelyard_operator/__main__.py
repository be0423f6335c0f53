"""The operator's process: leadership first, then one complete list, then watches, workers, pulls and resyncs."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

from modelyard_operator.health import Vitals, application
from modelyard_operator.kube.client import KubeApi, KubeError
from modelyard_operator.kube.leading import Leadership
from modelyard_operator.logs import configure_logs
from modelyard_operator.metrics import Metrics
from modelyard_operator.noticing import Notices
from modelyard_operator.reconciling import Reconciler
from modelyard_operator.resyncing import Resync
from modelyard_operator.sampling import Sampler, Samples
from modelyard_operator.settings import Settings, SettingsError
from modelyard_operator.store import Key, Store
from modelyard_operator.watching import watch
from modelyard_operator.working import WORKERS, work
from modelyard_operator.workqueue import WorkQueue

_LOG = logging.getLogger("modelyard_operator")
#: Seconds that a stopping operator gives the passes under way.
_FINISH_SECONDS = 5.0


def main() -> int:
    """Run the operator; return the exit code."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(f"usage: python3 -m modelyard_operator\n\nThe Modelyard operator. {Settings.__doc__}\n")
        return 0
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 64
    configure_logs(settings.log_level, settings.log_format)
    return asyncio.run(Operator(settings).run())


class Operator:
    """The operator's parts, put together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._store = Store()
        self._queue: WorkQueue[Key] = WorkQueue(time.monotonic, random.random)
        self._samples = Samples()
        self._notices = Notices(self._store, self._queue)
        #: While it leads, and has listed every kind once.
        self._resync: Resync | None = None
        self._leadership: Leadership | None = None

    async def run(self) -> int:
        """Run until SIGTERM, or until the Lease is lost; return the exit code."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        api = await KubeApi.connect(self._metrics.count_request, self._settings.kubeconfig)
        self._leadership = Leadership(api, self._settings.lease_namespace, self._settings.identity, _now)
        runner = web.AppRunner(application(self._vitals, self._metrics.registry, self._refresh), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=self._settings.port).start()
        try:
            return await self._until(stopping, self._lead(api))
        finally:
            await self._leadership.release()
            await runner.cleanup()
            await api.close()

    async def _until(self, stopping: asyncio.Event, lead: Coroutine[Any, Any, bool]) -> int:
        duty = asyncio.create_task(lead, name="duty")
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({duty, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not duty.done():
            duty.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await duty
            return 0
        if error := duty.exception():
            _LOG.error("the operator broke", exc_info=error)
            return 1
        return 0 if duty.result() else 1

    async def _lead(self, api: KubeApi) -> bool:
        """Do a leader's work; return True when told to stop, False when the Lease is lost."""
        assert self._leadership is not None
        _LOG.info("standing by", extra={"identity": self._settings.identity})
        await self._leadership.acquire()
        _LOG.info("leading", extra={"identity": self._settings.identity})
        lease = asyncio.create_task(self._leadership.keep(), name="lease")
        resync = Resync(
            api,
            self._store,
            self._notices,
            self._queue,
            namespaces=self._settings.namespaces,
            metrics=self._metrics,
            clock=time.monotonic,
            jitter=random.random,
        )
        try:
            await _listed(resync)
            self._resync = resync
            return await self._work(api, resync, lease)
        finally:
            self._resync = None
            lease.cancel()

    async def _work(self, api: KubeApi, resync: Resync, lease: "asyncio.Task[None]") -> bool:
        passes = Reconciler(api, self._store, self._notices, self._samples, defaults=self._settings.defaults, now=_now)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:
            sampler = Sampler(self._store, self._queue, self._samples, session, self._metrics, now=_now)
            watching = asyncio.create_task(
                watch(self._notices, self._settings.namespaces, self._settings.identity), name="watching"
            )
            parts = {watching, asyncio.create_task(sampler.run()), asyncio.create_task(resync.run())}
            workers = {asyncio.create_task(work(self._queue, passes, self._metrics)) for _ in range(WORKERS)}
            try:
                done, _ = await asyncio.wait({*parts, *workers, lease}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                if lease in done:
                    _LOG.error("the lease is lost")
                # kopf takes SIGTERM and SIGINT while it watches, and returns when it has stopped
                return watching in done
            finally:
                await _end(parts | workers)

    def _vitals(self) -> Vitals:
        return Vitals(
            leading=self._resync is not None,
            lease_age=self._leadership.age if self._leadership else 0.0,
            resync_age=self._resync.age if self._resync else 0.0,
            longest_pass=self._queue.longest_running,
        )

    def _refresh(self) -> None:
        self._metrics.leader.set(float(self._resync is not None))
        self._metrics.queue_depth.set(self._queue.depth)
        self._metrics.longest_pass.set(self._queue.longest_running)
        self._metrics.objects.set(len(self._store))


async def _listed(resync: Resync) -> None:
    """List everything once; keep on trying."""
    while True:
        try:
            return await resync.once()
        except KubeError as error:
            _LOG.warning("first list failed", extra={"error": str(error)})
            await asyncio.sleep(2.0)


async def _end(tasks: "set[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_FINISH_SECONDS)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
