"""Steps: what `spec.prepare` comes to. A step's Job has a name that follows from everything that makes its result:
its own content, the step before it, and the retrain token. So a change reruns the changed step and those after it
only, and runs that differ in other things share what is done.
"""

from dataclasses import dataclass, replace
from typing import Any

from modelyard.contract.layout import join
from modelyard.contract.training import DataSource, PrepareStep
from modelyard.contract.wire import Annotation
from modelyard_operator.outcome import TrainingView
from modelyard_operator.pods import child_name, fingerprint

__all__ = ["Step", "chain", "equip"]

Json = dict[str, Any]

#: What the result of a step does not follow from.
_NOT_IDENTITY = frozenset({"resources", "backoffLimit", "activeDeadlineSeconds"})


@dataclass(frozen=True, slots=True)
class Step:
    """One step, with what identifies its result."""

    place: int
    spec: PrepareStep
    job: str
    """Name of its Job, of its ConfigMap and of its folder."""
    script: str | None
    sources: tuple[DataSource, ...]
    """What it reads: its inputs, and what earlier steps made."""

    @property
    def output(self) -> str:
        """Return the folder that it alone fills."""
        return join(self.spec.output.uri, self.job)

    @property
    def made(self) -> DataSource:
        """Return what it makes, as later readers see it."""
        return DataSource(name=self.spec.name, uri=self.output)


def chain(view: TrainingView) -> tuple[Step, ...]:
    """Return the steps in order."""
    training = view.training
    before: Any = [training.metadata.uid, training.metadata.annotations.get(Annotation.RETRAIN, "")]
    steps: list[Step] = []
    for place, spec in enumerate(training.spec.prepare):
        content = view.step_scripts.get(spec.name) if spec.script else None
        script = content.text if content else None
        before = fingerprint([before, _identity(spec, script)], 16)
        sources = (*spec.inputs, *(step.made for step in steps))
        job = child_name(f"{training.metadata.name}-{spec.name}", before[:8])
        steps.append(Step(place, spec, job, script, sources))
    return tuple(steps)


def equip(view: TrainingView, steps: tuple[Step, ...]) -> TrainingView:
    """Return the view whose training reads what the steps made, beside its own data."""
    if not steps:
        return view
    spec = view.training.spec
    data = [*spec.data, *(step.made for step in steps)]
    training = view.training.model_copy(update={"spec": spec.model_copy(update={"data": data})})
    return replace(view, training=training)


def _identity(spec: PrepareStep, script: str | None) -> Json:
    """Return what the result of a step follows from; not what it may use up or how often it is tried."""
    # defaults are left out: a field that comes with a later version prepares nothing anew
    document = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {"script": script}
    return {name: value for name, value in document.items() if name not in _NOT_IDENTITY}
