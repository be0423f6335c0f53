"""The operator's own Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Metrics"]


class Metrics:
    """Counted in one registry; one object a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.passes = Counter(
            "modelyard_operator_passes", "Passes by kind and result", ["kind", "result"], registry=self.registry
        )
        self.pass_seconds = Histogram(
            "modelyard_operator_pass_duration_seconds",
            "Duration of passes",
            ["kind"],
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )
        self.queue_depth = Gauge("modelyard_operator_queue_depth", "Keys that wait for a pass", registry=self.registry)
        self.longest_pass = Gauge(
            "modelyard_operator_longest_running_pass_seconds",
            "Age of the oldest pass under way",
            registry=self.registry,
        )
        self.objects = Gauge("modelyard_operator_objects", "Objects known", registry=self.registry)
        self.leader = Gauge("modelyard_operator_leader", "1 while this replica holds the Lease", registry=self.registry)
        self.resynced = Gauge(
            "modelyard_operator_resync_timestamp_seconds", "Time of the last complete resync", registry=self.registry
        )
        self.corrected = Counter(
            "modelyard_operator_resync_corrections", "Objects that a resync corrected", ["kind"], registry=self.registry
        )
        self.unanswered = Counter(
            "modelyard_operator_unanswered_pulls", "Pods that did not answer a pull", registry=self.registry
        )
        self._requests = Counter(
            "modelyard_operator_api_requests",
            "Requests to the API server; code 0 is no answer",
            ["method", "resource", "code"],
            registry=self.registry,
        )

    def count_request(self, method: str, resource: str, code: int) -> None:
        """Count a request to the API server."""
        self._requests.labels(method, resource, str(code)).inc()
