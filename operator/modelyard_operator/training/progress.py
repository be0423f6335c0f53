"""Progress: the numbers of a run, as its newest pod tells them."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from modelyard.contract.training import RunStatus
from modelyard.contract.wire import Progress, Termination
from modelyard_operator.conditions import clip
from modelyard_operator.outcome import Manifest, TrainingView
from modelyard_operator.training.telling import progress_of, termination_of
from modelyard_operator.troubles import is_leaving

__all__ = ["count_attempts", "finite", "tell_progress"]


def tell_progress(view: TrainingView, before: RunStatus, pods: list[Manifest]) -> RunStatus:
    """Return the run's status with what its newest pod tells; what it does not tell stays."""
    if not pods:
        return before
    pod = pods[-1]
    numbers: dict[str, Any] = {"pod": pod["metadata"]["name"], "attempts": count_attempts(before, pods)}
    if progress := progress_of(view, pod, before.name):
        numbers |= _from_progress(progress, leaving=is_leaving(pod))
    if record := termination_of(pod):
        numbers |= _from_termination(record, before)
    return before.model_copy(update=numbers)


def count_attempts(before: RunStatus, pods: list[Manifest]) -> int:
    """Return how many pods were started, also those that are gone."""
    another = pods[-1]["metadata"]["name"] != before.pod
    return max(len(pods), before.attempts + int(another))


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that JSON can hold; the gate refuses a metric that is missing."""
    return {name: value for name, value in metrics.items() if isfinite(value)}


def _from_progress(progress: Progress, *, leaving: bool) -> dict[str, Any]:
    eta = progress.eta_seconds
    return {
        "activity": None if leaving else str(progress.phase),
        "progress_percent": None if progress.percent is None else int(progress.percent),
        "eta_seconds": None if leaving or eta is None or not isfinite(eta) else round(eta),
        "step": progress.step,
        "epoch": progress.epoch,
        "saved_step": progress.saved_step,
        "resumed_step": progress.resumed_step,
        "metrics": finite(progress.metrics),
        "message": clip(progress.message, 1024),
    }


def _from_termination(record: Termination, before: RunStatus) -> dict[str, Any]:
    step = max(record.step, before.step or 0)
    return {"step": step, "metrics": finite(record.metrics or before.metrics), "activity": None, "eta_seconds": None}
