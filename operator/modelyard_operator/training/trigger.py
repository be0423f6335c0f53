"""Trigger: which run the training calls for. Its name is a function of what is trained, so it is made once.

What is trained: image, script content or module or command, hyperparameters, data, prepare steps, output, seed,
distribution, and the retrain token. Not: gate, suspend, limits, resources, scheduling, queue, storage access, and not
the image that the operator was installed with: upgrading the operator must not train every model anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from modelyard.contract.training import ModelTraining
from modelyard.contract.wire import Annotation
from modelyard_operator.outcome import TrainingView
from modelyard_operator.pods import child_name, fingerprint
from modelyard_operator.training.steps import chain

__all__ = ["Cause", "Trigger", "hash_trained", "name_run", "pull_trigger"]


class Cause(StrEnum):
    """Why a run was started."""

    SPEC = "Spec"
    TOKEN = "Token"


@dataclass(frozen=True, slots=True)
class Trigger:
    """The run that is called for."""

    run: str = ""
    """The run's name; empty while it is not known what is to be trained."""
    trained: str = ""
    """Hash of what is trained, without the retrain token."""
    cause: Cause = Cause.SPEC
    problem: str = ""
    """Why it is not known: names the field and the fix."""


def pull_trigger(view: TrainingView) -> Trigger:
    """Return the run that the training calls for, or why that is not known."""
    spec = view.training.spec
    if spec.script is not None and (view.script is None or view.script.text is None):
        told = view.script.problem if view.script else ""
        problem = told or f"spec.script: the ConfigMap {spec.script.config_map} has not been read yet"
        return Trigger(problem=problem)
    if problem := _missing_step_script(view):
        return Trigger(problem=problem)
    text = view.script.text if spec.script is not None and view.script else None
    trained = hash_trained(view.training, text, [step.job for step in chain(view)])
    return Trigger(name_run(view.training, trained), trained, _cause(view, trained))


def _missing_step_script(view: TrainingView) -> str:
    for place, step in enumerate(view.training.spec.prepare):
        content = view.step_scripts.get(step.name)
        if step.script is not None and (content is None or content.text is None):
            config_map = step.script.config_map
            told = content.problem if content else ""
            return told or f"spec.prepare[{place}].script: the ConfigMap {config_map} has not been read yet"
    return ""


def hash_trained(training: ModelTraining, script: str | None, steps: Sequence[str] = ()) -> str:
    """Return the hash of what is trained; `steps` are the names of its prepare steps' Jobs."""
    spec = training.spec
    trained: dict[str, Any] = {
        "uid": training.metadata.uid,
        "image": spec.image,
        "script": script,
        "module": spec.module,
        "command": spec.command,
        "hyperparameters": spec.hyperparameters,
        "data": [source.document() for source in spec.data],
        "output": spec.output.document(),
        "seed": spec.seed,
        # left out where there are none: what was trained before there were steps is not trained again
        **({"prepare": list(steps)} if steps else {}),
    }
    if spec.distribution is not None:
        trained["distribution"] = spec.distribution.document()
    return fingerprint(trained, 16)


def name_run(training: ModelTraining, trained: str) -> str:
    """Return the run's name: the training's, shortened if needed, and eight digits; at most 52 characters."""
    token = training.metadata.annotations.get(Annotation.RETRAIN, "")
    return child_name(training.metadata.name, fingerprint([trained, token]))


def _cause(view: TrainingView, trained: str) -> Cause:
    """Return `Token` if another run of the very same thing is known by its ConfigMap."""
    run = name_run(view.training, trained)
    same = (
        config["metadata"].get("annotations", {}).get(Annotation.TRAINED) == trained
        for config in view.configs
        if config["metadata"]["name"] != run
    )
    return Cause.TOKEN if any(same) else Cause.SPEC
