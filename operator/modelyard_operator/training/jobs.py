"""Reading Jobs: whose run, whether and how it ended."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelyard.contract.training import TrainingReason
from modelyard.contract.wire import Label
from modelyard_operator.outcome import Manifest, TrainingView
from modelyard_operator.troubles import created_at, parse_time

__all__ = [
    "ended_at",
    "failure",
    "find_job",
    "has_ended",
    "has_succeeded",
    "is_going",
    "pods_of",
    "queue_of",
    "reason_of",
]

_REASONS = {
    "DeadlineExceeded": TrainingReason.DEADLINE_EXCEEDED,
    "PodFailurePolicy": TrainingReason.INVALID_CONFIGURATION,
}


def find_job(view: TrainingView, run: str) -> Manifest | None:
    """Return a run's Job, also one that is being deleted."""
    return next((job for job in view.jobs if job["metadata"]["name"] == run), None)


def pods_of(view: TrainingView, run: str) -> list[Manifest]:
    """Return the pods of a run, oldest first."""
    pods = [pod for pod in view.pods if pod["metadata"].get("labels", {}).get(Label.RUN) == run]
    return sorted(pods, key=lambda pod: (str(pod["metadata"].get("creationTimestamp")), pod["metadata"]["name"]))


def has_succeeded(job: Manifest) -> bool:
    """Return whether the Job has completed."""
    return bool(_condition(job, "Complete"))


def failure(job: Manifest) -> Mapping[str, Any]:
    """Return the Job's condition `Failed`; empty if it has not failed."""
    return _condition(job, "Failed")


def reason_of(job: Manifest) -> TrainingReason:
    """Return why a failed Job failed."""
    return _REASONS.get(str(failure(job).get("reason")), TrainingReason.RUN_FAILED)


def has_ended(job: Manifest) -> bool:
    """Return whether the Job has completed or failed."""
    return has_succeeded(job) or bool(failure(job))


def is_going(job: Manifest) -> bool:
    """Return whether pods of the Job may still run, also while it is being deleted."""
    return not has_ended(job)


def queue_of(job: Manifest) -> str:
    """Return the queue that admits the Job; empty if it has none."""
    return str(job["metadata"].get("labels", {}).get(Label.QUEUE, ""))


def ended_at(job: Manifest) -> datetime | None:
    """Return when the Job ended."""
    condition = _condition(job, "Complete") or failure(job)
    told = job.get("status", {}).get("completionTime") or condition.get("lastTransitionTime")
    return parse_time(told) or created_at(job)


def _condition(job: Manifest, kind: str) -> Mapping[str, Any]:
    conditions = job.get("status", {}).get("conditions") or []
    return next((item for item in conditions if item.get("type") == kind and item.get("status") == "True"), {})
