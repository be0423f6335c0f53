"""Sampling: what pods tell of themselves, pulled from their status ports.

Training pods that run are asked for /progress every two seconds; serving pods for /summary every ten, and every two
while they are not ready. A pod that does not answer keeps its newest document; a pod that is gone is forgotten.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from pydantic import ValidationError

from modelyard.contract.wire import STATUS_PORT, Label, Progress, Route, ServingSummary
from modelyard_operator.metrics import Metrics
from modelyard_operator.outcome import Sample
from modelyard_operator.store import Key, Store, key_of, parents_of
from modelyard_operator.troubles import is_ready
from modelyard_operator.workqueue import WorkQueue

__all__ = ["Sampler", "Samples"]

Json = dict[str, Any]

#: Seconds between two rounds.
PERIOD = 2.0
_READY_PERIOD = timedelta(seconds=10)
#: At most one pass in this time because of progress that is only more of the same.
_STATUS_PERIOD = timedelta(seconds=5)
_TIMEOUT = aiohttp.ClientTimeout(total=2.0)
_LARGEST_BYTES = 1 << 20
_AT_ONCE = 64
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Samples:
    """The newest documents, by pod UID."""

    progress: dict[str, Sample[Progress]] = field(default_factory=dict)
    summaries: dict[str, Sample[ServingSummary]] = field(default_factory=dict)


class Sampler:
    """Pulls documents round by round."""

    def __init__(
        self,
        store: Store,
        queue: WorkQueue[Key],
        samples: Samples,
        session: aiohttp.ClientSession,
        metrics: Metrics,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._queue = queue
        self._samples = samples
        self._session = session
        self._now = now
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._told: dict[str, datetime] = {}
        self._metrics = metrics

    async def run(self) -> None:
        """Pull for ever."""
        while True:
            await asyncio.gather(self.round(), asyncio.sleep(PERIOD))

    async def round(self) -> None:
        """Ask every pod that is due."""
        pods = self._store.objects("Pod")
        self._forget({pod["metadata"]["uid"] for pod in pods})
        await asyncio.gather(*(self._ask(pod) for pod in self._due(pods)))

    def _due(self, pods: list[Json]) -> Iterator[Json]:
        now = self._now()
        for pod in pods:
            if not pod["status"].get("podIP") or not _is_running(pod) or not _speaks(pod):
                continue
            summary = self._samples.summaries.get(pod["metadata"]["uid"])
            if summary is not None and is_ready(pod) and now - summary.time < _READY_PERIOD:
                continue
            yield pod

    async def _ask(self, pod: Json) -> None:
        labels = pod["metadata"].get("labels", {})
        route = Route.PROGRESS if Label.TRAINING in labels else Route.SUMMARY
        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        try:
            async with (
                self._slots,
                self._session.get(f"http://{host}:{STATUS_PORT}{route}", timeout=_TIMEOUT) as answer,
            ):
                text = await answer.content.read(_LARGEST_BYTES)
                if answer.status != 200:
                    return
            self._take(pod, route, text)
        except (aiohttp.ClientError, OSError, TimeoutError, ValidationError) as error:
            self._metrics.unanswered.inc()
            _LOG.debug("pod did not answer", extra={"key": str(key_of(pod)), "error": repr(error)})

    def _take(self, pod: Json, route: Route, text: bytes) -> None:
        uid, now = pod["metadata"]["uid"], self._now()
        if route == Route.SUMMARY:
            summary = ServingSummary.model_validate_json(text)
            known = self._samples.summaries.get(uid)
            self._samples.summaries[uid] = Sample(summary, now)
            if known is None or (known.document.state, known.document.message) != (summary.state, summary.message):
                self._wake(pod)
            return
        progress = Progress.model_validate_json(text)
        before = self._samples.progress.get(uid)
        self._samples.progress[uid] = Sample(progress, now)
        news = before is None or _milestone(before.document) != _milestone(progress)
        more = before is not None and before.document != progress and now - self._told.get(uid, now) >= _STATUS_PERIOD
        if news or more:
            self._told[uid] = now
            self._wake(pod)

    def _wake(self, pod: Json) -> None:
        for key in parents_of(pod):
            self._queue.add(key)

    def _forget(self, present: set[str]) -> None:
        for known in (self._samples.progress, self._samples.summaries, self._told):
            for uid in known.keys() - present:
                del known[uid]


def _milestone(progress: Progress) -> tuple[Any, ...]:
    return progress.phase, progress.epochs, progress.resumed_step, len(progress.published), progress.message


def _speaks(pod: Json) -> bool:
    """Of a training with several processes the chief tells how it goes."""
    labels = pod["metadata"].get("labels", {})
    return Label.TRAINING not in labels or labels.get(Label.INDEX, "0") == "0"


def _is_running(pod: Json) -> bool:
    return bool(pod["status"].get("phase") == "Running")
