"""The children of a run in full: its ConfigMap and its Job."""

from copy import deepcopy
from typing import Any

from modelyard.contract.training import ModelTraining
from modelyard.contract.wire import MANAGED_BY, RUN_DOCUMENT, Annotation, Component, ExitCode, Label, RunDocument
from modelyard_operator.outcome import Manifest, TrainingView
from modelyard_operator.pods import fingerprint, owner_reference
from modelyard_operator.training.pod import pod_template
from modelyard_operator.training.tasks import tasks_of
from modelyard_operator.training.telling import CONTAINER
from modelyard_operator.training.trigger import Trigger

__all__ = ["change_job", "render_config", "render_job", "run_labels"]

Json = dict[str, Any]


def run_labels(training: ModelTraining, run: str, component: str = Component.TRAINING) -> dict[str, str]:
    """Return the labels of everything that belongs to a run, or to the step or collection of that name."""
    return {
        Label.MANAGED_BY: MANAGED_BY,
        Label.NAME: training.metadata.name,
        Label.COMPONENT: component,
        Label.TRAINING: training.metadata.name,
        Label.RUN: run,
    }


def render_config(view: TrainingView, trigger: Trigger, step: str | None = None) -> Json:
    """Return the immutable ConfigMap that tells every attempt of the run, or of the prepare step, the same."""
    training, spec = view.training, view.training.spec
    document = RunDocument(
        training=training.metadata.name,
        namespace=training.metadata.namespace,
        run=trigger.run,
        output=spec.output.uri,
        script=spec.script.file if spec.script else None,
        module=spec.module,
        hyperparameters=spec.hyperparameters,
        data=spec.data,
        checkpointing=spec.checkpointing,
        seed=spec.seed,
        optimise=spec.optimise,
        stall_seconds=spec.stall_seconds,
        distribution=spec.distribution,
        tasks=tasks_of(training, trigger.run),
        step=step,
        required_metrics=[threshold.name for threshold in spec.gate.metrics],
    )
    data = {RUN_DOCUMENT: document.model_dump_json(by_alias=True, indent=2)}
    if spec.script and view.script and view.script.text is not None:
        data[spec.script.file] = view.script.text
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(training, trigger.run, {Annotation.TRAINED: trigger.trained}),
        "immutable": True,
        "data": data,
    }


def render_job(view: TrainingView, trigger: Trigger) -> Json:
    """Return the run's Job as it is created. It has no time to live until its result is recorded: see `change_job`."""
    training, spec = view.training, view.training.spec
    template = pod_template(view, trigger.run, run_labels(training, trigger.run))
    annotations = {Annotation.TRIGGER: str(trigger.cause), Annotation.TEMPLATE: fingerprint(template, 16)}
    metadata = _metadata(training, trigger.run, annotations)
    if spec.queue_name:
        metadata["labels"][Label.QUEUE] = spec.queue_name
    count = max(1, len(tasks_of(training, trigger.run)))
    deadline = {"activeDeadlineSeconds": spec.active_deadline_seconds} if spec.active_deadline_seconds else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            # the queue admits it, and alone says from then on whether it may run
            "suspend": spec.queue_name is not None,
            "backoffLimit": spec.backoff_limit,
            **deadline,
            # Two pods of one run never write at once: a replacement waits until the old one has failed for good.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
            "template": template,
        },
    }


def change_job(job: Manifest, **changes: Any) -> Json:
    """Return a live Job's own intent with changed mutable fields (`suspend`, `ttlSecondsAfterFinished`).

    Nearly everything else in a Job is immutable, and the training's spec may have changed since the run began; so
    the intent is made of the live object and never rendered again.
    """
    metadata = job["metadata"]
    kept = ("name", "namespace", "labels", "ownerReferences")
    annotations = {
        key: value
        for key, value in metadata.get("annotations", {}).items()
        if key in {Annotation.TRIGGER, Annotation.TEMPLATE}
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {key: deepcopy(metadata[key]) for key in kept if key in metadata} | {"annotations": annotations},
        "spec": deepcopy(dict(job["spec"])) | changes,
    }


def _failure_rules() -> list[Json]:
    def on_exit(action: str, code: ExitCode) -> Json:
        codes = {"containerName": CONTAINER, "operator": "In", "values": [int(code)]}
        return {"action": action, "onExitCodes": codes}

    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        on_exit("FailJob", ExitCode.CONFIGURATION),
        on_exit("Ignore", ExitCode.INTERRUPTED),
    ]


def _metadata(training: ModelTraining, run: str, annotations: dict[str, str]) -> Json:
    return {
        "name": run,
        "namespace": training.metadata.namespace,
        "labels": run_labels(training, run),
        "annotations": annotations,
        "ownerReferences": [owner_reference(training, "ModelTraining")],
    }
