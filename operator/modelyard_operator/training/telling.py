"""What the pods of a run have told: by `/progress` while they run, by their termination message afterwards."""

from modelyard.contract.wire import Progress, Published, Termination
from modelyard_operator.conditions import clip
from modelyard_operator.outcome import Manifest, TrainingView
from modelyard_operator.training.jobs import pods_of
from modelyard_operator.troubles import last_termination

__all__ = ["CONTAINER", "failure_text", "progress_of", "published_by", "termination_of"]

#: The container that trains.
CONTAINER = "trainer"


def progress_of(view: TrainingView, pod: Manifest, run: str) -> Progress | None:
    """Return the pod's newest progress document, if it is of this run."""
    sample = view.progress.get(pod["metadata"].get("uid", ""))
    return sample.document if sample is not None and sample.document.run == run else None


def termination_of(pod: Manifest) -> Termination | None:
    """Return the pod's final record; None if it has not ended or ended without one."""
    ended = last_termination(pod, CONTAINER) or {}
    try:
        return Termination.model_validate_json(str(ended.get("message") or ""))
    except ValueError:
        return None


def failure_text(pod: Manifest) -> str:
    """Return why a pod failed, in its own words if it left any; empty if it did not fail."""
    ended = last_termination(pod, CONTAINER)
    if ended is None or ended.get("exitCode") == 0:
        return ""
    record = termination_of(pod)
    told = record.message if record else str(ended.get("message") or "").strip()
    if told:
        return clip(told, 900)
    reason = ended.get("reason", "Error")
    hint = ": raise spec.resources.limits.memory" if reason == "OOMKilled" else ""
    return f"the container ended with {reason} (exit code {ended.get('exitCode')}){hint}"


def published_by(view: TrainingView, run: str) -> tuple[Published, ...]:
    """Return every package that the run's pods have told of, by step; markers are made once, so any telling will do."""
    told: dict[int, Published] = {}
    for pod in pods_of(view, run):
        for source in (progress_of(view, pod, run), termination_of(pod)):
            told.update({item.step: item for item in (source.published if source else ())})
    return tuple(told[step] for step in sorted(told))
