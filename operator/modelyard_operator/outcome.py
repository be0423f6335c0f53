"""What a pass is given and what it concludes: frozen views in, one `Outcome` out.

Stages are pure: `conclude(view, now) -> Outcome`. Everything a stage may look at is in its view; everything it
wants done is in the outcome. `reconciling.py` gathers views from the store and carries outcomes out, in this
order: `apply`, `delete`, `status`, and, only when the status write succeeded, `events`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from modelyard.contract.checkpoint import CheckpointStatus, ModelCheckpoint
from modelyard.contract.serving import ModelServing, ServingStatus
from modelyard.contract.training import ModelTraining, TrainingStatus
from modelyard.contract.wire import Progress, ServingSummary

__all__ = [
    "CheckpointView",
    "Deletion",
    "Event",
    "Manifest",
    "OperatorDefaults",
    "Outcome",
    "Sample",
    "ScriptContent",
    "ServingView",
    "TrainingView",
]

#: A complete Kubernetes object as JSON, as read from or sent to the API server.
Manifest = Mapping[str, Any]

Document = TypeVar("Document")


@dataclass(frozen=True, slots=True)
class OperatorDefaults:
    """What the operator was installed with."""

    training_image: str
    serving_image: str
    serving_tensorflow_image: str
    """For models that LiteRT cannot hold."""


@dataclass(frozen=True, slots=True)
class Sample(Generic[Document]):
    """A document pulled from a pod, and when."""

    document: Document
    time: datetime


@dataclass(frozen=True, slots=True)
class ScriptContent:
    """The script of a training as the API server held it when the view was gathered."""

    text: str | None
    """None: the ConfigMap or the key in it does not exist; `problem` says which."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TrainingView:
    """Everything a training's pass may look at."""

    training: ModelTraining
    defaults: OperatorDefaults
    script: ScriptContent | None = None
    """Only for trainings with `spec.script`."""
    step_scripts: Mapping[str, ScriptContent] = field(default_factory=dict)
    """By name of the prepare step: the scripts of `spec.prepare`."""
    jobs: tuple[Manifest, ...] = ()
    """batch/v1 Jobs that train: they carry this training's label and are owned by its UID."""
    steps: tuple[Manifest, ...] = ()
    """Its Jobs that prepare."""
    collections: tuple[Manifest, ...] = ()
    """Its Jobs that delete packages which are kept no more."""
    pods: tuple[Manifest, ...] = ()
    """Pods of all those Jobs."""
    configs: tuple[Manifest, ...] = ()
    """The run ConfigMaps owned by this training."""
    links: tuple[Manifest, ...] = ()
    """The Service and the NetworkPolicy of a training of several processes."""
    step_configs: tuple[Manifest, ...] = ()
    """Those of its prepare steps."""
    collection_configs: tuple[Manifest, ...] = ()
    """Those of its collecting Jobs."""
    checkpoints: tuple[ModelCheckpoint, ...] = ()
    """ModelCheckpoints whose `spec.training` is this training."""
    users: tuple[Manifest, ...] = ()
    """Every ModelServing of the namespace, and every ModelCheckpoint that a person wrote: what they name is in use.
    Gathered only while none of the training's Jobs is at work."""
    progress: Mapping[str, Sample[Progress]] = field(default_factory=dict)
    """By pod UID: the newest /progress document."""


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """Everything a checkpoint's pass may look at."""

    checkpoint: ModelCheckpoint
    training: ModelTraining | None = None
    """The training named in the spec, if it exists."""
    servings: tuple[ModelServing, ...] = ()
    """Every ModelServing of the namespace."""


@dataclass(frozen=True, slots=True)
class ServingView:
    """Everything a serving's pass may look at."""

    serving: ModelServing
    defaults: OperatorDefaults
    training: ModelTraining | None = None
    """The training that is followed, if it exists."""
    checkpoints: tuple[ModelCheckpoint, ...] = ()
    """The followed training's checkpoints, or the pinned one, or the one that serves."""
    deployments: tuple[Manifest, ...] = ()
    """apps/v1 Deployments that carry this serving's label and are owned by its UID."""
    pods: tuple[Manifest, ...] = ()
    """Pods of those Deployments."""
    service: Manifest | None = None
    disruption_budget: Manifest | None = None
    summaries: Mapping[str, Sample[ServingSummary]] = field(default_factory=dict)
    """By pod UID: the newest /summary document."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A child to delete; the UID is a precondition."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes event about the parent."""

    type: str
    """`Normal` or `Warning`."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass concludes."""

    status: TrainingStatus | CheckpointStatus | ServingStatus
    """The parent's whole status; written only if it differs from the one read."""
    apply: tuple[Manifest, ...] = ()
    """Children in full, in order; without managed fields, with owner references and labels."""
    delete: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    """Seconds until the next look, when nothing else happens."""
