"""Resync: complete lists replace what the store believes. It repairs missed deletions, dead watches and drift."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from modelyard.contract.wire import MANAGED_BY, Label
from modelyard_operator.kube.client import KINDS, KubeApi, KubeError
from modelyard_operator.metrics import Metrics
from modelyard_operator.noticing import Notices
from modelyard_operator.store import PARENTS, Key, Store
from modelyard_operator.workqueue import WorkQueue

__all__ = ["WATCHED", "Resync"]

SELECTOR = f"{Label.MANAGED_BY}={MANAGED_BY}"
_CHILDREN = ("Job", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap", "Pod")
#: The kinds that the operator watches, and by which label selector: children only if they carry our label.
WATCHED = dict.fromkeys(PARENTS, "") | dict.fromkeys(_CHILDREN, SELECTOR)
#: Seconds from the start to the first repeat: it covers what happened between the first list and the watches.
_FIRST = 20.0
PERIOD = 420.0
_LOG = logging.getLogger(__name__)


class Resync:
    """Lists every kind, in chunks."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        notices: Notices,
        queue: WorkQueue[Key],
        *,
        namespaces: Sequence[str],
        metrics: Metrics,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._api = api
        self._store = store
        self._notices = notices
        self._queue = queue
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._metrics = metrics
        self._clock = clock
        self._jitter = jitter
        self._last = clock()

    @property
    def age(self) -> float:
        """Seconds since the last complete resync."""
        return self._clock() - self._last

    async def once(self) -> None:
        """List every kind and replace the store's belief; every parent gets a pass; raise KubeError."""
        for name, selector in WATCHED.items():
            bodies = [
                body
                for namespace in self._namespaces
                async for body in self._api.list(KINDS[name], namespace, selector)
            ]
            corrected = self._notices.replaced(name, bodies)
            self._metrics.corrected.labels(name).inc(corrected)
        for name in PARENTS:
            for key in self._store.keys(name):
                self._queue.add(key)
        self._last = self._clock()
        self._metrics.resynced.set_to_current_time()

    async def run(self) -> None:
        """Resync for ever."""
        await asyncio.sleep(_FIRST)
        while True:
            try:
                await self.once()
                wait = PERIOD * (0.8 + 0.4 * self._jitter())
            except KubeError as error:
                _LOG.warning("resync failed", extra={"error": str(error)})
                wait = 15.0
            await asyncio.sleep(wait)
