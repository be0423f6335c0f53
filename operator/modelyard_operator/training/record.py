"""Record: every package that a run published becomes a ModelCheckpoint, once and for ever the same."""

from dataclasses import dataclass

from modelyard.contract.checkpoint import CheckpointSpec, ModelCheckpoint
from modelyard.contract.meta import API_VERSION
from modelyard.contract.training import PublishedCheckpoint, TrainingReason
from modelyard.contract.wire import MANAGED_BY, Annotation, Label, Published
from modelyard_operator.checkpoint.gate import recency
from modelyard_operator.outcome import Event, Manifest, TrainingView
from modelyard_operator.pods import owner_reference
from modelyard_operator.training.progress import finite
from modelyard_operator.training.telling import published_by

__all__ = ["Records", "describe", "list_checkpoints", "record_checkpoints"]


@dataclass(frozen=True, slots=True)
class Records:
    """The checkpoints to write."""

    apply: tuple[Manifest, ...]
    events: tuple[Event, ...]


def record_checkpoints(view: TrainingView) -> Records:
    """Return the checkpoints that were published and are not there yet. One that is there is never applied again."""
    there = {checkpoint.metadata.name for checkpoint in view.checkpoints}
    manifests: list[Manifest] = []
    events: list[Event] = []
    for run in sorted({str(job["metadata"]["name"]) for job in view.jobs}):
        for published in published_by(view, run):
            if (name := f"{run}-{published.step}") not in there:
                manifest, event = _record(view, run, name, published)
                manifests += [manifest] if manifest else []
                events.append(event)
    return Records(tuple(manifests), tuple(events))


def list_checkpoints(view: TrainingView, run: str) -> list[PublishedCheckpoint]:
    """Return the checkpoints of a run that are recorded, oldest first, at most the last hundred."""
    mine = [checkpoint for checkpoint in view.checkpoints if checkpoint.spec.run == run]
    return [describe(checkpoint) for checkpoint in sorted(mine, key=recency)][-100:]


def describe(checkpoint: ModelCheckpoint) -> PublishedCheckpoint:
    """Return the short form that a training's status holds."""
    spec = checkpoint.spec
    return PublishedCheckpoint(name=checkpoint.metadata.name, step=spec.step, digest=spec.digest)


def _record(view: TrainingView, run: str, name: str, published: Published) -> tuple[Manifest | None, Event]:
    training = view.training
    try:
        spec = CheckpointSpec(
            uri=published.uri,
            digest=published.digest,
            training=training.metadata.name,
            run=run,
            step=published.step,
            metrics=finite(published.metrics),
            runtime=published.runtime,
        )
    except ValueError as error:
        text = f"the run {run} told of a package that cannot be recorded: {error}"
        return None, Event("Warning", TrainingReason.INVALID, text[:1024])
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "ModelCheckpoint",
        "metadata": {
            "name": name,
            "namespace": training.metadata.namespace,
            "labels": {Label.MANAGED_BY: MANAGED_BY, Label.TRAINING: training.metadata.name, Label.RUN: run},
            **({"annotations": {Annotation.PUBLISHED: published.created}} if published.created else {}),
            "ownerReferences": [owner_reference(training, "ModelTraining")],
        },
        "spec": spec.document(),
    }
    text = f"the run {run} published {name} at step {published.step}"
    return manifest, Event("Normal", TrainingReason.CHECKPOINT_PUBLISHED, text)
