"""What the server tells: Prometheus metrics and the summary that the operator pulls."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from modelyard.contract.wire import ServingSummary
from modelyard_server.core import Core

__all__ = ["Telling"]

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Telling:
    """Counts requests of one model version; every child metric is made beforehand."""

    def __init__(self, name: str, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        names = ["model_name", "model_version"]
        labels = (name, version)
        total = Counter("modelyard_requests_total", "Requests by outcome.", [*names, "outcome"], registry=self.registry)
        self._outcomes = {outcome: total.labels(*labels, outcome) for outcome in ("ok", "refused", "error")}
        seconds = Histogram(
            "modelyard_request_seconds",
            "Seconds from request to answer.",
            names,
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._seconds = seconds.labels(*labels)
        self.in_flight = Gauge(
            "modelyard_requests_in_flight", "Requests being answered.", names, registry=self.registry
        ).labels(*labels)
        shift = "Population stability index against the training's baseline."
        self._shift = Gauge("modelyard_shift_psi", shift, [*names, "kind", "name"], registry=self.registry)
        self._labels = labels
        self._counts = {"ok": 0, "refused": 0, "error": 0}
        self._buckets = [0] * (len(BUCKETS) + 1)

    def observe(self, status: int, seconds: float) -> None:
        """Count one answered request."""
        outcome = "ok" if status < 400 else "refused" if status < 500 else "error"
        self._counts[outcome] += 1
        self._outcomes[outcome].inc()
        self._seconds.observe(seconds)
        place = next((index for index, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self._buckets[place] += 1

    def metrics(self, core: Core | None) -> bytes:
        """Return the metrics page."""
        if core is not None:
            for kind, counters in (("feature", core.features), ("prediction", core.predictions)):
                for name, counter in counters.items():
                    value = counter.shift()
                    if value is not None:
                        self._shift.labels(*self._labels, kind, name).set(value)
        return generate_latest(self.registry)

    def complete(self, summary: ServingSummary, core: Core | None) -> ServingSummary:
        """Return the summary with everything that was counted."""
        cumulative, latency = 0, {}
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], self._buckets, strict=True):
            cumulative += count
            latency[bound] = cumulative
        changes = {
            "requests": sum(self._counts.values()),
            "errors": self._counts["error"],
            "refused": self._counts["refused"],
            "latency": latency,
            "features": {name: c.document() for name, c in core.features.items()} if core else {},
            "predictions": {name: c.document() for name, c in core.predictions.items()} if core else {},
        }
        return summary.model_copy(update=changes)
