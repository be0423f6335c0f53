"""`ModelTraining`: what to train and what counts as good."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from modelyard.contract.distribution import Distribution
from modelyard.contract.meta import (
    Conditions,
    Digest,
    DnsLabel,
    DnsSubdomain,
    MetricName,
    Metrics,
    Resource,
    Schema,
    Uri,
)
from modelyard.contract.package import Precision
from modelyard.contract.pods import Resources, Scheduling, Storage
from modelyard.contract.preparing import PreparedStep, StepName, StepStatus
from modelyard.contract.retention import Retention, RetentionStatus

__all__ = [
    "Checkpointing",
    "DataSource",
    "FinishedRun",
    "Gate",
    "MetricMode",
    "MetricThreshold",
    "ModelTraining",
    "Optimise",
    "OutputTarget",
    "PrepareStep",
    "Publish",
    "PublishWhen",
    "PublishedCheckpoint",
    "RunPhase",
    "RunStatus",
    "Script",
    "Signing",
    "TrainingPhase",
    "TrainingReason",
    "TrainingSpec",
    "TrainingStatus",
]

ImageName = Annotated[str, StringConstraints(min_length=1, max_length=512)]
ModuleName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")]
Command = Annotated[list[Annotated[str, StringConstraints(max_length=4096)]], Field(min_length=1, max_length=64)]
EnvironmentName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Script(Schema):
    """A Python script in a ConfigMap of the same namespace."""

    config_map: DnsSubdomain
    """Name of the ConfigMap. A change of the script starts a new run, as a change of this manifest does."""
    file: Annotated[
        str, StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.py$")
    ] = "train.py"
    """The key in the ConfigMap."""


class DataSource(Schema):
    """Data that the script reads by name."""

    name: DnsLabel
    """What the script calls it: `run.data("NAME")`."""
    uri: Uri
    """Where it lies: `pvc://CLAIM/PATH`, `hdfs://NAMENODE:PORT/PATH`, `s3://` or `gs://BUCKET/PATH`, `https://`."""


class OutputTarget(Schema):
    """Where a training keeps what it makes."""

    uri: Uri
    """Saved states and published packages go below this address: `pvc://CLAIM/PATH`, `hdfs://NAMENODE:PORT/PATH`,
    `s3://BUCKET/PATH` or `gs://BUCKET/PATH`."""


class PrepareStep(Schema):
    """Work that is done before training, in a container of its own."""

    name: StepName
    """Its name. What it makes is a data source of this name for the steps after it and for the training."""
    image: ImageName | None = None
    """Container image; absent: the training image that the operator was installed with."""
    script: Script | None = None
    """A script from a ConfigMap. Exactly one of `script`, `module` and `command`."""
    module: ModuleName | None = None
    """A Python module that the image can import."""
    command: Command | None = None
    """Any program; it finds the folder to fill in the variable MODELYARD_OUTPUT."""
    hyperparameters: Annotated[dict[str, Any], Field(max_length=64)] = Field(default_factory=dict)
    """Free JSON that the script reads as `run.hyperparameters`. The training's own are not told to a step."""
    env: dict[EnvironmentName, Annotated[str, StringConstraints(max_length=4096)]] = Field(
        default_factory=dict, max_length=64
    )
    """Environment variables of the container."""
    inputs: Annotated[list[DataSource], Field(max_length=16)] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Data that the step reads by name: `run.data("NAME")`. What earlier steps made is there by their names."""
    output: OutputTarget
    """Where it keeps what it makes: in a folder of its own below this address, so that nothing is ever overwritten."""
    resources: Resources = Field(default_factory=Resources)
    """Compute resources of the container."""
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = 3
    """How many failed attempts it may have."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """How long it may take altogether, in seconds."""


class Checkpointing(Schema):
    """How often the state of a run is saved, so that a replaced pod goes on where the last one was."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Save after so many steps; absent: only by time."""
    every_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Save when so many seconds have passed since the last save."""
    keep: Annotated[int, Field(ge=1, le=100)] = 2
    """How many complete states of a run are kept."""


class Optimise(Schema):
    """Smaller and faster forms of the model, each measured against the original when it is published."""

    variants: Annotated[
        list[Precision],
        Field(max_length=3),
    ] = Field(default_factory=list)
    """Which are made: `float16`, `dynamic` (8-bit weights), `int8` (8-bit weights and activations)."""
    max_loss: Annotated[float, Field(ge=0, le=1)] = 0.01
    """What one may cost and still be served: the largest change of any metric that the script's
    `publish(evaluate=...)` returns, or without that the share of decisions that differ."""


class Signing(Schema):
    """Sign every package, in the form of OpenSSF Model Signing."""

    secret_name: DnsSubdomain
    """Secret with the private key: PEM of an elliptic curve (P-256, P-384, P-521), without a password."""
    key: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")] = (
        "private.pem"
    )
    """The key's name in the Secret."""


class PublishWhen(StrEnum):
    """When a run publishes."""

    END = "End"
    IMPROVED = "Improved"


class MetricMode(StrEnum):
    """Which values of a metric are better."""

    MIN = "Min"
    MAX = "Max"


class Publish(Schema):
    """When a run publishes what it has trained."""

    when: PublishWhen = PublishWhen.END
    """`End`: once, when training has ended. `Improved`: whenever `metric` is better than ever in this run, too."""
    metric: MetricName | None = None
    """What is watched for `Improved`: a metric of an epoch (`val_loss`), or else one that `evaluate` returns."""
    mode: MetricMode | None = None
    """Whether smaller (`Min`) or larger (`Max`) values of it are better."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """By how much it must be better."""


class MetricThreshold(Schema):
    """What one metric must reach."""

    name: MetricName
    """A metric that the script passes to `publish(metrics=...)`."""
    floor: float | None = None
    """The smallest value that passes."""
    ceiling: float | None = None
    """The largest value that passes."""


class Gate(Schema):
    """What counts as good. Every threshold must hold; a metric that is absent or not a number fails."""

    metrics: Annotated[list[MetricThreshold], Field(max_length=32)] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Thresholds on the metrics that the run published. None: every finished checkpoint passes."""


class TrainingSpec(Scheduling):
    """What to train, with what, and what counts as good."""

    image: ImageName | None = None
    """Container image; absent: the training image that the operator was installed with."""
    script: Script | None = None
    """Train with a script from a ConfigMap. Exactly one of `script`, `module` and `command`."""
    module: ModuleName | None = None
    """Train with a Python module that the image can import."""
    command: Command | None = None
    """Train with any program that keeps the training contract (docs/training.md)."""
    hyperparameters: Annotated[dict[str, Any], Field(max_length=256)] = Field(default_factory=dict)
    """Free JSON that the script reads as `run.hyperparameters`."""
    data: Annotated[list[DataSource], Field(max_length=32)] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Data that the script reads by name."""
    prepare: Annotated[list[PrepareStep], Field(max_length=8)] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Steps that are done in order before training. One that is done is not done again until it, a step before it or
    the retrain token changes; a change of other fields of the training leaves it done."""
    output: OutputTarget
    """Where states and packages go."""
    storage: Storage = Field(default_factory=Storage)
    """How the pods get at the store."""
    resources: Resources = Field(default_factory=Resources)
    """Compute resources of the training container; GPUs too."""
    distribution: Distribution | None = None
    """Train with several processes; absent: with one."""
    queue_name: DnsLabel | None = None
    """The LocalQueue of Kueue that admits the run; absent: it starts at once."""
    checkpointing: Checkpointing = Field(default_factory=Checkpointing)
    """How often state is saved."""
    retention: Retention = Field(default_factory=Retention)
    """Which packages are kept."""
    publish: Publish = Field(default_factory=Publish)
    """When a run publishes: at its end, or whenever a metric improves."""
    gate: Gate = Field(default_factory=Gate)
    """What a checkpoint must reach to be served."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 0
    """Seed of every random number generator of a run."""
    optimise: Optimise = Field(default_factory=Optimise)
    """Which variants of the model are published beside the original; servers take the fastest that is allowed."""
    signing: Signing | None = None
    """Signs the packages; absent: they are not signed. Servings ask for it with `spec.verification`."""
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = 3
    """How many failed attempts a run may have; an eviction or a node's loss is not counted."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """How long a run may take altogether, in seconds."""
    stall_seconds: Annotated[int, Field(ge=1, le=604_800)] | None = None
    """An attempt fails when its progress stands still for so many seconds; absent: it may take any time."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] = 86_400
    """How long the Job and the pods of a finished run are kept for their logs; the record stays in the status."""
    history_limit: Annotated[int, Field(ge=1, le=50)] = 10
    """How many finished runs the status remembers."""
    suspend: bool = False
    """Stops the current run after saving its state, and starts none; set it back and the run goes on."""


class TrainingPhase(StrEnum):
    """One word for the PHASE column."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    INVALID = "Invalid"


class RunPhase(StrEnum):
    """Where one run stands."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class TrainingReason(StrEnum):
    """Reasons of a training's conditions and events."""

    RUN_CREATED = "RunCreated"
    RUN_PENDING = "RunPending"
    QUEUED = "Queued"
    PREPARING = "Preparing"
    PREPARED = "Prepared"
    PREPARE_FAILED = "PrepareFailed"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    SUCCEEDED = "Succeeded"
    RUN_FAILED = "RunFailed"
    SUPERSEDED = "Superseded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    INVALID_CONFIGURATION = "InvalidConfiguration"
    NO_CHECKPOINT = "NoCheckpoint"
    SCRIPT_NOT_FOUND = "ScriptNotFound"
    CHECKPOINT_PUBLISHED = "CheckpointPublished"
    NOTHING_PUBLISHED = "NothingPublished"
    GATE_PASSED = "GatePassed"
    GATE_FAILED = "GateFailed"
    COLLECTED = "Collected"
    COLLECT_FAILED = "CollectFailed"
    INVALID = "Invalid"


class PublishedCheckpoint(Schema):
    """A checkpoint that a run published."""

    name: DnsSubdomain
    """The ModelCheckpoint's name."""
    step: int
    """Training step."""
    digest: Digest
    """SHA-256 of the package's manifest."""


class RunStatus(Schema):
    """The current run, as its pod tells it."""

    name: DnsSubdomain
    """The run's name; its Job has the same."""
    trigger: Annotated[str, StringConstraints(max_length=253)]
    """Why it was started: `Spec` (what is trained changed) or `Token` (the annotation modelyard.dev/retrain)."""
    phase: RunPhase
    """Where the run stands."""
    reason: Annotated[str, StringConstraints(max_length=63)] | None = None
    """One word on why it waits or failed."""
    pod: DnsSubdomain | None = None
    """The newest attempt's pod, for `kubectl logs`."""
    activity: Annotated[str, StringConstraints(max_length=63)] | None = None
    """What the training process is doing: `Starting`, `Downloading`, `Training`, `Saving`, `Publishing`."""
    progress_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """How much of the training is done."""
    eta_seconds: int | None = None
    """Estimated seconds until training ends."""
    step: int | None = None
    """Steps done."""
    epoch: int | None = None
    """Epochs done."""
    attempts: int = 0
    """Pods started for this run so far; of several processes, the chief's."""
    tasks: int | None = None
    """Processes that the run consists of, if they are several."""
    ready_tasks: int | None = None
    """Those of them that run."""
    resumed_step: int | None = None
    """The saved state that the current attempt went on from."""
    saved_step: int | None = None
    """The newest complete saved state."""
    metrics: Metrics = Field(default_factory=dict)
    """Latest metrics."""
    checkpoints: Annotated[list[PublishedCheckpoint], Field(max_length=100)] = Field(default_factory=list)
    """What the run has published."""
    message: Annotated[str, StringConstraints(max_length=1024)] = ""
    """A sentence on what happens, or why it failed."""
    start_time: datetime | None = None
    """When the run was created."""


class FinishedRun(Schema):
    """The record of a run that ended."""

    name: DnsSubdomain
    """The run's name."""
    phase: RunPhase
    """`Succeeded` or `Failed`."""
    reason: Annotated[str, StringConstraints(max_length=63)] | None = None
    """One word; a `Superseded` run goes on from its saved state when its spec is applied again."""
    message: Annotated[str, StringConstraints(max_length=1024)] = ""
    """Why it failed."""
    metrics: Metrics = Field(default_factory=dict)
    """Final metrics."""
    checkpoint: DnsSubdomain | None = None
    """The last checkpoint it published."""
    completion_time: datetime | None = None
    """When it ended."""


class TrainingStatus(Schema):
    """What the operator has seen."""

    observed_generation: int = 0
    """The generation this status was concluded from."""
    conditions: Conditions = Field(default_factory=list)
    """`Ready`, `Reconciling`, `Stalled`, `Prepared` (with `spec.prepare`), `Trained`, `Published`, `Passed`."""
    phase: TrainingPhase | None = None
    """One word for people."""
    progress: Annotated[str, StringConstraints(max_length=16)] | None = None
    """Progress of the current run, for people: `37%`."""
    eta: Annotated[str, StringConstraints(max_length=16)] | None = None
    """Remaining time of the current run, for people: `4m10s`."""
    run: RunStatus | None = None
    """The current or the last run."""
    runs: Annotated[list[FinishedRun], Field(max_length=50)] = Field(default_factory=list)
    """Runs that ended, newest first."""
    preparing: StepStatus | None = None
    """The prepare step that is under way or failed."""
    prepared: Annotated[list[PreparedStep], Field(max_length=50)] = Field(default_factory=list)
    """Prepare steps that are done, oldest first."""
    retention: RetentionStatus | None = None
    """What has been collected, and what will be."""
    last_published: PublishedCheckpoint | None = None
    """The newest checkpoint."""
    champion: PublishedCheckpoint | None = None
    """The newest checkpoint that passed the gate."""
    gate: Annotated[str, StringConstraints(max_length=256)] | None = None
    """The gate's verdict on the newest checkpoint, for people: `Passed`, or the first threshold missed."""


class ModelTraining(Resource):
    """What to train and what counts as good; the operator runs it in containers and publishes what it makes."""

    spec: TrainingSpec
    status: TrainingStatus = Field(default_factory=TrainingStatus)
