"""`ModelServing`: what to serve, on how many replicas."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from modelyard.contract.meta import (
    Conditions,
    Digest,
    DnsLabel,
    DnsSubdomain,
    Metrics,
    ModelRuntime,
    Resource,
    Schema,
    Uri,
)
from modelyard.contract.options import ServingOptions
from modelyard.contract.pods import Resources, Scheduling, Storage

__all__ = [
    "Access",
    "ModelServing",
    "ModelSource",
    "RejectedRevision",
    "Revision",
    "Rollout",
    "RolloutStatus",
    "ServingPhase",
    "ServingReason",
    "ServingSpec",
    "ServingStatus",
    "Verification",
]


class ModelSource(Schema):
    """Which model to serve: exactly one of `training`, `checkpoint`, or `uri` with `digest`."""

    training: DnsLabel | None = None
    """Follow this ModelTraining: serve its newest checkpoint that passed the gate."""
    checkpoint: DnsSubdomain | None = None
    """Pin this ModelCheckpoint."""
    uri: Uri | None = None
    """Serve the package in this folder; `digest` says which it must be."""
    digest: Digest | None = None
    """SHA-256 of the package's `manifest.json`."""


class Rollout(Schema):
    """How a change of the model or of the pods is brought in. Ready pods never fall below `replicas`."""

    max_surge: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many pods above `replicas` may exist during a change; absent: a quarter of `replicas`, at least 1."""
    progress_deadline_seconds: Annotated[int, Field(ge=5, le=86_400)] = 600
    """A new revision that makes no progress towards ready pods for so long is rejected; the old one goes on serving."""
    drain_seconds: Annotated[int, Field(ge=0, le=3600)] = 5
    """How long a leaving pod goes on accepting requests while load balancers forget it."""


class Access(Schema):
    """Who may ask, and how."""

    api_keys_secret: DnsSubdomain | None = None
    """Secret whose values are the API keys, one an entry; requests carry one as `Authorization: Bearer KEY`. Changes
    of the Secret are taken up without a restart. Absent: everybody who reaches the Service may ask."""
    tls_secret: DnsSubdomain | None = None
    """Secret with `tls.crt` and `tls.key`: the pods then speak HTTPS. Changes are taken up without a restart."""


class Verification(Schema):
    """Which public keys a package must be signed with: those in a ConfigMap or a Secret, exactly one of them.

    What none of them signed is never served.
    """

    config_map: DnsSubdomain | None = None
    """ConfigMap whose values are public keys in PEM; one of them is enough."""
    secret_name: DnsSubdomain | None = None
    """The same in a Secret."""


class ServingSpec(Scheduling, ServingOptions):
    """What to serve, on how many replicas."""

    model: ModelSource
    """Which model."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """How many pods serve. `kubectl scale` and a HorizontalPodAutoscaler set it."""
    image: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    """Container image; absent: the serving image that the operator was installed with."""
    runtime: ModelRuntime | None = None
    """What the serving image must execute, for a package given by `uri` or a pinned `variant`; absent: what the
    checkpoint says, else `LiteRT`."""
    storage: Storage = Field(default_factory=Storage)
    """How the pods get at the package."""
    resources: Resources = Field(default_factory=Resources)
    """Compute resources of the serving container."""
    access: Access = Field(default_factory=Access)
    """Who may ask."""
    verification: Verification | None = None
    """Which keys must have signed the package; absent: its digest is enough."""
    rollout: Rollout = Field(default_factory=Rollout)
    """How changes are brought in."""
    paused: bool = False
    """Holds the model that serves: no new revision is started while this is true; replicas are still held."""


class ServingPhase(StrEnum):
    """One word for the STATUS column."""

    WAITING = "Waiting"
    STARTING = "Starting"
    ROLLING = "Rolling"
    SERVING = "Serving"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    INVALID = "Invalid"


class ServingReason(StrEnum):
    """Reasons of a serving's conditions and events."""

    MODEL_NOT_FOUND = "ModelNotFound"
    NO_PASSED_CHECKPOINT = "NoPassedCheckpoint"
    CHECKPOINT_FAILED_GATE = "CheckpointFailedGate"
    ROLLOUT_STARTED = "RolloutStarted"
    ROLLING_OUT = "RollingOut"
    ROLLOUT_COMPLETE = "RolloutComplete"
    REVISION_REJECTED = "RevisionRejected"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    MINIMUM_REPLICAS_AVAILABLE = "MinimumReplicasAvailable"
    MINIMUM_REPLICAS_UNAVAILABLE = "MinimumReplicasUnavailable"
    SCALED_TO_ZERO = "ScaledToZero"
    SERVING = "Serving"
    STARTING = "Starting"
    PAUSED = "Paused"
    INVALID = "Invalid"


class Revision(Schema):
    """A version of the serving pods: one Deployment, one model, one pod template."""

    name: DnsSubdomain
    """The Deployment's name: a hash of the pod template with the package's digest in it."""
    checkpoint: DnsSubdomain | None = None
    """The ModelCheckpoint it serves."""
    digest: Digest
    """The package it serves."""
    uri: Uri
    """Where the package lies."""
    run: DnsSubdomain | None = None
    """The training run that made the model."""
    metrics: Metrics = Field(default_factory=dict)
    """What training measured."""
    runtime: ModelRuntime = ModelRuntime.LITERT
    """What executes it."""
    replicas: int = 0
    """Pods wanted."""
    ready_replicas: int = 0
    """Pods that verified the package, warmed up and answer."""


class RejectedRevision(Schema):
    """A revision that was tried and found wanting; it is not tried again."""

    name: DnsSubdomain
    """The revision's name."""
    digest: Digest
    """The package it served."""
    reason: Annotated[str, StringConstraints(max_length=63)]
    """One word."""
    message: Annotated[str, StringConstraints(max_length=1024)]
    """Why, for people."""
    time: datetime
    """When."""


class RolloutStatus(Schema):
    """A change under way."""

    started: datetime
    """When the candidate was chosen."""
    progressed: datetime
    """When more candidate pods were ready than ever before, or the start."""
    peak_ready: int = 0
    """The most candidate pods that were ready at once."""
    note: Annotated[str, StringConstraints(max_length=512)] = ""
    """What the planner does next, in words."""


class ServingStatus(Schema):
    """What the operator has seen."""

    observed_generation: int = 0
    """The generation this status was concluded from."""
    conditions: Conditions = Field(default_factory=list)
    """`Ready`, `Reconciling`, `Stalled`, `Available`, `Progressing`."""
    phase: ServingPhase | None = None
    """One word for people."""
    replicas: int = 0
    """Pods of all revisions."""
    ready_replicas: int = 0
    """Ready pods of all revisions."""
    ready: Annotated[str, StringConstraints(max_length=16)] | None = None
    """For people: ready pods of declared pods, `3/3`."""
    selector: Annotated[str, StringConstraints(max_length=512)] | None = None
    """Label selector of the serving pods, for HorizontalPodAutoscalers."""
    url: Annotated[str, StringConstraints(max_length=512)] | None = None
    """Stable address inside the cluster."""
    stable: Revision | None = None
    """The revision that serves."""
    candidate: Revision | None = None
    """The revision that is being brought in."""
    weight: Annotated[str, StringConstraints(max_length=8)] | None = None
    """Share of the candidate in the ready pods, for people: `40%`."""
    rollout: RolloutStatus | None = None
    """The change under way."""
    rejected: Annotated[list[RejectedRevision], Field(max_length=10)] = Field(default_factory=list)
    """Revisions that were tried and refused, newest first, at most 10."""


class ModelServing(Resource):
    """What to serve, on how many replicas, behind one stable address."""

    spec: ServingSpec
    status: ServingStatus = Field(default_factory=ServingStatus)
