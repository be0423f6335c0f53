"""What the server tells: Prometheus metrics and the summary that the operator pulls."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from modelyard.contract.wire import ServingSummary
from modelyard.model.encoders import Array
from modelyard.model.sketches import DistributionCounter
from modelyard_server.asking import Answer

__all__ = ["Telling"]

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
#: Observations that are set aside at most.
_SET_ASIDE = 512
_NAMES = ("model_name", "model_version", "objective")


class _Histogram:
    """Counts whole batches of observations."""

    def __init__(self, name: str, documentation: str, bounds: tuple[float, ...]) -> None:
        self.name, self._documentation, self.bounds = name, documentation, bounds
        self.counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self.total = 0.0

    def add(self, values: Array) -> None:
        places = np.searchsorted(self.bounds, values, side="left")
        self.counts += np.bincount(places, minlength=len(self.counts))
        self.total += float(values.sum())

    def cumulative(self) -> list[tuple[str, float]]:
        """Return the count up to each bound, `+Inf` last."""
        found: list[tuple[str, float]] = []
        so_far = 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts.tolist(), strict=True):
            so_far += count
            found.append((bound, so_far))
        return found

    def family(self, labels: tuple[str, ...]) -> Metric:
        family = HistogramMetricFamily(self.name, self._documentation, labels=_NAMES)
        family.add_metric(labels, self.cumulative(), self.total)
        return family


class Telling(Collector):
    """Counts requests of one model version. Everything is called from the event loop's thread."""

    def __init__(self, name: str, version: str, objective: str) -> None:
        self._labels = (name, version, objective)
        self._outcomes = {"ok": 0, "refused": 0, "rejected": 0, "error": 0}
        self._request = _Histogram("modelyard_request_seconds", "Seconds from request to answer.", SECONDS)
        self._overhead = _Histogram(
            "modelyard_overhead_seconds", "Seconds of a request that are neither waiting nor computing.", SECONDS
        )
        self._queue = _Histogram("modelyard_queue_seconds", "Seconds that requests waited to be computed.", SECONDS)
        self._compute = _Histogram("modelyard_compute_seconds", "Seconds of computing, a request.", SECONDS)
        self._instances = _Histogram("modelyard_request_instances", "Instances, a request.", SIZES)
        self._batch = _Histogram("modelyard_batch_size", "Instances computed together, off the queue.", SIZES)
        self._answered: list[tuple[float, float, float, int]] = []
        self._plain: list[float] = []
        self._late = _Histogram("modelyard_loop_late_seconds", "Seconds by which the event loop was late.", SECONDS)
        self._batches: list[int] = []
        self._busy = _Histogram(
            "modelyard_loop_busy_seconds", "Seconds of that in which the event loop itself computed.", SECONDS
        )
        self._latenesses: list[tuple[float, float]] = []
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []
        self._counters: list[tuple[str, str, Callable[[], float]]] = []
        self._watched: Mapping[str, Mapping[str, DistributionCounter]] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def add_gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Tell a value that is read when it is asked for."""
        self._gauges.append((name, documentation, read))

    def add_counter(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Tell a count, without `_total`, that is read when it is asked for."""
        self._counters.append((name, documentation, read))

    def watch(self, kinds: Mapping[str, Mapping[str, DistributionCounter]]) -> None:
        """Tell the shift of these distributions, by kind (`feature`, `prediction`) and name."""
        self._watched = kinds

    def observe_batch(self, instances: int) -> None:
        """Count a batch off the queue."""
        self._batches.append(instances)
        if len(self._batches) >= _SET_ASIDE:
            self._fold()

    def observe_lateness(self, late: float, busy: float) -> None:
        """Count how many seconds the event loop was late for an appointment, and was busy meanwhile."""
        self._latenesses.append((late, min(late, busy)))
        if len(self._latenesses) >= _SET_ASIDE:
            self._fold()

    def observe(self, status: int, seconds: float, answer: Answer | None) -> None:
        """Count one request with its seconds and what was computed for it."""
        if status < 400:
            self._outcomes["ok"] += 1
        elif status in (429, 503):
            self._outcomes["rejected"] += 1
        else:
            self._outcomes["refused" if status < 500 else "error"] += 1
        if answer is None:
            self._plain.append(seconds)
        else:
            self._answered.append((seconds, answer.queue, answer.compute, answer.rows))
        if len(self._answered) + len(self._plain) >= _SET_ASIDE:
            self._fold()

    def _fold(self) -> None:
        """Count what was set aside: in bulk that is a twentieth of the work."""
        answered = np.array(self._answered, dtype=np.float64).reshape(-1, 4)
        seconds, queue, compute, instances = answered.T
        self._request.add(seconds)
        self._request.add(np.array(self._plain, dtype=np.float64))
        self._overhead.add(seconds - queue - compute)
        self._queue.add(queue)
        self._compute.add(compute)
        self._instances.add(instances)
        self._batch.add(np.array(self._batches, dtype=np.float64))
        late, busy = np.array(self._latenesses, dtype=np.float64).reshape(-1, 2).T
        self._late.add(late)
        self._busy.add(busy)
        for aside in (self._answered, self._plain, self._batches, self._latenesses):
            aside.clear()

    def metrics(self) -> bytes:
        """Return the metrics page."""
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        """Return every metric family as it is now."""
        self._fold()
        requests = CounterMetricFamily(
            "modelyard_requests",
            "Requests by outcome: ok, refused (4xx), rejected (429 and 503, overload), error (other 5xx).",
            labels=[*_NAMES, "outcome"],
        )
        for outcome, count in self._outcomes.items():
            requests.add_metric([*self._labels, outcome], count)
        yield requests
        times = (self._request, self._overhead, self._queue, self._compute, self._late, self._busy)
        for histogram in (*times, self._instances, self._batch):
            yield histogram.family(self._labels)
        for name, documentation, read in self._gauges:
            gauge = GaugeMetricFamily(name, documentation, labels=_NAMES)
            gauge.add_metric(self._labels, read())
            yield gauge
        for name, documentation, read in self._counters:
            counter = CounterMetricFamily(name, documentation, labels=_NAMES)
            counter.add_metric(self._labels, read())
            yield counter
        yield from self._shifts()

    def _shifts(self) -> Iterator[Metric]:
        labels = [*_NAMES, "kind", "name"]
        index = GaugeMetricFamily(
            "modelyard_shift_psi", "Population stability index against the training's baseline.", labels=labels
        )
        distance = GaugeMetricFamily(
            "modelyard_shift_distance",
            "Kolmogorov-Smirnov distance (numbers) or total variation (categories) from the baseline, 0 to 1.",
            labels=labels,
        )
        for kind, counters in self._watched.items():
            for name, counter in counters.items():
                if counter.total:
                    index.add_metric([*self._labels, kind, name], counter.shift() or 0.0)
                    distance.add_metric([*self._labels, kind, name], counter.distance() or 0.0)
        yield index
        yield distance

    def complete(self, summary: ServingSummary, *, sketches: bool = False) -> ServingSummary:
        """Return the summary with everything that was counted; with the sketches if they are wanted."""
        self._fold()
        changes: dict[str, Any] = {
            "requests": sum(self._outcomes.values()),
            "errors": self._outcomes["error"],
            "refused": self._outcomes["refused"],
            "rejected": self._outcomes["rejected"],
            "latency": {bound: int(count) for bound, count in self._request.cumulative()},
        }
        for kind, counters in self._watched.items():
            changes[f"{kind}s"] = {name: counter.document(sketches=sketches) for name, counter in counters.items()}
        return summary.model_copy(update=changes)
