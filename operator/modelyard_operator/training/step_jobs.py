"""Step Jobs: to its Job a prepare step is a training of its own that publishes nothing. So its ConfigMap, pod and
failure rules are a run's, and what its pods tell is read as a run's is, in the names of the step's own fields.
"""

import re
from dataclasses import replace
from typing import Any

from modelyard.contract.pods import Scheduling
from modelyard.contract.training import OutputTarget, TrainingSpec
from modelyard.contract.wire import Annotation, Component, Environment
from modelyard_operator.outcome import ScriptContent, TrainingView
from modelyard_operator.pods import fingerprint
from modelyard_operator.training.manifests import render_config, render_job, run_labels
from modelyard_operator.training.steps import Step
from modelyard_operator.training.trigger import Trigger

__all__ = ["in_words_of", "render_step", "stand_in"]

Json = dict[str, Any]

#: Fields of a training that a step has itself, by the name that the step's field has.
_OWN_FIELDS = {
    name: name
    for name in ("script", "module", "command", "image", "resources", "hyperparameters", "output", "backoffLimit")
} | {"data": "inputs", "activeDeadlineSeconds": "activeDeadlineSeconds"}
_FIELD = re.compile(rf"\bspec\.({'|'.join(_OWN_FIELDS)})\b")


def stand_in(view: TrainingView, step: Step) -> TrainingView:
    """Return the step's own view: of a training that has what the step has."""
    spec, own = view.training.spec, step.spec
    shared = {name: getattr(spec, name) for name in Scheduling.model_fields}
    wanted = TrainingSpec(
        **shared,
        image=own.image,
        script=own.script,
        module=own.module,
        command=own.command,
        hyperparameters=own.hyperparameters,
        data=list(step.sources),
        output=OutputTarget(uri=step.output),
        storage=spec.storage,
        resources=own.resources,
        backoff_limit=own.backoff_limit,
        active_deadline_seconds=own.active_deadline_seconds,
        suspend=spec.suspend,
    )
    training = view.training.model_copy(update={"spec": wanted})
    script = ScriptContent(step.script) if own.script else None
    return replace(view, training=training, script=script, jobs=view.steps, configs=view.step_configs)


def render_step(view: TrainingView, step: Step) -> tuple[Json, Json]:
    """Return the step's ConfigMap and Job."""
    scene, trigger = stand_in(view, step), Trigger(step.job)
    config, job = render_config(scene, trigger, step=step.spec.name), render_job(scene, trigger)
    labels = run_labels(view.training, step.job, Component.PREPARE)
    template = job["spec"]["template"]
    for metadata in (config["metadata"], job["metadata"], template["metadata"]):
        metadata["labels"] = labels
    [container] = template["spec"]["containers"]
    variables = [
        {"name": name, "value": value} for name, value in {**step.spec.env, Environment.OUTPUT: step.output}.items()
    ]
    ours = {variable["name"] for variable in container["env"]}
    container["env"] = [*container["env"], *(variable for variable in variables if variable["name"] not in ours)]
    job["metadata"]["annotations"][Annotation.TEMPLATE] = fingerprint(template, 16)
    return config, job


def in_words_of(step: Step, message: str) -> str:
    """Return a message about the stand-in with the names of the step's own fields."""
    return _FIELD.sub(lambda found: f"spec.prepare[{step.place}].{_OWN_FIELDS[found[1]]}", message)
