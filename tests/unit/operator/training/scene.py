"""A training and its children, moved from pass to pass by hand."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.meta import ConditionType
from modelyard.contract.training import ModelTraining, TrainingStatus
from modelyard.contract.wire import Component, Label, Phase, Progress
from modelyard_operator import checkpoint as checkpoints
from modelyard_operator import training as trainings
from modelyard_operator.conditions import find
from modelyard_operator.outcome import CheckpointView, Manifest, Outcome, Sample, TrainingView
from tests.support.objects import DEFAULTS, NOW, ended_job, final_record, live, metadata, pod, terminated

Json = dict[str, Any]

COMPONENTS = (Component.TRAINING, Component.PREPARE, Component.COLLECT)
#: Where a view has its Jobs and ConfigMaps, by component.
FIELDS = {
    "Job": ("jobs", "steps", "collections"),
    "ConfigMap": ("configs", "step_configs", "collection_configs"),
}


def name_of(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


class Scene:
    """Carries outcomes into the next view, as the machine and the API server do."""

    def __init__(self, training: ModelTraining, **view: Any) -> None:
        self.view = TrainingView(training=training, defaults=DEFAULTS, **view)
        self.now: datetime = NOW
        self.outcome = Outcome(training.status)

    def act(self) -> Outcome:
        """Run one pass and carry it out."""
        self.outcome = trainings.conclude(self.view, self.now)
        for manifest in self.outcome.apply:
            self._applied(dict(manifest))
        for deletion in self.outcome.delete:
            self.forget(deletion.kind, deletion.name)
        self.view = replace(self.view, training=self.view.training.model_copy(update={"status": self.status}))
        return self.outcome

    @property
    def status(self) -> TrainingStatus:
        assert isinstance(self.outcome.status, TrainingStatus)
        # As read back from the API server: a status that does not survive the way there is a mistake.
        return TrainingStatus.model_validate(self.outcome.status.document())

    @property
    def job(self) -> Json:
        (job,) = self.view.jobs
        return dict(job)

    def told(self, kind: ConditionType) -> tuple[str, str, str]:
        condition = find(self.status.conditions, kind)
        assert condition is not None
        return condition.status, condition.reason, condition.message

    def see(self, **view: Any) -> None:
        self.view = replace(self.view, **view)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def change(self, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Change the spec as `kubectl apply` does."""
        before = self.view.training
        known = before.metadata
        changed = known.model_copy(
            update={"generation": known.generation + 1, "annotations": annotations or known.annotations}
        )
        body = before.spec.document() | spec
        wanted = type(before.spec).model_validate({key: value for key, value in body.items() if value is not None})
        self.see(training=before.model_copy(update={"metadata": changed, "spec": wanted}))

    def tell(self, pod: Manifest, **progress: Any) -> None:
        run = pod["metadata"]["labels"]["modelyard.dev/run"]
        document = Progress.model_validate({"run": run, "attempt": pod["metadata"]["name"], **progress})
        self.see(progress={pod["metadata"]["uid"]: Sample(document, self.now)})

    def judge(self) -> None:
        """Run the pass of every checkpoint."""
        judged = []
        for item in self.view.checkpoints:
            status = checkpoints.conclude(CheckpointView(item, self.view.training), self.now).status
            judged.append(item.model_copy(update={"status": status}))
        self.see(checkpoints=tuple(judged))

    def forget(self, kind: str, name: str) -> None:
        """Let an object be gone."""
        if kind == "ModelCheckpoint":
            self.see(checkpoints=tuple(item for item in self.view.checkpoints if item.metadata.name != name))
        links = tuple(item for item in self.view.links if (item["kind"], name_of(item)) != (kind, name))
        self.see(links=links)
        for field in FIELDS.get(kind, ()):
            self.see(**{field: tuple(item for item in getattr(self.view, field) if name_of(item) != name)})

    @property
    def step(self) -> Json:
        """The newest Job of a prepare step."""
        return dict(self.view.steps[-1])

    def finish_step(self, message: str = "", *, code: int = 0) -> None:
        """Let the newest step end, and its Job complete or fail."""
        job, phase = self.step, Phase.FAILED if code else Phase.DONE
        ended = ended_job(job, condition="Failed" if code else "Complete")
        kept = tuple(pod for pod in self.view.pods if pod["metadata"]["labels"][Label.RUN] != name_of(job))
        state = terminated(code, final_record(phase=phase, message=message))
        last = pod(job, f"{name_of(job)}-pod", state)
        self.see(steps=(*self.view.steps[:-1], ended), pods=(*kept, last))

    def _applied(self, manifest: Json) -> None:
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "ModelCheckpoint":
            body = manifest | {"metadata": metadata(name, age=-len(self.view.checkpoints)) | manifest["metadata"]}
            self.see(checkpoints=(*self.view.checkpoints, ModelCheckpoint.read(body)))
            return
        component = manifest["metadata"]["labels"][Label.COMPONENT]
        field = FIELDS[manifest["kind"]][COMPONENTS.index(component)] if manifest["kind"] in FIELDS else "links"
        known = {(item["kind"], name_of(item)): dict(item) for item in getattr(self.view, field)}
        key = (manifest["kind"], name)
        known[key] = {**live(manifest), "status": known.get(key, {}).get("status", {})}
        self.see(**{field: tuple(known.values())})
